"""Map handwritten digits, and compare the map with k-means with the same number of centers."""

import time
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM
from sklearn_tfsom.displays import CodeVectorsDisplay, UMatrixDisplay
from sklearn_tfsom.metrics import topographic_error

FIGURE_PATH = Path(__file__).resolve().parent.parent / "output" / "digits_map.png"


def time_fit(estimator, X, n_repeats=5):
    """Return the time of the fastest of several fits, after one that imports modules."""
    estimator.fit(X)
    seconds = []
    for _ in range(n_repeats):
        start = time.perf_counter()
        estimator.fit(X)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def held_out_accuracy(clusterer, X, y):
    """Return the held-out accuracy of a linear classifier on the distances to the centers."""
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    pipeline = make_pipeline(clusterer, StandardScaler(), LogisticRegression(max_iter=2000))
    return pipeline.fit(X_train, y_train).score(X_test, y_test)


def main():
    """Print the comparison and plot the map."""
    X, y = load_digits(return_X_y=True)
    print(f"scikit-learn's digits: {X.shape[0]} images of {X.shape[1]} pixels\n")

    som = TFSOM()
    som_seconds = time_fit(som, X)
    n_rows, n_columns = som.grid_shape_
    n_units = n_rows * n_columns
    kmeans = KMeans(n_units, n_init=1, random_state=0)
    kmeans_seconds = time_fit(kmeans, X)
    kmeans_error = kmeans.transform(X).min(axis=1).mean()

    n_classes = 10
    som_labels = TFSOM(n_clusters=n_classes).fit_predict(X)
    kmeans_labels = KMeans(n_classes, n_init=10, random_state=0).fit_predict(X)
    # Two-level k-means: merge the centers in the same way as the units, but unweighted.
    center_labels = AgglomerativeClustering(n_classes).fit_predict(kmeans.cluster_centers_)

    rows = [
        ("size", f"{n_rows}x{n_columns} = {n_units} units", f"{n_units} centers"),
        ("iterations", f"{som.n_iter_} epochs", f"{kmeans.n_iter_}"),
        ("seconds", f"{som_seconds:.3f}", f"{kmeans_seconds:.3f}"),
        ("quantization error", f"{som.quantization_error_:.3f}", f"{kmeans_error:.3f}"),
        ("topographic error", f"{topographic_error(som, X):.3f}", "not defined"),
        (
            "adjusted Rand index, 10 clusters",
            f"{adjusted_rand_score(y, som_labels):.3f}",
            f"{adjusted_rand_score(y, kmeans_labels):.3f}"
            f" ({adjusted_rand_score(y, center_labels[kmeans.labels_]):.3f} with two levels)",
        ),
        (
            "held-out accuracy, distance features",
            # A small radius gives better features, because the quantization error is lower.
            f"{held_out_accuracy(TFSOM(radius_end=0.3), X, y):.3f}"
            f" ({held_out_accuracy(TFSOM(), X, y):.3f} at radius 0.85)",
            f"{held_out_accuracy(KMeans(n_units, n_init=1, random_state=0), X, y):.3f}",
        ),
    ]
    print(f"{'':38}{'self-organizing map':30}k-means")
    for name, som_value, kmeans_value in rows:
        print(f"{name:38}{som_value:30}{kmeans_value}")

    plt.switch_backend("agg")
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.5), layout="constrained")
    CodeVectorsDisplay.from_estimator(som, image_shape=(8, 8), cmap="gray_r", ax=left)
    left.set_title("Code vectors")
    UMatrixDisplay.from_estimator(som, X, y, ax=right)
    right.set_title("U-matrix and most frequent digit of each unit")
    FIGURE_PATH.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE_PATH, dpi=120)
    print(f"\nFigure with the code vectors and the U-matrix: {FIGURE_PATH}")


if __name__ == "__main__":
    main()

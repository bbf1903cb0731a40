"""
Visualization and classification of digits
==========================================

The first part of this example visualizes scikit-learn's digits, 1,797 images of 8 x 8 pixels. The
second part uses the distances to the units as features of a linear classifier, and compares them
with the distances to k-means centers. The size of the map and the number of centers are selected
by cross-validation.
"""

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM
from sklearn_tfsom.displays import CodeVectorsDisplay, UMatrixDisplay
from sklearn_tfsom.metrics import purity, topographic_error

N_SPLITS = 3
SIDES = [8, 12, 16, 20]

X, y = load_digits(return_X_y=True)

# %%
# Visualization
# -------------
# The size of the map is chosen automatically, and its units are merged into ten clusters. Training
# does not use the labels.
som = TFSOM(n_clusters=10).fit(X)
n_rows, n_columns = som.grid_shape_
print(f"{'units':36}{f'{n_rows}x{n_columns}':>8}")
print(f"{'topographic error':36}{topographic_error(som, X):8.3f}")
print(f"{'purity of units':36}{purity(som, X, y):8.3f}")
print(f"{'adjusted Rand index, ten clusters':36}{adjusted_rand_score(y, som.labels_):8.3f}")
k_means_labels = KMeans(10, n_init=10, random_state=0).fit_predict(X)
print(f"{'... of k-means, ten starts':36}{adjusted_rand_score(y, k_means_labels):8.3f}")

# %%
# Classification
# --------------
# A third of the data is held out for testing, and the size is selected on the remaining data. This
# is repeated for three random splits. The small radius gives a lower quantization error, which is
# more important for features than the topology of the map.


def search_size(transformer, name, sizes):
    """Return a grid search over the size of a transformer in front of a linear classifier."""
    pipeline = make_pipeline(transformer, StandardScaler(), RidgeClassifier())
    return GridSearchCV(pipeline, {name: sizes}, cv=3)


models = {
    "map": lambda: search_size(TFSOM(radius_end=0.3), "tfsom__grid_size", SIDES),
    "k-means": lambda: search_size(
        KMeans(n_init=1, random_state=0), "kmeans__n_clusters", [side**2 for side in SIDES]
    ),
    "pixels": lambda: make_pipeline(StandardScaler(), RidgeClassifier()),
    "one nearest neighbor": lambda: KNeighborsClassifier(1),
}
print(f"\n{'':22}{'held-out accuracy':>20}{'seconds':>10}   selected sizes")
for name, make_model in models.items():
    accuracies, seconds, selected = [], [], []
    for seed in range(N_SPLITS):
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, test_size=1 / 3, stratify=y, random_state=seed
        )
        start = time.perf_counter()
        model = make_model().fit(X_train, y_train)
        seconds.append(time.perf_counter() - start)
        accuracies.append(model.score(X_test, y_test))
        selected += [str(size) for size in getattr(model, "best_params_", {}).values()]
    accuracy = f"{np.mean(accuracies):.3f} ±{np.std(accuracies):.3f}"
    print(f"{name:22}{accuracy:>20}{np.median(seconds):10.2f}   {', '.join(selected)}")

# %%
# The left plot shows the U-matrix with the most frequent digit of each unit, the right plot the
# code vectors. White and orange lines are the borders of the ten clusters.
figure, (left, right) = plt.subplots(1, 2, figsize=(13.5, 7), layout="constrained")
UMatrixDisplay.from_estimator(som, X, y, ax=left)
CodeVectorsDisplay.from_estimator(som, image_shape=(8, 8), cmap="gray_r", ax=right)
left.set_title("U-matrix and most frequent digit of each unit", fontsize="large")
_ = right.set_title("Code vectors", fontsize="large")

# %%
# **When not to use a map:** if only the accuracy is important. A nearest neighbor classifier is
# more accurate without features or a grid search, and k-means features are as good.

# %%
# Save the figure if the example is run as a script.
if "__file__" in globals():
    path = Path(__file__).resolve().parent.parent / "output" / "digits.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"\nFigure saved to {path}")

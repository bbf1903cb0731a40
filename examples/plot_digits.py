"""
Digits on a map, and a classifier on top
========================================

First to look: a map of scikit-learn's digits, 1,797 images of 8 x 8 pixels. Then to use: distances
to its units as features for a linear classifier, the size of the map chosen by cross-validation,
beside k-means chosen in the same way.
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
# To look
# -------
# The size is left to the map, and its units are merged into ten clusters; it sees no labels.
som = TFSOM(n_clusters=10).fit(X)
n_rows, n_columns = som.grid_shape_
print(f"{'units':36}{f'{n_rows}x{n_columns}':>8}")
print(f"{'topographic error':36}{topographic_error(som, X):8.3f}")
print(f"{'purity of units':36}{purity(som, X, y):8.3f}")
print(f"{'adjusted Rand index, ten clusters':36}{adjusted_rand_score(y, som.labels_):8.3f}")
k_means_labels = KMeans(10, n_init=10, random_state=0).fit_predict(X)
print(f"{'... of k-means, ten starts':36}{adjusted_rand_score(y, k_means_labels):8.3f}")

# %%
# To use
# ------
# Three times a third is held out, and the search sees the other two thirds only. For features
# quantization counts more than order, hence the small radius.


def searched(features, name, sizes):
    """Return a search over sizes, of a linear classifier on a transformer's features."""
    pipeline = make_pipeline(features, StandardScaler(), RidgeClassifier())
    return GridSearchCV(pipeline, {name: sizes}, cv=3)


models = {
    "map": lambda: searched(TFSOM(radius_end=0.3), "tfsom__grid_size", SIDES),
    "k-means": lambda: searched(
        KMeans(n_init=1, random_state=0), "kmeans__n_clusters", [side**2 for side in SIDES]
    ),
    "pixels": lambda: make_pipeline(StandardScaler(), RidgeClassifier()),
    "one nearest neighbor": lambda: KNeighborsClassifier(1),
}
print(f"\n{'':22}{'held-out accuracy':>20}{'seconds':>10}   sizes chosen")
for name, model_of in models.items():
    accuracies, seconds, chosen = [], [], []
    for seed in range(N_SPLITS):
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, test_size=1 / 3, stratify=y, random_state=seed
        )
        start = time.perf_counter()
        model = model_of().fit(X_train, y_train)
        seconds.append(time.perf_counter() - start)
        accuracies.append(model.score(X_test, y_test))
        chosen += [str(size) for size in getattr(model, "best_params_", {}).values()]
    accuracy = f"{np.mean(accuracies):.3f} ±{np.std(accuracies):.3f}"
    print(f"{name:22}{accuracy:>20}{np.median(seconds):10.2f}   {', '.join(chosen)}")

# %%
# The picture: each unit with the digit that most of its samples show, on the U-matrix, and with
# its code vector. White and orange lines part the ten clusters.
figure, (left, right) = plt.subplots(1, 2, figsize=(13.5, 7), layout="constrained")
UMatrixDisplay.from_estimator(som, X, y, ax=left)
CodeVectorsDisplay.from_estimator(som, image_shape=(8, 8), cmap="gray_r", ax=right)
left.set_title("U-matrix, and the most frequent digit of each unit", fontsize="large")
_ = right.set_title("Code vectors", fontsize="large")

# %%
# **When not to use a map:** for accuracy alone. The nearest neighbor knows as much, without
# features or a search, and k-means makes features that are as good.

# %%
# As a script this saves the picture; the gallery shows it.
if "__file__" in globals():
    path = Path(__file__).resolve().parent.parent / "output" / "digits.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"\nThe picture: {path}")

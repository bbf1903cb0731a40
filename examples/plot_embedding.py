"""
Embedding in two dimensions
===========================

With ``features="coordinates"``, a map is a two-dimensional embedding: each sample is represented
by the position of its best-matching unit. New samples are embedded in microseconds each.

This example compares the map with PCA, Isomap and t-SNE on scikit-learn's digits, 1,797 images of
8 x 8 pixels. All methods use their default parameters with two exceptions: Isomap uses eight
neighbors, because its graph is not connected with five neighbors and eight give the best result,
and the map has 40 x 40 units, because an embedding requires many different positions.
"""

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patheffects import withStroke
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, Isomap, trustworthiness
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from sklearn_tfsom import TFSOM

X, y = load_digits(return_X_y=True)
X_train, X_new, y_train, y_new = train_test_split(X, y, stratify=y, random_state=0)
embeddings = {
    "PCA": PCA(n_components=2),
    "Isomap": Isomap(n_neighbors=8),
    "t-SNE": TSNE(random_state=0),
    "map": TFSOM(40, features="coordinates"),
}
TFSOM(2).fit(X)  # the first fit imports modules

# %%
# Four measures between 0 and 1 evaluate each embedding. Trustworthiness is high if neighbors in
# the embedding are neighbors in the data; continuity is high if neighbors in the data are
# neighbors in the embedding. The accuracy of a nearest neighbors classifier on the embedding shows
# how well the digits are separated. The last measure is the accuracy for new samples: a quarter of
# the data that was not used to fit the embedding.
classifier = KNeighborsClassifier(5)
folds = StratifiedKFold(5, shuffle=True, random_state=0)
print(
    f"{'':8}{'trustworthiness':>16}{'continuity':>12}{'accuracy':>12}{'fit (s)':>9}"
    f"{'accuracy, new':>16}{'new (ms)':>10}"
)
embedded = {}
for name, embedding in embeddings.items():
    start = time.perf_counter()
    coordinates = embedded[name] = embedding.fit_transform(X)
    seconds = time.perf_counter() - start
    print(
        f"{name:8}{trustworthiness(X, coordinates, n_neighbors=10):16.3f}"
        f"{trustworthiness(coordinates, X, n_neighbors=10):12.3f}"
        f"{cross_val_score(classifier, coordinates, y, cv=folds).mean():12.3f}{seconds:9.2f}",
        end="",
    )
    if not hasattr(embedding, "transform"):
        print(f"{'not possible':>16}{'':>10}")
        continue
    classifier.fit(embedding.fit(X_train).transform(X_train), y_train)
    start = time.perf_counter()
    new = embedding.transform(X_new)
    seconds = time.perf_counter() - start
    print(f"{classifier.score(new, y_new):16.3f}{1e3 * seconds:10.1f}")

# %%
# The plots show the four embeddings, with the label of each digit at the point of highest density.
# On the map, several images can have the same position; random offsets make them visible.
rng = np.random.default_rng(0)
embedded["map"] = embedded["map"] + rng.uniform(-0.4, 0.4, embedded["map"].shape)

figure, axes = plt.subplots(2, 2, figsize=(13, 9), layout="constrained")
for ax, (name, coordinates) in zip(axes.flat, embedded.items(), strict=True):
    ax.scatter(*coordinates.T, c=y, cmap="tab10", vmin=-0.5, vmax=9.5, s=10, linewidths=0)
    for digit in range(10):
        digit_coordinates = coordinates[y == digit]
        neighbors = NearestNeighbors(n_neighbors=60).fit(digit_coordinates)
        distances, _ = neighbors.kneighbors(digit_coordinates)
        position = digit_coordinates[distances[:, -1].argmin()]
        text = ax.text(*position, digit, fontsize=17, ha="center", va="center")
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])
    ax.set(title=name, xticks=[], yticks=[])

# %%
# **When not to use a map:** to visualize a fixed data set. t-SNE preserves more of the neighbors
# and separates the groups, while the map fills its area evenly.

# %%
# Save the figure if the example is run as a script.
if "__file__" in globals():
    path = Path(__file__).resolve().parent.parent / "output" / "embedding.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"\nFigure saved to {path}")

"""
The map as an embedding
=======================

With ``features="coordinates"`` a map is an embedding in the plane: each sample goes to the place
of its best-matching unit. So do the digits that it has never seen, in microseconds each.

Beside it PCA, Isomap and t-SNE on scikit-learn's digits, 1,797 images of 8 x 8 pixels. They are
at their defaults, but for Isomap, whose graph falls apart with five neighbors and is best with
eight, and for the map, which gets 40 x 40 units: an embedding needs places rather than clusters.
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
TFSOM(2).fit(X)  # the first fit starts TensorFlow

# %%
# Three questions to the plane, each answered between 0 and 1. Are neighbors in the plane neighbors
# in the data (trustworthiness)? Are neighbors in the data neighbors in the plane (continuity: the
# same with the sides changed)? And do the nearest neighbors in the plane tell the digit, which no
# embedding is told? Then one for the future: the digit of new images, a quarter that the embedding
# has not seen.
classifier = KNeighborsClassifier(5)
folds = StratifiedKFold(5, shuffle=True, random_state=0)
print(
    f"{'':8}{'trustworthiness':>16}{'continuity':>12}{'digit told':>12}{'fit (s)':>9}"
    f"{'new digit told':>16}{'new (ms)':>10}"
)
planes = {}
for name, embedding in embeddings.items():
    start = time.perf_counter()
    plane = planes[name] = embedding.fit_transform(X)
    seconds = time.perf_counter() - start
    print(
        f"{name:8}{trustworthiness(X, plane, n_neighbors=10):16.3f}"
        f"{trustworthiness(plane, X, n_neighbors=10):12.3f}"
        f"{cross_val_score(classifier, plane, y, cv=folds).mean():12.3f}{seconds:9.2f}",
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
# The four planes, each digit's number where it is densest. On the map several images can share a
# place; here they are spread a little, to be seen.
rng = np.random.default_rng(0)
planes["map"] = planes["map"] + rng.uniform(-0.4, 0.4, planes["map"].shape)

figure, axes = plt.subplots(2, 2, figsize=(13, 9), layout="constrained")
for ax, (name, plane) in zip(axes.flat, planes.items(), strict=True):
    ax.scatter(*plane.T, c=y, cmap="tab10", vmin=-0.5, vmax=9.5, s=10, linewidths=0)
    for digit in range(10):
        own = plane[y == digit]
        reach, _ = NearestNeighbors(n_neighbors=60).fit(own).kneighbors(own)
        text = ax.text(*own[reach[:, -1].argmin()], digit, fontsize=17, ha="center", va="center")
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])
    ax.set(title=name, xticks=[], yticks=[])

# %%
# **When not to use a map:** for the prettiest picture of data that will not grow. t-SNE keeps
# more of the neighbors, and its groups stand apart, where the map fills its sheet evenly.

# %%
# As a script this saves the picture; the gallery shows it.
if "__file__" in globals():
    path = Path(__file__).resolve().parent.parent / "output" / "embedding.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"\nThe picture: {path}")

"""
Comparison with PCA, t-SNE and k-means
======================================

A map gives each sample a position in two dimensions and a code vector. This example compares it
with PCA and t-SNE, which give positions, and with k-means, which gives code vectors, in pictures
of the same size. The data are 1,000 of scikit-learn's digits, images of 8 x 8 pixels. A quarter of
them is held out as new samples.
"""

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.model_selection import train_test_split

from sklearn_tfsom import TFSOM
from sklearn_tfsom.displays import CodeVectorsDisplay

X, y = load_digits(return_X_y=True)
X_train, X_new, y_train, y_new = train_test_split(
    X, y, train_size=750, test_size=250, stratify=y, random_state=0
)

# %%
# Measures
# --------
# The map has 12 x 12 units, and k-means has as many centers. Trustworthiness is between 0 and 1,
# and high if neighbors in the picture are neighbors in the data. Samples of one unit share its
# position, which lowers the trustworthiness of a map; more units raise it. The quantization error
# is the mean distance of the samples to their unit or center. A dash means that the method does
# not have this result.
SIDE = 12
methods = {
    "PCA": PCA(n_components=2),
    "t-SNE": TSNE(random_state=0),
    "k-means": KMeans(SIDE**2, random_state=0),
    "map": TFSOM(SIDE, features="coordinates"),
}
TFSOM(2).fit(X_train)  # the first fit imports modules


def mean_distance(samples, code_vectors, indices):
    """Return the mean distance of samples to their code vectors."""
    return np.linalg.norm(samples - code_vectors[indices], axis=1).mean()


embedded = {}
print(
    f"{'':10}{'trustworthiness':>17}{'of new':>9}{'quantization error':>20}{'of new':>9}"
    f"{'fit (s)':>9}"
)
for name, method in methods.items():
    start = time.perf_counter()
    method.fit(X_train)
    seconds = time.perf_counter() - start
    values = [None] * 4
    if name == "t-SNE":
        embedded[name] = method.embedding_
    elif name != "k-means":
        embedded[name] = method.transform(X_train)
        values[1] = trustworthiness(X_new, method.transform(X_new))
    if name in embedded:
        values[0] = trustworthiness(X_train, embedded[name])
    if name in ("k-means", "map"):
        code_vectors = method.cluster_centers_ if name == "k-means" else method.codebook_
        values[2] = mean_distance(X_train, code_vectors, method.predict(X_train))
        values[3] = mean_distance(X_new, code_vectors, method.predict(X_new))
    widths = 17, 9, 20, 9
    cells = [
        f"{'-':>{width}}" if value is None else f"{value:{width}.3f}"
        for value, width in zip(values, widths, strict=True)
    ]
    print(f"{name:10}{''.join(cells)}{seconds:9.2f}")

# %%
# Four pictures
# -------------
# PCA shows the two directions of largest variance: the digits overlap. t-SNE shows groups with
# gaps, but distances between groups and their sizes have no meaning. The centers of k-means have
# no order; they are shown in that of the algorithm. The code vectors of the map are ordered:
# similar images are side by side.
figure, axes = plt.subplots(2, 2, figsize=(12, 12), layout="constrained")
for ax, name in zip(axes[0], ("PCA", "t-SNE"), strict=True):
    points = ax.scatter(*embedded[name].T, c=y_train, cmap="tab10", vmin=-0.5, vmax=9.5, s=12)
    ax.set(xticks=[], yticks=[])
    ax.set_title(name, fontsize="large")
    ax.legend(*points.legend_elements(), fontsize="small", loc="best")
centers = methods["k-means"].cluster_centers_.reshape(SIDE, SIDE, 8, 8)
centers = np.pad(centers, [(0, 0), (0, 0), (1, 1), (1, 1)])
axes[1, 0].imshow(centers.transpose(0, 2, 1, 3).reshape(10 * SIDE, 10 * SIDE), cmap="gray_r")
axes[1, 0].set_title("k-means: centers", fontsize="large")
axes[1, 0].set_axis_off()
CodeVectorsDisplay.from_estimator(methods["map"], image_shape=(8, 8), cmap="gray_r", ax=axes[1, 1])
_ = axes[1, 1].set_title("map: code vectors", fontsize="large")

# %%
# When to use which
# -----------------
# UMAP is not compared here, since it is not a dependency of this package. It is used like t-SNE.
#
# .. list-table::
#    :header-rows: 1
#
#    * - Method
#      - It shows
#      - The axes mean
#      - New samples
#      - Use it
#    * - PCA
#      - Directions of largest variance
#      - Linear combinations of the features
#      - Projected
#      - First, and if two components account for most of the variance
#    * - t-SNE
#      - Groups of neighbors
#      - Nothing
#      - Not possible, the picture must be made again
#      - For a picture of a fixed data set
#    * - UMAP
#      - Groups of neighbors
#      - Nothing
#      - Possible, by an approximate search
#      - As t-SNE, for more samples or for new ones
#    * - k-means
#      - Centers without an order
#      - There are none
#      - Assigned to a center
#      - For few clusters or a low quantization error, without a picture
#    * - Map
#      - Code vectors in an order, and any variable on the same grid
#      - Neighbors are similar; directions have no meaning
#      - Assigned to a unit
#      - To read the features in place, to compare variables, and to place new samples
#
# **When not to use a map:** to see the neighbors of a fixed data set as exactly as possible, t-SNE
# is better. For the lowest quantization error, k-means is better.

# %%
# Save the figure if the example is run as a script.
if "__file__" in globals():
    path = Path(__file__).resolve().parent.parent / "output" / "methods.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"\nFigure saved to {path}")

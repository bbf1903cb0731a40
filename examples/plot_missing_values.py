"""
Maps of incomplete data
=======================

A map learns from what is there: a missing value is left out of distances and of means, and
nothing has to be filled in first. Afterwards the map can fill it in, with what it expects of it.

From two of scikit-learn's sets, standardized, values are deleted at random: from wine (178 x 13)
and from breast cancer (569 x 30). So the error of what is filled in is known.
"""

import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # makes it importable
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM
from sklearn_tfsom.displays import ComponentPlanesDisplay

warnings.simplefilter("ignore", ConvergenceWarning)  # IterativeImputer stops after ten rounds
SHARES = (0.1, 0.3, 0.5)
N_TIMES = {"wine": 10, "breast cancer": 2}  # that values are deleted
wine, breast_cancer = load_wine(), load_breast_cancer()
sets = {"wine": wine, "breast cancer": breast_cancer}
methods = {
    "mean": lambda X: SimpleImputer().fit_transform(X),
    "KNNImputer": lambda X: KNNImputer().fit_transform(X),
    "IterativeImputer": lambda X: IterativeImputer(random_state=0).fit_transform(X),
    "map": lambda X: TFSOM().fit(X).impute(X),
}
TFSOM(2).fit(wine.data)  # the first fit starts TensorFlow


def deleted(X, share, seed):
    """Return the data with a share of the values missing, but none of the rows altogether."""
    is_missing = np.random.default_rng(seed).random(X.shape) < share
    is_missing[is_missing.all(axis=1), 0] = False
    return np.where(is_missing, np.nan, X)


# %%
# What is filled in
# -----------------
# The root mean square error of the values filled in, in standard deviations: filling in the mean
# has an error of about 1. All methods are at their defaults.
errors, seconds = {}, {}
filled = {}
for title, data in sets.items():
    X = StandardScaler().fit_transform(data.data)
    for share in SHARES:
        for seed in range(N_TIMES[title]):
            incomplete = deleted(X, share, seed)
            is_missing = np.isnan(incomplete)
            for name, fill in methods.items():
                start = time.perf_counter()
                filled[title, name, share, seed] = fill(incomplete)
                seconds.setdefault((title, name), []).append(time.perf_counter() - start)
                wrong = (filled[title, name, share, seed] - X)[is_missing]
                errors.setdefault((title, name, share), []).append(np.sqrt(np.mean(wrong**2)))

print(f"{'':32}{'error where so many are missing':>31}{'seconds':>10}")
print(f"{'':32}" + "".join(f"{share:10.0%}" for share in SHARES))
for title, name in seconds:
    cells = [f"{np.mean(errors[title, name, share]):10.3f}" for share in SHARES]
    print(f"{title:15}{name:17}" + "".join(cells) + f"{np.median(seconds[title, name]):11.3f}")

# %%
# What is built on it
# -------------------
# Three clusters of the incomplete wines: k-means on what each method has filled in, and the map's
# own, which needs nothing filled in. On the complete wines k-means is better than the map.
X = StandardScaler().fit_transform(wine.data)


def rand_index(clusterer, tables):
    """Return the mean adjusted Rand index of the wines' clusters in several tables."""
    return np.mean([adjusted_rand_score(wine.target, clusterer.fit_predict(X)) for X in tables])


k_means, som = KMeans(3, n_init=10, random_state=0), TFSOM(n_clusters=3)
seeds = range(N_TIMES["wine"])
indices = {
    f"k-means, {name}": [rand_index(k_means, [X])]
    + [rand_index(k_means, [filled["wine", name, s, seed] for seed in seeds]) for s in SHARES]
    for name in methods
}
indices["map, nothing filled in"] = [rand_index(som, [X])] + [
    rand_index(som, [deleted(X, share, seed) for seed in seeds]) for share in SHARES
]
print(f"\n{'adjusted Rand index, wine':32}{'none':>10}" + "".join(f"{s:10.0%}" for s in SHARES))
for name, row in indices.items():
    print(f"{name:32}" + "".join(f"{value:10.3f}" for value in row))

# %%
# The picture: errors and clusters, and below what the map still is when three in ten values are
# missing, beside the map of the complete wines.
figure = plt.figure(figsize=(13, 8.6), layout="constrained")
top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.25])
colors = dict(zip(methods, ("0.6", "C2", "C1", "C0"), strict=True))
*on_errors, on_clusters = top.subplots(1, 3)
for ax, title in zip(on_errors, sets, strict=True):
    for name, color in colors.items():
        means = [np.mean(errors[title, name, share]) for share in SHARES]
        ax.plot(SHARES, means, "o-", color=color, label=name)
    ax.set(title=f"{title}: error of values filled in", ylim=(0, 1.15))
for name, row in indices.items():
    filling = name.removeprefix("k-means, ")
    line, color = ("o-", colors[filling]) if filling in colors else ("o:", "C0")
    on_clusters.plot(SHARES, row[1:], line, color=color, label=name)
on_clusters.set(title="wine: adjusted Rand index of clusters", ylim=(0, 1))
for ax in (*on_errors, on_clusters):
    ax.set(xlabel="share of values missing", xticks=SHARES)
on_errors[0].legend(loc="lower right")
on_clusters.legend(loc="lower left", fontsize="small")

complete = TFSOM().fit(X)
incomplete = TFSOM(complete.grid_shape_).fit(deleted(X, 0.3, 0))
features = ["alcohol", "flavanoids", "color_intensity", "hue", "proline"]
columns = [wine.feature_names.index(name) for name in features]
axes = bottom.subplots(2, len(features))
for row, som in zip(axes, (complete, incomplete), strict=True):
    ComponentPlanesDisplay.from_estimator(som, features=columns, ax=row)
    for ax, name in zip(row, features, strict=True):
        ax.set_title(name if som is complete else "")
for y, text in ((0.76, "all values"), (0.26, "30 % missing")):
    bottom.text(0.005, y, text, rotation=90, va="center")

# %%
# **When not to use a map:** where features follow from one another linearly, as those of breast
# cancer do, and there is time: IterativeImputer regresses each on all others, and is closer while
# not too many are missing. And for clusters of these wines: k-means on what any of the four has
# filled in is better than the map's own.

# %%
# As a script this saves the picture; the gallery shows it.
if "__file__" in globals():
    path = Path(__file__).resolve().parent.parent / "output" / "missing_values.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"\nThe picture: {path}")

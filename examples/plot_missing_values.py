"""
Training with missing values and imputation
===========================================

A map can be trained on data with missing values without imputation: missing values are excluded
from distances and means. The fitted map can then be used to impute them.

This example deletes random values of two standardized data sets, wine (178 x 13) and breast cancer
(569 x 30), so that the error of the imputed values is known.
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

warnings.simplefilter("ignore", ConvergenceWarning)  # of IterativeImputer after ten iterations
FRACTIONS = (0.1, 0.3, 0.5)
N_REPEATS = {"wine": 10, "breast cancer": 2}
wine, breast_cancer = load_wine(), load_breast_cancer()
data_sets = {"wine": wine, "breast cancer": breast_cancer}
methods = {
    "mean": lambda X: SimpleImputer().fit_transform(X),
    "KNNImputer": lambda X: KNNImputer().fit_transform(X),
    "IterativeImputer": lambda X: IterativeImputer(random_state=0).fit_transform(X),
    "map": lambda X: TFSOM().fit(X).impute(X),
}
TFSOM(2).fit(wine.data)  # the first fit imports modules


def with_missing_values(X, fraction, seed):
    """Return the data with a fraction of the values missing, but no row without any value."""
    is_missing = np.random.default_rng(seed).random(X.shape) < fraction
    is_missing[is_missing.all(axis=1), 0] = False
    return np.where(is_missing, np.nan, X)


# %%
# Imputation error
# ----------------
# The error is the root mean square error of the imputed values in standard deviations. Imputation
# by the mean has an error of about 1. All methods use their default parameters.
errors, seconds = {}, {}
imputed = {}
for title, data in data_sets.items():
    X = StandardScaler().fit_transform(data.data)
    for fraction in FRACTIONS:
        for seed in range(N_REPEATS[title]):
            incomplete = with_missing_values(X, fraction, seed)
            is_missing = np.isnan(incomplete)
            for name, impute in methods.items():
                start = time.perf_counter()
                imputed[title, name, fraction, seed] = impute(incomplete)
                seconds.setdefault((title, name), []).append(time.perf_counter() - start)
                differences = (imputed[title, name, fraction, seed] - X)[is_missing]
                errors.setdefault((title, name, fraction), []).append(
                    np.sqrt(np.mean(differences**2))
                )

print(f"{'':32}{'error by fraction missing':>31}{'seconds':>10}")
print(f"{'':32}" + "".join(f"{fraction:10.0%}" for fraction in FRACTIONS))
for title, name in seconds:
    cells = [f"{np.mean(errors[title, name, fraction]):10.3f}" for fraction in FRACTIONS]
    print(f"{title:15}{name:17}" + "".join(cells) + f"{np.median(seconds[title, name]):11.3f}")

# %%
# Clustering of incomplete data
# -----------------------------
# Three clusters of the wine data with missing values: k-means on the imputed data of each method,
# and the clusters of a map trained without imputation. On the complete data k-means is better than
# the map.
X = StandardScaler().fit_transform(wine.data)


def rand_index(clusterer, arrays):
    """Return the mean adjusted Rand index of the clusters in several versions of the data."""
    return np.mean([adjusted_rand_score(wine.target, clusterer.fit_predict(X)) for X in arrays])


k_means, som = KMeans(3, n_init=10, random_state=0), TFSOM(n_clusters=3)
seeds = range(N_REPEATS["wine"])
rand_indices = {
    f"k-means, {name}": [rand_index(k_means, [X])]
    + [rand_index(k_means, [imputed["wine", name, s, seed] for seed in seeds]) for s in FRACTIONS]
    for name in methods
}
rand_indices["map, no imputation"] = [rand_index(som, [X])] + [
    rand_index(som, [with_missing_values(X, fraction, seed) for seed in seeds])
    for fraction in FRACTIONS
]
print(f"\n{'adjusted Rand index, wine':32}{'none':>10}" + "".join(f"{s:10.0%}" for s in FRACTIONS))
for name, row in rand_indices.items():
    print(f"{name:32}" + "".join(f"{value:10.3f}" for value in row))

# %%
# The upper plots show the imputation errors and the adjusted Rand indices. The lower plots compare
# component planes of a map of the complete wine data with those of a map trained with 30 % of the
# values missing.
figure = plt.figure(figsize=(13, 8.6), layout="constrained")
top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.25])
colors = dict(zip(methods, ("0.6", "C2", "C1", "C0"), strict=True))
*error_axes, cluster_ax = top.subplots(1, 3)
for ax, title in zip(error_axes, data_sets, strict=True):
    for name, color in colors.items():
        means = [np.mean(errors[title, name, fraction]) for fraction in FRACTIONS]
        ax.plot(FRACTIONS, means, "o-", color=color, label=name)
    ax.set(title=f"{title}: imputation error", ylim=(0, 1.15))
for name, row in rand_indices.items():
    imputer = name.removeprefix("k-means, ")
    line, color = ("o-", colors[imputer]) if imputer in colors else ("o:", "C0")
    cluster_ax.plot(FRACTIONS, row[1:], line, color=color, label=name)
cluster_ax.set(title="wine: adjusted Rand index of clusters", ylim=(0, 1))
for ax in (*error_axes, cluster_ax):
    ax.set(xlabel="fraction of values missing", xticks=FRACTIONS)
error_axes[0].legend(loc="lower right")
cluster_ax.legend(loc="lower left", fontsize="small")

complete = TFSOM().fit(X)
incomplete = TFSOM(complete.grid_shape_).fit(with_missing_values(X, 0.3, 0))
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
# **When not to use a map:** if the features depend on each other linearly, as in the breast cancer
# data, and the time is not important: IterativeImputer uses a regression of each feature on all
# others, and is more accurate if not too many values are missing. For clustering of the wine data,
# k-means on the data imputed by any of the four methods is better than the clusters of the map.

# %%
# Save the figure if the example is run as a script.
if "__file__" in globals():
    path = Path(__file__).resolve().parent.parent / "output" / "missing_values.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"\nFigure saved to {path}")

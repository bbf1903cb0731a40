"""
Customer segmentation
=====================

This example clusters customers by nine features: recency, frequency and monetary value of their
orders, tenure, the share of returned orders, and the shares of product categories. The units of a
map are merged into segments, and component planes show the features of each segment.

The data are **synthetic**: ``data/make_customers.py`` generates overlapping segments of unequal
size with missing values. The true segments are therefore known and can be compared with the
clusters. The script can also be run on your own data: a CSV file with a header and one line of
numbers per customer, where missing values are empty. A last column named ``segment`` is optional
and only used for comparison::

    python examples/plot_customers.py customers.csv
    python examples/plot_customers.py customers.csv 6  # six segments
"""

import csv
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.impute import SimpleImputer
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM
from sklearn_tfsom.displays import ClassMapDisplay, ComponentPlanesDisplay

# The gallery runs an example in its own folder and does not define __file__.
here = Path(__file__).resolve().parent if "__file__" in globals() else Path.cwd()
path = Path(sys.argv[1]) if len(sys.argv) > 1 else here / "data" / "customers.csv"
n_clusters = int(sys.argv[2]) if len(sys.argv) > 2 else "auto"

with path.open(newline="") as file:
    names, *lines = csv.reader(file)
true_labels = None
if names[-1] == "segment":
    true_labels = [line.pop() for line in lines]
    names.pop()
values = np.array([[float(cell or "nan") for cell in line] for line in lines])
n_customers = len(values)
print(f"{n_customers} customers, {len(names)} features, {np.isnan(values).mean():.1%} missing")

# %%
# Features that span orders of magnitude (days, orders and money) are transformed to a logarithmic
# scale; shares between 0 and 1 are not. Missing values do not need to be imputed.
is_logarithmic = (np.nanmin(values, axis=0) >= 0) & (np.nanmax(values, axis=0) > 1)
scaler = StandardScaler()
X = scaler.fit_transform(np.where(is_logarithmic, np.log1p(np.maximum(values, 0)), values))

som = TFSOM(n_clusters=n_clusters).fit(X)
n_segments = som.cluster_labels_.max() + 1
n_rows, n_columns = som.grid_shape_
print(f"{n_rows}x{n_columns} units merged into {n_segments} segments ({n_clusters=})")

# %%
# Each segment is described by the medians of its customers, in the original scale of the features,
# and by the two features with the largest deviation from the median of all customers.
members = [som.labels_ == k for k in range(n_segments)]
medians = np.array([np.nanmedian(X[rows], axis=0) for rows in members])
deviations = medians - np.nanmedian(X, axis=0)
descriptions = []
for row in deviations:
    first, second = np.argsort(-np.abs(row))[:2]
    descriptions.append(
        f"{'high' if row[first] > 0 else 'low'} {names[first]}, "
        f"{'high' if row[second] > 0 else 'low'} {names[second]}"
    )

print(f"\n{'median':18}{'all':>9}" + "".join(f"{k:>9}" for k in range(n_segments)))
print(f"{'customers':18}{n_customers:9}" + "".join(f"{rows.sum():9}" for rows in members))
for column, name in enumerate(names):
    row = [np.nanmedian(values[rows, column]) for rows in [slice(None), *members]]
    print(f"{name:18}" + "".join(f"{median:9,.{0 if median >= 10 else 2}f}" for median in row))
caption = "\n".join(f"segment {k}: {text}" for k, text in enumerate(descriptions))
print(f"\n{caption}")

# %%
# Comparison with the true segments. k-means and the Gaussian mixture require imputed data (here by
# the mean) and the number of clusters. All methods are evaluated with the number of clusters that
# the map selected and with the true number.
if true_labels is not None:
    X_imputed = SimpleImputer().fit_transform(X)
    print(f"\n{'adjusted Rand index':24}{'map':>8}{'k-means':>10}{'mixture':>10}")
    for k in sorted({int(n_segments), len(set(true_labels))}):
        labels = [
            TFSOM(n_clusters=k).fit_predict(X),
            KMeans(k, n_init=10, random_state=0).fit_predict(X_imputed),
            GaussianMixture(k, n_init=5, random_state=0).fit_predict(X_imputed),
        ]
        scores = [adjusted_rand_score(true_labels, each) for each in labels]
        print(f"{f'{k} clusters':24}{scores[0]:8.2f}{scores[1]:10.2f}{scores[2]:10.2f}")

# %%
# The segments and the component planes, in the original scale of the features. For these data the
# planes show a segment that "auto" did not find: the customers at one end of segment 0 have not
# placed an order for a year.
codebook = scaler.inverse_transform(som.codebook_)
codebook = np.where(is_logarithmic, np.expm1(codebook), codebook)

figure = plt.figure(figsize=(13, 6.5), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1, 1.7])
segments = ClassMapDisplay.from_estimator(som, ax=left.subplots())
segments.ax_.set_title("Segments")
left.supxlabel(caption, x=0.04, ha="left", fontsize="medium", linespacing=1.5)
n_plot_columns = int(np.ceil(np.sqrt(len(names))))
axes = right.subplots(-(-len(names) // n_plot_columns), n_plot_columns, squeeze=False).ravel()
for ax in axes[len(names) :]:
    ax.set_axis_off()
planes = ComponentPlanesDisplay(codebook, segments.grid, names, cluster_labels=som.cluster_labels_)
_ = planes.plot(ax=axes)

# %%
# **When not to use a map:** if only the segments are needed and their shape is known. The
# synthetic segments are approximately Gaussian, so a Gaussian mixture with the true number of
# clusters finds them as well. For real data the number of clusters is unknown, and the
# number selected by "auto" should be checked visually.

# %%
# Save the figure if the example is run as a script.
if "__file__" in globals():
    path = here.parent / "output" / "customers.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"\nFigure saved to {path}")

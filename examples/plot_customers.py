"""
Customer segments on a map
==========================

Nine numbers a customer: how long ago, how often and how much they buy, what they send back, what
they buy. The map lays similar customers side by side, merges its units into segments, and shows
what makes each of them.

The sample is **invented**: ``data/make_customers.py`` draws it, with segments that overlap, are of
unequal size and leave gaps, and since it is invented we can count how well they are found. Bring a
table of your own: a CSV file with a line of names, then a line of numbers for each customer, empty
where one is unknown (a last column named ``segment``, if there is one, is only compared with)::

    python examples/plot_customers.py customers.csv
    python examples/plot_customers.py customers.csv 6  # with so many segments
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

# The gallery runs an example in its own folder, and does not say where that is.
here = Path(__file__).resolve().parent if "__file__" in globals() else Path.cwd()
path = Path(sys.argv[1]) if len(sys.argv) > 1 else here / "data" / "customers.csv"
n_clusters = int(sys.argv[2]) if len(sys.argv) > 2 else "auto"

with path.open(newline="") as file:
    names, *lines = csv.reader(file)
known = None
if names[-1] == "segment":
    known = [line.pop() for line in lines]
    names.pop()
values = np.array([[float(cell or "nan") for cell in line] for line in lines])
n_customers = len(values)
print(f"{n_customers} customers, {np.isnan(values).mean():.1%} of {len(names)} numbers unknown")

# %%
# Days, orders and money spread over orders of magnitude: their logarithms are what to compare.
# Shares, between 0 and 1, stay as they are. Unknown values stay unknown; the map needs no filling.
is_large = (np.nanmin(values, axis=0) >= 0) & (np.nanmax(values, axis=0) > 1)
scaler = StandardScaler()
X = scaler.fit_transform(np.where(is_large, np.log1p(np.maximum(values, 0)), values))

som = TFSOM(n_clusters=n_clusters).fit(X)
n_segments = som.cluster_labels_.max() + 1
n_rows, n_columns = som.grid_shape_
print(f"{n_rows}x{n_columns} units merged into {n_segments} segments ({n_clusters=})")

# %%
# What a segment is: the medians of its customers beside those of all, in the table's own units,
# and in words the two features in which it stands out most.
members = [som.labels_ == k for k in range(n_segments)]
medians = np.array([np.nanmedian(X[rows], axis=0) for rows in members])
apart = medians - np.nanmedian(X, axis=0)
words = []
for row in apart:
    first, second = np.argsort(-np.abs(row))[:2]
    words.append(
        f"{'high' if row[first] > 0 else 'low'} {names[first]}, "
        f"{'high' if row[second] > 0 else 'low'} {names[second]}"
    )

print(f"\n{'median':18}{'all':>9}" + "".join(f"{k:>9}" for k in range(n_segments)))
print(f"{'customers':18}{n_customers:9}" + "".join(f"{rows.sum():9}" for rows in members))
for column, name in enumerate(names):
    of = [np.nanmedian(values[rows, column]) for rows in [slice(None), *members]]
    print(f"{name:18}" + "".join(f"{each:9,.{0 if each >= 10 else 2}f}" for each in of))
caption = "\n".join(f"segment {k}: {text}" for k, text in enumerate(words))
print(f"\n{caption}")

# %%
# Did it find what was drawn? k-means and the mixture need the gaps filled first (with means), and
# the number of clusters: they get the map's, and then that of the truth.
if known is not None:
    filled = SimpleImputer().fit_transform(X)
    print(f"\n{'adjusted Rand index':24}{'map':>8}{'k-means':>10}{'mixture':>10}")
    for k in sorted({int(n_segments), len(set(known))}):
        labels = [
            TFSOM(n_clusters=k).fit_predict(X),
            KMeans(k, n_init=10, random_state=0).fit_predict(filled),
            GaussianMixture(k, n_init=5, random_state=0).fit_predict(filled),
        ]
        found = [adjusted_rand_score(known, each) for each in labels]
        print(f"{f'{k} clusters':24}{found[0]:8.2f}{found[1]:10.2f}{found[2]:10.2f}")

# %%
# The segments, and what each feature is across the map, in the table's own units. Of the sample
# the planes show more than the segments do: at one end of segment 0 are customers who have not
# bought for a year. They were drawn as a segment of their own, and "auto" has missed them.
codebook = scaler.inverse_transform(som.codebook_)
codebook = np.where(is_large, np.expm1(codebook), codebook)

figure = plt.figure(figsize=(13, 6.5), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1, 1.7])
segments = ClassMapDisplay.from_estimator(som, ax=left.subplots())
segments.ax_.set_title("Segments")
left.supxlabel(caption, x=0.04, ha="left", fontsize="medium", linespacing=1.5)
n_beside = int(np.ceil(np.sqrt(len(names))))
axes = right.subplots(-(-len(names) // n_beside), n_beside, squeeze=False).ravel()
for ax in axes[len(names) :]:
    ax.set_axis_off()
planes = ComponentPlanesDisplay(codebook, segments.grid, names, cluster_labels=som.cluster_labels_)
_ = planes.plot(ax=axes)

# %%
# **When not to use a map:** where only the segments count, and their shape is known. The sample's
# are lumps, one Gaussian each, and a mixture told their number finds them a little better; on your
# own table nobody tells you, and the number that "auto" finds is a proposal to look at.

# %%
# As a script this saves the picture; the gallery shows it.
if "__file__" in globals():
    picture = here.parent / "output" / "customers.png"
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, dpi=150, bbox_inches="tight")
    print(f"\nThe picture: {picture}")

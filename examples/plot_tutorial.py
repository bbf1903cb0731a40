"""
Tutorial: from a table to a decision
====================================

This tutorial follows one data set through all steps of working with a map: look at the table, fit,
check the map, read it, test the clusters, place new samples, find unusual ones, and decide.

The data are scikit-learn's breast cancer data set: measurements of the cell nuclei of 569 tumors.
The question is which new tumors can be decided by their measurements, and which need a second
reading. The map is trained without the diagnoses. The example shows a method; it is not
medical advice.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM, Grid
from sklearn_tfsom.displays import (
    AnomalyMapDisplay,
    ClassMapDisplay,
    ComponentPlanesDisplay,
    HitMapDisplay,
    InteractiveMapDisplay,
    SeparationCurveDisplay,
    UMatrixDisplay,
    UnitValuesDisplay,
)
from sklearn_tfsom.metrics import (
    class_counts,
    explained_variance,
    quantization_error,
    separation_curve,
    topographic_error,
)

# %%
# The table
# ---------
# The first ten columns are means over the nuclei of a tumor. A third of the tumors is held out:
# these are the new samples. The ranges of the columns differ by a factor of more than ten
# thousand, so they must be scaled. Otherwise the area alone would determine the map.
tumors = load_breast_cancer(as_frame=True)
columns = tumors.data.columns[:10]
diagnosis = tumors.target.map({0: "malignant", 1: "benign"}).rename("diagnosis")
train, new = train_test_split(tumors.data, test_size=1 / 3, stratify=diagnosis, random_state=0)
X_train, X_new = train[columns], new[columns]
y_train, y_new = diagnosis[train.index], diagnosis[new.index]
print(X_train.describe().T[["min", "50%", "max"]].round(3))
print(f"\n{len(train)} tumors for training, {len(new)} new ones")

# %%
# Fit
# ---
# The scaler and the map are one pipeline. The size of the map is chosen from the data. With
# ``n_clusters="auto"`` the number of clusters is chosen, too.
pipeline = make_pipeline(StandardScaler(), TFSOM(n_clusters="auto")).fit(X_train)
som = pipeline[-1]
n_rows, n_columns = som.grid_shape_
n_clusters = int(som.cluster_labels_.max()) + 1
print(f"{n_rows}x{n_columns} units, {n_clusters} clusters")

# %%
# Check the map
# -------------
# Look at the errors before reading a map. The topographic error is the share of samples whose two
# best-matching units are not neighbors: a few percent are usual. The explained variance is the
# share that the code vectors account for. The quantization error of new tumors is usually larger
# than that of the training data. Here it is a little larger. The topographic error of new tumors
# is larger, too: the second-best unit is less certain than the best one.
print(f"{'':20}{'training':>10}{'new':>8}")
for name, measure in (
    ("topographic error", topographic_error),
    ("explained variance", explained_variance),
    ("quantization error", quantization_error),
):
    print(f"{name:20}{measure(pipeline, X_train):10.3f}{measure(pipeline, X_new):8.3f}")

# %%
# The U-matrix (left) shows the distances between neighboring units, the hit map (right) the number
# of tumors in each unit. The units at the top are close to each other, those at the bottom far
# apart. No ridge divides the map into separated parts: distances increase gradually. The line is
# the border of the two clusters.
overview, (left, right) = plt.subplots(1, 2, figsize=(10, 6.5), layout="constrained")
UMatrixDisplay.from_estimator(pipeline, ax=left)
_ = HitMapDisplay.from_estimator(pipeline, ax=right)

# %%
# Read the planes
# ---------------
# The component planes of a pipeline are in the units of the table. Similar planes are placed side
# by side: radius, perimeter and area are nearly the same plane, so they are one property, the
# size, which is counted three times. The fractal dimension and the smoothness vary in another
# direction.
planes = ComponentPlanesDisplay.from_estimator(pipeline, put_similar_together=True)
planes.figure_.set_size_inches(13, 8)

# %%
# Clusters, and how clearly they are supported
# --------------------------------------------
# The separation curve shows the support of each number of clusters. Below 3 a number is doubtful,
# from 5 on it is clear. Two clusters are in between. The table compares them with the diagnoses:
# one cluster is almost entirely malignant, but the other is not free of malignant tumors. The
# clusters alone do not answer the question.
clusters, (left, right) = plt.subplots(
    1, 2, figsize=(11, 6), width_ratios=[1.2, 1], layout="constrained"
)
SeparationCurveDisplay.from_estimator(pipeline, X_train, ax=left)
ClassMapDisplay.from_estimator(pipeline, ax=right)
numbers, separations = separation_curve(pipeline, X_train)
print(f"separation of {n_clusters} clusters: {separations[numbers == n_clusters][0]:.1f}\n")
print(pd.crosstab(pipeline.predict(X_train), y_train, rownames=["cluster"]))

# %%
# A variable that the map does not know
# -------------------------------------
# Any variable can be shown on the map. If it has a structure there, it depends on the columns that
# the map was trained with. The left plot shows the largest area of the nuclei, a column that was
# not used for training, the right plot the share of malignant tumors. Between the units with
# benign tumors only and those with malignant tumors only there is a zone with both. A part of this
# zone is in the larger cluster.
variables, (left, right) = plt.subplots(1, 2, figsize=(10, 6.5), layout="constrained")
UnitValuesDisplay.from_estimator(pipeline, X_train, train["worst area"], statistic="mean", ax=left)
is_malignant = (y_train == "malignant").rename("malignant")
_ = UnitValuesDisplay.from_estimator(pipeline, X_train, is_malignant, statistic="share", ax=right)

# %%
# A decision
# ----------
# A single unit holds a few tumors only. Neighboring units are similar, so the share of malignant
# tumors is computed over each unit and its neighbors. Up to 5 % are treated as benign, 95 % and
# more as malignant. All others, and units without tumors around them, get a second reading.
ACTIONS = ["benign", "second reading", "malignant"]
grid = Grid(n_rows, n_columns)
classes, counts = class_counts(pipeline, X_train, y_train)
units = np.arange(grid.n_units)
is_near = grid.squared_distances(units[:, np.newaxis], units) <= 1
n_benign, n_malignant = (is_near @ counts).T
shares = n_malignant / np.maximum(n_benign + n_malignant, 1)
actions = np.select(
    [n_benign + n_malignant == 0, shares <= 0.05, shares >= 0.95], [1, 0, 2], default=1
)

# %%
# New samples
# -----------
# Each new tumor gets the action of its best-matching unit.
bmus_new = som.bmus(pipeline[:-1].transform(X_new))
decided = pd.Series(np.array(ACTIONS)[actions[bmus_new]], index=X_new.index, name="decision")
table = pd.crosstab(decided, y_new).reindex(ACTIONS, fill_value=0)
print(table)
n_decided = table.loc[["benign", "malignant"]].to_numpy().sum()
n_wrong = table.loc["benign", "malignant"] + table.loc["malignant", "benign"]
print(f"\n{n_decided} of {len(new)} new tumors decided, {n_wrong} of them wrongly")
print(f"{len(new) - n_decided} for a second reading")

# %%
# Unusual samples
# ---------------
# A tumor that is unlike all others should get a second reading, too, whatever its unit says.
# ``score_samples`` is low for such samples. New tumors with a score below that of 95 % of the
# training data are marked. Most of them are malignant. The printed column is the one that deviates
# most from the code vector, in standard deviations.
threshold = -np.quantile(pipeline.score_samples(X_train), 0.05)
scores = pd.Series(-pipeline.score_samples(X_new), index=X_new.index)
unusual = scores[scores > threshold].sort_values(ascending=False)
deviations = pipeline[:-1].transform(X_new) - som.codebook_[bmus_new]
deviations = pd.DataFrame(deviations, index=X_new.index, columns=columns)
print(f"unusual: {len(unusual)} of {len(new)} new tumors (score above {threshold:.2f})")
for index, score in unusual.items():
    column = deviations.loc[index].abs().idxmax()
    print(
        f"tumor {index:3}: score {score:.2f}, {column} {deviations.loc[index, column]:+.1f}, "
        f"decision: {decided[index]}, diagnosis: {y_new[index]}"
    )

result, (left, right) = plt.subplots(1, 2, figsize=(11, 6.5), layout="constrained")
ClassMapDisplay(actions, grid, classes=ACTIONS, name="Decisions").plot(ax=left)
_ = AnomalyMapDisplay.from_estimator(pipeline, X_new, threshold=threshold, ax=right)

# %%
# Hand it over
# ------------
# `~sklearn_tfsom.displays.InteractiveMapDisplay` makes one HTML file that needs neither Python nor
# a network. Readers choose a plane, select units, list their tumors and find a tumor by its index.
# It needs Bokeh: ``pip install "sklearn-tfsom[viewer]"``.
viewer = InteractiveMapDisplay.from_estimator(pipeline, X_new, y_new, title="New tumors")

# %%
# **When not to use a map:** if only the diagnosis of each tumor is needed. A classifier that is
# trained with the diagnoses is more accurate. The map shows, in addition, where the measurements
# do not decide, and why.

# %%
# Save the figures and the page if the example is run as a script. In a notebook, ``viewer`` as the
# last line of a cell shows the page, and ``viewer.save("tutorial.html")`` saves it.
if "__file__" in globals():
    path = Path(__file__).resolve().parent.parent / "output" / "tutorial.png"
    path.parent.mkdir(exist_ok=True)
    figures = {
        "tutorial": overview,
        "tutorial_planes": planes.figure_,
        "tutorial_clusters": clusters,
        "tutorial_variables": variables,
        "tutorial_decisions": result,
    }
    for name, figure in figures.items():
        figure.savefig(path.with_stem(name), dpi=150, bbox_inches="tight")
    viewer.save(path.with_suffix(".html"))
    print(f"\nFigures and page saved to {path.parent}")

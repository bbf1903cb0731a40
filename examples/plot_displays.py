"""
All displays at a glance
========================

Each display of :mod:`sklearn_tfsom.displays` on the same map of 178 wines with 13 features. The
numbers of clusters and those of cultivars are independent of each other.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM
from sklearn_tfsom.displays import (
    AnomalyMapDisplay,
    ClassMapDisplay,
    CodeVectorsDisplay,
    ComponentPlanesDisplay,
    DataSpaceDisplay,
    HitMapDisplay,
    InteractiveMapDisplay,
    MapOverviewDisplay,
    SeparationCurveDisplay,
    TrainingDisplay,
    TrajectoryDisplay,
    UMatrixDisplay,
    UnitValuesDisplay,
)

wine = load_wine(as_frame=True)
X = wine.data
cultivar = ("cultivar " + wine.target.astype(str)).rename("cultivar")
som = TFSOM(n_clusters="auto", compute_topographic_error=True)
pipeline = make_pipeline(StandardScaler(), som).fit(X)
figures = {}


def new_axes(name, n_axes, height=5.5):
    """Return the axes of a new figure, which is saved under a name."""
    size = 4.8 * n_axes, height
    figures[name], axes = plt.subplots(1, n_axes, figsize=size, layout="constrained")
    return axes


# %%
# Structure
# ---------
# * `~sklearn_tfsom.displays.UMatrixDisplay` shows the distances between neighboring units: ridges
#   separate clusters.
# * `~sklearn_tfsom.displays.HitMapDisplay` shows how many samples each unit has, and of which
#   classes.
# * `~sklearn_tfsom.displays.DataSpaceDisplay` shows the map as a net among the samples.
left, middle, right = new_axes("displays_structure", 3)
UMatrixDisplay.from_estimator(pipeline, ax=left)
HitMapDisplay.from_estimator(pipeline, X, cultivar, ax=middle)
_ = DataSpaceDisplay.from_estimator(pipeline, X, cultivar, ax=right)

# %%
# Classes and clusters
# --------------------
# * `~sklearn_tfsom.displays.ClassMapDisplay` shows the most frequent class of each unit, or its
#   cluster.
# * `~sklearn_tfsom.displays.SeparationCurveDisplay` shows how clearly the data support each number
#   of clusters.
left, middle, right = new_axes("displays_clusters", 3)
ClassMapDisplay.from_estimator(pipeline, X, cultivar, ax=left)
ClassMapDisplay.from_estimator(pipeline, ax=middle)
_ = SeparationCurveDisplay.from_estimator(pipeline, X, ax=right)

# %%
# Features
# --------
# * `~sklearn_tfsom.displays.ComponentPlanesDisplay` shows the values of each feature across the
#   map.
planes = ComponentPlanesDisplay.from_estimator(
    pipeline, features=["alcohol", "malic_acid", "flavanoids", "color_intensity", "hue", "proline"]
)
figures["displays_planes"] = planes.figure_

# %%
# * `~sklearn_tfsom.displays.CodeVectorsDisplay` shows all features of each unit, as a curve, an
#   image or a color. The curves of this figure are in standard deviations: it shows the map alone,
#   ``pipeline[-1]``.
# * `~sklearn_tfsom.displays.UnitValuesDisplay` shows a statistic of any variable in each unit,
#   here the share of wines of cultivar 1.
left, right = new_axes("displays_values", 2)
CodeVectorsDisplay.from_estimator(pipeline[-1], ax=left)
is_cultivar_1 = (cultivar == "cultivar 1").rename("cultivar 1")
_ = UnitValuesDisplay.from_estimator(pipeline, X, is_cultivar_1, statistic="share", ax=right)

# %%
# Samples
# -------
# * `~sklearn_tfsom.displays.AnomalyMapDisplay` marks the samples that are unlike the others.
# * `~sklearn_tfsom.displays.TrajectoryDisplay` shows the path of consecutive samples, here of a
#   wine of cultivar 0 that is mixed with more and more of a wine of cultivar 2.
shares = np.linspace(0, 1, 60)[:, np.newaxis]
first, last = X.iloc[[0, -1]].to_numpy()
mixtures = pd.DataFrame((1 - shares) * first + shares * last, columns=X.columns)
left, right = new_axes("displays_samples", 2)
AnomalyMapDisplay.from_estimator(pipeline, X, quantile=0.97, ax=left)
_ = TrajectoryDisplay.from_estimator(pipeline, mixtures, ax=right)

# %%
# Training
# --------
# * `~sklearn_tfsom.displays.TrainingDisplay` shows the errors and the radius of each epoch.
_ = TrainingDisplay.from_estimator(pipeline, ax=new_axes("displays_training", 3, height=3.5))

# %%
# Several at once
# ---------------
# * `~sklearn_tfsom.displays.MapOverviewDisplay` combines several displays in one figure.
overview = MapOverviewDisplay.from_estimator(pipeline, X, cultivar, n_planes=6)
figures["displays"] = overview.figure_

# %%
# * `~sklearn_tfsom.displays.InteractiveMapDisplay` makes a page to explore in a browser. In a
#   notebook, ``viewer`` as the last line of a cell shows it, and ``viewer.save("map.html")`` saves
#   it. It needs Bokeh: ``pip install "sklearn-tfsom[viewer]"``.
viewer = InteractiveMapDisplay.from_estimator(pipeline, X, cultivar)

# %%
# **When not to use a map:** if a table of two features or a scatter plot answers the question. Use
# a display to compare several variables at the same positions.

# %%
# Save the figures and the page if the example is run as a script.
if "__file__" in globals():
    path = Path(__file__).resolve().parent.parent / "output" / "displays.png"
    path.parent.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(path.with_stem(name), dpi=150, bbox_inches="tight")
    viewer.save(path.with_suffix(".html"))
    print(f"\n{len(figures)} figures and a page saved to {path.parent}")

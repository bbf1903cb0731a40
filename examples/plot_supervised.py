"""
Classification and regression on the features of a map
======================================================

Some packages offer a supervised map, with a class or a target value in each unit. A pipeline
takes its place: the map makes features, and a linear model learns the classes or the target from
them. With ``features="activations"`` each unit is a feature that is 1 at its code vector and
decreases to 0 with the distance, so each coefficient is the contribution of a place on the map.

This example compares the pipeline with nearest neighbors and with the linear model alone, on the
same folds. **The map is not the most accurate of them on any of these data.** It is a reasonable
choice if the map is wanted anyway: the model is then read, and its errors are located, on the map.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_moons,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM
from sklearn_tfsom.displays import ClassMapDisplay, UnitValuesDisplay
from sklearn_tfsom.metrics import class_counts

# %%
# Models
# ------
# The small final radius gives a low quantization error, which matters for features. Most
# activations are close to 0, so the penalty of a linear model weighs more than for scaled
# features. A second scaler gives each activation the same variance; the first row of the tables is
# without it. All other parameters have their defaults.


def models(linear, neighbors):
    """Return the compared models for a linear model and a nearest neighbors model."""
    som = TFSOM(radius_end=0.3, features="activations")
    return {
        "map": make_pipeline(StandardScaler(), som, linear),
        "map, scaled": make_pipeline(StandardScaler(), som, StandardScaler(), linear),
        "nearest neighbors": make_pipeline(StandardScaler(), neighbors),
        "linear": make_pipeline(StandardScaler(), linear),
    }


# %%
# Classes
# -------
# Mean accuracies of five folds, and their standard deviations. The linear model is a logistic
# regression. The digits are the first 1,000 of scikit-learn's. The moons are synthetic: two
# classes with a curved border.
data = {
    "iris": load_iris(return_X_y=True),
    "wine": load_wine(return_X_y=True),
    "breast cancer": load_breast_cancer(return_X_y=True),
    "digits": [array[:1000] for array in load_digits(return_X_y=True)],
    "moons": make_moons(600, noise=0.25, random_state=0),
}
folds = StratifiedKFold(5, shuffle=True, random_state=0)
classifiers = models(LogisticRegression(max_iter=1000), KNeighborsClassifier())
print(f"{'accuracy':20}" + "".join(f"{name:>15}" for name in data))
for name, model in classifiers.items():
    scores = [cross_val_score(model, X, y, cv=folds) for X, y in data.values()]
    cells = (f"{np.mean(each):.3f} ±{np.std(each):.3f}" for each in scores)
    print(f"{name:20}" + "".join(f"{cell:>15}" for cell in cells))

# %%
# The map loses to nearest neighbors on all five data sets. It is better than the linear model only
# on the moons, where a straight border is wrong. It loses most on iris and wine, where each unit
# has only a few samples. The second scaler helps on the four real data sets, and not on the moons.

# %%
# A target
# --------
# :math:`R^2` for the progression of diabetes, with a ridge regression as the linear model.
X, y = load_diabetes(return_X_y=True)
regressors = models(Ridge(), KNeighborsRegressor())
target_folds = KFold(5, shuffle=True, random_state=0)
print(f"{'R^2':20}{'diabetes':>15}")
for name, model in regressors.items():
    scores = cross_val_score(model, X, y, cv=target_folds)
    print(f"{name:20}{f'{scores.mean():.3f} ±{scores.std():.3f}':>15}")

# %%
# The linear model is clearly better here. The map divides only 442 patients among its units. The
# second scaler makes no clear difference.

# %%
# Errors on the map
# -----------------
# The map adds a place for each prediction. The left plot shows the digits that the pipeline
# predicts for samples of the held-out folds. The right plot shows the share of wrong predictions.
# Most errors are in units that hold samples of several digits, although less than a fifth of all
# samples is in such units.
X, y = data["digits"]
predicted = cross_val_predict(classifiers["map, scaled"], X, y, cv=folds)
som = make_pipeline(StandardScaler(), TFSOM(radius_end=0.3)).fit(X)
figure, (left, right) = plt.subplots(1, 2, figsize=(12, 6.5), layout="constrained")
ClassMapDisplay.from_estimator(som, X, predicted, ax=left)
UnitValuesDisplay.from_estimator(som, X, predicted != y, statistic="share", ax=right)
left.set_title("Predicted digit", fontsize="large")
right.set_title("Share of wrong predictions", fontsize="large")

_, counts = class_counts(som, X, y)
is_mixed = (np.count_nonzero(counts, axis=1) > 1)[som.predict(X)]
print(f"samples in mixed units: {is_mixed.mean():.0%}")
print(f"errors in mixed units: {is_mixed[predicted != y].mean():.0%}")

# %%
# **When not to use a map:** if only the accuracy is needed. Nearest neighbors or a linear model
# are simpler and at least as accurate on these data.

# %%
# Save the figure if the example is run as a script.
if "__file__" in globals():
    path = Path(__file__).resolve().parent.parent / "output" / "supervised.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"\nFigure saved to {path}")

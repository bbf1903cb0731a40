"""What the displays read of a map and of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length, column_or_1d

from sklearn_tfsom._map.grid import Grid


def check_classes(y: ArrayLike, X: ArrayLike) -> tuple[NDArray, NDArray[np.int64]]:
    """Return the classes in order, and each sample's index in them."""
    labels = column_or_1d(y)
    check_consistent_length(X, labels)
    classes, codes = np.unique(labels, return_inverse=True)
    return classes, codes


def class_hits(
    bmus: NDArray,
    codes: NDArray,
    grid: Grid,
    n_classes: int,
    weights: NDArray | None = None,
) -> NDArray[np.float64]:
    """Total weight of each class in each unit, (n_units, n_classes)."""
    cells = bmus.astype(np.int64) * n_classes + codes
    hits = np.bincount(cells, weights, minlength=grid.n_units * n_classes)
    return hits.astype(np.float64).reshape(grid.n_units, n_classes)


def majorities(hits: NDArray) -> NDArray[np.int64]:
    """Class that each unit has most of, (n_units,): the first of equals, -1 where it has none."""
    return np.where(hits.any(axis=1), hits.argmax(axis=1), -1)


def majority_names(classes: NDArray, hits: NDArray) -> list[str]:
    """Name of the class that each unit has most of, "" where it has none."""
    return ["" if k < 0 else str(classes[k]) for k in majorities(hits)]


def has_clusters(estimator: Any) -> bool:
    """Whether units were merged into clusters."""
    return estimator.n_clusters is not None


def feature_names(estimator: Any) -> list[str]:
    """Names of the features: those of the data, or "feature 0" and so on."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        return [f"feature {k}" for k in range(estimator.n_features_in_)]
    return [str(name) for name in names]


def distance_unit(estimator: Any) -> str:
    """Return what distances are in, for a color bar."""
    return "data units" if estimator._metric in _WITH_UNITS else f"{estimator._metric} distance"


_WITH_UNITS = ("euclidean", "manhattan", "chebyshev")

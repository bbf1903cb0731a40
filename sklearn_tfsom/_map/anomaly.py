"""Anomaly scores: how far a sample lies from its unit, and the unit from the others."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._compat import with_errstate
from sklearn_tfsom._data.scaling import check_range, in_precision
from sklearn_tfsom._data.tiles import map_tiles, value_slices
from sklearn_tfsom._distance import Metric, all_distances, metric_of
from sklearn_tfsom._map.grid import grid_of
from sklearn_tfsom._map.umatrix import u_heights
from sklearn_tfsom._tuning import LARGE_TILE_VALUES

ANOMALY_SCORES = ("isolation", "u_height", "distance")

# Isolation: units that hold this share of the samples count as near, and the distance of a sample
# to its own unit counts this much. Both are in a flat optimum: on the sets that they were chosen
# on, half or twice the share lowered the area under the ROC curve by 0.03 and 0.01, a factor of 0,
# 0.5 and 1 by 0.01, 0.01 and 0.03; a factor of 0 raised the average precision by 0.03. The present
# values are in benchmarks/results/anomaly.json.
_NEAR_SHARE, _FACTOR = 0.1, 0.25


class AnomalyScore(NamedTuple):
    """A score by ``factor * distance to the unit + height of the unit``."""

    factor: float
    heights: NDArray[np.float64] | None  # (n,); None for 0

    def of(self, distances: NDArray) -> NDArray:
        """Return the scores of samples, by the distances to their units, in the same precision."""
        with np.errstate(over="ignore", under="ignore"):
            scores = self.factor * distances.astype(np.float64)
            if self.heights is not None:
                scores += self.heights
                check_range(np.isfinite(scores))
        return in_precision(scores, distances.dtype)


def anomaly_score(estimator: Any, units: NDArray[np.int64]) -> AnomalyScore:
    """Return the anomaly score of some units of a fitted map."""
    metric = metric_of(estimator)
    codebook = estimator.codebook_.astype(np.float64)
    if estimator.anomaly_score == "distance":
        return AnomalyScore(1.0, None)
    if estimator.anomaly_score == "u_height":
        return AnomalyScore(1.0, u_heights(grid_of(estimator), codebook, metric)[units])
    different, place = np.unique(units, return_inverse=True)
    heights = isolation(codebook, estimator._counted_hits, metric, different)
    return AnomalyScore(_FACTOR, heights[place])


def isolation(
    codebook: NDArray[np.float64],
    hits: NDArray[np.float64],
    metric: Metric,
    units: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the mean distance of units to the nearest units that hold a tenth of the samples.

    Parameters
    ----------
    codebook : ndarray of shape (n_units, n_features)
    hits : ndarray of shape (n_units,)
        Total weight of the samples of each unit that take part in training.
    metric : Metric
    units : ndarray of int, shape (n,)
        The units that are asked for. A unit counts among those near it.

    Returns
    -------
    distances : ndarray of float64, shape (n,)
    """
    holders = np.flatnonzero(hits)
    with np.errstate(under="ignore"):
        shares = hits[holders] / hits.sum()

    def of_rows(rows: slice) -> NDArray[np.float64]:
        distances = all_distances(codebook[units[rows]], codebook[holders], metric)
        return _mean_nearest(distances, shares)

    slices = value_slices(len(units), len(holders), LARGE_TILE_VALUES)
    return np.concatenate([np.empty(0), *map_tiles(of_rows, slices)])


def _mean_nearest(
    distances: NDArray[np.float64], shares: NDArray[np.float64], tried: float = 2 * _NEAR_SHARE
) -> NDArray[np.float64]:
    """Return the mean of the least distances of each row, to units that hold enough samples.

    Parameters
    ----------
    distances : ndarray of float64, shape (n_rows, n_units)
    shares : ndarray of float64, shape (n_units,)
        Shares of the samples that units hold.
    tried : float, default=0.2
        Share of the units that is tried first, and is mostly enough: finding these takes less time
        than sorting all. Twice as many are tried for rows for which they are not.
    """
    n_near = math.ceil(tried * len(shares))
    if n_near >= len(shares):
        return _weighted_mean(distances, np.broadcast_to(shares, distances.shape))
    near = np.argpartition(distances, n_near - 1, axis=1)[:, :n_near]
    held, means = shares[near], np.empty(len(distances))
    is_enough = held.sum(axis=1) > _NEAR_SHARE
    least = np.take_along_axis(distances, near, axis=1)
    means[is_enough] = _weighted_mean(least[is_enough], held[is_enough])
    means[~is_enough] = _mean_nearest(distances[~is_enough], shares, 2 * tried)
    return means


@with_errstate(under="ignore")  # of distances near the smallest numbers, times shares
def _weighted_mean(
    distances: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean of the least distances of each row, up to a tenth of the samples."""
    order = np.argsort(distances, axis=1, kind="stable")
    distances, shares = (np.take_along_axis(each, order, axis=1) for each in (distances, shares))
    counted = np.clip(_NEAR_SHARE - (np.cumsum(shares, axis=1) - shares), 0, shares)
    distances = np.where(counted > 0, distances, 0)
    check_range(np.isfinite(distances), what="Distances between code vectors")
    means: NDArray[np.float64] = np.average(distances, axis=1, weights=counted)
    return means

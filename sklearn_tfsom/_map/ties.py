"""The tie rule: among units that are equally close within rounding the lowest index wins.

Rounding moves a sample by a few units in its last place, and a code vector by a few units in the
last place of the values that it is a mean of. Code vectors that should be equal, as compact
neighborhoods make them, then differ by as much, and without this rule the order of a sum or the
size of a tile would choose between them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._distance import Metric

# Rounding moves a sample, or a code vector, by less than this share of its size.
NOISE = 16 * 2.0**-53

# A sample is far from the map if its norm exceeds this multiple of the largest code vector's. The
# noise of its own size then counts no more than that of a sample at this distance.
FAR = 16.0

# Lowest values of a row that are found one by one; for more of them rows are sorted.
MAX_PASSES = 8


def distance_noise(sizes: Any, extent: Any, lowest: Any, metric: Metric, n_features: Any) -> Any:
    """Bound how rounding may change a distance: of the points, and of a sum over the features.

    Works for arrays of NumPy and TensorFlow.

    Parameters
    ----------
    sizes : array of shape (n,)
        Size of each row: its norm, or the reduced magnitudes of its values.
    extent : float or array of shape (n,)
        The same of the values that code vectors are means of.
    lowest : array of shape (n,)
        The lowest distance of each row.
    metric : Metric
    n_features : float
    """
    of_points = NOISE * (sizes + extent)
    if metric.reduction != "sum":
        return of_points
    return of_points + n_features * 2.0**-52 * lowest


def within_rounding(distances: Any, lowest: Any, noise: Any) -> Any:
    """Return which units are as close to each row as the closest one, within rounding.

    Works for arrays of NumPy, TensorFlow and Keras.

    Parameters
    ----------
    distances : array of shape (n, n_units)
    lowest : array of shape (n, 1)
        The lowest distance of each row.
    noise : array of shape (n, 1)
        By how much rounding may change a distance.
    """
    return distances <= lowest + noise


def first_within_rounding(
    distances: NDArray[np.float64], noise: NDArray[np.float64], k: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Find the k closest units of each row by the tie rule, one after the other.

    Parameters
    ----------
    distances : ndarray of float64, shape (n, n_units)
        May be changed.
    noise : ndarray of float64, shape (n,)
    k : int

    Returns
    -------
    units : ndarray of int32, shape (n, k)
    lowest : ndarray of float64, shape (n,)
        The distance to the closest unit.
    """
    if k > MAX_PASSES:
        return _first_of_sorted(distances, noise, k)
    units, closest = np.empty((len(distances), k), np.int32), distances.min(axis=1)
    lowest = closest
    for place in range(k):
        near = within_rounding(distances, lowest[:, None], noise[:, None])
        units[:, place] = np.argmax(near, axis=1)
        if place + 1 < k:
            # NaN rather than infinity: a distance that overflows must not hide a unit taken.
            np.put_along_axis(distances, units[:, place, None], np.nan, axis=1)
            lowest = np.fmin.reduce(distances, axis=1)
    return units, closest


def _first_of_sorted(
    distances: NDArray[np.float64], noise: NDArray[np.float64], k: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Find the same in sorted rows: the lowest index among the next ones within rounding."""
    n_units = distances.shape[1]
    units = np.argsort(distances, axis=1, kind="stable").astype(np.int32)
    ordered = np.take_along_axis(distances, units, axis=1)
    lowest, limits = ordered[:, 0].copy(), ordered + noise[:, None]
    # A window has all units that are within rounding of its first one. Equal distances are in the
    # order of their units already.
    width = 1
    while width < n_units and _any_within(ordered, limits, width):
        width *= 2
    if width == 1:
        return units[:, :k], lowest
    for place in range(k):
        window = slice(place, min(place + width, n_units))
        near = within_rounding(ordered[:, window], limits[:, place, None], 0.0)
        chosen = np.where(near, units[:, window], n_units).argmin(axis=1)
        rows = np.flatnonzero(chosen)
        if len(rows):  # the chosen one comes first, those before it move up
            steps = np.arange(near.shape[1])
            order = steps - (steps <= chosen[rows, None])
            order[:, 0] = chosen[rows]
            for values in (units, ordered, limits):
                values[rows, window] = np.take_along_axis(values[rows, window], order, axis=1)
    return units[:, :k], lowest


def _any_within(ordered: NDArray[np.float64], limits: NDArray[np.float64], width: int) -> bool:
    """Return True if distances that far apart in sorted rows differ by rounding only."""
    first, last = ordered[:, :-width], ordered[:, width:]
    return bool(((first < last) & (last <= limits[:, :-width]) & np.isfinite(last)).any())

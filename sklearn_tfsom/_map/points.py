"""Points that represent samples in clustering."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from sklearn_tfsom._data.scaling import power_of_two

# Values are equal if they differ by no more than this many times eps, relative to the largest.
ROUNDINGS = 8

# Points are rounded to this share of their spread; those of float32 to ROUNDINGS times eps.
_RESOLUTION = 2.0**-33

# Smallest weight of a point, relative to the largest: products of smaller ones could be 0.
_MIN_SHARE = 1e-100


class Points(NamedTuple):
    """Points that represent samples."""

    means: NDArray  # (n, n_features), of the samples of each point, in their precision
    weights: NDArray[np.float64]  # (n,), total weight of these samples
    repeated: NDArray[np.float64]  # (n,), part of the weight, that of one value
    per_point: float = 1.0  # different samples of a point, on average
    are_units: bool = False  # whether they are the means of the units' samples
    least: float = 0.0  # weight below which a cluster is an outlier

    def has_outlier(self, labels: NDArray[np.int64]) -> bool:
        """Return True if one of the clusters, labeled from 0 on, is an outlier.

        Where points stand for several samples each, a cluster of a single point has the weight of
        one value. How far apart the samples of a point are is not known, and in the tail of a
        distribution the gap around it is always wide.
        """
        is_single = (np.bincount(labels) == 1) & (self.per_point >= 2)
        counted = np.where(is_single[labels], self.repeated, self.weights)
        return bool((np.bincount(labels, counted) < self.least).any())

    def take(self, places: NDArray[np.int64]) -> Points:
        """Return some of the points."""
        return self._replace(
            means=self.means[places], weights=self.weights[places], repeated=self.repeated[places]
        )

    def joined(self, group: NDArray[np.int64], means: NDArray) -> Points:
        """Return the groups of points as points, labeled from 0 on, of the given means."""
        weights, repeated = (
            np.bincount(group, values).astype(np.float64)
            for values in (self.weights, self.repeated)
        )
        per_point = self.per_point * len(group) / len(means)
        return self._replace(means=means, weights=weights, repeated=repeated, per_point=per_point)


def rounded(values: NDArray) -> NDArray[np.float64]:
    """Round points to a small share of their spread, and features without spread to one value.

    Points that differ by the rounding of sums in another order are then equal.

    Parameters
    ----------
    values : ndarray of float32 or float64, shape (n, n_features)

    Returns
    -------
    result : ndarray of float64, shape (n, n_features)
    """
    result, eps = values.astype(np.float64), float(np.finfo(values.dtype).eps)
    factor = power_of_two(float(np.abs(result).max()))
    result /= factor  # no difference exceeds the range of float64
    spreads, sizes = np.ptp(result, axis=0), np.abs(result).max(axis=0)
    is_constant = spreads <= ROUNDINGS * eps * sizes
    result[:, is_constant] = result[0, is_constant]
    step = max(_RESOLUTION, ROUNDINGS * eps) * power_of_two(float(spreads.max()))
    result[:, ~is_constant] = np.round(result[:, ~is_constant] / step) * step
    return result * factor


def normalized(points: Points, units: NDArray) -> tuple[Points, NDArray[np.float64]]:
    """Return points and units around the mean of the points, in one scale; weights up to 1."""
    means, units = rounded(points.means), units.astype(np.float64)
    factor = power_of_two(max(np.abs(means).max(), np.abs(units).max()))
    means, units = means / factor, units / factor  # no sum exceeds the range of float64
    # From the first point on: the mean of equal values is exact.
    means, units = means - means[0], units - means[0]
    center = means.mean(axis=0)
    means, units = means - center, units - center
    scale = np.abs(means).max() or np.abs(units).max() or 1.0
    heaviest = points.weights.max()
    weights = np.maximum(points.weights / heaviest, _MIN_SHARE)
    repeated = points.repeated / heaviest
    return points._replace(means=means / scale, weights=weights, repeated=repeated), units / scale


def distinct(points: Points) -> Points:
    """Join equal points, which always belong to the same cluster; the central ones come first.

    Their order decides ties. It depends neither on the order of the features nor on their signs,
    except among points that are equally far from the center.

    Parameters
    ----------
    points : Points
        As `normalized` returns them.
    """
    means, same = np.unique(points.means, axis=0, return_inverse=True)
    # Without the rounding of sums of the features in another order.
    distances = np.round(np.linalg.norm(means, axis=1), 7)
    order = np.argsort(distances, kind="stable")
    return points.joined(same.ravel(), means).take(order)


def turned(points: Points, units: NDArray) -> tuple[Points, NDArray[np.float64]]:
    """Return coordinates of points and units in the space that they span; all distances stay.

    Unchanged where this would not be at most half as many numbers.
    """
    n = len(points.means)
    if 2 * (n + len(units)) > units.shape[1]:
        return points, units
    rows = np.concatenate([points.means, units])
    (triangle,) = scipy.linalg.qr(rows.T, mode="r")
    coordinates = triangle[: len(rows)].T
    return points._replace(means=coordinates[:n]), coordinates[n:]

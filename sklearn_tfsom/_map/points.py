"""Points that represent samples in clustering."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.scaling import power_of_two

# Points are rounded to this share of their spread. A feature is constant if its values differ by
# no more than this many times eps.
_RESOLUTION, _ROUNDINGS = 2.0**-33, 8

# Smallest weight of a point, relative to the largest: products of smaller ones could be 0.
_MIN_SHARE = 1e-100


class Points(NamedTuple):
    """Points that represent samples."""

    means: NDArray  # (n, n_features), of the samples of each point, in their precision
    weights: NDArray[np.float64]  # (n,), total weight of these samples
    per_point: float = 1.0  # different samples of a point, on average
    are_units: bool = False  # whether they are the means of the units' samples
    least: float = 0.0  # weight below which a cluster is an outlier

    def have_outlier(self, labels: NDArray[np.int64]) -> bool:
        """Return True if one of the clusters, labeled from 0 on, is an outlier.

        So is a single point that stands for several samples: how far apart these are is not known,
        and in the tail of a distribution the gap around such a point is always wide.
        """
        stand_for_several = self.per_point >= 2 and not self.are_units
        is_light = np.bincount(labels, self.weights) < self.least
        return bool(is_light.any() or (stand_for_several and np.bincount(labels).min() < 2))


def without_rounding(values: NDArray) -> NDArray[np.float64]:
    """Round points to a small share of their spread, and features without spread to one value.

    Points that differ by the rounding of sums in another order are then equal.

    Parameters
    ----------
    values : ndarray of float32 or float64, shape (n, n_features)

    Returns
    -------
    rounded : ndarray of float64, shape (n, n_features)
    """
    rounded, eps = values.astype(np.float64), float(np.finfo(values.dtype).eps)
    factor = power_of_two(float(np.abs(rounded).max()))
    rounded /= factor  # no difference exceeds the range of float64
    spreads, sizes = np.ptp(rounded, axis=0), np.abs(rounded).max(axis=0)
    is_constant = spreads <= _ROUNDINGS * eps * sizes
    rounded[:, is_constant] = rounded[0, is_constant]
    step = _RESOLUTION * power_of_two(float(spreads.max()))
    rounded[:, ~is_constant] = np.round(rounded[:, ~is_constant] / step) * step
    return rounded * factor


def normalized(points: Points, units: NDArray) -> tuple[Points, NDArray[np.float64]]:
    """Return points and units around the mean of the points, in one scale; weights up to 1."""
    means, units = without_rounding(points.means), units.astype(np.float64)
    factor = power_of_two(max(np.abs(means).max(), np.abs(units).max()))
    means, units = means / factor, units / factor  # no sum exceeds the range of float64
    # From the first point on: the mean of equal values is exact.
    means, units = means - means[0], units - means[0]
    center = means.mean(axis=0)
    means, units = means - center, units - center
    scale = np.abs(means).max() or np.abs(units).max() or 1.0
    weights = np.maximum(points.weights / points.weights.max(), _MIN_SHARE)
    return points._replace(means=means / scale, weights=weights), units / scale


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
    weights = np.bincount(same.ravel(), points.weights).astype(np.float64)
    # Without the rounding of sums of the features in another order.
    distances = np.round(np.linalg.norm(means, axis=1), 7)
    order = np.argsort(distances, kind="stable")
    return points._replace(means=means[order], weights=weights[order])

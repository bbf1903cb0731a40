"""Centering and scaling of samples before anything is computed.

Squares lose digits far from the origin, and leave the range of float32 early. So samples are
centered and scaled first, to ``(x - center) * scale``.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sklearn_tfsom._compat import with_errstate
from sklearn_tfsom._distance import Metric
from sklearn_tfsom._tuning import MAX_MEDIAN

# Code vectors farther from 0 than this multiple of their spread would leave too many near ties.
_MAX_OFFSET = 32.0

# How code vectors are rounded in data units, before they are centered, as a share of `ties.NOISE`:
# each value of two of them by half a unit in its last place.
_OF_OFFSET = 1 / 8

_GOLDEN_RATIO = (1 + 5**0.5) / 2

# Values that need to be scaled by less than this have sums of squares in the range of float32.
_SAFE_SCALE = 2.0**40


def power_of_two(size: float) -> float:
    """Return the largest power of two up to a size, 1 for 0: division by it is exact."""
    return math.ldexp(1.0, math.frexp(size)[1] - 1) if size > 0 else 1.0


SQUARES_TOO_LARGE = "X contains values too large: their squared distances"


def check_range(
    are_finite: Any,
    dtype: DTypeLike = np.float64,
    what: str = "X contains values too large: their distances",
) -> None:
    """Check that no result has left the range of its dtype; `what` begins the error.

    Raises
    ------
    ValueError
        Unless all of `are_finite`, a bool or an array of bool, are True.
    """
    if not np.all(are_finite):
        raise ValueError(f"{what} exceed the range of {np.dtype(dtype).name}. Rescale X.")


def in_precision(values: NDArray, dtype: DTypeLike) -> NDArray:
    """Round results for samples to their precision.

    Raises
    ------
    ValueError
        If rounding takes one out of its range.
    """
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore", under="ignore"):
        rounded = values.astype(dtype, copy=False)
    check_range(~np.isinf(rounded), dtype)
    return rounded


class Scaling(NamedTuple):
    """A shift and a scale; see the module."""

    center: NDArray[np.float64]  # (n_features,)
    scale: float  # a power of two, so that scaling is exact
    metric: Metric
    reach: NDArray[np.float64] | float = math.inf  # (n_features,) around the center, if known

    @classmethod
    def of(
        cls,
        center: NDArray,
        spread: float,
        dtype: DTypeLike,
        metric: Metric,
        *,
        reach: NDArray[np.float64] | float = math.inf,
        is_sparse: bool = False,
    ) -> Scaling:
        """Make the scaling to a spread of about 1 around a center.

        Nothing is centered where that would change distances, or make a sparse matrix dense.

        Parameters
        ----------
        center : ndarray of shape (n_features,)
        spread : float
        dtype : dtype
            Of the samples. The center is rounded to it, so that differences are rounded once.
        metric : Metric
        reach : ndarray of shape (n_features,), default=inf
            Largest distance of a value to the center, for `training_extents`; 0 for a feature in
            which all values are equal.
        is_sparse : bool, default=False
        """
        dtype = np.dtype(dtype)
        largest = np.finfo(dtype).max
        center = in_precision(np.clip(center, -largest, largest), dtype).astype(np.float64)
        if is_sparse or not metric.is_translation_invariant:
            spread = max(spread, float(np.abs(center).max(initial=0)))
            reach = np.where(np.asarray(reach) > 0, reach + np.abs(center), 0)
            center = np.zeros_like(center)
        exponent = math.frexp(spread)[1] if 0 < spread < math.inf else 0
        # The scale of distances and its inverse must exist.
        limit = (100 if dtype == np.float32 else 1000) // max(1, metric.scaling_degree)
        scale = math.ldexp(1.0, -min(max(exponent, -limit), limit))
        return cls(center, scale, metric, reach)

    @classmethod
    def around(
        cls, codebook: NDArray, dtype: DTypeLike, metric: Metric, *, is_sparse: bool = False
    ) -> Scaling:
        """Make the scaling around the middle of the code vectors."""
        center, spread = center_and_spread(codebook)
        return cls.of(center, spread, dtype, metric, is_sparse=is_sparse)

    @classmethod
    def for_search(
        cls, codebook: NDArray, dtype: DTypeLike, metric: Metric, *, is_sparse: bool
    ) -> Scaling:
        """Make the scaling that leaves samples as they are wherever that is safe.

        A feature is centered if it lies far from 0 compared with the spread of the code vectors;
        all are scaled if squares could leave the range of float32.
        """
        center, spread = center_and_spread(codebook)
        is_far = np.abs(center) > _MAX_OFFSET * spread
        scaling = cls.of(np.where(is_far, center, 0), spread, dtype, metric, is_sparse=is_sparse)
        return scaling.without_scale()

    def without_scale(self) -> Scaling:
        """Leave out the scale where squares stay in the range of float32 without it."""
        is_safe = 1 / _SAFE_SCALE < self.scale < _SAFE_SCALE
        return self._replace(scale=1.0) if is_safe else self

    @property
    def is_identity(self) -> bool:
        """Whether samples are left as they are."""
        return self.scale == 1 and not self.center.any()

    @with_errstate(under="ignore")  # of values that are small beside other features
    def transform(self, X: NDArray, out: NDArray | None = None) -> NDArray:
        """Scale samples: into `out`, in its precision, or into a new array of float64.

        The result is rounded once. Large values are scaled down before, and small ones scaled up
        after the center is subtracted, so that nothing overflows on the way.
        """
        if out is None:
            out = np.array(X, np.float64)
        elif self.is_identity:
            np.copyto(out, X)
        if self.is_identity:
            return out
        scale = out.dtype.type(self.scale)
        if self.scale >= 1:
            np.subtract(X, self.center.astype(out.dtype), out=out)
            return np.multiply(out, scale, out=out)
        np.multiply(X, scale, out=out)
        return np.subtract(out, (self.center * self.scale).astype(out.dtype), out=out)

    def inverse_transform(self, codebook: NDArray) -> NDArray[np.float64]:
        """Return code vectors in data units; inf beyond the range of float64."""
        with np.errstate(over="ignore"):
            return codebook / self.scale + self.center

    def distance_factor(self) -> float:
        """Return the distance of scaled points whose distance is 1 before."""
        return float(self.scale**self.metric.scaling_degree)

    def extents(
        self, codebook: NDArray[np.float64], middle: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return the size of the values of which code vectors are rounded means, by feature.

        Parameters
        ----------
        codebook : ndarray of float64, shape (n_units, n_features)
            Scaled, and rounded before it was scaled.
        middle : ndarray of float64, shape (n_features,), default=None
            `middle_of` the codebook, if it is known.

        Returns
        -------
        extents : ndarray of float64, shape (n_features,)
            In the scaled space: together the median distance of code vectors to their middle,
            which an outlying one hardly changes, and the offset of the middle; 0 for features in
            which code vectors do not differ.
        """
        middle = middle_of(codebook) if middle is None else middle
        differences = codebook - middle
        np.abs(differences, out=differences)
        largest = float(differences.max()) or 1.0
        differences /= largest  # so that squares are in the range of float64
        sizes = differences.mean(axis=0)
        spread = np.median(self.metric.size(differences)) / (self.metric.size(sizes) or 1.0)
        # The median is 0 if most code vectors are equal to the middle.
        return self._with_offsets(sizes * (largest * (spread or 1.0)), np.abs(middle))

    def training_extents(self) -> NDArray[np.float64]:
        """Return the extents of a codebook in training.

        Samples have a root mean square norm of about 1 there, around the center, or less where
        they are too small to be scaled up to that. A start that users give, and a codebook between
        two calls of `partial_fit`, have been rounded in data units, and unit vectors have been
        divided by their length.
        """
        # Features share this size in proportion to their reach.
        sizes = np.minimum(self.reach * self.scale, np.ones_like(self.center))
        length = sizes.max() if self.metric.reduction == "max" else np.linalg.norm(sizes)
        least = len(sizes) ** -0.5 / 2  # with a norm of 1/2 or more, shared by all features
        return self._with_offsets(sizes / max(length, least), 0.0)

    def _with_offsets(
        self, sizes: NDArray[np.float64], offsets: NDArray[np.float64] | float
    ) -> NDArray[np.float64]:
        """Add offsets, and a share of the center, to the sizes; 0 where a size is 0."""
        with np.errstate(over="ignore"):  # of a huge constant feature, whose size is 0
            extents = sizes + offsets + _OF_OFFSET * np.abs(self.center * self.scale)
        if self.metric.is_spherical:
            extents += self.scale * len(sizes) ** -0.5
        return np.where(sizes > 0, extents, 0)


def center_and_spread(codebook: NDArray) -> tuple[NDArray[np.float64], float]:
    """Return the middle of the code vectors, and the largest difference of a value from it."""
    center = middle_of(codebook)
    spread = np.maximum(codebook.max(axis=0) - center, center - codebook.min(axis=0))
    return center, float(spread.max())


def middle_of(codebook: NDArray) -> NDArray[np.float64]:
    """Return the median of the code vectors by feature, exactly if they are equal.

    One far away would move the mean away from all others. A few from all over the map are enough;
    of an odd number the median is one of them, without rounding.
    """
    n_units = len(codebook)
    n_some = min(MAX_MEDIAN, n_units - 1 + n_units % 2)
    # Multiples of the golden ratio fall into all rows and columns of a grid.
    places = np.arange(n_units)
    if n_units > n_some:
        places = (np.arange(n_some) * _GOLDEN_RATIO % 1 * n_units).astype(int)
    some = codebook[places[:n_some]].astype(np.float64)
    middle: NDArray[np.float64] = np.partition(some, n_some // 2, axis=0)[n_some // 2]
    return middle

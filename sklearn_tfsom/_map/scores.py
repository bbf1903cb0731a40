"""Scores of units: the codebook as factors of products, and bounds on their rounding.

The score of a unit for a sample is its squared distance less the part that all units share::

    |x - w|^2 - |x|^2 = |w|^2 - 2 x.w

so one matrix product gives the scores of all units. Over the known features m of an incomplete
sample it is ``m.w^2 - 2 x.w``, with 0 for missing values: the product of (x, m) with (-2 w, w^2).
Where code vectors ``w = c + v`` lie around a center c, ``v (v + 2 c) - 2 x.v`` differs from it by
a constant for each sample, and its rounding error is proportional to the spread of the units.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._compat import with_errstate
from sklearn_tfsom._distance import Metric
from sklearn_tfsom._map.ties import FAR, NOISE

# Products up to here, and their sums, stay in the range of float32.
_SAFE_PRODUCT = 2.0**120

# Products of norms above this one, and their rounding, are no subnormal numbers in float32.
_SAFE_NORM = 2.0**-40


class SearchKind(NamedTuple):
    """Properties of a search that its graph is built for."""

    metric: Metric
    has_missing: bool
    is_pruned: bool = False  # whether units are searched in blocks
    n_fused: int = 0  # number of features, if XLA is to compute scores where it compares them
    is_rough: bool = False  # whether products may round their factors to TF32


class Sizes(NamedTuple):
    """Sizes that bound the rounding of scores; numbers, or tensors of float64 within a graph."""

    is_bias_in_product: bool  # whether |w|^2 is a term of the product
    n_features: Any
    n_terms: Any  # terms of a product that are added up one after the other, at most
    largest: Any  # largest norm of a code vector, measured from the center
    least: Any  # at least as many code vectors as are wanted have norms up to this one
    offset: Any  # norm of the center
    far: Any  # samples with a larger norm are far from the map
    extent: Any
    is_rough: bool = False

    def n_roundings(self, unit_roundoff: float) -> Any:
        """Bound the rounding of a product relative to the norms of its factors, in roundoffs.

        ``1.1 n + 8`` for n terms (Higham 2002, section 3.1), of which 2 are the rounding of both
        factors. TF32 keeps 10 bits of these.
        """
        of_factor = 2.0**-11 / unit_roundoff if self.is_rough else 1.0
        return 1.1 * self.n_terms + 6 + 2 * of_factor


class Factors(NamedTuple):
    """Code vectors as factors of the one product of arrays that gives all scores.

    Rows (x, 1) have (-2 w, |w|^2) as factors; incomplete rows (x, m) have (-2 w, w^2).
    """

    values: NDArray[np.float32]  # (n_terms, n_units), in C order
    sizes: Sizes  # for the closest unit
    norms: NDArray[np.float64]  # (n_units,) squared, measured from the center

    def sizes_for(self, k: int) -> Sizes:
        """Return the sizes for the k closest units."""
        return self.sizes if k == 1 else self.sizes._replace(least=least_norm(self.norms, k))


@dataclasses.dataclass(frozen=True)
class Target:
    """Code vectors to search, in the scaled space; arrays, or tensors within a graph."""

    kind: SearchKind
    codebook: NDArray[np.float64]  # (n_rows, n_columns, n_features), on the grid
    center: NDArray[np.float64]  # (n_features,): scores are computed around it
    # (n_features,): sizes of the values that code vectors are rounded means of
    extents: NDArray[np.float64]
    _factors: Factors | None = dataclasses.field(default=None, init=False)

    def of_graph(self) -> list[NDArray[np.float64]]:
        """Return codebook, center and extents as arguments of a graph."""
        parts = self.codebook, self.center, self.extents
        return [np.asarray(part, np.float64) for part in parts]

    @property
    def factors(self) -> Factors:
        """Factors of the scores in NumPy, which are computed once.

        For graphs `_tf.operands.make_operands` computes them, with the same sizes. They are no
        `cached_property`, of which Python 3.11 holds a lock that a fork might never release.
        """
        factors = self._factors or self._compute_factors()
        object.__setattr__(self, "_factors", factors)
        return factors

    # No score of code vectors that overflow is used.
    @with_errstate(over="ignore", under="ignore", invalid="ignore")
    def _compute_factors(self) -> Factors:
        n_features = len(self.center)
        around = self.codebook.reshape(-1, n_features)
        has_center = self.center.any()
        around = around - self.center if has_center else around
        norms = np.einsum("uf,uf->u", around, around)
        own_norms = norms + 2 * around @ self.center if has_center else norms
        n_terms = n_features + (n_features if self.kind.has_missing else 1)
        values = np.empty((n_terms, len(around)), np.float32)
        np.multiply(around.T, -2.0, out=values[:n_features], dtype=np.float32, casting="same_kind")
        if self.kind.has_missing:
            values[n_features:] = (around * (around + 2 * self.center)).T
        else:
            values[n_features] = own_norms
        offset = np.linalg.norm(self.center) if has_center else 0.0
        sizes = Sizes(
            is_bias_in_product=True,
            n_features=n_features,
            n_terms=n_terms,
            largest=np.sqrt(norms.max()),
            least=least_norm(norms, 1),
            offset=offset,
            far=FAR * np.sqrt(max(own_norms.max() + offset**2, 0)),
            extent=float(self.kind.metric.size(self.extents)),
        )
        return Factors(values, sizes, norms)


def least_norm(squared: NDArray[np.float64], k: int) -> float:
    """Return the norm up to which there are k code vectors, see `Sizes.least`."""
    return math.sqrt(squared.min() if k == 1 else np.partition(squared, k - 1)[k - 1])


def rounding_bound(xp: Any, length: Any, sizes: Sizes, unit_roundoff: float) -> Any:
    """Bound the difference that rounding makes between two scores.

    A score ``|w|^2 - 2 x.w`` is off by at most ``r u 2 |x| |w|`` for a product of r roundings, see
    `Sizes.n_roundings`, plus ``4 u |w|^2`` for the bias and the last sum, of which the bias itself
    is a sum in float64. Two scores are off by twice that, and by the noise of the points. Where
    the bias is a term of the product, this is of ``2 |x| |w| + |w|^2``. Around a center c it is
    ``|v|`` in place of ``|w|``, and ``|v|^2 + 2 |v| |c|`` in place of ``|w|^2``.

    The largest code vectors count only for rows that may be close to them. If k units have norms
    up to m, and points a noise of p, the score of one of norm |v| is higher than theirs by at
    least ``(|v| + m) (|v| - 2 L - m)``, where ``L = |x - c| + p``. Where |v| is above ``1.2 (2 L +
    m)`` this is more than ``|v|^2 / 6``, far beyond rounding. So one far code vector does not make
    all rows unclear.

    Parameters
    ----------
    xp : module
        NumPy or TensorFlow.
    length : array of float64, shape (n,)
        Norms of the rows.
    sizes : Sizes
    unit_roundoff : float
        2**-24 for float32, 2**-53 for float64.

    Returns
    -------
    bound : array of float64, shape (n,)
    """
    return _bound(length, *_noise_and_largest(xp, length, sizes), sizes, unit_roundoff)


def _bound(length: Any, of_points: Any, largest: Any, sizes: Sizes, unit_roundoff: float) -> Any:
    """Return the bound where the noise of points and the largest norm nearby are known."""
    biased = largest + 2 * sizes.offset
    of_product = length + biased / 2 if sizes.is_bias_in_product else length
    of_bias = (2 + 0.6 * sizes.n_features * (2.0**-53 / unit_roundoff)) * biased
    of_scores = sizes.n_roundings(unit_roundoff) * of_product + of_bias
    return 4 * unit_roundoff * largest * of_scores + 4 * (length + biased) * of_points


def _noise_and_largest(xp: Any, length: Any, sizes: Sizes) -> tuple[Any, Any]:
    """Return the noise of points, and the largest norm of a code vector that may be close."""
    of_points = NOISE * (xp.minimum(length, sizes.far) + sizes.extent)
    nearby = 1.2 * (2 * (length + sizes.offset + of_points) + sizes.least)
    return of_points, xp.minimum(sizes.largest, nearby)


def rounding_bound32(xp: Any, norms: Any, sizes: Sizes) -> Any:
    """Return the bound for float32; infinite where a score may leave the range of float32.

    Parameters
    ----------
    xp : module
        NumPy or TensorFlow.
    norms : array of float64, shape (n,)
        Squared norms of the rows.
    sizes : Sizes
    """
    length = xp.sqrt(norms)
    of_points, largest = _noise_and_largest(xp, length, sizes)
    is_safe = (largest > _SAFE_NORM) & (
        sizes.n_terms * length * (1 + sizes.largest) < _SAFE_PRODUCT
    )
    return xp.where(is_safe, _bound(length, of_points, largest, sizes, 2.0**-24), np.inf)

"""Distances between samples and code vectors: one row of the table `METRICS` for each metric.

There are two kinds of metrics. A *product* metric is a function of the squared Euclidean distance
``|x|^2 + |w|^2 - 2 x.w``, so that distances come from a matrix product. An *elementwise* metric is
the sum or the maximum over the features of a term of ``x_i`` and ``w_i``. Everything that depends
on the metric is derived from its row: parameter checks, error messages, scaling, search and the
Keras export, except for directions there (`_tf/export.py`). An elementwise metric is a new row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from sklearn_tfsom._compat import with_errstate
from sklearn_tfsom._tuning import CACHED_VALUES

# A function of an array library (NumPy, TensorFlow or keras.ops) and arrays of that library. These
# libraries share the names abs, maximum, square, sqrt, where and ones_like.
Term = Callable[..., Any]


def _absolute(xp: Any, x: Any) -> Any:
    return xp.abs(x)


@dataclass(frozen=True)
class Metric:
    """A distance, and the properties that the rest of the package derives from.

    Parameters
    ----------
    name : str
    formula, use : str
        The distance, and the data it is for; for the documentation.
    scipy_name : str
        Name of the metric for `scipy.spatial.distance.cdist`.
    reduction : {"product", "sum", "max"}
        How the distance is computed: from a matrix product, or as the sum or the maximum over the
        features of `term`.
    term : callable, default=None
        ``term(xp, x, w)`` for an elementwise metric, with an array library `xp`; 0 where x = w,
        also where both are 0. NaN where a value is missing is left out by the search.
    magnitude : callable, default=abs
        ``magnitude(xp, x)`` bounds how much a term changes if x changes by a small share of
        itself, divided by that share: |x| for |x - w|, a constant for a quotient of values.
    direction : callable, default=None
        Maps dense rows to the vectors whose directions are compared. Samples and code vectors are
        then unit vectors, and the distance is ``1 - cos``, half the squared distance of these.
    allows_missing, allows_sparse : bool, default=False
        Whether samples may have missing values, and may be a sparse matrix.
    is_homogeneous : bool, default=True
        Whether data times s have distances times s. Otherwise they have the same distances. Not
        read for metrics that compare directions.
    is_translation_invariant : bool, default=True
        Whether a shift of samples and code vectors leaves distances as they are.
    min_features : int, default=1
        Fewest features that can be compared.
    """

    name: str
    formula: str
    use: str
    scipy_name: str
    reduction: str
    term: Term | None = None
    magnitude: Term = _absolute
    direction: Callable[[NDArray], NDArray] | None = None
    allows_missing: bool = False
    allows_sparse: bool = False
    is_homogeneous: bool = True
    is_translation_invariant: bool = True
    min_features: int = 1

    @property
    def is_product(self) -> bool:
        """Whether distances come from a matrix product."""
        return self.reduction == "product"

    @property
    def is_spherical(self) -> bool:
        """Whether samples and code vectors are unit vectors, compared by the cosine."""
        return self.direction is not None

    @property
    def has_data_units(self) -> bool:
        """Whether distances are in the units of the data."""
        return self.is_homogeneous and not self.is_spherical

    @property
    def scaling_degree(self) -> int:
        """Power of the scale of the search space by which distances there are larger.

        Unit vectors are shifted and scaled too, and ``1 - cos`` is half a squared distance.
        """
        return 2 if self.is_spherical else int(self.is_homogeneous)

    def from_squares(self, squared: Any, xp: Any = np) -> Any:
        """Turn squared Euclidean distances into those of a product metric."""
        return squared / 2 if self.is_spherical else xp.sqrt(squared)

    def size(self, points: NDArray) -> NDArray:
        """Return the norms of points; for an elementwise metric their reduced magnitudes."""
        if self.is_product:
            return np.asarray(np.sqrt(np.einsum("...f,...f->...", points, points)))
        return self.total(self.magnitude(np, points))

    def total(self, terms: NDArray, axis: int = -1) -> NDArray:
        """Reduce the terms of an elementwise metric over the features."""
        return terms.sum(axis=axis) if self.reduction == "sum" else terms.max(axis=axis)


def _absolute_difference(xp: Any, x: Any, w: Any) -> Any:
    return xp.abs(x - w)


def _same(rows: NDArray) -> NDArray:
    return rows


def _less_own_mean(rows: NDArray) -> NDArray:
    rows = rows - rows.mean(axis=1)[:, None]
    # The rounding of a mean far from 0 leaves a mean.
    rows -= rows.mean(axis=1)[:, None]
    # Rounding leaves no exact zeros of equal values.
    rows[np.abs(rows).max(axis=1) <= 2 * np.finfo(rows.dtype).eps] = 0
    return rows


# Squares of distances between these are exact.
_SAFE_DISTANCES = 2.0**-480, 2.0**500

METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="euclidean",
            formula="|x - w|",
            use="scaled measurements",
            scipy_name="euclidean",
            reduction="product",
            allows_missing=True,
            allows_sparse=True,
        ),
        Metric(
            name="cosine",
            formula="1 - cos(x, w)",
            use="samples whose length is irrelevant: texts, counts of words or purchases",
            scipy_name="cosine",
            reduction="product",
            direction=_same,
            allows_sparse=True,
        ),
        Metric(
            name="correlation",
            formula="1 - cos(x - mean(x), w - mean(w))",
            use="profiles whose level and scale are irrelevant: time series, gene expression",
            scipy_name="correlation",
            reduction="product",
            direction=_less_own_mean,
            min_features=2,
        ),
        Metric(
            name="manhattan",
            formula="sum_i |x_i - w_i|",
            use="data with outliers in single features",
            scipy_name="cityblock",
            reduction="sum",
            term=_absolute_difference,
            allows_missing=True,
        ),
        Metric(
            name="chebyshev",
            formula="max_i |x_i - w_i|",
            use="data where the largest difference of a feature matters",
            scipy_name="chebyshev",
            reduction="max",
            term=_absolute_difference,
            allows_missing=True,
        ),
    )
}


def metric_of(estimator: Any) -> Metric:
    """Return the metric that a fitted map was trained with, whatever `metric` is now."""
    return METRICS[estimator._metric]


def names_where(condition: Callable[[Metric], bool]) -> str:
    """Return the names of the metrics that meet a condition, quoted, for an error message."""
    return ", ".join(repr(metric.name) for metric in METRICS.values() if condition(metric))


@with_errstate(over="ignore", under="ignore")
def paired_distances(
    rows: NDArray, others: NDArray, metric: Metric, known: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Compute the distance of each row of one array to the same row of the other.

    Parameters
    ----------
    rows, others : ndarray of shapes that broadcast to (n, n_features)
        Unit vectors where the metric is spherical.
    metric : Metric
    known : ndarray of bool, shape (n, n_features), default=None
        The features that count; all by default.

    Returns
    -------
    distances : ndarray of float64, shape (n,)
        Infinite beyond the range of float64.
    """
    if metric.term is None:
        terms = np.subtract(rows, others, dtype=np.float64)
    else:
        terms = metric.term(np, rows.astype(np.float64, copy=False), others)
    if known is not None:
        np.copyto(terms, 0, where=~known)
    if not metric.is_product:
        return metric.total(terms)
    squared = np.einsum("ij,ij->i", terms, terms)
    if metric.is_spherical:
        return squared / 2
    distances = np.sqrt(squared)
    (lost,) = np.nonzero(~_is_safe(distances))
    distances[lost] = _scaled_norms(terms[lost])
    return distances


def all_distances(
    rows: NDArray, others: NDArray, metric: Metric, known: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Compute all distances between two sets of points from their differences.

    Parameters
    ----------
    rows : ndarray of float64, shape (n_rows, n_features)
    others : ndarray of float64, shape (n_others, n_features)
        Unit vectors or zeros where the metric is spherical.
    metric : Metric
    known : ndarray of bool, shape (n_rows, n_features), default=None
        The features of the rows that count, for an elementwise metric; all by default.

    Returns
    -------
    distances : ndarray of float64, shape (n_rows, n_others)
        Exactly 0 between equal points.
    """
    if known is not None:
        return _known_distances(rows, others, metric, known)
    if not metric.is_spherical:
        distances = cdist(rows, others, metric.scipy_name)
        low, high = distances.min(initial=1), distances.max(initial=1)
        if metric.is_product and not (_is_safe(low) and _is_safe(high)):
            _replace_lost(distances, rows, others)
        return distances
    distances = cdist(rows, others, "sqeuclidean") / 2
    # A zero row has no direction: its distance to every unit vector is 1.
    distances[np.not_equal.outer(rows.any(axis=1), others.any(axis=1))] = 1
    return distances


def _is_safe(distances: Any) -> Any:
    """Return which distances have squares well within the range of float64."""
    return (distances > _SAFE_DISTANCES[0]) & (distances < _SAFE_DISTANCES[1])


@with_errstate(over="ignore", under="ignore")
def _scaled_norms(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the norm of each row, of which no square leaves the range of float64."""
    _, exponent = np.frexp(np.abs(terms).max(axis=1, initial=0))
    scaled = np.ldexp(terms, -exponent[:, None])
    return np.ldexp(np.sqrt(np.einsum("ij,ij->i", scaled, scaled)), exponent)


@with_errstate(over="ignore", under="ignore")
def _replace_lost(distances: NDArray[np.float64], rows: NDArray, others: NDArray) -> None:
    """Compute Euclidean distances again whose squares left the range of float64."""
    largest = max(np.abs(points).max(initial=0) for points in (rows, others))
    is_lost = ~_is_safe(distances)
    if _is_safe(largest):  # the lost ones are 0, or negligible
        is_lost &= distances > _SAFE_DISTANCES[1]
    for row in np.flatnonzero(is_lost.any(axis=1)):
        (lost,) = np.nonzero(is_lost[row])
        distances[row, lost] = _scaled_norms(rows[row] - others[lost])


def _known_distances(
    rows: NDArray, others: NDArray, metric: Metric, known: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Compute all distances over the known features of rows, some features at a time."""
    assert metric.term is not None
    distances = np.zeros((len(rows), len(others)))
    add = np.add if metric.reduction == "sum" else np.maximum
    n_together = max(1, CACHED_VALUES // max(1, distances.size))
    for first in range(0, rows.shape[1], n_together):
        some = slice(first, first + n_together)
        terms = metric.term(np, rows.T[some, :, None], others.T[some, None, :])
        if not known[:, some].all():
            np.copyto(terms, 0, where=~known.T[some, :, None])
        add(distances, metric.total(terms, axis=0), out=distances)
    return distances


def squared_costs(distances: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """Return squared distances; ``1 - cos`` is half a squared distance already."""
    with np.errstate(over="ignore", under="ignore"):
        return distances if metric.is_spherical else np.square(distances)


def is_zero(rows: Any) -> NDArray[np.bool_]:
    """Return for each row, dense or CSR, whether it holds zeros only."""
    if scipy.sparse.issparse(rows):
        return np.bincount(stored_rows(rows), rows.data != 0, minlength=rows.shape[0]) == 0
    return ~rows.any(axis=1)


@with_errstate(under="ignore")  # of values that are small beside others of their row
def as_directions(rows: Any, metric: Metric) -> Any:
    """Return unit vectors in the directions that a spherical metric compares.

    Rows without a direction (of zeros, or of equal values under "correlation") become zeros.

    Parameters
    ----------
    rows : ndarray or CSR matrix of float32 or float64, shape (n, n_features)
    metric : Metric

    Returns
    -------
    rows : ndarray or CSR matrix of float64, shape (n, n_features)
        New.
    """
    assert metric.direction is not None
    if scipy.sparse.issparse(rows):
        unit, each = rows.astype(np.float64), stored_rows(rows)
        largest = np.zeros(rows.shape[0])
        np.maximum.at(largest, each, np.abs(unit.data))
        unit.data /= np.where(largest > 0, largest, 1)[each]
        length = np.sqrt(np.bincount(each, unit.data**2, minlength=len(largest)))
        unit.data /= np.where(length > 0, length, 1)[each]
        return unit
    unit = np.array(rows, np.float64, order="C")
    # In units of about the largest value no square and no sum overflows.
    largest = np.maximum(unit.max(axis=1), -unit.min(axis=1))[:, None]
    np.ldexp(unit, -np.frexp(largest)[1], out=unit)
    unit = metric.direction(unit)
    length = np.sqrt(np.einsum("ij,ij->i", unit, unit))[:, None]
    unit /= np.where(length > 0, length, 1)
    return unit


def as_codebook(values: ArrayLike, metric: Metric) -> NDArray[np.float64]:
    """Return code vectors (..., n_features) in float64, as unit vectors for a spherical metric.

    Those of float64 are not copied for other metrics.
    """
    codebook = np.asarray(values, dtype=np.float64)
    if not metric.is_spherical:
        return codebook
    unit = as_directions(codebook.reshape(-1, codebook.shape[-1]), metric)
    return unit.reshape(codebook.shape)


def stored_rows(matrix: Any) -> NDArray[np.int64]:
    """Return the row of each stored value of a CSR matrix."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))

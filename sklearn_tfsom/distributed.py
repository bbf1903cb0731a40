"""The statistics of an epoch in public: for training loops of your own.

Under a `tf.distribute` strategy, and with the modules for Dask, Ray and Spark, `fit` needs none of
this. Elsewhere these two functions make an epoch: `unit_statistics` of each part of the data,
their sum, and one `update_codebook`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._data.checks import (
    are_counted,
    check_codebook_names,
    check_sample_weight,
    check_samples,
)
from sklearn_tfsom._data.foreign import feature_names
from sklearn_tfsom._data.pieces import Pieces
from sklearn_tfsom._data.scaling import Scaling, check_range
from sklearn_tfsom._distance import METRICS, Metric
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.neighborhood import Kernels, checked_neighborhood
from sklearn_tfsom._map.smoothing import move_codebook
from sklearn_tfsom._parameters import CODEBOOK, RULES, as_code_vectors
from sklearn_tfsom._search.sources import make_source
from sklearn_tfsom._validation import Rule, check_value, real

__all__ = ["UnitStatistics", "unit_statistics", "update_codebook"]


class UnitStatistics(NamedTuple):
    """Statistics of samples by best-matching unit.

    Statistics of different samples add, with ``+`` or `sum`.

    Attributes
    ----------
    sums : ndarray of float64, shape (n_units, n_features)
        Weighted sum of each unit's samples, in data units. Under metrics that compare directions,
        of unit vectors in these directions.

    counts : ndarray of float64, shape (n_units, 1) or (n_units, n_features)
        Total weight of each unit's samples, for each feature separately if values are missing.

    error : float
        Weighted sum of the distances of the samples to their units, in data units; of ``1 - cos``
        under "cosine" and "correlation".

    Notes
    -----
    Samples without a direction, where directions are compared, are left out, as in training.
    """

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]
    error: float

    def __add__(self, other: Any) -> UnitStatistics:
        if not isinstance(other, UnitStatistics):
            return NotImplemented
        if self.sums.shape != other.sums.shape:
            raise ValueError(
                "Statistics that are added must be of one codebook. Got sums of shapes "
                f"{self.sums.shape} and {other.sums.shape} instead."
            )
        counts, error = self.counts + other.counts, self.error + other.error
        return UnitStatistics(self.sums + other.sums, counts, error)

    def __radd__(self, other: Any) -> UnitStatistics:
        return self if isinstance(other, int) and other == 0 else NotImplemented  # for sum()


_STATISTICS = Rule("a UnitStatistics", lambda value: isinstance(value, UnitStatistics))
_GRID = Rule("a Grid", lambda value: isinstance(value, Grid))


def unit_statistics(
    X: ArrayLike,
    codebook: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    metric: str = "euclidean",
) -> UnitStatistics:
    """Search samples in a codebook and sum them by best-matching unit.

    Read more in the :ref:`User Guide <guide_map_reduce>`.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN where a value is missing. Without samples the statistics are zero.

    codebook : array-like of shape (n_units, n_features)
        Code vectors. If both are data frames, it must have the columns of `X`, in their order.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample; None is 1 for each.

    metric : str, default="euclidean"
        The distance, as in `TFSOM`.

    Returns
    -------
    statistics : UnitStatistics
        Arrays of NumPy and a float: it can be pickled.

    Raises
    ------
    ValueError
        If the samples, the weights, the codebook or the metric are not valid or do not fit, or if
        squared distances or weighted sums exceed the range of float64.

    See Also
    --------
    update_codebook : Move a codebook by statistics.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom.distributed import unit_statistics
    >>> X = load_iris().data
    >>> statistics = unit_statistics(X[:100], X[::10]) + unit_statistics(X[100:], X[::10])
    >>> float(statistics.counts.sum())
    150.0
    """
    owner = "unit_statistics"
    checked_metric = _checked_metric(owner, metric)
    check_codebook_names("codebook", owner, codebook, feature_names(X, "X"))
    codebook = _checked_codebook(owner, codebook, checked_metric)
    samples = check_samples(owner, X, checked_metric, min_samples=0)
    if samples.shape[1] != codebook.shape[1]:
        raise ValueError(
            f"X must have as many features as codebook, {codebook.shape[1]}. Got "
            f"{samples.shape[1]} instead."
        )
    weights = check_sample_weight(sample_weight, len(samples), are_all=False)
    pieces = Pieces(samples, weights)
    pieces = pieces.take_where(are_counted(pieces))
    scaling = Scaling.around(codebook, samples.dtype, checked_metric, is_sparse=samples.is_sparse)
    scaled = scaling.transform(codebook)[:, None]  # a grid of one column
    source = make_source(pieces, scaling, scaling.extents(scaled[:, 0]))
    sums, counts, distance_sum = source.statistics(scaled)
    too_large = "X or sample_weight contains values too large: the weighted distances"
    check_range(np.isfinite(distance_sum), what=too_large)
    with np.errstate(over="ignore", invalid="ignore"):
        sums = sums / scaling.scale + counts * scaling.center
    if not np.isfinite(sums).all():
        raise ValueError(
            "sample_weight contains values too large: weighted sums of X exceed the range of "
            "float64. Divide it by its largest value."
        )
    return UnitStatistics(
        sums=sums,
        counts=counts,
        error=float(distance_sum) / scaling.distance_factor(),
    )


def update_codebook(
    codebook: ArrayLike,
    statistics: UnitStatistics,
    grid: Grid,
    radius: float,
    *,
    neighborhood: Any = "gaussian",
    metric: str = "euclidean",
) -> NDArray[np.float64]:
    """Move a codebook by statistics, as at the end of an epoch.

    ``w_k = sum_j h(d(k, j)^2, radius) s_j / sum_j h(d(k, j)^2, radius) n_j``, unchanged where the
    denominator is 0. Read more in the :ref:`User Guide <guide_map_reduce>`.

    Parameters
    ----------
    codebook : array-like of shape (n_units, n_features)
        The codebook that was searched for the statistics.

    statistics : UnitStatistics
        Sum of the results of `unit_statistics` for all samples.

    grid : Grid
        The grid of the units.

    radius : float
        Radius of the neighborhood, in lattice spacings.

    neighborhood : str or callable, default="gaussian"
        As in `TFSOM`.

    metric : str, default="euclidean"
        The metric of the statistics.

    Returns
    -------
    codebook : ndarray of float64, shape (n_units, n_features)

    Raises
    ------
    ValueError
        If the arguments are not valid or do not fit each other.

    Examples
    --------
    Three epochs, as ``TFSOM((5, 4), init=codebook, radius_decay=[2, 1, 0.85], max_iter=3, tol=0)``
    runs them:

    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM, Grid
    >>> from sklearn_tfsom.distributed import unit_statistics, update_codebook
    >>> X = load_iris().data
    >>> pieces, codebook = [X[:60], X[60:]], X[::7][:20]
    >>> for radius in [2, 1, 0.85]:
    ...     statistics = sum(unit_statistics(piece, codebook) for piece in pieces)
    ...     codebook = update_codebook(codebook, statistics, Grid(5, 4), radius)
    >>> som = TFSOM.from_codebook(codebook, grid_size=(5, 4), X=X)
    >>> som.labels_.shape
    (150,)
    """
    owner = "update_codebook"
    checked_metric = _checked_metric(owner, metric)
    check_value("neighborhood", owner, neighborhood, RULES["neighborhood"])
    check_value("radius", owner, radius, [real(0, closed=False)])
    check_value("statistics", owner, statistics, [_STATISTICS])
    check_value("grid", owner, grid, [_GRID])
    codebook = _checked_codebook(owner, codebook, checked_metric)
    if len(codebook) != grid.n_units:
        raise ValueError(
            f"codebook must have one row for each unit of the grid, {grid.n_units}. Got "
            f"{len(codebook)} instead."
        )
    sums, counts = (np.asarray(part, np.float64) for part in statistics[:2])
    if sums.shape != codebook.shape or counts.shape not in ((len(sums), 1), sums.shape):
        raise ValueError(
            f"statistics must be of this codebook, with sums of shape {codebook.shape}. Got "
            f"{sums.shape}, and counts of shape {counts.shape}, instead."
        )
    if not (np.isfinite(sums).all() and np.isfinite(counts).all() and (counts >= 0).all()):
        raise ValueError(
            "statistics must have finite sums, and finite counts of at least 0. Got NaN, infinity "
            "or negative counts."
        )
    kernels = Kernels(grid, checked_neighborhood(owner, neighborhood))
    scaling = Scaling.around(codebook, np.float64, checked_metric)
    moved = move_codebook(
        scaling.transform(codebook).reshape(*grid.shape, -1),
        (sums - counts * scaling.center) * scaling.scale,
        counts,
        kernels.kernel(float(radius)),
        scaling,
    )
    return scaling.inverse_transform(moved.reshape(grid.n_units, -1))


def _checked_metric(owner: str, metric: Any) -> Metric:
    check_value("metric", owner, metric, RULES["metric"])
    return METRICS[metric]


def _checked_codebook(owner: str, codebook: ArrayLike, metric: Metric) -> NDArray[np.float64]:
    check_value("codebook", owner, codebook, [CODEBOOK])
    return as_code_vectors("codebook", owner, codebook, metric)

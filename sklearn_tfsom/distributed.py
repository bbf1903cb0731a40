"""What a map learns of samples, as numbers that add: for Dask, Spark, or whatever has them.

Under a `tf.distribute` strategy `fit` needs none of this. Elsewhere these two functions make an
epoch: `unit_statistics` of each piece of the data, wherever it lies, their sum, and one
`update_codebook`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._data.samples import as_codebook, geometry_of
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.neighborhood import kernels
from sklearn_tfsom._plan import RULES, checked_neighborhood, that_count
from sklearn_tfsom._som import TFSOM
from sklearn_tfsom._tf.startup import tensorflow_core
from sklearn_tfsom._validation import (
    InvalidParameterError,
    check_sample_weight,
    check_value,
    numbers,
    real,
)

__all__ = ["UnitStatistics", "unit_statistics", "update_codebook"]


class UnitStatistics(NamedTuple):
    """What samples say to a codebook. Statistics of different samples add, with ``+`` or `sum`.

    Attributes
    ----------
    sums : ndarray of float64, shape (n_units, n_features)
        Weighted sum of each unit's samples, in data units. Under the metrics of directions, of
        their directions.

    counts : ndarray of float64, shape (n_units, 1) or (n_units, n_features)
        Their total weight; by feature where values are missing.

    error : float
        Weighted sum of the distances of the samples to their units, in data units.
    """

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]
    error: float

    def __add__(self, other: Any) -> UnitStatistics:
        return UnitStatistics(*(a + b for a, b in zip(self, other, strict=True)))

    def __radd__(self, other: Any) -> UnitStatistics:
        return self if isinstance(other, int) and other == 0 else NotImplemented  # what sum() does


def unit_statistics(
    X: ArrayLike,
    codebook: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    metric: str = "euclidean",
) -> UnitStatistics:
    """Search samples in a codebook and sum them up by best-matching unit.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN where a value is missing.

    codebook : array-like of shape (n_units, n_features)
        Code vectors.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample; None is 1 for each.

    metric : {"euclidean", "cosine", "correlation", "manhattan", "chebyshev"}, default="euclidean"
        The distance, as in `TFSOM`.

    Returns
    -------
    statistics : UnitStatistics
        NumPy only: it can be pickled and sent.

    Raises
    ------
    ValueError
        Where the samples, the weights, the codebook or the metric do not fit.

    See Also
    --------
    update_codebook : What to do with it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom.distributed import unit_statistics
    >>> X = load_iris().data
    >>> statistics = unit_statistics(X[:100], X[::10]) + unit_statistics(X[100:], X[::10])
    >>> float(statistics.counts.sum())
    150.0
    """
    som = _check("metric", metric, metric)
    codebook = _checked_codebook(codebook, metric)
    samples = som._check_data(X, reset=True)
    if samples.shape[1] != codebook.shape[1]:
        raise ValueError(
            f"X must have as many features as codebook, {codebook.shape[1]}. Got "
            f"{samples.shape[1]} instead."
        )
    weights = check_sample_weight(sample_weight, len(samples))
    which = that_count(samples, weights)
    core = tensorflow_core()
    frame = core.Frame.of_codebook(codebook, samples.dtype, is_centered=not samples.is_sparse)
    return UnitStatistics(
        *core.statistics_of(samples.take(which), weights[which], codebook, frame)
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
    """Move a codebook to where statistics say: an epoch's end.

    ``w_k = sum_j h(d(k, j)^2, radius) s_j / sum_j h(d(k, j)^2, radius) n_j``, unchanged where the
    denominator is 0.

    Parameters
    ----------
    codebook : array-like of shape (n_units, n_features)
        The codebook that the statistics are of.

    statistics : UnitStatistics
        Of all samples.

    grid : Grid
        Where the units stand.

    radius : float
        Of the neighborhood, in lattice spacings.

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
        Where the arguments do not fit one another.

    Examples
    --------
    Three epochs, as ``TFSOM((5, 4), init=start, radius_decay=[2, 1, 0.85])`` does them:

    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import Grid
    >>> from sklearn_tfsom.distributed import unit_statistics, update_codebook
    >>> X = load_iris().data
    >>> pieces, codebook = [X[:60], X[60:]], X[::7][:20]
    >>> for radius in [2, 1, 0.85]:
    ...     statistics = sum(unit_statistics(piece, codebook) for piece in pieces)
    ...     codebook = update_codebook(codebook, statistics, Grid(5, 4), radius)
    >>> codebook.shape
    (20, 4)
    """
    som = _check("neighborhood", neighborhood, metric)
    if not real(0, closed=False).accepts(radius):
        raise InvalidParameterError(
            f"radius must be {real(0, closed=False).says}. Got {radius!r} instead."
        )
    codebook = _checked_codebook(codebook, metric)
    if len(codebook) != grid.n_units:
        raise ValueError(
            f"codebook must have one row for each unit of the grid, {grid.n_units}. Got "
            f"{len(codebook)} instead."
        )
    sums, counts, _ = statistics
    if sums.shape != codebook.shape:
        raise ValueError(
            f"statistics must be of this codebook, with sums of shape {codebook.shape}. Got "
            f"{sums.shape} instead."
        )
    kernel = kernels(grid, checked_neighborhood(som, neighborhood))(float(radius))
    core = tensorflow_core()
    frame = core.Frame.of_codebook(codebook, np.float64)
    return core.updated_by(codebook, sums, counts, kernel, frame, geometry_of(metric))


def _check(name: str, value: Any, metric: str) -> TFSOM:
    """Check a value against the rule of the parameter of this name; return who has such rules."""
    som = TFSOM(metric=metric)
    check_value("metric", som, metric, RULES["metric"])
    check_value(name, som, value, RULES[name])
    return som


def _checked_codebook(codebook: ArrayLike, metric: str) -> NDArray[np.float64]:
    rule = numbers("(n_units, n_features)", 2)
    if not rule.accepts(codebook):
        raise InvalidParameterError(f"codebook must be {rule.says}. Got {codebook!r} instead.")
    return as_codebook(codebook, metric)

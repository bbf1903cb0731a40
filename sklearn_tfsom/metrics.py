"""Quality measures of a fitted map."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_tfsom._grid import Grid, grid_of
from sklearn_tfsom._samples import paired_distances
from sklearn_tfsom._validation import check_sample_weight

__all__ = ["quantization_error", "topographic_error", "u_matrix"]


def quantization_error(
    estimator: Any, X: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the mean distance of samples to their best-matching units.

    Lower is better; 0 where every sample is a code vector. It falls with the number of units, so
    it compares maps of one size.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    X : array-like of shape (n_samples, n_features)
        Samples, NaN where a value is missing.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample in the mean.

    Returns
    -------
    error : float
        ``mean |x - w_bmu(x)|``, in data units, in [0, inf).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import quantization_error
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> quantization_error(som, X) == som.quantization_error_
    True
    """
    return -estimator.score(X, sample_weight=sample_weight)


def topographic_error(
    estimator: Any,
    X: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    n_neighbors: int | None = None,
) -> float:
    """Compute the share of samples whose two best-matching units are not neighbors.

    Lower is better: neighbors on the map are neighbors in the data [1]_.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    X : array-like of shape (n_samples, n_features)
        Samples, NaN where a value is missing.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample in the mean.

    n_neighbors : {4, 6, 8}, default=None
        Which units are neighbors: 6 on a hexagonal lattice; on a rectangular one 4 (the default,
        as in SOM Toolbox) or 8, with the diagonals (as in MiniSom).

    Returns
    -------
    error : float
        In [0, 1]; 0 for a map of one unit.

    References
    ----------
    .. [1] Kiviluoto (1996): Topology preservation in self-organizing maps. ICNN 1996, 294-299.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import topographic_error
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5), lattice="rectangular").fit(X)
    >>> topographic_error(som, X, n_neighbors=8) <= topographic_error(som, X)
    True
    """
    check_is_fitted(estimator)
    grid = grid_of(estimator)
    reach = 1 if _check_n_neighbors(n_neighbors, grid) != 8 else 2
    bmus = estimator.bmus(X, n_bmus=min(2, grid.n_units)).reshape(-1, min(2, grid.n_units))
    apart = grid.squared_distances(bmus[:, 0], bmus[:, -1]) > reach
    weights = check_sample_weight(sample_weight, len(bmus))
    return float(np.average(apart.astype(np.float64), weights=weights))


def u_matrix(estimator: Any, *, n_neighbors: int | None = None) -> NDArray[np.float64]:
    """Compute the mean distance of each unit's code vector to those of its neighbors.

    High values are borders between clusters, low values their inside [1]_.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    n_neighbors : {4, 6, 8}, default=None
        Which units are neighbors: 6 on a hexagonal lattice; 4 (the default) or 8 on a
        rectangular one.

    Returns
    -------
    values : ndarray of float64, shape (n_rows, n_columns)
        In data units; 0 for a map of one unit.

    References
    ----------
    .. [1] Ultsch, Siemon (1990): Kohonen's self organizing feature maps for exploratory data
       analysis. INNC Paris 1990, 305-308.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import u_matrix
    >>> som = TFSOM(grid_size=(8, 5)).fit(load_iris().data)
    >>> u_matrix(som).shape
    (8, 5)
    """
    check_is_fitted(estimator)
    grid = grid_of(estimator)
    neighbors = grid.neighbors(_check_n_neighbors(n_neighbors, grid))
    codebook = estimator.codebook_
    total, count = np.zeros(grid.n_units), np.zeros(grid.n_units)
    for step, neighbor in enumerate(neighbors.T):
        # Where a narrow map is joined to itself, a neighbor is met twice, or is the unit itself.
        is_met = (neighbors[:, :step] == neighbor[:, None]).any(axis=1)
        exists = (neighbor >= 0) & (neighbor != np.arange(grid.n_units)) & ~is_met
        ends = codebook[exists], codebook[neighbor[exists]]
        gap = paired_distances(*ends, estimator._metric)
        total[exists] += gap
        count[exists] += 1
    return (total / np.maximum(count, 1)).reshape(grid.shape)


def _check_n_neighbors(n_neighbors: Any, grid: Grid) -> int:
    """Return the number of neighbors, the lattice's own where it is None."""
    right = (6,) if grid.is_hexagonal else (4, 8)
    if n_neighbors is None:
        return right[0]
    if not isinstance(n_neighbors, Integral) or n_neighbors not in right:
        raise ValueError(
            f"n_neighbors must be {' or '.join(map(str, right))} on a {grid.lattice} lattice. "
            f"Got {n_neighbors!r} instead."
        )
    return int(n_neighbors)

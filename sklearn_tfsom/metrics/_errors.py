"""Errors of samples: how far they are from their units, and how far those are apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import dijkstra

from sklearn_tfsom._data.checks import check_sample_weight
from sklearn_tfsom._distance import paired_distances
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom.metrics._reading import (
    check_fitted_grid,
    check_n_neighbors,
    graph,
    grid_edges,
    metric_of,
    row_tiles,
)


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

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
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

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
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
    grid = check_fitted_grid(estimator)
    reach = 1 if check_n_neighbors(n_neighbors, grid) != 8 else 2
    bmus = estimator.bmus(X, n_bmus=min(2, grid.n_units)).reshape(-1, min(2, grid.n_units))
    apart = grid.squared_distances(bmus[:, 0], bmus[:, -1]) > reach
    weights = check_sample_weight(sample_weight, len(bmus))
    return float(np.average(apart.astype(np.float64), weights=weights))


def combined_error(
    estimator: Any,
    X: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    n_neighbors: int | None = None,
) -> float:
    """Compute the mean way from a sample to its second unit, through the first and the map.

    It is the quantization error, and for each sample the length of the shortest path from its
    best-matching unit to the second-best one, from neighbor to neighbor, each step being as long
    as the distance of their code vectors [1]_. Where the map folds, the path is long. Lower is
    better.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN where a value is missing.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample in the mean.

    n_neighbors : {4, 6, 8}, default=None
        Which units are neighbors: 6 on a hexagonal lattice; 4 (the default) or 8 on a
        rectangular one.

    Returns
    -------
    error : float
        ``mean (|x - w_1| + min_path sum |w_i - w_j|)``, in data units, in [0, inf). The
        quantization error for a map of one unit.

    Raises
    ------
    ValueError
        Where `n_neighbors` is none of the lattice, or the samples or weights are not valid.

    Notes
    -----
    Beside the search, paths are looked for from the units that some sample has as its first: at
    most ``n_units^2 log(n_units)`` steps.

    References
    ----------
    .. [1] Kaski, Lagus (1996): Comparing self-organizing maps. ICANN 1996, 809-814.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import combined_error
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> combined_error(som, X) > som.quantization_error_
    True
    """
    grid = check_fitted_grid(estimator)
    n_neighbors = check_n_neighbors(n_neighbors, grid)
    n_bmus = min(2, grid.n_units)
    distances, bmus = estimator.bmus(X, n_bmus=n_bmus, return_distance=True)
    ways = distances.reshape(-1, n_bmus)[:, 0].astype(np.float64)
    weights = check_sample_weight(sample_weight, len(ways))
    if n_bmus == 2:
        ways += _path_lengths(estimator, grid, n_neighbors, bmus)
    return float(np.average(ways, weights=weights))


def _path_lengths(
    estimator: Any, grid: Grid, n_neighbors: int, bmus: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the length of the shortest path between pairs of units (n, 2), along neighbors."""
    units, others = grid_edges(grid, n_neighbors)
    codebook = estimator.codebook_
    gaps = paired_distances(codebook[units], codebook[others], metric_of(estimator))
    edges = graph(units, others, gaps, grid.n_units)
    # The way back is as long: each pair once, from the lower unit.
    first, last = bmus.min(axis=1), bmus.max(axis=1)
    sources, place = np.unique(first, return_inverse=True)
    lengths = np.empty(len(bmus))
    for tile in row_tiles(len(sources), grid.n_units):
        paths = dijkstra(edges, directed=True, indices=sources[tile])
        mine = np.flatnonzero((place >= tile.start) & (place < tile.stop))
        lengths[mine] = paths[place[mine] - tile.start, last[mine]]
    return lengths

"""Whether the grid and the codebook have the same neighbors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from sklearn_tfsom._data.checks import check_sample_weight
from sklearn_tfsom._distance import all_distances
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom.metrics._reading import (
    check_fitted_grid,
    graph,
    grid_edges,
    metric_of,
    row_tiles,
)
from sklearn_tfsom.metrics._ties import tie_means


def topographic_product(estimator: Any) -> float:
    """Compare the order of neighbors of each unit, on the grid and in data space.

    About 0 where the dimension of the grid is that of the data; below 0 where it is too low for
    them, so that the map folds; above 0 where it is too high [1]_. It knows the codebook only and
    so takes the folds of a curved manifold for errors.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    Returns
    -------
    product : float
        ``1 / (N (N - 1)) sum_j sum_k log P3(j, k)``, in (-inf, inf), without unit, where
        ``P3(j, k)`` is the geometric mean of ``Q1(j, l)`` and ``Q2(j, l)`` for l up to k. Q1 is
        the distance in data space of unit j to its l-th neighbor on the grid, divided by the one
        to its l-th neighbor in data space; Q2 is the same ratio of distances on the grid. 0 for a
        map of up to two units.

    Notes
    -----
    Units that are equally far on the grid have no order. The result is the mean over all orders
    of such ties, so it depends on none. Units with the same code vector are at distance 0, whose
    logarithm is no number: they are left out as neighbors of one another.

    It takes ``n_units^2`` distances in data space.

    References
    ----------
    .. [1] Bauer, Pawelzik (1992): Quantifying the neighborhood preservation of self-organizing
       feature maps. IEEE Transactions on Neural Networks 3 (4), 570-579.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import topographic_product
    >>> X = np.random.RandomState(0).uniform(size=(500, 2))
    >>> chain, sheet = TFSOM(grid_size=(1, 64)).fit(X), TFSOM(grid_size=8).fit(X)
    >>> topographic_product(chain) < -0.01
    True
    >>> abs(topographic_product(sheet)) < 0.01
    True
    """
    grid = check_fitted_grid(estimator)
    codebook = estimator.codebook_.astype(np.float64)
    units = np.arange(grid.n_units)
    total, n_terms = 0.0, 0
    for tile in row_tiles(grid.n_units, grid.n_units):
        in_data = all_distances(codebook[tile], codebook, metric_of(estimator))
        on_grid = np.sqrt(grid.squared_distances(units[tile, None], units))
        is_other = in_data > 0
        is_other[np.arange(len(in_data)), units[tile]] = False
        # Those left out come last in every order, and add nothing.
        in_data[~is_other] = on_grid[~is_other] = np.inf
        log_data = np.log(np.where(is_other, in_data, 1))
        log_grid = np.log(np.where(is_other, on_grid, 1))
        by_grid = tie_means(on_grid, log_data + log_grid)
        by_data = tie_means(in_data, log_data + log_grid)
        n_others = is_other.sum(axis=1)
        k = np.arange(1, grid.n_units + 1)
        logs = np.cumsum(by_grid - by_data, axis=1) / (2 * k)
        total += float(np.sum(logs, where=k <= n_others[:, None]))
        n_terms += int(n_others.sum())
    return total / max(n_terms, 1)


def topographic_function(
    estimator: Any, X: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Count the units that are neighbors in data space but far on the grid, and the reverse.

    Units are neighbors in data space where some sample has both as its two best-matching ones:
    the induced Delaunay triangulation [1]_. All values are 0 where the map preserves the
    topology. Values at small lags are local folds; large positive lags with values above 0 say
    that the map folds as a whole, large negative ones that the grid has more dimensions than the
    data.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN where a value is missing.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample. Samples of weight 0 connect no units; else weights say nothing.

    Returns
    -------
    lags : ndarray of int64, shape (2 n_units - 1,)
        ``k = 1 - n_units, ..., n_units - 1``.

    values : ndarray of float64, shape (2 n_units - 1,)
        Mean number for a unit, in [0, n_units). For ``k > 0`` of the units that are neighbors in
        data space, and more than k steps away on the grid; for ``k < 0`` of those that are
        neighbors on the grid, and more than ``|k|`` steps away in the triangulation; at ``k = 0``
        the sum of the values at 1 and -1.

    Notes
    -----
    On a rectangular lattice, as in [1]_, steps on the grid may be diagonal (the maximum norm),
    but neighbors on the grid are the four next to a unit. A unit that no sample has among its two
    best is no vertex of the triangulation, and counts at no negative lag; vertices that are not
    connected count at all of them.

    References
    ----------
    .. [1] Villmann, Der, Herrmann, Martinetz (1997): Topology preservation in self-organizing
       feature maps: exact definition and measurement. IEEE Transactions on Neural Networks 8 (2),
       256-266.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import topographic_function
    >>> X = np.random.RandomState(0).uniform(size=(500, 2))
    >>> chain = TFSOM(grid_size=(1, 20)).fit(X)
    >>> lags, values = topographic_function(chain, X)
    >>> values[lags == 5].item() > 0  # it folds
    True
    """
    grid = check_fitted_grid(estimator)
    n_bmus = min(2, grid.n_units)
    bmus = estimator.bmus(X, n_bmus=n_bmus).reshape(-1, n_bmus)
    weights = check_sample_weight(sample_weight, len(bmus))
    lags = np.arange(1 - grid.n_units, grid.n_units)
    if n_bmus == 1:
        return lags, np.zeros(1)
    pairs = np.unique(np.sort(bmus[weights > 0], axis=1), axis=0)
    near, far = grid_edges(grid, 6 if grid.is_hexagonal else 4)
    is_vertex = np.zeros(grid.n_units, dtype=bool)
    is_vertex[pairs] = True
    is_inside = is_vertex[near] & is_vertex[far]
    on_grid = _graph_of_steps(grid, *grid_edges(grid, 6 if grid.is_hexagonal else 8))
    in_data = _graph_of_steps(grid, *pairs.T)
    folded = _numbers_beyond(_steps(on_grid, *pairs.T), grid.n_units)
    torn = _numbers_beyond(_steps(in_data, near[is_inside], far[is_inside]), grid.n_units)
    values = np.r_[torn[::-1], [0], folded] * 2 / grid.n_units  # both ends of a pair count it
    values[grid.n_units - 1] = values[grid.n_units - 2] + values[grid.n_units]
    return lags, values


def _graph_of_steps(grid: Grid, units: NDArray, others: NDArray) -> csr_array:
    return graph(units, others, np.ones(len(units)), grid.n_units)


def _steps(edges: csr_array, units: NDArray, others: NDArray) -> NDArray[np.float64]:
    """Return the number of steps between pairs of units, inf where there is no way."""
    sources, place = np.unique(units, return_inverse=True)
    steps = np.empty(len(units))
    for tile in row_tiles(len(sources), edges.shape[0]):
        paths = dijkstra(edges, directed=True, indices=sources[tile], unweighted=True)
        mine = np.flatnonzero((place >= tile.start) & (place < tile.stop))
        steps[mine] = paths[place[mine] - tile.start, others[mine]]
    return steps


def _numbers_beyond(steps: NDArray[np.float64], n_units: int) -> NDArray[np.int64]:
    """Count the pairs that are more than k steps apart, for k from 1 to n_units - 1."""
    return len(steps) - np.searchsorted(np.sort(steps), np.arange(1, n_units), side="right")

"""Measures of topology preservation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.scaling import check_range
from sklearn_tfsom._data.tiles import map_tiles, value_slices
from sklearn_tfsom._distance import all_distances, metric_of, paired_distances
from sklearn_tfsom._map.geometry import grid_edges
from sklearn_tfsom._map.grid import grid_of, numbers_of_neighbors
from sklearn_tfsom._map.ties import NOISE
from sklearn_tfsom._pipelines import takes_pipelines
from sklearn_tfsom._search.distances import distances_to_chosen
from sklearn_tfsom._tuning import CACHED_VALUES
from sklearn_tfsom.metrics._base import (
    as_lengths,
    check_n_neighbors,
    counted_samples,
    path_lengths,
    sizes_of,
    undirected_graph,
    varying_features,
)
from sklearn_tfsom.metrics._ranks import sort_with_tie_means
from sklearn_tfsom.metrics._scorers import Scorer


@takes_pipelines
def topographic_error(
    estimator: Any,
    X: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    n_neighbors: int | None = None,
) -> float:
    """Compute the share of samples whose two best-matching units are not neighbors.

    Lower is better [1]_.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN for missing values.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample in the mean, None for 1.

    n_neighbors : {4, 6, 8}, default=None
        Number of neighbors of a unit: 6 on a hexagonal lattice; on a rectangular one 4 (default,
        as in SOM Toolbox) or 8, including the diagonals (as in MiniSom).

    Returns
    -------
    error : float
        In the range [0, 1], 0 for a map of one unit.

    Raises
    ------
    InvalidParameterError
        If `n_neighbors` is not valid on the lattice.

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
    >>> round(topographic_error(som, X), 2), round(topographic_error(som, X, n_neighbors=8), 2)
    (0.12, 0.01)
    """
    grid = grid_of(estimator)
    check_n_neighbors("topographic_error", n_neighbors, grid)
    samples, weights = counted_samples(estimator, X, sample_weight)
    bmus = _two_best_units(estimator, samples)
    is_error = grid.squared_distances(*bmus.T) > (2 if n_neighbors == 8 else 1)
    return min(float(weights / weights.sum() @ is_error), 1.0)  # a sum of rounded shares


@takes_pipelines
def combined_error(
    estimator: Any,
    X: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    n_neighbors: int | None = None,
) -> float:
    """Compute the quantization error plus the path length to the second-best unit.

    The path leads from the best-matching unit to the second-best one over neighboring units. It
    is the shortest one, where the length of a step is the distance of the code vectors [1]_. The
    path is long where the map folds. Lower is better.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN for missing values.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample in the mean, None for 1.

    n_neighbors : {4, 6, 8}, default=None
        Number of neighbors of a unit: 6 on a hexagonal lattice, 4 (default) or 8 on a rectangular
        one.

    Returns
    -------
    error : float
        ``mean (|x - w_1| + min_path sum |w_i - w_j|)``, in data units, in the range [0, inf).
        Under "cosine" and "correlation" distances are ``sqrt(2 (1 - cos))``: ``1 - cos`` is half
        the square of this length, so that a path of many short steps would have a length near 0.
        Under other metrics it is the quantization error for a map of one unit.

    Raises
    ------
    InvalidParameterError
        If `n_neighbors` is not valid on the lattice.
    ValueError
        If lengths of paths exceed the range of float64.

    Notes
    -----
    Besides the search for best-matching units, the time is proportional to at most
    ``n_units^2 log(n_units)``.

    References
    ----------
    .. [1] Kaski, Lagus (1996): Comparing self-organizing maps. ICANN 1996, 809-814.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import combined_error, quantization_error
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> round(combined_error(som, X), 2), round(quantization_error(som, X), 2)
    (0.62, 0.33)
    """
    grid = grid_of(estimator)
    check_n_neighbors("combined_error", n_neighbors, grid)
    units, others = grid_edges(grid, n_neighbors)
    samples, weights = counted_samples(estimator, X, sample_weight)
    codebook = estimator.codebook_
    metric = metric_of(estimator)
    steps = as_lengths(paired_distances(codebook[units], codebook[others], metric), metric)
    graph = undirected_graph((units, others), grid.n_units, steps)
    bmus = _two_best_units(estimator, samples)
    (distances,) = distances_to_chosen(samples, codebook, bmus[:, :1]).T
    lengths = as_lengths(distances, metric) + path_lengths(graph, *bmus.T)
    check_range(np.isfinite(lengths), what="Lengths of paths on the map")
    return float(weights / weights.sum() @ lengths)


@takes_pipelines
def topographic_product(estimator: Any) -> float:
    """Compute the topographic product: the agreement of neighbors on the grid and in data space.

    It is close to 0 if the dimension of the grid is that of the data, negative if the dimension
    of the grid is too low, so that the map folds, and positive if it is too high [1]_. It depends
    on the codebook only, so it mistakes a curved manifold for a fold.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    Returns
    -------
    product : float
        ``1 / (N (N - 1)) sum_j sum_k log P3(j, k)``, in the range (-inf, inf), where
        ``P3(j, k)`` is the geometric mean of ``Q1(j, l)`` and ``Q2(j, l)`` for l up to k. Q1 is
        the distance in data space of unit j to its l-th neighbor on the grid, divided by that to
        its l-th neighbor in data space. Q2 is the same ratio of grid distances. Under "cosine" and
        "correlation" distances in data space are ``sqrt(2 (1 - cos))``. 0 for a map of one or two
        units.

    Raises
    ------
    ValueError
        If distances between code vectors exceed the range of float64.

    Notes
    -----
    Units at the same distance have no order. The result is the mean over all orders of such ties.
    Units with equal code vectors are not compared with each other, since the logarithm of their
    distance is not finite; code vectors that differ by rounding are equal.

    The time is proportional to ``n_units^2 (n_features + log(n_units))``.

    References
    ----------
    .. [1] Bauer, Pawelzik (1992): Quantifying the neighborhood preservation of self-organizing
       feature maps. IEEE Transactions on Neural Networks 3 (4), 570-579.

    Examples
    --------
    A chain that covers a square folds; a square map does not:

    >>> import numpy as np
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import topographic_product
    >>> X = np.random.RandomState(0).uniform(size=(500, 2))
    >>> chain, square = TFSOM(grid_size=(1, 64)).fit(X), TFSOM(grid_size=8).fit(X)
    >>> round(topographic_product(chain), 3), round(topographic_product(square), 3)
    (-0.035, 0.005)
    """
    grid, metric = grid_of(estimator), metric_of(estimator)
    codebook = varying_features(estimator.codebook_.astype(np.float64), metric)
    units = np.arange(grid.n_units)
    # Training rounds code vectors in float64; they are rounded once more to their dtype.
    share = 2 * NOISE + np.finfo(estimator.codebook_.dtype).eps

    def sums_of(tile: slice) -> tuple[float, int]:
        in_data = all_distances(codebook[tile], codebook, metric)
        check_range(np.isfinite(in_data), what="Distances between code vectors")
        on_grid = np.sqrt(grid.squared_distances(units[tile, None], units))
        lengths = as_lengths(in_data, metric)
        noise = share * sizes_of(codebook[tile], metric)
        is_compared = lengths > noise
        is_compared[np.arange(len(in_data)), units[tile]] = False
        # The others are last in both orders, and their terms are 0. There the sums over both
        # orders are equal.
        lengths[~is_compared] = on_grid[~is_compared] = np.inf
        terms = np.log(lengths, out=np.zeros(lengths.shape), where=is_compared)
        terms += np.log(on_grid, out=np.zeros(on_grid.shape), where=is_compared)
        by_grid = sort_with_tie_means(on_grid, terms)
        by_data = sort_with_tie_means(lengths, terms, estimator.codebook_.dtype, noise)
        k = np.arange(1, grid.n_units + 1)
        log_p3 = np.cumsum(by_grid - by_data, axis=1) / (2 * k)
        return float(log_p3.sum()), int(np.count_nonzero(is_compared))

    tiles = value_slices(grid.n_units, grid.n_units, CACHED_VALUES)
    total, n_terms = np.sum(list(map_tiles(sums_of, tiles)), axis=0).tolist()
    return total / max(n_terms, 1)


@takes_pipelines
def topographic_function(
    estimator: Any, X: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Compute the topographic function: the number of units close in one space only, by lag.

    Units are neighbors in data space if they are the two best-matching units of a sample: the
    induced Delaunay triangulation [1]_. All values are 0 if the map preserves the topology.
    Positive values at small lags mean local folds, at large positive lags global folds, and at
    large negative lags that the grid has more dimensions than the data.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN for missing values.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample, None for 1. Samples of weight 0 are ignored; positive weights have
        no influence.

    Returns
    -------
    lags : ndarray of int64, shape (2 n_units - 1,)
        ``k = 1 - n_units, ..., n_units - 1``.

    values : ndarray of float64, shape (2 n_units - 1,)
        Mean number of units per unit, in the range [0, n_units). For ``k > 0``: neighbors in data
        space that are more than k steps away on the grid. For ``k < 0``: neighbors on the grid
        that are more than ``|k|`` steps away in the triangulation. For ``k = 0``: the sum of the
        values at 1 and -1.

    Notes
    -----
    On a rectangular lattice, as in [1]_, steps on the grid can be diagonal (maximum norm), but
    each unit has four neighbors. A unit that is not one of the two best-matching units of any
    sample is not part of the triangulation, and does not count at negative lags. Units of the
    triangulation that are not connected count at all negative lags.

    Besides the search for best-matching units, the time is proportional to at most
    ``n_units^2 log(n_units)``.

    References
    ----------
    .. [1] Villmann, Der, Herrmann, Martinetz (1997): Topology preservation in self-organizing
       feature maps: exact definition and measurement. IEEE Transactions on Neural Networks 8 (2),
       256-266.

    Examples
    --------
    A chain that covers a square has global folds:

    >>> import numpy as np
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import topographic_function
    >>> X = np.random.RandomState(0).uniform(size=(500, 2))
    >>> chain = TFSOM(grid_size=(1, 20)).fit(X)
    >>> lags, values = topographic_function(chain, X)
    >>> values[lags == 5].round(2)
    array([0.7])
    """
    grid = grid_of(estimator)
    n_units = grid.n_units
    samples, _ = counted_samples(estimator, X, sample_weight)
    bmus = _two_best_units(estimator, samples)
    lags = np.arange(1 - n_units, n_units)
    if n_units == 1:
        return lags, np.zeros(1)
    pairs = np.unique(np.sort(bmus, axis=1), axis=0).T
    units, others = grid_edges(grid)
    is_vertex = np.zeros(n_units, dtype=bool)
    is_vertex[pairs] = True
    is_inside = is_vertex[units] & is_vertex[others]
    grid_graph = undirected_graph(grid_edges(grid, max(numbers_of_neighbors(grid))), n_units)
    data_graph = undirected_graph(pairs, n_units)
    at_positive = _count_longer(path_lengths(grid_graph, *pairs), n_units)
    steps_in_data = path_lengths(data_graph, units[is_inside], others[is_inside])
    at_negative = _count_longer(steps_in_data, n_units)
    values = np.r_[at_negative[::-1], [0], at_positive] * 2 / n_units  # both units of each pair
    values[n_units - 1] = values[n_units - 2] + values[n_units]
    return lags, values


def _two_best_units(estimator: Any, samples: Samples) -> NDArray[np.int64]:
    """Return the two best-matching units, shape (n_samples, 2): twice the one of a single unit."""
    bmus = estimator._nearest(samples, min(2, len(estimator.codebook_)))
    return np.column_stack([bmus[:, 0], bmus[:, -1]])


def _count_longer(steps: NDArray[np.float64], n_units: int) -> NDArray[np.int64]:
    """Count the paths of more than k steps, for k from 1 to n_units - 1."""
    return len(steps) - np.searchsorted(np.sort(steps), np.arange(1, n_units), side="right")


neg_topographic_error_scorer = Scorer(topographic_error, sign=-1)
neg_combined_error_scorer = Scorer(combined_error, sign=-1)
neg_absolute_topographic_product_scorer = Scorer(topographic_product, sign=-1, absolute=True)

"""Pairs of samples: whether those that are close in data space are close on the map.

On the map a sample stands where its best-matching unit does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._distance import all_distances
from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom.metrics._reading import (
    check_few,
    check_samples,
    row_tiles,
)
from sklearn_tfsom.metrics._ties import Ranks, ranks

# A tile of pairs has some ten arrays beside it.
_ARRAYS = 8


def trustworthiness(
    estimator: Any,
    X: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    n_neighbors: int = 5,
) -> float:
    """Compute how far samples that are neighbors on the map are neighbors in data space.

    Samples that are near on the map and not in the data lower it, by how far down they come in
    the order of distances in data space [1]_. Higher is better.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, without missing values.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight k counts a sample as k samples in one place, which are neighbors too; weights that
        are parts add up to samples where they are in one place.

    n_neighbors : int, default=5
        How many samples are neighbors of a sample, k below. Less than half of them.

    Returns
    -------
    trustworthiness : float
        ``1 - 2 / (n k (2n - 3k - 1)) sum_i sum_j (r(i, j) - k)`` over the samples j that are
        among the k nearest to i on the map, but not in the data, where they are the r-th: in
        [0, 1].

    Raises
    ------
    ValueError
        Where there are missing values, too few samples, or `n_neighbors` is no int above 0.

    See Also
    --------
    neighborhood_preservation : The same with map and data exchanged.
    sklearn.manifold.trustworthiness : The same for an embedding, where ties are rare.

    Notes
    -----
    All samples of a unit are equally far on the map, and so are those of units equally far. As
    usual for maps, the result is the mean over all orders of such ties [2]_, in the data as well
    as on the map; so it depends on none. Distances that differ by rounding only are ties.

    It takes ``n_samples^2`` distances in data space, and sorts them; no matrix of them is stored.

    References
    ----------
    .. [1] Venna, Kaski (2001): Neighborhood preservation in nonlinear projection methods: an
       experimental study. ICANN 2001, 485-491.
    .. [2] Kaski et al. (2003): Trustworthiness and metrics in visualizing similarity of gene
       expression. BMC Bioinformatics 4, 48.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import trustworthiness
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> 0.9 < trustworthiness(som, X) < 1
    True
    """
    points = _points(estimator, X, sample_weight)
    k = check_few(n_neighbors, points.weights.sum())
    return _preserved(points, lambda on_map, in_data: (on_map, in_data), k)


def neighborhood_preservation(
    estimator: Any,
    X: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    n_neighbors: int = 5,
) -> float:
    """Compute how far samples that are neighbors in data space are neighbors on the map.

    Neighbors in data space that are torn apart on the map lower it, by how far down they come in
    the order of distances on the map [1]_. It is also called continuity. Higher is better.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, without missing values.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight k counts a sample as k samples in one place, which are neighbors too; weights that
        are parts add up to samples where they are in one place.

    n_neighbors : int, default=5
        How many samples are neighbors of a sample, k below. Less than half of them.

    Returns
    -------
    preservation : float
        ``1 - 2 / (n k (2n - 3k - 1)) sum_i sum_j (r(i, j) - k)`` over the samples j that are
        among the k nearest to i in the data, but not on the map, where they are the r-th: in
        [0, 1].

    Raises
    ------
    ValueError
        Where there are missing values, too few samples, or `n_neighbors` is no int above 0.

    See Also
    --------
    trustworthiness : The same with data and map exchanged.

    Notes
    -----
    The result is the mean over all orders of ties, on the map and in the data, see
    `trustworthiness`. It takes as long as that.

    References
    ----------
    .. [1] Venna, Kaski (2001): Neighborhood preservation in nonlinear projection methods: an
       experimental study. ICANN 2001, 485-491.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import neighborhood_preservation
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> 0.9 < neighborhood_preservation(som, X) < 1
    True
    """
    points = _points(estimator, X, sample_weight)
    k = check_few(n_neighbors, points.weights.sum())
    return _preserved(points, lambda on_map, in_data: (in_data, on_map), k)


def c_measure(estimator: Any, X: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Compute how far distances on the map go with those in data space, over pairs of samples.

    The sum of products of both over all pairs [1]_, divided by the largest value it could have.
    Higher is better.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, without missing values.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample: a pair counts by the product of both.

    Returns
    -------
    c : float
        ``sum F G / sqrt(sum F^2 sum G^2)``, F being the distances of samples, G those of their
        best-matching units on the grid: in [0, 1], 1 where these are in proportion. 0 where all
        samples are equal, or share a unit.

    Raises
    ------
    ValueError
        Where there are missing values.

    See Also
    --------
    kruskal_shepard_error : The mean squared difference of both.

    Notes
    -----
    Goodhill and Sejnowski leave open what F and G are; here both are distances. Their measure has
    no scale; this one does not depend on the units of data and grid.

    It takes ``n_samples^2`` distances in data space; no matrix of them is stored.

    References
    ----------
    .. [1] Goodhill, Sejnowski (1997): A unifying objective function for topographic mappings.
       Neural Computation 9 (6), 1291-1303.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import c_measure
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> 0.9 < c_measure(som, X) < 1
    True
    """
    sums = _sums_over_pairs(_points(estimator, X, sample_weight))
    largest = math.sqrt(sums.data_squares) * math.sqrt(sums.grid_squares)
    return min(sums.products / largest, 1.0) if largest > 0 else 0.0


def kruskal_shepard_error(
    estimator: Any, X: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the mean squared difference of distances on the map and in data space.

    Over all pairs of samples, both being divided by the largest of their kind [1]_. Lower is
    better.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, without missing values.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample: a pair counts by the product of both. Weight k makes k samples in
        one place.

    Returns
    -------
    error : float
        ``1 / (n (n - 1)) sum (F / max F - G / max G)^2``, F being the distances of samples, G
        those of their best-matching units on the grid: in [0, 1]. 0 for one sample.

    Raises
    ------
    ValueError
        Where there are missing values.

    See Also
    --------
    c_measure : The share of both that goes together.

    Notes
    -----
    It takes ``n_samples^2`` distances in data space; no matrix of them is stored.

    References
    ----------
    .. [1] Elend, Kramer (2019): Self-organizing maps with convolutional layers. WSOM+ 2019,
       23-32.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import kruskal_shepard_error
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> 0 < kruskal_shepard_error(som, X) < 0.1
    True
    """
    sums = _sums_over_pairs(_points(estimator, X, sample_weight))
    if sums.n_pairs <= 0:
        return 0.0
    f, g = 1 / (sums.most_data or 1), 1 / (sums.most_grid or 1)
    squares = f * f * sums.data_squares - 2 * f * g * sums.products + g * g * sums.grid_squares
    return max(squares / sums.n_pairs, 0.0)


class _Points(NamedTuple):
    """Samples of positive weight, each with its unit."""

    samples: Samples
    weights: NDArray[np.float64]
    bmus: NDArray[np.int64]
    grid: Grid


class _Sums(NamedTuple):
    """Sums of products of distances over all ordered pairs, the largest distances, and n_pairs."""

    data_squares: float
    grid_squares: float
    products: float
    most_data: float
    most_grid: float
    n_pairs: float  # ordered ones of different samples


def _points(estimator: Any, X: ArrayLike, sample_weight: Any) -> _Points:
    samples, weights = check_samples(estimator, X, sample_weight)
    (counts,) = np.nonzero(weights)
    samples, weights = samples.take(counts), weights[counts]
    if samples.has_missing:
        raise ValueError(
            "X holds missing values (NaN), over which samples cannot be compared with each other. "
            "Fill them in, for instance by the method 'impute'."
        )
    bmus = estimator._nearest(samples)[:, 0]
    return _Points(samples, weights, bmus, grid_of(estimator))


def _pair_tiles(
    points: _Points,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Compute the distances of samples to all samples: rows (n,) and distances (n, n_samples)."""
    samples = points.samples
    whole = samples[:]
    if samples.is_sparse:
        whole = whole.astype(np.float64)
        norms = np.asarray(whole.multiply(whole).sum(axis=1)).ravel()
        is_zero = norms == 0
    else:
        whole = whole.astype(np.float64, copy=False)
    for tile in row_tiles(len(samples), _ARRAYS * len(samples)):
        rows = np.arange(len(samples))[tile]
        if not samples.is_sparse:
            yield rows, all_distances(whole[tile], whole, samples.metric)
            continue
        squared = norms[tile, None] + norms - 2 * (whole[tile] @ whole.T).toarray()
        if samples.metric.is_spherical:
            squared[np.not_equal.outer(is_zero[tile], is_zero)] = 2
            yield rows, np.maximum(squared, 0) / 2
        else:
            yield rows, np.sqrt(np.maximum(squared, 0))


def _preserved(points: _Points, near_and_far: Any, k: int) -> float:
    """Sum up how far the k nearest in one space are beyond the k nearest in the other.

    `near_and_far` puts the ranks on the map and those in the data into the order of these spaces.
    Weight k being k samples, each of them has all others around it, with k - 1 of its own kind.
    """
    weights, bmus, grid = points.weights, points.bmus, points.grid
    hits = np.bincount(bmus, weights, minlength=grid.n_units).astype(np.float64)
    error = worst = 0.0
    for rows, distances in _pair_tiles(points):
        is_here, here, own = _own_places(rows, distances, weights)
        masses = weights * np.where(is_here, (1 - own / here)[:, None], 1)
        in_data = ranks(distances, masses)

        units, place = np.unique(bmus[rows], return_inverse=True)
        of_units = ranks(grid.squared_distances(units[:, None], np.arange(grid.n_units)), hits)
        on_map = Ranks(*(np.maximum(ends[place] - own[:, None], 0)[:, bmus] for ends in of_units))
        near, far = near_and_far(on_map, in_data)
        shares = near.shares_of_first(k) * far.mean_excess(k)
        error += float(weights[rows] @ np.einsum("ij,ij->i", masses, shares))
        n_others = weights.sum() - own
        worst += float(weights[rows] @ (k * (2 * n_others - 3 * k + 1) / 2))
    return min(max(1 - error / worst, 0.0), 1.0)


def _sums_over_pairs(points: _Points) -> _Sums:
    weights, bmus, grid = points.weights, points.bmus, points.grid
    data_squares = grid_squares = products = most_data = most_grid = n_pairs = 0.0
    for rows, in_data in _pair_tiles(points):
        units, place = np.unique(bmus[rows], return_inverse=True)
        of_units = np.sqrt(grid.squared_distances(units[:, None], np.arange(grid.n_units)))
        on_grid = of_units[place][:, bmus]
        data_squares += float(weights[rows] @ (np.square(in_data) @ weights))
        grid_squares += float(weights[rows] @ (np.square(on_grid) @ weights))
        products += float(weights[rows] @ ((in_data * on_grid) @ weights))
        most_data = max(most_data, float(in_data.max()))
        most_grid = max(most_grid, float(on_grid.max()))
        *_, own = _own_places(rows, in_data, weights)
        n_pairs += float(weights[rows] @ (weights.sum() - own))
    return _Sums(data_squares, grid_squares, products, most_data, most_grid, n_pairs)


def _own_places(
    rows: NDArray[np.int64], distances: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Find out how much of what is in the place of a sample is the sample itself.

    That is a weight of 1, or all that is there: no sample is a neighbor of itself, and neither is
    the other half of one that is given as two halves.

    Returns
    -------
    is_here : ndarray of bool, shape (n_rows, n_samples)
        Whether a sample is in the place of the one of the row.
    here : ndarray of float64, shape (n_rows,)
        Total weight of those.
    own : ndarray of float64, shape (n_rows,)
        Weight of the sample itself.
    """
    is_here = distances <= distances[np.arange(len(rows)), rows][:, None]
    here = is_here @ weights
    return is_here, here, np.minimum(here, 1)

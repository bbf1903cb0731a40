"""Measures of pairs of samples.

The distance of two samples on the map is the grid distance of their best-matching units.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sklearn_tfsom._data.scaling import power_of_two
from sklearn_tfsom._pipelines import takes_pipelines
from sklearn_tfsom.metrics._base import as_lengths, check_n_nearest
from sklearn_tfsom.metrics._placed import (
    PairTile,
    PlacedSamples,
    equal_samples,
    map_pairs,
    placed_samples,
)
from sklearn_tfsom.metrics._ranks import Ranks, ranks
from sklearn_tfsom.metrics._scorers import Scorer


@takes_pipelines
def trustworthiness(
    estimator: Any,
    X: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    n_neighbors: int = 5,
) -> float:
    """Compute the trustworthiness: whether neighbors on the map are neighbors in data space.

    A sample that is a neighbor on the map but not in data space decreases it, by its rank in data
    space [1]_.
    Higher is better.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples without missing values.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample, None for 1. Weight k counts as k equal samples, which are neighbors
        of each other. The weights of equal samples are added.

    n_neighbors : int, default=5
        Number k of neighbors of a sample, less than half of the samples.

    Returns
    -------
    trustworthiness : float
        ``1 - 2 / (n k (2n - 3k - 1)) sum_i sum_j (r(i, j) - k)`` over the samples j that are
        among the k nearest to i on the map, but not in data space, where they have rank
        ``r(i, j)``. In the range [0, 1].

    Raises
    ------
    InvalidParameterError
        If `n_neighbors` is not valid for the number of samples.
    ValueError
        If X contains missing values, or fewer than three samples.

    See Also
    --------
    neighborhood_preservation : The reverse, with map and data space exchanged.
    sklearn.manifold.trustworthiness : The same for an embedding without ties.

    Notes
    -----
    All samples of a unit have tied distances on the map, and so have those of units at the same
    distance. The result is the mean over all orders of ties [2]_, on the map and in data space.
    Distances that differ by the rounding of the samples are tied.

    The time is proportional to ``n_samples^2 (n_features + log(n_samples))``. The distances are
    computed in tiles.

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
    >>> round(trustworthiness(som, X), 2)
    0.96
    """
    check = functools.partial(check_n_nearest, "trustworthiness", n_neighbors)
    placed = placed_samples("trustworthiness", estimator, X, sample_weight, check=check)
    return _preserved_neighbors(placed, int(n_neighbors), near_is_on_map=True)


@takes_pipelines
def neighborhood_preservation(
    estimator: Any,
    X: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    n_neighbors: int = 5,
) -> float:
    """Compute how many neighbors in data space are neighbors on the map as well.

    A sample that is a neighbor in data space but not on the map decreases it, by its rank on the
    map [1]_. It is also called continuity. Higher is better.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples without missing values.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample, None for 1. Weight k counts as k equal samples, which are neighbors
        of each other. The weights of equal samples are added.

    n_neighbors : int, default=5
        Number k of neighbors of a sample, less than half of the samples.

    Returns
    -------
    preservation : float
        ``1 - 2 / (n k (2n - 3k - 1)) sum_i sum_j (r(i, j) - k)`` over the samples j that are
        among the k nearest to i in data space, but not on the map, where they have rank
        ``r(i, j)``. In the range [0, 1].

    Raises
    ------
    InvalidParameterError
        If `n_neighbors` is not valid for the number of samples.
    ValueError
        If X contains missing values, or fewer than three samples.

    See Also
    --------
    trustworthiness : The reverse, with data space and map exchanged.

    Notes
    -----
    The result is the mean over all orders of ties, on the map and in data space, as in
    `trustworthiness`.

    The time is proportional to ``n_samples^2 (n_features + log(n_samples))``. The distances are
    computed in tiles.

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
    >>> round(neighborhood_preservation(som, X), 2)
    0.96
    """
    check = functools.partial(check_n_nearest, "neighborhood_preservation", n_neighbors)
    placed = placed_samples("neighborhood_preservation", estimator, X, sample_weight, check=check)
    return _preserved_neighbors(placed, int(n_neighbors), near_is_on_map=False)


@takes_pipelines
def c_measure(estimator: Any, X: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Compute the C measure: the similarity of distances on the map and in data space.

    It is the sum of the products of both distances over all pairs of samples [1]_, divided by the
    largest possible value. Higher is better.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples without missing values.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample, None for 1. Pairs are weighted by the product of their weights.

    Returns
    -------
    c : float
        ``sum F G / sqrt(sum F^2 sum G^2)``, where F are the distances of the samples, and G the
        grid distances of their best-matching units. In the range [0, 1]: 1 if both are
        proportional, 0 if all samples are equal or share a unit.

    Raises
    ------
    ValueError
        If X contains missing values.

    See Also
    --------
    kruskal_shepard_error : The mean squared difference of both distances.

    Notes
    -----
    Goodhill and Sejnowski allow any similarities F and G; here, both are distances. Unlike their
    measure, this one is normalized and thus independent of the units of measurement.

    The time is proportional to ``n_samples^2 n_features``. The distances are computed in tiles.

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
    >>> round(c_measure(som, X), 2)
    0.95
    """
    placed = placed_samples("c_measure", estimator, X, sample_weight, max_weight=math.inf)
    # In units of about the largest weight, so that no product leaves the range of float64.
    scale = power_of_two(float(placed.weights.max()))
    sums = _sums_over_pairs(placed._replace(weights=placed.weights / scale))
    largest = math.sqrt(sums.data_squares) * math.sqrt(sums.grid_squares)
    return min(sums.products / largest, 1.0) if largest > 0 else 0.0


@takes_pipelines
def kruskal_shepard_error(
    estimator: Any, X: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the mean squared difference of distances on the map and in data space.

    The mean is over all pairs of samples, and both distances are divided by their maximum [1]_.
    Lower is better.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples without missing values.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample, None for 1. Weight k counts as k equal samples.

    Returns
    -------
    error : float
        ``1 / (n (n - 1)) sum (F / max F - G / max G)^2``, where F are the distances of the
        samples, and G the grid distances of their best-matching units. In the range [0, 1], 0 for
        one sample.

    Raises
    ------
    ValueError
        If X contains missing values.

    See Also
    --------
    c_measure : The normalized sum of the products of both distances.

    Notes
    -----
    The time is proportional to ``n_samples^2 n_features``. The distances are computed in tiles.

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
    >>> round(kruskal_shepard_error(som, X), 3)
    0.027
    """
    placed = placed_samples("kruskal_shepard_error", estimator, X, sample_weight)
    total = float(placed.weights.sum())
    if total < 1:  # no weight is a whole sample, so only ratios count; products could become 0
        placed = placed._replace(weights=placed.weights / (2 * power_of_two(total)))
    sums = _sums_over_pairs(placed)
    if sums.n_pairs <= 0:
        return 0.0
    f, g = 1 / (sums.data_maximum or 1), 1 / (sums.grid_maximum or 1)
    crossed = f * (f * sums.data_squares - 2 * g * sums.products)
    squares = crossed + g * g * sums.grid_squares
    return max(squares / sums.n_pairs, 0.0)


class _Sums(NamedTuple):
    """Weighted sums over all ordered pairs of samples, and the largest distances."""

    data_squares: float
    grid_squares: float
    products: float
    n_pairs: float  # without pairs of a sample and itself
    data_maximum: float
    grid_maximum: float


def _preserved_neighbors(placed: PlacedSamples, k: int, *, near_is_on_map: bool) -> float:
    """Return 1 minus the normalized rank excess in one space of the k nearest in the other.

    The nearest are those on the map, or those in data space. Weight k counts as k samples: each
    has k - 1 equal ones among its neighbors.
    """
    weights, grid = placed.weights, placed.grid
    hit, unit = np.unique(placed.bmus, return_inverse=True)
    hits = np.bincount(unit, weights).astype(np.float64)
    metric, dtype = placed.samples.metric, placed.samples.dtype

    def errors(tile: PairTile) -> tuple[float, float]:
        rows, distances, noise = tile
        is_equal, equal_weight, own_weight = equal_samples(rows, distances, weights)
        neighbor_weights = weights * np.where(
            is_equal, (1 - own_weight / equal_weight)[:, None], 1
        )
        in_data = ranks(as_lengths(distances, metric), neighbor_weights, dtype, noise)

        units, index = np.unique(unit[rows], return_inverse=True)
        of_units = ranks(grid.squared_distances(hit[units, None], hit), hits)
        on_map = Ranks(
            *(np.maximum(ends[index] - own_weight[:, None], 0)[:, unit] for ends in of_units)
        )
        near, far = (on_map, in_data) if near_is_on_map else (in_data, on_map)
        excess = near.probability_of_first(k) * far.mean_excess(k)
        error = weights[rows] @ np.einsum("ij,ij->i", neighbor_weights, excess)
        n_others = weights.sum() - own_weight
        return error, weights[rows] @ (k * (2 * n_others - 3 * k + 1) / 2)

    error, worst = np.sum(list(map_pairs(errors, placed)), axis=0).tolist()
    return min(max(1 - error / worst, 0.0), 1.0)


def _sums_over_pairs(placed: PlacedSamples) -> _Sums:
    """Sum products of distances over all ordered pairs of samples."""
    weights, grid = placed.weights, placed.grid
    hit, unit = np.unique(placed.bmus, return_inverse=True)

    def of_tile(tile: PairTile) -> tuple[list[float], list[float]]:
        rows, in_data, _ = tile
        units, index = np.unique(unit[rows], return_inverse=True)
        on_grid = np.sqrt(grid.squared_distances(hit[units, None], hit))[index][:, unit]
        squares = [each @ weights for each in (in_data**2, on_grid**2, in_data * on_grid)]
        *_, own_weight = equal_samples(rows, in_data, weights)
        sums = [weights[rows] @ each for each in (*squares, weights.sum() - own_weight)]
        return sums, [in_data.max(), on_grid.max()]

    sums, maxima = zip(*map_pairs(of_tile, placed), strict=True)
    return _Sums(*np.sum(sums, axis=0).tolist(), *np.max(maxima, axis=0).tolist())


trustworthiness_scorer = Scorer(trustworthiness)
neighborhood_preservation_scorer = Scorer(neighborhood_preservation)
c_measure_scorer = Scorer(c_measure)
neg_kruskal_shepard_error_scorer = Scorer(kruskal_shepard_error, sign=-1)

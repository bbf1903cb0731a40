"""Sums of squared distances: what training lowers, and what it leaves of the variance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._distance import METRICS, as_codebook, paired_distances, squared_costs
from sklearn_tfsom.metrics._reading import (
    check_radius,
    check_samples,
    distance_tiles,
    neighborhood_rows,
    row_tiles,
)


def distortion(
    estimator: Any,
    X: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    radius: float | None = None,
) -> float:
    """Compute the mean squared distance of samples to all units, weighted by the neighborhood.

    Each unit counts by how near it is on the grid to the sample's best-matching unit. A batch
    update lowers it for given best-matching units [1]_. Lower is better; it compares maps of one
    neighborhood and radius.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map. The neighborhood h is the one that it was trained with.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN where a value is missing.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample in the mean.

    radius : float, default=None
        Radius of the neighborhood, in lattice spacings. None is that of the last epoch.

    Returns
    -------
    distortion : float
        ``mean_i sum_k h(d(b_i, k)^2, radius) |x_i - w_k|^2`` with b_i the best-matching unit, in
        squared data units, in [0, inf) unless h has negative values. Under "cosine" and
        "correlation", where ``1 - cos`` is half a squared distance, it is not squared again.

    Raises
    ------
    ValueError
        Where `radius` is not a float above 0, or the samples or weights are not valid.

    Notes
    -----
    h is 1 at distance 0 and not normalized: on the edge of a map, where there are fewer
    neighbors, the sum is smaller.

    References
    ----------
    .. [1] Kohonen (1991): Self-organizing maps: optimization approaches. ICANN 1991, 981-990.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import distortion
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> distortion(som, X) < distortion(som, X, radius=2)
    True
    """
    samples, weights = check_samples(estimator, X, sample_weight)
    rows_of = neighborhood_rows(estimator, check_radius(estimator, radius))
    bmus = estimator._nearest(samples)
    shares = weights / weights.sum()
    total = 0.0
    for rows, distances in distance_tiles(estimator, samples):
        units, place = np.unique(bmus[rows, 0], return_inverse=True)
        h = rows_of(units)[place]
        total += float(shares[rows] @ np.sum(h * squared_costs(distances, samples.metric), axis=1))
    return total


def heskes_energy(
    estimator: Any,
    X: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    radius: float | None = None,
) -> float:
    """Compute the distortion with, for each sample, the unit that makes it the smallest.

    It is the energy that a self-organizing map descends if its winner is that unit [1]_; with the
    closest unit as the winner there is no such function. Lower is better; never above
    `distortion`; it compares maps of one neighborhood and radius.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map. The neighborhood h is the one that it was trained with.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN where a value is missing.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample in the mean.

    radius : float, default=None
        Radius of the neighborhood, in lattice spacings. None is that of the last epoch.

    Returns
    -------
    energy : float
        ``mean_i min_c sum_k h(d(c, k)^2, radius) |x_i - w_k|^2``, in squared data units, in
        [0, inf) unless h has negative values. Under "cosine" and "correlation", where ``1 - cos``
        is half a squared distance, it is not squared again.

    Raises
    ------
    ValueError
        Where `radius` is not a float above 0, or the samples or weights are not valid.

    Notes
    -----
    It takes ``n_samples n_units^2`` products. h is 1 at distance 0 and not normalized: on the
    edge of a map, where there are fewer neighbors, sums are smaller, and units there win more
    often.

    References
    ----------
    .. [1] Heskes (1999): Energy functions for self-organizing maps. In Oja, Kaski (eds.): Kohonen
       Maps, Elsevier, 303-315.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import distortion, heskes_energy
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> heskes_energy(som, X) <= distortion(som, X)
    True
    """
    samples, weights = check_samples(estimator, X, sample_weight)
    rows_of = neighborhood_rows(estimator, check_radius(estimator, radius))
    n_units = len(estimator.codebook_)
    blocks = row_tiles(n_units, n_units)
    whole = rows_of(np.arange(n_units)) if len(blocks) == 1 else None
    shares = weights / weights.sum()
    total = 0.0
    for rows, distances in distance_tiles(estimator, samples):
        cost = squared_costs(distances, samples.metric)
        energy = np.full(len(cost), np.inf)
        for block in blocks:
            h = rows_of(np.arange(n_units)[block]) if whole is None else whole
            np.minimum(energy, (cost @ h.T).min(axis=1), out=energy)
        total += float(shares[rows] @ energy)
    return total


def explained_variance(
    estimator: Any, X: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the share of the variance of samples that their best-matching units explain.

    Higher is better; it grows with the number of units, so it compares maps of one size, but also
    data sets of different units.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN where a value is missing.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample in the sums.

    Returns
    -------
    share : float
        ``1 - sum |x - w_bmu(x)|^2 / sum |x - mean|^2``, in (-inf, 1]: 1 where every sample is a
        code vector, 0 where the map is no better than the mean of X. Samples that are all equal
        have no variance: 1 if they are code vectors, else 0.

    Notes
    -----
    Both sums are over known values; the mean is feature by feature. Under "manhattan" and
    "chebyshev" they hold the squares of these distances; under "cosine" and "correlation"
    ``1 - cos``, with the direction of the mean direction in the place of the mean.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import explained_variance
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> explained_variance(som, X) > 0.95
    True
    """
    samples, weights = check_samples(estimator, X, sample_weight)
    distances = estimator._distances_to(samples, estimator._nearest(samples))
    shares = weights / weights.sum()
    left = float(shares @ squared_costs(distances[:, 0], samples.metric))
    mean = _mean(samples, shares)
    total = sum(
        float(shares[rows] @ _costs_of_mean(samples[rows], mean, samples))
        for rows in samples.tiles()
    )
    # What rounding leaves of equal samples is no variance.
    relative = 4 * np.finfo(np.float64).eps  # of sparse ones a square, of others a difference
    rounding = relative if samples.is_sparse else relative**2
    rounding *= samples.shape[1] * float(mean @ mean)
    if total > rounding:
        return 1 - left / total
    return float(left <= rounding)


def _mean(samples: Samples, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the known values of each feature; of directions its direction."""
    sums, known = np.zeros(samples.shape[1]), np.zeros(samples.shape[1])
    for rows in samples.tiles():
        tile, share = samples[rows], shares[rows]
        if samples.is_sparse:
            sums += tile.T @ share
            known += share.sum()
        else:
            is_known = ~np.isnan(tile)
            sums += share @ np.where(is_known, tile, 0)
            known += share @ is_known
    mean = sums / np.where(known > 0, known, 1)  # where none is known, it is never looked at
    return as_codebook(mean[None], METRICS["cosine"])[0] if samples.metric.is_spherical else mean


def _costs_of_mean(tile: Any, mean: NDArray[np.float64], samples: Samples) -> NDArray[np.float64]:
    """Squared distances (n,) of samples to their mean, or what stands for them."""
    if samples.is_sparse:
        product = np.asarray(tile @ mean)
        if samples.metric.is_spherical:
            return 1 - product
        squares = np.asarray(tile.multiply(tile).sum(axis=1), dtype=np.float64).ravel()
        return squares - 2 * product + mean @ mean
    tile = np.where(np.isnan(tile), mean, tile)
    cost = squared_costs(paired_distances(mean[None], tile, samples.metric), samples.metric)
    if samples.metric.is_spherical:
        cost[~tile.any(axis=1)] = 1  # zeros have no direction
    return cost

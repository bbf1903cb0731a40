"""Measures of quantization."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, logsumexp

from sklearn_tfsom._assignment import assign
from sklearn_tfsom._data.moments import feature_ranges, feature_sums, summed_differences
from sklearn_tfsom._data.pieces import Pieces
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.scaling import SQUARES_TOO_LARGE, check_range, power_of_two
from sklearn_tfsom._distance import (
    METRICS,
    as_codebook,
    is_zero,
    paired_distances,
    squared_costs,
)
from sklearn_tfsom._map.grid import grid_of
from sklearn_tfsom._parameters import known_error
from sklearn_tfsom._pipelines import takes_pipelines
from sklearn_tfsom._search.distances import distances_to_chosen
from sklearn_tfsom._validation import wrong_metric
from sklearn_tfsom.metrics._base import counted_samples, distance_tiles
from sklearn_tfsom.metrics._scorers import Scorer

# Added to the hits of each unit, so that units without samples have a positive probability.
_PSEUDO_HITS = 1.0


@takes_pipelines
def quantization_error(
    estimator: Any, X: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the mean distance of samples to their best-matching units.

    Lower is better. The error decreases with the number of units, so it only compares maps of the
    same size.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN for missing values.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample in the mean, None for 1.

    Returns
    -------
    error : float
        ``mean |x - w_bmu(x)|``, in data units, in the range [0, inf). 0 if every sample equals a
        code vector.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import quantization_error
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> round(quantization_error(som, X), 2)
    0.33
    """
    pieces = Pieces(*counted_samples(estimator, X, sample_weight))
    return assign(pieces, estimator.codebook_, grid_of(estimator)).error


@takes_pipelines
def explained_variance(
    estimator: Any, X: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the share of the variance of samples explained by their best-matching units.

    Higher is better. It increases with the number of units, so it only compares maps of the same
    size, but it does compare data sets with different units of measurement.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN for missing values.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample in the sums, None for 1.

    Returns
    -------
    share : float
        ``1 - sum |x - w_bmu(x)|^2 / sum |x - mean|^2``, in the range (-inf, 1]. 1 if every sample
        equals a code vector, 0 if the map is no better than the mean of X. If all samples are
        equal, it is 1 if they equal a code vector, otherwise 0.

    Notes
    -----
    Both sums are over the known values; the mean is computed for each feature. They contain the
    squares of the distances; with "cosine" and "correlation" they contain ``1 - cos``, and the
    mean is the mean direction.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import explained_variance
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> round(explained_variance(som, X), 2)
    0.97
    """
    samples, weights = counted_samples(estimator, X, sample_weight)
    distances = distances_to_chosen(samples, estimator.codebook_, estimator._nearest(samples))
    shares = weights / weights.sum()
    pieces = Pieces(samples, shares)
    low, high = feature_ranges(pieces)
    mean = _mean(pieces, low)
    # Divided by about the largest difference, no square leaves the range of float64.
    largest = max(np.nanmax(np.maximum(high - mean, mean - low)), distances.max())
    scale = 1.0 if samples.metric.is_spherical else power_of_two(float(largest))
    factor = scale**samples.metric.scaling_degree
    residual = float(shares @ squared_costs(distances[:, 0] / factor, samples.metric))
    total = 1.0  # of directions that cancel out, around any other
    if not samples.metric.is_spherical or mean.any():
        tiles = samples.tiles()
        total = sum(
            _cost_around(mean, samples[each], shares[each], samples, scale) for each in tiles
        )
    with np.errstate(over="ignore"):  # beside a huge constant feature
        squared_size = float(np.square(mean / scale).sum())
    # Directions, and code vectors that are means of equal samples, are rounded.
    precision = samples.dtype if samples.metric.is_spherical else np.float64
    rounding_error = (4 * np.finfo(precision).eps) ** 2 * samples.shape[1] * squared_size
    if total > (rounding_error if samples.metric.is_spherical else 0):
        return 1 - residual / total
    return float(residual <= rounding_error)


@takes_pipelines
def log_likelihood(
    estimator: Any, X: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the mean log-likelihood of samples under a Gaussian mixture at the units.

    Each unit is an isotropic Gaussian at its code vector, weighted by its hits; all have the same
    variance. Higher is better. On held-out samples it is largest for maps of intermediate size,
    so cross-validation can select `grid_size`.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map with ``metric="euclidean"``, or a pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN for missing values. They should not be the training samples.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample in the mean, None for 1.

    Returns
    -------
    log_likelihood : float
        ``mean log sum_k p_k N(x; w_k, s^2)`` in nats per sample, where ``p_k`` is proportional to
        ``hits_k + 1``. In the range (-inf, inf). The likelihood of a sample with missing values
        is that of its known values.

    Raises
    ------
    InvalidParameterError
        If the metric of the map is not Euclidean.
    ValueError
        If a likelihood is beyond the range of float64, very far from the map, or if the map has no
        quantization error: after `TFSOM.from_codebook` without X.

    Notes
    -----
    The standard deviation s is derived from the training: it is that of an isotropic Gaussian in
    d dimensions whose mean distance from the center is the quantization error,
    ``s = quantization_error_ / sqrt(2) * gamma(d / 2) / gamma((d + 1) / 2)``, and at least 1e-6
    times the standard deviation of the code vectors. Since each training sample is compared with
    the closest unit only, s is slightly too small if there are many units per sample, which
    favors smaller maps. It is also too small if training samples had missing values, since their
    distances are of the known ones. In few dimensions, several units per cluster are enough (5 x 5
    for iris); in many dimensions, almost as many units as samples can be best (32 x 32 for
    digits).

    Likelihoods depend on the units of measurement: only compare maps of the same data with the
    same scaling. Since 1 is added to the hits, the weights of the training samples should be
    counts: weights with a sum of 1 make all ``p_k`` about equal.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import log_likelihood
    >>> X, X_held_out = train_test_split(load_iris().data, random_state=0)
    >>> for grid_size in (1, 5, 20):
    ...     som = TFSOM(grid_size=grid_size).fit(X)
    ...     print(grid_size, round(log_likelihood(som, X_held_out), 1))
    1 -5.7
    5 -2.3
    20 -18.3
    """
    samples, weights = counted_samples(estimator, X, sample_weight)
    if estimator._metric != "euclidean":
        right = "'euclidean' for log_likelihood"
        raise wrong_metric(estimator, right, estimator._metric)
    deviation = _deviation(estimator.codebook_, known_error(estimator))
    log_probabilities = np.log(estimator.hits_ + _PSEUDO_HITS)
    log_probabilities -= logsumexp(log_probabilities)
    log_normalization = math.log(math.sqrt(2 * math.pi) * deviation)  # of each known value
    shares = weights / weights.sum()
    total = 0.0
    for rows, distances in distance_tiles(estimator, samples):
        with np.errstate(over="ignore", under="ignore", divide="ignore"):  # the sum reports it
            logs = logsumexp(log_probabilities - np.square(distances / deviation) / 2, axis=1)
        n_known: Any = samples.shape[1]
        if samples.has_missing:
            n_known = np.count_nonzero(~np.isnan(samples[rows]), axis=1)
        total += float(shares[rows] @ (logs - n_known * log_normalization))
    check_range(math.isfinite(total), what=SQUARES_TOO_LARGE)
    return total


def _mean(pieces: Pieces, low: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the known values of each feature, or the mean direction."""
    samples = pieces.samples
    # From the lowest value on, so that the mean of equal samples is exact.
    origin = np.nan_to_num(low)
    sums, known = pieces.reduce(feature_sums, origin, 1.0)
    mean = np.where(known > 0, origin + sums / np.where(known > 0, known, 1), 0)
    if not samples.metric.is_spherical:
        return mean
    is_rounding = np.linalg.norm(mean) <= 8 * np.finfo(samples.dtype).eps
    return np.zeros_like(mean) if is_rounding else as_codebook(mean[None], METRICS["cosine"])[0]


def _cost_around(
    mean: NDArray[np.float64],
    tile: Any,
    shares: NDArray[np.float64],
    samples: Samples,
    scale: float,
) -> float:
    """Sum the squared distances of a tile to the mean, in squares of `scale`; ``1 - cos``."""
    metric = samples.metric
    if samples.is_sparse:
        total = float(summed_differences(tile, shares, mean, scale, power=2).sum())
        if metric.is_spherical:  # a zero row has no direction
            total = total / 2 + float(shares[is_zero(tile)].sum()) * (1 - float(mean @ mean) / 2)
        return total
    tile = np.ascontiguousarray(tile)
    tile = np.where(np.isnan(tile), mean, tile) / scale
    squared = squared_costs(paired_distances((mean / scale)[None], tile, metric), metric)
    if metric.is_spherical:
        squared[is_zero(tile)] = 1
    return float(shares @ squared)


def _deviation(codebook: NDArray, quantization_error: float) -> float:
    """Return the standard deviation of the Gaussians of `log_likelihood`."""
    n_features = codebook.shape[1]
    ratio = math.exp(gammaln(n_features / 2) - gammaln((n_features + 1) / 2)) / math.sqrt(2)
    differences = codebook - codebook[0].astype(np.float64)
    scale = power_of_two(float(np.abs(differences).max()))  # so that no square leaves the range
    spread = math.sqrt((differences / scale).var(axis=0).mean()) * scale
    return max(float(quantization_error) * ratio, 1e-6 * spread) or 1e-100


neg_quantization_error_scorer = Scorer(quantization_error, sign=-1)
explained_variance_scorer = Scorer(explained_variance)
log_likelihood_scorer = Scorer(log_likelihood)

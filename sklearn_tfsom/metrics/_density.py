"""The map as a density: how likely it makes samples that it has not seen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln, logsumexp

from sklearn_tfsom._validation import wrong_parameter
from sklearn_tfsom.metrics._reading import check_samples, distance_tiles

# What a unit has beside its hits: one without samples is improbable, not impossible.
_FLOOR = 1.0


def log_likelihood(
    estimator: Any, X: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the mean log-likelihood of samples under a Gaussian mixture at the units.

    Every unit is a round Gaussian at its code vector, of one variance for all, weighted by its
    hits. More units describe the training data ever better, but samples that were held out only
    up to some size: cross-validated, this chooses `grid_size`, where the quantization error
    always prefers the largest map. Higher is better.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map, with ``metric="euclidean"``.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN where a value is missing; they should not be those of the training.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample in the mean.

    Returns
    -------
    log_likelihood : float
        ``mean log sum_k p_k N(x; w_k, s^2)`` with ``p_k`` in proportion to ``hits_k + 1``, in
        (-inf, inf), in nats per sample. A sample with missing values has the density of its known
        ones.

    Raises
    ------
    InvalidParameterError
        Where the map has another metric: it gives no density.
    ValueError
        Where the samples or weights are not valid.

    Notes
    -----
    The variance comes from the training: s is the standard deviation of a round Gaussian in d
    dimensions whose mean length is the quantization error,
    ``s = quantization_error_ / sqrt(2) * gamma(d / 2) / gamma((d + 1) / 2)``. As each training
    sample counts only for the closest unit, s is a little too small, the more so the more units
    there are for each sample: this favors smaller maps. In few dimensions some units for each
    cluster are enough (5 x 5 for iris); in many, where round Gaussians say little, nearly as many
    units as samples may be best (32 x 32 for digits). s is at least 1e-6 of the standard
    deviation of the code vectors, for maps that hold each training sample.

    Densities depend on the units of the data: compare maps of the same data, scaled alike.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import log_likelihood
    >>> X, X_held_out = train_test_split(load_iris().data, random_state=0)
    >>> small, medium, large = (TFSOM(grid_size=size).fit(X) for size in (1, 5, 20))
    >>> log_likelihood(small, X_held_out) < log_likelihood(medium, X_held_out)
    True
    >>> log_likelihood(large, X_held_out) < log_likelihood(medium, X_held_out)
    True
    """
    samples, weights = check_samples(estimator, X, sample_weight)
    if estimator._metric != "euclidean":
        right = "'euclidean' for a log-likelihood"
        raise wrong_parameter("metric", estimator, right, repr(estimator._metric))
    deviation = _deviation(estimator)
    log_shares = np.log(estimator.hits_ + _FLOOR)
    log_shares -= logsumexp(log_shares)
    shares = weights / weights.sum()
    total = 0.0
    for rows, distances in distance_tiles(estimator, samples):
        logs = logsumexp(log_shares - np.square(distances / deviation) / 2, axis=1)
        n_known: Any = samples.shape[1]
        if samples.has_missing:
            n_known = np.count_nonzero(~np.isnan(samples[rows]), axis=1)
        total += float(
            shares[rows] @ (logs - n_known * math.log(math.sqrt(2 * math.pi) * deviation))
        )
    return total


def _deviation(estimator: Any) -> float:
    """Derive the standard deviation of the units' Gaussians from the mean training distance."""
    n_features = estimator.codebook_.shape[1]
    ratio = math.exp(gammaln(n_features / 2) - gammaln((n_features + 1) / 2)) / math.sqrt(2)
    codebook = estimator.codebook_.astype(np.float64)
    spread = math.sqrt(codebook.var(axis=0).mean())
    return max(float(estimator.quantization_error_) * ratio, 1e-6 * spread, 1e-100)

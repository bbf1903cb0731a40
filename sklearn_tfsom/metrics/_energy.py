"""Measures of energy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_tfsom._data.scaling import SQUARES_TOO_LARGE, check_range
from sklearn_tfsom._data.tiles import value_slices
from sklearn_tfsom._distance import squared_costs
from sklearn_tfsom._pipelines import takes_pipelines
from sklearn_tfsom._tuning import LARGE_TILE_VALUES
from sklearn_tfsom.metrics._base import (
    check_radius,
    counted_samples,
    distance_tiles,
    neighborhood_rows,
)
from sklearn_tfsom.metrics._scorers import Scorer


@takes_pipelines
def distortion(
    estimator: Any,
    X: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    radius: float | None = None,
) -> float:
    """Compute the distortion: squared distances to all units, weighted by the neighborhood.

    The squared distance to each unit is weighted by the neighborhood of this unit and the
    best-matching unit. Batch training decreases it for given best-matching units [1]_. Lower is
    better. It only compares maps of the same size, neighborhood and radius.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one. The neighborhood h is that of the
        training.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN for missing values.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample in the mean, None for 1.

    radius : float, default=None
        Radius of the neighborhood in lattice spacings, None for that of the last epoch.

    Returns
    -------
    distortion : float
        ``mean_i sum_k h(d(b_i, k)^2, radius) |x_i - w_k|^2``, where ``b_i`` is the best-matching
        unit. In squared data units, in the range [0, inf) unless h has negative values. With the
        metrics "cosine" and "correlation", ``1 - cos`` takes the place of the squared distance.

    Raises
    ------
    InvalidParameterError
        If `radius` is not a positive float.
    ValueError
        If `radius` is None and the map was not trained by `fit` or `partial_fit`.

    Notes
    -----
    h is 1 at distance 0, unless the neighborhood is a function, and not normalized: at the edge of
    a map, where units have fewer neighbors, the sum is smaller.

    The time is proportional to ``n_samples n_units n_features``.

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
    >>> round(distortion(som, X), 2), round(distortion(som, X, radius=2), 2)
    (2.57, 41.94)
    """
    samples, weights = counted_samples(estimator, X, sample_weight)
    rows_of = neighborhood_rows(estimator, check_radius("distortion", radius, estimator))
    bmus = estimator._nearest(samples)[:, 0]
    shares = weights / weights.sum()
    total = 0.0
    for rows, distances in distance_tiles(estimator, samples):
        units, index = np.unique(bmus[rows], return_inverse=True)
        h = rows_of(units)[index]
        with np.errstate(invalid="ignore"):  # 0 times infinity: the sum reports it
            costs = np.sum(h * squared_costs(distances, samples.metric), axis=1)
        total += float(shares[rows] @ costs)
    check_range(math.isfinite(total), what=SQUARES_TOO_LARGE)
    return total


@takes_pipelines
def heskes_energy(
    estimator: Any,
    X: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    radius: float | None = None,
) -> float:
    """Compute the Heskes energy: the distortion with the best center for each sample.

    The center of the neighborhood is the unit that minimizes the sum for the sample, instead of
    the best-matching unit. A map trained with these centers would minimize this energy [1]_; for
    best-matching units there is no such function. Lower is better. It is never larger than
    `distortion`, except by rounding, and only compares maps of the same size, neighborhood and
    radius.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one. The neighborhood h is that of the
        training.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN for missing values.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample in the mean, None for 1.

    radius : float, default=None
        Radius of the neighborhood in lattice spacings, None for that of the last epoch.

    Returns
    -------
    energy : float
        ``mean_i min_c sum_k h(d(c, k)^2, radius) |x_i - w_k|^2``, in squared data units, in the
        range [0, inf) unless h has negative values. With the metrics "cosine" and "correlation",
        ``1 - cos`` takes the place of the squared distance.

    Raises
    ------
    InvalidParameterError
        If `radius` is not a positive float.
    ValueError
        If `radius` is None and the map was not trained by `fit` or `partial_fit`.

    Notes
    -----
    h is 1 at distance 0, unless the neighborhood is a function, and not normalized: at the edge of
    a map, where units have fewer neighbors, sums are smaller, so that these units are more often
    the best center.

    The time is proportional to ``n_samples n_units^2``.

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
    >>> round(heskes_energy(som, X), 2), round(distortion(som, X), 2)
    (1.46, 2.57)
    """
    samples, weights = counted_samples(estimator, X, sample_weight)
    rows_of = neighborhood_rows(estimator, check_radius("heskes_energy", radius, estimator))
    n_units = len(estimator.codebook_)
    blocks = value_slices(n_units, n_units, LARGE_TILE_VALUES)
    # The neighborhood of a small map is computed once, that of a large one in blocks.
    whole = rows_of(np.arange(n_units)) if len(blocks) == 1 else None
    shares = weights / weights.sum()
    total = 0.0
    for rows, distances in distance_tiles(estimator, samples):
        squared = squared_costs(distances, samples.metric)
        energy = np.full(len(squared), np.inf)
        for block in blocks:
            h = rows_of(np.arange(n_units)[block]) if whole is None else whole
            with np.errstate(invalid="ignore"):
                np.minimum(energy, (squared @ h.T).min(axis=1), out=energy)
        total += float(shares[rows] @ energy)
    check_range(math.isfinite(total), what=SQUARES_TOO_LARGE)
    return total


neg_distortion_scorer = Scorer(distortion, sign=-1)
neg_heskes_energy_scorer = Scorer(heskes_energy, sign=-1)

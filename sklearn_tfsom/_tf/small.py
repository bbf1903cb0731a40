"""Best-matching units and sums of few rows in NumPy, which is done before a graph is called."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._distance import lengths_to_all
from sklearn_tfsom._tf.loading import DenseRows
from sklearn_tfsom._tf.scores import Terms
from sklearn_tfsom._tf.statistics import Nearest, Statistics
from sklearn_tfsom._tf.ties import FAR, distance_noise, within_rounding


@np.errstate(over="ignore", invalid="ignore")  # the distances tell
def search_small(
    rows: DenseRows, terms: Terms, k: int, weights: NDArray[np.float64] | tf.Tensor | None
) -> Nearest | None:
    """Find the k best-matching units of few rows by their distances to all units.

    Returns
    -------
    found : Nearest or None
        None if a row is so far from the map that scores have to decide.
    """
    metric = terms.kind.metric
    codebook = terms.codebook.reshape(-1, terms.codebook.shape[2])
    values, norms = np.asarray(rows.values, np.float64), np.asarray(rows.norms)
    if metric.is_product and not np.all(norms <= FAR**2 * _squares(codebook).max()):
        return None
    known = ~np.isnan(values) if terms.kind.has_missing else None
    distances = lengths_to_all(values, codebook, metric, known)
    values = values if known is None else np.where(known, values, 0)
    if metric.is_product:
        sizes = np.sqrt(norms)
    else:
        sizes = metric.total(metric.magnitude(np, values))
    lowest = distances.min(axis=1)
    noise = distance_noise(sizes, terms.extent, lowest, metric, codebook.shape[1])[:, None]
    units, every = np.empty((len(values), k), np.int32), np.arange(len(values))
    for place in range(k):
        near = within_rounding(distances, distances.min(axis=1, keepdims=True), noise)
        units[:, place] = np.argmax(near, axis=1)
        distances[every, units[:, place]] = np.inf
    closest = lowest**2 / 2 if metric.is_spherical else lowest
    if weights is None:
        return Nearest(units, closest, None)
    return Nearest(
        units,
        closest,
        _sum_by_unit(values, known, np.asarray(weights), units[:, 0], closest, len(codebook)),
    )


def _sum_by_unit(
    values: NDArray[np.float64],
    known: NDArray[np.bool_] | None,
    weights: NDArray[np.float64],
    units: NDArray[np.int32],
    distances: NDArray[np.float64],
    n_units: int,
) -> Statistics:
    """Sum rows (n, n_features) by best-matching unit (n,)."""
    n_features = values.shape[1]
    places = (units[:, None] * n_features + np.arange(n_features)).ravel()

    def by_feature(values: NDArray) -> NDArray[np.float64]:
        shares = (weights[:, None] * values).ravel()
        sums = np.bincount(places, shares, n_units * n_features)
        return sums.astype(np.float64).reshape(n_units, n_features)

    error = np.sum(weights * distances)
    if known is not None:
        return Statistics(by_feature(values), by_feature(known), error)
    counts = np.bincount(units, weights, n_units).astype(np.float64)
    return Statistics(by_feature(values), counts[:, None], error)


def _squares(codebook: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.einsum("ij,ij->i", codebook, codebook)

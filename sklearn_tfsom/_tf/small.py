"""Best-matching units of small inputs in NumPy, which is done before a graph is called."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._distance import Metric
from sklearn_tfsom._tf.scaling import Scaling
from sklearn_tfsom._tf.ties import FAR, NOISE, within_rounding


def nearest_small(
    X: NDArray, codebook: NDArray, k: int, scaling: Scaling, metric: Metric
) -> NDArray | None:
    """Find the best-matching units of few samples by their differences to all units.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    codebook : ndarray of shape (n_units, n_features)
        Both in data units, or unit vectors.
    k : int
        Number of units to find for each sample.
    scaling : Scaling
    metric : Metric

    Returns
    -------
    units : ndarray of int64, shape (n_samples, k), or None
        None if a sample is so far from the map that scores would have to decide.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # far away, see below
        rows, codebook_scaled = scaling.transform(X), scaling.transform(codebook)
        rows_known = np.where(np.isnan(rows), 0, rows)
        norms = np.einsum("ij,ij->i", rows_known, rows_known)
        far = FAR * math.sqrt(np.einsum("ij,ij->i", codebook_scaled, codebook_scaled).max())
        if not np.all(norms <= far**2):
            return None
        # Features first: sums over the last axis would be short, and three times as slow.
        differences = np.subtract(rows.T[:, :, None], codebook_scaled.T[:, None], order="C")
        np.copyto(differences, 0, where=np.isnan(differences))
        distances = np.sqrt(np.einsum("kij,kij->ij", differences, differences))
    sizes = np.sqrt(norms)[:, None]
    # A bound on the extent, which is computed only if that leaves several candidates.
    bound = far / FAR + math.hypot(*(scaling.center * scaling.scale).tolist())
    noise = NOISE * (sizes + bound + scaling.scale * metric.is_spherical)
    units = np.empty((len(X), k), dtype=np.int64)
    for place in range(k):
        lowest = distances.min(axis=1, keepdims=True)
        candidates = within_rounding(distances, lowest, noise)
        if np.count_nonzero(candidates) > len(X):
            noise = NOISE * (sizes + scaling.extent(codebook_scaled))
            candidates = within_rounding(distances, lowest, noise)
        units[:, place] = np.argmax(candidates, axis=1)
        distances[np.arange(len(X)), units[:, place]] = np.inf
    return units

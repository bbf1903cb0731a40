"""Best-matching units of small inputs in NumPy, which is done before a graph is called."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._distance import Metric
from sklearn_tfsom._tf.scaling import Scaling
from sklearn_tfsom._tf.ties import FAR, NOISE, within_rounding


def nearest_small(
    X: NDArray, codebook: NDArray, scaling: Scaling, metric: Metric
) -> NDArray | None:
    """Find the best-matching units of few samples by their differences to all units.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    codebook : ndarray of shape (n_units, n_features)
        Both in data units, or unit vectors.
    scaling : Scaling
    metric : Metric

    Returns
    -------
    units : ndarray of int64, shape (n_samples,), or None
        None if a sample is so far from the map that scores would have to decide.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # far away, see below
        rows, units = scaling.transform(X), scaling.transform(codebook)
        rows_known = np.where(np.isnan(rows), 0, rows)
        norms = np.einsum("ij,ij->i", rows_known, rows_known)
        far = FAR * math.sqrt(np.einsum("ij,ij->i", units, units).max())
        if not np.all(norms <= far**2):
            return None
        # Features first: sums over the last axis would be short, and three times as slow.
        differences = np.subtract(rows.T[:, :, None], units.T[:, None], order="C")
        np.copyto(differences, 0, where=np.isnan(differences))
        distances = np.sqrt(np.einsum("kij,kij->ij", differences, differences))
    lowest = distances.min(axis=1, keepdims=True)

    def near(size: float) -> NDArray[np.bool_]:
        return within_rounding(distances, lowest, NOISE * (np.sqrt(norms)[:, None] + size))

    # A bound on the extent, which is asked for only if that leaves several units.
    size = far / FAR + math.hypot(*(scaling.center * scaling.scale).tolist())
    candidates = near(size + scaling.scale * metric.is_spherical)
    if np.count_nonzero(candidates) > len(X):
        candidates = near(scaling.extent(units, metric))
    return np.argmax(candidates, axis=1)

"""Few samples: NumPy is done with them before a graph is called."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._tf.exact import FAR, NOISE
from sklearn_tfsom._tf.frame import Frame

# Up to so many differences between samples and units NumPy is done before a graph is called.
FEW_DIFFERENCES = 2**16


def few_nearest(X: NDArray, codebook: NDArray, frame: Frame) -> NDArray[np.int64] | None:
    """Find the best-matching units of few samples by their differences to all units.

    This is `exact.decide` in NumPy. None where scores would have to decide, because a
    sample is far from the map.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # far out; then scores decide
        rows, units = frame.enter(X), frame.enter(codebook)
    is_missing = np.isnan(X)
    known_rows = np.where(is_missing, 0, rows)
    norms = np.einsum("ij,ij->i", known_rows, known_rows)
    far = FAR * math.sqrt(np.einsum("ij,ij->i", units, units).max())
    if not np.all(norms <= far**2):
        return None
    differences = np.where(is_missing[:, None], 0, rows[:, None] - units)
    squared = np.einsum("ijk,ijk->ij", differences, differences)
    best = squared.min(axis=1)
    values = frame.center * frame.scale

    def within_rounding(values: NDArray[np.float64]) -> NDArray[np.bool_]:
        noise = NOISE * (np.minimum(np.sqrt(norms), far) + math.hypot(*values.tolist()))
        with np.errstate(over="ignore"):  # of a single point, far out
            limit = best + noise * (2 * np.sqrt(best) + noise)
        return squared <= limit[:, None]

    near = within_rounding(values)
    if np.count_nonzero(near) > len(X):  # seldom: so only then which features differ is asked
        near = within_rounding(values[units.max(axis=0) > units.min(axis=0)])
    return np.argmax(near, axis=1)[:, None]

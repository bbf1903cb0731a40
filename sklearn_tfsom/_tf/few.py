"""Few samples: NumPy is done with them before a graph is called."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._tf.exact import FAR, NOISE
from sklearn_tfsom._tf.frame import Frame, extent

# Up to so many differences between samples and units NumPy is done before a graph is called.
FEW_DIFFERENCES = 2**16

# Features whose squares are summed up plane by plane: row by row such short sums take three times
# as long (160 us for 150 samples with 4 features and 100 units, instead of 45).
_SHORT = 16


def few_nearest(
    X: NDArray, codebook: NDArray, frame: Frame, geometry: str = "euclidean"
) -> NDArray[np.int64] | None:
    """Find the best-matching units of few samples by their differences to all units.

    This is `exact.decide` in NumPy. None where scores would have to decide, because a
    sample is far from the map.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # far out; then scores decide
        rows, units = frame.enter(X), frame.enter(codebook)
    is_missing = np.isnan(X)
    has_missing = is_missing.any()
    known_rows = np.where(is_missing, 0, rows) if has_missing else rows
    norms = np.einsum("ij,ij->i", known_rows, known_rows)
    far = FAR * math.sqrt(np.einsum("ij,ij->i", units, units).max())
    if not np.all(norms <= far**2):
        return None
    if X.shape[1] <= _SHORT:
        differences = np.subtract(rows.T[:, :, None], units.T[:, None], order="C")
        is_missing, axes = is_missing.T[:, :, None], "kij,kij->ij"
    else:
        differences = rows[:, None] - units
        is_missing, axes = is_missing[:, None], "ijk,ijk->ij"
    if has_missing:
        np.copyto(differences, 0, where=is_missing)
    squared = np.einsum(axes, differences, differences)
    best = squared.min(axis=1)

    def within_rounding(size: float) -> NDArray[np.bool_]:
        noise = NOISE * (np.minimum(np.sqrt(norms), far) + size)
        with np.errstate(over="ignore"):  # of a single point, far out
            limit = best + noise * (2 * np.sqrt(best) + noise)
        return squared <= limit[:, None]

    # The extent, and no less; seldom more than one is near, and only then it is asked for.
    offset = math.hypot(*(frame.center * frame.scale).tolist())
    near = within_rounding(far / FAR + offset + frame.scale * (geometry == "spherical"))
    if np.count_nonzero(near) > len(X):
        near = within_rounding(extent(units, frame, geometry))
    return np.argmax(near, axis=1)[:, None]

"""The radius of the neighborhood, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

RADIUS_DECAYS = ("exponential", "linear")

# Where "auto" ends. Below a Gaussian radius of one lattice spacing the quantization error still
# falls, and at 0.9 it does so without a rise of the topographic error. The compact neighborhoods
# end where they weigh the direct neighbors about as much; below, a unit would learn alone.
_AUTO_RADIUS_END = {"cut_gaussian": 1.0, "bubble": 1.0, "epanechnikov": 1.5, "triangle": 2.0}
_GAUSSIAN_RADIUS_END = 0.9


def radius_schedule(
    decay: str | ArrayLike,
    *,
    max_iter: int,
    start: float | str,
    end: float | str,
    neighborhood: str | Callable,
    n_across: int,
    ordered_start: bool,
) -> NDArray[np.float64]:
    """Radius of each epoch, in lattice spacings.

    The radius falls from `start` to `end` over the first half of the epochs and is held at `end`
    over the second half: holding lets the map settle, which gains more than a longer fall.

    Parameters
    ----------
    decay : {"exponential", "linear"} or array-like of shape (max_iter,)
        How the radius falls; an array is the schedule itself.
    max_iter : int
        Number of epochs.
    start, end : float or "auto"
        Radius of the first and of the last epoch.
    neighborhood : str or callable
        On its shape "auto" depends.
    n_across : int
        Number of units along the longer side of the map.
    ordered_start : bool
        Whether the codebook is ordered before training: an ordered one needs no wide radius.

    Returns
    -------
    radii : ndarray of float64, shape (max_iter,)
    """
    if not isinstance(decay, str):
        return np.array(decay, dtype=np.float64)
    auto_end = _GAUSSIAN_RADIUS_END
    if isinstance(neighborhood, str):
        auto_end = _AUTO_RADIUS_END.get(neighborhood, auto_end)
    last = auto_end if end == "auto" else float(end)
    if start == "auto":
        width = auto_end / _GAUSSIAN_RADIUS_END
        first = max(last, width * max(1.0, n_across / (8 if ordered_start else 2)))
    else:
        first = float(start)
        last = min(first, last) if end == "auto" else last
    if max_iter == 1:
        return np.array([last])
    n_falling = (max_iter + 1) // 2
    fall = np.geomspace if decay == "exponential" else np.linspace
    return np.concatenate([fall(first, last, n_falling), np.full(max_iter - n_falling, last)])


def n_epochs_to_end(radii: NDArray[np.float64]) -> int:
    """Count the epochs after which the radius no longer changes."""
    (changes,) = np.nonzero(np.diff(radii))
    return int(changes[-1]) + 2 if len(changes) else 1

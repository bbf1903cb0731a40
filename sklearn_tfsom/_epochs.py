"""Epochs: the statistics of the samples move the codebook, smoothed along the grid.

Codebooks and statistics are in the scaled space; errors and shifts are in data units.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.neighborhood import Kernel, Kernels
from sklearn_tfsom._map.schedules import Stage
from sklearn_tfsom._map.smoothing import (
    TrainState,
    move_codebook,
    project,
    root_mean_square_shift,
)
from sklearn_tfsom._search.sources import Source

# Decayed weights below this share of the largest are set to 0, before they become subnormal.
_MIN_SHARE = 1e-200


class Epoch(NamedTuple):
    """The outcome of an epoch."""

    state: TrainState
    quantization_error: float  # of the codebook that the epoch began with
    shift: float  # root mean square shift of the code vectors; both in data units


def run_epochs(
    source: Source,
    codebook: NDArray[np.float64],
    kernels: Kernels,
    grid: Grid,
    radii: NDArray[np.float64],
    n_done: int = 0,
    n_before: int = 0,
) -> Iterator[Epoch]:
    """Run an epoch for each radius on one grid, after `n_done` others.

    `n_before` of these were on this grid and these samples, before a fit was resumed, so that a
    resumed fit chooses the same search as an uninterrupted one.
    """
    scaling, n_epochs = source.scaling, n_before + len(radii)
    for number, radius in enumerate(radii, start=n_done + 1):
        former, name = codebook, f"epoch_{number}"
        sums, counts, distance_sum = source.statistics(codebook, n_epochs=n_epochs, name=name)
        kernel = kernels.kernel(float(radius), grid, grid)
        codebook = move_codebook(former, sums, counts, kernel, scaling)
        shift = root_mean_square_shift(codebook, former) / scaling.scale
        error = _mean_distance(source, distance_sum)
        yield Epoch(TrainState(codebook, sums, counts), error, shift)


def run_stages(
    source: Source, state: TrainState, kernels: Kernels, stages: list[Stage]
) -> Iterator[Epoch]:
    """Run the epochs of some stages on one source, from a state on the grid of the first."""
    for index, stage in enumerate(stages):
        if index:
            former = stages[index - 1]
            grids = former.grid, stage.grid
            state = project(state, kernels, former.radii[-1], *grids, source.scaling)
        for epoch in run_epochs(source, state.codebook, kernels, stage.grid, stage.radii):
            yield epoch
            state = epoch.state


def learn(
    batch: Source, state: TrainState, kernel: Kernel, decay: float
) -> tuple[TrainState, float]:
    """Learn a mini-batch: former statistics decay, those of the batch are added.

    Parameters
    ----------
    batch : Source
    state : TrainState
    kernel : Kernel
    decay : float
        Factor of the former statistics, from 0 to 1.

    Returns
    -------
    state : TrainState
    error : float
        Mean distance of the batch to its units before, in data units.
    """
    statistics = batch.statistics(state.codebook)
    counts = decay * state.counts + statistics.counts
    sums = decay * state.sums + statistics.sums
    counts = np.where(counts > _MIN_SHARE * counts.max(), counts, 0)
    sums = np.where(counts > 0, sums, 0)
    codebook = move_codebook(state.codebook, sums, counts, kernel, batch.scaling)
    return TrainState(codebook, sums, counts), _mean_distance(batch, statistics.distance_sum)


def _mean_distance(source: Source, distance_sum: NDArray[np.float64]) -> float:
    """Turn a weighted sum of distances into their mean, in data units.

    Raises
    ------
    ValueError
        If the sum or the mean exceeds the range of float64.
    """
    with np.errstate(over="ignore"):
        mean = distance_sum / source.pieces.total_weight / source.scaling.distance_factor()
    if not np.isfinite(mean):
        raise ValueError(
            "X, sample_weight or init contains values too large: the weighted distances of the "
            "samples to the code vectors exceed the range of float64. Rescale it."
        )
    return float(mean)

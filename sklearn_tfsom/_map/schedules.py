"""Schedules: radius, grid and subsample of each epoch, and the schedule of a stream."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._map.candidates import MAX_SAMPLES, WIDER, epoch_to_compare_after
from sklearn_tfsom._map.geometry import coarsened
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.neighborhood import NEIGHBORHOODS, neighborhood_of

RADIUS_DECAYS = ("exponential", "linear")

# Share of the epochs over which the radius falls.
_FALLING = 0.8

# The weight with which the first codebook counts in each unit: without it a first mini-batch of
# one sample, or of equal ones, would make the map a single point forever.
PRIOR = 0.1

# --- Streams ---

# The three rules are the best found, in a flat optimum, on 16 data sets from 150 to 50,000 rows,
# on grids from 5x5 to 20x20, in three passes over 40 pieces. Errors on six sets, on grids of the
# automatic size, are in benchmarks/results/streams.json.

# Samples after which the radius has fallen, in all or for each unit.
_MIN_FALLING, _FALLING_PER_UNIT = 100.0, 0.6

# Samples that are remembered, in all or for each unit; fewer at first, in proportion to those
# seen, so that statistics learned with a large radius decay.
_MIN_MEMORY, _MEMORY_PER_UNIT, _MEMORY_PER_SEEN = 500.0, 5.0, 0.3

# Samples of a mini-batch, in all or for each unit; fewer at first, in proportion to those seen.
_MIN_BATCH, _MAX_BATCH, _BATCH_PER_UNIT, _BATCH_PER_SEEN = 4.0, 1024.0, 0.25, 0.05

# --- Coarse-to-fine training ---

# The spacing of the coarse grid at a radius: 1.25 times as wide, or less. On 20x20 units a fit
# searches 0.57 as much, and the errors of 15 sets are those of the whole grid or lower.
_SPACINGS_PER_RADIUS = 1.25

# While the radius falls, epochs search a subsample of this many samples, in all or for each unit
# of the grid that is searched, if there are more than twice as many. With some 16,000 the
# quantization error is 1.001 times that of whole epochs, with half as many 1.004 times.
_MIN_SUBSAMPLE, _SUBSAMPLE_PER_UNIT = 16_000, 48


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
    """Return the radius of each epoch, in lattice spacings.

    The radius falls from `start` to `end` over four fifths of the epochs and is then held at
    `end`: that lets the map settle.

    Parameters
    ----------
    decay : {"exponential", "linear"} or array-like of shape (max_iter,)
        How the radius falls; an array is the schedule itself.
    max_iter : int
        Number of epochs.
    start, end : float or "auto"
        Radius of the first and of the last epoch.
    neighborhood : str or callable
        Determines what "auto" stands for.
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
    first, last = _radius_ends(start, end, neighborhood, n_across / (6 if ordered_start else 2))
    if max_iter == 1:
        return np.array([last])
    n_falling = round(_FALLING * max_iter) if first != last else 0  # else rounding could change it
    fall = np.geomspace if decay == "exponential" else np.linspace
    return np.concatenate([fall(first, last, n_falling), np.full(max_iter - n_falling, last)])


def _radius_ends(
    start: float | str, end: float | str, neighborhood: str | Callable, auto_start: float
) -> tuple[float, float]:
    """Return the first and the last radius; with a Gaussian "auto" starts at `auto_start`."""
    auto_end = neighborhood_of(neighborhood).radius_end
    last = auto_end if isinstance(end, str) else float(end)
    if isinstance(start, str):
        width = auto_end / NEIGHBORHOODS["gaussian"].radius_end
        return max(last, width * max(1.0, auto_start)), last
    return float(start), min(float(start), last) if isinstance(end, str) else last


def n_epochs_to_end(radii: NDArray[np.float64]) -> int:
    """Count the epochs after which the radius no longer changes."""
    (changes,) = np.nonzero(np.diff(radii))
    return int(changes[-1]) + 2 if len(changes) else 1


class Stage(NamedTuple):
    """Epochs on one grid and one subsample."""

    grid: Grid
    sample_size: int | None  # of the subsample; None for all samples
    radii: NDArray[np.float64]  # (n_epochs,)
    tries_others: bool = False  # whether the map is compared with others at the end


class EpochSchedule(NamedTuple):
    """Grid and size of the subsample of each epoch."""

    radii: NDArray[np.float64]
    grids: list[Grid]
    subsample_sizes: list[int | None]  # None for all samples
    compared_after: int | None  # epoch after which the map is compared with others, from 1 on

    @classmethod
    def of(
        cls,
        grid: Grid,
        radii: NDArray[np.float64],
        *,
        is_coarse_to_fine: bool,
        can_compare: bool,
    ) -> EpochSchedule:
        """Make the schedule of a map for the radii of its epochs."""
        n_epochs = len(radii)
        if not is_coarse_to_fine:
            return cls(radii, [grid] * n_epochs, [None] * n_epochs, None)
        grids = grid_schedule(grid, radii)
        compared_after = epoch_to_compare_after(grid, n_epochs) if can_compare else None
        return cls(radii, grids, subsample_schedule(grids, radii), compared_after)

    def sizes(self) -> list[int]:
        """Return all sizes of subsamples that may be needed."""
        sizes = [size for size in self.subsample_sizes if size is not None]
        return sizes if self.compared_after is None else [*sizes, MAX_SAMPLES]

    def stages(self, worthwhile: set[int]) -> list[Stage]:
        """Return the stages, on subsamples of sizes that are worthwhile."""
        sizes = [size if size in worthwhile else None for size in self.subsample_sizes]
        kinds = list(zip(self.grids, sizes, strict=True))
        stages, first = [], 0
        for epoch in range(1, len(self.radii) + 1):
            is_last, is_compared = epoch == len(self.radii), epoch == self.compared_after
            if is_last or is_compared or kinds[epoch] != kinds[first]:
                stages.append(Stage(*kinds[first], self.radii[first:epoch], is_compared))
                first = epoch
        return stages


def widened(stages: list[Stage]) -> list[Stage]:
    """Return the stages before the map is compared with others, from a wider radius on."""
    (last,) = (place for place, stage in enumerate(stages) if stage.tries_others)
    lengths = [len(stage.radii) for stage in stages[: last + 1]]
    factors = np.geomspace(WIDER, 1, sum(lengths))
    parts = np.split(factors, np.cumsum(lengths)[:-1])
    largest = np.finfo(np.float64).max / WIDER
    return [
        stage._replace(radii=np.minimum(stage.radii, largest) * part)
        for stage, part in zip(stages, parts, strict=False)
    ]


def grid_schedule(grid: Grid, radii: NDArray[np.float64]) -> list[Grid]:
    """Return the grid of each epoch in coarse-to-fine training: coarser while the radius is large.

    A grid whose units are about a radius apart represents the map as well, and its search takes
    less time. Spacings are powers of sqrt(2), so that each grid serves several epochs. From the
    last radius on it is the grid of the map.
    """
    narrowest = _narrowest(grid, radii)
    halvings = np.floor(2 * np.log2(_SPACINGS_PER_RADIUS * narrowest)) / 2
    spacings = np.where(narrowest > radii[-1], 2.0 ** np.maximum(halvings, 0), 1)
    grids = {spacing: coarsened(grid, spacing) for spacing in np.unique(spacings).tolist()}
    return [grids[spacing] for spacing in spacings.tolist()]


def subsample_schedule(grids: list[Grid], radii: NDArray[np.float64]) -> list[int | None]:
    """Return the size of the subsample of each epoch in coarse-to-fine training.

    None, for all samples, from the last radius on, and where the neighborhood is so narrow that it
    averages over hardly more than a unit.

    Parameters
    ----------
    grids : list of Grid
        The grid of each epoch.
    radii : ndarray of float64, shape (max_iter,)
        The radius of each epoch, in lattice spacings.
    """
    narrow = max(radii[-1], NEIGHBORHOODS["gaussian"].radius_end)
    is_wide = _narrowest(grids[-1], radii) > narrow
    return [
        max(_MIN_SUBSAMPLE, _SUBSAMPLE_PER_UNIT * grid.n_units) if wide else None
        for grid, wide in zip(grids, is_wide, strict=True)
    ]


def _narrowest(grid: Grid, radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the narrowest radius up to each epoch, no wider than the map.

    Training never goes back to a coarser grid: a narrow neighborhood reaches none.
    """
    return np.minimum.accumulate(np.minimum(radii, grid.n_rows + grid.n_columns))


class StreamSchedule(NamedTuple):
    """The schedule of a stream: radius, memory and mini-batches, by the weight seen so far."""

    n_units: int
    radii: NDArray[np.float64]  # through which the radius falls, at equal steps
    is_linear: bool  # in between; else exponential

    @classmethod
    def of(
        cls,
        grid: Grid,
        *,
        start: float | str,
        end: float | str,
        decay: str | ArrayLike,
        neighborhood: str | Callable,
        ordered_start: bool,
    ) -> StreamSchedule:
        """Make the schedule for a map.

        "auto" starts at a fourth of the longer side, where a batch map starts at a sixth: the
        plane of a first piece says less than that of all data.
        """
        if not isinstance(decay, str):
            return cls(grid.n_units, np.array(decay, dtype=np.float64), True)
        auto_start = max(grid.shape) / (4 if ordered_start else 2)
        radii = np.array(_radius_ends(start, end, neighborhood, auto_start))
        return cls(grid.n_units, radii, decay == "linear")

    def radius(self, seen: float) -> float:
        """Return the radius once samples of this total weight have been seen."""
        share = min(1.0, seen / max(_MIN_FALLING, _FALLING_PER_UNIT * self.n_units))
        steps = np.linspace(0, 1, len(self.radii))
        if self.is_linear:
            return float(np.interp(share, steps, self.radii))
        if share == 1 or (self.radii == self.radii[-1]).all():
            return float(self.radii[-1])  # without rounding
        return math.exp(np.interp(share, steps, np.log(self.radii)))

    def memory(self, seen: float) -> float:
        """Return the weight of the samples that are remembered."""
        most = max(_MIN_MEMORY, _MEMORY_PER_UNIT * self.n_units)
        return min(most, max(1.0, _MEMORY_PER_SEEN * seen))

    def batches(self, sample_weight: NDArray[np.float64], seen: float) -> Iterator[Batch]:
        """Cut the samples of a call into mini-batches, in the order in which they come."""
        reached = np.cumsum(sample_weight)
        starts = np.concatenate([[0.0], reached[:-1]])
        total = float(reached[-1])
        largest = max(_MAX_BATCH, _BATCH_PER_UNIT * self.n_units)
        before = 0.0
        while before < total:
            # A whole number, so that samples are cut into where their repetitions are parted.
            size = math.floor(max(_MIN_BATCH, min(largest, _BATCH_PER_SEEN * (seen + before))))
            until = before + size if total - before >= 1.5 * size else total
            first = int(np.searchsorted(reached, before, side="right"))
            rows = slice(first, int(np.searchsorted(starts, until, side="left")))
            weights = np.minimum(reached[rows], until) - np.maximum(starts[rows], before)
            decay = math.exp(-(until - before) / self.memory(seen + until))
            yield Batch(rows, weights, until - before, self.radius(seen + before), decay)
            before = until


class Batch(NamedTuple):
    """A mini-batch of a stream."""

    rows: slice
    weights: NDArray[np.float64]  # of these rows; of a row that two batches share, a part
    weight: float
    radius: float
    decay: float  # factor of the former statistics


def memory_of_batches(n_units: int, batch_size: int, total_weight: float) -> float:
    """Return the weight that is remembered in training by mini-batches, over and over again.

    Five samples for each unit, or four batches. The errors of maps with this memory are in
    benchmarks/results/streams.json.
    """
    return min(total_weight, max(_MEMORY_PER_UNIT * n_units, 4.0 * batch_size))

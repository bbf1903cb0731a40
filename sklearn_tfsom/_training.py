"""Runs a training plan: stages of epochs, mini-batches, and the choice between several maps."""

from __future__ import annotations

import collections
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sklearn_tfsom._assignment import map_errors
from sklearn_tfsom._data.pieces import Pieces
from sklearn_tfsom._data.tiles import tile_threads
from sklearn_tfsom._epochs import Epoch, learn, run_epochs, run_stages
from sklearn_tfsom._map.candidates import MAX_SAMPLES, is_better
from sklearn_tfsom._map.neighborhood import Kernels
from sklearn_tfsom._map.schedules import PRIOR, Stage, widened
from sklearn_tfsom._map.smoothing import TrainState, project, root_mean_square_shift
from sklearn_tfsom._map.ties import NOISE
from sklearn_tfsom._plan import TrainingPlan
from sklearn_tfsom._search.sources import Source, is_out_of_core, make_source

# Values of the codebooks of a trial that are kept to go on with: 8 MiB.
_MAX_KEPT_VALUES = 2**20


class TrainedEpoch(NamedTuple):
    """The outcome of an epoch of `fit`."""

    n_epochs: int  # up to this one
    radius: float  # in lattice spacings
    quantization_error: float  # of the codebook that the epoch began with, in data units
    shift: float  # root mean square shift of the code vectors, in data units
    stage: Stage
    state: TrainState  # on the stage's grid, in the scaled space
    following: TrainState  # where the next epoch begins


def train(plan: TrainingPlan, n_done: int, start: TrainState | None) -> Generator[TrainedEpoch]:
    """Run the epochs of a plan.

    Parameters
    ----------
    plan : TrainingPlan
    n_done : int
        Number of epochs that have been run before.
    start : TrainState or None
        Where the next epoch begins; None for the codebook of the plan.

    Yields
    ------
    epoch : TrainedEpoch
    """
    kernels = Kernels(plan.grid, plan.neighborhood)
    run = _train_stages if plan.batches is None else _train_batches
    with tile_threads:
        yield from run(plan, kernels, n_done, start or _start(plan))


def _start(plan: TrainingPlan) -> TrainState:
    first = plan.stages[0].grid
    codebook, counts = plan.scaling.transform(plan.codebook), np.full((first.n_units, 1), PRIOR)
    return TrainState(codebook.reshape(*first.shape, -1), codebook * counts, counts)


def _train_stages(
    plan: TrainingPlan, kernels: Kernels, n_done: int, state: TrainState
) -> Iterator[TrainedEpoch]:
    source: Source | None = None
    ahead: list[Epoch] = []  # epochs to come, known from the choice between maps
    stages, n_before = _remaining(plan.stages, n_done)
    for index, stage in enumerate(stages):
        pieces = plan.subsamples.subsample(stage.sample_size)
        if source is None or source.pieces is not pieces:
            source = None  # free the memory first
            source = make_source(pieces, plan.scaling)
        n_epochs = len(stage.radii)
        known, ahead = ahead[:n_epochs], ahead[n_epochs:]
        epochs = known or run_epochs(
            source,
            state.codebook,
            kernels,
            stage.grid,
            stage.radii,
            n_done,
            0 if index else n_before,
        )
        for place, (radius, epoch) in enumerate(zip(stage.radii, epochs, strict=True), start=1):
            state = epoch.state
            if place == n_epochs and index + 1 < len(stages):
                following = stages[index + 1 :]
                if stage.tries_others:
                    state, ahead = _best_of_several(plan, kernels, state, stage, following)
                else:
                    grids = stage.grid, following[0].grid
                    state = project(state, kernels, radius, *grids, plan.scaling)
            n_done += 1
            yield TrainedEpoch(
                n_epochs=n_done,
                radius=float(radius),
                quantization_error=epoch.quantization_error,
                shift=epoch.shift,
                stage=stage,
                state=epoch.state,
                following=state,
            )


def _best_of_several(
    plan: TrainingPlan,
    kernels: Kernels,
    state: TrainState,
    stage: Stage,
    following: list[Stage],
) -> tuple[TrainState, list[Epoch]]:
    """Train several maps to the end on a subsample; return where the best one goes on.

    Its epochs are returned as well, if training can go on with them.
    """
    pieces, scaling = plan.subsamples.subsample(MAX_SAMPLES), plan.scaling
    source = make_source(pieces, plan.scaling)
    step = kernels, float(stage.radii[-1]), stage.grid, following[0].grid, scaling
    n_values = plan.grid.n_units * state.codebook.shape[2] * sum(len(s.radii) for s in following)
    is_kept = pieces is plan.pieces and n_values <= _MAX_KEPT_VALUES

    def trained(before: TrainState, *, is_mirrored: bool = False) -> _Candidate:
        start = project(before, *step, is_mirrored=is_mirrored)
        epochs = run_stages(source, start, kernels, following)
        kept = collections.deque(epochs, None if is_kept else 1)
        codebook = scaling.inverse_transform(kept[-1].state.codebook)
        return _Candidate(before, start, kept, map_errors(pieces, codebook, plan.grid))

    def better(other: _Candidate, own: _Candidate) -> _Candidate:
        return other if is_better(other.errors, own.errors, rounding) else own

    # Rounding of a distance; four times, because it accumulates over the epochs.
    rounding = 4 * NOISE * float(source.extents.sum()) / scaling.distance_factor()
    rounding = max(rounding, float(np.finfo(np.float64).smallest_subnormal))
    best = trained(state)
    if plan.is_radius_free:
        *_, last = run_stages(source, _start(plan), kernels, widened(plan.stages))
        best = better(trained(last.state), best)
    best = better(trained(best.before, is_mirrored=True), best)
    return best.start, list(best.epochs) if is_kept else []


class _Candidate(NamedTuple):
    """A map that has been trained to the end."""

    before: TrainState  # on the grid on which the maps are compared
    start: TrainState  # on the next grid
    epochs: collections.deque[Epoch]
    errors: tuple[float, float]


def _train_batches(
    plan: TrainingPlan, kernels: Kernels, n_done: int, state: TrainState
) -> Iterator[TrainedEpoch]:
    assert plan.batches is not None
    samples, (stage,) = plan.pieces.samples, plan.stages
    weights = np.array([weights.sum() for _, weights in plan.batches.rows])
    decays = np.maximum(0, 1 - weights / plan.batches.memory)

    def load(batch: tuple[NDArray[np.int64], NDArray[np.float64]]) -> Any:
        rows, weights = batch
        return make_source(Pieces(samples.at(rows), weights), plan.scaling)

    are_kept = not is_out_of_core(plan.pieces)
    loaded = [load(batch) for batch in plan.batches.rows] if are_kept else None
    for n_epochs, radius in enumerate(stage.radii[n_done:], start=n_done + 1):
        kernel, before, errors = kernels.kernel(float(radius)), state.codebook, []
        sources = loaded or map(load, plan.batches.rows)
        for source, decay in zip(sources, decays, strict=True):
            state, error = learn(source, state, kernel, float(decay))
            errors.append(error)
        yield TrainedEpoch(
            n_epochs=n_epochs,
            radius=float(radius),
            quantization_error=float(weights / weights.sum() @ errors),
            shift=root_mean_square_shift(state.codebook, before) / plan.scaling.scale,
            stage=stage,
            state=state,
            following=state,
        )


def trained_codebook(plan: TrainingPlan, epoch: TrainedEpoch) -> NDArray[np.float64]:
    """Return the code vectors of the whole map after an epoch, (n_units, n_features).

    Raises
    ------
    ValueError
        As `check_code_vectors`.
    """
    scaling, state = plan.scaling, epoch.state
    if epoch.stage.grid != plan.grid:
        kernels = Kernels(plan.grid, plan.neighborhood)
        grids = epoch.stage.grid, plan.grid
        state = project(state, kernels, epoch.radius, *grids, scaling)
    codebook = scaling.inverse_transform(state.codebook.reshape(plan.grid.n_units, -1))
    if not scaling.metric.is_spherical:  # there a mean of equal values is divided by its length
        # Means of equal values are rounded where samples are not centered.
        codebook = np.where(np.asarray(scaling.reach) == 0, plan.moments.mean, codebook)
    check_code_vectors(codebook, plan.pieces.samples.dtype)
    # Code vectors that only the rounding of the samples tells apart are equal. A search does not
    # know the samples: code vectors near 0 would seem to be more exact than they are. The start
    # may reach farther than the samples, whose spread is at least half of 1 / scale.
    reach = np.minimum(scaling.reach, 1 / scaling.scale)
    is_equal = np.ptp(codebook, axis=0) <= NOISE * reach
    return np.where(is_equal, codebook[0], codebook)


def check_code_vectors(codebook: NDArray, dtype: DTypeLike) -> None:
    """Check that trained code vectors, and their differences, are in the range of a dtype.

    Means of samples are, unless the neighborhood has negative weights.

    Raises
    ------
    ValueError
        If they are not.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        differences = np.ptp(codebook.astype(dtype).astype(np.float64), axis=0)
    if not np.isfinite(differences).all():
        raise ValueError(
            f"Code vectors exceed the range of {np.dtype(dtype)}. Rescale X, or choose a "
            "neighborhood without negative weights."
        )


def record(
    plan: TrainingPlan, epoch: TrainedEpoch, history: dict[str, list[float]], verbose: bool
) -> None:
    """Append an epoch to the history, and print a line if `verbose`."""
    history["radius"].append(epoch.radius)
    history["quantization_error"].append(epoch.quantization_error)
    if "topographic_error" in history:
        codebook = trained_codebook(plan, epoch)
        history["topographic_error"].append(map_errors(plan.pieces, codebook, plan.grid)[1])
    if verbose and plan.pieces.workers.index == 0:
        print(
            f"[TFSOM] epoch {epoch.n_epochs}/{len(plan.radii)}: radius {epoch.radius:.3g}, "
            f"quantization error {epoch.quantization_error:.6g}"
        )


def _remaining(stages: list[Stage], n_done: int) -> tuple[list[Stage], int]:
    """Return the stages without the epochs that have been run, and how many of the first have."""
    for index, stage in enumerate(stages):
        if n_done < len(stage.radii):
            return [stage._replace(radii=stage.radii[n_done:]), *stages[index + 1 :]], n_done
        n_done -= len(stage.radii)
    return [], 0

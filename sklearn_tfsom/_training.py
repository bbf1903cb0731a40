"""Runs a training plan: stages of epochs, mini-batches, and the choice of a mirror image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._assignment import map_errors
from sklearn_tfsom._data.pieces import Pieces
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._map.mirror import MAX_SAMPLES, is_better
from sklearn_tfsom._map.neighborhood import Kernels
from sklearn_tfsom._map.schedules import PRIOR, Stage
from sklearn_tfsom._plan import TrainingPlan
from sklearn_tfsom._tf.runtime import tensorflow_core

if TYPE_CHECKING:
    from sklearn_tfsom._tf.epoch import Epoch, Source, TrainState
    from sklearn_tfsom._tf.scaling import Scaling

# Values of the codebooks of a trial that are kept to go on with: 8 MiB.
_MAX_KEPT_VALUES = 2**20


class TrainedEpoch(NamedTuple):
    """The outcome of an epoch of `fit`."""

    n_epochs: int  # up to this one
    radius: float  # in lattice spacings
    quantization_error: float  # of the codebook that the epoch began with, in data units
    move: float  # root mean square move of the code vectors, in data units
    stage: Stage
    state: TrainState  # on the stage's grid, in the scaled space
    following: TrainState  # where the next epoch begins


def train(
    plan: TrainingPlan, n_done: int = 0, start: TrainState | None = None
) -> Iterator[TrainedEpoch]:
    """Run the epochs of a plan.

    Parameters
    ----------
    plan : TrainingPlan
    n_done : int, default=0
        Number of epochs that have been run before.
    start : TrainState, default=None
        Where the next epoch begins; by default at the codebook of the plan.

    Yields
    ------
    epoch : TrainedEpoch
    """
    trainer = _Trainer(plan)
    start = start or trainer.start()
    if plan.batches is not None:
        yield from trainer.run_batches(plan.batches.rows, n_done, start)
        return
    yield from trainer.run_stages(_remaining(plan.stages, n_done), n_done, start)


def training_scaling(plan: TrainingPlan) -> Scaling:
    """Return the scaling in which a plan is trained."""
    samples, moments = plan.pieces.samples, plan.moments
    return tensorflow_core().Scaling.of(
        moments.mean, moments.spread, samples.dtype, samples.metric, is_sparse=samples.is_sparse
    )


def trained_codebook(plan: TrainingPlan, epoch: TrainedEpoch) -> NDArray[np.float64]:
    """Return the code vectors of the whole map after an epoch, in data units.

    Returns
    -------
    codebook : ndarray of float64, shape (n_units, n_features)
    """
    codebook, scaling = epoch.state.codebook, training_scaling(plan)
    if epoch.stage.grid != plan.grid:
        kernel = Kernels(plan.grid, plan.neighborhood).kernel(epoch.radius, epoch.stage.grid)
        is_spherical = plan.pieces.samples.metric.is_spherical
        codebook = tensorflow_core().project(
            epoch.state, kernel, plan.grid.n_rows, scaling, is_spherical
        )
    return scaling.inverse_transform(codebook.reshape(plan.grid.n_units, -1))


class UnitMeans(NamedTuple):
    """What a map has learned, unit by unit, in data units."""

    means: NDArray[np.float64]  # (n_units, n_features): of each unit's samples
    counts: NDArray[np.float64]  # (n_units, 1), or by feature: their total weight


def unit_means(state: TrainState, scaling: Scaling) -> UnitMeans:
    """Turn statistics into means in data units; means of nothing are the center."""
    counts = state.counts
    means = scaling.inverse_transform(state.sums / np.where(counts > 0, counts, 1))
    return UnitMeans(means, counts)


def _remaining(stages: list[Stage], n_done: int) -> list[Stage]:
    """Return the stages without the epochs that have been run."""
    remaining = []
    for stage in stages:
        n_left = max(0, len(stage.radii) - n_done)
        n_done = max(0, n_done - len(stage.radii))
        if n_left:
            remaining.append(stage._replace(radii=stage.radii[-n_left:]))
    return remaining


class _Trainer:
    """The steps of a plan; see `train`."""

    def __init__(self, plan: TrainingPlan) -> None:
        self._plan, self._core = plan, tensorflow_core()
        self._metric = plan.pieces.samples.metric
        self._scaling = training_scaling(plan)
        self._kernels = Kernels(plan.grid, plan.neighborhood)
        self._source: Source | None = None

    def start(self) -> TrainState:
        grid = self._plan.stages[0].grid
        codebook = self._scaling.transform(self._plan.codebook)
        counts = np.full((grid.n_units, 1), PRIOR)
        return self._core.TrainState(codebook.reshape(*grid.shape, -1), codebook * counts, counts)

    def run_stages(
        self, stages: list[Stage], n_done: int, state: TrainState
    ) -> Iterator[TrainedEpoch]:
        ahead: list[list[Epoch]] = []  # epochs of the stages to come, known from a trial
        for index, stage in enumerate(stages):
            if ahead:
                epochs = iter(ahead.pop(0))
            else:
                pieces = self._plan.subsamples.subsample(stage.sample_size)
                epochs = self._epochs(stage, self._source_of(pieces), state)
            for radius, is_last, epoch in _marked(stage.radii, epochs):
                n_done, state = n_done + 1, epoch.state
                if is_last and index + 1 < len(stages):
                    state, ahead = self._enter(stage, stages[index + 1 :], state, ahead)
                yield TrainedEpoch(
                    n_epochs=n_done,
                    radius=float(radius),
                    quantization_error=epoch.error,
                    move=epoch.move,
                    stage=stage,
                    state=epoch.state,
                    following=state,
                )

    def run_batches(
        self,
        batches: list[tuple[NDArray[np.int64], NDArray[np.float64]]],
        n_done: int,
        state: TrainState,
    ) -> Iterator[TrainedEpoch]:
        plan, samples = self._plan, self._plan.pieces.samples
        assert plan.batches is not None
        (stage,), scale = plan.stages, self._scaling.scale
        weights = np.array([weights.sum() for _, weights in batches])
        decays = np.maximum(0, 1 - weights / plan.batches.memory)
        loaded = (
            None if samples.is_on_disk else [self._batch(samples, *batch) for batch in batches]
        )
        for n_epochs, radius in enumerate(stage.radii[n_done:], start=n_done + 1):
            kernel, before, errors = self._kernels.kernel(float(radius)), state.codebook, []
            sources = loaded or (self._batch(samples, *batch) for batch in batches)
            for source, decay in zip(sources, decays, strict=True):
                state, error = self._core.learn(source, state, kernel, float(decay))
                errors.append(error)
            moves = np.sum((state.codebook - before) ** 2, axis=2)
            yield TrainedEpoch(
                n_epochs=n_epochs,
                radius=float(radius),
                quantization_error=float(np.average(errors, weights=weights)),
                move=float(np.sqrt(np.mean(moves))) / scale,
                stage=stage,
                state=state,
                following=state,
            )

    def _batch(
        self, samples: Samples, rows: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> Source:
        return self._core.make_source(Pieces(samples.take(rows), weights), self._scaling)

    def _epochs(self, stage: Stage, source: Source, state: TrainState) -> Iterator[Epoch]:
        kernels = [self._kernels.kernel(radius, stage.grid, stage.grid) for radius in stage.radii]
        return source.epochs(state.codebook, kernels)

    def _source_of(self, pieces: Pieces) -> Source:
        """Return the source of some samples, which stays loaded as long as they are the same."""
        if self._source is None or self._source.pieces is not pieces:
            self._source = None  # free the memory first
            self._source = self._core.make_source(pieces, self._scaling)
        return self._source

    def _enter(
        self, stage: Stage, following: list[Stage], state: TrainState, ahead: list[list[Epoch]]
    ) -> tuple[TrainState, list[list[Epoch]]]:
        """Bring a state to the next stage's grid, the way round that is better."""
        own = self._projected(stage, following[0], state)
        if not stage.tries_mirror:
            return own, ahead
        mirrored = self._projected(stage, following[0], state, is_mirrored=True)
        trials = [self._try(following, start) for start in (mirrored, own)]
        index = 0 if is_better(trials[0].errors, trials[1].errors) else 1
        return (mirrored, own)[index], trials[index].epochs

    def _projected(
        self, stage: Stage, following: Stage, state: TrainState, *, is_mirrored: bool = False
    ) -> TrainState:
        if following.grid == stage.grid and not is_mirrored:
            return state
        kernel = self._kernels.kernel(
            float(stage.radii[-1]), stage.grid, following.grid, is_mirrored=is_mirrored
        )
        codebook = self._core.project(
            state, kernel, following.grid.n_rows, self._scaling, self._metric.is_spherical
        )
        return state._replace(codebook=codebook)

    def _try(self, stages: list[Stage], state: TrainState) -> _Trial:
        """Train to the end on a subsample; keep the epochs if training can go on with them."""
        pieces = self._plan.subsamples.subsample(MAX_SAMPLES)
        source, tried = self._source_of(pieces), []
        for index, stage in enumerate(stages):
            tried.append(list(self._epochs(stage, source, state)))
            state = tried[-1][-1].state
            if index + 1 < len(stages):
                state = self._projected(stage, stages[index + 1], state)
        errors = map_errors(pieces, self._in_data_units(state), self._plan.grid)
        n_values = state.codebook.size * sum(map(len, tried))
        is_kept = pieces is self._plan.pieces and n_values <= _MAX_KEPT_VALUES
        return _Trial(errors, tried if is_kept else [])

    def _in_data_units(self, state: TrainState) -> NDArray[np.float64]:
        return self._scaling.inverse_transform(state.codebook)


class _Trial(NamedTuple):
    errors: tuple[float, float]  # quantization and topographic error
    epochs: list[list[Epoch]]  # of each stage; empty if they are of no further use


def _marked(
    radii: NDArray[np.float64], epochs: Iterator[Epoch]
) -> Iterator[tuple[float, bool, Epoch]]:
    """Yield radius, whether the epoch is the last of its stage, and the epoch."""
    for n, (radius, epoch) in enumerate(zip(radii, epochs, strict=True), start=1):
        yield radius, n == len(radii), epoch

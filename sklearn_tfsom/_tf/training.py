"""Batch training: tiles of rows, statistics that add, smoothing, one loop.

An epoch is one call of one graph::

    for each chunk of rows:
        for each tile of the chunk:  bmus = search(tile)
        statistics += accumulate(chunk, weights, bmus)
    codebook = (H sums) / (H counts)

Data that do not lie in memory as one array (sparse ones, memory maps) take one call for the
statistics of each piece, and one for the codebook. So do mini-batches, whose statistics are added
to those of former ones, which fade.
"""

from __future__ import annotations

import collections
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._tf.data import Data, Kernel, Moved
from sklearn_tfsom._tf.frame import Frame

if TYPE_CHECKING:
    from sklearn_tfsom._data.samples import Samples
    from sklearn_tfsom._data.subsampling import Subsets


class Step(NamedTuple):
    """What an epoch does."""

    radius: float  # in lattice spacings
    kernel: Kernel  # on the grid that is searched
    to_next: Kernel | None = None  # from there to the next epoch's grid, if that is another
    to_map: Callable[[], Kernel] | None = None  # from there to the whole map, if that is another
    to_mirrored: Kernel | None = None  # from there to the next grid mirrored, to try that, too
    size: int | None = None  # of the subset of the samples that is searched; None: all of them
    goes_on: bool = False  # whether the next epoch searches the same samples on the same grid


class Trial(NamedTuple):
    """How to find out whether the mirrored map is the better one."""

    samples: Samples
    sample_weight: NDArray[np.float64]
    is_better: Callable[[NDArray, NDArray, Frame], bool]  # of two codebooks, the first one


class Epoch(NamedTuple):
    """One epoch's outcome."""

    radius: float  # in lattice spacings
    quantization_error: float  # of the codebook that the epoch began with, in data units
    move: float  # root mean square move of the code vectors, in data units
    codebook: Callable[[], NDArray[np.float64]]  # of the whole map, in data units, when asked for
    # When asked for; None unless the whole map and all samples were searched.
    units: Callable[[], Units | None]
    state: Callable[[], State]  # what the next epoch begins with, when asked for


# What training can go on from, to the same bits, by name; in the frame.
State: TypeAlias = dict[str, NDArray[np.float64]]


class Units(NamedTuple):
    """What a map has learnt, unit by unit, in data units."""

    means: NDArray[np.float64]  # (n_units, n_features): of each unit's samples
    counts: NDArray[np.float64]  # (n_units, 1), or by feature: their total weight


class Learner:
    """A map that learns batch by batch: statistics that fade, and the codebook that they make."""

    def __init__(self, codebook: NDArray, units: Units, frame: Frame) -> None:
        self._frame = frame
        self._codebook = tf.constant(frame.enter(codebook))
        self._counts = tf.constant(units.counts, tf.float64)
        self._sums = self._counts * frame.enter(units.means)

    def learn(self, data: Data, kernel: Kernel, fade: float) -> float:
        """Learn one batch.

        Parameters
        ----------
        data : Data
            The batch, in the frame of this map.
        kernel : pair of arrays
            The neighborhood.
        fade : float
            What is left of what has been learnt before, from 0 to 1.

        Returns
        -------
        error : float
            Mean distance of the batch to its units, before they have learnt it; in data units.
        """
        learnt = [self._sums, self._counts]
        new, error = data.learn(self._codebook, learnt, kernel, fade)
        self._codebook, self._sums, self._counts = new
        return error

    def codebook(self) -> NDArray[np.float64]:
        """Return the code vectors, (n_units, n_features), in data units."""
        return self._frame.leave(self._codebook.numpy())

    def state(self) -> State:
        """Return what learning can go on from."""
        return {
            "codebook": self._codebook.numpy(),
            "sums": self._sums.numpy(),
            "counts": self._counts.numpy(),
        }

    def resume(self, state: State) -> None:
        """Go on from a state."""
        self._codebook, self._sums, self._counts = (
            tf.constant(state[name]) for name in ("codebook", "sums", "counts")
        )

    def units(self) -> Units:
        """Return what has been learnt, unit by unit."""
        return units_of(self._sums, self._counts, self._frame)


def units_of(sums: ArrayLike, counts: ArrayLike, frame: Frame) -> Units:
    """Turn statistics into means in data units; those of nothing are the frame's center."""
    counts = np.array(counts)
    return Units(frame.leave(np.asarray(sums) / np.where(counts > 0, counts, 1)), counts)


def train_epochs(
    subsets: Subsets,
    codebook: NDArray[np.float64],
    frame: Frame,
    steps: Iterable[Step],
    *,
    trial: Trial | None = None,
    state: State | None = None,
    n_tile: int | None = None,
) -> Iterator[Epoch]:
    """Train a codebook, epoch by epoch.

    Parameters
    ----------
    subsets : Subsets
        The samples, NaN where a value is missing; of each worker, who all do the same steps.
    codebook : ndarray of float64, shape (n_units, n_features)
        Where training starts, on the first step's grid. All in data units.
    frame : Frame
        Where it is computed.
    steps : iterable of Step
        What each epoch does.
    trial : Trial, default=None
        For the step that has a way to the mirrored map.
    state : State, default=None
        What to begin with instead of the codebook: that of the epoch before.
    n_tile : int, default=None
        Rows per tile; by default what fits the cache.

    Yields
    ------
    epoch : Epoch
    """
    current = tf.constant(frame.enter(codebook) if state is None else state["codebook"])
    steps = iter(steps)
    n_done, all_steps = 0, []
    if trial is not None:
        all_steps = list(steps)
        steps = iter(all_steps)
    ahead: collections.deque[Moved] = collections.deque()

    def start_of_next(step: Step, moved: Moved, data: Data, n_done: int) -> tf.Tensor:
        own = data.onto(step.to_next, moved)
        if trial is None or step.to_mirrored is None:
            return own
        starts = data.onto(step.to_mirrored, moved), own
        some, left = data, all_steps[n_done:]
        if step.size is not None or trial.samples is not subsets.samples:
            of_trial, n_units = (trial.samples, trial.sample_weight), starts[0].shape[0]
            some = Data(*of_trial, frame, n_tile, subsets.workers, n_units)
        tried = [_trained(some, start, left, is_kept=some is data) for start in starts]
        mirrored, own_end = (end for end, _ in tried)
        better = 0 if trial.is_better(mirrored, own_end, frame) else 1
        ahead.extend(tried[better][1])
        return starts[better]

    size, data = None, None
    try:
        for first in steps:
            if data is None or first.size != size:
                if data is not None:
                    data.release()
                size = first.size
                chosen, n_units = subsets.of(size), current.shape[0]
                data = Data(*chosen, frame, n_tile, subsets.workers, n_units)
            run = _run(first, steps, data.n_epochs_at_once(current))
            all_moved: Iterable[Moved] = (ahead.popleft() for _ in run)
            if not ahead:
                all_moved = data.epochs(current, [step.kernel for step in run])
            for step, moved in zip(run, all_moved, strict=True):
                n_done += 1
                following = functools.cache(
                    functools.partial(start_of_next, step, moved, data, n_done)
                )
                yield _epoch(step, moved, data, frame, following)
            current = following()
    finally:
        if data is not None:
            data.release()


def _epoch(
    step: Step, moved: Moved, data: Data, frame: Frame, following: Callable[[], tf.Tensor]
) -> Epoch:
    """Say what an epoch has brought; most of it is worked out when it is asked for."""

    def trained() -> NDArray[np.float64]:
        return frame.leave(data.onto(step.to_map and step.to_map(), moved).numpy())

    def units() -> Units | None:
        if step.to_map is not None or step.size is not None:
            return None
        units = units_of(moved.sums, moved.counts, frame)
        return units._replace(counts=units.counts * data.unit_weight)

    def left() -> State:
        return {"codebook": following().numpy()}

    error = data.mean_error(moved.error * data.unit_weight)
    return Epoch(step.radius, error, moved.move / frame.scale, trained, units, left)


def _run(first: Step, steps: Iterator[Step], most: int) -> list[Step]:
    """Take steps that go on like the first one, no more than so many with it."""
    run = [first]
    while run[-1].goes_on and len(run) < most:
        run.append(next(steps))
    return run


def _trained(
    data: Data, codebook: tf.Tensor, steps: list[Step], *, is_kept: bool
) -> tuple[NDArray[np.float64], list[Moved]]:
    """Return what some steps make of a codebook, in the frame, and what each of them leaves.

    That is kept only where it is wanted, and little, of as many steps as one graph may do: a map
    of few samples goes on with it, which spares a fit of 20 epochs 8 of 36.
    """
    left, kept = iter(steps), []
    for first in left:
        n_at_once = data.n_epochs_at_once(codebook)
        run = _run(first, left, n_at_once)
        all_moved = list(data.epochs(codebook, [step.kernel for step in run]))
        codebook = data.onto(run[-1].to_next, all_moved[-1])
        if is_kept and len(steps) <= n_at_once:
            kept += all_moved
    return codebook.numpy(), kept if len(kept) == len(steps) else []


def train_batches(
    samples: Samples,
    batches: list[tuple[NDArray[np.int64], NDArray[np.float64]]],
    codebook: NDArray[np.float64],
    frame: Frame,
    steps: Iterable[Step],
    memory: float,
    prior: float,
    *,
    state: State | None = None,
) -> Iterator[Epoch]:
    """Train a codebook by mini-batches, epoch by epoch.

    Parameters
    ----------
    samples, codebook, frame, steps
        As for `train_epochs`, on one grid.
    batches : list of (rows, weights)
        Which samples each batch holds.
    memory : float
        The weight of the samples that are remembered.
    prior : float
        The weight with which the start counts in each unit.
    state : State, default=None
        What to begin with instead of the codebook: that of the epoch before.

    Yields
    ------
    epoch : Epoch
    """

    def load_batch(batch: tuple[NDArray[np.int64], NDArray[np.float64]]) -> Data:
        rows, weights = batch
        return Data(samples.take(rows), weights, frame)

    loaded = None if samples.is_on_disk else [load_batch(batch) for batch in batches]
    batch_weights = np.array([weights.sum() for _, weights in batches])
    start = Units(codebook, np.full((len(codebook), 1), prior))
    learner = Learner(codebook, start, frame)
    if state is not None:
        learner.resume(state)
    before = learner.codebook()
    for step in steps:
        errors = [
            learner.learn(data, step.kernel, max(0.0, 1 - weight / memory))
            for data, weight in zip(loaded or map(load_batch, batches), batch_weights, strict=True)
        ]
        after = learner.codebook()
        move = math.sqrt(np.mean(np.sum((after - before) ** 2, axis=1)))
        error = float(np.average(errors, weights=batch_weights))
        trained = functools.partial(np.copy, after)
        yield Epoch(step.radius, error, move, trained, learner.units, learner.state)
        before = after

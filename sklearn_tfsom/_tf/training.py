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

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._tf.absolute import is_absolute, try_out
from sklearn_tfsom._tf.frame import Frame
from sklearn_tfsom._tf.graphs import is_worth_compiling
from sklearn_tfsom._tf.search import tile_rows
from sklearn_tfsom._tf.sparse import SparseData
from sklearn_tfsom._tf.statistics import Rows, Statistics
from sklearn_tfsom._tf.training_graphs import (
    epoch_graph,
    learn_graph,
    onto_grid_graph,
    piece_graph,
    update_graph,
)
from sklearn_tfsom._workers import ALONE, Workers

if TYPE_CHECKING:
    from sklearn_tfsom._samples import Samples

_ALIGNMENT = 64

# Values of a piece of a memory map: 16 MiB of float32.
_PIECE_VALUES = 2**22

# The parts of a smoothing kernel, see `sklearn_tfsom._neighborhood`.
Kernel: TypeAlias = tuple[NDArray, NDArray]


class Step(NamedTuple):
    """What an epoch does."""

    radius: float  # in lattice spacings
    kernel: Kernel  # on the grid that is searched
    to_next: Kernel | None = None  # from there to the next epoch's grid, if that is another
    to_map: Callable[[], Kernel] | None = None  # from there to the whole map, if that is another
    to_mirrored: Kernel | None = None  # from there to the next grid mirrored, to try that, too


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
    units: Callable[[], Units]  # of the grid that was searched, when asked for
    state: Callable[[], State]  # what the next epoch begins with, when asked for


# What training can go on from, to the same bits, by name; in the frame.
State: TypeAlias = dict[str, NDArray[np.float64]]


class Units(NamedTuple):
    """What a map has learnt, unit by unit, in data units."""

    means: NDArray[np.float64]  # (n_units, n_features): of each unit's samples
    counts: NDArray[np.float64]  # (n_units, 1), or by feature: their total weight


def load(samples: Samples, sample_weight: NDArray, frame: Frame) -> Rows:
    """Move data into the frame and into TensorFlow's hands, with one copy.

    TensorFlow copies every array that it is given, except a 64-byte aligned one through DLPack
    (which it does not check: an unaligned one aborts the process). So the frame's copy, which has
    to be made anyway, is made aligned, and handed over.
    """
    n_samples, n_features = samples.shape
    n_bytes = n_samples * n_features * samples.dtype.itemsize
    store = np.empty(n_bytes + _ALIGNMENT, dtype=np.uint8)
    start = -store.ctypes.data % _ALIGNMENT
    values = store[start : start + n_bytes].view(samples.dtype).reshape(samples.shape)
    norms = np.empty(n_samples)
    for rows in samples.tiles(2**18):
        tile = frame.enter(samples[rows], values[rows]).astype(np.float64)
        if samples.has_missing:
            tile[np.isnan(tile)] = 0
        norms[rows] = np.einsum("ij,ij->i", tile, tile)
    shared = tf.experimental.dlpack.from_dlpack(values.__dlpack__())
    return Rows(shared, tf.constant(norms), tf.constant(sample_weight))


class _Moved(NamedTuple):
    """What an update leaves behind."""

    codebook: tf.Tensor  # (n_units, n_features), in the frame
    sums: tf.Tensor  # as in Statistics
    counts: tf.Tensor
    measured: tf.Tensor  # the sum of the distances, and the root mean square move


class Data:
    """Samples to learn from: in the frame once and for all, but on disk where they are large."""

    def __init__(
        self,
        samples: Samples,
        sample_weight: NDArray[np.float64],
        frame: Frame,
        n_tile: int | None = None,
        workers: Workers = ALONE,
    ) -> None:
        self._samples, self._weights, self._frame = samples, sample_weight, frame
        self._n_tile, self._workers = n_tile, workers
        self._total_weight = float(workers.sum(sample_weight.sum()))
        # In the graphs weights are multiples of a power of two, so that float32 can hold them.
        exponent = int(np.frexp(workers.gather(sample_weight.max()).max())[1]) - 1
        self.unit_weight = float(np.ldexp(1.0, exponent))
        self.sphere = [tf.constant(part, tf.float64) for part in frame]
        self._dtype = tf.as_dtype(samples.dtype)
        self._rows: Rows | None = None
        self._shares: list[tuple[str, Rows]] = []
        self._sparse: SparseData | None = None
        if samples.is_sparse:
            self._sparse = SparseData(samples, self._scaled(slice(None)), frame)
        elif samples.is_on_disk:
            pass
        elif workers.devices:
            self._shares = list(self._divided(workers.devices))
        else:
            self._rows = load(samples, self._scaled(slice(None)), frame)

    def _scaled(self, rows: slice) -> NDArray[np.float64]:
        return self._weights[rows] / self.unit_weight

    def epoch(self, codebook: tf.Tensor, kernel: Kernel) -> _Moved:
        """Search all samples, and move the codebook to what they say.

        What is returned of the statistics is in units of `unit_weight`.
        """
        parts = [tf.constant(part) for part in kernel]
        if self._rows is None or self._workers.are_several:
            graph = update_graph(kernel[1].ndim == 4, self._samples.geometry == "spherical")
            total = summed_up(self.statistics(codebook), self._workers)
            return _Moved(*graph(codebook, *total, *self.sphere, *parts))
        tiling = self._tiling(codebook, len(self._samples))
        epoch = epoch_graph(
            self._dtype,
            kernel[1].ndim == 4,
            not tiling,
            self._samples.has_missing,
            self._samples.geometry,
        )
        return _Moved(*epoch(*self._rows, codebook, *self.sphere, *parts, *tiling))

    def onto(self, kernel: Kernel | None, moved: _Moved) -> tf.Tensor:
        """Return the codebook on the grid that a kernel leads to; None stays where it is."""
        if kernel is None:
            return moved.codebook
        parts = [*self.sphere, *(tf.constant(part) for part in kernel)]
        graph = onto_grid_graph(self._samples.geometry == "spherical")
        return graph(moved.codebook, moved.sums, moved.counts, *parts)

    def learn(
        self, codebook: tf.Tensor, learnt: list[tf.Tensor], kernel: Kernel, fade: float
    ) -> tuple[list[tf.Tensor], float]:
        """Search all samples, and move the codebook to what they and faded sums and counts say.

        Returns the codebook, the sums and the counts, and the mean distance before.
        """
        total = self.statistics(codebook)
        graph = learn_graph(kernel[1].ndim == 4, self._samples.geometry == "spherical")
        factors = tf.constant([fade, self.unit_weight], tf.float64)
        parts = [*self.sphere, *(tf.constant(part) for part in kernel)]
        new = graph(codebook, *learnt, total.sums, total.counts, factors, *parts)
        return new, self.mean_error(float(total.error) * self.unit_weight)

    def mean_error(self, total: float) -> float:
        """Turn a sum of distances in the frame into their mean, in data units."""
        return total / self._total_weight / self._frame.unit(self._samples.geometry)

    def statistics(self, codebook: tf.Tensor) -> Statistics:
        """Search this worker's samples, and sum them up, in units of `unit_weight`."""
        if self._sparse is not None:
            return Statistics(*self._sparse.statistics(codebook))
        if self._rows is not None:
            return self._of_piece(self._rows, codebook)
        if self._shares:
            return self._on_devices(codebook)
        # On disk: piece by piece, so that no more than one is in memory.
        total: Statistics | None = None
        for rows in self._samples.tiles(_PIECE_VALUES):
            piece = load(self._samples.take(rows), self._scaled(rows), self._frame)
            part = self._of_piece(piece, codebook)
            total = part if total is None else total + part
        assert total is not None
        return total

    def _divided(self, devices: tuple[str, ...]) -> Iterator[tuple[str, Rows]]:
        """Give each device its share of the samples."""
        bounds = np.linspace(0, len(self._samples), len(devices) + 1).astype(int)
        for device, start, stop in zip(devices, bounds, bounds[1:], strict=False):
            if start < stop:
                rows = slice(int(start), int(stop))
                share = load(self._samples.take(rows), self._scaled(rows), self._frame)
                with tf.device(device):
                    yield device, Rows(*(tf.identity(part) for part in share))

    def _on_devices(self, codebook: tf.Tensor) -> Statistics:
        """Search the shares of all devices at the same time."""

        def of_share(share: tuple[str, Rows]) -> Statistics:
            device, rows = share
            with tf.device(device):
                return self._of_piece(rows, codebook)

        with ThreadPoolExecutor(len(self._shares)) as pool:
            first, *others = pool.map(of_share, self._shares)
        return sum(others, start=first)

    def _of_piece(self, piece: Rows, codebook: tf.Tensor) -> Statistics:
        tiling = self._tiling(codebook, len(piece.norms))
        is_incomplete, geometry = self._samples.has_missing, self._samples.geometry
        graph = piece_graph(self._dtype, not tiling, is_incomplete, geometry)
        return Statistics(*graph(*piece, codebook, *self.sphere, *tiling))

    def _tiling(self, codebook: tf.Tensor, n_samples: int) -> list[tf.Tensor]:
        """Return rows per tile, and those of tiles that XLA compiles; nothing for one tile."""
        n_units, n_features = codebook.shape
        n_rows = self._n_tile or tile_rows(n_units)
        if n_samples <= n_rows:
            return []
        if is_absolute(self._samples.geometry):
            is_compiled = is_worth_compiling((n_rows, n_units, n_features), n_samples, try_out)
        else:
            is_compiled = is_worth_compiling((n_rows, n_units), n_samples)
        return [tf.constant(n_rows), tf.constant(n_rows if is_compiled else 0)]


def summed_up(statistics: Statistics, workers: Workers) -> Statistics:
    """Sum statistics up over all workers: what they exchange in an epoch."""
    if not workers.are_several:
        return statistics
    parts = [part.numpy() for part in statistics]
    total = workers.sum(np.concatenate([part.ravel() for part in parts]))
    each = np.split(total, np.cumsum([part.size for part in parts])[:-1])
    return Statistics(
        *(
            tf.constant(values.reshape(part.shape))
            for values, part in zip(each, parts, strict=True)
        )
    )


def statistics_of(
    samples: Samples,
    sample_weight: NDArray[np.float64],
    codebook: NDArray[np.float64],
    frame: Frame,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return sums (n_units, n_features), counts and the error of samples, all in data units."""
    n_units, n_features = codebook.shape
    if not len(samples):
        return np.zeros((n_units, n_features)), np.zeros((n_units, 1)), 0.0
    data = Data(samples, sample_weight, frame)
    total = data.statistics(tf.constant(frame.enter(codebook)))
    counts = total.counts.numpy() * data.unit_weight
    sums = total.sums.numpy() * (data.unit_weight / frame.scale) + counts * frame.center
    error = data.mean_error(float(total.error) * data.unit_weight) * float(sample_weight.sum())
    return sums, counts, error


def updated_by(
    codebook: NDArray[np.float64],
    sums: NDArray[np.float64],
    counts: NDArray[np.float64],
    kernel: Kernel,
    frame: Frame,
    geometry: str,
) -> NDArray[np.float64]:
    """Return the codebook that sums and counts make, all in data units."""
    graph = update_graph(kernel[1].ndim == 4, geometry == "spherical")
    moved, *_ = graph(
        *(tf.constant(frame.enter(codebook)), (sums - counts * frame.center) * frame.scale),
        *(tf.constant(counts), tf.zeros([], tf.float64)),
        *(tf.constant(part, tf.float64) for part in frame),
        *(tf.constant(part) for part in kernel),
    )
    return frame.leave(moved.numpy())


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


def units_of(sums: tf.Tensor, counts: tf.Tensor, frame: Frame) -> Units:
    """Turn statistics into means in data units; those of nothing are the frame's center."""
    counts = counts.numpy()
    return Units(frame.leave(sums.numpy() / np.where(counts > 0, counts, 1)), counts)


def train_epochs(
    samples: Samples,
    sample_weight: NDArray[np.float64],
    codebook: NDArray[np.float64],
    frame: Frame,
    steps: Iterable[Step],
    *,
    trial: Trial | None = None,
    state: State | None = None,
    workers: Workers = ALONE,
    n_tile: int | None = None,
) -> Iterator[Epoch]:
    """Train a codebook, epoch by epoch.

    Parameters
    ----------
    samples : Samples
        NaN where a value is missing.
    sample_weight : ndarray of float64, shape (n_samples,)
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
    workers : Workers, default=ALONE
        Those who have samples. Each does the same steps.
    n_tile : int, default=None
        Rows per tile; by default what fits the cache.

    Yields
    ------
    epoch : Epoch
    """
    data = Data(samples, sample_weight, frame, n_tile, workers)
    current = tf.constant(frame.enter(codebook) if state is None else state["codebook"])
    if trial is not None:
        steps = all_steps = list(steps)
    for n_done, step in enumerate(steps, start=1):
        moved = data.epoch(current, step.kernel)
        error, move = moved.measured.numpy().tolist()

        def trained(step: Step = step, moved: _Moved = moved) -> NDArray[np.float64]:
            return frame.leave(data.onto(step.to_map and step.to_map(), moved).numpy())

        @functools.cache
        def following(step: Step = step, moved: _Moved = moved, n_done: int = n_done) -> tf.Tensor:
            own = data.onto(step.to_next, moved)
            if trial is None or step.to_mirrored is None:
                return own
            mirrored = data.onto(step.to_mirrored, moved)
            some = Data(trial.samples, trial.sample_weight, frame, n_tile, workers)
            ends = [_trained(some, start, all_steps[n_done:]) for start in (mirrored, own)]
            return mirrored if trial.is_better(*ends, frame) else own

        def units(moved: _Moved = moved) -> Units:
            units = units_of(moved.sums, moved.counts, frame)
            return units._replace(counts=units.counts * data.unit_weight)

        error = data.mean_error(error * data.unit_weight)

        def left(following: Callable = following) -> State:
            return {"codebook": following().numpy()}

        yield Epoch(step.radius, error, move / frame.scale, trained, units, left)
        current = following()


def _trained(data: Data, codebook: tf.Tensor, steps: list[Step]) -> NDArray[np.float64]:
    """Return what some steps make of a codebook, in the frame."""
    for step in steps:
        codebook = data.onto(step.to_next, data.epoch(codebook, step.kernel))
    return codebook.numpy()


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

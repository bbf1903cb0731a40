"""Samples in TensorFlow's hands: they are searched, summed up, and move a codebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._data.samples import row_slices
from sklearn_tfsom._data.workers import ALONE, Workers
from sklearn_tfsom._tf.frame import Frame, aligned, handed_over, load
from sklearn_tfsom._tf.search import Tiling, is_small, tile_rows
from sklearn_tfsom._tf.sparse import SparseData
from sklearn_tfsom._tf.statistics import Rows, Statistics
from sklearn_tfsom._tf.training_graphs import (
    epoch_graph,
    epochs_graph,
    learn_graph,
    onto_grid_graph,
    piece_graph,
    update_graph,
)

if TYPE_CHECKING:
    from sklearn_tfsom._data.samples import Samples

# Values that epochs in one graph may leave: 32 MiB.
_LEFT_VALUES = 2**22

# Values of a piece of a memory map: 32 MiB of float32.
_PIECE_VALUES = 2**23

# So many values in memory (128 MiB of float32) are not copied as a whole either, but in each epoch
# piece by piece (64 MiB). A fit of 1,000,000 x 64 thus takes 85 MiB beyond the data instead of
# 275, in the same time on 30x30 units. On 10x10 it would take 13 % more. Wide samples are too few
# in a piece.
_MIN_TALL_VALUES, _TALL_PIECE_VALUES = 2**25, 2**24
_MOST_TALL_FEATURES, _MIN_TALL_UNITS = 128, 256

# The parts of a smoothing kernel, see `sklearn_tfsom._map.neighborhood`.
Kernel: TypeAlias = tuple[NDArray, NDArray]


def load_rows(
    samples: Samples,
    sample_weight: NDArray,
    frame: Frame,
    rows: slice = slice(None),
    into: NDArray | None = None,
) -> Rows:
    """Load samples, with these weights; into memory from `aligned`, where it is given."""
    values, norms = load(samples, rows, frame, samples.dtype, into=into)
    return Rows(values, handed_over(norms), tf.constant(sample_weight))


class Moved(NamedTuple):
    """What an update leaves behind: tensors, or arrays that share the memory of one."""

    codebook: tf.Tensor | NDArray[np.float64]  # (n_units, n_features), in the frame
    sums: tf.Tensor | NDArray[np.float64]  # as in Statistics
    counts: tf.Tensor | NDArray[np.float64]
    error: float  # the sum of the distances
    move: float  # root mean square

    @classmethod
    def of(cls, parts: Iterable[tf.Tensor]) -> Moved:
        """Take what a graph returns, which measures both in one tensor."""
        codebook, sums, counts, measured = parts
        return cls(codebook, sums, counts, *measured.numpy().tolist())


class Data:
    """Samples to learn from: in the frame once and for all, or where they are, if they are large.

    Parameters
    ----------
    samples : Samples
    sample_weight : ndarray of float64, shape (n_samples,)
    frame : Frame
    n_tile : int, default=None
        Rows per tile; by default what fits the cache.
    workers : Workers, default=ALONE
    n_units : int, default=None
        Of the map that goes through the samples again and again; None: they are needed once.
    """

    def __init__(
        self,
        samples: Samples,
        sample_weight: NDArray[np.float64],
        frame: Frame,
        n_tile: int | None = None,
        workers: Workers = ALONE,
        n_units: int | None = None,
    ) -> None:
        self._samples, self._weights, self._frame = samples, sample_weight, frame
        self._n_tile, self._workers = n_tile, workers
        self._total_weight = float(workers.sum(sample_weight.sum()))
        # In the graphs weights are multiples of a power of two, so that float32 can hold them.
        exponent = int(np.frexp(workers.gather(sample_weight.max()).max())[1]) - 1
        self.unit_weight = float(np.ldexp(1.0, exponent))
        self.sphere = [tf.constant(part, tf.float64) for part in frame]
        self._dtype, self._geometry = tf.as_dtype(samples.dtype), samples.geometry
        self._rows: Rows | None = None
        self._shares: list[tuple[str, Rows]] = []
        self._store: NDArray | None = None  # what pieces are loaded into
        self._sparse: SparseData | None = None
        if samples.is_sparse:
            self._sparse = SparseData(samples, self._scaled(slice(None)), frame)
        elif samples.is_on_disk:
            pass
        elif workers.devices:
            self._shares = list(self._divided(workers.devices))
        elif _is_tall(samples) and (n_units is None or n_units >= _MIN_TALL_UNITS):
            pass
        else:
            self._rows = load_rows(samples, self._scaled(slice(None)), frame)

    def _scaled(self, rows: slice) -> NDArray[np.float64]:
        return self._weights[rows] / self.unit_weight

    def release(self) -> None:
        """Let go of the samples; what has been learnt of them can still be asked for."""
        self._samples = self._samples.take(np.zeros(0, np.int64))
        self._rows, self._shares, self._sparse, self._store = None, [], None, None

    def n_epochs_at_once(self, codebook: tf.Tensor) -> int:
        """Return how many epochs are worth a graph together: of many tiles just one."""
        n_units, n_features = codebook.shape
        is_whole = self._rows is not None and not self._workers.are_several
        if not is_whole or len(self._samples) > self._tile_rows(codebook, len(self._samples)):
            return 1
        return max(1, _LEFT_VALUES // (3 * n_units * n_features))

    def epochs(self, codebook: tf.Tensor, kernels: list[Kernel]) -> Iterator[Moved]:
        """Search all samples and move the codebook to what they say, epoch by epoch.

        Of the kernels there are no more than `n_epochs_at_once`. What is returned of the
        statistics is in units of `unit_weight`.
        """
        geometry, is_separable = self._geometry, kernels[0][1].ndim == 4
        n_columns = n_columns_of(kernels[0])
        kind = self._dtype, is_separable, self._samples.has_missing, geometry
        parts = [tf.constant(np.stack(part)) for part in zip(*kernels, strict=True)]
        if self._rows is None or self._workers.are_several:
            graph = update_graph(is_separable, geometry == "spherical")
            total = summed_up(self.statistics(codebook, n_columns), self._workers)
            first = [part[0] for part in parts]
            yield Moved.of(graph(codebook, *total, *self.sphere, *first))
        elif tiling := self._tiling(codebook, n_columns, len(self._samples)):
            first = [part[0] for part in parts]
            graph = epoch_graph(*kind, *tiling.kind)
            inputs = *self._rows, codebook, *self.sphere, *first, *tiling.inputs()
            yield Moved.of(graph(*inputs))
        else:
            few = self._are_few(len(self._samples), codebook)
            stacks = epochs_graph(*kind, few)(*self._rows, codebook, *self.sphere, *parts)
            # Of most epochs nobody asks for more than what is measured: no tensors of their own.
            codebooks, sums, counts, measured = map(np.asarray, stacks)
            for n, (error, move) in enumerate(measured.tolist()):
                yield Moved(codebooks[n], sums[n], counts[n], error, move)

    def onto(self, kernel: Kernel | None, moved: Moved) -> tf.Tensor:
        """Return the codebook on the grid that a kernel leads to; None stays where it is."""
        if kernel is None:
            return tf.convert_to_tensor(moved.codebook)
        left = [tf.convert_to_tensor(part) for part in moved[:3]]
        graph = onto_grid_graph(self._geometry == "spherical")
        (codebook,) = graph(*left, *self.sphere, *(tf.constant(part) for part in kernel))
        return codebook

    def learn(
        self, codebook: tf.Tensor, learnt: list[tf.Tensor], kernel: Kernel, fade: float
    ) -> tuple[list[tf.Tensor], float]:
        """Search all samples, and move the codebook to what they and faded sums and counts say.

        Returns the codebook, the sums and the counts, and the mean distance before.
        """
        total = self.statistics(codebook, n_columns_of(kernel))
        graph = learn_graph(kernel[1].ndim == 4, self._geometry == "spherical")
        factors = tf.constant([fade, self.unit_weight], tf.float64)
        parts = [*self.sphere, *(tf.constant(part) for part in kernel)]
        new = graph(codebook, *learnt, total.sums, total.counts, factors, *parts)
        return new, self.mean_error(float(total.error) * self.unit_weight)

    def mean_error(self, total: float) -> float:
        """Turn a sum of distances in the frame into their mean, in data units."""
        return total / self._total_weight / self._frame.unit(self._geometry)

    def statistics(self, codebook: tf.Tensor, n_columns: int = 0) -> Statistics:
        """Search this worker's samples, and sum them up, in units of `unit_weight`.

        The grid has so many columns, where that is known.
        """
        if self._sparse is not None:
            return Statistics(*self._sparse.statistics(codebook))
        if self._rows is not None:
            return self._of_piece(self._rows, codebook, n_columns)
        if self._shares:
            return self._on_devices(codebook, n_columns)
        total: Statistics | None = None
        for piece in self._pieces():
            part = self._of_piece(piece, codebook, n_columns)
            part.error.numpy()  # now it has been read, and the next one may take its place
            total = part if total is None else total + part
        assert total is not None
        return total

    def _pieces(self) -> Iterator[Rows]:
        """Load the samples piece by piece, each where the one before was."""
        is_on_disk = self._samples.is_on_disk
        n_pieces = len(self._samples.tiles(_PIECE_VALUES if is_on_disk else _TALL_PIECE_VALUES))
        n_rows = -(-len(self._samples) // n_pieces)
        if self._store is None:
            self._store = aligned(n_rows * self._samples.shape[1], self._samples.dtype)
        for rows in row_slices(len(self._samples), n_rows):
            yield load_rows(self._samples, self._scaled(rows), self._frame, rows, self._store)

    def _divided(self, devices: tuple[str, ...]) -> Iterator[tuple[str, Rows]]:
        """Give each device its share of the samples."""
        bounds = np.linspace(0, len(self._samples), len(devices) + 1).astype(int)
        for device, start, stop in zip(devices, bounds, bounds[1:], strict=False):
            if start < stop:
                rows = slice(int(start), int(stop))
                share = load_rows(self._samples, self._scaled(rows), self._frame, rows)
                with tf.device(device):
                    yield device, Rows(*(tf.identity(part) for part in share))

    def _on_devices(self, codebook: tf.Tensor, n_columns: int) -> Statistics:
        """Search the shares of all devices at the same time."""

        def of_share(share: tuple[str, Rows]) -> Statistics:
            device, rows = share
            with tf.device(device):
                return self._of_piece(rows, codebook, n_columns)

        with ThreadPoolExecutor(len(self._shares)) as pool:
            first, *others = pool.map(of_share, self._shares)
        return sum(others, start=first)

    def _of_piece(self, piece: Rows, codebook: tf.Tensor, n_columns: int) -> Statistics:
        tiling = self._tiling(codebook, n_columns, len(piece.norms))
        kind = self._dtype, tiling is None, self._samples.has_missing, self._geometry
        few = tiling is None and self._are_few(len(piece.norms), codebook)
        graph = piece_graph(*kind, *(tiling.kind if tiling else (0, False)), few)
        inputs = tiling.inputs() if tiling else []
        return Statistics(*graph(*piece, codebook, *self.sphere, *inputs))

    def _are_few(self, n_samples: int, codebook: tf.Tensor) -> bool:
        n_units, n_features = codebook.shape
        return is_small(n_samples, n_units, n_features, self._geometry)

    def _tiling(self, codebook: tf.Tensor, n_columns: int, n_samples: int) -> Tiling | None:
        """Return how to search tile by tile; None for one tile."""
        n_tile, n_units = self._tile_rows(codebook, n_samples), codebook.shape[0]
        return Tiling.of(self._samples, n_tile, n_units, n_columns=n_columns, n_samples=n_samples)

    def _tile_rows(self, codebook: tf.Tensor, n_samples: int) -> int:
        n_units, n_features = codebook.shape
        return self._n_tile or tile_rows(n_units, n_features, n_samples)


def n_columns_of(kernel: Kernel) -> int:
    """Return how many columns the grid has that a kernel leads from."""
    return kernel[1].shape[-1]


def _is_tall(samples: Samples) -> bool:
    """Say whether samples in memory are so many that a copy of all is not worth its memory."""
    n_samples, n_features = samples.shape
    return n_samples * n_features >= _MIN_TALL_VALUES and n_features <= _MOST_TALL_FEATURES


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
        tf.constant(frame.enter(codebook)),
        tf.constant((sums - counts * frame.center) * frame.scale),
        *(tf.constant(counts, tf.float64), tf.zeros([], tf.float64)),
        *(tf.constant(part, tf.float64) for part in frame),
        *(tf.constant(part) for part in kernel),
    )
    return frame.leave(moved.numpy())

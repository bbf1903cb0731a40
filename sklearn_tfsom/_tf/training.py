"""Batch training: tiles of rows, statistics that add, smoothing, one loop.

An epoch is one call of one graph::

    for each chunk of rows:
        for each tile of the chunk:  bmus = search(tile)
        statistics += accumulate(chunk, weights, bmus)
    codebook = (H sums) / (H counts)

Data that do not lie in memory as one array (sparse ones, memory maps) take one call for the
statistics of each piece, and one for the codebook. So do mini-batches, whose statistics are added
to those of former ones, which fade.

The graphs are traced once in a process for each precision and kind of kernel, with and without
loops and missing values; no shape and no value is part of the trace.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._tf.absolute import is_absolute
from sklearn_tfsom._tf.exact import Terms, search_terms
from sklearn_tfsom._tf.frame import Frame, spread_out
from sklearn_tfsom._tf.graphs import is_worth_compiling, one_graph
from sklearn_tfsom._tf.search import search_tiles, tile_rows
from sklearn_tfsom._tf.sparse import SparseData

_ALIGNMENT = 64

# From so many features on the CSR product is the faster one, see `accumulate`.
_MIN_CSR_FEATURES = 32

# Rows that are summed up at once: enough for the sums of all units, (n_units x n_features), to
# cost little beside them. In tiles of the search, 64 rows at 40,000 units, they took longer than
# the search itself.
_CHUNK_ROWS = 2**13
_MAX_CHUNK_ROWS = 2**16

# Values of a piece of a memory map: 16 MiB of float32.
_PIECE_VALUES = 2**22

# Counts below have faded.
_FADED = 1e-200

# A mean direction shorter than this is what rounding left of directions that cancel out.
_SHORTEST = 1e-12


class Statistics(NamedTuple):
    """What one pass over rows leaves behind. Statistics of different rows add."""

    sums: tf.Tensor  # (n_units, n_features) float64: weighted sum of each unit's samples
    counts: tf.Tensor  # (n_units, 1) float64: their total weight; by feature if values are missing
    error: tf.Tensor  # () float64: weighted sum of the distances to the best-matching units

    def __add__(self, other: tuple) -> Statistics:
        return Statistics(*(a + b for a, b in zip(self, other, strict=True)))


class Rows(NamedTuple):
    """Training data in the frame."""

    values: tf.Tensor  # (n_samples, n_features) float32 or float64; NaN where missing
    norms: tf.Tensor  # (n_samples,) float64, squared norms over the known features
    weights: tf.Tensor  # (n_samples,) float64


class Samples(Protocol):
    """What this room wants of samples, see `sklearn_tfsom._samples`."""

    shape: tuple[int, int]
    dtype: np.dtype
    geometry: str
    is_sparse: bool

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> Any: ...

    @property
    def has_missing(self) -> bool: ...

    @property
    def is_on_disk(self) -> bool: ...

    def take(self, rows: Any) -> Samples: ...

    def tiles(self, n_values: int = ...) -> list[slice]: ...


# The parts of a smoothing kernel, see `sklearn_tfsom._neighborhood`.
Kernel: TypeAlias = tuple[NDArray, NDArray]


class Step(NamedTuple):
    """What an epoch does."""

    radius: float  # in lattice spacings
    kernel: Kernel  # on the grid that is searched
    to_next: Kernel | None = None  # from there to the next epoch's grid, if that is another
    to_map: Callable[[], Kernel] | None = None  # from there to the whole map, if that is another


class Epoch(NamedTuple):
    """One epoch's outcome."""

    radius: float  # in lattice spacings
    quantization_error: float  # of the codebook that the epoch began with, in data units
    move: float  # root mean square move of the code vectors, in data units
    codebook: Callable[[], NDArray[np.float64]]  # of the whole map, in data units, when asked for
    units: Callable[[], Units]  # of the grid that was searched, when asked for


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


def accumulate(rows: Rows, bmus: tf.Tensor, distances: tf.Tensor, terms: Terms) -> Statistics:
    """Sum up rows by best-matching unit.

    As the product of a sparse matrix, one weight per row in the column of its unit, with the rows;
    where values are missing, also with the mask of the known ones, which counts them by feature.
    """
    n_units, n_features = tf.unstack(tf.shape(terms.codebook))
    values = spread_out(rows.values, terms.is_incomplete)
    weights = tf.cast(rows.weights, values.dtype)
    n_rows = tf.shape(values, out_type=tf.int64)[0]
    indices = tf.stack([tf.range(n_rows), tf.cast(bmus, tf.int64)], axis=1)
    shape = tf.stack([n_rows, tf.cast(n_units, tf.int64)])

    def by_coordinates() -> tf.Tensor:
        return tf.raw_ops.SparseTensorDenseMatMul(
            a_indices=indices, a_values=weights, a_shape=shape, b=values, adjoint_a=True
        )

    def by_csr() -> tf.Tensor:
        # Its own transpose_a would spare the transposition, but adds in an order that changes
        # from call to call; this way the bits are the same every time.
        matrix = tf.raw_ops.SparseTensorToCSRSparseMatrix(
            indices=indices, values=weights, dense_shape=shape
        )
        matrix = tf.raw_ops.SparseMatrixTranspose(input=matrix, type=values.dtype)
        return tf.raw_ops.SparseMatrixMatMul(a=matrix, b=values)

    # Measured per epoch, by coordinates and by CSR (and by unsorted_segment_sum): 1.6 and 3.9 (and
    # 2.4) ms at 200,000 x 3 and 256 units, 4.1 and 3.6 (and 6.7) ms at 100,000 x 64 and 400
    # units, 23 and 11 (and 36) ms at 60,000 x 784.
    sums = tf.cond(tf.shape(values)[1] < _MIN_CSR_FEATURES, by_coordinates, by_csr)
    sums = tf.cast(sums, tf.float64)
    if terms.is_incomplete:
        sums, counts = sums[:, :n_features], sums[:, n_features:]
    else:
        # Of the weights that the sums have: where float32 makes 0 of one, both lose it.
        counted = tf.cast(weights, tf.float64)
        counts = tf.math.unsorted_segment_sum(counted, bmus, n_units)[:, None]
    return Statistics(sums, counts, tf.tensordot(rows.weights, distances, 1))


def statistics(rows: Rows, terms: Terms, *tiling: tf.Tensor) -> Statistics:
    """Search and sum up all rows, chunk by chunk; or at once, without `tiling`."""
    n_samples = tf.shape(rows.values)[0]
    n_units = tf.shape(terms.codebook)[0]

    def of_chunk(chunk: Rows) -> Statistics:
        def cut(start: tf.Tensor, stop: tf.Tensor) -> tuple:
            values = chunk.values[start:stop]
            return (
                values,
                chunk.norms[start:stop],
                lambda picked: tf.cast(tf.gather(values, picked), tf.float64),
            )

        bmus, distances = search_tiles(cut, tf.shape(chunk.values)[0], terms, *tiling)
        return accumulate(chunk, bmus, distances, terms)

    if not tiling:
        return of_chunk(rows)
    n_tile = tiling[0]
    n_chunk = n_tile * -(-tf.clip_by_value(4 * n_units, _CHUNK_ROWS, _MAX_CHUNK_ROWS) // n_tile)

    def add_chunk(start: tf.Tensor, total: Statistics) -> tuple[tf.Tensor, Statistics]:
        stop = start + n_chunk
        chunk = Rows(*(part[start:stop] for part in rows))
        return stop, Statistics(*total) + of_chunk(chunk)

    none = tf.zeros_like(terms.codebook)
    counts = none if terms.is_incomplete else none[:, :1]
    nothing = Statistics(none, counts, tf.zeros([], tf.float64))
    _, total = tf.while_loop(
        lambda start, _: start < n_samples,
        add_chunk,
        (tf.constant(0), nothing),
        parallel_iterations=2,  # while one is summed up, or waits for a thread, the next goes on
    )
    return Statistics(*total)


def smooth_separable(values: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Apply a `SeparableKernel` to values of shape (n_source_rows, n_source_columns, n_values).

    Row ``2 a + s`` of the source is the pair (a, s), s its parity; row ``2 b + t`` of the target
    is (b, t). So all parities go in two batches of products.
    """
    n_rows, n_columns, n_values = tf.shape(rows)[0], tf.shape(columns)[2], tf.shape(values)[2]
    n_pairs, n_source_pairs = (n_rows + 1) // 2, (tf.shape(values)[0] + 1) // 2
    # Odd numbers of rows are filled up with a row of zeros.
    extra, source_extra = n_rows % 2, tf.shape(values)[0] % 2
    values = tf.pad(values, [[0, source_extra], [0, 0], [0, 0]])
    rows = tf.pad(rows, [[0, extra], [0, source_extra]])
    values = tf.reshape(values, [n_source_pairs, 2, -1, n_values])
    along = tf.matmul(columns[:, None], values)  # (t, a, s, n_columns, n_values)
    along = tf.reshape(along, [2, 2 * n_source_pairs, n_columns * n_values])
    rows = tf.transpose(tf.reshape(rows, [n_pairs, 2, 2 * n_source_pairs]), [1, 0, 2])
    smoothed = tf.transpose(tf.matmul(rows, along), [1, 0, 2])  # (b, t, n_columns * n_values)
    return tf.reshape(smoothed, [2 * n_pairs, n_columns, n_values])[:n_rows]


def smooth_blocks(values: tf.Tensor, kinds: tf.Tensor, blocks: tf.Tensor) -> tf.Tensor:
    """Apply a `BlockKernel` to values of shape (n_rows, n_columns, n_values), row by row."""
    return tf.map_fn(
        lambda sources: tf.reduce_sum(tf.matmul(tf.gather(blocks, sources), values), axis=0),
        kinds,
        fn_output_signature=tf.TensorSpec([None, None], tf.float64),
    )


class Sphere(NamedTuple):
    """Where unit vectors lie in the frame."""

    center: tf.Tensor  # (n_features,) float64
    scale: tf.Tensor  # () float64


def update(
    codebook: tf.Tensor, total: Statistics, smooth: Callable, sphere: Sphere | None = None
) -> tf.Tensor:
    """Move the code vectors: ``(H sums) / (H counts)``, unchanged where the denominator is 0.

    On a sphere the result is moved to it, in the direction of the mean; a code vector stays where
    the directions around it cancel out.
    """
    n_features = tf.shape(codebook)[1]
    smoothed = smooth(tf.concat([total.sums, total.counts], axis=1))
    numerator, denominator = smoothed[:, :n_features], smoothed[:, n_features:]
    known = denominator != 0
    moved = tf.where(known, numerator / tf.where(known, denominator, 1), codebook)
    if sphere is None:
        return moved
    directions = moved / sphere.scale + sphere.center
    length = tf.norm(directions, axis=1, keepdims=True)
    has_direction = length > _SHORTEST
    directions /= tf.where(has_direction, length, 1)
    return tf.where(has_direction, (directions - sphere.center) * sphere.scale, codebook)


def _smoother(first: tf.Tensor, second: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
    """Smooth values (n_source_units, n_values) by the kernel of these two parts."""
    smooth = smooth_separable if len(second.shape) == 4 else smooth_blocks
    n_rows = tf.shape(first)[1]

    def smoother(values: tf.Tensor) -> tf.Tensor:
        n_units, n_values = tf.unstack(tf.shape(values))
        on_grid = tf.reshape(values, [n_rows, n_units // n_rows, n_values])
        return tf.reshape(smooth(on_grid, first, second), [-1, n_values])

    return smoother


def _parts(is_separable: bool) -> list[tf.TensorSpec]:
    if is_separable:
        return [
            tf.TensorSpec([None, None], tf.float64),
            tf.TensorSpec([2, 2, None, None], tf.float64),
        ]
    return [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None, None], tf.float64)]


_CODEBOOK = tf.TensorSpec([None, None], tf.float64)
_VECTOR = tf.TensorSpec([None], tf.float64)
_SCALAR = tf.TensorSpec([], tf.float64)
_SPHERE = [_VECTOR, _SCALAR]


def _rows(dtype: tf.DType) -> list[tf.TensorSpec]:
    return [tf.TensorSpec([None, None], dtype), _VECTOR, _VECTOR]


def _sphere(geometry: str, center: tf.Tensor, scale: tf.Tensor) -> Sphere | None:
    return Sphere(center, scale) if geometry == "spherical" else None


def _extent(sphere: Sphere | None) -> tf.Tensor:
    """Return what code vectors are rounded at: the spread of the data, or the sphere's radius."""
    one = tf.ones([], tf.float64)
    return one if sphere is None else one + tf.norm(sphere.center) * sphere.scale


def _move(moved: tf.Tensor, codebook: tf.Tensor) -> tf.Tensor:
    squared = tf.reduce_sum(tf.math.squared_difference(moved, codebook), axis=1)
    return tf.sqrt(tf.reduce_mean(squared))


@one_graph
def _epoch(
    dtype: tf.DType, is_separable: bool, is_one_tile: bool, is_incomplete: bool, geometry: str
) -> tf.types.experimental.PolymorphicFunction:
    def epoch(
        values: tf.Tensor,
        norms: tf.Tensor,
        weights: tf.Tensor,
        codebook: tf.Tensor,
        center: tf.Tensor,
        scale: tf.Tensor,
        first: tf.Tensor,
        second: tf.Tensor,
        *tiling: tf.Tensor,
    ) -> list[tf.Tensor]:
        sphere = _sphere(geometry, center, scale)
        terms = search_terms(codebook, _extent(sphere), is_incomplete, geometry)
        total = statistics(Rows(values, norms, weights), terms, *tiling)
        moved = update(codebook, total, _smoother(first, second), sphere)
        measured = tf.stack([total.error, _move(moved, codebook)])
        return [moved, total.sums, total.counts, measured]

    signature = [*_rows(dtype), _CODEBOOK, *_SPHERE, *_parts(is_separable)]
    if not is_one_tile:  # the loops cost a fit of iris 3 of 14 ms, and the first one half of 0.9 s
        signature += [tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32)]
    return tf.function(epoch, input_signature=signature, autograph=False)


@one_graph
def _piece(
    dtype: tf.DType, is_one_tile: bool, is_incomplete: bool, geometry: str
) -> tf.types.experimental.PolymorphicFunction:
    """Make the graph of the statistics alone."""

    def piece(
        values: tf.Tensor,
        norms: tf.Tensor,
        weights: tf.Tensor,
        codebook: tf.Tensor,
        center: tf.Tensor,
        scale: tf.Tensor,
        *tiling: tf.Tensor,
    ) -> list[tf.Tensor]:
        extent = _extent(_sphere(geometry, center, scale))
        terms = search_terms(codebook, extent, is_incomplete, geometry)
        return list(statistics(Rows(values, norms, weights), terms, *tiling))

    signature = [*_rows(dtype), _CODEBOOK, *_SPHERE]
    if not is_one_tile:
        signature += [tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32)]
    return tf.function(piece, input_signature=signature, autograph=False)


@one_graph
def _update(is_separable: bool, geometry: str) -> tf.types.experimental.PolymorphicFunction:
    """Make the graph that moves the code vectors by given statistics."""

    def moved_by(
        codebook: tf.Tensor,
        sums: tf.Tensor,
        counts: tf.Tensor,
        error: tf.Tensor,
        center: tf.Tensor,
        scale: tf.Tensor,
        first: tf.Tensor,
        second: tf.Tensor,
    ) -> list[tf.Tensor]:
        total, sphere = Statistics(sums, counts, error), _sphere(geometry, center, scale)
        moved = update(codebook, total, _smoother(first, second), sphere)
        return [moved, sums, counts, tf.stack([error, _move(moved, codebook)])]

    signature = [_CODEBOOK] * 3 + [_SCALAR, *_SPHERE, *_parts(is_separable)]
    return tf.function(moved_by, input_signature=signature, autograph=False)


@one_graph
def _onto_grid(geometry: str) -> tf.types.experimental.PolymorphicFunction:
    def onto_grid(
        codebook: tf.Tensor,
        sums: tf.Tensor,
        counts: tf.Tensor,
        center: tf.Tensor,
        scale: tf.Tensor,
        first: tf.Tensor,
        second: tf.Tensor,
    ) -> tf.Tensor:
        # Where the denominator is 0, there is no former code vector on another grid: the codebook,
        # interpolated, stands in for it.
        smooth = _smoother(first, second)
        around = smooth(tf.concat([codebook, tf.ones_like(codebook[:, :1])], axis=1))
        total = Statistics(sums, counts, tf.zeros([], tf.float64))
        former = around[:, :-1] / around[:, -1:]
        return update(former, total, smooth, _sphere(geometry, center, scale))

    signature = [_CODEBOOK] * 3 + _SPHERE + _parts(is_separable=True)
    return tf.function(onto_grid, input_signature=signature, autograph=False)


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
    ) -> None:
        self._samples, self._weights, self._frame = samples, sample_weight, frame
        self._n_tile = n_tile
        # In the graphs weights are multiples of a power of two, so that float32 can hold them.
        exponent = int(np.frexp(sample_weight.max())[1]) - 1
        self.unit_weight = float(np.ldexp(1.0, exponent))
        self.sphere = [tf.constant(part, tf.float64) for part in frame]
        self._dtype = tf.as_dtype(samples.dtype)
        self._rows: Rows | None = None
        self._sparse: SparseData | None = None
        if samples.is_sparse:
            self._sparse = SparseData(samples, self._scaled(slice(None)), frame)
        elif not samples.is_on_disk:
            self._rows = load(samples, self._scaled(slice(None)), frame)

    def _scaled(self, rows: slice) -> NDArray[np.float64]:
        return self._weights[rows] / self.unit_weight

    def epoch(self, codebook: tf.Tensor, kernel: Kernel) -> _Moved:
        """Search all samples, and move the codebook to what they say.

        What is returned of the statistics is in units of `unit_weight`.
        """
        if self._rows is None:
            return self.update(codebook, self._statistics(codebook), kernel)
        tiling = self._tiling(codebook, len(self._samples))
        epoch = _epoch(
            self._dtype,
            kernel[1].ndim == 4,
            not tiling,
            self._samples.has_missing,
            self._samples.geometry,
        )
        parts = [tf.constant(part) for part in kernel]
        return _Moved(*epoch(*self._rows, codebook, *self.sphere, *parts, *tiling))

    def update(self, codebook: tf.Tensor, total: Statistics, kernel: Kernel) -> _Moved:
        """Move the codebook to what statistics say."""
        graph = _update(kernel[1].ndim == 4, self._samples.geometry)
        parts = [tf.constant(part) for part in kernel]
        return _Moved(*graph(codebook, *total, *self.sphere, *parts))

    def statistics(self, codebook: tf.Tensor) -> Statistics:
        """Search all samples, and sum them up."""
        return Statistics(*(part * self.unit_weight for part in self._statistics(codebook)))

    def mean_error(self, total: float) -> float:
        """Turn a sum of distances in the frame into their mean, in data units."""
        return total / float(self._weights.sum()) / self._frame.unit(self._samples.geometry)

    def _statistics(self, codebook: tf.Tensor) -> Statistics:
        if self._sparse is not None:
            return Statistics(*self._sparse.statistics(codebook))
        if self._rows is not None:
            return self._of_piece(self._rows, codebook)
        # On disk: piece by piece, so that no more than one is in memory.
        total: Statistics | None = None
        for rows in self._samples.tiles(_PIECE_VALUES):
            piece = load(self._samples.take(rows), self._scaled(rows), self._frame)
            part = self._of_piece(piece, codebook)
            total = part if total is None else total + part
        assert total is not None
        return total

    def _of_piece(self, piece: Rows, codebook: tf.Tensor) -> Statistics:
        tiling = self._tiling(codebook, len(piece.norms))
        is_incomplete, geometry = self._samples.has_missing, self._samples.geometry
        graph = _piece(self._dtype, not tiling, is_incomplete, geometry)
        return Statistics(*graph(*piece, codebook, *self.sphere, *tiling))

    def _tiling(self, codebook: tf.Tensor, n_samples: int) -> list[tf.Tensor]:
        """Return rows per tile, and those of tiles that XLA compiles; nothing for one tile."""
        n_units, n_features = codebook.shape
        n_rows = self._n_tile or tile_rows(n_units)
        if n_samples <= n_rows:
            return []
        of_features = (n_features,) if is_absolute(self._samples.geometry) else ()
        is_compiled = is_worth_compiling((n_rows, n_units, *of_features), n_samples)
        return [tf.constant(n_rows), tf.constant(n_rows if is_compiled else 0)]


class Learner:
    """A map that learns batch by batch: statistics that fade, and the codebook that they make."""

    def __init__(self, codebook: NDArray, units: Units | None, frame: Frame) -> None:
        self._frame = frame
        self._codebook = tf.constant(frame.enter(codebook))
        self._sums = tf.zeros_like(self._codebook)
        self._counts = self._sums[:, :1]
        if units is not None:
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
        new = data.statistics(self._codebook)
        counts = fade * self._counts + new.counts
        # What has faded that far is more than floating point can tell from 0.
        is_left = counts > _FADED
        self._counts = tf.where(is_left, counts, tf.zeros_like(counts))
        sums = fade * self._sums + new.sums
        self._sums = tf.where(is_left, sums, tf.zeros_like(sums))
        total = Statistics(self._sums, self._counts, new.error)
        self._codebook = data.update(self._codebook, total, kernel).codebook
        return data.mean_error(float(new.error))

    def codebook(self) -> NDArray[np.float64]:
        """Return the code vectors, (n_units, n_features), in data units."""
        return self._frame.leave(self._codebook.numpy())

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
    n_tile : int, default=None
        Rows per tile; by default what fits the cache.

    Yields
    ------
    epoch : Epoch
    """
    data = Data(samples, sample_weight, frame, n_tile)
    current = tf.constant(frame.enter(codebook))
    for step in steps:
        moved = data.epoch(current, step.kernel)
        error, move = moved.measured.numpy().tolist()

        def onto(kernel: Kernel | None, moved: _Moved = moved) -> tf.Tensor:
            if kernel is None:
                return moved.codebook
            parts = [*data.sphere, *(tf.constant(part) for part in kernel)]
            return _onto_grid(samples.geometry)(moved.codebook, moved.sums, moved.counts, *parts)

        def trained(step: Step = step, onto: Callable = onto) -> NDArray[np.float64]:
            return frame.leave(onto(step.to_map and step.to_map()).numpy())

        def units(moved: _Moved = moved) -> Units:
            counts = moved.counts * data.unit_weight
            return units_of(moved.sums * data.unit_weight, counts, frame)

        error = data.mean_error(error * data.unit_weight)
        yield Epoch(step.radius, error, move / frame.scale, trained, units)
        current = onto(step.to_next)


def train_batches(
    samples: Samples,
    batches: list[tuple[NDArray[np.int64], NDArray[np.float64]]],
    codebook: NDArray[np.float64],
    frame: Frame,
    steps: Iterable[Step],
    memory: float,
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

    Yields
    ------
    epoch : Epoch
    """

    def load_batch(batch: tuple[NDArray[np.int64], NDArray[np.float64]]) -> Data:
        rows, weights = batch
        return Data(samples.take(rows), weights, frame)

    loaded = None if samples.is_on_disk else [load_batch(batch) for batch in batches]
    batch_weights = np.array([weights.sum() for _, weights in batches])
    learner = Learner(codebook, None, frame)
    before = learner.codebook()
    for step in steps:
        errors = [
            learner.learn(data, step.kernel, max(0.0, 1 - weight / memory))
            for data, weight in zip(loaded or map(load_batch, batches), batch_weights, strict=True)
        ]
        after = learner.codebook()
        move = math.sqrt(np.mean(np.sum((after - before) ** 2, axis=1)))
        error = float(np.average(errors, weights=batch_weights))
        yield Epoch(step.radius, error, move, functools.partial(np.copy, after), learner.units)
        before = after

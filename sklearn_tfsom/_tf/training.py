"""Batch training: tiles of rows, statistics that add, smoothing, one loop.

An epoch is one call of one graph::

    for each chunk of rows:
        for each tile of the chunk:  bmus = search(tile)
        statistics += accumulate(chunk, weights, bmus)
    codebook = (H sums) / (H counts)

The graphs are traced once in a process for each precision and kind of kernel, with and without
loops and missing values; no shape and no value is part of the trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._tf.exact import Terms, search_terms
from sklearn_tfsom._tf.frame import Frame, has_missing, spread_out
from sklearn_tfsom._tf.graphs import is_worth_compiling, one_graph
from sklearn_tfsom._tf.search import search_tiles, tile_rows

_ALIGNMENT = 64

# From so many features on the CSR product is the faster one, see `accumulate`.
_MIN_CSR_FEATURES = 32

# Rows that are summed up at once: enough for the sums of all units, (n_units x n_features), to
# cost little beside them. In tiles of the search, 64 rows at 40,000 units, they took longer than
# the search itself.
_CHUNK_ROWS = 2**13
_MAX_CHUNK_ROWS = 2**16


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


def load(X: NDArray, sample_weight: NDArray, frame: Frame, is_incomplete: bool) -> Rows:
    """Move data into the frame and into TensorFlow's hands, with one copy.

    TensorFlow copies every array that it is given, except a 64-byte aligned one through DLPack
    (which it does not check: an unaligned one aborts the process). So the frame's copy, which has
    to be made anyway, is made aligned, and handed over.
    """
    n_samples, n_features = X.shape
    store = np.empty(X.size * X.itemsize + _ALIGNMENT, dtype=np.uint8)
    start = -store.ctypes.data % _ALIGNMENT
    values = store[start : start + X.size * X.itemsize].view(X.dtype).reshape(X.shape)
    norms = np.empty(n_samples)
    # Only their ratios count; a power of two rounds nothing, and float32 can hold them then.
    weights = np.ldexp(sample_weight, -np.frexp(sample_weight.max())[1])
    step = max(1, 2**18 // n_features)
    for first in range(0, n_samples, step):
        rows = slice(first, first + step)
        tile = frame.enter(X[rows], values[rows]).astype(np.float64)
        if is_incomplete:
            tile[np.isnan(tile)] = 0
        norms[rows] = np.einsum("ij,ij->i", tile, tile)
    shared = tf.experimental.dlpack.from_dlpack(values.__dlpack__())
    return Rows(shared, tf.constant(norms), tf.constant(weights))


def accumulate(rows: Rows, bmus: tf.Tensor, squared: tf.Tensor, terms: Terms) -> Statistics:
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
    return Statistics(sums, counts, tf.tensordot(rows.weights, tf.sqrt(squared), 1))


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

        bmus, lowest = search_tiles(cut, tf.shape(chunk.values)[0], terms, *tiling)
        return accumulate(chunk, bmus, tf.maximum(chunk.norms + lowest, 0), terms)

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


def update(codebook: tf.Tensor, total: Statistics, smooth: Callable) -> tf.Tensor:
    """Move the code vectors: ``(H sums) / (H counts)``, unchanged where the denominator is 0."""
    n_features = tf.shape(codebook)[1]
    smoothed = smooth(tf.concat([total.sums, total.counts], axis=1))
    numerator, denominator = smoothed[:, :n_features], smoothed[:, n_features:]
    known = denominator != 0
    return tf.where(known, numerator / tf.where(known, denominator, 1), codebook)


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


@one_graph
def _epoch(
    dtype: tf.DType, is_separable: bool, is_one_tile: bool, is_incomplete: bool
) -> tf.types.experimental.PolymorphicFunction:
    def epoch(
        values: tf.Tensor,
        norms: tf.Tensor,
        weights: tf.Tensor,
        codebook: tf.Tensor,
        first: tf.Tensor,
        second: tf.Tensor,
        *tiling: tf.Tensor,
    ) -> list[tf.Tensor]:
        terms = search_terms(codebook, tf.ones([], tf.float64), is_incomplete)
        total = statistics(Rows(values, norms, weights), terms, *tiling)
        moved = update(codebook, total, _smoother(first, second))
        mean_error = total.error / tf.reduce_sum(weights)
        move = tf.sqrt(
            tf.reduce_mean(tf.reduce_sum(tf.math.squared_difference(moved, codebook), 1))
        )
        return [moved, total.sums, total.counts, tf.stack([mean_error, move])]

    signature = [
        tf.TensorSpec([None, None], dtype),
        tf.TensorSpec([None], tf.float64),
        tf.TensorSpec([None], tf.float64),
        tf.TensorSpec([None, None], tf.float64),
        *_parts(is_separable),
    ]
    if not is_one_tile:  # the loops cost a fit of iris 3 of 14 ms, and the first one half of 0.9 s
        signature += [tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32)]
    return tf.function(epoch, input_signature=signature, autograph=False)


@one_graph
def _onto_grid() -> tf.types.experimental.PolymorphicFunction:
    def onto_grid(
        codebook: tf.Tensor,
        sums: tf.Tensor,
        counts: tf.Tensor,
        first: tf.Tensor,
        second: tf.Tensor,
    ) -> tf.Tensor:
        # Where the denominator is 0, there is no former code vector on another grid: the codebook,
        # interpolated, stands in for it.
        smooth = _smoother(first, second)
        around = smooth(tf.concat([codebook, tf.ones_like(codebook[:, :1])], axis=1))
        total = Statistics(sums, counts, tf.zeros([], tf.float64))
        return update(around[:, :-1] / around[:, -1:], total, smooth)

    signature = [tf.TensorSpec([None, None], tf.float64)] * 3 + _parts(is_separable=True)
    return tf.function(onto_grid, input_signature=signature, autograph=False)


def train_epochs(
    X: NDArray,
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
    X : ndarray of float32 or float64, shape (n_samples, n_features)
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
    is_incomplete = has_missing(X)
    rows = load(X, sample_weight, frame, is_incomplete)
    current = tf.constant(frame.enter(codebook))
    for step in steps:
        n_units = len(current)
        n_rows = n_tile or tile_rows(n_units)
        is_one_tile = len(X) <= n_rows
        tiling = []
        if not is_one_tile:
            is_compiled = is_worth_compiling(n_rows, n_units, len(X))
            tiling = [tf.constant(n_rows), tf.constant(n_rows if is_compiled else 0)]
        is_separable = step.kernel[1].ndim == 4
        epoch = _epoch(rows.values.dtype, is_separable, is_one_tile, is_incomplete)
        *outcome, measured = epoch(*rows, current, *_tensors(step.kernel), *tiling)
        error, move = (measured.numpy() / frame.scale).tolist()

        def onto(kernel: Kernel | None, outcome: list[tf.Tensor] = outcome) -> tf.Tensor:
            return _onto_grid()(*outcome, *_tensors(kernel)) if kernel else outcome[0]

        def trained(step: Step = step, onto: Callable = onto) -> NDArray[np.float64]:
            return frame.leave(onto(step.to_map and step.to_map()).numpy())

        yield Epoch(step.radius, error, move, trained)
        current = onto(step.to_next)


def _tensors(kernel: Kernel) -> list[tf.Tensor]:
    return [tf.constant(part) for part in kernel]

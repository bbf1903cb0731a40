"""Batch training: tiles of rows, statistics that add, smoothing, one loop.

An epoch is one call of one graph::

    for each chunk of rows:
        for each tile of the chunk:  bmus = search(tile)
        statistics += accumulate(chunk, weights, bmus)
    codebook = (H sums) / (H counts)

The graphs are traced once per precision and kind of kernel in a process; no shape and no value is
part of the trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._tf.search import (
    Frame,
    Terms,
    is_worth_compiling,
    one_graph,
    search,
    search_terms,
    tile_rows,
)

_ALIGNMENT = 64

# From so many features on the CSR product is the faster one, see `accumulate`.
_MIN_CSR_FEATURES = 32

# Rows that are summed up at once: enough for the sums of all units, (n_units x n_features), to
# cost little beside them. In tiles of the search, 256 rows at 40,000 units, they took longer than
# the search itself.
_CHUNK_ROWS = 2**14
_MAX_CHUNK_ROWS = 2**16


class Statistics(NamedTuple):
    """What one pass over rows leaves behind. Statistics of different rows add."""

    sums: tf.Tensor  # (n_units, n_features) float64: weighted sum of each unit's samples
    counts: tf.Tensor  # (n_units,) float64: their total weight
    error: tf.Tensor  # () float64: weighted sum of the distances to the best-matching units

    def __add__(self, other: tuple) -> Statistics:
        return Statistics(*(a + b for a, b in zip(self, other, strict=True)))


class Rows(NamedTuple):
    """Training data in the frame."""

    values: tf.Tensor  # (n_samples, n_features) float32 or float64
    norms: tf.Tensor  # (n_samples,) float64, squared norms
    weights: tf.Tensor  # (n_samples,) float64


class Step(NamedTuple):
    """What an epoch does."""

    radius: float  # in lattice spacings
    kernel: tuple[NDArray, NDArray]  # from this epoch's grid to that of the next one
    to_map: Callable[[], tuple[NDArray, NDArray]] | None  # to the whole map; None: `kernel` does
    n_alike: int  # number of epochs that search a grid of this size


class Epoch(NamedTuple):
    """One epoch's outcome."""

    radius: float  # in lattice spacings
    quantization_error: float  # of the codebook that the epoch began with, in data units
    move: float  # root mean square move of the code vectors, in data units
    codebook: Callable[[], NDArray[np.float64]]  # of the whole map, in data units, when asked for


def load(X: NDArray, sample_weight: NDArray, frame: Frame) -> Rows:
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
        tile = frame.enter(X[rows], values[rows])
        norms[rows] = np.einsum("ij,ij->i", tile, tile, dtype=np.float64)
    shared = tf.experimental.dlpack.from_dlpack(values.__dlpack__())
    return Rows(shared, tf.constant(norms), tf.constant(weights))


def accumulate(rows: Rows, bmus: tf.Tensor, squared: tf.Tensor, n_units: tf.Tensor) -> Statistics:
    """Sum up rows by best-matching unit.

    As the product of a sparse matrix, one weight per row in the column of its unit, with the rows.
    """
    values, weights = rows.values, tf.cast(rows.weights, rows.values.dtype)
    n_rows = tf.shape(values, out_type=tf.int64)[0]
    chosen = {
        "indices": tf.stack([tf.range(n_rows), tf.cast(bmus, tf.int64)], axis=1),
        "values": weights,
        "shape": tf.stack([n_rows, tf.cast(n_units, tf.int64)]),
    }

    def by_coordinates() -> tf.Tensor:
        return tf.raw_ops.SparseTensorDenseMatMul(
            **{f"a_{name}": part for name, part in chosen.items()}, b=values, adjoint_a=True
        )

    def by_csr() -> tf.Tensor:
        # Its own transpose_a would spare the transposition, but adds in an order that changes
        # from call to call; this way the bits are the same every time.
        chosen["dense_shape"] = chosen.pop("shape")
        matrix = tf.raw_ops.SparseTensorToCSRSparseMatrix(**chosen)
        matrix = tf.raw_ops.SparseMatrixTranspose(input=matrix, type=values.dtype)
        return tf.raw_ops.SparseMatrixMatMul(a=matrix, b=values)

    # Measured per epoch, by coordinates and by CSR (and by unsorted_segment_sum): 1.6 and 3.9 (and
    # 2.4) ms at 200,000 x 3 and 256 units, 4.1 and 3.6 (and 6.7) ms at 100,000 x 64 and 400
    # units, 23 and 11 (and 36) ms at 60,000 x 784.
    sums = tf.cond(tf.shape(values)[1] < _MIN_CSR_FEATURES, by_coordinates, by_csr)
    return Statistics(
        tf.cast(sums, tf.float64),
        tf.math.unsorted_segment_sum(rows.weights, bmus, n_units),
        tf.tensordot(rows.weights, tf.sqrt(squared), 1),
    )


def statistics(
    rows: Rows, terms: Terms, n_tile: tf.Tensor, compiled_rows: tf.Tensor
) -> Statistics:
    """Search and sum up all rows, chunk by chunk."""
    n_samples = tf.shape(rows.values)[0]
    n_units = tf.shape(terms.codebook)[0]
    n_chunk = n_tile * -(-tf.clip_by_value(4 * n_units, _CHUNK_ROWS, _MAX_CHUNK_ROWS) // n_tile)

    def add_chunk(start: tf.Tensor, total: Statistics) -> tuple[tf.Tensor, Statistics]:
        stop = start + n_chunk
        chunk = Rows(*(part[start:stop] for part in rows))
        bmus, lowest = _search_tiles(chunk, terms, n_tile, compiled_rows)
        squared = tf.maximum(chunk.norms + lowest, 0)
        return stop, Statistics(*total) + accumulate(chunk, bmus, squared, n_units)

    nothing = Statistics(
        tf.zeros_like(terms.codebook), tf.zeros_like(terms.bias), tf.constant(0.0, tf.float64)
    )
    _, total = tf.while_loop(
        lambda start, _: start < n_samples,
        add_chunk,
        (tf.constant(0), nothing),
        parallel_iterations=2,  # the next chunk's search runs beside this one's sums
    )
    return Statistics(*total)


def _search_tiles(
    rows: Rows, terms: Terms, n_tile: tf.Tensor, compiled_rows: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Search rows tile by tile: the scores of a tile stay in the cache."""
    n_rows = tf.shape(rows.values)[0]
    n_tiles = -(-n_rows // n_tile)

    def search_tile(index: tf.Tensor, bmus: tf.TensorArray, lowest: tf.TensorArray) -> tuple:
        start = index * n_tile
        values = rows.values[start : start + n_tile]
        found = search(
            values,
            rows.norms[start : start + n_tile],
            terms,
            lambda picked: tf.cast(tf.gather(values, picked), tf.float64),
            compiled_rows,
        )
        return index + 1, bmus.write(index, found[0]), lowest.write(index, found[1])

    empty = [
        tf.TensorArray(dtype, size=n_tiles, element_shape=[None], infer_shape=False)
        for dtype in (tf.int32, tf.float64)
    ]
    _, bmus, lowest = tf.while_loop(
        lambda index, *_: index < n_tiles,
        search_tile,
        (tf.constant(0), *empty),
        parallel_iterations=2,  # the next tile's product runs beside the tail of this one
    )
    return bmus.concat(), lowest.concat()


def smooth_separable(values: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Apply a `SeparableKernel` to values of shape (n_rows, n_columns, n_values)."""
    n_rows, n_columns, n_values = tf.shape(rows)[0], tf.shape(columns)[2], tf.shape(values)[2]
    smoothed = []
    for target in (0, 1):
        total = 0.0
        for source in (0, 1):
            along = tf.matmul(columns[target, source], values[source::2])
            along = tf.reshape(along, [-1, n_columns * n_values])
            total += tf.matmul(rows[target::2, source::2], along)
        smoothed.append(total)
    order = tf.argsort(tf.concat([tf.range(0, n_rows, 2), tf.range(1, n_rows, 2)], 0))
    return tf.reshape(tf.gather(tf.concat(smoothed, 0), order), [n_rows, n_columns, n_values])


def smooth_blocks(values: tf.Tensor, kinds: tf.Tensor, blocks: tf.Tensor) -> tf.Tensor:
    """Apply a `BlockKernel` to values of shape (n_rows, n_columns, n_values), row by row."""
    return tf.map_fn(
        lambda sources: tf.reduce_sum(tf.matmul(tf.gather(blocks, sources), values), axis=0),
        kinds,
        fn_output_signature=tf.TensorSpec([None, None], tf.float64),
    )


def update(codebook: tf.Tensor, total: Statistics, smooth: Callable) -> tf.Tensor:
    """Move the code vectors: ``(H sums) / (H counts)``, unchanged where the denominator is 0."""
    smoothed = smooth(tf.concat([total.sums, total.counts[:, None]], axis=1))
    numerator, denominator = smoothed[:, :-1], smoothed[:, -1:]
    known = denominator != 0
    moved = numerator / tf.where(known, denominator, 1)

    def unchanged() -> tf.Tensor:
        return tf.where(known, moved, codebook)

    def interpolated() -> tf.Tensor:
        """On another grid there is no former code vector; its surroundings stand in for it."""
        around = smooth(tf.concat([codebook, tf.ones_like(codebook[:, :1])], axis=1))
        return tf.where(known, moved, around[:, :-1] / around[:, -1:])

    is_same_grid = tf.equal(tf.shape(moved)[0], tf.shape(codebook)[0])
    return tf.cond(is_same_grid, unchanged, interpolated)


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
def _epoch(dtype: tf.DType, is_separable: bool) -> tf.types.experimental.PolymorphicFunction:
    def epoch(
        values: tf.Tensor,
        norms: tf.Tensor,
        weights: tf.Tensor,
        codebook: tf.Tensor,
        n_tile: tf.Tensor,
        compiled_rows: tf.Tensor,
        first: tf.Tensor,
        second: tf.Tensor,
    ) -> list[tf.Tensor]:
        terms = search_terms(codebook, tf.constant(1.0, tf.float64))
        total = statistics(Rows(values, norms, weights), terms, n_tile, compiled_rows)
        moved = update(codebook, total, _smoother(first, second))
        mean_error = total.error / tf.reduce_sum(total.counts)
        return [moved, mean_error, _move(moved, codebook), total.sums, total.counts]

    float64, int32 = tf.float64, tf.int32
    return tf.function(
        epoch,
        input_signature=[
            tf.TensorSpec([None, None], dtype),
            tf.TensorSpec([None], float64),
            tf.TensorSpec([None], float64),
            tf.TensorSpec([None, None], float64),
            tf.TensorSpec([], int32),
            tf.TensorSpec([], int32),
            *_parts(is_separable),
        ],
        autograph=False,
    )


def _move(moved: tf.Tensor, codebook: tf.Tensor) -> tf.Tensor:
    """Root mean square move of the code vectors; infinite from one grid to another."""
    return tf.cond(
        tf.equal(tf.shape(moved)[0], tf.shape(codebook)[0]),
        lambda: tf.sqrt(
            tf.reduce_mean(tf.reduce_sum(tf.math.squared_difference(moved, codebook), 1))
        ),
        lambda: tf.constant(np.inf, tf.float64),
    )


@one_graph
def _update(is_separable: bool) -> tf.types.experimental.PolymorphicFunction:
    def whole(
        codebook: tf.Tensor,
        sums: tf.Tensor,
        counts: tf.Tensor,
        first: tf.Tensor,
        second: tf.Tensor,
    ) -> tf.Tensor:
        total = Statistics(sums, counts, tf.constant(0.0, tf.float64))
        return update(codebook, total, _smoother(first, second))

    matrix, vector = tf.TensorSpec([None, None], tf.float64), tf.TensorSpec([None], tf.float64)
    signature = [matrix, matrix, vector, *_parts(is_separable)]
    return tf.function(whole, input_signature=signature, autograph=False)


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
    rows = load(X, sample_weight, frame)
    dtype = rows.values.dtype
    current = tf.constant(frame.enter(codebook))
    for step in steps:
        n_units = len(current)
        n_rows = n_tile or tile_rows(n_units)
        is_compiled = is_worth_compiling(len(X) * n_units * step.n_alike)
        moved, *measured, sums, counts = _epoch(dtype, _is_separable(step.kernel))(
            *rows,
            current,
            tf.constant(n_rows),
            tf.constant(n_rows if is_compiled else 0),
            *map(tf.constant, step.kernel),
        )

        def trained(
            step: Step = step,
            moved: tf.Tensor = moved,
            parts: tuple[tf.Tensor, ...] = (current, sums, counts),
        ) -> NDArray[np.float64]:
            if step.to_map is not None:
                kernel = step.to_map()
                moved = _update(_is_separable(kernel))(*parts, *map(tf.constant, kernel))
            return frame.leave(moved.numpy())

        error, move = (float(value) / frame.scale for value in measured)
        yield Epoch(step.radius, error, move, trained)
        current = moved


def _is_separable(kernel: tuple[NDArray, NDArray]) -> bool:
    return kernel[1].ndim == 4

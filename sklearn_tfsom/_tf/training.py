"""Batch training: tiles of rows, statistics that add, smoothing, one loop.

An epoch is one call of one graph::

    for each tile of rows:  bmus = search(tile);  statistics += accumulate(tile, weights, bmus)
    codebook = (H sums) / (H counts)

The graphs are traced once per precision and kind of kernel in a process; no shape and no value is
part of the trace.
"""

from __future__ import annotations

import functools
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
_MIN_PRODUCT_FEATURES = 32


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


class Epoch(NamedTuple):
    """One epoch's outcome."""

    radius: float  # in lattice spacings
    quantization_error: float  # of the codebook that the epoch began with, in data units
    move: float  # root mean square move of the code vectors, in data units
    codebook: Callable[[], NDArray[np.float64]]  # the new one, in data units, when asked for


def load(X: NDArray, sample_weight: NDArray, frame: Frame, n_tile: int) -> Rows:
    """Move data into the frame and into TensorFlow's hands, with one copy, in whole tiles.

    Rows of weight 0 fill up the last tile: all tiles have one shape.

    TensorFlow copies every array that it is given, except a 64-byte aligned one through DLPack
    (which it does not check: an unaligned one aborts the process). So the frame's copy, which has
    to be made anyway, is made aligned, and handed over.
    """
    n_samples, n_features = X.shape
    n_padded = n_samples + -n_samples % n_tile
    n_bytes = n_padded * n_features * X.itemsize
    store = np.empty(n_bytes + _ALIGNMENT, dtype=np.uint8)
    start = -store.ctypes.data % _ALIGNMENT
    values = store[start : start + n_bytes].view(X.dtype).reshape(n_padded, n_features)
    norms, weights = np.zeros(n_padded), np.zeros(n_padded)
    # Only their ratios count; a power of two rounds nothing, and float32 can hold them then.
    weights[:n_samples] = np.ldexp(sample_weight, -np.frexp(sample_weight.max())[1])
    values[n_samples:] = 0
    step = max(1, 2**18 // n_features)
    for first in range(0, n_samples, step):
        rows = slice(first, min(first + step, n_samples))
        tile = frame.enter(X[rows], values[rows])
        norms[rows] = np.einsum("ij,ij->i", tile, tile, dtype=np.float64)
    shared = tf.experimental.dlpack.from_dlpack(values.__dlpack__())
    return Rows(shared, tf.constant(norms), tf.constant(weights))


def accumulate(rows: Rows, bmus: tf.Tensor, squared: tf.Tensor, n_units: tf.Tensor) -> Statistics:
    """Sum up a tile by best-matching unit."""
    values, weights = rows.values, tf.cast(rows.weights, rows.values.dtype)

    def by_segment() -> tf.Tensor:
        return tf.math.unsorted_segment_sum(values * weights[:, None], bmus, n_units)

    def by_product() -> tf.Tensor:
        # A sparse matrix, one weight per row in the column of its unit, times the rows. Its own
        # transpose_a would spare the transposition, but adds in an order that changes from call
        # to call; this way the bits are the same every time.
        n_rows = tf.shape(values, out_type=tf.int64)[0]
        chosen = tf.raw_ops.SparseTensorToCSRSparseMatrix(
            indices=tf.stack([tf.range(n_rows), tf.cast(bmus, tf.int64)], axis=1),
            values=weights,
            dense_shape=tf.stack([n_rows, tf.cast(n_units, tf.int64)]),
        )
        chosen = tf.raw_ops.SparseMatrixTranspose(input=chosen, type=values.dtype)
        return tf.raw_ops.SparseMatrixMatMul(a=chosen, b=values)

    # Measured per epoch, by segment and by product: 3 against 6 ms at 200,000 x 3 and 256 units,
    # 7 against 4 ms at 100,000 x 64 and 400 units, 36 against 15 ms at 60,000 x 784.
    sums = tf.cond(tf.shape(values)[1] < _MIN_PRODUCT_FEATURES, by_segment, by_product)
    return Statistics(
        tf.cast(sums, tf.float64),
        tf.math.unsorted_segment_sum(rows.weights, bmus, n_units),
        tf.tensordot(rows.weights, tf.sqrt(squared), 1),
    )


def statistics(rows: Rows, terms: Terms, n_tile: tf.Tensor, *, compiled: bool) -> Statistics:
    """Search and sum up all rows, tile by tile."""
    n_samples = tf.shape(rows.values)[0]
    n_units = tf.shape(terms.codebook)[0]

    def add_tile(start: tf.Tensor, total: Statistics) -> tuple[tf.Tensor, Statistics]:
        stop = start + n_tile
        tile = Rows(*(part[start:stop] for part in rows))
        bmus, lowest = search(
            tile.values,
            tile.norms,
            terms,
            lambda picked: tf.cast(tf.gather(tile.values, picked), tf.float64),
            compiled=compiled,
        )
        squared = tf.maximum(tile.norms + lowest, 0)
        return stop, Statistics(*total) + accumulate(tile, bmus, squared, n_units)

    nothing = Statistics(
        tf.zeros_like(terms.codebook), tf.zeros_like(terms.bias), tf.constant(0.0, tf.float64)
    )
    _, total = tf.while_loop(
        lambda start, _: start < n_samples,
        add_tile,
        (tf.constant(0), nothing),
        parallel_iterations=4,  # the next tile's product runs beside the tail of this one
    )
    return Statistics(*total)


def smooth_separable(values: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Apply a `SeparableKernel` to values of shape (n_rows, n_columns, n_values)."""
    n_rows, n_columns, n_values = tf.unstack(tf.shape(values))
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


def update(
    codebook: tf.Tensor, total: Statistics, smooth: Callable, n_rows: tf.Tensor
) -> tf.Tensor:
    """Move the code vectors: ``(H sums) / (H counts)``, unchanged where the denominator is 0."""
    values = tf.concat([total.sums, total.counts[:, None]], axis=1)
    n_units, n_values = tf.unstack(tf.shape(values))
    smoothed = smooth(tf.reshape(values, [n_rows, n_units // n_rows, n_values]))
    smoothed = tf.reshape(smoothed, [n_units, n_values])
    numerator, denominator = smoothed[:, :-1], smoothed[:, -1:]
    known = denominator != 0
    return tf.where(known, numerator / tf.where(known, denominator, 1), codebook)


@one_graph
def _epoch(
    dtype: tf.DType, smooth: Callable, compiled: bool
) -> tf.types.experimental.PolymorphicFunction:
    def epoch(
        values: tf.Tensor,
        norms: tf.Tensor,
        weights: tf.Tensor,
        codebook: tf.Tensor,
        n_tile: tf.Tensor,
        first: tf.Tensor,
        second: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        total = statistics(
            Rows(values, norms, weights),
            search_terms(codebook, tf.constant(1.0, tf.float64)),
            n_tile,
            compiled=compiled,
        )
        n_rows = tf.shape(first)[0]
        moved = update(codebook, total, lambda v: smooth(v, first, second), n_rows)
        mean_error = total.error / tf.reduce_sum(total.counts)
        move = tf.sqrt(
            tf.reduce_mean(tf.reduce_sum(tf.math.squared_difference(moved, codebook), 1))
        )
        return moved, tf.stack([mean_error, move])

    float64, int32 = tf.float64, tf.int32
    kernel = (
        [tf.TensorSpec([None, None], float64), tf.TensorSpec([2, 2, None, None], float64)]
        if smooth is smooth_separable
        else [tf.TensorSpec([None, None], int32), tf.TensorSpec([None, None, None], float64)]
    )
    return tf.function(
        epoch,
        input_signature=[
            tf.TensorSpec([None, None], dtype),
            tf.TensorSpec([None], float64),
            tf.TensorSpec([None], float64),
            tf.TensorSpec([None, None], float64),
            tf.TensorSpec([], int32),
            *kernel,
        ],
        autograph=False,
    )


def _in_data_units(codebook: tf.Tensor, frame: Frame) -> NDArray[np.float64]:
    return frame.leave(codebook.numpy())


def train_epochs(
    X: NDArray,
    sample_weight: NDArray[np.float64],
    codebook: NDArray[np.float64],
    frame: Frame,
    radii: Iterable[float],
    kernel: Callable,
    *,
    n_tile: int | None = None,
) -> Iterator[Epoch]:
    """Train a codebook, epoch by epoch.

    Parameters
    ----------
    X : ndarray of float32 or float64, shape (n_samples, n_features)
    sample_weight : ndarray of float64, shape (n_samples,)
    codebook : ndarray of float64, shape (n_units, n_features)
        Where training starts. All in data units.
    frame : Frame
        Where it is computed.
    radii : iterable of float
        Radius of each epoch.
    kernel : callable
        ``kernel(radius)`` is a `SeparableKernel` or a `BlockKernel`.
    n_tile : int, default=None
        Rows per tile; by default what fits the cache.

    Yields
    ------
    epoch : Epoch
    """
    n_tile = min(n_tile or tile_rows(len(codebook)), len(X))
    rows = load(X, sample_weight, frame, n_tile)
    n_rows = tf.constant(n_tile)
    compiled = is_worth_compiling(len(X), len(codebook))
    current = tf.constant(frame.enter(codebook))
    for radius in radii:
        first, second = kernel(radius)
        smooth = smooth_separable if second.ndim == 4 else smooth_blocks
        step = _epoch(rows.values.dtype, smooth, compiled)
        current, measured = step(*rows, current, n_rows, tf.constant(first), tf.constant(second))
        error, move = (measured.numpy() / frame.scale).tolist()
        yield Epoch(radius, error, move, functools.partial(_in_data_units, current, frame))

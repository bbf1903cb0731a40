"""What one pass over samples leaves behind: sums, counts and errors, that add."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from sklearn_tfsom._tf.exact import Terms
from sklearn_tfsom._tf.frame import spread_out
from sklearn_tfsom._tf.search import search_rows

# From so many features on the CSR product is the faster one, see `accumulate`.
_MIN_CSR_FEATURES = 32

# Rows that are summed up at once: enough for the sums of all units, (n_units x n_features), to
# cost little beside them. In tiles of the search, 64 rows at 40,000 units, they took longer than
# the search itself; in chunks of half as many, an epoch of 64 or 784 features in float32 takes
# 2 to 4 % more.
_CHUNK_ROWS = 2**15
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


def accumulate(rows: Rows, bmus: tf.Tensor, distances: tf.Tensor, terms: Terms) -> Statistics:
    """Sum up rows by best-matching unit.

    As the product of a sparse matrix, one weight per row in the column of its unit, with the rows;
    where values are missing, also with the mask of the known ones, which counts them by feature.
    """
    n_units, n_features = terms.layout.n_units, tf.shape(rows.values)[1]
    values = spread_out(rows.values, terms.is_incomplete)
    weights = tf.cast(rows.weights, values.dtype)
    n_rows = tf.shape(values, out_type=tf.int64)[0]
    indices = tf.stack([tf.range(n_rows), tf.cast(bmus, tf.int64)], axis=1)
    shape = tf.stack([n_rows, tf.cast(n_units, tf.int64)])

    def by_coordinates(weights: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
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
    is_narrow = tf.shape(values)[1] < _MIN_CSR_FEATURES
    sums = tf.cond(is_narrow, lambda: by_coordinates(weights, values), by_csr)
    sums = tf.cast(sums, tf.float64)
    if terms.is_incomplete:
        sums, counts = sums[:, :n_features], sums[:, n_features:]
    else:
        # Of the weights that the sums have: where float32 makes 0 of one, both lose it. As a
        # product it takes 0.3 ms for 65,536 rows, as a sum by segments 1.2.
        ones = tf.ones([n_rows, 1], tf.float64)
        counts = by_coordinates(tf.cast(weights, tf.float64), ones)
    return Statistics(sums, counts, tf.reduce_sum(rows.weights * distances))


def statistics(rows: Rows, terms: Terms, *tiling: tf.Tensor) -> Statistics:
    """Search and sum up all rows, chunk by chunk; or at once, without `tiling`."""

    def of_chunk(chunk: Rows) -> Statistics:
        found = search_rows(chunk.values, chunk.norms, terms, *tiling)
        return accumulate(chunk, *found, terms)

    if not tiling:
        return of_chunk(rows)
    n_samples, n_units = tf.shape(rows.values)[0], terms.layout.n_units
    n_tile = tiling[0]
    # Two at a time, so that one at the end would go alone: on 200x200 units an epoch of 100,000
    # samples took 32 us a unit in chunks of 2^16 and of what is left, 28 in two halves.
    least = _CHUNK_ROWS // 2 if terms.is_incomplete else _CHUNK_ROWS  # these are spread out
    most = tf.clip_by_value(4 * n_units, least, _MAX_CHUNK_ROWS)
    n_tiles = -(-n_samples // n_tile)
    n_chunks = tf.minimum(2 * -(-n_samples // (2 * most)), n_tiles)
    n_smaller = n_chunks - n_tiles % n_chunks  # the others have one tile more

    def start_of(number: tf.Tensor) -> tf.Tensor:
        n_before = number * (n_tiles // n_chunks) + tf.maximum(number - n_smaller, 0)
        return n_tile * n_before

    def add_chunk(number: tf.Tensor, total: Statistics) -> tuple[tf.Tensor, Statistics]:
        start, stop = start_of(number), start_of(number + 1)
        chunk = Rows(*(part[start:stop] for part in rows))
        return number + 1, Statistics(*total) + of_chunk(chunk)

    none = tf.zeros_like(terms.codebook)
    counts = none if terms.is_incomplete else none[:, :1]
    nothing = Statistics(none, counts, tf.zeros([], tf.float64))
    _, total = tf.while_loop(
        lambda number, _: number < n_chunks,
        add_chunk,
        (tf.constant(0), nothing),
        parallel_iterations=2,  # while one is summed up, or waits for a thread, the next goes on
    )
    return Statistics(*total)

"""Sums of dense rows by best-matching unit, within a graph."""

from __future__ import annotations

import tensorflow as tf

from sklearn_tfsom._data.statistics import Statistics
from sklearn_tfsom._map.scores import Kind
from sklearn_tfsom._tf.operands import with_mask
from sklearn_tfsom._tuning import MIN_CSR_FEATURES


def sum_by_unit(
    rows: tf.Tensor,
    weights: tf.Tensor,
    units: tf.Tensor,
    distances: tf.Tensor,
    n_units: tf.Tensor,
    kind: Kind,
) -> Statistics:
    """Sum dense rows by best-matching unit, within a graph.

    Sums are the product of the rows with a sparse matrix that has one weight for each row, in the
    column of its unit; where values are missing, the product with the mask of known values counts
    them by feature.

    Parameters
    ----------
    rows : Tensor of float32 or float64, shape (n, n_features)
    weights : Tensor of float64, shape (n,)
    units : Tensor of int32, shape (n,)
    distances : Tensor of float64, shape (n,)
    n_units : Tensor of int32, shape ()
    kind : Kind
    """
    values = with_mask(rows, kind.has_missing)
    rounded = tf.cast(weights, values.dtype)
    n_rows = tf.shape(values, out_type=tf.int64)[0]
    index = tf.stack([tf.range(n_rows), tf.cast(units, tf.int64)], axis=1)
    shape = tf.stack([n_rows, tf.cast(n_units, tf.int64)])

    def by_coordinates(weights: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.SparseTensorDenseMatMul(
            a_indices=index, a_values=weights, a_shape=shape, b=values, adjoint_a=True
        )

    def by_csr() -> tf.Tensor:
        # Transposed explicitly: with transpose_a the order of addition changes from call to call.
        matrix = tf.raw_ops.SparseTensorToCSRSparseMatrix(
            indices=index, values=rounded, dense_shape=shape
        )
        matrix = tf.raw_ops.SparseMatrixTranspose(input=matrix, type=values.dtype)
        return tf.raw_ops.SparseMatrixMatMul(a=matrix, b=values)

    is_narrow = tf.shape(values)[1] < MIN_CSR_FEATURES
    sums = tf.cond(is_narrow, lambda: by_coordinates(rounded, values), by_csr)
    sums = tf.cast(sums, tf.float64)
    if kind.has_missing:
        n_features = tf.shape(rows)[1]
        sums, counts = sums[:, :n_features], sums[:, n_features:]
    else:
        # Count the weights that the sums have: float32 may have rounded one to 0.
        counts = by_coordinates(tf.cast(rounded, tf.float64), tf.ones([n_rows, 1], tf.float64))
    return Statistics(sums, counts, tf.reduce_sum(weights * distances))

"""Products of sparse rows within a graph, where a CSR matrix cannot be an argument."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._data.sparse import SparseRows
from sklearn_tfsom._distance import stored_rows

COORDINATES_SPECS = (
    tf.TensorSpec([None, 2], tf.int64),
    tf.TensorSpec([None], tf.float32),
    tf.TensorSpec([2], tf.int64),
)


def coordinates(rows: SparseRows) -> tuple[NDArray, NDArray, NDArray]:
    """Return index, values and shape of sparse rows: the first arguments of `sparse_product`."""
    matrix = rows.matrix
    index = np.stack([stored_rows(matrix), matrix.indices], axis=1, dtype=np.int64)
    return index, matrix.data.astype(np.float32), np.array(matrix.shape, np.int64)


def sparse_product(
    index: tf.Tensor, values: tf.Tensor, shape: tf.Tensor, factors: tf.Tensor
) -> tf.Tensor:
    """Multiply sparse rows, given by coordinates, with factors (n_features, n)."""
    matrix = tf.raw_ops.SparseTensorToCSRSparseMatrix(
        indices=index, values=values, dense_shape=shape
    )
    return tf.raw_ops.SparseMatrixMatMul(a=matrix, b=factors)

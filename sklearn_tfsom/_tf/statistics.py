"""Statistics of samples by best-matching unit; those of different samples add."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._tf.scores import Terms, with_mask
from sklearn_tfsom._tf.search import DenseRows, Nearest
from sklearn_tfsom._tf.sparse import SparseRows
from sklearn_tfsom._tf.tuning import MIN_CSR_FEATURES


class Statistics(NamedTuple):
    """What an epoch needs to know of the samples; tensors or arrays of float64."""

    sums: tf.Tensor | NDArray[np.float64]  # (n_units, n_features): weighted sum of the samples
    counts: tf.Tensor | NDArray[np.float64]  # (n_units, 1): their weight; or by known feature
    error: tf.Tensor | NDArray[np.float64]  # (): weighted sum of distances to the units

    @classmethod
    def nothing(cls, n_units: int, n_features: int, has_missing: bool) -> Statistics:
        """Return the statistics of no samples."""
        counts = np.zeros((n_units, n_features if has_missing else 1))
        return cls(np.zeros((n_units, n_features)), counts, np.zeros(()))

    def plus(self, other: Statistics) -> Statistics:
        """Add the statistics of other samples."""
        return Statistics(*(a + b for a, b in zip(self, other, strict=True)))

    def numpy(self) -> Statistics:
        """Return them as arrays."""
        return Statistics(*(np.asarray(part) for part in self))


def sum_by_unit(rows: DenseRows, weights: tf.Tensor, found: Nearest, terms: Terms) -> Statistics:
    """Sum dense rows by best-matching unit.

    Sums are the product of the rows with a sparse matrix that has one weight for each row, in the
    column of its unit; where values are missing, the product with the mask of known values counts
    them by feature.

    Parameters
    ----------
    rows : DenseRows
    weights : Tensor of float64, shape (n,)
    found : Nearest
    terms : Terms
        The codebook that was searched.
    """
    values = with_mask(rows.values, terms.kind.has_missing)
    weights32 = tf.cast(weights, values.dtype)
    n_rows = tf.shape(values, out_type=tf.int64)[0]
    index = tf.stack([tf.range(n_rows), tf.cast(found.units[:, 0], tf.int64)], axis=1)
    shape = tf.stack([n_rows, tf.cast(terms.n_units, tf.int64)])

    def by_coordinates(weights: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.SparseTensorDenseMatMul(
            a_indices=index, a_values=weights, a_shape=shape, b=values, adjoint_a=True
        )

    def by_csr() -> tf.Tensor:
        # Transposed explicitly: with transpose_a the order of addition changes from call to call.
        matrix = tf.raw_ops.SparseTensorToCSRSparseMatrix(
            indices=index, values=weights32, dense_shape=shape
        )
        matrix = tf.raw_ops.SparseMatrixTranspose(input=matrix, type=values.dtype)
        return tf.raw_ops.SparseMatrixMatMul(a=matrix, b=values)

    is_narrow = tf.shape(values)[1] < MIN_CSR_FEATURES
    sums = tf.cond(is_narrow, lambda: by_coordinates(weights32, values), by_csr)
    sums = tf.cast(sums, tf.float64)
    if terms.kind.has_missing:
        n_features = tf.shape(rows.values)[1]
        sums, counts = sums[:, :n_features], sums[:, n_features:]
    else:
        # Count the weights that the sums have: float32 may have rounded one to 0.
        ones = tf.ones([n_rows, 1], tf.float64)
        counts = by_coordinates(tf.cast(weights32, tf.float64), ones)
    return Statistics(sums, counts, tf.reduce_sum(weights * found.distances))


def sum_sparse_by_unit(
    rows: SparseRows, weights: NDArray[np.float64], found: Nearest, n_units: int
) -> Statistics:
    """Sum sparse rows by best-matching unit."""
    units = np.asarray(found.units)[:, 0].astype(np.int64)
    counts = np.bincount(units, weights, minlength=n_units)[:, None].astype(np.float64)
    error = np.array(weights @ np.asarray(found.distances))
    return Statistics(rows.sums_by_unit(weights, units, n_units), counts, error)

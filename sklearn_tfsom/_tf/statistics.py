"""Statistics of samples by best-matching unit; those of different samples add."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._data.sparse import SparseRows
from sklearn_tfsom._data.sums import sums_by_unit
from sklearn_tfsom._data.tiles import row_slices
from sklearn_tfsom._tf.loading import DenseRows
from sklearn_tfsom._tf.scores import Kind, Terms, with_mask
from sklearn_tfsom._tf.tuning import MIN_CSR_FEATURES, SUMMED_VALUES


class Statistics(NamedTuple):
    """Sums over the samples that an epoch uses; tensors or arrays of float64."""

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


class Nearest(NamedTuple):
    """The best-matching units of some rows."""

    units: NDArray[np.int32]  # (n, k), the closest first
    distances: NDArray[np.float64]  # (n,) to the closest; not finite beyond the range of float64
    statistics: Statistics | None  # if weights are given


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


def sum_in_numpy(
    rows: DenseRows | SparseRows,
    weights: NDArray[np.float64] | tf.Tensor,
    units: NDArray[np.int32],
    distances: NDArray[np.float64],
    terms: Terms,
) -> Statistics:
    """Sum rows by the unit (n,) of each, in float64."""
    weights, (n_rows, n_columns, n_features) = np.asarray(weights), terms.codebook.shape
    n_units = n_rows * n_columns
    total = Statistics.nothing(n_units, n_features, terms.kind.has_missing)
    if isinstance(rows, SparseRows):
        total.sums[:] = rows.sums_by_unit(weights, units, n_units)
    else:
        for some in row_slices(len(units), max(1, SUMMED_VALUES // n_features)):
            values, by_unit = np.asarray(rows.values[some]), (weights[some], units[some], n_units)
            if terms.kind.has_missing:
                known = ~np.isnan(values)
                values = np.where(known, values, 0)
                total.counts[:] += sums_by_unit(known, *by_unit)
            total.sums[:] += sums_by_unit(values, *by_unit)
    if not terms.kind.has_missing:
        total.counts[:, 0] = np.bincount(units, weights, n_units)
    return total._replace(error=np.sum(weights * distances))

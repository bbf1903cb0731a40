"""Search of sparse rows in a graph, where a CSR matrix cannot be an argument."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._data.sparse import SparseRows
from sklearn_tfsom._data.statistics import Found, joined
from sklearn_tfsom._data.tiles import row_slices
from sklearn_tfsom._distance import stored_rows
from sklearn_tfsom._map.scores import Kind, Terms, rounding_bound32
from sklearn_tfsom._tf.dense import as_found, lowest_scores
from sklearn_tfsom._tf.devices import device_scope, is_rough, on_cpus
from sklearn_tfsom._tf.operands import GRID_MATRIX, SCALAR, VECTOR, make_operands
from sklearn_tfsom._tf.runtime import traced_once
from sklearn_tfsom._tuning import TILE_SCORES

_COORDINATES_SPECS = (
    tf.TensorSpec([None, 2], tf.int64),
    tf.TensorSpec([None], tf.float32),
    tf.TensorSpec([2], tf.int64),
)


def _coordinates(rows: SparseRows) -> tuple[NDArray, NDArray, NDArray]:
    """Return index, values and shape of sparse rows: the first arguments of `_product`."""
    matrix = rows.matrix
    index = np.stack([stored_rows(matrix), matrix.indices], axis=1, dtype=np.int64)
    return index, matrix.data.astype(np.float32), np.array(matrix.shape, np.int64)


def _product(
    index: tf.Tensor, values: tf.Tensor, shape: tf.Tensor, factors: tf.Tensor
) -> tf.Tensor:
    """Multiply sparse rows, given by coordinates, with factors (n_features, n)."""
    matrix = tf.raw_ops.SparseTensorToCSRSparseMatrix(
        indices=index, values=values, dense_shape=shape
    )
    return tf.raw_ops.SparseMatrixMatMul(a=matrix, b=factors)


def search_sparse(rows: SparseRows, terms: Terms, k: int, n_tile: int | None) -> Found:
    """Search sparse rows in a graph, tile by tile."""
    n_units = terms.codebook.size // terms.codebook.shape[2]
    kind = terms.kind._replace(is_rough=is_rough())
    graph, numbers = _sparse_graph(kind), (float(rows.max_stored()), k)

    def search_tile(tile: slice) -> Found:
        part = rows.take(tile)
        with device_scope():
            found = graph(*_coordinates(part), part.norms, *terms.of_graph(), *numbers)
        return Found(*map(np.asarray, found))

    tiles = row_slices(len(rows.norms), n_tile or max(1, TILE_SCORES // n_units))
    return joined(map(search_tile, tiles))


@traced_once
def _sparse_graph(kind: Kind) -> tf.types.experimental.PolymorphicFunction:
    def search(
        index: tf.Tensor,
        values: tf.Tensor,
        shape: tf.Tensor,
        norms: tf.Tensor,
        codebook: tf.Tensor,
        center: tf.Tensor,
        extent: tf.Tensor,
        n_terms: tf.Tensor,
        k: tf.Tensor,
    ) -> list[tf.Tensor]:
        operands = make_operands(Terms(kind, codebook, center, extent), n_terms)
        margin = tf.cast(rounding_bound32(tf, norms, operands.sizes), tf.float32)
        products = _product(index, values, shape, operands.factors32)
        scores = tf.nn.bias_add(products, tf.reshape(operands.bias32, [-1]))
        return as_found(lowest_scores(scores, operands.bias32, margin, k), norms, kind)

    signature = [*_COORDINATES_SPECS, VECTOR, GRID_MATRIX, VECTOR, SCALAR, SCALAR]
    signature.append(tf.TensorSpec([], tf.int32))
    search = search if kind.is_rough else on_cpus(search)
    return tf.function(search, input_signature=signature, autograph=False)

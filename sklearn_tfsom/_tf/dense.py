"""Search of dense rows in a graph, tile by tile."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from sklearn_tfsom._data.dense import DenseRows
from sklearn_tfsom._data.statistics import Found
from sklearn_tfsom._map.scores import SearchKind, Target, rounding_bound32
from sklearn_tfsom._map.ties import within_rounding
from sklearn_tfsom._tf.argmin import (
    Lowest,
    compiled_graph,
    fused_graph,
    lowest_of_layers,
)
from sklearn_tfsom._tf.blocks import n_blocks
from sklearn_tfsom._tf.devices import device_scope, is_rough, on_cpus
from sklearn_tfsom._tf.elementwise import elementwise_distances, elementwise_noise
from sklearn_tfsom._tf.operands import (
    GRID_MATRIX,
    VECTOR,
    Operands,
    as_factors32,
    make_operands,
    scores_float32,
)
from sklearn_tfsom._tf.pruning import search_blocks
from sklearn_tfsom._tf.runtime import start_compiler, traced_once
from sklearn_tfsom._tf.tensors import as_tensor
from sklearn_tfsom._tf.tiles import loop_tiles
from sklearn_tfsom._tuning import MAX_COMPILED_UNITS

# Results of the search of a tile: units, distances, and whether the units are certain.
_FOUND = (
    tf.TensorSpec([None, None], tf.int32),
    tf.TensorSpec([None], tf.float64),
    tf.TensorSpec([None], tf.bool),
)


def search_dense(
    rows: DenseRows, target: Target, k: int, n_tile: int, *, needs_distances: bool
) -> Found:
    """Search dense rows in a graph."""
    n_rows, n_columns, _ = target.codebook.shape
    kind = target.kind
    if is_rough():  # a device without caches to prune for, and whose XLA has not been tried
        kind = kind._replace(is_rough=True, is_pruned=False, n_fused=0)
    # The compiled search finds one unit for each row, among not too many units or blocks.
    n_compared = n_blocks(n_rows, n_columns) if kind.is_pruned else n_rows * n_columns
    is_compiled = (k == 1 or not kind.metric.is_product) and n_compared <= MAX_COMPILED_UNITS
    is_compiled = is_compiled and not kind.is_rough
    if is_compiled:
        start_compiler()
    with device_scope():
        parts = _search_graph(kind, tf.as_dtype(rows.values.dtype))(
            *map(as_tensor, (rows.values, rows.norms)),
            *target.of_graph(),
            np.array([k, n_tile, n_tile if is_compiled else 0], np.int32),
        )
    units, distances, is_clear = map(np.asarray, parts)
    if kind.is_rough and needs_distances and kind.metric.is_product:
        distances = np.full_like(distances, np.nan)  # too few digits to be kept
    return Found(units, distances, is_clear)


@traced_once
def _search_graph(kind: SearchKind, dtype: tf.DType) -> tf.types.experimental.PolymorphicFunction:
    """Make the graph that searches dense rows."""

    def search(
        values: tf.Tensor,
        norms: tf.Tensor,
        codebook: tf.Tensor,
        center: tf.Tensor,
        extents: tf.Tensor,
        numbers: tf.Tensor,
    ) -> list[tf.Tensor]:
        k, n_tile, compiled_rows = tf.unstack(numbers, 3)
        operands = make_operands(Target(kind, codebook, center, extents), k)

        def search_tile(start: tf.Tensor, stop: tf.Tensor) -> list[tf.Tensor]:
            return _search_tile(values[start:stop], norms[start:stop], operands, k, compiled_rows)

        def tiles() -> list[tf.Tensor]:
            return loop_tiles(search_tile, tf.size(norms), n_tile, _FOUND)

        def blocks() -> list[tf.Tensor]:
            found = search_blocks(values, norms, operands, compiled_rows > 0)
            return _as_found(found, norms, kind)

        return tf.cond(tf.equal(k, 1), blocks, tiles) if kind.is_pruned else tiles()

    matrix = tf.TensorSpec([None, kind.n_fused or None], dtype)
    signature = [matrix, VECTOR, GRID_MATRIX, VECTOR, VECTOR]
    signature.append(tf.TensorSpec([3], tf.int32))
    search = search if kind.is_rough else on_cpus(search)
    return tf.function(search, input_signature=signature, autograph=False)


def _search_tile(
    values: tf.Tensor,
    norms: tf.Tensor,
    operands: Operands,
    k: tf.Tensor,
    compiled_rows: tf.Tensor,
) -> list[tf.Tensor]:
    """Search a tile; return units (n, k), distances (n,), and whether units are certain (n,).

    XLA compiles the search of `compiled_rows` rows, 0 for none; not that of a shorter last tile,
    for whose shape it would compile again.
    """
    kind = operands.kind
    if not kind.metric.is_product:
        return _search_elementwise(values, operands, k, compiled_rows)
    factors32 = as_factors32(values, kind)
    margin = tf.cast(rounding_bound32(tf, norms, operands.sizes), tf.float32)
    given = operands.bias32, margin

    def plain() -> Lowest:
        return _lowest_scores(scores_float32(factors32, operands), *given, k)

    def compiled() -> Lowest:
        if kind.n_fused:
            return fused_graph(kind.n_fused)(factors32, operands.factors32, *given)
        return compiled_graph()(tf.matmul(factors32, operands.factors32), *given)

    is_compiled = tf.equal(tf.size(norms), compiled_rows)  # 0 unless k is 1
    lowest = plain() if kind.is_rough else tf.cond(is_compiled, compiled, plain)
    return _as_found(lowest, norms, kind)


def _lowest_scores(scores: tf.Tensor, bias: tf.Tensor, margin: tf.Tensor, k: tf.Tensor) -> Lowest:
    """Find the k lowest scores of each row, and whether their order is certain."""
    return tf.cond(
        tf.equal(k, 1),
        lambda: lowest_of_layers(scores, bias, margin),
        lambda: _several_lowest(scores, margin, k),
    )


def _several_lowest(scores: tf.Tensor, margin: tf.Tensor, k: tf.Tensor) -> Lowest:
    units, ordered = _ordered_lowest(scores, k)
    gaps = ordered[:, 1:] - ordered[:, :-1]
    is_clear = (tf.reduce_min(gaps, axis=1) > margin) & tf.math.is_finite(margin)
    return Lowest(units, ordered[:, 0], is_clear)


def _ordered_lowest(values: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the units of the k lowest values of each row, and these with the next, in order."""
    found = tf.math.top_k(-values, tf.minimum(k + 1, tf.shape(values)[1]))
    return found.indices[:, :k], -found.values


def _as_found(lowest: Lowest, norms: tf.Tensor, kind: SearchKind) -> list[tf.Tensor]:
    """Turn the lowest scores into distances."""
    squared = norms + tf.cast(lowest.score, tf.float64)
    squared = tf.where(squared < 0, tf.zeros([], tf.float64), squared)  # NaN stays
    return [lowest.units, kind.metric.from_squares(squared, tf), lowest.is_clear]


def _search_elementwise(
    values: tf.Tensor, operands: Operands, k: tf.Tensor, compiled_rows: tf.Tensor
) -> list[tf.Tensor]:
    """Search a tile among distances that are no product."""
    values = tf.cast(values, tf.float64)
    distances = elementwise_distances(values, operands.codebook, operands.kind, compiled_rows)
    lowest = tf.reduce_min(distances, axis=1)
    noise = elementwise_noise(values, lowest, operands)

    def one() -> list[tf.Tensor]:
        near = within_rounding(distances, lowest[:, None], noise[:, None])
        n_near = tf.math.count_nonzero(near, axis=1)
        return [tf.argmin(distances, axis=1, output_type=tf.int32)[:, None], tf.equal(n_near, 1)]

    def several() -> list[tf.Tensor]:
        units, ordered = _ordered_lowest(distances, k)
        # As the exact search does it: a gap of about the noise must not depend on its rounding.
        near = within_rounding(ordered[:, 1:], ordered[:, :-1], noise[:, None])
        return [units, ~tf.reduce_any(near, axis=1) & tf.math.is_finite(noise)]

    units, is_clear = tf.cond(tf.equal(k, 1), one, several)
    return [units, lowest, is_clear]

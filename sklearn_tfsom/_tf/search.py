"""Best-matching units: those of a float64 search, at the cost of a float32 one, tile by tile.

`nearest` is the one way to find them. Scores are computed in float32, with a bound on their
rounding. Rows for which more than one unit lies within the bound are searched again in float64, by
the tie rule. Distances that are no product are computed in float64 at once.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.sparse import SparseRows
from sklearn_tfsom._data.tiles import row_slices
from sklearn_tfsom._tf.argmin import (
    MAX_COMPILED_UNITS,
    MAX_FUSED_UNITS,
    Lowest,
    compiled_graph,
    fused_graph,
    lowest_of_layers,
)
from sklearn_tfsom._tf.blocks import n_blocks
from sklearn_tfsom._tf.elementwise import elementwise_distances, elementwise_noise
from sklearn_tfsom._tf.exact import search_exactly
from sklearn_tfsom._tf.loading import DenseRows, as_tensor
from sklearn_tfsom._tf.pruning import search_blocks
from sklearn_tfsom._tf.runtime import pays_to_compile, traced_once
from sklearn_tfsom._tf.scores import (
    GRID_MATRIX,
    SCALAR,
    VECTOR,
    Kind,
    Operands,
    Terms,
    as_factors32,
    make_operands,
    rounding_bound32,
    scores_float32,
)
from sklearn_tfsom._tf.small import Found, joined, search_small
from sklearn_tfsom._tf.sparse import COORDINATES_SPECS, coordinates, sparse_product
from sklearn_tfsom._tf.statistics import Nearest, Statistics, sum_by_unit, sum_in_numpy
from sklearn_tfsom._tf.ties import within_rounding
from sklearn_tfsom._tf.tiles import loop_tiles
from sklearn_tfsom._tf.tuning import (
    MAX_ALL_DIFFERENCES,
    MAX_FUSED_FEATURES,
    MAX_PRUNED_FEATURES,
    MAX_SMALL_DIFFERENCES,
    MAX_SMALL_PRODUCTS,
    MAX_SMALL_SCORES,
    MAX_TILE_ROWS,
    MIN_PRUNED,
    MIN_PRUNED_SIDE,
    MIN_TILE_ROWS,
    TILE_SCORES,
)

_NO_WEIGHTS = np.empty(0)

# What a search of a tile returns: units, distances, and whether these are certain.
_FOUND = (
    tf.TensorSpec([None, None], tf.int32),
    tf.TensorSpec([None], tf.float64),
    tf.TensorSpec([None], tf.bool),
)


def nearest(
    rows: DenseRows | SparseRows,
    terms: Terms,
    k: int = 1,
    *,
    weights: NDArray[np.float64] | tf.Tensor | None = None,
    n_tile: int | None = None,
    n_searched: int = 0,
) -> Nearest:
    """Find the k best-matching units of each row.

    Parameters
    ----------
    rows : DenseRows or SparseRows
        Scaled as the codebook of `terms`.
    terms : Terms
    k : int, default=1
    weights : array of float64, shape (n,), default=None
        If given, rows are summed up by their closest unit as well: one graph does both, since
        tracing a second one would take longer than a short fit.
    n_tile : int, default=None
        Rows whose scores a graph computes at a time; no unit depends on it. By default dense rows
        are searched in NumPy.
    n_searched : int, default=0
        Rows that are going to be searched in this way, over all calls and epochs. If they are
        many, XLA compiles the search in full tiles.

    Returns
    -------
    found : Nearest
        Distances come from float32 scores, with their error, where these tell the unit. They are
        valid only if the center of `terms` is 0.
    """
    sums, n_differences = None, rows.norms.shape[0] * terms.codebook.size
    if isinstance(rows, SparseRows):
        found = _search_sparse(rows, terms, k, n_tile)
    elif n_tile is not None:
        found, sums = _search_dense(rows, terms, k, weights, n_tile, n_searched)
    elif terms.kind.metric.is_product and n_differences > MAX_ALL_DIFFERENCES:
        found = search_small(rows, terms, k)
    else:
        found = Found(*search_exactly(rows, terms, k), np.full(len(rows.norms), True))
    units, distances, is_clear = found
    unclear = np.flatnonzero(~is_clear)
    if len(unclear):
        again = rows.take(unclear)
        units, distances = units.copy(), distances.copy()
        units[unclear], distances[unclear] = search_exactly(again, terms, k)
    if weights is None:
        return Nearest(units, distances, None)
    if sums is None:
        sums = sum_in_numpy(rows, weights, units[:, 0], distances, terms)
    elif len(unclear):
        own = np.asarray(weights)[unclear], units[unclear, 0], distances[unclear]
        sums = sums.plus(sum_in_numpy(again, *own, terms))
    return Nearest(units, distances, sums)


def is_small(n_rows: int, codebook: NDArray, kind: Kind) -> bool:
    """Return True if there are so few rows and units that NumPy is faster than calling a graph."""
    n_terms = n_rows * codebook.size
    if not kind.metric.is_product:
        return n_terms <= MAX_SMALL_DIFFERENCES and not kind.has_missing
    n_scores = n_terms // codebook.shape[2]
    return n_scores <= MAX_SMALL_SCORES and n_terms <= MAX_SMALL_PRODUCTS


def tile_rows(n_units: int, n_features: int) -> int:
    """Return the number of rows of a tile: a power of two."""
    rows = TILE_SCORES // max(n_units, n_features)
    rows = min(max(rows, MIN_TILE_ROWS), MAX_TILE_ROWS)
    return int(2 ** (rows.bit_length() - 1))


def search_kind(samples: Samples, codebook: NDArray) -> Kind:
    """Return the kind of search of samples in a codebook on its grid."""
    *sides, n_features = codebook.shape
    n_units, kind = int(np.prod(sides)), Kind(samples.metric, samples.has_missing)
    if samples.is_sparse or not samples.metric.is_product:
        return kind
    is_narrow = n_features <= MAX_FUSED_FEATURES and not samples.has_missing
    if is_narrow and n_units <= MAX_FUSED_UNITS:
        return kind._replace(n_fused=n_features)
    is_large = min(sides) >= MIN_PRUNED_SIDE and min(len(samples), n_units) >= MIN_PRUNED
    return kind._replace(is_pruned=is_large and n_features <= MAX_PRUNED_FEATURES)


def _search_dense(
    rows: DenseRows,
    terms: Terms,
    k: int,
    weights: NDArray[np.float64] | tf.Tensor | None,
    n_tile: int,
    n_searched: int,
) -> tuple[Found, Statistics | None]:
    """Search dense rows in a graph, and sum up the clear ones if there are weights."""
    n_rows, n_columns, n_features = terms.codebook.shape
    n_units, kind = n_rows * n_columns, terms.kind
    # XLA takes the minima of one unit for each row, and those of not too many units.
    n_compared = n_blocks(n_rows, n_columns) if kind.is_pruned else n_units
    is_compiled = (
        (k == 1 or not kind.metric.is_product)
        and n_compared <= MAX_COMPILED_UNITS
        and pays_to_compile(n_searched * n_units, kind, n_features)
    )
    units, distances, is_clear, *sums = map(
        np.asarray,
        _search_graph(kind, tf.as_dtype(rows.values.dtype))(
            *map(as_tensor, (*rows, _NO_WEIGHTS if weights is None else weights)),
            *terms.of_graph(),
            np.array([k, n_tile, n_tile if is_compiled else 0], np.int32),
        ),
    )
    return Found(units, distances, is_clear), None if weights is None else Statistics(*sums)


def _search_sparse(rows: SparseRows, terms: Terms, k: int, n_tile: int | None) -> Found:
    """Search sparse rows in a graph, tile by tile."""
    n_units = terms.codebook.size // terms.codebook.shape[2]
    graph, numbers = _sparse_graph(terms.kind), (float(rows.max_stored()), k)

    def search_tile(tile: slice) -> Found:
        part = rows.take(tile)
        found = graph(*coordinates(part), part.norms, *terms.of_graph(), *numbers)
        return Found(*map(np.asarray, found))

    tiles = row_slices(len(rows.norms), n_tile or max(1, TILE_SCORES // n_units))
    return joined(map(search_tile, tiles))


@traced_once
def _search_graph(kind: Kind, dtype: tf.DType) -> tf.types.experimental.PolymorphicFunction:
    """Make the graph that searches dense rows, and sums up the clear ones by unit."""

    def search(
        values: tf.Tensor,
        norms: tf.Tensor,
        weights: tf.Tensor,
        codebook: tf.Tensor,
        center: tf.Tensor,
        extent: tf.Tensor,
        numbers: tf.Tensor,
    ) -> list[tf.Tensor]:
        k, n_tile, compiled_rows = tf.unstack(numbers, 3)
        operands = make_operands(Terms(kind, codebook, center, extent))

        def search_tile(start: tf.Tensor, stop: tf.Tensor) -> list[tf.Tensor]:
            return _search_tile(values[start:stop], norms[start:stop], operands, k, compiled_rows)

        def tiles() -> list[tf.Tensor]:
            return loop_tiles(search_tile, tf.size(norms), n_tile, _FOUND)

        def blocks() -> list[tf.Tensor]:
            found = search_blocks(values, norms, operands, compiled_rows > 0)
            return _as_found(found, norms, kind)

        found = tf.cond(tf.equal(k, 1), blocks, tiles) if kind.is_pruned else tiles()

        def summed() -> list[tf.Tensor]:
            units, distances, is_clear = found
            # Zeros where a row is not clear: there a distance may not be finite.
            return list(
                sum_by_unit(
                    values,
                    tf.where(is_clear, weights, 0),
                    tf.where(is_clear, units[:, 0], 0),
                    tf.where(is_clear, distances, 0),
                    tf.shape(operands.codebook)[0],
                    kind,
                )
            )

        def nothing() -> list[tf.Tensor]:
            return [tf.zeros([0, 0], tf.float64)] * 2 + [tf.zeros([], tf.float64)]

        return [*found, *tf.cond(tf.size(weights) > 0, summed, nothing)]

    matrix = tf.TensorSpec([None, kind.n_fused or None], dtype)
    signature = [matrix, VECTOR, VECTOR, GRID_MATRIX, VECTOR, SCALAR]
    signature.append(tf.TensorSpec([3], tf.int32))
    return tf.function(search, input_signature=signature, autograph=False)


def _search_tile(
    values: tf.Tensor,
    norms: tf.Tensor,
    operands: Operands,
    k: tf.Tensor,
    compiled_rows: tf.Tensor,
) -> list[tf.Tensor]:
    """Search a tile; return units (n, k), distances (n,) and whether these are certain (n,)."""
    kind = operands.kind
    if not kind.metric.is_product:
        return _search_elementwise(values, operands, k, compiled_rows)
    factors32 = as_factors32(values, kind)
    margin = tf.cast(rounding_bound32(tf, norms, operands.sizes), tf.float32)
    given = operands.bias32, margin

    def plain() -> Lowest:
        return _lowest(scores_float32(factors32, operands), *given, k)

    def compiled() -> Lowest:
        if kind.n_fused:
            return Lowest(*fused_graph(kind.n_fused)(factors32, operands.factors32, *given))
        return Lowest(*compiled_graph()(tf.matmul(factors32, operands.factors32), *given))

    is_compiled = tf.equal(tf.size(norms), compiled_rows) & tf.equal(k, 1)
    return _as_found(tf.cond(is_compiled, compiled, plain), norms, kind)


def _lowest(scores: tf.Tensor, bias: tf.Tensor, margin: tf.Tensor, k: tf.Tensor) -> Lowest:
    """Find the k lowest scores of each row, and whether their order is certain."""
    return tf.cond(
        tf.equal(k, 1),
        lambda: lowest_of_layers(scores, bias, margin),
        lambda: _several_lowest(scores, margin, k),
    )


def _several_lowest(scores: tf.Tensor, margin: tf.Tensor, k: tf.Tensor) -> Lowest:
    found = tf.math.top_k(-scores, tf.minimum(k + 1, tf.shape(scores)[1]))
    gaps = found.values[:, :-1] - found.values[:, 1:]
    is_clear = (tf.reduce_min(gaps, axis=1) > margin) & tf.math.is_finite(margin)
    return Lowest(found.indices[:, :k], -found.values[:, 0], is_clear)


def _as_found(lowest: Lowest, norms: tf.Tensor, kind: Kind) -> list[tf.Tensor]:
    """Turn the lowest scores into distances."""
    squared = norms + tf.cast(lowest.score, tf.float64)
    squared = tf.where(squared < 0, tf.zeros([], tf.float64), squared)  # NaN stays
    distances = squared / 2 if kind.metric.is_spherical else tf.sqrt(squared)
    return [lowest.units, distances, lowest.is_clear]


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
        units, _, is_clear = _several_lowest(distances, noise, k)
        return [units, is_clear]

    units, is_clear = tf.cond(tf.equal(k, 1), one, several)
    return [units, lowest, is_clear]


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
        products = sparse_product(index, values, shape, operands.factors32)
        scores = tf.nn.bias_add(products, tf.reshape(operands.bias32, [-1]))
        return _as_found(_lowest(scores, operands.bias32, margin, k), norms, kind)

    signature = [*COORDINATES_SPECS, VECTOR, GRID_MATRIX, VECTOR, SCALAR, SCALAR]
    signature.append(tf.TensorSpec([], tf.int32))
    return tf.function(search, input_signature=signature, autograph=False)

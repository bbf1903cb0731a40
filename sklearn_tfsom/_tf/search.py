"""Best-matching units: those of a float64 search, at the price of float32, tile by tile.

`nearest` is the one way to find them. Scores are computed in float32, with a bound on their
rounding. Rows for which more than one unit lies within the bound are resolved from differences in
float64, by the tie rule. Distances that are no product are computed in float64 at once.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.tiles import row_slices
from sklearn_tfsom._tf.argmin import Lowest, compiled_graph, fused_graph, lowest_of_layers
from sklearn_tfsom._tf.elementwise import elementwise_distances, elementwise_noise
from sklearn_tfsom._tf.loading import DenseRows, as_tensor
from sklearn_tfsom._tf.pruning import search_blocks
from sklearn_tfsom._tf.runtime import traced_once
from sklearn_tfsom._tf.scores import (
    GRID_MATRIX,
    SCALAR,
    VECTOR,
    Kind,
    Operands,
    Terms,
    as_factors32,
    known_values,
    make_operands,
    rounding_bound,
    rounding_bound32,
    scores_float32,
    scores_float64,
)
from sklearn_tfsom._tf.small import search_small
from sklearn_tfsom._tf.sparse import COORDINATES_SPECS, SparseRows, sparse_product
from sklearn_tfsom._tf.statistics import Nearest, Statistics, sum_by_unit, sum_sparse_by_unit
from sklearn_tfsom._tf.ties import NOISE, first_within_rounding
from sklearn_tfsom._tf.tiles import loop_tiles
from sklearn_tfsom._tf.tuning import (
    CANDIDATE_VALUES,
    MAX_CANDIDATES,
    MAX_FUSED_FEATURES,
    MAX_PRUNED_FEATURES,
    MAX_SMALL_DIFFERENCES,
    MAX_TILE_ROWS,
    MIN_PRUNED,
    MIN_PRUNED_SIDE,
    MIN_TILE_ROWS,
    SPARSE_VALUES,
    TILE_SCORES,
    TILE_VALUES,
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
    is_compiled: bool = False,
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
        tracing a second one would take longer than many a fit.
    n_tile : int, default=None
        Rows whose scores are computed at a time. By default `tile_rows`, or few rows in NumPy; no
        result depends on it.
    is_compiled : bool, default=False
        Whether XLA compiles the search in full tiles.

    Returns
    -------
    found : Nearest
        Distances come from float32 scores, with their error, where these tell the unit. They are
        valid only if the center of `terms` is 0.
    """
    *shape, n_features = terms.codebook.shape
    n_units = int(np.prod(shape))
    if isinstance(rows, SparseRows):
        return _nearest_sparse(rows, terms, k, weights, n_tile or tile_rows(n_units, 1))
    if n_tile is None and is_small(rows.norms.shape[0], terms.codebook):
        found = search_small(rows, terms, k, weights)
        if found is not None:
            return found
    n_tile = n_tile or tile_rows(n_units, n_features)
    graph = _search_graph(terms.kind, tf.as_dtype(rows.values.dtype))
    units, distances, *sums = graph(
        *map(as_tensor, (*rows, _NO_WEIGHTS if weights is None else weights)),
        *(np.asarray(part, np.float64) for part in terms[1:]),
        np.array([k, n_tile, n_tile if is_compiled else 0], np.int32),
    )
    statistics = None if weights is None else Statistics(*map(np.asarray, sums))
    return Nearest(np.asarray(units), np.asarray(distances), statistics)


def is_small(n_rows: int, codebook: NDArray) -> bool:
    """Return True if rows and a codebook are so few that NumPy is faster than calling a graph."""
    return n_rows * codebook.size <= MAX_SMALL_DIFFERENCES


def tile_rows(n_units: int, n_features: int) -> int:
    """Return the number of rows of a tile: a power of two."""
    rows = min(max(TILE_SCORES // n_units, MIN_TILE_ROWS), MAX_TILE_ROWS)
    rows = min(rows, max(MIN_TILE_ROWS, TILE_VALUES // n_features))
    return int(2 ** (rows.bit_length() - 1))


def pays_to_prune(n_rows: int, codebook_shape: tuple[int, ...]) -> bool:
    """Return True if a codebook on its grid is large enough for a search in blocks."""
    *sides, n_features = codebook_shape
    is_large = min(sides) >= MIN_PRUNED_SIDE and min(n_rows, int(np.prod(sides))) >= MIN_PRUNED
    return is_large and n_features <= MAX_PRUNED_FEATURES


def search_kind(samples: Samples, codebook: NDArray, *, is_compiled: bool = False) -> Kind:
    """Return the kind of search of samples in a codebook on its grid."""
    kind, n_features = Kind(samples.metric, samples.has_missing), codebook.shape[2]
    if samples.is_sparse or not samples.metric.is_product:
        return kind
    if is_compiled and n_features <= MAX_FUSED_FEATURES and not samples.has_missing:
        return kind._replace(n_fused=n_features)
    return kind._replace(is_pruned=pays_to_prune(len(samples), codebook.shape))


@traced_once
def _search_graph(kind: Kind, dtype: tf.DType) -> tf.types.experimental.PolymorphicFunction:
    def search(
        values: tf.Tensor,
        norms: tf.Tensor,
        weights: tf.Tensor,
        codebook: tf.Tensor,
        center: tf.Tensor,
        extent: tf.Tensor,
        numbers: tf.Tensor,
    ) -> list[tf.Tensor]:
        rows = DenseRows(values, norms)
        k, n_tile, compiled_rows = tf.unstack(numbers, 3)
        operands = make_operands(Terms(kind, codebook, center, extent))
        units, distances = _search_tiles(rows, operands, k, n_tile, compiled_rows)

        def summed() -> list[tf.Tensor]:
            return list(sum_by_unit(values, weights, units, distances, operands.n_units, kind))

        def nothing() -> list[tf.Tensor]:
            return [tf.zeros([0, 0], tf.float64)] * 2 + [tf.zeros([], tf.float64)]

        return [units, distances, *tf.cond(tf.size(weights) > 0, summed, nothing)]

    matrix = tf.TensorSpec([None, kind.n_fused or None], dtype)
    signature = [matrix, VECTOR, VECTOR, GRID_MATRIX, VECTOR, SCALAR]
    signature.append(tf.TensorSpec([3], tf.int32))
    return tf.function(search, input_signature=signature, autograph=False)


def _search_tiles(
    rows: DenseRows,
    operands: Operands,
    k: tf.Tensor,
    n_tile: tf.Tensor,
    compiled_rows: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the k closest units of rows; return units (n, k) and distances (n,)."""
    kind, n_rows = operands.kind, tf.shape(rows.norms)[0]

    def elementwise_tile(start: tf.Tensor, stop: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _search_elementwise(rows.values[start:stop], operands, k, compiled_rows)

    def tile(start: tf.Tensor, stop: tf.Tensor) -> list[tf.Tensor]:
        return _search_tile(rows.take(slice(start, stop)), operands, compiled_rows)

    def one() -> list[tf.Tensor]:
        if kind.is_pruned:
            found = search_blocks(*rows, operands, compiled_rows > 0)
            return [found.units, _distances(rows.norms, found.score, kind), found.is_clear]
        return loop_tiles(tile, n_rows, n_tile, _FOUND)

    def several() -> list[tf.Tensor]:
        """Leave all rows to `resolve`."""
        return [
            tf.zeros([n_rows, k], tf.int32),
            tf.zeros([n_rows], tf.float64),
            tf.zeros([n_rows], tf.bool),
        ]

    if not kind.metric.is_product:
        units, distances = loop_tiles(elementwise_tile, n_rows, n_tile, _FOUND[:2])
        return units, distances
    found = tf.cond(tf.equal(k, 1), one, several)
    return _with_resolved(rows, operands, k, n_tile, found)


def _search_tile(rows: DenseRows, operands: Operands, compiled_rows: tf.Tensor) -> list[tf.Tensor]:
    """Search a tile; return units (n, 1), distances (n,) and whether these are certain (n,)."""
    kind = operands.kind
    factors32 = as_factors32(rows.values, kind)
    margin = tf.cast(rounding_bound32(rows.norms, operands), tf.float32)

    def plain() -> Lowest:
        return lowest_of_layers(scores_float32(factors32, operands), operands.bias32, margin)

    def compiled() -> Lowest:
        given = operands.factors32, operands.bias32, margin
        if kind.n_fused:
            return Lowest(*fused_graph(kind.n_fused)(factors32, *given))
        return Lowest(*compiled_graph()(tf.matmul(factors32, given[0]), *given[1:]))

    found = tf.cond(tf.equal(tf.shape(rows.norms)[0], compiled_rows), compiled, plain)
    return [found.units, _distances(rows.norms, found.score, kind), found.is_clear]


def _search_elementwise(
    values: tf.Tensor, operands: Operands, k: tf.Tensor, compiled_rows: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Search a tile among distances that are no product; return units (n, k) and distances."""
    values = tf.cast(values, tf.float64)
    distances = elementwise_distances(values, operands.codebook, operands.kind, compiled_rows)
    noise = elementwise_noise(values, tf.reduce_min(distances, axis=1), operands)
    return first_within_rounding(distances, noise, k)


def _distances(norms: tf.Tensor, score: tf.Tensor, kind: Kind) -> tf.Tensor:
    """Turn scores into distances."""
    squared = norms + tf.cast(score, tf.float64)
    squared = tf.where(squared < 0, tf.zeros([], tf.float64), squared)  # NaN stays
    return squared / 2 if kind.metric.is_spherical else tf.sqrt(squared)


def _with_resolved(
    rows: DenseRows, operands: Operands, k: tf.Tensor, n_tile: tf.Tensor, found: list[tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Resolve the rows that are not clear, of all tiles together."""
    units, distances, is_clear = found
    unclear = tf.where(~is_clear)

    def of_tile(start: tf.Tensor, stop: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        index = unclear[start:stop, 0]
        values, norms = (tf.cast(tf.gather(part, index), tf.float64) for part in rows)
        return resolve(DenseRows(values, norms), operands, k)

    def resolved() -> tuple[tf.Tensor, tf.Tensor]:
        again = loop_tiles(of_tile, tf.shape(unclear)[0], n_tile, _FOUND[:2])
        return (
            tf.tensor_scatter_nd_update(units, unclear, again[0]),
            tf.tensor_scatter_nd_update(distances, unclear, again[1]),
        )

    return tf.cond(tf.size(unclear) > 0, resolved, lambda: (units, distances))


def resolve(rows: DenseRows, operands: Operands, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the k best-matching units of rows for which float32 scores are too close.

    Scores choose candidates, and the distances of these, from differences, decide by the tie rule.
    A difference from a sample that is far from the map is less exact than a score: there the
    distance less the norm of the sample decides, which is half a score divided by the norm.
    """
    values, norms = rows
    pairs, scores = _candidates(rows, operands, k)
    row, unit = tf.unstack(pairs, axis=1)
    length, is_far = tf.sqrt(norms), norms > tf.square(operands.far)
    distances = tf.where(
        tf.gather(is_far, row),
        scores / (2 * tf.gather(length, row)),
        tf.sqrt(_squared_differences(values, operands.codebook, row, unit)),
    )
    noise = tf.where(
        is_far,
        rounding_bound(norms, operands, 2.0**-53) / (2 * length),
        NOISE * (length + operands.extent),
    )
    infinite = tf.fill([tf.shape(norms)[0], operands.n_units], tf.constant(np.inf, tf.float64))
    among_all = tf.tensor_scatter_nd_update(infinite, pairs, distances)
    units, lowest = first_within_rounding(among_all, noise, k)
    far_squared = tf.maximum(norms + 2 * length * lowest, 0)
    squared = tf.where(is_far, far_squared, tf.square(lowest))
    return units, squared / 2 if operands.kind.metric.is_spherical else tf.sqrt(squared)


def _candidates(rows: DenseRows, operands: Operands, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the units that may be among the k closest: pairs (row, unit), and their scores.

    Float32 scores choose them, and are not returned, where these leave a few close units for each
    row; else float64 scores.
    """
    values, norms = rows

    def within(scores: tf.Tensor, bound: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        limit = -tf.math.top_k(-scores, k).values[:, -1] + bound
        return tf.where(scores <= limit[:, None]), limit

    scores32 = scores_float32(as_factors32(values, operands.kind), operands)[:, : operands.n_units]
    pairs, limit = within(tf.cast(scores32, tf.float64), rounding_bound32(norms, operands))
    is_close = tf.math.is_finite(limit) & (norms <= tf.square(operands.far))
    are_few = tf.shape(pairs)[0] <= MAX_CANDIDATES * k * tf.shape(norms)[0]

    def by_float64() -> tuple[tf.Tensor, tf.Tensor]:
        scores = scores_float64(values, operands)
        pairs, _ = within(scores, rounding_bound(norms, operands, 2.0**-53))
        return pairs, tf.gather_nd(scores, pairs)

    return tf.cond(
        tf.reduce_all(is_close) & are_few,
        lambda: (pairs, tf.zeros_like(pairs[:, 0], tf.float64)),
        by_float64,
    )


def _squared_differences(
    values: tf.Tensor, codebook: tf.Tensor, row: tf.Tensor, unit: tf.Tensor
) -> tf.Tensor:
    """Compute the squared distances of pairs of a row and a unit from differences, in chunks."""

    def of_chunk(start: tf.Tensor, stop: tf.Tensor) -> tuple[tf.Tensor]:
        differences = tf.gather(values, row[start:stop]) - tf.gather(codebook, unit[start:stop])
        return (tf.reduce_sum(tf.square(known_values(differences)), axis=1),)

    n_chunk = tf.maximum(1, CANDIDATE_VALUES // tf.shape(codebook)[1])
    (squared,) = loop_tiles(of_chunk, tf.shape(row)[0], n_chunk, (VECTOR,))
    return squared


def _nearest_sparse(
    rows: SparseRows,
    terms: Terms,
    k: int,
    weights: NDArray[np.float64] | None,
    n_tile: int,
) -> Nearest:
    """Find the k best-matching units of sparse rows.

    Rows that are not clear are searched as dense ones, some at a time.
    """
    n_rows, n_features = rows.matrix.shape
    units, distances = np.empty((n_rows, k), np.int32), np.empty(n_rows)
    is_clear = np.zeros(n_rows, dtype=bool)
    graph, values = _sparse_graph(terms.kind), [np.asarray(p, np.float64) for p in terms[1:]]
    for tile in row_slices(n_rows, n_tile):
        part = rows.take(tile)
        found = graph(*part.coordinates(np.float32), part.norms, *values, rows.max_stored(), k)
        units[tile], distances[tile], is_clear[tile] = map(np.asarray, found)
    unclear = np.flatnonzero(~is_clear)
    for some in row_slices(len(unclear), max(1, SPARSE_VALUES // n_features)):
        again = nearest(rows.take(unclear[some]).dense(), terms, k)
        units[unclear[some]], distances[unclear[some]], _ = again
    if weights is None:
        return Nearest(units, distances, None)
    n_units = terms.codebook.size // n_features
    closest = units[:, 0].astype(np.int64)
    sums = sum_sparse_by_unit(rows, weights, closest, distances, n_units)
    return Nearest(units, distances, sums)


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
        margin = tf.cast(rounding_bound32(norms, operands), tf.float32)
        products = sparse_product(index, values, shape, operands.factors32)
        scores = tf.nn.bias_add(products, tf.reshape(operands.bias32, [-1]))

        def one() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            return tuple(lowest_of_layers(scores, operands.bias32, margin))

        def several() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            found = tf.math.top_k(-scores, k + 1)
            gaps = found.values[:, :-1] - found.values[:, 1:]
            is_clear = tf.reduce_min(gaps, axis=1) > margin
            return found.indices[:, :-1], -found.values[:, 0], is_clear

        units, score, is_clear = tf.cond(tf.equal(k, 1), one, several)
        return [units, _distances(norms, score, kind), is_clear]

    signature = [*COORDINATES_SPECS, VECTOR, GRID_MATRIX, VECTOR, SCALAR, SCALAR]
    signature.append(tf.TensorSpec([], tf.int32))
    return tf.function(search, input_signature=signature, autograph=False)

"""Best-matching units: those of a float64 search, at the price of float32, tile by tile.

`nearest` is the one way to find them. Scores are computed in float32, with a bound on their
rounding. Rows for which more than one unit lies within the bound are resolved from differences in
float64, by the tie rule. Distances that are no product are computed in float64 at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sklearn_tfsom._data.tiles import row_slices
from sklearn_tfsom._tf.argmin import Lowest, lowest_of_layers
from sklearn_tfsom._tf.elementwise import elementwise_distances, elementwise_noise
from sklearn_tfsom._tf.pruning import compiled_graph, fused_graph, search_blocks
from sklearn_tfsom._tf.runtime import traced_once
from sklearn_tfsom._tf.scores import (
    MATRIX,
    VECTOR,
    Kind,
    Terms,
    as_factors32,
    known_values,
    rounding_bound,
    rounding_bound32,
    scores_float32,
    scores_float64,
)
from sklearn_tfsom._tf.sparse import SparseRows
from sklearn_tfsom._tf.ties import NOISE, first_within_rounding
from sklearn_tfsom._tf.tiles import loop_tiles
from sklearn_tfsom._tf.tuning import (
    CANDIDATE_VALUES,
    MAX_CANDIDATES,
    MAX_PRUNED_FEATURES,
    MAX_TILE_ROWS,
    MIN_PRUNED,
    MIN_PRUNED_SIDE,
    MIN_TILE_ROWS,
    SPARSE_VALUES,
    TILE_SCORES,
    TILE_VALUES,
)

_MATRIX32 = tf.TensorSpec([None, None], tf.float32)
_NUMBER = tf.TensorSpec([], tf.int32)

# What a search of a tile returns: units, distances, and whether these are certain.
_FOUND = (
    tf.TensorSpec([None, None], tf.int32),
    tf.TensorSpec([None], tf.float64),
    tf.TensorSpec([None], tf.bool),
)


class DenseRows(NamedTuple):
    """Scaled samples as tensors."""

    values: tf.Tensor  # (n, n_features) float32 or float64; NaN where missing
    norms: tf.Tensor  # (n,) float64: squared norms over the known features

    def slice(self, rows: slice) -> DenseRows:
        """Return some of the rows."""
        return DenseRows(self.values[rows], self.norms[rows])


class Nearest(NamedTuple):
    """The best-matching units of some rows."""

    units: tf.Tensor  # (n, k) int32, the closest first
    distances: tf.Tensor  # (n,) float64, to the closest; not finite beyond the range of float64


def nearest(
    rows: DenseRows | SparseRows,
    terms: Terms,
    k: int = 1,
    *,
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
    n_tile : int, default=None
        Rows whose scores are computed at a time, by default `tile_rows`; no result depends on it.
    is_compiled : bool, default=False
        Whether XLA compiles the search in full tiles.

    Returns
    -------
    found : Nearest
        Distances come from float32 scores, with their error, where these tell the unit. They are
        valid only if the center of `terms` is 0.
    """
    n_units, n_features = terms.codebook.shape
    if isinstance(rows, SparseRows):
        return _nearest_sparse(rows, terms, k, n_tile or tile_rows(n_units, 1))
    n_tile = n_tile or tile_rows(n_units, n_features)
    graph = _nearest_graph(terms.kind, rows.values.dtype)
    numbers = (tf.constant(n) for n in (k, n_tile, n_tile if is_compiled else 0))
    return Nearest(*graph(*rows, *numbers, *terms.tensors()))


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


@traced_once
def _nearest_graph(kind: Kind, dtype: tf.DType) -> tf.types.experimental.PolymorphicFunction:
    def nearest_rows(
        values: tf.Tensor,
        norms: tf.Tensor,
        k: tf.Tensor,
        n_tile: tf.Tensor,
        compiled_rows: tf.Tensor,
        *tensors: tf.Tensor,
    ) -> list[tf.Tensor]:
        rows, terms = DenseRows(values, norms), Terms.of_tensors(kind, list(tensors))
        n_rows = tf.shape(norms)[0]

        def one() -> list[tf.Tensor]:
            if kind.is_pruned:
                units, score, is_clear = search_blocks(values, norms, terms, compiled_rows > 0)
                return [units, _distances(norms, score, kind), is_clear]
            return loop_tiles(
                lambda start, stop: _search_tile(
                    rows.slice(slice(start, stop)), terms, compiled_rows
                ),
                n_rows,
                n_tile,
                _FOUND,
            )

        def several() -> list[tf.Tensor]:
            """Leave all rows to `resolve`."""
            return [
                tf.zeros([n_rows, k], tf.int32),
                tf.zeros([n_rows], tf.float64),
                tf.zeros([n_rows], tf.bool),
            ]

        if not kind.metric.is_product:
            return loop_tiles(
                lambda start, stop: _search_elementwise(
                    values[start:stop], terms, k, compiled_rows
                ),
                n_rows,
                n_tile,
                _FOUND[:2],
            )
        found = tf.cond(tf.equal(k, 1), one, several)
        return list(_with_resolved(rows, terms, k, n_tile, found))

    values_spec = tf.TensorSpec([None, kind.n_fused or None], dtype)
    signature = [values_spec, VECTOR, *[_NUMBER] * 3, *Terms.specs(kind)]
    return tf.function(nearest_rows, input_signature=signature, autograph=False)


def nearest_in_graph(rows: DenseRows, terms: Terms) -> Nearest:
    """Find the best-matching unit of each row of a single tile, within a graph."""
    if not terms.kind.metric.is_product:
        return Nearest(*_search_elementwise(rows.values, terms, tf.constant(1), tf.constant(0)))
    found = _search_tile(rows, terms, None)
    return _with_resolved(rows, terms, tf.constant(1), tf.shape(rows.norms)[0], found)


def _search_tile(
    rows: DenseRows, terms: Terms, compiled_rows: tf.Tensor | None
) -> list[tf.Tensor]:
    """Search a tile; return units (n, 1), distances (n,) and whether these are certain (n,)."""
    kind = terms.kind
    factors32 = as_factors32(rows.values, kind)
    margin = tf.cast(rounding_bound32(rows.norms, terms), tf.float32)

    def plain() -> Lowest:
        return lowest_of_layers(scores_float32(factors32, terms), terms.bias32, margin)

    def compiled() -> Lowest:
        given = terms.factors32, terms.bias32, margin
        if kind.n_fused:
            return Lowest(*fused_graph(kind.n_fused)(factors32, *given))
        return Lowest(*compiled_graph()(tf.matmul(factors32, given[0]), *given[1:]))

    if compiled_rows is None:
        found = plain()
    else:
        found = tf.cond(tf.equal(tf.shape(rows.norms)[0], compiled_rows), compiled, plain)
    return [found.units, _distances(rows.norms, found.score, kind), found.is_clear]


def _search_elementwise(
    values: tf.Tensor, terms: Terms, k: tf.Tensor, compiled_rows: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Search a tile among distances that are no product; return units (n, k) and distances."""
    values = tf.cast(values, tf.float64)
    distances = elementwise_distances(values, terms.codebook, terms.kind, compiled_rows)
    noise = elementwise_noise(values, tf.reduce_min(distances, axis=1), terms)
    return first_within_rounding(distances, noise, k)


def _distances(norms: tf.Tensor, score: tf.Tensor, kind: Kind) -> tf.Tensor:
    """Turn scores into distances."""
    squared = norms + tf.cast(score, tf.float64)
    squared = tf.where(squared < 0, tf.zeros([], tf.float64), squared)  # NaN stays
    return squared / 2 if kind.metric.is_spherical else tf.sqrt(squared)


def _with_resolved(
    rows: DenseRows, terms: Terms, k: tf.Tensor, n_tile: tf.Tensor, found: list[tf.Tensor]
) -> Nearest:
    """Resolve the rows that are not clear, of all tiles together."""
    units, distances, is_clear = found
    unclear = tf.where(~is_clear)

    def of_tile(start: tf.Tensor, stop: tf.Tensor) -> list[tf.Tensor]:
        index = unclear[start:stop, 0]
        values, norms = (tf.cast(tf.gather(part, index), tf.float64) for part in rows)
        return _resolve_graph(terms.kind)(values, norms, k, *terms.tensors())

    def resolved() -> Nearest:
        again = loop_tiles(of_tile, tf.shape(unclear)[0], n_tile, _FOUND[:2])
        return Nearest(
            tf.tensor_scatter_nd_update(units, unclear, again[0]),
            tf.tensor_scatter_nd_update(distances, unclear, again[1]),
        )

    return tf.cond(tf.size(unclear) > 0, resolved, lambda: Nearest(units, distances))


@traced_once
def _resolve_graph(kind: Kind) -> tf.types.experimental.PolymorphicFunction:
    def resolved(
        values: tf.Tensor, norms: tf.Tensor, k: tf.Tensor, *tensors: tf.Tensor
    ) -> list[tf.Tensor]:
        return list(resolve(DenseRows(values, norms), Terms.of_tensors(kind, list(tensors)), k))

    signature = [MATRIX, VECTOR, _NUMBER, *Terms.specs(kind)]
    # Not inlined: it is optimized once for all graphs that call it, and only if it is needed.
    return tf.function(
        resolved,
        input_signature=signature,
        autograph=False,
        experimental_attributes={"_noinline": True},
    )


def resolve(rows: DenseRows, terms: Terms, k: tf.Tensor) -> Nearest:
    """Find the k best-matching units of rows for which float32 scores are too close.

    Scores choose candidates, and the distances of these, from differences, decide by the tie rule.
    A difference from a sample that is far from the map is less exact than a score: there the
    distance less the norm of the sample decides, which is half a score divided by the norm.
    """
    values, norms = rows
    pairs, scores = _candidates(rows, terms, k)
    row, unit = tf.unstack(pairs, axis=1)
    length, is_far = tf.sqrt(norms), norms > tf.square(terms.far)
    distances = tf.where(
        tf.gather(is_far, row),
        scores / (2 * tf.gather(length, row)),
        tf.sqrt(_squared_differences(values, terms.codebook, row, unit)),
    )
    noise = tf.where(
        is_far,
        rounding_bound(norms, terms, 2.0**-53) / (2 * length),
        NOISE * (length + terms.extent),
    )
    infinite = tf.fill([tf.shape(norms)[0], terms.n_units], tf.constant(np.inf, tf.float64))
    among_all = tf.tensor_scatter_nd_update(infinite, pairs, distances)
    units, lowest = first_within_rounding(among_all, noise, k)
    far_squared = tf.maximum(norms + 2 * length * lowest, 0)
    squared = tf.where(is_far, far_squared, tf.square(lowest))
    return Nearest(units, squared / 2 if terms.kind.metric.is_spherical else tf.sqrt(squared))


def _candidates(rows: DenseRows, terms: Terms, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the units that may be among the k closest: pairs (row, unit), and their scores.

    Float32 scores choose them, and are not returned, where these leave a few close units for each
    row; else float64 scores.
    """
    values, norms = rows

    def within(scores: tf.Tensor, bound: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        limit = -tf.math.top_k(-scores, k).values[:, -1] + bound
        return tf.where(scores <= limit[:, None]), limit

    scores32 = scores_float32(as_factors32(values, terms.kind), terms)[:, : terms.n_units]
    pairs, limit = within(tf.cast(scores32, tf.float64), rounding_bound32(norms, terms))
    is_close = tf.math.is_finite(limit) & (norms <= tf.square(terms.far))
    are_few = tf.shape(pairs)[0] <= MAX_CANDIDATES * k * tf.shape(norms)[0]

    def by_float64() -> tuple[tf.Tensor, tf.Tensor]:
        scores = scores_float64(values, terms)
        pairs, _ = within(scores, rounding_bound(norms, terms, 2.0**-53))
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


def _nearest_sparse(rows: SparseRows, terms: Terms, k: int, n_tile: int) -> Nearest:
    """Find the k best-matching units of sparse rows.

    TensorFlow's CSR matrices cannot be arguments of a graph, so the loop over tiles is here. Rows
    that are not clear are resolved as dense ones, some at a time.
    """
    n_rows, n_features = rows.matrix.shape
    number, tensors = tf.constant(k), terms.tensors()
    units, distances = np.empty((n_rows, k), np.int32), np.empty(n_rows)
    is_clear = np.zeros(n_rows, dtype=bool)
    graph = _sparse_tile_graph(terms.kind)
    for tile in row_slices(n_rows, n_tile):
        part = rows.take(tile)
        found = graph(part.products(terms.factors32), part.norms, number, *tensors)
        units[tile], distances[tile], is_clear[tile] = (part.numpy() for part in found)
    unclear = np.flatnonzero(~is_clear)
    for some in row_slices(len(unclear), max(1, SPARSE_VALUES // n_features)):
        dense = rows.take(unclear[some]).dense()
        again = _resolve_graph(terms.kind)(*dense, number, *tensors)
        units[unclear[some]], distances[unclear[some]] = (part.numpy() for part in again)
    return Nearest(units, distances)


@traced_once
def _sparse_tile_graph(kind: Kind) -> tf.types.experimental.PolymorphicFunction:
    def search(
        products: tf.Tensor, norms: tf.Tensor, k: tf.Tensor, *tensors: tf.Tensor
    ) -> list[tf.Tensor]:
        terms = Terms.of_tensors(kind, list(tensors))
        margin = tf.cast(rounding_bound32(norms, terms), tf.float32)
        scores = tf.nn.bias_add(products, tf.reshape(terms.bias32, [-1]))

        def one() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            return tuple(lowest_of_layers(scores, terms.bias32, margin))

        def several() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            found = tf.math.top_k(-scores, k + 1)
            gaps = found.values[:, :-1] - found.values[:, 1:]
            is_clear = tf.reduce_min(gaps, axis=1) > margin
            return found.indices[:, :-1], -found.values[:, 0], is_clear

        units, score, is_clear = tf.cond(tf.equal(k, 1), one, several)
        return [units, _distances(norms, score, kind), is_clear]

    signature = [_MATRIX32, VECTOR, _NUMBER, *Terms.specs(kind)]
    return tf.function(search, input_signature=signature, autograph=False)

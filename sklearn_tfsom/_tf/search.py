"""Best-matching units: those of a float64 search, at float32's price, tile by tile."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import tensorflow as tf

from sklearn_tfsom._tf.absolute import absolute_distances, is_absolute, search_absolute, try_out
from sklearn_tfsom._tf.exact import (
    FUSED_LAYERS,
    Bounds,
    Terms,
    competitors,
    competitors_float64,
    decide,
    rounding32,
    scores_float32,
    scores_float64,
)
from sklearn_tfsom._tf.frame import as_distances, spread_out
from sklearn_tfsom._tf.graphs import is_worth_compiling, is_worth_fusing, tile_by_tile

if TYPE_CHECKING:
    from sklearn_tfsom._samples import Samples

# Scores of one tile, (tile rows x n_units) in float32, should stay in the cache: 8 MiB.
_TILE_SCORES = 2**21
_MIN_TILE_ROWS, _MAX_TILE_ROWS = 64, 8192

# Values of a tile, at most: 8 MiB of float32. At 784 features an epoch takes 100 ms in such tiles,
# 105 in those that 400 units allow.
_TILE_VALUES = 2**21


def tile_rows(n_units: int, n_features: int = 1) -> int:
    """Rows per tile: a power of two, so that tiles of an aligned array are aligned."""
    rows = min(max(_TILE_SCORES // n_units, _MIN_TILE_ROWS), _MAX_TILE_ROWS)
    rows = min(rows, max(_MIN_TILE_ROWS, _TILE_VALUES // n_features))
    return 2 ** (rows.bit_length() - 1)


_N_BOUNDS = len(Bounds._fields) - 1  # tensors


class Tiling(NamedTuple):
    """How a search goes tile by tile."""

    n_tile: int  # rows per tile
    compiled_rows: int  # XLA compiles the search in tiles of this many rows; 0 for none
    n_fused: int  # the number of features, where `bmus_by_lane` searches them; else 0

    @classmethod
    def of(cls, samples: Samples, n_tile: int, n_units: int, n_samples: int) -> Tiling | None:
        """Decide how so many of the samples are searched; None for a single tile."""
        if n_samples <= n_tile:
            return None
        n_features = samples.shape[1]
        is_plain = not is_absolute(samples.geometry) and not samples.has_missing
        if is_plain and is_worth_fusing((n_tile, n_units, n_features), n_samples):
            return cls(n_tile, n_tile, n_features)
        if is_absolute(samples.geometry):
            is_worth = is_worth_compiling((n_tile, n_units, n_features), n_samples, try_out)
        else:
            is_worth = is_worth_compiling((n_tile, n_units), n_samples)
        return cls(n_tile, n_tile if is_worth else 0, 0)

    def inputs(self) -> list[tf.Tensor]:
        """Return what a graph is told of it."""
        return [tf.constant(self.n_tile), tf.constant(self.compiled_rows)]


def bmus_by_score(scores: tf.Tensor, margin: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Find the lowest of each row of scores, and whether another comes within the margin.

    In two levels: the minimum over all layers for each lane, which is one vector instruction for
    16 scores, then the lane and the layer where the lowest stands. Only the first level touches
    all scores, and no argmin is needed, which compares one by one. Under XLA an epoch's search
    thus takes 3 ms at 100,000 samples and 400 units where an argmin in TensorFlow takes 8.

    Parameters
    ----------
    scores : Tensor of float32, shape (n, n_layers, n_lanes)
        Unit u stands in layer ``u // n_lanes``, lane ``u % n_lanes``.
    margin : Tensor of float32, shape (n,)

    Returns
    -------
    units : Tensor of int32, shape (n,)
        Meaningless where not clear.
    lowest : Tensor of float32, shape (n,)
    is_clear : Tensor of bool, shape (n,)
        False where another score is within the margin, or the margin is not finite.
    """

    def layers_of(lane: tf.Tensor) -> tf.Tensor:
        return tf.gather(scores, lane, axis=2, batch_dims=1)

    return _lowest_of(tf.reduce_min(scores, axis=1), layers_of, margin)


def bmus_by_lane(
    rows: tf.Tensor, factors: tf.Tensor, bias: tf.Tensor, margin: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Do as `bmus_by_score` for few features, without ever writing scores down.

    A product of so few terms waits for the memory that its result goes to. Written out layer by
    layer, under XLA the score of a lane never leaves the register in which it is compared, and the
    layers of the one lane found are computed again. At 200,000 x 3 that takes 11 ms of CPU time
    instead of 24 for 256 units, and 25 instead of 130 for 1,024; from 16 features on it is slower.

    Parameters
    ----------
    rows : Tensor of float32, shape (n, n_features)
        The number of features is known when the graph is traced.
    factors : Tensor of float32, shape (n_features, FUSED_LAYERS * n_lanes)
    bias : Tensor of float32, shape (FUSED_LAYERS * n_lanes,)
    margin : Tensor of float32, shape (n,)

    Returns
    -------
    units, lowest, is_clear
        As by `bmus_by_score`.
    """
    n_features = rows.shape[1]
    factors = tf.reshape(factors, [n_features, FUSED_LAYERS, -1])
    bias = tf.reshape(bias, [FUSED_LAYERS, -1])
    by_lane = tf.transpose(bias), [tf.transpose(each) for each in tf.unstack(factors)]

    def layer(number: int) -> tf.Tensor:
        products = (rows[:, f, None] * factors[f, number] for f in range(n_features))
        return functools.reduce(tf.add, products) + bias[number]  # last, as `rounding` has it

    def layers_of(lane: tf.Tensor) -> tf.Tensor:
        columns = (tf.gather(column, lane) for column in by_lane[1])
        products = (rows[:, f, None] * column for f, column in enumerate(columns))
        return functools.reduce(tf.add, products) + tf.gather(by_lane[0], lane)

    lane_lowest = functools.reduce(tf.minimum, map(layer, range(FUSED_LAYERS)))
    return _lowest_of(lane_lowest, layers_of, margin)


def _lowest_of(
    lane_lowest: tf.Tensor, layers_of: Callable[[tf.Tensor], tf.Tensor], margin: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Find the lowest scores, given those of each lane, and a way to those of one lane."""
    lowest = tf.reduce_min(lane_lowest, axis=1)
    limit = (lowest + margin)[:, None]
    lane, is_only_lane = _near(lane_lowest, limit)
    layer, is_only_layer = _near(layers_of(lane), limit)
    is_clear = is_only_lane & is_only_layer & tf.math.is_finite(margin)
    return layer * tf.shape(lane_lowest)[1] + lane, lowest, is_clear


def _near(values: tf.Tensor, limit: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Find which of each row of values is within a limit, and say whether it is the only one.

    One sum of whole numbers tells both: it is among the numbers of the values if it is of one.
    """
    first = 2**16
    end = first + tf.shape(values)[1]
    found = tf.where(values <= limit, tf.range(first, end), 0)
    found = tf.reduce_sum(found, axis=1)
    number = tf.clip_by_value(found, first, end - 1)
    return number - first, tf.equal(found, number)


def _among(
    find: Callable,
    inputs: Sequence[tf.Tensor],
    norms: tf.Tensor,
    bounds: Bounds,
    geometry: str,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Find the best-matching units, the distances to them, and which of them are certain."""
    margin = tf.cast(rounding32(norms, bounds), tf.float32)
    bmus, lowest, is_clear = find(*inputs, margin)
    return bmus, _distances(norms, tf.cast(lowest, tf.float64), geometry), is_clear


def _distances(norms: tf.Tensor, lowest: tf.Tensor, geometry: str) -> tf.Tensor:
    """Turn scores into distances."""
    squared = norms + lowest
    squared = tf.where(squared < 0, tf.zeros([], tf.float64), squared)  # NaN stays
    return as_distances(squared, geometry)


@functools.cache
def _compiled_among(is_incomplete: bool, geometry: str, n_fused: int) -> Callable:
    """Make `_among` for XLA: of scores, or of what makes them where few features are fused.

    There each level of `bmus_by_score` runs as one loop, at half the price, and what is done for
    each row is done beside it; `bmus_by_lane` is slow without. But XLA compiles for each shape of
    a tile and number of units (110 ms), so that it is for large data only.
    """
    find = bmus_by_lane if n_fused else bmus_by_score

    def among(norms: tf.Tensor, *given: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        bounds = Bounds._make((*given[:_N_BOUNDS], is_incomplete))
        return _among(find, given[_N_BOUNDS:], norms, bounds, geometry)

    shapes = [[None, n_fused], [n_fused, None], [None]] if n_fused else [[None, None, None]]
    signature = [tf.TensorSpec([None], tf.float64)] + [tf.TensorSpec([], tf.float64)] * _N_BOUNDS
    signature += [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    return tf.function(among, input_signature=signature, jit_compile=True, autograph=False)


def _search(
    rows: tf.Tensor, norms: tf.Tensor, terms: Terms, compiled_rows: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Find the best-matching unit of each row of a tile, and whether that is certain.

    The scores ``|w|^2 - 2 x.w`` of all units are computed in float32. A row is not clear where a
    second unit lies within the rounding bound of the lowest score, or that is not finite; at 64
    features and 400 units on uniform data one row in 1,000 is not, at 784 features one in 100.
    Distances that are no product are computed in float64 at once.

    Parameters
    ----------
    rows : Tensor of float32 or float64, shape (n, n_features)
        The tile, in the frame; NaN where a value is missing.
    norms : Tensor of float64, shape (n,)
        Squared norms of the rows, over their known features.
    terms : Terms
        The codebook.
    compiled_rows : Tensor of int32, shape (), default=None
        XLA compiles the search among the scores in tiles of this many rows; in none by default.

    Returns
    -------
    bmus : Tensor of int32, shape (n,)
    distances : Tensor of float64, shape (n,)
        To them, in the frame; those from float32 scores with their error. Not finite where the
        square leaves float64's range.
    is_clear : Tensor of bool, shape (n,)
    """
    if is_absolute(terms.geometry):
        rows = tf.cast(rows, tf.float64)
        apart = absolute_distances(rows, terms, compiled_rows)
        bmus, distances = search_absolute(rows, apart, terms)
        return bmus, distances, tf.ones_like(bmus, tf.bool)
    rows32 = spread_out(tf.cast(rows, tf.float32), terms.is_incomplete)
    n_fused = terms.layout.n_fused

    def in_layers() -> tf.Tensor:
        return tf.reshape(scores_float32(rows32, terms), terms.layout.in_layers)

    if compiled_rows is None:
        return _among(bmus_by_score, [in_layers()], norms, terms.bounds, terms.geometry)
    inputs = [rows32, terms.factors32, terms.bias32] if n_fused else [in_layers()]

    def plain() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        scores = in_layers() if n_fused else inputs[0]
        return _among(bmus_by_score, [scores], norms, terms.bounds, terms.geometry)

    compiled = _compiled_among(terms.is_incomplete, terms.geometry, n_fused)
    return tf.cond(
        tf.equal(tf.shape(rows)[0], compiled_rows),
        lambda: compiled(norms, *terms.bounds[:-1], *inputs),
        plain,
    )


def search_rows(
    rows: tf.Tensor, norms: tf.Tensor, terms: Terms, *tiling: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the best-matching units of rows, which are exactly those of a float64 search.

    Tile by tile, so that the scores of a tile stay in the cache. What is not clear of all tiles is
    decided at once: in each tile it would take 0.1 to 0.5 ms, a tenth of the search.

    Parameters
    ----------
    rows : Tensor of float32 or float64, shape (n, n_features)
        In the frame; NaN where a value is missing.
    norms : Tensor of float64, shape (n,)
        Squared norms of the rows, over their known features.
    terms : Terms
    *tiling : two Tensors of int32, shape ()
        Those of `Tiling`; none for a single tile, without a loop.

    Returns
    -------
    bmus : Tensor of int32, shape (n,)
    distances : Tensor of float64, shape (n,)
        As `_search` has them, and without error where it was not clear.
    """

    def search(start: tf.Tensor, stop: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return _search(rows[start:stop], norms[start:stop], terms, tiling[1])

    if tiling:
        dtypes = tf.int32, tf.float64, tf.bool
        of_tiles = tile_by_tile(search, tf.shape(rows)[0], tiling[0], dtypes)
        bmus, distances, is_clear = of_tiles
    else:
        bmus, distances, is_clear = _search(rows, norms, terms)
    if is_absolute(terms.geometry):
        return bmus, distances
    unclear = tf.where(~is_clear)

    few = unclear[:, 0]

    def settle(few: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _settled(tf.gather(rows, few), tf.gather(norms, few), terms)

    def settle_all() -> tuple[tf.Tensor, tf.Tensor]:
        if tiling:
            units, apart = tile_by_tile(
                lambda start, stop: settle(few[start:stop]),
                tf.shape(few)[0],
                tiling[0],
                (tf.int32, tf.float64),
            )
        else:
            units, apart = settle(few)
        return (
            tf.tensor_scatter_nd_update(bmus, unclear, units),
            tf.tensor_scatter_nd_update(distances, unclear, apart),
        )

    return tf.cond(tf.size(unclear) > 0, settle_all, lambda: (bmus, distances))


def _settled(rows: tf.Tensor, norms: tf.Tensor, terms: Terms) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the best-matching units of rows for which float32 scores are too close, and distances.

    They tell which units compete, and differences decide. Where more than a few compete, or
    float32 cannot tell, float64 scores choose.
    """
    rows32 = spread_out(tf.cast(rows, tf.float32), terms.is_incomplete)
    pairs, are_few = competitors(scores_float32(rows32, terms), norms, terms)

    def by_float64() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        scores = scores_float64(tf.cast(rows, tf.float64), terms)
        first, pairs = competitors_float64(scores, norms, terms)
        return first, _distances(norms, tf.reduce_min(scores, axis=1), terms.geometry), pairs

    def by_none() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return tf.zeros_like(norms, tf.int32), tf.zeros_like(norms), pairs

    bmus, distances, pairs = tf.cond(are_few, by_none, by_float64)
    which, units, squared = decide(pairs, rows, norms, terms)
    apart = as_distances(squared, terms.geometry)
    return (
        tf.tensor_scatter_nd_update(bmus, which, units),
        tf.tensor_scatter_nd_update(distances, which, apart),
    )

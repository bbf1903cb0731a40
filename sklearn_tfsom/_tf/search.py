"""Best-matching units: those of a float64 search, at float32's price, tile by tile."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import tensorflow as tf

from sklearn_tfsom._tf.absolute import absolute_distances, is_absolute, search_absolute, try_out
from sklearn_tfsom._tf.exact import (
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
from sklearn_tfsom._tf.lowest import bmus_by_lane, bmus_by_score, compiled_bmus_by_score
from sklearn_tfsom._tf.pruning import GROUP_UNITS, TILE_ROWS, search_blocks

if TYPE_CHECKING:
    from sklearn_tfsom._data.samples import Samples

# Scores of one tile, (tile rows x n_units) in float32, should stay in the cache: 8 MiB.
_TILE_SCORES = 2**21
_MIN_TILE_ROWS, _MAX_TILE_ROWS = 64, 8192

# From so many units on they are searched in blocks, where the grid is so wide that these are full,
# and samples so many, in a chunk too, that tiles are.
_MIN_IN_BLOCKS, _MIN_ACROSS = 4096, 16
_MIN_ROWS_FOR_BLOCKS, _MOST_FEATURES_IN_BLOCKS = 4096, 512

# Values of a tile, at most: 8 MiB of float32. At 784 features an epoch takes 100 ms in such tiles,
# 105 in those that 400 units allow.
_TILE_VALUES = 2**21

# Of rows as wide as this several tiles hold half, if that is more than so many scores or values
# each: 100,000 x 64 and 400 units thus take 23 ms instead of 26 in float64, and 21 in float32
# either way. 50,000 x 32 and 2,000 units would take 5 % more. A single tile is not cut in two:
# fits of 4,000 x 64 would take 110 ms instead of 77.
_WIDE, _MIN_HALVED = 64, 2**20


def tile_rows(n_units: int, n_features: int = 1, n_samples: int = 0) -> int:
    """Rows per tile of so many samples: a power of two, so that tiles of aligned ones are."""
    rows = min(max(_TILE_SCORES // n_units, _MIN_TILE_ROWS), _MAX_TILE_ROWS)
    rows = min(rows, max(_MIN_TILE_ROWS, _TILE_VALUES // n_features))
    rows = 2 ** (rows.bit_length() - 1)
    is_large = rows * max(n_units, n_features) > _MIN_HALVED
    if n_features >= _WIDE and n_samples > rows and is_large:
        return max(rows // 2, _MIN_TILE_ROWS)
    return rows


# Up to so many scores, and terms of the product that makes them, a single tile is searched in
# float64 at once in training. Epochs of 150 x 4 on 16, 49 and 100 units take 83, 104 and 109 us
# instead of 160, 133 and 123; of 440 x 6 on 100 units 249 instead of 175.
_MOST_SMALL_SCORES, _MOST_SMALL_TERMS = 2**15, 2**19


def is_small(n_samples: int, n_units: int, n_features: int, geometry: str) -> bool:
    """Say whether samples and units of a single tile are so few, and distances a product."""
    if is_absolute(geometry):
        return False
    n_scores = n_samples * n_units
    return n_scores <= _MOST_SMALL_SCORES and n_scores * n_features <= _MOST_SMALL_TERMS


_N_BOUNDS = len(Bounds._fields) - 1  # tensors


# What graphs are told of a `Tiling`.
TILING_SIGNATURE = [tf.TensorSpec([], tf.int32)] * 3


class Tiling(NamedTuple):
    """How a search goes tile by tile."""

    n_tile: int  # rows per tile
    compiled_rows: int  # XLA compiles the search in tiles of this many rows; 0 for none
    n_fused: int  # the number of features, where `bmus_by_lane` searches them; else 0
    n_columns: int  # of the grid, where its units are searched in blocks; else 0

    @classmethod
    def of(
        cls, samples: Samples, n_tile: int, n_units: int, *, n_columns: int, n_samples: int
    ) -> Tiling | None:
        """Decide how so many of the samples are searched; None for a single tile.

        Parameters
        ----------
        samples : Samples
        n_tile : int
            Rows per tile.
        n_units, n_columns : int
            Of the grid; 0 columns where that is not known.
        n_samples : int
        """
        if n_samples <= n_tile:
            return None
        n_features = samples.shape[1]
        is_plain = not is_absolute(samples.geometry) and not samples.has_missing
        if is_plain and is_worth_fusing((n_tile, n_units, n_features), n_samples):
            return cls(n_tile, n_tile, n_features, 0)
        n_across = min(n_columns, n_units // max(1, n_columns))
        are_many = n_units >= _MIN_IN_BLOCKS and n_across >= _MIN_ACROSS
        are_full = n_samples >= _MIN_ROWS_FOR_BLOCKS and n_features <= _MOST_FEATURES_IN_BLOCKS
        if are_many and are_full and not is_absolute(samples.geometry):
            is_worth = is_worth_compiling(("blocks", n_units), n_samples * n_units // GROUP_UNITS)
            return cls(n_tile, TILE_ROWS if is_worth else 0, 0, n_columns)
        if is_absolute(samples.geometry):
            is_worth = is_worth_compiling((n_tile, n_units, n_features), n_samples, try_out)
        else:
            is_worth = is_worth_compiling((n_tile, n_units), n_samples)
        return cls(n_tile, n_tile if is_worth else 0, 0, 0)

    @property
    def kind(self) -> tuple[int, bool]:
        """What makes graphs differ: how many features are fused, and whether there are blocks."""
        return self.n_fused, self.n_columns > 0

    def inputs(self) -> list[tf.Tensor]:
        """Return what a graph is told of it."""
        return [tf.constant(n) for n in (self.n_tile, self.compiled_rows, self.n_columns)]


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
    return _of_squares(norms + lowest, geometry)


def _of_squares(squared: tf.Tensor, geometry: str) -> tf.Tensor:
    """Turn squares, which rounding may have made negative, into distances."""
    squared = tf.where(squared < 0, tf.zeros([], tf.float64), squared)  # NaN stays
    return as_distances(squared, geometry)


@functools.cache
def _compiled_among(is_incomplete: bool, geometry: str, n_fused: int) -> Callable:
    """Make `_among` for XLA: of products, or of what makes them where few features are fused.

    There each level of `bmus_by_score` runs as one loop, at half the price, and what is done for
    each row is done beside it; `bmus_by_lane` is slow without. But XLA compiles for each shape of
    a tile and number of units (100 ms), so that it is for large data only.
    """
    find = bmus_by_lane if n_fused else compiled_bmus_by_score

    def among(norms: tf.Tensor, *given: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        bounds = Bounds._make((*given[:_N_BOUNDS], is_incomplete))
        return _among(find, given[_N_BOUNDS:], norms, bounds, geometry)

    of_few = [[None, n_fused], [n_fused, None], [None]]
    shapes = of_few if n_fused else [[None, None], [None, None]]
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

    in_layers = terms.layout.in_layers

    def plainly(scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        scores = tf.reshape(scores, in_layers)
        return _among(bmus_by_score, [scores], norms, terms.bounds, terms.geometry)

    if compiled_rows is None:
        return plainly(scores_float32(rows32, terms))
    compiled = functools.partial(
        _compiled_among(terms.is_incomplete, terms.geometry, n_fused), norms, *terms.bounds[:-1]
    )

    def by_xla() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        if n_fused:
            return compiled(rows32, terms.factors32, terms.bias32)
        bias = tf.reshape(terms.bias32, in_layers[1:])
        return compiled(tf.matmul(rows32, terms.factors32), bias)

    return tf.cond(
        tf.equal(tf.shape(rows)[0], compiled_rows),
        by_xla,
        lambda: plainly(scores_float32(rows32, terms)),
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
    *tiling : three Tensors of int32, shape ()
        Those of `Tiling`; none for a single tile, without a loop.

    Returns
    -------
    bmus : Tensor of int32, shape (n,)
    distances : Tensor of float64, shape (n,)
        As `_search` has them, and without error where it was not clear.
    """
    if terms.layout.is_small:
        return _search_small(rows, norms, terms)

    def search(start: tf.Tensor, stop: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return _search(rows[start:stop], norms[start:stop], terms, tiling[1])

    if terms.blocks is not None:
        bmus, lowest, is_clear = search_blocks(rows, norms, terms, tiling[1] > 0)
        distances = _distances(norms, tf.cast(lowest, tf.float64), terms.geometry)
    elif tiling:
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
    pairs, lowest = tf.cond(
        are_few,
        lambda: (pairs, tf.zeros_like(norms)),  # none is far
        lambda: _all_competitors(rows, norms, terms),
    )
    bmus, squared = decide(pairs, lowest, rows, norms, terms)
    return bmus, _of_squares(squared, terms.geometry)


def _search_small(rows: tf.Tensor, norms: tf.Tensor, terms: Terms) -> tuple[tf.Tensor, tf.Tensor]:
    """Do as `_settled` for all of few rows, by float64 scores.

    These take less time than the operations that float32 scores need beside them.
    """
    bmus, squared = decide(*_all_competitors(rows, norms, terms), rows, norms, terms)
    return bmus, _of_squares(squared, terms.geometry)


def _all_competitors(
    rows: tf.Tensor, norms: tf.Tensor, terms: Terms
) -> tuple[tf.Tensor, tf.Tensor]:
    """Find `competitors_float64` of rows."""
    scores = scores_float64(tf.cast(rows, tf.float64), terms)
    return competitors_float64(scores, norms, terms)

"""Best-matching units on a large map: most blocks of units are too far away to be searched.

By the triangle inequality no unit of a block is closer to a sample x than ``|x - m| - r``, where
m is the middle of the block and r its radius: how far from there its units lie. If that is more
than the distance to the closest of all middles, the block can be left out. Samples are sorted by
that one, so that those of a tile need the same blocks.

On data that lie near a surface, a trained map of 200x200 units leaves 17 % of the scores to
compute, and twice 6 % for the middles. Data that fill all their dimensions, like uniform ones,
leave all of them; that shows in a few rows, and nothing is lost then but these. All blocks, too,
are searched in groups: 40,000 scores for each of a few rows would not stay in the cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from sklearn_tfsom._tf.blocks import SIZE, Blocks
from sklearn_tfsom._tf.exact import Terms, rounding32
from sklearn_tfsom._tf.frame import known, spread_out
from sklearn_tfsom._tf.graphs import tile_by_tile
from sklearn_tfsom._tf.lowest import bmus_by_score, compiled_bmus_by_score

# Rows of a tile, and blocks that are searched together: 2 MiB of scores, in so many layers.
TILE_ROWS = 512
_UNPRUNED_ROWS = 1024
_GROUP, _GROUP_LAYERS = 64, 16
GROUP_UNITS = _GROUP * SIZE

# Blocks are left out where samples reach no more than this share of them. All samples of a tile
# together reach up to twice as many.
_MOST_REACHED = 0.35

# More than all other parts of an overlap together, of safe rows and units.
_MORE_THAN_ALL = 2.0**126

_Found: TypeAlias = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
# Of rows, the factors and the bias of units, which is laid out, and a margin.
_Find: TypeAlias = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], _Found]


def search_blocks(
    rows: tf.Tensor, norms: tf.Tensor, terms: Terms, is_compiled: tf.Tensor
) -> _Found:
    """Find the best-matching unit of each row, and whether that is certain.

    Parameters
    ----------
    rows, norms
        As for `search_rows`.
    terms : Terms
        The codebook, in blocks.
    is_compiled : Tensor of bool, shape ()
        Whether XLA compiles the search among the scores of a tile.

    Returns
    -------
    bmus : Tensor of int32, shape (n,)
    lowest : Tensor of float32, shape (n,)
    is_clear : Tensor of bool, shape (n,)
        As by `bmus_by_score` among the scores of all units.
    """
    blocks, n_rows = terms.blocks, tf.shape(rows)[0]
    assert blocks is not None
    margin = rounding32(norms, terms.bounds)
    margin32, is_safe = tf.cast(margin, tf.float32), tf.math.is_finite(margin)

    def find(rows32: tf.Tensor, factors: tf.Tensor, bias: tf.Tensor, within: tf.Tensor) -> _Found:
        def plainly() -> _Found:
            scores = tf.matmul(rows32, factors, transpose_b=True)
            scores = tf.nn.bias_add(scores, tf.reshape(bias, [-1]))
            in_layers = tf.concat([[-1], tf.shape(bias)], axis=0)
            return bmus_by_score(tf.reshape(scores, in_layers), within)

        return tf.cond(
            is_compiled,
            lambda: _compiled()(tf.matmul(rows32, factors, transpose_b=True), bias, within),
            plainly,
        )

    def tile_of(these: tf.Tensor) -> tf.Tensor:
        """Gather rows; instead of those of which float32 could overflow, zeros."""
        tile = tf.cast(tf.gather(rows, these), tf.float32)
        is_safe_row = tf.gather(is_safe, these)[:, None]
        return tf.where(is_safe_row, spread_out(tile, terms.is_incomplete), tf.zeros([]))

    def in_order(start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        """Return the numbers of the rows of a tile; the last one fills up the last tile."""
        return tf.minimum(tf.range(start, stop), n_rows - 1)

    def closest_middles(these: tf.Tensor) -> _Found:
        of_middles = blocks.middle_factors32, blocks.middle_bias32
        block, lowest, _ = find(tile_of(these), *of_middles, tf.zeros(TILE_ROWS))
        # Meaningless where several are as close; rows are only sorted by it.
        block = tf.minimum(block, tf.size(blocks.places) - 1)
        own_norms, own_margin = tf.gather(norms, these), tf.gather(margin, these)
        reach, rest = _reach(tf.gather(rows, these), own_norms, own_margin, lowest, terms)
        return block, reach, rest

    def overlaps(rows32: tf.Tensor, reach: tf.Tensor, rest: tf.Tensor) -> tf.Tensor:
        """Compare distances to middles with reach and radius, (n, n_blocks); up to 0: reached.

        ``|x - m|^2 - (R + r)^2`` is one product again, of ``(x, R, |x|^2 - R^2)`` with
        ``(-2 m, -2 r, 1)``, and ``|m|^2 - r^2``.
        """
        factors = tf.concat([rows32, reach[:, None], rest[:, None]], axis=1)
        products = tf.matmul(factors, blocks.reach_factors32)
        return tf.nn.bias_add(products, blocks.reach_bias32)

    dtypes = tf.int32, tf.float32, tf.bool

    def pruned() -> list[tf.Tensor]:
        n_tile, of_middles = tf.constant(TILE_ROWS), (tf.int32, tf.float32, tf.float32)
        n_all = n_rows + -n_rows % TILE_ROWS
        block, reach, rest = tile_by_tile(
            lambda *tile: closest_middles(in_order(*tile)), n_all, n_tile, of_middles
        )
        order = tf.argsort(tf.gather(blocks.places, block))

        def tile(start: tf.Tensor, stop: tf.Tensor) -> _Found:
            at = order[start:stop]
            these = tf.minimum(at, n_rows - 1)
            rows32, margins = tile_of(these), tf.gather(margin32, these)
            closest = overlaps(rows32, tf.gather(reach, at), tf.gather(rest, at))
            is_reached = ~(tf.reduce_min(closest, axis=0) > 0)
            chosen = tf.cast(tf.where(is_reached)[:, 0], tf.int32)
            return _search_chosen(rows32, margins, chosen, blocks, find)

        back = tf.math.invert_permutation(order)
        return [tf.gather(part, back) for part in tile_by_tile(tile, n_all, n_tile, dtypes)]

    def unpruned() -> list[tf.Tensor]:
        all_blocks = tf.range(tf.size(blocks.places))

        def tile(start: tf.Tensor, stop: tf.Tensor) -> _Found:
            these = in_order(start, stop)
            margins = tf.gather(margin32, these)
            return _search_chosen(tile_of(these), margins, all_blocks, blocks, find)

        n_all = n_rows + -n_rows % _UNPRUNED_ROWS
        return tile_by_tile(tile, n_all, tf.constant(_UNPRUNED_ROWS), dtypes)

    some = tf.range(TILE_ROWS, dtype=tf.float64) * tf.cast(n_rows / TILE_ROWS, tf.float64)
    some = tf.cast(some, tf.int32)  # from everywhere
    _, *reach = closest_middles(some)
    n_reached = tf.reduce_sum(tf.cast(overlaps(tile_of(some), *reach) <= 0, tf.float32))
    n_safe = tf.reduce_sum(tf.cast(tf.gather(is_safe, some), tf.float32))
    most = _MOST_REACHED * n_safe * tf.cast(tf.size(blocks.places), tf.float32)
    found = tf.cond(n_reached <= most, pruned, unpruned)
    position, lowest, is_clear = (part[:n_rows] for part in found)
    return tf.gather(tf.reshape(blocks.units, [-1]), position), lowest, is_clear


@functools.cache
def _compiled() -> tf.types.experimental.PolymorphicFunction:
    signature = [
        tf.TensorSpec(shape, tf.float32) for shape in ([None, None], [None, None], [None])
    ]
    return tf.function(
        compiled_bmus_by_score, input_signature=signature, jit_compile=True, autograph=False
    )


def _reach(
    rows: tf.Tensor, norms: tf.Tensor, margin: tf.Tensor, lowest: tf.Tensor, terms: Terms
) -> tuple[tf.Tensor, tf.Tensor]:
    """Say how far from each row units matter: the reach R, and ``|x|^2 - R^2``, float32.

    The unit with the score `lowest` is closer than that, for all that rounding does; and so is
    each unit whose score in float32 may come within the margin of the best-matching unit's. Where
    no float32 score is safe, the second number is more than anything else in the sum.
    """
    bounds, center = terms.bounds, terms.center
    from_center = norms
    if center is not None:
        apart = known(tf.cast(rows, tf.float64) - center)
        from_center = tf.reduce_sum(tf.square(apart), axis=1)
    # The scores of that unit, of the best-matching one and of another one are each off by half a
    # margin, and are compared with a whole one: four are enough.
    above_norm = tf.cast(lowest, tf.float64) + 4 * margin  # which could be lost in the sum
    squared = tf.maximum(from_center + above_norm, 0)
    # A sum of products, as bounded in `exact.rounding`. Its parts add up to less than
    # 10 |v| (|x| + |c| + |v|): the reach is at most |x - c| + |v|, a radius at most 2 |v|.
    length = tf.sqrt(norms) + bounds.offset + bounds.largest
    rounding = 16 * (1.1 * bounds.n_terms + 8) * 2.0**-24 * bounds.largest * length
    is_safe = tf.math.is_finite(margin)
    reach = tf.where(is_safe, tf.sqrt(squared), tf.zeros([], tf.float64))
    rest = tf.where(is_safe, -above_norm - rounding, _MORE_THAN_ALL)
    return tf.cast(reach, tf.float32), tf.cast(rest, tf.float32)


def _search_chosen(
    rows32: tf.Tensor, margin: tf.Tensor, chosen: tf.Tensor, blocks: Blocks, find: _Find
) -> _Found:
    """Search the rows of a tile among some blocks, group by group."""
    missing = -tf.size(chosen) % _GROUP
    chosen = tf.concat([chosen, tf.fill([missing], tf.size(blocks.places))], axis=0)

    def search_group(
        start: tf.Tensor, position: tf.Tensor, lowest: tf.Tensor, is_clear: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        group = chosen[start : start + _GROUP]
        factors = tf.reshape(tf.gather(blocks.factors32, group), [GROUP_UNITS, -1])
        bias = tf.reshape(tf.gather(blocks.bias32, group), [_GROUP_LAYERS, -1])
        found, low, is_only = find(rows32, factors, bias, margin)
        found = tf.gather(group, found // SIZE) * SIZE + found % SIZE
        is_lower = low < lowest
        is_far = tf.abs(low - lowest) > margin
        return (
            start + _GROUP,
            tf.where(is_lower, found, position),
            tf.minimum(low, lowest),
            tf.where(is_lower, is_only, is_clear) & is_far,
        )

    n_rows = tf.shape(rows32)[0]
    nothing = tf.zeros(n_rows, tf.int32), tf.fill([n_rows], np.float32(np.inf))
    _, *found = tf.while_loop(
        lambda start, *_: start < tf.size(chosen),
        search_group,
        (tf.constant(0), *nothing, tf.math.is_finite(margin)),
        parallel_iterations=1,
    )
    return tuple(found)

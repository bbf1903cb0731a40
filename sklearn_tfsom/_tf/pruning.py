"""Search of a large map that leaves out blocks of units too far away.

By the triangle inequality no unit of a block is closer to a sample x than ``|x - m| - r``, where
m is the middle of the block and r its radius: the largest distance of its units from there. If
that exceeds the distance to the closest of all middles, the block is left out. Rows are sorted by
their closest middle, so that the rows of a tile need the same blocks.

On data near a surface a trained map of 200x200 units leaves a fifth of the scores to be computed.
Data that fill all dimensions leave all of them; a few rows show that, and then all blocks are
searched, in groups whose scores stay in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from sklearn_tfsom._map.scores import SearchKind, rounding_bound32
from sklearn_tfsom._tf.argmin import Lowest, compiled_graph, lowest_of_layers
from sklearn_tfsom._tf.blocks import BLOCK_UNITS, Blocks, gap_rounding
from sklearn_tfsom._tf.operands import Operands, as_factors32, known_values
from sklearn_tfsom._tf.tiles import loop_tiles
from sklearn_tfsom._tuning import GROUP_BLOCKS, MAX_REACHED, PRUNED_TILE_ROWS

# Units of a group, and the layers in which their scores lie, see `argmin`.
_GROUP_UNITS, _GROUP_LAYERS = GROUP_BLOCKS * BLOCK_UNITS, 16

# Larger than all other parts of a gap together, for rows and units in the range of float32.
_UNREACHABLE = 2.0**126

_VECTOR32 = tf.TensorSpec([None], tf.float32)
_FOUND = (
    tf.TensorSpec([None, None], tf.int32),
    _VECTOR32,
    tf.TensorSpec([None], tf.bool),
)

# Finds the lowest scores: of rows, factors and bias of some units, and a margin.
_Find: TypeAlias = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], Lowest]


class _Rows(NamedTuple):
    """Rows to search in blocks."""

    values: tf.Tensor  # (n, n_features)
    norms: tf.Tensor  # (n,) float64
    bound: tf.Tensor  # (n,) float64: on the rounding of a score

    def take(self, index: tf.Tensor) -> _Rows:
        """Return some of the rows."""
        return _Rows(*(tf.gather(part, index) for part in self))

    def factors(self, kind: SearchKind) -> tf.Tensor:
        """Return factors; zeros for rows whose products could exceed float32's range."""
        is_safe = tf.math.is_finite(self.bound)[:, None]
        return tf.where(is_safe, as_factors32(self.values, kind), tf.zeros([]))


def search_blocks(
    values: tf.Tensor, norms: tf.Tensor, operands: Operands, is_compiled: tf.Tensor
) -> Lowest:
    """Find the lowest score of each row among all units, as `argmin.lowest_of_layers` does.

    Parameters
    ----------
    values : Tensor, shape (n, n_features)
    norms : Tensor of float64, shape (n,)
    operands : Operands
        With blocks.
    is_compiled : Tensor of bool, shape ()
        Whether XLA compiles the search among the scores of a tile.
    """
    blocks, n_rows = operands.blocks, tf.size(norms)
    assert blocks is not None
    rows = _Rows(values, norms, rounding_bound32(tf, norms, operands.sizes))
    find, n_tile = _finder(is_compiled), tf.constant(PRUNED_TILE_ROWS)
    n_all = n_rows + -n_rows % PRUNED_TILE_ROWS

    def tile(start: tf.Tensor, stop: tf.Tensor) -> _Rows:
        """Return the rows of a tile; the last tile is filled with the last row."""
        return rows.take(tf.minimum(tf.range(start, stop), n_rows - 1))

    def pruned() -> list[tf.Tensor]:
        specs = (tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 3], tf.float32))

        def closest(start: tf.Tensor, stop: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return _closest_middle(tile(start, stop), operands, find)

        block, reach = loop_tiles(closest, n_all, n_tile, specs)
        order = tf.argsort(tf.gather(blocks.order, block))

        def search_tile(start: tf.Tensor, stop: tf.Tensor) -> Lowest:
            place = order[start:stop]
            part = rows.take(tf.minimum(place, n_rows - 1))
            gaps = _gaps(part.factors(operands.kind), tf.gather(reach, place), blocks)
            chosen = tf.where(~(tf.reduce_min(gaps, axis=0) > 0))[:, 0]
            return _search_chosen(part, tf.cast(chosen, tf.int32), operands, find)

        back = tf.math.invert_permutation(order)
        found = loop_tiles(search_tile, n_all, n_tile, _FOUND)
        return [tf.gather(part, back) for part in found]

    def unpruned() -> list[tf.Tensor]:
        all_blocks = tf.range(tf.size(blocks.order))

        def search_tile(start: tf.Tensor, stop: tf.Tensor) -> Lowest:
            return _search_chosen(tile(start, stop), all_blocks, operands, find)

        return loop_tiles(search_tile, n_all, n_tile, _FOUND)

    pays = share_reached(values, norms, operands, is_compiled) <= MAX_REACHED
    place, score, is_clear = (part[:n_rows] for part in tf.cond(pays, pruned, unpruned))
    return Lowest(tf.gather(tf.reshape(blocks.units, [-1]), place), score, is_clear)


def share_reached(
    values: tf.Tensor, norms: tf.Tensor, operands: Operands, is_compiled: tf.Tensor
) -> tf.Tensor:
    """Return which share of the blocks single rows reach, () float32, from a tile of rows.

    The parameters are those of `search_blocks`.
    """
    blocks = operands.blocks
    assert blocks is not None
    step = tf.cast(tf.size(norms) / PRUNED_TILE_ROWS, tf.float64)
    some = tf.cast(tf.range(PRUNED_TILE_ROWS, dtype=tf.float64) * step, tf.int32)
    rows = _Rows(values, norms, rounding_bound32(tf, norms, operands.sizes)).take(some)
    _, reach = _closest_middle(rows, operands, _finder(is_compiled))
    is_reached = ~(_gaps(rows.factors(operands.kind), reach, blocks) > 0)
    n_reached = tf.math.count_nonzero(is_reached, dtype=tf.float32)
    n_safe = tf.math.count_nonzero(tf.math.is_finite(rows.bound), dtype=tf.float32)
    return tf.math.divide_no_nan(n_reached, n_safe * tf.cast(tf.size(blocks.order), tf.float32))


def _closest_middle(rows: _Rows, operands: Operands, find: _Find) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the block whose middle is closest, and the result of `_reach` for it."""
    blocks = operands.blocks
    assert blocks is not None
    middles = blocks.middle_factors32, blocks.middle_bias32
    found = find(rows.factors(operands.kind), *middles, tf.zeros(PRUNED_TILE_ROWS))
    # Meaningless where several are as close; rows are only sorted by it.
    block = tf.minimum(found.units[:, 0], tf.size(blocks.order) - 1)
    return block, _reach(rows, found.score, operands)


def _gaps(factors: tf.Tensor, reach: tf.Tensor, blocks: Blocks) -> tf.Tensor:
    """Return, for each row and block, a number above 0 if the row does not reach the block.

    With m measured from a center c, as in `scores`, ``|x - c - m|^2 - (R + r)^2`` is one product,
    of ``(x, R, |x - c|^2 - R^2)`` with ``(-2 m, -2 r, 1)``, and ``m (m + 2 c) - r^2``. Its
    rounding is subtracted, so that no block is left out by mistake. For a block of extent
    ``b = |m| + r`` its parts add up to at most
    ``2 b (|x| + R) + b (b + 2 |c|) + ||x - c|^2 - R^2|``. The rounding of the first is one more
    term, the product of its share of ``|x| + R`` with -b. So one far unit does not make all rows
    reach all blocks.
    """
    factors = tf.concat([factors, reach], axis=1)
    return tf.nn.bias_add(tf.matmul(factors, blocks.reach_factors32), blocks.reach_bias32)


def _finder(is_compiled: tf.Tensor) -> _Find:
    def find(
        factors32: tf.Tensor, unit_factors: tf.Tensor, bias: tf.Tensor, margin: tf.Tensor
    ) -> Lowest:
        def plain() -> Lowest:
            scores = tf.matmul(factors32, unit_factors, transpose_b=True)
            scores = tf.nn.bias_add(scores, tf.reshape(bias, [-1]))
            return lowest_of_layers(scores, bias, margin)

        def compiled() -> Lowest:
            products = tf.matmul(factors32, unit_factors, transpose_b=True)
            return compiled_graph()(products, bias, margin)

        return tf.cond(is_compiled, compiled, plain)

    return find


def _reach(rows: _Rows, lowest: tf.Tensor, operands: Operands) -> tf.Tensor:
    """Return how far from each row units matter, as factors of a gap, (n, 3) float32.

    These are the reach R, ``|x - c|^2 - R^2`` less its rounding, and the rounding of ``|x| + R``.
    A unit whose float32 score may come within the margin of the best-matching unit's is closer
    than R. Where no float32 score is safe, no block is reached.
    """
    values, norms, bound = rows
    from_center = known_values(tf.cast(values, tf.float64) - operands.center)
    # The scores of the middle, of the best-matching unit and of another one are each off by half
    # a bound, and are compared with a whole one: four bounds are enough.
    above_norm = tf.cast(lowest, tf.float64) + 4 * bound  # which could be lost in the sum
    squared = tf.maximum(tf.reduce_sum(tf.square(from_center), axis=1) + above_norm, 0)
    reach, rounding = tf.sqrt(squared), gap_rounding(operands.sizes)
    rest = -above_norm - rounding * tf.abs(above_norm)
    factors = tf.stack([reach, rest, rounding * (tf.sqrt(norms) + reach)], axis=1)
    unreachable = tf.constant([0, _UNREACHABLE, 0], tf.float64)
    is_safe = tf.math.is_finite(bound)[:, None]
    return tf.cast(tf.where(is_safe, factors, unreachable), tf.float32)


def _search_chosen(rows: _Rows, chosen: tf.Tensor, operands: Operands, find: _Find) -> Lowest:
    """Search the rows of a tile among some blocks, group by group."""
    blocks, margin = operands.blocks, tf.cast(rows.bound, tf.float32)
    assert blocks is not None
    factors32 = rows.factors(operands.kind)
    n_filling = -tf.size(chosen) % GROUP_BLOCKS
    chosen = tf.concat([chosen, tf.fill([n_filling], tf.size(blocks.order))], axis=0)

    def search_group(
        start: tf.Tensor, place: tf.Tensor, score: tf.Tensor, is_clear: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        group = chosen[start : start + GROUP_BLOCKS]
        unit_factors = tf.reshape(tf.gather(blocks.factors32, group), [_GROUP_UNITS, -1])
        bias = tf.reshape(tf.gather(blocks.bias32, group), [_GROUP_LAYERS, -1])
        found = find(factors32, unit_factors, bias, margin)
        in_group = found.units[:, 0]
        found_place = tf.gather(group, in_group // BLOCK_UNITS) * BLOCK_UNITS
        found_place += in_group % BLOCK_UNITS
        is_lower = found.score < score
        is_apart = tf.abs(found.score - score) > margin
        return (
            start + GROUP_BLOCKS,
            tf.where(is_lower, found_place, place),
            tf.minimum(found.score, score),
            tf.where(is_lower, found.is_clear, is_clear) & is_apart,
        )

    n_rows = tf.shape(factors32)[0]
    start = (tf.constant(0), tf.zeros(n_rows, tf.int32), tf.fill([n_rows], np.float32(np.inf)))
    _, place, score, is_clear = tf.while_loop(
        lambda start, *_: start < tf.size(chosen),
        search_group,
        (*start, tf.math.is_finite(margin)),
        parallel_iterations=1,
    )
    return Lowest(place[:, None], score, is_clear)

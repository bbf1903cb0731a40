"""Blocks of neighboring units of a large map, and bounds on their distances to samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sklearn_tfsom._map.scores import Sizes
from sklearn_tfsom._tf.argmin import layout
from sklearn_tfsom._tuning import BLOCK_SIDE

# Units of a block.
BLOCK_UNITS = BLOCK_SIDE**2

# Rounding to float32 must not make a radius smaller.
_ROUND_UP = 1 + 2.0**-20


def n_blocks(n_rows: int, n_columns: int) -> int:
    """Return the number of blocks of a grid."""
    return -(-n_rows // BLOCK_SIDE) * -(-n_columns // BLOCK_SIDE)


class Blocks(NamedTuple):
    """The units of a map in square blocks.

    The middle of a block is its unit that is closest to their mean. Places without a unit, on the
    edge of the map and in an empty last block, hold n_units, a unit infinitely far away.
    """

    units: tf.Tensor  # (n_blocks + 1, BLOCK_UNITS) int32
    factors32: tf.Tensor  # (n_blocks + 1, BLOCK_UNITS * n_terms) float32
    bias32: tf.Tensor  # (n_blocks + 1, BLOCK_UNITS) float32
    order: tf.Tensor  # (n_blocks,) int32: sorts rows so that those of a tile need the same blocks
    middle_factors32: tf.Tensor  # (n_layers * n_lanes, n_terms) float32, of the middles
    middle_bias32: tf.Tensor  # (n_layers, n_lanes) float32
    least_norm: tf.Tensor  # () float64, of a middle
    reach_factors32: tf.Tensor  # (n_terms + 3, n_blocks) float32, see `pruning`
    reach_bias32: tf.Tensor  # (n_blocks,) float32


def make_blocks(
    around: tf.Tensor,
    factors32: tf.Tensor,
    bias: tf.Tensor,
    grid_shape: tf.Tensor,
    sizes: Sizes,
) -> Blocks:
    """Divide the units of a grid into blocks.

    Parameters
    ----------
    around : Tensor of float64, shape (n_units, n_features)
        Measured from the center of the terms.
    factors32 : Tensor of float32, shape (n_units, n_terms)
    bias : Tensor of float64, shape (n_units,)
    grid_shape : Tensor of int32, shape (2,)
        Number of rows and columns.
    sizes : Sizes
    """
    n_units = tf.shape(around)[0]
    units, order = _divide(*tf.unstack(grid_shape, 2))
    is_unit = units < n_units
    last, last_row = [[0, 1]], [[0, 1], [0, 0]]
    all_factors32 = tf.pad(factors32, last_row)
    all_bias32 = tf.cast(tf.pad(bias, last, constant_values=np.inf), tf.float32)

    vectors = tf.gather(tf.pad(around, last_row), units)
    n_in_block = tf.math.count_nonzero(is_unit, axis=1, dtype=tf.float64)[:, None]
    mean = tf.reduce_sum(vectors, axis=1) / n_in_block
    from_mean = tf.where(is_unit, _squared_distances(vectors, mean), np.inf)
    middles = tf.gather(units, tf.argmin(from_mean, axis=1), batch_dims=1)
    from_middle = _squared_distances(vectors, tf.gather(around, middles))
    radii = tf.sqrt(tf.reduce_max(tf.where(is_unit, from_middle, 0), axis=1)) * _ROUND_UP
    norms = tf.norm(tf.gather(around, middles), axis=1)
    extents = (norms + radii) * _ROUND_UP  # no unit has a larger norm

    middle_factors32, middle_bias = tf.gather(factors32, middles), tf.gather(bias, middles)
    number = tf.size(middles)
    n_layers, n_lanes = layout(number)
    padding = [0, n_layers * n_lanes - number]
    reach_factors = tf.stack([-2 * radii, tf.ones_like(radii), -extents], axis=1)
    reach_bias = middle_bias - tf.square(radii)
    reach_bias -= gap_rounding(sizes) * extents * (extents + 2 * sizes.offset)
    is_in_range = tf.square(extents) < tf.float32.max  # other blocks are always searched
    middle_bias32 = tf.pad(tf.cast(middle_bias, tf.float32), [padding], constant_values=np.inf)
    units = tf.concat([units, tf.fill([1, BLOCK_UNITS], n_units)], axis=0)
    return Blocks(
        units=units,
        factors32=tf.reshape(tf.gather(all_factors32, units), [number + 1, -1]),
        bias32=tf.gather(all_bias32, units),
        order=order,
        middle_factors32=tf.pad(middle_factors32, [padding, [0, 0]]),
        middle_bias32=tf.reshape(middle_bias32, [n_layers, n_lanes]),
        least_norm=tf.reduce_min(norms),
        reach_factors32=tf.transpose(
            tf.concat([middle_factors32, tf.cast(reach_factors, tf.float32)], axis=1)
        ),
        reach_bias32=tf.where(is_in_range, tf.cast(reach_bias, tf.float32), -np.inf),
    )


def gap_rounding(sizes: Sizes) -> tf.Tensor:
    """Return twice the rounding of a gap, as a share of ``b (|x| + R)`` and of its other parts.

    A gap, see `pruning`, is a product like a score, of three more terms.
    """
    return 4 * 2.0**-24 * sizes.n_roundings(2.0**-24)


def _divide(n_rows: tf.Tensor, n_columns: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the units of each block, and the place of each block in squares of blocks."""
    n_across = -(-n_columns // BLOCK_SIDE)
    block = tf.range(-(-n_rows // BLOCK_SIDE) * n_across)
    row, column = block // n_across, block % n_across
    n_squares = -(-n_across // BLOCK_SIDE)
    square = row // BLOCK_SIDE * n_squares + column // BLOCK_SIDE
    order = square * BLOCK_UNITS + row % BLOCK_SIDE * BLOCK_SIDE + column % BLOCK_SIDE
    place = tf.range(BLOCK_UNITS)
    row = BLOCK_SIDE * row[:, None] + place // BLOCK_SIDE
    column = BLOCK_SIDE * column[:, None] + place % BLOCK_SIDE
    is_on_grid = (row < n_rows) & (column < n_columns)
    return tf.where(is_on_grid, row * n_columns + column, n_rows * n_columns), order


def _squared_distances(vectors: tf.Tensor, point: tf.Tensor) -> tf.Tensor:
    """Return squared distances of the vectors of each block to a point."""
    return tf.reduce_sum(tf.math.squared_difference(vectors, point[:, None]), axis=2)

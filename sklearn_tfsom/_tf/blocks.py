"""The units of a large map, in blocks of neighbors that a search takes or leaves together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sklearn_tfsom._tf.lowest import layers_for

# Units of a block lie in a square of so many to each side. Of squares of 4 a trained map of 40,000
# units leaves 19 % of them to tiles of 512 among 50,000 samples, of 5 23 %, of 8 31 %.
_SIDE = 4
SIZE = _SIDE**2

# Rows are sorted by blocks in squares of so many: those of a tile then lie closer together.
_SORTED_SIDE = 4

# Rounding to float32 must not make a block smaller.
_ROUNDED_UP = 1 + 2.0**-20


class Blocks(NamedTuple):
    """Blocks of units, and what tells how far they are from a sample.

    The middle of a block is that unit of it which is the closest to their mean.
    """

    units: tf.Tensor  # (n_blocks + 1, SIZE) int32: numbers; n_units fills up. The last is empty
    factors32: tf.Tensor  # (n_blocks + 1, SIZE * n_terms) float32, as in `exact.Terms`, by unit
    bias32: tf.Tensor  # (n_blocks + 1, SIZE) float32; infinite for what fills up
    places: tf.Tensor  # (n_blocks,) int32: what rows are sorted by
    middle_factors32: tf.Tensor  # (n_layers * n_lanes, n_terms) float32, of the middles
    middle_bias32: tf.Tensor  # (n_layers, n_lanes) float32
    reach_factors32: tf.Tensor  # (n_terms + 2, n_blocks) float32, see `pruning`
    reach_bias32: tf.Tensor  # (n_blocks,) float32

    @classmethod
    def of(
        cls,
        codebook: tf.Tensor,
        factors: tf.Tensor,
        bias: tf.Tensor,
        n_columns: tf.Tensor,
    ) -> Blocks:
        """Divide the units of a grid of so many columns.

        Parameters
        ----------
        codebook : Tensor of float64, shape (n_units, n_features)
            From `exact.Terms.center` on.
        factors : Tensor of float64, shape (n_units, n_terms)
        bias : Tensor of float64, shape (n_units,)
        n_columns : Tensor of int32, shape ()
        """
        n_units = tf.shape(codebook)[0]
        units, places = _divided(n_units, n_columns)
        # Unit number n_units, which fills up, is infinitely far from everything.
        filled, one_more = [[0, 1]], [[0, 1], [0, 0]]
        all_factors32 = tf.cast(tf.pad(factors, one_more), tf.float32)
        all_bias32 = tf.cast(tf.pad(bias, filled, constant_values=np.inf), tf.float32)
        is_unit = units < n_units

        vectors = tf.gather(tf.pad(codebook, one_more), units)
        number = tf.math.count_nonzero(is_unit, axis=1, dtype=tf.float64)[:, None]
        mean = tf.reduce_sum(vectors, axis=1) / number
        apart = tf.where(is_unit, _squared(vectors, mean), np.inf)
        middles = tf.gather(units, tf.argmin(apart, axis=1), batch_dims=1)
        apart = tf.where(is_unit, _squared(vectors, tf.gather(codebook, middles)), 0)
        radii = tf.sqrt(tf.reduce_max(apart, axis=1)) * _ROUNDED_UP

        middle_factors, middle_bias = tf.gather(factors, middles), tf.gather(bias, middles)
        n_blocks = tf.shape(middles)[0]
        n_layers, n_lanes = layers_for(n_blocks)
        padding = [[0, n_layers * n_lanes - n_blocks]]
        of_reach = [middle_factors, -2 * radii[:, None], tf.ones_like(radii)[:, None]]
        middle_bias32 = tf.cast(middle_bias, tf.float32)
        middle_bias32 = tf.pad(middle_bias32, padding, constant_values=np.inf)
        units = tf.concat([units, tf.fill([1, SIZE], n_units)], axis=0)
        return cls(
            units=units,
            factors32=tf.reshape(tf.gather(all_factors32, units), [n_blocks + 1, -1]),
            bias32=tf.gather(all_bias32, units),
            places=places,
            middle_factors32=tf.pad(tf.cast(middle_factors, tf.float32), [*padding, [0, 0]]),
            middle_bias32=tf.reshape(middle_bias32, [n_layers, n_lanes]),
            reach_factors32=tf.transpose(tf.cast(tf.concat(of_reach, axis=1), tf.float32)),
            reach_bias32=tf.cast(middle_bias - tf.square(radii), tf.float32),
        )


def _divided(n_units: tf.Tensor, n_columns: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the units of each block, (n_blocks, SIZE), and the places of the blocks."""
    n_rows = n_units // n_columns
    n_across = -(-n_columns // _SIDE)
    block = tf.range(-(-n_rows // _SIDE) * n_across)
    row, column = block // n_across, block % n_across
    n_squares = -(-n_across // _SORTED_SIDE)
    square = row // _SORTED_SIDE * n_squares + column // _SORTED_SIDE
    within = row % _SORTED_SIDE * _SORTED_SIDE + column % _SORTED_SIDE
    place = square * _SORTED_SIDE**2 + within
    unit = tf.range(SIZE)
    row, column = _SIDE * row[:, None] + unit // _SIDE, _SIDE * column[:, None] + unit % _SIDE
    is_on_grid = (row < n_rows) & (column < n_columns)
    return tf.where(is_on_grid, row * n_columns + column, n_units), place


def _squared(vectors: tf.Tensor, point: tf.Tensor) -> tf.Tensor:
    """Squared distances of the vectors of each block to one point, (n_blocks, SIZE)."""
    return tf.reduce_sum(tf.math.squared_difference(vectors, point[:, None]), axis=2)

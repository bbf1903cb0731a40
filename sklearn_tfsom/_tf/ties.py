"""The tie rule: among units that are equally close within rounding the lowest index wins.

Rounding moves a sample by a few units in its last place, and a code vector by a few units in the
last place of the values that it is a mean of. Code vectors that should be equal, as compact
neighborhoods make them, then differ by as much, and without this rule the order of a sum or the
size of a tile would choose between them.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from sklearn_tfsom._tf.argmin import Lowest, k_lowest

# Rounding moves a sample, or a code vector, by less than this share of its size.
NOISE = 16 * 2.0**-53

# A sample is far from the map if its norm exceeds this multiple of the largest code vector's. The
# noise of its own size then counts no more than that of a sample at this distance.
FAR = 16.0


def within_rounding(distances: Any, lowest: Any, noise: Any) -> Any:
    """Return which units are as close to each row as the closest one, within rounding.

    Works for arrays of NumPy, TensorFlow and Keras.

    Parameters
    ----------
    distances : array of shape (n, n_units)
    lowest : array of shape (n, 1)
        The lowest distance of each row.
    noise : array of shape (n, 1)
        By how much rounding may change a distance.
    """
    return distances <= lowest + noise


def first_within_rounding(
    distances: tf.Tensor, noise: tf.Tensor, k: tf.Tensor | int = 1
) -> Lowest:
    """Find the k closest units of each row by the tie rule, one after the other.

    Parameters
    ----------
    distances : Tensor of float64, shape (n, n_units)
    noise : Tensor of float64, shape (n,)
    k : int or Tensor of int32, default=1
    """

    def find(distances: tf.Tensor) -> Lowest:
        n_units = tf.shape(distances)[1]
        lowest = tf.reduce_min(distances, axis=1)
        is_near = within_rounding(distances, lowest[:, None], noise[:, None])
        first = tf.reduce_min(tf.where(is_near, tf.range(n_units), n_units - 1), axis=1)
        return Lowest(first[:, None], lowest, tf.ones_like(lowest, tf.bool))

    return k_lowest(find, distances, k)

"""The tie rule: among units that are equally close within rounding the lowest index wins.

Rounding moves a sample by a few units in its last place, and a code vector by a few units in the
last place of the values that it is a mean of. Code vectors that should be equal, as compact
neighborhoods make them, then differ by as much, and without this rule the order of a sum or the
size of a tile would choose between them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from sklearn_tfsom._distance import Metric

# Rounding moves a sample, or a code vector, by less than this share of its size.
NOISE = 16 * 2.0**-53

# A sample is far from the map if its norm exceeds this multiple of the largest code vector's. The
# noise of its own size then counts no more than that of a sample at this distance.
FAR = 16.0


def distance_noise(sizes: Any, extent: Any, lowest: Any, metric: Metric, n_features: Any) -> Any:
    """Bound how rounding may change a distance: of the points, and of a sum over the features.

    Works for arrays of NumPy and TensorFlow.

    Parameters
    ----------
    sizes : array of shape (n,)
        Size of each row: its norm, or the reduced magnitudes of its values.
    extent : float
        The same of the values that code vectors are means of.
    lowest : array of shape (n,)
        The lowest distance of each row.
    metric : Metric
    n_features : float
    """
    of_points = NOISE * (sizes + extent)
    if metric.reduction != "sum":
        return of_points
    return of_points + n_features * 2.0**-52 * lowest


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
    distances: tf.Tensor, noise: tf.Tensor, k: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the k closest units of each row by the tie rule, one after the other.

    Parameters
    ----------
    distances : Tensor of float64, shape (n, n_units)
    noise : Tensor of float64, shape (n,)
    k : Tensor of int32, shape ()

    Returns
    -------
    units : Tensor of int32, shape (n, k)
    lowest : Tensor of float64, shape (n,)
        The distance to the closest unit.
    """
    n_rows, n_units = tf.unstack(tf.shape(distances))

    def find_next(place: tf.Tensor, distances: tf.Tensor, units: tf.Tensor) -> tuple:
        lowest = tf.reduce_min(distances, axis=1, keepdims=True)
        is_near = within_rounding(distances, lowest, noise[:, None])
        first = tf.reduce_min(tf.where(is_near, tf.range(n_units), n_units - 1), axis=1)
        taken = tf.stack([tf.range(n_rows), first], axis=1)
        infinite = tf.fill([n_rows], tf.constant(np.inf, tf.float64))
        distances = tf.tensor_scatter_nd_update(distances, taken, infinite)
        return place + 1, distances, tf.concat([units, first[:, None]], axis=1)

    start = tf.constant(0), distances, tf.zeros([n_rows, 0], tf.int32)
    matrix = tf.TensorShape([None, None])
    *_, units = tf.while_loop(
        lambda place, *_: place < k,
        find_next,
        start,
        shape_invariants=(tf.TensorShape([]), matrix, matrix),
    )
    return units, tf.reduce_min(distances, axis=1)

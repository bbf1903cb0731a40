"""Lowest of many scores in two levels, and whether it is the lowest beyond rounding.

The scores of a row lie in layers of lanes: unit u is in layer ``u // n_lanes``, lane
``u % n_lanes``. The minima of one level come first, and only they need all scores; then the layer
and the lane of the lowest score are found among few. Plain TensorFlow takes the minimum of each
layer first, a program of XLA that of each lane.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from sklearn_tfsom._tf.runtime import traced_once
from sklearn_tfsom._tuning import FUSED_LAYERS, MAX_REDUCED, VECTOR_LENGTH


class Lowest(NamedTuple):
    """The lowest score of each row."""

    units: tf.Tensor  # (n, k) int32; meaningless where not clear
    score: tf.Tensor  # (n,) float32: the lowest one
    is_clear: tf.Tensor  # (n,) bool: False if another score is within the margin


def layout(n_units: tf.Tensor, *, is_fused: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """Return how many layers and lanes to use for a number of units.

    At most 32 layers, as XLA needs it, as long as 512 lanes suffice; beyond that 512 lanes and
    more layers. A few layers for `fused_lowest`.
    """
    if is_fused:
        return tf.constant(FUSED_LAYERS), VECTOR_LENGTH * -(
            -n_units // (FUSED_LAYERS * VECTOR_LENGTH)
        )
    n_vectors = -(-n_units // (MAX_REDUCED * VECTOR_LENGTH))
    n_lanes = VECTOR_LENGTH * tf.minimum(n_vectors, MAX_REDUCED)
    return -(-n_units // n_lanes), n_lanes


def lowest_of_layers(scores: tf.Tensor, bias: tf.Tensor, margin: tf.Tensor) -> Lowest:
    """Find the lowest score of each row: first the minimum of each layer.

    The scores of a layer lie side by side, and are gathered six times as fast as those of a lane.

    Parameters
    ----------
    scores : Tensor of float32, shape (n, n_layers * n_lanes)
        With their bias.
    bias : Tensor of float32, shape (n_layers, n_lanes)
        Gives the layout.
    margin : Tensor of float32, shape (n,)
        Scores this close to the lowest are not told apart; no row is clear if it is infinite.
    """
    n_layers, n_lanes = tf.unstack(tf.shape(bias), 2)
    layer_lowest = tf.reduce_min(tf.reshape(scores, [-1, n_layers, n_lanes]), axis=2)
    score = tf.reduce_min(layer_lowest, axis=1)
    limit = (score + margin)[:, None]
    layer, n_near_layers = _place_and_number(layer_lowest <= limit)
    first_layers = tf.range(tf.size(score)) * n_layers
    lanes = tf.gather(tf.reshape(scores, [-1, n_lanes]), first_layers + layer)
    lane, n_near_lanes = _place_and_number(lanes <= limit)
    is_clear = tf.equal(n_near_layers * n_near_lanes, 1) & tf.math.is_finite(margin)
    return Lowest((layer * n_lanes + lane)[:, None], score, is_clear)


def _place_and_number(is_near: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the place of the True value in each row, if it is the only one, and their number.

    Both are one product, which is faster than a reduction.
    """
    n = tf.shape(is_near)[1]
    places = tf.range(tf.cast(n, tf.float32))
    sums = tf.matmul(
        tf.cast(is_near, tf.float32), tf.stack([places, tf.ones_like(places)], axis=1)
    )
    return tf.minimum(tf.cast(sums[:, 0], tf.int32), n - 1), sums[:, 1]


def compiled_lowest(products: tf.Tensor, bias: tf.Tensor, margin: tf.Tensor) -> Lowest:
    """Find the lowest score of each row, in operations that XLA compiles well and safely.

    The bias is added where scores are compared, which is free.

    XLA in TensorFlow 2.21 hands reductions of float32 to the library YNNPACK, which is not
    thread-safe when a program runs for the first time: a process may crash. It does not do so for
    a reduction of up to 32 numbers over a tensor that has just been reshaped, nor for integers.

    Parameters
    ----------
    products : Tensor of float32, shape (n, n_layers * n_lanes)
        Scores without bias.
    bias : Tensor of float32, shape (n_layers, n_lanes)
    margin : Tensor of float32, shape (n,)
    """
    in_layers = [tf.shape(products)[0], *tf.unstack(tf.shape(bias), 2)]
    # The reshape must come last before the reduction.
    scores = tf.reshape(products + tf.reshape(bias, [-1]), in_layers)
    lane_lowest = tf.reduce_min(scores, axis=1)

    def scores_of(lane: tf.Tensor) -> tf.Tensor:
        layers = tf.gather(tf.reshape(products, in_layers), lane, axis=2, batch_dims=1)
        return layers + tf.gather(tf.transpose(bias), lane)

    return _lowest_of_lanes(lane_lowest, scores_of, margin)


def fused_lowest(
    rows: tf.Tensor, factors: tf.Tensor, bias: tf.Tensor, margin: tf.Tensor
) -> Lowest:
    """Find the lowest score of each row of few features without writing scores to memory.

    A product of so few terms is limited by writing its result to memory. Written out layer by
    layer, under XLA a score never leaves the register in which it is compared; those of the lane
    that is found are computed again. At 3 features and 1,024 units this takes a fifth of the time.

    Parameters
    ----------
    rows : Tensor of float32, shape (n, n_features)
        The number of features is known when the graph is traced.
    factors : Tensor of float32, shape (n_features, n_layers * n_lanes)
    bias : Tensor of float32, shape (n_layers, n_lanes)
    margin : Tensor of float32, shape (n,)
    """
    n_features = rows.shape[1]
    factors = tf.reshape(factors, [n_features, FUSED_LAYERS, -1])

    def score(factors: list[tf.Tensor], bias: tf.Tensor) -> tf.Tensor:
        products = (rows[:, f, None] * factors[f] for f in range(n_features))
        return functools.reduce(tf.add, products) + bias

    layers = (score(tf.unstack(factors[:, n]), bias[n]) for n in range(FUSED_LAYERS))
    lane_lowest = functools.reduce(tf.minimum, layers)
    by_lane = [tf.transpose(each) for each in tf.unstack(factors)]

    def scores_of(lane: tf.Tensor) -> tf.Tensor:
        columns = [tf.gather(each, lane) for each in by_lane]
        return score(columns, tf.gather(tf.transpose(bias), lane))

    return _lowest_of_lanes(lane_lowest, scores_of, margin)


@traced_once
def compiled_graph() -> tf.types.experimental.PolymorphicFunction:
    """Make the graph of `compiled_lowest`, which XLA compiles for each shape of a tile."""
    signature = [tf.TensorSpec([None] * rank, tf.float32) for rank in (2, 2, 1)]
    return tf.function(
        compiled_lowest, input_signature=signature, jit_compile=True, autograph=False
    )


@traced_once
def fused_graph(n_features: int) -> tf.types.experimental.PolymorphicFunction:
    """Make the graph of `fused_lowest` for a number of features."""
    shapes = [None, n_features], [n_features, None], [None, None], [None]
    signature = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    return tf.function(fused_lowest, input_signature=signature, jit_compile=True, autograph=False)


def _lowest_of_lanes(
    lane_lowest: tf.Tensor, scores_of: Callable[[tf.Tensor], tf.Tensor], margin: tf.Tensor
) -> Lowest:
    """Find lane and layer, given the lowest score of each lane and the scores of one lane."""
    score = _compiled_minimum(lane_lowest)
    limit = (score + margin)[:, None]
    lane, is_only_lane = _only(lane_lowest <= limit)
    layer, is_only_layer = _only(scores_of(lane) <= limit)
    is_clear = is_only_lane & is_only_layer & tf.math.is_finite(margin)
    return Lowest((layer * tf.shape(lane_lowest)[1] + lane)[:, None], score, is_clear)


def _only(is_near: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the place of the True value in each row, and whether it is the only one.

    One sum of integers tells both: a sum of several of them is beyond their range.
    """
    first = 2**16
    end = first + tf.shape(is_near)[1]
    total = tf.reduce_sum(tf.where(is_near, tf.range(first, end), 0), axis=1)
    number = tf.clip_by_value(total, first, end - 1)
    return number - first, tf.equal(total, number)


def _compiled_minimum(values: tf.Tensor) -> tf.Tensor:
    """Return the minimum of each row of a multiple of 16 values, fast under XLA.

    XLA takes the minimum of a row of float32 number by number, and that of integers by vectors.
    """
    by_lane = tf.reduce_min(tf.reshape(values, [tf.shape(values)[0], -1, VECTOR_LENGTH]), axis=1)
    minimum = tf.reduce_min(_sortable(tf.bitcast(by_lane, tf.int32)), axis=1)
    return tf.bitcast(_sortable(minimum), tf.float32)


def _sortable(bits: tf.Tensor) -> tf.Tensor:
    """Turn the bits of float32 numbers into integers of the same order, and back."""
    signs = tf.bitwise.right_shift(bits, 31)  # all ones where negative: the order is reversed
    return tf.bitwise.bitwise_xor(bits, tf.bitwise.bitwise_and(signs, 2**31 - 1))

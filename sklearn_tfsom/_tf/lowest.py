"""Which of many scores is the lowest, and whether it is so beyond rounding."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

# Units are searched in layers of a multiple of so many lanes, see `bmus_by_score`: one vector.
_LANES = 16

# XLA takes the minimum of more than so many numbers in two steps, see `compiled_bmus_by_score`.
_AT_ONCE = 32

# So many lanes of 16 at most keep the layers of up to 2**19 units few enough for that; numbers of
# more lanes, added up, would leave int32. Halved so often, they are few enough as well.
_MOST_VECTORS, _N_HALVINGS = 2**10, 5

# Where scores are computed lane by lane, there are so many layers.
FUSED_LAYERS = 8


def layers_for(n_units: tf.Tensor, *, is_fused: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """Lay units out for `bmus_by_score`, or for `bmus_by_lane`: how many layers and lanes."""
    if is_fused:
        return tf.constant(FUSED_LAYERS), _LANES * -(-n_units // (FUSED_LAYERS * _LANES))
    # About as many layers as lanes, so that little is left after the first level, and little added
    # to fill the last layer: 400 units are 25 of 16. In 13 of 32, which makes 416, an epoch of
    # 60,000 x 784 takes 4 ms more.
    n_vectors = tf.cast(tf.round(tf.sqrt(tf.cast(n_units, tf.float64)) / _LANES), tf.int32)
    least = tf.minimum(-(-n_units // (_AT_ONCE * _LANES)), _MOST_VECTORS)
    n_lanes = _LANES * tf.maximum(n_vectors, least)
    return -(-n_units // n_lanes), n_lanes


def bmus_by_score(scores: tf.Tensor, margin: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Find the lowest of each row of scores, and whether another comes within the margin.

    In two levels: the minimum over all layers for each lane, which is one vector instruction for
    16 scores, then the lane and the layer where the lowest stands. Only the first level touches
    all scores, and no argmin is needed, which compares one by one. Under XLA the search among the
    scores of 100,000 samples and 400 units thus takes 4 ms; an argmin in TensorFlow takes 9.

    Parameters
    ----------
    scores : Tensor of float32, shape (n, n_layers, n_lanes)
        Unit u stands in layer ``u // n_lanes``, lane ``u % n_lanes``; n_lanes is a multiple of
        `_LANES`.
    margin : Tensor of float32, shape (n,)

    Returns
    -------
    units : Tensor of int32, shape (n,)
        Meaningless where not clear.
    lowest : Tensor of float32, shape (n,)
    is_clear : Tensor of bool, shape (n,)
        False where another score is within the margin, or the margin is not finite.
    """
    lane_lowest = tf.reduce_min(scores, axis=1)
    lowest = tf.reduce_min(lane_lowest, axis=1)
    return _units_found(lane_lowest, lowest, _layers_in(scores), margin)


def compiled_bmus_by_score(
    products: tf.Tensor, bias: tf.Tensor, margin: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Do as `bmus_by_score` for XLA, which lays the scores out itself, and adds the bias.

    Where they are compared that costs nothing. Added by the operation that makes the product it
    costs an eighth of that: 13.8 ms instead of 12.0 for 100,000 x 64 and 400 units.

    XLA has to lay them out: that of TensorFlow 2.21 hands sums and minima of float32 to a
    library, YNNPACK, and where two threads are the first to run one of them, both fill the same
    list, and the process may crash (one fit in some hundred did). Not so what it has just
    reshaped, up to 32 numbers, which is as fast; nor integers.

    Parameters
    ----------
    products : Tensor of float32, shape (n, n_layers * n_lanes)
        Scores without bias.
    bias : Tensor of float32, shape (n_layers, n_lanes)
    margin : Tensor of float32, shape (n,)

    Returns
    -------
    units, lowest, is_clear
        As by `bmus_by_score`.
    """
    in_layers = [tf.shape(products)[0], *tf.unstack(tf.shape(bias))]
    # In this order: what has been reshaped last is not handed over.
    lane_lowest = tf.reduce_min(tf.reshape(products + tf.reshape(bias, [-1]), in_layers), axis=1)

    def layers_of(lane: tf.Tensor) -> tf.Tensor:
        products_of = _layers_in(tf.reshape(products, in_layers))
        return products_of(lane) + tf.gather(tf.transpose(bias), lane)

    return _units_found(lane_lowest, _lowest_of_rows(lane_lowest), layers_of, margin)


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
    return _units_found(lane_lowest, _lowest_of_rows(lane_lowest), layers_of, margin)


def _layers_in(scores: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda lane: tf.gather(scores, lane, axis=2, batch_dims=1)


def _units_found(
    lane_lowest: tf.Tensor,
    lowest: tf.Tensor,
    layers_of: Callable[[tf.Tensor], tf.Tensor],
    margin: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Find the units, given the lowest scores of each lane and of all, and a way to one lane's."""
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


def _lowest_of_rows(values: tf.Tensor) -> tf.Tensor:
    """Find the lowest of each row of a multiple of `_LANES` values, fast under XLA.

    Which takes the minimum of a row of float32 number by number, and that of integers by vectors.
    The search among 100,000 x 400 scores takes 3.6 ms with this instead of 5.4, among 100,000 x
    2,000 it takes 14 instead of 21.
    """
    for _ in range(_N_HALVINGS):
        n_lanes = tf.shape(values)[1]
        n_half = tf.maximum(-(-n_lanes // (2 * _LANES)), tf.minimum(n_lanes // _LANES, _AT_ONCE))
        n_half *= _LANES
        values = tf.minimum(values[:, :n_half], values[:, n_lanes - n_half :])  # some are in both
    by_lane = tf.reduce_min(tf.reshape(values, [tf.shape(values)[0], -1, _LANES]), axis=1)
    lowest = tf.reduce_min(_in_order(tf.bitcast(by_lane, tf.int32)), axis=1)
    return tf.bitcast(_in_order(lowest), tf.float32)


def _in_order(bits: tf.Tensor) -> tf.Tensor:
    """Turn the bits of float32 numbers into integers of the same order, and back."""
    signs = tf.bitwise.right_shift(bits, 31)  # all ones where negative: there order is reversed
    return tf.bitwise.bitwise_xor(bits, tf.bitwise.bitwise_and(signs, 2**31 - 1))

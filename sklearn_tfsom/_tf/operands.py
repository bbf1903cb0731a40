"""Code vectors and rows in the form that a search within a graph uses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sklearn_tfsom._distance import Metric
from sklearn_tfsom._map.scores import SearchKind, Sizes, Target
from sklearn_tfsom._map.ties import FAR
from sklearn_tfsom._tf.argmin import layout
from sklearn_tfsom._tf.blocks import Blocks, make_blocks

MATRIX = tf.TensorSpec([None, None], tf.float64)
VECTOR = tf.TensorSpec([None], tf.float64)
GRID_MATRIX = tf.TensorSpec([None, None, None], tf.float64)


class Operands(NamedTuple):
    """Code vectors in the form that a search within a graph uses, the same for all rows."""

    kind: SearchKind
    codebook: tf.Tensor  # (n_units, n_features) float64
    center: tf.Tensor  # (n_features,) float64
    factors32: tf.Tensor  # (n_terms, n_layers * n_lanes) float32
    bias32: tf.Tensor  # (n_layers, n_lanes) float32; infinite where there is no unit
    sizes: Sizes
    blocks: Blocks | None


def make_operands(target: Target, k: tf.Tensor) -> Operands:
    """Prepare code vectors for the search, within a graph, as `Target.factors` does for NumPy.

    Parameters
    ----------
    target : Target
    k : Tensor of int32, shape ()
        Number of units that are found for a row.
    """
    kind, codebook, center = target.kind, target.codebook, target.center
    n_features = tf.size(center)
    grid_shape, codebook = tf.shape(codebook)[:2], tf.reshape(codebook, [-1, n_features])
    around = codebook - center
    norms = tf.reduce_sum(tf.square(around), axis=1)
    own_norms = norms + 2 * tf.linalg.matvec(around, center)  # less that of the center
    factors32, bias = -2 * tf.cast(around, tf.float32), own_norms
    if kind.has_missing:
        squares = tf.square(around) + 2 * around * center
        factors32 = tf.concat([factors32, tf.cast(squares, tf.float32)], axis=1)
        bias = tf.zeros_like(bias)
    n_layers, n_lanes = layout(tf.size(bias), is_fused=kind.n_fused > 0)
    padding = [0, n_layers * n_lanes - tf.size(bias)]
    bias32 = tf.pad(tf.cast(bias, tf.float32), [padding], constant_values=np.inf)
    offset, largest = tf.norm(center), tf.sqrt(tf.reduce_max(norms))
    least = tf.sqrt(-tf.math.top_k(-norms, k).values[-1])
    sizes = Sizes(
        is_bias_in_product=kind.has_missing,
        n_features=tf.cast(n_features, tf.float64),
        n_terms=tf.cast(tf.shape(factors32)[1], tf.float64),
        largest=largest,
        least=least,
        offset=offset,
        far=FAR * tf.sqrt(tf.maximum(tf.reduce_max(own_norms) + offset**2, 0)),
        extent=sizes_of(target.extents, kind.metric),
        is_rough=kind.is_rough,
    )
    blocks = None
    if kind.is_pruned:
        blocks = make_blocks(around, factors32, bias, grid_shape, sizes)
        # For k = 1 rows are compared with the middles of blocks first.
        least = tf.where(tf.equal(k, 1), blocks.least_norm, least)
        sizes = sizes._replace(least=least)
    return Operands(
        kind=kind,
        codebook=codebook,
        center=center,
        factors32=tf.transpose(tf.pad(factors32, [padding, [0, 0]])),
        bias32=tf.reshape(bias32, [n_layers, n_lanes]),
        sizes=sizes,
        blocks=blocks,
    )


def sizes_of(values: tf.Tensor, metric: Metric) -> tf.Tensor:
    """Return the norms of rows; under an elementwise metric their reduced magnitudes."""
    if metric.is_product:
        return tf.norm(values, axis=-1)
    reduce = tf.reduce_max if metric.reduction == "max" else tf.reduce_sum
    return reduce(metric.magnitude(tf, values), axis=-1)


def known_values(values: tf.Tensor) -> tf.Tensor:
    """Replace missing values by 0."""
    return tf.where(tf.math.is_nan(values), tf.zeros([], values.dtype), values)


def as_factors32(values: tf.Tensor, kind: SearchKind) -> tf.Tensor:
    """Return rows as factors of a product in float32: with 1 where a value is known."""
    values = tf.cast(values, tf.float32)
    if not kind.has_missing:
        return values
    mask = tf.cast(~tf.math.is_nan(values), tf.float32)
    return tf.concat([known_values(values), mask], axis=1)


def scores_float32(factors32: tf.Tensor, operands: Operands) -> tf.Tensor:
    """Compute the scores of rows in float32, (n, n_layers * n_lanes)."""
    return tf.nn.bias_add(
        tf.matmul(factors32, operands.factors32), tf.reshape(operands.bias32, [-1])
    )

"""Scores of units: what a search needs of a codebook, products, and bounds on their rounding.

The score of a unit for a sample is its squared distance less what all units have in common::

    |x - w|^2 - |x|^2 = |w|^2 - 2 x.w

so one matrix product gives the scores of all units. Over the known features m of an incomplete
sample it is ``m.w^2 - 2 x.w``, with 0 for missing values: the product of (x, m) with (-2 w, w^2).
Where code vectors ``w = c + v`` lie around a center, ``v (v + 2 c) - 2 x.v`` is less by the same
for all units, and rounded in proportion to their spread.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._distance import Metric
from sklearn_tfsom._tf.argmin import layout
from sklearn_tfsom._tf.blocks import Blocks, make_blocks
from sklearn_tfsom._tf.ties import FAR, NOISE

# Products up to here, and their sums, stay in the range of float32.
_SAFE_PRODUCT = 2.0**120

MATRIX = tf.TensorSpec([None, None], tf.float64)
VECTOR = tf.TensorSpec([None], tf.float64)
SCALAR = tf.TensorSpec([], tf.float64)
GRID_MATRIX = tf.TensorSpec([None, None, None], tf.float64)


class Kind(NamedTuple):
    """Properties of a search that its graph is built for."""

    metric: Metric
    has_missing: bool
    is_pruned: bool = False  # whether units are searched in blocks
    n_fused: int = 0  # number of features, if their scores are computed where XLA compares them


class Terms(NamedTuple):
    """What to search: code vectors in the scaled space; arrays, or tensors within a graph."""

    kind: Kind
    codebook: NDArray[np.float64]  # (n_rows, n_columns, n_features), on the grid
    center: NDArray[np.float64]  # (n_features,): scores are computed around it
    extent: float  # size of the values that code vectors are rounded means of


class Operands(NamedTuple):
    """Code vectors in the form that a search within a graph uses, the same for all rows."""

    kind: Kind
    codebook: tf.Tensor  # (n_units, n_features) float64
    center: tf.Tensor  # (n_features,) float64
    factors: tf.Tensor  # (n_units, n_terms) float64
    bias: tf.Tensor  # (n_units,) float64
    factors32: tf.Tensor  # (n_terms, n_layers * n_lanes) float32
    bias32: tf.Tensor  # (n_layers, n_lanes) float32; infinite where there is no unit
    n_terms: tf.Tensor  # () float64: number of terms of a product that are not 0
    largest: tf.Tensor  # () float64: largest norm of a code vector, from the center on
    offset: tf.Tensor  # () float64: norm of the center
    far: tf.Tensor  # () float64: samples with a larger norm are far from the map
    extent: tf.Tensor  # () float64
    blocks: Blocks | None

    @property
    def n_units(self) -> tf.Tensor:
        """Number of units, () int32."""
        return tf.shape(self.codebook)[0]


def make_operands(terms: Terms, n_terms: tf.Tensor | None = None) -> Operands:
    """Prepare code vectors for the search, within a graph.

    Parameters
    ----------
    terms : Terms
    n_terms : Tensor of float64, shape (), default=None
        Largest number of values of a row that are not 0; by default the number of features.
    """
    kind, codebook, center, extent = terms
    n_features = tf.shape(codebook)[2]
    grid_shape, codebook = tf.shape(codebook)[:2], tf.reshape(codebook, [-1, n_features])
    around = codebook - center
    norms = tf.reduce_sum(tf.square(around), axis=1)
    squares = tf.square(around) + 2 * around * center
    factors, bias = -2 * around, tf.reduce_sum(squares, axis=1)
    if kind.has_missing:
        factors, bias = tf.concat([factors, squares], axis=1), tf.zeros_like(bias)
    if n_terms is None:
        n_terms = tf.cast(tf.shape(factors)[1], tf.float64)
    n_layers, n_lanes = layout(tf.size(bias), is_fused=kind.n_fused > 0)
    padding = [0, n_layers * n_lanes - tf.size(bias)]
    factors32 = tf.transpose(tf.pad(tf.cast(factors, tf.float32), [padding, [0, 0]]))
    bias32 = tf.pad(tf.cast(bias, tf.float32), [padding], constant_values=np.inf)
    largest_norm = tf.sqrt(tf.reduce_max(tf.reduce_sum(tf.square(codebook), axis=1)))
    return Operands(
        kind=kind,
        codebook=codebook,
        center=center,
        factors=factors,
        bias=bias,
        factors32=factors32,
        bias32=tf.reshape(bias32, [n_layers, n_lanes]),
        n_terms=n_terms,
        largest=tf.sqrt(tf.reduce_max(norms)),
        offset=tf.norm(center),
        far=FAR * largest_norm,
        extent=extent,
        blocks=make_blocks(around, factors, bias, grid_shape) if kind.is_pruned else None,
    )


def known_values(values: tf.Tensor) -> tf.Tensor:
    """Replace missing values by 0."""
    return tf.where(tf.math.is_nan(values), tf.zeros([], values.dtype), values)


def with_mask(values: tf.Tensor, has_missing: bool) -> tf.Tensor:
    """Return incomplete rows as factors of a product: known values, and 1 where they are known."""
    if not has_missing:
        return values
    mask = tf.cast(~tf.math.is_nan(values), values.dtype)
    return tf.concat([known_values(values), mask], axis=1)


def as_factors32(values: tf.Tensor, kind: Kind) -> tf.Tensor:
    """Return rows as factors of a product in float32."""
    return with_mask(tf.cast(values, tf.float32), kind.has_missing)


def scores_float32(factors32: tf.Tensor, operands: Operands) -> tf.Tensor:
    """Compute the scores of rows in float32, (n, n_layers * n_lanes)."""
    return tf.nn.bias_add(
        tf.matmul(factors32, operands.factors32), tf.reshape(operands.bias32, [-1])
    )


def scores_float64(values: tf.Tensor, operands: Operands) -> tf.Tensor:
    """Compute the scores of rows in float64, (n, n_units)."""
    rows = with_mask(tf.cast(values, tf.float64), operands.kind.has_missing)
    return operands.bias + tf.matmul(rows, operands.factors, transpose_b=True)


def rounding_bound(norms: tf.Tensor, operands: Operands, unit_roundoff: float) -> tf.Tensor:
    """Bound the difference that rounding makes between two scores.

    A score ``|w|^2 - 2 x.w`` is off by at most ``(1.1 n + 8) u 2 |x| |w|`` for a product of n
    terms (Higham 2002, section 3.1, and the rounding of both factors) plus ``4 u |w|^2`` for the
    bias and the last sum, of which the bias itself is a sum in float64. Two scores are off by
    twice that, and by the noise of the points. For missing values the product is of
    ``2 |x| |w| + |w|^2``. Around a center c it is ``|v|`` in place of ``|w|``, and
    ``|v|^2 + 2 |v| |c|`` in place of ``|w|^2``.

    Parameters
    ----------
    norms : Tensor of float64, shape (n,)
        Squared norms of the rows.
    operands : Operands
    unit_roundoff : float
        2**-24 for float32, 2**-53 for float64.

    Returns
    -------
    bound : Tensor of float64, shape (n,)
    """
    length, biased = tf.sqrt(norms), operands.largest + 2 * operands.offset
    of_product = length + biased / 2 if operands.kind.has_missing else length
    n_features = tf.cast(tf.shape(operands.codebook)[1], tf.float64)
    of_bias = (2 + 0.6 * n_features * 2.0**-53 / unit_roundoff) * biased
    of_scores = (1.1 * operands.n_terms + 8) * of_product + of_bias
    of_points = NOISE * (tf.minimum(length, operands.far) + operands.extent)
    return 4 * unit_roundoff * operands.largest * of_scores + 4 * (length + biased) * of_points


def rounding_bound32(norms: tf.Tensor, operands: Operands) -> tf.Tensor:
    """Bound it for float32; infinite where a score may exceed the range of float32."""
    is_safe = operands.n_terms * tf.sqrt(norms) * (1 + operands.largest) < _SAFE_PRODUCT
    return tf.where(is_safe, rounding_bound(norms, operands, 2.0**-24), np.inf)

"""From the statistics of units to code vectors: smoothing along the grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

# A mean direction shorter than this is what rounding left of directions that cancel out.
_SHORTEST = 1e-12


def smooth_separable(values: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Apply a `SeparableKernel` to values of shape (n_source_rows, n_source_columns, n_values).

    Row ``2 a + s`` of the source is the pair (a, s), s its parity; row ``2 b + t`` of the target
    is (b, t). So all parities go in two batches of products.
    """
    n_rows, n_columns, n_values = tf.shape(rows)[0], tf.shape(columns)[2], tf.shape(values)[2]
    n_pairs, n_source_pairs = (n_rows + 1) // 2, (tf.shape(values)[0] + 1) // 2
    # Odd numbers of rows are filled up with a row of zeros.
    extra, source_extra = n_rows % 2, tf.shape(values)[0] % 2
    values = tf.pad(values, [[0, source_extra], [0, 0], [0, 0]])
    rows = tf.pad(rows, [[0, extra], [0, source_extra]])
    values = tf.reshape(values, [n_source_pairs, 2, -1, n_values])
    along = tf.matmul(columns[:, None], values)  # (t, a, s, n_columns, n_values)
    along = tf.reshape(along, [2, 2 * n_source_pairs, n_columns * n_values])
    rows = tf.transpose(tf.reshape(rows, [n_pairs, 2, 2 * n_source_pairs]), [1, 0, 2])
    smoothed = tf.transpose(tf.matmul(rows, along), [1, 0, 2])  # (b, t, n_columns * n_values)
    return tf.reshape(smoothed, [2 * n_pairs, n_columns, n_values])[:n_rows]


def smooth_blocks(values: tf.Tensor, kinds: tf.Tensor, blocks: tf.Tensor) -> tf.Tensor:
    """Apply a `BlockKernel` to values of shape (n_rows, n_columns, n_values), row by row."""
    return tf.map_fn(
        lambda sources: tf.reduce_sum(tf.matmul(tf.gather(blocks, sources), values), axis=0),
        kinds,
        fn_output_signature=tf.TensorSpec([None, None], tf.float64),
    )


class Sphere(NamedTuple):
    """Where unit vectors lie in the frame."""

    center: tf.Tensor  # (n_features,) float64
    scale: tf.Tensor  # () float64


def update(
    codebook: tf.Tensor,
    sums: tf.Tensor,
    counts: tf.Tensor,
    smooth: Callable,
    sphere: Sphere | None = None,
) -> tf.Tensor:
    """Move the code vectors: ``(H sums) / (H counts)``, unchanged where the denominator is 0.

    On a sphere the result is moved to it, in the direction of the mean; a code vector stays where
    the directions around it cancel out.
    """
    n_features = tf.shape(codebook)[1]
    smoothed = smooth(tf.concat([sums, counts], axis=1))
    numerator, denominator = smoothed[:, :n_features], smoothed[:, n_features:]
    known = denominator != 0
    moved = tf.where(known, numerator / tf.where(known, denominator, 1), codebook)
    if sphere is None:
        return moved
    directions = moved / sphere.scale + sphere.center
    length = tf.norm(directions, axis=1, keepdims=True)
    has_direction = length > _SHORTEST
    directions /= tf.where(has_direction, length, 1)
    return tf.where(has_direction, (directions - sphere.center) * sphere.scale, codebook)


def smoother(first: tf.Tensor, second: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
    """Smooth values (n_source_units, n_values) by the kernel of these two parts."""
    smooth = smooth_separable if len(second.shape) == 4 else smooth_blocks
    n_rows = tf.shape(first)[1]

    def smoother(values: tf.Tensor) -> tf.Tensor:
        n_units, n_values = tf.unstack(tf.shape(values))
        on_grid = tf.reshape(values, [n_rows, n_units // n_rows, n_values])
        return tf.reshape(smooth(on_grid, first, second), [-1, n_values])

    return smoother


def kernel_signature(is_separable: bool) -> list[tf.TensorSpec]:
    if is_separable:
        return [
            tf.TensorSpec([None, None], tf.float64),
            tf.TensorSpec([2, 2, None, None], tf.float64),
        ]
    return [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None, None], tf.float64)]

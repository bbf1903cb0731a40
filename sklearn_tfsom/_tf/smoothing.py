"""From the statistics of units to code vectors: smoothing along the grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import tensorflow as tf

# A mean direction shorter than this is what rounding left of directions that cancel out.
_SHORTEST = 1e-12


Smoother: TypeAlias = Callable[[tf.Tensor], tf.Tensor]


def smoothers(firsts: tf.Tensor, seconds: tf.Tensor) -> Callable[[tf.Tensor | int], Smoother]:
    """Prepare smoothing by a stack of kernels, all between the same two grids.

    What follows from shapes is worked out once for all of them: within a loop over small epochs
    each of these operations would take its 0.3 to 0.5 us, as long as the products do.

    Parameters
    ----------
    firsts, seconds : Tensor
        The parts of some `SeparableKernel` or `BlockKernel`, stacked.

    Returns
    -------
    smoother : callable
        ``smoother(n)(values)`` smooths values of shape (n_source_units, n_values) by kernel n,
        to values of shape (n_units, n_values).
    """
    return _separable(firsts, seconds) if len(seconds.shape) == 5 else _by_blocks(firsts, seconds)


def smoother(first: tf.Tensor, second: tf.Tensor) -> Smoother:
    """Prepare smoothing by one kernel."""
    return smoothers(first[None], second[None])(0)


def _separable(rows: tf.Tensor, columns: tf.Tensor) -> Callable[[tf.Tensor | int], Smoother]:
    """Smooth by `SeparableKernel`.

    Row ``2 a + s`` of the source is the pair (a, s), s its parity; row ``2 b + t`` of the target
    is (b, t). So all parities go in two batches of products.
    """
    n_kernels, n_rows, n_source_rows = tf.unstack(tf.shape(rows))
    n_columns, n_source_columns = tf.unstack(tf.shape(columns)[3:], 2)
    # Odd numbers of rows are filled up with a row of zeros.
    extra, source_extra = n_rows % 2, n_source_rows % 2
    filled, source_filled = n_rows + extra, n_source_rows + source_extra
    rows = tf.pad(rows, [[0, 0], [0, extra], [0, source_extra]])
    rows = tf.reshape(rows, [n_kernels, filled // 2, 2, source_filled])
    rows = tf.transpose(rows, [0, 2, 1, 3])  # (., t, b, source_filled)
    columns = columns[:, :, None]  # (., t, 1, s, n_columns, n_source_columns)
    padding = tf.convert_to_tensor([[0, source_extra * n_source_columns], [0, 0]])
    in_pairs = tf.stack([source_filled // 2, 2, n_source_columns, -1])
    in_rows = tf.stack([2, source_filled, -1])
    units, target = tf.stack([filled * n_columns, -1]), tf.stack([n_rows * n_columns, -1])

    def by_kernel(n: tf.Tensor | int) -> Smoother:
        def smooth(values: tf.Tensor) -> tf.Tensor:
            values = tf.reshape(tf.pad(values, padding), in_pairs)
            along = tf.matmul(tf.gather(columns, n), values)  # (t, a, s, n_columns, n_values)
            smoothed = tf.matmul(tf.gather(rows, n), tf.reshape(along, in_rows))
            smoothed = tf.transpose(smoothed, [1, 0, 2])  # (b, t, n_columns * n_values)
            return tf.slice(tf.reshape(smoothed, units), [0, 0], target)

        return smooth

    return by_kernel


def _by_blocks(kinds: tf.Tensor, blocks: tf.Tensor) -> Callable[[tf.Tensor | int], Smoother]:
    """Smooth by `BlockKernel`, row by row."""
    n_rows, n_columns = tf.shape(kinds)[1], tf.shape(blocks)[2]
    on_grid, units = tf.stack([n_rows, n_columns, -1]), tf.stack([n_rows * n_columns, -1])

    def by_kernel(n: tf.Tensor | int) -> Smoother:
        def smooth(values: tf.Tensor) -> tf.Tensor:
            values, kernel = tf.reshape(values, on_grid), blocks[n]

            def row(sources: tf.Tensor) -> tf.Tensor:
                return tf.reduce_sum(tf.matmul(tf.gather(kernel, sources), values), axis=0)

            spec = tf.TensorSpec([None, None], tf.float64)
            return tf.reshape(tf.map_fn(row, kinds[n], fn_output_signature=spec), units)

        return smooth

    return by_kernel


class Sphere(NamedTuple):
    """Where unit vectors lie in the frame."""

    center: tf.Tensor  # (n_features,) float64
    scale: tf.Tensor  # () float64


def update(
    codebook: tf.Tensor,
    sums: tf.Tensor,
    counts: tf.Tensor,
    smooth: Smoother,
    sphere: Sphere | None = None,
) -> tf.Tensor:
    """Move the code vectors: ``(H sums) / (H counts)``, unchanged where the denominator is 0.

    On a sphere the result is moved to it, in the direction of the mean; a code vector stays where
    the directions around it cancel out.
    """
    smoothed = smooth(tf.concat([sums, counts], axis=1))
    numerator, denominator = tf.split(smoothed, [tf.shape(codebook)[1], -1], axis=1)
    known = denominator != 0
    moved = tf.where(known, numerator / tf.where(known, denominator, 1), codebook)
    if sphere is None:
        return moved
    directions = moved / sphere.scale + sphere.center
    length = tf.norm(directions, axis=1, keepdims=True)
    has_direction = length > _SHORTEST
    directions /= tf.where(has_direction, length, 1)
    return tf.where(has_direction, (directions - sphere.center) * sphere.scale, codebook)


def kernel_signature(is_separable: bool) -> list[tf.TensorSpec]:
    if is_separable:
        return [
            tf.TensorSpec([None, None], tf.float64),
            tf.TensorSpec([2, 2, None, None], tf.float64),
        ]
    return [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None, None], tf.float64)]

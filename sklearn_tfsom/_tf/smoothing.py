"""From the statistics of units to code vectors: smoothing along the grid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._map.neighborhood import Kernel, SeparableKernel
from sklearn_tfsom._tf.runtime import traced_once
from sklearn_tfsom._tf.scores import GRID_MATRIX, MATRIX, SCALAR, VECTOR

# A mean direction shorter than this is what rounding leaves of directions that cancel out.
_MIN_DIRECTION = 1e-12


class Sphere(NamedTuple):
    """Place of the unit sphere in the scaled space, for metrics that compare directions."""

    center: tf.Tensor  # (n_features,) float64
    scale: tf.Tensor  # () float64


def kernel_arrays(kernel: Kernel) -> tuple[NDArray, NDArray]:
    """Return a kernel as two arrays for `smooth`.

    Rows of a separable kernel are sorted by parity: row ``2 b + t`` of the target comes to (t, b).
    Odd numbers of rows are filled with zeros.
    """
    if not isinstance(kernel, SeparableKernel):
        return kernel.kinds, kernel.blocks
    n_rows, n_source_rows = kernel.rows.shape
    rows = np.pad(kernel.rows, [[0, n_rows % 2], [0, n_source_rows % 2]])
    return rows.reshape(-1, 2, rows.shape[1]).transpose(1, 0, 2).copy(), kernel.columns


def kernel_specs(is_separable: bool) -> list[tf.TensorSpec]:
    """Return the specifications of `kernel_arrays`."""
    if is_separable:
        return [
            tf.TensorSpec([2, None, None], tf.float64),
            tf.TensorSpec([2, 2, None, None], tf.float64),
        ]
    return [tf.TensorSpec([None, None], tf.int32), GRID_MATRIX]


def smooth(values: tf.Tensor, first: tf.Tensor, second: tf.Tensor, n_rows: tf.Tensor) -> tf.Tensor:
    """Sum the values of all units, weighted by the neighborhood.

    Parameters
    ----------
    values : Tensor of float64, shape (n_source_rows, n_source_columns, n_values)
    first, second : Tensor
        From `kernel_arrays`.
    n_rows : Tensor of int32, shape ()
        Number of rows of the target grid.

    Returns
    -------
    smoothed : Tensor of float64, shape (n_rows, n_columns, n_values)
    """
    if second.shape.rank == 4:
        return _smooth_separable(values, first, second, n_rows)

    def smooth_row(kinds: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.matmul(tf.gather(second, kinds), values), axis=0)

    spec = tf.TensorSpec([None, None], tf.float64)
    return tf.map_fn(smooth_row, first, fn_output_signature=spec)


def _smooth_separable(
    values: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, n_rows: tf.Tensor
) -> tf.Tensor:
    """Smooth along columns, then along rows, for all parities of both rows together."""
    n_source_rows, n_source_columns, n_values = tf.unstack(tf.shape(values))
    n_filled, n_columns = tf.shape(rows)[2], tf.shape(columns)[2]
    filled = tf.pad(values, [[0, n_filled - n_source_rows], [0, 0], [0, 0]])
    pairs = tf.reshape(filled, tf.stack([-1, 2, n_source_columns, n_values]))
    along = tf.matmul(columns[:, None], pairs)  # (t, a, s, n_columns, n_values)
    along = tf.reshape(along, tf.stack([2, n_filled, n_columns * n_values]))
    smoothed = tf.transpose(tf.matmul(rows, along), [1, 0, 2])  # (b, t, n_columns * n_values)
    return tf.reshape(smoothed, tf.stack([-1, n_columns, n_values]))[:n_rows]


def update(
    codebook: tf.Tensor,
    sums: tf.Tensor,
    counts: tf.Tensor,
    kernel: tuple[tf.Tensor, tf.Tensor],
    sphere: Sphere | None,
    source_shape: tf.Tensor | None = None,
) -> tf.Tensor:
    """Move the code vectors to ``(H sums) / (H counts)``; they stay where the denominator is 0.

    On a sphere the result is moved to it, in the direction of the mean; a code vector stays where
    the directions around it cancel out.

    Parameters
    ----------
    codebook : Tensor of float64, shape (n_rows, n_columns, n_features)
    sums : Tensor of float64, shape (n_source_units, n_features)
    counts : Tensor of float64, shape (n_source_units, 1) or (n_source_units, n_features)
    kernel : pair of Tensor
        From `kernel_arrays`.
    sphere : Sphere or None
    source_shape : Tensor of int32, shape (2,), default=None
        Rows and columns of the grid of the statistics, by default those of the codebook.
    """
    n_rows, n_columns, n_features = tf.unstack(tf.shape(codebook))
    source_shape = tf.stack([n_rows, n_columns]) if source_shape is None else source_shape
    statistics = tf.concat([sums, counts], axis=1)
    statistics = tf.reshape(statistics, tf.concat([source_shape, [-1]], axis=0))
    smoothed = smooth(statistics, *kernel, n_rows)
    numerator, denominator = tf.split(smoothed, [n_features, -1], axis=2)
    is_reached = denominator != 0
    moved = tf.where(is_reached, numerator / tf.where(is_reached, denominator, 1), codebook)
    if sphere is None:
        return moved
    directions = moved / sphere.scale + sphere.center
    length = tf.norm(directions, axis=2, keepdims=True)
    has_direction = length > _MIN_DIRECTION
    directions /= tf.where(has_direction, length, 1)
    return tf.where(has_direction, (directions - sphere.center) * sphere.scale, codebook)


def root_mean_square_move(codebook: tf.Tensor, former: tf.Tensor) -> tf.Tensor:
    """Return the root mean square distance between code vectors before and after an update."""
    squared = tf.reduce_sum(tf.math.squared_difference(codebook, former), axis=2)
    return tf.sqrt(tf.reduce_mean(squared))


@traced_once
def update_graph(
    is_separable: bool, is_spherical: bool
) -> tf.types.experimental.PolymorphicFunction:
    """Make the graph of `update`, which returns the codebook and its root mean square move."""

    def updated(
        codebook: tf.Tensor,
        sums: tf.Tensor,
        counts: tf.Tensor,
        center: tf.Tensor,
        scale: tf.Tensor,
        *kernel: tf.Tensor,
    ) -> list[tf.Tensor]:
        sphere = Sphere(center, scale) if is_spherical else None
        moved = update(codebook, sums, counts, kernel, sphere)
        return [moved, root_mean_square_move(moved, codebook)]

    signature = [GRID_MATRIX, MATRIX, MATRIX, VECTOR, SCALAR]
    signature += kernel_specs(is_separable)
    return tf.function(updated, input_signature=signature, autograph=False)


@traced_once
def project_graph(
    is_separable: bool, is_spherical: bool
) -> tf.types.experimental.PolymorphicFunction:
    """Make the graph of an update whose target is another grid.

    Where the denominator is 0, the smoothed old codebook takes the place of a former code vector.
    """

    def projected(
        codebook: tf.Tensor,
        sums: tf.Tensor,
        counts: tf.Tensor,
        n_rows: tf.Tensor,
        center: tf.Tensor,
        scale: tf.Tensor,
        *kernel: tf.Tensor,
    ) -> list[tf.Tensor]:
        values = tf.concat([codebook, tf.ones_like(codebook[:, :, :1])], axis=2)
        first, second = kernel
        around = smooth(values, first, second, n_rows)
        former = around[:, :, :-1] / around[:, :, -1:]
        sphere = Sphere(center, scale) if is_spherical else None
        return [update(former, sums, counts, kernel, sphere, tf.shape(codebook)[:2])]

    number = tf.TensorSpec([], tf.int32)
    signature = [GRID_MATRIX, MATRIX, MATRIX, number, VECTOR, SCALAR, *kernel_specs(is_separable)]
    return tf.function(projected, input_signature=signature, autograph=False)

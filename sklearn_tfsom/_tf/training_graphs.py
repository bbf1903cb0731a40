"""The graphs of training: an epoch, its parts, and the way from one grid to the next.

They are traced once in a process for each precision and kind of kernel, with and without loops and
missing values, and for few samples; no shape and no value is part of the trace, but for the number
of features where few are fused.
"""

from __future__ import annotations

import tensorflow as tf

from sklearn_tfsom._tf.exact import Layout, search_terms
from sklearn_tfsom._tf.graphs import one_graph
from sklearn_tfsom._tf.search import TILING_SIGNATURE
from sklearn_tfsom._tf.smoothing import (
    Smoother,
    Sphere,
    kernel_signature,
    smoother,
    smoothers,
    update,
)
from sklearn_tfsom._tf.statistics import Rows, statistics

# Counts below have faded.
_FADED = 1e-200

_CODEBOOK = tf.TensorSpec([None, None], tf.float64)
_VECTOR = tf.TensorSpec([None], tf.float64)
_SCALAR = tf.TensorSpec([], tf.float64)
_SPHERE = [_VECTOR, _SCALAR]


def _rows(dtype: tf.DType, n_fused: int = 0) -> list[tf.TensorSpec]:
    return [tf.TensorSpec([None, n_fused or None], dtype), _VECTOR, _VECTOR]


def _sphere(is_spherical: bool, center: tf.Tensor, scale: tf.Tensor) -> Sphere | None:
    return Sphere(center, scale) if is_spherical else None


def _extent(sphere: Sphere | None) -> tf.Tensor:
    """Return what code vectors are rounded at: the spread of the data, or the sphere's radius."""
    one = tf.ones([], tf.float64)
    return one if sphere is None else one + tf.norm(sphere.center) * sphere.scale


def _move(moved: tf.Tensor, codebook: tf.Tensor) -> tf.Tensor:
    squared = tf.reduce_sum(tf.math.squared_difference(moved, codebook), axis=1)
    return tf.sqrt(tf.reduce_mean(squared))


def _epoch(
    rows: Rows,
    codebook: tf.Tensor,
    sphere: Sphere | None,
    smooth: Smoother,
    is_incomplete: bool,
    geometry: str,
    layout: Layout,
    *tiling: tf.Tensor,
) -> list[tf.Tensor]:
    """Search, sum up and move: the codebook, the sums and the counts, and what is measured."""
    terms = search_terms(codebook, _extent(sphere), is_incomplete, geometry, layout)
    total = statistics(rows, terms, *tiling)
    moved = update(codebook, total.sums, total.counts, smooth, sphere)
    measured = tf.stack([total.error, _move(moved, codebook)])
    return [moved, total.sums, total.counts, measured]


@one_graph
def epoch_graph(
    dtype: tf.DType,
    is_separable: bool,
    is_incomplete: bool,
    geometry: str,
    n_fused: int,
    in_blocks: bool,
) -> tf.types.experimental.PolymorphicFunction:
    """Make the graph of an epoch of many tiles."""

    def epoch(*inputs: tf.Tensor) -> list[tf.Tensor]:
        *rows, codebook, center, scale, first, second, n_tile, compiled_rows, n_columns = inputs
        sphere = _sphere(geometry == "spherical", center, scale)
        kind = smoother(first, second), is_incomplete, geometry
        layout = Layout.of(codebook, is_incomplete, n_fused, n_columns if in_blocks else None)
        tiling = n_tile, compiled_rows, n_columns
        return _epoch(Rows(*rows), codebook, sphere, *kind, layout, *tiling)

    signature = [*_rows(dtype, n_fused), _CODEBOOK, *_SPHERE, *kernel_signature(is_separable)]
    signature += TILING_SIGNATURE
    return tf.function(epoch, input_signature=signature, autograph=False)


@one_graph
def epochs_graph(
    dtype: tf.DType, is_separable: bool, is_incomplete: bool, geometry: str, is_small: bool
) -> tf.types.experimental.PolymorphicFunction:
    """Make the graph of some epochs of a single tile, which returns what each of them leaves.

    Where an epoch takes a fraction of a millisecond, calling a graph takes as long: a fit of iris
    on 10x10 once took 15 ms of CPU time instead of 23.
    """

    def epochs(*inputs: tf.Tensor) -> list[tf.Tensor]:
        *rows, codebook, center, scale, firsts, seconds = inputs
        sphere, n_epochs = _sphere(geometry == "spherical", center, scale), tf.shape(firsts)[0]
        layout = Layout.of(codebook, is_incomplete, is_small=is_small)
        by_kernel = smoothers(firsts, seconds)
        kind = is_incomplete, geometry, layout

        def epoch(
            n: tf.Tensor, codebook: tf.Tensor, left: list[tf.TensorArray]
        ) -> tuple[tf.Tensor, tf.Tensor, list[tf.TensorArray]]:
            leaves = _epoch(Rows(*rows), codebook, sphere, by_kernel(n), *kind)
            written = [a.write(n, x) for a, x in zip(left, leaves, strict=True)]
            return n + 1, leaves[0], written

        shapes = [[None, None]] * 3 + [[2]]
        left = [tf.TensorArray(tf.float64, n_epochs, element_shape=shape) for shape in shapes]
        _, _, left = tf.while_loop(lambda n, *_: n < n_epochs, epoch, (0, codebook, left))
        return [each.stack() for each in left]

    kernels = [
        tf.TensorSpec([None, *spec.shape], spec.dtype) for spec in kernel_signature(is_separable)
    ]
    signature = [*_rows(dtype), _CODEBOOK, *_SPHERE, *kernels]
    return tf.function(epochs, input_signature=signature, autograph=False)


@one_graph
def piece_graph(
    dtype: tf.DType,
    is_one_tile: bool,
    is_incomplete: bool,
    geometry: str,
    n_fused: int,
    in_blocks: bool,
    is_small: bool,
) -> tf.types.experimental.PolymorphicFunction:
    """Make the graph of the statistics alone."""

    def piece(
        values: tf.Tensor,
        norms: tf.Tensor,
        weights: tf.Tensor,
        codebook: tf.Tensor,
        center: tf.Tensor,
        scale: tf.Tensor,
        *tiling: tf.Tensor,
    ) -> list[tf.Tensor]:
        extent = _extent(_sphere(geometry == "spherical", center, scale))
        n_columns = tiling[2] if in_blocks else None
        layout = Layout.of(codebook, is_incomplete, n_fused, n_columns, is_small=is_small)
        terms = search_terms(codebook, extent, is_incomplete, geometry, layout)
        return list(statistics(Rows(values, norms, weights), terms, *tiling))

    signature = [*_rows(dtype, n_fused), _CODEBOOK, *_SPHERE]
    if not is_one_tile:
        signature += TILING_SIGNATURE
    return tf.function(piece, input_signature=signature, autograph=False)


@one_graph
def update_graph(
    is_separable: bool, is_spherical: bool
) -> tf.types.experimental.PolymorphicFunction:
    """Make the graph that moves the code vectors by given statistics."""

    def moved_by(
        codebook: tf.Tensor,
        sums: tf.Tensor,
        counts: tf.Tensor,
        error: tf.Tensor,
        center: tf.Tensor,
        scale: tf.Tensor,
        first: tf.Tensor,
        second: tf.Tensor,
    ) -> list[tf.Tensor]:
        sphere = _sphere(is_spherical, center, scale)
        moved = update(codebook, sums, counts, smoother(first, second), sphere)
        return [moved, sums, counts, tf.stack([error, _move(moved, codebook)])]

    signature = [_CODEBOOK] * 3 + [_SCALAR, *_SPHERE, *kernel_signature(is_separable)]
    return tf.function(moved_by, input_signature=signature, autograph=False)


@one_graph
def learn_graph(
    is_separable: bool, is_spherical: bool
) -> tf.types.experimental.PolymorphicFunction:
    """Make the graph that adds statistics to faded ones, and moves the code vectors by both."""

    def learn(
        codebook: tf.Tensor,
        sums: tf.Tensor,
        counts: tf.Tensor,
        new_sums: tf.Tensor,
        new_counts: tf.Tensor,
        factors: tf.Tensor,
        center: tf.Tensor,
        scale: tf.Tensor,
        first: tf.Tensor,
        second: tf.Tensor,
    ) -> list[tf.Tensor]:
        fade, unit_weight = tf.unstack(factors, 2)
        counts = fade * counts + unit_weight * new_counts
        # What has faded that far is more than floating point can tell from 0.
        is_left = counts > _FADED
        counts = tf.where(is_left, counts, tf.zeros_like(counts))
        sums = fade * sums + unit_weight * new_sums
        sums = tf.where(is_left, sums, tf.zeros_like(sums))
        sphere = _sphere(is_spherical, center, scale)
        return [update(codebook, sums, counts, smoother(first, second), sphere), sums, counts]

    signature = [*[_CODEBOOK] * 5, _VECTOR, *_SPHERE, *kernel_signature(is_separable)]
    return tf.function(learn, input_signature=signature, autograph=False)


@one_graph
def onto_grid_graph(is_spherical: bool) -> tf.types.experimental.PolymorphicFunction:
    def onto_grid(
        codebook: tf.Tensor,
        sums: tf.Tensor,
        counts: tf.Tensor,
        center: tf.Tensor,
        scale: tf.Tensor,
        first: tf.Tensor,
        second: tf.Tensor,
    ) -> list[tf.Tensor]:
        # Where the denominator is 0, there is no former code vector on another grid: the codebook,
        # interpolated, stands in for it.
        smooth = smoother(first, second)
        around = smooth(tf.concat([codebook, tf.ones_like(codebook[:, :1])], axis=1))
        former = around[:, :-1] / around[:, -1:]
        return [update(former, sums, counts, smooth, _sphere(is_spherical, center, scale))]

    signature = [_CODEBOOK] * 3 + _SPHERE + kernel_signature(is_separable=True)
    return tf.function(onto_grid, input_signature=signature, autograph=False)

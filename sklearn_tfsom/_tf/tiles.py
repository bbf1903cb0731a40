"""A loop over tiles of rows within a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf


def loop_tiles(
    function: Callable[[tf.Tensor, tf.Tensor], Sequence[tf.Tensor]],
    n_rows: tf.Tensor,
    n_tile: tf.Tensor,
    specs: Sequence[tf.TensorSpec],
) -> list[tf.Tensor]:
    """Call a function for each tile of some rows, and concatenate the results.

    Parameters
    ----------
    function : callable
        ``function(start, stop)`` returns tensors with one row for each row of the tile.
    n_rows, n_tile : Tensor of int32, shape ()
        Number of rows, of all and of a tile.
    specs : sequence of TensorSpec
        Specifications of what the function returns.

    Returns
    -------
    results : list of Tensor
    """

    def next_tile(index: tf.Tensor, *arrays: tf.TensorArray) -> tuple:
        parts = function(index * n_tile, (index + 1) * n_tile)
        written = (array.write(index, part) for array, part in zip(arrays, parts, strict=True))
        return index + 1, *written

    n_tiles = -(-n_rows // n_tile)
    empty = (
        tf.TensorArray(spec.dtype, size=n_tiles, element_shape=spec.shape, infer_shape=False)
        for spec in specs
    )
    _, *arrays = tf.while_loop(
        lambda index, *_: index < n_tiles,
        next_tile,
        (tf.constant(0), *empty),
        parallel_iterations=1,  # other threads have chunks of their own
    )
    return [array.concat() for array in arrays]

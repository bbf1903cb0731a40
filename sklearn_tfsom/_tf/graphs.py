"""Graphs: traced once each, and compiled where that pays."""

from __future__ import annotations

import collections
import contextlib
import functools
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import tensorflow as tf

from sklearn_tfsom._tf.silence import startup_lines_held_back

Graph: TypeAlias = Callable[..., Any]

_tracing = threading.Lock()

# From so many rows of scores on XLA compiles the search. It takes 100 ms and saves 40 ns a row at
# 100 units, 90 at 400, 240 at 2,000: it is begun once a fair part of that would have been saved.
# Who searches little is spared it, and who searches much hardly loses anything.
_MIN_COMPILED_ROWS = 2**19
_searched: collections.Counter[tuple[Any, ...]] = collections.Counter()

# Up to so many features scores are computed where they are compared, by `lowest.bmus_by_lane`.
_MOST_FUSED_FEATURES = 8
_MOST_FUSED_UNITS = 2**17  # in 2**14 lanes: indices and counts of more do not share an int32

# That takes graphs of their own, 0.7 s with the compilation, and saves 0.06 to 0.18 ns a score.
_MIN_FUSED_SCORES = 2**31


def one_graph(make: Callable[..., Any]) -> Callable:
    """Decorate a function that makes a graph so that each is traced once, by whatever thread.

    Or several graphs, a tuple. Every dimension in the graphs' signatures is None, but for what no
    shape of data changes (and the number of features in those that fuse few of them): one trace
    serves all shapes. What comes back takes and returns tensors.
    """

    @functools.cache
    def traced(*kind: Any) -> Graph | tuple[Graph, ...]:
        with _garbage_kept():
            made = make(*kind)
            if isinstance(made, tuple):
                return tuple(_unchecked(each.get_concrete_function()) for each in made)
            return _unchecked(made.get_concrete_function())

    @functools.wraps(traced)
    def locked(*kind: Any) -> Any:
        with _tracing:
            return traced(*kind)

    return locked


def tile_by_tile(
    function: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]],
    n_rows: tf.Tensor,
    n_tile: tf.Tensor,
    dtypes: tuple[tf.DType, ...],
) -> list[tf.Tensor]:
    """Make a loop that calls a function for all tiles of some rows, within a graph.

    Parameters
    ----------
    function : callable
        ``function(start, stop)`` returns tensors of shape (n,) for these rows.
    n_rows, n_tile : Tensor of int32, shape ()
        The number of rows, and that of a tile.
    dtypes : tuple of DType
        Of what it returns.

    Returns
    -------
    all : list of Tensor, shape (n_rows,)
    """

    def next_tile(index: tf.Tensor, *arrays: tf.TensorArray) -> tuple:
        parts = function(index * n_tile, (index + 1) * n_tile)
        written = (array.write(index, part) for array, part in zip(arrays, parts, strict=True))
        return index + 1, *written

    n_tiles = -(-n_rows // n_tile)
    empty = (
        tf.TensorArray(dtype, size=n_tiles, element_shape=[None], infer_shape=False)
        for dtype in dtypes
    )
    _, *arrays = tf.while_loop(
        lambda index, *_: index < n_tiles,
        next_tile,
        (tf.constant(0), *empty),
        parallel_iterations=1,  # the rest of the machine has chunks of its own, or other tiles
    )
    return [array.concat() for array in arrays]


def _unchecked(graph: Any) -> Graph:
    """Return the shortest way to a graph that takes tensors and returns a list of them.

    A concrete function compares each argument with its signature, 15 us for each: a call of eight
    takes 150 us instead of 30.
    """
    call = getattr(getattr(graph, "inference_fn", None), "call_flat", graph)
    return graph if graph.captured_inputs else call


@contextlib.contextmanager
def _garbage_kept() -> Iterator[None]:
    """Keep Python from looking for garbage meanwhile.

    Tracing makes so many objects that a full search would fall into it, through all that importing
    TensorFlow has left: 0.2 s of a first fit of 0.7 s, to find nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def is_worth_compiling(
    shape: tuple[Any, ...], n_samples: int, try_out: Callable[[], Any] | None = None
) -> bool:
    """Say whether XLA is to compile the search of such tiles, and have the compiler ready if so.

    It is once so many samples have been searched in this process: who searches a lot by and by
    gets there as well as who has many samples. `try_out` compiles something small of a kind that
    makes XLA write lines of its own.
    """
    with _tracing:
        _searched[shape] += n_samples
        if _searched[shape] < _MIN_COMPILED_ROWS:
            return False
        _quietly(_take_roots)
        if try_out is not None:
            _quietly(try_out)
    return True


def is_worth_fusing(shape: tuple[int, int, int], n_samples: int) -> bool:
    """Say whether few features are worth a graph of their own, which XLA compiles as well.

    Parameters
    ----------
    shape : tuple (n_tile, n_units, n_features)
    n_samples : int
        That are to be searched now.
    """
    _, n_units, n_features = shape
    if n_features > _MOST_FUSED_FEATURES or n_units > _MOST_FUSED_UNITS:
        return False
    with _tracing:
        _searched["fused", *shape] += n_samples
        if _searched["fused", *shape] * n_units < _MIN_FUSED_SCORES:
            return False
        _quietly(_take_roots)
    return True


@functools.cache
def _quietly(compile_something: Callable[[], Any]) -> None:
    """Compile something small, once: XLA has start-up lines of its own."""
    with startup_lines_held_back():
        compile_something()


def _take_roots() -> None:
    roots = tf.function(tf.sqrt, jit_compile=True, autograph=False)  # a sum would start less of it
    roots(tf.zeros(1)).numpy()

"""Tiles of rows, and a function called for all of them in a few threads."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar

import threadpoolctl

_Result = TypeVar("_Result")

# More threads than this wait for memory together.
_MAX_THREADS = 4


def row_slices(n_rows: int, step: int) -> list[slice]:
    """Cut rows into slices; no rows have no slice (`sklearn.utils.gen_batches` refuses them)."""
    return [slice(first, min(first + step, n_rows)) for first in range(0, n_rows, step)]


def map_tiles(function: Callable[[slice], _Result], tiles: list[slice]) -> Iterator[_Result]:
    """Call a function for all tiles in a few threads, and yield its results in their order.

    NumPy's error state is not passed on: it belongs to each thread.
    """
    if len(tiles) < 2:
        yield from map(function, tiles)
        return
    n_threads = min(_MAX_THREADS, len(tiles), os.cpu_count() or 1)
    with ThreadPoolExecutor(n_threads) as pool:
        yield from pool.map(function, tiles)


@functools.cache
def _threadpools() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()


def blas_in_one_thread() -> AbstractContextManager:
    """Return a context in which NumPy's products run in the thread that calls.

    After each product BLAS threads wait for more work for 0.1 s, spinning, and take the cores from
    the threads of `map_tiles` and of TensorFlow.
    """
    limits: AbstractContextManager = _threadpools().limit(limits=1, user_api="blas")
    return limits

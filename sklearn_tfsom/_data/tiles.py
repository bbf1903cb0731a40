"""Tiles of rows, and a function called for all of them in a few threads."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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


class _BlasLimit:
    """A limit of one BLAS thread that is lifted when the last of several threads leaves it."""

    def __init__(self) -> None:
        self._lock, self._depth = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._limit = _threadpools().limit(limits=1, user_api="blas")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._limit.restore_original_limits()


@functools.cache
def _threadpools() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()


# A context in which NumPy's products run in the thread that calls. After each product BLAS threads
# wait for more work for 0.1 s, spinning, and take the cores from the threads of `map_tiles` and of
# TensorFlow.
blas_in_one_thread = _BlasLimit()

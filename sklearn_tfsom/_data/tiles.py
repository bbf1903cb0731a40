"""Tiles of rows, and a function called for all of them in a few threads."""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import os
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from sklearn_tfsom._machine import check_address_space, n_cores, n_threads_of_joblib
from sklearn_tfsom._tuning import (
    LEAST_ADDRESS_SPACE,
    MAX_SMALL_PRODUCT,
    MAX_SMALL_ROWS,
    MIN_SMALL_ROWS,
)

# Products of two numbers in a product of matrices for which OpenBLAS takes no second thread.
_MAX_UNTHREADED = 2**18

_Tile = TypeVar("_Tile")
_Result = TypeVar("_Result")

# More threads are limited by the bandwidth of the memory.
_MAX_THREADS = 4


def _n_threads() -> int:
    return max(1, min(_MAX_THREADS, n_cores(), n_threads_of_joblib() or _MAX_THREADS))


def row_slices(n_rows: int, step: int) -> list[slice]:
    """Cut rows into slices; no rows have no slice (`sklearn.utils.gen_batches` refuses them)."""
    return [slice(first, min(first + step, n_rows)) for first in range(0, n_rows, step)]


def value_slices(n_rows: int, n_values: int, most_values: int) -> list[slice]:
    """Cut rows of `n_values` each into slices of `most_values` at most, but at least one row."""
    return row_slices(n_rows, max(1, most_values // max(1, n_values)))


def even_slices(n_rows: int, n_slices: int) -> list[slice]:
    """Cut rows into slices whose sizes differ by one at most; the first one is the largest.

    There are no more slices than rows, and at least one of some rows.
    """
    n_slices = min(max(1, n_slices), n_rows)
    bounds = [-(-n_rows * place // n_slices) for place in range(n_slices + 1)] if n_rows else []
    return list(itertools.starmap(slice, itertools.pairwise(bounds)))


def multiply(a: NDArray, b: NDArray, out: NDArray | None = None) -> NDArray:
    """Multiply matrices of one dtype in the thread that calls; the result is in C order."""
    n_rows, (n_terms, n_columns) = len(a), b.shape
    product = np.empty((n_rows, n_columns), b.dtype) if out is None else out
    n_block = _small_rows(n_terms * n_columns)
    n_blocks = n_rows // n_block if n_block else 0
    whole, rest = slice(n_blocks * n_block), slice(n_blocks * n_block, n_rows)
    is_small = n_rows * n_terms * n_columns <= _MAX_UNTHREADED
    with contextlib.nullcontext() if is_small else tile_threads:
        if n_blocks:
            blocks = product[whole].reshape(n_blocks, n_block, n_columns)
            np.matmul(a[whole].reshape(n_blocks, n_block, n_terms), b, out=blocks)
        if rest.start < n_rows:
            np.matmul(a[rest], b, out=product[rest])
    return product


def _small_rows(n_products: int) -> int:
    """Return the rows of a block that OpenBLAS multiplies without copies, or 0.

    Parameters
    ----------
    n_products : int
        Products of two numbers for each row.
    """
    n_rows = min(MAX_SMALL_PRODUCT // n_products, MAX_SMALL_ROWS)
    if n_rows < MIN_SMALL_ROWS or not _has_small_kernels():
        return 0
    return int(2 ** (n_rows.bit_length() - 1))


def map_rows(
    function: Callable[[slice], _Result], n_rows: int, most_rows: int, *, in_threads: bool
) -> Generator[_Result]:
    """Call a function for slices of rows of about equal size, and yield its results in order.

    Threads wait for each other: where there is little to do, one takes less time than two. For
    threads the number of slices is even, so that none is left alone at the end. It is the same for
    any number of threads, and so are sums of the results.

    Parameters
    ----------
    function : callable
    n_rows : int
    most_rows : int
        Rows of a slice, at most; there is at least one.
    in_threads : bool
    """
    n_slices = -(-n_rows // max(1, most_rows))
    if in_threads:
        n_slices += n_slices % 2
    slices = even_slices(n_rows, n_slices)
    yield from map_tiles(function, slices) if in_threads else map(function, slices)


def map_tiles(function: Callable[[_Tile], _Result], tiles: list[_Tile]) -> Generator[_Result]:
    """Call a function for all tiles in a few threads, and yield its results in their order.

    Within `tile_threads` the thread that calls works as well, so that a function may call
    `map_tiles` itself. NumPy's error state is not passed on: it belongs to each thread.
    """
    if len(tiles) < 2:
        yield from map(function, tiles)
        return
    with tile_threads as is_kept:
        if is_kept:
            yield from _work_and_map(function, tiles)
            return
        try:
            # Threads that have just been started may share a core with one that works at first.
            results = tile_threads.pool().map(function, tiles)
        except RuntimeError:  # see `_start_helpers`
            results = _work_and_map(function, tiles)
        yield from results


def _work_and_map(function: Callable[[_Tile], _Result], tiles: list[_Tile]) -> Iterator[_Result]:
    """Call a function for all tiles in the thread that calls, and in others that are free."""
    to_do = collections.deque(enumerate(tiles))
    done: dict[int, _Result] = {}

    def work(needed: int | None = None) -> None:
        """Work until a result is there, or nothing is left to do."""
        while needed not in done:
            try:
                index, tile = to_do.popleft()
            except IndexError:
                return
            done[index] = function(tile)

    helpers = _start_helpers(work, min(_n_threads(), len(tiles)) - 1)
    try:
        for index in range(len(tiles)):
            work(index)
            if index not in done:  # a helper works on it
                _finish(helpers)
            yield done.pop(index)
    finally:
        to_do.clear()
        _finish(helpers)


def _start_helpers(work: Callable[[], None], n_helpers: int) -> list[Future[None]]:
    """Start some threads; none once the main thread has ended, while this one goes on."""
    helpers: list[Future[None]] = []
    with contextlib.suppress(RuntimeError):  # "cannot schedule new futures after ... shutdown"
        for _ in range(n_helpers):
            helpers.append(tile_threads.pool().submit(work))
    return helpers


def _finish(helpers: list[Future[None]]) -> None:
    """Wait for the calls that have begun, and raise their errors."""
    begun = [each for each in helpers if not each.cancel()]
    wait(begun)
    for helper in begun:
        helper.result()


class _BlasLimit:
    """A limit of one BLAS thread, which any thread may set and lift.

    With OpenBLAS the limit is one of the process. threadpoolctl lets only the thread set and lift
    it that was the first to do so, until this one gives up control; all others do nothing.

    Both can be repeated: an interrupt may have ended them before they were done.
    """

    def __init__(self) -> None:
        self._former: list[int] | None = None  # numbers of threads without the limit

    def set(self) -> None:
        """Set the limit."""
        if self._former is None:
            self._former = self._blas_threads()
        for library in _blas().lib_controllers:
            library.set_num_threads(1)

    def lift(self) -> None:
        """Set the former number of threads again, unless somebody else has changed it."""
        if self._former is None:
            return
        for library, number in zip(_blas().lib_controllers, self._former, strict=True):
            if library.num_threads == 1 and number != 1:
                self._give_up_control(library)
                library.set_num_threads(number)
                self._give_up_control(library)
        self._former = None

    @staticmethod
    def _blas_threads() -> list[int]:
        return [library.num_threads for library in _blas().lib_controllers]

    @staticmethod
    def _give_up_control(library: Any) -> None:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)


class _TileThreads:
    """A context that several threads may be in at a time; the last one to leave it ends it."""

    def __init__(self) -> None:
        self._lock, self._depth, self._limit = threading.Lock(), 0, _BlasLimit()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> bool:
        """Return True if this thread or another one was in the context before."""
        is_counted = False
        try:
            with self._lock:
                if self._depth == 0:
                    check_address_space(LEAST_ADDRESS_SPACE)
                    self._limit.set()
                self._depth, is_counted = self._depth + 1, True
                return self._depth > 1
        except BaseException:  # an interrupt may come after the count: nothing else ends it
            self._leave(is_counted)
            raise

    def __exit__(self, *_: object) -> None:
        self._leave(True)

    def _leave(self, is_counted: bool) -> None:
        """End the context once all have left; an interrupt on the way is raised after that."""
        pool = None
        try:
            with self._lock:
                # The depth is 0 if the process was forked in the context.
                depth = max(0, self._depth - is_counted)
                self._depth, is_counted = depth, False
                if depth == 0:
                    pool, self._pool = self._pool, None
                    self._limit.lift()
        except BaseException:
            self._leave(is_counted)
            raise
        if pool is not None:
            pool.shutdown()  # without the lock: after an error a tile may still run and need it

    def forget_other_threads(self) -> None:
        """Begin anew in a forked process, which has none of the other threads."""
        self._lock, self._depth, self._pool = threading.Lock(), 0, None
        self._limit.lift()

    def pool(self) -> ThreadPoolExecutor:
        """Return the threads, which are started as they are needed."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_n_threads())
            return self._pool


@functools.cache
def _blas() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController().select(user_api="blas")


@functools.cache
def _has_small_kernels() -> bool:
    """Return True if every BLAS that is loaded is OpenBLAS for AVX-512."""
    controllers = _blas().lib_controllers
    return {getattr(each, "architecture", None) for each in controllers} == {"SkylakeX"}


# A context in which the threads of `map_tiles` are kept, and NumPy's products run in the thread
# that calls. After each product BLAS threads wait for more work for 0.1 s, spinning, and take the
# cores from the threads of `map_tiles` and of TensorFlow.
tile_threads = _TileThreads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=tile_threads.forget_other_threads)

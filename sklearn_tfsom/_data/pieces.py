"""The samples of a fit in pieces.

Statistics add. So everything that `fit` needs of the samples is ``pieces.reduce(function, ...)``:
a function of one piece, applied to every piece, and its results combined. (Samples in memory are
searched whole, see `_search.sources`.) Pieces are tiles of an array, a memory map or a CSR matrix
here, and the samples of several workers; `Partitions` implements the same methods over the
partitions of an engine.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.tiles import map_tiles
from sklearn_tfsom._tuning import CACHED_VALUES

# Combines two results; addition unless said otherwise.
Combine = Callable[[Any, Any], Any]

# Values of a piece up to which several are worked on at a time, in threads.
_MAX_THREADED_VALUES = 2**20

# Relative difference of a sum of weights to a whole number that is rounding.
_ROUNDING = 1e-12


class Piece(NamedTuple):
    """Some of the samples with their weights."""

    samples: Samples
    sample_weight: NDArray[np.float64]  # (n_samples,)


@dataclass(frozen=True)
class Workers:
    """The processes that fit one map, each with samples of its own; by default this one alone.

    Parameters
    ----------
    n_workers : int, default=1
    index : int, default=0
        Which of them this is.
    devices : tuple of str, default=()
        Names of the devices that share the samples of this one; empty for the CPU alone.
    all_reduce : callable, default=None
        Sums a vector over all workers, so that each gets the same bits.
    """

    n_workers: int = 1
    index: int = 0
    devices: tuple[str, ...] = ()
    all_reduce: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None

    @property
    def are_several(self) -> bool:
        """Whether there are others."""
        return self.n_workers > 1

    @property
    def has_accelerators(self) -> bool:
        """Whether the samples of this one lie on devices that are no CPUs."""
        return any("CPU" not in device.upper() for device in self.devices)

    def sum(self, values: ArrayLike) -> NDArray[np.float64]:
        """Sum arrays of one shape over all workers; each gets the same bits."""
        values = np.asarray(values, dtype=np.float64)
        if self.all_reduce is None or not values.size:
            return values
        return self.all_reduce(values.ravel()).reshape(values.shape)

    def gather(self, values: ArrayLike) -> NDArray[np.float64]:
        """Stack the arrays of all workers, of one shape: (n_workers, ...)."""
        values = np.asarray(values, dtype=np.float64)
        each = np.zeros((self.n_workers, *values.shape))
        each[self.index] = values
        return self.sum(each)

    def from_first(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the array of the first worker; those of the others only give the shape.

        Machines may round differently. So all workers use the values of the first one.
        """
        values = np.asarray(values, dtype=np.float64)
        return self.sum(values if self.index == 0 else np.zeros_like(values))

    def any(self, flag: bool) -> bool:
        """Return True if a flag is set on a worker."""
        return bool(self.sum(float(flag)) > 0)

    @contextlib.contextmanager
    def raising_together(self) -> Iterator[None]:
        """Make all workers raise where one does, instead of waiting for it.

        Raises
        ------
        ValueError
            On workers that have no error of their own.
        """
        try:
            yield
        except Exception:
            self.gather(1.0)
            raise
        (failed,) = np.nonzero(self.gather(0.0))
        if len(failed):
            raise ValueError(
                f"Worker {failed[0]} of this fit refused its parameters or its samples. See the "
                "error that it raised."
            )

    def check_same(self, facts: Mapping[str, float]) -> None:
        """Check that numbers are the same on all workers.

        Raises
        ------
        ValueError
            If they are not.
        """
        each = self.gather(list(facts.values()))
        for name, values in zip(facts, each.T, strict=True):
            (others,) = np.nonzero(values != values[0])
            if len(others):
                raise ValueError(
                    f"All workers of a fit must have the same {name}. That of worker {others[0]} "
                    "is not that of worker 0."
                )


ALONE = Workers()


class Pieces:
    """The samples of a fit, of this process or of several workers.

    Parameters
    ----------
    samples : Samples
        Those of this worker; there may be none.
    sample_weight : ndarray of float64, shape (n_samples,)
    workers : Workers, default=ALONE
    """

    # Whether the samples lie in other processes, which read them in each pass.
    are_distant = False

    def __init__(
        self, samples: Samples, sample_weight: NDArray[np.float64], workers: Workers = ALONE
    ) -> None:
        self.samples, self.sample_weight, self.workers = samples, sample_weight, workers
        self._known_totals: tuple[float, float] | None = None

    def reduce(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        combine: Combine = np.add,
        rows: Any = None,
        piece_values: int = CACHED_VALUES,
        name: str = "",
    ) -> Any:
        """Apply a function to each piece and combine the results.

        Parameters
        ----------
        function : callable
            ``function(piece, *arguments)`` returns an array or a tuple of arrays, whose shapes are
            the same for all pieces, also for an empty one. A function of a module: it and its
            arguments can be pickled.
        *arguments
        combine : callable, default=np.add
            Combines two arrays of one shape into one; associative.
        rows : ndarray of shape (n_samples,), default=None
            One value for each sample, from `rows_of` or `reduce_with_rows`. The function gets
            those of its piece as its second argument.
        piece_values : int, default=2**18
            Values of a piece, about. Pieces of up to 2**20 values are worked on in several
            threads; larger ones one after the other, by functions with threads of their own.
        name : str, default=""
            What an engine calls this pass; by default the name of the function.

        Returns
        -------
        result : ndarray of float64 or tuple of them
        """

        def of_tile(tile: slice) -> Any:
            own = () if rows is None else (rows[tile],)
            return function(self._piece(tile), *own, *arguments)

        # No local name for the generator: the traceback of an error would keep it and its threads.
        result = functools.reduce(
            functools.partial(combined, combine), self._map(of_tile, piece_values)
        )
        return self.all_reduce(result, combine)

    def rows_of(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Compute a value for each sample.

        Parameters
        ----------
        function : callable
            ``function(piece, *arguments)`` returns one value for each sample of the piece.
        *arguments

        Returns
        -------
        rows : ndarray of shape (n_samples,)
            Values for the samples of this worker. Those of distant samples are not computed before
            they are used.
        """

        def of_tile(tile: slice) -> Any:
            return function(self._piece(tile), *arguments)

        return np.concatenate(list(self._map(of_tile, CACHED_VALUES)))

    def reduce_with_rows(
        self, function: Callable[..., Any], *arguments: Any, piece_values: int = CACHED_VALUES
    ) -> tuple[Any, Any]:
        """Apply a function to each piece, add up the results, and keep a value for each sample.

        Parameters
        ----------
        function : callable
            ``function(piece, *arguments)`` returns a tuple of arrays as in `reduce`, and an array
            with one value for each sample of the piece.
        *arguments
        piece_values : int, default=2**18

        Returns
        -------
        result : tuple of ndarray of float64
        rows : ndarray of shape (n_samples,)
            Values for the samples of this worker; see `rows_of`.
        """
        kept: list[NDArray] = []

        def of_tile(tile: slice) -> Any:
            return function(self._piece(tile), *arguments)

        def kept_rows(found: tuple[Any, NDArray]) -> Any:
            kept.append(found[1])
            return found[0]

        result = functools.reduce(  # see `reduce`
            functools.partial(combined, np.add), map(kept_rows, self._map(of_tile, piece_values))
        )
        return self.all_reduce(result), np.concatenate(kept)

    def _map(self, function: Callable[[slice], Any], piece_values: int) -> Iterator[Any]:
        tiles = self.samples.tiles(piece_values) or [slice(0, 0)]
        if piece_values <= _MAX_THREADED_VALUES:
            return map_tiles(function, tiles)
        return map(function, tiles)

    def select(
        self, function: Callable[..., Any], *arguments: Any, rows: Any
    ) -> tuple[Pieces, NDArray[np.float64]]:
        """Return the samples that a function chooses; those of equal keys become one.

        Parameters
        ----------
        function : callable
            ``function(piece, *arguments)`` returns the chosen rows of a piece, in order, and an
            array of keys with one row for each; the first key tells which samples are equal.
        *arguments
        rows : ndarray of shape (n_samples,)
            One value for each sample, the second argument of the function, as in `reduce`.

        Returns
        -------
        pieces : Pieces
            The chosen samples, each with the weight of all that are equal to it. They lie here,
            also if all samples do not.
        keys : ndarray of float64, shape (n_chosen, n_keys)
        """
        chosen, keys = function(Piece(self.samples, self.sample_weight), rows, *arguments)
        part = self if len(chosen) == len(self.samples) else self.take(chosen)
        return part.merged(keys)

    def merged(self, keys: NDArray[np.float64]) -> tuple[Pieces, NDArray[np.float64]]:
        """Make samples of equal keys one, with the weight of all; see `select`."""
        _, first, group = np.unique(keys[:, 0], return_index=True, return_inverse=True)
        weights = np.bincount(group, self.sample_weight, minlength=len(first))
        in_order = np.argsort(first)  # that of the samples
        first = first[in_order]
        different = self.samples.take(first)
        return Pieces(different, weights[in_order].astype(np.float64), self.workers), keys[first]

    def all_reduce(self, result: Any, combine: Combine = np.add) -> Any:
        """Combine the results of all workers, each of which has one; each gets the same."""
        if not self.workers.are_several:
            return result
        parts = result if isinstance(result, tuple) else (result,)
        flat = np.concatenate([np.ravel(part).astype(np.float64) for part in parts])
        if combine is np.add:
            flat = self.workers.sum(flat)
        else:
            flat = functools.reduce(combine, self.workers.gather(flat))
        ends = np.cumsum([np.size(part) for part in parts])
        shaped = [
            values.reshape(np.shape(part))
            for values, part in zip(np.split(flat, ends[:-1]), parts, strict=True)
        ]
        return _as_tuple(result, shaped) if isinstance(result, tuple) else shaped[0]

    def gather_rows(
        self, function: Callable[..., Any], *arguments: Any
    ) -> tuple[NDArray[np.float64], slice]:
        """Compute numbers for each sample, of all workers: this takes memory for all of them.

        Parameters
        ----------
        function : callable
            As for `rows_of`, with an array of shape (n, n_numbers) for the samples of a piece.
        *arguments

        Returns
        -------
        joined : ndarray of float64, shape (n_samples, n_numbers)
        own : slice
            Where those of this worker are.
        """
        values = self.rows_of(function, *arguments)
        lengths = self.workers.gather(len(values)).astype(np.int64)
        start = int(lengths[: self.workers.index].sum())
        own = slice(start, start + len(values))
        if not self.workers.are_several:
            return values, own
        joined = np.zeros((lengths.sum(), values.shape[1]))
        joined[own] = values
        return self.workers.sum(joined), own

    def dense_rows(self, rows: NDArray[np.int64], own: slice) -> NDArray[np.float64]:
        """Return some of the samples of all workers as a dense array, the same on each.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)
            Numbers among the samples of all workers, in the order of `gather_rows`.
        own : slice
            The numbers of the samples of this worker.
        """
        is_own = (own.start <= rows) & (rows < own.stop)
        dense = np.zeros((len(rows), self.samples.shape[1]))
        dense[is_own] = self.samples.dense(rows[is_own] - own.start)
        return self.workers.sum(dense)

    def checksum(self) -> int:
        """Return a hash of the samples and weights of this worker that a float can represent.

        Of the values, not of directions: values decide which samples are in a subsample.
        """
        samples = self.samples
        digest = hashlib.blake2b(self.sample_weight.tobytes(), digest_size=6)
        for rows in samples.tiles():
            tile = samples.raw(rows)
            for part in (tile.data, tile.indices, tile.indptr) if samples.is_sparse else (tile,):
                digest.update(part.tobytes())
        return int.from_bytes(digest.digest())

    @property
    def total_weight(self) -> float:
        """Weight of all samples."""
        return self._totals()[0]

    @property
    def n_samples(self) -> int:
        """Number of all samples."""
        return int(self._totals()[1])

    def _totals(self) -> tuple[float, float]:
        # Not a cached property: its lock would be held while other workers are waited for.
        if self._known_totals is None:
            # Rounded as without the samples of weight 0.
            own_weight = self.sample_weight[self.sample_weight > 0].sum()
            weight, number = self.workers.sum([own_weight, len(self.samples)])
            self._known_totals = whole_weight(float(weight)), float(number)
        return self._known_totals

    @property
    def n_searched_here(self) -> int:
        """Number of samples that one process searches in a pass, about."""
        return len(self.samples)

    @property
    def own(self) -> Pieces:
        """The samples of this worker, as if it were alone."""
        return Pieces(self.samples, self.sample_weight)

    def take(self, rows: NDArray[np.int64] | slice) -> Pieces:
        """Return some of the samples of this worker."""
        return Pieces(self.samples.take(rows), self.sample_weight[rows], self.workers)

    def take_where(self, is_taken: NDArray[np.bool_]) -> Pieces:
        """Return the samples of this worker for which a value is True."""
        if is_taken.all():  # no copy; but new totals, since other workers may leave some out
            return Pieces(self.samples, self.sample_weight, self.workers)
        return self.take(np.flatnonzero(is_taken))

    def _piece(self, rows: slice) -> Piece:
        if rows == slice(0, len(self.samples)):
            return Piece(self.samples, self.sample_weight)  # a slice of CSR would be a copy
        return Piece(self.samples.take(rows), self.sample_weight[rows])


def whole_weight(total_weight: float) -> float:
    """Return a sum of weights, or the whole number that it is but for rounding.

    Rounding depends on the order of the samples, and numbers of samples and units on the sum.
    """
    if not math.isfinite(total_weight):
        return total_weight
    whole = np.round(total_weight)
    return float(whole) if abs(total_weight - whole) <= _ROUNDING * total_weight else total_weight


def combined(combine: Combine, first: Any, second: Any) -> Any:
    """Combine two results of a function of pieces, arrays or tuples of arrays."""
    if isinstance(first, tuple):
        parts = [combine(a, b) for a, b in zip(first, second, strict=True)]
        return _as_tuple(first, parts)
    return combine(first, second)


def _as_tuple(like: tuple, parts: list) -> tuple:
    """Return parts as a tuple of the same type."""
    return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)

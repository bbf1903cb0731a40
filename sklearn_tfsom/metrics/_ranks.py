"""Ranks with ties: results are means over all orders of equal values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

# Relative difference below which values are tied: of those from float64 and from float32 samples.
_ROUNDING = {np.dtype(np.float64): 2.0**-36, np.dtype(np.float32): 2.0**-20}


class Ranks(NamedTuple):
    """Ranks of weighted points, where weight k counts as k points.

    Points of equal value share the ranks after `start` up to `end`.
    """

    start: NDArray[np.float64]
    end: NDArray[np.float64]

    def probability_of_first(self, k: int) -> NDArray[np.float64]:
        """Return the probability of being among the first k, over all orders of ties."""
        return np.clip(_ratio(k - self.start, self.end - self.start), 0, 1)

    def mean_excess(self, k: int) -> NDArray[np.float64]:
        """Return the mean of ``max(0, rank - k)``, over all orders of ties."""
        sums = _sum_of_excess(self.end, k) - _sum_of_excess(self.start, k)
        return _ratio(sums, self.end - self.start)


def ranks(
    values: NDArray,
    weights: NDArray[np.float64],
    dtype: DTypeLike = np.float64,
    noise: NDArray[np.float64] | float = 0.0,
) -> Ranks:
    """Rank each row of values in ascending order.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n)
    weights : ndarray of float64, shape (n_rows, n) or (n,)
    dtype : dtype, default=float64
        Of the samples that values come from: those that differ by its rounding are tied.
    noise : ndarray of float64, shape (n_rows, 1), or float, default=0.0
        Difference up to which values of a row are tied as well.

    Returns
    -------
    ranks : Ranks
        Arrays of shape (n_rows, n).
    """
    order, first, last = _ties(values, dtype, noise)
    sorted_weights = np.take_along_axis(np.broadcast_to(weights, values.shape), order, axis=1)
    totals = np.cumsum(sorted_weights, axis=1)
    start, end = np.empty(values.shape), np.empty(values.shape)
    before = np.take_along_axis(totals, np.maximum(first - 1, 0), axis=1) * (first > 0)
    np.put_along_axis(start, order, before, axis=1)
    np.put_along_axis(end, order, np.take_along_axis(totals, last, axis=1), axis=1)
    return Ranks(start=start, end=end)


def sort_with_tie_means(
    values: NDArray,
    terms: NDArray[np.float64],
    dtype: DTypeLike = np.float64,
    noise: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.float64]:
    """Sort the terms of each row by its values, with the mean term for tied values.

    Values and terms have shape (n_rows, n). For `dtype` and `noise` see `ranks`.
    """
    order, first, last = _ties(values, dtype, noise)
    terms = np.take_along_axis(terms, order, axis=1)
    totals = np.cumsum(terms, axis=1)
    sums = np.take_along_axis(totals, last, axis=1)
    sums -= np.take_along_axis(totals, np.maximum(first - 1, 0), axis=1) * (first > 0)
    # Without ties, keep the term itself: the difference of long sums has a rounding error.
    return np.where(first == last, terms, sums / (last - first + 1))


def _ties(
    values: NDArray, dtype: DTypeLike, noise: NDArray[np.float64] | float
) -> tuple[NDArray, NDArray, NDArray]:
    """Return the order of each row, and the first and last position of each tie in it.

    A tie ends before the first value that differs from its lowest one by more than rounding.
    """
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    lowest = ordered * (1 - _ROUNDING[np.dtype(dtype)]) - noise
    n = values.shape[1]
    positions = np.broadcast_to(np.arange(n), values.shape)
    is_new = np.ones((len(values), n + 1), dtype=bool)
    is_new[:, 1:-1] = lowest[:, 1:] > ordered[:, :-1]
    first = np.maximum.accumulate(np.where(is_new[:, :-1], positions, 0), axis=1)
    is_chain = (lowest > np.take_along_axis(ordered, first, axis=1)).any(axis=1)
    for row in np.flatnonzero(is_chain):  # values that are tied to the next one each
        following = np.searchsorted(lowest[row], ordered[row], side="right").tolist()
        is_new[row, :-1], place = False, 0
        while place < n:
            is_new[row, place], place = True, following[place]
    if is_chain.any():
        first = np.maximum.accumulate(np.where(is_new[:, :-1], positions, 0), axis=1)
    ends = np.where(is_new[:, 1:], positions, n - 1)
    last = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    return order, first, last


def _sum_of_excess(n: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return the sum of ``max(0, rank - k)`` over the ranks 1 to n."""
    beyond = np.maximum(n - k, 0)
    return beyond * (beyond + 1) / 2


def _ratio(numerator: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide, with 0 for points without weight."""
    return np.divide(numerator, size, out=np.zeros(size.shape), where=size > 0)

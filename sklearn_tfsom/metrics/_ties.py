"""Ranks where values may be equal: every order of equal ones is as likely as the others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Bits of a value that count: values that differ by rounding only are equal.
_BITS = 36


class Ranks(NamedTuple):
    """Where each of some weighted points stands in an order, weight k being k points.

    Points of equal value share the ranks after `start` up to `end`.
    """

    start: NDArray[np.float64]
    end: NDArray[np.float64]

    def shares_of_first(self, k: int) -> NDArray[np.float64]:
        """Probability of being among the first k, over all orders of ties."""
        return np.clip(_ratio(k - self.start, self.end - self.start), 0, 1)

    def mean_excess(self, k: int) -> NDArray[np.float64]:
        """Mean of ``max(0, rank - k)``, over all orders of ties."""
        return _ratio(_sum_of_excess(self.end, k) - _sum_of_excess(self.start, k), self._size)

    @property
    def _size(self) -> NDArray[np.float64]:
        return self.end - self.start


def ranks(values: NDArray, weights: NDArray[np.float64]) -> Ranks:
    """Rank each row of values, the smallest first.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n)
    weights : ndarray of float64, shape (n_rows, n) or (n,)

    Returns
    -------
    ranks : Ranks
        Of arrays of shape (n_rows, n).
    """
    order, first, last = _ties(values)
    mass = np.take_along_axis(np.broadcast_to(weights, values.shape), order, axis=1)
    reached = np.cumsum(mass, axis=1)
    start, end = np.empty(values.shape), np.empty(values.shape)
    before = np.take_along_axis(reached, np.maximum(first - 1, 0), axis=1) * (first > 0)
    np.put_along_axis(start, order, before, axis=1)
    np.put_along_axis(end, order, np.take_along_axis(reached, last, axis=1), axis=1)
    return Ranks(start, end)


def tie_means(values: NDArray, terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Order the terms of each row by its values; those of equal values become their mean.

    All arrays are of shape (n_rows, n).
    """
    order, first, last = _ties(values)
    terms = np.take_along_axis(terms, order, axis=1)
    reached = np.cumsum(terms, axis=1)
    sums = np.take_along_axis(reached, last, axis=1)
    sums -= np.take_along_axis(reached, np.maximum(first - 1, 0), axis=1) * (first > 0)
    # A sum of one is what it was, not a difference of long sums.
    return np.where(first == last, terms, sums / (last - first + 1))


def _ties(values: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Order each row, and say where each run of equal values begins and ends in that order."""
    significand, exponent = np.frexp(values)
    values = np.ldexp(np.round(np.ldexp(significand, _BITS)), exponent)
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    places = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    is_new = np.ones((len(values), values.shape[1] + 1), dtype=bool)
    is_new[:, 1:-1] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(is_new[:, :-1], places, 0), axis=1)
    ends = np.where(is_new[:, 1:], places, values.shape[1] - 1)
    last = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    return order, first, last


def _sum_of_excess(n: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Sum of ``max(0, rank - k)`` over the ranks 1 to n."""
    beyond = np.maximum(n - k, 0)
    return beyond * (beyond + 1) / 2


def _ratio(number: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide, for points that are there; of those of no weight nothing is asked."""
    return np.divide(number, size, out=np.zeros(size.shape), where=size > 0)

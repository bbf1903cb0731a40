"""Random subsamples of the different values of the samples, chosen by the values alone.

Neither the order of the samples, nor repetition in place of weights, nor how they are divided
among workers changes which are chosen, or their weights.

Values of a large weight, their own or by repetition (the background of a picture), are chosen with
a probability in proportion to it: without them a subsample would not represent the samples, and
drawn as one of few values they would outweigh the others. A value that is chosen with probability
p counts as 1 / p times its weight (Horvitz and Thompson 1952), so that sums over a subsample
estimate sums over all samples.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.pieces import Piece, Pieces

# A subsample of a larger share of all samples saves too little.
_MAX_SHARE = 0.5

# Values that weigh much are found in this many bins: 2 MiB that workers exchange.
_N_BINS = 2**18

# Values of a piece for functions of the hashes alone: all samples of a worker.
_WHOLE = 2**62

# A value that weighs less than this many average bins is an ordinary one.
_ORDINARY_BINS = 4.0


class Subsamples:
    """Subsamples of several sizes; a smaller one is part of a larger one.

    Parameters
    ----------
    pieces : Pieces
        All samples.
    sizes : iterable of int
        Numbers of different samples.
    draw : int, default=0
        Another number gives another subsample.
    """

    def __init__(self, pieces: Pieces, sizes: Iterable[int], draw: int = 0) -> None:
        self._pieces = pieces
        self._thresholds: dict[int, float] = {}
        sizes = sorted(size for size in set(sizes) if size < pieces.n_samples)
        self._sizes = sizes
        if not sizes:
            return
        bits = pieces.rows_of(hashes)
        whole: dict[str, Any] = {"rows": bits, "piece_values": _WHOLE}
        bin_weights = pieces.reduce(_bin_weights, pieces.total_weight, **whole)
        n_filled = np.count_nonzero(bin_weights)
        self._preference = np.maximum(bin_weights * (n_filled / _ORDINARY_BINS), 1)
        n_lowest = sizes[-1] + 1
        lowest = pieces.reduce(
            _lowest_numbers, self._preference, n_lowest, draw, combine=_lowest, **whole
        )
        for size in sizes:
            if np.isfinite(lowest[size]):  # there are more different samples
                self._thresholds[size] = float(lowest[size - 1])
        if self._thresholds:
            threshold = max(self._thresholds.values())
            self._largest, self._keys = pieces.select(
                _chosen, self._preference, threshold, draw, rows=bits
            )

    def worthwhile(self) -> set[int]:
        """Return the sizes that are at most half of the different samples."""
        thresholds = self._thresholds.items()
        return {size for size, threshold in thresholds if threshold <= _MAX_SHARE}

    def share(self, size: int) -> float:
        """Return the share of the different samples that a subsample has, about."""
        return min(1.0, self._thresholds.get(size, 1.0))

    def subsample(self, size: int | None) -> Pieces:
        """Return a subsample, in which equal samples are one, with the weight of all of them.

        All samples as they are for None, or where there are no more than `size`.
        """
        if size not in self._sizes:
            return self._pieces
        if size not in self._thresholds:  # no more values are different
            return different_samples(self._pieces)
        threshold = self._thresholds[size]
        numbers, preference = self._keys.T
        (rows,) = np.nonzero(numbers <= threshold)
        part = self._largest.take(rows)
        probability = np.minimum(threshold * preference[rows], 1)
        return Pieces(part.samples, part.sample_weight / probability, part.workers)


def different_samples(pieces: Pieces) -> Pieces:
    """Return the samples with equal ones as one, with the weight of all, in this process."""
    return pieces.select(_all, rows=pieces.rows_of(hashes))[0]


def count_different(pieces: Pieces, most: int) -> int:
    """Count the different samples, of all workers; `most` if there are at least that many."""
    most = min(most, pieces.n_samples)
    is_here = not (pieces.workers.are_several or pieces.are_distant)
    if is_here and len(pieces.samples) > 4 * most:
        # As a rule some of them tell already.
        if count_different(pieces.take(slice(0, 2 * most)), most) == most:
            return most
    bits = pieces.rows_of(hashes)
    equal = np.ones(_N_BINS)
    found = pieces.reduce(
        _lowest_numbers, equal, most, 0, combine=_lowest, rows=bits, piece_values=_WHOLE
    )
    return int(np.isfinite(found).sum())


def _all(piece: Piece, bits: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    return np.arange(len(bits)), keys_of(bits)


def keys_of(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Turn hashes into numbers (n, 1), the same for the same values."""
    return (bits >> np.uint64(11)).astype(np.float64)[:, None]


def _numbers(
    bits: NDArray[np.uint64], preference: NDArray, draw: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw a number for each sample, lower for a preferred bin; and return the preference."""
    own = preference[_bins(bits)]
    bits = _mixed(bits ^ np.uint64(draw)) if draw else bits
    return keys_of(bits)[:, 0] * 2.0**-53 / own, own


def _bin_weights(piece: Piece, bits: NDArray[np.uint64], total: float) -> NDArray[np.float64]:
    """Sum the shares of the weight by bin."""
    shares = piece.sample_weight / total
    return np.bincount(_bins(bits), shares, minlength=_N_BINS).astype(np.float64)


def _lowest_numbers(
    piece: Piece, bits: NDArray[np.uint64], preference: NDArray, count: int, draw: int
) -> NDArray[np.float64]:
    """Find the lowest different numbers, (count,); infinite where there are fewer."""
    return _lowest(_numbers(bits, preference, draw)[0], np.full(count, np.inf))


def _lowest(numbers: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Combine different numbers: the lowest of both, as many as the second array has."""
    different = np.unique(np.concatenate([numbers, others]))[: len(others)]
    return np.append(different, np.full(len(others) - len(different), np.inf))


def _chosen(
    piece: Piece, bits: NDArray[np.uint64], preference: NDArray, threshold: float, draw: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Choose samples; return their rows, and their numbers with the preference (n, 2)."""
    numbers, own = _numbers(bits, preference, draw)
    (rows,) = np.nonzero(numbers <= threshold)
    return rows, np.column_stack([numbers, own])[rows]


def _bins(bits: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (bits % np.uint64(_N_BINS)).astype(np.int64)


@functools.lru_cache(maxsize=1)
def _multipliers(n_features: int) -> NDArray[np.uint64]:
    """Return an odd number for each feature; not to be changed."""
    numbers = np.random.RandomState(0).randint(2**63, size=n_features, dtype=np.uint64)
    return 2 * numbers + np.uint64(1)


def hashes(piece: Piece) -> NDArray[np.uint64]:
    """Hash samples: bits that look random, the same for the same values.

    A sum of integers modulo 2^64 over the features: exact in any order, and 0 adds nothing.
    """
    tile: Any = piece.samples.raw(slice(None))
    n_features = piece.samples.shape[1]
    multipliers = _multipliers(n_features)
    is_dense = isinstance(tile, np.ndarray)
    values = np.array(tile if is_dense else tile.data, np.float64, order="C")
    values += 0.0  # -0 becomes 0
    if piece.samples.has_missing:
        np.copyto(values, np.nan, where=np.isnan(values))  # one NaN for all
    words = values.view(np.uint64)
    words ^= words >> np.uint64(32)  # numbers of few digits are all in the upper half
    if is_dense:
        sums = np.einsum("sf,f->s", words, multipliers)
    else:
        reached = np.zeros(len(words) + 1, np.uint64)
        np.cumsum(words * multipliers[tile.indices], out=reached[1:])
        sums = reached[tile.indptr[1:]] - reached[tile.indptr[:-1]]
    return _mixed(sums)


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of each number by the last steps of MurmurHash3; the argument is changed."""
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        bits ^= bits >> np.uint64(33)
        bits *= np.uint64(multiplier)
    return bits ^ (bits >> np.uint64(33))

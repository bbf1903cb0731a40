"""Some of the samples that stand for all of them: chosen by what they are, and by nothing else.

Neither their order, nor repetition instead of weights, nor how they are divided among workers
changes which are chosen, or what they weigh.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.samples import Samples, map_tiles
from sklearn_tfsom._data.workers import Workers

# A subset that is a larger share of all samples saves too little.
_MOST = 0.5

# Values that weigh much are found in so many bins: 2 MiB that workers exchange.
_N_BINS = 2**18

# What weighs less than so many bins do on the average is nothing out of the ordinary.
_ORDINARY = 4.0

# Values of a tile that is hashed: 2 MiB, which stay in the cache.
_TILE_VALUES = 2**18


class Subsets:
    """Subsets of samples, each a random sample of their different values.

    What weighs much, by its weight or by its repetitions (the background of a picture), is chosen
    in proportion: left out it would be missed, and drawn as one of few it would outweigh the rest.
    What is chosen with probability p counts as 1 / p times its weight (Horvitz and Thompson 1952),
    so that sums over a subset estimate those over all samples.

    Attributes
    ----------
    samples : Samples
        All of them.
    workers : Workers
        Those who have samples.
    """

    def __init__(
        self, samples: Samples, sample_weight: NDArray[np.float64], workers: Workers
    ) -> None:
        self.samples, self._weights, self.workers = samples, sample_weight, workers
        self._n_samples = int(workers.sum(len(samples)))
        self._shares: dict[int, float] = {}

    def if_worthwhile(self, size: int | None) -> int | None:
        """Return the size of a subset, but None for all samples where it is most of them."""
        if size is None or self._n_samples <= size or self._share(size) > _MOST:
            return None
        return size

    def of(self, size: int | None) -> tuple[Samples, NDArray[np.float64]]:
        """Choose so many different samples; all of them for None, or where there are no more.

        Samples of one value become one with the weight of all.

        Returns
        -------
        samples : Samples
        sample_weight : ndarray of float64, shape (n_samples,)
        """
        if size is None:
            self.__dict__.pop("_drawn", None)  # all samples come last: 12 bytes for each are free
        if size is None or self._n_samples <= size or self._share(size) > 1:
            return self.samples, self._weights
        numbers, bins, factors = self._drawn
        chosen = np.flatnonzero(numbers <= self._share(size))
        _, first, of_value = np.unique(numbers[chosen], return_index=True, return_inverse=True)
        totals = np.bincount(of_value, self._weights[chosen], len(first))
        in_order = np.argsort(first)  # that of the samples
        chosen = chosen[first[in_order]]
        probabilities = np.minimum(self._share(size) * factors[bins[chosen]], 1)
        weights = np.asarray(totals[in_order] / probabilities, np.float64)
        if not len(chosen):  # a worker without any is still one
            chosen, weights = np.array([0]), np.zeros(1)
        samples = self.samples.take(chosen)
        if self.workers.are_several and self.samples.has_missing:
            samples = samples.marked(has_missing=True)
        return samples, weights

    def _share(self, size: int) -> float:
        """Return the number up to which samples are chosen; infinite where there are no more."""
        if size not in self._shares:
            lowest = self.workers.gather(_lowest(self._drawn[0], size + 1))
            last, following = _lowest(lowest.ravel(), size + 1)[-2:]
            self._shares[size] = float(last) if np.isfinite(following) else np.inf
        return self._shares[size]

    @functools.cached_property
    def _drawn(self) -> tuple[NDArray[np.float64], NDArray[np.uint32], NDArray[np.float64]]:
        """Draw a number for each sample, the same for the same value; the lowest are chosen.

        Returns also each sample's bin, and by how much those of a bin are preferred.
        """
        n_features = self.samples.shape[1]
        multipliers = np.random.RandomState(0).randint(2**63, size=n_features, dtype=np.uint64)
        multipliers = 2 * multipliers + np.uint64(1)

        def hashed(rows: slice) -> NDArray[np.uint64]:
            return _hashed(self.samples.raw(rows), multipliers)

        bits = np.concatenate(map_tiles(hashed, self.samples.tiles(_TILE_VALUES)))
        bins = (bits % np.uint64(_N_BINS)).astype(np.uint32)
        total = float(self.workers.sum(self._weights.sum()))
        weights = self.workers.sum(np.bincount(bins, self._weights / total, _N_BINS))
        n_filled = np.count_nonzero(weights)
        factors = np.maximum(weights * (n_filled / _ORDINARY), 1)
        return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53 / factors[bins], bins, factors


def _hashed(tile: Any, multipliers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash rows, dense or CSR: bits that look random, the same for the same values.

    A sum of whole numbers modulo 2^64 over the features: exact in any order, and 0 adds nothing.
    """
    is_dense = isinstance(tile, np.ndarray)
    values = np.array(tile if is_dense else tile.data, np.float64, order="C")
    values += 0.0  # -0 is 0
    if is_dense:
        np.copyto(values, np.nan, where=np.isnan(values))  # one NaN for all
    words = values.view(np.uint64)
    words ^= words >> np.uint64(32)  # few digits are all in the upper half
    if is_dense:
        sums = np.einsum("sf,f->s", words, multipliers)
    else:
        reached = np.zeros(len(words) + 1, np.uint64)
        np.cumsum(words * multipliers[tile.indices], out=reached[1:])
        sums = reached[tile.indptr[1:]] - reached[tile.indptr[:-1]]
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):  # MurmurHash3's last steps
        sums ^= sums >> np.uint64(33)
        sums *= np.uint64(multiplier)
    return sums ^ (sums >> np.uint64(33))


def _lowest(numbers: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Find the lowest different numbers, (count,), infinite where there are not as many."""
    few = numbers
    if len(numbers) > 2 * count:
        few = np.partition(numbers, 2 * count)[: 2 * count]
    different = np.unique(few)
    if len(different) < min(count, len(numbers)):
        different = np.unique(numbers)
    lowest = np.full(count, np.inf)
    different = different[:count]
    lowest[: len(different)] = different
    return lowest

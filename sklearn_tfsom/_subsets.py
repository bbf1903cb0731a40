"""Some of the samples that stand for all of them: chosen by what they are, and by nothing else.

Neither their order, nor repetition instead of weights, nor how they are divided among workers
changes which are chosen, or what they weigh.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._samples import Samples
from sklearn_tfsom._workers import Workers

# Samples are told apart by so many of their features, at most.
_MOST_FEATURES = 256

# Values that weigh much are found in so many bins: what workers exchange is 512 KiB.
_N_BINS = 2**16

# What weighs less than so many bins do on the average is nothing out of the ordinary.
_ORDINARY = 4.0


# A subset that is a larger share of all samples saves too little.
_MOST = 0.5


class Subsets:
    """Subsets of samples, each a random sample of their different values.

    A value that weighs much, by its weight or by its repetitions (the background of a picture), is
    chosen in proportion: left out it would be missed, and drawn as one of few it would outweigh
    the rest. What is chosen with probability p counts as 1 / p times its weight (Horvitz and
    Thompson 1952), so that sums over a subset estimate those over all samples.

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
        if size is None or self._n_samples * _MOST <= size or self._share(size) > _MOST:
            return None
        return size

    def of(self, size: int | None) -> tuple[Samples, NDArray[np.float64]]:
        """Choose so many different samples; all of them for None, or where there are no more.

        Samples of one value are chosen together.

        Returns
        -------
        samples : Samples
        sample_weight : ndarray of float64, shape (n_samples,)
        """
        if size is None or self._n_samples <= size or self._share(size) > 1:
            return self.samples, self._weights
        numbers, bins, factors = self._drawn
        chosen = np.flatnonzero(numbers <= self._share(size))
        probabilities = np.minimum(self._share(size) * factors[bins[chosen]], 1)
        weights = self._weights[chosen] / probabilities
        if not len(chosen):  # a worker without any is still one
            chosen, weights = np.array([0]), np.zeros(1)
        samples = self.samples.take(chosen)
        if self.workers.are_several and self.samples.has_missing:
            samples = samples.marked_as_incomplete()
        return samples, weights

    def _share(self, size: int) -> float:
        """Return the number up to which samples are chosen; infinite where there are too few."""
        if size not in self._shares:
            lowest = self.workers.gather(_lowest(self._drawn[0], size))
            self._shares[size] = float(_lowest(lowest.ravel(), size)[-1])
        return self._shares[size]

    @functools.cached_property
    def _drawn(self) -> tuple[NDArray[np.float64], NDArray[np.uint16], NDArray[np.float64]]:
        """Draw a number for each sample, the same for the same value; the lowest are chosen.

        Returns also each sample's bin, and by how much those of a bin are preferred.
        """
        n_features = self.samples.shape[1]
        step = -(-n_features // _MOST_FEATURES)
        projection = np.zeros(n_features)
        projection[::step] = np.random.RandomState(0).normal(size=len(projection[::step]))
        tiles = (self.samples[rows] for rows in self.samples.tiles(2**18))
        bits = np.concatenate([_mixed(_projected(tile, projection, step)) for tile in tiles])
        bins = bits.astype(np.uint16)
        total = float(self.workers.sum(self._weights.sum()))
        weights = self.workers.sum(np.bincount(bins, self._weights / total, _N_BINS))
        n_filled = np.count_nonzero(weights)
        factors = np.maximum(weights * (n_filled / _ORDINARY), 1)
        return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53 / factors[bins], bins, factors


def _projected(tile: Any, projection: NDArray, step: int) -> NDArray[np.float64]:
    if not isinstance(tile, np.ndarray):
        return tile.astype(np.float64) @ projection
    few = tile[:, ::step].astype(np.float64)
    few[np.isnan(few)] = 0
    return np.einsum("sf,f->s", few, projection[::step])


def _mixed(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Mix the bits of values, so that they look random, the same for the same value.

    In float32, so that rounding in the products before makes no difference.
    """
    with np.errstate(over="ignore"):
        bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32).astype(np.uint64)
        for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):  # MurmurHash3's last steps
            bits ^= bits >> np.uint64(33)
            bits *= np.uint64(multiplier)
        bits ^= bits >> np.uint64(33)
    return bits


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

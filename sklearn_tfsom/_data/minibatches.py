"""Samples in an order of their own, and mini-batches dealt out in it.

Weight k counts as k repetitions.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.moments import centered
from sklearn_tfsom._data.pieces import Piece, Pieces, whole_weight
from sklearn_tfsom._data.subsampling import hashes, keys_of


class Order(NamedTuple):
    """An order of samples that does not depend on the order they come in."""

    rows: NDArray[np.int64]  # (n_samples,) of the samples of all workers
    reached: NDArray[np.float64]  # (n_samples,) total weight up to each sample, in this order
    own: slice  # the samples of this worker


def order_by_projection(
    pieces: Pieces,
    mean: NDArray[np.float64],
    random_state: np.random.RandomState | None = None,
) -> Order:
    """Sort samples by a random projection, always the same one without a random state.

    Missing values count as the mean. Where projections are equal, hashes decide. So equal samples
    follow each other, and a sample of weight k stands where k samples would. This needs three
    numbers for each sample of all workers.
    """
    random_state = random_state or np.random.RandomState(0)
    projection = pieces.workers.from_first(random_state.normal(size=pieces.samples.shape[1]))
    numbers, own = pieces.gather_rows(_projected, mean, projection)
    keys, along, weights = numbers.T
    order = np.lexsort([keys, along])
    return Order(order, np.cumsum(weights[order]), own)


def _projected(
    piece: Piece, mean: NDArray[np.float64], projection: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return a key of its values, projection and weight of each sample."""
    samples = piece.samples
    with np.errstate(over="ignore", invalid="ignore"):  # then the keys decide
        along = (samples[:] if samples.is_sparse else centered(samples, mean)) @ projection
    return np.column_stack([keys_of(hashes(piece))[:, 0], along, piece.sample_weight])


def deal_minibatches(
    order: NDArray[np.int64], reached: NDArray[np.float64], batch_size: int
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Deal samples out to mini-batches like cards, so that each is a cross section of the data.

    Samples lie side by side on a line, each as long as its weight. The line is cut at every
    integer, and the parts go to the batches in turn. So a sample of weight k is dealt out as k
    samples are; if a cut goes through one, two batches have a part of it. Each batch has a sample
    once, with the weight of all its parts.

    Parameters
    ----------
    order : ndarray of int64, shape (n_samples,)
        Order of the samples on the line.
    reached : ndarray of float64, shape (n_samples,)
        End of each.
    batch_size : int
        Total weight of a batch.

    Returns
    -------
    batches : list of (rows, weights)
    """
    n_batches = math.ceil(whole_weight(reached[-1]) / batch_size)
    starts = np.concatenate([[0.0], reached[:-1]])
    first = np.floor(starts).astype(np.int64)
    n_cells = np.maximum(np.ceil(reached).astype(np.int64) - first, 1)
    # All batches get the same of whole rounds of cells. So each sample is dealt in a few rounds.
    n_rounds = np.maximum(n_cells // n_batches - 2, 0)
    n_cells -= n_rounds * n_batches
    ends = reached - n_rounds * n_batches
    sample = np.repeat(np.arange(len(order)), n_cells)
    cell = (
        first[sample] + np.arange(len(sample)) - np.repeat(np.cumsum(n_cells) - n_cells, n_cells)
    )
    part = np.minimum(ends[sample], cell + 1) - np.maximum(starts[sample], cell)
    pairs, pair = np.unique(cell % n_batches * len(order) + sample, return_inverse=True)
    batch, sample = np.divmod(pairs, len(order))
    part = np.bincount(pair, part) + n_rounds[sample]
    batches = []
    for start, stop in itertools.pairwise(np.searchsorted(batch, np.arange(n_batches + 1))):
        chosen = start + np.flatnonzero(part[start:stop] > 0)
        if len(chosen):
            batches.append((order[sample[chosen]], part[chosen]))
    return batches

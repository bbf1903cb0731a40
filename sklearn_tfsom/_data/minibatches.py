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
from sklearn_tfsom._data.pieces import Piece, Pieces


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

    Missing values count as the mean. Equal samples follow each other, so that a sample of weight k
    stands where k samples would. This needs two numbers for each sample of all workers.
    """
    random_state = random_state or np.random.RandomState(0)
    projection = pieces.workers.from_first(random_state.normal(size=pieces.samples.shape[1]))
    numbers, own = pieces.gather_rows(_projected, mean, projection)
    along, weights = numbers.T
    order = np.argsort(along, kind="stable")
    return Order(order, np.cumsum(weights[order]), own)


def _projected(
    piece: Piece, mean: NDArray[np.float64], projection: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return projection and weight of each sample, (n, 2)."""
    tile = piece.samples[:]
    along = (tile if piece.samples.is_sparse else centered(tile, mean)) @ projection
    return np.column_stack([along, piece.sample_weight])


def deal_minibatches(
    order: NDArray[np.int64], reached: NDArray[np.float64], batch_size: int
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Deal samples out to mini-batches like cards, so that each is a cross section of the data.

    Samples lie side by side on a line, each as long as its weight. The line is cut at every
    integer, and the parts go to the batches in turn. So a sample of weight k is dealt out as k
    samples are; if a cut goes through one, two batches have a part of it.

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
    n_batches = math.ceil(reached[-1] / batch_size * (1 - 1e-12))
    starts = np.concatenate([[0.0], reached[:-1]])
    first = np.floor(starts).astype(np.int64)
    n_cells = np.maximum(np.ceil(reached).astype(np.int64) - first, 1)
    sample = np.repeat(np.arange(len(order)), n_cells)
    cell = (
        first[sample] + np.arange(len(sample)) - np.repeat(np.cumsum(n_cells) - n_cells, n_cells)
    )
    part = np.minimum(reached[sample], cell + 1) - np.maximum(starts[sample], cell)
    batch = cell % n_batches
    by_batch = np.argsort(batch, kind="stable")
    bounds = np.searchsorted(batch[by_batch], np.arange(n_batches + 1))
    batches = []
    for start, stop in itertools.pairwise(bounds):
        chosen = by_batch[start:stop]
        chosen = chosen[part[chosen] > 0]
        if len(chosen):
            batches.append((order[sample[chosen]], part[chosen]))
    return batches

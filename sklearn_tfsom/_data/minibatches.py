"""Samples in an order of their own, and dealt out in it: weight k is k repetitions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.moments import centered
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.workers import ALONE, Workers


def in_order(
    samples: Samples,
    sample_weight: NDArray[np.float64],
    mean: NDArray[np.float64],
    random_state: np.random.RandomState,
    workers: Workers = ALONE,
) -> tuple[NDArray[np.int64], NDArray[np.float64], slice]:
    """Put samples into an order that does not depend on the one they come in.

    It is that of a random projection; missing values count as the mean. Equal rows follow each
    other, so that a row of weight k stands where k rows would.

    Returns
    -------
    order : ndarray of int64, shape (n_samples,)
        Of the samples of all workers.
    reached : ndarray of float64, shape (n_samples,)
        The total weight up to each sample, in this order.
    own : slice
        Which of them are this worker's.
    """
    projection = workers.from_first(random_state.normal(size=samples.shape[1]))
    tiles = (samples[rows] for rows in samples.tiles())
    along, own = workers.join(
        np.concatenate([_projected(tile, mean, projection) for tile in tiles])
    )
    weights, _ = workers.join(sample_weight)
    order = np.argsort(along, kind="stable")
    return order, np.cumsum(weights[order]), own


def _projected(
    tile: Any, mean: NDArray[np.float64], projection: NDArray[np.float64]
) -> NDArray[np.float64]:
    if not isinstance(tile, np.ndarray):
        return tile @ projection
    return centered(tile, mean) @ projection


def deal(
    order: NDArray[np.int64], reached: NDArray[np.float64], batch_size: int
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Deal samples out to mini-batches, like cards, so that each holds some of all kinds.

    Samples lie side by side on a line, each as long as its weight, and the line is cut at each
    whole number. The pieces go to the batches in turn. So a sample of weight k is dealt out as k
    samples are, and where a cut goes through one, both batches get its parts.

    Parameters
    ----------
    order : ndarray of int64, shape (n_samples,)
        The order of the samples on the line.
    reached : ndarray of float64, shape (n_samples,)
        Where each ends.
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

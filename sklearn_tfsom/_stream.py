"""Learning from a stream: what a map remembers, and what a call of `partial_fit` makes of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._map.neighborhood import kernels
from sklearn_tfsom._map.schedules import PRIOR
from sklearn_tfsom._plan import (
    begin_stream,
    check_n_clusters,
    checked_neighborhood,
    stream_schedule,
    that_count,
)
from sklearn_tfsom._tf.startup import tensorflow_core


class Memory(NamedTuple):
    """A map between two calls."""

    grid: Grid
    codebook: NDArray  # (n_units, n_features), of the dtype of all samples so far
    units: Any  # Units of `_tf.training`: the samples of each unit, older ones faded
    hits: NDArray[np.float64]  # (n_units,) their weights
    error: float  # the mean distance to their units, before they were learnt
    seen: float  # the weight of all samples so far


class Learnt(NamedTuple):
    """What a call makes of it."""

    memory: Memory  # but for the hits: without those of this call
    left: NDArray[np.float64]  # (n_samples,) what is left of each sample's weight in the end
    history: dict[str, list[float]]  # of the mini-batches


def learn_stream(som: Any, samples: Samples, sample_weight: NDArray[np.float64]) -> Learnt:
    """Have a map learn some samples more, or begin with them.

    Parameters
    ----------
    som : TFSOM
        Its parameters are valid, each by itself; it is not changed.
    samples : Samples
        Valid.
    sample_weight : ndarray of float64, shape (n_samples,)
        Valid weights.

    Returns
    -------
    learnt : Learnt

    Raises
    ------
    InvalidParameterError, ValueError
        As `make_plan`, where the map begins.
    """
    core = tensorflow_core()
    if hasattr(som, "codebook_"):
        memory = _recall(som)
        check_n_clusters(som, memory.grid)
        is_centered = not samples.is_sparse
        frame = core.Frame.of_codebook(memory.codebook, samples.dtype, is_centered=is_centered)
    else:
        grid, codebook, center, spread = begin_stream(som, samples, sample_weight)
        units = core.Units(codebook, np.full((grid.n_units, 1), PRIOR))
        memory = Memory(grid, codebook, units, np.zeros(grid.n_units), 0.0, 0.0)
        frame = core.Frame.around(center, spread, samples.dtype)
    which = that_count(samples, sample_weight)
    learnt, weights = samples.take(which), sample_weight[which]
    kernel = kernels(memory.grid, checked_neighborhood(som, som.neighborhood))
    learner = core.Learner(memory.codebook, memory.units, frame)
    batches = list(stream_schedule(som, memory.grid).batches(weights, memory.seen))
    errors: list[float] = []
    for n_batches, batch in enumerate(batches, start=1):
        data = core.Data(learnt.take(batch.rows), batch.weights, frame)
        errors.append(learner.learn(data, kernel(batch.radius), batch.fade))
        if som.verbose:
            print(
                f"[TFSOM] mini-batch {n_batches}/{len(batches)}: radius {batch.radius:.3g}, "
                f"quantization error {errors[-1]:.6g}"
            )
    # What is left in the end: of all before, and after each mini-batch of what it held.
    fades = np.cumprod([1.0, *(batch.fade for batch in reversed(batches))])[::-1]
    left_of_all, left_of_each = fades[0], fades[1:]
    left_of_learnt = np.zeros(len(learnt))
    for batch, share in zip(batches, left_of_each, strict=True):
        left_of_learnt[batch.rows] += share * batch.weights
    left = np.zeros(len(samples))
    left[which] = left_of_learnt
    batch_weights = np.array([batch.weight for batch in batches])
    remembered = [memory.hits.sum() * left_of_all, *(left_of_each * batch_weights)]
    return Learnt(
        Memory(
            memory.grid,
            learner.codebook().astype(_dtype(som, samples.dtype)),
            learner.units(),
            memory.hits * left_of_all,
            float(np.average([memory.error, *errors], weights=remembered)),
            memory.seen + float(batch_weights.sum()),
        ),
        left,
        {"radius": [batch.radius for batch in batches], "quantization_error": errors},
    )


def _recall(som: Any) -> Memory:
    """Return what a fitted map remembers."""
    units = tensorflow_core().Units(som._unit_means, som._unit_counts)
    hits, grid, seen = som.hits_, grid_of(som), som.n_samples_seen_
    if not som._is_from_stream:  # of a fit as much as of a stream of that length
        kept = min(1.0, stream_schedule(som, grid).memory(seen) / seen)
        units, hits = units._replace(counts=units.counts * kept), hits * kept
    return Memory(grid, som.codebook_, units, hits, som.quantization_error_, seen)


def _dtype(som: Any, dtype: DTypeLike) -> DTypeLike:
    return np.result_type(som.codebook_, dtype) if hasattr(som, "codebook_") else dtype

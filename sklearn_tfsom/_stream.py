"""Training on a stream: the state between two calls of `partial_fit`, and one call."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.checks import are_counted
from sklearn_tfsom._data.pieces import Pieces
from sklearn_tfsom._data.scaling import Scaling
from sklearn_tfsom._epochs import learn
from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._map.neighborhood import Kernels, checked_neighborhood
from sklearn_tfsom._map.schedules import PRIOR
from sklearn_tfsom._map.smoothing import TrainState
from sklearn_tfsom._plan import begin_stream, check_n_clusters, check_radii, stream_schedule
from sklearn_tfsom._search.sources import make_source
from sklearn_tfsom._training import UnitMeans, unit_means

# Weight that one call learns, at most; or 100 for each sample. It takes seconds.
_MAX_WEIGHT = 10**6


class Memory(NamedTuple):
    """A map between two calls."""

    grid: Grid
    codebook: NDArray  # (n_units, n_features), of the common dtype of all samples so far
    units: UnitMeans  # of the samples of each unit, older ones decayed
    hits: NDArray[np.float64]  # (n_units,) their weights
    error: float  # mean distance to their units, before they were learned
    seen: float  # weight of all samples so far


class Learned(NamedTuple):
    """The outcome of a call."""

    memory: Memory  # without the hits of this call
    left: NDArray[np.float64]  # (n_samples,) what is left of each sample's weight at the end
    history: dict[str, list[float]]  # of the mini-batches


def learn_stream(som: Any, pieces: Pieces) -> Learned:
    """Let a map learn more samples, or begin with them.

    Parameters
    ----------
    som : TFSOM
        Its parameters are valid, each by itself; it is not changed.
    pieces : Pieces
        Checked samples and weights.

    Returns
    -------
    learned : Learned

    Raises
    ------
    InvalidParameterError, ValueError
        As `make_plan`, if the map begins.
    """
    check_radii(som)
    samples, metric = pieces.samples, pieces.samples.metric
    rows = np.flatnonzero(are_counted(pieces))
    counted = pieces.take(rows)
    _check_weight(counted)
    kind = {"dtype": samples.dtype, "metric": metric, "is_sparse": samples.is_sparse}
    if hasattr(som, "codebook_"):
        memory = _remembered(som)
        check_n_clusters(som, memory.grid)
        scaling = Scaling.around(memory.codebook, **kind)
    else:
        grid, codebook, moments = begin_stream(som, counted)
        units = UnitMeans(codebook, np.full((grid.n_units, 1), PRIOR))
        memory = Memory(grid, codebook, units, np.zeros(grid.n_units), 0.0, 0.0)
        scaling = Scaling.of(moments.mean, moments.spread, **kind)
    kernels = Kernels(memory.grid, checked_neighborhood(som, som.neighborhood))
    means, counts = memory.units
    scaled = scaling.transform(memory.codebook).reshape(*memory.grid.shape, -1)
    state = TrainState(scaled, counts * scaling.transform(means), counts)
    schedule = stream_schedule(som, memory.grid)
    batches = list(schedule.batches(counted.sample_weight, memory.seen))
    errors: list[float] = []
    for n_batches, batch in enumerate(batches, start=1):
        source = make_source(Pieces(counted.samples.take(batch.rows), batch.weights), scaling)
        state, error = learn(source, state, kernels.kernel(batch.radius), batch.decay)
        errors.append(error)
        if som.verbose:
            print(
                f"[TFSOM] mini-batch {n_batches}/{len(batches)}: radius {batch.radius:.3g}, "
                f"quantization error {errors[-1]:.6g}"
            )
    # What is left at the end: of all before, and after each mini-batch of its samples.
    decays = np.cumprod([1.0, *(batch.decay for batch in reversed(batches))])[::-1]
    left_of_all, left_of_each = decays[0], decays[1:]
    left = np.zeros(len(samples))
    for batch, share in zip(batches, left_of_each, strict=True):
        left[rows[batch.rows]] += share * batch.weights
    batch_weights = np.array([batch.weight for batch in batches])
    known = memory.hits.sum() * left_of_all
    if math.isnan(memory.error):  # of a codebook without samples
        known, memory = 0.0, memory._replace(error=0.0)
    remembered = np.array([known, *(left_of_each * batch_weights)])
    total = remembered.sum() or math.nan  # not known where nothing is remembered
    codebook = scaling.inverse_transform(state.codebook.reshape(memory.grid.n_units, -1))
    is_begun = hasattr(som, "codebook_")
    dtype = np.result_type(memory.codebook, samples.dtype) if is_begun else samples.dtype
    return Learned(
        Memory(
            grid=memory.grid,
            codebook=codebook.astype(dtype),
            units=unit_means(state, scaling),
            hits=memory.hits * left_of_all,
            error=float(np.array([memory.error, *errors]) @ (remembered / total)),
            seen=memory.seen + float(batch_weights.sum()),
        ),
        left,
        {"radius": [batch.radius for batch in batches], "quantization_error": errors},
    )


def _check_weight(pieces: Pieces) -> None:
    """Refuse weights so large that a call would take long: it takes time by their sum."""
    if pieces.total_weight > max(_MAX_WEIGHT, 100 * pieces.n_samples):
        raise ValueError(
            f"sample_weight sums to {pieces.total_weight:g}, too much for partial_fit to learn "
            f"{pieces.n_samples} samples as often. Divide the weights, or call fit."
        )


def _remembered(som: Any) -> Memory:
    """Return what a fitted map remembers."""
    units = UnitMeans(som._unit_means, som._unit_counts)
    hits, grid, seen = som.hits_, grid_of(som), som.n_samples_seen_
    if not som._is_from_stream:  # a fit is remembered as much as a stream of that length
        kept = min(1.0, stream_schedule(som, grid).memory(seen) / seen)
        units, hits = units._replace(counts=units.counts * kept), hits * kept
    return Memory(grid, som.codebook_, units, hits, som.quantization_error_, seen)

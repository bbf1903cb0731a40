"""Training on a stream: the state between two calls of `partial_fit`, and one call."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.checks import are_counted, check_total
from sklearn_tfsom._data.moments import compute_moments, feature_ranges, training_scaling
from sklearn_tfsom._data.outliers import with_typical_directions
from sklearn_tfsom._data.pieces import Pieces
from sklearn_tfsom._data.scaling import Scaling, center_and_spread
from sklearn_tfsom._data.statistics import UnitMeans
from sklearn_tfsom._epochs import learn
from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._map.initialization import initial_codebook
from sklearn_tfsom._map.neighborhood import Kernels, checked_neighborhood
from sklearn_tfsom._map.schedules import PRIOR, Batch
from sklearn_tfsom._map.smoothing import TrainState
from sklearn_tfsom._parameters import check_n_clusters, check_radii
from sklearn_tfsom._plan import begin_stream, stream_schedule
from sklearn_tfsom._search.sources import make_source
from sklearn_tfsom._training import check_code_vectors

# Weight that one call learns, at most; or 100 for each sample. It takes seconds.
_MAX_WEIGHT = 10**6

# Samples that reach farther than this multiple of the spread of the code vectors give the scale:
# scaled by that spread, they and their sums could leave the range of their dtype. Their ranges are
# read only below the smallest spread: with a larger one, squares that leave the range of float64
# here nearly do so in data units.
_MAX_REACH = {np.dtype(np.float32): 2.0**100, np.dtype(np.float64): 2.0**400}
_MIN_SPREAD = {np.dtype(np.float32): np.inf, np.dtype(np.float64): 2.0**-20}

# Values of a feature count as equal if they differ by at most this many epsilons of float64 of the
# largest value, plus as many of the largest one in the scaled space: there, values that are not
# centered differ after smoothing by up to 45 epsilons.
_EQUAL, _EQUAL_SMOOTHED = 4, 256


class StreamState(NamedTuple):
    """A map between two calls."""

    grid: Grid
    codebook: NDArray  # (n_units, n_features), of the common dtype of all samples so far
    unit_means: UnitMeans  # of the samples of each unit, older ones decayed
    hits: NDArray[np.float64]  # (n_units,) their weights
    # Mean distance to their units, before they were learned; NaN if unknown, 0 of no samples.
    error: float
    n_samples_seen: float  # weight of all samples so far
    is_trained: bool  # by `fit` or elsewhere: the radius stays at its end


class Learned(NamedTuple):
    """The outcome of a call."""

    stream: StreamState  # without the hits of this call
    left: NDArray[np.float64]  # (n_samples,) remaining weight of each sample at the end
    history: dict[str, list[float]]  # of the mini-batches


class _Start(NamedTuple):
    """The map at the beginning of a call."""

    stream: StreamState
    scaling: Scaling
    dtype: np.dtype[Any]  # of the codebook at the end


def learn_stream(som: Any, pieces: Pieces) -> Learned | None:
    """Let a map learn more samples, or begin with them.

    Parameters
    ----------
    som : TFSOM
        Its parameters are valid, each by itself; it is not changed.
    pieces : Pieces
        Checked samples and weights.

    Returns
    -------
    learned : Learned or None
        None if no sample counts: none has a direction.

    Raises
    ------
    InvalidParameterError, ValueError
        As `make_plan`, if the map begins.
    """
    check_radii(som)
    is_counted = are_counted(pieces)
    rows = np.flatnonzero(is_counted)
    if not len(rows):
        return None
    check_total(pieces.total_weight)
    counted = pieces.take_where(is_counted)  # without a copy if all are
    _check_weight(counted)
    begin = _remembered if hasattr(som, "codebook_") else _begun
    start = begin(som, counted)
    stream, scaling, dtype = start
    schedule = stream_schedule(som, stream.grid)
    if stream.is_trained:
        schedule = schedule._replace(radii=schedule.radii[-1:])
    batches = list(schedule.batches(counted.sample_weight, stream.n_samples_seen))
    kernels = Kernels(stream.grid, checked_neighborhood(som, som.neighborhood))
    state, errors = _learn_batches(counted, batches, start, kernels, bool(som.verbose))
    # Shares of the weight that are left at the end: of all samples before this call, and of the
    # samples of each mini-batch.
    decays = np.cumprod([1.0, *(batch.decay for batch in reversed(batches))])[::-1]
    left_of_all, left_of_each = float(decays[0]), decays[1:]
    left = np.zeros(len(pieces.samples))
    for batch, share in zip(batches, left_of_each, strict=True):
        left[rows[batch.rows]] += share * batch.weights
    batch_weights = np.array([batch.weight for batch in batches])
    codebook = scaling.inverse_transform(state.codebook.reshape(stream.grid.n_units, -1))
    check_code_vectors(codebook, dtype)
    return Learned(
        stream._replace(
            codebook=codebook.astype(dtype),
            unit_means=UnitMeans.of(state.sums, state.counts, scaling),
            hits=stream.hits * left_of_all,
            error=_mean_error(stream, left_of_all, errors, left_of_each * batch_weights),
            n_samples_seen=stream.n_samples_seen + float(batch_weights.sum()),
        ),
        left,
        {"radius": [batch.radius for batch in batches], "quantization_error": errors},
    )


def _learn_batches(
    counted: Pieces,
    batches: list[Batch],
    start: _Start,
    kernels: Kernels,
    is_verbose: bool,
) -> tuple[TrainState, list[float]]:
    """Learn mini-batches one after the other; return the state, and the error of each."""
    stream, scaling, dtype = start
    means, counts = stream.unit_means
    scaled = scaling.transform(stream.codebook).reshape(*stream.grid.shape, -1)
    state = TrainState(scaled, counts * scaling.transform(means), counts)
    errors: list[float] = []
    for n_batches, batch in enumerate(batches, start=1):
        samples = Pieces(counted.samples.take(batch.rows), batch.weights)
        if stream.grid.n_units > 1 and _are_equal(state.codebook, scaling, dtype):
            state = _laid_out(state, samples, scaling, stream.grid)
        source = make_source(samples, scaling)
        state, error = learn(source, state, kernels.kernel(batch.radius), batch.decay)
        errors.append(error)
        if is_verbose:
            print(
                f"[TFSOM] mini-batch {n_batches}/{len(batches)}: radius {batch.radius:.3g}, "
                f"quantization error {error:.6g}"
            )
    return state, errors


def _are_equal(codebook: NDArray[np.float64], scaling: Scaling, dtype: np.dtype[Any]) -> bool:
    """Return True if all code vectors of a scaled codebook are equal but for rounding.

    The first and the last one, which tell this of most maps, are compared before the others.
    """
    flat, eps = codebook.reshape(-1, codebook.shape[2]), float(np.finfo(np.float64).eps)
    share = _EQUAL * eps
    if scaling.metric.is_spherical:  # directions have been rounded to their dtype
        share = max(share, float(np.finfo(dtype).eps))
    for some in (flat[[0, -1]], flat):
        largest = np.abs(scaling.inverse_transform(some)).max(axis=0)
        with np.errstate(over="ignore"):
            rounding = scaling.scale * (share * largest)
        rounding += _EQUAL_SMOOTHED * eps * np.abs(some).max(axis=0)
        if not (np.ptp(some, axis=0) <= rounding).all() or not np.isfinite(rounding).all():
            return False
    return True


def _laid_out(state: TrainState, samples: Pieces, scaling: Scaling, grid: Grid) -> TrainState:
    """Lay equal code vectors on the plane of samples, or on a line to samples that are equal.

    No search tells them apart: all samples to come would belong to the first unit, and move all
    code vectors alike. They stay if a feature has no known value.
    """
    low, high = feature_ranges(samples)
    if not np.isfinite(high - low).all():
        return state
    moments = with_typical_directions(compute_moments(samples), samples)
    if moments.deviations[0] == 0:
        former = scaling.inverse_transform(state.codebook[0, 0]) / 2
        half = moments.mean / 2
        moments = moments._replace(
            middle=former + half,
            deviations=np.array([1.0, 0.0]),
            directions=np.array([half - former, np.zeros_like(half)]),
        )
    # "pca" takes no random numbers.
    codebook = initial_codebook("pca", grid, samples, moments, np.random.RandomState(0))
    return state._replace(codebook=scaling.transform(codebook).reshape(state.codebook.shape))


def _mean_error(
    stream: StreamState, left_of_all: float, errors: list[float], left_weights: NDArray[np.float64]
) -> float:
    """Return the mean of the former error and those of the mini-batches, by remaining weight."""
    is_known = not math.isnan(stream.error)  # not that of a codebook without samples
    former = (stream.hits.sum() * left_of_all, stream.error) if is_known else (0.0, 0.0)
    weights = np.array([former[0], *left_weights])
    return float(np.array([former[1], *errors]) @ (weights / weights.sum()))


def _check_weight(pieces: Pieces) -> None:
    """Refuse weights so large that a call would take long: it takes time by their sum."""
    if pieces.total_weight > max(_MAX_WEIGHT, 100 * pieces.n_samples):
        raise ValueError(
            f"sample_weight sums to {pieces.total_weight:g}, too much for partial_fit to learn "
            f"{pieces.n_samples} samples as often. Divide the weights, or call fit."
        )


def _begun(som: Any, counted: Pieces) -> _Start:
    """Begin a map with its first samples."""
    grid, codebook, moments = begin_stream(som, counted)
    stream = StreamState(
        grid=grid,
        codebook=codebook,
        unit_means=UnitMeans(codebook, np.full((grid.n_units, 1), PRIOR)),
        hits=np.zeros(grid.n_units),
        error=0.0,
        n_samples_seen=0.0,
        is_trained=False,
    )
    scaling = training_scaling(moments, codebook, counted.samples)
    return _Start(stream, scaling, counted.samples.dtype)


def _remembered(som: Any, counted: Pieces) -> _Start:
    """Go on with a fitted map."""
    samples, grid, n_seen = counted.samples, grid_of(som), som.n_samples_seen_
    check_n_clusters(som, grid)
    units, hits = UnitMeans(som._unit_means, som._unit_counts), som._counted_hits
    if not som._is_from_stream:  # a fit is remembered as much as a stream of that length
        kept = min(1.0, stream_schedule(som, grid).memory(n_seen) / n_seen)
        units, hits = units._replace(counts=units.counts * kept), hits * kept
    stream = StreamState(
        grid=grid,
        codebook=som.codebook_,
        unit_means=units,
        hits=hits,
        error=som.quantization_error_,
        n_samples_seen=n_seen,
        is_trained=som._is_trained,
    )
    center, spread = center_and_spread(stream.codebook)
    reach = np.abs(stream.codebook - center).max(axis=0)
    # Equal code vectors, or equal values of a feature, say nothing about those of the samples.
    if not reach.all() or spread < _MIN_SPREAD[samples.dtype]:
        low, high = feature_ranges(counted)
        with np.errstate(over="ignore"):
            of_samples = np.fmax(high - center, center - low)
        largest = float(np.nanmax(of_samples))
        reach = np.where(reach > 0, reach, np.fmax(reach, of_samples))
        spread = largest if largest > _MAX_REACH[samples.dtype] * spread else spread
    scaling = Scaling.of(
        center,
        spread,
        samples.dtype,
        samples.metric,
        reach=reach,
        is_sparse=samples.is_sparse,
    )
    return _Start(stream, scaling, np.result_type(stream.codebook, samples.dtype))

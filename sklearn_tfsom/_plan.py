"""Resolve the parameters of a fit with the data, as a plan of stages."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sklearn_tfsom import _validation as valid
from sklearn_tfsom._data.checks import check_codebook_names
from sklearn_tfsom._data.minibatches import deal_minibatches, order_by_projection
from sklearn_tfsom._data.moments import Moments, compute_moments, training_scaling
from sklearn_tfsom._data.outliers import with_typical_directions
from sklearn_tfsom._data.pieces import Pieces
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.scaling import Scaling, check_range
from sklearn_tfsom._data.subsampling import Subsamples, count_different
from sklearn_tfsom._distance import METRICS
from sklearn_tfsom._machine import check_memory
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.initialization import (
    automatic_n_units,
    automatic_shape,
    initial_codebook,
)
from sklearn_tfsom._map.neighborhood import (
    NeighborhoodFunction,
    checked_neighborhood,
    is_separable,
    n_kernel_values,
)
from sklearn_tfsom._map.schedules import (
    EpochSchedule,
    Stage,
    StreamSchedule,
    memory_of_batches,
    radius_schedule,
)
from sklearn_tfsom._parameters import (
    as_code_vectors,
    check_n_clusters,
    check_radii,
    given_grid,
    n_clusters_wanted,
)

# Memory that a map needs at least: four codebooks in float64, with eight more values a unit, and
# its kernel.
_CODEBOOKS, _UNIT_VALUES = 4, 8

# Samples of weight 1 that are dealt out to mini-batches, and mini-batches of an epoch, at most; or
# four for each sample. So time depends on samples rather than on their weights.
_MAX_DEALT, _MAX_BATCHES = 2**24, 1000


class Batches(NamedTuple):
    """Mini-batches, the same in each epoch."""

    rows: list[tuple[NDArray[np.int64], NDArray[np.float64]]]  # rows and weights of each
    memory: float  # weight of the samples that are remembered


class TrainingPlan(NamedTuple):
    """All that training needs to know."""

    pieces: Pieces  # samples of positive weight (that have a direction, where it is compared)
    subsamples: Subsamples
    moments: Moments
    grid: Grid
    neighborhood: str | NeighborhoodFunction
    radii: NDArray[np.float64]  # (max_iter,)
    stages: list[Stage]
    is_radius_free: bool  # whether another radius to start from may be tried
    has_named_decay: bool  # whether `radius_decay` is a name, not an array of radii
    codebook: NDArray[np.float64]  # (n_units, n_features): the start, on the first stage's grid
    scaling: Scaling  # of samples and codebooks in training
    batches: Batches | None
    tol: float
    n_clusters: Any


def make_plan(som: Any, pieces: Pieces) -> TrainingPlan:
    """Resolve the parameters of a map for some data.

    Parameters
    ----------
    som : TFSOM
        Its parameters are valid, each by itself; it is not changed.
    pieces : Pieces
        The samples that take part. All workers make the same plan, from all samples.

    Returns
    -------
    plan : TrainingPlan

    Raises
    ------
    InvalidParameterError
        If parameters do not fit each other or the data.
    ValueError
        If there are fewer samples than clusters, or values are too large.
    """
    _check_sizes(som, pieces)
    check_radii(som)
    grid, init, moments = _begin(som, pieces)
    radii, neighborhood = _radii(som, grid), checked_neighborhood(som, som.neighborhood)
    batches = _batches(som, pieces, grid, moments) if _has_batches(som, pieces) else None
    is_coarse_to_fine = som.coarse_to_fine and _starts_from_pca(som) and batches is None
    schedule = EpochSchedule.of(
        grid,
        radii,
        is_coarse_to_fine=is_coarse_to_fine and is_separable(grid, neighborhood),
        can_compare=METRICS[som.metric].is_product and isinstance(som.radius_decay, str),
    )
    subsamples = Subsamples(pieces, schedule.sizes())
    stages = schedule.stages(subsamples.worthwhile())
    codebook = initial_codebook(
        init,
        stages[0].grid,
        pieces,
        moments,
        check_random_state(som.random_state),
        grid,
    )
    return TrainingPlan(
        pieces=pieces,
        subsamples=subsamples,
        moments=moments,
        grid=grid,
        neighborhood=neighborhood,
        radii=radii,
        stages=stages,
        is_radius_free=isinstance(som.radius_start, str),
        has_named_decay=isinstance(som.radius_decay, str),
        codebook=codebook,
        scaling=training_scaling(moments, codebook, pieces.samples),
        batches=batches,
        tol=float(som.tol),
        n_clusters=som.n_clusters,
    )


def begin_stream(som: Any, pieces: Pieces) -> tuple[Grid, NDArray[np.float64], Moments]:
    """Return grid, start and moments of a map that learns from a stream, for its first samples.

    Raises
    ------
    InvalidParameterError, ValueError
        As `make_plan`, but there may be fewer samples than clusters.
    """
    grid, init, moments = _begin(som, pieces)
    random_state = check_random_state(som.random_state)
    return grid, initial_codebook(init, grid, pieces, moments, random_state), moments


def _begin(som: Any, pieces: Pieces) -> tuple[Grid, str | NDArray[np.float64], Moments]:
    """Return grid, start and moments. A given grid is checked before the moments are computed."""
    if isinstance(som.grid_size, str):
        moments = _moments(som, pieces)
        grid = _automatic_grid(som, pieces, moments)
        return grid, _checked_start(som, grid, pieces.samples), moments
    grid = given_grid(som)
    init = _checked_start(som, grid, pieces.samples)
    return grid, init, _moments(som, pieces)


def _moments(som: Any, pieces: Pieces) -> Moments:
    """Compute moments; components where the size or the start of the map depends on them."""
    has_components = isinstance(som.grid_size, str) or _starts_from_pca(som)
    moments = compute_moments(pieces, has_components=has_components)
    too_large = "X contains values too large: their differences"
    check_range(math.isfinite(moments.spread), what=too_large)
    return with_typical_directions(moments, pieces, has_components=has_components)


def _check_sizes(som: Any, pieces: Pieces) -> None:
    """Check parameters against the number of samples, and against each other."""
    n_samples, total_weight = pieces.n_samples, pieces.total_weight
    shape = np.shape(som.radius_decay)
    if not isinstance(som.radius_decay, str) and shape != (som.max_iter,):
        raise valid.wrong_parameter(
            "radius_decay", som, f"of shape (max_iter,), ({som.max_iter},)", f"shape {shape}"
        )
    if max(n_samples, total_weight) < n_clusters_wanted(som.n_clusters):
        raise ValueError(
            f"n_samples={n_samples} must be at least n_clusters={valid.shown(som.n_clusters)}, "
            "counting samples of positive weight."
        )
    if not _has_batches(som, pieces):
        return
    if pieces.workers.are_several:
        raise valid.wrong_parameter(
            "batch_size", som, "None where several workers fit a map", valid.shown(som.batch_size)
        )
    is_too_much = total_weight > max(_MAX_DEALT, 4 * n_samples)
    if is_too_much or total_weight / som.batch_size > max(_MAX_BATCHES, 4 * n_samples):
        raise ValueError(
            f"sample_weight sums to {total_weight:g}, too much to deal out samples to "
            f"mini-batches of batch_size={valid.shown(som.batch_size)}. Divide the weights, or "
            "leave batch_size None."
        )


def _has_batches(som: Any, pieces: Pieces) -> bool:
    return som.batch_size is not None and bool(som.batch_size < pieces.total_weight)


def _batches(som: Any, pieces: Pieces, grid: Grid, moments: Moments) -> Batches:
    order = order_by_projection(pieces, moments.mean)
    rows = deal_minibatches(order.rows, order.reached, som.batch_size)
    return Batches(rows, memory_of_batches(grid.n_units, som.batch_size, pieces.total_weight))


def stream_schedule(som: Any, grid: Grid) -> StreamSchedule:
    """Make the schedule of a stream."""
    return StreamSchedule.of(
        grid,
        start=som.radius_start,
        end=som.radius_end,
        decay=som.radius_decay,
        neighborhood=som.neighborhood,
        ordered_start=_starts_from_pca(som),
    )


def _starts_from_pca(som: Any) -> bool:
    return isinstance(som.init, str) and som.init == "pca"


def _automatic_grid(som: Any, pieces: Pieces, moments: Moments) -> Grid:
    weight = pieces.total_weight
    # No shape that suits the weight has twice as many units as it asks for.
    n_different = count_different(pieces, 2 * automatic_n_units(weight))
    n_rows, n_columns = automatic_shape(weight, n_different, moments.deviations, som.lattice)
    return Grid(n_rows, n_columns, som.lattice, som.boundary)


def _check_memory(som: Any, grid: Grid, n_features: int) -> None:
    """Refuse a map whose code vectors or neighborhood do not fit into this machine's memory.

    Raises
    ------
    ValueError
    """
    n_values = grid.n_units * (n_features + _UNIT_VALUES) * _CODEBOOKS
    n_values += n_kernel_values(grid, som.neighborhood)
    owner = f"grid_size={valid.shown(som.grid_size)} makes {grid.n_units:,} units, which need"
    check_memory(n_values, owner)


def _checked_start(som: Any, grid: Grid, samples: Samples) -> str | NDArray[np.float64]:
    """Check that a grid suits the parameters, and return the start: its name or a codebook."""
    _check_memory(som, grid, samples.shape[1])
    check_n_clusters(som, grid, is_automatic=isinstance(som.grid_size, str))
    if isinstance(som.init, str):
        return som.init
    right = (grid.n_units, samples.shape[1])
    if np.shape(som.init) != right:
        raise valid.wrong_parameter(
            "init", som, f"of shape (n_units, n_features), {right}", f"shape {np.shape(som.init)}"
        )
    check_codebook_names("init", som, som.init, getattr(som, "feature_names_in_", None))
    codebook = as_code_vectors("init", som, som.init, METRICS[som.metric])
    largest = float(np.abs(codebook).max())
    if largest > float(np.finfo(samples.dtype).max):
        right_range = f"in the range of {samples.dtype}, the precision of X"
        raise valid.wrong_parameter("init", som, right_range, f"{largest:g}")
    return codebook


def _radii(som: Any, grid: Grid) -> NDArray[np.float64]:
    return radius_schedule(
        som.radius_decay,
        max_iter=som.max_iter,
        start=som.radius_start,
        end=som.radius_end,
        neighborhood=som.neighborhood,
        n_across=max(grid.shape),
        ordered_start=_starts_from_pca(som),
    )

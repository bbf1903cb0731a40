"""What a fit is going to do: parameters and data, checked and resolved."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sklearn_tfsom import _validation as valid
from sklearn_tfsom._data.minibatches import deal, in_order
from sklearn_tfsom._data.moments import PrincipalPlane, principal_plane
from sklearn_tfsom._data.samples import METRICS, Samples, as_codebook, is_zero
from sklearn_tfsom._data.subsampling import Subsets
from sklearn_tfsom._data.workers import ALONE, Workers
from sklearn_tfsom._map.grid import BOUNDARIES, LATTICES, Grid
from sklearn_tfsom._map.initialization import INITS, automatic_shape, initial_codebook
from sklearn_tfsom._map.mirror import epoch_to_mirror_at
from sklearn_tfsom._map.neighborhood import NEIGHBORHOODS, Neighborhood, is_separable
from sklearn_tfsom._map.schedules import (
    RADIUS_DECAYS,
    StreamSchedule,
    grid_schedule,
    radius_schedule,
    subset_schedule,
)

FEATURES = ("distances", "coordinates", "activations")

_AUTO = valid.choice(["auto"])
_RADIUS = [valid.real(0, closed=False), _AUTO]
RULES = {
    "grid_size": [valid.integer(1), valid.PAIR, _AUTO],
    "lattice": [valid.choice(LATTICES)],
    "boundary": [valid.choice(BOUNDARIES)],
    "neighborhood": [valid.choice(NEIGHBORHOODS), valid.FUNCTION],
    "metric": [valid.choice(METRICS)],
    "init": [valid.choice(INITS), valid.numbers("(n_units, n_features)", 2)],
    "max_iter": [valid.integer(1)],
    "radius_start": _RADIUS,
    "radius_end": _RADIUS,
    "radius_decay": [valid.choice(RADIUS_DECAYS), valid.numbers("(max_iter,)", 1, positive=True)],
    "coarse_to_fine": [valid.BOOLEAN],
    "tol": [valid.real(0, closed=True)],
    "batch_size": [valid.integer(1), valid.NONE],
    "n_clusters": [valid.integer(1), _AUTO, valid.NONE],
    "features": [valid.choice(FEATURES)],
    "compute_topographic_error": [valid.BOOLEAN],
    "checkpoint_dir": [valid.PATH, valid.NONE],
    "random_state": [valid.RANDOM_STATE],
    "verbose": [valid.integer(0), valid.BOOLEAN],
}


# Weights are cut into so many parts for mini-batches, at most.
_MOST_DEALT = 2**24


class Plan(NamedTuple):
    """All that training needs to know."""

    samples: Samples  # those of positive weight (that have a direction, where that is what counts)
    sample_weight: NDArray[np.float64]  # (n_samples,), positive
    total_weight: float  # of the samples of all workers
    mean: NDArray[np.float64]  # (n_features,)
    center: NDArray[np.float64]  # where to compute from
    spread: float  # root mean square distance of the samples to their mean
    covariance: NDArray[np.float64] | None  # of complete samples, / spread^2
    grid: Grid
    radii: NDArray[np.float64]  # (max_iter,)
    grids: list[Grid]  # (max_iter,), the grid that is searched in each epoch
    sizes: list[int | None]  # (max_iter,), of the subset that is searched; None: all samples
    subsets: Subsets  # of the samples
    mirrored_after: int | None  # so many epochs; None where there is nothing to try
    codebook: NDArray[np.float64]  # where training starts, on the first of these grids
    neighborhood: str | Neighborhood
    batches: list[tuple[NDArray[np.int64], NDArray[np.float64]]] | None  # (rows, weights) of each


def make_plan(
    som: Any, samples: Samples, sample_weight: NDArray[np.float64], workers: Workers = ALONE
) -> Plan:
    """Resolve the parameters of a map for some data.

    Parameters
    ----------
    som : TFSOM
        Its parameters are valid, each by itself; it is not changed.
    samples : Samples
        Valid.
    sample_weight : ndarray of float64, shape (n_samples,)
        Valid weights.
    workers : Workers, default=ALONE
        Those who have samples. All decide the same, from all samples.

    Returns
    -------
    plan : Plan

    Raises
    ------
    InvalidParameterError
        Where parameters do not fit together or to the data.
    ValueError
        Where there are fewer samples than clusters, or values too large.
    """
    samples, sample_weight, plane, grid = _begin(som, samples, sample_weight, workers)
    n_clusters, n_samples = n_clusters_wanted(som), int(workers.sum(len(samples)))
    if n_samples < n_clusters:
        raise ValueError(
            f"n_samples={n_samples} must be at least n_clusters={n_clusters}, counting "
            "samples of positive weight."
        )
    radii = _radii(som, grid)
    neighborhood = checked_neighborhood(som, som.neighborhood)
    grids: list[Grid] = [grid] * len(radii)
    sizes: list[int | None] = [None] * len(radii)
    subsets = Subsets(samples, sample_weight, workers)
    batches = mirrored_after = None
    total = float(workers.sum(sample_weight.sum()))
    if som.batch_size is not None and som.batch_size < total:
        if workers.are_several:
            raise valid.wrong_parameter(
                "batch_size", som, "None where several workers fit a map", str(som.batch_size)
            )
        if total > max(_MOST_DEALT, 4 * len(samples)):
            raise ValueError(
                f"sample_weight sums to {total:g}, too many samples to deal out to mini-batches "
                f"of batch_size={som.batch_size}. Divide the weights, or leave batch_size None."
            )
        fixed = np.random.RandomState(0)  # an order is all that is wanted
        order, reached, _ = in_order(samples, sample_weight, plane.mean, fixed)
        batches = deal(order, reached, som.batch_size)
    elif som.coarse_to_fine and _starts_from_pca(som) and is_separable(grid, neighborhood):
        grids = grid_schedule(grid, radii)
        sizes = [subsets.if_worthwhile(size) for size in subset_schedule(grids, radii)]
        if isinstance(som.radius_decay, str):
            mirrored_after = epoch_to_mirror_at(grid, len(radii), samples.geometry)
    return Plan(
        samples,
        sample_weight,
        total,
        plane.mean,
        _center(samples, plane),
        plane.spread,
        plane.covariance,
        grid,
        radii,
        grids,
        sizes,
        subsets,
        mirrored_after,
        _codebook(som, grids[0], samples, sample_weight, plane, workers),
        neighborhood,
        batches,
    )


def begin_stream(
    som: Any, samples: Samples, sample_weight: NDArray[np.float64]
) -> tuple[Grid, NDArray[np.float64], NDArray[np.float64], float]:
    """Resolve the parameters of a map that learns from a stream, for its first samples.

    Returns
    -------
    grid : Grid
    codebook : ndarray of float64, shape (n_units, n_features)
    center : ndarray of float64, shape (n_features,)
    spread : float
        Of the first samples, as in `Plan`.

    Raises
    ------
    InvalidParameterError, ValueError
        As `make_plan`, but there may be fewer samples than clusters.
    """
    samples, sample_weight, plane, grid = _begin(som, samples, sample_weight)
    codebook = _codebook(som, grid, samples, sample_weight, plane)
    return grid, codebook, _center(samples, plane), plane.spread


def stream_schedule(som: Any, grid: Grid) -> StreamSchedule:
    """Make the schedule of a stream.

    Raises
    ------
    InvalidParameterError
        Where the radii are in the wrong order.
    """
    _check_order(som)
    return StreamSchedule.of(
        grid,
        start=som.radius_start,
        end=som.radius_end,
        decay=som.radius_decay,
        neighborhood=som.neighborhood,
        ordered_start=_starts_from_pca(som),
    )


def _center(samples: Samples, plane: PrincipalPlane) -> NDArray[np.float64]:
    """Return where to compute from: the mean, but of sparse samples the origin."""
    return np.zeros_like(plane.mean) if samples.is_sparse else plane.mean


def _starts_from_pca(som: Any) -> bool:
    return isinstance(som.init, str) and som.init == "pca"


def _begin(
    som: Any, samples: Samples, sample_weight: NDArray[np.float64], workers: Workers = ALONE
) -> tuple[Samples, NDArray[np.float64], PrincipalPlane, Grid]:
    """Return the samples that count, with their weights, their plane and the grid."""
    has_missing = workers.any(samples.has_missing)
    which = that_count(samples, sample_weight, workers)
    samples, sample_weight = samples.take(which), sample_weight[which]
    with workers.in_step():
        if not len(samples):
            equal = "zeros" if som.metric == "cosine" else "equal values"
            raise ValueError(
                f"All samples of positive weight hold {equal} only: under metric={som.metric!r} "
                "they have no direction, and no distance to learn from."
            )
    if workers.are_several and has_missing:
        samples = samples.marked(has_missing=True)
    valid.check_features_known(samples, workers)
    needs_directions = isinstance(som.grid_size, str) or _starts_from_pca(som)
    n_directions = 2 if needs_directions else 0
    plane = principal_plane(samples, sample_weight, n_directions, workers)
    if not math.isfinite(plane.spread):
        raise ValueError(
            "X holds values too large: their differences leave float64's range. Rescale it."
        )
    total = float(workers.sum(sample_weight.sum()))
    return samples, sample_weight, plane, _grid(som, total, plane)


def that_count(
    samples: Samples, sample_weight: NDArray[np.float64], workers: Workers = ALONE
) -> NDArray[np.int64] | slice:
    """Find the samples that training is about: those of positive weight and with a direction."""
    total = float(workers.sum(sample_weight.sum()))
    counts = None
    if not sample_weight.min() / total > 0:  # also a weight that is nothing beside all
        counts = sample_weight / total > 0
    if samples.geometry == "spherical":
        has_direction = samples.have_direction()
        if not has_direction.all():
            counts = has_direction if counts is None else counts & has_direction
    return slice(None) if counts is None else np.flatnonzero(counts)


def n_clusters_wanted(som: Any) -> int:
    """Return the number of clusters that is asked for; 0 where none is."""
    return 0 if som.n_clusters is None or isinstance(som.n_clusters, str) else som.n_clusters


def check_n_clusters(som: Any, grid: Grid) -> None:
    """Check that there are no fewer units than clusters.

    Raises
    ------
    InvalidParameterError
        Where there are.
    """
    if n_clusters_wanted(som) > grid.n_units:
        raise valid.wrong_parameter(
            "n_clusters",
            som,
            f"at most the number of units, {grid.n_units} on a map of "
            f"{grid.n_rows}x{grid.n_columns}",
            str(som.n_clusters),
        )


def _grid(som: Any, n_samples: float, plane: PrincipalPlane) -> Grid:
    if isinstance(som.grid_size, str):
        n_rows, n_columns = automatic_shape(n_samples, plane.deviations, som.lattice)
    else:
        n_rows, n_columns = np.broadcast_to(som.grid_size, 2).tolist()
    grid = Grid(n_rows, n_columns, som.lattice, som.boundary)
    check_n_clusters(som, grid)
    return grid


def _codebook(
    som: Any,
    grid: Grid,
    samples: Samples,
    sample_weight: NDArray[np.float64],
    plane: PrincipalPlane,
    workers: Workers = ALONE,
) -> NDArray[np.float64]:
    if isinstance(som.init, str):
        random_state = check_random_state(som.random_state)
        codebook = initial_codebook(
            som.init, grid, samples, sample_weight, plane, random_state, workers
        )
        codebook = as_codebook(codebook, som.metric)
        if samples.geometry == "spherical":
            # The origin has no direction; the data spread around it, so that they have a main one.
            codebook[is_zero(codebook)] = plane.directions[0]
        return codebook
    codebook = np.array(som.init, dtype=np.float64)
    right = (grid.n_units, samples.shape[1])
    if codebook.shape != right:
        raise valid.wrong_parameter(
            "init", som, f"of shape (n_units, n_features), {right}", f"shape {codebook.shape}"
        )
    codebook = as_codebook(codebook, som.metric)
    if samples.geometry == "spherical" and is_zero(codebook).any():
        raise valid.wrong_parameter(
            "init",
            som,
            f"code vectors that have a direction under metric={som.metric!r}",
            f"code vector {np.argmax(is_zero(codebook))}, which has none,",
        )
    return codebook


def _radii(som: Any, grid: Grid) -> NDArray[np.float64]:
    radii = radius_schedule(
        som.radius_decay,
        max_iter=som.max_iter,
        start=som.radius_start,
        end=som.radius_end,
        neighborhood=som.neighborhood,
        n_across=max(grid.shape),
        ordered_start=_starts_from_pca(som),
    )
    if len(radii) != som.max_iter:
        raise valid.wrong_parameter(
            "radius_decay", som, f"of shape (max_iter,), ({som.max_iter},)", f"shape {radii.shape}"
        )
    _check_order(som)
    return radii


def _check_order(som: Any) -> None:
    is_given = not isinstance(som.radius_start, str) and not isinstance(som.radius_end, str)
    if isinstance(som.radius_decay, str) and is_given and som.radius_start < som.radius_end:
        raise valid.wrong_parameter(
            "radius_end", som, f"at most radius_start={som.radius_start}", str(som.radius_end)
        )


def checked_neighborhood(som: Any, neighborhood: Any) -> str | Neighborhood:
    """Return a neighborhood; a user's function so that it checks what it returns."""
    if isinstance(neighborhood, str):
        return neighborhood

    def checked(squared: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
        returned = neighborhood(squared, radius)
        try:
            values = np.asarray(returned)
        except ValueError:  # a ragged list
            values = np.asarray(None)
        if values.dtype.kind not in "biuf":
            is_array = isinstance(returned, np.ndarray)
            came = f"values of dtype {values.dtype}" if is_array else repr(returned)[:100]
        elif values.shape != squared.shape:
            came = f"shape {values.shape}"
        elif not np.isfinite(values).all():
            came = "values that are not finite"
        else:
            return values.astype(np.float64)
        raise valid.wrong_parameter(
            "neighborhood",
            som,
            "a function that returns one finite number for each squared grid distance; for "
            f"distances of shape {squared.shape} it must return that shape",
            came,
        )

    return checked

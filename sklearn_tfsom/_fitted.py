"""Fitted attributes, each set by name, from a codebook and samples."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from sklearn_tfsom._assignment import Assignment, assign, assign_and_average
from sklearn_tfsom._data.moments import MAX_COVARIANCE_FEATURES
from sklearn_tfsom._data.pieces import Pieces
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.scaling import in_precision
from sklearn_tfsom._data.statistics import UnitMeans
from sklearn_tfsom._data.tiles import tile_threads
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.imputation import covariance_around_units, residual_covariance
from sklearn_tfsom._map.schedules import n_epochs_to_end
from sklearn_tfsom._parameters import n_clusters_wanted
from sklearn_tfsom._plan import TrainingPlan
from sklearn_tfsom._representatives import clusters_of_units, remembered_means
from sklearn_tfsom._stream import Learned
from sklearn_tfsom._training import TrainedEpoch, trained_codebook


class MapState(NamedTuple):
    """A trained map, from which the fitted attributes are set."""

    grid: Grid
    metric: str  # of the training, as the next two, whatever parameters are set later
    neighborhood: Any
    n_clusters: Any
    codebook: NDArray  # (n_units, n_features)
    unit_means: UnitMeans
    found: Assignment  # of the samples, with the hits and the error of all that are remembered
    history: dict[str, list[float]]
    n_samples_seen: float
    counted_hits: NDArray[np.float64]  # (n_units,) of the samples that take part
    is_from_stream: bool = False
    is_trained: bool = True  # by `fit` or elsewhere, possibly before a stream
    residuals: NDArray[np.float64] | None = None  # see `_residuals_around_units`
    clustered: Pieces | None = None  # the samples that take part; None for the units


def set_map(som: Any, state: MapState) -> Any:
    """Set all fitted attributes but the names of features, and return the estimator."""
    grid, codebook, found = state.grid, state.codebook, state.found
    means, counts = state.unit_means
    means = in_precision(np.where(counts > 0, means, codebook), codebook.dtype)
    som.codebook_ = codebook
    # Read by the clustering, `partial_fit`, `impute` and `score_samples`.
    som._unit_means, som._unit_counts = means, counts
    som._counted_hits = state.counted_hits
    som._is_from_stream, som._is_trained = state.is_from_stream, state.is_trained
    som._residuals = state.residuals
    som.cluster_labels_ = _cluster(som, state)
    if isinstance(found.bmus, np.ndarray):
        som.labels_ = som.cluster_labels_[found.bmus]
    else:  # samples of an engine; those of a former fit must not stay
        vars(som).pop("labels_", None)
    som.grid_shape_ = grid.shape
    som.unit_positions_ = grid.positions()
    som.hits_ = found.hits
    som.quantization_error_ = found.error
    som.n_samples_seen_ = state.n_samples_seen
    som.history_ = {name: np.array(values) for name, values in state.history.items()}
    som.n_iter_ = len(state.history["radius"])
    som._lattice, som._boundary = grid.lattice, grid.boundary
    som._metric, som._neighborhood = state.metric, state.neighborhood
    som._has_clusters = state.n_clusters is not None
    return som


def set_fitted(
    som: Any,
    plan: TrainingPlan,
    pieces: Pieces,
    epoch: TrainedEpoch,
    history: dict[str, list[float]],
) -> Any:
    """Set the fitted attributes after an epoch of `fit`, and return the estimator.

    Parameters
    ----------
    som : TFSOM
    plan : TrainingPlan
    pieces : Pieces
        All samples.
    epoch : TrainedEpoch
    history : dict of str to list of float
    """
    codebook = trained_codebook(plan, epoch)
    # A callback gets a map of the samples of its worker, without waiting for the others.
    counted = plan.pieces if pieces.workers.are_several else plan.pieces.own
    codebook = pieces.workers.from_first(codebook).astype(pieces.samples.dtype)
    with tile_threads:
        found, means = assign_and_average(
            pieces, codebook, plan.grid, has_missing=counted.samples.has_missing
        )
        state = MapState(
            grid=plan.grid,
            metric=pieces.samples.metric.name,  # a callback may have set another parameter
            neighborhood=getattr(plan.neighborhood, "__wrapped__", plan.neighborhood),
            n_clusters=plan.n_clusters,
            codebook=codebook,
            unit_means=means,
            found=found,
            history=history,
            n_samples_seen=plan.pieces.total_weight,
            counted_hits=_counted_hits(pieces, found, means),
            residuals=_residuals_around_units(plan, pieces, codebook, means, found.bmus),
            clustered=counted,
        )
        return set_map(som, state)


def set_codebook(
    som: Any, grid: Grid, codebook: NDArray, pieces: Pieces | None, counted: Pieces | None
) -> None:
    """Set the fitted attributes of a map that was trained elsewhere.

    Parameters
    ----------
    som : TFSOM
    grid : Grid
    codebook : ndarray of shape (n_units, n_features)
    pieces, counted : Pieces or None
        Samples for hits, labels and errors, and those of them that take part. Without any, each
        unit counts as one sample.
    """
    found, residuals = Assignment(np.ones(grid.n_units), np.nan, None), None
    hits, means = found.hits, UnitMeans(codebook, found.hits[:, None])
    if pieces is not None and counted is not None:
        with tile_threads:
            found, means = assign_and_average(
                pieces, codebook, grid, has_missing=counted.samples.has_missing
            )
        hits = _counted_hits(pieces, found, means)
        if _keeps_residuals(pieces):
            residuals = _measured_residuals(pieces, codebook, found.bmus)
    state = MapState(
        grid=grid,
        metric=som.metric,
        neighborhood=som.neighborhood,
        n_clusters=som.n_clusters,
        codebook=codebook,
        unit_means=means,
        found=found,
        history={"radius": [], "quantization_error": []},
        n_samples_seen=float(hits.sum()),
        counted_hits=hits,
        residuals=residuals,
        clustered=counted,
    )
    set_map(som, state)


def set_learned(som: Any, samples: Samples, learned: Learned) -> None:
    """Set the fitted attributes after a call of `partial_fit`."""
    stream, left, history = learned
    found = assign(Pieces(samples, left), stream.codebook, stream.grid)
    hits = stream.hits + found.hits
    state = MapState(
        grid=stream.grid,
        metric=samples.metric.name,
        neighborhood=som.neighborhood,
        n_clusters=som.n_clusters,
        codebook=stream.codebook,
        unit_means=stream.unit_means,
        found=found._replace(hits=hits, error=stream.error),
        history=history,
        n_samples_seen=stream.n_samples_seen,
        counted_hits=hits,
        is_from_stream=True,
        is_trained=stream.is_trained,
    )
    set_map(som, state)


def _counted_hits(pieces: Pieces, found: Assignment, means: UnitMeans) -> NDArray[np.float64]:
    """Return the hits of the samples that take part: of those with a direction."""
    return means.counts[:, 0] if pieces.samples.metric.is_spherical else found.hits


def _cluster(som: Any, state: MapState) -> NDArray[np.int64]:
    """Return the cluster of each unit: itself where `n_clusters` is None."""
    hits = state.counted_hits
    if state.n_clusters is None:
        return np.arange(len(hits), dtype=np.int64)
    (hit,) = np.nonzero(hits)
    if not len(hit):  # of a worker without samples
        return np.zeros(len(hits), np.int64)
    n_clusters = state.n_clusters
    if not isinstance(n_clusters, str):
        n_clusters = min(int(n_clusters), len(hit))
    return clusters_of_units(state.clustered, remembered_means(som), hits, n_clusters)


def _residuals_around_units(
    plan: TrainingPlan,
    pieces: Pieces,
    codebook: NDArray,
    means: UnitMeans,
    bmus: Any,
) -> NDArray[np.float64] | None:
    """Compute the covariance of the samples around their units, for `impute`.

    It follows from the means of the units, if the covariance of the same samples is known. If not,
    as with missing values, it takes a pass over them.

    Parameters
    ----------
    plan : TrainingPlan
    pieces : Pieces
        All samples.
    codebook : ndarray of shape (n_units, n_features)
    means : UnitMeans
    bmus : ndarray of int64, shape (n_samples,)
        Of the samples; of distant ones the rows of `Partitions.reduce_with_rows`.

    Returns
    -------
    residuals : ndarray of float64, shape (n_features, n_features), or None
        None where it is not kept: for many features, or metrics other than the Euclidean.
    """
    if not _keeps_residuals(pieces):
        return None
    is_own = plan.pieces.workers.are_several and not pieces.workers.are_several
    if plan.moments.covariance is not None and not is_own:
        residuals = covariance_around_units(plan.moments, codebook, *means)
        return residuals if np.isfinite(residuals).all() else None  # weights may be close to 0
    return _measured_residuals(pieces, codebook, bmus)


def _measured_residuals(
    pieces: Pieces, codebook: NDArray, bmus: Any
) -> NDArray[np.float64] | None:
    """Compute the covariance in a pass over dense samples; None where it is not finite."""
    if pieces.samples.is_sparse:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        residuals = residual_covariance(pieces, codebook, bmus)
    return residuals if np.isfinite(residuals).all() else None


def _keeps_residuals(pieces: Pieces) -> bool:
    samples = pieces.samples
    return samples.metric.name == "euclidean" and samples.shape[1] <= MAX_COVARIANCE_FEATURES


def warn_of_few_clusters(som: Any, n_clusters: Any, stacklevel: int) -> None:
    """Warn if samples fall in fewer clusters than asked for."""
    n_found = len(np.unique(som.cluster_labels_[som._counted_hits > 0]))
    if n_found < n_clusters_wanted(n_clusters):
        warnings.warn(
            f"Samples fall in {n_found} clusters only, fewer than n_clusters={n_clusters}. "
            "Ask for fewer clusters, or for a larger map.",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )


def warn_of_unsettled_map(plan: TrainingPlan, epoch: TrainedEpoch, stacklevel: int) -> None:
    """Warn if the radius has reached its end in the last epoch only."""
    n_falling = n_epochs_to_end(plan.radii)
    if plan.has_named_decay and epoch.n_epochs == n_falling == len(plan.radii):
        warnings.warn(
            f"The radius has reached its end in the last of max_iter={len(plan.radii)} epochs: "
            "the map had no chance to settle. Increase max_iter.",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )

"""From a codebook and samples to fitted attributes."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from sklearn_tfsom._data.moments import MAX_COVARIANCE_FEATURES
from sklearn_tfsom._data.pieces import Piece, Pieces
from sklearn_tfsom._map.clustering import cluster_units
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.imputation import covariance_around_units, residual_covariance
from sklearn_tfsom._plan import TrainingPlan, n_clusters_wanted
from sklearn_tfsom._tf.runtime import tensorflow_core

# Values of a piece that is searched: 64 MiB of float32.
_SEARCHED_VALUES = 2**24


class Assignment(NamedTuple):
    """Samples and their best-matching units."""

    hits: NDArray[np.float64]  # (n_units,) total weight of each unit's samples, of all workers
    error: float  # weighted mean distance to them, of all workers
    bmus: NDArray[np.int64]  # (n_samples,), of this worker


def assign(pieces: Pieces, codebook: NDArray, grid: Grid) -> Assignment:
    """Find best-matching units, hits and the quantization error.

    Parameters
    ----------
    pieces : Pieces
    codebook : ndarray of shape (n_units, n_features)
    grid : Grid
        The grid of the units.
    """
    on_grid = codebook.reshape(*grid.shape, -1)
    (hits, error), bmus = pieces.reduce_with_rows(
        _assign_piece, on_grid, pieces.total_weight, piece_values=_SEARCHED_VALUES
    )
    return Assignment(hits, float(error), bmus)


def _assign_piece(
    piece: Piece, codebook: NDArray, total: float
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], NDArray[np.int64]]:
    core, flat = tensorflow_core(), codebook.reshape(-1, codebook.shape[2])
    units = core.nearest_units(piece.samples, codebook)
    distances = core.distances_to_chosen(piece.samples, flat, units)[:, 0]
    bmus, weights = units[:, 0], piece.sample_weight
    hits = np.bincount(bmus, weights, minlength=len(flat)).astype(np.float64)
    # Shares of the weight, so that no sum exceeds the range of float64.
    return (hits, np.einsum("s,s", distances, weights / (total or 1))), bmus


def map_errors(pieces: Pieces, codebook: NDArray, grid: Grid) -> tuple[float, float]:
    """Compute the quantization and the topographic error of a codebook on its grid."""
    quantization, topographic = pieces.reduce(
        _errors_of_piece,
        codebook.reshape(*grid.shape, -1),
        grid,
        pieces.total_weight,
        piece_values=_SEARCHED_VALUES,
    )
    return float(quantization), float(topographic)


def _errors_of_piece(
    piece: Piece, codebook: NDArray, grid: Grid, total: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    core, shares = tensorflow_core(), piece.sample_weight / total
    units = core.nearest_units(piece.samples, codebook, min(2, grid.n_units))
    flat = codebook.reshape(grid.n_units, -1)
    distances = core.distances_to_chosen(piece.samples, flat, units[:, :1])[:, 0]
    is_apart = grid.squared_distances(units[:, 0], units[:, -1]) > 1
    return np.einsum("s,s", distances, shares), np.einsum("s,s", is_apart * 1.0, shares)


def cluster(
    som: Any, codebook: NDArray, unit_means: NDArray, hits: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the cluster of each unit: itself where `n_clusters` is None."""
    if som.n_clusters is None:
        return np.arange(len(codebook))
    n_hit = int(np.count_nonzero(hits))
    n_clusters = min(n_clusters_wanted(som), n_hit) or "auto"
    return cluster_units(codebook, unit_means, hits, n_clusters)


def residuals_around_units(
    plan: TrainingPlan,
    pieces: Pieces,
    codebook: NDArray,
    learned: tuple[NDArray, NDArray] | None,
    bmus: NDArray[np.int64],
) -> NDArray[np.float64] | None:
    """Compute the covariance of the samples around their units, for `impute`.

    If the means of the units are those of all samples, it follows from the covariance of the
    samples. If not, as after mini-batches or with missing values, it takes a pass over them.

    Parameters
    ----------
    plan : TrainingPlan
    pieces : Pieces
        All samples.
    codebook : ndarray of shape (n_units, n_features)
    learned : tuple (means, counts) or None
        Of each unit's samples, if all samples were searched in the last epoch.
    bmus : ndarray of int64, shape (n_samples,)

    Returns
    -------
    residuals : ndarray of float64, shape (n_features, n_features), or None
        None where it is not kept: for many features, or metrics other than the Euclidean.
    """
    samples = pieces.samples
    if samples.metric.name != "euclidean" or samples.shape[1] > MAX_COVARIANCE_FEATURES:
        return None
    if plan.moments.covariance is not None and plan.batches is None and learned is not None:
        residuals = covariance_around_units(plan.moments, codebook, *learned)
    elif samples.is_sparse:
        return None
    else:
        residuals = residual_covariance(pieces, codebook, bmus)
    return residuals if np.isfinite(residuals).all() else None  # weights may be close to 0


def warn_of_few_clusters(som: Any, stacklevel: int) -> None:
    """Warn if samples fall on fewer units than there are to be clusters."""
    n_hit = np.count_nonzero(som.hits_)
    if n_hit < n_clusters_wanted(som):
        warnings.warn(
            f"Samples fall on {n_hit} units only, fewer than n_clusters={som.n_clusters}: "
            f"there are {n_hit} clusters. Ask for fewer clusters, or for a larger map.",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )


def warn_of_unsettled_map(som: Any, stacklevel: int) -> None:
    """Warn that the radius has reached its end in the last epoch only."""
    warnings.warn(
        f"The radius has reached its end in the last of max_iter={som.max_iter} epochs: the map "
        "had no chance to settle. Increase max_iter.",
        ConvergenceWarning,
        stacklevel=stacklevel,
    )

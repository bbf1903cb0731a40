"""What training leaves behind: fitted attributes, and what `impute` needs of the samples."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.workers import ALONE, Workers
from sklearn_tfsom._map.clustering import cluster_units
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.imputation import (
    MOST_FEATURES,
    covariance_around_units,
    residual_covariance,
)
from sklearn_tfsom._plan import Plan, n_clusters_wanted
from sklearn_tfsom._tf.startup import tensorflow_core

# Values that are searched at a time: 64 MiB of float32.
_SEARCHED_VALUES = 2**24


class Found(NamedTuple):
    """Samples and their units."""

    bmus: NDArray[np.int64]  # (n_samples,)
    error: float  # weighted mean distance to them, of the samples of all workers
    hits: NDArray[np.float64]  # (n_units,) total weights, of the samples of all workers


def find(
    samples: Samples,
    weights: NDArray[np.float64],
    codebook: NDArray,
    n_columns: int,
    workers: Workers = ALONE,
) -> Found:
    """Find best-matching units, the quantization error, and the hits; tile by tile.

    The grid has so many columns.
    """
    core = tensorflow_core()
    bmus = np.empty(len(samples), dtype=np.int64)
    hits, error = np.zeros(len(codebook)), 0.0
    total = float(workers.sum(weights.sum()))
    for rows in samples.tiles(_SEARCHED_VALUES):
        part, weight = samples.take(rows), weights[rows]
        found = core.nearest(part, codebook, n_columns=n_columns)
        apart = core.apart(part, codebook, found)[:, 0]
        # Shares, so that no sum leaves float64's range; no product, see `core.product`.
        error += float(np.einsum("s,s", apart, weight / (total or 1)))
        bmus[rows] = found[:, 0]
        hits += np.bincount(bmus[rows], weight, minlength=len(codebook))
    return Found(bmus, float(workers.sum(error)), workers.sum(hits))


def attributes_of(
    som: Any,
    grid: Grid,
    metric: str,
    codebook: NDArray,
    units: Any,
    found: Found,
    history: dict[str, list[float]],
) -> dict[str, Any]:
    """All fitted attributes that a codebook and its samples lead to.

    Parameters
    ----------
    som : TFSOM
    grid : Grid
    metric : str
        These two are what the codebook was trained with.
    codebook : ndarray of shape (n_units, n_features)
    units : Units
        What each unit has learnt.
    found : Found
        The samples and their units.
    history : dict of str to list of float

    Returns
    -------
    attributes : dict of str to value
    """
    means = np.where(units.counts > 0, units.means, codebook).astype(codebook.dtype)
    cluster_labels = np.arange(grid.n_units)
    if som.n_clusters is not None:
        n_hit = int(np.count_nonzero(found.hits))
        n_clusters = min(n_clusters_wanted(som), n_hit) or "auto"
        cluster_labels = cluster_units(codebook, means, found.hits, n_clusters)
    return {
        "codebook_": codebook,
        "labels_": cluster_labels[found.bmus],
        "cluster_labels_": cluster_labels,
        "grid_shape_": grid.shape,
        "unit_positions_": grid.positions(),
        "hits_": found.hits,
        "quantization_error_": found.error,
        "history_": {name: np.array(values) for name, values in history.items()},
        "n_iter_": len(history["radius"]),
        # What the codebook was trained with, whatever is set afterwards.
        "_lattice": grid.lattice,
        "_boundary": grid.boundary,
        "_metric": metric,
        "_neighborhood": som.neighborhood,
        # For `partial_fit` to go on from.
        "_unit_means": means,
        "_unit_counts": units.counts,
    }


def residuals_of(
    plan: Plan,
    codebook: NDArray,
    units: Any,
    samples: Samples,
    weights: NDArray,
    found: Found,
    workers: Workers = ALONE,
) -> NDArray[np.float64] | None:
    """Covariance of the samples around their units, for `impute`; None where it is not kept.

    Where the means of the units are those of all samples, it follows from the samples' own
    covariance. Mini-batches remember fewer, and training that a callback stopped on a coarser
    grid or a subset has none: then, as for missing values, it takes a pass over the samples.
    """
    if plan.samples.geometry != "euclidean" or samples.shape[1] > MOST_FEATURES:
        return None
    is_of_all = plan.batches is None and units is not None
    if plan.covariance is not None and is_of_all:
        residuals = covariance_around_units(
            plan.covariance, plan.spread, plan.mean, codebook, units.means, units.counts
        )
    elif samples.is_sparse:
        return None
    else:
        residuals = residual_covariance(samples, weights, codebook, found.bmus, workers)
    return residuals if np.isfinite(residuals).all() else None  # of weights next to nothing


def warn_of_few_clusters(som: Any, stacklevel: int) -> None:
    """Warn where samples fall on fewer units than there are to be clusters."""
    n_hit = np.count_nonzero(som.hits_)
    if n_hit < n_clusters_wanted(som):
        warnings.warn(
            f"Samples fall on {n_hit} units only, fewer than n_clusters={som.n_clusters}: "
            f"there are {n_hit} clusters. Ask for fewer clusters or for a larger map.",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )

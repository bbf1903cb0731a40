"""Distances between the code vectors of neighboring units: the U-matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.scaling import check_range
from sklearn_tfsom._distance import Metric, paired_distances
from sklearn_tfsom._map.grid import Grid

# A power of two, by which distances are divided so that sums stay in the range of float64.
_MORE_THAN_NEIGHBORS = 16.0


def u_heights(
    grid: Grid,
    codebook: NDArray,
    metric: Metric,
    n_neighbors: int | None = None,
    average: str = "mean",
) -> NDArray[np.float64]:
    """Return the mean or median distance of each unit to its neighbors, (n_units,); 0 for none."""
    neighbors = grid.neighbors(n_neighbors)
    units = np.arange(grid.n_units)
    gaps = np.full(neighbors.shape, np.nan)
    for step, neighbor in enumerate(neighbors.T):
        # On a narrow map joined to itself a neighbor can appear twice, or be the unit itself.
        is_repeated = (neighbors[:, :step] == neighbor[:, None]).any(axis=1)
        exists = (neighbor >= 0) & (neighbor != units) & ~is_repeated
        ends = codebook[units[exists]], codebook[neighbor[exists]]
        gaps[exists, step] = paired_distances(*ends, metric)
    gaps[np.isnan(gaps).all(axis=1)] = 0
    check_range(~np.isinf(gaps), what="Distances between code vectors")
    of_neighbors = np.nanmean if average == "mean" else np.nanmedian
    with np.errstate(under="ignore"):
        return np.asarray(of_neighbors(gaps / _MORE_THAN_NEIGHBORS, axis=1)) * _MORE_THAN_NEIGHBORS

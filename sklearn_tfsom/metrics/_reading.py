"""What the measures read of a map and of samples, checked, and in tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array
from sklearn.utils.validation import check_is_fitted

from sklearn_tfsom._data.checks import check_sample_weight
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.tiles import row_slices
from sklearn_tfsom._distance import Metric, metric_named
from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._map.neighborhood import Kernels, SeparableKernel
from sklearn_tfsom._plan import checked_neighborhood
from sklearn_tfsom._validation import (
    InvalidParameterError,
    Rule,
    integer,
    real,
)

# Values of a tile: 32 MiB.
_TILE_VALUES = 2**22

# Neighborhoods below this are none.
_NOTHING = 1e-200


def check_samples(
    estimator: Any, X: ArrayLike, sample_weight: Any
) -> tuple[Samples, NDArray[np.float64]]:
    """Check samples and their weights against a fitted map."""
    samples = estimator._check_data(X)
    return samples, check_sample_weight(sample_weight, len(samples))


def check_fitted_grid(estimator: Any) -> Grid:
    """Return the grid of a map, which must be fitted."""
    check_is_fitted(estimator)
    return grid_of(estimator)


def check_n_neighbors(n_neighbors: Any, grid: Grid) -> int:
    """Return the number of neighbors, the lattice's own where it is None."""
    right = (6,) if grid.is_hexagonal else (4, 8)
    if n_neighbors is None:
        return right[0]
    if not isinstance(n_neighbors, Integral) or n_neighbors not in right:
        raise ValueError(
            f"n_neighbors must be {' or '.join(map(str, right))} on a {grid.lattice} lattice. "
            f"Got {n_neighbors!r} instead."
        )
    return int(n_neighbors)


def check_radius(estimator: Any, radius: Any) -> float:
    """Return the radius, that of the last epoch where it is None."""
    if radius is None:
        return float(estimator.history_["radius"][-1])
    return float(check_argument("radius", radius, real(0, closed=False)))


def check_argument(name: str, value: Any, rule: Rule) -> Any:
    """Return an argument that a rule accepts."""
    if not rule.accepts(value):
        raise InvalidParameterError(f"{name} must be {rule.says}. Got {value!r} instead.")
    return value


def check_few(n_neighbors: Any, n_samples: float) -> int:
    """Return a number of neighbors that is less than half the number of samples."""
    check_argument("n_neighbors", n_neighbors, integer(1))
    if 2 * n_neighbors > n_samples - 1:
        raise InvalidParameterError(
            f"n_neighbors must be less than half the number of samples (their total weight), "
            f"{n_samples:g}. Got {n_neighbors} instead."
        )
    return int(n_neighbors)


def row_tiles(n_rows: int, n_columns: int) -> list[slice]:
    """Cut the rows of a matrix into tiles."""
    return row_slices(n_rows, max(1, _TILE_VALUES // max(1, n_columns)))


def distance_tiles(
    estimator: Any, samples: Samples
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Compute the distances of samples to all units, tile by tile, in float64.

    Yields
    ------
    rows : slice
    distances : ndarray of float64, shape (n_rows, n_units)
        In data units.
    """
    values, metric = samples.values, samples.metric
    for rows in row_tiles(len(samples), len(estimator.codebook_)):
        tile = values[rows].astype(np.float64)
        yield rows, estimator._distances(Samples(tile, metric, has_missing=samples.has_missing))


def metric_of(estimator: Any) -> Metric:
    """Return the metric of a fitted map."""
    return metric_named(estimator._metric)


def neighborhood_rows(estimator: Any, radius: float) -> Callable[[NDArray], NDArray[np.float64]]:
    """Return a function that gives rows of H: units (n,) to neighborhoods (n, n_units)."""
    grid = grid_of(estimator)
    neighborhood = checked_neighborhood(estimator, estimator._neighborhood)
    kernel = Kernels(grid, neighborhood).kernel(radius)
    parity = np.arange(grid.n_rows) % 2

    def rows_of(units: NDArray) -> NDArray[np.float64]:
        rows, columns = np.divmod(units, grid.n_columns)
        if isinstance(kernel, SeparableKernel):
            along_columns = kernel.columns[rows[:, None] % 2, parity, columns[:, None]]
            h = kernel.rows[rows][:, :, None] * along_columns
        else:
            h = kernel.blocks[kernel.kinds[rows], columns[:, None]]
        h = h.reshape(len(units), grid.n_units)
        # Numbers below the normal range would make products twenty times as slow.
        h[np.abs(h) < _NOTHING] = 0
        return h

    return rows_of


def grid_edges(grid: Grid, n_neighbors: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of units that are neighbors, each once, the lower unit first."""
    neighbors = grid.neighbors(n_neighbors)
    units = np.repeat(np.arange(grid.n_units), neighbors.shape[1])
    others = neighbors.ravel()
    # Where a narrow map is joined to itself, a neighbor is met twice, or is the unit itself.
    is_first = (others >= 0) & (units < others)
    pairs = np.unique(units[is_first] * grid.n_units + others[is_first])
    return np.divmod(pairs, grid.n_units)


def graph(units: NDArray, others: NDArray, lengths: NDArray, n_units: int) -> csr_array:
    """Make an undirected graph of edges, of which each is given once."""
    ends = np.r_[units, others], np.r_[others, units]
    return csr_array(coo_array((np.r_[lengths, lengths], ends), shape=(n_units, n_units)))

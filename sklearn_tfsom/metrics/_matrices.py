"""Values by unit, in the shape of the grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._data.checks import check_sample_weight
from sklearn_tfsom._distance import paired_distances
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.umatrix import u_heights
from sklearn_tfsom._validation import BOOLEAN, choice
from sklearn_tfsom.metrics._reading import (
    check_argument,
    check_fitted_grid,
    check_n_neighbors,
    metric_of,
)


def u_matrix(
    estimator: Any,
    *,
    n_neighbors: int | None = None,
    average: str = "mean",
    between: bool = False,
) -> NDArray[np.float64]:
    """Compute the mean distance of each unit's code vector to those of its neighbors.

    High values are borders between clusters, low values their inside [1]_.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    n_neighbors : {4, 6, 8}, default=None
        Which units are neighbors: 6 on a hexagonal lattice; 4 (the default) or 8 on a
        rectangular one.

    average : {"mean", "median"}, default="mean"
        What a unit shows of the distances to its neighbors. SOM Toolbox takes the median.

    between : bool, default=False
        Whether there are cells between the units too, as SOM Toolbox and Matlab draw them: each
        holds the distance of the two units beside it.

    Returns
    -------
    values : ndarray of float64, shape (n_rows, n_columns) or (2 n_rows - 1, 2 n_columns - 1)
        In data units; 0 for a map of one unit. With cells between units there are 2 n_columns
        columns where the map's left and right edge are joined, and 2 n_rows rows where its top
        and bottom are.

    Raises
    ------
    ValueError
        Where `n_neighbors` is none of the lattice, or `average` or `between` is not as above.

    Notes
    -----
    With cells between units, that of unit (r, c) is ``values[2r, 2c]``, and the one between it
    and its right neighbor ``values[2r, 2c + 1]``.

    On a rectangular lattice ``values[2r + 1, 2c]`` lies between (r, c) and (r + 1, c), and
    ``values[2r + 1, 2c + 1]`` between four units: it holds the mean length of the two diagonals,
    divided by ``sqrt(2)`` since that is how much longer they are on the grid.

    On a hexagonal lattice all cells of the row ``2r + 1`` lie between two units, one of row r and
    one of row r + 1. Where r is even, ``values[2r + 1, 2c]`` lies between (r, c) and (r + 1, c),
    ``values[2r + 1, 2c + 1]`` between (r, c + 1) and (r + 1, c); where r is odd, the latter lies
    between (r, c) and (r + 1, c + 1). Drawn to scale, cells of a row are half a lattice spacing
    apart; the first one is at x = 0 in the rows of even r, at 1/2 in those of odd r, and at 1/4
    in the rows between.

    References
    ----------
    .. [1] Ultsch, Siemon (1990): Kohonen's self organizing feature maps for exploratory data
       analysis. INNC Paris 1990, 305-308.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import u_matrix
    >>> som = TFSOM(grid_size=(8, 5)).fit(load_iris().data)
    >>> u_matrix(som).shape
    (8, 5)
    >>> u_matrix(som, between=True).shape
    (15, 9)
    """
    grid = check_fitted_grid(estimator)
    n_neighbors = check_n_neighbors(n_neighbors, grid)
    check_argument("average", average, choice(("mean", "median")))
    check_argument("between", between, BOOLEAN)
    heights = u_heights(grid, estimator.codebook_, metric_of(estimator), n_neighbors, average)
    values = heights.reshape(grid.shape)
    if not between:
        return values
    return _with_cells_between(values, estimator, grid)


def hit_histogram(
    estimator: Any, X: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Count the samples of each unit.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN where a value is missing.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample; None is 1 for each.

    Returns
    -------
    hits : ndarray of float64, shape (n_rows, n_columns)
        Total weight of the samples whose best-matching unit is the one at this row and column.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import hit_histogram
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> hits = hit_histogram(som, X[:50])
    >>> hits.shape, float(hits.sum())
    ((8, 5), 50.0)
    """
    grid = check_fitted_grid(estimator)
    bmus = estimator.bmus(X)
    weights = check_sample_weight(sample_weight, len(bmus))
    hits = np.bincount(bmus, weights, minlength=grid.n_units).astype(np.float64)
    return hits.reshape(grid.shape)


def _gap(estimator: Any, units: NDArray, others: NDArray) -> NDArray[np.float64]:
    codebook = estimator.codebook_
    return paired_distances(codebook[units], codebook[others], metric_of(estimator))


def _with_cells_between(
    values: NDArray[np.float64], estimator: Any, grid: Grid
) -> NDArray[np.float64]:
    """Spread the values of the units out, and fill in the cells between them."""
    (n_rows, n_columns), unit = grid.shape, np.arange(grid.n_units).reshape(grid.shape)
    joins_columns = grid.boundary != "planar" and n_columns > 1
    joins_rows = grid.boundary == "toroidal" and n_rows > 1
    cells = np.zeros((2 * n_rows - (not joins_rows), 2 * n_columns - (not joins_columns)))
    cells[::2, ::2] = values

    right = np.roll(unit, -1, axis=1)
    n_right = n_columns if joins_columns else n_columns - 1  # units with one to the right
    here, there = unit[:, :n_right], right[:, :n_right]
    cells[::2, 1::2] = _gap(estimator, here.ravel(), there.ravel()).reshape(here.shape)

    n_below = n_rows if joins_rows else n_rows - 1  # rows with one below
    upper, lower = unit[:n_below], np.roll(unit, -1, axis=0)[:n_below]
    cells[1::2, ::2] = _gap(estimator, upper.ravel(), lower.ravel()).reshape(upper.shape)
    upper_right = right[:n_below, :n_right]
    lower_right = np.roll(right, -1, axis=0)[:n_below, :n_right]
    upper, lower = upper[:, :n_right], lower[:, :n_right]
    falling = _gap(estimator, upper.ravel(), lower_right.ravel()).reshape(upper.shape)
    rising = _gap(estimator, upper_right.ravel(), lower.ravel()).reshape(upper.shape)
    if grid.is_hexagonal:
        is_even = np.arange(n_below)[:, None] % 2 == 0
        cells[1::2, 1::2] = np.where(is_even, rising, falling)
    else:
        cells[1::2, 1::2] = (falling + rising) / np.sqrt(8)
    return cells

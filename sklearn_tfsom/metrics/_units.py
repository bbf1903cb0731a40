"""Values of units.

They have the shape of the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._data.scaling import check_range
from sklearn_tfsom._distance import metric_of, paired_distances
from sklearn_tfsom._map.geometry import joins_columns, joins_rows
from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._map.umatrix import u_heights
from sklearn_tfsom._pipelines import takes_pipelines
from sklearn_tfsom._validation import BOOLEAN, check_value, choice
from sklearn_tfsom.metrics._base import check_n_neighbors, counted_samples


@takes_pipelines
def u_matrix(
    estimator: Any,
    *,
    n_neighbors: int | None = None,
    average: str = "mean",
    between: bool = False,
) -> NDArray[np.float64]:
    """Compute the U-matrix: the mean distance of each code vector to those of its neighbors.

    High values separate clusters, low values lie inside of them [1]_.

    Read more in the :ref:`User Guide <guide_u_matrix>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    n_neighbors : {4, 6, 8}, default=None
        Number of neighbors of a unit: 6 on a hexagonal lattice, 4 (default) or 8 on a rectangular
        one.

    average : {"mean", "median"}, default="mean"
        Average of the distances of a unit to its neighbors. SOM Toolbox uses the median.

    between : bool, default=False
        Whether to add cells between the units with the distance of the two units beside them, as
        in SOM Toolbox and Matlab.

    Returns
    -------
    values : ndarray of float64, shape (n_rows, n_columns) or (2 n_rows - 1, 2 n_columns - 1)
        In data units, 0 for a map of one unit. With cells between the units, there are
        2 n_columns columns if the left and right edges of several columns are joined, and
        2 n_rows rows if the top and bottom of several rows are joined.

    Raises
    ------
    InvalidParameterError
        If `n_neighbors` is not valid on the lattice, or `average` or `between` is not valid.
    ValueError
        If distances between code vectors exceed the range of float64.

    Notes
    -----
    With ``between=True``, unit (r, c) has the cell ``values[2r, 2c]``, and the cell between it
    and its right neighbor is ``values[2r, 2c + 1]``.

    On a rectangular lattice, ``values[2r + 1, 2c]`` lies between (r, c) and (r + 1, c), and
    ``values[2r + 1, 2c + 1]`` lies between four units. It is the mean distance over the two
    diagonals, divided by their grid distance ``sqrt(2)``; by its square under "cosine" and
    "correlation".

    On a hexagonal lattice, all cells of row ``2r + 1`` lie between a unit of row r and a unit of
    row r + 1. If r is even, ``values[2r + 1, 2c]`` lies between (r, c) and (r + 1, c), and
    ``values[2r + 1, 2c + 1]`` between (r, c + 1) and (r + 1, c). If r is odd, the latter lies
    between (r, c) and (r + 1, c + 1). Cells of a row are half a lattice spacing apart. The x
    coordinate of the first cell is 0 in the rows of even r, 1/2 in those of odd r, and 1/4 in the
    rows between them.

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
    grid = grid_of(estimator)
    check_n_neighbors("u_matrix", n_neighbors, grid)
    check_value("average", "u_matrix", average, [choice(("mean", "median"))])
    check_value("between", "u_matrix", between, [BOOLEAN])
    codebook, metric = estimator.codebook_, metric_of(estimator)
    values = u_heights(grid, codebook, metric, n_neighbors, average).reshape(grid.shape)
    if not between:
        return values

    def distances(units: NDArray, others: NDArray) -> NDArray[np.float64]:
        between = paired_distances(codebook[units.ravel()], codebook[others.ravel()], metric)
        check_range(np.isfinite(between), what="Distances between code vectors")
        return between.reshape(units.shape)

    # 1 - cos grows with the square of small distances.
    diagonal = 2.0 if metric.is_spherical else np.sqrt(2)
    return _with_cells_between(values, grid, distances, diagonal)


@takes_pipelines
def hit_histogram(
    estimator: Any, X: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Compute the number, or total weight, of the samples of each unit.

    Read more in the :ref:`User Guide <guide_hits>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN for missing values.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample, None for 1.

    Returns
    -------
    hits : ndarray of float64, shape (n_rows, n_columns)
        Total weight of the samples whose best-matching unit has this row and column.

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
    grid = grid_of(estimator)
    samples, weights = counted_samples(estimator, X, sample_weight)
    bmus = estimator._nearest(samples)[:, 0]
    hits = np.bincount(bmus, weights, minlength=grid.n_units).astype(np.float64)
    return hits.reshape(grid.shape)


def _with_cells_between(
    values: NDArray[np.float64],
    grid: Grid,
    distances: Callable[[NDArray, NDArray], NDArray[np.float64]],
    diagonal: float,
) -> NDArray[np.float64]:
    """Return the values of the units with cells for the distances between them.

    Distances along a diagonal of a rectangular lattice are divided by `diagonal`.
    """
    (n_rows, n_columns), unit = grid.shape, np.arange(grid.n_units).reshape(grid.shape)
    # Columns with a right neighbor, rows with a row below.
    n_left = n_columns if joins_columns(grid) and n_columns > 1 else n_columns - 1
    n_upper = n_rows if joins_rows(grid) else n_rows - 1
    cells = np.zeros((n_rows + n_upper, n_columns + n_left))
    cells[::2, ::2] = values
    right = np.roll(unit, -1, axis=1)
    lower, lower_right = np.roll(unit, -1, axis=0), np.roll(right, -1, axis=0)
    cells[::2, 1::2] = distances(unit[:, :n_left], right[:, :n_left])
    cells[1::2, ::2] = distances(unit[:n_upper], lower[:n_upper])
    inner = slice(n_upper), slice(n_left)
    falling = distances(unit[inner], lower_right[inner])
    rising = distances(right[inner], lower[inner])
    if grid.is_hexagonal:
        is_even = np.arange(n_upper)[:, None] % 2 == 0
        cells[1::2, 1::2] = np.where(is_even, rising, falling)
    else:
        cells[1::2, 1::2] = (falling + rising) / (2 * diagonal)
    return cells

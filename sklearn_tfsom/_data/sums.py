"""Sums of rows by unit."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from sklearn_tfsom._data.sparse import SparseRows
from sklearn_tfsom._data.tiles import even_slices, map_tiles, row_slices
from sklearn_tfsom._tuning import MIN_TWO_SUMMED, SUMMED_FEATURES, SUMMED_VALUES


def sums_and_counts(
    rows: NDArray | SparseRows,
    weights: NDArray[np.float64],
    units: NDArray[np.int32],
    n_units: int,
    has_missing: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum the weighted rows of each unit, and their weights, in float64.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features), or SparseRows
        NaN where a value is missing.
    weights : ndarray of float64, shape (n,)
    units : ndarray of int32, shape (n,)
        The unit of each row.
    n_units : int
    has_missing : bool
        Whether values are missing: weights are summed for each feature then.

    Returns
    -------
    sums : ndarray of float64, shape (n_units, n_features)
    counts : ndarray of float64, shape (n_units, 1) or (n_units, n_features)
    """
    if not has_missing:
        counts = np.bincount(units, weights, n_units).astype(np.float64)[:, None]
    if isinstance(rows, SparseRows):
        return rows.sums_by_unit(weights, units, n_units), counts
    n_features = rows.shape[1]
    sums = np.zeros((n_units, n_features))
    if has_missing:
        counts = np.zeros((n_units, n_features))

    def of_block(block: tuple[slice, slice]) -> tuple[NDArray[np.float64], Any]:
        some, _ = block
        values, by_unit = rows[block], (weights[some], units[some], n_units)
        if not has_missing:
            return sums_by_unit(values, *by_unit), 0.0
        known = ~np.isnan(values)
        return sums_by_unit(np.where(known, values, 0), *by_unit), sums_by_unit(known, *by_unit)

    # Blocks of few features have rows enough for sums of their size to cost little.
    n_wide = min(n_features, SUMMED_FEATURES) * (2 if has_missing else 1)
    n_values = max(SUMMED_VALUES, n_units * n_wide)
    row_blocks = even_slices(len(units), n_wide, n_values, MIN_TWO_SUMMED)
    blocks = list(itertools.product(row_blocks, row_slices(n_features, SUMMED_FEATURES)))
    for (_, features), found in zip(blocks, map_tiles(of_block, blocks), strict=True):
        sums[:, features] += found[0]
        if has_missing:
            counts[:, features] += found[1]
    return sums, counts


def sums_by_unit(
    values: NDArray, weights: NDArray[np.float64], units: NDArray[np.int32], n_units: int
) -> NDArray[np.float64]:
    """Sum the weighted rows of each unit, in the order of the rows.

    Parameters
    ----------
    values : array of shape (n, n_values)
    weights : array of float64, shape (n,)
    units : array of int32, shape (n,)
        The unit of each row.
    n_units : int

    Returns
    -------
    sums : ndarray of float64, shape (n_units, n_values)
    """
    columns = np.arange(len(units) + 1, dtype=np.int32)
    of_units = csc_array((weights, units, columns), (n_units, len(units)))
    # SciPy would copy values of another layout, and copy them again to convert them.
    sums: NDArray[np.float64] = of_units @ np.ascontiguousarray(values, np.float64)
    return sums

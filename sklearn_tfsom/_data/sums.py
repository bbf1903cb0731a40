"""Sums of rows by unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from sklearn_tfsom._data.sparse import SparseRows
from sklearn_tfsom._data.tiles import map_rows
from sklearn_tfsom._tuning import MIN_SORTED_FEATURES, MIN_TWO_SUMMED, SUMMED_VALUES


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

    # Sums of wide rows do not stay in the cache, unless few units come at a time.
    is_sorted = n_features >= MIN_SORTED_FEATURES
    order = _unit_matrix(weights, units, n_units).tocsr().indices if is_sorted else None

    def of_block(block: slice) -> tuple[slice, list[NDArray[np.float64]]]:
        some = block if order is None else order[block]
        own, places = units[some], slice(0, n_units)
        if order is not None:
            places = slice(own[0], own[-1] + 1)
        by_unit = _unit_matrix(weights[some], own - places.start, places.stop - places.start)
        values = rows[some]
        if not has_missing:
            return places, [_product(by_unit, values)]
        known = ~np.isnan(values)
        filled = np.where(known, values, 0)
        return places, [_product(by_unit, filled), _product(by_unit, known)]

    n_wide = n_features * (2 if has_missing else 1)
    # Blocks of unsorted rows are so large that adding sums to all units costs little beside them.
    n_values = SUMMED_VALUES if is_sorted else max(SUMMED_VALUES, n_units * n_wide)
    most_rows, is_much = n_values // n_wide, len(units) * n_wide >= MIN_TWO_SUMMED
    for places, found in map_rows(of_block, len(units), most_rows, in_threads=is_much):
        sums[places] += found[0]
        if has_missing:
            counts[places] += found[1]
    return sums, counts


def _unit_matrix(
    weights: NDArray[np.float64], units: NDArray[np.int32], n_units: int
) -> csc_array:
    """Return the matrix (n_units, n) that has the weight of each row at its unit."""
    columns = np.arange(len(units) + 1, dtype=np.int32)
    return csc_array((weights, units, columns), (n_units, len(units)))


def _product(by_unit: csc_array, values: NDArray) -> NDArray[np.float64]:
    # SciPy would copy values of another layout, and copy them again to convert them.
    product: NDArray[np.float64] = by_unit @ np.ascontiguousarray(values, np.float64)
    return product

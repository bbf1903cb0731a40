"""Search in NumPy among distances that are products: in float32, with a bound on the rounding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.dense import DenseRows
from sklearn_tfsom._data.sparse import SparseRows
from sklearn_tfsom._data.statistics import Found
from sklearn_tfsom._data.tiles import map_tiles, multiply, row_slices
from sklearn_tfsom._map.scores import Factors, Terms, rounding_bound32
from sklearn_tfsom._map.ties import MAX_PASSES
from sklearn_tfsom._tuning import MIN_TWO_TILES, TILE_DISTANCES


def search_products(
    rows: DenseRows | SparseRows, terms: Terms, k: int, is_measured: bool
) -> Found:
    """Find the k best-matching units of rows among distances that are products, in tiles.

    Distances come from differences if they are to be measured; otherwise, and of sparse rows, from
    float32 scores, and are valid only if the center of `terms` is 0.
    """
    norms, (n_terms, n_units) = np.asarray(rows.norms), terms.factors.values.shape
    n_values = len(norms) * max(n_units, 2 * n_terms)  # differences are float64
    factors = terms.factors
    if isinstance(rows, SparseRows):
        n_values = len(norms) * n_units
        sizes = factors.sizes._replace(n_terms=np.diff(rows.matrix.indptr) + 1)
        factors = Factors(np.ascontiguousarray(factors.values), sizes)
    n_tiles = max(-(-n_values // TILE_DISTANCES), 1 if n_values < MIN_TWO_TILES else 2)
    tiles = row_slices(len(norms), -(-len(norms) // n_tiles))
    # Threads take turns in Python: a tile does nothing that can be done for all rows at once.
    found = map_tiles(
        lambda tile: _search_tile(rows.take(tile), terms, factors, k, is_measured), tiles
    )
    units, lowest, squared = map(np.concatenate, zip(*found, strict=True))
    # Far from the map values overflow, and no row is clear.
    with np.errstate(over="ignore", invalid="ignore"):
        margin = rounding_bound32(np, norms, factors.sizes).astype(np.float32)
        is_clear = np.isfinite(margin)
        for place in range(lowest.shape[1] - 1):
            is_clear &= lowest[:, place + 1] - lowest[:, place] > margin
    distances = squared / 2 if terms.kind.metric.is_spherical else np.sqrt(squared)
    return Found(units, distances, is_clear)


def _search_tile(
    rows: DenseRows | SparseRows, terms: Terms, factors: Factors, k: int, is_measured: bool
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float64]]:
    """Take out the lowest scores one by one, and one more that tells whether they are clear.

    Returns
    -------
    units : ndarray of int32, shape (n, k)
    lowest : ndarray of float32, shape (n, k + 1), or (n, k) if there are no more units
    squared : ndarray of float64, shape (n,)
        Squared distance to the closest unit.
    """
    if isinstance(rows, DenseRows) and rows.factors32 is None:
        rows = rows.for_products(terms.kind.has_missing)
    n_rows, n_units = rows.norms.shape[0], factors.values.shape[1]
    n_lowest, starts = min(k + 1, n_units), np.arange(0, n_rows * n_units, n_units)
    units, lowest = np.empty((n_rows, k), np.int32), np.empty((n_rows, n_lowest), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        if isinstance(rows, SparseRows):
            scores = rows.scores32(factors.values)
        else:
            assert rows.factors32 is not None
            scores = multiply(rows.factors32, factors.values)
        if n_lowest > MAX_PASSES:
            units[:], lowest[:] = _sorted_lowest(scores, k, n_lowest)
        else:
            for place in range(n_lowest):
                unit = scores.argmin(axis=1)
                at = starts + unit
                lowest[:, place] = scores.ravel()[at]
                if place < k:
                    units[:, place] = unit
                if place + 1 < n_lowest:
                    scores.ravel()[at] = np.inf
        if is_measured and isinstance(rows, DenseRows):
            squared = _squared_distances(rows, units[:, 0], terms)
        else:
            squared = np.maximum(rows.norms + lowest[:, 0], 0)
        return units, lowest, squared


def _sorted_lowest(
    scores: NDArray[np.float32], k: int, n_lowest: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the units of the k lowest scores of each row, and the lowest scores, in order."""
    found = np.argpartition(scores, n_lowest - 1, axis=1)[:, :n_lowest]
    lowest = np.take_along_axis(scores, found, axis=1)
    order = np.argsort(lowest, axis=1)
    return np.take_along_axis(found, order[:, :k], axis=1), np.take_along_axis(
        lowest, order, axis=1
    )


def _squared_distances(
    rows: DenseRows, units: NDArray[np.int32], terms: Terms
) -> NDArray[np.float64]:
    """Compute the squared distance of each row to a unit from their differences."""
    differences = terms.codebook.reshape(-1, terms.codebook.shape[2]).take(units, axis=0)
    np.subtract(rows.values, differences, out=differences)
    if terms.kind.has_missing:
        differences[np.isnan(rows.values)] = 0
    return np.einsum("ij,ij->i", differences, differences)

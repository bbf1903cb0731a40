"""Search in NumPy among distances that are products: in float32, with a bound on the rounding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._compat import with_errstate
from sklearn_tfsom._data.dense import DenseRows
from sklearn_tfsom._data.sparse import SparseRows
from sklearn_tfsom._data.statistics import Found
from sklearn_tfsom._data.tiles import even_slices, map_rows, multiply, row_slices, value_slices
from sklearn_tfsom._distance import Metric, paired_distances
from sklearn_tfsom._map.scores import Sizes, Target, rounding_bound32
from sklearn_tfsom._map.ties import MAX_PASSES
from sklearn_tfsom._tuning import (
    CACHED_SCORES,
    CACHED_VALUES,
    CANCELLATION,
    MAX_ALL_DIFFERENCES,
    MAX_PANELS,
    MAX_PRODUCT_TERMS,
    MEASURED_VALUES,
    MIN_TWO_SEARCHED,
    MIN_TWO_SUMMED,
    NUMPY_TILE_VALUES,
    SEARCH_TERMS,
)


def search_products(rows: DenseRows | SparseRows, target: Target, k: int) -> Found:
    """Find the k best-matching units of rows among distances that are products, in tiles.

    Distances come from the scores, and are valid only if the center of `target` is 0.
    """
    norms, factors = np.asarray(rows.norms), target.factors
    (n_terms, n_units), sizes = factors.values.shape, factors.sizes_for(k)
    n_values, n_products = max(n_units, n_terms), len(norms) * n_terms
    sizes = sizes._replace(n_terms=sum(_panels(n_terms)))
    if isinstance(rows, SparseRows):
        n_values, n_products = n_units, rows.matrix.nnz
        sizes = sizes._replace(n_terms=np.diff(rows.matrix.indptr) + 1)
    is_much = n_units * (n_products + SEARCH_TERMS * len(norms)) >= MIN_TWO_SEARCHED
    units = np.empty((len(norms), k), np.int32)
    lowest = np.empty((len(norms), min(k + 1, n_units)), np.float32)

    # Threads take turns in Python: a tile does nothing that can be done for all rows at once.
    def search(tile: slice) -> None:
        _search_tile(rows.take(tile), target, units[tile], lowest[tile])

    for _ in map_rows(search, len(norms), NUMPY_TILE_VALUES // n_values, in_threads=is_much):
        pass
    gaps = np.full(len(norms), np.inf, np.float32)
    # Far from the map values overflow, and no row is clear.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for place in range(lowest.shape[1] - 1):
            np.minimum(gaps, lowest[:, place + 1] - lowest[:, place], out=gaps)
        squared = np.maximum(norms + lowest[:, 0], 0)
        is_clear = _are_beyond(gaps, norms, sizes, target.codebook.size)
    distances = target.kind.metric.from_squares(squared)
    return Found(units, distances, is_clear)


def _are_beyond(
    gaps: NDArray[np.float32], norms: NDArray[np.float64], sizes: Sizes, n_differences: int
) -> NDArray[np.bool_]:
    """Return whether differences of scores exceed their rounding, (n,).

    Its bound grows with the norm and the terms of a row. That of the largest tells most rows;
    others get their own, unless there are so few that it takes less time to search them again.
    `n_differences` is the number of those between a row and all units.
    """
    is_same = isinstance(sizes.n_terms, int)  # of dense rows
    largest = sizes if is_same else sizes._replace(n_terms=sizes.n_terms.max())
    are_beyond: NDArray[np.bool_] = gaps > rounding_bound32(np, norms.max(), largest)
    close = np.flatnonzero(~are_beyond)
    if len(close) * n_differences > MAX_ALL_DIFFERENCES:
        own = sizes if is_same else sizes._replace(n_terms=sizes.n_terms[close])
        margins = rounding_bound32(np, norms[close], own)
        are_beyond[close] = np.isfinite(margins) & (gaps[close] > margins)
    return are_beyond


def _search_tile(
    rows: DenseRows | SparseRows,
    target: Target,
    units: NDArray[np.int32],
    lowest: NDArray[np.float32],
) -> None:
    """Take out the lowest scores one by one, and one more that tells whether they are clear.

    Parameters
    ----------
    rows : DenseRows or SparseRows
    target : Target
    units : ndarray of int32, shape (n, k)
        Filled with the units.
    lowest : ndarray of float32, shape (n, k + 1), or (n, k) if there are no more units
        Filled with their scores.
    """
    if isinstance(rows, DenseRows) and rows.factors32 is None:
        rows = rows.for_products(target.kind.has_missing)
    factors, n_rows = target.factors.values, rows.norms.shape[0]
    n_units = factors.shape[1]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        blocks = even_slices(n_rows, -(-n_rows * n_units // CACHED_SCORES))
        store = np.empty((blocks[0].stop, n_units), np.float32)
        for block in blocks:
            if isinstance(rows, SparseRows):
                scores = rows.take(block).scores32(factors)
            else:
                assert rows.factors32 is not None
                scores = store[: block.stop - block.start]
                _multiply(rows.factors32[block], factors, scores)
            _take_lowest(scores, units[block], lowest[block])


def _take_lowest(
    scores: NDArray[np.float32], units: NDArray[np.int32], lowest: NDArray[np.float32]
) -> None:
    """Find the units of the lowest scores of rows, and these scores; the scores are changed."""
    (n_rows, k), n_lowest, n_units = units.shape, lowest.shape[1], scores.shape[1]
    if n_lowest > MAX_PASSES:
        units[:], lowest[:] = _sorted_lowest(scores, k, n_lowest)
        return
    flat, starts = scores.ravel(), np.arange(0, n_rows * n_units, n_units)
    for place in range(n_lowest):
        unit = scores.argmin(axis=1)
        at = starts + unit
        lowest[:, place] = flat[at]
        if place < k:
            units[:, place] = unit
        if place + 1 < n_lowest:
            flat[at] = np.inf


def _panels(n_terms: int) -> tuple[int, int]:
    """Return the terms of a product that are added up together, and how often."""
    n_panels = min(-(-n_terms // MAX_PRODUCT_TERMS), MAX_PANELS)
    return -(-n_terms // n_panels), n_panels


def _multiply(
    rows: NDArray[np.float32], factors: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Multiply in panels: sums of few terms, and of few such sums, are rounded less."""
    step, n_panels = _panels(len(factors))
    if n_panels == 1:
        multiply(rows, factors, out)
        return
    first, *others = row_slices(len(factors), step)
    multiply(rows[:, first], factors[first], out)
    for panel in others:
        out += multiply(rows[:, panel], factors[panel])


def _sorted_lowest(
    scores: NDArray[np.float32], k: int, n_lowest: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the units of the k lowest scores of each row, and the lowest scores, in order."""
    found = np.argpartition(scores, n_lowest - 1, axis=1)[:, :n_lowest]
    lowest = np.take_along_axis(scores, found, axis=1)
    order = np.argsort(lowest, axis=1)
    units = np.take_along_axis(found, order[:, :k], axis=1)
    return units, np.take_along_axis(lowest, order, axis=1)


def measure(
    rows: DenseRows | SparseRows,
    units: NDArray[np.int32],
    distances: NDArray[np.float64],
    target: Target,
) -> NDArray[np.float64]:
    """Return the distance of each row to a unit: exact of dense float64, others good to 1e-5.

    Distances from float32 scores stay as they are for sparse rows and for float32 values, unless
    they are so small that their digits have cancelled, or NaN. All others are computed from
    differences.

    Parameters
    ----------
    rows : DenseRows or SparseRows
    units : ndarray of int32, shape (n,)
        Of rows that are not clear maybe no index of a unit.
    distances : ndarray of float64, shape (n,)
        From scores.
    target : Target
    """
    n_features, metric, float32 = target.codebook.shape[2], target.kind.metric, np.dtype("f4")
    codebook, again = target.codebook.reshape(-1, n_features), np.arange(len(units))
    if isinstance(rows, SparseRows) or rows.values.dtype == float32:
        of_scores = 2 * distances if metric.is_spherical else np.square(distances)
        again = np.flatnonzero(~(of_scores >= CANCELLATION[float32] * np.asarray(rows.norms)))
    if not len(again):
        return distances
    measured = distances.copy()
    if isinstance(rows, SparseRows):
        norms, some = np.einsum("uf,uf->u", codebook, codebook), rows.take(again)
        measured[again] = paired_sparse_distances(some, codebook, norms, units[again], metric)
        return measured
    values = np.asarray(rows.values)

    def of_tile(tile: slice) -> NDArray[np.float64]:
        some = tile if len(again) == len(units) else again[tile]
        part, differences = values[some], codebook.take(units[some], axis=0, mode="clip")
        # Far from the map values overflow; a distance that is not finite reports it.
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            np.subtract(part, differences, out=differences)
            if target.kind.has_missing:
                differences[np.isnan(part)] = 0
            return np.einsum("ij,ij->i", differences, differences)

    most_rows, is_much = MEASURED_VALUES // n_features, again.size * n_features >= MIN_TWO_SUMMED
    squared = np.concatenate(list(map_rows(of_tile, again.size, most_rows, in_threads=is_much)))
    measured[again] = metric.from_squares(squared)
    return measured


# A distance that is not finite reports it.
@with_errstate(over="ignore", under="ignore", invalid="ignore")
def paired_sparse_distances(
    rows: SparseRows,
    codebook: NDArray[np.float64],
    unit_norms: NDArray[np.float64],
    units: NDArray,
    metric: Metric,
) -> NDArray[np.float64]:
    """Compute the distance of each row to one code vector, from a product in float64.

    Where digits of the product cancel, it is computed from the difference.
    """
    norms = rows.norms + unit_norms[units]
    squared = norms - 2 * rows.paired_products(codebook, units)
    distances: NDArray[np.float64] = metric.from_squares(np.maximum(squared, 0))
    lost = np.flatnonzero(~(squared > CANCELLATION[np.dtype(np.float64)] * norms))
    for some in value_slices(len(lost), codebook.shape[1], CACHED_VALUES):
        row = lost[some]
        distances[row] = paired_distances(rows.take(row).dense(), codebook[units[row]], metric)
    return distances

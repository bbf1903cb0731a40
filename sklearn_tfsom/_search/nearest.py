"""Best-matching units: those of a float64 search, at the cost of a float32 one, tile by tile.

`nearest` is the one way to find them. Scores are computed in float32, with a bound on their
rounding. Rows for which more than one unit lies within the bound are searched again in float64, by
the tie rule. Distances that are no product are computed in float64 at once.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.dense import DenseRows
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.sparse import SparseRows
from sklearn_tfsom._data.statistics import Found, Nearest, Statistics
from sklearn_tfsom._data.sums import sums_by_unit
from sklearn_tfsom._data.tiles import even_slices, map_tiles, row_slices
from sklearn_tfsom._map.scores import MAX_FUSED_UNITS, Kind, Terms
from sklearn_tfsom._search.exact import search_exactly
from sklearn_tfsom._search.products import measure, search_products
from sklearn_tfsom._tf.runtime import tensorflow_core
from sklearn_tfsom._tuning import (
    MAX_ALL_DIFFERENCES,
    MAX_FUSED_FEATURES,
    MAX_NUMPY_DIFFERENCES,
    MAX_NUMPY_INCOMPLETE,
    MAX_NUMPY_PRUNED,
    MAX_NUMPY_SCORES,
    MAX_PRUNED_FEATURES,
    MAX_TILE_ROWS,
    MIN_PRUNED,
    MIN_PRUNED_SIDE,
    MIN_TILE_ROWS,
    SUMMED_FEATURES,
    SUMMED_VALUES,
    TILE_SCORES,
)


def nearest(
    rows: DenseRows | SparseRows,
    terms: Terms,
    k: int = 1,
    *,
    weights: NDArray[np.float64] | None = None,
    summed: DenseRows | SparseRows | None = None,
    n_tile: int | None = None,
    n_searched: int = 0,
) -> Nearest:
    """Find the k best-matching units of each row.

    Parameters
    ----------
    rows : DenseRows or SparseRows
        Scaled as the codebook of `terms`.
    terms : Terms
    k : int, default=1
    weights : array of float64, shape (n,), default=None
        If given, rows are summed up by their closest unit as well.
    summed : DenseRows or SparseRows, default=None
        The same rows on the CPU, where `rows` are on a device.
    n_tile : int, default=None
        Rows whose scores a graph computes at a time; no unit depends on it. By default rows are
        searched in NumPy, as sparse ones are always.
    n_searched : int, default=0
        Rows that are going to be searched in this way, over all calls and epochs. If they are
        many, XLA compiles the search in full tiles.

    Returns
    -------
    found : Nearest
        Distances of sparse rows, and those found without weights, come from float32 scores, with
        their error, where these tell the unit. For others see `products.measure`. All are valid
        only if the center of `terms` is 0.
    """
    n_differences = rows.norms.shape[0] * terms.codebook.size
    has_scores = terms.kind.metric.is_product
    if are_equal(terms.codebook):  # no search tells them apart
        one = dataclasses.replace(terms, codebook=terms.codebook[:1, :1])
        _, distances = search_exactly(rows, one, 1)
        units = np.tile(np.arange(k, dtype=np.int32), (len(distances), 1))
        found, has_scores = Found(units, distances, np.full(len(distances), True)), False
    elif n_tile is not None and isinstance(rows, DenseRows):
        found = tensorflow_core().search_dense(
            rows, terms, k, n_tile, n_searched, is_fit=weights is not None
        )
    elif has_scores and n_differences > MAX_ALL_DIFFERENCES:
        found = search_products(rows, terms, k)
    else:
        found = Found(*search_exactly(rows, terms, k), np.full(len(rows.norms), True))
        has_scores = False
    units, distances, is_clear = found
    on_cpu = summed or rows
    if weights is not None and has_scores and isinstance(on_cpu, DenseRows):
        distances = measure(on_cpu, units[:, 0], distances, terms)
    unclear = np.flatnonzero(~is_clear)
    if len(unclear):
        units, distances = units.copy(), distances.copy()
        units[unclear], distances[unclear] = search_exactly(on_cpu.take(unclear), terms, k)
    if weights is None:
        return Nearest(units, distances, None)
    return Nearest(units, distances, _sum_by_unit(on_cpu, weights, units[:, 0], distances, terms))


def are_equal(codebook: NDArray) -> bool:
    """Return True if all code vectors (..., n_features) are equal."""
    flat = codebook.reshape(-1, codebook.shape[-1])
    return bool((flat[0] == flat[-1]).all() and (flat == flat[0]).all())


def suits_numpy(n_searched: int, codebook: NDArray, kind: Kind) -> bool:
    """Return True if NumPy takes less time than a graph, with what it takes to make one.

    Parameters
    ----------
    n_searched : int
        Rows to search, over all calls and epochs to come.
    codebook : ndarray of shape (..., n_features)
    kind : Kind
    """
    n_differences = n_searched * codebook.size
    if not kind.metric.is_product:
        return n_differences <= (
            MAX_NUMPY_INCOMPLETE if kind.has_missing else MAX_NUMPY_DIFFERENCES
        )
    most = MAX_NUMPY_PRUNED if kind.is_pruned else MAX_NUMPY_SCORES
    return n_differences // codebook.shape[-1] <= most


def tile_rows(n_units: int, n_features: int) -> int:
    """Return the number of rows of a tile: a power of two."""
    rows = TILE_SCORES // max(n_units, n_features)
    rows = min(max(rows, MIN_TILE_ROWS), MAX_TILE_ROWS)
    return int(2 ** (rows.bit_length() - 1))


def search_kind(samples: Samples, codebook: NDArray) -> Kind:
    """Return the kind of search of samples in a codebook on its grid."""
    *sides, n_features = codebook.shape
    n_units, kind = math.prod(sides), Kind(samples.metric, samples.has_missing)
    if samples.is_sparse or not samples.metric.is_product:
        return kind
    is_narrow = n_features <= MAX_FUSED_FEATURES and not samples.has_missing
    if is_narrow and n_units <= MAX_FUSED_UNITS:
        return kind._replace(n_fused=n_features)
    is_large = min(sides) >= MIN_PRUNED_SIDE and min(len(samples), n_units) >= MIN_PRUNED
    return kind._replace(is_pruned=is_large and n_features <= MAX_PRUNED_FEATURES)


def _sum_by_unit(
    rows: DenseRows | SparseRows,
    weights: NDArray[np.float64],
    units: NDArray[np.int32],
    distances: NDArray[np.float64],
    terms: Terms,
) -> Statistics:
    """Sum rows by the unit (n,) of each, in float64."""
    weights, (n_rows, n_columns, n_features) = np.asarray(weights), terms.codebook.shape
    n_units = n_rows * n_columns
    total = Statistics.nothing(n_units, n_features, terms.kind.has_missing)
    if isinstance(rows, SparseRows):
        total.sums[:] = rows.sums_by_unit(weights, units, n_units)
    else:

        def of_block(block: tuple[slice, slice]) -> tuple[NDArray[np.float64], Any]:
            some, _ = block
            values, by_unit = np.asarray(rows.values[block]), (weights[some], units[some], n_units)
            if not terms.kind.has_missing:
                return sums_by_unit(values, *by_unit), 0.0
            known = ~np.isnan(values)
            counts = sums_by_unit(known, *by_unit)
            return sums_by_unit(np.where(known, values, 0), *by_unit), counts

        # Blocks of few features have rows enough for sums of their size to cost little.
        n_wide = min(n_features, SUMMED_FEATURES) * (2 if terms.kind.has_missing else 1)
        row_blocks = even_slices(len(units), n_wide, max(SUMMED_VALUES, n_units * n_wide))
        blocks = list(itertools.product(row_blocks, row_slices(n_features, SUMMED_FEATURES)))
        for (_, features), (sums, counts) in zip(blocks, map_tiles(of_block, blocks), strict=True):
            total.sums[:, features] += sums
            if terms.kind.has_missing:
                total.counts[:, features] += counts
    if not terms.kind.has_missing:
        total.counts[:, 0] = np.bincount(units, weights, n_units)
    return total._replace(error=np.asarray(np.sum(weights * distances)))

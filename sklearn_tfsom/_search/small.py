"""Search in NumPy of so few rows that calling a graph would take longer."""

from __future__ import annotations

import numpy as np

from sklearn_tfsom._data.dense import DenseRows
from sklearn_tfsom._data.statistics import Found, joined
from sklearn_tfsom._data.tiles import map_tiles, multiply, row_slices
from sklearn_tfsom._map.scores import Terms, rounding_bound32
from sklearn_tfsom._tuning import MIN_TWO_TILES, TILE_DISTANCES


def search_small(rows: DenseRows, terms: Terms, k: int) -> Found:
    """Find the k best-matching units of rows among distances that are products, in tiles."""
    n_rows, (n_terms, n_units) = rows.norms.shape[0], terms.factors.values.shape
    n_values = n_rows * max(n_units, 2 * n_terms)  # differences are float64
    n_tiles = max(-(-n_values // TILE_DISTANCES), 1 if n_values < MIN_TWO_TILES else 2)
    tiles = row_slices(n_rows, -(-n_rows // n_tiles))
    return joined(map_tiles(lambda tile: _search_tile(rows.take(tile), terms, k), tiles))


def _search_tile(rows: DenseRows, terms: Terms, k: int) -> Found:
    """Take out the lowest scores one by one, and one more that tells whether they are clear."""
    values, norms = map(np.asarray, rows)
    (factors, sizes), codebook = terms.factors, terms.codebook.reshape(-1, values.shape[1])
    (n_rows, n_features), (n_terms, n_units) = values.shape, factors.shape
    # Far from the map values overflow; such rows are not clear.
    with np.errstate(over="ignore", invalid="ignore"):
        of_rows = np.empty((n_rows, n_terms), np.float32)
        of_rows[:, :n_features], of_rows[:, n_features:] = values, 1
        if terms.kind.has_missing:
            of_rows[np.tile(np.isnan(values), 2)] = 0
        scores = multiply(of_rows, factors)
        margin = rounding_bound32(np, norms, sizes).astype(np.float32)
        is_clear, units, lowest = np.isfinite(margin), np.empty((n_rows, k), np.int32), []
        for place in range(min(k + 1, n_units)):
            unit = scores.argmin(axis=1)
            at = unit + np.arange(0, scores.size, n_units)
            lowest.append(scores.ravel()[at])
            if place:
                is_clear &= lowest[-1] - lowest[-2] > margin
            if place < k:
                units[:, place] = unit
                scores.ravel()[at] = np.inf
        # From differences: they are the same in any tile.
        differences = codebook.take(units[:, 0], axis=0)
        np.subtract(values, differences, out=differences)
        if terms.kind.has_missing:
            differences[np.isnan(values)] = 0
        squared = np.einsum("ij,ij->i", differences, differences)
        distances = squared / 2 if terms.kind.metric.is_spherical else np.sqrt(squared)
    return Found(units, distances, is_clear)

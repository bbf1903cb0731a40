"""Dense samples, scaled, in memory that TensorFlow uses without a copy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.scaling import Scaling
from sklearn_tfsom._data.tiles import map_tiles, value_slices
from sklearn_tfsom._tuning import CACHED_VALUES

# TensorFlow uses memory as it is only where it is aligned to this many bytes.
ALIGNMENT = 64


class DenseRows(NamedTuple):
    """Scaled samples: arrays, or tensors on a device."""

    values: NDArray  # (n, n_features) float32 or float64; NaN where missing
    norms: NDArray[np.float64]  # (n,) squared, over the known features
    factors32: NDArray[np.float32] | None = None  # (n, n_terms), for products in NumPy

    def take(self, rows: NDArray[np.int64] | slice) -> DenseRows:
        """Return some of the rows."""
        if not isinstance(rows, slice):
            return DenseRows(np.asarray(self.values)[rows], np.asarray(self.norms)[rows])
        factors32 = None if self.factors32 is None else self.factors32[rows]
        return DenseRows(self.values[rows], self.norms[rows], factors32)

    def are_equal(self, rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether rows are equal to others, pair by pair."""
        values, are_equal = np.asarray(self.values), np.empty(len(rows), dtype=bool)
        for some in value_slices(len(rows), values.shape[1], CACHED_VALUES):
            pair = values[rows[some]], values[others[some]]
            is_same = (pair[0] == pair[1]) | (np.isnan(pair[0]) & np.isnan(pair[1]))
            are_equal[some] = is_same.all(axis=1)
        return are_equal

    def for_products(self, has_missing: bool) -> DenseRows:
        """Return the rows with factors of the products that give scores in NumPy.

        These are (x, 1); or (x, m) for incomplete rows with known features m, with 0 for missing
        values.
        """
        values = np.asarray(self.values)
        n_rows, n_features = values.shape
        n_terms = n_features + (n_features if has_missing else 1)
        factors32 = np.empty((n_rows, n_terms), np.float32)
        # No score of rows far from the map, which overflow, is used.
        with np.errstate(over="ignore", under="ignore"):
            factors32[:, :n_features], factors32[:, n_features:] = values, 1
        if has_missing:
            factors32[np.tile(np.isnan(values), 2)] = 0
        norms = np.asarray(self.norms)
        return DenseRows(values, norms, factors32)


def aligned_empty(n_values: int, dtype: DTypeLike) -> NDArray:
    """Return uninitialized memory that TensorFlow can use as it is, (n_values,)."""
    n_bytes = n_values * np.dtype(dtype).itemsize
    store = np.empty(n_bytes + ALIGNMENT, dtype=np.uint8)
    first = -store.ctypes.data % ALIGNMENT
    return store[first : first + n_bytes].view(dtype)


def load(
    samples: Samples,
    rows: slice,
    scaling: Scaling,
    dtype: DTypeLike,
    *,
    norms_dtype: DTypeLike = np.float64,
    in_numpy: bool = False,
) -> DenseRows:
    """Scale dense samples into aligned memory, with a single copy; for a graph, or for NumPy.

    Parameters
    ----------
    samples : Samples
    rows : slice
        The rows to load.
    scaling : Scaling
    dtype : dtype
        Of the values.
    norms_dtype : dtype, default=float64
        Precision of the squares in the norms, unless they exceed its range.
    in_numpy : bool, default=False
        Whether the rows are to be searched in NumPy. Complete float32 values then lie within the
        factors of their products, (x, 1); no graph takes them without a copy.

    Returns
    -------
    rows : DenseRows
    """
    start, stop, _ = rows.indices(len(samples))
    n_rows, n_features = stop - start, samples.shape[1]
    are_factors = in_numpy and samples.metric.is_product and not samples.has_missing
    are_factors = are_factors and np.dtype(dtype) == np.float32
    n_terms = n_features + 1 if are_factors else n_features
    terms = aligned_empty(n_rows * n_terms, dtype).reshape(n_rows, n_terms)
    values, norms = terms[:, :n_features], aligned_empty(n_rows, np.float64)

    def load_tile(tile: slice) -> None:
        terms[tile, n_features:] = 1
        with np.errstate(over="ignore", invalid="ignore"):
            part = scaling.transform(samples[start + tile.start : start + tile.stop], values[tile])
            if samples.has_missing:
                part = np.where(np.isnan(part), 0, part)
            part = part.astype(norms_dtype, copy=False)
            squared = np.einsum("ij,ij->i", part, part)
            if not np.isfinite(squared.max(initial=0)):  # float32 may not be enough
                squared = np.einsum("ij,ij->i", part, part, dtype=np.float64)
            norms[tile] = squared

    list(map_tiles(load_tile, value_slices(n_rows, n_features, CACHED_VALUES)))
    return DenseRows(values, norms, terms if are_factors else None)

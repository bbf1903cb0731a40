"""Sparse samples: they are never centered and never written out as a whole."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import bsr_array, coo_array, csc_array, csr_array

from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.scaling import SQUARES_TOO_LARGE, check_range
from sklearn_tfsom._data.tiles import row_slices
from sklearn_tfsom._distance import stored_rows
from sklearn_tfsom._tuning import TILE_VALUES


def canonical(X: Any) -> Any:
    """Return sparse data in CSR format, with sorted indices, no duplicates, no unused memory.

    Duplicates are summed in the dtype of X, as by `toarray`.

    Raises
    ------
    ValueError
        If the indices do not fit the shape.
    """
    X = _csr_of(X)
    if X.has_canonical_format and len(X.data) == X.nnz:
        return X
    X = X.copy()
    X.sum_duplicates()
    X.prune()
    return X


def _csr_of(X: Any) -> Any:
    """Convert sparse data; with other indices SciPy would read and write beyond its arrays."""
    compressed = {"csr": csr_array, "csc": csc_array, "bsr": bsr_array}
    try:
        if X.format in compressed:
            if any(array.dtype.kind not in "iu" for array in (X.indices, X.indptr)):
                raise ValueError("indices must be integers")
            # Not of X itself: the check removes unused memory.
            arrays = X.data, X.indices, X.indptr
            compressed[X.format](arrays, shape=X.shape).check_format(full_check=True)
        elif X.format == "coo" and X.ndim == 2:
            coo_array((X.data, (X.row, X.col)), shape=X.shape)
        elif X.format == "lil" and any(map(operator.ne, map(len, X.rows), map(len, X.data))):
            raise ValueError("a row must have as many indices as values")
        converted = X.tocsr()
        if X.format == "lil":
            converted.check_format(full_check=True)
    except ValueError as error:
        raise ValueError(
            f"X must be sparse data whose indices fit its shape {X.shape}. Got others: {error}."
        ) from error
    return converted


class SparseRows(NamedTuple):
    """Scaled samples."""

    matrix: Any  # CSR (n, n_features), of the samples' dtype
    norms: NDArray[np.float64]  # (n,) squared

    def take(self, rows: NDArray[np.int64] | slice) -> SparseRows:
        """Return some of the rows."""
        if isinstance(rows, slice) and rows == slice(0, len(self.norms)):
            return self  # a slice of CSR would be a copy
        return SparseRows(self.matrix[rows], self.norms[rows])

    def are_equal(self, rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether rows are equal to others, pair by pair."""
        n_different = np.diff((self.matrix[rows] != self.matrix[others]).indptr)
        are_equal: NDArray[np.bool_] = n_different == 0
        return are_equal

    def dense(self) -> NDArray[np.float64]:
        """Return the rows with their zeros, (n, n_features)."""
        return self.matrix.toarray().astype(np.float64, copy=False)

    def narrow(self) -> tuple[SparseRows, NDArray[np.int32]]:
        """Return the rows in the features that any of them has, and the indices of these."""
        stored, (n_rows, _) = self.matrix, self.matrix.shape
        features, places = np.unique(stored.indices, return_inverse=True)
        matrix = csr_array((stored.data, places, stored.indptr), (n_rows, len(features)))
        return SparseRows(matrix, self.norms), features

    def products(self, factors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Multiply the rows with factors (n_features, n) in float64."""
        products: NDArray[np.float64] = self.matrix.astype(np.float64, copy=False) @ factors
        return products

    def scores32(self, factors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Multiply the rows, with a 1 appended to each, with factors (n_features + 1, n)."""
        scores: NDArray[np.float32] = self.matrix.astype(np.float32, copy=False) @ factors[:-1]
        scores += factors[-1]
        return scores

    def paired_products(
        self, codebook: NDArray[np.float64], units: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Multiply each row with one of the code vectors (n_units, n_features)."""
        each = stored_rows(self.matrix)
        products = self.matrix.data * codebook[units[each], self.matrix.indices]
        return np.bincount(each, products, minlength=len(units)).astype(np.float64, copy=False)

    def sums_by_unit(
        self, weights: NDArray[np.float64], units: NDArray[np.int32], n_units: int
    ) -> NDArray[np.float64]:
        """Sum the weighted rows of each unit, (n_units, n_features).

        Counting places is twice as fast as a product with a sparse matrix of the units.
        """
        n_features = self.matrix.shape[1]
        n_sums, firsts = n_units * n_features, units.astype(np.int64) * n_features

        def of_chunk(chunk: slice) -> NDArray[np.float64]:
            part = self.matrix[chunk]
            n_stored = np.diff(part.indptr)
            places = np.repeat(firsts[chunk], n_stored) + part.indices
            values = np.repeat(weights[chunk], n_stored) * part.data
            return np.asarray(np.bincount(places, values, minlength=n_sums), np.float64)

        # Each chunk adds to all sums, so there are fewer where these have more values.
        chunks = _chunks(self.matrix.indptr, max(TILE_VALUES, n_sums // 4)) or [slice(0, 0)]
        sums = of_chunk(chunks[0])
        for chunk in chunks[1:]:
            sums += of_chunk(chunk)
        return sums.reshape(n_units, n_features)


def load_sparse(samples: Samples, scale: float, dtype: DTypeLike | None = None) -> SparseRows:
    """Scale sparse samples.

    Parameters
    ----------
    samples : Samples
    scale : float
    dtype : dtype, default=None
        Of the values, by default that of the tiles.

    Raises
    ------
    ValueError
        If squared norms exceed the range of float64.
    """
    matrix = samples[:] if samples.metric.is_spherical else samples[:].copy()
    if dtype is not None and matrix.dtype != dtype:
        matrix = matrix.astype(dtype)
    norms = np.empty(len(samples))
    with np.errstate(over="ignore", under="ignore"):
        matrix.data *= matrix.dtype.type(scale)
        for rows in _chunks(matrix.indptr):
            part = matrix[rows]
            squares = part.data.astype(np.float64) ** 2
            norms[rows] = np.bincount(stored_rows(part), squares, minlength=part.shape[0])
    check_range(np.isfinite(norms), what=SQUARES_TOO_LARGE)
    return SparseRows(matrix, norms)


def _chunks(indptr: NDArray, n_values: int = TILE_VALUES) -> list[slice]:
    """Cut rows into chunks of about `n_values` stored values."""
    n_rows, n_stored = len(indptr) - 1, max(1, int(indptr[-1]))
    return row_slices(n_rows, max(1, n_values * n_rows // n_stored))

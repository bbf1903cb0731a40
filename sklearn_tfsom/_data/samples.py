"""Samples as the rest of the package sees them: in tiles, dense, sparse, incomplete or on disk."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import DTypeLike, NDArray

from sklearn_tfsom._data.foreign import MIN_BYTES_ON_DISK, FileArray, is_float32
from sklearn_tfsom._data.tiles import row_slices, value_slices
from sklearn_tfsom._distance import Metric, as_directions
from sklearn_tfsom._tuning import MIN_OUT_OF_CORE_VALUES, TILE_VALUES


class Samples:
    """Checked samples for a metric; a view of the user's data.

    Tiles come in the space in which distances are measured: as unit vectors of float64 where the
    metric compares directions, else as they are.

    Parameters
    ----------
    X : ndarray, FileArray, or CSR matrix or array, shape (n_samples, n_features)
        Valid data: of any real type on disk, of float32 or float64 in memory.
    metric : Metric
    has_missing : bool, default=False
        Whether values are missing (NaN).
    rows : ndarray of int, default=None
        The rows that are meant; all by default.

    Attributes
    ----------
    shape : tuple (n_samples, n_features)
    dtype : dtype
        float32 or float64: of results, and of tiles that are no directions.
    is_sparse : bool
    """

    def __init__(
        self,
        X: Any,
        metric: Metric,
        *,
        has_missing: bool = False,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        self._X, self._rows = X, rows
        self.metric, self.has_missing = metric, has_missing
        self.shape: tuple[int, int] = (X.shape[0] if rows is None else len(rows), X.shape[1])
        self.dtype: np.dtype[Any] = np.dtype(np.float32 if is_float32(X.dtype) else np.float64)
        self.is_sparse = scipy.sparse.issparse(X)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Any:
        """Return a tile: an array (a view where possible), or a CSR matrix where X is one."""
        tile = self.raw(rows)
        if tile.dtype != self.dtype:
            tile = tile.astype(self.dtype)
        return as_directions(tile, self.metric) if self.metric.is_spherical else tile

    def raw(self, rows: slice) -> Any:
        """Return a tile of the data as they were given."""
        if self._rows is None and rows == slice(None) and not isinstance(self._X, FileArray):
            return self._X  # a slice of a CSR matrix would be a copy
        return self._X[rows if self._rows is None else self._rows[rows]]

    @property
    def values(self) -> Any:
        """All the data as they were given."""
        return self.raw(slice(None))

    def take(self, rows: NDArray[np.int64] | slice) -> Samples:
        """Return some of the samples, copied unless they are many or on disk."""
        index = rows if self._rows is None else self._rows[rows]
        if not isinstance(index, slice):
            chosen = Samples(self._X, self.metric, has_missing=self.has_missing, rows=index)
            if chosen.is_on_disk or (chosen.are_many and not self.is_sparse):
                return chosen
        return Samples(self._X[index], self.metric, has_missing=self.has_missing)

    def at(self, rows: NDArray[np.int64]) -> Samples:
        """Return some of the samples, which are copied whenever they are read."""
        index = rows if self._rows is None else self._rows[rows]
        return Samples(self._X, self.metric, has_missing=self.has_missing, rows=index)

    @property
    def are_many(self) -> bool:
        """Whether all values are too many to be copied as a whole."""
        return self.shape[0] * self.shape[1] >= MIN_OUT_OF_CORE_VALUES

    def with_missing(self, has_missing: bool) -> Samples:
        """Return the same samples with another answer to whether values are missing."""
        return Samples(self._X, self.metric, has_missing=has_missing, rows=self._rows)

    def dense(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return few rows as a dense array in float64, whatever X is."""
        tile = self.take(rows)[:]
        return (tile.toarray() if self.is_sparse else tile).astype(np.float64)

    def tiles(self, n_values: int = TILE_VALUES) -> list[slice]:
        """Cut the rows into tiles of about this many stored values."""
        per_row = self._X.nnz // max(1, self._X.shape[0]) if self.is_sparse else self.shape[1]
        if isinstance(self._X, FileArray) and self._rows is None:
            n_rows = self._X.chunk_rows  # whole chunks, so that none is decoded twice
            return row_slices(len(self), n_rows * max(1, n_values // (n_rows * max(1, per_row))))
        return value_slices(len(self), per_row, n_values)

    @property
    def is_on_disk(self) -> bool:
        """Whether this is a large array in a file, which must not be copied."""
        n_bytes = len(self) * self.shape[1] * self._X.dtype.itemsize
        if self.is_sparse or n_bytes < MIN_BYTES_ON_DISK:
            return False
        return isinstance(self._X, FileArray) or is_memory_map(self._X)


class DistantSamples(Samples):
    """Facts about samples that lie in other processes.

    Parameters
    ----------
    shape : tuple (n_samples, n_features)
    dtype : dtype
    metric : Metric
    has_missing, is_sparse : bool
    """

    is_on_disk = False

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: DTypeLike,
        metric: Metric,
        *,
        has_missing: bool,
        is_sparse: bool,
    ) -> None:
        self.metric, self.has_missing, self.is_sparse = metric, has_missing, is_sparse
        self.shape, self.dtype = shape, np.dtype(dtype)

    def raw(self, rows: slice) -> Any:
        """Raise: there are no values here."""
        raise TypeError("Samples of other processes are read there only.")


def is_memory_map(X: Any) -> bool:
    """Return True if an array lies in a file, itself or as a view."""
    while isinstance(X, np.ndarray | mmap.mmap | memoryview):
        if isinstance(X, np.memmap | mmap.mmap):
            return True
        X = X.obj if isinstance(X, memoryview) else X.base
    return False

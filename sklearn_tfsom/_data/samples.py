"""Samples as all other rooms see them: in tiles, whether dense, sparse, incomplete or on disk."""

from __future__ import annotations

import functools
import mmap
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

METRICS = ("euclidean", "cosine", "correlation", "manhattan", "chebyshev")
SPARSE_METRICS = ("euclidean", "cosine")
INCOMPLETE_METRICS = ("euclidean", "manhattan", "chebyshev")

# Under these a sample is a direction: a point on the unit sphere. There the distance
# ``1 - cos`` is half the squared Euclidean one, and all that is known of that one holds.
_SPHERICAL_METRICS = ("cosine", "correlation")

# Values of a tile.
_TILE_VALUES = 2**20

# More threads than this wait for memory together.
_MOST_THREADS = 4

_Result = TypeVar("_Result")

# Data on disk are read again and again, tile by tile, from so many bytes on; fewer are loaded.
_MIN_BYTES_ON_DISK = 2**26


class Samples:
    """Samples for a metric, a view of the user's data.

    What is read of it is in the space that distances are measured in: under the cosine and
    correlation metrics these are directions, see `directions`; else they are the data themselves.

    Parameters
    ----------
    X : ndarray or CSR matrix or array, shape (n_samples, n_features)
        Data, of any real type on disk, of float32 or float64 in memory; valid, unless a look may
        tell otherwise.
    metric : str, default="euclidean"
    rows : ndarray of int, default=None
        Which rows are meant; all by default.
    has_missing : bool, default=None
        Whether values are missing (NaN), where it is known.
    look : callable, default=None
        Finds that out, where it is not known, when it is first asked for. It may raise, for data
        that are not valid.

    Attributes
    ----------
    shape : tuple (n_samples, n_features)
    metric : str
    dtype : dtype
        float32 or float64: of the tiles, and of the results.
    geometry : {"euclidean", "spherical", "manhattan", "chebyshev"}
        How distances come about there.
    """

    def __init__(
        self,
        X: Any,
        metric: str = "euclidean",
        rows: NDArray[np.int64] | None = None,
        *,
        has_missing: bool | None = None,
        look: Callable[[], bool] | None = None,
    ) -> None:
        self._X, self.metric, self._rows = X, metric, rows
        self._has_missing, self._look = has_missing, look
        self.shape: tuple[int, int] = (X.shape[0] if rows is None else len(rows), X.shape[1])
        self.dtype: np.dtype[Any] = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
        self.geometry = geometry_of(metric)
        self.is_sparse = scipy.sparse.issparse(X)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Any:
        """Return a tile: an array (a view where it can be), or a CSR matrix where X is one."""
        tile = self.raw(rows)
        if tile.dtype != self.dtype:
            tile = tile.astype(self.dtype)
        return tile if self.geometry != "spherical" else directions(tile, self.metric)

    def raw(self, rows: slice) -> Any:
        """Return a tile of the data as they were given."""
        return self._X[rows if self._rows is None else self._rows[rows]]

    def strip(self, columns: slice) -> NDArray:
        """Return some features of all samples, dense ones."""
        if self.geometry == "spherical":
            return self[:][:, columns]
        return self.raw(slice(None))[:, columns].astype(self.dtype, copy=False)

    def take(self, rows: NDArray[np.int64] | slice) -> Samples:
        """Return some of the samples; on disk they are left there."""
        index = rows if self._rows is None else self._rows[rows]
        known = self._has_missing if self._look is None else self.has_missing
        has_missing = None if known else known
        if isinstance(index, slice) or not self.is_on_disk:
            return Samples(self._X[index], self.metric, has_missing=has_missing)
        return Samples(self._X, self.metric, index, has_missing=has_missing)

    @property
    def values(self) -> Any:
        """All the data, as they were given."""
        return self._X if self._rows is None else self._X[self._rows]

    def dense(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return few rows as a dense array, whatever X is."""
        tile = self.take(rows)[:]
        return (densified(tile) if self.is_sparse else tile).astype(np.float64)

    def tiles(self, n_values: int = _TILE_VALUES) -> list[slice]:
        """Cut the rows into tiles of about so many stored values."""
        per_row = self._X.nnz // max(1, self._X.shape[0]) if self.is_sparse else self.shape[1]
        return row_slices(len(self), max(1, n_values // max(1, per_row)))

    @functools.cached_property
    def is_on_disk(self) -> bool:
        """Whether this is a large memory map, that is not to be copied."""
        size = len(self) * self.shape[1] * self._X.dtype.itemsize
        return not self.is_sparse and size >= _MIN_BYTES_ON_DISK and is_memory_map(self._X)

    @property
    def has_missing(self) -> bool:
        """Whether values are missing (NaN)."""
        if self._has_missing is None:
            self._has_missing = (self._look or self._holds_nan)()
        return self._has_missing

    @property
    def awaits_look(self) -> bool:
        """Whether there is a look that has not been taken."""
        return self._look is not None and self._has_missing is None

    def note_complete(self) -> None:
        """Note that all values are there, and finite: there is nothing to look for."""
        self._has_missing = False

    def marked(self, *, has_missing: bool) -> Samples:
        """Return the same samples, to be dealt with as if values were missing, or as complete."""
        return Samples(self._X, self.metric, self._rows, has_missing=has_missing)

    def _holds_nan(self) -> bool:
        return not self.is_sparse and any(
            bool(np.isnan(self.raw(rows).min())) for rows in self.tiles()
        )

    def have_direction(self) -> NDArray[np.bool_]:
        """Say which samples have a direction: all but those of zeros only."""
        return np.concatenate([~is_zero(self[rows]) for rows in self.tiles()])


def geometry_of(metric: str) -> str:
    """Return how distances come about under a metric."""
    return "spherical" if metric in _SPHERICAL_METRICS else metric


def map_tiles(function: Callable[[slice], _Result], tiles: list[slice]) -> list[_Result]:
    """Call a function for all tiles, in a few threads; return what it gives in their order.

    Not for NumPy's large products, which wait for each other's threads: they would take twice as
    long. NumPy's error state is each thread's own.
    """
    if len(tiles) < 2:
        return [function(tile) for tile in tiles]
    with ThreadPoolExecutor(n_threads_for(tiles)) as pool:
        return list(pool.map(function, tiles))


def n_threads_for(tiles: list[slice]) -> int:
    """Return in how many threads `map_tiles` deals with so many tiles, which no more may do."""
    return min(_MOST_THREADS, len(tiles), os.cpu_count() or 1)


def row_slices(n_rows: int, step: int) -> list[slice]:
    """Cut rows into slices; none has no slice (which `sklearn.utils.gen_batches` refuses)."""
    return [slice(first, min(first + step, n_rows)) for first in range(0, n_rows, step)]


def is_memory_map(X: Any) -> bool:
    """Say whether an array lies in a file, itself or what it is a view of."""
    while X is not None:
        if isinstance(X, np.memmap | mmap.mmap):
            return True
        X = getattr(X, "base", None)
    return False


def is_zero(rows: Any) -> NDArray[np.bool_]:
    """Say which rows hold zeros only."""
    if scipy.sparse.issparse(rows):
        return np.bincount(_row_of_each(rows), rows.data != 0, minlength=rows.shape[0]) == 0
    return ~rows.any(axis=1)


def directions(rows: Any, metric: str) -> Any:
    """Move rows to the unit sphere: what the cosine and correlation metrics see of them.

    Under "cosine" ``x / |x|``; under "correlation" the same of ``x - mean(x)``, the mean being
    that of the sample's own features. Rows of zeros (of equal values) have no direction; they
    stay zero.

    Parameters
    ----------
    rows : ndarray or CSR matrix of float32 or float64, shape (n, n_features)
        CSR under "cosine" only.
    metric : {"cosine", "correlation"}

    Returns
    -------
    rows : ndarray or CSR matrix, shape (n, n_features)
        Of the same dtype; new.
    """
    if scipy.sparse.issparse(rows):
        unit, each = rows.copy(), _row_of_each(rows)
        largest = np.zeros(rows.shape[0])
        np.maximum.at(largest, each, np.abs(rows.data))
        values = rows.data / np.where(largest > 0, largest, 1)[each]
        length = np.sqrt(np.bincount(each, values**2, minlength=len(largest)))
        unit.data = (values / np.where(length > 0, length, 1)[each]).astype(rows.dtype)
        return unit
    unit = np.array(rows, order="C")
    # Divided by the largest first: no square, and no sum, leaves floating point's range.
    largest = np.maximum(unit.max(axis=1), -unit.min(axis=1))[:, None]
    unit /= np.where(largest > 0, largest, 1)
    if metric == "correlation":
        unit -= unit.mean(axis=1, dtype=np.float64).astype(unit.dtype)[:, None]
        # What rounding leaves of equal values is nothing.
        unit[np.abs(unit).max(axis=1) <= 4 * np.finfo(unit.dtype).eps] = 0
    length = np.sqrt(np.einsum("ij,ij->i", unit, unit, dtype=np.float64))[:, None]
    unit /= np.where(length > 0, length, 1).astype(unit.dtype)
    return unit


def as_codebook(values: ArrayLike, metric: str) -> NDArray[np.float64]:
    """Return code vectors for a metric: moved to the unit sphere where it has one."""
    codebook = np.array(values, dtype=np.float64)
    return directions(codebook, metric) if metric in _SPHERICAL_METRICS else codebook


def paired_distances(first: NDArray, second: NDArray, metric: str) -> NDArray[np.float64]:
    """Compute the distance of each row of one array to the same row of the other.

    Under the cosine and correlation metrics the rows are directions.
    """
    return lengths(first.astype(np.float64) - second, geometry_of(metric))


def lengths(differences: NDArray[np.float64], geometry: str) -> NDArray[np.float64]:
    """Return the distances that differences (n, n_features) make; these are written over."""
    if geometry in ("manhattan", "chebyshev"):
        np.abs(differences, out=differences)
        reduce = np.sum if geometry == "manhattan" else np.max
        return reduce(differences, axis=1)
    squared = np.einsum("ij,ij->i", differences, differences)
    return squared / 2 if geometry == "spherical" else np.sqrt(squared)


def densified(rows: Any) -> NDArray:
    """Write few CSR rows out as a dense array."""
    dense = np.zeros(rows.shape, dtype=rows.dtype)
    dense[_row_of_each(rows), rows.indices] = rows.data
    return dense


def _row_of_each(rows: Any) -> NDArray[np.int64]:
    """Return the row of each stored value of a CSR matrix."""
    return np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))

"""Data of other libraries: arrays in files, and collections that no array should be made of."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

# An array in a file of at least this many bytes is read tile by tile in each pass, never at once.
MIN_BYTES_ON_DISK = 2**26

_ENGINES = {"dask": "Dask", "ray": "Ray", "pyspark": "Spark"}
_FILES = ("h5py", "zarr")

# Rows that are farther apart are read one by one. So at most this many times the rows that are
# wanted are read at a time.
_NEAR = 4


class FileArray:
    """A large array in a file of HDF5 or Zarr: tiles are read as they are indexed.

    Parameters
    ----------
    array : h5py.Dataset or zarr.Array of shape (n_rows, n_columns)
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape: tuple[int, int] = tuple(array.shape)
        self.dtype: np.dtype = np.dtype(array.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray:
        """Read some of the rows, in any order."""
        if isinstance(rows, slice):
            return np.asarray(self._array[rows])
        if not len(rows):
            return np.empty((0, self.shape[1]), self.dtype)
        # Rows that are close to each other are read together.
        wanted, place = np.unique(rows, return_inverse=True)
        read = np.empty((len(wanted), self.shape[1]), self.dtype)
        ends = np.append(np.flatnonzero(np.diff(wanted) > _NEAR) + 1, len(wanted))
        first = 0
        for end in ends:
            near = wanted[first:end]
            read[first:end] = self._array[near[0] : near[-1] + 1][near - near[0]]
            first = end
        return read[place]


def opened(X: Any) -> Any:
    """Return an array in a file as something that is read in tiles, or read it if it is small.

    Anything else is returned as it is.

    Raises
    ------
    ValueError
        If it is not two-dimensional, or not of real numbers.
    """
    if _library(X) not in _FILES or not hasattr(X, "shape") or not hasattr(X, "dtype"):
        return X
    if np.prod(X.shape) * X.dtype.itemsize < MIN_BYTES_ON_DISK:
        return np.asarray(X[...])
    if len(X.shape) != 2 or np.dtype(X.dtype).kind not in "biuf":
        raise ValueError(
            "X must be a two-dimensional array of real numbers. Got shape "
            f"{tuple(X.shape)} and dtype {X.dtype} instead."
        )
    return FileArray(X)


def refuse_collection(X: Any) -> None:
    """Refuse data that `check_array` would read into memory at once, or not understand.

    Raises
    ------
    TypeError
        If X is a collection of an engine, or yields samples piece by piece.
    """
    library = _library(X)
    if library in _ENGINES:
        raise TypeError(
            f"X is a collection of {_ENGINES[library]}, {type(X).__name__}. Call "
            f"sklearn_tfsom.{_module(library)}.fit(som, X), and predict and transform of that "
            "module; or pass an array."
        )
    is_stream = hasattr(X, "__iter__") and not isinstance(X, Set)
    if is_stream and not any(hasattr(X, name) for name in ("__array__", "__getitem__", "shape")):
        raise TypeError(
            f"X yields samples piece by piece, {type(X).__name__}. Pass each piece to "
            "partial_fit, or pass an array."
        )


def _library(X: Any) -> str:
    return type(X).__module__.partition(".")[0]


def _module(library: str) -> str:
    return "spark" if library == "pyspark" else library

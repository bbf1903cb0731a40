"""Data of other libraries: arrays of any kind, arrays in files, and collections of samples."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from numbers import Number
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from sklearn_tfsom._tuning import LARGE_TILE_VALUES
from sklearn_tfsom._validation import shown

# An array in a file of at least this many bytes is read tile by tile in each pass, never at once.
MIN_BYTES_ON_DISK = 2**26

# Engines by the package of their collections. Their modules here have the name in lower case.
_ENGINES = {"dask": "Dask", "ray": "Ray", "pyspark": "Spark"}
_FILES = ("h5py", "zarr")

# float32 as data frames and tables name it.
_FLOAT32 = frozenset({"float32", "Float32", "float[pyarrow]", "float"})

# Data that `check_array` can read have one of these attributes.
_READABLE = ("__array__", "__array_interface__", "__array_struct__", "__getitem__", "shape")

# Types that NumPy reads as one object; some of these have items or a shape.
_NO_ARRAYS = (str, bytes, Mapping, Set, type, np.dtype)

# How types of dates, times, durations, intervals and structures begin, in lower case.
_TIMES = ("date", "time", "duration", "period", "interval")
_NON_NUMBERS = (*_TIMES, "[", "{", "(", "|v", "void", "struct")

# Largest gap between rows of different chunks that are read at once, so that at most this many
# times the wanted rows are read.
_NEAR = 4


class FileArray:
    """A large array in a file of HDF5 or Zarr: tiles are read as they are indexed.

    Parameters
    ----------
    array : h5py.Dataset or zarr.Array of shape (n_rows, n_columns)

    Attributes
    ----------
    chunk_rows : int
        Rows that the file stores together: all are decoded to read one of them. No more than are
        read at once.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape: tuple[int, int] = tuple(array.shape)
        self.dtype: np.dtype = np.dtype(array.dtype)
        self._most_rows = max(1, LARGE_TILE_VALUES // max(1, self.shape[1]))
        # A view of h5py in another dtype does not tell its chunks.
        chunks = getattr(array, "chunks", (self._most_rows,)) or (1,)
        self.chunk_rows: int = min(chunks[0], self._most_rows)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray:
        """Read some of the rows, in any order."""
        if isinstance(rows, slice):
            return np.asarray(self._array[rows])
        if not len(rows):
            return np.empty((0, self.shape[1]), self.dtype)
        # Rows of one chunk, or close to each other, are read together.
        wanted, place = np.unique(rows, return_inverse=True)
        read = np.empty((len(wanted), self.shape[1]), self.dtype)
        is_apart = (np.diff(wanted) > _NEAR) & (np.diff(wanted // self.chunk_rows) > 0)
        is_apart |= np.diff(wanted // self._most_rows) > 0
        ends = np.append(np.flatnonzero(is_apart) + 1, len(wanted))
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
        If a large one is not two-dimensional, or not of real numbers, or if one has no shape.
    """
    if _library(X) not in _FILES or not hasattr(X, "shape") or not hasattr(X, "dtype"):
        return X
    shape = X.shape and tuple(X.shape)  # None of an empty dataset
    if shape is not None and np.prod(shape) * X.dtype.itemsize < MIN_BYTES_ON_DISK:
        return np.asarray(X[...])
    if shape is None or len(shape) != 2 or np.dtype(X.dtype).kind not in "biuf":
        raise ValueError(
            f"X must be a two-dimensional array of real numbers. Got shape {shape} and dtype "
            f"{X.dtype} instead."
        )
    return FileArray(X)


def in_memory(X: Any, name: str) -> Any:
    """Return data, the frame that one of narwhals wraps, or a table of a record batch of Arrow.

    scikit-learn does not see the names of a batch.

    Raises
    ------
    TypeError
        If the data are lazy.
    """
    if _library(X) == "narwhals":
        X = X.to_native()
    if _library(X) == "polars" and type(X).__name__ == "LazyFrame":
        raise TypeError(
            f"{name} must be data in memory. Got a LazyFrame of polars instead. Call .collect() "
            "on it."
        )
    if _library(X) == "pyarrow" and type(X).__name__ == "RecordBatch":
        return sys.modules["pyarrow"].Table.from_batches([X])
    return X


def as_array(X: Any, name: str) -> Any:
    """Return data as a NumPy array, with NaN for masked values and for `pandas.NA`.

    Data frames, tables and sparse matrices stay as they are, except that missing values become NaN
    where NumPy would not read them so, that sparse columns with another fill value than 0 become
    dense, that dictionaries of Arrow are decoded, and that frames of narwhals are replaced by
    those that they wrap. `check_array` converts them.

    Parameters
    ----------
    X : object
    name : str
        Name of the argument.

    Raises
    ------
    TypeError
        If NumPy cannot read the data: a lazy data frame, or an array on another device.
    ValueError
        If the rows of a list have different lengths.
    """
    X = in_memory(X, name)
    if hasattr(X, "iloc") and hasattr(X, "columns"):
        return _without_na(_without_fill_values(X))
    if hasattr(X, "schema") and _library(X) == "pyarrow":
        for place, field in enumerate(X.schema):
            if hasattr(field.type, "index_type"):
                X = X.set_column(place, field.name, decoded(X.column(place)))
        return X
    if isinstance(X, list | tuple):
        has_masked_rows = any(isinstance(row, np.ma.MaskedArray) for row in X)
        rows = stacked(X, name, np.ma.stack if has_masked_rows else np.asarray)
        if rows.dtype.kind in "SU":
            return X  # `check_array` names a text
        # Lists are float64, also of float32 rows, as in `check_array`.
        X = rows.astype(np.float64) if rows.dtype == np.float32 else rows
    elif _is_foreign_array(X):
        X = _read(decoded(X), name)
    if isinstance(X, np.ma.MaskedArray):
        X = _filled(X)
    if isinstance(X, np.ndarray) and X.dtype == object and "pandas" in sys.modules:
        X = np.where(sys.modules["pandas"].isna(X), np.nan, X)
    return X


def stacked(
    rows: Sequence[Any], name: str, stack: Callable[[Any], NDArray] = np.asarray
) -> NDArray:
    """Return rows as one array, made by a function.

    Raises
    ------
    ValueError
        If they have different lengths.
    """
    try:
        return stack(rows)
    except ValueError as error:
        raise ValueError(f"{name} must have rows of equal lengths. Got different ones.") from error


def _is_foreign_array(X: Any) -> bool:
    if isinstance(X, np.ndarray | FileArray) or hasattr(X, "columns") or scipy.sparse.issparse(X):
        return False
    return hasattr(X, "__array__") or hasattr(X, "dtype")


def _read(X: Any, name: str) -> NDArray:
    """Return an array of another library as one of NumPy."""
    reason: Any = "it is not an array of numbers."
    try:
        array = np.asarray(X)
    except (TypeError, RuntimeError) as error:
        reason = error
    else:
        if array.dtype != object or array.ndim:
            return array
    raise TypeError(
        f"{name} must be an array that NumPy can read, in main memory. Got "
        f"{type(X).__module__}.{type(X).__name__} instead: {reason}"
    )


def _filled(X: np.ma.MaskedArray) -> NDArray:
    """Return the data of a masked array, with NaN for masked values."""
    if not np.ma.is_masked(X):
        return X.data
    kind = X.dtype.kind
    filled = np.array(X.data, X.dtype if kind in "fc" else np.float64 if kind in "biu" else object)
    filled[X.mask] = np.nan
    return filled


def _without_fill_values(frame: Any) -> Any:
    """Return a data frame of sparse columns as a dense one unless it only leaves out zeros."""
    has_fill_values = any(getattr(dtype, "fill_value", 0) != 0 for dtype in frame.dtypes)
    return frame.sparse.to_dense() if has_fill_values and has_sparse_values(frame) else frame


def _without_na(frame: Any) -> Any:
    """Return a data frame of pandas with NaN for missing values that NumPy would not read so.

    It raises an error for `pandas.NA`, and makes missing ones among categories of integers the
    lowest integer.
    """
    places = (place for place, dtype in enumerate(frame.dtypes) if _hides_missing(dtype))
    if not any(frame.iloc[:, place].isna().any() for place in places):
        return frame
    values = frame.to_numpy(dtype=object, na_value=np.nan)
    return getattr(frame, "_constructor", type(frame))(values, columns=frame.columns)


def _hides_missing(dtype: Any) -> bool:
    """Return True for the dtype of a column that NumPy would read without NaN."""
    categories = getattr(dtype, "categories", None)
    if categories is not None:
        return not str(categories.dtype).startswith("float")
    kinds = "object", "decimal", "dict", "string", "large_string"
    return str(getattr(dtype, "pyarrow_dtype", dtype)).startswith(kinds)


def decoded(column: Any) -> Any:
    """Return an Arrow array with values for a dictionary, whose nulls NumPy would fill."""
    kind: Any = getattr(column, "type", None)
    return column.cast(kind.value_type) if hasattr(kind, "index_type") else column


def columns_of(table: Any, max_columns: int) -> list[tuple[str, Any]]:
    """Return the first columns of a table, each with its name; names may be equal."""
    if _library(table) == "pyarrow":
        return list(zip(table.column_names, table.columns, strict=True))[:max_columns]
    names = enumerate(list(table.columns)[:max_columns])
    is_pandas = hasattr(table, "iloc")
    return [(str(name), table.iloc[:, k] if is_pandas else table[name]) for k, name in names]


def column_of(y: Any) -> Any:
    """Return the column of a table that has one column, and anything else as it is."""
    if hasattr(y, "columns") and getattr(y, "shape", ())[1:] == (1,):
        return columns_of(y, 1)[0][1]
    return y


def columns_named(names: Collection[Any], frame: Any) -> Any:
    """Return the columns of a data frame that have the names of features, in their order.

    Raises
    ------
    ValueError
        If one is lacking.
    """
    if list(frame.columns) == list(names):  # also where names are equal
        return frame
    check_names(names, frame.columns)
    return frame[list(names)]


def check_names(names: Collection[Any], columns: Collection[Any]) -> None:
    """Check that the features of a map are among the columns of data.

    Raises
    ------
    ValueError
        If one is lacking.
    """
    lacking = [name for name in names if name not in columns]
    if lacking:
        raise ValueError(
            f"data must have the columns of the map's features. Got none named {lacking}."
        )


def is_float32(dtype: np.dtype) -> bool:
    """Return True for float32 of any byte order."""
    return dtype.kind == "f" and dtype.itemsize == 4


def has_float32(X: Any) -> bool:
    """Return True if all values are of float32: of an array, or in the columns of a table."""
    if not hasattr(X, "columns"):
        is_array = isinstance(X, np.ndarray) or scipy.sparse.issparse(X)
        return is_array and is_float32(X.dtype)
    return _types_of_columns(X) <= _FLOAT32


def has_sparse_values(X: Any) -> bool:
    """Return True for sparse matrices, and for data frames of sparse columns alone."""
    return scipy.sparse.issparse(X) or hasattr(X, "sparse")


def refuse_non_numbers(X: Any, name: str) -> None:
    """Refuse structured values, and times, which NumPy would convert to days or nanoseconds.

    Parameters
    ----------
    X : array or table
    name : str
        Name of the argument.

    Raises
    ------
    ValueError
        If there are some.
    """
    is_table = hasattr(X, "columns")
    types = _types_of_columns(X) if is_table else {str(getattr(X, "dtype", None))}
    if "object" in types:
        objects = X.select_dtypes(object) if hasattr(X, "select_dtypes") else X
        types |= {each.__name__ for each in set(map(type, np.asarray(objects).flat))}
    if any(each.startswith("complex") for each in types):  # in the words of scikit-learn
        raise ValueError(f"{name} must contain numbers: Complex data not supported.")
    others = sorted(each for each in types if each.lower().startswith(_NON_NUMBERS))
    if others:
        raise ValueError(f"{name} must contain numbers. Got values of dtype {others[0]} instead.")


def _types_of_columns(table: Any) -> set[str]:
    is_arrow = _library(table) == "pyarrow"
    dtypes = table.schema.types if is_arrow else getattr(table, "dtypes", [None])
    return {str(_type_of_values(dtype)) for dtype in dtypes}


def _type_of_values(dtype: Any) -> Any:
    """Return the type of the values of a sparse or categorical column, or of a dictionary."""
    dtype = dtype.subtype if hasattr(dtype, "fill_value") else dtype  # intervals have one, too
    dtype = getattr(getattr(dtype, "categories", None), "dtype", dtype)
    dtype = getattr(dtype, "pyarrow_dtype", dtype)
    return getattr(dtype, "value_type", dtype)


def refuse_non_arrays(X: Any, name: str = "X") -> None:
    """Refuse data that `check_array` would read into memory at once, or not understand.

    Raises
    ------
    TypeError
        If X is a collection of an engine, yields samples piece by piece, or is no array at all.
    """
    engine = _ENGINES.get(_library(X))
    if engine is not None:
        raise TypeError(
            f"{name} is a collection of {engine}, {type(X).__name__}. Call "
            f"sklearn_tfsom.{engine.lower()}.fit(som, X), and predict and transform of that "
            "module; or pass an array."
        )
    if isinstance(X, Number) or scipy.sparse.issparse(X):  # some sparse arrays are mappings
        return
    has_items = any(hasattr(X, name) for name in _READABLE)
    if X is None or isinstance(X, _NO_ARRAYS) or not (has_items or hasattr(X, "__iter__")):
        raise TypeError(f"{name} must be an array of two dimensions. Got {shown(X)} instead.")
    if not has_items:
        raise TypeError(
            f"{name} yields samples piece by piece, {type(X).__name__}. Pass each piece to "
            "partial_fit, or pass an array."
        )


def feature_names(X: Any, name: str) -> NDArray | None:
    """Return the names of the columns of a data frame, None for other data.

    Raises
    ------
    TypeError
        If it does not lie in memory; the error says it of the argument of that name.
    """
    reader, X = BaseEstimator(), in_memory(X, name)
    if hasattr(X, "columns"):
        refuse_non_arrays(X, name)
        validate_data(reader, X, skip_check_array=True)
    return getattr(reader, "feature_names_in_", None)


def _library(X: Any) -> str:
    return type(X).__module__.partition(".")[0]

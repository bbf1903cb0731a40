"""Shared functions of the modules for Dask, Ray and Spark."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_tfsom._data.foreign import columns_named, has_float32, refuse_non_numbers, stacked
from sklearn_tfsom._parameters import FEATURES
from sklearn_tfsom._som import TFSOM

# Attributes that predict and transform do not read. Their size can exceed that of the codebook,
# and callbacks may be objects that cannot be pickled.
_OF_TRAINING = (
    "labels_",
    "_residuals",
    "_unit_means",
    "_unit_counts",
    "_counted_hits",
    "_skl_callbacks",
    "_skl_callbacks_to_teardown",
    "_callback_fit_ctx",
    "_parent_callback_ctx",
)


def check_map(som: Any) -> TFSOM:
    """Return a map.

    Raises
    ------
    TypeError
        If it is something else.
    """
    if not isinstance(som, TFSOM):
        raise TypeError(f"som must be a TFSOM. Got {type(som).__name__} instead.")
    return som


def map_for(method: str, som: Any) -> TFSOM:
    """Return a copy of a fitted map that a method is called on later, for each partition.

    Raises
    ------
    TypeError
        If it is something else.
    NotFittedError
        If it is not fitted.
    InvalidParameterError, ValueError
        If `transform` has no such features.
    """
    check_is_fitted(check_map(som))
    if method == "transform":
        som._check_features()
    som = copy.copy(som)
    for name in _OF_TRAINING:
        vars(som).pop(name, None)
    som.init, som.random_state = "pca", None  # arrays and states of a start
    return som


def split_frame(frame: Any, weight_name: str | None) -> tuple[Any, Any]:
    """Return the features of a data frame, and the column that weighs the samples or None.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    if weight_name is None:
        return frame, None
    if not isinstance(weight_name, str):
        raise TypeError(
            "sample_weight must be the name of a column of the data, or None. Got "
            f"{type(weight_name).__name__} instead."
        )
    if weight_name not in frame.columns:
        raise ValueError(
            f"sample_weight must name a column of the data, one of {list(frame.columns)}. Got "
            f"{weight_name!r} instead."
        )
    if len(frame.columns) == 1:
        raise ValueError(
            f"data must have a column beside {weight_name!r}, that of sample_weight. Got no other."
        )
    return frame.drop(columns=weight_name), frame[weight_name]


def is_array(value: Any) -> bool:
    """Return True if a value of a column is an array, the features of a sample."""
    return isinstance(value, np.ndarray | list | tuple)


def only_arrays(arrays: Collection[str], columns: list[str]) -> list[str]:
    """Return the only column of arrays that `transform` has not added, or all columns."""
    given = [name for name in arrays if name not in FEATURES]
    return given if len(given) == 1 else columns


def features_of(frame: Any, n_features: int = 1) -> Any:
    """Return the features in a data frame: all columns, or a single one of arrays.

    All features of a null in place of an array are missing: `n_features` if there are only nulls.
    """
    if frame.shape[1] != 1:
        return frame
    is_known = frame.iloc[:, 0].notna().to_numpy()
    known = frame.iloc[is_known, 0]
    if not len(known):
        return frame if n_features == 1 else np.full((len(frame), n_features), np.nan)
    if not is_array(known.iloc[0]):
        return frame
    arrays = stacked(list(known), "X")
    refuse_non_numbers(arrays, "X")
    # `check_form` converts objects and refuses complex numbers.
    dtype = np.float32 if has_float32(arrays) else np.result_type(arrays, np.float64)
    if is_known.all():
        return arrays.astype(dtype, copy=False)
    rows = np.full((len(frame), *arrays.shape[1:]), np.nan, dtype)
    rows[is_known] = arrays
    return rows


def result_of(
    function: Callable[[Any, Any], Any], frame: Any, weight_name: str | None, n_features: int
) -> Any:
    """Return the result of a function for a data frame; it gets an error in place of samples."""
    try:
        features, weights = split_frame(frame, weight_name)
        features = features_of(features, n_features)
    except (ValueError, TypeError) as error:
        features, weights = error, None
    return function(features, weights)


def pickled(result: Any) -> Any:
    """Return a data frame of one row with a pickled result."""
    import pandas as pd

    return pd.DataFrame({"result": [pickle.dumps(result)]})


def check_n_features(som: TFSOM, data: Any) -> None:
    """Check that data have the features of a fitted map.

    Raises
    ------
    ValueError
        If they have another number.
    """
    if data.shape[1] != som.n_features_in_:
        raise ValueError(
            f"data must have the map's {som.n_features_in_} features. Got {data.shape[1]} instead."
        )


def _features_for(som: TFSOM, frame: Any, columns: Collection[Any] | None) -> Any:
    """Return the features of a fitted map from a partition.

    They are the columns of their names; if they have no names, all columns, in the order in which
    the collection has `columns`.
    """
    names = getattr(som, "feature_names_in_", None)
    if names is None:
        frame = frame if columns is None else columns_named(columns, frame)
        features = features_of(frame, som.n_features_in_)
        if features.shape[1] > 1:  # arrays may be in one column
            check_n_features(som, features)
        return features
    return columns_named(names, frame)


def output_name(method: str, som: TFSOM, columns: Collection[str]) -> str:
    """Return the name of a new column of predictions, or of features.

    Raises
    ------
    ValueError
        If the data have such a column.
    """
    name = "prediction" if method == "predict" else som.features
    if name in columns:
        raise ValueError(
            f"data must not have a column {name!r}, which {method} adds. Rename or drop it."
        )
    return name


def apply_to_rows(X: Any, som: TFSOM, method: str) -> NDArray:
    """Call a method of a fitted map for the samples of a partition, of which there may be none."""
    if X.shape[0]:
        return np.asarray(getattr(som, method)(X))
    if method == "predict":
        return np.empty(0, np.int64)
    dtype = np.float32 if has_float32(X) else np.float64
    return np.empty((0, len(som.get_feature_names_out())), dtype)


def column_of_results(
    frame: Any, som: TFSOM, method: str, columns: Collection[Any] | None = None
) -> NDArray | list[NDArray]:
    """Call a method of a map for a data frame; return a column, numbers or a list of arrays."""
    values = apply_to_rows(_features_for(som, frame, columns), som, method)
    return values if values.ndim == 1 else list(values)


def apply_to_frame(frame: Any, som: TFSOM, method: str, columns: Collection[Any]) -> Any:
    """Call a method of a map for a data frame; return a series or data frame with its index."""
    import pandas as pd

    values = apply_to_rows(_features_for(som, frame, columns), som, method)
    if method == "predict":
        return pd.Series(values, index=frame.index)
    return pd.DataFrame(values, index=frame.index, columns=som.get_feature_names_out())

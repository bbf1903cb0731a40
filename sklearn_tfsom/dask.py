"""Maps of data in Dask: an ordinary fitted `TFSOM`, and lazy predictions.

Any of Dask's schedulers does the work. Install the extra ``sklearn-tfsom[dask]``.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from numbers import Real
from typing import Any

import dask
import dask.array
import numpy as np
from dask.delayed import Delayed

from sklearn_tfsom._data.checks import check_weight_shape
from sklearn_tfsom._data.foreign import as_array
from sklearn_tfsom._engines import (
    apply_to_frame,
    apply_to_rows,
    check_map,
    check_n_features,
    map_for,
    split_frame,
)
from sklearn_tfsom._som import TFSOM

__all__ = ["fit", "predict", "transform"]

# Results that a task combines.
_FAN_IN = 8


def fit(som: TFSOM, data: Any, sample_weight: Any = None) -> TFSOM:
    """Train a map on a Dask collection, as `TFSOM.fit` on an array of all samples.

    The workers search the samples and sum them up, in one pass over the partitions for each epoch;
    what they send has the size of a codebook. Up to 4,096 samples are collected on the client as
    a whole; of more, only the subsamples that the fit chooses, and three numbers for each sample
    with ``init="sample"``. Read more in the :ref:`User Guide <guide_engines>`.

    Parameters
    ----------
    som : TFSOM
        The map to train. `batch_size` must be None.

    data : dask.array.Array or dask.dataframe.DataFrame of shape (n_samples, n_features)
        Samples, NaN where a value is missing; chunks may be CSR matrices. Each pass computes it
        again: call its method ``persist`` before if it fits into the memory of the workers.

    sample_weight : dask array, dask series, array-like or str, default=None
        Weight of each sample, divided like `data` unless all lengths are known; an array-like only
        for an array of known lengths. Or the name of the column of a data frame that has them,
        which then is no feature.

    Returns
    -------
    som : TFSOM
        The fitted map, which does not depend on Dask. It has no `labels_`, which would be
        as long as the data: call `predict`.

    Raises
    ------
    InvalidParameterError
        If a parameter of the map is not valid. The map stays as it was.
    ValueError
        If the data or the weights are not valid, see `TFSOM.fit`, or divided in different ways.
    TypeError
        If `data` is not a collection of Dask, or `sample_weight` is a delayed object.

    Examples
    --------
    >>> import dask.array as da
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> import sklearn_tfsom.dask
    >>> X = da.from_array(load_iris().data, chunks=(40, 4))
    >>> som = sklearn_tfsom.dask.fit(TFSOM((8, 5), n_clusters=3), X)
    >>> som.codebook_.shape
    (40, 4)
    >>> labels = sklearn_tfsom.dask.predict(som, X)
    >>> labels.chunks, len(set(labels.compute().tolist()))
    (((40, 40, 40, 30),), 3)
    """
    return check_map(som)._fit_partitions(functools.partial(_Engine, data, sample_weight))


def predict(som: TFSOM, data: Any) -> Any:
    """Find the cluster of each sample, lazily.

    Parameters
    ----------
    som : TFSOM
        A fitted map.

    data : dask.array.Array or dask.dataframe.DataFrame of shape (n_samples, n_features)
        Samples, NaN where a value is missing.

    Returns
    -------
    labels : dask.array.Array or dask.dataframe.Series of int64, shape (n_samples,)
        As from `TFSOM.predict`, with the partitions of `data`, and its index.
    """
    return _lazily("predict", som, data)


def transform(som: TFSOM, data: Any) -> Any:
    """Transform samples into the features that the map's `features` parameter names, lazily.

    Parameters
    ----------
    som : TFSOM
        A fitted map.

    data : dask.array.Array or dask.dataframe.DataFrame of shape (n_samples, n_features)
        Samples, NaN where a value is missing.

    Returns
    -------
    X_new : dask.array.Array or dask.dataframe.DataFrame of shape (n_samples, n_features_out)
        As from `TFSOM.transform`, with the partitions of `data`, and its index.
    """
    return _lazily("transform", som, data)


class _Engine:
    """The partitions of a collection; see `_data.partitions.Engine`."""

    def __init__(self, data: Any, sample_weight: Any) -> None:
        data, is_frame = _in_row_chunks(data), not isinstance(data, dask.array.Array)
        weight_name = sample_weight if isinstance(sample_weight, str) else None
        if weight_name is not None and not is_frame:
            raise ValueError(
                "sample_weight may be the name of a column only of a data frame. Got "
                f"{weight_name!r} with an array."
            )
        if is_frame:
            self.features = split_frame(data._meta, weight_name)[0]
        else:
            self.features = np.empty((0, data.shape[1]))
        partitions = data.to_delayed().ravel().tolist() if not is_frame else data.to_delayed()
        weights: list[Any] = [None] * len(partitions)
        if sample_weight is not None and weight_name is None:
            weights = _divided(sample_weight, data, len(partitions))
        self._parts = list(zip(partitions, weights, strict=True))
        self._read = functools.partial(_read, weight_name=weight_name)
        self.n_workers = _n_workers()

    def reduce(
        self,
        function: Callable[[Any, Any], Any],
        combine: Callable[[Any, Any], Any],
        name: str,
    ) -> Any:
        """Combine the results for all partitions, on the workers."""
        if not self._parts:
            return None
        prefix = _prefix(name)
        parts, level = self._results(function, prefix), 0
        fold = dask.delayed(functools.partial(functools.reduce, combine), pure=False)
        while len(parts) > 1:
            level += 1
            parts = [
                fold(parts[first : first + _FAN_IN], dask_key_name=(f"{prefix}-{level}", first))
                for first in range(0, len(parts), _FAN_IN)
            ]
        (result,) = dask.compute(*parts)
        return result

    def collect(self, function: Callable[[Any, Any], Any], name: str) -> list[Any]:
        """Return the results for all partitions."""
        return list(dask.compute(*self._results(function, _prefix(name))))

    def _results(self, function: Callable[[Any, Any], Any], prefix: str) -> list[Any]:
        # The function is a task of its own, and is sent to each worker once.
        shared = dask.delayed(function, name=f"{prefix}-function", traverse=False)
        apply = dask.delayed(self._read, pure=False)
        return [
            apply(shared, X, weights, dask_key_name=(f"{prefix}-0", number))
            for number, (X, weights) in enumerate(self._parts)
        ]


def _prefix(name: str) -> str:
    """Return how the keys of the tasks of a pass begin; the dashboard shows the first word."""
    return f"tfsom_{name}-{uuid.uuid4().hex}"


def _read(function: Callable[[Any, Any], Any], X: Any, weights: Any, weight_name: Any) -> Any:
    return function(*split_frame(X, weight_name)) if weight_name else function(X, weights)


def _in_row_chunks(data: Any) -> Any:
    """Check that data are a collection of two dimensions; each chunk gets all features."""
    _refuse_delayed(data, "data")
    if isinstance(data, dask.array.Array) and data.ndim == 2:
        if np.isnan(data.shape[1]):
            raise ValueError(
                "data must have a known number of columns. Call compute_chunk_sizes() on it."
            )
        return data.rechunk({1: -1}) if data.numblocks[1] > 1 else data
    if hasattr(data, "map_partitions") and getattr(data, "ndim", 0) == 2:
        return data
    dimensions = f" of {data.ndim} dimensions" if hasattr(data, "ndim") else ""
    raise TypeError(
        "data must be a dask.array.Array of two dimensions or a dask.dataframe.DataFrame. Got "
        f"{type(data).__name__}{dimensions} instead."
    )


def _refuse_delayed(given: Any, name: str) -> None:
    if isinstance(given, Delayed):  # which seems to have any attribute
        raise TypeError(
            f"{name} must be a collection of Dask. Got Delayed instead. Make an array of it with "
            "dask.array.from_delayed."
        )


def _divided(sample_weight: Any, data: Any, n_partitions: int) -> list[Any]:
    """Divide weights like the samples."""
    _refuse_delayed(sample_weight, "sample_weight")
    lengths = data.chunks[0] if isinstance(data, dask.array.Array) else (np.nan,)
    is_known = not np.isnan(lengths).any()
    if isinstance(sample_weight, dask.array.Array):
        if is_known and not np.isnan(sample_weight.shape).any():
            check_weight_shape(sample_weight.shape, data.shape[0])
            sample_weight = sample_weight.rechunk((lengths,))
        parts = sample_weight.to_delayed().ravel().tolist()
    elif hasattr(sample_weight, "to_delayed"):
        if getattr(sample_weight, "ndim", 1) == 0:
            raise TypeError(
                "sample_weight must be a collection of Dask. Got "
                f"{type(sample_weight).__name__} instead, a single number."
            )
        parts = sample_weight.to_delayed()
    elif is_known:
        weights = np.asarray(as_array(sample_weight, "sample_weight"))
        if isinstance(sample_weight, Real):
            weights = np.full(data.shape[0], weights)
        check_weight_shape(weights.shape, data.shape[0])
        parts = np.split(weights, np.cumsum(lengths)[:-1])
    else:
        raise ValueError(
            "sample_weight must be a collection of Dask or the name of a column, since the "
            f"lengths of the partitions are not known. Got {type(sample_weight).__name__} instead."
        )
    if len(parts) != n_partitions:
        raise ValueError(
            f"sample_weight must be divided like the samples, into {n_partitions} partitions. Got "
            f"{len(parts)} instead."
        )
    return list(parts)


def _n_workers() -> int:
    """Return the number of processes of the cluster in use; one without a cluster."""
    try:
        from distributed import get_client

        return max(1, len(get_client().scheduler_info(n_workers=-1)["workers"]))
    except (ImportError, ValueError):
        return 1


def _lazily(method: str, som: TFSOM, data: Any) -> Any:
    som = map_for(method, som)
    data = _in_row_chunks(data)
    if not isinstance(data, dask.array.Array):
        arguments = som, method, list(data._meta.columns)
        meta = apply_to_frame(data._meta, *arguments)
        return data.map_partitions(apply_to_frame, *arguments, meta=meta)
    n_out = len(som.get_feature_names_out())
    check_n_features(som, data)
    shape = {"drop_axis": 1} if method == "predict" else {"chunks": (data.chunks[0], (n_out,))}
    meta = apply_to_rows(np.empty((0, data.shape[1]), data.dtype), som, method)

    def of_block(rows: Any) -> Any:
        return apply_to_rows(rows, som, method)

    of_block.__name__ = f"tfsom_{method}"  # what the dashboard shows
    return data.map_blocks(of_block, **shape, meta=meta)

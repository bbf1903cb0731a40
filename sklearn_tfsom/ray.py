"""Maps of data in Ray: an ordinary fitted `TFSOM`, and lazy predictions.

Install the extra ``sklearn-tfsom[ray]``.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import ray.data

from sklearn_tfsom._engines import (
    check_map,
    column_of_results,
    features_of,
    is_array,
    map_for,
    only_arrays,
    output_name,
    pickled,
    result_of,
    split_frame,
)
from sklearn_tfsom._som import TFSOM

__all__ = ["fit", "predict", "transform"]


def fit(som: TFSOM, data: Any, sample_weight: str | None = None) -> TFSOM:
    """Train a map on a dataset of Ray, as `TFSOM.fit` on an array of all samples.

    The workers search the samples and sum them up, in one pass over the blocks for each epoch;
    what they send has the size of a codebook. Up to 4,096 samples are collected on the driver as
    a whole; of more, only the subsamples that the fit chooses, and three numbers for each sample
    with ``init="sample"``. Read more in the :ref:`User Guide <guide_engines>`.

    Parameters
    ----------
    som : TFSOM
        The map to train. `batch_size` must be None.

    data : ray.data.Dataset
        Columns of numbers, each a feature, or one column of arrays; null or NaN where a value is
        missing. Each pass reads it again: call its method ``materialize`` before if it fits into
        the object store.

    sample_weight : str, default=None
        Name of the column that has the weight of each sample, which then is no feature.

    Returns
    -------
    som : TFSOM
        The fitted map, which does not depend on Ray. It has no `labels_`, which would be
        as long as the data: call `predict`.

    Raises
    ------
    InvalidParameterError
        If a parameter of the map is not valid. The map stays as it was.
    ValueError
        If the data or the weights are not valid, see `TFSOM.fit`.
    TypeError
        If `data` is not a dataset of Ray.
    """
    make_engine = functools.partial(_Engine, _checked(data), sample_weight)
    return check_map(som)._fit_partitions(make_engine)


def predict(som: TFSOM, data: Any) -> Any:
    """Find the cluster of each sample, lazily.

    Parameters
    ----------
    som : TFSOM
        A fitted map.

    data : ray.data.Dataset
        As for `fit`, without a column "prediction". Of its columns those that the map was fitted
        on are used. If it was fitted on data without names, these are the only column of arrays,
        or all columns; Ray then reads the first row at the call.

    Returns
    -------
    predicted : ray.data.Dataset
        `data` with a column "prediction" of int64, as from `TFSOM.predict`.
    """
    return _lazily("predict", som, data)


def transform(som: TFSOM, data: Any) -> Any:
    """Transform samples into the features that the map's `features` parameter names, lazily.

    Parameters
    ----------
    som : TFSOM
        A fitted map.

    data : ray.data.Dataset
        As for `predict`, without a column of the name of the features.

    Returns
    -------
    transformed : ray.data.Dataset
        `data` with a column of arrays, as from `TFSOM.transform`, named like the features:
        "distances", "coordinates" or "activations".
    """
    return _lazily("transform", som, data)


class _Engine:
    """The blocks of a dataset; see `_data.partitions.Engine`."""

    def __init__(self, data: Any, weight_name: str | None) -> None:
        self._data, self._weight_name = data, weight_name
        first = data.limit(1).to_pandas()  # has no columns if there are no rows
        self.features = features_of(split_frame(first, weight_name)[0] if len(first) else first)
        self.n_workers = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def reduce(
        self,
        function: Callable[[Any, Any], Any],
        combine: Callable[[Any, Any], Any],
        name: str,
    ) -> Any:
        """Combine the results for all blocks."""
        total = None
        for result in self._results(function, name):
            total = result if total is None else combine(total, result)
        return total

    def collect(self, function: Callable[[Any, Any], Any], name: str) -> list[Any]:
        """Return the results for all blocks."""
        return list(self._results(function, name))

    def _results(self, function: Callable[[Any, Any], Any], name: str) -> Iterator[Any]:
        weight_name, n_features = self._weight_name, self.features.shape[1]

        def of_block(block: pd.DataFrame) -> pd.DataFrame:
            return pickled(result_of(function, block, weight_name, n_features))

        of_block.__name__ = f"tfsom_{name}"  # what the dashboard shows
        results = self._data.map_batches(of_block, batch_size=None, batch_format="pandas")
        # Otherwise blocks come in any order, and sums of floats depend on it.
        options = results.context.execution_options
        former, options.preserve_order = options.preserve_order, True
        try:
            for row in results.iter_rows():
                yield pickle.loads(row["result"])
        finally:
            options.preserve_order = former


def _checked(data: Any) -> Any:
    if not isinstance(data, ray.data.Dataset):
        raise TypeError(f"data must be a ray.data.Dataset. Got {type(data).__name__} instead.")
    return data


def _feature_columns(data: Any) -> list[str]:
    """Return the only column of arrays, or all columns; none if there are no rows."""
    first = data.limit(1).to_pandas()
    arrays = [name for name in first if len(first) and is_array(first[name].iloc[0])]
    return only_arrays(arrays, list(first))


def _lazily(method: str, som: TFSOM, data: Any) -> Any:
    som, data = map_for(method, som), _checked(data)
    # Without names of features, this order counts in all blocks.
    columns = None if hasattr(som, "feature_names_in_") else _feature_columns(data)

    def of_block(block: pd.DataFrame) -> pd.DataFrame:
        column = output_name(method, som, block.columns)
        return block.assign(**{column: column_of_results(block, som, method, columns)})

    of_block.__name__ = f"tfsom_{method}"
    return data.map_batches(of_block, batch_size=None, batch_format="pandas")

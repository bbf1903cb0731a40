"""Maps of data in Spark: an ordinary fitted `TFSOM`, and lazy predictions.

Install the extra ``sklearn-tfsom[spark]``.
"""

from __future__ import annotations

import contextlib
import functools
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, functions, types

from sklearn_tfsom._data.foreign import check_names
from sklearn_tfsom._engines import (
    check_map,
    column_of_results,
    features_of,
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
    """Train a map on a data frame of Spark, as `TFSOM.fit` on an array of all samples.

    The executors search the samples and sum them up, in one pass over the partitions for each
    epoch; what they send has the size of a codebook. Up to 4,096 samples are collected on the
    driver as a whole; of more, only the subsamples that the fit chooses, and three numbers for
    each sample with ``init="sample"``. Read more in the :ref:`User Guide <guide_engines>`.

    Parameters
    ----------
    som : TFSOM
        The map to train. `batch_size` must be None.

    data : pyspark.sql.DataFrame
        Columns of numbers, each a feature, or one column of arrays or vectors; null or NaN where a
        value is missing. Each pass computes it again: call its method ``cache`` before if it fits
        into the memory of the executors.

    sample_weight : str, default=None
        Name of the column that has the weight of each sample, which then is no feature.

    Returns
    -------
    som : TFSOM
        The fitted map, which does not depend on Spark. It has no `labels_`, which would be
        as long as the data: call `predict`.

    Raises
    ------
    InvalidParameterError
        If a parameter of the map is not valid. The map stays as it was.
    ValueError
        If the data or the weights are not valid, see `TFSOM.fit`.
    TypeError
        If `data` is not a data frame of a classic Spark session; Spark Connect is not supported.
    """
    make_engine = functools.partial(_Engine, _checked(data), sample_weight)
    return check_map(som)._fit_partitions(make_engine)


def predict(som: TFSOM, data: Any) -> Any:
    """Find the cluster of each sample, lazily.

    Parameters
    ----------
    som : TFSOM
        A fitted map.

    data : pyspark.sql.DataFrame
        As for `fit`, without a column "prediction". Of its columns those that the map was fitted
        on are used. If it was fitted on data without names, these are the only column of arrays
        or vectors, or all columns.

    Returns
    -------
    predicted : pyspark.sql.DataFrame
        `data` with a column "prediction" of long, as from `TFSOM.predict`.
    """
    return _lazily("predict", som, data)


def transform(som: TFSOM, data: Any) -> Any:
    """Transform samples into the features that the map's `features` parameter names, lazily.

    Parameters
    ----------
    som : TFSOM
        A fitted map.

    data : pyspark.sql.DataFrame
        As for `predict`, without a column of the name of the features.

    Returns
    -------
    transformed : pyspark.sql.DataFrame
        `data` with a column of arrays of double (of float if all features are float), as from
        `TFSOM.transform`, named like the features: "distances", "coordinates" or "activations".
    """
    return _lazily("transform", som, data)


class _Engine:
    """The partitions of a data frame; see `_data.partitions.Engine`."""

    def __init__(self, data: Any, weight_name: str | None) -> None:
        self._data, self._weight_name = _without_vectors(data), weight_name
        first = self._data.limit(1).toPandas()
        self.features = features_of(split_frame(first, weight_name)[0])
        self._context = data.sparkSession.sparkContext
        self.n_workers = max(1, self._context.defaultParallelism)

    def reduce(
        self,
        function: Callable[[Any, Any], Any],
        combine: Callable[[Any, Any], Any],
        name: str,
    ) -> Any:
        """Combine the results for all partitions, on the executors."""

        def fold(total: Any, result: Any) -> Any:
            if total is None or result is None:
                return result if total is None else total
            return combine(total, result)

        with self._named(name):
            return self._results(function, fold).treeAggregate(None, fold, fold)

    def collect(self, function: Callable[[Any, Any], Any], name: str) -> list[Any]:
        """Return the results for all partitions."""
        with self._named(name):
            return self._results(function).collect()

    def _results(
        self,
        function: Callable[[Any, Any], Any],
        fold: Callable[[Any, Any], Any] | None = None,
    ) -> Any:
        """Return the results for all batches of all partitions; with a fold one for each."""
        weight_name, n_features = self._weight_name, self.features.shape[1]
        names = self._data.columns

        def of_batch(batch: pd.DataFrame) -> Any:
            batch.columns = names
            return result_of(function, batch, weight_name, n_features)

        def of_partition(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
            results: Iterable[Any] = map(of_batch, batches)
            if fold is not None:
                results = [functools.reduce(fold, results, None)]
            yield from map(pickled, results)

        # `mapInPandas` fails for names that contain dots or backticks.
        numbered = self._data.toDF(*(f"column{place}" for place in range(len(names))))
        results = numbered.mapInPandas(of_partition, "result binary")
        return results.rdd.map(lambda row: pickle.loads(row.result))

    @contextlib.contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Name the jobs of a pass, as Spark's page shows them."""
        key = "spark.job.description"
        former = self._context.getLocalProperty(key)
        self._context.setLocalProperty(key, f"TFSOM: {name.replace('_', ' ')}")
        try:
            yield
        finally:
            self._context.setLocalProperty(key, former)


def _checked(data: Any) -> Any:
    if isinstance(data, DataFrame) and hasattr(data.sparkSession, "sparkContext"):
        return data
    raise TypeError(
        "data must be a pyspark.sql.DataFrame of a classic session, not of Spark Connect. Got "
        f"{type(data).__name__} instead."
    )


def _without_vectors(data: Any) -> Any:
    """Turn columns of vectors into columns of arrays."""
    return data.select(*(_as_column(field) for field in data.schema.fields))


def _as_column(field: types.StructField) -> Any:
    quoted = field.name.replace("`", "``")
    column = functions.col(f"`{quoted}`")
    if field.dataType.typeName() != "vectorudt":
        return column
    from pyspark.ml.functions import vector_to_array

    arrays = functions.when(column.isNotNull(), vector_to_array(column))  # it fails for nulls
    return arrays.alias(field.name)


def _feature_columns(data: Any) -> list[str]:
    """Return the only column of arrays of numbers or vectors, or all columns."""
    kinds = {field.name: field.dataType for field in data.schema.fields}
    return only_arrays([name for name, kind in kinds.items() if _has_arrays(kind)], data.columns)


def _has_arrays(kind: types.DataType) -> bool:
    if isinstance(kind, types.ArrayType):
        return isinstance(kind.elementType, types.NumericType | types.BooleanType)
    return kind.typeName() == "vectorudt"


def _lazily(method: str, som: TFSOM, data: Any) -> Any:
    som = map_for(method, som)
    names = getattr(som, "feature_names_in_", _feature_columns(_checked(data)))
    check_names(names, data.columns)
    # Spark replaces a column whose name differs only in case.
    column = output_name(method, som, [name.lower() for name in data.columns])
    fields = [data.schema[name] for name in names]
    number = types.FloatType() if all(_is_float32(field.dataType) for field in fields) else None
    of_rows = types.ArrayType(number or types.DoubleType())

    @functions.pandas_udf(types.LongType() if method == "predict" else of_rows)  # type: ignore[call-overload]
    def apply(frame: pd.DataFrame) -> pd.Series:
        return pd.Series(column_of_results(frame, som, method))

    columns = functions.struct(*(_as_column(field) for field in fields))
    return data.withColumn(column, apply(columns))


def _is_float32(kind: types.DataType) -> bool:
    return isinstance(
        kind.elementType if isinstance(kind, types.ArrayType) else kind, types.FloatType
    )

"""Maps of Spark's data frames are those of one process. `make test-engines` runs this."""

import os
import sys

import engines
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

os.environ["PYSPARK_PYTHON"] = sys.executable

from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import array_to_vector
from pyspark.sql import SparkSession, functions

from sklearn_tfsom import TFSOM, InvalidParameterError
from sklearn_tfsom.spark import fit, predict, transform

NAMES = list("abcde")

# PySpark says in many ways that it does not yet support pandas 3; what is used here works.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def spark():
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


def uneven(spark, frame):
    """Return a data frame with partitions of different sizes, most of them empty."""
    return spark.createDataFrame(frame).repartition(5, functions.col("a") > 4)


@pytest.mark.parametrize("case", engines.CASES)
def test_equals_one_process(spark, case):
    parameters, kind = engines.CASES[case]
    X, weights = engines.samples_of(kind)
    frame = pd.DataFrame(X, columns=NAMES)
    data = uneven(spark, frame.assign(w=weights))
    expected = TFSOM(**parameters).fit(frame, sample_weight=weights)
    som = fit(TFSOM(**parameters), data, "w")
    engines.check_equal(som, expected, 1e-5 if kind == "float32" else 1e-8)
    assert_array_equal(som.feature_names_in_, NAMES)
    predicted = transform(som, predict(som, data))
    assert predicted.columns == [*NAMES, "w", "prediction", som.features]
    predicted = predicted.toPandas()
    features = np.stack(list(predicted[som.features])).astype(X.dtype)
    X = predicted[NAMES].astype(X.dtype)
    engines.check_predictions(som, X, predicted["prediction"].to_numpy(), features)


@pytest.mark.parametrize("kind", ["array", "vector"])
def test_one_column(spark, kind):
    X, _ = engines.samples_of("dense")
    data = spark.createDataFrame(pd.DataFrame(X, columns=NAMES))
    if kind == "array":
        data = data.select(functions.array(*NAMES).alias("x"))
    else:
        data = VectorAssembler(inputCols=NAMES, outputCol="x").transform(data).select("x")
    som = fit(TFSOM(7), data)
    engines.check_equal(som, TFSOM(7).fit(X))
    assert_array_equal(np.bincount(predict(som, data).toPandas()["prediction"]), som.hits_)
    texts = functions.array(functions.lit("a"))
    others = transform(som, data.withColumn("place", functions.rand(0)).withColumn("tags", texts))
    labels = predict(som, others).toPandas()["prediction"]
    assert_array_equal(np.bincount(labels), som.hits_)


@pytest.mark.parametrize("kind", ["array", "vector"])
def test_a_null_in_place_of_an_array(spark, kind):
    known = functions.array(functions.lit(1.0), functions.lit(2.0))
    column = known if kind == "array" else array_to_vector(known)
    data = spark.range(8).select(functions.when(functions.col("id") != 5, column).alias("x"))
    with pytest.raises(ValueError, match=r"of X is missing \(NaN\) in all features. Remove it"):
        fit(TFSOM(2), data)


def test_parameters_are_checked_before_any_sample_is_read(spark):
    data = spark.range(8).select(functions.expr("raise_error('read')").alias("x"))
    with pytest.raises(InvalidParameterError, match="'grid_size' parameter of TFSOM must be"):
        fit(TFSOM(-1), data)


def test_nulls_are_missing_values(spark):
    rows = [(1.0, None), (2.0, 5.0), (None, 7.0), (3.0, 8.0)] * 3
    data = spark.createDataFrame(rows, "a double, b double")
    expected = TFSOM(2).fit(np.array(rows, dtype=float))
    engines.check_equal(fit(TFSOM(2), data), expected)


def test_names_with_backticks_and_dots(spark):
    X, _ = engines.samples_of("few")
    frame = pd.DataFrame(X[:, :2], columns=["a`b", "c.d"])
    data = spark.createDataFrame(frame)
    som = fit(TFSOM(3, max_iter=2), data)
    engines.check_equal(som, TFSOM(3, max_iter=2).fit(frame))
    assert_array_equal(predict(som, data).toPandas()["prediction"], som.predict(frame))


def test_jobs_are_described_by_epoch(spark):
    frame = pd.DataFrame(engines.samples_of("dense")[0], columns=NAMES)
    fit(TFSOM(4, max_iter=3, coarse_to_fine=False), uneven(spark, frame))
    jobs = spark.sparkContext._jsc.sc().statusStore().jobsList(None)
    described = [jobs.apply(place).description() for place in range(jobs.size())]
    seen = {name.get() for name in described if name.isDefined()}
    assert {"TFSOM: check", "TFSOM: epoch 1", "TFSOM: epoch 3"} <= seen
    assert spark.sparkContext.getLocalProperty("spark.job.description") is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda data: fit(3, data), TypeError, "som must be a TFSOM. Got int"),
        (lambda data: fit(TFSOM(2), np.eye(3)), TypeError, r"pyspark.sql.DataFrame.*Got ndarray"),
        (
            lambda data: predict(TFSOM(2).fit(np.eye(3)), np.eye(3)),
            TypeError,
            r"pyspark.sql.DataFrame.*Got ndarray",
        ),
        (lambda data: fit(TFSOM(2), data, "v"), ValueError, r"must name a column.*Got 'v'"),
        (lambda data: fit(TFSOM(2, batch_size=2), data), ValueError, "'batch_size'"),
        (
            lambda data: transform(
                TFSOM.from_codebook(np.eye(2), grid_size=(2, 1), features="activations"), data
            ),
            ValueError,
            "quantization error is not known",
        ),
        (lambda data: fit(TFSOM(2), data.where("a < 0")), ValueError, "at least one sample"),
        (
            lambda data: fit(TFSOM(2), data.selectExpr("a * double('infinity') as a")),
            ValueError,
            "In a partition of X: .*infinity",
        ),
        (
            lambda data: fit(TFSOM(2), data.selectExpr("sequence(0, cast(a as int)) as x")),
            ValueError,
            "In a partition of X: X must have rows of equal lengths",
        ),
        (
            lambda data: fit(TFSOM(2), data.selectExpr("array(timestamp_seconds(b)) as x")),
            ValueError,
            "X must contain numbers",
        ),
        *(
            (
                lambda data, null=null: fit(
                    TFSOM(2), data.selectExpr(f"if(a {null}, null, array(a, b)) as x")
                ),
                ValueError,
                "Sample . of X is missing",
            )
            for null in ("< 2", "> 7")
        ),
        (
            lambda data: predict(TFSOM(2).fit(pd.DataFrame(np.eye(3), columns=list("abc"))), data),
            ValueError,
            r"columns of the map's features. Got none named \['c'\]",
        ),
        (
            lambda data: predict(
                TFSOM(2).fit(np.eye(2)), data.withColumnRenamed("b", "Prediction")
            ),
            ValueError,
            "must not have a column 'prediction', which predict adds",
        ),
        (
            lambda data: transform(
                TFSOM(2).fit(np.eye(2)), data.withColumnRenamed("b", "distances")
            ),
            ValueError,
            "must not have a column 'distances', which transform adds",
        ),
        (lambda data: fit(TFSOM(2), data, np.ones(8)), TypeError, "name of a column.*Got ndarray"),
        (TFSOM(2).fit, TypeError, r"collection of Spark.*sklearn_tfsom.spark.fit\(som, X\)"),
    ],
)
def test_invalid(spark, call, error, message):
    data = spark.createDataFrame(pd.DataFrame({"a": np.arange(1, 9.0), "b": np.arange(8)}))
    with pytest.raises(error, match=message):
        call(data)

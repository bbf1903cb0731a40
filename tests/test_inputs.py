"""Arrays, data frames and tables of other libraries give the same map as a NumPy array."""

import copy
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
import tensorflow as tf
from numpy.testing import assert_array_equal

from sklearn_tfsom import TFSOM, metrics
from sklearn_tfsom._classes import classes_of

METHODS = ["predict", "transform", "score", "score_samples", "bmus", "quantize", "impute"]
NAMES = list("abcd")


def samples(dtype=np.float64, *, has_missing=False):
    """Samples of some type; missing values are NaN, and integers with them are float64."""
    rng = np.random.RandomState(0)
    X = (10 * rng.normal(size=(60, 4))).astype(dtype)
    if has_missing:
        X = X if X.dtype.kind == "f" else X.astype(np.float64)
        X[3, 1] = np.nan
        X[10:15, 2] = np.nan
    return X


def as_expected(X):
    return X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)


def with_none(X):
    return [[None if np.isnan(value) else value for value in column] for column in X.T.tolist()]


def masked(X, value=999):
    return np.ma.array(np.where(np.isnan(X), value, X).astype(X.dtype), mask=np.isnan(X))


def masked_integers(X):
    return np.ma.array(np.where(np.isnan(X), -7, X).astype(np.int64), mask=np.isnan(X))


def objects(X):
    values = X.astype(object)
    values[np.isnan(X)] = pd.NA
    return values


def pandas_frame(X, dtype):
    columns = [[pd.NA if value is None else value for value in column] for column in with_none(X)]
    arrays = [pd.array(column, dtype=dtype) for column in columns]
    return pd.DataFrame(dict(zip(NAMES, arrays, strict=True)))


def partly_objects(X):
    return pd.DataFrame(X, columns=NAMES).assign(b=objects(X)[:, 1])


def categories(X, dtype):
    frame = pandas_frame(X, "Int64")
    columns = {name: frame[name].astype(dtype).astype("category") for name in ("b", "c")}
    return frame.assign(**columns).astype({"a": "int64", "d": "int64"})


def decimals(X):
    columns = [
        [value if value is None else Decimal(int(value)) for value in c] for c in with_none(X)
    ]
    arrays = [pd.array(column, dtype=pd.ArrowDtype(pa.decimal128(30))) for column in columns]
    return pd.DataFrame(dict(zip(NAMES, arrays, strict=True)))


def arrow_columns(X, kind):
    return pandas_frame(X, "Int64").astype(pd.ArrowDtype(kind))


class OwnFrame(pd.DataFrame):
    """A subclass with a constructor of its own, as pandas allows."""

    def __init__(self, values):
        super().__init__(values, columns=NAMES)

    @property
    def _constructor(self):
        return pd.DataFrame


def polars_frame(X, dtype):
    columns = [pl.Series(column).cast(getattr(pl, dtype)) for column in with_none(X)]
    return pl.DataFrame(dict(zip(NAMES, columns, strict=True)))


def arrow_table(X):
    return pa.table({name: pa.array(X[:, k], from_pandas=True) for k, name in enumerate(NAMES)})


def arrow_chunks(X):
    return pa.concat_tables([arrow_table(X[:25]), arrow_table(X[25:])])


def arrow_batch(X):
    (batch,) = arrow_table(X).to_batches()
    return batch


def arrow_dictionaries(X):
    columns = [pa.array(X[:, k], from_pandas=True).dictionary_encode() for k in range(len(NAMES))]
    return pa.table(dict(zip(NAMES, columns, strict=True)))


def narwhals_frame(frame):
    return pytest.importorskip("narwhals").from_native(frame)


def array_api(X):
    return pytest.importorskip("array_api_strict").asarray(X)


def torch_tensor(X):
    return pytest.importorskip("torch").from_numpy(X)


class OnlyConvertible:
    """An array of another library that has no more than a conversion."""

    def __init__(self, X):
        self._X = X

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._X, dtype=dtype)


FULL, FULL32 = samples(), samples(np.float32)
MISSING, MISSING32 = samples(has_missing=True), samples(np.float32, has_missing=True)
INTEGERS, MISSING_INTEGERS = samples(np.int64), samples(np.int64, has_missing=True)
MISSING_BOOLEANS = np.where(np.isnan(MISSING), np.nan, MISSING > 0)

# The same values in another form: a function that makes it, and the NumPy array.
KINDS = {
    "masked float64": (masked, MISSING),
    "masked float32": (masked, MISSING32),
    "masked infinity": (lambda X: masked(X, np.inf), MISSING),
    "masked integers": (masked_integers, MISSING_INTEGERS),
    "masked objects": (lambda X: masked(X).astype(object), MISSING),
    "masked big-endian float32": (lambda X: masked(X).astype(">f4"), MISSING32),
    "nothing masked": (np.ma.array, FULL),
    "list of masked rows": (lambda X: list(masked(X)), MISSING),
    "objects": (objects, MISSING),
    "list of objects": (lambda X: objects(X).tolist(), MISSING),
    "frame of objects": (lambda X: pd.DataFrame(objects(X), columns=NAMES), MISSING),
    "frame with objects": (partly_objects, MISSING),
    "Float64": (lambda X: pandas_frame(X, "Float64"), MISSING),
    "Float32": (lambda X: pandas_frame(X, "Float32"), MISSING32),
    "Int64": (lambda X: pandas_frame(X, "Int64"), MISSING_INTEGERS),
    "boolean": (lambda X: pandas_frame(X, "boolean"), MISSING_BOOLEANS),
    "categories": (lambda X: categories(X, "Int64"), MISSING_INTEGERS),
    "categories of NumPy": (lambda X: categories(X, object), MISSING_INTEGERS),
    "decimals": (decimals, MISSING_INTEGERS),
    "dictionaries": (
        lambda X: arrow_columns(X, pa.dictionary(pa.int32(), pa.int64())),
        MISSING_INTEGERS,
    ),
    "texts": (lambda X: pandas_frame(X, "Int64").astype("string"), MISSING_INTEGERS),
    "texts of Arrow": (lambda X: arrow_columns(X, pa.string()), MISSING_INTEGERS),
    "long texts of Arrow": (lambda X: arrow_columns(X, pa.large_string()), MISSING_INTEGERS),
    "own frame": (lambda X: OwnFrame(objects(X)), MISSING),
    "double[pyarrow]": (lambda X: pandas_frame(X, "double[pyarrow]"), MISSING),
    "float[pyarrow]": (lambda X: pandas_frame(X, "float[pyarrow]"), MISSING32),
    "int64[pyarrow]": (lambda X: pandas_frame(X, "int64[pyarrow]"), MISSING_INTEGERS),
    "polars Float64": (lambda X: polars_frame(X, "Float64"), MISSING),
    "polars Float32": (lambda X: polars_frame(X, "Float32"), MISSING32),
    "polars Int64": (lambda X: polars_frame(X, "Int64"), MISSING_INTEGERS),
    "arrow float64": (arrow_table, MISSING),
    "arrow batch": (arrow_batch, MISSING),
    "arrow float32": (arrow_table, MISSING32),
    "arrow chunks of float32": (arrow_chunks, MISSING32),
    "arrow dictionaries of float32": (arrow_dictionaries, MISSING32),
    "narwhals of pandas Float32": (
        lambda X: narwhals_frame(pandas_frame(X, "Float32")),
        MISSING32,
    ),
    "narwhals of polars Int64": (
        lambda X: narwhals_frame(polars_frame(X, "Int64")),
        MISSING_INTEGERS,
    ),
    "narwhals of arrow float32": (lambda X: narwhals_frame(arrow_table(X)), MISSING32),
    "categories of float32": (
        lambda X: pd.DataFrame(X, columns=NAMES).astype("category"),
        MISSING32,
    ),
    "sparse columns that leave out NaN": (
        lambda X: pd.DataFrame(X, columns=NAMES).astype(pd.SparseDtype("float32")),
        MISSING32,
    ),
    "sparse columns that leave out 1": (
        lambda X: pd.DataFrame(X, columns=NAMES).astype(pd.SparseDtype(X.dtype, 1)),
        INTEGERS,
    ),
    "array API float64": (array_api, MISSING),
    "array API float32": (array_api, FULL32),
    "array API integers": (array_api, INTEGERS),
    "torch float64": (torch_tensor, MISSING),
    "torch float32": (torch_tensor, FULL32),
    "tensor float64": (tf.constant, MISSING),
    "tensor float32": (tf.constant, FULL32),
    "tensor integers": (tf.constant, INTEGERS),
    "variable float32": (tf.Variable, MISSING32),
    "convertible": (OnlyConvertible, FULL32),
    "big-endian float64": (lambda X: X.astype(">f8"), FULL),
    "big-endian float32": (lambda X: X.astype(">f4"), MISSING32),
}


@pytest.fixture(params=[False, True], ids=["", "dispatch"])
def _dispatch(request, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # scikit-learn asks for it
    with sklearn.config_context():
        try:
            sklearn.set_config(array_api_dispatch=request.param)
        except ImportError as error:  # scikit-learn 1.6 needs array-api-compat
            pytest.skip(str(error))
        yield


def small_map(**parameters):
    return TFSOM((3, 3), max_iter=4, **parameters)


RESULTS = {}  # by the identity of the samples of `KINDS`, which remain


def results_of_array(X):
    """Return a map of an array, and the code vectors of a stream of it, computed once."""
    if id(X) not in RESULTS:
        array = as_expected(X)
        stream = small_map().partial_fit(array).partial_fit(array)
        RESULTS[id(X)] = small_map().fit(array), stream.codebook_
    som, codebook = RESULTS[id(X)]
    return copy.copy(som), codebook


def assert_same(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    assert_array_equal(found, expected)


@pytest.mark.usefixtures("_dispatch")
@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("kind", KINDS)
def test_equals_a_numpy_array(kind):
    make, X = KINDS[kind]
    data, som, codebook_of_stream = make(X), *results_of_array(X)
    X = as_expected(X)
    assert som.codebook_.dtype == X.dtype
    assert_same(small_map().fit(data).codebook_, som.codebook_)
    stream = small_map().partial_fit(data).partial_fit(data)
    assert_same(stream.codebook_, codebook_of_stream)
    for method in METHODS:
        assert_same(getattr(som, method)(data), getattr(som, method)(X))
    for features in ("coordinates", "activations"):
        som.set_params(features=features)
        assert_same(som.transform(data), som.transform(X))
    assert_same(metrics.quantization_error(som, data), metrics.quantization_error(som, X))


@pytest.mark.parametrize(
    "kind",
    [
        "frame of objects",
        "frame with objects",
        "Float32",
        "narwhals of polars Int64",
        "arrow float64",
        "arrow batch",
    ],
)
def test_names_of_columns_are_kept(kind):
    make, X = KINDS[kind]
    assert small_map().fit(make(X)).feature_names_in_.tolist() == NAMES


def test_big_endian_memory_map_stays_float32(tmp_path):
    np.save(tmp_path / "X.npy", MISSING32.astype(">f4"))
    on_disk, som = np.load(tmp_path / "X.npy", mmap_mode="r"), small_map().fit(MISSING32)
    assert_same(small_map().fit(on_disk).codebook_, som.codebook_)
    for method in METHODS:
        assert_same(getattr(som, method)(on_disk), getattr(som, method)(MISSING32))


def test_list_of_float32_rows_is_float64():
    assert small_map().fit(list(FULL32)).codebook_.dtype == np.float64


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "float16", "float64", "Int8"])
def test_float32_beside_other_columns_is_float64(dtype):
    frame = pd.DataFrame(FULL32, columns=NAMES).assign(b=INTEGERS[:, 1] > 0)
    frame = frame.astype({"b": dtype})
    expected = small_map().fit(frame.to_numpy(np.float64))
    som = small_map().fit(frame)
    assert_same(som.codebook_, expected.codebook_)
    assert_same(som.transform(frame), expected.transform(frame.to_numpy(np.float64)))


def lazy_frame():
    return pl.LazyFrame(FULL, schema=NAMES)


def array_of_another_device():
    xp = pytest.importorskip("array_api_strict")
    return xp.asarray(FULL, device=xp.Device("device1"))


NOT_IN_MEMORY = r"must be an array that NumPy can read, in main memory\. Got {} instead: "
# Data that are refused, and the sentence after the name of the argument.
REFUSED = {
    "lazy frame": (
        lazy_frame,
        r"must be data in memory\. Got a LazyFrame of polars instead\. Call \.collect\(\) on "
        r"it\.$",
    ),
    "device": (array_of_another_device, NOT_IN_MEMORY.format(r"array_api_strict\..*Array")),
    "sparse tensor": (
        lambda: tf.sparse.from_dense(FULL),
        NOT_IN_MEMORY.format(r"tensorflow\..*SparseTensor") + r"it is not an array of numbers\.$",
    ),
}


@pytest.mark.usefixtures("_dispatch")
@pytest.mark.parametrize("is_fitted", [False, True])
@pytest.mark.parametrize("kind", REFUSED)
def test_data_out_of_reach_are_refused(kind, is_fitted):
    make, sentence = REFUSED[kind]
    data, som = make(), small_map().fit(FULL)
    changed = copy.copy(som) if is_fitted else small_map()
    before = dict(vars(changed))
    for fit in (changed.fit, changed.partial_fit):
        with pytest.raises(TypeError, match=f"^X {sentence}"):
            fit(data)
    with pytest.raises(TypeError, match=f"^sample_weight {sentence}"):
        changed.fit(FULL, sample_weight=data)
    assert vars(changed) == before
    for method in METHODS:
        with pytest.raises(TypeError, match=f"^X {sentence}"):
            getattr(som, method)(data)


@pytest.mark.parametrize("kind", ["masked float64", "masked integers", "objects"])
def test_missing_values_that_a_metric_does_not_allow(kind):
    make, X = KINDS[kind]
    match = r"^The 'metric' parameter of TFSOM must be one of .* for X with missing values \(NaN\)"
    with pytest.raises(ValueError, match=match):
        small_map(metric="cosine").fit(make(X))
    som = small_map(metric="cosine").fit(FULL)
    for method in METHODS:
        with pytest.raises(ValueError, match=match):
            getattr(som, method)(make(X))


def test_masked_samples_are_refused():
    match = r"^Sample 1 of X is missing \(NaN\) in all features\. Remove it\.$"
    X = np.ma.array(FULL, mask=np.arange(60)[:, None] == 1 + np.zeros(4))
    with pytest.raises(ValueError, match=match):
        small_map().fit(X)
    with pytest.raises(ValueError, match=match):
        small_map().fit(FULL).predict(X)


WEIGHTS = np.random.RandomState(1).uniform(0.5, 2, size=60)
WEIGHT_KINDS = {
    "nothing masked": np.ma.array,
    "objects": lambda weights: weights.astype(object),
    "Float64": lambda weights: pd.Series(weights, dtype="Float64"),
    "series of objects": lambda weights: pd.Series(weights, dtype=object),
    "array API": array_api,
    "tensor": tf.constant,
    "arrow": lambda weights: pa.chunked_array([weights]),
    "polars": lambda weights: pl.Series(weights),
}


@pytest.mark.usefixtures("_dispatch")
@pytest.mark.parametrize("kind", WEIGHT_KINDS)
def test_weights_equal_a_numpy_array(kind):
    weights = WEIGHT_KINDS[kind](WEIGHTS)
    som = small_map().fit(FULL, sample_weight=WEIGHTS)
    assert_same(small_map().fit(FULL, sample_weight=weights).codebook_, som.codebook_)
    assert som.score(FULL, sample_weight=weights) == som.score(FULL, sample_weight=WEIGHTS)


@pytest.mark.parametrize(
    "weights",
    [
        np.ma.array(WEIGHTS, mask=WEIGHTS > 1),
        pd.Series([pd.NA, *WEIGHTS[1:]], dtype="Float64"),
        pd.Series([pd.NA, *WEIGHTS[1:]], dtype=object),
        [pd.NA, *WEIGHTS[1:]],
        pa.chunked_array([pa.array([None, *WEIGHTS[1:]]).dictionary_encode()]),
    ],
    ids=["masked", "Float64", "series of objects", "list", "dictionary"],
)
def test_missing_weights_are_refused(weights):
    for use in (small_map().fit, small_map().partial_fit, small_map().fit(FULL).score):
        with pytest.raises(ValueError, match=r"^Input sample_weight contains NaN\.$"):
            use(FULL, sample_weight=weights)


def test_masked_codebook_is_refused():
    codebook = np.ma.array(FULL[:9], mask=FULL[:9] > 5)
    match = (
        r"parameter of TFSOM must be .*an array-like of finite numbers of shape \(n_units, "
        r"n_features\)\. Got an array with masked values, of shape \(9, 4\) and dtype float64"
    )
    with pytest.raises(ValueError, match=f"^The 'codebook' {match}"):
        TFSOM.from_codebook(codebook, grid_size=3)
    with pytest.raises(ValueError, match=f"^The 'init' {match}"):
        small_map(init=codebook).fit(FULL)


@pytest.mark.parametrize("kind", [list, tuple])
def test_masked_code_vectors_in_a_list_are_refused(kind):
    codebook = kind(np.ma.array(FULL[:9], mask=FULL[:9] > 5))
    match = "parameter of TFSOM must be .*an array-like of finite numbers"
    with pytest.raises(ValueError, match=f"^The 'codebook' {match}"):
        TFSOM.from_codebook(codebook, grid_size=3)
    with pytest.raises(ValueError, match=f"^The 'init' {match}"):
        small_map(init=codebook).fit(FULL)


@pytest.mark.usefixtures("_dispatch")
@pytest.mark.parametrize(
    "make", [array_api, tf.constant, lambda X: X.astype(">f4"), np.ma.array, arrow_table]
)
def test_codebook_of_another_library(make):
    som = TFSOM.from_codebook(make(FULL32[:9]), grid_size=3)
    assert_same(som.codebook_, FULL32[:9])


@pytest.mark.parametrize("dtype", [int, str, float])
def test_masked_classes_are_missing(dtype):
    y = (np.arange(60) % 3).astype(dtype)
    is_masked = np.arange(60) % 7 == 0
    expected = classes_of(np.where(is_masked, None, y.astype(object)), 60, "")
    found = classes_of(np.ma.array(y, mask=is_masked), 60, "")
    assert found.names == expected.names == ["0", "1", "2", "missing"]
    assert_array_equal(found.codes, expected.codes)


def test_nullable_classes():
    y = pd.array([0, pd.NA, 2, 0], dtype="Int64")
    assert classes_of(y, 4, "").names == ["0", "2", "missing"]


@pytest.mark.parametrize(
    ("y", "names"),
    [
        ([2**53 + 1, 2**53, 1.0, 2.0], ["1.0", "2.0", "9007199254740992", "9007199254740993"]),
        ([True, 1, "a", False], ["1", "False", "True", "a"]),
        ([1, True, "a", False], ["1", "False", "True", "a"]),
        ([True, False, True, None], ["False", "True", "missing"]),
        ([10**400, 1.0, 1.0, 1.0], ["1.0", str(10**400)]),
    ],
)
def test_different_labels_stay_different(y, names):
    found = classes_of(np.array(y, dtype=object), 4, "")
    assert found.names == names


@pytest.mark.parametrize(
    "make",
    [
        lambda y: y,
        lambda y: y.astype(np.float16),
        lambda y: y.astype(">f4"),
        lambda y: pd.DataFrame({"y": pd.Series(y, dtype="Float32")}),
        lambda y: pa.chunked_array([y]),
        pl.Series,
    ],
)
@pytest.mark.parametrize("missing", [[], [np.nan]])
def test_names_of_short_floats_have_no_rounding_errors(make, missing):
    found = classes_of(
        make(np.array([*[0.1, 2, 0.3] * 2, *missing], np.float32)), 6 + len(missing), ""
    )
    assert found.names == ["0.1", "0.3", "2.0", *["missing"] * len(missing)]


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64(), pa.timestamp("s")])
def test_missing_classes_of_arrow_dictionaries(kind):
    half, quarter = np.array([0.5, 0.25], np.float16 if kind == pa.float16() else np.float64)
    values = [1, None, 2, 1] if kind == pa.timestamp("s") else [half, None, quarter, half]
    try:
        dictionaries = pa.array(5 * values, kind).dictionary_encode()
    except pa.ArrowNotImplementedError:  # of halves, in old versions
        pytest.skip("this pyarrow has no such dictionaries")
    assert classes_of(pa.chunked_array([dictionaries]), 20, "").names[2:] == ["missing"]


LARGE = [2**60, 2**60 + 1, None, 7]
FINE = np.array(["2020-01-01T00:00:00.000000001", "2020-01-01", "NaT", "2021-01-01"], "M8[ns]")


@pytest.mark.parametrize(
    "make",
    [
        pl.Series,
        pa.array,
        lambda y: pa.chunked_array([y[:1], y[1:]]),
        lambda y: pa.chunked_array([pa.array(y).dictionary_encode()]),
        lambda y: pd.Series(y, dtype="Int64"),
        lambda y: pd.Series(y, dtype="Int64").astype("category"),
        pd.Categorical,
        pd.CategoricalIndex,
        lambda y: pd.Series(pd.Categorical(y)),
        lambda y: pd.DataFrame({"y": pd.array(y, dtype="Int64")}),
        lambda y: pl.DataFrame({"y": y}),
        lambda y: pa.table({"y": y}),
    ],
)
def test_integers_beside_missing_ones_keep_their_digits(make):
    found = classes_of(make(LARGE), 4, "")
    assert found.names == ["7", str(2**60), str(2**60 + 1), "missing"]
    assert found.codes.tolist() == [1, 2, 3, 0]


@pytest.mark.parametrize(
    "make",
    [
        pl.Series,
        pa.array,
        lambda y: pd.DataFrame({"y": y}),
        lambda y: pl.DataFrame({"y": y}),
        lambda y: pa.table({"y": y}),
    ],
)
def test_fine_times_of_tables_stay_different(make):
    expected, found = (classes_of(y, 4, "") for y in (FINE, make(FINE)))
    assert len(found.names) == 4
    assert found.names == expected.names
    assert_array_equal(found.codes, expected.codes)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(pd.Categorical(["low", "high", "mid"], ["low", "mid", "high"])),
        pd.Series(pd.Categorical(np.arange(60) / 7)),
        pl.Series(["low", "high", "mid"], dtype=pl.Enum(["low", "mid", "high"])),
    ],
    ids=["texts", "fractions", "polars"],
)
def test_categories_in_a_frame_of_one_column(column):
    expected, found = (classes_of(y, len(column), "") for y in (column, column.to_frame()))
    assert found.names == expected.names
    assert_array_equal(found.codes, expected.codes)


def test_labels_of_several_values():
    y = np.empty(4, dtype=object)
    y[:] = [(1, 2), (3,), (1, 2), (3,)]
    assert classes_of(y, 4, "").labels.tolist() == [(1, 2), (3,)]

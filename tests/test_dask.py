"""Maps of Dask's collections are those of one process; predictions are lazy."""

import itertools
import pickle
import pickletools
import threading

import cloudpickle
import dask
import dask.array as da
import dask.bag
import dask.dataframe as dd
import engines
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

import sklearn_tfsom.dask
from sklearn_tfsom import TFSOM
from sklearn_tfsom.dask import fit, predict, transform

NAMES = ["length", "width", "wave", "area", "square"]


@pytest.fixture(autouse=True)
def few_threads():
    """Tests run beside each other."""
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


def chunked(X):
    """Divide samples unevenly; some partitions are empty."""
    ends = [*engines.boundaries(len(X)), len(X)]
    chunks = tuple(np.diff(ends).tolist())
    return da.from_array(X, chunks=(chunks, *((X.shape[1],) if X.ndim == 2 else ())))


@pytest.mark.parametrize("case", engines.CASES)
def test_equals_one_process(case):
    parameters, kind = engines.CASES[case]
    X, weights = engines.samples_of(kind)
    expected = TFSOM(**parameters).fit(X, sample_weight=weights)
    som = fit(TFSOM(**parameters), chunked(X), weights)
    engines.check_equal(som, expected, 1e-5 if kind == "float32" else 1e-8)
    labels, features = predict(som, chunked(X)), transform(som, chunked(X))
    assert labels.chunks == features.chunks[:1] == chunked(X).chunks[:1]
    assert labels.dtype == np.int64
    engines.check_predictions(som, X, labels.compute(), features.compute())


def test_columns_in_chunks():
    X, _ = engines.samples_of("dense")
    split = da.from_array(X, chunks=(700, 2))
    som, expected = fit(TFSOM(6, max_iter=5), split), TFSOM(6, max_iter=5).fit(X)
    engines.check_equal(som, expected)
    assert_array_equal(predict(som, split), expected.predict(X))


def test_sparse_chunks():
    X, weights = engines.samples_of("dense")
    X[X < 2.5] = 0
    sparse = chunked(X).map_blocks(csr_array)
    expected = TFSOM(7, max_iter=5).fit(csr_array(X), sample_weight=weights)
    som = fit(TFSOM(7, max_iter=5), sparse, da.from_array(weights, chunks=999))
    assert_allclose(som.codebook_, expected.codebook_, 1e-8, 1e-8)
    assert_allclose(som.hits_, expected.hits_)
    assert_allclose(som._residuals, expected._residuals, 1e-6, 1e-8)
    errors = [each.history_["quantization_error"] for each in (som, expected)]
    assert_allclose(*errors, 1e-5)
    assert_array_equal(predict(som, sparse), expected.predict(csr_array(X)))


@pytest.mark.parametrize("weighted_by", ["name", "series", None])
def test_data_frames(weighted_by):
    X, weights = engines.samples_of("missing")
    frame = pd.DataFrame(X, columns=NAMES, index=np.arange(len(X)) * 3 + 5)
    given = dd.from_pandas(frame.assign(w=weights) if weighted_by == "name" else frame, 4)
    sample_weight = {"name": "w", "series": dd.from_pandas(frame.assign(w=weights), 4)["w"]}
    parameters = {"grid_size": 7, "max_iter": 5}
    som = fit(TFSOM(**parameters), given, sample_weight.get(weighted_by))
    expected = TFSOM(**parameters).fit(frame, sample_weight=weights if weighted_by else None)
    engines.check_equal(som, expected)
    assert_array_equal(som.feature_names_in_, NAMES)
    labels, distances = predict(som, given), transform(som, given)
    assert labels.npartitions == distances.npartitions == given.npartitions
    assert list(distances.columns) == list(som.get_feature_names_out())
    assert_array_equal(labels.compute().index, frame.index)
    assert_array_equal(distances.compute().index, frame.index)
    engines.check_predictions(som, frame, labels.compute(), distances.compute().to_numpy())


def of_partitions(*frames):
    """Return a collection of data frames whose columns may differ from those of the first."""
    parts = [dask.delayed(frame) for frame in frames]
    return dd.from_delayed(parts, meta=frames[0][:0], verify_meta=False)


def test_partitions_with_columns_in_other_orders():
    X, weights = engines.samples_of("missing")
    frame = pd.DataFrame(X, columns=NAMES).assign(w=weights)
    data = of_partitions(frame[:2000], frame[2000:2000], frame[2000:].iloc[:, ::-1])
    som = fit(TFSOM(6, max_iter=5), data, "w")
    expected = TFSOM(6, max_iter=5).fit(frame[NAMES], sample_weight=weights)
    engines.check_equal(som, expected)
    assert_array_equal(predict(som, data), expected.predict(frame[NAMES]))


def test_partitions_with_columns_in_other_orders_without_names():
    """Names that are not texts are not names of features, but tell columns apart."""
    frame = pd.DataFrame(engines.samples_of("dense")[0])
    data = of_partitions(frame[:2000], frame[2000:].iloc[:, ::-1])
    som = TFSOM(6, max_iter=5).fit(frame)
    assert not hasattr(som, "feature_names_in_")
    assert_array_equal(predict(som, data), som.predict(frame))
    assert_allclose(transform(som, data).compute(), som.transform(frame), rtol=1e-12)


INTEGERS = {"length": np.int8, "width": bool}


@pytest.mark.parametrize("dtype", [np.float32, "Float32", "float64", np.float16, INTEGERS])
def test_dtype_of_lazy_results(dtype):
    frame = pd.DataFrame(engines.samples_of("dense")[0], columns=NAMES, dtype=np.float32)
    frame = frame.astype(dtype)
    given = dd.from_pandas(frame, 3)
    distances = transform(fit(TFSOM(3, max_iter=2), given), given)
    assert_array_equal(distances.dtypes, distances.compute().dtypes)


@pytest.mark.parametrize(
    ("dtype", "convert"),
    [(">f4", np.asarray), *itertools.product(["f4", "f8"], [np.asarray, csr_array])],
)
def test_chunk_without_samples_has_the_dtype_of_the_others(dtype, convert):
    X = engines.samples_of("dense")[0].astype(dtype)
    data = da.from_array(X, chunks=((len(X), 0), X.shape[1])).map_blocks(convert)
    distances = transform(TFSOM(3, max_iter=2).fit(X), data)
    computed = [part.compute() for part in distances.to_delayed().ravel()]
    native = np.dtype(dtype).newbyteorder("=")
    assert [part.dtype for part in (distances, *computed)] == [native] * 3


def test_tasks_are_independent_of_the_number_of_training_samples():
    X, _ = engines.samples_of("dense")
    data = da.zeros((20, 5), chunks=(10, 5))
    sizes = [
        len(cloudpickle.dumps(dict(predict(TFSOM(4, max_iter=2).fit(rows), data).dask)))
        for rows in (X, np.tile(X, (10, 1)))
    ]
    assert sizes[1] < 1.1 * sizes[0]


def test_tasks_are_independent_of_the_start():
    X, _ = engines.samples_of("few")
    init = np.tile(X[:1], (900, 1))
    som = TFSOM(30, init=init, random_state=np.random.RandomState(0), max_iter=1).fit(X)
    labels = predict(som, da.from_array(X))
    assert som.init is init
    sent = cloudpickle.dumps(dict(labels.dask))
    som.set_params(init="pca", random_state=None)
    assert len(sent) == len(cloudpickle.dumps(dict(predict(som, da.from_array(X)).dask)))


def test_callbacks_do_not_travel():
    """A map whose callbacks cannot be pickled can be fitted, and applied."""
    pytest.importorskip("sklearn.callback")

    class Locked:
        """A callback that keeps a lock."""

        def __init__(self):
            self.lock, self.maps = threading.Lock(), []

        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context, **values):
            pass

        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            self.maps.append(fitted_estimator)

    X, _ = engines.samples_of("few")
    callback, collection = Locked(), da.from_array(X, chunks=(100, 5))
    som = fit(TFSOM(4, max_iter=2).set_callbacks(callback), collection)
    for each in (som, callback.maps[0]):
        labels = predict(each, collection)
        cloudpickle.dumps(dict(labels.dask))
        assert_array_equal(labels, each.predict(X))


class KeepingCallback:
    """A callback that keeps the map of each task, and raises at the end of the fit if asked to."""

    def __init__(self, fails=False):
        self.fails, self.maps = fails, []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        if self.fails:
            raise OSError("in teardown")

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self.maps.append(fitted_estimator)


def test_callbacks_get_no_labels_of_a_former_fit():
    pytest.importorskip("sklearn.callback")
    X, _ = engines.samples_of("dense")
    expected = TFSOM(6, max_iter=3).fit(X)
    som = TFSOM(6, max_iter=3).fit(X[:20])
    labels = som.labels_.copy()
    with pytest.raises(OSError, match="in teardown"):
        fit(som.set_callbacks(KeepingCallback(fails=True)), chunked(X))
    assert_array_equal(som.labels_, labels)
    callback = KeepingCallback()
    fit(som.set_callbacks(callback), chunked(X))
    assert len(callback.maps) == 4
    assert not any(hasattr(each, "labels_") for each in callback.maps)
    assert_array_equal(callback.maps[-1].predict(X), expected.labels_)


def test_warnings_name_the_line_that_called_fit():
    X, _ = engines.samples_of("few")
    with pytest.warns(ConvergenceWarning) as caught:
        fit(TFSOM(4, max_iter=2, n_clusters=3), chunked(np.repeat(X[:2], 50, axis=0)))
    assert len(caught) == 2
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize("as_frame", [False, True])
@pytest.mark.parametrize(
    ("features", "error"), [("bad", "'features'"), ("activations", "error is not known")]
)
def test_transform_checks_features_at_the_call(as_frame, features, error):
    data = dd.from_dask_array(ARRAY) if as_frame else ARRAY
    som = TFSOM.from_codebook(np.eye(4, 3), grid_size=2).set_params(features=features)
    with pytest.raises(ValueError, match=error):
        transform(som, data)


@pytest.mark.parametrize("as_frame", [False, True])
def test_lazy_results_are_those_of_the_map_at_the_call(as_frame):
    X, _ = engines.samples_of("dense")
    data = chunked(X)
    if as_frame:
        data = dd.from_pandas(pd.DataFrame(X), 3)
    som = TFSOM(4, max_iter=2).fit(X)
    labels, distances = predict(som, data), transform(som, data)
    expected = som.predict(X), som.transform(X)
    som.set_params(features="coordinates", radius_end=0.1).partial_fit(10 * X)
    assert_array_equal(labels.compute(), expected[0])
    assert_allclose(distances.compute(), expected[1])


def test_one_weight_for_all():
    X, _ = engines.samples_of("dense")
    som = fit(TFSOM(4, max_iter=2), chunked(X), 2)
    assert_allclose(som.hits_.sum(), 2 * len(X))


def test_incomplete_samples_of_weight_0_do_not_change_imputed_values():
    X, _ = engines.samples_of("dense")
    gappy, weights = X.copy(), (np.arange(len(X)) % 7 > 0).astype(float)
    gappy[::7, 1:] = np.nan
    som = fit(TFSOM(5, max_iter=5), chunked(gappy), weights)
    expected = TFSOM(5, max_iter=5).fit(X, sample_weight=weights)
    assert_allclose(som.impute(gappy), expected.impute(gappy), rtol=1e-8)


def test_weights_are_compared_with_those_of_all_partitions():
    """Weights that are nothing of the total do not count, whatever their partition weighs."""
    X, weights = engines.samples_of("missing")
    weights[X[:, 0] < 4] *= 1e-308
    data = da.from_array(X[np.argsort(X[:, 0])], chunks=(500, 5))
    weights = weights[np.argsort(X[:, 0])]
    expected = TFSOM(5, max_iter=5).fit(data.compute(), sample_weight=weights)
    engines.check_equal(fit(TFSOM(5, max_iter=5), data, weights), expected)
    weights = np.where(np.arange(len(X)) < 5, 1, 1e-307)
    with pytest.raises(ValueError, match="n_samples=5 must be at least n_clusters=7"):
        fit(TFSOM(3, n_clusters=7), data, weights)


def test_partitions_of_unknown_length():
    X, _ = engines.samples_of("dense")
    frame = dd.from_pandas(pd.DataFrame(X, columns=NAMES), 5)
    of_frame = frame[frame["length"] > 100].to_dask_array()  # nothing is left
    with pytest.raises(ValueError, match="at least one sample"):
        fit(TFSOM(4), of_frame)
    left = frame[frame["length"] > 3]
    som = fit(TFSOM(5, max_iter=5), left.to_dask_array())
    engines.check_equal(som, TFSOM(5, max_iter=5).fit(X[X[:, 0] > 3]))
    assert_array_equal(predict(som, left.to_dask_array()), som.predict(X[X[:, 0] > 3]))


def test_checkpoint(tmp_path):
    X, weights = engines.samples_of("dense")
    calls = []

    class StopError(Exception):
        pass

    class Failing(TFSOM):
        """A map whose fit fails in an epoch."""

    som = Failing(8, coarse_to_fine=False, checkpoint_dir=tmp_path, tol=0, max_iter=6)
    original = sklearn_tfsom._som.record

    def record(*arguments):
        original(*arguments)
        calls.append(1)
        if len(calls) == 4:
            raise StopError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sklearn_tfsom._som, "record", record)
        with pytest.raises(StopError):
            fit(som, chunked(X), weights)
    assert not hasattr(som, "codebook_")
    assert len(list(tmp_path.iterdir())) == 1
    continued = fit(TFSOM(**som.get_params()), chunked(X), weights)
    assert not list(tmp_path.iterdir())
    parameters = {**som.get_params(), "checkpoint_dir": None}
    engines.check_equal(continued, TFSOM(**parameters).fit(X, sample_weight=weights))


def test_verbose(capsys):
    X, _ = engines.samples_of("dense")
    fit(TFSOM(5, verbose=1, max_iter=2), chunked(X))
    assert capsys.readouterr().out.count("[TFSOM] epoch") == 2


def test_names_of_tasks():
    X, _ = engines.samples_of("dense")
    seen = set()

    class Names(dask.callbacks.Callback):
        def _start_state(self, graph, state):
            seen.update(dask.utils.key_split(key) for key in graph)

    with Names():
        fit(TFSOM(5, max_iter=3, coarse_to_fine=False, tol=0), chunked(X))
    assert {"tfsom_check", "tfsom_epoch_1", "tfsom_epoch_3"} <= seen


def name_of(keys):
    """Return the name of the tasks that a scheduler is to compute."""
    return dask.utils.key_split(keys[0][0] if isinstance(keys[0], tuple) else keys[0])


# Parameters, kind of data, and the passes that the guide states in addition to the epochs
PASSES = [
    ({}, "dense", 8),
    ({"coarse_to_fine": False}, "dense", 5),
    ({"init": "random"}, "dense", 5 + 1),
    ({"init": "sample"}, "dense", 5 + 2),
    ({"grid_size": "auto"}, "dense", 8 + 1),
    ({"n_clusters": 1}, "dense", 8 + 4),
    ({"n_clusters": 3}, "dense", 8 + 5),  # samples without clusters
    ({"compute_topographic_error": True}, "dense", 8 + 3),
    ({}, "missing", 8 + 2),
    ({}, "outliers", 8 + 4),
]


@pytest.mark.parametrize(("parameters", "kind", "expected"), PASSES)
def test_passes_over_the_data(parameters, kind, expected):
    X, _ = engines.samples_of(kind)
    names = []

    def get(graph, keys, **options):
        names.append(name_of(keys))
        return dask.threaded.get(graph, keys, **options)

    with dask.config.set(scheduler=get):
        fit(TFSOM(**{"grid_size": 6, "max_iter": 3, **parameters}), chunked(X))
    assert sum("epoch" not in name for name in names) == expected


def sizes_of_results(X):
    """Return the largest number of bytes that reaches the client, by the function of a pass."""
    sizes = {}

    def get(graph, keys, **options):
        results = dask.threaded.get(graph, keys, **options)
        name = name_of(keys)
        sizes[name] = max(sizes.get(name, 0), len(pickle.dumps(results)))
        return results

    with dask.config.set(scheduler=get):
        fit(TFSOM(6, n_clusters=3, max_iter=3), da.from_array(X, chunks=(9000, 30)))
    return sizes


def test_rows_stay_on_the_workers():
    """Only a subsample reaches the client; no other result depends on the number of samples."""
    X, _ = engines.samples_of("dense")
    X = np.tile(X, (10, 6)) + np.random.default_rng(0).normal(size=(60_000, 30))
    few, many = sizes_of_results(X[:30_000]), sizes_of_results(X)
    assert 0 < many.pop("tfsom_chosen") < X.nbytes / 3
    names = few.keys() & many.keys()
    assert names >= {
        "tfsom_scatter",
        "tfsom_epoch_3",
        "tfsom_assign_and_sum_piece",
        "tfsom_gather",
    }
    for name in names:
        assert many[name] < 1.1 * few[name], name


def test_equal_rows_reach_the_client_once():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5000, 30))
    sizes = sizes_of_results(rows[rng.integers(5000, size=60_000)])
    assert 0 < sizes["tfsom_chosen"] < 1.2 * rows.nbytes


def test_fitted_map_needs_no_engine():
    """Nothing in its pickle is of Dask or TensorFlow."""
    X, _ = engines.samples_of("dense")
    som = fit(TFSOM(5, max_iter=2), chunked(X))
    pickled = pickle.dumps(som, protocol=2)  # names modules and classes in one opcode
    modules = {
        name.split()[0] for code, name, _ in pickletools.genops(pickled) if code.name == "GLOBAL"
    }
    assert {each.split(".")[0] for each in modules} <= {"numpy", "sklearn_tfsom", "_codecs"}
    assert "sklearn_tfsom._som" in modules and "sklearn_tfsom.dask" not in modules


ARRAY = da.from_array(np.arange(60.0).reshape(20, 3) % 7, chunks=(6, 3))


def test_weights_in_a_bag():
    """It has no dimensions."""
    weights = np.arange(20.0)
    bag = dask.bag.from_sequence(weights.tolist(), npartitions=4)
    expected = TFSOM(2).fit(ARRAY.compute(), sample_weight=weights)
    engines.check_equal(fit(TFSOM(2), ARRAY.rechunk((5, 3)), bag), expected)


INVALID = [
    ("som", lambda: fit(3, ARRAY), TypeError, "som must be a TFSOM. Got int"),
    ("array", lambda: fit(TFSOM(2), np.eye(3)), TypeError, "data must be a dask.*Got ndarray"),
    (
        "1-d",
        lambda: fit(TFSOM(2), ARRAY[:, 0]),
        TypeError,
        "data must be a dask.array.Array of two",
    ),
    ("parameter", lambda: fit(TFSOM(0), ARRAY), ValueError, "grid_size"),
    (
        "batches",
        lambda: fit(TFSOM(2, batch_size=4), ARRAY),
        ValueError,
        "'batch_size'.* None for",
    ),
    (
        "lists",
        lambda: fit(TFSOM(2), ARRAY.map_blocks(np.ndarray.tolist, meta=np.empty((0, 0)))),
        ValueError,
        r"In a partition of X: X must have 2 dimensions. Got \[\[",
    ),
    (
        "infinite",
        lambda: fit(TFSOM(2), da.where(ARRAY > 5, np.inf, ARRAY)),
        ValueError,
        "In a partition of X: .*infinity",
    ),
    (
        "empty row",
        lambda: fit(
            TFSOM(2), da.where(ARRAY > 5, np.nan, ARRAY) * np.array([np.nan, 1, 1]) * np.nan
        ),
        ValueError,
        "missing .NaN. in all features",
    ),
    ("length", lambda: fit(TFSOM(2), ARRAY, np.ones(3)), ValueError, "20 samples.*shape .3,."),
    (
        "partitions",
        lambda: fit(TFSOM(2), ARRAY, dd.from_pandas(pd.Series(np.ones(20)), 2)),
        ValueError,
        "sample_weight must be divided like the samples, into 4 partitions. Got 2",
    ),
    (
        "unknown lengths",
        lambda: fit(TFSOM(2), ARRAY[ARRAY[:, 0] > 0], np.ones(20)),
        ValueError,
        "sample_weight must be a collection of Dask or .*Got ndarray",
    ),
    (
        "length of an empty partition",
        lambda: fit(
            TFSOM(2), ARRAY[da.arange(20, chunks=6) > 5], da.ones(16, chunks=((2, 6, 6, 2),))
        ),
        ValueError,
        r"In a partition of X: sample_weight must have .* each of the 0 samples.*shape \(2,\)",
    ),
    (
        "length of a collection",
        lambda: fit(TFSOM(2), ARRAY, da.ones(19, chunks=5)),
        ValueError,
        "20 samples.*shape .19,.",
    ),
    ("one dimension", lambda: fit(TFSOM(2), ARRAY[:, 0]), TypeError, "Got Array of 1 dimensions"),
    (
        "columns",
        lambda: predict(
            TFSOM(2).fit(pd.DataFrame(np.eye(3), columns=["a", "b", "c"])),
            dd.from_pandas(pd.DataFrame({"a": [1.0, 2]}), 1),
        ),
        ValueError,
        "data must have the columns .* Got none named \\['b', 'c'\\]",
    ),
    (
        "columns of a partition",
        lambda: fit(
            TFSOM(2),
            of_partitions(
                pd.DataFrame({"a": [1.0, 2], "b": [2.0, 1]}),
                pd.DataFrame({"a": [1.0, 2], "c": [2.0, 1]}),
            ),
        ),
        ValueError,
        "In a partition of X: data must have the columns .* Got none named \\['b'\\]",
    ),
    (
        "only weights",
        lambda: fit(TFSOM(2), dd.from_pandas(pd.DataFrame({"a": [1.0, 2]}), 1), "a"),
        ValueError,
        "data must have a column beside 'a'",
    ),
    (
        "features of a data frame",
        lambda: predict(
            TFSOM(2).fit(np.eye(4)), dd.from_pandas(pd.DataFrame({"a": [1.0], "b": [2.0]}), 1)
        ),
        ValueError,
        "data must have the map's 4 features. Got 2",
    ),
    (
        "masked weight",
        lambda: fit(TFSOM(2), ARRAY, np.ma.masked_array(np.ones(20), np.arange(20) == 7)),
        ValueError,
        "Input sample_weight contains NaN",
    ),
    (
        "delayed weights",
        lambda: fit(TFSOM(2), ARRAY, dask.delayed(np.ones(20))),
        TypeError,
        "sample_weight must be a collection of Dask. Got Delayed .*dask.array.from_delayed",
    ),
    (
        "scalar of weights",
        lambda: fit(TFSOM(2), ARRAY, ARRAY.to_dask_dataframe()[0].sum()),
        TypeError,
        "sample_weight must be a collection of Dask. Got Scalar instead, a single number",
    ),
    (
        "delayed samples",
        lambda: fit(TFSOM(2), dask.delayed(np.eye(3))),
        TypeError,
        "data must be a collection of Dask. Got Delayed .*dask.array.from_delayed",
    ),
    (
        "unknown number of columns",
        lambda: fit(TFSOM(2), ARRAY[:, ARRAY[0] > 0]),
        ValueError,
        r"data must have a known number of columns. Call compute_chunk_sizes\(\)",
    ),
    (
        "unknown number of columns, predict",
        lambda: predict(TFSOM(2).fit(np.eye(3)), ARRAY[:, ARRAY[0] > 0]),
        ValueError,
        r"data must have a known number of columns. Call compute_chunk_sizes\(\)",
    ),
    (
        "no partition",
        lambda: fit(TFSOM(2), dd.from_pandas(pd.DataFrame({"a": [1.0, 2]}), 1).partitions[0:0]),
        ValueError,
        "X must have at least one sample. Got no sample in any partition",
    ),
    (
        "too large weights",
        lambda: fit(TFSOM(2), ARRAY, np.full(20, 2e307)),
        ValueError,
        "^sample_weight contains values too large to sum. Divide it by its largest value.$",
    ),
    ("negative", lambda: fit(TFSOM(2), ARRAY, -np.ones(20)), ValueError, "negative"),
    ("zero", lambda: fit(TFSOM(2), ARRAY, np.zeros(20)), ValueError, "positive weight"),
    ("clusters", lambda: fit(TFSOM(6, n_clusters=30), ARRAY), ValueError, "n_clusters"),
    (
        "column",
        lambda: fit(TFSOM(2), dd.from_pandas(pd.DataFrame({"a": [1.0, 2]}), 1), "b"),
        ValueError,
        "sample_weight must name a column of the data, one of \\['a'\\]. Got 'b'",
    ),
    (
        "column of an array",
        lambda: fit(TFSOM(2), ARRAY, "w"),
        ValueError,
        "name of a column only of a data frame. Got 'w' with an array",
    ),
    (
        "features",
        lambda: predict(TFSOM(2).fit(np.eye(4)), ARRAY),
        ValueError,
        "data must have the map's 4 features. Got 3",
    ),
]


@pytest.mark.parametrize(
    ("call", "error", "message"), [row[1:] for row in INVALID], ids=[row[0] for row in INVALID]
)
def test_invalid(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_directory_that_cannot_be_made_is_refused_before_samples_are_read():
    def read(block):
        raise AssertionError("a sample was read")

    samples = ARRAY.map_blocks(read, meta=np.empty((0, 0)))
    with pytest.raises(ValueError, match=r"'checkpoint_dir'.* in which files can"):
        fit(TFSOM(2, checkpoint_dir=__file__), samples)


def test_collections_are_refused():
    for X in (ARRAY, dd.from_pandas(pd.DataFrame({"a": [1.0, 2]}), 1)):
        with pytest.raises(
            TypeError, match=r"collection of Dask.*sklearn_tfsom.dask.fit\(som, X\)"
        ):
            TFSOM(2).fit(X)


@pytest.mark.parametrize("seed", range(10))
def test_score_equals_the_error_of_the_fit_beside_weights_of_0(seed):
    rng = np.random.RandomState(seed)
    X, weights = rng.normal(size=(40, 2)), rng.uniform(size=40) * rng.randint(2, size=40)
    collections = da.from_array(X, chunks=(40, 2)), da.from_array(weights, chunks=40)
    som = fit(TFSOM((2, 2), max_iter=2), *collections)
    assert som.score(X, sample_weight=weights) == -som.quantization_error_

"""Maps of Ray's datasets are those of one process. `make test-engines` runs this."""

import contextlib
import itertools
import os
import pickle
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import engines
import numpy as np
import pandas as pd
import pytest
import ray
from numpy.testing import assert_array_equal

from sklearn_tfsom import TFSOM, InvalidParameterError
from sklearn_tfsom.ray import fit, predict, transform

NAMES = list("abcde")

# Ray warns of its own deprecations.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::ResourceWarning",
    "ignore:Use .expr.:UserWarning",
)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def dataset(frame):
    """Divide rows unevenly; some blocks are empty."""
    ends = [*engines.boundaries(len(frame)), len(frame)]
    return ray.data.from_pandas([frame[first:last] for first, last in itertools.pairwise(ends)])


@pytest.mark.parametrize("case", engines.CASES)
def test_equals_one_process(case):
    parameters, kind = engines.CASES[case]
    X, weights = engines.samples_of(kind)
    frame = pd.DataFrame(X, columns=NAMES)
    data = dataset(frame.assign(w=weights))
    expected = TFSOM(**parameters).fit(frame, sample_weight=weights)
    som = fit(TFSOM(**parameters), data, "w")
    engines.check_equal(som, expected, 1e-5 if kind == "float32" else 1e-8)
    assert_array_equal(som.feature_names_in_, NAMES)
    predicted, transformed = predict(som, data).to_pandas(), transform(som, data).to_pandas()
    assert list(predicted.columns) == [*NAMES, "w", "prediction"]
    for frame in (predicted, transformed):  # rows may come in any order
        frame.sort_values(["b", "c", "d"], inplace=True)
    features = np.stack(list(transformed[som.features]))
    X = predicted[NAMES].astype(X.dtype)
    engines.check_predictions(som, X, predicted["prediction"].to_numpy(), features)


def test_column_of_arrays():
    X, _ = engines.samples_of("dense")
    data = ray.data.from_numpy(X).repartition(4)
    som = fit(TFSOM(7), data)
    engines.check_equal(som, TFSOM(7).fit(X))
    predicted = predict(som, data).to_pandas()
    assert_array_equal(predicted["prediction"], som.predict(np.stack(list(predicted["data"]))))


def test_predictions_beside_other_columns():
    """A map without names takes the only column of arrays."""
    X, weights = engines.samples_of("few")
    data = dataset(pd.DataFrame({"place": np.arange(len(X)), "x": list(X), "w": weights}))
    som = fit(TFSOM(4, max_iter=3), data.drop_columns(["place"]), "w")
    predicted = predict(som, transform(som, data)).to_pandas()
    assert list(predicted.columns) == ["place", "x", "w", "distances", "prediction"]
    assert_array_equal(predicted["prediction"], som.predict(X[predicted["place"]]))
    assert predict(som, data.filter(lambda row: row["place"] < 0)).count() == 0


def test_parameters_are_checked_before_any_sample_is_read():
    data = ray.data.range(10).map_batches(lambda batch: 1 / 0)
    with pytest.raises(InvalidParameterError, match="'grid_size' parameter of TFSOM must be"):
        fit(TFSOM(-1), data)


def test_blocks_with_columns_in_other_orders():
    X, weights = engines.samples_of("missing")
    frame = pd.DataFrame(X, columns=NAMES).assign(w=weights)
    data = ray.data.from_pandas([frame[:2000], frame[2000:].iloc[:, ::-1]])
    som = fit(TFSOM(6, max_iter=5), data, "w")
    engines.check_equal(som, TFSOM(6, max_iter=5).fit(frame[NAMES], sample_weight=weights))


def test_predictions_for_blocks_with_columns_in_other_orders():
    """A map without names takes the columns of each block in the order of the dataset."""
    X, _ = engines.samples_of("dense")
    frame = pd.DataFrame(X, columns=NAMES)
    data = ray.data.from_pandas([frame[:2000], frame[2000:].iloc[:, ::-1]])
    som = TFSOM(4, max_iter=3).fit(X)
    predicted, transformed = predict(som, data).to_pandas(), transform(som, data).to_pandas()
    features = np.stack(list(transformed["distances"]))
    assert_array_equal(predicted[NAMES], transformed[NAMES])
    labels = predicted["prediction"].to_numpy()
    engines.check_predictions(som, predicted[NAMES].to_numpy(), labels, features)


def test_predictions_are_lazy_and_the_map_travels_without_tensorflow():
    X, _ = engines.samples_of("dense")
    calls = []

    def recorded(batch):
        calls.append(1)
        return batch

    data = dataset(pd.DataFrame(X, columns=NAMES)).map_batches(recorded)
    som = fit(TFSOM(4), dataset(pd.DataFrame(X, columns=NAMES)))
    predict(som, data)
    assert not calls
    assert b"tensorflow" not in pickle.dumps(som)


def kill_a_worker(is_over):
    """Kill a process of Ray while it maps a batch, and return it."""
    while not is_over.wait(0.01):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as file:
                if file.read().startswith("ray::MapBatches(slowly)"):
                    os.kill(int(pid), signal.SIGKILL)
                    return pid
    return None


def test_killed_worker():
    def slowly(batch):  # goes to the workers, which cannot import this module
        time.sleep(0.05)
        return batch

    X, _ = engines.samples_of("dense")
    frame = pd.DataFrame(X, columns=NAMES)
    parameters = {"grid_size": 7, "coarse_to_fine": False, "max_iter": 4, "tol": 0}
    is_over = threading.Event()
    data = ray.data.from_pandas([frame[n::20] for n in range(20)]).map_batches(slowly)
    with ThreadPoolExecutor(1) as threads:
        killed = threads.submit(kill_a_worker, is_over)
        som = fit(TFSOM(**parameters), data)
        is_over.set()
        assert killed.result()
    engines.check_equal(som, TFSOM(**parameters).fit(frame))


def test_operators_are_named_by_epoch(monkeypatch):
    seen, map_batches = [], ray.data.Dataset.map_batches

    def recorded(data, function, **options):
        mapped = map_batches(data, function, **options)
        seen.append(mapped._logical_plan.dag.name)
        return mapped

    monkeypatch.setattr(ray.data.Dataset, "map_batches", recorded)
    frame = pd.DataFrame(engines.samples_of("dense")[0], columns=NAMES)
    fit(TFSOM(4, max_iter=3, coarse_to_fine=False), dataset(frame))
    assert {"MapBatches(tfsom_check)", "MapBatches(tfsom_epoch_3)"} <= set(seen)


def blocks_of_arrays(*blocks):
    return ray.data.from_pandas([pd.DataFrame({"x": block}) for block in blocks])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda data: fit(3, data), TypeError, "som must be a TFSOM. Got int"),
        (lambda data: fit(TFSOM(2), np.eye(3)), TypeError, r"ray.data.Dataset. Got ndarray"),
        (lambda data: fit(TFSOM(2), data, "v"), ValueError, r"must name a column.*Got 'v'"),
        (lambda data: fit(TFSOM(2), data, np.ones(8)), TypeError, "name of a column.*Got ndarray"),
        (lambda data: fit(TFSOM(2, batch_size=2), data), ValueError, "'batch_size'"),
        (
            lambda data: transform(
                TFSOM.from_codebook(np.eye(2), grid_size=(2, 1), features="activations"), data
            ),
            ValueError,
            "quantization error is not known",
        ),
        (
            lambda data: fit(TFSOM(2), data.filter(lambda row: False)),
            ValueError,
            "at least one sample",
        ),
        (
            lambda data: fit(TFSOM(2), data.filter(lambda row: False), "b"),
            ValueError,
            "at least one sample",
        ),
        (
            lambda data: fit(TFSOM(2), blocks_of_arrays([None, [1.0, 2.0], [1.0, 3.0]])),
            ValueError,
            "Sample 0 of X is missing",
        ),
        (
            lambda data: fit(TFSOM(2), blocks_of_arrays([[1.0, 2.0], [1.0, 3.0]], [None, None])),
            ValueError,
            "Sample 0 of X is missing",
        ),
        (
            lambda data: fit(TFSOM(2), data.map_batches(lambda batch: {"a": batch["a"] * np.inf})),
            ValueError,
            "In a partition of X: .*infinity",
        ),
        (
            lambda data: fit(TFSOM(2), blocks_of_arrays([[1.0, 2.0]], [[1.0, 2.0], [3.0]])),
            ValueError,
            "In a partition of X: X must have rows of equal lengths",
        ),
        (
            lambda data: fit(TFSOM(2), blocks_of_arrays(list(np.eye(2, dtype="m8[ns]")))),
            ValueError,
            "X must contain numbers. Got values of dtype timedelta64",
        ),
        (
            lambda data: fit(TFSOM(2), data.union(data.rename_columns({"a": "w"})), "a"),
            ValueError,
            r"In a partition of X: sample_weight must name a column .* one of \['w', 'b'\]",
        ),
        (
            lambda data: predict(
                TFSOM(2).fit(np.eye(2)), data.rename_columns({"b": "prediction"})
            ).take_all(),
            ray.exceptions.RayTaskError,
            "must not have a column 'prediction', which predict adds",
        ),
        (
            lambda data: transform(
                TFSOM(2).fit(np.eye(2)), data.rename_columns({"b": "distances"})
            ).take_all(),
            ray.exceptions.RayTaskError,
            "must not have a column 'distances', which transform adds",
        ),
        (TFSOM(2).fit, TypeError, r"collection of Ray.*sklearn_tfsom.ray.fit\(som, X\)"),
    ],
)
def test_invalid(call, error, message):
    data = ray.data.from_pandas(pd.DataFrame({"a": np.arange(1, 9.0), "b": np.arange(8)}))
    with pytest.raises(error, match=message):
        call(data)

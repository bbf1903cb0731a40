"""Fits by several processes or devices equal those of one process, and failures end all."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from distributed_cases import (
    CASES,
    DIGITS,
    IRIS,
    STOPPED,
    get_results,
    make_map,
    remove_values,
    write_first_shard,
)
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from sklearn_tfsom import TFSOM, Grid
from sklearn_tfsom.distributed import unit_statistics, update_codebook

HERE = Path(__file__).parent
TOLERANCE = {"float32": 1e-6}


def find_free_ports(n):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


OTHER = (
    "ValueError: Worker 1 of this fit refused its parameters or its samples. "
    "See the error that it raised."
)
WHICH = " That of worker 1 is not that of worker 0."
SAME = "ValueError: All workers of a fit must have the same "
# What differs or fails in the second worker: the error that the first one raises.
ERRORS = {
    "unreadable": OTHER,
    "samples": OTHER,
    "features": f"{SAME}number of features.{WHICH}",
    "precision": f"{SAME}precision.{WHICH}",
    "parameters": f"{SAME}parameter 'radius_end'.{WHICH}",
    "parameters of a subclass": f"{SAME}parameter 'radius_end'.{WHICH}",
    "init": f"{SAME}parameter 'init'.{WHICH}",
    "neighborhood": f"{SAME}parameter 'neighborhood'.{WHICH}",
    "equal": "none",
    "empty": "none",
    "batch_size": "InvalidParameterError: The 'batch_size' parameter of TFSOM must be "
    "None where several workers fit a map. Got 64 instead.",
    "partial_fit": "ValueError: partial_fit learns on one worker only: several would each learn a "
    "map of their own. Call it outside of the strategy's scope, or call fit.",
    "none": "none",
}
# What the second worker raises itself where the first one raises `OTHER`.
OWN_ERRORS = {
    "unreadable": "ZeroDivisionError: unreadable",
    "samples": "ValueError: Input X contains infinity or a value too large for dtype('float64').",
}


class Run(NamedTuple):
    """Results of two workers that fit all cases, and then once for each failure."""

    folder: Path
    reports: list[dict[str, dict[str, Any]]]  # of each worker, by failure
    messages: str

    def get_report(self, failure, worker=0):
        assert failure in self.reports[worker], self.messages[-5000:]
        return self.reports[worker][failure]

    def load_results(self, name):
        """Return the results of both workers on a case."""
        paths = [self.folder / f"{name}-{index}.npz" for index in (0, 1)]
        assert all(path.exists() for path in paths), self.messages[-5000:]
        return [np.load(path) for path in paths]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run one pair of workers for all cases and failures: each pair takes seconds to start."""
    folder = tmp_path_factory.mktemp("workers")
    write_first_shard(folder)
    failures = [*ERRORS, "frozen"]
    command = [sys.executable, HERE / "distributed_workers.py"]
    arguments = [json.dumps(find_free_ports(2)), folder, json.dumps([list(CASES), failures])]
    workers = [
        subprocess.Popen(
            [*command, str(index), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in (0, 1)
    ]
    try:
        printed = [workers[0].communicate(timeout=600)]
    finally:
        for worker in workers:
            worker.kill()
    printed.append(workers[1].communicate())
    reports = [
        dict(zip(failures, map(json.loads, out.splitlines()), strict=False)) for out, _ in printed
    ]
    return Run(folder, reports, "".join(errors for _, errors in printed))


class TestWorkers:
    @pytest.mark.parametrize("name", CASES)
    def test_two_workers_equal_one_process(self, run, name):
        params, X, weights, _ = CASES[name]
        som = make_map(name, params).fit(X, sample_weight=weights)
        assert name != STOPPED or som.n_iter_ == 3
        workers = run.load_results(name)
        for key, value in get_results(som).items():
            assert_array_equal(workers[0][key], workers[1][key], err_msg=key)
            scale = np.abs(value).max(initial=0) or 1.0
            # The errors of the history are computed in float32.
            rtol = 1e-6 if "history quant" in key else TOLERANCE.get(name, 1e-8)
            assert_allclose(workers[0][key], value, rtol=0, atol=rtol * scale, err_msg=key)
        labels = np.concatenate([worker["labels"] for worker in workers])
        assert_array_equal(labels, som.labels_)

    def test_one_shard_gives_another_map(self):
        """The test above could not pass if workers ignored each other."""
        params, X, _, (share,) = CASES["defaults"]
        whole = TFSOM(**params).fit(X)
        part = TFSOM(**params).fit(X[: round(share * len(X))])
        assert whole.grid_shape_ != part.grid_shape_


class TestFailure:
    @pytest.mark.parametrize("failure", ERRORS)
    def test_error_of_one_worker_is_raised_by_all(self, run, failure):
        """After it, the workers are still synchronized: the next fit succeeds or fails as well."""
        for worker, errors in enumerate((ERRORS, ERRORS | OWN_ERRORS)):
            report = run.get_report(failure, worker)
            assert report["error"].splitlines()[0] == errors[failure]
            assert report["seconds"] < 60
            assert report["is_unchanged"] == (report["error"] != "none")

    def test_frozen_worker_raises_within_a_minute(self, run):
        """A killed one ends training, too: test_checkpoint.py goes on from there."""
        report = run.get_report("frozen")
        assert report["error"].startswith("RuntimeError: Worker 1 of this fit failed")
        assert report["seconds"] < 60
        assert report["is_unchanged"]


DEVICES = """
import sys
sys.path.insert(0, {here!r})
import tempfile
import tracemalloc
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 3)
from distributed_cases import CASES, get_results
from sklearn_tfsom import TFSOM
strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1", "/cpu:2"])
for name in {names!r}:
    params, X, weights, _ = CASES[name]
    with strategy.scope():
        som = TFSOM(**params).fit(X, sample_weight=weights)
    one = TFSOM(**params).fit(X, sample_weight=weights)
    assert "strategy" not in repr(sorted(vars(som))).lower()
    rtol = 1e-6 if name == "float32" else 1e-9
    results = get_results(som)
    for key, value in get_results(one).items():
        atol = rtol * (np.abs(value).max(initial=0) or 1.0)
        np.testing.assert_allclose(results[key], value, rtol=0, atol=atol, err_msg=key)
    assert (som.labels_ == one.labels_).all()
with strategy.scope():
    TFSOM(3).partial_fit(X)
print("equal")
mapped = np.memmap(tempfile.TemporaryFile(), np.float32, "w+", shape=(2**18, 64))  # 64 MiB
mapped[:1000] = np.random.default_rng(0).normal(size=(1000, 64))
tracemalloc.start()
with strategy.scope():
    TFSOM(2, max_iter=1).fit(mapped)
assert tracemalloc.get_traced_memory()[1] < 48 * 2**20, tracemalloc.get_traced_memory()
tracemalloc.stop()
print("not copied")
with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
    assert (TFSOM(**params).fit(X, sample_weight=weights).codebook_ == one.codebook_).all()
with tf.distribute.experimental.CentralStorageStrategy(["/cpu:0"]).scope():
    try:
        TFSOM(3).fit(X)
    except ValueError as error:
        assert "Got CentralStorageStrategy" in str(error), error
        print("refused")
"""


def test_three_devices_equal_one():
    names = ["float32", "weights", "missing", "cosine", "sparse", "torus"]
    code = DEVICES.format(here=str(HERE), names=names)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split("\n") == ["equal", "not copied", "refused", ""]


RADII = [3, 2, 1.5, 1, 1, 0.85]


class TestUnitStatistics:
    @pytest.mark.parametrize("X", [np.full((5, 3), 1e200), np.full((5, 3), 3e38, np.float32)])
    def test_samples_too_far_from_the_codebook_are_refused(self, X):
        codebook = np.random.RandomState(0).normal(size=(6, 3)) * 1e-12
        with pytest.raises(ValueError, match="exceed the range of float64"):
            unit_statistics(X, codebook)

    @pytest.mark.parametrize(
        ("X", "params"),
        [
            (DIGITS + 1e5, {}),
            (remove_values(DIGITS), {}),
            (csr_array(DIGITS), {"metric": "cosine"}),
            (DIGITS, {"metric": "manhattan", "neighborhood": "epanechnikov"}),
            (DIGITS, {"metric": "correlation", "neighborhood": lambda d, r: 1 / (1 + d / r)}),
        ],
        ids=["far", "missing", "sparse", "manhattan", "correlation"],
    )
    def test_epochs_equal_those_of_fit(self, X, params):
        start_codebook = (DIGITS if params or np.isnan(X).any() else X)[::30]
        weights = np.random.RandomState(0).uniform(size=len(DIGITS))
        metric, neighborhood = (
            params.get("metric", "euclidean"),
            params.get("neighborhood", "gaussian"),
        )
        codebook = start_codebook
        for radius in RADII:
            statistics = sum(
                unit_statistics(X[rows], codebook, weights[rows], metric=metric)
                for rows in (slice(0, 300), slice(300, 1000), slice(1000, None))
            )
            codebook = update_codebook(
                codebook, statistics, Grid(6, 10), radius, neighborhood=neighborhood, metric=metric
            )
        som = TFSOM(
            (6, 10), init=start_codebook, radius_decay=RADII, max_iter=6, tol=0, **params
        ).fit(X, sample_weight=weights)
        assert_allclose(codebook, som.codebook_, rtol=1e-9, atol=1e-12)
        mean = statistics.error / weights.sum()
        assert_allclose(mean, som.history_["quantization_error"][-1], rtol=1e-5)

    def test_equal_to_a_slow_loop(self):
        codebook, weights = IRIS[::10] + np.arange(4) / 97, np.arange(150) % 4
        sums, counts, error = np.zeros((15, 4)), np.zeros((15, 1)), 0.0
        for x, weight in zip(IRIS, weights, strict=True):
            distances = np.sqrt(((x - codebook) ** 2).sum(axis=1))
            bmu = distances.argmin()
            sums[bmu] += weight * x
            counts[bmu] += weight
            error += weight * distances[bmu]
        found = unit_statistics(IRIS, codebook, weights)
        assert_allclose(found.sums, sums, rtol=1e-12)
        assert_array_equal(found.counts, counts)
        assert_allclose(found.error, error, rtol=1e-6)

    def test_samples_without_direction_are_ignored(self):
        found = unit_statistics(np.zeros((3, 4)), IRIS[:5], metric="cosine")
        assert not found.sums.any() and not found.counts.any() and found.error == 0

    def test_statistics_with_and_without_missing_values_add(self):
        """Counts by feature are added to counts of samples."""
        X = remove_values(IRIS[:100])
        X = X[~np.isnan(X).all(axis=1)]
        both = unit_statistics(X, IRIS[::10]) + unit_statistics(IRIS[100:], IRIS[::10])
        joined = unit_statistics(np.vstack([X, IRIS[100:]]), IRIS[::10])
        assert_allclose(both.counts, joined.counts)
        assert_allclose(both.sums, joined.sums)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (
                lambda: unit_statistics(IRIS, IRIS[:5, :2]),
                "as many features as codebook, 2. Got 4",
            ),
            (
                lambda: unit_statistics(
                    pd.DataFrame(IRIS, columns=list("abcd")),
                    pd.DataFrame(IRIS[:5], columns=list("abdc")),
                ),
                "'codebook' parameter of unit_statistics must be a codebook with the columns of "
                "X, in their order. Got 'd' where X has 'c' instead",
            ),
            (
                lambda: unit_statistics(IRIS, IRIS[0]),
                "'codebook' parameter of unit_statistics must be an array-like of finite numbers "
                r"of shape \(n_units, n_features\)\. Got an array of shape \(4,\)",
            ),
            (
                lambda: unit_statistics(IRIS, IRIS[:5], metric="l2"),
                "'metric' parameter of unit_statistics must be a str among .* Got 'l2' instead",
            ),
            (lambda: unit_statistics(IRIS, IRIS[:5], [1, 2]), r"150 samples.* Got shape \(2,\)"),
            (
                lambda: unit_statistics(IRIS * 1e10, IRIS[:5] * 1e10, 1e300),
                "^sample_weight contains values too large: weighted sums of X exceed the range",
            ),
            (
                lambda: unit_statistics(csr_array(IRIS), IRIS[:5], metric="manhattan"),
                "'metric' parameter of unit_statistics must be one of 'euclidean', 'cosine' for "
                "sparse X. Got 'manhattan'",
            ),
            (
                lambda: unit_statistics(np.where(IRIS > 7, np.inf, IRIS), IRIS[:5]),
                "(?s)Input X contains infinity",
            ),
            (lambda: update(Grid(2, 2)), "one row for each unit of the grid, 4. Got 5 instead"),
            (
                lambda: update(radius=0),
                "'radius' parameter of update_codebook must be a float in the range "
                r"\(0.0, inf\)\. Got 0 instead",
            ),
            (
                lambda: update(neighborhood="x"),
                "'neighborhood' parameter of update_codebook must be a str among .* Got 'x'",
            ),
            (
                lambda: update(neighborhood=lambda d, r: d[0]),
                "'neighborhood' parameter of update_codebook must be a function that returns",
            ),
            (
                lambda: unit_statistics(IRIS, np.eye(4) * [1, 1, 1, 0], metric="cosine"),
                "'codebook' parameter of unit_statistics .* Got code vector 3, which has none",
            ),
            (
                lambda: unit_statistics(IRIS, IRIS[:5]) + unit_statistics(IRIS, IRIS[:6]),
                r"of one codebook. Got sums of shapes \(5, 4\) and \(6, 4\)",
            ),
            (
                lambda: update_codebook(IRIS[:5], 0, Grid(1, 5), 1.0),
                "'statistics' parameter of update_codebook must be a UnitStatistics. Got 0",
            ),
            (
                lambda: update((1, 5)),
                r"'grid' parameter of update_codebook must be a Grid. Got \(1, 5\) instead",
            ),
            (
                lambda: update_codebook(
                    IRIS[:5],
                    unit_statistics(IRIS, IRIS[:5])._replace(counts=np.full((5, 1), np.nan)),
                    Grid(1, 5),
                    1.0,
                ),
                "statistics must have finite sums, and finite counts of at least 0",
            ),
            (
                lambda: unit_statistics(IRIS, [[1e308, 0, 0, 0], [-1e308, 0, 0, 0]]),
                "'codebook' parameter of unit_statistics must be an array of values whose "
                "differences do not exceed the range of float64. Got values from",
            ),
            (
                lambda: update(codebook=IRIS[:5] * [[3e307], [-3e307], [0], [0], [0]]),
                "'codebook' parameter of update_codebook .* differences do not exceed the range",
            ),
            (lambda: update(metric="l2"), "'metric' parameter of update_codebook .* Got 'l2'"),
            (lambda: update(codebook=IRIS[:5, :3]), r"sums of shape \(5, 3\). Got \(5, 4\)"),
        ],
    )
    def test_invalid_arguments_raise(self, call, message):
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "TFSOM" not in str(caught.value)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "correlation"])
def test_parts_without_samples_add_nothing(metric):
    gappy = np.where(IRIS > 6, np.nan, IRIS) if metric == "manhattan" else IRIS
    whole = unit_statistics(gappy, IRIS[:5], metric=metric)
    empty = unit_statistics(gappy[:0], IRIS[:5], metric=metric)
    weightless = unit_statistics(gappy, IRIS[:5], np.zeros(150), metric=metric)
    assert empty.error == weightless.error == 0
    for one, other in zip(whole, sum([empty, weightless, whole]), strict=True):
        assert_array_equal(one, other)


def update(grid=Grid(1, 5), radius=1.0, codebook=IRIS[:5], **params):  # noqa: B008
    return update_codebook(codebook, unit_statistics(IRIS, IRIS[:5]), grid, radius, **params)

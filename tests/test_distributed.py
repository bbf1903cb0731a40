"""One map, several processes or devices: equal to one process on all samples, and never a hang."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from distributed_cases import CASES, DIGITS, IRIS, facts, holes, one_shard_on_disk
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from sklearn_tfsom import TFSOM, Grid
from sklearn_tfsom._data.workers import ALONE
from sklearn_tfsom.distributed import unit_statistics, update_codebook

HERE = Path(__file__).parent
TOLERANCE = {"float32": 1e-6}


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(script, *arguments, **environment):
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def start_workers(n, script, *arguments):
    ports = json.dumps(free_ports(n))
    return [start(script, index, ports, *arguments) for index in range(n)]


def finish(process, timeout=240):
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return out, err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two workers leave their maps of all cases."""
    folder = tmp_path_factory.mktemp("workers")
    one_shard_on_disk(folder)
    workers = start_workers(2, "distributed_cases.py", folder, json.dumps(list(CASES)))
    for worker in workers:
        out, err = finish(worker)
        assert worker.returncode == 0, out + err
    return folder


class TestMachines:
    @pytest.mark.parametrize("name", CASES)
    def test_two_workers_are_one_process_on_all_samples(self, folder, name):
        params, X, weights, _ = CASES[name]
        som = TFSOM(**params).fit(X, sample_weight=weights)
        workers = [np.load(folder / f"{name}-{index}.npz") for index in (0, 1)]
        for fact, value in facts(som).items():
            assert_array_equal(workers[0][fact], workers[1][fact], err_msg=fact)
            scale = np.abs(value).max(initial=0) or 1.0
            # History comes from float32 scores.
            rtol = 1e-6 if "history quant" in fact else TOLERANCE.get(name, 1e-8)
            assert_allclose(workers[0][fact], value, rtol=0, atol=rtol * scale, err_msg=fact)
        labels = np.concatenate([worker["labels"] for worker in workers])
        assert_array_equal(labels, som.labels_)

    def test_a_shard_alone_would_give_another_map(self):
        """So the equality above is not for nothing."""
        params, X, _, (share,) = CASES["defaults"]
        whole = TFSOM(**params).fit(X)
        part = TFSOM(**params).fit(X[: round(share * len(X))])
        assert whole.grid_shape_ != part.grid_shape_


def reports(how):
    """What the first of two workers says when the second one fails in these ways."""
    first, second = start_workers(2, "distributed_failures.py", json.dumps(how))
    try:
        out, err = finish(first)
    finally:
        second.send_signal(signal.SIGKILL)
        second.communicate()
    assert out, err[-2000:]
    return [json.loads(line) for line in out.splitlines()]


class TestFailure:
    @pytest.mark.parametrize("how", ["killed", "frozen"])
    def test_the_others_raise_one_clear_error_within_a_minute(self, how):
        (report,) = reports([how])
        assert report["error"].startswith("RuntimeError: A worker of this fit is gone")
        assert report["seconds"] < 60
        assert report["attributes"] == []  # the estimator is as it was

    def test_what_one_refuses_all_refuse(self):
        """And they are in step afterwards."""
        refused = reports(["samples", "features", "precision", "parameters", "batch_size", "none"])
        same = "ValueError: All workers of a fit must have the same "
        assert [report["error"].removeprefix(same) for report in refused] == [
            "ValueError: Another worker of this fit has refused its parameters or its samples: "
            "its own error says why.",
            "number of features.",
            "precision.",
            "parameters.",
            "InvalidParameterError: The 'batch_size' parameter of TFSOM must be None where "
            "several workers fit a map. Got 64 instead.",
            "none",
        ]
        assert all(report["attributes"] == [] for report in refused[:-1])
        assert "codebook_" in refused[-1]["attributes"]

    def test_a_worker_that_is_told_of_others(self):
        """What the others wait for is told, whatever happens to this one."""
        told = []

        class Telling(type(ALONE)):
            def sum(self, values):
                told.append(float(values))
                return super().sum(values)

        with pytest.raises(ZeroDivisionError), Telling().in_step():
            raise ZeroDivisionError
        with Telling().in_step():
            pass
        assert told == [1.0, 0.0]


DEVICES = """
import sys
sys.path.insert(0, {here!r})
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 3)
from distributed_cases import CASES, facts
from sklearn_tfsom import TFSOM
strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1", "/cpu:2"])
for name in {names!r}:
    params, X, weights, _ = CASES[name]
    with strategy.scope():
        som = TFSOM(**params).fit(X, sample_weight=weights)
    one = TFSOM(**params).fit(X, sample_weight=weights)
    assert "strategy" not in repr(sorted(vars(som))).lower()
    rtol = 1e-6 if name == "float32" else 1e-9
    for fact, value in facts(one).items():
        atol = rtol * (np.abs(value).max(initial=0) or 1.0)
        np.testing.assert_allclose(facts(som)[fact], value, rtol=0, atol=atol, err_msg=fact)
    assert (som.labels_ == one.labels_).all()
with strategy.scope():
    TFSOM(3).partial_fit(X)
print("equal")
with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
    assert (TFSOM(**params).fit(X, sample_weight=weights).codebook_ == one.codebook_).all()
with tf.distribute.experimental.CentralStorageStrategy(["/cpu:0"]).scope():
    try:
        TFSOM(3).fit(X)
    except ValueError as error:
        assert "Got CentralStorageStrategy" in str(error), error
        print("refused")
"""


def test_several_devices_are_one():
    names = ["defaults", "float32", "weights", "missing", "cosine", "sparse", "torus"]
    code = DEVICES.format(here=str(HERE), names=names)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["equal", "refused"]


RADII = [3, 2, 1.5, 1, 1, 0.85]


class TestStatistics:
    @pytest.mark.parametrize(
        ("X", "params"),
        [
            (DIGITS + 1e5, {}),
            (holes(DIGITS), {}),
            (csr_array(DIGITS), {"metric": "cosine"}),
            (DIGITS, {"metric": "manhattan", "neighborhood": "epanechnikov"}),
            (DIGITS, {"metric": "correlation", "neighborhood": lambda d, r: 1 / (1 + d / r)}),
        ],
        ids=["far", "missing", "sparse", "manhattan", "correlation"],
    )
    def test_they_make_the_epochs_of_fit(self, X, params):
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

    def test_they_are_those_of_a_slow_loop(self):
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

    def test_of_samples_without_direction_nothing_is_learnt(self):
        found = unit_statistics(np.zeros((3, 4)), IRIS[:5], metric="cosine")
        assert not found.sums.any() and not found.counts.any() and found.error == 0

    def test_data_in_pieces_with_and_without_missing_values(self):
        """Counts by feature and counts of samples add."""
        X = holes(IRIS[:100])
        X = X[~np.isnan(X).all(axis=1)]
        both = unit_statistics(X, IRIS[::10]) + unit_statistics(IRIS[100:], IRIS[::10])
        joined = unit_statistics(np.vstack([X, IRIS[100:]]), IRIS[::10])
        assert_allclose(both.counts, joined.counts)
        assert_allclose(both.sums, joined.sums)

    @pytest.mark.parametrize(
        ("call", "says"),
        [
            (
                lambda: unit_statistics(IRIS, IRIS[:5, :2]),
                "as many features as codebook, 2. Got 4",
            ),
            (lambda: unit_statistics(IRIS, IRIS[0]), "codebook must be an array-like of finite"),
            (lambda: unit_statistics(IRIS, IRIS[:5], metric="l2"), "'metric' parameter of TFSOM"),
            (lambda: unit_statistics(IRIS, IRIS[:5], [1, 2]), "one value for each of the 150"),
            (lambda: update(Grid(2, 2)), "one row for each unit of the grid, 4. Got 5"),
            (lambda: update(radius=0), r"radius must be a float in the range \(0.0, inf\)"),
            (lambda: update(neighborhood="x"), "'neighborhood' parameter of TFSOM"),
            (lambda: update(codebook=IRIS[:5, :3]), r"sums of shape \(5, 3\). Got \(5, 4\)"),
        ],
    )
    def test_what_is_wrong(self, call, says):
        with pytest.raises(ValueError, match=says):
            call()


def update(grid=Grid(1, 5), radius=1.0, codebook=IRIS[:5], **params):  # noqa: B008
    return update_codebook(codebook, unit_statistics(IRIS, IRIS[:5]), grid, radius, **params)

"""Behavior in new processes: imports, standard error, reproducibility, forks and threads.

Two processes do everything, since each start of TensorFlow takes seconds: `process_cases.py`.
"""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import process_cases
import pytest

TIMEOUT = 600  # seconds: longer than a slow machine needs


def run(function, stdin=b""):
    """Run a function of `process_cases.py`; return its result and its standard error."""
    code = f"import json, process_cases; print(json.dumps(process_cases.{function.__name__}()))"
    command, here = [sys.executable, "-c", code], Path(__file__).parent
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=TIMEOUT, cwd=here)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout), done.stderr.decode()


@pytest.fixture(scope="module")
def process():
    """Return results of a process, and its standard error."""
    pickled = pickle.dumps(process_cases.small_map().fit(process_cases.FEW))
    return run(process_cases.start, pickled)


@pytest.fixture(scope="module")
def results(process):
    return process[0]


def test_standard_error_is_empty(process):
    """That of its threads, forks and workers, too."""
    _, err = process
    assert err == ""


def test_script_named_as_a_module_of_tensorflow(tmp_path):
    """TensorFlow imports it in place of its own, while it is being imported itself."""
    script = tmp_path / "absl.py"  # the first one that it imports
    script.write_text(
        "import numpy as np\n"
        "from sklearn_tfsom import TFSOM\n"
        "X = np.random.default_rng(0).normal(size=(200_000, 2))\n"
        "TFSOM(20, max_iter=100, coarse_to_fine=False).fit(X)\n"
    )
    # Python does not import what is beside the script if this is set.
    others = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, script]
    done = subprocess.run(command, env=others, capture_output=True, timeout=TIMEOUT)
    error = done.stderr.decode().splitlines()[-1]
    assert error == (
        f"RuntimeError: TensorFlow imports a module named 'absl', and Python finds {script} in "
        "its place, which uses TFSOM itself. Rename that file."
    )


def test_import_small_data_and_invalid_parameters_do_not_import_tensorflow(results):
    messages, heavy = results["small data"]
    assert ["max_iter" in messages[0], "init" in messages[1]] == [True, True]
    assert heavy == []


# Reproducibility


def test_second_fit_is_identical(results):
    different = [kind for kind, (one, two) in results["digests"].items() if one != two]
    assert different == []


def test_fit_in_another_process_is_identical(results):
    one, other = results["digests"], results["workers"]["spawn"]["digests"]
    assert one.keys() == other.keys()
    assert [kind for kind in one if one[kind][:1] != other[kind]] == []
    in_numpy = [first for kind, (first, _) in one.items() if "graph" not in kind]
    assert len(set(in_numpy)) == len(in_numpy)  # digests differ between maps


# Workers


def test_spawn_and_forkserver_workers_give_the_same_results(results):
    here, workers = results["fit"], results["workers"]
    assert workers["spawn"]["fit"] == here
    if "forkserver" in workers:
        assert workers["forkserver"]["fit"] == here


def test_loky_workers_use_the_number_of_threads_of_joblib(results):
    assert results["workers"]["loky"] == {
        "is new": True,
        "fit": results["fit"],
        "joblib": 3,
        "intra": 3,
        "inter": 3,
    }


def test_first_fit_after_the_import_of_tensorflow_does_not_change_global_state(results):
    assert results["workers"]["spawn"]["changed"] == []


# Forks

FORK_ERROR = (
    "RuntimeError: TFSOM cannot run in a process that was forked after TensorFlow had started"
)


@pytest.fixture(scope="module")
def forked(results):
    """Return the results of forked children."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    return results["forked"]


@pytest.mark.usefixtures("forked")
def test_child_forked_before_the_first_fit_works(results):
    """Children of the server of "forkserver", which has imported this package."""
    worker = results["workers"]["forkserver"]
    assert worker["is forked"]
    assert worker["fit"] == results["fit"]


def test_child_forked_after_a_fit_raises(forked):
    for message in forked["after"].values():
        assert message.startswith(FORK_ERROR)
        assert "'loky'" in message
        assert "'spawn'" in message


def test_child_forked_while_tensorflow_starts_raises(forked):
    assert forked["during"].startswith("RuntimeError: TFSOM cannot run")


def test_child_forked_after_a_fit_works_with_small_data(forked):
    """They need no TensorFlow."""
    child, parent = forked["small"]
    assert child == parent


def test_children_forked_while_other_threads_fit_work(forked):
    """They must not wait for what these threads have begun."""
    children, parent = forked["beside fits"]
    assert children == [parent] * 10


# Threads


def test_fit_goes_on_after_the_main_thread_has_ended(tmp_path):
    """Python starts no more threads then."""
    script = tmp_path / "script.py"
    script.write_text(
        "import threading, time\n"
        "import numpy as np\n"
        "from sklearn_tfsom import TFSOM\n"
        "X = np.random.default_rng(0).normal(size=(4000, 64))\n"
        "def fit():\n"
        "    time.sleep(0.5)\n"
        "    print(TFSOM((5, 4), max_iter=6).fit(X).predict(X).shape)\n"
        "threading.Thread(target=fit).start()\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, timeout=TIMEOUT)
    assert (done.stdout, done.stderr) == (b"(4000,)\n", b"")


def test_simultaneous_fits_equal_sequential_fits(results):
    """The first ones begin while other threads start TensorFlow."""
    simultaneous, sequential = results["fits"]
    n_repeated = process_cases.N_REPEATED_FITS
    assert simultaneous == [[digest] * n_repeated for digest in sequential]
    assert len(set(sequential)) == len(process_cases.FITS)


def test_eight_simultaneous_threads_get_the_results_of_one(results):
    simultaneous, sequential = results["queries"]
    assert simultaneous == [sequential] * 3
    assert len(set(sequential)) == 8


def test_simultaneous_calls_restore_the_threads_of_blas(results):
    before, counts = results["blas threads"]
    assert counts == [before] * 5


# Difficult starts of TensorFlow


@pytest.fixture(scope="module")
def difficulties():
    """Return the results of a process where TensorFlow starts late, and its standard error."""
    return run(process_cases.start_with_difficulty)


def test_standard_error_is_restored_if_tensorflow_fails_to_import(difficulties):
    results, err = difficulties
    messages, is_restored = results["failed"]
    assert messages == ["no tensorflow here"] * 2
    assert err.startswith("before\nafter\n" * 2)
    assert is_restored


def test_output_during_the_import_of_tensorflow_is_kept(difficulties):
    results, err = difficulties
    n_lines, n_during_import = results["writer"]
    assert n_during_import > 10
    hook_lines = [
        "the hook writes",
        "I am a line with a file.cc: in it",
        "the hook prints",
        "the hook logs",
        "a child writes",
    ]
    written = [f"line {number}" for number in range(n_lines)]
    failed = ["before", "after"] * 2
    assert sorted(err.splitlines()) == sorted(failed + hook_lines + written)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells the use")
def test_too_little_address_space_raises_before_libraries_end_the_process(difficulties):
    results, _ = difficulties
    for message in results["little space"]:
        assert "Raise the limit" in message
    assert len(results["little space"]) == 12
    assert results["fitted"] == [True] * 4

"""Behavior in new processes: imports, standard error, reproducibility, forks and threads."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

TIMEOUT = 100  # seconds: longer than a slow machine needs


def run(script, stdin=b""):
    """Run a script; return its output, parsed as JSON, and its standard error."""
    command = [sys.executable, "-c", COMMON + script]
    here = Path(__file__).parent  # scripts can import the modules beside this file
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=TIMEOUT, cwd=here)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout), done.stderr


COMMON = """
import hashlib, json, os, pickle, sys, threading, time
import numpy as np
import scipy.sparse
from sklearn_tfsom import TFSOM
from sklearn_tfsom._search import nearest

X = np.random.RandomState(0).normal(size=(20000, 5))
few = X[:300]
stored = scipy.sparse.csr_array(np.maximum(few, 0))
gappy = np.where(few > 1.5, np.nan, few)  # under "manhattan" in TensorFlow, however few
wide = np.random.RandomState(1).normal(size=(4000, 64))

def digest(*arrays):
    parts = (np.ascontiguousarray(array).tobytes() for array in arrays)
    return hashlib.sha256(b"".join(parts)).hexdigest()

def small_map(**parameters):
    return TFSOM(**{"grid_size": (5, 4), "max_iter": 6, "random_state": 0, **parameters})

def graph_map(**parameters):
    return small_map(metric="manhattan", **parameters)
"""


def test_script_named_as_a_module_of_tensorflow(tmp_path):
    """TensorFlow imports it in place of its own, while it is being imported itself."""
    script = tmp_path / "keras.py"
    script.write_text(COMMON + "graph_map().fit(gappy)")
    done = subprocess.run([sys.executable, script], capture_output=True, timeout=TIMEOUT)
    error = done.stderr.decode().splitlines()[-1]
    assert error == (
        f"RuntimeError: TensorFlow imports a module named 'keras', and Python finds {script} in "
        "its place, which uses TFSOM itself. Rename that file."
    )


# Standard error and reproducibility

FITS = """
X = X[:8000]
kinds = {
    "gaussian": ({}, X),
    "bubble": ({"neighborhood": "bubble"}, X),
    "odd hexagonal torus": ({"boundary": "toroidal"}, X),
    "clusters": ({"n_clusters": 3}, X),
    "sample": ({"init": "sample"}, X),
    "random": ({"init": "random"}, X),
    "wide": ({}, wide),
    "large": ({"grid_size": (24, 20), "max_iter": 3}, X),
    "manhattan": ({"metric": "manhattan", "max_iter": 8, "tol": 0}, X),
    "sparse": ({}, stored),
    "manhattan, incomplete": ({"metric": "manhattan"}, gappy),
}

def fit_and_digest(parameters, X):
    som = small_map(**parameters).fit(X)
    results = som.predict(X), som.transform(X), som.bmus(X, n_bmus=2), som.score(X)
    return digest(som.codebook_, som.labels_, *results)

def digests_of(kinds):
    return {
        kind: [fit_and_digest(parameters, X.astype(dtype)) for _ in range(2)]
        for (kind, (parameters, X)), dtype in zip(kinds.items(), ["float64", "float32"] * 6)
    }

digests = digests_of(kinds)
# The same in graphs, which only larger data would be searched in.
nearest.MAX_NUMPY_SCORES = nearest.MAX_NUMPY_DIFFERENCES = 0
searched = {f"{kind}, graph": kinds[kind] for kind in ("gaussian", "wide", "large", "manhattan")}
digests |= digests_of(searched)
print(json.dumps([digests, pickle.dumps(small_map().fit(few)).hex()]))
"""


class Outcome(NamedTuple):
    """Digests of two fits of each kind in one process, a pickled map and the standard error."""

    digests: dict
    pickled: str
    err: bytes


@pytest.fixture(scope="module")
def two_processes():
    with ThreadPoolExecutor(2) as threads:
        return [Outcome(*out, err) for out, err in threads.map(run, [FITS] * 2)]


def test_standard_error_is_empty(two_processes):
    assert [outcome.err for outcome in two_processes] == [b"", b""]


def test_second_fit_is_identical(two_processes):
    for outcome in two_processes:
        different = [kind for kind, (one, two) in outcome.digests.items() if one != two]
        assert different == []


def test_fit_in_another_process_is_identical(two_processes):
    one, other = (outcome.digests for outcome in two_processes)
    assert [kind for kind in one if one[kind] != other[kind]] == []
    in_numpy = [first for kind, (first, _) in one.items() if "graph" not in kind]
    assert len(set(in_numpy)) == len(in_numpy)  # digests differ between maps


# Imports

IMPORTS = """
import sklearn_tfsom.displays, sklearn_tfsom.metrics

som = pickle.load(sys.stdin.buffer)
repr(som), som.get_params(), som.get_feature_names_out(), som._repr_html_()
messages = []
for som in (TFSOM(max_iter=0), TFSOM(init=np.zeros((3, 3)))):
    try:
        som.fit(few)
    except ValueError as error:
        messages.append(str(error))
som = small_map(n_clusters=3).fit(few)
som.predict(few), som.transform(few), som.score_samples(few), som.bmus(few, n_bmus=2)
som = small_map().partial_fit(few)
som = pickle.loads(pickle.dumps(small_map(metric="manhattan").fit(few)))
som.predict(few), som.transform(few)
heavy = [name for name in ("tensorflow", "keras", "matplotlib") if name in sys.modules]
print(json.dumps([messages, heavy]))
"""


def test_import_small_data_and_invalid_parameters_do_not_import_tensorflow(
    two_processes,
):
    pickled = two_processes[0].pickled
    (messages, heavy), err = run(IMPORTS, stdin=bytes.fromhex(pickled))
    assert ["max_iter" in messages[0], "init" in messages[1]] == [True, True]
    assert heavy == []
    assert err == b""


# Output of other threads while TensorFlow is imported

WRITERS = """
import logging, warnings

class Hook:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            os.write(2, b"the hook writes\\n")
            os.write(2, b"I am a line with a file.cc: in it\\n")
            print("the hook prints", file=sys.stderr)
            logging.getLogger("other").warning("the hook logs")
            os.system("echo a child writes >&2")

sys.meta_path.insert(0, Hook())
is_done = threading.Event()
during = []

def write():
    n_lines = 0
    while not is_done.is_set():
        during.append("tensorflow" in sys.modules)
        os.write(2, b"line %d\\n" % n_lines)
        n_lines += 1
        is_done.wait(0.002)

writer = threading.Thread(target=write)
writer.start()
graph_map().fit(gappy)
is_done.set()
writer.join()
print(json.dumps([len(during), sum(during)]))
"""


def test_output_during_the_import_of_tensorflow_is_kept():
    (n_lines, n_during_import), err = run(WRITERS)
    assert n_during_import > 10
    hook_lines = [
        "the hook writes",
        "I am a line with a file.cc: in it",
        "the hook prints",
        "the hook logs",
        "a child writes",
    ]
    written = [f"line {number}" for number in range(n_lines)]
    assert sorted(err.decode().splitlines()) == sorted(hook_lines + written)


FAILING_IMPORT = """
class Hook:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            os.write(2, b"before\\n")
            raise ImportError("no tensorflow here")

def descriptors():
    free = os.dup(2)
    os.close(free)
    return free, os.fstat(2).st_ino

before = descriptors()
sys.meta_path.insert(0, Hook())
messages = []
for _ in range(2):
    try:
        graph_map().fit(gappy)
    except ImportError as error:
        messages.append(str(error))
    os.write(2, b"after\\n")
is_regappy = before == descriptors()
sys.meta_path.pop(0)
sys.stderr.close()
os.close(2)
print(json.dumps([messages, is_regappy, graph_map().fit(gappy).n_iter_]))
"""


def test_standard_error_is_restored_if_tensorflow_fails_to_import():
    (messages, is_restored, n_iter), err = run(FAILING_IMPORT)
    assert messages == ["no tensorflow here"] * 2
    assert err == b"before\nafter\n" * 2
    assert is_restored
    assert n_iter > 0  # a fit after a successful import, without standard error


# Global state

STATE = """
import logging, random, signal, warnings
import tensorflow

def state():
    root = logging.getLogger()
    return {
        "numpy random": digest(np.random.get_state()[1]),
        "random": random.getstate(),
        "errors": np.geterr(),
        "filters": list(warnings.filters),
        "logging": (list(root.handlers), root.level, root.manager.disable),
        "environment": dict(os.environ),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "path": list(sys.path),
        "hooks": (sys.excepthook, threading.excepthook, warnings.showwarning),
        "standard error": os.fstat(2).st_ino,
        "directory": os.getcwd(),
    }

before = state()
for data in (few, gappy):
    som = graph_map(init="sample").fit(data)
    som.predict(data), som.transform(data), som.bmus(data, n_bmus=2), som.score(data)
after = state()
print(json.dumps([name for name in before if before[name] != after[name]]))
"""


def test_first_fit_after_the_import_of_tensorflow_does_not_change_global_state():
    changed, _ = run(STATE)
    assert changed == []


# Forks

FORKS = """
import multiprocessing, signal

def run_in_child(function, limit=5):
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(limit)  # kills a child that hangs
        try:
            result = function()
        except BaseException as error:
            result = f"{type(error).__name__}: {error}"
        os.write(send, result.encode())
        os._exit(0)
    os.close(send)
    with open(receive) as pipe:
        result = pipe.read()
    os.waitpid(child, 0)
    return result or "killed after the time limit"

def fit(data=gappy):
    return digest(graph_map().fit(data).codebook_)

before = run_in_child(fit, limit=60)
starting = threading.Thread(target=fit)
starting.start()
while "tensorflow" not in sys.modules:  # its import takes another second or more
    time.sleep(0.001)
during = run_in_child(fit)
starting.join()

som = graph_map().fit(gappy)
after = {
    method: run_in_child(lambda: str(getattr(som, method)(gappy)))
    for method in ("fit", "predict", "bmus", "quantize", "score", "score_samples")
}
with multiprocessing.get_context("fork").Pool(1) as pool:
    try:
        after["pool"] = str(pool.apply_async(som.predict, (gappy,)).get(timeout=10))
    except Exception as error:
        after["pool"] = f"{type(error).__name__}: {error}"
small = run_in_child(lambda: fit(few)), fit(few)
print(json.dumps([before, during, after, digest(som.codebook_), small]))
"""
FORK_ERROR = (
    "RuntimeError: TFSOM cannot run in a process that was forked after TensorFlow had started"
)


@pytest.fixture(scope="module")
def forks():
    """Return the results of children forked before, during and after the start of TensorFlow."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    return run(FORKS)


def test_child_forked_before_the_first_fit_works(forks):
    (before, _, _, parent, _), err = forks
    assert before == parent
    assert err == b""


def test_child_forked_after_a_fit_raises(forks):
    (_, _, after, _, _), _ = forks
    for message in after.values():
        assert message.startswith(FORK_ERROR)
        assert "'loky'" in message
        assert "'spawn'" in message


def test_child_forked_while_tensorflow_starts_raises(forks):
    (_, during, _, _, _), _ = forks
    assert during.startswith("RuntimeError: TFSOM cannot run")


def test_child_forked_after_a_fit_works_with_small_data(forks):
    """They need no TensorFlow."""
    (_, _, _, _, (child, parent)), _ = forks
    assert child == parent


# Workers

WORKERS = """
import multiprocessing
import joblib

som = graph_map().fit(gappy)  # starts TensorFlow in the parent
methods = sorted({"spawn", "forkserver"} & set(multiprocessing.get_all_start_methods()))
pools = [multiprocessing.get_context(name).Pool(1) for name in methods]
submitted = [
    (pool.apply_async(som.predict, (gappy,)), pool.apply_async(graph_map().fit, (gappy,)))
    for pool in pools
]
started = {
    name: [digest(labels.get()), digest(fitted.get().codebook_)]
    for name, (labels, fitted) in zip(methods, submitted)
}
for pool in pools:
    pool.close()
    pool.join()

def fit_and_report():
    som = graph_map().fit(gappy)
    import tensorflow as tf
    return {
        "process": os.getpid(),
        "joblib": int(os.environ["OMP_NUM_THREADS"]),
        "intra": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter": tf.config.threading.get_inter_op_parallelism_threads(),
        "results": [digest(som.labels_), digest(som.codebook_)],
    }

# Three threads: not the default on a machine with two cores.
with joblib.parallel_config(backend="loky", inner_max_num_threads=3):
    loky = joblib.Parallel(n_jobs=2)([joblib.delayed(fit_and_report)()])
print(json.dumps([started, loky, os.getpid(), [digest(som.labels_), digest(som.codebook_)]]))
"""


@pytest.fixture(scope="module")
def workers():
    """Return the results of workers of each start method."""
    return run(WORKERS)


def test_spawn_and_forkserver_workers_give_the_same_results(workers):
    (started, _, _, here), err = workers
    assert "spawn" in started
    assert started == dict.fromkeys(started, here)
    assert err == b""


def test_loky_workers_use_the_number_of_threads_of_joblib(workers):
    (_, [worker], process, here), _ = workers
    assert worker["process"] != process
    assert worker["results"] == here
    assert worker["joblib"] == 3
    assert worker["intra"] == 3
    assert worker["inter"] == 3


# Threads

THREADS = """
from threads import run_simultaneously

def fit(parameters, X):
    som = small_map(**parameters).fit(X)
    return digest(som.codebook_, som.labels_)

kinds = [
    ({"max_iter": 20, "tol": 0, "init": "sample"}, wide),
    ({"max_iter": 20, "tol": 0, "neighborhood": "bubble"}, X),
    ({"grid_size": (24, 20), "max_iter": 3}, X),
]
nearest.MAX_NUMPY_SCORES = 2**23  # the last one in a graph
simultaneous_fits = run_simultaneously([lambda k=k: [fit(*k) for _ in range(15)] for k in kinds])
sequential_fits = [[fit(*kind)] * 15 for kind in kinds]

som = small_map().fit(few)
def query(start):
    rows = X[start : start + 4000]
    # transform comes first: no fit has compiled it, so that all threads compile it.
    results = som.transform(rows), som.predict(rows), som.bmus(rows, n_bmus=3), som.score(rows)
    return digest(*results)

starts = [2000 * thread for thread in range(8)]
queries = [lambda s=s: query(s) for s in starts]
simultaneous_results = [run_simultaneously(queries) for _ in range(3)]
sequential_results = [query(start) for start in starts]
print(json.dumps([simultaneous_fits, sequential_fits, simultaneous_results, sequential_results]))
"""


@pytest.fixture(scope="module")
def threads():
    """Return results of simultaneous threads, which also start TensorFlow, and of one thread."""
    return run(THREADS)


def test_simultaneous_fits_equal_sequential_fits(threads):
    (simultaneous, sequential, _, _), _ = threads
    assert simultaneous == sequential
    assert sequential[0] != sequential[1]


def test_eight_simultaneous_threads_get_the_results_of_one(threads):
    (_, _, simultaneous, sequential), _ = threads
    assert simultaneous == [sequential] * 3
    assert len(set(sequential)) == 8


def test_simultaneous_threads_print_nothing(threads):
    _, err = threads
    assert err == b""


BLAS_THREADS = """
from threadpoolctl import threadpool_info
from threads import run_simultaneously

def count_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

many = np.tile(X, (3, 1))
som = small_map(grid_size=12, max_iter=1).fit(many)

def transform(number):
    time.sleep(number / 100)  # calls begin and end at different times
    som.transform(many)

counts = [count_threads()]
for _ in range(5):
    run_simultaneously([lambda n=n: transform(n) for n in range(4)])
    counts.append(count_threads())
print(json.dumps(counts))
"""


def test_simultaneous_calls_restore_the_threads_of_blas():
    counts, _ = run(BLAS_THREADS)
    assert counts == [counts[0]] * 6


# Limits of the address space

LIMITED = """
import resource

def limit_address_space(n_bytes):
    with open("/proc/self/statm") as file:
        n_pages = int(file.read().split()[0])
    most = n_pages * resource.getpagesize() + n_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))

def outcome(function):
    try:
        function()
    except MemoryError as error:
        return str(error)
    return "done"

def fit_after_limit(n_bytes, som, X):
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    limit_address_space(n_bytes)
    os._exit(os.EX_OK if "Raise the limit" in outcome(lambda: som.fit(X)) else 1)

MIB = 2**20
fits = [(small_map(), few), (small_map(), X), (graph_map(), few), (graph_map(), gappy)]
refused = [fit_after_limit(n_mib * MIB, *fit) for fit in fits for n_mib in (5, 60, 200)]
limit_address_space(2**34)
print(json.dumps([refused, [outcome(lambda: som.fit(X)) for som, X in fits]]))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells the use")
def test_too_little_address_space_raises_before_libraries_end_the_process():
    (refused, fitted), _ = run(LIMITED)
    assert refused == [0] * 12
    assert fitted == ["done"] * 4

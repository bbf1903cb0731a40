"""In fresh processes: imports, standard error, the same bits, forks, workers, threads."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

TIMEOUT = 100  # seconds: a hang ends, a slow machine does not fail


def run(script, given=b""):
    """Return what a script prints, as JSON, and all that comes on its standard error."""
    command = [sys.executable, "-c", COMMON + script]
    # From here, so that scripts find what lies beside this file.
    here = Path(__file__).parent
    done = subprocess.run(command, input=given, capture_output=True, timeout=TIMEOUT, cwd=here)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout), done.stderr


COMMON = """
import hashlib, json, os, pickle, sys, threading, time
import numpy as np
import scipy.sparse
from sklearn_tfsom import TFSOM

X = np.random.RandomState(0).normal(size=(20000, 5))
few = X[:300]
wide = np.random.RandomState(1).normal(size=(4000, 64))

def digest(*arrays):
    parts = (np.ascontiguousarray(array).tobytes() for array in arrays)
    return hashlib.sha256(b"".join(parts)).hexdigest()

def small_map(**parameters):
    return TFSOM(**{"grid_size": (5, 4), "max_iter": 6, "random_state": 0, **parameters})
"""


# What is printed, and the same bits

EVERY_KIND = """
kinds = {
    "gaussian": ({}, X),
    "bubble": ({"neighborhood": "bubble"}, X),
    "odd hexagonal torus": ({"boundary": "toroidal"}, X),
    "clusters": ({"n_clusters": 3}, X),
    "sample": ({"init": "sample"}, X),
    "random": ({"init": "random"}, X),
    "wide": ({}, wide),
    "large": ({"grid_size": (24, 20), "max_iter": 3}, X),  # 20,000 x 480 scores
    "compiled loop": ({"metric": "manhattan", "max_iter": 8, "tol": 0}, X),
    "sparse": ({}, scipy.sparse.csr_array(np.maximum(few, 0))),
}

def results(parameters, X):
    som = small_map(**parameters).fit(X)
    answers = som.predict(X), som.transform(X), som.bmus(X, n_bmus=2), som.score(X)
    return digest(som.codebook_, som.labels_, *answers)

digests = {
    f"{kind}, {dtype}": [results(parameters, X.astype(dtype)) for _ in range(2)]
    for kind, (parameters, X) in kinds.items() for dtype in ("float64", "float32")
}
print(json.dumps([digests, pickle.dumps(small_map().fit(few)).hex()]))
"""


class Outcome(NamedTuple):
    """What every kind of map gave, twice, in one process."""

    digests: dict
    pickled: str
    err: bytes


@pytest.fixture(scope="module")
def two_processes():
    with ThreadPoolExecutor(2) as threads:
        return [Outcome(*out, err) for out, err in threads.map(run, [EVERY_KIND] * 2)]


def test_nothing_is_printed_on_standard_error(two_processes):
    assert [outcome.err for outcome in two_processes] == [b"", b""]


def test_a_second_fit_gives_the_same_bits(two_processes):
    for outcome in two_processes:
        different = [kind for kind, (one, two) in outcome.digests.items() if one != two]
        assert different == []


def test_another_process_gives_the_same_bits(two_processes):
    one, other = (outcome.digests for outcome in two_processes)
    assert [kind for kind in one if one[kind] != other[kind]] == []
    assert len({first for first, _ in one.values()}) == len(one)  # the digest tells maps apart


# What is imported

IMPORTS = """
import sklearn_tfsom.displays, sklearn_tfsom.metrics

som = pickle.load(sys.stdin.buffer)
repr(som), som.get_params(), som.get_feature_names_out(), som._repr_html_()
messages = []
for bad in (TFSOM(max_iter=0), TFSOM(init=np.zeros((3, 3)))):
    try:
        bad.fit(few)
    except ValueError as error:
        messages.append(str(error))
heavy = [name for name in ("tensorflow", "keras", "matplotlib") if name in sys.modules]
print(json.dumps([messages, heavy]))
"""


def test_neither_the_import_nor_an_unpickled_map_nor_a_wrong_parameter_starts_tensorflow(
    two_processes,
):
    pickled = two_processes[0].pickled
    (messages, heavy), err = run(IMPORTS, given=bytes.fromhex(pickled))
    assert ["max_iter" in messages[0], "init" in messages[1]] == [True, True]
    assert heavy == []
    assert err == b""


# What others write while TensorFlow starts

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
is_over = threading.Event()
during = []

def write():
    n_lines = 0
    while not is_over.is_set():
        during.append("tensorflow" in sys.modules)
        os.write(2, b"line %d\\n" % n_lines)
        n_lines += 1
        is_over.wait(0.002)

writer = threading.Thread(target=write)
writer.start()
small_map().fit(few)
is_over.set()
writer.join()
print(json.dumps([len(during), sum(during)]))
"""


def test_what_others_write_while_tensorflow_starts_comes_out():
    (n_lines, n_during), err = run(WRITERS)
    assert n_during > 10
    hook = [
        "the hook writes",
        "I am a line with a file.cc: in it",
        "the hook prints",
        "the hook logs",
        "a child writes",
    ]
    written = [f"line {number}" for number in range(n_lines)]
    assert sorted(err.decode().splitlines()) == sorted(hook + written)


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
        small_map().fit(few)
    except ImportError as error:
        messages.append(str(error))
    os.write(2, b"after\\n")
is_restored = before == descriptors()
sys.meta_path.pop(0)
sys.stderr.close()
os.close(2)
print(json.dumps([messages, is_restored, small_map().fit(few).n_iter_]))
"""


def test_standard_error_is_restored_where_tensorflow_fails_to_import():
    (messages, is_restored, n_iter), err = run(FAILING_IMPORT)
    assert messages == ["no tensorflow here"] * 2
    assert err == b"before\nafter\n" * 2
    assert is_restored
    assert n_iter > 0  # once the import works so does the fit, here without standard error


# What a first fit leaves behind

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
som = small_map(init="sample").fit(few)
som.predict(few), som.transform(few), som.bmus(few, n_bmus=2), som.score(few)
after = state()
print(json.dumps([name for name in before if before[name] != after[name]]))
"""


def test_a_first_fit_changes_nothing_that_the_import_of_tensorflow_does_not():
    changed, _ = run(STATE)
    assert changed == []


# Forks

FORKS = """
import multiprocessing, signal

def in_a_child(work, limit=5):
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(limit)  # seconds: ends a child that hangs
        try:
            answer = work()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(send, answer.encode())
        os._exit(0)
    os.close(send)
    with open(receive) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer or "killed: it hung"

def fit():
    return digest(small_map().fit(few).codebook_)

before = in_a_child(fit, limit=60)
starting = threading.Thread(target=fit)
starting.start()
while "tensorflow" not in sys.modules:  # from here on its import takes another second or more
    time.sleep(0.001)
meanwhile = in_a_child(fit)
starting.join()

som = small_map().fit(few)
after = {
    method: in_a_child(lambda: str(getattr(som, method)(few)))
    for method in ("fit", "predict", "transform", "bmus", "quantize", "score", "score_samples")
}
with multiprocessing.get_context("fork").Pool(1) as pool:
    try:
        after["pool"] = str(pool.apply_async(som.predict, (few,)).get(timeout=10))
    except Exception as error:
        after["pool"] = f"{type(error).__name__}: {error}"
print(json.dumps([before, meanwhile, after, digest(som.codebook_)]))
"""
REFUSAL = (
    "RuntimeError: TFSOM cannot run in a process that was forked after TensorFlow had started"
)


@pytest.fixture(scope="module")
def forks():
    """What children answer that were forked before, while, and after TensorFlow starts."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    return run(FORKS)


def test_a_child_forked_before_the_first_fit_works(forks):
    (before, _, _, parent), err = forks
    assert before == parent
    assert err == b""


def test_a_child_forked_after_a_fit_refuses(forks):
    (_, _, after, _), _ = forks
    for answer in after.values():
        assert answer.startswith(REFUSAL)
        assert "'loky'" in answer
        assert "'spawn'" in answer


def test_a_child_forked_while_tensorflow_starts_refuses(forks):
    (_, meanwhile, _, _), _ = forks
    assert meanwhile.startswith("RuntimeError: TFSOM cannot run")


# Workers

WORKERS = """
import multiprocessing
import joblib

som = small_map().fit(few)  # TensorFlow is up in the parent
methods = sorted({"spawn", "forkserver"} & set(multiprocessing.get_all_start_methods()))
pools = [multiprocessing.get_context(name).Pool(1) for name in methods]
asked = [
    (pool.apply_async(som.predict, (few,)), pool.apply_async(small_map().fit, (few,)))
    for pool in pools
]
started = {
    name: [digest(labels.get()), digest(fitted.get().codebook_)]
    for name, (labels, fitted) in zip(methods, asked)
}
for pool in pools:
    pool.close()
    pool.join()

def fit_and_look():
    som = small_map().fit(few)
    import tensorflow as tf
    return {
        "process": os.getpid(),
        "joblib": int(os.environ["OMP_NUM_THREADS"]),
        "intra": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter": tf.config.threading.get_inter_op_parallelism_threads(),
        "results": [digest(som.labels_), digest(som.codebook_)],
    }

# Three threads: what no default gives on a machine of two cores.
with joblib.parallel_config(backend="loky", inner_max_num_threads=3):
    loky = joblib.Parallel(n_jobs=2)([joblib.delayed(fit_and_look)()])
print(json.dumps([started, loky, os.getpid(), [digest(som.labels_), digest(som.codebook_)]]))
"""


@pytest.fixture(scope="module")
def workers():
    """What workers of every kind answer."""
    return run(WORKERS)


def test_spawned_and_forkserver_workers_give_the_same_results(workers):
    (started, _, _, here), err = workers
    assert "spawn" in started
    assert started == dict.fromkeys(started, here)
    assert err == b""


def test_loky_workers_use_the_threads_that_joblib_gives_them(workers):
    (_, [worker], process, here), _ = workers
    assert worker["process"] != process
    assert worker["results"] == here
    assert worker["joblib"] == 3
    assert worker["intra"] == 3
    assert worker["inter"] == 3


# Threads

THREADS = """
from threads import at_once

def fit(parameters, X):
    som = small_map(**parameters).fit(X)
    return digest(som.codebook_, som.labels_)

kinds = [
    ({"max_iter": 20, "tol": 0, "init": "sample"}, wide),
    ({"max_iter": 20, "tol": 0, "neighborhood": "bubble"}, X),
    ({"grid_size": (24, 20), "max_iter": 3}, X),  # 20,000 x 480 scores
]
fits_at_once = at_once([lambda k=k: [fit(*k) for _ in range(15)] for k in kinds])
one_by_one = [[fit(*kind)] * 15 for kind in kinds]

som = small_map().fit(few)
def ask(start):
    rows = X[start : start + 4000]
    # The first thing that all threads do at once is one that no fit has done before.
    answers = som.transform(rows), som.predict(rows), som.bmus(rows, n_bmus=3), som.score(rows)
    return digest(*answers)

starts = [2000 * thread for thread in range(8)]
asked_at_once = [at_once([lambda s=s: ask(s) for s in starts]) for _ in range(3)]
print(json.dumps([fits_at_once, one_by_one, asked_at_once, [ask(start) for start in starts]]))
"""


@pytest.fixture(scope="module")
def threads():
    """Maps fitted and asked in threads at once, from the first start of TensorFlow on."""
    return run(THREADS)


def test_fits_in_threads_at_once_equal_fits_one_after_the_other(threads):
    (at_once, one_by_one, _, _), _ = threads
    assert at_once == one_by_one
    assert one_by_one[0] != one_by_one[1]


def test_eight_threads_at_once_get_the_answers_that_one_gets(threads):
    (_, _, at_once, alone), _ = threads
    assert at_once == [alone] * 3
    assert len(set(alone)) == 8


def test_threads_that_start_at_once_print_nothing(threads):
    _, err = threads
    assert err == b""

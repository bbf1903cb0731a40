"""Functions for new processes of `test_processes.py`: `start` and `start_with_difficulty`."""

import contextlib
import hashlib
import itertools
import logging
import multiprocessing
import os
import pickle
import random
import signal
import sys
import threading
import time
import warnings

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_info
from threads import run_simultaneously

from sklearn_tfsom import TFSOM
from sklearn_tfsom._search import nearest

nearest.MAX_NUMPY_INCOMPLETE = 0  # under "manhattan" in a graph, however few

IMPORTED_BY, ENVIRONMENT = os.getpid(), dict(os.environ)

X = np.random.RandomState(0).normal(size=(8000, 5))
FEW = X[:300]
STORED = csr_array(np.maximum(FEW, 0))
GAPPY = np.where(FEW > 1.5, np.nan, FEW)
WIDE = np.random.RandomState(1).normal(size=(4000, 64))


def digest(*arrays):
    parts = (np.ascontiguousarray(array).tobytes() for array in arrays)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def small_map(**parameters):
    return TFSOM(**{"grid_size": (5, 4), "max_iter": 6, "random_state": 0, **parameters})


def graph_map(**parameters):
    return small_map(metric="manhattan", **parameters)


def fit_in_graph():
    """Fit in TensorFlow, and return a digest."""
    return digest(graph_map().fit(GAPPY).codebook_)


# Reproducibility

# name: (parameters, samples)
KINDS = {
    "gaussian": ({}, X),
    "bubble": ({"neighborhood": "bubble"}, X),
    "odd hexagonal torus": ({"boundary": "toroidal"}, X),
    "clusters": ({"n_clusters": 3}, FEW),
    "sample": ({"init": "sample"}, X),
    "random": ({"init": "random"}, X),
    "wide": ({}, WIDE),
    "large": ({"grid_size": (24, 20), "max_iter": 3}, X),
    "manhattan": ({"metric": "manhattan", "max_iter": 8, "tol": 0}, X),
    "sparse": ({}, STORED),
    "manhattan, incomplete": ({"metric": "manhattan"}, GAPPY),
}
IN_GRAPHS = ("gaussian", "wide", "large", "manhattan", "manhattan, incomplete")


def fit_and_digest(name, dtype):
    params, X = KINDS[name]
    X = X.astype(dtype)
    som = small_map(**params).fit(X)
    results = som.predict(X), som.transform(X), som.bmus(X, n_bmus=2), som.score(X)
    return digest(som.codebook_, som.labels_, *results)


@contextlib.contextmanager
def numpy_limited(n_scores, n_incomplete=0):
    """Limit scores and differences, and those of incomplete samples; graphs search more."""
    names = [f"MAX_NUMPY_{name}" for name in ("SCORES", "DIFFERENCES", "INCOMPLETE")]
    limits = [getattr(nearest, name) for name in names]
    for name, limit in zip(names, (n_scores, n_scores, n_incomplete), strict=True):
        setattr(nearest, name, limit)
    yield
    for name, limit in zip(names, limits, strict=True):
        setattr(nearest, name, limit)


def compute_digests(n_fits):
    """Return the digests of some fits of each kind, in NumPy and in graphs."""
    dtypes = dict(zip(KINDS, itertools.cycle(["float64", "float32"]), strict=False))
    with numpy_limited(2**31, 2**31):
        digests = {
            name: [fit_and_digest(name, dtypes[name]) for _ in range(n_fits)] for name in KINDS
        }
    with numpy_limited(0):
        for name in IN_GRAPHS:
            fits = [fit_and_digest(name, dtypes[name]) for _ in range(n_fits)]
            digests[f"{name}, graph"] = fits
    return digests


# Calls that need no TensorFlow


def use_small_data():
    """Return error messages of invalid parameters, and the heavy modules that are imported."""
    import sklearn_tfsom.displays
    import sklearn_tfsom.metrics  # noqa: F401

    som = pickle.load(sys.stdin.buffer)
    repr(som), som.get_params(), som.get_feature_names_out(), som._repr_html_()
    messages = []
    for som in (TFSOM(max_iter=0), TFSOM(init=np.zeros((3, 3)))):
        try:
            som.fit(FEW)
        except ValueError as error:
            messages.append(str(error))
    som = small_map(n_clusters=3).fit(FEW)
    som.predict(FEW), som.transform(FEW), som.score_samples(FEW), som.bmus(FEW, n_bmus=2)
    small_map().partial_fit(FEW)
    som = pickle.loads(pickle.dumps(graph_map().fit(FEW)))
    som.predict(FEW), som.transform(FEW)
    return messages, [
        name for name in ("tensorflow", "keras", "matplotlib") if name in sys.modules
    ]


# Forks


def run_in_fork(function):
    """Return what a forked child returns, or its error."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # kills a child that hangs
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


def use_map_in_forks():
    """Return what children do that are forked after TensorFlow has started, for each method."""
    som = graph_map().fit(GAPPY)
    results = {
        method: run_in_fork(lambda method=method: str(getattr(som, method)(GAPPY)))
        for method in ("fit", "predict", "bmus", "quantize", "score", "score_samples")
    }
    with multiprocessing.get_context("fork").Pool(1) as pool:
        try:
            results["pool"] = str(pool.apply_async(som.predict, (GAPPY,)).get(timeout=20))
        except Exception as error:
            results["pool"] = f"{type(error).__name__}: {error}"
    return results


def fit_small_data():
    return digest(small_map().fit(FEW).codebook_)


def fit_tiles():
    """Fit in NumPy, in several threads, and return a digest."""
    return digest(small_map().fit(WIDE).codebook_)


def fork_beside_fits():
    """Return results of children that are forked while three threads fit, and the right one."""
    is_done = threading.Event()

    def fit():
        while not is_done.is_set():
            fit_tiles()

    fitting = [threading.Thread(target=fit) for _ in range(3)]
    for thread in fitting:
        thread.start()
    of_children = []
    for number in range(10):
        time.sleep(number / 100)  # forks at different moments of the fits
        of_children.append(run_in_fork(fit_tiles))
    is_done.set()
    for thread in fitting:
        thread.join()
    return of_children, fit_tiles()


# Threads

# Parameters and samples of simultaneous fits, the last two in graphs.
FITS = [
    ({"max_iter": 20, "tol": 0, "init": "sample"}, WIDE),
    ({"max_iter": 20, "tol": 0, "neighborhood": "bubble"}, X),
    ({"grid_size": (24, 20), "max_iter": 3}, X),
    ({"metric": "manhattan"}, GAPPY),
]
N_REPEATED_FITS = 10


def fit_digest(params, X):
    som = small_map(**params).fit(X)
    return digest(som.codebook_, som.labels_)


def start_in_threads():
    """Start TensorFlow in a thread, and meanwhile fork, and then fit in four other threads.

    Returns the result of the fork, and those of the fits in threads and one by one.
    """
    starting = threading.Thread(target=fit_in_graph)
    starting.start()
    while starting.is_alive() and "tensorflow" not in sys.modules:  # its import takes a while
        time.sleep(0.001)
    forked = run_in_fork(fit_in_graph) if hasattr(os, "fork") else None
    repeat = range(N_REPEATED_FITS)
    with numpy_limited(2**23):  # fewer than those of the third fit
        simultaneous = run_simultaneously(
            [lambda fit=fit: [fit_digest(*fit) for _ in repeat] for fit in FITS]
        )
        one_by_one = [fit_digest(*fit) for fit in FITS]
    starting.join()
    return forked, simultaneous, one_by_one


def query_in_threads():
    """Return results of a shared map in eight threads, three times, and in one thread."""
    som = small_map(max_iter=3).fit(X)

    def query(start):
        rows = X[start : start + 4000]
        results = som.transform(rows), som.predict(rows), som.bmus(rows, n_bmus=3)
        return digest(*results, som.score(rows))

    starts = [500 * thread for thread in range(8)]
    queries = [lambda start=start: query(start) for start in starts]
    simultaneous = [run_simultaneously(queries) for _ in range(3)]
    return simultaneous, [query(start) for start in starts]


def count_blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def count_blas_threads_after_calls():
    """Return the threads of BLAS after simultaneous calls, five times."""
    many = np.random.RandomState(0).normal(size=(60_000, 5))
    som = TFSOM(grid_size=12, max_iter=3).fit(many)

    def transform(number):
        time.sleep(number / 100)  # calls begin and end at different times
        som.transform(many)

    counts = []
    for _ in range(5):
        run_simultaneously([lambda n=n: transform(n) for n in range(4)])
        counts.append(count_blas_threads())
    return counts


# Workers


def get_state():
    """Return global state that no fit may change."""
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


def work_after_import(environment):
    """Import TensorFlow, then return what a first fit changes, and the digests of all kinds.

    The environment is the one before the parent started TensorFlow, which may have changed it.
    """
    os.environ.clear()
    os.environ.update(environment)
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # the import writes to standard error
        os.dup2(nowhere.fileno(), 2)
        import tensorflow  # noqa: F401
    os.dup2(stderr, 2)
    before = get_state()
    for data in (FEW, GAPPY):
        som = graph_map(init="sample").fit(data)
        som.predict(data), som.transform(data), som.bmus(data, n_bmus=2), som.score(data)
    after = get_state()
    changed = [name for name in before if before[name] != after[name]]
    return {"changed": changed, "fit": fit_in_graph(), "digests": compute_digests(1)}


def work_without_standard_error():
    """Fit in a process that was forked after the import of this module."""
    sys.stderr.close()
    os.close(2)
    return {"is forked": os.getpid() != IMPORTED_BY, "fit": fit_in_graph()}


def work_in_joblib():
    result = fit_in_graph()
    import tensorflow as tf

    return {
        "is new": os.getpid() == IMPORTED_BY,
        "joblib": int(os.environ["OMP_NUM_THREADS"]),
        "intra": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter": tf.config.threading.get_inter_op_parallelism_threads(),
        "fit": result,
    }


def run_workers():
    """Return the results of workers of each start method; TensorFlow has started here."""
    import joblib

    work = {
        "spawn": (work_after_import, (ENVIRONMENT,)),
        "forkserver": (work_without_standard_error, ()),
    }
    pools, results = [], {}
    for method in work.keys() & multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload([__name__])
        pools.append(context.Pool(1))
        results[method] = pools[-1].apply_async(*work[method])
    # Three threads: not the default on a machine with two cores.
    with joblib.parallel_config(backend="loky", inner_max_num_threads=3):
        (of_joblib,) = joblib.Parallel(n_jobs=2)([joblib.delayed(work_in_joblib)()])
    workers = {method: result.get() for method, result in results.items()} | {"loky": of_joblib}
    for pool in pools:
        pool.close()
        pool.join()
    return workers


def start():
    """Return the results of threads, forks and workers of one process, in this order."""
    n_blas_threads = count_blas_threads()  # before any fit
    small = use_small_data()
    blas_threads = n_blas_threads, count_blas_threads_after_calls()
    during_start, *fits = start_in_threads()
    results = {
        "small data": small,
        "blas threads": blas_threads,
        "fits": fits,
        "queries": query_in_threads(),
        "digests": compute_digests(2),
        "fit": fit_in_graph(),
        "workers": run_workers(),
    }
    if hasattr(os, "fork"):
        results["forked"] = {
            "during": during_start,
            "after": use_map_in_forks(),
            "small": [run_in_fork(fit_small_data), fit_small_data()],
            "beside fits": fork_beside_fits(),
        }
    return results


# Difficult starts


class Hook:
    """A finder of modules that writes, or raises an error, when TensorFlow is imported."""

    def __init__(self, is_failing):
        self.is_failing = is_failing

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return
        if self.is_failing:
            os.write(2, b"before\n")
            raise ImportError("no tensorflow here")
        os.write(2, b"the hook writes\n")
        os.write(2, b"I am a line with a file.cc: in it\n")
        print("the hook prints", file=sys.stderr)
        logging.getLogger("other").warning("the hook logs")
        os.system("echo a child writes >&2")


def get_descriptors():
    """Return the next free descriptor, and the file of standard error."""
    free = os.dup(2)
    os.close(free)
    return free, os.fstat(2).st_ino


def fail_to_import():
    """Return the messages of two fits that cannot import TensorFlow, and what they change."""
    before, messages = get_descriptors(), []
    sys.meta_path.insert(0, Hook(is_failing=True))
    for _ in range(2):
        try:
            fit_in_graph()
        except ImportError as error:
            messages.append(str(error))
        os.write(2, b"after\n")
    sys.meta_path.pop(0)
    return messages, before == get_descriptors()


def import_beside_writer():
    """Start TensorFlow while a thread writes lines; return their number, and those meanwhile."""
    sys.meta_path.insert(0, Hook(is_failing=False))
    is_done, during = threading.Event(), []

    def write():
        while not is_done.is_set():
            os.write(2, b"line %d\n" % len(during))
            during.append("tensorflow" in sys.modules)
            is_done.wait(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    fit_in_graph()
    is_done.set()
    writer.join()
    return len(during), sum(during)


def limit_address_space(n_bytes):
    """Limit the address space of this process to `n_bytes` more than it has."""
    import resource

    with open("/proc/self/statm") as file:
        n_pages = int(file.read().split()[0])
    most = n_pages * resource.getpagesize() + n_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


# Maps and samples that are fitted in little address space.
LIMITED_FITS = [(small_map(), FEW), (small_map(), X), (graph_map(), FEW), (graph_map(), GAPPY)]


def fit_in_little_space():
    """Return what children do that have 5, 60 and 200 MiB more."""

    def fit(som, X, n_mib):
        limit_address_space(n_mib * 2**20)
        try:
            som.fit(X)
        except MemoryError as error:
            return str(error)
        return "fitted"

    fits = [(*fit, n_mib) for fit in LIMITED_FITS for n_mib in (5, 60, 200)]
    return [run_in_fork(lambda given=given: fit(*given)) for given in fits]


def start_with_difficulty():
    """Return what happens if TensorFlow can't be imported, lacks memory, and then starts."""
    results = {"failed": fail_to_import()}
    if os.path.exists("/proc/self/statm"):
        results["little space"] = fit_in_little_space()
        limit_address_space(2**34)
    results["writer"] = import_beside_writer()
    results["fitted"] = [bool(som.fit(X).n_iter_) for som, X in LIMITED_FITS]
    return results

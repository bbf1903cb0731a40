"""Shared code of the benchmarks: arguments, data, timing, memory, errors and result files."""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from render import RESULTS, format_page
from sklearn.cluster import KMeans
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
)
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM
from sklearn_tfsom._distance import METRICS
from sklearn_tfsom._map.scores import SearchKind
from sklearn_tfsom._search.nearest import suits_numpy
from sklearn_tfsom._tuning import MIN_PRUNED

PACKAGES = ("sklearn-tfsom", "tensorflow", "scikit-learn", "numpy")
# Idle OpenMP and OpenBLAS threads spin for 0.1 to 0.2 s before they sleep. A call that is timed
# earlier competes with them for the cores.
PAUSE_SECONDS = 0.4
_STARTED = time.perf_counter()

PARTIAL_RESULTS = RESULTS.parent.parent / "output" / "results"
# Results that are complete only with reference data.
WITH_REFERENCE = ("anomaly", "clustering", "folds", "quality")

LOADERS = {
    "iris": load_iris,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
    "diabetes": load_diabetes,
}
LABELED_SETS = ("iris", "wine", "breast cancer", "digits")


def parse_arguments(description, *, has_reference=False):
    """Parse the command line.

    Parameters
    ----------
    description : str
        Shown by ``--help``.
    has_reference : bool, default=False
        Whether the script can use reference data, ``--reference FOLDER``.

    Returns
    -------
    arguments : Namespace
        `short` and, with `has_reference`, `reference`: a Path or None.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--short", action="store_true", help="use fewer points and rounds (a few minutes)"
    )
    if has_reference:
        parser.add_argument(
            "--reference",
            type=Path,
            metavar="FOLDER",
            help="folder of reference data that are not part of the repository",
        )
    return parser.parse_args()


# Data


def load_standardized(name):
    """Return the samples and targets of a set of scikit-learn; digits are not standardized."""
    X, y = LOADERS[name](return_X_y=True)
    return (X if name == "digits" else StandardScaler().fit_transform(X)), y


def make_curved_data(n_samples, n_features, n_latent=3, seed=0):
    """Generate noisy samples on a curved manifold of `n_latent` dimensions, scaled to [0, 1]."""
    rng = np.random.default_rng(seed)
    latent = rng.random((n_samples, n_latent))
    frequencies = 2 * rng.normal(size=(n_latent, n_features))
    phases = rng.uniform(0, 2 * np.pi, n_features)
    X = np.cos(latent @ frequencies + phases) + 0.2 * rng.normal(size=(n_samples, n_features))
    X -= X.min(axis=0)
    return (X / X.max(axis=0)).astype(np.float32)


def mirror(X):
    """Mirror samples so that the initial map on them has its columns in reverse order.

    The sign of a principal direction is arbitrary: TFSOM makes its largest component positive.
    Mirrored along the second direction, the samples have the same directions, and so the initial
    map of the mirrored samples is the mirrored initial map. All errors stay the same.

    With missing values, only the sign of a single feature can be changed: of the one with the
    largest component of the second direction, which must not have that of the first, too.
    """
    is_missing = np.isnan(X)
    centered = np.where(is_missing, 0, X - np.nanmean(X, axis=0))
    first, second = np.linalg.svd(centered, full_matrices=False)[2][:2]
    if not is_missing.any():
        return X - 2 * np.outer(centered @ second, second)
    feature = np.abs(second).argmax()
    if feature == np.abs(first).argmax():
        raise ValueError("Both principal directions have their largest component in one feature.")
    return X * np.where(np.arange(X.shape[1]) == feature, -1, 1)


def format_shape(shape):
    """Return a shape as text, "rows x columns"."""
    return f"{shape[0]} x {shape[1]}"


def describe_data(name, X):
    """Return the name of a data set with its shape."""
    return f"{name} ({format_shape(X.shape)})"


# Models


def fit_map(X, grid_size, init, n_epochs, **parameters):
    """Fit a map for a fixed number of epochs of radius 1."""
    som = TFSOM(
        grid_size,
        init=init,
        radius_decay=np.ones(n_epochs),
        max_iter=n_epochs,
        tol=0,
        **parameters,
    )
    return som.fit(X)


def fit_kmeans(X, start, n_iterations):
    """Fit k-means from given centers, for at most `n_iterations` iterations."""
    return KMeans(len(start), init=start, n_init=1, max_iter=n_iterations, tol=0).fit(X)


def get_codebook(model):
    """Return the code vectors of a map or the centers of k-means."""
    return model.codebook_ if isinstance(model, TFSOM) else model.cluster_centers_


class Errors(NamedTuple):
    """Errors of a codebook on some samples.

    Attributes
    ----------
    quantization_error : float
        Mean distance of the samples to their best-matching units.
    inertia : float
        Sum of the squares of these distances.
    topographic_error : float or None
        Share of samples whose two best-matching units are not among each other's 8 neighbors;
        None without a grid.
    """

    quantization_error: float
    inertia: float
    topographic_error: float | None


def compute_errors(X, codebook, grid_shape=None):
    """Compute the errors of a codebook in the same way for all libraries.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    codebook : ndarray of shape (n_units, n_features)
        Code vectors, row-major.
    grid_shape : tuple (n_rows, n_columns), default=None
        Shape of a planar rectangular map.

    Returns
    -------
    errors : Errors
    """
    X, codebook = X.astype(np.float32, copy=False), np.asarray(codebook, dtype=np.float32)
    step = max(1, 2**24 // len(codebook))
    distances, n_separated = [], 0
    for tile in (X[first : first + step] for first in range(0, len(X), step)):
        scores = np.einsum("ij,ij->i", codebook, codebook) - 2 * tile @ codebook.T
        bmus = scores.argmin(axis=1)
        distances.append(np.linalg.norm(tile - codebook[bmus], axis=1).astype(np.float64))
        if grid_shape is not None:
            scores[np.arange(len(tile)), bmus] = np.inf
            second_bmus = scores.argmin(axis=1)
            steps = np.abs(
                np.subtract(*(divmod(units, grid_shape[1]) for units in (bmus, second_bmus)))
            )
            n_separated += np.count_nonzero(steps.max(axis=0) > 1)
    distances = np.concatenate(distances)
    return Errors(
        quantization_error=float(distances.mean()),
        inertia=float(np.square(distances).sum()),
        topographic_error=None if grid_shape is None else n_separated / len(X),
    )


# Timing


def time_call(call, n_calls=1):
    """Return the mean time of a call over `n_calls` calls, in seconds."""
    start = time.perf_counter()
    for _ in range(n_calls):
        call()
    return (time.perf_counter() - start) / n_calls


def time_warm_call(call, n_calls=1, pause=0.0):
    """Return the mean time of a call after a pause (in seconds) and an untimed first call.

    The first call wakes the threads and allocates the memory for the results.
    """
    time.sleep(pause)
    call()
    return time_call(call, n_calls)


def time_short_and_long_fit(fit, n_few=2, n_many=12, n_calls=1):
    """Time a short and a long fit; their difference is the time of the iterations between.

    Parameters
    ----------
    fit : callable
        ``fit(n)`` returns a model fitted for at most n iterations; its `n_iter_` is used.
    n_few, n_many : int, default=2, 12
        Number of iterations of the short and of the long fit.
    n_calls : int, default=1
        Number of fits that each time is averaged over.

    Returns
    -------
    short, long : float
        Seconds, divided by the number of iterations between. `reduce_rounds` reduces each over
        the rounds before it takes the difference, because the minimum of a difference is biased.
    """
    n_iterations = []
    fit(n_few)  # wakes the threads, as in `time_warm_call`
    short, long = (
        time_call(lambda n=n: n_iterations.append(fit(n).n_iter_), n_calls)
        for n in (n_few, n_many)
    )
    n_between = max(1, n_iterations[-1] - n_iterations[0])
    return short / n_between, long / n_between


def search_engine(n_samples, n_units, *numbers_of_epochs):
    """Return what searches in fits of full epochs by products: "NumPy" or "TensorFlow".

    Raises
    ------
    ValueError
        If a short fit and a long one are searched differently: their difference would be the time
        of neither.
    """
    kind = SearchKind(METRICS["euclidean"], has_missing=False, is_pruned=n_units >= MIN_PRUNED)
    codebook = np.empty((n_units, 1))
    engines = {
        "NumPy" if suits_numpy(n_samples * n_epochs, codebook, kind) else "TensorFlow"
        for n_epochs in numbers_of_epochs
    }
    if len(engines) > 1:
        raise ValueError(
            f"{n_samples} samples on {n_units} units are searched by {' and '.join(engines)} in "
            f"fits of {numbers_of_epochs} epochs."
        )
    return engines.pop()


def time_alternately(tasks, n_rounds):
    """Time tasks in turn (A B A B ...), so that drift of the machine affects all alike.

    Parameters
    ----------
    tasks : dict of str to callable
        Each returns seconds, or a pair from `time_short_and_long_fit`.
    n_rounds : int
        Number of rounds; an additional first round is discarded.

    Returns
    -------
    seconds : dict of str to ndarray of shape (n_rounds,) or (n_rounds, 2)
    """
    rounds = [{name: task() for name, task in tasks.items()} for _ in range(n_rounds + 1)]
    return {name: np.array([times[name] for times in rounds[1:]]) for name in tasks}


def reduce_rounds(seconds, reduction):
    """Reduce the times of several rounds to one number.

    Parameters
    ----------
    seconds : array-like of shape (n_rounds,) or (n_rounds, 2)
        Seconds, or pairs from `time_short_and_long_fit`.
    reduction : callable
        ``np.median`` or ``np.min``.

    Returns
    -------
    seconds : float
    """
    value = reduction(seconds, axis=0)
    return float(value[1] - value[0]) if value.ndim else float(value)


def median_and_minimum(seconds, scale=1.0):
    """Return the median and the minimum over the rounds, see `reduce_rounds`, times `scale`."""
    return tuple(scale * reduce_rounds(seconds, reduction) for reduction in (np.median, np.min))


def geometric_mean(values):
    """Return the geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


# Processes and memory


def make_process_pool():
    """Return a pool of one new process, which imports everything itself."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def run_in_new_process(function, *arguments):
    """Call a module-level function in a new process and return its result."""
    with make_process_pool() as pool:
        return pool.submit(function, *arguments).result()


def has_process_status():
    """Return True if the system reports the memory of a process as Linux does."""
    return Path("/proc/self/status").exists()


def read_process_status(field):
    """Return a memory field of this process, such as "VmRSS", in MiB. Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field))) / 2**10


def measure_peak_memory(call):
    """Return the peak memory of a call in addition to that held before, in MiB.

    On Linux it is the peak of the resident set, reset before the call, minus the resident set
    before the call. Other systems cannot reset the peak: there it is the growth of the peak of
    the process.
    """
    if not has_process_status():
        scale = 2**20 if sys.platform == "darwin" else 2**10
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        call()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / scale
    Path("/proc/self/clear_refs").write_text("5")
    before = read_process_status("VmRSS")
    call()
    return read_process_status("VmHWM") - before


def import_tensorflow():
    """Import TensorFlow with few of its start-up messages."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow  # noqa: TID251  # the benchmarks exclude its import from their times

    return tensorflow


# Results


def _ask_git(*arguments):
    """Return what git prints; nothing without git."""
    command = ["git", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=RESULTS.parent)
    return done.stdout.strip()


def describe_machine(packages):
    """Return processor, versions, commit, date and duration of a run as a dict."""
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), cpu)
    commit = _ask_git("rev-parse", "--short", "HEAD")
    if _ask_git("status", "--porcelain", "--", ":/", ":(exclude,top)benchmarks/results"):
        commit += "-dirty"
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "versions": {name: version(name) for name in (*PACKAGES, *packages)},
        "commit": commit,
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.perf_counter() - _STARTED),
        "arguments": [each.partition("=")[0] for each in sys.argv[1:] if each.startswith("-")],
    }


def save_results(name, tables, notes, *, packages=()):
    """Write results/NAME.json, from which render.py builds the page, and print that page.

    A run that leaves something out, with ``--short`` or without ``--reference``, and one of a tree
    with changes, is written to output/results instead: it replaces no published result.

    Parameters
    ----------
    name : str
        Name of the file, a key of `render.PAGES`.
    tables : dict of str to list of dict
        Rows for each heading, as dicts of the same keys. A heading may be "".
    notes : list of str
        Explanations, shown below the tables.
    packages : iterable of str
        Further distributions whose versions are recorded.
    """
    machine = describe_machine(packages)
    lacks_reference = name in WITH_REFERENCE and "--reference" not in machine["arguments"]
    is_partial = "--short" in machine["arguments"] or lacks_reference
    is_partial = is_partial or machine["commit"].endswith("-dirty")
    folder = PARTIAL_RESULTS if is_partial else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine, "notes": notes, "tables": tables}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(format_page(name, content))

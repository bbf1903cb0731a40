"""What all benchmarks share: fair timing, memory, errors, the machine, results as files."""

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

import numpy as np

RESULTS = Path(__file__).resolve().parent / "results"
# Seconds until threads that wait for more work, spinning, have fallen asleep (those of OpenMP and
# OpenBLAS do so for 0.1 to 0.2 s): what is timed next is to have the machine to itself.
REST = 0.4
PACKAGES = ("sklearn-tfsom", "tensorflow", "scikit-learn", "numpy")


def is_short(description):
    """Read the command line: whether the short set is asked for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--short", action="store_true", help="fewer points and rounds: minutes")
    return parser.parse_args().short


def alternate(tasks, n_rounds):
    """Time tasks in turn, A B A B ..., so that a drift of the machine meets all alike.

    Parameters
    ----------
    tasks : dict of str to callable
        Each returns seconds, or a pair from `per_iteration`.
    n_rounds : int
        Rounds that count; one more comes first and is dropped.

    Returns
    -------
    seconds : dict of str to ndarray of shape (n_rounds,) or (n_rounds, 2)
    """
    rounds = [{name: task() for name, task in tasks.items()} for _ in range(n_rounds + 1)]
    return {name: np.array([each[name] for each in rounds[1:]]) for name in tasks}


def warm_seconds_of(call, n_calls=1, rest=0.0):
    """Time one call after another one, as the mean of several, some seconds after what was before.

    The first wakes the threads that it needs, and finds the memory for its results, after whatever
    ran before.
    """
    time.sleep(rest)
    call()
    return seconds_of(call, n_calls)


def seconds_of(call, n_calls=1):
    """Time one call, as the mean of several."""
    start = time.perf_counter()
    for _ in range(n_calls):
        call()
    return (time.perf_counter() - start) / n_calls


def per_iteration(fit, few=2, many=12, n_calls=1):
    """Time one iteration: the difference between fits of many and of few iterations.

    Parameters
    ----------
    fit : callable
        Returns a model fitted in so many iterations, or fewer: `n_iter_` counts.
    few, many : int, default=2, 12
    n_calls : int, default=1
        Both times are means of so many calls.

    Returns
    -------
    less, more : float
        Seconds; their difference is the time of an iteration. `reduced` takes it after it has
        reduced each of them over the rounds: a difference has no minimum that means something.
    """
    done = []
    fit(few)  # as in `warm_seconds_of`
    less, more = (
        seconds_of(lambda n=n: done.append(fit(n).n_iter_), n_calls) for n in (few, many)
    )
    n_iterations = max(1, done[-1] - done[0])
    return less / n_iterations, more / n_iterations


def reduced(seconds, reduction):
    """Reduce the seconds of some rounds, or pairs from `per_iteration`, to one number.

    Parameters
    ----------
    seconds : array-like of shape (n_rounds,) or (n_rounds, 2)
    reduction : callable
        ``np.median`` or ``np.min``.

    Returns
    -------
    seconds : float
    """
    value = reduction(seconds, axis=0)
    return float(value[1] - value[0]) if value.ndim else float(value)


def geometric_mean(values):
    """Compute the geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def own_process():
    """Make a pool of one fresh process, which imports what it needs itself."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def in_own_process(function, *arguments):
    """Call a function of a module in a fresh process."""
    with own_process() as pool:
        return pool.submit(function, *arguments).result()


def peak_mebibytes(call):
    """Measure the most memory that a call holds beyond what its process held before.

    On Linux it is the peak of the resident set, reset before the call, minus the resident set
    then. Elsewhere the peak cannot be reset: it is the growth of the process's highest peak.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        unit = 2**20 if sys.platform == "darwin" else 2**10
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        call()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit

    def kibibytes(name):
        lines = status.read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(name)))

    Path("/proc/self/clear_refs").write_text("5")
    before = kibibytes("VmRSS")
    call()
    return (kibibytes("VmHWM") - before) / 2**10


def curved_data(n_samples, n_features, n_latent=3, seed=0):
    """Make samples on a curved sheet of few dimensions, with noise, each feature in [0, 1]."""
    rng = np.random.default_rng(seed)
    latent = rng.random((n_samples, n_latent))
    frequencies = 2 * rng.normal(size=(n_latent, n_features))
    phases = rng.uniform(0, 2 * np.pi, n_features)
    X = np.cos(latent @ frequencies + phases) + 0.2 * rng.normal(size=(n_samples, n_features))
    X -= X.min(axis=0)
    return (X / X.max(axis=0)).astype(np.float32)


def errors(X, codebook, grid_shape=None):
    """Measure a codebook, whoever trained it.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    codebook : ndarray of shape (n_units, n_features)
        Row-major.
    grid_shape : tuple (n_rows, n_columns), default=None
        Of a rectangular map.

    Returns
    -------
    quantization_error : float
        Mean distance of the samples to their best-matching units.
    inertia : float
        Sum of the squares of these distances.
    topographic_error : float or str
        Share of samples whose two best-matching units are not among the 8 neighbors of each
        other; "" without a grid.
    """
    X, codebook = X.astype(np.float32, copy=False), np.asarray(codebook, dtype=np.float32)
    step = max(1, 2**24 // len(codebook))
    distances, n_apart = [], 0
    for tile in (X[first : first + step] for first in range(0, len(X), step)):
        scores = np.einsum("ij,ij->i", codebook, codebook) - 2 * tile @ codebook.T
        bmus = scores.argmin(axis=1)
        distances.append(np.linalg.norm(tile - codebook[bmus], axis=1).astype(np.float64))
        if grid_shape is not None:
            scores[np.arange(len(tile)), bmus] = np.inf
            seconds = scores.argmin(axis=1)
            apart = np.abs(np.subtract(*(divmod(u, grid_shape[1]) for u in (bmus, seconds))))
            n_apart += np.count_nonzero(apart.max(axis=0) > 1)
    distances = np.concatenate(distances)
    topographic_error = "" if grid_shape is None else n_apart / len(X)
    return float(distances.mean()), float(np.square(distances).sum()), topographic_error


def import_tensorflow():
    """Import TensorFlow without its start-up lines."""
    from sklearn_tfsom._tf.silence import startup_lines_held_back

    with startup_lines_held_back():
        import tensorflow  # noqa: TID251  # to time it, or to time what comes after it
    return tensorflow


def machine(packages):
    """Describe where and with what the numbers were made."""
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), cpu)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=RESULTS.parent,
    ).stdout.strip()
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "versions": {name: version(name) for name in (*PACKAGES, *packages)},
        "commit": commit,
        "date": time.strftime("%Y-%m-%d"),
    }


def save(name, title, tables, notes, *, picture=None, packages=()):
    """Write results/NAME.json and results/NAME.md, and print them.

    Parameters
    ----------
    name, title : str
    tables : dict of str to list of dict
        For each heading rows, dicts of the same keys. A heading may be "".
    notes : list of str
    picture : Figure, default=None
        Saved as results/NAME.png.
    packages : iterable of str
        Distributions beyond our own whose versions matter.
    """
    RESULTS.mkdir(exist_ok=True)
    where = machine(packages)
    content = {"machine": where, "notes": notes, "tables": tables}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    lines = [
        f"# {title}",
        "",
        f"{where['cores']} cores, {where['cpu']}, "
        + ", ".join(f"{package} {number}" for package, number in where["versions"].items())
        + f", commit {where['commit']}, {where['date']}.",
        "",
        *(line for heading, rows in tables.items() for line in _table(heading, rows)),
    ]
    if picture is not None:
        picture.savefig(RESULTS / f"{name}.png", dpi=100)
        lines += [f"![{title}]({name}.png)", ""]
    lines += [f"- {note}" for note in notes]
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines) + "\n")


def _table(heading, rows):
    return [
        *([f"## {heading}", ""] if heading else []),
        "| " + " | ".join(rows[0]) + " |",
        "|" + "---|" * len(rows[0]),
        *("| " + " | ".join(_shown(value) for value in row.values()) + " |" for row in rows),
        "",
    ]


def _shown(value):
    return f"{value:.3g}" if isinstance(value, float) else str(value)

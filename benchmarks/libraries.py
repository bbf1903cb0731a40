"""Training of the same map with other libraries: time and errors.

Run it on a machine without other load: libraries that use OpenMP are several times slower beside
other processes.
"""

import inspect
import os
import sys
import time
from dataclasses import replace

import numpy as np
from adapters import ADAPTERS, Task, is_installed, is_tfsom
from common import (
    PAUSE_SECONDS,
    compute_errors,
    format_shape,
    geometric_mean,
    make_curved_data,
    make_process_pool,
    median_and_minimum,
    parse_arguments,
    save_results,
    time_alternately,
    time_call,
)
from sklearn.decomposition import PCA

# (n_samples, n_features), (n_rows, n_columns)
SHAPES = [
    ((50_000, 64), (20, 20)),
    ((300_000, 64), (20, 20)),
    ((50_000, 32), (50, 40)),
]
N_EPOCHS = 10
N_ROUNDS = 15
# A library that needs more than SLOW_SECONDS for a fit, estimated from N_PILOT samples, is timed
# once, on as many samples as it can process in BUDGET_SECONDS.
SLOW_SECONDS = 6.0
BUDGET_SECONDS = 15.0
N_PILOT = 2000
COARSE_TO_FINE = "TFSOM, coarse to fine"


def make_principal_plane(X, grid_shape):
    """Return a codebook on the plane of the two main components, one deviation to each side.

    The longer side of the grid follows the first component, as in TFSOM.
    """
    n_rows, n_columns = grid_shape
    pca = PCA(2, svd_solver="covariance_eigh").fit(X)
    rows, columns = np.meshgrid(
        np.linspace(-1, 1, n_rows), np.linspace(-1, 1, n_columns), indexing="ij"
    )
    axes = (columns, rows) if n_columns > n_rows else (rows, columns)
    coordinates = np.stack([axis.ravel() for axis in axes], axis=1)
    plane = pca.mean_ + coordinates * np.sqrt(pca.explained_variance_) @ pca.components_
    return plane.astype(X.dtype)


class Trainer:
    """One library and its task."""

    def __init__(self, library, shape, grid_shape):
        sys.stdout = open(os.devnull, "w")  # some libraries print
        self._adapter, self._shape, self._grid_shape = ADAPTERS[library], shape, grid_shape

    def load(self, seed):
        """Generate the data set of a seed and its task."""
        X = make_curved_data(*self._shape, seed=seed)
        radii = np.geomspace(max(self._grid_shape) / 4, 1, N_EPOCHS)
        codebook = make_principal_plane(X, self._grid_shape)
        self._task = Task(X, self._grid_shape, initial_codebook=codebook, radii=radii)

    def fit(self, n_samples):
        """Train on the first samples; return seconds."""
        task = replace(self._task, X=self._task.X[:n_samples])

        def train():
            self._codebook = self._adapter(task)

        return time_call(train)

    def compute_errors(self):
        """Return the errors of the last map on all samples."""
        return compute_errors(self._task.X, self._codebook, self._task.grid_shape)


class RemoteTrainer:
    """A `Trainer` in its own process, so that the threads of libraries do not interfere.

    Attributes
    ----------
    errors : list of Errors
        Errors of the maps that were trained on whole data sets, by seed.
    """

    def __init__(self, *arguments):
        self._pool = make_process_pool()
        self._pool.submit(_start, *arguments).result()
        self._call("load", 0)
        self.errors = []

    def fit(self, n_samples):
        """Train on the first samples, after a pause; return seconds."""
        time.sleep(PAUSE_SECONDS)
        return self._call("fit", n_samples)

    def record_errors(self):
        """Record the errors of the last map, and load the next data set."""
        self.errors.append(self._call("compute_errors"))
        self._call("load", len(self.errors))

    def fit_and_record_errors(self):
        """Train on all samples and record the errors; return the seconds of the training."""
        seconds = self.fit(None)
        self.record_errors()
        return seconds

    def _call(self, method, *arguments):
        return self._pool.submit(_call, method, *arguments).result()


def _start(*arguments):
    global _trainer
    _trainer = Trainer(*arguments)


def _call(method, *arguments):
    return getattr(_trainer, method)(*arguments)


def compare(shape, grid_shape, libraries, n_rounds):
    """Train the same map with each library, fast libraries in alternating rounds.

    Each round has its own data set.

    Returns
    -------
    rows : list of dict
        Times, and errors on the first data set.
    differences : list of dict
        Differences between the errors of libraries over all data sets.
    skipped : list of str
        A line for each library that fails.
    """
    trainers, n_trained, seconds, skipped = {}, {}, {}, []
    for library in libraries:
        try:
            trainer = RemoteTrainer(library, shape, grid_shape)
            trainer.fit(N_PILOT)  # imports and compiles
            estimate = trainer.fit(N_PILOT) * shape[0] / N_PILOT
            n_samples = int(shape[0] * min(1, BUDGET_SECONDS / estimate))
            scaled_seconds = trainer.fit(n_samples) * shape[0] / n_samples
            estimate = min(estimate, scaled_seconds)  # overhead counts less
        except Exception as error:  # an error in one library must not stop the benchmark
            skipped.append(f"{library} is skipped: {type(error).__name__}: {error}.")
            continue
        trainers[library], n_trained[library] = trainer, n_samples
        if estimate > SLOW_SECONDS:
            seconds[library] = np.array([scaled_seconds])
            trainer.record_errors()
    fast = {
        library: trainer.fit_and_record_errors
        for library, trainer in trainers.items()
        if library not in seconds
    }
    seconds = time_alternately(fast, n_rounds) | seconds
    case = f"{format_shape(shape)}, {format_shape(grid_shape)}"
    differences = compare_errors({library: trainers[library].errors for library in fast}, case)
    rows = []
    for library, times in sorted(seconds.items(), key=lambda item: np.median(item[1])):
        median, minimum = median_and_minimum(times)
        errors = trainers[library].errors[0]
        rows.append(
            {
                "samples x features, map": case,
                "library": library,
                "fit (s)": median,
                "fit, minimum (s)": minimum,
                "fit / fit of TFSOM": float(median / np.median(seconds["TFSOM"])),
                "quantization error": errors.quantization_error,
                "topographic error": errors.topographic_error,
                "training samples": n_trained[library],
            }
        )
    return rows, list(differences), skipped


def compare_errors(errors, case):
    """Yield a row that compares coarse-to-fine maps with those of each other library.

    Parameters
    ----------
    errors : dict of str to list of Errors
        Errors of each library on the same data sets.
    case : str
        Shape of the data and of the map.
    """
    if COARSE_TO_FINE not in errors:
        return
    values = {
        library: np.array([(e.quantization_error, e.topographic_error) for e in of_library])
        for library, of_library in errors.items()
    }
    own = values.pop(COARSE_TO_FINE)
    for library, others in values.items():
        differences = own - others
        differences[:, 0] *= 100 / others[:, 0]
        quantization, topographic = differences.mean(axis=0)
        standard_errors = differences.std(axis=0, ddof=1) / np.sqrt(len(differences))
        yield {
            "samples x features, map": case,
            "library": library,
            "data sets": len(differences),
            "quantization error (%)": f"{quantization:+.3f}",
            "standard error (%)": f"{standard_errors[0]:.3f}",
            "topographic error": f"{topographic:+.4f}",
            "standard error": f"{standard_errors[1]:.4f}",
        }


def summarize(rows):
    """Yield a sentence that compares each TFSOM with the fastest other library of each task."""
    cases = dict.fromkeys(row["samples x features, map"] for row in rows)
    for own in filter(is_tfsom, ADAPTERS):
        factors = []
        for case in cases:
            seconds = {
                row["library"]: row["fit (s)"]
                for row in rows
                if row["samples x features, map"] == case
            }
            others = [library for library in seconds if not is_tfsom(library)]
            if others and own in seconds:
                fastest = min(others, key=seconds.get)
                factors.append((seconds[fastest] / seconds[own], fastest))
        if factors:
            yield (
                f"{own} compared with the fastest other library of each task: "
                + ", ".join(f"{factor:.1f} times as fast as {name}" for factor, name in factors)
                + f"; geometric mean {geometric_mean([factor for factor, _ in factors]):.1f}."
            )


def make_notes(rows, skipped, n_rounds):
    """Return the notes of the page."""
    return [
        *summarize(rows),
        *dict.fromkeys(skipped),
        f"Task: a planar rectangular map with a Gaussian neighborhood, {N_EPOCHS} epochs, a "
        "standard deviation that decreases exponentially from a quarter of the longer side to "
        "1, and an initial codebook on the plane of the principal components; float32 samples "
        "on a curved manifold. All libraries run on the CPU. Errors are computed in the same way "
        "for all libraries, on all samples, with 8 neighbors. Each round has its own data set; "
        "the errors beside the times are those of the first one.",
        f"Times: medians and minima of {n_rounds} alternating rounds after a discarded one, "
        f"without imports and compilation. Each library runs in its own process, "
        f"{PAUSE_SECONDS:g} s after the one before, because idle threads spin for a while. "
        f"Libraries that need more than {SLOW_SECONDS:.0f} s for a fit are timed once, after a "
        f"warm-up, on as many samples as they can process in {BUDGET_SECONDS:.0f} s; their times "
        "are scaled to all samples.",
        *(
            f"{library}: {' '.join(inspect.getdoc(ADAPTERS[library]).split())}"
            for library in ADAPTERS
            if library in {row["library"] for row in rows}
        ),
    ]


def main():
    """Run all shapes; with --short the first one."""
    short = parse_arguments(__doc__).short
    n_rounds = 3 if short else N_ROUNDS
    libraries = [library for library in ADAPTERS if is_installed(library)]
    skipped = [f"{name} is skipped: not installed." for name in ADAPTERS if name not in libraries]
    rows, differences = [], []
    for shape, grid_shape in SHAPES[:1] if short else SHAPES:
        results = compare(shape, grid_shape, libraries, n_rounds)
        for collected, new in zip((rows, differences, skipped), results, strict=True):
            collected += new
    tables = {"": rows}
    if differences:
        tables[f"Errors of {COARSE_TO_FINE}, minus those of the other library"] = differences
    save_results(
        "libraries",
        tables,
        make_notes(rows, skipped, n_rounds),
        packages=[name for name in libraries if not is_tfsom(name)],
    )


if __name__ == "__main__":
    main()

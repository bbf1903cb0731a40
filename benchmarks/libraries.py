"""TFSOM against the other libraries: the same map from the same start, time and errors.

Run it on a quiet machine: beside other work, libraries on OpenMP take many times longer.
"""

import inspect
import os
import sys
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from adapters import ADAPTERS, Task
from common import (
    REST,
    alternate,
    curved_data,
    errors,
    geometric_mean,
    is_short,
    own_process,
    save,
    seconds_of,
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
# A library that needs more seconds than this for a fit (by a fit of N_PILOT rows) is timed once,
SLOW = 6.0
# on as many rows as it can train on in this time.
BUDGET = 30.0
N_PILOT = 2000
OURS = "TFSOM, coarse to fine"


def principal_plane(X, grid_shape):
    """Lay the grid on the plane of the two main components, one deviation to each side.

    The longer side lies along the first, as in TFSOM.
    """
    n_rows, n_columns = grid_shape
    pca = PCA(2, svd_solver="covariance_eigh").fit(X)
    down, across = np.meshgrid(
        np.linspace(-1, 1, n_rows), np.linspace(-1, 1, n_columns), indexing="ij"
    )
    sides = (across, down) if n_columns > n_rows else (down, across)
    places = np.stack([side.ravel() for side in sides], axis=1)
    plane = pca.mean_ + places * np.sqrt(pca.explained_variance_) @ pca.components_
    return plane.astype(X.dtype)


class Trainer:
    """One library and its task."""

    def __init__(self, library, shape, grid_shape):
        sys.stdout = open(os.devnull, "w")  # some libraries print
        self._adapter, self._shape, self._grid_shape = ADAPTERS[library], shape, grid_shape

    def load(self, data_set):
        """Make the task for one of many data sets."""
        X = curved_data(*self._shape, seed=data_set)
        radii = np.geomspace(max(self._grid_shape) / 4, 1, N_EPOCHS)
        self._task = Task(X, self._grid_shape, principal_plane(X, self._grid_shape), radii)

    def fit(self, n_samples):
        """Train on the first rows; return seconds."""
        task = replace(self._task, X=self._task.X[:n_samples])

        def train():
            self._codebook = self._adapter(task)

        return seconds_of(train)

    def errors(self):
        """Measure the last map on all rows."""
        return errors(self._task.X, self._codebook, self._task.grid_shape)


class RemoteTrainer:
    """A `Trainer` in a process of its own: no library meets the threads of another.

    Attributes
    ----------
    errors : list of tuple
        What `common.errors` says of each map of a whole data set: of the first one, the second ...
    """

    def __init__(self, *arguments):
        self._pool = own_process()
        self._pool.submit(_start, *arguments).result()
        self._call("load", 0)
        self.errors = []

    def fit(self, n_samples):
        """Train on the first rows, after a rest; return seconds."""
        time.sleep(REST)
        return self._call("fit", n_samples)

    def measure(self):
        """Measure the last map on all rows of its data set, and go on to the next one."""
        self.errors.append(self._call("errors"))
        self._call("load", len(self.errors))

    def fit_and_measure(self):
        """Train on all rows, and measure; return the seconds of the training."""
        seconds = self.fit(None)
        self.measure()
        return seconds

    def _call(self, method, *arguments):
        return self._pool.submit(_call, method, *arguments).result()


def _start(*arguments):
    global _trainer
    _trainer = Trainer(*arguments)


def _call(method, *arguments):
    return getattr(_trainer, method)(*arguments)


def is_installed(library):
    """Tell whether a library is there."""
    try:
        return bool(version(distribution(library)))
    except PackageNotFoundError:
        return False


def distribution(library):
    """Name the distribution that a library comes in."""
    return "sklearn-tfsom" if library.startswith("TFSOM") else library


def compare(shape, grid_shape, libraries, n_rounds):
    """Train the same map with each library: those that are fast in alternating rounds.

    Each round has a data set of its own.

    Returns
    -------
    rows : list of dict
        Times, and errors on the first data set.
    apart : list of dict
        How errors differ over all data sets.
    skipped : list of str
        A line for each library that fails.
    """
    trainers, n_trained, seconds, skipped = {}, {}, {}, []
    for library in libraries:
        try:
            trainer = RemoteTrainer(library, shape, grid_shape)
            trainer.fit(N_PILOT)  # imports, compiles
            estimate = trainer.fit(N_PILOT) * shape[0] / N_PILOT
            n_samples = int(shape[0] * min(1, BUDGET / estimate))
            once = trainer.fit(n_samples) * shape[0] / n_samples
        except Exception as error:  # whatever a library does must not stop the others
            skipped.append(f"{library} is skipped: {type(error).__name__}: {error}.")
            continue
        trainers[library], n_trained[library] = trainer, n_samples
        if estimate > SLOW:
            seconds[library] = np.array([once])
            trainer.measure()
    fast = {
        library: trainer.fit_and_measure
        for library, trainer in trainers.items()
        if library not in seconds
    }
    seconds = alternate(fast, n_rounds) | seconds
    case = f"{shape[0]} x {shape[1]}, {grid_shape[0]} x {grid_shape[1]}"
    apart = list(differences({library: trainers[library].errors for library in fast}, case))
    rows = []
    for library, times in sorted(seconds.items(), key=lambda item: np.median(item[1])):
        quantization_error, _, topographic_error = trainers[library].errors[0]
        rows.append(
            {
                "n x d, map": case,
                "library": library,
                "fit (s)": float(np.median(times)),
                "minimum": float(times.min()),
                "times TFSOM": float(np.median(times) / np.median(seconds["TFSOM"])),
                "quantization error": quantization_error,
                "topographic error": topographic_error,
                "rows trained on": n_trained[library],
            }
        )
    return rows, apart, skipped


def differences(all_errors, case):
    """Compare the errors of our coarse-to-fine maps with those of others, set by set."""
    for other in all_errors:
        if OURS not in all_errors or other == OURS:
            continue
        pairs = np.array([all_errors[OURS], all_errors[other]])[:, :, [0, 2]]
        apart = pairs[0] - pairs[1]
        apart[:, 0] *= 100 / pairs[1, :, 0]
        quantization, topographic = apart.mean(axis=0)
        deviations = apart.std(axis=0, ddof=1) / np.sqrt(len(apart))
        yield {
            "n x d, map": case,
            "library": other,
            "data sets": len(apart),
            "quantization error (%)": f"{quantization:+.3f}",
            "its standard error": f"{deviations[0]:.3f}",
            "topographic error": f"{topographic:+.4f}",
            "standard error": f"{deviations[1]:.4f}",
        }


def summary(rows):
    """Compare each of ours with the fastest other library of each shape."""
    for ours in (library for library in ADAPTERS if library.startswith("TFSOM")):
        factors = []
        for case in dict.fromkeys(row["n x d, map"] for row in rows):
            seconds = {row["library"]: row["fit (s)"] for row in rows if row["n x d, map"] == case}
            others = [name for name in seconds if not name.startswith("TFSOM")]
            if others and ours in seconds:
                fastest = min(others, key=seconds.get)
                factors.append((seconds[fastest] / seconds[ours], fastest))
        if factors:
            yield (
                f"{ours} against the fastest other library: "
                + ", ".join(f"{factor:.1f} times as fast as {name}" for factor, name in factors)
                + f"; geometric mean {geometric_mean([factor for factor, _ in factors]):.1f}."
            )


def draw(rows):
    """Draw the times of all libraries as bars, in times TFSOM's."""
    from matplotlib.figure import Figure

    cases = list(dict.fromkeys(row["n x d, map"] for row in rows))
    figure = Figure(figsize=(4 * len(cases), 3.6), layout="constrained")
    for axes, case in zip(figure.subplots(1, len(cases), squeeze=False)[0], cases, strict=True):
        bars = [row for row in rows if row["n x d, map"] == case][::-1]
        colors = ["C1" if row["library"].startswith("TFSOM") else "C0" for row in bars]
        drawn = axes.barh(
            [row["library"] for row in bars], [row["times TFSOM"] for row in bars], color=colors
        )
        axes.bar_label(drawn, fmt="{:.3g}", padding=2)
        axes.set(xscale="log", title=case, xlabel="time of a fit, in times TFSOM's")
        axes.margins(x=0.2)
    return figure


def main():
    """Run all shapes, or the first one."""
    short = is_short(__doc__)
    n_rounds = 3 if short else N_ROUNDS
    libraries = [library for library in ADAPTERS if is_installed(library)]
    skipped = [f"{name} is skipped: not installed." for name in ADAPTERS if name not in libraries]
    rows, apart = [], []
    for shape, grid_shape in SHAPES[:1] if short else SHAPES:
        of_case = compare(shape, grid_shape, libraries, n_rounds)
        for all_cases, more in zip((rows, apart, skipped), of_case, strict=True):
            all_cases += more
    save(
        "libraries",
        "Libraries: the same map from the same start",
        {"": rows} | ({f"Errors of {OURS} less each library's": apart} if apart else {}),
        [
            *summary(rows),
            *dict.fromkeys(skipped),
            f"A planar rectangular map, Gaussian neighborhood, {N_EPOCHS} epochs, its standard "
            "deviation falling exponentially from a quarter of the longer side to 1, from the "
            "plane of the principal components; float32 data on a curved sheet. All on the CPU. "
            "Errors are measured alike, on all rows; 8 neighbors. Each round has a data set of "
            "its own, another sheet; the errors beside the times are those of the first one.",
            f"Medians and minima of {n_rounds} alternating rounds, one more dropped, imports and "
            "compilation aside, each library in its own process and, since threads wait for more "
            f"work, spinning, {REST:g} s after the one before. Those that need more than "
            f"{SLOW:.0f} s ran once, after a warm-up, on as many rows as they can train on in "
            f"{BUDGET:.0f} s; their times are scaled to all rows.",
            *(
                f"{library}: {' '.join(inspect.getdoc(ADAPTERS[library]).split())}"
                for library in ADAPTERS
                if library in {row["library"] for row in rows}
            ),
        ],
        picture=draw(rows),
        packages=[name for name in libraries if not name.startswith("TFSOM")],
    )


if __name__ == "__main__":
    main()

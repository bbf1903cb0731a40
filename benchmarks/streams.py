"""Streams: partial_fit, mini-batches, and data larger than memory, against the batch map."""

import shutil
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import numpy as np
from common import (
    alternate,
    curved_data,
    errors,
    geometric_mean,
    import_tensorflow,
    in_own_process,
    is_short,
    per_iteration,
    reduced,
    save,
    seconds_of,
)
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_sample_image,
    load_wine,
    make_swiss_roll,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM
from sklearn_tfsom.metrics import topographic_error

N_ROUNDS = 5
N_PASSES, N_PIECES = 3, 40
BATCH_SIZE, N_BATCH_EPOCHS = 256, 5
N_SAMPLES_ON_DISK, N_SAMPLES_SHORT, N_FEATURES_ON_DISK = 3_000_000, 750_000, 64
N_WRITTEN = 50_000
MOST_SHORT = 10_000
SIDE = 20
TARGET = 250
SAMPLING_SECONDS = 0.002
STATUS = Path("/proc/self/status")


def pixels(n_samples=50_000):
    """Draw pixels of the picture of China that scikit-learn ships, red, green, blue in [0, 1]."""
    image = load_sample_image("china.jpg").reshape(-1, 3) / 255
    return image[np.random.default_rng(0).choice(len(image), n_samples, replace=False)]


SETS = {
    "iris": lambda: StandardScaler().fit_transform(load_iris().data),
    "wine": lambda: StandardScaler().fit_transform(load_wine().data),
    "breast cancer": lambda: StandardScaler().fit_transform(load_breast_cancer().data),
    "digits": lambda: load_digits().data,
    "swiss roll": lambda: make_swiss_roll(20_000, random_state=0)[0],
    "pixels": pixels,
}


def pieces_of(X, order, n_first=1):
    """Cut shuffled samples into pieces; the first ones are joined until they hold `n_first`."""
    bounds = np.linspace(0, len(X), N_PIECES + 1).astype(int)[1:-1]
    return np.split(X[order], bounds[bounds >= n_first])


def learn(make, X, order, n_first=1):
    """Learn a stream in several passes over its pieces."""
    model = make()
    for number in range(N_PASSES):
        for piece in pieces_of(X, order, n_first if number == 0 else 1):
            model.partial_fit(piece)
    return model


def timed(tasks, n_rounds):
    """Time fits in alternating rounds, each in the round's own random order of the samples.

    Parameters
    ----------
    tasks : dict of str to callable
        Get a round's seed, return a model.
    n_rounds : int
        One more comes first and is dropped.

    Returns
    -------
    seconds : dict of str to ndarray of shape (n_rounds,)
    models : dict of str to list of n_rounds models
    """
    models = {name: [] for name in tasks}

    def run(name):
        return seconds_of(lambda: models[name].append(tasks[name](len(models[name]))))

    seconds = alternate({name: lambda name=name: run(name) for name in tasks}, n_rounds)
    return seconds, {name: fitted[1:] for name, fitted in models.items()}


def compared(X, seconds, models, pairs):
    """Compare errors and times of models with those of their batch versions; yield columns.

    Parameters
    ----------
    pairs : dict of str to (str, str)
        For each kind the names of the model and of its batch version.
    """
    row = {}
    for kind, (name, batch) in pairs.items():
        measured = {
            each: np.median([errors(X, codebook_of(model))[0] for model in models[each]])
            for each in (name, batch)
        }
        row |= {
            f"error, {kind}": float(measured[name]),
            f"error, its {batch}": float(measured[batch]),
            f"error ratio, {kind}": float(measured[name] / measured[batch]),
        }
    (name, batch), (yardstick, _) = pairs.values()
    folds = {
        each: float(np.median([topographic_error(model, X) for model in models[each]]))
        for each in (name, batch)
    }
    row |= {
        "topographic error": folds[name],
        "difference to batch": folds[name] - folds[batch],
    }
    for each in models:
        row[f"{each} (s)"] = float(np.median(seconds[each]))
        row[f"{each}, minimum"] = float(seconds[each].min())
    row["time ratio"] = row[f"{name} (s)"] / row[f"{yardstick} (s)"]
    row["ratio of minima"] = row[f"{name}, minimum"] / row[f"{yardstick}, minimum"]
    return row


def codebook_of(model):
    """Return the code vectors of a map, or the centers of k-means."""
    return model.codebook_ if isinstance(model, TFSOM) else model.cluster_centers_


def streams(n_rounds, most):
    """Compare `partial_fit` with `fit` on the same data and grid; yield rows."""
    for name, load in SETS.items():
        X = load()[:most]
        grid_size = TFSOM(max_iter=1).fit(X).grid_shape_
        n_units = grid_size[0] * grid_size[1]

        def shuffled(seed, X=X):
            return np.random.default_rng(seed).permutation(len(X))

        tasks = {
            "partial_fit": lambda seed, X=X, grid_size=grid_size: learn(
                lambda: TFSOM(grid_size), X, shuffled(seed)
            ),
            "fit": lambda seed, X=X, grid_size=grid_size: TFSOM(grid_size).fit(X),
            "MiniBatchKMeans.partial_fit": lambda seed, X=X, n_units=n_units: learn(
                lambda: MiniBatchKMeans(n_units, n_init=1, random_state=seed),
                X,
                shuffled(seed),
                n_units,
            ),
            "KMeans": lambda seed, X=X, n_units=n_units: KMeans(n_units, random_state=seed).fit(X),
        }
        seconds, models = timed(tasks, n_rounds)
        pairs = {
            "map": ("partial_fit", "fit"),
            "mini-batch k-means": ("MiniBatchKMeans.partial_fit", "KMeans"),
        }
        yield {
            "data": f"{name} ({X.shape[0]} x {X.shape[1]})",
            "units": n_units,
            **compared(X, seconds, models, pairs),
        }


def mini_batches(n_rounds, most):
    """Compare few epochs of mini-batches with full batches; yield rows."""
    for name, load in SETS.items():
        X = load()[:most]
        if len(X) <= BATCH_SIZE:
            continue
        grid_size = TFSOM(max_iter=1).fit(X).grid_shape_
        n_units = grid_size[0] * grid_size[1]
        tasks = {
            "mini-batches": lambda seed, X=X, grid_size=grid_size: TFSOM(
                grid_size, batch_size=BATCH_SIZE, max_iter=N_BATCH_EPOCHS
            ).fit(X),
            "full batch": lambda seed, X=X, grid_size=grid_size: TFSOM(grid_size).fit(X),
            "MiniBatchKMeans": lambda seed, X=X, n_units=n_units: MiniBatchKMeans(
                n_units,
                batch_size=BATCH_SIZE,
                max_iter=N_BATCH_EPOCHS,
                max_no_improvement=None,
                random_state=seed,
            ).fit(X),
            "KMeans": lambda seed, X=X, n_units=n_units: KMeans(n_units, random_state=seed).fit(X),
        }
        seconds, models = timed(tasks, n_rounds)
        pairs = {
            "map": ("mini-batches", "full batch"),
            "mini-batch k-means": ("MiniBatchKMeans", "KMeans"),
        }
        yield {
            "data": f"{name} ({X.shape[0]} x {X.shape[1]})",
            "units": n_units,
            **compared(X, seconds, models, pairs),
        }


def write(path, n_samples):
    """Write float32 samples on a curved sheet, with noise of their own, piece by piece."""
    sheet = curved_data(N_WRITTEN, N_FEATURES_ON_DISK)
    X = np.memmap(path, dtype=np.float32, mode="w+", shape=(n_samples, N_FEATURES_ON_DISK))
    rng = np.random.default_rng(1)
    for first in range(0, n_samples, N_WRITTEN):
        noise = rng.standard_normal(sheet.shape, dtype=np.float32)
        X[first : first + N_WRITTEN] = (sheet + 0.05 * noise)[: n_samples - first]
    X.flush()


def samples_at(path, n_samples, is_in_memory):
    """Return the samples of a file, left there or read."""
    X = np.memmap(path, dtype=np.float32, mode="r", shape=(n_samples, N_FEATURES_ON_DISK))
    return np.array(X) if is_in_memory else X


def anonymous_mebibytes():
    """Read how much memory the process holds that is not a part of a file."""
    lines = STATUS.read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 2**10


def anonymous_growth(call):
    """Measure the most anonymous memory that a call holds beyond what was there before.

    A thread looks every few milliseconds. Pages of a memory map, which the system can drop at any
    time, do not count. Other systems than Linux do not tell: "".
    """
    if not STATUS.exists():
        return ""
    before = anonymous_mebibytes()
    seen, is_over = [before], threading.Event()

    def watch():
        while not is_over.wait(SAMPLING_SECONDS):
            seen.append(anonymous_mebibytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        call()
    finally:
        is_over.set()
        watcher.join()
    return max(seen) - before


def memory_of_fit(model, path, n_samples, is_in_memory):
    """Measure the first fit of a process; return the growth in MiB, and the error."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    import_tensorflow()
    X = samples_at(path, n_samples, is_in_memory)
    growth = anonymous_growth(lambda: model.fit(X))
    return growth, errors(X[:N_WRITTEN], codebook_of(model))[0]


def seconds_per_epoch(path, n_samples, n_rounds, many):
    """Time epochs of both, in turn, in one process; return pairs from `per_iteration`."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    on_disk, in_memory = (samples_at(path, n_samples, read) for read in (False, True))
    start = in_memory[: SIDE**2].copy()

    def train_map(X, n_epochs):
        radii = np.ones(n_epochs)
        return TFSOM(SIDE, init=start, radius_decay=radii, max_iter=n_epochs, tol=0).fit(X)

    def train_kmeans(X, n_iterations):
        return KMeans(len(start), init=start, n_init=1, max_iter=n_iterations, tol=0).fit(X)

    cases = {
        ("TFSOM", False): (train_map, on_disk),
        ("TFSOM", True): (train_map, in_memory),
        ("KMeans", True): (train_kmeans, in_memory),
    }
    return alternate(
        {
            case: lambda train=train, X=X: per_iteration(lambda n: train(X, n), 1, many)
            for case, (train, X) in cases.items()
        },
        n_rounds,
    )


def larger_than_memory(n_samples, n_rounds, many):
    """Fit a memory map; yield rows."""
    size = 4 * n_samples * N_FEATURES_ON_DISK
    models = {
        "TFSOM": TFSOM(SIDE, max_iter=3),
        "KMeans": KMeans(SIDE**2, init="random", n_init=1, max_iter=3, random_state=0),
    }
    with tempfile.TemporaryDirectory() as folder:
        free = shutil.disk_usage(folder).free
        if free < 1.2 * size:
            sys.exit(f"{size / 2**20:.0f} MiB are to be written to {folder}, which lacks space.")
        path = str(Path(folder) / "samples")
        write(path, n_samples)
        seconds = in_own_process(seconds_per_epoch, path, n_samples, n_rounds, many)
        median, minimum = (
            {case: reduced(values, f) for case, values in seconds.items()}
            for f in (np.median, np.min)
        )
        for name, is_in_memory in (
            ("TFSOM", False),
            ("TFSOM", True),
            ("KMeans", False),
            ("KMeans", True),
        ):
            growth, error = in_own_process(
                memory_of_fit, models[name], path, n_samples, is_in_memory
            )
            case = name, is_in_memory
            is_timed = case in median
            yield {
                "n x d": f"{n_samples} x {N_FEATURES_ON_DISK}",
                "data (MiB)": size / 2**20,
                "model": name,
                "where": "memory" if is_in_memory else "memory map",
                "anonymous memory beyond (MiB)": growth,
                "epoch (s)": median[case] if is_timed else "",
                "minimum": minimum[case] if is_timed else "",
                "times in memory": median[case] / median[name, True] if is_timed else "",
                "times k-means": median[case] / median["KMeans", True] if is_timed else "",
                "quantization error": error,
            }


def in_words(rows):
    """Sum up a table of errors and times."""
    ratios, times, minima = (
        geometric_mean([row[column] for row in rows])
        for column in ("error ratio, map", "time ratio", "ratio of minima")
    )
    yardstick = geometric_mean([row["error ratio, mini-batch k-means"] for row in rows])
    difference = np.mean([row["difference to batch"] for row in rows])
    return (
        f"error {ratios:.3f} of the batch map's (mini-batch k-means: {yardstick:.3f} of "
        f"k-means'), topographic error {difference:+.3f}, time {times:.2f} of mini-batch "
        f"k-means' (minima: {minima:.2f})"
    )


def main():
    """Run all."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer distinct points than centers
    short = is_short(__doc__)
    n_rounds, n_disk_rounds, many = (1, 1, 3) if short else (N_ROUNDS, 3, 4)
    most = MOST_SHORT if short else None
    n_samples = N_SAMPLES_SHORT if short else N_SAMPLES_ON_DISK
    stream_rows = list(streams(n_rounds, most))
    batch_rows = list(mini_batches(n_rounds, most))
    disk_rows = list(larger_than_memory(n_samples, n_disk_rounds, many))
    growth = disk_rows[0]["anonymous memory beyond (MiB)"]
    outcome = "This system does not tell how much."
    if growth != "":
        outcome = f"A map on disk takes {growth:.0f} MiB, target {TARGET}: " + (
            "met." if growth <= TARGET else "missed."
        )
    save(
        "streams",
        "Streams: partial_fit, mini-batches, and data larger than memory",
        {
            f"partial_fit: {N_PASSES} passes over {N_PIECES} pieces": stream_rows,
            f"batch_size={BATCH_SIZE}, {N_BATCH_EPOCHS} epochs": batch_rows,
            "A memory map: 20 x 20 units, float32": disk_rows,
        },
        [
            f"Geometric means (of topographic errors the mean): partial_fit: "
            f"{in_words(stream_rows)}; mini-batches: {in_words(batch_rows)}.",
            f"Medians of {n_rounds} alternating rounds, one more dropped; each has an order of "
            "the samples, and a seed, of its own. Iris, wine and breast cancer are standardized. "
            "Errors are over all samples: mean distances to the nearest center, after the last "
            "pass. Grids are those of fit's automatic size.",
            "The yardsticks: as many centers. MiniBatchKMeans.partial_fit gets the same stream, "
            "but its first piece is joined from as many as hold a sample for each center, "
            "without which it raises an error. Batch versions at their defaults: 20 epochs, "
            f"coarse to fine; KMeans. MiniBatchKMeans: batches of {BATCH_SIZE}, "
            f"{N_BATCH_EPOCHS} passes. Mini-batches are for sets of more samples than one holds.",
            "Memory: in a process of its own, the most anonymous memory (RssAnon, looked at "
            f"every {1e3 * SAMPLING_SECONDS:.0f} ms) during its first fit, of three epochs, "
            "minus what it held before, TensorFlow being imported; compiling counts, data in "
            f"memory do not. {outcome}",
            f"Epochs: differences between fits of {many} and one, radius 1, same start, medians "
            f"of {n_disk_rounds} rounds. The file has just been written: where memory suffices, "
            "the system reads it from there, not from the disk. Errors: of the first "
            f"{N_WRITTEN:,} samples.",
        ],
    )


if __name__ == "__main__":
    main()

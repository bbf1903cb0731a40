"""partial_fit, mini-batches and data on disk compared with batch training and k-means."""

import shutil
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import numpy as np
from common import (
    compute_errors,
    describe_data,
    fit_kmeans,
    fit_map,
    format_shape,
    geometric_mean,
    get_codebook,
    has_process_status,
    import_tensorflow,
    load_standardized,
    make_curved_data,
    median_and_minimum,
    parse_arguments,
    read_process_status,
    run_in_new_process,
    save_results,
    search_engine,
    time_alternately,
    time_call,
    time_short_and_long_fit,
)
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.datasets import load_sample_image, make_swiss_roll
from sklearn.exceptions import ConvergenceWarning

from sklearn_tfsom import TFSOM
from sklearn_tfsom.metrics import topographic_error

N_ROUNDS = 5
N_PASSES, N_CHUNKS = 3, 40
BATCH_SIZE, N_BATCH_EPOCHS = 256, 5
MAX_SAMPLES_SHORT = 10_000
# The file for memory-mapped fits.
N_SAMPLES_ON_DISK, N_SAMPLES_ON_DISK_SHORT, N_FEATURES_ON_DISK = 3_000_000, 750_000, 64
N_WRITTEN = 50_000  # samples written at once
SIDE = 20
MEMORY_TARGET = 250  # MiB
N_FEW, N_MANY = 2, 5  # epochs of the short and of the long fit on disk
SAMPLING_SECONDS = 0.002


def load_pixels(n_samples=50_000):
    """Return randomly drawn pixels of a sample image, red, green and blue in [0, 1]."""
    image = load_sample_image("china.jpg").reshape(-1, 3) / 255
    return image[np.random.default_rng(0).choice(len(image), n_samples, replace=False)]


SETS = {
    "iris": lambda: load_standardized("iris")[0],
    "wine": lambda: load_standardized("wine")[0],
    "breast cancer": lambda: load_standardized("breast cancer")[0],
    "digits": lambda: load_standardized("digits")[0],
    "swiss roll": lambda: make_swiss_roll(20_000, random_state=0)[0],
    "pixels": load_pixels,
}


# partial_fit and mini-batches


def split_chunks(X, order, n_first=1):
    """Split shuffled samples into chunks, of which the first has at least `n_first` samples."""
    bounds = np.linspace(0, len(X), N_CHUNKS + 1).astype(int)[1:-1]
    return np.split(X[order], bounds[bounds >= n_first])


def fit_stream(model, X, seed, n_first=1):
    """Fit a model by `partial_fit` in several passes over shuffled chunks."""
    order = np.random.default_rng(seed).permutation(len(X))
    for number in range(N_PASSES):
        for chunk in split_chunks(X, order, n_first if number == 0 else 1):
            model.partial_fit(chunk)
    return model


def make_stream_fits(X, grid_size, n_units):
    """Return the fits to compare, as functions of a seed: `partial_fit` and batch training."""
    return {
        "partial_fit": lambda seed: fit_stream(TFSOM(grid_size), X, seed),
        "fit": lambda seed: TFSOM(grid_size).fit(X),
        "MiniBatchKMeans.partial_fit": lambda seed: fit_stream(
            # Its first chunk must have a sample for each center.
            MiniBatchKMeans(n_units, n_init=1, random_state=seed),
            X,
            seed,
            n_first=n_units,
        ),
        "KMeans": lambda seed: KMeans(n_units, random_state=seed).fit(X),
    }


def make_batch_fits(X, grid_size, n_units):
    """Return the fits to compare, as functions of a seed: mini-batches and batch training."""
    return {
        "mini-batches": lambda seed: TFSOM(
            grid_size, batch_size=BATCH_SIZE, max_iter=N_BATCH_EPOCHS
        ).fit(X),
        "full batch": lambda seed: TFSOM(grid_size).fit(X),
        "MiniBatchKMeans": lambda seed: MiniBatchKMeans(
            n_units,
            batch_size=BATCH_SIZE,
            max_iter=N_BATCH_EPOCHS,
            max_no_improvement=None,
            random_state=seed,
        ).fit(X),
        "KMeans": lambda seed: KMeans(n_units, random_state=seed).fit(X),
    }


def time_fits(fits, n_rounds):
    """Time fits in alternating rounds; the seed is the number of the round.

    Parameters
    ----------
    fits : dict of str to callable
        Functions of a seed that return a fitted model.
    n_rounds : int
        Number of rounds; an additional first round is discarded.

    Returns
    -------
    seconds : dict of str to ndarray of shape (n_rounds,)
    models : dict of str to list of n_rounds models
    """
    models = {name: [] for name in fits}

    def time_fit(name):
        return time_call(lambda: models[name].append(fits[name](len(models[name]))))

    seconds = time_alternately({name: lambda name=name: time_fit(name) for name in fits}, n_rounds)
    return seconds, {name: fitted[1:] for name, fitted in models.items()}


def compare(make_fits, n_rounds, max_samples, min_samples=0):
    """Yield a row for each set of more than `min_samples` samples.

    Parameters
    ----------
    make_fits : callable
        Returns four fits: of a map, its batch version, mini-batch k-means, its batch version.
    n_rounds : int
    max_samples : int or None
        Number of samples used of each set, at most.
    min_samples : int, default=0
    """
    for name, load in SETS.items():
        X = load()[:max_samples]
        if len(X) <= min_samples:
            continue
        grid_size = TFSOM(max_iter=1).fit(X).grid_shape_
        n_units = grid_size[0] * grid_size[1]
        seconds, models = time_fits(make_fits(X, grid_size, n_units), n_rounds)
        yield {
            "data": describe_data(name, X),
            "units": n_units,
            **compare_models(X, seconds, models),
        }


def compare_models(X, seconds, models):
    """Return the columns that compare errors and times of models with their batch versions."""
    som, batch_som, kmeans, batch_kmeans = models
    errors = {
        name: float(
            np.median([compute_errors(X, get_codebook(m)).quantization_error for m in fitted])
        )
        for name, fitted in models.items()
    }
    topographic_errors = {
        name: float(np.median([topographic_error(model, X) for model in models[name]]))
        for name in (som, batch_som)
    }
    times = {name: median_and_minimum(values) for name, values in seconds.items()}
    row = {f"QE, {name}": error for name, error in errors.items()}
    row["QE ratio, map"] = errors[som] / errors[batch_som]
    row["QE ratio, k-means"] = errors[kmeans] / errors[batch_kmeans]
    row[f"TE, {som}"] = topographic_errors[som]
    row["TE difference"] = topographic_errors[som] - topographic_errors[batch_som]
    for name, (median, minimum) in times.items():
        row |= {f"{name} (s)": median, f"{name}, minimum (s)": minimum}
    row["time ratio"] = times[som][0] / times[kmeans][0]
    row["time ratio, minima"] = times[som][1] / times[kmeans][1]
    return row


def summarize(rows):
    """Return the means of a table in words."""
    som_ratio, kmeans_ratio, time_ratio, minima_ratio = (
        geometric_mean([row[column] for row in rows])
        for column in ("QE ratio, map", "QE ratio, k-means", "time ratio", "time ratio, minima")
    )
    difference = np.mean([row["TE difference"] for row in rows])
    return (
        f"QE {som_ratio:.3f} of the batch map's (mini-batch k-means: {kmeans_ratio:.3f} of "
        f"k-means'), TE difference {difference:+.3f}, time {time_ratio:.2f} of mini-batch "
        f"k-means' (minima: {minima_ratio:.2f})"
    )


# Data on disk


def write_samples(path, n_samples):
    """Write float32 samples on a curved manifold to a file, in pieces with independent noise."""
    manifold = make_curved_data(N_WRITTEN, N_FEATURES_ON_DISK)
    X = np.memmap(path, dtype=np.float32, mode="w+", shape=(n_samples, N_FEATURES_ON_DISK))
    rng = np.random.default_rng(1)
    for first in range(0, n_samples, N_WRITTEN):
        noise = rng.standard_normal(manifold.shape, dtype=np.float32)
        X[first : first + N_WRITTEN] = (manifold + 0.05 * noise)[: n_samples - first]
    X.flush()


def load_samples(path, n_samples, is_in_memory):
    """Return the samples of a file, as a memory map or read into memory."""
    X = np.memmap(path, dtype=np.float32, mode="r", shape=(n_samples, N_FEATURES_ON_DISK))
    return np.array(X) if is_in_memory else X


def measure_peak_anonymous_memory(call):
    """Return the peak anonymous memory of a call in addition to that held before, in MiB.

    A thread reads it every few milliseconds. Pages of a memory map, which the system can drop at
    any time, are not part of it. Returns "" on other systems than Linux.
    """
    if not has_process_status():
        return ""
    before = read_process_status("RssAnon")
    measured, is_done = [before], threading.Event()

    def monitor():
        while not is_done.wait(SAMPLING_SECONDS):
            measured.append(read_process_status("RssAnon"))

    thread = threading.Thread(target=monitor)
    thread.start()
    try:
        call()
    finally:
        is_done.set()
        thread.join()
    return max(measured) - before


def measure_first_fit(model, path, n_samples, is_in_memory):
    """Return the peak memory (MiB) and quantization error of the first fit of a process."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    import_tensorflow()
    X = load_samples(path, n_samples, is_in_memory)
    mebibytes = measure_peak_anonymous_memory(lambda: model.fit(X))
    return mebibytes, compute_errors(X[:N_WRITTEN], get_codebook(model)).quantization_error


def time_epochs(path, n_samples, n_rounds):
    """Time epochs on disk and in memory, and k-means in memory, in alternating rounds.

    Returns
    -------
    seconds : dict of (str, bool) to ndarray of shape (n_rounds, 2)
        Pairs from `time_short_and_long_fit`, by model and whether the data are in memory.
    """
    warnings.simplefilter("ignore", ConvergenceWarning)
    on_disk, in_memory = (load_samples(path, n_samples, flag) for flag in (False, True))
    start = in_memory[: SIDE**2].copy()
    fits = {
        ("TFSOM", False): lambda n: fit_map(on_disk, SIDE, start, n),
        ("TFSOM", True): lambda n: fit_map(in_memory, SIDE, start, n),
        ("KMeans", True): lambda n: fit_kmeans(in_memory, start, n),
    }
    return time_alternately(
        {
            case: lambda fit=fit: time_short_and_long_fit(fit, N_FEW, N_MANY)
            for case, fit in fits.items()
        },
        n_rounds,
    )


def compare_on_disk(n_samples, n_rounds):
    """Yield a row for each model on memory-mapped data and on data in memory."""
    size = 4 * n_samples * N_FEATURES_ON_DISK
    search_engine(n_samples, SIDE**2, N_FEW, N_MANY)  # has to be the same
    models = {
        "TFSOM": TFSOM(SIDE, max_iter=3),
        "KMeans": KMeans(SIDE**2, init="random", n_init=1, max_iter=3, random_state=0),
    }
    with tempfile.TemporaryDirectory() as folder:
        if shutil.disk_usage(folder).free < 1.2 * size:
            sys.exit(f"Not enough space in {folder}: {size / 2**20:.0f} MiB are needed.")
        path = str(Path(folder) / "samples")
        write_samples(path, n_samples)
        seconds = run_in_new_process(time_epochs, path, n_samples, n_rounds)
        times = {case: median_and_minimum(values) for case, values in seconds.items()}
        for name, model in models.items():
            for is_in_memory in (False, True):
                mebibytes, error = run_in_new_process(
                    measure_first_fit, model, path, n_samples, is_in_memory
                )
                median, minimum = times.get((name, is_in_memory), (None, None))
                yield {
                    "samples x features": format_shape((n_samples, N_FEATURES_ON_DISK)),
                    "data (MiB)": size / 2**20,
                    "model": name,
                    "data in": "memory" if is_in_memory else "memory map",
                    "anonymous memory (MiB)": mebibytes,
                    "epoch (s)": "" if median is None else median,
                    "epoch, minimum (s)": "" if median is None else minimum,
                    "epoch / epoch in memory": ""
                    if median is None
                    else median / times[name, True][0],
                    "epoch / k-means iteration": ""
                    if median is None
                    else median / times["KMeans", True][0],
                    "quantization error": error,
                }


def describe_memory(mebibytes):
    """Return a sentence on the memory of the fit on disk and its target."""
    if mebibytes == "":
        return "This system does not report it."
    outcome = "met" if mebibytes <= MEMORY_TARGET else "missed"
    return f"TFSOM on a memory map: {mebibytes:.0f} MiB, target {MEMORY_TARGET}: {outcome}."


def main():
    """Run all sets; with --short fewer samples."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct samples than centers
    short = parse_arguments(__doc__).short
    n_rounds, n_disk_rounds = (1, 1) if short else (N_ROUNDS, 3)
    max_samples = MAX_SAMPLES_SHORT if short else None
    n_samples_on_disk = N_SAMPLES_ON_DISK_SHORT if short else N_SAMPLES_ON_DISK
    stream_rows = list(compare(make_stream_fits, n_rounds, max_samples))
    batch_rows = list(compare(make_batch_fits, n_rounds, max_samples, min_samples=BATCH_SIZE))
    disk_rows = list(compare_on_disk(n_samples_on_disk, n_disk_rounds))
    save_results(
        "streams",
        {
            f"partial_fit: {N_PASSES} passes over {N_CHUNKS} chunks": stream_rows,
            f"batch_size={BATCH_SIZE}, {N_BATCH_EPOCHS} epochs": batch_rows,
            f"Memory map: {SIDE} x {SIDE} units, float32": disk_rows,
        },
        [
            "Geometric means (TE difference: mean): partial_fit: "
            f"{summarize(stream_rows)}; mini-batches: {summarize(batch_rows)}.",
            f"Medians of {n_rounds} alternating rounds after a discarded one; each round has its "
            "own order of the samples and its own seed. Iris, wine and breast cancer are "
            "standardized. QE: quantization error, the mean distance of all samples to the "
            "nearest center after the last pass. TE: topographic error; its difference is to "
            "batch training. Grids have the automatic size of fit.",
            "k-means has as many centers as the map has units. MiniBatchKMeans.partial_fit gets "
            "the same stream, but its first chunks are joined until they have a sample for each "
            "center, which it requires. Batch versions: default parameters, for maps 20 epochs "
            f"from coarse to fine. MiniBatchKMeans: batches of {BATCH_SIZE}, {N_BATCH_EPOCHS} "
            "passes. Mini-batches are compared on sets of more samples than one batch.",
            "Memory: peak anonymous memory (RssAnon, read every "
            f"{1e3 * SAMPLING_SECONDS:.0f} ms) during the first fit of a new process, of three "
            "epochs, minus that before it, after the import of TensorFlow; includes compilation, "
            f"but not data in memory. {describe_memory(disk_rows[0]['anonymous memory (MiB)'])}",
            f"Epochs on disk: differences between fits of {N_MANY} and of {N_FEW} epochs, radius "
            f"1, same start, medians of {n_disk_rounds} rounds. The file has just been written: "
            "if memory suffices, the system reads it from its cache, not from the disk. "
            f"Quantization errors: on the first {N_WRITTEN:,} samples.",
        ],
    )


if __name__ == "__main__":
    main()

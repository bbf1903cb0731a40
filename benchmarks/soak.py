"""Memory under many fits and predictions of changing shapes. Linux only."""

import gc
import sys
import warnings

import numpy as np
from common import (
    import_tensorflow,
    parse_arguments,
    read_process_status,
    run_in_new_process,
    save_results,
)
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from sklearn_tfsom import TFSOM

N_STAGES = 10
# Small enough to be searched in NumPy.
N_PREDICTIONS, N_FITS = 10_000, 500
MAX_SAMPLES, MAX_FEATURES, MAX_SIDE = 5_000, 100, 20
# Large enough to be searched in TensorFlow.
N_LARGE_FITS = 60
LARGE_SAMPLES, LARGE_FEATURES, LARGE_SIDES = (130_000, 160_000), (1, 40), (30, 40)


def measure_anonymous_memory():
    """Return the anonymous memory of this process after a garbage collection, in MiB."""
    gc.collect()
    return read_process_status("RssAnon")


def count_graphs():
    """Return the number of traced TensorFlow functions that are alive."""
    kind = import_tensorflow().types.experimental.ConcreteFunction
    return sum(isinstance(each, kind) for each in gc.get_objects())


def fit_random_map(rng, X, sides, **parameters):
    """Fit a map of random properties whose sides are random numbers in a range."""
    return TFSOM(
        tuple(int(side) for side in rng.integers(*sides, 2, endpoint=True)),
        neighborhood=str(rng.choice(["gaussian", "bubble", "epanechnikov"])),
        boundary=str(rng.choice(["planar", "cylindrical", "toroidal"])),
        lattice=str(rng.choice(["hexagonal", "rectangular"])),
        **parameters,
    ).fit(X)


def fit_and_predict(name, n_fits, n_predictions):
    """Fit and predict small data in random shapes; return memory after each stage."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # few samples or epochs on purpose
    rng = np.random.default_rng(0)

    def make_samples(n_features, dtype):
        n_samples = int(10 ** rng.uniform(1.5, np.log10(MAX_SAMPLES)))
        return rng.normal(size=(n_samples, n_features)).astype(dtype)

    def fit_random_model(dtype):
        X = make_samples(int(rng.integers(1, MAX_FEATURES, endpoint=True)), dtype)
        if name == "TFSOM":
            return fit_random_map(rng, X, (2, MAX_SIDE))
        n_clusters = min(len(X), int(rng.integers(4, MAX_SIDE**2)))
        return KMeans(n_clusters, n_init=1, max_iter=5, random_state=0).fit(X)

    stages = []
    for _ in range(N_STAGES + 1):
        # The first stage is a warm-up: its fits and predictions are not counted.
        for _ in range(n_fits // N_STAGES):
            dtype = str(rng.choice(["float32", "float64"]))
            model = fit_random_model(dtype)
            for _ in range(n_predictions // n_fits):
                model.predict(make_samples(model.n_features_in_, dtype))
        stages.append(measure_anonymous_memory())
    assert "tensorflow" not in sys.modules  # all fits and predictions are in NumPy
    return stages


def fit_large(n_fits):
    """Fit large data in random shapes; return memory and number of graphs after each stage."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    rng = np.random.default_rng(0)
    stages = []
    for _ in range(N_STAGES + 1):
        for _ in range(n_fits // N_STAGES):
            shape = (rng.integers(*LARGE_SAMPLES), rng.integers(*LARGE_FEATURES, endpoint=True))
            X = rng.normal(size=shape).astype(str(rng.choice(["float32", "float64"])))
            fit_random_map(rng, X, LARGE_SIDES, coarse_to_fine=False)
            del X
        stages.append((measure_anonymous_memory(), count_graphs()))
    assert stages[-1][1] > 0  # fits are in TensorFlow
    return stages


def compute_growth(rows, column):
    """Return the median memory of the second half of the stages minus that of the first half."""
    memory = [row[column] for row in rows]
    half = len(rows) // 2
    return float(np.median(memory[half + 1 :]) - np.median(memory[1 : half + 1]))


def main():
    """Run all models, each in its own process."""
    short = parse_arguments(__doc__).short
    n_fits, n_predictions, n_large = (
        (100, 2_000, 20) if short else (N_FITS, N_PREDICTIONS, N_LARGE_FITS)
    )
    stages = {
        name: run_in_new_process(fit_and_predict, name, n_fits, n_predictions)
        for name in ("TFSOM", "KMeans")
    }
    small_rows = [
        {
            "fits": stage * n_fits // N_STAGES,
            "predictions": stage * n_predictions // N_STAGES,
            **{f"{name} (MiB)": memory[stage] for name, memory in stages.items()},
        }
        for stage in range(N_STAGES + 1)
    ]
    large_rows = [
        {"fits": stage * n_large // N_STAGES, "TFSOM (MiB)": memory, "graphs": n_graphs}
        for stage, (memory, n_graphs) in enumerate(run_in_new_process(fit_large, n_large))
    ]
    growth = {
        "TFSOM, small data": compute_growth(small_rows, "TFSOM (MiB)"),
        "k-means": compute_growth(small_rows, "KMeans (MiB)"),
        "TFSOM, large data": compute_growth(large_rows, "TFSOM (MiB)"),
    }
    save_results(
        "soak",
        {
            "Small data: fits and predictions in NumPy": small_rows,
            "Large data: fits in TensorFlow": large_rows,
        },
        [
            f"Small data: 30 to {MAX_SAMPLES:,} samples, up to {MAX_FEATURES} features, maps of 2 "
            f"to {MAX_SIDE} rows and columns. Large data: {LARGE_SAMPLES[0]:,} to "
            f"{LARGE_SAMPLES[1]:,} samples, up to {LARGE_FEATURES[1]} features, {LARGE_SIDES[0]} "
            f"to {LARGE_SIDES[1]} rows and columns, without coarse_to_fine, with which NumPy "
            "would search in most epochs. All numbers are random, and so are precision, lattice, "
            "boundary and neighborhood.",
            "The first row is measured after a warm-up of as many fits and predictions as a row "
            "adds.",
            "Memory: anonymous memory after a garbage collection. It varies with the state of "
            "the allocator. Median of the second half of the rows minus that of the first half: "
            + ", ".join(f"{value:+.1f} MiB ({name})" for name, value in growth.items())
            + ".",
            "Graphs: traced TensorFlow functions that are alive.",
        ],
    )


if __name__ == "__main__":
    main()

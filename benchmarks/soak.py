"""Memory under many fits and predictions of changing shapes. Linux only."""

import gc
import os
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

N_PREDICTIONS, N_FITS = 10_000, 500
N_STAGES = 10
WITHOUT_ONEDNN = "TFSOM, without oneDNN"
MODELS = ("TFSOM", WITHOUT_ONEDNN, "KMeans")
MAX_SAMPLES, MAX_FEATURES, MAX_SIDE = 5_000, 100, 20
# Predictions without fits, in more shapes than oneDNN caches.
N_PREDICTIONS_ALONE = 60_000
N_FEATURES_ALONE = range(5, 65, 2)
N_SAMPLES_ALONE = (600, 3_000)


def measure_anonymous_memory():
    """Return the anonymous memory of this process after a garbage collection, in MiB."""
    gc.collect()
    return read_process_status("RssAnon")


def count_graphs():
    """Return the number of traced TensorFlow functions that are alive."""
    kind = import_tensorflow().types.experimental.ConcreteFunction
    return sum(isinstance(each, kind) for each in gc.get_objects())


def configure(name):
    """Configure a new process for a model, before it imports TensorFlow."""
    if name == WITHOUT_ONEDNN:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    warnings.simplefilter("ignore", ConvergenceWarning)  # few samples or epochs on purpose


def fit_and_predict(name, n_fits, n_predictions):
    """Fit and predict in random shapes; return memory and number of graphs after each stage."""
    configure(name)
    rng = np.random.default_rng(0)

    def make_samples(n_features, dtype):
        n_samples = int(10 ** rng.uniform(1.5, np.log10(MAX_SAMPLES)))
        return rng.normal(size=(n_samples, n_features)).astype(dtype)

    def fit_random_model(dtype):
        X = make_samples(int(rng.integers(1, MAX_FEATURES + 1)), dtype)
        shape = tuple(int(side) for side in rng.integers(2, MAX_SIDE + 1, 2))
        if name == "KMeans":
            n_clusters = min(len(X), shape[0] * shape[1])
            return KMeans(n_clusters, n_init=1, max_iter=5, random_state=0).fit(X)
        neighborhood = str(rng.choice(["gaussian", "bubble", "epanechnikov"]))
        boundary = str(rng.choice(["planar", "cylindrical", "toroidal"]))
        lattice = str(rng.choice(["hexagonal", "rectangular"]))
        som = TFSOM(shape, neighborhood=neighborhood, boundary=boundary, lattice=lattice)
        return som.fit(X)

    stages = []
    for _ in range(N_STAGES + 1):
        # The first stage is a warm-up: its fits and predictions are not counted.
        for _ in range(n_fits // N_STAGES):
            dtype = str(rng.choice(["float32", "float64"]))
            model = fit_random_model(dtype)
            for _ in range(n_predictions // n_fits):
                model.predict(make_samples(model.n_features_in_, dtype))
        stages.append((measure_anonymous_memory(), "" if name == "KMeans" else count_graphs()))
    return stages


def predict_alone(name, n_predictions):
    """Predict random numbers of samples with some maps; return memory after each stage."""
    configure(name)
    rng = np.random.default_rng(0)
    samples = [
        rng.normal(size=(N_SAMPLES_ALONE[1], n_features)).astype(np.float32)
        for n_features in N_FEATURES_ALONE
    ]
    maps = [TFSOM((12, 10), max_iter=2).fit(X) for X in samples]
    stages = [measure_anonymous_memory()]
    for _ in range(N_STAGES):
        for _ in range(n_predictions // N_STAGES):
            k = rng.integers(len(maps))
            maps[k].predict(samples[k][: rng.integers(*N_SAMPLES_ALONE)])
        stages.append(measure_anonymous_memory())
    return stages


def compute_growth(rows, name):
    """Return the median memory of the second half of the stages minus that of the first half."""
    memory = [row[f"{name} (MiB)"] for row in rows]
    half = len(rows) // 2
    return float(np.median(memory[half + 1 :]) - np.median(memory[1 : half + 1]))


def main():
    """Run all models, each in its own process."""
    short = parse_arguments(__doc__).short
    n_fits, n_predictions = (100, 2_000) if short else (N_FITS, N_PREDICTIONS)
    stages = {
        name: run_in_new_process(fit_and_predict, name, n_fits, n_predictions) for name in MODELS
    }
    rows = [
        {
            "fits": stage * n_fits // N_STAGES,
            "predictions": stage * n_predictions // N_STAGES,
            **{f"{name} (MiB)": stages[name][stage][0] for name in MODELS},
            "graphs of TFSOM": stages["TFSOM"][stage][1],
        }
        for stage in range(N_STAGES + 1)
    ]
    n_alone = n_predictions * N_PREDICTIONS_ALONE // N_PREDICTIONS
    stages_alone = {
        name: run_in_new_process(predict_alone, name, n_alone)
        for name in ("TFSOM", WITHOUT_ONEDNN)
    }
    rows_alone = [
        {"predictions": stage * n_alone // N_STAGES}
        | {f"{name} (MiB)": memory[stage] for name, memory in stages_alone.items()}
        for stage in range(N_STAGES + 1)
    ]
    growth = ", ".join(f"{compute_growth(rows, name):+.1f} MiB ({name})" for name in MODELS)
    save_results(
        "soak",
        {"Fits and predictions": rows, "Predictions without fits": rows_alone},
        [
            "Each fit has a random number of samples (30 to "
            f"{MAX_SAMPLES:,}), features (up to {MAX_FEATURES}), rows and columns (2 to "
            f"{MAX_SIDE}), and a random precision, lattice, boundary and neighborhood; each "
            "prediction has a random number of samples. The first row is measured after a "
            "warm-up of as many fits and predictions as a row adds.",
            "Memory: anonymous memory after a garbage collection. It varies with the state of "
            "the allocator. Median of the second half of the rows minus that of the first half: "
            f"{growth}.",
            "The initial growth of TFSOM is the cache that oneDNN, in TensorFlow, keeps for each "
            f"shape of a product; its size is bounded. Predictions without fits: "
            f"{len(N_FEATURES_ALONE)} maps of different numbers of features, "
            f"{N_SAMPLES_ALONE[0]:,} to {N_SAMPLES_ALONE[1]:,} samples.",
        ],
    )


if __name__ == "__main__":
    main()

"""Memory under ten thousand predicts and five hundred fits of changing shapes."""

import gc
import os
import warnings
from pathlib import Path

import numpy as np
from common import import_tensorflow, in_own_process, is_short, save
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from sklearn_tfsom import TFSOM

N_PREDICTS, N_FITS = 10_000, 500
N_STAGES = 10
WITHOUT_ONEDNN = "TFSOM, without oneDNN"
# Of predicts alone, in more shapes than oneDNN can keep.
N_MORE_PREDICTS, FEATURES_OF_MAPS, MORE_SAMPLES = 60_000, range(5, 65, 2), (600, 3_000)
MOST_SAMPLES, MOST_FEATURES, MOST_ON_A_SIDE = 5_000, 100, 20


def held_mebibytes():
    """Measure the memory of this process that no file backs."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 2**10


def n_graphs():
    """Count the graphs that TensorFlow has traced and that live."""
    kind = import_tensorflow().types.experimental.ConcreteFunction
    return sum(isinstance(each, kind) for each in gc.get_objects())


def soak(name, n_fits, n_predicts):
    """Fit and predict, each time in another shape; return memory and graphs after each stage."""
    if name == WITHOUT_ONEDNN:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # before TensorFlow is there
    warnings.simplefilter("ignore", ConvergenceWarning)  # some draws have hardly any samples
    rng = np.random.default_rng(0)

    def drawn(n_features, dtype):
        n_samples = int(10 ** rng.uniform(1.5, np.log10(MOST_SAMPLES)))
        return rng.normal(size=(n_samples, n_features)).astype(dtype)

    def fitted(dtype):
        X = drawn(int(rng.integers(1, MOST_FEATURES + 1)), dtype)
        shape = tuple(int(side) for side in rng.integers(2, MOST_ON_A_SIDE + 1, 2))
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
        # The first stage warms up: it is not counted among the fits and predicts.
        for _ in range(n_fits // N_STAGES):
            dtype = str(rng.choice(["float32", "float64"]))
            model = fitted(dtype)
            for _ in range(n_predicts // n_fits):
                model.predict(drawn(model.n_features_in_, dtype))
        stages.append((held_mebibytes(), "" if name == "KMeans" else n_graphs()))
    return stages


def predict_more(name, n_predicts):
    """Predict with some maps, ever more shapes; return memory after each stage."""
    if name == WITHOUT_ONEDNN:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    warnings.simplefilter("ignore", ConvergenceWarning)  # two epochs
    rng = np.random.default_rng(0)
    samples = [
        rng.normal(size=(MORE_SAMPLES[1], n_features)).astype(np.float32)
        for n_features in FEATURES_OF_MAPS
    ]
    maps = [TFSOM((12, 10), max_iter=2).fit(X) for X in samples]
    stages = [held_mebibytes()]
    for _ in range(N_STAGES):
        for _ in range(n_predicts // N_STAGES):
            k = rng.integers(len(maps))
            maps[k].predict(samples[k][: rng.integers(*MORE_SAMPLES)])
        stages.append(held_mebibytes())
    return stages


def main():
    """Soak both, each in a process of its own."""
    n_fits, n_predicts = (100, 2_000) if is_short(__doc__) else (N_FITS, N_PREDICTS)
    stages = {
        name: in_own_process(soak, name, n_fits, n_predicts)
        for name in ("TFSOM", WITHOUT_ONEDNN, "KMeans")
    }
    rows = []
    for stage in range(N_STAGES + 1):
        row = {"fits": stage * n_fits // N_STAGES, "predicts": stage * n_predicts // N_STAGES}
        row |= {f"{name} (MiB)": of[stage][0] for name, of in stages.items()}
        rows.append(row | {"graphs, TFSOM": stages["TFSOM"][stage][1]})
    n_more = n_predicts * N_MORE_PREDICTS // N_PREDICTS
    more = {name: in_own_process(predict_more, name, n_more) for name in (*stages,)[:2]}
    more_rows = [
        {"predicts": stage * n_more // N_STAGES}
        | {f"{name} (MiB)": of[stage] for name, of in more.items()}
        for stage in range(N_STAGES + 1)
    ]
    half = len(rows) // 2

    def growth(name):
        of = [row[f"{name} (MiB)"] for row in rows]
        return float(np.median(of[half + 1 :]) - np.median(of[1 : half + 1]))

    save(
        "soak",
        "Soak: memory under fits and predicts of changing shapes",
        {"Fits and predicts": rows, "Predicts alone": more_rows},
        [
            f"Each fit has its own number of samples (30 to {MOST_SAMPLES:,}), features (up to "
            f"{MOST_FEATURES}), rows and columns (2 to {MOST_ON_A_SIDE}), precision, lattice, "
            "boundary and neighborhood, and each predict its own number of samples. As many fits "
            "and predicts as a line adds come before the first one, to warm up.",
            "Memory is what no file backs, after a garbage collection. It wanders with what the "
            "allocator keeps: medians of the second half minus those of the first are "
            + ", ".join(f"{growth(name):+.1f} MiB ({name})" for name in stages)
            + ".",
            "What grows with TFSOM at first is what oneDNN, in TensorFlow, keeps ready for each "
            f"shape of a product; it is bounded. Predicts alone: {len(FEATURES_OF_MAPS)} maps of "
            f"different numbers of features, {MORE_SAMPLES[0]:,} to {MORE_SAMPLES[1]:,} samples.",
        ],
    )


if __name__ == "__main__":
    main()

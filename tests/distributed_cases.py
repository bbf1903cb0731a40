"""Cases of fits by several workers: parameters and samples, split into shards."""

import importlib.util
import itertools
import json
import os

import numpy as np
from scipy.sparse import csr_array
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.preprocessing import scale

from sklearn_tfsom import TFSOM

DIGITS, IRIS, WINE = load_digits().data, load_iris().data, scale(load_wine().data)


def remove_values(X, share=0.15, seed=0):
    """Replace a random share of the values by NaN."""
    X = X.copy()
    X[np.random.RandomState(seed).uniform(size=X.shape) < share] = np.nan
    return X


def remove_values_of_first_shard():
    """Replace values of the first 40 samples by NaN, one feature completely."""
    X = WINE.copy()
    X[:40, 3] = np.nan
    X[10:30, 5:7] = np.nan
    return X


# More samples than the trial of the mirrored map uses.
MANY = np.random.RandomState(5).normal(size=(9000, 3)) * [3, 2, 1]
# Enough samples for early epochs on subsamples; some have large weights.
SUBSAMPLED = np.random.RandomState(6).normal(size=(40000, 3)) * [3, 2, 1]
SUBSAMPLED_WEIGHTS = np.random.RandomState(7).choice(
    [1.0, 2.0, 2000.0], p=[0.5, 0.499, 0.001], size=40000
)
# 68 MiB: those of the first worker are read tile by tile from a memory map.
LARGE = np.resize(
    np.random.RandomState(4).normal(size=(14_000, 64)) * np.geomspace(2, 0.1, 64), (140_000, 64)
)
N_ON_DISK = 2**17  # 64 MiB, from which on a memory map is not loaded


def write_first_shard(folder):
    """Write the first shard of the case "on disk"."""
    np.save(os.path.join(folder, "shard.npy"), LARGE[:N_ON_DISK])


WEIGHTS = np.random.RandomState(1).choice([0.0, 1.0, 2.0, 3.5], size=len(DIGITS))
# More than 1,024 features: the two main directions are found by Lanczos' method.
STRONG = np.random.RandomState(9).normal(size=(2, 1100)) * [[4], [2]]
WIDE = np.random.RandomState(2).normal(size=(60, 2)) @ STRONG
WIDE += np.random.RandomState(3).normal(size=WIDE.shape)
SPARSE_WIDE = csr_array(np.where(np.abs(np.tile(WIDE, (5, 1))) > 5, np.tile(WIDE, (5, 1)), 0))

# Enough epochs for the radius to fall and to be held, on coarser grids and on that of the map.
FEW = {"max_iter": 6}
# name: (parameters, samples, weights, ends of the shards but the last, as shares)
CASES = {
    "defaults": ({}, DIGITS, None, [0.3]),
    # At the automatic size, one sample is equally close to two units in float32.
    "float32": ({"grid_size": (14, 12)}, DIGITS.astype(np.float32), None, [0.5]),
    "far from the origin": ({"grid_size": (6, 5), **FEW}, IRIS + 1e6, None, [0.1]),
    "weights": ({}, DIGITS, WEIGHTS, [0.7]),
    "missing": ({"n_clusters": 3, **FEW}, remove_values(WINE), None, [0.4]),
    "missing on one": (
        {"grid_size": 6, **FEW},
        remove_values_of_first_shard(),
        None,
        [40 / len(WINE)],
    ),
    "sparse": ({"grid_size": (9, 8), **FEW}, csr_array(DIGITS), None, [0.6]),
    "sparse, wide": ({"grid_size": (6, 4), **FEW}, SPARSE_WIDE, None, [0.25]),
    "dense, wide": ({"grid_size": (4, 3), **FEW}, WIDE, None, [0.5]),
    "weight zero in one shard": ({"grid_size": 6, **FEW}, IRIS, np.r_[0.0, np.ones(149)], [0.5]),
    "cosine": ({"metric": "cosine", "grid_size": 7, **FEW}, DIGITS, WEIGHTS, [0.4]),
    "manhattan": ({"metric": "manhattan", "grid_size": 5, **FEW}, IRIS, None, [0.5]),
    "sample": (
        {"init": "sample", "random_state": 3, "grid_size": 8, **FEW},
        DIGITS,
        WEIGHTS,
        [0.2],
    ),
    "random": ({"init": "random", "random_state": 3, "grid_size": 6, **FEW}, IRIS, None, [0.35]),
    "clusters": ({"n_clusters": "auto", "tol": 0.05, "max_iter": 60}, IRIS, None, [0.5]),
    "torus": (
        {"boundary": "toroidal", "grid_size": (5, 6), "neighborhood": "epanechnikov", **FEW},
        WINE,
        None,
        [0.5],
    ),
    "on disk": ({"grid_size": (5, 4), "max_iter": 3}, LARGE, None, [N_ON_DISK / len(LARGE)]),
    "many": ({"grid_size": (7, 6), **FEW}, MANY, None, [0.37]),
    "subsamples": ({"grid_size": (7, 6), **FEW}, SUBSAMPLED, SUBSAMPLED_WEIGHTS, [0.55]),
    "subsamples, none of one worker": (
        {"grid_size": 5, **FEW},
        SUBSAMPLED,
        None,
        [39998 / 40000],
    ),
    "subsamples, missing": (
        {"grid_size": 5, **FEW},
        remove_values(SUBSAMPLED, 0.001),
        None,
        [0.5],
    ),
    "topographic error": (
        {"compute_topographic_error": True, **FEW},
        IRIS,
        None,
        [0.6],
    ),
}
STOPPED = "stopped by the second worker"
if importlib.util.find_spec("sklearn.callback"):  # since scikit-learn 1.9
    CASES[STOPPED] = ({"grid_size": 6, "tol": 0, **FEW}, IRIS, None, [0.5])


class StoppingCallback:
    """A callback that stops a fit after three epochs."""

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        return context.task_name == "epoch" and context.task_id == 2


def make_map(name, params, index=1):
    """Return the map of a case, on one of two workers or, as on the second, in one process."""
    som = TFSOM(**params)
    return som.set_callbacks(StoppingCallback()) if (name, index) == (STOPPED, 1) else som


def split_shards(X, weights, shares):
    """Split samples and weights into shards."""
    bounds = [0, *(round(share * X.shape[0]) for share in shares), X.shape[0]]
    return [
        (X[start:stop], None if weights is None else weights[start:stop])
        for start, stop in itertools.pairwise(bounds)
    ]


def get_results(som):
    """Return the results that must be equal on all workers and on a single process."""
    return {
        "codebook": som.codebook_,
        "shape": np.array(som.grid_shape_),
        "hits": som.hits_,
        "error": np.array(som.quantization_error_),
        "n_iter": np.array(som.n_iter_),
        "clusters": som.cluster_labels_,
        "imputed": impute_code_vectors(som),
        "seen": np.array(som.n_samples_seen_),
        **{f"history {name}": values for name, values in som.history_.items()},
    }


def impute_code_vectors(som):
    """Impute the first feature of the code vectors, from the statistics that the map keeps."""
    if som.metric != "euclidean":
        return np.zeros(0)  # the map keeps no statistics for it
    incomplete = som.codebook_.copy()
    incomplete[:, 0] = np.nan
    return som.impute(incomplete)


def set_cluster(index, ports):
    """Make this process a worker of a cluster, before TensorFlow creates its strategy."""
    addresses = [f"127.0.0.1:{port}" for port in ports]
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    )

"""Fits that several workers make together: run as a script, one worker; imported, the union.

Each case is a set of parameters and samples, cut into shards of different length.
"""

import itertools
import json
import os
import sys

import numpy as np
from scipy.sparse import csr_array
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.preprocessing import scale

DIGITS, IRIS, WINE = load_digits().data, load_iris().data, scale(load_wine().data)


def holes(X, share=0.15, seed=0):
    X = X.copy()
    X[np.random.RandomState(seed).uniform(size=X.shape) < share] = np.nan
    return X


def one_sided_holes():
    """Values are missing in the first shard only, and there in all of a feature."""
    X = WINE.copy()
    X[:40, 3] = np.nan
    X[10:30, 5:7] = np.nan
    return X


# More samples than are tried both ways round.
MANY = np.random.RandomState(5).normal(size=(9000, 3)) * [3, 2, 1]
# So many that subsets stand for them while the radius is wide; some weigh much.
MOST = np.random.RandomState(6).normal(size=(40000, 3)) * [3, 2, 1]
MOST_WEIGHTS = np.random.RandomState(7).choice(
    [1.0, 2.0, 2000.0], p=[0.5, 0.499, 0.001], size=40000
)
# More than 64 MiB, so that it is read in tiles where it lies on disk.
LARGE = np.random.RandomState(4).normal(size=(36000, 256)) * np.linspace(2, 0.1, 256)


def one_shard_on_disk(folder):
    """Write the first shard of the case "on disk"."""
    np.save(os.path.join(folder, "shard.npy"), LARGE[:34000])


WEIGHTS = np.random.RandomState(1).choice([0.0, 1.0, 2.0, 3.5], size=len(DIGITS))
WIDE = np.random.RandomState(2).normal(size=(60, 4200)) * np.linspace(3, 0.1, 4200)
SPARSE_WIDE = csr_array(np.maximum(np.random.RandomState(3).normal(size=(300, 1500)) - 1.5, 0))

# name: (parameters, samples, weights, where the shards end as shares)
CASES = {
    "defaults": ({}, DIGITS, None, [0.3]),
    # At the automatic size float32 cannot tell which of two units one sample is closer to.
    "float32": ({"grid_size": (14, 12)}, DIGITS.astype(np.float32), None, [0.5]),
    "far from the origin": ({"grid_size": (6, 5)}, IRIS + 1e6, None, [0.1]),
    "weights": ({}, DIGITS, WEIGHTS, [0.7]),
    "missing": ({"n_clusters": 3}, holes(WINE), None, [0.4]),
    "missing on one": ({"grid_size": 6}, one_sided_holes(), None, [40 / len(WINE)]),
    "sparse": ({"grid_size": (9, 8)}, csr_array(DIGITS), None, [0.6]),
    "sparse, wide": ({"grid_size": (6, 4)}, SPARSE_WIDE, None, [0.25]),
    "dense, wide": ({"grid_size": (4, 3)}, WIDE, None, [0.5]),
    "cosine": ({"metric": "cosine", "grid_size": 7}, DIGITS, WEIGHTS, [0.4]),
    "manhattan": ({"metric": "manhattan", "grid_size": 5}, IRIS, None, [0.5]),
    "sample": ({"init": "sample", "random_state": 3, "grid_size": 8}, DIGITS, WEIGHTS, [0.2]),
    "random": ({"init": "random", "random_state": 3, "grid_size": 6}, IRIS, None, [0.35]),
    "clusters": ({"n_clusters": "auto", "tol": 0.05, "max_iter": 60}, IRIS, None, [0.5]),
    "torus": (
        {"boundary": "toroidal", "grid_size": (5, 6), "neighborhood": "epanechnikov"},
        WINE,
        None,
        [0.5],
    ),
    "on disk": ({"grid_size": (5, 4), "max_iter": 3}, LARGE, None, [34 / 36]),
    "many": ({"grid_size": (7, 6)}, MANY, None, [0.37]),
    "subsets": ({"grid_size": (7, 6)}, MOST, MOST_WEIGHTS, [0.55]),
    "subsets with none of one": ({"grid_size": 5}, MOST, None, [39998 / 40000]),
    "subsets of incomplete ones": ({"grid_size": 5}, holes(MOST, 0.001), None, [0.5]),
    "errors": ({"compute_topographic_error": True, "max_iter": 6}, IRIS, None, [0.6]),
}


def shards(X, weights, shares):
    """Cut samples and weights into shards."""
    bounds = [0, *(round(share * X.shape[0]) for share in shares), X.shape[0]]
    return [
        (X[start:stop], None if weights is None else weights[start:stop])
        for start, stop in itertools.pairwise(bounds)
    ]


def facts(som):
    """What must be equal, on all workers and on one process."""
    return {
        "codebook": som.codebook_,
        "shape": np.array(som.grid_shape_),
        "hits": som.hits_,
        "error": np.array(som.quantization_error_),
        "n_iter": np.array(som.n_iter_),
        "clusters": som.cluster_labels_,
        "residuals": getattr(som, "_residuals", np.zeros(0)),
        "seen": np.array(som.n_samples_seen_),
        **{f"history {name}": values for name, values in som.history_.items()},
    }


def main(index, ports, folder, names):
    addresses = [f"127.0.0.1:{port}" for port in ports]
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    )
    import tensorflow as tf

    from sklearn_tfsom import TFSOM

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    for name in names:
        params, X, weights, shares = CASES[name]
        shard, shard_weights = shards(X, weights, shares)[index]
        if name == "on disk" and index == 0:
            shard = np.load(os.path.join(folder, "shard.npy"), mmap_mode="r")
        if index == 1 and "random_state" in params:
            params = params | {"random_state": None}  # the first worker's counts
        som = TFSOM(**params)
        with strategy.scope():
            som.fit(shard, sample_weight=shard_weights)
        np.savez(os.path.join(folder, f"{name}-{index}.npz"), labels=som.labels_, **facts(som))
    print("done", flush=True)


if __name__ == "__main__":
    index, ports, folder, names = sys.argv[1:]
    main(int(index), json.loads(ports), folder, json.loads(names))

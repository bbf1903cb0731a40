"""Script: one of two workers that fit all cases; then the second one fails."""

import copy
import json
import os
import signal
import sys
import time

import numpy as np
import tensorflow as tf
from distributed_cases import CASES, get_results, make_map, set_cluster, split_shards
from oracles import get_results as get_fitted

from sklearn_tfsom import TFSOM


class StoppingNeighborhood:
    """A Gaussian neighborhood that may stop its process after some epochs."""

    def __init__(self, stops):
        self.stops, self.n_calls = stops, 0

    def __call__(self, squared_distances, radius):
        self.n_calls += 1
        if self.n_calls == 4 and self.stops:
            os.kill(os.getpid(), signal.SIGSTOP)
        return np.exp(-squared_distances / (2 * radius**2))


class UnreadableArray:
    """An array-like whose conversion raises an error that no validation expects."""

    def __array__(self, dtype=None, copy=None):
        raise ZeroDivisionError("unreadable")


class FixedSOM(TFSOM):
    """A map whose constructor sets the parameters, without listing them."""

    def __init__(self):
        super().__init__((6, 6), max_iter=8, tol=0)


def fit_case(index, name, folder):
    """Fit the shard of one worker, and write the results to the folder."""
    params, X, weights, shares = CASES[name]
    shard, shard_weights = split_shards(X, weights, shares)[index]
    if name == "on disk" and index == 0:
        shard = np.load(os.path.join(folder, "shard.npy"), mmap_mode="r")
    if index == 1 and "random_state" in params:
        params = params | {"random_state": None}  # the one of the first worker is used
    som = make_map(name, params, index).fit(shard, sample_weight=shard_weights)
    path = os.path.join(folder, f"{name}-{index}.npz")
    np.savez(path, labels=som.labels_, **get_results(som))


def make_samples(index):
    return np.random.RandomState(index).normal(size=(1000, 8))


def fit_with_failure(index, failure, fitted):
    """Fit a fitted map again, and print a report as JSON."""
    X, som = make_samples(index), copy.deepcopy(fitted)
    if failure == "init":
        som.set_params(init=np.zeros((36, 8)))
    elif failure == "neighborhood":
        som.set_params(neighborhood=lambda squared, radius: np.exp(-squared / 2 / radius**2))
    elif failure == "frozen":
        som.set_params(neighborhood=StoppingNeighborhood(stops=index == 1))
    elif failure == "batch_size":
        som.set_params(batch_size=64)
    elif failure == "parameters of a subclass":
        som.__class__ = FixedSOM
    if index == 1:
        if failure == "unreadable":
            X = UnreadableArray()
        elif failure == "samples":
            X[3, 3] = np.inf
        elif failure == "features":
            X = X[:, :5]
        elif failure == "precision":
            X = X.astype(np.float32)
        elif failure == "parameters":
            som.set_params(radius_end=0.7)
        elif failure == "parameters of a subclass":
            som.radius_end = 0.7
        elif failure == "init":
            som.set_params(init=np.ones((36, 8)))
        elif failure == "neighborhood":
            som.set_params(neighborhood=lambda squared, radius: np.exp(-squared / radius**2))
        elif failure == "equal":  # to other types of the same parameters
            som.set_params(grid_size=[np.int64(6), 6], max_iter=np.int64(8), tol=0.0)
            som.set_params(lattice=np.str_("hexagonal"), metric=np.str_("euclidean"))
        elif failure == "empty":
            X = X[:0]
    before = get_fitted(som)
    start, error = time.monotonic(), "none"
    try:
        som.partial_fit(X) if failure == "partial_fit" else som.fit(X)
    except Exception as caught:
        error = f"{type(caught).__name__}: {caught}"
    is_unchanged = get_fitted(som) == before
    report = {"error": error, "seconds": time.monotonic() - start, "is_unchanged": is_unchanged}
    print(json.dumps(report), flush=True)


def main(index, ports, folder, cases, failures):
    """Fit each case, and then once for each failure."""
    set_cluster(index, ports)
    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        for name in cases:
            fit_case(index, name, folder)
        fitted = TFSOM((6, 6), max_iter=8, tol=0).fit(make_samples(index)[:500])
        for failure in failures:
            fit_with_failure(index, failure, fitted)


if __name__ == "__main__":
    index, ports, folder, tasks = sys.argv[1:]
    main(int(index), json.loads(ports), folder, *json.loads(tasks))

"""Script: one of two workers, of which the second one fails in different ways."""

import json
import os
import signal
import sys
import time

import numpy as np
import tensorflow as tf
from distributed_cases import set_cluster

from sklearn_tfsom import TFSOM


class SignalingNeighborhood:
    """A Gaussian neighborhood that sends a signal to its process after some epochs."""

    def __init__(self, number):
        self.number, self.n_calls = number, 0

    def __call__(self, squared_distances, radius):
        self.n_calls += 1
        if self.n_calls == 20 and self.number is not None:
            os.kill(os.getpid(), self.number)
        return np.exp(-squared_distances / (2 * radius**2))


class UnreadableArray:
    """An array-like whose conversion raises an error that no validation expects."""

    def __array__(self, dtype=None, copy=None):
        raise ZeroDivisionError("unreadable")


def fit(index, failure):
    """Fit, and print a report as JSON."""
    X = np.random.RandomState(index).normal(size=(1000, 8))
    som = TFSOM((6, 6), max_iter=40, tol=0)
    if failure == "init":
        som.set_params(init=np.zeros((36, 8)))
    elif failure == "neighborhood":
        som.set_params(neighborhood=lambda squared, radius: np.exp(-squared / 2 / radius**2))
    if failure in ("killed", "frozen"):
        number = {"killed": signal.SIGKILL, "frozen": signal.SIGSTOP}[failure]
        som.set_params(neighborhood=SignalingNeighborhood(number if index == 1 else None))
    elif failure == "batch_size":
        som.set_params(batch_size=64)
    elif index == 1:
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
        elif failure == "init":
            som.set_params(init=np.ones((36, 8)))
        elif failure == "neighborhood":
            som.set_params(neighborhood=lambda squared, radius: np.exp(-squared / radius**2))
        elif failure == "equal":  # to other types of the same parameters
            som.set_params(grid_size=[np.int64(6), 6], max_iter=np.int64(40), tol=0.0)
        elif failure == "empty":
            X = X[:0]
    start, error = time.monotonic(), "none"
    try:
        som.fit(X)
    except Exception as caught:
        error = f"{type(caught).__name__}: {caught}"
    attributes = [name for name in vars(som) if name.endswith("_")]
    report = {"error": error, "seconds": time.monotonic() - start, "attributes": attributes}
    print(json.dumps(report), flush=True)


def main(index, ports, failures):
    """Fit once for each failure."""
    set_cluster(index, ports)
    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        for failure in failures:
            fit(index, failure)


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3]))

"""Run as a script: one of two workers, of which the second one fails in some ways."""

import json
import os
import signal
import sys
import time

import numpy as np
import tensorflow as tf

from sklearn_tfsom import TFSOM


class Fading:
    """A Gaussian neighborhood; but after some epochs the second worker gets a signal."""

    def __init__(self, index, how):
        self.signal = {"killed": signal.SIGKILL, "frozen": signal.SIGSTOP}[how]
        self.index, self.n_calls = index, 0

    def __call__(self, squared_distances, radius):
        self.n_calls += 1
        if self.index == 1 and self.n_calls == 20:
            os.kill(os.getpid(), self.signal)
        return np.exp(-squared_distances / (2 * radius**2))


def fit(index, how):
    """Fit, and report."""
    X = np.random.RandomState(index).normal(size=(1000, 8))
    som = TFSOM((6, 6), max_iter=40, tol=0)
    if how in ("killed", "frozen"):
        som.set_params(neighborhood=Fading(index, how))
    elif how == "batch_size":
        som.set_params(batch_size=64)
    elif how == "samples" and index == 1:
        X[3, 3] = np.inf
    elif how == "features" and index == 1:
        X = X[:, :5]
    elif how == "precision" and index == 1:
        X = X.astype(np.float32)
    elif how == "parameters" and index == 1:
        som.set_params(radius_end=0.7)
    began, error = time.monotonic(), "none"
    try:
        som.fit(X)
    except (RuntimeError, ValueError) as caught:
        error = f"{type(caught).__name__}: {caught}"
    attributes = [name for name in vars(som) if name.endswith("_")]
    report = {"error": error, "seconds": time.monotonic() - began, "attributes": attributes}
    print(json.dumps(report), flush=True)


def main(index, ports, ways):
    """Fit once for each way to fail."""
    addresses = [f"127.0.0.1:{port}" for port in ports]
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    )
    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        for how in ways:
            fit(index, how)


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3]))

"""
Training with several workers
=============================

Several processes train one map on different samples: each calls ``fit`` in the scope of
TensorFlow's ``MultiWorkerMirroredStrategy``. In each epoch, the workers exchange a few numbers per
unit and feature, independent of the number of samples. All workers end with the same map, which
equals the map that one process computes from all samples.

TensorFlow reads the addresses of the workers from the environment variable ``TF_CONFIG``. This
script sets the variable and starts two processes on this machine. On a cluster, the launcher does
this. For example, Ray Train can run the same function on a hundred machines. If a machine fails,
Ray Train restarts all workers, and with ``checkpoint_dir`` they continue from the last completed
epoch::

    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer

    TensorflowTrainer(
        train,
        train_loop_config={"folder": "/shared/folder"},
        scaling_config=ScalingConfig(num_workers=100, resources_per_worker={"CPU": 8}),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=3)),
    ).fit()

Two workers on one machine share its cores, so they are not faster than one process.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import make_swiss_roll

from sklearn_tfsom import TFSOM

N_WORKERS = 2


def load_samples(index, n_workers):
    """Return the samples of one worker. In practice, each worker would read its own files."""
    return make_swiss_roll(100_000, random_state=0)[0][index::n_workers]


def timed_fit(folder, X):
    """Return a fitted map and the time of the fit, with the same parameters for all workers."""
    start = time.perf_counter()
    som = TFSOM((20, 30), checkpoint_dir=folder).fit(X)
    return som, time.perf_counter() - start


def train(config):
    """Fit on one worker and save the result. TF_CONFIG specifies the index of the worker."""
    import tensorflow as tf  # noqa: TID251  # for its strategy

    job = json.loads(os.environ["TF_CONFIG"])
    index, n_workers = job["task"]["index"], len(job["cluster"]["worker"])
    # The strategy must be created before any other use of TensorFlow in the process.
    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        som, seconds = timed_fit(config["folder"], load_samples(index, n_workers))
    np.savez(Path(config["folder"], f"map-{index}"), codebook=som.codebook_, seconds=seconds)


def free_addresses(n_addresses):
    """Return addresses with free ports on this machine."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(n_addresses)]
    addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()
    return addresses


def launch(folder):
    """Run `train` in several processes on this machine, and return their results."""
    cluster = {"worker": free_addresses(N_WORKERS)}
    processes = []
    for index in range(N_WORKERS):
        job = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        environment = os.environ | {"TF_CONFIG": json.dumps(job)}
        command = [sys.executable, __file__, folder]
        processes.append(subprocess.Popen(command, env=environment))
    if any([process.wait() for process in processes]):
        raise RuntimeError("A worker failed. See its error message above.")
    return [dict(np.load(Path(folder, f"map-{index}.npz"))) for index in range(N_WORKERS)]


def main():
    """Compare two workers with one process."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = launch(folder)
        som, seconds = timed_fit(None, load_samples(0, 1))
        is_equal = np.array_equal(first["codebook"], second["codebook"])
        print(f"the workers' codebooks are equal: {is_equal}")
        difference = np.abs(first["codebook"] - som.codebook_).max()
        print(f"largest difference from the codebook of one process: {difference:.1e}")
        print(f"fit: two workers {first['seconds']:.2f} s, one process {seconds:.2f} s")
        print("(the workers also start TensorFlow, and write checkpoints)")


if __name__ == "__main__":
    train({"folder": sys.argv[1]}) if len(sys.argv) > 1 else main()

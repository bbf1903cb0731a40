"""
One map of two workers' samples
===============================

Several processes, each with samples of its own, train one map: each calls ``fit`` in the scope of
TensorFlow's ``MultiWorkerMirroredStrategy``. From there on they exchange sums, a few numbers for
each unit and feature in an epoch, however many samples there are. All end with the same map, and
it is the map that one process makes of all samples.

Which processes belong together TensorFlow reads in the variable ``TF_CONFIG``. This script sets it
and starts two on this machine. On a cluster others do that. With Ray Train the same function runs
on a hundred machines; where one dies, all start again, and ``checkpoint_dir`` lets them go on
where they were::

    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer

    TensorflowTrainer(
        train,
        train_loop_config={"folder": "/a/folder/that/all/machines/see"},
        scaling_config=ScalingConfig(num_workers=100, resources_per_worker={"CPU": 8}),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=3)),
    ).fit()

Two workers on one machine share its cores, and so they are no faster than one process.
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


def samples(index, n_workers):
    """Read the samples of one worker: here one in `n_workers`, elsewhere files of its own."""
    return make_swiss_roll(100_000, random_state=0)[0][index::n_workers]


def timed_fit(folder, X):
    """Fit the map, the same everywhere, and say how long that takes."""
    start = time.perf_counter()
    som = TFSOM((20, 30), checkpoint_dir=folder).fit(X)
    return som, time.perf_counter() - start


def train(config):
    """Fit on one worker. Which one it is, and who the others are, TF_CONFIG says."""
    import tensorflow as tf  # noqa: TID251

    job = json.loads(os.environ["TF_CONFIG"])
    index, n_workers = job["task"]["index"], len(job["cluster"]["worker"])
    # A strategy has to be made before TensorFlow computes anything else in its process.
    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        som, seconds = timed_fit(config["folder"], samples(index, n_workers))
    np.savez(Path(config["folder"], f"map-{index}"), codebook=som.codebook_, seconds=seconds)


def free_addresses(n):
    """Find free ports of this machine."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


def launch(folder):
    """Run `train` in processes of this machine, and return what they have left in the folder."""
    cluster = {"worker": free_addresses(N_WORKERS)}
    processes = []
    for index in range(N_WORKERS):
        job = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        environment = os.environ | {"TF_CONFIG": json.dumps(job)}
        command = [sys.executable, __file__, folder]
        processes.append(subprocess.Popen(command, env=environment))
    if any([process.wait() for process in processes]):
        raise RuntimeError("A worker has failed: its own error says why.")
    return [dict(np.load(Path(folder, f"map-{index}.npz"))) for index in range(N_WORKERS)]


def main():
    """Compare two workers with one process."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = launch(folder)
        som, seconds = timed_fit(None, samples(0, 1))
        is_same = np.array_equal(first["codebook"], second["codebook"])
        print(f"the workers' codebooks are equal: {is_same}")
        difference = np.abs(first["codebook"] - som.codebook_).max()
        print(f"largest difference to that of one process: {difference:.1e}")
        print(f"fit: two workers {first['seconds']:.2f} s, one process {seconds:.2f} s")


if __name__ == "__main__":
    train({"folder": sys.argv[1]}) if len(sys.argv) > 1 else main()

"""Script: two workers of a fit with checkpoints, of which one is killed; then two that resume.

``python checkpoint_workers.py FOLDER`` writes what they print into the folder, and prints how many
epochs were saved. Workers are forked after the import of TensorFlow, which takes seconds, but
before its first use.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from distributed_cases import DIGITS, get_results, set_cluster
from interruptions import after_checkpoints
from test_distributed import find_free_ports

from sklearn_tfsom import TFSOM

N_EPOCHS_BEFORE_KILL = 5
SECONDS = 240  # within which two workers must end


def work(index, ports, folder, is_killed):
    """Fit with and without checkpoints, and compare the results bit by bit.

    Only the first worker gets the directory of the checkpoints; it kills the second one.
    """
    action = "killed" if is_killed else "resumed"
    for stream, suffix in ((1, "out"), (2, "err")):
        with open(folder / f"{action}-{index}.{suffix}", "w") as file:
            os.dup2(file.fileno(), stream)
    set_cluster(index, ports)
    pid_file = folder / "pid"
    if index == 1:
        pid_file.write_text(str(os.getpid()))

    killed_at = []

    def kill_second():
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        killed_at.append(time.monotonic())

    shard = (DIGITS[:500], DIGITS[500:])[index]
    directory = folder / "checkpoints" if index == 0 else None
    n_before_kill = N_EPOCHS_BEFORE_KILL if is_killed and index == 0 else None
    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        resumed = TFSOM(8, verbose=1, checkpoint_dir=directory)
        try:
            with after_checkpoints(n_before_kill, kill_second):
                resumed.fit(shard)
        except RuntimeError:
            seconds = time.monotonic() - killed_at[0]
            attributes = [name for name in vars(resumed) if name.endswith("_")]
            print(json.dumps({"seconds": seconds, "attributes": attributes}), flush=True)
            raise
        expected = TFSOM(8).fit(shard)
    results = get_results(resumed)
    for name, value in get_results(expected).items():
        np.testing.assert_array_equal(results[name], value, err_msg=name)
    print("identical", flush=True)


def run_two(folder, is_killed):
    """Run two workers until they end."""
    context, ports = multiprocessing.get_context("fork"), find_free_ports(2)
    workers = [
        context.Process(target=work, args=(index, ports, folder, is_killed)) for index in (0, 1)
    ]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join(SECONDS)
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run_two(folder, is_killed=True)
    (checkpoint,) = (folder / "checkpoints").iterdir()
    with np.load(checkpoint) as file:
        print(len(file["history_radius"]))
    run_two(folder, is_killed=False)

"""Script: one of two workers of a fit with checkpoints; the second one may be killed."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from distributed_cases import DIGITS, get_results, set_cluster

from sklearn_tfsom import TFSOM

N_EPOCHS_BEFORE_KILL = 5


def kill_after_checkpoints(pid_file):
    """Kill the process of a file once this one has written some checkpoints."""
    replace, n_written = os.replace, 0

    def replace_and_kill(source, target):
        nonlocal n_written
        replace(source, target)  # completes a checkpoint
        n_written += 1
        if n_written == N_EPOCHS_BEFORE_KILL:
            os.kill(int(pid_file.read_text()), signal.SIGKILL)

    os.replace = replace_and_kill


def main(index, ports, folder, is_killed):
    """Fit with and without checkpoints, and compare the results bit by bit.

    Only the first worker gets the directory of the checkpoints.
    """
    set_cluster(index, ports)
    pid_file = Path(folder, "pid")
    if index == 1:
        pid_file.write_text(str(os.getpid()))
    elif is_killed:
        kill_after_checkpoints(pid_file)
    shard = (DIGITS[:500], DIGITS[500:])[index]
    directory = Path(folder, "checkpoints") if index == 0 else None
    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        resumed = TFSOM(8, verbose=1, checkpoint_dir=directory).fit(shard)
        expected = TFSOM(8).fit(shard)
    results = get_results(resumed)
    for name, value in get_results(expected).items():
        np.testing.assert_array_equal(results[name], value, err_msg=name)
    print("identical", flush=True)


if __name__ == "__main__":
    index, ports, folder, action = sys.argv[1:]
    main(int(index), json.loads(ports), folder, is_killed=action == "kill")

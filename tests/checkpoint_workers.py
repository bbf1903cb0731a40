"""Run as a script: one of two workers whose fit is kept; the second one may be killed."""

import json
import os
import signal
import sys

import numpy as np
import tensorflow as tf
from distributed_cases import DIGITS, facts

from sklearn_tfsom import TFSOM
from sklearn_tfsom._checkpoint import Checkpoint

N_EPOCHS_ALIVE = 5


class Watched(Checkpoint):
    """Tells how many epochs it has found, and may be the death of its worker."""

    is_mortal = False
    n_written = 0

    def read(self, names):
        progress = super().read(names)
        print(f"{progress.n_epochs} epochs were done", flush=True)
        return progress

    def write(self, history, state):
        super().write(history, state)
        self.n_written += 1
        if self.is_mortal and self.n_written == N_EPOCHS_ALIVE:
            os.kill(os.getpid(), signal.SIGKILL)


def main(index, ports, folder, is_mortal):
    """Fit with a directory, which only the first worker knows, and without; compare the bits."""
    addresses = [f"127.0.0.1:{port}" for port in ports]
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    )
    sys.modules[TFSOM.__module__].Checkpoint = Watched
    Watched.is_mortal = is_mortal and index == 1
    shard = (DIGITS[:500], DIGITS[500:])[index]
    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        kept = TFSOM(8, checkpoint_dir=folder if index == 0 else None).fit(shard)
        Watched.is_mortal = False
        whole = TFSOM(8).fit(shard)
    for name, value in facts(whole).items():
        np.testing.assert_array_equal(facts(kept)[name], value, err_msg=name)
    print("the same bits", flush=True)


if __name__ == "__main__":
    index, ports, folder, is_mortal = sys.argv[1:]
    main(int(index), json.loads(ports), folder, is_mortal == "mortal")

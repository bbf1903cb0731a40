"""Kill a fit at random moments, start it again each time, and see that it ends in the same bits.

``python tests/kill_and_resume.py [n_kills] [seed]`` prints a line for each life of the fit.
"""

import multiprocessing
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from sklearn_tfsom import TFSOM
from sklearn_tfsom._tf.silence import startup_lines_held_back

# Children are forked from a process that has imported TensorFlow, but not started it.
with startup_lines_held_back():
    import tensorflow  # noqa: F401


def fit(folder, result):
    """Fit: short epochs, and files that take about as long to be written."""
    X = np.random.RandomState(0).normal(size=(300, 256))
    som = TFSOM((40, 40), max_iter=100, tol=0, checkpoint_dir=folder).fit(X)
    np.savez(result, codebook=som.codebook_, labels=som.labels_, hits=som.hits_, **som.history_)


def live(folder, result, seconds=None):
    """Let a process fit, for so many seconds at most; say whether it had to be killed."""
    process = multiprocessing.get_context("fork").Process(target=fit, args=(folder, result))
    process.start()
    process.join(seconds)
    was_alive = process.exitcode is None
    process.kill()
    process.join()
    assert was_alive or process.exitcode == 0
    return was_alive


def n_epochs_kept(folder):
    """Read whatever passes for a checkpoint, and count its epochs."""
    n_epochs = 0
    for path in folder.glob("*.npz"):
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        n_epochs = len(arrays["history_radius"])
        assert n_epochs == len(arrays["history_quantization_error"]) > 0
        assert arrays["state_codebook"].shape[1] == 256
    return n_epochs


def n_half_written(folder):
    """Count what else is there: what one life has left over, the next one clears away."""
    others = [path for path in folder.glob("*") if path.suffix != ".npz"]
    assert all(path.suffix == ".partial" for path in others)
    assert len(others) <= 1
    return len(others)


def check_same(result, wanted):
    """Compare what two fits gave, bit by bit."""
    with np.load(result) as one, np.load(wanted) as other:
        for name in other.files:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def main(n_kills=20, seed=0):
    """Kill so many times; a fit that ends before it is killed is compared, and begun anew."""
    rng = np.random.default_rng(seed)
    with TemporaryDirectory() as place:
        folder, wanted, result = (Path(place, name) for name in ("kept", "wanted.npz", "own.npz"))
        began = time.monotonic()
        live(None, wanted)
        longest = time.monotonic() - began
        n_killed = n_before = 0
        while n_killed < n_kills:
            result.unlink(missing_ok=True)
            seconds = longest * rng.uniform() ** 0.5  # more often late: a start leaves nothing
            was_killed = live(folder, result, seconds)
            n_epochs = n_epochs_kept(folder)
            if was_killed:
                n_killed += 1
                assert n_epochs >= n_before or result.exists()
                end = f"killed after {seconds:.2f} s, {n_half_written(folder)} file half written"
            else:
                check_same(result, wanted)
                assert not list(folder.iterdir())
                end = "done: the same bits"
            print(f"from epoch {n_before} to {n_epochs}: {end}", flush=True)
            n_before = n_epochs
        live(folder, result)
        check_same(result, wanted)
        assert not list(folder.iterdir())
        print(f"from epoch {n_before} to the end: the same bits after {n_killed} kills")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

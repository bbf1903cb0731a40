"""Kill a fit at random times, resume it each time, and check that the result is identical.

``python tests/kill_and_resume.py [n_kills] [seed]`` prints a line for each process.
"""

import multiprocessing
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from sklearn_tfsom import TFSOM


def fit(folder, result):
    """Fit in NumPy with short epochs, about as long as it takes to write a checkpoint."""
    X = np.random.RandomState(0).normal(size=(300, 256))
    som = TFSOM((40, 40), max_iter=100, tol=0, checkpoint_dir=folder).fit(X)
    np.savez(result, codebook=som.codebook_, labels=som.labels_, hits=som.hits_, **som.history_)


def run_process(folder, result, seconds=None):
    """Fit in a process for at most `seconds`; return True if it had to be killed."""
    process = multiprocessing.get_context("fork").Process(target=fit, args=(folder, result))
    process.start()
    process.join(seconds)
    is_killed = process.exitcode is None
    process.kill()
    process.join()
    assert is_killed or process.exitcode == 0
    return is_killed


def count_saved_epochs(folder):
    """Return the number of epochs of the checkpoint, which must be complete; 0 without one."""
    n_epochs = 0
    for path in folder.glob("*.npz"):
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        n_epochs = len(arrays["history_radius"])
        assert n_epochs == len(arrays["history_quantization_error"]) > 0
        assert arrays["state_codebook"].shape[-1] == 256
    return n_epochs


def count_partial_files(folder):
    """Return the number of incomplete files: at most one, since a new process removes them."""
    others = [path for path in folder.glob("*") if path.suffix != ".npz"]
    assert all(path.suffix == ".partial" for path in others)
    assert len(others) <= 1
    return len(others)


def check_identical(result, expected):
    """Compare the results of two fits bit by bit."""
    with np.load(result) as one, np.load(expected) as other:
        for name in other.files:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def main(n_kills=20, seed=0):
    """Kill `n_kills` times; a fit that ends before it is killed is checked and started again."""
    rng = np.random.default_rng(seed)
    with TemporaryDirectory() as root:
        folder = Path(root, "checkpoints")
        expected, result = Path(root, "expected.npz"), Path(root, "result.npz")
        start = time.monotonic()
        run_process(None, expected)
        max_seconds = time.monotonic() - start
        n_killed = n_before = 0
        most_saved = 0
        while n_killed < n_kills or not most_saved:
            result.unlink(missing_ok=True)
            # Late times are more likely: a process killed at its start leaves nothing to resume.
            seconds = max_seconds * rng.uniform() ** 0.5
            is_killed = run_process(folder, result, seconds)
            n_epochs = count_saved_epochs(folder)
            if is_killed:
                n_killed += 1
                # Without a checkpoint the fit had ended, and was killed before or while it wrote.
                assert n_epochs >= n_before or not list(folder.iterdir())
                n_partial = count_partial_files(folder)
                outcome = f"killed after {seconds:.2f} s, {n_partial} incomplete file"
            else:
                check_identical(result, expected)
                assert not list(folder.iterdir())
                outcome = "finished, identical"
            print(f"from epoch {n_before} to {n_epochs}: {outcome}", flush=True)
            n_before, most_saved = n_epochs, max(most_saved, n_epochs)
        run_process(folder, result)
        check_identical(result, expected)
        assert not list(folder.iterdir())
        print(f"from epoch {n_before} to the end: identical after {n_killed} kills")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

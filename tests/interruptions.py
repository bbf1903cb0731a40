"""Fits that are interrupted after some checkpoints."""

import contextlib
import os


class StoppedError(Exception):
    """A fit has been stopped after a checkpoint."""


@contextlib.contextmanager
def after_checkpoints(n_checkpoints, function):
    """Call a function when the checkpoint of this number has been moved to its place."""
    replace, n_written = os.replace, 0

    def replace_and_call(source, target):
        nonlocal n_written
        replace(source, target)
        n_written += 1
        if n_written == n_checkpoints:
            function()

    os.replace = replace_and_call
    try:
        yield
    finally:
        os.replace = replace


def stop_after(n_checkpoints, som, X, weights=None):
    """Fit until the checkpoint of this number is written."""

    def stop():
        raise StoppedError

    try:
        with after_checkpoints(n_checkpoints, stop):
            som.fit(X, sample_weight=weights)
    except StoppedError:
        return
    raise AssertionError(f"The fit ended before checkpoint {n_checkpoints}.")

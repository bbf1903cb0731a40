"""Quiet starts: TensorFlow's start-up lines are held back, everything else comes out."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

# What TensorFlow writes to file descriptor 2 when it starts, before any setting can stop it: its
# informational lines, and on a machine without a GPU the news that there is none.
_CHATTER = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR"
    rb"|(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: )?I\d* ?.*\.(cc|h):\d+\] "
    rb"|(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: )?[WE]\d* ?.*"
    rb"/?(cuda_platform|cuda_dnn|cuda_fft|cuda_blas|cudart_stub|gpu_device|computation_placer)"
    rb"\.cc:\d+\] "
    rb"|To enable the following instructions: "
)

# Two threads that redirect one descriptor would leave it redirected.
_lock = threading.Lock()


@contextlib.contextmanager
def startup_lines_held_back() -> Iterator[None]:
    """Hold back what is written to file descriptor 2; let go of all but the chatter at the end.

    A file holds it, and no pipe, which could fill up. What is held is lost if the process is
    killed meanwhile.
    """
    with _lock, contextlib.ExitStack() as at_end:
        _flush()
        try:
            stderr = os.dup(2)
        except OSError:  # no standard error, as under pythonw: nothing to keep quiet
            yield
            return
        at_end.callback(os.close, stderr)
        held = at_end.enter_context(tempfile.TemporaryFile())
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(stderr, 2)
            held.seek(0)
            for line in held:
                if not _CHATTER.match(line):
                    os.write(2, line)


def _flush() -> None:
    with contextlib.suppress(AttributeError, ValueError):  # sys.stderr may be None, or closed
        sys.stderr.flush()

"""How TensorFlow comes in: late, quietly, once per process, never into a fork that would hang."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from types import ModuleType

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

_lock = threading.Lock()
_core: ModuleType | None = None
_process: int | None = None
_is_compiler_ready = False


def tensorflow_core() -> ModuleType:
    """Return the module `sklearn_tfsom._tf.core`, starting TensorFlow if need be.

    Raises
    ------
    RuntimeError
        In a process that was forked after this function had started TensorFlow: there it would
        wait forever for threads that the fork has not copied. (A start that happened elsewhere in
        the parent cannot be seen from here.)
    """
    global _core, _process
    if _process not in (None, os.getpid()):
        raise RuntimeError(
            "TFSOM cannot run in a process that was forked after TensorFlow had started in its "
            "parent: TensorFlow would wait there forever. Start workers with joblib's 'loky' "
            "backend, or with the multiprocessing start method 'spawn' or 'forkserver'."
        )
    if _core is None:
        with _lock:
            if _core is None:
                _process = os.getpid()  # before: a fork may come while TensorFlow starts
                try:
                    with _startup_lines_held_back():
                        _core = _start()
                except BaseException:
                    _process = None
                    raise
    return _core


def start_compiler() -> None:
    """Have XLA ready. It is brought in as quietly as TensorFlow, and only for large data."""
    global _is_compiler_ready
    if not _is_compiler_ready:
        with _lock:
            if not _is_compiler_ready:
                import tensorflow as tf

                twice = tf.function(lambda x: x + x, jit_compile=True, autograph=False)
                with _startup_lines_held_back():
                    twice(tf.zeros(1)).numpy()
                _is_compiler_ready = True


def _start() -> ModuleType:
    import tensorflow as tf

    _share_cores_with_other_workers(tf)
    tf.zeros(()).numpy()  # the first operation starts the runtime, and is the last to chatter
    from sklearn_tfsom._tf import core

    return core


def _share_cores_with_other_workers(tf: ModuleType) -> None:
    """Give TensorFlow as many threads as joblib gave this worker.

    joblib tells its workers through OMP_NUM_THREADS, which TensorFlow does not read: n workers
    would start n threads for each core.
    """
    n_threads = os.environ.get("OMP_NUM_THREADS", "")
    is_joblib_worker = "Loky" in type(multiprocessing.current_process()).__name__
    if is_joblib_worker and n_threads.isdigit() and "TF_NUM_INTRAOP_THREADS" not in os.environ:
        # RuntimeError: the runtime is up already, and whoever started it has chosen.
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(int(n_threads))
            tf.config.threading.set_inter_op_parallelism_threads(int(n_threads))


@contextlib.contextmanager
def _startup_lines_held_back() -> Iterator[None]:
    """Hold back what is written to file descriptor 2; let go of all but the chatter at the end.

    A file holds it, and no pipe, which could fill up. What is held is lost if the process is
    killed meanwhile.
    """
    _flush()
    try:
        stderr = os.dup(2)
    except OSError:  # no standard error, as under pythonw: nothing to keep quiet
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not _CHATTER.match(line):
                    os.write(2, line)


def _flush() -> None:
    with contextlib.suppress(AttributeError, ValueError):  # sys.stderr may be None, or closed
        sys.stderr.flush()

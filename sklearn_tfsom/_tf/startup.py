"""How TensorFlow comes in: late, quietly, once per process, never into a fork that would hang."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
from types import ModuleType

from sklearn_tfsom._data.workers import ALONE, Workers
from sklearn_tfsom._tf.silence import startup_lines_held_back

_lock = threading.Lock()
_core: ModuleType | None = None
_process: int | None = None


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
                    with startup_lines_held_back():
                        _core = _start()
                except BaseException:
                    _process = None
                    raise
    return _core


def ambient_workers() -> Workers:
    """Return the workers of the `tf.distribute` strategy in whose scope this is called.

    Raises
    ------
    ValueError
        Where the strategy is of a kind that this package cannot train with.
    """
    if "tensorflow" not in sys.modules:
        return ALONE  # there is no strategy without it
    workers: Workers = tensorflow_core().ambient_workers()
    return workers


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

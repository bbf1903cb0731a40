"""TensorFlow in this process: started late and quietly, never in a fork; graphs traced once."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ParamSpec

from sklearn_tfsom._machine import check_address_space, thread_limit
from sklearn_tfsom._tuning import LEAST_ADDRESS_SPACE, START_ADDRESS_SPACE

if TYPE_CHECKING:
    import tensorflow as tf

    from sklearn_tfsom._tf.core import Core

# Messages that TensorFlow writes to file descriptor 2 when it starts, before any setting can stop
# them: informational lines, and on a machine without a GPU that there is none.
_STARTUP_MESSAGES = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR"
    rb"|(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: )?I\d* ?.*\.(cc|h):\d+\] "
    rb"|(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: )?[WE]\d* ?.*"
    rb"/?(cuda_platform|cuda_dnn|cuda_fft|cuda_blas|cudart_stub|gpu_device|computation_placer)"
    rb"\.cc:\d+\] "
    rb"|To enable the following instructions: "
)

_P = ParamSpec("_P")

# A traced graph: takes tensors, returns a tensor or a list of them.
Graph = Callable[..., Any]

_start_lock = threading.RLock()
_stderr_lock = threading.Lock()  # two threads that redirect one descriptor would leave it so
_trace_lock = threading.RLock()
_core: Core | None = None
_process: int | None = None  # which has started it, or is starting it


def tensorflow_core() -> Core:
    """Return the functions of this package that use TensorFlow, and start it if need be.

    Raises
    ------
    RuntimeError
        In a process that was forked after this function had started TensorFlow, where it would
        wait forever for threads that the fork has not copied. (A start that happened elsewhere in
        the parent cannot be detected.) And while TensorFlow is being imported, by a script that
        it imports in place of a module of this name.
    """
    global _core, _process
    check_address_space(START_ADDRESS_SPACE if _core is None else LEAST_ADDRESS_SPACE)
    if _process not in (None, os.getpid()):
        raise RuntimeError(
            "TFSOM cannot run in a process that was forked after TensorFlow had started in its "
            "parent: TensorFlow would wait there forever. Start workers with joblib's 'loky' "
            "backend, or with the multiprocessing start method 'spawn' or 'forkserver'."
        )
    if _core is None:
        with _start_lock:
            if _core is None:
                if _process is not None:  # this thread is starting it, and has come here again
                    raise RuntimeError(_imported_script())
                _process = os.getpid()  # set first: a fork may happen while TensorFlow starts
                try:
                    with _startup_messages_suppressed():
                        _core = _start()
                except BaseException:
                    _process = None
                    raise
    return _core


def _imported_script() -> str:
    """Name the script that TensorFlow has imported, and which has called this package."""
    frame: Any = sys._getframe()
    while frame.f_back and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    name, path = frame.f_globals["__name__"], frame.f_code.co_filename
    return (
        f"TensorFlow imports a module named {name!r}, and Python finds {path} in its place, which "
        "uses TFSOM itself. Rename that file."
    )


def _start() -> Core:
    import tensorflow as tf

    _limit_threads(tf.config.threading)
    tf.zeros(()).numpy()  # the first operation starts the runtime, which writes the last messages
    from sklearn_tfsom._tf import core

    return core.CORE


def has_strategy() -> bool:
    """Return True within the scope of a `tf.distribute` strategy; do not import TensorFlow."""
    distribute = getattr(sys.modules.get("tensorflow"), "distribute", None)
    ask = getattr(distribute, "has_strategy", None)  # None while another thread imports it
    return ask is not None and bool(ask())


def _limit_threads(threading_config: Any) -> None:
    """Give TensorFlow as many threads as joblib gave this worker, or as a CPU quota allows.

    By itself it starts one for each core of the machine.
    """
    n_threads = thread_limit()
    if n_threads is not None and "TF_NUM_INTRAOP_THREADS" not in os.environ:
        # RuntimeError: the runtime has been started elsewhere, with threads chosen there.
        with contextlib.suppress(RuntimeError):
            threading_config.set_intra_op_parallelism_threads(n_threads)
            threading_config.set_inter_op_parallelism_threads(n_threads)


@contextlib.contextmanager
def _startup_messages_suppressed() -> Iterator[None]:
    """Hold back lines on file descriptor 2; pass on all but startup messages at the end.

    A file holds it rather than a pipe, which could fill up. It is lost if the process is killed
    meanwhile.
    """
    with _stderr_lock, contextlib.ExitStack() as at_end:
        _flush_stderr()
        try:
            held = at_end.enter_context(tempfile.TemporaryFile())
            stderr = os.dup(2)
        except OSError:  # no standard error, as under pythonw, or no folder for temporary files
            yield
            return
        at_end.callback(os.close, stderr)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            _flush_stderr()
            os.dup2(stderr, 2)
            held.seek(0)
            for line in held:
                if not _STARTUP_MESSAGES.match(line):
                    os.write(2, line)


def _flush_stderr() -> None:
    with contextlib.suppress(AttributeError, ValueError):  # sys.stderr may be None, or closed
        sys.stderr.flush()


def traced_once(
    make: Callable[_P, tf.types.experimental.PolymorphicFunction],
) -> Callable[_P, Graph]:
    """Decorate a function that makes a graph, so that each kind is traced once, in any thread.

    One trace serves all shapes: dimensions in signatures are None, but for the features of a fused
    search.
    """

    @functools.cache
    def trace(*args: _P.args, **kwargs: _P.kwargs) -> Graph:
        graph: Graph = make(*args, **kwargs).get_concrete_function()
        return graph

    @functools.wraps(make)
    def locked(*args: _P.args, **kwargs: _P.kwargs) -> Graph:
        with _trace_lock:
            return trace(*args, **kwargs)  # type: ignore[arg-type]

    return locked


@functools.cache
def start_compiler() -> None:
    """Start XLA quietly: it writes startup messages of its own."""
    import tensorflow as tf

    with _startup_messages_suppressed():
        # A square root starts more of the compiler than a sum does.
        tf.function(tf.sqrt, jit_compile=True, autograph=False)(tf.zeros(1)).numpy()

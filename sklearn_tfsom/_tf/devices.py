"""The device that graphs run on: the CPU, unless a `tf.distribute` strategy names another one.

Tiles are made for the caches of a CPU, and no GPU has been measured. So a GPU that TensorFlow sees
is not used by itself. Where a strategy names one, products may round their factors to 10 bits, as
TF32 does by default, and the bound on the rounding of scores knows it: rows that it leaves unclear
are searched again in float64.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

_DEFAULT = "/device:CPU:0"

_of_thread = threading.local()


@contextlib.contextmanager
def on_device(name: str) -> Iterator[None]:
    """Let this thread run graphs on a device."""
    before, _of_thread.name = _name(), name
    try:
        yield
    finally:
        _of_thread.name = before


def device_scope() -> contextlib.AbstractContextManager[None]:
    """Return the scope in which this thread calls graphs, and makes tensors for them."""
    return tf.device(_name())


def is_default(name: str) -> bool:
    """Return True if graphs run on this device anyway."""
    spec = tf.DeviceSpec.from_string(name)
    return spec.device_type == "CPU" and not spec.device_index


def is_rough() -> bool:
    """Return True if products on the device of this thread may round their factors to TF32."""
    return tf.DeviceSpec.from_string(_name()).device_type != "CPU"


def on_cpus(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate the function of a graph, so that all its operations run on CPUs.

    Without it TensorFlow may place some on a GPU, even if the graph is called on a CPU.
    """

    def pinned(*args: tf.Tensor) -> Any:
        with tf.device("/device:CPU:*"):
            return function(*args)

    return pinned


def _name() -> str:
    return getattr(_of_thread, "name", _DEFAULT)

"""Workers and devices of the `tf.distribute` strategy in whose scope `fit` is called."""

from __future__ import annotations

import functools
import math
import re
import time
import weakref

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._data.pieces import Workers
from sklearn_tfsom._tf.devices import is_default

# Seconds to wait for the other workers: at first, while they may still be reading their data, and
# later. TensorFlow notices sooner that a worker has died; this is for one that lives on and does
# not reach the all-reduce.
_FIRST_WAIT = 600
_WAIT = 50

_STRATEGIES = (
    tf.distribute.MirroredStrategy,
    tf.distribute.MultiWorkerMirroredStrategy,
    tf.distribute.OneDeviceStrategy,
)

_WORKER_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


def ambient_workers() -> Workers:
    """Return the workers of the strategy in whose scope this is called.

    Raises
    ------
    ValueError
        If this package cannot train with a strategy of this kind.
    """
    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, _STRATEGIES):
        raise ValueError(
            "TFSOM trains under MirroredStrategy, MultiWorkerMirroredStrategy and "
            f"OneDeviceStrategy. Got {type(strategy).__name__} instead."
        )
    devices = tuple(strategy.extended.worker_devices)
    n_workers = strategy.num_replicas_in_sync // len(devices)
    return Workers(
        n_workers=n_workers,
        index=_index(strategy) if n_workers > 1 else 0,
        devices=() if len(devices) == 1 and is_default(devices[0]) else devices,
        all_reduce=AllReduce(strategy) if n_workers > 1 else None,
    )


class AllReduce:
    """Sum of a vector over all workers of a strategy."""

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        self._longest, self._since = 0.0, math.inf

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum; each worker gets the same bits.

        Raises
        ------
        RuntimeError
            If a worker failed, or does not reach the all-reduce.
        """
        began = time.monotonic()
        if math.isinf(self._since):
            wait = _FIRST_WAIT
        else:
            # If this worker computes long between two sums, others may take longer.
            self._longest = max(self._longest, began - self._since)
            wait = _WAIT
            # Each wait needs a graph of its own.
            while wait < _WAIT / 2 + 2 * self._longest:
                wait *= 2
        try:
            total: NDArray = _sum_graph(self._strategy, wait)(tf.constant(values)).numpy()
        except _WORKER_ERRORS as error:
            waited = time.monotonic() - began
            raise RuntimeError(
                f"{_named_in(error)} of this fit failed, or did not reach the all-reduce in "
                f"{wait} s; this one has waited for {waited:.0f} s. TensorFlow cannot continue "
                "with the workers that are left. Start all workers again; with checkpoint_dir "
                "training continues where it was."
            ) from error
        self._since = time.monotonic()
        return total


def _named_in(error: Exception) -> str:
    """Return the worker that TensorFlow's error names."""
    found = re.search(r"/job:worker/replica:\d+/task:(\d+)", str(error))
    return f"Worker {found[1]}" if found else "A worker"


_graphs: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _sum_graph(
    strategy: tf.distribute.Strategy, wait: int
) -> tf.types.experimental.PolymorphicFunction:
    """Return the graph that sums a vector over all workers, one for each strategy and wait."""
    graphs = _graphs.setdefault(strategy, {})
    if wait not in graphs:
        graphs[wait] = _make_sum_graph(weakref.proxy(strategy), wait)
    return graphs[wait]


def _make_sum_graph(
    strategy: tf.distribute.Strategy, wait: int
) -> tf.types.experimental.PolymorphicFunction:
    n_devices = len(strategy.extended.worker_devices)
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=wait)

    def of_replica(values: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        # The first device of a worker contributes its vector, the others zeros.
        is_first = tf.equal(context.replica_id_in_sync_group % n_devices, 0)
        contributed = tf.where(is_first, values, tf.zeros_like(values))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, contributed, options)

    def total(values: tf.Tensor) -> tf.Tensor:
        return strategy.experimental_local_results(strategy.run(of_replica, args=(values,)))[0]

    signature = [tf.TensorSpec([None], tf.float64)]
    return tf.function(total, input_signature=signature, autograph=False)


def _index(strategy: tf.distribute.Strategy) -> int:
    """Return which worker this is."""

    def replica() -> tf.Tensor:
        return tf.identity(tf.distribute.get_replica_context().replica_id_in_sync_group)

    graph = tf.function(functools.partial(strategy.run, replica), autograph=False)
    first = strategy.experimental_local_results(graph())[0]
    return int(first) // len(strategy.extended.worker_devices)

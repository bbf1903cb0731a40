"""The workers and devices of the ambient `tf.distribute` strategy."""

from __future__ import annotations

import functools
import math
import time
import weakref

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._data.workers import ALONE, Workers

# Seconds to wait for the other workers: at first, where they may still be reading their data, and
# later, when all are at work. Death and a process that stands still are noticed sooner, by
# TensorFlow; this is for one that lives on and does not come.
_FIRST_WAIT = 600
_WAIT = 50

_GONE = (
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
        Where the strategy is of a kind that this package cannot train with.
    """
    if not tf.distribute.has_strategy():
        return ALONE
    strategy = tf.distribute.get_strategy()
    if isinstance(strategy, tf.distribute.OneDeviceStrategy):
        return ALONE  # its scope has chosen the device
    if not isinstance(
        strategy, tf.distribute.MirroredStrategy | tf.distribute.MultiWorkerMirroredStrategy
    ):
        raise ValueError(
            "TFSOM trains under MirroredStrategy, MultiWorkerMirroredStrategy and "
            f"OneDeviceStrategy. Got {type(strategy).__name__} instead."
        )
    return StrategyWorkers(strategy)


class StrategyWorkers(Workers):
    """The workers of a strategy, and the devices of this one."""

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        devices = strategy.extended.worker_devices
        self.devices = tuple(devices) if len(devices) > 1 else ()
        self.n_workers = strategy.num_replicas_in_sync // len(devices)
        self.index = _index(strategy) if self.are_several else 0
        self._strategy = strategy
        self._longest, self._since = 0.0, math.inf

    def sum(self, values: ArrayLike) -> NDArray[np.float64]:
        """Sum up arrays of one shape over all workers; each gets the same bits.

        Raises
        ------
        RuntimeError
            Where a worker is gone, or does not come.
        """
        values = np.asarray(values, dtype=np.float64)
        if not self.are_several:
            return values
        began = time.monotonic()
        if math.isinf(self._since):
            wait = _FIRST_WAIT
        else:
            # Where a worker computes for long between two sums, the others may for longer.
            self._longest = max(self._longest, began - self._since)
            wait = _WAIT
            while wait < _WAIT / 2 + 2 * self._longest:
                wait *= 2
        try:
            total = _sum_graph(self._strategy, wait)(tf.constant(values.ravel()))
            summed = total.numpy().reshape(values.shape)
        except _GONE as error:
            raise RuntimeError(
                "A worker of this fit is gone, or has not come to where all add up what they have "
                f"found (within {wait} s). TensorFlow cannot go on with those that are left: "
                "start all workers again. With checkpoint_dir, training goes on where it was."
            ) from error
        self._since = time.monotonic()
        return summed


_graphs: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _sum_graph(strategy: tf.distribute.Strategy, wait: int) -> tf.types.experimental.Callable:
    """Return the graph that sums a vector up over all workers, one for each strategy and wait."""
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
        # The first device of a worker brings its vector in, the others zeros.
        is_first = tf.equal(context.replica_id_in_sync_group % n_devices, 0)
        brought = tf.where(is_first, values, tf.zeros_like(values))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, brought, options)

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

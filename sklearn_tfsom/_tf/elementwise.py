"""Distances that no product gives: sums and maxima of a term of each feature."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._map.scores import SearchKind
from sklearn_tfsom._map.ties import distance_noise
from sklearn_tfsom._tf.devices import device_scope, on_cpus
from sklearn_tfsom._tf.operands import MATRIX, Operands, known_values, sizes_of
from sklearn_tfsom._tf.runtime import start_compiler, traced_once
from sklearn_tfsom._tf.tensors import as_tensor
from sklearn_tfsom._tuning import FEATURES_PER_STEP


def elementwise_distances(
    values: tf.Tensor, codebook: tf.Tensor, kind: SearchKind, compiled_rows: tf.Tensor
) -> tf.Tensor:
    """Compute the distances of rows to all units, feature by feature.

    Memory is bounded by the distances themselves: no difference is kept.

    Parameters
    ----------
    values : Tensor of float64, shape (n, n_features)
    codebook : Tensor of float64, shape (n_units, n_features)
    kind : SearchKind
    compiled_rows : Tensor of int32, shape ()
        XLA compiles the loop for tiles of this many rows; 0 for none.

    Returns
    -------
    distances : Tensor of float64, shape (n, n_units)
    """
    if kind.is_rough:
        return _graph(kind, False)(values, codebook)
    graph, compiled = (_graph(kind, is_compiled) for is_compiled in (False, True))
    return tf.cond(
        tf.equal(tf.shape(values)[0], compiled_rows),
        lambda: compiled(values, codebook),
        lambda: graph(values, codebook),
    )


def elementwise(
    values: NDArray[np.float64],
    codebook: NDArray[np.float64],
    kind: SearchKind,
    compiled_rows: int,
) -> NDArray[np.float64]:
    """Compute the distances of rows to all units in a graph, as `elementwise_distances` does."""
    start_compiler()
    with device_scope():
        found = _distances_graph(kind)(as_tensor(values), codebook, np.int32(compiled_rows))
    return np.asarray(found)


@traced_once
def _distances_graph(kind: SearchKind) -> tf.types.experimental.PolymorphicFunction:
    def distances(values: tf.Tensor, codebook: tf.Tensor, compiled_rows: tf.Tensor) -> tf.Tensor:
        return elementwise_distances(values, codebook, kind, compiled_rows)

    signature = [MATRIX, MATRIX, tf.TensorSpec([], tf.int32)]
    return tf.function(on_cpus(distances), input_signature=signature, autograph=False)


def elementwise_noise(values: tf.Tensor, lowest: tf.Tensor, operands: Operands) -> tf.Tensor:
    """Bound how rounding may change a distance, (n,)."""
    metric, of_codebook = operands.kind.metric, operands.sizes
    sizes = sizes_of(known_values(values), metric)
    return distance_noise(sizes, of_codebook.extent, lowest, metric, of_codebook.n_features)


@traced_once
def _graph(kind: SearchKind, is_compiled: bool) -> tf.types.experimental.PolymorphicFunction:
    metric, of_feature = kind.metric, kind.metric.term
    assert of_feature is not None

    def distances(rows: tf.Tensor, codebook: tf.Tensor) -> tf.Tensor:
        n_rows, n_features = tf.unstack(tf.shape(rows))
        n_units = tf.shape(codebook)[0]
        padding = [[0, -n_features % FEATURES_PER_STEP], [0, 0]]  # where terms are 0
        shape = [-1, FEATURES_PER_STEP]
        x = tf.reshape(tf.pad(tf.transpose(rows), padding), [*shape, n_rows])
        w = tf.reshape(tf.pad(tf.transpose(codebook), padding), [*shape, n_units])

        def add_features(step: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            for place in range(FEATURES_PER_STEP):
                term = of_feature(tf, x[step, place][:, None], w[step, place])
                term = known_values(term) if kind.has_missing else term
                total = total + term if metric.reduction == "sum" else tf.maximum(total, term)
            return step + 1, total

        return tf.while_loop(
            lambda step, _: step < tf.shape(x)[0],
            add_features,
            (tf.constant(0), tf.zeros([n_rows, n_units], tf.float64)),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None])),
        )[1]

    function = distances if kind.is_rough else on_cpus(distances)
    return tf.function(
        function, input_signature=[MATRIX, MATRIX], jit_compile=is_compiled, autograph=False
    )

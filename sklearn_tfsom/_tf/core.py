"""The functions of `_tf` that use TensorFlow; importing this module imports it."""

from __future__ import annotations

from sklearn_tfsom._tf.dense import search_dense
from sklearn_tfsom._tf.devices import on_device
from sklearn_tfsom._tf.elementwise import elementwise
from sklearn_tfsom._tf.export import keras_model
from sklearn_tfsom._tf.strategy import ambient_workers
from sklearn_tfsom._tf.tensors import place


class Core:
    """Typed namespace that `runtime.tensorflow_core` returns once TensorFlow has started."""

    ambient_workers = staticmethod(ambient_workers)
    on_device = staticmethod(on_device)
    elementwise = staticmethod(elementwise)
    keras_model = staticmethod(keras_model)
    place = staticmethod(place)
    search_dense = staticmethod(search_dense)


CORE = Core()

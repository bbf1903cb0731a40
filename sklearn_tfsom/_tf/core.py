"""The functions of `_tf` that the rest of the package calls; importing it imports TensorFlow."""

from __future__ import annotations

from sklearn_tfsom._tf.distances import distances_to_chosen, distances_to_units
from sklearn_tfsom._tf.export import keras_model
from sklearn_tfsom._tf.inference import nearest_units
from sklearn_tfsom._tf.sources import make_source
from sklearn_tfsom._tf.strategy import ambient_workers


class Core:
    """Typed namespace that `runtime.tensorflow_core` returns once TensorFlow has started."""

    ambient_workers = staticmethod(ambient_workers)
    distances_to_chosen = staticmethod(distances_to_chosen)
    distances_to_units = staticmethod(distances_to_units)
    keras_model = staticmethod(keras_model)
    make_source = staticmethod(make_source)
    nearest_units = staticmethod(nearest_units)


CORE = Core()

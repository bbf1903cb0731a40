"""The functions of `_tf` that the rest of the package calls; importing it imports TensorFlow."""

from __future__ import annotations

from sklearn_tfsom._tf.distances import distances_to_chosen, distances_to_units
from sklearn_tfsom._tf.epoch import (
    TrainState,
    learn,
    make_source,
    move_codebook,
    project,
    run_stages,
)
from sklearn_tfsom._tf.export import keras_model
from sklearn_tfsom._tf.inference import nearest_units
from sklearn_tfsom._tf.scaling import Scaling
from sklearn_tfsom._tf.strategy import ambient_workers


class Core:
    """Typed namespace that `runtime.tensorflow_core` returns once TensorFlow has started."""

    Scaling, TrainState = Scaling, TrainState
    ambient_workers = staticmethod(ambient_workers)
    distances_to_chosen = staticmethod(distances_to_chosen)
    distances_to_units = staticmethod(distances_to_units)
    keras_model = staticmethod(keras_model)
    learn = staticmethod(learn)
    make_source = staticmethod(make_source)
    move_codebook = staticmethod(move_codebook)
    nearest_units = staticmethod(nearest_units)
    project = staticmethod(project)
    run_stages = staticmethod(run_stages)


CORE = Core()

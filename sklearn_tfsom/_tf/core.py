"""What the rest of the package sees of the TensorFlow room; importing it imports TensorFlow."""

from sklearn_tfsom._tf.frame import Frame
from sklearn_tfsom._tf.inference import apart, distances, nearest
from sklearn_tfsom._tf.training import (
    Data,
    Epoch,
    Learner,
    Step,
    Units,
    train_batches,
    train_epochs,
)

__all__ = [
    "Data",
    "Epoch",
    "Frame",
    "Learner",
    "Step",
    "Units",
    "apart",
    "distances",
    "nearest",
    "train_batches",
    "train_epochs",
]

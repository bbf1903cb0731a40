"""What the rest of the package sees of the TensorFlow room; importing it imports TensorFlow."""

from sklearn_tfsom._tf.data import Data, statistics_of, updated_by
from sklearn_tfsom._tf.distances import apart, distances, product
from sklearn_tfsom._tf.distribution import ambient_workers
from sklearn_tfsom._tf.frame import Frame
from sklearn_tfsom._tf.inference import nearest
from sklearn_tfsom._tf.training import (
    Epoch,
    Learner,
    Step,
    Trial,
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
    "Trial",
    "Units",
    "ambient_workers",
    "apart",
    "distances",
    "nearest",
    "product",
    "statistics_of",
    "train_batches",
    "train_epochs",
    "updated_by",
]

"""What the rest of the package sees of the TensorFlow room; importing it imports TensorFlow."""

from sklearn_tfsom._tf.frame import Frame
from sklearn_tfsom._tf.inference import apart, distances, nearest
from sklearn_tfsom._tf.training import Epoch, Step, train_epochs

__all__ = ["Epoch", "Frame", "Step", "apart", "distances", "nearest", "train_epochs"]

"""Self-organizing maps for scikit-learn, trained with TensorFlow or NumPy."""

from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._som import TFSOM
from sklearn_tfsom._validation import InvalidParameterError
from sklearn_tfsom._version import __version__

__all__ = ["TFSOM", "Grid", "InvalidParameterError", "__version__"]

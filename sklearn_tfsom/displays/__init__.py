"""Pictures of a map, in scikit-learn's Display convention. They need matplotlib."""

from sklearn_tfsom._grid import Grid
from sklearn_tfsom.displays._class_map import ClassMapDisplay
from sklearn_tfsom.displays._hits import HitMapDisplay
from sklearn_tfsom.displays._u_matrix import UMatrixDisplay

__all__ = ["ClassMapDisplay", "Grid", "HitMapDisplay", "UMatrixDisplay"]

"""Pictures of a map, in scikit-learn's Display convention. They need matplotlib."""

from sklearn_tfsom._grid import Grid
from sklearn_tfsom.displays._hits import HitMapDisplay
from sklearn_tfsom.displays._u_matrix import UMatrixDisplay

__all__ = ["Grid", "HitMapDisplay", "UMatrixDisplay"]

"""Plots of a map as scikit-learn displays. They need matplotlib, the interactive one Bokeh."""

from sklearn_tfsom.displays._anomaly import AnomalyMapDisplay
from sklearn_tfsom.displays._class_map import ClassMapDisplay
from sklearn_tfsom.displays._code_vectors import CodeVectorsDisplay
from sklearn_tfsom.displays._component_planes import ComponentPlanesDisplay
from sklearn_tfsom.displays._data_space import DataSpaceDisplay
from sklearn_tfsom.displays._hits import HitMapDisplay
from sklearn_tfsom.displays._overview import MapOverviewDisplay
from sklearn_tfsom.displays._separation import SeparationCurveDisplay
from sklearn_tfsom.displays._training import TrainingDisplay
from sklearn_tfsom.displays._trajectory import TrajectoryDisplay
from sklearn_tfsom.displays._u_matrix import UMatrixDisplay
from sklearn_tfsom.displays._unit_values import UnitValuesDisplay
from sklearn_tfsom.displays._viewer import InteractiveMapDisplay

__all__ = [
    "AnomalyMapDisplay",
    "ClassMapDisplay",
    "CodeVectorsDisplay",
    "ComponentPlanesDisplay",
    "DataSpaceDisplay",
    "HitMapDisplay",
    "InteractiveMapDisplay",
    "MapOverviewDisplay",
    "SeparationCurveDisplay",
    "TrainingDisplay",
    "TrajectoryDisplay",
    "UMatrixDisplay",
    "UnitValuesDisplay",
]

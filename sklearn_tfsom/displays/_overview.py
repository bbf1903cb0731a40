"""All of a map on one page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._validation import InvalidParameterError, integer
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays import _reading as reading
from sklearn_tfsom.displays._class_map import ClassMapDisplay
from sklearn_tfsom.displays._component_planes import ComponentPlanesDisplay
from sklearn_tfsom.displays._hits import HitMapDisplay
from sklearn_tfsom.displays._training import TrainingDisplay
from sklearn_tfsom.displays._u_matrix import UMatrixDisplay

# Inches of the longer side of a large map.
_MAP = 3.4

# Of a component plane: at least, at most where there is one row of them, and where there are more.
_SMALLEST_PLANE, _LARGEST_PLANE, _ONE_OF_MANY = 1.3, 2.2, 1.7

# Beside a component plane, for its color bar.
_BESIDE_PLANE = 0.75

# Component planes in a row.
_MOST_IN_A_ROW = 6

# Inches of the curves: their width, and the height that each needs.
_CURVES, _CURVE = 3.0, 1.2


class MapOverviewDisplay:
    """All of a map on one page: U-matrix, hits, classes or clusters, training, components.

    Use `from_estimator`.

    Parameters
    ----------
    u_matrix : UMatrixDisplay
        The parts.

    hits : HitMapDisplay

    training : TrainingDisplay

    planes : ComponentPlanesDisplay

    classes : ClassMapDisplay, default=None
        Of classes, or of the map's clusters.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The page.

    axes_ : ndarray of matplotlib Axes
        Those of the parts, in the order above.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.displays import MapOverviewDisplay
    >>> iris = load_iris()
    >>> som = TFSOM(grid_size=(8, 5)).fit(iris.data)
    >>> overview = MapOverviewDisplay.from_estimator(
    ...     som, iris.data, iris.target_names[iris.target]
    ... )
    >>> len(overview.axes_)
    9
    """

    def __init__(
        self,
        u_matrix: UMatrixDisplay,
        hits: HitMapDisplay,
        training: TrainingDisplay,
        planes: ComponentPlanesDisplay,
        classes: ClassMapDisplay | None = None,
    ) -> None:
        self.u_matrix = u_matrix
        self.hits = hits
        self.training = training
        self.planes = planes
        self.classes = classes

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        n_planes: int = 12,
        cmap: Any = "viridis",
    ) -> MapOverviewDisplay:
        """Draw all of a fitted map in a new figure.

        Parameters
        ----------
        estimator : TFSOM
            A fitted map.

        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Samples for the hits; None is those that the map was trained with.

        y : array-like of shape (n_samples,), default=None
            Their classes, for pies and a map of classes. Without them there is a map of clusters,
            where the map has some. Needs `X`.

        n_planes : int, default=12
            How many component planes, at most: those that vary most across the map.

        cmap : str or Colormap, default="viridis"
            Colors.

        Returns
        -------
        display : MapOverviewDisplay

        Raises
        ------
        ValueError
            Where `y` is given without `X`, or they do not fit one another or the map.
        """
        check_is_fitted(estimator)
        rule = integer(1)
        if not rule.accepts(n_planes):
            raise InvalidParameterError(f"n_planes must be {rule.says}. Got {n_planes!r} instead.")
        classes = None
        if y is not None or reading.has_clusters(estimator):
            samples = None if y is None else X
            classes = ClassMapDisplay._read(estimator, samples, y)
        display = cls(
            UMatrixDisplay._read(estimator),
            HitMapDisplay._read(estimator, X, y),
            TrainingDisplay._read(estimator),
            ComponentPlanesDisplay._read(estimator, most=n_planes),
            classes,
        )
        return display.plot(cmap=cmap)

    def plot(self, *, cmap: Any = "viridis") -> MapOverviewDisplay:
        """Draw the page.

        Parameters
        ----------
        cmap : str or Colormap, default="viridis"
            Colors.

        Returns
        -------
        self : MapOverviewDisplay
        """
        plt = drawing.import_pyplot()
        grid, n_planes = self.u_matrix.grid, len(self.planes.names)
        maps = [self.u_matrix, self.hits] + ([self.classes] if self.classes else [])
        n_curves = self.training.n_curves
        # Wide maps stand one below the other, others side by side.
        is_wide = drawing.is_wide(grid)
        n_rows, n_columns = (len(maps), 1) if is_wide else (1, len(maps))
        classes = self.hits.classes or (self.classes.classes if self.classes else ())
        top = _top_inches(grid, len(maps), n_curves, classes)
        n_in_a_row, plane_height = _rows_of_planes(grid, n_planes, top[0])
        n_plane_rows = -(-n_planes // n_in_a_row)
        bottom = n_plane_rows * (plane_height + (0.8 if is_wide else 0.5)) + 0.4

        figure = plt.figure(figsize=(top[0], top[1] + bottom), layout="constrained")
        figure.get_layout_engine().set(rect=(0.01, 0.01, 0.96, 0.98))  # color bars reach out
        upper, lower = figure.subfigures(2, 1, height_ratios=[top[1], bottom])
        left, right = upper.subfigures(1, 2, width_ratios=[top[0] - _CURVES, _CURVES])
        map_axes = left.subplots(n_rows, n_columns, squeeze=False).ravel()
        curve_axes = np.ravel(right.subplots(n_curves, 1, sharex=True, squeeze=False))
        plane_axes = lower.subplots(n_plane_rows, n_in_a_row, squeeze=False).ravel()
        for ax in plane_axes[n_planes:]:
            ax.remove()

        self.u_matrix.plot(map_axes[0], cmap=cmap)
        assert self.u_matrix.color_bar_ is not None
        scale = self.u_matrix.color_bar_.ax
        scale.tick_params(labelsize="small")
        for axis in (scale.xaxis, scale.yaxis):
            axis.label.set_fontsize("small")
        self.hits.plot(map_axes[1])
        self.training.plot(curve_axes)
        right.suptitle("Training", fontsize="medium")
        for ax in curve_axes:
            # Above the curve, since beside it there is less room than the words take.
            ax.set_title(ax.get_ylabel().replace("\n", " "), loc="left", fontsize="small")
            ax.set(xlabel=ax.get_xlabel() if ax is curve_axes[-1] else "", ylabel="")
        self.planes.plot(plane_axes[:n_planes], cmap=cmap)
        lower.suptitle(self.planes.title, fontsize="medium")
        if self.classes is not None:
            # Last, since its texts take the map's size as it is. The pies' legend serves both.
            self.classes.plot(map_axes[2], legend=self.hits.classes is None)
        self.axes_ = np.array([*map_axes, *curve_axes, *plane_axes[:n_planes]], dtype=object)
        self.figure_ = figure
        return self


def _map_inches(grid: Grid, longer: float) -> tuple[float, float]:
    """Width and height of a map whose longer side is given."""
    width, height = drawing.map_size(grid)
    scale = longer / max(width, height)
    if drawing.is_wide(grid):
        scale *= 2
    return max(width * scale, 0.8), max(height * scale, 0.4)


def _top_inches(
    grid: Grid, n_maps: int, n_curves: int, classes: Sequence[str]
) -> tuple[float, float]:
    """Width and height of the maps and curves."""
    width, height = _map_inches(grid, _MAP)
    least = _CURVE * n_curves + 0.1
    if drawing.is_wide(grid):
        legend = 0.2 * max(0, -(-len(classes) // 6) - 1)
        return width + 0.3 + _CURVES, max(n_maps * (height + 1.2) + legend, least)
    # Where curves need more than the maps, these grow a little.
    scale = min(max(1.0, least / (height + 0.5)), 1.25)
    legend = max(0.0, drawing.legend_room(classes) - 1.3)
    top = n_maps * (scale * width + 1.3) + legend + _CURVES
    return top, max(scale * height + 0.5, least)


def _rows_of_planes(grid: Grid, n_planes: int, width: float) -> tuple[int, float]:
    """Return how many component planes are in a row, and their height in inches."""
    least = _map_inches(grid, _SMALLEST_PLANE)[0] + _BESIDE_PLANE
    most_in_a_row = max(1, min(n_planes, _MOST_IN_A_ROW, int(width / least)))
    n_rows = -(-n_planes // most_in_a_row)
    n_in_a_row = -(-n_planes // n_rows)
    scale = (width / n_in_a_row - _BESIDE_PLANE) / _map_inches(grid, 1.0)[0]
    largest = _LARGEST_PLANE if n_rows == 1 else _ONE_OF_MANY
    return n_in_a_row, _map_inches(grid, float(np.clip(scale, _SMALLEST_PLANE, largest)))[1]

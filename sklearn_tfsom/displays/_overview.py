"""An overview of a map in one figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._validation import integer
from sklearn_tfsom.displays import _base as base
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays._class_map import ClassMapDisplay
from sklearn_tfsom.displays._component_planes import ComponentPlanesDisplay
from sklearn_tfsom.displays._hits import HitMapDisplay
from sklearn_tfsom.displays._legends import legend_size, n_lines_below
from sklearn_tfsom.displays._training import TrainingDisplay
from sklearn_tfsom.displays._u_matrix import UMatrixDisplay

# Longer side of a large map, in inches.
_MAP_SIZE = 3.4

# Longer side of a component plane, in inches: its maximum depends on the number of rows of planes.
_MIN_PLANE, _MAX_PLANE_IN_ONE_ROW, _MAX_PLANE = 1.3, 2.2, 1.7

# Width of the color bar beside a component plane, in inches.
_PLANE_MARGIN = 0.75

_MAX_PLANES_PER_ROW = 6

# Width of the training curves, and height of each, in inches.
_CURVES_WIDTH, _CURVE_HEIGHT = 3.0, 1.2

# Letters of the label of a curve that fit into one line above it.
_MAX_LABEL_LETTERS = 40


@base.documented
@dataclass(eq=False, repr=False)
class MapOverviewDisplay(base.Display):
    """Overview: U-matrix, hits, classes or clusters, training curves and component planes.

    It draws a figure of its own. Create it with `from_estimator`.

    Read more in the :ref:`User Guide <guide_displays>`.

    Parameters
    ----------
    u_matrix : UMatrixDisplay
        U-matrix.

    hits : HitMapDisplay
        Hits.

    training : TrainingDisplay
        Training curves.

    planes : ComponentPlanesDisplay
        Component planes.

    classes : ClassMapDisplay, default=None
        Classes, or clusters of the map.

    Attributes
    ----------
    %(figure_)s

    axes_ : ndarray of matplotlib Axes
        Axes of the U-matrix, hits, classes, training curves and component planes.

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

    u_matrix: UMatrixDisplay
    hits: HitMapDisplay
    training: TrainingDisplay
    planes: ComponentPlanesDisplay
    classes: ClassMapDisplay | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        n_planes: int = 12,
        cmap: Any = "viridis",
    ) -> Self:
        """Draw an overview of a fitted map in a new figure.

        Parameters
        ----------
        %(estimator)s

        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Samples for the hits, None for the training samples.

        y : array-like of shape (n_samples,), default=None
            Classes of the samples, for pies and a class map. Needs `X`. None shows the clusters of
            a map with `n_clusters`.

        %(sample_weight)s

        n_planes : int, default=12
            Maximum number of component planes, those with the largest variances.

        %(plot_parameters)s

        %(returns)s
        """
        cls._check_parameter("n_planes", n_planes, integer(1))
        fitted, X = cls._unwrap(estimator, X)
        cls._check_samples(X, y, sample_weight, needs_y=False)
        classes = None
        if y is not None or base.cluster_labels(fitted.som) is not None:
            samples = (None, None, None) if y is None else (X, y, sample_weight)
            classes = ClassMapDisplay._compute(fitted, *samples, owner=cls.__name__)
        display = cls(
            UMatrixDisplay._compute(fitted),
            HitMapDisplay._compute(fitted, X, y, sample_weight),
            TrainingDisplay._compute(fitted),
            ComponentPlanesDisplay._compute(fitted, max_planes=n_planes),
            classes,
        )
        return display.plot(cmap=cmap)

    def plot(self, *, cmap: Any = "viridis") -> Self:
        """Draw the overview in a new figure.

        Parameters
        ----------
        %(cmap)s

        %(returns)s
        """
        plt = drawing.import_pyplot()
        grid, n_planes = self.u_matrix.grid, len(self.planes.names)
        n_maps, n_curves = 3 if self.classes else 2, self.training.n_curves
        # Wide maps are on top of each other, others side by side.
        is_wide = drawing.is_wide(grid)
        n_rows, n_columns = (n_maps, 1) if is_wide else (1, n_maps)
        classes = self.hits.classes or (self.classes.classes if self.classes else ())
        width, top = _size_of_maps(grid, n_maps, n_curves, classes)
        n_per_row, plane_height = _size_of_planes(grid, n_planes, width)
        n_plane_rows = -(-n_planes // n_per_row)
        bottom = n_plane_rows * (plane_height + (0.8 if is_wide else 0.5)) + 0.4

        figure = plt.figure(figsize=(width, top + bottom), layout="constrained")
        # With a margin, since color bars reach beyond their axes.
        figure.get_layout_engine().set(rect=(0.01, 0.01, 0.96, 0.98))
        upper, lower = figure.subfigures(2, 1, height_ratios=[top, bottom])
        left, right = upper.subfigures(1, 2, width_ratios=[width - _CURVES_WIDTH, _CURVES_WIDTH])
        map_axes = left.subplots(n_rows, n_columns, squeeze=False).ravel()
        curve_axes = np.ravel(right.subplots(n_curves, 1, sharex=True, squeeze=False))
        plane_axes = lower.subplots(n_plane_rows, n_per_row, squeeze=False).ravel()
        for ax in plane_axes[n_planes:]:
            ax.remove()
        plane_axes = plane_axes[:n_planes]

        self.u_matrix.plot(ax=map_axes[0], cmap=cmap)
        assert self.u_matrix.colorbar_ is not None
        scale = self.u_matrix.colorbar_.ax
        scale.tick_params(labelsize="small")
        for axis in (scale.xaxis, scale.yaxis):
            axis.label.set_fontsize("small")
        self.hits.plot(ax=map_axes[1])
        self.training.plot(ax=curve_axes)
        right.suptitle("Training", fontsize="medium")
        for ax in curve_axes:
            # The labels do not fit beside the axes.
            name, _, unit = ax.get_ylabel().replace("\n", " ").partition(" (")
            is_short = len(name) + len(unit) <= _MAX_LABEL_LETTERS  # else the U-matrix shows it
            label = f"{name} ({unit}" if unit and is_short else name
            ax.set_title(label, loc="left", fontsize="small")
            ax.set(xlabel=ax.get_xlabel() if ax is curve_axes[-1] else "", ylabel="")
        self.planes.plot(ax=plane_axes, cmap=cmap)
        lower.suptitle(self.planes.title, fontsize="medium")
        if self.classes is not None:
            # Last, since its texts depend on the final size of the map. Pies and classes share
            # the legend of the pies.
            self.classes.plot(ax=map_axes[2], legend=self.hits.classes is None)
        if not is_wide:  # so that a legend as tall as their row fits beside one of them
            for ax in map_axes:
                ax.set_anchor("N")
        self.axes_ = np.array([*map_axes, *curve_axes, *plane_axes], dtype=object)
        self.figure_ = figure
        return self


def _map_inches(grid: Grid, longer: float) -> tuple[float, float]:
    """Return the width and height of a map for a given longer side, doubled for wide maps."""
    width, height = drawing.map_size(grid)
    scale = longer / max(width, height)
    if drawing.is_wide(grid):
        scale *= 2
    return max(width * scale, 0.8), max(height * scale, 0.4)


def _size_of_maps(
    grid: Grid, n_maps: int, n_curves: int, classes: Sequence[str]
) -> tuple[float, float]:
    """Return the width and height of the large maps and the curves, in inches."""
    width, height = _map_inches(grid, _MAP_SIZE)
    min_height = _CURVE_HEIGHT * n_curves + 0.1
    if drawing.is_wide(grid):
        legend = 0.22 * max(0, n_lines_below(classes, width) - 1)
        return width + 0.3 + _CURVES_WIDTH, max(n_maps * (height + 1.2) + legend, min_height)
    # The maps grow a little if the curves need more height.
    scale = min(max(1.0, min_height / (height + 0.5)), 1.25)
    legend_width, legend_height = legend_size(classes)
    total_width = n_maps * (scale * width + 1.3) + max(0.0, legend_width - 1.3) + _CURVES_WIDTH
    return total_width, max(scale * height + 0.5, legend_height + 0.5, min_height)


def _size_of_planes(grid: Grid, n_planes: int, width: float) -> tuple[int, float]:
    """Return the number of component planes per row, and their height in inches."""
    min_width = _map_inches(grid, _MIN_PLANE)[0] + _PLANE_MARGIN
    max_per_row = max(1, min(n_planes, _MAX_PLANES_PER_ROW, int(width / min_width)))
    n_rows = -(-n_planes // max_per_row)
    n_per_row = -(-n_planes // n_rows)
    longer = (width / n_per_row - _PLANE_MARGIN) / _map_inches(grid, 1.0)[0]
    max_plane = _MAX_PLANE_IN_ONE_ROW if n_rows == 1 else _MAX_PLANE
    return n_per_row, _map_inches(grid, float(np.clip(longer, _MIN_PLANE, max_plane)))[1]

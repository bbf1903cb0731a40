"""The U-matrix: how far apart neighbors on the map are in the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays import _reading as reading
from sklearn_tfsom.metrics import u_matrix
from sklearn_tfsom.metrics._reading import check_fitted_grid


class UMatrixDisplay:
    """U-matrix: how far each unit is from its neighbors, in data space.

    Light ridges are borders between clusters, dark valleys their inside. Use `from_estimator`.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns) or as `u_matrix` returns with ``between=True``
        Mean distance of each unit to its neighbors, in data units, with or without cells between
        the units.

    grid : Grid
        The units' places.

    unit_labels : sequence of str of length n_units, default=None
        Text for each unit, "" for none.

    cluster_labels : ndarray of shape (n_units,), default=None
        Cluster of each unit: borders are drawn between clusters.

    distance_unit : str, default="data units"
        What distances are in, for the color bar.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the picture was drawn.

    figure_ : matplotlib Figure
        Its figure.

    cells_ : matplotlib PolyCollection
        One cell for each unit, and for each pair of units where they have cells between them.

    borders_ : matplotlib LineCollection or None
        Borders between clusters.

    texts_ : list of matplotlib Text
        The labels; none where they would be too small to be read.

    color_bar_ : matplotlib Colorbar or None
        What the colors mean.

    See Also
    --------
    sklearn_tfsom.metrics.u_matrix : The values.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.displays import UMatrixDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> display = UMatrixDisplay.from_estimator(som, X, y)
    >>> len(display.cells_.get_paths())
    40
    """

    def __init__(
        self,
        values: NDArray,
        grid: Grid,
        *,
        unit_labels: Sequence[str] | None = None,
        cluster_labels: NDArray | None = None,
        distance_unit: str = "data units",
    ) -> None:
        self.values = values
        self.grid = grid
        self.unit_labels = unit_labels
        self.cluster_labels = cluster_labels
        self.distance_unit = distance_unit

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        between: bool = False,
        ax: Any = None,
        cmap: Any = "viridis",
        border_color: Any = "white",
        color_bar: bool = True,
    ) -> UMatrixDisplay:
        """Compute the U-matrix of a fitted map and draw it.

        Where the map has clusters (`n_clusters`), their borders are drawn on top.

        Parameters
        ----------
        estimator : TFSOM
            A fitted map.

        X : array-like of shape (n_samples, n_features), default=None
            Samples to label the units with.

        y : array-like of shape (n_samples,), default=None
            Their classes: each unit shows the one that most of its samples belong to.

        between : bool, default=False
            Whether there are cells between the units, too, with the distance of the two beside
            them, as Matlab draws it.

        ax : matplotlib Axes, default=None
            Where to draw; by default in a new figure.

        cmap : str or Colormap, default="viridis"
            Colors.

        border_color : color, default="white"
            Of the borders between clusters.

        color_bar : bool, default=True
            Whether there is a color bar.

        Returns
        -------
        display : UMatrixDisplay

        Raises
        ------
        ValueError
            Where only one of `X` and `y` is given, or they do not fit one another or the map.
        """
        display = cls._read(estimator, X, y, between=between)
        return display.plot(ax, cmap=cmap, border_color=border_color, color_bar=color_bar)

    @classmethod
    def _read(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        between: bool = False,
    ) -> UMatrixDisplay:
        """Compute what is drawn."""
        grid = check_fitted_grid(estimator)
        if (X is None) != (y is None):
            raise ValueError("X and y must be given together: they label the units.")
        unit_labels = None
        if X is not None and y is not None:
            classes, codes = reading.check_classes(y, X)
            hits = reading.class_hits(estimator.bmus(X), codes, grid, len(classes))
            unit_labels = reading.majority_names(classes, hits)
        return cls(
            u_matrix(estimator, between=between),
            grid,
            unit_labels=unit_labels,
            cluster_labels=(
                estimator.cluster_labels_ if reading.has_clusters(estimator) else None
            ),
            distance_unit=reading.distance_unit(estimator),
        )

    def plot(
        self,
        ax: Any = None,
        *,
        cmap: Any = "viridis",
        border_color: Any = "white",
        color_bar: bool = True,
    ) -> UMatrixDisplay:
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default in a new figure.

        cmap : str or Colormap, default="viridis"
            Colors.

        border_color : color, default="white"
            Of the borders between clusters.

        color_bar : bool, default=True
            Whether there is a color bar.

        Returns
        -------
        self : UMatrixDisplay
        """
        drawing.import_pyplot()
        grid = self.grid
        is_spread = self.values.shape != grid.shape
        size = 0.5 if is_spread else 1.0
        ax = drawing.new_map_axes(grid) if ax is None else ax
        positions = _spread_positions(self.values.shape, grid) if is_spread else None
        self.cells_ = drawing.draw_cells(
            ax,
            grid,
            self.values,
            positions=positions,
            size=size,
            cmap=cmap,
        )
        drawing.frame_map(ax, self.cells_, title="U-matrix")
        self.color_bar_ = None
        if color_bar:
            label = f"distance to neighbors ({self.distance_unit})"
            self.color_bar_ = drawing.add_color_bar(
                ax, self.cells_, label, is_below=drawing.is_wide(grid)
            )
        self.borders_ = None
        if self.cluster_labels is not None:
            self.borders_ = drawing.draw_borders(ax, grid, self.cluster_labels, border_color)
            if positions is not None:
                segments = np.reshape(self.borders_.get_segments(), (-1, 2, 2))
                self.borders_.set_segments(segments[_is_on_cells(segments, positions)])
        self.texts_ = []
        if self.unit_labels is not None:
            of_units = self.values[::2, ::2] if is_spread else self.values
            self.texts_ = drawing.draw_texts(
                ax,
                grid.positions(),
                self.unit_labels,
                self.cells_.to_rgba(of_units.ravel()),
                size=size,
            )
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _spread_positions(shape: tuple[int, ...], grid: Grid) -> NDArray[np.float64]:
    """Places of the cells of units and of those between them, row by row, (n_cells, 2)."""
    rows, columns = np.indices(shape).reshape(2, -1)
    if not grid.is_hexagonal:
        return np.column_stack([columns, rows]) / 2
    # The rows of even units begin at 0, those of odd ones at 1/2, the ones between at 1/4.
    starts = np.array([0, 1 / 4, 1 / 2, 1 / 4])[rows % 4]
    return np.column_stack([starts + columns / 2, rows * np.sqrt(3) / 4])


def _is_on_cells(segments: NDArray, positions: NDArray) -> NDArray[np.bool_]:
    """Whether borders lie on a cell between two units: at a seam there is one on one side only."""
    distances, _ = cKDTree(positions).query(segments.mean(axis=1))
    return distances < 0.1

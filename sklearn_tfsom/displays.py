"""Pictures of a map, in scikit-learn's Display convention. They need matplotlib."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted

from sklearn_tfsom._grid import Grid, grid_of
from sklearn_tfsom.metrics import u_matrix

__all__ = ["UMatrixDisplay"]


class UMatrixDisplay:
    """U-matrix: how far each unit is from its neighbors, in data space.

    Light ridges are borders between clusters, dark valleys their inside. Use `from_estimator`.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns)
        Mean distance of each unit to its neighbors, in data units.

    grid : Grid
        The units' places.

    unit_labels : sequence of str of length n_units, default=None
        Text for each unit, "" for none.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the picture was drawn.

    figure_ : matplotlib Figure
        Its figure.

    cells_ : matplotlib PolyCollection
        One cell for each unit.

    texts_ : list of matplotlib Text
        The labels.

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
        self, values: NDArray, grid: Grid, *, unit_labels: list[str] | None = None
    ) -> None:
        self.values = values
        self.grid = grid
        self.unit_labels = unit_labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        ax: Any = None,
        cmap: Any = "viridis",
    ) -> UMatrixDisplay:
        """Compute the U-matrix of a fitted map and draw it.

        Parameters
        ----------
        estimator : TFSOM
            A fitted map.

        X : array-like of shape (n_samples, n_features), default=None
            Samples to label the units with.

        y : array-like of shape (n_samples,), default=None
            Their classes: each unit shows the one that most of its samples belong to.

        ax : matplotlib Axes, default=None
            Where to draw; by default in a new figure.

        cmap : str or Colormap, default="viridis"
            Colors.

        Returns
        -------
        display : UMatrixDisplay
        """
        check_is_fitted(estimator)
        if (X is None) != (y is None):
            raise ValueError("X and y must be given together: they label the units.")
        grid = grid_of(estimator)
        unit_labels = None
        if X is not None:
            classes = column_or_1d(y)
            check_consistent_length(X, classes)
            unit_labels = _majority_labels(estimator.bmus(X), classes, grid.n_units)
        return cls(u_matrix(estimator), grid, unit_labels=unit_labels).plot(ax, cmap=cmap)

    def plot(self, ax: Any = None, *, cmap: Any = "viridis") -> UMatrixDisplay:
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default in a new figure.

        cmap : str or Colormap, default="viridis"
            Colors.

        Returns
        -------
        self : UMatrixDisplay
        """
        try:
            import matplotlib.pyplot as plt
            from matplotlib.collections import PolyCollection
        except ImportError as error:
            raise ImportError(
                "Displays need matplotlib. Install it with: pip install 'sklearn-tfsom[plot]'"
            ) from error

        positions = self.grid.positions()
        corners = _cell_corners(self.grid.is_hexagonal)
        if ax is None:
            width, height = np.ptp(positions, axis=0) + 1
            scale = 7 / max(width, height)
            _, ax = plt.subplots(
                figsize=(width * scale + 1.5, height * scale + 0.5), layout="constrained"
            )
        self.cells_ = PolyCollection(
            list(positions[:, None] + corners),
            array=self.values.ravel(),
            cmap=cmap,
            edgecolors="face",
        )
        ax.add_collection(self.cells_)
        ax.autoscale_view()
        ax.set_aspect("equal")
        ax.set_axis_off()
        ax.figure.colorbar(self.cells_, ax=ax, label="distance to neighbors (data units)")
        self.texts_ = []
        if self.unit_labels is not None:
            shades = self.cells_.to_rgba(self.values.ravel())[:, :3] @ [0.299, 0.587, 0.114]
            points_per_spacing = _points_per_spacing(ax)
            for label, (x, y), shade in zip(self.unit_labels, positions, shades, strict=True):
                if label:
                    text = ax.text(
                        x,
                        y,
                        label,
                        ha="center",
                        va="center",
                        fontsize=0.6 * points_per_spacing / max(1, 0.6 * len(label)),
                        color="black" if shade > 0.5 else "white",
                    )
                    self.texts_.append(text)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _cell_corners(is_hexagonal: bool) -> NDArray[np.float64]:
    """Corners of a cell around its unit, in lattice spacings."""
    if is_hexagonal:
        angles = np.pi / 6 + np.pi / 3 * np.arange(6)
        return np.column_stack([np.cos(angles), np.sin(angles)]) / np.sqrt(3)
    return np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])


def _points_per_spacing(ax: Any) -> float:
    """Size of a lattice spacing on paper, in points."""
    ax.figure.figure.draw_without_rendering()  # of the figure that holds a subfigure
    (left, _), (right, _) = ax.transData.transform([(0, 0), (1, 0)])
    return (right - left) * 72 / ax.figure.dpi


def _majority_labels(bmus: NDArray, y: NDArray, n_units: int) -> list[str]:
    """Class of most of each unit's samples, "" where it has none; the first of equals."""
    classes, codes = np.unique(y, return_inverse=True)
    table = np.zeros((n_units, len(classes)), dtype=np.int64)
    np.add.at(table, (bmus, codes), 1)
    return [str(classes[row.argmax()]) if row.any() else "" for row in table]

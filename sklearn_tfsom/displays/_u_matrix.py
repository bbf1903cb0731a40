"""The U-matrix of a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._pipelines import Unwrapped
from sklearn_tfsom.displays import _base as base
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.metrics import u_matrix


@base.documented
@dataclass(eq=False, repr=False)
class UMatrixDisplay(base.Display):
    """U-matrix: mean distance of each unit to its neighbors.

    Ridges of large distances separate clusters. Create it with `from_estimator`.

    Read more in the :ref:`User Guide <guide_u_matrix>`.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns) or as `u_matrix` returns with ``between=True``
        Mean distance of each unit to its neighbors, in data units, with or without cells between
        the units.

    %(grid)s

    unit_labels : sequence of str of length n_units, default=None
        Text in the cell of each unit, "" for none.

    %(cluster_labels, distance_unit)s

    Attributes
    ----------
    %(ax_, figure_)s

    cells_ : matplotlib PolyCollection
        Cells of the units, and those between them.

    %(borders_)s

    texts_ : list of matplotlib Text
        Labels of the units, empty if they would be too small to read.

    %(colorbar_)s

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

    values: NDArray
    grid: Grid
    _: KW_ONLY
    unit_labels: Sequence[str] | None = None
    cluster_labels: NDArray | None = None
    distance_unit: str = "data units"

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        between: bool = False,
        ax: Any = None,
        cmap: Any = "viridis",
        border_color: Any = "white",
        clim: tuple[float, float] | None = None,
        colorbar: bool = True,
    ) -> Self:
        """Compute and draw the U-matrix of a fitted map.

        Parameters
        ----------
        %(estimator)s

        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Samples that label the units. Needs `y`.

        y : array-like of shape (n_samples,), default=None
            Classes of the samples. Each unit shows its most frequent class.

        %(sample_weight)s

        between : bool, default=False
            Whether to add cells between neighboring units that show their distance.

        %(plot_parameters)s

        %(returns)s
        """
        fitted, X = cls._unwrap(estimator, X)
        display = cls._compute(fitted, X, y, sample_weight, between=between)
        style = {"cmap": cmap, "border_color": border_color, "clim": clim, "colorbar": colorbar}
        return display.plot(ax=ax, **style)

    @classmethod
    def _compute(
        cls,
        fitted: Unwrapped,
        X: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        *,
        between: bool = False,
    ) -> Self:
        """Compute the values to draw."""
        som, grid = fitted.som, grid_of(fitted.som)
        cls._check_samples(X, y, sample_weight)
        unit_labels = None
        if X is not None:
            hits = base.count_hits(som, X, y, sample_weight, owner=cls.__name__)
            names = [*(hits.classes or []), ""]
            unit_labels = [names[code] for code in base.majority_classes(hits.weights)]
        return cls(
            u_matrix(som, between=between),
            grid,
            unit_labels=unit_labels,
            cluster_labels=base.cluster_labels(som),
            distance_unit=base.distance_unit(fitted),
        )

    def plot(
        self,
        *,
        ax: Any = None,
        cmap: Any = "viridis",
        border_color: Any = "white",
        clim: tuple[float, float] | None = None,
        colorbar: bool = True,
    ) -> Self:
        """Draw the U-matrix.

        Parameters
        ----------
        %(ax, cmap, border_color, clim, colorbar)s

        %(returns)s
        """
        grid = self.grid
        ax = drawing.new_map_axes(grid, margin=1.4 if colorbar else 0.3) if ax is None else ax
        has_cells_between = self.values.shape != grid.shape
        size = 0.5 if has_cells_between else 1.0
        positions = _positions_with_between(self.values.shape, grid) if has_cells_between else None
        self.cells_ = drawing.draw_cells(
            ax, grid, self.values, positions=positions, size=size, cmap=cmap
        )
        low, high, extend = drawing.robust_limits(self.values, clim)
        self.cells_.set_clim(low, high)
        drawing.set_map_limits(ax, self.cells_, title="U-matrix")
        label = f"distance to neighbors ({self.distance_unit})"
        self.colorbar_ = None
        if colorbar:
            self.colorbar_ = drawing.add_colorbar(ax, self.cells_, label, grid, extend=extend)
        self.borders_ = drawing.draw_borders(ax, grid, self.cluster_labels, border_color)
        if self.borders_ is not None and positions is not None:
            segments = np.reshape(self.borders_.get_segments(), (-1, 2, 2))
            self.borders_.set_segments(_on_cells(segments, positions, grid))
        self.texts_ = []
        if self.unit_labels is not None:
            values = self.values[::2, ::2] if has_cells_between else self.values
            colors = self.cells_.to_rgba(values.ravel())
            self.texts_ = drawing.draw_cell_texts(
                ax, grid.positions(), self.unit_labels, colors, size=size
            )
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _positions_with_between(shape: tuple[int, ...], grid: Grid) -> NDArray[np.float64]:
    """Return the positions of the cells of units and between them, shape (n_cells, 2)."""
    rows, columns = np.indices(shape).reshape(2, -1)
    if not grid.is_hexagonal:
        return np.column_stack([columns, rows]) / 2
    # Even rows of units start at 0, odd rows at 1/2, and the rows between them at 1/4.
    starts = np.array([0, 1 / 4, 1 / 2, 1 / 4])[rows % 4]
    return np.column_stack([starts + columns / 2, rows * np.sqrt(3) / 4])


def _on_cells(segments: NDArray, positions: NDArray, grid: Grid) -> NDArray[np.float64]:
    """Return the borders that lie on a cell, one for each; at a joined boundary others do not."""
    # Where the top is joined with a shift, a border may be only on the other side of its cell.
    segments = np.concatenate([segments, np.add(segments, [grid.n_columns, 0])])
    distances, cells = cKDTree(positions).query(segments.mean(axis=1))
    cells = np.where(distances < 0.1, cells, -1)
    found, first = np.unique(cells, return_index=True)
    return segments[first[found >= 0]]

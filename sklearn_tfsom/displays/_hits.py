"""The hits of the units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._pipelines import Unwrapped
from sklearn_tfsom.displays import _base as base
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays._colors import colors_on_map
from sklearn_tfsom.displays._legends import add_class_legend

# From this number of hits on, the title has three digits of it only.
_MANY_HITS = 1e15

# Corners of a full circle.
_N_CORNERS = 48


@base.documented
@dataclass(eq=False, repr=False)
class HitMapDisplay(base.Display):
    """Hit map: number of samples of each unit, shown as areas, or as pies of classes.

    Create it with `from_estimator`.

    Read more in the :ref:`User Guide <guide_hits>`.

    Parameters
    ----------
    hits : ndarray of shape (n_units,) or (n_units, n_classes)
        Number, or total weight, of the samples of each unit, or of each class in each unit.

    %(grid, classes, cluster_labels)s

    Attributes
    ----------
    %(ax_, figure_)s

    outlines_ : matplotlib PolyCollection
        Outlines of the cells.

    marks_ : matplotlib PolyCollection
        One cell for each unit with hits, or one pie slice for each of its classes. Areas are
        proportional to the hits.

    %(borders_, legend_)s

    See Also
    --------
    sklearn_tfsom.metrics.hit_histogram : The hits.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.displays import HitMapDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> HitMapDisplay.from_estimator(som, X, y).hits.shape
    (40, 3)
    """

    hits: NDArray
    grid: Grid
    _: KW_ONLY
    classes: Sequence[str] | None = None
    cluster_labels: NDArray | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        ax: Any = None,
        color: Any = "C0",
    ) -> Self:
        """Count and draw the hits of a fitted map.

        Parameters
        ----------
        %(estimator)s

        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Samples, None for the training samples.

        y : array-like of shape (n_samples,), default=None
            Classes of the samples, for pies. Needs `X`.

        %(sample_weight, plot_parameters)s

        %(returns)s
        """
        fitted, X = cls._unwrap(estimator, X)
        return cls._compute(fitted, X, y, sample_weight).plot(ax=ax, color=color)

    @classmethod
    def _compute(cls, fitted: Unwrapped, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Compute the values to draw."""
        som, grid = fitted.som, grid_of(fitted.som)
        cls._check_samples(X, y, sample_weight, needs_y=False)
        if X is None:
            hits = base.Hits(som.hits_, None)
        else:
            hits = base.count_hits(som, X, y, sample_weight, owner=cls.__name__)
        clusters = base.cluster_labels(som)
        return cls(hits.weights, grid, classes=hits.classes, cluster_labels=clusters)

    def plot(self, *, ax: Any = None, color: Any = "C0") -> Self:
        """Draw the hits.

        Parameters
        ----------
        %(ax)s

        color : color, default="C0"
            Color of the hits without classes.

        %(returns)s
        """
        grid, hits = self.grid, np.asarray(self.hits, dtype=np.float64)
        totals = hits if hits.ndim == 1 else hits.sum(axis=1)
        largest = totals.max()
        is_new = ax is None
        ax = drawing.new_map_axes(grid) if is_new else ax
        self.outlines_ = drawing.draw_outlines(ax, grid)
        has_all_digits = largest == round(largest) and largest < _MANY_HITS
        number = f"{largest:,.0f}" if has_all_digits else f"{largest:.3g}"
        drawing.set_map_limits(ax, self.outlines_, title=f"Hits (at most {number} in a unit)")
        colors = None
        if hits.ndim == 2:
            colors = colors_on_map(grid, base.majority_classes(hits), hits.shape[1])
        handles = []
        if self.cluster_labels is not None:
            from matplotlib.lines import Line2D

            handles = [Line2D([], [], color=drawing.text_color(), label="border of clusters")]
        self.legend_ = add_class_legend(
            ax, self.classes, grid, colors=colors, handles=handles, grow_figure=is_new
        )
        self.outlines_.set_linewidth(min(0.4, 0.03 * drawing.approximate_spacing(ax, grid)))
        scales = np.sqrt(totals / largest) if largest > 0 else totals
        if colors is None:
            positions, sizes = grid.positions()[scales > 0], 0.92 * scales[scales > 0]
            self.marks_ = drawing.draw_cells(
                ax, grid, positions=positions, size=sizes, facecolors=color, linewidths=0
            )
        else:
            slices, codes = _pie_slices(grid, hits, 0.46 * scales)
            self.marks_ = drawing.draw_polygons(ax, slices, facecolors=colors[codes])
        self.borders_ = drawing.draw_borders(ax, grid, self.cluster_labels, drawing.text_color())
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _pie_slices(
    grid: Grid, hits: NDArray, radii: NDArray
) -> tuple[list[NDArray], NDArray[np.int64]]:
    """Return the slices of the units' pies, clockwise from the top, and the class of each."""
    totals = hits.sum(axis=1, keepdims=True)
    ends = np.cumsum(hits, axis=1) / np.where(totals > 0, totals, 1)
    positions = grid.positions()
    units, codes = np.nonzero(hits)
    slices = []
    for unit, code in zip(units, codes, strict=True):
        start = ends[unit, code - 1] if code else 0.0
        share = ends[unit, code] - start
        n_points = max(2, int(np.ceil(share * _N_CORNERS)) + 1)
        angles = 2 * np.pi * np.linspace(start, ends[unit, code], n_points)
        # Clockwise from the top, since the vertical axis points down.
        arc = np.column_stack([np.sin(angles), -np.cos(angles)])
        if share < 1:
            arc = np.concatenate([np.zeros((1, 2)), arc])
        slices.append(positions[unit] + radii[unit] * arc)
    return slices, codes

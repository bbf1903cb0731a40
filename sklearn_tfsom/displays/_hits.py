"""Hits: how many samples each unit has, and of which classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._validation import check_sample_weight
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays import _reading as reading
from sklearn_tfsom.metrics._reading import check_fitted_grid

# Corners of a full circle.
_N_CORNERS = 48


class HitMapDisplay:
    """Hits: how many samples each unit has, as areas; with classes as pies.

    Use `from_estimator`.

    Parameters
    ----------
    hits : ndarray of shape (n_units,) or (n_units, n_classes)
        Number, or total weight, of the samples of each unit, or of each class of them.

    grid : Grid
        The units' places.

    classes : sequence of str of length n_classes, default=None
        Names of the classes, for the legend.

    cluster_labels : ndarray of shape (n_units,), default=None
        Cluster of each unit: borders are drawn between clusters.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the picture was drawn.

    figure_ : matplotlib Figure
        Its figure.

    outlines_ : matplotlib PolyCollection
        The units' cells.

    marks_ : matplotlib PolyCollection
        One cell for each unit that has hits, or one slice for each of its classes; their areas
        are in proportion to the hits.

    borders_ : matplotlib LineCollection or None
        Borders between clusters.

    legend_ : matplotlib Legend or None
        The classes.

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

    def __init__(
        self,
        hits: NDArray,
        grid: Grid,
        *,
        classes: Sequence[str] | None = None,
        cluster_labels: NDArray | None = None,
    ) -> None:
        self.hits = hits
        self.grid = grid
        self.classes = classes
        self.cluster_labels = cluster_labels

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
    ) -> HitMapDisplay:
        """Count the samples of each unit of a fitted map and draw them.

        Where the map has clusters (`n_clusters`), their borders are drawn on top.

        Parameters
        ----------
        estimator : TFSOM
            A fitted map.

        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Samples; None is those that the map was trained with.

        y : array-like of shape (n_samples,), default=None
            Their classes, for pies. Needs `X`.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample; None is 1 for each. Needs `X`.

        ax : matplotlib Axes, default=None
            Where to draw; by default in a new figure.

        color : color, default="C0"
            Of the hits, where there are no classes.

        Returns
        -------
        display : HitMapDisplay

        Raises
        ------
        ValueError
            Where `y` or `sample_weight` is given without `X`, or they do not fit one another.
        """
        return cls._read(estimator, X, y, sample_weight).plot(ax, color=color)

    @classmethod
    def _read(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> HitMapDisplay:
        """Count what is drawn."""
        grid = check_fitted_grid(estimator)
        classes = None
        if X is None:
            if y is not None or sample_weight is not None:
                raise ValueError("y and sample_weight need X, the samples that they belong to.")
            hits = estimator.hits_
        else:
            bmus = estimator.bmus(X)
            weights = check_sample_weight(sample_weight, len(bmus))
            if y is None:
                hits = np.bincount(bmus, weights, minlength=grid.n_units)
            else:
                names, codes = reading.check_classes(y, X)
                hits = reading.class_hits(bmus, codes, grid, len(names), weights)
                classes = [str(name) for name in names]
        clusters = estimator.cluster_labels_ if reading.has_clusters(estimator) else None
        return cls(hits, grid, classes=classes, cluster_labels=clusters)

    def plot(self, ax: Any = None, *, color: Any = "C0") -> HitMapDisplay:
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default in a new figure.

        color : color, default="C0"
            Of the hits, where there are no classes.

        Returns
        -------
        self : HitMapDisplay
        """
        plt = drawing.import_pyplot()
        grid, hits = self.grid, np.asarray(self.hits, dtype=np.float64)
        totals = hits if hits.ndim == 1 else hits.sum(axis=1)
        most = totals.max()
        is_own = ax is None
        ax = drawing.new_map_axes(grid, room=0.3) if is_own else ax
        self.outlines_ = drawing.draw_outlines(ax, grid)
        number = f"{most:,.0f}" if most == round(most) else f"{most:.3g}"
        drawing.frame_map(ax, self.outlines_, title=f"Hits (at most {number} in a unit)")
        self.legend_ = None
        if self.classes is not None:
            self.legend_ = drawing.add_class_legend(
                ax, self.classes, drawing.class_colors(len(self.classes)), grid, is_own=is_own
            )
        self.outlines_.set_linewidth(min(0.4, 0.03 * drawing.rough_spacing(ax, grid)))
        scales = np.sqrt(totals / most) if most > 0 else totals
        if hits.ndim == 1:
            colors, shapes = color, _scaled_cells(grid, scales)
        else:
            slices, codes = _pies(grid, hits, 0.46 * scales)
            colors, shapes = drawing.class_colors(hits.shape[1])[codes], slices
        self.marks_ = drawing.draw_shapes(ax, shapes, facecolors=colors)
        self.borders_ = None
        if self.cluster_labels is not None:
            ink = plt.rcParams["text.color"]
            self.borders_ = drawing.draw_borders(ax, grid, self.cluster_labels, ink)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _scaled_cells(grid: Grid, scales: NDArray) -> list[NDArray]:
    """Cells of units, as wide as the scales say; none for a scale of 0."""
    is_hit = scales > 0
    sizes = 0.92 * scales[is_hit]
    corners = drawing.cell_corners(grid.is_hexagonal)
    return list(grid.positions()[is_hit, None] + sizes[:, None, None] * corners)


def _pies(grid: Grid, hits: NDArray, radii: NDArray) -> tuple[list[NDArray], NDArray[np.int64]]:
    """Slices of the units' pies, clockwise from the top, and the class of each."""
    totals = hits.sum(axis=1, keepdims=True)
    ends = np.cumsum(hits, axis=1) / np.where(totals > 0, totals, 1)
    positions = grid.positions()
    units, codes = np.nonzero(hits)
    slices = []
    for unit, code in zip(units, codes, strict=True):
        start = ends[unit, code - 1] if code else 0.0
        turn = ends[unit, code] - start
        turns = np.linspace(start, ends[unit, code], max(2, int(np.ceil(turn * _N_CORNERS)) + 1))
        angles = 2 * np.pi * turns
        # The vertical axis points down, so this is clockwise from the top.
        arc = np.column_stack([np.sin(angles), -np.cos(angles)])
        if turn < 1:
            arc = np.concatenate([np.zeros((1, 2)), arc])
        slices.append(positions[unit] + radii[unit] * arc)
    return slices, codes

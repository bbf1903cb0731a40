"""The anomaly scores of samples on a map."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._data.foreign import as_array, column_of
from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._validation import NONE, Rule, real
from sklearn_tfsom.displays import _base as base
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays._legends import (
    EMPTY_COLOR,
    add_legend,
    empty_handle,
    marker_handle,
)

# Diameter of the marks, and the smallest one of a mark alone in its cell, in points.
_MIN_SIZE, _MAX_SIZE, _MIN_SINGLE_SIZE = 2.5, 9.0, 4.5

# Colors of the marks of anomalies and of other samples.
_ANOMALY_FACE, _OTHER_FACE = (0.85, 0.1, 0.1), (1.0, 1.0, 1.0)
_ANOMALY_EDGE, _OTHER_EDGE = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)

# Width of a column of the legend, in inches.
_LEGEND_COLUMN = 1.3

_FINITE = Rule("a finite float", real(-np.inf, closed=False).accepts)
_QUANTILE = Rule(
    "a float in the range [0.0, 1.0]", lambda value: _FINITE.accepts(value) and 0 <= value <= 1
)


@base.documented
@dataclass(eq=False, repr=False)
class AnomalyMapDisplay(base.Display):
    """Anomaly map: mean anomaly score of each unit, and the samples above a threshold.

    Cells without samples are gray. Each sample above the threshold has a mark in the cell of its
    unit. Units with far larger means than the others have the highest color, and do not stretch
    the scale. Create it with `from_estimator`.

    Read more in the :ref:`User Guide <guide_displays>`.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        Anomaly scores, higher for more abnormal samples.

    bmus : ndarray of int, shape (n_samples,)
        Unit of each sample.

    %(grid)s

    threshold : float
        Score above which samples are marked.

    truth : ndarray of bool, shape (n_samples,), default=None
        Whether each sample is an anomaly, if known.

    %(distance_unit)s

    Attributes
    ----------
    %(ax_, figure_)s

    cells_ : matplotlib PolyCollection
        Cells of the units. The values of units without samples are masked.

    empty_ : matplotlib PolyCollection
        Cells of the units without samples.

    marks_ : matplotlib PathCollection
        One mark for each sample above the threshold. With `truth`, anomalies are filled and other
        samples hollow.

    missed_ : matplotlib PathCollection or None
        One cross for each anomaly that is not above the threshold, None without `truth`.

    %(colorbar_, legend_)s

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.displays import AnomalyMapDisplay
    >>> X = load_iris().data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> display = AnomalyMapDisplay.from_estimator(som, X, quantile=0.9)
    >>> int((display.scores > display.threshold).sum())
    15
    """

    scores: NDArray
    bmus: NDArray[np.int64]
    grid: Grid
    _: KW_ONLY
    threshold: float
    truth: NDArray[np.bool_] | None = None
    distance_unit: str = "data units"

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        threshold: float | None = None,
        quantile: float = 0.99,
        ax: Any = None,
        cmap: Any = "viridis",
        colorbar: bool = True,
    ) -> Self:
        """Compute and draw anomaly scores: minus `score_samples` of the map.

        Parameters
        ----------
        %(estimator, X)s

        y : array-like of shape (n_samples,), default=None
            1 for anomalies and 0 for normal samples, if known.

        threshold : float, default=None
            Score above which samples are marked, None for the `quantile`.

        quantile : float, default=0.99
            Quantile of the scores of `X` that is the threshold if `threshold` is None.

        %(plot_parameters)s

        %(returns)s
        """
        cls._check_parameter("threshold", threshold, _FINITE, NONE)
        cls._check_parameter("quantile", quantile, _QUANTILE)
        fitted, X = cls._unwrap(estimator, X)
        samples = fitted.som._check_data(X)
        truth = None if y is None else cls._check_truth(y, len(samples))
        scores, bmus = fitted.som._anomaly_scores(samples)
        display = cls(
            scores,
            bmus,
            grid_of(fitted.som),
            threshold=float(
                np.quantile(scores, float(quantile)) if threshold is None else threshold
            ),
            truth=truth,
            distance_unit=base.distance_unit(fitted),
        )
        return display.plot(ax=ax, cmap=cmap, colorbar=colorbar)

    @classmethod
    def _check_truth(cls, y: Any, n_samples: int) -> NDArray[np.bool_]:
        """Return for each sample whether it is an anomaly."""
        right = "an array-like of 1 for anomalies and 0 for normal samples"
        truth = np.asarray(as_array(column_of(y), "y"))
        if truth.shape not in ((n_samples,), (n_samples, 1)):
            of_shape = f"{right}, of shape ({n_samples},)"
            raise cls._wrong_parameter("y", of_shape, f"shape {truth.shape}")
        truth = truth.ravel()
        is_valid = np.isin(truth, [0, 1])
        if not is_valid.all():
            raise cls._wrong_parameter("y", right, repr(truth[~is_valid].tolist()[0]))
        return truth.astype(bool)

    def plot(self, *, ax: Any = None, cmap: Any = "viridis", colorbar: bool = True) -> Self:
        """Draw the anomaly scores.

        Parameters
        ----------
        %(ax, cmap, colorbar)s

        %(returns)s
        """
        grid = self.grid
        is_new = ax is None
        if is_new:
            ax = drawing.new_map_axes(grid, margin=1.4 if colorbar else 0.3)
        counts = np.bincount(self.bmus, minlength=grid.n_units)
        totals = np.bincount(self.bmus, self.scores, minlength=grid.n_units)
        means = np.ma.masked_array(totals / np.maximum(1, counts), counts == 0)
        self.cells_ = drawing.draw_cells(ax, grid, means, cmap=cmap)
        low, high, extend = drawing.robust_limits(means.compressed())
        self.cells_.set_clim(low, high)
        empty = grid.positions()[counts == 0]
        self.empty_ = drawing.draw_cells(
            ax, grid, positions=empty, facecolors=EMPTY_COLOR, linewidths=0
        )
        is_above = self.scores > self.threshold
        n_above, n_samples = np.count_nonzero(is_above), len(self.scores)
        # A threshold is no rounding error, however far out scores are.
        digits_of = min(float(np.ptp(self.scores)), abs(self.threshold))
        threshold = drawing.rounded(self.threshold, digits_of)
        title = f"Anomalies ({n_above:,} of {n_samples:,} samples above {threshold})"
        drawing.set_map_limits(ax, self.cells_, title=title)
        label = f"mean anomaly score ({self.distance_unit})"
        self.colorbar_ = None
        if colorbar:
            self.colorbar_ = drawing.add_colorbar(ax, self.cells_, label, grid, extend=extend)
        self.legend_ = self._add_legend(ax, has_empty=len(empty) > 0, grow_figure=is_new)
        self.marks_, self.missed_ = self._draw_marks(ax, is_above)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_marks(self, ax: Any, is_above: NDArray[np.bool_]) -> tuple[Any, Any]:
        """Draw the samples above the threshold, and the anomalies below it."""
        is_anomaly = np.zeros_like(is_above) if self.truth is None else self.truth
        (shown,) = np.nonzero(is_above | is_anomaly)
        units = self.bmus[shown]
        points = self.grid.positions()[units] + drawing.spread_in_cells(units)
        # Smaller in a cell with many marks, so that they do not cover each other.
        n_marks = np.bincount(units, minlength=self.grid.n_units)[units]
        sizes = 0.8 * drawing.SPREAD * np.sqrt(np.pi / np.maximum(4, n_marks))
        sizes = np.clip(drawing.points_per_spacing(ax) * sizes, _MIN_SIZE, _MAX_SIZE)
        areas = np.square(np.where(n_marks == 1, np.maximum(sizes, _MIN_SINGLE_SIZE), sizes))
        is_above, is_filled = is_above[shown], is_anomaly[shown][is_above[shown], None]
        marks = ax.scatter(
            *points[is_above].T,
            s=areas[is_above],
            facecolors=np.where(is_filled, _ANOMALY_FACE, _OTHER_FACE),
            edgecolors=np.where(is_filled, _ANOMALY_EDGE, _OTHER_EDGE),
            linewidths=np.clip(np.sqrt(areas[is_above]) / 8, 0.3, 0.8),
            zorder=3,
        )
        if self.truth is None:
            return marks, None
        from matplotlib.patheffects import withStroke

        missed = ax.scatter(
            *points[~is_above].T,
            s=areas[~is_above],
            c=[_ANOMALY_FACE],
            marker="x",
            linewidths=1.4,
            path_effects=[withStroke(linewidth=3, foreground="white")],
            zorder=3,
        )
        return marks, missed

    def _add_legend(self, ax: Any, *, has_empty: bool, grow_figure: bool) -> Any:
        """Add a legend, and enlarge a new figure by it."""
        handles: list[Any] = []
        if self.truth is not None:
            handles += [
                marker_handle("anomaly, found", "o", _ANOMALY_FACE, _ANOMALY_EDGE),
                marker_handle("anomaly, missed", "x", _ANOMALY_FACE, _ANOMALY_FACE),
                marker_handle("false alarm", "o", _OTHER_FACE, _OTHER_EDGE),
            ]
        if has_empty:
            handles.append(empty_handle("no samples"))
        if not handles:
            return None
        inches = drawing.map_size(self.grid)[0] * drawing.points_per_spacing(ax) / 72
        n_columns = int(np.clip(inches / _LEGEND_COLUMN, 1, len(handles)))
        return add_legend(
            ax,
            handles,
            self.grid,
            has_colorbar=self.colorbar_ is not None,
            n_columns=n_columns,
            grow_figure=grow_figure,
        )

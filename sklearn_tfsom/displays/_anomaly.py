"""Anomalies: which parts of the map hold unusual samples."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length, column_or_1d

from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._validation import Rule, real
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays import _reading as reading
from sklearn_tfsom.metrics._reading import check_argument, check_fitted_grid

# How far from its unit a mark can lie, in lattice spacings.
_SPREAD = 0.33

# Smallest and largest mark, in points across, and the smallest of one that has its cell to itself.
_MARKS = 2.5, 9.0
_LONELY = 4.5

# Colors of marks for anomalies, and for all else.
_FACES = (0.85, 0.1, 0.1), (1.0, 1.0, 1.0)
_EDGES = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)

# Color of cells without samples, on any background.
_EMPTY = (0.5, 0.5, 0.5, 0.35)

# Inches that a column of the legend takes.
_LEGEND_COLUMN = 1.3

_SHARE = Rule(
    "a float in the range [0.0, 1.0]",
    lambda value: real(0, closed=True).accepts(value) and value <= 1,
)
_NUMBER = Rule("a finite float or None", lambda value: value is None or _is_finite(value))


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    return is_number and math.isfinite(value)


class AnomalyMapDisplay:
    """Anomalies: how unusual the samples of each unit are, and which stand out.

    Cells show the mean anomaly score of their samples, and are gray where there are none. Each
    sample above the threshold has a mark in its cell. Use `from_estimator`.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        Anomaly score of each sample: the higher, the more abnormal.

    bmus : ndarray of int, shape (n_samples,)
        Unit of each sample.

    grid : Grid
        The units' places.

    threshold : float
        Samples with a higher score are marked.

    truth : ndarray of bool, shape (n_samples,), default=None
        Which samples are anomalies in truth.

    distance_unit : str, default="data units"
        What scores are in, for the color bar.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the picture was drawn.

    figure_ : matplotlib Figure
        Its figure.

    cells_ : matplotlib PolyCollection
        One cell for each unit; its value is masked where it has no samples.

    empty_ : matplotlib PolyCollection
        The cells of units without samples.

    marks_ : matplotlib PathCollection
        One mark for each sample above the threshold. With `truth` full where the sample is an
        anomaly, and hollow where it is none.

    missed_ : matplotlib PathCollection or None
        With `truth`, a cross for each anomaly that is not above the threshold.

    color_bar_ : matplotlib Colorbar or None
        What the colors mean.

    legend_ : matplotlib Legend or None
        What gray cells mean, and marks where there is `truth`.

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

    def __init__(
        self,
        scores: NDArray,
        bmus: NDArray[np.int64],
        grid: Grid,
        *,
        threshold: float,
        truth: NDArray[np.bool_] | None = None,
        distance_unit: str = "data units",
    ) -> None:
        self.scores = scores
        self.bmus = bmus
        self.grid = grid
        self.threshold = threshold
        self.truth = truth
        self.distance_unit = distance_unit

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        method: str = "distance",
        threshold: float | None = None,
        quantile: float = 0.99,
        ax: Any = None,
        cmap: Any = "viridis",
        color_bar: bool = True,
    ) -> AnomalyMapDisplay:
        """Score samples by a fitted map and draw them.

        Parameters
        ----------
        estimator : TFSOM
            A fitted map.

        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing.

        y : array-like of shape (n_samples,), default=None
            1 for anomalies, 0 for normal samples, where it is known.

        method : {"distance", "u_height"}, default="distance"
            How samples are scored: by minus `TFSOM.score_samples`.

        threshold : float, default=None
            Samples with a higher score are marked; None is the `quantile`.

        quantile : float, default=0.99
            Of the scores of `X`: the threshold, where none is given.

        ax : matplotlib Axes, default=None
            Where to draw; by default in a new figure.

        cmap : str or Colormap, default="viridis"
            Colors.

        color_bar : bool, default=True
            Whether there is a color bar.

        Returns
        -------
        display : AnomalyMapDisplay

        Raises
        ------
        ValueError
            Where `y` does not fit `X` or holds something else than 0 and 1, or `method`,
            `threshold` or `quantile` is not as above.
        """
        grid = check_fitted_grid(estimator)
        scores = -estimator.score_samples(X, method=method)
        check_argument("threshold", threshold, _NUMBER)
        check_argument("quantile", quantile, _SHARE)
        display = cls(
            scores,
            estimator.bmus(X),
            grid,
            threshold=float(np.quantile(scores, quantile) if threshold is None else threshold),
            truth=None if y is None else _check_truth(y, scores),
            distance_unit=reading.distance_unit(estimator),
        )
        return display.plot(ax, cmap=cmap, color_bar=color_bar)

    def plot(
        self, ax: Any = None, *, cmap: Any = "viridis", color_bar: bool = True
    ) -> AnomalyMapDisplay:
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default in a new figure.

        cmap : str or Colormap, default="viridis"
            Colors.

        color_bar : bool, default=True
            Whether there is a color bar.

        Returns
        -------
        self : AnomalyMapDisplay
        """
        drawing.import_pyplot()
        grid = self.grid
        is_own = ax is None
        if is_own:
            ax = drawing.new_map_axes(grid, room=1.4 if color_bar else 0.3)
        counts = np.bincount(self.bmus, minlength=grid.n_units)
        totals = np.bincount(self.bmus, self.scores, minlength=grid.n_units)
        means = np.ma.masked_array(totals / np.maximum(1, counts), counts == 0)
        self.cells_ = drawing.draw_cells(ax, grid, means, cmap=cmap)
        self.empty_ = drawing.draw_cells(
            ax,
            grid,
            positions=grid.positions()[counts == 0],
            facecolors=_EMPTY,
            linewidths=0,
        )
        is_above = self.scores > self.threshold
        n_above, n_samples = np.count_nonzero(is_above), len(self.scores)
        title = f"Anomalies ({n_above:,} of {n_samples:,} samples above {self.threshold:.3g})"
        drawing.frame_map(ax, self.cells_, title=title)
        ax.title.set_wrap(True)  # of a narrow map's figure
        self.color_bar_ = None
        if color_bar:
            label = f"mean anomaly score ({self.distance_unit})"
            self.color_bar_ = drawing.add_color_bar(
                ax, self.cells_, label, is_below=drawing.is_wide(grid)
            )
        self.legend_ = self._add_legend(ax, is_own=is_own)
        self.marks_, self.missed_ = self._draw_marks(ax, is_above)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_marks(self, ax: Any, is_above: NDArray[np.bool_]) -> tuple[Any, Any]:
        """Draw a mark for each sample that stands out, and one for each that should."""
        is_anomaly = np.zeros_like(is_above) if self.truth is None else self.truth
        (shown,) = np.nonzero(is_above | is_anomaly)
        units = self.bmus[shown]
        places = self.grid.positions()[units] + drawing.spread_in_cells(units, _SPREAD)
        # In a full cell they are smaller, so that none hides another.
        mates = np.bincount(units, minlength=self.grid.n_units)[units]
        room = 0.8 * _SPREAD * np.sqrt(np.pi / np.maximum(4, mates))
        sizes = np.clip(drawing.points_per_spacing(ax) * room, *_MARKS)
        sizes = np.square(np.where(mates == 1, np.maximum(sizes, _LONELY), sizes))
        is_marked, is_full = is_above[shown], is_anomaly[shown]
        marks = ax.scatter(
            *places[is_marked].T,
            s=sizes[is_marked],
            facecolors=np.where(is_full[is_marked, None], *_FACES),
            edgecolors=np.where(is_full[is_marked, None], *_EDGES),
            linewidths=np.clip(np.sqrt(sizes[is_marked]) / 8, 0.3, 0.8),
            zorder=3,
        )
        if self.truth is None:
            return marks, None
        from matplotlib.patheffects import withStroke

        missed = ax.scatter(
            *places[~is_marked].T,
            s=sizes[~is_marked],
            c=[_FACES[0]],
            marker="x",
            linewidths=1.4,
            path_effects=[withStroke(linewidth=3, foreground="white")],
            zorder=3,
        )
        return marks, missed

    def _add_legend(self, ax: Any, *, is_own: bool) -> Any:
        """Add a legend below the map, and make room for it where the figure is our own."""
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        handles: list[Any] = []
        if self.truth is not None:
            looks = [
                ("anomaly, found", "o", _FACES[0], _EDGES[0]),
                ("anomaly, missed", "x", _FACES[0], _FACES[0]),
                ("false alarm", "o", _FACES[1], _EDGES[1]),
            ]
            style: dict[str, Any] = {"linestyle": "none", "markersize": 7}
            handles += [
                Line2D([], [], marker=marker, mfc=face, mec=edge, label=name, **style)
                for name, marker, face, edge in looks
            ]
        if self.empty_.get_paths():
            handles.append(Patch(facecolor=_EMPTY, linewidth=0, label="no samples"))
        if not handles:
            return None
        inches = drawing.map_size(self.grid)[0] * drawing.points_per_spacing(ax) / 72
        n_columns = int(np.clip(inches / _LEGEND_COLUMN, 1, len(handles)))
        if is_own:
            n_rows = -(-len(handles) // n_columns)
            ax.figure.set_figheight(ax.figure.get_figheight() + 0.15 + 0.2 * n_rows)
        return ax.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            ncols=n_columns,
            frameon=False,
            handlelength=1.0,
            handleheight=1.0,
            columnspacing=1.2,
        )


def _check_truth(y: Any, X: Any) -> NDArray[np.bool_]:
    """Return which samples are anomalies."""
    truth = column_or_1d(y)
    check_consistent_length(X, truth)
    is_right = np.isin(truth, [0, 1])
    if not is_right.all():
        wrong = truth[~is_right].tolist()[0]
        raise ValueError(
            f"y must hold 1 for anomalies and 0 for normal samples. Got {wrong!r} instead."
        )
    return truth.astype(bool)

"""Trajectories: the way that consecutive samples take over the map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._validation import choice
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays import _reading as reading
from sklearn_tfsom.displays import _seams as seams
from sklearn_tfsom.displays._labels import background_color, check_labels, place_labels
from sklearn_tfsom.displays._times import add_time_bar, as_numbers, check_times, time_colors
from sklearn_tfsom.metrics import u_matrix
from sklearn_tfsom.metrics._reading import check_argument, check_fitted_grid

BACKGROUNDS = ("u_matrix", "outlines")

# How dark valleys and ridges of the U-matrix are behind a path, from the background to the ink.
_SHADES = 0.06, 0.42

# How far from its unit a visit can lie, in lattice spacings.
_SPREAD = 0.33

# The largest dot of a visit, in points.
_LARGEST_DOT = 14.0

# More lines than this are translucent, and so many of lines or dots are drawn as pixels, in any
# format, or else a file would be large.
_MANY_LINES, _MOST_VECTORS = 1000, 5000


class TrajectoryDisplay:
    """Trajectory: the way of consecutive samples, a time series say, over the map.

    A line joins the best-matching units in the order of time, and its color is the time. Every
    visit to a unit has a place of its own in the cell and a dot there, the larger the more
    samples stay. Where edges of the map are joined, a step over the seam leaves the map on one
    side and comes back on the other. Use `from_estimator`.

    Parameters
    ----------
    bmus : ndarray of int, shape (n_samples,)
        Unit of each sample, in the order of time.

    grid : Grid
        The units' places.

    times : ndarray of shape (n_samples,), default=None
        Numbers or datetimes that do not fall; None is the index of each sample.

    groups : ndarray of int, shape (n_samples,), default=None
        Path of each sample, an index of `group_names`. Each path is a line of its own.

    group_names : sequence of str, default=None
        Names of the paths, for the legend.

    labels : dict of int to str, default=None
        Texts for some of the samples, by their index.

    values : ndarray of shape (n_rows, n_columns), default=None
        The U-matrix, to be seen faintly behind the path; None is the cells' outlines.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the picture was drawn.

    figure_ : matplotlib Figure
        Its figure.

    cells_ : matplotlib PolyCollection
        The units' cells: the darker, the farther a unit is from its neighbors.

    path_ : matplotlib LineCollection
        One line for each step to another unit, or two or three where it crosses a seam.

    visits_ : matplotlib PathCollection
        One dot for each visit: consecutive samples of one unit.

    starts_ : matplotlib PathCollection
        Start of each path, hollow.

    ends_ : matplotlib PathCollection
        End of each path, full.

    texts_ : list of matplotlib Annotation
        The labels, and "start" and "end" of a single path.

    color_bar_ : matplotlib Colorbar or None
        The time, of a single path that takes some.

    legend_ : matplotlib Legend or None
        The paths, where there are groups.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.displays import TrajectoryDisplay
    >>> t = np.linspace(0, 6, 60)
    >>> X = np.column_stack([np.cos(t), np.sin(t)])
    >>> som = TFSOM(grid_size=(4, 5)).fit(X)
    >>> TrajectoryDisplay.from_estimator(som, X).bmus.shape
    (60,)
    """

    def __init__(
        self,
        bmus: NDArray[np.int64],
        grid: Grid,
        *,
        times: NDArray | None = None,
        groups: NDArray[np.int64] | None = None,
        group_names: Sequence[str] | None = None,
        labels: Mapping[int, str] | None = None,
        values: NDArray | None = None,
    ) -> None:
        self.bmus = bmus
        self.grid = grid
        self.times = times
        self.groups = groups
        self.group_names = group_names
        self.labels = labels
        self.values = values

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: Any = None,
        *,
        times: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        labels: Any = None,
        background: str = "u_matrix",
        ax: Any = None,
        cmap: Any = None,
        color_bar: bool = True,
    ) -> TrajectoryDisplay:
        """Find the way of samples over a fitted map and draw it.

        Parameters
        ----------
        estimator : TFSOM
            A fitted map.

        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing; in the order of time, unless `times` are given.

        y : None
            Ignored.

        times : array-like of shape (n_samples,), default=None
            Numbers or datetimes by which the samples are put in order, for the color bar.

        groups : array-like of shape (n_samples,), default=None
            Which path each sample belongs to. Each has a color, and fades toward its start.

        labels : dict of int to str or sequence of str of length n_samples, default=None
            Texts for samples: for some, by their index, or for each, "" for none.

        background : {"u_matrix", "outlines"}, default="u_matrix"
            What is seen behind the path.

        ax : matplotlib Axes, default=None
            Where to draw; by default in a new figure.

        cmap : str or Colormap, default=None
            Colors of a single path; None is the part of "viridis" that stands out from the
            background.

        color_bar : bool, default=True
            Whether there is a color bar, of a single path.

        Returns
        -------
        display : TrajectoryDisplay

        Raises
        ------
        ValueError
            Where `times`, `groups` or `labels` do not fit the samples.
        """
        grid = check_fitted_grid(estimator)
        bmus = estimator.bmus(X)
        check_argument("background", background, choice(BACKGROUNDS))
        texts = check_labels(labels, len(bmus))
        codes, names = None, None
        if groups is not None:
            found, codes = reading.check_classes(groups, X)
            names = [str(name) for name in found]
        if times is not None:
            times = check_times(times, X)
            order = np.argsort(times, kind="stable")
            rank = np.argsort(order)
            bmus, times = bmus[order], times[order]
            codes = None if codes is None else codes[order]
            texts = {int(rank[index]): text for index, text in texts.items()}
        display = cls(
            bmus,
            grid,
            times=times,
            groups=codes,
            group_names=names,
            labels=texts,
            values=u_matrix(estimator) if background == "u_matrix" else None,
        )
        return display.plot(ax, cmap=cmap, color_bar=color_bar)

    def plot(
        self, ax: Any = None, *, cmap: Any = None, color_bar: bool = True
    ) -> TrajectoryDisplay:
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default in a new figure.

        cmap : str or Colormap, default=None
            Colors of a single path; None is the part of "viridis" that stands out from the
            background.

        color_bar : bool, default=True
            Whether there is a color bar, of a single path.

        Returns
        -------
        self : TrajectoryDisplay
        """
        plt = drawing.import_pyplot()
        from matplotlib.collections import LineCollection
        from matplotlib.colors import Normalize

        grid, names, n_samples = self.grid, self.group_names, len(self.bmus)
        is_own = ax is None
        if is_own:
            ax = drawing.new_map_axes(grid, room=1.4 if color_bar and names is None else 0.3)
        self.cells_ = _draw_background(ax, grid, self.values)
        what = "Trajectory" if names is None else "Trajectories"
        samples = "sample" if n_samples == 1 else "samples"
        drawing.frame_map(ax, self.cells_, title=f"{what} of {n_samples:,} {samples}")

        clock = np.arange(n_samples) if self.times is None else as_numbers(self.times)
        codes = np.zeros(n_samples, dtype=np.int64) if self.groups is None else self.groups
        firsts, visit_of, dwells = _visits(self.bmus, codes)
        units, paths = self.bmus[firsts], codes[firsts]
        places = grid.positions()[units] + drawing.spread_in_cells(units, _SPREAD)
        lines, arrivals = _lines(grid, units, places, np.flatnonzero(paths[1:] == paths[:-1]))
        if names is None:
            look = {
                "cmap": time_colors(ax) if cmap is None else cmap,
                "norm": Normalize(clock.min(), clock.max()),
            }
            of_lines: dict[str, Any] = {"array": clock[firsts[arrivals]], **look}
            of_dots: dict[str, Any] = {"c": clock[firsts], **look}
        else:
            colors = _fading(drawing.class_colors(len(names)), paths)
            of_lines, of_dots = {"colors": colors[arrivals]}, {"c": colors}

        spacing = drawing.points_per_spacing(ax)
        width = float(np.clip(0.035 * spacing, 0.5, 1.6))
        if names is None and len(lines) > _MANY_LINES:
            of_lines["alpha"] = max(0.3, (_MANY_LINES / len(lines)) ** 0.3)
        self.path_ = ax.add_collection(
            LineCollection(
                lines,
                linewidths=width,
                capstyle="round",
                rasterized=len(lines) > _MOST_VECTORS,
                zorder=2,
                **of_lines,
            )
        )
        most = np.bincount(units).max()
        dot = max(width, spacing * min(0.09, 0.7 * _SPREAD * np.sqrt(np.pi / most)))
        sizes = np.minimum(dot**2 * dwells, max(dot, min(0.25 * spacing, _LARGEST_DOT)) ** 2)
        self.visits_ = ax.scatter(
            *places.T,
            s=sizes,
            linewidths=0,
            rasterized=len(places) > _MOST_VECTORS,
            zorder=3,
            **of_dots,
        )

        starts = np.flatnonzero(np.r_[True, paths[1:] != paths[:-1]])
        ends = np.r_[starts[1:], len(paths)] - 1
        ink, paper = plt.rcParams["text.color"], background_color(ax)
        inks = ink if names is None else drawing.class_colors(len(names))[paths[starts]]
        marks = {"s": np.clip(0.3 * spacing, 5, 9) ** 2, "linewidths": 1.5, "edgecolors": inks}
        self.starts_ = ax.scatter(*places[starts].T, facecolors=paper, zorder=4, **marks)
        self.ends_ = ax.scatter(*places[ends].T, facecolors=inks, zorder=5, **marks)

        self.color_bar_ = self.legend_ = None
        if names is not None:
            self.legend_ = drawing.add_class_legend(
                ax,
                names,
                drawing.class_colors(len(names)),
                grid,
                marks=[_mark("start", paper, ink), _mark("end", ink, ink)],
                is_own=is_own,
            )
        elif color_bar and clock[0] < clock[-1]:
            self.color_bar_ = add_time_bar(ax, self.visits_, self.times, drawing.is_wide(grid))
        anchors = [(visit_of[index], text) for index, text in (self.labels or {}).items()]
        if names is None:
            anchors = [(starts[0], "start"), (ends[0], "end"), *anchors]
        self.texts_ = place_labels(
            ax,
            places[[visit for visit, _ in anchors]],
            [text for _, text in anchors],
            things=seams.points_along(lines),
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _visits(
    bmus: NDArray[np.int64], codes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Merge consecutive samples of one unit, path by path.

    Returns
    -------
    firsts : ndarray of int64, shape (n_visits,)
        First sample of each visit.
    visit_of : ndarray of int64, shape (n_samples,)
        Visit of each sample.
    dwells : ndarray of int64, shape (n_visits,)
        Number of samples of each visit.
    """
    order = np.argsort(codes, kind="stable")
    units, paths = bmus[order], codes[order]
    is_first = np.r_[True, (units[1:] != units[:-1]) | (paths[1:] != paths[:-1])]
    visits = np.cumsum(is_first) - 1
    visit_of = np.empty_like(visits)
    visit_of[order] = visits
    return order[is_first], visit_of, np.bincount(visits)


def _lines(
    grid: Grid, units: NDArray[np.int64], places: NDArray, steps: NDArray[np.int64]
) -> tuple[list[NDArray], NDArray[np.int64]]:
    """Lines from visits to the next ones, and the visit at which each arrives.

    Parameters
    ----------
    grid : Grid
    units : ndarray of int64, shape (n_visits,)
    places : ndarray of shape (n_visits, 2)
    steps : ndarray of int64, shape (n_steps,)
        The visits to set out from.
    """
    laps = seams.laps(grid, units[steps], units[steps + 1])
    lines: list[NDArray] = []
    arrivals: list[int] = []
    for step, lap in zip(steps, laps, strict=True):
        ends = places[[step, step + 1]]
        pieces = seams.cut(grid, ends, units[[step, step + 1]], lap)
        lines += pieces
        arrivals += [int(step) + 1] * len(pieces)
    return lines, np.array(arrivals, dtype=np.int64)


def _draw_background(ax: Any, grid: Grid, values: NDArray | None) -> Any:
    """Draw the U-matrix in pale shades, from the background toward the ink; or outlines."""
    if values is None:
        return drawing.draw_outlines(ax, grid)
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    paper = np.array(to_rgb(ax.figure.figure.get_facecolor()))
    ink = np.array(to_rgb(drawing.import_pyplot().rcParams["text.color"]))
    shades = [paper + share * (ink - paper) for share in _SHADES]
    cmap = LinearSegmentedColormap.from_list("shades", shades)
    return drawing.draw_cells(ax, grid, values, cmap=cmap, zorder=0.5)


def _fading(colors: NDArray, paths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Color of each visit, (n_visits, 4): that of its path, the paler the earlier it is."""
    counts = np.bincount(paths, minlength=len(colors))
    rank = np.arange(len(paths)) - (np.cumsum(counts) - counts)[paths]
    faded = colors[paths]
    faded[:, 3] = 0.35 + 0.65 * rank / np.maximum(1, counts[paths] - 1)
    return faded


def _mark(name: str, face: Any, edge: Any) -> Any:
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 7, "label": name}
    return Line2D([], [], markerfacecolor=face, markeredgecolor=edge, **look)

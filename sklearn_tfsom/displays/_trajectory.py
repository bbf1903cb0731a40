"""Trajectories: the way that consecutive samples take over the map."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length

from sklearn_tfsom._grid import Grid
from sklearn_tfsom._validation import choice
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays import _reading as reading
from sklearn_tfsom.displays._labels import background_color, check_labels, place_labels
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

# Of a longer path texts look at so many points.
_MOST_THINGS = 5000


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
            times = _check_times(times, X)
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

        grid, names, n_samples = self.grid, self.group_names, len(self.bmus)
        if ax is None:
            room = 1.4 if color_bar else 0.3
            if names is not None:
                room = drawing.legend_room([*names, "start"])
            ax = drawing.new_map_axes(grid, room=room)
        self.cells_ = _draw_background(ax, grid, self.values)
        what = "Trajectory" if names is None else "Trajectories"
        samples = "sample" if n_samples == 1 else "samples"
        drawing.frame_map(ax, self.cells_, title=f"{what} of {n_samples:,} {samples}")

        clock = np.arange(n_samples) if self.times is None else _as_numbers(self.times)
        codes = np.zeros(n_samples, dtype=np.int64) if self.groups is None else self.groups
        firsts, visit_of, dwells = _visits(self.bmus, codes)
        units, paths = self.bmus[firsts], codes[firsts]
        places = grid.positions()[units] + drawing.spread_in_cells(units, _SPREAD)
        lines, arrivals = _lines(grid, units, places, np.flatnonzero(paths[1:] == paths[:-1]))
        if names is None:
            look = {"cmap": _time_colors(ax) if cmap is None else cmap, "norm": _norm(clock)}
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
            )
        elif color_bar and clock[0] < clock[-1]:
            self.color_bar_ = _add_time_bar(ax, self.visits_, self.times, drawing.is_wide(grid))
        anchors = [(visit_of[index], text) for index, text in (self.labels or {}).items()]
        if names is None:
            anchors = [(starts[0], "start"), (ends[0], "end"), *anchors]
        self.texts_ = place_labels(
            ax,
            places[[visit for visit, _ in anchors]],
            [text for _, text in anchors],
            things=_along(lines),
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _check_times(times: Any, X: Any) -> NDArray:
    """Return numbers or datetimes, one for each sample."""
    array = np.asarray(times)
    if array.dtype == object:  # datetimes of Python's own
        try:
            array = array.astype("datetime64[us]")
        except (TypeError, ValueError):
            pass
    is_number = array.dtype.kind in "iufM" and array.ndim == 1
    if (
        not is_number
        or (np.isnat(array) if array.dtype.kind == "M" else ~np.isfinite(array)).any()
    ):
        raise ValueError(
            "times must be an array-like of finite numbers or datetimes of shape (n_samples,). "
            f"Got an array of shape {array.shape} and dtype {array.dtype} instead."
        )
    check_consistent_length(X, array)
    return array


def _as_numbers(times: NDArray) -> NDArray[np.float64]:
    """Numbers as they are, datetimes in matplotlib's days."""
    if times.dtype.kind != "M":
        return times.astype(np.float64)
    from matplotlib.dates import date2num

    return date2num(times)


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
    laps = _laps(grid, units[steps], units[steps + 1])
    lines: list[NDArray] = []
    arrivals: list[int] = []
    for step, lap in zip(steps, laps, strict=True):
        ends = places[[step, step + 1]]
        pieces = _cut(grid, ends, units[[step, step + 1]], lap) if lap.any() else [ends]
        lines += pieces
        arrivals += [int(step) + 1] * len(pieces)
    return lines, np.array(arrivals, dtype=np.int64)


def _lap_vectors(grid: Grid) -> NDArray[np.float64]:
    """How far the map's image is moved by a lap along rows and by one across them, (2, 2)."""
    height = np.sqrt(3) / 2 if grid.is_hexagonal else 1.0
    # A hexagonal torus with an odd number of rows is joined with a shift.
    shift = 0.5 if grid.is_hexagonal and grid.n_rows % 2 else 0.0
    return np.array([[grid.n_columns, 0.0], [shift, grid.n_rows * height]])


def _laps(grid: Grid, units: NDArray, others: NDArray) -> NDArray[np.int64]:
    """Laps along rows and across them, (n, 2), on the shortest way; 0 unless a seam is crossed."""
    around = (-1, 0, 1) if grid.boundary != "planar" else (0,)
    over = (-1, 0, 1) if grid.boundary == "toroidal" and grid.n_rows > 1 else (0,)
    laps = np.array(sorted(itertools.product(around, over), key=lambda lap: (lap != (0, 0), lap)))
    positions = grid.positions()
    ways = (positions[others] - positions[units])[:, None] + laps @ _lap_vectors(grid)
    # Of equals the one within the map comes first, whatever rounding says.
    return laps[np.argmin(np.round(np.linalg.norm(ways, axis=2), 9), axis=1)]


def _cut(grid: Grid, ends: NDArray, units: NDArray, lap: NDArray) -> list[NDArray]:
    """Cut a line that crosses seams there, and bring the pieces back onto the map."""
    vectors = _lap_vectors(grid)
    start, way = ends[0], ends[1] + lap @ vectors - ends[0]
    # Rows of a hexagonal lattice end half a spacing apart: the edge is between those of the two.
    left = -0.5 + (np.mean(units // grid.n_columns % 2) / 2 if grid.is_hexagonal else 0.0)
    low = np.array([left, -vectors[1, 1] / 2 / grid.n_rows])
    seams = np.where(lap > 0, low + np.diag(vectors), low)
    backs = -lap[:, None] * vectors

    def share(k: int, seam: float) -> float:
        return float(np.clip((seam - start[k]) / way[k], 0, 1)) if way[k] else 0.5

    def pieces(*cuts: tuple[float, NDArray]) -> list[NDArray]:
        found, last, move = [], 0.0, np.zeros(2)
        for at, back in [*cuts, (1.0, np.zeros(2))]:
            if at > last:
                found.append(start + move + np.outer([last, at], way))
            last, move = at, move + back
        return found

    across, over = share(0, seams[0]), share(1, seams[1])
    if not lap.all():
        return pieces((across, backs[0]) if lap[0] else (over, backs[1]))
    # Behind a seam that is joined with a shift the other one is elsewhere: which is first?
    behind = share(0, seams[0] + lap[1] * vectors[1, 0])
    ways = [
        pieces((min(across, over), backs[0]), (over, backs[1])),
        pieces((over, backs[1]), (max(behind, over), backs[0])),
    ]
    middle = (grid.n_columns - 1 + grid.is_hexagonal / 2) / 2
    return min(ways, key=lambda lines: np.abs(np.array(lines)[:, :, 0] - middle).max())


def _along(lines: list[NDArray]) -> NDArray[np.float64]:
    """Points along the lines, not too many."""
    if not lines:
        return np.empty((0, 2))
    ends = np.array(lines[:: 1 + len(lines) // _MOST_THINGS])
    shares = np.linspace(0, 1, 5)[:, None]
    return (ends[:, :1] + shares * (ends[:, 1:] - ends[:, :1])).reshape(-1, 2)


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


def _time_colors(ax: Any) -> Any:
    """Return the part of viridis that stands out from the background."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, to_rgba_array

    is_light = drawing.readable_on(to_rgba_array(background_color(ax))) == ["black"]
    low, high = (0.0, 0.88) if is_light else (0.25, 1.0)
    return ListedColormap(colormaps["viridis"](np.linspace(low, high, 256)))


def _norm(clock: NDArray) -> Any:
    from matplotlib.colors import Normalize

    return Normalize(clock.min(), clock.max())


def _fading(colors: NDArray, paths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Color of each visit, (n_visits, 4): that of its path, the paler the earlier it is."""
    counts = np.bincount(paths, minlength=len(colors))
    rank = np.arange(len(paths)) - (np.cumsum(counts) - counts)[paths]
    faded = colors[paths]
    faded[:, 3] = 0.35 + 0.65 * rank / np.maximum(1, counts[paths] - 1)
    return faded


def _mark(name: str, face: Any, edge: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D(
        [],
        [],
        linestyle="none",
        marker="o",
        markersize=7,
        markerfacecolor=face,
        markeredgecolor=edge,
        label=name,
    )


def _add_time_bar(ax: Any, mappable: Any, times: NDArray | None, is_below: bool) -> Any:
    bar = drawing.add_color_bar(
        ax, mappable, "sample" if times is None else "time", is_below=is_below
    )
    if times is not None and times.dtype.kind == "M":
        from matplotlib.dates import AutoDateFormatter, AutoDateLocator

        bar.locator = AutoDateLocator()
        bar.formatter = AutoDateFormatter(bar.locator)
        bar.update_ticks()
    return bar

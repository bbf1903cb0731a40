"""The trajectory of consecutive samples on a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._classes import classes_of, is_missing
from sklearn_tfsom._data.foreign import as_array
from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._validation import choice
from sklearn_tfsom.displays import _base as base
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays._colors import class_colors
from sklearn_tfsom.displays._labels import place_labels
from sklearn_tfsom.displays._legends import add_class_legend, marker_handle
from sklearn_tfsom.displays._periodic import points_along, shortest_lines
from sklearn_tfsom.displays._times import (
    add_time_colorbar,
    as_times,
    time_colormap,
    times_as_numbers,
)
from sklearn_tfsom.metrics import u_matrix

_BACKGROUNDS = ("u_matrix", "outlines")

# Shades of the lowest and the highest U-matrix value: shares of the text color in the background.
_SHADES = 0.06, 0.42

# Largest diameter of a dot, in points.
_MAX_DOT = 14.0

# Width of the borders between clusters, in points.
_MAX_BORDER_WIDTH = 1.2

# Number of lines up to which they are opaque.
_MAX_OPAQUE_LINES = 1000

# Number of lines or dots up to which they are vectors in a file, rather than pixels.
_MAX_VECTORS = 5000


class Visits(NamedTuple):
    """Visits: runs of consecutive samples of one path in one unit, ordered by path."""

    first_samples: NDArray[np.int64]  # (n_visits,)
    n_samples: NDArray[np.int64]  # (n_visits,)
    of_samples: NDArray[np.int64]  # (n_samples,), visit of each sample
    units: NDArray[np.int64]  # (n_visits,)
    paths: NDArray[np.int64]  # (n_visits,)
    is_start: NDArray[np.bool_]  # (n_visits,), whether the visit is the first one of its path
    is_end: NDArray[np.bool_]  # (n_visits,), whether the visit is the last one of its path


@base.documented
@dataclass(eq=False, repr=False)
class TrajectoryDisplay(base.Display):
    """Trajectory: path of consecutive samples, such as a time series, across the map.

    Lines connect the best-matching units of consecutive samples, colored by time. Each visit to a
    unit is a dot in its cell, larger for more samples. Lines across a joined boundary leave the
    map on one side and enter it on the other. Create it with `from_estimator`.

    Read more in the :ref:`User Guide <guide_displays>`.

    Parameters
    ----------
    bmus : ndarray of int, shape (n_samples,)
        Unit of each sample, ordered by time.

    %(grid)s

    times : ndarray of shape (n_samples,), default=None
        Numbers or datetimes in ascending order, None for the sample indices.

    groups : ndarray of int, shape (n_samples,), default=None
        Path of each sample, as an index of `group_names`, None for a single path.

    group_names : sequence of str, default=None
        Names of the paths, for the legend.

    labels : dict of int to str, default=None
        Texts beside samples, by sample index.

    values : ndarray of shape (n_rows, n_columns), default=None
        U-matrix to draw as the background, None for outlines of the cells.

    %(cluster_labels)s

    Attributes
    ----------
    %(ax_, figure_, cells_, borders_)s

    path_ : matplotlib LineCollection
        One line for each step to another unit, two or three for a step across joined boundaries.

    visits_ : matplotlib PathCollection
        One dot for each run of consecutive samples in one unit.

    starts_ : matplotlib PathCollection
        Start of each path, hollow.

    ends_ : matplotlib PathCollection
        End of each path, filled.

    texts_ : list of matplotlib Annotation
        Labels of samples, and "start" and "end" of a single path.

    colorbar_ : matplotlib Colorbar or None
        Color bar of the times, None for several paths or a single time.

    %(legend_)s

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

    bmus: NDArray[np.int64]
    grid: Grid
    _: KW_ONLY
    times: NDArray | None = None
    groups: NDArray[np.int64] | None = None
    group_names: Sequence[str] | None = None
    labels: Mapping[int, str] | None = None
    values: NDArray | None = None
    cluster_labels: NDArray | None = None

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
        colorbar: bool = True,
    ) -> Self:
        """Compute and draw the path of samples across a fitted map.

        Parameters
        ----------
        %(estimator, X)s

        y : None
            Ignored, present for API consistency.

        times : array-like of shape (n_samples,), default=None
            Numbers or datetimes that order the samples, None if `X` is ordered by time. Datetimes
            of a time zone are shown in UTC.

        groups : array-like of shape (n_samples,), default=None
            Path of each sample. Each path has a color that fades toward its start.

        %(labels)s

        background : {"u_matrix", "outlines"}, default="u_matrix"
            Background of the path: shades of the U-matrix, or outlines of the cells.

        %(plot_parameters)s

        %(returns)s
        """
        cls._check_parameter("background", background, choice(_BACKGROUNDS))
        (_, som), X = cls._unwrap(estimator, X)
        samples = som._check_data(X)
        texts = cls._check_labels(labels, len(samples))
        names, codes = None, None
        if groups is not None:
            classes = classes_of(
                groups, len(samples), cls.__name__, name="groups", are_identifiers=True
            )
            names, codes = classes.names, classes.codes
        if times is not None:
            times = cls._check_times(times, len(samples))
        bmus = som._nearest(samples)[:, 0]
        if times is not None:
            order = np.argsort(times, kind="stable")
            rank = np.argsort(order)
            bmus, times = bmus[order], times[order]
            codes = None if codes is None else codes[order]
            texts = {int(rank[index]): text for index, text in texts.items()}
        display = cls(
            bmus,
            grid_of(som),
            times=times,
            groups=codes,
            group_names=names,
            labels=texts,
            values=u_matrix(som) if background == "u_matrix" else None,
            cluster_labels=base.cluster_labels(som),
        )
        return display.plot(ax=ax, cmap=cmap, colorbar=colorbar)

    @classmethod
    def _check_times(cls, times: Any, n_samples: int) -> NDArray:
        """Return the time of each sample."""
        values = as_times(times)
        if values is None or len(values) != n_samples:
            given = np.asarray(as_array(times, "times"))
            right = f"an array-like of numbers up to {drawing.LARGEST_SHOWN:.2g} in magnitude, or "
            right += f"of datetimes in the years 1 to 9999, of shape ({n_samples},)"
            came = f"an array of shape {given.shape} and dtype {given.dtype}"
            (missing,) = np.nonzero([is_missing(each) for each in given.flat])
            if len(missing):
                came += f", without a time at index {missing[0]}"
            raise cls._wrong_parameter("times", right, came)
        return values

    def plot(self, *, ax: Any = None, cmap: Any = None, colorbar: bool = True) -> Self:
        """Draw the path.

        Parameters
        ----------
        %(ax)s

        cmap : str or Colormap, default=None
            Colormap of the times of a single path, None for the part of "viridis" that contrasts
            with the background.

        colorbar : bool, default=True
            Whether to add a color bar of the times of a single path.

        %(returns)s
        """
        grid, names, n_samples = self.grid, self.group_names, len(self.bmus)
        is_new = ax is None
        if is_new:
            ax = drawing.new_map_axes(grid, margin=1.4 if colorbar and names is None else 0.3)
        path, samples = "Trajectory", "sample" if n_samples == 1 else "samples"
        path = path if names is None else "Trajectories"
        drawing.set_map_limits(ax, grid, title=f"{path} of {n_samples:,} {samples}")
        self.cells_ = _draw_background(ax, grid, self.values)
        self.borders_ = drawing.draw_borders(
            ax, grid, self.cluster_labels, drawing.text_color(), max_width=_MAX_BORDER_WIDTH
        )
        codes = np.zeros(n_samples, dtype=np.int64) if self.groups is None else self.groups
        times = np.arange(n_samples) if self.times is None else times_as_numbers(self.times)
        visits = _find_visits(self.bmus, codes)
        points = grid.positions()[visits.units] + drawing.spread_in_cells(visits.units)
        steps = np.flatnonzero(~visits.is_end)
        lines, targets = shortest_lines(grid, visits.units, points, steps)
        spacing = drawing.points_per_spacing(ax)
        colors, style = self._visit_colors(ax, visits, times, cmap)
        self.path_ = _draw_lines(ax, lines, colors[targets], spacing, style)
        self.visits_ = _draw_dots(ax, visits, points, colors, spacing, style)
        self.starts_, self.ends_ = self._draw_ends(ax, visits, points, spacing)

        self.colorbar_ = self.legend_ = None
        if names is not None:
            color, background = drawing.text_color(), drawing.background_color(ax)
            handles = [
                marker_handle("start", "o", background, color),
                marker_handle("end", "o", color, color),
            ]
            self.legend_ = add_class_legend(ax, names, grid, handles=handles, grow_figure=is_new)
        elif colorbar and times[0] < times[-1]:
            self.colorbar_ = add_time_colorbar(ax, self.visits_, self.times, grid)
        texts = [(visits.of_samples[index], text) for index, text in (self.labels or {}).items()]
        if names is None:
            texts = [(0, "start"), (len(points) - 1, "end"), *texts]
        anchors = points[[visit for visit, _ in texts]]
        self.texts_ = place_labels(
            ax, anchors, [text for _, text in texts], obstacles=points_along(lines)
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _visit_colors(
        self, ax: Any, visits: Visits, times: NDArray, cmap: Any
    ) -> tuple[NDArray, dict[str, Any]]:
        """Return the times of the visits and their colormap, or fading colors of several paths."""
        from matplotlib.colors import Normalize

        if self.group_names is not None:
            colors = class_colors(len(self.group_names))[visits.paths]
            counts = np.bincount(visits.paths)
            rank = np.arange(len(colors)) - (np.cumsum(counts) - counts)[visits.paths]
            # The earlier a visit, the more transparent.
            colors[:, 3] = 0.35 + 0.65 * rank / np.maximum(1, counts[visits.paths] - 1)
            return colors, {}
        cmap = time_colormap(ax) if cmap is None else cmap
        style = {"cmap": cmap, "norm": Normalize(times.min(), times.max())}
        return times[visits.first_samples], style

    def _draw_ends(
        self, ax: Any, visits: Visits, points: NDArray, spacing: float
    ) -> tuple[Any, Any]:
        """Draw the starts and the ends of the paths."""
        colors = drawing.text_color()
        if self.group_names is not None:
            paths = visits.paths[visits.is_start]
            colors = class_colors(len(self.group_names))[paths]
        style = {"s": np.clip(0.3 * spacing, 5, 9) ** 2, "linewidths": 1.5, "edgecolors": colors}
        starts, ends = points[visits.is_start], points[visits.is_end]
        background = drawing.background_color(ax)
        return (
            ax.scatter(*starts.T, facecolors=background, zorder=4, **style),
            ax.scatter(*ends.T, facecolors=colors, zorder=5, **style),
        )


def _find_visits(bmus: NDArray[np.int64], codes: NDArray[np.int64]) -> Visits:
    """Merge consecutive samples of one path in one unit into visits."""
    order = np.argsort(codes, kind="stable")
    units, paths = bmus[order], codes[order]
    is_start = np.r_[True, paths[1:] != paths[:-1]]
    is_first = is_start | np.r_[True, units[1:] != units[:-1]]
    visits = np.cumsum(is_first) - 1
    of_samples = np.empty_like(visits)
    of_samples[order] = visits
    is_start = is_start[is_first]
    return Visits(
        first_samples=order[is_first],
        n_samples=np.bincount(visits),
        of_samples=of_samples,
        units=units[is_first],
        paths=paths[is_first],
        is_start=is_start,
        is_end=np.r_[is_start[1:], True],
    )


def _line_width(spacing: float) -> float:
    """Return the width of lines in points, for a lattice spacing in points."""
    return float(np.clip(0.035 * spacing, 0.5, 1.6))


def _draw_lines(
    ax: Any, lines: list[NDArray], colors: NDArray, spacing: float, style: dict[str, Any]
) -> Any:
    """Draw lines in colors, shape (n_lines, 4), or in the colors of values, shape (n_lines,)."""
    style = {"array" if colors.ndim == 1 else "colors": colors} | style
    if colors.ndim == 1 and len(lines) > _MAX_OPAQUE_LINES:
        style["alpha"] = max(0.3, (_MAX_OPAQUE_LINES / len(lines)) ** 0.3)
    return drawing.draw_lines(
        ax,
        lines,
        linewidths=_line_width(spacing),
        capstyle="round",
        rasterized=len(lines) > _MAX_VECTORS,
        zorder=2,
        **style,
    )


def _draw_dots(
    ax: Any,
    visits: Visits,
    points: NDArray,
    colors: NDArray,
    spacing: float,
    style: dict[str, Any],
) -> Any:
    """Draw a dot for each visit, with an area proportional to its number of samples."""
    # Small enough for the cell with the most visits.
    max_visits = np.bincount(visits.units).max()
    size = spacing * min(0.09, 0.7 * drawing.SPREAD * np.sqrt(np.pi / max_visits))
    size = max(_line_width(spacing), size)
    max_size = max(size, min(0.25 * spacing, _MAX_DOT))
    return ax.scatter(
        *points.T,
        s=np.minimum(size**2 * visits.n_samples, max_size**2),
        c=colors,
        linewidths=0,
        rasterized=len(points) > _MAX_VECTORS,
        zorder=3,
        **style,
    )


def _draw_background(ax: Any, grid: Grid, values: NDArray | None) -> Any:
    """Draw shades of the U-matrix, between background and text color, or outlines of the cells."""
    if values is None:
        return drawing.draw_outlines(ax, grid)
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    background = np.array(drawing.background_color(ax))
    color = np.array(to_rgb(drawing.text_color()))
    shades = [background + share * (color - background) for share in _SHADES]
    cmap = LinearSegmentedColormap.from_list("shades", shades)
    cells = drawing.draw_cells(ax, grid, values, cmap=cmap, zorder=0.5)
    cells.set_clim(*drawing.robust_limits(values)[:2])
    return cells

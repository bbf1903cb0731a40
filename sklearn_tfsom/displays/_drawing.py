"""Drawing of maps: axes, cells, borders, texts and color bars.

Row 0 is at the top, as in a printed array. Lengths are in lattice spacings.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom.displays._colors import contrasting_colors

# Font sizes of texts in cells, in points. Smaller texts are not drawn.
_MIN_FONT_SIZE, _MAX_FONT_SIZE = 6.0, 16.0

# Number of texts that are measured, the longest ones, to find the widest.
_N_MEASURED_TEXTS = 50

# Extent of a color scale beyond the quartiles, in interquartile ranges. If more than one value of
# 20 would be beyond an end of it, it goes on to all but these, but at most ten times as far.
_WHISKERS, _VALUES_PER_OUTLIER, _FARTHEST = 3.0, 20, 10

# Quotients that are rounding errors, and an extent that is negligible beside the range of 90 % of
# the values: most of them are equal then.
_ROUNDING, _NEGLIGIBLE = 1e-9, 1e-6

# Largest magnitude of numbers on a color scale: multiples of their differences are computed.
LARGEST_SHOWN = float(np.finfo(np.float64).max) / 8

# Largest distance of a mark from its unit, in lattice spacings.
SPREAD = 0.33


def import_pyplot() -> Any:
    """Return matplotlib.pyplot."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Displays need matplotlib. Install it with: pip install 'sklearn-tfsom[plot]'"
        ) from error
    return plt


def text_color() -> Any:
    """Return the color of texts in matplotlib's current style."""
    return import_pyplot().rcParams["text.color"]


def background_color(ax: Any) -> tuple[float, ...]:
    """Return the color (red, green, blue) behind what is drawn on axes."""
    from matplotlib.colors import to_rgb, to_rgba_array

    # A transparent figure is on a page of which only the color of its texts is known.
    color = np.array(to_rgb(contrasting_colors(to_rgba_array(text_color()))[0]))
    # ax.figure is the subfigure of an axes in one, and its figure the whole figure.
    for part in dict.fromkeys([ax.figure.figure, ax.figure, *[ax] * ax.axison]):
        *face, alpha = part.patch.get_facecolor()
        alpha *= part.patch.get_visible()
        color = alpha * np.array(face) + (1 - alpha) * color
    return tuple(color.tolist())


def cell_corners(grid: Grid) -> NDArray[np.float64]:
    """Return the corners of a cell around the origin, shape (n_corners, 2).

    The edge toward neighbor i, in the order of `Grid.neighbors`, lies between corners i - 1 and i.
    """
    n = 6 if grid.is_hexagonal else 4
    angles = np.pi / n + 2 * np.pi / n * np.arange(n)
    return np.column_stack([np.cos(angles), np.sin(angles)]) / (2 * np.cos(np.pi / n))


def _all_corners(grid: Grid) -> NDArray[np.float64]:
    """Return the corners of all cells, shape (n_units * n_corners, 2)."""
    return (grid.positions()[:, None] + cell_corners(grid)).reshape(-1, 2)


def map_size(grid: Grid) -> tuple[float, float]:
    """Return the width and height of a map with its cells."""
    width, height = np.ptp(_all_corners(grid), axis=0)
    return float(width), float(height)


def is_wide(grid: Grid) -> bool:
    """Return True if color bars and legends belong below the map rather than beside it."""
    width, height = map_size(grid)
    return width > 2.5 * height


def is_constant(values: NDArray) -> bool:
    """Return True if there are finite values, and they are equal within rounding."""
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    known = values[np.isfinite(values)]
    eps = np.finfo(values.dtype).eps
    return bool(len(known) and np.ptp(known) <= 8 * eps * np.abs(known).max())


def robust_limits(
    values: ArrayLike, clim: tuple[float, float] | None = None
) -> tuple[float, float, str]:
    """Return limits of a color scale that outliers do not stretch, and how a color bar extends.

    They are those that are given, if any. As the whiskers of a box plot, they are the outermost
    values within three times the distance of the quartiles from these. If more than 5 % of the
    values would lie beyond a limit, it is farther out, but within thirty times that distance. If
    the quartiles are about equal, all values are within the limits. The scale is centered on the
    value of a constant.
    """
    values = np.asarray(values)
    known = values.astype(np.float64)
    known = np.sort(known[np.isfinite(known)])
    if not len(known):
        low, high = (0.0, 1.0) if clim is None else clim
        return low, high, "neither"
    low, high = float(known[0]), float(known[-1])
    if clim is not None:
        lowest, highest = map(float, clim)
    elif is_constant(values):
        largest = float(np.finfo(np.float64).max)
        margin = min(abs(low) or 1.0, largest - abs(low), largest - abs(high))
        lowest, highest = low - margin, high + margin
    else:
        lowest, highest = _without_outliers(known)
    beyond = low < lowest, high > highest
    names = {(False, False): "neither", (True, False): "min", (False, True): "max"}
    return lowest, highest, names.get(beyond, "both")


def _without_outliers(ordered: NDArray[np.float64]) -> tuple[float, float]:
    """Return the lowest and the highest of values in order that are no outliers."""
    low, high = float(ordered[0]), float(ordered[-1])
    first, third = map(float, np.quantile(ordered, [0.25, 0.75]))
    n_outliers = len(ordered) // _VALUES_PER_OUTLIER
    lowest, highest = float(ordered[n_outliers]), float(ordered[-1 - n_outliers])
    reach = _WHISKERS * (third - first)
    rounding = _ROUNDING * max(abs(first), abs(third))
    if reach <= max(rounding, _NEGLIGIBLE * (highest - lowest)):
        return low, high
    lowest = max(min(first - reach, lowest), first - _FARTHEST * reach)
    highest = min(max(third + reach, highest), third + _FARTHEST * reach)
    inside = ordered[(ordered >= lowest) & (ordered <= highest)]
    return float(inside[0]), float(inside[-1])


def rounded(value: float, value_range: float) -> str:
    """Return a number with the digits that tell values of a range apart, 0 for a rounding error.

    There are three digits, and six without a range, or more if values are large compared with
    their range. Numbers below a million have no exponent.
    """
    value_range = value_range if np.isfinite(value_range) else 0.0
    if abs(value) <= _ROUNDING * value_range:
        return "0"
    n_digits = 6
    if value_range > 0 and np.isfinite(value):
        n_larger = math.floor(math.log10(abs(value)) - math.log10(value_range))
        n_digits = min(15, 3 + max(0, n_larger))
    number = float(f"{value:.{n_digits}g}")
    return with_minus(f"{number:.{max(n_digits, 6)}g}")


def with_minus(text: str) -> str:
    """Replace hyphens by minus signs."""
    return text.replace("-", "\N{MINUS SIGN}")


def new_map_axes(grid: Grid, *, margin: float = 0.3) -> Any:
    """Return the axes of a new figure in the shape of the map.

    `margin` is the space beside the map, or below a wide one, in inches: a color bar needs 1.4.
    """
    width, height = map_size(grid)
    scale = min(5.5 / height, 7.0 / width)
    width, height = max(width * scale, 1.2), max(height * scale, 0.6)
    # A color bar needs less space below the map than beside it.
    beside, below = (0.3, min(margin, 0.8)) if is_wide(grid) else (margin, 0.3)
    figsize = (max(width + beside, 3.0), height + below + 0.3)
    _, ax = import_pyplot().subplots(figsize=figsize, layout="constrained")
    # Layout engines reserve space for a title only above the place of the map.
    ax.set_anchor("N")
    return ax


def lines_of(name: str, n_letters: int) -> list[str]:
    """Break a name into at most two lines of some letters; leave out the middle of a longer one.

    Long names often begin alike.
    """
    # Names may be broken after "_" and "/", too.
    words = re.sub(r"(?<=[_/])", " ", name)
    lines = [re.sub(r"(?<=[_/]) ", "", line) for line in textwrap.wrap(words, n_letters)]
    if len(lines) > 2:
        lines[1:] = ["\N{HORIZONTAL ELLIPSIS}" + name.rstrip()[1 - n_letters :].lstrip()]
    return lines or [name]


def fit_text(text: Any, length: float, *, slack: float = 1.0) -> None:
    """Break a title or a label longer than a length in points into at most two lines.

    It is broken before a parenthesis if both lines are shorter than the length times `slack`.
    """
    measured = max(text.get_window_extent().size) * 72 / text.figure.dpi
    if measured <= length:
        return
    name = text.get_text()
    n_letters = int(len(name) * length / measured)
    lines = name.replace(" (", "\n(").split("\n")
    if len(lines) != 2 or max(map(len, lines)) > slack * n_letters:
        lines = lines_of(name, max(4, n_letters))
    text.set_text("\n".join(lines))


def set_map_limits(ax: Any, cells: Any, *, title: str = "") -> None:
    """Show all cells, of a grid or a collection, with equal scales and row 0 at the top."""
    if isinstance(cells, Grid):
        corners = _all_corners(cells)
    else:
        corners = np.concatenate([path.vertices for path in cells.get_paths()])
    (left, top), (right, bottom) = corners.min(axis=0) - 0.1, corners.max(axis=0) + 0.1
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize="medium", parse_math=False)
        # A color bar moves the map, and its title with it, out of the middle.
        fit_text(ax.title, 0.9 * axes_size(ax)[0])


def draw_cells(
    ax: Any,
    grid: Grid,
    values: ArrayLike | None = None,
    *,
    positions: NDArray | None = None,
    size: ArrayLike = 1.0,
    **style: Any,
) -> Any:
    """Draw cells centered on `positions`, shape (n_cells, 2), as one collection.

    The positions are those of the units by default. `values`, shape (n_cells,), are shown as
    colors, `size` is the width of all cells or of each, and `style` contains properties of the
    collection.
    """
    centers = grid.positions() if positions is None else positions
    # Edges in the color of the cell: otherwise the background shines through between cells.
    style = {"edgecolors": "face", "linewidths": 0.3} | style
    corners = np.reshape(size, (-1, 1, 1)) * cell_corners(grid)
    cells = draw_polygons(ax, centers[:, None] + corners, **style)
    if values is not None:
        cells.set_array(np.ravel(values))
    return cells


def draw_polygons(ax: Any, polygons: Iterable[NDArray], **style: Any) -> Any:
    """Draw polygons as one collection."""
    from matplotlib.collections import PolyCollection

    return ax.add_collection(PolyCollection(list(polygons), **({"linewidths": 0} | style)))


def draw_lines(ax: Any, lines: Iterable[NDArray], **style: Any) -> Any:
    """Draw lines as one collection."""
    from matplotlib.collections import LineCollection

    return ax.add_collection(LineCollection(list(lines), **style))


def draw_outlines(ax: Any, grid: Grid) -> Any:
    """Draw thin outlines of the cells as one collection."""
    return draw_cells(
        ax, grid, facecolors="none", edgecolors="0.5", linewidths=0.4, alpha=0.5, zorder=0.5
    )


def _border_segments(grid: Grid, labels: NDArray) -> NDArray[np.float64]:
    """Return the edges between cells of different labels, shape (n_edges, 2, 2).

    An edge at a joined boundary of the map appears on both sides. Units without a label, -1, have
    no borders.
    """
    neighbors, positions, corners = grid.neighbors(), grid.positions(), cell_corners(grid)
    units = np.arange(grid.n_units)
    segments = []
    for step in range(neighbors.shape[1]):
        others = neighbors[:, step]
        edge = corners[[step - 1, step]]
        is_border = (others >= 0) & (labels[others] != labels)
        is_border &= np.minimum(labels[others], labels) >= 0
        # Adjacent cells share their edge: draw it once. Cells at a joined boundary do not.
        adjacent = positions + 2 * edge.mean(axis=0)
        is_border &= (units < others) | ~np.isclose(positions[others], adjacent).all(axis=1)
        segments.append(positions[is_border][:, None] + edge)
    return np.concatenate(segments)


def draw_borders(
    ax: Any, grid: Grid, labels: NDArray | None, color: Any, *, max_width: float = 2.0
) -> Any:
    """Draw the borders between units of different labels as one collection.

    Lines are thinner on maps with small cells, and at most `max_width` points wide. Return None
    without labels.
    """
    if labels is None:
        return None
    width = min(np.clip(0.1 * approximate_spacing(ax, grid), 0.4, 2.0), max_width)
    segments = _border_segments(grid, labels)
    return draw_lines(ax, segments, colors=[color], linewidths=width, capstyle="round")


def draw_cell_texts(
    ax: Any,
    positions: NDArray,
    texts: Sequence[str],
    cell_colors: NDArray,
    *,
    size: float = 1.0,
) -> list[Any]:
    """Write texts into cells, black or white depending on the color of the cell.

    Cells have `positions`, shape (n_cells, 2), `texts`, "" for none, `cell_colors`, shape
    (n_cells, 3 or 4), and the width `size`. All texts have the same font size, for which the
    longest fits into a cell. Nothing is drawn if that size is too small to read. The axes must
    have their final limits.
    """
    if not any(texts):
        return []
    longest = sorted(set(texts), key=len)[-_N_MEASURED_TEXTS:]
    sizes = [text_size(ax, text, fontsize=10, parse_math=False) for text in longest]
    width, height = np.max(sizes, axis=0) / (ax.figure.dpi / 72) / 10  # in font sizes
    font_size = size * points_per_spacing(ax) * min(0.5, 0.8 / width, 0.75 / height)
    if font_size < _MIN_FONT_SIZE:
        return []
    style = {"ha": "center", "va": "center_baseline", "parse_math": False}
    style["fontsize"] = min(font_size, _MAX_FONT_SIZE)
    colors = contrasting_colors(cell_colors)
    return [
        ax.text(x, y, text, color=color, **style)
        for (x, y), text, color in zip(positions, texts, colors, strict=True)
        if text
    ]


def text_size(ax: Any, text: str, **style: Any) -> NDArray[np.float64]:
    """Return the width and height of a text in pixels."""
    probe = ax.text(0, 0, text, **style)
    size = probe.get_window_extent().size
    probe.remove()
    return size


def axes_size(ax: Any) -> NDArray[np.float64]:
    """Return the width and height of axes in points, before the layout is run."""
    return ax.get_position(original=True).size * ax.figure.bbox.size * 72 / ax.figure.dpi


def approximate_spacing(ax: Any, grid: Grid) -> float:
    """Return the approximate size of a lattice spacing in points, before the layout is run."""
    return float(np.min(axes_size(ax) / map_size(grid)))


def points_per_spacing(ax: Any) -> float:
    """Run the layout, and return the size of a lattice spacing in points."""
    ax.figure.figure.draw_without_rendering()
    (left, _), (right, _) = ax.transData.transform([(0, 0), (1, 0)])
    return float(abs(right - left) * 72 / ax.figure.dpi)


def add_colorbar(
    ax: Any, mappable: Any, label: str, grid: Grid, *, extend: str = "neither"
) -> Any:
    """Add a color bar as long as the side of the map, below a wide map and beside any other."""
    is_below = is_wide(grid)
    location = "bottom" if is_below else "right"
    style = {"pad": 0.03, "aspect": 30, "extend": extend}
    # On other axes than those of `new_map_axes` a wide map is next to its color bar.
    style["panchor"] = "N" if ax.get_anchor() == "N" else "S" if is_below else "C"
    bar = ax.figure.colorbar(mappable, ax=ax, location=location, **style)
    bar.set_label(label, parse_math=False)
    axis = bar.ax.xaxis if is_below else bar.ax.yaxis
    # Layout engines make more room for maps than there is now.
    fit_text(axis.label, axes_size(ax)[0 if is_below else 1], slack=1.5)
    bar.outline.set_visible(False)

    ends = [extend in (end, "both") for end in ("min", "max")]
    bar.ax.set_axes_locator(_BesideMap(ax, is_below, 0.05 * np.array(ends)))
    return bar


class _BesideMap(NamedTuple):
    """The place of a color bar; a class, so that a figure can be pickled.

    Axes of equal aspect shrink when they are drawn, but their color bar does not. Layout engines
    reset its aspect, so it is removed here.
    """

    ax: Any
    is_below: bool
    ends: NDArray[np.float64]  # lengths of the triangles at both ends, relative to the bar's own

    def __call__(self, bar_ax: Any, renderer: Any) -> Any:
        from matplotlib.transforms import Bbox

        bar_ax.set_box_aspect(None)
        locator = self.ax.get_axes_locator()
        self.ax.apply_aspect(locator(self.ax, renderer) if locator else None)
        (left, bottom), (right, top) = self.ax.get_position().get_points()
        # The triangles reach beyond the axes; with them the bar is as long as the map.
        first, last = self.ends / (1 + self.ends.sum())
        if self.is_below:
            own, length = bar_ax.get_position(original=True), right - left
            return Bbox([[left + first * length, own.y0], [right - last * length, own.y1]])
        inch = 1 / self.ax.figure.bbox.width * self.ax.figure.dpi
        bottom, top = bottom + first * (top - bottom), top - last * (top - bottom)
        return Bbox([[right + 0.1 * inch, bottom], [right + 0.22 * inch, top]])

    def get_subplotspec(self) -> Any:
        """Return the place of the map in its figure, for `tight_layout`."""
        return self.ax.get_subplotspec()


def spread_in_cells(units: NDArray) -> NDArray[np.float64]:
    """Return offsets from their `units` that keep points in one cell apart, shape (n_points, 2).

    A single point is at the center, up to five are on a ring, and more on a sunflower spiral.
    """
    counts = np.bincount(units)
    order = np.argsort(units, kind="stable")
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - (np.cumsum(counts) - counts)[units[order]]
    n_points = counts[units]
    is_ring = n_points <= 5
    golden_angle = np.pi * (3 - np.sqrt(5))
    angles = np.where(is_ring, 2 * np.pi / n_points, golden_angle) * ranks
    lengths = np.where(is_ring, 0.65, np.sqrt((ranks + 0.5) / n_points)) * (n_points > 1)
    return SPREAD * lengths[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])

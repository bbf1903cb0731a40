"""What all displays draw with: cells, borders, texts, color bars, legends.

Maps are drawn as their arrays are printed: row 0 at the top. Lengths are in lattice spacings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom.displays import _legends as legends

# Below this many points a text in a cell is not written: it could not be read.
_SMALLEST_FONT = 6.0
_LARGEST_FONT = 16.0

# So many of the longest texts are measured, to find the widest.
_MOST_MEASURED = 50

# For ten classes: M. A. Petroff (2021), "Accessible color sequences for data visualization",
# chosen for people who see fewer colors, too.
_TEN_COLORS = (
    "#3f90da #ffa90e #bd1f01 #94a4a2 #832db6 #a96b59 #e76300 #b9ac70 #717581 #92dadd".split()
)


def import_pyplot() -> Any:
    """Return matplotlib.pyplot."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Displays need matplotlib. Install it with: pip install 'sklearn-tfsom[plot]'"
        ) from error
    return plt


def cell_corners(is_hexagonal: bool) -> NDArray[np.float64]:
    """Corners of a cell around its unit, (n_corners, 2).

    The edge toward the i-th neighbor, in the order of `Grid.neighbors`, lies between the corners
    i - 1 and i.
    """
    n = 6 if is_hexagonal else 4
    angles = np.pi / n + 2 * np.pi / n * np.arange(n)
    return np.column_stack([np.cos(angles), np.sin(angles)]) / (2 * np.cos(np.pi / n))


def map_size(grid: Grid) -> tuple[float, float]:
    """Width and height of a map's picture, in lattice spacings."""
    corners = (grid.positions()[:, None] + cell_corners(grid.is_hexagonal)).reshape(-1, 2)
    width, height = np.ptp(corners, axis=0)
    return float(width), float(height)


def new_map_axes(grid: Grid, *, room: float = 1.4) -> Any:
    """Return the axes of a new figure that has a map's shape, and inches of room beside it."""
    width, height = map_size(grid)
    scale = min(5.5 / height, 7.0 / width)
    width, height = max(width * scale, 1.2), max(height * scale, 0.6)
    # What stands below a wide map takes less: a color bar with its ticks and label.
    beside, below = (0.3, min(room, 0.8)) if is_wide(grid) else (room, 0.3)
    figsize = (max(width + beside, 3.0), height + below + 0.3)
    _, ax = import_pyplot().subplots(figsize=figsize, layout="constrained")
    return ax


def is_wide(grid: Grid) -> bool:
    """Whether what belongs to a map has more room below than beside it."""
    width, height = map_size(grid)
    return width > 2.5 * height


def frame_map(ax: Any, cells: Any, *, title: str = "") -> None:
    """Fit axes around cells, or a grid's: one scale both ways, row 0 at the top, no ticks."""
    if isinstance(cells, Grid):
        around = cells.positions()[:, None] + cell_corners(cells.is_hexagonal)
        corners = around.reshape(-1, 2)
    else:
        corners = np.concatenate([path.vertices for path in cells.get_paths()])
    (left, top), (right, bottom) = corners.min(axis=0) - 0.1, corners.max(axis=0) + 0.1
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize="medium")


def draw_cells(
    ax: Any,
    grid: Grid,
    values: ArrayLike | None = None,
    *,
    positions: NDArray | None = None,
    size: float = 1.0,
    **style: Any,
) -> Any:
    """Draw a cell for each unit as one collection.

    Parameters
    ----------
    ax : matplotlib Axes
    grid : Grid
    values : array-like of shape (n_cells,), default=None
        What the colors show.
    positions : ndarray of shape (n_cells, 2), default=None
        Middles of the cells; None is the units' places.
    size : float, default=1
        Of a cell, in lattice spacings.
    **style
        For the collection.

    Returns
    -------
    cells : matplotlib PolyCollection
    """
    middles = grid.positions() if positions is None else positions
    corners = size * cell_corners(grid.is_hexagonal)
    # Edges in the color of the face, or else the background shines through between the cells.
    style = {"edgecolors": "face", "linewidths": 0.3} | style
    cells = draw_shapes(ax, list(middles[:, None] + corners), **style)
    if values is not None:
        cells.set_array(np.ravel(values))
    return cells


def draw_shapes(ax: Any, shapes: list[NDArray], **style: Any) -> Any:
    """Draw polygons as one collection."""
    from matplotlib.collections import PolyCollection

    return ax.add_collection(PolyCollection(shapes, **({"linewidths": 0} | style)))


def draw_outlines(ax: Any, grid: Grid) -> Any:
    """Draw the cells' outlines, faintly, as one collection."""
    return draw_cells(
        ax, grid, facecolors="none", edgecolors="0.5", linewidths=0.4, alpha=0.5, zorder=0.5
    )


def border_segments(grid: Grid, labels: NDArray) -> NDArray[np.float64]:
    """Edges between cells of different labels, (n_edges, 2, 2); at a seam one on either side.

    There is none where one of the two has no label, -1.
    """
    neighbors = grid.neighbors()
    corners = cell_corners(grid.is_hexagonal)
    positions = grid.positions()
    units = np.arange(grid.n_units)
    segments = []
    for step in range(neighbors.shape[1]):
        others = neighbors[:, step]
        edge = corners[[step - 1, step]]
        is_border = (others >= 0) & (labels[others] != labels)
        is_border &= np.minimum(labels[others], labels) >= 0
        # Two units that touch have their edge in common: once is enough. Those that are joined
        # over a seam have two.
        touching = positions + 2 * edge.mean(axis=0)
        is_border &= (units < others) | ~np.isclose(positions[others], touching).all(axis=1)
        segments.append(positions[is_border][:, None] + edge)
    return np.concatenate(segments)


def draw_borders(ax: Any, grid: Grid, labels: NDArray, color: Any) -> Any:
    """Draw the borders between units of different labels as one collection.

    They are thinner where cells are small.
    """
    from matplotlib.collections import LineCollection

    lines = LineCollection(
        list(border_segments(grid, labels)),
        colors=[color],
        linewidths=np.clip(0.1 * rough_spacing(ax, grid), 0.4, 2.0),
        capstyle="round",
    )
    return ax.add_collection(lines)


def draw_texts(
    ax: Any,
    positions: NDArray,
    texts: Sequence[str],
    behind: NDArray,
    *,
    size: float = 1.0,
) -> list[Any]:
    """Write a text into each cell, "" for none, black or white after the color behind it.

    All have one font size, with which the longest fits into a cell. Where that is too small to
    be read, none is written.

    Parameters
    ----------
    ax : matplotlib Axes
        Already framed: its scale decides the font size.
    positions : ndarray of shape (n_cells, 2)
    texts : sequence of str, of length n_cells
    behind : ndarray of shape (n_cells, 3 or 4)
        Colors of the cells, red, green and blue first.
    size : float, default=1
        Of a cell, in lattice spacings.

    Returns
    -------
    artists : list of matplotlib Text
    """
    if not any(texts):
        return []
    width, height = _largest_extent(ax, texts)
    font_size = size * points_per_spacing(ax) * min(0.5, 0.8 / width, 0.75 / height)
    if font_size < _SMALLEST_FONT:
        return []
    return [
        ax.text(
            x,
            y,
            text,
            ha="center",
            va="center_baseline",
            fontsize=min(font_size, _LARGEST_FONT),
            color=color,
            parse_math=False,
        )
        for (x, y), text, color in zip(positions, texts, readable_on(behind), strict=True)
        if text
    ]


def _largest_extent(ax: Any, texts: Sequence[str]) -> tuple[float, float]:
    """Width of the widest and height of the highest text, in font sizes."""
    probe = ax.text(0, 0, "", fontsize=10, parse_math=False)
    points_to_pixels = ax.figure.dpi / 72
    extents = []
    for text in sorted(set(texts), key=len)[-_MOST_MEASURED:]:
        probe.set_text(text)
        extents.append(probe.get_window_extent().size / points_to_pixels / 10)
    probe.remove()
    width, height = np.max(extents, axis=0)
    return float(width), float(height)


def readable_on(colors: NDArray) -> list[str]:
    """Black or white, whichever stands out from each of the colors (n, 3 or 4)."""
    lightness = np.asarray(colors)[:, :3] @ [0.299, 0.587, 0.114]
    return ["black" if light > 0.5 else "white" for light in lightness]


def rough_spacing(ax: Any, grid: Grid) -> float:
    """About the size of a lattice spacing on paper, in points, before axes are laid out."""
    room = ax.get_position(original=True).size * ax.figure.bbox.size * 72 / ax.figure.dpi
    return float(np.min(room / map_size(grid)))


def points_per_spacing(ax: Any) -> float:
    """Size of a lattice spacing on paper, in points; axes are laid out for it."""
    ax.figure.figure.draw_without_rendering()  # of the figure that holds a subfigure
    (left, _), (right, _) = ax.transData.transform([(0, 0), (1, 0)])
    return float(abs(right - left) * 72 / ax.figure.dpi)


def add_color_bar(ax: Any, mappable: Any, label: str, *, is_below: bool = False) -> Any:
    """Add a color bar that is as long as the map's side, whatever room the axes have."""
    from matplotlib.transforms import Bbox

    location = "bottom" if is_below else "right"
    bar = ax.figure.colorbar(mappable, ax=ax, location=location, label=label, pad=0.03, aspect=30)
    bar.outline.set_visible(False)
    if not is_below:
        ax.set_anchor("C")  # and not at the bar, which comes along

    # Axes of equal aspect shrink within their room, and a color bar by itself does not. (Layout
    # engines set its aspect again, so it is taken off where it is about to be drawn.)
    def beside_the_map(bar_ax: Any, renderer: Any) -> Any:
        bar_ax.set_box_aspect(None)
        locator = ax.get_axes_locator()
        ax.apply_aspect(locator(ax, renderer) if locator else None)
        (left, bottom), (right, top) = ax.get_position().get_points()
        if is_below:
            own = bar_ax.get_position(original=True)
            return Bbox([[left, own.y0], [right, own.y1]])
        inch = 1 / ax.figure.bbox.width * ax.figure.dpi
        return Bbox([[right + 0.1 * inch, bottom], [right + 0.22 * inch, top]])

    bar.ax.set_axes_locator(beside_the_map)
    return bar


def class_colors(n_classes: int) -> NDArray[np.float64]:
    """Return a color for each class, (n_classes, 4).

    Up to ten are chosen for everybody's eyes. Beyond that hues go around and lightness goes up
    and down, and it takes a text to be sure.
    """
    from matplotlib.colors import hsv_to_rgb, to_rgba_array

    if n_classes <= len(_TEN_COLORS):
        return to_rgba_array(_TEN_COLORS[:n_classes])
    turn = np.arange(n_classes)
    hues = turn / n_classes
    saturations = np.array([0.75, 0.45, 0.9])[turn % 3]
    values = np.array([0.9, 0.95, 0.55])[turn % 3]
    return to_rgba_array(hsv_to_rgb(np.column_stack([hues, saturations, values])))


def spread_in_cells(units: NDArray, radius: float = 0.3) -> NDArray[np.float64]:
    """Offsets from their unit, (n, 2) in lattice spacings, that keep things in one cell apart.

    Few stand in a ring, many as the seeds of a sunflower do; a single one stands in the middle.
    """
    counts = np.bincount(units)
    order = np.argsort(units, kind="stable")
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - (np.cumsum(counts) - counts)[units[order]]
    mates = counts[units]
    is_ring = mates <= 5
    golden = np.pi * (3 - np.sqrt(5))
    angles = np.where(is_ring, 2 * np.pi / mates, golden) * ranks
    reach = np.where(is_ring, 0.65, np.sqrt((ranks + 0.5) / mates)) * (mates > 1)
    return radius * reach[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])


def legend_room(names: Sequence[str]) -> float:
    """Inches that a legend beside a map takes, about."""
    shown = legends.shown_names(names)
    n_columns = -(-len(shown) // legends.ROWS)
    longest = max((len(line) for name in shown for line in name.split("\n")), default=0)
    return n_columns * (0.5 + 0.09 * longest)


def add_class_legend(
    ax: Any,
    classes: Sequence[str],
    colors: NDArray,
    grid: Grid,
    *,
    marks: Sequence[Any] = (),
    is_own: bool = False,
    **style: Any,
) -> Any:
    """Add a legend of classes beside the map, or below a wide one, in as many columns as fit.

    Parameters
    ----------
    ax : matplotlib Axes
    classes : sequence of str of length n_classes
    colors : ndarray of shape (n_classes, 4)
    grid : Grid
    marks : sequence of matplotlib artists, default=()
        More handles that follow.
    is_own : bool, default=False
        Whether the axes are those of `new_map_axes`, alone in their figure: it grows, so that the
        legend has its place.
    **style
        For the legend.

    Returns
    -------
    legend : matplotlib Legend
    """
    from matplotlib.patches import Patch

    names = legends.shown_names(classes)
    faces = [*colors[: len(names)]]
    if len(names) < len(classes):
        faces[-1] = "none"
    handles = [Patch(facecolor=face, linewidth=0) for face in faces] + list(marks)
    labels = names + [mark.get_label() for mark in marks]
    look = {"frameon": False, "handlelength": 1.0, "handleheight": 1.0, "columnspacing": 1.0}
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    n_columns = -(-len(handles) // legends.ROWS)
    room = np.inf
    if is_wide(grid):
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0)}
        n_columns = min(len(handles), legends.COLUMNS_BELOW)
        room = ax.figure.bbox.width if is_own else ax.bbox.width
    while True:
        # Labels of their own, or else those that begin with "_" would be left out.
        legend = ax.legend(handles, labels, ncols=n_columns, **(place | look | style))
        for text in legend.get_texts():
            text.set_parse_math(False)
        if n_columns == 1 or legend.get_window_extent().width <= room:
            break
        n_columns -= 1
    if is_own:
        legends.make_room(ax, legend, is_below=is_wide(grid))
    return legend

"""Legends of classes beside or below a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom.displays._colors import class_colors
from sklearn_tfsom.displays._drawing import is_wide, lines_of

# Maximum number of rows, of columns beside and below a map, and of letters per line.
_MAX_ROWS, _MAX_COLUMNS_BESIDE, _MAX_COLUMNS_BELOW, _MAX_LETTERS = 16, 3, 6, 40

# Approximate height of a line, in inches.
_LINE_HEIGHT = 0.23

# Properties of legends below, above and beside a map.
_STYLE: dict[str, Any] = {"frameon": False, "handlelength": 1.0, "handleheight": 1.0}
_STYLE_BELOW = _STYLE | {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0)}
_STYLE_ABOVE = _STYLE | {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}
_STYLE_BESIDE = _STYLE | {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}

# Space below a legend and above it up to the title, in points.
_TITLE_PAD = 10.0

# Color of units without samples, or without values.
EMPTY_COLOR = (0.5, 0.5, 0.5, 0.35)


def empty_handle(label: str) -> Any:
    """Return the entry of a legend for units without samples, or without values."""
    from matplotlib.patches import Patch

    return Patch(facecolor=EMPTY_COLOR, linewidth=0, label=label)


def add_legend(
    ax: Any,
    handles: Sequence[Any],
    grid: Grid,
    *,
    has_colorbar: bool,
    n_columns: int = 1,
    grow_figure: bool = False,
) -> Any:
    """Add a legend below a map; above it if a color bar is below it, and would cover the legend.

    Only constrained layout puts the color bar below the legend. `grow_figure` makes the figure
    higher by the legend.
    """
    if grow_figure:
        n_rows = -(-len(handles) // n_columns)
        ax.figure.set_figheight(ax.figure.get_figheight() + 0.15 + 0.2 * n_rows)
    style: dict[str, Any] = {"handles": handles, "ncols": n_columns, "columnspacing": 1.2}
    engine = ax.figure.get_layout_engine()
    is_constrained = engine is not None and not engine.adjust_compatible
    if is_constrained or not has_colorbar or not is_wide(grid):
        return ax.legend(**_STYLE_BELOW, **style)
    legend = ax.legend(**_STYLE_ABOVE, **style)
    height = legend.get_window_extent().height * 72 / ax.figure.dpi
    ax.set_title(ax.get_title(), fontsize=ax.title.get_fontsize(), pad=height + _TITLE_PAD)
    return legend


def legend_size(classes: Sequence[str]) -> tuple[float, float]:
    """Return the approximate width and height of a legend beside a map, in inches."""
    names = _shown_names(classes)
    if not names:
        return 0.0, 0.0
    n_columns = -(-len(names) // _MAX_ROWS)
    n_rows = -(-len(names) // n_columns)
    lines = [1 + name.count("\n") for name in names]
    n_lines = max(sum(lines[first : first + n_rows]) for first in range(0, len(names), n_rows))
    return n_columns * _column_width(names), _LINE_HEIGHT * n_lines


def n_lines_below(classes: Sequence[str], width: float) -> int:
    """Return the approximate number of lines of a legend below a map of a width in inches."""
    names = _shown_names(classes)
    n_columns = int(np.clip(width / _column_width(names), 1, _MAX_COLUMNS_BELOW))
    lines_of_name = max((1 + name.count("\n") for name in names), default=1)
    return -(-len(names) // n_columns) * lines_of_name


def _column_width(names: Sequence[str]) -> float:
    """Return the approximate width of a column of a legend, in inches."""
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    return 0.5 + 0.09 * longest


def add_class_legend(
    ax: Any,
    classes: Sequence[str] | None,
    grid: Grid,
    *,
    colors: NDArray[np.float64] | None = None,
    handles: Sequence[Any] = (),
    grow_figure: bool = False,
) -> Any:
    """Add a legend of classes beside the map, or below a wide one, in as many columns as fit.

    `colors` are those of the classes, shape (n_classes, 4). `handles` are more entries, after the
    classes. `grow_figure` enlarges the figure by the legend, which needs the axes of
    `new_map_axes`. Return None without classes.
    """
    if classes is None:
        return None
    from matplotlib.patches import Patch

    names = _shown_names(classes)
    colors = class_colors(len(classes)) if colors is None else colors
    faces: list[Any] = [*colors[: len(names)]]
    if len(names) < len(classes):
        faces[-1] = "none"
    entries = [Patch(facecolor=face, linewidth=0) for face in faces] + list(handles)
    labels = names + [handle.get_label() for handle in handles]
    if is_wide(grid):
        style = _STYLE_BELOW
        n_columns = min(len(entries), _MAX_COLUMNS_BELOW)
        max_width = ax.figure.bbox.width if grow_figure else ax.bbox.width
    else:
        style = _STYLE_BESIDE
        n_columns = -(-len(entries) // _MAX_ROWS)
        max_width = np.inf
    while True:
        # Explicit labels: matplotlib leaves out labels of handles that begin with "_".
        legend = ax.legend(entries, labels, ncols=n_columns, columnspacing=1.0, **style)
        for text in legend.get_texts():
            text.set_parse_math(False)
        if n_columns == 1 or legend.get_window_extent().width <= max_width:
            break
        n_columns -= 1
    if grow_figure:
        _enlarge_figure(ax, legend, is_below=is_wide(grid))
    return legend


def marker_handle(name: str, marker: str, face: Any, edge: Any) -> Any:
    """Return a legend entry with a marker."""
    from matplotlib.lines import Line2D

    style: dict[str, Any] = {"linestyle": "none", "marker": marker, "markersize": 7}
    return Line2D([], [], markerfacecolor=face, markeredgecolor=edge, label=name, **style)


def _shown_names(names: Sequence[str]) -> list[str]:
    """Return the first names, in at most two lines each, and the number of the others."""
    max_names = _MAX_ROWS * _MAX_COLUMNS_BESIDE
    n_shown = len(names) if len(names) <= max_names else max_names - 1
    lines = [lines_of(name, _MAX_LETTERS) for name in names[:n_shown]]
    more = [f"and {len(names) - n_shown:,} more"] if n_shown < len(names) else []
    return ["\n".join(pair) for pair in lines] + more


def _enlarge_figure(ax: Any, legend: Any, *, is_below: bool) -> None:
    """Enlarge a figure by its legend, and keep the size of the axes.

    Layout engines reserve too little space beside axes of equal aspect and cut the legend off.
    """
    figure = ax.figure
    figure.set_layout_engine("none")
    width, height = figure.get_size_inches()
    legend_width, legend_height = legend.get_window_extent().size / figure.dpi
    pad = 0.15
    title = pad + 1.8 * ax.title.get_fontsize() / 72
    ax_size = np.array([width - 2 * pad, height - pad - title])
    if is_below:
        size = np.array([max(width, legend_width), height + legend_height])
        corner = np.array([(size[0] - ax_size[0]) / 2, pad + legend_height])
    else:
        size = np.array([width + legend_width, max(height, legend_height + pad + title)])
        corner = np.array([pad, size[1] - title - ax_size[1]])
    figure.set_size_inches(size)
    ax.set_position((*(corner / size), *(ax_size / size)))

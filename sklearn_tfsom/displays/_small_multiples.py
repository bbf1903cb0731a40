"""Small multiples: many small maps on a page, their titles, color scales and ticks."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom.displays import _drawing as drawing

# A picture's width and height, in inches, unless it has so many planes that it must be larger.
_FIGURE_SIZE = np.array([10.0, 6.0])

# Longer side of a plane, at most and at least, in inches.
_LARGEST_PLANE, _SMALLEST_PLANE = 3.0, 0.9

# Of a plane with its color bar, in inches: a name needs room, too.
_NARROWEST_SLOT = 1.25

# Of fonts, in points.
TITLE_SIZE, TICK_SIZE = 9.0, 7.5

# What a color bar of all planes takes of their width, and the space beside it.
BAR_SHARE, BAR_PAD = 0.05, 0.03


def is_flat(plane: NDArray) -> bool:
    """Whether a plane has one value, but for rounding."""
    return bool(np.ptp(plane) <= 8 * np.finfo(plane.dtype).eps * np.abs(plane).max())


def color_limits(values: NDArray) -> tuple[float, float]:
    """Return the ends of the color scale; those of a flat plane have its value in the middle."""
    low, high = float(values.min()), float(values.max())
    around = (abs(low) or 1.0) if is_flat(values) else 0.0
    return low - around, high + around


def choose_ticks(values: NDArray) -> tuple[NDArray, list[str]]:
    """Choose as many ticks as a small color bar has room for, and their texts."""
    from matplotlib.ticker import MaxNLocator

    if is_flat(values):
        return values[:1], [_minus(f"{values[0]:.6g}")]
    low, high = color_limits(values)
    locator = MaxNLocator(nbins=3, steps=[1, 2, 2.5, 5, 10])
    ticks = np.asarray(locator.tick_values(low, high))
    step = ticks[1] - ticks[0]
    ticks = ticks[(low <= ticks) & (ticks <= high)]
    largest = np.abs(ticks).max()
    # As many digits as it takes to tell one from the next.
    n_decimals = max(0, int(np.ceil(-np.log10(step * 1.0001))))
    n_decimals += not np.allclose(ticks, np.round(ticks, n_decimals), rtol=0, atol=step / 10)
    kind = f".{n_decimals}f"
    if largest >= 1e5 or n_decimals > 3:
        kind = f".{int(np.ceil(np.log10(largest / step + 1))) + 1}g"
    return ticks, [_minus(format(tick, kind)) for tick in ticks]


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def plane_width(ax: Any) -> float:
    """Width of the room for a plane, in points."""
    return float(ax.get_position(original=True).width * ax.figure.bbox.width * 72 / ax.figure.dpi)


def title_lines(name: str, width: float) -> list[str]:
    """Break a name into at most two lines of a width in points, and leave out the rest."""
    n_letters = max(4, int((width - 4) / (0.6 * TITLE_SIZE)))
    parted = re.sub(r"(?<=[_/])", " ", name)
    lines = textwrap.wrap(parted, n_letters, max_lines=2, placeholder="\N{HORIZONTAL ELLIPSIS}")
    return [re.sub(r"(?<=[_/]) ", "", line) for line in lines] or [name]


def new_axes(
    grid: Grid,
    names: Sequence[str],
    title: str,
    ticks: list[tuple[NDArray, list[str]]],
    has_one_bar: bool,
) -> NDArray:
    """Return the axes of a new figure, one for each plane, of the map's shape.

    Layout engines take seconds for so many, and leave a grid of maps uneven.
    """
    n_planes, is_wide = len(names), drawing.is_wide(grid)
    size = np.add(drawing.map_size(grid), 0.2)  # as it is framed
    # Inches beside and above a plane, with its color bar.
    longest = max((len(text) for _, texts in ticks for text in texts), default=0)
    around = np.array([0.3, 0.45])
    if ticks:
        around = np.array([0.3, 0.8] if is_wide else [0.5 + 0.07 * longest, 0.45])

    def scale_with(n_columns: int) -> float:
        """Inches per lattice spacing."""
        cells = np.array([n_columns, -(-n_planes // n_columns)])
        return float(np.min((_FIGURE_SIZE / cells - around) / size))

    n_columns = max(range(1, n_planes + 1), key=scale_with)
    longer = size.max()
    largest = max(_LARGEST_PLANE / longer, min(0.4, 8.0 / longer))
    own = size * np.clip(scale_with(n_columns), _SMALLEST_PLANE / longer, largest)
    slot = np.maximum(own + around, [_NARROWEST_SLOT, 0])
    # Color bars take their share of the axes: a plane's own of its slot, a common one of all.
    own = np.array([own[0], 1.22 * own[1] + 0.12] if ticks and is_wide else [slot[0], own[1]])
    stretch = 1 / (1 - BAR_SHARE - BAR_PAD) if has_one_bar else 1.0

    n_lines = [len(title_lines(name, 72 * slot[0])) for name in names]
    rows = [n_lines[k : k + n_columns] for k in range(0, n_planes, n_columns)]
    more = np.cumsum([0.15 * (max(row) - 1) for row in rows])  # for titles of two lines
    width = 0.35 + n_columns * slot[0] * stretch + 0.6 * has_one_bar
    figsize = np.array([max(width, 3.2), 0.35 + len(rows) * slot[1] + more[-1]])
    figure = drawing.import_pyplot().figure(figsize=figsize)
    axes = np.empty(n_planes, dtype=object)
    for k in range(n_planes):
        row, column = divmod(k, n_columns)
        top = figsize[1] - 0.6 - row * slot[1] - more[row]
        corner = np.array([0.35 + column * slot[0] * stretch, top - own[1]])
        axes[k] = figure.add_axes((*(corner / figsize), *(own * [stretch, 1] / figsize)))
    figure.suptitle(title, y=1 - 0.08 / figsize[1])
    return axes

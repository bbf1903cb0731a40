"""Small multiples: many small maps in a figure, their titles, color limits and ticks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom.displays._drawing import (
    import_pyplot,
    is_constant,
    is_wide,
    lines_of,
    map_size,
    robust_limits,
    rounded,
    with_minus,
)

# Width and height of a figure in inches, larger if the planes would be too small.
_FIGURE_SIZE = np.array([10.0, 6.0])

# Longer side of a plane in inches.
_MIN_PLANE, _MAX_PLANE = 0.9, 3.0

# Minimum width of a plane with its color bar in inches, for its title.
_MIN_SLOT = 1.25

# Font sizes in points.
TITLE_SIZE, TICK_SIZE = 9.0, 7.5

# Space beside a color bar of all planes, in inches.
_PAD = 0.05

# Share of the width that a color bar of all planes takes, and the padding beside it.
BAR_FRACTION, BAR_PAD = 0.05, 0.03
SHARE_OF_PLANES = 1 - BAR_FRACTION - BAR_PAD


def choose_ticks(values: NDArray) -> tuple[NDArray, list[str]]:
    """Return a few ticks for a small color bar, and their labels."""
    from matplotlib.ticker import MaxNLocator

    if is_constant(values):
        return _first_tick(values, 0.0)
    low, high, _ = robust_limits(values)
    locator = MaxNLocator(nbins=3, steps=[1, 2, 2.5, 5, 10])
    ticks = np.asarray(locator.tick_values(low, high))
    step = ticks[1] - ticks[0]
    ticks = ticks[(low <= ticks) & (ticks <= high)]
    if not len(ticks):  # the range is so small that all ticks are beside it
        return _first_tick(values, high - low)
    # Enough decimals to tell neighboring ticks apart.
    n_decimals = max(0, int(np.ceil(-np.log10(step * 1.0001))))
    n_decimals += not _are_close(ticks, f".{n_decimals}f", step)
    form = f".{n_decimals}f"
    if np.abs(ticks).max() >= 1e6 or n_decimals > 3:
        n_digits = next(n for n in range(1, 18) if _are_close(ticks, f".{n}g", step))
        form = f".{n_digits}g"
    return ticks, [with_minus(format(tick, form)) for tick in ticks]


def _first_tick(values: NDArray, value_range: float) -> tuple[NDArray, list[str]]:
    """Return the first known value as the only tick, and its label."""
    ticks = values[np.isfinite(values)][:1]
    return ticks, [rounded(float(tick), value_range) for tick in ticks]


def _are_close(ticks: NDArray, form: str, step: float) -> bool:
    """Return True if texts of a form are close to their ticks, compared with the step."""
    texts = [float(format(tick, form)) for tick in ticks]
    return bool(np.allclose(texts, ticks, rtol=0, atol=step / 10))


def title_lines(name: str, width: float) -> list[str]:
    """Break a name into at most two lines of a width in points."""
    return lines_of(name, max(4, int((width - 4) / (0.65 * TITLE_SIZE))))


def new_plane_axes(
    grid: Grid,
    names: Sequence[str],
    title: str,
    ticks: list[tuple[NDArray, list[str]]],
    *,
    has_common_bar: bool,
) -> NDArray:
    """Return the axes of a new figure, one for each plane, in the shape of the map.

    The positions are computed here: layout engines take seconds for many axes, and align them
    badly. `ticks` are the ticks and tick labels of the color bar of each plane, empty without
    these color bars, and `has_common_bar` reserves space for a color bar of all planes.
    """
    n_planes = len(names)
    size = np.add(map_size(grid), 0.2)  # with the margins of set_map_limits
    # Space beside and above a plane, with its color bar, in inches.
    n_letters = max((len(text) for _, texts in ticks for text in texts), default=0)
    margins = np.array([0.3, 0.45])
    if ticks and is_wide(grid):
        margins[1] = 0.8
        size[1] *= 1.22  # a color bar below takes its space from the axes
    elif ticks:
        margins[0] = 0.5 + 0.07 * n_letters

    def scale_for(n_columns: int) -> float:
        """Return the inches per lattice spacing."""
        n_cells = np.array([n_columns, -(-n_planes // n_columns)])
        return float(np.min((_FIGURE_SIZE / n_cells - margins) / size))

    n_columns = max(range(1, n_planes + 1), key=scale_for)
    longer = size.max()
    max_scale = max(_MAX_PLANE / longer, min(0.4, 8.0 / longer))
    plane = size * np.clip(scale_for(n_columns), _MIN_PLANE / longer, max_scale)
    slot = np.maximum(plane + margins, [_MIN_SLOT, 0])
    # A color bar takes its space from the axes: its own one from a slot, a common one from all.
    if ticks and is_wide(grid):
        plane[1] += 0.12
    else:
        plane[0] = slot[0]
    stretch = 1 / SHARE_OF_PLANES if has_common_bar else 1.0

    n_lines = [len(title_lines(name, 72 * plane[0])) for name in names]
    rows = [n_lines[k : k + n_columns] for k in range(0, n_planes, n_columns)]
    title_heights = np.cumsum([0.15 * (max(row) - 1) for row in rows])
    width = 0.35 + n_columns * slot[0] * stretch
    figsize = np.array([max(width, 3.2), 0.35 + len(rows) * slot[1] + title_heights[-1]])
    figure = import_pyplot().figure(figsize=figsize, layout="none")
    axes = np.empty(n_planes, dtype=object)
    for k in range(n_planes):
        row, column = divmod(k, n_columns)
        top = figsize[1] - 0.6 - row * slot[1] - title_heights[row]
        corner = np.array([0.35 + column * slot[0] * stretch, top - plane[1]])
        axes[k] = figure.add_axes((*(corner / figsize), *(plane * [stretch, 1] / figsize)))
    figure.suptitle(title, y=1 - 0.08 / figsize[1])
    return axes


def widen_figure(artist: Any) -> None:
    """Widen a figure until an artist at its right fits in, and keep the size of all axes."""
    figure = artist.figure
    figure.draw_without_rendering()
    old = figure.bbox.width
    new = max(old, artist.get_tightbbox().x1 + _PAD * figure.dpi)
    figure.set_figwidth(new / figure.dpi)
    for ax in figure.axes:
        left, bottom, width, height = ax.get_position(original=True).bounds
        ax.set_position((left * old / new, bottom, width * old / new, height))

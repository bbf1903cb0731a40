"""What a legend of classes shows, and the room that it takes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

# Rows and columns of a legend at most, and letters of a name in a line of it.
ROWS, _COLUMNS_BESIDE, COLUMNS_BELOW, _LETTERS = 16, 3, 6, 40


def shown_names(names: Sequence[str]) -> list[str]:
    """Names as a legend shows them: long ones in two lines, and of very many the first."""
    most = ROWS * _COLUMNS_BESIDE
    n_shown = len(names) if len(names) <= most else most - 1
    lines = [
        textwrap.wrap(name, _LETTERS, max_lines=2, placeholder="\N{HORIZONTAL ELLIPSIS}")
        for name in names[:n_shown]
    ]
    more = [f"and {len(names) - n_shown:,} more"] if n_shown < len(names) else []
    return ["\n".join(pair) for pair in lines] + more


def make_room(ax: Any, legend: Any, *, is_below: bool) -> None:
    """Let a figure grow by a legend, and put its axes where they were.

    Layout engines take axes of equal aspect for as large as their room, and cut the legend off.
    """
    figure = ax.figure
    figure.set_layout_engine("none")
    width, height = figure.get_size_inches()
    legend_width, legend_height = legend.get_window_extent().size / figure.dpi
    pad = 0.15
    title = pad + 1.8 * ax.title.get_fontsize() / 72
    room = np.array([width - 2 * pad, height - pad - title])
    if is_below:
        size = np.array([max(width, legend_width), height + legend_height])
        corner = np.array([(size[0] - room[0]) / 2, pad + legend_height])
    else:
        size = np.array([width + legend_width, max(height, legend_height + pad + title)])
        corner = np.array([pad, size[1] - title - room[1]])
    figure.set_size_inches(size)
    ax.set_position((*(corner / size), *(room / size)))

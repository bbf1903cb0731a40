"""Placement of texts beside points, without overlaps where possible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom.displays._drawing import background_color, text_color, text_size

# Candidate directions of a text from its point, the best one first.
_SIDES = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1)])

# Candidate distances in points. A line leads to the point from the second one on.
_GAPS = (5.0, 13.0, 24.0, 38.0)

# Costs of a place: overlap with another text or the outside of the axes, as a share of the text's
# area; each labeled point and each obstacle that it hides; each step to the next gap or side.
_OVERLAP, _HIDDEN_ANCHOR, _HIDDEN_OBSTACLE, _NEXT_GAP, _NEXT_SIDE = 1000.0, 20.0, 3.0, 4.0, 0.1

# Number of hidden obstacles that count.
_MAX_OBSTACLES = 15


def place_labels(
    ax: Any, anchors: NDArray, texts: Sequence[str], *, obstacles: NDArray
) -> list[Any]:
    """Write a text beside each of the points `anchors`, shape (n_texts, 2).

    Each text in turn takes the place of the lowest cost: overlap with earlier texts costs most,
    then hiding a labeled point, then hiding one of the `obstacles`, shape (n_obstacles, 2). Both
    are in data coordinates. Everything else must be drawn, since texts are measured in the final
    layout. The result is deterministic.
    """
    if not len(texts):
        return []
    from matplotlib.patheffects import withStroke

    figure = ax.figure.figure
    figure.draw_without_rendering()
    points_to_pixels = figure.dpi / 72
    points = ax.transData.transform(anchors)
    others = ax.transData.transform(obstacles)
    frame = ax.get_window_extent().extents
    color, background = text_color(), background_color(ax)
    taken = np.empty((0, 4))
    artists = []
    for anchor, point, text in zip(anchors, points, texts, strict=True):
        size = text_size(ax, text, fontsize="small", parse_math=False)
        boxes = _candidate_boxes(point, size, points_to_pixels)
        best = int(np.argmin(_costs(boxes, taken, points, others, frame)))
        taken = np.concatenate([taken, boxes[[best]]])
        gap, side = divmod(best, len(_SIDES))
        right, up = (int(step) for step in _SIDES[side])
        line = {
            "arrowstyle": "-",
            "color": color,
            "linewidth": 0.6,
            "shrinkA": 0,
            "shrinkB": 2,
            "relpos": ((1 - right) / 2, (1 - up) / 2),
        }
        artist = ax.annotate(
            text,
            anchor,
            xytext=_offsets()[best],
            textcoords="offset points",
            ha=("center", "left", "right")[right],
            va=("center", "bottom", "top")[up],
            fontsize="small",
            parse_math=False,
            color=color,
            annotation_clip=False,
            arrowprops=line if gap else None,
            path_effects=[withStroke(linewidth=2.5, foreground=background)],
            zorder=6,
        )
        artist.set_in_layout(False)  # otherwise layout engines would shrink the axes
        artists.append(artist)
    return artists


def _offsets() -> NDArray[np.float64]:
    """Return the offsets of all candidate places in points, ordered by gap, then by side."""
    steps = _SIDES / np.maximum(1, np.linalg.norm(_SIDES, axis=1))[:, None]
    return (np.array(_GAPS)[:, None, None] * steps).reshape(-1, 2)


def _candidate_boxes(
    point: NDArray, size: NDArray, points_to_pixels: float
) -> NDArray[np.float64]:
    """Return the box of a text at each place, shape (n_places, 4): left, bottom, right, top."""
    sides = np.tile(_SIDES, (len(_GAPS), 1))
    centers = point + _offsets() * points_to_pixels + sides * size / 2
    return np.column_stack([centers - size / 2, centers + size / 2])


def _costs(
    boxes: NDArray, taken: NDArray, anchors: NDArray, obstacles: NDArray, frame: NDArray
) -> NDArray[np.float64]:
    """Return the cost of each place, shape (n_places,)."""
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    overlap = np.sum(_shared_areas(boxes, taken), axis=1) / areas
    outside = 1 - _shared_areas(boxes, frame[None])[:, 0] / areas
    gaps, sides = np.divmod(np.arange(len(boxes)), len(_SIDES))
    return (
        _OVERLAP * (overlap + outside)
        + _HIDDEN_ANCHOR * _n_inside(boxes, anchors)
        + _HIDDEN_OBSTACLE * np.minimum(_n_inside(boxes, obstacles), _MAX_OBSTACLES)
        + _NEXT_GAP * gaps
        + _NEXT_SIDE * sides
    )


def _shared_areas(boxes: NDArray, others: NDArray) -> NDArray[np.float64]:
    """Return the areas that boxes share with other boxes, shape (n_boxes, n_others)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.prod(np.maximum(high - low, 0), axis=2)


def _n_inside(boxes: NDArray, points: NDArray) -> NDArray[np.int64]:
    """Return the number of points in each box, shape (n_boxes,)."""
    x, y = points.T
    left, bottom, right, top = boxes.T[:, :, None]
    return ((left <= x) & (x <= right) & (bottom <= y) & (y <= top)).sum(axis=1)

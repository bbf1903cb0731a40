"""Texts beside points that keep clear of one another, where there is room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom.displays import _drawing as drawing

# Where a text may stand beside its point, the best place first.
_SIDES = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1)])

# How far from it, in points. From the second on, a line leads there.
_GAPS = (5.0, 13.0, 24.0, 38.0)

# What a place costs: to lie on another text (its whole area) or beyond the axes, to hide a labeled
# point, to hide something else, to be one gap further away, to be the next side.
_ON_A_TEXT, _ON_AN_ANCHOR, _ON_A_THING, _FURTHER, _NEXT_SIDE = 1000.0, 20.0, 3.0, 4.0, 0.1

# More things under a text do not make it worse.
_MOST_THINGS = 15


def check_labels(labels: Any, n_samples: int) -> dict[int, str]:
    """Return the texts of samples, by index, without empty ones.

    Parameters
    ----------
    labels : dict of int to str, sequence of str of length n_samples, or None
        "" or None for none.
    n_samples : int
    """
    if labels is None:
        return {}
    if isinstance(labels, Mapping):
        wrong = [key for key in labels if not _is_index(key, n_samples)]
        if wrong:
            raise ValueError(
                f"labels must be {_right(n_samples)}. Got the index {wrong[0]!r} instead."
            )
        pairs = [(int(key), text) for key, text in labels.items()]
    elif isinstance(labels, str) or not hasattr(labels, "__len__"):
        raise ValueError(f"labels must be {_right(n_samples)}. Got {labels!r} instead.")
    elif len(labels) != n_samples:
        raise ValueError(f"labels must be {_right(n_samples)}. Got {len(labels)} texts instead.")
    else:
        pairs = list(enumerate(labels))
    return {key: str(text) for key, text in pairs if text is not None and str(text)}


def _right(n_samples: int) -> str:
    return (
        f"a dict of sample indices, from 0 to {n_samples - 1}, to texts, or one text for each of "
        f"the {n_samples} samples"
    )


def _is_index(key: Any, n_samples: int) -> bool:
    return isinstance(key, Integral) and not isinstance(key, bool) and 0 <= int(key) < n_samples


def place_labels(
    ax: Any,
    anchors: NDArray,
    texts: Sequence[str],
    *,
    things: NDArray | None = None,
    font_size: Any = "small",
) -> list[Any]:
    """Write a text beside each point.

    Each takes, in order, the place that hides least: first of the texts before it, then of the
    points that have texts, then of all else. It is the same place every time.

    Parameters
    ----------
    ax : matplotlib Axes
        All else is drawn: texts are measured where the axes will be.
    anchors : ndarray of shape (n, 2)
        The points, in data coordinates.
    texts : sequence of str, of length n
    things : ndarray of shape (n_things, 2), default=None
        Points that are better not hidden, in data coordinates.
    font_size : float or str, default="small"

    Returns
    -------
    artists : list of matplotlib Annotation
    """
    if not len(texts):
        return []
    plt = drawing.import_pyplot()
    from matplotlib.patheffects import withStroke

    figure = ax.figure.figure  # of the figure that holds a subfigure
    figure.draw_without_rendering()
    points_to_pixels = figure.dpi / 72
    points = ax.transData.transform(anchors)
    others = ax.transData.transform(np.reshape([] if things is None else things, (-1, 2)))
    frame = ax.get_window_extent().extents
    ink, paper = plt.rcParams["text.color"], background_color(ax)
    taken = np.empty((0, 4))
    artists = []
    for anchor, point, text in zip(anchors, points, texts, strict=True):
        boxes = _places(point, _size(ax, text, font_size), points_to_pixels)
        best = int(np.argmin(_costs(boxes, taken, points, others, frame)))
        taken = np.concatenate([taken, boxes[[best]]])
        gap, side = divmod(best, len(_SIDES))
        across, up = (int(step) for step in _SIDES[side])
        line = {
            "arrowstyle": "-",
            "color": ink,
            "linewidth": 0.6,
            "shrinkA": 0,
            "shrinkB": 2,
            "relpos": ((1 - across) / 2, (1 - up) / 2),
        }
        artist = ax.annotate(
            text,
            anchor,
            xytext=_offsets()[best],
            textcoords="offset points",
            ha=("center", "left", "right")[across],
            va=("center", "bottom", "top")[up],
            fontsize=font_size,
            color=ink,
            annotation_clip=False,
            arrowprops=line if gap else None,
            path_effects=[withStroke(linewidth=2.5, foreground=paper)],
            zorder=6,
        )
        artist.set_in_layout(False)  # or else the axes would make room for it, and move
        artists.append(artist)
    return artists


def background_color(ax: Any) -> Any:
    """Color behind what is drawn: of the axes, or of the figure where these are off."""
    return ax.get_facecolor() if ax.axison else ax.figure.figure.get_facecolor()


def _size(ax: Any, text: str, font_size: Any) -> tuple[float, float]:
    """Width and height of a text, in pixels."""
    probe = ax.text(0, 0, text, fontsize=font_size)
    extent = probe.get_window_extent()
    probe.remove()
    return extent.width, extent.height


def _offsets() -> NDArray[np.float64]:
    """Offsets of all places, (n_places, 2) in points: gap by gap, and side by side."""
    steps = _SIDES / np.maximum(1, np.linalg.norm(_SIDES, axis=1))[:, None]
    return (np.array(_GAPS)[:, None, None] * steps).reshape(-1, 2)


def _places(
    point: NDArray, size: tuple[float, float], points_to_pixels: float
) -> NDArray[np.float64]:
    """Boxes of a text at all places beside a point, (n_places, 4): left, bottom, right, top."""
    sides = np.tile(_SIDES, (len(_GAPS), 1))
    middles = point + _offsets() * points_to_pixels + sides * np.array(size) / 2
    return np.column_stack([middles - np.array(size) / 2, middles + np.array(size) / 2])


def _costs(
    boxes: NDArray, taken: NDArray, anchors: NDArray, things: NDArray, frame: NDArray
) -> NDArray[np.float64]:
    """Sum up what each place costs, (n_places,)."""
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    hidden = np.sum(_shared_areas(boxes, taken), axis=1) / areas
    outside = 1 - _shared_areas(boxes, frame[None])[:, 0] / areas
    gaps, sides = np.divmod(np.arange(len(boxes)), len(_SIDES))
    return (
        _ON_A_TEXT * (hidden + outside)
        + _ON_AN_ANCHOR * _n_inside(boxes, anchors)
        + _ON_A_THING * np.minimum(_n_inside(boxes, things), _MOST_THINGS)
        + _FURTHER * gaps
        + _NEXT_SIDE * sides
    )


def _shared_areas(boxes: NDArray, others: NDArray) -> NDArray[np.float64]:
    """Areas that boxes have in common with others, (n_boxes, n_others)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.prod(np.maximum(high - low, 0), axis=2)


def _n_inside(boxes: NDArray, points: NDArray) -> NDArray[np.int64]:
    """Count the points in each box, (n_boxes,)."""
    x, y = points.T
    left, bottom, right, top = boxes.T[:, :, None]
    is_inside = (left <= x) & (x <= right) & (bottom <= y) & (y <= top)
    return is_inside.sum(axis=1)

"""Helpers for tests of displays: the texts of a figure, and checks of their layout."""

import itertools

import numpy as np


def border_midpoints(grid, labels):
    """Return the midpoints of the borders between units of different labels."""
    midpoints = set()
    for unit, neighbors in enumerate(grid.neighbors()):
        angles = 2 * np.pi * np.arange(len(neighbors)) / len(neighbors)
        for other, angle in zip(neighbors, angles, strict=True):
            if other >= 0 and labels[other] != labels[unit]:
                x, y = grid.positions()[unit] + [np.cos(angle) / 2, np.sin(angle) / 2]
                midpoints.add((round(x, 6) + 0.0, round(y, 6) + 0.0))
    return midpoints


def assert_borders_separate(borders, grid, labels):
    """Check a collection of borders: where they are, and that each is the edge of a cell."""
    segments = np.array(borders.get_segments())
    midpoints = [tuple(point) for point in segments.mean(axis=1).round(6) + 0.0]
    assert len(midpoints) == len(set(midpoints)) > 5
    assert set(midpoints) == border_midpoints(grid, labels)
    lengths = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1)
    np.testing.assert_allclose(lengths, 1 / np.sqrt(3) if grid.is_hexagonal else 1)


def texts_in(figure):
    """Yield all texts of a figure, its subfigures and its legends."""
    yield from figure.texts
    for subfigure in figure.subfigs:
        yield from texts_in(subfigure)
    if figure is not figure.figure:
        return
    for ax in figure.axes:
        yield from (ax.title, ax._left_title, *ax.texts)
        if ax.get_legend():
            yield from ax.get_legend().get_texts()
        for axis in (ax.xaxis, ax.yaxis) if ax.axison else ():
            yield axis.label
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if low <= tick.get_loc() <= high:
                    yield from (tick.label1, tick.label2)


def assert_texts_fit_and_do_not_overlap(figure):
    if figure.stale:  # changed since it was drawn
        figure.draw_without_rendering()
    shown = [text for text in texts_in(figure) if text.get_text() and text.get_visible()]
    boxes = np.array([text.get_window_extent().extents for text in shown])
    assert len(boxes) > 1
    assert (boxes[:, :2] >= -1).all() and (boxes[:, 2:] <= figure.bbox.size + 1).all()
    for k, j in itertools.combinations(range(len(boxes)), 2):
        low, high = np.maximum(boxes[k, :2], boxes[j, :2]), np.minimum(boxes[k, 2:], boxes[j, 2:])
        assert not (high - low > 2).all(), (shown[k], shown[j])

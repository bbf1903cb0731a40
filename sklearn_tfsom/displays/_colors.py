"""Colors of classes, and of texts: told apart by people with color vision deficiencies, too."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._map.geometry import grid_edges
from sklearn_tfsom._map.grid import Grid

# Ten class colors that people with color vision deficiencies can tell apart, from M. A. Petroff
# (2021), "Accessible color sequences for data visualization".
_TEN_COLORS = (
    "#3f90da #ffa90e #bd1f01 #94a4a2 #832db6 #a96b59 #e76300 #b9ac70 #717581 #92dadd".split()
)

# Others are chosen among 14 levels of red, green and blue each, with a lightness in this range.
_N_LEVELS, _LIGHTNESS = 14, (30.0, 92.0)

# Linear red, green and blue as people without red or green cones see them, from Machado, Oliveira
# and Fernandes (2009): A physiologically-based model for simulation of color vision deficiency.
# IEEE Transactions on Visualization and Computer Graphics 15(6), 1291-1298.
_WITHOUT_RED = np.array(
    [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]
)
_WITHOUT_GREEN = np.array(
    [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
)

# The relative luminance with the same contrast ratio to black and to white.
_EQUAL_CONTRAST = math.sqrt(1.05 * 0.05) - 0.05

# Linear sRGB to CIE XYZ, divided by the white D65 (IEC 61966-2-1).
_TO_XYZ = np.array(
    [
        [0.412391 / 0.950456, 0.357584 / 0.950456, 0.180481 / 0.950456],
        [0.212639, 0.715169, 0.072192],
        [0.019331 / 1.089058, 0.119195 / 1.089058, 0.950532 / 1.089058],
    ]
)


def class_colors(n_classes: int) -> NDArray[np.float64]:
    """Return a color for each class, shape (n_classes, 4).

    Up to ten colors are easy to tell apart. Each further one is as different as possible from all
    before it.
    """
    palette = _palette(min(n_classes, _MAX_COLORS))[np.arange(n_classes) % _MAX_COLORS]
    return np.column_stack([palette, np.ones(n_classes)])


def colors_on_map(grid: Grid, labels: NDArray, n_classes: int) -> NDArray[np.float64]:
    """Return a color for each class on a map, shape (n_classes, 4).

    Of more than ten, those with most units get the colors that are easiest to tell apart, and
    classes that touch each other get different ones.

    Parameters
    ----------
    grid : Grid
    labels : ndarray of int, shape (n_units,)
        Class of each unit, -1 for none.
    n_classes : int
    """
    colors = class_colors(n_classes)
    if not len(_TEN_COLORS) < n_classes <= _MAX_COLORS:
        return colors
    differences = _differences(colors[:, :3], colors[:, :3])
    touches = _touching(grid, labels, n_classes)
    n_units = np.bincount(labels[labels >= 0], minlength=n_classes)
    color_of = np.full(n_classes, -1)
    free = list(range(n_classes))
    for label in np.argsort(-n_units, kind="stable"):
        beside = color_of[touches[label] & (color_of >= 0)]
        # The first color that differs well from those beside it, or else the most different one.
        apart = differences[np.ix_(free, beside)].min(axis=1, initial=np.inf)
        well = np.flatnonzero(apart >= min(_WELL_APART, apart.max()))
        color_of[label] = free.pop(int(well[0]))
    return colors[color_of]


def contrasting_colors(colors: NDArray) -> list[str]:
    """Return "black" or "white" for each color, shape (n, 3 or 4), by its relative luminance.

    It is the one with the higher contrast ratio of WCAG 2.1.
    """
    luminance = _linear(np.asarray(colors)[:, :3]) @ [0.2126, 0.7152, 0.0722]
    return ["black" if light > _EQUAL_CONTRAST else "white" for light in luminance]


# Beyond this number of classes, colors repeat: time and memory grow with its square.
_MAX_COLORS = 1000

# Colors that touch differ by this much, in CIELAB, if such a color is left.
_WELL_APART = 25.0


def _touching(grid: Grid, labels: NDArray, n_classes: int) -> NDArray[np.bool_]:
    """Return which classes have neighboring units, shape (n_classes, n_classes)."""
    pairs = labels[np.array(grid_edges(grid))]
    first, second = pairs[:, (pairs >= 0).all(axis=0)]
    touches = np.zeros((n_classes, n_classes), dtype=bool)
    touches[first, second] = touches[second, first] = True
    np.fill_diagonal(touches, False)
    return touches


@functools.cache
def _palette(n_colors: int) -> NDArray[np.float64]:
    """Return red, green and blue of so many colors, shape (n_colors, 3)."""
    codes = [color.lstrip("#") for color in _TEN_COLORS[:n_colors]]
    chosen = [[int(code[k : k + 2], 16) / 255 for k in (0, 2, 4)] for code in codes]
    if n_colors <= len(_TEN_COLORS):
        return np.array(chosen).reshape(n_colors, 3)
    levels = np.linspace(0, 1, _N_LEVELS)
    candidates = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    lightness = _to_lab(_linear(candidates))[:, 0]
    low, high = _LIGHTNESS
    candidates = candidates[(lightness >= low) & (lightness <= high)]
    nearest = _differences(candidates, np.array(chosen)).min(axis=1)
    while len(chosen) < n_colors:
        best = candidates[int(np.argmax(nearest))]
        chosen.append(best.tolist())
        nearest = np.minimum(nearest, _differences(candidates, best[None])[:, 0])
    return np.array(chosen)


def _differences(colors: NDArray, others: NDArray) -> NDArray[np.float64]:
    """Return the smallest difference over normal, red-blind and green-blind vision, (n, n_others).

    It is in CIELAB.
    """
    smallest = np.full((len(colors), len(others)), np.inf)
    for seen in (np.eye(3), _WITHOUT_RED, _WITHOUT_GREEN):
        own, other = (_to_lab(np.clip(_linear(c) @ seen.T, 0, 1)) for c in (colors, others))
        smallest = np.minimum(smallest, np.linalg.norm(own[:, None] - other, axis=2))
    return smallest


def _linear(colors: NDArray) -> NDArray[np.float64]:
    """Return linear red, green and blue of sRGB."""
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)


def _to_lab(linear: NDArray) -> NDArray[np.float64]:
    """Return CIELAB of linear red, green and blue."""
    xyz = linear @ _TO_XYZ.T
    curved = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = curved.T
    return np.column_stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])

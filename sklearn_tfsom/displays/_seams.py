"""Seams: lines between units on a map that is joined to itself.

Where edges of the map are joined, the shortest way from one unit to another can lead over the
seam: a line along it leaves the map on one side and comes back on the other.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._map.grid import Grid

# Of a longer path texts look at so many points.
_MOST_THINGS = 5000


def _lap_vectors(grid: Grid) -> NDArray[np.float64]:
    """How far the map's image is moved by a lap along rows and by one across them, (2, 2)."""
    height = np.sqrt(3) / 2 if grid.is_hexagonal else 1.0
    # A hexagonal torus with an odd number of rows is joined with a shift.
    shift = 0.5 if grid.is_hexagonal and grid.n_rows % 2 else 0.0
    return np.array([[grid.n_columns, 0.0], [shift, grid.n_rows * height]])


def laps(grid: Grid, units: NDArray, others: NDArray) -> NDArray[np.int64]:
    """Laps along rows and across them, (n, 2), on the shortest way; 0 unless a seam is crossed."""
    around = (-1, 0, 1) if grid.boundary != "planar" else (0,)
    over = (-1, 0, 1) if grid.boundary == "toroidal" and grid.n_rows > 1 else (0,)
    few = np.array(sorted(itertools.product(around, over), key=lambda lap: (lap != (0, 0), lap)))
    positions = grid.positions()
    ways = (positions[others] - positions[units])[:, None] + few @ _lap_vectors(grid)
    # Of equals the one within the map comes first, whatever rounding says.
    return few[np.argmin(np.round(np.linalg.norm(ways, axis=2), 9), axis=1)]


def cut(grid: Grid, ends: NDArray, units: NDArray, lap: NDArray) -> list[NDArray]:
    """Cut a line where it crosses seams, and bring the pieces back onto the map."""
    if not lap.any():
        return [ends]
    vectors = _lap_vectors(grid)
    start, way = ends[0], ends[1] + lap @ vectors - ends[0]
    # Rows of a hexagonal lattice end half a spacing apart: the edge is between those of the two.
    left = -0.5 + (np.mean(units // grid.n_columns % 2) / 2 if grid.is_hexagonal else 0.0)
    low = np.array([left, -vectors[1, 1] / 2 / grid.n_rows])
    seams = np.where(lap > 0, low + np.diag(vectors), low)
    backs = -lap[:, None] * vectors

    def share(k: int, seam: float) -> float:
        return float(np.clip((seam - start[k]) / way[k], 0, 1)) if way[k] else 0.5

    def pieces(*cuts: tuple[float, NDArray]) -> list[NDArray]:
        found, last, move = [], 0.0, np.zeros(2)
        for at, back in [*cuts, (1.0, np.zeros(2))]:
            if at > last:
                found.append(start + move + np.outer([last, at], way))
            last, move = at, move + back
        return found

    across, over = share(0, seams[0]), share(1, seams[1])
    if not lap.all():
        return pieces((across, backs[0]) if lap[0] else (over, backs[1]))
    # Behind a seam that is joined with a shift the other one is elsewhere: which is first?
    behind = share(0, seams[0] + lap[1] * vectors[1, 0])
    ways = [
        pieces((min(across, over), backs[0]), (over, backs[1])),
        pieces((over, backs[1]), (max(behind, over), backs[0])),
    ]
    middle = (grid.n_columns - 1 + grid.is_hexagonal / 2) / 2
    return min(ways, key=lambda lines: np.abs(np.array(lines)[:, :, 0] - middle).max())


def points_along(lines: list[NDArray]) -> NDArray[np.float64]:
    """Points along the lines, not too many."""
    if not lines:
        return np.empty((0, 2))
    ends = np.array(lines[:: 1 + len(lines) // _MOST_THINGS])
    shares = np.linspace(0, 1, 5)[:, None]
    return (ends[:, :1] + shares * (ends[:, 1:] - ends[:, :1])).reshape(-1, 2)

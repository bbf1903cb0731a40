"""Lines between units of a map with joined boundaries.

On a cylindrical or toroidal map the shortest line between two units may cross a joined boundary:
it leaves the map on one side and enters it again on the opposite one. On a flat hexagonal torus
with an odd number of rows it may wind around several times; then the shortest one that crosses
each boundary at most once is drawn.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._map.geometry import (
    joins_columns,
    joins_rows,
    n_parities,
    row_height,
    seam_shift,
)
from sklearn_tfsom._map.grid import Grid

# Number of lines along which `points_along` returns points.
_MAX_LINES = 5000

# Shortest piece of a line on either side of a boundary, across it, in lattice spacings: less than
# the distance of marks from the edges of their cells.
_SHORTEST_PIECE = 0.1


def shortest_lines(
    grid: Grid, units: NDArray[np.int64], points: NDArray, steps: NDArray[np.int64]
) -> tuple[list[NDArray], NDArray[np.int64]]:
    """Return the shortest lines between successive points, cut where they cross a boundary.

    They cross each boundary at most once.

    Parameters
    ----------
    grid : Grid
    units : ndarray of int64, shape (n_points,)
        Unit of each point.
    points : ndarray of shape (n_points, 2)
        Points in the cells of their units.
    steps : ndarray of int64, shape (n_steps,)
        Points from which a line leads to the next point.

    Returns
    -------
    lines : list of ndarray of shape (2, 2)
        One line for each step, up to three for a step across boundaries.
    targets : ndarray of int64, shape (n_lines,)
        Point that each line leads to.
    """
    periods = _shortest_periods(grid, units[steps], units[steps + 1])
    lines: list[NDArray] = []
    targets: list[int] = []
    for step, period in zip(steps, periods, strict=True):
        pieces = _cut_line(grid, points[[step, step + 1]], units[[step, step + 1]], period)
        lines += pieces
        targets += [int(step) + 1] * len(pieces)
    return lines, np.array(targets, dtype=np.int64)


def points_along(lines: list[NDArray]) -> NDArray[np.float64]:
    """Return points along lines, a limited number of them."""
    if not lines:
        return np.empty((0, 2))
    ends = np.array(lines[:: 1 + len(lines) // _MAX_LINES])
    shares = np.linspace(0, 1, 5)[:, None]
    return (ends[:, :1] + shares * (ends[:, 1:] - ends[:, :1])).reshape(-1, 2)


def _period_vectors(grid: Grid) -> NDArray[np.float64]:
    """Return the offsets of the periodic images of a map, along rows and across them, (2, 2)."""
    height = grid.n_rows * row_height(grid)
    return np.array([[grid.n_columns, 0.0], [seam_shift(grid) / 2, height]])


def _shortest_periods(grid: Grid, units: NDArray, others: NDArray) -> NDArray[np.int64]:
    """Return the periods that the shortest lines cross, shape (n, 2); 0 within the map."""
    along = (-1, 0, 1) if joins_columns(grid) else (0,)
    across = (-1, 0, 1) if joins_rows(grid) else (0,)
    pairs = itertools.product(along, across)
    periods = np.array(sorted(pairs, key=lambda period: (period != (0, 0), period)))
    positions = grid.positions()
    offsets = positions[others] - positions[units]
    offsets = offsets[:, None] + periods @ _period_vectors(grid)
    # Rounded, so that of equal lengths the first one is taken, which is the line within the map.
    return periods[np.argmin(np.round(np.linalg.norm(offsets, axis=2), 9), axis=1)]


def _cut_line(grid: Grid, ends: NDArray, units: NDArray, period: NDArray) -> list[NDArray]:
    """Cut a line where it crosses boundaries, and shift the pieces onto the map."""
    if not period.any():
        return [ends]
    vectors = _period_vectors(grid)
    start, offset = ends[0], ends[1] + period @ vectors - ends[0]
    # Odd rows of a hexagonal lattice are shifted: the boundary is the mean of those of both rows.
    left = -0.5 + (np.mean(units // grid.n_columns % 2) / 2 if grid.is_hexagonal else 0.0)
    low = np.array([left, -vectors[1, 1] / 2 / grid.n_rows])
    boundaries = np.where(period > 0, low + np.diag(vectors), low)
    shifts = -period[:, None] * vectors

    def crossing(axis: int, boundary: float) -> float:
        """Return where the line crosses a boundary, as a share of its length.

        A point beside a row that ends elsewhere may lie beyond the boundary: a short piece of the
        line is then beside it, within the cell.
        """
        if not offset[axis]:
            return 0.5
        shortest = min(0.5, _SHORTEST_PIECE / abs(offset[axis]))
        share = (boundary - start[axis]) / offset[axis]
        return float(np.clip(share, shortest, 1 - shortest))

    def pieces(*cuts: tuple[float, NDArray]) -> list[NDArray]:
        """Return the pieces between cuts, each shifted by the cuts before it."""
        lines, last, total = [], 0.0, np.zeros(2)
        for share, shift in [*cuts, (1.0, np.zeros(2))]:
            if share > last:
                lines.append(start + total + np.outer([last, share], offset))
            last, total = share, total + shift
        return lines

    side, top = crossing(0, boundaries[0]), crossing(1, boundaries[1])
    if not period.all():
        lines = pieces((side, shifts[0]) if period[0] else (top, shifts[1]))
        # If the top is joined with a shift, the line can enter beside the cells.
        right = grid.n_columns - 1 + n_parities(grid) / 2
        return [np.column_stack([line[:, 0].clip(-0.5, right), line[:, 1]]) for line in lines]
    # If the top is joined with a shift, the side is crossed elsewhere after the top: take the
    # order of crossings that stays closer to the middle of the map.
    side_after_top = crossing(0, boundaries[0] + period[1] * vectors[1, 0])
    candidates = [
        pieces((min(side, top), shifts[0]), (top, shifts[1])),
        pieces((top, shifts[1]), (max(side_after_top, top), shifts[0])),
    ]
    middle = (grid.n_columns - 1 + grid.is_hexagonal / 2) / 2
    return min(candidates, key=lambda lines: np.abs(np.array(lines)[:, :, 0] - middle).max())

"""Geometry of a grid: joined edges, grid distances, neighbors, and coarser grids for its plane.

All squared grid distances come from one formula on whole numbers (columns counted in halves).
They are therefore exact: units that are equally far by symmetry get equal numbers, and the edge of
a bubble of radius 1, sqrt(3) or 2 falls where geometry says, not where rounding does.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn_tfsom._map.grid import Grid


def joins_rows(grid: Grid) -> bool:
    """Return True if the top of a grid is joined to the bottom."""
    return grid.boundary == "toroidal" and grid.n_rows > 1


def joins_columns(grid: Grid) -> bool:
    """Return True if the left edge of a grid is joined to the right one."""
    return grid.boundary != "planar"


def seam_shift(grid: Grid) -> int:
    """Return the half columns by which the top is shifted where it joins the bottom: 0 or 1."""
    return int(joins_rows(grid) and grid.is_hexagonal and grid.n_rows % 2)


def n_parities(grid: Grid) -> int:
    """Return 2 if odd rows are shifted, else 1."""
    return 2 if grid.is_hexagonal and grid.n_rows > 1 else 1


def row_height(grid: Grid) -> float:
    """Return the distance between two rows in lattice spacings."""
    return math.sqrt(3) / 2 if grid.is_hexagonal else 1.0


def half_columns(grid: Grid, rows: NDArray, columns: NDArray) -> NDArray:
    """Return positions along rows, in half columns."""
    return 2 * columns + rows % 2 * grid.is_hexagonal


def squared_distance(grid: Grid, rows: NDArray, half_columns: NDArray) -> NDArray[np.float64]:
    """Return the squared grid distance for a difference in rows and half columns."""
    per_row = 3 if grid.is_hexagonal else 4
    laps: Iterable[Any] = range(-1, 2) if joins_rows(grid) else range(1)
    shift = seam_shift(grid)
    if shift:
        # With a shifted seam a path that winds around can be the shorter one. The number of
        # laps is close to where (h - l)^2 + 3 (r - l n_rows)^2 is least, for one of two images
        # of the half columns h.
        around = half_columns % (2 * grid.n_columns)
        about = [
            (h + 3 * grid.n_rows * rows) // (1 + 3 * grid.n_rows**2)
            for h in (around, around - 2 * grid.n_columns)
        ]
        laps = (lap + more for lap in about for more in range(-1, 3))
    images = (
        _across(grid, half_columns - lap * shift) ** 2 + per_row * (rows - lap * grid.n_rows) ** 2
        for lap in laps
    )
    return functools.reduce(np.minimum, images) / 4


def _across(grid: Grid, half_columns: NDArray) -> NDArray:
    """Return a difference in half columns, or its shortest size around joined columns."""
    if not joins_columns(grid):
        return half_columns
    around = half_columns % (2 * grid.n_columns)
    return np.minimum(around, 2 * grid.n_columns - around)


def grid_edges(
    grid: Grid, n_neighbors: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of neighboring units, each once with the lower unit first."""
    neighbors = grid.neighbors(n_neighbors)
    units = np.repeat(np.arange(grid.n_units), neighbors.shape[1])
    others = neighbors.ravel()
    # On a narrow map joined to itself a neighbor can appear twice, or be the unit itself.
    is_edge = (others >= 0) & (units < others)
    pairs = np.unique(units[is_edge] * grid.n_units + others[is_edge])
    return np.divmod(pairs, grid.n_units)


def kinds_of_rows(grid: Grid) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return all squared grid distances without an n_units x n_units matrix.

    Those between the units of two rows depend on the kind of the pair, which is the number of rows
    between them and their parity, and on the columns between the units.

    Returns
    -------
    kinds : ndarray of int32, shape (n_rows, n_rows)
        Kind of each pair of rows.
    squared : ndarray of float64, shape (n_kinds, 2 n_columns - 1)
        ``squared[kinds[r, s], c - e + n_columns - 1]`` is the squared grid distance between the
        units at (r, c) and (s, e).
    """
    rows = np.arange(grid.n_rows)
    between = rows[:, None] - rows
    if not seam_shift(grid):
        between = abs(between)
    parity = rows % 2 if grid.is_hexagonal else np.zeros_like(rows)
    offset = parity[:, None] - parity
    kinds = (between + grid.n_rows) * 3 + offset + 1
    kinds, index = np.unique(kinds, return_inverse=True)
    between, offset = kinds // 3 - grid.n_rows, kinds % 3 - 1
    half_columns = 2 * np.arange(1 - grid.n_columns, grid.n_columns) + offset[:, None]
    squared = squared_distance(grid, between[:, None], half_columns)
    return index.reshape(grid.n_rows, grid.n_rows).astype(np.int32), squared


def separated(
    grid: Grid, target: Grid, source: Grid, *, is_mirrored: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return squared grid distances as the sum of a part along rows and one along columns.

    Only without a `seam_shift`.

    Parameters
    ----------
    grid : Grid
    target, source : Grid
        The grid, or a coarser one for the same plane, see `coarsened`.
    is_mirrored : bool
        Whether the target lies over the grid with its left edge at the right one. Only on a
        plane.

    Returns
    -------
    rows : ndarray of float64, shape (target.n_rows, source.n_rows)
        Part that depends on the two rows.
    columns : ndarray of float64, shape (p, q, target.n_columns, source.n_columns)
        Part that depends on the two columns, by the parity of the two rows. The squared grid
        distance between (r, c) of the target and (s, e) of the source, in squared lattice
        spacings of the grid, is ``rows[r, s] + columns[r % p, s % q, c, e]``. p and q are 2
        on a hexagonal lattice, but 1 for a single row.
    """
    rows, half_columns = _laid_over(grid, target)
    if is_mirrored:
        half_columns = _half_width(grid) - half_columns
    source_rows, source_half_columns = _laid_over(grid, source)
    between = np.subtract.outer(rows, source_rows)
    across = half_columns[:, None, :, None] - source_half_columns[None, :, None, :]
    none = np.zeros(())
    return squared_distance(grid, between, none), squared_distance(grid, none, across)


def coarsened(grid: Grid, spacing: float) -> Grid:
    """Return a coarser grid for the same plane.

    Parameters
    ----------
    grid : Grid
    spacing : float
        Approximate distance of its neighboring units, in lattice spacings of the grid.

    Returns
    -------
    coarser : Grid
        It is stretched from edge to edge of the grid, or once around where edges are joined.
    """

    def coarser(n: int, is_joined: bool, multiple: int = 1) -> int:
        steps = (n if is_joined else n - 1) / spacing
        least = 4 if is_joined else 1
        return min(n, max(multiple * round(steps / multiple), least) + (not is_joined))

    # On a hexagonal torus an even number of rows stays even.
    multiple = 2 if joins_rows(grid) and grid.is_hexagonal and grid.n_rows % 2 == 0 else 1
    return dataclasses.replace(
        grid,
        n_rows=coarser(grid.n_rows, joins_rows(grid), multiple),
        n_columns=coarser(grid.n_columns, joins_columns(grid)),
    )


def blur(grid: Grid, source: Grid) -> tuple[float, float]:
    """Return the variance of places within a cell of a coarser grid, less that of the grid itself.

    A unit stands for all places of its cell. From a side of a square to the other their
    variance is 1/12, and 5/72 along both axes of a regular hexagon of which the next ones are
    1 away (Conway and Sloane 1999, chapter 21: the second moments of both lattices); cells of
    a grid that is stretched over another one are stretched as well. In a single row they are
    intervals on either lattice.

    Parameters
    ----------
    grid : Grid
    source : Grid
        See `coarsened`.

    Returns
    -------
    rows, columns : float
        From row to row and along rows, in squared lattice spacings of the grid.
    """
    of_cell = 5 / 72 if grid.is_hexagonal and grid.n_rows > 1 else 1 / 12
    rows, columns = (of_cell * (stretch**2 - 1) for stretch in _stretch(grid, source))
    return rows, columns


def _stretch(grid: Grid, other: Grid) -> tuple[float, float]:
    """Return the distances of rows, and of columns, of another grid stretched over the grid."""

    def extent(grid: Grid) -> tuple[int, int]:
        """From the first to the last row and half column, or once around."""
        return (
            grid.n_rows if joins_rows(grid) else grid.n_rows - 1,
            2 * grid.n_columns if joins_columns(grid) else _half_width(grid),
        )

    rows, columns = (
        here / there if there else 1.0
        for here, there in zip(extent(grid), extent(other), strict=True)
    )
    return rows, columns


def _half_width(grid: Grid) -> int:
    """Return the number of half columns from the leftmost unit to the rightmost one."""
    return 2 * (grid.n_columns - 1) + n_parities(grid) - 1


def _laid_over(grid: Grid, other: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rows (other.n_rows,) and half columns (p, other.n_columns) of another grid.

    It is stretched over the grid. Of the grid itself they are whole numbers. Where parities of
    rows differ p is 2, else 1.
    """
    row_stretch, column_stretch = _stretch(grid, other)
    parities = np.arange(n_parities(other))[:, None]
    columns = half_columns(grid, parities, np.arange(other.n_columns))
    rows = row_stretch * np.arange(other.n_rows, dtype=np.float64)
    return rows, column_stretch * columns.astype(np.float64)

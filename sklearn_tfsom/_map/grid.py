"""The grid: where the units stand, and how far they are from one another.

Units are row-major: unit k stands at row ``k // n_columns``, column ``k % n_columns``.
On a hexagonal lattice odd rows are shifted by +0.5 and rows are sqrt(3)/2 apart, so that each
inner unit has six neighbors at grid distance 1.

All squared grid distances come from one formula on whole numbers (columns counted in halves).
They are therefore exact: units that are equally far by symmetry get equal numbers, and the edge of
a bubble of radius 1, sqrt(3) or 2 falls where geometry says, not where rounding does.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._validation import SIDE, check_value, choice, shown, wrong_parameter

LATTICES = ("hexagonal", "rectangular")
BOUNDARIES = ("planar", "cylindrical", "toroidal")

# Steps to the neighbors in (rows, half columns), in the order of the compass from the east.
_STEPS = {
    ("hexagonal", 6): ((0, 2), (1, 1), (1, -1), (0, -2), (-1, -1), (-1, 1)),
    ("rectangular", 4): ((0, 2), (1, 0), (0, -2), (-1, 0)),
    ("rectangular", 8): (
        (0, 2),
        (1, 2),
        (1, 0),
        (1, -2),
        (0, -2),
        (-1, -2),
        (-1, 0),
        (-1, 2),
    ),
}

_RULES = {
    "n_rows": SIDE,
    "n_columns": SIDE,
    "lattice": choice(LATTICES),
    "boundary": choice(BOUNDARIES),
}


@dataclass(frozen=True)
class Grid:
    """Units on a lattice.

    Parameters
    ----------
    n_rows, n_columns : int
        Number of rows and columns.
    lattice : {"hexagonal", "rectangular"}, default="hexagonal"
        Pattern of the unit positions.
    boundary : {"planar", "cylindrical", "toroidal"}, default="planar"
        How edges are joined. "cylindrical" joins the left edge to the right one, "toroidal" also
        the top to the bottom. A torus with a single row is a ring.

    Raises
    ------
    InvalidParameterError
        If a parameter is not valid.

    Notes
    -----
    A hexagonal torus with an odd number of rows is joined top to bottom with a shift of half a
    lattice spacing: its first and last row are both even, and only this shift keeps six neighbors
    at distance 1 around every unit. The distance is the shortest one over all images.

    Examples
    --------
    >>> from sklearn_tfsom import Grid
    >>> grid = Grid(8, 5)
    >>> grid.n_units, grid.neighbors()[0].tolist()
    (40, [1, 5, -1, -1, -1, -1])
    """

    n_rows: int
    n_columns: int
    lattice: str = "hexagonal"
    boundary: str = "planar"

    def __post_init__(self) -> None:
        for name, rule in _RULES.items():
            check_value(name, self, getattr(self, name), [rule])
        for name in ("n_rows", "n_columns"):  # products of small NumPy integers overflow
            object.__setattr__(self, name, int(getattr(self, name)))

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_columns)."""
        return self.n_rows, self.n_columns

    @property
    def n_units(self) -> int:
        """Number of units."""
        return self.n_rows * self.n_columns

    @property
    def is_hexagonal(self) -> bool:
        """Whether odd rows are shifted by half a lattice spacing."""
        return self.lattice == "hexagonal"

    @property
    def _joins_rows(self) -> bool:
        return self.boundary == "toroidal" and self.n_rows > 1

    @property
    def seam_shift(self) -> int:
        """Half columns by which the top is shifted where it joins the bottom."""
        return int(self._joins_rows and self.is_hexagonal and self.n_rows % 2)

    @property
    def _half_width(self) -> int:
        """Half columns from the leftmost unit to the rightmost one."""
        return 2 * (self.n_columns - 1) + int(self.is_hexagonal and self.n_rows > 1)

    def positions(self) -> NDArray[np.float64]:
        """Return the unit positions, shape (n_units, 2): x and y in lattice spacings."""
        rows, columns = np.divmod(np.arange(self.n_units), self.n_columns)
        height = math.sqrt(3) / 2 if self.is_hexagonal else 1.0
        return np.column_stack([self._half_columns(rows, columns) / 2, rows * height])

    def squared_distances(self, units: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
        """Return squared grid distances between units, elementwise with broadcasting.

        Parameters
        ----------
        units, others : array-like of int
            Unit indices, of shapes that broadcast.

        Returns
        -------
        squared : ndarray of float64
            In squared lattice spacings, exact multiples of 1/4.

        Raises
        ------
        ValueError
            If one is no index of a unit.
        """
        rows, columns = np.divmod(self._indices("units", units), self.n_columns)
        other_rows, other_columns = np.divmod(self._indices("others", others), self.n_columns)
        return self._squared(
            rows - other_rows,
            self._half_columns(rows, columns) - self._half_columns(other_rows, other_columns),
        )

    def _indices(self, name: str, units: ArrayLike) -> NDArray[np.int64]:
        """Return indices of units, checked."""
        indices = np.asarray(units)
        is_int = indices.dtype.kind in "iu"
        if indices.size and not (is_int and 0 <= indices.min() <= indices.max() < self.n_units):
            came = f"dtype {indices.dtype}"
            if is_int:
                came = f"values from {indices.min()} to {indices.max()}"
            raise ValueError(f"{name} must be ints in the range [0, {self.n_units}). Got {came}.")
        return indices.astype(np.int64)

    def row_blocks(self) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return all squared grid distances without an n_units x n_units matrix.

        Two rows see each other through one of few blocks of shape (n_columns, n_columns), which
        depends on how many rows lie between them and on their parity.

        Returns
        -------
        index : ndarray of int32, shape (n_rows, n_rows)
            Block of each pair of rows.
        blocks : ndarray of float64, shape (n_blocks, n_columns, n_columns)
            ``blocks[index[r, s], c, e]`` is the squared grid distance between the units at
            (r, c) and (s, e).
        """
        rows = np.arange(self.n_rows)
        between = rows[:, None] - rows
        if not self.seam_shift:
            between = abs(between)
        parity = rows % 2 if self.is_hexagonal else np.zeros_like(rows)
        offset = parity[:, None] - parity
        kinds = (between + self.n_rows) * 3 + offset + 1
        kinds, index = np.unique(kinds, return_inverse=True)
        between, offset = kinds // 3 - self.n_rows, kinds % 3 - 1
        columns = 2 * (np.arange(self.n_columns)[:, None] - np.arange(self.n_columns))
        blocks = self._squared(between[:, None, None], columns + offset[:, None, None])
        return index.reshape(self.n_rows, self.n_rows).astype(np.int32), blocks

    @property
    def n_parities(self) -> int:
        """2 if odd rows are shifted, else 1."""
        return 2 if self.is_hexagonal and self.n_rows > 1 else 1

    @property
    def separates(self) -> bool:
        """Whether rows and columns add up: not on a hexagonal torus with odd n_rows."""
        return not self.seam_shift

    def separated(
        self,
        target: Grid | None = None,
        source: Grid | None = None,
        *,
        is_mirrored: bool = False,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return squared grid distances as the sum of a part along rows and one along columns.

        Only where `separates`.

        Parameters
        ----------
        target, source : Grid, default=None
            This grid, or a coarser one for the same plane, see `coarsened`.
        is_mirrored : bool, default=False
            Whether the target lies over this grid with its left edge at the right one. Only on a
            plane.

        Returns
        -------
        rows : ndarray of float64, shape (target.n_rows, source.n_rows)
            Part that depends on the two rows.
        columns : ndarray of float64, shape (p, q, target.n_columns, source.n_columns)
            Part that depends on the two columns, by the parity of the two rows. The squared grid
            distance between (r, c) of the target and (s, e) of the source, in squared lattice
            spacings of this grid, is ``rows[r, s] + columns[r % p, s % q, c, e]``. p and q are 2
            on a hexagonal lattice, but 1 for a single row.
        """
        rows, half_columns = self._laid_over(target or self)
        if is_mirrored:
            half_columns = self._half_width - half_columns
        source_rows, source_half_columns = self._laid_over(source or self)
        between = np.subtract.outer(rows, source_rows)
        across = half_columns[:, None, :, None] - source_half_columns[None, :, None, :]
        none = np.zeros(())
        return self._squared(between, none), self._squared(none, across)

    def coarsened(self, spacing: float) -> Grid:
        """Return a coarser grid for the same plane.

        Parameters
        ----------
        spacing : float
            About how far its units are to be from one another, in lattice spacings of this grid.

        Returns
        -------
        coarser : Grid
            It is stretched from edge to edge of this one, or once around where edges are joined.
        """

        def coarser(n: int, is_joined: bool, multiple: int = 1) -> int:
            steps = (n if is_joined else n - 1) / spacing
            least = 4 if is_joined else 1
            return min(n, max(multiple * round(steps / multiple), least) + (not is_joined))

        # On a hexagonal torus an even number of rows stays even.
        multiple = 2 if self._joins_rows and self.is_hexagonal and self.n_rows % 2 == 0 else 1
        return Grid(
            coarser(self.n_rows, self._joins_rows, multiple),
            coarser(self.n_columns, self.boundary != "planar"),
            self.lattice,
            self.boundary,
        )

    def blur(self, source: Grid) -> tuple[float, float]:
        """Return the variance of a place known up to a unit of a coarser grid, less that on this.

        A unit stands for all places of its cell. From a side of a square to the other their
        variance is 1/12, and 5/72 along both axes of a regular hexagon of which the next ones are
        1 away (Conway and Sloane 1999, chapter 21: the second moments of both lattices); cells of
        a grid that is stretched over this one are stretched as well. In a single row they are
        intervals on either lattice.

        Parameters
        ----------
        source : Grid
            See `coarsened`.

        Returns
        -------
        rows, columns : float
            From row to row and along rows, in squared lattice spacings of this grid.
        """
        of_cell = 5 / 72 if self.is_hexagonal and self.n_rows > 1 else 1 / 12
        rows, columns = (of_cell * (stretch**2 - 1) for stretch in self._stretch(source))
        return rows, columns

    def _stretch(self, other: Grid) -> tuple[float, float]:
        """Return how far apart rows, and columns, of another grid are that is laid over this."""

        def extent(grid: Grid) -> tuple[int, int]:
            """From the first to the last row and half column, or once around."""
            joins_columns = grid.boundary != "planar"
            return (
                grid.n_rows if grid._joins_rows else grid.n_rows - 1,
                2 * grid.n_columns if joins_columns else grid._half_width,
            )

        rows, columns = (
            here / there if there else 1.0
            for here, there in zip(extent(self), extent(other), strict=True)
        )
        return rows, columns

    def _laid_over(self, other: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return rows (other.n_rows,) and half columns (p, other.n_columns) of another grid.

        It is stretched over this one. Of this grid itself they are whole numbers. Where parities
        of rows differ p is 2, else 1.
        """
        row_stretch, column_stretch = self._stretch(other)
        columns = np.broadcast_to(np.arange(other.n_columns), (other.n_parities, other.n_columns))
        half_columns = self._half_columns(np.arange(other.n_parities)[:, None], columns)
        rows = row_stretch * np.arange(other.n_rows, dtype=np.float64)
        return rows, column_stretch * half_columns.astype(np.float64)

    def neighbors(self, n_neighbors: int | None = None) -> NDArray[np.int64]:
        """Return the neighbors of each unit.

        Parameters
        ----------
        n_neighbors : {4, 6, 8}, default=None
            6 on a hexagonal lattice; 4 (the default) or 8 on a rectangular one.

        Returns
        -------
        neighbors : ndarray of int64, shape (n_units, n_neighbors)
            Unit indices, -1 where the map ends. On a grid that is joined to itself within two
            units a neighbor can appear twice, or be the unit itself.

        Raises
        ------
        InvalidParameterError
            If the lattice has no such neighbors.
        """
        if n_neighbors is None:
            n_neighbors = 6 if self.is_hexagonal else 4
        is_integer = isinstance(n_neighbors, numbers.Integral)
        if not is_integer or (self.lattice, n_neighbors) not in _STEPS:
            right = "6, or None" if self.is_hexagonal else "4 or 8, or None"
            right += f" on a {self.lattice} lattice"
            raise wrong_parameter("n_neighbors", "Grid.neighbors", right, shown(n_neighbors))
        steps = _STEPS[self.lattice, n_neighbors]
        rows, columns = np.divmod(np.arange(self.n_units)[:, None], self.n_columns)
        row_steps, half_steps = np.array(steps).T
        half_columns = self._half_columns(rows, columns) + half_steps
        laps, new_rows = np.divmod(rows + row_steps, self.n_rows)
        half_columns = half_columns - laps * self.seam_shift
        new_columns = (half_columns - new_rows % 2 * self.is_hexagonal) // 2
        outside = np.zeros(new_columns.shape, dtype=bool)
        if not self._joins_rows:
            outside |= laps != 0
        if self.boundary == "planar":
            outside |= (new_columns < 0) | (new_columns >= self.n_columns)
        found = new_rows * self.n_columns + new_columns % self.n_columns
        return np.where(outside, -1, found)

    def _half_columns(self, rows: NDArray, columns: NDArray) -> NDArray:
        return 2 * columns + (rows % 2 if self.is_hexagonal else 0)

    def _squared(self, rows: NDArray, half_columns: NDArray) -> NDArray[np.float64]:
        """Return the squared grid distance for a difference in rows and half columns."""
        per_row = 3 if self.is_hexagonal else 4
        laps: Iterable[Any] = range(-1, 2) if self._joins_rows else range(1)
        if self.seam_shift:
            # With a shifted seam a path that winds around can be the shorter one. The number of
            # laps is close to where (h - l)^2 + 3 (r - l n_rows)^2 is least, for one of two images
            # of the half columns h.
            around = half_columns % (2 * self.n_columns)
            about = [
                (h + 3 * self.n_rows * rows) // (1 + 3 * self.n_rows**2)
                for h in (around, around - 2 * self.n_columns)
            ]
            laps = [lap + more for lap in about for more in range(-1, 3)]
        images = (
            self._across(half_columns - lap * self.seam_shift) ** 2
            + per_row * (rows - lap * self.n_rows) ** 2
            for lap in laps
        )
        squared = next(images)
        for image in images:
            squared = np.minimum(squared, image)
        return squared / 4

    def _across(self, half_columns: NDArray) -> NDArray:
        if self.boundary == "planar":
            return half_columns
        around = half_columns % (2 * self.n_columns)
        return np.minimum(around, 2 * self.n_columns - around)


def grid_of(estimator: Any) -> Grid:
    """Return the grid of a fitted map."""
    n_rows, n_columns = estimator.grid_shape_
    return Grid(n_rows, n_columns, estimator._lattice, estimator._boundary)

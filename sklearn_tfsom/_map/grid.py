"""The grid: where the units stand, and how far they are from one another.

Units are row-major: unit k stands at row ``k // n_columns``, column ``k % n_columns``.
On a hexagonal lattice odd rows are shifted by +0.5 and rows are sqrt(3)/2 apart, so that each
inner unit has six neighbors at grid distance 1.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._map.geometry import (
    half_columns,
    joins_columns,
    joins_rows,
    row_height,
    seam_shift,
    squared_distance,
)
from sklearn_tfsom._validation import SIDE, check_value, choice, plain, shown, wrong_parameter

LATTICES = ("hexagonal", "rectangular")
BOUNDARIES = ("planar", "cylindrical", "toroidal")

# Steps to the neighbors in (rows, half columns), by lattice and number of neighbors, the default
# number first. The order is that of the compass from the east, which
# `displays._drawing.cell_corners` relies on.
_STEPS: dict[str, dict[int, tuple[tuple[int, int], ...]]] = {
    "hexagonal": {6: ((0, 2), (1, 1), (1, -1), (0, -2), (-1, -1), (-1, 1))},
    "rectangular": {
        4: ((0, 2), (1, 0), (0, -2), (-1, 0)),
        8: ((0, 2), (1, 2), (1, 0), (1, -2), (0, -2), (-1, -2), (-1, 0), (-1, 2)),
    },
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
    A hexagonal torus with an odd number of rows, 3 or more, is joined top to bottom with a shift
    of half a lattice spacing: its first and last row are both even, and only this shift keeps six
    neighbors at distance 1 around every unit. The distance is the shortest one over all images.

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
        for name in ("lattice", "boundary"):
            object.__setattr__(self, name, plain(getattr(self, name)))

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

    def positions(self) -> NDArray[np.float64]:
        """Return the unit positions, shape (n_units, 2): x and y in lattice spacings."""
        rows, columns = np.divmod(np.arange(self.n_units), self.n_columns)
        return np.column_stack([half_columns(self, rows, columns) / 2, rows * row_height(self)])

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
        return squared_distance(
            self,
            rows - other_rows,
            half_columns(self, rows, columns) - half_columns(self, other_rows, other_columns),
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
        valid = numbers_of_neighbors(self)
        n_neighbors = valid[0] if n_neighbors is None else n_neighbors
        if not isinstance(n_neighbors, numbers.Integral) or n_neighbors not in valid:
            right = f"{' or '.join(map(str, valid))}, or None on a {self.lattice} lattice"
            raise wrong_parameter("n_neighbors", "Grid.neighbors", right, shown(n_neighbors))
        rows, columns = np.divmod(np.arange(self.n_units)[:, None], self.n_columns)
        row_steps, half_steps = np.array(_STEPS[self.lattice][n_neighbors]).T
        laps, new_rows = np.divmod(rows + row_steps, self.n_rows)
        new_half_columns = half_columns(self, rows, columns) + half_steps - laps * seam_shift(self)
        new_columns = (new_half_columns - new_rows % 2 * self.is_hexagonal) // 2
        outside = np.zeros(new_columns.shape, dtype=bool)
        if not joins_rows(self):
            outside |= laps != 0
        if not joins_columns(self):
            outside |= (new_columns < 0) | (new_columns >= self.n_columns)
        found = new_rows * self.n_columns + new_columns % self.n_columns
        return np.where(outside, -1, found)


def numbers_of_neighbors(grid: Grid) -> tuple[int, ...]:
    """Return how many neighbors a unit may have in the plane; the first number is the default."""
    return tuple(_STEPS[grid.lattice])


def grid_of(estimator: Any) -> Grid:
    """Return the grid of a fitted map."""
    n_rows, n_columns = estimator.grid_shape_
    return Grid(n_rows, n_columns, estimator._lattice, estimator._boundary)

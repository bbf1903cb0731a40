"""Neighborhoods: how much a unit learns from the samples of a unit at some grid distance.

Each is its formula: a function of the squared grid distance (any shape, in squared lattice
spacings) and the radius (in lattice spacings), 1 at distance 0. Edges compare ``d <= r`` and not
the squares: a radius of sqrt(3) must reach the units at distance sqrt(3). To add a neighborhood,
add its formula and a row to `NEIGHBORHOODS`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sklearn_tfsom._compat import with_errstate
from sklearn_tfsom._machine import check_memory
from sklearn_tfsom._map.geometry import blur, kinds_of_rows, n_parities, seam_shift, separated
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._validation import shown, wrong_parameter

NeighborhoodFunction = Callable[[NDArray[np.float64], float], NDArray[np.float64]]

# Squared grid distances along rows and columns, and the blur of a coarser grid along each.
_Separated = tuple[tuple[NDArray, NDArray], tuple[float, float]]


def gaussian(squared: NDArray, radius: float) -> NDArray:
    """Return ``exp(-d^2 / (2 r^2))``: the radius is the standard deviation."""
    return np.exp(-squared / (2 * radius**2))


def cut_gaussian(squared: NDArray, radius: float) -> NDArray:
    """Return ``exp(-d^2 / (2 r^2))`` where ``d <= r``, else 0."""
    return np.where(np.sqrt(squared) <= radius, gaussian(squared, radius), 0.0)


def bubble(squared: NDArray, radius: float) -> NDArray:
    """Return 1 where ``d <= r``, else 0."""
    return np.where(np.sqrt(squared) <= radius, 1.0, 0.0)


def epanechnikov(squared: NDArray, radius: float) -> NDArray:
    """Return ``max(0, 1 - d^2 / r^2)``."""
    return np.maximum(0.0, 1 - (np.sqrt(squared) / radius) ** 2)


def mexican_hat(squared: NDArray, radius: float) -> NDArray:
    """Return ``(1 - d^2 / r^2) exp(-d^2 / (2 r^2))``: negative beyond the radius."""
    return (1 - (np.sqrt(squared) / radius) ** 2) * gaussian(squared, radius)


def triangle(squared: NDArray, radius: float) -> NDArray:
    """Return ``max(0, 1 - d / r)``."""
    return np.maximum(0.0, 1 - np.sqrt(squared) / radius)


class Neighborhood(NamedTuple):
    """A neighborhood, and where its radius ends by default."""

    formula: NeighborhoodFunction
    radius_end: float  # in lattice spacings


# Below a Gaussian radius of one lattice spacing the quantization error still falls, at 0.85
# without a rise of the topographic error. The compact neighborhoods end where they weigh the
# direct neighbors about as much; below, a unit would learn alone. The Mexican hat is 0 at its
# radius and negative beyond: at 1 it leaves the direct neighbors alone.
NEIGHBORHOODS = {
    "gaussian": Neighborhood(gaussian, 0.85),
    "cut_gaussian": Neighborhood(cut_gaussian, 1.0),
    "bubble": Neighborhood(bubble, 1.0),
    "epanechnikov": Neighborhood(epanechnikov, 1.5),
    "mexican_hat": Neighborhood(mexican_hat, 1.0),
    "triangle": Neighborhood(triangle, 2.0),
}


def neighborhood_of(neighborhood: str | NeighborhoodFunction) -> Neighborhood:
    """Return a neighborhood by name, or of a user's function, which ends like the Gaussian."""
    if isinstance(neighborhood, str):
        return NEIGHBORHOODS[neighborhood]
    return Neighborhood(neighborhood, NEIGHBORHOODS["gaussian"].radius_end)


class SeparableKernel(NamedTuple):
    """H as a product of a part along rows and a part along columns.

    ``H[(r, c), (s, e)] = rows[r, s] * columns[r % p, s % q, c, e]``: smoothing costs
    n_units (n_rows + p n_columns) products for each feature instead of n_units^2. The unit (s, e)
    may be one of a coarser grid. See `separated`.
    """

    rows: NDArray[np.float64]  # (n_rows, n_source_rows)
    columns: NDArray[np.float64]  # (p, q, n_columns, n_source_columns)


class BlockKernel(NamedTuple):
    """H as one block for each kind of pair of rows, see `kinds_of_rows`.

    ``H[(r, c), (s, e)] = blocks[kinds[r, s], c, e]``. The diagonals of a block are constant: only
    their values are stored.
    """

    kinds: NDArray[np.int32]  # (n_rows, n_rows)
    diagonals: NDArray[np.float64]  # (n_kinds, 2 n_columns - 1), by the difference c - e

    @property
    def blocks(self) -> NDArray[np.float64]:
        """The blocks, a view of shape (n_kinds, n_columns, n_columns)."""
        n_columns = (self.diagonals.shape[1] + 1) // 2
        # Backwards: along a row of a block c - e falls.
        windows = sliding_window_view(self.diagonals[:, ::-1], n_columns, axis=1)
        return windows[:, ::-1]


Kernel = SeparableKernel | BlockKernel


def checked_neighborhood(owner: Any, neighborhood: Any) -> str | NeighborhoodFunction:
    """Return a neighborhood by name, or a user's function with its results checked."""
    if isinstance(neighborhood, str):
        return neighborhood

    @functools.wraps(neighborhood, assigned=(), updated=())  # it keeps the function itself
    def checked(squared: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
        try:
            returned = neighborhood(squared, radius)
        except StopIteration as error:  # which a loop of the caller would take for its end
            raise RuntimeError("The neighborhood function raised StopIteration.") from error
        try:
            values = np.asarray(returned)
        except ValueError:  # a ragged list
            values = np.asarray(None)
        if values.dtype.kind not in "biuf":
            came = shown(returned)
        elif values.shape != squared.shape:
            came = f"shape {values.shape}"
        elif not np.isfinite(values).all():
            came = "values that are not finite"
        elif (largest := float(np.abs(values).max())) and not 1e-100 <= largest <= 1e100:
            came = f"a largest magnitude of {largest:g}"  # products with weights are float64
        else:
            return values.astype(np.float64)
        raise wrong_parameter(
            "neighborhood",
            owner,
            "a function that returns one number for each squared grid distance, the largest "
            "magnitude of which is 0 or in the range [1e-100, 1e100]; for distances of shape "
            f"{squared.shape} it must return that shape",
            came,
        )

    return checked


def is_separable(grid: Grid, neighborhood: str | NeighborhoodFunction) -> bool:
    """Return True if smoothing separates into rows and columns, and may lead from grid to grid.

    The exponential of a sum is a product of exponentials; no other neighborhood separates.
    """
    return neighborhood == "gaussian" and not seam_shift(grid)


# Arrays of the size of a kernel: squared grid distances, the kernel, and an intermediate one.
_ARRAYS = 3


def n_kernel_values(grid: Grid, neighborhood: str | NeighborhoodFunction) -> int:
    """Return the number of values that building and using a kernel takes, without building it."""
    if is_separable(grid, neighborhood):
        return _ARRAYS * (grid.n_rows**2 + (n_parities(grid) * grid.n_columns) ** 2)
    # Kinds of pairs of rows: by the rows between them, and by their shift if these are odd.
    n_kinds = (1 + n_parities(grid)) * grid.n_rows
    n_diagonals = 2 * grid.n_columns * n_kinds
    # The weights of all units for those of a row are written out to smooth.
    return _ARRAYS * (grid.n_rows**2 + n_diagonals + grid.n_units * grid.n_columns)


class Kernels:
    """Smoothing kernels of a map.

    Parameters
    ----------
    grid : Grid
        The units of the map. Radii are in its lattice spacings.
    neighborhood : str or callable
        A name of `NEIGHBORHOODS`, or a function h(squared grid distance, radius).

    Raises
    ------
    ValueError
        If a kernel does not fit into this machine's memory.
    """

    def __init__(self, grid: Grid, neighborhood: str | NeighborhoodFunction) -> None:
        owner = f"The neighborhood of a map of {grid.n_rows} x {grid.n_columns} units needs"
        check_memory(n_kernel_values(grid, neighborhood), owner)
        self._grid, self._neighborhood = grid, neighborhood
        # None where the kernel separates.
        self._kinds = None if is_separable(grid, neighborhood) else kinds_of_rows(grid)
        self._separated: dict[tuple[Grid, Grid, bool], _Separated] = {}

    @with_errstate(under="ignore")  # far away the weight is 0
    def kernel(
        self,
        radius: float,
        source: Grid | None = None,
        target: Grid | None = None,
        *,
        is_mirrored: bool = False,
    ) -> Kernel:
        """Return the kernel from the samples of the source's units to the target's code vectors.

        Parameters
        ----------
        radius : float
            In lattice spacings of the map.
        source, target : Grid, default=None
            By default the map; coarser grids only where the kernel `is_separable`. A coarser unit
            smooths by itself, and the variance of the kernel is less by that.
        is_mirrored : bool, default=False
            Whether the target is the mirror image. Only on a plane, where the kernel is separable.
        """
        if self._kinds is None:
            grids = source or self._grid, target or self._grid, is_mirrored
            if grids not in self._separated:
                self._separated[grids] = self._separate(*grids)
            (rows, columns), blurs = self._separated[grids]
            down, across = (math.sqrt(_squarable(radius) ** 2 - blur) for blur in blurs)
            return SeparableKernel(gaussian(rows, down), gaussian(columns, across))
        kinds, squared = self._kinds
        if isinstance(self._neighborhood, str):
            formula = NEIGHBORHOODS[self._neighborhood].formula
            return BlockKernel(kinds, formula(squared, _squarable(radius)))
        return BlockKernel(kinds, self._neighborhood(squared.copy(), radius))

    def _separate(self, source: Grid, target: Grid, is_mirrored: bool) -> _Separated:
        squared = separated(self._grid, target, source, is_mirrored=is_mirrored)
        return squared, blur(self._grid, source)


def _squarable(radius: float) -> float:
    """Keep the square of a radius in the range of float64; the neighborhood is the same beyond."""
    return min(max(radius, 1e-100), 1e100)

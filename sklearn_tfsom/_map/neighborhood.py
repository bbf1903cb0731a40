"""Neighborhoods: how much a unit learns from what a unit at some grid distance has won.

Each is its formula: a function of the squared grid distance (any shape, in squared lattice
spacings) and the radius (in lattice spacings), 1 at distance 0. Edges compare ``d <= r`` and not
the squares: a radius of sqrt(3) is to reach the units at distance sqrt(3).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._map.grid import Grid

Neighborhood = Callable[[NDArray[np.float64], float], NDArray[np.float64]]


def gaussian(squared: NDArray, radius: float) -> NDArray:
    """``exp(-d^2 / (2 r^2))``: the radius is the standard deviation."""
    return np.exp(-squared / (2 * radius**2))


def cut_gaussian(squared: NDArray, radius: float) -> NDArray:
    """``exp(-d^2 / (2 r^2))`` where ``d <= r``, else 0."""
    return np.where(np.sqrt(squared) <= radius, gaussian(squared, radius), 0.0)


def bubble(squared: NDArray, radius: float) -> NDArray:
    """``1`` where ``d <= r``, else 0."""
    return np.where(np.sqrt(squared) <= radius, 1.0, 0.0)


def epanechnikov(squared: NDArray, radius: float) -> NDArray:
    """``max(0, 1 - d^2 / r^2)``."""
    return np.maximum(0.0, 1 - squared / radius**2)


def mexican_hat(squared: NDArray, radius: float) -> NDArray:
    """``(1 - d^2 / r^2) exp(-d^2 / (2 r^2))``: negative beyond the radius."""
    return (1 - squared / radius**2) * gaussian(squared, radius)


def triangle(squared: NDArray, radius: float) -> NDArray:
    """``max(0, 1 - d / r)``."""
    return np.maximum(0.0, 1 - np.sqrt(squared) / radius)


NEIGHBORHOODS: dict[str, Neighborhood] = {
    "gaussian": gaussian,
    "cut_gaussian": cut_gaussian,
    "bubble": bubble,
    "epanechnikov": epanechnikov,
    "mexican_hat": mexican_hat,
    "triangle": triangle,
}


class SeparableKernel(NamedTuple):
    """H as a product of a part along rows and a part along columns.

    ``H[(r, c), (s, e)] = rows[r, s] * columns[r % 2, s % 2, c, e]``: smoothing costs
    n_units (n_rows + 2 n_columns) products for each feature instead of n_units^2. The unit (s, e)
    may be one of a coarser grid.
    """

    rows: NDArray[np.float64]  # (n_rows, n_source_rows)
    columns: NDArray[np.float64]  # (2, 2, n_columns, n_source_columns)


class BlockKernel(NamedTuple):
    """H as one block for each kind of pair of rows.

    ``H[(r, c), (s, e)] = blocks[kinds[r, s], c, e]``: the neighborhood is evaluated on
    n_blocks n_columns^2 distances instead of n_units^2, and no n_units^2 matrix is stored.
    """

    kinds: NDArray[np.int32]  # (n_rows, n_rows)
    blocks: NDArray[np.float64]  # (n_blocks, n_columns, n_columns)


Kernel = SeparableKernel | BlockKernel


def is_separable(grid: Grid, neighborhood: str | Neighborhood) -> bool:
    """Say whether smoothing separates into rows and columns, and may lead from grid to grid.

    The exponential of a sum is a product of exponentials; no other neighborhood separates.
    """
    return neighborhood == "gaussian" and grid.separates


def kernels(grid: Grid, neighborhood: str | Neighborhood) -> Callable[..., Kernel]:
    """Prepare the smoothing kernels of a map.

    Parameters
    ----------
    grid : Grid
        The units. Radii are in its lattice spacings.
    neighborhood : str or callable
        A name of `NEIGHBORHOODS`, or a function h(squared grid distance, radius).

    Returns
    -------
    kernel : callable
        ``kernel(radius, source, target)`` leads from what the units of the source have won to
        the code vectors of the target. Both are `grid`, unless others are given: coarser ones,
        where the kernel `is_separable`; there the target may be mirrored, too. What coarser units
        blur by themselves the kernel leaves out: its variance is less by that.
    """
    if is_separable(grid, neighborhood):

        @functools.cache
        def separated(
            source: Grid, target: Grid, is_mirrored: bool
        ) -> tuple[tuple[NDArray, NDArray], tuple[float, float]]:
            return grid.separated(target, source, is_mirrored=is_mirrored), grid.blur(source)

        def separable_kernel(
            radius: float, source: Grid = grid, target: Grid = grid, *, is_mirrored: bool = False
        ) -> SeparableKernel:
            (rows, columns), blurs = separated(source, target, is_mirrored)
            down, across = (math.sqrt(_squarable(radius) ** 2 - blur) for blur in blurs)
            return SeparableKernel(gaussian(rows, down), gaussian(columns, across))

        return separable_kernel

    kinds, squared = grid.row_blocks()

    def block_kernel(radius: float, source: Grid = grid, target: Grid = grid) -> BlockKernel:
        if isinstance(neighborhood, str):
            return BlockKernel(kinds, NEIGHBORHOODS[neighborhood](squared, _squarable(radius)))
        return BlockKernel(kinds, neighborhood(squared.copy(), radius))

    return block_kernel


def _squarable(radius: float) -> float:
    """Keep the square of a radius in float64's range; the neighborhood is the same beyond."""
    return min(max(radius, 1e-100), 1e100)

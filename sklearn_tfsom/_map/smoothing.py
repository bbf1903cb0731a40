"""From the statistics of units to code vectors: smoothing along the grid.

Everything here is of the size of a codebook, in the scaled space.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.scaling import Scaling, power_of_two
from sklearn_tfsom._data.tiles import map_tiles, row_slices, value_slices
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.neighborhood import BlockKernel, Kernel, Kernels
from sklearn_tfsom._tuning import CACHED_VALUES, MIN_SMOOTHED_FEATURES

# A mean direction shorter than this is rounding: the directions cancel out.
# That of float32 samples is up to 6e-8.
MIN_DIRECTION = 1e-6

# Smoothed weights up to this share of the largest weight count as 0: they have few digits.
_MIN_SHARE = 1e-290

# Smallest radius for interpolating a codebook, in lattice spacings: below it the weights of all
# units would underflow.
_MIN_RADIUS = 0.3


class TrainState(NamedTuple):
    """A codebook and the statistics that made it.

    After a projection the statistics are still those of the former grid.
    """

    codebook: NDArray[np.float64]  # (n_rows, n_columns, n_features)
    sums: NDArray[np.float64]  # (n_units, n_features): weighted sum of each unit's samples
    counts: NDArray[np.float64]  # (n_units, 1) or (n_units, n_features): their weight


def smooth(values: NDArray[np.float64], kernel: Kernel) -> NDArray[np.float64]:
    """Sum the values of all units, weighted by the neighborhood.

    Rows of a separable kernel have a parity, because odd rows of a hexagonal lattice are shifted.

    Parameters
    ----------
    values : ndarray of float64, shape (n_source_rows, n_source_columns, n_values)
    kernel : Kernel

    Returns
    -------
    smoothed : ndarray of float64, shape (n_rows, n_columns, n_values)
    """
    if isinstance(kernel, BlockKernel):
        n_columns = values.shape[1]
        tiles = value_slices(len(kernel.kinds), values[..., 0].size * n_columns, CACHED_VALUES)

        def of_rows(kinds: NDArray[np.int32]) -> NDArray[np.float64]:
            # Of (row, column, source row, source column).
            weights = kernel.blocks[kinds[:, None], np.arange(n_columns)[:, None]]
            return np.tensordot(weights, values, 2)

        return np.concatenate([of_rows(kernel.kinds[some]) for some in tiles])
    n_rows, (p, q, n_columns, _) = len(kernel.rows), kernel.columns.shape
    n_values = n_columns * values.shape[2]
    smoothed = np.empty((n_rows, n_values))
    along = np.empty((len(values), p * n_columns, values.shape[2]))  # for rows of each parity
    for parity in range(q):
        columns = kernel.columns[:, parity].reshape(p * n_columns, -1)
        np.matmul(columns, values[parity::q], out=along[parity::q])
    along = along.reshape(len(values), p, n_values)
    for parity in range(p):
        np.matmul(kernel.rows[parity::p], along[:, parity], out=smoothed[parity::p])
    return smoothed.reshape(n_rows, n_columns, -1)


def move_codebook(
    codebook: NDArray[np.float64],
    sums: NDArray[np.float64],
    counts: NDArray[np.float64],
    kernel: Kernel,
    scaling: Scaling,
    source_shape: tuple[int, int] | None = None,
) -> NDArray[np.float64]:
    """Move the code vectors to ``(H sums) / (H counts)``.

    They stay where no sample reaches them, and where negative weights cancel the positive ones.
    On a sphere the result is moved to it, in the direction of the mean; a code vector stays where
    the directions around it cancel out.

    Parameters
    ----------
    codebook : ndarray of float64, shape (n_rows, n_columns, n_features)
    sums : ndarray of float64, shape (n_source_units, n_features)
    counts : ndarray of float64, shape (n_source_units, 1) or (n_source_units, n_features)
    kernel : Kernel
    scaling : Scaling
    source_shape : tuple (n_source_rows, n_source_columns), default=None
        Shape of the grid of the statistics, by default that of the codebook.

    Returns
    -------
    moved : ndarray of float64, shape (n_rows, n_columns, n_features)
    """
    moved, power = np.empty_like(codebook), power_of_two(float(counts.max()))
    shape = source_shape or codebook.shape[:2]

    def move(block: slice) -> None:
        """Move some of the features, so that what is computed on the way stays in the cache."""
        weights = counts if counts.shape[1] == 1 else counts[:, block]
        statistics = np.concatenate([sums[:, block], weights], axis=1) / power
        statistics = statistics.reshape(*shape, -1)
        smoothed, n_weights = smooth(statistics, kernel), weights.shape[1]
        numerator, denominator = smoothed[:, :, :-n_weights], smoothed[:, :, -n_weights:]
        smallest = np.maximum(_MIN_SHARE, _rounding(statistics[:, :, -n_weights:], kernel))
        is_reached, target = np.abs(denominator) > smallest, moved[:, :, block]
        if is_reached.all():  # without a mask, which takes time
            np.divide(numerator, denominator, out=target)
        else:
            target[:] = codebook[:, :, block]
            np.divide(numerator, denominator, out=target, where=is_reached)

    n_together = max(MIN_SMOOTHED_FEATURES, CACHED_VALUES // math.prod(codebook.shape[:2]))
    for _ in map_tiles(move, row_slices(codebook.shape[2], n_together)):
        pass
    return _on_sphere(moved, codebook, scaling)


def _on_sphere(
    codebook: NDArray[np.float64], instead: NDArray[np.float64], scaling: Scaling
) -> NDArray[np.float64]:
    """Move code vectors to the sphere of the metric, if it has one.

    Those without a direction, where the directions that they average cancel out, are replaced.
    """
    if scaling.metric.direction is None:
        return codebook
    flat = scaling.inverse_transform(codebook).reshape(-1, codebook.shape[2])
    # A short mean of centered samples is centered to fewer digits.
    directions = np.array(scaling.metric.direction(flat)).reshape(codebook.shape)
    length = np.linalg.norm(directions, axis=2, keepdims=True)
    has_direction = length > MIN_DIRECTION
    directions /= np.where(has_direction, length, 1)
    return np.where(has_direction, (directions - scaling.center) * scaling.scale, instead)


def _rounding(counts: NDArray[np.float64], kernel: Kernel) -> NDArray[np.float64] | float:
    """Return the rounding of smoothed counts whose positive and negative parts cancel out."""
    if not isinstance(kernel, BlockKernel) or kernel.diagonals.min() >= 0:
        return 0.0
    sizes = smooth(counts, kernel._replace(diagonals=np.abs(kernel.diagonals)))
    n_units = counts.shape[0] * counts.shape[1]
    return n_units * np.finfo(np.float64).eps * sizes


def root_mean_square_shift(codebook: NDArray[np.float64], former: NDArray[np.float64]) -> float:
    """Return the root mean square distance between code vectors before and after an update."""
    n_rows, n_columns, _ = codebook.shape
    with np.errstate(over="ignore"):  # far away it is infinite
        return float(np.linalg.norm(codebook - former)) / math.sqrt(n_rows * n_columns)


def project(
    state: TrainState,
    kernels: Kernels,
    radius: float,
    source: Grid,
    target: Grid,
    scaling: Scaling,
    *,
    is_mirrored: bool = False,
) -> TrainState:
    """Bring a codebook to another grid, by the neighborhood of some radius.

    Where the neighborhood reaches no sample, the old codebook is interpolated.
    """
    if source == target and not is_mirrored:
        return state
    grids: dict[str, Any] = {"source": source, "target": target, "is_mirrored": is_mirrored}
    units = np.concatenate([state.codebook, np.ones((*source.shape, 1))], axis=2)
    around = smooth(units, kernels.kernel(max(float(radius), _MIN_RADIUS), **grids))
    places = (
        np.linspace(0, n_source - 1, n_target).astype(int)
        for n_source, n_target in zip(source.shape, target.shape, strict=True)
    )
    former = around[:, :, :-1] / around[:, :, -1:]
    former = _on_sphere(former, state.codebook[np.ix_(*places)], scaling)
    kernel = kernels.kernel(float(radius), **grids)
    moved = move_codebook(former, state.sums, state.counts, kernel, scaling, source.shape)
    return state._replace(codebook=moved)

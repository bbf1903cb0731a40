"""The codebook before training, and the size of the map.

Everything here obeys sample weights: weight k is k repetitions. Only rows of positive weight may
come in.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.sparsefuncs import min_max_axis

from sklearn_tfsom._data.minibatches import in_order
from sklearn_tfsom._data.moments import PrincipalPlane, feature_ranges
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.workers import ALONE, Workers
from sklearn_tfsom._map.grid import Grid

INITS = ("pca", "sample", "random")


def automatic_shape(n_samples: float, deviations: NDArray, lattice: str) -> tuple[int, int]:
    """Choose the map's size as SOM Toolbox does: about ``5 sqrt(n)`` units.

    The sides are as the standard deviations along the two largest principal components.

    Parameters
    ----------
    n_samples : float
        Number of samples, or their total weight.
    deviations : ndarray of shape (2,)
        Standard deviations along the two largest principal components.
    lattice : {"hexagonal", "rectangular"}

    Returns
    -------
    n_rows, n_columns : int

    References
    ----------
    Vesanto, Himberg, Alhoniemi, Parhankangas (2000): SOM Toolbox for Matlab 5, report A57,
    Helsinki University of Technology.
    """
    about = math.ceil(5 * math.sqrt(n_samples))
    side = _round(math.sqrt(about))
    n_units = side * _round(about / side)
    first, second = deviations
    is_degenerate = first == 0 or second * math.sqrt(n_units) < first
    ratio = 1.0 if is_degenerate else first / second
    stretch = math.sqrt(0.75) if lattice == "hexagonal" else 1.0
    n_columns = max(1, min(n_units, _round(math.sqrt(n_units / ratio * stretch))))
    return _round(n_units / n_columns), n_columns


def _round(value: float) -> int:
    """Round half up, as Matlab does."""
    return math.floor(value + 0.5)


def initial_codebook(
    init: str,
    grid: Grid,
    samples: Samples,
    sample_weight: NDArray[np.float64],
    plane: PrincipalPlane,
    random_state: np.random.RandomState,
    workers: Workers = ALONE,
) -> NDArray[np.float64]:
    """Make the codebook that training starts from.

    Parameters
    ----------
    init : {"pca", "sample", "random"}
        "pca" lays the grid on the principal plane, "sample" draws rows (with the mean for missing
        values), "random" draws uniformly from the box of the data.
    grid : Grid
    samples : Samples
    sample_weight : ndarray of float64, shape (n_samples,)
        Positive.
    plane : PrincipalPlane
        Of the same data.
    random_state : RandomState
        Used by "sample" and "random"; of several workers that of the first.
    workers : Workers, default=ALONE
        For "sample" they tell each other two numbers for each sample.

    Returns
    -------
    codebook : ndarray of float64, shape (n_units, n_features)
    """
    if init == "pca":
        axes = plane.deviations[:, None] * plane.directions
        return plane.mean + _plane_coordinates(grid) @ axes
    n_features = samples.shape[1]
    if init == "random":
        low, high = _feature_ranges(samples, workers)
        # Not low + u (high - low): the difference of two large numbers may overflow.
        share = workers.from_first(random_state.uniform(size=(grid.n_units, n_features)))
        return low * (1 - share) + high * share
    # Rows in the order of a random projection, drawn at equal steps of the cumulative weight:
    # neither the order of the rows nor repetition instead of weights changes what is drawn.
    order, reached, own = in_order(samples, sample_weight, plane.mean, random_state, workers)
    start = workers.from_first(random_state.uniform())
    at = (np.arange(grid.n_units) + start) / grid.n_units * reached[-1]
    drawn = order[np.minimum(np.searchsorted(reached, at, side="right"), len(order) - 1)]
    is_own = (own.start <= drawn) & (drawn < own.stop)
    codebook = np.zeros((grid.n_units, n_features))
    rows = samples.dense(drawn[is_own] - own.start)
    codebook[is_own] = np.where(np.isnan(rows), plane.mean, rows)
    return workers.sum(codebook)


def _feature_ranges(
    samples: Samples, workers: Workers
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if samples.is_sparse:
        low, high = min_max_axis(samples[:], axis=0)
        return workers.gather(low).min(axis=0), workers.gather(high).max(axis=0)
    return feature_ranges(samples, workers)


def _plane_coordinates(grid: Grid) -> NDArray[np.float64]:
    """Coordinates from -1 to 1 along both principal components, shape (n_units, 2).

    The first component lies along the side with more units (along the rows where they are equal).
    """
    rows, columns = np.divmod(np.arange(grid.n_units), grid.n_columns)
    along_rows = 2 * rows / max(1, grid.n_rows - 1) - (grid.n_rows > 1)
    along_columns = 2 * columns / max(1, grid.n_columns - 1) - (grid.n_columns > 1)
    if grid.n_rows >= grid.n_columns:
        return np.column_stack([along_rows, along_columns])
    return np.column_stack([along_columns, along_rows])

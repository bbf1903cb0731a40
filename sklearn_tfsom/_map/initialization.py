"""Size of the map, and the codebook before training; weight k counts as k repetitions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.minibatches import order_by_projection
from sklearn_tfsom._data.moments import Moments, feature_ranges
from sklearn_tfsom._data.pieces import Pieces
from sklearn_tfsom._distance import as_codebook
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.smoothing import MIN_DIRECTION

INITS = ("pca", "sample", "random")


def automatic_n_units(n_samples: float) -> int:
    """Return the number of units that suits samples: about ``5 sqrt(n)``, as in SOM Toolbox."""
    return math.ceil(5 * math.sqrt(n_samples))


def automatic_shape(
    n_samples: float, n_different: int, deviations: NDArray, lattice: str
) -> tuple[int, int]:
    """Choose the map's size: about ``5 sqrt(n)`` units, as SOM Toolbox does.

    The sides are as the standard deviations along the two largest principal components. Where
    the second one is too small for that, the map has two columns; one for samples on a line.

    Parameters
    ----------
    n_samples : float
        Number of samples, or their total weight.
    n_different : int
        Number of different samples; the map has no more units.
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
    about = min(automatic_n_units(n_samples), n_different)
    side = _round(math.sqrt(about))
    n_units = min(side * _round(about / side), n_different)
    stretch = math.sqrt(0.75) if lattice == "hexagonal" else 1.0
    first, second = deviations
    if first > 0 and second == 0:
        return n_units, 1
    ratio = first / second if first > 0 else 1.0
    # Here SOM Toolbox makes a square map, which would be crumpled.
    is_thin = second * math.sqrt(n_units) < first
    n_columns = _round(math.sqrt(n_units / ratio * stretch))
    n_columns = min(n_units, max(2 if is_thin else 1, n_columns))
    return min(_round(n_units / n_columns), n_different // n_columns), n_columns


def _round(value: float) -> int:
    """Round half up, as Matlab does."""
    return math.floor(value + 0.5)


def initial_codebook(
    init: str | NDArray[np.float64],
    grid: Grid,
    pieces: Pieces,
    moments: Moments,
    random_state: np.random.RandomState,
    whole: Grid | None = None,
) -> NDArray[np.float64]:
    """Make the codebook that training starts from.

    Parameters
    ----------
    init : {"pca", "sample", "random"} or ndarray of shape (n_units, n_features)
        "pca" lays the grid on the plane of the two largest principal components, "sample" draws
        samples (with the mean for missing values), "random" draws uniformly from the box that
        contains the data. An array is the codebook itself.
    grid : Grid
    pieces : Pieces
        Samples of positive weight.
    moments : Moments
        Of these samples.
    random_state : RandomState
        Used by "sample" and "random"; of several workers that of the first.
    whole : Grid, default=None
        The grid of the map, if `grid` is a coarser one.

    Returns
    -------
    codebook : ndarray of float64, shape (n_units, n_features)
    """
    if not isinstance(init, str):
        return init
    metric = pieces.samples.metric
    codebook = _drawn_codebook(init, grid, whole or grid, pieces, moments, random_state)
    if metric.direction is not None:
        # The origin has no direction; the data spread around it, and have a main one.
        lengths = np.linalg.norm(metric.direction(codebook), axis=1)
        codebook[lengths <= MIN_DIRECTION] = moments.directions[0]
    return as_codebook(codebook, metric)


def _drawn_codebook(
    init: str,
    grid: Grid,
    whole: Grid,
    pieces: Pieces,
    moments: Moments,
    random_state: np.random.RandomState,
) -> NDArray[np.float64]:
    workers, n_features = pieces.workers, pieces.samples.shape[1]
    if init == "pca":
        axes = moments.deviations[:, None] * moments.directions
        return moments.middle + _plane_coordinates(grid, whole) @ axes
    if init == "random":
        low, high = feature_ranges(pieces)
        # Not low + u (high - low): the difference of two large numbers may overflow.
        share = workers.from_first(random_state.uniform(size=(grid.n_units, n_features)))
        return low * (1 - share) + high * share
    # Samples in the order of a random projection, drawn at equal steps of the cumulative weight:
    # neither their order nor repetition in place of weights changes what is drawn.
    order, reached, own = order_by_projection(pieces, moments.mean, random_state)
    start = workers.from_first(random_state.uniform())
    at = (np.arange(grid.n_units) + start) / grid.n_units * reached[-1]
    drawn = order[np.minimum(np.searchsorted(reached, at, side="right"), len(order) - 1)]
    codebook = pieces.dense_rows(drawn, own)
    return np.where(np.isnan(codebook), moments.mean, codebook)


def _plane_coordinates(grid: Grid, whole: Grid) -> NDArray[np.float64]:
    """Return coordinates from -1 to 1 along both principal components, shape (n_units, 2).

    The first component lies along the side of the whole grid with more units (along the rows where
    they are equal).
    """
    rows, columns = np.divmod(np.arange(grid.n_units), grid.n_columns)
    along_rows = 2 * rows / max(1, grid.n_rows - 1) - (grid.n_rows > 1)
    along_columns = 2 * columns / max(1, grid.n_columns - 1) - (grid.n_columns > 1)
    if whole.n_rows >= whole.n_columns:
        return np.column_stack([along_rows, along_columns])
    return np.column_stack([along_columns, along_rows])

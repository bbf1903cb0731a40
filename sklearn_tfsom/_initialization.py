"""The codebook before training, and the size of the map.

Everything here obeys sample weights: weight k is k repetitions. Only rows of positive weight may
come in.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from sklearn_tfsom._grid import Grid

INITS = ("pca", "sample", "random")

# Covariances of incomplete data are taken by pairs of features, up to as many.
_MOST_PAIRED_FEATURES = 4096

# Values of a tile of rows.
_TILE_VALUES = 2**20


class PrincipalPlane(NamedTuple):
    """Mean, spread and the two main directions of the data."""

    mean: NDArray[np.float64]  # (n_features,)
    spread: float  # root mean square distance to the mean
    deviations: NDArray[np.float64]  # (2,) standard deviations along the directions (ddof = 0)
    directions: NDArray[np.float64]  # (2, n_features) unit eigenvectors of the covariance


def principal_plane(
    X: NDArray, sample_weight: NDArray[np.float64], n_directions: int = 2
) -> PrincipalPlane:
    """Find the plane of the two largest principal components.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        NaN where a value is missing; every feature has one that is not.
    sample_weight : ndarray of float64, shape (n_samples,)
        Positive.
    n_directions : int, default=2
        0 where only mean and spread are needed, which takes no product of the data with itself.

    Returns
    -------
    plane : PrincipalPlane
        The sign of an eigenvector is arbitrary; here its largest component is positive (the first
        of those that are equally large within 1e-6). Missing directions (one feature, say) are 0.
        The spread is not finite where differences of the data leave float64's range.

    Notes
    -----
    Mean and variance of a feature are over its known values, the covariance of two features over
    the samples where both are known, as in SOM Toolbox. With more than 4,096 features, where a
    product of all features with each other is too much, missing values count as the mean in a
    covariance, and features are scaled to the variances of their known values.
    """
    n_samples, n_features = X.shape
    deviations, directions = np.zeros(2), np.zeros((2, n_features))
    tiles = _tiles(X)
    shares = sample_weight / sample_weight.sum()
    low, high = X.min(), X.max()
    is_incomplete = bool(np.isnan(low))
    counts = np.ones(n_features)  # share of the weight for which each feature is known
    if is_incomplete:
        low, high = np.nanmin(X), np.nanmax(X)
        counts = np.add.reduce([shares[rows] @ ~np.isnan(X[rows]) for rows in tiles])
    with np.errstate(over="ignore", invalid="ignore"):
        # From a first guess on, sums see small numbers only, wherever the data sit.
        guess = _first_known(X).astype(np.float64)
        mean = guess + sum(shares[rows] @ _from(guess, X[rows]) for rows in tiles) / counts
        largest = float(high) - float(low)
        if not math.isfinite(largest):  # each feature may still have a range
            lows, highs = np.nanmin(X, axis=0), np.nanmax(X, axis=0)
            largest = float(np.max(highs.astype(np.float64) - lows))
    if largest == 0 or not math.isfinite(largest):
        return PrincipalPlane(mean, largest, deviations, directions)

    # In units of about the largest range, so that no square leaves float64's range.
    unit = math.ldexp(1.0, math.frexp(largest)[1] - 1)

    def weighted(rows: slice) -> NDArray[np.float64]:
        tile = _from(mean, X[rows])
        tile *= (np.sqrt(shares[rows]) / unit)[:, None]
        return tile

    def plane(variances: NDArray[np.float64]) -> PrincipalPlane:
        spread = math.sqrt(np.sum(variances / counts)) * unit
        return PrincipalPlane(mean, spread, deviations, directions)

    if not n_directions:
        return plane(sum(np.einsum("ij,ij->j", tile, tile) for tile in map(weighted, tiles)))
    is_by_pairs = is_incomplete and n_features <= _MOST_PAIRED_FEATURES
    is_wide = n_samples < n_features and not is_by_pairs
    if is_wide:  # the same eigenvalues from the smaller product
        whole = weighted(slice(None))
        variances = np.einsum("ij,ij->j", whole, whole)
        whole /= np.sqrt(counts)
        scatter = whole @ whole.T
    else:
        scatter = np.zeros((n_features, n_features))
        for rows in tiles:
            tile = weighted(rows)
            scatter += tile.T @ tile
        variances = np.diag(scatter)
        if is_by_pairs:
            masks = (np.sqrt(shares[rows])[:, None] * ~np.isnan(X[rows]) for rows in tiles)
            both = sum(mask.T @ mask for mask in masks)
            scatter = np.divide(scatter, both, out=np.zeros_like(scatter), where=both > 0)
        elif is_incomplete:
            scatter = scatter / np.sqrt(np.outer(counts, counts))
    size = len(scatter)
    values, vectors = scipy.linalg.eigh(scatter, subset_by_index=[max(0, size - 2), size - 1])
    for place, (value, vector) in enumerate(zip(values[::-1], vectors.T[::-1], strict=True)):
        if value <= 1e-14 * values[-1]:  # below rounding a direction is an accident
            break
        direction = whole.T @ vector if is_wide else vector
        direction = direction / np.linalg.norm(direction)
        strong = np.abs(direction) >= (1 - 1e-6) * np.abs(direction).max()
        deviations[place] = math.sqrt(value) * unit
        directions[place] = direction * np.sign(direction[np.argmax(strong)])
    return plane(variances)


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
    X: NDArray,
    sample_weight: NDArray[np.float64],
    plane: PrincipalPlane,
    random_state: np.random.RandomState,
) -> NDArray[np.float64]:
    """Make the codebook that training starts from.

    Parameters
    ----------
    init : {"pca", "sample", "random"}
        "pca" lays the grid on the principal plane, "sample" draws rows (with the mean for missing
        values), "random" draws uniformly from the box of the data.
    grid : Grid
    X : ndarray of shape (n_samples, n_features)
    sample_weight : ndarray of float64, shape (n_samples,)
        Positive.
    plane : PrincipalPlane
        Of the same data.
    random_state : RandomState
        Used by "sample" and "random".

    Returns
    -------
    codebook : ndarray of float64, shape (n_units, n_features)
    """
    if init == "pca":
        axes = plane.deviations[:, None] * plane.directions
        return plane.mean + _plane_coordinates(grid) @ axes
    if init == "random":
        low, high = (f(X, axis=0).astype(np.float64) for f in (np.nanmin, np.nanmax))
        # Not low + u (high - low): the difference of two large numbers may overflow.
        share = random_state.uniform(size=(grid.n_units, X.shape[1]))
        return low * (1 - share) + high * share
    # Rows in the order of a random projection, drawn at equal steps of the cumulative weight:
    # neither the order of the rows nor repetition instead of weights changes what is drawn.
    projection = random_state.normal(size=X.shape[1])
    start = random_state.uniform()
    along = np.concatenate([_from(plane.mean, X[rows]) @ projection for rows in _tiles(X)])
    order = np.argsort(along, kind="stable")
    reached = np.cumsum(sample_weight[order])
    at = (np.arange(grid.n_units) + start) / grid.n_units * reached[-1]
    drawn = np.minimum(np.searchsorted(reached, at, side="right"), len(X) - 1)
    rows = X[order[drawn]].astype(np.float64)
    return np.where(np.isnan(rows), plane.mean, rows)


def _tiles(X: NDArray) -> list[slice]:
    step = max(1, _TILE_VALUES // X.shape[1])
    return [slice(first, first + step) for first in range(0, len(X), step)]


def _from(origin: NDArray[np.float64], X: NDArray) -> NDArray[np.float64]:
    """Differences to an origin, 0 where missing, row by row in memory.

    So sums round alike for any layout of X.
    """
    moved = np.array(X, dtype=np.float64, order="C")  # np.subtract's dtype is slower
    np.subtract(moved, origin, out=moved)
    if np.isnan(moved.min()):
        moved[np.isnan(moved)] = 0
    return moved


def _first_known(X: NDArray) -> NDArray:
    """First known value of each feature."""
    is_known = ~np.isnan(X[0])
    if is_known.all():
        return X[0]
    return X[np.argmax(~np.isnan(X), axis=0), np.arange(X.shape[1])]


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

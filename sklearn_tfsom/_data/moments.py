"""Mean, spread, covariance and main directions of samples, as reductions over pieces.

Weight k counts as k repetitions. All samples have positive weight.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from numpy.typing import NDArray

from sklearn_tfsom._data.pieces import Piece, Pieces
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.scaling import Scaling, power_of_two
from sklearn_tfsom._distance import stored_rows

# Features up to which a covariance matrix is computed (8 MiB); beyond, directions are found by
# Lanczos' method, which only multiplies by the covariance.
MAX_COVARIANCE_FEATURES = 1024

# Rows of a piece that are worth a product of all features with each other, and its values at most.
_PRODUCT_ROWS, _PRODUCT_VALUES = 2**12, 2**20

# A second component whose deviation is below this share of that of the first is rounding.
_MIN_DEVIATION = 1e-7

# Eigenvalues are equal if they differ by less than this share.
_EQUAL = 1e-9

# Features whose deviation is below this share of the largest are constant but for rounding.
_ROUNDING = 1e-12

# Directions and deviations are rounded to this share: the start of symmetric data then has ties
# that do not depend on the order of the samples.
_RESOLUTION = 2.0**-42

# Up to this number of varying features among many, their covariance is computed column by column.
_MAX_COLUMNS = 64

# Maximum number of restarts of Lanczos' method, for each tolerance in turn. (10,000 samples in 20
# clusters with 2,000 features need 39 products with the first one, and 56 with 1e-10.)
_MAX_RESTARTS, _TOLERANCES = 30, (1e-8, 1e-4, 0.1)

# Covariances of sparse samples are differences of products. Their rounding, as a share of the
# product of two means.
_ROUNDING_OF_PRODUCTS = 1e-13

# A covariance is kept if its rounding is at most this share of the spread, as a deviation.
_MAX_ROUNDING = 1e-2


class Moments(NamedTuple):
    """Mean, spread and main directions of the data."""

    mean: NDArray[np.float64]  # (n_features,) over known values
    spread: float  # root mean square distance to the mean; infinite beyond float64's range
    deviations: NDArray[np.float64]  # (2,) standard deviations along the directions (ddof = 0)
    directions: NDArray[np.float64]  # (2, n_features) unit vectors: components, or features
    covariance: NDArray[np.float64] | None  # divided by spread^2; of complete data, not too wide
    reach: NDArray[np.float64]  # (n_features,) largest distance of a known value to the mean
    middle: NDArray[np.float64]  # (n_features,) mean of the samples without outliers


def training_scaling(moments: Moments, codebook: NDArray, samples: Samples) -> Scaling:
    """Make the scaling of a training that begins at a codebook in data units.

    It is around the middle: one outlier can take the mean away from all other samples.
    """
    center = moments.middle
    # Equal samples have no spread, but may begin at a codebook that has one.
    with np.errstate(over="ignore"):  # `check_range` refuses it later
        of_start = np.abs(codebook - center).max(axis=0)
        of_samples = moments.reach + np.abs(center - moments.mean)
    return Scaling.of(
        center,
        moments.spread or float(of_start.max()),
        samples.dtype,
        samples.metric,
        reach=np.maximum(np.where(moments.reach > 0, of_samples, 0), of_start),
        is_sparse=samples.is_sparse,
    )


def compute_moments(pieces: Pieces, *, has_components: bool = True) -> Moments:
    """Compute mean, spread and the directions of the two largest principal components.

    Parameters
    ----------
    pieces : Pieces
        Every feature has a known value.
    has_components : bool, default=True
        Whether principal components are needed. Otherwise the two features of the largest variance
        take their place.

    Returns
    -------
    moments : Moments
        The largest component of a direction is positive (the first one if several are
        equally large, within 1e-6). Directions that do not exist are 0.

    Notes
    -----
    Mean and variance of a feature are over its known values, the covariance of two features over
    the samples in which both are known, as in SOM Toolbox. With more than 1,024 features missing
    values count as the mean in a covariance, and features are scaled to the variances of their
    known values.
    """
    samples, total = pieces.samples, pieces.total_weight
    n_features = samples.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = feature_ranges(pieces)
        largest = float(np.max(high - low))
        # From the lowest value on, sums are of small numbers, wherever the data lie.
        # Division by a power of two is exact: the sums of whole numbers are. Shares are below 1,
        # or below 2 where float64 has no larger power.
        power = min(2 * power_of_two(total), 2.0**1023)
        offset, known = pieces.reduce(feature_sums, low, power)
        mean = low + offset / known
        known *= power / total
        reach = np.where(high > low, np.maximum(high - mean, mean - low), 0)
    if largest == 0 or not math.isfinite(largest):
        return _without_directions(mean, largest, reach)
    # In units of about the largest range no square exceeds the range of float64.
    scale = max(power_of_two(largest), np.finfo(np.float64).tiny)
    if n_features > MAX_COVARIANCE_FEATURES or (samples.has_missing and not has_components):
        return _by_variances(pieces, _Features(mean, reach, known, scale), has_components)
    return _by_covariance(pieces, _Features(mean, reach, known, scale), has_components)


class _Features(NamedTuple):
    """Statistics by feature that the moments are computed from."""

    mean: NDArray[np.float64]  # (n_features,) over known values
    reach: NDArray[np.float64]  # (n_features,) largest distance of a known value to it
    known: NDArray[np.float64]  # (n_features,) share of the weight for which a value is known
    scale: float  # about the largest range of a feature


def _by_variances(pieces: Pieces, features: _Features, has_components: bool) -> Moments:
    """Compute moments without a covariance matrix."""
    mean, reach, known, scale = features
    arguments = mean, scale, pieces.total_weight
    variances = pieces.reduce(_variances, *arguments)
    spread = _spread(variances, known, scale)
    if has_components:
        deviations, found = _lanczos(pieces, variances, (*arguments, np.sqrt(known)))
    else:
        deviations, found = _largest_features(variances / known)
    return _with_directions(_without_directions(mean, spread, reach), deviations * scale, found)


def _by_covariance(pieces: Pieces, features: _Features, has_components: bool) -> Moments:
    """Compute moments from a covariance matrix."""
    mean, reach, known, scale = features
    samples, n_features = pieces.samples, len(mean)
    n_values = min(_PRODUCT_ROWS * n_features, _PRODUCT_VALUES)
    scatter, both = pieces.reduce(
        _scatter, mean, scale, pieces.total_weight, piece_values=n_values
    )
    variances = np.diag(scatter)
    spread = _spread(variances, known, scale)
    least = 0.0
    if samples.is_sparse:  # far from 0 little is left of a difference of products
        limit = np.sqrt(np.outer(variances, variances))
        scatter = np.clip(scatter, -limit, limit)
        products = np.outer(mean / scale, mean / scale)
        np.fill_diagonal(products, 0)
        least = math.sqrt(_ROUNDING_OF_PRODUCTS * np.linalg.norm(products)) * scale
    if samples.has_missing:
        scatter = np.divide(scatter, both, out=np.zeros_like(scatter), where=both > 0)
    # All workers have one scatter, but eigenvectors could differ by rounding of machines.
    largest = _two_largest(scatter) if has_components else _largest_features(np.diag(scatter))
    deviations, found = map(pieces.workers.from_first, largest)
    moments = _without_directions(mean, spread, reach)
    moments = _with_directions(moments, deviations * scale, found, least)
    if samples.has_missing or spread == 0 or least > _MAX_ROUNDING * spread:
        return moments
    return moments._replace(covariance=scatter * (scale / spread) ** 2)


def feature_ranges(pieces: Pieces) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the lowest and the highest known value of each feature."""
    low, negative_high = pieces.reduce(_ranges, combine=np.fmin)
    return low, -negative_high


def centered(samples: Samples, origin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return differences of dense samples to an origin, 0 where missing, in C order.

    So sums round alike for any memory layout of the data.
    """
    differences = np.subtract(samples[:], origin, dtype=np.float64, order="C")
    if samples.has_missing:
        differences[np.isnan(differences)] = 0
    return differences


def _known_mask(tile: NDArray) -> NDArray[np.float64]:
    """Return 1 for a value that is known, 0 where it is missing, in C order like `centered`."""
    return (~np.isnan(tile)).astype(np.float64, order="C")


def feature_sums(piece: Piece, origin: NDArray, power: float) -> tuple[NDArray, NDArray]:
    """Sum differences to an origin, and the weight of known values, both divided by a power."""
    samples, shares = piece.samples, piece.sample_weight / power
    known = np.full(len(origin), shares.sum())
    if samples.is_sparse:
        return summed_differences(samples[:], shares, origin), known
    if samples.has_missing:
        known = shares @ _known_mask(samples[:])
    return shares @ centered(samples, origin), known


def _ranges(piece: Piece) -> tuple[NDArray, NDArray]:
    """Return the lowest value of each feature, and minus the highest."""
    samples = piece.samples
    tile, n_features = samples[:], samples.shape[1]
    if not len(samples):
        return np.full(n_features, np.inf), np.full(n_features, np.inf)
    if samples.is_sparse:
        low, high = tile.min(axis=0), tile.max(axis=0)
        return tuple(bound.toarray().ravel().astype(np.float64) for bound in (low, -high))
    lowest, highest = (np.fmin, np.fmax) if samples.has_missing else (np.minimum, np.maximum)
    low, high = lowest.reduce(tile, axis=0), highest.reduce(tile, axis=0)
    return low.astype(np.float64), -high.astype(np.float64)


def _weighted(piece: Piece, mean: NDArray, scale: float, total: float) -> NDArray[np.float64]:
    """Return centered and scaled samples, times the roots of their shares of the weight."""
    tile = centered(piece.samples, mean)
    tile *= (np.sqrt(piece.sample_weight / total) / scale)[:, None]
    return tile


def _variances(piece: Piece, mean: NDArray, scale: float, total: float) -> NDArray[np.float64]:
    """Sum the squares of centered samples."""
    if not piece.samples.is_sparse:
        tile = _weighted(piece, mean, scale, total)
        return np.einsum("ij,ij->j", tile, tile)
    return summed_differences(piece.samples[:], piece.sample_weight / total, mean, scale, power=2)


def summed_differences(
    X: Any,
    shares: NDArray[np.float64],
    origin: NDArray[np.float64],
    scale: float = 1.0,
    *,
    power: int = 1,
) -> NDArray[np.float64]:
    """Sum the weighted differences of sparse rows to an origin, or their squares, (n_features,).

    Not as a difference of sums, of which little is left far from 0. They are divided by `scale`.
    """
    stored, center = shares[stored_rows(X)], origin / scale
    differences = stored * (X.data / np.float64(scale) - center[X.indices]) ** power
    sums = np.bincount(X.indices, differences, minlength=len(origin))
    n_zeros = np.maximum(shares.sum() - np.bincount(X.indices, stored, minlength=len(origin)), 0)
    n_zeros[np.bincount(X.indices, minlength=len(origin)) == X.shape[0]] = 0  # without rounding
    return sums + n_zeros * (-center) ** power


def _scatter(
    piece: Piece, mean: NDArray, scale: float, total: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum the products of all features; and the weights for which both are known."""
    samples = piece.samples
    if samples.is_sparse:
        X, shares = samples[:].astype(np.float64), piece.sample_weight / total
        X.data /= scale
        weighted = X.copy()
        weighted.data *= shares[stored_rows(X)]
        product, center, sums = (X.T @ weighted).toarray(), mean / scale, shares @ X
        crossed = np.outer(center, sums)
        scatter = product - crossed - crossed.T + shares.sum() * np.outer(center, center)
        np.fill_diagonal(scatter, _variances(piece, mean, scale, total))
        return scatter, np.zeros(1)
    tile = _weighted(piece, mean, scale, total)
    if not samples.has_missing:
        return tile.T @ tile, np.zeros(1)
    known = _known_mask(samples[:])
    weighted = known * (piece.sample_weight / total)[:, None]
    return tile.T @ tile, weighted.T @ known


def _covariance_times(
    piece: Piece, vector: NDArray, mean: NDArray, scale: float, total: float, root: NDArray
) -> NDArray[np.float64]:
    """Multiply the part of a piece in the covariance, features divided by `root`, by a vector."""
    vector = vector / root
    if not piece.samples.is_sparse:
        tile = _weighted(piece, mean, scale, total)
        return tile.T @ (tile @ vector) / root
    X, center = piece.samples[:].astype(np.float64, copy=False), mean / scale
    along = (X @ vector / scale - center @ vector) * (piece.sample_weight / total)
    return (X.T @ along / scale - center * along.sum()) / root


def _lanczos(
    pieces: Pieces, variances: NDArray[np.float64], arguments: tuple[Any, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the two largest principal components of a covariance that is only multiplied by.

    Where machines round differently, each could need another number of steps. So the first of
    several workers runs the method and broadcasts each vector, followed by 1. All of them multiply
    it by their parts of the covariance. 0 in place of the 1 ends this.
    """
    workers, n_features = pieces.workers, len(variances)
    (varying,) = np.nonzero(variances > _ROUNDING**2 * variances.max())
    large: dict[str, Any] = {"piece_values": _PRODUCT_VALUES}
    deviations, directions = np.zeros(2), np.zeros((2, n_features))
    if workers.index == 0:

        def times(vector: NDArray[np.float64]) -> NDArray[np.float64]:
            sent = np.zeros(n_features + 1)
            sent[varying], sent[-1] = np.ravel(vector), 1
            sent = workers.from_first(sent)
            product = pieces.reduce(_covariance_times, sent[:-1], *arguments, **large)
            return np.asarray(product[varying])

        if len(varying) <= _MAX_COLUMNS:
            found = _two_largest(np.array([times(axis) for axis in np.eye(len(varying))]))
        else:
            found = _two_of_operator(times, variances[varying])
        deviations[: len(found[0])], directions[: len(found[0]), varying] = found
        workers.from_first(np.zeros(n_features + 1))
    else:
        while (received := workers.from_first(np.zeros(n_features + 1)))[-1]:
            pieces.reduce(_covariance_times, received[:-1], *arguments, **large)
    return workers.from_first(deviations), workers.from_first(directions)


def _two_of_operator(
    times: Callable[[NDArray[np.float64]], NDArray[np.float64]], variances: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return roots and vectors by Lanczos' method, of a function that multiplies by the matrix.

    Unlike in `_two_largest`, rounding chooses among the vectors of equal eigenvalues.
    """
    shape = (len(variances), len(variances))
    start = np.random.RandomState(0).uniform(size=len(variances)) * np.sqrt(variances)
    operator = scipy.sparse.linalg.LinearOperator(shape, times, dtype=np.float64)
    options: dict[str, Any] = {"k": 2, "v0": start, "maxiter": _MAX_RESTARTS}
    if "rng" in inspect.signature(scipy.sparse.linalg.eigsh).parameters:  # SciPy 1.17
        options["rng"] = np.random.default_rng(0)
    for tolerance in _TOLERANCES:
        try:
            values, vectors = scipy.sparse.linalg.eigsh(operator, tol=tolerance, **options)
        except scipy.sparse.linalg.ArpackNoConvergence:  # eigenvalues are close to each other
            continue
        return np.sqrt(np.maximum(values[::-1], 0)), vectors.T[::-1]
    # They are so close that any directions will do: those of the largest variances.
    return _largest_features(variances)


def _two_largest(
    scatter: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the roots of the two largest eigenvalues, and their vectors as rows."""
    size = len(scatter)
    values, vectors = scipy.linalg.eigh(scatter, subset_by_index=[max(0, size - 3), size - 1])
    rounding = 8 * size * np.finfo(np.float64).eps * values[-1]
    is_kept = len(values) == 3 and values[1] > _MIN_DEVIATION**2 * values[2]
    if is_kept and values[1] - values[0] <= max(_EQUAL * values[1], rounding):
        values, vectors = scipy.linalg.eigh(scatter)  # more may equal the second
    values, vectors = values[::-1], vectors[:, ::-1]
    found: list[NDArray[np.float64]] = []
    while len(found) < min(2, size):
        first = len(found)
        least = values[first] - max(_EQUAL * abs(values[first]), rounding)
        space = vectors[:, first : np.count_nonzero(values >= least)]
        found += _axes_within(space, min(2, size) - first)
    return np.sqrt(np.maximum(values[: len(found)], 0)), np.array(found)


def _largest_features(
    variances: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the deviations of the features of the largest variances, and their axes as rows."""
    features = np.argsort(-variances, kind="stable")[:2]
    axes = np.zeros((len(features), len(variances)))
    axes[np.arange(len(features)), features] = 1
    return np.sqrt(np.maximum(variances[features], 0)), axes


def _axes_within(space: NDArray[np.float64], most: int) -> list[NDArray[np.float64]]:
    """Return orthogonal unit vectors in the space of some eigenvectors, at most a number.

    Eigenvectors of equal eigenvalues are any basis of their space: rounding chooses it. Here it is
    chosen by the features: each vector is the projection of the axis that is closest to the
    rest of the space, the first one of several.
    """
    found: list[NDArray[np.float64]] = []
    while space.shape[1] > 1 and len(found) < most:
        lengths = np.linalg.norm(space, axis=1)
        axis = np.argmax(lengths >= (1 - 1e-6) * lengths.max())
        found.append(space @ space[axis] / lengths[axis])
        rest = space - np.outer(found[-1], found[-1] @ space)
        space = np.linalg.svd(rest, full_matrices=False)[0][:, : space.shape[1] - 1]
    return found if len(found) == most else [*found, space[:, 0]]


def _spread(variances: NDArray[np.float64], known: NDArray[np.float64], scale: float) -> float:
    return math.sqrt(np.sum(variances / known)) * scale


def _with_directions(
    moments: Moments,
    deviations: NDArray[np.float64],
    vectors: NDArray[np.float64],
    least: float = 0.0,
) -> Moments:
    """Give eigenvectors unit length and a sign; drop the second one if it is rounding."""
    least = max(least, _MIN_DEVIATION * deviations[0])
    kept, directions = np.zeros(2), np.zeros_like(moments.directions)
    for place, (deviation, vector) in enumerate(zip(deviations, vectors, strict=True)):
        if deviation <= (least if place else 0):
            break
        direction = _rounded(vector / np.linalg.norm(vector))
        strong = np.abs(direction) >= (1 - 1e-6) * np.abs(direction).max()
        power = power_of_two(float(deviation))
        kept[place] = _rounded(deviation / power) * power
        directions[place] = direction * np.sign(direction[np.argmax(strong)])
    return moments._replace(deviations=kept, directions=directions)


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.round(values / _RESOLUTION) * _RESOLUTION


def _without_directions(
    mean: NDArray[np.float64], spread: float, reach: NDArray[np.float64]
) -> Moments:
    return Moments(mean, spread, np.zeros(2), np.zeros((2, len(mean))), None, reach, middle=mean)

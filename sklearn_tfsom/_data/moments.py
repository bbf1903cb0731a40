"""Mean, spread and main directions of samples, in tiles.

Everything here obeys sample weights: weight k is k repetitions. Only samples of positive weight
may come in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from numpy.typing import NDArray

from sklearn_tfsom._data.samples import Samples, densified, map_tiles
from sklearn_tfsom._data.workers import ALONE, Workers

# Covariances of incomplete data are taken by pairs of features, up to as many.
_MOST_PAIRED_FEATURES = 4096

# Values of a tile: in float64 2 MiB, which stays in the cache while it is worked on; up to four
# times as many, for rows enough to be worth a product of all features with each other.
_TILE_VALUES, _MIN_TILE_ROWS = 2**18, 2**12

# Of up to so many features the covariance itself is of use.
_MOST_COVARIANCES = 1024


class PrincipalPlane(NamedTuple):
    """Mean, spread and the two main directions of the data."""

    mean: NDArray[np.float64]  # (n_features,)
    spread: float  # root mean square distance to the mean
    deviations: NDArray[np.float64]  # (2,) standard deviations along the directions (ddof = 0)
    directions: NDArray[np.float64]  # (2, n_features) unit eigenvectors of the covariance
    covariance: NDArray[np.float64] | None = None  # / spread^2; of complete data, not too wide


def principal_plane(
    samples: Samples,
    sample_weight: NDArray[np.float64],
    n_directions: int = 2,
    workers: Workers = ALONE,
) -> PrincipalPlane:
    """Find the plane of the two largest principal components.

    Parameters
    ----------
    samples : Samples
        NaN where a value is missing; every feature has one that is not.
    sample_weight : ndarray of float64, shape (n_samples,)
        Positive.
    n_directions : int, default=2
        0 where only mean and spread are needed, which takes no product of the data with itself.
    workers : Workers, default=ALONE
        Those whose samples it is the plane of, together.

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

    Sparse data are never written out: the mean goes into the product algebraically. Beyond 1,024
    features the directions are found by Lanczos' method, from a fixed start. So they are of dense
    samples of several workers beyond 4,096 features.
    """
    find = _sparse_plane if samples.is_sparse else _dense_plane
    plane = find(samples, sample_weight, n_directions, workers)
    return plane._replace(
        deviations=workers.from_first(plane.deviations),
        directions=workers.from_first(plane.directions),
    )


def _dense_plane(
    samples: Samples, sample_weight: NDArray[np.float64], n_directions: int, workers: Workers
) -> PrincipalPlane:
    n_samples, n_features = samples.shape
    tiles = samples.tiles(min(max(_TILE_VALUES, _MIN_TILE_ROWS * n_features), 4 * _TILE_VALUES))
    total = float(workers.sum(sample_weight.sum()))

    def share(rows: slice) -> NDArray[np.float64]:
        return sample_weight[rows] / total

    is_incomplete = samples.has_missing
    counts = np.ones(n_features)  # share of the weight for which each feature is known
    if is_incomplete:
        known = (share(rows) @ ~np.isnan(samples[rows]) for rows in tiles)
        counts = workers.sum(np.add.reduce(list(known)))
    with np.errstate(over="ignore", invalid="ignore"):
        # From a first guess on, sums see small numbers only, wherever the data sit.
        guess = _first_known(samples, workers)
        moved = ((share(rows), centered(samples[rows], guess)) for rows in tiles)
        off = sum(np.einsum("s,sf->f", *pair) for pair in moved)
        mean = guess + workers.sum(off) / counts
        largest = _largest_range(samples, tiles, workers)
    if largest == 0 or not math.isfinite(largest):
        return _without_directions(mean, largest)

    # In units of about the largest range, so that no square leaves float64's range.
    unit = math.ldexp(1.0, math.frexp(largest)[1] - 1)

    def weighted(rows: slice) -> NDArray[np.float64]:
        tile = centered(samples[rows], mean)
        tile *= (np.sqrt(share(rows)) / unit)[:, None]
        return tile

    def weighted_strip(columns: slice) -> NDArray[np.float64]:
        strip = centered(samples.strip(columns), mean[columns])
        strip *= (np.sqrt(share(slice(None))) / unit)[:, None]
        return strip

    def spread(variances: NDArray[np.float64]) -> float:
        return math.sqrt(np.sum(variances / counts)) * unit

    is_of_use = not is_incomplete and n_features <= _MOST_COVARIANCES
    if not n_directions and not is_of_use:
        variances = sum(np.einsum("ij,ij->j", tile, tile) for tile in map(weighted, tiles))
        return _without_directions(mean, spread(workers.sum(variances)))
    is_by_pairs = is_incomplete and n_features <= _MOST_PAIRED_FEATURES
    covariance = None
    if workers.are_several and n_features > _MOST_PAIRED_FEATURES:
        root = np.sqrt(counts)
        variances = sum(np.einsum("ij,ij->j", tile, tile) for tile in map(weighted, tiles))
        variances = workers.sum(variances)

        def covariance_times(vector: NDArray[np.float64]) -> NDArray[np.float64]:
            scaled = vector / root
            products = (tile.T @ (tile @ scaled) for tile in map(weighted, tiles))
            return workers.sum(sum(products)) / root

        deviations, found = _lanczos(covariance_times, variances, workers)
    elif n_samples < n_features and not is_by_pairs and not workers.are_several:
        # The same eigenvalues from the smaller product.
        step = max(1, 2**20 // n_samples) if samples.is_on_disk else n_features
        strips = [slice(first, first + step) for first in range(0, n_features, step)]
        variances = np.empty(n_features)
        scatter = np.zeros((n_samples, n_samples))
        for columns in strips:
            strip = weighted_strip(columns)
            variances[columns] = np.einsum("ij,ij->j", strip, strip)
            strip /= np.sqrt(counts[columns])
            scatter += strip @ strip.T
        deviations, vectors = _two_largest(scatter)

        def direction(vector: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.concatenate(
                [
                    weighted_strip(columns).T @ vector / np.sqrt(counts[columns])
                    for columns in strips
                ]
            )

        found = [direction(vector) for vector in vectors]
        if is_of_use:
            all_weighted = weighted(slice(None))
            covariance = all_weighted.T @ all_weighted
    else:
        scatter = np.zeros((n_features, n_features))
        for rows in tiles:
            tile = weighted(rows)
            scatter += tile.T @ tile
        scatter = workers.sum(scatter)
        variances = np.diag(scatter)
        if is_by_pairs:
            masks = (np.sqrt(share(rows))[:, None] * ~np.isnan(samples[rows]) for rows in tiles)
            both = workers.sum(sum(mask.T @ mask for mask in masks))
            scatter = np.divide(scatter, both, out=np.zeros_like(scatter), where=both > 0)
        elif is_incomplete:
            scatter = scatter / np.sqrt(np.outer(counts, counts))
        deviations, found = _two_largest(scatter) if n_directions else (np.zeros(0), [])
        covariance = scatter if is_of_use else None
    plane = _plane(mean, spread(variances), deviations * unit, found)
    if covariance is None or plane.spread == 0:
        return plane
    return plane._replace(covariance=covariance * (unit / plane.spread) ** 2)


def _sparse_plane(
    samples: Samples, sample_weight: NDArray[np.float64], n_directions: int, workers: Workers
) -> PrincipalPlane:
    n_features = samples.shape[1]
    shares = sample_weight / workers.sum(sample_weight.sum())
    X = samples[:]
    X = X.astype(np.float64)  # a copy of the stored values
    mean = workers.sum(shares @ X)
    largest = float(workers.gather(np.abs(X.data).max(initial=0)).max())
    if largest == 0 or not math.isfinite(2 * largest):
        return _without_directions(mean, 2 * largest)
    unit = math.ldexp(1.0, math.frexp(largest)[1] - 1)
    X.data /= unit
    center = mean / unit
    # The stored values of each feature, and the zeros beside them.
    stored = np.repeat(shares, np.diff(X.indptr))
    squares = stored * (X.data - center[X.indices]) ** 2
    squares, n_stored = workers.sum(
        [
            np.bincount(X.indices, squares, minlength=n_features),
            np.bincount(X.indices, stored, minlength=n_features),
        ]
    )
    variances = squares + np.maximum(1 - n_stored, 0) * center**2
    spread = math.sqrt(np.sum(variances)) * unit
    is_of_use = n_features <= _MOST_COVARIANCES
    if not (n_directions or is_of_use) or spread == 0:
        return _without_directions(mean, spread)

    root = np.sqrt(shares)
    X.data *= np.repeat(root, np.diff(X.indptr))
    if is_of_use:
        product = workers.sum(densified((X.T @ X).tocsr()))
        covariance = product - np.outer(center, center)
        deviations, found = _two_largest(covariance) if n_directions else (np.zeros(0), [])
        plane = _plane(mean, spread, deviations * unit, found)
        return plane._replace(covariance=covariance * (unit / spread) ** 2)

    def covariance_times(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        along = X @ vector - root * (center @ vector)
        product = workers.sum(np.append(X.T @ along, root @ along))
        return product[:-1] - center * product[-1]

    deviations, found = _lanczos(covariance_times, variances, workers)
    return _plane(mean, spread, deviations * unit, found)


def _lanczos(
    covariance_times: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    variances: NDArray[np.float64],
    workers: Workers,
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Find what `_two_largest` does, of a covariance that is only multiplied by.

    The first worker asks and the others answer: so it does not matter that rounding, where
    machines differ, could have each ask another number of times.
    """
    n_features = len(variances)
    values, vectors = np.zeros(2), np.zeros((n_features, 2))
    if workers.index == 0:

        def ask(vector: NDArray[np.float64]) -> NDArray[np.float64]:
            question = workers.from_first(np.append(vector, 1.0))
            return covariance_times(question[:-1])

        values, vectors = scipy.sparse.linalg.eigsh(
            scipy.sparse.linalg.LinearOperator((n_features, n_features), ask, dtype=np.float64),
            k=2,
            v0=np.random.RandomState(0).uniform(size=n_features) * np.sqrt(variances),
            tol=1e-10,
        )
        workers.from_first(np.zeros(n_features + 1))  # no more questions
    else:
        while (question := workers.from_first(np.zeros(n_features + 1)))[-1]:
            covariance_times(question[:-1])
    values, vectors = workers.from_first(values), workers.from_first(vectors)
    return np.sqrt(np.maximum(values[::-1], 0)), list(vectors.T[::-1])


def _two_largest(
    scatter: NDArray[np.float64],
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Find the roots of the two largest eigenvalues, and their vectors; the largest first."""
    size = len(scatter)
    two = [max(0, size - 2), size - 1]
    # This driver is as fast as the default one, and takes no second thread up to 64 features.
    values, vectors = scipy.linalg.eigh(scatter, subset_by_index=two, driver="evx")
    return np.sqrt(np.maximum(values[::-1], 0)), list(vectors.T[::-1])


def _plane(
    mean: NDArray[np.float64],
    spread: float,
    deviations: NDArray[np.float64],
    vectors: list[NDArray[np.float64]],
) -> PrincipalPlane:
    """Give eigenvectors unit length and a sign, and drop those that rounding has made."""
    plane = _without_directions(mean, spread)
    for place, (deviation, vector) in enumerate(zip(deviations, vectors, strict=True)):
        if deviation <= 1e-7 * deviations[0]:  # below rounding a direction is an accident
            break
        direction = vector / np.linalg.norm(vector)
        strong = np.abs(direction) >= (1 - 1e-6) * np.abs(direction).max()
        plane.deviations[place] = deviation
        plane.directions[place] = direction * np.sign(direction[np.argmax(strong)])
    return plane


def _without_directions(mean: NDArray[np.float64], spread: float) -> PrincipalPlane:
    return PrincipalPlane(mean, spread, np.zeros(2), np.zeros((2, len(mean))))


def _largest_range(samples: Samples, tiles: list[slice], workers: Workers) -> float:
    """Find the largest range of a feature, or one that bounds it closely."""
    low, high = math.inf, -math.inf
    smallest, greatest = (np.nanmin, np.nanmax) if samples.has_missing else (np.min, np.max)

    def ends(rows: slice) -> tuple[float, float]:
        tile = samples[rows]
        return float(smallest(tile)), float(greatest(tile))

    for lowest, highest in map_tiles(ends, tiles):
        low, high = min(low, lowest), max(high, highest)
    low, high = workers.gather(low).min(), workers.gather(high).max()
    if math.isfinite(high - low):
        return float(high - low)
    lows, highs = feature_ranges(samples, workers)  # each feature may still have a range
    return float(np.max(highs - lows))


def feature_ranges(
    samples: Samples, workers: Workers = ALONE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the lowest and the highest known value of each feature of dense samples."""
    tiles = samples.tiles()
    lows = np.fmin.reduce([np.fmin.reduce(samples[rows], axis=0) for rows in tiles])
    highs = np.fmax.reduce([np.fmax.reduce(samples[rows], axis=0) for rows in tiles])
    return (
        np.fmin.reduce(workers.gather(lows), axis=0),
        np.fmax.reduce(workers.gather(highs), axis=0),
    )


def centered(tile: NDArray, origin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Differences to an origin, 0 where missing, row by row in memory.

    So sums round alike for any layout of the data.
    """
    moved = np.array(tile, dtype=np.float64, order="C")  # np.subtract's dtype is slower
    np.subtract(moved, origin, out=moved)
    if np.isnan(moved.min()):
        moved[np.isnan(moved)] = 0
    return moved


def _first_known(samples: Samples, workers: Workers) -> NDArray[np.float64]:
    """First known value of each feature; of several workers, the mean of theirs."""
    first = samples[:1][0].copy()
    for rows in samples.tiles():
        missing = np.flatnonzero(np.isnan(first))
        if not len(missing):
            break
        tile = samples[rows][:, missing]
        first[missing] = tile[np.argmax(~np.isnan(tile), axis=0), np.arange(len(missing))]
    first = first.astype(np.float64)
    if not workers.are_several:
        return first
    is_known = ~np.isnan(first)
    share = workers.sum(is_known)
    return workers.sum(np.where(is_known, first, 0) / share)

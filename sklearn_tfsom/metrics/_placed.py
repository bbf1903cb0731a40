"""Samples whose pairs are measured, and their distances, tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.scaling import power_of_two
from sklearn_tfsom._data.tiles import map_tiles, value_slices
from sklearn_tfsom._distance import Metric, all_distances
from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._tuning import CACHED_VALUES, LARGE_TILE_VALUES
from sklearn_tfsom.metrics._base import as_lengths, counted_samples, sizes_of, varying_features

_Result = TypeVar("_Result")

# Number of arrays of the size of a tile of pairs.
_ARRAYS = 8

# Squared distances below this share of the squared norms are computed from differences. Those of a
# product then have an error that is less than that of the samples, so that ties stay ties.
_CANCELLATION = 1e-3

# Sum of weights whose products, also with a rank, stay in the range of float64.
_MAX_WEIGHT = 1e100


class PlacedSamples(NamedTuple):
    """Samples of positive weight, and their best-matching units."""

    samples: Samples
    weights: NDArray[np.float64]
    bmus: NDArray[np.int64]
    grid: Grid


def placed_samples(
    owner: str,
    estimator: Any,
    X: ArrayLike,
    sample_weight: ArrayLike | None,
    *,
    check: Callable[[float], object] | None = None,
    max_weight: float = _MAX_WEIGHT,
) -> PlacedSamples:
    """Return the checked samples with their best-matching units, for a measure by name.

    `check` gets their total weight before the units are searched for.
    """
    samples, weights = counted_samples(estimator, X, sample_weight)
    if weights.sum() > max_weight:
        raise ValueError(
            f"sample_weight must have a sum of at most {max_weight:g} in {owner}, which "
            f"multiplies weights. Got a sum of {weights.sum():g}."
        )
    if samples.has_missing and np.isnan(samples.values).any():
        raise ValueError(
            f"X must not contain missing values (NaN) in {owner}, which compares samples with "
            "each other. Impute them, for example with TFSOM.impute."
        )
    if check is not None:
        check(weights.sum())
    bmus = estimator._nearest(samples)[:, 0]
    return PlacedSamples(samples=samples, weights=weights, bmus=bmus, grid=grid_of(estimator))


class PairTile(NamedTuple):
    """Distances of some samples to all, in units of about the largest value.

    So their squares can be summed. Those of directions are ``1 - cos``, 0 within rounding.
    """

    rows: NDArray[np.int64]  # (n,)
    distances: NDArray[np.float64]  # (n, n_samples)
    # (n, 1): by how much rounding of the samples changes them, or their lengths, see `as_lengths`
    noise: NDArray[np.float64]


def map_pairs(function: Callable[[PairTile], _Result], placed: PlacedSamples) -> Iterator[_Result]:
    """Call a function for the distances of all pairs of samples, tile by tile, in threads."""
    samples = placed.samples
    whole = samples[:].astype(np.float64)
    if not samples.is_sparse:
        whole = varying_features(whole, samples.metric)
    if not samples.metric.is_spherical:
        values = whole.data if samples.is_sparse else whole
        values /= power_of_two(np.abs(values).max(initial=0))
    eps = np.finfo(samples.dtype).eps
    share = (8 if samples.metric.is_spherical else 2) * eps  # directions are computed
    if samples.is_sparse:
        norms = np.asarray(whole.multiply(whole).sum(axis=1)).ravel()

    def of_tile(tile: slice) -> _Result:
        rows = np.arange(len(samples))[tile]
        if samples.is_sparse:
            distances = _sparse_distances(whole, rows, norms, samples.metric)
            sizes = np.sqrt(norms[rows, None])
        else:
            distances = all_distances(whole[tile], whole, samples.metric)
            sizes = sizes_of(whole[tile], samples.metric)
        if samples.metric.is_spherical:
            distances[as_lengths(distances, samples.metric) <= share * sizes] = 0
        return function(PairTile(rows, distances, share * sizes))

    tiles = value_slices(len(samples), _ARRAYS * len(samples), LARGE_TILE_VALUES)
    return map_tiles(of_tile, tiles)


def _sparse_distances(
    whole: Any, rows: NDArray[np.int64], norms: NDArray[np.float64], metric: Metric
) -> NDArray[np.float64]:
    """Compute the distances of some sparse rows to all, whose squared norms are given."""
    both = norms[rows, None] + norms
    squared = both - 2 * (whole[rows] @ whole.T).toarray()
    places = np.arange(len(rows)), rows
    squared[places] = np.inf  # of a row and itself; see below
    lost = np.nonzero(squared < _CANCELLATION * both)
    squared[lost] = _from_differences(whole, rows[lost[0]], lost[1])
    squared[places] = 0
    if not metric.is_spherical:
        return np.sqrt(squared)
    squared[np.not_equal.outer(norms[rows] == 0, norms == 0)] = 2
    return squared / 2


def _from_differences(
    whole: Any, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute the squared distances of pairs of sparse rows, in chunks."""
    squared = np.empty(len(first))
    most = int(np.diff(whole.indptr).max(initial=1))
    for chunk in value_slices(len(first), most, CACHED_VALUES):
        differences = whole[first[chunk]] - whole[second[chunk]]
        squared[chunk] = np.asarray(differences.multiply(differences).sum(axis=1)).ravel()
    return squared


def equal_samples(
    rows: NDArray[np.int64], distances: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Find the samples equal to each of some rows, and the weight of the row itself.

    This is 1, or the total weight of the equal samples if it is less: no sample is a neighbor of
    itself, even if it is given as two samples of weight 1/2.

    Returns
    -------
    is_equal : ndarray of bool, shape (n_rows, n_samples)
    equal_weight : ndarray of float64, shape (n_rows,)
        Total weight of the equal samples, the row included.
    own_weight : ndarray of float64, shape (n_rows,)
        Weight of the row itself.
    """
    is_equal = distances <= distances[np.arange(len(rows)), rows][:, None]
    equal_weight = is_equal @ weights
    return is_equal, equal_weight, np.minimum(equal_weight, 1)

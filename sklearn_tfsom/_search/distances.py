"""Distances of samples to all units, or to chosen ones, tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sklearn_tfsom._data.dense import load
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.scaling import Scaling, check_range, in_precision
from sklearn_tfsom._data.sparse import load_sparse
from sklearn_tfsom._data.tiles import map_tiles, multiply, row_slices, value_slices
from sklearn_tfsom._distance import (
    all_distances,
    as_codebook,
    is_zero,
    paired_distances,
)
from sklearn_tfsom._map.scores import SearchKind
from sklearn_tfsom._search.nearest import are_equal, suits_numpy, tile_rows
from sklearn_tfsom._search.products import paired_sparse_distances
from sklearn_tfsom._tf.runtime import tensorflow_core
from sklearn_tfsom._tuning import (
    CACHED_VALUES,
    CANCELLATION,
    MAX_LOST,
    MIN_DISTANCE_ROWS,
    TILE_DISTANCES,
)

# Fills distances of a tile of samples, in the scaled space.
_Fill: TypeAlias = Callable[[NDArray, slice], None]


def distances_to_units(samples: Samples, codebook: NDArray) -> NDArray:
    """Compute the distances of samples to all units.

    Parameters
    ----------
    samples : Samples
    codebook : ndarray of shape (n_units, n_features)

    Returns
    -------
    distances : ndarray of the samples' dtype, shape (n_samples, n_units)
        In data units; computed in that precision. In float32 the last digits of a row depend on
        whether those beside it are computed in float64.

    Raises
    ------
    ValueError
        If distances exceed the range of that precision.
    """
    metric, dtype = samples.metric, samples.dtype
    codebook = as_codebook(codebook, metric)
    if are_equal(codebook):  # there is no spread to scale by
        only = distances_to_chosen(samples, codebook, np.zeros((len(samples), 1), np.int64))
        return np.repeat(in_precision(only, dtype), len(codebook), axis=1)
    scaling = Scaling.around(codebook, dtype, metric, is_sparse=samples.is_sparse)
    scaling = scaling.without_scale()
    result = np.empty((len(samples), len(codebook)), dtype)
    units = scaling.transform(codebook)
    fill: _Fill
    # A distance that is not finite reports it.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if metric.is_product:
            n_values = 1 if samples.is_sparse else samples.shape[1] // 2
            n_tile = max(MIN_DISTANCE_ROWS, TILE_DISTANCES // max(len(codebook), n_values))
            fill = _ProductFill(samples, scaling, units)
        else:
            n_tile = tile_rows(2 * len(codebook), samples.shape[1])
            fill = _elementwise_fill(samples, scaling, units, n_tile)
    factor = dtype.type(1 / scaling.distance_factor())

    def fill_tile(rows: slice) -> bool:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            fill(result[rows], rows)
            if factor != 1:
                result[rows] *= factor
        return bool(np.isfinite(result[rows].max(initial=0)))

    check_range(list(map_tiles(fill_tile, row_slices(len(samples), n_tile))), dtype)
    return result


def distances_to_chosen(
    samples: Samples, codebook: NDArray, units: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute the distances of samples to chosen units from their differences.

    Parameters
    ----------
    samples : Samples
    codebook : ndarray of shape (n_units, n_features)
    units : ndarray of int64, shape (n_samples, k)

    Returns
    -------
    distances : ndarray of float64, shape (n_samples, k)
        In data units.

    Raises
    ------
    ValueError
        If distances exceed the range of float64.
    """
    metric, is_sparse = samples.metric, samples.is_sparse
    codebook = as_codebook(codebook, metric)
    scaling = Scaling.around(codebook, samples.dtype, metric, is_sparse=is_sparse)
    # Differences need no center. That of a constant feature, which may be huge, is no rounding.
    is_constant = (codebook == scaling.center).all(axis=0)
    scaling = scaling.without_scale()._replace(center=np.where(is_constant, scaling.center, 0))
    scaled = scaling.transform(codebook)
    norms = np.einsum("ij,ij->i", scaled, scaled) if is_sparse else np.zeros(0)
    result = np.empty(units.shape)

    def fill(rows: slice) -> None:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for place, chosen in enumerate(units[rows].T):
                result[rows, place] = _to_chosen(samples, rows, scaling, scaled, norms, chosen)

    list(map_tiles(fill, samples.tiles(CACHED_VALUES)))
    with np.errstate(over="ignore", under="ignore"):
        result /= scaling.distance_factor()
    check_range(np.isfinite(result))
    return result


def _to_chosen(
    samples: Samples,
    rows: slice,
    scaling: Scaling,
    codebook: NDArray[np.float64],
    unit_norms: NDArray[np.float64],
    chosen: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Compute the distances of the samples of a tile to one unit each, in the scaled space."""
    metric = samples.metric
    if samples.is_sparse:
        sparse = load_sparse(samples.take(rows), scaling.scale)
        distances = paired_sparse_distances(sparse, codebook, unit_norms, chosen, metric)
    else:
        tile = scaling.transform(samples[rows])
        known = ~np.isnan(tile) if samples.has_missing else None
        distances = paired_distances(tile, codebook[chosen], metric, known)
    if metric.is_spherical:  # a zero row has no direction
        distances[is_zero(samples[rows])] = scaling.distance_factor()
    return distances


class _ProductFill:
    """Fills in ``|x - w|^2 = |x|^2 + |w|^2 - 2 x.w``, which is one product.

    Of ``(x, |x|^2, 1)`` with ``(-2 w, 1, |w|^2)``; over the known features m of incomplete samples
    of ``(x, |x|^2, m)`` with ``(-2 w, 1, w^2)``.
    """

    def __init__(self, samples: Samples, scaling: Scaling, codebook: NDArray[np.float64]) -> None:
        self._samples, self._scaling, self._codebook = samples, scaling, codebook
        squares = np.square(codebook)
        self._unit_norms = squares.sum(axis=1)
        if samples.is_sparse:
            self._transposed = np.ascontiguousarray(codebook.T)
        else:
            last = squares if samples.has_missing else self._unit_norms[:, None]
            ones = np.ones((len(codebook), 1))
            factors = np.concatenate([-2 * codebook, ones, last], axis=1)
            self._factors64 = np.ascontiguousarray(factors.T)
            self._factors = self._factors64.astype(samples.dtype, copy=False)

    def __call__(self, out: NDArray, rows: slice) -> None:
        samples = self._samples
        if samples.is_sparse:
            squared, norms = self._of_sparse(out, rows)
            row, unit = self._lost_pairs(squared, norms, np.float64)
        else:
            squared, norms = self._of_dense(out, rows)
            row, unit = self._lost_pairs(squared, norms, out.dtype)
            # Within clusters that are far apart all pairs lose digits: float64 has enough of them.
            if out.dtype == np.float32 and len(row) > MAX_LOST * squared.size:
                squared, norms = self._of_dense(np.empty(out.shape), rows)
                row, unit = self._lost_pairs(squared, norms, np.float64)
        is_spherical = samples.metric.is_spherical
        np.divide(squared, 2, out=out) if is_spherical else np.sqrt(squared, out=out)
        pairs = self._scaling, self._codebook, row, unit
        out[row, unit] = _from_differences(samples, rows, *pairs)
        out[~np.isfinite(norms)] = np.inf  # no best-matching unit would be found for these either
        if is_spherical:
            out[is_zero(samples[rows])] = self._scaling.distance_factor()

    def _of_sparse(self, out: NDArray, rows: slice) -> tuple[NDArray, NDArray[np.float64]]:
        """Return the squared distances, in `out`, and the squared norms of the rows."""
        sparse = load_sparse(self._samples.take(rows), self._scaling.scale)
        squared = sparse.products(self._transposed)
        squared *= -2
        squared += sparse.norms[:, None] + self._unit_norms
        out[:] = squared
        return out, sparse.norms

    def _of_dense(self, out: NDArray, rows: slice) -> tuple[NDArray, NDArray[np.float64]]:
        """Return squared distances, in `out` and its precision, and squared norms of the rows."""
        tile, n_features = self._samples[rows], self._codebook.shape[1]
        factors = self._factors64 if out.dtype == np.float64 else self._factors
        terms = np.empty((len(tile), len(factors)), out.dtype)
        values, norm, last = np.split(terms, [n_features, n_features + 1], axis=1)
        self._scaling.transform(tile, values)
        last[:] = 1
        if self._samples.has_missing:
            is_missing = np.isnan(values)
            values[is_missing] = 0
            last[is_missing] = 0
        norms = np.einsum("sf,sf->s", values, values, dtype=np.float64)
        norm[:, 0] = norms
        return multiply(terms, factors, out), norms

    def _lost_pairs(
        self, squared: NDArray, norms: NDArray[np.float64], precision: DTypeLike
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows and units whose distances have lost digits to cancellation."""
        share = CANCELLATION[np.dtype(precision)]
        # The minimum tells most rows to be free of cancellation altogether.
        largest = share * (norms + self._unit_norms.max())
        suspects = np.flatnonzero(~(squared.min(axis=1) > largest))
        limit = share * (norms[suspects, None] + self._unit_norms)
        row, unit = np.nonzero(~(squared[suspects] > limit))
        return suspects[row], unit


def _from_differences(
    samples: Samples,
    rows: slice,
    scaling: Scaling,
    codebook: NDArray[np.float64],
    row: NDArray[np.int64],
    unit: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Compute distances of pairs of a row of a tile and a unit from differences, in chunks."""
    distances = np.empty(len(row))
    for chunk in value_slices(len(row), codebook.shape[1], CACHED_VALUES):
        values = scaling.transform(samples.dense(rows.start + row[chunk]))
        known = ~np.isnan(values) if samples.has_missing else None
        distances[chunk] = paired_distances(values, codebook[unit[chunk]], samples.metric, known)
    return distances


def _elementwise_fill(
    samples: Samples, scaling: Scaling, codebook: NDArray[np.float64], n_tile: int
) -> _Fill:
    """Return a function that fills in distances that are no product, of tiles of n_tile rows."""
    kind = SearchKind(samples.metric, samples.has_missing)

    def loaded(rows: slice) -> NDArray[np.float64]:
        return load(samples, rows, scaling, np.float64).values

    def in_numpy(out: NDArray, rows: slice) -> None:
        values = loaded(rows)
        known = ~np.isnan(values) if samples.has_missing else None
        out[:] = all_distances(values, codebook, samples.metric, known)

    if suits_numpy(len(samples), codebook, kind):
        return in_numpy
    core = tensorflow_core()

    def in_graph(out: NDArray, rows: slice) -> None:
        out[:] = core.elementwise(loaded(rows), codebook, kind, n_tile)

    return in_graph

"""Distances of samples to all units, or to chosen ones, tile by tile."""

from __future__ import annotations

import functools
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
        If squared distances exceed the range of that precision.
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
    make_fill = _product_fill if metric.is_product else _elementwise_fill
    with np.errstate(over="ignore", invalid="ignore"):  # a distance that is not finite reports it
        fill = make_fill(samples, scaling, units)
    factor = dtype.type(1 / scaling.distance_factor())

    def fill_tile(rows: slice) -> bool:
        with np.errstate(over="ignore", invalid="ignore"):
            fill(result[rows], rows)
            if factor != 1:
                result[rows] *= factor
        return bool(np.isfinite(result[rows].max(initial=0)))

    if metric.is_product:
        n_values = 1 if samples.is_sparse else samples.shape[1] // 2
        n_tile = TILE_DISTANCES // max(len(codebook), n_values)
        n_tile = max(MIN_DISTANCE_ROWS, n_tile)
    else:
        n_tile = tile_rows(2 * len(codebook), samples.shape[1])
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
        If squared distances exceed the range of float64.
    """
    metric, is_sparse = samples.metric, samples.is_sparse
    codebook = as_codebook(codebook, metric)
    scaling = Scaling.around(codebook, samples.dtype, metric, is_sparse=is_sparse)
    # Differences need no center.
    scaling = scaling.without_scale()._replace(center=np.zeros_like(scaling.center))
    scaled = scaling.transform(codebook)
    norms = np.einsum("ij,ij->i", scaled, scaled) if is_sparse else np.zeros(0)
    result = np.empty(units.shape)

    def fill(rows: slice) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            for place, chosen in enumerate(units[rows].T):
                result[rows, place] = _to_chosen(samples, rows, scaling, scaled, norms, chosen)

    list(map_tiles(fill, samples.tiles(CACHED_VALUES)))
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


def _product_fill(samples: Samples, scaling: Scaling, codebook: NDArray[np.float64]) -> _Fill:
    """Return a function that fills in ``|x - w|^2 = |x|^2 + |w|^2 - 2 x.w``, which is one product.

    Of ``(x, |x|^2, 1)`` with ``(-2 w, 1, |w|^2)``; over the known features m of incomplete samples
    of ``(x, |x|^2, m)`` with ``(-2 w, 1, w^2)``.
    """
    metric, dtype, n_features = samples.metric, samples.dtype, codebook.shape[1]
    squares = np.square(codebook)
    unit_norms = squares.sum(axis=1)
    last = squares if samples.has_missing else unit_norms[:, None]
    factors = np.concatenate([-2 * codebook, np.ones((len(codebook), 1)), last], axis=1)
    of_rows = np.ascontiguousarray(codebook.T) if samples.is_sparse else codebook.T

    def of_sparse(rows: slice, out: NDArray) -> tuple[NDArray, NDArray]:
        sparse = load_sparse(samples.take(rows), scaling.scale)
        squared = sparse.products(of_rows)
        squared *= -2
        squared += sparse.norms[:, None] + unit_norms
        out[:] = squared
        return out, sparse.norms

    @functools.cache
    def factors_in(precision: np.dtype) -> NDArray:
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(factors.T.astype(precision))

    def of_dense(rows: slice, out: NDArray) -> tuple[NDArray, NDArray]:
        tile = samples[rows]
        terms = np.empty((len(tile), factors.shape[1]), out.dtype)
        values = scaling.transform(tile, terms[:, :n_features])
        terms[:, n_features + 1 :] = 1
        if samples.has_missing:
            is_missing = np.isnan(values)
            values[is_missing] = 0
            terms[:, n_features + 1 :][is_missing] = 0
        norms = np.einsum("sf,sf->s", values, values, dtype=np.float64)
        terms[:, n_features] = norms
        return multiply(terms, factors_in(out.dtype), out), norms

    def lost_pairs(squared: NDArray, norms: NDArray, precision: DTypeLike) -> list[NDArray]:
        """Return the rows and units whose distances have lost digits to cancellation."""
        share = CANCELLATION[np.dtype(precision)]
        # The minimum tells most rows to be free of cancellation altogether.
        suspects = np.flatnonzero(~(squared.min(axis=1) > share * (norms + unit_norms.max())))
        limit = share * (norms[suspects, None] + unit_norms)
        row, unit = np.nonzero(~(squared[suspects] > limit))
        return [suspects[row], unit]

    def fill(out: NDArray, rows: slice) -> None:
        if samples.is_sparse:
            squared, norms = of_sparse(rows, out)
            row, unit = lost_pairs(squared, norms, np.float64)
        else:
            squared, norms = of_dense(rows, out)
            row, unit = lost_pairs(squared, norms, dtype)
            # Within clusters that are far apart all pairs lose digits: float64 has enough of them.
            if dtype == np.float32 and len(row) > MAX_LOST * squared.size:
                squared, norms = of_dense(rows, np.empty(out.shape))
                row, unit = lost_pairs(squared, norms, np.float64)
        np.divide(squared, 2, out=out) if metric.is_spherical else np.sqrt(squared, out=out)
        out[row, unit] = _from_differences(samples, rows, scaling, codebook, row, unit)
        out[~np.isfinite(norms)] = np.inf  # no best-matching unit would be found for these either
        if metric.is_spherical:
            out[is_zero(samples[rows])] = scaling.distance_factor()

    return fill


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


def _elementwise_fill(samples: Samples, scaling: Scaling, codebook: NDArray[np.float64]) -> _Fill:
    """Return a function that fills in distances that are no product."""
    kind = SearchKind(samples.metric, samples.has_missing)

    def loaded(rows: slice) -> NDArray[np.float64]:
        return load(samples, rows, scaling, np.float64).values

    def in_numpy(out: NDArray, rows: slice) -> None:
        values = loaded(rows)
        known = ~np.isnan(values) if samples.has_missing else None
        out[:] = all_distances(values, codebook, samples.metric, known)

    if suits_numpy(len(samples), codebook, kind):
        return in_numpy
    core, n_tile = tensorflow_core(), tile_rows(2 * len(codebook), samples.shape[1])

    def in_graph(out: NDArray, rows: slice) -> None:
        out[:] = core.elementwise(loaded(rows), codebook, kind, n_tile)

    return in_graph

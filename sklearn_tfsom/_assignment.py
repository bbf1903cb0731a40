"""Assignment of samples to their best-matching units, and the errors of a map."""

from __future__ import annotations

import contextlib
import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.checks import are_counted
from sklearn_tfsom._data.pieces import Piece, Pieces, combined
from sklearn_tfsom._data.scaling import Scaling, power_of_two
from sklearn_tfsom._data.sparse import SparseRows, load_sparse
from sklearn_tfsom._data.statistics import UnitMeans
from sklearn_tfsom._data.sums import sums_and_counts
from sklearn_tfsom._data.tiles import map_rows
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._search.distances import distances_to_chosen
from sklearn_tfsom._search.inference import nearest_units
from sklearn_tfsom._tuning import MIN_TWO_SUMMED, SUMMED_VALUES

# Values of a piece that is searched: 64 MiB of float32.
_SEARCHED_VALUES = 2**24


class Assignment(NamedTuple):
    """Samples and their best-matching units."""

    hits: NDArray[np.float64]  # (n_units,) total weight of each unit's samples, of all workers
    error: float  # weighted mean distance to them, of all workers
    bmus: Any  # (n_samples,) int64, of this worker; distant ones are not fetched


def assign(pieces: Pieces, codebook: NDArray, grid: Grid) -> Assignment:
    """Find best-matching units, hits and the quantization error.

    Parameters
    ----------
    pieces : Pieces
    codebook : ndarray of shape (n_units, n_features)
    grid : Grid
        The grid of the units.
    """
    on_grid = codebook.reshape(*grid.shape, -1)
    (hits, error), bmus = pieces.reduce_with_rows(
        _assign_piece, on_grid, pieces.total_weight, piece_values=_SEARCHED_VALUES
    )
    return Assignment(hits, float(error), bmus)


def assign_and_average(
    pieces: Pieces, codebook: NDArray, grid: Grid, *, has_missing: bool
) -> tuple[Assignment, UnitMeans]:
    """Find best-matching units as `assign`, and the mean of each unit's counted samples.

    Parameters
    ----------
    pieces : Pieces
    codebook : ndarray of shape (n_units, n_features)
    grid : Grid
    has_missing : bool
        Whether samples that take part in training, see `are_counted`, have missing values.
    """
    samples, on_grid = pieces.samples, codebook.reshape(*grid.shape, -1)
    scaling = Scaling.around(codebook, samples.dtype, samples.metric, is_sparse=samples.is_sparse)
    weight_unit = power_of_two(pieces.total_weight)  # so that sums stay in the range of float64
    (hits, error, sums, counts), bmus = pieces.reduce_with_rows(
        _assign_and_sum_piece,
        on_grid,
        pieces.total_weight,
        weight_unit,
        scaling,
        has_missing,
        piece_values=_SEARCHED_VALUES,
    )
    means = UnitMeans.of(sums, counts, scaling)
    return Assignment(hits, float(error), bmus), means._replace(counts=counts * weight_unit)


def _assign_and_sum_piece(
    piece: Piece,
    codebook: NDArray,
    total: float,
    weight_unit: float,
    scaling: Scaling,
    has_missing: bool,
) -> tuple[tuple[NDArray[np.float64], ...], NDArray[np.int64]]:
    (hits, error), bmus = _assign_piece(piece, codebook, total)
    pieces = Pieces(*piece)
    is_counted = are_counted(pieces, total)
    counted = pieces.take_where(is_counted)
    sums, counts = _sums_of_piece(
        counted, bmus[is_counted], len(hits), weight_unit, scaling, has_missing
    )
    return (hits, error, sums, counts), bmus


def _sums_of_piece(
    pieces: Pieces,
    bmus: NDArray[np.int64],
    n_units: int,
    weight_unit: float,
    scaling: Scaling,
    has_missing: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum scaled samples, and their weights, by unit; weights are divided by `weight_unit`."""
    samples, (n_samples, n_features) = pieces.samples, pieces.samples.shape

    def of_tile(rows: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        weights = pieces.sample_weight[rows] / weight_unit
        scaled: NDArray | SparseRows
        if samples.is_sparse:
            scaled = load_sparse(samples.take(rows), scaling.scale)
        else:
            scaled = scaling.transform(samples[rows])
        return sums_and_counts(scaled, weights, bmus[rows].astype(np.int32), n_units, has_missing)

    if samples.is_sparse or not n_samples:
        return of_tile(slice(0, n_samples))
    most_rows = max(SUMMED_VALUES // n_features, n_units)
    is_much = n_samples * n_features >= MIN_TWO_SUMMED
    parts = map_rows(of_tile, n_samples, most_rows, in_threads=is_much)
    with contextlib.closing(parts):  # its threads end also if an error comes in between
        return functools.reduce(functools.partial(combined, np.add), parts)


def _assign_piece(
    piece: Piece, codebook: NDArray, total: float
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], NDArray[np.int64]]:
    flat = codebook.reshape(-1, codebook.shape[2])
    units = nearest_units(piece.samples, codebook)
    distances = distances_to_chosen(piece.samples, flat, units)[:, 0]
    bmus, weights = units[:, 0], piece.sample_weight
    hits = np.bincount(bmus, weights, minlength=len(flat)).astype(np.float64)
    # Shares of the weight, so that no sum exceeds the range of float64. The sum is rounded as
    # without the samples of weight 0.
    (counted,) = np.nonzero(weights)
    # Not by `@`, for which BLAS starts threads: their number would decide how the sum is rounded.
    error = np.einsum("s,s", distances[counted], weights[counted] / (total or 1))
    return (hits, error), bmus


def map_errors(pieces: Pieces, codebook: NDArray, grid: Grid) -> tuple[float, float]:
    """Compute the quantization and the topographic error of a codebook on its grid."""
    quantization, topographic = pieces.reduce(
        _errors_of_piece,
        codebook.reshape(*grid.shape, -1),
        grid,
        pieces.total_weight,
        piece_values=_SEARCHED_VALUES,
    )
    return float(quantization), min(float(topographic), 1.0)  # a sum of rounded shares


def _errors_of_piece(
    piece: Piece, codebook: NDArray, grid: Grid, total: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    shares = piece.sample_weight / total
    units = nearest_units(piece.samples, codebook, min(2, grid.n_units))
    flat = codebook.reshape(grid.n_units, -1)
    distances = distances_to_chosen(piece.samples, flat, units[:, :1])[:, 0]
    is_apart = grid.squared_distances(units[:, 0], units[:, -1]) > 1
    return np.einsum("s,s", distances, shares), np.einsum("s,s", is_apart * 1.0, shares)

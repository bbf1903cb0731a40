"""Assignment of samples to their best-matching units, and the errors of a map."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.pieces import Piece, Pieces
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._search.distances import distances_to_chosen
from sklearn_tfsom._search.inference import nearest_units

# Values of a piece that is searched: 64 MiB of float32.
SEARCHED_VALUES = 2**24


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
        _assign_piece, on_grid, pieces.total_weight, piece_values=SEARCHED_VALUES
    )
    return Assignment(hits, float(error), bmus)


def _assign_piece(
    piece: Piece, codebook: NDArray, total: float
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], NDArray[np.int64]]:
    flat = codebook.reshape(-1, codebook.shape[2])
    units = nearest_units(piece.samples, codebook)
    distances = distances_to_chosen(piece.samples, flat, units)[:, 0]
    bmus, weights = units[:, 0], piece.sample_weight
    hits = np.bincount(bmus, weights, minlength=len(flat)).astype(np.float64)
    # Shares of the weight, so that no sum exceeds the range of float64.
    return (hits, np.einsum("s,s", distances, weights / (total or 1))), bmus


def map_errors(pieces: Pieces, codebook: NDArray, grid: Grid) -> tuple[float, float]:
    """Compute the quantization and the topographic error of a codebook on its grid."""
    quantization, topographic = pieces.reduce(
        _errors_of_piece,
        codebook.reshape(*grid.shape, -1),
        grid,
        pieces.total_weight,
        piece_values=SEARCHED_VALUES,
    )
    return float(quantization), float(topographic)


def _errors_of_piece(
    piece: Piece, codebook: NDArray, grid: Grid, total: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    shares = piece.sample_weight / total
    units = nearest_units(piece.samples, codebook, min(2, grid.n_units))
    flat = codebook.reshape(grid.n_units, -1)
    distances = distances_to_chosen(piece.samples, flat, units[:, :1])[:, 0]
    is_apart = grid.squared_distances(units[:, 0], units[:, -1]) > 1
    return np.einsum("s,s", distances, shares), np.einsum("s,s", is_apart * 1.0, shares)

"""Points that represent all samples in two-level clustering."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._assignment import SEARCHED_VALUES
from sklearn_tfsom._data.pieces import Piece, Pieces
from sklearn_tfsom._data.subsampling import few_different
from sklearn_tfsom._data.sums import sums_by_unit
from sklearn_tfsom._map.clustering import N_POINTS, Points
from sklearn_tfsom._search.inference import nearest_units

# Different samples that a unit stands for where units are clustered, for want of a count.
_PER_UNIT = 16.0


def points_to_merge(
    pieces: Pieces | None, unit_means: NDArray, hits: NDArray[np.float64]
) -> Points:
    """Return the points that represent the samples: more than the units, or the units hit.

    Parameters
    ----------
    pieces : Pieces or None
        All samples, if they are at hand.
    unit_means : ndarray of shape (n_units, n_features)
        Mean of each unit's samples.
    hits : ndarray of float64, shape (n_units,)
        Total weight of each unit's samples.
    """
    (hit,) = np.nonzero(hits)
    if pieces is not None and len(hit) < N_POINTS:
        points = representatives(pieces, N_POINTS)
        if points is not None and len(points.weights) >= len(hit):
            return points
    return Points(unit_means[hit], hits[hit], _PER_UNIT)


def representatives(pieces: Pieces, n_points: int) -> Points | None:
    """Choose points by a random subsample of the values, and gather the samples around them.

    Neither the order of the samples nor repetition in place of weights changes them.

    Parameters
    ----------
    pieces : Pieces
        All samples.
    n_points : int
        At most.

    Returns
    -------
    points : Points or None
        Means of the samples that are closest to each chosen one, and their weights; the different
        samples themselves where there are no more. None for sparse and incomplete samples.
    """
    if pieces.samples.is_sparse or pieces.samples.has_missing:
        return None
    chosen, share = few_different(pieces, n_points)
    rows, _ = chosen.gather_rows(_rows_and_weights)
    rows = rows[rows[:, -1] > 0]
    points, same = np.unique(rows[:, :-1], axis=0, return_inverse=True)
    if share == 1 or len(points) < 2:
        weights = np.bincount(same.ravel(), rows[:, -1]).astype(np.float64)
        return Points(points, weights, per_point=1.0)
    total = pieces.total_weight
    sums, shares = pieces.reduce(_gather, points, total, piece_values=SEARCHED_VALUES)
    (hit,) = np.nonzero(shares)
    return Points(sums[hit] / shares[hit, None], shares[hit] * total, per_point=1 / share)


def _rows_and_weights(piece: Piece) -> NDArray[np.float64]:
    return np.column_stack([piece.samples[:].astype(np.float64), piece.sample_weight])


def _gather(
    piece: Piece, points: NDArray[np.float64], total: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum the samples closest to each point, as shares of the weight; and the shares."""
    if not len(piece.samples):
        return np.zeros(points.shape), np.zeros(len(points))
    closest = nearest_units(piece.samples, points[None])[:, 0].astype(np.int32)
    shares = piece.sample_weight / total
    values = piece.samples[:].astype(np.float64)
    sums = sums_by_unit(values, shares, closest, len(points))
    return sums, np.bincount(closest, shares, minlength=len(points)).astype(np.float64)

"""Points that represent all samples in two-level clustering."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.metrics import adjusted_rand_score

from sklearn_tfsom._data.pieces import Piece, Pieces
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.subsampling import Subsamples
from sklearn_tfsom._map.clustering import N_POINTS, cluster_units
from sklearn_tfsom._map.points import Points, without_rounding
from sklearn_tfsom._map.schedules import PRIOR
from sklearn_tfsom._search.inference import nearest_units
from sklearn_tfsom._tuning import LARGE_TILE_VALUES

# Different samples of a unit where units are clustered; they are not counted.
_PER_UNIT = 16.0

# Clusters of two draws of points agree from this adjusted Rand index on; else those of this many
# draws are compared. (How often "auto" had an index with the classes of 0.1 or more below the
# median of 12 draws: 3.9 % of single draws on the sets that this was chosen on, 12.8 % on those
# held back; 0.8 and 7.1 % with it, by 2.4 and 3.4 draws on average.)
_AGREEMENT, _MOST_DRAWS = 0.8, 5

# Values of points that are chosen among sparse samples, at most: 64 MiB. Those of more features
# are represented by the units.
_MAX_VALUES = 2**23


def remembered_means(som: Any) -> NDArray:
    """Return the mean of each unit's samples, or the code vector's value where there is none.

    After `partial_fit`, also where the weight of the samples has decayed to that of the start.
    """
    least = PRIOR if som._is_from_stream else 0.0
    return np.where(som._unit_counts > least, som._unit_means, som.codebook_)


def clusters_of_units(
    pieces: Pieces | None, unit_means: NDArray, hits: NDArray[np.float64], n_clusters: int | str
) -> NDArray[np.int64]:
    """Cluster the units by points that represent the samples.

    Clusters of randomly chosen points may be unlike those of most others. So two draws of points
    have to agree, or the clusters that agree best with those of all draws are used.

    Parameters
    ----------
    pieces, unit_means, hits
        See `points_to_merge`.
    n_clusters : int or "auto"
        At most the number of units hit.

    Returns
    -------
    labels : ndarray of int64, shape (n_units,)
        See `cluster_units`. All workers get those of the first one.
    """
    n_least = 1 if isinstance(n_clusters, str) else n_clusters
    tried: list[NDArray[np.int64]] = []
    for draw in range(_MOST_DRAWS):
        points = points_to_merge(pieces, unit_means, hits, n_least, draw)
        labels = cluster_units(points, unit_means, hits, n_clusters)
        if pieces is not None:
            labels = pieces.workers.from_first(labels).astype(np.int64)
        if not points.are_drawn:
            return labels
        tried.append(labels)
        agreement = [[adjusted_rand_score(a[hits > 0], b[hits > 0]) for b in tried] for a in tried]
        if len(tried) == 2 and agreement[0][1] >= _AGREEMENT:
            break
    return tried[int(np.argmax(np.sum(agreement, axis=1)))]


def points_to_merge(
    pieces: Pieces | None,
    unit_means: NDArray,
    hits: NDArray[np.float64],
    n_least: int = 1,
    draw: int = 0,
) -> Points:
    """Return the points that represent the samples, or the units hit, if these would be too few.

    Parameters
    ----------
    pieces : Pieces or None
        All samples, if they are at hand.
    unit_means : ndarray of shape (n_units, n_features)
        Mean of each unit's samples.
    hits : ndarray of float64, shape (n_units,)
        Total weight of each unit's samples.
    n_least : int, default=1
        Fewest points that suffice.
    draw : int, default=0
        See `Subsamples`.
    """
    (hit,) = np.nonzero(hits)
    if pieces is not None and n_least <= N_POINTS:
        points = representatives(pieces, N_POINTS, unit_means, draw)
        if points is not None and len(points.weights) >= n_least:
            return points
    return Points(unit_means[hit], hits[hit], _PER_UNIT, are_units=True)


def points_of_samples(pieces: Pieces, codebook: NDArray, unit_means: NDArray) -> Points:
    """Return the points that represent any samples, or the units of a fitted map that they hit.

    Parameters
    ----------
    pieces : Pieces
    codebook : ndarray of shape (n_units, n_features)
    unit_means : ndarray of shape (n_units, n_features)
        Of the training samples.
    """
    points = representatives(pieces, N_POINTS, unit_means)
    if points is not None:
        return points
    hit = _points_around(pieces, codebook, unit_means)
    return hit._replace(per_point=_PER_UNIT, are_units=True)


def representatives(
    pieces: Pieces, n_points: int, unit_means: NDArray, draw: int = 0
) -> Points | None:
    """Choose points by a random subsample of the values, and gather the samples around them.

    Neither the order of the samples nor repetition in place of weights changes them.

    Parameters
    ----------
    pieces : Pieces
        All samples.
    n_points : int
        At most.
    unit_means : ndarray of shape (n_units, n_features)
        Missing values are those of the closest one.
    draw : int, default=0
        See `Subsamples`.

    Returns
    -------
    points : Points or None
        Means of the samples that are closest to each chosen one, and their weights; the different
        samples themselves where there are no more. None for sparse samples of very many features.
    """
    samples = pieces.samples
    unit_means = without_rounding(unit_means).astype(unit_means.dtype)
    if samples.is_sparse and n_points * samples.shape[1] > _MAX_VALUES:
        return None
    subsamples = Subsamples(pieces, [n_points], draw)
    share = subsamples.share(n_points)
    rows, _ = subsamples.subsample(n_points).gather_rows(_rows_and_weights, unit_means)
    rows = rows[rows[:, -1] > 0]
    points, same = np.unique(rows[:, :-1], axis=0, return_inverse=True)
    if share == 1 or len(points) < 2:
        weights = np.bincount(same.ravel(), rows[:, -1]).astype(np.float64)
        return Points(points.astype(samples.dtype), weights, per_point=1.0)
    return _points_around(pieces, points, unit_means)._replace(per_point=1 / share)


def _points_around(pieces: Pieces, points: NDArray, unit_means: NDArray) -> Points:
    """Return the means of the samples that are closest to each of some points."""
    total = pieces.total_weight
    sums, shares = pieces.reduce(
        _gather, points, unit_means, total, piece_values=LARGE_TILE_VALUES
    )
    (hit,) = np.nonzero(shares)
    means = sums[hit] / shares[hit, None]
    return Points(means.astype(pieces.samples.dtype), shares[hit] * total)


def _rows_and_weights(piece: Piece, unit_means: NDArray) -> NDArray[np.float64]:
    samples = _completed(piece.samples, unit_means)
    rows = samples[:].toarray() if samples.is_sparse else samples[:]
    return np.column_stack([rows.astype(np.float64), piece.sample_weight])


def _gather(
    piece: Piece, points: NDArray[np.float64], unit_means: NDArray, total: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum the samples closest to each point, as shares of the weight; and the shares."""
    n_samples, n_points = len(piece.samples), len(points)
    samples = _completed(piece.samples, unit_means)
    closest = nearest_units(samples, points[None])[:, 0]
    shares = piece.sample_weight / total
    gather = csr_array((shares, (closest, np.arange(n_samples))), (n_points, n_samples))
    sums = gather @ samples[:].astype(np.float64)
    sums = sums.toarray() if samples.is_sparse else sums
    return sums, np.bincount(closest, shares, minlength=n_points).astype(np.float64)


def _completed(samples: Samples, unit_means: NDArray) -> Samples:
    """Replace missing values by those of the closest mean of a unit's samples."""
    if not samples.has_missing:
        return samples
    rows = np.array(samples[:])
    (incomplete,) = np.nonzero(np.isnan(rows).any(axis=1))
    if len(incomplete):
        part = rows[incomplete]
        means = unit_means[nearest_units(samples.take(incomplete), unit_means[None])[:, 0]]
        rows[incomplete] = np.where(np.isnan(part), means, part)
    return Samples(rows, samples.metric)

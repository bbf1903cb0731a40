"""Points that represent all samples in two-level clustering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.metrics import adjusted_rand_score

from sklearn_tfsom._data.pieces import Piece, Pieces
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.subsampling import Subsamples, different_samples
from sklearn_tfsom._map.clustering import N_POINTS, cluster_units
from sklearn_tfsom._map.points import ROUNDINGS, Points, rounded
from sklearn_tfsom._map.schedules import PRIOR
from sklearn_tfsom._search.inference import nearest_units
from sklearn_tfsom._tuning import LARGE_TILE_VALUES

# Assumed number of different samples of a unit.
_PER_UNIT = 16.0

# Numbers of draws of points: the first two, and those that follow if the clusters of these do not
# agree; for a given number of clusters, and for "auto". They agree from an adjusted Rand index of
# _AGREEMENT on. (The index with the classes was 0.1 or more below its median over 8 draws in 8 %
# of single draws for "auto", in 1 % with this rule, on the 15 sets of more than 600 samples that
# the rule was chosen on, and in 11 and 6 % on 7 sets held back; for given numbers in 1 and 0 %,
# and in 10 and 8 %.)
_DRAWS: tuple[tuple[int, ...], ...] = (0, 1), (2,)
_AUTOMATIC_DRAWS: tuple[tuple[int, ...], ...] = (0, 1), (2, 3, 4)
_AGREEMENT = 0.8

# Points of a draw are chosen among this many times as many samples.
_N_POOLED = 5

# Values of samples that points are chosen among: 64 MiB. Where even the points of one draw have
# more values, there is one draw of dense samples, and sparse ones are represented by the units.
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
    """Cluster the units by points that represent the samples, or the units hit.

    Clusters of randomly chosen points may be unlike those of most other choices. So two choices
    have to agree, or the clusters are used that agree best with those of several.

    Parameters
    ----------
    pieces : Pieces or None
        All samples, if they are at hand.
    unit_means : ndarray of shape (n_units, n_features)
        Mean of each unit's samples.
    hits : ndarray of float64, shape (n_units,)
        Total weight of each unit's samples.
    n_clusters : int or "auto"
        At most the number of units hit.

    Returns
    -------
    labels : ndarray of int64, shape (n_units,)
        See `cluster_units`. All workers get those of the first one.
    """
    if isinstance(n_clusters, str):
        n_least, all_draws = 1, _AUTOMATIC_DRAWS
    else:
        n_least, all_draws = n_clusters, _DRAWS
    chooser = None
    if pieces is not None and n_least <= N_POINTS:
        chooser = representatives(pieces, unit_means)
    tried: list[NDArray[np.int64]] = []
    for draws in all_draws:
        chosen = [] if chooser is None else chooser.choose(draws)
        if not chosen or min(len(points.weights) for points in chosen) < n_least:
            chosen = [points_of_units(unit_means, hits)]
        for points in chosen:
            labels = cluster_units(points, unit_means, hits, n_clusters)
            if pieces is not None:
                labels = pieces.workers.from_first(labels).astype(np.int64)
            tried.append(labels)
        if len(chosen) < len(draws):  # no others could be chosen
            return tried[0]
        of_hit = [labels[hits > 0] for labels in tried]
        agreement = np.array([[adjusted_rand_score(a, b) for b in of_hit] for a in of_hit])
        if agreement.min() >= _AGREEMENT:
            break
    return tried[int(np.argmax(agreement.sum(axis=1)))]


def points_of_units(unit_means: NDArray, hits: NDArray[np.float64]) -> Points:
    """Return the means of the units' samples, for the units hit."""
    (hit,) = np.nonzero(hits)
    return _units(Points(unit_means[hit], hits[hit], hits[hit]))


def points_of_samples(pieces: Pieces, codebook: NDArray, unit_means: NDArray) -> Points:
    """Return the points that represent any samples, or the units of a fitted map that they hit.

    Parameters
    ----------
    pieces : Pieces
    codebook : ndarray of shape (n_units, n_features)
    unit_means : ndarray of shape (n_units, n_features)
        Of the training samples.
    """
    chooser = representatives(pieces, unit_means)
    if chooser is not None:
        return chooser.choose([0])[0]
    (hit,) = _points_around(pieces, [codebook], unit_means)
    return _units(hit)


def _units(points: Points) -> Points:
    """Mark points as the means of the units' samples."""
    return points._replace(repeated=points.weights, per_point=_PER_UNIT, are_units=True)


def representatives(
    pieces: Pieces, unit_means: NDArray, n_points: int = N_POINTS
) -> Representatives | None:
    """Return choices of points; None for sparse samples of very many features."""
    if pieces.samples.is_sparse and n_points * pieces.samples.shape[1] > _MAX_VALUES:
        return None
    return Representatives(pieces, unit_means, n_points)


class Representatives:
    """Choices of points that represent samples, by random subsamples of the values.

    Neither the order of the samples nor repetition in place of weights changes them.

    Parameters
    ----------
    pieces : Pieces
        All samples.
    unit_means : ndarray of shape (n_units, n_features)
        Missing values are those of the closest one.
    n_points : int
        At most.
    """

    def __init__(self, pieces: Pieces, unit_means: NDArray, n_points: int) -> None:
        self._pieces, self._n_points = pieces, n_points
        self._unit_means = rounded(unit_means).astype(unit_means.dtype)
        n_most = _MAX_VALUES // (n_points * pieces.samples.shape[1])
        self._has_one_draw = n_most < 2
        n_different = n_points * max(1, min(_N_POOLED, n_most))
        # Points are chosen among these, in this process.
        if pieces.n_samples <= n_different:
            self._different, self._share = different_samples(pieces), 1.0
        else:
            subsamples = Subsamples(pieces, [n_different])
            self._different = subsamples.subsample(n_different)
            self._share = subsamples.share(n_different)

    def choose(self, draws: Sequence[int]) -> list[Points]:
        """Return points for each of some draws, all in one pass over the samples.

        Parameters
        ----------
        draws : sequence of int
            See `Subsamples`.

        Returns
        -------
        points : list of Points
            Means of the samples that are closest to each chosen one, and their weights. The
            different samples themselves, once, where there are no more. Of the first draw only,
            if samples have so many features that no others are kept.
        """
        chosen, shares = [], []
        for draw in draws[:1] if self._has_one_draw else draws:
            subsamples = Subsamples(self._different, [self._n_points], draw)
            drawn = subsamples.subsample(self._n_points)
            rows, _ = drawn.gather_rows(_rows_and_weights, self._unit_means)
            rows = rows[rows[:, -1] > 0]
            points, same = np.unique(rows[:, :-1], axis=0, return_inverse=True)
            share = self._share * subsamples.share(self._n_points)
            if share == 1 or len(points) < 2:
                weights = np.bincount(same.ravel(), rows[:, -1]).astype(np.float64)
                return [Points(points.astype(drawn.samples.dtype), weights, weights)]
            chosen.append(points)
            shares.append(share)
        around = _points_around(self._pieces, chosen, self._unit_means)
        return [
            points._replace(per_point=1 / share)
            for points, share in zip(around, shares, strict=True)
        ]


def _points_around(pieces: Pieces, chosen: Sequence[NDArray], unit_means: NDArray) -> list[Points]:
    """Return the means of the samples that are closest to each of some points, for each array."""
    total = pieces.total_weight
    found = pieces.reduce(
        _gather, tuple(chosen), unit_means, total, piece_values=LARGE_TILE_VALUES
    )
    around = []
    for sums, shares, repeated in zip(found[::3], found[1::3], found[2::3], strict=True):
        (hit,) = np.nonzero(shares)
        means = (sums[hit] / shares[hit, None]).astype(pieces.samples.dtype)
        around.append(Points(means, shares[hit] * total, repeated[hit] * total))
    return around


def _rows_and_weights(piece: Piece, unit_means: NDArray) -> NDArray[np.float64]:
    samples = _completed(piece.samples, unit_means)
    rows = samples[:].toarray() if samples.is_sparse else samples[:]
    return np.column_stack([rows.astype(np.float64), piece.sample_weight])


def _gather(
    piece: Piece, chosen: tuple[NDArray, ...], unit_means: NDArray, total: float
) -> tuple[NDArray[np.float64], ...]:
    """Sum the samples closest to each point, as shares of the weight; the shares, and equal ones.

    All three for each array of points, one after the other.
    """
    samples = _completed(piece.samples, unit_means)
    values = samples[:].astype(np.float64)
    shares = piece.sample_weight / total
    found: list[NDArray[np.float64]] = []
    for points in chosen:
        closest = nearest_units(samples, points[None])[:, 0]
        places = closest, np.arange(len(samples))
        sums = csr_array((shares, places), (len(points), len(samples))) @ values
        is_equal = _are_equal(values, points, closest, samples.dtype)
        found.append(sums.toarray() if samples.is_sparse else sums)
        for counted in (shares, np.where(is_equal, shares, 0)):
            found.append(np.bincount(closest, counted, minlength=len(points)).astype(np.float64))
    return tuple(found)


def _are_equal(
    values: Any, points: NDArray, closest: NDArray[np.int64], dtype: np.dtype
) -> NDArray[np.bool_]:
    """Return whether samples equal the points closest to them, but for rounding of directions."""
    limits = ROUNDINGS * np.finfo(dtype).eps * np.abs(points).max(axis=1)
    if isinstance(values, np.ndarray):
        largest = np.abs(values - points[closest]).max(axis=1)
    else:
        largest = abs(values - csr_array(points)[closest]).max(axis=1).toarray().ravel()
    are_equal: NDArray[np.bool_] = largest <= limits[closest]
    return are_equal


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

"""Two-level clustering: samples to places, places to clusters (Vesanto & Alhoniemi 2000).

Places are means of a few samples each, finer than the units of a small map, whose code vectors are
smoothed along the grid and fill the gaps between clusters. The distance of two places is measured
along the data: the cheapest way over others, a step of length l costing l**p::

    d(i, j)^2 = (min over ways from i to j of sum |x_a - x_b|^p)^(2/p)

p = 1 is the straight line; the larger p, the more a way with short steps is preferred to a leap.
Ward's method, weighted by the samples of a place, merges on that distance, with several p; the
clusters that agree best with all of them count. Two cases come first: where single linkage parts
the places by gaps twice as wide as any inside, its clusters are taken as they are; and where a
mixture of as many Gaussians describes held-out places as well as a density without a model, its
components are. For "auto" those clusters count that are parted most clearly: by the largest ratio
of the cheapest merge that is refused to the dearest that is done; clear ones within them, too. A
unit belongs to the cluster of the place closest to the mean of its samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra, minimum_spanning_tree
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score

from sklearn_tfsom._data.scaling import power_of_two
from sklearn_tfsom._map.mixtures import HeldOut
from sklearn_tfsom._map.ties import first_within_rounding
from sklearn_tfsom._map.ward import Merge, cut, ward, ward_of_points

# What a step may cost; and from the clusters of which a mixture of Gaussians begins.
_POWERS, _START_POWER = (2, 4, 6), 4

# Ways lead over the ten nearest places, and over the minimum spanning tree; 7 and 15 are alike.
_N_NEAREST = 10

# Gaps between clusters are clear where they are this many times as wide as any inside.
_CLEAR_GAP = 2.0

# Most clusters that "auto" looks for.
_MOST_CLUSTERS = 20

# A cluster is parted again where the ratio of costs is at least this large and it has 30 places,
# down to clusters of clusters of clusters. (Ratios from 5 to 15 were alike on the half of 36 sets
# that was chosen on: on each half one more number was right than without parting again.)
_CLEAR_RATIO, _LEAST_PLACES, _MAX_DEPTH = 5.0, 30, 2

# Below this ratio of costs the data may be one cluster of many dimensions: of 24 sets without
# clusters none reached it.
_DOUBTFUL_RATIO = 3.0

# Mixtures count whose logarithm of the likelihood is this close to the best one's. Large ones are
# believed where the ways find their clusters, too: adjusted Rand index, and ratio of costs.
_ALIKE_LIKELIHOOD, _ALIKE, _LEAST_RATIO = 3.0, 0.9, 2.0

# A cluster weighs at least this many average units; else it is an outlier.
_LEAST_UNITS = 0.5

# Places that stand for the samples. (500, 1000, 1500: 0.768, 0.779, 0.775 with ways alone.)
N_POINTS = 600

# More places than that are merged by plain Ward first: then a matrix of their distances is small.
_MAX_POINTS = 1000

# Places are as close to a unit as the closest one within this share; the first of them counts.
_ROUNDING = 1e-9

# Least weight of a place, in those of the heaviest one: products of smaller ones could be 0.
_LEAST_SHARE = 1e-100

# A step between places that coincide, in units of the largest range; 0 would be no step.
_SHORTEST = 1e-12


class Points(NamedTuple):
    """Places and their weights."""

    places: NDArray[np.float64]  # (n, n_features), means of samples
    weights: NDArray[np.float64]  # (n,) total weight of these samples
    per_place: float = 1.0  # different samples that a place stands for, about


def cluster_units(points: Points, units: NDArray, n_clusters: int | str) -> NDArray[np.int64]:
    """Find clusters of samples, and to which of them each unit belongs.

    Parameters
    ----------
    points : Points
        What stands for the samples, of positive weights.
    units : ndarray of shape (n_units, n_features)
        Mean of each unit's samples; the code vector of units without any.
    n_clusters : int or "auto"
        At most the number of points and of units. "auto" finds the number.

    Returns
    -------
    labels : ndarray of int64, shape (n_units,)
        From 0 on, in the order in which clusters first appear among the units.
    """
    points, units = _normalized(points, units)
    if isinstance(n_clusters, str):
        points = _different(points)
    if isinstance(n_clusters, int) and n_clusters > _MAX_POINTS:
        labels = cut(ward_of_points(*points[:2]), len(points.weights), n_clusters)
    else:
        gathered, group = _gathered(points)
        labels = _labels(gathered, n_clusters, _least_weight(points, len(units)))[group]
    found = _of_units(points.places, labels, units)
    _, first, label = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[label]


def separations(points: Points, n_units: int, most: int) -> NDArray[np.float64]:
    """Compute how clearly the points are parted into 2, 3, ... clusters.

    Returns
    -------
    ratios : ndarray of float64, shape (n_ratios,), at most most - 1
        Of the cheapest merge that is refused to the dearest that is done, the largest of those of
        all powers; inf where wide gaps part the clusters, NaN where one would be an outlier.
    """
    points, _ = _normalized(points, points.places)
    points, _ = _gathered(points)
    least = _least_weight(points, n_units)
    numbers = range(2, min(most, len(points.weights) - 1) + 1)
    if not numbers:
        return np.empty(0)
    lengths, tree = _tree(points)
    merges = _merges_along_ways(points, lengths, tree)
    ratios = np.full(len(numbers), np.nan)
    for i, k in enumerate(numbers):
        if _clearly_parted(tree, [k], points.weights, least) is not None:
            ratios[i] = np.inf
            continue
        ratio, labels = _parted_into(k, merges, points.weights, least)
        if labels is not None:
            ratios[i] = ratio
    return ratios


def _normalized(points: Points, units: NDArray) -> tuple[Points, NDArray[np.float64]]:
    """Return points and units around the mean of the points, in one scale; weights up to 1."""
    places, units = points.places.astype(np.float64), units.astype(np.float64)
    unit = power_of_two(max(np.abs(places).max(), np.abs(units).max()))
    places, units = places / unit, units / unit  # no sum exceeds the range of float64
    center = places.mean(axis=0)
    places, units = places - center, units - center
    scale = np.abs(places).max() or np.abs(units).max() or 1.0
    weights = np.maximum(points.weights / points.weights.max(), _LEAST_SHARE)
    return Points(places / scale, weights, points.per_place), units / scale


def _different(points: Points) -> Points:
    """Join points that are equal: no number of clusters parts them."""
    places, same = np.unique(points.places, axis=0, return_inverse=True)
    if len(places) == len(points.places):
        return points
    weights = np.bincount(same.ravel(), points.weights).astype(np.float64)
    return Points(places, weights, points.per_place)


def _gathered(points: Points) -> tuple[Points, NDArray[np.int64]]:
    """Gather many points into fewer groups, and return the group of each point."""
    places, weights, per_place = points
    n = len(weights)
    if n <= _MAX_POINTS:
        return points, np.arange(n)
    group = cut(ward_of_points(*points[:2]), n, _MAX_POINTS)
    total = np.bincount(group, weights).astype(np.float64)
    gather = csr_array((weights / total[group], (group, np.arange(n))))
    return Points(gather @ places, total, per_place * n / len(total)), group


def _least_weight(points: Points, n_units: int) -> float:
    """Return the weight below which a cluster is an outlier."""
    return float(_LEAST_UNITS * points.weights.sum() / n_units)


def _of_units(
    places: NDArray[np.float64], labels: NDArray[np.int64], units: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the label of the place closest to each unit; each label has a unit at least."""
    squared = cdist(units, places, "sqeuclidean")
    # The mean of two samples is as far from the one as from the other, but for rounding.
    closest, _ = first_within_rounding(squared, _ROUNDING * squared.min(axis=1), 1)
    found = labels[closest[:, 0]]
    for label in np.setdiff1d(labels, found):
        to_cluster = squared[:, labels == label].min(axis=1)
        is_alone = np.bincount(found, minlength=labels.max() + 1)[found] == 1
        found[np.argmin(np.where(is_alone, np.inf, to_cluster))] = label
    return found


def _labels(points: Points, n_clusters: int | str, least: float) -> NDArray[np.int64]:
    n = len(points.weights)
    if n <= 2 or n_clusters == 1 or n_clusters == n:
        is_one = n == 1 or n_clusters in (1, "auto")
        return np.zeros(n, dtype=np.int64) if is_one else np.arange(n)
    if isinstance(n_clusters, str):
        best = _found(points, least)
    else:
        best = _asked_for(points, n_clusters, least)
    if best is None:  # outliers, each of which would be a cluster: plain Ward keeps with the many
        n_clusters = 2 if isinstance(n_clusters, str) else n_clusters
        best = cut(ward_of_points(*points[:2]), n, n_clusters)
    return best


def _asked_for(points: Points, n_clusters: int, least: float) -> NDArray[np.int64] | None:
    """Return as many clusters as are asked for; None if there would be outliers."""
    n, (lengths, tree) = len(points.weights), _tree(points)
    clear = _clearly_parted(tree, [n_clusters], points.weights, least)
    if clear is not None:
        return clear
    merges = _merges_along_ways(points, lengths, tree)
    trees = [ward_of_points(*points[:2]), merges[_START_POWER]]
    starts = [cut(tree, n, n_clusters) for tree in trees]
    held_out = HeldOut(*points)
    log_density, best = held_out.best(starts)
    if held_out.is_described(log_density) and len(np.unique(best)) == n_clusters:
        return best
    tried = [cut(tree, n, n_clusters) for tree in merges.values()]
    return _most_alike(tried, points.weights, least)


def _found(points: Points, least: float) -> NDArray[np.int64] | None:
    """Return the clusters that are parted most clearly, and clear ones within them.

    Those of a mixture of Gaussians instead, if it describes the data and has no more clusters, or
    one more where they are not parted clearly, or those that the ways find for its number. One,
    if the data are evenly spread.
    """
    ratio, labels, merges = _parted(points, _MOST_CLUSTERS, least)
    if labels is None:
        return None
    if merges:
        mixtures = _mixtures(points, merges[_START_POWER], is_doubtful=ratio < _DOUBTFUL_RATIO)
        most = labels.max() + (ratio < _CLEAR_RATIO)
        if mixtures and mixtures[0].max() <= most:
            return mixtures[0]
        for mixed in mixtures:
            if _is_alike(mixed, merges, points.weights, least):
                return mixed
    return _parted_again(points, labels, least, _MAX_DEPTH)


def _mixtures(points: Points, start: list[Merge], *, is_doubtful: bool) -> list[NDArray[np.int64]]:
    """Return the clusters of all mixtures that describe held-out places well, the smallest first.

    One cluster where a uniform density does so better. Mixtures begin with the clusters that are
    left after the first merges of `start`.
    """
    n, held_out = len(points.weights), HeldOut(*points)
    tried = []
    for k in range(1, min(_MOST_CLUSTERS, n - 1) + 1):
        log_density, labels = held_out.best([cut(start, n, k)], are_common=(False,))
        if len(np.unique(labels)) == k:
            tried.append((log_density, labels))
    most = max(log_density for log_density, _ in tried)
    if (is_doubtful or held_out.is_flat) and held_out.is_uniform(most):
        return [np.zeros(n, dtype=np.int64)]
    if not held_out.is_described(most):
        return []
    return [labels for reached, labels in tried if reached >= most - _ALIKE_LIKELIHOOD / n]


def _is_alike(
    mixed: NDArray[np.int64],
    merges: dict[int, list[Merge]],
    weights: NDArray[np.float64],
    least: float,
) -> bool:
    """Return True if a mixture has about the clusters that the ways part for its number.

    A mixture that only covers clusters of other shapes cuts them elsewhere.
    """
    ratio, parted = _parted_into(int(mixed.max()) + 1, merges, weights, least)
    if parted is None or ratio < _LEAST_RATIO:
        return False
    return bool(adjusted_rand_score(mixed, parted) >= _ALIKE)


def _parted_again(
    points: Points, labels: NDArray[np.int64], least: float, depth: int
) -> NDArray[np.int64]:
    """Part clusters that consist of clearly parted ones; the labels of all are from 0 on."""
    if not depth:
        return labels
    labels = labels.copy()
    for label in range(labels.max() + 1):
        (inside,) = np.nonzero(labels == label)
        most = _MOST_CLUSTERS - labels.max()
        if len(inside) < _LEAST_PLACES or most < 2:
            continue
        part = Points(points.places[inside], points.weights[inside])
        ratio, found, _ = _parted(part, most, least)
        if found is not None and ratio >= _CLEAR_RATIO:
            found = _parted_again(part, found, least, depth - 1)
            if found.max() < most:
                # The first part keeps the label.
                labels[inside] = np.where(found == 0, label, labels.max() + found)
    return labels


def _parted(
    points: Points, most: int, least: float
) -> tuple[float, NDArray[np.int64] | None, dict[int, list[Merge]]]:
    """Return the ratio and clusters parted most clearly, no more than `most`, and all merges."""
    lengths, tree = _tree(points)
    asked = range(min(most, len(lengths) - 1), 1, -1)
    clear = _clearly_parted(tree, asked, points.weights, least)
    if clear is not None:
        return np.inf, clear, {}
    merges = _merges_along_ways(points, lengths, tree)
    return *_most_clearly_parted(merges, asked, points.weights, least), merges


def _tree(points: Points) -> tuple[NDArray[np.float64], csr_array]:
    """Return all distances between places, and their minimum spanning tree."""
    lengths = np.maximum(cdist(points.places, points.places), _SHORTEST)
    return lengths, minimum_spanning_tree(csr_array(np.triu(lengths, 1))).tocoo()


def _merges_along_ways(
    points: Points, lengths: NDArray[np.float64], tree: csr_array
) -> dict[int, list[Merge]]:
    edges = _edges(lengths, tree)
    return {power: ward(_ways(lengths, edges, power), points.weights) for power in _POWERS}


def _most_alike(
    tried: list[NDArray[np.int64]], weights: NDArray[np.float64], least: float
) -> NDArray[np.int64] | None:
    """Return the clusters that agree best with all; None if all have an outlier."""
    kept = [labels for labels in tried if np.bincount(labels, weights).min() >= least]
    agreement = [sum(adjusted_rand_score(a, b) for b in tried) for a in kept]
    return kept[int(np.argmax(agreement))] if kept else None


def _most_clearly_parted(
    merges: dict[int, list[Merge]],
    asked: Iterable[int],
    weights: NDArray[np.float64],
    least: float,
) -> tuple[float, NDArray[np.int64] | None]:
    """Return the clusters with the largest ratio of costs, and it; None if all have an outlier."""
    best_ratio, best = 0.0, None
    for k in asked:
        ratio, labels = _parted_into(k, merges, weights, least)
        if labels is not None and ratio > best_ratio:
            best_ratio, best = ratio, labels
    return best_ratio, best


def _parted_into(
    k: int, merges: dict[int, list[Merge]], weights: NDArray[np.float64], least: float
) -> tuple[float, NDArray[np.int64] | None]:
    """Return the largest ratio of costs for k clusters, and these; None for outliers."""
    ratios = []
    for done in merges.values():
        refused, dearest = done[1 - k].cost, done[-k].cost
        smallest = np.finfo(float).tiny
        ratios.append((max(refused, smallest) / max(dearest, smallest), done))
    for ratio, done in sorted(ratios, key=lambda pair: -pair[0]):
        labels = cut(done, len(weights), k)
        if np.bincount(labels, weights).min() >= least:
            return ratio, labels
    return 0.0, None


def _clearly_parted(
    tree: csr_array, asked: Iterable[int], weights: NDArray[np.float64], least: float
) -> NDArray[np.int64] | None:
    """Return the clusters of single linkage where wide gaps part them; None where none do."""
    order = np.argsort(-tree.data, kind="stable")
    gaps = tree.data[order]
    for k in asked:
        if gaps[k - 2] < _CLEAR_GAP * gaps[k - 1]:
            continue
        inside = order[k - 1 :]
        kept = (tree.data[inside], (tree.row[inside], tree.col[inside]))
        _, labels = connected_components(csr_array(kept, shape=tree.shape), directed=False)
        if np.bincount(labels, weights).min() >= least:
            return labels.astype(np.int64)
    return None


def _edges(lengths: NDArray[np.float64], tree: csr_array) -> tuple[NDArray, ...]:
    """Return the steps that ways may take: to the nearest units, and along the tree."""
    n = len(lengths)
    is_edge = np.zeros((n, n), dtype=bool)
    nearest = np.argsort(lengths, axis=1, kind="stable")[:, : _N_NEAREST + 1]
    is_edge[np.arange(n)[:, None], nearest] = True
    is_edge[tree.row, tree.col] = True
    is_edge |= is_edge.T
    np.fill_diagonal(is_edge, False)
    return np.nonzero(is_edge)


def _ways(
    lengths: NDArray[np.float64], edges: tuple[NDArray, ...], power: int
) -> NDArray[np.float64]:
    """Squared distances along the data."""
    costs = csr_array((lengths[edges] ** power, edges), shape=lengths.shape)
    ways = dijkstra(costs)
    ways = np.minimum(ways, ways.T) ** (2 / power)  # both ways to the same bits
    np.fill_diagonal(ways, 0)
    return ways

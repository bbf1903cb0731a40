"""Two-level clustering: samples to points, points to clusters (Vesanto & Alhoniemi 2000).

Points are means of a few samples each, unlike the code vectors, which are smoothed along the grid
and fill the gaps between clusters. The distance of two points is that of the shortest path over
other points, where a step of length l costs l**p::

    d(i, j)^2 = (min over paths from i to j of sum |x_a - x_b|^p)^(2/p)

p = 1 is the straight line; the larger p, the more a path of short steps is preferred to one long
step. Ward's method, weighted by the samples of a point, merges on that distance, with several p;
the result that agrees best with all of them is used. Two cases come first. If the gaps between
the clusters of single linkage are twice as wide as any gap inside, these clusters are used. If a
mixture of as many Gaussians describes held-out points better than a kernel density does, its
components are used. "auto" uses the number of clusters with the largest separation ratio: the
lowest cost of a rejected merge divided by the highest cost of an accepted one. It also separates
clusters that consist of clearly separated ones. A mixture, or a uniform density for one cluster,
replaces these clusters where it describes held-out points better, see `_automatic`. A unit belongs
to the cluster of the point closest to the mean of its samples.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, dijkstra, minimum_spanning_tree
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score

from sklearn_tfsom._compat import with_errstate
from sklearn_tfsom._data.tiles import value_slices
from sklearn_tfsom._map.mixtures import HeldOut
from sklearn_tfsom._map.points import Points, distinct, normalized, turned
from sklearn_tfsom._map.ties import first_within_rounding
from sklearn_tfsom._map.ward import Merge, cut, ward, ward_of_points
from sklearn_tfsom._tuning import LARGE_TILE_VALUES

# The powers p, and the one from whose clusters a mixture of Gaussians begins.
_POWERS, _START_POWER = (2, 4, 6), 4

# Paths use steps to the ten nearest points and the minimum spanning tree. 7 and 15 are as good.
_N_NEAREST = 10

# Gaps separate clusters if they are this many times as wide as any gap inside.
_CLEAR_GAP = 2.0

# The largest number of clusters that "auto" considers.
_MOST_CLUSTERS = 20

# A cluster is separated further if it has 30 points and the separation ratio inside it is at least
# this large, at most twice in succession. (Ratios from 5 to 15 were as good on the 18 sets that
# they were chosen on. Without it, one number of clusters fewer was right, there and on 18 others.)
CLEAR_RATIO, _MIN_POINTS, _MAX_DEPTH = 5.0, 30, 2

# Below this separation ratio the data may be one cluster of many dimensions: none of 24 sets
# without clusters reached it.
DOUBTFUL_RATIO = 3.0

# Mixtures are considered if their log-likelihood is this close to that of the best one. Those of
# more clusters are used if paths find about the same clusters: adjusted Rand index, and separation
# ratio.
_MAX_LIKELIHOOD_LOSS, _MIN_AGREEMENT, _MIN_RATIO = 3.0, 0.9, 2.0

# A cluster with less than the weight of this many average units is an outlier.
_MIN_UNITS = 0.5

# Points that represent the samples. More points hardly improve the clusters, and the time grows
# with their square. (Mean adjusted Rand index with paths alone, for 500, 1000 and 1500: 0.768,
# 0.779, 0.775.)
N_POINTS = 600

# More points than this, which only units can be, are first merged by Ward's method on the usual
# distances. This limits the memory for distances.
_MAX_POINTS = 1000

# Relative difference below which distances of points to a unit are equal; the first point is used.
_ROUNDING = 1e-8

# Length of a step between equal points, relative to the largest coordinate; 0 would be no step.
_MIN_LENGTH = 1e-12


@with_errstate(under="ignore")  # of densities far away
def cluster_units(
    points: Points, units: NDArray, hits: NDArray[np.float64], n_clusters: int | str
) -> NDArray[np.int64]:
    """Find clusters of samples, and to which of them each unit belongs.

    Parameters
    ----------
    points : Points
        Of positive weights.
    units : ndarray of shape (n_units, n_features)
        Mean of each unit's samples; the code vector of units without any.
    hits : ndarray of float64, shape (n_units,)
        Total weight of each unit's samples.
    n_clusters : int or "auto"
        At most the number of points and of units. "auto" finds the number; its clusters have
        samples.

    Returns
    -------
    labels : ndarray of int64, shape (n_units,)
        From 0 on, in the order in which clusters first appear among the units.
    """
    points, units = normalized(points, units)
    joined = distinct(points)
    if isinstance(n_clusters, str) or len(joined.weights) >= n_clusters:
        points = joined
    points, units = turned(points, units)
    if isinstance(n_clusters, int) and n_clusters > _MAX_POINTS:
        labels = cut(ward_of_points(points.means, points.weights), n_clusters)
    else:
        reduced, group = _reduced(points)
        labels = _labels(_with_least(reduced, len(units)), n_clusters)[group]
    means = points.means
    if isinstance(n_clusters, str):
        closest, _ = _closest(units[hits > 0], means)
        is_kept = np.isin(labels, labels[closest])
        means, labels = means[is_kept], labels[is_kept]
    found = _of_units(means, labels, units)
    _, first, label = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[label]


def separations(points: Points, n_units: int, most: int) -> NDArray[np.float64]:
    """Compute the separation ratios of 2, 3, ... clusters.

    Returns
    -------
    ratios : ndarray of float64, shape (n_ratios,), at most most - 1
        The largest of those of all powers; inf if wide gaps separate the clusters, NaN if one of
        them would be an outlier.
    """
    points, _ = normalized(points, points.means)
    points = distinct(points)
    points, _ = turned(points, points.means[:0])
    points = _with_least(_reduced(points)[0], n_units)
    numbers = range(2, min(most, len(points.weights) - 1) + 1)
    lengths, tree = _tree(points)
    merges = _merges_along_paths(points, lengths, tree)
    ratios = np.full(len(numbers), np.nan)
    for i, k in enumerate(numbers):
        if _separated_by_gaps(tree, [k], points) is not None:
            ratios[i] = np.inf
            continue
        ratio, labels = _separated_into(k, merges, points)
        if labels is not None:
            ratios[i] = ratio
    return ratios


def _reduced(points: Points) -> tuple[Points, NDArray[np.int64]]:
    """Merge many points into fewer, and return which of these each point belongs to."""
    means, weights = points.means, points.weights
    n = len(weights)
    if n <= _MAX_POINTS:
        return points, np.arange(n)
    group = cut(ward_of_points(means, weights), _MAX_POINTS)
    shares = weights / np.bincount(group, weights)[group]
    gather = csr_array((shares, (group, np.arange(n))))
    return points.joined(group, gather @ means), group


def _with_least(points: Points, n_units: int) -> Points:
    """Set the weight below which a cluster is an outlier, also where it is rounded."""
    return points._replace(least=(1 - _ROUNDING) * _MIN_UNITS * points.weights.sum() / n_units)


def _of_units(
    means: NDArray[np.float64], labels: NDArray[np.int64], units: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the label of the point closest to each unit; each label has at least one unit."""
    closest, _ = _closest(units, means)
    found = labels[closest]
    for label in np.setdiff1d(labels, found):
        _, to_cluster = _closest(units, means[labels == label])
        is_alone = np.bincount(found, minlength=labels.max() + 1)[found] == 1
        place, _ = _first_lowest(np.where(is_alone, np.inf, to_cluster)[None])
        found[place] = label
    return found


def _closest(
    units: NDArray[np.float64], means: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the point closest to each unit, and its squared distance."""
    closest, lowest = np.empty(len(units), np.int64), np.empty(len(units))
    for rows in value_slices(len(units), len(means), LARGE_TILE_VALUES):
        closest[rows], lowest[rows] = _first_lowest(cdist(units[rows], means, "sqeuclidean"))
    return closest, lowest


def _first_lowest(
    squared: NDArray[np.float64],
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return column and value of the lowest number of each row; the first column within rounding.

    The mean of two samples is as far from the one as from the other, but for rounding.
    """
    first, lowest = first_within_rounding(squared, _ROUNDING * squared.min(axis=1), 1)
    return first[:, 0], lowest


def _labels(points: Points, n_clusters: int | str) -> NDArray[np.int64]:
    n = len(points.weights)
    if n <= 2 or n_clusters == 1 or n_clusters == n:
        is_one = n == 1 or n_clusters in (1, "auto")
        return np.zeros(n, dtype=np.int64) if is_one else np.arange(n)
    if isinstance(n_clusters, str):
        best = _automatic(points)
    else:
        best = _given_number(points, n_clusters)
    if best is None:  # each outlier would be a cluster, unlike with Ward's method on the points
        n_clusters = 2 if isinstance(n_clusters, str) else n_clusters
        best = cut(ward_of_points(points.means, points.weights), n_clusters)
    return best


def _given_number(points: Points, n_clusters: int) -> NDArray[np.int64] | None:
    """Return a given number of clusters; None if there would be outliers."""
    lengths, tree = _tree(points)
    clear = _separated_by_gaps(tree, [n_clusters], points)
    if clear is not None:
        return clear
    merges = _merges_along_paths(points, lengths, tree)
    trees = [ward_of_points(points.means, points.weights), merges[_START_POWER]]
    starts = [cut(tree, n_clusters) for tree in trees]
    held_out = HeldOut(points.means, points.weights, points.per_point)
    if held_out.has_enough_points(n_clusters):
        log_density, best = held_out.best(starts)
        if held_out.beats_kernel_density(log_density) and len(np.unique(best)) == n_clusters:
            return best
    tried = [cut(tree, n_clusters) for tree in merges.values()]
    return _most_agreed(tried, points)


def _automatic(points: Points) -> NDArray[np.int64] | None:
    """Return the clusters with the largest separation ratio, separated further.

    Or those of a mixture of Gaussians, if it describes the data and has no more clusters, or at
    most one more if these are not clearly separated, or about the clusters that paths find for its
    number. Or one cluster, if the density of the data is uniform.
    """
    ratio, labels, merges = _separate(points, _MOST_CLUSTERS)
    if labels is None:
        return None
    if merges:
        mixtures = _mixtures(points, merges[_START_POWER], is_doubtful=ratio < DOUBTFUL_RATIO)
        largest_label = labels.max() + (ratio < CLEAR_RATIO)
        if mixtures and mixtures[0].max() <= largest_label:
            return mixtures[0]
        for mixed in mixtures:
            if _is_confirmed(mixed, merges, points):
                return mixed
    return _separated_further(points, labels, _MAX_DEPTH)


def _mixtures(points: Points, start: list[Merge], *, is_doubtful: bool) -> list[NDArray[np.int64]]:
    """Return the clusters of all mixtures that describe held-out points well, the fewest first.

    Or one cluster, if a uniform density describes them better. Mixtures begin with the clusters of
    `start`.
    """
    n, held_out = len(points.weights), HeldOut(points.means, points.weights, points.per_point)
    tried = []
    for k in range(1, min(_MOST_CLUSTERS, n - 1) + 1):
        log_density, labels = held_out.describe(cut(start, k), is_common=False)
        if len(np.unique(labels)) == k:
            tried.append((log_density, labels))
    highest = max(log_density for log_density, _ in tried)
    # Units fill their hull more evenly than samples do. Without this test for units in a plane the
    # mean adjusted Rand index of 29 sets, with units as points, is 0.54 instead of 0.45, and all
    # 12 uniform sets are one cluster still.
    is_hull_known = held_out.is_flat and not points.are_units
    if (is_doubtful or is_hull_known) and held_out.is_uniform(highest):
        return [np.zeros(n, dtype=np.int64)]
    if not held_out.beats_kernel_density(highest):
        return []
    least = highest - _MAX_LIKELIHOOD_LOSS / n
    return [labels for log_density, labels in tried if log_density >= least]


def _is_confirmed(
    mixed: NDArray[np.int64], merges: dict[int, list[Merge]], points: Points
) -> bool:
    """Return True if a mixture has about the clusters that paths find for its number.

    A mixture that covers clusters of another shape with several Gaussians divides them elsewhere.
    """
    ratio, separated = _separated_into(int(mixed.max()) + 1, merges, points)
    if separated is None or ratio < _MIN_RATIO:
        return False
    return bool(adjusted_rand_score(mixed, separated) >= _MIN_AGREEMENT)


def _separated_further(points: Points, labels: NDArray[np.int64], depth: int) -> NDArray[np.int64]:
    """Separate clusters that consist of clearly separated ones; all labels are from 0 on."""
    if not depth:
        return labels
    labels = labels.copy()
    for label in range(labels.max() + 1):
        (inside,) = np.nonzero(labels == label)
        n_left = _MOST_CLUSTERS - labels.max()
        if len(inside) < _MIN_POINTS or n_left < 2:
            continue
        own = points.take(inside)
        ratio, found, _ = _separate(own, n_left)
        if found is not None and ratio >= CLEAR_RATIO:
            found = _separated_further(own, found, depth - 1)
            if found.max() < n_left:
                # The first cluster inside keeps the label.
                labels[inside] = np.where(found == 0, label, labels.max() + found)
    return labels


def _separate(
    points: Points, most: int
) -> tuple[float, NDArray[np.int64] | None, dict[int, list[Merge]]]:
    """Return the largest separation ratio, its clusters, at most `most`, and all merges."""
    lengths, tree = _tree(points)
    asked = range(min(most, len(lengths) - 1), 1, -1)
    clear = _separated_by_gaps(tree, asked, points)
    if clear is not None:
        return np.inf, clear, {}
    merges = _merges_along_paths(points, lengths, tree)
    found = [_separated_into(k, merges, points) for k in asked]
    return *max(found, key=lambda pair: pair[0]), merges


def _tree(points: Points) -> tuple[NDArray[np.float64], coo_array]:
    """Return all distances between points, and their minimum spanning tree."""
    lengths = np.maximum(cdist(points.means, points.means), _MIN_LENGTH)
    # Of a dense matrix SciPy would leave short lengths out.
    return lengths, minimum_spanning_tree(csr_array(np.triu(lengths, 1))).tocoo()


def _merges_along_paths(
    points: Points, lengths: NDArray[np.float64], tree: coo_array
) -> dict[int, list[Merge]]:
    nearest = np.argsort(lengths, axis=1, kind="stable")[:, : _N_NEAREST + 1]
    return {
        power: ward(_path_distances(lengths, nearest, tree, power), points.weights)
        for power in _POWERS
    }


def _most_agreed(tried: list[NDArray[np.int64]], points: Points) -> NDArray[np.int64] | None:
    """Return the clusters that agree best with all; None if all have an outlier."""
    agreement = np.zeros(len(tried))
    for (i, a), (j, b) in itertools.combinations(enumerate(tried), 2):
        agreement[[i, j]] += adjusted_rand_score(a, b)
    agreement[[points.has_outlier(labels) for labels in tried]] = -np.inf
    best = int(np.argmax(agreement))
    return tried[best] if np.isfinite(agreement[best]) else None


def _separated_into(
    k: int, merges: dict[int, list[Merge]], points: Points
) -> tuple[float, NDArray[np.int64] | None]:
    """Return the largest separation ratio of k clusters, and these; None for outliers."""
    ratios, smallest = [], np.finfo(float).tiny
    for in_order in merges.values():
        # The last k - 1 merges are rejected.
        rejected, accepted = in_order[1 - k].cost, in_order[-k].cost
        ratios.append((max(rejected, smallest) / max(accepted, smallest), in_order))
    for ratio, in_order in sorted(ratios, key=lambda pair: -pair[0]):
        labels = cut(in_order, k)
        if not points.has_outlier(labels):
            return ratio, labels
    return 0.0, None


def _separated_by_gaps(
    tree: coo_array, asked: Iterable[int], points: Points
) -> NDArray[np.int64] | None:
    """Return the clusters of single linkage that wide gaps separate; None without such gaps.

    The first number of clusters in `asked` for which there are such gaps is used.
    """
    order = np.argsort(-tree.data, kind="stable")
    gaps = tree.data[order]
    for k in asked:
        if gaps[k - 2] < _CLEAR_GAP * gaps[k - 1]:
            continue
        inside = order[k - 1 :]
        kept = (tree.data[inside], (tree.row[inside], tree.col[inside]))
        _, labels = connected_components(csr_array(kept, shape=tree.shape), directed=False)
        if not points.has_outlier(labels):
            return labels.astype(np.int64)
    return None


def _path_distances(
    lengths: NDArray[np.float64], nearest: NDArray[np.int64], tree: coo_array, power: int
) -> NDArray[np.float64]:
    """Return squared distances along the shortest paths.

    Steps lead to the nearest points, (n, n_nearest), of which the first is the point itself, and
    along the tree.
    """
    rows = np.arange(len(lengths))[:, None]
    costs = np.full(lengths.shape, np.inf)
    for start, end in ((rows, nearest), (tree.row, tree.col)):
        costs[start, end] = costs[end, start] = lengths[start, end] ** power
    np.fill_diagonal(costs, np.inf)
    # No shortest path takes a step that costs more than two others in its place: half of all.
    to_nearest, among = costs[rows, nearest], costs[nearest[:, :, None], nearest[:, None]]
    of_two = (to_nearest[:, :, None] + among).min(axis=1)
    start, place = np.nonzero(to_nearest > of_two)
    end = nearest[start, place]
    costs[start, end] = costs[end, start] = np.inf
    steps = np.nonzero(np.isfinite(costs))
    squared = dijkstra(csr_array((costs[steps], steps), shape=costs.shape))
    squared = np.minimum(squared, squared.T) ** (2 / power)  # the same bits in both directions
    np.fill_diagonal(squared, 0)
    return squared

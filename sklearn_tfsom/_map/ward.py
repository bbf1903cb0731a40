"""Ward's method for weighted points: the merges in order of their cost.

Those of SciPy and scikit-learn take no weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

# Last bits of costs that are not compared: costs that are equal but for rounding are ties, which
# the first point wins. (30 of 52 bits: `points.rounded` changes most costs by less than 2^-23 of
# themselves.)
_ROUNDED_BITS = 30


class Merge(NamedTuple):
    """Two clusters that become one, which keeps the index of the first."""

    cost: float
    kept: int
    gone: int


def ward(squared: NDArray[np.float64], weights: NDArray[np.float64]) -> list[Merge]:
    """Return all merges by Ward's method on any squared distances, the cheapest first.

    A merge costs ``w_a w_b / (w_a + w_b) d^2``; the costs of further merges of the merged cluster
    follow from Lance and Williams' formula. Chains of nearest neighbors (Murtagh 1983) find the
    same tree as the greedy search.
    """
    weights = weights.copy()
    cost = squared * (np.multiply.outer(weights, weights) / np.add.outer(weights, weights))
    np.fill_diagonal(cost, np.inf)
    is_alive = np.ones(len(weights), dtype=bool)

    def merge(kept: int, gone: int) -> None:
        a, b, between = weights[kept], weights[gone], cost[kept, gone]
        merged = (a + weights) * cost[kept] + (b + weights) * cost[gone] - weights * between
        merged /= a + b + weights
        is_alive[gone] = False
        merged[~is_alive] = np.inf
        merged[kept] = np.inf
        cost[kept], cost[:, kept] = merged, merged
        cost[gone], cost[:, gone] = np.inf, np.inf
        weights[kept] = a + b

    return _chained_merges(is_alive, lambda top: cost[top], merge)


def ward_of_points(points: NDArray[np.float64], weights: NDArray[np.float64]) -> list[Merge]:
    """Return all merges of points by Ward's method, the cheapest first, without a matrix."""
    centers, weights = points.copy(), weights.copy()
    norms = np.einsum("ij,ij->i", centers, centers)
    is_alive = np.ones(len(weights), dtype=bool)

    def costs(top: int) -> NDArray[np.float64]:
        cost = np.maximum(norms + (norms[top] - 2 * (centers @ centers[top])), 0)
        cost *= weights * weights[top] / (weights + weights[top])
        cost[~is_alive] = np.inf
        cost[top] = np.inf
        return cost

    def merge(kept: int, gone: int) -> None:
        total = weights[kept] + weights[gone]
        centers[kept] += (centers[gone] - centers[kept]) * (weights[gone] / total)
        norms[kept] = centers[kept] @ centers[kept]
        weights[kept] = total
        is_alive[gone] = False

    return _chained_merges(is_alive, costs, merge)


def _chained_merges(
    is_alive: NDArray[np.bool_],
    costs: Callable[[int], NDArray[np.float64]],
    merge: Callable[[int, int], None],
) -> list[Merge]:
    """Merge nearest neighbors along chains until one is left; the cheapest merge comes first.

    Parameters
    ----------
    is_alive : ndarray of bool, shape (n,)
        Which clusters there still are; `merge` changes it.
    costs : callable
        ``costs(i)`` returns the costs of merges with cluster i, (n,); inf where there is none.
    merge : callable
        ``merge(kept, gone)`` merges the second cluster into the first.
    """
    chain: list[int] = []
    merges: list[Merge] = []
    while len(merges) < len(is_alive) - 1:
        if not chain:
            chain.append(int(np.argmax(is_alive)))
        top = chain[-1]
        cost = costs(top)
        compared = _rounded(cost)
        nearest = int(np.argmin(compared))
        # The one before in the chain wins a tie, or the chain could run in a circle: by rounding,
        # or where a cost is NaN, since the data have changed meanwhile.
        if len(chain) > 1 and (nearest in chain or not compared[nearest] < compared[chain[-2]]):
            nearest = chain[-2]
            del chain[-2:]
            kept, gone = min(top, nearest), max(top, nearest)
            merges.append(Merge(float(cost[nearest]), kept, gone))
            merge(kept, gone)
        else:
            chain.append(nearest)
    order = np.argsort(_rounded(np.array([merge.cost for merge in merges])), kind="stable")
    return [merges[place] for place in order]


def _rounded(cost: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round the significands of numbers; inf and NaN stay."""
    bits = cost.view(np.int64) + 2 ** (_ROUNDED_BITS - 1)
    bits &= -(2**_ROUNDED_BITS)
    return bits.view(np.float64)


def cut(merges: list[Merge], n_clusters: int) -> NDArray[np.int64]:
    """Return the labels of the clusters before the last ``n_clusters - 1`` merges."""
    n = len(merges) + 1
    done = merges[: n - n_clusters]
    ends = [merge.kept for merge in done], [merge.gone for merge in done]
    graph = csr_array((np.ones(len(done)), ends), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)

"""Search in NumPy in float64: near ties, few rows, and elementwise metrics."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._compat import with_errstate
from sklearn_tfsom._data.dense import DenseRows
from sklearn_tfsom._data.sparse import SparseRows
from sklearn_tfsom._data.statistics import Nearest
from sklearn_tfsom._data.tiles import map_tiles, multiply, value_slices
from sklearn_tfsom._distance import METRICS, all_distances, paired_distances
from sklearn_tfsom._map.scores import Sizes, Target, least_norm, rounding_bound
from sklearn_tfsom._map.ties import FAR, distance_noise, first_within_rounding
from sklearn_tfsom._tuning import CACHED_VALUES, MAX_ALL_DIFFERENCES

# Distances of scaled samples under all metrics of products.
_EUCLIDEAN = METRICS["euclidean"]


def search_exactly(rows: DenseRows | SparseRows, target: Target, k: int) -> Nearest:
    """Find the k best-matching units of rows by the tie rule."""
    n_features, n_rows = target.codebook.shape[2], rows.norms.shape[0]
    codebook, factors = target.codebook.reshape(-1, n_features), None
    if target.kind.metric.is_product:
        factors = _Factors64.of(codebook, target)

    def of_chunk(chunk: slice) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        part = rows.take(chunk)
        dense = part.dense() if isinstance(part, SparseRows) else part.values
        values = np.asarray(dense, np.float64)
        known = ~np.isnan(values) if target.kind.has_missing else None
        if known is not None:
            values = np.where(known, values, 0)
        # Far from the map values overflow; a distance that is not finite reports it.
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            if factors is not None:
                return _search_by_scores(part, values, known, codebook, factors, target, k)
            return _search_elementwise(values, known, codebook, target, k)

    chunks = value_slices(n_rows, max(len(codebook), n_features), CACHED_VALUES)
    units, distances = zip(*map_tiles(of_chunk, chunks), strict=True)
    return Nearest(np.concatenate(units), np.concatenate(distances))


class _Factors64(NamedTuple):
    """What the scores of all rows share, besides the codebook."""

    norms: NDArray[np.float64]  # (n_units,) squared
    squares: NDArray[np.float64] | None  # (n_units, n_features), for rows with missing values
    extent: float  # see `Sizes`

    @classmethod
    @with_errstate(over="ignore", under="ignore")  # no score of such code vectors is used
    def of(cls, codebook: NDArray[np.float64], target: Target) -> _Factors64:
        return cls(
            np.einsum("uf,uf->u", codebook, codebook),
            np.square(codebook) if target.kind.has_missing else None,
            float(target.kind.metric.size(target.extents)),
        )


def _search_by_scores(
    rows: DenseRows | SparseRows,
    values: NDArray[np.float64],
    known: NDArray[np.bool_] | None,
    codebook: NDArray[np.float64],
    factors: _Factors64,
    target: Target,
    k: int,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Scores select candidates, unless there are few; distances from differences decide.

    A difference from a sample that is far from the map is less exact than a score. There half a
    score divided by the norm of the sample decides: nearly the distance less the norm.
    """
    norms, metric = np.asarray(rows.norms), target.kind.metric
    largest = float(np.sqrt(factors.norms.max()))
    length, far = np.sqrt(norms), FAR * largest
    is_far = length > far
    is_few = len(values) * codebook.size <= MAX_ALL_DIFFERENCES
    if is_few and known is None and not is_far.any():
        distances = all_distances(values, codebook, _EUCLIDEAN)
        units, lowest = first_within_rounding(distances, _noise(values, None, target), k)
        return units, lowest**2 / 2 if metric.is_spherical else lowest
    scores = _scores(rows, values, known, codebook, factors)
    sizes = Sizes(
        is_bias_in_product=known is not None,
        n_features=codebook.shape[1],
        n_terms=codebook.shape[1] * (1 if known is None else 2),
        largest=largest,
        least=least_norm(factors.norms, k),
        offset=0.0,
        far=far,
        extent=factors.extent,
    )
    bound = rounding_bound(np, length, sizes, 2.0**-53)
    limit = _kth(scores, k) + bound
    candidates = np.flatnonzero(~(scores > limit[:, None]))  # also where it is NaN
    row, unit = np.divmod(candidates, len(codebook))
    distances = _from_differences(values, known, codebook, row, unit)
    if is_far.any():
        of_scores = scores.ravel()[candidates] / (2 * length[row])
        distances = np.where(is_far[row], of_scores, distances)
    if len(candidates) == len(values):  # one for each row
        units, lowest = unit[:, None].astype(np.int32), distances
    else:
        noise = np.where(is_far, bound / (2 * length), _noise(values, known, target))
        among_all = np.full(scores.size, np.inf)
        among_all[candidates] = distances
        units, lowest = first_within_rounding(among_all.reshape(scores.shape), noise, k)
    if is_far.any():
        squared = np.maximum(norms + 2 * length * lowest, 0)
        lowest = np.where(is_far, np.sqrt(squared), lowest)  # the square of others may overflow
    return units, np.square(lowest) / 2 if metric.is_spherical else lowest


def _kth(values: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return the k-th lowest value of each row."""
    return values.min(axis=1) if k == 1 else np.partition(values, k - 1, axis=1)[:, k - 1]


def _scores(
    rows: DenseRows | SparseRows,
    values: NDArray[np.float64],
    known: NDArray[np.bool_] | None,
    codebook: NDArray[np.float64],
    factors: _Factors64,
) -> NDArray[np.float64]:
    """Return the scores of all units, (n, n_units)."""
    if isinstance(rows, SparseRows):
        narrow, features = rows.narrow()
        products = narrow.products(codebook.T[features])
    else:
        products = multiply(values, codebook.T)
    products *= -2
    if known is None or factors.squares is None:
        products += factors.norms
    else:
        products += multiply(known.astype(np.float64), factors.squares.T)
    return products


def _from_differences(
    values: NDArray[np.float64],
    known: NDArray[np.bool_] | None,
    codebook: NDArray[np.float64],
    row: NDArray[np.int64],
    unit: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Compute the lengths of the differences of pairs of a row and a unit, some at a time."""
    lengths = np.empty(len(row))
    for some in value_slices(len(row), codebook.shape[1], CACHED_VALUES):
        mask = None if known is None else known[row[some]]
        pairs = values[row[some]], codebook[unit[some]]
        lengths[some] = paired_distances(*pairs, _EUCLIDEAN, mask)
    return lengths


def _search_elementwise(
    values: NDArray[np.float64],
    known: NDArray[np.bool_] | None,
    codebook: NDArray[np.float64],
    target: Target,
    k: int,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Compute all distances and apply the tie rule."""
    distances = all_distances(values, codebook, target.kind.metric, known)
    noise = _noise(values, known, target, distances.min(axis=1))
    return first_within_rounding(distances, noise, k)


def _noise(
    values: NDArray[np.float64],
    known: NDArray[np.bool_] | None,
    target: Target,
    lowest: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.float64]:
    """Bound how rounding may change the distances of rows, (n,).

    Neither a missing value nor a feature in which code vectors do not differ rounds them.
    """
    metric, extents = target.kind.metric, target.extents
    varies = extents > 0
    values = values if varies.all() else np.where(varies, values, 0)
    if known is None:
        extent = metric.size(extents)
    elif metric.is_product:
        extent = np.sqrt(known @ extents**2)
    else:
        extent = metric.total(known * metric.magnitude(np, extents))
    return np.asarray(distance_noise(metric.size(values), extent, lowest, metric, len(extents)))

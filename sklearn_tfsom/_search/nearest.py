"""Best-matching units: those of a float64 search, at the cost of a float32 one, tile by tile.

`nearest` is the one way to find them. Scores are computed in float32, with a bound on their
rounding. Rows for which more than one unit lies within the bound are searched again in float64, by
the tie rule. Distances that are no product are computed in float64 at once.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.dense import DenseRows
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.sparse import SparseRows
from sklearn_tfsom._data.statistics import Nearest
from sklearn_tfsom._map.scores import SearchKind, Target
from sklearn_tfsom._search.exact import search_exactly
from sklearn_tfsom._search.products import measure, search_products
from sklearn_tfsom._tf.runtime import tensorflow_core
from sklearn_tfsom._tuning import (
    MAX_ALL_DIFFERENCES,
    MAX_FUSED_FEATURES,
    MAX_FUSED_UNITS,
    MAX_NUMPY_DIFFERENCES,
    MAX_NUMPY_INCOMPLETE,
    MAX_NUMPY_PRUNED,
    MAX_NUMPY_SCORES,
    MAX_PRUNED_FEATURES,
    MAX_TILE_ROWS,
    MIN_PRUNED,
    MIN_PRUNED_SIDE,
    MIN_TILE_ROWS,
    TILE_SCORES,
)


def nearest(
    rows: DenseRows | SparseRows,
    target: Target,
    k: int = 1,
    *,
    on_cpu: DenseRows | SparseRows | None = None,
    needs_distances: bool = False,
    n_tile: int | None = None,
) -> Nearest:
    """Find the k best-matching units of each row.

    Parameters
    ----------
    rows : DenseRows or SparseRows
        Scaled as the codebook of `target`.
    target : Target
    k : int, default=1
    on_cpu : DenseRows or SparseRows, default=None
        The same rows on the CPU, where `rows` are on a device.
    needs_distances : bool, default=False
        Whether distances are used, and not only whether they are finite.
    n_tile : int, default=None
        Rows whose scores a graph computes at a time; no unit depends on it. By default rows are
        searched in NumPy, as sparse ones are always.

    Returns
    -------
    found : Nearest
        Distances are valid only if the center of `target` is 0; else only whether they are finite.
        If they are needed they are good to 1e-5, see `products.measure`; else they are those of
        float32 scores.
    """
    n_differences = rows.norms.shape[0] * target.codebook.size
    has_scores = target.kind.metric.is_product
    on_cpu = on_cpu or rows
    is_one = target.codebook.size == target.codebook.shape[2]
    if not is_one and are_equal(target.codebook):  # no search tells them apart
        one = dataclasses.replace(target, codebook=target.codebook[:1, :1])
        of_one = nearest(on_cpu, one, needs_distances=needs_distances)
        units = np.tile(np.arange(k, dtype=np.int32), (len(of_one.distances), 1))
        return of_one._replace(units=units)
    if is_one and isinstance(on_cpu, DenseRows):  # sparse rows would be written out densely
        return search_exactly(on_cpu, target, k)
    if n_tile is not None and isinstance(rows, DenseRows):
        found = tensorflow_core().search_dense(
            rows, target, k, n_tile, needs_distances=needs_distances
        )
    elif has_scores and n_differences > MAX_ALL_DIFFERENCES:
        found = search_products(rows, target, k)
    else:
        return search_exactly(rows, target, k)
    units, distances, is_clear = found
    if needs_distances and has_scores:
        distances = measure(on_cpu, units[:, 0], distances, target)
    unclear = np.flatnonzero(~is_clear)
    if len(unclear):
        units, distances = units.copy(), distances.copy()
        rest = on_cpu.take(unclear)
        if len(unclear) * target.codebook.size <= MAX_ALL_DIFFERENCES:
            units[unclear], distances[unclear] = search_exactly(rest, target, k)
        else:  # of equal rows, such as all that are zero under "cosine", one is searched
            chosen, place = _distinct(rest, target.kind.has_missing)
            different = rest.take(chosen) if len(chosen) < len(unclear) else rest
            exact = search_exactly(different, target, k)
            units[unclear], distances[unclear] = (results[place] for results in exact)
    return Nearest(units, distances)


def _distinct(
    rows: DenseRows | SparseRows, has_missing: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of different rows, and for each row the place of its equal there.

    If all are different, they stay in their order. Rows are compared with the first one that has
    the same product with some vector. Those that differ from it stand for themselves, so a few
    equal ones may be chosen as well.
    """
    values = rows.matrix if isinstance(rows, SparseRows) else np.asarray(rows.values)
    if has_missing:
        values = np.where(np.isnan(values), 0, values)
    vector = np.random.RandomState(0).uniform(1, 2, size=values.shape[1])
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        products = values @ vector.astype(values.dtype)
    _, first, place = np.unique(products, return_index=True, return_inverse=True)
    others = np.flatnonzero(first[place] != np.arange(len(place)))
    alone = others[~rows.are_equal(others, first[place[others]])]
    place[alone] = len(first) + np.arange(len(alone))
    if len(first) + len(alone) == len(place):
        return np.arange(len(place)), np.arange(len(place))
    return np.concatenate([first, alone]), place


def are_equal(codebook: NDArray) -> bool:
    """Return True if all code vectors (..., n_features) are equal."""
    flat = codebook.reshape(-1, codebook.shape[-1])
    return bool((flat[0] == flat[-1]).all() and (flat == flat[0]).all())


def suits_numpy(n_searched: int, codebook: NDArray, kind: SearchKind) -> bool:
    """Return True if NumPy takes less time than a graph, including the time to make one.

    Parameters
    ----------
    n_searched : int
        Rows to search, over all calls and epochs to come.
    codebook : ndarray of shape (..., n_features)
    kind : SearchKind
    """
    if not kind.metric.is_product:
        most = MAX_NUMPY_INCOMPLETE if kind.has_missing else MAX_NUMPY_DIFFERENCES
        return n_searched * codebook.size <= most
    most = MAX_NUMPY_PRUNED if kind.is_pruned else MAX_NUMPY_SCORES
    return n_searched * codebook[..., 0].size <= most


def tile_rows(n_units: int, n_features: int) -> int:
    """Return the number of rows of a tile: a power of two."""
    rows = TILE_SCORES // max(n_units, n_features)
    rows = min(max(rows, MIN_TILE_ROWS), MAX_TILE_ROWS)
    return int(2 ** (rows.bit_length() - 1))


def search_kind(samples: Samples, codebook: NDArray) -> SearchKind:
    """Return the kind of search of samples in a codebook on its grid."""
    *sides, n_features = codebook.shape
    n_units, kind = math.prod(sides), SearchKind(samples.metric, samples.has_missing)
    if samples.is_sparse or not samples.metric.is_product:
        return kind
    is_narrow = n_features <= MAX_FUSED_FEATURES and not samples.has_missing
    if is_narrow and n_units <= MAX_FUSED_UNITS:
        return kind._replace(n_fused=n_features)
    is_large = min(sides) >= MIN_PRUNED_SIDE and min(len(samples), n_units) >= MIN_PRUNED
    return kind._replace(is_pruned=is_large and n_features <= MAX_PRUNED_FEATURES)

"""Searches through the one search function, and exact ones to compare them with."""

import numpy as np
import reference
from numpy.testing import assert_array_equal

from sklearn_tfsom import TFSOM
from sklearn_tfsom._data.dense import load
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.scaling import Scaling
from sklearn_tfsom._data.sparse import load_sparse
from sklearn_tfsom._distance import METRICS, as_codebook
from sklearn_tfsom._map.scores import SearchKind, Target
from sklearn_tfsom._search.nearest import nearest, search_kind, tile_rows


def search(
    X,
    codebook,
    k=1,
    *,
    metric="euclidean",
    shape=None,
    is_pruned=False,
    is_centered=False,
    **options,
):
    """Search samples in the scaling of a prediction.

    Return the k best-matching units of each, and the distances to the closest (which are valid
    only where scores are not computed around a center). A codebook without a shape is a single
    column of units.
    """
    row = METRICS[metric]
    is_sparse = not isinstance(X, np.ndarray)
    has_missing = not is_sparse and bool(np.isnan(X).any())
    samples = Samples(X, row, has_missing=has_missing)
    codebook = as_codebook(codebook, row)
    scaling = Scaling.for_search(codebook, samples.dtype, row, is_sparse=is_sparse)
    scaled = scaling.transform(codebook)
    on_grid = scaled.reshape(*(shape or (len(scaled), 1)), -1)
    kind = (
        SearchKind(row, has_missing, is_pruned=True)
        if is_pruned
        else search_kind(samples, on_grid)
    )
    target = Target(
        kind=kind,
        codebook=on_grid,
        center=scaled.mean(axis=0) if is_centered else np.zeros(scaled.shape[1]),
        extents=scaling.extents(scaled),
    )
    if is_sparse:
        rows = for_numpy = load_sparse(samples, scaling.scale)
    else:
        dtype = np.dtype(np.float64) if scaling.center.any() else samples.dtype
        rows = load(samples, slice(None), scaling, dtype)
        for_numpy = load(samples, slice(None), scaling, dtype, in_numpy=True)
    options = {"n_tile": tile_rows(*scaled.shape)} | options
    found = nearest(rows, target, k, **options)
    assert_array_equal(nearest(for_numpy, target, k).units, found.units)
    return found.units, found.distances / scaling.distance_factor()


def exact_squares(X, codebook):
    """Squared distances over the known features, from differences in extended precision."""
    X, codebook = X.astype(np.longdouble), codebook.astype(np.longdouble)
    squares = np.empty((len(X), len(codebook)), np.longdouble)
    for x, out in zip(X, squares, strict=True):
        differences = codebook - x
        differences[:, np.isnan(x)] = 0
        np.einsum("ij,ij->i", differences, differences, out=out)
    return squares


def exact_units(X, codebook):
    """Best-matching units in extended precision; the lowest index of equally close ones."""
    return exact_squares(X, codebook).argmin(axis=1)


def map_with(codebook, shape=None, **params):
    """A fitted map that has this codebook (of unit vectors where the metric compares these)."""
    shape = shape or (len(codebook), 1)
    som = TFSOM(shape, init=codebook, radius_decay=[0.1], max_iter=1, **params).fit(codebook)
    row = METRICS[som.metric]
    som.codebook_ = as_codebook(codebook, row) if row.is_spherical else codebook
    return som


def exact_distances(X, codebook, metric):
    """Distances in extended precision, or what increases with them; (n_samples, n_units)."""
    X, codebook = np.asarray(X, np.longdouble), np.asarray(codebook, np.longdouble)
    if metric == "correlation":
        X, codebook = (rows - rows.mean(axis=1, keepdims=True) for rows in (X, codebook))
    if metric in ("cosine", "correlation"):
        X, codebook = (
            rows / np.sqrt((rows**2).sum(axis=1, keepdims=True)) for rows in (X, codebook)
        )
    differences = np.abs(X[:, None] - codebook)
    if metric == "manhattan":
        return differences.sum(axis=2)
    if metric == "chebyshev":
        return differences.max(axis=2)
    if metric in ("euclidean", "cosine", "correlation"):
        return (differences**2).sum(axis=2)
    return np.array([[reference.DISTANCES[metric](x, w) for w in codebook] for x in X])


def near_ties(gap, n_features, rng, n_samples=400, n_units=60, metric="euclidean"):
    """Samples that are closer to one of two units by a relative `gap` only."""
    codebook = as_codebook(rng.normal(size=(n_units, n_features)), METRICS[metric])
    pairs = np.array([rng.choice(n_units, 2, replace=False) for _ in range(n_samples)])
    first, second = codebook[pairs[:, 0]], codebook[pairs[:, 1]]
    towards = rng.choice([-1, 1], size=(n_samples, 1))
    return (first + second) / 2 + towards * gap * (first - second), codebook

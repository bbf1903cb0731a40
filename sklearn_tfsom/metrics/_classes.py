"""How well units keep classes apart that the map has never seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from sklearn_tfsom._data.checks import check_sample_weight
from sklearn_tfsom.metrics._reading import (
    check_fitted_grid,
    check_n_neighbors,
    graph,
    grid_edges,
)


def purity(
    estimator: Any, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the share of samples that are of their unit's main class.

    Higher is better; it grows with the number of units, so it compares maps of one size.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN where a value is missing.

    y : array-like of shape (n_samples,)
        Their classes, numbers or strings.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample.

    Returns
    -------
    purity : float
        ``sum_k max_c n_kc / n`` with n_kc the weight of the samples of unit k and class c: in
        [1 / n_classes, 1].

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import purity
    >>> X, y = load_iris(return_X_y=True)
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> 0.9 < purity(som, X, y) <= 1
    True
    """
    table = _shares(estimator, X, y, sample_weight)
    return float(table.max(axis=1).sum())


def class_entropy(
    estimator: Any, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the entropy of the classes within units: what is not known of a sample's class.

    Lower is better; it falls with the number of units, so it compares maps of one size.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN where a value is missing.

    y : array-like of shape (n_samples,)
        Their classes, numbers or strings.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample.

    Returns
    -------
    entropy : float
        ``-sum_k n_k / n sum_c n_kc / n_k log(n_kc / n_k)`` with n_kc the weight of the samples of
        unit k and class c, n_k that of unit k: in [0, log(n_classes)], in nats. 0 where each unit
        has samples of one class only.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import class_entropy
    >>> X, y = load_iris(return_X_y=True)
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> 0 <= class_entropy(som, X, y) < 0.2
    True
    """
    table = _shares(estimator, X, y, sample_weight)
    return max(_entropy(table) - _entropy(table.sum(axis=1)), 0.0)


def class_scatter_index(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    n_neighbors: int | None = None,
) -> float:
    """Compute into how many regions of the map a class falls, on average.

    The units with samples of a class make one region where they are connected through neighbors
    with samples of that class [1]_. Lower is better.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN where a value is missing.

    y : array-like of shape (n_samples,)
        Their classes, numbers or strings.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample. Samples of weight 0 are left out; else weights say nothing.

    n_neighbors : {4, 6, 8}, default=None
        Which units are neighbors: 6 on a hexagonal lattice; 4 (the default) or 8 on a
        rectangular one.

    Returns
    -------
    index : float
        ``1 / n_classes sum_c n_regions(c)``, at least 1: each class is in one piece.

    Raises
    ------
    ValueError
        Where `n_neighbors` is none of the lattice.

    Notes
    -----
    A single sample makes a region. Where there are few samples for a unit, most regions are such.

    References
    ----------
    .. [1] Elend, Kramer (2019): Self-organizing maps with convolutional layers. WSOM+ 2019,
       23-32.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import class_scatter_index
    >>> X, y = load_iris(return_X_y=True)
    >>> som = TFSOM(grid_size=(4, 3)).fit(X)
    >>> class_scatter_index(som, X, y)
    1.0
    """
    grid = check_fitted_grid(estimator)
    units, others = grid_edges(grid, check_n_neighbors(n_neighbors, grid))
    has_class = _shares(estimator, X, y, sample_weight) > 0
    n_regions = 0
    for has in has_class.T:
        is_kept = has[units] & has[others]
        ends = units[is_kept], others[is_kept]
        edges = graph(*ends, np.ones(len(ends[0])), grid.n_units)
        n_components, _ = connected_components(edges, directed=False)
        n_regions += n_components - int(np.count_nonzero(~has))  # units without are alone
    return n_regions / has_class.shape[1]


def normalized_mutual_information(
    estimator: Any, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the mutual information of units and classes, divided by their mean entropy.

    Higher is better. It rewards units of one class, and few units for a class; so it compares
    maps of different sizes, and prefers one with about as many units as classes. Of clusters,
    see `sklearn.metrics.normalized_mutual_info_score` with the result of `predict`.

    Parameters
    ----------
    estimator : TFSOM
        A fitted map.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN where a value is missing.

    y : array-like of shape (n_samples,)
        Their classes, numbers or strings.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample.

    Returns
    -------
    information : float
        ``2 I(unit, class) / (H(unit) + H(class))``, in [0, 1]. 1 where there is one class and
        one unit, 0 where there is one of either.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import normalized_mutual_information
    >>> X, y = load_iris(return_X_y=True)
    >>> small, large = TFSOM(grid_size=(3, 1)).fit(X), TFSOM(grid_size=(8, 5)).fit(X)
    >>> normalized_mutual_information(large, X, y) < normalized_mutual_information(small, X, y)
    True
    """
    table = _shares(estimator, X, y, sample_weight)
    of_units, of_classes = table.sum(axis=1), table.sum(axis=0)
    entropies = _entropy(of_units) + _entropy(of_classes)
    if np.count_nonzero(of_units) == np.count_nonzero(of_classes) == 1:
        return 1.0
    return min(max(2 * (entropies - _entropy(table)) / entropies, 0.0), 1.0)


def _shares(estimator: Any, X: ArrayLike, y: ArrayLike, sample_weight: Any) -> NDArray[np.float64]:
    """Share of the samples in each unit and class, shape (n_units, n_classes)."""
    grid = check_fitted_grid(estimator)
    bmus = estimator.bmus(X)
    labels = column_or_1d(y)
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    check_consistent_length(bmus, labels)
    weights = check_sample_weight(sample_weight, len(bmus))
    classes, codes = np.unique(labels, return_inverse=True)
    cells = bmus * len(classes) + codes
    table = np.bincount(cells, weights, minlength=grid.n_units * len(classes))
    table = table.reshape(grid.n_units, len(classes)) / weights.sum()
    return table[:, table.any(axis=0)]  # of weight 0 are no classes


def _entropy(shares: NDArray[np.float64]) -> float:
    positive = shares[shares > 0]
    return float(-(positive @ np.log(positive)))

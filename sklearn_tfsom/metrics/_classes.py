"""Comparison with known classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csc_array
from scipy.sparse.csgraph import connected_components
from scipy.special import entr

from sklearn_tfsom._classes import Classes, classes_of
from sklearn_tfsom._map.geometry import grid_edges
from sklearn_tfsom._map.grid import grid_of
from sklearn_tfsom._pipelines import takes_pipelines
from sklearn_tfsom.metrics._base import (
    check_n_neighbors,
    counted_units,
    undirected_graph,
)
from sklearn_tfsom.metrics._scorers import Scorer


@takes_pipelines
def purity(
    estimator: Any, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the share of samples that belong to the majority class of their unit.

    Higher is better. The purity increases with the number of units, so it only compares maps of
    the same size.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN for missing values.

    y : array-like of shape (n_samples,)
        Classes of the samples, whole numbers or strings.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample, None for 1.

    Returns
    -------
    purity : float
        ``sum_k max_c n_kc / n``, where ``n_kc`` is the weight of the samples of unit k and class
        c, and n the total weight. In the range [1 / n_classes, 1].

    Raises
    ------
    ValueError
        If classes are missing or infinite, or `y` has numbers with fractions.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import purity
    >>> X, y = load_iris(return_X_y=True)
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> round(purity(som, X, y), 2)
    0.97
    """
    shares = _class_shares("purity", estimator, X, y, sample_weight).tocsr()
    others = shares.sum(axis=1) - shares.max(axis=1).toarray().ravel()
    # Without others it is 1, however shares are rounded.
    return max(float(1 - others.sum()), 1 / shares.shape[1])


@takes_pipelines
def class_entropy(
    estimator: Any, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the conditional entropy of the class given the unit.

    Lower is better. The entropy decreases with the number of units, so it only compares maps of
    the same size.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN for missing values.

    y : array-like of shape (n_samples,)
        Classes of the samples, whole numbers or strings.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample, None for 1.

    Returns
    -------
    entropy : float
        ``-sum_k n_k / n sum_c n_kc / n_k log(n_kc / n_k)`` in nats, where ``n_kc`` is the weight
        of the samples of unit k and class c, ``n_k`` that of unit k, and n the total weight. In
        the range [0, log(n_classes)], 0 if all samples of each unit have the same class.

    Raises
    ------
    ValueError
        If classes are missing or infinite, or `y` has numbers with fractions.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import class_entropy
    >>> X, y = load_iris(return_X_y=True)
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> round(class_entropy(som, X, y), 2)
    0.06
    """
    shares = _class_shares("class_entropy", estimator, X, y, sample_weight)
    of_units = shares.sum(axis=1)[shares.indices]
    # Of a pure unit they are equal, so that it adds 0. Shares of tiny weights can be 0.
    is_positive = shares.data > 0
    ratios = np.divide(of_units, shares.data, out=np.ones_like(of_units), where=is_positive)
    return min(float(shares.data @ np.log(ratios)), math.log(shares.shape[1]))


@takes_pipelines
def class_scatter_index(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    n_neighbors: int | None = None,
) -> float:
    """Compute the mean number of connected regions of the map per class.

    The units with samples of a class form a graph, in which neighboring units are connected
    [1]_. Lower is better.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN for missing values.

    y : array-like of shape (n_samples,)
        Classes of the samples, whole numbers or strings.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample, None for 1. Samples of weight 0 are ignored; positive weights have
        no influence.

    n_neighbors : {4, 6, 8}, default=None
        Number of neighbors of a unit: 6 on a hexagonal lattice, 4 (default) or 8 on a rectangular
        one.

    Returns
    -------
    index : float
        ``1 / n_classes sum_c n_regions(c)``. At least 1, which means that every class is
        connected.

    Raises
    ------
    InvalidParameterError
        If `n_neighbors` is not valid on the lattice.

    ValueError
        If classes are missing or infinite, or `y` has numbers with fractions.

    Notes
    -----
    A single sample can form a region. With few samples per unit, most regions are of this kind.

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
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> round(class_scatter_index(som, X, y), 2)
    1.67
    """
    grid = grid_of(estimator)
    check_n_neighbors("class_scatter_index", n_neighbors, grid)
    units, others = grid_edges(grid, n_neighbors)
    cells = _class_shares("class_scatter_index", estimator, X, y, sample_weight).tocsr()
    # A node for each unit and each of its classes. Neighbors are connected by a class in common.
    cells.data = np.arange(1, cells.nnz + 1)
    ends = []
    for first, second in ((units, others), (others, units)):
        in_common = cells[first].multiply(cells[second] > 0).tocsr()
        in_common.sort_indices()
        ends.append(in_common.data.astype(np.int64) - 1)
    graph = undirected_graph((ends[0], ends[1]), cells.nnz)
    n_regions, _ = connected_components(graph, directed=False)
    return n_regions / cells.shape[1]


@takes_pipelines
def normalized_mutual_information(
    estimator: Any, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the mutual information of units and classes, divided by their mean entropy.

    Higher is better. It is large if each unit has a single class and each class few units, so it
    can compare maps of different sizes, but favors those with about as many units as classes.

    Read more in the :ref:`User Guide <guide_measures>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN for missing values.

    y : array-like of shape (n_samples,)
        Classes of the samples, whole numbers or strings.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample, None for 1.

    Returns
    -------
    information : float
        ``2 I(unit, class) / (H(unit) + H(class))``, in the range [0, 1]. 1 if there is one class
        and all samples share a unit; 0 if only one of both holds.

    Raises
    ------
    ValueError
        If classes are missing or infinite, or `y` has numbers with fractions.

    See Also
    --------
    sklearn.metrics.normalized_mutual_info_score : The same for cluster labels, such as the result
        of `TFSOM.predict` of a map with `n_clusters`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import normalized_mutual_information
    >>> X, y = load_iris(return_X_y=True)
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> round(normalized_mutual_information(som, X, y), 2)
    0.47
    """
    shares = _class_shares("normalized_mutual_information", estimator, X, y, sample_weight)
    unit_shares, class_shares = shares.sum(axis=1), shares.sum(axis=0)
    if np.count_nonzero(unit_shares) == np.count_nonzero(class_shares) == 1:
        return 1.0
    entropies = _entropy(unit_shares) + _entropy(class_shares)
    return min(max(2 * (entropies - _entropy(shares.data)) / entropies, 0.0), 1.0)


@takes_pipelines
def class_counts(
    estimator: Any, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> tuple[NDArray, NDArray[np.float64]]:
    """Compute the number of samples of each class in each unit.

    Read more in the :ref:`User Guide <guide_hits>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, NaN for missing values.

    y : array-like of shape (n_samples,)
        Classes of the samples: whole numbers, texts or categories of pandas, in any mix. None,
        NaN, NA and the text "missing" beside these count as one class, "missing".

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample, None for 1.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        Numbers first, then texts, each sorted; categories in their order; "missing" last.

    counts : ndarray of float64, shape (n_units, n_classes)
        Number, or total weight, of the samples.

    Raises
    ------
    ValueError
        If `y` is continuous: has numbers with fractions.

    See Also
    --------
    hit_histogram : Samples of all classes.
    sklearn_tfsom.displays.UnitValuesDisplay : Means and other statistics of numbers by unit.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import class_counts
    >>> iris = load_iris()
    >>> som = TFSOM(grid_size=(8, 5)).fit(iris.data)
    >>> classes, counts = class_counts(som, iris.data, iris.target_names[iris.target])
    >>> classes, counts.shape
    (array(['setosa', 'versicolor', 'virginica'], dtype='<U10'), (40, 3))
    >>> counts.sum(axis=0)
    array([50., 50., 50.])
    """
    n_units = grid_of(estimator).n_units
    classes, bmus, weights = _classes_and_units("class_counts", estimator, X, y, sample_weight)
    return classes.labels, classes.counts(bmus, n_units, weights)


def _class_shares(
    owner: str, estimator: Any, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None
) -> csc_array:
    """Return the share of the samples of each unit and class, shape (n_units, n_classes).

    It is sparse, since each sample has one unit and one class. Classes without positive weight are
    left out.
    """
    n_units = grid_of(estimator).n_units
    classes, bmus, weights = _classes_and_units(
        owner, estimator, X, y, sample_weight, allows_missing=False
    )
    n_classes = len(classes.labels)
    cells, place = np.unique(bmus * n_classes + classes.codes, return_inverse=True)
    totals = np.bincount(place, weights)
    units, columns = np.divmod(cells, n_classes)
    return csc_array((totals / totals.sum(), (units, columns)), shape=(n_units, n_classes))


def _classes_and_units(
    owner: str,
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    *,
    allows_missing: bool = True,
) -> tuple[Classes, NDArray[np.int64], NDArray[np.float64]]:
    """Return the classes, best-matching units and weights of the samples of positive weight."""

    def check(is_counted: NDArray[np.bool_]) -> Classes:
        return classes_of(
            y,
            len(is_counted),
            owner,
            rows=np.flatnonzero(is_counted),
            allows_many=True,
            allows_missing=allows_missing,
        )

    return counted_units(estimator, X, sample_weight, check)


def _entropy(shares: NDArray[np.float64]) -> float:
    return float(entr(shares).sum())


purity_scorer = Scorer(purity)
neg_class_entropy_scorer = Scorer(class_entropy, sign=-1)
neg_class_scatter_index_scorer = Scorer(class_scatter_index, sign=-1)
normalized_mutual_information_scorer = Scorer(normalized_mutual_information)

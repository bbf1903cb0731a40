"""Separation of clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._data.checks import check_counted, counted_of
from sklearn_tfsom._map.clustering import separations
from sklearn_tfsom._map.grid import grid_of
from sklearn_tfsom._pipelines import takes_pipelines
from sklearn_tfsom._representatives import points_of_samples, points_of_units, remembered_means
from sklearn_tfsom._validation import check_value, integer
from sklearn_tfsom.metrics._base import check_pieces


@takes_pipelines
def separation_curve(
    estimator: Any,
    X: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    max_clusters: int = 20,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Compute how clearly two, three and more clusters of the data are separated.

    Ward's method merges points that represent the data step by step, with increasing costs, by
    their distances along paths through the data, Euclidean ones (of directions under "cosine" and
    "correlation"). A number of clusters is clear if the next merge would cost much more than the
    last one [1]_. ``n_clusters="auto"`` searches for the largest ratio of these costs: below 3 the
    data may have no clusters, and from 5 on the number is clear.

    Read more in the :ref:`User Guide <guide_clustering>`.

    Parameters
    ----------
    estimator : TFSOM or Pipeline
        Fitted map, or a fitted pipeline that ends in one.

    X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
        Samples, NaN for missing values. None for the units of the map in place of samples.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample, None for 1. Needs `X`.

    max_clusters : int, default=20
        Largest number of clusters, at least 2.

    Returns
    -------
    n_clusters : ndarray of int64, shape (n_numbers,)
        From 2 on, fewer than the different points.

    separations : ndarray of float64, shape (n_numbers,)
        For each number, the cost of the next merge divided by that of the most expensive merge so
        far, 1 or more; the largest of three ratios, one for each power (2, 4, 6) to which lengths
        of steps are raised. inf if gaps between the clusters are twice as wide as any gap inside
        them. NaN if in each case one of the clusters would have less than half the average weight
        of a unit and count as an outlier. Where points represent several samples each, a cluster
        of a single point counts only with the weight of one value.

    Raises
    ------
    ValueError
        If `sample_weight` is given without `X`.

    InvalidParameterError
        If `max_clusters` is not valid.

    See Also
    --------
    sklearn_tfsom.displays.SeparationCurveDisplay : Draw it.

    Notes
    -----
    ``n_clusters="auto"`` can return another number than that of the largest ratio: it can split
    clusters again, return the components of a mixture of Gaussians, or one cluster for evenly
    spread data.

    References
    ----------
    .. [1] Vesanto, Alhoniemi (2000): Clustering of the self-organizing map. IEEE Transactions on
       Neural Networks 11(3), 586-600.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.metrics import separation_curve
    >>> X, _ = make_blobs(300, centers=[(0, 0), (6, 0), (0, 6)], random_state=0)
    >>> n_clusters, separations = separation_curve(TFSOM().fit(X), X, max_clusters=5)
    >>> n_clusters, separations.round(1)
    (array([2, 3, 4, 5]), array([ 1.7, 23.3,  1.5,  1.1]))
    """
    owner = "separation_curve"
    grid = grid_of(estimator)
    check_value("max_clusters", owner, max_clusters, [integer(2)])
    unit_means = remembered_means(estimator)
    if X is None:
        if sample_weight is not None:
            raise ValueError(f"{owner} needs X if sample_weight is given. Got X=None instead.")
        points = points_of_units(unit_means, estimator._counted_hits)
    else:
        pieces = counted_of(check_pieces(estimator, X, sample_weight))
        check_counted(pieces)
        points = points_of_samples(pieces, estimator.codebook_, unit_means)
    ratios = separations(points, grid.n_units, int(max_clusters))
    return np.arange(2, 2 + len(ratios)), ratios

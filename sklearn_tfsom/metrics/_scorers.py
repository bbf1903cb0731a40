"""Scorers for model selection: ``GridSearchCV(som, grid, scoring=log_likelihood_scorer)``."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import MetadataRequest

from sklearn_tfsom.metrics._classes import (
    class_entropy,
    class_scatter_index,
    normalized_mutual_information,
    purity,
)
from sklearn_tfsom.metrics._density import log_likelihood
from sklearn_tfsom.metrics._energy import distortion, explained_variance, heskes_energy
from sklearn_tfsom.metrics._errors import combined_error, quantization_error, topographic_error
from sklearn_tfsom.metrics._pairs import (
    c_measure,
    kruskal_shepard_error,
    neighborhood_preservation,
    trustworthiness,
)
from sklearn_tfsom.metrics._topology import topographic_product


class _Scorer:
    """A measure as scikit-learn's model selection calls it: higher is better.

    Of a pipeline the last step is the map, and the others make of X what it is asked about.
    """

    def __init__(
        self, measure: Callable[..., float], *, sign: int = 1, needs_classes: bool = False
    ) -> None:
        self._measure, self._sign, self._needs_classes = measure, sign, needs_classes
        self._requests_weight: Any = None

    def __call__(
        self, estimator: Any, X: ArrayLike, y: Any = None, sample_weight: Any = None
    ) -> float:
        """Compute the score of a fitted map, or of a pipeline that ends in one.

        Parameters
        ----------
        estimator : TFSOM or Pipeline
            Fitted.

        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        y : array-like of shape (n_samples,), default=None
            Their classes; ignored by measures that know none.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample.

        Returns
        -------
        score : float
            Higher is better.

        Raises
        ------
        ValueError
            Where classes are needed and `y` is None.
        """
        if self._needs_classes and y is None:
            raise ValueError(f"{self!r} needs the classes of the samples. Got y=None instead.")
        if isinstance(estimator, Pipeline):
            if len(estimator) > 1:
                X = estimator[:-1].transform(X)
            estimator = estimator[-1]
        classes = (y,) if self._needs_classes else ()
        return self._sign * self._measure(estimator, X, *classes, sample_weight=sample_weight)

    def __repr__(self) -> str:
        return f"{'neg_' if self._sign < 0 else ''}{self._measure.__name__.lstrip('_')}_scorer"

    def set_score_request(self, *, sample_weight: bool | str | None = None) -> _Scorer:
        """Say whether metadata routing is to pass sample weights.

        Parameters
        ----------
        sample_weight : bool, str or None, default=None
            As for the methods of this name of scikit-learn's estimators.

        Returns
        -------
        scorer : scorer
            A copy that asks for it; this one is shared and stays as it is.
        """
        scorer = copy.copy(self)
        scorer._requests_weight = sample_weight
        return scorer

    def get_metadata_routing(self) -> MetadataRequest:
        """Say what metadata routing is to pass.

        Returns
        -------
        routing : MetadataRequest
        """
        request = MetadataRequest(owner=repr(self))
        request.score.add_request(param="sample_weight", alias=self._requests_weight)
        return request


def _absolute_topographic_product(
    estimator: Any, X: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute how far the topographic product is from 0; it asks for no samples."""
    return abs(topographic_product(estimator))


neg_quantization_error_scorer = _Scorer(quantization_error, sign=-1)
neg_topographic_error_scorer = _Scorer(topographic_error, sign=-1)
neg_combined_error_scorer = _Scorer(combined_error, sign=-1)
neg_distortion_scorer = _Scorer(distortion, sign=-1)
neg_heskes_energy_scorer = _Scorer(heskes_energy, sign=-1)
explained_variance_scorer = _Scorer(explained_variance)
log_likelihood_scorer = _Scorer(log_likelihood)
neg_absolute_topographic_product_scorer = _Scorer(_absolute_topographic_product, sign=-1)
trustworthiness_scorer = _Scorer(trustworthiness)
neighborhood_preservation_scorer = _Scorer(neighborhood_preservation)
c_measure_scorer = _Scorer(c_measure)
neg_kruskal_shepard_error_scorer = _Scorer(kruskal_shepard_error, sign=-1)
purity_scorer = _Scorer(purity, needs_classes=True)
neg_class_entropy_scorer = _Scorer(class_entropy, sign=-1, needs_classes=True)
neg_class_scatter_index_scorer = _Scorer(class_scatter_index, sign=-1, needs_classes=True)
normalized_mutual_information_scorer = _Scorer(normalized_mutual_information, needs_classes=True)

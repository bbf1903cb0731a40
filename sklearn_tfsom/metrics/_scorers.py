"""Class of the scorers for model selection."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike
from sklearn import get_config
from sklearn.utils.metadata_routing import MetadataRequest


class Scorer:
    """Measure as a scorer of scikit-learn: higher is better.

    Parameters
    ----------
    measure : callable
        Measure of a map: ``measure(estimator, ...)``, with any of the parameters X, y and
        sample_weight.
    sign : {1, -1}, default=1
        -1 if lower values of the measure are better.
    absolute : bool, default=False
        Whether to use the absolute value of the measure.
    """

    def __init__(
        self, measure: Callable[..., float], *, sign: int = 1, absolute: bool = False
    ) -> None:
        self._measure, self._sign, self._absolute = measure, sign, absolute
        self._arguments = {"X", "y", "sample_weight"} & {*inspect.signature(measure).parameters}
        self._weight_request: bool | str | None = None
        signs = "neg_" * (sign < 0) + "absolute_" * absolute
        self.__name__ = f"{signs}{measure.__name__}_scorer"
        text = f"{'absolute value of ' * absolute}`{measure.__name__}`"
        text = f"Negative {text}" if sign < 0 else text
        self.__doc__ = f"{text}.{' Requires class labels.' * ('y' in self._arguments)}"

    def __call__(
        self, estimator: Any, X: ArrayLike, y: Any = None, sample_weight: Any = None
    ) -> float:
        """Compute the score of a fitted map, or of a pipeline that ends in one.

        Parameters
        ----------
        estimator : TFSOM or Pipeline
            Fitted map, or fitted pipeline. X is transformed by the other steps of the pipeline.

        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        y : array-like of shape (n_samples,), default=None
            Classes of the samples. Ignored by measures without classes.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample, None for 1.

        Returns
        -------
        score : float
            Higher is better.

        Raises
        ------
        ValueError
            If the measure needs classes and `y` is None.
        """
        if "y" in self._arguments and y is None:
            raise ValueError(f"{self!r} needs the classes of the samples. Got y=None instead.")
        arguments = {"X": X, "y": y, "sample_weight": sample_weight}
        value = self._measure(estimator, **{name: arguments[name] for name in self._arguments})
        return self._sign * (abs(value) if self._absolute else value)

    def __repr__(self) -> str:
        return self.__name__

    def _accept_sample_weight(self) -> bool:
        """Return what scikit-learn asks the scorers of several metrics."""
        return "sample_weight" in self._arguments

    def set_score_request(self, *, sample_weight: bool | str | None = None) -> Scorer:
        """Return a copy that requests sample weights from metadata routing.

        Parameters
        ----------
        sample_weight : bool, str or None, default=None
            Request, as in the method of this name of scikit-learn's scorers: None, which is also
            the default, resets it. Ignored by measures without weights.

        Returns
        -------
        scorer : scorer
            Copy with this request. The scorer itself is shared and does not change.

        Raises
        ------
        RuntimeError
            If metadata routing is not enabled.
        ValueError
            If the request is none of these.
        """
        if not get_config()["enable_metadata_routing"]:  # weights would be passed all the same
            raise RuntimeError(
                f"set_score_request of {self!r} needs metadata routing. Call "
                "sklearn.set_config(enable_metadata_routing=True) first."
            )
        scorer = copy.copy(self)
        scorer._weight_request = sample_weight
        scorer.get_metadata_routing()  # checks the request
        return scorer

    def get_metadata_routing(self) -> MetadataRequest:
        """Return the request for metadata routing.

        Returns
        -------
        routing : MetadataRequest
        """
        request = MetadataRequest(owner=repr(self))
        if self._accept_sample_weight():
            request.score.add_request(param="sample_weight", alias=self._weight_request)
        return request

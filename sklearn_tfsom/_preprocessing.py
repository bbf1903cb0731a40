"""Scalers of scikit-learn, folded into one step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted

from sklearn_tfsom import _validation as valid


class Scaling(NamedTuple):
    """What scalers make of a sample x: ``clip(x, low, high) * factor + shift``."""

    factor: NDArray[np.float64]  # (n_features,), positive
    shift: NDArray[np.float64]  # (n_features,)
    low: NDArray[np.float64]  # (n_features,), -inf where nothing is clipped
    high: NDArray[np.float64]  # (n_features,)

    @classmethod
    def none(cls, n_features: int) -> Scaling:
        """Make the one that changes nothing."""
        ones = np.ones(n_features)
        return cls(ones, 0 * ones, -np.inf * ones, np.inf * ones)

    def then(self, factor: Any, shift: Any, limits: tuple[float, float] | None) -> Scaling:
        """Append a step ``z * factor + shift``, clipped to limits if there are any."""
        factor, shift = self.factor * factor, self.shift * factor + shift
        low, high = self.low, self.high
        if limits is not None:
            first, last = ((limit - shift) / factor for limit in limits)
            low, high = np.clip(low, first, last), np.clip(high, first, last)
        return Scaling(factor, shift, low, high)


def _steps(preprocessing: Any) -> list[Any]:
    """Return the scalers in front of a map: of a pipeline, of one in a pipeline, or one alone."""
    if isinstance(preprocessing, Pipeline):
        return [scaler for _, step in preprocessing.steps for scaler in _steps(step)]
    is_nothing = isinstance(preprocessing, str) and preprocessing == "passthrough"
    return [] if preprocessing is None or is_nothing else [preprocessing]


def _of_standard(scaler: StandardScaler) -> tuple:
    factor = 1 / scaler.scale_ if scaler.with_std else 1.0
    return factor, -scaler.mean_ * factor if scaler.with_mean else 0.0, None


def _of_robust(scaler: RobustScaler) -> tuple:
    factor = 1 / scaler.scale_ if scaler.with_scaling else 1.0
    return factor, -scaler.center_ * factor if scaler.with_centering else 0.0, None


def _of_min_max(scaler: MinMaxScaler) -> tuple:
    return scaler.scale_, scaler.min_, tuple(scaler.feature_range) if scaler.clip else None


def _of_max_abs(scaler: MaxAbsScaler) -> tuple:
    is_clipped = getattr(scaler, "clip", False)  # from scikit-learn 1.8 on
    return 1 / scaler.scale_, 0.0, (-1, 1) if is_clipped else None


# A subclass may do something else: only these themselves are known.
_KINDS = {
    StandardScaler: _of_standard,
    MinMaxScaler: _of_min_max,
    MaxAbsScaler: _of_max_abs,
    RobustScaler: _of_robust,
}
_RULE = valid.Rule(
    "a fitted StandardScaler, MinMaxScaler, MaxAbsScaler or RobustScaler, a Pipeline of these or "
    "None",
    lambda scaler: type(scaler) in _KINDS,
)


def fold_scalers(preprocessing: Any, owner: Any) -> Scaling:
    """Fold the scalers in front of a fitted map into one step.

    Parameters
    ----------
    preprocessing : scaler, Pipeline of scalers, or None
        Fitted.
    owner : TFSOM
        Fitted; for the number of its features, and for its name.

    Returns
    -------
    scaling : Scaling

    Raises
    ------
    InvalidParameterError
        Where a step is no scaler that is known here.
    ValueError
        Where there are not as many features as the map has.
    NotFittedError
        Where a scaler is not fitted.
    """
    scaling = Scaling.none(owner.n_features_in_)
    for scaler in _steps(preprocessing):
        valid.check_value("preprocessing", owner, scaler, [_RULE])
        check_is_fitted(scaler)
        if scaler.n_features_in_ != owner.n_features_in_:
            raise ValueError(
                f"The 'preprocessing' parameter of {type(owner).__name__} must have the map's "
                f"{owner.n_features_in_} features. Got {type(scaler).__name__} with "
                f"{scaler.n_features_in_} instead."
            )
        scaling = scaling.then(*_KINDS[type(scaler)](scaler))
    return scaling

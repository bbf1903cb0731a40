"""Steps of scikit-learn in front of a map, as formulas of an exported model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.feature_selection import SelectorMixin
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.validation import check_is_fitted

from sklearn_tfsom import _validation as valid
from sklearn_tfsom._formulas import (
    Affine,
    ColumnFormulas,
    Formula,
    Linear,
    Normalize,
    Power,
    Scale,
    merged,
)
from sklearn_tfsom._pipelines import steps_of


def _of_standard(scaler: StandardScaler, n_features: int) -> list[Formula]:
    factor = 1 / np.asarray(scaler.scale_, np.float64) if scaler.with_std else 1.0
    return [Affine.of(n_features, factor, -scaler.mean_ * factor if scaler.with_mean else 0.0)]


def _of_robust(scaler: RobustScaler, n_features: int) -> list[Formula]:
    factor = 1 / np.asarray(scaler.scale_, np.float64) if scaler.with_scaling else 1.0
    shift = -scaler.center_ * factor if scaler.with_centering else 0.0
    return [Affine.of(n_features, factor, shift)]


def _of_min_max(scaler: MinMaxScaler, n_features: int) -> list[Formula]:
    limits = tuple(scaler.feature_range) if scaler.clip else None
    return [Affine.of(n_features, scaler.scale_, scaler.min_, limits)]


def _of_max_abs(scaler: MaxAbsScaler, n_features: int) -> list[Formula]:
    factor = 1 / np.asarray(scaler.scale_, np.float64)
    is_clipped = getattr(scaler, "clip", False)  # from scikit-learn 1.8 on
    return [Affine.of(n_features, factor, 0.0, (-1, 1) if is_clipped else None)]


def _of_function(transformer: FunctionTransformer, n_features: int) -> list[Formula]:
    if transformer.func is None:
        return []
    return [Power.of(np.zeros(n_features), offset=1.0)]


def _of_power(transformer: PowerTransformer, n_features: int) -> list[Formula]:
    has_negative = transformer.method == "yeo-johnson"
    exponents, offset = np.asarray(transformer.lambdas_), 1.0 if has_negative else 0.0
    power = Power.of(exponents, offset=offset, has_negative=has_negative)
    if not transformer.standardize:
        return [power]
    return [power, *_of_standard(transformer._scaler, n_features)]


def _of_pca(pca: PCA | IncrementalPCA, n_features: int) -> list[Formula]:
    matrix = pca.components_.T
    if pca.whiten:
        deviations = np.sqrt(pca.explained_variance_)
        least = np.finfo(deviations.dtype).eps
        matrix = matrix / np.maximum(deviations, least).astype(np.float64)
    return [Affine.of(n_features, 1.0, -pca.mean_), Linear(matrix)]


# A subclass may do something else: only these themselves are known.
_KINDS: dict[type, Callable[[Any, int], list[Formula]]] = {
    StandardScaler: _of_standard,
    MinMaxScaler: _of_min_max,
    MaxAbsScaler: _of_max_abs,
    RobustScaler: _of_robust,
    FunctionTransformer: _of_function,
    PowerTransformer: _of_power,
    PCA: _of_pca,
    IncrementalPCA: _of_pca,
}


def _is_known(step: Any) -> bool:
    if type(step) is FunctionTransformer:
        return (step.func is None or step.func is np.log1p) and not step.kw_args
    is_selector = isinstance(step, SelectorMixin) and type(step).__module__.startswith("sklearn.")
    return type(step) in (*_KINDS, ColumnTransformer, Normalizer) or is_selector


_RULE = valid.Rule(
    "a fitted StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, PowerTransformer, "
    "Normalizer, PCA, IncrementalPCA, FunctionTransformer of None or numpy.log1p, feature "
    "selector of scikit-learn, ColumnTransformer or Pipeline of these, or None",
    _is_known,
)


def formulas_of(preprocessing: Any, owner: Any) -> tuple[list[Formula], int]:
    """Translate the steps in front of a fitted map.

    Parameters
    ----------
    preprocessing : transformer, Pipeline or None
        Fitted.
    owner : TFSOM
        Fitted; for the number of its features, and for its name.

    Returns
    -------
    formulas : list of Formula
    n_features : int
        Of the samples that the first step takes.

    Raises
    ------
    InvalidParameterError
        Where a step is none that is known here.
    ValueError
        Where a step does not take the features of the one before, or the map those of the last.
    NotFittedError
        Where a step is not fitted.
    """
    steps, n_map = steps_of(preprocessing), owner.n_features_in_
    # A step without parameters need not be fitted, and takes any number of features.
    known = (step.n_features_in_ for step in steps if hasattr(step, "n_features_in_"))
    n_features = next(known, n_map)
    formulas, n_last = _chain(steps, n_features, owner)
    if n_last != n_map:
        raise ValueError(
            f"The 'preprocessing' parameter of {type(owner).__name__} must give the map's "
            f"{n_map} features. Got {type(steps[-1]).__name__} that gives {n_last} instead."
        )
    return formulas, n_features


def _chain(steps: Sequence[Any], n_features: int, owner: Any) -> tuple[list[Formula], int]:
    """Translate steps one after the other; return how many features the last one gives, too."""
    formulas: list[Formula] = []
    for step in steps:
        valid.check_value("preprocessing", owner, step, [_RULE])
        check_is_fitted(step)
        if getattr(step, "n_features_in_", n_features) != n_features:
            raise ValueError(
                f"The 'preprocessing' parameter of {type(owner).__name__} must have steps that "
                f"follow from each other. Got {type(step).__name__} for {step.n_features_in_} "
                f"features where there are {n_features}."
            )
        if isinstance(step, ColumnTransformer):
            formulas.append(_of_columns(step, owner))
        elif isinstance(step, Normalizer):
            # scikit-learn leaves samples of smaller norms as they are, by the eps of their dtype:
            # taken to be that of the codebook.
            least = 10 * float(np.finfo(owner.codebook_.dtype).eps)
            formulas.append(Normalize(step.norm, least))
        elif isinstance(step, SelectorMixin):
            formulas.append(ColumnFormulas([(step.get_support(indices=True), [])]))
        else:
            formulas.extend(_KINDS[type(step)](step, n_features))
        if formulas:
            n_features = formulas[-1].n_given(n_features)
    return formulas, n_features


def _of_columns(transformer: ColumnTransformer, owner: Any) -> ColumnFormulas:
    weights, branches = transformer.transformer_weights or {}, []
    for name, step, _ in transformer.transformers_:
        chosen = np.array(transformer._transformer_to_input_indices[name], np.int64)
        if len(chosen) and step != "drop":
            formulas, n_given = _chain(steps_of(step), len(chosen), owner)
            weight = float(1 if weights.get(name) is None else weights[name])
            if weight > 0:
                formulas.append(Affine.of(n_given, weight, 0.0))
            else:
                formulas.append(Scale(weight))
            if n_given:
                branches.append((chosen, merged(formulas)))
    return ColumnFormulas(branches)

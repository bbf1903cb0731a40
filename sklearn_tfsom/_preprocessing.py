"""Steps of scikit-learn in front of a map, as formulas that a Keras model consists of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.feature_selection import SelectorMixin
from sklearn.pipeline import Pipeline
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


class Formula(Protocol):
    """Formula of a step, built from `keras.ops`."""

    def apply(self, ops: Any, values: Any, dtype: str) -> Any:
        """Build the formula from the functions of `keras.ops`.

        Parameters
        ----------
        ops : module
        values : KerasTensor of shape (n, n_features)
        dtype : {"float32", "float64"}
            Of the values and of all constants.

        Raises
        ------
        ValueError
            If a constant exceeds the range of `dtype`.
        """
        ...

    def n_given(self, n_features: int) -> int:
        """Return the number of features of the result."""
        ...


class _OfEachFeature:
    """Base of the formulas that leave the number of features as it is."""

    def n_given(self, n_features: int) -> int:
        """Return the number of features of the result."""
        return n_features


@dataclass(frozen=True)
class Affine(_OfEachFeature):
    """``clip(x, low, high) * factor + shift``, feature by feature."""

    factor: NDArray[np.float64]  # (n_features,), positive
    shift: NDArray[np.float64]  # (n_features,)
    low: NDArray[np.float64]  # (n_features,), -inf where nothing is clipped
    high: NDArray[np.float64]  # (n_features,)

    @classmethod
    def of(
        cls, n_features: int, factor: Any, shift: Any, limits: tuple[float, float] | None = None
    ) -> Affine:
        """Make the step ``x * factor + shift``, whose results are clipped to limits if given."""
        factor, shift, low, high = np.broadcast_arrays(
            factor, shift, -np.inf, np.inf, np.empty(n_features)
        )[:4]
        if limits is not None:
            low, high = ((limit - shift) / factor for limit in limits)
        return cls(factor, shift, low, high)

    def then(self, other: Affine) -> Affine:
        """Append another step."""
        factor, shift = self.factor * other.factor, self.shift * other.factor + other.shift
        first, last = ((limit - self.shift) / self.factor for limit in (other.low, other.high))
        return Affine(
            factor, shift, np.clip(self.low, first, last), np.clip(self.high, first, last)
        )

    def apply(self, ops: Any, values: Any, dtype: str) -> Any:
        """Build the formula.

        The value that becomes 0 is subtracted first, rounded to the type of the samples: so
        samples far from zero lose nothing. What the rounding leaves is added last.
        """
        with np.errstate(over="ignore"):
            origin, slope = (-self.shift / self.factor).astype(dtype), self.factor.astype(dtype)
        if not (np.isfinite(origin).all() and np.isfinite(slope).all()):
            advice = "Pass dtype='float64', or rescale X." if dtype == "float32" else "Rescale X."
            raise ValueError(f"The map exceeds the range of {dtype}. {advice}")
        rest = self._of(origin, dtype)
        if origin.any():
            values = values - origin
        if (slope != 1).any():
            values = values * slope
        if rest.any():
            values = values + rest
        if np.isfinite(self.low).any() or np.isfinite(self.high).any():
            low, high = self._of(self.low, dtype), self._of(self.high, dtype)
            clipped = ops.minimum(ops.maximum(values, low), high)
            # Not every format keeps NaN in a minimum.
            values = ops.where(ops.isnan(values), values, clipped)
        return values

    def _of(self, values: NDArray, dtype: str) -> NDArray:
        return (values * self.factor + self.shift).astype(dtype)


@dataclass(frozen=True)
class Linear:
    """The product with a matrix."""

    matrix: NDArray[np.float64]  # (n_features, n_components)

    def apply(self, ops: Any, values: Any, dtype: str) -> Any:
        """Build the formula."""
        return ops.matmul(values, self.matrix.astype(dtype))

    def n_given(self, n_features: int) -> int:
        """Return the number of features of the result."""
        return self.matrix.shape[1]


@dataclass(frozen=True)
class Log1p(_OfEachFeature):
    """``log(1 + x)``."""

    def apply(self, ops: Any, values: Any, dtype: str) -> Any:
        """Build the formula."""
        return log1p(ops, values)


@dataclass(frozen=True)
class Normalize(_OfEachFeature):
    """Division by the norm of each sample."""

    norm: str  # "l1", "l2" or "max"

    def apply(self, ops: Any, values: Any, dtype: str) -> Any:
        """Build the formula; samples of zeros stay as they are."""
        if self.norm == "l2":
            squared = ops.sum(ops.square(values), axis=1, keepdims=True)
            # At 0 the square root has no slope, and no layer in front could be trained.
            length = ops.sqrt(ops.maximum(squared, float(np.finfo(dtype).tiny)))
        else:
            total = ops.sum if self.norm == "l1" else ops.max
            length = total(ops.abs(values), axis=1, keepdims=True)
        return values / ops.where(ops.equal(length, 0.0), 1.0, length)


@dataclass(frozen=True)
class Power(_OfEachFeature):
    """The power of each feature that makes it most like a normal distribution."""

    exponents: NDArray[np.float64]  # (n_features,)
    method: str  # "box-cox" or "yeo-johnson"

    def apply(self, ops: Any, values: Any, dtype: str) -> Any:
        """Build the formula: of Box and Cox (1964), or of Yeo and Johnson (2000)."""
        if self.method == "box-cox":
            return _power(ops, ops.log(values), self.exponents, dtype)
        logarithm = log1p(ops, ops.abs(values))
        return ops.where(
            values < 0,
            -_power(ops, logarithm, 2 - self.exponents, dtype),
            _power(ops, logarithm, self.exponents, dtype),
        )


@dataclass(frozen=True)
class Columns:
    """Formulas of some features each, whose results stand side by side."""

    branches: Sequence[tuple[NDArray[np.int64], Sequence[Formula]]]

    def apply(self, ops: Any, values: Any, dtype: str) -> Any:
        """Build the formula."""
        parts = []
        for chosen, formulas in self.branches:
            part = ops.take(values, chosen.astype(np.int32), axis=1)
            for formula in formulas:
                part = formula.apply(ops, part, dtype)
            parts.append(part)
        return ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]

    def n_given(self, n_features: int) -> int:
        """Return the number of features of the result."""
        counts = []
        for chosen, formulas in self.branches:
            counts.append(len(chosen))
            for formula in formulas:
                counts[-1] = formula.n_given(counts[-1])
        return sum(counts)


def log1p(ops: Any, values: Any) -> Any:
    """Build ``log(1 + x)``, which ONNX lacks, from the logarithm, exact also near 0.

    The error of 1 + x is that of both factors; Kahan, in Goldberg (1991), theorem 4.
    """
    more = values + 1.0
    less = ops.where(ops.equal(more, 1.0), 1.0, more - 1.0)
    return ops.where(ops.equal(more, 1.0), values, ops.log(more) * (values / less))


def _power(ops: Any, logarithm: Any, exponents: NDArray, dtype: str) -> Any:
    """Build ``(exp(exponent * logarithm) - 1) / exponent``; the logarithm where that is 0."""
    is_zero = np.abs(exponents) < np.finfo(np.float64).eps  # as in scikit-learn
    exponents = np.where(is_zero, 1, exponents).astype(dtype)
    scaled = logarithm * exponents
    # exp(y) - 1, which ONNX lacks, exact also near 0: Kahan, in Higham (2002), section 1.14.1.
    power = ops.exp(scaled)
    safe = ops.where(ops.equal(power, 1.0), 2.0, power)
    exact = (safe - 1.0) * (scaled / ops.log(safe))
    less = ops.where(ops.equal(power, 1.0), scaled, exact)
    return ops.where(is_zero, logarithm, less / exponents)


def _of_standard(scaler: StandardScaler, n_features: int) -> list[Formula]:
    factor = 1 / scaler.scale_ if scaler.with_std else 1.0
    return [Affine.of(n_features, factor, -scaler.mean_ * factor if scaler.with_mean else 0.0)]


def _of_robust(scaler: RobustScaler, n_features: int) -> list[Formula]:
    factor = 1 / scaler.scale_ if scaler.with_scaling else 1.0
    shift = -scaler.center_ * factor if scaler.with_centering else 0.0
    return [Affine.of(n_features, factor, shift)]


def _of_min_max(scaler: MinMaxScaler, n_features: int) -> list[Formula]:
    limits = tuple(scaler.feature_range) if scaler.clip else None
    return [Affine.of(n_features, scaler.scale_, scaler.min_, limits)]


def _of_max_abs(scaler: MaxAbsScaler, n_features: int) -> list[Formula]:
    is_clipped = getattr(scaler, "clip", False)  # from scikit-learn 1.8 on
    return [Affine.of(n_features, 1 / scaler.scale_, 0.0, (-1, 1) if is_clipped else None)]


def _of_function(transformer: FunctionTransformer, n_features: int) -> list[Formula]:
    return [] if transformer.func is None else [Log1p()]


def _of_normalizer(normalizer: Normalizer, n_features: int) -> list[Formula]:
    return [Normalize(normalizer.norm)]


def _of_power(transformer: PowerTransformer, n_features: int) -> list[Formula]:
    power = Power(transformer.lambdas_, transformer.method)
    if not transformer.standardize:
        return [power]
    return [power, *_of_standard(transformer._scaler, n_features)]


def _of_pca(pca: PCA | IncrementalPCA, n_features: int) -> list[Formula]:
    matrix = pca.components_.T
    if pca.whiten:
        deviations = np.sqrt(pca.explained_variance_)
        matrix = matrix / np.maximum(deviations, np.finfo(deviations.dtype).eps)
    return [Affine.of(n_features, 1.0, -pca.mean_), Linear(matrix)]


# A subclass may do something else: only these themselves are known.
_KINDS: dict[type, Callable[[Any, int], list[Formula]]] = {
    StandardScaler: _of_standard,
    MinMaxScaler: _of_min_max,
    MaxAbsScaler: _of_max_abs,
    RobustScaler: _of_robust,
    FunctionTransformer: _of_function,
    Normalizer: _of_normalizer,
    PowerTransformer: _of_power,
    PCA: _of_pca,
    IncrementalPCA: _of_pca,
}


def _is_known(step: Any) -> bool:
    if type(step) is FunctionTransformer:
        return (step.func is None or step.func is np.log1p) and not step.kw_args
    is_selector = isinstance(step, SelectorMixin) and type(step).__module__.startswith("sklearn.")
    return type(step) in _KINDS or type(step) is ColumnTransformer or is_selector


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
        Where a step does not take what is in front of it, or the map what the last step gives.
    NotFittedError
        Where a step is not fitted.
    """
    steps, n_map = _steps(preprocessing), owner.n_features_in_
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


def _steps(preprocessing: Any) -> list[Any]:
    """Return the steps of a pipeline, also of one in a pipeline, or the one step there is."""
    if isinstance(preprocessing, Pipeline):
        return [inner for _, step in preprocessing.steps for inner in _steps(step)]
    is_nothing = isinstance(preprocessing, str) and preprocessing == "passthrough"
    return [] if preprocessing is None or is_nothing else [preprocessing]


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
        elif isinstance(step, SelectorMixin):
            formulas.append(Columns([(step.get_support(indices=True), [])]))
        else:
            formulas.extend(_KINDS[type(step)](step, n_features))
        if formulas:
            n_features = formulas[-1].n_given(n_features)
    return formulas, n_features


def _of_columns(transformer: ColumnTransformer, owner: Any) -> Columns:
    weights, branches = transformer.transformer_weights or {}, []
    for name, step, _ in transformer.transformers_:
        chosen = np.atleast_1d(
            np.arange(transformer.n_features_in_)[transformer._transformer_to_input_indices[name]]
        )
        if len(chosen) and not (isinstance(step, str) and step == "drop"):
            formulas, n_given = _chain(_steps(step), len(chosen), owner)
            if name in weights:
                formulas.append(Linear(weights[name] * np.eye(n_given)))
            branches.append((chosen, formulas))
    return Columns(branches)


def merged(formulas: Sequence[Formula]) -> list[Formula]:
    """Make one of affine steps that follow each other."""
    result: list[Formula] = []
    for formula in formulas:
        last = result[-1] if result else None
        if isinstance(formula, Affine) and isinstance(last, Affine):
            result[-1] = last.then(formula)
        else:
            result.append(formula)
    return result

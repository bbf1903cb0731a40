"""Formulas of the preprocessing in a Keras model.

Each is built from the functions of `keras.ops` that all formats of an export have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# Exponents smaller than this are 0, as in scikit-learn.
_LEAST_EXPONENT = np.finfo(np.float64).eps

# Terms of the series for ``log(1 + x)``, |x| < 0.5, and ``exp(x) - 1``, |x| < 1, by dtype: the
# next one is below the roundoff.
_N_LOG_TERMS = {"float32": 8, "float64": 18}
_N_EXP_TERMS = {"float32": 11, "float64": 18}


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


class _OneToOne:
    """Base of the formulas that leave the number of features as it is."""

    def n_given(self, n_features: int) -> int:
        """Return the number of features of the result."""
        return n_features


@dataclass(frozen=True)
class Affine(_OneToOne):
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
        # Steps fitted to float32 have constants of float32.
        given = (np.asarray(value, np.float64) for value in (factor, shift, -np.inf, np.inf))
        factor, shift, low, high = np.broadcast_arrays(*given, np.empty(n_features))[:4]
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

    def take(self, features: slice | NDArray[np.int64]) -> Affine:
        """Return the step of some of the features."""
        parts = self.factor, self.shift, self.low, self.high
        return Affine(*(part[features] for part in parts))

    def apply(self, ops: Any, values: Any, dtype: str) -> Any:
        """Build the formula.

        The value that becomes 0 is subtracted first, rounded to the type of the samples: so
        samples far from zero lose nothing. What the rounding leaves is added last.
        """
        origin, slope = rounded_to(dtype, -self.shift / self.factor, self.factor)
        rest = self._of(origin, dtype)
        if origin.any():
            values = values - origin
        if (slope != 1).any():
            values = values * slope
        if rest.any():
            values = values + rest
        return self.clip(ops, values, dtype)

    def clip(self, ops: Any, results: Any, dtype: str) -> Any:
        """Build the clipping of the results."""
        if not (np.isfinite(self.low).any() or np.isfinite(self.high).any()):
            return results
        low, high = self._of(self.low, dtype), self._of(self.high, dtype)
        clipped = ops.minimum(ops.maximum(results, low), high)
        # Not every format keeps NaN in a minimum.
        return ops.where(ops.isnan(results), results, clipped)

    def _of(self, values: NDArray, dtype: str) -> NDArray:
        return (values * self.factor + self.shift).astype(dtype)


@dataclass(frozen=True)
class Scale(_OneToOne):
    """The product with a number, of any sign or 0."""

    factor: float

    def apply(self, ops: Any, values: Any, dtype: str) -> Any:
        """Build the formula."""
        return values * rounded_to(dtype, np.asarray(self.factor))[0]


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
class Normalize(_OneToOne):
    """Division by the norm of each sample."""

    norm: str  # "l1", "l2" or "max"
    least: float  # smallest norm by which a sample is divided

    def apply(self, ops: Any, values: Any, dtype: str) -> Any:
        """Build the formula; samples of a tiny norm stay as they are, as in scikit-learn."""
        # No square of values up to 1 leaves the range of float32.
        largest = ops.max(ops.abs(values), axis=1, keepdims=True, initial=0.0)
        scaled = values / ops.where(ops.equal(largest, 0.0), 1.0, largest)
        if self.norm == "l2":
            squared = ops.sum(ops.square(scaled), axis=1, keepdims=True)
            # At 0 the square root has no slope, and no layer in front could be trained.
            length = ops.sqrt(ops.maximum(squared, float(np.finfo(dtype).tiny)))
        elif self.norm == "l1":
            length = ops.sum(ops.abs(scaled), axis=1, keepdims=True)
        else:
            length = ops.max(ops.abs(scaled), axis=1, keepdims=True, initial=0.0)
        is_tiny = largest * length < self.least
        return ops.where(is_tiny, values, scaled / ops.where(is_tiny, 1.0, length))


@dataclass(frozen=True)
class Power(_OneToOne):
    """``((x + offset)^exponent - 1) / exponent``, or the logarithm, and an affine step.

    The power of Box and Cox (1964) has the offset 0, that of Yeo and Johnson (2000) 1 and also
    powers of negative values; ``log1p`` has the exponent 0 and the offset 1.
    """

    exponents: NDArray[np.float64]  # (n_features,)
    offset: float
    has_negative: bool  # whether negative values have the power of Yeo and Johnson
    affine: Affine

    @classmethod
    def of(cls, exponents: NDArray, *, offset: float, has_negative: bool = False) -> Power:
        """Make the power alone."""
        return cls(exponents, offset, has_negative, Affine.of(len(exponents), 1.0, 0.0))

    def then(self, other: Affine) -> Power:
        """Append an affine step."""
        return replace(self, affine=self.affine.then(other))

    def take(self, features: NDArray[np.int64]) -> Power:
        """Return the step of some of the features."""
        affine = self.affine.take(features)
        return replace(self, exponents=self.exponents[features], affine=affine)

    def apply(self, ops: Any, values: Any, dtype: str) -> Any:
        """Build the formula.

        For ``u = offset + |x|`` and any v it is
        ``(u^p - 1) / p = v^p ((u / v)^p - 1) / p + (v^p - 1) / p``. With the v whose power is the
        one that becomes 0, powers that differ little from each other lose no digits.
        """
        center = -self.affine.shift / self.affine.factor  # the power that becomes 0
        if self.has_negative:
            is_negative = values < 0
            sides = [
                self._side(np.maximum(center, 0), 1, dtype),
                self._side(np.minimum(center, 0), -1, dtype),
            ]
            pairs = zip(*sides, strict=True)
            side = [ops.where(is_negative, negative, other) for other, negative in pairs]
            sizes = ops.abs(values)
        else:
            side, sizes = self._side(center, 1, dtype), values
        exponents, origin, inverse, slope, rest = side
        difference = (sizes - origin) * inverse
        # The converter to ONNX makes products of conditions: values not chosen must be finite.
        is_near, quotient = ops.abs(difference) < 0.5, (self.offset + sizes) * inverse
        logarithm = ops.where(
            is_near,
            _log1p(ops.where(is_near, difference, 0.0), dtype),
            ops.log(ops.where(is_near, 1.0, quotient)),
        )
        if self.has_negative or self.exponents.any():
            logarithm = _power(ops, logarithm, exponents, dtype)
        # In Keras a sum of two arrays without rows is an error, a difference is none.
        result = logarithm * slope - (-rest)
        # Not every format keeps NaN in a logarithm.
        return self.affine.clip(ops, ops.where(ops.isnan(values), values, result), dtype)

    def _side(self, center: NDArray, sign: int, dtype: str) -> list[NDArray]:
        """Return exponents, |x| and 1 / u where x becomes 0, v^p and the last term, for one sign.

        Of each feature, in the type of the model; the last two are of the result.
        """
        exponents = self.exponents if sign > 0 else 2 - self.exponents
        exponents = np.where(np.abs(exponents) < _LEAST_EXPONENT, 0, exponents)
        factor, shift = sign * self.affine.factor, self.affine.shift
        (origin,) = rounded_to(dtype, _unpowered(sign * center, exponents) - self.offset)
        is_lost = self.offset + origin <= 0  # by rounding
        origin = np.where(is_lost, 1 - self.offset, origin).astype(dtype)
        size = self.offset + origin.astype(np.float64)
        with np.errstate(over="ignore"):
            slope = factor * size**exponents
            rest = factor * _power(np, np.log(size), exponents, "float64") + shift
        return rounded_to(dtype, exponents, origin, 1 / size, slope, rest)


@dataclass(frozen=True)
class ColumnFormulas:
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

    def after(self, other: Affine | Power) -> ColumnFormulas:
        """Insert a step before all branches: what it does to the features of each."""
        return ColumnFormulas(
            [
                (chosen, merged([other.take(chosen), *formulas]))
                for chosen, formulas in self.branches
            ]
        )

    def then(self, other: Affine) -> ColumnFormulas:
        """Append an affine step: to each branch what it does to the results of this branch."""
        branches, first = [], 0
        for chosen, formulas in self.branches:
            last = first + _n_given(formulas, len(chosen))
            branches.append((chosen, merged([*formulas, other.take(slice(first, last))])))
            first = last
        return ColumnFormulas(branches)

    def n_given(self, n_features: int) -> int:
        """Return the number of features of the result."""
        return sum(_n_given(formulas, len(chosen)) for chosen, formulas in self.branches)


def _n_given(formulas: Sequence[Formula], n_features: int) -> int:
    for formula in formulas:
        n_features = formula.n_given(n_features)
    return n_features


def _log1p(values: Any, dtype: str) -> Any:
    """Build ``log(1 + x)`` for ``|x| < 0.5``, exact also near 0: ``2 atanh(x / (2 + x))``.

    As a series, because ONNX has no such function, and its logarithms and those of LiteRT are not
    exact enough for the method of Kahan.
    """
    ratio = values / (values + 2.0)
    squared, series = ratio * ratio, 0.0
    for k in reversed(range(_N_LOG_TERMS[dtype])):
        series = series * squared + 1 / (2 * k + 1)
    return 2.0 * ratio * series


def _power(ops: Any, logarithm: Any, exponents: Any, dtype: str) -> Any:
    """Build ``(exp(exponent * logarithm) - 1) / exponent``; the logarithm where that is 0."""
    # What `ops` computes from constants alone would be one more input of an ONNX file.
    of_exponents = np if isinstance(exponents, np.ndarray) else ops
    is_zero = of_exponents.equal(exponents, 0)
    exponents = of_exponents.where(is_zero, of_exponents.ones_like(exponents), exponents)
    scaled = logarithm * exponents
    # exp(y) - 1, exact also near 0: as a series, for the reasons in `_log1p`.
    is_near = ops.abs(scaled) < 1
    small, series = ops.where(is_near, scaled, 0.0), 1.0
    for k in reversed(range(2, _N_EXP_TERMS[dtype] + 1)):
        series = small * series / k + 1.0
    less = ops.where(is_near, small * series, ops.exp(ops.where(is_near, 0.0, scaled)) - 1.0)
    return ops.where(is_zero, logarithm, less / exponents)


def _unpowered(powers: NDArray, exponents: NDArray) -> NDArray[np.float64]:
    """Invert `_power`: return the numbers with the given powers, 1 where there are none."""
    is_zero = np.abs(exponents) < _LEAST_EXPONENT
    with np.errstate(all="ignore"):
        exponents = np.where(is_zero, 1, exponents)
        logarithms = np.where(is_zero, powers, np.log1p(powers * exponents) / exponents)
        numbers = np.exp(logarithms)
        return np.where(np.isfinite(numbers), numbers, 1.0)


def rounded_to(dtype: str, *constants: NDArray) -> list[NDArray]:
    """Return constants in the type of a model.

    Raises
    ------
    ValueError
        If they exceed its range.
    """
    with np.errstate(over="ignore"):
        rounded = [constant.astype(dtype) for constant in constants]
    if any(np.isinf(constant).any() for constant in rounded):
        advice = "Pass dtype='float64', or rescale X." if dtype == "float32" else "Rescale X."
        raise ValueError(f"The map, or its preprocessing, exceeds the range of {dtype}. {advice}")
    return rounded


def merged(formulas: Sequence[Formula]) -> list[Formula]:
    """Join steps, so that no value far from zero is rounded before the center is subtracted.

    Affine steps become a part of what is before them, where it has an affine step itself. Steps
    before formulas of columns, such as a selection, become a part of these.
    """
    result: list[Formula] = []
    for formula in formulas:
        last = result[-1] if result else None
        if isinstance(formula, Affine) and isinstance(last, Affine | Power | ColumnFormulas):
            result[-1] = last.then(formula)
        elif isinstance(formula, ColumnFormulas) and isinstance(last, Affine | Power):
            result[-1] = formula.after(last)
        else:
            result.append(formula)
    return result

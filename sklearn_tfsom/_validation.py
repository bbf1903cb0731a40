"""Checks of parameters, with one form of error.

The 'radius_end' parameter of TFSOM must be a float in the range (0.0, inf). Got 0 instead.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

Method = TypeVar("Method", bound=Callable[..., Any])

# Squared grid distances and radii at which neighborhood functions are compared.
_COMPARED_DISTANCES, _COMPARED_RADII = np.arange(0, 26) / 2, (0.85, 2.0)


class InvalidParameterError(ValueError, TypeError):
    """A parameter of an estimator or of a method has the wrong type or value."""


class Rule(NamedTuple):
    """One kind of valid value."""

    says: str  # completes the sentence "The parameter must be ..."
    accepts: Callable[[Any], bool]


def choice(options: Collection[str]) -> Rule:
    """Return the rule for one of several names."""
    names = "{" + ", ".join(repr(option) for option in options) + "}"
    return Rule(f"a str among {names}", lambda value: isinstance(value, str) and value in options)


def integer(low: int, high: int | None = None) -> Rule:
    """Return the rule for an int of at least `low`, and at most `high`."""
    return Rule(
        f"an int in the range [{low}, {'inf)' if high is None else f'{high}]'}",
        lambda value: _is_int(value) and low <= value and (high is None or value <= high),
    )


def real(low: float, *, closed: bool) -> Rule:
    """Return the rule for a finite float from `low` on, or above it."""
    return Rule(
        f"a float in the range {'[' if closed else '('}{float(low)}, inf)",
        lambda value: (
            _is_real(value) and low <= float(value) < math.inf and (closed or float(value) > low)
        ),
    )


def numbers(shape: str, n_dimensions: int, *, positive: bool = False) -> Rule:
    """Return the rule for an array-like of finite numbers, of a shape as the error shows it."""

    def accepts(value: Any) -> bool:
        rows = value if isinstance(value, list | tuple) else [value]
        if isinstance(value, str | bytes | Mapping) or any(map(np.ma.is_masked, rows)):
            return False
        try:
            array = as_numbers(value)
        except (ValueError, TypeError, RuntimeError, AttributeError):  # of its `__array__`
            return False
        if array.dtype.kind == "f" and array.dtype.itemsize > 8:  # they are used as float64
            with np.errstate(over="ignore", under="ignore"):
                array = array.astype(np.float64)
        return (
            array.dtype.kind in "iuf"
            and array.ndim == n_dimensions
            and array.size > 0
            and bool(np.isfinite(array).all())
            and (not positive or bool((array > 0).all()))
        )

    kind = "positive" if positive else "finite"
    return Rule(f"an array-like of {kind} numbers of shape {shape}", accepts)


def as_numbers(value: Any) -> NDArray:
    """Return an array; of floats where a data frame has columns that NumPy does not know.

    Raises
    ------
    TypeError
        If they contain texts, or missing values.
    """
    array = np.asarray(value)
    if array.dtype.kind != "O" or not hasattr(value, "columns"):
        return array
    if any(isinstance(each, str) for each in array.flat):
        raise TypeError("The data frame contains texts.")
    is_float32 = {str(dtype) for dtype in value.dtypes} == {"Float32"}
    return array.astype(np.float32 if is_float32 else np.float64)


PATH = Rule("a path", lambda value: _is_path(value))
NONE = Rule("None", lambda value: value is None)
OF_TWO = Rule("a callable of two arguments", lambda value: _takes_two(value))
BOOLEAN = Rule("a bool", lambda value: isinstance(value, bool | np.bool_))
SIDE = integer(1, 10**9)  # so that errors can show the number of units
PAIR = Rule(
    f"a tuple (n_rows, n_columns) of two ints{SIDE.says.removeprefix('an int')}",
    lambda value: is_pair(value) and all(SIDE.accepts(side) for side in value),
)
RANDOM_STATE = Rule(
    "an int in the range [0, 2**32 - 1], an instance of 'numpy.random.RandomState' or None",
    lambda value: (
        value is None
        or isinstance(value, np.random.RandomState)
        or (_is_int(value) and 0 <= value < 2**32)
    ),
)


def check_parameters(estimator: BaseEstimator, rules: Mapping[str, Sequence[Rule]]) -> None:
    """Check all parameters of an estimator.

    Raises
    ------
    InvalidParameterError
        If no rule accepts a parameter; for the first such parameter.
    """
    for name, alternatives in rules.items():
        value = getattr(estimator, name)
        check_value(name, estimator, value, alternatives)


def check_value(name: str, owner: object, value: Any, alternatives: Sequence[Rule]) -> None:
    """Check a value against its rules; `owner` is an estimator or the name of a function.

    Raises
    ------
    InvalidParameterError
        If none accepts it.
    """
    if not any(rule.accepts(value) for rule in alternatives):
        *others, last = (rule.says for rule in alternatives)
        right = f"{', '.join(others)} or {last}" if others else last
        raise wrong_parameter(name, owner, right, shown(value))


def wrong_parameter(name: str, owner: object, right: str, came: str) -> InvalidParameterError:
    """Return the error for a parameter; `owner` is an estimator or the name of a function."""
    return InvalidParameterError(
        f"The {name!r} parameter of {name_of(owner)} must be {right}. Got {came} instead."
    )


def wrong_metric(owner: object, right: str, name: str) -> InvalidParameterError:
    """Return the error for a metric; that of a fitted map may not be its parameter any more."""
    is_former = getattr(owner, "metric", name) != name
    came = f"{name!r}, the metric of the fitted map," if is_former else repr(name)
    return wrong_parameter("metric", owner, right, came)


def shown(value: Any) -> str:
    """Return a value as errors show it: on one line, of at most 100 characters."""
    try:
        text = " ".join(_described(value).split())
    except Exception:  # ints of more than 4,300 digits have no `repr`
        text = f"a value of type {type(value).__name__} that cannot be shown"
    return text if len(text) <= 100 else f"{text[:97]}..."


def name_of(owner: object) -> str:
    """Return the name of an estimator's class, or of a function."""
    return owner if isinstance(owner, str) else type(owner).__name__


def unchanged_on_error(method: Method) -> Method:
    """Decorate a method so that the estimator stays as it was if the method raises."""

    @functools.wraps(method)
    def guarded(self: BaseEstimator, *args: Any, **kwargs: Any) -> Any:
        before = dict(vars(self))
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            self.__dict__ = before  # in one step, which no interrupt divides
            raise

    return cast(Method, guarded)


def is_pair(value: Any) -> bool:
    """Return True for a tuple, a list or an array of two values."""
    is_array = isinstance(value, np.ndarray) and value.ndim == 1
    return (isinstance(value, tuple | list) or is_array) and len(value) == 2


def plain(value: Any) -> Any:
    """Return a value whose `repr` is the same for equal values of a parameter."""
    if callable(value):
        return [np.asarray(value(_COMPARED_DISTANCES.copy(), r)).tolist() for r in _COMPARED_RADII]
    if isinstance(value, str):
        return str.__str__(value)  # of np.str_ and of enums, too
    if value is None:
        return value
    array = np.asarray(value)
    return array.astype(np.float64).tolist() if array.dtype.kind in "biuf" else repr(value)


def _is_int(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool | np.bool_ | np.timedelta64)


def _is_real(value: Any) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool | np.bool_ | np.timedelta64):
        return False
    try:
        return not math.isnan(float(value))
    except OverflowError:  # an int beyond the range of floats
        return False


def _takes_two(value: Any) -> bool:
    if not callable(value):
        return False
    try:  # of the wrapper itself where `functools.wraps` names another function
        signature = inspect.signature(value, follow_wrapped=False)
    except (ValueError, TypeError):  # some functions in C do not tell
        return True
    try:
        signature.bind(None, None)
    except TypeError:
        return False
    return True


def _is_path(value: Any) -> bool:
    try:
        path = os.fspath(value)
    except TypeError:
        return False
    return isinstance(path, str) and bool(path)


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        is_masked = np.ma.is_masked(value)
        kind = "an array with masked values," if is_masked else "an array"
        text = f"{kind} of shape {value.shape} and dtype {value.dtype}"
        is_number = value.dtype.kind in "iuf" and value.size > 0 and not is_masked
        if is_number and not (np.isfinite(value) & (value > 0)).all():
            text += f" with values from {value.min():g} to {value.max():g}"
        return text
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"a {type(value).__name__} of shape {tuple(shape)}"
    return repr(value)

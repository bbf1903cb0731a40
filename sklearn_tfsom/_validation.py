"""Checks of parameters and data, before anything is computed, with one form of error.

The 'radius_end' parameter of TFSOM must be a float in the range (0.0, inf). Got 0 instead.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import validate_data

from sklearn_tfsom._data.pieces import Piece, Pieces
from sklearn_tfsom._data.samples import Samples, is_memory_map
from sklearn_tfsom._data.tiles import map_tiles, row_slices
from sklearn_tfsom._distance import Metric, names_where

# Values of a tile that is checked; a tile that fails is looked at again while it is in memory.
_TILE_VALUES, _TILES_AT_ONCE = 2**20, 16

Method = TypeVar("Method", bound=Callable[..., Any])


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
        lambda value: _is_real(value) and low <= value < float("inf") and (closed or value != low),
    )


def numbers(shape: str, n_dimensions: int, *, positive: bool = False) -> Rule:
    """Return the rule for an array-like of finite numbers, of a shape as the error shows it."""

    def accepts(value: Any) -> bool:
        if isinstance(value, str | bytes | Mapping):
            return False
        try:
            array = np.asarray(value)
        except (ValueError, TypeError):
            return False
        return (
            array.dtype.kind in "iuf"
            and array.ndim == n_dimensions
            and array.size > 0
            and bool(np.isfinite(array).all())
            and (not positive or bool((array > 0).all()))
        )

    kind = "positive" if positive else "finite"
    return Rule(f"an array-like of {kind} numbers of shape {shape}", accepts)


PATH = Rule("a path", lambda value: isinstance(value, str | os.PathLike))
NONE = Rule("None", lambda value: value is None)
FUNCTION = Rule("a callable", callable)
BOOLEAN = Rule("a bool", lambda value: isinstance(value, bool | np.bool_))
PAIR = Rule(
    "a tuple (n_rows, n_columns) of two ints in the range [1, inf)",
    lambda value: (
        (isinstance(value, tuple | list) or (isinstance(value, np.ndarray) and value.ndim == 1))
        and len(value) == 2
        and all(_is_int(side) and side >= 1 for side in value)
    ),
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
        raise wrong_parameter(name, owner, right, _shown(value))


def check_samples(owner: Any, X: Any, metric: Metric, *, reset: bool = False) -> Samples:
    """Check samples for a metric.

    Parameters
    ----------
    owner : TFSOM or str
        The estimator whose features they must have, or the name of a function.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    metric : Metric
    reset : bool, default=False
        Whether the estimator takes the number and names of features from X.

    Returns
    -------
    samples : Samples

    Raises
    ------
    ValueError
        If X is not as scikit-learn demands, contains infinity, or has missing values where they
        are not allowed: in sparse data, under a metric that compares whole samples, or in all
        features of a sample.
    """
    if scipy.sparse.issparse(X) and not metric.allows_sparse:
        names = names_where(lambda metric: metric.allows_sparse)
        raise wrong_parameter("metric", owner, f"one of {names} for sparse X", repr(metric.name))
    # Numbers on disk stay as they are: tiles are converted when they are read.
    stays = is_memory_map(X) and isinstance(X, np.ndarray) and X.dtype.kind in "biuf"
    options: dict[str, Any] = {
        "accept_sparse": "csr" if metric.allows_sparse else False,
        "dtype": None if stays else [np.float64, np.float32],
        "ensure_all_finite": False,
    }
    if isinstance(owner, str):
        X = check_array(X, input_name="X", estimator=owner, **options)
    else:
        X = validate_data(owner, X, reset=reset, **options)
    if X.shape[1] < metric.min_features:
        raise ValueError(
            f"X must have at least {metric.min_features} features under metric={metric.name!r}. "
            f"Got n_features = {X.shape[1]} instead."
        )
    if scipy.sparse.issparse(X) and not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return Samples(X, metric, has_missing=_check_values(X, owner, metric))


def _check_values(X: Any, owner: Any, metric: Metric) -> bool:
    """Check values tile by tile for infinity; return whether some are missing."""
    is_sparse = scipy.sparse.issparse(X)
    values = X.data[:, None] if is_sparse else X
    has_missing = False

    def has_finite_sum(rows: slice) -> bool:
        with np.errstate(over="ignore", invalid="ignore"):
            # Then all values are finite. (`sum` takes twice as long.)
            return bool(np.isfinite(np.einsum("ij->", values[rows])))

    tiles = row_slices(len(values), max(1, _TILE_VALUES // values.shape[1]))
    for rows in _failing_tiles(has_finite_sum, tiles):
        tile = values[rows]
        assert_all_finite(tile, allow_nan=True, estimator_name=_name_of(owner), input_name="X")
        is_missing = np.isnan(tile)
        if not is_missing.any():
            continue
        has_missing = True
        if is_sparse:
            raise ValueError(
                "Sparse X must not contain missing values (NaN). Impute them, or pass a dense "
                "array."
            )
        if not metric.allows_missing:
            names = names_where(lambda metric: metric.allows_missing)
            right = f"one of {names} for X with missing values (NaN)"
            raise wrong_parameter("metric", owner, right, repr(metric.name))
        (empty,) = np.nonzero(is_missing.all(axis=1))
        if len(empty):
            raise ValueError(
                f"Sample {rows.start + empty[0]} of X is missing (NaN) in all features. Remove it."
            )
    return has_missing


def _failing_tiles(check: Callable[[slice], bool], tiles: list[slice]) -> Iterator[slice]:
    """Yield the tiles that do not pass a check, checking some at a time."""
    for some in row_slices(len(tiles), _TILES_AT_ONCE):
        passed = list(map_tiles(check, tiles[some]))
        yield from (tile for tile, passes in zip(tiles[some], passed, strict=True) if not passes)


def check_features_known(pieces: Pieces) -> None:
    """Check that every feature has a known value.

    Raises
    ------
    ValueError
        If one has none.
    """
    if not pieces.samples.has_missing:
        return
    is_known = pieces.reduce(_known_features, combine=np.maximum)
    if not is_known.all():
        raise ValueError(
            f"Feature {np.argmin(is_known)} of X is missing (NaN) in all samples of positive "
            "weight. Remove it."
        )


def _known_features(piece: Piece) -> NDArray[np.float64]:
    return (~np.isnan(piece.samples[:])).any(axis=0).astype(np.float64)


def wrong_parameter(name: str, owner: object, right: str, came: str) -> InvalidParameterError:
    """Return the error for a parameter; `owner` is an estimator or the name of a function."""
    return InvalidParameterError(
        f"The {name!r} parameter of {_name_of(owner)} must be {right}. Got {came} instead."
    )


def _name_of(owner: object) -> str:
    return owner if isinstance(owner, str) else type(owner).__name__


def check_sample_weight(sample_weight: Any, n_samples: int) -> NDArray[np.float64]:
    """Check sample weights; None means 1 for each.

    Raises
    ------
    ValueError
        If there is not one finite weight of at least 0 for each sample, or all are 0.
    """
    if sample_weight is None:
        return np.broadcast_to(1.0, n_samples)  # takes no memory
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n_samples, sample_weight)
    weights = check_array(
        sample_weight,
        dtype=np.float64,
        ensure_2d=False,
        ensure_min_samples=0,
        input_name="sample_weight",
    )
    if weights.shape != (n_samples,):
        raise ValueError(
            f"sample_weight must have one value for each of the {n_samples} samples, shape "
            f"({n_samples},). Got shape {weights.shape} instead."
        )
    if (weights < 0).any():
        raise ValueError(
            f"sample_weight must not contain negative values. Got {weights.min():g} as the lowest."
        )
    with np.errstate(over="ignore"):
        is_summable = math.isfinite(weights.sum())
    if not is_summable:
        raise ValueError(
            "sample_weight contains values too large to sum. Divide it by its largest value."
        )
    if not weights.any():
        raise ValueError(
            "sample_weight must contain a positive weight. Got all weights zero instead."
        )
    return weights


def unchanged_on_error(method: Method) -> Method:
    """Decorate a method so that the estimator stays as it was if the method raises."""

    @functools.wraps(method)
    def guarded(self: BaseEstimator, *args: Any, **kwargs: Any) -> Any:
        before = dict(vars(self))
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return cast(Method, guarded)


def _is_int(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool | np.bool_)


def _is_real(value: Any) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool | np.bool_):
        return False
    try:
        return not math.isnan(float(value))
    except OverflowError:  # an int beyond the range of floats
        return False


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        shown = f"an array of shape {value.shape} and dtype {value.dtype}"
        is_number = value.dtype.kind in "iuf" and value.size > 0
        if is_number and not (np.isfinite(value) & (value > 0)).all():
            shown += f" with values from {value.min():g} to {value.max():g}"
        return shown
    text = " ".join(repr(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."

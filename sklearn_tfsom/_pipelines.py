"""Pipelines that end in a map: the map, its samples, and its code vectors in original units."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OneToOneFeatureMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.feature_selection import SelectorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
)
from sklearn.utils.validation import check_is_fitted

from sklearn_tfsom._data.scaling import power_of_two
from sklearn_tfsom._distance import metric_of
from sklearn_tfsom._validation import shown

# Their inverses round code vectors to codes.
_ENCODERS = KBinsDiscretizer, OneHotEncoder, OrdinalEncoder

Measure = TypeVar("Measure", bound=Callable[..., Any])


class Unwrapped(NamedTuple):
    """A map and the steps in front of it."""

    steps: list[Any]  # fitted transformers, the first one first
    som: Any

    def prepare(self, X: Any) -> Any:
        """Return samples as the map takes them; None for None."""
        for step in self.steps if X is not None else []:
            X = step.transform(X)
        return X


def unwrapped(estimator: Any, owner: str) -> Unwrapped:
    """Return the map of a pipeline, which may be frozen or the best one of a search.

    Raises
    ------
    TypeError
        If there is no map at the end.
    NotFittedError
        If the map or the search is not fitted.
    """
    if isinstance(estimator, FrozenEstimator):
        return unwrapped(estimator.estimator, owner)
    if isinstance(estimator, Pipeline):
        steps = [part for _, step in estimator.steps[:-1] for part in steps_of(step)]
        last = unwrapped(estimator.steps[-1][1], owner)
        return Unwrapped([*steps, *last.steps], last.som)
    if hasattr(estimator, "best_estimator_"):
        return unwrapped(estimator.best_estimator_, owner)
    if hasattr(estimator, "estimator") and hasattr(estimator, "refit"):  # perhaps a search
        check_is_fitted(estimator)
        if not estimator.refit:
            raise TypeError(
                f"{owner} needs a search with refit=True, which keeps the best map. "
                f"Got refit={shown(estimator.refit)} instead."
            )
    if not hasattr(estimator, "grid_size"):
        raise TypeError(
            f"{owner} needs a TFSOM, or a Pipeline that ends in one. Got {shown(estimator)}."
        )
    check_is_fitted(estimator)
    return Unwrapped([], estimator)


def steps_of(step: Any) -> list[Any]:
    """Return the steps of a pipeline, also of those inside it, or the one step there is.

    A pipeline of a class that has its own `transform` is one step. Samplers, of pipelines of
    imbalanced-learn, are left out: only `fit` applies them.
    """
    if isinstance(step, FrozenEstimator):
        return steps_of(step.estimator)
    if isinstance(step, Pipeline) and _applies_its_steps(step):
        return [part for _, inner in step.steps for part in steps_of(inner)]
    is_nothing = isinstance(step, str) and step == "passthrough"
    is_sampler = hasattr(step, "fit_resample") and not hasattr(step, "transform")
    return [] if step is None or is_nothing or is_sampler else [step]


def _applies_its_steps(pipeline: Pipeline) -> bool:
    """Return True if `transform` is that of scikit-learn or imbalanced-learn."""
    source = next(each for each in type(pipeline).__mro__ if "transform" in vars(each))
    return source.__module__.split(".")[0] in ("sklearn", "imblearn")


def takes_pipelines(measure: Measure) -> Measure:
    """Let a measure of a map take a pipeline that ends in one, and `X` as the pipeline does."""
    takes_samples = "X" in inspect.signature(measure).parameters  # as the second one

    @functools.wraps(measure)
    def of_pipeline(estimator: Any, *args: Any, **kwargs: Any) -> Any:
        fitted = unwrapped(estimator, measure.__name__)
        if takes_samples and args:
            args = (fitted.prepare(args[0]), *args[1:])
        elif "X" in kwargs:
            kwargs["X"] = fitted.prepare(kwargs["X"])
        with np.errstate(under="ignore"):  # of weights and distances that do not count
            return measure(fitted.som, *args, **kwargs)

    return cast(Measure, of_pipeline)


class Columns(NamedTuple):
    """Values of units by column."""

    values: NDArray  # (n_units, n_columns)
    names: list[str]
    value_unit: str  # "data units", "of directions", or the steps that were not undone
    # (n_columns,) across the map, at any scale; of its own features if they are the columns
    variances: NDArray


def in_original_units(fitted: Unwrapped) -> Columns:
    """Turn code vectors back through the steps in front of the map, as far as they have inverses.

    Of a ColumnTransformer those columns are turned back whose transformer has an inverse. Features
    that a selector drops are omitted. Code vectors of directions are not turned back: they are not
    in the scale of the samples.
    """
    steps, som = fitted
    # A copy: steps with copy=False turn back in place.
    values, names = som.codebook_.copy(), _names_of(som, som.n_features_in_)
    variances = _variances(values)
    if metric_of(som).is_spherical:
        return Columns(values, features_of_map(fitted), "of directions", variances)
    left: list[str] = []
    are_same = True
    is_known = np.full(len(names), True)
    for k in range(len(steps) - 1, -1, -1):
        step = steps[k]
        if isinstance(step, ColumnTransformer):
            values, names, is_known, left = _of_column_transformer(step, values, is_known)
            # Columns are not those that it got: steps before it cannot be undone.
            left += unit_changes(steps[:k])
            are_same = False
            break
        undone = _undone(step, values, is_known)
        if undone is None:
            names = _names_given(step, values.shape[1]) or names
            left = unit_changes(steps[: k + 1])[-1:]
            break
        values, is_known = undone.values, undone.is_known
        are_same &= undone.is_one_to_one
        names = _names_of(step, values.shape[1])
    values = values[:, is_known]
    if not are_same:
        variances = _variances(values)
    value_unit = f"after {', '.join(dict.fromkeys(left))}" if left else "data units"
    return Columns(values, list(itertools.compress(names, is_known)), value_unit, variances)


def _variances(values: NDArray) -> NDArray[np.float64]:
    """Return variances at a scale at which they are in the range of float64."""
    values = values.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        largest = np.fmax.reduce(np.ptp(values, axis=0), initial=0)
        return np.asarray((values / power_of_two(float(largest))).var(axis=0))


def features_of_map(fitted: Unwrapped) -> list[str]:
    """Return the names of the features of a map, if need be those that the last step gives."""
    steps, som = fitted
    given = None
    if steps and not hasattr(som, "feature_names_in_"):
        given = _names_given(steps[-1], som.n_features_in_)
    return given or _names_of(som, som.n_features_in_)


def unit_changes(steps: list[Any]) -> list[str]:
    """Return the names of the steps that do not leave all columns in their units."""
    return [type(step).__name__ for step in steps if not _keeps_units(step)]


def _keeps_units(step: Any) -> bool:
    if _is_imputer(step):
        return not step.add_indicator
    is_identity = isinstance(step, FunctionTransformer) and step.func is None
    return is_identity or isinstance(step, SelectorMixin)


class _Undone(NamedTuple):
    """Columns that a step got, computed from those that it makes."""

    values: NDArray  # (n_units, n_columns)
    is_known: NDArray[np.bool_]  # (n_columns,)
    is_one_to_one: bool  # whether each known column is computed from one column


def _undone(step: Any, values: NDArray, is_known: NDArray[np.bool_]) -> _Undone | None:
    """Undo a step, of whose columns some are not known; None if this gives no numbers."""
    undone = _inverse(step, values)
    if undone is None:
        return None
    n_columns = undone.shape[1]
    if isinstance(step, SelectorMixin):
        known = np.full(n_columns, False)
        known[step.get_support()] = is_known
        return _Undone(undone, known, True)
    if _is_one_to_one(step, n_columns, is_known):
        return _Undone(undone, is_known, True)
    if not is_known.all():
        # It mixes columns, also unknown ones, whose mean is only known if it centers.
        has_mean = isinstance(step, (PCA, IncrementalPCA))
        undone = _inverse(step, np.where(is_known, values, 0)) if has_mean else None
    return None if undone is None else _Undone(undone, np.full(n_columns, True), False)


def _inverse(step: Any, values: NDArray) -> NDArray | None:
    """Apply the inverse of a step, NaN where a value has none; None if it gives no numbers."""
    if _is_imputer(step):  # code vectors have no missing values
        is_alike = step.n_features_in_ == values.shape[1] and not step.add_indicator
        return values if is_alike else None
    if isinstance(step, FunctionTransformer):  # without its inverse it returns what it gets
        has_inverse = step.func is None or step.inverse_func is not None
    else:
        has_inverse = hasattr(step, "inverse_transform") and not isinstance(step, _ENCODERS)
    if not has_inverse:
        return None
    try:
        with np.errstate(all="ignore"):
            undone = step.inverse_transform(values)
            if isinstance(undone, list) and not isinstance(step, FunctionTransformer):
                return None  # the terms of texts, labels, or records
            undone = np.asarray(undone)
    # As of KernelPCA by default, and of functions that expect a data frame.
    except (AttributeError, LookupError, NotImplementedError, TypeError, ValueError):
        return None
    if undone.ndim != 2 or undone.dtype.kind not in "biuf":
        return None
    undone = undone if undone.dtype.kind == "f" else undone.astype(np.float64)
    return np.where(np.isfinite(undone), undone, np.nan)


def _is_one_to_one(step: Any, n_columns: int, is_known: NDArray[np.bool_]) -> bool:
    """Return True if each column that a step makes is of one that it got."""
    is_kind = isinstance(step, (OneToOneFeatureMixin, FunctionTransformer)) or _is_imputer(step)
    return is_kind and len(is_known) == n_columns


def _is_imputer(step: Any) -> bool:
    """Return True for imputers, which leave the units of their columns as they are."""
    return hasattr(step, "add_indicator")


def _names_of(step: Any, n_columns: int) -> list[str]:
    """Return the names of the columns that a step got."""
    names = getattr(step, "feature_names_in_", None)
    if names is None or len(names) != n_columns:
        return [f"feature {k}" for k in range(n_columns)]
    return [str(name) for name in names]


def _names_given(step: Any, n_columns: int) -> list[str] | None:
    """Return the names of the columns that a step makes, if it knows them."""
    try:
        names = [str(name) for name in step.get_feature_names_out()]
    except (AttributeError, TypeError, ValueError):
        return None
    # Of columns without names scikit-learn makes some up.
    has_names = hasattr(step, "feature_names_in_") or names != [f"x{k}" for k in range(n_columns)]
    return names if has_names and len(names) == n_columns else None


def _of_column_transformer(
    step: ColumnTransformer, values: NDArray, is_known: NDArray[np.bool_]
) -> tuple[NDArray, list[str], NDArray[np.bool_], list[str]]:
    """Return columns, names, which are known, and the names of steps that were not undone."""
    given = _names_given(step, values.shape[1]) or [f"feature {k}" for k in range(values.shape[1])]
    blocks: list[NDArray] = []
    known: list[bool] = []
    names: list[str] = []
    left: list[str] = []
    by_output = sorted(step.output_indices_.items(), key=lambda item: item[1].start)
    transformers = {name: part for name, part, _ in step.transformers_}
    for name, columns_out in by_output:
        block, block_names = values[:, columns_out], given[columns_out]
        block_known = is_known[columns_out]
        if not block_known.any():  # perhaps without columns, of a transformer that is not fitted
            continue
        part = transformers[name]
        weight = (step.transformer_weights or {}).get(name)
        weight = 1 if weight is None else weight
        if weight:
            block = block / weight
            inner = steps_of(part)
            for k in range(len(inner) - 1, -1, -1):
                undone = _undone(inner[k], block, block_known)
                if undone is None or undone.values.shape != block.shape:
                    left += unit_changes(inner[: k + 1])[-1:]
                    break
                block, block_known = undone.values, undone.is_known
            else:
                block_names = _column_names(step, name, block_names)
        else:
            left.append(type(part).__name__)
        blocks.append(block)
        known += block_known.tolist()
        names += block_names
    return np.hstack(blocks), names, np.array(known), left


def _column_names(step: ColumnTransformer, name: str, given: list[str]) -> list[str]:
    """Return the names of the columns that a transformer of a ColumnTransformer got."""
    all_names = _names_of(step, step.n_features_in_)
    names = [all_names[k] for k in step._transformer_to_input_indices[name]]
    return names if len(names) == len(given) else given

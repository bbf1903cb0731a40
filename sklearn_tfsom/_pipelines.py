"""Pipelines that end in a map: the map, its samples, and its code vectors in original units."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

Measure = TypeVar("Measure", bound=Callable[..., Any])


class Unwrapped(NamedTuple):
    """A map and the steps in front of it."""

    steps: list[Any]  # fitted transformers, the first one first
    som: Any

    def prepare(self, X: Any) -> Any:
        """Return samples as the map takes them."""
        for step in self.steps:
            X = step.transform(X)
        return X


def unwrapped(estimator: Any, owner: str = "This") -> Unwrapped:
    """Return the map of a pipeline, which may be frozen or the best one of a search.

    Raises
    ------
    TypeError
        If there is no map at the end.
    """
    if isinstance(estimator, FrozenEstimator):
        return unwrapped(estimator.estimator, owner)
    if isinstance(estimator, Pipeline):
        before = [step for _, step in estimator.steps[:-1] if step not in (None, "passthrough")]
        steps = [part for step in before for part in _parts(step)]
        last = unwrapped(estimator.steps[-1][1], owner)
        return Unwrapped([*steps, *last.steps], last.som)
    if hasattr(estimator, "best_estimator_"):
        return unwrapped(estimator.best_estimator_, owner)
    if not hasattr(estimator, "grid_size"):
        raise TypeError(
            f"{owner} needs a TFSOM, or a Pipeline that ends in one. Got {estimator!r}."
        )
    check_is_fitted(estimator)
    return Unwrapped([], estimator)


def _parts(step: Any) -> list[Any]:
    """Return the steps of a pipeline inside a pipeline, or the one step there is."""
    if isinstance(step, FrozenEstimator):
        return _parts(step.estimator)
    if not isinstance(step, Pipeline):
        return [step]
    inner = [inner for _, inner in step.steps if inner not in (None, "passthrough")]
    return [part for step in inner for part in _parts(step)]


def takes_pipelines(measure: Measure) -> Measure:
    """Let a measure of a map take a pipeline that ends in one, and `X` as the pipeline does."""
    names = list(inspect.signature(measure).parameters)

    @functools.wraps(measure)
    def of_pipeline(estimator: Any, *args: Any, **kwargs: Any) -> Any:
        steps, som = unwrapped(estimator, measure.__name__)
        if steps and "X" in names:
            if args and names[1] == "X":
                args = (Unwrapped(steps, som).prepare(args[0]), *args[1:])
            elif kwargs.get("X") is not None:
                kwargs["X"] = Unwrapped(steps, som).prepare(kwargs["X"])
        return measure(som, *args, **kwargs)

    return cast(Measure, of_pipeline)


class Columns(NamedTuple):
    """Values of units by column."""

    values: NDArray  # (n_units, n_columns)
    names: list[str]
    unit: str  # "data units", or what the values were not turned back from


def in_original_units(fitted: Unwrapped) -> Columns:
    """Turn code vectors back through the steps in front of the map, as far as they have inverses.

    Of a ColumnTransformer those columns are turned back whose transformer has an inverse.
    """
    steps, som = fitted
    values, names, unit = som.codebook_, names_of(som, som.n_features_in_), "data units"
    for k in range(len(steps) - 1, -1, -1):
        step = steps[k]
        if isinstance(step, ColumnTransformer):
            values, names, left = _of_column_transformer(step, values)
            # Columns are not those that it got: steps before it cannot be undone.
            left += [type(before).__name__ for before in steps[:k]]
            return Columns(values, names, _unit_after(left))
        if not hasattr(step, "inverse_transform"):
            names = _names_given(step, values.shape[1]) or names
            return Columns(values, names, _unit_after([type(step).__name__]))
        values = _inverse(step, values)
        names = names_of(step, values.shape[1])
    return Columns(values, names, unit)


def _unit_after(steps: list[str]) -> str:
    return f"after {', '.join(dict.fromkeys(steps))}" if steps else "data units"


def _inverse(step: Any, values: NDArray) -> NDArray:
    """Apply the inverse of a step; NaN where a value has none."""
    with np.errstate(all="ignore"):
        turned = step.inverse_transform(values)
    return np.asarray(turned)


def names_of(step: Any, n_columns: int) -> list[str]:
    """Return the names of the columns that a step got."""
    names = getattr(step, "feature_names_in_", None)
    if names is None or len(names) != n_columns:
        return [f"feature {k}" for k in range(n_columns)]
    return [str(name) for name in names]


def _names_given(step: Any, n_columns: int) -> list[str] | None:
    """Return the names of the columns that a step makes, if it knows them."""
    try:
        names = [str(name) for name in step.get_feature_names_out()]
    except (AttributeError, ValueError):
        return None
    return names if len(names) == n_columns else None


def _of_column_transformer(
    step: ColumnTransformer, values: NDArray
) -> tuple[NDArray, list[str], list[str]]:
    """Return columns, names, and the names of transformers that have no inverse."""
    given = _names_given(step, values.shape[1]) or [f"feature {k}" for k in range(values.shape[1])]
    blocks: list[NDArray] = []
    names: list[str] = []
    left: list[str] = []
    by_output = sorted(step.output_indices_.items(), key=lambda item: item[1].start)
    transformers = {name: (part, columns) for name, part, columns in step.transformers_}
    for name, columns_out in by_output:
        block, block_names = values[:, columns_out], given[columns_out]
        part, columns = transformers.get(name, ("passthrough", []))
        undone: NDArray | None = block
        names_in = _column_names(step, columns, block_names)
        for inner in reversed(_parts(part)):
            if undone is not None and (undone := _inverse_of_numbers(inner, undone)) is None:
                left.append(type(inner).__name__)
        if undone is not None:
            block, block_names = undone, names_in
        blocks.append(block)
        names += block_names
    return np.hstack(blocks), names, left


def _inverse_of_numbers(step: Any, block: NDArray) -> NDArray | None:
    """Undo a step that makes as many numbers as it gets; None for others."""
    if isinstance(step, str):  # passthrough, drop
        return block
    if not hasattr(step, "inverse_transform") or step.n_features_in_ != block.shape[1]:
        return None
    undone = _inverse(step, block)
    return undone if undone.dtype.kind == "f" and undone.shape == block.shape else None


def _column_names(step: ColumnTransformer, columns: Any, given: list[str]) -> list[str]:
    """Return the names of the columns that a transformer of a ColumnTransformer got."""
    all_names = getattr(step, "feature_names_in_", None)
    try:
        if all_names is None:
            index = np.arange(step.n_features_in_)[columns]
            names = [f"feature {k}" for k in index]
        elif len(columns) and isinstance(columns[0], str):
            names = [str(name) for name in columns]
        else:
            names = [str(name) for name in np.asarray(all_names)[columns]]
    except (IndexError, TypeError, ValueError):
        return given
    return names if len(names) == len(given) else given

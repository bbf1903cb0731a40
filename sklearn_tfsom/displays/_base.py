"""Base class of the displays, input checks and shared parameter documentation."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterable, KeysView, Mapping, ValuesView
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._classes import Classes, array_of_labels, classes_of, is_missing
from sklearn_tfsom._data.foreign import column_of
from sklearn_tfsom._distance import metric_of
from sklearn_tfsom._pipelines import Unwrapped, unit_changes, unwrapped
from sklearn_tfsom._validation import Rule, check_value, integer, shown, wrong_parameter
from sklearn_tfsom.displays._arguments import MAP_AXES, checked
from sklearn_tfsom.displays._drawing import import_pyplot
from sklearn_tfsom.metrics._base import counted_units

DisplayClass = TypeVar("DisplayClass", bound="type[Display]")

# Letters of the unit of distances; names of steps that take more are replaced by their number.
_MAX_UNIT_LETTERS = 26

# Descriptions for `documented`, by name.
_DESCRIPTIONS = """
estimator : TFSOM or Pipeline
    Fitted map, or a fitted pipeline that ends in one; the pipeline may be frozen.
X : {array-like, sparse matrix} of shape (n_samples, n_features)
    Samples, NaN for missing values.
X, y : None
    Ignored, present for API consistency.
sample_weight : array-like of shape (n_samples,), default=None
    Weight of each sample, None for 1. Needs `X`.
labels : dict of int to str or sequence of str of length n_samples, default=None
    Texts beside samples: a dict from sample indices, or one text per sample, "" for none.
grid : Grid
    Lattice of the map.
classes : sequence of str of length n_classes, default=None
    Names of the classes, for the legend.
cluster_labels : ndarray of shape (n_units,), default=None
    Cluster of each unit. Borders are drawn between clusters.
distance_unit : str, default="data units"
    Unit of the distances, for a label.
ax : matplotlib Axes, default=None
    Axes to draw on, None for those of a new figure.
cmap : str or Colormap, default="viridis"
    Colormap of the values.
border_color : color, default="white"
    Color of the borders between clusters.
clim : tuple (low, high), default=None
    Limits of the colors, the same for maps to be compared. None is the range without outliers.
colorbar : bool, default=True
    Whether to add a color bar.
ax_ : matplotlib Axes
    Axes of the plot.
figure_ : matplotlib Figure
    Figure of the plot.
cells_ : matplotlib PolyCollection
    Cells of the units.
borders_ : matplotlib LineCollection or None
    Borders between the clusters of a map with `n_clusters`, None without clusters.
colorbar_ : matplotlib Colorbar or None
    Color bar, None if there is none.
legend_ : matplotlib Legend or None
    Legend, None if there is none.
"""


def documented(display: DisplayClass) -> DisplayClass:
    """Fill shared descriptions into the docstrings of a display.

    ``%(cmap, colorbar)s`` stands for the descriptions of these names in the table above,
    ``%(X_y)s`` for that of "X, y", ``%(returns)s`` for the section about the returned display, and
    ``%(plot_parameters)s`` in the docstring of `from_estimator` for the parameters of `plot`.
    """
    entries = re.findall(r"^(\S.*) : (.*\n.*)$", _DESCRIPTIONS, flags=re.MULTILINE)
    texts = {name.replace(", ", "_"): f"{name} : {text}" for name, text in entries}
    texts["returns"] = (
        f"Returns\n-------\ndisplay : {display.__name__}\n    Display with the plot."
    )

    def description(names: re.Match[str]) -> str:
        return "\n\n".join(texts[name] for name in names[1].split(", "))

    from_estimator: Any = display.from_estimator
    for target in (display, display.plot, from_estimator.__func__):
        if not target.__doc__:  # python -OO
            continue
        docstring = inspect.cleandoc(target.__doc__)
        docstring = re.sub(r"%\(([\w, ]+)\)s", description, docstring)
        if target is display.plot:
            parameters = docstring.partition("\nParameters\n----------\n")[2]
            texts["plot_parameters"] = parameters.partition("\n\nReturns\n")[0]
        target.__doc__ = docstring
    return display


class Display:
    """Base class of the displays.

    A display is a dataclass of the values that are drawn. `from_estimator` computes them from a
    fitted map and calls `plot`, which draws them, sets attributes with a trailing underscore and
    returns the display. All parameters of `plot` are parameters of `from_estimator`, too.
    """

    from_estimator: Any
    plot: Any
    _axes_rule: Rule = MAP_AXES
    _has_many_axes = False  # whether `ax` is an array

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        axes = None if cls._has_many_axes else cls._axes_rule
        check = functools.partial(checked, owner=cls.__name__, axes=axes)
        plot, from_estimator = vars(cls).get("plot"), vars(cls).get("from_estimator")
        if inspect.isfunction(plot):
            cls.plot = check(plot)
        if isinstance(from_estimator, classmethod):
            cls.from_estimator = classmethod(check(from_estimator.__func__))

    @staticmethod
    def _check_library() -> None:
        """Raise an error if the library that draws is not installed."""
        import_pyplot()

    @classmethod
    def _unwrap(cls, estimator: Any, X: Any = None) -> tuple[Unwrapped, Any]:
        """Return the map, with the steps in front of it, and samples as it takes them."""
        fitted = unwrapped(estimator, f"{cls.__name__}.from_estimator")
        return fitted, fitted.prepare(X)

    @classmethod
    def _wrong_parameter(cls, name: str, right: str, came: str) -> ValueError:
        """Return the error for a wrong parameter of `from_estimator`."""
        return wrong_parameter(name, f"{cls.__name__}.from_estimator", right, came)

    @classmethod
    def _check_parameter(cls, name: str, value: Any, *rules: Rule) -> None:
        """Raise an error if no rule accepts a parameter of `from_estimator`."""
        check_value(name, f"{cls.__name__}.from_estimator", value, rules)

    @classmethod
    def _check_samples(
        cls, X: Any, y: Any, sample_weight: Any = None, *, needs_y: bool = True
    ) -> None:
        """Raise an error if `X` or `y` is missing beside other arguments that need it."""
        others = {"y": y, "sample_weight": sample_weight}
        given = [name for name, value in others.items() if value is not None]
        method = f"{cls.__name__}.from_estimator"
        if X is None and given:
            raise ValueError(f"{method} needs X if {given[0]} is given. Got X=None instead.")
        if X is not None and y is None and needs_y:
            raise ValueError(f"{method} needs y if X is given. Got y=None instead.")

    @classmethod
    def _check_features(
        cls, features: Any, names: list[str], n_features: int | None = None
    ) -> list[int]:
        """Return the indices of features given by name or index: `n_features`, or at least one."""
        right = (
            f"a sequence of {n_features or 'one or more'} features, each a name or an index in "
            f"the range [0, {len(names) - 1}]"
        )
        is_single = isinstance(features, str) or not np.iterable(features)
        given = [features] if is_single else list(features)
        is_index = integer(0, len(names) - 1).accepts
        for feature in given:
            if not (is_index(feature) or (isinstance(feature, str) and feature in names)):
                raise cls._wrong_parameter("features", right, shown(feature))
        if len(given) != (n_features or max(1, len(given))):
            raise cls._wrong_parameter("features", right, f"{len(given)} features")
        return [names.index(item) if isinstance(item, str) else int(item) for item in given]

    @classmethod
    def _check_axes(cls, ax: Any, names: list[str], *, allow_more: bool) -> NDArray:
        """Return one of the given axes for each of the names, shape (n_names,)."""
        axes = np.ravel(np.asarray(ax, dtype=object))
        n_axes = len(names)
        scales = " of linear scales" * (cls._axes_rule is MAP_AXES)
        right = f"an array-like of {'at least ' * allow_more}{n_axes} rectilinear Axes{scales}"
        right += f", for {', '.join(names[:4])}{', ...' * (n_axes > 4)}"
        others = [each for each in axes if not cls._axes_rule.accepts(each)]
        if others:
            raise wrong_parameter("ax", f"{cls.__name__}.plot", right, repr(others[0]))
        if len(axes) < n_axes or (len(axes) > n_axes and not allow_more):
            raise wrong_parameter("ax", f"{cls.__name__}.plot", right, f"{len(axes)} Axes")
        if len(set(axes[:n_axes])) < n_axes:
            raise wrong_parameter("ax", f"{cls.__name__}.plot", right, "one of them twice")
        return axes[:n_axes]

    @classmethod
    def _check_labels(cls, labels: Any, n_samples: int) -> dict[int, str]:
        """Return the texts beside samples by sample index, without empty ones."""
        if labels is None:
            return {}
        right = (
            f"a dict from sample indices in the range [0, {n_samples - 1}] to str or a sequence "
            f"of {n_samples} str"
        )
        if isinstance(labels, Mapping):
            is_index = integer(0, n_samples - 1).accepts
            wrong = [key for key in labels if not is_index(key)]
            if wrong:
                raise cls._wrong_parameter("labels", right, f"the index {wrong[0]!r}")
            pairs = [(int(key), text) for key, text in labels.items()]
        elif isinstance(labels, str) or not hasattr(labels, "__len__"):
            raise cls._wrong_parameter("labels", right, repr(labels))
        else:
            column = (
                list(labels) if isinstance(labels, KeysView | ValuesView) else column_of(labels)
            )
            texts = array_of_labels(column)
            if texts.dtype.kind in "mM" and not isinstance(column, np.ndarray):
                texts = np.fromiter(column, dtype=object)  # times of pandas have better texts
            if texts.shape not in ((n_samples,), (n_samples, 1)):
                raise cls._wrong_parameter("labels", right, f"shape {texts.shape}")
            pairs = list(enumerate(texts.ravel()))
        return {key: str(text) for key, text in pairs if not is_missing(text) and str(text)}


def cluster_labels(estimator: Any) -> NDArray[np.int64] | None:
    """Return the cluster of each unit, None if the map has no clusters."""
    return estimator.cluster_labels_ if estimator._has_clusters else None


def distance_unit(fitted: Unwrapped) -> str:
    """Return the unit of the distances, for an axis label."""
    metric = metric_of(fitted.som)
    if not metric.has_data_units:
        return f"{metric.name} distance"
    unit = unit_of_features(fitted)
    if unit is None:
        return "data units"
    if len(unit) > _MAX_UNIT_LETTERS:
        n_steps = len(unit_changes(fitted.steps))
        unit = "after 1 step" if n_steps == 1 else f"after {n_steps} steps"
    return f"units {unit}"


def unit_of_features(fitted: Unwrapped) -> str | None:
    """Return "after" and the names of the steps that change units; None if no step does."""
    names = dict.fromkeys(unit_changes(fitted.steps))
    return f"after {', '.join(names)}" if names else None


def subset(
    rows: NDArray[np.int64], max_rows: int, required: Iterable[int] = ()
) -> NDArray[np.int64]:
    """Return a subset of the rows, always the same, with those of them that are required."""
    if len(rows) <= max_rows:
        return rows
    # Random, since regular steps might coincide with a period in the data.
    chosen = np.random.RandomState(0).permutation(rows)[:max_rows]
    return np.union1d(chosen, np.intersect1d(rows, np.array([*required], dtype=np.int64)))


class Hits(NamedTuple):
    """Hits of the units, in total or for each class."""

    weights: NDArray  # (n_units,) or (n_units, n_classes)
    classes: list[str] | None  # names of the classes


def count_hits(
    estimator: Any, X: ArrayLike, y: ArrayLike | None, sample_weight: Any = None, *, owner: str
) -> Hits:
    """Return the total weight of the samples in each unit, or of each class in each unit."""

    def check(is_counted: NDArray[np.bool_]) -> Classes | None:
        if y is None:
            return None
        return classes_of(y, len(is_counted), owner, rows=np.flatnonzero(is_counted))

    classes, bmus, weights = counted_units(estimator, X, sample_weight, check)
    n_units = len(estimator.codebook_)
    if classes is None:
        return Hits(np.bincount(bmus, weights, minlength=n_units), None)
    return Hits(classes.counts(bmus, n_units, weights), classes.names)


def majority_classes(hits: NDArray) -> NDArray[np.int64]:
    """Return the most frequent class of each unit: the first of ties, -1 without hits."""
    # Sums of equal weights differ by rounding if the samples are in another order.
    is_most = hits >= (1 - 1e-12) * hits.max(axis=1, keepdims=True)
    return np.where(hits.any(axis=1), is_most.argmax(axis=1), -1)

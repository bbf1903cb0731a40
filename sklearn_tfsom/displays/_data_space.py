"""The map in data space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._classes import classes_of
from sklearn_tfsom._data.moments import Moments, compute_moments, feature_ranges
from sklearn_tfsom._data.pieces import Pieces
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.tiles import value_slices
from sklearn_tfsom._distance import Metric
from sklearn_tfsom._map.geometry import grid_edges
from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._pipelines import features_of_map
from sklearn_tfsom._tuning import TILE_VALUES
from sklearn_tfsom._validation import integer
from sklearn_tfsom.displays import _base as base
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays._arguments import AXES
from sklearn_tfsom.displays._colors import class_colors
from sklearn_tfsom.displays._labels import place_labels
from sklearn_tfsom.displays._legends import add_class_legend, legend_size

# Ratio of the ranges of both axes up to which they have the same scale.
_MAX_ASPECT = 3.0

# Number of points up to which they are vectors in a file, rather than pixels.
_MAX_VECTORS = 2000


class Plane(NamedTuple):
    """Plane that is shown: two features, or principal components if `features` is None."""

    axis_names: tuple[str, str]
    features: list[int] | None = None
    components: Moments | None = None


@base.documented
@dataclass(eq=False, repr=False)
class DataSpaceDisplay(base.Display):
    """Map in data space: samples, code vectors, and lines between neighboring units.

    It shows folds of the map, and which parts of the data the map covers. Create it with
    `from_estimator`.

    Read more in the :ref:`User Guide <guide_folds>`.

    Parameters
    ----------
    samples : ndarray of shape (n_shown, 2)
        Samples in the plane that is shown.

    units : ndarray of shape (n_units, 2)
        Code vectors in the plane that is shown.

    %(grid)s

    axis_names : tuple of two str, default=("", "")
        Axis labels.

    codes : ndarray of int, shape (n_shown,), default=None
        Class of each sample, as an index of `classes`.

    %(classes)s

    labels : dict of int to str, default=None
        Texts beside samples, by index in `samples`.

    n_samples : int, default=None
        Number of samples, None if all are shown.

    Attributes
    ----------
    %(ax_, figure_)s

    samples_ : matplotlib PathCollection
        Samples.

    net_ : matplotlib LineCollection
        One line for each pair of neighboring units.

    units_ : matplotlib PathCollection
        Units.

    rings_ : matplotlib PathCollection
        Circles around samples with labels.

    texts_ : list of matplotlib Annotation
        Labels of samples.

    %(legend_)s

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.displays import DataSpaceDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> DataSpaceDisplay.from_estimator(som, X, y).units.shape
    (40, 2)
    """

    _axes_rule = AXES

    samples: NDArray
    units: NDArray
    grid: Grid
    _: KW_ONLY
    axis_names: tuple[str, str] = ("", "")
    codes: NDArray | None = None
    classes: Sequence[str] | None = None
    labels: Mapping[int, str] | None = None
    n_samples: int | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        features: tuple[Any, Any] | None = None,
        labels: Any = None,
        max_samples: int = 5000,
        ax: Any = None,
        color: Any = "C0",
        net_color: Any = None,
    ) -> Self:
        """Draw samples and a fitted map in two features or two principal components.

        Samples with missing values in the plane that is shown are left out. The principal
        components are those of all samples; ``init="pca"`` leaves out a few that are far away.
        Their shares of the variance are shown unless values are missing.

        Parameters
        ----------
        %(estimator, X)s

        y : array-like of shape (n_samples,), default=None
            Classes of the samples, shown as colors.

        features : tuple of two str or int, default=None
            Names or indices of the features to show. None is both features of data with two
            features, and the first two principal components of the samples otherwise.

        %(labels)s

        max_samples : int, default=5000
            Maximum number of samples to show, samples with labels not counted. Of more samples,
            always the same subset is shown.

        %(plot_parameters)s

        %(returns)s
        """
        fitted, prepared = cls._unwrap(estimator, X)
        samples = fitted.som._check_data(prepared)
        names = features_of_map(fitted)
        cls._check_parameter("max_samples", max_samples, integer(1))
        texts = cls._check_labels(labels, len(samples))
        classes, codes = None, None
        if y is not None:
            found = classes_of(y, len(samples), cls.__name__)
            classes, codes = found.names, found.codes
        if len(names) == 1:
            raise ValueError(
                f"{cls.__name__}.from_estimator needs at least 2 features. Got n_features = 1 "
                "instead."
            )
        if features is None and len(names) > 2:
            plane = _main_plane(samples)
        else:
            selected = cls._check_features((0, 1) if features is None else features, names, 2)
            plane = _feature_plane(samples, names, selected, base.unit_of_features(fitted))
        rows = base.subset(_known_rows(samples, plane), max_samples, required=texts)
        points = _project_samples(samples, rows, plane)
        index = {int(row): k for k, row in enumerate(rows)}
        display = cls(
            points,
            _project(fitted.som.codebook_.astype(np.float64), plane),
            grid_of(fitted.som),
            axis_names=plane.axis_names,
            codes=None if codes is None else codes[rows],
            classes=classes,
            labels={index[row]: text for row, text in texts.items() if row in index},
            n_samples=len(samples),
        )
        return display.plot(ax=ax, color=color, net_color=net_color)

    def plot(self, *, ax: Any = None, color: Any = "C0", net_color: Any = None) -> Self:
        """Draw the map in data space.

        Parameters
        ----------
        %(ax)s

        color : color, default="C0"
            Color of the samples without classes.

        net_color : color, default=None
            Color of the units and the lines between them, None for the color of texts.

        %(returns)s
        """
        points = np.concatenate([self.samples, self.units])
        ax = _new_axes(points, self.classes or ()) if ax is None else ax
        n_shown, n_units = len(self.samples), len(self.units)
        net_color = drawing.text_color() if net_color is None else net_color
        if self.codes is not None and self.classes is not None:
            color = class_colors(len(self.classes))[self.codes]
        density = max(1.0, n_shown / 150)
        self.samples_ = ax.scatter(
            *self.samples.T,
            s=max(3.0, 26 / density**0.5),
            facecolors=color,
            alpha=max(0.4, 0.9 / density**0.15),
            linewidths=0,
            rasterized=n_shown > _MAX_VECTORS,
            zorder=1,
        )
        units, others = grid_edges(self.grid)
        self.net_ = drawing.draw_lines(
            ax,
            self.units[np.column_stack([units, others])],
            colors=[net_color],
            linewidths=min(1.1, max(0.3, 12 / n_units**0.5)),
            alpha=0.6,
            zorder=2,
        )
        size = min(14.0, 2000 / n_units)
        self.units_ = ax.scatter(
            *self.units.T, s=size, facecolors=[net_color], linewidths=0, zorder=3
        )
        ax.margins(0.07)
        if _has_equal_scales(points):
            ax.set_aspect("equal")
        n_samples = n_shown if self.n_samples is None else self.n_samples
        count = f" ({n_shown:,} of {n_samples:,} samples)" if n_shown < n_samples else ""
        x_name, y_name = self.axis_names
        ax.set_xlabel(x_name, parse_math=False)
        ax.set_ylabel(y_name, parse_math=False)
        for axis, length in zip((ax.xaxis, ax.yaxis), drawing.axes_size(ax), strict=True):
            drawing.fit_text(axis.label, length)
        ax.set_title(f"Map in data space{count}")
        # A square grid puts the legend beside the axes: there are ticks below.
        self.legend_ = add_class_legend(ax, self.classes, Grid(1, 1))
        labels = self.labels or {}
        labeled = self.samples[list(labels)]
        self.rings_ = ax.scatter(
            *labeled.T, s=30, facecolors="none", edgecolors=drawing.text_color(), zorder=4
        )
        self.texts_ = place_labels(ax, labeled, list(labels.values()), obstacles=points)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _new_axes(points: NDArray, classes: Sequence[str]) -> Any:
    """Return the axes of a new figure in the shape of the points, with space for a legend."""
    width, height = 5.4, 4.2
    if _has_equal_scales(points):
        x_range, y_range = np.ptp(points, axis=0)
        scale = min(5.6 / x_range, 4.6 / y_range)
        width, height = scale * x_range, scale * y_range
    legend_width, legend_height = legend_size(classes)
    figsize = (width + 0.8 + legend_width, max(height + 0.8, legend_height + 0.5))
    _, ax = drawing.import_pyplot().subplots(figsize=figsize, layout="constrained")
    return ax


def _has_equal_scales(points: NDArray) -> bool:
    """Return True if both axes have the same scale: unless one range is much larger."""
    ranges = np.ptp(points, axis=0)
    return bool(0 < ranges.max() <= _MAX_ASPECT * ranges.min())


def _main_plane(samples: Samples) -> Plane:
    """Return the plane of the first two principal components of the samples."""
    pieces = Pieces(samples, np.ones(len(samples)))
    if samples.has_missing:
        is_known = ~np.isnan(feature_ranges(pieces)[0])
        if not is_known.all():
            raise ValueError(
                f"Feature {np.argmin(is_known)} of X is missing (NaN) in all samples, so there "
                "are no principal components. Show two features: set the 'features' parameter."
            )
    components = compute_moments(pieces)
    shares = (components.deviations / (components.spread or 1.0)) ** 2
    # With missing values covariances of pairs are not those of any samples: shares can exceed 1.
    texts = ["", ""] if samples.has_missing else [f" ({100 * share:.3g}%)" for share in shares]
    suffix = _name_suffix(samples.metric)
    x_name, y_name = (f"principal component {k}{suffix}{text}" for k, text in enumerate(texts, 1))
    return Plane((x_name, y_name), components=components)


def _feature_plane(
    samples: Samples, names: list[str], features: list[int], unit: str | None
) -> Plane:
    """Return the plane of two features."""
    suffix = _name_suffix(samples.metric) + (f" ({unit})" if unit else "")
    x_name, y_name = (names[k] + suffix for k in features)
    return Plane((x_name, y_name), features=features)


def _name_suffix(metric: Metric) -> str:
    """Return the suffix of axis names for metrics that compare the directions of samples only."""
    return " of directions" if metric.is_spherical else ""


def _project(values: NDArray, plane: Plane) -> NDArray[np.float64]:
    """Project samples onto a plane, shape (n_samples, 2); NaN if a needed value is missing."""
    if plane.components is None:
        return values[:, plane.features]
    points = (values - plane.components.mean) @ plane.components.directions.T
    points[np.isnan(values).any(axis=1)] = np.nan
    return points


def _project_samples(
    samples: Samples, rows: NDArray[np.int64], plane: Plane
) -> NDArray[np.float64]:
    """Project some of the samples onto a plane, tile by tile, shape (n_rows, 2)."""
    tiles = value_slices(len(rows), samples.shape[1], TILE_VALUES)
    parts = (_project(samples.dense(rows[tile]), plane) for tile in tiles)
    return np.concatenate([np.empty((0, 2)), *parts])


def _known_rows(samples: Samples, plane: Plane) -> NDArray[np.int64]:
    """Return the samples whose values in the plane are known."""
    rows = np.arange(len(samples))
    if not samples.has_missing:
        return rows
    return rows[~np.isnan(_project_samples(samples, rows, plane)).any(axis=1)]

"""The map in data space: its net of units over the samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._data.moments import centered, principal_plane
from sklearn_tfsom._data.samples import Samples, row_slices
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._validation import integer
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays import _reading as reading
from sklearn_tfsom.displays._labels import check_labels, place_labels
from sklearn_tfsom.metrics._reading import check_argument, check_fitted_grid, grid_edges

# Values of a tile that is written out.
_TILE_VALUES = 2**20

# Both axes have one scale, unless one extends more than so many times as far as the other.
_LONGEST = 3.0

# So many marks make a picture file large: they are drawn as pixels, in any format.
_MOST_VECTORS = 2000


class DataSpaceDisplay:
    """The map in data space: neighbors are joined to a net, over the samples.

    Shows whether the map has unfolded, and which parts of the data it covers. Use
    `from_estimator`.

    Parameters
    ----------
    samples : ndarray of shape (n_shown, 2)
        Samples, in the plane that is shown.

    units : ndarray of shape (n_units, 2)
        Code vectors, in that plane.

    grid : Grid
        Which units are neighbors.

    axis_names : tuple of two str, default=("", "")
        What the axes show. A component has its share of the samples' variance in brackets.

    codes : ndarray of int, shape (n_shown,), default=None
        Class of each sample, an index of `classes`.

    classes : sequence of str, default=None
        Names of the classes, for the legend.

    labels : dict of int to str, default=None
        Texts for some of the samples, by their index in `samples`.

    n_samples : int, default=None
        How many samples there are, where not all of them are shown.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the picture was drawn.

    figure_ : matplotlib Figure
        Its figure.

    samples_ : matplotlib PathCollection
        The samples.

    net_ : matplotlib LineCollection
        One line for each pair of neighbors, those over a seam included.

    units_ : matplotlib PathCollection
        The units.

    rings_ : matplotlib PathCollection
        Around the samples that have labels.

    texts_ : list of matplotlib Annotation
        The labels.

    legend_ : matplotlib Legend or None
        The classes.

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

    def __init__(
        self,
        samples: NDArray,
        units: NDArray,
        grid: Grid,
        *,
        axis_names: tuple[str, str] = ("", ""),
        codes: NDArray | None = None,
        classes: Sequence[str] | None = None,
        labels: Mapping[int, str] | None = None,
        n_samples: int | None = None,
    ) -> None:
        self.samples = samples
        self.units = units
        self.grid = grid
        self.axis_names = axis_names
        self.codes = codes
        self.classes = classes
        self.labels = labels
        self.n_samples = n_samples

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
    ) -> DataSpaceDisplay:
        """Look at samples and at a fitted map in two features, or in the samples' main plane.

        Parameters
        ----------
        estimator : TFSOM
            A fitted map.

        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, NaN where a value is missing.

        y : array-like of shape (n_samples,), default=None
            Their classes, for colors.

        features : tuple of two str or int, default=None
            Names or indices of the two features to show. None is the two that there are, or the
            first two principal components of the samples where there are more. Samples without
            a value for what is shown are left out; the components are of all, as those of
            ``init="pca"``.

        labels : dict of int to str or sequence of str of length n_samples, default=None
            Texts for samples: for some, by their index, or for each, "" for none.

        max_samples : int, default=5000
            How many samples are shown at most. Of more, so many are drawn, always the same ones;
            those with a label are among them. The components are those of all.

        ax : matplotlib Axes, default=None
            Where to draw; by default in a new figure.

        color : color, default="C0"
            Of the samples, where there are no classes.

        net_color : color, default=None
            Of the net; None is that of texts.

        Returns
        -------
        display : DataSpaceDisplay

        Raises
        ------
        ValueError
            Where there are no two features, or `features` or `labels` does not fit.
        """
        grid = check_fitted_grid(estimator)
        samples = estimator._check_fitted_data(X)
        check_argument("max_samples", max_samples, integer(1))
        texts = check_labels(labels, len(samples))
        classes, codes = None, None
        if y is not None:
            names, codes = reading.check_classes(y, X)
            classes = [str(name) for name in names]
        chosen = _chosen_features(features, reading.feature_names(estimator))
        if chosen is None:
            look, axis_names = _main_plane(samples)
        else:
            look, axis_names = _feature_plane(estimator, chosen)
        rows = _some_rows(len(samples), max_samples, sorted(texts))
        seen = _seen(samples, rows, look)
        is_known = ~np.isnan(seen).any(axis=1)
        rows, seen = rows[is_known], seen[is_known]
        index = {int(row): k for k, row in enumerate(rows)}
        display = cls(
            seen,
            look(estimator.codebook_.astype(np.float64)),
            grid,
            axis_names=axis_names,
            codes=None if codes is None else codes[rows],
            classes=classes,
            labels={index[row]: text for row, text in texts.items() if row in index},
            n_samples=len(samples),
        )
        return display.plot(ax, color=color, net_color=net_color)

    def plot(
        self, ax: Any = None, *, color: Any = "C0", net_color: Any = None
    ) -> DataSpaceDisplay:
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default in a new figure.

        color : color, default="C0"
            Of the samples, where there are no classes.

        net_color : color, default=None
            Of the net; None is that of texts.

        Returns
        -------
        self : DataSpaceDisplay
        """
        plt = drawing.import_pyplot()
        from matplotlib.collections import LineCollection

        points = np.concatenate([self.samples, self.units])
        if ax is None:
            ax = _new_axes(points, self.classes or ())
        n_shown, n_units = len(self.samples), len(self.units)
        if self.codes is not None and self.classes is not None:
            color = drawing.class_colors(len(self.classes))[self.codes]
        ink = plt.rcParams["text.color"] if net_color is None else net_color
        crowd = max(1.0, n_shown / 150)
        self.samples_ = ax.scatter(
            *self.samples.T,
            s=max(3.0, 26 / crowd**0.5),
            facecolors=color,
            alpha=max(0.4, 0.9 / crowd**0.15),
            linewidths=0,
            rasterized=n_shown > _MOST_VECTORS,
            zorder=1,
        )
        units, others = grid_edges(self.grid, 6 if self.grid.is_hexagonal else 4)
        width = min(1.1, max(0.3, 12 / n_units**0.5))
        self.net_ = ax.add_collection(
            LineCollection(
                list(self.units[np.column_stack([units, others])]),
                colors=[ink],
                linewidths=width,
                alpha=0.6,
                zorder=2,
            )
        )
        self.units_ = ax.scatter(
            *self.units.T, s=min(14.0, 2000 / n_units), facecolors=[ink], linewidths=0, zorder=3
        )
        ax.margins(0.07)
        if _has_one_scale(points):
            ax.set_aspect("equal")
        total = n_shown if self.n_samples is None else self.n_samples
        some = f" ({n_shown:,} of {total:,} samples)" if n_shown < total else ""
        ax.set(
            xlabel=self.axis_names[0], ylabel=self.axis_names[1], title=f"Map in data space{some}"
        )
        self.legend_ = None
        if self.classes is not None:
            colors = drawing.class_colors(len(self.classes))
            # Below there are ticks: so beside the axes, as beside a map that is not wide.
            self.legend_ = drawing.add_class_legend(ax, self.classes, colors, Grid(1, 1))
        labels = self.labels or {}
        labeled = self.samples[list(labels)]
        self.rings_ = ax.scatter(
            *labeled.T, s=30, facecolors="none", edgecolors=plt.rcParams["text.color"], zorder=4
        )
        self.texts_ = place_labels(ax, labeled, list(labels.values()), things=points)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _new_axes(points: NDArray, classes: Sequence[str]) -> Any:
    """Return the axes of a new figure that has the points' shape, and room for a legend."""
    width, height = 5.4, 4.2
    if _has_one_scale(points):
        across, up = np.ptp(points, axis=0)
        scale = min(5.6 / across, 4.6 / up)
        width, height = scale * across, scale * up
    room = drawing.legend_room(classes) if classes else 0.0
    figsize = (width + 0.8 + room, max(height + 0.8, 0.5 + 0.23 * min(16, len(classes))))
    _, ax = drawing.import_pyplot().subplots(figsize=figsize, layout="constrained")
    return ax


def _has_one_scale(points: NDArray) -> bool:
    """Whether both axes have one scale: not where one would be a thin line then."""
    extents = np.ptp(points, axis=0)
    return bool(0 < extents.max() <= _LONGEST * extents.min())


def _chosen_features(features: Any, names: list[str]) -> list[int] | None:
    """Find the features to show, None for components."""
    if features is None:
        if len(names) == 1:
            raise ValueError(
                "DataSpaceDisplay shows two features or principal components. Got n_features = 1."
            )
        return None if len(names) > 2 else [0, 1]
    is_pair = isinstance(features, tuple | list | np.ndarray) and len(features) == 2
    found = [_index_of(feature, names) for feature in features] if is_pair else []
    if not is_pair or None in found:
        last = len(names) - 1
        raise ValueError(
            f"features must be a tuple of two features, each by its name or its index from 0 to "
            f"{last}. Got {features!r} instead."
        )
    return [index for index in found if index is not None]


def _index_of(feature: Any, names: list[str]) -> int | None:
    if isinstance(feature, str):
        return names.index(feature) if feature in names else None
    is_index = isinstance(feature, Integral) and not isinstance(feature, bool)
    return int(feature) if is_index and 0 <= feature < len(names) else None


def _main_plane(samples: Samples) -> tuple[Callable, tuple[str, str]]:
    """Return the projection onto the samples' first two principal components, and their names."""
    if samples.has_missing:
        tiles = (samples[rows] for rows in samples.tiles())
        is_known = np.any([(~np.isnan(tile)).any(axis=0) for tile in tiles], axis=0)
        if not is_known.all():
            raise ValueError(
                f"Feature {np.argmin(is_known)} of X is missing (NaN) in all samples, which have "
                "no principal components then. Choose two features."
            )
    plane = principal_plane(samples, np.ones(len(samples)))
    variance = plane.spread**2
    shares = plane.deviations**2 / variance if variance > 0 else np.zeros(2)
    of = _of_directions(samples.metric)
    names = [
        f"principal component {k}{of} ({100 * share:.3g}%)" for k, share in enumerate(shares, 1)
    ]

    def look(values: NDArray) -> NDArray[np.float64]:
        seen = centered(values, plane.mean) @ plane.directions.T
        seen[np.isnan(values).any(axis=1)] = np.nan
        return seen

    return look, (names[0], names[1])


def _feature_plane(estimator: Any, chosen: list[int]) -> tuple[Callable, tuple[str, str]]:
    """Return a function that takes two features, and their names."""
    names = reading.feature_names(estimator)
    of = _of_directions(estimator._metric)
    return lambda values: values[:, chosen], (names[chosen[0]] + of, names[chosen[1]] + of)


def _of_directions(metric: str) -> str:
    """Say so where a metric sees nothing of a sample but its direction."""
    return " of directions" if metric in ("cosine", "correlation") else ""


def _some_rows(n_rows: int, most: int, wanted: Sequence[int]) -> NDArray[np.int64]:
    """Choose rows where there are too many, the same ones each time, and those wanted."""
    if n_rows <= most:
        return np.arange(n_rows)
    # In no order of theirs: every k-th one would not see what comes back every k rows.
    some = np.random.RandomState(0).permutation(n_rows)[:most]
    return np.union1d(some, np.asarray(wanted, dtype=np.int64))


def _seen(samples: Samples, rows: NDArray[np.int64], look: Callable) -> NDArray[np.float64]:
    """Look at some of the samples, tile by tile."""
    step = max(1, _TILE_VALUES // samples.shape[1])
    tiles = (samples.dense(rows[tile]) for tile in row_slices(len(rows), step))
    return np.concatenate([look(tile) for tile in tiles])

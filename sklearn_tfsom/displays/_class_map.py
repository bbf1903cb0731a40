"""The classes, or the clusters, of the units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._pipelines import Unwrapped
from sklearn_tfsom.displays import _base as base
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays._colors import colors_on_map
from sklearn_tfsom.displays._legends import add_class_legend

# Share of the class color that is kept in a unit whose samples are evenly mixed.
_MIN_STRENGTH = 0.15


@base.documented
@dataclass(eq=False, repr=False)
class ClassMapDisplay(base.Display):
    """Class map: most frequent class, or cluster, of each unit.

    The colors of units with samples of several classes are paler. Units without samples are
    empty. Create it with `from_estimator`.

    Read more in the :ref:`User Guide <guide_displays>`.

    Parameters
    ----------
    labels : ndarray of int, shape (n_units,)
        Class, or cluster, of each unit, -1 for none.

    %(grid)s

    classes : sequence of str of length n_classes
        Names of the classes.

    confidences : ndarray of shape (n_units,), default=None
        Share of the samples of each unit that belong to its class, None for 1.

    name : str, default="Classes"
        Title of the plot.

    Attributes
    ----------
    %(ax_, figure_, cells_)s

    borders_ : matplotlib LineCollection
        Borders between classes, none beside empty units.

    texts_ : list of matplotlib Text
        Class names in the cells, empty if they would be too small to read.

    %(legend_)s

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.displays import ClassMapDisplay
    >>> iris = load_iris()
    >>> som = TFSOM(grid_size=(8, 5)).fit(iris.data)
    >>> display = ClassMapDisplay.from_estimator(som, iris.data, iris.target_names[iris.target])
    >>> display.classes
    ['setosa', 'versicolor', 'virginica']
    """

    labels: NDArray
    grid: Grid
    _: KW_ONLY
    classes: Sequence[str]
    confidences: NDArray | None = None
    name: str = "Classes"

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        ax: Any = None,
        texts: bool = True,
        legend: bool = True,
    ) -> Self:
        """Find and draw the most frequent class, or the cluster, of each unit of a fitted map.

        Parameters
        ----------
        %(estimator)s

        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Samples. Needs `y`. None shows the clusters of a map with `n_clusters`.

        y : array-like of shape (n_samples,), default=None
            Classes of the samples. Needs `X`.

        %(sample_weight, plot_parameters)s

        %(returns)s
        """
        fitted, X = cls._unwrap(estimator, X)
        display = cls._compute(fitted, X, y, sample_weight)
        return display.plot(ax=ax, texts=texts, legend=legend)

    @classmethod
    def _compute(
        cls, fitted: Unwrapped, X: Any, y: Any, sample_weight: Any = None, *, owner: str = ""
    ) -> Self:
        """Compute the values to draw; `owner` is the display that errors name."""
        grid = grid_of(fitted.som)
        cls._check_samples(X, y, sample_weight)
        if X is None:
            labels = base.cluster_labels(fitted.som)
            if labels is None:
                raise ValueError(
                    f"{cls.__name__}.from_estimator shows the clusters of the map without X and "
                    "y, but the map has none. Pass X and y, or set n_clusters before fit."
                )
            names = [str(k) for k in range(labels.max() + 1)]
            return cls(labels, grid, classes=names, name="Clusters")
        hits = base.count_hits(fitted.som, X, y, sample_weight, owner=owner or cls.__name__)
        totals = hits.weights.sum(axis=1)
        return cls(
            base.majority_classes(hits.weights),
            grid,
            classes=hits.classes or [],
            confidences=hits.weights.max(axis=1) / np.where(totals > 0, totals, 1),
        )

    def plot(self, *, ax: Any = None, texts: bool = True, legend: bool = True) -> Self:
        """Draw the classes.

        Parameters
        ----------
        %(ax)s

        texts : bool, default=True
            Whether to write the class names into the cells, if they can be read.

        legend : bool, default=True
            Whether to add a legend.

        %(returns)s
        """
        grid, labels = self.grid, np.asarray(self.labels)
        is_new = ax is None
        ax = drawing.new_map_axes(grid) if is_new else ax
        is_empty, shares = labels < 0, self.confidences
        is_mixed = shares is not None and bool((shares[~is_empty] < 1).any())
        drawing.set_map_limits(ax, grid, title=f"{self.name}{' (pale: mixed)' * is_mixed}")
        background = drawing.background_color(ax)
        of_classes = colors_on_map(grid, labels, len(self.classes))
        colors = of_classes[labels]
        if shares is not None:
            colors = _blend(colors, shares, len(self.classes), background)
        colors[is_empty] = 0
        edges = np.where(is_empty[:, None], (0.5, 0.5, 0.5, 0.3), colors)
        self.cells_ = drawing.draw_cells(ax, grid, facecolors=colors, edgecolors=edges)
        classes = self.classes if legend else None
        self.legend_ = add_class_legend(ax, classes, grid, colors=of_classes, grow_figure=is_new)
        self.borders_ = drawing.draw_borders(ax, grid, labels, background)
        self.texts_ = []
        if texts:  # last, since the legend may change the scale of the map
            names = ["" if k < 0 else self.classes[k] for k in labels]
            self.texts_ = drawing.draw_cell_texts(ax, grid.positions(), names, colors)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _blend(
    colors: NDArray, confidences: NDArray, n_classes: int, background: tuple[float, ...]
) -> NDArray[np.float64]:
    """Blend colors with the background: unchanged at confidence 1, palest at 1 / n_classes."""
    lowest = 1 / max(2, n_classes)
    strengths = np.clip((confidences - lowest) / (1 - lowest), 0, 1)[:, None]
    strengths = _MIN_STRENGTH + (1 - _MIN_STRENGTH) * strengths
    return strengths * colors + (1 - strengths) * np.array([*background, 1.0])

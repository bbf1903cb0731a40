"""Classes or clusters: which part of the map belongs to which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._validation import check_sample_weight
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays import _reading as reading
from sklearn_tfsom.metrics._reading import check_fitted_grid

# How much of its color a unit keeps whose samples are as mixed as can be.
_PALEST = 0.15


class ClassMapDisplay:
    """Classes or clusters: each unit in the color of the one that most of its samples belong to.

    The more mixed a unit is, the paler. Units without samples are empty. Use `from_estimator`.

    Parameters
    ----------
    labels : ndarray of int, shape (n_units,)
        Class, or cluster, of each unit; -1 for none.

    grid : Grid
        The units' places.

    classes : sequence of str of length n_classes
        Names of the classes.

    confidences : ndarray of shape (n_units,), default=None
        Share of its samples that are of this class, between 0 and 1; None is 1 for each.

    name : str, default="Classes"
        What is shown, for the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the picture was drawn.

    figure_ : matplotlib Figure
        Its figure.

    cells_ : matplotlib PolyCollection
        One cell for each unit.

    borders_ : matplotlib LineCollection
        Borders between classes; none where a unit beside it is empty.

    texts_ : list of matplotlib Text
        Name of each unit's class; none where they would be too small to be read.

    legend_ : matplotlib Legend or None
        The classes.

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

    def __init__(
        self,
        labels: NDArray,
        grid: Grid,
        *,
        classes: Sequence[str],
        confidences: NDArray | None = None,
        name: str = "Classes",
    ) -> None:
        self.labels = labels
        self.grid = grid
        self.classes = classes
        self.confidences = confidences
        self.name = name

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
    ) -> ClassMapDisplay:
        """Find the class, or the cluster, of each unit of a fitted map and draw it.

        Parameters
        ----------
        estimator : TFSOM
            A fitted map.

        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Samples; None shows the map's own clusters (`n_clusters`).

        y : array-like of shape (n_samples,), default=None
            Their classes. Needs `X`.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample; None is 1 for each. Needs `X`.

        ax : matplotlib Axes, default=None
            Where to draw; by default in a new figure.

        texts : bool, default=True
            Whether the names are written into the cells, where they can be read.

        Returns
        -------
        display : ClassMapDisplay

        Raises
        ------
        ValueError
            Where only one of `X` and `y` is given, they do not fit one another, or neither is
            given and the map has no clusters.
        """
        return cls._read(estimator, X, y, sample_weight).plot(ax, texts=texts)

    @classmethod
    def _read(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> ClassMapDisplay:
        """Find what is drawn."""
        grid = check_fitted_grid(estimator)
        if (X is None) != (y is None):
            raise ValueError("X and y must be given together: they are what the units show.")
        if X is None or y is None:
            if sample_weight is not None:
                raise ValueError("sample_weight needs X and y, the samples that it belongs to.")
            if not reading.has_clusters(estimator):
                raise ValueError(
                    "Without X and y the clusters of the map are shown, and it has none: "
                    "set n_clusters before fit."
                )
            labels = estimator.cluster_labels_
            names = [str(k) for k in range(labels.max() + 1)]
            return cls(labels, grid, classes=names, name="Clusters")
        bmus = estimator.bmus(X)
        classes, codes = reading.check_classes(y, X)
        weights = check_sample_weight(sample_weight, len(bmus))
        hits = reading.class_hits(bmus, codes, grid, len(classes), weights)
        totals = hits.sum(axis=1)
        return cls(
            reading.majorities(hits),
            grid,
            classes=[str(name) for name in classes],
            confidences=hits.max(axis=1) / np.where(totals > 0, totals, 1),
        )

    def plot(self, ax: Any = None, *, texts: bool = True, legend: bool = True) -> ClassMapDisplay:
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default in a new figure.

        texts : bool, default=True
            Whether the names are written into the cells, where they can be read.

        legend : bool, default=True
            Whether there is a legend.

        Returns
        -------
        self : ClassMapDisplay
        """
        drawing.import_pyplot()
        grid, labels = self.grid, np.asarray(self.labels)
        is_own = ax is None
        ax = drawing.new_map_axes(grid, room=0.3) if is_own else ax
        paper = ax.figure.figure.get_facecolor()  # of the figure that holds a subfigure
        is_empty = labels < 0
        palette = drawing.class_colors(len(self.classes))
        colors = palette[labels]
        if self.confidences is not None:
            colors = _paler(colors, self.confidences, len(self.classes), paper)
        colors[is_empty] = 0
        edges = np.where(is_empty[:, None], (0.5, 0.5, 0.5, 0.3), colors)
        self.cells_ = drawing.draw_cells(ax, grid, facecolors=colors, edgecolors=edges)
        is_mixed = self.confidences is not None and (self.confidences[~is_empty] < 1).any()
        drawing.frame_map(
            ax, self.cells_, title=f"{self.name} (pale: mixed)" if is_mixed else self.name
        )
        self.legend_ = None
        if legend:
            self.legend_ = drawing.add_class_legend(ax, self.classes, palette, grid, is_own=is_own)
        self.borders_ = drawing.draw_borders(ax, grid, labels, paper)
        self.texts_ = []  # last: what stands around the map decides its scale
        if texts:
            names = ["" if k < 0 else self.classes[k] for k in labels]
            self.texts_ = drawing.draw_texts(ax, grid.positions(), names, colors)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _paler(
    colors: NDArray, confidences: NDArray, n_classes: int, paper: Any
) -> NDArray[np.float64]:
    """Blend colors with the paper: all of it left at 1, least where all are equally many."""
    from matplotlib.colors import to_rgb

    least = 1 / max(2, n_classes)
    strengths = _PALEST + (1 - _PALEST) * np.clip((confidences - least) / (1 - least), 0, 1)
    return strengths[:, None] * colors + (1 - strengths[:, None]) * np.array([*to_rgb(paper), 1.0])

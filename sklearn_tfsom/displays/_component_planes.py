"""Component planes: what each feature is on the map, one small map for each."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._validation import InvalidParameterError
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays import _reading as reading
from sklearn_tfsom.displays import _small_multiples as multiples
from sklearn_tfsom.metrics._reading import check_fitted_grid

# Planes that are drawn where nobody says which.
_MOST_PLANES = 25


class ComponentPlanesDisplay:
    """Component planes: the values of each feature across the map, one small map for each.

    A unit is at the same place in all of them, so features that go together look alike. Use
    `from_estimator`.

    Parameters
    ----------
    planes : ndarray of shape (n_units, n_planes)
        Columns of the codebook, in data units.

    grid : Grid
        The units' places.

    names : sequence of str of length n_planes
        Names of the features.

    title : str, default="Component planes"
        Of a new figure.

    cluster_labels : ndarray of shape (n_units,), default=None
        Cluster of each unit: borders are drawn between clusters.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, shape (n_planes,)
        Where the planes were drawn.

    figure_ : matplotlib Figure
        Their figure.

    cells_ : list of matplotlib PolyCollection
        Of each plane one: the cell of a unit, drawn at the place of each.

    borders_ : list of matplotlib LineCollection
        Of each plane the borders between clusters; none where there are no clusters.

    color_bars_ : list of matplotlib Colorbar
        Of each plane one, or one where they share a scale; none if not wanted.

    See Also
    --------
    CodeVectorsDisplay : All features of a unit in its cell.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.displays import ComponentPlanesDisplay
    >>> X = load_iris(as_frame=True).data
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> display = ComponentPlanesDisplay.from_estimator(som)
    >>> display.names
    ['sepal length (cm)', 'sepal width (cm)', 'petal length (cm)', 'petal width (cm)']
    """

    def __init__(
        self,
        planes: NDArray,
        grid: Grid,
        names: Sequence[str],
        *,
        title: str = "Component planes",
        cluster_labels: NDArray | None = None,
    ) -> None:
        self.planes = planes
        self.grid = grid
        self.names = names
        self.title = title
        self.cluster_labels = cluster_labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        features: Any = None,
        put_similar_together: bool = False,
        share_scale: bool = False,
        axes: Any = None,
        cmap: Any = "viridis",
        border_color: Any = "white",
        color_bar: bool = True,
    ) -> ComponentPlanesDisplay:
        """Draw the component planes of a fitted map.

        Where the map has clusters (`n_clusters`), their borders are drawn on top.

        Parameters
        ----------
        estimator : TFSOM
            A fitted map.

        X, y : None
            Ignored: all displays are called alike.

        features : sequence of int or str, default=None
            Which features, by index or name, in this order. None is all of them, or, where there
            are more than 25, those 25 whose values vary most across the map.

        put_similar_together : bool, default=False
            Whether planes that look alike are put side by side: the order of the leaves of a
            hierarchical clustering of the planes by their correlation [1]_. By default they come
            as the features do.

        share_scale : bool, default=False
            Whether all planes have one color scale; by default each has its own.

        axes : array-like of matplotlib Axes, default=None
            Where to draw, one for each plane at least; by default in a new figure.

        cmap : str or Colormap, default="viridis"
            Colors.

        border_color : color, default="white"
            Of the borders between clusters.

        color_bar : bool, default=True
            Whether there are color bars.

        Returns
        -------
        display : ComponentPlanesDisplay

        Raises
        ------
        InvalidParameterError
            Where `features` names one that there is not, or `axes` are too few.

        References
        ----------
        .. [1] Bar-Joseph, Gifford, Jaakkola (2001): Fast optimal leaf ordering for hierarchical
           clustering. Bioinformatics 17, S22-S29.
        """
        display = cls._read(estimator, features, put_similar_together)
        return display.plot(
            axes,
            share_scale=share_scale,
            cmap=cmap,
            border_color=border_color,
            color_bar=color_bar,
        )

    @classmethod
    def _read(
        cls,
        estimator: Any,
        features: Any = None,
        put_similar_together: bool = False,
        most: int = _MOST_PLANES,
    ) -> ComponentPlanesDisplay:
        """Choose what is drawn."""
        grid = check_fitted_grid(estimator)
        names, codebook = reading.feature_names(estimator), estimator.codebook_
        title = "Component planes"
        if features is not None:
            chosen = _check_features(features, names)
        elif len(names) <= most:
            chosen = np.arange(len(names))
        else:
            chosen = _most_varied(codebook, most)
            title += f": the {len(chosen)} of {len(names)} features that vary most"
        if put_similar_together:
            chosen = chosen[_similar_together(codebook[:, chosen])]
        return cls(
            codebook[:, chosen],
            grid,
            [names[k] for k in chosen],
            title=title,
            cluster_labels=(
                estimator.cluster_labels_ if reading.has_clusters(estimator) else None
            ),
        )

    def plot(
        self,
        axes: Any = None,
        *,
        share_scale: bool = False,
        cmap: Any = "viridis",
        border_color: Any = "white",
        color_bar: bool = True,
    ) -> ComponentPlanesDisplay:
        """Draw the picture.

        Parameters
        ----------
        axes : array-like of matplotlib Axes, default=None
            Where to draw, one for each plane at least; by default in a new figure.

        share_scale : bool, default=False
            Whether all planes have one color scale; by default each has its own.

        cmap : str or Colormap, default="viridis"
            Colors.

        border_color : color, default="white"
            Of the borders between clusters.

        color_bar : bool, default=True
            Whether there are color bars.

        Returns
        -------
        self : ComponentPlanesDisplay

        Raises
        ------
        InvalidParameterError
            Where `axes` are too few.
        """
        drawing.import_pyplot()
        grid, planes = self.grid, np.asarray(self.planes)
        is_wide = drawing.is_wide(grid)
        has_own_bars = color_bar and not share_scale
        ticks = [multiples.choose_ticks(values) for values in planes.T] if has_own_bars else []
        is_new = axes is None
        if is_new:
            axes = multiples.new_axes(
                grid, self.names, self.title, ticks, color_bar and share_scale
            )
        self.axes_ = _check_axes(axes, planes.shape[1])
        self.figure_ = self.axes_[0].figure
        self.cells_, self.borders_, self.color_bars_ = [], [], []
        for k, (ax, values) in enumerate(zip(self.axes_, planes.T, strict=True)):
            cells = _draw_plane(
                ax, grid, values, cmap, multiples.color_limits(planes if share_scale else values)
            )
            drawing.frame_map(ax, grid)
            title = "\n".join(multiples.title_lines(self.names[k], multiples.plane_width(ax)))
            ax.set_title(title, fontsize=multiples.TITLE_SIZE, parse_math=False)
            self.cells_.append(cells)
            if self.cluster_labels is not None:
                borders = drawing.draw_borders(ax, grid, self.cluster_labels, border_color)
                borders.set_linewidth(min(1.5, borders.get_linewidth()[0]))
                self.borders_.append(borders)
            if has_own_bars:
                bar = drawing.add_color_bar(ax, cells, "", is_below=is_wide)
                bar.set_ticks(ticks[k][0], labels=ticks[k][1])
                bar.ax.tick_params(labelsize=multiples.TICK_SIZE, length=2, pad=2)
                self.color_bars_.append(bar)
        if color_bar and share_scale:
            bar = self.figure_.colorbar(
                self.cells_[0],
                ax=list(self.axes_),
                label="data units",
                fraction=multiples.BAR_SHARE,
                pad=multiples.BAR_PAD,
                aspect=40,
            )
            bar.outline.set_visible(False)
            self.color_bars_ = [bar]
        if is_new:
            for ax in self.axes_:
                ax.set_anchor("N" if is_wide else "NW")  # color bars move it
        return self


def _check_features(features: Any, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the indices of features that are given by index or name."""
    chosen = []
    for feature in [features] if np.ndim(features) == 0 else features:
        k = -1
        if isinstance(feature, str) and feature in names:
            k = names.index(feature)
        elif isinstance(feature, Integral) and not isinstance(feature, bool):
            k = int(feature)
        if not 0 <= k < len(names):
            raise InvalidParameterError(
                f"features must hold names of features, or indices from 0 to {len(names) - 1}. "
                f"Got {feature!r} instead."
            )
        chosen.append(k)
    if not chosen:
        raise InvalidParameterError("features must hold at least one feature. Got none instead.")
    return np.array(chosen)


def _check_axes(axes: Any, n_planes: int) -> NDArray:
    """Return the axes for the planes, in a row."""
    given = np.ravel(np.asarray(axes, dtype=object))
    if len(given) < n_planes:
        raise InvalidParameterError(
            f"axes must hold one for each of the {n_planes} planes. Got {len(given)} instead."
        )
    return given[:n_planes]


def _most_varied(codebook: NDArray, n_features: int) -> NDArray[np.int64]:
    """Features with the largest variance across the map, in their own order."""
    variances = codebook.astype(np.float64).var(axis=0)
    return np.sort(np.argsort(-variances, kind="stable")[:n_features])


def _similar_together(planes: NDArray) -> NDArray[np.int64]:
    """Order of planes, (n_planes,), in which neighbors are correlated; flat ones come last."""
    spread = planes - planes.astype(np.float64).mean(axis=0)
    norms = np.linalg.norm(spread, axis=0)
    is_flat = np.array([multiples.is_flat(plane) for plane in planes.T])
    (varied,) = np.nonzero(~is_flat)
    if len(varied) > 2:
        directions = spread[:, varied] / norms[varied]
        distances = np.clip(1 - directions.T @ directions, 0, 2)
        np.fill_diagonal(distances, 0)
        apart = squareform(distances, checks=False)
        varied = varied[leaves_list(linkage(apart, "average", optimal_ordering=True))]
    return np.concatenate([varied, np.nonzero(is_flat)[0]])


def _draw_plane(
    ax: Any, grid: Grid, values: NDArray, cmap: Any, limits: tuple[float, float]
) -> Any:
    """Draw the cells as one collection: one cell at many places, since planes are many."""
    from matplotlib.collections import PolyCollection
    from matplotlib.transforms import AffineDeltaTransform

    cells = PolyCollection(
        [drawing.cell_corners(grid.is_hexagonal)],
        offsets=grid.positions(),
        offset_transform=AffineDeltaTransform(ax.transData),
        edgecolors="face",
        linewidths=0.3,
        cmap=cmap,
    )
    cells.set_array(values)
    cells.set_clim(*limits)
    return ax.add_collection(cells, autolim=False)

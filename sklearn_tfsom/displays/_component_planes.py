"""The component planes of a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._pipelines import Unwrapped, in_original_units
from sklearn_tfsom._validation import wrong_parameter
from sklearn_tfsom.displays import _base as base
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays import _small_multiples as multiples

# Number of planes that are drawn if no features are given.
_MAX_PLANES = 25

# Width of the borders between clusters, in points.
_MAX_BORDER_WIDTH = 1.5


@base.documented
@dataclass(eq=False, repr=False)
class ComponentPlanesDisplay(base.Display):
    """Component planes: values of each feature across the map, one small map per feature.

    Planes of correlated features look alike. Create it with `from_estimator`.

    Read more in the :ref:`User Guide <guide_component_planes>`.

    Parameters
    ----------
    planes : ndarray of shape (n_units, n_planes)
        Columns of the codebook, in data units.

    %(grid)s

    names : sequence of str of length n_planes
        Names of the features.

    title : str, default="Component planes"
        Title of a new figure.

    %(cluster_labels)s

    value_unit : str, default="data units"
        Unit of the values: of the original columns, "of directions" with the metrics "cosine" and
        "correlation", or "after" and the steps of a pipeline that have no inverse.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, shape (n_planes,)
        Axes of the planes.

    %(figure_)s

    cells_ : list of matplotlib PolyCollection
        Cells of each plane: a single cell, drawn at the positions of all units.

    borders_ : list of matplotlib LineCollection
        Borders between clusters on each plane, empty without clusters.

    colorbars_ : list of matplotlib Colorbar
        Color bar of each plane, or a single one for a common scale.

    See Also
    --------
    CodeVectorsDisplay : All features of each unit.

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

    _has_many_axes = True

    planes: NDArray
    grid: Grid
    names: Sequence[str]
    _: KW_ONLY
    title: str = "Component planes"
    cluster_labels: NDArray | None = None
    value_unit: str = "data units"

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        features: Any = None,
        put_similar_together: bool = False,
        ax: Any = None,
        share_scale: bool = False,
        cmap: Any = "viridis",
        border_color: Any = "white",
        colorbar: bool = True,
    ) -> Self:
        """Draw the component planes of a fitted map.

        Parameters
        ----------
        %(estimator, X_y)s

        features : sequence of int or str, default=None
            Indices or names of the features to draw, in this order. None is all features, or
            the 25 with the largest variance across the map if there are more; behind a scaler, of
            the scaled values.

        put_similar_together : bool, default=False
            Whether to order the planes so that similar ones are side by side: as the leaves of a
            hierarchical clustering of the planes by their correlation [1]_.

        %(plot_parameters)s

        %(returns)s

        References
        ----------
        .. [1] Bar-Joseph, Gifford, Jaakkola (2001): Fast optimal leaf ordering for hierarchical
           clustering. Bioinformatics 17, S22-S29.
        """
        display = cls._compute(cls._unwrap(estimator)[0], features, put_similar_together)
        style = {"cmap": cmap, "border_color": border_color, "colorbar": colorbar}
        return display.plot(ax=ax, share_scale=share_scale, **style)

    @classmethod
    def _compute(
        cls,
        fitted: Unwrapped,
        features: Any = None,
        put_similar_together: bool = False,
        max_planes: int = _MAX_PLANES,
    ) -> Self:
        """Select the values to draw."""
        codebook, names, value_unit, variances = in_original_units(fitted)
        title = "Component planes"
        if value_unit != "data units":
            title += f" {value_unit}"
        if features is not None:
            selected = np.array(cls._check_features(features, names))
        elif len(names) <= max_planes:
            selected = np.arange(len(names))
        else:
            selected = np.sort(np.argsort(-variances, kind="stable")[:max_planes])
            title += f": the {len(selected)} of {len(names)} features that vary most"
        if put_similar_together:
            selected = selected[_similarity_order(codebook[:, selected])]
        return cls(
            codebook[:, selected],
            grid_of(fitted.som),
            [names[k] for k in selected],
            title=title,
            cluster_labels=base.cluster_labels(fitted.som),
            value_unit=value_unit,
        )

    def plot(
        self,
        *,
        ax: Any = None,
        share_scale: bool = False,
        cmap: Any = "viridis",
        border_color: Any = "white",
        colorbar: bool = True,
    ) -> Self:
        """Draw the component planes.

        Parameters
        ----------
        ax : array-like of matplotlib Axes, default=None
            Axes to draw on, at least one for each plane, None for those of a new figure.

        share_scale : bool, default=False
            Whether all planes have the same color scale.

        %(cmap, border_color, colorbar)s

        %(returns)s
        """
        grid, planes, names = self.grid, np.asarray(self.planes), list(self.names)
        has_own_bars, has_common_bar = colorbar and not share_scale, colorbar and share_scale
        ticks = [multiples.choose_ticks(values) for values in planes.T] if has_own_bars else []
        is_new = ax is None
        if is_new:
            ax = multiples.new_plane_axes(
                grid, names, self.title, ticks, has_common_bar=has_common_bar
            )
        axes = self._check_axes(ax, names, allow_more=True)
        if has_common_bar and len({axis.figure for axis in axes}) > 1:
            right = "Axes of one figure, for the color bar of share_scale=True"
            raise wrong_parameter("ax", "ComponentPlanesDisplay.plot", right, "those of several")
        self.axes_, self.figure_ = axes, axes[0].figure
        self.cells_, self.borders_, self.colorbars_ = [], [], []
        share_of_planes = multiples.SHARE_OF_PLANES if has_common_bar else 1.0
        common = drawing.robust_limits(planes) if share_scale else None
        for k, (axis, values) in enumerate(zip(self.axes_, planes.T, strict=True)):
            low, high, extend = common or drawing.robust_limits(values)
            cells = _draw_plane(axis, grid, values, cmap, (low, high))
            drawing.set_map_limits(axis, grid)
            width = drawing.axes_size(axis)[0] * share_of_planes
            title = "\n".join(multiples.title_lines(names[k], width))
            # Beside a narrow map is its color bar, and space for the title.
            at = {} if drawing.is_wide(grid) else {"x": 0.0, "ha": "left"}
            axis.set_title(title, fontsize=multiples.TITLE_SIZE, parse_math=False, **at)
            self.cells_.append(cells)
            if self.cluster_labels is not None:
                borders = drawing.draw_borders(
                    axis, grid, self.cluster_labels, border_color, max_width=_MAX_BORDER_WIDTH
                )
                self.borders_.append(borders)
            if has_own_bars:
                bar = drawing.add_colorbar(axis, cells, "", grid, extend=extend)
                bar.set_ticks(ticks[k][0], labels=ticks[k][1])
                bar.ax.tick_params(labelsize=multiples.TICK_SIZE, length=2, pad=2)
                self.colorbars_.append(bar)
        if has_common_bar:
            bar = self.figure_.colorbar(
                self.cells_[0],
                ax=list(self.axes_),
                label=self.value_unit,
                fraction=multiples.BAR_FRACTION,
                pad=multiples.BAR_PAD,
                aspect=40,
                extend=extend,
            )
            bar.outline.set_visible(False)
            self.colorbars_ = [bar]
        if is_new:
            for axis in self.axes_:
                # Color bars change it.
                axis.set_anchor("N" if drawing.is_wide(grid) else "NW")
            if has_common_bar:
                multiples.widen_figure(self.colorbars_[0].ax)
        return self


def _similarity_order(planes: NDArray) -> NDArray[np.int64]:
    """Return an order of planes in which neighbors are correlated, and constant ones are last."""
    is_constant = np.array([drawing.is_constant(plane) for plane in planes.T])
    is_constant |= ~np.isfinite(planes).all(axis=0)
    (varying,) = np.nonzero(~is_constant)
    if len(varying) > 2:
        deviations = planes[:, varying].astype(np.float64)
        for _ in range(2):  # after the first division the mean stays in range, then the squares
            deviations /= np.abs(deviations).max(axis=0)
            deviations -= deviations.mean(axis=0)
        directions = deviations / np.linalg.norm(deviations, axis=0)
        distances = np.clip(1 - directions.T @ directions, 0, 2)
        np.fill_diagonal(distances, 0)
        condensed = squareform(distances, checks=False)
        varying = varying[leaves_list(linkage(condensed, "average", optimal_ordering=True))]
    return np.concatenate([varying, np.nonzero(is_constant)[0]])


def _draw_plane(
    ax: Any, grid: Grid, values: NDArray, cmap: Any, limits: tuple[float, float]
) -> Any:
    """Draw a plane as one cell at many positions, which is fast for many planes."""
    from matplotlib.transforms import AffineDeltaTransform

    return drawing.draw_polygons(
        ax,
        [drawing.cell_corners(grid)],
        offsets=grid.positions(),
        offset_transform=AffineDeltaTransform(ax.transData),
        edgecolors="face",
        linewidths=0.3,
        cmap=cmap,
        array=values,
        clim=limits,
    )

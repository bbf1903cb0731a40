"""Code vectors: what each unit stands for, drawn in its cell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._validation import InvalidParameterError, choice
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays import _reading as reading
from sklearn_tfsom.metrics._reading import check_argument, check_fitted_grid

_KINDS = ("auto", "image", "line", "color")

# Width and height of a curve, in lattice spacings: it stays within a hexagon.
_LINE_SIZE = (0.7, 0.6)

# Longer side of an image, at least, as it is drawn.
_FEWEST_PIXELS = 24

# By how much of all values' range colors may be out of theirs: by rounding, mostly.
_COLOR_SLACK = 0.01


class CodeVectorsDisplay:
    """Code vectors: what each unit stands for, as an image, a curve or a color in its cell.

    Use `from_estimator`.

    Parameters
    ----------
    codebook : ndarray of shape (n_units, n_features)
        Code vectors, in data units.

    grid : Grid
        The units' places.

    kind : {"auto", "image", "line", "color"}, default="auto"
        How a code vector is drawn, see `from_estimator`.

    image_shape : tuple (height, width) or (height, width, 3), default=None
        Shape of a code vector as an image.

    cluster_labels : ndarray of shape (n_units,), default=None
        Cluster of each unit: borders are drawn between clusters.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the picture was drawn.

    figure_ : matplotlib Figure
        Its figure.

    images_ : list of matplotlib AxesImage
        The code vectors as images: one image for each row of units.

    lines_ : matplotlib LineCollection or None
        The code vectors as curves, one line for each unit.

    cells_ : matplotlib PolyCollection or None
        The units' cells: the code vectors as colors, or outlines around curves.

    borders_ : matplotlib LineCollection or None
        Borders between clusters.

    See Also
    --------
    ComponentPlanesDisplay : One feature of all units.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.displays import CodeVectorsDisplay
    >>> som = TFSOM(grid_size=(8, 10)).fit(load_digits().data)
    >>> display = CodeVectorsDisplay.from_estimator(som, image_shape=(8, 8))
    >>> len(display.images_)
    8
    """

    def __init__(
        self,
        codebook: NDArray,
        grid: Grid,
        *,
        kind: str = "auto",
        image_shape: tuple[int, ...] | None = None,
        cluster_labels: NDArray | None = None,
    ) -> None:
        self.codebook = codebook
        self.grid = grid
        self.kind = kind
        self.image_shape = image_shape
        self.cluster_labels = cluster_labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        kind: str = "auto",
        image_shape: tuple[int, ...] | None = None,
        ax: Any = None,
        cmap: Any = "gray",
        color: Any = "C0",
        border_color: Any = "C1",
    ) -> CodeVectorsDisplay:
        """Draw the code vectors of a fitted map.

        All units share one scale. Where the map has clusters (`n_clusters`), their borders are
        drawn on top.

        Parameters
        ----------
        estimator : TFSOM
            A fitted map.

        X, y : None
            Ignored: all displays are called alike.

        kind : {"auto", "image", "line", "color"}, default="auto"
            "image" draws a code vector as an image of `image_shape`, "line" as a curve over the
            features, "color" fills the cell with it, its three features being red, green and blue
            in [0, 1] or [0, 255]. "auto" is "image" where there is an `image_shape`, "color"
            where there are three features in [0, 1], and "line" otherwise.

        image_shape : tuple (height, width) or (height, width, 3), default=None
            Shape of a code vector as an image; with 3 as its last number of a colored one, in
            [0, 1] or [0, 255].

        ax : matplotlib Axes, default=None
            Where to draw; by default in a new figure.

        cmap : str or Colormap, default="gray"
            Colors of images that are not colored.

        color : color, default="C0"
            Of curves.

        border_color : color, default="C1"
            Of the borders between clusters.

        Returns
        -------
        display : CodeVectorsDisplay

        Raises
        ------
        InvalidParameterError
            Where `kind` is none of these, or the code vectors are no images of this shape or no
            colors.
        """
        grid = check_fitted_grid(estimator)
        display = cls(
            estimator.codebook_,
            grid,
            kind=kind,
            image_shape=image_shape,
            cluster_labels=(
                estimator.cluster_labels_ if reading.has_clusters(estimator) else None
            ),
        )
        return display.plot(ax, cmap=cmap, color=color, border_color=border_color)

    def plot(
        self,
        ax: Any = None,
        *,
        cmap: Any = "gray",
        color: Any = "C0",
        border_color: Any = "C1",
    ) -> CodeVectorsDisplay:
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default in a new figure.

        cmap : str or Colormap, default="gray"
            Colors of images that are not colored.

        color : color, default="C0"
            Of curves.

        border_color : color, default="C1"
            Of the borders between clusters.

        Returns
        -------
        self : CodeVectorsDisplay

        Raises
        ------
        InvalidParameterError
            Where `kind` is none of these, or the code vectors are no images of this shape or no
            colors.
        """
        drawing.import_pyplot()
        grid, codebook = self.grid, np.asarray(self.codebook, dtype=np.float64)
        kind = _check_kind(self.kind, self.image_shape, codebook)
        low, high = float(codebook.min()), float(codebook.max())
        title = f"Code vectors (from {_rounded(low, high - low)} to {_rounded(high, high - low)})"
        if kind == "image":
            images = _check_images(self.image_shape, codebook)
            if images.ndim == 4:
                images, title = _as_colors(images), "Code vectors"
        elif kind == "color":
            colors, title = _as_colors(codebook), "Code vectors"

        ax = drawing.new_map_axes(grid, room=0.3) if ax is None else ax
        drawing.frame_map(ax, grid, title=title)
        self.images_: list[Any] = []
        self.lines_ = self.cells_ = self.borders_ = None
        spacing = drawing.points_per_spacing(ax)
        if kind == "image":
            self.images_ = _draw_images(ax, grid, images, cmap=cmap, vmin=low, vmax=high)
        elif kind == "line":
            self.cells_ = drawing.draw_outlines(ax, grid)
            self.lines_ = _draw_lines(ax, grid, codebook, color, spacing)
        else:
            self.cells_ = drawing.draw_cells(ax, grid, facecolors=colors)
        if self.cluster_labels is not None:
            self.borders_ = drawing.draw_borders(ax, grid, self.cluster_labels, border_color)
            self.borders_.set_linewidth(np.clip(0.1 * spacing, 0.4, 2))
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _check_kind(kind: str, image_shape: Any, codebook: NDArray) -> str:
    """Return the kind of picture, chosen where it is "auto"."""
    check_argument("kind", kind, choice(_KINDS))
    n_features = codebook.shape[1]
    if kind == "auto":
        if image_shape is not None:
            return "image"
        is_color = n_features == 3 and _is_within(codebook, 1)
        return "color" if is_color else "line"
    if kind == "color" and n_features != 3:
        raise InvalidParameterError(
            "kind='color' takes a map with three features, red, green and blue. Got one with "
            f"{n_features} instead."
        )
    return kind


def _check_images(image_shape: Any, codebook: NDArray) -> NDArray[np.float64]:
    """Return the code vectors as images, (n_units, height, width) or (..., 3)."""
    n_features = codebook.shape[1]
    shape = () if image_shape is None else tuple(np.ravel(image_shape).tolist())
    is_shape = all(isinstance(n, int) and n > 0 for n in shape)
    is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
    if not (is_shape and is_image and math.prod(shape) == n_features):
        raise InvalidParameterError(
            "image_shape must be (height, width) or (height, width, 3), as many values as there "
            f"are features, {n_features}. Got {image_shape!r} instead."
        )
    return codebook.reshape(-1, *shape)


def _rounded(value: float, range_: float) -> str:
    """Return a number as a text, 0 where it is one but for rounding."""
    text = f"{value:.3g}" if abs(value) > 1e-9 * range_ else "0"
    return text.replace("-", "\N{MINUS SIGN}")


def _is_within(values: NDArray, full: int) -> bool:
    slack = _COLOR_SLACK * np.ptp(values)
    return bool(values.min() >= -slack and values.max() <= full + slack)


def _as_colors(values: NDArray) -> NDArray[np.float64]:
    """Return red, green and blue in [0, 1] of values in [0, 1] or in [0, 255]."""
    for full in (1, 255):
        if _is_within(values, full):
            return np.clip(values / full, 0, 1)
    raise InvalidParameterError(
        "Red, green and blue must lie in [0, 1] or in [0, 255]. Got code vectors from "
        f"{values.min():.3g} to {values.max():.3g} instead."
    )


def _draw_images(ax: Any, grid: Grid, images: NDArray[np.float64], **style: Any) -> list[Any]:
    """Draw images (n_units, height, width) or (..., 3), a row of units as one."""
    # Small images in larger pixels, so that the gaps between them need not be as wide as one.
    times = math.ceil(_FEWEST_PIXELS / max(images.shape[1:3]))
    images = images.repeat(times, axis=1).repeat(times, axis=2)
    height, width = images.shape[1:3]
    row_height = math.sqrt(3) / 2 if grid.is_hexagonal else 1.0
    # A lattice spacing in pixels, which are square.
    gap = max(1, round(0.1 * max(height, width)))
    spacing = math.ceil(max(width + gap, (height + gap) / row_height))
    strips = np.zeros((grid.n_rows, height, grid.n_columns, spacing, *images.shape[3:]))
    by_place = images.reshape(*grid.shape, *images.shape[1:])
    strips[:, :, :, :width] = by_place.swapaxes(1, 2)
    strips = strips.reshape(grid.n_rows, height, grid.n_columns * spacing, *images.shape[3:])
    is_gap = np.arange(grid.n_columns * spacing) % spacing >= width
    artists = []
    for strip, (x, y) in zip(strips, grid.positions()[:: grid.n_columns], strict=True):
        if strip.ndim == 3:
            alpha = np.broadcast_to(~is_gap, strip.shape[:2])
            strip = np.dstack([strip, alpha])
        else:
            strip = np.ma.masked_array(strip, np.broadcast_to(is_gap, strip.shape))
        left, half = x - width / spacing / 2, height / spacing / 2
        extent = (left, left + grid.n_columns, y + half, y - half)
        artists.append(ax.imshow(strip, extent=extent, **style))
    drawing.frame_map(ax, grid)  # imshow has fitted the axes to the last image
    return artists


def _draw_lines(
    ax: Any, grid: Grid, codebook: NDArray[np.float64], color: Any, spacing: float
) -> Any:
    """Draw the code vectors as curves, as one collection."""
    from matplotlib.collections import LineCollection

    if codebook.shape[1] == 1:  # a level
        codebook = np.repeat(codebook, 2, axis=1)
    low, range_ = codebook.min(), np.ptp(codebook)
    heights = (codebook - low) / range_ - 0.5 if range_ > 0 else np.zeros_like(codebook)
    width, height = _LINE_SIZE
    x = np.broadcast_to(np.linspace(-width / 2, width / 2, codebook.shape[1]), codebook.shape)
    # The vertical axis points down.
    curves = grid.positions()[:, None] + np.stack([x, -height * heights], axis=2)
    # Thinner where there are many features, or else the curve would fill its cell.
    line_width = np.clip(min(0.04, 1.5 / codebook.shape[1]) * spacing, 0.3, 1.6)
    return ax.add_collection(
        LineCollection(curves, colors=[color], linewidths=line_width, joinstyle="round")
    )

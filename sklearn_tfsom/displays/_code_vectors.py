"""The code vectors of the units, drawn in their cells."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.scaling import power_of_two
from sklearn_tfsom._map.geometry import row_height
from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._pipelines import in_original_units
from sklearn_tfsom._validation import (
    InvalidParameterError,
    check_value,
    choice,
    shown,
    wrong_parameter,
)
from sklearn_tfsom.displays import _base as base
from sklearn_tfsom.displays import _drawing as drawing

_KINDS = ("auto", "image", "line", "color")

# Width and height of a curve, in lattice spacings, in hexagons and in squares.
_HEXAGONAL_CURVE, _SQUARE_CURVE = (0.86, 0.64), (0.9, 0.86)

# Square images have at least five pixels a side. Minimum correlation of pixels one above the
# other, and its minimum excess over that of pixels half a row apart, which in curves is higher.
_MIN_SIDE, _LEAST_CORRELATION, _MORE_CORRELATED = 5, 0.2, 0.05

# Smallest longer side of an image, in pixels. Smaller images are enlarged by whole factors.
_MIN_PIXELS = 24

# Share of the range of all values, and of the largest color, by which colors may exceed theirs
# because of rounding.
_COLOR_TOLERANCE, _ROUNDING = 0.01, 1e-6


@base.documented
@dataclass(eq=False, repr=False)
class CodeVectorsDisplay(base.Display):
    """Code vectors: code vector of each unit as an image, a curve or a color.

    Create it with `from_estimator`.

    Read more in the :ref:`User Guide <guide_displays>`.

    Parameters
    ----------
    codebook : ndarray of shape (n_units, n_features)
        Code vectors, in data units.

    %(grid)s

    kind : {"auto", "image", "line", "color"}, default="auto"
        How code vectors are drawn, see `from_estimator`.

    image_shape : tuple (height, width) or (height, width, 3), default=None
        Shape of a code vector as an image.

    %(cluster_labels)s

    value_unit : str, default="data units"
        Unit of the values: of the original columns, "of directions" with the metrics "cosine" and
        "correlation", or "after" and the steps of a pipeline that have no inverse.

    Attributes
    ----------
    %(ax_, figure_)s

    images_ : list of matplotlib AxesImage
        Code vectors as images, one image for each row of units.

    lines_ : matplotlib LineCollection or None
        Code vectors as curves, one line for each unit.

    cells_ : matplotlib PolyCollection or None
        Code vectors as colors, or the outlines of cells with curves.

    %(borders_)s

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

    codebook: NDArray
    grid: Grid
    _: KW_ONLY
    kind: str = "auto"
    image_shape: tuple[int, ...] | None = None
    cluster_labels: NDArray | None = None
    value_unit: str = "data units"

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
        share_scale: bool = True,
        cmap: Any = "gray",
        color: Any = "C0",
        border_color: Any = "C1",
    ) -> Self:
        """Draw the code vectors of a fitted map.

        Parameters
        ----------
        %(estimator, X_y)s

        kind : {"auto", "image", "line", "color"}, default="auto"
            "image" draws images of `image_shape`, "line" curves over the features, and "color"
            three features in [0, 1] or [0, 255] as red, green and blue. "auto" is "image" with
            an `image_shape` and for what looks like square images, "color" for three features
            in [0, 1], and "line" otherwise.

        image_shape : tuple (height, width) or (height, width, 3), default=None
            Shape of a code vector as an image. Values of color images, which have 3 channels,
            must be in [0, 1] or [0, 255].

        %(plot_parameters)s

        %(returns)s
        """
        fitted, _ = cls._unwrap(estimator)
        columns = in_original_units(fitted)
        display = cls(
            columns.values,
            grid_of(fitted.som),
            kind=kind,
            image_shape=image_shape,
            cluster_labels=base.cluster_labels(fitted.som),
            value_unit=columns.value_unit,
        )
        style = {"cmap": cmap, "color": color, "border_color": border_color}
        return display.plot(ax=ax, share_scale=share_scale, **style)

    def plot(
        self,
        *,
        ax: Any = None,
        share_scale: bool = True,
        cmap: Any = "gray",
        color: Any = "C0",
        border_color: Any = "C1",
    ) -> Self:
        """Draw the code vectors.

        Parameters
        ----------
        %(ax)s

        share_scale : bool, default=True
            Whether all units have the same scale, or each that of its own values. Colors keep
            theirs.

        cmap : str or Colormap, default="gray"
            Colormap of images without color channels.

        color : color, default="C0"
            Color of curves.

        border_color : color, default="C1"
            Color of the borders between clusters.

        %(returns)s
        """
        grid, codebook = self.grid, np.asarray(self.codebook, dtype=np.float64)
        kind, title = self._resolved_kind(codebook), "Code vectors"
        if self.value_unit != "data units":
            title += f" {self.value_unit}"
        if kind == "image" and self.image_shape is None and _are_square_images(codebook):
            side = math.isqrt(codebook.shape[1])
            images = codebook.reshape(-1, side, side)
        else:
            images = self._as_images(codebook) if kind == "image" else codebook
        has_colors = kind == "color" or images.ndim == 4
        # Values that cannot be turned back are NaN.
        low, high = map(float, _known_range(codebook))
        if has_colors:
            images = self._as_colors(images)
        elif share_scale:
            first, last = (drawing.rounded(value, high - low) for value in (low, high))
            title += f" (from {first} to {last})"
        else:
            title += " (each with its own scale)"
            images = _scaled_alone(images)
            low, high = 0.0, 1.0
        ax = drawing.new_map_axes(grid) if ax is None else ax
        drawing.set_map_limits(ax, grid, title=title)
        self.images_: list[Any] = []
        self.lines_ = self.cells_ = None
        if kind == "image":
            self.images_ = _draw_images(ax, grid, images, cmap=cmap, vmin=low, vmax=high)
        elif kind == "line":
            self.cells_ = drawing.draw_outlines(ax, grid)
            self.lines_ = _draw_curves(ax, grid, images, color)
        else:
            self.cells_ = drawing.draw_cells(ax, grid, facecolors=images)
        self.borders_ = drawing.draw_borders(ax, grid, self.cluster_labels, border_color)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _resolved_kind(self, codebook: NDArray) -> str:
        """Return the kind of picture, chosen if it is "auto"."""
        check_value("kind", self, self.kind, [choice(_KINDS)])
        n_features = codebook.shape[1]
        if self.image_shape is not None and self.kind not in ("auto", "image"):
            right = f"None with kind={self.kind!r}"
            raise wrong_parameter("image_shape", self, right, shown(self.image_shape))
        if self.kind == "auto":
            if self.image_shape is not None:
                return "image"
            if n_features == 3 and _is_within(codebook, 1):
                return "color"
            return "image" if _are_square_images(codebook) else "line"
        if self.kind == "color" and n_features != 3:
            raise InvalidParameterError(
                f"{type(self).__name__} with kind='color' needs a map with 3 features: red, green "
                f"and blue. Got {n_features} features instead."
            )
        return self.kind

    def _as_images(self, codebook: NDArray) -> NDArray[np.float64]:
        """Return the code vectors as images, shape (n_units, height, width) or (..., 3)."""
        n_features = codebook.shape[1]
        sizes = () if self.image_shape is None else np.array(self.image_shape, dtype=object)
        shape = tuple(np.ravel(sizes).tolist())
        has_sizes = all(isinstance(size, int | np.integer) and size > 0 for size in shape)
        has_form = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
        if not (has_sizes and has_form and math.prod(shape) == n_features):
            right = (
                "a tuple (height, width) or (height, width, 3) of ints whose product is the "
                f"number of features, {n_features}"
            )
            raise wrong_parameter("image_shape", self, right, shown(self.image_shape))
        return codebook.reshape(-1, *shape)

    def _as_colors(self, values: NDArray) -> NDArray[np.float64]:
        """Return red, green and blue in [0, 1] for values in [0, 1] or [0, 255]."""
        for maximum in (1, 255):
            if _is_within(values, maximum):
                return np.clip(values / maximum, 0, 1)
        raise InvalidParameterError(
            f"{type(self).__name__} needs colors in the range [0, 1] or [0, 255]. Got code "
            f"vectors in the range [{values.min():.3g}, {values.max():.3g}] instead."
        )


def _are_square_images(codebook: NDArray[np.float64]) -> bool:
    """Return True if features look like the pixels of square images, row by row.

    In an image pixels resemble those above them more than those half a row before them.
    """
    side = math.isqrt(codebook.shape[1])
    if side < _MIN_SIDE or side**2 != codebook.shape[1]:
        return False
    codebook = codebook / power_of_two(float(np.abs(codebook).max()))
    above, between = _correlation(codebook, side), _correlation(codebook, side // 2)
    return above > max(_LEAST_CORRELATION, between + _MORE_CORRELATED)


def _correlation(codebook: NDArray[np.float64], lag: int) -> float:
    """Return the correlation of values in a distance of `lag` features, over all units."""
    centered = codebook - codebook.mean(axis=1, keepdims=True)
    first, second = centered[:, :-lag].ravel(), centered[:, lag:].ravel()
    size = np.linalg.norm(first) * np.linalg.norm(second)
    return float(first @ second / size) if size > 0 else 0.0


def _scaled_alone(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale the values of each unit to the range from 0 to 1."""
    low, high = _known_range(values, axis=tuple(range(1, values.ndim)), keepdims=True)
    return (values - low) / np.where(high > low, high - low, 1)


def _known_range(values: NDArray[np.float64], **options: Any) -> tuple[Any, Any]:
    """Return the lowest and the highest value that is not NaN; NaN, without a warning, if none."""
    options = {"axis": None, **options}
    return np.fmin.reduce(values, **options), np.fmax.reduce(values, **options)


def _is_within(values: NDArray, maximum: int) -> bool:
    """Return True if values are between 0 and a maximum, within rounding."""
    tolerance = max(_COLOR_TOLERANCE * np.ptp(values), _ROUNDING * maximum)
    return bool(values.min() >= -tolerance and values.max() <= maximum + tolerance)


def _draw_images(ax: Any, grid: Grid, images: NDArray[np.float64], **style: Any) -> list[Any]:
    """Draw images of shape (n_units, height, width) or (..., 3), one artist per row of units."""
    # Enlarged, so that gaps of one pixel between them are not too wide.
    factor = math.ceil(_MIN_PIXELS / max(images.shape[1:3]))
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    height, width = images.shape[1:3]
    # Lattice spacing in pixels, which are square.
    gap = max(1, round(0.04 * max(height, width)))
    spacing = math.ceil(max(width + gap, (height + gap) / row_height(grid)))
    strips = np.zeros((grid.n_rows, height, grid.n_columns, spacing, *images.shape[3:]))
    by_row = images.reshape(*grid.shape, *images.shape[1:])
    strips[:, :, :, :width] = by_row.swapaxes(1, 2)
    strips = strips.reshape(grid.n_rows, height, grid.n_columns * spacing, *images.shape[3:])
    is_gap = np.arange(grid.n_columns * spacing) % spacing >= width
    artists = []
    for strip, (x, y) in zip(strips, grid.positions()[:: grid.n_columns], strict=True):
        if strip.ndim == 3:
            strip = np.dstack([strip, np.broadcast_to(~is_gap, strip.shape[:2])])
        else:
            strip = np.ma.masked_array(strip, np.broadcast_to(is_gap, strip.shape))
        left, half = x - width / spacing / 2, height / spacing / 2
        extent = (left, left + grid.n_columns, y + half, y - half)
        artists.append(ax.imshow(strip, extent=extent, origin="upper", **style))
    drawing.set_map_limits(ax, grid)  # imshow sets those of the last image
    return artists


def _draw_curves(ax: Any, grid: Grid, codebook: NDArray[np.float64], color: Any) -> Any:
    """Draw the code vectors as curves, as one collection."""
    if codebook.shape[1] == 1:  # a horizontal line
        codebook = np.repeat(codebook, 2, axis=1)
    low, high = _known_range(codebook)
    heights = (codebook - low) / (high - low) - 0.5 if high > low else np.zeros_like(codebook)
    width, height = _HEXAGONAL_CURVE if grid.is_hexagonal else _SQUARE_CURVE
    x = np.broadcast_to(np.linspace(-width / 2, width / 2, codebook.shape[1]), codebook.shape)
    # The vertical axis points down.
    curves = grid.positions()[:, None] + np.stack([x, -height * heights], axis=2)
    # Thinner with many features, so that the curve does not fill its cell.
    line_width = min(0.04, 1.5 / codebook.shape[1]) * drawing.points_per_spacing(ax)
    style = {"colors": [color], "linewidths": np.clip(line_width, 0.3, 1.6)}
    return drawing.draw_lines(ax, curves, joinstyle="round", **style)

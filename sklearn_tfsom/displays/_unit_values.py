"""Any variable on a map: its mean, or another statistic, in each unit."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._data.foreign import as_array
from sklearn_tfsom._data.scaling import power_of_two
from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._validation import choice
from sklearn_tfsom.displays import _base as base
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays._legends import EMPTY_COLOR, add_legend, empty_handle
from sklearn_tfsom.metrics._base import counted_units

_STATISTICS = ("mean", "median", "std", "count", "share")


@base.documented
@dataclass(eq=False, repr=False)
class UnitValuesDisplay(base.Display):
    """Values on the map: a statistic of any variable over the samples of each unit.

    The variable may be a target, or a feature that the map was not trained with. Units without
    samples of a known value are gray. Create it with `from_estimator`.

    Read more in the :ref:`User Guide <guide_unit_values>`.

    Parameters
    ----------
    values : ndarray of shape (n_units,)
        Value of each unit, NaN where none is known.

    %(grid)s

    label : str, default="value"
        Label of the color bar.

    title : str, default="Values"
        Title of the plot.

    %(cluster_labels)s

    Attributes
    ----------
    %(ax_, figure_, cells_, borders_, colorbar_, legend_)s

    See Also
    --------
    ComponentPlanesDisplay : Features of the code vectors.
    ClassMapDisplay : Classes instead of numbers.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.displays import UnitValuesDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> som = TFSOM(grid_size=(8, 5)).fit(X)
    >>> display = UnitValuesDisplay.from_estimator(som, X, y, statistic="median")
    >>> display.label, display.values.shape
    ('median', (40,))
    """

    values: NDArray[np.float64]
    grid: Grid
    _: KW_ONLY
    label: str = "value"
    title: str = "Values"
    cluster_labels: NDArray | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        values: ArrayLike,
        *,
        statistic: str = "mean",
        sample_weight: ArrayLike | None = None,
        ax: Any = None,
        cmap: Any = "viridis",
        border_color: Any = "white",
        clim: tuple[float, float] | None = None,
        colorbar: bool = True,
    ) -> Self:
        """Compute and draw a statistic of a variable in each unit of a fitted map.

        Parameters
        ----------
        %(estimator, X)s

        values : array-like of shape (n_samples,)
            The variable: numbers, NaN, None or NA for missing ones, which are left out. Booleans,
            or 0 and 1, for "share".

        statistic : {"mean", "median", "std", "count", "share"}, default="mean"
            Statistic of the values of each unit's samples; "count" is the weight of those that
            are known, "share" the share of True among them, and "std" divides by the total weight,
            not by one less.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample, None for 1.

        %(plot_parameters)s

        %(returns)s
        """
        cls._check_parameter("statistic", statistic, choice(_STATISTICS))
        fitted, X = cls._unwrap(estimator, X)
        numbers, bmus, weights = counted_units(
            fitted.som, X, sample_weight, lambda rows: cls._check_values(values, statistic, rows)
        )
        # A data frame has a column of this name, if anything.
        name = None if hasattr(values, "columns") else getattr(values, "name", None)
        if isinstance(name, str) and not name:  # an unnamed polars Series
            name = None
        grid = grid_of(fitted.som)
        display = cls(
            _by_unit(numbers, bmus, weights, statistic, grid.n_units),
            grid,
            label=statistic if name is None else f"{statistic} of {name}",
            title="Values" if name is None else str(name),
            cluster_labels=base.cluster_labels(fitted.som),
        )
        style = {"cmap": cmap, "border_color": border_color, "clim": clim, "colorbar": colorbar}
        return display.plot(ax=ax, **style)

    @classmethod
    def _check_values(
        cls, values: Any, statistic: str, is_counted: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the values of the samples that count as numbers, NaN for missing ones."""
        right = "an array-like of numbers, or of booleans for statistic='share'"
        given, n_samples = np.asarray(as_array(values, "values")), len(is_counted)
        if given.shape not in ((n_samples,), (n_samples, 1)):
            of_shape = f"of shape (n_samples,), {(n_samples,)}"
            raise cls._wrong_parameter("values", of_shape, f"shape {given.shape}")
        given = given.ravel()[is_counted]
        if given.dtype.kind in "mM":
            raise cls._wrong_parameter("values", right, f"dtype {given.dtype}")
        if given.dtype.kind not in "biuf":
            numbers = []
            for value in given.tolist():
                try:
                    numbers.append(_number(value))
                except (TypeError, ValueError, OverflowError):
                    raise cls._wrong_parameter("values", right, f"{value!r:.100}") from None
            given = np.array(numbers)
        given = given.astype(np.float64)
        known = given[~np.isnan(given)]
        too_large = known[np.abs(known) > drawing.LARGEST_SHOWN]
        if len(too_large):
            right += f", up to {drawing.LARGEST_SHOWN:.2g} in magnitude"
            raise cls._wrong_parameter("values", right, f"{too_large[0]:g}")
        if statistic == "share" and not np.isin(known, [0, 1]).all():
            wrong = known[~np.isin(known, [0, 1])][0]
            raise cls._wrong_parameter("values", "booleans, or 0 and 1, for a share", f"{wrong:g}")
        return given

    def plot(
        self,
        *,
        ax: Any = None,
        cmap: Any = "viridis",
        border_color: Any = "white",
        clim: tuple[float, float] | None = None,
        colorbar: bool = True,
    ) -> Self:
        """Draw the values.

        Parameters
        ----------
        %(ax, cmap, border_color, clim, colorbar)s

        %(returns)s
        """
        grid, values = self.grid, np.asarray(self.values, dtype=np.float64)
        is_new = ax is None
        ax = drawing.new_map_axes(grid, margin=1.4 if colorbar else 0.3) if is_new else ax
        is_empty = np.isnan(values)
        self.cells_ = drawing.draw_cells(ax, grid, np.ma.masked_array(values, is_empty), cmap=cmap)
        low, high, extend = drawing.robust_limits(values, clim)
        colors = self.cells_.get_cmap().with_extremes(bad=EMPTY_COLOR)
        self.cells_.set(cmap=colors, clim=(low, high))
        drawing.set_map_limits(ax, self.cells_, title=self.title)
        self.colorbar_ = None
        if colorbar:
            self.colorbar_ = drawing.add_colorbar(ax, self.cells_, self.label, grid, extend=extend)
        self.legend_ = None
        if is_empty.any():
            handles = [empty_handle("no values")]
            self.legend_ = add_legend(ax, handles, grid, has_colorbar=colorbar, grow_figure=is_new)
        self.borders_ = drawing.draw_borders(ax, grid, self.cluster_labels, border_color)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _number(value: Any) -> float:
    """Return a number, NaN for None and NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return np.nan
    if isinstance(value, str):
        raise TypeError
    return float(value)


def _by_unit(
    values: NDArray[np.float64],
    bmus: NDArray,
    weights: NDArray[np.float64],
    statistic: str,
    n_units: int,
) -> NDArray[np.float64]:
    """Compute a statistic of the known values of each unit, NaN without any."""
    is_known = ~np.isnan(values)
    values, bmus, weights = values[is_known], bmus[is_known], weights[is_known]
    # In units of about the largest weight no product with a value leaves the range of float64.
    scale = power_of_two(float(weights.max(initial=0)))
    weights = weights / scale
    totals = np.bincount(bmus, weights, minlength=n_units).astype(np.float64)
    if statistic == "count":
        return np.where(totals > 0, totals * scale, np.nan)
    if statistic == "median":
        return _medians(values, bmus, weights, totals)
    # Relative to the largest value of each unit no sum or square leaves the range of float64.
    largest = np.zeros(n_units)
    np.maximum.at(largest, bmus, np.abs(values))
    scales = np.ldexp(1.0, np.frexp(largest)[1])
    values = values / scales[bmus]
    # From a value of its unit on, sums of equal values are exact.
    origins = np.zeros(n_units)
    origins[bmus[::-1]] = values[::-1]
    values -= origins[bmus]
    with np.errstate(invalid="ignore"):
        means = np.bincount(bmus, weights * values, minlength=n_units) / totals
        if statistic != "std":
            return scales * (means + origins)
        squares = np.bincount(bmus, weights * (values - means[bmus]) ** 2, minlength=n_units)
        return scales * np.sqrt(squares / totals)


def _medians(
    values: NDArray[np.float64],
    bmus: NDArray,
    weights: NDArray[np.float64],
    totals: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Compute the median of each unit; a weight of 2 counts as two values."""
    medians = np.full(len(totals), np.nan)
    order = np.lexsort([values, bmus])
    values, bmus, weights = values[order], bmus[order], weights[order]
    starts = np.searchsorted(bmus, np.arange(len(totals) + 1))
    for unit in np.flatnonzero(totals):
        part = slice(starts[unit], starts[unit + 1])
        reached = np.cumsum(weights[part])
        half = reached[-1] / 2
        below = np.searchsorted(reached, half * (1 - 1e-12))
        above = np.searchsorted(reached, half * (1 + 1e-12), side="right")
        medians[unit] = (values[part][below] + values[part][above]) / 2
    return medians

"""Times of samples, numbers or datetimes: values, colormap and color bar."""

from __future__ import annotations

import datetime
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.foreign import as_array
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom.displays._colors import contrasting_colors
from sklearn_tfsom.displays._drawing import (
    LARGEST_SHOWN,
    add_colorbar,
    background_color,
)


def as_times(values: Any) -> NDArray | None:
    """Return numbers or datetimes, shape (n_samples,); None if they are something else.

    Datetimes are those of Python and matplotlib, in the years 1 to 9999.
    Times with a time zone are converted to UTC: local times come twice when clocks go back.
    """
    times = np.asarray(as_array(values, "times"))
    if times.dtype == object and all(_is_number(each) for each in times.ravel()):
        try:
            times = times.astype(np.float64)
        except (OverflowError, ValueError):  # of a signaling NaN
            return None
    if times.dtype == object and all(_is_date(each) for each in times.ravel()):
        try:
            times = np.array([_in_utc(each) for each in times.tolist()], dtype="datetime64[us]")
        except (TypeError, ValueError):
            return None
    if times.dtype.kind not in "iufM" or times.ndim != 1:
        return None
    if times.dtype.kind == "M":
        try:
            years = times.astype("datetime64[Y]").astype(np.int64) + 1970  # NaT is before all
        except OverflowError:  # of picoseconds and finer units
            return None
        is_valid = (years >= datetime.MINYEAR) & (years <= datetime.MAXYEAR)
    else:
        is_valid = np.abs(times.astype(np.float64)) <= LARGEST_SHOWN  # False for NaN
    return times if is_valid.all() else None


def _is_number(time: Any) -> bool:
    return isinstance(time, Real | Decimal) and not isinstance(time, bool | np.timedelta64)


def _is_date(time: Any) -> bool:
    """Return True for datetimes of Python and NumPy, and for types of pandas like them."""
    return isinstance(time, np.datetime64) or hasattr(time, "year")


def _in_utc(time: Any) -> Any:
    has_zone = getattr(time, "tzinfo", None) is not None
    return time.astimezone(datetime.UTC).replace(tzinfo=None) if has_zone else time


def times_as_numbers(times: NDArray) -> NDArray[np.float64]:
    """Return numbers as they are, and datetimes as matplotlib's days."""
    if times.dtype.kind != "M":
        return times.astype(np.float64)
    from matplotlib.dates import date2num

    return date2num(times)


def time_colormap(ax: Any) -> Any:
    """Return the part of viridis that contrasts with the background."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, to_rgba_array

    is_light = contrasting_colors(to_rgba_array(background_color(ax))) == ["black"]
    low, high = (0.0, 0.88) if is_light else (0.25, 1.0)
    return ListedColormap(colormaps["viridis"](np.linspace(low, high, 256)))


def add_time_colorbar(ax: Any, mappable: Any, times: NDArray | None, grid: Grid) -> Any:
    """Add a color bar of the times, or of the sample indices without times."""
    bar = add_colorbar(ax, mappable, "sample" if times is None else "time", grid)
    if times is not None and times.dtype.kind == "M":
        from matplotlib.dates import AutoDateFormatter, AutoDateLocator

        bar.locator = AutoDateLocator()
        bar.formatter = AutoDateFormatter(bar.locator)
        bar.update_ticks()
    return bar

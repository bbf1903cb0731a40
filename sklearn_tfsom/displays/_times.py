"""Times of samples: numbers or datetimes, their colors and their color bar."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_consistent_length

from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays._labels import background_color


def check_times(times: Any, X: Any) -> NDArray:
    """Return numbers or datetimes, one for each sample."""
    array = np.asarray(times)
    if array.dtype == object:  # datetimes of Python's own
        try:
            array = array.astype("datetime64[us]")
        except (TypeError, ValueError):
            pass
    is_number = array.dtype.kind in "iufM" and array.ndim == 1
    if (
        not is_number
        or (np.isnat(array) if array.dtype.kind == "M" else ~np.isfinite(array)).any()
    ):
        raise ValueError(
            "times must be an array-like of finite numbers or datetimes of shape (n_samples,). "
            f"Got an array of shape {array.shape} and dtype {array.dtype} instead."
        )
    check_consistent_length(X, array)
    return array


def as_numbers(times: NDArray) -> NDArray[np.float64]:
    """Numbers as they are, datetimes in matplotlib's days."""
    if times.dtype.kind != "M":
        return times.astype(np.float64)
    from matplotlib.dates import date2num

    return date2num(times)


def time_colors(ax: Any) -> Any:
    """Return the part of viridis that stands out from the background."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, to_rgba_array

    is_light = drawing.readable_on(to_rgba_array(background_color(ax))) == ["black"]
    low, high = (0.0, 0.88) if is_light else (0.25, 1.0)
    return ListedColormap(colormaps["viridis"](np.linspace(low, high, 256)))


def add_time_bar(ax: Any, mappable: Any, times: NDArray | None, is_below: bool) -> Any:
    """Add a color bar with the times, or the numbers of the samples, beside a map."""
    bar = drawing.add_color_bar(
        ax, mappable, "sample" if times is None else "time", is_below=is_below
    )
    if times is not None and times.dtype.kind == "M":
        from matplotlib.dates import AutoDateFormatter, AutoDateLocator

        bar.locator = AutoDateLocator()
        bar.formatter = AutoDateFormatter(bar.locator)
        bar.update_ticks()
    return bar

"""Checks of the arguments of displays about their appearance, before anything is computed."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from numbers import Real
from typing import Any

from sklearn_tfsom._validation import BOOLEAN, NONE, Rule, check_value, is_pair
from sklearn_tfsom.displays._drawing import LARGEST_SHOWN


def _is_axes(value: Any) -> bool:
    from matplotlib.axes import Axes

    is_plane = isinstance(value, Axes) and not hasattr(value, "zaxis")
    return is_plane and value.transData.is_separable and value.figure is not None  # not removed


def _is_linear(value: Any) -> bool:
    return _is_axes(value) and value.get_xscale() == value.get_yscale() == "linear"


def _is_color(value: Any) -> bool:
    from matplotlib.colors import is_color_like

    return is_color_like(value)


def _is_colormap(value: Any) -> bool:
    from matplotlib import colormaps
    from matplotlib.colors import Colormap

    return isinstance(value, Colormap) or (isinstance(value, str) and value in colormaps)


def _are_limits(value: Any) -> bool:
    if not is_pair(value) or not all(isinstance(limit, Real) for limit in value):
        return False
    try:
        low, high = map(float, value)
    except OverflowError:  # ints beyond the range of floats
        return False
    return -LARGEST_SHOWN <= low < high <= LARGEST_SHOWN


AXES = Rule("a rectilinear matplotlib Axes in a figure", _is_axes)
MAP_AXES = Rule("a rectilinear matplotlib Axes of linear scales in a figure", _is_linear)
_COLOR = Rule("a color of matplotlib", _is_color)

_LIMITS = f"a tuple (low, high) of two numbers up to {LARGEST_SHOWN:.2g} in magnitude, low < high"

# Of the arguments that several displays have; None is right where it is the default.
_RULES = {
    "between": BOOLEAN,
    "border_color": _COLOR,
    "clim": Rule(_LIMITS, _are_limits),
    "cmap": Rule("a Colormap of matplotlib, or the name of one", _is_colormap),
    "color": _COLOR,
    "colorbar": BOOLEAN,
    "legend": BOOLEAN,
    "net_color": _COLOR,
    "put_similar_together": BOOLEAN,
    "share_scale": BOOLEAN,
    "texts": BOOLEAN,
    "title": Rule("a str", lambda value: isinstance(value, str)),
}


def checked(function: Callable[..., Any], owner: str, axes: Rule | None) -> Any:
    """Let a method of a display check its library, and keyword arguments about the appearance.

    Parameters
    ----------
    function : callable
    owner : str
        Name of the display, for errors.
    axes : Rule or None
        For `ax`. None where it is an array, which the method checks itself.
    """
    known = _RULES if axes is None else {"ax": axes, **_RULES}
    rules = {
        name: [known[name], NONE] if parameter.default is None else [known[name]]
        for name, parameter in inspect.signature(function).parameters.items()
        if name in known
    }

    @functools.wraps(function)
    def checking(self: Any, *args: Any, **kwargs: Any) -> Any:
        self._check_library()
        for name, alternatives in rules.items():
            if name in kwargs:
                check_value(name, f"{owner}.{function.__name__}", kwargs[name], alternatives)
        return function(self, *args, **kwargs)

    return checking

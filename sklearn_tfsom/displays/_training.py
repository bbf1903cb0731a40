"""The training curves of a map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._pipelines import Unwrapped
from sklearn_tfsom.displays import _base as base
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays._arguments import AXES

# Number of steps up to which each has a marker.
_MAX_MARKERS = 40

_CURVES = ("quantization_error", "topographic_error", "radius")


@base.documented
@dataclass(eq=False, repr=False)
class TrainingDisplay(base.Display):
    """Training curves: errors and radius of each epoch.

    The quantization error is measured at the start of an epoch, on its grid and subsample, the
    topographic error at its end, on the whole map and all samples.
    Create it with `from_estimator`.

    Read more in the :ref:`User Guide <guide_errors>`.

    Parameters
    ----------
    history : dict of str to ndarray of shape (n_steps,)
        "quantization_error", "radius" and optionally "topographic_error", as in the attribute
        `history_` of a map.

    step : str, default="epoch"
        Label of the horizontal axis.

    %(distance_unit)s

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, shape (n_curves,)
        Axes of the quantization error, the topographic error if there is one, and the radius.

    %(figure_)s

    lines_ : list of matplotlib Line2D
        Curve in each of the axes.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.displays import TrainingDisplay
    >>> som = TFSOM(grid_size=(8, 5), compute_topographic_error=True).fit(load_iris().data)
    >>> display = TrainingDisplay.from_estimator(som)
    >>> len(display.axes_), display.axes_[1].get_ylabel()
    (3, 'topographic error')
    """

    _axes_rule = AXES
    _has_many_axes = True

    history: Mapping[str, NDArray]
    _: KW_ONLY
    step: str = "epoch"
    distance_unit: str = "data units"

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any = None, y: Any = None, *, ax: Any = None, color: Any = "C0"
    ) -> Self:
        """Draw the training curves of a fitted map.

        Steps are epochs, or the mini-batches of the last call of `partial_fit`.

        Parameters
        ----------
        %(estimator, X_y, plot_parameters)s

        %(returns)s
        """
        return cls._compute(cls._unwrap(estimator)[0]).plot(ax=ax, color=color)

    @classmethod
    def _compute(cls, fitted: Unwrapped) -> Self:
        """Collect the values to draw."""
        return cls(
            fitted.som.history_,
            step="mini-batch" if fitted.som._is_from_stream else "epoch",
            distance_unit=base.distance_unit(fitted),
        )

    @property
    def n_curves(self) -> int:
        """Number of curves, each of which has axes of its own."""
        return len(self._curves())

    def _curves(self) -> list[str]:
        """Return the names of the curves in `history`."""
        return [name for name in _CURVES if name in self.history]

    def plot(self, *, ax: Any = None, color: Any = "C0") -> Self:
        """Draw the training curves.

        Parameters
        ----------
        ax : array-like of matplotlib Axes, default=None
            Axes to draw on, one for each curve, None for those of a new figure.

        color : color, default="C0"
            Color of the curves.

        %(returns)s
        """
        curves = self._curves()
        is_new = ax is None
        if is_new:
            figure, ax = drawing.import_pyplot().subplots(
                len(curves),
                sharex=True,
                figsize=(6.4, 1.3 + 1.5 * len(curves)),
                layout="constrained",
                squeeze=False,
            )
            figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
        self.axes_ = self._check_axes(ax, curves, allow_more=False)
        self.figure_ = self.axes_[0].figure
        labels = {
            # Axes are too short for the name of a step beside the rest.
            "quantization_error": f"quantization error\n({self.distance_unit})".replace(
                " after ", " after\n"
            ),
            "topographic_error": "topographic error",
            "radius": "radius\n(lattice spacings)",
        }
        self.lines_ = []
        for axis, name in zip(self.axes_, curves, strict=True):
            self.lines_.append(_draw_curve(axis, np.asarray(self.history[name]), color))
            axis.set_ylabel(labels[name])
            if name != "quantization_error":
                axis.set_ylim(bottom=0)
            if not is_new:
                axis.set_xlabel(self.step)
        if is_new:
            self.axes_[0].set_title("Training")
            self.axes_[-1].set_xlabel(self.step)
            self.figure_.align_ylabels(self.axes_)
        return self


def _draw_curve(ax: Any, values: NDArray, color: Any) -> Any:
    """Draw one value per step, from step 1."""
    from matplotlib.ticker import MaxNLocator

    marker = "o" if len(values) <= _MAX_MARKERS else ""
    steps = np.arange(1, len(values) + 1)
    (line,) = ax.plot(steps, values, color=color, marker=marker, markersize=3.5, linewidth=1.4)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.25)
    return line

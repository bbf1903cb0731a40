"""Training: how the errors and the radius fell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_tfsom._validation import InvalidParameterError
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays import _reading as reading

# Up to as many steps each has a mark.
_MOST_MARKS = 40

_CURVES = ("quantization_error", "topographic_error", "radius")


class TrainingDisplay:
    """Training: the errors and the radius, epoch by epoch.

    The quantization error is that of the map with which an epoch began, the topographic error of
    the one with which it ended. Use `from_estimator`.

    Parameters
    ----------
    history : dict of str to ndarray of shape (n_steps,)
        "quantization_error", "radius", and "topographic_error" or not, as `history_` of a map.

    step : str, default="epoch"
        What a step is, for the horizontal axis.

    distance_unit : str, default="data units"
        What the quantization error is in.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, shape (n_curves,)
        One below the other: quantization error, topographic error where there is one, radius.

    figure_ : matplotlib Figure
        Their figure.

    lines_ : list of matplotlib Line2D
        The curve in each of them.

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

    def __init__(
        self,
        history: Mapping[str, NDArray],
        *,
        step: str = "epoch",
        distance_unit: str = "data units",
    ) -> None:
        self.history = history
        self.step = step
        self.distance_unit = distance_unit

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        axes: Any = None,
        color: Any = "C0",
    ) -> TrainingDisplay:
        """Draw how a map was trained.

        Steps are epochs; after `partial_fit` they are the mini-batches of its last call.

        Parameters
        ----------
        estimator : TFSOM
            A fitted map.

        X, y : None
            Ignored: all displays are called alike.

        axes : array-like of matplotlib Axes, default=None
            Where to draw, one for each curve; by default in a new figure, one below the other.

        color : color, default="C0"
            Of the curves.

        Returns
        -------
        display : TrainingDisplay

        Raises
        ------
        InvalidParameterError
            Where `axes` are not as many as there are curves.
        """
        return cls._read(estimator).plot(axes, color=color)

    @classmethod
    def _read(cls, estimator: Any) -> TrainingDisplay:
        """Take what is drawn."""
        check_is_fitted(estimator)
        return cls(
            estimator.history_,
            step="mini-batch" if estimator._is_from_stream else "epoch",
            distance_unit=reading.distance_unit(estimator),
        )

    @property
    def n_curves(self) -> int:
        """Number of curves, each of which has axes of its own."""
        return len(self._curves())

    def _curves(self) -> list[str]:
        return [name for name in _CURVES if name in self.history]

    def plot(self, axes: Any = None, *, color: Any = "C0") -> TrainingDisplay:
        """Draw the picture.

        Parameters
        ----------
        axes : array-like of matplotlib Axes, default=None
            Where to draw, one for each curve; by default in a new figure, one below the other.

        color : color, default="C0"
            Of the curves.

        Returns
        -------
        self : TrainingDisplay

        Raises
        ------
        InvalidParameterError
            Where `axes` are not as many as there are curves.
        """
        plt = drawing.import_pyplot()
        curves = self._curves()
        is_new = axes is None
        if is_new:
            figure, axes = plt.subplots(
                len(curves),
                sharex=True,
                figsize=(6.4, 1.3 + 1.5 * len(curves)),
                layout="constrained",
                squeeze=False,
            )
            figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
        self.axes_ = np.ravel(np.asarray(axes, dtype=object))
        if len(self.axes_) != len(curves):
            raise InvalidParameterError(
                f"axes must hold one for each of the {len(curves)} curves, "
                f"{', '.join(curves)}. Got {len(self.axes_)} instead."
            )
        self.figure_ = self.axes_[0].figure
        labels = {
            "quantization_error": f"quantization error\n({self.distance_unit})",
            "topographic_error": "topographic error",
            "radius": "radius\n(lattice spacings)",
        }
        self.lines_ = []
        for ax, name in zip(self.axes_, curves, strict=True):
            self.lines_.append(_draw_curve(ax, np.asarray(self.history[name]), color))
            ax.set_ylabel(labels[name])
            if name != "quantization_error":
                ax.set_ylim(bottom=0)
            if not is_new:
                ax.set_xlabel(self.step)
        if is_new:
            self.axes_[0].set_title("Training")
            self.axes_[-1].set_xlabel(self.step)
            self.figure_.align_ylabels(self.axes_)
        return self


def _draw_curve(ax: Any, values: NDArray, color: Any) -> Any:
    """Draw one value for each step, from step 1 on."""
    from matplotlib.ticker import MaxNLocator

    marker = "o" if len(values) <= _MOST_MARKS else ""
    steps = np.arange(1, len(values) + 1)
    (line,) = ax.plot(steps, values, color=color, marker=marker, markersize=3.5, linewidth=1.4)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.25)
    return line

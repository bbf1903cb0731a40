"""How clearly the data separate into clusters."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_tfsom._map.clustering import CLEAR_RATIO, DOUBTFUL_RATIO
from sklearn_tfsom._validation import integer
from sklearn_tfsom.displays import _base as base
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays._arguments import AXES
from sklearn_tfsom.metrics import separation_curve

# Upper limit of the axis, relative to the largest ratio. Bars of infinite ones reach it.
_ABOVE = 1.5


@base.documented
@dataclass(eq=False, repr=False)
class SeparationCurveDisplay(base.Display):
    """Separation curve: how clearly the data separate into each number of clusters.

    A bar for each number; a hatched one where wide gaps separate the clusters, none where a
    cluster would be an outlier. Create it with `from_estimator`.

    Read more in the :ref:`User Guide <guide_clustering>`.

    Parameters
    ----------
    n_clusters : ndarray of int, shape (n_numbers,)
        Numbers of clusters.

    separations : ndarray of shape (n_numbers,)
        Ratio of costs for each number, as of :func:`~sklearn_tfsom.metrics.separation_curve`.

    n_clusters_found : int, default=None
        Number of clusters of the map, which is marked; None for a map without clusters.

    Attributes
    ----------
    %(ax_, figure_)s

    bars_ : matplotlib BarContainer
        Bar of each number.

    %(legend_)s

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.displays import SeparationCurveDisplay
    >>> X, _ = make_blobs(300, centers=[(0, 0), (6, 0), (0, 6)], random_state=0)
    >>> som = TFSOM(n_clusters="auto").fit(X)
    >>> SeparationCurveDisplay.from_estimator(som, X).n_clusters_found
    3
    """

    _axes_rule = AXES

    n_clusters: NDArray[np.int64]
    separations: NDArray[np.float64]
    _: KW_ONLY
    n_clusters_found: int | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        y: Any = None,
        *,
        sample_weight: Any = None,
        max_clusters: int = 20,
        ax: Any = None,
        color: Any = "C0",
    ) -> Self:
        """Draw how clearly the data separate into each number of clusters.

        Parameters
        ----------
        %(estimator)s

        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Samples, NaN for missing values. None for the units of the map in place of samples.

        y : None
            Ignored, present for API consistency.

        %(sample_weight)s

        max_clusters : int, default=20
            Largest number of clusters, at least 2.

        %(plot_parameters)s

        %(returns)s
        """
        cls._check_parameter("max_clusters", max_clusters, integer(2))
        fitted, X = cls._unwrap(estimator, X)
        cls._check_samples(X, None, sample_weight, needs_y=False)
        numbers, separations = separation_curve(
            fitted.som, X, sample_weight=sample_weight, max_clusters=max_clusters
        )
        labels = base.cluster_labels(fitted.som)
        found = None if labels is None else len(np.unique(labels))
        return cls(numbers, separations, n_clusters_found=found).plot(ax=ax, color=color)

    def plot(self, *, ax: Any = None, color: Any = "C0") -> Self:
        """Draw how clearly the data separate into each number of clusters.

        Parameters
        ----------
        %(ax)s

        color : color, default="C0"
            Color of the bars.

        %(returns)s
        """
        if ax is None:
            _, ax = drawing.import_pyplot().subplots(layout="constrained")
            ax.set_title("Separation of clusters")
        from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

        numbers, ratios = np.asarray(self.n_clusters), np.asarray(self.separations)
        is_gap = np.isinf(ratios)
        finite = ratios[np.isfinite(ratios)]
        top = _ABOVE * max(2 * CLEAR_RATIO, finite.max(initial=0))
        heights = np.where(is_gap, top, np.nan_to_num(ratios, nan=1, posinf=1))
        self.bars_ = ax.bar(numbers, heights - 1, bottom=1, color=color)
        for bar in np.array(self.bars_.patches, dtype=object)[is_gap]:
            bar.set(hatch="//", edgecolor="white")
        line = {"color": drawing.text_color(), "linewidth": 1}
        levels = [
            ax.axhline(CLEAR_RATIO, label="clear", **line),
            ax.axhline(DOUBTFUL_RATIO, linestyle=":", label="doubtful below", **line),
        ]
        if is_gap.any():
            gap = self.bars_.patches[int(np.argmax(is_gap))]
            gap.set_label("wide gaps")
            levels.append(gap)
        if self.n_clusters_found is not None:
            (mark,) = ax.plot(
                self.n_clusters_found,
                1,
                marker="^",
                color=drawing.text_color(),
                markersize=9,
                linestyle="",
                clip_on=False,
                zorder=3,
                label="clusters of the map",
            )
            levels.append(mark)
        ax.set_yscale("log")
        ax.set_ylim(1, top)
        ax.set_xlabel("clusters")
        ax.set_ylabel("separation\n(ratio of the costs of two merges)")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.spines[["top", "right"]].set_visible(False)
        self.legend_ = ax.legend(handles=levels, loc="best", framealpha=0.9)
        self.ax_, self.figure_ = ax, ax.figure
        return self

"""A map to explore in a browser."""

from __future__ import annotations

import html
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse

from sklearn_tfsom._classes import Classes, array_of_labels, classes_of
from sklearn_tfsom._data.foreign import as_array, columns_of
from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._pipelines import in_original_units, unwrapped
from sklearn_tfsom._validation import integer
from sklearn_tfsom.displays import _base as base
from sklearn_tfsom.displays._viewer_page import Page
from sklearn_tfsom.metrics import u_matrix

# Default number of columns and of samples in the table.
_MAX_COLUMNS, _MAX_SAMPLES = 50, 20_000


@dataclass(eq=False, repr=False)
class InteractiveMapDisplay(base.Display):
    """Map to explore in a browser: one file of HTML, without a server or a network.

    The U-matrix, hits, classes, clusters and any component plane, side by side. Hovering shows a
    unit's hits, cluster, class shares and code vector. Selected units list their samples in a
    table, which can be saved as CSV; a sample is found by its index. It needs the extra "viewer"
    (Bokeh). Create it with `from_estimator`.

    Read more in the :ref:`User Guide <guide_viewer>`.

    Parameters
    ----------
    grid : Grid
        Lattice of the map.

    heights : ndarray of shape (n_units,)
        U-matrix.

    hits : ndarray of shape (n_units,)
        Number of samples of each unit.

    planes : ndarray of shape (n_units, n_planes)
        Code vectors, in the units of the original columns where the steps have inverses.

    names : sequence of str of length n_planes
        Names of the columns.

    value_unit : str, default="data units"
        Unit of `planes`.

    distance_unit : str, default="data units"
        Unit of `heights`.

    cluster_labels : ndarray of shape (n_units,), default=None
        Cluster of each unit.

    bmus : ndarray of shape (n_samples,), default=None
        Unit of each sample, None without samples.

    samples : list of tuple (name, values), default=None
        Columns of the table, each of length n_rows, the first one being the index.

    rows : ndarray of shape (n_rows,), default=None
        Samples in the table, None for all.

    classes : Classes, default=None
        Classes of the samples.

    title : str, default="Self-organizing map"
        Title of the page.

    Attributes
    ----------
    layout_ : bokeh LayoutDOM
        The page.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_tfsom import TFSOM
    >>> from sklearn_tfsom.displays import InteractiveMapDisplay
    >>> iris = load_iris(as_frame=True)
    >>> som = TFSOM(grid_size=(8, 5), n_clusters=3).fit(iris.data)
    >>> viewer = InteractiveMapDisplay.from_estimator(
    ...     som, iris.data, iris.target_names[iris.target]
    ... )
    >>> viewer.planes.shape, [name for name, _ in viewer.samples][:2]
    ((40, 4), ['index', 'sepal length (cm)'])
    """

    grid: Grid
    heights: NDArray
    hits: NDArray
    planes: NDArray
    names: Sequence[str]
    _: KW_ONLY
    value_unit: str = "data units"
    distance_unit: str = "data units"
    cluster_labels: NDArray | None = None
    bmus: NDArray | None = None
    samples: Sequence[tuple[str, Any]] | None = None
    rows: NDArray | None = None
    classes: Classes | None = None
    title: str = "Self-organizing map"

    @staticmethod
    def _check_library() -> None:
        if importlib.util.find_spec("bokeh") is None:
            raise ImportError(
                "InteractiveMapDisplay needs Bokeh. Install it with: pip install "
                "'sklearn-tfsom[viewer]'"
            )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        max_columns: int = _MAX_COLUMNS,
        max_samples: int = _MAX_SAMPLES,
        title: str = "Self-organizing map",
    ) -> Self:
        """Make the page of a fitted map.

        Parameters
        ----------
        estimator : TFSOM or Pipeline
            Fitted map, or a fitted pipeline that ends in one.

        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Samples to list and count, None for none: then hits are those of the training samples.

        y : array-like of shape (n_samples,), default=None
            Classes of the samples. Needs `X`.

        max_columns : int, default=50
            Columns of `X` in the table, the first ones.

        max_samples : int, default=20000
            Samples in the table. Of more, always the same subset is listed; hits and classes count
            all.

        title : str, default="Self-organizing map"
            Title of the page.

        Returns
        -------
        display : InteractiveMapDisplay
        """
        cls._check_parameter("max_columns", max_columns, integer(0))
        cls._check_parameter("max_samples", max_samples, integer(1))
        cls._check_samples(X, y, needs_y=False)
        fitted = unwrapped(estimator, f"{cls.__name__}.from_estimator")
        som = fitted.som
        columns = in_original_units(fitted)
        bmus = samples = rows = classes = None
        hits = som.hits_
        if X is not None:
            prepared = som._check_data(fitted.prepare(X))
            n_samples = len(prepared)
            classes = None if y is None else classes_of(y, n_samples, cls.__name__)
            rows = base.subset(np.arange(n_samples), max_samples)
            samples = [
                (name, column[rows]) for name, column in _table_of(X, n_samples, max_columns)
            ]
            bmus = som._nearest(prepared)[:, 0]
            hits = np.bincount(bmus, minlength=len(som.codebook_)).astype(np.float64)
        display = cls(
            grid_of(som),
            u_matrix(som).ravel(),
            hits,
            columns.values,
            columns.names,
            value_unit=columns.value_unit,
            distance_unit=base.distance_unit(fitted),
            cluster_labels=base.cluster_labels(som),
            bmus=bmus,
            samples=samples,
            rows=rows,
            classes=classes,
            title=title,
        )
        return display.plot()

    def plot(self) -> Self:
        """Build the page.

        Returns
        -------
        display : InteractiveMapDisplay
        """
        self.layout_ = Page(self).layout()
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the page, whose models cannot be pickled."""
        return {name: None if name == "layout_" else value for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state; build the page again if there was one."""
        vars(self).update(state)
        if "layout_" in state:
            self.plot()

    def to_html(self) -> str:
        """Return the page: HTML that needs no other file.

        Returns
        -------
        html : str
        """
        from bokeh.embed import file_html
        from bokeh.resources import INLINE

        return file_html(self.layout_, resources=INLINE, title=self.title)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file.

        Parameters
        ----------
        path : str or path-like
            Name of the file, such as "map.html".
        """
        page = self.to_html().encode()  # before the file is opened, and emptied
        Path(path).write_bytes(page)

    def _repr_html_(self) -> str:
        """Return the page in a frame, for notebooks."""
        page = html.escape(self.to_html(), quote=True)
        return f'<iframe srcdoc="{page}" width="100%" height="1000" style="border:0"></iframe>'


def _table_of(X: Any, n_samples: int, max_columns: int) -> list[tuple[str, Any]]:
    """Return the index and the first columns of samples, each with its name."""
    index = getattr(X, "index", None) if hasattr(X, "iloc") else None
    name = getattr(index, "name", None)
    labels = np.arange(n_samples) if index is None else np.asarray(index)
    if hasattr(X, "columns"):
        columns = [(name, _as_column(each)) for name, each in columns_of(X, max_columns)]
    elif not issparse(X) and not _has_rows(X):  # of which a step makes features
        columns = [("sample", np.array(X, dtype=object))][:max_columns]
    else:
        given = X.tocsr()[:, :max_columns].toarray() if issparse(X) else as_array(X, "X")
        given = np.array(given, dtype=object) if isinstance(given, list) else given
        values = given[:, :max_columns]
        columns = [(f"feature {k}", column) for k, column in enumerate(values.T)]
    return [("index" if name is None else str(name), labels), *columns]


def _as_column(values: Any) -> NDArray:
    """Return a column of a table as an array, of objects if NumPy would round large integers."""
    column = as_array(values, "X")
    if column.dtype.kind == "f" and (np.abs(column) >= np.float64(2**53)).any():
        objects = array_of_labels(values)
        if any(isinstance(value, Integral) for value in objects):
            return objects
    return column


def _has_rows(X: Any) -> bool:
    """Return True if samples are rows of one length, not single texts or lists of words."""
    if hasattr(X, "ndim"):
        return bool(X.ndim > 1)
    is_row = not isinstance(X[0], str) and np.ndim(X[0]) > 0
    return is_row and len({len(row) for row in X}) == 1

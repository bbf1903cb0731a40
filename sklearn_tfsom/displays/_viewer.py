"""A map to explore in a browser."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse

from sklearn_tfsom._classes import Classes, classes_of
from sklearn_tfsom._data.foreign import as_array
from sklearn_tfsom._map.grid import Grid, grid_of
from sklearn_tfsom._pipelines import in_original_units, unwrapped
from sklearn_tfsom._validation import integer
from sklearn_tfsom.displays import _base as base
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays import _viewer_scripts as scripts
from sklearn_tfsom.displays._colors import class_colors, colors_on_map
from sklearn_tfsom.metrics import u_matrix

# Width of each map, of the text beside them, and height of the table, in pixels.
_MAP_WIDTH, _DETAILS_WIDTH, _TABLE_HEIGHT = 330, 260, 260
_MIN_HEIGHT, _MAX_HEIGHT = 120, 480

_TOOLS = "pan,wheel_zoom,reset"

_NOTHING_SELECTED = "Select units by a click or with the lasso to list their samples."

# Columns of samples that the table shows, if nothing else is said.
_MAX_COLUMNS = 50


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

    unit : str, default="data units"
        Unit of `planes`.

    cluster_labels : ndarray of shape (n_units,), default=None
        Cluster of each unit.

    bmus : ndarray of shape (n_samples,), default=None
        Unit of each sample, None without samples.

    samples : dict of str to sequence of length n_samples, default=None
        Columns of the table, the first one being the index.

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
    >>> viewer.planes.shape, list(viewer.samples)[:2]
    ((40, 4), ['index', 'sepal length (cm)'])
    """

    grid: Grid
    heights: NDArray
    hits: NDArray
    planes: NDArray
    names: Sequence[str]
    _: KW_ONLY
    unit: str = "data units"
    cluster_labels: NDArray | None = None
    bmus: NDArray | None = None
    samples: dict[str, Any] | None = None
    classes: Classes | None = None
    title: str = "Self-organizing map"

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        max_columns: int = _MAX_COLUMNS,
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

        title : str, default="Self-organizing map"
            Title of the page.

        Returns
        -------
        display : InteractiveMapDisplay
        """
        cls._check_parameter("max_columns", max_columns, integer(0))
        cls._check_samples(X, y, needs_y=False)
        fitted = unwrapped(estimator, f"{cls.__name__}.from_estimator")
        som = fitted.som
        columns = in_original_units(fitted)
        bmus = samples = classes = None
        hits = som.hits_
        if X is not None:
            bmus = som.bmus(fitted.prepare(X))
            hits = np.bincount(bmus, minlength=len(som.codebook_)).astype(np.float64)
            samples = _table_of(X, len(bmus), max_columns)
            classes = None if y is None else classes_of(y, len(bmus), cls.__name__)
        display = cls(
            grid_of(som),
            u_matrix(som).ravel(),
            hits,
            columns.values,
            columns.names,
            unit=columns.unit,
            cluster_labels=base.cluster_labels(som),
            bmus=bmus,
            samples=samples,
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
        self.layout_ = _Page(self).layout()
        return self

    def to_html(self) -> str:
        """Return the page: HTML that needs no other file.

        Returns
        -------
        html : str
        """
        _import_bokeh()
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
        Path(path).write_text(self.to_html(), encoding="utf-8")

    def _repr_html_(self) -> str:
        """Return the page in a frame, for notebooks."""
        page = html.escape(self.to_html(), quote=True)
        return f'<iframe srcdoc="{page}" width="100%" height="1000" style="border:0"></iframe>'


def _import_bokeh() -> None:
    try:
        import bokeh  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "InteractiveMapDisplay needs Bokeh. Install it with: pip install "
            "'sklearn-tfsom[viewer]'"
        ) from error


def _table_of(X: Any, n_samples: int, max_columns: int) -> dict[str, Any]:
    """Return the index and the first columns of samples, by name."""
    if hasattr(X, "columns"):
        names = [str(name) for name in list(X.columns)[:max_columns]]
        index = getattr(X, "index", None)
        columns = [np.asarray(X[name]) for name in list(X.columns)[:max_columns]]
    else:
        index = None
        values = X[:, :max_columns].toarray() if issparse(X) else as_array(X, "X")[:, :max_columns]
        names = [f"feature {k}" for k in range(values.shape[1])]
        columns = list(values.T)
    labels = np.arange(n_samples) if index is None else np.asarray(index)
    name = getattr(index, "name", None)
    return {
        "index" if name is None else str(name): labels,
        **dict(zip(names, columns, strict=True)),
    }


class _Page:
    """The parts of the page."""

    def __init__(self, display: InteractiveMapDisplay) -> None:
        _import_bokeh()
        from bokeh.models import ColumnDataSource, Div

        self._display = display
        self._meta: dict[str, Any] = {
            "planes": [str(name) for name in display.names],
            "unit": display.unit,
            "nothing_selected": _NOTHING_SELECTED,
            "has_clusters": display.cluster_labels is not None,
            "classes": [] if display.classes is None else display.classes.names,
        }
        limits = [drawing.robust_limits(plane) for plane in np.asarray(display.planes).T]
        self._meta |= {"lows": [low for low, *_ in limits], "highs": [x[1] for x in limits]}
        self._units = ColumnDataSource(self._unit_columns(), name="units")
        columns, titles = self._sample_columns()
        self._meta["titles"] = titles
        self._samples = ColumnDataSource(columns)
        self._table = ColumnDataSource({name: [] for name in columns}, name="table")
        self._details = Div(
            text="Hover over a unit.",
            name="details",
            width=_DETAILS_WIDTH,
            styles={"max-height": "700px", "overflow-y": "auto"},
        )
        self._ranges: dict[str, Any] = {}

    def _unit_columns(self) -> dict[str, Any]:
        display, grid = self._display, self._display.grid
        corners = grid.positions()[:, None] + drawing.cell_corners(grid)
        rows, columns = np.divmod(np.arange(grid.n_units), grid.n_columns)
        data: dict[str, Any] = {
            "x": grid.positions()[:, 0],
            "y": grid.positions()[:, 1],
            "xs": list(corners[:, :, 0].round(4)),
            "ys": list(corners[:, :, 1].round(4)),
            "unit": np.arange(grid.n_units),
            "row": rows,
            "column": columns,
            "u_matrix": np.asarray(display.heights, dtype=np.float32),
            "hits": np.asarray(display.hits, dtype=np.float32),
        }
        for k, plane in enumerate(np.asarray(display.planes, dtype=np.float32).T):
            data[f"plane{k}"] = plane
        data["plane"] = data["plane0"]
        if display.cluster_labels is not None:
            data["cluster"] = display.cluster_labels
            n_clusters = int(display.cluster_labels.max()) + 1
            data["cluster_color"] = _hex(class_colors(n_clusters))[display.cluster_labels]
        if display.classes is not None and display.bmus is not None:
            n_classes = len(display.classes.labels)
            cells = display.bmus * n_classes + display.classes.codes
            counts = np.bincount(cells, minlength=grid.n_units * n_classes)
            counts = counts.reshape(grid.n_units, n_classes)
            for k in range(n_classes):
                data[f"count{k}"] = counts[:, k]
            majority = base.majority_classes(counts)
            self._class_colors = colors_on_map(grid, majority, n_classes)
            colors = np.append(_hex(self._class_colors), "#ffffff")
            data["class_color"] = colors[majority]
            data["class_name"] = np.append(display.classes.names, "none").astype(str)[majority]
        return data

    def _sample_columns(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the columns of the samples, and their titles."""
        display = self._display
        if display.samples is None or display.bmus is None:
            return {}, {}
        (index_name, index), *others = display.samples.items()
        data = {"sample": _plain(index), "unit": display.bmus.astype(np.int32)}
        titles = {"sample": index_name, "unit": "unit"}
        if display.cluster_labels is not None:
            data["cluster"] = display.cluster_labels[display.bmus].astype(np.int32)
            titles["cluster"] = "cluster"
        if display.classes is not None:
            data["class"] = np.array(display.classes.names)[display.classes.codes]
            titles["class"] = "class"
        for k, (name, values) in enumerate(others):
            data[f"column{k}"] = _plain(values)
            titles[f"column{k}"] = name
        return data, titles

    def _figure(self, title: str, color: Any, hover: list[tuple[str, str]]) -> Any:
        """Draw the units in colors, with the tools of all maps."""
        from bokeh.models import BoxSelectTool, CustomJS, HoverTool, LassoSelectTool, TapTool
        from bokeh.plotting import figure

        width, height = drawing.map_size(self._display.grid)
        inner = np.clip(_MAP_WIDTH * height / width, _MIN_HEIGHT, _MAX_HEIGHT)
        ranges = self._ranges or {
            "x_range": (-0.7, width - 0.3),
            "y_range": (height - 0.3, -0.7),  # row 0 at the top
        }
        plot = figure(
            title=title,
            name=title,
            width=_MAP_WIDTH,
            height=int(inner) + 60,
            tools=_TOOLS,
            match_aspect=True,
            **ranges,
        )
        plot.axis.visible = False
        plot.grid.visible = False
        plot.outline_line_color = None
        self._ranges = self._ranges or {"x_range": plot.x_range, "y_range": plot.y_range}
        cells = plot.patches(
            "xs",
            "ys",
            source=self._units,
            fill_color=color,
            line_color=color,
            line_width=0.6,
            hover_line_color="black",
            hover_line_width=2,
            hover_fill_color=color,
            selection_fill_color=color,
            selection_line_color="black",
            selection_line_width=1.5,
            nonselection_fill_color=color,
            nonselection_line_color=color,
            nonselection_fill_alpha=0.4,
            nonselection_line_alpha=0.4,
        )
        show = CustomJS(args=self._arguments("details"), code=scripts.HOVER)
        tooltips = [("unit", "@unit"), *hover]
        plot.add_tools(HoverTool(renderers=[cells], tooltips=tooltips, callback=show))
        plot.add_tools(TapTool(mode="replace", renderers=[cells]))  # the shift key adds units
        # A unit is inside where its center is.
        centers = [plot.scatter("x", "y", source=self._units, size=1, alpha=0)]
        lasso = LassoSelectTool(renderers=centers)
        plot.add_tools(lasso, BoxSelectTool(renderers=centers))
        plot.toolbar.active_drag = lasso
        return plot

    def _arguments(self, *names: str) -> dict[str, Any]:
        """Return what a callback gets."""
        given = {"units": self._units, "meta": self._meta}
        return given | {name: getattr(self, f"_{name}") for name in names}

    def _numbers(self, title: str, field: str, low: float, high: float) -> tuple[Any, Any]:
        """Draw numbers of the units with a color bar."""
        from bokeh.models import ColorBar, LinearColorMapper

        mapper = LinearColorMapper("Viridis256", low=low, high=high)
        plot = self._figure(
            title, {"field": field, "transform": mapper}, [(title, f"@{field}{{0.[0000]}}")]
        )
        plot.add_layout(ColorBar(color_mapper=mapper, height=8, padding=4), "below")
        return plot, mapper

    def layout(self) -> Any:
        """Return the page."""
        from bokeh.layouts import column, gridplot, row
        from bokeh.models import (
            Button,
            CustomJS,
            DataTable,
            Div,
            Select,
            Spinner,
            TableColumn,
            TextInput,
        )

        display, meta = self._display, self._meta
        plane, mapper = self._numbers(
            meta["planes"][0], "plane", meta["lows"][0], meta["highs"][0]
        )
        low, high, _ = drawing.robust_limits(display.heights)
        maps = [plane, self._numbers("U-matrix", "u_matrix", low, high)[0]]
        maps.append(self._numbers("Hits", "hits", 0, max(1.0, float(np.max(display.hits))))[0])
        legends = []
        if meta["classes"]:
            maps.append(self._figure("Classes", "class_color", [("class", "@class_name")]))
            legends.append(_legend("Classes", meta["classes"], self._class_colors))
        if display.cluster_labels is not None:
            maps.append(self._figure("Clusters", "cluster_color", [("cluster", "@cluster")]))
            n_clusters = int(display.cluster_labels.max()) + 1
            names = [str(k) for k in range(n_clusters)]
            legends.append(_legend("Clusters", names, class_colors(n_clusters)))
        chosen = Select(title="Component plane", value=meta["planes"][0], options=meta["planes"])
        chosen.js_on_change(
            "value",
            CustomJS(
                args=self._arguments() | {"mapper": mapper, "title": plane.title},
                code=scripts.PLANE,
            ),
        )
        unit = Spinner(title="Unit", low=0, high=display.grid.n_units - 1, step=1, width=90)
        unit.js_on_change("value", CustomJS(args=self._arguments(), code=scripts.UNIT))
        head = Div(text=f"<h2>{html.escape(display.title)}</h2>")
        grid = gridplot(maps, ncols=3, merge_tools=True, toolbar_location="above")
        beside = column(self._details, *(Div(text=text) for text in legends))
        parts = [head]
        if display.samples is None:
            parts += [row(chosen, unit), row(grid, beside)]
            return column(*parts)
        self._count = Div(text=_NOTHING_SELECTED, name="count")
        self._button = Button(label="Save these samples as CSV", disabled=True)
        search = TextInput(title="Find a sample by its index", width=200)
        self._units.selected.js_on_change(
            "indices",
            CustomJS(
                args=self._arguments("details", "samples", "table", "count", "button"),
                code=scripts.SELECT,
            ),
        )
        search.js_on_change(
            "value",
            CustomJS(args=self._arguments("samples", "table", "count"), code=scripts.SEARCH),
        )
        self._button.js_on_event(
            "button_click", CustomJS(args=self._arguments("table"), code=scripts.DOWNLOAD)
        )
        columns = [
            TableColumn(field=field, title=html.escape(title), width=90)
            for field, title in meta["titles"].items()
        ]
        table = DataTable(
            source=self._table,
            columns=columns,
            width=3 * _MAP_WIDTH,
            height=_TABLE_HEIGHT,
            index_position=None,
            autosize_mode="none",
        )
        parts += [row(chosen, search, unit), row(grid, beside)]
        return column(*parts, row(self._count, self._button), table)


def _plain(values: Any) -> NDArray:
    """Return numbers as they are, and anything else as texts."""
    array = np.asarray(values)
    if array.dtype.kind == "b" or array.dtype.kind not in "iuf":
        return np.array(["" if value is None else str(value) for value in array.tolist()])
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        fits = len(array) == 0 or bool(np.abs(array.astype(np.float64)).max() < 2**31)
        return array.astype(np.int32) if fits else array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="))


def _hex(colors: NDArray[np.float64]) -> NDArray:
    """Return colors as texts for a browser."""
    levels = np.round(255 * colors[:, :3]).astype(int)
    return np.array([f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in levels])


def _legend(title: str, names: Sequence[str], colors: NDArray[np.float64]) -> str:
    """Return a legend as HTML."""
    entries = [
        f'<div><span style="background:{color};display:inline-block;width:1em;height:1em">'
        f"</span> {html.escape(name)}</div>"
        for color, name in zip(_hex(colors), names, strict=True)
    ]
    return f"<b>{title}</b>{''.join(entries)}"

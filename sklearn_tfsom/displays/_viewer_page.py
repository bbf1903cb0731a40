"""The parts of the page of an interactive map, made with Bokeh."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._classes import is_missing
from sklearn_tfsom.displays import _base as base
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays import _viewer_scripts as scripts
from sklearn_tfsom.displays._colors import class_colors, colors_on_map

# Width of each map, of the text beside them, and height of the table, in pixels.
_MAP_WIDTH, _DETAILS_WIDTH, _TABLE_HEIGHT = 330, 260, 260
_MIN_HEIGHT, _MAX_HEIGHT = 120, 480

_TOOLS = "pan,wheel_zoom,reset"

# Outline of the unit under the pointer.
_POINTED = {"line_color": "black", "line_width": 2}

_NOTHING_SELECTED = "Select units by a click or with the lasso to list their samples."


class Page:
    """The parts of the page.

    Parameters
    ----------
    display : InteractiveMapDisplay
    """

    def __init__(self, display: Any) -> None:
        from bokeh.models import Button, ColumnDataSource

        self._display = display
        self._meta: dict[str, Any] = {
            "planes": [str(name) for name in display.names],
            "value_unit": display.value_unit,
            "distance_unit": display.distance_unit,
            "nothing_selected": _NOTHING_SELECTED,
            "not_found": "No such sample.",
            "has_clusters": display.cluster_labels is not None,
            "classes": [] if display.classes is None else display.classes.names,
        }
        self._meta["limits"] = {
            "u_matrix": drawing.robust_limits(display.heights)[:2],
            "hits": (0.0, float(np.max(display.hits)) or 1.0),
        }
        for k, plane in enumerate(np.asarray(display.planes, dtype=np.float64).T):
            self._meta["limits"][f"plane{k}"] = drawing.robust_limits(plane)[:2]
        self._units = ColumnDataSource(self._unit_columns(), name="units")
        columns, titles = self._sample_columns()
        self._meta["titles"] = titles
        self._samples = ColumnDataSource(columns)
        self._table = ColumnDataSource({name: [] for name in columns}, name="table")
        self._pointed = ColumnDataSource({"xs": [], "ys": []}, name="pointed")
        self._details = _text(
            "Hover over a unit.",
            name="details",
            width=_DETAILS_WIDTH,
            styles={"max-height": "700px", "overflow-y": "auto"},
        )
        self._count = _text(self._meta["nothing_selected"], name="count")
        self._button = Button(label="Save these samples as CSV", disabled=True)
        self._ranges: dict[str, Any] = {}
        self._show = self._callback(scripts.HOVER, "details", "pointed")

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
            "u_matrix": np.asarray(display.heights, dtype=np.float64),
            "hits": np.asarray(display.hits, dtype=np.float64),
        }
        for k, plane in enumerate(np.asarray(display.planes, dtype=np.float64).T):
            data[f"plane{k}"] = plane
        data["plane"] = data["plane0"]
        if display.cluster_labels is not None:
            data["cluster"] = display.cluster_labels
            n_clusters = int(display.cluster_labels.max()) + 1
            data["cluster_color"] = _hex(class_colors(n_clusters))[display.cluster_labels]
        if display.classes is not None and display.bmus is not None:
            n_classes = len(display.classes.labels)
            counts = display.classes.counts(display.bmus, grid.n_units)
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
        n_samples = len(display.bmus)
        rows = np.arange(n_samples) if display.rows is None else display.rows
        if len(rows) < n_samples:
            listed = f"{len(rows):,} of {n_samples:,} samples are listed."
            self._meta["nothing_selected"] += f" {listed}"
            self._meta["not_found"] += f" {listed}"
        (index_name, index), *others = display.samples
        bmus = display.bmus[rows]
        data = {"sample": _plain(index), "unit": bmus.astype(np.int32)}
        titles = {"sample": index_name, "unit": "unit"}
        if display.cluster_labels is not None:
            data["cluster"] = display.cluster_labels[bmus].astype(np.int32)
            titles["cluster"] = "cluster"
        if display.classes is not None:
            data["class"] = np.array(display.classes.names, object)[display.classes.codes[rows]]
            titles["class"] = "class"
        for k, (name, values) in enumerate(others):
            data[f"column{k}"] = _plain(values)
            titles[f"column{k}"] = name
        return data, titles

    def _figure(
        self,
        title: str,
        color: Any,
        hover: tuple[str, str],
        formatters: dict[str, Any] | None = None,
    ) -> Any:
        """Draw the units in colors, with the tools of all maps."""
        from bokeh.models import HoverTool, TapTool

        plot = self._empty_figure(title)
        cells = plot.patches(
            "xs",
            "ys",
            source=self._units,
            fill_color=color,
            line_color=color,
            line_width=0.6,
            selection_fill_color=color,
            selection_line_color="black",
            selection_line_width=1.5,
            nonselection_fill_color=color,
            nonselection_line_color=color,
            nonselection_fill_alpha=0.4,
            nonselection_line_alpha=0.4,
        )
        # In a layer of its own: a browser takes long to paint the cells of all maps again.
        plot.patches(
            "xs", "ys", source=self._pointed, level="overlay", fill_color=None, **_POINTED
        )
        plot.add_tools(
            HoverTool(
                renderers=[cells],
                tooltips=[("unit", "@unit"), hover],
                formatters=formatters or {},
                callback=self._show,
            )
        )
        plot.add_tools(TapTool(mode="replace", renderers=[cells]))  # the shift key adds units
        self._add_selection_of_areas(plot)
        return plot

    def _empty_figure(self, title: str) -> Any:
        """Return a figure for a map, which pans and zooms together with the others."""
        from bokeh.models import PlainText, Title
        from bokeh.plotting import figure

        width, height = drawing.map_size(self._display.grid)
        inner = np.clip(_MAP_WIDTH * height / width, _MIN_HEIGHT, _MAX_HEIGHT)
        # Cells keep their shape: what is left of the frame is beside or below the map.
        spacing = max((width + 0.4) / _MAP_WIDTH, (height + 0.4) / inner)
        beside, below = spacing * _MAP_WIDTH / 2, spacing * inner / 2
        x, y = (width - 1) / 2, self._display.grid.positions()[-1, 1] / 2
        ranges = self._ranges or {
            "x_range": (x - beside, x + beside),
            "y_range": (y + below, y - below),  # row 0 at the top
        }
        plot = figure(
            title=Title(text=PlainText(text=title)),  # as is, also between signs of TeX
            name=title,
            frame_width=_MAP_WIDTH,
            frame_height=int(inner),
            tools=_TOOLS,
            **ranges,
        )
        plot.axis.visible = False
        plot.grid.visible = False
        plot.outline_line_color = None
        self._ranges = self._ranges or {"x_range": plot.x_range, "y_range": plot.y_range}
        return plot

    def _add_selection_of_areas(self, plot: Any) -> None:
        """Add the tools that select the units of an area: those whose centers are inside."""
        from bokeh.models import BoxSelectTool, LassoSelectTool

        centers = [plot.scatter("x", "y", source=self._units, size=1, alpha=0)]
        lasso = LassoSelectTool(renderers=centers)
        plot.add_tools(lasso, BoxSelectTool(renderers=centers))
        plot.toolbar.active_drag = lasso

    def _callback(self, code: str, *names: str, **arguments: Any) -> Any:
        """Return a callback that gets some parts of the page."""
        from bokeh.models import CustomJS

        parts = {name: getattr(self, f"_{name}") for name in ("units", "meta", *names)}
        return CustomJS(args=parts | arguments, code=code)

    def _numbers(self, title: str, field: str, limits: tuple[float, float]) -> tuple[Any, Any]:
        """Draw numbers of the units with a color bar."""
        from bokeh.models import ColorBar, CustomJSHover, LinearColorMapper

        mapper = LinearColorMapper("Viridis256", low=limits[0], high=limits[1])
        # The title of a plot can change, the label of a tooltip cannot.
        value = ("value", f"@{field}{{custom}}")
        rounded = CustomJSHover(args={"mapper": mapper}, code=scripts.TOOLTIP)
        color = {"field": field, "transform": mapper}
        plot = self._figure(title, color, value, {f"@{field}": rounded})
        plot.add_layout(ColorBar(color_mapper=mapper, height=8, padding=4), "below")
        return plot, mapper

    def layout(self) -> Any:
        """Return the page."""
        from bokeh.layouts import column, gridplot, row

        meta = self._meta
        plane, mapper = self._numbers(meta["planes"][0], "plane", meta["limits"]["plane0"])
        maps, legends = self._maps()
        head = _text(f"<h2>{html.escape(self._display.title)}</h2>")
        controls = [self._choice_of_plane(plane.title, mapper), self._choice_of_unit()]
        grid = gridplot([plane, *maps], ncols=3, merge_tools=True, toolbar_location="above")
        beside = column(self._details, *map(_text, legends))
        select = self._callback(scripts.SELECT_UNIT, "details")
        self._units.selected.js_on_change("indices", select)
        table = []
        if self._display.samples is not None:
            table = [self._selected_samples(), self._sample_table()]
            controls.insert(1, self._search_for_sample())
        return column(head, row(*controls), row(grid, beside), *table)

    def _maps(self) -> tuple[list[Any], list[str]]:
        """Draw the maps after the first one; return them, and the legends of colors."""
        display, meta = self._display, self._meta
        limits, legends = meta["limits"], []
        maps = [
            self._numbers(title, field, limits[field])[0]
            for title, field in (("U-matrix", "u_matrix"), ("Hits", "hits"))
        ]
        if meta["classes"]:
            maps.append(self._figure("Classes", "class_color", ("class", "@class_name")))
            legends.append(_legend("Classes", meta["classes"], self._class_colors))
        if display.cluster_labels is not None:
            maps.append(self._figure("Clusters", "cluster_color", ("cluster", "@cluster")))
            n_clusters = int(display.cluster_labels.max()) + 1
            names = [str(k) for k in range(n_clusters)]
            legends.append(_legend("Clusters", names, class_colors(n_clusters)))
        return maps, legends

    def _choice_of_plane(self, title: Any, mapper: Any) -> Any:
        """Return a menu of the planes that the first map can show."""
        from bokeh.models import Select

        planes = [(str(k), name) for k, name in enumerate(self._meta["planes"])]  # may be equal
        menu = Select(title="Component plane", value="0", options=planes)
        menu.js_on_change("value", self._callback(scripts.PLANE, mapper=mapper, title=title))
        return menu

    def _choice_of_unit(self) -> Any:
        """Return a field for the number of a unit."""
        from bokeh.models import Spinner

        most = self._display.grid.n_units - 1
        field = Spinner(title="Unit", low=0, high=most, step=1, width=90)
        field.js_on_change("value", self._callback(scripts.UNIT))
        return field

    def _selected_samples(self) -> Any:
        """Return the number of samples in the table, and a button to save them."""
        from bokeh.layouts import row

        self._button.js_on_event("button_click", self._callback(scripts.DOWNLOAD, "table"))
        select = self._callback(scripts.SELECT, "samples", "table", "count", "button")
        self._units.selected.js_on_change("indices", select)
        return row(self._count, self._button)

    def _search_for_sample(self) -> Any:
        """Return a field for the index of a sample."""
        from bokeh.models import TextInput

        field = TextInput(title="Find a sample by its index", width=200)
        search = self._callback(scripts.SEARCH, "samples", "table", "count")
        field.js_on_change("value", search)
        return field

    def _sample_table(self) -> Any:
        """Return the table of the samples of selected units."""
        from bokeh.models import DataTable, TableColumn

        columns = [
            TableColumn(field=field, title=html.escape(title), width=90)
            for field, title in self._meta["titles"].items()
        ]
        return DataTable(
            source=self._table,
            columns=columns,
            width=3 * _MAP_WIDTH,
            height=_TABLE_HEIGHT,
            index_position=None,
            autosize_mode="none",
        )


def _text(text: str, **style: Any) -> Any:
    """Return a part of the page with a text of HTML, in which nothing is read as TeX."""
    from bokeh.models import Div

    return Div(text=text, disable_math=True, **style)


def _plain(values: Any) -> NDArray:
    """Return numbers as they are, and anything else as texts."""
    array = np.asarray(values)
    if array.dtype.kind not in "iuf" or array.ndim > 1:
        # Of times, `tolist` would give nanoseconds as integers.
        values = array if array.dtype.kind in "mM" else array.tolist()
        texts = ["" if is_missing(value) else str(value) for value in values]
        # Objects: texts of a fixed width would each be as long as the longest.
        return np.array(texts, dtype=object)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        largest = np.abs(array.astype(np.float64)).max(initial=0)
        if largest >= 2**53:  # numbers of a browser are float64
            return array.astype(str)
        return array.astype(np.int32 if largest < 2**31 else np.float64)
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:  # the shortest decimals, not more
        return array.astype(str).astype(np.float64)
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

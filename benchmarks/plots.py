"""Plots of the results, drawn from the tables of the JSON files."""

import numpy as np

# Bars of the plot of speed, and the columns that they show.
SPEED_RATIOS = {
    "epoch": "epoch / iteration",
    "predict": "predict / k-means",
    "transform": "transform / k-means",
}
# Points on logarithmic axes that a slope is fitted to, the last ones: there constant costs are
# small.
N_SLOPE_POINTS = 3


def draw_speed(tables):
    """Draw the times relative to k-means, as bars."""
    from matplotlib.figure import Figure

    rows = tables["Epoch, predict and transform"]
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    positions = np.arange(len(rows))
    for offset, (name, column) in enumerate(SPEED_RATIOS.items()):
        heights = [row[column] for row in rows]
        axes.bar(positions + 0.27 * (offset - 1), heights, 0.27, label=name)
    axes.axhline(1, color="black", linewidth=0.8)
    labels = [f"{r['samples x features']}\n{r['units']} units\n{r['dtype']}" for r in rows]
    axes.set_xticks(positions, labels)
    axes.tick_params(axis="x", labelsize=7)
    axes.set(ylabel="time / time of k-means", yscale="log")
    axes.legend()
    return figure


def select_points(rows, axis, column):
    """Return positions along an axis and positive values of a column, of shape (2, n_points)."""
    points = [(row[axis], row[column]) for row in rows if row[column] != ""]
    return np.array([point for point in points if point[1] > 0]).T


def fit_slope(rows, axis, column):
    """Return the slope of the last points on logarithmic axes."""
    return float(np.polyfit(*np.log(select_points(rows, axis, column)[:, -N_SLOPE_POINTS:]), 1)[0])


def draw_scaling(tables):
    """Draw time (top) and memory (bottom), one column for each axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.5), layout="constrained")
    panels = figure.subplots(2, len(tables)).T
    for column, (axis, rows) in zip(panels, tables.items(), strict=True):
        fixed = ", ".join(
            f"{rows[0][key]:,} {key.removeprefix('n_')}" for key in tables if key != axis
        )
        for axes, measure in zip(column, ("time (ms)", "memory (MiB)"), strict=True):
            for name in ("epoch", "k-means iteration"):
                key = f"{name}, {measure}"
                label = f"{name}, slope {fit_slope(rows, axis, key):.2f}"
                axes.loglog(*select_points(rows, axis, key), "o-", label=label)
            axes.set(xlabel=f"{axis} ({fixed})", ylabel=measure)
            axes.legend()
    return figure


def draw_libraries(tables):
    """Draw the times of all libraries, relative to TFSOM, as bars."""
    from matplotlib.figure import Figure

    rows = tables[""]
    cases = list(dict.fromkeys(row["samples x features, map"] for row in rows))
    figure = Figure(figsize=(4 * len(cases), 3.6), layout="constrained")
    for axes, case in zip(figure.subplots(1, len(cases), squeeze=False)[0], cases, strict=True):
        case_rows = [row for row in rows if row["samples x features, map"] == case][::-1]
        bars = axes.barh(
            [row["library"] for row in case_rows],
            [row["fit / fit of TFSOM"] for row in case_rows],
            color=["C1" if row["library"].startswith("TFSOM") else "C0" for row in case_rows],
        )
        axes.bar_label(bars, fmt="{:.3g}", padding=2)
        axes.set(xscale="log", title=case, xlabel="time of a fit / time of TFSOM")
        axes.margins(x=0.2)
    return figure


def draw_quality(tables):
    """Draw both errors of all libraries, one panel for each set; None without libraries."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    rows = tables.get("Other libraries at their defaults", [])
    if not rows:
        return None
    libraries = sorted({row["library"] for row in rows}, key=str.lower)
    styles = {
        name: {"color": f"C{k}", "marker": "os^vDPXp*"[k]} for k, name in enumerate(libraries)
    }
    sets = list(dict.fromkeys(row["data"] for row in rows))
    figure = Figure(figsize=(4 * len(sets) + 2, 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(sets)), sets, strict=True):
        for row in (row for row in rows if row["data"] == name):
            fillstyle = "none" if row["dominated by"] else "full"
            style = styles[row["library"]]
            axes.plot(row["QE"], row["TE"], **style, fillstyle=fillstyle, linestyle="", ms=9)
        axes.set(title=name, xlabel="quantization error", ylabel="topographic error")
    handles = [Line2D([], [], **style, linestyle="", ms=9, label=n) for n, style in styles.items()]
    figure.legend(handles=handles, loc="outside right upper")
    return figure

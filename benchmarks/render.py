"""Build the pages of the benchmarks, as Markdown with plots, from the results in JSON.

The documentation calls `render_pages`; `python benchmarks/render.py FOLDER` writes the same pages.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import plots

RESULTS = Path(__file__).resolve().parent / "results"


class Page(NamedTuple):
    """A page of results.

    Attributes
    ----------
    title : str
        Heading of the page.
    draw : callable or None
        Function of the tables that returns a matplotlib figure, or None without the data for it.
    """

    title: str
    draw: Callable[[dict[str, Any]], Any] | None = None


# The page of each file of results, by its name.
PAGES = {
    "anomaly": Page("Anomaly detection"),
    "clustering": Page("Clustering: adjusted Rand index with the true number of clusters"),
    "engines": Page("Engines: an epoch in Dask, Ray and Spark"),
    "extremes": Page("Extremes: small and large problems"),
    "faults": Page("Faults: interrupts, kills, a full disk and damaged checkpoints"),
    "first_fits": Page("First fits and whole scripts"),
    "folds": Page("Folds: errors compared with SOM Toolbox's default training"),
    "imputation": Page("Imputation: 20 % of the values missing at random"),
    "installation": Page("Installation: download and space on disk"),
    "libraries": Page("Libraries: training of the same map", plots.draw_libraries),
    "quality": Page(
        "Quality: SOM Toolbox, k-means and other libraries at their defaults", plots.draw_quality
    ),
    "scaling": Page("Scaling: time and memory by samples, features and units", plots.draw_scaling),
    "serving": Page("Serving: exported models"),
    "soak": Page("Soak: memory under fits and predictions of changing shapes"),
    "sparse": Page("Sparse data: epochs and iterations of k-means on TF-IDF of docstrings"),
    "speed": Page("Speed: epochs and iterations of k-means", plots.draw_speed),
    "streams": Page("Streams: partial_fit, mini-batches and data on disk"),
    "usefulness": Page("Usefulness: map and k-means with as many centers, at their defaults"),
    "workers": Page("Workers: speed-up, exchange, and a model of up to 100 machines"),
}


def load_results(name):
    """Return the content of results/NAME.json: "machine", "notes" and "tables"."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def format_page(name, content, *, has_plot=False):
    """Return the Markdown of a page.

    Parameters
    ----------
    name : str
        Name of the results, a key of `PAGES`.
    content : dict
        "machine", "notes" and "tables", as stored in the JSON file.
    has_plot : bool, default=False
        Whether the page shows NAME.png.
    """
    title, machine = PAGES[name].title, content["machine"]
    versions = ", ".join(f"{package} {number}" for package, number in machine["versions"].items())
    duration = f", in {math.ceil(machine['seconds'] / 60)} minutes"
    lines = [
        f"# {title}",
        "",
        f"{machine['cores']} cores, {machine['cpu']}, Python {machine['python']}, {versions}, "
        f"commit {machine['commit']}, {machine['date']}{duration}.",
        "",
        *(line for table in content["tables"].items() for line in _format_table(*table)),
        *([f"![{title}]({name}.png)", ""] if has_plot else []),
        *(f"- {note}" for note in content["notes"]),
    ]
    return "\n".join(lines) + "\n"


def _format_table(heading, rows):
    return [
        *([f"## {heading}", ""] if heading else []),
        "| " + " | ".join(rows[0]) + " |",
        "|" + "---|" * len(rows[0]),
        *(
            "| " + " | ".join(_format_value(value) for value in row.values()) + " |"
            for row in rows
        ),
        "",
    ]


def _format_value(value):
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def render_pages(folder):
    """Write the page of each file of results, and its plot, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(RESULTS.glob("*.json")):
        name, content = path.stem, load_results(path.stem)
        draw = PAGES[name].draw
        figure = None if draw is None else draw(content["tables"])
        if figure is not None:
            figure.savefig(folder / f"{name}.png", dpi=100)
        page = format_page(name, content, has_plot=figure is not None)
        (folder / f"{name}.md").write_text(page)


def main():
    """Render all pages into the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where pages and plots are written")
    render_pages(parser.parse_args().folder)


if __name__ == "__main__":
    main()

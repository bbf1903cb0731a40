"""Compare the measured figures in the documentation with the results of the benchmarks."""

import re

import figures
import pytest
import render

FIGURES = figures.collect_figures()
CODE = re.compile(
    r"^\.\. (?:code-block|plot)::.*\n(?:   .*\n|\n)+|```[\s\S]*?```|``[^`]*``|:math:`[^`]*`",
    flags=re.MULTILINE,
)
QUANTITY = re.compile(
    r"(?P<value>\d[\d.,]*(?:e-?\d+)?) ?"
    r"(?P<unit>%|times|ms|µs|s|MiB|GiB|MB|GB|TB|seconds|minutes)(?![\w-])"
)
# Quantities that are settings, rules, assumptions or bounds that other tests check, and not
# measurements.
SETTINGS = {
    "data.rst": {"100 times", "32 MB", "64 MiB", "128 MiB"},
    "learning.rst": {"60 %", "5 %"},
    "machines.rst": {"25 seconds", "50 seconds", "0.2 ms", "32 MiB", "64 MiB"},
    "promises.rst": {"64 MiB"},
    "reading.rst": {"5 %"},
    "serving.rst": {
        "1e-5 times",
        "1e-6 times",
        "1e-7 times",
        "200 times",
        "1e9 times",
        "1e17 times",
    },
    "uses.rst": {"5 %"},
}


def remove_figures(text):
    """Return a text without its code and without the figures that the script writes."""
    text = figures.IN_MARKDOWN.sub("", text.split(figures.HEADER)[0])
    return CODE.sub("", text)


@pytest.mark.parametrize("path", figures.list_texts(), ids=lambda path: path.name)
def test_text_states_the_present_figures(path):
    # `python benchmarks/figures.py` updates the text.
    assert path.read_text() == figures.update(path, FIGURES)


@pytest.mark.parametrize("path", figures.list_texts(), ids=lambda path: path.name)
def test_every_measured_quantity_has_a_source(path):
    quantities = {
        f"{match['value']} {match['unit']}"
        for match in QUANTITY.finditer(remove_figures(path.read_text()))
    }
    assert quantities - SETTINGS.get(path.name, set()) == set()


def test_readme_states_no_other_result():
    features = remove_figures(figures.ROOT.joinpath("README.md").read_text())
    assert re.findall(r"\d\.\d+", features.split("\n## Features\n")[1]) == []


def test_changed_result_changes_the_text():
    changed = {name: "7.5" for name in FIGURES}
    path = figures.ROOT / "README.md"
    text = figures.update(path, changed)
    assert text != path.read_text()
    assert set(figures.IN_MARKDOWN.findall(text)) == {
        ("7.5", name) for _, name in figures.IN_MARKDOWN.findall(path.read_text())
    }
    rst = "The ratio is |epoch-ratio|.\n"
    assert figures.update_rst(rst, changed).endswith(".. |epoch-ratio| replace:: 7.5\n")


def test_every_result_has_a_page(tmp_path):
    render.render_pages(tmp_path)
    names = {path.stem for path in render.RESULTS.iterdir()}
    assert {path.stem for path in tmp_path.glob("*.md")} == names
    assert {path.stem for path in tmp_path.glob("*.png")} == {
        name for name in names if render.PAGES[name].draw is not None
    }

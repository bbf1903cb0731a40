"""Sphinx configuration. Build the documentation with ``make docs``."""

import ast
import inspect
import re
import shutil
import sys
import warnings
from pathlib import Path

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml

# sphinx-gallery looks up what the examples import, also when it does not run them.
from sklearn.experimental import enable_iterative_imputer  # noqa: F401

from sklearn_tfsom import __version__, displays, metrics
from sklearn_tfsom._distance import METRICS
from sklearn_tfsom._map.neighborhood import NEIGHBORHOODS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.append(str(ROOT / "benchmarks"))
from render import render_pages  # noqa: E402  # of benchmarks/

GENERATED = HERE / "generated"

project = "sklearn-tfsom"
author = "The sklearn-tfsom developers"
copyright = author
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_gallery.gen_gallery",
    "myst_parser",
]
exclude_patterns = [
    "generated/examples",
    "generated/gallery/*.py",
    "_*.rst",  # written below, and included in api.rst
    "gallery_header.rst",
]
autodoc_mock_imports = ["dask", "distributed", "ray", "pyspark"]
autosummary_generate = ["api", "_displays", "_measures"]
templates_path = ["_templates"]
default_role = "py:obj"
root_doc = "index"

html_theme = "furo"
html_title = f"sklearn-tfsom {version}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_theme_options = {"top_of_page_buttons": []}
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"
pygments_style = "friendly"

# Docstrings describe the types more precisely than the annotations, which are mostly `Any`.
autodoc_typehints = "none"
autodoc_member_order = "groupwise"
autodoc_default_options = {"inherited-members": True}
numpydoc_class_members_toctree = False
numpydoc_show_inherited_class_members = True
myst_heading_anchors = 2

plot_include_source = True
plot_html_show_formats = False
plot_html_show_source_link = False
plot_formats = [("png", 130)]
plot_rcparams = {"savefig.bbox": "tight"}

# Hide warnings of other packages in the output of examples.
warnings.filterwarnings("ignore", module=r"(sklearn|scipy)\.")

# `-D plot_gallery=0` skips running the examples.
sphinx_gallery_conf = {
    "examples_dirs": "generated/examples",
    "gallery_dirs": "generated/gallery",
    "filename_pattern": r"/(plot_|digits_demo)",  # others start processes: not run
    "within_subsection_order": "FileNameSortKey",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sklearn_tfsom",),
    "capture_repr": (),
    "download_all_examples": False,
    "write_computation_times": False,
    "show_signature": False,
    "log_level": {"backreference_missing": "info"},
}


def stage_examples():
    """Copy the examples that begin with a title, and their data, to the gallery source."""
    staged = GENERATED / "examples"
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(ROOT / "examples", staged, ignore=shutil.ignore_patterns("*.png", "__*"))
    shutil.copy(HERE / "gallery_header.rst", staged / "GALLERY_HEADER.rst")
    for path in staged.glob("*.py"):
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        if not re.match(r".+\n(=|-){3,}(\n|$)", docstring):
            path.unlink()


def stage_results():
    """Write the pages of the benchmark results, with their plots."""
    staged = GENERATED / "results"
    shutil.rmtree(staged, ignore_errors=True)
    render_pages(staged)


def autosummary(names):
    """Return a list of objects, given by their names in the package."""
    entries = "".join(f"   {name}\n" for name in names)
    return (
        ".. currentmodule:: sklearn_tfsom\n\n"
        f".. autosummary::\n   :toctree: generated\n   :nosignatures:\n\n{entries}\n"
    )


def stage_lists():
    """Write the lists of all displays, measures and scorers for the API reference."""
    # Not in generated/, since autosummary writes pages relative to these files.
    (HERE / "_displays.rst").write_text(
        autosummary(f"displays.{name}" for name in displays.__all__)
    )

    public = {name: getattr(metrics, name) for name in metrics.__all__}
    measures = {name: value for name, value in public.items() if inspect.isfunction(value)}
    sections = {}
    for name, measure in measures.items():
        title = inspect.getmodule(measure).__doc__.partition(".")[0]
        sections.setdefault(title, []).append(f"metrics.{name}")
    text = "".join(
        f"{title}\n{'^' * len(title)}\n\n{autosummary(names)}"
        for title, names in sorted(sections.items())
    )
    (HERE / "_measures.rst").write_text(text)

    entries = (
        f".. py:data:: {name}\n\n   {scorer.__doc__}\n\n"
        for name, scorer in public.items()
        if name not in measures
    )
    (HERE / "_scorers.rst").write_text("".join(entries))


def table(header, rows):
    """Return a table with a header, of cells in reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (header, *rows):
        lines += [f"   {'*' if n == 0 else ' '} - {cell}" for n, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def stage_tables():
    """Write the tables of all metrics and neighborhoods for the API reference."""
    yes_or_no = {True: "yes", False: "no"}
    header = (
        "Metric",
        "Distance",
        "Elementwise",
        "Code vectors",
        "Sparse data",
        "Missing values",
        "For",
    )
    rows = [
        (
            f'``"{name}"``',
            f"``{metric.formula}``",
            yes_or_no[not metric.is_product],
            "mean directions" if metric.is_spherical else "means",
            yes_or_no[metric.allows_sparse],
            yes_or_no[metric.allows_missing],
            metric.use,
        )
        for name, metric in METRICS.items()
    ]
    (HERE / "_metrics_table.rst").write_text(table(header, rows))
    header = "Neighborhood", "Formula", "Final radius"
    rows = [
        (
            f'``"{name}"``',
            neighborhood.formula.__doc__.removeprefix("Return ").rstrip("."),
            f"{neighborhood.radius_end:g}",
        )
        for name, neighborhood in NEIGHBORHOODS.items()
    ]
    (HERE / "_neighborhoods_table.rst").write_text(table(header, rows))


def drop_stale_pages():
    """Remove pages of an earlier build whose example or object no longer exists."""
    for page in GENERATED.glob("sklearn_tfsom.*.rst"):
        page.unlink()
    scripts = {path.stem for path in (GENERATED / "examples").glob("*.py")}
    for path in (GENERATED / "gallery").glob("*.*"):
        if path.name.split(".")[0] not in scripts:
            path.unlink()


stage_examples()
stage_results()
stage_lists()
stage_tables()
drop_stale_pages()


def drop_foreign_references(app, what, name, obj, options, lines):
    """Replace references in inherited docstrings to pages of scikit-learn by plain text.

    The labels of this documentation begin with "guide_".
    """
    foreign = r":(?:ref|term):`(?![^`]*\bguide_)([^`<]+?)\s*(?:<[^>]*>)?`"
    lines[:] = [re.sub(foreign, r"\1", line) for line in lines]


def visit_math(self, node):
    """Write an inline formula as MathML, which browsers render without JavaScript."""
    self.body.append(tex2mathml(node.astext()))
    raise SkipNode


def visit_math_block(self, node):
    """Write a displayed formula as MathML."""
    formula = tex2mathml(node.astext(), as_block=True)
    self.body.append(f"{self.starttag(node, 'div', CLASS='math')}{formula}</div>\n")
    raise SkipNode


def setup(app):
    """Register the extensions defined in this file."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.connect("autodoc-process-docstring", drop_foreign_references)

"""Run the code of the documentation, and compare its lists with the package and its tests."""

import ast
import inspect
import re
import tomllib
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import reference
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_tfsom
from sklearn_tfsom import TFSOM, InvalidParameterError, displays, distributed, metrics
from sklearn_tfsom._map.neighborhood import NEIGHBORHOODS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^\.\. (?:code-block:: python|plot::)\n((?:   .*\n|\n)+)", flags=re.MULTILINE)

# An expression with its value in a comment, such as ``som.grid_shape_  # (11, 6)``.
STATED = re.compile(
    r"^(\S.*?)  # (True|False|None|-?\d\S*|[(\[{].*[)\]}]|\"[^\"]*\")$", flags=re.MULTILINE
)


def category_dominates(names):
    """Return True if each unit has one value of a category, but only of standardized columns."""
    X = names["mixed"]
    standardized = make_pipeline(names["prepare"], StandardScaler(), TFSOM()).fit(X)
    purities = [metrics.purity(som, X, X[:, 4]) for som in (standardized, names["with_category"])]
    return purities[0] == 1 > purities[1]


# Other results that a page states, given the variables that its code defines.
CLAIMS = {
    "guide/choosing": lambda names: (
        2 < names["search"].best_params_["grid_size"] < 8 and category_dominates(names)
    ),
    "guide/uses": lambda names: (
        names["scores"].argmin() == 0
        and names["rmse"] < 0.9
        and len(np.unique(names["palette"].quantize(names["pixels"]), axis=0)) == 16
    ),
    "guide/machines": lambda names: names["labels"].compute().max() == 9,
    "from_minisom": lambda names: np.allclose(
        names["som"].codebook_,
        reference.train(
            names["X"],
            names["weights"].reshape(40, 4),
            names["radii"],
            (8, 5),
            "rectangular",
            "planar",
            "gaussian",
        )[0],
    ),
}


def read_page(page):
    return (DOCS / f"{page}.rst").read_text()


def code_of(page):
    """Return the Python code of a page, without options of directives."""
    blocks = BLOCK.findall(read_page(page) + "\n")
    lines = [line[3:] for block in blocks for line in block.splitlines()]
    return "\n".join(line for line in lines if not line.startswith(":"))


def pages():
    paths = [*DOCS.glob("[!_]*.rst"), *DOCS.glob("guide/*.rst")]
    return sorted(path.relative_to(DOCS).with_suffix("").as_posix() for path in paths)


def allowed_values(parameter):
    """Return the strings that a parameter of TFSOM accepts, from its error message."""
    with pytest.raises(InvalidParameterError, match=f"'{parameter}'") as error:
        TFSOM(**{parameter: "unknown"}).fit(np.eye(4))
    (listed,) = re.findall(r"\{(.*?)\}", str(error.value))
    return re.findall(r"'(\w+)'", listed)


@pytest.mark.parametrize("page", [page for page in pages() if code_of(page)])
def test_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names = {}
    code = STATED.sub(r"assert (\1) == \2", code_of(page))
    exec(compile(code, page, "exec"), names)
    plt.close("all")
    if page in CLAIMS:
        assert CLAIMS[page](names)


@pytest.mark.parametrize("module", [sklearn_tfsom, distributed])
def test_reference_lists_every_public_name(module):
    # Entries of autosummary lists, and arguments of directives such as autoexception.
    entries = r"^(?:   |\.\. .+:: )(?:\w+\.)*(\w+)$"
    listed = re.findall(entries, read_page("api"), flags=re.MULTILINE)
    assert set(module.__all__) - set(listed) == set()


@pytest.mark.parametrize("parameter", ["metric", "neighborhood"])
def test_docstring_lists_every_allowed_value(parameter):
    text = inspect.getdoc(TFSOM).split(f"\n{parameter} : ")[1].split("\n\n")[0]
    missing = [name for name in allowed_values(parameter) if f'"{name}"' not in text]
    assert missing == []


def test_docstring_states_the_final_radius_of_every_neighborhood():
    text = inspect.getdoc(TFSOM).split("\nradius_end : ")[1].split("\n\n")[0]
    _, *parts = re.split(r"(\d+(?:\.\d+)?)\s+for\s", text)
    stated = {
        name: float(radius)
        for radius, names in zip(parts[::2], parts[1::2], strict=True)
        for name in re.findall(r'"(\w+)"', names)
    }
    assert stated == {name: row.radius_end for name, row in NEIGHBORHOODS.items()}


def test_changelog_names_every_measure_and_display():
    text = (ROOT / "CHANGELOG.md").read_text()
    names = [name for name in metrics.__all__ if not name.endswith("_scorer")]
    assert [name for name in [*names, *displays.__all__] if f"`{name}`" not in text] == []


def test_doc_link_of_the_estimator():
    link = TFSOM()._get_doc_link()
    page = link.rsplit("/", 1)[1].removesuffix(".html")
    assert f".. autoclass:: {TFSOM.__name__}" in read_page(page)


def find_tests(path):
    """Return the names of the tests in a file, those of a class also as ``Class::test``."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            methods = [each.name for each in node.body if isinstance(each, ast.FunctionDef)]
            names |= {node.name, *(f"{node.name}::{method}" for method in methods)}
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
    return {name for name in names if name.rpartition("::")[2].lower().startswith("test")}


def test_promises_name_tests_that_exist():
    text = read_page("promises")
    named = re.findall(r"``(tests/\w+\.py)::([\w:]+)``", text)
    assert len(named) == text.count(".py::") > 0
    missing = [f"{path}::{name}" for path, name in named if name not in find_tests(ROOT / path)]
    assert missing == []


def test_contributing_lists_every_module():
    package = ROOT / "sklearn_tfsom"
    paths = [path for path in package.rglob("*.py") if path.name != "__init__.py"]
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| `([\w/]+\.py)` \| .+ \|$", text, flags=re.MULTILINE)
    assert sorted(rows) == sorted(path.relative_to(package).as_posix() for path in paths)


def test_recipe_of_conda_requires_what_the_package_does():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    recipe = (ROOT / ".ci" / "recipe" / "recipe.yaml").read_text()
    _, _, run = recipe.partition("\n  run:\n")
    required = re.findall(r"^    - (\S+) (>=\S+)$", run.partition("\n\n")[0], flags=re.MULTILINE)
    assert [name + bound for name, bound in required] == project["dependencies"]

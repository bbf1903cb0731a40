"""The code in the documentation runs, page by page, and the reference holds every public name."""

import re
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

import sklearn_tfsom
from sklearn_tfsom import TFSOM, distributed, metrics

DOCS = Path(__file__).resolve().parent.parent / "docs"
BLOCK = re.compile(r"^\.\. (?:code-block:: python|plot::)\n((?:   .*\n|\n)+)", flags=re.MULTILINE)

# What pages say of what their code does.
CLAIMS = {
    "guide/learning": lambda names: np.allclose(names["som"].codebook_, names["by_hand"]),
    "guide/choosing": lambda names: (
        names["pipeline"][-1].grid_shape_ == (11, 6)
        and 2 < names["search"].best_params_["grid_size"] < 8
    ),
    "guide/uses": lambda names: names["scores"].argmin() == 0 and names["rmse"] < 0.9,
    "guide/data": lambda names: (
        np.allclose(names["weighted"].codebook_, names["repeated"].codebook_)
        and names["stream"].n_samples_seen_ == 1797
    ),
    "guide/machines": lambda names: np.allclose(names["codebook"], names["som"].codebook_),
    "guide/serving": lambda names: (
        sorted(names["found"]) == ["bmu", "cluster_label", "distances", "position"]
    ),
    "from_kmeans": lambda names: names["is_the_same"],
}


def code_of(page):
    """Python code of a page, without the options of directives."""
    blocks = BLOCK.findall((DOCS / f"{page}.rst").read_text() + "\n")
    lines = [line[3:] for block in blocks for line in block.splitlines()]
    return "\n".join(line for line in lines if not line.startswith(":"))


def pages():
    paths = [*DOCS.glob("*.rst"), *DOCS.glob("guide/*.rst")]
    return sorted(path.relative_to(DOCS).with_suffix("").as_posix() for path in paths)


@pytest.mark.parametrize("page", [page for page in pages() if code_of(page)])
def test_the_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names = {}
    exec(compile(code_of(page), page, "exec"), names)
    plt.close("all")
    if page in CLAIMS:
        assert CLAIMS[page](names)


@pytest.mark.parametrize("module", [sklearn_tfsom, metrics, distributed])
def test_the_reference_holds_every_public_name(module):
    reference = (DOCS / "api.rst").read_text()
    # Lines of a directive, and of the list in one.
    shown = re.findall(r"^(?:   |\.\. .+:: )(?:\w+\.)*(\w+)$", reference, flags=re.MULTILINE)
    assert set(module.__all__) - set(shown) == set()


def test_the_page_of_the_map_is_where_the_map_links_to():
    link = TFSOM()._get_doc_link()
    page = link.rsplit("/", 1)[1].removesuffix(".html")
    assert f".. autoclass:: {TFSOM.__name__}" in (DOCS / f"{page}.rst").read_text()

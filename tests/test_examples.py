"""Run the examples with reduced settings, and check the statements of their texts."""

import ast
import re
import runpy
import shutil
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from sklearn_tfsom import displays

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
GUIDE = EXAMPLES.parent / "docs" / "guide"
SCRIPTS = sorted(EXAMPLES.glob("plot_*.py"))

# A tight box draws each figure twice.
SMALL_FIGURES = {'dpi=150, bbox_inches="tight"': "dpi=75"}


@pytest.fixture(autouse=True)
def one_thread():
    """Use one thread: several threads are up to thirty times slower on a busy machine."""
    with threadpool_limits(1):
        yield


def replaced(path, replacements):
    """Return the code of an example with each setting replaced, which must occur exactly once."""
    code = path.read_text()
    for old, new in replacements.items():
        assert code.count(old) == 1, f"{old!r} must occur once in {path.name}"
        code = code.replace(old, new)
    return code


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that runs a copy of an example and returns the lines that it prints."""

    def run_example(name, replacements=None, arguments=()):
        copy = tmp_path / "examples"
        shutil.copytree(EXAMPLES, copy, ignore=shutil.ignore_patterns("*.png", "__pycache__"))
        script = copy / f"plot_{name}.py"
        script.write_text(replaced(script, SMALL_FIGURES | (replacements or {})))
        monkeypatch.setattr(sys, "argv", [str(script), *arguments])
        matplotlib.use("agg")
        plt.close("all")  # those of doctests stay open
        try:
            runpy.run_path(str(script), run_name="__main__")
        finally:
            plt.close("all")
        lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
        figure = plt.imread(tmp_path / "output" / f"{name}.png")
        assert figure.shape[1] > 500 and figure[..., :3].std() > 0.1
        return lines

    return run_example


def numbers(lines, beginning):
    """Return the numbers in the only line with this beginning."""
    (line,) = [line for line in lines if line.startswith(beginning)]
    return [
        float(text.replace(",", "")) for text in re.findall(r"-?\d[\d.,]*", line[len(beginning) :])
    ]


def test_scripts_are_found():
    assert SCRIPTS


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_form(path):
    code = path.read_text()
    title, underline, *_ = ast.get_docstring(ast.parse(code), clean=False).strip().splitlines()
    assert underline == "=" * len(title)
    assert code.count("\n# %%\n") >= 4
    assert "**When not to use a map:**" in code


def test_customers(run):
    lines = run("customers")
    assert numbers(lines, "customers")[0] == 900 == sum(numbers(lines, "customers")[1:])
    assert len(numbers(lines, "customers")) > 4  # "auto" finds several segments
    # The median of all customers is between the medians of the segments.
    for feature in ("recency_days", "spend_per_year", "share_food"):
        overall, *by_segment = numbers(lines, feature)
        assert min(by_segment) <= overall <= max(by_segment)
    som, k_means, mixture = numbers(lines, "6 clusters")
    assert som > k_means + 0.1 and abs(som - mixture) < 0.1


def test_customers_with_another_table(run, tmp_path):
    table = tmp_path / "table.csv"
    rows = [f"{100 + k % 7},{k % 2}.5,{'' if k == 3 else 3 * (k % 5)}" for k in range(60)]
    table.write_text("\n".join(["visits,share,age", *rows]))
    lines = run("customers", arguments=[str(table), "2"])
    assert numbers(lines, "customers") == [60, 30, 30]
    assert sorted(numbers(lines, "share")) == [0.5, 1, 1.5]


def test_customers_data_match_the_generator(tmp_path):
    shutil.copy(EXAMPLES / "data" / "make_customers.py", tmp_path)
    runpy.run_path(str(tmp_path / "make_customers.py"), run_name="__main__")
    generated = (tmp_path / "customers.csv").read_text()
    assert generated == (EXAMPLES / "data" / "customers.csv").read_text()


def test_image_compression(run):
    images = "load_sample_images().images"
    settings = {
        f"{images}, strict": f"[image[::2, ::2] for image in {images}], strict",
        "SIDES = (16, 8, 4)": "SIDES = (16,)",
        "STEP = 3 ": "STEP = 10 ",
    }
    lines = run("image_compression", settings)
    for image in ("china", "flower"):
        colors, som, k_means, mini_batch, *similarities = numbers(lines, f"{image}     ")[:7]
        assert colors == 256
        assert 30 < som < k_means + 0.1 and som > mini_batch - 1
        assert all(0.9 < similarity < 1 for similarity in similarities)
        orders = {
            name: numbers(lines, f"{image:8}{name}")
            for name in ("k-means, unsorted", "k-means, by luminance", "map of one row")
        }
        # Ordered indices give a smaller grayscale file, and the map gives the best image if bits
        # are dropped.
        assert orders["map of one row"][0] < 0.97 * orders["k-means, unsorted"][0]
        for bits in (2, 3, 4):
            assert orders["map of one row"][2 + bits] > orders["k-means, by luminance"][2 + bits]


def test_anomalies(run):
    lines = run("anomalies", {"N_SPLITS = 10": "N_SPLITS = 2"})
    rows = {
        name: numbers(lines, f"{name}  ")
        for name in ("map", "map, isolation", "IsolationForest", "LocalOutlierFactor")
    }
    for area, _, precision, recall, false_positive_rate, *_ in rows.values():
        assert 0.9 < area <= 1
        assert precision > 0.9 and recall > 0.6 and false_positive_rate < 0.15
    contaminated = {name: row[6] for name, row in rows.items()}
    assert contaminated["map"] + 0.1 < contaminated["map, isolation"]
    assert contaminated["LocalOutlierFactor"] + 0.1 < contaminated["map, isolation"]


def test_digits(run):
    settings = {"N_SPLITS = 3": "N_SPLITS = 1", "SIDES = [8, 12, 16, 20]": "SIDES = [8, 16]"}
    lines = run("digits", settings)
    assert numbers(lines, "purity of units")[0] > 0.9
    som_index = numbers(lines, "adjusted Rand index, ten clusters")[0]
    assert som_index > numbers(lines, "... of k-means, ten starts")[0] > 0.5
    som, _, _, side = numbers(lines, "map ")
    k_means, _, _, n_centers = numbers(lines, "k-means ")
    assert som > 0.96 < k_means and abs(som - k_means) < 0.02
    assert som > numbers(lines, "pixels")[0]
    assert (side, n_centers) == (16, 256)


def test_missing_values(run):
    settings = {
        '"wine": 10, "breast cancer": 2': '"wine": 2, "breast cancer": 1',
        "FRACTIONS = (0.1, 0.3, 0.5)": "FRACTIONS = (0.1, 0.5)",
        "IterativeImputer(random_state=0)": "IterativeImputer(max_iter=2, random_state=0)",
    }
    lines = run("missing_values", settings)
    errors = {
        (data, method): numbers(lines, f"{data:15}{method:17}")[:2]
        for data in ("wine", "breast cancer")
        for method in ("mean", "KNNImputer", "IterativeImputer", "map")
    }
    for data in ("wine", "breast cancer"):
        assert all(0.9 < error < 1.2 for error in errors[data, "mean"])
        few_missing, many_missing = errors[data, "map"]
        assert few_missing < many_missing < 0.85
    assert errors["breast cancer", "IterativeImputer"][0] < errors["breast cancer", "map"][0]
    complete, *incomplete = numbers(lines, "k-means, map")
    assert 0.85 < complete > max(incomplete) and min(incomplete) > 0.4


def test_embedding(run):
    # t-SNE requires at least 250 iterations. None of its results is compared.
    fast = "TSNE(random_state=0, max_iter=250, perplexity=5, angle=1.0)"
    lines = run("embedding", {"TSNE(random_state=0)": fast})
    (header,) = [line for line in lines if "trustworthiness" in line]
    assert header.split()[:2] == ["trustworthiness", "continuity"]
    som, pca, isomap = (numbers(lines, f"{name}  ") for name in ("map", "PCA", "Isomap"))
    assert som[0] > max(pca[0], isomap[0]) + 0.1
    assert som[2] > 0.95 and som[4] > 0.95
    (t_sne_line,) = [line for line in lines if line.startswith("t-SNE")]
    assert "not possible" in t_sne_line


def test_tutorial(run, tmp_path):
    pytest.importorskip("bokeh")
    lines = run("tutorial")
    # The ranges of the columns, and the errors of the map.
    area = numbers(lines, "mean area")
    fractal_dimension = numbers(lines, "mean fractal dimension")
    assert area[2] - area[0] > 1e4 * (fractal_dimension[2] - fractal_dimension[0])
    errors = numbers(lines, "topographic error")
    assert errors[0] < min(0.05, errors[1])
    trained, new = numbers(lines, "quantization error")
    assert trained < new < 1.25 * trained
    # Two clusters, between doubtful and plain; one of them almost entirely malignant.
    assert 3 < numbers(lines, "separation of 2 clusters:")[0] < 5
    first, second = numbers(lines, "0  "), numbers(lines, "1  ")
    assert first[1] > 20 and second[0] < 0.1 * second[1]
    # Most new tumors are decided, and hardly any wrongly.
    decided = next(line for line in lines if "new tumors decided" in line)
    n_decided, n_new, n_wrong = (int(text) for text in re.findall(r"\d+", decided))
    assert n_new == 190 and n_decided > n_new / 2 and n_wrong <= 3
    assert (
        numbers(lines, "second reading  ")[0] > 10 and numbers(lines, "second reading  ")[1] > 10
    )
    unusual = [line for line in lines if line.startswith("tumor ")]
    assert len(unusual) == numbers(lines, "unusual:")[0] > 0
    assert sum(line.endswith("diagnosis: malignant") for line in unusual) > len(unusual) / 2
    assert "<html" in (tmp_path / "output" / "tutorial.html").read_text()


def test_methods(run):
    # The groups of t-SNE have formed after 400 of 1,000 iterations.
    fast = "TSNE(random_state=0, max_iter=400, angle=1.0)"
    lines = run("methods", {"TSNE(random_state=0)": fast})
    pca, som, k_means = (numbers(lines, f"{name}  ") for name in ("PCA", "map", "k-means"))
    t_sne = numbers(lines, "t-SNE")
    # Trustworthiness, and that of new samples, which t-SNE does not have.
    assert t_sne[0] > som[0] > pca[0] + 0.1 and som[1] > pca[1] + 0.1
    assert (len(pca), len(t_sne), len(k_means), len(som)) == (3, 2, 3, 5)
    # Quantization errors: k-means is better, less so for new samples.
    assert k_means[0] < som[2] and k_means[1] < som[3]
    assert k_means[1] / k_means[0] > som[3] / som[2]


def test_supervised(run):
    lines = run("supervised")
    start = next(n for n, line in enumerate(lines) if line.startswith("R^2"))
    names = ["map  ", "map, scaled", "nearest neighbors", "linear"]
    # Means without their standard deviations.
    accuracy = np.array([numbers(lines[:start], name)[::2] for name in names])
    r2 = [numbers(lines[start:], name)[0] for name in names]
    som, scaled, neighbors, linear = accuracy
    real, moons = slice(0, 4), 4
    assert (np.maximum(som, scaled) < neighbors).all()
    assert (scaled < linear)[real].all() and (scaled > som)[real].all()
    assert min(som[moons], scaled[moons]) > linear[moons] and scaled[moons] < som[moons]
    losses = accuracy.max(axis=0) - som
    assert min(losses[:2]) > max(losses[2:])
    assert r2[0] < r2[2] < r2[3] - 0.05 and abs(r2[0] - r2[1]) < 0.03
    assert numbers(lines, "samples in mixed units:")[0] < 20
    assert numbers(lines, "errors in mixed units:")[0] > 50
    # The guide states the same figures.
    text = (GUIDE / "uses.rst").read_text().split("take the place of a supervised map.")[1]
    stated = [
        float(number) for number in re.findall(r"\d\.\d{3}", text.split("plot_supervised")[0])
    ]
    assert stated == pytest.approx([*accuracy[:, 2], r2[0], *r2[2:]], abs=0.006)


def test_displays(run, tmp_path):
    pytest.importorskip("bokeh")
    run("displays")
    assert len(list((tmp_path / "output").glob("displays*.png"))) == 7
    assert "<html" in (tmp_path / "output" / "displays.html").read_text()


def test_every_display_is_shown():
    code = (EXAMPLES / "plot_displays.py").read_text()
    assert [
        name for name in displays.__all__ if f"# * `~sklearn_tfsom.displays.{name}`" not in code
    ] == []
    assert [name for name in displays.__all__ if f"{name}.from_estimator(" not in code] == []


def test_example_without_file_name(monkeypatch, capsys):
    """The gallery runs the code in the folder of the examples without defining __file__."""
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr(sys, "argv", ["plot_customers.py"])
    matplotlib.use("agg")
    plt.close("all")
    code = (EXAMPLES / "plot_customers.py").read_text()
    exec(compile(code, "plot_customers.py", "exec"), {"__name__": "__main__"})
    assert len(plt.get_fignums()) == 1
    plt.close("all")
    assert "Figure saved" not in capsys.readouterr().out

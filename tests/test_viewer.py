"""The interactive map: its file, and what it does in a browser."""

import copy
import csv
import json
import pickle
import re
import shutil
import subprocess
import time
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from bokeh.models import ColumnDataSource, CustomJS, CustomJSHover, Div, LinearColorMapper, Title
from scipy.sparse import bsr_array, coo_matrix, csr_matrix
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM, InvalidParameterError
from sklearn_tfsom.displays import InteractiveMapDisplay

WINE = load_wine(as_frame=True)
WINE.data = WINE.data.rename(columns={"proline": "$$proline$$"})  # not TeX
X = WINE.data.set_index(pd.Index([f"bottle {k}" for k in range(178)], name="bottle"))
CLASSES = WINE.target_names[WINE.target]

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--window-size=1400,1400",
]


@pytest.fixture(scope="module")
def pipeline():
    return make_pipeline(StandardScaler(), TFSOM((7, 6), n_clusters=3)).fit(X)


@pytest.fixture(scope="module")
def viewer(pipeline):
    return InteractiveMapDisplay.from_estimator(pipeline, X, CLASSES, title="Wine & <b>bottles")


def tables_of(display):
    """Return the columns of the samples that a page has."""
    sources = [m for m in display.layout_.references() if isinstance(m, ColumnDataSource)]
    return [source.data for source in sources if len(source.data.get("sample", ()))]


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ((TFSOM(), X), NotFittedError, "not fitted"),
            (
                (StandardScaler().fit(X), X),
                TypeError,
                "needs a TFSOM, or a Pipeline",
            ),
            ((None, X.iloc[:, :3]), ValueError, "3 features|feature names"),
            ((None, X, CLASSES[:-1]), ValueError, "177"),
        ],
        ids=["not fitted", "no map", "features", "length of y"],
    )
    def test_from_estimator(self, pipeline, arguments, error, message):
        som, *others = arguments
        with pytest.raises(error, match=message):
            InteractiveMapDisplay.from_estimator(pipeline if som is None else som, *others)

    def test_without_bokeh(self, pipeline, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ImportError, match=r"needs Bokeh.*sklearn-tfsom\[viewer\]"):
            InteractiveMapDisplay.from_estimator(pipeline, 1e200 * X)


class TestFile:
    def test_it_needs_no_other_file(self, viewer, tmp_path):
        viewer.save(tmp_path / "map.html")
        page = (tmp_path / "map.html").read_text()
        outside = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
        assert not re.search(r"(src|href)=", outside)
        assert not re.search(r"<script[^>]* src=", page)
        assert "Wine &amp; &lt;b&gt;bottles" in page

    def test_failed_save_leaves_the_file(self, pipeline, tmp_path):
        path = tmp_path / "map.html"
        path.write_text("former page")
        viewer = InteractiveMapDisplay.from_estimator(pipeline, title="no UTF-8: \udce9")
        with pytest.raises(UnicodeEncodeError):
            viewer.save(path)
        assert path.read_text() == "former page"

    def test_size(self):
        """At most 3 MB beside the data, for 1,000 units and 10,000 samples."""
        rng = np.random.RandomState(0)
        data = rng.normal(size=(10_000, 5)).astype(np.float32)
        som = TFSOM((25, 40), max_iter=2).fit(data)
        page = InteractiveMapDisplay.from_estimator(som, data).to_html()
        n_values = 10_000 * 5 + 1000 * 5
        assert len(page) < 3e6 + 4 / 3 * 4 * n_values

    def test_in_notebooks(self, viewer):
        assert viewer._repr_html_().startswith('<iframe srcdoc="')

    def test_planes_are_in_original_units(self, viewer, pipeline):
        turned = pipeline[0].inverse_transform(pipeline[-1].codebook_)
        np.testing.assert_allclose(viewer.planes, turned)
        assert list(viewer.names) == list(WINE.data.columns)

    def test_large_integers(self, pipeline):
        data = X.set_index(np.arange(len(X)) * 2 + 2**53 + 1)
        page = InteractiveMapDisplay.from_estimator(pipeline, data).to_html()
        assert all(f'"{number}"' in page for number in data.index)

    @pytest.mark.parametrize(
        "make",
        [
            lambda values: pd.DataFrame({"a": pd.array(values, dtype="Int64"), "b": [1.0, 2, 3]}),
            lambda values: pl.DataFrame({"a": values, "b": [1.0, 2, 3]}),
            lambda values: pa.table({"a": values, "b": [1.0, 2, 3]}),
        ],
    )
    def test_large_integers_beside_missing_ones(self, make):
        table = make([2**53 + 1, None, 2**60 + 1])
        page = InteractiveMapDisplay.from_estimator(TFSOM(2).fit(table), table).to_html()
        assert f'["{2**53 + 1}","","{2**60 + 1}"]' in page

    @pytest.mark.parametrize("make", [pl.DataFrame, pa.table])
    def test_large_numbers_stay_numbers(self, make):
        table = make({"a": [1.5, None, 1e17], "b": [1.0, 2.0, 3.0]})
        samples = InteractiveMapDisplay.from_estimator(TFSOM(2).fit(table), table)
        assert samples.samples[1][1].dtype == np.float64

    def test_short_floats_have_no_rounding_errors(self):
        values = np.array([0.1, 0.2, 0.7])
        data = values.astype(np.float32)[:, None]
        display = InteractiveMapDisplay.from_estimator(TFSOM(2).fit(data), data)
        sources = [m for m in display.layout_.references() if isinstance(m, ColumnDataSource)]
        columns = [source.data["column0"] for source in sources if "column0" in source.data]
        assert values.tolist() in [np.asarray(column).tolist() for column in columns]

    @pytest.mark.parametrize(
        "convert", [np.asarray, csr_matrix, coo_matrix, bsr_array, lambda X: X.to_numpy().tolist()]
    )
    def test_samples_of_any_kind(self, convert, pipeline):
        som = pipeline[-1]
        data = convert(pd.DataFrame(pipeline[:-1].transform(X)))
        display = InteractiveMapDisplay.from_estimator(som, data, max_columns=2)
        names = [name for name, _ in display.samples]
        assert names == ["index", "feature 0", "feature 1"]

    def test_table_of_a_subset(self, pipeline):
        """Hits and classes count all samples."""
        display = InteractiveMapDisplay.from_estimator(pipeline, X, CLASSES, max_samples=50)
        everything = InteractiveMapDisplay.from_estimator(pipeline, X, CLASSES)
        assert display.hits.sum() == len(X)
        assert "50 of 178 samples are listed." in display.to_html()
        assert "are listed." not in everything.to_html()
        columns = [tables_of(each)[0] for each in (display, everything)]
        few, all_ = (pd.DataFrame(each).set_index("sample") for each in columns)
        assert len(few) == 50
        pd.testing.assert_frame_equal(few, all_.loc[few.index])

    def test_times_of_any_unit_are_texts(self):
        times = pd.date_range("2020-01-01", periods=4).astype("datetime64[ns]")
        frame = pd.DataFrame({"a": np.arange(4.0)}, index=times)
        page = InteractiveMapDisplay.from_estimator(TFSOM(2).fit(frame), frame).to_html()
        assert "2020-01-03T00:00:00" in page
        assert "1577836800000000000" not in page

    def test_durations_are_whole_texts(self):
        durations = pd.to_timedelta([1, 10**6, None], unit="h").astype("m8[us]")
        frame = pd.DataFrame({"a": np.arange(3.0)}, index=durations)
        page = InteractiveMapDisplay.from_estimator(TFSOM(2).fit(frame), frame).to_html()
        assert '["3600000000 microseconds","3600000000000000 microseconds",""]' in page

    def test_halves(self):
        frame = pd.DataFrame({"a": np.arange(4, dtype=np.float16) + 0.5})
        display = InteractiveMapDisplay.from_estimator(TFSOM(2).fit(frame), frame)
        np.testing.assert_array_equal(dict(display.samples)["a"], frame["a"])
        display.to_html()

    def test_texts_of_a_pipeline(self):
        texts = ["red wine", "cheap white wine", "cold beer", "warm beer"]
        pipeline = make_pipeline(TfidfVectorizer(), TFSOM(2)).fit(texts)
        display = InteractiveMapDisplay.from_estimator(pipeline, texts)
        assert [name for name, _ in display.samples] == ["index", "sample"]
        assert "cold beer" in display.to_html()
        series = pd.Series(texts, index=pd.Index(list("abcd"), name="drink"))
        (name, index), _ = InteractiveMapDisplay.from_estimator(pipeline, series).samples
        assert (name, list(index)) == ("drink", list("abcd"))

    def test_lists_of_words_of_a_pipeline(self):
        words = [["a", "b"], ["c"], ["a", "c", "d"], ["d"]]
        pipeline = make_pipeline(CountVectorizer(analyzer=list), TFSOM(2)).fit(words)
        display = InteractiveMapDisplay.from_estimator(pipeline, words)
        (_, index), (name, samples) = display.samples
        assert (list(index), name, list(samples)) == ([0, 1, 2, 3], "sample", words)
        assert "['a', 'c', 'd']" in display.to_html()

    @pytest.mark.parametrize(
        "name", ["$$x$$", r"\(x\)", r"\[x\]", r"$$\href{javascript:f()}{x}$$"]
    )
    def test_names_are_not_read_as_tex(self, name):
        """The page then does not contain MathJax, which takes 1.8 MB."""
        frame = pd.DataFrame({name: np.arange(6.0), "other": [0, 1, 0, 1, 0, 1]})
        classes = [name, "other"] * 3
        som = TFSOM((2, 2)).fit(frame)
        display = InteractiveMapDisplay.from_estimator(som, frame, classes, title=name)
        assert len(display.to_html()) < 3e6
        models = display.layout_.references()
        assert all(model.disable_math for model in models if isinstance(model, Div))
        titles = {model.text.text for model in models if isinstance(model, Title)}
        assert titles == {name, "U-matrix", "Hits", "Classes"}

    @pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
    def test_samples_in_tables(self, kind, pipeline):
        frame = pd.DataFrame(pipeline[:-1].transform(X)).add_prefix("c")
        tables = {
            "pandas": lambda: frame,
            "polars": lambda: pytest.importorskip("polars").DataFrame(frame.to_dict("list")),
            "pyarrow": lambda: pytest.importorskip("pyarrow").table(frame.to_dict("list")),
        }
        table = tables[kind]()
        som = TFSOM((3, 2), max_iter=2).fit(table)
        display = InteractiveMapDisplay.from_estimator(som, table, max_columns=3)
        (_, index), *columns = display.samples
        np.testing.assert_array_equal(index, np.arange(len(X)))
        assert [name for name, _ in columns] == ["c0", "c1", "c2"]
        np.testing.assert_array_equal(columns[2][1], frame["c2"])
        assert "c2" in display.to_html()

    def test_index_named_as_a_column(self, pipeline):
        data = pd.DataFrame(pipeline[:-1].transform(X)[:, :2], columns=["bottle", "acid"])
        data.index = X.index
        som = TFSOM((3, 2), max_iter=2).fit(data)
        display = InteractiveMapDisplay.from_estimator(som, data)
        assert [name for name, _ in display.samples] == ["bottle", "bottle", "acid"]
        np.testing.assert_array_equal(display.samples[0][1], X.index)
        np.testing.assert_array_equal(display.samples[1][1], data["bottle"])

    def test_masked_values_are_missing(self, pipeline):
        data = pipeline[:-1].transform(X)
        masked = np.ma.array(data, mask=data > 2)
        display = InteractiveMapDisplay.from_estimator(pipeline[-1], masked, max_columns=1)
        expected = np.where(data[:, 0] > 2, np.nan, data[:, 0])
        np.testing.assert_array_equal(display.samples[1][1], expected)

    def test_nulls_of_dictionaries_are_missing(self):
        values = [0.5, None, 1.5, 2.5] * 5
        table = pa.table({"a": pa.array(values).dictionary_encode(), "b": np.arange(20.0)})
        display = InteractiveMapDisplay.from_estimator(TFSOM(2).fit(table), table)
        np.testing.assert_array_equal(display.samples[1][1], np.array(values, dtype=float))

    def test_without_samples(self, pipeline):
        display = InteractiveMapDisplay.from_estimator(pipeline)
        assert "Save these samples" not in display.to_html()
        np.testing.assert_array_equal(display.hits, pipeline[-1].hits_)

    def test_colors_of_hits_reach_from_0_to_the_largest(self):
        values = np.arange(20.0)[:, None]
        som = TFSOM(2).fit(values, sample_weight=np.full(20, 0.01))
        display = InteractiveMapDisplay.from_estimator(som)
        mappers = [m for m in display.layout_.references() if isinstance(m, LinearColorMapper)]
        assert (0, som.hits_.max()) in [(mapper.low, mapper.high) for mapper in mappers]

    def test_constant_u_matrix_has_the_middle_color(self):
        som = TFSOM.from_codebook(np.ones((4, 1)), grid_size=(2, 2))
        display = InteractiveMapDisplay.from_estimator(som)
        mappers = [m for m in display.layout_.references() if isinstance(m, LinearColorMapper)]
        assert (-1, 1) in [(mapper.low, mapper.high) for mapper in mappers]

    def test_invalid_parameters(self, pipeline):
        for name in ("max_columns", "max_samples"):
            with pytest.raises(InvalidParameterError, match=name):
                InteractiveMapDisplay.from_estimator(pipeline, X, **{name: -1})
        with pytest.raises(InvalidParameterError, match="'title'"):
            InteractiveMapDisplay.from_estimator(pipeline, X, title=3)
        with pytest.raises(ValueError, match="needs X if y is given"):
            InteractiveMapDisplay.from_estimator(pipeline, y=CLASSES)


def run(code, **arguments):
    """Run JavaScript with arguments in Node.js, and return what it writes."""
    names, values = ", ".join(arguments), map(json.dumps, arguments.values())
    script = f"(({names}) => {{ {code} }})({', '.join(values)})"
    return subprocess.run(
        ["node", "-e", script], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def models():
    """Return the models of a page; the first of five units has 12,345 samples."""
    codebook = np.column_stack([np.arange(5), np.linspace(101_315.25, 101_335.25, 5)])
    data = np.repeat(codebook, [12_345, 1, 1, 1, 1], axis=0)
    classes = np.where(np.arange(len(data)) == 7, "rare", "common")
    som = TFSOM.from_codebook(codebook, grid_size=(1, 5))
    display = InteractiveMapDisplay.from_estimator(som, data, classes)
    return display.layout_.references()


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
class TestNumbers:
    def test_details(self, models):
        hover = next(m for m in models if isinstance(m, CustomJS) and "hovered" in m.code)
        units = hover.args["units"].data
        text = run(
            f"{hover.code}; console.log(details.text)",
            cb_data={"index": {"indices": [0]}},
            units={"data": {name: np.asarray(column).tolist() for name, column in units.items()}},
            meta=hover.args["meta"],
            pointed={},
            details={},
        )
        rows = dict(re.findall(r"<td>(.*?)</td><td>(.*?)</td>", text))
        assert rows["hits"] == "12345"
        assert (rows["common"], rows["rare"]) == ("99.992 %", "0.008 %")
        assert (rows["feature 0"], rows["feature 1"]) == ("0", "101315.3")

    @pytest.mark.parametrize(
        ("labels", "wanted", "found"),
        [
            (["a7", "A7", "b1"], "A7", 1),
            (["a7", "b1"], "A7", 0),
            (["a7", "a7 again"], "a7 a", 1),
            (["2020-01-31", "2020-02-01"], "2020-02", 1),
            ([1, 21, 30], "2", None),
            ([1, 21, 30], "30", 2),
            ([1, 21, 30], "31", None),
            (["12345", "x"], "123", None),
        ],
    )
    def test_search(self, models, labels, wanted, found):
        """A number is found as a whole, a text by its beginning; it is best as it is written."""
        codes = {m.code for m in models if isinstance(m, CustomJS) and "not_found" in m.code}
        (code,) = [code for code in codes if "wanted" in code]
        code = code.replace("this.value", "value").replace("setTimeout", "immediately")
        text = run(
            "const immediately = (done) => done();"
            f"{code}; console.log(JSON.stringify([table.selected.indices, count.text]))",
            value=wanted,
            samples={"data": {"sample": labels, "unit": list(range(len(labels)))}},
            table={"data": {"sample": labels}, "selected": {"indices": []}},
            units={"selected": {"indices": []}},
            meta={"not_found": "none", "nothing_selected": ""},
            count={"text": ""},
        )
        indices, status = json.loads(text)
        assert indices == ([] if found is None else [found])
        assert (status == "none") == (found is None)

    @pytest.mark.parametrize(
        ("low", "high", "value", "text"),
        [
            (0, 12_345, 12_345, "12345"),
            (101_315, 101_335, 101_325.26, "101325.3"),
            (0, 1, 0.123456, "0.1235"),
            (0, 1000, 0.00123456, "0.001235"),
            (2.5, 2.5, 2.5, "2.5"),
            (0, 1, None, "\N{EN DASH}"),
        ],
    )
    def test_tooltip(self, models, low, high, value, text):
        (code,) = {model.code for model in models if isinstance(model, CustomJSHover)}
        arguments = {"mapper": {"low": low, "high": high}, "value": value}
        assert run(f"console.log((() => {{ {code} }})())", **arguments) == text + "\n"


class Page:
    """The page in a browser."""

    def __init__(self, driver):
        self.driver = driver

    def model(self, name, expression):
        """Evaluate an expression about the Bokeh model m of a name."""
        script = f"const m = Bokeh.documents[0].get_model_by_name({json.dumps(name)});"
        return self.driver.execute_script(f"{script} return {expression};")

    def place(self, plot, unit):
        """Return the position of the center of a unit in the window."""
        return self.driver.execute_script(
            """
            const plot = Bokeh.documents[0].get_model_by_name(arguments[0]);
            const data = Bokeh.documents[0].get_model_by_name("units").data;
            const view = Bokeh.index.find_one(plot);
            const mean = (xs) => xs.reduce((a, b) => a + b) / xs.length;
            const box = view.el.getBoundingClientRect();
            const scale = (s, xs) => s.compute(mean([...xs]));
            return [box.left + scale(view.frame.x_scale, data.xs[arguments[1]]),
                    box.top + scale(view.frame.y_scale, data.ys[arguments[1]])];
            """,
            plot,
            unit,
        )

    def point(self, plot, unit, click=False):
        self.move_to(*self.place(plot, unit), click=click)

    def move_to(self, x, y, click=False):
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.actions.action_builder import ActionBuilder

        builder = ActionBuilder(self.driver)
        builder.pointer_action.move_to_location(int(x), int(y))
        if click:
            builder.pointer_action.click()
        builder.perform()
        ActionChains(self.driver).pause(0.3).perform()

    def widget(self, title):
        """Return the input element of a widget, in whatever shadow it lies."""
        return self.driver.execute_script(
            """
            const find = (root) => {
                for (const group of root.querySelectorAll("*")) {
                    if (group.matches("label") && group.textContent.startsWith(arguments[0]))
                        return root.querySelector("input, select");
                    if (group.matches("button") && group.textContent == arguments[0]) return group;
                    const found = group.shadowRoot && find(group.shadowRoot);
                    if (found) return found;
                }
                return null;
            };
            return find(document);
            """,
            title,
        )


@pytest.fixture(scope="module")
def page(viewer, tmp_path_factory):
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs Chromium and ChromeDriver, as from a package manager")
    from selenium import webdriver

    folder = tmp_path_factory.mktemp("viewer")
    viewer.save(folder / "map.html")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in [*OPTIONS, f"--user-data-dir={folder / 'profile'}"]:
        options.add_argument(option)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        driver.get((folder / "map.html").as_uri())
        driver.implicitly_wait(5)
        for _ in range(100):
            if driver.execute_script("return window.Bokeh && Bokeh.documents.length == 1"):
                break
            time.sleep(0.1)
        time.sleep(1)
        page = Page(driver)
        page.folder = folder
        yield page
    finally:
        driver.quit()


class TestInBrowser:
    def test_loads_without_errors(self, page):
        errors = [entry for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"]
        assert errors == []

    def test_hovering_describes_a_unit(self, page, viewer, pipeline):
        unit = int(np.argmax(viewer.hits))
        page.point("U-matrix", unit)
        text = page.model("details", "m.text")
        outlined = page.model("units", f"[[[...m.data.xs[{unit}]]], [[...m.data.ys[{unit}]]]]")
        pointed = "[[[...m.data.xs[0]]], [[...m.data.ys[0]]]]"
        assert page.model("pointed", pointed) == outlined  # on all maps
        own = CLASSES[viewer.bmus == unit]
        assert f"<b>Unit {unit}</b>" in text
        assert f"<td>hits</td><td>{int(viewer.hits[unit])}</td>" in text
        assert f"<td>cluster</td><td>{pipeline[-1].cluster_labels_[unit]}</td>" in text
        share = 100 * np.mean(own == own[0])
        assert f"<td>{own[0]}</td><td>{share:.0f} %</td>" in text
        value = float(f"{viewer.planes[unit, 0]:.4g}")
        assert f"<td>alcohol</td><td>{value:g}</td>" in text

    @pytest.mark.parametrize("plot", ["alcohol", "U-matrix", "Hits", "Classes", "Clusters"])
    def test_a_click_selects_on_all_maps_and_lists_samples(self, page, viewer, plot):
        unit = int(np.argsort(viewer.hits)[-2])
        page.point(plot, unit, click=True)
        assert page.model("units", "m.selected.indices") == [unit]
        expected = [f"bottle {k}" for k in np.flatnonzero(viewer.bmus == unit)]
        assert page.model("table", "[...m.data.sample]") == expected
        assert page.model("count", "m.text") == f"1 unit selected, {len(expected)} samples"

    def test_the_lasso_selects_units(self, page, viewer):
        from selenium.webdriver.common.actions.action_builder import ActionBuilder

        page.driver.execute_script("window.scrollTo(0, 0)")
        places = np.array([page.place("Hits", unit) for unit in range(viewer.grid.n_units)])
        first, last = viewer.grid.n_columns + 1, 3 * viewer.grid.n_columns + 3
        (left, top), (right, bottom) = places[first] - 10, places[last] + 10
        builder = ActionBuilder(page.driver)
        pointer = builder.pointer_action
        pointer.move_to_location(round(left), round(top)).pointer_down()
        for x, y in [(right, top), (right, bottom), (left, bottom), (left, top)]:
            pointer.move_to_location(round(x), round(y))
        pointer.pointer_up()
        builder.perform()
        time.sleep(0.5)
        chosen = sorted(page.model("units", "m.selected.indices"))
        inside = (places > [left, top]) & (places < [right, bottom])
        assert chosen == np.flatnonzero(inside.all(axis=1)).tolist() and len(chosen) >= 6
        listed = np.flatnonzero(np.isin(viewer.bmus, chosen))
        assert page.model("table", "m.data.sample.length") == len(listed)

    def test_search_finds_a_sample(self, page, viewer):
        search = page.widget("Find a sample")
        search.clear()
        search.send_keys("Bottle 17\n")
        time.sleep(0.3)
        assert page.model("units", "m.selected.indices") == [int(viewer.bmus[17])]
        (row,) = page.model("table", "m.selected.indices")
        assert page.model("table", "[...m.data.sample]")[row] == "bottle 17"
        search.clear()
        search.send_keys("vinegar\n")
        time.sleep(0.3)
        assert page.model("count", "m.text") == "No such sample."

    def test_a_unit_is_chosen_by_keyboard(self, page, viewer):
        page.driver.execute_script("window.scrollTo(0, 0)")
        page.move_to(2, 2)
        number = page.widget("Unit")
        number.clear()
        number.send_keys("5\n")
        time.sleep(0.3)
        assert page.model("units", "m.selected.indices") == [5]
        assert "<b>Unit 5</b>" in page.model("details", "m.text")

    def test_a_plane_is_chosen(self, page, viewer):
        from selenium.webdriver.support.ui import Select

        Select(page.widget("Component plane")).select_by_visible_text("$$proline$$")
        time.sleep(0.3)
        shown = page.model("units", "[...m.data.plane]")
        k = list(viewer.names).index("$$proline$$")
        np.testing.assert_allclose(shown, viewer.planes[:, k], rtol=1e-6)
        assert page.model("alcohol", "m.title.text.type") == "PlainText"
        assert page.model("alcohol", "m.title.text.text") == "$$proline$$"

    def test_selected_samples_are_saved_as_csv(self, page, viewer):
        unit = int(np.argmax(viewer.hits))
        page.point("Hits", unit, click=True)
        page.widget("Save these samples as CSV").click()
        path = page.folder / "samples.csv"
        for _ in range(50):
            if path.exists():
                break
            time.sleep(0.1)
        with path.open(newline="") as file:
            header, *rows = csv.reader(file)
        assert header == ["bottle", "unit", "cluster", "class", *WINE.data.columns]
        (own,) = np.nonzero(viewer.bmus == unit)
        assert [row[0] for row in rows] == [f"bottle {k}" for k in own]
        values = np.array([row[4:] for row in rows], dtype=float)
        np.testing.assert_allclose(values, X.to_numpy()[own], rtol=1e-12)


def test_copies_and_pickles(viewer):
    for other in (copy.deepcopy(viewer), pickle.loads(pickle.dumps(viewer))):
        assert other.to_html().count("bottle 17") == viewer.to_html().count("bottle 17") > 0
        np.testing.assert_array_equal(other.planes, viewer.planes)


def test_memory_of_long_texts():
    """One long text does not make all others as long."""
    texts = ["wine red dry"] * 2000 + ["white " * 10_000]
    som = make_pipeline(TfidfVectorizer(), TFSOM((3, 3), max_iter=2)).fit(texts)
    tracemalloc.start()
    InteractiveMapDisplay.from_estimator(som, texts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6  # texts of one length take 480 MB


def shown_notes(data):
    """Return the first column of the table of samples, "note"."""
    names = [name for name in data.columns if name != "note"]
    steps = make_column_transformer((StandardScaler(), names))
    som = make_pipeline(steps, TFSOM((3, 3))).fit(data)
    display = InteractiveMapDisplay.from_estimator(som, data)
    columns = [
        getattr(model, "data", {}).get("column0", []) for model in display.layout_.references()
    ]
    (notes,) = [notes for notes in columns if len(notes)]
    return list(notes)


def test_missing_texts_are_blank():
    notes = [None, np.nan, pd.NA, "good"] * 44 + ["", "x"]
    table = X.assign(note=notes)[["note", *X.columns]]
    assert shown_notes(table)[:4] == ["", "", "", "good"]


@pytest.mark.parametrize(
    ("note", "text"),
    [
        (np.arange(3.0), "[0. 1. 2.]"),
        (np.array([np.nan]), "[nan]"),
        (np.array([]), "[]"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_arrays_are_texts(note, text):
    table = X.assign(note=[note] * len(X))[["note", *X.columns]]
    assert shown_notes(table) == [text] * len(X)


def test_arrays_of_one_length_are_texts():
    notes = pl.Series(np.ones((len(X), 2)), dtype=pl.Array(pl.Float64, 2))
    table = pl.DataFrame({"note": notes, **X.to_dict("list")})
    assert shown_notes(table) == ["[1.0, 1.0]"] * len(X)

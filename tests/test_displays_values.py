"""Statistics of any variable by unit, and separation curves."""

import matplotlib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pictures import assert_texts_fit_and_do_not_overlap
from sklearn.datasets import load_diabetes, make_blobs

matplotlib.use("agg")

import matplotlib.pyplot as plt

from sklearn_tfsom import TFSOM, InvalidParameterError
from sklearn_tfsom.displays import (
    AnomalyMapDisplay,
    HitMapDisplay,
    SeparationCurveDisplay,
    UMatrixDisplay,
    UnitValuesDisplay,
)

X, TARGET = load_diabetes(return_X_y=True)
STATISTICS = {
    "mean": np.mean,
    "median": np.median,
    "std": np.std,
    "count": len,
    "share": np.mean,
}


@pytest.fixture(autouse=True)
def close_figures():
    plt.close("all")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def som():
    return TFSOM((12, 10), max_iter=5).fit(X)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_statistics_equal_those_of_numpy(som, statistic):
    values = TARGET > 150 if statistic == "share" else TARGET
    display = UnitValuesDisplay.from_estimator(som, X, values, statistic=statistic)
    bmus = som.bmus(X)
    for unit, value in enumerate(display.values):
        own = values[bmus == unit]
        if len(own):
            assert value == pytest.approx(STATISTICS[statistic](own), rel=1e-12)
        else:
            assert np.isnan(value)
    assert np.isnan(display.values).any()


@pytest.mark.parametrize("statistic", ["mean", "median", "std", "count"])
def test_weights_are_repetitions(som, statistic):
    counts = np.random.RandomState(0).randint(0, 4, size=len(X))
    style = {"statistic": statistic}
    weighted = UnitValuesDisplay.from_estimator(som, X, TARGET, sample_weight=counts, **style)
    rows = np.repeat(np.arange(len(X)), counts)
    repeated = UnitValuesDisplay.from_estimator(som, X[rows], TARGET[rows], **style)
    assert_allclose(weighted.values, repeated.values, rtol=1e-12)


@pytest.mark.parametrize("statistic", ["mean", "median", "std", "count"])
@pytest.mark.parametrize("weight", [2.0**-1010, 2.0**1010])
def test_only_ratios_of_weights_matter(som, statistic, weight):
    style = {"statistic": statistic, "sample_weight": weight}
    scale = 1e-6 if weight < 1 else 1e6
    weighted = UnitValuesDisplay.from_estimator(som, X, TARGET * scale, **style)
    plain = UnitValuesDisplay.from_estimator(som, X, TARGET * scale, statistic=statistic)
    factor = weight if statistic == "count" else 1
    assert_allclose(weighted.values / factor, plain.values, rtol=1e-12)


@pytest.mark.parametrize(("statistic", "wrong"), [("mean", np.inf), ("share", 7), ("mean", "?")])
def test_values_of_samples_of_weight_0_are_not_checked(som, statistic, wrong):
    is_left = np.arange(len(X)) % 5 > 0
    known = np.arange(len(X)) % 2
    values = np.where(is_left, known.astype(object), wrong)
    samples = np.where(is_left[:, None], X, 1e200)  # too far for a search
    style = {"statistic": statistic}
    weighted = UnitValuesDisplay.from_estimator(
        som, samples, values, sample_weight=is_left, **style
    )
    removed = UnitValuesDisplay.from_estimator(som, X[is_left], known[is_left], **style)
    assert_array_equal(weighted.values, removed.values)


def test_missing_values_are_left_out(som):
    values = TARGET.astype(object)
    values[::3] = None
    values[1::3] = pd.NA
    display = UnitValuesDisplay.from_estimator(som, X, values)
    known = UnitValuesDisplay.from_estimator(som, X[2::3], TARGET[2::3])
    assert_array_equal(display.values, known.values)
    nullable = pd.Series(values).astype("Float64")
    masked = np.ma.array(TARGET, mask=pd.isna(values))
    arrow = pa.array(values, from_pandas=True)
    dictionaries = [pa.chunked_array([arrow.dictionary_encode()]), arrow.dictionary_encode()]
    for others in (nullable, masked, arrow, *dictionaries):
        assert_array_equal(UnitValuesDisplay.from_estimator(som, X, others).values, known.values)


def test_units_without_samples_are_gray_and_named(som):
    display = UnitValuesDisplay.from_estimator(som, X, pd.Series(TARGET, name="progression"))
    colors = display.cells_.to_rgba(display.cells_.get_array())
    assert_array_equal(np.isnan(display.values), np.isclose(colors, (0.5, 0.5, 0.5, 0.35)).all(1))
    assert [text.get_text() for text in display.legend_.get_texts()] == ["no values"]
    assert display.ax_.get_title() == "progression"
    assert display.colorbar_.ax.get_ylabel() == "mean of progression"
    assert_texts_fit_and_do_not_overlap(display.figure_)


@pytest.mark.parametrize("colorbar", [False, True])
@pytest.mark.parametrize("shape", [(2, 8), (3, 11), (11, 23), (6, 13)])
def test_titles_and_legends_of_wide_maps_fit(shape, colorbar):
    wide = TFSOM(shape, max_iter=1).fit(X)
    for display in (
        UnitValuesDisplay.from_estimator(wide, X[:5], TARGET[:5], colorbar=colorbar),
        UMatrixDisplay.from_estimator(wide),
    ):
        assert_texts_fit_and_do_not_overlap(display.figure_)


@pytest.mark.parametrize("kind", [UnitValuesDisplay, AnomalyMapDisplay])
@pytest.mark.parametrize("layout", [None, "tight", "constrained"])
def test_legend_of_a_wide_map_on_given_axes_is_visible(kind, layout):
    _, ax = plt.subplots(figsize=(6, 4), layout=layout)
    wide = TFSOM((2, 12), max_iter=2).fit(X)
    display = kind.from_estimator(wide, X[:5], [0, 1, 0, 0, 1], ax=ax)
    assert_texts_fit_and_do_not_overlap(display.figure_)
    legend = display.legend_.get_window_extent()
    for other in (display.colorbar_.ax, display.ax_):
        assert not legend.overlaps(other.get_window_extent())
    _, ax = plt.subplots(figsize=(6, 4), layout=layout)
    plain = kind.from_estimator(wide, X[:5], [0, 1, 0, 0, 1], ax=ax, colorbar=False)
    assert plain.legend_.get_window_extent().y1 <= ax.get_window_extent().y0  # below the map


@pytest.mark.parametrize(
    ("values", "params", "match"),
    [
        (["a"] * len(X), {}, "'values' parameter .* numbers, .* Got 'a' instead"),
        (TARGET, {"statistic": "share"}, "booleans, or 0 and 1, for a share"),
        (TARGET, {"statistic": "max"}, "'statistic' parameter"),
        (np.full(len(X), np.inf), {}, r"up to 2\.2e\+307 in magnitude\. Got inf instead"),
        (np.resize([-1.7e308, 1.7e308], len(X)), {}, r"in magnitude\. Got -1\.7e\+308 instead"),
        (np.full(len(X), 1.2e308), {}, r"in magnitude\. Got 1\.2e\+308 instead"),
        (TARGET, {"clim": (-1.7e308, 1.7e308)}, "'clim' .* of two numbers up to 2.2e.307 in"),
        (np.full(len(X), "2020-01-01", "M8[ns]"), {}, "Got dtype datetime64"),
        (np.full(len(X), 5, "m8[ns]"), {}, "Got dtype timedelta64"),
    ],
)
def test_invalid_values(som, values, params, match):
    with pytest.raises(InvalidParameterError, match=match):
        UnitValuesDisplay.from_estimator(som, X, values, **params)
    assert plt.get_fignums() == []


def test_data_frame_with_a_column_called_name(som):
    display = UnitValuesDisplay.from_estimator(som, X, pd.DataFrame({"name": TARGET}))
    assert display.ax_.get_title() == "Values" and display.label == "mean"


def test_ragged_values(som):
    with pytest.raises(ValueError, match=r"^values must have rows of equal lengths"):
        UnitValuesDisplay.from_estimator(som, X, [[1], [2, 3]] * 221)


def test_a_regression_target_is_not_a_class(som):
    with pytest.raises(ValueError, match="Got 214 different numbers: UnitValuesDisplay shows"):
        HitMapDisplay.from_estimator(som, X, TARGET)


@pytest.mark.parametrize("shape", [(8, 5), (4, 12)])
def test_long_name(shape):
    som = TFSOM(shape, max_iter=2).fit(X)
    name = "a variable whose name goes on and on, in milligrams per liter and second, corrected"
    values = pd.Series(TARGET, name=name)
    display = UnitValuesDisplay.from_estimator(som, X, values, statistic="std")
    assert_texts_fit_and_do_not_overlap(display.figure_)
    assert display.ax_.get_title().replace("\n", " ") == name


class TestSeparationCurveDisplay:
    def test_bars_are_the_ratios(self):
        X, _ = make_blobs(400, centers=3, cluster_std=1.5, random_state=1)
        som = TFSOM(n_clusters=3).fit(X)
        display = SeparationCurveDisplay.from_estimator(som, X, max_clusters=8)
        heights = [bar.get_y() + bar.get_height() for bar in display.bars_]
        is_finite = np.isfinite(display.separations)
        assert_allclose(np.array(heights)[is_finite], display.separations[is_finite])
        assert display.n_clusters_found == 3
        assert display.ax_.get_yscale() == "log"
        assert_texts_fit_and_do_not_overlap(display.figure_)

    def test_wide_gaps_reach_the_end(self):
        X, _ = make_blobs(200, centers=[(0, 0), (50, 50)], random_state=0)
        display = SeparationCurveDisplay.from_estimator(TFSOM().fit(X), X)
        bar = display.bars_[0]
        assert np.isinf(display.separations[0]) and bar.get_hatch() == "//"
        assert bar.get_y() + bar.get_height() == pytest.approx(display.ax_.get_ylim()[1])
        texts = [text.get_text() for text in display.legend_.get_texts()]
        assert texts == ["clear", "doubtful below", "wide gaps"]

    @pytest.mark.parametrize(
        ("params", "match"),
        [
            ({"X": X, "max_clusters": 1}, "'max_clusters' parameter of {}.from_estimator must be"),
            ({"sample_weight": np.ones(len(X))}, "^{}.from_estimator needs X"),
        ],
    )
    def test_errors_name_the_display(self, som, params, match):
        with pytest.raises(ValueError, match=match.format("SeparationCurveDisplay")):
            SeparationCurveDisplay.from_estimator(som, **params)


def test_equal_values_have_no_deviation(som):
    bmus = som.bmus(X)
    constants = np.random.RandomState(0).uniform(size=som.codebook_.shape[0])
    for values in (np.full(len(X), 0.1), constants[bmus]):
        for statistic, expected in (("std", 0 * values), ("mean", values)):
            display = UnitValuesDisplay.from_estimator(som, X, values, statistic=statistic)
            assert_array_equal(display.values[bmus], expected)


@pytest.mark.parametrize("statistic", ["mean", "median", "std"])
@pytest.mark.parametrize("row", [0, 7])
def test_outlier_does_not_change_other_units(som, statistic, row):
    values = np.random.RandomState(0).uniform(1, 2, size=len(X))
    style = {"statistic": statistic}
    expected = UnitValuesDisplay.from_estimator(som, X, values, **style).values
    values[7] = 1e20
    order = np.arange(len(X))
    order[[row, 7]] = 7, row
    display = UnitValuesDisplay.from_estimator(som, X[order], values[order], **style)
    (unit,) = som.bmus(X[7:8])
    assert_allclose(np.delete(display.values, unit), np.delete(expected, unit), rtol=1e-12)


def test_largest_values(som):
    values = np.where(TARGET > 150, 2e307, -2e307)
    for given in (values, np.abs(values)):
        display = UnitValuesDisplay.from_estimator(som, X, given)
        display.figure_.draw_without_rendering()
        assert np.nanmax(display.values) == 2e307


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**980])
@pytest.mark.parametrize("statistic", ["mean", "std"])
def test_scale_of_values(som, statistic, scale):
    style = {"statistic": statistic}
    expected = UnitValuesDisplay.from_estimator(som, X, TARGET, **style).values
    scaled = UnitValuesDisplay.from_estimator(som, X, scale * TARGET, **style).values
    assert_array_equal(scaled, scale * expected)


def test_name_with_dollar_signs(som):
    values = pd.Series(np.arange(len(X)), name="$_$ against $")
    display = UnitValuesDisplay.from_estimator(som, X, values)
    display.figure_.draw_without_rendering()
    assert display.colorbar_.ax.get_ylabel() == "mean of $_$ against $"

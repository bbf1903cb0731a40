"""Component planes, code vectors and training curves: values, positions and layout."""

import functools
import re

import matplotlib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pictures import assert_borders_separate, assert_texts_fit_and_do_not_overlap
from sklearn.datasets import load_digits, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

matplotlib.use("agg")

import matplotlib.pyplot as plt

from sklearn_tfsom import TFSOM, Grid, InvalidParameterError
from sklearn_tfsom.displays import (
    CodeVectorsDisplay,
    ComponentPlanesDisplay,
    TrainingDisplay,
    UMatrixDisplay,
    UnitValuesDisplay,
)

LATTICES = ["hexagonal", "rectangular"]
SHAPES = [(6, 5), (1, 12), (12, 1), (2, 2), (1, 1)]
FRAME = load_iris(as_frame=True).data
NAMES = list(FRAME.columns)
X = FRAME.to_numpy()
DIGITS = load_digits().data[:300]


@pytest.fixture(autouse=True)
def close_figures():
    plt.close("all")
    yield
    plt.close("all")


@functools.cache
def fitted(lattice="hexagonal", shape=(6, 5), data="iris", **params):
    samples = {"iris": X, "named": FRAME, "digits": DIGITS, "colors": colors()}[data]
    return TFSOM(shape, lattice=lattice, max_iter=3, **params).fit(samples)


def colors():
    return np.random.RandomState(0).uniform(size=(200, 3))


def many_features(n_features):
    rng = np.random.RandomState(0)
    return rng.normal(size=(100, n_features)) * rng.permutation(np.linspace(1, 3, n_features))


def assert_cells_in_view(ax, grid):
    x, y = grid.positions().T
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    assert left < x.min() - 0.49 and x.max() + 0.49 < right
    assert top < y.min() - 0.49 and y.max() + 0.49 < bottom  # row 0 at the top
    assert right - left < np.ptp(x) + 1.5 and bottom - top < np.ptp(y) + 1.7
    assert ax.get_aspect() == 1


@functools.cache
def drawn_planes(shape):
    """Draw component planes, once for all tests of their layout."""
    display = ComponentPlanesDisplay.from_estimator(fitted(shape=shape, data="named"))
    display.figure_.draw_without_rendering()
    return display


class TestComponentPlanes:
    @pytest.mark.parametrize(
        ("lattice", "shape"),
        [
            ("hexagonal", (6, 5)),
            ("rectangular", (6, 5)),
            ("hexagonal", (1, 12)),
            ("rectangular", (12, 1)),
            ("hexagonal", (2, 2)),
            ("rectangular", (1, 1)),
        ],
    )
    def test_each_plane_shows_the_values_of_a_feature(self, lattice, shape):
        som = fitted(lattice, shape)
        display = ComponentPlanesDisplay.from_estimator(som)
        assert display.axes_.shape == (4,) and len(display.cells_) == 4
        for ax, cells, values in zip(display.axes_, display.cells_, som.codebook_.T, strict=True):
            assert list(ax.collections) == [cells]
            assert_array_equal(cells.get_array(), values)
            assert_array_equal(cells.get_offsets(), som.unit_positions_)
            assert_cells_in_view(ax, Grid(*shape, lattice))

    @pytest.mark.parametrize(("lattice", "n_corners"), [("hexagonal", 6), ("rectangular", 4)])
    def test_position_and_size_of_the_cells(self, lattice, n_corners):
        display = ComponentPlanesDisplay.from_estimator(fitted(lattice))
        ax, cells = display.axes_[0], display.cells_[0]
        display.figure_.draw_without_rendering()
        (path,) = cells.get_paths()
        corners = path.vertices[:-1]
        assert len(corners) == n_corners
        # The drawn cell is centered on its unit.
        drawn = cells.get_transform().transform(corners)
        drawn = drawn + cells.get_offset_transform().transform(cells.get_offsets()[7])
        expected = ax.transData.transform(fitted(lattice).unit_positions_[7] + corners)
        assert_allclose(drawn, expected)
        assert_allclose(np.ptp(corners[:, 0]), 1)  # neighbors in a row touch

    def test_colors_increase_with_the_values(self):
        display = ComponentPlanesDisplay.from_estimator(fitted(), cmap="gray")
        display.figure_.draw_without_rendering()
        for cells, values in zip(display.cells_, fitted().codebook_.T, strict=True):
            shades = cells.get_facecolor()[:, 0]
            assert shades[values.argmin()] == 0 and shades[values.argmax()] == 1
            assert (np.diff(shades[np.argsort(values)]) >= 0).all()

    def test_large_maps_are_one_collection_each(self):
        planes = np.random.RandomState(0).normal(size=(10_000, 3))
        display = ComponentPlanesDisplay(planes, Grid(100, 100), ["a", "b", "c"]).plot()
        for ax, cells in zip(display.axes_, display.cells_, strict=True):
            assert list(ax.collections) == [cells] and len(cells.get_offsets()) == 10_000
            assert not ax.patches and not ax.lines

    def test_planes_of_data_with_missing_values_are_finite(self):
        samples = X.copy()
        samples[np.random.RandomState(0).uniform(size=samples.shape) < 0.3] = np.nan
        samples[np.isnan(samples).all(axis=1), 0] = 5.0
        display = ComponentPlanesDisplay.from_estimator(TFSOM((4, 5), max_iter=2).fit(samples))
        assert all(np.isfinite(cells.get_array()).all() for cells in display.cells_)


class TestNames:
    def test_data_frame_columns_are_titles(self):
        display = ComponentPlanesDisplay.from_estimator(fitted(data="named"))
        assert [ax.get_title() for ax in display.axes_] == NAMES == display.names

    def test_default_names(self):
        display = ComponentPlanesDisplay.from_estimator(fitted())
        assert display.names == ["feature 0", "feature 1", "feature 2", "feature 3"]

    @pytest.mark.parametrize("shape", SHAPES)
    def test_long_names_do_not_overlap(self, shape):
        frame = FRAME.set_axis(
            [
                "od280/od315_of_diluted_wines",
                "x" * 60,
                "one exceedingly long name of it all",
                "$a",
            ],
            axis=1,
        )
        som = TFSOM(shape, max_iter=1).fit(frame)
        display = ComponentPlanesDisplay.from_estimator(som)
        assert_texts_fit_and_do_not_overlap(display.figure_)
        assert max(ax.get_title().count("\n") for ax in display.axes_) <= 1
        assert display.axes_[3].get_title() == "$a"
        assert display.names == list(frame.columns)

    @pytest.mark.parametrize("share_scale", [False, True])
    @pytest.mark.parametrize("shape", [(12, 5), (5, 12), (4, 18)])
    @pytest.mark.parametrize("n_planes", [1, 3])
    def test_long_names_fit_beside_color_bars(self, n_planes, shape, share_scale):
        names = ["unbelievable length of sepals", "w sepal of unbelievable length", "the width"]
        frame = FRAME.iloc[:, :n_planes].set_axis(names[:n_planes], axis=1) + 1e6
        som = TFSOM(shape, max_iter=1).fit(frame)
        display = ComponentPlanesDisplay.from_estimator(som, share_scale=share_scale)
        assert_texts_fit_and_do_not_overlap(display.figure_)

    def test_long_names_that_differ_in_the_end_have_different_titles(self):
        names = [f"mean_temperature_of_the_northern_building_on_floor_{k}" for k in range(1, 5)]
        som = TFSOM((6, 4), max_iter=1).fit(FRAME.set_axis(names, axis=1))
        display = ComponentPlanesDisplay.from_estimator(som)
        titles = [ax.get_title() for ax in display.axes_]
        assert [title[-7:] for title in titles] == [name[-7:] for name in names]


class TestScales:
    def test_separate_scales(self):
        display = ComponentPlanesDisplay.from_estimator(fitted())
        for cells, bar, values in zip(
            display.cells_, display.colorbars_, fitted().codebook_.T, strict=True
        ):
            assert cells.get_clim() == (values.min(), values.max())
            assert bar.mappable is cells

    def test_common_scale(self):
        display = ComponentPlanesDisplay.from_estimator(fitted(), share_scale=True)
        codebook = fitted().codebook_
        assert {cells.get_clim() for cells in display.cells_} == {(codebook.min(), codebook.max())}
        (bar,) = display.colorbars_
        assert bar.ax.get_ylabel() == "data units"
        assert_texts_fit_and_do_not_overlap(display.figure_)

    def test_common_colorbar_needs_axes_of_one_figure(self):
        display = ComponentPlanesDisplay.from_estimator(fitted())
        axes = [plt.figure().add_subplot() for _ in display.names]
        with pytest.raises(InvalidParameterError, match=r"must be Axes of one figure.* Got those"):
            display.plot(ax=axes, share_scale=True)
        assert not any(ax.collections for ax in axes)
        assert len(display.plot(ax=axes, share_scale=True, colorbar=False).cells_) == len(axes)

    @pytest.mark.parametrize("share_scale", [False, True])
    def test_no_colorbars(self, share_scale):
        display = ComponentPlanesDisplay.from_estimator(
            fitted(), share_scale=share_scale, colorbar=False
        )
        assert display.colorbars_ == [] and list(display.figure_.axes) == list(display.axes_)

    @pytest.mark.parametrize("value", [0.0, -3.0, 1234.5])
    def test_constant_plane_is_in_the_middle_of_its_scale(self, value):
        samples = np.column_stack([X[:, 0], np.full(len(X), value)])
        display = ComponentPlanesDisplay.from_estimator(TFSOM((4, 4), max_iter=1).fit(samples))
        low, high = display.cells_[1].get_clim()
        assert low < high and (low + high) / 2 == pytest.approx(value)
        assert display.colorbars_[1].get_ticks() == pytest.approx([value])

    @pytest.mark.parametrize(
        ("factor", "offset"),
        [
            *((1, 0), (1e-9, 0), (-1e-3, 0), (1e7, 0), (100, 0), (0.01, 1e6), (1, -20), (0.05, 0)),
            *((2e4, 1e4), (2e5, 1e5)),
        ],
    )
    def test_tick_labels_match_the_ticks(self, factor, offset):
        planes = factor * X[:, :1] + offset
        display = ComponentPlanesDisplay(planes, Grid(10, 15), ["x"]).plot()
        (bar,) = display.colorbars_
        ticks = bar.get_ticks()
        texts = [
            label.get_text().replace("\N{MINUS SIGN}", "-") for label in bar.ax.get_yticklabels()
        ]
        assert 1 <= len(ticks) <= 5 and len(set(texts)) == len(texts) == len(ticks)
        assert_allclose([float(text) for text in texts], ticks, atol=np.ptp(planes) / 100)
        assert planes.min() <= min(ticks) and max(ticks) <= planes.max()
        if 1 < np.abs(ticks).max() < 1e6:
            assert "e" not in "".join(texts)
        assert_texts_fit_and_do_not_overlap(display.figure_)

    @pytest.mark.parametrize("high", [1e6, 1e6 + 1e-8])
    def test_tick_is_a_known_value(self, high):
        planes = np.r_[np.nan, np.linspace(1e6 + 1e-9, high, 3)][:, None]
        (bar,) = ComponentPlanesDisplay(planes, Grid(2, 2), ["x"]).plot().colorbars_
        (tick,) = bar.get_ticks()
        assert tick in planes
        (label,) = bar.ax.get_yticklabels()
        assert float(label.get_text()) == pytest.approx(1e6, abs=1e-8)

    @pytest.mark.parametrize("value", [0.0, -3.0, 1234.5])
    @pytest.mark.parametrize("colorbar", [False, True])
    def test_constants_have_one_color_in_all_displays(self, value, colorbar):
        values, grid = np.array([value, value, np.nan, value]), Grid(2, 2)
        for display in (
            ComponentPlanesDisplay(values[:, None], grid, ["x"]),
            UnitValuesDisplay(values, grid),
            UMatrixDisplay(values.reshape(2, 2), grid),
        ):
            cells = np.ravel(display.plot(colorbar=colorbar).cells_)[0]
            assert_allclose(cells.to_rgba([value])[0], cells.get_cmap()(0.5), atol=0.01)


class TestFeatures:
    @pytest.mark.parametrize(
        ("features", "chosen"),
        [
            ([2, 0], [2, 0]),
            ([NAMES[3], 1], [3, 1]),
            (np.array([1, 3]), [1, 3]),
            (FRAME.columns[:2], [0, 1]),
            (range(1, 4), [1, 2, 3]),
            (NAMES[2], [2]),
            (3, [3]),
            (np.int64(3), [3]),
        ],
    )
    def test_selected_features_in_the_given_order(self, features, chosen):
        som = fitted(data="named")
        display = ComponentPlanesDisplay.from_estimator(som, features=features)
        assert display.names == [NAMES[k] for k in chosen]
        assert_array_equal(display.planes, som.codebook_[:, chosen])

    @pytest.mark.parametrize("wrong", [[4], [-1], ["petal"], [True], [1.0], None, 2.5, [[0], 1]])
    def test_unknown_features(self, wrong):
        if wrong is None:
            wrong = [None]
        match = r"^The 'features' .+ an index in the range \[0, 3\]\. Got .+ instead\."
        with pytest.raises(InvalidParameterError, match=match):
            ComponentPlanesDisplay.from_estimator(fitted(data="named"), features=wrong)
        assert plt.get_fignums() == []

    def test_no_features(self):
        with pytest.raises(InvalidParameterError, match=r"one or more features.* Got 0 features"):
            ComponentPlanesDisplay.from_estimator(fitted(), features=[])

    def test_features_with_the_largest_variances_are_shown(self):
        som = TFSOM((5, 4), max_iter=2).fit(many_features(60))
        display = ComponentPlanesDisplay.from_estimator(som)
        by_variance = sorted(range(60), key=lambda k: -np.var(som.codebook_[:, k]))
        assert display.names == [f"feature {k}" for k in sorted(by_variance[:25])]
        title = "Component planes: the 25 of 60 features that vary most"
        assert display.figure_.get_suptitle() == title
        assert_texts_fit_and_do_not_overlap(display.figure_)

    def test_all_of_many_features(self):
        som = TFSOM((3, 3), max_iter=1).fit(many_features(26))
        display = ComponentPlanesDisplay.from_estimator(som, features=range(26))
        assert len(display.axes_) == 26
        assert display.figure_.get_suptitle() == "Component planes"

    def test_similar_planes_are_put_together(self):
        rng = np.random.RandomState(0)
        base = rng.normal(size=(200, 3))
        samples = np.column_stack(
            [base, np.ones(200), base * [5, 1, 0.1] + 0.01 * rng.normal(size=(200, 3))]
        )
        som = TFSOM((6, 6), max_iter=3).fit(samples)
        display = ComponentPlanesDisplay.from_estimator(som, put_similar_together=True)
        order = [int(name.split()[1]) for name in display.names]
        assert sorted(order) == list(range(7))
        assert {tuple(sorted(order[k : k + 2])) for k in (0, 2, 4)} == {(0, 4), (1, 5), (2, 6)}
        assert order[-1] == 3  # the flat one
        assert_array_equal(display.planes, som.codebook_[:, order])

    @pytest.mark.parametrize("shape", [(1, 12), (2, 2), (1, 1)])
    def test_put_similar_together_on_maps_of_any_shape(self, shape):
        display = ComponentPlanesDisplay.from_estimator(
            fitted(shape=shape), put_similar_together=True
        )
        assert sorted(display.names) == ["feature 0", "feature 1", "feature 2", "feature 3"]


class TestLayoutOfPlanes:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_planes_are_aligned_and_of_equal_size(self, shape):
        self.assert_aligned(drawn_planes(shape))

    # A common color bar is beside the planes, or below wide ones.
    @pytest.mark.parametrize("shape", [(6, 5), (1, 12), (12, 1)])
    def test_planes_with_a_common_scale_are_aligned_and_of_equal_size(self, shape):
        som = fitted(shape=shape, data="named")
        display = ComponentPlanesDisplay.from_estimator(som, share_scale=True)
        display.figure_.draw_without_rendering()
        self.assert_aligned(display)

    @staticmethod
    def assert_aligned(display):
        boxes = [ax.get_position() for ax in display.axes_]
        assert_allclose([box.size for box in boxes], np.tile(boxes[0].size, (4, 1)), atol=1e-6)
        rows = np.unique(np.round([box.y0 for box in boxes], 6))
        columns = np.unique(np.round([box.x0 for box in boxes], 6))
        assert len(rows) * len(columns) == 4
        assert_texts_fit_and_do_not_overlap(display.figure_)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_colorbars_do_not_overlap_planes(self, shape):
        display = drawn_planes(shape)
        maps = [ax.get_window_extent() for ax in display.axes_]
        for bar in display.colorbars_:
            assert not any(bar.ax.get_tightbbox().padded(-1).overlaps(box) for box in maps)

    def test_surplus_axes_are_not_changed(self):
        figure, axes = plt.subplots(2, 3)
        display = ComponentPlanesDisplay.from_estimator(fitted(), ax=axes)
        assert_array_equal(display.axes_, axes.ravel()[:4])
        assert display.figure_ is figure and figure.get_suptitle() == ""
        assert not axes[1, 1].collections and axes[1, 1].axison
        assert plt.get_fignums() == [figure.number]

    def test_single_axes_for_a_single_plane(self):
        _, ax = plt.subplots()
        display = ComponentPlanesDisplay.from_estimator(fitted(), features=1, ax=ax)
        assert list(display.axes_) == [ax]

    def test_too_few_axes(self):
        _, axes = plt.subplots(1, 3)
        with pytest.raises(
            InvalidParameterError,
            match=r"at least 4 rectilinear Axes of linear scales, for .*Got 3 Axes",
        ):
            ComponentPlanesDisplay.from_estimator(fitted(), ax=axes)
        assert not any(ax.collections for ax in axes)

    def test_repeated_axes(self):
        _, ax = plt.subplots()
        with pytest.raises(InvalidParameterError, match=r"Got one of them twice instead"):
            ComponentPlanesDisplay.from_estimator(fitted(), ax=[ax] * 4)
        assert not ax.collections

    def test_plot_again_with_another_style(self):
        display = ComponentPlanesDisplay.from_estimator(fitted(n_clusters=2))
        first = display.figure_
        assert display.plot(cmap="gray", share_scale=True) is display
        assert display.figure_ is not first and display.cells_[0].get_cmap().name == "gray"


class TestCodeVectorsAsImages:
    @pytest.mark.parametrize("lattice", LATTICES)
    @pytest.mark.parametrize("image_shape", [(8, 8), (4, 16), (32, 2), [64, 1]])
    def test_images_are_the_code_vectors_at_the_unit_positions(self, lattice, image_shape):
        som = fitted(lattice, (4, 3), "digits")
        display = CodeVectorsDisplay.from_estimator(som, image_shape=image_shape)
        assert len(display.images_) == 4
        for unit, (x, y) in enumerate(som.unit_positions_):
            row, column = divmod(unit, 3)
            values, extent = self.image_of(display.images_[row], column)
            times = values.shape[0] // image_shape[0]
            assert_array_equal(values[::times, ::times].ravel(), som.codebook_[unit])
            assert_allclose(np.mean(extent, axis=0), (x, y), atol=1e-12)
            width, height = abs(extent[1] - extent[0])
            assert_allclose(width / height, image_shape[1] / image_shape[0])
            assert width <= 1 and height <= (0.8661 if lattice == "hexagonal" else 1)

    @staticmethod
    def image_of(strip, column):
        """Pixels that are shown of the image in a column, and its corners."""
        left, right, bottom, top = strip.get_extent()
        values = np.ma.masked_array(strip.get_array())
        shown = ~np.ma.getmaskarray(values)[0]
        starts = np.flatnonzero(shown & ~np.r_[False, shown[:-1]])
        ends = np.flatnonzero(shown & ~np.r_[shown[1:], False]) + 1
        pixel = (right - left) / len(shown)
        start, end = starts[column], ends[column]
        corners = [(left + start * pixel, top), (left + end * pixel, bottom)]
        return values[:, start:end], np.array(corners)

    def test_common_gray_scale(self):
        som = fitted(shape=(4, 3), data="digits")
        display = CodeVectorsDisplay.from_estimator(som, image_shape=(8, 8))
        limits = {image.get_clim() for image in display.images_}
        assert limits == {(som.codebook_.min(), som.codebook_.max())}
        assert {image.get_cmap().name for image in display.images_} == {"gray"}
        assert display.lines_ is None and display.cells_ is None

    @pytest.mark.parametrize("full", [1, 255])
    def test_color_images(self, full):
        codebook = np.random.RandomState(0).uniform(0, full, size=(6, 4 * 5 * 3))
        codebook[0, 0] = full
        display = CodeVectorsDisplay(codebook, Grid(2, 3), image_shape=(4, 5, 3)).plot()
        strip = display.images_[1].get_array()
        is_shown = strip[0, :, 3] == 1
        times = strip.shape[0] // 4
        assert is_shown.sum() == 3 * 5 * times and set(strip[..., 3].ravel()) == {0, 1}
        shown = strip[::times, is_shown][:, ::times, :3].reshape(4, 3, 5, 3)
        assert_allclose(shown.swapaxes(0, 1).reshape(3, -1), codebook[3:] / full)

    @pytest.mark.parametrize("lattice", LATTICES)
    @pytest.mark.parametrize("shape", SHAPES)
    def test_all_cells_are_within_the_limits(self, lattice, shape):
        som = fitted(lattice, shape, "digits")
        display = CodeVectorsDisplay.from_estimator(som, image_shape=(8, 8))
        assert_cells_in_view(display.ax_, Grid(*shape, lattice))

    @pytest.mark.parametrize(
        "wrong",
        [(8, 9), (64,), (8, 8, 1), (2, 2, 16), (-8, -8), (8.0, 8.0), "8x8", 64, (), ((8, 8), 1)],
    )
    def test_invalid_image_shape(self, wrong):
        with pytest.raises(
            InvalidParameterError,
            match=r"^The 'image_shape' .* features, 64\.",
        ):
            CodeVectorsDisplay.from_estimator(fitted(data="digits"), image_shape=wrong)
        assert plt.get_fignums() == []

    @pytest.mark.parametrize("kind", ["line", "color"])
    def test_image_shape_of_what_is_no_image(self, kind):
        with pytest.raises(InvalidParameterError, match=r"must be None with kind='(line|color)'"):
            CodeVectorsDisplay.from_estimator(fitted(), kind=kind, image_shape=(2, 2))

    def test_missing_image_shape(self):
        with pytest.raises(InvalidParameterError, match=r"^The 'image_shape' .* Got None"):
            CodeVectorsDisplay.from_estimator(fitted(), kind="image")

    def test_values_outside_the_range_of_colors(self):
        with pytest.raises(
            InvalidParameterError, match=r"colors in the range \[0, 1\] or \[0, 255\]"
        ):
            CodeVectorsDisplay(np.full((4, 12), -3.0), Grid(2, 2), image_shape=(2, 2, 3)).plot()


class TestCodeVectorsAsLines:
    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("share_scale", [True, False])
    @pytest.mark.parametrize("n_known", [0, 3])
    def test_values_that_cannot_be_turned_back(self, share_scale, n_known):
        X = np.random.RandomState(0).uniform(size=(60, 4))

        def turn_back(values):
            return np.where(np.arange(4) < n_known, values, np.nan)

        step = FunctionTransformer(None, turn_back, check_inverse=False)
        model = make_pipeline(step, TFSOM((3, 4))).fit(X)
        display = CodeVectorsDisplay.from_estimator(model, share_scale=share_scale, kind="line")
        display.figure_.draw_without_rendering()
        curves = display.lines_.get_segments()
        assert sum(np.isfinite(curve).all(axis=1).sum() for curve in curves) == 12 * (n_known or 4)

    @pytest.mark.parametrize("lattice", LATTICES)
    @pytest.mark.parametrize("shape", SHAPES)
    def test_curves_are_the_code_vectors_within_the_cells(self, lattice, shape):
        som = fitted(lattice, shape)
        display = CodeVectorsDisplay.from_estimator(som)
        segments = np.array(display.lines_.get_segments()) - som.unit_positions_[:, None]
        assert segments.shape == (shape[0] * shape[1], 4, 2)
        low, high = som.codebook_.min(), som.codebook_.max()
        levels = (som.codebook_ - low) / (high - low)
        width, height = (0.86, 0.64) if lattice == "hexagonal" else (0.9, 0.86)
        # The axis points down.
        assert_allclose(segments[..., 1], height / 2 - height * levels, atol=1e-12)
        assert_allclose(np.diff(segments[..., 0]), width / 3)
        x, y = abs(segments.reshape(-1, 2).T)
        edge = (1 - x) / np.sqrt(3) if lattice == "hexagonal" else np.full(len(x), 0.5)
        assert (x < 0.5).all() and (y < edge).all()
        assert_cells_in_view(display.ax_, Grid(*shape, lattice))

    def test_each_with_its_own_scale(self):
        display = CodeVectorsDisplay.from_estimator(fitted(), share_scale=False)
        heights = np.array(display.lines_.get_segments())[..., 1]
        assert_allclose(np.ptp(heights, axis=1), 0.64)
        assert display.ax_.get_title() == "Code vectors (each with its own scale)"

    def test_outlines_of_the_cells(self):
        display = CodeVectorsDisplay.from_estimator(fitted(), color="red")
        assert len(display.cells_.get_paths()) == 30 and display.images_ == []
        assert_array_equal(display.lines_.get_color(), [[1, 0, 0, 1]])
        assert len(display.ax_.collections) == 2

    def test_single_feature_is_a_horizontal_line(self):
        som = TFSOM((3, 3), max_iter=1).fit(X[:, :1])
        segments = np.array(CodeVectorsDisplay.from_estimator(som).lines_.get_segments())
        assert segments.shape == (9, 2, 2)
        assert_array_equal(segments[:, 0, 1], segments[:, 1, 1])

    def test_constant_codebook_is_in_the_middle(self):
        display = CodeVectorsDisplay(np.full((4, 5), 7.0), Grid(2, 2)).plot()
        segments = np.array(display.lines_.get_segments())
        assert_allclose(segments[..., 1].T, np.tile(Grid(2, 2).positions()[:, 1], (5, 1)))

    def test_title_contains_the_range(self):
        codebook = np.array([[-1e-17, 2.0], [15.6789, 3.0]])
        display = CodeVectorsDisplay(codebook, Grid(1, 2)).plot()
        assert display.ax_.get_title() == "Code vectors (from 0 to 15.7)"

    @pytest.mark.parametrize("limits", [(10012, 10018), (123456, 654321), (-0.012, 345.6)])
    def test_range_in_the_title_is_true(self, limits):
        codebook = np.linspace(*limits, 8).reshape(2, 4)
        title = CodeVectorsDisplay(codebook, Grid(1, 2)).plot().ax_.get_title()
        first, last = re.fullmatch(r"Code vectors \(from (\S+) to (\S+)\)", title).groups()
        shown = [float(text.replace("\N{MINUS SIGN}", "-")) for text in (first, last)]
        assert_allclose(shown, limits, atol=0.01 * (limits[1] - limits[0]))
        assert "e" not in first + last

    def test_unknown_range(self):
        display = CodeVectorsDisplay(np.full((2, 4), np.nan), Grid(1, 2), kind="line").plot()
        assert display.ax_.get_title() == "Code vectors (from nan to nan)"

    def test_large_map_is_one_collection(self):
        codebook = np.random.RandomState(0).normal(size=(900, 64))
        display = CodeVectorsDisplay(codebook, Grid(30, 30)).plot()
        assert len(display.lines_.get_segments()) == 900
        assert len(display.ax_.collections) == 2 and not display.ax_.lines


class TestCodeVectorsAsColors:
    @pytest.mark.parametrize("lattice", LATTICES)
    @pytest.mark.parametrize("full", [1, 255])
    def test_cells_have_the_color_of_their_code_vector(self, lattice, full):
        som = TFSOM((4, 5), lattice=lattice, max_iter=2).fit(full * colors())
        display = CodeVectorsDisplay.from_estimator(som, kind="color")
        assert_allclose(display.cells_.get_facecolor()[:, :3], som.codebook_ / full)
        middles = [path.vertices[:-1].mean(axis=0) for path in display.cells_.get_paths()]
        assert_allclose(middles, som.unit_positions_, atol=1e-12)

    def test_rounding_errors_are_clipped(self):
        codebook = np.array([[-1e-9, 0.5, 1 + 1e-9], [0, 0, 0]])
        display = CodeVectorsDisplay(codebook, Grid(1, 2), kind="color").plot()
        assert_allclose(display.cells_.get_facecolor()[0], [0, 0.5, 1, 1])

    @pytest.mark.parametrize("kind", ["auto", "color"])
    @pytest.mark.parametrize("error", [2e-16, -2e-16, 1e-7])
    def test_nearly_equal_whites_are_white(self, kind, error):
        codebook = np.array([[1, 1, 1], [1 + error, 1, 1]])
        display = CodeVectorsDisplay(codebook, Grid(1, 2), kind=kind).plot()
        assert display.lines_ is None
        assert_allclose(display.cells_.get_facecolor(), 1, atol=1e-6)

    def test_wrong_number_of_features_for_colors(self):
        with pytest.raises(InvalidParameterError, match=r"a map with 3 features.* Got 4 features"):
            CodeVectorsDisplay.from_estimator(fitted(), kind="color")

    @pytest.mark.parametrize("samples", [colors() - 0.5, 300 * colors()])
    def test_values_outside_the_range_of_colors(self, samples):
        som = TFSOM((3, 3), max_iter=1, init="sample", random_state=0).fit(samples)
        som.codebook_[0] = samples.min(axis=0)
        som.codebook_[1] = samples.max(axis=0)
        with pytest.raises(
            InvalidParameterError, match=r"colors in the range \[0, 1\] or \[0, 255\]"
        ):
            CodeVectorsDisplay.from_estimator(som, kind="color")
        assert plt.get_fignums() == []


class TestKindOfCodeVectors:
    @pytest.mark.parametrize(
        ("data", "given", "artist"),
        [
            ("digits", {"image_shape": (8, 8)}, "images_"),
            ("digits", {}, "images_"),
            ("digits", {"kind": "line"}, "lines_"),
            ("iris", {}, "lines_"),
            ("colors", {}, "cells_"),
            ("colors", {"kind": "line"}, "lines_"),
        ],
    )
    def test_auto(self, data, given, artist):
        display = CodeVectorsDisplay.from_estimator(fitted(data=data), **given)
        drawn = {name for name in ("images_", "lines_", "cells_") if getattr(display, name)}
        assert drawn - ({"cells_"} if artist == "lines_" else set()) == {artist}

    def test_curves_and_columns_in_no_order_are_no_images(self):
        rng = np.random.RandomState(0)
        times = np.linspace(0, 1, 64)
        waves = [np.sin(9 * (a * times + b)) for a, b in rng.uniform(size=(200, 2))]
        walks, columns = rng.normal(size=(200, 64)).cumsum(axis=1), rng.normal(size=(200, 64))
        for data in (waves, walks, columns @ rng.normal(size=(64, 64))):
            display = CodeVectorsDisplay.from_estimator(TFSOM((6, 5), max_iter=3).fit(data))
            assert display.lines_ is not None

    def test_auto_is_line_for_three_features_beyond_1(self):
        som = TFSOM((3, 3), max_iter=1).fit(X[:, :3])
        assert CodeVectorsDisplay.from_estimator(som).lines_ is not None

    def test_invalid_kind(self):
        with pytest.raises(
            InvalidParameterError,
            match=r"^The 'kind' .* must be a str among",
        ):
            CodeVectorsDisplay.from_estimator(fitted(), kind="pie")


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("boundary", ["planar", "toroidal"])
def test_borders_between_clusters(lattice, boundary):
    som = fitted(lattice, boundary=boundary, n_clusters=3)
    grid = Grid(6, 5, lattice, boundary)
    planes = ComponentPlanesDisplay.from_estimator(som, features=[0, 1], border_color="red")
    codes = CodeVectorsDisplay.from_estimator(som, border_color="red")
    assert len(planes.borders_) == 2
    for borders in [*planes.borders_, codes.borders_]:
        assert_borders_separate(borders, grid, som.cluster_labels_)
        assert_array_equal(borders.get_color(), [[1, 0, 0, 1]])


def test_no_borders_without_clusters():
    assert ComponentPlanesDisplay.from_estimator(fitted()).borders_ == []
    assert CodeVectorsDisplay.from_estimator(fitted()).borders_ is None


class TestTraining:
    @pytest.mark.parametrize("with_topographic_error", [False, True])
    def test_curves_are_the_history(self, with_topographic_error):
        som = fitted(compute_topographic_error=with_topographic_error)
        display = TrainingDisplay.from_estimator(som)
        curves = ["quantization_error", "topographic_error", "radius"]
        if not with_topographic_error:
            curves.remove("topographic_error")
        assert len(display.axes_) == len(display.lines_) == len(curves)
        for ax, line, name in zip(display.axes_, display.lines_, curves, strict=True):
            assert list(ax.lines) == [line]
            assert_array_equal(line.get_xdata(), [1, 2, 3])
            assert_array_equal(line.get_ydata(), som.history_[name])
            assert ax.get_ylabel().startswith(name.replace("_", " "))
        assert display.axes_[-1].get_xlabel() == "epoch"
        assert_texts_fit_and_do_not_overlap(display.figure_)

    def test_curves_share_the_horizontal_axis(self):
        display = TrainingDisplay.from_estimator(fitted())
        display.figure_.draw_without_rendering()
        upper, lower = display.axes_
        assert upper.get_xlim() == lower.get_xlim()
        assert upper.get_position().x0 == pytest.approx(lower.get_position().x0)
        assert all(tick == int(tick) for tick in lower.get_xticks())

    def test_single_epoch_has_a_marker(self):
        som = TFSOM((3, 3), max_iter=1).fit(X)
        for line in TrainingDisplay.from_estimator(som).lines_:
            assert line.get_marker() == "o" and len(line.get_xdata()) == 1

    def test_many_epochs_have_no_markers(self):
        history = {"quantization_error": np.linspace(2, 1, 500), "radius": np.linspace(9, 1, 500)}
        display = TrainingDisplay(history).plot()
        assert {line.get_marker() for line in display.lines_} == {""}

    def test_mini_batches_of_partial_fit(self):
        som = TFSOM((4, 4))
        for start in range(0, 150, 50):
            som.partial_fit(X[start : start + 50])
        display = TrainingDisplay.from_estimator(som)
        assert display.axes_[-1].get_xlabel() == "mini-batch"
        assert_array_equal(display.lines_[0].get_xdata(), np.arange(1, som.n_iter_ + 1))
        assert_array_equal(display.lines_[1].get_ydata(), som.history_["radius"])

    def test_label_names_the_metric(self):
        som = TFSOM((3, 3), max_iter=2, metric="cosine").fit(X)
        assert "(cosine distance)" in TrainingDisplay.from_estimator(som).axes_[0].get_ylabel()

    def test_labels_and_colors_on_given_axes(self):
        figure, axes = plt.subplots(1, 2)
        display = TrainingDisplay.from_estimator(fitted(), ax=axes, color="red")
        assert_array_equal(display.axes_, axes)
        assert display.figure_ is figure and plt.get_fignums() == [figure.number]
        assert {ax.get_xlabel() for ax in axes} == {"epoch"}
        assert {line.get_color() for line in display.lines_} == {"red"}

    def test_wrong_number_of_axes(self):
        _, axes = plt.subplots(3)
        with pytest.raises(
            InvalidParameterError, match=r"array-like of 2 rectilinear Axes, .*Got 3 Axes"
        ):
            TrainingDisplay.from_estimator(fitted(), ax=axes)
        assert not any(ax.lines for ax in axes)


@pytest.mark.parametrize("scale", [1e-170, 1e160, 1e300])
def test_order_of_similar_planes_at_any_scale(scale):
    samples = np.random.RandomState(0).normal(size=(90, 6))
    samples[:, 3] = samples[:, 0] + 0.1 * samples[:, 3]
    order, scaled = (
        ComponentPlanesDisplay.from_estimator(TFSOM((5, 4)).fit(X), put_similar_together=True)
        for X in (samples, samples * scale)
    )
    assert list(order.names) == list(scaled.names)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-170, 1e160, 1e300])
def test_kind_and_selected_planes_at_any_scale(scale):
    codebook = fitted(data="digits").codebook_
    n_rows, n_columns = fitted(data="digits").grid_shape_
    som, scaled = (
        TFSOM.from_codebook(values, grid_size=(n_rows, n_columns))
        for values in (codebook, codebook * scale)
    )
    assert CodeVectorsDisplay.from_estimator(scaled).images_
    names = ComponentPlanesDisplay.from_estimator(som).names
    assert ComponentPlanesDisplay.from_estimator(scaled).names == names


@pytest.mark.parametrize("metric", ["cosine", "correlation"])
def test_directions_are_not_turned_back(metric):
    pipeline = make_pipeline(StandardScaler(), TFSOM((5, 4), metric=metric)).fit(FRAME)
    display = ComponentPlanesDisplay.from_estimator(pipeline)
    assert_array_equal(display.planes, pipeline[-1].codebook_)
    assert list(display.names) == NAMES
    assert display.title == "Component planes of directions"


def test_planes_that_vary_most_are_those_of_the_map():
    """Not those of features in small units."""
    samples = np.random.RandomState(0).normal(size=(200, 30))
    samples[:, 10:] *= 1e-3  # after scaling, the last ones vary as much
    samples[:, 29] = samples[:, 28]
    samples *= np.r_[np.full(10, 1e6), np.ones(20)]
    pipeline = make_pipeline(StandardScaler(), TFSOM((5, 4))).fit(samples)
    selected = np.sort(np.argsort(-pipeline[-1].codebook_.var(axis=0), kind="stable")[:25])
    display = ComponentPlanesDisplay.from_estimator(pipeline)
    assert list(display.names) == [f"feature {k}" for k in selected]


def test_images_are_upright_whatever_the_style():
    som = TFSOM((3, 3), max_iter=2).fit(DIGITS)
    with matplotlib.rc_context({"image.origin": "lower"}):
        display = CodeVectorsDisplay.from_estimator(som)
    assert {image.origin for image in display.ax_.images} == {"upper"}


def test_planes_of_integers():
    display = ComponentPlanesDisplay(np.arange(40).reshape(20, 2), Grid(5, 4), ["a", "b"])
    display.plot()


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # in matplotlib's color bar
@pytest.mark.parametrize("value", [1.5e308, -1.7e308])
def test_color_limits_of_a_large_constant(value):
    display = ComponentPlanesDisplay(np.full((4, 1), value), Grid(2, 2), ["a"]).plot()
    display.figure_.draw_without_rendering()
    low, high = display.cells_[0].get_clim()
    assert low < value < high and np.isfinite([low, high, high - low]).all()

"""U-matrix display: positions and shapes of the cells, values and labels."""

import functools
import itertools
import math
from collections import Counter

import matplotlib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris

matplotlib.use("agg")

import matplotlib.pyplot as plt
from matplotlib.collections import PolyCollection

from sklearn_tfsom import TFSOM, Grid
from sklearn_tfsom.displays import UMatrixDisplay
from sklearn_tfsom.metrics import u_matrix

LATTICES = ["hexagonal", "rectangular"]
X, CODES = load_iris(return_X_y=True)
Y = load_iris().target_names[CODES]
SHORT_NAMES, LONG_NAMES = ["a", "b", "c"], ["Iris-setosa", "Iris-versicolor", "x"]


@pytest.fixture(autouse=True)
def close_figures():
    plt.close("all")
    yield
    plt.close("all")


@functools.cache
def fitted(lattice="hexagonal", shape=(6, 5), **params):
    return TFSOM(shape, lattice=lattice, max_iter=3, **params).fit(X)


def cell_corners(display):
    """Return the distinct corners of each cell, shape (n_units, n_corners, 2)."""
    paths = display.cells_.get_paths()
    assert all(np.array_equal(path.vertices[0], path.vertices[-1]) for path in paths)
    return np.array([path.vertices[:-1] for path in paths])


def area(corners):
    x, y = corners.T
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def slow_majority(bmus, y, n_units):
    """Return the most frequent class of each unit, the first in sorted order; None without."""
    labels = []
    for unit in range(n_units):
        counts = Counter(str(label) for bmu, label in zip(bmus, y, strict=True) if bmu == unit)
        most = max(counts.values(), default=0)
        labels.append(min((c for c in counts if counts[c] == most), default=None))
    return labels


class TestCells:
    @pytest.mark.parametrize(("lattice", "n_corners"), [("hexagonal", 6), ("rectangular", 4)])
    @pytest.mark.parametrize("shape", [(6, 5), (5, 4), (1, 7), (7, 1), (1, 1)])
    def test_each_unit_has_one_cell_centered_on_it(self, lattice, n_corners, shape):
        som = fitted(lattice, shape)
        corners = cell_corners(UMatrixDisplay.from_estimator(som))
        assert corners.shape == (shape[0] * shape[1], n_corners, 2)
        assert_allclose(corners.mean(axis=1), som.unit_positions_, atol=1e-12)

    @pytest.mark.parametrize(
        ("lattice", "size"), [("hexagonal", math.sqrt(3) / 2), ("rectangular", 1.0)]
    )
    def test_area(self, lattice, size):
        corners = cell_corners(UMatrixDisplay.from_estimator(fitted(lattice)))
        assert_allclose([area(cell) for cell in corners], size, rtol=1e-12)

    @pytest.mark.parametrize("lattice", LATTICES)
    def test_edges_have_equal_lengths(self, lattice):
        corners = cell_corners(UMatrixDisplay.from_estimator(fitted(lattice)))
        edges = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
        assert_allclose(edges, 1 / math.sqrt(3) if lattice == "hexagonal" else 1.0, rtol=1e-12)

    @pytest.mark.parametrize("lattice", LATTICES)
    def test_only_neighbors_share_an_edge(self, lattice):
        som = fitted(lattice)
        corners = cell_corners(UMatrixDisplay.from_estimator(som))
        for k, j in itertools.combinations(range(len(corners)), 2):
            distances = np.linalg.norm(corners[k][:, None] - corners[j], axis=2)
            n_shared = np.count_nonzero(distances < 1e-9)
            is_neighbor = math.dist(som.unit_positions_[k], som.unit_positions_[j]) < 1 + 1e-9
            assert (n_shared == 2) == is_neighbor

    @pytest.mark.parametrize("lattice", LATTICES)
    def test_cells_do_not_overlap(self, lattice):
        """No corner is closer to another unit: each cell is the Voronoi cell of its unit."""
        som = fitted(lattice)
        corners = cell_corners(UMatrixDisplay.from_estimator(som))
        to_units = np.linalg.norm(corners[:, :, None] - som.unit_positions_, axis=3)
        own = to_units[np.arange(len(corners)), :, np.arange(len(corners))]
        assert (own <= to_units.min(axis=2) + 1e-9).all()

    @pytest.mark.parametrize("lattice", LATTICES)
    @pytest.mark.parametrize("boundary", ["planar", "cylindrical", "toroidal"])
    @pytest.mark.parametrize("between", [False, True])
    def test_values_are_the_u_matrix(self, lattice, boundary, between):
        som = fitted(lattice, boundary=boundary)
        display = UMatrixDisplay.from_estimator(som, between=between)
        values = u_matrix(som, between=between)
        assert np.ptp(values) > 0
        assert_array_equal(display.cells_.get_array(), values.ravel())
        assert_array_equal(display.values, values)

    def test_colors_increase_with_the_values(self):
        display = UMatrixDisplay.from_estimator(fitted(), cmap="gray")
        display.figure_.draw_without_rendering()
        shades = display.cells_.get_facecolor()[:, 0]
        values = display.values.ravel()
        assert shades[values.argmin()] == 0 and shades[values.argmax()] == 1
        assert (np.diff(shades[np.argsort(values)]) >= 0).all()

    @pytest.mark.parametrize("lattice", LATTICES)
    def test_large_map_is_one_collection(self, lattice):
        som = TFSOM((50, 50), lattice=lattice, max_iter=1).fit(X)
        display = UMatrixDisplay.from_estimator(som)
        assert len(display.ax_.collections) == 1
        assert display.ax_.collections[0] is display.cells_
        assert isinstance(display.cells_, PolyCollection)
        assert len(display.cells_.get_paths()) == 2500
        assert not display.ax_.patches and not display.ax_.lines


class TestAxes:
    def test_labels_in_a_subfigure(self):
        subfigure, _ = plt.figure().subfigures(1, 2)
        ax = subfigure.subplots()
        display = UMatrixDisplay.from_estimator(fitted(), X, CODES, ax=ax)
        assert display.ax_ is ax
        assert len(display.texts_) > 0

    @pytest.mark.parametrize("ax", [None, "given"])
    def test_equal_scales(self, ax):
        display = UMatrixDisplay.from_estimator(fitted(), ax=ax and plt.subplots()[1])
        assert display.ax_.get_aspect() == 1

    @pytest.mark.parametrize(
        ("lattice", "shape"),
        [
            ("hexagonal", (6, 5)),
            ("rectangular", (6, 5)),
            ("hexagonal", (1, 9)),
            ("rectangular", (9, 1)),
            ("hexagonal", (1, 1)),
        ],
    )
    def test_all_cells_are_within_the_limits(self, lattice, shape):
        display = UMatrixDisplay.from_estimator(fitted(lattice, shape))
        display.figure_.draw_without_rendering()
        x, y = cell_corners(display).reshape(-1, 2).T
        left, right = sorted(display.ax_.get_xlim())
        bottom, top = sorted(display.ax_.get_ylim())
        assert left <= x.min() and x.max() <= right
        assert bottom <= y.min() and y.max() <= top

    def test_colorbar_label(self):
        display = UMatrixDisplay.from_estimator(fitted())
        (bar,) = (ax for ax in display.figure_.axes if ax is not display.ax_)
        assert bar.get_ylabel() == "distance to neighbors (data units)"
        assert display.cells_.colorbar.ax is bar

    def test_plot_again_on_other_axes(self):
        display = UMatrixDisplay.from_estimator(fitted(), X, Y)
        first_cells, first_texts = display.cells_, display.texts_
        _, ax = plt.subplots()
        assert display.plot(ax=ax, cmap="gray") is display
        assert display.ax_ is ax and display.cells_ is not first_cells
        assert_array_equal(display.cells_.get_array(), first_cells.get_array())
        assert [text.get_text() for text in display.texts_] == [
            text.get_text() for text in first_texts
        ]


class TestLabels:
    @pytest.mark.parametrize("lattice", LATTICES)
    @pytest.mark.parametrize("y", [Y, CODES, Y.tolist(), CODES * 0.5], ids=lambda y: type(y[0]))
    def test_units_show_their_most_frequent_class(self, lattice, y):
        som = fitted(lattice, (7, 6))
        display = UMatrixDisplay.from_estimator(som, X, y)
        slow = slow_majority(som.predict(X), y, 42)
        assert None in slow and len(set(slow)) == 4  # units without samples, and all classes
        shown = {tuple(text.get_position()): text.get_text() for text in display.texts_}
        assert shown == {
            tuple(position): label
            for position, label in zip(som.unit_positions_, slow, strict=True)
            if label is not None
        }

    def test_weights_are_repetitions(self):
        weights = np.random.RandomState(0).randint(4, size=150)
        weighted = UMatrixDisplay.from_estimator(fitted(), X, Y, sample_weight=weights)
        repeated = UMatrixDisplay.from_estimator(
            fitted(), X.repeat(weights, axis=0), Y.repeat(weights)
        )
        assert weighted.unit_labels == repeated.unit_labels

    def test_first_class_is_shown_for_ties(self):
        som = TFSOM(1).fit([[0.0], [1.0]])
        display = UMatrixDisplay.from_estimator(som, [[0.0], [1.0], [2.0]], ["b", "a", "c"])
        assert [text.get_text() for text in display.texts_] == ["a"]

    def test_labels_are_per_unit_on_a_map_with_clusters(self):
        som = fitted(n_clusters=2)
        display = UMatrixDisplay.from_estimator(som, X, Y)
        slow = slow_majority(som.bmus(X), Y, 30)
        shown = [text.get_text() for text in display.texts_]
        assert shown == [label for label in slow if label is not None]

    def test_no_labels_without_samples(self):
        display = UMatrixDisplay.from_estimator(fitted())
        assert display.texts_ == [] and not display.ax_.texts and display.unit_labels is None

    def test_column_vector_y(self):
        som = fitted()
        flat = UMatrixDisplay.from_estimator(som, X, Y).unit_labels
        assert UMatrixDisplay.from_estimator(som, X, Y[:, None]).unit_labels == flat

    @pytest.mark.parametrize(
        ("lattice", "names", "figsize"),
        [
            ("hexagonal", LONG_NAMES, None),
            ("rectangular", SHORT_NAMES, None),
            ("hexagonal", SHORT_NAMES, (3, 8)),
            ("rectangular", LONG_NAMES, (8, 20)),
            ("hexagonal", LONG_NAMES, (20, 8)),
            ("rectangular", SHORT_NAMES, (8, 3)),
        ],
    )
    def test_labels_fit_into_their_cells(self, lattice, names, figsize):
        ax = figsize and plt.subplots(figsize=figsize)[1]
        display = UMatrixDisplay.from_estimator(fitted(lattice), X, np.take(names, CODES), ax=ax)
        display.figure_.draw_without_rendering()
        assert len(display.texts_) > 10
        for text in display.texts_:
            box = text.get_window_extent().transformed(display.ax_.transData.inverted())
            assert box.width < 1 and box.height < 1


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("boundary", ["planar", "cylindrical", "toroidal"])
@pytest.mark.parametrize("shape", [(5, 4), (3, 3), (3, 2), (4, 5)])
def test_each_cell_between_units_of_different_clusters_has_a_border(lattice, boundary, shape):
    codebook = np.random.RandomState(0).normal(size=(math.prod(shape), 2))
    som = TFSOM.from_codebook(codebook, grid_size=shape, lattice=lattice, boundary=boundary)
    display = UMatrixDisplay.from_estimator(som, between=True)
    display.cluster_labels = np.arange(len(codebook))
    display.plot()
    rows, columns = np.indices(display.values.shape).reshape(2, -1) % 2
    is_between = (rows | columns if lattice == "hexagonal" else rows ^ columns) == 1
    cells = cell_corners(display).mean(axis=1)[is_between]
    borders = np.mean(display.borders_.get_segments(), axis=1)
    are_close = np.linalg.norm(cells[:, None] - borders, axis=2) < 1e-6
    assert (are_close.sum(axis=0) == 1).all() and (are_close.sum(axis=1) == 1).all()


class TestErrors:
    @pytest.mark.parametrize("given", [{"X": X}, {"y": Y}], ids=["X", "y"])
    def test_samples_and_classes_must_be_given_together(self, given):
        with pytest.raises(ValueError, match=r"^UMatrixDisplay\.from_estimator needs [Xy] if"):
            UMatrixDisplay.from_estimator(fitted(), **given)

    @pytest.mark.parametrize(
        "y",
        [Y[:-1], Y[:1], [], "setosa", np.column_stack([Y, Y])],
        ids=["short", "one", "empty", "str", "two columns"],
    )
    def test_wrong_shape_of_y(self, y):
        with pytest.raises(ValueError, match=r"\by\b|samples") as caught:
            UMatrixDisplay.from_estimator(fitted(), X, y)
        assert "broadcast" not in str(caught.value)


class TestColorLimits:
    def test_one_outlier_does_not_turn_the_map_dark(self):
        X = load_iris().data.copy()
        X[7] += 100
        display = UMatrixDisplay.from_estimator(TFSOM((8, 6)).fit(X))
        low, high = display.cells_.get_clim()
        assert high < 0.5 * display.values.max() and low == display.values.min()
        assert display.colorbar_.extend == "max"

    def test_without_outliers_the_range_is_that_of_the_values(self):
        values = np.arange(12.0).reshape(3, 4)
        display = UMatrixDisplay(values, Grid(3, 4)).plot()
        assert display.cells_.get_clim() == (0, 11) and display.colorbar_.extend == "neither"

    @pytest.mark.parametrize(
        ("clim", "extend"), [((-1, 20), "neither"), ((1, 20), "min"), ((1, 9), "both")]
    )
    def test_given_limits(self, clim, extend):
        values = np.arange(12.0).reshape(3, 4)
        display = UMatrixDisplay(values, Grid(3, 4)).plot(clim=clim)
        assert display.cells_.get_clim() == clim and display.colorbar_.extend == extend

    @pytest.mark.parametrize(
        "values",
        [
            np.repeat([0.0, 1.0], [75, 25]),
            np.r_[np.zeros(60), np.linspace(1, 8, 40)],
            np.r_[np.linspace(-0.1, 0.1, 90), np.geomspace(0.5, 3, 10)],
            np.r_[1e-13 * np.arange(80.0), np.ones(20)],
        ],
    )
    @pytest.mark.parametrize("sign", [-1, 1])
    def test_few_values_are_beyond_the_limits(self, values, sign):
        values = sign * values.reshape(10, 10)
        low, high = UMatrixDisplay(values, Grid(10, 10)).plot().cells_.get_clim()
        assert max(np.mean(values < low), np.mean(values > high)) <= 0.05
        assert np.isin([low, high], values).all()

    @pytest.mark.parametrize("outlier", [1e3, 1e10, 1e37])
    @pytest.mark.parametrize("n_outliers", [1, 5])
    def test_values_far_out_are_beyond_the_limits(self, outlier, n_outliers):
        values = np.r_[np.linspace(0, 1, 100 - n_outliers), np.full(n_outliers, outlier)]
        display = UMatrixDisplay(values.reshape(10, 10), Grid(10, 10)).plot()
        assert display.cells_.get_clim() == (0, 1)

    def test_rounding_errors_are_no_range(self):
        values = np.r_[1e6 + 1e-9 * np.arange(99.0), 2e6]
        display = UMatrixDisplay(values.reshape(10, 10), Grid(10, 10)).plot()
        assert display.cells_.get_clim() == (1e6, 2e6)


def test_color_bar_of_a_narrow_map_ends_below_the_title():
    display = UMatrixDisplay.from_estimator(TFSOM().fit(load_iris().data[:, [2]]))
    display.figure_.draw_without_rendering()
    bar = display.colorbar_
    assert bar.extend == "max"
    triangle = bar._extend_patches[0].get_window_extent()
    title, axes = display.ax_.title.get_window_extent(), display.ax_.get_window_extent()
    assert title.x1 > triangle.x0 and title.y0 >= triangle.y1
    assert abs(triangle.y1 - axes.y1) < 2 and abs(bar.ax.get_window_extent().y0 - axes.y0) < 2

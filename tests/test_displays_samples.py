"""Displays of samples: data space, trajectory, anomaly map, and labels beside points."""

import copy
import itertools
import re
import warnings
from decimal import Decimal
from fractions import Fraction

import matplotlib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pictures import assert_texts_fit_and_do_not_overlap
from scipy.sparse import csr_matrix
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

matplotlib.use("agg")

import matplotlib.pyplot as plt
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from sklearn_tfsom import TFSOM, Grid
from sklearn_tfsom.displays import (
    AnomalyMapDisplay,
    ComponentPlanesDisplay,
    DataSpaceDisplay,
    TrajectoryDisplay,
    UMatrixDisplay,
)
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays._colors import class_colors
from sklearn_tfsom.displays._labels import place_labels
from sklearn_tfsom.displays._periodic import shortest_lines
from sklearn_tfsom.metrics import u_matrix

DISPLAYS = [DataSpaceDisplay, TrajectoryDisplay, AnomalyMapDisplay]
LATTICES = ["hexagonal", "rectangular"]
BOUNDARIES = ["planar", "cylindrical", "toroidal"]
IRIS = load_iris(as_frame=True)
FRAME, CODES = IRIS.data, IRIS.target.to_numpy()
X, Y = FRAME.to_numpy(), IRIS.target_names[CODES]

# The search refuses these: an error about another argument shows that it is checked before.
TOO_LARGE = 1e200 * X

NOTHING = np.empty((0, 2))  # no obstacles of labels


@pytest.fixture(autouse=True)
def close_figures():
    plt.close("all")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def som():
    return TFSOM((6, 5), max_iter=3).fit(X)


@pytest.fixture(scope="module")
def large_som():
    return TFSOM((50, 50), max_iter=1).fit(X)


@pytest.fixture(scope="module")
def incomplete():
    """Return a map of iris with missing values, and these data."""
    is_missing = np.random.RandomState(0).uniform(size=X.shape) < 0.15
    is_missing[:, 0] &= ~is_missing.all(axis=1)
    samples = np.where(is_missing, np.nan, X)
    return TFSOM((4, 5), max_iter=3).fit(samples), samples


def other_axes(display):
    return [ax for ax in display.figure_.axes if ax is not display.ax_]


def boxes_of(texts):
    """Return the boxes of texts, without the lines to their points."""
    texts[0].figure.draw_without_rendering()
    return [np.array(Text.get_window_extent(text).extents) for text in texts]


def overlap(first, second):
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    return np.prod(np.maximum(high - low, 0))


class TestSampleDisplays:
    @pytest.mark.parametrize("kind", DISPLAYS)
    def test_large_maps_are_few_collections(self, kind, large_som):
        display = kind.from_estimator(large_som, X)
        assert len(display.ax_.collections) <= 5
        assert len(display.ax_.texts) <= 2
        assert not display.ax_.patches and not display.ax_.lines

    @pytest.mark.parametrize("kind", DISPLAYS)
    def test_sparse_and_dense_samples_are_drawn_alike(self, kind, som):
        dense, sparse = (kind.from_estimator(som, A) for A in (X, csr_matrix(X)))
        for artist in {"samples_", "visits_", "marks_"} & set(vars(dense)):
            there = [getattr(display, artist).get_offsets() for display in (dense, sparse)]
            assert_allclose(*there, atol=1e-6)

    @pytest.mark.parametrize("kind", DISPLAYS)
    def test_axes_with_shared_limits(self, kind, som):
        figure, axes = plt.subplots(2, 2, sharex=True, sharey=True)
        kind.from_estimator(som, X, ax=axes[0, 0])
        figure.draw_without_rendering()


class TestLabels:
    def test_labels_do_not_overlap_each_other_or_their_points(self):
        _, ax = plt.subplots(figsize=(8, 6))
        points = np.random.RandomState(0).uniform(0.1, 0.9, size=(30, 2))
        texts = place_labels(ax, points, [f"sample {k}" for k in range(30)], obstacles=NOTHING)
        boxes = boxes_of(texts)
        assert all(overlap(*pair) < 1 for pair in itertools.combinations(boxes, 2))
        for x, y in ax.transData.transform(points):
            assert not any(b[0] < x < b[2] and b[1] < y < b[3] for b in boxes)

    def test_many_labels_of_one_point(self):
        _, ax = plt.subplots()
        texts = place_labels(ax, np.full((8, 2), 0.5), ["a label"] * 8, obstacles=NOTHING)
        boxes = boxes_of(texts)
        assert all(overlap(*pair) == 0 for pair in itertools.combinations(boxes, 2))
        # Distant labels are connected with the point by a line.
        assert texts[0].arrow_patch is None and texts[-1].arrow_patch is not None

    def test_labels_at_the_corners_are_within_the_axes(self):
        _, ax = plt.subplots()
        corners = np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
        texts = place_labels(ax, corners, ["a long text"] * 4, obstacles=NOTHING)
        frame = ax.get_window_extent()
        for left, bottom, right, top in boxes_of(texts):
            assert frame.x0 <= left and right <= frame.x1
            assert frame.y0 <= bottom and top <= frame.y1

    def test_labels_avoid_obstacles(self):
        _, ax = plt.subplots()
        # Everywhere around the point except below left.
        obstacles = np.random.RandomState(0).uniform(0.2, 0.8, size=(3000, 2))
        obstacles = obstacles[~((obstacles < 0.5).all(axis=1))]
        (text,) = place_labels(ax, np.array([[0.5, 0.5]]), ["here"], obstacles=obstacles)
        assert (text.get_ha(), text.get_va()) == ("right", "top")

    def test_layout_ignores_labels(self):
        figure, ax = plt.subplots(layout="constrained")
        figure.draw_without_rendering()
        before = ax.get_position().bounds
        text = "a text longer than the axes are wide " * 3
        place_labels(ax, np.array([[1.0, 1.0]]), [text], obstacles=NOTHING)
        figure.draw_without_rendering()
        assert ax.get_position().bounds == before

    @pytest.mark.parametrize(
        "labels",
        [
            {0: "a", 2: "b"},
            ["a", "", "b"],
            np.array(["a", "", "b"]),
            ["a", None, "b"],
            np.array(["a", np.nan, "b"], dtype=object),
            np.array([["a"], [""], ["b"]]),
            np.ma.array(["a", "c", "b"], mask=[False, True, False]),
            pa.array(["a", None, "b"]),
            pa.chunked_array([pa.array(["a", None, "b"]).dictionary_encode()]),
            pd.Series(["a", None, "b"], dtype="category"),
            pd.DataFrame({"name": ["a", None, "b"]}),
            pa.table({"name": ["a", None, "b"]}),
            {"x": "a", "y": None, "z": "b"}.values(),
        ],
    )
    def test_dict_or_sequence(self, labels, som):
        display = DataSpaceDisplay.from_estimator(som, X[:3], labels=labels)
        assert display.labels == {0: "a", 2: "b"}

    def test_times(self, som):
        days = pd.date_range("2020-01-01", periods=3)
        display = DataSpaceDisplay.from_estimator(som, X[:3], labels=days)
        assert display.labels == {k: str(day) for k, day in enumerate(days)}

    @pytest.mark.parametrize(
        "labels", [{3: "a"}, {"a": "b"}, {-1: "a"}, ["a"], "abc", 3, [["a"] * 2] * 3]
    )
    @pytest.mark.parametrize("kind", [DataSpaceDisplay, TrajectoryDisplay])
    def test_invalid_labels(self, labels, kind, som):
        match = rf"The 'labels' parameter of {kind.__name__}\.from_estimator must be a dict from"
        with pytest.raises(ValueError, match=match):
            kind.from_estimator(som, TOO_LARGE[:3], labels=labels)


class TestDataSpace:
    @pytest.mark.parametrize("scale", [1e-170, 1e160])
    def test_shares_of_the_variance_at_any_scale(self, som, scale):
        scaled = DataSpaceDisplay.from_estimator(
            TFSOM((3, 3), max_iter=1).fit(X * scale), X * scale
        )
        assert scaled.axis_names == DataSpaceDisplay.from_estimator(som, X).axis_names

    def test_long_feature_names(self):
        names = [f"mean_arterial_pressure_during_follow_up_visit_2_corrected_v{k}" for k in (1, 2)]
        samples = pd.DataFrame(X[:, :2], columns=names)
        som = TFSOM((3, 3), max_iter=1).fit(samples)
        display = DataSpaceDisplay.from_estimator(som, samples, features=(0, 1))
        assert_texts_fit_and_do_not_overlap(display.figure_)
        labels = display.ax_.get_xlabel(), display.ax_.get_ylabel()
        assert [label.replace("\n", "") for label in labels] == names

    def test_no_shares_of_the_variance_with_missing_values(self):
        """They would add up to 125 % here: the pairs have correlations of 1, 1 and -1."""
        values, nan = np.random.RandomState(0).normal(size=20), np.full(20, np.nan)
        parts = [[values, values, nan], [values, nan, values], [nan, values, -values]]
        samples = np.hstack(parts).T
        som = TFSOM((3, 3), max_iter=1).fit(samples)
        display = DataSpaceDisplay.from_estimator(som, samples)
        assert display.axis_names == ("principal component 1", "principal component 2")

    def test_principal_components_are_those_of_pca(self, som):
        display = DataSpaceDisplay.from_estimator(som, X)
        pca = PCA(2).fit(X)
        for shown, values in [(display.samples, X), (display.units, som.codebook_)]:
            expected = pca.transform(values)
            signs = np.sign((shown * expected).sum(axis=0))
            assert_allclose(shown, signs * expected, atol=1e-6)
        shares = [f"{100 * share:.3g}%" for share in pca.explained_variance_ratio_]
        assert shares[0] in display.ax_.get_xlabel() and shares[1] in display.ax_.get_ylabel()

    def test_two_features_are_shown_unchanged(self):
        som = TFSOM((3, 3), max_iter=1).fit(X[:, :2])
        display = DataSpaceDisplay.from_estimator(som, X[:, :2])
        assert_array_equal(display.samples_.get_offsets(), X[:, :2])
        assert_array_equal(display.units_.get_offsets(), som.codebook_)
        assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("feature 0", "feature 1")

    @pytest.mark.parametrize("features", [("petal width (cm)", 1), [3, "sepal width (cm)"]])
    def test_features_by_name_and_by_index(self, features):
        som = TFSOM((3, 3), max_iter=1).fit(FRAME)
        display = DataSpaceDisplay.from_estimator(som, FRAME, features=features)
        assert_array_equal(display.samples, X[:, [3, 1]])
        assert_array_equal(display.units, som.codebook_[:, [3, 1]])
        assert display.ax_.get_xlabel() == "petal width (cm)"

    @pytest.mark.parametrize("lattice", LATTICES)
    @pytest.mark.parametrize("boundary", BOUNDARIES)
    def test_net_connects_neighbors(self, lattice, boundary):
        som = TFSOM((4, 5), lattice=lattice, boundary=boundary, max_iter=1).fit(X)
        display = DataSpaceDisplay.from_estimator(som, X)
        grid, pairs = display.grid, itertools.combinations(range(20), 2)
        slow = [display.units[[k, j]] for k, j in pairs if grid.squared_distances(k, j) == 1]
        shown = display.net_.get_segments()
        assert len(shown) == len(slow)
        assert_array_equal(np.sort(np.ravel(shown)), np.sort(np.ravel(slow)))

    def test_class_colors_and_legend(self, som):
        display = DataSpaceDisplay.from_estimator(som, X, Y)
        colors = class_colors(3)[CODES]
        assert_allclose(display.samples_.get_facecolors()[:, :3], colors[:, :3])
        shown = [text.get_text() for text in display.legend_.get_texts()]
        assert shown == ["setosa", "versicolor", "virginica"]

    def test_no_legend_without_classes(self, som):
        display = DataSpaceDisplay.from_estimator(som, X, color="red", net_color="blue")
        assert display.legend_ is None
        assert tuple(display.samples_.get_facecolors()[0, :3]) == to_rgba("red")[:3]
        assert tuple(display.net_.get_colors()[0, :3]) == to_rgba("blue")[:3]

    def test_max_samples(self, som):
        display = DataSpaceDisplay.from_estimator(som, X, Y, max_samples=40, labels={149: "last"})
        assert len(display.samples) in (40, 41) and len(display.codes) == len(display.samples)
        assert f"({len(display.samples)} of 150 samples)" in display.ax_.get_title()
        everything = DataSpaceDisplay.from_estimator(som, X)
        ((row, text),) = display.labels.items()
        assert text == "last"
        assert_array_equal(display.samples[row], everything.samples[149])
        assert everything.ax_.get_title() == "Map in data space"

    def test_components_do_not_depend_on_max_samples(self, som):
        few, all_ = (DataSpaceDisplay.from_estimator(som, X, max_samples=n) for n in (10, 999))
        assert_array_equal(few.units, all_.units)

    def test_samples_with_missing_values_are_not_shown_in_components(self, incomplete):
        som, samples = incomplete
        display = DataSpaceDisplay.from_estimator(som, samples, Y)
        n_complete = np.count_nonzero(~np.isnan(samples).any(axis=1))
        assert 0 < n_complete < 150 and len(display.samples) == len(display.codes) == n_complete
        assert f"({n_complete} of 150 samples)" in display.ax_.get_title()

    def test_samples_with_both_features_are_shown(self, incomplete):
        som, samples = incomplete
        display = DataSpaceDisplay.from_estimator(som, samples, features=(0, 2))
        pairs = samples[:, [0, 2]]
        assert_array_equal(display.samples, pairs[~np.isnan(pairs).any(axis=1)])

    def test_max_samples_counts_those_that_are_shown(self, incomplete):
        som, samples = incomplete
        options = {"features": (0, 2), "max_samples": 20}
        display = DataSpaceDisplay.from_estimator(som, samples, labels={0: "first"}, **options)
        assert len(display.samples) in (20, 21)
        assert f"({len(display.samples)} of 150 samples)" in display.ax_.get_title()

    @pytest.mark.parametrize("text", ["$5 to $10", "$_$"])
    def test_texts_are_not_parsed_as_math(self, text):
        frame = pd.DataFrame(X[:, :2], columns=[text, f"{text} "])
        som = TFSOM((4, 3), max_iter=2).fit(frame)
        display = DataSpaceDisplay.from_estimator(som, frame, labels={0: text})
        display.figure_.draw_without_rendering()
        assert not display.texts_[0].get_parse_math()

    def test_labels_of_samples(self, som):
        display = DataSpaceDisplay.from_estimator(som, X, labels={3: "three", 70: "seventy"})
        assert [text.get_text() for text in display.texts_] == ["three", "seventy"]
        assert_array_equal([text.xy for text in display.texts_], display.samples[[3, 70]])
        assert_array_equal(display.rings_.get_offsets(), display.samples[[3, 70]])

    def test_directions_are_shown_for_the_cosine_metric(self):
        som = TFSOM((3, 3), metric="cosine", max_iter=1).fit(X)
        display = DataSpaceDisplay.from_estimator(som, X, features=(0, 1))
        assert_allclose(display.samples, X[:, :2] / np.linalg.norm(X, axis=1)[:, None])
        assert "of directions" in display.ax_.get_xlabel()

    @pytest.mark.parametrize("stretch", [1.0, 100.0])
    def test_equal_scales_for_similar_ranges(self, stretch):
        samples = np.random.RandomState(0).normal(size=(50, 2)) * [1, stretch]
        som = TFSOM((2, 2), max_iter=1).fit(samples)
        ax = DataSpaceDisplay.from_estimator(som, samples).ax_
        assert ax.get_aspect() == (1 if stretch == 1 else "auto")

    def test_identical_samples(self):
        som = TFSOM((2, 2), max_iter=1).fit(np.ones((5, 3)))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            display = DataSpaceDisplay.from_estimator(som, np.ones((5, 3)))
            display.figure_.draw_without_rendering()
        assert_array_equal(display.samples, 0)

    @pytest.mark.parametrize("features", ["ab", (0,), (0, 4), (0, -1), (0, "length"), 0, (0, 0.5)])
    def test_invalid_features(self, som, features):
        with pytest.raises(
            ValueError,
            match=r"^The 'features' .+ a sequence of 2 features",
        ):
            DataSpaceDisplay.from_estimator(som, X, features=features)

    def test_data_with_a_single_feature(self):
        som = TFSOM((3, 3), max_iter=1).fit(X[:, :1])
        with pytest.raises(ValueError, match="Got n_features = 1"):
            DataSpaceDisplay.from_estimator(som, X[:, :1])

    def test_feature_that_is_missing_in_all_samples(self, som):
        samples = X.copy()
        samples[:, 2] = np.nan
        with pytest.raises(ValueError, match=r"Feature 2 of X is missing .* two features"):
            DataSpaceDisplay.from_estimator(som, samples)
        DataSpaceDisplay.from_estimator(som, samples, features=(0, 1))

    @pytest.mark.parametrize("n", [0, 1.5, True])
    def test_invalid_max_samples(self, som, n):
        with pytest.raises(
            ValueError,
            match=r"^The 'max_samples' parameter of .+ must be an int",
        ):
            DataSpaceDisplay.from_estimator(som, X, max_samples=n)


def slow_visits(bmus):
    """Return the first sample and the length of each run of equal units."""
    runs = [list(run) for _, run in itertools.groupby(range(len(bmus)), key=lambda k: bmus[k])]
    return [run[0] for run in runs], [len(run) for run in runs]


class TestTrajectory:
    def test_runs_of_one_unit_are_one_visit(self, som):
        display = TrajectoryDisplay.from_estimator(som, X)
        firsts, lengths = slow_visits(som.bmus(X))
        assert len(firsts) < 150
        assert_array_equal(display.visits_.get_array(), firsts)
        sizes = display.visits_.get_sizes() / display.visits_.get_sizes().min()
        assert_allclose(sizes, np.minimum(lengths, sizes.max()))
        assert len(display.path_.get_segments()) == len(firsts) - 1

    def test_borders_between_clusters(self, som):
        assert TrajectoryDisplay.from_estimator(som, X).borders_ is None
        clustered = TFSOM((6, 4), n_clusters=3, max_iter=3).fit(X)
        borders = TrajectoryDisplay.from_estimator(clustered, X).borders_
        expected = UMatrixDisplay.from_estimator(clustered).borders_
        assert len(borders.get_segments()) > 0
        assert_array_equal(borders.get_segments(), expected.get_segments())

    @pytest.mark.parametrize("lattice", LATTICES)
    def test_visits_are_apart_within_their_cells(self, lattice):
        som = TFSOM((3, 3), lattice=lattice, max_iter=1).fit(X)
        order = np.random.RandomState(0).permutation(150)
        display = TrajectoryDisplay.from_estimator(som, X[order])
        firsts, _ = slow_visits(display.bmus)
        places = np.asarray(display.visits_.get_offsets())
        to_units = np.linalg.norm(places[:, None] - som.unit_positions_, axis=2)
        assert_array_equal(to_units.argmin(axis=1), display.bmus[firsts])
        distances = np.linalg.norm(places[:, None] - places, axis=2)
        assert distances[~np.eye(len(places), dtype=bool)].min() > 0.03

    def test_path_connects_successive_visits(self, som):
        display = TrajectoryDisplay.from_estimator(som, X)
        places = np.asarray(display.visits_.get_offsets())
        assert_array_equal(
            display.path_.get_segments(), np.stack([places[:-1], places[1:]], axis=1)
        )
        assert_array_equal(display.path_.get_array(), display.visits_.get_array()[1:])
        assert_array_equal(display.starts_.get_offsets(), places[:1])
        assert_array_equal(display.ends_.get_offsets(), places[-1:])
        assert [text.get_text() for text in display.texts_] == ["start", "end"]

    @pytest.mark.parametrize("lattice", LATTICES)
    @pytest.mark.parametrize("boundary", BOUNDARIES)
    @pytest.mark.parametrize("shape", [(4, 5), (5, 4), (1, 7), (7, 1), (2, 2), (3, 3)])
    def test_lines_have_the_length_of_the_grid_distance(self, lattice, boundary, shape):
        """The pieces of a step are on the map, and start and end at its units."""
        grid = Grid(*shape, lattice, boundary)
        pairs = np.array(list(itertools.permutations(range(grid.n_units), 2)))
        positions, units = grid.positions(), pairs.ravel()
        steps = np.arange(0, len(units), 2)
        lines, targets = shortest_lines(grid, units, positions[units], steps)
        lengths = np.bincount(targets, np.linalg.norm(np.diff(lines, axis=1)[:, 0], axis=1))
        assert_allclose(lengths[1::2] ** 2, grid.squared_distances(*pairs.T))
        first = np.searchsorted(targets, steps + 1)
        last = np.searchsorted(targets, steps + 1, side="right") - 1
        assert_allclose(np.array(lines)[first, 0], positions[pairs[:, 0]], atol=1e-12)
        assert_allclose(np.array(lines)[last, 1], positions[pairs[:, 1]], atol=1e-12)
        corners = positions[:, None] + drawing.cell_corners(grid)
        assert (np.array(lines) >= corners.min(axis=(0, 1)) - 1e-9).all()
        assert (np.array(lines) <= corners.max(axis=(0, 1)) + 1e-9).all()

    @pytest.mark.parametrize("lattice", LATTICES)
    @pytest.mark.parametrize("boundary", ["cylindrical", "toroidal"])
    @pytest.mark.parametrize("shape", [(4, 6), (7, 3), (5, 4)])
    def test_steps_across_a_boundary_are_drawn_on_both_sides(self, lattice, boundary, shape):
        """Dots of a cell with many visits may be close to its edges."""
        grid = Grid(*shape, lattice, boundary)
        units = np.random.RandomState(0).randint(grid.n_units, size=400)
        points = grid.positions()[units] + drawing.spread_in_cells(units)
        steps = np.arange(399)
        lines, targets = shortest_lines(grid, units, points, steps)
        offsets = grid.positions()[units[1:]] - grid.positions()[units[:-1]]
        is_inside = np.isclose(
            np.linalg.norm(offsets, axis=1) ** 2, grid.squared_distances(units[:-1], units[1:])
        )
        n_pieces = np.bincount(targets)[1:]
        assert (n_pieces[is_inside] == 1).all() and 50 < np.count_nonzero(~is_inside)
        assert (n_pieces[~is_inside] >= 2).all()
        first, last = np.searchsorted(targets, steps + 1), np.searchsorted(targets, steps + 2) - 1
        assert_allclose(np.array(lines)[first, 0], points[:-1], atol=1e-12)
        assert_allclose(np.array(lines)[last, 1], points[1:], atol=1e-12)
        corners = grid.positions()[:, None] + drawing.cell_corners(grid)
        assert (np.array(lines) >= corners.min(axis=(0, 1)) - 1e-9).all()
        assert (np.array(lines) <= corners.max(axis=(0, 1)) + 1e-9).all()

    def test_line_within_the_map_is_preferred_for_ties(self):
        grid = Grid(4, 4, "rectangular", "toroidal")
        units = np.array([0, 2, 0, 8])
        points = grid.positions()[units]
        lines, _ = shortest_lines(grid, units, points, np.array([0, 2]))
        assert_array_equal(lines, points.reshape(2, 2, 2))

    def test_pieces_of_a_step_across_a_boundary_have_the_same_color(self):
        units = np.array([0, 5, 0, 5, 1])
        display = TrajectoryDisplay(units, Grid(4, 6, boundary="cylindrical")).plot()
        assert_array_equal(display.path_.get_array(), [1, 1, 2, 2, 3, 3, 4, 4])
        assert max(np.ptp(line[:, 0]) for line in display.path_.get_segments()) < 2

    @pytest.mark.parametrize("background", ["u_matrix", "outlines"])
    def test_background(self, som, background):
        display = TrajectoryDisplay.from_estimator(som, X, background=background)
        assert len(display.cells_.get_paths()) == 30
        if background == "u_matrix":
            assert_array_equal(display.cells_.get_array(), u_matrix(som).ravel())
        else:
            assert display.cells_.get_array() is None

    @pytest.mark.parametrize("style", ["default", "dark_background"])
    def test_contrast_of_background_and_path(self, som, style):
        with plt.style.context(style):
            display = TrajectoryDisplay.from_estimator(som, X)
            display.figure_.draw_without_rendering()
            background = np.array(to_rgba(display.figure_.get_facecolor()))
            shades = np.abs(display.cells_.get_facecolors() - background)[:, :3]
            assert 0.02 < shades.min() and shades.max() < 0.5
            lines = np.abs(display.path_.get_edgecolors() - background)[:, :3]
            assert lines.max(axis=1).min() > 0.35

    def test_times_order_the_samples(self, som):
        times = np.random.RandomState(0).permutation(150) * 0.5
        display = TrajectoryDisplay.from_estimator(som, X, times=times, labels={7: "seven"})
        order = np.argsort(times)
        assert_array_equal(display.bmus, som.bmus(X)[order])
        assert_array_equal(display.times, times[order])
        assert display.labels == {int(np.flatnonzero(order == 7)[0]): "seven"}
        assert display.path_.norm.vmin == 0 and display.path_.norm.vmax == 74.5
        assert other_axes(display)[0].get_ylabel() == "time"

    def test_datetimes_are_dates_on_the_colorbar(self, som):
        days = np.arange("2024-01-01", "2024-05-30", dtype="datetime64[D]")
        display = TrajectoryDisplay.from_estimator(som, X, times=days)
        display.figure_.draw_without_rendering()
        ticks = [label.get_text() for label in display.colorbar_.ax.get_yticklabels()]
        assert any(tick.startswith("2024-0") for tick in ticks)
        objects = TrajectoryDisplay.from_estimator(som, X, times=days.astype(object))
        assert_array_equal(objects.path_.get_array(), display.path_.get_array())

    def test_groups_are_separate_paths(self, som):
        groups = np.array(["b", "a", "c"])[np.arange(150) % 3]
        display = TrajectoryDisplay.from_estimator(som, X, groups=groups)
        runs = [slow_visits(som.bmus(X)[groups == name])[0] for name in "abc"]
        n_visits = [len(firsts) for firsts in runs]
        assert len(display.path_.get_segments()) == sum(n_visits) - 3
        assert len(display.visits_.get_offsets()) == sum(n_visits)
        colors = display.path_.get_colors()
        expected = np.repeat(class_colors(3), np.array(n_visits) - 1, axis=0)
        assert_allclose(colors[:, :3], expected[:, :3])
        assert colors[0, 3] < colors[n_visits[0] - 2, 3] == 1
        assert len(display.starts_.get_offsets()) == len(display.ends_.get_offsets()) == 3
        shown = [text.get_text() for text in display.legend_.get_texts()]
        assert shown == ["a", "b", "c", "start", "end"]
        assert display.colorbar_ is None and not display.texts_

    def test_labels_are_beside_the_visit_of_their_sample(self, som):
        display = TrajectoryDisplay.from_estimator(som, X, labels={40: "forty"})
        firsts, _ = slow_visits(som.bmus(X))
        visit = np.searchsorted(firsts, 40, side="right") - 1
        assert [text.get_text() for text in display.texts_] == ["start", "end", "forty"]
        assert_array_equal(display.texts_[2].xy, display.visits_.get_offsets()[visit])

    def test_single_sample(self, som):
        display = TrajectoryDisplay.from_estimator(som, X[:1])
        display.figure_.draw_without_rendering()
        assert display.colorbar_ is None and not display.path_.get_segments()
        assert display.ax_.get_title() == "Trajectory of 1 sample"

    @pytest.mark.parametrize(
        "times",
        [
            np.arange(149),
            np.full(150, np.nan),
            ["a"] * 150,
            np.ones((150, 2)),
            [None] * 150,
            np.arange(-1970, -1820).astype("M8[Y]"),
            np.arange(2_932_748, 2_932_898).astype("M8[D]"),
            np.array([*range(149), "NaT"], "M8[ns]"),
            np.arange(150).astype("M8[as]"),
            pd.Series([str(year) for year in range(1, 151)], dtype=object),
            np.full(150, True, dtype=object),
            np.full(150, np.timedelta64(1, "s"), dtype=object),
            pd.Series([pd.Timestamp("2020-01-01")] * 149 + [5], dtype=object),
            np.ma.masked_array(np.arange(150), mask=np.arange(150) < 5),
            np.ma.masked_array(np.arange(150).astype("M8[D]"), mask=np.arange(150) < 5),
            np.resize([-1.7e308, 1.7e308], 150),
        ],
        ids=[
            *["short", "nan", "str", "two columns", "none", "year 0", "year 10000", "NaT"],
            "attoseconds",
            *["years as texts", "bool objects", "durations", "number among datetimes"],
            *["masked numbers", "masked datetimes", "too large"],
        ],
    )
    def test_invalid_times(self, som, times):
        with pytest.raises(ValueError, match=r"^The 'times' parameter .* of shape \(150,\)"):
            TrajectoryDisplay.from_estimator(som, TOO_LARGE, times=times)
        assert plt.get_fignums() == []

    def test_first_and_last_year_of_datetimes(self, som):
        times = (np.r_[np.arange(149), 9998] - 1969).astype("M8[Y]")
        display = TrajectoryDisplay.from_estimator(som, X, times=times)
        display.figure_.draw_without_rendering()
        assert display.times[-1] == np.datetime64("9999")

    @pytest.mark.parametrize(
        "convert",
        [
            lambda days: days.astype(object),  # dates of Python
            lambda days: np.array(list(days), dtype=object),  # datetime64 as objects
            lambda days: pd.PeriodIndex(days, freq="D"),
            pd.Series,
        ],
        ids=["date", "datetime64", "period", "series"],
    )
    def test_types_of_datetimes(self, som, convert):
        days = np.arange("2024-01-01", "2024-05-30", dtype="datetime64[D]")
        display = TrajectoryDisplay.from_estimator(som, X, times=convert(days))
        assert_array_equal(display.times, days)

    @pytest.mark.parametrize("convert", [float, int, np.float32, Decimal])
    def test_numbers_in_an_array_of_objects(self, som, convert):
        times = np.array([convert(k) for k in range(150)], dtype=object)
        display = TrajectoryDisplay.from_estimator(som, X, times=times)
        assert_array_equal(display.times, np.arange(150.0))

    def test_groups_are_any_numbers(self, som):
        display = TrajectoryDisplay.from_estimator(som, X, groups=np.repeat(np.arange(75), 2))
        assert display.group_names == [str(k) for k in range(75)]
        with pytest.raises(ValueError, match=r"one class for each sample in groups\. Got lists"):
            TrajectoryDisplay.from_estimator(som, X, groups=pd.Series([[0]] * 150))

    @pytest.mark.parametrize("missing", [np.nan, None, np.datetime64("NaT")])
    def test_missing_time(self, som, missing):
        times = np.arange("2024-01-01", "2024-05-30", dtype="M8[D]").astype(object)
        times[7] = missing
        times = times.astype("M8[D]") if isinstance(missing, np.datetime64) else times
        with pytest.raises(
            ValueError, match=r"^The 'times' .*, without a time at index 7 instead"
        ):
            TrajectoryDisplay.from_estimator(som, X, times=times)

    def test_ragged_times(self, som):
        with pytest.raises(ValueError, match=r"^times must have rows of equal lengths"):
            TrajectoryDisplay.from_estimator(som, X, times=[[1], [2, 3]] * 75)

    @pytest.mark.parametrize("form", [pd.Series, pd.Index, list], ids=["series", "index", "list"])
    @pytest.mark.filterwarnings("error")
    def test_times_of_a_zone_are_ordered_where_clocks_go_back(self, som, form):
        times = pd.date_range("2020-10-25", periods=150, freq="20min", tz="Europe/Berlin")
        display = TrajectoryDisplay.from_estimator(som, X.tolist(), times=form(times))
        assert display.times[0] == np.datetime64("2020-10-24T22:00")
        assert_array_equal(display.bmus, som.bmus(X))

    @pytest.mark.parametrize("groups", [CODES[1:], np.ones((150, 2)), 3], ids=np.shape)
    def test_wrong_shape_of_groups(self, som, groups):
        came = re.escape(f"shape {np.shape(groups)}" if np.ndim(groups) else str(groups))
        match = rf"^TrajectoryDisplay needs .* 150 samples in groups\. Got {came} instead"
        with pytest.raises(ValueError, match=match):
            TrajectoryDisplay.from_estimator(som, TOO_LARGE, groups=groups)

    def test_invalid_background(self, som):
        with pytest.raises(ValueError, match=r"^The 'background' .+ a str among \{'u_matrix'"):
            TrajectoryDisplay.from_estimator(som, X, background="hits")


def test_outliers_do_not_stretch_the_scales():
    data = X.copy()
    data[0] = 1e4
    som = TFSOM((6, 5)).fit(data)
    trajectory = TrajectoryDisplay.from_estimator(som, data)
    heights = UMatrixDisplay.from_estimator(som)
    assert trajectory.cells_.get_clim() == heights.cells_.get_clim()
    plane = ComponentPlanesDisplay.from_estimator(TFSOM().fit(data), features=[0]).cells_[0]
    assert plane.get_clim()[1] < 10 * X[:, 0].max() < 0.01 * data[:, 0].max()
    anomalies = AnomalyMapDisplay.from_estimator(som, data)
    means = anomalies.cells_.get_array()
    normal = np.ma.masked_equal(means, means.max())
    assert anomalies.cells_.get_clim()[1] <= normal.max() < 0.01 * means.max()
    assert anomalies.colorbar_.extend == "max"
    anomalies.figure_.draw_without_rendering()
    highest = anomalies.cells_.get_facecolors()[means.argmax()]
    assert_array_equal(highest, anomalies.cells_.get_cmap()(1.0))


class TestAnomalies:
    @pytest.mark.parametrize("score", ["isolation", "distance", "u_height"])
    def test_cells_show_the_mean_score_of_their_samples(self, som, score):
        som = copy.deepcopy(som).set_params(anomaly_score=score)
        display = AnomalyMapDisplay.from_estimator(som, X)
        scores, bmus = -som.score_samples(X), som.bmus(X)
        shown = display.cells_.get_array()
        for unit in range(30):
            if (bmus == unit).any():
                assert shown[unit] == pytest.approx(scores[bmus == unit].mean())
            else:
                assert shown.mask[unit]

    def test_units_without_samples_are_gray(self, som):
        display = AnomalyMapDisplay.from_estimator(som, X[:50])
        display.figure_.draw_without_rendering()
        empty = np.setdiff1d(np.arange(30), som.bmus(X[:50]))
        middles = [path.vertices[:-1].mean(axis=0) for path in display.empty_.get_paths()]
        assert_allclose(middles, som.unit_positions_[empty], atol=1e-12)
        colors = display.cells_.get_facecolors()
        assert (colors[empty, 3] == 0).all() and (
            np.delete(colors, empty, axis=0)[:, 3] == 1
        ).all()
        assert [text.get_text() for text in display.legend_.get_texts()] == ["no samples"]

    def test_no_legend_without_empty_units(self):
        som = TFSOM((1, 2), max_iter=3).fit(X)
        display = AnomalyMapDisplay.from_estimator(som, X)
        assert display.legend_ is None and not display.empty_.get_paths()

    @pytest.mark.parametrize(
        ("given", "threshold"),
        [
            ({}, 0.99),
            ({"quantile": 0.8}, 0.8),
            ({"quantile": Fraction(4, 5)}, 0.8),
            ({"threshold": 0.5}, None),
            ({"threshold": 1}, None),
        ],
    )
    def test_samples_above_the_threshold_are_marked(self, som, given, threshold):
        display = AnomalyMapDisplay.from_estimator(som, X, **given)
        scores = -som.score_samples(X)
        limit = given.get("threshold", threshold and np.quantile(scores, threshold))
        n_above = np.count_nonzero(scores > limit)
        assert display.threshold == limit
        assert len(display.marks_.get_offsets()) == n_above
        title = f"Anomalies ({n_above} of 150 samples above {limit:.3g})"
        assert display.ax_.get_title() == title

    def test_threshold_in_the_title_is_among_the_same_scores(self):
        scores = np.array([10.0, 10.01, 10.02])
        display = AnomalyMapDisplay(scores, np.arange(3), Grid(1, 3), threshold=10.0135).plot()
        assert display.ax_.get_title() == "Anomalies (1 of 3 samples above 10.014)"

    @pytest.mark.parametrize(("threshold", "text"), [(2.5, "2.5"), (1e304, "1e+304"), (0, "0")])
    def test_threshold_in_the_title_beside_outliers(self, threshold, text):
        scores = np.array([-1e-5, 0, 3, 1e10])
        display = AnomalyMapDisplay(scores, np.arange(4), Grid(1, 4), threshold=threshold).plot()
        assert display.ax_.get_title().endswith(f"samples above {text})")

    @pytest.mark.parametrize("shape", [(3, 3), (6, 5)])
    def test_marks_are_within_their_cells_and_do_not_cover_each_other(self, shape):
        som = TFSOM(shape, max_iter=3).fit(X)
        display = AnomalyMapDisplay.from_estimator(som, X, quantile=0.3)
        marked = display.scores > display.threshold
        places = np.asarray(display.marks_.get_offsets())
        to_units = np.linalg.norm(places[:, None] - som.unit_positions_, axis=2)
        assert_array_equal(to_units.argmin(axis=1), som.bmus(X)[marked])
        spacing = drawing.points_per_spacing(display.ax_)
        distances = spacing * np.linalg.norm(places[:, None] - places, axis=2)
        radii = np.sqrt(display.marks_.get_sizes()) / 2
        np.fill_diagonal(distances, np.inf)
        # No mark covers the center of another.
        assert (distances > np.maximum.outer(radii, radii)).all()

    def test_found_and_missed_anomalies_and_false_alarms(self, som):
        truth = (CODES == 2).astype(int)
        display = AnomalyMapDisplay.from_estimator(som, X, truth, quantile=0.8)
        above = display.scores > display.threshold
        faces = display.marks_.get_facecolors()[:, :3]
        is_full = (faces != 1).any(axis=1)
        assert_array_equal(is_full, truth[above] == 1)
        assert 0 < is_full.sum() < len(is_full)
        assert len(display.missed_.get_offsets()) == np.count_nonzero(truth[~above])
        shown = [text.get_text() for text in display.legend_.get_texts()]
        assert shown[:3] == ["anomaly, found", "anomaly, missed", "false alarm"]

    def test_no_missed_anomalies_without_truth(self, som):
        display = AnomalyMapDisplay.from_estimator(som, X)
        assert display.missed_ is None and (display.marks_.get_facecolors() == 1).all()

    @pytest.mark.parametrize(
        "truth", [CODES == 2, (CODES == 2) * 1.0, (CODES == 2).tolist()], ids=type
    )
    def test_types_of_truth(self, truth, som):
        display = AnomalyMapDisplay.from_estimator(som, X, truth)
        assert_array_equal(display.truth, CODES == 2)

    def test_colorbar_label(self, som):
        display = AnomalyMapDisplay.from_estimator(som, X)
        assert other_axes(display)[0].get_ylabel() == "mean anomaly score (data units)"
        display = AnomalyMapDisplay.from_estimator(som, X, colorbar=False)
        assert display.colorbar_ is None and not other_axes(display)

    @pytest.mark.parametrize(
        "y",
        [
            Y,
            CODES,
            CODES - 1,
            np.ma.masked_array(CODES == 0, mask=np.arange(150) < 40),
            pd.Series([1] * 149 + [pd.NA], dtype=object),
            pd.Series([1] * 149 + [None], dtype="Int64"),
            pd.Series([True] * 149 + [None], dtype="boolean"),
            pd.DataFrame({"y": pd.array([True] * 149 + [None], dtype="boolean")}),
            [1] * 149 + [None],
            pa.chunked_array([pa.array([1] * 149 + [None]).dictionary_encode()]),
        ],
        ids=[
            *("str", "three", "minus", "masked", "NA", "Int64", "boolean", "frame", "None"),
            "dictionary",
        ],
    )
    def test_invalid_truth(self, som, y):
        with pytest.raises(
            ValueError,
            match=r"^The 'y' .+ 1 for anomalies and 0 for normal",
        ):
            AnomalyMapDisplay.from_estimator(som, X, y)

    @pytest.mark.parametrize("shape", [(50,), (150, 2), ()], ids=str)
    def test_wrong_shape_of_truth(self, som, shape):
        match = rf"^The 'y' .* of shape \(150,\)\. Got shape {re.escape(str(shape))} instead"
        with pytest.raises(ValueError, match=match):
            AnomalyMapDisplay.from_estimator(som, TOO_LARGE, np.ones(shape))

    @pytest.mark.parametrize(
        "wrong",
        [{"threshold": np.nan}, {"threshold": "high"}, {"quantile": 1.1}, {"quantile": -0.1}],
        ids=str,
    )
    def test_invalid_thresholds(self, som, wrong):
        (name,) = wrong
        with pytest.raises(
            ValueError,
            match=rf"^The {name!r} parameter of Anomaly.+ must be a",
        ):
            AnomalyMapDisplay.from_estimator(som, X, **wrong)

    def test_invalid_anomaly_score(self, som):
        som = copy.deepcopy(som).set_params(anomaly_score="depth")
        with pytest.raises(ValueError, match=r"'anomaly_score' parameter .* Got 'depth' instead"):
            AnomalyMapDisplay.from_estimator(som, TOO_LARGE)


@pytest.mark.parametrize("n", [1, 2, 5, 6, 200])
def test_points_spread_in_a_cell(n):
    offsets = drawing.spread_in_cells(np.r_[np.full(n, 3), 1])
    assert_array_equal(offsets[-1], 0)
    assert np.linalg.norm(offsets, axis=1).max() <= drawing.SPREAD
    distances = np.linalg.norm(offsets[:n, None] - offsets[:n], axis=2)[~np.eye(n, dtype=bool)]
    assert n == 1 or distances.min() > 0.3 / np.sqrt(n)


def test_plane_of_named_features_of_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), TFSOM((4, 3))).fit(FRAME)
    names = tuple(FRAME.columns[[2, 0]])
    display = DataSpaceDisplay.from_estimator(pipeline, FRAME, features=names)
    assert display.ax_.get_xlabel().startswith(names[0])
    assert display.ax_.get_ylabel().startswith(names[1])

"""Hit map, class map and overview: areas, colors, borders, legends and layout."""

import functools
import itertools
from collections import Counter

import matplotlib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pictures import assert_borders_separate, assert_texts_fit_and_do_not_overlap, texts_in
from scipy.sparse import csr_matrix
from sklearn.datasets import load_iris

matplotlib.use("agg")

import matplotlib.pyplot as plt
from matplotlib.colors import to_rgba

from sklearn_tfsom import TFSOM, Grid, InvalidParameterError
from sklearn_tfsom.displays import (
    ClassMapDisplay,
    HitMapDisplay,
    MapOverviewDisplay,
)
from sklearn_tfsom.displays import _drawing as drawing
from sklearn_tfsom.displays._colors import class_colors, colors_on_map

MAPS = [HitMapDisplay, ClassMapDisplay]
DISPLAYS = [*MAPS, MapOverviewDisplay]
LATTICES = ["hexagonal", "rectangular"]
X, CODES = load_iris(return_X_y=True)
NAMES = load_iris().target_names
Y = NAMES[CODES]
THIRTY = np.array([f"class {k:02}" for k in range(30)])[np.arange(len(X)) % 30]
LONG = np.array(["setosa " * 12, "versicolor of the Gaspe Peninsula", "v"])[CODES]
FOURTEEN = np.array([f"class number {k % 14}" for k in range(len(X))])
CLASSES = {None: None, "short": Y, "long": LONG, "14": FOURTEEN, "30": THIRTY}
# Parameters of a map whose overview has all parts.
ALL_PARTS = {"n_clusters": 3, "compute_topographic_error": True}

IS_MISSING = np.random.RandomState(0).uniform(size=X.shape) < 0.2
IS_MISSING[:, 0] &= ~IS_MISSING.all(axis=1)


@pytest.fixture(autouse=True)
def close_figures():
    plt.close("all")
    yield
    plt.close("all")


@functools.cache
def fitted(shape=(6, 5), lattice="hexagonal", data="iris", **params):
    samples = {
        "iris": X,
        "missing": np.where(IS_MISSING, np.nan, X),
        "many": np.random.RandomState(0).normal(size=(60, 300)),
    }[data]
    return TFSOM(shape, lattice=lattice, max_iter=3, random_state=0, **params).fit(samples)


@functools.cache
def overview(shape=(6, 5), y=None, **params):
    """Draw an overview, cached: it takes longer than all other displays."""
    samples = None if y is None else X
    page = MapOverviewDisplay.from_estimator(fitted(shape, **params), samples, CLASSES[y])
    page.figure_.draw_without_rendering()
    return page


def corners_of(collection):
    """Return the distinct corners of each polygon."""
    return [path.vertices[:-1] for path in collection.get_paths()]


def area(corners):
    x, y = corners.T
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def slow_hits(som, y, weights=None):
    """Return the total weight of each class by name, for each unit."""
    hits = [Counter() for _ in som.codebook_]
    weights = np.ones(len(y)) if weights is None else weights
    for unit, label, weight in zip(som.bmus(X), y, weights, strict=True):
        hits[unit][str(label)] += weight
    return hits


def unit_at(som, points):
    """Return the unit whose cell contains the points."""
    distances = np.linalg.norm(som.unit_positions_ - np.mean(points, axis=0), axis=1)
    assert distances.min() < 0.5
    return int(distances.argmin())


def legend_texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def legend_colors(legend):
    return np.array([patch.get_facecolor() for patch in legend.get_patches()])


class TestHitMapAndClassMap:
    @pytest.mark.parametrize("kind", MAPS)
    @pytest.mark.parametrize(
        ("shape", "lattice"),
        [
            ((1, 12), "hexagonal"),
            ((12, 1), "rectangular"),
            ((2, 2), "hexagonal"),
            ((1, 1), "rectangular"),
            ((5, 6), "hexagonal"),
        ],
    )
    def test_texts_of_maps_of_unusual_shape(self, kind, shape, lattice):
        boundary = "planar" if shape == (1, 1) else "toroidal"
        display = kind.from_estimator(fitted(shape, lattice, boundary=boundary), X, Y)
        assert_texts_fit_and_do_not_overlap(display.figure_)

    @pytest.mark.parametrize("kind", MAPS)
    @pytest.mark.parametrize("lattice", LATTICES)
    def test_large_maps_are_few_collections(self, kind, lattice):
        grid = Grid(50, 50, lattice)
        hits = np.random.RandomState(0).poisson(0.3, size=(2500, 3))
        if kind is HitMapDisplay:
            display = HitMapDisplay(hits, grid, classes=["a", "b", "c"]).plot()
            expected = [display.outlines_, display.marks_]
            assert len(display.marks_.get_paths()) == np.count_nonzero(hits)
            assert len(display.outlines_.get_paths()) == 2500
        else:
            display = ClassMapDisplay(hits.argmax(axis=1), grid, classes=["a", "b", "c"]).plot()
            expected = [display.cells_, display.borders_]
            assert len(display.cells_.get_paths()) == 2500
        assert list(display.ax_.collections) == expected
        assert not (display.ax_.texts or display.ax_.patches or display.ax_.lines)

    @pytest.mark.parametrize("kind", MAPS)
    def test_borders_are_thinner_for_small_cells(self, kind):
        widths = []
        for n_rows in (5, 50):
            labels = np.arange(n_rows**2) // n_rows % 2
            grid = Grid(n_rows, n_rows)
            if kind is HitMapDisplay:
                display = HitMapDisplay(labels, grid, cluster_labels=labels).plot()
            else:
                display = ClassMapDisplay(labels, grid, classes=["a", "b"]).plot()
            widths.append(display.borders_.get_linewidth()[0])
        spacing = drawing.points_per_spacing(display.ax_)
        assert widths[0] == 2 and widths[1] < 0.2 * spacing

    @pytest.mark.parametrize("kind", MAPS)
    def test_missing_values(self, kind):
        samples = np.where(IS_MISSING, np.nan, X)
        som = fitted(data="missing")
        display = kind.from_estimator(som, samples, Y)
        if kind is HitMapDisplay:
            assert display.hits.sum() == len(X)
        else:
            assert_array_equal(display.labels >= 0, np.isin(np.arange(30), som.bmus(samples)))

    @pytest.mark.parametrize("kind", MAPS)
    def test_sparse_and_dense_samples_are_drawn_alike(self, kind):
        dense, sparse = (kind.from_estimator(fitted(), A, Y) for A in (X, csr_matrix(X)))
        collection = "cells_" if kind is ClassMapDisplay else "marks_"
        dense, sparse = getattr(dense, collection), getattr(sparse, collection)
        assert_array_equal(dense.get_facecolor(), sparse.get_facecolor())
        assert_array_equal(np.concatenate(corners_of(dense)), np.concatenate(corners_of(sparse)))

    @pytest.mark.parametrize("kind", MAPS)
    def test_row_0_is_at_the_top_and_cells_are_within_the_axes(self, kind):
        for shape, lattice in itertools.product([(6, 5), (12, 1)], LATTICES):
            display = kind.from_estimator(fitted(shape, lattice), X, Y)
            display.figure_.draw_without_rendering()
            cells = display.outlines_ if kind is HitMapDisplay else display.cells_
            shown = display.ax_.transData.transform(np.concatenate(corners_of(cells)))
            rows = shown[:, 1].reshape(*shape, -1).mean(axis=(1, 2))
            assert (np.diff(rows) < 0).all()
            frame = display.ax_.get_window_extent()
            assert (shown > frame.min).all() and (shown < frame.max).all()
            assert display.ax_.get_aspect() == 1

    @pytest.mark.parametrize(
        ("kind", "border"), [(HitMapDisplay, "white"), (ClassMapDisplay, "black")]
    )
    def test_colors_on_a_dark_background(self, kind, border):
        with plt.style.context("dark_background"):
            display = kind.from_estimator(fitted(n_clusters=3), X, Y)
        assert_array_equal(display.borders_.get_colors(), [to_rgba(border)])
        assert {text.get_color() for text in display.legend_.get_texts()} == {"white"}

    @pytest.mark.parametrize("kind", DISPLAYS)
    @pytest.mark.parametrize("y", [Y[:-1], [], "setosa", np.column_stack([Y, Y])])
    def test_wrong_shape_of_y(self, kind, y):
        match = rf"^{kind.__name__} needs .* 150 samples in y\. Got (shape \(|'setosa')"
        with pytest.raises(ValueError, match=match):
            kind.from_estimator(fitted(), X, y)
        assert plt.get_fignums() == []

    @pytest.mark.parametrize("kind", DISPLAYS)
    def test_classes_without_samples(self, kind):
        with pytest.raises(ValueError, match=rf"{kind.__name__}\.from_estimator needs X if"):
            kind.from_estimator(fitted(), y=Y)

    @pytest.mark.parametrize("kind", MAPS)
    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            (np.ones(3), "one value for each of the 150 samples"),
            (np.r_[-1, np.ones(149)], "negative values"),
            (np.zeros(150), "a positive weight"),
        ],
    )
    def test_invalid_sample_weight(self, kind, weights, message):
        with pytest.raises(ValueError, match=f"^sample_weight (must|holds).*{message}"):
            kind.from_estimator(fitted(), X, Y, sample_weight=weights)

    @pytest.mark.parametrize("kind", MAPS)
    def test_sample_weight_without_samples(self, kind):
        with pytest.raises(ValueError, match=rf"^{kind.__name__}.* needs X if sample_weight"):
            kind.from_estimator(fitted(n_clusters=3), sample_weight=np.ones(150))


@pytest.mark.parametrize("kind", MAPS)
def test_labels_of_samples_of_weight_0_are_not_checked(kind):
    """Numbers with fractions would be no classes."""
    is_left = np.arange(150) >= 60
    y = np.where(is_left, CODES, np.linspace(0, 1, 150))
    weighted = kind.from_estimator(fitted(), X, y, sample_weight=is_left)
    assert weighted.classes == kind.from_estimator(fitted(), X[60:], CODES[60:]).classes


def test_tied_classes_do_not_depend_on_the_order_of_samples():
    som, samples = fitted(), np.repeat(X[:1], 6, axis=0)
    y, weights = np.array(list("aaabbb")), np.array([0.1, 0.2, 0.3, 0.3, 0.2, 0.1])
    for order in (slice(None), slice(None, None, -1)):
        display = ClassMapDisplay.from_estimator(
            som, samples, y[order], sample_weight=weights[order]
        )
        assert display.classes[display.labels.max()] == "a"


@pytest.mark.parametrize("kind", MAPS)
def test_samples_of_weight_0_are_as_if_removed(kind):
    is_left = CODES != 1
    samples = np.where(is_left[:, None], X, 1e200)  # too far for a search
    weighted = kind.from_estimator(fitted(), samples, Y, sample_weight=is_left)
    removed = kind.from_estimator(fitted(), X[is_left], Y[is_left])
    assert weighted.classes == removed.classes == ["setosa", "virginica"]
    assert legend_texts(weighted.legend_) == legend_texts(removed.legend_)
    cells = [
        display.cells_ if kind is ClassMapDisplay else display.marks_
        for display in (weighted, removed)
    ]
    assert_array_equal(cells[0].get_facecolor(), cells[1].get_facecolor())


class TestLegends:
    @pytest.mark.parametrize("kind", MAPS)
    @pytest.mark.parametrize(
        "y", [Y, CODES, Y.tolist(), CODES > 1, THIRTY], ids=["str", "int", "list", "bool", "30"]
    )
    def test_sorted_class_names_and_colors(self, kind, y):
        display = kind.from_estimator(fitted(), X, y)
        names = [str(name) for name in np.unique(y)]
        assert display.classes == names and legend_texts(display.legend_) == names
        colors = legend_colors(display.legend_)
        assert len({tuple(color) for color in colors}) == len(names)
        expected = class_colors(len(names))
        if len(names) > 10:  # in an order that depends on the map
            colors, expected = np.unique(colors, axis=0), np.unique(expected, axis=0)
        assert_allclose(colors, expected)

    @pytest.mark.parametrize("kind", MAPS)
    @pytest.mark.parametrize(
        ("shape", "y"),
        [
            ((6, 5), "short"),
            ((6, 5), "30"),
            ((1, 12), "long"),
            ((12, 1), "long"),
            ((2, 2), "30"),
            ((3, 16), "30"),
        ],
    )
    def test_legend_is_within_the_figure_and_does_not_overlap_the_map(self, kind, shape, y):
        display = kind.from_estimator(fitted(shape), X, CLASSES[y])
        display.figure_.draw_without_rendering()
        box = display.legend_.get_window_extent()
        page, frame = display.figure_.bbox, display.ax_.get_window_extent()
        assert page.x0 <= box.x0 and box.x1 <= page.x1
        assert page.y0 <= box.y0 and box.y1 <= page.y1
        assert box.y1 <= frame.y0 + 1 if shape in [(1, 12), (3, 16)] else box.x0 >= frame.x1 - 1
        # The legend does not shrink the map.
        inches = max(frame.size) / display.figure_.dpi
        assert inches > 4.5

    @pytest.mark.parametrize("kind", MAPS)
    def test_names_are_not_parsed_as_math(self, kind):
        names = ["$5-$10", "$10^$", "_background_"]
        display = kind.from_estimator(fitted((3, 3)), X, np.take(names, CODES))
        display.figure_.draw_without_rendering()
        assert legend_texts(display.legend_) == sorted(names)
        if kind is ClassMapDisplay:
            assert {text.get_text() for text in display.texts_} == set(names)
            assert not any(text.get_parse_math() for text in display.texts_)

    @pytest.mark.parametrize("kind", MAPS)
    def test_texts_beside_equal_numbers_are_in_quotes(self, kind):
        y = np.array([1, "1", "a"], dtype=object)[CODES]
        display = kind.from_estimator(fitted(), X, y)
        assert display.classes == legend_texts(display.legend_) == ["1", "'1'", "a"]

    @pytest.mark.parametrize("kind", MAPS)
    def test_first_classes_of_many_are_shown(self, kind):
        display = kind.from_estimator(fitted(), X, [f"{k:03d}" for k in range(150)])
        shown = legend_texts(display.legend_)
        assert len(shown) == 48
        assert shown[:-1] == [f"{k:03d}" for k in range(47)] and shown[-1] == "and 103 more"
        assert legend_colors(display.legend_)[-1, 3] == 0

    def test_long_names_lack_their_middle(self):
        display = HitMapDisplay.from_estimator(fitted(), X, LONG)
        shown = legend_texts(display.legend_)
        first, second = shown[0].split("\n")
        assert LONG[0].startswith(first)
        assert second.startswith("…") and LONG[0].rstrip().endswith(second[1:])
        assert max(len(first), len(second)) <= 40
        assert shown[1:] == ["v", "versicolor of the Gaspe Peninsula"]

    def test_no_legend(self):
        labels = np.arange(6) % 2
        display = ClassMapDisplay(labels, Grid(2, 3), classes=["a", "b"]).plot(legend=False)
        assert display.legend_ is None and display.ax_.get_legend() is None


class TestHits:
    @pytest.mark.parametrize("lattice", LATTICES)
    def test_cell_areas_are_proportional_to_the_hits(self, lattice):
        som = fitted(lattice=lattice)
        display = HitMapDisplay.from_estimator(som)
        hits = np.array([sum(counts.values()) for counts in slow_hits(som, Y)])
        assert (hits == 0).any() and len(set(hits)) > 3
        assert_array_equal(display.hits, hits)
        shapes = corners_of(display.marks_)
        assert [unit_at(som, shape) for shape in shapes] == np.flatnonzero(hits).tolist()
        middles = [shape.mean(axis=0) for shape in shapes]
        assert_allclose(middles, som.unit_positions_[hits > 0], atol=1e-12)
        areas = np.array([area(shape) for shape in shapes])
        assert_allclose(areas / areas.max(), hits[hits > 0] / hits.max())
        cell = area(corners_of(display.outlines_)[0])
        assert 0.8 * cell < areas.max() < cell

    def test_each_unit_has_an_outline(self):
        som = fitted()
        outlines = corners_of(HitMapDisplay.from_estimator(som).outlines_)
        assert_allclose([cell.mean(axis=0) for cell in outlines], som.unit_positions_, atol=1e-12)

    @pytest.mark.parametrize("lattice", LATTICES)
    @pytest.mark.parametrize("is_weighted", [False, True])
    def test_slice_areas_are_proportional_to_the_class_hits(self, lattice, is_weighted):
        som = fitted(lattice=lattice)
        weights = np.random.RandomState(0).uniform(0.1, 3, size=150) if is_weighted else None
        display = HitMapDisplay.from_estimator(som, X, Y, sample_weight=weights)
        hits = slow_hits(som, Y, weights)
        assert max(len(counts) for counts in hits) > 1
        colors = {tuple(c): name for c, name in zip(class_colors(3), NAMES, strict=True)}
        shown = [Counter() for _ in hits]
        shapes, faces = corners_of(display.marks_), display.marks_.get_facecolor()
        assert len(shapes) == len(faces) == sum(len(counts) for counts in hits)
        for shape, face in zip(shapes, faces, strict=True):
            shown[unit_at(som, shape)][colors[tuple(face)]] += area(shape)
        most = max(sum(counts.values()) for counts in hits)
        largest = max(sum(counts.values()) for counts in shown)
        assert np.pi * 0.4**2 < largest < np.pi * 0.5**2
        for unit, counts in enumerate(hits):
            assert set(shown[unit]) == set(counts)
            for name, weight in counts.items():
                # Arcs are polygons.
                assert_allclose(shown[unit][name] / largest, weight / most, rtol=5e-3)

    def test_slices_are_clockwise_from_the_top(self):
        display = HitMapDisplay(np.array([[1, 2, 1]]), Grid(1, 1), classes=["a", "b", "c"]).plot()
        display.figure_.draw_without_rendering()
        middles = []
        for corners in corners_of(display.marks_):
            shown = display.ax_.transData.transform([*corners, (0, 0)])
            x, y = (shown[:-1] - shown[-1]).mean(axis=0)
            middles.append(np.degrees(np.arctan2(x, y)) % 360)
        assert_allclose(middles, [45, 180, 315], atol=1e-6)

    def test_pies_fit_into_their_cells(self):
        som = fitted(lattice="hexagonal")
        display = HitMapDisplay.from_estimator(som, X, Y)
        for shape in corners_of(display.marks_):
            unit = unit_at(som, shape)
            assert np.linalg.norm(shape - som.unit_positions_[unit], axis=1).max() < 0.5

    @pytest.mark.parametrize("y", [None, Y], ids=["cells", "pies"])
    def test_weights_are_equivalent_to_repetitions(self, y):
        weights = np.random.RandomState(0).randint(4, size=150)
        weighted = HitMapDisplay.from_estimator(fitted(), X, y, sample_weight=weights)
        repeated = HitMapDisplay.from_estimator(
            fitted(), X.repeat(weights, axis=0), None if y is None else y.repeat(weights)
        )
        assert_array_equal(weighted.hits, repeated.hits)
        shapes = corners_of(weighted.marks_), corners_of(repeated.marks_)
        assert_allclose(np.concatenate(shapes[0]), np.concatenate(shapes[1]))

    def test_one_color_and_no_legend_without_classes(self):
        display = HitMapDisplay.from_estimator(fitted(), X, color="crimson")
        assert_array_equal(display.marks_.get_facecolor(), [to_rgba("crimson")])
        assert display.legend_ is None and display.ax_.get_legend() is None

    def test_borders_between_clusters(self):
        som = fitted(n_clusters=3)
        display = HitMapDisplay.from_estimator(som)
        assert_borders_separate(display.borders_, Grid(6, 5), som.cluster_labels_)
        assert HitMapDisplay.from_estimator(fitted()).borders_ is None

    @pytest.mark.parametrize(
        ("hits", "number"),
        [
            ([3, 7], "7"),
            ([1, 1_234_567], "1,234,567"),
            ([0.25, 1 / 3], "0.333"),
            ([0, 0], "0"),
            ([1e300, 2e300], "2e+300"),
        ],
    )
    def test_title_contains_the_maximum(self, hits, number):
        display = HitMapDisplay(np.array(hits), Grid(1, 2)).plot()
        assert display.ax_.get_title() == f"Hits (at most {number} in a unit)"
        assert len(display.marks_.get_paths()) == np.count_nonzero(hits)


def luminance(color):
    values = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
    return np.dot(values, [0.2126, 0.7152, 0.0722])


class TestClassMap:
    @pytest.mark.parametrize("lattice", LATTICES)
    @pytest.mark.parametrize("y", [Y, CODES, THIRTY], ids=["str", "int", "30"])
    def test_units_have_the_color_of_their_most_frequent_class(self, lattice, y):
        som = fitted(lattice=lattice, coarse_to_fine=False)
        display = ClassMapDisplay.from_estimator(som, X, y)
        palette = colors_on_map(Grid(6, 5, lattice), display.labels, len(display.classes))
        n_pure = 0
        for unit, counts in enumerate(slow_hits(som, y)):
            face = display.cells_.get_facecolor()[unit]
            if not counts:
                assert display.labels[unit] == -1 and face[3] == 0
                continue
            most = max(counts.values())
            name = min(c for c in counts if counts[c] == most)
            share = most / sum(counts.values())
            assert display.classes[display.labels[unit]] == name
            assert_allclose(display.confidences[unit], share)
            if share == 1:
                n_pure += 1
                assert_allclose(face, palette[display.classes.index(name)])
        assert n_pure > 1

    def test_mixed_units_are_paler(self):
        confidences = np.array([1.0, 0.8, 0.6, 0.5, 0.4])
        display = ClassMapDisplay(
            np.zeros(5, dtype=int), Grid(1, 5), classes=["a", "b"], confidences=confidences
        ).plot()
        faces = display.cells_.get_facecolor()
        own = class_colors(2)[0]
        assert_allclose(faces[0], own)
        to_white = np.linalg.norm(faces - 1, axis=1)
        assert (np.diff(to_white)[:3] < 0).all()
        assert_allclose(faces[4], faces[3])  # two classes cannot be more mixed
        assert np.linalg.norm(faces[3] - own) > 0.3 and to_white[3] > 0.1
        # On the line between the class color and the background.
        along = (1 - faces[:, :3]) / (1 - own[:3])
        assert_allclose(along, np.broadcast_to(along[:, :1], along.shape))

    @pytest.mark.parametrize(
        ("colors", "background"),
        [
            (("black", "none"), "black"),
            (("white", "navy"), "navy"),
            (("none", "none"), "white"),
            (("white", (0, 0, 0, 0.6)), "0.4"),
        ],
    )
    def test_pale_colors_are_blended_with_the_background(self, colors, background):
        figure, subfigure = colors
        ax = plt.figure(facecolor=figure).subfigures(facecolor=subfigure).subplots()
        labels, confidences = np.zeros(2, dtype=int), np.array([1.0, 0.5])
        display = ClassMapDisplay(
            labels, Grid(1, 2), classes=["a", "b"], confidences=confidences
        ).plot(ax=ax)
        bright, pale = display.cells_.get_facecolor()
        assert_array_equal(bright, class_colors(2)[0])
        distances = np.linalg.norm(np.array([bright, pale]) - to_rgba(background), axis=1)
        assert distances[1] < 0.2 * distances[0]
        assert_array_equal(display.borders_.get_colors(), [to_rgba(background)])

    def test_units_without_samples_are_transparent(self):
        labels = np.array([0, -1, 1, 0, -1, -1])
        display = ClassMapDisplay(labels, Grid(2, 3), classes=["a", "b"]).plot()
        faces, edges = display.cells_.get_facecolor(), display.cells_.get_edgecolor()
        assert_array_equal(faces[:, 3] == 0, labels < 0)
        assert (edges[labels < 0, 3] > 0).all()  # the cell can be seen
        assert [text.get_text() for text in display.texts_] == ["a", "b", "a"]

    def test_no_border_beside_a_unit_without_samples(self):
        grid = Grid(1, 5)
        display = ClassMapDisplay(np.array([0, 1, -1, 0, 0]), grid, classes=["a", "b"]).plot()
        (segment,) = display.borders_.get_segments()
        assert_allclose(np.mean(segment, axis=0), [0.5, 0], atol=1e-12)

    @pytest.mark.parametrize("lattice", LATTICES)
    def test_borders_separate_classes(self, lattice):
        som = fitted(lattice=lattice)
        display = ClassMapDisplay.from_estimator(som, X, Y)
        segments = np.array(display.borders_.get_segments())
        assert len(segments) > 1
        for segment in segments:
            distances = np.linalg.norm(som.unit_positions_ - segment.mean(axis=0), axis=1)
            one, other = np.argsort(distances)[:2]
            assert_allclose(distances[[one, other]], 0.5)
            assert display.labels[one] != display.labels[other]
            assert min(display.labels[one], display.labels[other]) >= 0

    def test_class_names_in_the_cells(self):
        som = fitted((4, 3))
        display = ClassMapDisplay.from_estimator(som, X, Y)
        shown = {tuple(text.get_position()): text.get_text() for text in display.texts_}
        assert shown == {
            tuple(position): display.classes[label]
            for position, label in zip(som.unit_positions_, display.labels, strict=True)
            if label >= 0
        }
        assert ClassMapDisplay.from_estimator(som, X, Y, texts=False).texts_ == []

    def test_names_contrast_with_their_cells(self):
        labels = np.arange(10)
        display = ClassMapDisplay(labels, Grid(2, 5), classes=list("abcdefghij")).plot()
        assert len(display.texts_) == 10
        for text, face in zip(display.texts_, display.cells_.get_facecolor(), strict=True):
            # The contrast ratio of WCAG 2.1.
            dark, light = sorted(map(luminance, (to_rgba(text.get_color())[:3], face[:3])))
            assert (light + 0.05) / (dark + 0.05) >= 4.5

    @pytest.mark.parametrize("names", [["a", "b", "c"], ["WWWWWW", "i", "l"], NAMES])
    def test_names_fit_into_their_cells(self, names):
        display = ClassMapDisplay.from_estimator(fitted(), X, np.take(names, CODES))
        display.figure_.draw_without_rendering()
        assert display.texts_
        for text in display.texts_:
            box = text.get_window_extent().transformed(display.ax_.transData.inverted())
            assert box.width < 1 and abs(box.height) < 1

    def test_clusters_are_shown_without_samples(self):
        som = fitted(n_clusters=3)
        display = ClassMapDisplay.from_estimator(som)
        assert display.classes == ["0", "1", "2"] and display.ax_.get_title() == "Clusters"
        assert_array_equal(display.labels, som.cluster_labels_)
        assert_allclose(display.cells_.get_facecolor(), class_colors(3)[som.cluster_labels_])
        assert [int(text.get_text()) for text in display.texts_] == som.cluster_labels_.tolist()

    def test_weights_are_equivalent_to_repetitions(self):
        weights = np.random.RandomState(0).randint(4, size=150)
        weighted = ClassMapDisplay.from_estimator(fitted(), X, Y, sample_weight=weights)
        repeated = ClassMapDisplay.from_estimator(
            fitted(), X.repeat(weights, axis=0), Y.repeat(weights)
        )
        assert_array_equal(weighted.labels, repeated.labels)
        assert_allclose(weighted.confidences, repeated.confidences)
        unweighted = ClassMapDisplay.from_estimator(fitted(), X, Y)
        assert (unweighted.confidences != weighted.confidences).any()

    def test_first_class_is_shown_for_ties(self):
        som = TFSOM(1).fit([[0.0], [1.0]])
        display = ClassMapDisplay.from_estimator(som, [[0.0], [1.0], [2.0]], ["b", "a", "c"])
        assert display.classes[display.labels[0]] == "a"
        assert_allclose(display.confidences, [1 / 3])

    def test_title_explains_pale_colors(self):
        pure = ClassMapDisplay.from_estimator(fitted(), X, np.full(150, "iris"))
        mixed = ClassMapDisplay.from_estimator(fitted(), X, Y)
        assert pure.ax_.get_title() == "Classes"
        assert mixed.ax_.get_title() == "Classes (pale: mixed)"

    @pytest.mark.parametrize("given", [{"X": X}, {"y": Y}], ids=["X", "y"])
    def test_samples_and_classes_must_be_given_together(self, given):
        with pytest.raises(ValueError, match=r"^ClassMapDisplay\.from_estimator needs [Xy] if"):
            ClassMapDisplay.from_estimator(fitted(n_clusters=3), **given)

    def test_neither_samples_nor_clusters(self):
        with pytest.raises(ValueError, match=r"has none\. Pass X and y, or set n_clusters"):
            ClassMapDisplay.from_estimator(fitted())


class TestOverview:
    def test_titles_of_all_parts_in_order(self):
        page = overview(y="short", **ALL_PARTS)
        titles = [ax.get_title() or ax.get_title(loc="left") for ax in page.axes_]
        assert [title.partition(" (")[0] for title in titles] == [
            "U-matrix",
            "Hits",
            "Classes",
            "quantization error",
            "topographic error",
            "radius",
            "feature 0",
            "feature 1",
            "feature 2",
            "feature 3",
        ]
        assert all(ax.figure.figure is page.figure_ for ax in page.axes_)
        parts = [page.u_matrix, page.hits, page.classes]
        assert [part.ax_ for part in parts] == list(page.axes_[:3])

    def test_parts_equal_separate_displays(self):
        som, page = fitted(**ALL_PARTS), overview(y="short", **ALL_PARTS)
        assert_array_equal(page.hits.hits, HitMapDisplay.from_estimator(som, X, Y).hits)
        alone = ClassMapDisplay.from_estimator(som, X, Y)
        assert_array_equal(page.classes.labels, alone.labels)
        assert_array_equal(page.planes.planes, som.codebook_)
        np.testing.assert_equal(page.training.history, som.history_)

    def test_hits_and_classes_share_a_legend(self):
        page = overview(y="short", **ALL_PARTS)
        legends = [ax.get_legend() for ax in page.axes_ if ax.get_legend()]
        assert legends == [page.hits.legend_]
        assert legend_texts(legends[0]) == [*sorted(NAMES), "border of clusters"]

    def test_clusters_are_shown_without_classes(self):
        page = overview(n_clusters=3)
        assert page.axes_[2].get_title() == "Clusters"
        assert page.hits.legend_ is None
        assert legend_texts(page.classes.legend_) == ["0", "1", "2"]
        assert_texts_fit_and_do_not_overlap(page.figure_)

    def test_neither_classes_nor_clusters(self):
        page = overview()
        assert page.classes is None
        assert page.axes_[2].get_title(loc="left").startswith("quantization error")
        assert_array_equal(page.hits.hits, fitted().hits_)
        assert_texts_fit_and_do_not_overlap(page.figure_)

    def test_many_long_names_below_wide_maps(self):
        names = np.array([f"class {k:02} with a name of many letters" for k in range(23)])
        y = names[np.arange(150) % 23]
        page = MapOverviewDisplay.from_estimator(fitted((2, 40)), X, y)
        assert legend_texts(page.hits.legend_) == names.tolist()
        assert_texts_fit_and_do_not_overlap(page.figure_)
        below = page.hits.legend_.get_window_extent()
        assert below.y0 > page.classes.ax_.get_tightbbox().y1

    def test_missing_values_and_sparse_samples(self):
        samples = np.where(IS_MISSING, np.nan, X)
        page = MapOverviewDisplay.from_estimator(fitted(data="missing"), samples, Y, n_planes=1)
        assert page.hits.hits.sum() == 150
        page = MapOverviewDisplay.from_estimator(fitted(), csr_matrix(X), Y, n_planes=1)
        assert_array_equal(page.hits.hits, HitMapDisplay.from_estimator(fitted(), X, Y).hits)

    @pytest.mark.parametrize("y", [None, Y], ids=["clusters", "classes"])
    def test_weights_are_equivalent_to_repetitions(self, y):
        weights = np.random.RandomState(0).randint(4, size=150)
        som = fitted(n_clusters=3)
        weighted = MapOverviewDisplay.from_estimator(som, X, y, sample_weight=weights, n_planes=1)
        repeated = MapOverviewDisplay.from_estimator(
            som, X.repeat(weights, axis=0), None if y is None else y.repeat(weights), n_planes=1
        )
        assert_array_equal(weighted.hits.hits, repeated.hits.hits)
        assert_array_equal(weighted.classes.labels, repeated.classes.labels)
        with pytest.raises(ValueError, match=r"^MapOverviewDisplay.* needs X if sample_weight"):
            MapOverviewDisplay.from_estimator(som, sample_weight=weights)

    @pytest.mark.parametrize("n_planes", [1, 7])
    def test_features_with_the_largest_variances_are_shown(self, n_planes):
        som = fitted(data="many")
        page = MapOverviewDisplay.from_estimator(som, n_planes=n_planes)
        assert_texts_fit_and_do_not_overlap(page.figure_)
        chosen = np.sort(np.argsort(-som.codebook_.var(axis=0))[:n_planes])
        titles = [ax.get_title() for ax in page.axes_[-n_planes:]]
        assert titles == [f"feature {k}" for k in chosen]
        shown = [text.get_text() for text in texts_in(page.figure_)]
        assert f"Component planes: the {n_planes} of 300 features that vary most" in shown
        assert_array_equal(page.planes.planes, som.codebook_[:, chosen])

    @pytest.mark.parametrize(
        ("shape", "y"),
        [
            ((6, 5), "short"),
            ((6, 5), "30"),
            ((3, 12), "30"),
            ((1, 40), "long"),
            ((14, 3), "long"),
            ((1, 1), "short"),
        ],
    )
    def test_texts_and_axes_do_not_overlap(self, shape, y):
        n_clusters = min(3, shape[0] * shape[1])
        page = overview(shape, y, **ALL_PARTS | {"n_clusters": n_clusters})
        assert_texts_fit_and_do_not_overlap(page.figure_)
        boxes = [ax.get_window_extent() for ax in page.figure_.axes]
        for one, other in itertools.combinations(boxes, 2):
            assert not one.padded(-1).overlaps(other.padded(-1))

    @pytest.mark.parametrize(
        ("shape", "y"),
        [((6, 5), "short"), ((3, 12), "30"), ((14, 3), "long")],
    )
    def test_maps_are_large_and_of_equal_size(self, shape, y):
        page = overview(shape, y, **ALL_PARTS)
        boxes = [ax.get_window_extent() for ax in page.axes_[:3]]
        longer = [max(box.size) / page.figure_.dpi for box in boxes]
        assert min(longer) > 2.4 and max(longer) < 1.2 * min(longer)

    @pytest.mark.parametrize("shape", [(6, 7), (5, 8)])
    def test_legend_taller_than_the_maps(self, shape):
        few, many = overview(shape, "short"), overview(shape, "14")
        for page in (few, many):
            assert_texts_fit_and_do_not_overlap(page.figure_)
        heights = [page.axes_[0].get_window_extent().height for page in (few, many)]
        assert heights[1] >= heights[0]

    def test_names_fit_into_their_cells(self):
        page = overview((2, 2), "short", lattice="rectangular", boundary="toroidal")
        assert page.classes.texts_
        for text in page.classes.texts_:
            to_data = page.axes_[2].transData.inverted()
            assert text.get_window_extent().transformed(to_data).width < 1

    def test_all_maps_have_the_same_colormap(self):
        page = MapOverviewDisplay.from_estimator(fitted(), n_planes=2, cmap="gray")
        maps = [page.u_matrix.cells_, *page.planes.cells_]
        assert {cells.get_cmap().name for cells in maps} == {"gray"}

    def test_continuous_y(self):
        with pytest.raises(ValueError, match=r"^MapOverviewDisplay needs classes"):
            MapOverviewDisplay.from_estimator(fitted(), X, X[:, 0] + X[:, 1] ** 0.5)

    @pytest.mark.parametrize("n_planes", [0, -1, 2.5, "all", None])
    def test_invalid_n_planes(self, n_planes):
        with pytest.raises(
            InvalidParameterError,
            match=r"'n_planes' parameter of Map\w+\.from_estimator must",
        ):
            MapOverviewDisplay.from_estimator(fitted(), n_planes=n_planes)
        assert plt.get_fignums() == []

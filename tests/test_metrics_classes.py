"""Measures of classes equal slow loops, and scikit-learn's where it has them."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from test_metrics import BOUNDARIES, LATTICES, are_neighbors, random_map, samples

from sklearn_tfsom.metrics import (
    class_entropy,
    class_scatter_index,
    normalized_mutual_information,
    purity,
)

MEASURES = [purity, class_entropy, class_scatter_index, normalized_mutual_information]


def classes(n_samples=60, n_classes=3, seed=4):
    return np.random.RandomState(seed).randint(n_classes, size=n_samples)


def slow_class_scatter_index(bmus, y, related):
    n_regions = 0
    for label in set(y):
        left = {bmu for bmu, other in zip(bmus, y, strict=True) if other == label}
        while left:
            n_regions += 1
            region = [left.pop()]
            while region:
                unit = region.pop()
                joined = {other for other in left if related[unit, other]}
                left -= joined
                region += joined
    return n_regions / len(set(y))


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(5, 4), (3, 3), (1, 6), (8, 7), (1, 1)])
def test_class_scatter_index_equals_slow_loops(lattice, boundary, shape):
    som, X, y = random_map(lattice, boundary, shape), samples(n_samples=25), classes(25)
    for n_neighbors in [None] if lattice == "hexagonal" else [4, 8]:
        related = are_neighbors(lattice, boundary, shape, n_neighbors)
        slow = slow_class_scatter_index(som.bmus(X).tolist(), y.tolist(), related)
        assert class_scatter_index(som, X, y, n_neighbors=n_neighbors) == pytest.approx(slow)


@pytest.mark.parametrize("n_classes", [1, 2, 5])
@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (5, 4)])
class TestEqualToSlowLoops:
    def test_purity(self, shape, n_classes):
        som, X, y = random_map("hexagonal", "planar", shape), samples(), classes(60, n_classes)
        bmus = som.bmus(X)
        slow = sum(Counter(y[bmus == unit]).most_common(1)[0][1] for unit in set(bmus)) / 60
        assert purity(som, X, y) == pytest.approx(slow, rel=1e-12)

    def test_class_entropy(self, shape, n_classes):
        som, X, y = random_map("hexagonal", "planar", shape), samples(), classes(60, n_classes)
        bmus = som.bmus(X)
        slow = 0.0
        for unit, label in itertools.product(set(bmus), set(y)):
            both, n_unit = np.sum((bmus == unit) & (y == label)), np.sum(bmus == unit)
            slow -= both / 60 * math.log(both / n_unit) if both else 0
        assert class_entropy(som, X, y) == pytest.approx(slow, rel=1e-12, abs=1e-14)

    def test_normalized_mutual_information(self, shape, n_classes):
        som, X, y = random_map("hexagonal", "planar", shape), samples(), classes(60, n_classes)
        expected = normalized_mutual_info_score(y, som.bmus(X))
        value = normalized_mutual_information(som, X, y)
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-14)


class TestRange:
    def test_classes_that_are_units(self):
        som = random_map("hexagonal", "planar", (4, 3))
        X, y = som.codebook_, np.arange(12)
        assert purity(som, X, y) == pytest.approx(1)
        assert class_entropy(som, X, y) == 0
        assert class_scatter_index(som, X, y) == 1
        assert normalized_mutual_information(som, X, y) == pytest.approx(1)

    def test_classes_that_are_all_over_each_unit(self):
        som = random_map("hexagonal", "planar", (4, 3))
        X, y = np.repeat(som.codebook_, 4, axis=0), np.tile(np.arange(4), 12)
        assert purity(som, X, y) == pytest.approx(1 / 4)
        assert class_entropy(som, X, y) == pytest.approx(math.log(4))
        assert class_scatter_index(som, X, y) == 1
        assert normalized_mutual_information(som, X, y) == pytest.approx(0, abs=1e-14)

    def test_a_class_in_two_corners(self):
        som = random_map("rectangular", "planar", (3, 3))
        assert class_scatter_index(som, som.codebook_[[0, 8, 4]], [1, 1, 0]) == 1.5
        assert class_scatter_index(som, som.codebook_[[0, 8, 4]], [1, 1, 1]) == 3
        assert class_scatter_index(som, som.codebook_[[0, 8, 4]], [1, 1, 1], n_neighbors=8) == 1


@pytest.mark.parametrize("measure", MEASURES)
class TestClasses:
    @pytest.mark.parametrize(
        "kind",
        [str, object, float, np.int8, bool, list],
    )
    def test_of_any_kind(self, measure, kind):
        som, X, y = random_map("hexagonal", "planar", (4, 3)), samples(), classes(60, 2)
        other = y.tolist() if kind is list else y.astype(str).astype(kind) if kind in (
            str, object) else y.astype(kind)  # fmt: skip
        assert measure(som, X, other) == measure(som, X, y)

    def test_their_names_and_order_do_not_matter(self, measure):
        som, X, y = random_map("hexagonal", "planar", (4, 3)), samples(), classes()
        renamed = np.array([7, -2, 40])[y]
        assert measure(som, X, renamed) == pytest.approx(measure(som, X, y), rel=1e-12)

    def test_a_class_of_no_weight_is_none(self, measure):
        som, X, y = random_map("hexagonal", "planar", (4, 3)), samples(), classes()
        weights = (y != 1).astype(float)
        expected = measure(som, X[y != 1], y[y != 1])
        assert measure(som, X, y, sample_weight=weights) == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize(
        ("y", "match"),
        [
            (np.zeros(59, dtype=int), "inconsistent numbers of samples"),
            (np.zeros((60, 2), dtype=int), "y should be a 1d array"),
            (np.linspace(0, 1, 60), "Unknown label type: continuous"),
            (np.r_[np.zeros(59), np.nan], "Input y contains NaN"),
        ],
        ids=["short", "2-d", "continuous", "nan"],
    )
    def test_bad_ones_are_refused(self, measure, y, match):
        with pytest.raises(ValueError, match=match):
            measure(random_map("hexagonal", "planar", (4, 3)), samples(), y)


def test_weights_enter_the_table():
    som, X, y = random_map("hexagonal", "planar", (4, 3)), samples(), classes()
    weights = np.random.RandomState(2).uniform(0.1, 3, size=60)
    table = np.zeros((12, 3))
    np.add.at(table, (som.bmus(X), y), weights)
    assert (table > 0).sum() == (contingency_matrix(som.bmus(X), y) > 0).sum()
    slow = table.max(axis=1).sum() / weights.sum()
    assert purity(som, X, y, sample_weight=weights) == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize("n_neighbors", [4, 8, True, "6"])
def test_class_scatter_index_refuses_neighbors_that_the_lattice_has_not(n_neighbors):
    som = random_map("hexagonal", "planar", (4, 3))
    with pytest.raises(ValueError, match=r"^n_neighbors must be 6 on a hexagonal lattice\. Got"):
        class_scatter_index(som, samples(), classes(), n_neighbors=n_neighbors)

"""Measures of known classes: special cases, and kinds of classes."""

import math
import tracemalloc
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from reference_measures import CLASSES, MEASURES, arguments_of, compute, random_map, samples
from scipy.sparse import csr_array

from sklearn_tfsom import TFSOM, metrics
from sklearn_tfsom.metrics import (
    class_counts,
    class_entropy,
    class_scatter_index,
    normalized_mutual_information,
    purity,
)

OF_CLASSES = [name for name in MEASURES if "y" in arguments_of(getattr(metrics, name))]


def test_one_unit_per_class():
    som = random_map()
    X, y = som.codebook_, np.arange(12)
    assert purity(som, X, y) == pytest.approx(1)
    assert class_entropy(som, X, y) == 0
    assert class_scatter_index(som, X, y) == 1
    assert normalized_mutual_information(som, X, y) == pytest.approx(1)


def test_all_classes_in_every_unit():
    som = random_map()
    X, y = np.repeat(som.codebook_, 4, axis=0), np.tile(np.arange(4), 12)
    assert purity(som, X, y) == pytest.approx(1 / 4)
    assert class_entropy(som, X, y) == pytest.approx(math.log(4))
    assert class_scatter_index(som, X, y) == 1
    assert normalized_mutual_information(som, X, y) == pytest.approx(0, abs=1e-14)


def test_one_class():
    som, y = random_map(), np.zeros(60, dtype=int)
    assert purity(som, samples(), y) == pytest.approx(1)
    assert class_entropy(som, samples(), y) == 0
    assert normalized_mutual_information(som, samples(), y) == 0
    assert normalized_mutual_information(random_map(shape=(1, 1)), samples(), y) == 1


def test_class_in_two_corners():
    som = random_map("rectangular", shape=(3, 3))
    X = som.codebook_[[0, 8, 4]]
    assert class_scatter_index(som, X, [1, 1, 0]) == 1.5
    assert class_scatter_index(som, X, [1, 1, 1]) == 3
    assert class_scatter_index(som, X, [1, 1, 1], n_neighbors=8) == 1


class TestClassCounts:
    def test_weights_of_the_samples_of_each_unit(self):
        som, X = random_map(), samples()
        weights = np.random.RandomState(0).randint(0, 4, size=60)
        expected = np.zeros((12, 3))
        for unit, label, weight in zip(som.bmus(X), CLASSES, weights, strict=True):
            expected[unit, label] += weight
        labels, counts = class_counts(som, X, CLASSES, sample_weight=weights)
        assert_array_equal(labels, [0, 1, 2])
        assert_array_equal(counts, expected)

    @pytest.mark.parametrize(
        ("y", "weights", "message"),
        [
            (np.linspace(0, 1, 60), None, "different numbers with fractions"),
            (CLASSES[1:], None, "59"),
            (CLASSES, np.ones(59), "sample_weight must have one value for each of the 60"),
            (CLASSES, -np.ones(60), "negative"),
        ],
        ids=["continuous", "length of y", "length of weights", "negative"],
    )
    def test_errors(self, y, weights, message):
        with pytest.raises(ValueError, match=message):
            class_counts(random_map(), samples(), y, sample_weight=weights)

    def test_classes_of_weight_zero_are_left_out(self):
        y = np.array([5, 2, 9])[CLASSES].astype(object)
        y[CLASSES == 1] = None
        labels, counts = class_counts(random_map(), samples(), y, sample_weight=CLASSES != 1)
        assert_array_equal(labels, [5, 9])
        assert counts.sum() == np.count_nonzero(CLASSES != 1)

    @pytest.mark.parametrize(
        ("y", "expected"),
        [
            ([np.True_, 1, 0, "x"], [0, 1, "True", "x"]),
            ([True, 1, 0, "x"], [0, 1, "True", "x"]),
            (["missing", "z", None, np.nan], ["z", "missing"]),
            ([Decimal(10), "a", 9.5, Decimal(9)], [9, 9.5, 10, "a"]),
            ([np.int64(1), Decimal("2.5"), Decimal("0.5"), "a"], [Decimal("0.5"), 1, 2.5, "a"]),
            (np.array([(2, 1), (1, 1)] * 2, dtype="i8, i8"), [(1, 1), (2, 1)]),
            (
                np.array([3600000000000, 1, 1, 2], dtype="m8[ns]"),
                ["1 nanoseconds", "2 nanoseconds", "3600000000000 nanoseconds"],
            ),
        ],
        ids=[
            "bools of numpy",
            "bools",
            "text missing",
            "decimals",
            "decimals and integers",
            "records",
            "durations",
        ],
    )
    def test_kinds_of_labels(self, y, expected):
        labels, counts = class_counts(random_map(), samples()[:4], y)
        assert labels.tolist() == expected
        assert counts.sum() == 4


@pytest.mark.parametrize("name", [*OF_CLASSES, "class_counts"])
@pytest.mark.parametrize("n_samples", [3, 30, 150])
class TestNumbers:
    """Whether numbers are classes does not depend on how many samples there are."""

    def test_whole_numbers_are_classes(self, name, n_samples):
        som, X, y = random_map(), samples(n_samples=n_samples), np.arange(n_samples) * 7.0
        found, expected = (compute(name, som, X, classes) for classes in (y, y.astype(str)))
        assert found.sum() == pytest.approx(expected.sum(), rel=1e-12)

    def test_fractions_are_not(self, name, n_samples):
        X, y = samples(n_samples=n_samples), np.arange(n_samples) % 2 + 0.5
        with pytest.raises(ValueError, match=f"{name} .* Got 2 different numbers with fractions"):
            compute(name, random_map(), X, y)


@pytest.mark.parametrize("name", OF_CLASSES)
class TestClasses:
    @pytest.mark.parametrize(
        "convert",
        [
            lambda y: y.astype(str),
            lambda y: y.astype(str).astype(object),
            lambda y: y.astype(float),
            lambda y: y.astype(np.int8),
            lambda y: y.tolist(),
            lambda y: y == 1,
        ],
        ids=["str", "object", "float", "int8", "list", "bool"],
    )
    def test_kinds_of_classes(self, name, convert):
        y = (CLASSES > 0).astype(int)
        measure, som, X = getattr(metrics, name), random_map(), samples()
        assert measure(som, X, convert(y)) == measure(som, X, y)

    def test_names_and_order_of_classes(self, name):
        renamed = compute(name, random_map(), samples(), np.array([7, -2, 40])[CLASSES])
        assert renamed == pytest.approx(compute(name, random_map(), samples()), rel=1e-12)

    def test_class_of_weight_zero_is_ignored(self, name):
        (rows,) = np.nonzero(CLASSES != 1)
        expected = compute(name, random_map(), samples(), rows=rows)
        value = compute(name, random_map(), samples(), sample_weight=(CLASSES != 1) * 1.0)
        assert value == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("wrong", [np.nan, None, np.inf, 0.5, ["list"]])
    def test_class_of_a_sample_of_weight_zero_is_not_checked(self, name, wrong):
        y = CLASSES.astype(object)
        for row in range(10):
            y[row] = wrong
        expected = compute(name, random_map(), samples(), rows=slice(10, None))
        found = compute(name, random_map(), samples(), y, sample_weight=np.arange(60) >= 10)
        assert found == expected

    @pytest.mark.parametrize(
        ("y", "match"),
        [
            (np.zeros(59, dtype=int), r"{} needs .* 60 samples in y. Got shape \(59,\)"),
            (np.zeros((60, 2), dtype=int), r"{} needs .* 60 samples in y. Got shape \(60, 2\)"),
            (csr_array(np.ones((60, 1))), r"60 samples in y. Got a csr_array of shape \(60, 1\)"),
            (1j * np.ones(60), "{} needs classes in y. Got values of dtype complex128"),
            (np.linspace(0, 1, 60), "needs classes in y. Got 60 different numbers with fractions"),
            (
                [Decimal(k) / 7 for k in range(60)],
                "needs classes in y. Got 60 different numbers with fractions",
            ),
            (np.r_[np.zeros(59), np.nan], "{} needs a class for each sample in y. Got 1 missing"),
            (np.r_[np.zeros(59), np.inf], "{} needs classes in y. Got infinity"),
            ([0.0] * 59 + [np.inf], "{} needs classes in y. Got infinity"),
            (["a", np.nan, "b"] * 20, "{} needs a class for each sample in y. Got 20 missing"),
            ([None] + [1] * 59, "{} needs a class for each sample in y. Got 1 missing"),
            (pd.array(["a", pd.NA] * 30), "{} needs a class for each sample in y. Got 30 missing"),
        ],
        ids=[
            "short",
            "2-d",
            "sparse",
            "complex",
            "continuous",
            "decimals",
            "nan",
            "infinity",
            "list with infinity",
            "list with nan",
            "none",
            "na",
        ],
    )
    def test_invalid_classes(self, name, y, match):
        with pytest.raises(ValueError, match=match.format(name)):
            compute(name, random_map(), samples(), y)


@pytest.mark.parametrize("measure", [purity, class_entropy, normalized_mutual_information])
def test_memory_of_many_classes(measure):
    X = np.random.RandomState(0).normal(size=(3000, 2))
    som = TFSOM((40, 40), max_iter=2).fit(X)
    y = [f"class {k}" for k in range(3000)]
    tracemalloc.start()
    measure(som, X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6  # a number for each unit and class takes 38 MB


def test_regions_of_many_classes():
    X = np.random.RandomState(0).normal(size=(300, 2))
    assert class_scatter_index(TFSOM((6, 5)).fit(X), X, [f"{k}" for k in range(300)]) == 1


def test_results_are_within_their_ranges():
    """Also in rounding, with any weights."""
    rng = np.random.RandomState(0)
    som = random_map()
    for n_classes in (1, 2, 3, 5, 7):
        for weights in (np.ones(12 * n_classes), rng.uniform(size=12 * n_classes)):
            X, y = som.codebook_[np.arange(12 * n_classes) % 12], np.arange(12 * n_classes) % 12
            assert class_entropy(som, X, y, sample_weight=weights) == 0
        y = np.repeat(np.arange(n_classes), 12)
        for weight in (1, 0.1, 1 / 3):
            assert purity(som, X, y, sample_weight=weight) >= 1 / n_classes
            assert class_entropy(som, X, y, sample_weight=weight) <= math.log(n_classes)
    assert class_entropy(som, X[:2], [0, 1], sample_weight=[1e-200, 1e200]) == 0


def test_purity_of_a_pure_map_is_one():
    """Ten times 0.1 is less than 1, and nine times 1/9 more."""
    one, six = TFSOM(1).fit([[0.0], [1.0]]), TFSOM((1, 6)).fit(np.arange(6.0)[:, None])
    for n in range(1, 30):
        X, classes = np.arange(float(n))[:, None], np.zeros(n)
        for som in (one, six):
            assert purity(som, X, classes) == 1
            assert purity(som, X, classes, sample_weight=np.full(n, 1 / n)) == 1

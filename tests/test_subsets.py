"""Subsets that stand for all samples: chosen by what these are, and by nothing else."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn_tfsom._data.workers import ALONE

from sklearn_tfsom import TFSOM
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.subsampling import Subsets
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.schedules import grid_schedule, subset_schedule
from sklearn_tfsom._plan import make_plan
from sklearn_tfsom.metrics import topographic_error

RNG = np.random.RandomState(0)
MANY = RNG.normal(size=(40_000, 3))
SIZE = 4000


def subsets_of(X, sample_weight=None):
    sample_weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
    return Subsets(Samples(X), sample_weight, ALONE)


def subset(X, sample_weight=None, size=SIZE):
    """Choose some; return them in an order of their own, and their weights."""
    samples, weights = subsets_of(X, sample_weight).of(size)
    values = samples[:] if isinstance(X, np.ndarray) else samples[:].toarray()
    order = np.lexsort(values.T)
    return values[order], weights[order]


def test_a_subset_is_like_all():
    chosen, weights = subset(MANY)
    assert len(chosen) == SIZE
    assert len(np.unique(chosen, axis=0)) == len(chosen)
    assert_allclose(np.average(chosen, axis=0, weights=weights), 0, atol=0.05)
    assert_allclose(np.cov(chosen.T, aweights=weights), np.eye(3), atol=0.07)
    assert weights.sum() == pytest.approx(len(MANY), rel=0.05)


@pytest.mark.parametrize("size", [None, 40_000, 50_000])
def test_none_and_too_many_are_all(size):
    subsets = subsets_of(MANY)
    samples, weights = subsets.of(size)
    assert samples is subsets.samples
    assert_array_equal(weights, 1)


def test_most_of_them_are_not_worth_it():
    subsets = subsets_of(np.r_[MANY, MANY])
    worth = [subsets.if_worthwhile(size) for size in (None, 1000, 19_000, 21_000, 50_000)]
    assert worth == [None, 1000, 19_000, None, None]


def test_a_smaller_one_is_part_of_a_larger_one():
    small, large = ({tuple(row) for row in subset(MANY, size=n)[0]} for n in (1000, 3000))
    assert small < large


def test_order_changes_nothing():
    for one, other in zip(subset(MANY), subset(MANY[RNG.permutation(len(MANY))]), strict=True):
        assert_allclose(one, other, rtol=1e-14)


@pytest.mark.parametrize("size", [SIZE, 30_000])
def test_weights_are_repetitions(size):
    times = 1 + np.arange(len(MANY)) % 3 + 2000 * (np.arange(len(MANY)) == 7)
    order = RNG.permutation(np.repeat(np.arange(len(MANY)), times))
    weighted = subset(MANY, times.astype(float), size)
    for one, other in zip(weighted, subset(MANY[order], size=size), strict=True):
        assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("size", [19_999, 20_000, 20_001, 40_000])
def test_whether_it_is_worth_it_does_not_depend_on_repetition(size):
    weighted = subsets_of(MANY, np.full(len(MANY), 2.0))
    assert weighted.if_worthwhile(size) == subsets_of(np.r_[MANY, MANY]).if_worthwhile(size)


@pytest.mark.parametrize("change", [(1, 1e6), (1e-46, 0), (1e200, 0), (1, 0)], ids=str)
def test_data_may_lie_anywhere(change):
    scale, offset = change
    values, _ = subset(scale * MANY + offset)
    assert len(values) == SIZE


def test_whole_numbers_are_told_apart():
    X = RNG.randint(0, 17, size=(40_000, 64)).astype(np.float64)
    X[:, ::2] = 0
    assert len(subset(X)[0]) == SIZE
    numbers = subsets_of(X)._drawn[0]
    assert len(np.unique(numbers)) == len(np.unique(X, axis=0)) == len(X)


def test_precision_and_sign_of_zero_change_nothing():
    X = np.round(8 * MANY) / 8
    X[::2] *= -1
    chosen = subset(X + 0.0)[0]
    assert_array_equal(subset(X.astype(np.float32))[0], chosen)
    assert_array_equal(subset(np.where(X == 0, -0.0, X))[0], chosen)


@pytest.mark.parametrize("heavy", ["repeated", "weighted"])
def test_what_weighs_much_is_neither_missed_nor_outweighs_the_rest(heavy):
    """The background of a picture, whatever it is: half of all that there is."""
    for background in RNG.normal(size=(10, 3)):
        if heavy == "repeated":
            X, weights = np.r_[MANY, np.tile(background, (len(MANY), 1))], None
        else:
            X, weights = np.r_[MANY, [background]], np.r_[np.ones(len(MANY)), len(MANY)]
        values, found = subset(X, weights)
        assert len(values) <= SIZE + 1
        share = found[(values == background).all(axis=1)].sum() / found.sum()
        assert share == pytest.approx(0.5, abs=0.03)


def test_weights_of_all_sizes_are_estimated():
    weights = np.exp(2 * RNG.normal(size=len(MANY)))
    values, found = subset(MANY, weights)
    expected = np.average(MANY[:, 0] > 1, weights=weights)
    assert np.average(values[:, 0] > 1, weights=found) == pytest.approx(expected, abs=0.03)
    assert found.sum() == pytest.approx(weights.sum(), rel=0.05)


def test_sparse_ones_are_the_same():
    X = np.maximum(MANY, 0)
    for one, other in zip(subset(X), subset(csr_array(X)), strict=True):
        assert_array_equal(one, other)


def test_where_there_are_few_values_it_is_all():
    samples, weights = subsets_of(np.round(MANY[:, :1])).of(SIZE)
    assert len(samples) == len(MANY)
    assert_array_equal(weights, 1)


def test_sparse_ones_are_told_apart_by_all_their_features():
    X = csr_array((MANY[:, 0], (np.arange(len(MANY)), RNG.randint(0, 20_000, len(MANY)))))
    assert subsets_of(X).of(SIZE)[0].shape[0] == SIZE


def test_missing_values():
    X = MANY.copy()
    X[::3, 1] = np.nan
    values, _ = subset(X)
    assert len(values) == SIZE
    assert np.isnan(values[:, 1]).mean() == pytest.approx(1 / 3, abs=0.03)


class TestSchedule:
    def test_from_the_last_radius_on_it_is_all(self):
        grid, radii = Grid(20, 20), np.array([4.0, 3.0, 2.0, 1.1, 0.9, 0.9])
        grids = grid_schedule(grid, radii)
        sizes = subset_schedule(grids, radii)
        assert sizes == [*[16_000] * 3, 48 * 400, None, None]

    def test_a_narrow_neighborhood_needs_all(self):
        radii = np.array([2.0, 1.0, 0.8, 0.5, 0.3])
        assert subset_schedule([Grid(5, 5)] * 5, radii) == [16_000] * 2 + [None] * 3

    def test_a_radius_that_never_falls_needs_all(self):
        radii = np.ones(3)
        assert subset_schedule([Grid(5, 5)] * 3, radii) == [None] * 3

    @pytest.mark.parametrize(
        "params", [{"coarse_to_fine": False}, {"init": "sample"}, {"neighborhood": "bubble"}]
    )
    def test_it_goes_with_coarse_to_fine(self, params):
        som = TFSOM((6, 5), random_state=0, **params)
        plan = make_plan(som, Samples(MANY), np.ones(len(MANY)))
        assert set(plan.sizes) == {None}


class TestFits:
    @pytest.mark.parametrize("params", [{}, {"metric": "cosine"}, {"lattice": "rectangular"}])
    def test_weights_are_repetitions(self, params):
        weights = 1 + np.arange(len(MANY)) % 3
        som = TFSOM((5, 4), **params)
        plan = make_plan(som, Samples(MANY, som.metric), weights.astype(float))
        assert plan.sizes[0] == 16_000
        one = TFSOM((5, 4), **params).fit(MANY, sample_weight=weights)
        other = TFSOM((5, 4), **params).fit(np.repeat(MANY, weights, axis=0)[::-1])
        assert_allclose(one.codebook_, other.codebook_, rtol=1e-7, atol=1e-9)
        assert_allclose(one.quantization_error_, other.quantization_error_, rtol=1e-9)

    @pytest.mark.parametrize("kind", ["dense", "missing", "sparse", "float32"])
    def test_the_map_is_about_that_of_whole_epochs(self, kind, monkeypatch):
        X = np.maximum(MANY, -0.5) + 0.5 if kind == "sparse" else MANY.copy()
        if kind == "missing":
            X[::7, 1] = np.nan
        X = csr_array(X) if kind == "sparse" else X.astype("f4" if kind == "float32" else "f8")
        sizes = []
        of = Subsets.of

        def counted(self, size):
            chosen = of(self, size)
            sizes.append(chosen[0].shape[0])
            return chosen

        monkeypatch.setattr(Subsets, "of", counted)
        som = TFSOM((12, 10), tol=0).fit(X)
        assert set(sizes) == {4_000, 16_000, len(MANY)}
        monkeypatch.setattr(Subsets, "if_worthwhile", lambda *_: None)
        whole = TFSOM((12, 10), tol=0).fit(X)
        assert np.abs(som.codebook_ - whole.codebook_).max() > 0
        assert som.quantization_error_ == pytest.approx(whole.quantization_error_, rel=0.02)
        if kind != "missing":
            errors = [topographic_error(each, X) for each in (som, whole)]
            assert errors[0] <= errors[1] + 0.02

    def test_statistics_are_those_of_all_samples(self):
        """What `partial_fit` and `impute` go on from."""
        som = TFSOM((5, 4)).fit(MANY)
        assert som._unit_counts.sum() == pytest.approx(len(MANY), rel=1e-12)
        assert som.hits_.sum() == len(MANY)

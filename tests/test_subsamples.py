"""Subsamples are chosen by the values of the samples alone, and represent all of them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from sklearn_tfsom import TFSOM
from sklearn_tfsom._assignment import map_errors
from sklearn_tfsom._data.pieces import Pieces
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.subsampling import Subsamples
from sklearn_tfsom._distance import METRICS
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.schedules import grid_schedule, subsample_schedule
from sklearn_tfsom._plan import make_plan
from sklearn_tfsom._training import train, trained_codebook

RNG = np.random.RandomState(0)
MANY = RNG.normal(size=(40_000, 3))
SIZE = 4000


def pieces_of(X, sample_weight=None, metric="euclidean"):
    sample_weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
    has_missing = isinstance(X, np.ndarray) and bool(np.isnan(X).any())
    return Pieces(Samples(X, METRICS[metric], has_missing=has_missing), sample_weight)


def subsample(X, sample_weight=None, size=SIZE, draw=0):
    """Return the values of a subsample in lexical order, and their weights."""
    chosen = Subsamples(pieces_of(X, sample_weight), [size], draw).subsample(size)
    values = chosen.samples.dense(np.arange(len(chosen.samples)))
    order = np.lexsort(values.T)
    return values[order], chosen.sample_weight[order]


def test_moments_are_those_of_all():
    chosen, weights = subsample(MANY)
    assert len(chosen) == SIZE
    assert len(np.unique(chosen, axis=0)) == len(chosen)
    assert_allclose(np.average(chosen, axis=0, weights=weights), 0, atol=0.05)
    assert_allclose(np.cov(chosen.T, aweights=weights), np.eye(3), atol=0.07)
    assert weights.sum() == pytest.approx(len(MANY), rel=0.05)


def test_another_draw_chooses_others():
    chosen, _ = subsample(MANY)
    other, weights = subsample(MANY, draw=1)
    assert len(other) == SIZE
    n_both = len(chosen) + len(other) - len(np.unique(np.vstack([chosen, other]), axis=0))
    assert n_both == pytest.approx(SIZE**2 / len(MANY), rel=0.2)
    assert_allclose(np.average(other, axis=0, weights=weights), 0, atol=0.05)
    assert weights.sum() == pytest.approx(len(MANY), rel=0.05)


@pytest.mark.parametrize("size", [None, 40_000, 50_000])
def test_all_samples_where_there_are_no_more(size):
    pieces = pieces_of(MANY)
    assert Subsamples(pieces, [1000, size or 1000]).subsample(size) is pieces


def test_a_subsample_of_most_samples_does_not_pay():
    sizes = [1000, 19_000, 21_000, 50_000]
    subsamples = Subsamples(pieces_of(np.r_[MANY, MANY]), sizes)
    assert subsamples.worthwhile() == {1000, 19_000}


def test_a_smaller_subsample_is_part_of_a_larger_one():
    subsamples = Subsamples(pieces_of(MANY), [1000, 3000])
    small, large = (
        {tuple(row) for row in subsamples.subsample(size).samples[:]} for size in (1000, 3000)
    )
    assert len(small) == 1000
    assert small < large
    assert small == {tuple(row) for row in subsample(MANY, size=1000)[0]}


def test_order_changes_nothing():
    for one, other in zip(
        subsample(MANY), subsample(MANY[RNG.permutation(len(MANY))]), strict=True
    ):
        assert_allclose(one, other, rtol=1e-14)


@pytest.mark.parametrize("size", [SIZE, 30_000])
def test_weights_are_repetitions(size):
    times = 1 + np.arange(len(MANY)) % 3 + 2000 * (np.arange(len(MANY)) == 7)
    order = RNG.permutation(np.repeat(np.arange(len(MANY)), times))
    weighted = subsample(MANY, times.astype(float), size)
    for one, other in zip(weighted, subsample(MANY[order], size=size), strict=True):
        assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("size", [19_999, 20_000, 20_001, 40_000])
def test_repetitions_do_not_change_whether_it_pays(size):
    weighted = Subsamples(pieces_of(MANY, np.full(len(MANY), 2.0)), [size])
    repeated = Subsamples(pieces_of(np.r_[MANY, MANY]), [size])
    assert weighted.worthwhile() == repeated.worthwhile()


@pytest.mark.parametrize("change", [(1, 1e6), (1e-46, 0), (1e200, 0), (1, 0)], ids=str)
def test_any_scale_and_offset(change):
    scale, offset = change
    values, _ = subsample(scale * MANY + offset)
    assert len(values) == SIZE


def test_integers_are_different_samples():
    X = RNG.randint(0, 17, size=(40_000, 64)).astype(np.float64)
    X[:, ::2] = 0
    assert len(subsample(X)[0]) == SIZE
    assert len(subsample(X, size=len(X) - 1)[0]) == len(X) - 1


def test_precision_and_sign_of_zero_change_nothing():
    X = np.round(8 * MANY) / 8
    X[::2] *= -1
    chosen = subsample(X + 0.0)[0]
    assert_array_equal(subsample(X.astype(np.float32))[0], chosen)
    assert_array_equal(subsample(np.where(X == 0, -0.0, X))[0], chosen)


@pytest.mark.parametrize("heavy", ["repeated", "weighted"])
def test_heavy_samples_keep_their_share(heavy):
    """The background of a picture: half of all samples have the same value."""
    for background in RNG.normal(size=(10, 3)):
        if heavy == "repeated":
            X, weights = np.r_[MANY, np.tile(background, (len(MANY), 1))], None
        else:
            X, weights = np.r_[MANY, [background]], np.r_[np.ones(len(MANY)), len(MANY)]
        values, found = subsample(X, weights)
        assert len(values) <= SIZE + 1
        share = found[(values == background).all(axis=1)].sum() / found.sum()
        assert share == pytest.approx(0.5, abs=0.03)


def test_weights_of_all_sizes_are_estimated():
    weights = np.exp(2 * RNG.normal(size=len(MANY)))
    values, found = subsample(MANY, weights)
    expected = np.average(MANY[:, 0] > 1, weights=weights)
    assert np.average(values[:, 0] > 1, weights=found) == pytest.approx(expected, abs=0.03)
    assert found.sum() == pytest.approx(weights.sum(), rel=0.05)


def test_sparse_samples_are_chosen_like_dense_ones():
    X = np.maximum(MANY, 0)
    for one, other in zip(subsample(X), subsample(csr_array(X)), strict=True):
        assert_array_equal(one, other)


def test_few_different_values():
    X = np.round(MANY[:, :1])
    values, counts = np.unique(X, return_counts=True)
    chosen = Subsamples(pieces_of(X), [SIZE]).subsample(SIZE)
    order = np.argsort(chosen.samples[:][:, 0])
    assert_array_equal(chosen.samples[:][order, 0], values)
    assert_array_equal(chosen.sample_weight[order], counts)


def test_sparse_samples_differ_in_any_feature():
    X = csr_array((MANY[:, 0], (np.arange(len(MANY)), RNG.randint(0, 20_000, len(MANY)))))
    chosen = Subsamples(pieces_of(X), [SIZE]).subsample(SIZE)
    assert chosen.samples.shape == (SIZE, X.shape[1])


def test_missing_values():
    X = MANY.copy()
    X[::3, 1] = np.nan
    values, _ = subsample(X)
    assert len(values) == SIZE
    assert np.isnan(values[:, 1]).mean() == pytest.approx(1 / 3, abs=0.03)


class TestSchedule:
    def test_all_samples_from_the_last_radius_on(self):
        grid, radii = Grid(20, 20), np.array([4.0, 3.0, 2.0, 1.1, 0.9, 0.9])
        grids = grid_schedule(grid, radii)
        sizes = subsample_schedule(grids, radii)
        assert sizes == [*[16_000] * 3, 48 * 400, None, None]

    def test_all_samples_while_the_neighborhood_is_narrow(self):
        radii = np.array([2.0, 1.0, 0.8, 0.5, 0.3])
        assert subsample_schedule([Grid(5, 5)] * 5, radii) == [16_000] * 2 + [None] * 3

    def test_all_samples_while_the_radius_is_constant(self):
        radii = np.ones(3)
        assert subsample_schedule([Grid(5, 5)] * 3, radii) == [None] * 3

    @pytest.mark.parametrize(
        "params", [{"coarse_to_fine": False}, {"init": "sample"}, {"neighborhood": "bubble"}]
    )
    def test_all_samples_without_coarse_to_fine(self, params):
        som = TFSOM((6, 5), random_state=0, **params)
        plan = make_plan(som, pieces_of(MANY))
        assert [stage.sample_size for stage in plan.stages] == [None]


class TestFits:
    @pytest.mark.parametrize("params", [{}, {"metric": "cosine"}, {"lattice": "rectangular"}])
    def test_weights_are_repetitions(self, params):
        weights = 1 + np.arange(len(MANY)) % 3
        som = TFSOM((5, 4), **params)
        plan = make_plan(som, pieces_of(MANY, weights.astype(float), som.metric))
        assert plan.stages[0].sample_size == 16_000
        one = TFSOM((5, 4), **params).fit(MANY, sample_weight=weights)
        other = TFSOM((5, 4), **params).fit(np.repeat(MANY, weights, axis=0)[::-1])
        assert_allclose(one.codebook_, other.codebook_, rtol=1e-7, atol=1e-9)
        assert_allclose(one.quantization_error_, other.quantization_error_, rtol=1e-9)

    @pytest.mark.parametrize("kind", ["dense", "missing", "sparse", "float32"])
    def test_errors_are_about_those_of_whole_epochs(self, kind):
        X = np.maximum(MANY, -0.5) + 0.5 if kind == "sparse" else MANY.copy()
        if kind == "missing":
            X[::7, 1] = np.nan
        X = csr_array(X) if kind == "sparse" else X.astype("f4" if kind == "float32" else "f8")
        plan = make_plan(TFSOM((12, 10)), pieces_of(X))
        assert {stage.sample_size for stage in plan.stages} == {16_000, None}
        stages = [stage._replace(sample_size=None) for stage in plan.stages]
        errors, codebooks = [], []
        for each in (plan, plan._replace(stages=stages)):
            *_, last = train(each, 0, None)
            codebooks.append(trained_codebook(each, last))
            errors.append(map_errors(each.pieces, codebooks[-1], each.grid))
        assert np.abs(codebooks[0] - codebooks[1]).max() > 0
        assert errors[0][0] == pytest.approx(errors[1][0], rel=0.02)
        if kind != "missing":
            assert errors[0][1] <= errors[1][1] + 0.02

    def test_statistics_are_those_of_all_samples(self):
        """`partial_fit` and `impute` use them."""
        som = TFSOM((5, 4)).fit(MANY)
        assert som._unit_counts.sum() == pytest.approx(len(MANY), rel=1e-12)
        assert som.hits_.sum() == len(MANY)

"""Distortion, Heskes' energy, explained variance and likelihood equal slow loops."""

import itertools
import math

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from test_metrics import BOUNDARIES, LATTICES, random_map, samples

from sklearn_tfsom import TFSOM
from sklearn_tfsom.metrics import (
    distortion,
    explained_variance,
    heskes_energy,
    log_likelihood,
    log_likelihood_scorer,
)
from sklearn_tfsom.metrics._reading import neighborhood_rows

METRICS = ["euclidean", "manhattan", "chebyshev", "cosine", "correlation"]


def squared(x, w, metric="euclidean"):
    """Squared distance over known values; of directions ``1 - cos``."""
    if metric in ("cosine", "correlation"):
        if metric == "correlation":
            x, w = x - x.mean(), w - w.mean()
        return 1 - x @ w / math.sqrt(x @ x) / math.sqrt(w @ w)
    gaps = [abs(a - b) for a, b in zip(x, w, strict=True) if not math.isnan(a)]
    if metric == "euclidean":
        return sum(gap**2 for gap in gaps)
    return (sum(gaps) if metric == "manhattan" else max(gaps)) ** 2


def slow_energies(codebook, X, sample_weight, H, metric="euclidean"):
    """Distortion and Heskes' energy."""
    of_closest = of_best = 0.0
    for x, weight in zip(X, sample_weight, strict=True):
        cost = [squared(x, w, metric) for w in codebook]
        sums = [sum(h * c for h, c in zip(row, cost, strict=True)) for row in H]
        of_closest += weight * sums[cost.index(min(cost))]
        of_best += weight * min(sums)
    return of_closest / sum(sample_weight), of_best / sum(sample_weight)


@pytest.mark.parametrize(
    ("lattice", "boundary", "neighborhood", "shape"),
    [
        *itertools.product(LATTICES, BOUNDARIES, ["gaussian"], [(5, 4), (1, 6), (1, 1)]),
        *itertools.product(LATTICES, ["toroidal"], reference.NEIGHBORHOODS, [(4, 3)]),
    ],
)
class TestEnergies:
    def test_they_equal_slow_loops(self, lattice, boundary, neighborhood, shape):
        som = random_map(lattice, boundary, shape)
        som._neighborhood = neighborhood
        X, weights = samples(n_samples=30), np.random.RandomState(2).uniform(0.1, 3, size=30)
        H = reference.neighborhood_matrix(shape, lattice, boundary, neighborhood, 1.7)
        slow = slow_energies(som.codebook_, X, weights, H)
        kwargs = {"sample_weight": weights, "radius": 1.7}
        assert distortion(som, X, **kwargs) == pytest.approx(slow[0], rel=1e-11)
        assert heskes_energy(som, X, **kwargs) == pytest.approx(slow[1], rel=1e-11)


@pytest.mark.parametrize("metric", METRICS)
class TestOtherMetrics:
    def test_energies(self, metric):
        X = samples(n_samples=40) + np.array([1, 0, 2])
        som = TFSOM((3, 3), metric=metric).fit(X)
        H = reference.neighborhood_matrix((3, 3), "hexagonal", "planar", "gaussian", 1.0)
        slow = slow_energies(som.codebook_, X, np.ones(40), H, metric)
        assert distortion(som, X, radius=1) == pytest.approx(slow[0], rel=1e-9)
        assert heskes_energy(som, X, radius=1) == pytest.approx(slow[1], rel=1e-9)

    def test_explained_variance(self, metric):
        X = samples(n_samples=40) + np.array([1, 0, 2])
        weights = np.random.RandomState(2).uniform(0.1, 3, size=40)
        som = TFSOM((3, 3), metric=metric).fit(X)
        mean = weights @ X / weights.sum()
        if metric in ("cosine", "correlation"):
            centered = X - X.mean(axis=1, keepdims=True) if metric == "correlation" else X
            mean = weights @ (centered / np.linalg.norm(centered, axis=1, keepdims=True))
        left = total = 0.0
        for x, weight in zip(X, weights, strict=True):
            # The closest has the smallest of any increasing function of the distance.
            left += weight * min(squared(x, w, metric) for w in som.codebook_)
            total += weight * squared(x, mean, metric)
        share = explained_variance(som, X, sample_weight=weights)
        assert share == pytest.approx(1 - left / total, rel=1e-10)

    def test_a_map_of_one_unit_explains_nothing(self, metric):
        X = samples() + np.array([1, 0, 2])
        weights = np.random.RandomState(2).uniform(0.1, 3, size=len(X))
        som = TFSOM(1, metric=metric).fit(X, sample_weight=weights)
        assert explained_variance(som, X, sample_weight=weights) == pytest.approx(0, abs=1e-12)


def with_gaps(X, share=0.3):
    X = X.copy()
    X[np.random.RandomState(5).uniform(size=X.shape) < share] = np.nan
    return X[~np.isnan(X).all(axis=1)]


class TestMissingValues:
    def test_energies(self):
        X = with_gaps(samples())
        som = TFSOM((3, 3)).fit(X)
        H = reference.neighborhood_matrix((3, 3), "hexagonal", "planar", "gaussian", 1.0)
        slow = slow_energies(som.codebook_, X, np.ones(len(X)), H)
        assert distortion(som, X, radius=1) == pytest.approx(slow[0], rel=1e-10)
        assert heskes_energy(som, X, radius=1) == pytest.approx(slow[1], rel=1e-10)

    def test_explained_variance(self):
        X = with_gaps(samples())
        som = TFSOM((3, 3)).fit(X)
        mean = np.nanmean(X, axis=0)
        left = sum(min(squared(x, w) for w in som.codebook_) for x in X)
        total = sum(squared(x, mean) for x in X)
        assert explained_variance(som, X) == pytest.approx(1 - left / total, rel=1e-10)

    def test_log_likelihood(self):
        X = with_gaps(samples())
        som = TFSOM((3, 3)).fit(X)
        assert log_likelihood(som, X) == pytest.approx(slow_log_likelihood(som, X), rel=1e-10)


def slow_log_likelihood(som, X):
    n_features = X.shape[1]
    mean_length = math.sqrt(2) * math.gamma((n_features + 1) / 2) / math.gamma(n_features / 2)
    variance = (som.quantization_error_ / mean_length) ** 2
    shares = (som.hits_ + 1) / (som.hits_ + 1).sum()
    logs = []
    for x in X:
        known = ~np.isnan(x)
        density = 0.0
        for share, w in zip(shares, som.codebook_, strict=True):
            density += share * multivariate_normal(w[known], variance).pdf(x[known])
        logs.append(math.log(density))
    return np.mean(logs)


class TestExplainedVariance:
    def test_it_equals_r2(self):
        som, X = TFSOM((4, 3)).fit(samples()), samples(seed=3)
        weights = np.random.RandomState(2).uniform(0.1, 3, size=len(X))
        r2 = r2_score(X, som.quantize(X), sample_weight=weights, multioutput="variance_weighted")
        assert explained_variance(som, X, sample_weight=weights) == pytest.approx(r2, rel=1e-11)

    @pytest.mark.parametrize("value", [0.0, 0.1, 1e6 / 3])
    def test_of_equal_samples(self, value):
        X = np.full((7, 3), value)
        som = TFSOM((2, 2)).fit(X)
        assert explained_variance(som, X) == 1
        assert explained_variance(som, X + 1) == 0

    def test_code_vectors_are_explained_in_full(self):
        som = random_map("hexagonal", "planar", (4, 3))
        assert explained_variance(som, som.codebook_) == 1

    def test_it_does_not_depend_on_the_origin(self):
        X = samples()
        som, moved = TFSOM((4, 3)).fit(X), TFSOM((4, 3)).fit(X + 1e4)
        expected = explained_variance(som, X)
        assert explained_variance(moved, X + 1e4) == pytest.approx(expected, abs=1e-9)


class TestRadius:
    @pytest.mark.parametrize("measure", [distortion, heskes_energy])
    def test_it_is_that_of_the_last_epoch(self, measure):
        som = TFSOM((4, 3), radius_decay=[2.0, 1.25], max_iter=2, tol=0).fit(samples())
        assert measure(som, samples()) == measure(som, samples(), radius=1.25)
        assert measure(som, samples()) != measure(som, samples(), radius=2.0)

    @pytest.mark.parametrize("measure", [distortion, heskes_energy])
    @pytest.mark.parametrize("radius", [0, -1.0, np.nan, np.inf, "1", True, [1.0]])
    def test_a_bad_one_is_refused(self, measure, radius):
        som = random_map("hexagonal", "planar", (4, 3))
        match = r"^radius must be a float in the range \(0\.0, inf\)\. Got .* instead\.$"
        with pytest.raises(ValueError, match=match):
            measure(som, samples(), radius=radius)

    def test_a_tiny_one_leaves_the_closest_unit_only(self):
        som, X = random_map("hexagonal", "planar", (4, 3)), samples()
        squares = np.mean(som.score_samples(X) ** 2)
        assert distortion(som, X, radius=1e-200) == pytest.approx(squares, rel=1e-12)
        assert heskes_energy(som, X, radius=1e-200) == pytest.approx(squares, rel=1e-12)

    def test_a_vast_one_makes_all_units_alike(self):
        som, X = random_map("hexagonal", "planar", (4, 3)), samples()
        everything = np.mean(np.sum(som.transform(X) ** 2, axis=1))
        assert distortion(som, X, radius=1e200) == pytest.approx(everything, rel=1e-12)
        assert heskes_energy(som, X, radius=1e200) == pytest.approx(everything, rel=1e-12)


def test_a_callable_neighborhood_is_used():
    X = samples()
    som = TFSOM((4, 3), neighborhood=lambda d2, r: np.exp(-d2 / (2 * r * r))).fit(X)
    built_in = TFSOM((4, 3)).fit(X)
    som.codebook_ = built_in.codebook_
    for measure in (distortion, heskes_energy):
        expected = measure(built_in, X, radius=1.3)
        assert measure(som, X, radius=1.3) == pytest.approx(expected, rel=1e-12)


def test_heskes_energy_is_the_lower_one():
    for seed in range(5):
        som, X = random_map("hexagonal", "planar", (4, 3), seed), samples(seed + 10)
        assert heskes_energy(som, X) < distortion(som, X)


class TestLogLikelihood:
    def test_it_equals_slow_loops(self):
        som, X = TFSOM((3, 4)).fit(samples()), samples(seed=3)
        assert log_likelihood(som, X) == pytest.approx(slow_log_likelihood(som, X), rel=1e-11)

    def test_one_unit_is_one_gaussian(self):
        """Of Gaussian samples the deviation is found from their mean length."""
        X = np.random.RandomState(0).normal(size=(20000, 4), scale=3)
        som = TFSOM(1).fit(X)
        entropy = 2 * math.log(2 * math.pi * math.e * 9)
        assert log_likelihood(som, X) == pytest.approx(-entropy, abs=0.03)

    def test_scaled_data_are_as_likely_but_for_their_unit(self):
        X, far = samples(), samples(seed=3)
        som, scaled = TFSOM((3, 4)).fit(X), TFSOM((3, 4)).fit(X * 10)
        expected = log_likelihood(som, far) - 3 * math.log(10)
        assert log_likelihood(scaled, far * 10) == pytest.approx(expected, rel=1e-9)

    def test_it_does_not_depend_on_the_origin(self):
        X, far = samples(), samples(seed=3)
        som, moved = TFSOM((3, 4)).fit(X), TFSOM((3, 4)).fit(X + 1e7)
        expected = log_likelihood(som, far)
        assert log_likelihood(moved, far + 1e7) == pytest.approx(expected, rel=1e-6)

    def test_a_map_that_holds_all_samples_has_a_finite_one(self):
        X = np.array([[0.0, 0], [1, 0], [0, 1]])
        som = TFSOM((1, 3), init=X, radius_decay=[0.01], max_iter=1).fit(X)
        assert som.quantization_error_ == 0
        assert math.isfinite(log_likelihood(som, X))
        assert math.isfinite(log_likelihood(som, X + 1))
        som = TFSOM((1, 3)).fit(np.zeros((5, 2)))
        assert math.isfinite(log_likelihood(som, np.ones((2, 2))))

    def test_far_away_it_does_not_run_out_of_range(self):
        som = TFSOM((3, 4)).fit(samples())
        assert -1e13 < log_likelihood(som, samples() + 1e6) < -1e10

    @pytest.mark.parametrize("metric", METRICS[1:])
    def test_another_metric_is_refused(self, metric):
        som = TFSOM((3, 4), metric=metric).fit(samples())
        match = (
            r"^The 'metric' parameter of TFSOM must be 'euclidean' for a log-likelihood\. "
            rf"Got '{metric}' instead\.$"
        )
        with pytest.raises(ValueError, match=match):
            log_likelihood(som, samples())

    def test_it_chooses_neither_the_smallest_nor_the_largest_map(self, blobs, iris):
        sizes = [1, 3, 5, 8, 16]
        for X in (blobs, iris):
            search = GridSearchCV(
                TFSOM(), {"grid_size": sizes}, scoring=log_likelihood_scorer, cv=4
            )
            search.fit(np.random.RandomState(0).permutation(X))
            assert 3 <= search.best_params_["grid_size"] <= 8
            by_error = GridSearchCV(TFSOM(), {"grid_size": sizes}, cv=4)
            assert by_error.fit(np.random.RandomState(0).permutation(X)).best_params_[
                "grid_size"
            ] == max(sizes)


def test_tiles_change_nothing(monkeypatch):
    som, X = random_map("hexagonal", "planar", (5, 4)), samples()
    measures = [distortion, heskes_energy, log_likelihood, explained_variance]
    whole = [measure(som, X) for measure in measures]
    monkeypatch.setattr("sklearn_tfsom.metrics._reading._TILE_VALUES", 60)
    assert_allclose([measure(som, X) for measure in measures], whole, rtol=1e-12)


def test_neighborhoods_below_the_normal_range_are_none():
    """Products with them would take twenty times as long."""
    som = random_map("hexagonal", "planar", (1, 60))
    h = neighborhood_rows(som, 1.0)(np.arange(60))
    assert ((h == 0) | (h > 1e-200)).all() and (h == 0).any()
    expected = np.exp(-(np.subtract.outer(np.arange(60), np.arange(60)) ** 2) / 2.0)
    assert_allclose(h, expected, rtol=1e-12, atol=1e-200)

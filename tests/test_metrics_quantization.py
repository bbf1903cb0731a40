"""Measures of quantization and energy: special cases."""

import math

import numpy as np
import pytest
from reference_measures import METRICS, random_map, samples
from scipy.sparse import csr_array
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV

from sklearn_tfsom import TFSOM
from sklearn_tfsom.metrics import (
    distortion,
    explained_variance,
    heskes_energy,
    log_likelihood,
    log_likelihood_scorer,
    quantization_error,
)


def test_quantization_error_of_the_training_samples_is_the_fitted_attribute():
    X, weights = samples(), np.random.RandomState(2).uniform(size=60)
    som = TFSOM((4, 3)).fit(X, sample_weight=weights)
    assert quantization_error(som, X, sample_weight=weights) == som.quantization_error_


def test_heskes_energy_is_less_than_the_distortion():
    for seed in range(5):
        som, X = random_map(seed=seed), samples(seed + 10)
        assert heskes_energy(som, X) < distortion(som, X)


class TestExplainedVariance:
    def test_it_is_the_r2_score_of_the_quantized_samples(self):
        som, X = TFSOM((4, 3)).fit(samples()), samples(seed=3)
        weights = np.random.RandomState(2).uniform(0.1, 3, size=len(X))
        expected = r2_score(
            X, som.quantize(X), sample_weight=weights, multioutput="variance_weighted"
        )
        share = explained_variance(som, X, sample_weight=weights)
        assert share == pytest.approx(expected, rel=1e-11)

    @pytest.mark.parametrize("value", [0.0, 0.1, 1e6 / 3])
    def test_equal_samples(self, value):
        X = np.full((7, 3), value)
        som = TFSOM((2, 2)).fit(X)
        assert explained_variance(som, X) == 1
        assert explained_variance(som, X + 1) == 0

    def test_one_unit_explains_nothing_of_samples_far_from_zero(self):
        X = 1.7e15 + np.arange(4.0)[:, None]
        assert explained_variance(TFSOM(1).fit(X), X) == 0

    @pytest.mark.filterwarnings("error")
    def test_huge_feature_without_variance(self):
        X = np.column_stack([np.full(60, 1e180), samples()])
        assert explained_variance(TFSOM.from_codebook(X[:1], grid_size=1), X) < 0
        mean = X.mean(axis=0)
        mean[0] = 1e180
        som = TFSOM.from_codebook([mean], grid_size=1)
        assert explained_variance(som, X) == pytest.approx(0, abs=1e-12)

    def test_large_feature_without_variance(self):
        X = samples()
        wide = np.column_stack([np.full(60, 1.7e15), X])
        som = TFSOM((2, 2)).fit(wide)
        residual = np.sum((wide - som.quantize(wide)) ** 2)
        expected = 1 - residual / np.sum((X - X.mean(axis=0)) ** 2)
        assert explained_variance(som, wide) == pytest.approx(expected, rel=1e-12)

    def test_equal_samples_with_missing_values(self):
        X = np.full((50, 3), 0.1)
        X[0, 1] = X[3:, 2] = np.nan
        som = TFSOM((2, 2)).fit(X)
        assert explained_variance(som, X) == 1
        assert explained_variance(som, X + 1) == 0

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("metric", ["euclidean", "cosine"])
    def test_sparse_samples_equal_dense_ones(self, metric, dtype):
        rng = np.random.RandomState(0)
        X = rng.uniform(size=(90, 4)).astype(dtype)
        X[rng.uniform(size=X.shape) < 0.3] = 0
        if metric == "euclidean":  # far from zero
            X[:, 0] = 1e4 if dtype == np.float32 else 1e8
        som = TFSOM((5, 4), metric=metric).fit(X)
        expected = explained_variance(som, X)
        assert 0.3 < expected < 1
        assert explained_variance(som, csr_array(X)) == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("convert", [np.asarray, csr_array])
    def test_many_equal_samples(self, convert):
        som = TFSOM((4, 3)).fit(np.random.RandomState(0).normal(size=(90, 3)))
        X = np.tile([[0.1, 0.0, 0.7]], (5000, 1))
        assert explained_variance(som, convert(X)) == 0

    def test_samples_that_are_code_vectors(self):
        som = random_map()
        assert explained_variance(som, som.codebook_) == 1

    @pytest.mark.parametrize("metric", METRICS)
    def test_map_of_one_unit(self, metric):
        X = samples() + np.array([1, 0, 2])
        weights = np.random.RandomState(2).uniform(0.1, 3, size=len(X))
        som = TFSOM(1, metric=metric).fit(X, sample_weight=weights)
        assert explained_variance(som, X, sample_weight=weights) == pytest.approx(0, abs=1e-12)

    def test_data_far_from_the_origin(self):
        X = samples()
        som, shifted = TFSOM((4, 3)).fit(X), TFSOM((4, 3)).fit(X + 1e4)
        expected = explained_variance(som, X)
        assert explained_variance(shifted, X + 1e4) == pytest.approx(expected, abs=1e-9)


class TestLogLikelihood:
    def test_map_of_one_unit_is_one_gaussian(self):
        X = np.random.RandomState(0).normal(size=(20000, 4), scale=3)
        som = TFSOM(1).fit(X)
        entropy = 2 * math.log(2 * math.pi * math.e * 9)
        assert log_likelihood(som, X) == pytest.approx(-entropy, abs=0.03)

    def test_scaled_data(self):
        X, held_out = samples(), samples(seed=3)
        som, scaled = TFSOM((3, 4)).fit(X), TFSOM((3, 4)).fit(X * 10)
        expected = log_likelihood(som, held_out) - 3 * math.log(10)
        assert log_likelihood(scaled, held_out * 10) == pytest.approx(expected, rel=1e-9)

    @pytest.mark.parametrize("scale", [1e-200, 1e-120, 1e160, 1e250])
    def test_extreme_scales(self, scale):
        X = samples()
        expected = log_likelihood(TFSOM((3, 4)).fit(X), X) - X.shape[1] * math.log(scale)
        assert log_likelihood(TFSOM((3, 4)).fit(X * scale), X * scale) == pytest.approx(expected)

    def test_data_far_from_the_origin(self):
        X, held_out = samples(), samples(seed=3)
        som, shifted = TFSOM((3, 4)).fit(X), TFSOM((3, 4)).fit(X + 1e7)
        expected = log_likelihood(som, held_out)
        assert log_likelihood(shifted, held_out + 1e7) == pytest.approx(expected, rel=1e-6)

    def test_quantization_error_of_zero(self):
        X = np.array([[0.0, 0], [1, 0], [0, 1]])
        som = TFSOM((1, 3), init=X, radius_decay=[0.01], max_iter=1).fit(X)
        assert som.quantization_error_ == 0
        assert math.isfinite(log_likelihood(som, X))
        assert -1e13 < log_likelihood(som, X + 1) < -1e11
        som = TFSOM((1, 3)).fit(np.zeros((5, 2)))
        assert math.isfinite(log_likelihood(som, np.ones((2, 2))))

    def test_samples_far_from_the_map(self):
        som = TFSOM((3, 4)).fit(samples())
        assert -1e13 < log_likelihood(som, samples() + 1e6) < -1e10

    def test_likelihood_beyond_float64_is_an_error_alone(self):
        som = TFSOM(1).fit(np.full((5, 2), 3.0))
        with pytest.raises(ValueError, match="exceed the range of float64"):
            log_likelihood(som, [[3, 3], [1e60, 1e60]])

    def test_it_selects_neither_the_smallest_nor_the_largest_map(self, blobs, iris):
        sizes = np.array([1, 3, 5, 8, 16])
        scoring = {"likelihood": log_likelihood_scorer, "error": lambda som, X: som.score(X)}
        for X in (blobs, iris):
            X = np.random.RandomState(0).permutation(X)
            search = GridSearchCV(
                TFSOM(), {"grid_size": sizes}, scoring=scoring, cv=4, refit=False
            ).fit(X)
            assert sizes[search.cv_results_["rank_test_likelihood"].argmin()] in (3, 5, 8)
            assert sizes[search.cv_results_["rank_test_error"].argmin()] == 16


@pytest.mark.parametrize("measure", [distortion, heskes_energy])
def test_energies_beyond_float64_are_an_error_alone(measure):
    X = samples() * 1e160
    som = TFSOM((6, 5), neighborhood="bubble").fit(X)
    with pytest.raises(ValueError, match="exceed the range of float64"):
        measure(som, X)


@pytest.mark.parametrize("measure", [distortion, heskes_energy])
def test_neighborhood_beyond_the_memory_is_refused_by_name(measure, monkeypatch):
    som = TFSOM((6, 5)).fit(samples())
    monkeypatch.setattr("sklearn_tfsom._machine.machine_memory", lambda: 1000.0)
    with pytest.raises(ValueError, match="The neighborhood of a map of 6 x 5 units needs"):
        measure(som, samples())


@pytest.mark.parametrize("make", [np.asarray, csr_array])
def test_explained_variance_of_directions_that_cancel_out(make):
    """Around any direction their mean cost is 1."""
    X = make(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    for codebook, expected in (([[0, 1.0]], 0.0), ([[0.6, 0.8], [-0.6, 0.8]], 0.6)):
        som = TFSOM.from_codebook(codebook, grid_size=(1, len(codebook)), metric="cosine")
        assert explained_variance(som, X) == pytest.approx(expected)

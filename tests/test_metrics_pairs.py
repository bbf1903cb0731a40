"""Measures of pairs of samples: ties, ranges and special cases."""

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose
from reference_measures import compute_reference, grid_distances, random_map, samples
from scipy.sparse import csr_array
from sklearn.manifold import trustworthiness as trustworthiness_of_points

from sklearn_tfsom import TFSOM
from sklearn_tfsom.metrics import (
    c_measure,
    kruskal_shepard_error,
    neighborhood_preservation,
    trustworthiness,
)

MEASURES = [trustworthiness, neighborhood_preservation, c_measure, kruskal_shepard_error]


@pytest.mark.parametrize("measure", [trustworthiness, neighborhood_preservation])
def test_ties_in_data_space(measure):
    X = np.array([[0.0], [1], [1], [2], [2], [5]])
    som = TFSOM((2, 3)).fit(X)
    som.codebook_ = np.array([[0.1], [4], [2], [1], [0], [2.2]])
    expected = compute_reference(measure.__name__, som, X, None, n_neighbors=2)
    assert 0 < expected < 1
    assert measure(som, X, n_neighbors=2) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_without_ties_they_equal_trustworthiness_of_scikit_learn(k):
    marks = np.array([0, 1, 4, 9, 15, 22, 32, 34])  # a Golomb ruler: all distances differ
    X = samples(n_samples=8)
    som = random_map("rectangular", shape=(1, 35))
    som.codebook_[:] = 100
    som.codebook_[marks] = X
    places = marks[:, None].astype(float)
    expected = trustworthiness_of_points(X, places, n_neighbors=k)
    assert trustworthiness(som, X, n_neighbors=k) == pytest.approx(expected, rel=1e-12)
    expected = trustworthiness_of_points(places, X, n_neighbors=k)
    assert neighborhood_preservation(som, X, n_neighbors=k) == pytest.approx(expected, rel=1e-12)


def test_chain_along_a_line():
    X = np.arange(20.0)[:, None]
    som = TFSOM((1, 20), lattice="rectangular", init=X, max_iter=1, radius_decay=[1.0]).fit(X)
    som.codebook_ = X
    # Samples have ties on both sides, so some orders of ties differ.
    assert trustworthiness(som, X, n_neighbors=4) > 0.99
    assert neighborhood_preservation(som, X, n_neighbors=4) > 0.99
    assert c_measure(som, X) == pytest.approx(1, rel=1e-12)
    assert kruskal_shepard_error(som, X) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_sparse_samples_far_from_zero(measure, metric):
    rng = np.random.RandomState(0)
    X = np.column_stack([np.full(60, 1e8), rng.normal(size=(60, 2))])
    X[1] = X[0]
    som = TFSOM((5, 4), metric=metric).fit(X)
    assert measure(som, csr_array(X)) == pytest.approx(measure(som, X), rel=1e-6)


def test_tiny_weights_count_like_equal_ones():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(40, 3))
    som = TFSOM((5, 4)).fit(X)
    expected = kruskal_shepard_error(som, X, sample_weight=np.full(40, 2.0**-10))
    for weight in (1e-170, 1e-300):
        found = kruskal_shepard_error(som, X, sample_weight=np.full(40, weight))
        assert found == pytest.approx(expected, rel=1e-9)


def test_weights_whose_products_leave_the_range():
    som, X, weights = random_map(), samples(), np.random.RandomState(0).uniform(1, 2, size=60)
    expected = c_measure(som, X, sample_weight=weights)
    for scale in (1e-200, 1e200, 1e305):
        assert c_measure(som, X, sample_weight=scale * weights) == pytest.approx(expected)


@pytest.mark.parametrize("measure", MEASURES)
def test_range(measure):
    for seed in range(5):
        weights = np.random.RandomState(seed).uniform(0, 2, size=60)
        value = measure(random_map(shape=(5, 4), seed=seed), samples(seed), sample_weight=weights)
        assert 0 < value < 1


def test_map_of_one_unit():
    som, X = random_map(shape=(1, 1)), samples()
    assert c_measure(som, X) == 0
    # All orders on the map are equally probable: the rank is uniform over 59 others.
    mean_excess = sum(max(0, rank - 5) for rank in range(1, 60)) / 59
    expected = 1 - 2 / (5 * (2 * 60 - 16)) * 5 * mean_excess
    assert trustworthiness(som, X) == pytest.approx(expected, rel=1e-12)
    assert neighborhood_preservation(som, X) == pytest.approx(expected, rel=1e-12)


def test_equal_samples():
    som, X = random_map(), np.ones((20, 3))
    assert c_measure(som, X) == 0
    assert kruskal_shepard_error(som, X) == 0
    assert 0 < trustworthiness(som, X) < 1
    assert trustworthiness(som, X) == pytest.approx(neighborhood_preservation(som, X), rel=1e-12)


def test_one_or_two_samples():
    som = random_map()
    assert kruskal_shepard_error(som, np.ones((1, 3))) == c_measure(som, np.ones((1, 3))) == 0
    X = som.codebook_[[0, 5]]
    assert kruskal_shepard_error(som, X) == pytest.approx(0, abs=1e-15)
    assert c_measure(som, X) == pytest.approx(1, rel=1e-15)


def test_weights_below_one_of_different_samples():
    """No sample is compared with itself, so pairs are weighted alike."""
    som, X = random_map(), samples()
    value = kruskal_shepard_error(som, X, sample_weight=0.5)
    assert value == pytest.approx(kruskal_shepard_error(som, X), rel=1e-12)


@pytest.mark.parametrize(
    "measure", [trustworthiness, neighborhood_preservation, kruskal_shepard_error]
)
def test_weights_that_are_too_large_to_multiply(measure):
    X = np.random.default_rng(0).normal(size=(60, 3))
    weights = np.full(60, 1e155)
    with pytest.raises(ValueError, match=rf"at most 1e\+100 in {measure.__name__}, which multip"):
        measure(TFSOM((4, 4)).fit(X), X, sample_weight=weights)


@pytest.mark.parametrize("measure", [trustworthiness, neighborhood_preservation])
@pytest.mark.parametrize(("n_samples", "total", "n_neighbors"), [(20, 3, 1), (23, 11, 5)])
def test_rounding_of_weights_does_not_limit_n_neighbors(measure, n_samples, total, n_neighbors):
    X = np.arange(n_samples)[:, None]
    weights = np.full(n_samples, total / n_samples)
    assert weights.sum() < total  # by rounding
    value = measure(TFSOM((2, 3)).fit(X), X, sample_weight=weights, n_neighbors=n_neighbors)
    assert 0 <= value <= 1


@pytest.mark.parametrize("measure", MEASURES)
def test_ties_of_sparse_samples_far_from_zero(measure):
    rng = np.random.RandomState(1)
    X = np.column_stack([rng.randint(0, 3, size=(60, 3)) * 0.1, np.full(60, 50.0)])
    som = TFSOM((5, 4)).fit(X)
    assert measure(som, csr_array(X)) == pytest.approx(measure(som, X), rel=1e-9)


@pytest.mark.parametrize("measure", [trustworthiness, neighborhood_preservation])
def test_ties_of_decimal_numbers_in_float32(measure):
    """0.1 and 0.3 are as far from 0.2, but for rounding."""
    som = TFSOM.from_codebook([[0.1], [0.3], [0.2]], grid_size=(1, 3))
    X = np.array([[0.1], [0.2], [0.3]])
    expected = measure(som, X, n_neighbors=1)
    assert measure(som, X.astype(np.float32), n_neighbors=1) == pytest.approx(expected)


@pytest.mark.parametrize("measure", [trustworthiness, neighborhood_preservation])
@pytest.mark.parametrize("offset", [0, 1e3, 1e6])
def test_ties_of_decimal_numbers_with_an_offset(measure, offset):
    places = np.random.RandomState(0).permutation(30)
    X = np.arange(30.0)[:, None]
    som, other = (
        TFSOM.from_codebook(values[places], grid_size=(5, 6)) for values in (X, X * 0.1 + offset)
    )
    expected = pytest.approx(measure(som, X, n_neighbors=3), rel=1e-12)
    assert measure(other, X * 0.1 + offset, n_neighbors=3) == expected
    if offset == 0:
        assert measure(other, np.float32(X * 0.1), n_neighbors=3) == expected


@pytest.mark.parametrize("measure", [trustworthiness, neighborhood_preservation])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_ties_of_directions(measure, dtype):
    """Rounding of both vectors changes small angles by a larger share of them."""
    places = np.random.RandomState(0).permutation(30)
    angles = 1e-3 * np.arange(30.0) + 0.4
    X = np.column_stack([np.cos(angles), np.sin(angles)])
    line = TFSOM.from_codebook(np.arange(30.0)[places, None], grid_size=(5, 6))
    som = TFSOM.from_codebook(X[places], grid_size=(5, 6), metric="cosine")
    expected = measure(line, np.arange(30.0)[:, None], n_neighbors=3)
    assert measure(som, X.astype(dtype), n_neighbors=3) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("measure", [c_measure, kruskal_shepard_error])
def test_distances_whose_squares_are_zero(measure):
    found = []
    for step in (1e-5, 1e-70, 1e-200):
        X = [[1, 0], [1, step], [1, 3 * step]]
        som = TFSOM.from_codebook(X, grid_size=(1, 3), metric="manhattan")
        found.append(measure(som, X))
    assert found[0] > 0
    assert_allclose(found, found[0], rtol=1e-6)


@pytest.mark.parametrize("convert", [np.asarray, np.float32, csr_array])
@pytest.mark.parametrize("step", [0, 1e-150])
def test_directions_that_differ_by_rounding_are_equal(convert, step):
    X = np.outer([0.1, 0.3, 0.7, 1.1], [1, 2, 4, step])
    som = TFSOM((2, 2), metric="cosine").fit(X)
    assert c_measure(som, convert(X)) == kruskal_shepard_error(som, convert(X)) == 0
    if convert is not csr_array:
        for n_features in (4, 2):
            som = TFSOM((2, 2), metric="correlation").fit(X[:, :n_features])
            assert kruskal_shepard_error(som, convert(X[:, :n_features])) == 0


def test_distance_of_samples_of_zeros():
    """Without a direction, they are at distance 1 from all others and 0 from each other."""
    X = np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]])
    som = TFSOM((2, 2), metric="cosine").fit(X)
    lengths = np.linalg.norm(X, axis=1)
    F = 1 - X @ X.T / np.where(np.outer(lengths, lengths) > 0, np.outer(lengths, lengths), 1)
    np.fill_diagonal(F, 0)
    F[3, 4] = F[4, 3] = 0
    bmus = som.bmus(X)
    G = grid_distances(som)[np.ix_(bmus, bmus)]
    expected = np.sum(F * G) / np.sqrt(np.sum(F**2) * np.sum(G**2))
    assert_allclose([c_measure(som, X), c_measure(som, scipy.sparse.csr_array(X))], expected)


def test_ties_of_float32_far_from_zero_do_not_chain():
    """Values there are as far apart as their rounding, so that each is tied to the next one."""
    X = (np.random.RandomState(0).normal(size=(1000, 1)) + 1e4).astype(np.float32)
    som = TFSOM((12, 1)).fit(X.astype(np.float64))
    exact = X.astype(np.float64)
    assert trustworthiness(som, X) == pytest.approx(trustworthiness(som, exact), abs=0.01)
    found, expected = (neighborhood_preservation(som, data) for data in (X, exact))
    assert found == pytest.approx(expected, abs=0.01)

"""Measures of pairs of samples equal slow loops that write out every order of ties."""

import math

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose
from sklearn.manifold import trustworthiness as trustworthiness_of_points
from test_metrics import BOUNDARIES, LATTICES, random_map, samples
from test_metrics_energy import METRICS, squared
from test_metrics_topology import grid_distances, orders

from sklearn_tfsom import TFSOM
from sklearn_tfsom.metrics import (
    c_measure,
    kruskal_shepard_error,
    neighborhood_preservation,
    trustworthiness,
)

MEASURES = [trustworthiness, neighborhood_preservation, c_measure, kruskal_shepard_error]


def slow_trustworthiness(here, there, k):
    """Of neighbors here, by their ranks there, averaged over every order of ties in both."""
    n = len(here)
    total = 0.0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        ways_here, ways_there = (orders([d[i][j] for j in others]) for d in (here, there))
        for way in ways_here:
            for other_way in ways_there:
                ranks = {j: rank for rank, j in enumerate(other_way, start=1)}
                penalty = sum(max(0, ranks[j] - k) for j in way[:k])
                total += penalty / len(ways_here) / len(ways_there)
    return 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * total


def distances_of(som, X, metric="euclidean"):
    """Between samples, on the grid of their units and in the data."""
    bmus = som.bmus(X)
    on_grid = grid_distances(som.lattice, som.boundary, som.grid_shape_)[np.ix_(bmus, bmus)]
    in_data = [[squared(x, z, metric) for z in X] for x in X]
    if metric not in ("cosine", "correlation"):
        in_data = np.sqrt(in_data)
    return on_grid, np.array(in_data)


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("shape", "n_samples", "k"), [((3, 3), 7, 2), ((2, 4), 7, 1)])
class TestRanksEqualSlowLoops:
    def test_trustworthiness(self, lattice, boundary, shape, n_samples, k):
        som, X = random_map(lattice, boundary, shape), samples(n_samples=n_samples)
        on_grid, in_data = distances_of(som, X)
        slow = slow_trustworthiness(on_grid, in_data, k)
        assert trustworthiness(som, X, n_neighbors=k) == pytest.approx(slow, rel=1e-12)

    def test_neighborhood_preservation(self, lattice, boundary, shape, n_samples, k):
        som, X = random_map(lattice, boundary, shape), samples(n_samples=n_samples)
        on_grid, in_data = distances_of(som, X)
        slow = slow_trustworthiness(in_data, on_grid, k)
        assert neighborhood_preservation(som, X, n_neighbors=k) == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize("measure", [trustworthiness, neighborhood_preservation])
def test_ties_in_the_data_are_averaged_too(measure):
    X = np.array([[0.0], [1], [1], [2], [2], [5]])
    som = TFSOM((2, 3)).fit(X)
    som.codebook_ = np.array([[0.1], [4], [2], [1], [0], [2.2]])
    on_grid, in_data = distances_of(som, X)
    here, there = (on_grid, in_data) if measure is trustworthiness else (in_data, on_grid)
    slow = slow_trustworthiness(here, there, 2)
    assert 0 < slow < 1
    assert measure(som, X, n_neighbors=2) == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_without_ties_they_are_those_of_points(k):
    """On a Golomb ruler no two distances are equal."""
    marks = np.array([0, 1, 4, 9, 15, 22, 32, 34])
    X = samples(n_samples=8)
    som = random_map("rectangular", "planar", (1, 35))
    som.codebook_[:] = 100
    som.codebook_[marks] = X
    places = marks[:, None].astype(float)
    expected = trustworthiness_of_points(X, places, n_neighbors=k)
    assert trustworthiness(som, X, n_neighbors=k) == pytest.approx(expected, rel=1e-12)
    expected = trustworthiness_of_points(places, X, n_neighbors=k)
    assert neighborhood_preservation(som, X, n_neighbors=k) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(5, 4), (1, 6), (3, 3)])
class TestSumsEqualSlowLoops:
    def test_c_measure(self, lattice, boundary, shape):
        som, X = random_map(lattice, boundary, shape), samples(n_samples=30)
        weights = np.random.RandomState(2).uniform(0.1, 3, size=30)
        G, F = distances_of(som, X)
        W = np.outer(weights, weights)
        slow = np.sum(W * F * G) / math.sqrt(np.sum(W * F**2) * np.sum(W * G**2))
        assert c_measure(som, X, sample_weight=weights) == pytest.approx(slow, rel=1e-12)

    def test_kruskal_shepard_error(self, lattice, boundary, shape):
        som, X = random_map(lattice, boundary, shape), samples(n_samples=30)
        G, F = distances_of(som, X)
        slow = np.sum((F / F.max() - G / G.max()) ** 2) / (30 * 29)
        assert kruskal_shepard_error(som, X) == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_they_are_in_the_metric_of_the_map(metric):
    X = samples(n_samples=7) + np.array([1, 0, 2])
    som = TFSOM((3, 3), metric=metric).fit(X)
    G, F = distances_of(som, X, metric)
    np.fill_diagonal(F, 0)
    slow = slow_trustworthiness(G, F, 2)
    assert trustworthiness(som, X, n_neighbors=2) == pytest.approx(slow, rel=1e-12)
    slow = slow_trustworthiness(F, G, 2)
    assert neighborhood_preservation(som, X, n_neighbors=2) == pytest.approx(slow, rel=1e-12)
    slow = np.sum(F * G) / math.sqrt(np.sum(F**2) * np.sum(G**2))
    assert c_measure(som, X) == pytest.approx(slow, rel=1e-9)
    slow = np.sum((F / F.max() - G / G.max()) ** 2) / (7 * 6)
    assert kruskal_shepard_error(som, X) == pytest.approx(slow, rel=1e-9)


class TestRange:
    def test_a_map_of_a_line_keeps_everything(self):
        X = np.arange(20.0)[:, None]
        som = TFSOM((1, 20), lattice="rectangular", init=X, max_iter=1, radius_decay=[1.0]).fit(X)
        som.codebook_ = X
        # Equally far to both sides: ties that map and data share lower both a little.
        assert trustworthiness(som, X, n_neighbors=4) > 0.99
        assert neighborhood_preservation(som, X, n_neighbors=4) > 0.99
        assert c_measure(som, X) == pytest.approx(1, rel=1e-12)
        assert kruskal_shepard_error(som, X) == pytest.approx(0, abs=1e-12)

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("measure", MEASURES)
    def test_they_lie_between_0_and_1(self, seed, measure):
        weights = np.random.RandomState(seed).uniform(0, 2, size=60)
        som, X = random_map("hexagonal", "planar", (5, 4), seed), samples(seed + 10)
        assert 0 < measure(som, X, sample_weight=weights) < 1

    def test_one_unit_knows_nothing(self):
        som, X = random_map("hexagonal", "planar", (1, 1)), samples()
        assert c_measure(som, X) == 0
        # Any order on the map is as likely as another: the rank is uniform over 59 others.
        mean_excess = sum(max(0, rank - 5) for rank in range(1, 60)) / 59
        by_chance = 1 - 2 / (5 * (2 * 60 - 16)) * 5 * mean_excess
        assert trustworthiness(som, X) == pytest.approx(by_chance, rel=1e-12)
        assert neighborhood_preservation(som, X) == pytest.approx(by_chance, rel=1e-12)

    def test_equal_samples(self):
        som, X = random_map("hexagonal", "planar", (4, 3)), np.ones((20, 3))
        assert c_measure(som, X) == 0
        assert kruskal_shepard_error(som, X) == 0
        by_chance = neighborhood_preservation(som, X)
        assert 0 < trustworthiness(som, X) < 1
        assert trustworthiness(som, X) == pytest.approx(by_chance, rel=1e-12)

    def test_few_samples(self):
        som = random_map("hexagonal", "planar", (4, 3))
        assert kruskal_shepard_error(som, np.ones((1, 3))) == c_measure(som, np.ones((1, 3))) == 0
        X = np.array([som.codebook_[0], som.codebook_[5]])
        assert kruskal_shepard_error(som, X) == pytest.approx(0, abs=1e-15)
        assert c_measure(som, X) == pytest.approx(1, rel=1e-15)

    @pytest.mark.parametrize("measure", MEASURES)
    def test_halves_are_wholes(self, measure):
        som, X = random_map("hexagonal", "planar", (5, 4)), samples()
        halves = measure(som, np.repeat(X, 2, axis=0), sample_weight=np.full(120, 0.5))
        assert halves == pytest.approx(measure(som, X), rel=1e-12)


@pytest.mark.parametrize("measure", [trustworthiness, neighborhood_preservation])
class TestNumberOfNeighbors:
    @pytest.mark.parametrize("n_neighbors", [0, -1, 2.5, "5", None, True, np.nan, [5]])
    def test_what_is_none_is_refused(self, measure, n_neighbors):
        som = random_map("hexagonal", "planar", (4, 3))
        match = r"^n_neighbors must be an int in the range \[1, inf\)\. Got .* instead\.$"
        with pytest.raises(ValueError, match=match):
            measure(som, samples(), n_neighbors=n_neighbors)

    @pytest.mark.parametrize(("n_samples", "n_neighbors"), [(60, 30), (11, 6), (2, 1), (1, 1)])
    def test_too_many_are_refused(self, measure, n_samples, n_neighbors):
        som = random_map("hexagonal", "planar", (4, 3))
        match = (
            r"^n_neighbors must be less than half the number of samples \(their total weight\), "
            rf"{n_samples}\. Got {n_neighbors} instead\.$"
        )
        with pytest.raises(ValueError, match=match):
            measure(som, samples(n_samples=n_samples), n_neighbors=n_neighbors)

    @pytest.mark.parametrize(("n_samples", "n_neighbors"), [(60, 29), (11, 5), (3, np.int64(1))])
    def test_just_less_than_half_are_not(self, measure, n_samples, n_neighbors):
        som = random_map("hexagonal", "planar", (4, 3))
        assert 0 <= measure(som, samples(n_samples=n_samples), n_neighbors=n_neighbors) <= 1

    def test_weights_count_as_samples(self, measure):
        som = random_map("hexagonal", "planar", (4, 3))
        weights = np.r_[np.ones(6), np.zeros(54)]
        with pytest.raises(ValueError, match=r"their total weight\), 6\. Got 5"):
            measure(som, samples(), sample_weight=weights)


@pytest.mark.parametrize("measure", MEASURES)
class TestInput:
    def test_missing_values_are_refused(self, measure):
        X = samples()
        X[3, 1] = np.nan
        som = random_map("hexagonal", "planar", (4, 3))
        with pytest.raises(ValueError, match=r"^X holds missing values \(NaN\), .*'impute'\.$"):
            measure(som, X)
        # A sample of no weight is not there.
        weights = np.ones(60)
        weights[3] = 0
        expected = measure(som, np.delete(X, 3, axis=0))
        assert measure(som, X, sample_weight=weights) == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("metric", ["euclidean", "cosine"])
    def test_sparse_equals_dense(self, measure, metric):
        X = np.random.RandomState(0).poisson(0.4, size=(80, 12)).astype(float)
        X[5] = X[17]
        X[7] = X[8] = 0
        som = TFSOM((4, 3), metric=metric).fit(X)
        dense = measure(som, X)
        for make in (scipy.sparse.csr_array, scipy.sparse.csr_matrix, scipy.sparse.coo_array):
            assert measure(som, make(X)) == pytest.approx(dense, rel=1e-9)

    def test_tiles_change_nothing(self, measure, monkeypatch):
        som, X = random_map("hexagonal", "toroidal", (5, 4)), samples()
        weights = np.random.RandomState(2).uniform(0, 3, size=60)
        whole = measure(som, X, sample_weight=weights)
        monkeypatch.setattr("sklearn_tfsom.metrics._reading._TILE_VALUES", 8 * 60 * 7)
        assert measure(som, X, sample_weight=weights) == pytest.approx(whole, rel=1e-12)
        monkeypatch.setattr("sklearn_tfsom.metrics._reading._TILE_VALUES", 1)
        assert measure(som, X, sample_weight=weights) == pytest.approx(whole, rel=1e-12)


def test_zeros_have_no_direction():
    """They are at distance 1 from all others, and at 0 from each other."""
    X = np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]])
    som = TFSOM((2, 2), metric="cosine").fit(X)
    lengths = np.linalg.norm(X, axis=1)
    F = 1 - X @ X.T / np.where(np.outer(lengths, lengths) > 0, np.outer(lengths, lengths), 1)
    np.fill_diagonal(F, 0)
    F[3, 4] = F[4, 3] = 0
    bmus = som.bmus(X)
    G = grid_distances("hexagonal", "planar", (2, 2))[np.ix_(bmus, bmus)]
    slow = np.sum(F * G) / math.sqrt(np.sum(F**2) * np.sum(G**2))
    assert_allclose([c_measure(som, X), c_measure(som, scipy.sparse.csr_array(X))], slow)

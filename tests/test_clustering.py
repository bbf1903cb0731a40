import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.cluster import AgglomerativeClustering
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from sklearn_tfsom import TFSOM
from sklearn_tfsom._clustering import cluster_units


@pytest.mark.parametrize("n_clusters", [1, 2, 5, 17, 40])
def test_equal_hits_give_wards_clusters(n_clusters):
    codebook = np.random.RandomState(0).normal(size=(40, 3))
    labels = cluster_units(codebook, np.ones(40), n_clusters)
    expected = AgglomerativeClustering(n_clusters).fit_predict(codebook)
    assert adjusted_rand_score(labels, expected) == 1


@pytest.mark.parametrize("n_clusters", [2, 4, 9])
def test_hits_are_repetitions_of_code_vectors(n_clusters):
    rng = np.random.RandomState(1)
    codebook, hits = rng.normal(size=(30, 3)), rng.randint(1, 6, size=30)
    labels = cluster_units(codebook, hits, n_clusters)
    repeated = np.repeat(np.arange(30), hits)
    expected = AgglomerativeClustering(n_clusters).fit_predict(codebook[repeated])
    assert adjusted_rand_score(labels[repeated], expected) == 1


def test_labels_have_no_gaps_and_follow_the_units():
    rng = np.random.RandomState(2)
    for n_clusters in (1, 3, 7):
        labels = cluster_units(rng.normal(size=(25, 2)), rng.randint(0, 3, size=25), n_clusters)
        _, first = np.unique(labels, return_index=True)
        assert_array_equal(np.unique(labels), np.arange(n_clusters))
        assert (np.diff(first) > 0).all()


def test_units_without_hits_join_the_closest_that_has_some():
    codebook = np.array([[0.0], [1.0], [4.9], [5.2], [10.0]])
    labels = cluster_units(codebook, np.array([3, 0, 0, 0, 2.0]), 2)
    assert_array_equal(labels, [0, 0, 0, 1, 1])


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_far_from_the_origin_and_at_any_scale(offset):
    codebook = np.random.RandomState(0).normal(size=(30, 2))
    expected = cluster_units(codebook, np.ones(30), 4)
    assert_array_equal(cluster_units((codebook + offset) * 1e-30, np.ones(30), 4), expected)
    assert_array_equal(cluster_units(codebook * 1e200 + offset, np.ones(30), 4), expected)


def test_coinciding_code_vectors_are_no_trouble():
    labels = cluster_units(np.repeat([[0.0], [1.0], [5.0]], 4, axis=0), np.ones(12), 3)
    assert_array_equal(labels, np.repeat([0, 1, 2], 4))
    assert_array_equal(np.unique(cluster_units(np.zeros((6, 2)), np.ones(6), 3)), [0, 1, 2])


def test_fewer_distinct_samples_than_clusters_warn():
    X = np.repeat([[0.0, 0], [1, 1], [5, 5]], 5, axis=0)
    with pytest.warns(ConvergenceWarning, match="3 units only, fewer than n_clusters=4"):
        som = TFSOM(5, n_clusters=4).fit(X)
    assert_array_equal(np.unique(som.labels_), [0, 1, 2])
    with pytest.raises(ValueError, match="n_samples=3 must be at least n_clusters=4"):
        TFSOM(5, n_clusters=4).fit(X, sample_weight=[1, 1, 1] + [0] * 12)


def test_two_level_clustering_finds_the_blobs(blobs):
    som = TFSOM((8, 6), n_clusters=3).fit(blobs)
    truth = np.repeat([0, 1, 2], [60, 40, 20])
    assert adjusted_rand_score(truth, som.labels_) > 0.9
    assert_array_equal(som.fit_predict(blobs), som.labels_)
    assert_array_equal(som.cluster_labels_[som.bmus(blobs)], som.labels_)

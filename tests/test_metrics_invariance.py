"""What all measures have in common: weights, order, kinds of data, errors."""

import copy
import functools
import inspect

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from test_metrics import random_map, samples

from sklearn_tfsom import TFSOM, metrics

OF_CODEBOOK = ["u_matrix", "topographic_product"]
OF_CLASSES = ["purity", "class_entropy", "class_scatter_index", "normalized_mutual_information"]
OF_PAIRS = ["trustworthiness", "neighborhood_preservation", "c_measure", "kruskal_shepard_error"]
MEASURES = [name for name in metrics.__all__ if not name.endswith("_scorer")]
OF_SAMPLES = [name for name in MEASURES if name not in OF_CODEBOOK]
CLASSES = np.random.RandomState(4).randint(3, size=60)


@functools.cache
def counts():
    """Sparse data of a kind."""
    X = np.random.RandomState(0).poisson(0.4, size=(60, 12)).astype(float)
    X[7] = 0
    return X


@functools.cache
def fitted(make_data=samples, dtype=np.float64, **params):
    return TFSOM((5, 4), **params).fit(make_data().astype(dtype))


@functools.cache
def fitted_with_names():
    return TFSOM((5, 4)).fit(frame())


def frame():
    return pd.DataFrame(samples(), columns=["a", "b", "c"])


def constant():
    return np.full((60, 3), 0.1)


def tenfold():
    return 10 * samples()


def with_zeros():
    return np.column_stack([samples(), np.zeros(60)])


@functools.cache
def learnt_from_a_stream():
    som = TFSOM((5, 4))
    for seed in range(3):
        som = som.partial_fit(samples(seed))
    return som


def compute(name, som, X, rows=slice(None), sample_weight=None):
    """One array, whatever the measure gives."""
    measure = getattr(metrics, name)
    if name in OF_CODEBOOK:
        return np.asarray(measure(som))
    classes = (CLASSES[rows],) if name in OF_CLASSES else ()
    value = measure(som, X[rows], *classes, sample_weight=sample_weight)
    return np.asarray(value[1] if isinstance(value, tuple) else value)


def test_they_are_all_called_alike():
    for name in MEASURES:
        parameters = inspect.signature(getattr(metrics, name)).parameters
        wanted = ["estimator"]
        if name not in OF_CODEBOOK:
            wanted += ["X", *(["y"] if name in OF_CLASSES else []), "sample_weight"]
        assert list(parameters)[: len(wanted)] == wanted
        for parameter in list(parameters.values()):
            is_keyword = parameter.name not in ("estimator", "X", "y")
            assert (parameter.kind is parameter.KEYWORD_ONLY) == is_keyword
            assert is_keyword == (parameter.default is not inspect.Parameter.empty)


def test_all_are_public_and_documented():
    assert metrics.__all__ == sorted(metrics.__all__)
    for name in MEASURES:
        documented = getattr(metrics, name).__doc__
        for section in ("Parameters", "Returns", "Examples"):
            assert f"    {section}\n    {'-' * len(section)}\n" in documented, (name, section)


@pytest.mark.parametrize("name", OF_SAMPLES)
class TestWeights:
    def test_they_equal_repetition(self, name):
        som, X = random_map("hexagonal", "planar", (5, 4)), samples()
        counts = np.random.RandomState(2).randint(0, 4, size=60)
        repeated = compute(name, som, X, np.repeat(np.arange(60), counts))
        weighted = compute(name, som, X, sample_weight=counts)
        assert_allclose(weighted, repeated, rtol=1e-12, atol=1e-14)
        if name != "class_scatter_index":  # it asks whether there are samples, not how many
            assert not np.allclose(weighted, compute(name, som, X), rtol=1e-6)

    def test_none_removes(self, name):
        som, X = random_map("hexagonal", "planar", (5, 4)), samples()
        X[::5] = 1e6  # were they there, they would be seen
        weights = np.where(np.arange(60) % 5 == 0, 0, np.random.RandomState(2).uniform(1, 2, 60))
        kept = np.flatnonzero(weights)
        removed = compute(name, som, X, kept, weights[kept])
        weighted = compute(name, som, X, sample_weight=weights)
        assert_allclose(weighted, removed, rtol=1e-12, atol=1e-14)

    def test_ones_are_none(self, name):
        som, X = random_map("hexagonal", "planar", (5, 4)), samples()
        unweighted = compute(name, som, X)
        assert_array_equal(compute(name, som, X, sample_weight=np.ones(60)), unweighted)
        assert_array_equal(compute(name, som, X, sample_weight=1), unweighted)

    @pytest.mark.parametrize(
        ("weights", "match"),
        [
            (np.ones(59), r"sample_weight .*60 samples.* Got shape \(59,\)"),
            (np.ones((60, 1)), r"sample_weight .*60 samples.* Got shape \(60, 1\)"),
            (np.r_[np.full(59, 2.0), -1.0], "sample_weight .*negative"),
            (np.zeros(60), "sample_weight .*zero"),
            (np.full(60, np.nan), "sample_weight contains NaN"),
        ],
        ids=["short", "column", "negative", "zero", "nan"],
    )
    def test_bad_ones_are_refused(self, name, weights, match):
        som = random_map("hexagonal", "planar", (4, 3))
        with pytest.raises(ValueError, match=match):
            compute(name, som, samples(), sample_weight=weights)


@pytest.mark.parametrize("name", OF_SAMPLES)
class TestSamples:
    def test_their_order_does_not_matter(self, name):
        som, X = random_map("hexagonal", "planar", (5, 4)), samples()
        order = np.random.RandomState(3).permutation(60)
        weights = np.random.RandomState(2).uniform(0.1, 3, size=60)
        mixed = compute(name, som, X, order, weights[order])
        assert_allclose(mixed, compute(name, som, X, sample_weight=weights), rtol=1e-12)

    @pytest.mark.parametrize("metric", ["euclidean", "cosine"])
    def test_sparse_equal_dense(self, name, metric):
        if name == "log_likelihood" and metric == "cosine":
            return
        X, som = counts(), fitted(counts, metric=metric)
        sparse = compute(name, som, scipy.sparse.csr_array(X))
        assert_allclose(sparse, compute(name, som, X), rtol=1e-9, atol=1e-12)

    def test_of_float32(self, name):
        X = samples().astype(np.float32)
        som = random_map("hexagonal", "planar", (5, 4))
        value = compute(name, som, X)
        assert value.dtype == np.float64
        assert_allclose(value, compute(name, som, X.astype(np.float64)), rtol=1e-6, atol=1e-7)

    def test_in_a_map_of_float32(self, name):
        X = samples().astype(np.float32)
        som = fitted(dtype=np.float32)
        twin = copy.copy(som)
        twin.codebook_ = som.codebook_.astype(np.float64)
        assert_allclose(compute(name, som, X), compute(name, twin, X), rtol=1e-6, atol=1e-7)

    def test_of_a_frame(self, name):
        """No warning of names that are missing, whatever kind of output is asked for."""
        X, som = frame(), fitted_with_names()
        with sklearn.config_context(transform_output="pandas"):
            value = getattr(metrics, name)(som, X, *([CLASSES] if name in OF_CLASSES else []))
        value = value[1] if isinstance(value, tuple) else value
        assert_array_equal(value, compute(name, fitted(), samples()))

    @pytest.mark.parametrize("dtype", [np.int16, np.float64])
    def test_on_disk(self, name, dtype, tmp_path, monkeypatch):
        monkeypatch.setattr("sklearn_tfsom._data.samples._MIN_BYTES_ON_DISK", 1)
        X = tenfold().astype(dtype)
        np.save(tmp_path / "X.npy", X)
        som = fitted(tenfold, dtype)
        on_disk = compute(name, som, np.load(tmp_path / "X.npy", mmap_mode="r"))
        assert_allclose(on_disk, compute(name, som, X), rtol=1e-12)

    @pytest.mark.parametrize(
        ("X", "match"),
        [
            (np.full((60, 3), np.nan), r"Sample 0 of X is missing \(NaN\)"),
            (np.full((60, 3), np.inf), "X contains infinity"),
            (np.ones((60, 2)), "X has 2 features, but TFSOM is expecting 3 features"),
            (np.ones(60), "Expected 2D array, got 1D array instead"),
            (np.ones((0, 3)), r"0 sample\(s\)"),
        ],
        ids=["nan", "infinity", "features", "1-d", "empty"],
    )
    def test_bad_ones_are_refused(self, name, X, match):
        with pytest.raises(ValueError, match=match):
            compute(name, random_map("hexagonal", "planar", (4, 3)), X)

    def test_a_missing_value_is_named_by_its_row(self, name, monkeypatch):
        monkeypatch.setattr("sklearn_tfsom.metrics._reading._TILE_VALUES", 60)
        X = samples()
        X[41] = np.nan
        with pytest.raises(ValueError, match="Sample 41 of X"):
            compute(name, random_map("hexagonal", "planar", (4, 3)), X)

    def test_few(self, name):
        if name in ("trustworthiness", "neighborhood_preservation"):
            return  # they need three
        for shape in [(1, 1), (1, 2), (4, 3)]:
            som = random_map("hexagonal", "toroidal", shape)
            for n_samples in (1, 2):
                assert np.isfinite(compute(name, som, samples(), slice(n_samples))).all()

    def test_that_are_equal(self, name):
        assert np.isfinite(compute(name, fitted(constant), constant())).all()

    def test_missing_values_are_left_out(self, name):
        """A feature that no sample knows says nothing of them."""
        som, without = fitted(with_zeros), copy.copy(fitted())
        without.codebook_ = som.codebook_[:, :3]
        without.hits_ = som.hits_
        X = np.column_stack([samples(), np.full(60, np.nan)])
        if name in OF_PAIRS:
            with pytest.raises(ValueError, match="holds missing values"):
                compute(name, som, X)
        elif name == "log_likelihood":  # its variance is that of the training, by feature
            assert np.isfinite(compute(name, som, X))
        else:
            expected = compute(name, without, X[:, :3])
            assert_allclose(compute(name, som, X), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", MEASURES)
class TestMap:
    def test_it_is_left_as_it_was(self, name):
        som = random_map("hexagonal", "planar", (5, 4))
        before = copy.deepcopy(vars(som))
        X, kept = samples(), samples()
        compute(name, som, X)
        assert_array_equal(X, kept)
        assert vars(som).keys() == before.keys()
        for key, value in before.items():
            if not isinstance(value, dict):
                assert_array_equal(vars(som)[key], value)

    @pytest.mark.parametrize(
        "params",
        [
            {"features": "coordinates"},
            {"features": "activations"},
            {"lattice": "rectangular", "boundary": "toroidal", "grid_size": (3, 3)},
            {"metric": "manhattan"},
            {"radius_end": 3.0},
        ],
        ids=lambda params: "-".join(params),
    )
    def test_parameters_set_after_fit_change_nothing(self, name, params):
        som = random_map("hexagonal", "planar", (5, 4))
        before = compute(name, som, samples())
        som.set_params(**params)
        assert_array_equal(compute(name, som, samples()), before)

    def test_one_of_clusters_is_measured_by_its_units(self, name):
        clustered = compute(name, fitted(n_clusters=2), samples())
        assert_array_equal(clustered, compute(name, fitted(), samples()))

    def test_one_that_was_not_fitted_is_refused(self, name):
        with pytest.raises(NotFittedError, match="This TFSOM instance is not fitted yet"):
            compute(name, TFSOM((4, 3)), samples())

    def test_one_that_learnt_a_stream(self, name):
        assert np.isfinite(compute(name, learnt_from_a_stream(), samples())).all()

"""Properties that all measures have in common: weights, order, kinds of data, errors."""

import copy
import functools

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from reference_measures import (
    CLASSES,
    MEASURES,
    REFERENCES,
    arguments_of,
    compute,
    random_map,
    samples,
)
from sklearn.exceptions import NotFittedError

from sklearn_tfsom import TFSOM, metrics

OF_SAMPLES = [name for name in MEASURES if "X" in arguments_of(getattr(metrics, name))]
WEIGHTS = np.random.RandomState(2).randint(1, 4, size=60)


@functools.cache
def fitted(make_samples=samples, dtype=np.float64, **params):
    return TFSOM((5, 4), **params).fit(make_samples().astype(dtype))


def sparse_samples():
    X = np.random.RandomState(0).poisson(0.4, size=(60, 12)).astype(float)
    X[5] = X[17]
    X[7] = X[8] = 0
    return X


def equal_samples():
    return np.full((60, 3), 0.1)


# Measures that a power of two multiplies by itself, or leaves as they are.
SQUARES = ("distortion", "heskes_energy", "log_likelihood")
OF_ANY_SIZE = [name for name in MEASURES if name not in SQUARES]
IN_DATA_UNITS = ("combined_error", "quantization_error", "u_matrix")


@pytest.mark.parametrize("name", OF_ANY_SIZE)
@pytest.mark.parametrize("exponent", [-900, 900])
def test_samples_of_any_size(name, exponent):
    X, scale = samples(), 2.0**exponent
    expected = compute(name, fitted(), X)
    value = compute(name, TFSOM((5, 4)).fit(X * scale), X * scale)
    assert_allclose(value / (scale if name in IN_DATA_UNITS else 1), expected, rtol=1e-9)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("value", [1e15, 1e18])
def test_constant_feature_has_no_effect(name, value):
    """It changes no distance, wherever it lies."""
    X = samples()

    def measured(constant):
        data = np.column_stack([X, np.full(len(X), constant)])
        return compute(name, TFSOM((5, 4)).fit(data), data)

    assert_allclose(measured(value), measured(0.0), rtol=1e-9)


@pytest.mark.parametrize("name", OF_SAMPLES)
class TestWeights:
    def test_weights_of_equal_samples_are_added(self, name):
        som, X = random_map(shape=(5, 4)), samples()
        rows, shares = np.repeat(np.arange(60), 2), np.tile([0.25, 0.75], 60)
        split = compute(name, som, X, rows=rows, sample_weight=WEIGHTS[rows] * shares)
        expected = compute(name, som, X, sample_weight=WEIGHTS)
        assert_allclose(split, expected, rtol=1e-12, atol=1e-14)

    def test_samples_of_weight_zero_are_ignored(self, name):
        som, X = random_map(shape=(5, 4)), samples()
        X[::5] = 1e200  # their squared distances exceed the range of float64
        if not REFERENCES[name].allows_missing:
            X[::5, 1] = np.nan
        weights = np.where(np.arange(60) % 5 == 0, 0, WEIGHTS)
        rows = np.flatnonzero(weights)
        expected = compute(name, som, X, rows=rows, sample_weight=weights[rows])
        weighted = compute(name, som, X, sample_weight=weights)
        assert_allclose(weighted, expected, rtol=1e-12, atol=1e-14)

    def test_weight_one_is_the_default(self, name):
        som, X = random_map(shape=(5, 4)), samples()
        expected = compute(name, som, X)
        assert_array_equal(compute(name, som, X, sample_weight=np.ones(60)), expected)
        assert_array_equal(compute(name, som, X, sample_weight=1), expected)

    @pytest.mark.parametrize(
        ("weights", "match"),
        [
            (np.ones(59), r"sample_weight .*60 samples.* Got shape \(59,\)"),
            (np.ones((60, 1)), r"sample_weight .*60 samples.* Got shape \(60, 1\)"),
            (np.r_[np.full(59, 2.0), -1.0], "sample_weight .*negative"),
            (np.zeros(60), "sample_weight .*zero"),
            (np.full(60, np.nan), "sample_weight contains NaN"),
            (np.full(60, np.inf), "sample_weight contains infinity"),
        ],
        ids=["short", "column", "negative", "zero", "nan", "infinity"],
    )
    def test_invalid_weights(self, name, weights, match):
        for shape in [(1, 1), (4, 3)]:
            with pytest.raises(ValueError, match=match):
                compute(name, random_map(shape=shape), samples(), sample_weight=weights)


@pytest.mark.parametrize("name", OF_SAMPLES)
class TestSamples:
    def test_order_of_samples(self, name):
        som, X = random_map(shape=(5, 4)), samples()
        order = np.random.RandomState(3).permutation(60)
        shuffled = compute(name, som, X, rows=order, sample_weight=WEIGHTS[order])
        assert_allclose(shuffled, compute(name, som, X, sample_weight=WEIGHTS), rtol=1e-12)

    @pytest.mark.parametrize("metric", ["euclidean", "cosine"])
    def test_sparse_samples(self, name, metric):
        if metric in REFERENCES[name].metrics:
            X, som = sparse_samples(), fitted(sparse_samples, metric=metric)
            expected = compute(name, som, X)
            for make_sparse in (scipy.sparse.csr_array, scipy.sparse.csr_matrix):
                value = compute(name, som, make_sparse(X))
                assert_allclose(value, expected, rtol=1e-9, atol=1e-12)

    def test_samples_in_float32(self, name):
        som, X = random_map(shape=(5, 4)), samples().astype(np.float32)
        value = compute(name, som, X)
        assert value.dtype == np.float64
        assert_allclose(value, compute(name, som, X.astype(np.float64)), rtol=1e-6, atol=1e-7)

    def test_data_frame(self, name):
        """Any warning about feature names is an error in the tests."""
        X = pd.DataFrame(samples(), columns=["a", "b", "c"])
        som = TFSOM((5, 4)).fit(X)
        y = [CLASSES] * ("y" in arguments_of(getattr(metrics, name)))
        with sklearn.config_context(transform_output="pandas"):
            value = getattr(metrics, name)(som, X, *y)
        value = value[-1] if isinstance(value, tuple) else value
        assert_array_equal(value, compute(name, fitted(), samples()))

    def test_few_samples(self, name):
        params = REFERENCES[name].params
        fewest = 2 * params.get("n_neighbors", 0) + 1
        for shape in [(1, 1), (1, 2), (4, 3)]:
            som = random_map("hexagonal", "toroidal", shape)
            for rows in (slice(fewest), slice(fewest + 1)):
                assert np.isfinite(compute(name, som, samples(), rows=rows, **params)).all()

    def test_equal_samples(self, name):
        assert np.isfinite(compute(name, fitted(equal_samples), equal_samples())).all()

    @pytest.mark.parametrize(
        ("X", "match"),
        [
            (np.where(np.arange(60)[:, None] == 41, np.nan, samples()), "Sample 41 of X"),
            (np.full((60, 3), np.inf), "X contains infinity"),
            (np.ones((60, 2)), "X has 2 features, but TFSOM is expecting 3 features"),
            (np.ones(60), "Expected 2D array, got 1D array instead"),
            (np.ones((0, 3)), r"0 sample\(s\)"),
        ],
        ids=["nan", "infinity", "features", "1-d", "empty"],
    )
    def test_invalid_samples(self, name, X, match):
        for shape in [(1, 1), (4, 3)]:
            with pytest.raises(ValueError, match=match):
                compute(name, random_map(shape=shape), X)


@pytest.mark.parametrize("name", MEASURES)
class TestMap:
    def test_mirrored_map(self, name):
        som, mirrored = (random_map("rectangular", shape=(6, 5)) for _ in range(2))
        mirrored.codebook_ = som.codebook_.reshape(6, 5, -1)[::-1].reshape(30, -1)
        mirrored.hits_ = som.hits_.reshape(6, 5)[::-1].ravel()
        expected = compute(name, som, samples())
        expected = expected[::-1] if expected.ndim == 2 else expected
        assert_allclose(compute(name, mirrored, samples()), expected, rtol=1e-12)

    def test_large_map(self, name):
        """Compare computations in several tiles, and for samples also in one tile."""
        shape = (42, 50)
        som, mirrored = (random_map("rectangular", shape=shape) for _ in range(2))
        mirrored.codebook_ = som.codebook_.reshape(*shape, -1)[::-1].reshape(2100, -1)
        mirrored.hits_ = som.hits_.reshape(shape)[::-1].ravel()
        X, rows = samples(n_samples=700), np.tile(np.arange(700), 3)
        y, weights = np.random.RandomState(4).randint([[3], [9]], size=(2, 700))
        expected = compute(name, som, X, y, sample_weight=3 * weights)
        expected = expected[::-1] if expected.ndim == 2 else expected
        value = compute(name, mirrored, X, y, rows=rows, sample_weight=weights[rows])
        assert_allclose(value, expected, rtol=1e-9)

    def test_map_in_float32(self, name):
        X = samples().astype(np.float32)
        som = fitted(dtype=np.float32)
        converted = copy.copy(som)
        converted.codebook_ = som.codebook_.astype(np.float64)
        value = compute(name, som, X)
        assert value.dtype == np.float64
        assert_allclose(value, compute(name, converted, X), rtol=1e-6, atol=1e-7)

    def test_map_and_samples_do_not_change(self, name):
        som, X = random_map(shape=(5, 4)), samples()
        before, X_before = copy.deepcopy(vars(som)), X.copy()
        compute(name, som, X)
        assert_array_equal(X, X_before)
        assert vars(som).keys() == before.keys()
        for key, value in before.items():
            if not isinstance(value, dict):
                assert_array_equal(vars(som)[key], value)

    @pytest.mark.parametrize(
        "params",
        [
            {"features": "coordinates", "anomaly_score": "u_height"},
            {"lattice": "rectangular", "boundary": "toroidal", "grid_size": (3, 3)},
            {"metric": "manhattan"},
            {"neighborhood": "bubble", "radius_end": 3.0},
        ],
        ids=lambda params: "-".join(params),
    )
    def test_parameters_set_after_fit(self, name, params):
        som = random_map(shape=(5, 4))
        expected = compute(name, som, samples())
        som.set_params(**params)
        assert_array_equal(compute(name, som, samples()), expected)

    def test_map_with_clusters(self, name):
        value = compute(name, fitted(n_clusters=2), samples())
        assert_array_equal(value, compute(name, fitted(), samples()))

    def test_map_that_is_not_fitted(self, name):
        with pytest.raises(NotFittedError, match="This TFSOM instance is not fitted yet"):
            compute(name, TFSOM((4, 3)), samples())


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory):
    """Return samples on disk, so large that they are read in tiles, in memory, and a map."""
    path = tmp_path_factory.mktemp("samples") / "X.npy"
    X = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=(60, 140_000))
    X[:, :3] = samples()
    X.flush()
    in_memory = np.array(X)
    som = TFSOM((2, 2), init=in_memory[:4], max_iter=1, radius_decay=[1.0])
    return np.load(path, mmap_mode="r"), in_memory, som.fit(X)


@pytest.mark.parametrize("name", OF_SAMPLES)
def test_samples_on_disk(name, on_disk):
    X, in_memory, som = on_disk
    assert_allclose(compute(name, som, X), compute(name, som, in_memory), rtol=1e-12)

"""Sparse samples give the results of dense ones, and are never made dense as a whole."""

import tracemalloc
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from sklearn_tfsom import TFSOM
from sklearn_tfsom._data.moments import compute_moments
from sklearn_tfsom._data.pieces import Pieces
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._distance import METRICS
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.initialization import initial_codebook
from sklearn_tfsom._search import nearest as nearest_module
from sklearn_tfsom._search.exact import search_exactly
from sklearn_tfsom._validation import InvalidParameterError
from sklearn_tfsom.distributed import unit_statistics

FORMATS = ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"]
SPARSE = [name for name, metric in METRICS.items() if metric.allows_sparse]


def pieces_of(X, weights):
    return Pieces(Samples(X, METRICS["euclidean"]), weights)


def sparse_data(n_samples=300, n_features=12, density=0.3, seed=0, dtype=np.float64):
    """Rows of five kinds, each with features of its own."""
    rng = np.random.RandomState(seed)
    kind = rng.randint(5, size=n_samples)
    likely = rng.uniform(0, 2 * density, size=(5, n_features))[kind]
    X = rng.exponential(size=(n_samples, n_features)) * (rng.uniform(size=likely.shape) < likely)
    X[X.sum(axis=1) == 0, 0] = 1
    return X.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_frame_of_sparse_columns_equals_its_matrix(dtype):
    X = scipy.sparse.csr_matrix(sparse_data(60, 4, dtype=dtype))
    frame = pd.DataFrame.sparse.from_spmatrix(X, columns=list("abcd"))
    som, expected = TFSOM(3).fit(frame), TFSOM(3).fit(X)
    assert som.feature_names_in_.tolist() == list("abcd")
    assert som.codebook_.dtype == som.transform(frame).dtype == dtype
    assert_array_equal(som.codebook_, expected.codebook_)
    assert_array_equal(som.transform(frame), expected.transform(X))


@pytest.mark.parametrize("metric", SPARSE)
@pytest.mark.parametrize("shape", [(300, 12), (40, 90), (500, 3), (7, 1), (1000, 20)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_results_are_those_of_dense_samples(shape, metric, dtype):
    X = sparse_data(*shape, dtype=dtype)
    new = sparse_data(*shape, seed=1, dtype=dtype)
    weights = np.random.RandomState(0).uniform(0, 2, size=len(X))
    tolerance = 1e-8 if dtype == np.float64 else 2e-4
    params = {"metric": metric, "tol": 0, "max_iter": 12}
    for start in ({"init": "pca"}, {"init": X[:20] + 0.1} if len(X) > 20 else {"init": "random"}):
        dense = TFSOM((5, 4), **params, **start, random_state=0).fit(X, sample_weight=weights)
        sparse = TFSOM((5, 4), **params, **start, random_state=0)
        sparse.fit(csr_array(X), sample_weight=weights)
        assert sparse.codebook_.dtype == dtype
        assert_allclose(sparse.codebook_, dense.codebook_, atol=tolerance, rtol=0)
        first, expected = (som.history_["quantization_error"][0] for som in (sparse, dense))
        assert first == pytest.approx(expected, rel=1e-5)
        expected = pytest.approx(dense.quantization_error_, abs=tolerance)
        assert sparse.quantization_error_ == expected
        if dtype == np.float64:
            assert_array_equal(sparse.labels_, dense.labels_)
            assert_allclose(sparse.hits_, dense.hits_)
        # The same codebook from here on.
        sparse.codebook_ = dense.codebook_
        assert_array_equal(sparse.predict(csr_array(new)), dense.predict(new))
        assert_allclose(sparse.transform(csr_array(new)), dense.transform(new), atol=tolerance)
        assert sparse.transform(csr_array(new)).dtype == dtype
        found, expected = (
            som.bmus(data, 4, return_distance=True)
            for som, data in [(sparse, csr_array(new)), (dense, new)]
        )
        assert_allclose(found[0], expected[0], atol=tolerance)
        assert_array_equal(found[1], expected[1])
        assert sparse.score(csr_array(new)) == pytest.approx(dense.score(new), rel=1e-6)
        assert_array_equal(sparse.quantize(csr_array(new)), dense.quantize(new))


@pytest.mark.parametrize("init", ["sample", "random"])
def test_starts_are_those_of_dense_samples(init):
    X = sparse_data(200)
    maps = [TFSOM((4, 4), init=init, random_state=3).fit(data) for data in (X, csr_array(X))]
    assert_allclose(maps[1].codebook_, maps[0].codebook_, atol=1e-10)


def test_automatic_size_is_that_of_dense_samples():
    X = sparse_data(500, 9)
    assert TFSOM().fit(csr_array(X)).grid_shape_ == TFSOM().fit(X).grid_shape_


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("make", ["array", "matrix"])
def test_every_format(kind, make):
    X = sparse_data(80)
    data = getattr(scipy.sparse, f"{kind}_{make}")(X)
    expected = TFSOM((3, 3)).fit(csr_array(X))
    som = TFSOM((3, 3)).fit(data)
    assert_array_equal(som.codebook_, expected.codebook_)
    for method in ("predict", "transform", "score_samples", "quantize", "bmus"):
        assert_array_equal(getattr(som, method)(data), getattr(expected, method)(csr_array(X)))
    assert som.partial_fit(data).n_samples_seen_ == 160


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_indices_of_either_width_duplicates_and_stored_zeros(dtype):
    X = sparse_data(60)
    expected = TFSOM((3, 3)).fit(csr_array(X))
    messy = scipy.sparse.coo_array(X)
    row, column = messy.coords
    # Half of each value twice, in any order, and zeros between.
    order = np.random.RandomState(0).permutation(2 * len(row) + 60)
    rows = np.concatenate([row, row, np.arange(60)])[order]
    columns = np.concatenate([column, column, np.full(60, 5)])[order]
    values = np.concatenate([messy.data / 2, messy.data / 2, np.zeros(60)])[order]
    by_row = np.argsort(rows, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows))])
    data = csr_array((values[by_row], columns[by_row], indptr), shape=X.shape)
    data.indices, data.indptr = data.indices.astype(dtype), data.indptr.astype(dtype)
    before = data.copy()
    som = TFSOM((3, 3)).fit(data)
    assert_allclose(som.codebook_, expected.codebook_, atol=1e-12)
    assert_array_equal(som.predict(data), expected.labels_)
    for part in ("data", "indices", "indptr"):  # the user's matrix is not changed
        assert_array_equal(getattr(data, part), getattr(before, part))


@pytest.mark.parametrize(("dtype", "value"), [("bool", 1), ("int8", 100), ("uint8", 200)])
@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_duplicates_are_summed_in_the_dtype_of_the_data(dtype, value, kind):
    indices, indptr = np.array([0, 1, 1, 2, 0, 0, 2]), np.array([0, 3, 4, 7])
    make = getattr(scipy.sparse, f"{kind}_array")
    data = make((np.full(7, value, dtype), indices, indptr), shape=(3, 3))
    som = TFSOM((1, 2), max_iter=2).fit(np.eye(3))
    assert_allclose(som.transform(data), som.transform(data.toarray()))


@pytest.mark.parametrize("metric", SPARSE)
def test_memory_behind_the_last_stored_value_is_not_read(metric):
    X = csr_array(sparse_data(60))
    data = X.copy()
    data.data, data.indices = np.append(X.data, np.nan), np.append(X.indices, 0)
    som, expected = (TFSOM((3, 3), metric=metric).fit(samples) for samples in (data, X))
    assert_array_equal(som.codebook_, expected.codebook_)
    assert_array_equal(som.transform(data), expected.transform(X))
    assert len(data.data) == X.nnz + 1


@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict", "transform", "impute"])
@pytest.mark.parametrize("kind", ["csr", "csc", "bsr", "coo"])
@pytest.mark.parametrize("index", [-1, 12, 10**8])
def test_indices_beyond_the_shape_are_refused(kind, index, method):
    """SciPy accepts them, and reads and writes memory beyond its arrays."""
    X = scipy.sparse.coo_array(sparse_data(12))
    som = TFSOM((2, 2), max_iter=2).fit(X)
    data = X.asformat(kind)
    (data.col if kind == "coo" else data.indices)[-1] = index
    with pytest.raises(ValueError, match=r"^X must be sparse data whose indices fit its shape"):
        getattr(som, method)(data)


@pytest.mark.parametrize(("indices", "n_values"), [([12], 1), ([-1], 1), ([0, 1], 1), ([0], 2)])
def test_lists_that_do_not_fit_are_refused(indices, n_values):
    data = scipy.sparse.lil_array(sparse_data(12))
    data.rows[0], data.data[0] = indices, [1.0] * n_values
    with pytest.raises(ValueError, match=r"^X must be sparse data whose indices fit its shape"):
        TFSOM((2, 2)).fit(data)


def test_indices_that_are_no_integers_are_refused():
    data = csr_array(sparse_data(12))
    data.indices = data.indices.astype(float)
    with pytest.raises(ValueError, match=r"indices fit .* Got others: indices must be integers"):
        TFSOM((2, 2)).fit(data)


def test_rows_that_do_not_end_where_the_next_begins_are_refused():
    data = csr_array(sparse_data(12))
    data.indptr[3] = data.nnz
    with pytest.raises(
        ValueError, match=r"indices fit its shape \(12, 12\)\. Got others: .*indptr"
    ):
        TFSOM((2, 2)).fit(data)


def test_samples_are_never_made_dense_as_a_whole():
    """20,000 features: dense, these samples would take 160 MB."""
    rng = np.random.default_rng(0)
    X = scipy.sparse.random_array((1000, 20_000), density=2e-4, rng=rng, format="csr")
    TFSOM((2, 3), max_iter=3).fit(X[:10])  # the first fit imports modules
    tracemalloc.start()
    try:
        som = TFSOM((2, 3), max_iter=3).fit(X)
        assert som.codebook_.shape == (6, 20_000)
        assert som.transform(X).shape == (1000, 6)
        som.partial_fit(X[:500])
        assert som.predict(X[:500]).shape == (500,)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 80e6


@pytest.mark.parametrize("n_features", [40, 1500])
def test_moments_are_those_of_dense_samples(n_features):
    X = sparse_data(300, n_features, density=0.1)
    weights = np.random.RandomState(0).uniform(0.1, 2, size=300)
    dense = compute_moments(pieces_of(X, weights))
    sparse = compute_moments(pieces_of(csr_array(X), weights))
    for one, other in zip(dense[:4], sparse[:4], strict=True):
        assert_allclose(other, one, rtol=1e-7, atol=1e-8)
    features = compute_moments(pieces_of(csr_array(X), weights), has_components=False)
    assert_allclose(features.spread, dense.spread, rtol=1e-12)
    deviations = np.sqrt(np.average((X - dense.mean) ** 2, axis=0, weights=weights))
    largest = deviations.argsort()[::-1][:2]
    assert_allclose(features.deviations, deviations[largest], rtol=1e-12)
    assert_array_equal(features.directions, np.eye(n_features)[largest])


def test_weights_are_repetitions_in_moments_of_many_features():
    X = sparse_data(100, 1300, density=0.05)
    counts = np.random.RandomState(0).randint(0, 3, size=100)
    repeated = np.random.RandomState(1).permutation(np.repeat(X, counts, axis=0))
    kept = counts > 0
    one = compute_moments(pieces_of(csr_array(X[kept]), counts[kept].astype(float)))
    other = compute_moments(pieces_of(csr_array(repeated), np.ones(len(repeated))))
    for a, b in zip(one[:4], other[:4], strict=True):
        assert_allclose(a, b, rtol=1e-7, atol=1e-9)
    start = initial_codebook("pca", Grid(3, 3), pieces_of(csr_array(X), counts), one, None)
    assert start.shape == (9, 1300)


@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("n_features", [3, 200])
def test_search_is_exact_beside_ties(offset, n_features):
    """Samples in the middle between code vectors, on them, and far from the origin."""
    rng = np.random.RandomState(0)
    codebook = rng.normal(size=(30, n_features)) + offset
    codebook[12] = codebook[5]
    middle = (codebook[:-1] + codebook[1:]) / 2
    X = np.vstack([codebook, middle + rng.normal(size=middle.shape) * 1e-9, middle * 0])
    som = TFSOM((5, 6), init=codebook).fit(codebook)
    som.codebook_ = codebook
    assert_array_equal(som.predict(csr_array(X)), som.predict(X))
    assert_array_equal(som.predict(csr_array(codebook))[[5, 12]], 5)
    assert_allclose(som.bmus(csr_array(codebook), return_distance=True)[0], 0, atol=1e-12)
    assert_allclose(np.diag(som.transform(csr_array(codebook))), 0, atol=1e-12)
    assert_allclose(som.transform(csr_array(X)), som.transform(X), rtol=1e-9, atol=1e-9)


def test_many_near_ties():
    base = scipy.sparse.random_array((9, 4000), density=0.02, rng=np.random.default_rng(0))
    base = base.toarray()
    codebook = np.repeat(base, 2, axis=0)
    for unit in range(9):
        codebook[2 * unit + 1, np.flatnonzero(base[unit])[0]] += 1e-8
    som = TFSOM((3, 6), max_iter=1).fit(base)
    som.codebook_ = codebook
    samples = csr_array(codebook[1::2][np.random.RandomState(0).randint(0, 9, 3000)])
    distances, bmus = som.bmus(samples, return_distance=True)
    assert (bmus % 2 == 1).all()
    assert_allclose(distances, 0, atol=1e-12)


def test_values_too_large_are_refused_as_with_dense_samples():
    som = TFSOM(4).fit(sparse_data(50))
    far = np.full((2, 12), 1e200)
    for method in (som.predict, som.transform, som.score, som.bmus):
        for data in (far, csr_array(far)):
            with pytest.raises(ValueError, match=r"^X contains values too large: "):
                method(data)


@pytest.mark.parametrize("metric", SPARSE)
def test_empty_rows(metric):
    X = sparse_data(50)
    X[[0, 17]] = 0
    dense, sparse = (TFSOM((3, 3), metric=metric).fit(data) for data in (X, csr_array(X)))
    assert_allclose(sparse.codebook_, dense.codebook_, atol=1e-12)
    nothing = csr_array((4, 12))
    assert_array_equal(sparse.predict(nothing), dense.predict(np.zeros((4, 12))))
    assert_allclose(sparse.transform(nothing), dense.transform(np.zeros((4, 12))), atol=1e-12)
    if metric == "euclidean":
        constant = TFSOM((2, 2)).fit(nothing)
        assert_array_equal(constant.codebook_, 0)
    else:
        with pytest.raises(ValueError, match="no sample of positive weight that has a direction"):
            TFSOM((2, 2), metric=metric).fit(nothing)


def test_one_of_many_empty_rows_is_compared_exactly():
    """Under "cosine" they are equally far from all units, and so the same near ties."""
    rng = np.random.default_rng(0)
    codebook, X = (
        scipy.sparse.random_array((n_rows, 5000), density=0.02, rng=rng, format="csr")
        for n_rows in (100, 600)
    )
    som = TFSOM.from_codebook(codebook.toarray(), grid_size=10, metric="cosine")
    half_empty = scipy.sparse.vstack([X, csr_array((1, 5000))], format="csr")
    half_empty = half_empty[np.where(np.arange(600) % 2, np.arange(600), 600)]

    expected = np.arange(3) + np.zeros((300, 1))
    for samples in (half_empty, half_empty.toarray()):
        with mock.patch.object(nearest_module, "search_exactly", wraps=search_exactly) as exactly:
            found = som.bmus(samples, 3)
        assert_array_equal(found[::2], expected)
        assert_array_equal(found[1::2], som.bmus(X[1::2], 3))
        assert sum(len(call.args[0].norms) for call in exactly.call_args_list) < 300


@pytest.mark.parametrize("metric", SPARSE)
@pytest.mark.parametrize("neighborhood", ["bubble", "gaussian"])
def test_weights_are_repetitions_in_any_order(metric, neighborhood):
    X = sparse_data(120)
    counts = np.random.RandomState(0).randint(0, 4, size=120)
    repeated = np.random.RandomState(1).permutation(np.repeat(X, counts, axis=0))
    for params in ({}, {"batch_size": 30}):
        params = {"metric": metric, "neighborhood": neighborhood, **params}
        weighted = TFSOM((4, 3), **params).fit(csr_array(X), sample_weight=counts)
        other = TFSOM((4, 3), **params).fit(csr_array(repeated))
        assert_allclose(weighted.codebook_, other.codebook_, atol=1e-9)


def test_values_far_from_zero():
    """Squares of 1.7e9, a time in seconds, keep no digit of a difference of 1."""
    X = np.array([[1.7e9, 0], [1.7e9 + 1, 0], [1.7e9 + 1, 3]] * 50)
    som, expected = TFSOM((3, 3)).fit(csr_array(X)), TFSOM((3, 3)).fit(X)
    assert_allclose(som.codebook_ - [1.7e9, 0], expected.codebook_ - [1.7e9, 0], atol=1e-5)


def test_equal_rows_are_their_mean():
    row = sparse_data(1, 64)[0]
    som = TFSOM(3).fit(csr_array(np.tile(row, (3001, 1))))
    assert som.history_["quantization_error"][0] == 0
    assert_allclose(som.codebook_, np.tile(row, (9, 1)), rtol=1e-12)


def test_values_of_any_size():
    X = sparse_data(60)
    expected = TFSOM((3, 3)).fit(csr_array(X)).codebook_
    for scale in (1e-300, 1e-30, 1e30, 1e300):
        som = TFSOM((3, 3)).fit(csr_array(X * scale))
        assert_allclose(som.codebook_ / scale, expected, atol=1e-9)
    for scale in (1e-30, 1e30):
        som = TFSOM((3, 3)).fit(csr_array((X * scale).astype(np.float32)))
        assert_allclose(som.codebook_.astype(float) / scale, expected, atol=1e-4)


@pytest.mark.parametrize("metric", [name for name in METRICS if name not in SPARSE])
def test_metrics_of_dense_samples_only(metric):
    X = sparse_data(40)
    sentence = (
        f"^The 'metric' parameter of TFSOM must be one of {', '.join(map(repr, SPARSE))} for "
        "sparse X. "
        f"Got '{metric}' instead.$"
    )
    with pytest.raises(InvalidParameterError, match=sentence):
        TFSOM((3, 3), metric=metric).fit(csr_array(X))
    with pytest.raises(InvalidParameterError, match=sentence):
        TFSOM((3, 3), metric=metric).fit(X).transform(csr_array(X))


def test_impute_returns_a_copy():
    X = csr_array(sparse_data(40))
    som = TFSOM((3, 3)).fit(X)
    imputed = som.impute(X)
    assert (imputed != X).nnz == 0
    assert imputed is not X


def test_clusters_in_a_pipeline():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    documents = ["red apple", "apple pie", "apple", "steam engine", "old engine", "engine"]
    pipeline = make_pipeline(TfidfVectorizer(), TFSOM((1, 6), metric="cosine", n_clusters=2))
    labels = pipeline.fit_predict(documents)
    assert_array_equal(labels, [0, 0, 0, 1, 1, 1] if labels[0] == 0 else [1, 1, 1, 0, 0, 0])


@pytest.mark.parametrize("offset", [0.0, 10.0, 1000.0])
def test_errors_of_training_are_those_of_dense_samples(offset):
    X = np.random.default_rng(0).normal(size=(3000, 20)) + offset
    som = TFSOM((10, 10), init=X[:100], max_iter=4)
    expected = som.fit(X).history_["quantization_error"]
    found = som.fit(csr_array(X)).history_["quantization_error"]
    assert_allclose(found, expected, rtol=1e-5)


def test_errors_of_equal_code_vectors_far_from_zero():
    X = np.random.default_rng(0).normal(size=(3000, 50)) + 1e4
    codebook = np.tile(X.mean(axis=0), (4, 1))
    error = np.linalg.norm(X - codebook[0], axis=1).mean()
    statistics = unit_statistics(csr_array(X), codebook)
    assert statistics.error / 3000 == pytest.approx(error, rel=1e-5)
    som = TFSOM(2, init=codebook, max_iter=3).fit(csr_array(X))
    assert som.history_["quantization_error"][0] == pytest.approx(error, rel=1e-5)


def test_missing_values_far_from_zero_are_imputed_as_well_as_after_a_dense_fit():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)) + 1e8
    given = np.where(rng.uniform(size=X.shape) < 0.4, np.nan, X)
    given[:, 0] = X[:, 0]
    errors = [
        np.sqrt(np.nanmean((TFSOM((5, 4)).fit(data).impute(given) - X) ** 2))
        for data in (X, csr_array(X))
    ]
    assert errors[1] < 1.2 * errors[0]

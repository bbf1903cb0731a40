"""Metrics other than the Euclidean one, against SciPy and the slow reference."""

import math

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits, load_iris

from sklearn_tfsom import TFSOM
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._validation import InvalidParameterError
from sklearn_tfsom.metrics import quantization_error, topographic_error, u_matrix

CDIST = {
    "euclidean": "euclidean",
    "cosine": "cosine",
    "correlation": "correlation",
    "manhattan": "cityblock",
    "chebyshev": "chebyshev",
}
METRICS = list(CDIST)
OTHERS = METRICS[1:]
SPHERICAL = ["cosine", "correlation"]
ABSOLUTE = ["manhattan", "chebyshev"]
RADII = [2.0, 1.5, 1.0, 0.8]


@pytest.fixture(scope="module", name="X")
def blobs():
    rng = np.random.RandomState(0)
    centers = rng.normal(size=(6, 5)) * 3
    return centers[rng.randint(6, size=200)] + rng.normal(size=(200, 5)) + 1


def closest(distances):
    """Lowest index among the closest within rounding."""
    return np.argmax(distances <= distances.min(axis=1, keepdims=True) * (1 + 1e-12), axis=1)


def unit_rows(X, metric):
    if metric == "correlation":
        X = X - X.mean(axis=1, keepdims=True)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def slow_map(X, codebook, radii, shape, metric, sample_weight=None):
    """Winner by SciPy's distance; mean of the samples, or of their directions."""
    weights = np.ones(len(X)) if sample_weight is None else sample_weight
    values = unit_rows(X, metric) if metric in SPHERICAL else X
    for radius in radii:
        H = reference.neighborhood_matrix(shape, "hexagonal", "planar", "gaussian", radius)
        share = H[:, closest(cdist(X, codebook, CDIST[metric]))] * weights
        codebook = share @ values / share.sum(axis=1, keepdims=True)
        if metric in SPHERICAL:
            codebook = unit_rows(codebook, metric)
    return codebook


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("metric", METRICS)
def test_training_is_that_of_the_reference(X, metric, weighted):
    rng = np.random.RandomState(1)
    weights = rng.uniform(0.2, 3, size=len(X)) if weighted else None
    start = X[rng.permutation(len(X))[:20]]
    som = TFSOM((5, 4), metric=metric, init=start, radius_decay=RADII, max_iter=4, tol=0)
    som.fit(X, sample_weight=weights)
    expected = slow_map(X, start, RADII, (5, 4), metric, weights)
    assert_allclose(som.codebook_, expected, rtol=0, atol=1e-12)
    distances = cdist(X, expected, CDIST[metric])
    assert_array_equal(som.labels_, closest(distances))
    mean = np.average(distances.min(axis=1), weights=weights)
    assert som.quantization_error_ == pytest.approx(mean, rel=1e-10)
    before = slow_map(X, start, RADII[:-1], (5, 4), metric, weights)
    mean = np.average(cdist(X, before, CDIST[metric]).min(axis=1), weights=weights)
    assert som.history_["quantization_error"][-1] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("metric", METRICS)
def test_every_method_measures_in_the_metric(X, metric, dtype):
    X = X.astype(dtype)
    som = TFSOM((4, 5), metric=metric).fit(X)
    assert som.codebook_.dtype == dtype
    expected = cdist(X.astype(float), som.codebook_.astype(float), CDIST[metric])
    tolerance = {"rtol": 1e-9, "atol": 1e-12} if dtype == np.float64 else {"atol": 2e-5, "rtol": 0}
    assert_allclose(som.transform(X), expected, **tolerance)
    assert som.transform(X).dtype == dtype
    order = np.argsort(expected, axis=1, kind="stable")
    distances, bmus = som.bmus(X, 3, return_distance=True)
    sorted_distances = np.take_along_axis(expected, order, axis=1)
    assert_allclose(distances, sorted_distances[:, :3], **tolerance)
    if dtype == np.float64:
        assert_array_equal(bmus, order[:, :3])
        assert_array_equal(som.predict(X), order[:, 0])
        assert_array_equal(som.quantize(X), som.codebook_[order[:, 0]])
    assert_allclose(som.score_samples(X), -sorted_distances[:, 0], **tolerance)
    error = sorted_distances[:, 0].mean()
    assert som.score(X) == pytest.approx(-error, rel=1e-4)
    assert quantization_error(som, X) == pytest.approx(error, rel=1e-4)
    one_by_one = np.concatenate([som.predict(row[None]) for row in X])
    assert_array_equal(one_by_one, som.predict(X))


@pytest.mark.parametrize("metric", METRICS)
def test_error_measures_are_in_the_metric(X, metric):
    som = TFSOM((4, 5), metric=metric).fit(X)
    grid = Grid(4, 5)
    order = np.argsort(cdist(X, som.codebook_, CDIST[metric]), axis=1, kind="stable")
    apart = grid.squared_distances(order[:, 0], order[:, 1]) > 1
    assert topographic_error(som, X) == pytest.approx(apart.mean())
    between = cdist(som.codebook_, som.codebook_, CDIST[metric])
    neighbors = grid.squared_distances(*np.ogrid[:20, :20]) == 1
    expected = np.where(neighbors, between, 0).sum(axis=1) / neighbors.sum(axis=1)
    assert_allclose(u_matrix(som).ravel(), expected, atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_weights_are_repetitions_in_any_order(X, metric):
    rng = np.random.RandomState(0)
    counts = rng.randint(0, 4, size=len(X))
    repeated = rng.permutation(np.repeat(X, counts, axis=0))
    for params in ({}, {"batch_size": 50}, {"init": "sample", "random_state": 3}):
        weighted = TFSOM((4, 4), metric=metric, **params).fit(X, sample_weight=counts)
        other = TFSOM((4, 4), metric=metric, **params).fit(repeated)
        assert_allclose(weighted.codebook_, other.codebook_, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("metric", SPHERICAL)
def test_code_vectors_are_directions(X, metric):
    for init in ("pca", "sample", "random", X[:12] * 7):
        som = TFSOM((4, 3), metric=metric, init=init, random_state=0).fit(X)
        assert_allclose(np.linalg.norm(som.codebook_, axis=1), 1, rtol=1e-12)
        if metric == "correlation":
            assert_allclose(som.codebook_.sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("metric", SPHERICAL)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_lengths_of_samples_do_not_count(X, metric, dtype):
    rng = np.random.RandomState(0)
    factors = 10.0 ** rng.uniform(-30, 30, size=(len(X), 1))
    som = TFSOM((4, 3), metric=metric).fit(X.astype(dtype))
    other = TFSOM((4, 3), metric=metric).fit((X * factors).astype(dtype))
    assert_allclose(other.codebook_, som.codebook_, atol=1e-10 if dtype == np.float64 else 1e-5)
    if metric == "correlation":
        shifted = TFSOM((4, 3), metric=metric).fit((X + factors.clip(0.01, 10)).astype(dtype))
        assert_allclose(
            shifted.codebook_, som.codebook_, atol=1e-10 if dtype == np.float64 else 1e-4
        )


@pytest.mark.parametrize("metric", SPHERICAL)
@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e300])
def test_what_has_no_direction_is_at_distance_1(X, metric, scale):
    nothing = np.zeros(5) if metric == "cosine" else np.full(5, 0.1 * scale)
    data = np.insert(X * scale, [0, 7, 90], nothing, axis=0)
    which = np.array([0, 8, 92])
    som = TFSOM((4, 3), metric=metric).fit(data)
    # It takes no part in training ...
    assert_allclose(som.codebook_, TFSOM((4, 3), metric=metric).fit(X * scale).codebook_)
    # ... lies at distance 1 from all units, as in scikit-learn, and the first of them is its own.
    assert_array_equal(som.transform(data)[which], 1)
    assert_array_equal(som.predict(data)[which], 0)
    assert_array_equal(som.predict(nothing[None]), 0)
    assert_array_equal(som.labels_[which], 0)
    assert_array_equal(som.bmus(data, 12)[which], np.tile(np.arange(12), (3, 1)))
    assert_allclose(som.score_samples(data)[which], -1)
    expected = np.delete(som.transform(data).min(axis=1), which).sum() + 3
    assert som.quantization_error_ == pytest.approx(expected / len(data))


@pytest.mark.parametrize("metric", SPHERICAL)
def test_a_map_needs_a_direction(X, metric):
    som = TFSOM((4, 3), metric=metric)
    word = "zeros" if metric == "cosine" else "equal values"
    match = f"^All samples of positive weight hold {word} only: under metric='{metric}' they have"
    nothing = np.full((9, 5), 0.0 if metric == "cosine" else 0.3)
    with pytest.raises(ValueError, match=match):
        som.fit(nothing)
    weights = np.r_[np.ones(9), np.zeros(len(X))]
    with pytest.raises(ValueError, match=match):
        som.fit(np.vstack([nothing, X]), sample_weight=weights)
    init = np.vstack([X[:11], nothing[:1]])
    with pytest.raises(InvalidParameterError, match="'init' parameter"):
        TFSOM((4, 3), metric=metric, init=init).fit(X)
    assert not hasattr(som, "codebook_")


def test_opposite_directions_leave_a_code_vector_where_it_is():
    X = np.array([[1.0, 2.0], [-1.0, -2.0]])
    start = np.array([[1.0, 0.0], [0.0, 1.0]])
    params = {"neighborhood": "bubble", "radius_decay": [1.0], "max_iter": 1}
    som = TFSOM((1, 2), metric="cosine", init=start, **params).fit(X)
    assert_allclose(som.codebook_, start, atol=1e-15)


def test_a_start_at_the_origin_gets_a_direction():
    X = np.array([[2.0, 1.0], [-2.0, -1.0], [0.1, -0.2], [-0.1, 0.2]])  # the mean is 0
    som = TFSOM((3, 3), metric="cosine").fit(X)
    assert_allclose(np.linalg.norm(som.codebook_, axis=1), 1)


def test_correlation_needs_two_features():
    with pytest.raises(ValueError, match=r"at least 2\. Got n_features = 1"):
        TFSOM(metric="correlation").fit([[1.0], [2.0]])


@pytest.mark.parametrize("metric", ABSOLUTE)
def test_missing_values_are_left_out(X, metric):
    rng = np.random.RandomState(0)
    gappy = np.where(rng.uniform(size=X.shape) < 0.2, np.nan, X)
    gappy = gappy[~np.isnan(gappy).all(axis=1)]
    som = TFSOM((4, 3), metric=metric).fit(gappy)
    differences = np.abs(gappy[:, None] - som.codebook_)
    combine = np.nansum if metric == "manhattan" else np.nanmax
    expected = combine(differences, axis=2)
    assert_allclose(som.transform(gappy), expected, rtol=1e-10)
    assert_array_equal(som.labels_, closest(expected))
    assert_array_equal(som.bmus(gappy, 2)[:, 0], som.labels_)
    assert not np.isnan(som.impute(gappy)).any()


@pytest.mark.parametrize("metric", SPHERICAL)
def test_missing_values_under_a_metric_of_whole_samples(X, metric):
    gappy = np.where(np.eye(*X.shape), np.nan, X)
    som = TFSOM((4, 3), metric=metric).fit(X)
    sentence = (
        "^The 'metric' parameter of TFSOM must be one of 'euclidean', 'manhattan', 'chebyshev' "
        rf"for X with missing values \(NaN\)\. Got '{metric}' instead\.$"
    )
    before = som.codebook_
    for method in (som.fit, som.partial_fit, som.predict, som.transform, som.score, som.impute):
        with pytest.raises(InvalidParameterError, match=sentence):
            method(gappy)
    assert som.codebook_ is before
    assert_array_equal(som.impute(X), X)


@pytest.mark.parametrize("metric", ABSOLUTE)
@pytest.mark.parametrize("n_features", [1, 4, 6])
def test_compiled_loops_change_nothing(metric, n_features, monkeypatch):
    from sklearn_tfsom._tf import graphs

    X = np.random.RandomState(0).normal(size=(9000, n_features))
    maps = []
    for least in (0, 10**12):
        monkeypatch.setattr(graphs, "_MIN_COMPILED_ROWS", least)
        som = TFSOM((8, 9), metric=metric, max_iter=3).fit(X)
        maps.append((som.codebook_, som.transform(X), som.predict(X), som.bmus(X[:500], 2)))
    for compiled, plain in zip(*maps, strict=True):
        assert_allclose(compiled, plain, rtol=1e-12, atol=1e-12)
    assert_allclose(maps[0][1], cdist(X, maps[0][0], CDIST[metric]), rtol=1e-10)


@pytest.mark.parametrize("metric", ABSOLUTE)
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_ties_go_to_the_first_unit(metric, offset):
    """A bubble makes equal code vectors: rounding must not choose among them."""
    X = np.random.RandomState(0).uniform(size=(300, 3)) + offset
    params = {"neighborhood": "bubble", "radius_decay": [3.0, 3.0, 1.0], "max_iter": 3, "tol": 0}
    som = TFSOM((4, 3), metric=metric, **params).fit(X)
    shuffled = TFSOM((4, 3), metric=metric, **params).fit(X[::-1])
    assert_allclose(som.codebook_, shuffled.codebook_, rtol=1e-12)
    assert_array_equal(som.labels_, shuffled.labels_[::-1])


@pytest.mark.parametrize("metric", ABSOLUTE)
def test_large_values(metric):
    X = np.random.RandomState(0).uniform(size=(50, 3)) * 1e300
    som = TFSOM((3, 3), metric=metric).fit(X)
    assert np.isfinite(som.transform(X)).all()
    assert math.isfinite(som.quantization_error_)


@pytest.mark.parametrize("metric", OTHERS)
def test_the_metric_is_that_of_training(X, metric):
    som = TFSOM((4, 3), metric=metric).fit(X)
    expected = som.transform(X)
    som.set_params(metric="euclidean")
    assert_array_equal(som.transform(X), expected)


def test_a_metric_can_be_searched_for():
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    digits = load_digits()
    pipeline = make_pipeline(TFSOM(6), KNeighborsClassifier())
    search = GridSearchCV(pipeline, {"tfsom__metric": METRICS}, cv=2)
    search.fit(digits.data[:600], digits.target[:600])
    assert search.cv_results_["mean_test_score"].min() > 0.6


@pytest.mark.parametrize("metric", METRICS)
def test_the_best_map_in_a_metric_is_one_trained_in_it(metric):
    """Each update lowers its own error from a common start, if not strictly under all metrics."""
    iris = load_iris().data
    errors = {
        trained: cdist(iris, TFSOM((6, 5), metric=trained).fit(iris).codebook_, CDIST[metric])
        .min(axis=1)
        .mean()
        for trained in (metric, "euclidean")
    }
    assert errors[metric] <= 1.02 * errors["euclidean"]

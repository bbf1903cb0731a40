"""All metrics of the table, in everything that depends on one, against a slow reference.

The samples are positive: so every metric is defined for them.
"""

import copy
import math

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from searches import map_with, search
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris

from sklearn_tfsom import TFSOM
from sklearn_tfsom._data.pieces import Pieces
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._distance import METRICS
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.schedules import PRIOR
from sklearn_tfsom._plan import make_plan, stream_schedule
from sklearn_tfsom._validation import InvalidParameterError
from sklearn_tfsom.distributed import unit_statistics, update_codebook
from sklearn_tfsom.metrics import (
    quantization_error,
    separation_curve,
    topographic_error,
    u_matrix,
)

SPHERICAL = [name for name, metric in METRICS.items() if metric.is_spherical]
ELEMENTWISE = [name for name, metric in METRICS.items() if not metric.is_product]
# For these, bounds of quality were measured. Others need not reach them.
MEASURED = ["euclidean", "cosine", "correlation", "manhattan", "chebyshev"]
RADII = [2.0, 1.5, 1.0, 0.8]
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])
all_metrics = pytest.mark.parametrize("metric", METRICS)


@pytest.fixture(scope="module", name="X")
def positive_blobs():
    rng = np.random.RandomState(0)
    centers = rng.uniform(2, 9, size=(6, 5))
    return np.abs(centers[rng.randint(6, size=200)] + rng.normal(size=(200, 5))) + 0.1


def without_some(X, share=0.25):
    """Remove values at random; no sample loses all of them."""
    rng = np.random.RandomState(1)
    is_missing = rng.uniform(size=X.shape) < share
    is_missing[np.arange(len(X)), rng.randint(X.shape[1], size=len(X))] = False
    return np.where(is_missing, np.nan, X)


def neighborhood(shape, radius):
    return reference.neighborhood_matrix(shape, "hexagonal", "planar", "gaussian", radius)


def data_kinds(X, metric):
    """All kinds of data that a metric allows: dense values, and what is passed."""
    kinds = {"dense": (X, X), "float32": (X.astype(np.float32).astype(float), None)}
    kinds["float32"] = (kinds["float32"][0], X.astype(np.float32))
    if METRICS[metric].allows_missing:
        incomplete = without_some(X)
        kinds["incomplete"] = (incomplete, incomplete)
    if METRICS[metric].allows_sparse:
        thinned = np.where(X < np.median(X), 0, X)
        thinned[:, 0] = X[:, 0]
        kinds["sparse"] = (thinned, csr_array(thinned))
    return kinds


def test_the_reference_covers_every_metric():
    assert set(reference.DISTANCES) == set(METRICS)
    assert {name for name, metric in METRICS.items() if metric.is_spherical} == set(
        reference.AVERAGED
    )


@all_metrics
def test_the_reference_equals_scipy(X, metric):
    expected = cdist(X, X[:20], METRICS[metric].scipy_name)
    assert_allclose(reference.distances(X, X[:20], metric), expected, atol=1e-12)


@all_metrics
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_zeros_and_negative_values(metric, scale):
    """Zeros that a sample shares with a code vector among them."""
    rng = np.random.RandomState(0)
    X, codebook = (scale * rng.randint(-2, 3, size=(n, 5)) for n in (200, 30))
    X[:, 0] = codebook[:, 0] = 4 * scale  # every row has a direction
    expected = reference.distances(X, codebook, metric)
    som = map_with(codebook, metric=metric)
    atol = 1e-7 * scale ** METRICS[metric].has_data_units
    assert_allclose(som.transform(X), expected, rtol=1e-9, atol=atol)
    chosen = np.take_along_axis(expected, som.predict(X)[:, None], axis=1)
    assert_allclose(chosen[:, 0], expected.min(axis=1), rtol=1e-9, atol=atol)


@pytest.mark.parametrize("metric", ELEMENTWISE)
def test_magnitude_bounds_the_change_of_a_term(metric):
    rng, step, row = np.random.RandomState(0), 1e-6, METRICS[metric]
    x, w = rng.normal(size=(2, 10_000)) * 10.0 ** rng.randint(-3, 4, size=(2, 10_000))
    change = np.abs(row.term(np, x * (1 + step), w) - row.term(np, x, w))
    assert (change <= 1.001 * step * row.magnitude(np, x) + 1e-13 * np.abs(x + w)).all()


@all_metrics
def test_search(X, metric):
    codebook = X[np.random.RandomState(0).permutation(200)[:30]] * 1.1
    for kind, (values, data) in data_kinds(X, metric).items():
        distances = reference.distances(values, codebook, metric)
        order = np.argsort(distances, axis=1, kind="stable")
        of_graph = [{}, {"n_tile": 33}, {"k": 3}]
        compiled = {"n_tile": 64}  # XLA turns samples into one type
        for options in of_graph if kind == "float32" else [*of_graph, compiled]:
            units, nearest = search(data, codebook, metric=metric, **options)
            assert_array_equal(units, order[:, : units.shape[1]])
            assert_allclose(nearest, distances.min(axis=1), rtol=1e-4, atol=1e-4)


@all_metrics
def test_ties_go_to_the_lowest_index(X, metric):
    codebook = X[:10][[3, 1, 4, 1, 5, 9, 2, 6, 5, 3]]
    distances = reference.distances(X, codebook, metric)
    expected = reference.closest(distances)
    assert set(expected) <= {0, 1, 2, 4, 5, 6, 7}
    assert_array_equal(search(X, codebook, metric=metric)[0][:, 0], expected)
    assert_array_equal(search(X, codebook, 2, metric=metric)[0][:, 0], expected)
    assert_array_equal(map_with(codebook, metric=metric).predict(X), expected)


@pytest.mark.parametrize(
    ("metric", "is_weighted"), [*((metric, True) for metric in METRICS), ("euclidean", False)]
)
def test_training(X, metric, is_weighted):
    rng, X, radii = np.random.RandomState(1), X[:100], RADII[1:]
    weights = rng.uniform(0.2, 3, size=len(X)) if is_weighted else None
    start = X[rng.permutation(len(X))[:20]]
    params = {"metric": metric, "init": start, "radius_decay": radii, "max_iter": 3, "tol": 0}
    for values, data in data_kinds(X, metric).values():
        som = TFSOM((5, 4), **params).fit(data, sample_weight=weights)
        codebook, errors = start, []
        for radius in radii:
            nearest = reference.distances(values, codebook, metric).min(axis=1)
            errors.append(np.average(nearest, weights=weights))
            H = neighborhood((5, 4), radius)
            codebook = reference.updated(values, codebook, H, metric, weights)
        atol = 1e-11 if data.dtype == np.float64 else 1e-4
        assert_allclose(som.codebook_, codebook, rtol=0, atol=atol)
        assert_allclose(som.history_["quantization_error"], errors, rtol=1e-4)
        if data.dtype == np.float64:
            distances = reference.distances(values, codebook, metric)
            assert_array_equal(som.labels_, reference.closest(distances))
            mean = np.average(distances.min(axis=1), weights=weights)
            assert som.quantization_error_ == pytest.approx(mean, rel=1e-9)


class SlowMemory:
    """Sums and counts that decay, and the codebook that they give."""

    def __init__(self, codebook, metric):
        self.codebook, self.metric = reference.averaged(codebook, metric), metric
        self.counts = np.full((len(codebook), 1), PRIOR)
        self.sums = self.codebook * self.counts

    def learn(self, X, weights, H, decay):
        values = reference.averaged(X, self.metric)
        units = reference.closest(reference.distances(X, self.codebook, self.metric))
        of_unit = np.eye(len(self.codebook))[:, units] * weights
        self.sums = decay * self.sums + of_unit @ np.nan_to_num(values)
        self.counts = decay * self.counts + of_unit @ ~np.isnan(values)
        self.codebook = reference.averaged(H @ self.sums / (H @ self.counts), self.metric)


@all_metrics
def test_minibatches(X, metric):
    start = X[:20]
    params = {"metric": metric, "init": start, "radius_decay": RADII, "max_iter": 4, "tol": 0}
    memory = max(5 * 20, 4 * 30)  # five samples for each unit, or four mini-batches
    for kind, (values, data) in data_kinds(X, metric).items():
        if kind == "float32":
            continue
        som = TFSOM((5, 4), batch_size=30, **params).fit(data)
        samples = Samples(data, METRICS[metric], has_missing=kind == "incomplete")
        batches = make_plan(som, Pieces(samples, np.ones(200))).batches
        assert len(batches.rows) == 7
        slow = SlowMemory(start, metric)
        for radius in RADII:
            H = neighborhood((5, 4), radius)
            for rows, weights in batches.rows:
                decay = 1 - weights.sum() / memory
                slow.learn(values[rows], weights, H, decay)
        assert_allclose(som.codebook_, slow.codebook, rtol=0, atol=1e-9)


@all_metrics
def test_streams(X, metric):
    for kind, (values, data) in data_kinds(X, metric).items():
        if kind == "float32":
            continue
        som = TFSOM((5, 4), metric=metric, init=X[:20])
        slow, seen = SlowMemory(X[:20], metric), 0.0
        for part in (slice(0, 70), slice(70, 200)):
            som.partial_fit(data[part])
            schedule = stream_schedule(som, Grid(5, 4))
            n = len(values[part])
            for batch in schedule.batches(np.ones(n), seen):
                H = neighborhood((5, 4), batch.radius)
                slow.learn(values[part][batch.rows], batch.weights, H, batch.decay)
            seen += n
        assert_allclose(som.codebook_, slow.codebook, rtol=0, atol=1e-9)


@all_metrics
def test_distributed_statistics(X, metric):
    codebook, weights = X[:20] * 1.1, np.random.RandomState(0).uniform(0.5, 2, size=200)
    for kind, (values, data) in data_kinds(X, metric).items():
        if kind == "float32":
            continue
        parts = [slice(0, 90), slice(90, 200)]
        statistics = sum(
            unit_statistics(data[part], codebook, weights[part], metric=metric) for part in parts
        )
        distances = reference.distances(values, codebook, metric)
        of_unit = np.eye(20)[:, reference.closest(distances)] * weights
        averaged = reference.averaged(values, metric)
        assert_allclose(statistics.sums, of_unit @ np.nan_to_num(averaged), atol=1e-9)
        counts = of_unit @ ~np.isnan(averaged)
        assert_allclose(np.broadcast_to(statistics.counts, counts.shape), counts, rtol=1e-12)
        assert statistics.error == pytest.approx(distances.min(axis=1) @ weights, rel=1e-5)
        moved = update_codebook(codebook, statistics, Grid(5, 4), 1.5, metric=metric)
        H = neighborhood((5, 4), 1.5)
        expected = reference.updated(values, codebook, H, metric, weights)
        assert_allclose(moved, expected, atol=1e-9)


@DTYPES
@all_metrics
def test_every_method_measures_in_the_metric(X, metric, dtype):
    for kind, (values, data) in data_kinds(X, metric).items():
        if (kind == "float32") != (dtype == np.float32):
            continue
        som = TFSOM((4, 5), metric=metric, max_iter=5).fit(data)
        assert som.codebook_.dtype == dtype
        expected = reference.distances(values, som.codebook_, metric)
        is_double = dtype == np.float64
        tolerance = {"rtol": 1e-9, "atol": 1e-12} if is_double else {"atol": 2e-5, "rtol": 1e-5}
        assert_allclose(som.transform(data), expected, **tolerance)
        assert som.transform(data).dtype == dtype
        order = np.argsort(expected, axis=1, kind="stable")
        distances, bmus = som.bmus(data, 3, return_distance=True)
        sorted_distances = np.take_along_axis(expected, order, axis=1)
        assert_allclose(distances, sorted_distances[:, :3], **tolerance)
        if is_double:
            assert_array_equal(bmus, order[:, :3])
            assert_array_equal(som.predict(data), order[:, 0])
            assert_array_equal(som.quantize(data), som.codebook_[order[:, 0]])
        by_distance = copy.copy(som).set_params(anomaly_score="distance")
        assert_allclose(by_distance.score_samples(data), -sorted_distances[:, 0], **tolerance)
        error = sorted_distances[:, 0].mean()
        assert som.score(data) == pytest.approx(-error, rel=1e-4)
        assert quantization_error(som, data) == pytest.approx(error, rel=1e-4)
        one_by_one = np.concatenate([som.predict(data[row : row + 1]) for row in range(0, 200, 5)])
        assert_array_equal(one_by_one, som.predict(data)[::5])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@all_metrics
def test_keras_export_has_the_tie_rule_of_the_search(metric, dtype):
    """Small whole numbers: most samples have several closest units."""
    rng = np.random.RandomState(0)
    codebook = rng.randint(1, 4, size=(36, 3)).astype(float)
    codebook[codebook.max(axis=1) == codebook.min(axis=1), 0] = 4  # a direction for all
    codebook[20:] *= 2  # directions that differ by rounding
    X = rng.randint(1, 7, size=(500, 3)).astype(float)
    X[X.max(axis=1) == X.min(axis=1), 0] = 8
    som = map_with(codebook, (6, 6), metric=metric)
    near = som.transform(X)
    assert np.mean((near <= near.min(axis=1)[:, None] + 1e-12).sum(axis=1) > 1) > 0.2
    bmus = np.asarray(som.to_keras(dtype=dtype)(X.astype(dtype))["bmu"])
    assert_array_equal(bmus, som.predict(X))


@all_metrics
def test_error_measures_are_in_the_metric(X, metric):
    som = TFSOM((4, 5), metric=metric).fit(X)
    grid = Grid(4, 5)
    order = np.argsort(cdist(X, som.codebook_, METRICS[metric].scipy_name), axis=1, kind="stable")
    apart = grid.squared_distances(order[:, 0], order[:, 1]) > 1
    assert topographic_error(som, X) == pytest.approx(apart.mean())
    between = cdist(som.codebook_, som.codebook_, METRICS[metric].scipy_name)
    neighbors = grid.squared_distances(*np.ogrid[:20, :20]) == 1
    expected = np.where(neighbors, between, 0).sum(axis=1) / neighbors.sum(axis=1)
    assert_allclose(u_matrix(som).ravel(), expected, atol=1e-12)


@all_metrics
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
def test_lengths_of_samples_have_no_effect(X, metric, dtype):
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
def test_samples_without_direction_have_distance_1(X, metric, scale):
    nothing = np.zeros(5) if metric == "cosine" else np.full(5, 0.1 * scale)
    data = np.insert(X * scale, [0, 7, 90], nothing, axis=0)
    where = np.array([0, 8, 92])
    som = TFSOM((4, 3), metric=metric, anomaly_score="distance").fit(data)
    # They take no part in training, have the same distance from all units, as in scikit-learn,
    # and their best-matching unit is the first one.
    assert_allclose(som.codebook_, TFSOM((4, 3), metric=metric).fit(X * scale).codebook_)
    assert_array_equal(som.transform(data)[where], 1)
    assert_array_equal(som.predict(data)[where], 0)
    assert_array_equal(som.predict(nothing[None]), 0)
    assert_array_equal(som.labels_[where], 0)
    assert_array_equal(som.bmus(data, 12)[where], np.tile(np.arange(12), (3, 1)))
    assert_allclose(som.score_samples(data)[where], -1)
    expected = np.delete(som.transform(data).min(axis=1), where).sum() + 3
    assert som.quantization_error_ == pytest.approx(expected / len(data))
    assert_array_equal(som.hits_, np.bincount(som.labels_, minlength=12))


@pytest.mark.parametrize("metric", SPHERICAL)
def test_samples_without_direction_change_no_scores(X, metric):
    data = np.vstack([X, np.full((300, 5), 0.0 if metric == "cosine" else 0.7)])
    som, expected = (TFSOM((4, 3), metric=metric).fit(each) for each in (data, X))
    assert_allclose(som.score_samples(X), expected.score_samples(X))
    assert_allclose(separation_curve(som)[1], separation_curve(expected)[1])
    for each in (som, expected):
        each.partial_fit(X[:20])
    assert_allclose(som.codebook_, expected.codebook_)
    assert_allclose(som.hits_, expected.hits_)
    assert_allclose(som.score_samples(X), expected.score_samples(X))


@pytest.mark.parametrize("metric", SPHERICAL)
def test_a_map_needs_a_direction(X, metric):
    som = TFSOM((4, 3), metric=metric)
    match = f"no sample of positive weight that has a direction under metric='{metric}'"
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


def test_opposite_directions_do_not_move_a_code_vector():
    X = np.array([[1.0, 2.0], [-1.0, -2.0]])
    start = np.array([[1.0, 0.0], [0.0, 1.0]])
    params = {"neighborhood": "bubble", "radius_decay": [1.0], "max_iter": 1}
    som = TFSOM((1, 2), metric="cosine", init=start, **params).fit(X)
    assert_allclose(som.codebook_, start, atol=1e-15)


def test_start_at_the_origin_gets_a_direction():
    X = np.array([[2.0, 1.0], [-2.0, -1.0], [0.1, -0.2], [-0.1, 0.2]])  # the mean is 0
    som = TFSOM((3, 3), metric="cosine").fit(X)
    assert_allclose(np.linalg.norm(som.codebook_, axis=1), 1)


def test_correlation_needs_two_features():
    with pytest.raises(
        ValueError, match=r"at least 2 features under metric='correlation'\. Got n_features = 1"
    ):
        TFSOM(metric="correlation").fit([[1.0], [2.0]])


@pytest.mark.parametrize("metric", SPHERICAL)
def test_missing_values_are_refused_by_metrics_of_directions(X, metric):
    gappy = np.where(np.eye(*X.shape), np.nan, X)
    som = TFSOM((4, 3), metric=metric).fit(X)
    allowed = ", ".join(repr(name) for name, row in METRICS.items() if row.allows_missing)
    sentence = (
        f"^The 'metric' parameter of TFSOM must be one of {allowed} "
        rf"for X with missing values \(NaN\)\. Got '{metric}' instead\.$"
    )
    before = som.codebook_
    for method in (som.fit, som.partial_fit, som.predict, som.transform, som.score, som.impute):
        with pytest.raises(InvalidParameterError, match=sentence):
            method(gappy)
    assert som.codebook_ is before
    assert_array_equal(som.impute(X), X)


@pytest.mark.parametrize("metric", ELEMENTWISE)
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_order_of_samples_does_not_resolve_ties(metric, offset):
    """A bubble makes equal code vectors: rounding must not choose among them."""
    X = np.random.RandomState(0).uniform(size=(300, 3)) + offset
    params = {"neighborhood": "bubble", "radius_decay": [3.0, 3.0, 1.0], "max_iter": 3, "tol": 0}
    som = TFSOM((4, 3), metric=metric, **params).fit(X)
    shuffled = TFSOM((4, 3), metric=metric, **params).fit(X[::-1])
    assert_allclose(som.codebook_, shuffled.codebook_, rtol=1e-12)
    assert_array_equal(som.labels_, shuffled.labels_[::-1])


@pytest.mark.parametrize("metric", ELEMENTWISE)
def test_large_values(metric):
    X = np.random.RandomState(0).uniform(size=(50, 3)) * 1e300
    som = TFSOM((3, 3), metric=metric).fit(X)
    assert np.isfinite(som.transform(X)).all()
    assert math.isfinite(som.quantization_error_)


@pytest.mark.parametrize("metric", ["manhattan", "chebyshev"])
def test_huge_samples_of_weight_0_change_nothing(metric):
    X = np.random.RandomState(3).normal(size=(40, 4)) * 1e-4
    huge, weights = [*X, [1.7e308, 0, 0, 0]], np.r_[np.ones(40), 0]
    som = TFSOM((4, 3), metric=metric, n_clusters=3)
    one, other = clone(som).fit(X), clone(som).fit(huge, sample_weight=weights)
    assert_array_equal(other.cluster_labels_, one.cluster_labels_)
    assert_allclose(other.partial_fit(X).codebook_, one.partial_fit(X).codebook_, rtol=1e-9)


@pytest.mark.parametrize("metric", [name for name in METRICS if name != "euclidean"])
def test_set_params_does_not_change_the_metric_of_a_fitted_map(X, metric):
    som = TFSOM((4, 3), metric=metric).fit(X)
    expected = som.transform(X)
    som.set_params(metric="euclidean")
    assert_array_equal(som.transform(X), expected)


def test_grid_search_over_metrics():
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    digits = load_digits()
    pipeline = make_pipeline(TFSOM(6), KNeighborsClassifier())
    search = GridSearchCV(pipeline, {"tfsom__metric": list(METRICS)}, cv=2)
    search.fit(digits.data[:600], digits.target[:600])
    scores = dict(zip(METRICS, search.cv_results_["mean_test_score"], strict=True))
    assert np.isfinite(list(scores.values())).all()
    assert min(scores[metric] for metric in MEASURED) > 0.6


@all_metrics
def test_training_in_a_metric_lowers_its_error(metric):
    iris = load_iris().data
    som, euclidean = (TFSOM((6, 5), metric=name).fit(iris) for name in (metric, "euclidean"))
    first, *_, last = som.history_["quantization_error"]
    assert last < first
    if metric in MEASURED:
        name = METRICS[metric].scipy_name
        errors = [
            cdist(iris, each.codebook_, name).min(axis=1).mean() for each in (som, euclidean)
        ]
        assert errors[0] <= 1.02 * errors[1]


@pytest.mark.parametrize("metric", ["euclidean", *ELEMENTWISE])
def test_float32_distances_beside_an_outlier(metric):
    """Samples are centered at code vectors, not at a mean that an outlier decides."""
    X = np.random.default_rng(0).uniform(size=(600, 5)).astype(np.float32)
    X[17] *= 1e8
    som = TFSOM((6, 6), metric=metric, max_iter=5).fit(X)
    distances = cdist(X.astype(float), som.codebook_.astype(float), METRICS[metric].scipy_name)
    assert_allclose(som.transform(X), distances, rtol=1e-5)
    assert_array_equal(som.transform(X).argmin(axis=1), som.bmus(X))
    assert_array_equal(distances.argmin(axis=1), som.bmus(X))


@pytest.mark.parametrize("level", [8193.0, 10000.0, 12000.0])
def test_profile_of_a_small_difference_has_a_direction(level):
    profile = np.array([[level, level, level + 0.01]], dtype=np.float32)
    X = np.vstack([profile, [[1, 2, 3]], [[3, 1, 2]]]).astype(np.float32)
    distances = TFSOM((1, 2), metric="correlation").fit(X[1:]).transform(X)
    assert not (distances[0] == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["cosine", "correlation"])
def test_nearly_equal_directions(metric, dtype):
    """Their squares leave the range of floats."""
    step = 1e-25 if dtype == np.float32 else 1e-200
    X = np.array([[1, 0, 0], [1, step, 0], [1, 2 * step, 0]], dtype)
    for som in (
        TFSOM((1, 2), metric=metric).fit(X),
        TFSOM.from_codebook(X[:2], grid_size=(1, 2), metric=metric),
    ):
        found = som.set_params(features="distances").transform([[0, 1, 0], [1, 0, 0]])
        expected = [1, 0] if metric == "cosine" else [1.5, 0]
        assert_allclose(found, np.tile(np.array(expected)[:, None], 2), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("kind", ["clusters", "one feature", "repeated"])
def test_distances_of_float32_samples_far_apart_in_groups(kind):
    """In float32 all products within a group lose their digits."""
    rng = np.random.RandomState(0)
    X, group = rng.normal(size=(3000, 20)), rng.randint(0, 2, size=3000)
    if kind == "clusters":
        X += 30 * group[:, None]
    elif kind == "one feature":
        X[:, 0] = 1000 * group
    else:
        X = X[:4][rng.randint(0, 4, size=3000)]
    X = X.astype(np.float32)
    som = TFSOM((10, 10), max_iter=5).fit(X)
    codebook, values = som.codebook_.astype(np.float64), X.astype(np.float64)
    assert_allclose(som.transform(X), cdist(values, codebook), rtol=2e-5, atol=1e-6)


def test_equal_rows_and_rows_of_equal_norms_get_their_own_units():
    """Among near ties, of which one of several equal rows is searched."""
    rng = np.random.RandomState(0)
    base = np.array([rng.permutation(40) for _ in range(30)]) / 7
    X = base[rng.randint(0, 30, size=4000)]
    codebook = np.repeat(base[:20], 5, axis=0) + 1e-9 * rng.normal(size=(100, 40))
    for dtype in (np.float64, np.float32):
        som = TFSOM.from_codebook(codebook, grid_size=(10, 10))
        values = X.astype(dtype)
        expected = cdist(values.astype(np.float64), codebook).argmin(axis=1)
        assert_array_equal(som.predict(values), expected)
        assert_array_equal(som.predict(csr_array(values)), expected)

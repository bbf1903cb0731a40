"""Streams, mini-batches, and data larger than memory."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine, make_swiss_roll
from sklearn.metrics import adjusted_rand_score

from sklearn_tfsom import TFSOM
from sklearn_tfsom._data.minibatches import deal_minibatches
from sklearn_tfsom._distance import METRICS
from sklearn_tfsom.metrics import distortion, topographic_error


@pytest.fixture(scope="module")
def stream():
    rng = np.random.RandomState(0)
    centers = rng.normal(size=(7, 4)) * 3
    return centers[rng.randint(7, size=900)] + rng.normal(size=(900, 4))


@pytest.mark.parametrize(
    "calls", [[900], [300, 300, 300], [1] * 40 + [860], [5, 7, 1, 400, 80, 407], [50] * 18]
)
def test_partial_fit_equals_the_slow_reference(stream, calls):
    start = stream[:30][np.random.RandomState(0).permutation(30)[:24]]
    som = TFSOM((6, 4), init=start, radius_start=1.5)
    radii = []
    for part in np.split(stream, np.cumsum(calls)[:-1]):
        som.partial_fit(part)
        radii += som.history_["radius"].tolist()
    expected, expected_radii = reference.learn_stream(
        stream, start, calls, (1.5, 0.85), (6, 4), "hexagonal", "planar", "gaussian"
    )
    assert_allclose(radii, expected_radii)
    assert_allclose(som.codebook_, expected, rtol=0, atol=1e-10)
    assert som.n_samples_seen_ == 900
    assert len(som.history_["quantization_error"]) == som.n_iter_
    assert_array_equal(som.labels_, som.predict(stream[-calls[-1] :]))


SETS = {
    "iris": lambda: load_iris().data,
    "wine": lambda: load_wine().data / load_wine().data.std(axis=0),
    "breast cancer": lambda: load_breast_cancer().data / load_breast_cancer().data.std(axis=0),
    "digits": lambda: load_digits().data,
    "swiss roll": lambda: make_swiss_roll(6_000, noise=0.3, random_state=0)[0],
}


@pytest.mark.parametrize(
    ("name", "grid_size"),
    [
        ("iris", (10, 6)),
        ("wine", 10),
        ("breast cancer", (10, 6)),
        ("digits", (10, 6)),
        ("swiss roll", 10),
    ],
)
def test_errors_of_three_passes_are_close_to_those_of_fit(name, grid_size):
    X = SETS[name]()
    batch = TFSOM(grid_size).fit(X)
    ratios, rises = [], []
    for seed in range(1 if len(X) > 500 else 2):
        shuffled = np.random.RandomState(seed).permutation(X)
        som = TFSOM(grid_size)
        for _ in range(3):
            for piece in np.array_split(shuffled, 40):
                som.partial_fit(piece)
        ratios.append(som.score(X) / batch.score(X))
        rises.append(topographic_error(som, X) - topographic_error(batch, X))
    assert max(ratios) < 1.10
    assert np.mean(rises) < 0.08


def test_fit_starts_again_and_partial_fit_continues(stream):
    som = TFSOM((5, 5)).partial_fit(stream[:50])
    once = TFSOM((5, 5)).fit(stream)
    assert_array_equal(som.fit(stream).codebook_, once.codebook_)
    assert som.n_samples_seen_ == 900
    before = som.score(stream)
    for piece in np.array_split(np.random.RandomState(0).permutation(stream), 9):
        som.partial_fit(piece)
        assert som.score(stream) > 1.05 * before  # of minus the error
    assert som.n_samples_seen_ == 1800
    assert abs(som.score(stream) / before - 1) < 0.02
    # It follows a drift and forgets older samples.
    for piece in np.array_split(np.vstack([stream + 20] * 5), 45):
        som.partial_fit(piece)
    assert som.score(stream + 20) > 1.1 * before
    assert som.score(stream) < 5 * before


def test_map_of_mini_batches_is_remembered_like_one_of_epochs(stream):
    """A few new samples do not replace it."""
    X = np.vstack([stream] * 10)
    whole = TFSOM((5, 5)).fit(X)
    som = TFSOM((5, 5), batch_size=30, max_iter=8, random_state=0).fit(X)
    assert som._unit_counts.sum() == pytest.approx(whole._unit_counts.sum(), rel=0.1)
    for each in (whole, som):
        before = each.score(stream)
        assert each.partial_fit(stream[:10]).score(stream) > 1.05 * before


def test_weights_equal_repetitions_within_a_mini_batch(stream):
    rng = np.random.RandomState(0)
    som = TFSOM((4, 4)).partial_fit(stream[:400])
    other = clone(som).partial_fit(stream[:400])
    counts = rng.randint(0, 3, size=12)
    som.partial_fit(stream[400:412], sample_weight=counts)
    other.partial_fit(rng.permutation(np.repeat(stream[400:412], counts, axis=0)))
    assert_allclose(som.codebook_, other.codebook_, rtol=1e-12)
    assert_allclose(som.hits_, other.hits_, rtol=1e-12)
    assert som.n_samples_seen_ == other.n_samples_seen_ == 400 + counts.sum()
    assert som.quantization_error_ == pytest.approx(other.quantization_error_, rel=1e-6)


def test_weights_equal_repetitions_in_a_long_stream(stream):
    rng = np.random.RandomState(0)
    weighted, repeated = TFSOM((4, 4)), TFSOM((4, 4))
    for piece in np.array_split(stream, 5):
        counts = rng.randint(0, 4, size=len(piece))
        weighted.partial_fit(piece, sample_weight=counts)
        repeated.partial_fit(np.repeat(piece, counts, axis=0))
        assert weighted.n_iter_ == repeated.n_iter_
        assert_allclose(weighted.codebook_, repeated.codebook_, rtol=1e-9)
        assert_allclose(weighted.hits_, repeated.hits_, rtol=1e-9)
    twice = TFSOM((4, 4)).partial_fit(stream, sample_weight=np.full(900, 2.5))
    assert np.isfinite(twice.codebook_).all()
    assert twice.n_samples_seen_ == 2250


def test_grid_and_metric_of_a_fitted_map_stay(stream):
    som = TFSOM((4, 4)).fit(stream)
    som.set_params(metric="cosine", grid_size=7, lattice="rectangular").partial_fit(stream[:50])
    assert som.grid_shape_ == (4, 4)
    differences = stream[:9, None] - som.codebook_
    assert_allclose(som.transform(stream[:9]), np.linalg.norm(differences, axis=2))
    incomplete = np.where(np.eye(9, 4), np.nan, stream[:9])
    assert np.isfinite(
        som.partial_fit(incomplete).codebook_
    ).all()  # allowed: the map stays Euclidean
    som.set_params(n_clusters=17)
    with pytest.raises(ValueError, match="'n_clusters' parameter of TFSOM must be at most"):
        som.partial_fit(stream[:50])


def test_hits_and_error_are_of_the_remembered_samples(stream):
    som = TFSOM((4, 4))
    for piece in np.array_split(np.vstack([stream] * 4), 80):
        som.partial_fit(piece)
    # A weight of 500 is remembered; the last mini-batch adds to it.
    assert 480 < som.hits_.sum() < 600
    assert som.quantization_error_ == pytest.approx(-som.score(stream), rel=0.05)
    assert som.transform(stream).min(axis=1).mean() == pytest.approx(-som.score(stream))
    activations = som.set_params(features="activations").transform(stream)
    assert 0 < activations.min() <= activations.max() <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_is_that_of_the_samples(stream, dtype):
    X = stream.astype(dtype)
    som = TFSOM((4, 4)).partial_fit(X[:300]).partial_fit(X[300:])
    assert som.codebook_.dtype == dtype
    exact = TFSOM((4, 4)).partial_fit(stream[:300]).partial_fit(stream[300:])
    assert_allclose(som.codebook_, exact.codebook_, atol=1e-10 if dtype == np.float64 else 1e-3)
    mixed = TFSOM((4, 4)).partial_fit(X[:300]).partial_fit(stream[300:])
    assert mixed.codebook_.dtype == np.float64


@pytest.mark.parametrize("offset", [0.0, 1e7])
def test_stream_far_from_the_origin(stream, offset):
    near, far = (TFSOM((4, 4)) for _ in range(2))
    for piece in np.array_split(stream, 12):
        near.partial_fit(piece)
        far.partial_fit(piece + offset)
    assert_allclose(far.codebook_ - offset, near.codebook_, atol=1e-6)


@pytest.mark.parametrize("first", [np.zeros((1, 4)), np.ones((30, 4)), np.full((2, 4), 1e3)])
def test_map_recovers_from_poor_first_samples(stream, first):
    som = TFSOM((6, 5)).partial_fit(first)
    for _ in range(4):
        som.partial_fit(stream)
    assert -som.score(stream) < 1.1 * TFSOM((6, 5)).fit(stream).quantization_error_


@pytest.mark.parametrize("metric", ["cosine", "correlation", "manhattan", "chebyshev"])
def test_streams_under_other_metrics(metric):
    X = load_digits().data
    # From the automatic radius, but without trying another one.
    batch = TFSOM(7, metric=metric, radius_start=7 / 6).fit(X)
    som = TFSOM(7, metric=metric)
    for _ in range(3):
        for piece in np.array_split(np.random.RandomState(0).permutation(X), 20):
            som.partial_fit(piece)
    assert som.score(X) > 1.05 * batch.score(X)
    if metric in ("cosine", "correlation"):
        assert_allclose(np.linalg.norm(som.codebook_, axis=1), 1)
        codebook = som.codebook_
        som.partial_fit(np.zeros((3, 64)))  # no direction
        assert_allclose(som.codebook_, codebook, atol=1e-15)
        assert_array_equal(som.labels_, 0)


def test_stream_with_missing_values(stream):
    rng = np.random.RandomState(0)
    incomplete = np.where(rng.uniform(size=stream.shape) < 0.15, np.nan, stream)
    incomplete = incomplete[~np.isnan(incomplete).all(axis=1)]
    som = TFSOM((5, 5)).partial_fit(stream[:100])
    for piece in np.array_split(incomplete, 10):
        som.partial_fit(piece)
        som.partial_fit(stream[:7])  # pieces without missing values
    assert np.isfinite(som.codebook_).all()
    full = TFSOM((5, 5)).fit(stream)
    assert -som.score(stream) < 1.1 * full.quantization_error_
    with pytest.raises(ValueError, match="Feature 2 of X is missing"):
        TFSOM((2, 2)).partial_fit(np.insert(stream[:9, :3], 2, np.nan, axis=1))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_sparse_stream_equals_a_dense_one(metric):
    X = load_digits().data
    maps = [TFSOM(5, metric=metric), TFSOM(5, metric=metric)]
    for piece in np.array_split(X, 6):
        maps[0].partial_fit(piece)
        maps[1].partial_fit(csr_array(piece))
        assert_allclose(maps[1].codebook_, maps[0].codebook_, atol=1e-8)
        assert_array_equal(maps[1].labels_, maps[0].labels_)


def test_clusters_of_a_stream(stream):
    som = TFSOM((5, 5), n_clusters=3)
    with pytest.warns(match="Samples fall in 1 clusters only, fewer than n_clusters=3") as caught:
        som.partial_fit(stream[:1])
    assert caught[0].filename == __file__
    for piece in np.array_split(stream, 9):
        som.partial_fit(piece)
    assert set(som.predict(stream)) == {0, 1, 2}


@pytest.mark.parametrize("seed", [1, 3])
def test_units_without_remembered_samples_are_clustered_by_their_code_vectors(seed):
    """Not by where they once were. The clusters are 14 standard deviations apart."""
    rng = np.random.default_rng(seed)

    def draw(n_samples):
        side = rng.integers(2, size=n_samples)
        return 0.7 * rng.normal(size=(n_samples, 2)) + np.outer(side, [10, 0]), side

    X, side = draw(4000)
    new, expected = draw(20_000)
    som = TFSOM((10, 8), n_clusters=2).partial_fit(X[side == 0][:50])
    for piece in np.array_split(X, 40):
        som.partial_fit(piece)
    assert adjusted_rand_score(expected, som.predict(new)) == 1


def test_failed_call_changes_nothing(stream):
    som = TFSOM((4, 4)).partial_fit(stream)
    before = dict(vars(som))
    for data in (stream[:, :2], np.full((3, 4), np.inf), [["a"] * 4], stream[:0]):
        with pytest.raises(ValueError):
            som.partial_fit(data)
        assert vars(som).keys() == before.keys()
        assert all(vars(som)[name] is value for name, value in before.items())
    som.set_params(radius_start=0)
    with pytest.raises(ValueError, match="'radius_start'"):
        som.partial_fit(stream)
    assert som.codebook_ is before["codebook_"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("is_fitted", [False, True])
def test_error_in_the_last_mini_batch_changes_nothing(stream, error, is_fitted):
    n_calls, n_calls_before_error = 0, None

    def neighborhood(squared_distances, radius):
        nonlocal n_calls
        if n_calls == n_calls_before_error:
            raise error("late")
        n_calls += 1
        return np.exp(-squared_distances / radius**2)

    som = TFSOM((4, 4), neighborhood=neighborhood)
    if is_fitted:
        som.partial_fit(stream[:50])

    def learned():
        return {
            name: pickle.dumps(value)
            for name, value in vars(som).items()
            if "neighborhood" not in name
        }

    before, n_calls = learned(), 0
    copy.deepcopy(som).partial_fit(stream)
    assert n_calls > 3
    n_calls, n_calls_before_error = 0, n_calls - 1
    with pytest.raises(error, match="late"):
        som.partial_fit(stream)
    assert learned() == before


def test_samples_beyond_the_range_are_refused(stream):
    som = TFSOM(5).partial_fit(stream)
    before = som.codebook_.copy()
    with pytest.raises(ValueError, match="exceed the range of float64"):
        som.partial_fit(np.full((10, stream.shape[1]), 1e200))
    assert_array_equal(som.codebook_, before)
    assert np.isfinite(som.quantization_error_)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_goes_on_after_a_fit_of_one_unit_with_huge_weights(stream, metric):
    """Sums of weighted values would exceed the range of float64; their mean does not."""
    som = TFSOM(1, metric=metric).fit(stream * 1e10, sample_weight=np.full(len(stream), 1e300))
    expected = copy.deepcopy(som).codebook_
    assert_allclose(som.partial_fit(stream * 1e10).codebook_, expected)


def test_verbose_prints_one_line_per_mini_batch(stream, capsys):
    TFSOM((3, 3), verbose=1).partial_fit(stream[:10])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("[TFSOM] mini-batch 1/3: radius 1, quantization error ")
    assert lines[-1].startswith("[TFSOM] mini-batch 3/3: ")


def get_radius(stream, n_seen, **parameters):
    """Return the radius of the mini-batch after some samples of a stream."""
    som = TFSOM((8, 4), **parameters)
    if n_seen:
        som.partial_fit(stream[:n_seen])
    return som.partial_fit(stream[:1]).history_["radius"][0]


def test_radii_of_a_stream(stream):
    assert get_radius(stream, 0) == pytest.approx(2)
    assert get_radius(stream, 50) == pytest.approx(np.sqrt(2 * 0.85))
    assert get_radius(stream, 100) == pytest.approx(0.85)
    assert get_radius(stream, 900) == pytest.approx(0.85)
    assert get_radius(stream, 50, radius_decay="linear") == pytest.approx((2 + 0.85) / 2)
    given = [get_radius(stream, n, radius_decay=[5.0, 3.0, 2.0]) for n in (0, 25, 50, 100, 200)]
    assert given == pytest.approx([5, 4, 3, 2, 2])


@pytest.mark.parametrize("origin", ["fit", "mini-batches", "codebook"])
def test_trained_map_stays_at_the_last_radius(origin):
    """A few new samples do not smear it, in the first call and in later ones."""
    X = load_iris().data
    batch_size = 50 if origin == "mini-batches" else None
    som = TFSOM(20, batch_size=batch_size, random_state=0).fit(X)
    before = som.score(X)
    if origin == "codebook":
        som = TFSOM.from_codebook(som.codebook_, grid_size=20, X=X)
    for k in range(3):
        som = pickle.loads(pickle.dumps(som.partial_fit(X[k : k + 1])))
        assert_array_equal(som.history_["radius"], 0.85)
    assert som.score(X) > 1.1 * before  # of minus the error


def test_map_begun_by_a_stream_after_fit_of_another_one(stream):
    """`fit` settles a map that a stream had begun; a clone begins again."""
    som = TFSOM((8, 4)).partial_fit(stream[:50])
    assert som.partial_fit(stream[:1]).history_["radius"][0] > 1
    assert som.fit(stream[:50]).partial_fit(stream[:1]).history_["radius"] == [0.85]
    assert clone(som).partial_fit(stream[:1]).history_["radius"] == [2.0]


# Mini-batches in fit.


def test_samples_go_to_the_mini_batches_in_turn():
    order = np.array([3, 0, 2, 1, 4])
    batches = deal_minibatches(order, np.arange(1.0, 6), 2)
    assert [rows.tolist() for rows, _ in batches] == [[3, 1], [0, 4], [2]]
    assert all((weights == 1).all() for _, weights in batches)
    # Weights 0.5, 2 and 1.5 in two batches of 2.
    rows, weights = zip(*deal_minibatches(np.arange(3), np.array([0.5, 2.5, 4.0]), 2), strict=True)
    assert [part.tolist() for part in rows] == [[0, 1, 2], [1, 2]]
    assert [part.tolist() for part in weights] == [[0.5, 1.0, 0.5], [1.0, 1.0]]


@pytest.mark.parametrize("seed", range(5))
def test_parts_of_a_sample_sum_to_its_weight(seed):
    rng = np.random.RandomState(seed)
    weights = rng.exponential(size=50) * 10.0 ** rng.uniform(-3, 1)
    batches = deal_minibatches(np.arange(50), np.cumsum(weights), 3)
    total = np.zeros(50)
    for rows, parts in batches:
        np.add.at(total, rows, parts)
        assert parts.sum() <= 3 + 1
    assert_allclose(total, weights, rtol=1e-9)


@pytest.mark.parametrize("batch_size", [1, 149])
def test_error_with_mini_batches_of_any_size(batch_size):
    X = load_iris().data
    som = TFSOM(6, batch_size=batch_size).fit(X)
    assert som.quantization_error_ < 1.1 * TFSOM(6).fit(X).quantization_error_


def test_rare_samples_are_not_forgotten():
    X = np.vstack([np.zeros((497, 2)), [[1, 0], [0, 1], [1, 1]]])
    error = TFSOM(4).fit(X).quantization_error_
    assert TFSOM(4, batch_size=100).fit(X).quantization_error_ < 2 * error


def test_too_large_weights_for_mini_batches(stream):
    with pytest.raises(
        ValueError, match=r"^sample_weight sums to 9e\+10, too much .* Divide the weights"
    ):
        TFSOM(3, batch_size=50).fit(stream, sample_weight=np.full(900, 1e8))
    assert TFSOM(3, batch_size=10**400).fit(stream).n_iter_ > 1


@pytest.mark.parametrize("batch_size", [3000, 4001])
def test_heavy_weights_equal_repetitions_in_mini_batches(batch_size):
    X = np.random.RandomState(0).normal(size=(10, 2))
    counts = np.r_[1, 0, 2500, np.full(7, 1000)]
    params = {"batch_size": batch_size, "max_iter": 4}
    weighted = TFSOM(3, **params).fit(X, sample_weight=counts)
    assert_allclose(weighted.codebook_, TFSOM(3, **params).fit(X.repeat(counts, 0)).codebook_)


def test_memory_of_mini_batches_does_not_depend_on_weights():
    X = np.random.RandomState(0).normal(size=(10, 2))
    tracemalloc.start()
    som = TFSOM(3, batch_size=10**7).fit(X, sample_weight=np.full(10, 1.6e6))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23
    assert som.n_iter_ > 1


@pytest.mark.parametrize("grid_size", [2, (3, 2)])
def test_mini_batches_do_not_depend_on_the_order_of_incomplete_rows(grid_size):
    # Rows that lack a value project to the same place as those that have the mean there.
    nan = np.nan
    X = [[1, 0], [2, 1], [3, 2], [nan, 1], [2, 5], [nan, 5], [1, 7], [3, 7], [2, 9], [nan, 9]]
    som = TFSOM(grid_size, batch_size=3).fit(np.array(X))
    for seed in range(3):
        rows = np.random.RandomState(seed).permutation(10)
        again = TFSOM(grid_size, batch_size=3).fit(np.array(X)[rows])
        assert_allclose(again.codebook_, som.codebook_)


@pytest.mark.parametrize("batch_size", [30, 128, 400])
def test_errors_with_mini_batches_are_those_of_batch_training(batch_size):
    X = load_digits().data
    batch = TFSOM((8, 6)).fit(X)
    som = TFSOM((8, 6), batch_size=batch_size).fit(X)
    assert som.quantization_error_ < 1.03 * batch.quantization_error_
    assert topographic_error(som, X) < topographic_error(batch, X) + 0.03
    fast = TFSOM((8, 6), batch_size=batch_size, max_iter=5).fit(X)
    assert fast.quantization_error_ < 1.04 * batch.quantization_error_
    assert len(fast.history_["radius"]) == fast.n_iter_ == 5


def test_one_batch_of_all_samples_equals_batch_training(stream):
    assert_array_equal(
        TFSOM(5, batch_size=900).fit(stream).codebook_, TFSOM(5).fit(stream).codebook_
    )


@pytest.mark.parametrize("batch_size", [40, 333])
def test_weights_equal_repetitions_in_mini_batches(stream, batch_size):
    rng = np.random.RandomState(0)
    counts = rng.randint(0, 4, size=len(stream))
    repeated = rng.permutation(np.repeat(stream, counts, axis=0))
    params = {"batch_size": batch_size, "neighborhood": "bubble", "max_iter": 6}
    weighted = TFSOM((5, 4), **params).fit(stream, sample_weight=counts)
    assert_allclose(weighted.codebook_, TFSOM((5, 4), **params).fit(repeated).codebook_)
    assert_allclose(weighted.quantization_error_, -weighted.score(repeated))


# Memory maps. From 64 MiB on they are read piece by piece, and never copied as a whole.


# Arrays of this many bytes are read tile by tile where `write` is used: an eighth of others.
ON_DISK_FROM = 2**23


@pytest.fixture(scope="module")
def large():
    """Return 10 MiB of samples."""
    some = np.random.RandomState(0).normal(size=(6000, 32)) * np.geomspace(2, 0.1, 32)
    return np.vstack([some * scale for scale in np.linspace(1, 2, 7)])


@pytest.fixture(scope="module")
def weights(large):
    """Return weights between 0 and 2; the first one is 0."""
    weights = np.random.RandomState(0).randint(0, 30, size=len(large)) / 15
    weights[0] = 0
    return weights


@pytest.fixture
def write(tmp_path, monkeypatch):
    """``write(X)`` returns a memory map of X."""
    monkeypatch.setattr("sklearn_tfsom._data.samples.MIN_BYTES_ON_DISK", ON_DISK_FROM)

    def write(X, dtype=None, order="C"):
        path, dtype = tmp_path / "data", dtype or X.dtype
        mapped = np.memmap(path, dtype, "w+", shape=X.shape, order=order)
        mapped[:] = X
        mapped.flush()
        return np.memmap(path, dtype, "r", shape=X.shape, order=order)

    return write


def check_equal_to_an_array(
    mapped, X, sample_weight=None, *, atol, has_methods=True, **parameters
):
    """Fit a map to a memory map and to an array, and compare all results."""
    assert mapped.nbytes >= ON_DISK_FROM
    expected = TFSOM(**parameters).fit(X, sample_weight=sample_weight)
    som = TFSOM(**parameters).fit(mapped, sample_weight=sample_weight)
    assert som.grid_shape_ == expected.grid_shape_
    assert som.codebook_.dtype == expected.codebook_.dtype
    assert_allclose(som.codebook_, expected.codebook_, rtol=0, atol=atol)
    for name, values in expected.history_.items():
        assert_allclose(som.history_[name], values, rtol=1e-6)
    if has_methods:
        som.codebook_ = expected.codebook_
        assert_array_equal(som.predict(mapped), expected.predict(X))
        assert_array_equal(som.transform(mapped), expected.transform(X))
        assert som.score(mapped) == expected.score(X)


# name: (parameters, rows with a missing value, memory order, whether methods are compared)
ON_DISK = {
    "missing at the end": ({"grid_size": (5, 4), "max_iter": 2}, slice(-90, None), "C", True),
    # The weights sum to 16, for which 20 units suit.
    "automatic size, by column": ({"max_iter": 2}, slice(None, None, 9), "F", True),
    "mini-batches": (
        {"grid_size": 4, "batch_size": 15_000, "max_iter": 1},
        slice(-90, None),
        "C",
        False,
    ),
    "manhattan": (
        {"grid_size": 4, "metric": "manhattan", "init": "random", "random_state": 0}
        | {"max_iter": 1},
        slice(None, None, 9),
        "C",
        False,
    ),
}


@pytest.mark.parametrize("name", ON_DISK)
def test_memory_map_equals_an_array(large, weights, write, name):
    parameters, missing, order, has_methods = ON_DISK[name]
    X = large.copy()
    X[missing, 1] = np.nan
    if name.startswith("automatic size"):
        weights = weights * (16 / weights.sum())
    mapped = write(X, order=order)
    check_equal_to_an_array(mapped, X, weights, atol=1e-10, has_methods=has_methods, **parameters)


def test_memory_map_of_float32_equals_an_array(large, write):
    X = np.vstack([large, -large]).astype(np.float32)
    check_equal_to_an_array(write(X), X, grid_size=(5, 4), max_iter=2, atol=1e-3)


def test_memory_map_of_integers_equals_an_array(large, write):
    """With directions only."""
    X = np.round(large * 100)
    X[::9, 1] = 0
    parameters = {"metric": "cosine", "init": "sample", "random_state": 0}
    check_equal_to_an_array(
        write(X, np.int64), X, grid_size=4, max_iter=2, atol=1e-10, **parameters
    )


def test_memory_map_of_many_features_equals_an_array(write):
    """Directions by Lanczos' method."""
    rng = np.random.RandomState(0)
    strong = rng.normal(size=(2, 1100)) * [[9], [5]]
    X = rng.normal(size=(1000, 2)) @ strong + rng.uniform(size=(1000, 1100))
    check_equal_to_an_array(write(X), X, grid_size=3, max_iter=2, atol=1e-9, has_methods=False)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, ">f4", bool])
def test_other_types_on_disk(write, dtype):
    X = load_digits().data > 7 if dtype is bool else load_digits().data
    expected = TFSOM(5).fit(X)
    mapped = write(X, dtype)
    som = TFSOM(5).fit(mapped)
    kept = np.float32 if dtype == ">f4" else np.float64
    assert som.codebook_.dtype == kept
    assert_allclose(som.codebook_, expected.codebook_, atol=1e-5 if kept is np.float32 else 1e-10)
    assert_array_equal(som.predict(mapped), expected.labels_)
    assert som.impute(mapped).dtype == kept


@pytest.fixture(scope="module")
def large_float32(tmp_path_factory):
    """Return a memory map of 72 MiB that may be written to; one value is missing."""
    path, shape = tmp_path_factory.mktemp("large") / "data", (300_000, 63)
    mapped = np.memmap(path, np.float32, "w+", shape=shape)
    np.random.default_rng(0).standard_normal(dtype=np.float32, out=mapped)
    mapped[7, 7] = np.nan
    return mapped


@pytest.mark.parametrize("view", [np.asarray, lambda mapped: np.asarray(mapped)[1:]])
def test_large_memory_map_is_never_copied(large_float32, view):
    """Neither in training nor in the checks: 72 MiB on disk; four threads take 52 in memory."""
    TFSOM(2, max_iter=1).fit(large_float32[:1000])
    tracemalloc.start()
    try:
        TFSOM(2, max_iter=1).fit(view(large_float32))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60 * 2**20


def test_infinity_in_the_last_row_of_a_large_memory_map_is_refused(large_float32):
    X, last = np.asarray(large_float32).view(), large_float32[-1, -1]
    large_float32[-1, -1] = np.inf
    try:
        with pytest.raises(ValueError, match="Input X contains infinity"):
            TFSOM(2, max_iter=1).fit(X)
    finally:
        large_float32[-1, -1] = last


def test_small_memory_map_equals_an_array(write):
    X = np.random.RandomState(0).normal(size=(100, 3))
    expected = TFSOM(3).fit(X).codebook_
    mapped = write(np.vstack([X[:1], X]))[1:]
    for view in (mapped, np.asarray(mapped)):
        assert_array_equal(TFSOM(3).fit(view).codebook_, expected)


@pytest.mark.parametrize(("metric", "row"), [("cosine", np.zeros(4)), ("correlation", np.ones(4))])
@pytest.mark.filterwarnings("error")
def test_sample_without_a_direction_leaves_an_unknown_error(metric, row):
    codebook = np.eye(4)
    som = TFSOM.from_codebook(codebook, grid_size=2, metric=metric).partial_fit(row[None])
    assert np.isnan(som.quantization_error_)


@pytest.mark.parametrize("begin", [TFSOM.fit, TFSOM.partial_fit])
@pytest.mark.parametrize(
    ("X", "weights"), [(np.zeros((3, 4)), None), (np.ones((3, 4)), np.zeros(3))]
)
@pytest.mark.filterwarnings("error")
def test_samples_that_do_not_count_change_labels_only(stream, begin, X, weights):
    """Without a direction, or of weight 0."""
    som = begin(TFSOM(4, metric="cosine"), stream)
    before, energy = pickle.loads(pickle.dumps(vars(som))), distortion(som, stream)
    som.partial_fit(X, sample_weight=weights)
    assert_array_equal(som.labels_, som.predict(X))
    now = vars(som)
    assert now.keys() == before.keys()
    for name in now.keys() - {"labels_"}:
        assert pickle.dumps(now[name]) == pickle.dumps(before[name]), name
    assert distortion(som, stream) == energy


@pytest.mark.parametrize("scale", [1e-16, 1e-9, 1e200])
def test_a_stream_may_begin_with_equal_samples_at_any_scale(scale):
    X = np.random.default_rng(0).uniform(size=(2000, 2))
    expected = TFSOM(5).partial_fit(np.zeros((1, 2))).partial_fit(X)
    som = TFSOM(5).partial_fit(np.zeros((1, 2))).partial_fit(scale * X)
    assert_allclose(som.codebook_ / scale, expected.codebook_, atol=1e-9)


# name: (parameters, what the map learns first, rows of each piece of the stream that follows)
EQUAL = {
    "a fit": ({}, lambda X: TFSOM(4).fit(X[:10]), 400),
    "a fit, then one piece": ({}, lambda X: TFSOM(4).fit(X[:10]), 20_000),
    "a fit, then single rows": ({}, lambda X: TFSOM(4).fit(X[:10]), 1),
    "a stream": ({}, lambda X: TFSOM(4).partial_fit(X), 400),
    "compact neighborhood": ({"neighborhood": "bubble"}, lambda X: TFSOM(4).fit(X[:10]), 400),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", [np.float32, np.float64, csr_array])
@pytest.mark.parametrize("name", EQUAL)
def test_a_map_of_equal_code_vectors_unfolds(name, form):
    """A search cannot tell its units apart."""
    parameters, begin, n_piece = EQUAL[name]
    X = np.random.default_rng(0).normal(size=(20_000 if n_piece > 1 else 400, 3))
    som = begin(form(np.full((10_000, 3), 5.0))).set_params(**parameters)
    assert_allclose(som.codebook_, 5, rtol=1e-12)
    for first in range(0, len(X), n_piece):
        som.partial_fit(form(X[first : first + n_piece]))
    fresh = TFSOM(4, **parameters).partial_fit(X)
    assert (som.hits_ > 0).all()
    assert som.score(X) > 1.1 * fresh.score(X)


@pytest.mark.parametrize("form", [np.asarray, csr_array])
def test_a_map_unfolds_after_a_signal_that_was_stuck(form):
    """Its code vectors are equal but for the rounding of smoothed sums."""
    X = np.random.default_rng(0).normal(size=(1300, 4)) + 1.3
    som = TFSOM(4).partial_fit(form(X[:1000]))
    for _ in range(5):
        som.partial_fit(form(np.tile(X[:1], (5000, 1))))
    som.partial_fit(form(X[1000:]))
    assert len(set(som.predict(X))) == 16
    assert som.score(X) > 1.25 * TFSOM(4).fit(X).score(X)


@pytest.mark.parametrize(
    ("offset", "spread", "dtype"), [(1.7e9, 100, np.float32), (1.7e18, 1e4, np.float64)]
)
def test_code_vectors_of_few_different_numbers_are_not_equal(offset, spread, dtype):
    """The last place is 128 and 256 here."""
    X = (offset + spread * np.random.default_rng(0).normal(size=(3000, 3))).astype(dtype)
    som, values = TFSOM(5), X.astype(np.float64)
    for piece in np.array_split(X, 15):
        som.partial_fit(piece)
    assert som.score(values) > 1.1 * TFSOM(5).fit(X).score(values)


def test_code_vectors_beside_a_large_constant_are_not_equal():
    """In float32 the constant's last place is 64 here."""
    X = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    constant = np.full((len(X), 1), 1e9, np.float32)
    som, beside = (
        TFSOM(4).partial_fit(X[:2500]).partial_fit(X[2500:]) for X in (X, np.hstack([constant, X]))
    )
    assert_allclose(beside.codebook_[:, 1:], som.codebook_, atol=1e-5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("metric", METRICS)
def test_equal_code_vectors_and_samples_that_tell_nothing(metric):
    """Neither equal samples nor a feature without values unfold a map; later samples do."""
    X = np.random.default_rng(0).normal(size=(2000, 3)) + np.array([3, 0, 0])
    som = TFSOM(4, metric=metric).fit(np.tile(X[:1], (10, 1)))
    for _ in range(3):
        som.partial_fit(np.tile(X[:1], (20, 1)))
        assert np.ptp(som.codebook_, axis=0).max() < 1e-14
    if METRICS[metric].allows_missing:
        som.partial_fit(np.where([True, True, False], X[:20], np.nan))
    assert (som.partial_fit(X).hits_ > 0).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize(
    ("before", "after", "dtype"),
    [
        (1e-20, 1e20, np.float32),
        (1e-30, 1e10, np.float32),
        (1e-37, 1e37, np.float32),
        (1e-25, 1e110, np.float64),
        (1e-25, 1e140, np.float64),
        (1e-80, 1e80, np.float64),
        (1e-200, 1e100, np.float64),
        (1e-300, 1, np.float64),
    ],
)
def test_a_stream_may_grow_by_any_factor(before, after, dtype, begins, metric):
    X = np.random.default_rng(0).uniform(size=(500, 40))
    first, X = ((X * scale).astype(dtype) for scale in (before, after))
    som = TFSOM(3, metric=metric)
    if begins:
        som.partial_fit(first)
    else:
        som = TFSOM.from_codebook(first[:9], grid_size=3, metric=metric)
    for _ in range(4):
        som.partial_fit(X)
    assert som.codebook_.dtype == dtype
    assert -som.score(X) < 1.1 * TFSOM(3, metric=metric).fit(X).quantization_error_


@pytest.mark.filterwarnings("error")
def test_samples_at_both_ends_of_the_range_are_refused():
    som = TFSOM(1).partial_fit(np.full((3, 2), -1.7e308))
    with pytest.raises(ValueError, match="exceed the range of float64"):
        som.partial_fit([[1e308, 1]])


@pytest.mark.parametrize("kind", ["stream", "mini-batches", "batch"])
def test_ties_far_from_the_origin_are_those_near_it(kind):
    X = np.random.RandomState(1).normal(size=(30, 1)) + 1e4
    som = TFSOM(8, neighborhood="bubble", batch_size=4 if kind == "mini-batches" else None)
    train = som.partial_fit if kind == "stream" else som.fit
    near = train(X - 1e4).codebook_  # exact
    far = (TFSOM.partial_fit if kind == "stream" else TFSOM.fit)(clone(som), X).codebook_
    assert_allclose(far - 1e4, near, atol=1e-9)


def test_errors_of_sparse_samples_that_equal_code_vectors_are_those_of_dense_ones():
    rng = np.random.RandomState(0)
    codebook = rng.uniform(size=(25, 60)) * (rng.uniform(size=(25, 60)) < 0.3) * 100
    X = codebook[rng.randint(25, size=2000)]
    dense, sparse = (
        TFSOM.from_codebook(codebook, grid_size=5, radius_start=0.2, radius_end=0.2, X=data)
        .partial_fit(data)
        .quantization_error_
        for data in (X, csr_array(X))
    )
    assert sparse == pytest.approx(dense, rel=1e-9)


def test_samples_without_a_direction_are_not_remembered():
    rng = np.random.RandomState(0)
    X, new = rng.exponential(size=(200, 5)), rng.exponential(size=(50, 5))
    with_zeros = np.vstack([X, np.zeros((400, 5))])
    codebook = TFSOM(4, metric="cosine").fit(X).codebook_
    for make in (
        lambda data: TFSOM(4, metric="cosine").fit(data),
        lambda data: TFSOM(4, metric="cosine").partial_fit(data),
        lambda data: TFSOM.from_codebook(codebook, grid_size=4, metric="cosine", X=data),
    ):
        expected, som = make(X), make(with_zeros)
        assert len(som.labels_) == 600
        assert som.n_samples_seen_ == 200
        expected.partial_fit(new)
        assert_allclose(som.partial_fit(new).codebook_, expected.codebook_, atol=1e-12)

"""Streams, mini-batches, and data larger than memory."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine, make_swiss_roll

from sklearn_tfsom import TFSOM
from sklearn_tfsom._data import samples as samples_room
from sklearn_tfsom._data.minibatches import deal
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.schedules import StreamSchedule
from sklearn_tfsom.metrics import topographic_error


def slow_stream(X, shape, start, calls, last_radius=0.85):
    """What `partial_fit` promises, sample by sample and unit by unit; one weight, no gaps."""
    n_units = len(start)
    grid = Grid(*shape)
    squared = grid.squared_distances(*np.ogrid[:n_units, :n_units])
    sums, counts, codebook = 0.1 * start, np.full(n_units, 0.1), start.copy()
    first_radius, seen = max(1.0, max(shape) / 4), 0
    radii = []
    for stop, begin in zip(np.cumsum(calls), np.cumsum(calls) - calls, strict=True):
        while begin < stop:
            size = int(max(4, min(max(1024, n_units / 4), 0.05 * seen)))
            end = stop if stop - begin < 1.5 * size else begin + size
            batch = X[begin:end]
            share = min(1.0, seen / max(100, 0.6 * n_units))
            radius = first_radius * (last_radius / first_radius) ** share
            radii.append(radius)
            H = np.exp(-squared / (2 * radius**2))
            distances = np.linalg.norm(batch[:, None] - codebook, axis=2)
            bmus = distances.argmin(axis=1)
            seen += len(batch)
            memory = min(max(500, 5 * n_units), max(1, 0.3 * seen))
            fade = np.exp(-len(batch) / memory)
            sums, counts = fade * sums, fade * counts
            np.add.at(sums, bmus, batch)
            np.add.at(counts, bmus, 1)
            codebook = (H @ sums) / (H @ counts)[:, None]
            begin = end
    return codebook, radii


@pytest.fixture(scope="module")
def stream():
    rng = np.random.RandomState(0)
    centers = rng.normal(size=(7, 4)) * 3
    return centers[rng.randint(7, size=900)] + rng.normal(size=(900, 4))


@pytest.mark.parametrize(
    "calls", [[900], [300, 300, 300], [1] * 40 + [860], [5, 7, 1, 400, 80, 407], [50] * 18]
)
def test_partial_fit_is_what_it_says(stream, calls):
    start = stream[:30][np.random.RandomState(0).permutation(30)[:24]]
    som = TFSOM((6, 4), init=start, radius_start=1.5)
    radii = []
    for part in np.split(stream, np.cumsum(calls)[:-1]):
        som.partial_fit(part)
        radii += som.history_["radius"].tolist()
    expected, expected_radii = slow_stream(stream, (6, 4), start, calls)
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


@pytest.mark.parametrize("grid_size", [(10, 6), 10])
@pytest.mark.parametrize("name", SETS)
def test_three_passes_of_a_stream_come_close_to_fit(name, grid_size):
    X = SETS[name]()
    batch = TFSOM(grid_size).fit(X)
    ratios, rises = [], []
    for seed in range(1 if len(X) > 5000 else 2):
        shuffled = np.random.RandomState(seed).permutation(X)
        som = TFSOM(grid_size)
        for _ in range(3):
            for piece in np.array_split(shuffled, 40):
                som.partial_fit(piece)
        ratios.append(som.score(X) / batch.score(X))
        rises.append(topographic_error(som, X) - topographic_error(batch, X))
    assert max(ratios) < 1.10
    assert np.mean(rises) < 0.08


def test_fit_begins_anew_and_partial_fit_goes_on(stream):
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
    # It follows a drift, and forgets.
    for piece in np.array_split(np.vstack([stream + 20] * 5), 45):
        som.partial_fit(piece)
    assert som.score(stream + 20) > 1.1 * before
    assert som.score(stream) < 5 * before


def test_weights_are_repetitions_within_a_mini_batch(stream):
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


def test_weights_are_repetitions_in_a_long_stream(stream):
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


def test_a_map_keeps_its_grid_and_metric(stream):
    som = TFSOM((4, 4)).fit(stream)
    som.set_params(metric="cosine", grid_size=7, lattice="rectangular").partial_fit(stream[:50])
    assert som.grid_shape_ == (4, 4)
    differences = stream[:9, None] - som.codebook_
    assert_allclose(som.transform(stream[:9]), np.linalg.norm(differences, axis=2))
    gappy = np.where(np.eye(9, 4), np.nan, stream[:9])
    assert np.isfinite(som.partial_fit(gappy).codebook_).all()  # it is Euclidean
    som.set_params(n_clusters=17)
    with pytest.raises(ValueError, match="'n_clusters' parameter of TFSOM must be at most"):
        som.partial_fit(stream[:50])


def test_hits_and_error_are_those_of_the_samples_remembered(stream):
    som = TFSOM((4, 4))
    for piece in np.array_split(np.vstack([stream] * 4), 80):
        som.partial_fit(piece)
    # A weight of 500 is remembered, and of a mini-batch half of what it adds.
    assert 480 < som.hits_.sum() < 600
    assert som.quantization_error_ == pytest.approx(-som.score(stream), rel=0.05)
    assert som.transform(stream).min(axis=1).mean() == pytest.approx(-som.score(stream))
    activations = som.set_params(features="activations").transform(stream)
    assert 0 < activations.min() <= activations.max() <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_precision_is_that_of_the_samples(stream, dtype):
    X = stream.astype(dtype)
    som = TFSOM((4, 4)).partial_fit(X[:300]).partial_fit(X[300:])
    assert som.codebook_.dtype == dtype
    exact = TFSOM((4, 4)).partial_fit(stream[:300]).partial_fit(stream[300:])
    assert_allclose(som.codebook_, exact.codebook_, atol=1e-10 if dtype == np.float64 else 1e-3)
    mixed = TFSOM((4, 4)).partial_fit(X[:300]).partial_fit(stream[300:])
    assert mixed.codebook_.dtype == np.float64


@pytest.mark.parametrize("offset", [0.0, 1e7])
def test_a_stream_far_from_the_origin(stream, offset):
    near, far = (TFSOM((4, 4)) for _ in range(2))
    for piece in np.array_split(stream, 12):
        near.partial_fit(piece)
        far.partial_fit(piece + offset)
    assert_allclose(far.codebook_ - offset, near.codebook_, atol=1e-6)


@pytest.mark.parametrize("first", [np.zeros((1, 4)), np.ones((30, 4)), np.full((2, 4), 1e3)])
def test_a_poor_beginning_is_made_good(stream, first):
    som = TFSOM((6, 5)).partial_fit(first)
    for _ in range(4):
        som.partial_fit(stream)
    assert -som.score(stream) < 1.1 * TFSOM((6, 5)).fit(stream).quantization_error_


@pytest.mark.parametrize("metric", ["cosine", "correlation", "manhattan", "chebyshev"])
def test_streams_under_other_metrics(metric):
    X = load_digits().data
    batch = TFSOM(7, metric=metric).fit(X)
    som = TFSOM(7, metric=metric)
    for _ in range(3):
        for piece in np.array_split(np.random.RandomState(0).permutation(X), 20):
            som.partial_fit(piece)
    assert som.score(X) > 1.05 * batch.score(X)
    if metric in ("cosine", "correlation"):
        assert_allclose(np.linalg.norm(som.codebook_, axis=1), 1)
        nothing = som.codebook_
        assert_allclose(som.partial_fit(np.zeros((3, 64))).codebook_, nothing, atol=1e-15)
        assert_array_equal(som.labels_, 0)


def test_a_stream_with_gaps(stream):
    rng = np.random.RandomState(0)
    gappy = np.where(rng.uniform(size=stream.shape) < 0.15, np.nan, stream)
    gappy = gappy[~np.isnan(gappy).all(axis=1)]
    som = TFSOM((5, 5)).partial_fit(stream[:100])
    for piece in np.array_split(gappy, 10):
        som.partial_fit(piece)
        som.partial_fit(stream[:7])  # pieces without any
    assert np.isfinite(som.codebook_).all()
    full = TFSOM((5, 5)).fit(stream)
    assert -som.score(stream) < 1.1 * full.quantization_error_
    with pytest.raises(ValueError, match="Feature 2 of X is missing"):
        TFSOM((2, 2)).partial_fit(np.insert(stream[:9, :3], 2, np.nan, axis=1))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_sparse_stream_is_a_dense_one(metric):
    X = load_digits().data
    maps = [TFSOM(5, metric=metric), TFSOM(5, metric=metric)]
    for piece in np.array_split(X, 6):
        maps[0].partial_fit(piece)
        maps[1].partial_fit(csr_array(piece))
        assert_allclose(maps[1].codebook_, maps[0].codebook_, atol=1e-8)
        assert_array_equal(maps[1].labels_, maps[0].labels_)


def test_a_stream_is_clustered(stream):
    som = TFSOM((5, 5), n_clusters=3)
    with pytest.warns(match="Samples fall on 1 units only, fewer than n_clusters=3") as caught:
        som.partial_fit(stream[:1])
    assert caught[0].filename == __file__
    for piece in np.array_split(stream, 9):
        som.partial_fit(piece)
    assert set(som.predict(stream)) == {0, 1, 2}


def test_a_failed_call_changes_nothing(stream):
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


def test_it_says_where_it_is(stream, capsys):
    TFSOM((3, 3), verbose=1).partial_fit(stream[:10])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("[TFSOM] mini-batch 1/3: radius 1, quantization error ")
    assert lines[-1].startswith("[TFSOM] mini-batch 3/3: ")


def test_radii_of_a_stream():
    grid = Grid(8, 4)
    kinds = {"start": "auto", "end": "auto", "neighborhood": "gaussian", "ordered_start": True}
    stream = StreamSchedule.of(grid, decay="exponential", **kinds)
    assert stream.radius(0) == 2
    assert stream.radius(50) == pytest.approx(np.sqrt(2 * 0.85))
    assert stream.radius(100) == stream.radius(1e9) == pytest.approx(0.85)
    straight = StreamSchedule.of(grid, decay="linear", **kinds)
    assert straight.radius(50) == pytest.approx((2 + 0.85) / 2)
    given = StreamSchedule.of(grid, decay=[5.0, 3.0, 2.0], **kinds)
    assert [given.radius(seen) for seen in (0, 25, 50, 100, 200)] == [5, 4, 3, 2, 2]


# Mini-batches in fit.


def test_samples_are_dealt_like_cards():
    order = np.array([3, 0, 2, 1, 4])
    batches = deal(order, np.arange(1.0, 6), 2)
    assert [rows.tolist() for rows, _ in batches] == [[3, 1], [0, 4], [2]]
    assert all((weights == 1).all() for _, weights in batches)
    # Weights 0.5, 2 and 1.5 in two batches of 2.
    rows, weights = zip(*deal(np.arange(3), np.array([0.5, 2.5, 4.0]), 2), strict=True)
    assert [part.tolist() for part in rows] == [[0, 1, 1, 2], [1, 2]]
    assert [part.tolist() for part in weights] == [[0.5, 0.5, 0.5, 0.5], [1.0, 1.0]]


@pytest.mark.parametrize("seed", range(5))
def test_all_of_each_sample_is_dealt_out(seed):
    rng = np.random.RandomState(seed)
    weights = rng.exponential(size=50) * 10.0 ** rng.uniform(-3, 1)
    batches = deal(np.arange(50), np.cumsum(weights), 3)
    total = np.zeros(50)
    for rows, parts in batches:
        np.add.at(total, rows, parts)
        assert parts.sum() <= 3 + 1
    assert_allclose(total, weights, rtol=1e-9)


@pytest.mark.parametrize("batch_size", [1, 2, 149])
def test_mini_batches_of_any_size_make_a_map(batch_size):
    X = load_iris().data
    som = TFSOM(6, batch_size=batch_size).fit(X)
    assert som.quantization_error_ < 1.1 * TFSOM(6).fit(X).quantization_error_


def test_a_batch_does_not_wipe_out_the_others():
    X = np.vstack([np.zeros((497, 2)), [[1, 0], [0, 1], [1, 1]]])
    error = TFSOM(4).fit(X).quantization_error_
    assert TFSOM(4, batch_size=100).fit(X).quantization_error_ < 2 * error


def test_too_much_weight_to_deal_out(stream):
    with pytest.raises(ValueError, match=r"^sample_weight sums to 9e\+10, too many samples"):
        TFSOM(3, batch_size=50).fit(stream, sample_weight=np.full(900, 1e8))
    assert TFSOM(3, batch_size=10**400).fit(stream).n_iter_ > 1


@pytest.mark.parametrize("batch_size", [30, 128, 400])
def test_mini_batches_come_to_the_same_errors(batch_size):
    X = load_digits().data
    batch = TFSOM((8, 6)).fit(X)
    som = TFSOM((8, 6), batch_size=batch_size).fit(X)
    assert som.quantization_error_ < 1.03 * batch.quantization_error_
    assert topographic_error(som, X) < topographic_error(batch, X) + 0.03
    fast = TFSOM((8, 6), batch_size=batch_size, max_iter=5).fit(X)
    assert fast.quantization_error_ < 1.04 * batch.quantization_error_
    assert len(fast.history_["radius"]) == fast.n_iter_ == 5


def test_a_batch_of_all_is_the_batch_map(stream):
    assert_array_equal(
        TFSOM(5, batch_size=900).fit(stream).codebook_, TFSOM(5).fit(stream).codebook_
    )


@pytest.mark.parametrize("batch_size", [40, 333])
def test_weights_are_repetitions_in_mini_batches(stream, batch_size):
    rng = np.random.RandomState(0)
    counts = rng.randint(0, 4, size=len(stream))
    repeated = rng.permutation(np.repeat(stream, counts, axis=0))
    params = {"batch_size": batch_size, "neighborhood": "bubble", "max_iter": 6}
    weighted = TFSOM((5, 4), **params).fit(stream, sample_weight=counts)
    assert_allclose(weighted.codebook_, TFSOM((5, 4), **params).fit(repeated).codebook_)
    assert_allclose(weighted.quantization_error_, -weighted.score(repeated))


# Larger than memory.


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    """``on_disk(X)`` is a memory map of X that is large enough to be left where it is."""
    monkeypatch.setattr(samples_room, "_MIN_BYTES_ON_DISK", 0)

    def write(X, dtype=None, order="C"):
        path = tmp_path / "data"
        mapped = np.memmap(path, dtype or X.dtype, "w+", shape=X.shape, order=order)
        mapped[:] = X
        mapped.flush()
        return np.memmap(path, dtype or X.dtype, "r", shape=X.shape, order=order)

    return write


@pytest.mark.parametrize(("order", "dtype"), [("C", np.float32), ("F", np.float64)])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"metric": "cosine"},
        {"metric": "manhattan"},
        {"init": "sample", "random_state": 0},
        {"init": "random", "random_state": 0},
        {"batch_size": 100},
        {"grid_size": "auto"},
    ],
    ids=str,
)
def test_a_memory_map_is_an_array(stream, on_disk, params, dtype, order, monkeypatch):
    from sklearn_tfsom._tf import data

    monkeypatch.setattr(data, "_PIECE_VALUES", 1000)  # so that there are pieces
    X = stream.astype(dtype)
    X[::9, 1] = np.nan if params.get("metric") != "cosine" else 0
    weights = np.random.RandomState(0).randint(0, 3, size=len(X))
    mapped = on_disk(X, order=order)
    params = {"grid_size": (5, 4), **params}
    expected = TFSOM(**params).fit(X, sample_weight=weights)
    som = TFSOM(**params).fit(mapped, sample_weight=weights)
    tolerance = {"rtol": 0, "atol": 1e-10 if dtype == np.float64 else 1e-3}
    assert som.codebook_.dtype == dtype
    assert_allclose(som.codebook_, expected.codebook_, **tolerance)
    som.codebook_ = expected.codebook_
    assert_array_equal(som.predict(mapped), expected.predict(X))
    assert_array_equal(som.transform(mapped), expected.transform(X))
    assert som.score(mapped) == expected.score(X)


def test_parts_of_a_memory_map_with_gaps(stream, on_disk):
    X = stream.copy()
    X[-90:, 3] = np.nan
    weights = np.ones(900)
    weights[0] = 0
    for params in ({"batch_size": 80}, {}):
        expected = TFSOM(4, max_iter=4, **params).fit(X, sample_weight=weights)
        som = TFSOM(4, max_iter=4, **params).fit(on_disk(X), sample_weight=weights)
        assert_allclose(som.codebook_, expected.codebook_, atol=1e-10)
        for name, values in expected.history_.items():
            assert_allclose(som.history_[name], values, rtol=1e-6)


def test_a_wide_memory_map(on_disk):
    X = np.random.RandomState(0).randint(0, 9, size=(30, 3000)).astype(float)
    expected = TFSOM(3).fit(X)
    for dtype in (np.float64, np.uint8):
        som = TFSOM(3).fit(on_disk(X, dtype))
        assert_allclose(som.codebook_, expected.codebook_, atol=1e-9)
    assert som.impute(on_disk(X, np.uint8)).dtype == np.float64


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, ">f4", bool])
def test_other_numbers_on_disk(on_disk, dtype):
    X = load_digits().data > 7 if dtype is bool else load_digits().data
    expected = TFSOM(5).fit(X)
    mapped = on_disk(X, dtype)
    som = TFSOM(5).fit(mapped)
    assert som.codebook_.dtype == np.float64
    assert_allclose(som.codebook_, expected.codebook_, atol=1e-10)
    assert_array_equal(som.predict(mapped), expected.labels_)


def test_a_memory_map_is_never_copied(tmp_path):
    """Not even to look for values that are not finite: 72 MiB on disk, and two thirds allowed."""
    import tracemalloc

    shape = (300_000, 63)
    mapped = np.memmap(tmp_path / "data", np.float32, "w+", shape=shape)
    rng = np.random.RandomState(0)
    for rows in range(0, shape[0], 50_000):
        mapped[rows : rows + 50_000] = rng.normal(size=(50_000, 63))
    mapped[7, 7] = np.nan
    TFSOM(2, max_iter=1).fit(mapped[:1000])
    tracemalloc.start()
    TFSOM(2, max_iter=1).fit(mapped)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 48 * 2**20
    mapped[-1, -1] = np.inf
    with pytest.raises(ValueError, match="Input X contains infinity"):
        TFSOM(2, max_iter=1).fit(mapped)


def test_small_memory_maps_are_loaded(tmp_path):
    mapped = np.memmap(tmp_path / "data", np.float64, "w+", shape=(100, 3))
    mapped[:] = np.random.RandomState(0).normal(size=(100, 3))
    assert not samples_room.Samples(np.asarray(mapped)).is_on_disk
    assert samples_room.is_memory_map(np.asarray(mapped)[1:])
    assert not samples_room.is_memory_map(np.array(mapped))
    assert_array_equal(TFSOM(3).fit(mapped).codebook_, TFSOM(3).fit(np.array(mapped)).codebook_)

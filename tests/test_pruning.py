"""A search in blocks of units finds what a search of all units finds, and spares most of them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_tfsom import TFSOM
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._tf.startup import tensorflow_core


@pytest.fixture
def in_blocks(monkeypatch, counting):
    """``in_blocks(True)`` has units searched in blocks wherever that is possible, or nowhere.

    Of more than 64 samples. A test in which none have been has not shown anything.
    """
    from sklearn_tfsom._tf import inference, search

    monkeypatch.setattr(inference, "tile_rows", lambda *_: 64)
    counting.clear()
    values = []

    def in_blocks(value):
        values.append(value)
        monkeypatch.setattr(search, "_MIN_IN_BLOCKS", 0 if value else 10**9)
        monkeypatch.setattr(search, "_MIN_ACROSS", 1)
        monkeypatch.setattr(search, "_MIN_ROWS_FOR_BLOCKS", 1)

    yield in_blocks
    assert counting
    assert True in values


@pytest.fixture(scope="module")
def counting():
    """Have graphs made anew, so that they tell how many blocks each tile is searched among."""
    tensorflow_core()
    from sklearn_tfsom._tf import inference, pruning, training_graphs

    def forget_graphs():
        for graph in (
            inference._nearest_tiles,
            training_graphs.epoch_graph,
            training_graphs.piece_graph,
        ):
            graph.__wrapped__.cache_clear()

    numbers = []
    search_chosen = pruning._search_chosen

    def counted(rows32, margin, chosen, *others):
        import tensorflow as tf

        told = tf.numpy_function(
            lambda n: numbers.append(int(n)) or n, [tf.size(chosen)], tf.int32
        )
        with tf.control_dependencies([told]):
            return search_chosen(tf.identity(rows32), margin, chosen, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pruning, "_search_chosen", counted)
        forget_graphs()
        yield numbers
    forget_graphs()


@pytest.fixture
def n_searched(counting):
    """How many blocks each tile has been searched among in a test."""
    counting.clear()
    return counting


def sheet(shape, n_features, rng, noise=0.0, n_samples=3000):
    """Make code vectors on a curved sheet, and samples near it."""
    down, across = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    places = np.stack([down.ravel(), across.ravel()], axis=1)
    bend = 3 * rng.normal(size=(2, n_features)), rng.uniform(0, 6, n_features)

    def bent(at):
        return np.cos(at @ bend[0] + bend[1])

    X = bent(rng.random((n_samples, 2)))
    return X + noise * rng.normal(size=X.shape), bent(places)


def nearest(X, codebook, shape, metric="euclidean"):
    return tensorflow_core().nearest(Samples(X, metric), codebook, n_columns=shape[1])[:, 0]


def by_differences(X, codebook):
    """Best-matching units in float64, by differences; over known features."""
    squared = np.stack([np.nansum((codebook - x) ** 2, axis=1) for x in X.astype(np.float64)])
    return squared.argmin(axis=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(24, 24), (17, 31), (30, 18), (70, 3), (1, 400)])
@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("center", [0.0, 100.0])
def test_blocks_change_nothing(in_blocks, dtype, shape, noise, center):
    rng = np.random.RandomState(0)
    X, codebook = sheet(shape, 6, rng, noise)
    X, codebook = (X + center).astype(dtype), codebook + center
    in_blocks(True)
    found = nearest(X, codebook, shape)
    in_blocks(False)
    assert_array_equal(found, nearest(X, codebook, shape))
    assert_array_equal(found, by_differences(X, codebook))


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, 1e-11])
@pytest.mark.parametrize("is_folded", [False, True])
def test_near_ties_between_blocks_are_decided_as_in_float64(in_blocks, gap, is_folded):
    shape, rng = (44, 40), np.random.RandomState(1)  # more units than are searched together
    _, codebook = sheet(shape, 5, rng)
    if is_folded:  # blocks reach across the map
        codebook = codebook[rng.permutation(len(codebook))]
    pairs = rng.randint(len(codebook), size=(2000, 2))
    pairs[:1000, 1] = (pairs[:1000, 0] + rng.choice([1, 4, 40, 160], size=1000)) % len(codebook)
    first, second = codebook[pairs[:, 0]], codebook[pairs[:, 1]]
    X = (first + second) / 2 + rng.choice([-1, 1], size=(2000, 1)) * gap * (first - second)
    in_blocks(True)
    found = nearest(X, codebook, shape)
    in_blocks(False)
    assert_array_equal(found, nearest(X, codebook, shape))
    assert_array_equal(found, by_differences(X, codebook))


def tight_bounds(gap, scale, rng):
    """Samples whose unit lies at the very edge of its block, towards them, and just close enough.

    Each lies on the line from the middle of one block through its outermost unit, and another
    middle is closer or less close than that unit by a relative `gap`.
    """
    n_blocks, n_pairs = 100, 25  # 40 x 40
    compact = 100 * rng.normal(size=(n_blocks, 1, 5)) + 0.01 * rng.normal(size=(n_blocks, 16, 5))
    firsts, seconds, others = np.split(rng.permutation(n_blocks), [n_pairs, 2 * n_pairs])
    X = [compact[others, 0] + 0.01 * rng.normal(size=(len(others), 5)) for _ in range(40)]
    for first, second in zip(firsts, seconds, strict=True):
        direction = rng.normal(size=5)
        direction /= np.linalg.norm(direction)
        compact[first, 3] = compact[first, 0] + rng.choice([3, 100]) * direction
        mean = compact[first].mean(axis=0)
        middle = compact[first][np.linalg.norm(compact[first] - mean, axis=1).argmin()]
        towards = compact[first, 3] - middle
        x = compact[first, 3] + rng.choice([0.1, 1, 30]) * towards / np.linalg.norm(towards)
        aside = rng.normal(size=5)
        aside *= np.linalg.norm(x - compact[first, 3]) / np.linalg.norm(aside)
        # The others of its block lie around it, at a right angle: clearly farther away.
        around = rng.normal(size=(8, 5))
        around -= np.outer(around @ aside, aside) / (aside @ aside)
        around *= 3 / np.linalg.norm(around, axis=1, keepdims=True)
        around[-1] = 0
        compact[second] = np.concatenate([around, -around])
        compact[second, -1] = 2 * around[0]
        compact[second] += x + aside * (1 + rng.choice([-1, 1]) * gap)
        X.append(x[None])
    codebook = compact.reshape(10, 10, 4, 4, 5).transpose(0, 2, 1, 3, 4).reshape(-1, 5)
    return scale * np.concatenate(X), scale * codebook, n_pairs


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("gap", [1e-1, 1e-2, 1e-4, 1e-6, 1e-8, 1e-10])
def test_units_at_the_edge_of_their_block_are_found(in_blocks, n_searched, gap, seed):
    X, codebook, n_pairs = tight_bounds(gap, 1.0, np.random.RandomState(seed))
    in_blocks(True)
    found = nearest(X, codebook, (40, 40))
    assert max(n_searched) < 100  # else nothing is tried
    expected = by_differences(X, codebook)
    assert 0 < np.sum(found[-n_pairs:] % 4 == 3)
    assert_array_equal(found, expected)


def test_equal_code_vectors_go_to_the_lowest_index(in_blocks):
    """As compact neighborhoods make them."""
    shape, rng = (20, 20), np.random.RandomState(0)
    X, codebook = sheet((5, 20), 4, rng, 0.1)
    codebook = codebook.repeat(4, axis=0)
    in_blocks(True)
    found = nearest(X, codebook, shape)
    assert_array_equal(found % 4, 0)
    assert_array_equal(found // 4, by_differences(X, codebook[::4]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["cosine", "correlation"])
def test_blocks_of_directions(in_blocks, dtype, metric):
    shape, rng = (20, 22), np.random.RandomState(0)
    X, codebook = sheet(shape, 7, rng, 0.1)
    X = X.astype(dtype)
    X[5] = 0
    codebook = Samples(codebook, metric)[:]
    in_blocks(True)
    found = nearest(X, codebook, shape, metric)
    in_blocks(False)
    assert_array_equal(found, nearest(X, codebook, shape, metric))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("center", [0.0, 50.0])
def test_blocks_of_incomplete_samples(in_blocks, dtype, center):
    shape, rng = (20, 22), np.random.RandomState(0)
    X, codebook = sheet(shape, 7, rng, 0.05)
    X, codebook = (X + center).astype(dtype), codebook + center
    X[rng.random(X.shape) < 0.3] = np.nan
    X[:, 0] = np.where(np.isnan(X).all(axis=1), center, X[:, 0])
    in_blocks(True)
    found = nearest(X, codebook, shape)
    in_blocks(False)
    assert_array_equal(found, nearest(X, codebook, shape))
    assert_array_equal(found, by_differences(X, codebook))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e15, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_at_any_scale_and_for_outliers(in_blocks, dtype, scale):
    """Samples of which float32 cannot hold the scores do not spoil those beside them."""
    shape, rng = (20, 20), np.random.RandomState(0)
    X, codebook = sheet(shape, 5, rng, 0.05)
    scale = dtype(min(scale, 1e15) if dtype == np.float32 else scale)
    X, codebook = X.astype(dtype) * scale, codebook.astype(dtype) * scale
    X[::10] *= dtype(1e20 if dtype == np.float32 and scale < 1e10 else 1e3)
    if dtype == np.float64:
        X[5::10] *= 1e100
    in_blocks(True)
    found = nearest(X, codebook, shape)
    in_blocks(False)
    assert_array_equal(found, nearest(X, codebook, shape))
    near = np.abs(X).max(axis=1) < 1e4 * scale
    expected = by_differences(X[near] / scale, codebook / scale)
    assert_array_equal(found[near], expected)


def test_far_from_all_units_nothing_is_lost(in_blocks):
    shape, rng = (20, 20), np.random.RandomState(0)
    X, codebook = sheet(shape, 5, rng)
    X = 1e3 * X
    in_blocks(True)
    assert_array_equal(nearest(X, codebook, shape), by_differences(X, codebook))


@pytest.mark.parametrize(
    ("exponent", "gap"), [(39, 2.0**-18), (41, 2.0**-16), (44, 2.0**-12), (100, 1e-3)]
)
def test_unimaginably_far_from_all_units_nothing_is_lost(in_blocks, exponent, gap):
    """Where a score is lost beside the square of the distance."""
    shape = (24, 24)
    for seed in range(50):
        rng = np.random.RandomState(seed)
        blocks = np.linspace(-1, -0.5, 36)[:, None] + 1e-4 * rng.random((36, 16))
        blocks[0] = rng.uniform(0.2, 0.3, size=16)
        blocks[0, 5] = 1
        blocks[21] = 1 - gap - 1e-7 * np.arange(16)
        codebook = blocks.reshape(6, 6, 4, 4).transpose(0, 2, 1, 3).reshape(-1, 1)
        X = rng.uniform(-1, -0.8, size=(700, 1))
        X[:5] = np.ldexp(1 + rng.random((5, 1)), exponent)
        in_blocks(True)
        found = nearest(X, codebook, shape)
        in_blocks(False)
        assert_array_equal(found, nearest(X, codebook, shape))


@pytest.mark.parametrize("n_far", [1200, 3000])
@pytest.mark.parametrize(("dtype", "far"), [(np.float32, 1e17), (np.float64, 1e40)])
def test_tiles_of_samples_that_float32_cannot_hold(in_blocks, n_far, dtype, far):
    shape, rng = (20, 20), np.random.RandomState(0)
    X, codebook = sheet(shape, 5, rng, 0.05)
    X, codebook = X.astype(dtype), 1e3 * codebook
    X[:n_far] *= dtype(far)
    X[:n_far] *= dtype(far if dtype == np.float32 else 1)
    in_blocks(True)
    found = nearest(X, codebook, shape)
    in_blocks(False)
    assert_array_equal(found, nearest(X, codebook, shape))


@pytest.mark.parametrize("n_samples", [65, 511, 512, 513, 1025, 3000])
def test_any_number_of_samples(in_blocks, n_samples):
    shape, rng = (24, 24), np.random.RandomState(0)
    X, codebook = sheet(shape, 6, rng, 0.02)
    in_blocks(True)
    found = nearest(X[:n_samples], codebook, shape)
    assert_array_equal(found, by_differences(X[:n_samples], codebook))


def test_most_blocks_are_left_out_on_a_sheet_and_none_of_a_heap(in_blocks, n_searched):
    shape, rng = (60, 60), np.random.RandomState(0)
    X, codebook = sheet(shape, 6, rng, 0.01, 30_000)
    n_blocks = 15 * 15
    in_blocks(True)
    nearest(X, codebook, shape)
    assert len(n_searched) >= 30_000 / 512
    assert np.mean(n_searched) < 0.25 * n_blocks
    n_searched.clear()
    nearest(X, codebook[rng.permutation(len(codebook))], shape)  # blocks reach across the map
    assert set(n_searched) == {n_blocks}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lattice", ["rectangular", "hexagonal"])
@pytest.mark.parametrize("neighborhood", ["gaussian", "bubble"])
def test_training_in_blocks_is_the_same(in_blocks, dtype, lattice, neighborhood):
    rng = np.random.RandomState(0)
    X, _ = sheet((2, 2), 5, rng, 0.1)
    X = np.concatenate([X, X + rng.normal(size=X.shape)]).astype(dtype)
    weights = rng.uniform(size=len(X))
    maps = []
    for value in (True, False):
        in_blocks(value)
        som = TFSOM((18, 22), lattice=lattice, neighborhood=neighborhood, max_iter=6, tol=0)
        maps.append(som.fit(X, sample_weight=weights))
    tolerance = 1e-10 if dtype == np.float64 else 1e-5
    assert_allclose(maps[0].codebook_, maps[1].codebook_, rtol=tolerance, atol=tolerance)
    assert_array_equal(maps[0].labels_, maps[1].labels_)
    assert_allclose(maps[0].hits_, maps[1].hits_)


def test_training_on_incomplete_directed_and_streaming_data_in_blocks(in_blocks):
    rng = np.random.RandomState(0)
    X, _ = sheet((2, 2), 5, rng, 0.1)
    gappy = X.copy()
    gappy[rng.random(X.shape) < 0.2] = np.nan
    gappy[:, 0] = X[:, 0]
    for samples, parameters in ((gappy, {}), (X, {"metric": "cosine"}), (X, {"batch_size": 1000})):
        maps = []
        for value in (True, False):
            in_blocks(value)
            maps.append(TFSOM((18, 22), max_iter=4, **parameters).fit(samples))
            maps[-1].partial_fit(samples[:500])
        assert_allclose(maps[0].codebook_, maps[1].codebook_, rtol=1e-6, atol=1e-8)


def test_a_large_map_is_searched_in_blocks(n_searched):
    """Without any change of what decides it: 66 x 66 units."""
    rng = np.random.RandomState(0)
    X, codebook = sheet((66, 66), 6, rng, 0.01)
    X = np.concatenate([X, X])
    found = nearest(X, codebook, (66, 66))
    assert n_searched
    assert_array_equal(found, by_differences(X, codebook))
    n_searched.clear()
    tensorflow_core().nearest(Samples(X), codebook)  # of a grid of which nothing is known
    nearest(X[:1000], codebook, (66, 66))  # a tile would not be full
    assert not n_searched

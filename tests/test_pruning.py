"""A search in blocks of units finds the same units as a search of all units."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from searches import exact_units, search

from sklearn_tfsom import TFSOM
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._distance import METRICS
from sklearn_tfsom._map.scores import SearchKind, Target
from sklearn_tfsom._tf.blocks import n_blocks
from sklearn_tfsom._tf.operands import make_operands
from sklearn_tfsom._tf.pruning import share_reached
from sklearn_tfsom._tuning import MAX_COMPILED_UNITS

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def sheet(shape, n_features, rng, noise=0.0, n_samples=1700):
    """Make code vectors on a curved sheet, and samples near it."""
    down, across = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    places = np.stack([down.ravel(), across.ravel()], axis=1)
    bend = 3 * rng.normal(size=(2, n_features)), rng.uniform(0, 6, n_features)

    def bent(at):
        return np.cos(at @ bend[0] + bend[1])

    X = bent(rng.random((n_samples, 2)))
    return X + noise * rng.normal(size=X.shape), bent(places)


def in_blocks(X, codebook, shape, **options):
    """Search in blocks, as a prediction does; return the units.

    They are compared with those of a search of all units in NumPy, see `searches.search`.
    """
    options = {"shape": shape, "is_centered": True, "is_pruned": True} | options
    return search(X, codebook, **options)[0][:, 0]


def by_differences(X, codebook):
    """Best-matching units by differences in float64, over known features."""
    squared = np.zeros((len(X), len(codebook)))
    for x, w in zip(X.T[:, :, None].astype(np.float64), codebook.T, strict=True):
        squared += np.where(np.isnan(x), 0, x - w) ** 2
    return squared.argmin(axis=1)


@DTYPES
@pytest.mark.parametrize("shape", [(24, 24), (17, 31), (70, 3), (1, 400)])
@pytest.mark.parametrize("noise, center", [(0.0, 100.0), (0.1, 0.0), (1.0, 100.0)])
def test_units_are_the_closest(dtype, shape, noise, center):
    X, codebook = sheet(shape, 6, np.random.RandomState(0), noise)
    X, codebook = (X + center).astype(dtype), codebook + center
    found = in_blocks(X, codebook, shape)
    assert_array_equal(found, by_differences(X, codebook))


def test_map_of_too_many_blocks_to_be_compiled():
    shape = (1, 65_540)
    assert n_blocks(*shape) > MAX_COMPILED_UNITS
    X, codebook = sheet(shape, 5, np.random.RandomState(0), noise=0.1, n_samples=100)
    assert_array_equal(in_blocks(X, codebook, shape), by_differences(X, codebook))


@pytest.mark.parametrize("n_far", [0, 1, 100])
def test_blocks_are_left_out_where_samples_are_near_a_surface(n_far):
    """And not where they fill all dimensions; some units far away have no effect."""
    rng = np.random.RandomState(0)
    X, codebook = sheet((60, 60), 8, rng, noise=0.02)
    codebook[:n_far] *= 1e6
    for samples, vectors, least, most in (
        (X, codebook, 0, 0.15),
        (rng.normal(size=(3000, 8)), rng.normal(size=(3600, 8)), 0.9, 1),
    ):
        kind = SearchKind(METRICS["euclidean"], has_missing=False, is_pruned=True)
        on_grid, extents = vectors.reshape(60, 60, 8), np.full(8, 8**-0.5)
        operands = make_operands(Target(kind, on_grid, np.zeros(8), extents), 1)
        norms = np.einsum("ij,ij->i", samples, samples)
        assert least <= float(share_reached(samples, norms, operands, False)) <= most


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, 1e-11])
@pytest.mark.parametrize("is_folded", [False, True])
def test_near_ties_between_blocks_are_resolved_as_in_float64(gap, is_folded):
    shape, rng = (44, 40), np.random.RandomState(1)  # more units than are searched together
    _, codebook = sheet(shape, 5, rng)
    if is_folded:  # blocks extend over the whole map
        codebook = codebook[rng.permutation(len(codebook))]
    pairs = rng.randint(len(codebook), size=(2000, 2))
    pairs[:1000, 1] = (pairs[:1000, 0] + rng.choice([1, 4, 40, 160], size=1000)) % len(codebook)
    first, second = codebook[pairs[:, 0]], codebook[pairs[:, 1]]
    X = (first + second) / 2 + rng.choice([-1, 1], size=(2000, 1)) * gap * (first - second)
    found = in_blocks(X, codebook, shape)
    assert_array_equal(found, by_differences(X, codebook))


def tight_bounds(gap, rng):
    """Samples whose closest unit lies at the edge of its block, just close enough.

    Each lies on the line from the middle of one block through its outermost unit. The middle of
    another block is closer or farther than that unit by a relative `gap`.
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
    return np.concatenate(X), codebook, n_pairs


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("gap", [1e-1, 1e-2, 1e-4, 1e-6, 1e-8, 1e-10])
def test_units_at_the_edge_of_their_block_are_found(gap, seed):
    X, codebook, n_pairs = tight_bounds(gap, np.random.RandomState(seed))
    found = in_blocks(X, codebook, (40, 40))
    assert 0 < np.sum(found[-n_pairs:] % 4 == 3)
    assert_array_equal(found, by_differences(X, codebook))


@pytest.mark.parametrize("away", [1e3, 1e6])
@pytest.mark.parametrize("gap", [1e-3, 1e-6])
def test_units_far_from_the_rest_of_their_block_are_found(gap, away):
    """No other sample reaches the block: all lie beyond the unit, seen from the rest of it."""
    for seed in range(10):
        rng = np.random.RandomState(seed)
        blocks = rng.normal(size=(100, 1, 5)) + 0.01 * rng.normal(size=(100, 16, 5))
        direction, aside = np.linalg.qr(rng.normal(size=(5, 2)))[0].T
        X = blocks[2:, 0].repeat(20, axis=0) + 0.01 * rng.normal(size=(1960, 5))
        X[0] = ((X @ direction).min() - 3) * direction
        blocks[0, 1:] = X[0] - (1 + away) * direction + 0.1 * rng.normal(size=(15, 5))
        blocks[0, 0] = X[0] - direction
        blocks[1] = X[0] + (1 + gap) * aside
        codebook = blocks.reshape(10, 10, 4, 4, 5).transpose(0, 2, 1, 3, 4).reshape(-1, 5)
        found = in_blocks(X, codebook, (40, 40), is_centered=False)
        assert_array_equal(found, by_differences(X, codebook))
        assert found[0] == 0


def test_ties_go_to_the_lowest_index():
    """Equal code vectors, as compact neighborhoods make them."""
    X, codebook = sheet((5, 20), 4, np.random.RandomState(0), 0.1)
    found = in_blocks(X, codebook.repeat(4, axis=0), (20, 20))
    assert_array_equal(found % 4, 0)
    assert_array_equal(found // 4, by_differences(X, codebook))


@pytest.mark.parametrize("metric", ["euclidean", "correlation"])
def test_metrics_of_positions_and_of_directions(metric):
    shape = (20, 22)
    X, codebook = sheet(shape, 7, np.random.RandomState(0), 0.1)
    X = X.astype(np.float32)
    X[5] = 0
    codebook = Samples(codebook, METRICS[metric])[:]
    options = {"shape": shape, "is_pruned": True, "metric": metric}
    units, found = search(X, codebook, **options)
    assert_array_equal(in_blocks(X, codebook, shape, metric=metric), units[:, 0])
    distances = cdist(np.delete(X, 5, axis=0), codebook, METRICS[metric].scipy_name).min(axis=1)
    assert_allclose(np.delete(found, 5), distances, rtol=1e-4, atol=1e-4)


def test_incomplete_samples():
    shape, rng = (20, 22), np.random.RandomState(0)
    X, codebook = sheet(shape, 7, rng, 0.05)
    X, codebook = (X + 50).astype(np.float32), codebook + 50
    X[rng.random(X.shape) < 0.3] = np.nan
    X[:, 0] = np.where(np.isnan(X).all(axis=1), 50, X[:, 0])
    assert_array_equal(in_blocks(X, codebook, shape), by_differences(X, codebook))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e15, 1e30])
@DTYPES
def test_extreme_scales_and_outliers(dtype, scale):
    """Rows whose scores exceed the range of float32 do not affect those in the same tile."""
    shape = (20, 20)
    X, codebook = sheet(shape, 5, np.random.RandomState(0), 0.05)
    scale = dtype(min(scale, 1e15) if dtype == np.float32 else scale)
    X, codebook = X.astype(dtype) * scale, codebook.astype(dtype) * scale
    X[::10] *= dtype(1e20 if dtype == np.float32 and scale < 1e10 else 1e3)
    if dtype == np.float64:
        X[5::10] *= 1e100
    found = in_blocks(X, codebook, shape)
    near = np.abs(X).max(axis=1) < 1e4 * scale
    assert_array_equal(found[near], by_differences(X[near] / scale, codebook / scale))


def test_samples_far_from_all_units():
    shape = (20, 20)
    X, codebook = sheet(shape, 5, np.random.RandomState(0))
    assert_array_equal(in_blocks(1e3 * X, codebook, shape), by_differences(1e3 * X, codebook))


@pytest.mark.parametrize(
    ("exponent", "gap"), [(39, 2.0**-18), (41, 2.0**-16), (44, 2.0**-12), (100, 1e-3)]
)
def test_samples_extremely_far_from_all_units(exponent, gap):
    """Scores that are lost beside the square of the distance."""
    shape = (24, 24)
    for seed in range(12):
        rng = np.random.RandomState(seed)
        blocks = np.linspace(-1, -0.5, 36)[:, None] + 1e-4 * rng.random((36, 16))
        blocks[0] = rng.uniform(0.2, 0.3, size=16)
        blocks[0, 5] = 1
        blocks[21] = 1 - gap - 1e-7 * np.arange(16)
        codebook = blocks.reshape(6, 6, 4, 4).transpose(0, 2, 1, 3).reshape(-1, 1)
        X = rng.uniform(-1, -0.8, size=(700, 1))
        X[:5] = np.ldexp(1 + rng.random((5, 1)), exponent)
        in_blocks(X, codebook, shape)


@pytest.mark.parametrize("n_far", [1200, 3000])
@pytest.mark.parametrize(("dtype", "far"), [(np.float32, 1e34), (np.float64, 1e40)])
def test_tiles_of_rows_beyond_the_range_of_float32_scores(n_far, dtype, far):
    shape = (20, 20)
    X, codebook = sheet(shape, 5, np.random.RandomState(0), 0.05, 3000)
    X, codebook = X.astype(dtype), 1e3 * codebook
    X[:n_far] *= dtype(far)
    in_blocks(X, codebook, shape)


@pytest.mark.parametrize("n_samples", [1, 65, 511, 512, 513, 1025])
def test_any_number_of_samples(n_samples):
    shape = (24, 24)
    X, codebook = sheet(shape, 6, np.random.RandomState(0), 0.02)
    found = in_blocks(X[:n_samples], codebook, shape)
    assert_array_equal(found, by_differences(X[:n_samples], codebook))


def test_large_map_by_public_methods():
    """So many units and samples are searched in blocks, where their order has no effect."""
    shape, rng = (66, 66), np.random.RandomState(0)
    X, codebook = sheet(shape, 6, rng, 0.01, 33_000)
    params = {"init": codebook, "radius_decay": [2.0, 0.5], "max_iter": 2, "tol": 0}
    som = TFSOM(shape, neighborhood="bubble", **params).fit(X)
    other = TFSOM(shape, neighborhood="bubble", **params).fit(X[::-1])
    assert np.abs(som.codebook_ - other.codebook_).max() < 1e-12
    assert_array_equal(som.labels_, other.labels_[::-1])
    checked = rng.choice(len(X), 1000, replace=False)
    assert_array_equal(som.labels_[checked], exact_units(X[checked], som.codebook_))
    # Fewer samples, and several units, are searched among all units.
    assert_array_equal(som.predict(X[checked]), som.labels_[checked])
    assert_array_equal(som.bmus(X[checked], 2)[:, 0], som.labels_[checked])

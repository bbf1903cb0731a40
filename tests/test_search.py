"""Best-matching units are those of a search in float64, whatever the data and the tiles."""

import concurrent.futures

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from searches import exact_distances, exact_squares, exact_units, map_with, near_ties, search

from sklearn_tfsom import TFSOM
from sklearn_tfsom._data.dense import aligned_empty
from sklearn_tfsom._distance import METRICS
from sklearn_tfsom._search.nearest import tile_rows
from sklearn_tfsom._tf.argmin import layout
from sklearn_tfsom._tuning import (
    CACHED_SCORES,
    MAX_ALL_DIFFERENCES,
    MAX_COMPILED_UNITS,
    MAX_FUSED_UNITS,
)

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# Float32 for a product and for a metric that is none. The tests have five features, since a graph
# is traced for each number of them.
metrics_and_dtypes = pytest.mark.parametrize(
    ("metric", "dtype"),
    [
        *((metric, np.float64) for metric in METRICS),
        *((metric, np.float32) for metric in ("euclidean", "manhattan")),
    ],
)


@pytest.mark.parametrize("n_features", [1, 3, 16, 300])
@pytest.mark.parametrize(
    ("gap", "offset"),
    [(1e-3, 0.0), (1e-6, 0.0), (1e-9, 0.0), (1e-11, 0.0), (1e-3, 1e3), (1e-6, 1e3), (1e-9, 1e3)],
)
def test_near_ties_are_resolved_as_in_float64(n_features, gap, offset):
    """Gaps far below the rounding of float32 scores."""
    if n_features == 1:
        gap = max(gap, 1e-9)  # float64 cannot represent smaller ones
    X, codebook = near_ties(gap, n_features, np.random.RandomState(n_features))
    X, codebook = X + offset, codebook + offset
    expected = exact_units(X, codebook)
    for options in ({}, {"n_tile": 7}, {"is_centered": True}, {"k": 2}):
        units, _ = search(X, codebook, **options)
        assert_array_equal(units[:, 0], expected)
    distances, units = map_with(codebook).bmus(X, return_distance=True)
    assert_array_equal(units, expected)
    assert_allclose(distances, np.linalg.norm(X - codebook[expected], axis=1), rtol=1e-9)
    if not offset:
        assert_array_equal(search(csr_array(X), codebook)[0][:, 0], expected)
        X[::2, 1:] = np.nan
        assert_array_equal(search(X, codebook)[0][:, 0], exact_units(X, codebook))


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("metric", METRICS)
def test_near_ties_under_each_metric(metric, gap):
    X, codebook = near_ties(gap, 5, np.random.RandomState(0), metric=metric)
    expected = exact_distances(X, codebook, metric).argmin(axis=1)
    for options in ({}, {"n_tile": 7}, {"k": 2}):
        assert_array_equal(search(X, codebook, metric=metric, **options)[0][:, 0], expected)
    assert_array_equal(map_with(codebook, metric=metric).predict(X), expected)


@pytest.mark.parametrize("scale", [1e-30, 1e-5, 1.0, 1e30, 1e120])
@DTYPES
def test_outliers_and_extreme_scales(scale, dtype):
    if dtype == np.float32:
        scale = {1e-30: 1e-20, 1e30: 1e15}.get(scale, min(scale, 1.0))
    rng = np.random.RandomState(0)
    codebook = (rng.normal(size=(30, 5)) * scale).astype(dtype)
    X = (rng.normal(size=(200, 5)) * scale).astype(dtype)
    X[::10] *= dtype(1e12)
    som = map_with(codebook)
    distances, units = som.bmus(X, return_distance=True)
    assert_array_equal(units, exact_units(X, codebook))
    assert_array_equal(search(X, codebook)[0][:, 0], units)
    expected = np.sqrt(exact_squares(X, codebook).min(axis=1)).astype(float)
    assert_allclose(distances, expected, rtol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 5, 20])
@pytest.mark.parametrize("kind", ["dense", "incomplete", "sparse", "float32"])
def test_several_units_are_the_closest_in_order(k, kind):
    rng = np.random.RandomState(3)
    codebook, X = rng.normal(size=(20, 4)), rng.normal(size=(100, 4))
    X = X.astype(np.float32) if kind == "float32" else X
    if kind == "incomplete":
        X[::3, 1] = np.nan
    squares = exact_squares(X, codebook)
    expected = np.argsort(squares, axis=1, kind="stable")[:, :k]
    data = csr_array(X) if kind == "sparse" else X
    for n_tile in (None, 7):
        units, distances = search(data, codebook, k, n_tile=n_tile)
        assert_array_equal(units, expected)
        assert_allclose(distances, np.sqrt(squares.min(axis=1)).astype(float), rtol=1e-5)
    far, units = map_with(codebook).bmus(data, k, return_distance=True)
    assert_array_equal(units.reshape(100, k), expected)
    sorted_distances = np.sqrt(np.sort(squares, axis=1)[:, :k]).astype(float)
    rtol = 1e-6 if kind == "float32" else 1e-9
    assert_allclose(far.reshape(100, k), sorted_distances, rtol=rtol)


@pytest.mark.parametrize("rounding", [0, 1])
@pytest.mark.parametrize("n_features", [3, 700])
def test_ties_go_to_the_lowest_index(n_features, rounding):
    """Code vectors that are equal, or equal but for the rounding of their last digit."""
    rng = np.random.RandomState(0)
    base = rng.normal(size=(8, n_features))
    owner = rng.permutation(np.repeat(np.arange(8), 3))
    codebook = base[owner]
    codebook += rounding * rng.randint(-1, 2, size=codebook.shape) * np.spacing(np.abs(codebook))
    X = np.vstack([rng.normal(size=(300, n_features)), codebook])
    order = np.argsort(exact_squares(X, base), axis=1, kind="stable")
    of_base = np.array([np.flatnonzero(owner == each) for each in range(8)])  # in rising order
    closest = of_base[order[:, 0]]
    for options in ({}, {"n_tile": 16}, {"is_pruned": True, "shape": (6, 4), "is_centered": True}):
        assert_array_equal(search(X, codebook, **options)[0][:, 0], closest[:, 0])
    assert_array_equal(search(X, codebook, 3)[0], closest)
    assert_array_equal(search(csr_array(X), codebook, 3)[0], closest)
    assert_array_equal(search(X[:16], codebook, n_tile=16)[0], closest[:16, :1])
    som = map_with(codebook)
    assert_array_equal(som.predict(X), closest[:, 0])
    assert_array_equal([som.predict(x[None])[0] for x in X[::5]], closest[::5, 0])


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev"])
@pytest.mark.parametrize("offset", [0.0, 8.0])
def test_ties_between_code_vectors_around_the_origin(metric, offset):
    """Their mean is small, but they are means of values as large as themselves."""
    beyond = np.nextafter(offset - 1, -9.0)
    codebook = np.array([[beyond, offset], [offset + 1, offset]])
    som = TFSOM.from_codebook(codebook, grid_size=(1, 2), metric=metric)
    assert_array_equal(som.predict([[offset, offset]]), [0])


@metrics_and_dtypes
def test_tile_size_does_not_change_the_result(dtype, metric):
    rng = np.random.RandomState(5)
    X = rng.uniform(0.1, 3, size=(200, 5)).astype(dtype)
    # Apart from the samples: of a distance of 0, float32 scores give a root of their rounding.
    codebook = X[rng.permutation(200)[:30]].astype(np.float64) + 0.5
    codebook[20:] = codebook[:10]
    for k in (1, 3):
        units, distances = search(X, codebook, k, metric=metric)
        for n_tile in (1, 7, 64, 199, 200, 10_000):
            others, far = search(X, codebook, k, metric=metric, n_tile=n_tile)
            assert_array_equal(others, units)
            assert_allclose(far, distances, rtol=1e-5, atol=1e-6)


@metrics_and_dtypes
@pytest.mark.parametrize("n_units", [1, 401, 2100])
def test_compiled_search_finds_the_same_units(dtype, metric, n_units):
    rng = np.random.RandomState(0)
    codebook = rng.uniform(0.1, 3, size=(n_units, 5))
    X = rng.uniform(0.1, 3, size=(4 * 128 + 3, 5)).astype(dtype)  # the last tile is not full
    X[: min(n_units, 300)] = codebook[:300]
    compiled = search(X, codebook, metric=metric, n_tile=128)
    plain = search(X, codebook, metric=metric, n_tile=1024)  # a tile that is not full
    assert_array_equal(compiled[0], plain[0])
    # Squared distances, as scores, have the digits of float32.
    assert_allclose(compiled[1] ** 2, plain[1] ** 2, rtol=1e-5, atol=1e-5)


def test_compiled_search_of_negative_and_large_scores():
    rng = np.random.RandomState(0)
    codebook = rng.normal(size=(48, 3)) * 10.0 ** rng.randint(-3, 4, size=(48, 1))
    X = np.repeat(codebook, 8, axis=0) * rng.uniform(0.9, 1.1, size=(384, 3))
    assert_array_equal(search(X, codebook, n_tile=384)[0][:, 0], exact_units(X, codebook))


@pytest.mark.parametrize("is_fused", [False, True])
@pytest.mark.parametrize("n_units", [1, 15, 16, 17, 100, 400, 560, 704, 2000, 2**14, 2**19, 2**28])
def test_layout_holds_all_units_in_few_layers_and_lanes(n_units, is_fused):
    n_layers, n_lanes = (int(n) for n in layout(np.int32(n_units), is_fused=is_fused))
    assert n_lanes % 16 == 0
    assert n_units <= n_layers * n_lanes
    assert is_fused or n_layers * n_lanes < n_units + n_lanes
    if n_units <= (MAX_FUSED_UNITS if is_fused else MAX_COMPILED_UNITS):
        assert n_layers <= 32  # numbers that XLA reduces safely
        assert n_lanes <= 16 * 32


@pytest.mark.parametrize("n_units", [1, 30, 400, 10_000, 10**6])
@pytest.mark.parametrize("n_features", [1, 100, 10**5, 10**7])
def test_rows_of_a_tile_are_a_power_of_two(n_units, n_features):
    n_rows = tile_rows(n_units, n_features)
    assert 64 <= n_rows <= 8192
    assert n_rows & (n_rows - 1) == 0


@pytest.mark.parametrize("outlier", [1e3, 1e7, 1e10, 1e13, 1e18, 1e20, 1e22, 1e24])
def test_one_outlying_code_vector_leaves_the_others_exact(outlier):
    """Scaled to its size, the squares of the others are subnormal numbers in float32."""
    rng = np.random.RandomState(0)
    codebook = rng.normal(size=(30, 3))
    codebook[7] *= outlier
    X = rng.normal(size=(3000, 3))
    expected = exact_units(X, codebook)
    for k in (1, 2):
        assert_array_equal(search(X, codebook, k)[0][:, 0], expected)
    assert_array_equal(map_with(codebook).predict(X), expected)


@pytest.mark.parametrize("side", [4, 10, 30])
@pytest.mark.parametrize("axis", [0, 1])
def test_units_at_one_edge_that_are_far_away(axis, side):
    """They neither move the center to them nor count for the noise of the others."""
    rng = np.random.RandomState(0)
    codebook, X = rng.normal(size=(side, side, 5)), rng.normal(size=(3000, 5))
    for place in (0, -1):
        moved = codebook.copy()
        np.moveaxis(moved, axis, 0)[place] += 1e13
        flat = moved.reshape(-1, 5)
        som = TFSOM.from_codebook(flat, grid_size=(side, side))
        near = np.flatnonzero(np.abs(flat).max(axis=1) < 100)
        assert_array_equal(som.predict(X), near[exact_units(X, flat[near])])


@pytest.mark.parametrize("far", [1e-14, 1e-6, 1e10])
@pytest.mark.parametrize("size", [1e-28, 1e-21, 1e-16])
def test_small_code_vectors_beside_a_far_one(size, far):
    """Products of these in float32 are 0, or have few digits."""
    rng = np.random.RandomState(0)
    codebook, X = rng.normal(size=(200, 5)), rng.normal(size=(2000, 5))
    codebook[7] = far / size
    expected = exact_units(X, codebook)
    assert_array_equal(search(size * X, size * codebook)[0][:, 0], expected)
    assert_array_equal(map_with(size * codebook).predict(size * X), expected)


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("distance", [1e2, 1e4])
def test_near_ties_far_from_the_center_of_the_scores(distance, gap):
    """Where one unit is. Norms of samples are small; those of their units are not, from there."""
    X, near = near_ties(gap, 5, np.random.RandomState(0))
    codebook = np.concatenate([near, distance + np.random.RandomState(1).normal(size=(400, 5))])
    codebook = np.concatenate([codebook, codebook.mean(axis=0, keepdims=True)])
    expected = exact_units(X, near)
    for options in ({}, {"is_centered": True}, {"is_centered": True, "k": 2}):
        assert_array_equal(search(X, codebook, **options)[0][:, 0], expected)
        X32 = X.astype(np.float32)
        units = search(X32, codebook, **options)[0][:, 0]
        assert_array_equal(units, exact_units(X32, codebook))


def test_code_vectors_very_close_to_a_sample_are_told_apart():
    rng = np.random.RandomState(0)
    samples = rng.normal(size=(5, 4))
    gaps = 10.0 ** -np.arange(3, 13)  # distances of 1e-3 to 1e-12 to each sample
    codebook = samples[:, None] + gaps[:, None] * rng.normal(size=(5, 10, 4))
    units, distances = search(samples, codebook.reshape(-1, 4))
    assert_array_equal(units[:, 0], 9 + 10 * np.arange(5))
    assert (distances < 1e-11).all()


@pytest.mark.parametrize("kind", ["dense", "incomplete", "sparse"])
def test_more_near_ties_than_candidates(kind):
    """Every unit is as close in float32 to every sample."""
    rng = np.random.RandomState(0)
    codebook = 1 + 1e-9 * rng.normal(size=(200, 6))
    X = 1 + 1e-9 * rng.normal(size=(300, 6))
    if kind == "incomplete":
        X[::2, 3] = np.nan
    expected = exact_units(X, codebook)
    data = csr_array(X) if kind == "sparse" else X
    assert_array_equal(search(data, codebook)[0][:, 0], expected)
    assert_array_equal(search(data, codebook, 3)[0][:, 0], expected)
    assert_array_equal(map_with(codebook).predict(data), expected)


@pytest.mark.parametrize("far", [1e4, 1e6, 1e8])
@pytest.mark.parametrize("kind", ["dense", "incomplete", "sparse"])
def test_one_code_vector_far_away(kind, far):
    """It raises the bound of all scores; the others must be told apart all the same."""
    rng = np.random.RandomState(0)
    codebook, X = rng.normal(size=(120, 6)) + 5, rng.normal(size=(300, 6)) + 5
    codebook[70], X[17] = far, far
    if kind == "incomplete":
        X[::2, 3] = np.nan
    expected = exact_squares(X, codebook).argsort(axis=1)[:, :2]
    data = csr_array(X) if kind == "sparse" else X
    assert_array_equal(search(data, codebook, 2)[0], expected)
    assert_array_equal(map_with(codebook).predict(data), expected[:, 0])


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 3e-8])
@pytest.mark.parametrize("kind", ["dense", "incomplete", "sparse", "float32"])
def test_code_vectors_of_all_sizes(kind, gap):
    """The bound on the rounding of a row depends on the code vectors that may be close to it."""
    rng = np.random.RandomState(0)
    codebook = rng.normal(size=(80, 5)) * 10 ** np.linspace(-1, 7, 80)[:, None]
    first, second = codebook[:-1], codebook[1:]
    X = (first + second) / 2 + rng.choice([-1, 1], size=(79, 1)) * gap * (first - second)
    X = np.tile(np.concatenate([X, codebook + gap * (first[0] - second[0])]), (4, 1))
    if kind == "float32":
        X, codebook = X.astype(np.float32), codebook.astype(np.float32).astype(np.float64)
    if kind == "incomplete":
        X[::2, 3] = np.nan
    expected = exact_squares(X, codebook).argsort(axis=1)
    data = csr_array(X) if kind == "sparse" else X
    for options in ({}, {"n_tile": 7}, {"is_centered": kind != "sparse"}):
        assert_array_equal(search(data, codebook, **options)[0][:, 0], expected[:, 0])
    small = np.abs(X).max(axis=1) < 1  # others are far from the smallest code vectors
    for k in (2, 30):
        found, _ = search(data[small], codebook, k)
        assert_array_equal(found, expected[small, :k])
    assert_array_equal(map_with(codebook).predict(data), expected[:, 0])


@pytest.mark.parametrize("kind", ["dense", "sparse", "float32"])
def test_units_in_order_around_one_that_is_much_closer(kind):
    rng = np.random.RandomState(0)
    codebook, X = rng.normal(size=(60, 4)), 1e-4 * rng.normal(size=(900, 4))
    codebook *= (1e3 + 1e-3 * rng.normal(size=(60, 1))) / np.linalg.norm(codebook, axis=1)[:, None]
    codebook[41] = 0
    X = X.astype(np.float32) if kind == "float32" else X
    expected = exact_squares(X, codebook).argsort(axis=1)
    assert (expected[:, 0] == 41).all()
    data = csr_array(X) if kind == "sparse" else X
    for k in (2, 30):
        assert_array_equal(search(data, codebook, k)[0], expected[:, :k])


@pytest.mark.parametrize("distance", [1e5, 1e10, 1e30])
def test_direction_decides_far_from_the_map(distance):
    """There differences round away what scores still tell."""
    rng = np.random.RandomState(0)
    codebook = rng.normal(size=(25, 2))
    X = rng.normal(size=(500, 2))
    X *= distance / np.abs(X).max(axis=1, keepdims=True)
    around = codebook - codebook.mean(axis=0)
    scores = (around**2).sum(axis=1) - 2 * (X - codebook.mean(axis=0)) @ around.T
    assert_array_equal(search(X, codebook)[0][:, 0], scores.argmin(axis=1))
    som = map_with(codebook)
    assert_array_equal(som.predict(X), scores.argmin(axis=1))
    assert_array_equal([som.predict(x[None])[0] for x in X[:50]], scores[:50].argmin(axis=1))


@pytest.mark.parametrize("exponent", [-50, -30, -10, 30, 50])
def test_distance_from_the_map_is_relative_to_its_size(exponent):
    """Samples of float32 whose squares exceed its range, too."""
    rng = np.random.RandomState(0)
    codebook = rng.normal(size=(30, 3)).astype(np.float32)
    X = rng.normal(size=(700, 3)).astype(np.float32)
    X[::7] *= np.float32(1e10)
    expected = search(X, codebook)[0]
    scale = np.float32(2.0**exponent)
    assert_array_equal(search(X * scale, codebook * scale)[0], expected)


@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_float32_samples_are_not_rounded_by_centering(spread):
    codebook = 1000 + spread * np.array([[-1.0, 1.0], [1.0, -1.0]])
    x = np.random.RandomState(0).uniform(0.01, 0.02, 9000).astype(np.float32)
    above = x * np.float32(1 + 2**-18)  # closer to unit 0, by a difference far below 1000 * 2**-24
    X = np.column_stack([x, above])
    som = map_with(codebook)
    assert not som.predict(X).any()
    assert som.predict(X[:, ::-1].copy()).all()
    assert not som.bmus(X, 2)[:, 0].any()


@pytest.mark.parametrize("n_features", [6, 1100])
@pytest.mark.parametrize("init", ["pca", "sample", "random"])
def test_one_huge_value_leaves_float32_samples_their_digits(init, n_features):
    """They are centered at the others, not at the mean that it moves."""
    X = np.random.RandomState(0).normal(size=(300, n_features)).astype(np.float32)
    X[3, 2] = 1e8
    setting = {"grid_size": 6, "init": init, "random_state": 0, "max_iter": 8}
    single, double = TFSOM(**setting).fit(X), TFSOM(**setting).fit(X.astype(np.float64))
    assert_array_equal(single.labels_, double.labels_)
    assert_allclose(single.codebook_, double.codebook_, atol=1e-6, rtol=1e-6)
    for som, samples in ((single, X), (double, X.astype(np.float64))):
        som.partial_fit(samples[100:])
    assert_allclose(single.codebook_, double.codebook_, atol=1e-4, rtol=1e-4)


@DTYPES
@pytest.mark.parametrize("spread, far", [(1, 1e38), (1e9, 1e29), (1e11, 1e27), (1e-12, 1e36)])
def test_scores_beyond_the_range_of_float32(dtype, spread, far):
    rng = np.random.RandomState(0)
    codebook = spread * rng.normal(size=(40, 3))
    X = np.clip(far * rng.normal(size=(2000, 3)), -3e38, 3e38).astype(dtype)
    x, w = X.astype(np.longdouble), codebook.astype(np.longdouble)
    scores = (w**2).sum(axis=1) - 2 * x @ w.T
    slack = 1e-12 * np.abs(scores).max(axis=1)
    for options in ({}, {"k": 2}, {"is_centered": True}, {"is_pruned": True, "shape": (8, 5)}):
        units = search(X, codebook, **options)[0][:, 0]
        assert (scores[np.arange(len(X)), units] <= scores.min(axis=1) + slack).all()


def test_units_beyond_the_range_of_float64_are_not_found():
    rng = np.random.RandomState(0)
    X, start = rng.normal(size=(100, 3)), rng.normal(size=(25, 3))
    X[::2, 1] = np.nan
    start[7] = 1e200
    som = TFSOM((5, 5), init=start, max_iter=3).fit(X)
    differences = X[:, None] - np.delete(start, 7, axis=0)
    distances = np.sqrt(np.nansum(differences**2, axis=2))
    expected = distances.min(axis=1).mean()
    assert som.history_["quantization_error"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["dense", "incomplete", "float32"])
def test_errors_of_small_data_are_exact(kind):
    """Some code vectors equal samples: a score has no digit of their distance of 0."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(900, 6)) + 3
    X = X.astype(np.float32) if kind == "float32" else X
    start = X[:144].copy()
    if kind == "incomplete":
        X[144::3, 1] = np.nan
    som = TFSOM((12, 12), init=start, max_iter=2).fit(X)
    expected = np.sqrt(exact_squares(X, start).min(axis=1)).mean()
    rel = 1e-7 if kind == "float32" else 1e-12  # scaled samples are rounded
    assert som.history_["quantization_error"][0] == pytest.approx(float(expected), rel=rel)


@DTYPES
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_single_samples_are_searched_like_many(dtype, offset):
    """Small inputs are searched by another algorithm, with the same tie rule."""
    rng = np.random.RandomState(0)
    codebook = rng.normal(size=(40, 3)) + offset
    codebook[20:30] = codebook[5] + 1e-15 * rng.normal(size=(10, 3)) * max(offset, 1)
    codebook[7] = codebook[31]
    halfway = (codebook[:-1] + codebook[1:]) / 2
    far = offset + 1e9 * rng.normal(size=(5, 3))
    X = np.vstack([codebook, halfway, far, rng.normal(size=(1100, 3)) + offset]).astype(dtype)
    assert X.size * len(codebook) > MAX_ALL_DIFFERENCES
    som = map_with(codebook)
    units = som.predict(X)
    assert_array_equal([som.predict(x[None])[0] for x in X[:160]], units[:160])
    assert_array_equal(search(X, codebook)[0][:, 0], units)
    X[::3, 1] = np.nan
    assert_array_equal([som.predict(x[None])[0] for x in X[:160]], som.predict(X)[:160])


@pytest.mark.parametrize(
    ("value", "scale"),
    [(1e13, 1), (1.7e18, 1), (1e30, 1), (-np.finfo(float).max, 0.1), (1e300, 1e-150)],
)
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev"])
def test_constant_feature_far_from_zero(value, scale, metric):
    """The map is that of the other features, in training and afterwards."""
    varying = scale * np.random.RandomState(0).normal(size=(2000, 3))
    X = np.column_stack([np.full(2000, value), varying])
    near = {"rtol": 1e-9, "atol": 1e-9 * scale}
    som, other = (TFSOM((8, 6), metric=metric).fit(data) for data in (X, varying))
    assert_allclose(som.codebook_[:, 1:], other.codebook_, **near)
    assert_allclose(som.quantization_error_, other.quantization_error_, **near)
    assert_array_equal(som.labels_, other.labels_)
    assert_array_equal(som.predict(X), som.labels_)
    assert_array_equal([som.predict(x[None])[0] for x in X[:100]], som.labels_[:100])
    assert_array_equal(som.bmus(X, 2)[:, 0], som.labels_)
    assert_allclose(som.transform(X), other.transform(varying), **near)
    streams = [TFSOM(4, metric=metric) for _ in range(2)]
    for rows in (slice(0, 500), slice(500, 2000)):
        for stream, data in zip(streams, (X, varying), strict=True):
            stream.partial_fit(data[rows])
    assert_allclose(streams[0].codebook_[:, 1:], streams[1].codebook_, **near)


def test_constant_feature_of_sparse_samples():
    Z = np.column_stack([np.random.RandomState(0).normal(size=(400, 3)), np.full(400, 1e15)])
    som = TFSOM.from_codebook(Z[::10], grid_size=(8, 5))
    assert_array_equal(som.predict(csr_array(Z)), som.predict(Z))


@pytest.mark.parametrize("n_samples", [50, 20000])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_directions_of_float32_samples_are_exact(n_samples, is_sparse):
    """Samples close to the middle between two directions, nearer than float32 tells."""
    codebook = np.array([[1, 0], [0.28, 0.96]])
    som = TFSOM.from_codebook(codebook, grid_size=(2, 1), metric="cosine")
    rng = np.random.RandomState(0)
    x, middle = rng.uniform(0.5, 1, size=n_samples), np.tan(np.arctan2(0.96, 0.28) / 2)
    X = np.column_stack([x, x * middle * (1 + 3e-8 * rng.normal(size=n_samples))])
    X = X.astype(np.float32)
    expected = som.predict(X.astype(np.float64))
    assert 0 < expected.mean() < 1
    assert_array_equal(som.predict(csr_array(X) if is_sparse else X), expected)


def test_distances_of_close_float32_directions():
    X = (10000 + np.random.RandomState(0).normal(size=(500, 8))).astype(np.float32)
    som = TFSOM((6, 5), metric="cosine").fit(X)
    expected = TFSOM.from_codebook(
        som.codebook_.astype(np.float64), grid_size=(6, 5), metric="cosine"
    ).transform(X.astype(np.float64))
    assert_allclose(som.transform(X), expected, rtol=1e-5)


def test_code_vectors_of_directions_have_unit_length():
    """Also beside a feature that has one value in all directions."""
    rng = np.random.RandomState(0)
    X = np.column_stack([np.full(300, 2), np.eye(3)[rng.randint(3, size=300)]])
    som = TFSOM(4, metric="cosine", init=X[:16]).fit(X)
    assert_allclose(np.linalg.norm(som.codebook_, axis=1), 1)


def test_lowest_of_equally_close_units_where_most_code_vectors_are_equal():
    codebook = np.zeros((9, 3))
    codebook[[1, 2], 0], codebook[[3, 4], 2] = (0.1, -0.1), (0.1, -0.1)
    som = TFSOM.from_codebook(codebook, grid_size=(3, 3))
    x = [0.3, 0.0, 0.3 * (1 + 2**-49)]  # closer to unit 3 by a part of its rounding
    assert som.predict([x])[0] == 1
    assert (som.predict(np.tile(x, (2000, 1))) == 1).all()


@pytest.mark.parametrize("offset", [0, 3, 20])
def test_unit_of_a_row_does_not_depend_on_other_rows(offset):
    """Of code vectors that are equally far within rounding the first one, however it is found."""
    for seed in range(5):
        rng = np.random.RandomState(seed)
        values = offset + rng.uniform(size=1000)
        codebook = [rng.permutation(values) for _ in range(9)]
        som = TFSOM.from_codebook(codebook, grid_size=(3, 3))
        X = np.vstack([np.zeros(1000), offset + rng.uniform(size=(300, 1000))])
        assert som.predict(X[:1])[0] == som.predict(X)[0] == 0


@pytest.mark.parametrize("n_features", [3, 40])
@pytest.mark.parametrize("metric", ["cosine", "correlation"])
@DTYPES
def test_samples_without_direction_get_the_same_unit_always(dtype, metric, n_features):
    """The first one; in float32 unit vectors differ in length, and so do distances of 1."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(400, n_features)).astype(dtype)
    som = TFSOM((15, 20), metric=metric, init="random", max_iter=2, random_state=0).fit(X)
    X[5] = 0
    unit = som.predict(X)[5]
    assert unit == som.predict(X[5:6])[0] == som.bmus(X, 2)[5, 0]
    assert unit == 0 or dtype == np.float32


@DTYPES
def test_negligible_weights_have_no_effect(dtype):
    """A weight that float32 rounds to 0 is 0 in sums and counts alike."""
    rng = np.random.RandomState(0)
    X = np.concatenate([rng.normal(size=(50, 2)), 50 + rng.normal(size=(50, 2))]).astype(dtype)
    for ratio in (1e-30, 1e-38, 1e-44, 1e-60):
        weights = np.repeat([1.0, ratio], 50)
        params = {"neighborhood": "bubble", "radius_decay": [0.5], "max_iter": 1}
        som = TFSOM((1, 2), init=X[[0, 99]], **params).fit(X, sample_weight=weights)
        assert_allclose(som.codebook_[0], X[:50].mean(axis=0), atol=1e-4)
        assert np.abs(som.codebook_[1] - 50).max() < 3


@pytest.mark.parametrize("constant", [1e30, 1e35])
def test_small_spread_beside_large_constant_feature(constant):
    rng = np.random.RandomState(0)
    X = np.column_stack([np.full(200, constant), 1e-10 * rng.normal(size=200)]).astype(np.float32)
    som = TFSOM((3, 3)).fit(X)
    assert np.isfinite(som.codebook_).all()
    expected = np.abs(X[:, 1:].astype(float) - som.codebook_[:, 1].astype(float)).argmin(axis=1)
    assert_array_equal(som.predict(X), expected)


@pytest.mark.parametrize("row", [0, 2500, 4999])
def test_values_too_large_are_refused_in_any_row(row):
    som = TFSOM((3, 3)).fit(1e-3 * np.random.RandomState(0).normal(size=(50, 3)))
    far = np.array([[1e308, 0, 0]])
    many = np.zeros((5000, 3))
    many[row] = far
    for X in (far, many, csr_array(many)):
        for method in (som.predict, lambda X: som.bmus(X, 2)):
            with pytest.raises(ValueError, match="too large"):
                method(X)


@pytest.mark.parametrize("row", [0, 6000, 11_999])
@pytest.mark.parametrize("metric", METRICS)
def test_values_that_are_not_valid_are_found_in_any_row(row, metric):
    som = TFSOM((3, 3), metric=metric).fit(np.random.RandomState(0).uniform(1, 2, (50, 30)))
    X = np.ones((12_000, 30))
    X[row, 3] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        som.predict(X)
    X[row, 3] = np.nan
    if METRICS[metric].allows_missing:
        assert som.predict(X)[row] == som.predict(X[row][None])[0]
    else:
        with pytest.raises(ValueError, match="missing values"):
            som.predict(X)


@DTYPES
@pytest.mark.parametrize("n_values", [1, 7, 64, 1000])
def test_memory_is_aligned_for_tensorflow(n_values, dtype):
    """TensorFlow aborts the process if it is not."""
    values = aligned_empty(n_values, dtype)
    assert values.ctypes.data % 64 == 0
    assert values.shape == (n_values,)
    assert values.dtype == dtype


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev"])
def test_threads_search_at_the_same_time(metric):
    """All products have the program of the Euclidean distance."""
    rng = np.random.RandomState(0)
    codebook = rng.uniform(0.1, 3, size=(100, 5))
    parts = [rng.uniform(0.1, 3, size=(300, 5)) for _ in range(6)]
    expected = [search(X, codebook, metric=metric)[0] for X in parts]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        found = pool.map(lambda X: search(X, codebook, metric=metric, n_tile=100)[0], parts)
        for units, others in zip(found, expected, strict=True):
            assert_array_equal(units, others)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_small_distances_keep_their_digits(offset):
    rng = np.random.RandomState(1)
    codebook = rng.normal(size=(40, 8)) + offset
    X = np.concatenate([codebook, codebook[:20] + 1e-6 * rng.normal(size=(20, 8))])
    distances = map_with(codebook).transform(X)
    assert_array_equal(np.diag(distances[:40]), 0)
    expected = np.linalg.norm(X[:, None] - codebook, axis=2)
    assert_allclose(distances, expected, rtol=1e-9, atol=1e-16 * offset)


def test_float32_distances_are_float32():
    rng = np.random.RandomState(1)
    X = rng.normal(size=(50, 3)).astype(np.float32)
    codebook = X[:10].copy()
    distances = map_with(codebook).transform(X)
    assert distances.dtype == np.float32
    expected = np.linalg.norm(X[:, None].astype(float) - codebook, axis=2)
    assert_allclose(distances, expected, rtol=1e-5)


@DTYPES
def test_distances_of_coinciding_samples_and_units(dtype):
    """Cancellation in all pairs: all are computed again, in chunks."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(1, 30)).astype(dtype).repeat(60, axis=0)
    codebook = X[:20] + dtype(1e-6) * rng.normal(size=(20, 30)).astype(dtype)
    expected = np.linalg.norm(X[:, None].astype(float) - codebook, axis=2)
    assert_allclose(map_with(codebook).transform(X), expected, rtol=1e-6)
    assert_array_equal(map_with(X[:7]).transform(X), 0)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_units_in_order(metric, dtype):
    """Many units of each sample are sorted; few are found one by one."""
    rng = np.random.RandomState(0)
    X, codebook = rng.normal(size=(50, 6)).astype(dtype), rng.normal(size=(30, 6)).astype(dtype)
    codebook[[4, 20, 29]] = codebook[11]  # ties
    codebook[25] = codebook[3]
    som = map_with(codebook, metric=metric)
    every = som.bmus(X, n_bmus=30)
    assert_array_equal(every[:, :8], som.bmus(X, n_bmus=8))
    expected = np.argsort(exact_distances(X, codebook, metric), axis=1, kind="stable")
    assert_array_equal(every, expected)


def test_many_units_of_many_samples():
    """Scores in float32 tell most of them."""
    rng = np.random.RandomState(0)
    X, codebook = rng.normal(size=(2000, 6)), rng.normal(size=(40, 6))
    codebook[7] = codebook[31]
    for vectors in (codebook, np.delete(codebook, 31, axis=0)):  # with and without a tie
        som = map_with(vectors)
        expected = np.argsort(exact_distances(X, vectors, "euclidean"), axis=1, kind="stable")
        for k in (9, 20, len(vectors)):
            assert_array_equal(som.bmus(X, n_bmus=k), expected[:, :k])


@pytest.mark.parametrize("n_samples", [2500, 5000])  # in one thread, and in two
@pytest.mark.parametrize("kind", ["complete", "missing", "sparse"])
def test_units_of_samples_in_several_blocks(n_samples, kind):
    rng = np.random.RandomState(0)
    X, codebook = rng.normal(size=(n_samples, 6)), rng.normal(size=(400, 6))
    if kind != "complete":
        X[rng.uniform(size=X.shape) < 0.3] = {"missing": np.nan, "sparse": 0}[kind]
        X[np.isnan(X).all(axis=1)] = 0
    assert X[:, 0].size * len(codebook) > 2 * CACHED_SCORES
    given = csr_array(X) if kind == "sparse" else X
    units = map_with(codebook).bmus(given, n_bmus=2)
    squares = exact_squares(X, codebook)
    assert_array_equal(units, np.argsort(squares, axis=1)[:, :2])


def test_no_search_among_equal_code_vectors():
    X = np.random.RandomState(0).normal(size=(300, 5))
    som = TFSOM((6, 5), init=np.ones((30, 5)), max_iter=1, radius_decay=[1.0]).fit(X)
    error = np.linalg.norm(X - 1, axis=1).mean()
    assert som.history_["quantization_error"][0] == pytest.approx(error, rel=1e-12)
    constant = TFSOM(20, max_iter=3).fit(np.full((3000, 4), 7.0))
    assert_array_equal(constant.codebook_, 7)
    assert_array_equal(constant.labels_, 0)


@pytest.mark.parametrize("scale", [1e15, 1e30])
def test_start_far_beyond_the_samples(scale):
    rng = np.random.RandomState(0)
    X, start = rng.normal(size=(600, 10)), scale * rng.normal(size=(400, 10))
    som = TFSOM(20, init=start, max_iter=1, radius_decay=[0.1]).fit(X)
    nearest_of_all = np.linalg.norm(start, axis=1).argmin()
    assert som.history_["quantization_error"][0] == pytest.approx(
        np.linalg.norm(start[nearest_of_all]), rel=1e-6
    )

"""Best-matching units and distances are exact, whatever the data and the tiles."""

import itertools
import queue

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from sklearn_tfsom._data.workers import ALONE
from sklearn_tfsom._tf.startup import tensorflow_core

from sklearn_tfsom import TFSOM
from sklearn_tfsom._data.samples import Samples, as_codebook
from sklearn_tfsom._data.subsampling import Subsets
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.neighborhood import kernels


def nearest(X, codebook, n_bmus=1):
    core = tensorflow_core()
    bmus = core.nearest(Samples(X), codebook, n_bmus)
    return bmus, core.apart(Samples(X), codebook, bmus)


def all_distances(X, codebook):
    return tensorflow_core().distances(Samples(X), codebook)


def exact_bmus(X, codebook):
    """Best-matching units in extended precision, by differences."""
    X, codebook = X.astype(np.longdouble), codebook.astype(np.longdouble)
    return np.array([np.argmin(((codebook - x) ** 2).sum(axis=1)) for x in X])


def near_ties(gap, n_features, rng, n_samples=400, n_units=60):
    """Samples that are closer to one of two units by a relative `gap` only."""
    codebook = rng.normal(size=(n_units, n_features))
    pairs = np.array([rng.choice(n_units, 2, replace=False) for _ in range(n_samples)])
    first, second = codebook[pairs[:, 0]], codebook[pairs[:, 1]]
    towards = rng.choice([-1, 1], size=(n_samples, 1))
    X = (first + second) / 2 + towards * gap * (first - second)
    return X, codebook


@pytest.mark.parametrize("n_features", [1, 2, 3, 16, 200])
@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, 1e-11])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_near_ties_are_decided_as_in_float64(n_features, gap, offset):
    """Gaps far below float32's rounding: only the verification can see them."""
    if offset or n_features == 1:
        gap = max(gap, 1e-9)  # below, float64's own rounding decides
    X, codebook = near_ties(gap, n_features, np.random.RandomState(n_features))
    X, codebook = X + offset, codebook + offset
    bmus, distances = nearest(X, codebook)
    expected = exact_bmus(X, codebook)
    assert_array_equal(bmus[:, 0], expected)
    assert_allclose(distances[:, 0], np.linalg.norm(X - codebook[expected], axis=1), rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1e-5, 1.0, 1e30, 1e120])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outliers_and_extreme_scales_find_their_unit(scale, dtype):
    if dtype == np.float32 and scale not in (1e-5, 1.0):
        scale = {1e-30: 1e-20, 1e30: 1e15}.get(scale, 1.0)
    rng = np.random.RandomState(0)
    codebook = (rng.normal(size=(30, 5)) * scale).astype(dtype)
    X = (rng.normal(size=(200, 5)) * scale).astype(dtype)
    X[::10] *= dtype(1e12)  # outliers, far beyond float32's digits
    bmus, distances = nearest(X, codebook)
    assert_array_equal(bmus[:, 0], exact_bmus(X, codebook))
    expected = np.linalg.norm(X.astype(np.longdouble) - codebook[bmus[:, 0]], axis=1)
    assert_allclose(distances[:, 0], expected.astype(float), rtol=1e-6)


def test_equal_code_vectors_go_to_the_lowest_index():
    rng = np.random.RandomState(0)
    codebook = np.repeat(rng.normal(size=(8, 70)), 3, axis=0)[rng.permutation(24)]
    X = rng.normal(size=(300, 70))
    bmus = nearest(X, codebook)[0][:, 0]
    lowest = [min(np.flatnonzero((codebook == w).all(axis=1))) for w in codebook]
    assert set(bmus) <= set(lowest)
    assert_array_equal(bmus, np.array(lowest)[exact_bmus(X, codebook)])


@pytest.mark.parametrize("n_bmus", [1, 2, 5, 20])
def test_several_bmus_are_the_closest_in_order(n_bmus):
    rng = np.random.RandomState(3)
    codebook, X = rng.normal(size=(20, 4)), rng.normal(size=(100, 4))
    bmus, distances = nearest(X, codebook, n_bmus)
    every = np.linalg.norm(X[:, None] - codebook, axis=2)
    assert_array_equal(bmus, np.argsort(every, axis=1, kind="stable")[:, :n_bmus])
    assert_allclose(distances, np.sort(every, axis=1)[:, :n_bmus], rtol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_small_distances_keep_their_digits(offset):
    rng = np.random.RandomState(1)
    codebook = rng.normal(size=(40, 8)) + offset
    X = np.concatenate([codebook, codebook[:20] + 1e-6 * rng.normal(size=(20, 8))])
    distances = all_distances(X, codebook)
    expected = np.linalg.norm(X[:, None] - codebook, axis=2)
    assert_array_equal(np.diag(distances[:40]), 0)
    assert_allclose(distances, expected, rtol=1e-9, atol=1e-16 * offset)


def test_float32_distances_are_float32():
    rng = np.random.RandomState(1)
    X = rng.normal(size=(50, 3)).astype(np.float32)
    codebook = X[:10].copy()
    distances = all_distances(X, codebook)
    assert distances.dtype == np.float32
    expected = np.linalg.norm(X[:, None].astype(float) - codebook, axis=2)
    assert_allclose(distances, expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distances_of_coinciding_samples_and_units(dtype):
    """All is cancellation: all pairs are computed again, in chunks."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(1, 30)).astype(dtype).repeat(60, axis=0)
    codebook = X[:20] + dtype(1e-6) * rng.normal(size=(20, 30)).astype(dtype)
    expected = np.linalg.norm(X[:, None].astype(float) - codebook, axis=2)
    assert_allclose(all_distances(X, codebook), expected, rtol=1e-6)
    assert_array_equal(all_distances(X, X[:7]), 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("neighborhood", ["gaussian", "bubble"])
def test_tile_size_changes_nothing(dtype, neighborhood):
    rng = np.random.RandomState(5)
    X = rng.normal(size=(1000, 6)).astype(dtype)
    engine, grid, weights = tensorflow_core(), Grid(6, 5), rng.uniform(size=1000)
    start, kernel = rng.normal(size=(30, 6)), kernels(grid, neighborhood)
    results = []
    for n_tile in (1000, 7, 64, 999):
        epochs = engine.train_epochs(
            Subsets(Samples(X), weights, ALONE),
            start,
            engine.Frame.around(X.mean(axis=0), 1.0),
            [engine.Step(r, kernel(r)) for r in (2.0, 1.5, 1.0, 1.0)],
            n_tile=n_tile,
        )
        results.append([(epoch.codebook(), epoch.quantization_error) for epoch in epochs])
    tolerance = 1e-12 if dtype == np.float64 else 1e-6
    for result in results[1:]:
        for (codebook, error), (first_codebook, first_error) in zip(
            result, results[0], strict=True
        ):
            assert_allclose(codebook, first_codebook, rtol=tolerance, atol=tolerance)
            assert error == pytest.approx(first_error, rel=1e-5)


@pytest.mark.parametrize("n_samples", [65_537, 131_073, 200_000])
@pytest.mark.parametrize("n_tile", [None, 3000, 60_000])
def test_every_row_is_summed_up_once_in_however_many_chunks(n_samples, n_tile):
    X = np.random.RandomState(0).normal(size=(n_samples, 2))
    engine, grid = tensorflow_core(), Grid(2, 3, "rectangular")
    start, kernel = X[:6].copy(), kernels(grid, "gaussian")(1.0)
    (epoch,) = engine.train_epochs(
        Subsets(Samples(X), np.ones(n_samples), ALONE),
        start,
        engine.Frame.around(np.zeros(2), 1.0),
        [engine.Step(1.0, kernel)],
        n_tile=n_tile,
    )
    distances = np.linalg.norm(X[:, None] - start, axis=2)
    bmus = distances.argmin(axis=1)
    units = epoch.units()
    assert_array_equal(units.counts[:, 0], np.bincount(bmus, minlength=6))
    sums = [np.bincount(bmus, column, 6) for column in X.T]
    assert_allclose(units.means, np.transpose(sums) / units.counts, rtol=1e-12)
    assert epoch.quantization_error == pytest.approx(distances.min(axis=1).mean(), rel=1e-5)


def test_tiles_of_predict_and_transform_change_nothing(monkeypatch):
    rng = np.random.RandomState(5)
    X, codebook = rng.normal(size=(700, 6)), rng.normal(size=(30, 6))
    whole = nearest(X, codebook, 2), all_distances(X, codebook)
    from sklearn_tfsom._tf import distances, inference

    monkeypatch.setattr(inference, "tile_rows", lambda *_: 16)
    monkeypatch.setattr(inference, "_CHUNK_VALUES", 300)
    monkeypatch.setattr(distances, "_TILE_DISTANCES", 1)
    monkeypatch.setattr(distances, "_MIN_TILE_ROWS", 32)
    tiled = nearest(X, codebook, 2), all_distances(X, codebook)
    assert_array_equal(tiled[0][0], whole[0][0])
    assert_allclose(tiled[0][1], whole[0][1], rtol=1e-14)
    assert_allclose(tiled[1], whole[1], rtol=1e-12)


def test_a_chunk_that_fails_does_not_keep_the_others_waiting(monkeypatch):
    """For what they are loaded into."""
    tensorflow_core()
    from sklearn_tfsom._tf import inference

    load, rng = inference.load, np.random.RandomState(0)
    queues, new_queue = [], queue.SimpleQueue  # threads get their work from others

    def failing(samples, rows, *args, **kwargs):
        if rows.start == 0:
            raise RuntimeError("unreadable")
        return load(samples, rows, *args, **kwargs)

    def kept():
        queues.append(new_queue())
        return queues[-1]

    monkeypatch.setattr(inference, "load", failing)
    monkeypatch.setattr(inference.queue, "SimpleQueue", kept)
    monkeypatch.setattr(inference, "tile_rows", lambda *_: 16)
    monkeypatch.setattr(inference, "_CHUNK_VALUES", 300)
    monkeypatch.setattr(inference, "FEW_DIFFERENCES", 0)
    with pytest.raises(RuntimeError, match="unreadable"):
        nearest(rng.normal(size=(700, 6)), rng.normal(size=(30, 6)))
    assert queues[0].qsize() == inference.n_threads_for([slice(0)] * 14)


class Looked:
    """Samples that count how often they are looked at, and read."""

    def __init__(self, X, metric="euclidean", error=None):
        self.n_looks, self.n_rows = 0, 0
        counting = self

        class Counted(Samples):
            def raw(self, rows):
                tile = super().raw(rows)
                counting.n_rows += len(tile)
                return tile

            def marked(self, *, has_missing):
                return Counted(self._X, self.metric, has_missing=has_missing)

        def look():
            self.n_looks += 1
            if error is not None:
                raise error
            return bool(np.isnan(X).any())

        self.samples = Counted(X, metric, look=look)


@pytest.mark.parametrize("n_bmus", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
@pytest.mark.parametrize("n_samples", [10, 300, 700])
def test_complete_samples_are_read_once(monkeypatch, n_bmus, dtype, metric, n_samples):
    core = tensorflow_core()
    from sklearn_tfsom._tf import inference

    monkeypatch.setattr(inference, "tile_rows", lambda *_: 16)
    monkeypatch.setattr(inference, "_CHUNK_VALUES", 600)
    monkeypatch.setattr(inference, "FEW_DIFFERENCES", 0)
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n_samples, 6)).astype(dtype)
    codebook = as_codebook(rng.normal(size=(30, 6)), metric)
    expected = core.nearest(Samples(X, metric, has_missing=False), codebook, n_bmus)
    looked = Looked(X, metric)
    assert_array_equal(core.nearest(looked.samples, codebook, n_bmus), expected)
    assert looked.n_looks == 0
    step = max(1, n_samples // inference._SOME_ROWS)
    assert looked.n_rows == n_samples + len(range(0, n_samples, step))
    assert not looked.samples.has_missing
    assert looked.n_looks == 0


@pytest.mark.parametrize("n_bmus", [1, 2])
@pytest.mark.parametrize("where", [0, 100, 699])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, 1e200])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine", "correlation"])
def test_samples_that_are_not_as_hoped_are_looked_at(monkeypatch, n_bmus, where, value, metric):
    core = tensorflow_core()
    from sklearn_tfsom._tf import inference

    monkeypatch.setattr(inference, "tile_rows", lambda *_: 16)
    monkeypatch.setattr(inference, "_CHUNK_VALUES", 600)
    rng = np.random.RandomState(0)
    is_direction = metric in ("cosine", "correlation")
    codebook = as_codebook(rng.normal(size=(30, 6)), metric)
    for dtype in (np.float64, np.float32):
        X = rng.normal(size=(700, 6)).astype(dtype)
        with np.errstate(over="ignore"):
            X[where, 3] = value  # of float32 1e200 is infinite
        is_invalid = np.isinf(X[where, 3]) or (is_direction and np.isnan(value))
        looked = Looked(X, metric, ValueError("not valid") if is_invalid else None)
        is_far = metric == "euclidean" or (metric == "manhattan" and n_bmus == 2)
        if is_invalid or (value == 1e200 and is_far):
            with pytest.raises(ValueError, match="not valid" if is_invalid else "too large"):
                core.nearest(looked.samples, codebook, n_bmus)
        else:
            known = Samples(X, metric, has_missing=bool(np.isnan(value)))
            expected = core.nearest(known, codebook, n_bmus)
            assert_array_equal(core.nearest(looked.samples, codebook, n_bmus), expected)
        is_harmless = value == 1e30 or (value == 1e200 and is_direction and dtype == np.float64)
        assert looked.n_looks == (not is_harmless)


def test_some_of_the_samples_are_looked_at_like_all():
    looked = Looked(np.array([[1.0, np.nan], [2.0, 3.0]]))
    assert looked.samples.awaits_look
    some = looked.samples.take(slice(1, 2))
    assert looked.n_looks == 1
    assert not looked.samples.awaits_look
    assert not some.awaits_look
    assert not some.has_missing
    bad = Looked(np.ones((2, 2)), error=ValueError("not valid"))
    with pytest.raises(ValueError, match="not valid"):
        bad.samples.take(slice(1, 2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (15, 3, 7), (16, 3, 7), (100, 66, 401), (40, 300, 90), (33, 20_000, 9)]
)
def test_a_product_of_small_products_is_the_product(dtype, shape):
    from sklearn_tfsom._tf.distances import product

    n_rows, n_terms, n_columns = shape
    rng = np.random.RandomState(0)
    a = rng.normal(size=(n_rows, n_terms)).astype(dtype)
    b = rng.normal(size=(n_columns, n_terms)).astype(dtype).T
    atol = 4 * np.finfo(dtype).eps * n_terms
    expected = a.astype(np.float64) @ b.astype(np.float64)
    assert_allclose(product(a, b), expected, atol=atol)
    out = np.full((n_rows, n_columns + 1), np.nan, dtype)
    assert_allclose(product(a, b, out[:, 1:]), expected, atol=atol)
    assert np.isnan(out[:, 0]).all()
    assert product(a[:0], b).shape == (0, n_columns)


def test_graphs_are_traced_once_for_all_shapes(monkeypatch):
    """What runs in Python while a graph is traced must not run again for other shapes."""
    from sklearn_tfsom._tf import (
        absolute,
        data,
        distances,
        inference,
        sparse,
        training_graphs,
    )

    def use_everything(n_samples, n_features, grid_size):
        rng = np.random.RandomState(0)
        for dtype in (np.float32, np.float64):
            X = rng.normal(size=(n_samples, n_features)).astype(dtype)
            gappy = X.copy()
            gappy[::2, 1:] = np.nan
            for samples in (X, gappy):
                for neighborhood in ("gaussian", "bubble"):
                    som = TFSOM(grid_size, neighborhood=neighborhood, max_iter=4).fit(samples)
                    som.predict(samples)
                    som.transform(samples)
                    som.bmus(samples, n_bmus=2)
                    som.score(samples)
                    som.partial_fit(samples)
        counts = scipy.sparse.csr_array(np.maximum(X, 0))
        for metric, samples in [
            ("cosine", X),
            ("manhattan", X),
            ("manhattan", gappy),
            ("chebyshev", X),
            ("chebyshev", gappy),
            ("euclidean", counts),
            ("cosine", counts),
        ]:
            som = TFSOM(grid_size, metric=metric, batch_size=50, max_iter=3).fit(samples)
            som.partial_fit(samples)
            som.transform(samples)
            som.bmus(samples, n_bmus=2)
            som.score(samples)

    traced = []
    for module, names in (
        (training_graphs, ["search_terms", "update"]),
        (inference, ["search_terms"]),
        (distances, ["search_terms"]),
        (sparse, ["search_terms", "bmus_by_score"]),
        (absolute, ["known"]),
    ):
        for name in names:
            original = getattr(module, name)

            def counted(*args, original=original, **kwargs):
                traced.append(original)
                return original(*args, **kwargs)

            monkeypatch.setattr(module, name, counted)

    monkeypatch.setattr(inference, "FEW_DIFFERENCES", 0)
    for module in (data, distances, inference, sparse):  # tiles, and no loops, at small sizes
        monkeypatch.setattr(module, "tile_rows", lambda *_: 64)
    use_everything(20, 3, (12, 9))
    use_everything(100, 3, (12, 9))
    use_everything(200, 3, (12, 9))
    traced.clear()
    for n_samples, n_features in ((2, 60), (65, 1), (200, 2)):
        use_everything(n_samples, n_features, (13, 8))
    assert not traced
    inference._nearest_tile.__wrapped__.cache_clear()
    use_everything(20, 3, (2, 3))
    assert traced  # the counters count


@pytest.fixture
def compiles(monkeypatch):
    """``compiles(True)`` has XLA compile every search in tiles, ``compiles(False)`` none."""
    from sklearn_tfsom._tf import graphs

    def compiles(value):
        monkeypatch.setattr(graphs, "_MIN_COMPILED_ROWS", 0 if value else 10**12)
        assert graphs.is_worth_compiling((4096, 300), 1000) == value

    return compiles


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_units", [40, 401, 2100])
def test_compiled_searches_find_the_same_units(compiles, dtype, n_units):
    rng = np.random.RandomState(0)
    codebook = rng.normal(size=(n_units, 4))
    X = rng.normal(size=(21_003, 4)).astype(dtype)  # the last tile is not full
    X[:n_units] = codebook
    compiles(True)
    compiled, distances = nearest(X, codebook)
    compiles(False)
    plain, plain_distances = nearest(X, codebook)
    assert_array_equal(compiled, plain)
    assert_array_equal(distances, plain_distances)
    parts = [nearest(part, codebook)[0] for part in np.array_split(X, 30)]
    assert_array_equal(compiled, np.concatenate(parts))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n_parts", "n_values"), [(0, 5), (1, 1), (3, 7), (2, 64), (4, 1000)])
def test_all_parts_of_memory_for_chunks_are_aligned(n_parts, n_values, dtype):
    from sklearn_tfsom._tf.frame import aligned_parts

    parts = aligned_parts(n_parts, n_values, np.dtype(dtype))
    assert len(parts) == n_parts
    for part in parts:
        assert part.ctypes.data % 64 == 0
        assert len(part) >= n_values
        assert part.flags.c_contiguous
        assert part.dtype == dtype


def test_lowest_of_each_row_by_integers_is_that_of_its_numbers():
    import tensorflow as tf
    from sklearn_tfsom._tf.lowest import _lowest_of_rows

    rng = np.random.RandomState(0)
    values = rng.normal(size=(500, 48)).astype(np.float32)
    values[:100] = np.abs(values[:100])
    values[100:200] *= np.float32(1e-30)
    values[200:300, :40] = np.inf
    values[300:310, 5] = -np.inf
    values[310:320] = -np.float32(3e38)
    values[320:330] = np.where(rng.rand(10, 48) < 0.5, 0.0, -0.0)
    lowest = tf.function(_lowest_of_rows, jit_compile=True)(values)
    assert_array_equal(lowest, values.min(axis=1))


@pytest.mark.parametrize("n_units", [1, 15, 16, 17, 100, 400, 704, 2000, 2**17, 2**19, 2**28])
@pytest.mark.parametrize("is_fused", [False, True])
def test_layers_hold_all_units_and_little_else(n_units, is_fused):
    import tensorflow as tf
    from sklearn_tfsom._tf.graphs import _MOST_FUSED_UNITS
    from sklearn_tfsom._tf.lowest import FUSED_LAYERS, layers_for

    n_units = min(n_units, _MOST_FUSED_UNITS) if is_fused else n_units
    n_layers, n_lanes = map(int, layers_for(tf.constant(n_units), is_fused=is_fused))
    assert n_lanes % 16 == 0
    assert n_units <= n_layers * n_lanes < n_units + (16 * FUSED_LAYERS if is_fused else n_lanes)
    assert n_layers <= 32 or n_units > 2**19  # of more XLA takes the minimum in two steps
    most = max(n_layers, n_lanes)
    assert most * (2**16 + most) < 2**31  # what `_near` may sum up


def test_compiled_training_equals_training_by_parts(compiles):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(30_000, 3))
    X[::7] = X[0]  # ties, and a tile that is not full
    compiles(True)
    compiled = TFSOM((20, 15), neighborhood="epanechnikov", max_iter=4).fit(X)
    compiles(False)
    plain = TFSOM((20, 15), neighborhood="epanechnikov", max_iter=4).fit(X)
    assert_allclose(compiled.codebook_, plain.codebook_, rtol=1e-12, atol=1e-12)
    assert_array_equal(compiled.labels_, plain.labels_)


def test_xla_hands_nothing_to_a_library():
    """In TensorFlow 2.21 that crashes where two threads are the first to run a program."""
    tensorflow_core()
    import tensorflow as tf

    from sklearn_tfsom._tf import absolute, lowest, pruning, search

    def scalars(n):
        return [tf.constant(1.0, tf.float64)] * n

    def zeros(*shape, dtype=tf.float32):
        return tf.zeros(shape, dtype)

    def is_handed_over(program, *inputs):
        text = program.experimental_get_compiler_ir(*inputs)(stage="optimized_hlo")
        assert "ENTRY" in text
        return "ynn" in text or "xnn" in text

    naive = tf.function(lambda scores: tf.reduce_min(scores, axis=1), jit_compile=True)
    if not is_handed_over(naive, zeros(4096, 25, 16)):
        pytest.skip("this XLA hands over nothing at all")

    def laid_out(n_units, n_rows):
        n_layers, n_lanes = map(int, lowest.layers_for(tf.constant(n_units)))
        return zeros(n_rows, n_layers * n_lanes), zeros(n_layers, n_lanes)

    for is_incomplete, geometry in itertools.product([False, True], ["euclidean", "spherical"]):
        program = search._compiled_among(is_incomplete, geometry, 0)
        for n_units in (1, 100, 400, 512, 513, 1024, 1500, 2000, 20_000, 40_000):
            for n_rows in {search.tile_rows(n_units, n, 10**6) for n in (1, search._WIDE, 784)}:
                norms = zeros(n_rows, dtype=tf.float64)
                inputs = laid_out(n_units, n_rows)
                assert not is_handed_over(program, norms, *scalars(5), *inputs)
    program = search._compiled_among(False, "euclidean", 3)
    for n_lanes in (16, 64, 2**14):
        n_rows = search.tile_rows(8 * n_lanes)
        inputs = zeros(n_rows, 3), zeros(3, 8 * n_lanes), zeros(8 * n_lanes)
        norms = zeros(n_rows, dtype=tf.float64)
        assert not is_handed_over(program, norms, *scalars(5), *inputs)
    n_lanes = pruning.GROUP_UNITS // pruning._GROUP_LAYERS
    for n_rows in (pruning.TILE_ROWS, pruning._UNPRUNED_ROWS):
        of_group = zeros(n_rows, pruning.GROUP_UNITS), zeros(pruning._GROUP_LAYERS, n_lanes)
        for inputs in (of_group, *(laid_out(n_blocks, n_rows) for n_blocks in (256, 2500))):
            assert not is_handed_over(pruning._compiled(), *inputs, zeros(n_rows))
    for program in absolute._COMPILED_GRAPHS.values():
        rows, codebook = zeros(512, 20, dtype=tf.float64), zeros(400, 20, dtype=tf.float64)
        assert not is_handed_over(program, rows, codebook)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0, 1e4])
@pytest.mark.parametrize(
    ("metric", "is_incomplete"), [("euclidean", False), ("euclidean", True), ("cosine", False)]
)
def test_in_float64_at_once_the_same_is_learnt(monkeypatch, dtype, offset, metric, is_incomplete):
    core, rng = tensorflow_core(), np.random.RandomState(0)
    X, codebook = near_ties(1e-3, 5, rng, n_samples=200, n_units=40)
    X, codebook = (X + offset).astype(dtype), codebook + offset
    X[:40] = codebook
    codebook[20:30] = codebook[:10]  # ties: the first one wins
    X[-1] *= 1e6  # far from the map
    if is_incomplete:
        X[::3, 2] = np.nan
    weights = rng.randint(1, 4, len(X)).astype(float)
    frame = core.Frame.around(np.nanmean(X[:-1], axis=0), 1.0, X.dtype)

    def learnt(is_small):
        monkeypatch.setattr("sklearn_tfsom._tf.data.is_small", lambda *sizes: is_small)
        return core.statistics_of(
            Samples(X, metric), weights, as_codebook(codebook, metric), frame
        )

    sums, counts, error = learnt(True)
    other_sums, other_counts, other_error = learnt(False)
    assert_array_equal(counts, other_counts)
    assert_allclose(sums, other_sums, rtol=1e-6)
    assert_allclose(error, other_error, rtol=1e-6)
    assert not counts[20:30].any()
    X[-1] /= 1e6

    def trained(is_small):
        monkeypatch.setattr("sklearn_tfsom._tf.data.is_small", lambda *sizes: is_small)
        return TFSOM((8, 5), init=codebook, metric=metric, max_iter=8).fit(X, None, weights)

    one, other = trained(True), trained(False)
    assert_array_equal(one.labels_, other.labels_)
    assert_allclose(one.codebook_, other.codebook_, rtol=1e-5)
    errors = (som.history_["quantization_error"] for som in (one, other))
    assert_allclose(*errors, rtol=1e-4)  # of samples that are code vectors, too


def test_an_error_that_leaves_the_range_is_not_a_number_of_its_own():
    """Scores that are no numbers have no competitors, and no distance."""
    rng = np.random.RandomState(0)
    X, start = rng.normal(size=(100, 3)), rng.normal(size=(25, 3))
    X[::2, 1] = np.nan
    start[7, 1] = 1e200
    som = TFSOM((5, 5), init=start, max_iter=3).fit(X)
    assert not np.isfinite(som.history_["quantization_error"][0])


@pytest.fixture
def fuses(monkeypatch):
    """``fuses(True)`` has every search in tiles fused for few features, ``fuses(False)`` none."""
    from sklearn_tfsom._tf import graphs

    def fuses(value):
        monkeypatch.setattr(graphs, "_MIN_FUSED_SCORES", 0 if value else 10**18)
        assert graphs.is_worth_fusing((4096, 300, 8), 1000) == value
        assert not graphs.is_worth_fusing((4096, 300, 9), 1000)

    return fuses


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0, 1e4])
@pytest.mark.parametrize(
    ("n_units", "n_features"), [(1, 3), (40, 1), (401, 4), (2100, 3), (130, 8)]
)
def test_fused_searches_find_the_same_units(fuses, dtype, offset, n_units, n_features):
    rng = np.random.RandomState(0)
    codebook = offset + rng.normal(size=(n_units, n_features))
    X = (offset + rng.normal(size=(21_003, n_features))).astype(dtype)  # the last tile is not full
    X[:n_units] = codebook
    X[n_units : 2 * n_units] = (codebook + np.roll(codebook, 1, axis=0)) / 2  # between two units
    X[-1] *= 1e6  # far from the map
    fuses(True)
    fused = nearest(X, codebook)[0]
    fuses(False)
    assert_array_equal(fused, nearest(X, codebook)[0])
    few = rng.choice(len(X), 300, replace=False)
    exact = np.square(X[few, None].astype(np.longdouble) - codebook).sum(axis=2)
    found = np.take_along_axis(exact, fused[few], axis=1)[:, 0]
    assert_allclose(found.astype(float), exact.min(axis=1).astype(float), rtol=1e-9)


@pytest.mark.parametrize("params", [{}, {"neighborhood": "epanechnikov"}, {"metric": "cosine"}])
def test_fused_training_equals_training_by_parts(fuses, params):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(30_000, 3))
    X[::7] = X[0]  # ties, and a tile that is not full
    fuses(True)
    fused = TFSOM((20, 15), max_iter=4, **params).fit(X)
    fuses(False)
    plain = TFSOM((20, 15), max_iter=4, **params).fit(X)
    assert_allclose(fused.codebook_, plain.codebook_, rtol=1e-12, atol=1e-12)
    assert_array_equal(fused.labels_, plain.labels_)


def test_what_is_missing_is_not_fused_and_what_is_not_finite_raises(fuses):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(30_000, 3))
    X[::5, 1] = np.nan
    fuses(True)
    fused = TFSOM((6, 5), max_iter=4).fit(X)
    fuses(False)
    assert_allclose(fused.codebook_, TFSOM((6, 5), max_iter=4).fit(X).codebook_, rtol=1e-12)
    fuses(True)
    with pytest.raises(ValueError, match="too large"):
        TFSOM((6, 5), max_iter=2).fit(np.nan_to_num(X)).predict(np.full((30_000, 3), 1e200))


def test_few_features_are_fused_once_there_were_many_scores(monkeypatch):
    import collections

    from sklearn_tfsom._tf import graphs

    monkeypatch.setattr(graphs, "_searched", collections.Counter())
    n_calls = 0
    while not graphs.is_worth_fusing((4096, 400, 3), 100_000):
        n_calls += 1
    assert 20 < n_calls < 200
    assert graphs.is_worth_fusing((4096, 400, 3), 1)
    assert not graphs.is_worth_fusing((4096, 400, 4), 1)
    assert not graphs.is_worth_fusing((4096, 2**17 + 1, 3), 10**9)


def test_a_search_is_compiled_once_it_has_been_large(monkeypatch):
    import collections

    from sklearn_tfsom._tf import graphs

    monkeypatch.setattr(graphs, "_searched", collections.Counter())
    n_calls = 0
    while not graphs.is_worth_compiling((4096, 400), 10_000):
        n_calls += 1
    assert 20 < n_calls < 200
    assert graphs.is_worth_compiling((4096, 400), 1)
    assert not graphs.is_worth_compiling((4096, 401), 1)
    assert graphs.is_worth_compiling((4096, 402), 10**6)


@pytest.mark.parametrize("outlier", [1e3, 1e7, 1e10, 1e13])
def test_an_outlying_code_vector_blurs_no_other(outlier):
    """Scores lose the digits of the small distances; differences decide among the candidates."""
    rng = np.random.RandomState(0)
    codebook = rng.normal(size=(30, 3))
    codebook[7] *= outlier
    X = rng.normal(size=(300, 3))
    expected = exact_bmus(X, codebook)
    assert_array_equal(nearest(X, codebook)[0][:, 0], expected)
    assert_array_equal(nearest(X, codebook, 2)[0][:, 0], expected)


def test_samples_that_have_their_units_to_themselves_are_told_apart():
    """Code vectors so close to a sample that scores cannot tell them apart."""
    rng = np.random.RandomState(0)
    samples = rng.normal(size=(5, 4))
    gaps = 10.0 ** -np.arange(3, 13)  # distances of 1e-3 to 1e-12 to each sample
    codebook = samples[:, None] + gaps[:, None] * rng.normal(size=(5, 10, 4))
    codebook = codebook.reshape(-1, 4)
    bmus, distances = nearest(samples, codebook)
    assert_array_equal(bmus[:, 0], 9 + 10 * np.arange(5))
    assert (distances < 1e-11).all()


@pytest.mark.parametrize("distance", [1e5, 1e10, 1e30])
def test_far_away_the_direction_decides(distance):
    """There differences round away what scores still tell."""
    rng = np.random.RandomState(0)
    codebook = rng.normal(size=(25, 2))
    X = rng.normal(size=(500, 2))
    X *= distance / np.abs(X).max(axis=1, keepdims=True)
    center = codebook.mean(axis=0)
    scores = ((codebook - center) ** 2).sum(axis=1) - 2 * (X - center) @ (codebook - center).T
    assert_array_equal(nearest(X, codebook)[0][:, 0], scores.argmin(axis=1))


@pytest.mark.parametrize("scale", [1e-15, 1e-9, 1e-3, 1e9, 1e15])
def test_far_away_is_relative_to_the_map(scale):
    """Samples of float32 whose squares leave its range are searched all the same."""
    rng = np.random.RandomState(0)
    codebook = rng.normal(size=(30, 3))
    X = rng.normal(size=(700, 3))
    X[::7] *= 1e10
    expected, _ = nearest(X, codebook)
    scaled = (X * 2.0 ** np.round(np.log2(scale))).astype(np.float32)
    found, _ = nearest(scaled, codebook * 2.0 ** np.round(np.log2(scale)))
    assert np.mean(found == expected) > 0.99  # but for what rounding to float32 moves


@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_float32_samples_are_not_rounded_on_their_way(spread):
    """Also where a map far from 0 is centered, and samples are far from it."""
    codebook = 1000 + spread * np.array([[-1.0, 1.0], [1.0, -1.0]])
    x = np.random.RandomState(0).uniform(0.01, 0.02, 9000).astype(np.float32)
    above = x * np.float32(1 + 2**-18)  # closer to unit 0, by what is nothing beside 1000
    X = np.column_stack([x, above])
    assert not nearest(X, codebook)[0].any()
    assert nearest(X[:, ::-1].copy(), codebook)[0].all()
    assert not nearest(X, codebook, 2)[0][:, 0].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spread, far", [(1, 1e38), (1e9, 1e29), (1e11, 1e27), (1e-12, 1e36)])
def test_scores_beyond_float32_are_not_trusted(dtype, spread, far):
    rng = np.random.RandomState(0)
    codebook = spread * rng.normal(size=(40, 3))
    X = np.clip(far * rng.normal(size=(7000, 3)), -3e38, 3e38).astype(dtype)
    x, w = X.astype(np.longdouble), codebook.astype(np.longdouble)
    scores = (w**2).sum(axis=1) - 2 * x @ w.T
    slack = 1e-12 * np.abs(scores).max(axis=1)
    for n_bmus in (1, 2):
        bmus = nearest(X, codebook, n_bmus)[0][:, 0]
        assert (scores[np.arange(len(X)), bmus] <= scores.min(axis=1) + slack).all()


@pytest.mark.parametrize("n_features", [3, 7, 40])
def test_zeros_are_as_far_from_all_directions(n_features):
    """The first unit wins, alone and among others; in float32 directions differ in length."""
    rng = np.random.RandomState(0)
    for dtype in (np.float32, np.float64):
        X = rng.normal(size=(400, n_features)).astype(dtype)
        som = TFSOM((15, 20), metric="cosine", init="random", max_iter=2, random_state=0).fit(X)
        X[5] = 0
        unit = som.predict(X)[5]
        assert unit == som.predict(X[5:6])[0] == som.bmus(X, 2)[5, 0]
        assert unit == 0 or dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_few_samples_are_searched_as_many_are(monkeypatch, dtype, offset):
    """For few samples NumPy is done before a graph is called; ties are settled alike."""
    from sklearn_tfsom._tf import inference

    rng = np.random.RandomState(0)
    codebook = rng.normal(size=(40, 3)) + offset
    codebook[20:30] = codebook[5] + 1e-15 * rng.normal(size=(10, 3)) * max(offset, 1)
    codebook[7] = codebook[31]
    halfway = (codebook[:-1] + codebook[1:]) / 2
    far = offset + 1e9 * rng.normal(size=(5, 3))
    X = np.vstack([rng.normal(size=(50, 3)) + offset, codebook, halfway, far]).astype(dtype)
    one_by_one = np.concatenate([nearest(x[None], codebook)[0] for x in X])
    frame = inference.Frame.of_codebook(codebook, dtype)
    assert inference.few_nearest(X[:1], codebook, frame) is not None
    assert inference.few_nearest(X[-1:], codebook, frame) is None
    monkeypatch.setattr(inference, "FEW_DIFFERENCES", 0)
    assert_array_equal(one_by_one, nearest(X, codebook)[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_short_look_at_a_codebook_tells_what_the_long_one_does(monkeypatch, dtype):
    from sklearn_tfsom._tf import frame

    random = np.random.RandomState(0)
    shapes = random.random_sample((5, 7, 3)).astype(dtype)
    largest = 120 if dtype == np.float32 else 1020
    spreads = [2.0**e for e in (-largest, *range(-42, -36), -1, 0, *range(36, 43), largest)]
    offsets = 0, 1, 15, 30, 31, 32, 33, 63, 64, 65, 1000
    codebooks = [
        (shape - dtype(0.5) + dtype(offset)) * dtype(spread)
        for shape, spread, offset in itertools.product(shapes, spreads, offsets)
        if offset * spread < float(np.finfo(dtype).max)
    ]
    codebooks += [np.zeros((4, 3), dtype), np.ones((4, 3), dtype), np.eye(4, 3).astype(dtype)]
    codebooks += [np.diag(np.full(4, np.finfo(dtype).max)), np.ones((1, 3), dtype)]
    codebooks += [np.array([[-1, n], [1, n]], dtype) for n in (31, 32, 33)]  # 32 is near

    short = [frame.Frame.of_search(codebook, dtype) for codebook in codebooks]
    n_harmless = sum(map(frame._is_harmless, codebooks))
    monkeypatch.setattr(frame, "_is_harmless", lambda _: False)
    long = [frame.Frame.of_search(codebook, dtype) for codebook in codebooks]

    assert 0 < n_harmless < len(codebooks)
    for by_short, by_long in zip(short, long, strict=True):
        assert_array_equal(by_short.center, by_long.center)
        assert by_short.scale == by_long.scale


@pytest.mark.parametrize("value", [1e13, 1e16])
def test_a_constant_feature_far_from_zero_blurs_nothing(value):
    """A date, say, of which nothing depends."""
    rng = np.random.RandomState(0)
    X = np.column_stack([np.full(2000, value), rng.normal(size=(2000, 3))])
    som = TFSOM(8).fit(X)
    expected = exact_bmus(X[:, 1:], som.codebook_[:, 1:])
    assert_array_equal(som.predict(X), expected)
    assert_array_equal([som.predict(x[None])[0] for x in X[:100]], expected[:100])
    assert_array_equal(som.bmus(X, 2)[:, 0], expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_next_to_nothing_move_nothing(dtype):
    """What float32 makes 0 is 0 in sums and counts alike."""
    rng = np.random.RandomState(0)
    X = np.concatenate([rng.normal(size=(50, 2)), 50 + rng.normal(size=(50, 2))]).astype(dtype)
    for ratio in (1e-30, 1e-38, 1e-44, 1e-60):
        weights = np.repeat([1.0, ratio], 50)
        som = TFSOM(
            (1, 2), neighborhood="bubble", radius_decay=[0.5], max_iter=1, init=X[[0, 99]]
        ).fit(X, sample_weight=weights)
        assert_allclose(som.codebook_[0], X[:50].mean(axis=0), atol=1e-4)
        assert np.abs(som.codebook_[1] - 50).max() < 3


@pytest.mark.parametrize("constant", [1e30, 1e35])
def test_a_small_spread_beside_large_values_overflows_nothing(constant):
    rng = np.random.RandomState(0)
    X = np.column_stack([np.full(200, constant), 1e-10 * rng.normal(size=200)]).astype(np.float32)
    som = TFSOM((3, 3)).fit(X)
    assert np.isfinite(som.codebook_).all()
    expected = np.abs(X[:, 1:].astype(float) - som.codebook_[:, 1].astype(float)).argmin(axis=1)
    assert_array_equal(som.predict(X), expected)


def test_one_row_far_out_is_refused_as_many_are():
    som = TFSOM((3, 3)).fit(1e-3 * np.random.RandomState(0).normal(size=(50, 3)))
    far = np.array([[1e308, 0, 0]])
    for X in (far, np.repeat(far, 5000, axis=0)):
        with pytest.raises(ValueError, match="too large"):
            som.predict(X)

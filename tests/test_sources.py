"""Samples in memory, in pieces and of several workers give the same statistics and epochs."""

import itertools
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import searches  # noqa: F401  (starts TensorFlow)
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

import sklearn_tfsom
from sklearn_tfsom import TFSOM
from sklearn_tfsom._assignment import assign, assign_and_average, map_errors
from sklearn_tfsom._data import checks, outliers, subsampling
from sklearn_tfsom._data.checks import are_counted, check_features_known
from sklearn_tfsom._data.moments import compute_moments
from sklearn_tfsom._data.pieces import Piece, Pieces, Workers
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.scaling import Scaling
from sklearn_tfsom._data.subsampling import Subsamples
from sklearn_tfsom._distance import METRICS, as_codebook
from sklearn_tfsom._epochs import run_epochs
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.imputation import residual_covariance
from sklearn_tfsom._map.initialization import initial_codebook
from sklearn_tfsom._map.neighborhood import NEIGHBORHOODS, Kernels
from sklearn_tfsom._plan import make_plan
from sklearn_tfsom._representatives import _rows_and_weights, representatives
from sklearn_tfsom._search.sources import (
    LoadedSource,
    Search,
    Source,
    make_source,
    statistics_of,
)
from sklearn_tfsom._training import train, trained_codebook

GRID = Grid(5, 4)
KINDS = ["dense", "float32", "incomplete", "sparse", *(m for m in METRICS if m != "euclidean")]


def samples_of(kind, n_samples=300, n_features=6):
    """Positive samples: Euclidean ones of some kind, or those of another metric."""
    rng = np.random.RandomState(0)
    X = rng.uniform(0.1, 4, size=(n_samples, n_features))
    X[: n_samples // 3] += 3
    if kind == "float32":
        X = X.astype(np.float32)
    if kind == "incomplete":
        X[rng.uniform(size=X.shape) < 0.2] = np.nan
        X[:, 0] = 1 + rng.uniform(size=n_samples)
    if kind == "sparse":
        X = csr_array(np.where(X < 2, 0, X))
    metric = METRICS.get(kind, METRICS["euclidean"])
    return Samples(X, metric, has_missing=kind == "incomplete")


def pieces_of(kind, *, is_weighted=True, make=Pieces, **sizes):
    samples = samples_of(kind, **sizes)
    weights = np.random.RandomState(1).uniform(0, 3, size=len(samples))
    weights[::7] = 0
    return make(samples, weights if is_weighted else np.ones(len(samples)))


def scaling_of(pieces):
    moments = compute_moments(pieces)
    samples = pieces.samples
    kind = {"metric": samples.metric, "is_sparse": samples.is_sparse}
    return Scaling.of(moments.mean, moments.spread, samples.dtype, **kind)


def start_of(pieces, scaling):
    start = pieces.samples.dense(np.arange(GRID.n_units))
    start = np.where(np.isnan(start), 1.5, start)
    if pieces.samples.is_sparse:
        # Apart from the samples: of a distance of 0, float32 scores give a root of their rounding.
        start += 0.5
    start[7] = start[3]  # ties
    metric = pieces.samples.metric
    return scaling.transform(as_codebook(start, metric)).reshape(*GRID.shape, -1)


class InSmallPieces(Pieces):
    """Samples that are reduced over pieces of a few rows."""

    def reduce(self, function, *arguments, piece_values=None, **options):
        return super().reduce(function, *arguments, piece_values=300, **options)


def assert_same_epochs(epochs, others, tolerance):
    epochs, others = list(epochs), list(others)
    assert len(epochs) == len(others) > 0
    for one, other in zip(epochs, others, strict=True):
        for part, other_part in zip(one.state, other.state, strict=True):
            assert_allclose(part, other_part, rtol=tolerance, atol=tolerance)
        assert one.quantization_error == pytest.approx(other.quantization_error, rel=1e-5)
        assert one.shift == pytest.approx(other.shift, rel=1e-5, abs=tolerance)


# Sums do not depend on the neighborhood: each kind goes with one of them when weighted.
DENSE_KINDS = [kind for kind in KINDS if kind != "sparse"]
TOGETHER = [
    *zip(DENSE_KINDS, itertools.cycle(NEIGHBORHOODS), itertools.repeat(True)),
    *zip(DENSE_KINDS, itertools.repeat("gaussian"), itertools.repeat(False)),
]


@pytest.mark.parametrize(("kind", "neighborhood", "is_weighted"), TOGETHER)
def test_samples_in_memory_equal_samples_in_pieces(kind, neighborhood, is_weighted):
    pieces = pieces_of(kind, is_weighted=is_weighted)
    in_pieces = pieces_of(kind, is_weighted=is_weighted, make=InSmallPieces)
    scaling = scaling_of(pieces)
    start = start_of(pieces, scaling)
    epochs = start, Kernels(GRID, neighborhood), GRID, np.array([2.0, 1.5, 1.0, 0.8])
    source, other = LoadedSource(pieces, scaling), Source(in_pieces, scaling)
    tolerance = 1e-5 if kind == "float32" else 1e-10
    assert_same_epochs(run_epochs(source, *epochs), run_epochs(other, *epochs), tolerance)
    expected = other.statistics(start)
    whole = Piece(pieces.samples, pieces.sample_weight)
    found = [source.statistics(start)]
    # So few samples are searched in NumPy unless a graph is to search them in tiles.
    for n_tile in (300, 299, 7):
        found.append(statistics_of(whole, start, Search(scaling, source.extents, n_tile)))
    for statistics in found:
        for part, expected_part in zip(statistics, expected, strict=True):
            assert_allclose(part, expected_part, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_source_without_samples_has_zero_statistics(kind):
    """That of a worker all of whose samples have weight 0."""
    pieces = pieces_of(kind)
    scaling = scaling_of(pieces)
    source = make_source(pieces.take(slice(0, 0)), scaling)
    expected = make_source(pieces, scaling).statistics(start_of(pieces, scaling))
    for part, other in zip(source.statistics(start_of(pieces, scaling)), expected, strict=True):
        assert np.shape(part) == np.shape(other)
        assert not np.any(part)


@pytest.mark.parametrize("kind", ["dense", "float32", "incomplete"])
def test_sums_of_many_features_in_each_form(kind, monkeypatch):
    """Of 300 features, in three blocks; a source that goes from NumPy to a graph loads again."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(5000, 300)).astype(np.float32 if kind == "float32" else np.float64)
    if kind == "incomplete":
        X[rng.uniform(size=X.shape) < 0.1] = np.nan
    weights = rng.uniform(size=5000)
    samples = Samples(X, METRICS["euclidean"], has_missing=kind == "incomplete")
    pieces = Pieces(samples, weights)
    scaling = scaling_of(pieces)
    start = start_of(pieces, scaling)
    scaled = scaling.transform(X.astype(float))
    units = [
        np.nansum((start.reshape(GRID.n_units, -1) - x) ** 2, axis=1).argmin() for x in scaled
    ]
    of_units = np.eye(GRID.n_units)[:, units] * weights
    source = LoadedSource(pieces, scaling)
    for in_numpy in (True, False):
        found = source.statistics(start)
        assert source._in_numpy == in_numpy
        assert_allclose(found.sums, of_units @ np.nan_to_num(scaled), rtol=1e-5, atol=1e-4)
        counts = of_units @ ~np.isnan(scaled)
        assert_allclose(found.counts, counts if kind == "incomplete" else counts[:, :1])
        monkeypatch.setattr("sklearn_tfsom._search.nearest.MAX_NUMPY_SCORES", 0)


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_of_pieces_add(kind):
    pieces = pieces_of(kind)
    scaling = scaling_of(pieces)
    codebook = start_of(pieces, scaling)
    source = make_source(pieces, scaling)
    assert isinstance(source, LoadedSource)
    search = Search(scaling, source.extents, n_tile=None)
    parts = [
        statistics_of(
            Piece(pieces.samples.take(rows), pieces.sample_weight[rows]), codebook, search
        )
        for rows in (slice(0, 0), slice(0, 100), slice(100, 101), slice(101, 300))
    ]
    tolerance = 1e-5 if kind == "float32" else 1e-10
    whole = source.statistics(codebook)
    for total, *each in zip(whole, *parts, strict=True):
        assert_allclose(sum(map(np.asarray, each)), total, rtol=tolerance, atol=tolerance)


class WithEmptyPiece(Pieces):
    """Samples that check, whenever they are reduced, that an empty piece changes nothing."""

    reduced: set

    def _empty(self, function, *arguments, rows=None):
        self.reduced.add(function.__name__)
        own = () if rows is None else (rows[:0],)
        piece = Piece(self.samples.take(slice(0, 0)), self.sample_weight[:0])
        return function(piece, *own, *arguments)

    def _check(self, result, empty, combine):
        is_tuple = isinstance(result, tuple)
        pairs = zip(result, empty, strict=True) if is_tuple else [(result, empty)]
        for part, none in pairs:
            part, none = np.asarray(part), np.asarray(none)
            assert part.shape == none.shape
            assert_array_equal(combine(part, none), part)
            assert_array_equal(combine(none, part), part)

    def reduce(self, function, *arguments, combine=np.add, rows=None, **options):
        result = super().reduce(function, *arguments, combine=combine, rows=rows, **options)
        self._check(result, self._empty(function, *arguments, rows=rows), combine)
        return result

    def reduce_with_rows(self, function, *arguments, **options):
        result, rows = super().reduce_with_rows(function, *arguments, **options)
        empty, no_rows = self._empty(function, *arguments)
        self._check(result, empty, np.add)
        assert no_rows.shape == (0, *rows.shape[1:])
        return result, rows

    def rows_of(self, function, *arguments):
        rows = super().rows_of(function, *arguments)
        assert self._empty(function, *arguments).shape == (0, *rows.shape[1:])
        return rows

    def select(self, function, *arguments, rows):
        result, keys = super().select(function, *arguments, rows=rows)
        no_rows, no_keys = self._empty(function, *arguments, rows=rows)
        assert len(no_rows) == 0
        assert no_keys.shape == (0, *keys.shape[1:])
        return result, keys


def reduced_functions():
    """Names of all functions that the package applies to pieces here."""
    text = "".join(
        path.read_text() for path in Path(sklearn_tfsom.__file__).parent.rglob("_*/*.py")
    ) + "".join(path.read_text() for path in Path(sklearn_tfsom.__file__).parent.glob("*.py"))
    names = "reduce|reduce_with_rows|rows_of|gather_rows|select"
    pattern = rf"(?<!functools)(?<!engine)\.(?:{names})\(\s*(\w+)"
    others = {"function", "self", "_having"}  # which stand for functions
    others |= {"tile", "distances", "np", "user_api"}  # arguments of NumPy and threadpoolctl
    return set(re.findall(pattern, text)) - others


def test_an_empty_piece_changes_no_reduction(monkeypatch):
    reduced = set()
    monkeypatch.setattr(WithEmptyPiece, "reduced", reduced, raising=False)
    for kind in KINDS:
        # Many features are reduced by functions of their own, whatever the metric.
        for n_features in (6, 1030) if kind in ("dense", "incomplete", "sparse") else (6,):
            pieces = pieces_of(kind, make=WithEmptyPiece, n_samples=60, n_features=n_features)
            moments, metric = compute_moments(pieces), pieces.samples.metric
            compute_moments(pieces, has_components=False)
            for init in ("pca", "random", "sample"):
                start = initial_codebook(init, GRID, pieces, moments, np.random.RandomState(0))
            start = as_codebook(start, metric)
            found = assign(pieces, start, GRID)
            assert found.hits.sum() == pytest.approx(pieces.total_weight)
            assign_and_average(pieces, start, GRID, has_missing=pieces.samples.has_missing)
            map_errors(pieces, start, GRID)
            are_counted(pieces)
            check_features_known(pieces)
            if not pieces.samples.is_sparse and metric.name == "euclidean":
                residual_covariance(pieces, start, found.bmus)
            Subsamples(pieces, [10, 20]).subsample(20)
            pieces.select(subsampling._all, rows=pieces.rows_of(subsampling.hashes))
            representatives(pieces, start, 20).choose([0, 1])
            pieces.gather_rows(_rows_and_weights, start)
            if not pieces.samples.is_sparse:
                pieces.reduce(checks._any_missing, combine=np.maximum)
            outliers._next_cut(moments, pieces.total_weight, pieces)
            cut = outliers.Cut(moments.mean, moments.directions, np.inf)
            compute_moments(outliers._TypicalPieces(pieces, (cut,), pieces.total_weight))
            source = Source(pieces, scaling_of(pieces))
            source.statistics(start_of(pieces, scaling_of(pieces)))
            som = TFSOM((3, 4), metric=metric.name, max_iter=2)
            list(train(make_plan(som, pieces), 0, None))
    assert reduced_functions() == reduced


SMALL, PRUNED = (7, 6), (66, 64)
SEARCHED = [(kind, SMALL) for kind in KINDS if kind != "sparse"]
SEARCHED += [(kind, SMALL) for kind in ("manhattan, incomplete", "chebyshev, incomplete")]
SEARCHED += [(kind, PRUNED) for kind in ("dense", "cosine")]


@pytest.mark.parametrize(("kind", "grid_size"), SEARCHED)
def test_fits_in_graphs_and_in_numpy_are_equal(kind, grid_size, monkeypatch):
    metric, _, rest = kind.partition(", ")
    X = samples_of(rest or kind, n_samples=4500 if grid_size == PRUNED else 900).values
    metric = metric if metric in METRICS else "euclidean"
    parameters = {"grid_size": grid_size, "metric": metric, "max_iter": 3, "coarse_to_fine": False}
    in_numpy = TFSOM(**parameters).fit(X)
    for name in ("SCORES", "DIFFERENCES", "INCOMPLETE", "PRUNED"):
        monkeypatch.setattr(f"sklearn_tfsom._search.nearest.MAX_NUMPY_{name}", 0)
    in_graph = TFSOM(**parameters).fit(X)
    rtol = 1e-5 if kind == "float32" else 1e-9
    assert_allclose(in_graph.codebook_, in_numpy.codebook_, rtol, rtol)
    assert_array_equal(in_graph.labels_, in_numpy.labels_)
    assert_array_equal(in_graph.bmus(X, n_bmus=3), in_numpy.bmus(X, n_bmus=3))
    errors = (som.history_["quantization_error"] for som in (in_graph, in_numpy))
    assert_allclose(*errors, rtol=1e-6 if kind == "float32" else 1e-9)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_distances_have_their_digits_in_graphs_and_in_numpy(dtype, metric, monkeypatch):
    """Groups far apart: scores in float32 lose all digits of the distances within them."""
    rng = np.random.RandomState(0)
    centers = np.eye(4) if metric == "cosine" else rng.normal(size=(4, 4))
    X = np.repeat(centers, 300, axis=0) + 1e-5 * rng.normal(size=(1200, 4))
    X = X.astype(dtype)
    parameters = {"grid_size": (2, 2), "metric": metric, "init": centers, "radius_decay": [1e-3]}
    for in_graph in (False, True):
        if in_graph:
            monkeypatch.setattr("sklearn_tfsom._search.nearest.MAX_NUMPY_SCORES", 0)
        som = TFSOM(**parameters, max_iter=1).fit(np.concatenate([X] * 40))
        samples, own = np.asarray(X, float), np.repeat(centers, 300, axis=0)
        if metric == "cosine":
            lengths = np.linalg.norm(samples, axis=1)[:, None]
            expected = np.square(samples / lengths - own).sum(axis=1).mean() / 2
        else:
            expected = np.linalg.norm(samples - own, axis=1).mean()
        rtol = 1e-9 if dtype == np.float64 else 1e-2
        (error,) = som.history_["quantization_error"]
        assert error == pytest.approx(expected, rel=rtol)


def test_many_equal_rows_are_summed_exactly_in_graphs(monkeypatch):
    """In float32 the rounding of equal values adds up: to 1e-4 of the sum of 30,000 rows."""
    values = np.random.RandomState(0).uniform(size=(600, 3)).astype(np.float32)
    values[:2] = [[0.1], [0.9]]
    counts = np.where(np.arange(600) < 2, 30_000, 1)
    parameters = {"grid_size": 4, "max_iter": 5, "coarse_to_fine": False}
    weighted = TFSOM(**parameters).fit(values, sample_weight=counts)
    monkeypatch.setattr("sklearn_tfsom._search.nearest.MAX_NUMPY_SCORES", 0)
    in_graph = TFSOM(**parameters).fit(np.repeat(values, counts, axis=0))
    assert_allclose(in_graph.codebook_, weighted.codebook_, rtol=1e-6)


def thread_workers(index, barrier, slots):
    """Return a worker of a fit whose workers are threads of this process."""

    def all_reduce(values):
        slots[index] = np.array(values)
        barrier.wait()
        total = sum(slots[1:], start=slots[0])
        barrier.wait()
        return total

    return Workers(n_workers=len(slots), index=index, all_reduce=all_reduce)


def fit_alone(pieces, params):
    plan = make_plan(TFSOM(**params), pieces)
    *_, last = train(plan, 0, None)
    codebook = trained_codebook(plan, last)
    found = assign(plan.pieces, codebook, plan.grid)
    return codebook, found.hits, found.error


@pytest.fixture
def fit_together():
    """``fit_together(pieces, shares, params)`` fits a map by one worker for each share."""

    def fit_share(pieces, share, workers, barrier, params):
        own = Pieces(pieces.samples.take(share), pieces.sample_weight[share], workers)
        try:
            return fit_alone(own, params)
        except Exception:
            barrier.abort()
            raise

    def fit(pieces, shares, params):
        barrier, slots = threading.Barrier(len(shares), timeout=20), [None] * len(shares)
        workers = [thread_workers(index, barrier, slots) for index in range(len(shares))]
        with ThreadPoolExecutor(len(shares)) as pool:
            fits = [
                pool.submit(fit_share, pieces, share, worker, barrier, params)
                for share, worker in zip(shares, workers, strict=True)
            ]
        errors = [fit.exception() for fit in fits if fit.exception()]
        for error in errors:
            if not isinstance(error, threading.BrokenBarrierError):
                raise error
        return [fit.result() for fit in fits]

    return fit


SHARES = {
    "some": [np.arange(0, 300, 2), np.arange(1, 100, 2), np.arange(101, 300, 2)],
    "first without": [slice(0, 0), slice(0, 300)],
    "last without": [slice(0, 300), slice(300, 300)],
}


@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("kind", KINDS)
def test_workers_share_samples(fit_together, kind, shares):
    """Also where a worker has no samples."""
    pieces = pieces_of(kind)
    params = {"grid_size": (5, 4), "metric": pieces.samples.metric.name, "max_iter": 6}
    params |= {"init": "sample", "random_state": 0} if shares == "some" else {}
    expected = fit_alone(pieces, params)
    tolerance = 1e-4 if kind == "float32" else 1e-9
    for result in fit_together(pieces, SHARES[shares], params):
        for part, other in zip(result, expected, strict=True):
            assert_allclose(part, other, rtol=tolerance, atol=tolerance)


def test_workers_share_samples_of_many_features(fit_together):
    """Directions by Lanczos' method."""
    pieces = pieces_of("dense", n_samples=60, n_features=1030)
    params = {"grid_size": (3, 3), "max_iter": 3}
    expected = fit_alone(pieces, params)
    for result in fit_together(pieces, [slice(0, 0), slice(0, 20), slice(20, 60)], params):
        for part, other in zip(result, expected, strict=True):
            assert_allclose(part, other, rtol=1e-6, atol=1e-6)

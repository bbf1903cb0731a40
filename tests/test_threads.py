"""Sixteen simultaneous threads get the same results as one, on a shared map and on their own.

`test_processes.py` tests threads that start TensorFlow simultaneously, and dense data. This
module tests the other kinds of data and the other methods.
"""

import json
import os
import sys
import threading
import time

import joblib
import numpy as np
import pytest
from distributed_cases import DIGITS, remove_values
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from threadpoolctl import ThreadpoolController, threadpool_limits
from threads import run_simultaneously

from sklearn_tfsom import TFSOM
from sklearn_tfsom._data.pieces import Pieces
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.tiles import map_rows, map_tiles, multiply, row_slices
from sklearn_tfsom._distance import METRICS
from sklearn_tfsom._machine import n_cores, n_threads_of_joblib, thread_limit
from sklearn_tfsom.distributed import unit_statistics

N_THREADS = 16
LARGE = np.random.RandomState(0).normal(size=(20_000, 8))  # several tiles


def assert_threads_agree(function, arguments):
    """Compare the arrays that a function returns in simultaneous threads and one by one."""
    results = run_simultaneously([lambda value=value: function(value) for value in arguments])
    for value, arrays in zip(arguments, results, strict=True):
        for array, expected in zip(arrays, function(value), strict=True):
            assert_array_equal(array, expected)


# name: (parameters, samples)
KINDS = {
    "float64": ({}, DIGITS),
    "float32": ({}, DIGITS.astype(np.float32)),
    "missing": ({}, remove_values(DIGITS)),
    "sparse": ({}, csr_array(DIGITS)),
    "cosine": ({"metric": "cosine"}, DIGITS),
    "manhattan": ({"metric": "manhattan"}, DIGITS),
    "clusters": ({"metric": "manhattan", "n_clusters": 5}, DIGITS[:100]),
    "large": ({}, LARGE),
    "large, manhattan": ({"metric": "manhattan"}, LARGE),
}


def blas_threads():
    controller = ThreadpoolController().select(user_api="blas")
    return [library.num_threads for library in controller.lib_controllers]


@pytest.mark.parametrize("n_fits", [1, 2, 8])
def test_threads_are_given_back(n_fits):
    """After simultaneous fits there are as many threads as before, in BLAS and in Python."""
    before = blas_threads(), threading.active_count()
    fits = [lambda n=n: TFSOM(6, max_iter=1 + n).fit(DIGITS) for n in range(n_fits)]
    for some in (fits, fits[::-1]):
        run_simultaneously(some)
        assert (blas_threads(), threading.active_count()) == before


def test_threads_end_although_the_traceback_of_an_interrupt_is_kept():
    """As in a notebook: the traceback keeps what the functions have named."""

    def interrupt(one, other):
        raise KeyboardInterrupt

    pieces = Pieces(Samples(LARGE, METRICS["euclidean"], has_missing=False), np.ones(len(LARGE)))
    with threadpool_limits(2, "blas"):
        before = blas_threads(), threading.active_count()
        with pytest.raises(KeyboardInterrupt) as kept:
            pieces.reduce(lambda piece: np.zeros(1), combine=interrupt, piece_values=2**14)
        assert kept.tb is not None
        assert (blas_threads(), threading.active_count()) == before


def test_blas_has_one_thread_while_a_map_is_trained():
    seen = []

    def neighborhood(squared_distances, radius):
        seen.append(blas_threads())
        return np.exp(-squared_distances / radius**2)

    with threadpool_limits(2, "blas"):
        before = blas_threads()
        TFSOM(6, neighborhood=neighborhood).fit(DIGITS)
        list(map_tiles(lambda tile: seen.append(blas_threads()), row_slices(8, 1)))
        assert blas_threads() == before
    assert 2 in before
    assert len(seen) > 8
    assert all(set(each) == {1} for each in seen)


def test_impute_does_not_depend_on_the_threads_of_blas():
    """A fit in another thread limits them. Digits of an inverse and of large products differ."""
    X = np.random.RandomState(0).normal(size=(600, 300))
    incomplete = remove_values(X)
    som = TFSOM(10, max_iter=2).fit(X)
    stream = TFSOM(10).partial_fit(X)  # keeps variances
    for each in (som, stream):
        with threadpool_limits(2, "blas"):
            expected = each.impute(incomplete)
        with threadpool_limits(1, "blas"):
            assert_array_equal(each.impute(incomplete), expected)


def test_blas_has_its_threads_after_an_interrupt():
    """Python raises interrupts between calls: here after each call of a built-in function."""
    large, path = np.ones((100, 100)), multiply.__code__.co_filename
    n_calls, n_until_interrupt = 0, 1

    def profile(frame, event, arg):
        nonlocal n_calls
        if event == "c_return" and frame.f_code.co_filename == path:
            n_calls += 1
            if n_calls == n_until_interrupt:
                sys.setprofile(None)
                raise KeyboardInterrupt

    with threadpool_limits(2, "blas"):
        before, is_done = blas_threads(), False
        while not is_done:
            n_calls = 0
            sys.setprofile(profile)
            try:
                multiply(large, large)
            except KeyboardInterrupt:
                n_until_interrupt += 1
            else:
                is_done = True
            finally:
                sys.setprofile(None)
            assert blas_threads() == before
    assert 2 in before
    assert n_until_interrupt > 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="There is no fork.")
def test_blas_has_its_threads_in_a_child_forked_by_a_neighborhood_function():
    seen = []

    def neighborhood(squared_distances, radius):
        if not seen:
            receive, send = os.pipe()
            child = os.fork()
            if child == 0:
                os.write(send, json.dumps(blas_threads()).encode())
                os._exit(0)
            os.close(send)
            with open(receive) as pipe:
                seen.append(json.load(pipe))
            os.waitpid(child, 0)
        return np.exp(-squared_distances / radius**2)

    with threadpool_limits(2, "blas"):
        before = blas_threads()
        TFSOM(6, neighborhood=neighborhood).fit(DIGITS)
    assert seen == [before]
    assert 2 in before


def test_search_follows_affinity_and_joblib(monkeypatch):
    assert n_threads_of_joblib() is None
    given = joblib.Parallel(n_jobs=2)(joblib.delayed(n_threads_of_joblib)() for _ in range(2))
    assert given == [max(1, joblib.cpu_count() // 2)] * 2
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {3}, raising=False)
    assert n_cores() == 1
    names = set()
    list(map_tiles(lambda tile: names.add(threading.get_ident()), row_slices(50, 1)))
    assert len(names) == 1


@pytest.mark.parametrize("in_threads", [False, True])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 9, 11, 1003])
def test_rows_are_cut_evenly(n_rows, in_threads):
    """Into an even number of slices for threads, however many: none is left alone at the end."""
    for most_rows in (0, 1, 2, 3, 5, 300, 2000):
        slices = list(map_rows(lambda rows: rows, n_rows, most_rows, in_threads=in_threads))
        sizes = [rows.stop - rows.start for rows in slices]
        assert_array_equal(
            np.concatenate([np.arange(n_rows)[each] for each in slices]), range(n_rows)
        )
        assert max(sizes) <= max(1, most_rows)
        assert max(sizes) - min(sizes) <= 1
        assert not in_threads or len(slices) % 2 == 0 or len(slices) == n_rows
    assert not list(map_rows(lambda rows: rows, 0, 5, in_threads=in_threads))


def test_threads_follow_a_cpu_quota(monkeypatch):
    """The variable stands for the quota of a container, which joblib reads as well."""
    assert thread_limit() is None
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(50)), raising=False)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert n_cores() == thread_limit() == 1


def test_an_error_in_one_tile_does_not_stop_others_forever():
    """The other tile multiplies matrices, and so limits BLAS, after the error."""
    large, has_begun = np.ones((500, 500)), threading.Event()

    def work(tile):
        if tile.start == 0:
            has_begun.wait()
            raise ValueError("tile 0")
        has_begun.set()
        time.sleep(0.2)
        multiply(large, large)

    def call():
        with pytest.raises(ValueError, match="tile 0"):
            list(map_tiles(work, row_slices(2, 1)))

    before = blas_threads()
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert blas_threads() == before


class TestSharedMap:
    @pytest.mark.parametrize("name", KINDS)
    def test_predict_transform_and_score(self, name):
        params, X = KINDS[name]
        som = TFSOM(6, max_iter=3, **params).fit(X)

        def query(first):
            rows = X[first::N_THREADS]
            return som.predict(rows), som.transform(rows), som.score_samples(rows)

        assert_threads_agree(query, range(N_THREADS))

    def test_small_and_large_inputs(self):
        """Small inputs are compared with all units, large ones are searched in tiles."""
        som = TFSOM(12, max_iter=3, anomaly_score="u_height").fit(LARGE)

        def query(number):
            rows = LARGE[number : number + 20 ** (number % 5)]
            heights = som.score_samples(rows)
            return som.predict(rows), som.transform(rows), heights, som.bmus(rows, n_bmus=2)

        assert_threads_agree(query, range(N_THREADS))

    def test_impute(self):
        X = remove_values(DIGITS)
        som = TFSOM(6, max_iter=3).fit(X)
        assert_threads_agree(lambda first: [som.impute(X[first::N_THREADS])], range(N_THREADS))

    def test_unit_statistics(self):
        codebook = DIGITS[::50]
        assert_threads_agree(
            lambda first: unit_statistics(DIGITS[first::N_THREADS], codebook), range(N_THREADS)
        )


def cauchy(squared_distances, radius):
    return 1 / (1 + squared_distances / radius**2)


# name: (parameters, samples)
FITS = {
    "sparse": ({}, csr_array(DIGITS)),
    "missing": ({}, remove_values(DIGITS)),
    "float32": ({}, DIGITS.astype(np.float32)),
    "cosine": ({"metric": "cosine"}, DIGITS),
    "correlation": ({"metric": "correlation"}, DIGITS),
    "chebyshev": ({"metric": "chebyshev"}, DIGITS),
    "manhattan, large": ({"metric": "manhattan", "max_iter": 3}, LARGE),
    "large": ({"grid_size": 20, "max_iter": 3}, LARGE),
    "mini-batches": ({"batch_size": 100}, DIGITS),
    "coarse to fine": ({"grid_size": 16, "radius_start": 8}, DIGITS),
    "topographic error": ({"compute_topographic_error": True}, DIGITS),
    "clusters": ({"n_clusters": 3}, DIGITS[:100]),
    "callable": ({"neighborhood": cauchy}, DIGITS),
    "torus": ({"boundary": "toroidal", "grid_size": (5, 6)}, DIGITS),
    "random start": ({"init": "random", "random_state": 0}, DIGITS),
    "stream": ({}, DIGITS),
}


class TestOwnMaps:
    def test_fits_with_a_shared_checkpoint_directory(self, tmp_path):

        def fit(name):
            params, X = FITS[name]
            som = TFSOM(**{"grid_size": 6, "max_iter": 6, "checkpoint_dir": tmp_path, **params})
            for _ in range(2):
                som = som.partial_fit(X) if name == "stream" else som.fit(X)
            return som.codebook_, som.labels_, som.hits_, *som.history_.values()

        assert_threads_agree(fit, list(FITS))
        assert not list(tmp_path.iterdir())

    def test_fits_and_predictions(self):
        """Some threads fit their own maps while others predict with a shared one."""
        som = TFSOM(8, max_iter=3).fit(DIGITS)

        def work(number):
            if number % 2:
                return som.predict(DIGITS[number:]), som.transform(DIGITS[number:])
            own = TFSOM((3, 2 + number), max_iter=4).fit(DIGITS[number:])
            return own.codebook_, own.labels_

        assert_threads_agree(work, range(N_THREADS))

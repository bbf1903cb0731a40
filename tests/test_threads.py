"""Sixteen threads at once get what one gets: on one map, and on maps of their own.

`test_processes.py` has threads that start TensorFlow at once, and dense maps. Here are the other
kinds of data, and the other methods.
"""

import numpy as np
import pytest
from distributed_cases import DIGITS, holes
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from threads import at_once

from sklearn_tfsom import TFSOM
from sklearn_tfsom.distributed import unit_statistics

N_THREADS = 16
LARGE = np.random.RandomState(0).normal(size=(60_000, 8))


def assert_same_at_once(function, arguments):
    """Compare the arrays that a function returns in threads with those of one after the other."""
    found = at_once([lambda each=each: function(each) for each in arguments])
    for each, arrays in zip(arguments, found, strict=True):
        for array, alone in zip(arrays, function(each), strict=True):
            assert_array_equal(array, alone)


# name: (parameters, samples)
KINDS = {
    "float64": ({}, DIGITS),
    "float32": ({}, DIGITS.astype(np.float32)),
    "missing": ({}, holes(DIGITS)),
    "sparse": ({}, csr_array(DIGITS)),
    "cosine": ({"metric": "cosine"}, DIGITS),
    "manhattan": ({"metric": "manhattan", "n_clusters": 5}, DIGITS),
    "large": ({}, LARGE),
    "large, manhattan": ({"metric": "manhattan"}, LARGE),
}


class TestOneMap:
    @pytest.mark.parametrize("name", KINDS)
    def test_it_is_asked_by_all(self, name):
        params, X = KINDS[name]
        som = TFSOM(6, max_iter=3, **params).fit(X)

        def ask(first):
            rows = X[first::N_THREADS]
            return som.predict(rows), som.transform(rows), som.score_samples(rows)

        assert_same_at_once(ask, range(N_THREADS))

    def test_in_small_and_in_large_pieces(self):
        """Few samples go by another way."""
        som = TFSOM(6, max_iter=3).fit(LARGE)

        def ask(number):
            rows = LARGE[number : number + 10 ** (number % 5)]
            heights = som.score_samples(rows, method="u_height")
            return som.predict(rows), som.transform(rows), heights, som.bmus(rows, n_bmus=2)

        assert_same_at_once(ask, range(N_THREADS))

    def test_it_fills_in_missing_values(self):
        X = holes(DIGITS)
        som = TFSOM(6, max_iter=3).fit(X)
        assert_same_at_once(lambda first: [som.impute(X[first::N_THREADS])], range(N_THREADS))

    def test_statistics_of_pieces(self):
        codebook = DIGITS[::50]
        assert_same_at_once(
            lambda first: unit_statistics(DIGITS[first::N_THREADS], codebook), range(N_THREADS)
        )


def h(squared_distances, radius):
    return 1 / (1 + squared_distances / radius**2)


# name: (parameters, samples)
FITS = {
    "sparse": ({}, csr_array(DIGITS)),
    "missing": ({}, holes(DIGITS)),
    "float32": ({}, DIGITS.astype(np.float32)),
    "cosine": ({"metric": "cosine"}, DIGITS),
    "correlation": ({"metric": "correlation"}, DIGITS),
    "chebyshev": ({"metric": "chebyshev"}, DIGITS),
    "manhattan, large": ({"metric": "manhattan", "max_iter": 3}, LARGE),
    "large": ({"grid_size": 20, "max_iter": 3}, LARGE),
    "mini-batches": ({"batch_size": 100}, DIGITS),
    "coarse to fine": ({"grid_size": 16, "radius_start": 8}, DIGITS),
    "history": ({"compute_topographic_error": True}, DIGITS),
    "clusters": ({"n_clusters": "auto"}, DIGITS),
    "callable": ({"neighborhood": h}, DIGITS),
    "torus": ({"boundary": "toroidal", "grid_size": (5, 6)}, DIGITS),
    "drawn": ({"init": "random", "random_state": 0}, DIGITS),
    "stream": ({}, DIGITS),
}


class TestMapsOfTheirOwn:
    def test_fits_of_all_kinds(self, tmp_path):
        """They keep their checkpoints in one place, too."""

        def fit(name):
            params, X = FITS[name]
            som = TFSOM(**{"grid_size": 6, "max_iter": 6, "checkpoint_dir": tmp_path, **params})
            for _ in range(2):
                som = som.partial_fit(X) if name == "stream" else som.fit(X)
            return som.codebook_, som.labels_, som.hits_, *som.history_.values()

        assert_same_at_once(fit, list(FITS))
        assert not list(tmp_path.iterdir())

    def test_fits_beside_questions(self):
        """Some threads fit while others ask a map that is there."""
        som = TFSOM(8, max_iter=3).fit(DIGITS)

        def work(number):
            if number % 2:
                return som.predict(DIGITS[number:]), som.transform(DIGITS[number:])
            own = TFSOM((3, 2 + number), max_iter=4).fit(DIGITS[number:])
            return own.codebook_, own.labels_

        assert_same_at_once(work, range(N_THREADS))

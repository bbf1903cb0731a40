"""Threads that share samples: all of them read, or one writes while another fits."""

import copy
import pickle
import threading

import numpy as np
import pytest
import test_threads
from distributed_cases import DIGITS
from threads import run_simultaneously

from sklearn_tfsom import TFSOM

N_THREADS = 16
SECONDS = 120  # within which all must end
LARGE = np.random.RandomState(0).normal(size=(6000, 8))  # two tiles

# name: (parameters, samples)
KINDS = {
    **{name: kind for name, kind in test_threads.KINDS.items() if not name.startswith("large")},
    "mini-batches": ({"batch_size": 100}, DIGITS),
    "large": ({"grid_size": 12, "max_iter": 2}, LARGE),
}


def get_bits(som):
    names = sorted(set(vars(som)) - set(som.get_params()))
    return [pickle.dumps(getattr(som, name)) for name in names]


def fit(name, X, method="fit"):
    params, _ = KINDS[name]
    return getattr(TFSOM(**{"grid_size": 6, "max_iter": 2} | params), method)(X)


FITS = [("fit", name) for name in KINDS] + [("partial_fit", "float64"), ("partial_fit", "sparse")]
methods = pytest.mark.parametrize(("method", "name"), FITS)


@methods
def test_sixteen_fits_of_the_same_samples(name, method):
    _, X = KINDS[name]
    expected = get_bits(fit(name, X, method))
    results = run_simultaneously([lambda: get_bits(fit(name, X, method))] * N_THREADS)
    assert all(bits == expected for bits in results)


def write_until(is_done, values):
    """Write random numbers into an array, sometimes NaN and infinity."""
    rng = np.random.RandomState(0)
    while not is_done.is_set():
        values[rng.randint(len(values), size=20)] = rng.choice([0.0, 1.0, np.nan, np.inf, 1e300])
        values[:] = rng.normal(size=values.shape)


@pytest.mark.filterwarnings("ignore")  # results are unspecified
@methods
def test_samples_written_to_during_a_fit(name, method):
    """Results are unspecified, but nothing crashes, hangs or remains."""
    _, X = KINDS[name]
    expected = get_bits(fit(name, X, method))
    changed, is_done = copy.deepcopy(X), threading.Event()
    written = changed.data if name == "sparse" else changed
    unexpected = []

    def fit_several_times():
        for _ in range(3):
            try:
                fit(name, changed, method)
            except ValueError:
                pass  # NaN or infinity
            except BaseException as error:
                unexpected.append(error)

    threads = [threading.Thread(target=fit_several_times, daemon=True) for _ in range(2)]
    writer = threading.Thread(target=write_until, args=(is_done, written), daemon=True)
    for thread in (writer, *threads):
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    is_done.set()
    assert not any(thread.is_alive() for thread in threads)
    assert not unexpected
    assert get_bits(fit(name, X, method)) == expected

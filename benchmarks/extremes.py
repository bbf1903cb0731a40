"""Small and large problems: iris, first fits, 1,000,000 samples, a map of 40,000 units."""

import functools
import warnings

import numpy as np
from common import (
    compute_errors,
    fit_kmeans,
    fit_map,
    format_shape,
    make_curved_data,
    measure_peak_memory,
    median_and_minimum,
    parse_arguments,
    run_in_new_process,
    save_results,
    time_alternately,
    time_call,
    time_short_and_long_fit,
)
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris

from sklearn_tfsom import TFSOM

N_ROUNDS = 3
N_FEW_SAMPLES = 10


def make_small_map():
    """Return the map that the small problems fit to iris."""
    return TFSOM(10, max_iter=20, tol=0)


def time_warm_fits():
    """Fit iris repeatedly in one process; return seconds and the quantization error."""
    X = load_iris().data
    som = make_small_map()
    seconds = [time_call(lambda: som.fit(X)) for _ in range(101)][1:]
    return seconds, compute_errors(X, som.codebook_).quantization_error


def time_first_fit():
    """Return the time of the first fit of a process."""
    X = load_iris().data
    return time_call(lambda: make_small_map().fit(X))


def time_estimator_checks():
    """Return the time of check_estimator."""
    from sklearn.utils.estimator_checks import check_estimator

    warnings.simplefilter("ignore")
    return time_call(lambda: check_estimator(TFSOM()))


def measure_small_problems(n_rounds):
    """Yield a row of times for each small problem."""
    warm_seconds, error = run_in_new_process(time_warm_fits)
    tasks = {
        f"warm fit of iris, 10 x 10, 20 epochs (quantization error {error:.3f})": warm_seconds,
        "first fit of a process, same parameters": [
            run_in_new_process(time_first_fit) for _ in range(n_rounds)
        ],
        "check_estimator of the default, new process": [
            run_in_new_process(time_estimator_checks) for _ in range(n_rounds)
        ],
    }
    for task, seconds in tasks.items():
        median, minimum = median_and_minimum(seconds, 1e3)
        yield {"task": task, "median (ms)": median, "minimum (ms)": minimum}


def measure_fit_memory(model, n_samples, n_features):
    """Return the peak memory of two fits in addition to the data, in MiB, after a small fit."""
    X = np.random.default_rng(0).random((n_samples, n_features), dtype=np.float32)
    model.fit(X[:1000])
    return [measure_peak_memory(lambda: model.fit(X)) for _ in range(2)]


def measure_memory():
    """Yield a row of memory for each model: 1,000,000 x 64, 900 units, float32."""
    shape = (1_000_000, 64)
    data = 4 * shape[0] * shape[1] / 2**20
    for name, model in (
        ("TFSOM", TFSOM(30)),
        ("KMeans", KMeans(900, init="random", n_init=1, max_iter=3, random_state=0)),
    ):
        first, second = run_in_new_process(measure_fit_memory, model, *shape)
        yield {
            "model": name,
            "data (MiB)": data,
            "first fit (MiB)": first,
            "second fit (MiB)": second,
            "second fit / data": second / data,
        }


def measure_large_maps(n_rounds):
    """Yield a row of times for maps of 50 x 40 and 200 x 200 units: 100,000 x 32, float32.

    An epoch over 10 samples takes about the time that does not depend on the samples. A trained
    map is searched faster than a new one; k-means starts from the trained map.
    """
    X = make_curved_data(100_000, 32)
    for grid_size, n_few, n_many in (((50, 40), 2, 10), ((200, 200), 1, 3)):
        n_units = grid_size[0] * grid_size[1]
        trained = TFSOM(grid_size, max_iter=10, tol=0).fit(X).codebook_

        def fit(X, init, n_epochs, grid_size=grid_size):
            return fit_map(X, grid_size, init, n_epochs, coarse_to_fine=False)

        fits = {
            "epoch": functools.partial(fit, X, "pca"),
            "few samples": functools.partial(fit, X[:N_FEW_SAMPLES], "pca"),
            "trained": functools.partial(fit, X, trained),
            "k-means": functools.partial(fit_kmeans, X, trained),
        }
        seconds = time_alternately(
            {
                name: functools.partial(time_short_and_long_fit, task, n_few, n_many)
                for name, task in fits.items()
            },
            n_rounds,
        )
        times = {name: median_and_minimum(values, 1e3) for name, values in seconds.items()}
        epoch, minimum = times["epoch"]
        few_samples = times["few samples"][0]
        yield {
            "map": format_shape(grid_size),
            "epoch (ms)": epoch,
            "epoch, minimum (ms)": minimum,
            "epoch per unit (µs)": 1e3 * epoch / n_units,
            "epoch of 10 samples (ms)": few_samples,
            "epoch of 10 samples / epoch": few_samples / epoch,
            "quantization error": compute_errors(X, fit(X, "pca", 2).codebook_).quantization_error,
            "epoch of a trained map (ms)": times["trained"][0],
            "k-means iteration (ms)": times["k-means"][0],
        }


def main():
    """Run all problems."""
    n_rounds = 2 if parse_arguments(__doc__).short else N_ROUNDS
    save_results(
        "extremes",
        {
            "Small problems": list(measure_small_problems(n_rounds)),
            "Memory in addition to the data: 1,000,000 x 64, 900 units, float32": list(
                measure_memory()
            ),
            "Large maps: 100,000 x 32, float32": list(measure_large_maps(n_rounds)),
        },
        [
            f"Medians of {n_rounds} rounds (warm fits: 100). Each first fit and each "
            "check_estimator runs in a new process, without the import of scikit-learn. NumPy "
            "searches.",
            "Memory: peak of the resident set during the fit minus the resident set before it, "
            "in a new process, after a fit of 1,000 samples: of the map 20 epochs, of k-means 3 "
            "iterations. The first large fit imports TensorFlow, compiles the search and starts "
            "threads; this memory stays allocated.",
            "Epochs of the large maps: difference between a long and a short fit, radius 1. An "
            f"epoch of {N_FEW_SAMPLES} samples takes about the time that does not depend on the "
            "samples: smoothing and preparation of the codebook, without the blocks of units, "
            "which searches of few samples do not use. A trained map has had 10 epochs at the "
            "defaults; the other one a few epochs of radius 1 from the plane of the principal "
            "components, which fold it.",
        ],
    )


if __name__ == "__main__":
    main()

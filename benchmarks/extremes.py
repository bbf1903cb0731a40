"""The smallest and the largest: iris, the first fit, a million rows, a map of 40,000 units."""

import functools
import warnings

import numpy as np
from common import (
    alternate,
    curved_data,
    errors,
    import_tensorflow,
    in_own_process,
    is_short,
    peak_mebibytes,
    per_iteration,
    reduced,
    save,
    seconds_of,
)
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris

from sklearn_tfsom import TFSOM

N_ROUNDS = 5


def warm_iris():
    """Fit iris on 10 x 10 units for 20 epochs, again and again; return a row."""
    X = load_iris().data
    som = TFSOM(10, max_iter=20, tol=0)
    times = [seconds_of(lambda: som.fit(X)) for _ in range(101)][1:]
    error, _, _ = errors(X, som.codebook_)
    return {
        "what": f"fit of iris, 10 x 10, 20 epochs, warm (quantization error {error:.3f})",
        "median (ms)": 1e3 * float(np.median(times)),
        "minimum (ms)": 1e3 * min(times),
    }


def first_fit():
    """Fit iris as the first thing in a process, TensorFlow being imported; return seconds."""
    import_tensorflow()
    X = load_iris().data
    return seconds_of(lambda: TFSOM(10, max_iter=20, tol=0).fit(X))


def checked():
    """Run check_estimator on the default, TensorFlow being imported; return seconds."""
    from sklearn.utils.estimator_checks import check_estimator

    import_tensorflow()
    warnings.simplefilter("ignore")
    return seconds_of(lambda: check_estimator(TFSOM()))


def small(n_rounds):
    """Measure what small data costs."""
    yield in_own_process(warm_iris)
    for what, measure in (
        ("first fit of a process, the same", first_fit),
        ("check_estimator on the default, fresh process", checked),
    ):
        times = [in_own_process(measure) for _ in range(n_rounds)]
        yield {
            "what": what,
            "median (ms)": 1e3 * float(np.median(times)),
            "minimum (ms)": 1e3 * min(times),
        }


def memory_of_fit(model, n_samples, n_features):
    """Measure the peaks of two fits beyond the data, in MiB; the library is warm."""
    X = np.random.default_rng(0).random((n_samples, n_features), dtype=np.float32)
    model.fit(X[:1000])
    return [peak_mebibytes(lambda: model.fit(X)) for _ in range(2)]


def memory():
    """Measure memory: 1,000,000 x 64 on 30 x 30, float32."""
    shape = (1_000_000, 64)
    data = 4 * shape[0] * shape[1] / 2**20
    for name, model in (
        ("TFSOM", TFSOM(30, max_iter=3)),
        ("KMeans", KMeans(900, init="random", n_init=1, max_iter=3, random_state=0)),
    ):
        first, second = in_own_process(memory_of_fit, model, *shape)
        yield {
            "model": name,
            "data (MiB)": data,
            "first fit, peak beyond it (MiB)": first,
            "second fit": second,
            "second, times the data": second / data,
        }


def large_map(n_rounds):
    """Compare epochs of a large and a middling map: 100,000 x 32 on 200 x 200 and 50 x 40.

    With 10 samples instead of 100,000 nearly all that remains is what does not depend on the
    samples: smoothing, and preparing the codebook for the search, but not its blocks, which so few
    are not searched in. Of a trained map most units need not be searched; k-means starts from the
    same one.
    """
    X = curved_data(100_000, 32)
    few_rows = X[:10]

    def train(X, grid_size, init, n_epochs):
        radii = np.ones(n_epochs)
        return TFSOM(
            grid_size,
            init=init,
            radius_decay=radii,
            max_iter=n_epochs,
            tol=0,
            coarse_to_fine=False,
        ).fit(X)

    def cluster(start, n_iterations):
        return KMeans(len(start), init=start, n_init=1, max_iter=n_iterations, tol=0).fit(X)

    for grid_size, few, many in (((50, 40), 2, 10), ((200, 200), 1, 3)):
        n_units = grid_size[0] * grid_size[1]
        trained = TFSOM(grid_size, max_iter=10, tol=0).fit(X).codebook_
        tasks = {
            "all": functools.partial(train, X, grid_size, "pca"),
            "few": functools.partial(train, few_rows, grid_size, "pca"),
            "trained": functools.partial(train, X, grid_size, trained),
            "k-means": functools.partial(cluster, trained),
        }
        seconds = alternate(
            {
                name: functools.partial(per_iteration, task, few, many)
                for name, task in tasks.items()
            },
            n_rounds,
        )
        epoch, rest = (reduced(seconds[name], np.median) for name in ("all", "few"))
        yield {
            "map": f"{grid_size[0]} x {grid_size[1]}",
            "epoch (ms)": 1e3 * epoch,
            "minimum": 1e3 * reduced(seconds["all"], np.min),
            "per unit (µs)": 1e6 * epoch / n_units,
            "without samples (ms)": 1e3 * rest,
            "its share": rest / epoch,
            "quantization error": errors(X, train(X, grid_size, "pca", 2).codebook_)[0],
            "epoch of a trained map (ms)": 1e3 * reduced(seconds["trained"], np.median),
            "k-means iteration (ms)": 1e3 * reduced(seconds["k-means"], np.median),
        }


def main():
    """Run all."""
    n_rounds = 2 if is_short(__doc__) else N_ROUNDS
    save(
        "extremes",
        "Extremes: the smallest and the largest",
        {
            "Small": list(small(n_rounds)),
            "Memory: 1,000,000 x 64, 900 units, float32": list(memory()),
            "A large map: 100,000 x 32, float32": list(large_map(n_rounds)),
        },
        [
            f"Medians of {n_rounds} rounds (warm fits: 100). Each first fit and each "
            "check_estimator has a fresh process; importing TensorFlow and scikit-learn does not "
            "count.",
            "Memory: in a process of its own, the peak of the resident set during fit, reset "
            "before, minus the resident set then: data made, library warm from a fit of 1,000 "
            "rows. The first fit of many compiles the search and starts threads, which stays.",
            "Epochs of the map: differences between fits of many and few epochs, radius 1. "
            "What does not depend on the samples (smoothing, preparing the codebook, but not "
            "blocks of units, which so few are not searched in) is found by an epoch over 10 "
            "rows. An untrained map has had a few epochs of radius 1 from the "
            "plane of the principal components, and is folded; a trained one has had 10 epochs at "
            "the defaults.",
        ],
    )


if __name__ == "__main__":
    main()

"""Epochs, predict and transform compared with k-means: time and errors."""

import functools
import warnings

import numpy as np
from common import (
    PAUSE_SECONDS,
    compute_errors,
    describe_data,
    fit_kmeans,
    fit_map,
    format_shape,
    geometric_mean,
    get_codebook,
    make_curved_data,
    median_and_minimum,
    parse_arguments,
    save_results,
    search_engine,
    time_alternately,
    time_call,
    time_short_and_long_fit,
    time_warm_call,
)
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from sklearn_tfsom import TFSOM
from sklearn_tfsom.metrics import topographic_error

# (n_samples, n_features), grid_size
SHAPES = [
    ((100_000, 64), (20, 20)),
    ((60_000, 784), (20, 20)),
    ((100_000, 16), (32, 32)),
    ((200_000, 3), (16, 16)),
    ((50_000, 32), (50, 40)),
]
USUAL_SIZES = [2_000, 5_000, 10_000, 20_000, 50_000]  # samples of 32 features, on 20 x 20 units
N_ROUNDS = 3
N_SHORT_ROUNDS = 9  # at the usual sizes: fits of milliseconds vary more
PRODUCT_SIDE = 2048
N_ITERATIONS = 10  # before the errors are computed
RATIOS = {
    "epoch": "epoch / iteration",
    "epoch (minima)": "epoch / iteration, minima",
    "default epoch": "default epoch / iteration",
    "predict": "predict / k-means",
    "transform": "transform / k-means",
}


def make_large_product():
    """Return a function that computes a large float32 matrix product in NumPy."""
    rng = np.random.default_rng(0)
    a, b = (rng.random((PRODUCT_SIDE, PRODUCT_SIDE), dtype=np.float32) for _ in range(2))
    return lambda: a @ b


def compare(shape, grid_size, dtype, n_rounds, n_many):
    """Compare map and k-means on uniform data from the same start, in alternating rounds.

    The time of an iteration is the difference between a fit of `n_many` and one of 2 of them.

    Returns
    -------
    times : dict
        Row of the table of times.
    errors : dict
        Row of the table of errors.
    """
    X = np.random.default_rng(0).random(shape).astype(dtype)
    n_units = grid_size[0] * grid_size[1]
    start = X[:n_units].copy()

    def fit_fixed_radius(n_epochs):
        return fit_map(X, grid_size, start, n_epochs)

    def fit_defaults(n_epochs):
        return TFSOM(grid_size, max_iter=n_epochs, tol=0).fit(X)

    def fit_batches(n_passes):
        return MiniBatchKMeans(
            n_units,
            init=start,
            n_init=1,
            max_iter=n_passes,
            max_no_improvement=None,
            random_state=0,
        ).fit(X)

    fit_centers = functools.partial(fit_kmeans, X, start)
    fits = {"map": fit_fixed_radius, "k-means": fit_centers, "mini-batch k-means": fit_batches}
    models = {name: fit(N_ITERATIONS) for name, fit in fits.items()}
    product = make_large_product()
    tasks = {
        "epoch": lambda: time_short_and_long_fit(fit_fixed_radius, 2, n_many),
        "default epoch": lambda: time_short_and_long_fit(fit_defaults, 20, 40),
        "iteration": lambda: time_short_and_long_fit(fit_centers, 2, n_many),
        "pass": lambda: time_short_and_long_fit(fit_batches, 1, 3),
        "product": functools.partial(time_warm_call, product, 3, PAUSE_SECONDS),
    }
    for name in ("map", "k-means"):
        for method in ("predict", "transform"):
            call = functools.partial(getattr(models[name], method), X)
            tasks[name, method] = functools.partial(time_warm_call, call, 3, PAUSE_SECONDS)
    times = {
        task: median_and_minimum(seconds, 1e3)
        for task, seconds in time_alternately(tasks, n_rounds).items()
    }
    epoch, iteration = times["epoch"], times["iteration"]
    rate = 2e-6 * shape[0] * shape[1] * n_units / epoch[1]
    peak_rate = 2e-6 * PRODUCT_SIDE**3 / times["product"][1]
    case = {"samples x features": format_shape(shape), "units": n_units, "dtype": dtype}
    time_row = {
        **case,
        "search in": search_engine(shape[0], n_units, 2, n_many),
        **relate(epoch, iteration),
        "default epoch (ms)": times["default epoch"][0],
        "default epoch / iteration": times["default epoch"][0] / iteration[0],
        "mini-batch pass (ms)": times["pass"][0],
        **{
            f"{method} / k-means": times["map", method][0] / times["k-means", method][0]
            for method in ("predict", "transform")
        },
        "GFLOP/s": rate,
        "GFLOP/s / peak": rate / peak_rate,
    }
    errors = {name: compute_errors(X, get_codebook(model)) for name, model in models.items()}
    error_row = {
        **case,
        **{f"quantization error, {name}": e.quantization_error for name, e in errors.items()},
        **{f"inertia, {name}": e.inertia for name, e in errors.items()},
        "topographic error, map": topographic_error(models["map"], X),
    }
    return time_row, error_row


def relate(epoch, iteration):
    """Return columns that compare an epoch with an iteration, each (median, minimum) in ms."""
    return {
        "epoch (ms)": epoch[0],
        "epoch, minimum (ms)": epoch[1],
        "k-means iteration (ms)": iteration[0],
        "k-means iteration, minimum (ms)": iteration[1],
        "epoch / iteration": epoch[0] / iteration[0],
        "epoch / iteration, minima": epoch[1] / iteration[1],
    }


def compare_usual_sizes(n_rounds):
    """Yield a row for each size and precision: an epoch and an iteration of k-means."""
    for n_samples in USUAL_SIZES:
        for dtype in ("float32", "float64"):
            X = np.random.default_rng(0).normal(size=(n_samples, 32)).astype(dtype)
            start = X[:400].copy()
            fits = {
                "epoch": functools.partial(fit_map, X, (20, 20), start),
                "iteration": functools.partial(fit_kmeans, X, start),
            }
            n_calls = max(1, 20_000 // n_samples)
            seconds = time_alternately(
                {
                    name: functools.partial(time_short_and_long_fit, fit, 2, 42, n_calls)
                    for name, fit in fits.items()
                },
                n_rounds,
            )
            epoch, iteration = (median_and_minimum(seconds[name], 1e3) for name in fits)
            yield {
                "samples x features": format_shape(X.shape),
                "units": 400,
                "dtype": dtype,
                **relate(epoch, iteration),
            }


def compare_single_samples(n_rounds):
    """Yield a row of times to predict a single sample for each precision."""
    X = np.random.default_rng(0).random((10_000, 64))
    for dtype in ("float32", "float64"):
        samples = X.astype(dtype)
        models = {
            "TFSOM": TFSOM(20, max_iter=2).fit(samples),
            "KMeans": KMeans(400, n_init=1, max_iter=2, random_state=0).fit(samples),
        }
        seconds = time_alternately(
            {
                name: functools.partial(
                    time_warm_call, functools.partial(model.predict, samples[:1]), 100
                )
                for name, model in models.items()
            },
            n_rounds,
        )
        som, kmeans = (median_and_minimum(seconds[name], 1e3) for name in models)
        yield {
            "dtype": dtype,
            "TFSOM (ms)": som[0],
            "TFSOM, minimum (ms)": som[1],
            "KMeans (ms)": kmeans[0],
            "KMeans, minimum (ms)": kmeans[1],
            "TFSOM / KMeans": som[0] / kmeans[0],
        }


def compare_default_fits(n_rounds):
    """Yield a row for each model at its defaults, k-means with as many centers as units."""
    for name, X in (
        ("digits", load_digits().data),
        ("curved manifold", make_curved_data(20_000, 16)),
    ):
        n_units = len(TFSOM(max_iter=1).fit(X).codebook_)
        models = {
            "TFSOM": TFSOM(),
            "KMeans": KMeans(n_units, random_state=0),
            "MiniBatchKMeans": MiniBatchKMeans(n_units, random_state=0),
        }
        seconds = time_alternately(
            {
                label: lambda model=model, X=X: time_call(lambda: model.fit(X))
                for label, model in models.items()
            },
            n_rounds,
        )
        for label, model in models.items():
            errors = compute_errors(X, get_codebook(model))
            median, minimum = median_and_minimum(seconds[label])
            yield {
                "data": f"{describe_data(name, X)}, {X.dtype}",
                "model": label,
                "units": n_units,
                "fit (s)": median,
                "fit, minimum (s)": minimum,
                "iterations": model.n_iter_,
                "quantization error": errors.quantization_error,
                "inertia": errors.inertia,
            }


def main():
    """Run all shapes in both precisions."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # few iterations on purpose
    is_short = parse_arguments(__doc__).short
    n_rounds, n_many = (2, 12) if is_short else (N_ROUNDS, 20)
    n_short_rounds = 2 if is_short else N_SHORT_ROUNDS
    results = [
        compare(shape, grid_size, dtype, n_rounds, n_many)
        for shape, grid_size in SHAPES
        for dtype in ("float32", "float64")
    ]
    time_rows, error_rows = (list(rows) for rows in zip(*results, strict=True))
    means = ", ".join(
        f"{name} {geometric_mean([row[key] for row in time_rows]):.2f}"
        for name, key in RATIOS.items()
    )
    usual_rows = list(compare_usual_sizes(n_short_rounds))
    usual = geometric_mean([row["epoch / iteration"] for row in usual_rows])
    save_results(
        "speed",
        {
            "Epoch, predict and transform": time_rows,
            "Epochs of usual sizes": usual_rows,
            f"Errors after {N_ITERATIONS} epochs or iterations": error_rows,
            "Predict a single sample": list(compare_single_samples(n_rounds)),
            "Fits at the defaults": list(compare_default_fits(n_rounds)),
        },
        [
            f"Times relative to k-means, geometric means: {means}; epoch of usual sizes "
            f"{usual:.2f}.",
            f"Medians of {n_rounds} alternating rounds, of {n_short_rounds} at the usual sizes, "
            "after a discarded one. An epoch is a "
            "search of the whole grid, sums and smoothing (Gaussian, radius 1, hexagonal); its "
            f"time is the difference between fits of {n_many} and of 2 epochs. k-means: Lloyd, "
            "same start. A pass of MiniBatchKMeans processes all samples once.",
            f"predict and transform: mean of three calls after a warm-up call, "
            f"{PAUSE_SECONDS:g} s after the task before, because its idle threads spin for a "
            "while.",
            "Default epoch: a twentieth of the difference between fits of 40 and of 20 epochs at "
            "the defaults, which use coarse grids, subsamples and a trial of the mirrored map.",
            "Quantization error: mean distance to the nearest center. Uniform data have no "
            "structure: the neighborhood can only increase the error.",
            "GFLOP/s: products of samples and code vectors in the fastest epoch. Peak: the "
            f"fastest float32 product of two {PRODUCT_SIDE} x {PRODUCT_SIDE} matrices in NumPy, "
            "in the same rounds.",
        ],
    )


if __name__ == "__main__":
    main()

"""Time and memory as functions of the number of samples, features and units."""

import contextlib
import warnings

import numpy as np
from common import (
    compute_errors,
    fit_kmeans,
    fit_map,
    get_codebook,
    measure_peak_memory,
    median_and_minimum,
    parse_arguments,
    run_in_new_process,
    save_results,
    search_engine,
    time_call,
    time_short_and_long_fit,
)
from plots import N_SLOPE_POINTS, fit_slope
from sklearn.exceptions import ConvergenceWarning

# Two sizes have these values while the third one varies.
BASE = {"n_samples": 20_000, "n_features": 32, "n_units": 400}
POINTS = {
    "n_samples": [2_000, 5_000, 10_000, 20_000, 100_000, 300_000, 1_000_000],
    "n_features": [3, 10, 30, 100, 300, 1_000, 2_000],
    "n_units": [25, 100, 400, 1_600, 6_400, 14_400, 40_000],
}
N_ROUNDS = 3
# Iterations between two fits: as many as take this long, from 4 to 40.
SECONDS_BETWEEN = 0.4
# k-means is skipped for more centers, because it takes too long.
MAX_CENTERS = 6_400
MODELS = {"TFSOM": "epoch", "KMeans": "k-means iteration"}
MEASURES = ("time (ms)", "minimum (ms)", "memory (MiB)", "quantization error")


def measure(model, n_samples, n_features, n_units, n_rounds):
    """Measure one point, in its own process.

    Returns
    -------
    seconds : ndarray of shape (n_rounds, 2)
        Pairs from `time_short_and_long_fit`.
    mebibytes : float
        Peak memory of a fit in addition to that before it, after a small fit.
    quantization_error : float
        After four iterations.
    """
    warnings.simplefilter("ignore", ConvergenceWarning)  # few iterations on purpose
    X = np.random.default_rng(0).random((n_samples, n_features), dtype=np.float32)
    side = round(n_units**0.5)
    start = np.random.default_rng(1).random((n_units, n_features), dtype=np.float32)

    def train(n_iterations, X=X, side=side, start=start):
        if model == "TFSOM":
            return fit_map(X, side, start, n_iterations)
        return fit_kmeans(X, start, n_iterations)

    train(1, X[:100], 2, start[:4])
    mebibytes = measure_peak_memory(lambda: train(1))
    # Differences of short fits are dominated by noise.
    train(5)
    n_between = SECONDS_BETWEEN / (time_call(lambda: train(5)) / 5)
    n_more, n_calls = min(max(4, int(n_between)), 40), 1 + min(int(n_between / 40), 10)
    n_few = choose_short_fit(n_samples, n_units, n_more)
    train(n_few + n_more)
    rounds = [
        time_short_and_long_fit(train, n_few, n_few + n_more, n_calls) for _ in range(n_rounds)
    ]
    seconds = np.array(rounds)
    codebook = get_codebook(train(4))
    return seconds, mebibytes, compute_errors(X, codebook).quantization_error


def choose_short_fit(n_samples, n_units, n_more):
    """Return the fewest epochs of a fit that is searched like one of `n_more` more."""
    for n_few in range(1, 10):
        with contextlib.suppress(ValueError):
            search_engine(n_samples, n_units, n_few, n_few + n_more)
            return n_few
    raise ValueError(f"No short fit of {n_samples} samples on {n_units} units.")


def measure_axis(axis, points, n_rounds):
    """Yield a row for each point along one axis."""
    for value in points:
        sizes = {**BASE, axis: value}
        row = sizes | {"search in": search_engine(sizes["n_samples"], sizes["n_units"], 5)}
        for model, name in MODELS.items():
            if model == "KMeans" and sizes["n_units"] > MAX_CENTERS:
                values = ("",) * len(MEASURES)
            else:
                seconds, mebibytes, error = run_in_new_process(
                    measure, model, *sizes.values(), n_rounds
                )
                values = (*median_and_minimum(seconds, 1e3), mebibytes, error)
            row |= {f"{name}, {key}": value for key, value in zip(MEASURES, values, strict=True)}
        yield row


def main():
    """Run all axes; with --short every second point, but all numbers of samples."""
    short = parse_arguments(__doc__).short
    n_rounds = 3 if short else N_ROUNDS
    tables = {}
    for axis, points in POINTS.items():
        chosen = points[::2] if short and axis != "n_samples" else points
        tables[axis] = list(measure_axis(axis, chosen, n_rounds))
    slopes = (
        f"{axis}: "
        + ", ".join(
            f"{name} {fit_slope(rows, axis, f'{name}, time (ms)'):.2f}" for name in MODELS.values()
        )
        for axis, rows in tables.items()
    )
    save_results(
        "scaling",
        tables,
        [
            f"Slopes of time over the last {N_SLOPE_POINTS} points on logarithmic axes: "
            + "; ".join(slopes)
            + ".",
            f"Uniform float32 data, random initial codebook, radius 1. Medians and minima of "
            f"{n_rounds} differences between short fits and those of 4 to 40 more iterations "
            f"(k-means may need fewer), which take some {SECONDS_BETWEEN:g} s together; NumPy or "
            "TensorFlow searches in both, as the column says. "
            "Quantization errors after four.",
            "Memory: peak of the resident set during a fit of one epoch minus the resident set "
            "before it, after a small fit; includes compilation and, where it is needed, "
            "TensorFlow's import. Each point has its own process.",
            f"k-means: at most {MAX_CENTERS:,} centers.",
        ],
    )


if __name__ == "__main__":
    main()

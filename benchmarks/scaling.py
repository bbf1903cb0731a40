"""How time and memory grow with samples, features and units."""

import warnings

import numpy as np
from common import errors, in_own_process, is_short, peak_mebibytes, per_iteration, reduced, save
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from sklearn_tfsom import TFSOM

# Two are held while the third varies.
BASE = {"n_samples": 20_000, "n_features": 32, "n_units": 400}
POINTS = {
    "n_samples": [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000],
    "n_features": [3, 10, 30, 100, 300, 1_000, 2_000],
    "n_units": [25, 100, 400, 1_600, 6_400, 14_400, 40_000],
}
N_ROUNDS = 3
# Beyond as many, k-means takes too long here.
MOST_CENTERS = 6_400
# The slopes are those of the last points, where what is constant counts little.
N_SLOPE = 3


def measure(model, n_samples, n_features, n_units, n_rounds):
    """Measure one point, in a process of its own.

    Returns
    -------
    seconds : ndarray of shape (n_rounds, 2)
        Pairs from `per_iteration`.
    mebibytes : float
        The most that a fit holds beyond what was there before, the library being warm.
    quantization_error : float
        After four of them.
    """
    warnings.simplefilter("ignore", ConvergenceWarning)  # iterations are cut short on purpose
    X = np.random.default_rng(0).random((n_samples, n_features), dtype=np.float32)
    side = round(n_units**0.5)
    start = np.random.default_rng(1).random((n_units, n_features), dtype=np.float32)

    def train(n_iterations, X=X, side=side, start=start):
        if model == "TFSOM":
            radii = np.ones(n_iterations)
            som = TFSOM(side, init=start, radius_decay=radii, max_iter=n_iterations, tol=0)
            return som.fit(X)
        return KMeans(len(start), init=start, n_init=1, max_iter=n_iterations, tol=0).fit(X)

    train(1, X[:100], 2, start[:4])
    mebibytes = peak_mebibytes(lambda: train(1))
    # A short fit is repeated, or else what is measured is chance.
    n_calls = 1 + int(min(20, 1e9 / (n_samples * n_features * n_units)))
    seconds = np.array([per_iteration(train, 1, 5, n_calls) for _ in range(n_rounds)])
    last = train(4)
    codebook = last.codebook_ if model == "TFSOM" else last.cluster_centers_
    return seconds, mebibytes, errors(X, codebook)[0]


def grow(axis, points, n_rounds):
    """Measure both along one axis."""
    for value in points:
        sizes = {**BASE, axis: value}
        row = sizes.copy()
        for model, name in (("TFSOM", "epoch"), ("KMeans", "k-means iteration")):
            columns = ("ms", "minimum ms", "MiB", "quantization error")
            if model == "KMeans" and sizes["n_units"] > MOST_CENTERS:
                values = ("",) * len(columns)
            else:
                seconds, *rest = in_own_process(measure, model, *sizes.values(), n_rounds)
                values = (*(1e3 * reduced(seconds, f) for f in (np.median, np.min)), *rest)
            row |= {f"{name}, {key}": value for key, value in zip(columns, values, strict=True)}
        yield row


def measured(rows, axis, column):
    """Pick what can be drawn: places along the axis, and values."""
    points = [(row[axis], row[column]) for row in rows if row[column] != ""]
    return np.array([point for point in points if point[1] > 0]).T


def slope(rows, axis, column):
    """Fit the slope of the last points, both axes logarithmic."""
    return float(np.polyfit(*np.log(measured(rows, axis, column)[:, -N_SLOPE:]), 1)[0])


def draw(tables):
    """Draw time above and memory below, one column for each axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.5), layout="constrained")
    for column, (axis, rows) in zip(
        figure.subplots(2, len(tables)).T, tables.items(), strict=True
    ):
        for axes, unit in zip(column, ("ms", "MiB"), strict=True):
            for name in ("epoch", "k-means iteration"):
                key = f"{name}, {unit}"
                label = f"{name}, slope {slope(rows, axis, key):.2f}"
                axes.loglog(*measured(rows, axis, key), "o-", label=label)
            held = ", ".join(f"{value:,} {key[2:]}" for key, value in BASE.items() if key != axis)
            axes.set(xlabel=f"{axis} ({held})", ylabel=unit)
            axes.legend()
    return figure


def main():
    """Run along all axes."""
    short = is_short(__doc__)
    n_rounds = 2 if short else N_ROUNDS
    tables = {
        axis: list(grow(axis, points[::2] if short else points, n_rounds))
        for axis, points in POINTS.items()
    }
    slopes = (
        f"{axis}: "
        + ", ".join(
            f"{name} {slope(rows, axis, f'{name}, ms'):.2f}"
            for name in ("epoch", "k-means iteration")
        )
        for axis, rows in tables.items()
    )
    save(
        "scaling",
        "Scaling: time and memory against samples, features and units",
        tables,
        [
            f"Slopes of time over the last {N_SLOPE} points, both axes logarithmic: "
            + "; ".join(slopes)
            + ".",
            f"Uniform float32 data, random start, radius 1. Medians and minima of {n_rounds} "
            "differences between fits of five epochs or iterations (k-means may need less) and of "
            "one. Quantization errors after four.",
            "Memory: the peak of the resident set during a fit of one epoch, reset before, minus "
            "the resident set then: data made, library warm from a tiny fit. Compiling counts. "
            "Each point has a process of its own.",
            f"k-means up to {MOST_CENTERS:,} centers.",
        ],
        picture=draw(tables),
    )


if __name__ == "__main__":
    main()

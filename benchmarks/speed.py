"""An epoch of TFSOM against an iteration of KMeans; predict and transform against each other."""

import warnings

import numpy as np
from common import alternate, geometric_mean, per_iteration, save, seconds_of
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from sklearn_tfsom import TFSOM

# (n_samples, n_features), grid_size
SHAPES = [
    ((100_000, 64), (20, 20)),
    ((60_000, 784), (20, 20)),
    ((100_000, 16), (32, 32)),
    ((200_000, 3), (16, 16)),
    ((50_000, 32), (50, 40)),
]
N_ROUNDS = 5


def compare(shape, grid_size, dtype):
    """Compare both on uniform data from the same start, in alternating rounds."""
    X = np.random.default_rng(0).random(shape).astype(dtype)
    n_units = grid_size[0] * grid_size[1]
    start = X[:n_units].copy()

    def train_map(n_epochs):
        radii = np.ones(n_epochs)
        return TFSOM(grid_size, init=start, radius_decay=radii, max_iter=n_epochs, tol=0).fit(X)

    def train_kmeans(n_iterations):
        return KMeans(n_units, init=start, n_init=1, max_iter=n_iterations, tol=0).fit(X)

    som, kmeans = train_map(2), train_kmeans(2)
    seconds = alternate(
        {
            "epoch": lambda: per_iteration(train_map),
            "iteration": lambda: per_iteration(train_kmeans),
            "som predict": lambda: seconds_of(lambda: som.predict(X)),
            "kmeans predict": lambda: seconds_of(lambda: kmeans.predict(X)),
            "som transform": lambda: seconds_of(lambda: som.transform(X)),
            "kmeans transform": lambda: seconds_of(lambda: kmeans.transform(X)),
        },
        N_ROUNDS,
    )
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    gflops = 2e-9 * shape[0] * shape[1] * n_units / median["epoch"]
    return {
        "n x d": f"{shape[0]} x {shape[1]}",
        "units": n_units,
        "dtype": dtype,
        "epoch (ms)": 1e3 * median["epoch"],
        "k-means iteration (ms)": 1e3 * median["iteration"],
        "ratio": median["epoch"] / median["iteration"],
        "ratio of minima": float(seconds["epoch"].min() / seconds["iteration"].min()),
        "predict ratio": median["som predict"] / median["kmeans predict"],
        "transform ratio": median["som transform"] / median["kmeans transform"],
        "GFLOP/s of the search": gflops,
    }


def main():
    """Run all shapes in both precisions."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # iterations are cut short on purpose
    rows = [
        compare(shape, grid_size, dtype)
        for shape, grid_size in SHAPES
        for dtype in ("float32", "float64")
    ]
    means = {
        column: geometric_mean([row[column] for row in rows])
        for column in ("ratio", "predict ratio", "transform ratio")
    }
    save(
        "speed",
        "Speed: an epoch against an iteration of k-means",
        rows,
        [
            f"Geometric means: epoch {means['ratio']:.2f}, predict {means['predict ratio']:.2f}, "
            f"transform {means['transform ratio']:.2f} of k-means' time.",
            f"Medians of {N_ROUNDS} alternating rounds, one more dropped. An epoch is a full-size "
            "search, sums and smoothing (Gaussian, radius 1, hexagonal); its time is the "
            "difference between fits of 10 and 2 epochs. k-means: Lloyd, same start.",
        ],
    )


if __name__ == "__main__":
    main()

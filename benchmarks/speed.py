"""An epoch of TFSOM against an iteration of k-means, and all that follows a fit."""

import warnings

import numpy as np
from common import (
    REST,
    alternate,
    curved_data,
    errors,
    geometric_mean,
    import_tensorflow,
    is_short,
    per_iteration,
    reduced,
    save,
    seconds_of,
    warm_seconds_of,
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
N_ROUNDS = 5
PRODUCT_SIDE = 4096


def large_product():
    """Make a float32 product of two square matrices: what the machine can do at most."""
    tf = import_tensorflow()
    a, b = (tf.random.uniform((PRODUCT_SIDE, PRODUCT_SIDE)) for _ in range(2))
    return lambda: tf.matmul(a, b).numpy()


def compare(shape, grid_size, dtype, n_rounds, many):
    """Compare map and k-means on uniform data from the same start, in alternating rounds.

    The time of an iteration is the difference between `many` and 2 of them.

    Returns
    -------
    row : dict
        Of the table of times.
    quality : dict
        Of the table of errors.
    """
    X = np.random.default_rng(0).random(shape).astype(dtype)
    n_units = grid_size[0] * grid_size[1]
    start = X[:n_units].copy()

    def train_map(n_epochs):
        radii = np.ones(n_epochs)
        return TFSOM(grid_size, init=start, radius_decay=radii, max_iter=n_epochs, tol=0).fit(X)

    def train_by_default(n_epochs):
        return TFSOM(grid_size, max_iter=n_epochs, tol=0).fit(X)

    def train_kmeans(n_iterations):
        return KMeans(n_units, init=start, n_init=1, max_iter=n_iterations, tol=0).fit(X)

    def train_batches(n_passes):
        return MiniBatchKMeans(
            n_units,
            init=start,
            n_init=1,
            max_iter=n_passes,
            max_no_improvement=None,
            random_state=0,
        ).fit(X)

    som, kmeans, batches = train_map(10), train_kmeans(10), train_batches(10)
    product = large_product()
    seconds = alternate(
        {
            "epoch": lambda: per_iteration(train_map, 2, many),
            "default epoch": lambda: per_iteration(train_by_default, 20, 40),
            "iteration": lambda: per_iteration(train_kmeans, 2, many),
            "pass": lambda: per_iteration(train_batches, 1, 3),
            "som predict": lambda: warm_seconds_of(lambda: som.predict(X), 3, REST),
            "kmeans predict": lambda: warm_seconds_of(lambda: kmeans.predict(X), 3, REST),
            "som transform": lambda: warm_seconds_of(lambda: som.transform(X), 3, REST),
            "kmeans transform": lambda: warm_seconds_of(lambda: kmeans.transform(X), 3, REST),
            "product": lambda: warm_seconds_of(product),
        },
        n_rounds,
    )
    median = {name: reduced(values, np.median) for name, values in seconds.items()}
    minimum = {name: reduced(values, np.min) for name, values in seconds.items()}
    rate = 2e-9 * shape[0] * shape[1] * n_units / minimum["epoch"]
    peak = 2e-9 * PRODUCT_SIDE**3 / minimum["product"]
    case = {"n x d": f"{shape[0]} x {shape[1]}", "units": n_units, "dtype": dtype}
    row = {
        **case,
        "epoch (ms)": 1e3 * median["epoch"],
        "minimum": 1e3 * minimum["epoch"],
        "k-means iteration (ms)": 1e3 * median["iteration"],
        "k-means minimum": 1e3 * minimum["iteration"],
        "ratio": median["epoch"] / median["iteration"],
        "ratio of minima": minimum["epoch"] / minimum["iteration"],
        "default epoch (ms)": 1e3 * median["default epoch"],
        "default ratio": median["default epoch"] / median["iteration"],
        "mini-batch pass (ms)": 1e3 * median["pass"],
        "predict ratio": median["som predict"] / median["kmeans predict"],
        "transform ratio": median["som transform"] / median["kmeans transform"],
        "GFLOP/s": rate,
        "share of peak": rate / peak,
    }
    measured = {
        "map": errors(X, som.codebook_),
        "k-means": errors(X, kmeans.cluster_centers_),
        "mini-batch": errors(X, batches.cluster_centers_),
    }
    quality = {
        **case,
        **{f"error, {name}": error for name, (error, _, _) in measured.items()},
        **{f"inertia, {name}": inertia for name, (_, inertia, _) in measured.items()},
        "topographic error, map": topographic_error(som, X),
    }
    return row, quality


def one_row(n_rounds):
    """Predict a single sample: 64 features, 400 units."""
    X = np.random.default_rng(0).random((10_000, 64))
    for dtype in ("float32", "float64"):
        row = X[:1].astype(dtype)
        som = TFSOM(20, max_iter=2).fit(X.astype(dtype))
        kmeans = KMeans(400, n_init=1, max_iter=2, random_state=0).fit(X.astype(dtype))
        seconds = alternate(
            {
                "TFSOM": lambda som=som, row=row: warm_seconds_of(lambda: som.predict(row), 100),
                "KMeans": lambda kmeans=kmeans, row=row: warm_seconds_of(
                    lambda: kmeans.predict(row), 100
                ),
            },
            n_rounds,
        )
        yield {
            "dtype": dtype,
            "TFSOM (ms)": 1e3 * float(np.median(seconds["TFSOM"])),
            "minimum": 1e3 * float(seconds["TFSOM"].min()),
            "KMeans (ms)": 1e3 * float(np.median(seconds["KMeans"])),
            "KMeans minimum": 1e3 * float(seconds["KMeans"].min()),
            "ratio": float(np.median(seconds["TFSOM"]) / np.median(seconds["KMeans"])),
        }


def whole_fits(n_rounds):
    """Fit all at their defaults, as many centers as the map has units."""
    for data, X in (
        ("digits", load_digits().data),
        ("curved sheet", curved_data(20_000, 16)),
    ):
        n_units = len(TFSOM(max_iter=1).fit(X).codebook_)
        models = {
            "TFSOM": TFSOM(),
            "KMeans": KMeans(n_units, random_state=0),
            "MiniBatchKMeans": MiniBatchKMeans(n_units, random_state=0),
        }
        seconds = alternate(
            {
                name: lambda model=model, X=X: seconds_of(lambda: model.fit(X))
                for name, model in models.items()
            },
            n_rounds,
        )
        for name, model in models.items():
            codebook = model.codebook_ if name == "TFSOM" else model.cluster_centers_
            error, inertia, _ = errors(X, codebook)
            yield {
                "data": f"{data} ({X.shape[0]} x {X.shape[1]}, {X.dtype})",
                "model": name,
                "units": n_units,
                "fit (s)": float(np.median(seconds[name])),
                "minimum": float(seconds[name].min()),
                "iterations": model.n_iter_,
                "quantization error": error,
                "inertia": inertia,
            }


def draw(rows):
    """Draw the ratios to k-means as bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))
    columns = {"ratio": "epoch / iteration", "predict ratio": "predict"}
    columns["transform ratio"] = "transform"
    for offset, (column, label) in enumerate(columns.items()):
        heights = [row[column] for row in rows]
        axes.bar(places + 0.27 * (offset - 1), heights, 0.27, label=label)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(places, [f"{r['n x d']}\n{r['units']} units\n{r['dtype']}" for r in rows])
    axes.tick_params(axis="x", labelsize=7)
    axes.set(ylabel="time, in times k-means'", yscale="log")
    axes.legend()
    return figure


def main():
    """Run all shapes in both precisions."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # iterations are cut short on purpose
    n_rounds, many = (2, 12) if is_short(__doc__) else (N_ROUNDS, 22)
    cases = [
        compare(shape, grid_size, dtype, n_rounds, many)
        for shape, grid_size in SHAPES
        for dtype in ("float32", "float64")
    ]
    rows, qualities = (list(each) for each in zip(*cases, strict=True))
    means = {
        column: geometric_mean([row[column] for row in rows])
        for column in (
            "ratio",
            "ratio of minima",
            "default ratio",
            "predict ratio",
            "transform ratio",
        )
    }
    save(
        "speed",
        "Speed: an epoch against an iteration of k-means",
        {
            "An epoch, predict, transform": rows,
            "What they reach in 10 epochs or iterations": qualities,
            "A single row: predict": list(one_row(n_rounds)),
            "Whole fits at the defaults": list(whole_fits(n_rounds)),
        },
        [
            f"Geometric means: epoch {means['ratio']:.2f} (minima: {means['ratio of minima']:.2f}"
            f"), on average over the default schedule {means['default ratio']:.2f}, predict "
            f"{means['predict ratio']:.2f}, transform {means['transform ratio']:.2f} of k-means' "
            "time.",
            f"Medians of {n_rounds} alternating rounds, one more dropped. An epoch is a full-size "
            "search, sums and smoothing (Gaussian, radius 1, hexagonal); its time is the "
            f"difference between fits of {many} and 2 epochs. k-means: Lloyd, same start. A pass "
            "of MiniBatchKMeans goes through as many samples once.",
            f"predict and transform: one call, {REST:g} s after what ran before (threads that "
            "wait for more work, spinning, would take the cores from it), then the mean of three.",
            "A default epoch: a twentieth of the difference between fits of 40 and 20 epochs at "
            "the defaults, coarse to fine, on subsets, with the trial of the mirrored map.",
            "Errors are quantization errors: mean distances to the nearest center. Uniform data "
            "has nothing to map: a neighborhood only costs there.",
            "GFLOP/s: products of samples and code vectors, by the fastest epoch. Peak: the "
            f"fastest float32 product of two matrices of side {PRODUCT_SIDE} in TensorFlow, in "
            "the same rounds.",
        ],
        picture=draw(rows),
    )


if __name__ == "__main__":
    main()

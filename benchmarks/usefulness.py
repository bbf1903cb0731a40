"""Map and k-means with as many centers at their defaults: time, errors, clusters, features."""

import numpy as np
from common import (
    LABELED_SETS,
    compute_errors,
    describe_data,
    get_codebook,
    load_standardized,
    median_and_minimum,
    parse_arguments,
    save_results,
    time_alternately,
    time_call,
)
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.linear_model import RidgeClassifierCV
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM
from sklearn_tfsom.metrics import topographic_error

N_SEEDS = 5


def compute_accuracy(transformer, X, y):
    """Return the cross-validated accuracy of a ridge classifier on the transformed samples."""
    classifier = RidgeClassifierCV(np.logspace(-3, 3, 13))
    model = make_pipeline(transformer, StandardScaler(), classifier)
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=N_SEEDS, random_state=0)
    return float(cross_val_score(model, X, y, cv=folds).mean())


def make_models(n_units, n_classes, seed):
    """Return a map and two kinds of k-means: with `n_units` centers, and as clusterers."""
    models = {
        "TFSOM": TFSOM(),
        "KMeans": KMeans(n_units, n_init=1, random_state=seed),
        "MiniBatchKMeans": MiniBatchKMeans(n_units, n_init=1, random_state=seed),
    }
    clusterers = {
        "TFSOM": TFSOM(n_clusters=n_classes),
        "KMeans": KMeans(n_classes, n_init=10, random_state=seed),
        "MiniBatchKMeans": MiniBatchKMeans(n_classes, n_init=10, random_state=seed),
    }
    return models, clusterers


def measure_quality(model, clusterer, X, y):
    """Return errors of a model, and how well the clusters agree with the classes."""
    model.fit(X)
    errors, labels = compute_errors(X, get_codebook(model)), clusterer.fit_predict(X)
    is_map = isinstance(model, TFSOM)
    return {
        "quantization error": errors.quantization_error,
        "inertia": errors.inertia,
        "topographic error": topographic_error(model, X) if is_map else "",
        "ARI of clusters": float(adjusted_rand_score(y, labels)),
        "NMI of clusters": float(normalized_mutual_info_score(y, labels)),
    }


def compare(name, n_rounds):
    """Yield a row for a map, k-means and mini-batch k-means with as many centers on one set."""
    X, y = load_standardized(name)
    n_units = len(TFSOM().fit(X).codebook_)
    seeds = [make_models(n_units, len(np.unique(y)), seed) for seed in range(N_SEEDS)]
    models = seeds[0][0]
    seconds = time_alternately(
        {
            label: lambda model=model: time_call(lambda: model.fit(X))
            for label, model in models.items()
        },
        n_rounds,
    )
    for label, model in models.items():
        found = [measure_quality(of_seed[label], other[label], X, y) for of_seed, other in seeds]
        means = {
            measure: "" if value == "" else float(np.mean([row[measure] for row in found]))
            for measure, value in found[0].items()
        }
        transformer = TFSOM(radius_end=0.3) if label == "TFSOM" else model
        median, minimum = median_and_minimum(seconds[label], 1e3)
        yield {
            "data": describe_data(name, X),
            "model": label,
            "units": n_units,
            "fit (ms)": median,
            "fit, minimum (ms)": minimum,
            **means,
            "accuracy of distance features": compute_accuracy(transformer, X, y),
        }


def main():
    """Run all sets."""
    n_rounds = 3 if parse_arguments(__doc__).short else 9
    save_results(
        "usefulness",
        {"": [row for name in LABELED_SETS for row in compare(name, n_rounds)]},
        [
            f"Standardized, except digits. Times: medians and minima of {n_rounds} alternating "
            "rounds after a discarded one.",
            f"Errors and clusters: means over {N_SEEDS} seeds of k-means; the map has none. "
            "`n_clusters` is the number of classes; k-means with 10 initializations.",
            f"Accuracy: cross-validated with 5 folds, {N_SEEDS} times, in a Pipeline of "
            "distances, standardization and a ridge classifier; the map with `radius_end=0.3`, as "
            "the README recommends for features.",
        ],
    )


if __name__ == "__main__":
    main()

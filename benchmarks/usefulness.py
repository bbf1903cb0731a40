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
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM
from sklearn_tfsom.metrics import topographic_error


def compute_accuracy(transformer, X, y):
    """Return the cross-validated accuracy of a ridge classifier on the transformed samples."""
    classifier = RidgeClassifierCV(np.logspace(-3, 3, 13))
    model = make_pipeline(transformer, StandardScaler(), classifier)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return float(cross_val_score(model, X, y, cv=folds).mean())


def compare(name, n_rounds):
    """Yield a row for a map, k-means and mini-batch k-means with as many centers on one set."""
    X, y = load_standardized(name)
    n_classes = len(np.unique(y))
    som = TFSOM().fit(X)
    n_units = len(som.codebook_)
    models = {
        "TFSOM": som,
        "KMeans": KMeans(n_units, n_init=1, random_state=0),
        "MiniBatchKMeans": MiniBatchKMeans(n_units, n_init=1, random_state=0),
    }
    clusterers = {
        "TFSOM": TFSOM(n_clusters=n_classes),
        "KMeans": KMeans(n_classes, n_init=10, random_state=0),
        "MiniBatchKMeans": MiniBatchKMeans(n_classes, n_init=10, random_state=0),
    }
    transformers = {**models, "TFSOM": TFSOM(radius_end=0.3)}
    seconds = time_alternately(
        {
            label: lambda model=model: time_call(lambda: model.fit(X))
            for label, model in models.items()
        },
        n_rounds,
    )
    for label, model in models.items():
        labels = clusterers[label].fit_predict(X)
        errors = compute_errors(X, get_codebook(model))
        median, minimum = median_and_minimum(seconds[label], 1e3)
        yield {
            "data": describe_data(name, X),
            "model": label,
            "units": n_units,
            "fit (ms)": median,
            "fit, minimum (ms)": minimum,
            "quantization error": errors.quantization_error,
            "inertia": errors.inertia,
            "topographic error": topographic_error(som, X) if model is som else "",
            "ARI of clusters": float(adjusted_rand_score(y, labels)),
            "NMI of clusters": float(normalized_mutual_info_score(y, labels)),
            "accuracy of distance features": compute_accuracy(transformers[label], X, y),
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
            "Clusters: `n_clusters` is the number of classes; k-means with 10 initializations.",
            "Accuracy: cross-validated with 5 folds in a Pipeline of distances, standardization "
            "and a ridge classifier; the map with `radius_end=0.3`, as the README recommends for "
            "features.",
        ],
    )


if __name__ == "__main__":
    main()

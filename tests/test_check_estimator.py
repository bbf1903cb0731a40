"""All estimator checks of scikit-learn pass for many parameters, without expected failures."""

import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks, shuffle
from sklearn.utils.estimator_checks import check_estimator

from sklearn_tfsom import TFSOM


def exponential(squared_distances, radius):
    return np.exp(-np.sqrt(squared_distances) / radius)


# Each value of each parameter, but for values that differ in numbers only.
PARAMETERS = [
    {},
    {"grid_size": 2, "neighborhood": "mexican_hat", "max_iter": 3, "n_clusters": 2},
    {"grid_size": (1, 3), "boundary": "toroidal", "init": "random", "random_state": 1, "tol": 0}
    | {"neighborhood": exponential, "radius_decay": "linear"},
    {"grid_size": (6, 5), "lattice": "rectangular", "boundary": "cylindrical"}
    | {"neighborhood": "cut_gaussian", "features": "coordinates"},
    {"grid_size": 4, "neighborhood": "epanechnikov", "init": "sample", "random_state": 0},
    {"metric": "manhattan", "grid_size": 4, "batch_size": 7, "neighborhood": "bubble"},
    {"metric": "chebyshev", "grid_size": 4, "features": "activations", "neighborhood": "triangle"},
    {"metric": "cosine", "grid_size": 4, "radius_decay": [3.0, 2.0, 1.0], "max_iter": 3},
]

# The only check that fails with this metric needs three clusters of samples with two features,
# where a correlation is -1 or 1. A test below shows that no such clustering can pass the check.
CORRELATION = {"metric": "correlation"}

# Checks of output and column names that `check_estimator` does not run.
NAME_CHECKS = [
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_get_feature_names_out_error",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_dataframe_column_names_consistency",
]


@pytest.mark.parametrize("parameters", PARAMETERS)
@pytest.mark.filterwarnings("default")  # the checks of scikit-learn provoke warnings
def test_check_estimator(parameters, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it, one check is skipped
    results = check_estimator(TFSOM(**parameters), on_skip=None)
    assert {result["status"] for result in results} == {"passed"}
    assert len(results) >= 55


@pytest.mark.parametrize(
    ("check", "features"),
    [
        *((check, "distances") for check in NAME_CHECKS),
        # Other features have other names, which one check reads and one compares with the output.
        *(
            (check, features)
            for check in (
                "check_transformer_get_feature_names_out_pandas",
                "check_set_output_transform_pandas",
            )
            for features in ("coordinates", "activations")
        ),
    ],
)
@pytest.mark.filterwarnings("default")
def test_name_check(check, features):
    getattr(estimator_checks, check)("TFSOM", TFSOM(features=features))


def make_check_clustering_data():
    """Return the samples and labels of check_clustering."""
    X, y = make_blobs(n_samples=50, random_state=1)
    X, y = shuffle(X, y, random_state=7)
    return StandardScaler().fit_transform(X), y


@pytest.mark.filterwarnings("default")
def test_check_estimator_with_correlation(monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    results = check_estimator(TFSOM(**CORRELATION), on_skip=None, on_fail=None)
    failed = {result["check_name"] for result in results if result["status"] != "passed"}
    assert failed == {"check_clustering"}
    X, y = make_check_clustering_data()
    # The check requires a score above 0.4; constant labels have a score of 0.
    assert adjusted_rand_score(y, X[:, 0] > X[:, 1]) < 0.4
    # With a third feature, the requirement is met.
    wide = np.column_stack([X, X.sum(axis=1) ** 2])
    som = TFSOM(**CORRELATION, n_clusters=3, random_state=0).fit(wide)
    assert adjusted_rand_score(y, som.labels_) > 0.4

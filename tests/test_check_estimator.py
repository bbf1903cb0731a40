"""A full citizen: every check of scikit-learn, for many settings, with no expected failure."""

import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks, shuffle
from sklearn.utils.estimator_checks import check_estimator

from sklearn_tfsom import TFSOM


def wave(squared, radius):
    return np.exp(-np.sqrt(squared) / radius)


SETTINGS = [
    {},
    {"grid_size": 2},
    {"grid_size": (1, 3), "boundary": "toroidal"},
    {"grid_size": 10},
    {"grid_size": (5, 4), "boundary": "toroidal"},
    {"grid_size": (6, 5), "lattice": "rectangular", "boundary": "cylindrical"},
    {"lattice": "rectangular", "boundary": "toroidal", "neighborhood": "cut_gaussian"},
    {"grid_size": (5, 4), "boundary": "cylindrical", "neighborhood": "bubble"},
    {"grid_size": 4, "neighborhood": "epanechnikov", "features": "coordinates"},
    {"grid_size": 3, "neighborhood": "triangle", "features": "activations"},
    {"grid_size": (2, 2), "neighborhood": "mexican_hat", "max_iter": 3},
    {"grid_size": 4, "neighborhood": wave, "radius_decay": "linear"},
    {"grid_size": 6, "init": "sample", "random_state": 0, "n_clusters": 2},
    {"grid_size": (3, 5), "init": "random", "random_state": 1, "tol": 0},
    {"metric": "cosine"},
    {"metric": "manhattan", "grid_size": 4},
    {"metric": "chebyshev", "features": "activations"},
    {"metric": "cosine", "neighborhood": "bubble", "n_clusters": 3},
    {"batch_size": 10},
    {"batch_size": 7, "grid_size": 5, "neighborhood": "bubble", "metric": "manhattan"},
    {"radius_decay": [3.0, 2.0, 1.0], "max_iter": 3, "features": "coordinates"},
]

# The only check that correlation fails is one that asks for three clusters of samples with two
# features. Correlation has two values there; that no labels made of them pass is tested below.
CORRELATION = {"metric": "correlation"}

COLUMN_CHECKS = [
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


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.filterwarnings("default")  # scikit-learn's checks provoke warnings of their own
def test_check_estimator_passes(setting, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # or one check is skipped
    results = check_estimator(TFSOM(**setting), on_skip=None)
    assert {result["status"] for result in results} == {"passed"}
    assert len(results) >= 55


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("check", COLUMN_CHECKS)
@pytest.mark.filterwarnings("default")
def test_output_and_column_names(check, setting):
    getattr(estimator_checks, check)("TFSOM", TFSOM(**setting))


def three_blobs(random_state=1):
    X, y = make_blobs(n_samples=50, random_state=random_state)  # as in check_clustering
    X, y = shuffle(X, y, random_state=7)
    return StandardScaler().fit_transform(X), y


@pytest.mark.filterwarnings("default")
def test_check_estimator_under_correlation(monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    results = check_estimator(TFSOM(**CORRELATION), on_skip=None, on_fail=None)
    failed = {result["check_name"] for result in results if result["status"] != "passed"}
    assert failed == {"check_clustering"}
    X, y = three_blobs()
    assert adjusted_rand_score(y, X[:, 0] > X[:, 1]) < 0.4  # and a constant has 0
    # With a third feature it passes what the check asks for.
    wide = np.column_stack([X, X.sum(axis=1) ** 2])
    som = TFSOM(**CORRELATION, n_clusters=3, random_state=0).fit(wide)
    assert adjusted_rand_score(y, som.labels_) > 0.4

"""Checks for the maps of all engines: they equal those of one process, but for `labels_`."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_tfsom import TFSOM

# Beyond this many samples the driver trains on a subset first, and on what the workers return.
N_SAMPLES = 6000

FITTED = ("codebook_", "hits_", "cluster_labels_", "unit_positions_", "quantization_error_")

# Parameters, and kind of data
CASES = {
    "default": ({}, "dense"),
    "few samples": ({"n_clusters": "auto", "compute_topographic_error": True}, "few"),
    "clusters": ({"n_clusters": 4, "grid_size": (9, 7), "max_iter": 5}, "dense"),
    "errors": ({"compute_topographic_error": True, "grid_size": (9, 7), "max_iter": 5}, "dense"),
    "float32": ({"grid_size": (9, 7), "max_iter": 5}, "float32"),
    "missing": ({"n_clusters": 4, "max_iter": 5}, "missing"),
    "cosine": ({"metric": "cosine", "grid_size": 7, "max_iter": 5}, "dense"),
    "manhattan": ({"metric": "manhattan", "grid_size": 6, "max_iter": 5}, "dense"),
    "outliers": ({"max_iter": 3}, "outliers"),
    "sample": ({"init": "sample", "random_state": 3, "grid_size": 6, "max_iter": 5}, "dense"),
    "coordinates": ({"features": "coordinates", "grid_size": 5, "max_iter": 2}, "few"),
    "activations": ({"features": "activations", "grid_size": 5, "max_iter": 2}, "few"),
    "not coarse": ({"coarse_to_fine": False, "tol": 1e-2, "grid_size": 8}, "dense"),
}


def samples_of(kind):
    """Return samples and weights of a bent sheet, some of weight 0."""
    rng = np.random.default_rng(0)
    n_samples = 400 if kind == "few" else N_SAMPLES
    along = rng.uniform(size=(n_samples, 2)) * (6, 3)
    X = np.column_stack([along, np.sin(along[:, 0]), along.prod(axis=1) / 4, along[:, 1] ** 2 / 3])
    X = X + rng.normal(scale=0.05, size=X.shape) + 2
    if kind == "float32":
        X = X.astype(np.float32)
    if kind == "missing":
        X[rng.uniform(size=X.shape) < 0.1] = np.nan
        X[:, 0] = along[:, 0]
    if kind == "outliers":
        X[[2101, 3502]] = [[2e2], [-3e2]]
    weights = rng.uniform(0, 3, size=n_samples)
    weights[::7] = 0
    return X, weights


def boundaries(n_samples):
    """Return where partitions end: uneven ones, of which some are empty."""
    return [0, n_samples // 3, n_samples // 3, n_samples // 2, n_samples - 1]


def check_equal(som, expected, tolerance=1e-8):
    """Check that a map of an engine is that of one process."""
    assert isinstance(som, TFSOM)
    assert som.grid_shape_ == expected.grid_shape_
    assert som.n_iter_ == expected.n_iter_
    assert_allclose(som.n_samples_seen_, expected.n_samples_seen_)
    for name in FITTED:
        assert_allclose(getattr(som, name), getattr(expected, name), tolerance, tolerance, name)
    assert som.codebook_.dtype == expected.codebook_.dtype
    assert som.history_.keys() == expected.history_.keys()
    for name, values in expected.history_.items():
        assert_allclose(som.history_[name], values, tolerance, tolerance)
    assert (som._residuals is None) == (expected._residuals is None)
    if expected._residuals is not None:
        assert_allclose(som._residuals, expected._residuals, 1e-6, tolerance)
    assert not hasattr(som, "labels_")


def check_predictions(som, X, labels, features):
    """Check predictions of an engine."""
    assert_array_equal(labels, som.predict(X))
    assert labels.dtype == np.int64
    expected = som.transform(X)
    tolerance = 1e-5 if expected.dtype == np.float32 else 1e-12
    assert_allclose(features, expected, tolerance)
    assert features.dtype == expected.dtype

"""Expectations of property-based tests, from the slow reference: units, distances, refusals."""

import pickle
import warnings
from contextlib import contextmanager

import numpy as np
import reference
from sklearn.exceptions import ConvergenceWarning
from strategies import broadcast

from sklearn_tfsom._distance import METRICS

# Rounding of a difference, as a multiple of the sizes of sample and code vector.
ROUNDING = 64 * 2.0**-52


@contextmanager
def only_convergence_warnings():
    """Fail on all warnings but those that the package documents; threads warn here too."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    others = [str(each) for each in caught if not issubclass(each.category, ConvergenceWarning)]
    assert not others


def get_state(som):
    """Return all attributes as bytes."""
    return {name: pickle.dumps(value) for name, value in vars(som).items()}


def get_content(X):
    """Return samples or weights as bytes; of a sparse matrix its arrays, but not its caches."""
    names = ("data", "indices", "indptr", "row", "col") if hasattr(X, "tocsr") else ()
    found = {name: getattr(X, name) for name in names if hasattr(X, name)}
    return pickle.dumps(found or X)


def get_results(som):
    """Return the fitted attributes as bytes."""
    names = sorted(set(vars(som)) - set(som.get_params()))
    return {name: pickle.dumps(getattr(som, name)) for name in names}


def roundoff_of(data):
    return 2.0**-23 if data.is_float32 else 2.0**-52


# Directions


def has_direction(values, metric):
    """Return True for each sample that a spherical metric can compare."""
    if metric == "cosine":
        return values.any(axis=1)
    largest = np.abs(values).max(axis=1, keepdims=True)
    scaled = np.ldexp(values, -np.frexp(largest)[1])
    deviations = np.abs(scaled - scaled.mean(axis=1, keepdims=True)).max(axis=1)
    return deviations > 2 * 2.0**-52


def errors_of_directions(values, metric):
    """Return how far rounding may turn the direction of each sample, (n_samples, 1)."""
    of_roundings = 16 * 2.0**-52  # the tie rule allows as much
    if metric == "cosine":
        return np.full((len(values), 1), of_roundings)
    largest = np.abs(values).max(axis=1, keepdims=True)
    deviations = np.abs(values - values.mean(axis=1, keepdims=True)).max(axis=1, keepdims=True)
    return of_roundings * largest / np.where(deviations > 0, deviations, 1)


# Distances and units


def distances_and_noise(values, codebook, metric):
    """Return the distances of the reference, and how much rounding may change them.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_features)
    codebook : ndarray of shape (n_units, n_features)
    metric : str

    Returns
    -------
    distances, noise : ndarray of float64, shape (n_samples, n_units)
    """
    codebook = np.asarray(codebook, np.float64)
    if not METRICS[metric].is_spherical:
        expected = reference.distances(values, codebook, metric)
        # Neither a missing value nor a feature in which code vectors do not differ rounds them.
        counts = (codebook != codebook[0]).any(axis=0) & ~np.isnan(values)
        largest = np.abs(codebook).max(axis=0)
        sizes = [np.linalg.norm(np.where(counts, each, 0), axis=1) for each in (values, largest)]
        if not METRICS[metric].is_homogeneous:  # terms do not grow with the values
            sizes = [counts.sum(axis=1)]
        return expected, ROUNDING * sum(sizes)[:, None] + 0 * expected
    # A power of two: squares must not leave the range of float64.
    scale = 2.0 ** -np.frexp(np.abs(values).max(axis=1, keepdims=True))[1]
    expected = reference.distances(values * scale, codebook, metric)
    expected[~has_direction(values, metric)] = 1
    angle = errors_of_directions(values, metric)
    return expected, np.sqrt(2 * expected) * angle + angle**2


def check_distances(found, data, codebook, metric):
    """Compare the output of `transform` with the reference."""
    expected, noise = distances_and_noise(data.values, codebook, metric)
    assert found.shape == expected.shape
    assert found.dtype == (np.float32 if data.is_float32 else np.float64)
    allowed = (3e-5 if data.is_float32 else 1e-9) * expected + noise
    wrong = np.argwhere(~(np.abs(found - expected) <= allowed))
    assert not len(wrong), [(found[tuple(at)], expected[tuple(at)]) for at in wrong[:3]]


def check_units(units, data, codebook, metric):
    """Check best-matching units (n_samples, k) by brute force, up to near ties."""
    n_samples, k = units.shape
    expected, noise = distances_and_noise(data.values, codebook, metric)
    chosen = np.take_along_axis(expected, units, axis=1)
    lowest = np.sort(expected, axis=1)[:, :k]
    allowed = lowest * (1 + 1e-11) + noise.max(axis=1, keepdims=True)
    assert (chosen <= allowed).all(), np.argwhere(chosen > allowed)
    assert all(len(set(row)) == k for row in units)
    known = ~np.isnan(data.values)
    for row in range(n_samples):  # of equal code vectors the first one wins
        of_row = codebook[:, known[row]]
        equal = (of_row == of_row[units[row, 0]]).all(axis=1)
        assert units[row, 0] == np.flatnonzero(equal)[0]


# What a fit must refuse


def counted_samples(case):
    """Return True for each sample that takes part in a fit."""
    values, metric = case.data.values, case.params["metric"]
    weights = broadcast(case.weights, len(values))
    is_counted = weights / weights.sum() > 1e-305
    if METRICS[metric].is_spherical:
        is_counted = is_counted & has_direction(values, metric)
    return is_counted


def shape_of(grid_size):
    """Return the sides of a grid, None for "auto"."""
    return None if isinstance(grid_size, str) else np.broadcast_to(grid_size, 2)


def refusals(case):
    """Return patterns of the errors that parameters, samples and weights must cause together."""
    params, values = case.params, case.data.values
    is_counted, metric = counted_samples(case), METRICS[params["metric"]]
    n_counted, shape = int(is_counted.sum()), shape_of(params["grid_size"])
    n_clusters = params["n_clusters"] if isinstance(params["n_clusters"], int) else 0
    total_weight = broadcast(case.weights, len(values))[is_counted].sum()
    batch_size = params["batch_size"] or np.inf
    found = []
    if not n_counted:
        found.append("X contains no sample of positive weight that has a direction")
    if np.isnan(values[is_counted]).all(axis=0).any():
        found.append(r"Feature \d+ of X is missing")
    if max(n_counted, total_weight * (1 + 1e-12)) < n_clusters:
        found.append(f"n_samples={n_counted} must be at least n_clusters={n_clusters}")
    if shape is not None and shape.prod() < n_clusters:
        found.append("The 'n_clusters' parameter of TFSOM must be at most the number of units")
    if batch_size < total_weight and (
        total_weight > max(2**24, 4 * n_counted)
        or total_weight / batch_size > max(1000, 4 * n_counted)
    ):
        found.append("sample_weight sums to")
    is_given = not isinstance(params["init"], str)
    if is_given and case.data.is_float32 and not metric.is_spherical:
        if np.abs(params["init"]).max() > float(np.finfo(np.float32).max):
            found.append("The 'init' parameter of TFSOM must be in the range of float32")
    if is_given and metric.is_spherical:
        start = np.asarray(params["init"], float)
        if not has_direction(start, params["metric"]).all():
            found.append("The 'init' parameter of TFSOM must be code vectors that have a dir")
    return found

"""Generators for property-based tests: samples, weights, parameters, and what is refused.

A structure (number of samples, kind of values, layout) is drawn by Hypothesis, which makes it
smaller when a test fails; most values come from a seed.
"""

import atexit
import os
import shutil
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from sklearn_tfsom._distance import METRICS
from sklearn_tfsom._map.anomaly import ANOMALY_SCORES
from sklearn_tfsom._map.grid import BOUNDARIES, LATTICES
from sklearn_tfsom._map.neighborhood import NEIGHBORHOODS
from sklearn_tfsom._parameters import FEATURES

_COMMON = {
    "deadline": None,
    "database": None,
    "print_blob": True,
    "suppress_health_check": list(HealthCheck),
}
# The tests of the suite are the same each time; `fuzz.py` takes other seeds.
settings.register_profile("suite", max_examples=25, derandomize=True, **_COMMON)
settings.register_profile("fuzz", max_examples=400, derandomize=False, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

MAX_SAMPLES, MAX_FEATURES, MAX_SIDE, MAX_EPOCHS = 60, 6, 6, 5
CHECKPOINTS = tempfile.mkdtemp(prefix="tfsom-")
atexit.register(shutil.rmtree, CHECKPOINTS, ignore_errors=True)

FLOATS = ["f8", "f4", "f2", ">f8", ">f4", ">f2", "g", "O"]
INTEGERS = ["i1", "i2", ">i4", "i8", "u1", "u8", "?"]
LAYOUTS = ["C", "F", "strided", "reversed", "unaligned", "read-only", "list"]
SPARSE_KINDS = [
    getattr(scipy.sparse, f"{format}_{kind}")
    for format in ("csr", "csc", "coo")
    for kind in ("array", "matrix")
]
seeds = st.integers(0, 2**32 - 1)


class Data(NamedTuple):
    """Samples."""

    X: Any  # as they are passed
    values: np.ndarray  # (n_samples, n_features) float64, NaN where missing

    @property
    def is_float32(self):
        """Return True if results are to be float32."""
        dtype = getattr(self.X, "dtype", np.dtype(np.float64))
        return dtype.kind == "f" and dtype.itemsize == 4


# Values

ELEMENTS = [0.0, 1.0, -1.0, 0.5, 3.0, 1e-8, 1e8, -0.0]


def normal_values(rng, shape):
    return rng.normal(size=shape)


def small_integers(rng, shape):
    """Return values with many ties."""
    return rng.randint(-2, 3, size=shape).astype(float)


def clusters(rng, shape):
    centers = rng.normal(size=(3, shape[1]))
    return centers[rng.randint(3, size=shape[0])] + 1e-3 * rng.normal(size=shape)


def points_on_a_line(rng, shape):
    return np.outer(rng.uniform(size=shape[0]), rng.normal(size=shape[1]))


def heavy_tails(rng, shape):
    return np.clip(rng.standard_cauchy(size=shape), -1e9, 1e9)


def equal_values(rng, shape):
    return np.full(shape, rng.normal())


def different_scales(rng, shape):
    return rng.normal(size=shape) * 10.0 ** rng.randint(-6, 7, size=shape[1])


def few_elements(rng, shape):
    return rng.choice(ELEMENTS, size=shape)


KINDS = [
    normal_values,
    small_integers,
    clusters,
    points_on_a_line,
    heavy_tails,
    equal_values,
    different_scales,
    few_elements,
]


# Of a feature beside the others: of the same size, or such as times in nanoseconds.
FACTORS = st.sampled_from([1.0, 1.0, 1e9, 1e18])


@st.composite
def raw_values(draw, n_samples, n_features, *, is_extreme=True):
    """Return an array of float64 without missing values."""
    shape = draw(n_samples), draw(n_features)
    rng = np.random.RandomState(draw(seeds))
    values = draw(st.sampled_from(KINDS))(rng, shape)
    for change in draw(
        st.lists(st.sampled_from(["rows", "column", "scale", "outlier"]), max_size=2)
    ):
        if change == "rows":
            values = values[rng.randint(max(1, shape[0] // 3), size=shape[0])]
        elif change == "column":
            values[:, rng.randint(shape[1])] = rng.normal() * draw(FACTORS)
        elif change == "scale" and is_extreme:
            values[:, rng.randint(shape[1])] *= draw(FACTORS)
        elif is_extreme:
            values[rng.randint(shape[0])] *= 1e6
    if is_extreme:
        values = values + draw(st.sampled_from([0.0, 0.0, 1.0, 1e3, 1e6]))
        values = values * 10.0 ** draw(st.sampled_from([0, 0, 0, -30, 30]) | st.integers(-30, 30))
    return values


def cast(values, dtype):
    """Return values in a type, scaled to its range."""
    dtype = np.dtype(dtype)
    largest = np.abs(values).max() or 1.0
    if dtype.kind == "b":
        return values > np.median(values)
    if dtype.kind in "iu":
        values = np.round(values / largest * 100)
        return np.abs(values).astype(dtype) if dtype.kind == "u" else values.astype(dtype)
    limit = {2: 1e3, 4: 1e36}.get(dtype.itemsize if dtype.kind == "f" else 8, np.inf)
    with np.errstate(under="ignore"):
        return (values if largest <= limit else values * (limit / largest)).astype(dtype)


# Layouts


def laid_out(X, layout):
    """Return the same array in another layout."""
    n_rows, n_columns = X.shape
    if layout == "F":
        return np.asfortranarray(X)
    if layout == "strided":
        larger = np.empty((2 * n_rows, 3 * n_columns), X.dtype)
        larger[...] = 0
        larger[::2, 1::3] = X
        return larger[::2, 1::3]
    if layout == "reversed":
        return X[::-1, ::-1].copy()[::-1, ::-1]
    if layout == "unaligned" and X.dtype != object:
        memory = np.empty(X.nbytes + 1, np.uint8)
        moved = memory[1:].view(X.dtype).reshape(X.shape)
        moved[...] = X
        return moved
    if layout == "list" and X.dtype == np.float64:
        return X.tolist()
    X = np.ascontiguousarray(X)
    X.setflags(write=layout != "read-only")
    return X


def make_sparse(X, kind, rng, is_untidy):
    """Return a sparse matrix; an untidy one has explicit zeros, and duplicates in any order."""
    row, column = np.nonzero(X)
    values = X[row, column]
    if is_untidy and len(values):
        row, column = np.append(row, [0, row[0]]), np.append(column, [0, column[0]])
        values = np.append(values, np.zeros(2, X.dtype))
        order = rng.permutation(len(row))
        row, column, values = row[order], column[order], values[order]
    made = scipy.sparse.coo_array((values, (row, column)), shape=X.shape)
    if kind.__name__.startswith("csr") and is_untidy:
        order = np.argsort(row, kind="stable")
        ends = np.cumsum(np.bincount(row, minlength=len(X)))
        return kind((values[order], column[order], np.append(0, ends)), shape=X.shape)
    return kind(made)


def remove_values(values, rng):
    """Replace some values by NaN; each sample and each feature keeps one."""
    known = rng.uniform(size=values.shape) > rng.choice([0.05, 0.3, 0.7])
    known[np.arange(len(values)), rng.randint(values.shape[1], size=len(values))] = True
    known[rng.randint(len(values), size=values.shape[1]), np.arange(values.shape[1])] = True
    return np.where(known, values, np.nan)


@st.composite
def samples(draw, metric="euclidean", *, n_features=None, is_extreme=True, kind=None):
    """Return samples that are valid under a metric; `kind` is "dense" or "sparse", or any."""
    rule = METRICS[metric]
    if n_features is None:
        # Of two features all correlations are -1 or 1: directions are equal or cancel out.
        least = rule.min_features + (rule.min_features > 1)
        n_features = st.integers(least, MAX_FEATURES)
    values = draw(raw_values(st.integers(1, MAX_SAMPLES), n_features, is_extreme=is_extreme))
    rng = np.random.RandomState(draw(seeds))
    if kind is None:
        kind = draw(st.sampled_from(["dense", "dense", "missing", "sparse"]))
    if kind == "sparse" and rule.allows_sparse:
        X = cast(values * (rng.uniform(size=values.shape) < 0.5), draw(st.sampled_from("fdi")))
        sparse = make_sparse(X, draw(st.sampled_from(SPARSE_KINDS)), rng, draw(st.booleans()))
        return Data(sparse, X.astype(np.float64))
    if kind == "missing" and rule.allows_missing:
        dtype, values = draw(st.sampled_from(FLOATS)), remove_values(values, rng)
        X = cast(np.nan_to_num(values), dtype)
        X[np.isnan(values)] = np.nan
    else:
        X = cast(values, draw(st.sampled_from(FLOATS + INTEGERS)))
    return Data(laid_out(X, draw(st.sampled_from(LAYOUTS))), X.astype(np.float64))


# Weights


def all_equal(rng, n):
    return np.ones(n)


def counts(rng, n):
    return rng.randint(4, size=n)


def halves_of_zeros(rng, n):
    return rng.uniform(size=n) * rng.randint(2, size=n)


def huge(rng, n):
    return 1e30 * rng.uniform(size=n)


def tiny(rng, n):
    return 1e-300 * rng.uniform(size=n)


def one_heavy(rng, n):
    return np.where(np.arange(n) == rng.randint(n), 1e12, 1.0)


def single_precision(rng, n):
    return rng.uniform(size=n).astype(np.float32)


WEIGHTS = [all_equal, counts, halves_of_zeros, huge, tiny, one_heavy, single_precision]


@st.composite
def sample_weights(draw, n_samples, kinds=tuple(WEIGHTS)):
    """Return weights of which one is positive, or None."""
    kind = draw(st.none() | st.sampled_from(kinds))
    if kind is None:
        return None
    weights = kind(np.random.RandomState(draw(seeds)), n_samples)
    if not weights.any():
        weights[0] = 1
    return draw(st.sampled_from([weights, weights[::-1].copy()[::-1], weights.tolist()]))


# Parameters


def cauchy(squared_distances, radius):
    return 1 / (1 + squared_distances / radius**2)


class Case(NamedTuple):
    """A fit."""

    params: dict
    data: Data
    weights: Any


def either(*values):
    return st.sampled_from(values)


sides = st.integers(1, MAX_SIDE)
radii = st.floats(0.01, 10)


@st.composite
def grid_sizes(draw):
    """Return a size in one of its forms, and the pair of its sides."""
    shape = draw(sides), draw(sides)
    form = draw(either("tuple", "list", "array", "int", "NumPy int"))
    if form in ("int", "NumPy int"):
        return (shape[0] if form == "int" else np.int16(shape[0])), (shape[0], shape[0])
    return {"tuple": shape, "list": list(shape), "array": np.array(shape)}[form], shape


@st.composite
def inits(draw, shape, data):
    """Return a start by name or as an array."""
    if shape is None or not draw(st.booleans()):
        return draw(either("pca", "pca", "sample", "random"))
    rng = np.random.RandomState(draw(seeds))
    known = np.nan_to_num(data.values)
    start = known[rng.randint(len(known), size=shape[0] * shape[1])]
    if draw(st.booleans()):
        start = start + np.ptp(known) * rng.normal(size=start.shape)
    return draw(either(start, start.tolist(), np.asfortranarray(start)))


@st.composite
def parameters(draw, metric, data, total_weight):
    """Return a value of every parameter, each valid by itself."""
    grid_size, shape = draw(grid_sizes())
    if total_weight <= MAX_SAMPLES and draw(st.integers(0, 3)) == 0:
        grid_size, shape = "auto", None
    max_iter = draw(st.integers(1, MAX_EPOCHS))
    end, start = sorted([draw(radii), draw(radii)])
    decays = st.lists(radii, min_size=max_iter, max_size=max_iter)
    return {
        "grid_size": grid_size,
        "lattice": draw(either(*LATTICES)),
        "boundary": draw(either(*BOUNDARIES)),
        "neighborhood": draw(either(*NEIGHBORHOODS, cauchy)),
        "metric": metric,
        "init": draw(inits(shape, data)),
        "max_iter": max_iter,
        "radius_start": draw(either("auto", start, np.float32(start + 1e-3))),
        "radius_end": draw(either("auto", end, Fraction(end))),
        "radius_decay": draw(either("exponential", "linear") | decays | decays.map(np.array)),
        "coarse_to_fine": draw(either(True, np.True_, False)),
        "tol": draw(either(1e-4, 0, 1.0, 1e300)),
        "batch_size": draw(st.none() | st.integers(1, MAX_SAMPLES)),
        "n_clusters": draw(either(None, None, "auto") | st.integers(1, 4)),
        "features": draw(either(*FEATURES)),
        "anomaly_score": draw(either(*ANOMALY_SCORES)),
        "compute_topographic_error": draw(st.booleans()),
        "checkpoint_dir": draw(either(None, None, CHECKPOINTS, Path(CHECKPOINTS))),
        "random_state": draw(either(0, np.int64(7)) | seeds.map(np.random.RandomState)),
        "verbose": draw(either(0, False, 1)),
    }


def broadcast(weights, n_samples):
    """Return the weight of each sample."""
    return np.broadcast_to(1.0 if weights is None else np.asarray(weights, float), n_samples)


@st.composite
def cases(draw, metrics=tuple(METRICS), weight_kinds=tuple(WEIGHTS), **options):
    """Return parameters, samples and weights."""
    metric = draw(st.sampled_from(metrics))
    data = draw(samples(metric, **options))
    weights = draw(sample_weights(len(data.values), weight_kinds))
    total_weight = broadcast(weights, len(data.values)).sum()
    return Case(draw(parameters(metric, data, total_weight)), data, weights)


@st.composite
def codebooks(draw, n_features, values):
    """Return a shape, and a codebook near some samples: also with equal code vectors."""
    shape = draw(sides), draw(sides)
    rng = np.random.RandomState(draw(seeds))
    known = np.nan_to_num(values)
    codebook = known[rng.randint(len(known), size=shape[0] * shape[1])]
    step = draw(either(0.0, 1e-15, 1e-6, 1.0, 1e3)) * (np.ptp(known) or 1.0)
    codebook = codebook + step * rng.normal(size=codebook.shape)
    return shape, codebook

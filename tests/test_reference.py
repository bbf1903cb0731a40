"""Training equals the slow reference and SOM Toolbox."""

import itertools
import math

import numpy as np
import pytest
import reference
from conftest import REFERENCE, toolbox_cases, toolbox_data, toolbox_measures
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_tfsom import TFSOM
from sklearn_tfsom._map.neighborhood import NEIGHBORHOODS
from sklearn_tfsom.metrics import topographic_error

LATTICES = ("hexagonal", "rectangular")
BOUNDARIES = ("planar", "cylindrical", "toroidal")
RADII = [2.5, 1.7, 1.0]


@pytest.mark.parametrize(
    ("lattice", "boundary", "neighborhood", "shape"),
    [
        # The Gaussian is smoothed along rows and columns, the others by a matrix of all pairs.
        *itertools.product(LATTICES, BOUNDARIES, ["gaussian", "bubble"], [(6, 5)]),
        *itertools.product(["hexagonal"], ["planar"], NEIGHBORHOODS, [(4, 5)]),
        *itertools.product(["hexagonal"], ["toroidal"], NEIGHBORHOODS, [(5, 4)]),
        *itertools.product(LATTICES, BOUNDARIES, ["gaussian", "bubble"], [(1, 7), (7, 1)]),
        *itertools.product(LATTICES, BOUNDARIES, ["gaussian"], [(1, 1)]),
    ],
)
def test_training_equals_the_slow_reference(blobs, lattice, boundary, neighborhood, shape):
    start = np.random.RandomState(0).normal(size=(shape[0] * shape[1], 4)) + blobs.mean(axis=0)
    weights = np.random.RandomState(1).uniform(0.5, 2, size=len(blobs))
    # "mexican_hat" divides by sums that nearly cancel: rounding grows a thousandfold per epoch.
    radii = RADII[:2] if neighborhood == "mexican_hat" else RADII
    som = TFSOM(
        shape,
        lattice=lattice,
        boundary=boundary,
        neighborhood=neighborhood,
        init=start,
        radius_decay=radii,
        max_iter=len(radii),
        tol=0,
    ).fit(blobs, sample_weight=weights)
    assert som.quantization_error_ == -som.score(blobs, sample_weight=weights)
    codebook, errors = reference.train(
        blobs, start, radii[: som.n_iter_], shape, lattice, boundary, neighborhood, weights
    )
    assert_allclose(som.codebook_, codebook, rtol=1e-10, atol=1e-10)
    assert_allclose(som.history_["quantization_error"], errors, rtol=1e-10)
    assert_array_equal(som.labels_, reference.best_matching_units(blobs, som.codebook_))


@pytest.mark.parametrize("share", [0, 0.1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wide_samples_are_averaged_as_by_the_reference(dtype, share):
    """So many that their sums are computed in blocks, of which some hold samples of one unit."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1600, 400)).astype(dtype)
    X[:700] += 5
    X[rng.random(X.shape) < share] = np.nan
    weights = rng.uniform(0.5, 2, size=len(X)) * (rng.random(len(X)) < 0.9)
    start = np.nan_to_num(X[[0, *range(1200, 1205)]].astype(np.float64))
    start[4] += 100  # has no samples
    som = TFSOM((2, 3), init=start, radius_decay=[0.5], max_iter=1, tol=0)
    som.fit(X, sample_weight=weights)
    H = reference.neighborhood_matrix((2, 3), "hexagonal", "planar", "gaussian", 0.5)
    expected = reference.updated(X, start, H, sample_weight=weights)
    accuracy = 1e-6 if dtype == np.float32 else 1e-12
    assert_allclose(som.codebook_, expected, rtol=accuracy, atol=accuracy)


@pytest.mark.parametrize("n_clusters", [None, 3])
def test_callable_neighborhood_equals_the_built_in_one(blobs, n_clusters):
    built_in = TFSOM((5, 4), n_clusters=n_clusters, coarse_to_fine=False).fit(blobs)
    own = TFSOM(
        (5, 4), neighborhood=lambda d2, r: np.exp(-d2 / (2 * r * r)), n_clusters=n_clusters
    ).fit(blobs)
    assert_allclose(own.codebook_, built_in.codebook_, rtol=1e-10)
    assert_array_equal(own.labels_, built_in.labels_)


def test_units_out_of_reach_keep_their_code_vector():
    start = np.arange(20.0)[:, None]
    som = TFSOM((1, 20), init=start, neighborhood="bubble", radius_decay=[1.0], max_iter=1).fit(
        [[0.2], [0.4]]
    )
    assert_allclose(som.codebook_[:2], 0.3)
    assert_array_equal(som.codebook_[2:], start[2:])


def zero(squared_distances, radius):
    """Return a neighborhood of zeros: code vectors do not move."""
    return np.zeros(squared_distances.shape)


def check_size_and_start(X, shape, start):
    """Compare the automatic size and the initial codebook, up to the signs of eigenvectors."""
    som = TFSOM(neighborhood=zero, max_iter=1).fit(X)
    assert som.grid_shape_ == tuple(shape)
    codebook = som.codebook_.reshape(*shape, -1)
    misses = [
        np.abs(codebook[::up, ::across].reshape(start.shape) - start).max()
        for up, across in itertools.product([1, -1], repeat=2)
    ]
    assert min(misses) <= 1e-12 * np.abs(start).max()


@pytest.mark.parametrize("case", toolbox_cases(), ids=lambda case: case["case"])
class TestToolbox:
    """Automatic size, initial codebook, and training from it to the end."""

    def test_size_and_start(self, case):
        stored = np.load(REFERENCE / f"toolbox_{case['case']}.npz")
        check_size_and_start(
            toolbox_data(case["case"]), case["grid_size"], stored["codebook_init"]
        )

    def test_end(self, case):
        X = toolbox_data(case["case"])
        stored = np.load(REFERENCE / f"toolbox_{case['case']}.npz")
        radii = stored["radii"]
        som = TFSOM(
            tuple(case["grid_size"]),
            init=stored["codebook_init"],
            radius_decay=radii,
            max_iter=len(radii),
            tol=0,
        ).fit(X)
        scale = np.abs(stored["codebook"]).max()
        assert_allclose(som.codebook_, stored["codebook"], rtol=1e-9, atol=1e-9 * scale)
        assert_array_equal(som.bmus(X, n_bmus=2)[:, 0], stored["bmus"].ravel())
        assert_array_equal(som.hits_, stored["hits"].ravel())
        assert_allclose(som.unit_positions_, stored["unit_positions"], atol=1e-12)
        assert som.quantization_error_ == pytest.approx(case["quantization_error"], rel=1e-9)
        assert topographic_error(som, X) == pytest.approx(case["topographic_error"], abs=1e-12)


@pytest.mark.parametrize("case", toolbox_measures(), ids=lambda case: case["case"])
def test_errors_from_its_own_start_are_those_of_som_toolbox(case):
    """The two signs of an eigenvector, both right, lead to two pairs of errors."""
    X, radii = toolbox_data(case["case"]), case["radii"]
    som = TFSOM(radius_decay=radii, max_iter=len(radii), tol=0, coarse_to_fine=False).fit(X)
    assert som.grid_shape_ == tuple(case["grid_size"])
    found = som.quantization_error_, topographic_error(som, X)
    names = "quantization_error", "topographic_error"
    rights = [[errors[name] for name in names] for errors in (case, case["mirrored_start"])]
    assert any(found == pytest.approx(right, rel=1e-5, abs=1e-6) for right in rights)


def toolbox_moments(X):
    """Return means, and eigenvalues and eigenvectors of the covariance, over known values.

    The formulas of `som_lininit`, value by value.
    """
    n_features = X.shape[1]
    mean = [np.mean([x for x in X[:, i] if not math.isnan(x)]) for i in range(n_features)]
    covariance = np.empty((n_features, n_features))
    for i, j in itertools.product(range(n_features), repeat=2):
        products = [
            (x[i] - mean[i]) * (x[j] - mean[j])
            for x in X
            if not math.isnan(x[i]) and not math.isnan(x[j])
        ]
        covariance[i, j] = sum(products) / len(products)
    values, vectors = np.linalg.eigh(covariance)
    return np.array(mean), values[::-1], vectors.T[::-1]


def round_half_up(value):
    """Round as Matlab does."""
    return math.floor(value + 0.5)


def toolbox_size(n_samples, eigenvalues):
    """Return the size of a hexagonal sheet, as `som_topol_struct` computes it."""
    n_units = math.ceil(5 * math.sqrt(n_samples))
    side = round_half_up(math.sqrt(n_units))
    n_units = side * round_half_up(n_units / side)
    ratio = math.sqrt(eigenvalues[0] / eigenvalues[1])
    n_columns = round_half_up(math.sqrt(n_units / ratio * math.sqrt(0.75)))
    return round_half_up(n_units / n_columns), n_columns


def toolbox_start(shape, mean, eigenvalues, eigenvectors):
    """Return the codebook of `som_lininit`: the longer side follows the first eigenvector."""
    n_rows, n_columns = shape
    assert n_rows > n_columns > 1
    return np.array(
        [
            mean
            + (2 * row / (n_rows - 1) - 1) * math.sqrt(eigenvalues[0]) * eigenvectors[0]
            + (2 * column / (n_columns - 1) - 1) * math.sqrt(eigenvalues[1]) * eigenvectors[1]
            for row in range(n_rows)
            for column in range(n_columns)
        ]
    )


def toolbox_batch(X, codebook, radii, shape):
    """Train as `som_batchtrain` does: distances and means are over known values."""
    for radius in radii:
        H = reference.neighborhood_matrix(shape, "hexagonal", "planar", "gaussian", radius)
        sums, counts = np.zeros(codebook.shape), np.zeros(codebook.shape)
        for x in X:
            known = ~np.isnan(x)
            distances = [np.sum((x[known] - w[known]) ** 2) for w in codebook]
            bmu = int(np.argmin(distances))
            sums[bmu, known] += x[known]
            counts[bmu, known] += 1
        codebook = (H @ sums) / (H @ counts)
    return codebook


def test_missing_values_as_in_som_toolbox():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(60, 3)) @ [[3, 1, 0], [0, 2, 0.5], [0, 0, 0.5]] + [5, 0, -2]
    X[rng.uniform(size=X.shape) < 0.15] = np.nan
    X = X[~np.isnan(X).all(axis=1)]
    mean, values, vectors = toolbox_moments(X)
    shape = toolbox_size(len(X), values)
    start = toolbox_start(shape, mean, values, vectors)
    check_size_and_start(X, shape, start)
    som = TFSOM(shape, init=start, radius_decay=RADII, max_iter=len(RADII), tol=0).fit(X)
    expected = toolbox_batch(X, start, RADII[: som.n_iter_], shape)
    assert_allclose(som.codebook_, expected, rtol=1e-9, atol=1e-9)

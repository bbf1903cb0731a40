"""U-matrix: cells between units, median, and the anomaly score that uses it."""

import copy
import functools
import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference import unit_position
from reference_measures import BOUNDARIES, LATTICES, compute_reference, random_map
from sklearn.metrics import roc_auc_score
from test_metrics import SHAPES

from sklearn_tfsom import TFSOM, InvalidParameterError
from sklearn_tfsom.metrics import u_matrix


def images(lattice, boundary, shape):
    """Return the shifts of the map to its images beyond the edges, as far as needed here."""
    n_rows, n_columns = shape
    height = n_rows * (math.sqrt(3) / 2 if lattice == "hexagonal" else 1.0)
    shift = 0.5 if lattice == "hexagonal" and n_rows % 2 else 0.0
    across = range(-3, 4) if boundary in ("cylindrical", "toroidal") else [0]
    up = range(-3, 4) if boundary == "toroidal" and n_rows > 1 else [0]
    return [(a * n_columns + u * shift, u * height) for a in across for u in up]


def slow_cells_between(som):
    """Compute the cell at the center of each pair of neighboring units on the plane."""
    lattice, boundary, codebook = som.lattice, som.boundary, som.codebook_
    n_rows, n_columns = shape = som.grid_shape_
    joins_columns = boundary != "planar" and n_columns > 1
    joins_rows = boundary == "toroidal" and n_rows > 1
    cells = np.full((2 * n_rows - (not joins_rows), 2 * n_columns - (not joins_columns)), np.nan)
    height = math.sqrt(3) / 2 if lattice == "hexagonal" else 1.0
    positions = [unit_position(*divmod(k, n_columns), lattice) for k in range(len(codebook))]
    shifts = images(lattice, boundary, shape)
    for (k, (x, y)), (j, (u, v)), (dx, dy) in itertools.product(
        enumerate(positions), enumerate(positions), shifts
    ):
        u, v = u + dx, v + dy
        length = math.hypot(u - x, v - y)
        is_diagonal = lattice == "rectangular" and abs(length - math.sqrt(2)) < 1e-9
        if not (abs(length - 1) < 1e-9 or is_diagonal):
            continue
        row = round((y + v) / height)
        shift = {0: 0.0, 1: 0.25, 2: 0.5, 3: 0.25}[row % 4] if lattice == "hexagonal" else 0
        column = round(2 * ((x + u) / 2 - shift))
        if joins_columns:
            column %= 2 * n_columns
        if joins_rows and lattice == "rectangular":
            row %= 2 * n_rows
        if not (0 <= row < cells.shape[0] and 0 <= column < cells.shape[1]):
            continue  # beyond the edge; the image of this cell is inside
        gap = math.dist(codebook[k], codebook[j])
        if is_diagonal:  # two diagonals, each found from both ends
            gap = gap / math.sqrt(2) / 4 + np.nan_to_num(cells[row, column])
        cells[row, column] = gap
    return cells


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
class TestUMatrix:
    def test_median(self, lattice, boundary):
        for shape in SHAPES:
            som = random_map(lattice, boundary, shape)
            expected = compute_reference("u_matrix", som, None, None, average="median")
            assert_allclose(u_matrix(som, average="median"), expected, rtol=1e-12)

    def test_cells_between(self, lattice, boundary):
        for shape in SHAPES:
            som = random_map(lattice, boundary, shape)
            values = u_matrix(som, between=True, average="median")
            assert_array_equal(values[::2, ::2], u_matrix(som, average="median"))
            # On a narrow map joined to itself, two units have several cells between them.
            if min(shape) > 2 or boundary == "planar":
                expected = slow_cells_between(som)
                expected[::2, ::2] = values[::2, ::2]
                assert_allclose(values, expected, rtol=1e-12, err_msg=str(shape))


def test_cells_between_four_units_by_hand():
    """Compare with the layout of SOM Toolbox's som_umat."""
    diagonals = (7 + 2) / (2 * math.sqrt(2))
    for lattice, expected in [
        ("rectangular", [[2, 1, 3.5], [3, diagonals, 6], [3.5, 4, 5]]),
        ("hexagonal", [[2, 1, 3], [3, 2, 6], [3, 4, 5]]),  # unit 1 is a neighbor of unit 2
    ]:
        som = TFSOM((2, 2), lattice=lattice, max_iter=1, radius_decay=[1.0]).fit([[0.0], [3.0]])
        som.codebook_ = np.array([[0.0], [1.0], [3.0], [7.0]])
        assert_allclose(u_matrix(som, between=True), expected, rtol=1e-14)


def test_cells_between_directions_at_equal_angles():
    """Distances along the diagonals are those of steps of the lattice, in a square of angles."""
    angles = 0.01 * np.stack(np.meshgrid(np.arange(3), np.arange(3)), axis=-1).reshape(9, 2)
    som = TFSOM.from_codebook(
        np.column_stack([angles, np.ones(9)]),
        grid_size=3,
        lattice="rectangular",
        metric="cosine",
    )
    values = u_matrix(som, between=True)
    assert_allclose(values[1::2, 1::2], values[1, 0], rtol=1e-2)


@pytest.mark.parametrize(
    ("params", "right"),
    [
        ({"average": "max"}, r"a str among \{'mean', 'median'\}"),
        ({"average": None}, r"a str among \{'mean', 'median'\}"),
        ({"between": 1}, "a bool"),
    ],
)
def test_invalid_parameters(params, right):
    (name,) = params
    match = rf"^The '{name}' parameter of u_matrix must be {right}\. Got .* instead\.$"
    with pytest.raises(InvalidParameterError, match=match):
        u_matrix(random_map(), **params)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "chebyshev"])
def test_anomaly_score_u_height_adds_the_u_matrix(metric):
    X = np.random.RandomState(0).normal(size=(80, 3))
    som = TFSOM((4, 3), metric=metric, anomaly_score="distance").fit(X)
    expected = som.score_samples(X) - u_matrix(som).ravel()[som.bmus(X)]
    som.set_params(anomaly_score="u_height")
    assert_allclose(som.score_samples(X), expected)


@pytest.mark.parametrize("average", ["mean", "median"])
def test_distances_whose_sum_exceeds_the_range(average):
    X = np.random.RandomState(0).uniform(-1, 1, size=(60, 3))
    som = TFSOM((4, 5), metric="manhattan", max_iter=3, anomaly_score="u_height").fit(X)
    huge = copy.deepcopy(som)
    huge.codebook_ = som.codebook_ * 2.0**1022
    expected = u_matrix(som, average=average)
    assert_allclose(u_matrix(huge, average=average) / 2.0**1022, expected, rtol=1e-12)
    for each in ("u_height", "isolation"):
        scores = huge.set_params(anomaly_score=each).score_samples(X * 2.0**1022)
        expected = som.set_params(anomaly_score=each).score_samples(X)
        assert_allclose(scores / 2.0**1022, expected, rtol=1e-12)


def test_distances_between_units_beyond_the_range_are_refused():
    """The code vectors and their differences are in the range of float64."""
    X = np.resize([-8.9e307, 8.9e307, 8.9e307], (9, 7))
    som = TFSOM.from_codebook(X, grid_size=(3, 3), anomaly_score="u_height")
    match = "^Distances between code vectors exceed the range of float64"
    for method in (u_matrix, functools.partial(u_matrix, between=True)):
        with pytest.raises(ValueError, match=match):
            method(som)
    with pytest.raises(ValueError, match=match):
        som.score_samples(X)


def test_diagonals_beyond_the_range_are_refused():
    X = 5e307 * np.array([[-1, -1, -1, -1], [1, 1, -1, -1], [-1, -1, 1, 1], [1, 1, 1, 1]])
    som = TFSOM.from_codebook(X, grid_size=2, lattice="rectangular")
    assert np.isfinite(u_matrix(som)).all()
    with pytest.raises(ValueError, match=r"^Distances between code vectors exceed the range"):
        u_matrix(som, between=True)


@pytest.mark.parametrize("grid_size", [(4, 3), (8, 6)])
@pytest.mark.parametrize("n_heavy", [0, 6])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "chebyshev"])
def test_anomaly_score_isolation_is_the_distance_to_a_tenth_of_the_samples(
    metric, n_heavy, grid_size
):
    """As if each unit were repeated for each of its samples; most may be at a few, on one side."""
    X = np.random.RandomState(0).normal(size=(80, 3))
    counts = np.random.RandomState(1).randint(0, 4, size=80) * 10
    counts[np.argsort(X[:, 0])[:n_heavy]] += 2000
    som = TFSOM(grid_size, metric=metric).fit(X, sample_weight=counts)
    distances, bmus = som.bmus(X, return_distance=True)
    repeated = np.repeat(np.arange(som.hits_.size), som.hits_.astype(int))
    between = som.set_params(features="distances").transform(som.codebook_)[:, repeated]
    n_near = counts.sum() // 10
    assert n_near * 10 == counts.sum()
    expected = np.sort(between, axis=1)[bmus, :n_near].mean(axis=1) + distances / 4
    assert_allclose(som.score_samples(X), -expected, rtol=1e-6, atol=1e-12)


def test_isolation_does_not_depend_on_the_other_samples():
    """To the last digit, so that the score of a sample can be a threshold."""
    X = np.random.RandomState(0).normal(size=(301, 4))
    weights = np.random.RandomState(1).exponential(size=301) ** 3
    som = TFSOM((10, 10)).fit(X, sample_weight=weights)
    one_by_one = [som.score_samples(x[None])[0] for x in X]
    assert_array_equal(som.score_samples(X), one_by_one)


def test_anomaly_scores_detect_anomalies_in_the_training_data():
    rng = np.random.RandomState(0)
    X = np.vstack([rng.normal(size=(500, 4)), rng.normal(size=(10, 4)) * 0.1 + 6])
    y = np.arange(510) >= 500
    som = TFSOM().fit(X)
    areas = {
        name: roc_auc_score(y, -som.set_params(anomaly_score=name).score_samples(X))
        for name in ("isolation", "u_height", "distance")
    }
    assert areas["isolation"] > 0.99
    assert areas["u_height"] > max(0.95, areas["distance"])

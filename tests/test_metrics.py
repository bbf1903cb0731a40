"""Quality measures equal slow loops over geometry, and SOM Toolbox."""

import copy
import functools
import itertools
import math

import numpy as np
import pytest
from conftest import REFERENCE, toolbox_cases, toolbox_data
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from sklearn_tfsom import TFSOM
from sklearn_tfsom.metrics import (
    combined_error,
    distortion,
    hit_histogram,
    quantization_error,
    topographic_error,
    u_matrix,
)

LATTICES = ["hexagonal", "rectangular"]
BOUNDARIES = ["planar", "cylindrical", "toroidal"]
# Even and odd numbers of rows, chains, and maps that are joined to themselves within two units.
SHAPES = [(6, 5), (5, 4), (4, 7), (3, 3), (1, 6), (6, 1), (2, 5), (5, 2), (2, 2), (1, 2), (1, 1)]
MAPS = [
    pytest.param(lattice, boundary, shape, id=f"{lattice}-{boundary}-{shape[0]}x{shape[1]}")
    for lattice, boundary, shape in itertools.product(LATTICES, BOUNDARIES, SHAPES)
]
RECTANGULAR_MAPS = [case for case in MAPS if case.values[0] == "rectangular"]


def samples(seed=0, n_samples=60):
    return np.random.RandomState(seed).normal(size=(n_samples, 3))


@functools.cache
def fitted_map(lattice, boundary, shape, seed):
    return TFSOM(shape, lattice=lattice, boundary=boundary, max_iter=1, radius_decay=[1.0]).fit(
        samples(seed)
    )


def random_map(lattice, boundary, shape, seed=1):
    """A fitted map whose code vectors have nothing to do with its grid."""
    som = copy.deepcopy(fitted_map(lattice, boundary, shape, seed))
    som.codebook_ = np.random.RandomState(seed).normal(size=som.codebook_.shape)
    return som


def positions(lattice, shape):
    """(x, y) of each unit, row by row."""
    if lattice == "rectangular":
        return [(float(c), float(r)) for r in range(shape[0]) for c in range(shape[1])]
    return [
        (c + (0.5 if r % 2 else 0.0), r * math.sqrt(3) / 2)
        for r in range(shape[0])
        for c in range(shape[1])
    ]


def images(lattice, boundary, shape):
    """Translations of the map onto its images beyond the edges, far enough for neighbors."""
    n_rows, n_columns = shape
    height = n_rows * (math.sqrt(3) / 2 if lattice == "hexagonal" else 1.0)
    shift = 0.5 if lattice == "hexagonal" and n_rows % 2 else 0.0
    across = range(-3, 4) if boundary in ("cylindrical", "toroidal") else [0]
    up = range(-3, 4) if boundary == "toroidal" and n_rows > 1 else [0]
    return [(a * n_columns + u * shift, u * height) for a in across for u in up]


@functools.cache
def are_neighbors(lattice, boundary, shape, n_neighbors=None):
    """Whether two units are neighbors, for each pair: no unit is its own neighbor."""
    reach = math.sqrt(2) if n_neighbors == 8 else 1.0
    where = positions(lattice, shape)
    shifts = images(lattice, boundary, shape)
    related = np.zeros((len(where), len(where)), dtype=bool)
    for k, (x, y) in enumerate(where):
        for j, (u, v) in enumerate(where):
            distance = min(math.hypot(u + dx - x, v + dy - y) for dx, dy in shifts)
            related[k, j] = k != j and distance < reach + 1e-9
    return related


def slow_quantization_error(codebook, X, sample_weight):
    total = 0.0
    for x, weight in zip(X, sample_weight, strict=True):
        total += weight * min(math.dist(x, w) for w in codebook)
    return total / sum(sample_weight)


def slow_topographic_error(codebook, X, sample_weight, related):
    total = 0.0
    for x, weight in zip(X, sample_weight, strict=True):
        first, second = sorted(range(len(codebook)), key=lambda k: math.dist(x, codebook[k]))[:2]
        total += weight * (not related[first, second])
    return total / sum(sample_weight)


def slow_combined_error(codebook, X, sample_weight, related):
    """With the shortest paths between all units by Floyd's algorithm."""
    n_units = len(codebook)
    paths = np.linalg.norm(codebook[:, None] - codebook, axis=2)
    paths[~related & ~np.eye(n_units, dtype=bool)] = np.inf
    for via in range(n_units):
        paths = np.minimum(paths, paths[:, via, None] + paths[None, via])
    total = 0.0
    for x, weight in zip(X, sample_weight, strict=True):
        order = sorted(range(n_units), key=lambda k: math.dist(x, codebook[k]))
        total += weight * (math.dist(x, codebook[order[0]]) + paths[order[0], order[:2][-1]])
    return total / sum(sample_weight)


def slow_u_matrix(codebook, related, shape, average=np.mean):
    values = []
    for k, w in enumerate(codebook):
        gaps = [math.dist(w, codebook[j]) for j in range(len(codebook)) if related[k, j]]
        values.append(average(gaps) if gaps else 0.0)
    return np.reshape(values, shape)


def slow_cells_between(codebook, lattice, boundary, shape):
    """Each cell between units at the place on the plane that is halfway between two units."""
    n_rows, n_columns = shape
    joins_columns = boundary != "planar" and n_columns > 1
    joins_rows = boundary == "toroidal" and n_rows > 1
    cells = np.full((2 * n_rows - (not joins_rows), 2 * n_columns - (not joins_columns)), np.nan)
    height = math.sqrt(3) / 2 if lattice == "hexagonal" else 1.0
    where = positions(lattice, shape)
    for k, (x, y) in enumerate(where):
        for j, (dx, dy) in itertools.product(range(len(where)), images(lattice, boundary, shape)):
            u, v = where[j][0] + dx, where[j][1] + dy
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
                continue  # beyond the edge; there it is met again from the other unit
            gap = math.dist(codebook[k], codebook[j])
            if not is_diagonal:
                cells[row, column] = gap
            else:  # each of two diagonals is met from both of its ends
                before = cells[row, column]
                cells[row, column] = (0 if np.isnan(before) else before) + gap / math.sqrt(2) / 4
    return cells


@pytest.mark.parametrize(("lattice", "boundary", "shape"), MAPS)
class TestEqualToSlowLoops:
    def test_quantization_error(self, lattice, boundary, shape):
        som, X = random_map(lattice, boundary, shape), samples()
        slow = slow_quantization_error(som.codebook_, X, np.ones(len(X)))
        assert quantization_error(som, X) == pytest.approx(slow, rel=1e-12)

    def test_topographic_error(self, lattice, boundary, shape):
        som, X = random_map(lattice, boundary, shape), samples()
        slow = 0.0
        if len(som.codebook_) > 1:
            related = are_neighbors(lattice, boundary, shape)
            slow = slow_topographic_error(som.codebook_, X, np.ones(len(X)), related)
        assert topographic_error(som, X) == pytest.approx(slow, abs=1e-12)

    def test_u_matrix(self, lattice, boundary, shape):
        som = random_map(lattice, boundary, shape)
        slow = slow_u_matrix(som.codebook_, are_neighbors(lattice, boundary, shape), shape)
        values = u_matrix(som)
        assert values.shape == shape and values.dtype == np.float64
        assert_allclose(values, slow, rtol=1e-12)

    def test_median_u_matrix(self, lattice, boundary, shape):
        som = random_map(lattice, boundary, shape)
        related = are_neighbors(lattice, boundary, shape)
        slow = slow_u_matrix(som.codebook_, related, shape, np.median)
        assert_allclose(u_matrix(som, average="median"), slow, rtol=1e-12)

    def test_u_matrix_with_cells_between(self, lattice, boundary, shape):
        som = random_map(lattice, boundary, shape)
        values = u_matrix(som, between=True, average="median")
        assert_array_equal(values[::2, ::2], u_matrix(som, average="median"))
        # Where a map is joined to itself within two units, a cell lies in two places at once.
        if min(shape) > 2 or boundary == "planar":
            slow = slow_cells_between(som.codebook_, lattice, boundary, shape)
            assert values.shape == slow.shape
            is_between = np.ones(slow.shape, dtype=bool)
            is_between[::2, ::2] = False
            assert np.isnan(slow[~is_between]).all()
            assert_allclose(values[is_between], slow[is_between], rtol=1e-12)

    def test_combined_error(self, lattice, boundary, shape):
        som, X = random_map(lattice, boundary, shape), samples()
        weights = np.random.RandomState(2).uniform(0.1, 3, size=len(X))
        related = are_neighbors(lattice, boundary, shape)
        slow = slow_combined_error(som.codebook_, X, weights, related)
        assert combined_error(som, X, sample_weight=weights) == pytest.approx(slow, rel=1e-12)

    def test_hit_histogram(self, lattice, boundary, shape):
        som, X = random_map(lattice, boundary, shape), samples()
        weights = np.random.RandomState(2).uniform(0.1, 3, size=len(X))
        slow = np.zeros(shape)
        for x, weight in zip(X, weights, strict=True):
            best = min(range(len(som.codebook_)), key=lambda k: math.dist(x, som.codebook_[k]))
            slow[divmod(best, shape[1])] += weight
        hits = hit_histogram(som, X, sample_weight=weights)
        assert hits.dtype == np.float64
        assert_allclose(hits, slow, rtol=1e-12)


def test_numbers_of_neighbors_may_be_of_any_kind_of_int():
    som, X = random_map("rectangular", "planar", (5, 4)), samples()
    eight = topographic_error(som, X, n_neighbors=8)
    assert topographic_error(som, X, n_neighbors=np.int64(8)) == eight
    assert_array_equal(u_matrix(som, n_neighbors=np.int8(8)), u_matrix(som, n_neighbors=8))


@pytest.mark.parametrize("n_neighbors", [4, 8])
@pytest.mark.parametrize(("lattice", "boundary", "shape"), RECTANGULAR_MAPS)
class TestFourOrEightNeighbors:
    def test_combined_error(self, lattice, boundary, shape, n_neighbors):
        som, X = random_map(lattice, boundary, shape), samples(n_samples=20)
        related = are_neighbors(lattice, boundary, shape, n_neighbors)
        slow = slow_combined_error(som.codebook_, X, np.ones(len(X)), related)
        error = combined_error(som, X, n_neighbors=n_neighbors)
        assert error == pytest.approx(slow, rel=1e-12)

    def test_topographic_error(self, lattice, boundary, shape, n_neighbors):
        som, X = random_map(lattice, boundary, shape), samples()
        slow = 0.0
        if len(som.codebook_) > 1:
            related = are_neighbors(lattice, boundary, shape, n_neighbors)
            slow = slow_topographic_error(som.codebook_, X, np.ones(len(X)), related)
        error = topographic_error(som, X, n_neighbors=n_neighbors)
        assert error == pytest.approx(slow, abs=1e-12)

    def test_u_matrix(self, lattice, boundary, shape, n_neighbors):
        som = random_map(lattice, boundary, shape)
        related = are_neighbors(lattice, boundary, shape, n_neighbors)
        slow = slow_u_matrix(som.codebook_, related, shape)
        assert_allclose(u_matrix(som, n_neighbors=n_neighbors), slow, rtol=1e-12)


def test_the_relation_of_the_loops_is_right():
    """Inside a map, by hand: the loops themselves are tested here."""
    hexagonal = are_neighbors("hexagonal", "planar", (3, 3))
    assert np.flatnonzero(hexagonal[4]).tolist() == [1, 2, 3, 5, 7, 8]
    odd_torus = are_neighbors("hexagonal", "toroidal", (5, 4))
    assert (odd_torus.sum(axis=1) == 6).all() and (odd_torus == odd_torus.T).all()
    four = are_neighbors("rectangular", "planar", (3, 3), 4)
    assert np.flatnonzero(four[4]).tolist() == [1, 3, 5, 7]
    eight = are_neighbors("rectangular", "planar", (3, 3), 8)
    assert np.flatnonzero(eight[4]).tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    torus = are_neighbors("rectangular", "toroidal", (3, 4))
    assert np.flatnonzero(torus[0]).tolist() == [1, 3, 4, 8]


def test_a_folded_chain_by_hand():
    som = TFSOM((1, 4), max_iter=1, radius_decay=[1.0]).fit([[0.0], [3.0]])
    som.codebook_ = np.array([[0.0], [2.0], [1.0], [4.0]])
    X = [[0.25], [2.25], [3.5], [1.25]]  # pairs of units (0, 2), (1, 2), (3, 1), (2, 1)
    assert topographic_error(som, X) == 0.5
    assert quantization_error(som, X) == (0.25 + 0.25 + 0.5 + 0.25) / 4
    assert_array_equal(u_matrix(som), [[2.0, 1.5, 2.0, 3.0]])
    assert_array_equal(u_matrix(som, between=True), [[2.0, 2.0, 1.5, 1.0, 2.0, 3.0, 3.0]])
    # Ways along the chain to the second unit: 2 + 1, 1, 3 + 1, 1.
    assert combined_error(som, X) == quantization_error(som, X) + (3 + 1 + 4 + 1) / 4
    assert_array_equal(hit_histogram(som, X), [[1, 1, 1, 1]])


def test_u_matrix_of_four_units_by_hand():
    """As SOM Toolbox's som_umat lays them out."""
    som = TFSOM((2, 2), lattice="rectangular", max_iter=1, radius_decay=[1.0]).fit([[0.0], [3.0]])
    som.codebook_ = np.array([[0.0], [1.0], [3.0], [7.0]])
    diagonals = (7 + 2) / (2 * math.sqrt(2))
    expected = [[2, 1, 3.5], [3, diagonals, 6], [3.5, 4, 5]]
    assert_allclose(u_matrix(som, between=True), expected, rtol=1e-14)
    som = TFSOM((2, 2), max_iter=1, radius_decay=[1.0]).fit([[0.0], [3.0]])
    som.codebook_ = np.array([[0.0], [1.0], [3.0], [7.0]])
    expected = [[2, 1, 3], [3, 2, 6], [3, 4, 5]]  # unit 1 lies beside unit 2
    assert_allclose(u_matrix(som, between=True), expected, rtol=1e-14)


@pytest.mark.parametrize("side", [5, 9, 17, 33])
def test_squares_by_hand(side):
    """SOMperf's cases: a square grid over [-1, 1]."""
    line = np.linspace(-1, 1, side)
    codebook = np.dstack(np.meshgrid(line, line)).reshape(-1, 2)
    som = TFSOM(side, lattice="rectangular", max_iter=1, radius_decay=[1.0], init=codebook).fit(
        codebook
    )
    som.codebook_ = codebook
    spacing = 2 / (side - 1)
    angles = np.random.RandomState(0).uniform(0, 2 * math.pi, size=len(codebook))
    moved = codebook + spacing / 4 * np.column_stack([np.cos(angles), np.sin(angles)])
    assert quantization_error(som, moved) == pytest.approx(spacing / 4, rel=1e-12)
    assert combined_error(som, codebook) == pytest.approx(spacing, rel=1e-12)
    assert topographic_error(som, codebook) == 0


def test_equal_code_vectors_make_ways_of_no_length():
    som = TFSOM((1, 4), max_iter=1, radius_decay=[1.0]).fit([[0.0], [3.0]])
    som.codebook_ = np.array([[0.0], [5.0], [5.0], [1.0]])
    assert combined_error(som, [[0.25]]) == 0.25 + 5 + 0 + 4


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
class TestSampleWeight:
    def test_it_weighs_the_mean(self, lattice, boundary):
        som, X = random_map(lattice, boundary, (5, 4)), samples()
        weights = np.random.RandomState(2).uniform(0.1, 3, size=len(X))
        related = are_neighbors(lattice, boundary, (5, 4))
        slow = slow_topographic_error(som.codebook_, X, weights, related)
        assert topographic_error(som, X, sample_weight=weights) == pytest.approx(slow)
        slow = slow_quantization_error(som.codebook_, X, weights)
        assert quantization_error(som, X, sample_weight=weights) == pytest.approx(slow)

    @pytest.mark.parametrize("metric", [quantization_error, topographic_error])
    def test_it_equals_repetition(self, lattice, boundary, metric):
        som, X = random_map(lattice, boundary, (5, 4)), samples()
        counts = np.random.RandomState(2).randint(0, 4, size=len(X))
        repeated = metric(som, np.repeat(X, counts, axis=0))
        assert metric(som, X, sample_weight=counts) == pytest.approx(repeated, rel=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (3, 4)])
@pytest.mark.parametrize("metric", [quantization_error, topographic_error])
class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("weights", "match"),
        [
            (np.ones(59), r"sample_weight .*60 samples.* Got shape \(59,\)"),
            (np.ones(1), r"sample_weight .*60 samples.* Got shape \(1,\)"),
            (np.ones((60, 1)), r"sample_weight .*60 samples.* Got shape \(60, 1\)"),
            (-np.ones(60), "sample_weight .*negative"),
            (np.r_[np.full(59, 2.0), -1.0], "sample_weight .*negative"),
            (np.zeros(60), "sample_weight .*zero"),
            (np.full(60, np.nan), "sample_weight contains NaN"),
            (np.full(60, np.inf), "sample_weight contains infinity"),
        ],
        ids=["short", "one", "column", "negative", "one negative", "zero", "nan", "inf"],
    )
    def test_a_bad_sample_weight_is_refused(self, metric, shape, weights, match):
        som = random_map("hexagonal", "planar", shape)
        with pytest.raises(ValueError, match=match):
            metric(som, samples(), sample_weight=weights)

    def test_a_scalar_weight_weighs_all_alike(self, metric, shape):
        som = random_map("hexagonal", "planar", shape)
        weighted = metric(som, samples(), sample_weight=2.5)
        assert weighted == pytest.approx(metric(som, samples()), rel=1e-12)

    @pytest.mark.parametrize(
        ("X", "match"),
        [
            (np.full((5, 3), np.nan), r"Sample 0 of X is missing \(NaN\)"),
            (np.ones((5, 2)), "X has 2 features, but TFSOM is expecting 3 features"),
            (np.ones(3), "Expected 2D array, got 1D array instead"),
            (np.ones((0, 3)), r"0 sample\(s\)"),
        ],
        ids=["nan", "features", "1-d", "empty"],
    )
    def test_bad_samples_are_refused(self, metric, shape, X, match):
        with pytest.raises(ValueError, match=match):
            metric(random_map("hexagonal", "planar", shape), X)

    def test_a_map_that_was_not_fitted_is_refused(self, metric, shape):
        with pytest.raises(NotFittedError, match="This TFSOM instance is not fitted yet"):
            metric(TFSOM(shape), samples())


def test_a_map_that_was_not_fitted_has_no_u_matrix():
    with pytest.raises(NotFittedError, match="This TFSOM instance is not fitted yet"):
        u_matrix(TFSOM())


@pytest.mark.parametrize("shape", [(1, 1), (3, 4)])
@pytest.mark.parametrize(
    ("lattice", "n_neighbors", "right"),
    [
        *itertools.product(["hexagonal"], [0, 4, 5, 8, -6, True, "6", [6], np.nan], ["6"]),
        *itertools.product(["rectangular"], [0, 5, 6, -4, True, "8", [4], np.nan], ["4 or 8"]),
        ("hexagonal", np.array([6, 6]), "6"),
        ("rectangular", np.array([4, 8]), "4 or 8"),
    ],
)
class TestBadNumberOfNeighbors:
    def match(self, lattice, right):
        return rf"n_neighbors.* must be .*{right} on a {lattice} lattice\. Got .* instead\."

    def test_topographic_error_refuses_it(self, shape, lattice, n_neighbors, right):
        som = random_map(lattice, "planar", shape)
        with pytest.raises(ValueError, match=self.match(lattice, right)):
            topographic_error(som, samples(), n_neighbors=n_neighbors)

    def test_u_matrix_refuses_it(self, shape, lattice, n_neighbors, right):
        som = random_map(lattice, "planar", shape)
        with pytest.raises(ValueError, match=self.match(lattice, right)):
            u_matrix(som, n_neighbors=n_neighbors)


class TestAgreement:
    def test_with_the_fitted_attribute(self):
        X = samples()
        weights = np.random.RandomState(2).uniform(size=len(X))
        som = TFSOM((4, 3)).fit(X, sample_weight=weights)
        assert quantization_error(som, X, sample_weight=weights) == som.quantization_error_

    def test_with_a_map_in_float32(self):
        X = samples().astype(np.float32)
        som = TFSOM((4, 3)).fit(X)
        related = are_neighbors("hexagonal", "planar", (4, 3))
        assert som.codebook_.dtype == np.float32
        assert u_matrix(som).dtype == np.float64
        assert_allclose(u_matrix(som), slow_u_matrix(som.codebook_, related, (4, 3)), rtol=1e-6)

    def test_six_is_the_default_on_a_hexagonal_lattice_and_four_on_a_rectangular_one(self):
        for lattice, n_neighbors in [("hexagonal", 6), ("rectangular", 4)]:
            som = random_map(lattice, "planar", (5, 4))
            assert topographic_error(som, samples()) == topographic_error(
                som, samples(), n_neighbors=n_neighbors
            )
            assert_array_equal(u_matrix(som), u_matrix(som, n_neighbors=n_neighbors))

    @pytest.mark.parametrize(
        "params", [{"lattice": "rectangular"}, {"boundary": "toroidal"}, {"grid_size": (5, 4)}]
    )
    def test_a_parameter_set_after_fit_changes_no_measure(self, params):
        som = random_map("hexagonal", "planar", (4, 5))
        before = topographic_error(som, samples()), u_matrix(som)
        som.set_params(**params)
        assert topographic_error(som, samples()) == before[0]
        assert_array_equal(u_matrix(som), before[1])


@pytest.mark.parametrize("case", toolbox_cases(), ids=lambda case: case["case"])
def test_the_codebook_of_som_toolbox_gets_its_figures(case):
    X = toolbox_data(case["case"])
    stored = np.load(REFERENCE / f"toolbox_{case['case']}.npz")
    som = TFSOM(tuple(case["grid_size"]), max_iter=1, radius_decay=[1.0]).fit(X)
    som.codebook_ = stored["codebook"]
    assert quantization_error(som, X) == pytest.approx(case["quantization_error"], rel=1e-9)
    assert topographic_error(som, X) == pytest.approx(case["topographic_error"], abs=1e-9)
    assert_array_equal(som.bmus(X, n_bmus=2)[:, 1], stored["second_bmus"].ravel())
    assert combined_error(som, X) == pytest.approx(case["combined_error"], rel=1e-9)
    assert distortion(som, X, radius=1) == pytest.approx(case["distortion_radius_1"], rel=1e-9)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "chebyshev"])
def test_u_height_scores_add_the_height_of_the_unit(metric):
    X = np.random.RandomState(0).normal(size=(80, 3))
    som = TFSOM((4, 3), metric=metric).fit(X)
    expected = som.score_samples(X) - u_matrix(som).ravel()[som.bmus(X)]
    assert_allclose(som.score_samples(X, method="u_height"), expected)
    assert_allclose(som.score_samples(X, method="distance"), som.score_samples(X))
    with pytest.raises(ValueError, match="The 'method' parameter of TFSOM must be a str among"):
        som.score_samples(X, method="u")


def test_u_height_tells_anomalies_that_have_been_learnt():
    from sklearn.metrics import roc_auc_score

    rng = np.random.RandomState(0)
    X = np.vstack([rng.normal(size=(500, 4)), rng.normal(size=(10, 4)) * 0.1 + 6])
    y = np.arange(510) >= 500
    som = TFSOM().fit(X)
    by_distance = roc_auc_score(y, -som.score_samples(X))
    assert roc_auc_score(y, -som.score_samples(X, method="u_height")) > max(0.95, by_distance)

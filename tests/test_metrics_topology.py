"""Topographic product and function equal slow loops."""

import itertools
import math

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from test_metrics import BOUNDARIES, LATTICES, are_neighbors, positions, random_map, samples

from sklearn_tfsom import TFSOM
from sklearn_tfsom.metrics import topographic_function, topographic_product


def grid_distances(lattice, boundary, shape):
    units = list(itertools.product(range(shape[0]), range(shape[1])))
    return np.array(
        [[reference.grid_distance(a, b, shape, lattice, boundary) for b in units] for a in units]
    )


def orders(values):
    """All orders of indices by rising values, of equal ones every order."""
    ways = [[]]
    for value in sorted(set(values)):
        ties = [k for k, other in enumerate(values) if other == value]
        ways = [way + list(more) for way in ways for more in itertools.permutations(ties)]
    return ways


def slow_topographic_product(codebook, on_grid):
    """The mean over every order of ties, by writing them all out."""
    total, n_units = 0.0, len(codebook)
    for j in range(n_units):
        others = [k for k in range(n_units) if k != j]
        far = [math.dist(codebook[j], codebook[k]) for k in others]
        apart = [on_grid[j, k] for k in others]
        (by_data,) = orders(far)
        ways = orders(apart)
        for by_grid in ways:
            for k in range(1, n_units):
                product = 1.0
                for first, second in zip(by_grid[:k], by_data[:k], strict=True):
                    product *= far[first] / far[second] * apart[first] / apart[second]
                total += math.log(product ** (1 / (2 * k))) / len(ways)
    return total / (n_units * (n_units - 1))


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (1, 5), (5, 1), (2, 2), (1, 2)])
def test_topographic_product_equals_slow_loops(lattice, boundary, shape):
    som = random_map(lattice, boundary, shape)
    slow = slow_topographic_product(som.codebook_, grid_distances(lattice, boundary, shape))
    assert topographic_product(som) == pytest.approx(slow, rel=1e-9, abs=1e-13)


class TestTopographicProduct:
    @pytest.mark.parametrize("lattice", LATTICES)
    def test_it_is_zero_where_the_codebook_is_the_grid(self, lattice):
        som = random_map(lattice, "planar", (6, 5))
        som.codebook_ = 3 * np.array(positions(lattice, (6, 5))) + 7
        assert topographic_product(som) == pytest.approx(0, abs=1e-12)

    def test_it_does_not_depend_on_the_units_of_the_data(self):
        som = random_map("hexagonal", "planar", (6, 5))
        expected = topographic_product(som)
        som.codebook_ = som.codebook_ * 1e-8
        assert topographic_product(som) == pytest.approx(expected, rel=1e-9)

    def test_it_is_the_same_for_a_mirrored_map(self):
        som = random_map("rectangular", "planar", (6, 5))
        expected = topographic_product(som)
        som.codebook_ = som.codebook_.reshape(6, 5, -1)[::-1, ::-1].reshape(30, -1)
        assert topographic_product(som) == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 2)])
    def test_small_maps_have_none(self, shape):
        assert topographic_product(random_map("hexagonal", "planar", shape)) == 0

    def test_units_with_one_code_vector_are_left_out(self):
        som = random_map("hexagonal", "planar", (3, 4))
        som.codebook_[5] = som.codebook_[6] = som.codebook_[0]
        assert math.isfinite(topographic_product(som))
        som.codebook_[:] = som.codebook_[0]
        assert topographic_product(som) == 0

    def test_it_tells_the_dimension_of_the_grid(self):
        """SOMperf has -.079, -.042, -.013, .001, .012 for maps that it has trained itself."""
        rng = np.random.RandomState(0)
        X = np.column_stack([rng.normal(0.5, 0.06, size=5000), rng.uniform(size=5000)])
        shapes = [(256, 1), (128, 2), (64, 4), (43, 6), (16, 16)]
        chain, ribbon, *sheets = [
            topographic_product(TFSOM(shape, lattice="rectangular").fit(X)) for shape in shapes
        ]
        assert chain < ribbon < -0.005
        assert np.argmin(np.abs(sheets)) == 1
        assert sheets[-1] > 0

    def test_tiles_change_nothing(self, monkeypatch):
        som = random_map("hexagonal", "planar", (5, 4))
        whole = topographic_product(som)
        monkeypatch.setattr("sklearn_tfsom.metrics._reading._TILE_VALUES", 60)
        assert topographic_product(som) == pytest.approx(whole, rel=1e-12)


def all_steps(related):
    """Steps between all units, by Floyd's algorithm."""
    n_units = len(related)
    steps = np.where(related, 1.0, np.inf)
    np.fill_diagonal(steps, 0)
    for via in range(n_units):
        steps = np.minimum(steps, steps[:, via, None] + steps[None, via])
    return steps


def slow_topographic_function(codebook, X, lattice, boundary, shape):
    n_units = len(codebook)
    delaunay = np.zeros((n_units, n_units), dtype=bool)
    for x in X:
        i, j = sorted(range(n_units), key=lambda k: math.dist(x, codebook[k]))[:2]
        delaunay[i, j] = delaunay[j, i] = True
    in_data = all_steps(delaunay)
    wide = are_neighbors(lattice, boundary, shape, 8 if lattice == "rectangular" else None)
    on_grid = all_steps(wide)
    near = are_neighbors(lattice, boundary, shape)
    is_vertex = delaunay.any(axis=1)
    values = {}
    for k in range(1, n_units):
        values[k] = values[-k] = 0.0
        for i, j in itertools.product(range(n_units), repeat=2):
            values[k] += bool(delaunay[i, j] and on_grid[i, j] > k)
            is_torn = near[i, j] and is_vertex[i] and is_vertex[j] and in_data[i, j] > k
            values[-k] += bool(is_torn)
    values[0] = values[1] + values[-1]
    return [values[k] / n_units for k in range(1 - n_units, n_units)]


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (5, 4), (1, 6), (6, 1), (2, 2), (1, 2)])
@pytest.mark.parametrize("n_samples", [10, 60])
def test_topographic_function_equals_slow_loops(lattice, boundary, shape, n_samples):
    som, X = random_map(lattice, boundary, shape), samples(n_samples=n_samples)
    lags, values = topographic_function(som, X)
    n_units = shape[0] * shape[1]
    assert_array_equal(lags, np.arange(1 - n_units, n_units))
    slow = slow_topographic_function(som.codebook_, X, lattice, boundary, shape)
    assert_allclose(values, slow, rtol=1e-12)


class TestTopographicFunction:
    def test_of_one_unit(self):
        lags, values = topographic_function(random_map("hexagonal", "planar", (1, 1)), samples())
        assert lags.tolist() == [0] and values.tolist() == [0]

    def test_a_chain_along_a_line_preserves_all(self):
        som = TFSOM((1, 6), max_iter=1, radius_decay=[1.0]).fit([[0.0], [3.0]])
        som.codebook_ = np.arange(6.0)[:, None]
        _, values = topographic_function(som, np.linspace(0, 5, 50)[:, None])
        assert not values.any()

    def test_a_folded_chain_by_hand(self):
        """The ends of the chain are next to each other: 3 steps apart, seen from both."""
        som = TFSOM((1, 4), max_iter=1, radius_decay=[1.0]).fit([[0.0], [3.0]])
        som.codebook_ = np.array([[0.0, 0], [0, 1], [1, 1], [1, 0]])
        X = [[0.0, 0.4], [0.4, 1], [1, 0.6], [0.4, 0]]
        som.n_features_in_ = 2
        lags, values = topographic_function(som, X)
        assert lags.tolist() == [-3, -2, -1, 0, 1, 2, 3]
        assert values.tolist() == [0, 0, 0, 0.5, 0.5, 0.5, 0]

    def test_a_sheet_along_a_line_is_torn(self):
        """Rows of a sheet over a line: neighbors on the grid that are none in the data."""
        som = TFSOM((2, 3), lattice="rectangular", max_iter=1, radius_decay=[1.0]).fit(
            [[0.0], [3.0]]
        )
        som.codebook_ = np.array([[0.0], [1], [2], [5], [4], [3]])
        lags, values = topographic_function(som, np.linspace(0, 5, 50)[:, None])
        # (0, 3) are 5 steps apart, (1, 4) are 3; (2, 5) are neighbors.
        assert dict(zip(lags.tolist(), values.tolist(), strict=True)) == {
            -5: 0, -4: 2 / 6, -3: 2 / 6, -2: 4 / 6, -1: 4 / 6, 0: 4 / 6,
            1: 0, 2: 0, 3: 0, 4: 0, 5: 0,
        }  # fmt: skip

    def test_samples_of_no_weight_connect_nothing(self):
        som, X = random_map("hexagonal", "planar", (4, 3)), samples()
        weights = (np.arange(60) % 3 > 0) * 0.7
        _, weighted = topographic_function(som, X, sample_weight=weights)
        _, removed = topographic_function(som, X[weights > 0])
        assert_array_equal(weighted, removed)
        assert (weighted != topographic_function(som, X)[1]).any()

    def test_tiles_change_nothing(self, monkeypatch):
        som = random_map("hexagonal", "planar", (5, 4))
        whole = topographic_function(som, samples())
        monkeypatch.setattr("sklearn_tfsom.metrics._reading._TILE_VALUES", 60)
        assert_array_equal(topographic_function(som, samples()), whole)

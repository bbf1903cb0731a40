"""Topographic product and topographic function: special cases."""

import numpy as np
import pytest
from reference_measures import LATTICES, METRICS, compute_reference, random_map, samples

from sklearn_tfsom import TFSOM
from sklearn_tfsom.metrics import (
    combined_error,
    topographic_error,
    topographic_function,
    topographic_product,
)


@pytest.mark.parametrize("n_samples", [1000, 2000, 3000])
def test_topographic_error_is_at_most_one(n_samples):
    """All samples are in error; the shares of their weights are rounded."""
    som = TFSOM.from_codebook(
        np.array([[0.0], [9], [9], [0]]), grid_size=(1, 4), lattice="rectangular"
    )
    error = topographic_error(som, np.zeros((n_samples, 1)))
    assert error <= 1
    assert error == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("measure", [combined_error, topographic_product])
def test_distances_beyond_the_range_are_refused(measure):
    """The code vectors and their differences are in the range of float64."""
    X = np.resize([-8e307, 8e307, 8e307], (16, 5))
    som = TFSOM.from_codebook(X, grid_size=(4, 4), metric="manhattan")
    arguments = [som, X] if measure is combined_error else [som]
    with pytest.raises(ValueError, match="exceed the range of float64"):
        measure(*arguments)


class TestTopographicProduct:
    @pytest.mark.parametrize("lattice", LATTICES)
    def test_it_is_zero_if_the_codebook_is_the_grid(self, lattice):
        som = random_map(lattice, shape=(6, 5))
        som.codebook_ = 3 * som.unit_positions_ + 7
        assert topographic_product(som) == pytest.approx(0, abs=1e-12)

    def test_it_does_not_depend_on_the_units_of_measurement(self):
        som = random_map(shape=(6, 5))
        expected = topographic_product(som)
        som.codebook_ = som.codebook_ * 1e-8
        assert topographic_product(som) == pytest.approx(expected, rel=1e-9)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 2)])
    def test_map_of_one_or_two_units(self, shape):
        assert topographic_product(random_map(shape=shape)) == 0

    def test_equal_code_vectors_are_not_compared(self):
        som = random_map(shape=(2, 3))
        som.codebook_[5] = som.codebook_[1] = som.codebook_[0]
        expected = compute_reference("topographic_product", som, None, None)
        assert topographic_product(som) == pytest.approx(float(expected), rel=1e-12)
        som.codebook_[:] = som.codebook_[0]
        assert topographic_product(som) == 0

    def test_float32_far_from_zero(self):
        """A chain in a square: distances of 20 roundings and more count."""
        X = np.random.RandomState(0).uniform(size=(500, 2))
        near = TFSOM(grid_size=(1, 64)).fit(X).codebook_
        far = (near + 3e4).astype(np.float32)
        found, expected = (
            topographic_product(TFSOM.from_codebook(each, grid_size=(1, 64)))
            for each in (far, far.astype(np.float64))
        )
        assert found == pytest.approx(expected, abs=1e-3)

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_code_vectors_that_differ_by_rounding_are_equal(self, metric, dtype):
        W = np.random.RandomState(0).normal(size=(12, 3)).astype(dtype)
        codebooks = [np.vstack([W, W]), np.vstack([W, np.nextafter(W, dtype(9))])]
        if metric in ("cosine", "correlation"):
            codebooks.append(np.vstack([W, 3 * W]))
        found = [
            topographic_product(TFSOM.from_codebook(each, grid_size=(6, 4), metric=metric))
            for each in codebooks
        ]
        assert found == pytest.approx([found[0]] * len(found), rel=1e-5)

    @pytest.mark.parametrize("metric", METRICS)
    def test_order_of_the_training_samples(self, metric):
        rng = np.random.RandomState(0)
        X = rng.randint(0, 3, size=(200, 3)) * 0.1 + 0.1
        som = TFSOM((9, 8), metric=metric, neighborhood="cut_gaussian")
        found = [topographic_product(som.fit(rng.permutation(X))) for _ in range(3)]
        assert found == pytest.approx([found[0]] * 3, rel=1e-9)

    def test_dimension_of_the_grid(self):
        """Compare with SOMperf: -.079, -.042, -.013, .001, .012 for its own maps."""
        rng = np.random.RandomState(0)
        X = np.column_stack([rng.normal(0.5, 0.06, size=5000), rng.uniform(size=5000)])
        shapes = [(256, 1), (128, 2), (64, 4), (43, 6), (16, 16)]
        chain, narrow, *wide = [
            topographic_product(TFSOM(shape, lattice="rectangular").fit(X)) for shape in shapes
        ]
        assert chain < narrow < -0.005
        assert np.argmin(np.abs(wide)) == 1
        assert wide[-1] > 0


class TestTopographicFunction:
    def test_lags(self):
        for shape, expected in [((1, 1), [0]), ((1, 3), [-2, -1, 0, 1, 2])]:
            lags, values = topographic_function(random_map(shape=shape), samples())
            assert lags.tolist() == expected
            assert len(values) == len(expected)

    def test_chain_along_a_line(self):
        som = TFSOM((1, 6), max_iter=1, radius_decay=[1.0]).fit([[0.0], [3.0]])
        som.codebook_ = np.arange(6.0)[:, None]
        _, values = topographic_function(som, np.linspace(0, 5, 50)[:, None])
        assert not values.any()

    def test_folded_chain_by_hand(self):
        """Check a chain whose ends, three steps apart, are neighbors in data space."""
        codebook = np.array([[0.0, 0], [0, 1], [1, 1], [1, 0]])
        som = TFSOM((1, 4), max_iter=1, radius_decay=[1.0]).fit(codebook)
        som.codebook_ = codebook
        lags, values = topographic_function(som, [[0.0, 0.4], [0.4, 1], [1, 0.6], [0.4, 0]])
        assert lags.tolist() == [-3, -2, -1, 0, 1, 2, 3]
        assert values.tolist() == [0, 0, 0, 0.5, 0.5, 0.5, 0]

    def test_sheet_along_a_line_by_hand(self):
        """Check a map of two rows whose code vectors are along a line."""
        som = TFSOM((2, 3), lattice="rectangular", max_iter=1, radius_decay=[1.0])
        som.fit([[0.0], [3.0]])
        som.codebook_ = np.array([[0.0], [1], [2], [5], [4], [3]])
        lags, values = topographic_function(som, np.linspace(0, 5, 50)[:, None])
        # In data space, units 0 and 3 are 5 steps apart, 1 and 4 are 3; 2 and 5 are neighbors.
        assert lags.tolist() == list(range(-5, 6))
        expected = [0, 2 / 6, 2 / 6, 4 / 6, 4 / 6, 4 / 6, 0, 0, 0, 0, 0]
        assert values.tolist() == expected

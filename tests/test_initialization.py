import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA

from sklearn_tfsom import TFSOM
from sklearn_tfsom._data.moments import principal_plane
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.initialization import automatic_shape, initial_codebook


def ones(X):
    return np.ones(len(X))


@pytest.mark.parametrize("shape", [(50, 4), (4, 50), (3, 2)])
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30, 1e150])
def test_the_principal_plane_is_that_of_pca(shape, offset, scale):
    rng = np.random.RandomState(0)
    # A diagonal stretch keeps the eigenvalues apart.
    X = rng.normal(size=shape) * np.linspace(3, 1, shape[1])
    plane = principal_plane(Samples((X + offset) * scale), ones(X))
    pca = PCA(2).fit(X)
    assert_allclose(plane.mean, (X.mean(axis=0) + offset) * scale, rtol=1e-12)
    assert plane.spread == pytest.approx(np.sqrt(X.var(axis=0).sum()) * scale, rel=1e-8)
    expected = pca.explained_variance_ * (1 - 1 / len(X))
    assert_allclose(plane.deviations, np.sqrt(expected) * scale, rtol=1e-6)
    cosines = np.abs(np.sum(plane.directions * pca.components_, axis=1))
    assert_allclose(cosines, 1, rtol=1e-8)


def test_the_sign_of_a_direction_is_settled():
    X = np.random.RandomState(0).normal(size=(40, 3)) @ np.diag([3, 2, 1])
    plane, mirrored = principal_plane(Samples(X), ones(X)), principal_plane(Samples(-X), ones(X))
    assert_allclose(plane.directions, mirrored.directions, atol=1e-12)
    # Equally large components: the first of them decides, not rounding.
    line = np.random.RandomState(1).normal(size=(30, 1)) * [[1.0, -1.0]]
    assert principal_plane(Samples(line), ones(line)).directions[0, 0] > 0
    assert principal_plane(Samples(-line * (1 + 1e-15)), ones(line)).directions[0, 0] > 0


@pytest.mark.parametrize("n_directions", [0, 2])
def test_weights_are_repetitions_for_the_principal_plane(n_directions):
    rng = np.random.RandomState(0)
    X, counts = rng.normal(size=(30, 4)), rng.randint(1, 4, size=30)
    repeated = np.repeat(X, counts, axis=0)
    weighted = principal_plane(Samples(X), counts.astype(float), n_directions)
    for a, b in zip(
        weighted, principal_plane(Samples(repeated), ones(repeated), n_directions), strict=True
    ):
        assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_degenerate_data_have_no_directions():
    constant = principal_plane(Samples(np.full((5, 3), 7.0)), np.ones(5))
    assert constant.spread == 0
    assert not constant.deviations.any()
    assert_array_equal(constant.mean, 7)
    line = principal_plane(Samples(np.outer(np.arange(9.0), [1, 2, 2])), np.ones(9))
    assert_allclose(line.directions, [[1 / 3, 2 / 3, 2 / 3], [0, 0, 0]], atol=1e-12)
    assert line.deviations[1] == 0


def test_the_automatic_size_of_degenerate_data_is_square():
    assert automatic_shape(100, np.zeros(2), "rectangular") == (7, 7)
    assert automatic_shape(1, np.zeros(2), "rectangular") == (3, 2)
    n_rows, n_columns = automatic_shape(400, np.array([1.0, 0.0]), "hexagonal")
    assert (n_rows, n_columns) == (11, 9)  # no second direction: as if there were two alike


@pytest.mark.parametrize("lattice", ["hexagonal", "rectangular"])
def test_the_automatic_size_follows_the_data(lattice):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(500, 3)) * [8, 2, 0.1]
    som = TFSOM(lattice=lattice, max_iter=2).fit(X)
    n_rows, n_columns = som.grid_shape_
    assert abs(n_rows * n_columns - 5 * np.sqrt(500)) <= 10
    length = n_rows * (np.sqrt(0.75) if lattice == "hexagonal" else 1)
    assert length / n_columns == pytest.approx(4, rel=0.25)


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (5, 5), (1, 6), (6, 1), (1, 1)])
def test_the_pca_start_spans_the_plane(shape):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(60, 3)) * [3, 2, 1]
    plane = principal_plane(Samples(X), ones(X))
    codebook = initial_codebook("pca", Grid(*shape), Samples(X), ones(X), plane, None)
    along = (codebook - plane.mean) @ plane.directions.T / plane.deviations
    along = along.reshape(*shape, 2)
    first, second = (0, 1) if shape[0] >= shape[1] else (1, 0)
    for axis, place in ((first, 0), (second, 1)):
        expected = np.linspace(-1, 1, shape[axis]) if shape[axis] > 1 else np.zeros(1)
        expected = np.expand_dims(expected, 1 - axis)
        assert_allclose(along[..., place], np.broadcast_to(expected, shape), atol=1e-12)


def test_sample_draws_rows_in_any_order_of_the_rows():
    rng = np.random.RandomState(0)
    X, weights = rng.normal(size=(80, 3)), rng.uniform(0.1, 3, size=80)
    shuffle = rng.permutation(80)

    def draw(X, weights, seed=0):
        state = np.random.RandomState(seed)
        return initial_codebook(
            "sample", Grid(4, 4), Samples(X), weights, principal_plane(Samples(X), weights), state
        )

    drawn = draw(X, weights)
    assert {tuple(row) for row in drawn} <= {tuple(row) for row in X}
    assert_array_equal(draw(X[shuffle], weights[shuffle]), drawn)
    assert (draw(X, weights, seed=1) != drawn).any()
    heavy = np.where(np.arange(80) == 5, 1e6, 1e-6)
    assert_array_equal(draw(X, heavy), np.tile(X[5], (16, 1)))


def test_sample_with_weights_draws_what_repetition_draws():
    rng = np.random.RandomState(0)
    X, counts = rng.normal(size=(50, 3)), rng.randint(1, 5, size=50)
    repeated = np.repeat(X, counts, axis=0)
    shuffled = rng.permutation(repeated)
    for seed in range(5):
        draws = [
            initial_codebook(
                "sample",
                Grid(5, 4),
                Samples(data),
                w,
                principal_plane(Samples(data), w),
                np.random.RandomState(seed),
            )
            for data, w in [(X, counts.astype(float)), (shuffled, ones(shuffled))]
        ]
        assert_array_equal(*draws)


@pytest.mark.parametrize("offset", [0.0, 1e300])
def test_random_stays_in_the_box_of_the_data(offset):
    X = np.random.RandomState(0).normal(size=(30, 2)) * [1, 100] - offset
    state = np.random.RandomState(0)
    codebook = initial_codebook("random", Grid(20, 20), Samples(X), ones(X), None, state)
    assert (codebook >= X.min(axis=0)).all()
    assert (codebook <= X.max(axis=0)).all()
    assert len(np.unique(codebook[:, 1])) > 100 or offset

"""Neighborhoods, radius schedules and the end of training."""

import gc
import tracemalloc

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_tfsom import TFSOM, Grid
from sklearn_tfsom._map.neighborhood import NEIGHBORHOODS
from sklearn_tfsom.distributed import UnitStatistics, update_codebook

LATTICES = ("hexagonal", "rectangular")
BOUNDARIES = ("planar", "cylindrical", "toroidal")

every_neighborhood = pytest.mark.parametrize("name", NEIGHBORHOODS)


def zero(squared_distances, radius):
    """Return a neighborhood of zeros: code vectors do not move."""
    return np.zeros(squared_distances.shape)


def test_every_neighborhood_has_a_reference():
    assert set(reference.NEIGHBORHOODS) == set(NEIGHBORHOODS)


@every_neighborhood
@pytest.mark.parametrize("radius", [0.5, 1.0, 3.7])
def test_formula_equals_its_reference(name, radius):
    distances = np.linspace(0, 8, 33)
    expected = [reference.NEIGHBORHOODS[name](d, radius) for d in distances]
    found = NEIGHBORHOODS[name].formula(distances**2, radius)
    assert_allclose(found, expected, rtol=1e-12, atol=1e-300)


@every_neighborhood
def test_neighborhood_is_one_at_zero_and_decreases(name):
    distances = np.linspace(0, 2.0 if name == "mexican_hat" else 10.0, 50)
    values = NEIGHBORHOODS[name].formula(distances**2, 2.0)
    assert values[0] == 1
    assert (np.diff(values) <= 0).all()
    assert values[-1] < 1


@every_neighborhood
@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 4), (4, 3)])
def test_update_codebook_equals_a_matrix_product(name, lattice, boundary, shape):
    rng = np.random.RandomState(0)
    n_units, radius = shape[0] * shape[1], 1.5
    sums, counts = rng.normal(size=(n_units, 3)), rng.uniform(0.5, 2, size=(n_units, 1))
    H = reference.neighborhood_matrix(shape, lattice, boundary, name, radius)
    updated = update_codebook(
        rng.normal(size=(n_units, 3)),
        UnitStatistics(sums, counts, error=0.0),
        Grid(*shape, lattice, boundary),
        radius,
        neighborhood=name,
    )
    # Where positive and negative weights of "mexican_hat" nearly cancel, rounding dominates.
    is_stable = np.abs(H @ counts) > 0.01 * np.abs(H) @ counts
    assert is_stable.mean() > (0.5 if name == "mexican_hat" else 0.999)
    assert_allclose(updated * (H @ counts), H @ sums, atol=1e-12 / 0.01)
    expected = (H @ sums)[is_stable[:, 0]] / (H @ counts)[is_stable[:, 0]]
    assert_allclose(updated[is_stable[:, 0]], expected, rtol=1e-11, atol=1e-12)


@every_neighborhood
@pytest.mark.parametrize(
    ("lattice", "boundary"), [("hexagonal", "planar"), ("rectangular", "cylindrical")]
)
def test_partial_fit_equals_the_slow_reference(name, lattice, boundary):
    rng = np.random.RandomState(0)
    X, start, shape = rng.normal(size=(80, 3)), rng.normal(size=(20, 3)), (5, 4)
    # "mexican_hat" divides by sums that nearly cancel: rounding grows with each mini-batch.
    calls = [5, 5] if name == "mexican_hat" else [5, 20, 1, 54]
    som = TFSOM(
        shape,
        lattice=lattice,
        boundary=boundary,
        neighborhood=name,
        init=start,
        radius_start=2.5,
        radius_end=1.2,
    )
    radii, n_seen = [], 0
    for n_samples in calls:
        som.partial_fit(X[n_seen : n_seen + n_samples])
        n_seen += n_samples
        radii += som.history_["radius"].tolist()
    codebook, expected_radii = reference.learn_stream(
        X, start, calls, (2.5, 1.2), shape, lattice, boundary, name
    )
    assert_allclose(radii, expected_radii)
    assert_allclose(som.codebook_, codebook, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("weight", [1.0, 0.1, 1e-7])
def test_units_where_weights_cancel_out_stay(weight):
    corners = np.array([[0, 0], [10, 1], [1, 10], [10, 11]])
    X = np.repeat(corners, 5, axis=0) + np.random.RandomState(0).normal(size=(20, 2)) * 0.01
    som = TFSOM(
        (2, 2),
        lattice="rectangular",
        neighborhood=lambda squared, radius: np.where(squared == 0, 0.3, -0.1),
        init=corners,
        radius_decay=[1.0],
        max_iter=1,
    )
    som.fit(X, sample_weight=np.full(20, weight))
    assert_allclose(som.codebook_, corners, atol=1e-12)


@pytest.mark.parametrize("shape, boundary", [((200, 200), "planar"), ((301, 30), "toroidal")])
def test_large_gaussian_map_is_smoothed_without_a_matrix_of_all_pairs(shape, boundary):
    grid, rng = Grid(*shape, boundary=boundary), np.random.RandomState(0)
    codebook = rng.normal(size=(grid.n_units, 2))
    statistics = UnitStatistics(codebook, np.ones((grid.n_units, 1)), error=0.0)
    update_codebook(codebook, statistics, grid, 3.0)  # imports modules
    tracemalloc.start()
    try:
        update_codebook(codebook, statistics, grid, 3.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * grid.n_units**2 / 100


def get_radii(X, **parameters):
    """Return the radius of each epoch of a fit that uses all epochs."""
    som = TFSOM(tol=0, **parameters).fit(X)
    assert som.n_iter_ == som.max_iter
    return som.history_["radius"]


@pytest.fixture(scope="module", name="X")
def normal_samples():
    return np.random.RandomState(0).normal(size=(2000, 3))


@pytest.mark.parametrize("name", ["epanechnikov", "mexican_hat"])
@pytest.mark.parametrize("radius", [2**0.5, 5**0.5, 10**0.5])
def test_weight_is_zero_at_the_radius(name, radius):
    """The fourth unit is at a distance of the radius: it stays where it is."""
    shape = {2: (2, 2), 5: (2, 3), 10: (2, 4)}[round(radius**2)]
    init = 10.0 * np.arange(np.prod(shape))[:, None]
    som = TFSOM(
        shape,
        lattice="rectangular",
        neighborhood=name,
        init=init,
        radius_decay=[radius],
        max_iter=1,
    )
    assert som.fit(np.zeros((5, 1))).codebook_[-1] == init[-1]


@pytest.mark.parametrize("decay", ["exponential", "linear"])
def test_constant_radius_is_constant(X, decay):
    som = TFSOM(4, radius_start=5, radius_end=5, radius_decay=decay).fit(X)
    assert (som.history_["radius"] == 5).all()
    som.partial_fit(X)
    assert (som.history_["radius"] == 5).all()


def test_radius_decreases_then_stays_constant(X):
    shape = {"grid_size": (40, 3), "max_iter": 20}
    radii = get_radii(X, **shape)
    assert_allclose(radii, [*np.geomspace(40 / 6, 0.85, 16), *[0.85] * 4])
    radii = get_radii(X, radius_decay="linear", radius_start=4, radius_end=0.5, **shape)
    assert_allclose(radii, [*np.linspace(4, 0.5, 16), *[0.5] * 4])


@every_neighborhood
@pytest.mark.parametrize("max_iter", [1, 2, 3, 10])
@pytest.mark.parametrize("init", ["pca", "random"])
def test_automatic_radii_decrease_and_reach_the_neighbors(X, name, max_iter, init):
    radii = get_radii(
        X,
        grid_size=(12, 4),
        neighborhood=name,
        max_iter=max_iter,
        init=init,
        random_state=0,
    )
    assert (np.diff(radii) <= 0).all()
    direct = reference.NEIGHBORHOODS[name](1.0, radii[-1])
    # As much as under the Gaussian, about; the Mexican hat is 0 at its radius.
    assert 0.4 <= direct <= 1 or (name == "mexican_hat" and direct == 0)


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [("auto", 3.0, 3.0, 3.0), (0.5, "auto", 0.5, 0.5), (6, 2, 6, 2), (2.0, 2.0, 2.0, 2.0)],
)
def test_automatic_radii_adapt_to_given_ones(X, start, end, first, last):
    radii = get_radii(
        X,
        grid_size=(10, 3),
        max_iter=8,
        radius_decay="linear",
        radius_start=start,
        radius_end=end,
    )
    assert (radii[0], radii[-1]) == (first, last)


@pytest.mark.parametrize(
    ("radii", "n_iter"),
    [([2.0], 1), ([1.0, 1.0, 1.0], 1), ([3.0, 2.0, 1.0], 3), ([3.0, 1.0, 1.0, 1.0], 2)],
)
def test_training_without_movement_stops_when_the_radius_has_reached_its_end(X, radii, n_iter):
    som = TFSOM(3, neighborhood=zero, radius_decay=radii, max_iter=len(radii))
    assert som.fit(X).n_iter_ == n_iter


def test_training_stops_only_after_the_radius_has_reached_its_end(iris):
    same = np.repeat(iris[:1], 10, axis=0)  # nothing moves from the second epoch on
    assert TFSOM(3, max_iter=20).fit(same).n_iter_ == 16
    assert TFSOM(3, radius_decay=[3, 2, 1, 1, 1], max_iter=5).fit(same).n_iter_ == 3
    stopped = TFSOM(5, max_iter=200, tol=1e-4).fit(iris)
    assert 160 <= stopped.n_iter_ < 200
    longer = TFSOM(5, max_iter=200, tol=0).fit(iris)
    spread = np.sqrt(iris.var(axis=0).sum())
    assert np.abs(longer.codebook_ - stopped.codebook_).max() < 0.01 * spread
    assert stopped.n_iter_ <= longer.n_iter_


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
@pytest.mark.parametrize("tol", [0.1, 0.01, 0.001])
def test_training_stops_at_the_first_movement_within_the_tolerance(iris, scale, tol):
    X, start = iris * scale, (iris[::6] + 0.1) * scale
    spread = np.sqrt(iris.var(axis=0).sum())
    codebook, n_iter, movement = start, 0, np.inf
    while movement > tol * spread:
        n_iter += 1
        som = TFSOM(5, init=start, radius_decay=np.ones(n_iter), max_iter=n_iter, tol=0).fit(X)
        moves = (som.codebook_ - codebook) / scale
        movement = np.sqrt(np.square(moves).sum(axis=1).mean())
        codebook = som.codebook_
    assert n_iter > 1
    som = TFSOM(5, init=start, radius_decay=np.ones(50), max_iter=50, tol=tol).fit(X)
    assert som.n_iter_ == n_iter


def test_history_has_one_entry_per_epoch(iris):
    som = TFSOM(5, max_iter=12, tol=0).fit(iris)
    assert set(som.history_) == {"radius", "quantization_error"}
    assert_array_equal([len(values) for values in som.history_.values()], som.n_iter_)
    start = TFSOM(5, max_iter=1).fit(iris)
    resumed = TFSOM(5, init=start.codebook_, radius_decay=[1.0], max_iter=1).fit(iris)
    assert resumed.history_["quantization_error"][0] == pytest.approx(
        start.quantization_error_, rel=1e-5
    )


def test_verbose_prints_one_line_per_epoch(iris, capsys):
    som = TFSOM(4, max_iter=6, verbose=1).fit(iris)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == som.n_iter_
    assert lines[0].startswith("[TFSOM] epoch 1/6: radius 1")
    TFSOM(4, max_iter=6).fit(iris)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("neighborhood", ["gaussian", "bubble"])
def test_kernels_are_freed_at_once(X, neighborhood):
    """Without the garbage collector, which may be off; each takes 1.5 MB here."""
    som = TFSOM(60, lattice="rectangular", neighborhood=neighborhood).partial_fit(X)
    gc.disable()
    try:
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            som.partial_fit(X)
        assert tracemalloc.get_traced_memory()[0] - before < 2**20
    finally:
        tracemalloc.stop()
        gc.enable()

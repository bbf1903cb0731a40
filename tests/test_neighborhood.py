import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_tfsom import TFSOM
from sklearn_tfsom._map.grid import BOUNDARIES, LATTICES, Grid
from sklearn_tfsom._map.neighborhood import NEIGHBORHOODS, kernels
from sklearn_tfsom._map.schedules import n_epochs_to_end, radius_schedule
from sklearn_tfsom._tf.startup import tensorflow_core

every_neighborhood = pytest.mark.parametrize("name", NEIGHBORHOODS)


@every_neighborhood
@pytest.mark.parametrize("radius", [0.5, 1.0, 3.7])
def test_a_neighborhood_is_its_formula(name, radius):
    distances = np.linspace(0, 8, 33)
    expected = [reference.NEIGHBORHOODS[name](d, radius) for d in distances]
    assert_allclose(NEIGHBORHOODS[name](distances**2, radius), expected, rtol=1e-12, atol=1e-300)


@every_neighborhood
def test_a_neighborhood_starts_at_one_and_falls(name):
    distances = np.linspace(0, 2.0 if name == "mexican_hat" else 10.0, 50)
    values = NEIGHBORHOODS[name](distances**2, 2.0)
    assert values[0] == 1
    assert (np.diff(values) <= 0).all()
    assert values[-1] < 1


@every_neighborhood
@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 4), (6, 5)])
def test_smoothing_is_a_product_with_h(name, lattice, boundary, shape):
    import tensorflow as tf

    grid = Grid(*shape, lattice, boundary)
    kernel = kernels(grid, name)(1.5)
    tensorflow_core()
    from sklearn_tfsom._tf import smoothing

    smooth = smoothing.smoother(*map(tf.constant, kernel))
    values = np.random.RandomState(0).normal(size=(*shape, 3))
    H = reference.neighborhood_matrix(shape, lattice, boundary, name, 1.5)
    values = values.reshape(-1, 3)
    assert_allclose(smooth(tf.constant(values)), H @ values, atol=1e-12)


def test_a_large_gaussian_map_needs_no_matrix_of_all_pairs():
    kernel = kernels(Grid(200, 200), "gaussian")(3.0)
    assert sum(part.size for part in kernel) == 200**2 + 4 * 200**2


def test_the_radius_falls_then_holds():
    arguments = {"max_iter": 20, "neighborhood": "gaussian", "n_across": 40, "ordered_start": True}
    radii = radius_schedule("exponential", start="auto", end="auto", **arguments)
    assert_allclose(radii, [*np.geomspace(40 / 6, 0.85, 16), *[0.85] * 4])
    assert n_epochs_to_end(radii) == 16
    radii = radius_schedule("linear", start=4, end=0.5, **arguments)
    assert_allclose(radii, [*np.linspace(4, 0.5, 16), *[0.5] * 4])


@pytest.mark.parametrize("name", NEIGHBORHOODS)
@pytest.mark.parametrize("max_iter", [1, 2, 3, 10])
@pytest.mark.parametrize("ordered_start", [True, False])
def test_automatic_radii_fall_and_reach_the_neighbors(name, max_iter, ordered_start):
    radii = radius_schedule(
        "exponential",
        max_iter=max_iter,
        start="auto",
        end="auto",
        neighborhood=name,
        n_across=12,
        ordered_start=ordered_start,
    )
    assert len(radii) == max_iter
    assert (np.diff(radii) <= 0).all()
    direct = NEIGHBORHOODS[name](np.array(1.0), radii[-1])
    assert direct > 0 or (name == "mexican_hat" and direct == 0)


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [("auto", 3.0, 3.0, 3.0), (0.5, "auto", 0.5, 0.5), (6, 2, 6, 2), (2.0, 2.0, 2.0, 2.0)],
)
def test_automatic_radii_give_way_to_given_ones(start, end, first, last):
    radii = radius_schedule(
        "linear",
        max_iter=8,
        start=start,
        end=end,
        neighborhood="gaussian",
        n_across=10,
        ordered_start=True,
    )
    assert (radii[0], radii[-1]) == (first, last)


def test_epochs_to_the_end_of_a_given_schedule():
    assert n_epochs_to_end(np.array([2.0])) == 1
    assert n_epochs_to_end(np.array([1.0, 1.0, 1.0])) == 1
    assert n_epochs_to_end(np.array([3.0, 2.0, 1.0])) == 3
    assert n_epochs_to_end(np.array([3.0, 1.0, 1.0, 1.0])) == 2


def test_training_stops_only_after_the_radius_has_reached_its_end(iris):
    same = np.repeat(iris[:1], 10, axis=0)  # nothing moves from the second epoch on
    assert TFSOM(3, max_iter=20).fit(same).n_iter_ == 16
    assert TFSOM(3, radius_decay=[3, 2, 1, 1, 1], max_iter=5).fit(same).n_iter_ == 3
    settled = TFSOM(5, max_iter=200, tol=1e-4).fit(iris)
    assert 160 <= settled.n_iter_ < 200
    longer = TFSOM(5, max_iter=200, tol=0).fit(iris)
    spread = np.sqrt(iris.var(axis=0).sum())
    assert np.abs(longer.codebook_ - settled.codebook_).max() < 0.01 * spread
    assert settled.n_iter_ <= longer.n_iter_


def test_the_history_has_one_entry_per_epoch(iris):
    som = TFSOM(5, max_iter=12, tol=0).fit(iris)
    assert set(som.history_) == {"radius", "quantization_error"}
    assert_array_equal([len(values) for values in som.history_.values()], som.n_iter_)
    start = TFSOM(5, max_iter=1).fit(iris)
    resumed = TFSOM(5, init=start.codebook_, radius_decay=[1.0], max_iter=1).fit(iris)
    assert resumed.history_["quantization_error"][0] == pytest.approx(
        start.quantization_error_, rel=1e-5
    )


def test_verbose_prints_a_line_per_epoch(iris, capsys):
    som = TFSOM(4, max_iter=6, verbose=1).fit(iris)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == som.n_iter_
    assert lines[0].startswith("[TFSOM] epoch 1/6: radius 1")
    TFSOM(4, max_iter=6).fit(iris)
    assert capsys.readouterr().out == ""

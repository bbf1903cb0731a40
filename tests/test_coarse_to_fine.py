"""Coarse-to-fine training equals its slow reference, searches less, and gives as good maps."""

import itertools

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits

from sklearn_tfsom import TFSOM
from sklearn_tfsom._data.moments import compute_moments
from sklearn_tfsom._data.pieces import Pieces
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._distance import METRICS
from sklearn_tfsom._map.geometry import blur, coarsened, seam_shift, separated
from sklearn_tfsom._map.grid import BOUNDARIES, LATTICES, Grid
from sklearn_tfsom._map.schedules import grid_schedule, radius_schedule
from sklearn_tfsom._plan import make_plan
from sklearn_tfsom._training import train, trained_codebook
from sklearn_tfsom.metrics import topographic_error

RADII = [4.0, 2.7, 1.9, 1.3, 1.0, 1.0]


def default_radii(shape):
    return radius_schedule(
        "exponential",
        max_iter=20,
        start="auto",
        end="auto",
        neighborhood="gaussian",
        n_across=max(shape),
        ordered_start=True,
    )


def pieces_of(X):
    return Pieces(Samples(X, METRICS["euclidean"]), np.ones(len(X)))


def principal_axes(X):
    moments = compute_moments(pieces_of(X))
    return moments.deviations[:, None] * moments.directions


@pytest.mark.parametrize(
    ("lattice", "boundary", "shape"),
    [
        *itertools.product(["hexagonal"], BOUNDARIES, [(8, 5)]),
        *itertools.product(["rectangular"], BOUNDARIES, [(4, 9)]),
        ("hexagonal", "planar", (5, 9)),
        ("hexagonal", "planar", (8, 10)),  # the coarser grid of the start has as many rows
    ],
)
def test_training_equals_the_slow_reference(blobs, lattice, boundary, shape):
    grids = grid_schedule(Grid(*shape, lattice, boundary), np.array(RADII))
    shapes = [grid.shape for grid in grids] + [shape]
    assert len(set(shapes)) >= 3
    axes = principal_axes(blobs)
    expected = reference.train_coarse_to_fine(blobs, axes, RADII, shapes, lattice, boundary)
    setting = {"lattice": lattice, "boundary": boundary, "radius_decay": RADII, "tol": 0}
    som = TFSOM(shape, max_iter=len(RADII), **setting).fit(blobs)
    assert_allclose(som.codebook_, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(6, 5), (5, 4), (1, 9), (9, 1), (2, 2), (1, 1)])
@pytest.mark.parametrize("spacing", [1.0, 1.5, 3.0, 100.0])
def test_a_coarser_grid_spans_the_same_plane(lattice, boundary, shape, spacing):
    whole = Grid(*shape, lattice, boundary)
    coarse = coarsened(whole, spacing)
    assert coarse.n_rows <= whole.n_rows and coarse.n_columns <= whole.n_columns
    assert (coarse.n_rows > 1, coarse.n_columns > 1) == (shape[0] > 1, shape[1] > 1)
    if spacing == 1:
        assert coarse == whole
    if seam_shift(whole):
        assert (lattice, boundary, shape[0] % 2) == ("hexagonal", "toroidal", 1)
        return
    rows, columns = separated(whole, whole, coarse, is_mirrored=False)
    p, q, *_ = columns.shape
    places = [
        np.array(reference.stretched_positions(each, shape, lattice, boundary))
        for each in (shape, coarse.shape)
    ]
    for unit, place in enumerate(places[0]):
        r, c = divmod(unit, whole.n_columns)
        for other, there in enumerate(places[1]):
            s, e = divmod(other, coarse.n_columns)
            expected = reference.distance(place, there, shape, lattice, boundary) ** 2
            assert rows[r, s] + columns[r % p, s % q, c, e] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_blur_of_a_coarser_grid_is_the_variance_of_its_wider_cells(lattice, boundary):
    """Variance of places around the units that they are nearest to, on both grids."""
    shape = (24, 20)
    whole = Grid(*shape, lattice, boundary)
    coarse = coarsened(whole, 2.0)
    assert coarse.n_units < whole.n_units / 3

    def variances(grid):
        # Cells of a stretched grid are stretched themselves: "nearest" is before that.
        along = np.array(reference.stretch(grid.shape, shape, lattice, boundary))
        units = np.array(reference.stretched_positions(grid.shape, shape, lattice, boundary))
        period = along * [1, 2 if lattice == "rectangular" else np.sqrt(3)]
        shares = (np.arange(60) + 0.5) / 60
        places = 8 + np.stack(np.meshgrid(shares, shares), axis=2).reshape(-1, 2) * period
        nearest = np.argmin(np.sum(((places[:, None] - units) / along) ** 2, axis=2), axis=1)
        return np.mean((places - units[nearest]) ** 2, axis=0)

    columns, rows = variances(coarse) - variances(whole)
    assert_allclose(blur(whole, coarse), [rows, columns], rtol=5e-3)
    assert blur(whole, whole) == (0, 0)
    rows, columns = blur(*(Grid(1, n, lattice, boundary) for n in (9, 5)))
    stretch = 2 if boundary == "planar" else 9 / 5
    assert (rows, columns) == (0, pytest.approx((stretch**2 - 1) / 12))


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_radius_is_wider_than_the_blur_of_its_grid(lattice, boundary):
    radii = np.append(np.geomspace(30, 0.5, 60), 0.5)
    for shape in itertools.product([1, 2, 3, 5, 8, 20], repeat=2):
        whole = Grid(*shape, lattice, boundary)
        for grid, radius in zip(grid_schedule(whole, radii), radii, strict=True):
            assert max(blur(whole, grid)) < 0.3 * radius**2


@pytest.mark.parametrize(("shape", "share"), [((20, 20), 0.6), ((50, 40), 0.45)])
def test_the_default_schedule_searches_less(shape, share):
    grids = grid_schedule(Grid(*shape), default_radii(shape))
    searched = np.mean([grid.n_units for grid in grids]) / Grid(*shape).n_units
    assert 0.2 < searched <= share
    assert all(grid == Grid(*shape) for grid in grids[15:])


def test_an_epoch_at_the_last_radius_searches_the_whole_map():
    grid = Grid(12, 9)
    assert grid_schedule(grid, np.array([3.0, 3.0, 3.0])) == [grid] * 3
    coarse, *whole = grid_schedule(grid, np.array([6.0, 3.0, 3.0]))
    assert coarse.n_units < grid.n_units / 4
    assert whole == [grid] * 2


@pytest.mark.parametrize("radii", [[0.01, 5, 1, 1], [1, 0.01, 3, 1], [4, 0.5, 4, 2, 3, 0.9]])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_radii_may_rise(radii, boundary):
    """A grid never becomes coarser: a narrow neighborhood would not reach all of its units."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(300, 4)) * [3, 2, 1, 1]
    units = [grid.n_units for grid in grid_schedule(Grid(12, 9), np.array(radii))]
    assert units == sorted(units)
    one, other = (
        TFSOM(
            (12, 9),
            radius_decay=radii,
            max_iter=len(radii),
            boundary=boundary,
            coarse_to_fine=value,
        ).fit(X)
        for value in (True, False)
    )
    assert np.isfinite(one.history_["quantization_error"]).all()
    assert one.quantization_error_ < 1.1 * other.quantization_error_


@pytest.mark.parametrize(
    "setting",
    [
        {"neighborhood": "epanechnikov"},
        {"neighborhood": lambda squared, radius: np.exp(-squared / (2 * radius**2))},
        {"init": "sample", "random_state": 0},
        {"grid_size": (11, 10), "boundary": "toroidal"},
        {"radius_start": 0.8, "radius_end": 0.8},
    ],
)
def test_no_effect_with_other_settings(blobs, setting):
    setting = {"grid_size": (12, 10), **setting}
    one, other = (TFSOM(**setting, coarse_to_fine=value).fit(blobs) for value in (True, False))
    assert_array_equal(one.codebook_, other.codebook_)
    assert_array_equal(one.labels_, other.labels_)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_errors_are_about_those_of_the_whole_map(dtype):
    X = load_digits().data.astype(dtype)
    one, other = (TFSOM(15, coarse_to_fine=value).fit(X) for value in (True, False))
    assert np.abs(one.codebook_ - other.codebook_).max() > 0.1
    assert one.quantization_error_ <= 1.005 * other.quantization_error_
    assert topographic_error(one, X) <= topographic_error(other, X) + 0.01


@pytest.mark.parametrize("setting", [{"grid_size": (40, 3)}, {"boundary": "toroidal"}], ids=str)
def test_narrow_and_joined_maps_are_about_as_good(setting):
    X = load_digits().data
    setting = {"grid_size": (14, 12), **setting}
    one, other = (TFSOM(**setting, coarse_to_fine=value).fit(X) for value in (True, False))
    assert one.quantization_error_ <= 1.05 * other.quantization_error_


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_map_after_a_coarse_epoch_is_the_whole_map(blobs, boundary):
    """A callback may read the map, or stop, in any epoch."""
    shape = (8, 6)
    whole = Grid(*shape, boundary=boundary)
    params = {"radius_decay": RADII, "max_iter": len(RADII), "boundary": boundary}
    plan = make_plan(TFSOM(shape, **params), pieces_of(blobs))
    shapes = [grid.shape for grid in grid_schedule(whole, np.array(RADII))]
    n_coarse = 0
    for n, epoch in enumerate(train(plan, 0, None), start=1):
        n_coarse += epoch.stage.grid != whole
        expected = reference.train_coarse_to_fine(
            blobs, principal_axes(blobs), RADII[:n], [*shapes[:n], shape], "hexagonal", boundary
        )
        codebook = trained_codebook(plan, epoch)
        assert_allclose(codebook, expected, rtol=1e-9, atol=1e-9)
    assert 1 < n_coarse < len(RADII)


def test_resumed_training_equals_training_at_once(blobs):
    """From any epoch on, also from where a stage ends."""
    plan = make_plan(TFSOM((12, 8), radius_decay=RADII, max_iter=6), pieces_of(blobs))
    epochs = list(train(plan, 0, None))
    for n_done in range(1, 6):
        resumed = list(train(plan, n_done, epochs[n_done - 1].following))
        assert [epoch.n_epochs for epoch in resumed] == list(range(n_done + 1, 7))
        for epoch, other in zip(epochs[n_done:], resumed, strict=True):
            assert_allclose(epoch.state.codebook, other.state.codebook, rtol=1e-12, atol=1e-12)


def test_units_without_samples_in_reach_are_interpolated():
    """A radius so small that the neighborhood is 0 in floating point half a map away."""
    rng = np.random.RandomState(0)
    X = np.vstack([rng.normal(size=(50, 2)), 1e6 + rng.normal(size=(50, 2))])
    som = TFSOM((90, 2), radius_decay=[1.3, 1.0], max_iter=2).fit(X)
    assert np.isfinite(som.codebook_).all()
    assert (som.codebook_ >= X.min(axis=0) - 1).all()
    assert (som.codebook_ <= X.max(axis=0) + 1).all()

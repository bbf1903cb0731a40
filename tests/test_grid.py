"""Positions, distances and neighbors on the grid."""

import itertools
import math

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_tfsom import Grid, InvalidParameterError
from sklearn_tfsom._map.geometry import kinds_of_rows, seam_shift, separated
from sklearn_tfsom.distributed import UnitStatistics, update_codebook

LATTICES = ("hexagonal", "rectangular")
BOUNDARIES = ("planar", "cylindrical", "toroidal")
SHAPES = [(1, 1), (1, 6), (6, 1), (2, 3), (3, 2), (4, 5), (5, 4), (3, 12), (7, 7)]
GRIDS = [
    Grid(*shape, lattice, boundary)
    for shape, lattice, boundary in itertools.product(SHAPES, LATTICES, BOUNDARIES)
]
all_grids = pytest.mark.parametrize("grid", GRIDS, ids=str)


def compute_squared_distances(grid):
    """Return the matrix of all squared grid distances."""
    units = np.arange(grid.n_units)
    return grid.squared_distances(units[:, None], units)


def test_equal_names_make_equal_grids():
    grid = Grid(2, 3, np.str_("hexagonal"), np.str_("toroidal"))
    assert repr(grid) == repr(Grid(2, 3, "hexagonal", "toroidal"))


@all_grids
def test_distances_equal_the_reference(grid):
    units = [divmod(unit, grid.n_columns) for unit in range(grid.n_units)]
    expected = [
        [reference.grid_distance(a, b, grid.shape, grid.lattice, grid.boundary) for b in units]
        for a in units
    ]
    assert_allclose(np.sqrt(compute_squared_distances(grid)), expected, atol=1e-12)


@all_grids
def test_distances_are_an_exact_metric(grid):
    squared = compute_squared_distances(grid)
    assert_array_equal(squared, squared.T)
    assert_array_equal(np.diag(squared), 0)
    assert_array_equal(squared * 4, np.round(squared * 4))
    distances = np.sqrt(squared)
    assert (distances[:, None] <= distances[:, :, None] + distances[None] + 1e-12).all()


@all_grids
def test_kinds_of_rows_contain_all_distances(grid):
    kinds, squared = kinds_of_rows(grid)
    columns = np.arange(grid.n_columns)
    between = columns[:, None] - columns + grid.n_columns - 1
    dense = squared[kinds[:, :, None, None], between].transpose(0, 2, 1, 3)
    dense = dense.reshape(grid.n_units, grid.n_units)
    assert_array_equal(dense, compute_squared_distances(grid))
    assert len(squared) <= 4 * grid.n_rows


@all_grids
def test_row_and_column_parts_sum_to_the_distances(grid):
    has_shifted_seam = (
        grid.lattice == "hexagonal"
        and grid.boundary == "toroidal"
        and grid.n_rows % 2 == 1
        and grid.n_rows > 1
    )
    assert seam_shift(grid) == has_shifted_seam
    if has_shifted_seam:
        return
    rows, columns = separated(grid, grid, grid, is_mirrored=False)
    parity = np.arange(grid.n_rows) % len(columns)
    dense = rows[:, :, None, None] + columns[parity[:, None], parity]
    dense = dense.transpose(0, 2, 1, 3).reshape(grid.n_units, grid.n_units)
    assert_array_equal(dense, compute_squared_distances(grid))


@all_grids
def test_positions_equal_the_reference(grid):
    expected = [
        reference.unit_position(*divmod(unit, grid.n_columns), grid.lattice)
        for unit in range(grid.n_units)
    ]
    assert_allclose(grid.positions(), expected)


@all_grids
@pytest.mark.parametrize("n_neighbors", [4, 6, 8])
def test_neighbors_are_the_units_one_step_away(grid, n_neighbors):
    if (n_neighbors == 6) != (grid.lattice == "hexagonal"):
        with pytest.raises(ValueError, match=f"on a {grid.lattice} lattice. Got {n_neighbors}"):
            grid.neighbors(n_neighbors)
        return
    squared = compute_squared_distances(grid)
    max_squared = 2 if n_neighbors == 8 else 1
    for unit, found in enumerate(grid.neighbors(n_neighbors)):
        expected = set(np.flatnonzero((squared[unit] <= max_squared) & (squared[unit] > 0)))
        assert set(found) - {-1, unit} == expected


@pytest.mark.parametrize("n_neighbors", [0, 5, 6.0, True, "6", [6], np.array([6, 6])])
def test_invalid_numbers_of_neighbors(n_neighbors):
    message = "^The 'n_neighbors' parameter of Grid.neighbors must be 6, or None on a hexagonal"
    with pytest.raises(InvalidParameterError, match=message):
        Grid(3, 3).neighbors(n_neighbors)
    assert_array_equal(Grid(3, 3).neighbors(np.int64(6)), Grid(3, 3).neighbors())


@pytest.mark.parametrize("n_rows", [3, 4, 5, 6, 7])
@pytest.mark.parametrize("n_columns", [3, 4, 5, 8])
def test_every_unit_of_a_hexagonal_torus_has_six_neighbors(n_rows, n_columns):
    """An odd number of rows is joined with a shift of half a lattice spacing."""
    squared = compute_squared_distances(Grid(n_rows, n_columns, "hexagonal", "toroidal"))
    assert_array_equal((squared == 1).sum(axis=1), 6)
    assert (squared + 9 * np.eye(len(squared)) >= 1).all()


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("n_rows", [3, 4, 5, 6])
def test_distances_on_a_torus_are_the_same_from_every_unit(lattice, n_rows):
    squared = compute_squared_distances(Grid(n_rows, 5, lattice, "toroidal"))
    assert_array_equal(np.sort(squared, axis=1), np.tile(np.sort(squared[0]), (len(squared), 1)))


def test_torus_with_a_single_row_is_a_ring():
    squared = compute_squared_distances(Grid(1, 6, "hexagonal", "toroidal"))
    assert_array_equal(np.sqrt(squared[0]), [0, 1, 2, 3, 2, 1])


def test_bubbles_include_units_at_distance_radius():
    """The update by the samples of one unit moves the units of its bubble."""
    grid = Grid(9, 9, "hexagonal", "planar")
    codebook, sums = np.zeros((grid.n_units, 1)), np.zeros((grid.n_units, 1))
    sums[4 * 9 + 4] = 1.0
    statistics = UnitStatistics(sums, counts=sums, error=0.0)
    n_moved = [
        np.count_nonzero(update_codebook(codebook, statistics, grid, r, neighborhood="bubble"))
        for r in [0.999, 1, 1.7, np.sqrt(3), 2]
    ]
    assert n_moved == [1, 7, 7, 13, 19]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, 3, "hex"), "'lattice' parameter of Grid must be .* Got 'hex'"),
        ((4, 3, "hexagonal", "torus"), "'boundary' parameter of Grid must be .* Got 'torus'"),
        ((0, 3), "'n_rows' parameter of Grid must be an int in the range .1, 10{9}.. Got 0"),
        ((4, 2.0), "'n_columns' parameter of Grid must be an int .* Got 2.0"),
    ],
)
def test_invalid_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        Grid(*arguments)


def test_size_of_any_type():
    grid = Grid(np.uint8(20), np.uint8(20))
    assert grid.n_units == 400
    assert grid == Grid(20, 20)


@pytest.mark.parametrize("shape", [(3, 60), (3, 7), (3, 1), (5, 4), (5, 90), (7, 40), (1, 30)])
def test_shortest_of_many_laps(shape):
    """On a torus with odd rows a path may wind around several times."""
    grid = Grid(*shape, boundary="toroidal")
    units = np.arange(grid.n_units)
    (x, y), n_rows = grid.positions().T, shape[0]
    height = n_rows * math.sqrt(3) / 2
    expected = np.full(len(units), np.inf)
    for lap in range(-40, 41) if n_rows > 1 else [0]:
        for turn in range(-2, 3):
            dx = x - x[0] + lap / 2 + turn * shape[1]
            expected = np.minimum(expected, dx**2 + (y - y[0] + lap * height) ** 2)
    assert_allclose(grid.squared_distances(0, units), expected, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.uint64])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_indices_of_any_integer_type(dtype, boundary):
    grid = Grid(8, 12, boundary=boundary)
    units = np.arange(grid.n_units)
    expected = grid.squared_distances(units[:, None], units)
    assert_array_equal(
        grid.squared_distances(units.astype(dtype)[:, None], units.astype(dtype)), expected
    )


@pytest.mark.parametrize("unit", [-1, 96, 0.5, True, "0"])
def test_invalid_indices(unit):
    for pair in ((unit, 0), (0, unit)):
        with pytest.raises(
            ValueError, match=r"(units|others) must be ints in the range \[0, 96\)"
        ):
            Grid(8, 12).squared_distances(*pair)

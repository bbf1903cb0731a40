"""Input checks, tiles and graphs shared by the measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import dijkstra

from sklearn_tfsom._data.checks import check_sample_weight
from sklearn_tfsom._data.pieces import Pieces, whole_weight
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.tiles import value_slices
from sklearn_tfsom._distance import Metric, all_distances
from sklearn_tfsom._map.grid import Grid, grid_of, numbers_of_neighbors
from sklearn_tfsom._map.neighborhood import Kernels, SeparableKernel, checked_neighborhood
from sklearn_tfsom._search.distances import distances_to_units
from sklearn_tfsom._tuning import LARGE_TILE_VALUES
from sklearn_tfsom._validation import Rule, check_value, integer, real

_Checked = TypeVar("_Checked")

# Smaller values of a neighborhood become 0: products with subnormal numbers take 20 times as long.
_MIN_NEIGHBORHOOD = 1e-200


def check_pieces(estimator: Any, X: ArrayLike, sample_weight: Any) -> Pieces:
    """Return the checked samples for a fitted map, with their weights."""
    samples = estimator._check_data(X)
    return Pieces(samples, check_sample_weight(sample_weight, len(samples)))


def counted_samples(
    estimator: Any, X: ArrayLike, sample_weight: Any
) -> tuple[Samples, NDArray[np.float64]]:
    """Return the checked samples of positive weight for a fitted map, and their weights."""
    pieces = check_pieces(estimator, X, sample_weight)
    counted = pieces.take_where(pieces.sample_weight > 0)
    # Up to NumPy 1.26 products with a broadcast array, the default weights, have other digits.
    return counted.samples, np.ascontiguousarray(counted.sample_weight)


def counted_units(
    estimator: Any,
    X: ArrayLike,
    sample_weight: Any,
    check: Callable[[NDArray[np.bool_]], _Checked],
) -> tuple[_Checked, NDArray[np.int64], NDArray[np.float64]]:
    """Find the units of the samples of positive weight; others count as removed.

    Parameters
    ----------
    estimator : TFSOM
    X : array-like
    sample_weight : array-like
    check : callable
        Gets whether each sample has a positive weight, (n_samples,), and returns what else is
        given for the samples, checked before their units are searched for.

    Returns
    -------
    checked : object
        What `check` returned.
    bmus : ndarray of int64, shape (n_counted,)
    weights : ndarray of float64, shape (n_counted,)
    """
    pieces = check_pieces(estimator, X, sample_weight)
    is_counted = pieces.sample_weight > 0
    checked = check(is_counted)
    counted = pieces.take_where(is_counted)
    return checked, estimator._nearest(counted.samples)[:, 0], counted.sample_weight


def check_n_neighbors(owner: str, n_neighbors: Any, grid: Grid) -> None:
    """Check the number of neighboring units; None is that of the grid."""
    numbers = numbers_of_neighbors(grid)
    rule = Rule(
        f"an int among {{{', '.join(map(str, numbers))}}} on a {grid.lattice} lattice",
        lambda value: value is None or (integer(1).accepts(value) and value in numbers),
    )
    check_value("n_neighbors", owner, n_neighbors, [rule])


def check_n_nearest(owner: str, n_neighbors: Any, total_weight: float) -> None:
    """Check the number of neighboring samples: less than half of the samples."""
    total_weight = whole_weight(total_weight)
    if total_weight < 3:
        raise ValueError(
            f"{owner} needs samples of a total weight of at least 3. Got {total_weight:g} instead."
        )
    rule = integer(1, int((total_weight - 1) / 2))
    rule = rule._replace(says=f"{rule.says}, less than half the total weight of the samples")
    check_value("n_neighbors", owner, n_neighbors, [rule])


def check_radius(owner: str, radius: Any, estimator: Any) -> float:
    """Return the radius: by default that of the last epoch."""
    if radius is None:
        radii = estimator.history_["radius"]
        if not len(radii):
            raise ValueError(
                f"{owner} needs radius: the map was not trained by fit or partial_fit."
            )
        return float(radii[-1])
    check_value("radius", owner, radius, [real(0, closed=False)])
    return float(radius)


def distance_tiles(
    estimator: Any, samples: Samples
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Compute the distances of samples to all units, tile by tile, in float64.

    Yields
    ------
    rows : slice
    distances : ndarray of float64, shape (n_rows, n_units)
        In data units.
    """
    n_values = len(estimator.codebook_)
    if not samples.is_sparse:
        n_values = max(n_values, samples.shape[1])
    for rows in value_slices(len(samples), n_values, LARGE_TILE_VALUES):
        tile = samples.raw(rows).astype(np.float64)
        in_float64 = Samples(tile, samples.metric, has_missing=samples.has_missing)
        yield rows, distances_to_units(in_float64, estimator.codebook_)


def as_lengths(distances: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """Return distances, or the lengths whose squares are twice ``1 - cos``, in the same order."""
    return np.sqrt(2 * distances) if metric.is_spherical else distances


def sizes_of(rows: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """Return the size of each row, (n, 1): rounding changes lengths by a small share of it."""
    return all_distances(rows, np.zeros((1, rows.shape[1])), metric)


def varying_features(rows: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """Leave out the features in which all rows are equal: they change no distance.

    Their size would count as rounding. Directions need all features.
    """
    varies = np.ptp(rows, axis=0) > 0
    return rows if metric.is_spherical or not varies.any() else rows[:, varies]


def neighborhood_rows(estimator: Any, radius: float) -> Callable[[NDArray], NDArray[np.float64]]:
    """Return a function from units (n,) to their rows of the neighborhood (n, n_units)."""
    grid = grid_of(estimator)
    neighborhood = checked_neighborhood(estimator, estimator._neighborhood)
    kernel = Kernels(grid, neighborhood).kernel(radius)

    def rows_of(units: NDArray) -> NDArray[np.float64]:
        rows, columns = np.divmod(units, grid.n_columns)
        if isinstance(kernel, SeparableKernel):
            p, q, *_ = kernel.columns.shape
            parities = rows[:, None] % p, np.arange(grid.n_rows) % q
            along_columns = kernel.columns[*parities, columns[:, None]]
            with np.errstate(under="ignore"):  # far away the weight is 0
                h = kernel.rows[rows][:, :, None] * along_columns
        else:
            h = kernel.blocks[kernel.kinds[rows], columns[:, None]]
        h = h.reshape(len(units), grid.n_units)
        h[np.abs(h) < _MIN_NEIGHBORHOOD] = 0
        return h

    return rows_of


def undirected_graph(
    edges: NDArray | tuple[NDArray, NDArray], n_units: int, lengths: NDArray | float = 1.0
) -> csr_array:
    """Return the graph of edges between units, of which each pair is given once."""
    units, others = edges
    lengths = np.broadcast_to(lengths, len(units))
    ends = np.r_[units, others], np.r_[others, units]
    return csr_array(coo_array((np.r_[lengths, lengths], ends), shape=(n_units, n_units)))


def path_lengths(graph: csr_array, units: NDArray, others: NDArray) -> NDArray[np.float64]:
    """Return the lengths of the shortest paths between pairs of units (n,), inf for none."""
    sources, index = np.unique(units, return_inverse=True)
    lengths = np.empty(len(units))
    for tile in value_slices(len(sources), graph.shape[0], LARGE_TILE_VALUES):
        from_sources = dijkstra(graph, directed=True, indices=sources[tile])
        pairs = np.flatnonzero((index >= tile.start) & (index < tile.stop))
        lengths[pairs] = from_sources[index[pairs] - tile.start, others[pairs]]
    return lengths

"""Best-matching units of samples for a trained codebook."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._compat import with_errstate
from sklearn_tfsom._data.dense import DenseRows, load
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.scaling import Scaling, check_range, middle_of
from sklearn_tfsom._data.sparse import SparseRows, load_sparse
from sklearn_tfsom._data.tiles import map_tiles, row_slices, value_slices
from sklearn_tfsom._distance import as_codebook
from sklearn_tfsom._map.scores import SearchKind, Target
from sklearn_tfsom._search.nearest import are_equal, nearest, search_kind, suits_numpy, tile_rows
from sklearn_tfsom._tf.runtime import tensorflow_core
from sklearn_tfsom._tuning import CHUNK_ROWS, PIECE_VALUES


@with_errstate(under="ignore")
def nearest_units(samples: Samples, codebook: NDArray, k: int = 1) -> NDArray[np.int64]:
    """Find the k best-matching units of samples.

    Parameters
    ----------
    samples : Samples
    codebook : ndarray of shape (n_rows, n_columns, n_features)
        In data units, on the grid.
    k : int, default=1

    Returns
    -------
    units : ndarray of int64, shape (n_samples, k)
        The closest first.

    Raises
    ------
    ValueError
        If distances exceed the range of float64.
    """
    (n_samples, n_features), metric, dtype = samples.shape, samples.metric, samples.dtype
    codebook = as_codebook(codebook, metric)
    flat = codebook.reshape(-1, n_features)
    if are_equal(flat):  # there is nothing to scale by, and nothing to search
        return np.tile(np.arange(k, dtype=np.int64), (n_samples, 1))
    scaling = Scaling.for_search(flat, dtype, metric, is_sparse=samples.is_sparse)
    # Centered values, and directions, are as exact as the samples only in float64.
    is_changed = scaling.center.any() or metric.is_spherical
    dtype = np.dtype(np.float64) if is_changed else dtype
    scaled = scaling.transform(codebook)
    flat = scaled.reshape(flat.shape)
    middle = middle_of(flat)
    kind = search_kind(samples, codebook)
    target = Target(
        kind=kind,
        codebook=scaled,
        center=middle,
        extents=scaling.extents(flat, middle),
    )
    chunks, n_tile = _chunks(samples, codebook, kind)
    if n_tile is not None:
        tensorflow_core()  # in this thread, which sees whether it is importing it already
    units = np.empty((n_samples, k), dtype=np.int64)

    def search(rows: slice) -> bool:
        loaded: DenseRows | SparseRows
        if samples.is_sparse:
            loaded = load_sparse(samples.take(rows), scaling.scale)
        else:
            in_numpy = n_tile is None
            loaded = load(samples, rows, scaling, dtype, norms_dtype=dtype, in_numpy=in_numpy)
        found = nearest(loaded, target, k, n_tile=n_tile)
        units[rows] = found.units
        return bool(np.isfinite(found.distances).all())

    check_range(list(map_tiles(search, chunks)))
    return units


def _chunks(
    samples: Samples, codebook: NDArray, kind: SearchKind
) -> tuple[list[slice], int | None]:
    """Return the rows that are loaded at a time, and the rows of a tile; None for NumPy."""
    n_samples, n_features = samples.shape
    if samples.is_sparse:
        return samples.tiles(PIECE_VALUES), None
    if suits_numpy(n_samples, codebook, kind):
        return value_slices(n_samples, 4 * n_features, PIECE_VALUES), None
    n_tile = tile_rows(codebook[..., 0].size, n_features)
    n_chunk = min(CHUNK_ROWS, n_tile * max(1, PIECE_VALUES // (n_tile * n_features)))
    if n_samples > 2 * n_tile:  # at least two chunks: one loads while another is searched
        n_chunk = min(n_chunk, n_tile * -(-n_samples // (2 * n_tile)))
    return row_slices(n_samples, n_chunk), n_tile

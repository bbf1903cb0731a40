"""Best-matching units of samples for a trained codebook."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._data.tiles import map_tiles, row_slices
from sklearn_tfsom._tf.epoch import search_kind
from sklearn_tfsom._tf.runtime import pays_to_compile
from sklearn_tfsom._tf.scaling import OVERFLOW_MESSAGE, Scaling, as_tensor, load
from sklearn_tfsom._tf.scores import search_terms
from sklearn_tfsom._tf.search import DenseRows, nearest, tile_rows
from sklearn_tfsom._tf.small import nearest_small
from sklearn_tfsom._tf.sparse import load_sparse
from sklearn_tfsom._tf.tuning import CHUNK_VALUES, MAX_SMALL_DIFFERENCES


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
        If squared distances exceed the range of float64.
    """
    n_samples, n_features = samples.shape
    metric, dtype, is_sparse = samples.metric, samples.dtype, samples.is_sparse
    flat = codebook.reshape(-1, n_features)
    n_units = len(flat)
    scaling = Scaling.for_search(flat, dtype, metric, is_sparse=is_sparse)
    is_small = n_samples * n_features * n_units <= MAX_SMALL_DIFFERENCES
    if is_small and metric.is_product and not is_sparse:
        found = nearest_small(samples[:], flat, k, scaling, metric)
        if found is not None:
            return found
    # Centered values are as exact as the samples only in float64.
    dtype = np.dtype(np.float64) if scaling.center.any() else dtype
    n_tile = tile_rows(n_units, n_features)
    n_chunk = n_tile * max(1, CHUNK_VALUES // (n_tile * n_features))
    if n_samples > 2 * n_tile:  # at least two chunks, which are loaded and searched in turn
        n_chunk = min(n_chunk, n_tile * -(-n_samples // (2 * n_tile)))
    is_compiled = pays_to_compile(n_samples, n_units)
    scaled = scaling.transform(codebook)
    extent = scaling.extent(scaled.reshape(n_units, -1))
    center = scaled.mean(axis=(0, 1))
    kind = search_kind(samples, codebook, is_compiled=is_compiled)
    terms = None if is_sparse else search_terms(scaled, extent, kind, center)
    units = np.empty((n_samples, k), dtype=np.int64)

    def search(rows: slice) -> bool:
        if terms is None:
            sparse = load_sparse(samples.take(rows), scaling.scale)
            of_part = search_terms(scaled, extent, kind, center, sparse.max_stored())
            found = nearest(sparse, of_part, k)
        else:
            values, norms = load(
                samples, rows, scaling, dtype, in_threads=False, norms_dtype=dtype
            )
            dense = DenseRows(values, as_tensor(norms))
            found = nearest(dense, terms, k, n_tile=n_tile, is_compiled=is_compiled)
        units[rows] = np.asarray(found.units)
        return bool(np.isfinite(np.asarray(found.distances)).all())

    chunks = samples.tiles(CHUNK_VALUES) if is_sparse else row_slices(n_samples, n_chunk)
    if not all(list(map_tiles(search, chunks))):
        raise ValueError(OVERFLOW_MESSAGE.format("float64"))
    return units

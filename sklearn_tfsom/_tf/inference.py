"""Best-matching units of samples, chunk by chunk, for a trained codebook."""

from __future__ import annotations

import functools
import queue
import threading
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._data.samples import map_tiles, n_threads_for, row_slices
from sklearn_tfsom._tf import sparse
from sklearn_tfsom._tf.absolute import is_absolute
from sklearn_tfsom._tf.exact import Layout, Terms, search_terms
from sklearn_tfsom._tf.few import FEW_DIFFERENCES, few_nearest
from sklearn_tfsom._tf.frame import TOO_FAR, Frame, aligned_parts, extent, handed_over, load
from sklearn_tfsom._tf.graphs import one_graph
from sklearn_tfsom._tf.search import TILING_SIGNATURE, Tiling, search_rows, tile_rows
from sklearn_tfsom._tf.several import several_bmus

if TYPE_CHECKING:
    from sklearn_tfsom._data.samples import Samples

# Values of a chunk of tiles that is searched in one call: 16 MiB of float32. So many tiles are at
# least two chunks: 50,000 x 64 take 13.4 ms instead of 15.1.
_CHUNK_VALUES, _MANY_TILES = 2**22, 8

# Rows, at least, that are to be complete before all are searched as if they were. A search that
# then finds one that is not was in vain: with one in the last row, 100,000 x 64 take 63 ms
# instead of 49.
_SOME_ROWS = 256

_VECTOR = tf.TensorSpec([None], tf.float64)

# Code vectors, their center, and their extent.
_OF_CODEBOOK = [
    tf.TensorSpec([None, None], tf.float64),
    _VECTOR,
    tf.TensorSpec([], tf.float64),
]


@one_graph
def _nearest_tile(
    dtype: tf.DType, is_incomplete: bool, geometry: str
) -> tf.types.experimental.PolymorphicFunction:
    """Make the graph of a search of a single tile."""

    def nearest(
        rows: tf.Tensor,
        norms: tf.Tensor,
        codebook: tf.Tensor,
        center: tf.Tensor,
        rounded: tf.Tensor,
    ) -> list[tf.Tensor]:
        terms = search_terms(codebook, rounded, is_incomplete, geometry, center=center)
        return _search_of(rows, norms, terms)

    signature = [*_rows(dtype), *_OF_CODEBOOK]
    return tf.function(nearest, input_signature=signature, autograph=False)


@one_graph
def _nearest_tiles(
    dtype: tf.DType, is_incomplete: bool, geometry: str, n_fused: int, in_blocks: bool
) -> tuple[tf.types.experimental.PolymorphicFunction, tf.types.experimental.PolymorphicFunction]:
    """Make the graphs of a search of many tiles: of what it needs of a codebook, and its own.

    For each chunk these terms would be made anew, which takes 2.4 ms for 400 x 784.
    """
    traced: list[Terms] = []

    def prepare(
        codebook: tf.Tensor, center: tf.Tensor, rounded: tf.Tensor, n_columns: tf.Tensor
    ) -> list[tf.Tensor]:
        layout = Layout.of(codebook, is_incomplete, n_fused, n_columns if in_blocks else None)
        terms = search_terms(codebook, rounded, is_incomplete, geometry, layout, center)
        traced.append(terms)
        return terms.tensors()

    def nearest(rows: tf.Tensor, norms: tf.Tensor, *given: tf.Tensor) -> list[tf.Tensor]:
        tiling, tensors = given[: len(TILING_SIGNATURE)], given[len(TILING_SIGNATURE) :]
        return _search_of(rows, norms, traced[0].with_tensors(tensors), *tiling)

    of_terms = [*_OF_CODEBOOK, tf.TensorSpec([], tf.int32)]
    first = tf.function(prepare, input_signature=of_terms, autograph=False)
    first.get_concrete_function()  # now it is traced
    signature = [*_rows(dtype, n_fused), *TILING_SIGNATURE]
    signature += [tf.TensorSpec(part.shape, part.dtype) for part in traced[0].tensors()]
    return first, tf.function(nearest, input_signature=signature, autograph=False)


def _rows(dtype: tf.DType, n_fused: int = 0) -> list[tf.TensorSpec]:
    return [tf.TensorSpec([None, n_fused or None], dtype), _VECTOR]


def _search_of(
    rows: tf.Tensor, norms: tf.Tensor, terms: Terms, *tiling: tf.Tensor
) -> list[tf.Tensor]:
    bmus, apart = search_rows(rows, norms, terms, *tiling)
    return [bmus, tf.reduce_all(tf.math.is_finite(apart))]


@one_graph
def _several_nearest_tile(
    dtype: tf.DType, is_incomplete: bool, geometry: str
) -> tf.types.experimental.PolymorphicFunction:
    def several_nearest(
        rows: tf.Tensor,
        norms: tf.Tensor,
        codebook: tf.Tensor,
        center: tf.Tensor,
        rounded: tf.Tensor,
        n_bmus: tf.Tensor,
    ) -> list[tf.Tensor]:
        terms = search_terms(codebook, rounded, is_incomplete, geometry, center=center)
        found = several_bmus(rows, norms, terms, n_bmus)
        return [found, tf.reduce_all(tf.math.is_finite(norms))]

    signature = [tf.TensorSpec([None, None], dtype), _VECTOR, *_OF_CODEBOOK]
    signature.append(tf.TensorSpec([], tf.int32))
    return tf.function(several_nearest, input_signature=signature, autograph=False)


def nearest(
    samples: Samples, codebook: NDArray, n_bmus: int = 1, n_columns: int = 0
) -> NDArray[np.int64]:
    """Find the best-matching units of samples.

    Parameters
    ----------
    samples : Samples
        Where they await a look, it is taken only if it matters.
    codebook : ndarray, shape (n_units, n_features)
        Both in data units.
    n_bmus : int, default=1
        How many, the best first.
    n_columns : int, default=0
        Of the grid, where that is known. To know neighbors makes a search of many units faster; it
        changes no result.

    Returns
    -------
    bmus : ndarray of int64, shape (n_samples, n_bmus)

    Raises
    ------
    ValueError
        Where squared distances leave float64's range, or a look at the samples raises it.
    """
    if samples.is_sparse:
        return sparse.nearest(samples, codebook, n_bmus)
    frame = Frame.of_search(codebook, samples.dtype)
    (n_samples, n_features), n_units = samples.shape, len(codebook)
    is_few = n_bmus == 1 and n_samples * n_features * n_units <= FEW_DIFFERENCES
    if is_few and not is_absolute(samples.geometry):
        samples = samples.marked(has_missing=samples.has_missing)  # looked at: they may be invalid
        found = few_nearest(samples[:], codebook, frame, samples.geometry)
        if found is not None:
            return found
    search = functools.partial(_nearest, codebook, frame, n_bmus, n_columns)
    if samples.awaits_look and _are_some_finite(samples):
        found = search(samples.marked(has_missing=False), is_trial=True)
        if found is not None:
            samples.note_complete()
            return found
    found = search(samples)
    if found is None:
        raise ValueError(TOO_FAR.format("float64"))
    return found


def _are_some_finite(samples: Samples) -> bool:
    """Say whether some rows from everywhere are complete and finite."""
    step = max(1, len(samples) // _SOME_ROWS)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(samples.raw(slice(None, None, step)).sum()))


def _nearest(
    codebook: NDArray,
    frame: Frame,
    n_bmus: int,
    n_columns: int,
    samples: Samples,
    *,
    is_trial: bool = False,
) -> NDArray[np.int64] | None:
    """Find the best-matching units in TensorFlow; None where distances are not finite.

    On trial samples may hold anything: a squared norm that is not finite ends it. So complete
    samples are read once; where a look comes first they are read twice.
    """
    geometry = samples.geometry
    (n_samples, n_features), n_units = samples.shape, len(codebook)
    # Where features are centered, float32 could not hold the differences of all samples.
    dtype = np.dtype(np.float64) if frame.center.any() else samples.dtype
    kind = tf.as_dtype(dtype), samples.has_missing, geometry
    n_tile = tile_rows(n_units, n_features, n_samples)
    units = frame.enter(codebook)
    parts = units, units.mean(axis=0), extent(units, frame, geometry)
    of_codebook = [tf.constant(part, tf.float64) for part in parts]
    if n_bmus > 1:
        n_rows, find = n_tile, _several_nearest_tile(*kind)
        given = [*of_codebook, tf.constant(n_bmus)]
    else:
        n_tiles = -(-n_samples // n_tile)
        n_chunks = max(-(-n_samples * n_features // _CHUNK_VALUES), 1 + (n_tiles >= _MANY_TILES))
        n_rows = n_tile * max(1, -(-n_tiles // n_chunks))
        tiling = Tiling.of(samples, n_tile, n_units, n_columns=n_columns, n_samples=n_samples)
        if tiling is None:
            find, given = _nearest_tile(*kind), of_codebook
        else:
            prepare, find = _nearest_tiles(*kind, *tiling.kind)
            given = tiling.inputs()
            given += prepare(*of_codebook, given[-1])

    # Several at a time: while one is loaded, TensorFlow has another. What they are loaded into is
    # used again: freed by threads, much of it would stay with the process.
    bmus = np.empty((n_samples, n_bmus), dtype=np.int64)
    chunks = row_slices(n_samples, n_rows)
    n_values = min(n_rows, n_samples) * n_features
    free: queue.SimpleQueue[NDArray] = queue.SimpleQueue()
    for store in aligned_parts(n_threads_for(chunks), n_values, dtype):
        free.put(store)
    is_over = threading.Event()

    def fill(rows: slice) -> None:
        store = free.get()
        try:
            if is_over.is_set():
                return
            values, norms = load(samples, rows, frame, dtype, map, norms_dtype=dtype, into=store)
            if is_trial and not np.isfinite(norms.max()):
                is_over.set()
            if is_over.is_set():
                return
            found, is_finite = find(values, handed_over(norms), *given)
            bmus[rows] = np.atleast_2d(found.numpy()).T
            if not is_finite:
                is_over.set()
        finally:
            free.put(store)

    map_tiles(fill, chunks)
    return None if is_over.is_set() else bmus

"""Best-matching units and distances of samples, tile by tile, for a trained codebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._samples import lengths, map_tiles, row_slices
from sklearn_tfsom._tf import sparse
from sklearn_tfsom._tf.absolute import absolute_distances, is_absolute
from sklearn_tfsom._tf.exact import Layout, search_terms, squared_distances
from sklearn_tfsom._tf.few import FEW_DIFFERENCES, few_nearest
from sklearn_tfsom._tf.frame import (
    TOO_FAR,
    Frame,
    as_distances,
    extent,
    load,
    spread_out,
    squared_norms,
)
from sklearn_tfsom._tf.graphs import one_graph
from sklearn_tfsom._tf.search import Tiling, search_rows, several_bmus, tile_rows

if TYPE_CHECKING:
    from sklearn_tfsom._samples import Samples

# Squared distances below this share of the squared norms have lost digits to cancellation; they
# are computed again from the difference.
_CANCELLATION = {tf.float32: 1e-2, tf.float64: 1e-6}

# Values of a chunk of tiles that is searched in one call: 16 MiB of float32. So many tiles are at
# least two chunks: 100,000 x 64 take 22 ms instead of 25.
_CHUNK_VALUES, _MANY_TILES = 2**22, 8

# Values of a tile whose differences to chosen units stay in the cache, 2 MiB, rows that are worth
# a call, and values all the same, 8 MiB. In NumPy, in two threads, those of 100,000 samples with
# 64 features take 5 ms, of 60,000 with 784 features 30; in a graph they took 25 and 114.
_DIFFERENCES, _MIN_DIFFERENCE_ROWS, _MOST_DIFFERENCES = 2**18, 512, 2**20

# Products of two numbers in a product of matrices, up to which OpenBLAS uses one thread.
_UNTHREADED = 2**18

# Squares of values within this factor of 1 do not leave floating point's range.
_HARMLESS = 2.0**300

_CODEBOOK = tf.TensorSpec([None, None], tf.float64)
_VECTOR = tf.TensorSpec([None], tf.float64)
_SCALAR = tf.TensorSpec([], tf.float64)


def _in_frame(x: tf.Tensor, center: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Move samples into the frame, as `Frame.enter` does."""
    factor = tf.cast(scale, x.dtype)
    return tf.cond(
        scale > 1,
        lambda: (x - tf.cast(center, x.dtype)) * factor,
        lambda: x * factor - tf.cast(center * scale, x.dtype),
    )


@one_graph
def _nearest_rows(
    dtype: tf.DType, is_incomplete: bool, geometry: str, is_one_tile: bool, n_fused: int
) -> tf.types.experimental.PolymorphicFunction:
    def nearest(
        rows: tf.Tensor,
        norms: tf.Tensor,
        codebook: tf.Tensor,
        extent: tf.Tensor,
        *tiling: tf.Tensor,
    ) -> list[tf.Tensor]:
        layout = Layout.of(codebook, is_incomplete, n_fused)
        terms = search_terms(codebook, extent, is_incomplete, geometry, layout)
        bmus, apart = search_rows(rows, norms, terms, *tiling)
        return [bmus, tf.reduce_all(tf.math.is_finite(apart))]

    signature = [tf.TensorSpec([None, n_fused or None], dtype), _VECTOR, _CODEBOOK, _SCALAR]
    if not is_one_tile:
        signature += [tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32)]
    return tf.function(nearest, input_signature=signature, autograph=False)


@one_graph
def _several_nearest_tile(
    dtype: tf.DType, is_incomplete: bool, geometry: str
) -> tf.types.experimental.PolymorphicFunction:
    def several_nearest(
        rows: tf.Tensor,
        norms: tf.Tensor,
        codebook: tf.Tensor,
        extent: tf.Tensor,
        n_bmus: tf.Tensor,
    ) -> list[tf.Tensor]:
        terms = search_terms(codebook, extent, is_incomplete, geometry)
        found = several_bmus(rows, norms, terms, n_bmus)
        return [found, tf.reduce_all(tf.math.is_finite(norms))]

    signature = [tf.TensorSpec([None, None], dtype), _VECTOR, _CODEBOOK, _SCALAR]
    signature.append(tf.TensorSpec([], tf.int32))
    return tf.function(several_nearest, input_signature=signature, autograph=False)


@one_graph
def _absolute_distances_tile(
    dtype: tf.DType, is_incomplete: bool, geometry: str
) -> tf.types.experimental.PolymorphicFunction:
    def distances(
        x: tf.Tensor,
        center: tf.Tensor,
        scale: tf.Tensor,
        codebook: tf.Tensor,
        compiled_rows: tf.Tensor,
    ) -> list[tf.Tensor]:
        rows = _in_frame(tf.cast(x, tf.float64), center, scale)
        terms = search_terms(codebook, scale, is_incomplete, geometry)
        apart = absolute_distances(rows, terms, compiled_rows)
        return [tf.cast(apart, dtype), tf.math.is_finite(tf.reduce_max(apart))]

    signature = [tf.TensorSpec([None, None], dtype), _VECTOR, _SCALAR, _CODEBOOK]
    signature.append(tf.TensorSpec([], tf.int32))
    return tf.function(distances, input_signature=signature, autograph=False)


@one_graph
def _distances_tile(
    dtype: tf.DType, is_incomplete: bool, geometry: str
) -> tf.types.experimental.PolymorphicFunction:
    def distances(
        x: tf.Tensor, center: tf.Tensor, scale: tf.Tensor, codebook: tf.Tensor
    ) -> list[tf.Tensor]:
        rows = _in_frame(x, center, scale)
        norms = squared_norms(rows, is_incomplete)
        terms = search_terms(codebook, scale, is_incomplete)
        product = tf.matmul(spread_out(rows, is_incomplete), tf.cast(terms.factors, dtype))
        # Fused into the product in float32; of float64 oneDNN only says that it cannot.
        add = tf.nn.bias_add if dtype == tf.float32 else tf.add
        squared = add(product, tf.cast(terms.bias, dtype)) + norms[:, None]
        bias = tf.cast(tf.reduce_sum(tf.square(codebook), axis=1), dtype)
        # Most rows are clear of cancellation altogether, and their minimum tells.
        limit = _CANCELLATION[dtype] * (norms + tf.reduce_max(bias))
        suspects = tf.where(~(tf.reduce_min(squared, axis=1) > limit))

        def again() -> tf.Tensor:
            few_norms, few = tf.gather_nd(norms, suspects), tf.gather_nd(squared, suspects)
            is_clear = few > _CANCELLATION[dtype] * (few_norms[:, None] + bias)
            pairs = tf.where(~is_clear)
            samples = tf.gather(suspects[:, 0], pairs[:, 0])

            def exact(picked: tf.Tensor) -> tf.Tensor:
                return _in_frame(tf.cast(tf.gather(x, picked), tf.float64), center, scale)

            close = squared_distances(exact, codebook, samples, pairs[:, 1])
            close = tf.cast(as_distances(close, geometry), dtype)
            where = tf.stack([samples, pairs[:, 1]], axis=1)
            return tf.tensor_scatter_nd_update(as_distances(squared, geometry), where, close)

        apart = tf.cond(tf.size(suspects) > 0, again, lambda: as_distances(squared, geometry))
        # What is not finite has been computed again, so that nothing is NaN now.
        return [apart, tf.math.is_finite(tf.reduce_max(apart))]

    signature = [tf.TensorSpec([None, None], dtype), _VECTOR, _SCALAR, _CODEBOOK]
    return tf.function(distances, input_signature=signature, autograph=False)


def _inside(frame: Frame, codebook: NDArray) -> list[tf.Tensor]:
    """Return what the graphs need of the frame and of the codebook."""
    return [tf.constant(part, tf.float64) for part in (*frame, frame.enter(codebook))]


def nearest(samples: Samples, codebook: NDArray, n_bmus: int = 1) -> NDArray[np.int64]:
    """Find the best-matching units of samples.

    Parameters
    ----------
    samples : Samples
    codebook : ndarray, shape (n_units, n_features)
        Both in data units.
    n_bmus : int, default=1
        How many, the best first.

    Returns
    -------
    bmus : ndarray of int64, shape (n_samples, n_bmus)

    Raises
    ------
    ValueError
        Where squared distances leave float64's range.
    """
    if samples.is_sparse:
        return sparse.nearest(samples, codebook, n_bmus)
    geometry = samples.geometry
    frame = Frame.of_search(codebook, samples.dtype)
    (n_samples, n_features), n_units = samples.shape, len(codebook)
    is_few = n_bmus == 1 and n_samples * n_features * n_units <= FEW_DIFFERENCES
    if is_few and not is_absolute(geometry):
        found = few_nearest(samples[:], codebook, frame)
        if found is not None:
            return found
    units, kind = frame.enter(codebook), _kind(samples)
    of_codebook = [tf.constant(units), tf.constant(extent(units, frame), tf.float64)]
    bmus = np.empty((n_samples, n_bmus), dtype=np.int64)
    n_tile = tile_rows(n_units, n_features)
    if n_bmus > 1:
        n_rows, find = n_tile, _several_nearest_tile(*kind)
        others = [tf.constant(n_bmus)]
    else:
        n_tiles = -(-n_samples // n_tile)
        n_chunks = max(-(-n_samples * n_features // _CHUNK_VALUES), 1 + (n_tiles >= _MANY_TILES))
        n_rows = n_tile * -(-n_tiles // n_chunks)
        tiling = Tiling.of(samples, n_tile, n_units, n_samples) if n_samples > n_tile else None
        find = _nearest_rows(*kind, tiling is None, tiling.n_fused if tiling else 0)
        others = tiling.inputs() if tiling else []

    def fill(rows: slice) -> bool:
        values, norms = load(samples, rows, frame, samples.dtype, map)
        found, is_finite = find(values, tf.constant(norms), *of_codebook, *others)
        bmus[rows] = np.atleast_2d(found.numpy()).T
        return bool(is_finite)

    # Two at a time: while one is loaded, TensorFlow has another.
    if not all(map_tiles(fill, row_slices(n_samples, n_rows))):
        raise ValueError(TOO_FAR.format("float64"))
    return bmus


def apart(samples: Samples, codebook: NDArray, bmus: NDArray) -> NDArray[np.float64]:
    """Compute the distances of samples to chosen units, from the differences.

    Parameters
    ----------
    samples : Samples
    codebook : ndarray, shape (n_units, n_features)
    bmus : ndarray of int64, shape (n_samples, n_bmus)

    Returns
    -------
    distances : ndarray of float64, shape (n_samples, n_bmus)
        In data units.

    Raises
    ------
    ValueError
        Where squared distances leave float64's range.
    """
    if samples.is_sparse:
        return sparse.apart(samples, codebook, bmus)
    frame = Frame.of_codebook(codebook, samples.dtype)
    # Differences of the values themselves are rounded once; they need the frame for its scale
    # only, and that only where squares would leave floating point's range.
    scale = 1.0 if 1 / _HARMLESS < frame.scale < _HARMLESS else frame.scale
    units = codebook.astype(np.float64) * scale
    has_missing = samples.has_missing  # which may take a pass, so not in all threads
    result = np.empty(bmus.shape)

    def fill(rows: slice) -> None:
        tile = samples[rows]
        for place in range(bmus.shape[1]):
            differences = units[bmus[rows, place]]
            with np.errstate(over="ignore", invalid="ignore"):  # far out: seen at the end
                np.subtract(tile if scale == 1 else tile * scale, differences, out=differences)
                if has_missing:
                    np.copyto(differences, 0, where=np.isnan(differences))
                result[rows, place] = lengths(differences, samples.geometry)
        result[rows] /= frame._replace(scale=scale).unit(samples.geometry)
        _without_direction(tile, result[rows], samples.geometry)

    n_features = samples.shape[1]
    n_rows = min(_MIN_DIFFERENCE_ROWS, _MOST_DIFFERENCES // n_features)
    n_rows = max(1, n_rows, _DIFFERENCES // n_features)
    map_tiles(fill, row_slices(len(samples), n_rows))
    if not np.isfinite(result).all():
        raise ValueError(TOO_FAR.format("float64"))
    return result


def distances(samples: Samples, codebook: NDArray) -> NDArray:
    """Compute the distances of samples to all units.

    Parameters
    ----------
    samples : Samples
    codebook : ndarray, shape (n_units, n_features)

    Returns
    -------
    distances : ndarray of the samples' dtype, shape (n_samples, n_units)
        In data units; computed in that precision.

    Raises
    ------
    ValueError
        Where squared distances leave that precision's range.
    """
    if samples.is_sparse:
        return sparse.distances(samples, codebook)
    n_samples, n_units, geometry = len(samples), len(codebook), samples.geometry
    frame = Frame.of_codebook(codebook, samples.dtype)
    inside = _inside(frame, codebook)
    in_data_units = samples.dtype.type(1 / frame.unit(geometry))  # exact, faster than a division
    result = np.empty((n_samples, n_units), dtype=samples.dtype)
    n_tile = tile_rows(2 * n_units, samples.shape[1])
    if is_absolute(geometry):
        find = _absolute_distances_tile(*_kind(samples))
        is_large = n_samples > n_tile
        tiling = Tiling.of(samples, n_tile, n_units, n_samples) if is_large else None
        inside.append(tf.constant(tiling.compiled_rows if tiling else 0))
    else:
        find = _distances_tile(*_kind(samples))

    def fill(rows: slice) -> bool:
        tile = samples[rows]
        found, is_finite = find(tf.constant(tile), *inside)
        # The array shares the tensor's memory: this is the one copy.
        np.multiply(np.asarray(found), in_data_units, out=result[rows])
        _without_direction(tile, result[rows], geometry)
        return bool(is_finite)

    # Several at a time: while one is copied, TensorFlow has another.
    if not all(map_tiles(fill, row_slices(n_samples, n_tile))):
        raise ValueError(TOO_FAR.format(samples.dtype.name))
    return result


def product(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply matrices, large ones in TensorFlow's threads.

    NumPy's own wait for more work for 0.1 s after each large product, spinning, and keep the cores
    from training meanwhile: with them a fit of 50,000 x 64 on 20x20 took 150 ms instead of 105.
    Small products wake none, and take 5 us instead of 50.
    """
    is_small = a.size * b.shape[1] <= _UNTHREADED
    return a @ b if is_small else np.asarray(tf.matmul(a, b))


def _kind(samples: Samples) -> tuple[tf.DType, bool, str]:
    return tf.as_dtype(samples.dtype), samples.has_missing, samples.geometry


def _without_direction(tile: NDArray, distances: NDArray, geometry: str) -> None:
    """Make 1 of the distances of zeros to unit vectors, in place: as vectors they are at 1/2."""
    if geometry == "spherical":
        distances[~tile.any(axis=1)] = 1

"""Distances of samples to units, tile by tile, in NumPy: to all of a codebook, or to chosen ones.

No graph is traced for them, and the threads are those that tiles are dealt to. Only distances to
all units that are no product are TensorFlow's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._data.samples import lengths, map_tiles, row_slices
from sklearn_tfsom._tf import sparse
from sklearn_tfsom._tf.absolute import absolute_distances, is_absolute
from sklearn_tfsom._tf.exact import search_terms
from sklearn_tfsom._tf.frame import TOO_FAR, Frame, load
from sklearn_tfsom._tf.graphs import one_graph
from sklearn_tfsom._tf.search import Tiling, tile_rows

if TYPE_CHECKING:
    from sklearn_tfsom._data.samples import Samples

# Squared distances below this share of the squared norms have lost digits to cancellation; they
# are computed again from the difference.
_CANCELLATION = {np.dtype(np.float32): 1e-2, np.dtype(np.float64): 1e-6}

# Distances of a tile: 2 MiB of float32. Of 256 to 4,096 rows at 400 units 1,024 were the fastest.
_TILE_DISTANCES = 2**19
_MIN_TILE_ROWS, _MAX_TILE_ROWS = 64, 4096

# Values of such a tile, at most: 8 MiB in float64.
_TILE_VALUES = 2**20

# Values of a tile whose differences to chosen units stay in the cache, 2 MiB, rows that are worth
# a call, and values all the same, 8 MiB. In NumPy, in two threads, those of 100,000 samples with
# 64 features take 5 ms, of 60,000 with 784 features 30; in a graph they took 25 and 114.
_DIFFERENCES, _MIN_DIFFERENCE_ROWS, _MOST_DIFFERENCES = 2**18, 512, 2**20

# Squares of values within this factor of 1 do not leave floating point's range.
_HARMLESS = 2.0**300

# Rows of the small products that a product is made of, and products of two numbers in one: up to
# which OpenBLAS has no use for a second thread.
_STACKED_ROWS, _IN_ONE_THREAD = 16, 2**18
_MANY_TERMS = {np.dtype(np.float32): 256, np.dtype(np.float64): 2048}


def product(a: NDArray, b: NDArray | tf.Tensor, out: NDArray | None = None) -> NDArray:
    """Multiply matrices in the thread that calls; of many terms, in TensorFlow's.

    NumPy's own threads wait for more work for 0.1 s after each large product, spinning, and keep
    the cores from training meanwhile: with them a fit of 50,000 x 64 on 20x20 took 150 ms instead
    of 105. So this is a stack of products each too small to wake them. With AVX-512 OpenBLAS has
    kernels for these that spare it to rearrange its operands: at 100,000 x 64 and 400 units in
    float64, dealt to two threads, all products take 26 ms, where one large product takes 52 and
    TensorFlow's takes 65 (in float32 13, 20 and 12; of many terms TensorFlow's is the fastest).
    """
    (n_rows, n_terms), n_columns = a.shape, b.shape[1]
    out = np.empty((n_rows, n_columns), a.dtype) if out is None else out
    if n_terms >= _MANY_TERMS[a.dtype]:
        out[:] = np.asarray(tf.matmul(a, b))
        return out
    n_stacked = n_rows - n_rows % _STACKED_ROWS
    rows = a[:n_stacked].reshape(-1, _STACKED_ROWS, n_terms)
    to = out[:n_stacked].reshape(-1, _STACKED_ROWS, n_columns)
    step = max(8, _IN_ONE_THREAD // (_STACKED_ROWS * n_terms) // 8 * 8)
    for columns in row_slices(n_columns, step):
        np.matmul(rows, b[:, columns], out=to[:, :, columns])
        if n_stacked < n_rows:
            np.matmul(a[n_stacked:], b[:, columns], out=out[n_stacked:, columns])
    return out


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
    n_samples, n_units = len(samples), len(codebook)
    frame = Frame.of_codebook(codebook, samples.dtype)
    result = np.empty((n_samples, n_units), dtype=samples.dtype)
    kind = _Absolute if is_absolute(samples.geometry) else _Euclidean
    to_units = kind(samples, frame, frame.enter(codebook))
    in_data_units = samples.dtype.type(1 / frame.unit(samples.geometry))  # exact

    def fill(rows: slice) -> bool:
        with np.errstate(over="ignore", invalid="ignore"):  # far out: seen here
            is_finite = to_units.fill(result[rows], rows)
            if in_data_units != 1:
                result[rows] *= in_data_units
                is_finite = is_finite and bool(np.isfinite(result[rows].max()))
        return is_finite

    if not all(map_tiles(fill, row_slices(n_samples, to_units.n_tile))):
        raise ValueError(TOO_FAR.format(samples.dtype.name))
    return result


class _Euclidean:
    """Distances whose squares are products: ``|x|^2 + |w|^2 - 2 x.w``.

    All of it is one product, of ``(x, |x|^2, 1)`` with ``(-2 w, 1, |w|^2)``; over the known
    features m of incomplete samples of ``(x, |x|^2, m)`` with ``(-2 w, 1, w^2)``.
    """

    def __init__(self, samples: Samples, frame: Frame, units: NDArray[np.float64]) -> None:
        self._samples, self._frame, self._units = samples, frame, units
        self._has_missing = samples.has_missing  # which may take a pass, so not in all threads
        squares = np.square(units)
        self._norms = squares.sum(axis=1)
        last = squares if self._has_missing else self._norms[:, None]
        factors = np.concatenate([-2 * units, np.ones((len(units), 1)), last], axis=1)
        self._factors = np.ascontiguousarray(factors.T.astype(samples.dtype))
        if len(self._factors) >= _MANY_TERMS[samples.dtype]:
            self._factors = tf.constant(self._factors)  # else a copy for each tile
        n_rows = min(max(_TILE_DISTANCES // len(units), _MIN_TILE_ROWS), _MAX_TILE_ROWS)
        n_rows = min(n_rows, max(_STACKED_ROWS, _TILE_VALUES // units.shape[1]))
        self.n_tile = n_rows - n_rows % _STACKED_ROWS

    def fill(self, out: NDArray, rows: slice) -> bool:
        """Compute the distances of a tile, in the frame, and say whether all are finite."""
        samples, n_features = self._samples, self._units.shape[1]
        tile = samples[rows]
        terms = np.empty((len(tile), len(self._factors)), samples.dtype)
        values = self._frame.enter(tile, terms[:, :n_features])
        terms[:, n_features + 1 :] = 1
        if self._has_missing:
            is_missing = np.isnan(values)
            values[is_missing] = 0
            terms[:, n_features + 1 :][is_missing] = 0
        norms = np.einsum("sf,sf->s", values, values, dtype=np.float64).astype(values.dtype)
        terms[:, n_features] = norms
        squared = product(terms, self._factors, out)
        # Most rows are clear of cancellation altogether, and their minimum tells.
        least = _CANCELLATION[samples.dtype]
        is_clear = squared.min(axis=1) > least * (norms + self._norms.max())
        suspects = np.flatnonzero(~is_clear)
        limit = least * (norms[suspects, None] + self._norms)
        which, units = np.nonzero(~(squared[suspects] > limit))
        which = suspects[which]
        is_spherical = samples.geometry == "spherical"
        np.divide(squared, 2, out=out) if is_spherical else np.sqrt(squared, out=out)
        out[which, units] = self._again(tile, which, units)
        if is_spherical:
            out[~tile.any(axis=1)] = self._frame.unit("spherical")  # zeros have no direction
        # No distance is longer than both together.
        largest = norms.max() + samples.dtype.type(self._norms.max())
        return bool(np.isfinite(4 * largest) or np.isfinite(out.max()))

    def _again(self, tile: NDArray, which: NDArray, units: NDArray) -> NDArray[np.float64]:
        """Compute distances of pairs of a row and a unit from their differences, in chunks."""
        apart = np.empty(len(which))
        for chunk in row_slices(len(which), max(1, _DIFFERENCES // tile.shape[1])):
            differences = self._frame.enter(tile[which[chunk]].astype(np.float64))
            differences -= self._units[units[chunk]]
            if self._has_missing:
                np.copyto(differences, 0, where=np.isnan(differences))
            apart[chunk] = lengths(differences, self._samples.geometry)
        return apart


class _Absolute:
    """Distances that are no product; in TensorFlow."""

    def __init__(self, samples: Samples, frame: Frame, units: NDArray[np.float64]) -> None:
        self._samples, self._frame, self._units = samples, frame, tf.constant(units)
        n_samples, n_features = samples.shape
        self.n_tile = tile_rows(2 * len(units), n_features)
        tiling = Tiling.of(samples, self.n_tile, len(units), n_columns=0, n_samples=n_samples)
        self._compiled_rows = tf.constant(tiling.compiled_rows if tiling else 0)
        self._graph = _absolute_distances(
            tf.as_dtype(samples.dtype), samples.has_missing, samples.geometry
        )

    def fill(self, out: NDArray, rows: slice) -> bool:
        """Compute the distances of a tile, in the frame, and say whether all are finite."""
        values, _ = load(self._samples, rows, self._frame, self._samples.dtype, map)
        found, is_finite = self._graph(values, self._units, self._compiled_rows)
        out[:] = np.asarray(found)
        return bool(is_finite)


@one_graph
def _absolute_distances(
    dtype: tf.DType, is_incomplete: bool, geometry: str
) -> tf.types.experimental.PolymorphicFunction:
    def distances(
        rows: tf.Tensor, codebook: tf.Tensor, compiled_rows: tf.Tensor
    ) -> list[tf.Tensor]:
        terms = search_terms(codebook, tf.ones([], tf.float64), is_incomplete, geometry)
        apart = absolute_distances(tf.cast(rows, tf.float64), terms, compiled_rows)
        return [tf.cast(apart, dtype), tf.math.is_finite(tf.reduce_max(apart))]

    signature = [tf.TensorSpec([None, None], dtype), tf.TensorSpec([None, None], tf.float64)]
    signature.append(tf.TensorSpec([], tf.int32))
    return tf.function(distances, input_signature=signature, autograph=False)


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
        if samples.geometry == "spherical":
            result[rows][~tile.any(axis=1)] = 1  # zeros have no direction

    n_features = samples.shape[1]
    n_rows = min(_MIN_DIFFERENCE_ROWS, _MOST_DIFFERENCES // n_features)
    n_rows = max(1, n_rows, _DIFFERENCES // n_features)
    map_tiles(fill, row_slices(len(samples), n_rows))
    if not np.isfinite(result).all():
        raise ValueError(TOO_FAR.format("float64"))
    return result

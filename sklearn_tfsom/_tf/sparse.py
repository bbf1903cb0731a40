"""Sparse samples: search, statistics and distances by sparse products; they stay sparse.

Samples x are scaled into the frame but not centered, which would cost them their zeros. The
center c goes into the scores algebraically::

    |x - c - w|^2 - |x - c|^2 = |w|^2 + 2 c.w - 2 x.w

All scores come from float32 products; the few rows that these leave open are settled by float64
ones. A CSR matrix of TensorFlow cannot enter a graph, so tiles follow each other in Python; what
comes after the product of a tile is a graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._tf.exact import FAR, NOISE, search_terms
from sklearn_tfsom._tf.frame import Frame, as_distances
from sklearn_tfsom._tf.graphs import one_graph
from sklearn_tfsom._tf.search import bmus_by_score, tile_rows

if TYPE_CHECKING:
    from sklearn_tfsom._samples import Samples

# Values of a chunk of differences between samples and units, the only place where rows are
# written out.
_CHUNK_VALUES = 2**20

# Differences that are written out to settle the ambiguous rows of a tile, at most.
_MOST_DIFFERENCES = 2**24

# Stored values that are summed up at once.
_SUMMED_VALUES = 2**20

# Squared distances below this share of the squared norms have lost digits to cancellation; they
# are computed again from the difference.
_CANCELLATION = 1e-6


class SparseRows(NamedTuple):
    """Samples in the frame, but for its center."""

    matrix: Any  # CSR (n, n_features), of the samples' dtype
    lengths: NDArray[np.float64]  # (n,) norms
    norms: NDArray[np.float64]  # (n,) squared distances to the center

    def take(self, rows: NDArray[np.int64] | slice) -> SparseRows:
        """Return some of the rows."""
        return SparseRows(self.matrix[rows], self.lengths[rows], self.norms[rows])


class SparseTerms(NamedTuple):
    """What the search needs of a codebook."""

    codebook: tf.Tensor  # (n_units, n_features) float64, in the frame
    center: NDArray[np.float64]  # (n_features,), in the frame but for itself
    factors: tf.Tensor  # these four as in `exact.Terms`
    bias: tf.Tensor
    factors32: tf.Tensor
    bias32: tf.Tensor
    largest: float  # norm of a code vector
    origin: float  # norm of the center

    def units(self) -> NDArray[np.float64]:
        """Return the code vectors in the frame but for its center, as the samples are."""
        return self.codebook.numpy() + self.center


def load_sparse(samples: Samples, frame: Frame) -> SparseRows:
    """Move samples into the frame, but for its center."""
    origin = frame.center * frame.scale
    matrix = samples[:].copy()
    lengths, norms = np.empty(len(samples)), np.empty(len(samples))
    for rows in samples.tiles():
        stored = slice(matrix.indptr[rows][0], matrix.indptr[1:][rows][-1])
        matrix.data[stored] *= matrix.dtype.type(frame.scale)
        values = matrix.data[stored].astype(np.float64)
        shifts = origin[matrix.indices[stored]]
        n_stored = np.diff(matrix.indptr[rows.start : rows.stop + 1])
        each = np.repeat(np.arange(len(n_stored)), n_stored)
        # Of the stored values, and of the zeros beside them.
        of_stored = np.bincount(each, (values - shifts) ** 2, minlength=len(n_stored))
        beside = origin @ origin - np.bincount(each, shifts**2, minlength=len(n_stored))
        norms[rows] = of_stored + np.maximum(beside, 0)
        lengths[rows] = np.sqrt(np.bincount(each, values**2, minlength=len(n_stored)))
    return SparseRows(matrix, lengths, norms)


def as_csr(matrix: Any, dtype: Any) -> tf.Tensor:
    """Return a CSR matrix as TensorFlow has it."""
    return tf.raw_ops.SparseTensorToCSRSparseMatrix(
        indices=np.stack([_row_of_each(matrix), matrix.indices.astype(np.int64)], axis=1),
        values=matrix.data.astype(dtype),
        dense_shape=np.array(matrix.shape, np.int64),
    )


def _row_of_each(matrix: Any) -> NDArray[np.int64]:
    """Return the row of each stored value."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


@one_graph
def _terms() -> tf.types.experimental.PolymorphicFunction:
    def terms(codebook: tf.Tensor, origin: tf.Tensor) -> list[tf.Tensor]:
        made = search_terms(codebook, tf.ones([], tf.float64), False, origin=origin)
        return [made.factors, made.bias, made.factors32, made.bias32, made.largest]

    signature = [tf.TensorSpec([None, None], tf.float64), tf.TensorSpec([None], tf.float64)]
    return tf.function(terms, input_signature=signature, autograph=False)


@one_graph
def _search() -> tf.types.experimental.PolymorphicFunction:
    def search(product: tf.Tensor, margin: tf.Tensor, bias: tf.Tensor) -> list[tf.Tensor]:
        scores = tf.nn.bias_add(product, tf.reshape(bias, [-1]))
        return list(bmus_by_score(scores, margin, bias))

    signature = [
        tf.TensorSpec([None, None], tf.float32),
        tf.TensorSpec([None], tf.float32),
        tf.TensorSpec([None, None], tf.float32),
    ]
    return tf.function(search, input_signature=signature, autograph=False)


def sparse_terms(codebook: tf.Tensor, frame: Frame) -> SparseTerms:
    """Prepare a codebook (n_units, n_features), float64 and in the frame, for the search."""
    origin = frame.center * frame.scale
    factors, bias, factors32, bias32, largest = _terms()(codebook, tf.constant(origin))
    return SparseTerms(
        codebook,
        origin,
        factors,
        bias,
        factors32,
        bias32,
        float(largest),
        float(np.linalg.norm(origin)),
    )


def _rounding(rows: SparseRows, terms: SparseTerms, unit_roundoff: float) -> NDArray[np.float64]:
    """Bound the difference that rounding makes between two scores, (n,).

    As `exact.rounding`, for a product over the stored values only, of rows that are not centered.
    The bias is a sum over all features in float64, and rounded once.
    """
    n_features = rows.matrix.shape[1]
    n_terms = int(np.diff(rows.matrix.indptr).max(initial=0))
    of_bias = terms.largest * (terms.largest + 2 * terms.origin)
    of_scores = (1.1 * n_terms + 8) * unit_roundoff * 2 * rows.lengths * terms.largest
    of_scores += (4 * unit_roundoff + 1.1 * n_features * 2.0**-53) * of_bias
    noise = _noise(rows, terms)
    return 2 * of_scores + 4 * noise * (rows.lengths + terms.origin + terms.largest)


def _noise(rows: SparseRows, terms: SparseTerms) -> NDArray[np.float64]:
    """Bound how far rounding moved a sample and a code vector apart, (n,)."""
    return NOISE * (np.minimum(np.sqrt(rows.norms), FAR * terms.largest) + terms.origin + 1)


def scores_float64(rows: SparseRows, terms: SparseTerms) -> NDArray[np.float64]:
    """Compute the scores of rows and all units, (n, n_units)."""
    product = tf.raw_ops.SparseMatrixMatMul(a=as_csr(rows.matrix, np.float64), b=terms.factors)
    return (product + terms.bias).numpy()


def first_within_rounding(
    scores: NDArray[np.float64], rows: SparseRows, terms: SparseTerms
) -> NDArray[np.int64]:
    """Find the first unit that is the closest within rounding, (n,).

    As `exact.lowest_within_rounding`: differences decide where scores cannot, unless there are so
    many that it would take long to write them out; then the first of those that scores leave.
    """
    limit = scores.min(axis=1) + _rounding(rows, terms, 2.0**-53)
    near = scores <= limit[:, None]
    which, units = np.nonzero(near)
    n_differences = len(which) * rows.matrix.shape[1]
    if len(scores) < len(which) and n_differences <= _MOST_DIFFERENCES:
        squared = squared_distances(rows, terms.units(), (which, units))
        best = np.minimum.reduceat(squared, np.searchsorted(which, np.arange(len(scores))))
        noise = _noise(rows, terms)
        near[which, units] = squared <= (best + noise * (2 * np.sqrt(best) + noise))[which]
    return np.argmax(near, axis=1)


def search_sparse(
    rows: SparseRows, csr32: tf.Tensor, terms: SparseTerms
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the best-matching unit of each row of a tile.

    Parameters
    ----------
    rows : SparseRows
    csr32 : Tensor
        ``as_csr(rows.matrix, np.float32)``.
    terms : SparseTerms

    Returns
    -------
    bmus : ndarray of int64, shape (n,)
    squared : ndarray of float64, shape (n,)
        Squared distances to them, in the frame; those from float32 scores with their error.
    """
    product = tf.raw_ops.SparseMatrixMatMul(a=csr32, b=terms.factors32)
    margin = tf.constant(_rounding(rows, terms, 2.0**-24), tf.float32)
    units, lowest32, is_clear = _search()(product, margin, terms.bias32)
    bmus, lowest = units.numpy().astype(np.int64), lowest32.numpy().astype(np.float64)
    few = np.flatnonzero(~is_clear.numpy())
    if len(few):
        ambiguous = rows.take(few)
        scores = scores_float64(ambiguous, terms)
        bmus[few] = first_within_rounding(scores, ambiguous, terms)
        lowest[few] = scores[np.arange(len(few)), bmus[few]]
    return bmus, np.maximum(rows.norms + lowest, 0)


def squared_distances(
    rows: SparseRows,
    codebook: NDArray[np.float64],
    pairs: tuple[NDArray[np.int64], ...],
) -> NDArray[np.float64]:
    """Squared distances of pairs of a row and a unit from their differences, in chunks.

    The codebook is in the frame, but for its center, as the rows are.
    """
    which, units = pairs
    squared = np.empty(len(which))
    step = max(1, _CHUNK_VALUES // codebook.shape[1])
    for first in range(0, len(which), step):
        chunk = slice(first, first + step)
        matrix, differences = rows.matrix[which[chunk]], codebook[units[chunk]]
        differences[_row_of_each(matrix), matrix.indices] -= matrix.data
        squared[chunk] = np.einsum("ij,ij->i", differences, differences)
    return squared


class SparseData:
    """Samples to learn from, in memory."""

    def __init__(self, samples: Samples, weights: NDArray[np.float64], frame: Frame) -> None:
        self._rows, self._weights, self._frame = load_sparse(samples, frame), weights, frame
        self._geometry = samples.geometry
        self._n_tile = 0
        self._tiles: list[tuple[slice, SparseRows, tf.Tensor]] = []

    def statistics(self, codebook: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Search all samples and sum them up: what `training.Statistics` holds."""
        n_units, _ = codebook.shape
        if self._n_tile != tile_rows(n_units):  # 3 ms for 10^6 stored values
            self._n_tile = tile_rows(n_units)
            self._tiles = [
                (tile, self._rows.take(tile), as_csr(self._rows.matrix[tile], np.float32))
                for tile in _slices(len(self._weights), self._n_tile)
            ]
        terms = sparse_terms(codebook, self._frame)
        bmus = np.empty(len(self._weights), np.int64)
        error = tf.zeros([], tf.float64)
        for tile, rows, csr32 in self._tiles:
            bmus[tile], squared = search_sparse(rows, csr32, terms)
            distances = as_distances(tf.constant(squared), self._geometry)
            error += tf.tensordot(tf.constant(self._weights[tile]), distances, 1)
        counts = np.bincount(bmus, self._weights, minlength=n_units)[:, None]
        sums = self._sums(bmus, n_units) - self._frame.center * self._frame.scale * counts
        return tf.constant(sums), tf.constant(counts), error

    def _sums(self, bmus: NDArray[np.int64], n_units: int) -> NDArray[np.float64]:
        """Sum up rows by unit, (n_units, n_features), many stored values at a time.

        Measured for 10^6 values, 400 units and 5,000 features: 5 ms; a segment sum in TensorFlow
        takes 13, a product of two sparse matrices 11, one with the units one-hot 39.
        """
        matrix = self._rows.matrix
        n_features = matrix.shape[1]
        sums = np.zeros(n_units * n_features)
        step = max(1, _SUMMED_VALUES * len(bmus) // max(1, len(matrix.data)))
        for chunk in _slices(len(bmus), step):
            bounds = matrix.indptr[chunk.start : chunk.stop + 1]
            n_stored, stored = np.diff(bounds), slice(bounds[0], bounds[-1])
            places = np.repeat(bmus[chunk] * n_features, n_stored) + matrix.indices[stored]
            values = np.repeat(self._weights[chunk], n_stored) * matrix.data[stored]
            sums += np.bincount(places, values, minlength=len(sums))
        return sums.reshape(n_units, n_features)


def _slices(n_rows: int, step: int) -> list[slice]:
    return [slice(first, first + step) for first in range(0, n_rows, step)]


def _tiles_of(
    samples: Samples, n_units: int, frame: Frame
) -> Iterator[tuple[slice, SparseRows]]:
    for tile in _slices(len(samples), tile_rows(4 * n_units)):
        yield tile, load_sparse(samples.take(tile), frame)


def nearest(samples: Samples, codebook: NDArray, n_bmus: int = 1) -> NDArray[np.int64]:
    """Find the best-matching units of sparse samples, as `inference.nearest` does."""
    frame = Frame.of_codebook(codebook, samples.dtype)
    terms = sparse_terms(tf.constant(frame.enter(codebook)), frame)
    bmus = np.empty((len(samples), n_bmus), dtype=np.int64)
    for tile, rows in _tiles_of(samples, len(codebook), frame):
        if n_bmus == 1:
            bmus[tile, 0], _ = search_sparse(rows, as_csr(rows.matrix, np.float32), terms)
            continue
        scores = scores_float64(rows, terms)
        for place in range(n_bmus):
            found = first_within_rounding(scores, rows, terms)
            scores[np.arange(len(found)), found] = np.inf
            bmus[tile, place] = found
    return bmus


def apart(samples: Samples, codebook: NDArray, bmus: NDArray) -> NDArray[np.float64]:
    """Compute the distances of sparse samples to chosen units, as `inference.apart` does."""
    frame = Frame.of_codebook(codebook, samples.dtype)
    units = frame.enter(codebook)
    terms = sparse_terms(tf.constant(units), frame)
    bias, norms = terms.bias.numpy(), np.einsum("ij,ij->i", units, units)
    not_centered = terms.units()
    result = np.empty(bmus.shape)
    for tile, rows in _tiles_of(samples, len(codebook), frame):
        matrix = rows.matrix
        each = _row_of_each(matrix)
        for place, chosen in enumerate(bmus[tile].T):
            products = matrix.data * units[chosen[each], matrix.indices]
            product = np.bincount(each, products, minlength=len(chosen))
            squared = rows.norms + bias[chosen] - 2 * product
            suspects = np.flatnonzero(~(squared > _CANCELLATION * (rows.norms + norms[chosen])))
            squared[suspects] = squared_distances(rows, not_centered, (suspects, chosen[suspects]))
            result[tile, place] = squared
        _to_distances(result[tile], rows, samples.geometry, frame)
    return result


def distances(samples: Samples, codebook: NDArray) -> NDArray:
    """Compute the distances of sparse samples to all units, as `inference.distances` does."""
    frame = Frame.of_codebook(codebook, samples.dtype)
    units = frame.enter(codebook)
    terms = sparse_terms(tf.constant(units), frame)
    norms = np.einsum("ij,ij->i", units, units)
    not_centered = terms.units()
    result = np.empty((len(samples), len(codebook)), dtype=samples.dtype)
    for tile, rows in _tiles_of(samples, len(codebook), frame):
        squared = scores_float64(rows, terms) + rows.norms[:, None]
        suspects = np.nonzero(~(squared > _CANCELLATION * (rows.norms[:, None] + norms)))
        squared[suspects] = squared_distances(rows, not_centered, suspects)
        result[tile] = _to_distances(squared, rows, samples.geometry, frame)
    return result


def _to_distances(
    squared: NDArray[np.float64], rows: SparseRows, geometry: str, frame: Frame
) -> NDArray[np.float64]:
    """Turn squared distances in the frame into distances in data units, in place."""
    if geometry == "spherical":
        squared /= 2 * frame.scale**2
        squared[rows.lengths == 0] = 1  # of zeros, that have no direction
        return squared
    np.sqrt(squared, out=squared)
    squared /= frame.scale
    return squared

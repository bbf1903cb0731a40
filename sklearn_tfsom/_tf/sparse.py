"""Sparse samples: search, statistics and distances by sparse products; they stay sparse.

Nothing is centered here, which would cost samples their zeros: the frame of sparse samples lies
around the origin. Scores of all units come from float32 products; where these leave it open which
unit is the closest, float64 products of the units that compete decide, and where these do, too,
the differences.

A CSR matrix of TensorFlow cannot enter a graph, so tiles follow each other in Python; what comes
after the product of a tile is a graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._data.samples import row_slices
from sklearn_tfsom._tf.exact import FAR, NOISE, search_terms
from sklearn_tfsom._tf.frame import TOO_FAR, Frame, as_distances
from sklearn_tfsom._tf.graphs import one_graph
from sklearn_tfsom._tf.lowest import bmus_by_score
from sklearn_tfsom._tf.search import tile_rows

if TYPE_CHECKING:
    from sklearn_tfsom._data.samples import Samples

# Values of a chunk of differences between samples and units, the only place where rows are
# written out, and of all such chunks for a tile.
_CHUNK_VALUES = 2**20
_MOST_DIFFERENCES = 2**24

# Stored values that are summed up at once.
_SUMMED_VALUES = 2**20

# So many units that compete for a sample are met one by one; more in a product with all.
_MAX_NEAR = 8

# Squared distances below this share of the squared norms have lost digits to cancellation; they
# are computed again from the difference.
_CANCELLATION = 1e-6

_MATRIX32 = tf.TensorSpec([None, None], tf.float32)
_MATRIX = tf.TensorSpec([None, None], tf.float64)
_VECTOR = tf.TensorSpec([None], tf.float64)


class SparseRows(NamedTuple):
    """Samples in the frame."""

    matrix: Any  # CSR (n, n_features), of the samples' dtype
    norms: NDArray[np.float64]  # (n,) squared

    def take(self, rows: NDArray[np.int64] | slice) -> SparseRows:
        """Return some of the rows."""
        return SparseRows(self.matrix[rows], self.norms[rows])

    def dot(self, units: NDArray, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """Multiply each row with one of the units (n_units, n_features)."""
        each = _row_of_each(self.matrix)
        products = self.matrix.data * units[chosen[each], self.matrix.indices]
        return np.bincount(each, products, minlength=len(chosen)).astype(np.float64, copy=False)


class SparseTerms(NamedTuple):
    """What the search needs of a codebook."""

    codebook: NDArray[np.float64]  # (n_units, n_features), in the frame
    bias: NDArray[np.float64]  # (n_units,) squared norms
    factors32: tf.Tensor  # as in `exact.Terms`
    bias32: tf.Tensor  # the same, (n_layers, n_lanes)
    largest: float  # norm of a code vector


def load_sparse(samples: Samples, scale: float) -> SparseRows:
    """Move samples into the frame.

    Raises
    ------
    ValueError
        Where squared norms leave float64's range.
    """
    matrix = samples[:].copy()
    norms = np.empty(len(samples))
    for rows in _chunks(matrix.indptr, len(samples)):
        bounds = matrix.indptr[rows.start : rows.stop + 1]
        stored = slice(bounds[0], bounds[-1])
        each = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        with np.errstate(over="ignore"):
            matrix.data[stored] *= matrix.dtype.type(scale)
            squares = matrix.data[stored].astype(np.float64) ** 2
        norms[rows] = np.bincount(each, squares, minlength=len(bounds) - 1)
        if not np.isfinite(norms[rows]).all():
            raise ValueError(TOO_FAR.format("float64"))
    return SparseRows(matrix, norms)


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


def _chunks(indptr: NDArray, n_rows: int) -> list[slice]:
    """Cut rows into chunks of about as many stored values as are summed up at once."""
    n_stored = max(1, int(indptr[-1]))
    return row_slices(n_rows, max(1, _SUMMED_VALUES * n_rows // n_stored))


@one_graph
def _terms() -> tf.types.experimental.PolymorphicFunction:
    def terms(codebook: tf.Tensor) -> list[tf.Tensor]:
        made = search_terms(codebook, tf.ones([], tf.float64), False)
        bias32 = tf.reshape(made.bias32, made.layout.in_layers[1:])
        return [made.bias, made.factors32, bias32, made.bounds.largest]

    return tf.function(terms, input_signature=[_MATRIX], autograph=False)


@one_graph
def _search() -> tf.types.experimental.PolymorphicFunction:
    def search(product: tf.Tensor, margin: tf.Tensor, bias: tf.Tensor) -> list[tf.Tensor]:
        scores = tf.nn.bias_add(product, tf.reshape(bias, [-1]))
        in_layers = tf.reshape(scores, tf.concat([[-1], tf.shape(bias)], axis=0))
        return [scores, *bmus_by_score(in_layers, margin)]

    signature = [_MATRIX32, tf.TensorSpec([None], tf.float32), _MATRIX32]
    return tf.function(search, input_signature=signature, autograph=False)


@one_graph
def _squared() -> tf.types.experimental.PolymorphicFunction:
    def squared(product: tf.Tensor, bias: tf.Tensor, norms: tf.Tensor) -> list[tf.Tensor]:
        values = bias + norms[:, None] - 2 * product
        limit = _CANCELLATION * (norms + tf.reduce_max(bias))
        return [values, tf.where(~(tf.reduce_min(values, axis=1) > limit))[:, 0]]

    return tf.function(squared, input_signature=[_MATRIX, _VECTOR, _VECTOR], autograph=False)


def sparse_terms(codebook: tf.Tensor) -> SparseTerms:
    """Prepare a codebook (n_units, n_features), float64 and in the frame, for the search."""
    bias, factors32, bias32, largest = _terms()(codebook)
    return SparseTerms(np.asarray(codebook), bias.numpy(), factors32, bias32, float(largest))


def _rounding(rows: SparseRows, terms: SparseTerms, unit_roundoff: float) -> NDArray[np.float64]:
    """Bound the difference that rounding makes between two scores, (n,).

    As `exact.rounding`, for a product over the stored values only. The bias is a sum over all
    features in float64, and rounded once.
    """
    n_features = rows.matrix.shape[1]
    n_terms = int(np.diff(rows.matrix.indptr).max(initial=0))
    lengths = np.sqrt(rows.norms)
    of_scores = (1.1 * n_terms + 8) * unit_roundoff * 2 * lengths * terms.largest
    of_scores += (4 * unit_roundoff + 1.1 * n_features * 2.0**-53) * terms.largest**2
    return 2 * of_scores + 4 * _noise(rows, terms) * (lengths + terms.largest)


def _noise(rows: SparseRows, terms: SparseTerms) -> NDArray[np.float64]:
    """Bound how far rounding moved a sample and a code vector apart, (n,)."""
    return NOISE * (np.minimum(np.sqrt(rows.norms), FAR * terms.largest) + terms.largest)


def _products(rows: SparseRows, factors: tf.Tensor) -> tf.Tensor:
    """Multiply rows with factors (n_features, n_units) in float64, (n, n_units)."""
    return tf.raw_ops.SparseMatrixMatMul(a=as_csr(rows.matrix, np.float64), b=factors)


def _first(
    scores: NDArray[np.float64], near: NDArray[np.bool_], rows: SparseRows, terms: SparseTerms
) -> NDArray[np.int64]:
    """Find the first unit that is the closest within rounding, (n,), among those that are near.

    As `exact.decide`: differences decide where scores cannot, unless there are so
    many (a map whose units coincide) that it would take long to write them out; then the first of
    those that scores leave.
    """
    candidates = np.where(near, scores, np.inf)
    limit = candidates.min(axis=1) + _rounding(rows, terms, 2.0**-53)
    near = candidates <= limit[:, None]
    pairs = np.nonzero(near)
    most = max(_MAX_NEAR * len(near), _MOST_DIFFERENCES / rows.matrix.shape[1])
    if len(near) < len(pairs[0]) <= most:
        squared = squared_distances(rows, terms.codebook, pairs)
        best = np.minimum.reduceat(squared, np.searchsorted(pairs[0], np.arange(len(near))))
        noise = _noise(rows, terms)
        near[pairs] = squared <= (best + noise * (2 * np.sqrt(best) + noise))[pairs[0]]
    return np.argmax(near, axis=1)


def _settle(
    rows: SparseRows, near: NDArray[np.bool_], terms: SparseTerms
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Settle rows for which float32 scores leave several units, or none; return their scores."""
    pairs = np.nonzero(near)
    if near.any(axis=1).all() and len(pairs[0]) <= _MAX_NEAR * len(near):
        scores = np.full(near.shape, np.inf)
        products = rows.take(pairs[0]).dot(terms.codebook, pairs[1])
        scores[pairs] = terms.bias[pairs[1]] - 2 * products
    else:
        near = np.ones_like(near)
        factors = tf.transpose(terms.codebook)
        scores = terms.bias - 2 * _products(rows, factors).numpy()
    bmus = _first(scores, near, rows, terms)
    return bmus, scores[np.arange(len(bmus)), bmus]


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
    margin = _rounding(rows, terms, 2.0**-24).astype(np.float32)
    scores, units, lowest32, is_clear = _search()(product, tf.constant(margin), terms.bias32)
    bmus, lowest = units.numpy().astype(np.int64), lowest32.numpy().astype(np.float64)
    few = np.flatnonzero(~is_clear.numpy())
    if len(few):
        scores32 = tf.gather(scores, few).numpy()[:, : len(terms.bias)]
        near = scores32 <= (scores32.min(axis=1) + margin[few])[:, None]
        bmus[few], lowest[few] = _settle(rows.take(few), near, terms)
    return bmus, np.maximum(rows.norms + lowest, 0)


def squared_distances(
    rows: SparseRows,
    codebook: NDArray[np.float64],
    pairs: tuple[NDArray[np.int64], ...],
) -> NDArray[np.float64]:
    """Squared distances of pairs of a row and a unit from their differences, in chunks."""
    which, units = pairs
    squared = np.empty(len(which))
    for chunk in row_slices(len(which), max(1, _CHUNK_VALUES // codebook.shape[1])):
        matrix, differences = rows.matrix[which[chunk]], codebook[units[chunk]]
        differences[_row_of_each(matrix), matrix.indices] -= matrix.data
        squared[chunk] = np.einsum("ij,ij->i", differences, differences)
    return squared


class SparseData:
    """Samples to learn from, in memory."""

    def __init__(self, samples: Samples, weights: NDArray[np.float64], frame: Frame) -> None:
        self._rows, self._weights = load_sparse(samples, frame.scale), weights
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
                for tile in row_slices(len(self._weights), self._n_tile)
            ]
        terms = sparse_terms(codebook)
        bmus = np.empty(len(self._weights), np.int64)
        error = tf.zeros([], tf.float64)
        for tile, rows, csr32 in self._tiles:
            bmus[tile], squared = search_sparse(rows, csr32, terms)
            distances = as_distances(tf.constant(squared), self._geometry)
            error += tf.tensordot(tf.constant(self._weights[tile]), distances, 1)
        counts = np.bincount(bmus, self._weights, minlength=n_units)[:, None]
        return tf.constant(self._sums(bmus, n_units)), tf.constant(counts), error

    def _sums(self, bmus: NDArray[np.int64], n_units: int) -> NDArray[np.float64]:
        """Sum up rows by unit, (n_units, n_features), many stored values at a time.

        Measured for 10^6 values, 400 units and 5,000 features: 5 ms; a segment sum in TensorFlow
        takes 13, a product of two sparse matrices 11, one with the units one-hot 39.
        """
        matrix = self._rows.matrix
        n_features = matrix.shape[1]
        sums: NDArray[np.float64] | None = None
        for chunk in _chunks(matrix.indptr, len(bmus)):
            bounds = matrix.indptr[chunk.start : chunk.stop + 1]
            n_stored, stored = np.diff(bounds), slice(bounds[0], bounds[-1])
            places = np.repeat(bmus[chunk] * n_features, n_stored) + matrix.indices[stored]
            values = np.repeat(self._weights[chunk], n_stored) * matrix.data[stored]
            found = np.bincount(places, values, minlength=n_units * n_features)
            part = found.astype(np.float64, copy=False)  # of nothing it is an integer
            sums = part if sums is None else np.add(sums, part, out=sums)
        assert sums is not None
        return sums.reshape(n_units, n_features)


def _in_frame(codebook: NDArray, dtype: Any) -> tuple[NDArray[np.float64], float]:
    """Return the codebook in the frame of sparse samples, and its scale."""
    frame = Frame.of_codebook(codebook, dtype, is_centered=False)
    return codebook * np.float64(frame.scale), frame.scale


def _tiles_of(samples: Samples, n_units: int, scale: float) -> Iterator[tuple[slice, SparseRows]]:
    for block in samples.tiles():
        rows = load_sparse(samples.take(block), scale)
        for tile in row_slices(len(rows.norms), tile_rows(4 * n_units)):
            where = slice(block.start + tile.start, block.start + tile.stop)
            yield where, rows.take(tile)


def nearest(samples: Samples, codebook: NDArray, n_bmus: int = 1) -> NDArray[np.int64]:
    """Find the best-matching units of sparse samples, as `inference.nearest` does."""
    units, scale = _in_frame(codebook, samples.dtype)
    terms = sparse_terms(tf.constant(units))
    factors = tf.transpose(units) if n_bmus > 1 else None
    bmus = np.empty((len(samples), n_bmus), dtype=np.int64)
    for tile, rows in _tiles_of(samples, len(units), scale):
        if n_bmus == 1:
            bmus[tile, 0], _ = search_sparse(rows, as_csr(rows.matrix, np.float32), terms)
            continue
        scores = terms.bias - 2 * _products(rows, factors).numpy()
        for place in range(n_bmus):
            found = _first(scores, np.ones_like(scores, dtype=bool), rows, terms)
            scores[np.arange(len(found)), found] = np.inf
            bmus[tile, place] = found
    return bmus


def apart(samples: Samples, codebook: NDArray, bmus: NDArray) -> NDArray[np.float64]:
    """Compute the distances of sparse samples to chosen units, as `distances.apart` does."""
    units, scale = _in_frame(codebook, samples.dtype)
    bias = np.einsum("ij,ij->i", units, units)
    result = np.empty(bmus.shape)
    for tile, rows in _tiles_of(samples, len(units), scale):
        for place, chosen in enumerate(bmus[tile].T):
            norms = rows.norms + bias[chosen]
            squared = norms - 2 * rows.dot(units, chosen)
            suspects = np.flatnonzero(~(squared > _CANCELLATION * norms))
            squared[suspects] = squared_distances(rows, units, (suspects, chosen[suspects]))
            result[tile, place] = squared
        _to_distances(result[tile], rows, samples.geometry, scale)
    return result


def distances(samples: Samples, codebook: NDArray) -> NDArray:
    """Compute the distances of sparse samples to all units, as `distances.distances` does."""
    units, scale = _in_frame(codebook, samples.dtype)
    bias, factors = np.einsum("ij,ij->i", units, units), tf.transpose(units)
    result = np.empty((len(samples), len(units)), dtype=samples.dtype)
    for tile, rows in _tiles_of(samples, len(units), scale):
        products, norms = _products(rows, factors), tf.constant(rows.norms)
        squared, suspects = _squared()(products, tf.constant(bias), norms)
        values = squared.numpy()
        few = suspects.numpy()
        if len(few):
            limit = _CANCELLATION * (rows.norms[few][:, None] + bias)
            which, chosen = np.nonzero(~(values[few] > limit))
            values[few[which], chosen] = squared_distances(rows, units, (few[which], chosen))
        result[tile] = _to_distances(values, rows, samples.geometry, scale)
    return result


def _to_distances(
    squared: NDArray[np.float64], rows: SparseRows, geometry: str, scale: float
) -> NDArray[np.float64]:
    """Turn squared distances in the frame into distances in data units, in place."""
    if geometry == "spherical":
        squared /= 2 * scale**2
        squared[rows.norms == 0] = 1  # of zeros, that have no direction
        return squared
    np.sqrt(squared, out=squared)
    squared /= scale
    return squared

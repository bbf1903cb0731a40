"""Best-matching units and distances: exact, in tiles, at float32's price.

Inside this room data live in a `Frame`: centered and scaled, so that squares neither lose digits
far from the origin nor leave float32's range. Codebooks stay float64.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

# Scores of one tile, (tile rows x n_units) in float32, should stay in the cache.
_TILE_SCORES = 2**21
_MIN_TILE_ROWS, _MAX_TILE_ROWS = 256, 8192

# Distances whose square is below this share of the squared norms have lost digits to
# cancellation; they are computed again from the difference.
_CANCELLATION = 1e-6


def tile_rows(n_units: int) -> int:
    """Rows per tile: a multiple of 16, so that tiles of an aligned array are aligned."""
    rows = np.clip(_TILE_SCORES // n_units, _MIN_TILE_ROWS, _MAX_TILE_ROWS)
    return int(rows) // 16 * 16


class Frame(NamedTuple):
    """Where data are moved to before anything is computed: ``(x - center) * scale``."""

    center: NDArray[np.float64]  # (n_features,)
    scale: float  # a power of two, so that scaling rounds nothing

    @classmethod
    def around(cls, center: NDArray, spread: float) -> Frame:
        """Make the frame in which `center` is the origin and `spread` about 1."""
        exponent = math.frexp(spread)[1] if 0 < spread < math.inf else 0
        return cls(np.asarray(center, np.float64), math.ldexp(1.0, -max(exponent, -1000)))

    @classmethod
    def of_codebook(cls, codebook: NDArray) -> Frame:
        """Make the frame in which a trained codebook is searched."""
        codebook = np.asarray(codebook, np.float64)
        center = codebook.mean(axis=0)
        return cls.around(center, float(np.abs(codebook - center).max()))

    def enter(self, X: NDArray, out: NDArray | None = None) -> NDArray:
        """Move data into the frame; rounding happens once, to the type of `out` (float64)."""
        out = np.empty(X.shape) if out is None else out
        np.subtract(X, self.center, out=out, dtype=np.float64, casting="same_kind")
        return np.multiply(out, self.scale, out=out)

    def leave(self, codebook: NDArray) -> NDArray[np.float64]:
        """Move a codebook back to data units."""
        return codebook / self.scale + self.center


class Terms(NamedTuple):
    """What a search needs of a codebook, made once for all tiles."""

    codebook: tf.Tensor  # (n_units, n_features) float64
    bias: tf.Tensor  # (n_units,) float64: squared norms of the code vectors
    product32: tf.Tensor  # (n_features, n_units) float32: -2 W^T
    bias32: tf.Tensor  # (n_units,) float32
    largest: tf.Tensor  # () float64: the largest norm of a code vector


def search_terms(codebook: tf.Tensor) -> Terms:
    """Prepare a codebook (n_units, n_features), float64 and in the frame, for the search."""
    bias = tf.reduce_sum(tf.square(codebook), axis=1)
    return Terms(
        codebook,
        bias,
        tf.cast(tf.transpose(-2 * codebook), tf.float32),
        tf.cast(bias, tf.float32),
        tf.sqrt(tf.reduce_max(bias)),
    )


def _rounding(norms: tf.Tensor, terms: Terms, unit_roundoff: float) -> tf.Tensor:
    """Bound the difference that rounding makes between two scores, (n,) float64.

    A score ``|w|^2 - 2 x.w`` in floating point is off by at most ``(n_features + 8) u 2 |x| |w|``
    for the product (Higham 2002, section 3.1, and the rounding of both factors to the type of the
    product) plus ``4 u |w|^2`` for the bias and the last sum; two scores by twice that.
    """
    n_features = tf.cast(tf.shape(terms.codebook)[1], tf.float64)
    largest = terms.largest
    return (4 * unit_roundoff) * largest * ((n_features + 8) * tf.sqrt(norms) + 2 * largest)


def search(rows: tf.Tensor, norms: tf.Tensor, terms: Terms) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the best-matching unit of each row of a tile.

    The scores of all units are computed in float32. A row is ambiguous where a second unit lies
    within the rounding bound of the lowest score (or a score is not finite); these few rows are
    searched again in float64, see `search_float64`. The units found are exactly those of a float64
    search. At 64 features and 400 units on uniform data fewer than one row in 1,000 is ambiguous.

    Parameters
    ----------
    rows : Tensor of float32 or float64, shape (n, n_features)
        The tile, in the frame.
    norms : Tensor of float64, shape (n,)
        Squared norms of the rows.
    terms : Terms
        The codebook.

    Returns
    -------
    bmus : Tensor of int32, shape (n,)
    squared : Tensor of float64, shape (n,)
        Squared distances to them, with float32's error except for the ambiguous rows.
    """
    product = tf.matmul(tf.cast(rows, tf.float32), terms.product32)
    scores = tf.nn.bias_add(product, terms.bias32)
    lowest = tf.reduce_min(scores, axis=1)
    bmus = tf.argmin(scores, axis=1, output_type=tf.int32)
    near = lowest + tf.cast(_rounding(norms, terms, 2.0**-24), tf.float32)
    n_near = tf.math.count_nonzero(scores <= near[:, None], axis=1, dtype=tf.int32)
    lowest = tf.cast(lowest, tf.float64)
    ambiguous = tf.where(n_near != 1)[:, 0]

    def again() -> tuple[tf.Tensor, tf.Tensor]:
        exact, exact_lowest = search_float64(
            tf.cast(tf.gather(rows, ambiguous), tf.float64), tf.gather(norms, ambiguous), terms
        )
        where = ambiguous[:, None]
        return (
            tf.tensor_scatter_nd_update(bmus, where, exact),
            tf.tensor_scatter_nd_update(lowest, where, exact_lowest),
        )

    bmus, lowest = tf.cond(tf.size(ambiguous) > 0, again, lambda: (bmus, lowest))
    return bmus, tf.maximum(norms + lowest, 0)


def search_float64(rows: tf.Tensor, norms: tf.Tensor, terms: Terms) -> tuple[tf.Tensor, tf.Tensor]:
    """Find best-matching units in float64: the lowest index among those within rounding.

    Compact neighborhoods give several units exactly equal code vectors. Rounding alone would
    then choose, and with it the order of a sum or the size of a tile.
    """
    return _lowest(_scores_float64(rows, terms), norms, terms)


def _scores_float64(rows: tf.Tensor, terms: Terms) -> tf.Tensor:
    return terms.bias - 2 * tf.matmul(rows, terms.codebook, transpose_b=True)


def _lowest(scores: tf.Tensor, norms: tf.Tensor, terms: Terms) -> tuple[tf.Tensor, tf.Tensor]:
    lowest = tf.reduce_min(scores, axis=1)
    near = scores <= (lowest + _rounding(norms, terms, 2.0**-53))[:, None]
    n_units = tf.shape(scores)[1]
    first = tf.reduce_min(tf.where(near, tf.range(n_units), n_units - 1), axis=1)
    return first, lowest


def _squared_differences(rows: tf.Tensor, code_vectors: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.math.squared_difference(rows, code_vectors), axis=1)


@functools.cache
def _nearest_tile(dtype: tf.DType) -> tf.types.experimental.PolymorphicFunction:
    """Trace once per precision; no shape is part of the trace."""

    def nearest(rows: tf.Tensor, codebook: tf.Tensor, n_bmus: tf.Tensor) -> list[tf.Tensor]:
        terms = search_terms(codebook)
        exact_rows = tf.cast(rows, tf.float64)
        norms = tf.reduce_sum(tf.square(exact_rows), axis=1)

        def one() -> tf.Tensor:
            return search(rows, norms, terms)[0][None]

        def several() -> tf.Tensor:
            # One after the other, so that ties are settled for each place as for the first.
            n_units = tf.shape(codebook)[0]

            def next_best(place: tf.Tensor, scores: tf.Tensor, found: tf.TensorArray) -> tuple:
                bmus, _ = _lowest(scores, norms, terms)
                taken = tf.one_hot(bmus, n_units, on_value=True, off_value=False, dtype=tf.bool)
                scores = tf.where(taken, tf.constant(np.inf, tf.float64), scores)
                return place + 1, scores, found.write(place, bmus)

            found = tf.TensorArray(tf.int32, size=n_bmus, element_shape=[None])
            _, _, found = tf.while_loop(
                lambda place, *_: place < n_bmus,
                next_best,
                (tf.constant(0), _scores_float64(exact_rows, terms), found),
            )
            return found.stack()

        bmus = tf.cond(n_bmus == 1, one, several)  # (n_bmus, n)
        differences = exact_rows - tf.gather(codebook, bmus)
        return [bmus, tf.sqrt(tf.reduce_sum(tf.square(differences), axis=2))]

    return tf.function(
        nearest,
        input_signature=[
            tf.TensorSpec([None, None], dtype),
            tf.TensorSpec([None, None], tf.float64),
            tf.TensorSpec([], tf.int32),
        ],
        autograph=False,
    )


@functools.cache
def _distances_tile() -> tf.types.experimental.PolymorphicFunction:
    def distances(rows: tf.Tensor, codebook: tf.Tensor) -> tf.Tensor:
        terms = search_terms(codebook)
        norms = tf.reduce_sum(tf.square(rows), axis=1)[:, None]
        squared = norms + _scores_float64(rows, terms)
        cancelled = tf.where(~(squared > _CANCELLATION * (norms + terms.bias)))

        def again() -> tf.Tensor:
            exact = _squared_differences(
                tf.gather(rows, cancelled[:, 0]), tf.gather(codebook, cancelled[:, 1])
            )
            return tf.tensor_scatter_nd_update(squared, cancelled, exact)

        return tf.sqrt(tf.cond(tf.size(cancelled) > 0, again, lambda: squared))

    return tf.function(
        distances, input_signature=[tf.TensorSpec([None, None], tf.float64)] * 2, autograph=False
    )


def _tiles(n_samples: int, n_rows: int) -> Iterator[slice]:
    return (slice(start, start + n_rows) for start in range(0, n_samples, n_rows))


def nearest(
    X: NDArray, codebook: NDArray, n_bmus: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the best-matching units of samples.

    Parameters
    ----------
    X : ndarray of float32 or float64, shape (n_samples, n_features)
    codebook : ndarray, shape (n_units, n_features)
        Both in data units.
    n_bmus : int, default=1
        How many, the best first.

    Returns
    -------
    bmus : ndarray of int64, shape (n_samples, n_bmus)
    distances : ndarray of float64, shape (n_samples, n_bmus)
        Euclidean, in data units; computed from the differences, so that small ones keep digits.
    """
    frame = Frame.of_codebook(codebook)
    inside = tf.constant(frame.enter(codebook))
    tile = _nearest_tile(tf.as_dtype(X.dtype))
    bmus = np.empty((len(X), n_bmus), dtype=np.int64)
    distances = np.empty((len(X), n_bmus))
    n_rows = tile_rows(len(codebook) * (1 if n_bmus == 1 else 4))
    for rows in _tiles(len(X), n_rows):
        x = tf.constant(frame.enter(X[rows], np.empty(X[rows].shape, X.dtype)))
        found, apart = tile(x, inside, tf.constant(n_bmus))
        bmus[rows], distances[rows] = found.numpy().T, apart.numpy().T
    return bmus, distances / frame.scale


def distances(X: NDArray, codebook: NDArray) -> NDArray:
    """Compute the Euclidean distances of samples to all units, in data units.

    Parameters
    ----------
    X : ndarray of float32 or float64, shape (n_samples, n_features)
    codebook : ndarray, shape (n_units, n_features)

    Returns
    -------
    distances : ndarray of X's dtype, shape (n_samples, n_units)
        Computed in float64.
    """
    frame = Frame.of_codebook(codebook)
    inside = tf.constant(frame.enter(codebook))
    result = np.empty((len(X), len(codebook)), dtype=X.dtype)
    for rows in _tiles(len(X), tile_rows(len(codebook) * 2)):
        x = tf.constant(frame.enter(X[rows]))
        np.divide(
            _distances_tile()(x, inside).numpy(),
            frame.scale,
            out=result[rows],
            casting="same_kind",
        )
    return result

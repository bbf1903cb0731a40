"""Best-matching units and distances: exact, in tiles, at float32's price.

Inside this room data live in a `Frame`: centered and scaled, so that squares neither lose digits
far from the origin nor leave float32's range. Codebooks stay float64.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._tf.startup import start_compiler

Graph: TypeAlias = Callable[..., Any]

_tracing = threading.Lock()

# Units are searched in blocks of 16: as many float32 fill a vector register of AVX-512.
_BLOCK = 16

# Scores of one tile, (tile rows x n_units) in float32, should stay in the cache: 8 MiB.
_TILE_SCORES = 2**21
_MIN_TILE_ROWS, _MAX_TILE_ROWS = 256, 8192

# From so many scores on XLA wins back the 50 ms that it takes to compile, in a few epochs.
_MIN_COMPILED_SCORES = 2**23

_TOO_FAR = "X holds values too large: their squared distances leave float64's range. Rescale it."

# Distances whose square is below this share of the squared norms have lost digits to
# cancellation; they are computed again from the difference.
_CANCELLATION = 1e-6


def tile_rows(n_units: int) -> int:
    """Rows per tile: a power of two, so that tiles of an aligned array are aligned."""
    rows = min(max(_TILE_SCORES // n_units, _MIN_TILE_ROWS), _MAX_TILE_ROWS)
    return 2 ** (rows.bit_length() - 1)


def one_graph(make: Callable[..., tf.types.experimental.PolymorphicFunction]) -> Callable:
    """Decorate a function that makes a graph so that each is traced once, by whatever thread.

    Every dimension in the graphs' signatures is None: one trace serves all shapes. What comes back
    is the concrete function, which a call reaches in a third of the time.
    """

    @functools.cache
    def traced(*kind: Any) -> Graph:
        return make(*kind).get_concrete_function()

    @functools.wraps(traced)
    def locked(*kind: Any) -> Graph:
        with _tracing:
            return traced(*kind)

    return locked


def is_worth_compiling(n_samples: int, n_units: int) -> bool:
    """Say whether a search is large enough for XLA, and have the compiler ready if so."""
    if n_samples * n_units < _MIN_COMPILED_SCORES:
        return False
    start_compiler()
    return True


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
        # From the first code vector on, for sums of values at the end of float64's range.
        center = codebook[0] + np.sum((codebook - codebook[0]) / len(codebook), axis=0)
        return cls.around(center, float(np.abs(codebook - center).max()))

    def enter(self, X: NDArray, out: NDArray | None = None) -> NDArray:
        """Move data into the frame, in float64; only the result is rounded to `out`'s type."""
        centered = np.subtract(X, self.center, dtype=np.float64)
        out = centered if out is None else out
        return np.multiply(centered, self.scale, out=out, casting="same_kind")

    def leave(self, codebook: NDArray) -> NDArray[np.float64]:
        """Move a codebook back to data units."""
        return codebook / self.scale + self.center


class Terms(NamedTuple):
    """What a search needs of a codebook, made once for all tiles."""

    codebook: tf.Tensor  # (n_units, n_features) float64
    bias: tf.Tensor  # (n_units,) float64: squared norms of the code vectors
    product32: tf.Tensor  # (n_features, n_padded) float32: -2 W^T
    bias32: tf.Tensor  # (n_padded,) float32; infinite for the padding
    largest: tf.Tensor  # () float64: the largest norm of a code vector


def search_terms(codebook: tf.Tensor) -> Terms:
    """Prepare a codebook (n_units, n_features), float64 and in the frame, for the search."""
    bias = tf.reduce_sum(tf.square(codebook), axis=1)
    padding = -tf.shape(codebook)[0] % _BLOCK
    return Terms(
        codebook,
        bias,
        tf.pad(tf.cast(tf.transpose(-2 * codebook), tf.float32), [[0, 0], [0, padding]]),
        tf.pad(tf.cast(bias, tf.float32), [[0, padding]], constant_values=np.inf),
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


def _winners(scores: tf.Tensor, margin: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Find the lowest of each row of scores, and whether another comes within the margin.

    In two levels, first among blocks of units, then inside the winning block: a plain argmin
    compares one by one, the minimum of a block is a vector instruction. Counting what comes
    within the margin touches the two levels only, not all scores.

    Returns
    -------
    units : Tensor of int32, shape (n,)
    lowest : Tensor of float32, shape (n,)
    is_clear : Tensor of bool, shape (n,)
        False where another score is within the margin, or a score is not finite.
    """
    n_rows, n_padded = tf.unstack(tf.shape(scores))
    blocks = tf.reshape(scores, [n_rows, n_padded // _BLOCK, _BLOCK])
    block_lowest = tf.reduce_min(blocks, axis=2)
    block = tf.argmin(block_lowest, axis=1, output_type=tf.int32)
    inside = tf.gather(blocks, block, batch_dims=1)
    unit = tf.argmin(inside, axis=1, output_type=tf.int32)
    lowest = tf.reduce_min(inside, axis=1)
    limit = (lowest + margin)[:, None]
    n_near = tf.reduce_sum(tf.cast(block_lowest <= limit, tf.int32), axis=1)
    n_near += tf.reduce_sum(tf.cast(inside <= limit, tf.int32), axis=1)
    return block * _BLOCK + unit, lowest, tf.equal(n_near, 2)


# Under XLA the two levels run as one loop, at half the price; but XLA compiles for each shape of
# a tile and number of units (50 ms), so that it is for large data only.
_compiled_winners = tf.function(
    _winners,
    input_signature=[tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.float32)],
    jit_compile=True,
    autograph=False,
)


def search(
    rows: tf.Tensor, norms: tf.Tensor, terms: Terms, *, compiled: bool
) -> tuple[tf.Tensor, tf.Tensor]:
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
    compiled : bool
        Whether XLA compiles the search for the winners.

    Returns
    -------
    bmus : Tensor of int32, shape (n,)
    squared : Tensor of float64, shape (n,)
        Squared distances to them, with float32's error except for the ambiguous rows.
    """
    product = tf.matmul(tf.cast(rows, tf.float32), terms.product32)
    scores = tf.nn.bias_add(product, terms.bias32)
    margin = tf.cast(_rounding(norms, terms, 2.0**-24), tf.float32)
    bmus, lowest, is_clear = (_compiled_winners if compiled else _winners)(scores, margin)
    lowest = tf.cast(lowest, tf.float64)
    ambiguous = tf.where(~is_clear)[:, 0]

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


@one_graph
def _nearest_tile(dtype: tf.DType, compiled: bool) -> tf.types.experimental.PolymorphicFunction:

    def nearest(rows: tf.Tensor, codebook: tf.Tensor, n_bmus: tf.Tensor) -> list[tf.Tensor]:
        terms = search_terms(codebook)
        exact_rows = tf.cast(rows, tf.float64)
        norms = tf.reduce_sum(tf.square(exact_rows), axis=1)

        def one() -> tf.Tensor:
            return search(rows, norms, terms, compiled=compiled)[0][None]

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


@one_graph
def _distances_tile() -> tf.types.experimental.PolymorphicFunction:
    def distances(rows: tf.Tensor, codebook: tf.Tensor) -> list[tf.Tensor]:
        terms = search_terms(codebook)
        norms = tf.reduce_sum(tf.square(rows), axis=1)[:, None]
        squared = norms + _scores_float64(rows, terms)
        cancelled = tf.where(squared <= _CANCELLATION * (norms + terms.bias))

        def again() -> tf.Tensor:
            exact = _squared_differences(
                tf.gather(rows, cancelled[:, 0]), tf.gather(codebook, cancelled[:, 1])
            )
            return tf.tensor_scatter_nd_update(squared, cancelled, exact)

        exact = tf.sqrt(tf.cond(tf.size(cancelled) > 0, again, lambda: squared))
        return [exact, tf.reduce_max(norms)]

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
    n_samples, n_units = len(X), len(codebook)
    compiled = n_bmus == 1 and is_worth_compiling(n_samples, n_units)
    tile = _nearest_tile(tf.as_dtype(X.dtype), compiled)
    bmus = np.empty((n_samples, n_bmus), dtype=np.int64)
    distances = np.empty((n_samples, n_bmus))
    n_tile = tile_rows(n_units if n_bmus == 1 else 4 * n_units)
    # A compiled search wants all tiles of one shape: the last one is filled up with zeros.
    x = np.zeros((n_tile if compiled else min(n_tile, n_samples), X.shape[1]), X.dtype)
    for rows in _tiles(n_samples, n_tile):
        n_rows = len(X[rows])
        frame.enter(X[rows], x[:n_rows])
        found, apart = tile(
            tf.constant(x if compiled else x[:n_rows]), inside, tf.constant(n_bmus)
        )
        bmus[rows] = found.numpy()[:, :n_rows].T
        distances[rows] = apart.numpy()[:, :n_rows].T
    if not np.isfinite(distances).all():
        raise ValueError(_TOO_FAR)
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
        apart, largest = _distances_tile()(tf.constant(frame.enter(X[rows])), inside)
        if not np.isfinite(largest.numpy()):
            raise ValueError(_TOO_FAR)
        np.divide(apart.numpy(), frame.scale, out=result[rows], casting="same_kind")
    return result

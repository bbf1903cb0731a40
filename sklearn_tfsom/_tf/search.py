"""Best-matching units and distances: exact, in tiles, at float32's price.

Inside this room data live in a `Frame`: centered and scaled, so that squares neither lose digits
far from the origin nor leave float32's range. Codebooks stay float64.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import DTypeLike, NDArray

from sklearn_tfsom._tf.silence import startup_lines_held_back

Graph: TypeAlias = Callable[..., Any]

_tracing = threading.Lock()

# Units are searched in blocks of 16: as many float32 fill a vector register of AVX-512.
_BLOCK = 16

# Scores of one tile, (tile rows x n_units) in float32, should stay in the cache: 8 MiB.
_TILE_SCORES = 2**21
_MIN_TILE_ROWS, _MAX_TILE_ROWS = 256, 8192

# From so many scores on XLA wins back the 50 ms that it takes to compile, in a few epochs.
_MIN_COMPILED_SCORES = 2**23

# A sample is far from the map where its norm is this many times that of any code vector.
_FAR = 4.0

# Differences of this many values at a time.
_CHUNK_VALUES = 2**20


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
    with _tracing:
        _start_compiler()
    return True


@functools.cache
def _start_compiler() -> None:
    """Compile something small: XLA has start-up lines of its own."""
    twice = tf.function(lambda x: x + x, jit_compile=True, autograph=False)
    with startup_lines_held_back():
        twice(tf.zeros(1)).numpy()


class Frame(NamedTuple):
    """Where data are moved to before anything is computed: ``(x - center) * scale``."""

    center: NDArray[np.float64]  # (n_features,)
    scale: float  # a power of two, so that scaling rounds nothing

    @classmethod
    def around(cls, center: NDArray, spread: float, dtype: DTypeLike = np.float64) -> Frame:
        """Make the frame in which `center` is the origin and `spread` about 1, for some dtype."""
        center = np.asarray(center, dtype).astype(np.float64)
        exponent = math.frexp(spread)[1] if 0 < spread < math.inf else 0
        limit = 100 if dtype == np.float32 else 1000  # for the scale and its inverse to exist
        return cls(center, math.ldexp(1.0, -min(max(exponent, -limit), limit)))

    @classmethod
    def of_codebook(cls, codebook: NDArray, dtype: DTypeLike) -> Frame:
        """Make the frame in which samples of some dtype are searched by a trained codebook."""
        codebook = np.asarray(codebook, np.float64)
        # From the first code vector on, for sums of values at the end of float64's range.
        center = codebook[0] + np.sum((codebook - codebook[0]) / len(codebook), axis=0)
        return cls.around(center, float(np.abs(codebook - center).max()), dtype)

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
    extent: tf.Tensor  # () float64: of the values that the code vectors are rounded means of


def search_terms(codebook: tf.Tensor, extent: tf.Tensor) -> Terms:
    """Prepare a codebook (n_units, n_features), float64 and in the frame, for the search."""
    bias = tf.reduce_sum(tf.square(codebook), axis=1)
    padding = -tf.shape(codebook)[0] % _BLOCK
    return Terms(
        codebook,
        bias,
        tf.pad(tf.cast(tf.transpose(-2 * codebook), tf.float32), [[0, 0], [0, padding]]),
        tf.pad(tf.cast(bias, tf.float32), [[0, padding]], constant_values=np.inf),
        tf.sqrt(tf.reduce_max(bias)),
        extent,
    )


def _rounding(norms: tf.Tensor, terms: Terms, unit_roundoff: float) -> tf.Tensor:
    """Bound the difference that rounding makes between two scores, (n,) float64.

    A score ``|w|^2 - 2 x.w`` in floating point is off by at most
    ``(1.1 n_features + 8) u 2 |x| |w|`` for the product (Higham 2002, section 3.1, and the
    rounding of both factors to the type of the product) plus ``4 u |w|^2`` for the bias and the
    last sum; two scores by twice that, and by what `_noise` moves the points themselves.
    """
    n_features = tf.cast(tf.shape(terms.codebook)[1], tf.float64)
    largest = terms.largest
    length = tf.sqrt(norms)
    of_scores = (4 * unit_roundoff) * largest * ((1.1 * n_features + 8) * length + 2 * largest)
    return of_scores + 4 * (length + largest) * _noise(norms, terms)


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
    rows: tf.Tensor,
    norms: tf.Tensor,
    terms: Terms,
    exact: Callable[[tf.Tensor], tf.Tensor],
    *,
    compiled: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the best-matching unit of each row of a tile.

    The scores ``|w|^2 - 2 x.w`` of all units are computed in float32. A row is ambiguous where a
    second unit lies within the rounding bound of the lowest score, or a score is not finite; these
    few rows are searched again in float64, see `search_float64`. The units found are exactly those
    of a float64 search. At 64 features and 400 units on uniform data fewer than one row in 1,000
    is ambiguous.

    Parameters
    ----------
    rows : Tensor of float32 or float64, shape (n, n_features)
        The tile, in the frame.
    norms : Tensor of float64, shape (n,)
        Squared norms of the rows.
    terms : Terms
        The codebook.
    exact : callable
        ``exact(picked)`` are the rows of these indices in float64, in the frame.
    compiled : bool
        Whether XLA compiles the search for the winners.

    Returns
    -------
    bmus : Tensor of int32, shape (n,)
    lowest : Tensor of float64, shape (n,)
        Their scores, with float32's error except for the ambiguous rows; not finite where the
        score leaves float64's range.
    """
    product = tf.matmul(tf.cast(rows, tf.float32), terms.product32)
    scores = tf.nn.bias_add(product, terms.bias32)
    margin = tf.cast(_rounding(norms, terms, 2.0**-24), tf.float32)
    bmus, lowest, is_clear = (_compiled_winners if compiled else _winners)(scores, margin)
    lowest = tf.cast(lowest, tf.float64)
    ambiguous = tf.where(~is_clear)

    def again() -> tuple[tf.Tensor, tf.Tensor]:
        exact_bmus, exact_lowest = search_float64(exact(ambiguous[:, 0]), terms)
        return (
            tf.tensor_scatter_nd_update(bmus, ambiguous, exact_bmus),
            tf.tensor_scatter_nd_update(lowest, ambiguous, exact_lowest),
        )

    return tf.cond(tf.size(ambiguous) > 0, again, lambda: (bmus, lowest))


def search_float64(rows: tf.Tensor, terms: Terms) -> tuple[tf.Tensor, tf.Tensor]:
    """Find best-matching units in float64: the lowest index among those within rounding."""
    return lowest_within_rounding(scores_float64(rows, terms), rows, terms)


def scores_float64(rows: tf.Tensor, terms: Terms) -> tf.Tensor:
    """Compute ``|w|^2 - 2 x.w`` for rows (n, n_features) and all units, (n, n_units)."""
    return terms.bias - 2 * tf.matmul(rows, terms.codebook, transpose_b=True)


def lowest_within_rounding(
    scores: tf.Tensor, rows: tf.Tensor, terms: Terms
) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the first unit that is the closest within rounding, and its score.

    Scores are off by rounding of the squared norms. Where code vectors lie much closer to a
    sample than to the center (a sample that has its unit to itself; a map with an outlier), that
    is more than their distances differ. So scores only choose candidates, differences decide.
    What is left of rounding is how far it moved the two points themselves: within that the lowest
    index wins, since compact neighborhoods make code vectors equal, and then rounding alone would
    choose, and with it the order of a sum or the size of a tile.
    """
    n_rows, n_units = tf.unstack(tf.shape(scores))
    norms = tf.reduce_sum(tf.square(rows), axis=1)
    lowest = tf.reduce_min(scores, axis=1)
    near = scores <= (lowest + _rounding(norms, terms, 2.0**-53))[:, None]
    first = tf.reduce_min(tf.where(near, tf.range(n_units), n_units - 1), axis=1)
    # From far away a difference is less exact than a score: there all candidates are as close.
    is_close = norms <= tf.square(_FAR * terms.largest)
    row, unit = tf.unstack(tf.cast(tf.where(near & is_close[:, None]), tf.int32), axis=1)
    squared = squared_distances(lambda picked: tf.gather(rows, picked), terms.codebook, row, unit)
    best = tf.math.unsorted_segment_min(squared, row, n_rows)
    noise = _noise(norms, terms)
    limit = best + noise * (2 * tf.sqrt(best) + noise)
    first_close = tf.math.unsorted_segment_min(
        tf.where(squared <= tf.gather(limit, row), unit, n_units - 1), row, n_rows
    )
    return (
        tf.where(is_close, tf.minimum(first_close, n_units - 1), first),
        tf.where(is_close & tf.math.is_finite(lowest), best - norms, lowest),
    )


def _noise(norms: tf.Tensor, terms: Terms) -> tf.Tensor:
    """Bound how far rounding moved a sample and a code vector apart, (n,) float64."""
    return (16 * 2.0**-53) * (tf.minimum(tf.sqrt(norms), _FAR * terms.largest) + terms.extent)


def squared_distances(
    exact: Callable[[tf.Tensor], tf.Tensor],
    codebook: tf.Tensor,
    samples: tf.Tensor,
    units: tf.Tensor,
) -> tf.Tensor:
    """Squared distances of pairs of a sample and a unit from their differences, in chunks."""
    n_pairs = tf.shape(samples)[0]
    n_chunk = tf.maximum(1, _CHUNK_VALUES // tf.shape(codebook)[1])

    def next_chunk(start: tf.Tensor, found: tf.TensorArray) -> tuple:
        chunk = slice(start, start + n_chunk)
        differences = exact(samples[chunk]) - tf.gather(codebook, units[chunk])
        squared = tf.reduce_sum(tf.square(differences), axis=1)
        return start + n_chunk, found.write(start // n_chunk, squared)

    _, found = tf.while_loop(
        lambda start, _: start < n_pairs,
        next_chunk,
        (
            tf.constant(0),
            tf.TensorArray(
                tf.float64, size=-(-n_pairs // n_chunk), element_shape=[None], infer_shape=False
            ),
        ),
        parallel_iterations=1,
    )
    return found.concat()

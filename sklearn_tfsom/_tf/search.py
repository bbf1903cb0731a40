"""Best-matching units and distances: exact, in tiles, at float32's price.

Inside this room data live in a `Frame`: centered and scaled, so that squares neither lose digits
far from the origin nor leave float32's range. Codebooks stay float64.
"""

from __future__ import annotations

import collections
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

# Units are searched in layers of this many lanes, or a multiple of it; see `_bmus_by_score`.
# Measured against 16 and 64 at 256 to 2,000 units: nowhere slower, up to a quarter faster.
_LANES = 32
_MAX_LANES = 2**14  # for indices and counts of both to share an int32

# Scores of one tile, (tile rows x n_units) in float32, should stay in the cache: 8 MiB.
_TILE_SCORES = 2**21
_MIN_TILE_ROWS, _MAX_TILE_ROWS = 64, 8192

# From so many rows of scores on XLA compiles the search. It takes 100 ms, and saves 100 ns a row.
_MIN_COMPILED_ROWS = 2**17
_searched: collections.Counter[tuple[int, int]] = collections.Counter()

# A sample is far from the map where its norm is this many times that of any code vector.
FAR = 16.0

# Rounding moved a sample, or a code vector, by less than this times what it is computed from.
NOISE = 16 * 2.0**-53

# Differences of this many values at a time.
_CHUNK_VALUES = 2**20

# So many differences cost less than float64 scores of all units.
_MAX_NEAR = 4


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


def has_missing(X: NDArray) -> bool:
    """Say whether values are missing (NaN)."""
    return bool(np.isnan(X.min()))


def is_worth_compiling(n_tile: int, n_units: int, n_samples: int) -> bool:
    """Say whether XLA is to compile the search of such tiles, and have the compiler ready if so.

    It is once so many samples have been searched in this process: who searches a lot by and by
    gets there as well as who has many samples.
    """
    with _tracing:
        _searched[n_tile, n_units] += n_samples
        if _searched[n_tile, n_units] < _MIN_COMPILED_ROWS:
            return False
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
        """Make the frame in which `center` is the origin and `spread` about 1, for some dtype.

        For float32 data the center is rounded to float32: then differences to it are rounded once.
        """
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
        apart = codebook - center
        return cls.around(center, float(max(apart.max(), -apart.min())), dtype)

    def enter(self, X: NDArray, out: NDArray | None = None) -> NDArray:
        """Move data into the frame: into `out`, of the type of X and of this frame, or in float64.

        The result is rounded once.
        """
        out = np.array(X, np.float64) if out is None else out
        before, after = self.scales
        np.multiply(X, out.dtype.type(before), out=out)
        np.subtract(out, (self.center * before).astype(out.dtype), out=out)
        return np.multiply(out, out.dtype.type(after), out=out)

    @property
    def scales(self) -> tuple[float, float]:
        """The scale in two factors: down before the center is subtracted, or up after that.

        Else values near the end of floating point's range would overflow on the way.
        """
        return min(self.scale, 1.0), max(self.scale, 1.0)

    def leave(self, codebook: NDArray) -> NDArray[np.float64]:
        """Move a codebook back to data units."""
        return codebook / self.scale + self.center


class Terms(NamedTuple):
    """What a search needs of a codebook, made once for all tiles."""

    codebook: tf.Tensor  # (n_units, n_features) float64
    factors: tf.Tensor  # (n_features, n_units) float64: -2 W^T; for missing values W^2^T below it
    bias: tf.Tensor  # (n_units,) float64: squared norms of the code vectors; 0 for missing values
    factors32: tf.Tensor  # (n_features, n_layers * n_lanes) float32: the same, padded
    bias32: tf.Tensor  # (n_layers, n_lanes) float32; infinite for the padding
    largest: tf.Tensor  # () float64: the largest norm of a code vector
    extent: tf.Tensor  # () float64: of the values that the code vectors are rounded means of
    is_incomplete: bool  # whether samples have missing values


def search_terms(codebook: tf.Tensor, extent: tf.Tensor, is_incomplete: bool) -> Terms:
    """Prepare a codebook (n_units, n_features), float64 and in the frame, for the search.

    The score of a unit is ``|w|^2 - 2 x.w``, or, over the known features m of an incomplete
    sample, ``m.w^2 - 2 x.w`` with 0 for its missing values: one product again, of (x, m) with
    ``(-2 w, w^2)``.
    """
    squares = tf.square(codebook)
    norms = tf.reduce_sum(squares, axis=1)
    factors, bias = tf.transpose(-2 * codebook), norms
    if is_incomplete:
        factors, bias = tf.concat([factors, tf.transpose(squares)], 0), tf.zeros_like(norms)
    n_units = tf.shape(codebook)[0]
    # About 16 layers, so that what is left after the first step of `_bmus_by_score` is little.
    n_lanes = _LANES * tf.clip_by_value(
        (n_units + 8 * _LANES) // (16 * _LANES), 1, _MAX_LANES // _LANES
    )
    padding = -n_units % n_lanes
    bias32 = tf.pad(tf.cast(bias, tf.float32), [[0, padding]], constant_values=np.inf)
    return Terms(
        codebook,
        factors,
        bias,
        tf.pad(tf.cast(factors, tf.float32), [[0, 0], [0, padding]]),
        tf.reshape(bias32, [-1, n_lanes]),
        tf.sqrt(tf.reduce_max(norms)),
        extent,
        is_incomplete,
    )


def known(rows: tf.Tensor) -> tf.Tensor:
    """Put 0 for missing values."""
    return tf.where(tf.math.is_nan(rows), tf.zeros([], rows.dtype), rows)


def spread_out(rows: tf.Tensor, is_incomplete: bool) -> tf.Tensor:
    """Lay incomplete rows out for a product: known values, 0 for the others, and which these are.

    Complete rows are returned as they are.
    """
    if not is_incomplete:
        return rows
    mask = tf.cast(~tf.math.is_nan(rows), rows.dtype)
    return tf.concat([known(rows), mask], axis=1)


def squared_norms(rows: tf.Tensor, is_incomplete: bool) -> tf.Tensor:
    """Squared norms of rows, over their known features."""
    return tf.reduce_sum(tf.square(known(rows) if is_incomplete else rows), axis=1)


def _rounding(norms: tf.Tensor, terms: Terms, unit_roundoff: float) -> tf.Tensor:
    """Bound the difference that rounding makes between two scores, (n,) float64.

    A score ``|w|^2 - 2 x.w`` in floating point is off by at most
    ``(1.1 n + 8) u 2 |x| |w|`` for a product of n terms (Higham 2002, section 3.1, and the
    rounding of both factors to the type of the product) plus ``4 u |w|^2`` for the bias and the
    last sum; two scores by twice that, and by what `_noise` moves the points themselves. For
    missing values the product is of ``2 |x| |w| + |w|^2``.
    """
    n_terms = tf.cast(tf.shape(terms.factors)[0], tf.float64)
    largest = terms.largest
    length = tf.sqrt(norms)
    of_product = (1.1 * n_terms + 8) * (length + largest / 2 if terms.is_incomplete else length)
    of_scores = (4 * unit_roundoff) * largest * (of_product + 2 * largest)
    return of_scores + 4 * (length + largest) * _noise(norms, terms)


def _bmus_by_score(
    scores: tf.Tensor, margin: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Find the lowest of each row of scores, and whether another comes within the margin.

    In two levels: the minimum over all layers for each lane, which is one vector instruction for
    16 scores, then the lane and the layer where the lowest stands. Only the first level touches
    all scores, and no argmin is needed, which compares one by one. Under XLA an epoch's search
    thus take 3 ms at 100,000 samples and 400 units where an argmin in TensorFlow takes 8.

    Parameters
    ----------
    scores : Tensor of float32, shape (n, n_layers * n_lanes)
        Unit u stands in layer ``u // n_lanes``, lane ``u % n_lanes``.
    margin : Tensor of float32, shape (n,)
    bias : Tensor of float32, shape (n_layers, n_lanes)
        Only its shape is used.

    Returns
    -------
    units : Tensor of int32, shape (n,)
        Meaningless where not clear.
    lowest : Tensor of float32, shape (n,)
    is_clear : Tensor of bool, shape (n,)
        False where another score is within the margin, or a score is not finite.
    """
    n_rows = tf.shape(scores)[0]
    n_layers, n_lanes = tf.unstack(tf.shape(bias))
    lane_lowest = tf.reduce_min(tf.reshape(scores, [n_rows, n_layers, n_lanes]), axis=1)
    lowest = tf.reduce_min(lane_lowest, axis=1)
    limit = (lowest + margin)[:, None]
    n_near_lanes, lane = _near(lane_lowest, limit)
    layers = (tf.range(n_rows) * n_layers)[:, None] + tf.range(n_layers)
    inside = tf.gather(tf.reshape(scores, [-1]), layers * n_lanes + lane[:, None])
    n_near_layers, layer = _near(inside, limit)
    is_clear = tf.equal(n_near_lanes, 1) & tf.equal(n_near_layers, 1)
    return layer * n_lanes + lane, lowest, is_clear


def _near(values: tf.Tensor, limit: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Count how many of each row of values are within a limit, and find it if it is one.

    One sum of whole numbers gives both: their number in the upper half, the index in the lower.
    """
    n_values = tf.shape(values)[1]
    half = 2**16
    found = tf.where(values <= limit, tf.range(n_values) + half, 0)
    found = tf.reduce_sum(found, axis=1)
    return found // half, tf.minimum(found % half, n_values - 1)


# Under XLA each level runs as one loop, at half the price; but XLA compiles for each shape of a
# tile and number of units (100 ms), so that it is for large data only.
_compiled_bmus_by_score = tf.function(
    _bmus_by_score,
    input_signature=[
        tf.TensorSpec([None, None], tf.float32),
        tf.TensorSpec([None], tf.float32),
        tf.TensorSpec([None, None], tf.float32),
    ],
    jit_compile=True,
    autograph=False,
)


def search(
    rows: tf.Tensor,
    norms: tf.Tensor,
    terms: Terms,
    exact: Callable[[tf.Tensor], tf.Tensor],
    compiled_rows: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the best-matching unit of each row of a tile.

    The scores ``|w|^2 - 2 x.w`` of all units are computed in float32. A row is ambiguous where a
    second unit lies within the rounding bound of the lowest score, or a score is not finite; these
    few rows are settled in float64, see `lowest_within_rounding`. The units found are exactly
    those of a float64 search. At 64 features and 400 units on uniform data fewer than one row in
    1,000 is ambiguous, at 784 features one in 100.

    Parameters
    ----------
    rows : Tensor of float32 or float64, shape (n, n_features)
        The tile, in the frame; NaN where a value is missing.
    norms : Tensor of float64, shape (n,)
        Squared norms of the rows, over their known features.
    terms : Terms
        The codebook.
    exact : callable
        ``exact(picked)`` are the rows of these indices in float64, in the frame.
    compiled_rows : Tensor of int32, shape (), default=None
        XLA compiles the search among the scores in tiles of this many rows; in none by default.

    Returns
    -------
    bmus : Tensor of int32, shape (n,)
    lowest : Tensor of float64, shape (n,)
        Their scores, with float32's error except for the ambiguous rows; not finite where the
        score leaves float64's range.
    """
    rows32 = spread_out(tf.cast(rows, tf.float32), terms.is_incomplete)
    product = tf.matmul(rows32, terms.factors32)
    scores = tf.nn.bias_add(product, tf.reshape(terms.bias32, [-1]))
    margin = tf.cast(_rounding(norms, terms, 2.0**-24), tf.float32)
    if compiled_rows is None:
        bmus, lowest32, is_clear = _bmus_by_score(scores, margin, terms.bias32)
    else:
        bmus, lowest32, is_clear = tf.cond(
            tf.equal(tf.shape(rows)[0], compiled_rows),
            lambda: tuple(_compiled_bmus_by_score(scores, margin, terms.bias32)),
            lambda: _bmus_by_score(scores, margin, terms.bias32),
        )
    lowest = tf.cast(lowest32, tf.float64)
    ambiguous = tf.where(~is_clear)

    def settled() -> tuple[tf.Tensor, tf.Tensor]:
        few = ambiguous[:, 0]
        settled_bmus, settled_lowest = _settle(
            exact(few), tf.gather(scores, few), tf.gather(margin, few), terms
        )
        return (
            tf.tensor_scatter_nd_update(bmus, ambiguous, settled_bmus),
            tf.tensor_scatter_nd_update(lowest, ambiguous, settled_lowest),
        )

    return tf.cond(tf.size(ambiguous) > 0, settled, lambda: (bmus, lowest))


def search_tiles(
    cut: Callable[[tf.Tensor, tf.Tensor], tuple],
    n_samples: tf.Tensor,
    terms: Terms,
    n_tile: tf.Tensor | None = None,
    compiled_rows: tf.Tensor | None = None,
    *,
    n_parallel: int = 1,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Search tile by tile, so that the scores of a tile stay in the cache.

    Parameters
    ----------
    cut : callable
        ``cut(start, stop)`` are the first, second and fourth argument of `search` for these rows.
    n_samples : Tensor of int32, shape ()
    terms : Terms
    n_tile : Tensor of int32, shape (), default=None
        Rows per tile; by default there is one tile, and no loop.
    compiled_rows : Tensor of int32, shape (), default=None
        As in `search`.
    n_parallel : int, default=1
        Tiles at a time: with 2 the product of the next runs beside the tail of this one.

    Returns
    -------
    bmus : Tensor of int32, shape (n_samples,)
    lowest : Tensor of float64, shape (n_samples,)
    """
    if n_tile is None:
        rows, norms, exact = cut(tf.constant(0), n_samples)
        return search(rows, norms, terms, exact)
    n_tiles = -(-n_samples // n_tile)

    def next_tile(index: tf.Tensor, bmus: tf.TensorArray, lowest: tf.TensorArray) -> tuple:
        start = index * n_tile
        rows, norms, exact = cut(start, start + n_tile)
        found = search(rows, norms, terms, exact, compiled_rows)
        return index + 1, bmus.write(index, found[0]), lowest.write(index, found[1])

    empty = [
        tf.TensorArray(dtype, size=n_tiles, element_shape=[None], infer_shape=False)
        for dtype in (tf.int32, tf.float64)
    ]
    _, bmus, lowest = tf.while_loop(
        lambda index, *_: index < n_tiles,
        next_tile,
        (tf.constant(0), *empty),
        parallel_iterations=n_parallel,
    )
    return bmus.concat(), lowest.concat()


def _settle(
    rows: tf.Tensor, scores32: tf.Tensor, margin32: tf.Tensor, terms: Terms
) -> tuple[tf.Tensor, tf.Tensor]:
    """Settle ambiguous rows in float64.

    Most often two units compete, and the float32 scores tell which: their differences decide, at
    no price. Rows far from the map, where scores decide, and maps whose units nearly coincide,
    where many compete, take float64 scores of all units.
    """
    n_rows = tf.shape(rows)[0]
    n_units = tf.shape(terms.codebook)[0]
    scores = tf.cast(scores32[:, :n_units], tf.float64)
    limit = tf.reduce_min(scores, axis=1) + tf.cast(margin32, tf.float64)
    n_near = tf.math.count_nonzero(scores <= limit[:, None], axis=1, dtype=tf.int32)
    norms = squared_norms(rows, terms.is_incomplete)
    is_easy = (
        tf.reduce_all(tf.math.is_finite(limit) & _is_close(norms, terms))
        & tf.reduce_all(n_near > 0)
        & (tf.reduce_sum(n_near) <= _MAX_NEAR * n_rows)
    )

    def in_float64() -> tuple[tf.Tensor, tf.Tensor]:
        scores = scores_float64(rows, terms)
        return scores, limit_float64(scores, rows, terms)

    scores, limit = tf.cond(is_easy, lambda: (scores, limit), in_float64)
    return lowest_within_rounding(scores, limit, rows, terms)


def scores_float64(rows: tf.Tensor, terms: Terms) -> tf.Tensor:
    """Compute the scores of rows (n, n_features) and all units, (n, n_units)."""
    return terms.bias + tf.matmul(spread_out(rows, terms.is_incomplete), terms.factors)


def limit_float64(scores: tf.Tensor, rows: tf.Tensor, terms: Terms) -> tf.Tensor:
    """Compute the score up to which a unit may be the closest one, by float64 scores, (n,)."""
    norms = squared_norms(rows, terms.is_incomplete)
    return tf.reduce_min(scores, axis=1) + _rounding(norms, terms, 2.0**-53)


def lowest_within_rounding(
    scores: tf.Tensor, limit: tf.Tensor, rows: tf.Tensor, terms: Terms
) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the first unit that is the closest within rounding, and its score.

    Scores are off by rounding of the squared norms. Where code vectors lie much closer to a
    sample than to the center (a sample that has its unit to itself; a map with an outlier), that
    is more than their distances differ. So scores only choose candidates, differences decide.
    What is left of rounding is how far it moved the two points themselves: within that the lowest
    index wins, since compact neighborhoods make code vectors equal, and then rounding alone would
    choose, and with it the order of a sum or the size of a tile.

    Parameters
    ----------
    scores : Tensor of float64, shape (n, n_units)
    limit : Tensor of float64, shape (n,)
        Units up to this score are candidates.
    rows : Tensor of float64, shape (n, n_features)
    terms : Terms

    Returns
    -------
    bmus : Tensor of int32, shape (n,)
    lowest : Tensor of float64, shape (n,)
    """
    n_rows, n_units = tf.unstack(tf.shape(scores))
    norms = squared_norms(rows, terms.is_incomplete)
    lowest = tf.reduce_min(scores, axis=1)
    near = scores <= limit[:, None]
    first = tf.reduce_min(tf.where(near, tf.range(n_units), n_units - 1), axis=1)
    # From far away a difference is less exact than a score: there all candidates are as close.
    is_close = _is_close(norms, terms)
    row, unit = tf.unstack(tf.cast(tf.where(near & is_close[:, None]), tf.int32), axis=1)
    squared = squared_distances(lambda picked: tf.gather(rows, picked), terms.codebook, row, unit)
    best = tf.math.unsorted_segment_min(squared, row, n_rows)
    noise = _noise(norms, terms)
    limit_squared = best + noise * (2 * tf.sqrt(best) + noise)
    first_close = tf.math.unsorted_segment_min(
        tf.where(squared <= tf.gather(limit_squared, row), unit, n_units - 1), row, n_rows
    )
    return (
        tf.where(is_close, tf.minimum(first_close, n_units - 1), first),
        tf.where(is_close & tf.math.is_finite(lowest), best - norms, lowest),
    )


def _is_close(norms: tf.Tensor, terms: Terms) -> tf.Tensor:
    return norms <= tf.square(FAR * terms.largest)


def _noise(norms: tf.Tensor, terms: Terms) -> tf.Tensor:
    """Bound how far rounding moved a sample and a code vector apart, (n,) float64."""
    return NOISE * (tf.minimum(tf.sqrt(norms), FAR * terms.largest) + terms.extent)


def squared_distances(
    exact: Callable[[tf.Tensor], tf.Tensor],
    codebook: tf.Tensor,
    samples: tf.Tensor,
    units: tf.Tensor,
) -> tf.Tensor:
    """Squared distances of pairs of a sample and a unit from their differences, in chunks.

    Over the known features of the sample.
    """
    n_pairs = tf.shape(samples)[0]
    n_chunk = tf.maximum(1, _CHUNK_VALUES // tf.shape(codebook)[1])

    def next_chunk(start: tf.Tensor, found: tf.TensorArray) -> tuple:
        chunk = slice(start, start + n_chunk)
        differences = exact(samples[chunk]) - tf.gather(codebook, units[chunk])
        squared = tf.reduce_sum(tf.square(known(differences)), axis=1)
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

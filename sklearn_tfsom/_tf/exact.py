"""Which of the units whose scores rounding cannot tell apart is the closest one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sklearn_tfsom._tf.blocks import Blocks
from sklearn_tfsom._tf.frame import known, spread_out
from sklearn_tfsom._tf.graphs import tile_by_tile
from sklearn_tfsom._tf.lowest import layers_for

# A sample is far from the map where its norm is this many times that of any code vector.
FAR = 16.0

# Rounding moved a sample, or a code vector, by less than this times what it is computed from.
NOISE = 16 * 2.0**-53

# Products up to here, and their sums, stay in float32's range.
_SAFE = 2.0**120

# Differences of this many values at a time.
_CHUNK_VALUES = 2**20

# So many differences cost less than float64 scores of all units.
_MAX_NEAR = 4


class Bounds(NamedTuple):
    """What the rounding errors of scores are bounded by; all () float64 but the last."""

    n_terms: tf.Tensor  # of a product
    largest: tf.Tensor  # the largest norm of a code vector, from the center of all
    offset: tf.Tensor  # the norm of that center
    far: tf.Tensor  # samples with a larger norm are far from the map
    extent: tf.Tensor  # of the values that the code vectors are rounded means of
    is_incomplete: bool  # whether samples have missing values


class Layout(NamedTuple):
    """How a search lays out the units, the same for all codebooks of a shape."""

    n_units: tf.Tensor  # () int32
    n_terms: tf.Tensor  # () float64: of a product
    padding: tf.Tensor  # () int32: units of no account that fill the last layer
    in_layers: tf.Tensor  # (3,) int32: the shape of scores in layers, [-1, n_layers, n_lanes]
    n_fused: int  # number of features, where scores are computed as they are compared; else 0
    n_columns: tf.Tensor | None  # () int32: of the grid, where units are searched in blocks
    is_small: bool  # whether few samples and units are searched in float64 at once

    @classmethod
    def of(
        cls,
        codebook: tf.Tensor,
        is_incomplete: bool,
        n_fused: int = 0,
        n_columns: tf.Tensor | None = None,
        *,
        is_small: bool = False,
    ) -> Layout:
        """Lay out the units of a codebook."""
        n_units, n_features = tf.unstack(tf.shape(codebook))
        n_layers, n_lanes = layers_for(n_units, is_fused=n_fused > 0)
        return cls(
            n_units,
            tf.cast(2 * n_features if is_incomplete else n_features, tf.float64),
            n_layers * n_lanes - n_units,
            tf.stack([-1, n_layers, n_lanes]),
            n_fused,
            n_columns,
            is_small,
        )


class Terms(NamedTuple):
    """What a search needs of a codebook, made once for all tiles."""

    codebook: tf.Tensor  # (n_units, n_features) float64
    factors: tf.Tensor  # (n_units, n_features) float64, see `search_terms`
    bias: tf.Tensor  # (n_units,) float64
    factors32: tf.Tensor  # (n_features, n_layers * n_lanes) float32: transposed and padded
    bias32: tf.Tensor  # (n_layers * n_lanes,) float32; infinite for the padding
    layout: Layout
    bounds: Bounds
    geometry: str  # how distances come about, see `sklearn_tfsom._data.samples`
    center: tf.Tensor | None  # (n_features,) float64: what scores are computed around; else 0
    blocks: Blocks | None  # of large maps

    @property
    def is_incomplete(self) -> bool:
        """Whether samples have missing values."""
        return self.bounds.is_incomplete

    def tensors(self) -> list[tf.Tensor]:
        """Return all tensors of these."""
        return [part for part in tf.nest.flatten(self) if tf.is_tensor(part)]

    def with_tensors(self, tensors: Sequence[tf.Tensor]) -> Terms:
        """Put others in their place."""
        given = iter(tensors)
        parts = [next(given) if tf.is_tensor(p) else p for p in tf.nest.flatten(self)]
        return tf.nest.pack_sequence_as(self, parts)


def search_terms(
    codebook: tf.Tensor,
    extent: tf.Tensor,
    is_incomplete: bool,
    geometry: str = "euclidean",
    layout: Layout | None = None,
    center: tf.Tensor | None = None,
) -> Terms:
    """Prepare a codebook (n_units, n_features), float64 and in the frame, for the search.

    The score of a unit is ``|w|^2 - 2 x.w``, or, over the known features m of an incomplete
    sample, ``m.w^2 - 2 x.w`` with 0 for its missing values: one product again, of (x, m) with
    ``(-2 w, w^2)``. Where code vectors ``w = c + v`` lie around a center (n_features,) it is
    ``v (v + 2 c) - 2 x.v``, less by the same for all units: rounded in proportion to their spread.
    """
    layout = layout or Layout.of(codebook, is_incomplete)
    codebook = tf.ensure_shape(codebook, [None, layout.n_fused or None])
    around = codebook if center is None else codebook - center
    squares = tf.square(around)
    norms = squared = tf.reduce_sum(squares, axis=1)
    offset = tf.zeros([], tf.float64)
    if center is not None:
        squares, offset = squares + 2 * around * center, tf.norm(center)
        squared = tf.reduce_sum(tf.square(codebook), axis=1)
    factors, bias = -2 * around, tf.reduce_sum(squares, axis=1)
    if is_incomplete:
        factors, bias = tf.concat([factors, squares], axis=1), tf.zeros_like(norms)
    bias32 = tf.pad(tf.cast(bias, tf.float32), [[0, layout.padding]], constant_values=np.inf)
    factors32 = tf.pad(tf.cast(factors, tf.float32), [[0, layout.padding], [0, 0]])
    blocks = None
    if layout.n_columns is not None:
        blocks = Blocks.of(around, factors, bias, layout.n_columns)
    return Terms(
        codebook,
        factors,
        bias,
        tf.transpose(factors32),
        bias32,
        layout,
        Bounds(
            layout.n_terms,
            tf.sqrt(tf.reduce_max(norms)),
            offset,
            FAR * tf.sqrt(tf.reduce_max(squared)),
            extent,
            is_incomplete,
        ),
        geometry,
        center,
        blocks,
    )


def rounding(norms: tf.Tensor, bounds: Bounds, unit_roundoff: float) -> tf.Tensor:
    """Bound the difference that rounding makes between two scores, (n,) float64.

    A score ``|w|^2 - 2 x.w`` in floating point is off by at most
    ``(1.1 n + 8) u 2 |x| |w|`` for a product of n terms (Higham 2002, section 3.1, and the
    rounding of both factors to the type of the product) plus ``4 u |w|^2`` for the bias and the
    last sum; two scores by twice that, and by what `_noise` moves the points themselves. For
    missing values the product is of ``2 |x| |w| + |w|^2``. Around a center c it is ``|v|`` instead
    of ``|w|``, and ``|v|^2 + 2 |v| |c|`` instead of ``|w|^2``.
    """
    n_terms, largest, offset, _, _, is_incomplete = bounds
    length, biased = tf.sqrt(norms), largest + 2 * offset
    of_product = (1.1 * n_terms + 8) * (length + biased / 2 if is_incomplete else length)
    of_scores = (4 * unit_roundoff) * largest * (of_product + 2 * biased)
    return of_scores + 4 * (length + biased) * _noise(norms, bounds)


def rounding32(norms: tf.Tensor, bounds: Bounds) -> tf.Tensor:
    """Bound it for float32, (n,) float64; infinite where a score may leave float32's range."""
    length = tf.sqrt(norms)
    is_safe = bounds.n_terms * length * (1 + bounds.largest) < _SAFE
    return tf.where(is_safe, rounding(norms, bounds, 2.0**-24), np.inf)


def competitors(
    scores32: tf.Tensor, norms: tf.Tensor, terms: Terms
) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the units that may be the closest one, by float32 scores.

    Most often these are two, and their differences decide, at no price. Not so far from the map,
    where scores are more exact, nor where many compete, as on a map whose units nearly coincide.

    Parameters
    ----------
    scores32 : Tensor of float32, shape (n, at least n_units)
    norms : Tensor of float64, shape (n,)
    terms : Terms

    Returns
    -------
    pairs : Tensor of int64, shape (n_pairs, 2)
        Row and unit.
    are_few : Tensor of bool, shape ()
        Whether differences of these can decide, and are few.
    """
    scores = tf.cast(scores32[:, : terms.layout.n_units], tf.float64)
    limit = tf.reduce_min(scores, axis=1) + rounding32(norms, terms.bounds)
    pairs = tf.where(scores <= limit[:, None])
    are_close = tf.reduce_all(tf.math.is_finite(limit) & _is_close(norms, terms.bounds))
    return pairs, are_close & (tf.shape(pairs)[0] <= _MAX_NEAR * tf.shape(norms)[0])


def competitors_float64(
    scores: tf.Tensor, norms: tf.Tensor, terms: Terms
) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the units that may be the closest one, by float64 scores.

    Scores are off by rounding of the squared norms. Where code vectors lie much closer to a
    sample than to the center (a sample that has its unit to itself; a map with an outlier), that
    is more than their distances differ. So scores only choose competitors, and `decide` does the
    rest.

    Parameters
    ----------
    scores : Tensor of float64, shape (n, n_units)
    norms : Tensor of float64, shape (n,)
    terms : Terms

    Returns
    -------
    pairs : Tensor of int64, shape (n_pairs, 2)
        Row and unit.
    lowest : Tensor of float64, shape (n,)
    """
    lowest = tf.reduce_min(scores, axis=1)
    limit = lowest + rounding(norms, terms.bounds, 2.0**-53)
    near = scores <= limit[:, None]
    if not terms.layout.is_small:
        # Of a row that is far the first one wins anyway, and on a map of equal code vectors all
        # would compete: predict of 20,000 x 32 took 350 ms instead of 50.
        units, last = tf.range(terms.layout.n_units), terms.layout.n_units - 1
        first = tf.reduce_min(tf.where(near, units, last), axis=1)
        near &= _is_close(norms, terms.bounds)[:, None] | tf.equal(units, first[:, None])
    return tf.where(near), lowest


def decide(
    pairs: tf.Tensor, lowest: tf.Tensor, rows: tf.Tensor, norms: tf.Tensor, terms: Terms
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decide between competitors by their differences: the closest one within rounding wins.

    What is left of rounding is how far it moved the two points themselves: within that the lowest
    index wins, since compact neighborhoods make code vectors equal, and then rounding alone would
    choose, and with it the order of a sum or the size of a tile. From far away a difference is
    less exact than a score: there all competitors are as close.

    Parameters
    ----------
    pairs : Tensor of int64, shape (n_pairs, 2)
        Row and unit.
    lowest : Tensor of float64, shape (n,)
        The lowest scores, which count where a row is far.
    rows : Tensor of float32 or float64, shape (n, n_features)
    norms : Tensor of float64, shape (n,)
    terms : Terms

    Returns
    -------
    bmus : Tensor of int32, shape (n,)
        Meaningless for rows without pairs.
    squared : Tensor of float64, shape (n,)
        Squared distances to them; not finite where they leave float64's range.
    """
    samples, units = tf.unstack(pairs, axis=1)
    n_rows, last = tf.shape(norms)[0], terms.layout.n_units - 1
    squared = squared_distances(rows, terms.codebook, samples, units, terms.layout.is_small)
    best = tf.math.unsorted_segment_min(squared, samples, n_rows)
    noise = _noise(norms, terms.bounds)
    is_close = _is_close(norms, terms.bounds) & ~tf.math.is_nan(lowest)  # that has no pairs
    limit = tf.where(is_close, best + noise * (2 * tf.sqrt(best) + noise), np.inf)
    is_within = squared <= tf.gather(limit, samples)
    units = tf.where(is_within, tf.cast(units, tf.int32), last)
    bmus = tf.math.unsorted_segment_min(units, samples, n_rows)
    return tf.minimum(bmus, last), tf.where(is_close, best, norms + lowest)


def scores_float32(rows32: tf.Tensor, terms: Terms) -> tf.Tensor:
    """Compute the scores of rows that are spread out, (n, n_layers * n_lanes)."""
    return tf.nn.bias_add(tf.matmul(rows32, terms.factors32), terms.bias32)


def scores_float64(rows: tf.Tensor, terms: Terms) -> tf.Tensor:
    """Compute the scores of rows (n, n_features) and all units, (n, n_units)."""
    rows = spread_out(rows, terms.is_incomplete)
    return terms.bias + tf.matmul(rows, terms.factors, transpose_b=True)


def _is_close(norms: tf.Tensor, bounds: Bounds) -> tf.Tensor:
    return norms <= tf.square(bounds.far)


def _noise(norms: tf.Tensor, bounds: Bounds) -> tf.Tensor:
    """Bound how far rounding moved a sample and a code vector apart, (n,) float64."""
    return NOISE * (tf.minimum(tf.sqrt(norms), bounds.far) + bounds.extent)


def squared_distances(
    rows: tf.Tensor,
    codebook: tf.Tensor,
    samples: tf.Tensor,
    units: tf.Tensor,
    are_few: bool,
) -> tf.Tensor:
    """Squared distances of pairs of a sample and a unit from their differences.

    Over the known features of the sample. In chunks, unless they are few.
    """

    def of_chunk(start: tf.Tensor, stop: tf.Tensor) -> tuple[tf.Tensor]:
        return (of_pairs(samples[start:stop], units[start:stop]),)

    def of_pairs(samples: tf.Tensor, units: tf.Tensor) -> tf.Tensor:
        picked = tf.cast(tf.gather(rows, samples), tf.float64)
        differences = picked - tf.gather(codebook, units)
        return tf.reduce_sum(tf.square(known(differences)), axis=1)

    if are_few:
        return of_pairs(samples, units)
    n_chunk = tf.maximum(1, _CHUNK_VALUES // tf.shape(codebook)[1])
    (squared,) = tile_by_tile(of_chunk, tf.shape(samples)[0], n_chunk, (tf.float64,))
    return squared

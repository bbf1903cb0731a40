"""Distances that no product gives: sums and maxima of absolute differences."""

from __future__ import annotations

import tensorflow as tf

from sklearn_tfsom._tf.exact import NOISE, Terms
from sklearn_tfsom._tf.frame import known

# Features in one step of the loop below. Compiled by XLA, at 16,384 samples, 64 features and 400
# units in float64: 103 to 132 ms one by one, 49 ms by four (SciPy's cdist: 110 ms on one core).
_FEATURES_PER_STEP = 4


def is_absolute(geometry: str) -> bool:
    """Say whether distances are made of absolute differences."""
    return geometry in ("manhattan", "chebyshev")


def absolute_distances(
    rows: tf.Tensor, terms: Terms, compiled_rows: tf.Tensor | None = None
) -> tf.Tensor:
    """Compute the distances of rows to all units, feature by feature.

    So memory is bounded by the distances themselves: no difference is kept.

    Parameters
    ----------
    rows : Tensor of float64, shape (n, n_features)
    terms : Terms
    compiled_rows : Tensor of int32, shape (), default=None
        XLA compiles the loop for tiles of this many rows; for none by default.

    Returns
    -------
    distances : Tensor of float64, shape (n, n_units)
    """
    graph = _GRAPHS[terms.geometry, terms.is_incomplete]
    if compiled_rows is None:
        return graph(rows, terms.codebook)
    compiled = _COMPILED_GRAPHS[terms.geometry, terms.is_incomplete]
    return tf.cond(
        tf.equal(tf.shape(rows)[0], compiled_rows),
        lambda: compiled(rows, terms.codebook),
        lambda: graph(rows, terms.codebook),
    )


def search_absolute(
    rows: tf.Tensor, distances: tf.Tensor, terms: Terms
) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the first unit that is the closest within rounding, and its distance.

    Rounding moved a sample or a code vector by `NOISE` of what they are computed from, and a sum
    of n differences is off by n units of its last place.

    Parameters
    ----------
    rows : Tensor of float64, shape (n, n_features)
    distances : Tensor of float64, shape (n, n_units)
        As `absolute_distances` returns them; infinite for units that are not to be found.
    terms : Terms

    Returns
    -------
    bmus : Tensor of int32, shape (n,)
    lowest : Tensor of float64, shape (n,)
    """
    n_features, n_units = tf.shape(rows)[1], tf.shape(distances)[1]
    sizes = tf.abs(known(rows))
    lowest = tf.reduce_min(distances, axis=1)
    if terms.geometry == "manhattan":
        n_terms = tf.cast(n_features, tf.float64)
        noise = NOISE * (tf.reduce_sum(sizes, axis=1) + tf.sqrt(n_terms) * terms.bounds.extent)
        noise += n_terms * 2.0**-52 * lowest
    else:
        noise = NOISE * (tf.reduce_max(sizes, axis=1) + terms.bounds.extent)
    near = distances <= (lowest + noise)[:, None]
    return tf.reduce_min(tf.where(near, tf.range(n_units), n_units - 1), axis=1), lowest


def _graph(
    geometry: str, is_incomplete: bool, jit_compile: bool
) -> tf.types.experimental.PolymorphicFunction:
    def distances(rows: tf.Tensor, codebook: tf.Tensor) -> tf.Tensor:
        n_rows, n_features = tf.unstack(tf.shape(rows))
        n_units = tf.shape(codebook)[0]
        # Filled up with features in which nothing differs.
        padding = [[0, -n_features % _FEATURES_PER_STEP], [0, 0]]
        shape = [-1, _FEATURES_PER_STEP]
        x = tf.reshape(tf.pad(tf.transpose(rows), padding), [*shape, n_rows])
        w = tf.reshape(tf.pad(tf.transpose(codebook), padding), [*shape, n_units])

        def next_features(step: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            for place in range(_FEATURES_PER_STEP):
                difference = tf.abs(x[step, place][:, None] - w[step, place])
                if is_incomplete:
                    difference = known(difference)
                if geometry == "manhattan":
                    total += difference
                else:
                    total = tf.maximum(total, difference)
            return step + 1, total

        nothing = tf.zeros([n_rows, n_units], tf.float64)
        return tf.while_loop(
            lambda step, _: step < tf.shape(x)[0],
            next_features,
            (tf.constant(0), nothing),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None])),
        )[1]

    signature = [tf.TensorSpec([None, None], tf.float64)] * 2
    return tf.function(
        distances, input_signature=signature, jit_compile=jit_compile, autograph=False
    )


def try_out() -> None:
    """Compile the loop for something small."""
    _COMPILED_GRAPHS["manhattan", False](*[tf.zeros([1, 1], tf.float64)] * 2).numpy()


_KINDS = [
    (geometry, is_incomplete)
    for geometry in ("manhattan", "chebyshev")
    for is_incomplete in (False, True)
]
_GRAPHS = {kind: _graph(*kind, jit_compile=False) for kind in _KINDS}
_COMPILED_GRAPHS = {kind: _graph(*kind, jit_compile=True) for kind in _KINDS}

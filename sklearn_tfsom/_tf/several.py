"""Several best-matching units of each sample, one after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from sklearn_tfsom._tf.absolute import absolute_distances, is_absolute, search_absolute
from sklearn_tfsom._tf.exact import (
    Terms,
    competitors_float64,
    decide,
    rounding32,
    scores_float32,
    scores_float64,
)
from sklearn_tfsom._tf.frame import spread_out
from sklearn_tfsom._tf.lowest import bmus_by_score


def several_bmus(rows: tf.Tensor, norms: tf.Tensor, terms: Terms, n_bmus: tf.Tensor) -> tf.Tensor:
    """Find some best-matching units of each row of a tile, those of a float64 search.

    One after the other, so that ties are settled for each place as for the first: in float32, and
    for rows of which one place is not clear again in float64.

    Parameters
    ----------
    rows, norms, terms
        As for `search_rows`.
    n_bmus : Tensor of int32, shape ()

    Returns
    -------
    bmus : Tensor of int32, shape (n_bmus, n)
        The best ones first.
    """
    if is_absolute(terms.geometry):
        return _several_float64(rows, norms, terms, n_bmus)
    rows32 = spread_out(tf.cast(rows, tf.float32), terms.is_incomplete)
    scores = scores_float32(rows32, terms)
    margin = tf.cast(rounding32(norms, terms.bounds), tf.float32)

    def find(scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        units, _, is_clear = bmus_by_score(tf.reshape(scores, terms.layout.in_layers), margin)
        return units, is_clear

    found, are_clear = _one_by_one(find, scores, n_bmus)
    unclear = tf.where(~are_clear)

    def again() -> tf.Tensor:
        few = unclear[:, 0]
        settled = _several_float64(tf.gather(rows, few), tf.gather(norms, few), terms, n_bmus)

        def put(parts: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:  # at one place
            return tf.tensor_scatter_nd_update(parts[0], unclear, parts[1])

        return tf.map_fn(put, (found, settled), fn_output_signature=tf.int32)

    return tf.cond(tf.size(unclear) > 0, again, lambda: found)


def _several_float64(
    rows: tf.Tensor, norms: tf.Tensor, terms: Terms, n_bmus: tf.Tensor
) -> tf.Tensor:
    """Do as `several_bmus`, in float64 at once."""
    rows = tf.cast(rows, tf.float64)

    def find(scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if is_absolute(terms.geometry):
            units, _ = search_absolute(rows, scores, terms)
        else:
            units, _ = decide(*competitors_float64(scores, norms, terms), rows, norms, terms)
        return units, tf.ones_like(units, tf.bool)

    of_all = absolute_distances if is_absolute(terms.geometry) else scores_float64
    found, _ = _one_by_one(find, of_all(rows, terms), n_bmus)
    return found


def _one_by_one(
    find: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]], scores: tf.Tensor, n_bmus: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the lowest of each row of scores, then of those left, and so on.

    Returns what is found, (n_bmus, n), and of which rows it is clear each time, (n,).
    """
    n_rows = tf.shape(scores)[0]

    def next_best(
        place: tf.Tensor, scores: tf.Tensor, are_clear: tf.Tensor, found: tf.TensorArray
    ) -> tuple:
        units, is_clear = find(scores)
        taken = tf.stack([tf.range(n_rows), units], axis=1)
        none = tf.fill([n_rows], tf.constant(np.inf, scores.dtype))
        scores = tf.tensor_scatter_nd_update(scores, taken, none)
        return place + 1, scores, are_clear & is_clear, found.write(place, units)

    found = tf.TensorArray(tf.int32, size=n_bmus, element_shape=[None])
    _, _, are_clear, found = tf.while_loop(
        lambda place, *_: place < n_bmus,
        next_best,
        (tf.constant(0), scores, tf.fill([n_rows], True), found),
    )
    return found.stack(), are_clear

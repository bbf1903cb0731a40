"""A trained map as a Keras model, for whatever serves such models.

It is made of Keras's own operations, with the codebook as a constant: so a saved model loads where
this package is not installed, and the map stays as it is when a model around it is trained. All
the operations exist in LiteRT and ONNX, too. (Not so `keras.ops.argmin`, which looks at the bits
of -0.0.)
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from sklearn_tfsom._tf.exact import NOISE
from sklearn_tfsom._tf.frame import Frame

Scaling: TypeAlias = tuple[NDArray, NDArray, NDArray, NDArray]

# Lengths that should be the same came out up to 4 units of roundoff apart, relative to what they
# are computed from, for 1 to 3,000 features in float32. Twice that is taken as the same.
_ROUNDOFFS = 8


def keras_model(
    codebook: NDArray,
    metric: str,
    scaling: Scaling,
    positions: NDArray[np.float64],
    clusters: NDArray[np.int64] | None,
    dtype: str,
) -> keras.Model:
    """Make the model.

    Distances come from the differences of samples and code vectors, under all metrics. A product
    would be faster on large maps, but what cancels in it only float64 could tell, and that LiteRT
    does not have.

    Parameters
    ----------
    codebook : ndarray, shape (n_units, n_features)
    metric : str
    scaling : tuple (factor, shift, low, high) of ndarrays, shape (n_features,)
        What comes to the map of a sample x: ``clip(x, low, high) * factor + shift``.
    positions : ndarray of float64, shape (n_units, 2)
    clusters : ndarray of int64, shape (n_units,), or None
        Cluster of each unit; None makes a model without this output.
    dtype : {"float32", "float64"}
        Type of the samples, of the computation and of the results.

    Returns
    -------
    model : keras.Model

    Raises
    ------
    ValueError
        Where the map or the scaling leaves float32's range.
    """
    n_features = codebook.shape[1]
    is_of_directions = metric in ("cosine", "correlation")
    frame = Frame(np.zeros(n_features), 1.0)
    if not is_of_directions:
        with np.errstate(over="ignore"):  # of float32; see `_in_frame`
            frame = Frame.of_codebook(codebook, dtype)
    samples = keras.Input((n_features,), dtype=dtype, name="samples")
    rows = _in_frame(samples, scaling, frame, dtype)
    if is_of_directions:
        rows, is_zero = _directions(rows, metric)
    else:
        # ONNX's converter makes products of a choice, NaN * 0 too, unless it sees `isnan` chooses.
        is_missing = ops.isnan(samples)
        rows = ops.where(is_missing, 0.0, rows)
    rows = ops.expand_dims(rows, 1)
    differences = rows - frame.enter(codebook).astype(dtype)  # (n, n_units, n_features)
    if not is_of_directions:
        is_known = ops.cast(ops.logical_not(is_missing), dtype)
        differences = differences * ops.expand_dims(is_known, 1)
    lengths = _lengths(differences, metric, dtype)
    noise = NOISE * _extent(codebook, metric, frame)
    bmus = _lowest_within_rounding(lengths, _lengths(rows, metric, dtype), noise, dtype)
    if is_of_directions:
        distances = ops.where(is_zero, 1.0, ops.square(lengths) / 2)
    else:
        distances = lengths / frame.scale
    outputs = {
        "distances": distances,
        "bmu": bmus,
        "position": ops.take(positions.astype(dtype), bmus, axis=0),
    }
    if clusters is not None:
        outputs["cluster_label"] = ops.take(clusters.astype(np.int32), bmus, axis=0)
    model = keras.Model(samples, outputs)
    model(np.zeros((1, n_features), dtype))  # Keras writes no ONNX file of what was never called
    return model


def _in_frame(samples: Any, scaling: Scaling, frame: Frame, dtype: str) -> Any:
    """Scale samples and move them into the frame, in one step.

    What is mapped to the center is subtracted first, rounded to the type of the samples: so those
    that are far from zero lose nothing. What the rounding has left is added last.
    """
    factor, shift, low, high = scaling
    with np.errstate(over="ignore"):
        origin = ((frame.center - shift) / factor).astype(dtype)
        slope = (factor * frame.scale).astype(dtype)
    if not (np.isfinite(origin).all() and np.isfinite(slope).all()):
        raise ValueError("The map leaves float32's range. Pass dtype='float64', or rescale X.")

    def entered(values: NDArray) -> NDArray:
        return ((values * factor + shift - frame.center) * frame.scale).astype(dtype)

    rows = (samples - origin) * slope + entered(origin)
    if np.isfinite(low).any():
        rows = ops.minimum(ops.maximum(rows, entered(low)), entered(high))
    return rows


def _directions(rows: Any, metric: str) -> tuple[Any, Any]:
    """Move rows to the unit sphere, and say which have no direction; see `_samples.directions`.

    There the mean is computed in float64. In float32 it is that of the differences to the first
    feature: values far from zero and close to each other would lose their digits else.
    """

    def largest(rows: Any) -> Any:
        return ops.max(ops.abs(rows), axis=1, keepdims=True)

    def divided(rows: Any, length: Any) -> Any:
        return rows / ops.where(ops.equal(length, 0.0), 1.0, length)

    limit = 0.0
    if metric == "correlation":
        limit = largest(rows) * 2.0**-50
        rows = rows - rows[:, :1]
    is_zero = largest(rows) <= limit
    rows = ops.where(is_zero, 0.0, rows)
    rows = divided(rows, largest(rows))
    if metric == "correlation":
        rows = rows - ops.mean(rows, axis=1, keepdims=True)
    length = ops.sqrt(ops.sum(ops.square(rows), axis=1, keepdims=True))
    return divided(rows, length), is_zero


def _lengths(differences: Any, metric: str, dtype: str) -> Any:
    """Distances that differences make: over the last axis."""
    if metric == "manhattan":
        return ops.sum(ops.abs(differences), axis=-1)
    if metric == "chebyshev":
        # Of a maximum over the last axis of three the converter to ONNX makes a pooling, which
        # has no float64 there.
        return -ops.min(-ops.abs(differences), axis=-1)
    squared = ops.sum(ops.square(differences), axis=-1)
    # At 0 the square root has no slope, and a model in front of the map could not be trained.
    return ops.sqrt(ops.maximum(squared, float(np.finfo(dtype).tiny)))


def _extent(codebook: NDArray, metric: str, frame: Frame) -> float:
    """Size of the values that code vectors are, where they differ: there rounding counts."""
    differs = codebook.max(axis=0) > codebook.min(axis=0)
    size = float(np.linalg.norm(frame.center[differs] * frame.scale))
    return size * math.sqrt(codebook.shape[1]) if metric == "manhattan" else size


def _lowest_within_rounding(lengths: Any, sizes: Any, noise: float, dtype: str) -> Any:
    """Find the first unit that is the closest within rounding, as `predict` does.

    Parameters
    ----------
    lengths : KerasTensor, shape (n, n_units)
    sizes : KerasTensor, shape (n, 1)
        Lengths of the samples.
    noise : float
        By how much code vectors that should be equal may differ.
    dtype : {"float32", "float64"}

    Returns
    -------
    bmus : KerasTensor of int32, shape (n,)
    """
    roundoff = _ROUNDOFFS * float(np.finfo(dtype).eps) / 2
    best = ops.min(lengths, axis=1, keepdims=True)
    limit = best * (1 + roundoff) + sizes * (roundoff + NOISE) + noise
    return ops.argmax(ops.cast(lengths <= limit, "int32"), axis=1)

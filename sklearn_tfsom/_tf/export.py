"""Export of a trained map as a Keras model.

The model consists of Keras operations with the codebook as a constant. So a saved model loads
where this package is not installed, and training a model around it leaves the map as it is. All
operations exist in LiteRT and ONNX as well (`keras.ops.argmin` would use bit operations).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from sklearn_tfsom._data.scaling import Scaling
from sklearn_tfsom._distance import Metric
from sklearn_tfsom._map.ties import NOISE, within_rounding

# Scaling of the scalers in front of a map: factor, shift, low, high.
Preprocessing: TypeAlias = tuple[NDArray, NDArray, NDArray, NDArray]

# Distances that should be equal differ by up to 4 units of roundoff, relative to the values that
# they are computed from, for 1 to 3,000 features in float32. Twice that counts as equal.
_ROUNDOFFS = 8


def keras_model(
    codebook: NDArray,
    metric: Metric,
    preprocessing: Preprocessing,
    positions: NDArray[np.float64],
    clusters: NDArray[np.int64] | None,
    dtype: str,
) -> keras.Model:
    """Make the model.

    Distances come from the differences of samples and code vectors, under all metrics. A product
    would be faster on large maps, but needs float64 where it cancels, which LiteRT lacks.

    Parameters
    ----------
    codebook : ndarray of shape (n_units, n_features)
    metric : Metric
    preprocessing : tuple (factor, shift, low, high) of ndarrays of shape (n_features,)
        The map gets ``clip(x, low, high) * factor + shift`` of a sample x.
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
        If the map or the preprocessing exceeds the range of `dtype`.
    """
    n_features = codebook.shape[1]
    scaling = Scaling(np.zeros(n_features), 1.0, metric)
    if not metric.is_spherical:
        with np.errstate(over="ignore"):  # of float32; see `_scaled`
            scaling = Scaling.around(codebook, dtype, metric)
    samples = keras.Input((n_features,), dtype=dtype, name="samples")
    rows = _scaled(samples, preprocessing, scaling, dtype)
    is_known = is_zero = None
    if metric.is_spherical:
        rows, is_zero = _directions(rows, metric)
    else:
        # The converter to ONNX makes products of `where`, and NaN * 0 stays NaN, unless the
        # condition is `isnan`.
        is_missing = ops.isnan(samples)
        rows = ops.where(is_missing, 0.0, rows)
        is_known = ops.expand_dims(ops.cast(ops.logical_not(is_missing), dtype), 1)
    units = scaling.transform(codebook)
    rows = ops.expand_dims(rows, 1)
    lengths = _lengths(rows, units.astype(dtype), is_known, metric, dtype)
    roundoff = _ROUNDOFFS * float(np.finfo(dtype).eps) / 2
    sizes = _sizes(rows, metric, dtype)
    lowest = ops.min(lengths, axis=1, keepdims=True)
    noise = lowest * roundoff + sizes * (roundoff + NOISE) + NOISE * scaling.extent(units)
    near = within_rounding(lengths, lowest, noise)
    bmus = ops.argmax(ops.cast(near, "int32"), axis=1)  # the first one
    if is_zero is None:
        distances = lengths / scaling.distance_factor()
    else:
        distances = ops.where(is_zero, 1.0, ops.square(lengths) / 2)
    outputs = {
        "distances": distances,
        "bmu": bmus,
        "position": ops.take(positions.astype(dtype), bmus, axis=0),
    }
    if clusters is not None:
        outputs["cluster_label"] = ops.take(clusters.astype(np.int32), bmus, axis=0)
    model = keras.Model(samples, outputs)
    model(np.zeros((1, n_features), dtype))  # Keras writes no ONNX file of an uncalled model
    return model


def _scaled(samples: Any, preprocessing: Preprocessing, scaling: Scaling, dtype: str) -> Any:
    """Apply preprocessing and scaling in one step.

    The value that is mapped to the center is subtracted first, rounded to the type of the samples:
    so samples far from zero lose nothing. What the rounding leaves is added last.
    """
    factor, shift, low, high = preprocessing
    with np.errstate(over="ignore"):
        origin = ((scaling.center - shift) / factor).astype(dtype)
        slope = (factor * scaling.scale).astype(dtype)
    if not (np.isfinite(origin).all() and np.isfinite(slope).all()):
        advice = "Pass dtype='float64', or rescale X." if dtype == "float32" else "Rescale X."
        raise ValueError(f"The map exceeds the range of {dtype}. {advice}")

    def transformed(values: NDArray) -> NDArray:
        return ((values * factor + shift - scaling.center) * scaling.scale).astype(dtype)

    rows = (samples - origin) * slope + transformed(origin)
    if np.isfinite(low).any():
        rows = ops.minimum(ops.maximum(rows, transformed(low)), transformed(high))
    return rows


def _directions(rows: Any, metric: Metric) -> tuple[Any, Any]:
    """Return unit vectors, and which rows have no direction; see `_distance.as_directions`.

    There the mean of a row is computed in float64. In float32 it is that of the differences to
    the first feature: values far from zero and close to each other would lose their digits else.
    """

    def largest(rows: Any) -> Any:
        return ops.max(ops.abs(rows), axis=1, keepdims=True)

    def divided(rows: Any, length: Any) -> Any:
        return rows / ops.where(ops.equal(length, 0.0), 1.0, length)

    limit: Any = 0.0
    if metric.name == "correlation":
        limit = largest(rows) * 2.0**-50
        rows = rows - rows[:, :1]
    is_zero = largest(rows) <= limit  # not where a value is missing
    rows = ops.where(is_zero, 0.0, rows)
    rows = divided(rows, largest(rows))
    if metric.name == "correlation":
        rows = rows - ops.mean(rows, axis=1, keepdims=True)
    length = ops.sqrt(ops.sum(ops.square(rows), axis=1, keepdims=True))
    return divided(rows, length), is_zero


def _lengths(rows: Any, units: Any, is_known: Any, metric: Metric, dtype: str) -> Any:
    """Compute distances over the last axis; Euclidean ones under a product metric."""
    terms = rows - units if metric.term is None else metric.term(ops, rows, units)
    terms = terms if is_known is None else terms * is_known  # (n, n_units, n_features)
    return _reduced(terms, metric, dtype)


def _sizes(rows: Any, metric: Metric, dtype: str) -> Any:
    """Bound, in units of its rounding, how rounding of a row changes a distance."""
    return _reduced(rows if metric.is_product else metric.magnitude(ops, rows), metric, dtype)


def _reduced(terms: Any, metric: Metric, dtype: str) -> Any:
    if metric.reduction == "sum":
        return ops.sum(terms, axis=-1)
    if metric.reduction == "max":
        # Of a maximum over the last axis of three the converter to ONNX makes a pooling, which
        # has no float64 there.
        return -ops.min(-terms, axis=-1)
    squared = ops.sum(ops.square(terms), axis=-1)
    # At 0 the square root has no slope, and a model in front of the map could not be trained.
    return ops.sqrt(ops.maximum(squared, float(np.finfo(dtype).tiny)))

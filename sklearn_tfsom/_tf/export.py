"""Export of a trained map as a Keras model.

The model consists of Keras operations with the codebook as a constant. So a saved model loads
where this package is not installed, and training a model around it leaves the map as it is. All
operations exist in LiteRT and ONNX as well (`keras.ops.argmin` would use bit operations).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from sklearn_tfsom._data.scaling import Scaling
from sklearn_tfsom._distance import Metric
from sklearn_tfsom._map.ties import NOISE, within_rounding
from sklearn_tfsom._tuning import (
    EXPORTED_BLOCK,
    EXPORTED_TERMS,
    MAX_DIFFERENCE_FEATURES,
    MAX_EXPORTED_BLOCKS,
    MIN_REFERENCES,
)

# Distances that should be equal differ by up to 4 units of roundoff, relative to the values that
# they are computed from, for 1 to 3,000 features in float32. Twice that counts as equal.
_ROUNDOFFS = 8

# Units closest by products, between which differences decide.
_N_CANDIDATES = 4


def keras_model(
    formulas: Sequence[Any],
    n_features: int,
    codebook: NDArray[np.float64],
    scaling: Scaling,
    tables: Mapping[str, NDArray],
    outputs: Collection[str],
    dtype: str,
    factor: float | None,
) -> keras.Model:
    """Make the model.

    Parameters
    ----------
    formulas : sequence of Formula
        Preprocessing: from samples to scaled rows.
    n_features : int
        Of the samples.
    codebook : ndarray of float64, shape (n_units, n_features)
        Scaled code vectors.
    scaling : Scaling
        Of the code vectors; its metric is that of the distances.
    tables : mapping of str to ndarray of shape (n_units, ...)
        Outputs that depend on the best-matching unit only, and perhaps "height", which is part of
        the score.
    outputs : collection of str
        Names of outputs.
    dtype : {"float32", "float64"}
        Type of the samples, of the computation and of the results.
    factor : float or None
        The score is minus the distance to the unit times this, minus the height; None without a
        score.

    Returns
    -------
    model : keras.Model

    Raises
    ------
    ValueError
        If the map or the preprocessing exceeds the range of `dtype`.
    """
    samples = keras.Input((n_features,), dtype=dtype, name="samples")
    rows = samples
    for formula in formulas:
        rows = _at_once(functools.partial(formula.apply, ops, dtype=dtype), rows)
    # All outputs are built; a model computes only those that it is made of.
    results = _results(rows, codebook, scaling, tables, dtype, factor)
    model = keras.Model(samples, {name: results[name] for name in outputs})
    model(np.zeros((1, n_features), dtype))  # Keras writes no ONNX file of an uncalled model
    return model


def _results(
    rows: Any,
    codebook: NDArray[np.float64],
    scaling: Scaling,
    tables: Mapping[str, NDArray],
    dtype: str,
    factor: float | None,
) -> dict[str, Any]:
    metric, is_missing = scaling.metric, None
    if metric.is_spherical:
        rows, is_zero = _directions(rows, metric)
    else:
        # The converter to ONNX makes products of `where`, and NaN * 0 stays NaN, unless the
        # condition is `isnan`.
        is_missing = ops.isnan(rows)
        rows = ops.where(is_missing, 0.0, rows)
        is_missing = ops.cast(is_missing, dtype)
    has_few_features = codebook.shape[1] <= MAX_DIFFERENCE_FEATURES
    by_products = metric.is_product and not has_few_features
    search = _search_products if by_products else _search_differences
    lengths, bmus, lowest = search(rows, is_missing, codebook, scaling, dtype)
    if metric.is_spherical:
        lengths, lowest = (
            ops.where(is_zero, 1.0, ops.square(length) / 2) for length in (lengths, lowest)
        )
        bmus = ops.where(is_zero[:, 0], 0, bmus)
    elif (scale := scaling.distance_factor()) != 1:
        lengths, lowest = lengths / scale, lowest / scale
    results = {name: ops.take(table, bmus, axis=0) for name, table in tables.items()}
    if factor is not None:
        score = -factor * ops.squeeze(lowest, axis=1)
        results["score"] = score - results["height"] if "height" in results else score
    return {**results, "distances": lengths, "bmu": bmus}


def _search_products(
    rows: Any, is_missing: Any, codebook: NDArray[np.float64], scaling: Scaling, dtype: str
) -> tuple[Any, Any, Any]:
    """Search by products, decide by differences.

    Returns
    -------
    lengths : KerasTensor of shape (n, n_units)
        Euclidean distances in the scaled space.
    bmus : KerasTensor of int32, shape (n,)
    lowest : KerasTensor of shape (n, 1)
        The distance to the best-matching unit.
    """
    is_known = None if is_missing is None else 1.0 - is_missing
    closeness = _closeness(rows, is_known, codebook, dtype)
    candidates = ops.top_k(closeness, min(_N_CANDIDATES, len(codebook)))[1]
    chosen = ops.take(codebook.astype(dtype), candidates, axis=0)  # (n, n_candidates, n_features)
    differences = ops.expand_dims(rows, 1) - chosen
    if is_known is not None:
        differences = differences * ops.expand_dims(is_known, 1)
    exact = _reduced(differences, scaling.metric, dtype)
    # Copies of a code vector count as the first of them, which may be no candidate.
    _, first, copies = np.unique(codebook, axis=0, return_index=True, return_inverse=True)
    first_of = first[copies.ravel()].astype(np.int32)
    if len(first) < len(codebook):
        candidates = ops.take(first_of, candidates, axis=0)
    lowest = _lowest(exact)
    sizes = ops.norm(rows, axis=1, keepdims=True)
    extent = _extent(is_known, scaling.extents(codebook), scaling.metric, dtype)
    near = within_rounding(exact, lowest, _noise(lowest, sizes, extent, dtype))
    near = ops.where(near, candidates, len(codebook) - 1)
    bmus = ops.min(near, axis=1, keepdims=True, initial=len(codebook) - 1)
    is_bmu = ops.equal(first_of, bmus)
    # By rounding the closeness of a unit can be positive.
    lengths = ops.where(is_bmu, lowest, _length(ops.absolute(closeness), dtype))
    return lengths, ops.squeeze(bmus, axis=1), lowest


def _closeness(rows: Any, is_known: Any, codebook: NDArray[np.float64], dtype: str) -> Any:
    """Build negative squared distances as one product, around the closest of some references.

    For a reference vector r close to a sample x::

        -|x - w|^2 = 2 (x - r).w - (x - r).(x + r) - |w - r|^2

    of which ``|w - r|^2`` comes from a table. So the terms that cancel are about as large as the
    distance from x to r times |w|, not as |x| |w|. Incomplete samples have no reference vector but
    0: ``2 x.w - |x|^2 - m.w^2`` over their known features m, with 0 for missing values.
    """
    references, table = _references(codebook)
    of_references = np.square(references).sum(axis=1)
    scores = ops.matmul(rows, (2 * references.T).astype(dtype)) - of_references.astype(dtype)
    closest = ops.equal(ops.top_k(scores, 1)[1], np.arange(len(references), dtype=np.int32))
    is_complete: Any = np.ones((1, 1), dtype)  # or (n, 1)
    if is_known is not None:
        is_complete = ops.min(is_known, axis=1, keepdims=True, initial=1.0)
    is_closest = ops.where(closest, is_complete, 0.0)
    reference = ops.matmul(is_closest, references.astype(dtype))
    differences = rows - reference
    constant = ops.sum(differences * (2.0 * rows - differences), axis=1, keepdims=True)
    terms = [differences, constant, is_closest]
    factors = [
        2 * codebook.T,
        np.full((1, len(codebook)), -1.0),
        -table,
    ]
    if is_known is not None:
        terms.append(is_known - is_complete)
        factors.append(-np.square(codebook).T)
    return ops.matmul(ops.concatenate(terms, axis=1), np.concatenate(factors).astype(dtype))


def _references(codebook: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """Choose code vectors, each the farthest from those before (Gonzalez 1985), beside 0.

    Where a few code vectors are far away, others are closer to 0, the center, than to these.

    Returns
    -------
    references : ndarray of shape (n_references, n_features)
    table : ndarray of shape (n_references, n_units)
        Their squared distances to all units.
    """
    references = [np.zeros(codebook.shape[1])]
    table = [np.square(codebook).sum(axis=1)]
    closest = table[0]
    n_references = max(MIN_REFERENCES, EXPORTED_TERMS - 2 * codebook.shape[1])
    while len(references) < n_references and closest.max() > 0:
        references.append(codebook[closest.argmax()])
        table.append(np.square(codebook - references[-1]).sum(axis=1))
        closest = np.minimum(closest, table[-1])
    return np.array(references), np.array(table)


def _search_differences(
    rows: Any, is_missing: Any, codebook: NDArray[np.float64], scaling: Scaling, dtype: str
) -> tuple[Any, Any, Any]:
    """Search among distances from differences, in blocks of units; see `_search_products`.

    Memory is bounded by a block's differences: nothing that loops can be part of a saved model, so
    blocks stand in it one after the other.
    """
    metric, (n_units, n_features) = scaling.metric, codebook.shape
    n_block = max(1, EXPORTED_BLOCK // n_features, -(-n_units // MAX_EXPORTED_BLOCKS))
    sizes = _reduced(metric.magnitude(ops, rows), metric, dtype, keepdims=True)
    # (n, n_features, n_units): along the many units arrays are processed faster.
    arrays = [ops.expand_dims(rows, 2)]
    if is_missing is not None:
        # In this order LiteRT's delegate has all that blocks need before the first one, and does
        # not keep the differences of all blocks until the mask is there.
        arrays.append(1.0 - ops.expand_dims(is_missing, 2))
    blocks = []
    for start in range(0, n_units, n_block):
        block = codebook[start : start + n_block].T.astype(dtype)

        def distances(rows: Any, *is_known: Any, block: NDArray = block) -> Any:
            terms = rows - block if metric.term is None else metric.term(ops, rows, block)
            terms = terms * is_known[0] if is_known else terms
            return _reduced(terms, metric, dtype, axis=1)

        blocks.append(_at_once(distances, *arrays))
    lengths = ops.concatenate(blocks, axis=1) if len(blocks) > 1 else blocks[0]
    lowest = _lowest(lengths)
    is_known = None if is_missing is None else 1.0 - is_missing
    extent = _extent(is_known, scaling.extents(codebook), metric, dtype)
    near = within_rounding(lengths, lowest, _noise(lowest, sizes, extent, dtype))
    bmus = ops.argmax(ops.cast(near, "int32"), axis=1)  # the first one
    return lengths, bmus, lowest


def _extent(is_known: Any, extents: NDArray[np.float64], metric: Metric, dtype: str) -> Any:
    """Return the size of the code vectors over the known features, which bounds their rounding."""
    if is_known is None:
        return float(metric.size(extents))
    if metric.is_product:
        return ops.sqrt(ops.matmul(is_known, np.square(extents[:, None]).astype(dtype)))
    known = is_known * metric.magnitude(np, extents).astype(dtype)
    return _reduced(known, metric, dtype, keepdims=True)


def _noise(lowest: Any, sizes: Any, extent: Any, dtype: str) -> Any:
    """Bound how rounding may change a distance, (n, 1); see `ties.distance_noise`."""
    roundoff = _ROUNDOFFS * float(np.finfo(dtype).eps) / 2
    return lowest * roundoff + (sizes * (roundoff + NOISE) + NOISE * extent)


def _directions(rows: Any, metric: Metric) -> tuple[Any, Any]:
    """Return unit vectors, and which rows have no direction; see `_distance.as_directions`.

    There the mean of a row is computed in float64. In float32 it is that of the differences to
    the first feature: values far from zero and close to each other would lose their digits else.
    """

    def largest(rows: Any) -> Any:
        return ops.max(ops.abs(rows), axis=1, keepdims=True, initial=0.0)

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


def _reduced(
    terms: Any, metric: Metric, dtype: str, axis: int = -1, *, keepdims: bool = False
) -> Any:
    """Reduce differences, or the terms of an elementwise metric, over the features."""
    if metric.reduction == "sum":
        return ops.sum(terms, axis=axis, keepdims=keepdims)
    if metric.reduction == "max":
        return ops.max(terms, axis=axis, keepdims=keepdims, initial=0.0)
    return _length(ops.sum(ops.square(terms), axis=axis, keepdims=keepdims), dtype)


def _at_once(function: Callable[..., Any], *values: Any) -> Any:
    """Build a function as a model of its own.

    Its operations follow each other, and their intermediate results are freed at its end. Keras
    keeps the intermediate results of a model until its end, and orders operations by depth.
    """
    inputs = [keras.Input(value.shape[1:], dtype=value.dtype) for value in values]
    return keras.Model(inputs, function(*inputs))(list(values))


def _lowest(values: Any) -> Any:
    """Build the minimum of each row, (n, 1).

    The initial value lets a model take a batch of no samples.
    """
    return ops.min(values, axis=1, keepdims=True, initial=float("inf"))


def _length(squared: Any, dtype: str) -> Any:
    # At 0 the square root has no slope, and a model in front of the map could not be trained.
    return ops.sqrt(ops.maximum(squared, float(np.finfo(dtype).tiny)))

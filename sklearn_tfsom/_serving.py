"""A fitted map as a Keras model."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_tfsom import _validation as valid
from sklearn_tfsom._data.scaling import Scaling, center_and_spread
from sklearn_tfsom._distance import as_codebook, metric_of
from sklearn_tfsom._formulas import Affine, merged, rounded_to
from sklearn_tfsom._map.anomaly import anomaly_score
from sklearn_tfsom._parameters import RULES
from sklearn_tfsom._preprocessing import formulas_of
from sklearn_tfsom._tf.runtime import tensorflow_core

OUTPUTS = ("distances", "bmu", "position", "score", "cluster_label")

_NAMES = valid.Rule(
    f"a tuple of different names among {OUTPUTS}",
    lambda names: (
        isinstance(names, tuple | list)
        and 0 < len(names) == len({str(name) for name in names})
        and all(isinstance(name, str) and name in OUTPUTS for name in names)
    ),
)


def keras_model_of_map(som: Any, preprocessing: Any, outputs: Any, dtype: str) -> Any:
    """Make the model of a fitted map; see `TFSOM.to_keras`."""
    valid.check_value("dtype", som, dtype, [valid.choice(["float32", "float64"])])
    valid.check_value("outputs", som, outputs, [_NAMES, valid.NONE])
    valid.check_value("anomaly_score", som, som.anomaly_score, RULES["anomaly_score"])
    if outputs is None:
        outputs = [name for name in OUTPUTS if name != "cluster_label" or som._has_clusters]
    elif "cluster_label" in outputs and not som._has_clusters:
        right = "without 'cluster_label' for a map without clusters (n_clusters=None)"
        raise valid.wrong_parameter("outputs", som, right, valid.shown(outputs))
    formulas, n_features = formulas_of(preprocessing, som)
    metric = metric_of(som)
    # Code vectors and their differences have to be in the range of the model.
    rounded_to(dtype, som.codebook_)
    rounded_to(dtype, np.ptp(som.codebook_.astype(np.float64), axis=0))
    codebook = as_codebook(som.codebook_, metric)
    scaling = Scaling(np.zeros(codebook.shape[1]), 1.0, metric)
    if not metric.is_spherical:
        # Around the median code vector: outliers move the mean away from most units.
        center = np.median(codebook.astype(np.float64), axis=0)
        spread = center_and_spread(codebook)[1]
        scaling = Scaling.of(center, spread, dtype, metric).without_scale()
    of_map = Affine.of(codebook.shape[1], scaling.scale, -scaling.center * scaling.scale)
    tables = {"position": som.unit_positions_.astype(dtype)}
    if som._has_clusters:
        tables["cluster_label"] = som.cluster_labels_.astype(np.int32)
    score = anomaly_score(som, np.arange(len(codebook))) if "score" in outputs else None
    if score is not None and score.heights is not None:
        tables["height"] = rounded_to(dtype, score.heights)[0]
    return tensorflow_core().keras_model(
        merged([*formulas, of_map]),
        n_features,
        scaling.transform(codebook),
        scaling,
        tables,
        outputs,
        dtype,
        None if score is None else score.factor,
    )

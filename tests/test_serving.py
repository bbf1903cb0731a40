"""Keras models of a map give the results of the estimator, in every format."""

import json
import subprocess
import sys
from decimal import Decimal, localcontext

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

from sklearn_tfsom import TFSOM, InvalidParameterError
from sklearn_tfsom._distance import METRICS

FEATURE_METRICS = [name for name, row in METRICS.items() if row.allows_missing]
DIRECTION_METRICS = [name for name, row in METRICS.items() if row.is_spherical]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
TIMEOUT = 200  # seconds: longer than a slow machine needs


@pytest.fixture(scope="module", name="X")
def blobs():
    rng = np.random.RandomState(0)
    centers = rng.normal(size=(6, 5)) * 3
    return centers[rng.randint(6, size=300)] + rng.normal(size=(300, 5)) + 1


def small_map(metric="euclidean", **parameters):
    return TFSOM((5, 4), metric=metric, max_iter=6, **parameters)


def remove_values(X):
    """Replace some values by NaN, not all of a sample."""
    is_missing = np.random.RandomState(1).uniform(size=X.shape) < 0.3
    is_missing[is_missing.all(axis=1), 0] = False
    return np.where(is_missing, np.nan, X)


def get_outputs(model, X):
    return {name: np.asarray(output) for name, output in model(X).items()}


def assert_same_results(outputs, som, X, dtype="float32", scale=None):
    """Compare with the results of the estimator, within a tolerance relative to `scale`."""
    scale = np.nanmax(np.abs(X)) if scale is None else scale
    distances = som.transform(X)
    assert_allclose(outputs["distances"], distances, rtol=0, atol=TOLERANCE[dtype] * scale)
    bmus = som.bmus(X)
    assert_array_equal(outputs["bmu"], bmus)
    assert_allclose(outputs["position"], som.unit_positions_[bmus], rtol=1e-6)
    assert_allclose(outputs["score"], som.score_samples(X), rtol=0, atol=TOLERANCE[dtype] * scale)
    if som.n_clusters is not None:
        assert_array_equal(outputs["cluster_label"], som.predict(X))


# Outputs


@pytest.mark.parametrize("map_dtype", ["float32", "float64"])
@pytest.mark.parametrize("metric", METRICS)
def test_outputs_equal_the_estimator(X, metric, map_dtype):
    som = small_map(metric, n_clusters=3).fit(X.astype(map_dtype))
    for dtype in ("float32", "float64"):
        outputs = get_outputs(som.to_keras(dtype=dtype), X)
        assert_same_results(outputs, som, X, dtype)
        assert {name: (output.dtype.name, output.shape) for name, output in outputs.items()} == {
            "distances": (dtype, (300, 20)),
            "bmu": ("int32", (300,)),
            "position": (dtype, (300, 2)),
            "score": (dtype, (300,)),
            "cluster_label": ("int32", (300,)),
        }


def test_clusters_are_those_of_the_fit(X):
    """A later value of n_clusters changes neither the outputs nor the labels."""
    without, clustered = (
        small_map(n_clusters=n_clusters).fit(X).set_params(n_clusters=other)
        for n_clusters, other in ((None, 3), (3, None))
    )
    assert "cluster_label" not in get_outputs(without.to_keras(), X)
    assert_array_equal(get_outputs(clustered.to_keras(), X)["cluster_label"], clustered.predict(X))


def test_cluster_labels_need_clusters(X):
    som = small_map().fit(X)
    assert "cluster_label" not in som.to_keras().output
    with pytest.raises(InvalidParameterError, match=r"'outputs' .* without 'cluster_label'"):
        som.to_keras(outputs=["bmu", "cluster_label"])


@pytest.mark.parametrize("anomaly_score", ["isolation", "distance", "u_height"])
@pytest.mark.parametrize("metric", METRICS)
def test_score(X, metric, anomaly_score):
    som = small_map(metric, anomaly_score=anomaly_score).fit(X)
    outputs = get_outputs(som.to_keras(outputs=("score",), dtype="float64"), X)
    assert_allclose(outputs["score"], som.score_samples(X), rtol=1e-9)


@pytest.mark.parametrize("metric", ["euclidean", "chebyshev", "correlation"])
def test_chosen_outputs_are_those_of_all(X, metric):
    som = small_map(metric, n_clusters=3).fit(X)
    every = get_outputs(som.to_keras(), X)
    for chosen in [("bmu", "cluster_label"), ["score"], ("distances", "position")]:
        outputs = get_outputs(som.to_keras(outputs=chosen), X)
        assert set(outputs) == set(chosen)
        for name in chosen:
            assert_allclose(outputs[name], every[name], rtol=1e-6)


def test_outputs_that_are_not_chosen_are_not_computed(X):
    som = small_map(n_clusters=3).fit(X)
    whole, labels = (som.to_keras(outputs=outputs) for outputs in (None, ("cluster_label",)))
    assert len(labels.operations) < len(whole.operations) - 5


@pytest.mark.parametrize("outputs", ["bmu", (), ("bmu", "bmu"), ("bmus",), [1], {"bmu"}])
def test_invalid_outputs_raise(X, outputs):
    with pytest.raises(InvalidParameterError, match="'outputs' parameter of TFSOM must be a tup"):
        small_map().fit(X).to_keras(outputs=outputs)


# Precision


def curved_samples(n_features):
    """Samples on a curved sheet, whose neighboring units are close compared with its size."""
    rng = np.random.RandomState(0)
    sheet, slopes = rng.uniform(size=(1000, 3)), rng.normal(size=(3, n_features))
    samples = np.sin(2 * sheet @ slopes) + 0.05 * rng.normal(size=(1000, n_features))
    return samples.astype(np.float32)


@pytest.mark.parametrize(
    ("metric", "n_features"),
    [
        *((metric, n) for metric in ("euclidean", "cosine", "correlation") for n in (5, 64)),
        # By differences: of few features, and of elementwise metrics.
        *(("euclidean", 2), ("correlation", 2), ("manhattan", 64), ("chebyshev", 64)),
    ],
)
def test_distances_are_good_to_1e_5_of_themselves(metric, n_features):
    X = curved_samples(n_features)
    som = TFSOM((20, 15), metric=metric, max_iter=8).fit(X)
    outputs = get_outputs(som.to_keras(), X)
    distances = som.transform(X.astype(np.float64))
    atol = 1e-7 * np.abs(X).max()  # units are rounded to float32
    assert_allclose(outputs["distances"], distances, rtol=1e-5, atol=atol)
    closest = np.take_along_axis(distances, outputs["bmu"][:, None], axis=1)[:, 0]
    assert_allclose(closest, distances.min(axis=1), rtol=2e-5, atol=atol)


@pytest.mark.parametrize(("sigma", "n_features"), [(3, 10), (5, 10), (3, 64)])
def test_squared_distances_of_long_tails_are_good_to_1e_6_of_squared_norms(sigma, n_features):
    """Of maps with more units than reference vectors, which are those far away."""
    X = np.random.RandomState(0).lognormal(sigma=sigma, size=(2000, n_features))
    X = X.astype(np.float32)
    som = TFSOM((20, 15), max_iter=8).fit(X)
    center = np.median(som.codebook_.astype(np.float64), axis=0)
    rows, codebook = X - center, som.codebook_ - center
    squared = cdist(rows, codebook, "sqeuclidean")
    outputs = get_outputs(som.to_keras(), X)
    assert (outputs["bmu"] != som.bmus(X)).mean() < 0.01
    sizes = np.add.outer((rows**2).sum(axis=1), (codebook**2).sum(axis=1))
    assert (abs(outputs["distances"].astype(float) ** 2 - squared) / sizes).max() < 1e-6
    closest = np.take_along_axis(outputs["distances"], outputs["bmu"][:, None], axis=1)[:, 0]
    atol = 1e-7 * np.linalg.norm(rows, axis=1)
    lowest = np.sqrt(squared.min(axis=1))
    assert (abs(closest - lowest) < 1e-6 * lowest + atol).all()


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_no_array_of_all_differences(metric):
    import tensorflow as tf

    X = curved_samples(40)
    model = TFSOM((20, 15), metric=metric, max_iter=4).fit(X).to_keras()
    graph = tf.function(model).get_concrete_function(tf.TensorSpec([100, 40], tf.float32)).graph
    sizes = [
        output.shape.num_elements() or 0
        for operation in graph.get_operations()
        for output in operation.outputs
    ]
    assert 100 * 300 <= max(sizes) <= 100 * 300 * 40 / 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("metric", FEATURE_METRICS)
def test_missing_values_are_ignored(X, metric, dtype):
    som = small_map(metric).fit(remove_values(X))
    outputs = get_outputs(som.to_keras(dtype=dtype), remove_values(X))
    assert_same_results(outputs, som, remove_values(X), dtype)


def test_sample_without_any_value_is_at_distance_0(X):
    model = small_map("euclidean").fit(remove_values(X)).to_keras()
    distances = get_outputs(model, np.full((1, X.shape[1]), np.nan))["distances"]
    assert_allclose(distances, 0, atol=1e-15)


@pytest.mark.parametrize("metric", METRICS)
def test_precision_of_close_samples_far_from_zero(metric):
    # Exact in float32: any loss of precision happens in the model.
    X = np.random.RandomState(0).randint(0, 30, size=(300, 6)) / 8.0
    row = METRICS[metric]
    is_invariant = row.is_translation_invariant
    if row.direction is not None:  # far from zero all samples may have one direction
        is_invariant = np.allclose(row.direction(X + 1), row.direction(X))
    offset = 4096 if is_invariant else 0
    som = small_map(metric).fit(X + offset)
    assert_same_results(get_outputs(som.to_keras(), X + offset), som, X + offset, scale=4)


@pytest.mark.parametrize("factor", [1e-30, 1e30])
@pytest.mark.parametrize("metric", METRICS)
def test_very_small_and_large_samples(X, metric, factor):
    som = small_map(metric).fit(X * factor)
    scale = factor ** METRICS[metric].has_data_units
    assert_same_results(get_outputs(som.to_keras(), X * factor), som, X * factor, scale=scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "metric", [name for name in FEATURE_METRICS if METRICS[name].is_translation_invariant]
)
def test_tied_samples_get_the_lowest_unit(X, metric, dtype):
    rng = np.random.RandomState(0)
    som = small_map(metric).fit(X)
    centers, offsets = rng.normal(size=(8, 5)), rng.normal(size=(10, 5))
    for row in centers[:4]:  # equally far from units k and k + 10, except for rounding
        som.codebook_ = np.concatenate([row + offsets, row - offsets])
        bmu = get_outputs(som.to_keras(dtype=dtype), row[None])["bmu"]
        assert_array_equal(bmu, som.bmus(row[None]))
        assert bmu < 10
    som.codebook_ = np.tile(centers, (5, 1))[rng.permutation(40)][:20]  # repeated code vectors
    assert_same_results(get_outputs(som.to_keras(dtype=dtype), X), som, X, dtype)


@pytest.mark.parametrize("metric", FEATURE_METRICS)
def test_distance_to_an_equal_code_vector_is_zero(X, metric):
    som = small_map(metric).fit(X.astype(np.float32))
    outputs = get_outputs(som.to_keras(), som.codebook_)
    assert_array_equal(outputs["bmu"], np.arange(20))
    assert_allclose(np.diag(outputs["distances"]), 0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("metric", DIRECTION_METRICS)
def test_sample_without_direction_has_distance_1_and_the_first_unit(X, metric, dtype):
    som = small_map(metric).fit(X)
    no_direction = np.zeros((2, 5)) if metric == "cosine" else np.full((2, 5), [[0.0], [0.1]])
    outputs = get_outputs(som.to_keras(dtype=dtype), no_direction)
    assert_array_equal(outputs["distances"], 1)
    assert_array_equal(outputs["bmu"], 0)


def test_missing_values_give_nan_with_metrics_of_directions(X):
    outputs = get_outputs(small_map("cosine").fit(X).to_keras(), remove_values(X))
    is_incomplete = np.isnan(remove_values(X)).any(axis=1)
    assert_array_equal(np.isnan(outputs["distances"]).all(axis=1), is_incomplete)
    assert_array_equal(np.isnan(outputs["distances"]).any(axis=1), is_incomplete)


@pytest.mark.parametrize("n_samples", [0, 1, 7])
@pytest.mark.parametrize("metric", METRICS)
def test_batches_of_any_size(X, metric, n_samples):
    model = small_map(metric).fit(X).to_keras()
    all_outputs, outputs = get_outputs(model, X), get_outputs(model, X[:n_samples])
    for name, output in outputs.items():
        assert_allclose(output, all_outputs[name][:n_samples], rtol=1e-6)


# Steps in front of the map

SCALERS = {
    "standard": StandardScaler(),
    "standard, without mean": StandardScaler(with_mean=False),
    "standard, without deviation": StandardScaler(with_std=False),
    "min-max": MinMaxScaler(),
    "min-max, clipped": MinMaxScaler((-2, 3), clip=True),
    "max-abs": MaxAbsScaler(),
    "robust": RobustScaler(),
    "robust, without center": RobustScaler(with_centering=False),
    "robust, without scale": RobustScaler(with_scaling=False),
    "pipeline": make_pipeline(StandardScaler(), "passthrough", make_pipeline(MinMaxScaler())),
    "clipped between others": make_pipeline(
        RobustScaler(), MinMaxScaler((0.2, 0.8), clip=True), StandardScaler()
    ),
    "clipped to a constant": make_pipeline(
        MinMaxScaler((0, 1), clip=True), StandardScaler(), MinMaxScaler((5, 6), clip=True)
    ),
    "none": None,
    "empty pipeline": Pipeline([("nothing", None)]),
}


@pytest.mark.parametrize("scaler", SCALERS)
def test_scalers_are_part_of_the_model(X, scaler):
    X = remove_values(X * [1, 1e-3, 10, 1e4, 1] + [0, 5, 1e3, 0, -200])
    pipeline = make_pipeline(SCALERS[scaler], small_map()).fit(X)
    others = X + 3 * np.nanstd(X, axis=0) * np.random.RandomState(3).normal(size=X.shape)
    others = others.astype(np.float32).astype(np.float64)  # exact in float32
    scaled = others if SCALERS[scaler] is None else pipeline[:-1].transform(others)
    for dtype in ("float32", "float64"):
        model = pipeline[-1].to_keras(preprocessing=pipeline[:-1], dtype=dtype)
        assert_same_results(get_outputs(model, others), pipeline[-1], scaled, dtype)


@pytest.mark.parametrize("step", [*map(Normalizer, ["l1", "l2", "max"]), PowerTransformer()])
def test_steps_of_no_samples(X, step):
    pipeline = make_pipeline(step, small_map()).fit(X)
    model = pipeline[-1].to_keras(preprocessing=pipeline[:-1])
    assert get_outputs(model, X[:0])["distances"].shape == (0, 20)


@pytest.mark.parametrize("scale", [1e20, 1e-13, 1e-21])
def test_normalizer_in_float32_at_any_scale(scale):
    """No square leaves the range of float32; scikit-learn leaves tiny samples as they are."""
    given = (np.random.RandomState(0).normal(size=(300, 5)) * scale).astype(np.float32)
    pipeline = make_pipeline(Normalizer(), small_map()).fit(given.astype(np.float64))
    model = pipeline[-1].to_keras(preprocessing=pipeline[:-1])
    expected = pipeline[-1].bmus(pipeline[:-1].transform(given.astype(np.float64)))
    assert_array_equal(get_outputs(model, given)["bmu"], expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-5, 1e-8, 1e-15, 1e-18])
def test_normalizer_leaves_samples_as_they_are_in_the_precision_of_the_map(dtype, scale):
    X = (np.random.RandomState(0).normal(size=(300, 5)) * scale).astype(dtype)
    pipeline = make_pipeline(Normalizer(), small_map()).fit(X)
    outputs = get_outputs(pipeline[-1].to_keras(preprocessing=pipeline[:-1]), X)
    expected = pipeline[-1].transform(pipeline[:-1].transform(X))
    assert_allclose(outputs["distances"], expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_frozen_steps_are_part_of_the_model(X):
    frozen = FrozenEstimator(StandardScaler().fit(X))
    columns = ColumnTransformer([("a", frozen, [0, 1, 2, 3, 4])]).fit(X)
    for step in (frozen, FrozenEstimator(make_pipeline(frozen)), columns):
        pipeline = make_pipeline(step, small_map()).fit(X)
        model = pipeline[-1].to_keras(preprocessing=pipeline[:-1], dtype="float64")
        assert_same_results(
            get_outputs(model, X), pipeline[-1], pipeline[:-1].transform(X), "float64"
        )


LOG1P = FunctionTransformer(np.log1p)
STEPS = {
    "identity": FunctionTransformer(),
    "log1p": LOG1P,
    "log1p of values up to 1": make_pipeline(MaxAbsScaler(), LOG1P, StandardScaler()),
    "log1p of values near 0": make_pipeline(MinMaxScaler((0, 1e-3)), LOG1P, StandardScaler()),
    "l1": Normalizer("l1"),
    "l2": make_pipeline(StandardScaler(), Normalizer()),
    "max": make_pipeline(StandardScaler(), Normalizer("max")),
    "Yeo-Johnson": PowerTransformer(),
    "Yeo-Johnson of both signs": make_pipeline(
        StandardScaler(), PowerTransformer(standardize=False)
    ),
    "Box-Cox": PowerTransformer("box-cox"),
    "PCA": make_pipeline(StandardScaler(), PCA(3)),
    "PCA, whitened": PCA(3, whiten=True),
    "PCA in batches": IncrementalPCA(4),
    "selectors": make_pipeline(VarianceThreshold(), SelectKBest(k=3), StandardScaler()),
    "columns": ColumnTransformer(
        [
            ("scaled", StandardScaler(), [0, 4]),
            ("logarithm", make_pipeline(LOG1P, MinMaxScaler()), slice(2, 4)),
            ("nothing", MinMaxScaler(), []),
            ("dropped", "drop", [1]),
        ],
        remainder="passthrough",
        transformer_weights={"scaled": -2.0},
    ),
    "columns in columns, all dropped": ColumnTransformer(
        [("none", ColumnTransformer([("dropped", "drop", [0])]), [0])], remainder="passthrough"
    ),
    "columns in a pipeline": make_pipeline(
        ColumnTransformer([("p", PCA(2), [0, 1, 2]), ("q", PowerTransformer(), [-1])]),
        MinMaxScaler(),
    ),
    "columns by mask, with a rest": ColumnTransformer(
        [("some", StandardScaler(), [True, False, True, False, False])], remainder=RobustScaler()
    ),
}


@pytest.fixture(scope="module", name="positive")
def positive_samples():
    rng = np.random.RandomState(0)
    values = np.exp(rng.normal(size=(300, 5))) * [1, 10, 1e-3, 5, 100]
    return values.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("step", STEPS)
def test_steps_are_part_of_the_model(positive, step):
    pipeline = make_pipeline(STEPS[step], small_map())
    pipeline.fit(positive, np.arange(300) % 2)
    before = pipeline[:-1].transform(positive)
    for dtype in ("float32", "float64"):
        model = pipeline[-1].to_keras(preprocessing=pipeline[:-1], dtype=dtype)
        assert_same_results(get_outputs(model, positive), pipeline[-1], before, dtype)


def in_decimals(power, X):
    """Return the results of a fitted PowerTransformer for positive X, without rounding."""

    def one(value, exponent, mean, scale):
        exponent = Decimal(exponent)
        number = Decimal(value) + (power.method == "yeo-johnson")
        return float(((number**exponent - 1) / exponent - Decimal(mean)) / Decimal(scale))

    scaler = power._scaler
    parameters = np.broadcast_to([power.lambdas_, scaler.mean_, scaler.scale_], (3, X.shape[1])).T
    with localcontext(prec=50):
        return np.array([[one(x, *p) for x, p in zip(row, parameters, strict=True)] for row in X])


@pytest.mark.parametrize("method", ["yeo-johnson", "box-cox"])
@pytest.mark.parametrize("mean", [3.0, 300.0, 1e5])
@pytest.mark.parametrize("in_columns", [False, True])
def test_powers_far_from_zero(method, mean, in_columns):
    # Kelvins, for example: exponents such as -5 and 9. Powers in float32 would all be equal, and
    # those of scikit-learn lose half of their digits.
    X = np.random.RandomState(1).normal(mean, mean / 100, size=(200, 3))
    X = X.astype(np.float32).astype(np.float64)
    power = PowerTransformer(method)
    step = ColumnTransformer([("power", power, [0, 1, 2])]) if in_columns else power
    pipeline = make_pipeline(step, small_map()).fit(X)
    model = pipeline[-1].to_keras(preprocessing=pipeline[:-1])
    fitted = pipeline[0].named_transformers_["power"] if in_columns else power
    assert_same_results(get_outputs(model, X), pipeline[-1], in_decimals(fitted, X))


@pytest.mark.parametrize(
    "step",
    [FunctionTransformer(np.log1p), MaxAbsScaler(), MinMaxScaler((100, 101))],
    ids=["log1p", "max_abs", "min_max"],
)
def test_map_is_centered_within_the_columns(step):
    """Results far from zero are not rounded before the center of the map is subtracted."""
    X = np.random.RandomState(0).normal([2000, 2000, 300, 300, 300], [3, 3, 1, 1, 1], (500, 5))
    X = X.astype(np.float32).astype(np.float64)
    columns = ColumnTransformer(
        [("first", step, [0, 4, 2]), ("weighted", "passthrough", [3, 1])],
        transformer_weights={"weighted": 0.01},
    )
    scaled = ColumnTransformer([("scaled", StandardScaler(), [0, 4, 2]), ("rest", "drop", [3, 1])])
    for steps in ([columns], [step, VarianceThreshold(0)], [step, scaled]):
        pipeline = make_pipeline(*map(clone, steps), small_map()).fit(X)
        model = pipeline[-1].to_keras(preprocessing=pipeline[:-1])
        distances, bmus = pipeline.transform(X), pipeline[-1].bmus(pipeline[:-1].transform(X))
        outputs = get_outputs(model, X)
        assert_array_equal(outputs["bmu"], bmus)
        assert_allclose(outputs["distances"].min(axis=1), distances.min(axis=1), rtol=5e-6)


def test_powers_of_outliers():
    # Yeo-Johnson with an exponent of 24: of 0 the power is close to the lowest one, of 30,000 it
    # exceeds float32, but is not missing.
    X = np.random.RandomState(0).normal(300, 1, size=(200, 3))
    with np.errstate(over="ignore"):  # in scikit-learn 1.6
        pipeline = make_pipeline(PowerTransformer(), small_map()).fit(X)
    model = pipeline[-1].to_keras(preprocessing=pipeline[:-1])
    low = np.zeros((1, 3))
    expected = pipeline[-1].transform(in_decimals(pipeline[0], low))
    assert_allclose(np.asarray(model(low)["distances"]), expected, rtol=1e-4)
    assert not np.isfinite(np.asarray(model(np.full((1, 3), 3e4))["distances"])).all()


@pytest.mark.parametrize("columns", [["c", "a"], "b", slice("b", "d"), slice(None, "c")])
def test_columns_of_a_data_frame(positive, columns):
    frame = pytest.importorskip("pandas").DataFrame(positive, columns=list("abcde"))
    step = PCA(1) if columns != "b" else FunctionTransformer()
    columns = [columns] if columns == "b" else columns
    transformer = ColumnTransformer([("chosen", step, columns)], remainder=StandardScaler())
    pipeline = make_pipeline(transformer, small_map()).fit(frame)
    model = pipeline[-1].to_keras(preprocessing=pipeline[:-1], dtype="float64")
    before = pipeline[:-1].transform(frame)
    assert_same_results(get_outputs(model, positive), pipeline[-1], before, "float64")


def test_missing_values_stay_missing_in_steps_that_allow_them(positive):
    X = remove_values(positive)
    X[:, 0] = positive[:, 0]
    columns = ColumnTransformer(
        [("power", PowerTransformer(), [0, 1]), ("scaled", StandardScaler(), [2, 3])],
        transformer_weights={"power": None, "scaled": -2.0},
    )
    pipeline = make_pipeline(columns, MinMaxScaler(clip=True), small_map()).fit(X)
    model = pipeline[-1].to_keras(preprocessing=pipeline[:-1])
    assert_same_results(get_outputs(model, X), pipeline[-1], pipeline[:-1].transform(X))


def test_max_abs_with_clipping(X):
    if "clip" not in MaxAbsScaler().get_params():
        pytest.skip("new in scikit-learn 1.8")
    scaler = MaxAbsScaler(clip=True).fit(X[:30])
    som = small_map().fit(scaler.transform(X))
    outputs = get_outputs(som.to_keras(preprocessing=scaler), X * 2)
    assert_same_results(outputs, som, scaler.transform(X * 2))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning:sklearn")
def test_empty_column_that_is_dropped_after_scaling(X):
    X = np.column_stack([X, np.full(len(X), np.nan)])
    dropped = ColumnTransformer([("known", "passthrough", slice(0, 5))])
    pipeline = make_pipeline(StandardScaler(), dropped, small_map()).fit(X)
    for dtype in ("float32", "float64"):
        model = pipeline[-1].to_keras(preprocessing=pipeline[:-1], dtype=dtype)
        assert_same_results(
            get_outputs(model, X), pipeline[-1], pipeline[:-1].transform(X), dtype, scale=10
        )


@pytest.mark.parametrize("metric", DIRECTION_METRICS)
def test_scalers_with_metrics_of_directions(X, metric):
    scaler = StandardScaler().fit(X + 100)
    som = small_map(metric).fit(scaler.transform(X + 100))
    outputs = get_outputs(som.to_keras(preprocessing=scaler), np.float32(X + 100))
    assert_same_results(outputs, som, scaler.transform(np.float32(X + 100).astype(float)))


# Errors


def test_unfitted_map_raises():
    with pytest.raises(NotFittedError, match="TFSOM"):
        small_map().to_keras()


@pytest.mark.parametrize("dtype", ["float16", np.float32, None])
def test_invalid_dtype_raises(X, dtype):
    with pytest.raises(InvalidParameterError, match="'dtype' parameter of TFSOM must be a str am"):
        small_map().fit(X).to_keras(dtype=dtype)


class Standardizer(StandardScaler):
    """A subclass, which may compute something else than its parent."""


class NegatedPipeline(Pipeline):
    """A pipeline that does more than its steps."""

    def transform(self, X):
        return -super().transform(X)


UNKNOWN = [
    NegatedPipeline([("scaled", StandardScaler())]),
    SimpleImputer(),
    Standardizer(),
    KBinsDiscretizer(encode="ordinal", strategy="uniform"),
    FunctionTransformer(np.sqrt),
    FunctionTransformer(np.log1p, kw_args={"where": True}),
    FeatureUnion([("scaled", StandardScaler())]),
    "standard",
    3,
    np.zeros(5),
]


@pytest.mark.parametrize("step", UNKNOWN)
def test_unsupported_preprocessing_raises(X, step):
    X = np.abs(X)
    som = small_map().fit(X)
    start = (
        "The 'preprocessing' parameter of TFSOM must be a fitted StandardScaler, MinMaxScaler, "
        "MaxAbsScaler, RobustScaler, PowerTransformer, Normalizer, PCA, IncrementalPCA, "
        "FunctionTransformer of None or numpy.log1p, feature selector of scikit-learn, "
        "ColumnTransformer or Pipeline of these, or None. Got "
    )
    with pytest.raises(InvalidParameterError) as raised:
        som.to_keras(preprocessing=step)
    got = "an array of shape (5,) and" if isinstance(step, np.ndarray) else repr(step)[:80]
    assert str(raised.value).startswith(start + got)
    if hasattr(step, "fit"):
        with pytest.raises(InvalidParameterError, match="'preprocessing'"):
            som.to_keras(preprocessing=make_pipeline(StandardScaler().fit(X), step.fit(X)))
        columns = ColumnTransformer([("unknown", step, [0, 1, 2, 3, 4])]).fit(X)
        with pytest.raises(InvalidParameterError, match="'preprocessing'"):
            som.to_keras(preprocessing=columns)


def test_unfitted_or_mismatched_scalers_raise(X):
    som = small_map().fit(X)
    with pytest.raises(NotFittedError, match="StandardScaler"):
        som.to_keras(preprocessing=StandardScaler())
    with pytest.raises(
        ValueError, match=r"the map's 5 features. Got MinMaxScaler that gives 3 instead"
    ):
        som.to_keras(preprocessing=MinMaxScaler().fit(X[:, :3]))
    steps = Pipeline([("pca", PCA(4).fit(X)), ("scaler", MinMaxScaler().fit(X))])
    with pytest.raises(ValueError, match="Got MinMaxScaler for 5 features where there are 4"):
        som.to_keras(preprocessing=steps)


def test_map_out_of_float32_range_needs_float64(X):
    som = small_map().fit(X * 1e50 + 1e52)
    with pytest.raises(ValueError, match=r"range of float32\. Pass dtype='float64'"):
        som.to_keras()
    outputs = get_outputs(som.to_keras(dtype="float64"), X * 1e50 + 1e52)
    assert_same_results(outputs, som, X * 1e50 + 1e52, "float64")


def test_differences_out_of_float32_range_need_float64():
    """The code vectors are in the range of float32, not their differences."""
    X = np.random.RandomState(0).choice([-3e38, 3e38], (4, 5))
    som = TFSOM.from_codebook(X, grid_size=(2, 2), anomaly_score="distance")
    with pytest.raises(ValueError, match=r"range of float32\. Pass dtype='float64'"):
        som.to_keras()
    assert_array_equal(get_outputs(som.to_keras(dtype="float64"), X)["bmu"], som.bmus(X))


def test_heights_out_of_float32_range_need_float64():
    """The code vectors are in the range of float32, not the distances between them."""
    X = np.random.RandomState(0).choice([-1e38, 1e38], (9, 20))
    som = TFSOM.from_codebook(X, grid_size=(3, 3), X=X, anomaly_score="u_height")
    with pytest.raises(ValueError, match=r"range of float32\. Pass dtype='float64'"):
        som.to_keras()
    outputs = get_outputs(som.to_keras(dtype="float64"), X)
    assert_allclose(outputs["score"], som.score_samples(X), rtol=1e-6)


@pytest.mark.parametrize("scale", [6e37, 1e-30])
def test_map_close_to_the_range_of_float32(scale):
    rng = np.random.RandomState(0)
    signs, sizes = rng.choice([-1, 1], (200, 6)), rng.uniform(0.8, 1, (200, 6))
    X = (signs * sizes * scale).astype(np.float32)
    som = TFSOM((3, 3)).fit(X)
    outputs = get_outputs(som.to_keras(), X)
    assert_array_equal(outputs["bmu"], som.bmus(X))
    assert_allclose(outputs["distances"], som.transform(X), rtol=1e-4)


# Composition with other models


def test_model_as_a_layer(X):
    import keras

    som = small_map().fit(X)
    model = som.to_keras()
    inputs = keras.Input((5,))
    halves = [keras.layers.Rescaling(0.5)(inputs), keras.layers.Rescaling(1.5)(inputs)]
    outputs = [model(halves[0])["distances"], som.to_keras()(halves[1])["bmu"]]
    distances, bmus = keras.Model(inputs, outputs).predict(X, verbose=0)
    assert_allclose(distances, som.transform(X / 2), atol=1e-4)
    assert_array_equal(bmus, som.bmus(X * 1.5))


@pytest.mark.parametrize("metric", METRICS)
def test_layers_before_the_map_are_trainable_and_the_map_is_not(X, metric):
    import keras
    import tensorflow as tf

    som = small_map(metric).fit(X.astype(np.float32))
    model = som.to_keras()
    encoder = keras.layers.Dense(5, kernel_initializer="identity")
    inputs = keras.Input((5,))
    trained = keras.Model(inputs, model(encoder(inputs))["distances"])
    assert len(trained.trainable_weights) == 2  # those of the encoder
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(trained(som.codebook_))  # includes distances of 0
    gradients = tape.gradient(loss, encoder.kernel).numpy()
    assert np.isfinite(gradients).all()
    assert np.abs(gradients).max() > 0.1


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradients_close_to_code_vectors(jit_compile):
    import tensorflow as tf

    rng = np.random.RandomState(0)
    som = TFSOM((20, 20), max_iter=2).fit(rng.normal(size=(2000, 8)).astype(np.float32))
    model = som.to_keras(outputs=("distances",))

    @tf.function(jit_compile=jit_compile)
    def gradients(samples):
        with tf.GradientTape() as tape:
            tape.watch(samples)
            lowest = tf.reduce_min(model(samples)["distances"], axis=1)
        return tape.gradient(lowest, samples)

    close = som.codebook_ + 1e-6 * rng.normal(size=som.codebook_.shape).astype(np.float32)
    assert np.isfinite(gradients(tf.constant(close))).all()


# Global state


def test_estimator_and_global_state_do_not_change(X):
    import keras

    som = small_map().fit(X)
    before, state = dict(vars(som)), np.random.get_state()[1].copy()
    policy = keras.config.dtype_policy()
    try:
        for floatx in ("float64", "float32"):
            keras.config.set_floatx(floatx)
            assert_same_results(get_outputs(som.to_keras(), X), som, X)
            assert_same_results(get_outputs(som.to_keras(dtype="float64"), X), som, X, "float64")
            assert keras.config.floatx() == floatx
    finally:
        keras.config.set_floatx("float32")
    assert keras.config.dtype_policy() == policy
    assert all(vars(som)[name] is value for name, value in before.items())
    assert vars(som).keys() == before.keys()
    assert_array_equal(np.random.get_state()[1], state)


def many_close_units(n_close, n_copies, spread):
    """Return samples and code vectors of 150 groups, with a few close or equal ones in each."""
    rng = np.random.RandomState(0)
    centers = rng.normal(size=(150, 1, 64))
    close = centers + rng.normal(size=(150, n_close, 64)) * spread
    X = centers[rng.randint(150, size=1000), 0] + rng.normal(size=(1000, 64)) * spread
    return X, close.reshape(-1, 64).repeat(n_copies, axis=0)


def incomplete_groups():
    """Return incomplete samples of two groups far apart, and the code vectors of their map."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(2000, 8))
    X[:, 0] += 566 * rng.choice([-1, 1], 2000)
    X[rng.uniform(size=X.shape) < 0.1] = np.nan
    return X, TFSOM((15, 10)).fit(X).codebook_


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (many_close_units, (4, 1, 1e-3)),
        (many_close_units, (2, 2, 3e-3)),
        (incomplete_groups, ()),
    ],
)
def test_differences_decide_between_the_closest_units(make, arguments):
    """Products in float32 do not tell them apart; the bound is the documented one."""
    X, codebook = make(*arguments)
    X = X.astype(np.float32).astype(np.float64)
    som = TFSOM.from_codebook(codebook, grid_size=(len(codebook) // 10, 10))
    bmus = get_outputs(som.to_keras(outputs=["bmu"]), X)["bmu"]
    distances = np.sqrt(np.nansum((X[:, None] - codebook) ** 2, axis=2))
    norms = np.sqrt(np.nansum((X - np.median(codebook, axis=0)) ** 2, axis=1))
    excess = distances[np.arange(len(X)), bmus] - distances.min(axis=1)
    assert (excess <= 1e-6 * norms).all()


# Formats: read in a process that cannot import this package

READERS = """
import json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("sklearn_tfsom", "sklearn"):
            raise ImportError(name)

sys.meta_path.insert(0, Blocker())
import numpy as np

def load_keras(path):
    import keras
    return keras.models.load_model(path)

def load_savedmodel(path):
    import tensorflow as tf
    model = tf.saved_model.load(path)
    return lambda X: model.serve(tf.constant(X))

def load_litert(path):
    from ai_edge_litert.interpreter import Interpreter
    runner = Interpreter(path).get_signature_runner()
    return lambda X: runner(samples=X)

def load_onnx(path):
    import onnxruntime
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return lambda X: dict(zip(names, session.run(None, {"samples": X})))

for loader, path, samples, outputs in json.load(sys.stdin):
    X, model = np.load(samples), globals()[loader](path)
    single, all_outputs = model(X[:1]), model(X)
    assert all(np.shape(output)[0] == 1 for output in single.values())
    np.savez(outputs, **{name: np.asarray(output) for name, output in all_outputs.items()})
assert not any(name.partition(".")[0] in ("sklearn_tfsom", "sklearn") for name in sys.modules)
"""

SUFFIXES = {"keras": ".keras", "savedmodel": "", "litert": ".tflite", "onnx": ".onnx"}
REQUIRED_PACKAGES = {"litert": ["ai_edge_litert"], "onnx": ["tf2onnx", "onnxruntime"]}


def write(model, format_name, path):
    if format_name == "keras":
        model.save(path)
    else:
        written = {"savedmodel": "tf_saved_model"}.get(format_name, format_name)
        model.export(path, format=written, verbose=False)


def run_in_process(script, tasks):
    command = [sys.executable, "-c", script]
    stdin = json.dumps(tasks).encode()
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="module")
def exported(X, positive):
    """Pipelines that have every kind of operation, and samples, for each metric."""
    far = X * [1, 10, 1, 5, 1] + [0, 50, 0, 0, 10]
    clipped = make_pipeline(MinMaxScaler(clip=True), StandardScaler())
    logarithms = make_pipeline(
        *(STEPS["Box-Cox"], MinMaxScaler(), STEPS["log1p of values up to 1"]),
        STEPS["columns in a pipeline"],
    )
    cases = {
        # The converter to ONNX computes logarithms in float32, but not those of numbers near 1.
        "euclidean": (STEPS["log1p of values near 0"], remove_values(positive)),
        "manhattan": (logarithms, positive),
        "chebyshev": (clipped, remove_values(far)),
        "cosine": (make_pipeline(STEPS["columns"], PCA(2)), positive),  # so few: by differences
        "correlation": (STEPS["l2"], positive),
    }
    pipelines = {}
    for metric in METRICS:
        steps, samples = cases.get(metric, (STEPS["columns in a pipeline"], positive))
        # The other samples exceed the range of these, and are clipped.
        pipeline = make_pipeline(steps, small_map(metric, n_clusters=3)).fit(samples[:200])
        pipelines[metric] = pipeline, samples
    return pipelines


# Keras and SavedModel have the operations that the other tests run; one process reads both.
@pytest.mark.parametrize(
    "formats", [("keras", "savedmodel"), ("litert",), ("onnx",)], ids="-".join
)
def test_formats_equal_the_estimator_without_this_package(exported, tmp_path, formats):
    tasks, expected = [], []
    for format_name in formats:
        for package in REQUIRED_PACKAGES.get(format_name, []):
            pytest.importorskip(package)
        is_short = format_name in ("keras", "savedmodel")
        for metric in ("manhattan", "correlation") if is_short else METRICS:
            pipeline, samples = exported[metric]
            # Float64 for the metrics with the most operations.
            with_float64 = ("euclidean", "chebyshev", "correlation")
            has_float64 = format_name != "litert" and metric in with_float64
            for dtype in ["float32", "float64"] if has_float64 else ["float32"]:
                model = pipeline[-1].to_keras(preprocessing=pipeline[:-1], dtype=dtype)
                name = str(tmp_path / f"{format_name}_{metric}_{dtype}")
                path, data, outputs = (
                    name + suffix for suffix in (SUFFIXES[format_name], ".npy", ".npz")
                )
                write(model, format_name, path)
                np.save(data, samples.astype(dtype))
                tasks.append((f"load_{format_name}", path, data, outputs))
                expected.append((pipeline[-1], pipeline[:-1].transform(samples), dtype))
    run_in_process(READERS, tasks)
    for (*_, outputs), (som, scaled, dtype) in zip(tasks, expected, strict=True):
        with np.load(outputs) as loaded:
            assert set(loaded) == {"distances", "bmu", "position", "score", "cluster_label"}
            assert_same_results(loaded, som, scaled, dtype)


# KiB. Unlike `resource.getrusage`, this does not count the process that started this one.
PEAK = "print(next(line for line in open('/proc/self/status') if 'VmHWM' in line).split()[1])"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("metric", ["manhattan", "chebyshev"])
@pytest.mark.parametrize("format_name", ["litert", "onnx"])
def test_blocks_of_units_bound_the_memory_of_formats(tmp_path, format_name, metric):
    for package in REQUIRED_PACKAGES[format_name]:
        pytest.importorskip(package)
    rng = np.random.default_rng(0)
    som = TFSOM.from_codebook(rng.normal(size=(400, 64)), grid_size=20, metric=metric)
    path = str(tmp_path / f"map{SUFFIXES[format_name]}")
    write(som.to_keras(dtype="float32"), format_name, path)
    peaks = []
    for n_samples in (10, 10_000):
        samples = str(tmp_path / f"{n_samples}.npy")
        np.save(samples, rng.normal(size=(n_samples, 64)).astype(np.float32))
        task = f"load_{format_name}", path, samples, str(tmp_path / "outputs.npz")
        peaks.append(int(run_in_process(READERS + PEAK, [task])))
    # Samples and results take 20 MiB, all differences 980.
    assert peaks[1] - peaks[0] < 200 * 2**10


def test_loaded_model_can_be_used_in_another_model(X, tmp_path):
    import keras

    som = small_map().fit(X)
    som.to_keras().save(tmp_path / "som.keras")
    loaded = keras.models.load_model(tmp_path / "som.keras")
    inputs = keras.Input((5,))
    outer = keras.Model(inputs, keras.layers.Rescaling(2.0)(loaded(inputs)["distances"]))
    outer.save(tmp_path / "outer.keras")
    reloaded = keras.models.load_model(tmp_path / "outer.keras")
    assert_allclose(reloaded.predict(X, verbose=0), 2 * som.transform(X), atol=1e-4)

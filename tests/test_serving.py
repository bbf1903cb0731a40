"""Keras models of a map: the estimator's answers, in every format, where this package is not."""

import json
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from sklearn_tfsom import TFSOM
from sklearn_tfsom._validation import InvalidParameterError

OF_FEATURES = ["euclidean", "manhattan", "chebyshev"]
OF_DIRECTIONS = ["cosine", "correlation"]
METRICS = OF_FEATURES + OF_DIRECTIONS
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
TIMEOUT = 200  # seconds: a hang ends, a slow machine does not fail


@pytest.fixture(scope="module", name="X")
def blobs():
    rng = np.random.RandomState(0)
    centers = rng.normal(size=(6, 5)) * 3
    return centers[rng.randint(6, size=300)] + rng.normal(size=(300, 5)) + 1


def small_map(metric="euclidean", **parameters):
    return TFSOM((5, 4), metric=metric, max_iter=6, **{"n_clusters": 3, **parameters})


def with_gaps(X):
    is_missing = np.random.RandomState(1).uniform(size=X.shape) < 0.3
    is_missing[is_missing.all(axis=1), 0] = False
    return np.where(is_missing, np.nan, X)


def answers_of(model, X):
    return {name: np.asarray(answer) for name, answer in model(X).items()}


def assert_same_answers(answers, som, X, dtype="float32", scale=None):
    """Compare with what the estimator says of the same samples, to within 1e-5 of their scale."""
    scale = np.nanmax(np.abs(X)) if scale is None else scale
    distances = som.transform(X)
    assert_allclose(answers["distances"], distances, rtol=0, atol=TOLERANCE[dtype] * scale)
    bmus = som.bmus(X)
    assert_array_equal(answers["bmu"], bmus)
    assert_allclose(answers["position"], som.unit_positions_[bmus], rtol=1e-6)
    if som.n_clusters is not None:
        assert_array_equal(answers["cluster_label"], som.predict(X))


# Answers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("of_map", ["float32", "float64"])
@pytest.mark.parametrize("metric", METRICS)
def test_answers_are_the_estimators(X, metric, of_map, dtype):
    som = small_map(metric).fit(X.astype(of_map))
    answers = answers_of(som.to_keras(dtype=dtype), X)
    assert_same_answers(answers, som, X, dtype)
    assert {name: (answer.dtype.name, answer.shape) for name, answer in answers.items()} == {
        "distances": (dtype, (300, 20)),
        "bmu": ("int32", (300,)),
        "position": (dtype, (300, 2)),
        "cluster_label": ("int32", (300,)),
    }


def test_cluster_labels_come_with_clusters_only(X):
    assert "cluster_label" not in small_map(n_clusters=None).fit(X).to_keras().output


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("metric", OF_FEATURES)
def test_missing_values_are_left_out(X, metric, dtype):
    som = small_map(metric).fit(with_gaps(X))
    answers = answers_of(som.to_keras(dtype=dtype), with_gaps(X))
    assert_same_answers(answers, som, with_gaps(X), dtype)


@pytest.mark.parametrize("metric", METRICS)
def test_samples_far_from_zero_and_close_to_each_other_keep_their_digits(metric):
    # Numbers that float32 holds as they are: what is lost is lost in the model.
    X = np.random.RandomState(0).randint(0, 30, size=(300, 6)) / 8.0
    away = 0 if metric == "cosine" else 4096  # lengths count nothing there
    som = small_map(metric).fit(X + away)
    assert_same_answers(answers_of(som.to_keras(), X + away), som, X + away, scale=4)


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1e12, 1e30])
@pytest.mark.parametrize("metric", METRICS)
def test_squares_stay_in_range(X, metric, size):
    som = small_map(metric).fit(X * size)
    scale = size if metric in OF_FEATURES else 1
    assert_same_answers(answers_of(som.to_keras(), X * size), som, X * size, scale=scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("metric", OF_FEATURES)
def test_a_tie_goes_to_the_lowest_unit(X, metric, dtype):
    rng = np.random.RandomState(0)
    som = small_map(metric).fit(X)
    middle, apart = rng.normal(size=(8, 5)), rng.normal(size=(10, 5))
    for row in middle:  # as far from unit k as from unit k + 10, but for what rounding makes of it
        som.codebook_ = np.concatenate([row + apart, row - apart])
        bmu = answers_of(som.to_keras(dtype=dtype), row[None])["bmu"]
        assert_array_equal(bmu, som.bmus(row[None]))
        assert bmu < 10
    som.codebook_ = np.tile(middle, (5, 1))[rng.permutation(40)][:20]  # each of eight, repeated
    assert_same_answers(answers_of(som.to_keras(dtype=dtype), X), som, X, dtype)


@pytest.mark.parametrize("metric", OF_FEATURES)
def test_a_sample_on_a_unit_is_at_no_distance(X, metric):
    som = small_map(metric).fit(X.astype(np.float32))
    answers = answers_of(som.to_keras(), som.codebook_)
    assert_array_equal(answers["bmu"], np.arange(20))
    assert_allclose(np.diag(answers["distances"]), 0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("metric", OF_DIRECTIONS)
def test_a_sample_without_direction_is_at_distance_1_of_the_first_unit(X, metric, dtype):
    som = small_map(metric).fit(X)
    no_direction = np.zeros((2, 5)) if metric == "cosine" else np.full((2, 5), [[0.0], [0.1]])
    answers = answers_of(som.to_keras(dtype=dtype), no_direction)
    assert_array_equal(answers["distances"], 1)
    assert_array_equal(answers["bmu"], 0)


def test_missing_values_are_not_passed_over_where_samples_are_directions(X):
    answers = answers_of(small_map("cosine").fit(X).to_keras(), with_gaps(X))
    is_incomplete = np.isnan(with_gaps(X)).any(axis=1)
    assert_array_equal(np.isnan(answers["distances"]).all(axis=1), is_incomplete)
    assert_array_equal(np.isnan(answers["distances"]).any(axis=1), is_incomplete)


@pytest.mark.parametrize("n_samples", [1, 7])
def test_batches_may_have_any_size(X, n_samples):
    model = small_map().fit(X).to_keras()
    everything, some = answers_of(model, X), answers_of(model, X[:n_samples])
    for name, answer in some.items():
        assert_allclose(answer, everything[name][:n_samples], rtol=1e-6)


# Scalers

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
    "clipped in the middle": make_pipeline(
        RobustScaler(), MinMaxScaler((0.2, 0.8), clip=True), StandardScaler()
    ),
    "clipped to nothing": make_pipeline(
        MinMaxScaler((0, 1), clip=True), StandardScaler(), MinMaxScaler((5, 6), clip=True)
    ),
    "none": None,
    "an empty pipeline": Pipeline([("nothing", None)]),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scaler", SCALERS)
def test_scalers_are_folded_in(X, scaler, dtype):
    X = with_gaps(X * [1, 1e-3, 10, 1e4, 1] + [0, 5, 1e3, 0, -200])
    pipeline = make_pipeline(SCALERS[scaler], small_map()).fit(X)
    model = pipeline[-1].to_keras(preprocessing=pipeline[:-1], dtype=dtype)
    others = X + 3 * np.nanstd(X, axis=0) * np.random.RandomState(3).normal(size=X.shape)
    others = others.astype(np.float32).astype(np.float64)  # no digits are lost on the way in
    scaled = others if SCALERS[scaler] is None else pipeline[:-1].transform(others)
    assert_same_answers(answers_of(model, others), pipeline[-1], scaled, dtype)


def test_max_abs_may_be_clipped(X):
    if "clip" not in MaxAbsScaler().get_params():
        pytest.skip("scikit-learn 1.8 brought it")
    scaler = MaxAbsScaler(clip=True).fit(X[:30])
    som = small_map().fit(scaler.transform(X))
    answers = answers_of(som.to_keras(preprocessing=scaler), X * 2)
    assert_same_answers(answers, som, scaler.transform(X * 2))


@pytest.mark.parametrize("metric", OF_DIRECTIONS)
def test_scalers_go_before_directions(X, metric):
    scaler = StandardScaler().fit(X + 100)
    som = small_map(metric).fit(scaler.transform(X + 100))
    answers = answers_of(som.to_keras(preprocessing=scaler), np.float32(X + 100))
    assert_same_answers(answers, som, scaler.transform(np.float32(X + 100).astype(float)))


# Errors


def test_the_map_must_be_fitted():
    with pytest.raises(NotFittedError, match="TFSOM"):
        small_map().to_keras()


@pytest.mark.parametrize("dtype", ["float16", np.float32, None])
def test_dtype_must_be_one_of_two(X, dtype):
    with pytest.raises(InvalidParameterError, match="'dtype' parameter of TFSOM must be a str am"):
        small_map().fit(X).to_keras(dtype=dtype)


class Standardizer(StandardScaler):
    """Might do something else than what it is derived from."""


@pytest.mark.parametrize("step", [SimpleImputer(), Standardizer(), "standard", 3, np.zeros(5)])
def test_what_cannot_be_folded_is_named(X, step):
    som = small_map().fit(X)
    right = (
        "The 'preprocessing' parameter of TFSOM must be a fitted StandardScaler, MinMaxScaler, "
        "MaxAbsScaler or RobustScaler, a Pipeline of these or None. Got "
    )
    with pytest.raises(InvalidParameterError) as raised:
        som.to_keras(preprocessing=step)
    came = "an array of shape (5,) and" if isinstance(step, np.ndarray) else f"{step!r} instead."
    assert str(raised.value).startswith(right + came)
    if hasattr(step, "fit"):
        with pytest.raises(InvalidParameterError, match="'preprocessing'"):
            som.to_keras(preprocessing=make_pipeline(StandardScaler().fit(X), step.fit(X)))


def test_scalers_must_be_fitted_and_have_the_maps_features(X):
    som = small_map().fit(X)
    with pytest.raises(NotFittedError, match="StandardScaler"):
        som.to_keras(preprocessing=StandardScaler())
    with pytest.raises(ValueError, match=r"the map's 5 features. Got MinMaxScaler with 3 instead"):
        som.to_keras(preprocessing=MinMaxScaler().fit(X[:, :3]))


def test_a_map_that_float32_cannot_hold(X):
    som = small_map().fit(X * 1e50 + 1e52)
    with pytest.raises(ValueError, match="leaves float32's range"):
        som.to_keras()
    answers = answers_of(som.to_keras(dtype="float64"), X * 1e50 + 1e52)
    assert_same_answers(answers, som, X * 1e50 + 1e52, "float64")


# As a part of other models


def test_it_is_a_layer_among_others(X):
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
def test_what_stands_in_front_is_trained_and_the_map_is_not(X, metric):
    import keras
    import tensorflow as tf

    som = small_map(metric).fit(X.astype(np.float32))
    model = som.to_keras()
    encoder = keras.layers.Dense(5, kernel_initializer="identity")
    inputs = keras.Input((5,))
    trained = keras.Model(inputs, model(encoder(inputs))["distances"])
    assert len(trained.trainable_weights) == 2  # the encoder's
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(trained(som.codebook_))  # some distances are 0
    slopes = tape.gradient(loss, encoder.kernel).numpy()
    assert np.isfinite(slopes).all()
    assert np.abs(slopes).max() > 0.1


# The process around


def test_nothing_else_changes(X):
    import keras

    som = small_map().fit(X)
    before, state = dict(vars(som)), np.random.get_state()[1].copy()
    policy = keras.config.dtype_policy()
    try:
        for floatx in ("float64", "float32"):
            keras.config.set_floatx(floatx)
            assert_same_answers(answers_of(som.to_keras(), X), som, X)
            assert_same_answers(answers_of(som.to_keras(dtype="float64"), X), som, X, "float64")
            assert keras.config.floatx() == floatx
    finally:
        keras.config.set_floatx("float32")
    assert keras.config.dtype_policy() == policy
    assert all(vars(som)[name] is value for name, value in before.items())
    assert vars(som).keys() == before.keys()
    assert_array_equal(np.random.get_state()[1], state)


# Formats: written here, read by a process in which this package cannot be imported

READERS = """
import json, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("sklearn_tfsom", "sklearn"):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
import numpy as np

def by_keras(path):
    import keras
    return keras.models.load_model(path)

def by_savedmodel(path):
    import tensorflow as tf
    model = tf.saved_model.load(path)
    return lambda X: model.serve(tf.constant(X))

def by_litert(path):
    from ai_edge_litert.interpreter import Interpreter
    runner = Interpreter(path).get_signature_runner()
    return lambda X: runner(samples=X)

def by_onnx(path):
    import onnxruntime
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return lambda X: dict(zip(names, session.run(None, {"samples": X})))

for reader, path, samples, answers in json.load(sys.stdin):
    X, model = np.load(samples), globals()[reader](path)
    single, whole = model(X[:1]), model(X)
    assert all(np.shape(answer)[0] == 1 for answer in single.values())
    np.savez(answers, **{name: np.asarray(answer) for name, answer in whole.items()})
assert not any(name.partition(".")[0] in ("sklearn_tfsom", "sklearn") for name in sys.modules)
"""

SUFFIXES = {"keras": ".keras", "savedmodel": "", "litert": ".tflite", "onnx": ".onnx"}
NEEDED = {"litert": ["ai_edge_litert"], "onnx": ["tf2onnx", "onnxruntime"]}


def write(model, form, path):
    if form == "keras":
        model.save(path)
    else:
        written = {"savedmodel": "tf_saved_model"}.get(form, form)
        model.export(path, format=written, verbose=False)


@pytest.mark.parametrize("form", SUFFIXES)
def test_formats_give_the_estimators_answers_where_the_package_is_not(X, tmp_path, form):
    for package in NEEDED.get(form, []):
        pytest.importorskip(package)
    tasks, expected = [], []
    for metric in METRICS:
        # Float64 where the most operations come together.
        has_float64 = form != "litert" and metric in ("chebyshev", "correlation")
        samples = X * [1, 10, 1, 5, 1] + [0, 50, 0, 0, 10]
        samples = with_gaps(samples) if metric in OF_FEATURES else samples
        pipeline = make_pipeline(MinMaxScaler(clip=True), StandardScaler(), small_map(metric))
        pipeline.fit(samples[:200])  # there are others to be clipped
        for dtype in ["float32", "float64"] if has_float64 else ["float32"]:
            stem = tmp_path / f"{metric}_{dtype}"
            path, data, answers = (
                str(stem) + suffix for suffix in (SUFFIXES[form], ".npy", ".npz")
            )
            model = pipeline[-1].to_keras(preprocessing=pipeline[:-1], dtype=dtype)
            write(model, form, path)
            np.save(data, samples.astype(dtype))
            tasks.append((f"by_{form}", path, data, answers))
            expected.append((pipeline[-1], pipeline[:-1].transform(samples), dtype))
    command = [sys.executable, "-c", READERS]
    given = json.dumps(tasks).encode()
    done = subprocess.run(command, input=given, capture_output=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr.decode()
    for (*_, answers), (som, scaled, dtype) in zip(tasks, expected, strict=True):
        with np.load(answers) as found:
            assert set(found) == {"distances", "bmu", "position", "cluster_label"}
            assert_same_answers(found, som, scaled, dtype)


def test_a_loaded_model_is_a_keras_model_like_any_other(X, tmp_path):
    import keras

    som = small_map().fit(X)
    som.to_keras().save(tmp_path / "som.keras")
    loaded = keras.models.load_model(tmp_path / "som.keras")
    inputs = keras.Input((5,))
    around = keras.Model(inputs, keras.layers.Rescaling(2.0)(loaded(inputs)["distances"]))
    around.save(tmp_path / "around.keras")
    again = keras.models.load_model(tmp_path / "around.keras")
    assert_allclose(again.predict(X, verbose=0), 2 * som.transform(X), atol=1e-4)

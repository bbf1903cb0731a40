"""Use with scikit-learn: pipelines, searches, persistence, data frames, routing, callbacks."""

import copy
import io
import itertools
import logging
import os
import pickle
import random
import signal
import sys
import threading
import warnings
from fractions import Fraction
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
from joblib.externals.loky import get_reusable_executor
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError, UnsetMetadataPassedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from sklearn_tfsom import TFSOM
from sklearn_tfsom._distance import METRICS
from sklearn_tfsom.metrics import (
    distortion,
    heskes_energy,
    log_likelihood,
    quantization_error,
    topographic_error,
    u_matrix,
)

CV = KFold(3, shuffle=True, random_state=0)
N_UNITS = 12


def small_map(**parameters):
    return TFSOM((4, 3), **{"max_iter": 6, **parameters})


def small_pipeline(**parameters):
    return Pipeline([("scale", StandardScaler()), ("som", small_map(**parameters))])


def assert_same_map(one, other, X):
    assert_array_equal(one.codebook_, other.codebook_)
    assert_array_equal(one.predict(X), other.predict(X))
    assert_array_equal(one.transform(X), other.transform(X))


@pytest.fixture
def weights(blobs):
    return np.random.RandomState(3).uniform(0.1, 3, size=len(blobs))


@pytest.fixture
def two_jobs():
    """Return 2 for `n_jobs`; stop the workers afterwards."""
    yield 2
    get_reusable_executor().shutdown(wait=True)


# Pipelines and searches


def test_pipeline_equals_its_steps(blobs):
    pipeline = small_pipeline().fit(blobs)
    scaled = StandardScaler().fit_transform(blobs)
    som = small_map().fit(scaled)
    assert_same_map(pipeline["som"], som, scaled)
    assert_array_equal(pipeline.predict(blobs), som.labels_)
    assert_array_equal(pipeline.transform(blobs), som.transform(scaled))
    assert_array_equal(small_pipeline().fit_predict(blobs), som.labels_)
    assert pipeline.score(blobs) == som.score(scaled)


def test_pipeline_passes_sample_weight_to_the_map(blobs, weights):
    pipeline = small_pipeline().fit(blobs, som__sample_weight=weights)
    scaled = StandardScaler().fit_transform(blobs)
    assert_same_map(pipeline["som"], small_map().fit(scaled, sample_weight=weights), scaled)
    assert not np.allclose(pipeline["som"].codebook_, small_map().fit(scaled).codebook_)


def test_map_as_intermediate_step(blobs):
    pipeline = Pipeline([("som", small_map(features="activations")), ("pca", PCA(2))])
    activations = small_map(features="activations").fit_transform(blobs)
    assert_allclose(pipeline.fit_transform(blobs), PCA(2).fit_transform(activations))


def test_grid_search_with_one_and_two_jobs(blobs, two_jobs):
    grid = {"som__grid_size": [(2, 2), (4, 3)], "som__radius_end": [0.5, 1.0]}
    one, two = (
        GridSearchCV(small_pipeline(), grid, cv=CV, n_jobs=n_jobs).fit(blobs)
        for n_jobs in (1, two_jobs)
    )
    # More units and less smoothing give a lower quantization error.
    assert one.best_params_ == {"som__grid_size": (4, 3), "som__radius_end": 0.5}
    assert two.best_params_ == one.best_params_
    for fold in range(3):
        assert_allclose(
            two.cv_results_[f"split{fold}_test_score"],
            one.cv_results_[f"split{fold}_test_score"],
            rtol=1e-12,
        )
    assert_allclose(two.best_estimator_["som"].codebook_, one.best_estimator_["som"].codebook_)


@pytest.mark.parametrize(
    "resource",
    [
        {"resource": "som__max_iter", "min_resources": 2, "max_resources": 8},
        {"resource": "n_samples", "min_resources": 30},
    ],
    ids=lambda resource: resource["resource"],
)
def test_halving_search_keeps_the_best(blobs, resource):
    search = HalvingGridSearchCV(
        small_pipeline(),
        {"som__radius_end": [2.0, 0.5, 1.4, 0.9]},
        cv=CV,
        factor=2,
        random_state=0,
        **resource,
    ).fit(blobs)
    assert search.n_candidates_ == [4, 2, 1]
    assert search.best_params_["som__radius_end"] == 0.5
    if resource["resource"] == "som__max_iter":
        assert search.best_params_["som__max_iter"] == 8
        best = small_pipeline(max_iter=8, radius_end=0.5)
        assert search.best_score_ == cross_val_score(best, blobs, cv=CV).mean()


# Copies and saved maps


def copy_by_pickle(som, path):
    return pickle.loads(pickle.dumps(som))


def copy_by_joblib(som, path):
    joblib.dump(som, path / "som.joblib")
    return joblib.load(path / "som.joblib")


def copy_by_memory_map(som, path):
    joblib.dump(som, path / "som.joblib")
    loaded = joblib.load(path / "som.joblib", mmap_mode="r")
    assert isinstance(loaded.codebook_, np.memmap)
    assert not loaded.codebook_.flags.writeable
    return loaded


def copy_by_skops(som, path):
    data = skops.io.dumps(som)
    return skops.io.loads(data, trusted=[f"{TFSOM.__module__}.{TFSOM.__qualname__}"])


def copy_by_deepcopy(som, path):
    return copy.deepcopy(som)


@pytest.mark.parametrize(
    ("copy_map", "features"),
    [
        (copy_by_deepcopy, "distances"),
        (copy_by_pickle, "coordinates"),
        (copy_by_joblib, "activations"),
        (copy_by_memory_map, "distances"),
        (copy_by_memory_map, "coordinates"),  # from positions that are mapped
        (copy_by_skops, "activations"),
    ],
)
def test_copy_gives_the_same_results(blobs, tmp_path, copy_map, features):
    som = small_map(features=features, n_clusters=3).fit(blobs)
    copied_som = copy_map(som, tmp_path)
    assert_same_map(copied_som, som, blobs)
    assert_array_equal(copied_som.quantize(blobs), som.quantize(blobs))
    assert_array_equal(copied_som.score_samples(blobs), som.score_samples(blobs))
    assert copied_som.score(blobs) == som.score(blobs)
    assert_array_equal(copied_som.history_["radius"], som.history_["radius"])
    assert type(copied_som.predict(blobs)) is np.ndarray
    incomplete = np.where(np.eye(*blobs.shape, dtype=bool), np.nan, blobs)
    assert_array_equal(copied_som.impute(incomplete), som.impute(incomplete))
    assert_same_map(copied_som.fit(blobs), som, blobs)


@pytest.mark.parametrize(
    "copy_map",
    [copy_by_deepcopy, copy_by_pickle, copy_by_joblib, copy_by_memory_map, copy_by_skops],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_copy_goes_on_with_the_same_stream(blobs, tmp_path, copy_map, is_stream):
    som = small_map(n_clusters=3)
    som = som.partial_fit(blobs[:50]) if is_stream else som.fit(blobs)
    copied_som = copy_map(som, tmp_path).partial_fit(blobs[50:])
    assert_same_map(copied_som, som.partial_fit(blobs[50:]), blobs)


@pytest.mark.parametrize("init", ["pca", "sample", "random"])
def test_clone_is_unfitted_and_fits_the_same_map(blobs, init):
    som = small_map(init=init, random_state=0).fit(blobs)
    copied_som = clone(som)
    with pytest.raises(NotFittedError):
        copied_som.predict(blobs)
    assert_same_map(copied_som.fit(blobs), som, blobs)


@pytest.mark.parametrize("init", ["pca", "sample", "random"])
def test_second_fit_is_independent_of_the_first(blobs, iris, init):
    som = small_map(init=init, random_state=0)
    once = clone(som).fit(blobs)
    assert_same_map(som.fit(iris).fit(blobs), once, blobs)


def test_skops_needs_trust_only_for_the_class(blobs):
    frame = pd.DataFrame(blobs, columns=list("abcd"))
    pipeline = small_pipeline(n_clusters=3, random_state=0).set_output(transform="pandas")
    data = skops.io.dumps(pipeline.fit(frame))
    own = [f"{TFSOM.__module__}.{TFSOM.__qualname__}"]
    assert skops.io.get_untrusted_types(data=data) == own
    with pytest.raises(skops.io.exceptions.UntrustedTypesFoundException):
        skops.io.loads(data)
    copied_som = skops.io.loads(data, trusted=own)
    pd.testing.assert_frame_equal(copied_som.transform(frame), pipeline.transform(frame))


def name_of_type(value):
    return f"{type(value).__module__}.{type(value).__qualname__}"


@pytest.mark.parametrize(
    ("parameters", "others"),
    [
        ({"checkpoint_dir": "folder", "n_clusters": np.int64(3), "tol": np.float32(0.1)}, []),
        ({"radius_decay": [3, 2, 1, 1, 1, 1], "verbose": np.False_}, []),
        ({"init": np.eye(12, 4), "random_state": np.random.RandomState(0)}, []),
        ({"radius_decay": range(6, 0, -1)}, [range(1)]),
        ({"radius_end": Fraction(1, 2)}, [Fraction(1, 2)]),
        ({"checkpoint_dir": Path("folder")}, [Path("folder")]),
    ],
    ids=["plain", "list", "array", "range", "fraction", "path"],
)
def test_skops_needs_trust_for_parameters_of_other_types(
    blobs, tmp_path, monkeypatch, parameters, others
):
    monkeypatch.chdir(tmp_path)
    som = small_map(**parameters).fit(blobs)
    data = skops.io.dumps(som)
    trusted = sorted(map(name_of_type, [som, *others]))
    assert sorted(skops.io.get_untrusted_types(data=data)) == trusted
    copied_som = skops.io.loads(data, trusted=trusted)
    assert_array_equal(copied_som.transform(blobs), som.transform(blobs))


class RecordingUnpickler(pickle.Unpickler):
    """An unpickler that records the packages it imports."""

    def __init__(self, data):
        super().__init__(io.BytesIO(data))
        self.packages = set()

    def find_class(self, module, name):
        self.packages.add(module.partition(".")[0])
        return super().find_class(module, name)


def assert_plain(value):
    """Check that a value consists of NumPy arrays, numbers, strings and containers of these."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, tuple | list):
        for part in value:
            assert_plain(part)
    elif type(value) is np.ndarray and value.dtype == object:
        assert_plain(value.tolist())
    elif type(value) is np.ndarray:
        assert value.dtype.kind in "fi"
    else:
        assert type(value) in (bool, int, float, str)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"grid_size": "auto", "boundary": "toroidal", "neighborhood": "bubble"},
        {"grid_size": (3, 4), "boundary": "toroidal", "n_clusters": 2},
        {"init": "sample", "random_state": 0, "features": "coordinates"},
    ],
)
def test_fitted_map_contains_no_tensorflow_objects(blobs, parameters):
    som = small_map().set_params(**parameters)
    names_before = set(vars(som))
    som.fit(pd.DataFrame(blobs, columns=list("abcd")))
    for method in (som.predict, som.transform, som.quantize, som.score):
        method(pd.DataFrame(blobs, columns=list("abcd")))
    fitted = {name: value for name, value in vars(som).items() if name not in names_before}
    assert {"codebook_", "labels_", "history_", "feature_names_in_"} <= set(fitted)
    for value in fitted.values():
        assert_plain(value)
    unpickler = RecordingUnpickler(pickle.dumps(som))
    unpickler.load()
    assert unpickler.packages == {"sklearn_tfsom", "numpy"}


# Data frames and feature names


def make_frame(library, X, names):
    if library == "pandas":
        return pd.DataFrame(X, columns=names, index=np.arange(len(X)) + 1000)
    return pl.DataFrame(X, schema=names)


def has_names(library):
    """Return True if scikit-learn reads the column names; 1.6 does not read those of polars 2."""
    frame = make_frame(library, np.eye(2), ["a", "b"])
    return hasattr(StandardScaler().fit(frame), "feature_names_in_")


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize(
    ("features", "n_columns"),
    [("distances", N_UNITS), ("coordinates", 2), ("activations", N_UNITS)],
)
def test_data_frames_as_input_and_output(blobs, library, features, n_columns):
    frame = make_frame(library, blobs, list("abcd"))
    som = small_map(features=features).set_output(transform=library).fit(frame)
    plain = small_map(features=features).fit(blobs)
    out = som.transform(frame)
    assert type(out) is type(frame)
    assert list(out.columns) == [f"tfsom{column}" for column in range(n_columns)]
    assert list(som.get_feature_names_out()) == list(out.columns)
    assert_array_equal(out.to_numpy(), plain.transform(blobs))
    assert_array_equal(som.predict(frame), plain.labels_)
    if has_names(library):
        assert list(som.feature_names_in_) == list("abcd")
    if library == "pandas":
        assert_array_equal(out.index, frame.index)


@pytest.mark.parametrize("library", [name for name in ("pandas", "polars") if has_names(name)])
@pytest.mark.parametrize("method", ["predict", "transform", "bmus", "quantize", "score"])
@pytest.mark.parametrize("names", [list("abce"), list("dcba")], ids=["renamed", "reordered"])
def test_different_column_names_raise(blobs, library, method, names):
    som = small_map().fit(make_frame(library, blobs, list("abcd")))
    with pytest.raises(ValueError, match="feature names should match"):
        getattr(som, method)(make_frame(library, blobs, names))


def test_missing_column_names_warn(blobs):
    som = small_map().fit(pd.DataFrame(blobs, columns=list("abcd")))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        som.predict(blobs)


def test_fit_without_names_removes_the_names(blobs):
    som = small_map().fit(pd.DataFrame(blobs, columns=list("abcd"))).fit(blobs)
    assert not hasattr(som, "feature_names_in_")


def test_coordinates_are_positions_of_best_matching_units(blobs):
    som = small_map(features="coordinates").fit(blobs)
    coordinates = som.transform(blobs)
    assert coordinates.shape == (len(blobs), 2)
    assert_array_equal(coordinates, som.unit_positions_[som.bmus(blobs)])
    assert list(som.get_feature_names_out()) == ["tfsom0", "tfsom1"]


def test_features_can_be_changed_after_fit(blobs):
    som = small_map().fit(blobs).set_params(features="coordinates").set_output(transform="pandas")
    assert som.transform(blobs).shape == (len(blobs), 2)


# Metadata routing


@pytest.fixture
def routing():
    from sklearn import config_context

    with config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize(
    ("used_by_fit", "used_by_score"), [(True, True), (True, False), (False, True)]
)
def test_cross_validation_routes_requested_weights(blobs, weights, used_by_fit, used_by_score):
    som = small_map()
    som.set_fit_request(sample_weight=used_by_fit).set_score_request(sample_weight=used_by_score)
    results = cross_validate(
        som, blobs, cv=CV, params={"sample_weight": weights}, return_estimator=True
    )
    for fold, (train, test) in enumerate(CV.split(blobs)):
        expected = small_map().fit(
            blobs[train], sample_weight=weights[train] if used_by_fit else None
        )
        score = expected.score(blobs[test], sample_weight=weights[test] if used_by_score else None)
        assert_same_map(results["estimator"][fold], expected, blobs)
        assert results["test_score"][fold] == score


@pytest.mark.usefixtures("routing")
def test_search_routes_weights(blobs, weights):
    som = small_map().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    search = GridSearchCV(som, {"radius_end": [0.5, 1.0]}, cv=CV)
    search.fit(blobs, sample_weight=weights)
    assert search.best_params_ == {"radius_end": 0.5}
    expected = small_map(radius_end=0.5)
    scores = [
        expected.fit(blobs[train], None, weights[train]).score(blobs[test], None, weights[test])
        for train, test in CV.split(blobs)
    ]
    assert search.best_score_ == pytest.approx(np.mean(scores), rel=1e-12)
    assert_same_map(search.best_estimator_, expected.fit(blobs, sample_weight=weights), blobs)


@pytest.mark.usefixtures("routing")
def test_pipeline_routes_weights(blobs, weights):
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    som = small_map().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    pipeline = Pipeline([("scale", scaler), ("som", som)]).fit(blobs, sample_weight=weights)
    scaled = StandardScaler().fit_transform(blobs)
    expected = small_map().fit(scaled, sample_weight=weights)
    assert_same_map(pipeline["som"], expected, scaled)
    score = pipeline.score(blobs, sample_weight=weights)
    assert score == expected.score(scaled, sample_weight=weights) != expected.score(scaled)


@pytest.mark.usefixtures("routing")
def test_unrequested_weights_raise(blobs, weights):
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        cross_validate(small_map(), blobs, cv=CV, params={"sample_weight": weights})


# Callbacks


@pytest.fixture
def callback():
    return pytest.importorskip("sklearn.callback")


class Recorder:
    """A callback that records events, and stops or raises after an epoch (counted from 1)."""

    def __init__(self, stop_after=None, raise_after=None):
        self.stop_after, self.raise_after = stop_after, raise_after
        self.events, self.epochs, self.final = [], [], None

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.events.append(f"end {context.task_name}")
        if context.parent is None:
            self.final = fitted_estimator
            return False
        self.epochs.append(fitted_estimator)
        if len(self.epochs) == self.raise_after:
            raise OSError("error in a callback")
        return len(self.epochs) == self.stop_after


@pytest.mark.usefixtures("callback")
def test_callback_gets_one_task_for_each_epoch(blobs):
    recorder = Recorder()
    som = small_map().set_callbacks(recorder).fit(blobs)
    epochs = ["begin epoch", "end epoch"] * som.n_iter_
    assert recorder.events == ["setup", "begin fit", *epochs, "end fit", "teardown"]
    assert_same_map(recorder.final, som, blobs)


@pytest.mark.usefixtures("callback")
@pytest.mark.parametrize("parameters", [{}, {"batch_size": 40}])
def test_epochs_begin_before_they_are_computed(blobs, parameters):
    recorder = Recorder()

    def neighborhood(squared_distances, radius):
        recorder.events.append(radius)
        return np.exp(-squared_distances / (2 * radius**2))

    radii = [3.5, 3.0, 2.5, 2.25]
    som = small_map(neighborhood=neighborhood, max_iter=4, radius_decay=radii, **parameters)
    som.set_callbacks(recorder).fit(blobs)
    # The function is called with other radii before, where it is checked.
    events = [event for event in recorder.events if isinstance(event, str) or event in radii]
    events = [event for event, _ in itertools.groupby(events)]
    epochs = [each for radius in radii for each in ("begin epoch", radius, "end epoch")]
    assert events == ["setup", "begin fit", *epochs, "end fit", "teardown"]


@pytest.mark.usefixtures("callback")
def test_callback_gets_the_map_of_each_epoch(blobs):
    recorder = Recorder()
    som = small_map(coarse_to_fine=False).set_callbacks(recorder).fit(blobs)
    assert [epoch.n_iter_ for epoch in recorder.epochs] == list(range(1, som.n_iter_ + 1))
    # The history has the error of the codebook before an epoch.
    assert_allclose(
        [epoch.quantization_error_ for epoch in recorder.epochs[:-1]],
        som.history_["quantization_error"][1:],
        rtol=1e-6,
    )
    for epoch in recorder.epochs:
        assert_array_equal(epoch.predict(blobs), epoch.labels_)
    assert_same_map(recorder.epochs[-1], som, blobs)


@pytest.mark.usefixtures("callback")
def test_map_of_a_coarse_epoch_has_learned_samples_with_a_direction(blobs):
    """The others have hits, but are not remembered."""
    params = {"grid_size": 16, "metric": "cosine", "radius_start": 8}
    with_zeros = np.vstack([blobs, np.zeros((500, 4))])
    expected, som = (
        TFSOM(**params).set_callbacks(Recorder(stop_after=2)).fit(X) for X in (blobs, with_zeros)
    )
    assert som.n_iter_ == 2
    assert som.hits_.sum() == expected.hits_.sum() + 500
    assert som.n_samples_seen_ == expected.n_samples_seen_
    codebooks = [each.partial_fit(blobs[:5]).codebook_ for each in (som, expected)]
    assert_allclose(*codebooks, atol=1e-9)


class Given(Recorder):
    """A callback that records what `fit` was given."""

    def on_fit_task_end(self, estimator, context, *, X=None, metadata=None):
        self.events.append((X, metadata))


class Changing(Recorder):
    """A callback that sets parameters before and after each epoch."""

    def __init__(self, **parameters):
        super().__init__()
        self.parameters = parameters

    def on_fit_task_begin(self, estimator, context):
        estimator.set_params(**self.parameters)

    def on_fit_task_end(self, estimator, context):
        estimator.set_params(**self.parameters)


@pytest.mark.usefixtures("callback")
@pytest.mark.parametrize(
    "parameters",
    [
        {"metric": "cosine"},
        {"tol": 10.0},
        {"tol": None},
        {"n_clusters": 3},
        {"n_clusters": "not valid"},
        {"compute_topographic_error": True},
    ],
)
@pytest.mark.parametrize("n_clusters", [None, 2])
def test_callback_that_sets_a_parameter_does_not_change_the_map(blobs, n_clusters, parameters):
    expected = small_map(n_clusters=n_clusters).fit(blobs)
    som = small_map(n_clusters=n_clusters).set_callbacks(Changing(**parameters)).fit(blobs)
    assert_array_equal(som.bmus(blobs), expected.bmus(blobs))
    assert_same_map(som, expected, blobs)
    assert som.history_.keys() == expected.history_.keys()


class Predicting(Recorder):
    """A callback that predicts with the estimator, which is fitted later."""

    def on_fit_task_begin(self, estimator, context, *, X):
        with pytest.raises(NotFittedError):
            estimator.predict(X)
        super().on_fit_task_begin(estimator, context)


@pytest.mark.usefixtures("callback")
def test_estimator_is_not_fitted_during_its_first_fit(blobs):
    predicting = Predicting()
    small_map().set_callbacks(predicting).fit(blobs)
    assert len(predicting.events) > 3


@pytest.mark.usefixtures("callback")
def test_callback_gets_samples_and_weights(blobs):
    recorder, weights = Given(), np.arange(1.0, len(blobs) + 1)
    small_map(max_iter=2).set_callbacks(recorder).fit(blobs, sample_weight=weights)
    ends = [event for event in recorder.events if isinstance(event, tuple)]
    assert len(ends) == 3
    for X, metadata in ends:
        assert_array_equal(X, blobs)
        assert_array_equal(metadata["sample_weight"], weights)
    recorder = Given()
    small_map(max_iter=2).set_callbacks(recorder).fit(blobs)
    assert [event[1] for event in recorder.events if isinstance(event, tuple)] == [None] * 3


@pytest.mark.usefixtures("callback")
def test_callback_stops_the_fit(blobs):
    recorder = Recorder(stop_after=3)
    som = small_map().set_callbacks(recorder).fit(blobs)
    assert som.n_iter_ == 3
    assert len(som.history_["radius"]) == 3
    assert recorder.events[-2:] == ["end fit", "teardown"]
    short = small_map(max_iter=3, radius_decay=som.history_["radius"]).fit(blobs)
    assert_same_map(som, short, blobs)


@pytest.mark.usefixtures("callback")
@pytest.mark.parametrize("parameters", [{}, {"n_clusters": 3}, {"boundary": "toroidal"}])
def test_callback_does_not_change_the_result(blobs, parameters):
    observed = small_map(**parameters).set_callbacks(Recorder()).fit(blobs)
    assert_same_map(observed, small_map(**parameters).fit(blobs), blobs)


@pytest.mark.usefixtures("callback")
def test_callback_causes_no_warning_about_early_epochs():
    """With a large radius, samples belong to fewer units than there are clusters at the end."""
    X = np.arange(12.0)[:, None]
    parameters = {"n_clusters": 4, "radius_start": 20.0, "radius_end": 0.3, "max_iter": 20}
    expected = TFSOM((1, 6), **parameters).fit(X)
    recorder = Recorder()
    observed = TFSOM((1, 6), **parameters).set_callbacks(recorder).fit(X)
    assert np.count_nonzero(recorder.epochs[0].hits_) < 4
    assert_same_map(observed, expected, X)


class FailingNeighborhood:
    """A neighborhood that raises below radius 2: with `RADII`, in the third epoch."""

    def __init__(self, error):
        self.error = error

    def __call__(self, squared_distances, radius):
        if radius < 2:
            raise self.error("no")
        return np.exp(-squared_distances / (2 * radius**2))


RADII = [3.0, 2.0, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.usefixtures("callback")
def test_teardown_is_called_if_the_fit_fails(blobs):
    recorder = Recorder()
    som = small_map(neighborhood=FailingNeighborhood(OSError), radius_decay=RADII)
    som.set_callbacks(recorder)
    with pytest.raises(OSError, match="no"):
        som.fit(blobs)
    assert recorder.events[-1] == "teardown"
    assert "end fit" not in recorder.events


@pytest.mark.usefixtures("callback")
def test_teardown_is_called_if_a_callback_fails(blobs):
    failing, other = Recorder(raise_after=2), Recorder()
    with pytest.raises(OSError, match="error in a callback"):
        small_map().set_callbacks(failing, other).fit(blobs)
    assert failing.events[-1] == other.events[-1] == "teardown"


def test_progress_bar(blobs, callback, capsys):
    small_map().set_callbacks(callback.ProgressBar()).fit(blobs)
    assert "TFSOM - fit" in (shown := capsys.readouterr().out)
    assert "100%" in shown
    pipeline = small_pipeline().set_callbacks(callback.ProgressBar(max_propagation_depth=None))
    pipeline.fit(blobs)
    assert "TFSOM - fit" in capsys.readouterr().out


# HTML representation


def test_html_repr_links_to_the_documentation(blobs):
    link = "https://sklearn-tfsom.readthedocs.io/en/stable/sklearn_tfsom.TFSOM.html"
    som = small_map(init=np.zeros((N_UNITS, 4)))
    unfitted = estimator_html_repr(som)
    assert link in unfitted
    assert "Not fitted" in unfitted
    fitted = som.fit(blobs)._repr_html_()
    assert link in fitted
    assert "Not fitted" not in fitted


# Repeated and failing fits


def test_second_fit_may_have_other_features(blobs):
    som = small_map().fit(blobs).fit(blobs[:, :2])
    assert som.n_features_in_ == 2
    assert som.codebook_.shape == (N_UNITS, 2)
    assert_array_equal(som.predict(blobs[:, :2]), som.labels_)
    with pytest.raises(ValueError, match="expecting 2 features"):
        som.predict(blobs)


def replace_one_value(X, value):
    X = X.copy()
    X[3, 1] = value
    return X


FAILING_FITS = {
    "only nan": ({}, lambda X: (np.where(np.arange(len(X))[:, None] == 3, np.nan, X),)),
    "inf": ({}, lambda X: (replace_one_value(X, np.inf),)),
    "inf in other columns": ({}, lambda X: (pd.DataFrame(replace_one_value(X[:, :3], np.inf)),)),
    "one dimension": ({}, lambda X: (X[0],)),
    "no rows": ({}, lambda X: (X[:0],)),
    "strings": ({}, lambda X: (np.char.add(X.astype(str), "x"),)),
    "too large": ({}, lambda X: ([[1.7e308], [-1.7e308]],)),
    "negative weights": ({}, lambda X: (X, None, -np.ones(len(X)))),
    "nan weights": ({}, lambda X: (X, None, np.full(len(X), np.nan))),
    "zero weights": ({}, lambda X: (X, None, np.zeros(len(X)))),
    "too few weights": ({}, lambda X: (X[:, :2], None, np.ones(len(X) - 1))),
    "wrong parameter": ({"max_iter": 0}, lambda X: (X,)),
    "wrong shape of init": ({"init": np.zeros((N_UNITS, 3))}, lambda X: (X,)),
    "fewer samples than clusters": ({"n_clusters": 5}, lambda X: (X[:4, :2],)),
    # A warning at the end of a fit is an error with the warning filters of the tests.
    "fewer units than clusters": (
        {"n_clusters": 5},
        lambda X: (np.repeat(X[:3, :2], 9, axis=0),),
    ),
    "failing neighborhood": (
        {"neighborhood": FailingNeighborhood(ValueError), "radius_decay": RADII},
        lambda X: (X,),
    ),
    "interrupt": (
        {"neighborhood": FailingNeighborhood(KeyboardInterrupt), "radius_decay": RADII},
        lambda X: (X[:, :2],),
    ),
}


@pytest.mark.parametrize("is_fitted", [True, False])
@pytest.mark.parametrize("case", FAILING_FITS)
def test_failing_fit_does_not_change_the_map(blobs, case, is_fitted):
    parameters, make_arguments = FAILING_FITS[case]
    som = small_map(random_state=0)
    if is_fitted:
        som.fit(pd.DataFrame(blobs, columns=list("abcd")))
    som.set_params(**parameters)
    before = joblib.hash(vars(som))
    with pytest.raises((ValueError, KeyboardInterrupt, ConvergenceWarning)):
        som.fit(*make_arguments(blobs))
    assert joblib.hash(vars(som)) == before
    if not is_fitted:
        with pytest.raises(NotFittedError):
            som.predict(blobs)


class FailingCallback(Recorder):
    """A callback that raises in one of its methods and records nothing."""

    def __init__(self, where):
        self.where = where

    def setup(self, estimator, context):
        self.raise_in("setup")

    def teardown(self, estimator, context):
        self.raise_in("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.raise_in(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context):
        self.raise_in(f"end {context.task_name}")

    def raise_in(self, where):
        if where == self.where:
            raise OSError(f"in {where}")


@pytest.mark.usefixtures("callback")
@pytest.mark.parametrize("is_fitted", [True, False])
@pytest.mark.parametrize(
    "where", ["setup", "begin fit", "begin epoch", "end epoch", "end fit", "teardown"]
)
def test_failing_callback_does_not_change_the_map(blobs, where, is_fitted):
    som = small_map()
    if is_fitted:
        som.fit(pd.DataFrame(blobs, columns=list("abcd")))
    som.set_callbacks(FailingCallback(where))
    before = joblib.hash(vars(som))
    with pytest.raises(OSError, match=f"in {where}"):
        som.fit(blobs[:, :2])
    assert joblib.hash(vars(som)) == before


def test_second_interrupt_leaves_no_empty_estimator(blobs):
    """After each line of the decorator that restores the attributes after an error."""
    som = small_map().fit(blobs)
    before, n_lines, is_interrupted = dict(vars(som)), 0, True

    def trace(frame, event, _):
        nonlocal n_left
        if frame.f_code.co_name != "guarded":
            return None
        n_left -= event == "line"
        if not n_left:
            raise KeyboardInterrupt
        return trace

    former = sys.gettrace()
    while is_interrupted:
        n_lines += 1
        n_left = n_lines
        sys.settrace(trace)
        try:
            with pytest.raises((ValueError, KeyboardInterrupt)) as caught:
                som.fit(blobs * np.inf)
        finally:
            sys.settrace(former)
        is_interrupted = caught.type is KeyboardInterrupt
        assert vars(som).keys() >= before.keys()
        assert_array_equal(som.codebook_, before["codebook_"])
    assert n_lines > 5


@pytest.mark.usefixtures("callback")
def test_fit_keeps_no_state_of_its_callbacks(blobs):
    plain = set(vars(small_map().fit(blobs)))
    assert set(vars(small_map().set_callbacks(Recorder()).fit(blobs).set_callbacks())) == plain


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"grid_size": "auto", "n_clusters": 2, "boundary": "toroidal"},
        {"grid_size": [4, 3], "init": np.ones((12, 4)), "radius_decay": RADII},
        {"init": [[0, 1, 2, 3]] * 12, "radius_start": np.float32(3), "tol": 0},
        {"init": "sample", "random_state": 5, "radius_end": 1},
    ],
)
def test_fit_does_not_change_parameters(blobs, parameters):
    som = small_map().set_params(**parameters)
    objects, before = som.get_params(), joblib.hash(som.get_params())
    som.fit(blobs)
    after = som.get_params()
    assert joblib.hash(after) == before
    assert all(after[name] is value for name, value in objects.items())


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"metric": "cosine"},
        {"metric": "manhattan"},
        {"grid_size": (40, 3)},
        {"grid_size": (40, 3), "boundary": "toroidal", "lattice": "rectangular"},
        {"grid_size": (11, 3), "boundary": "toroidal", "neighborhood": "mexican_hat"},
        {"batch_size": 40},
    ],
)
@pytest.mark.parametrize("data", [load_iris, load_digits], ids=["iris", "digits"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_harmless_underflow_raises_nothing(data, dtype, parameters):
    """Weights, densities and activations far away underflow; NumPy can be told to raise then."""
    X = data().data[:300].astype(dtype)
    som = TFSOM(max_iter=12, radius_end=0.2, **parameters).set_params(
        compute_topographic_error=True, features="activations"
    )
    with np.errstate(all="raise"):
        for n_clusters in (None, 2):
            som.set_params(n_clusters=n_clusters).fit(X)
            for name in ("transform", "predict", "score", "score_samples", "quantize"):
                getattr(som, name)(X)
        u_matrix(som)
        for measure in (distortion, heskes_energy, topographic_error):
            measure(som, X)
        if "metric" not in parameters:
            log_likelihood(som, X)
            som.impute(replace_one_value(X, np.nan))
        clone(som).partial_fit(X[:100]).partial_fit(X[100:])


@pytest.mark.parametrize(
    ("container", "metric"),
    [(csr_array, "euclidean"), (csr_array, "cosine")] + [(np.asarray, name) for name in METRICS],
)
def test_harmless_underflow_of_small_values_and_weights(container, metric):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(40, 3)) * 10.0 ** rng.uniform(-170, 0, size=(40, 3))
    weights = np.r_[1e-310, 1e-198, np.ones(38)]
    with np.errstate(all="raise"):
        som = TFSOM(3, max_iter=3, metric=metric).fit(container(X), sample_weight=weights)
        for name in ("transform", "predict", "score", "score_samples", "quantize"):
            getattr(som, name)(container(X))
        clone(som).partial_fit(container(X), sample_weight=weights)
        given = {"X": container(X), "sample_weight": weights}
        TFSOM.from_codebook(som.codebook_, grid_size=3, metric=metric, **given)
        for measure in (quantization_error, topographic_error, distortion, heskes_energy):
            measure(som, container(X), sample_weight=weights)


@pytest.mark.parametrize("scale", [1e-307, (1e120, 1, 1e-200, 1e-300)], ids=["small", "mixed"])
@pytest.mark.parametrize("metric", METRICS)
def test_harmless_underflow_at_extreme_scales(metric, scale):
    X = np.random.RandomState(0).normal(size=(300, 4)) * scale
    with np.errstate(all="raise"):
        som = TFSOM(5, max_iter=3, metric=metric).fit(X)
        for name in ("transform", "predict", "score", "score_samples", "quantize"):
            getattr(som, name)(X)
        u_matrix(som)
        for measure in (quantization_error, topographic_error, distortion, heskes_energy):
            measure(som, X)


def test_methods_do_not_change_data_or_weights(blobs, weights):
    X, given = blobs.copy(), weights.copy()
    som = small_map(n_clusters=3).fit(X, sample_weight=given)
    for method in (som.predict, som.transform, som.quantize, som.score_samples, som.score):
        method(X)
    assert_array_equal(X, blobs)
    assert_array_equal(given, weights)


def test_warning_points_to_the_line_of_the_fit():
    with pytest.warns(ConvergenceWarning, match="n_clusters=5") as warned:
        small_map(n_clusters=5).fit(np.repeat(np.eye(3), 9, axis=0))
    assert [warning.filename for warning in warned] == [__file__]


# Precision and memory layout


OUTPUTS = ["transform", "quantize", "score_samples"]


@pytest.mark.parametrize("features", ["distances", "coordinates", "activations"])
def test_float32_stays_float32(blobs, features):
    X = blobs.astype(np.float32)
    som = small_map(features=features).fit(X)
    assert som.codebook_.dtype == np.float32
    for output in OUTPUTS:
        assert getattr(som, output)(X).dtype == np.float32
    assert_allclose(som.codebook_, small_map().fit(blobs).codebook_, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("features", ["distances", "coordinates", "activations"])
@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint16, np.float16, np.bool_])
def test_other_types_become_float64(blobs, features, dtype):
    X = np.abs(blobs).astype(dtype)
    som = small_map(features=features).fit(X)
    assert som.codebook_.dtype == np.float64
    for output in OUTPUTS:
        assert getattr(som, output)(X).dtype == np.float64
    assert_same_map(som, small_map(features=features).fit(X.astype(np.float64)), X)


def make_read_only(X, path):
    X = X.copy()
    X.flags.writeable = False
    return X


def make_fortran(X, path):
    return np.asfortranarray(X)


def make_strided(X, path):
    whole = np.full((2 * len(X), 2 * X.shape[1]), np.nan, dtype=X.dtype)
    whole[::2, 1::2] = X
    return whole[::2, 1::2]


def make_negative_strides(X, path):
    return X[::-1, ::-1].copy()[::-1, ::-1]


def make_unaligned(X, path):
    store = np.empty(X.nbytes + 1, dtype=np.uint8)
    shifted = store[1:].view(X.dtype).reshape(X.shape)
    shifted[...] = X
    return shifted


def make_memory_map(X, path):
    np.save(path / "X.npy", X)
    return np.load(path / "X.npy", mmap_mode="r")


def make_byte_swapped(X, path):
    return X.astype(X.dtype.newbyteorder())


def make_nested_lists(X, path):
    return X.tolist()


LAYOUTS = [
    make_read_only,
    make_fortran,
    make_strided,
    make_negative_strides,
    make_unaligned,
    make_memory_map,
    make_byte_swapped,
    make_nested_lists,
]


@pytest.mark.parametrize(
    ("layout", "init"),
    [
        *((layout, "pca") for layout in LAYOUTS),
        *((layout, "sample") for layout in (make_fortran, make_memory_map)),
        *((layout, "random") for layout in (make_strided, make_nested_lists)),
    ],
)
def test_layout_of_the_data_does_not_change_the_result(blobs, weights, tmp_path, layout, init):
    som = small_map(init=init, random_state=0, n_clusters=3).fit(blobs, sample_weight=weights)
    X = layout(blobs, tmp_path)
    assert_array_equal(X, blobs)
    assert_same_map(clone(som).fit(X, sample_weight=weights), som, blobs)
    assert_array_equal(som.predict(X), som.labels_)
    assert_array_equal(som.transform(X), som.transform(blobs))
    assert_array_equal(som.score_samples(X), som.score_samples(blobs))
    assert som.score(X, sample_weight=weights) == som.score(blobs, sample_weight=weights)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize("batch_size", [None, 16])
def test_layout_of_incomplete_data_does_not_change_the_result(metric, batch_size):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(60, 17))
    X[rng.rand(60, 17) < 0.2] = np.nan
    # With so small a radius units without samples keep their start.
    radius = {"radius_start": 0.5, "radius_end": 0.5}
    som = TFSOM(8, neighborhood="bubble", metric=metric, batch_size=batch_size, **radius)
    codebook = som.fit(X).codebook_
    assert_array_equal(clone(som).fit(np.asfortranarray(X)).codebook_, codebook)


@pytest.mark.parametrize("dtypes", [("f4", "f8"), ("f8", "f4")])
def test_results_have_the_precision_of_the_samples(blobs, dtypes):
    fitted, given = dtypes
    som = small_map().fit(blobs.astype(fitted))
    for method in ("transform", "quantize", "score_samples", "impute"):
        assert getattr(som, method)(blobs.astype(given)).dtype == given


@pytest.mark.parametrize(
    "layout", [make_read_only, make_strided, make_memory_map, make_byte_swapped, make_nested_lists]
)
def test_layout_of_the_weights_does_not_change_the_result(blobs, weights, tmp_path, layout):
    given = layout(weights[:, None], tmp_path)
    given = [row[0] for row in given] if isinstance(given, list) else given[:, 0]
    som = small_map().fit(blobs, sample_weight=weights)
    assert_same_map(small_map().fit(blobs, sample_weight=given), som, blobs)
    assert som.score(blobs, sample_weight=given) == som.score(blobs, sample_weight=weights)


# Global state


def get_global_state():
    root = logging.getLogger()
    return {
        "numpy random": joblib.hash(np.random.get_state()),
        "random": random.getstate(),
        "errors": np.geterr(),
        "filters": list(warnings.filters),
        "logging": (list(root.handlers), root.level, logging.root.manager.disable),
        "environment": dict(os.environ),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "hooks": (sys.excepthook, threading.excepthook, warnings.showwarning),
        "directory": os.getcwd(),
    }


def call_all_methods(som, X):
    incomplete = np.where(np.eye(*X.shape, dtype=bool), np.nan, X)
    som.fit(X)
    for method in ("predict", "transform", "score", "bmus", "quantize", "score_samples"):
        getattr(som, method)(X)
    som.impute(incomplete)
    topographic_error(som, X)
    som.partial_fit(X[:50])
    TFSOM.from_codebook(som.codebook_, grid_size=som.grid_shape_).predict(X)


@pytest.mark.parametrize(
    "parameters",
    [
        *({"init": init, "random_state": 0} for init in ("pca", "sample", "random")),
        {"init": "random", "random_state": np.random.RandomState(0)},
        {},
        {"n_clusters": "auto"},
        {"batch_size": 40},
    ],
    ids=["pca", "sample", "random", "RandomState", "no seed", "clusters", "mini-batches"],
)
def test_global_state_does_not_change(blobs, parameters):
    som = small_map(**parameters)
    call_all_methods(som, blobs)  # imports modules
    before = get_global_state()
    call_all_methods(som, blobs)
    assert get_global_state() == before


@pytest.mark.parametrize("init", ["sample", "random"])
def test_random_state_none_uses_the_global_random_state(blobs, init):
    state = np.random.get_state()
    try:
        np.random.seed(0)
        one = small_map(init=init).fit(blobs)
        two = small_map(init=init).fit(blobs)
        np.random.seed(0)
        again = small_map(init=init).fit(blobs)
    finally:
        np.random.set_state(state)
    assert_same_map(again, one, blobs)
    assert not np.array_equal(two.codebook_, one.codebook_)


@pytest.mark.parametrize("parameters", [{}, {"coarse_to_fine": False}, {"batch_size": 40}])
def test_topographic_error_of_each_epoch(blobs, parameters):
    parameters = {"grid_size": (7, 6), "tol": 0, **parameters}
    weights = np.random.RandomState(0).uniform(0.1, 2, size=len(blobs))
    som = TFSOM(**parameters, max_iter=8, compute_topographic_error=True)
    som.fit(blobs, sample_weight=weights)
    errors = som.history_["topographic_error"]
    assert len(errors) == len(som.history_["radius"]) == 8
    last = topographic_error(som, blobs, sample_weight=weights)
    assert errors[-1] == pytest.approx(last, abs=1e-12)
    assert "topographic_error" not in small_map().fit(blobs).history_
    # The error of an epoch is that of a fit which ends after this epoch.
    radii = som.history_["radius"][:3]
    short = TFSOM(**parameters, max_iter=3, radius_decay=radii)
    if "coarse_to_fine" in parameters or "batch_size" in parameters:
        short.fit(blobs, sample_weight=weights)
        expected = topographic_error(short, blobs, sample_weight=weights)
        assert errors[2] == pytest.approx(expected, abs=1e-12)
    one = TFSOM(1, compute_topographic_error=True).fit(blobs)
    assert_array_equal(one.history_["topographic_error"], 0)


@pytest.mark.parametrize("max_iter", [1, 2, 3, 20])
@pytest.mark.filterwarnings("error")
def test_fit_that_cannot_converge_warns(blobs, max_iter):
    som = TFSOM((6, 5), max_iter=max_iter, tol=1e-12)
    if max_iter > 2:  # one epoch is after the radius has reached its end
        som.fit(blobs)
        return
    match = f"in the last of max_iter={max_iter} epochs: the map had no chance to settle"
    with pytest.warns(ConvergenceWarning, match=match) as caught:
        som.fit(blobs)
    assert caught[0].filename == __file__
    som.set_params(tol=1e9).fit(blobs)  # converges in the last epoch
    given = TFSOM((6, 5), max_iter=2, radius_decay=[2.0, 1.0])
    given.fit(blobs)  # no warning for given radii


def test_warning_names_the_parameters_that_the_fit_began_with(blobs):
    som = TFSOM((6, 5), max_iter=2)

    def changing(squared, radius):
        som.max_iter = 99
        return np.exp(-squared / (2 * radius**2))

    som.set_params(neighborhood=changing)
    with pytest.warns(ConvergenceWarning, match="in the last of max_iter=2 epochs"):
        som.fit(blobs)

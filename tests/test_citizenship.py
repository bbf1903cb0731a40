"""A good citizen: pipelines, searches, persistence, data frames, routing, callbacks, state."""

import copy
import io
import logging
import os
import pickle
import random
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
from joblib.externals.loky import get_reusable_executor
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
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
from sklearn_tfsom.metrics import topographic_error

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
    """n_jobs=2, and no worker left behind."""
    yield 2
    get_reusable_executor().shutdown(wait=True)


# Pipelines and searches


def test_a_pipeline_does_what_its_steps_do(blobs):
    pipeline = small_pipeline().fit(blobs)
    scaled = StandardScaler().fit_transform(blobs)
    som = small_map().fit(scaled)
    assert_same_map(pipeline["som"], som, scaled)
    assert_array_equal(pipeline.predict(blobs), som.labels_)
    assert_array_equal(pipeline.transform(blobs), som.transform(scaled))
    assert_array_equal(small_pipeline().fit_predict(blobs), som.labels_)
    assert pipeline.score(blobs) == som.score(scaled)


def test_a_pipeline_passes_sample_weight_to_the_map(blobs, weights):
    pipeline = small_pipeline().fit(blobs, som__sample_weight=weights)
    scaled = StandardScaler().fit_transform(blobs)
    assert_same_map(pipeline["som"], small_map().fit(scaled, sample_weight=weights), scaled)
    assert not np.allclose(pipeline["som"].codebook_, small_map().fit(scaled).codebook_)


def test_a_map_can_be_a_step_before_others(blobs):
    pipeline = Pipeline([("som", small_map(features="activations")), ("pca", PCA(2))])
    activations = small_map(features="activations").fit_transform(blobs)
    assert_allclose(pipeline.fit_transform(blobs), PCA(2).fit_transform(activations))


def test_a_grid_search_finds_the_same_with_one_and_two_jobs(blobs, two_jobs):
    grid = {"som__grid_size": [(2, 2), (4, 3)], "som__radius_end": [0.5, 1.0]}
    one, two = (
        GridSearchCV(small_pipeline(), grid, cv=CV, n_jobs=n_jobs).fit(blobs)
        for n_jobs in (1, two_jobs)
    )
    # More units and less smoothing: the samples lie closer to their units.
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
def test_a_halving_search_keeps_the_best(blobs, resource):
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


# Copies and persistence


def by_pickle(som, path):
    return pickle.loads(pickle.dumps(som))


def by_joblib(som, path):
    joblib.dump(som, path / "som.joblib")
    return joblib.load(path / "som.joblib")


def by_joblib_mapped(som, path):
    joblib.dump(som, path / "som.joblib")
    mapped = joblib.load(path / "som.joblib", mmap_mode="r")
    assert isinstance(mapped.codebook_, np.memmap)
    assert not mapped.codebook_.flags.writeable
    return mapped


def by_skops(som, path):
    data = skops.io.dumps(som)
    return skops.io.loads(data, trusted=[f"{TFSOM.__module__}.{TFSOM.__qualname__}"])


def by_deepcopy(som, path):
    return copy.deepcopy(som)


@pytest.mark.parametrize("features", ["distances", "coordinates", "activations"])
@pytest.mark.parametrize("copied", [by_deepcopy, by_pickle, by_joblib, by_joblib_mapped, by_skops])
def test_a_copy_answers_as_the_original_does(blobs, tmp_path, copied, features):
    som = small_map(features=features, n_clusters=3).fit(blobs)
    twin = copied(som, tmp_path)
    assert_same_map(twin, som, blobs)
    assert_array_equal(twin.quantize(blobs), som.quantize(blobs))
    assert_array_equal(twin.score_samples(blobs), som.score_samples(blobs))
    assert twin.score(blobs) == som.score(blobs)
    assert_array_equal(twin.history_["radius"], som.history_["radius"])
    assert type(twin.predict(blobs)) is np.ndarray
    assert_same_map(twin.fit(blobs), som, blobs)


@pytest.mark.parametrize("init", ["pca", "sample", "random"])
def test_a_clone_is_unfitted_and_fits_to_the_same_map(blobs, init):
    som = small_map(init=init, random_state=0).fit(blobs)
    twin = clone(som)
    with pytest.raises(NotFittedError):
        twin.predict(blobs)
    assert_same_map(twin.fit(blobs), som, blobs)


@pytest.mark.parametrize("init", ["pca", "sample", "random"])
def test_a_second_fit_forgets_the_first(blobs, iris, init):
    som = small_map(init=init, random_state=0)
    once = clone(som).fit(blobs)
    assert_same_map(som.fit(iris).fit(blobs), once, blobs)


def test_skops_has_to_trust_nothing_but_the_class(blobs):
    frame = pd.DataFrame(blobs, columns=list("abcd"))
    pipeline = small_pipeline(n_clusters=3, random_state=0).set_output(transform="pandas")
    data = skops.io.dumps(pipeline.fit(frame))
    own = [f"{TFSOM.__module__}.{TFSOM.__qualname__}"]
    assert skops.io.get_untrusted_types(data=data) == own
    twin = skops.io.loads(data, trusted=own)
    pd.testing.assert_frame_equal(twin.transform(frame), pipeline.transform(frame))


class Importer(pickle.Unpickler):
    """An unpickler that notes which packages it needs."""

    def __init__(self, data):
        super().__init__(io.BytesIO(data))
        self.packages = set()

    def find_class(self, module, name):
        self.packages.add(module.partition(".")[0])
        return super().find_class(module, name)


def assert_plain(value):
    """NumPy arrays of numbers or strings, Python's own numbers and strings, and nests of them."""
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
def test_a_fitted_map_holds_no_tensorflow(blobs, parameters):
    som = small_map().set_params(**parameters)
    names_before = set(vars(som))
    som.fit(pd.DataFrame(blobs, columns=list("abcd")))
    for method in (som.predict, som.transform, som.quantize, som.score):
        method(pd.DataFrame(blobs, columns=list("abcd")))
    fitted = {name: value for name, value in vars(som).items() if name not in names_before}
    assert {"codebook_", "labels_", "history_", "feature_names_in_"} <= set(fitted)
    for value in fitted.values():
        assert_plain(value)
    unpickler = Importer(pickle.dumps(som))
    unpickler.load()
    assert unpickler.packages == {"sklearn_tfsom", "numpy"}


# Data frames and names


def frame_of(library, X, names):
    if library == "pandas":
        return pd.DataFrame(X, columns=names, index=np.arange(len(X)) + 1000)
    return pl.DataFrame(X, schema=names)


def has_names(library):
    """Whether scikit-learn itself sees the names: 1.6 does not see those of polars 2."""
    frame = frame_of(library, np.eye(2), ["a", "b"])
    return hasattr(StandardScaler().fit(frame), "feature_names_in_")


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize(
    ("features", "n_columns"),
    [("distances", N_UNITS), ("coordinates", 2), ("activations", N_UNITS)],
)
def test_data_frames_come_in_and_go_out(blobs, library, features, n_columns):
    frame = frame_of(library, blobs, list("abcd"))
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
def test_other_column_names_raise(blobs, library, method, names):
    som = small_map().fit(frame_of(library, blobs, list("abcd")))
    with pytest.raises(ValueError, match="feature names should match"):
        getattr(som, method)(frame_of(library, blobs, names))


def test_missing_names_warn(blobs):
    som = small_map().fit(pd.DataFrame(blobs, columns=list("abcd")))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        som.predict(blobs)


def test_a_fit_without_names_forgets_the_names(blobs):
    som = small_map().fit(pd.DataFrame(blobs, columns=list("abcd"))).fit(blobs)
    assert not hasattr(som, "feature_names_in_")


@pytest.mark.parametrize("features", ["distances", "coordinates", "activations"])
def test_an_unfitted_map_has_no_output_names(features):
    with pytest.raises(NotFittedError):
        small_map(features=features).get_feature_names_out()


def test_coordinates_are_the_positions_of_the_best_matching_units(blobs):
    som = small_map(features="coordinates").fit(blobs)
    coordinates = som.transform(blobs)
    assert coordinates.shape == (len(blobs), 2)
    assert_array_equal(coordinates, som.unit_positions_[som.bmus(blobs)])
    assert list(som.get_feature_names_out()) == ["tfsom0", "tfsom1"]


def test_features_can_change_after_the_fit(blobs):
    som = small_map().fit(blobs).set_params(features="coordinates").set_output(transform="pandas")
    assert som.transform(blobs).shape == (len(blobs), 2)


# Metadata routing


@pytest.fixture
def routing():
    from sklearn import config_context

    with config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize(("in_fit", "in_score"), [(True, True), (True, False), (False, True)])
def test_cross_validation_routes_weights_to_where_they_are_wanted(
    blobs, weights, in_fit, in_score
):
    som = small_map()
    som.set_fit_request(sample_weight=in_fit).set_score_request(sample_weight=in_score)
    found = cross_validate(
        som, blobs, cv=CV, params={"sample_weight": weights}, return_estimator=True
    )
    for fold, (train, test) in enumerate(CV.split(blobs)):
        alone = small_map().fit(blobs[train], sample_weight=weights[train] if in_fit else None)
        score = alone.score(blobs[test], sample_weight=weights[test] if in_score else None)
        assert_same_map(found["estimator"][fold], alone, blobs)
        assert found["test_score"][fold] == score


@pytest.mark.usefixtures("routing")
def test_a_search_routes_weights(blobs, weights):
    som = small_map().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    search = GridSearchCV(som, {"radius_end": [0.5, 1.0]}, cv=CV)
    search.fit(blobs, sample_weight=weights)
    assert search.best_params_ == {"radius_end": 0.5}
    alone = small_map(radius_end=0.5)
    scores = [
        alone.fit(blobs[train], None, weights[train]).score(blobs[test], None, weights[test])
        for train, test in CV.split(blobs)
    ]
    assert search.best_score_ == pytest.approx(np.mean(scores), rel=1e-12)
    assert_same_map(search.best_estimator_, alone.fit(blobs, sample_weight=weights), blobs)


@pytest.mark.usefixtures("routing")
def test_a_pipeline_routes_weights(blobs, weights):
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    som = small_map().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    pipeline = Pipeline([("scale", scaler), ("som", som)]).fit(blobs, sample_weight=weights)
    scaled = StandardScaler().fit_transform(blobs)
    alone = small_map().fit(scaled, sample_weight=weights)
    assert_same_map(pipeline["som"], alone, scaled)
    score = pipeline.score(blobs, sample_weight=weights)
    assert score == alone.score(scaled, sample_weight=weights) != alone.score(scaled)


@pytest.mark.usefixtures("routing")
def test_weights_that_nobody_asked_for_raise(blobs, weights):
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        cross_validate(small_map(), blobs, cv=CV, params={"sample_weight": weights})


# Callbacks


@pytest.fixture
def callback():
    return pytest.importorskip("sklearn.callback")


class Listener:
    """Note what a fit tells; stop it after, or raise in, an epoch (counted from 1)."""

    def __init__(self, stop_after=None, raise_in=None):
        self.stop_after, self.raise_in = stop_after, raise_in
        self.events, self.epochs, self.whole = [], [], None

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.events.append(f"end {context.task_name}")
        if context.parent is None:
            self.whole = fitted_estimator
            return False
        self.epochs.append(fitted_estimator)
        if len(self.epochs) == self.raise_in:
            raise OSError("the listener fails")
        return len(self.epochs) == self.stop_after


@pytest.mark.usefixtures("callback")
def test_a_callback_sees_one_task_for_each_epoch(blobs):
    listener = Listener()
    som = small_map().set_callbacks(listener).fit(blobs)
    epochs = ["begin epoch", "end epoch"] * som.n_iter_
    assert listener.events == ["setup", "begin fit", *epochs, "end fit", "teardown"]
    assert_same_map(listener.whole, som, blobs)


@pytest.mark.usefixtures("callback")
def test_a_callback_gets_the_map_of_each_epoch(blobs):
    listener = Listener()
    som = small_map(coarse_to_fine=False).set_callbacks(listener).fit(blobs)
    assert [epoch.n_iter_ for epoch in listener.epochs] == list(range(1, som.n_iter_ + 1))
    # The history tells the error of the codebook that an epoch begins with.
    assert_allclose(
        [epoch.quantization_error_ for epoch in listener.epochs[:-1]],
        som.history_["quantization_error"][1:],
        rtol=1e-6,
    )
    for epoch in listener.epochs:
        assert_array_equal(epoch.predict(blobs), epoch.labels_)
    assert_same_map(listener.epochs[-1], som, blobs)


@pytest.mark.usefixtures("callback")
def test_a_callback_stops_the_fit(blobs):
    listener = Listener(stop_after=3)
    som = small_map().set_callbacks(listener).fit(blobs)
    assert som.n_iter_ == 3
    assert len(som.history_["radius"]) == 3
    assert listener.events[-2:] == ["end fit", "teardown"]
    short = small_map(max_iter=3, radius_decay=som.history_["radius"]).fit(blobs)
    assert_same_map(som, short, blobs)


@pytest.mark.usefixtures("callback")
@pytest.mark.parametrize("parameters", [{}, {"n_clusters": 3}, {"boundary": "toroidal"}])
def test_listening_changes_nothing(blobs, parameters):
    heard = small_map(**parameters).set_callbacks(Listener()).fit(blobs)
    assert_same_map(heard, small_map(**parameters).fit(blobs), blobs)


@pytest.mark.usefixtures("callback")
def test_a_listener_brings_no_warning_about_early_epochs():
    """With a wide radius samples fall on fewer units than there are clusters in the end."""
    X = np.arange(12.0)[:, None]
    parameters = {"n_clusters": 4, "radius_start": 20.0, "radius_end": 0.3, "max_iter": 20}
    alone = TFSOM((1, 6), **parameters).fit(X)
    listener = Listener()
    heard = TFSOM((1, 6), **parameters).set_callbacks(listener).fit(X)
    assert np.count_nonzero(listener.epochs[0].hits_) < 4
    assert_same_map(heard, alone, X)


class Breaking:
    """A neighborhood that raises below radius 2: with `FALLING`, for the third epoch."""

    def __init__(self, error):
        self.error = error

    def __call__(self, squared_distances, radius):
        if radius < 2:
            raise self.error("no")
        return np.exp(-squared_distances / (2 * radius**2))


FALLING = [3.0, 2.0, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.usefixtures("callback")
def test_teardown_comes_when_the_fit_fails(blobs):
    listener = Listener()
    som = small_map(neighborhood=Breaking(OSError), radius_decay=FALLING)
    som.set_callbacks(listener)
    with pytest.raises(OSError, match="no"):
        som.fit(blobs)
    assert listener.events[-1] == "teardown"
    assert "end fit" not in listener.events


@pytest.mark.usefixtures("callback")
def test_teardown_comes_when_a_callback_fails(blobs):
    failing, other = Listener(raise_in=2), Listener()
    with pytest.raises(OSError, match="the listener fails"):
        small_map().set_callbacks(failing, other).fit(blobs)
    assert failing.events[-1] == other.events[-1] == "teardown"


def test_a_progress_bar_runs(blobs, callback, capsys):
    small_map().set_callbacks(callback.ProgressBar()).fit(blobs)
    assert "TFSOM - fit" in (shown := capsys.readouterr().out)
    assert "100%" in shown
    pipeline = small_pipeline().set_callbacks(callback.ProgressBar(max_propagation_depth=None))
    pipeline.fit(blobs)
    assert "TFSOM - fit" in capsys.readouterr().out


# The picture in a notebook


def test_the_html_repr_links_to_the_documentation(blobs):
    link = "https://sklearn-tfsom.readthedocs.io/en/stable/sklearn_tfsom.TFSOM.html"
    som = small_map(init=np.zeros((N_UNITS, 4)))
    unfitted = estimator_html_repr(som)
    assert link in unfitted
    assert "Not fitted" in unfitted
    fitted = som.fit(blobs)._repr_html_()
    assert link in fitted
    assert "Not fitted" not in fitted


# A fit and what was there before


def test_a_second_fit_may_have_other_features(blobs):
    som = small_map().fit(blobs).fit(blobs[:, :2])
    assert som.n_features_in_ == 2
    assert som.codebook_.shape == (N_UNITS, 2)
    assert_array_equal(som.predict(blobs[:, :2]), som.labels_)
    with pytest.raises(ValueError, match="expecting 2 features"):
        som.predict(blobs)


def with_value(X, value):
    X = X.copy()
    X[3, 1] = value
    return X


BAD_FITS = {
    "only nan": ({}, lambda X: (np.where(np.arange(len(X))[:, None] == 3, np.nan, X),)),
    "inf": ({}, lambda X: (with_value(X, np.inf),)),
    "inf in other columns": ({}, lambda X: (pd.DataFrame(with_value(X[:, :3], np.inf)),)),
    "one dimension": ({}, lambda X: (X[0],)),
    "no rows": ({}, lambda X: (X[:0],)),
    "strings": ({}, lambda X: (X.astype(str) + "x",)),
    "too large": ({}, lambda X: ([[1.7e308], [-1.7e308]],)),
    "negative weights": ({}, lambda X: (X, None, -np.ones(len(X)))),
    "nan weights": ({}, lambda X: (X, None, np.full(len(X), np.nan))),
    "zero weights": ({}, lambda X: (X, None, np.zeros(len(X)))),
    "too few weights": ({}, lambda X: (X[:, :2], None, np.ones(len(X) - 1))),
    "wrong parameter": ({"max_iter": 0}, lambda X: (X,)),
    "wrong shape of init": ({"init": np.zeros((N_UNITS, 3))}, lambda X: (X,)),
    "fewer samples than clusters": ({"n_clusters": 5}, lambda X: (X[:4, :2],)),
    # A warning here, at the very end of a fit, is an error where the user wants it so.
    "fewer units than clusters": (
        {"n_clusters": 5},
        lambda X: (np.repeat(X[:3, :2], 9, axis=0),),
    ),
    "failing neighborhood": (
        {"neighborhood": Breaking(ValueError), "radius_decay": FALLING},
        lambda X: (X,),
    ),
    "interrupt": (
        {"neighborhood": Breaking(KeyboardInterrupt), "radius_decay": FALLING},
        lambda X: (X[:, :2],),
    ),
}


@pytest.mark.parametrize("is_fitted", [True, False])
@pytest.mark.parametrize("case", BAD_FITS)
def test_a_failing_fit_leaves_the_map_as_it_was(blobs, case, is_fitted):
    parameters, bad = BAD_FITS[case]
    som = small_map(random_state=0)
    if is_fitted:
        som.fit(pd.DataFrame(blobs, columns=list("abcd")))
    som.set_params(**parameters)
    before = joblib.hash(vars(som))
    with pytest.raises((ValueError, KeyboardInterrupt, ConvergenceWarning)):
        som.fit(*bad(blobs))
    assert joblib.hash(vars(som)) == before
    if not is_fitted:
        with pytest.raises(NotFittedError):
            som.predict(blobs)


class Raising(Listener):
    """A callback that raises in one of its methods and remembers nothing."""

    def __init__(self, where):
        self.where = where

    def setup(self, estimator, context):
        self.act("setup")

    def teardown(self, estimator, context):
        self.act("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.act(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context):
        self.act(f"end {context.task_name}")

    def act(self, where):
        if where == self.where:
            raise OSError(f"in {where}")


@pytest.mark.usefixtures("callback")
@pytest.mark.parametrize("is_fitted", [True, False])
@pytest.mark.parametrize(
    "where", ["setup", "begin fit", "begin epoch", "end epoch", "end fit", "teardown"]
)
def test_a_failing_callback_leaves_the_map_as_it_was(blobs, where, is_fitted):
    som = small_map()
    if is_fitted:
        som.fit(pd.DataFrame(blobs, columns=list("abcd")))
    som.set_callbacks(Raising(where))
    before = joblib.hash(vars(som))
    with pytest.raises(OSError, match=f"in {where}"):
        som.fit(blobs[:, :2])
    assert joblib.hash(vars(som)) == before


@pytest.mark.usefixtures("callback")
def test_a_fit_leaves_nothing_of_its_callbacks_behind(blobs):
    plain = set(vars(small_map().fit(blobs)))
    assert set(vars(small_map().set_callbacks(Listener()).fit(blobs).set_callbacks())) == plain


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"grid_size": "auto", "n_clusters": 2, "boundary": "toroidal"},
        {"grid_size": [4, 3], "init": np.ones((12, 4)), "radius_decay": FALLING},
        {"init": [[0, 1, 2, 3]] * 12, "radius_start": np.float32(3), "tol": 0},
        {"init": "sample", "random_state": 5, "radius_end": 1},
    ],
)
def test_a_fit_changes_no_parameter(blobs, parameters):
    som = small_map().set_params(**parameters)
    objects, before = som.get_params(), joblib.hash(som.get_params())
    som.fit(blobs)
    after = som.get_params()
    assert joblib.hash(after) == before
    assert all(after[name] is value for name, value in objects.items())


def test_a_fit_changes_neither_data_nor_weights(blobs, weights):
    X, given = blobs.copy(), weights.copy()
    som = small_map(n_clusters=3).fit(X, sample_weight=given)
    for method in (som.predict, som.transform, som.quantize, som.score_samples, som.score):
        method(X)
    assert_array_equal(X, blobs)
    assert_array_equal(given, weights)


def test_a_warning_points_to_the_line_of_the_fit():
    with pytest.warns(ConvergenceWarning, match="n_clusters=5") as warned:
        small_map(n_clusters=5).fit(np.repeat(np.eye(3), 9, axis=0))
    assert [warning.filename for warning in warned] == [__file__]


# What comes in


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
def test_everything_else_becomes_float64(blobs, features, dtype):
    X = np.abs(blobs).astype(dtype)
    som = small_map(features=features).fit(X)
    assert som.codebook_.dtype == np.float64
    for output in OUTPUTS:
        assert getattr(som, output)(X).dtype == np.float64
    assert_same_map(som, small_map(features=features).fit(X.astype(np.float64)), X)


def read_only(X, path):
    X = X.copy()
    X.flags.writeable = False
    return X


def fortran(X, path):
    return np.asfortranarray(X)


def every_other(X, path):
    whole = np.full((2 * len(X), 2 * X.shape[1]), np.nan, dtype=X.dtype)
    whole[::2, 1::2] = X
    return whole[::2, 1::2]


def reversed_twice(X, path):
    return X[::-1, ::-1].copy()[::-1, ::-1]


def unaligned(X, path):
    store = np.empty(X.nbytes + 1, dtype=np.uint8)
    shifted = store[1:].view(X.dtype).reshape(X.shape)
    shifted[...] = X
    return shifted


def mapped(X, path):
    np.save(path / "X.npy", X)
    return np.load(path / "X.npy", mmap_mode="r")


def byte_swapped(X, path):
    return X.astype(X.dtype.newbyteorder())


def nested_lists(X, path):
    return X.tolist()


LAYOUTS = [
    read_only,
    fortran,
    every_other,
    reversed_twice,
    unaligned,
    mapped,
    byte_swapped,
    nested_lists,
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("init", ["pca", "sample", "random"])
def test_the_layout_of_the_data_does_not_matter(blobs, weights, tmp_path, layout, init):
    som = small_map(init=init, random_state=0, n_clusters=3).fit(blobs, sample_weight=weights)
    X = layout(blobs, tmp_path)
    assert_array_equal(X, blobs)
    assert_same_map(clone(som).fit(X, sample_weight=weights), som, blobs)
    assert_array_equal(som.predict(X), som.labels_)
    assert_array_equal(som.transform(X), som.transform(blobs))
    assert_array_equal(som.score_samples(X), som.score_samples(blobs))
    assert som.score(X, sample_weight=weights) == som.score(blobs, sample_weight=weights)


@pytest.mark.parametrize("layout", [read_only, every_other, mapped, byte_swapped, nested_lists])
def test_the_layout_of_the_weights_does_not_matter(blobs, weights, tmp_path, layout):
    given = layout(weights[:, None], tmp_path)
    given = [row[0] for row in given] if isinstance(given, list) else given[:, 0]
    som = small_map().fit(blobs, sample_weight=weights)
    assert_same_map(small_map().fit(blobs, sample_weight=given), som, blobs)
    assert som.score(blobs, sample_weight=given) == som.score(blobs, sample_weight=weights)


# What is everybody's


def global_state():
    root = logging.getLogger()
    return {
        "numpy random": joblib.hash(np.random.get_state()),
        "random": random.getstate(),
        "errors": np.geterr(),
        "filters": list(warnings.filters),
        "logging": (list(root.handlers), root.level, logging.root.manager.disable),
        "environment": dict(os.environ),
    }


@pytest.mark.parametrize("init", ["pca", "sample", "random"])
@pytest.mark.parametrize("random_state", [0, np.random.RandomState(0)])
def test_the_global_state_stays_as_it_was(blobs, init, random_state):
    """Importing TensorFlow changes some of it, which nobody but TensorFlow can help."""
    som = small_map(init=init, random_state=random_state).fit(blobs)  # TensorFlow is up
    before = global_state()
    som.fit(blobs)
    som.predict(blobs)
    som.transform(blobs)
    som.score(blobs)
    assert global_state() == before


def test_random_state_none_draws_from_the_global_random_state(blobs):
    state = np.random.get_state()
    try:
        np.random.seed(0)
        one = small_map(init="random").fit(blobs)
        two = small_map(init="random").fit(blobs)
        np.random.seed(0)
        again = small_map(init="random").fit(blobs)
    finally:
        np.random.set_state(state)
    assert_same_map(again, one, blobs)
    assert not np.array_equal(two.codebook_, one.codebook_)


@pytest.mark.parametrize("parameters", [{}, {"coarse_to_fine": False}, {"batch_size": 40}])
def test_the_topographic_error_of_each_epoch(blobs, parameters):
    parameters = {"grid_size": (7, 6), "tol": 0, **parameters}
    weights = np.random.RandomState(0).uniform(0.1, 2, size=len(blobs))
    som = TFSOM(**parameters, max_iter=8, compute_topographic_error=True)
    som.fit(blobs, sample_weight=weights)
    errors = som.history_["topographic_error"]
    assert len(errors) == len(som.history_["radius"]) == 8
    last = topographic_error(som, blobs, sample_weight=weights)
    assert errors[-1] == pytest.approx(last, abs=1e-12)
    assert "topographic_error" not in small_map().fit(blobs).history_
    # An epoch's error is that of the map where training ends with this epoch.
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
def test_a_map_without_a_chance_to_settle_warns(blobs, max_iter):
    som = TFSOM((6, 5), max_iter=max_iter, tol=1e-12)
    if max_iter > 2:  # there is an epoch after the radius has reached its end
        som.fit(blobs)
        return
    match = f"in the last of max_iter={max_iter} epochs: the map had no chance to settle"
    with pytest.warns(ConvergenceWarning, match=match) as caught:
        som.fit(blobs)
    assert caught[0].filename == __file__
    som.set_params(tol=1e9).fit(blobs)  # it has settled
    given = TFSOM((6, 5), max_iter=2, radius_decay=[2.0, 1.0])
    given.fit(blobs)  # a schedule of one's own is meant as it is

"""Scorers in scikit-learn's model selection, and pipelines."""

import inspect
import pickle

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_array_equal
from reference_measures import MEASURES, arguments_of, compute, samples
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import check_scoring
from sklearn.model_selection import (
    GridSearchCV,
    LearningCurveDisplay,
    ValidationCurveDisplay,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM, metrics

SCORERS = [name for name in metrics.__all__ if name.endswith("_scorer")]
Y = np.repeat([0, 1, 2], 50)


def measure_of(scorer):
    """Return the name of the measure of a scorer, its sign, and whether it is absolute."""
    name = scorer.removesuffix("_scorer")
    measure = name.removeprefix("neg_").removeprefix("absolute_")
    return measure, -1 if name.startswith("neg_") else 1, "absolute_" in name


def needs_classes(scorer):
    return "y" in arguments_of(getattr(metrics, measure_of(scorer)[0]))


def expected_score(scorer, som, X, y, **kwargs):
    measure, sign, is_absolute = measure_of(scorer)
    value = float(compute(measure, som, X, y, **kwargs))
    return sign * (abs(value) if is_absolute else value)


def test_every_measure_with_a_single_value_has_a_scorer():
    with_single_value = [
        name
        for name in MEASURES
        if inspect.signature(getattr(metrics, name)).return_annotation == "float"
    ]
    assert sorted(measure_of(name)[0] for name in SCORERS) == with_single_value


@pytest.mark.parametrize("name", SCORERS)
class TestEachScorer:
    def test_it_is_the_measure_with_its_sign(self, name, iris):
        scorer, som = getattr(metrics, name), TFSOM((5, 4)).fit(iris)
        expected = expected_score(name, som, iris, Y)
        assert scorer(som, iris, Y) == expected
        if not needs_classes(name):
            assert scorer(som, iris) == expected
            return
        match = f"^{name} needs the classes of the samples. Got y=None instead"
        with pytest.raises(ValueError, match=match):
            scorer(som, iris)

    def test_pipeline(self, name, iris):
        scorer = getattr(metrics, name)
        pipeline = make_pipeline(StandardScaler(), TFSOM((5, 4))).fit(iris)
        scaled = StandardScaler().fit_transform(iris)
        expected = expected_score(name, pipeline[-1], scaled, Y)
        assert scorer(pipeline, iris, Y) == pytest.approx(expected, rel=1e-12)
        only_map = make_pipeline(TFSOM((5, 4))).fit(iris)
        assert scorer(only_map, iris, Y) == expected_score(name, only_map[-1], iris, Y)

    def test_name_and_copies(self, name):
        scorer = getattr(metrics, name)
        assert repr(scorer) == name
        assert repr(pickle.loads(pickle.dumps(scorer))) == name
        assert repr(clone(scorer, safe=False)) == name
        with pytest.raises(RuntimeError, match=f"{name} needs metadata routing"):
            scorer.set_score_request(sample_weight=False)
        assert check_scoring(TFSOM(), scoring=scorer) is scorer
        takes_weights = "sample_weight" in arguments_of(getattr(metrics, measure_of(name)[0]))
        with sklearn.config_context(enable_metadata_routing=True):
            assert scorer.set_score_request(sample_weight=True).__name__ == name
            for wrong in (3, "no identifier!") if takes_weights else ():
                with pytest.raises(ValueError, match="either a valid identifier or one of"):
                    scorer.set_score_request(sample_weight=wrong)

    def test_documentation(self, name):
        documentation = getattr(metrics, name).__doc__
        assert f"`{measure_of(name)[0]}`" in documentation
        assert ("Negative" in documentation) == name.startswith("neg_")
        assert ("Requires class labels." in documentation) == needs_classes(name)

    def test_sample_weight(self, name, iris):
        weights = np.repeat([1.0, 0.0, 2.0], 50)
        som = TFSOM((5, 4)).fit(iris)
        expected = expected_score(name, som, iris, Y, sample_weight=weights)
        assert getattr(metrics, name)(som, iris, Y, sample_weight=weights) == expected

    def test_map_that_is_not_fitted(self, name):
        with pytest.raises(NotFittedError, match="This TFSOM instance is not fitted yet"):
            getattr(metrics, name)(TFSOM(), samples(), np.zeros(60, dtype=int))


def test_grid_search_with_all_scorers(iris):
    scoring = {name: getattr(metrics, name) for name in SCORERS}
    order = np.random.RandomState(0).permutation(150)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), TFSOM()),
        {"tfsom__grid_size": [2, 6]},
        scoring=scoring,
        refit="log_likelihood_scorer",
        cv=2,
        error_score="raise",
    ).fit(iris[order], Y[order])
    for name in scoring:
        assert np.isfinite(search.cv_results_[f"mean_test_{name}"]).all()
    for name in ("neg_quantization_error_scorer", "explained_variance_scorer", "purity_scorer"):
        small, large = search.cv_results_[f"mean_test_{name}"]
        assert small < large


def test_grid_search_of_several_scorers_with_weights(iris):
    weights = np.random.RandomState(0).uniform(size=150)
    names = ["neg_quantization_error_scorer", "neg_topographic_error_scorer"]
    search = GridSearchCV(
        TFSOM(),
        {"grid_size": [2, 6]},
        scoring={name: getattr(metrics, name) for name in names},
        refit=names[0],
        cv=2,
        error_score="raise",
    ).fit(iris, sample_weight=weights)
    assert search.best_params_ == {"grid_size": 6}


@pytest.mark.parametrize(
    ("display", "options"),
    [
        (LearningCurveDisplay, {"train_sizes": [0.5, 1.0]}),
        (ValidationCurveDisplay, {"param_name": "grid_size", "param_range": [2, 3]}),
    ],
)
def test_displays_of_scikit_learn_name_the_score(display, options, iris):
    plt = pytest.importorskip("matplotlib.pyplot")
    drawn = display.from_estimator(
        TFSOM(2, max_iter=2, radius_end=1),
        iris[::5],
        None,
        cv=2,
        scoring=metrics.explained_variance_scorer,
        ax=plt.figure().add_subplot(),
        **options,
    )
    assert drawn.ax_.get_ylabel() == "Explained variance scorer"
    plt.close("all")


@pytest.mark.parametrize("is_requested", [False, True])
def test_metadata_routing(iris, is_requested):
    weights = np.random.RandomState(0).randint(0, 3, size=150).astype(float)
    shared = metrics.neg_quantization_error_scorer
    with sklearn.config_context(enable_metadata_routing=True):
        result = cross_validate(
            TFSOM((3, 3)).set_fit_request(sample_weight=True),
            iris,
            scoring=shared.set_score_request(sample_weight=is_requested),
            params={"sample_weight": weights},
            return_estimator=True,
            return_indices=True,
            cv=2,
        )
        assert shared.get_metadata_routing().score.requests == {"sample_weight": None}
    expected = [
        shared(som, iris[rows], sample_weight=weights[rows] if is_requested else None)
        for som, rows in zip(result["estimator"], result["indices"]["test"], strict=True)
    ]
    assert_array_equal(result["test_score"], expected)


def test_metadata_routing_of_measures_without_weights(iris):
    weights = np.random.RandomState(0).randint(0, 3, size=150).astype(float)
    scorer = metrics.neg_absolute_topographic_product_scorer
    with sklearn.config_context(enable_metadata_routing=True):
        results = [
            cross_validate(
                TFSOM((3, 3)).set_fit_request(sample_weight=True),
                iris,
                scoring=each,
                params={"sample_weight": weights},
                return_estimator=True,
                cv=2,
            )
            for each in (scorer, scorer.set_score_request(sample_weight=True))
        ]
    for result in results:
        expected = [scorer(som, iris) for som in result["estimator"]]
        assert_array_equal(result["test_score"], expected)

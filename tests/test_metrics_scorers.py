"""Scorers work in scikit-learn's model selection."""

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_metrics import samples

from sklearn_tfsom import TFSOM, metrics

# Name of the scorer, of the measure, and its sign.
SCORERS = [
    (name, name.removesuffix("_scorer").removeprefix("neg_"), -1 if "neg_" in name else 1)
    for name in metrics.__all__
    if name.endswith("_scorer")
]
OF_CLASSES = ["purity", "class_entropy", "class_scatter_index", "normalized_mutual_information"]
# What says nothing of how good a map is, or not in one number.
NO_SCORE = ["u_matrix", "hit_histogram", "topographic_function", "topographic_product"]


def test_each_measure_has_a_scorer():
    named = {measure for _, measure, _ in SCORERS}
    measures = {name for name in metrics.__all__ if not name.endswith("_scorer")}
    assert named - measures == {"absolute_topographic_product"}
    assert measures - named == set(NO_SCORE)


@pytest.mark.parametrize(("name", "measure", "sign"), SCORERS, ids=lambda value: str(value))
class TestEachScorer:
    def expected(self, som, measure, X, y):
        if measure == "absolute_topographic_product":
            return abs(metrics.topographic_product(som))
        classes = (y,) if measure in OF_CLASSES else ()
        return getattr(metrics, measure)(som, X, *classes)

    def test_it_is_the_measure_with_its_sign(self, name, measure, sign, iris):
        scorer, y = getattr(metrics, name), np.repeat([0, 1, 2], 50)
        som = TFSOM((5, 4)).fit(iris)
        expected = sign * self.expected(som, measure, iris, y)
        assert scorer(som, iris, y) == expected
        if measure not in OF_CLASSES:
            assert scorer(som, iris) == expected

    def test_it_looks_through_a_pipeline(self, name, measure, sign, iris):
        scorer, y = getattr(metrics, name), np.repeat([0, 1, 2], 50)
        pipeline = make_pipeline(StandardScaler(), TFSOM((5, 4))).fit(iris)
        scaled = StandardScaler().fit_transform(iris)
        expected = sign * self.expected(pipeline[-1], measure, scaled, y)
        assert scorer(pipeline, iris, y) == pytest.approx(expected, rel=1e-12)
        alone = make_pipeline(TFSOM((5, 4))).fit(iris)
        assert scorer(alone, iris, y) == sign * self.expected(alone[-1], measure, iris, y)

    def test_its_name_and_its_copies(self, name, measure, sign):
        scorer = getattr(metrics, name)
        assert repr(scorer) == name
        assert repr(pickle.loads(pickle.dumps(scorer))) == name
        assert repr(clone(scorer, safe=False)) == name
        assert check_scoring(TFSOM(), scoring=scorer) is scorer

    def test_weights_reach_the_measure(self, name, measure, sign, iris):
        scorer, y = getattr(metrics, name), np.repeat([0, 1, 2], 50)
        weights = np.repeat([1.0, 0.0, 1.0], 50)
        som = TFSOM((5, 4)).fit(iris)
        kept = weights > 0
        expected = scorer(som, iris[kept], y[kept])
        assert scorer(som, iris, y, sample_weight=weights) == pytest.approx(expected, rel=1e-12)

    def test_a_map_that_was_not_fitted_is_refused(self, name, measure, sign):
        with pytest.raises(NotFittedError, match="This TFSOM instance is not fitted yet"):
            getattr(metrics, name)(TFSOM(), samples(), np.zeros(60, dtype=int))


@pytest.mark.parametrize("measure", OF_CLASSES)
def test_classes_are_needed(measure, iris):
    (name,) = (name for name, other, _ in SCORERS if other == measure)
    with pytest.raises(ValueError, match=f"^{name} needs the classes .* Got y=None instead"):
        getattr(metrics, name)(TFSOM((3, 3)).fit(iris), iris)


def test_a_grid_search_by_several_of_them(iris):
    scoring = {name: getattr(metrics, name) for name, _, _ in SCORERS}
    y = np.repeat([0, 1, 2], 50)
    order = np.random.RandomState(0).permutation(150)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), TFSOM()),
        {"tfsom__grid_size": [2, 6]},
        scoring=scoring,
        refit="log_likelihood_scorer",
        cv=2,
        error_score="raise",
    ).fit(iris[order], y[order])
    for name in scoring:
        assert np.isfinite(search.cv_results_[f"mean_test_{name}"]).all()
    for name in ("neg_quantization_error_scorer", "explained_variance_scorer", "purity_scorer"):
        small, large = search.cv_results_[f"mean_test_{name}"]
        assert small < large


def test_metadata_routing_passes_weights(iris):
    weights = np.random.RandomState(0).randint(0, 3, size=150).astype(float)
    shared = metrics.neg_quantization_error_scorer
    with sklearn.config_context(enable_metadata_routing=True):
        results = []
        for scorer in (shared, shared.set_score_request(sample_weight=True)):
            som = TFSOM((3, 3)).set_fit_request(sample_weight=True)
            result = cross_validate(
                som,
                iris,
                scoring=scorer.set_score_request(sample_weight=False)
                if scorer is shared
                else scorer,
                params={"sample_weight": weights},
                return_estimator=True,
                return_indices=True,
                cv=2,
            )
            results.append(result)
    for result, is_weighted in zip(results, [False, True], strict=True):
        for score, som, rows in zip(
            result["test_score"], result["estimator"], result["indices"]["test"], strict=True
        ):
            weight = weights[rows] if is_weighted else None
            assert score == shared(som, iris[rows], sample_weight=weight)
    assert shared._requests_weight is None

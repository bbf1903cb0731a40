"""Maps of codebooks that were trained elsewhere."""

import copy

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import load_iris, load_wine, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from sklearn_tfsom import TFSOM
from sklearn_tfsom.displays import HitMapDisplay, TrainingDisplay, UMatrixDisplay
from sklearn_tfsom.metrics import (
    log_likelihood,
    quantization_error,
    separation_curve,
    topographic_product,
)

X = load_iris().data
NAMES = load_iris().feature_names


@pytest.fixture(scope="module")
def trained():
    return TFSOM((8, 5), n_clusters=3).fit(X)


def test_with_samples(trained):
    weights = np.random.default_rng(0).uniform(0, 2, size=len(X))
    som = TFSOM.from_codebook(
        trained.codebook_, grid_size=(8, 5), X=X, sample_weight=weights, n_clusters=3
    )
    assert_array_equal(som.codebook_, trained.codebook_)
    assert_array_equal(som.labels_, som.predict(X))
    assert_allclose(som.hits_, np.bincount(trained.bmus(X), weights, minlength=40))
    distances = trained.bmus(X, return_distance=True)[0]
    assert_allclose(som.quantization_error_, np.average(distances, weights=weights))
    assert_allclose(som.n_samples_seen_, weights.sum())
    assert som.n_iter_ == 0
    assert som.n_features_in_ == 4


@pytest.mark.parametrize("metric", ["cosine", "correlation"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_directions_are_kept(metric, dtype):
    """Divided by their length again, most maps would have other last digits."""
    for seed in range(5):
        X = np.random.default_rng(seed).normal(size=(60, 5)).astype(dtype)
        codebook = TFSOM((4, 5), metric=metric, max_iter=3).fit(X).codebook_
        som = TFSOM.from_codebook(codebook, grid_size=(4, 5), metric=metric)
        assert_array_equal(som.codebook_, codebook)
        longer = TFSOM.from_codebook(3 * codebook, grid_size=(4, 5), metric=metric)
        assert_allclose(longer.codebook_, codebook, atol=1e-6)


def test_clusters_are_those_of_the_samples():
    X, classes = make_moons(400, noise=0.05, random_state=0)
    codebook = TFSOM((6, 5)).fit(X).codebook_
    som = TFSOM.from_codebook(codebook, grid_size=(6, 5), X=X, n_clusters=2)
    assert adjusted_rand_score(classes, som.labels_) > 0.9  # 0.5 for those of the units


@pytest.mark.parametrize("n_epochs", [1, 60])
@pytest.mark.parametrize(
    "kind", ["dense", "weighted", "float32", "missing", "sparse", "cosine", "mini-batches"]
)
def test_samples_have_the_effect_of_fit(kind, n_epochs):
    """Clusters, imputation and memory are those of the final map, whether it has settled."""
    samples, weights = load_wine().data, None
    samples = (samples - samples.mean(axis=0)) / samples.std(axis=0)
    rng = np.random.RandomState(0)
    parameters = {"grid_size": (10, 8), "n_clusters": 3}
    if kind == "weighted":
        weights = rng.uniform(0, 2, size=len(samples))
    elif kind == "float32":
        samples = samples.astype(np.float32)
    elif kind == "missing":
        samples[rng.uniform(size=samples.shape) < 0.1] = np.nan
    elif kind == "sparse":
        samples = csr_array(np.where(samples > 0, samples, 0))
    elif kind == "cosine":
        parameters["metric"] = "cosine"
    batch_size = 50 if kind == "mini-batches" else None
    trained = TFSOM(**parameters, max_iter=n_epochs, tol=0, batch_size=batch_size)
    trained.fit(samples, sample_weight=weights)
    som = TFSOM.from_codebook(trained.codebook_, X=samples, sample_weight=weights, **parameters)
    assert_array_equal(som.labels_, trained.labels_)
    tolerance = {"rtol": 1e-4 if kind == "float32" else 1e-9}
    assert_allclose(separation_curve(som)[1], separation_curve(trained)[1], **tolerance)
    if kind not in ("sparse", "cosine"):  # no values may be missing
        gappy = np.where(rng.uniform(size=samples.shape) < 0.2, np.nan, samples)
        gappy[:, 0] = 0.3
        found, expected = (each.impute(gappy) for each in (som, trained))
        assert_allclose(found, expected, atol=1e-4 if kind == "float32" else 1e-9)
    for each in (som, trained):
        each.partial_fit(samples[:5])
    assert_allclose(som.codebook_, trained.codebook_, atol=1e-5 if kind == "float32" else 1e-12)


@pytest.mark.filterwarnings("error")
def test_samples_beyond_the_range_of_the_codebook_are_refused():
    with pytest.raises(ValueError, match="exceed the range of float32"):
        TFSOM.from_codebook(np.eye(4, dtype=np.float32), grid_size=2, X=np.eye(4) * 1e150)


@pytest.mark.parametrize("has_samples", [True, False])
def test_everything_works(trained, has_samples):
    som = TFSOM.from_codebook(
        trained.codebook_, grid_size=(8, 5), X=X if has_samples else None, n_clusters=3
    )
    assert_array_equal(som.transform(X), trained.transform(X))
    assert_array_equal(som.bmus(X), trained.bmus(X))
    assert set(som.predict(X)) == {0, 1, 2}
    assert_allclose(som.score(X), trained.score(X))
    if has_samples:
        assert_allclose(som.score_samples(X), trained.score_samples(X))
    by_distance = [copy.copy(m).set_params(anomaly_score="distance") for m in (som, trained)]
    assert_allclose(*(m.score_samples(X) for m in by_distance))
    assert_allclose(quantization_error(som, X), quantization_error(trained, X))
    assert_allclose(topographic_product(som), topographic_product(trained))
    UMatrixDisplay.from_estimator(som)
    HitMapDisplay.from_estimator(som, X)
    HitMapDisplay.from_estimator(som)
    TrainingDisplay.from_estimator(som)
    incomplete = X[:5].copy()
    incomplete[:, 1] = np.nan
    assert np.abs(som.impute(incomplete) - X[:5]).max() < 1
    answers = som.to_keras()(X.astype(np.float32))
    assert_array_equal(np.asarray(answers["cluster_label"]), som.predict(X.astype(np.float32)))
    assert hasattr(som, "labels_") == has_samples
    later = som.partial_fit(X)
    assert np.isfinite(later.quantization_error_)
    assert_array_equal(later.labels_, later.predict(X))


def test_errors_that_need_samples(trained):
    som = TFSOM.from_codebook(trained.codebook_, grid_size=(8, 5), features="activations")
    assert np.isnan(som.quantization_error_)
    for call in (som.transform, lambda X: log_likelihood(som, X)):
        with pytest.raises(ValueError, match="Pass samples as X to from_codebook"):
            call(X)


@pytest.mark.parametrize("metric", ["cosine", "manhattan"])
def test_metrics(metric):
    trained = TFSOM((6, 4), metric=metric).fit(X)
    scaled = trained.codebook_ * 3 if metric == "cosine" else trained.codebook_
    som = TFSOM.from_codebook(scaled, grid_size=(6, 4), metric=metric, X=X)
    assert_allclose(som.transform(X), trained.transform(X), atol=1e-12)


def test_precision_and_names(trained):
    frame = pd.DataFrame(trained.codebook_.astype(np.float32), columns=NAMES)
    som = TFSOM.from_codebook(frame, grid_size=(8, 5))
    assert som.codebook_.dtype == np.float32
    assert_array_equal(som.feature_names_in_, NAMES)
    som = TFSOM.from_codebook(
        trained.codebook_, grid_size=(8, 5), X=pd.DataFrame(X, columns=NAMES)
    )
    assert_array_equal(som.feature_names_in_, NAMES)


def test_memory_layout_has_no_effect(trained):
    layouts = [np.ascontiguousarray, np.asfortranarray]
    soms = [TFSOM.from_codebook(of(trained.codebook_), grid_size=(8, 5)) for of in layouts]
    assert_array_equal(*[som.transform(X) for som in soms])
    assert_array_equal(*[som.partial_fit(X).codebook_ for som in soms])


def test_names_of_codebook_and_samples_agree(trained):
    frame = pd.DataFrame(X, columns=NAMES)
    codebook = pd.DataFrame(trained.codebook_, columns=NAMES)
    match = "with the columns of X, in their order. Got 'sepal length .* where X has 'petal width"
    with pytest.raises(ValueError, match=f"^The 'codebook' parameter of TFSOM .*{match}"):
        TFSOM.from_codebook(codebook, grid_size=(8, 5), X=frame[NAMES[::-1]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        som = TFSOM.from_codebook(codebook, grid_size=(8, 5), X=X)
    assert_array_equal(som.feature_names_in_, NAMES)
    assert_array_equal(
        som.labels_, TFSOM.from_codebook(codebook, grid_size=(8, 5), X=frame).labels_
    )


def test_columns_without_names_leave_those_of_the_samples(trained):
    frame = pd.DataFrame(X, columns=NAMES)
    som = TFSOM.from_codebook(pd.DataFrame(trained.codebook_), grid_size=(8, 5), X=frame)
    assert_array_equal(som.feature_names_in_, NAMES)


def test_only_directions_count_under_cosine():
    codebook = np.array([[1e308, 1, 1], [-1e308, 1, 1], [0, 1e308, 0], [1, 1, 1]])
    som = TFSOM.from_codebook(codebook, grid_size=2, metric="cosine")
    assert_allclose(np.linalg.norm(som.codebook_, axis=1), 1)


@pytest.mark.parametrize("dtype", ["Float64", "Float32"])
def test_nullable_data_frames(trained, dtype):
    codebook = pd.DataFrame(trained.codebook_, columns=NAMES).astype(dtype)
    som = TFSOM.from_codebook(codebook, grid_size=(8, 5))
    assert_allclose(som.codebook_, trained.codebook_, rtol=1e-6)
    assert som.codebook_.dtype == dtype.lower()
    fitted = TFSOM((8, 5), init=codebook, max_iter=3).fit(X)
    expected = TFSOM((8, 5), init=codebook.to_numpy(float), max_iter=3).fit(X)
    assert_array_equal(fitted.codebook_, expected.codebook_)


def test_few_clusters_are_warned_of():
    with pytest.warns(ConvergenceWarning, match="fall in 2 clusters only") as warned:
        TFSOM.from_codebook(np.eye(4), grid_size=2, n_clusters=4, X=np.eye(4)[:2])
    assert warned[0].filename == __file__


def test_sparse_samples():
    sparse = csr_array(np.where(X > 3, X, 0))
    trained = TFSOM(4).fit(sparse)
    som = TFSOM.from_codebook(trained.codebook_, grid_size=4, X=sparse)
    assert_array_equal(som.labels_, trained.labels_)
    assert_array_equal(som.hits_, trained.hits_)


CODEBOOK = X[:40]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"grid_size": "auto"}, "'grid_size' parameter of TFSOM must be an int.* Got 'auto'"),
        (
            {"grid_size": (3, 5)},
            r"'codebook'.* with 15 units on a map of 3x5. Got shape \(40, 4\)",
        ),
        ({"codebook": X[0]}, "'codebook'.* finite numbers"),
        ({"codebook": np.full((40, 4), np.nan)}, "'codebook'.* finite numbers"),
        (
            {"codebook": pd.DataFrame({"a": [1, None]}, dtype="Int64")},
            r"'codebook'.* finite numbers .* Got a DataFrame of shape \(2, 1\)",
        ),
        (
            {"codebook": pd.DataFrame(CODEBOOK.astype(str))},
            "'codebook'.* finite numbers .* Got a DataFrame",
        ),
        (
            {"codebook": np.resize([-1e308, 1e308, 0], (40, 4))},
            r"differences do not exceed the range of float64. Got values from -1e\+308 to 1e\+308",
        ),
        ({"metric": "cosine", "codebook": np.zeros((40, 4))}, "'codebook'.* have a direction"),
        ({"lattice": "square"}, "'lattice'"),
        ({"n_clusters": 41}, "'n_clusters'.* at most the number of units"),
        ({"X": X[:, :3]}, "X must have as many features as codebook, 4. Got 3"),
        ({"X": X, "sample_weight": [1]}, "sample_weight must have one value"),
        ({"sample_weight": [1]}, "from_codebook needs X if sample_weight is given. Got X=None"),
    ],
)
def test_invalid(parameters, message):
    arguments = {"codebook": CODEBOOK, "grid_size": (8, 5), **parameters}
    with pytest.raises(ValueError, match=message):
        TFSOM.from_codebook(arguments.pop("codebook"), **arguments)


def test_minisom_and_toolbox():
    """The recipes of the guide put the units of these libraries where they were."""
    weights = np.arange(6 * 4 * 2).reshape(6, 4, 2) / 7  # of MiniSom(6, 4, 2)
    rectangular = TFSOM.from_codebook(
        weights.reshape(-1, 2), grid_size=(6, 4), lattice="rectangular"
    )
    assert_array_equal(rectangular.codebook_[2 * 4 + 3], weights[2, 3])
    toolbox = np.arange(12).reshape(12, 1) / 1.0  # unit 1 + row + column * n_rows
    by_rows = toolbox.reshape(4, 3, 1).swapaxes(0, 1).reshape(12, 1)  # msize [3 4]
    som = TFSOM.from_codebook(by_rows, grid_size=(3, 4))
    assert som.codebook_[1 * 4 + 2, 0] == 1 + 2 * 3


def test_samples_far_beyond_the_codebook():
    rng = np.random.RandomState(0)
    codebook, X = 1e-3 * rng.normal(size=(12, 3)), 1e153 * rng.normal(size=(50, 3))
    som = TFSOM.from_codebook(codebook, grid_size=(4, 3), X=X)
    X[0, 0] = np.nan
    assert np.isfinite(som.impute(X)).all()


@pytest.mark.parametrize("lacking", [0, 6])
def test_a_feature_without_values_leaves_imputation_its_quality(lacking):
    samples = load_wine().data
    samples = (samples - samples.mean(axis=0)) / samples.std(axis=0)
    trained = TFSOM((10, 8)).fit(samples)
    rng = np.random.RandomState(0)
    gappy = np.where(rng.uniform(size=samples.shape) < 0.2, np.nan, samples)
    others = samples.copy()
    others[:, lacking] = np.nan
    error, least, most = (
        np.sqrt(np.square(som.impute(gappy) - samples).mean())
        for som in (
            TFSOM.from_codebook(trained.codebook_, grid_size=(10, 8), X=others),
            trained,
            TFSOM.from_codebook(trained.codebook_, grid_size=(10, 8)),
        )
    )
    assert error < least + 0.2 * (most - least)

"""Missing values: distances over the known features, means feature by feature.

SOM Toolbox's cases with missing values are in test_reference.
"""

import itertools
import tracemalloc

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM
from sklearn_tfsom._data.moments import compute_moments
from sklearn_tfsom._data.pieces import Pieces
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._distance import METRICS
from sklearn_tfsom._map.grid import BOUNDARIES, LATTICES, Grid
from sklearn_tfsom._map.initialization import initial_codebook
from sklearn_tfsom._map.neighborhood import NEIGHBORHOODS
from sklearn_tfsom.metrics import quantization_error, separation_curve, topographic_error


def with_gaps(X, share, seed=0):
    """Take values away at random; no sample and no feature loses all of them."""
    rng = np.random.RandomState(seed)
    gaps = rng.uniform(size=X.shape) < share
    gaps[np.arange(len(X)), rng.randint(X.shape[1], size=len(X))] = False
    return np.where(gaps, np.nan, X)


@pytest.fixture(scope="module")
def gappy(blobs):
    return with_gaps(blobs, 0.3)


def pieces_of(X):
    return Pieces(Samples(X, METRICS["euclidean"], has_missing=True), np.ones(len(X)))


def slow_distances(X, codebook):
    return np.array([np.sqrt(np.nansum((codebook - x) ** 2, axis=1)) for x in X])


@pytest.mark.parametrize(
    ("lattice", "boundary", "neighborhood"),
    [
        *itertools.product(LATTICES, BOUNDARIES, ["gaussian"]),
        *(("hexagonal", "planar", name) for name in NEIGHBORHOODS if name != "mexican_hat"),
    ],
)
@pytest.mark.parametrize("share", [0.05, 0.6])
def test_training_equals_the_slow_reference(blobs, lattice, boundary, neighborhood, share):
    X, shape, radii = with_gaps(blobs, share), (5, 4), [2.0, 1.5, 1.0]
    start = np.random.RandomState(0).normal(size=(20, 4)) + blobs.mean(axis=0)
    weights = np.random.RandomState(1).uniform(0.5, 2, size=len(X))
    som = TFSOM(
        shape,
        lattice=lattice,
        boundary=boundary,
        neighborhood=neighborhood,
        init=start,
        radius_decay=radii,
        max_iter=len(radii),
        tol=0,
    ).fit(X, sample_weight=weights)
    codebook = start
    for radius in radii:
        H = reference.neighborhood_matrix(shape, lattice, boundary, neighborhood, radius)
        bmus = slow_distances(X, codebook).argmin(axis=1)
        shares = H[:, bmus] * weights
        counts = shares @ ~np.isnan(X)
        sums = shares @ np.nan_to_num(X)
        codebook = np.where(counts > 0, sums / np.where(counts > 0, counts, 1), codebook)
    assert_allclose(som.codebook_, codebook, rtol=1e-10, atol=1e-10)
    expected = slow_distances(X, codebook)
    assert_array_equal(som.labels_, expected.argmin(axis=1))
    assert som.quantization_error_ == pytest.approx(
        np.average(expected.min(axis=1), weights=weights), rel=1e-10
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_features", [1, 5, 40])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_every_method_measures_over_the_known_features(dtype, n_features, offset):
    rng = np.random.RandomState(3)
    X = (rng.normal(size=(300, n_features)) + offset).astype(dtype)
    som = TFSOM((6, 5), max_iter=5).fit(with_gaps(X, 0.4))
    new = with_gaps(X, 0.4, seed=1)
    new[:20] = X[:20]  # complete ones among them
    expected = slow_distances(new.astype(float), som.codebook_.astype(float))
    bmus = expected.argmin(axis=1)
    tolerance = 1e-8 if dtype == np.float64 else 2e-5
    assert_array_equal(som.predict(new), bmus)
    assert_array_equal(som.bmus(new), bmus)
    assert_array_equal([som.predict(x[None])[0] for x in new[:50]], bmus[:50])
    assert_array_equal(som.bmus(new, 3)[:, :2], np.argsort(expected, axis=1, kind="stable")[:, :2])
    atol = tolerance * np.abs(X - X.mean(axis=0)).max()
    assert_allclose(som.transform(new), expected, rtol=tolerance, atol=atol)
    distances = som.bmus(new, return_distance=True)[0]
    assert_allclose(distances, expected.min(axis=1), rtol=tolerance, atol=1e-9)
    assert -som.score(new) == pytest.approx(expected.min(axis=1).mean(), rel=tolerance)
    assert quantization_error(som, new) == -som.score(new)
    assert 0 <= topographic_error(som, new) <= 1
    assert_array_equal(som.quantize(new), som.codebook_[bmus])
    assert som.transform(new).dtype == som.codebook_.dtype == dtype


def test_number_of_samples_does_not_change_units():
    X = with_gaps(np.random.RandomState(0).normal(size=(3001, 3)), 0.3)
    som = TFSOM((20, 18), max_iter=2).fit(X)
    units = som.predict(X)
    assert_array_equal(units[:100], slow_distances(X[:100], som.codebook_).argmin(axis=1))
    for n_parts in (5, 100):
        parts = [som.predict(part) for part in np.array_split(X, n_parts)]
        assert_array_equal(np.concatenate(parts), units)


@pytest.mark.parametrize("setting", [{}, {"grid_size": (12, 9)}, {"init": "sample"}], ids=str)
@pytest.mark.parametrize("shape", [(120, 4), (12, 20)])
def test_weights_are_repetitions(setting, shape):
    """Also with more features than samples, where repetition makes more samples than features."""
    rng = np.random.RandomState(0)
    X = with_gaps(rng.normal(size=shape) * np.linspace(3, 1, shape[1]), 0.3)
    counts = rng.randint(1, 4, size=len(X))
    weighted = TFSOM(**setting, random_state=0).fit(X, sample_weight=counts)
    repeated = TFSOM(**setting, random_state=0).fit(np.repeat(X, counts, axis=0))
    assert weighted.grid_shape_ == repeated.grid_shape_
    assert_allclose(weighted.codebook_, repeated.codebook_, rtol=1e-9, atol=1e-9)


def test_moments_of_many_features():
    """Covariances of more than 1,024 features are not of pairs: missing values count as means."""
    X = with_gaps(np.random.RandomState(0).normal(size=(15, 1100)) * np.linspace(3, 1, 1100), 0.3)
    X[:2] = np.nan_to_num(X[:2])
    moments = compute_moments(pieces_of(X))
    variances = np.nanvar(X, axis=0)
    centered = np.nan_to_num(X - np.nanmean(X, axis=0)) / np.sqrt(15)
    centered /= np.sqrt(np.mean(~np.isnan(X), axis=0))
    assert_allclose(np.sum(centered**2, axis=0), variances, rtol=1e-10)
    _, deviations, directions = np.linalg.svd(centered, full_matrices=False)
    assert_allclose(moments.deviations, deviations[:2], rtol=1e-8)
    assert_allclose(np.abs(np.diag(moments.directions @ directions[:2].T)), 1, rtol=1e-8)
    assert moments.spread == pytest.approx(np.sqrt(variances.sum()))
    repeated = compute_moments(pieces_of(np.repeat(X, 2, axis=0)))
    assert_allclose(repeated.directions, moments.directions, atol=1e-8)


def test_shifted_data_give_a_shifted_map(gappy):
    """Missing values do not count as 0."""
    one = TFSOM((6, 5)).fit(gappy)
    for offset in (1e6, -20.0):
        moved = TFSOM((6, 5)).fit(gappy + offset)
        assert_allclose(moved.codebook_ - offset, one.codebook_, atol=1e-6)
    order = np.random.RandomState(0).permutation(len(gappy))
    shuffled = TFSOM((6, 5)).fit(gappy[order])
    assert_allclose(shuffled.codebook_, one.codebook_, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("init", ["pca", "sample", "random"])
@pytest.mark.parametrize("shape", [(120, 4), (10, 30)])
def test_every_start_is_within_the_data(init, shape):
    X = with_gaps(np.random.RandomState(0).normal(size=shape), 0.4)
    pieces = pieces_of(X)
    moments, state = compute_moments(pieces), np.random.RandomState(0)
    start = initial_codebook(init, Grid(4, 4), pieces, moments, state)
    assert start.shape == (16, shape[1])
    if init == "pca":  # one deviation to each side, in a plane
        assert (np.abs(start - moments.mean) <= moments.deviations.sum()).all()
        assert_allclose(start.mean(axis=0), moments.mean, atol=1e-12)
    else:
        assert (start >= np.nanmin(X, axis=0)).all()
        assert (start <= np.nanmax(X, axis=0)).all()


def test_moments_are_of_pairs_of_known_values(gappy):
    moments = compute_moments(pieces_of(gappy))
    deviations = gappy - np.nanmean(gappy, axis=0)
    covariance = np.array([[np.nanmean(a * b) for a in deviations.T] for b in deviations.T])
    values, vectors = np.linalg.eigh(covariance)
    assert_allclose(moments.mean, np.nanmean(gappy, axis=0), rtol=1e-12)
    assert_allclose(moments.deviations, np.sqrt(values[:-3:-1]), rtol=1e-10)
    assert_allclose(np.abs(np.diag(moments.directions @ vectors[:, :-3:-1])), 1, rtol=1e-10)
    assert moments.spread == pytest.approx(np.sqrt(np.trace(covariance)))


def test_impute_by_the_best_matching_unit(gappy):
    som = TFSOM((6, 5)).fit(gappy)
    is_missing = np.isnan(gappy)
    imputed = som.impute(gappy, method="unit")
    assert_array_equal(imputed[~is_missing], gappy[~is_missing])
    assert_array_equal(imputed[is_missing], som.quantize(gappy)[is_missing])
    assert_array_equal(som.impute(imputed), imputed)
    with pytest.raises(ValueError, match="The 'method' parameter of TFSOM must be a str among"):
        som.impute(gappy, method="mean")


def slow_expectation(x, codebook, covariance):
    """Of one sample, under equally likely Gaussians at the units: by the textbook's formula."""
    m, k = np.isnan(x), ~np.isnan(x)
    values, weights = [], []
    for w in codebook:
        gain = np.linalg.solve(covariance[np.ix_(k, k)], x[k] - w[k])
        values.append(w[m] + covariance[np.ix_(m, k)] @ gain)
        weights.append(np.exp(-(x[k] - w[k]) @ gain / 2))
    return np.average(values, axis=0, weights=weights)


def slow_covariance(X, som, weights):
    residuals = X - som.codebook_[som.labels_]
    known = ~np.isnan(residuals)
    residuals = np.where(known, residuals, 0)
    root = np.sqrt(weights @ known)
    around = (residuals.T * weights) @ residuals / np.outer(root, root)
    units = som.codebook_ - np.average(som.codebook_, axis=0, weights=som.hits_)
    between = (units.T * som.hits_) @ units / som.hits_.sum()
    covariance = 2 * around + 0.1 * between
    variances = np.diag(covariance)
    return covariance + np.diag(0.01 * variances + 1e-9 * variances.max())


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("lattice", ["hexagonal", "rectangular"])
def test_impute_is_the_expectation_of_a_mixture(gappy, blobs, complete, weighted, lattice):
    X = blobs if complete else gappy
    weights = np.random.RandomState(0).uniform(0.1, 2, len(X)) if weighted else np.ones(len(X))
    som = TFSOM((5, 4), lattice=lattice, max_iter=60, tol=0).fit(X, sample_weight=weights)
    imputed = som.impute(gappy)
    covariance = slow_covariance(X, som, weights)
    for row in range(0, len(gappy), 7):
        x = gappy[row]
        if np.isnan(x).any():
            expected = slow_expectation(x, som.codebook_, covariance)
            assert_allclose(imputed[row, np.isnan(x)], expected, rtol=1e-6, atol=1e-8)
    known = ~np.isnan(gappy)
    assert_array_equal(imputed[known], gappy[known])
    assert_allclose(som.impute(gappy[:9]), imputed[:9], rtol=1e-9, atol=1e-12)
    assert som.impute(gappy.astype(np.float32)).dtype == np.float32


def ratio_to_the_mean(X, gappy, imputed):
    is_missing = np.isnan(gappy)
    error, of_mean = (
        np.sqrt(np.mean((((filled - X) / X.std(axis=0))[is_missing]) ** 2))
        for filled in (imputed, np.nanmean(gappy, axis=0) + 0 * X)
    )
    return error / of_mean


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
def test_impute_has_half_of_the_means_error(load, scaled):
    X = load().data
    X = StandardScaler().fit_transform(X) if scaled else X
    ratios = [
        ratio_to_the_mean(X, gappy, TFSOM().fit(gappy).impute(gappy))
        for gappy in (with_gaps(X, 0.2, seed=seed) for seed in range(2))
    ]
    assert np.mean(ratios) < 0.5
    # Trained on complete data, or on a stream, it does as well, or nearly so.
    gappy = with_gaps(X, 0.2)
    assert ratio_to_the_mean(X, gappy, TFSOM().fit(X).impute(gappy)) < 0.5
    stream = TFSOM((9, 9)).partial_fit(gappy).partial_fit(gappy).partial_fit(gappy)
    assert ratio_to_the_mean(X, gappy, stream.impute(gappy)) < 0.65


def test_impute_of_independent_features_is_not_much_worse_than_the_mean():
    X = np.random.RandomState(0).normal(size=(400, 6))
    gappy = with_gaps(X, 0.2)
    som = TFSOM().fit(gappy)
    assert ratio_to_the_mean(X, gappy, som.impute(gappy)) < 1.1
    assert ratio_to_the_mean(X, gappy, som.impute(gappy, method="unit")) > 1.1


# Distances are summed up feature by feature, in few blocks of features, and in many.
@pytest.mark.parametrize(
    ("n_samples", "n_features", "side"), [(1500, 10, 20), (30, 40, 5), (5, 70_000, 2)]
)
@pytest.mark.parametrize("metric", ["manhattan", "chebyshev"])
def test_distances_over_the_known_features(n_samples, n_features, side, metric):
    rng = np.random.default_rng(0)
    codebook = rng.normal(size=(side**2, n_features))
    X = rng.normal(size=(n_samples, n_features))
    X[rng.random(X.shape) < 0.3] = np.nan
    X[::2, 1] = np.nan
    X[:, 0] = 1
    reduce = np.nansum if metric == "manhattan" else np.nanmax
    expected = np.array([reduce(np.abs(x - codebook), axis=1) for x in X])
    som = TFSOM.from_codebook(codebook, grid_size=side, metric=metric)
    assert_allclose(som.transform(X), expected, rtol=1e-12)
    assert_array_equal(som.predict(X), expected.argmin(axis=1))


@pytest.mark.parametrize("scale", [1e-300, 1e-100, 1e100, 1e300])
def test_impute_at_any_scale(gappy, scale):
    expected = TFSOM((4, 4)).fit(gappy).impute(gappy)
    imputed = TFSOM((4, 4)).fit(gappy * scale).impute(gappy * scale)
    assert_allclose(imputed / scale, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("data", ["complete", "gappy"])
def test_impute_after_minibatches(data):
    """The means of the units are not those of all samples, so a pass computes the residuals."""
    X = StandardScaler().fit_transform(load_breast_cancer().data)
    gappy = with_gaps(X, 0.2)
    som = TFSOM(batch_size=64).fit(X if data == "complete" else gappy)
    assert (np.linalg.eigvalsh(som._residuals) > -1e-12).all()
    assert ratio_to_the_mean(X, gappy, som.impute(gappy)) < 0.5
    if data == "complete":
        residuals = X - som.codebook_[som.labels_]
        unit = np.linalg.norm(residuals) ** 2 / np.trace(som._residuals)
        assert_allclose(som._residuals * unit, residuals.T @ residuals, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_impute_does_not_depend_on_the_scale_of_a_feature(dtype):
    line = np.linspace(0, 1, 200)
    for scale in (1.0, 2.0**20, 2.0**-20):
        som = TFSOM((20, 1)).fit(np.column_stack([line, scale * line]).astype(dtype))
        found = som.impute(np.array([[np.nan, 0.7 * scale]], dtype))[0, 0]
        assert found == pytest.approx(0.7, abs=0.01)


def test_impute_learns_nothing_from_a_constant_feature():
    X = np.column_stack([np.linspace(0, 1, 200), np.full(200, 5.0)])
    som = TFSOM((20, 1)).fit(X)
    assert_allclose(som.impute([[np.nan, 5.1], [np.nan, 5.0]])[:, 0], 0.5, atol=0.01)


def test_incomplete_samples_of_weight_0_do_not_change_imputed_values():
    X, row = load_iris().data, [5, np.nan, np.nan, np.nan]
    gappy, weights = with_gaps(X, 0.2), np.r_[np.ones(150), 0]
    expected, som = TFSOM((8, 5)).fit(X), TFSOM((8, 5)).fit([*X, row], sample_weight=weights)
    assert_allclose(som.impute(gappy), expected.impute(gappy), rtol=1e-9)
    for other in (som, expected):
        other.partial_fit(gappy)
    assert_allclose(som.codebook_, expected.codebook_, rtol=1e-9)


def test_impute_far_from_the_map_and_with_tiny_weights():
    X = np.random.RandomState(0).normal(size=(50, 3))
    for weights in (None, np.full(50, 1e-308)):
        som = TFSOM(4).fit(X, sample_weight=weights)
        for sample in ([[1, np.nan, 2.0]], [[1e100, np.nan, 0]], [[1e150, np.nan, 0]]):
            assert np.isfinite(som.impute(sample)).all()


@pytest.mark.parametrize("grid_size", [1, (1, 2), (7, 9)])
def test_impute_of_degenerate_data(grid_size):
    rng = np.random.RandomState(0)
    X = np.column_stack([rng.normal(size=30), np.full(30, 7.0), np.zeros(30)])
    X = np.column_stack([X, X[:, 0] * 3])  # constants, and a copy
    gappy = with_gaps(X, 0.3)
    som = TFSOM(grid_size).fit(gappy)
    imputed = som.impute(gappy)
    assert_allclose(imputed[:, 1], 7, atol=1e-6)
    assert_allclose(imputed[:, 2], 0, atol=1e-6)
    assert np.isfinite(imputed).all()
    constant = TFSOM(grid_size).fit(np.ones((5, 3)))
    assert_allclose(constant.impute([[np.nan, 1, 1], [5, np.nan, 5]]), [[1, 1, 1], [5, 1, 5]])
    wide = with_gaps(rng.normal(size=(12, 40)), 0.2)
    assert np.isfinite(TFSOM(grid_size).fit(wide).impute(wide)).all()


def test_impute_with_many_features():
    """Variances alone are kept of more than 1,024 features."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 1100))
    gappy = with_gaps(X, 0.2)
    som = TFSOM((4, 3), max_iter=4).fit(gappy)
    assert ratio_to_the_mean(X, gappy, som.impute(gappy)) < 0.25


def test_impute_with_many_features_as_with_few(gappy, monkeypatch):
    """Few directions are all of a small codebook."""
    som = TFSOM((4, 3)).partial_fit(gappy)
    expected = som.impute(gappy)
    monkeypatch.setattr("sklearn_tfsom._map.imputation.MAX_COVARIANCE_FEATURES", 1)
    assert_allclose(som.impute(gappy), expected, rtol=1e-6, atol=1e-6)


def test_memory_of_impute_is_linear_in_the_features():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 20_000))
    gappy = with_gaps(X, 0.2)
    som = TFSOM((4, 3), max_iter=2).fit(gappy)
    tracemalloc.start()
    imputed = som.impute(gappy)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(imputed).all()
    assert peak < 500e6  # a covariance matrix would take 3.2 GB


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev"])
@pytest.mark.parametrize(("offset", "size"), [(1.7e12, 3e10), (1.7e18, 3e16)])
def test_a_missing_feature_of_large_values_rounds_nothing(metric, offset, size):
    """Such as times in milliseconds or nanoseconds: the other features decide."""
    rng = np.random.RandomState(0)
    X = rng.uniform(size=(2000, 3))
    X[:, 0] = offset + size * X[:, 0]
    is_incomplete = rng.uniform(size=2000) < 0.3
    X[is_incomplete, 0] = np.nan
    som = TFSOM((12, 10), metric=metric).fit(X)
    found = reference.distances(X[is_incomplete, 1:], som.codebook_[:, 1:], metric)
    assert_array_equal(som.labels_[is_incomplete], reference.closest(found))


def test_samples_and_features_without_values_are_refused(gappy):
    som = TFSOM((3, 3)).fit(gappy)
    no_sample, no_feature = gappy.copy(), gappy.copy()
    no_sample[7] = np.nan
    no_feature[:, 2] = np.nan
    no_feature[:, 0] = 1.0
    sentence = r"Sample 7 of X is missing \(NaN\) in all features\. Remove it\."
    for method in ("fit", "predict", "transform", "score", "score_samples", "bmus", "quantize"):
        with pytest.raises(ValueError, match=sentence):
            getattr(TFSOM((3, 3)) if method == "fit" else som, method)(no_sample)
    with pytest.raises(ValueError, match=r"Feature 2 of X is missing \(NaN\) in all samples of"):
        TFSOM((3, 3)).fit(no_feature)
    weights = np.ones(len(gappy))
    weights[~np.isnan(gappy[:, 2])] = 0
    with pytest.raises(ValueError, match="Feature 2 of X"):
        TFSOM((3, 3)).fit(gappy, sample_weight=weights)
    assert np.isfinite(som.transform(no_feature)).all()  # once trained, a feature may be missing


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("method", ["fit", "predict", "transform", "impute"])
def test_infinity_is_an_error(gappy, value, method):
    som = TFSOM((3, 3)).fit(gappy)
    bad = gappy.copy()
    bad[3, 1] = value
    with pytest.raises(ValueError, match="infinity"):
        getattr(som, method)(bad)


def test_complete_samples_among_incomplete_ones(blobs):
    """Searches of incomplete and of complete data give the same results."""
    one_gap = blobs.copy()
    one_gap[0, 0] = np.nan
    weights = np.ones(len(blobs))
    weights[0] = 0
    som = TFSOM((8, 7)).fit(blobs, sample_weight=weights)
    other = TFSOM((8, 7), init=som.codebook_, radius_decay=[1.0], max_iter=1)
    tiny = np.where(np.arange(len(blobs)) == 0, 1e-12, 1.0)
    assert_allclose(
        other.fit(one_gap, sample_weight=tiny).codebook_,
        other.fit(blobs, sample_weight=weights).codebook_,
        rtol=1e-9,
        atol=1e-9,
    )
    assert_array_equal(som.predict(one_gap)[1:], som.predict(blobs)[1:])


def test_a_map_takes_samples_without_any_value_of_a_feature():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(200, 5))
    som = TFSOM((4, 4)).fit(X)
    X[:, 2] = np.nan
    _, ratios = separation_curve(som, X)
    assert len(ratios) and (ratios[~np.isnan(ratios)] >= 1).all()
    same = TFSOM.from_codebook(som.codebook_, grid_size=4, X=X)
    known = [0, 1, 3, 4]
    of_known = TFSOM.from_codebook(som.codebook_[:, known], grid_size=4, X=X[:, known])
    assert_array_equal(same.labels_, of_known.labels_)
    assert same.quantization_error_ == pytest.approx(of_known.quantization_error_)
    with pytest.raises(ValueError, match="Feature 2 of X is missing"):
        TFSOM((4, 4)).fit(X)


def test_clusters_of_a_stream_do_not_depend_on_values_that_it_forgot():
    """A feature that only part of the units know, and that moves after the first pieces."""
    rng = np.random.RandomState(0)

    def piece(n_samples, level):
        classes = rng.randint(2, size=n_samples)
        X = rng.uniform(size=(n_samples, 3)) * [1, 0.3, 0.1]
        X += np.column_stack([np.zeros(n_samples), 5 * classes, np.full(n_samples, level)])
        X[X[:, 0] < 0.5, 2] = np.nan
        return X, classes

    som = TFSOM(6, n_clusters=2)
    for level in [0, 0] + 58 * [50]:
        som.partial_fit(piece(200, level)[0])
    X, classes = piece(500, 50)
    assert adjusted_rand_score(classes, som.predict(X)) == 1
    for samples in (None, X):
        assert (separation_curve(som, samples)[1] > 5)[:3].tolist() == [True, False, False]

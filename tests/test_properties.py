"""Properties of all maps, for drawn parameters, samples and weights; see `strategies.py`.

`make fuzz` runs these tests with other examples for as long as one likes.
"""

import re
from unittest import mock

import numpy as np
import pytest
import reference
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from oracles import (
    check_distances,
    check_units,
    counted_samples,
    distances_and_noise,
    get_content,
    get_results,
    only_convergence_warnings,
    refusals,
    roundoff_of,
)
from scipy.sparse import csr_array
from searches import search
from sklearn.base import clone
from strategies import (
    LAYOUTS,
    MAX_SIDE,
    WEIGHTS,
    Case,
    Data,
    all_equal,
    broadcast,
    cases,
    cast,
    codebooks,
    counts,
    either,
    laid_out,
    radii,
    raw_values,
    sample_weights,
    samples,
    seeds,
)

from sklearn_tfsom import TFSOM
from sklearn_tfsom._distance import METRICS
from sklearn_tfsom._map.grid import BOUNDARIES, LATTICES
from sklearn_tfsom._map.neighborhood import NEIGHBORHOODS
from sklearn_tfsom._parameters import RULES
from sklearn_tfsom._search import exact as exact_module
from sklearn_tfsom._search import nearest as nearest_module
from sklearn_tfsom._search import products as products_module

SPARSE = tuple(name for name, metric in METRICS.items() if metric.allows_sparse)
INVARIANT = tuple(
    name
    for name, metric in METRICS.items()
    if metric.is_translation_invariant and not metric.is_spherical
)
FACTORS = (1.0, 0.25, 3.0)


def take(data, rows):
    """Return some rows of samples, as an array or a CSR matrix."""
    X = data.X.tocsr()[rows] if hasattr(data.X, "tocsr") else np.asarray(data.X)[rows]
    return Data(X, data.values[rows])


# Fit and everything that a fitted map computes


@given(case=cases())
def test_cases_have_all_parameters(case):
    assert set(case.params) == set(RULES)


def fit(case):
    """Fit a map; None where a refusal is right, and was raised."""
    som, expected = TFSOM(**case.params), refusals(case)
    is_size_known = not isinstance(case.params["grid_size"], str)
    try:
        with only_convergence_warnings():
            som.fit(case.data.X, sample_weight=case.weights)
    except ValueError as error:
        if not is_size_known:
            expected.append("at most the number of units")
        if not any(re.search(pattern, str(error)) for pattern in expected):
            raise
        return None
    assert not expected
    return som


@given(case=cases())
def test_fit_and_predictions(case):
    before = get_content(case.data.X), get_content(case.weights)
    params = clone(TFSOM(**case.params)).get_params()
    som = fit(case)
    if som is None:
        return
    check_attributes(som, case)
    with only_convergence_warnings():
        check_predictions(som, case)
    assert (get_content(case.data.X), get_content(case.weights)) == before
    with only_convergence_warnings():
        again = TFSOM(**params).fit(case.data.X, sample_weight=case.weights)
    assert get_results(again) == get_results(som)


def check_attributes(som, case):
    params, (_, values) = case.params, case.data
    weights = broadcast(case.weights, len(values))
    n_units = int(np.prod(som.grid_shape_))
    assert som.codebook_.shape == (n_units, values.shape[1])
    assert som.codebook_.dtype == (np.float32 if case.data.is_float32 else np.float64)
    assert np.isfinite(som.codebook_).all()
    assert som.labels_.shape == (len(values),)
    assert som.labels_.dtype == som.cluster_labels_.dtype == np.int64
    n_clusters = len(set(som.cluster_labels_))
    assert set(som.cluster_labels_) == set(range(n_clusters))
    if params["n_clusters"] is None:
        assert n_clusters == n_units
    elif params["n_clusters"] != "auto":
        assert n_clusters <= params["n_clusters"]
    assert_allclose(som.hits_.sum(), weights.sum(), rtol=1e-9)
    assert_allclose(som.n_samples_seen_, weights[counted_samples(case)].sum(), rtol=1e-9)
    assert 1 <= som.n_iter_ <= params["max_iter"]
    assert len(som.history_) == 2 + params["compute_topographic_error"]
    for measured in som.history_.values():
        assert measured.shape == (som.n_iter_,)
        assert (measured >= 0).all() and np.isfinite(measured).all()
    if not isinstance(params["radius_decay"], str):
        assert_array_equal(som.history_["radius"], params["radius_decay"][: som.n_iter_])


def check_predictions(som, case):
    data, metric = case.data, case.params["metric"]
    X, n_samples = data.X, len(data.values)
    weights = broadcast(case.weights, n_samples)
    distances, bmus = som.bmus(X, return_distance=True)
    check_units(bmus[:, None], data, som.codebook_, metric)
    assert_array_equal(som.bmus(X), bmus)
    assert_array_equal(som.predict(X), som.cluster_labels_[bmus])
    assert_array_equal(som.labels_, som.cluster_labels_[bmus])
    assert_allclose(som.hits_, np.bincount(bmus, weights, len(som.codebook_)), rtol=1e-12)
    assert_array_equal(som.quantize(X), som.codebook_[bmus])
    assert som.score(X, sample_weight=case.weights) == -som.quantization_error_
    k = min(3, len(som.codebook_))
    units = som.bmus(X, n_bmus=k).reshape(n_samples, k)
    check_units(units, data, som.codebook_, metric)
    assert_array_equal(units[:, 0], bmus)
    row = n_samples // 2
    assert_array_equal(som.bmus(take(data, [row]).X), bmus[[row]])
    som.set_params(features="distances")
    to_units = som.transform(X)
    check_distances(to_units, data, som.codebook_, metric)
    own = np.take_along_axis(to_units, bmus[:, None], axis=1)[:, 0]
    # Squares of roundings, where all distances are such.
    check = {
        "rtol": 1e-4,
        "atol": max(1e-6 * to_units.max(), 1e-30 * METRICS[metric].is_spherical),
    }
    assert_allclose(distances, own, **check)
    mean = np.average(own, weights=weights / weights.max())  # whose products are not 0
    assert_allclose(som.quantization_error_, mean, **check)
    som.set_params(features="coordinates")
    assert_allclose(som.transform(X), som.unit_positions_[bmus], rtol=1e-6)
    som.set_params(features="activations")
    activations = som.transform(X)
    assert activations.dtype == to_units.dtype
    assert ((activations >= 0) & (activations <= 1)).all()
    assert np.isfinite(som.score_samples(X)).all()
    som.set_params(anomaly_score="distance")
    assert_array_equal(som.score_samples(X), -distances)
    som.set_params(features=case.params["features"], anomaly_score=case.params["anomaly_score"])
    if not hasattr(X, "tocsr"):
        check_imputed(som, data)


def check_imputed(som, data):
    is_known = ~np.isnan(data.values)
    for method in ("expectation", "unit"):
        imputed = som.impute(data.X, method=method)
        assert np.isfinite(imputed).all()
        assert_array_equal(imputed[is_known], data.values[is_known])
    if not is_known.all() and not METRICS[som.metric].is_spherical:
        in_units = som.codebook_[som.bmus(data.X)]
        assert_array_equal(imputed[~is_known], in_units[~is_known])


# Training


@st.composite
def single_epochs(draw):
    """Return parameters of one epoch from a drawn start, samples and weights."""
    metric = draw(st.sampled_from(sorted(METRICS)))
    data = draw(samples(metric))
    shape, start = draw(codebooks(data.values.shape[1], data.values))
    params = {
        "grid_size": shape,
        "lattice": draw(either(*LATTICES)),
        "boundary": draw(either(*BOUNDARIES)),
        "neighborhood": draw(either(*NEIGHBORHOODS)),
        "metric": metric,
        "init": start,
        "radius_decay": [draw(st.floats(0.3, MAX_SIDE))],
        "max_iter": 1,
        "coarse_to_fine": draw(st.booleans()),
    }
    return params, data, draw(sample_weights(len(data.values)))


@given(single_epochs())
def test_one_epoch_equals_the_reference(drawn):
    params, data, weights = drawn
    metric, start = params["metric"], params["init"]
    weights = broadcast(weights, len(data.values))
    is_counted = counted_samples(as_case(params, data, weights))
    weights, values = weights[is_counted] / weights.max(), data.values[is_counted]
    assume(len(values) and not np.isnan(values).all(axis=0).any())
    assume(not refusals(as_case(params, data, drawn[2])))
    # Of equal samples the scale is not known, and units closer than 1e-15 are as close.
    assume((np.nanmax(values, axis=0) > np.nanmin(values, axis=0)).any())
    roundoff = roundoff_of(data)
    # A power of two: the reference takes distances below 1e-28 as equal.
    scale = 2.0 ** -np.frexp(np.nanmax(np.abs(np.vstack([values, start]))))[1]
    values, start = values * scale, start * scale
    if METRICS[metric].is_spherical:
        scale = 1.0
        assume(is_sharp(values, metric) and is_sharp(start, metric))
        start, values = reference.averaged(start, metric), reference.averaged(values, metric)
    assume(not has_near_ties(values, start, metric, roundoff))
    som = TFSOM(**params).fit(data.X, sample_weight=drawn[2])
    shape, lattice, boundary = params["grid_size"], params["lattice"], params["boundary"]
    (radius,) = params["radius_decay"]
    H = reference.neighborhood_matrix(shape, lattice, boundary, params["neighborhood"], radius)
    of_units = H[:, reference.closest(reference.distances(values, start, metric))] * weights
    if METRICS[metric].is_spherical:  # a mean of opposite directions has none
        assume((of_units @ values).any(axis=1).all())
    expected = reference.updated(values, start, H, metric, weights)
    # A unit whose weights cancel, as those of "mexican_hat" do, is as inexact as they cancel.
    known = ~np.isnan(values)
    cancellation = np.abs(of_units) @ known / np.maximum(np.abs(of_units @ known), 1e-300)
    if METRICS[metric].is_spherical:  # and a mean direction, as it is short
        lengths = np.linalg.norm(of_units @ values, axis=1, keepdims=True)
        totals = np.abs(of_units).sum(axis=1, keepdims=True)
        cancellation = cancellation * np.maximum(totals, 1e-300) / np.maximum(lengths, 1e-300)
    cancellation = np.maximum(cancellation, 1)  # also of units that no sample reaches
    # The rounding of a sum counts as its terms, that of the weights as the quotient.
    largest = np.nanmax(np.abs(np.vstack([values, start])))
    slack = 64 * roundoff * np.maximum(largest, np.abs(expected))
    is_clear = cancellation < 1e6
    missed = np.abs(som.codebook_ * scale - expected)
    assert (missed <= slack * cancellation)[is_clear].all(), (missed / slack).max()


def as_case(params, data, weights):
    """Return a case with defaults for the other parameters."""
    return Case(TFSOM(**params).get_params(), data, weights)


def is_sharp(values, metric):
    """Return True if rounding hardly turns a direction."""
    if metric == "cosine":
        return True
    deviations = np.abs(values - values.mean(axis=1, keepdims=True)).max(axis=1)
    return bool((deviations > 1e-3 * np.abs(values).max(axis=1)).all())


def has_near_ties(values, codebook, metric, roundoff):
    """Return True if rounding could choose another unit for a sample.

    The tie rule counts code vectors as rounded means of samples, so the largest sample decides.
    Exact ties stay ties in float64. In float32 training rounds samples once they are centered.
    """
    distances = reference.distances(values, codebook, metric)
    size = np.linalg.norm(np.nan_to_num(values), axis=1).max()
    size += np.linalg.norm(codebook, axis=1).max()
    gaps = np.sort(distances - distances.min(axis=1, keepdims=True), axis=1)[:, 1:]
    is_tie = (gaps == 0) & (roundoff < np.finfo(np.float32).eps / 2)
    return bool(((gaps < 1e3 * roundoff * size) & ~is_tie).any())


# Weights, layouts, sparse samples and streams


@given(case=cases(weight_kinds=(counts,), is_extreme=False), factor=st.sampled_from(FACTORS))
def test_weights_are_repetitions(case, factor):
    assume(case.weights is not None and not case.data.is_float32)
    assume(case.params["neighborhood"] != "mexican_hat")
    params = case.params | {"batch_size": None, "init": stable_start(case)}
    case = case._replace(params=params)
    som = fit(case)
    if som is None:
        return
    times = np.asarray(case.weights)
    rows = np.random.RandomState(0).permutation(np.repeat(np.arange(len(times)), times))
    repeated = take(case.data, rows)
    with only_convergence_warnings():
        other = clone(som).fit(repeated.X)
    size = np.nanmax(np.abs(case.data.values)) or 1.0
    assert_allclose(other.codebook_, som.codebook_, rtol=1e-8, atol=1e-8 * size)
    # Rounding adds up in long sums of equal values, and units that were equal are no longer.
    bmus, others = som.bmus(case.data.X)[rows], other.bmus(repeated.X)
    to_units = som.set_params(features="distances").transform(repeated.X)
    places = np.arange(len(rows))
    assert_allclose(to_units[places, others], to_units[places, bmus], 1e-8, 1e-8 * size)
    is_same = bmus == others
    if is_same.all() or case.params["n_clusters"] is None:
        assert_array_equal(other.labels_[is_same], som.labels_[rows][is_same])
    if isinstance(params["grid_size"], str):
        return
    scaled = fit(case._replace(weights=factor * times))
    if scaled is not None:  # a smaller total weight may be less than n_clusters
        assert_allclose(scaled.codebook_, som.codebook_, rtol=1e-8, atol=1e-8 * size)


def stable_start(case):
    """Return the start of a case unless it depends on the order of the samples."""
    init = case.params["init"]
    return "pca" if isinstance(init, str) else init


@given(case=cases(kind="dense", metrics=INVARIANT), value=st.floats(-1e18, 1e18))
def test_constant_feature_changes_nothing(case, value):
    assume(case.data.values.shape[1] > 1)  # the automatic size of one feature is a line
    # Random starts and mini-batches are drawn for a number of features.
    case = case._replace(params=case.params | {"init": "pca", "batch_size": None})
    som = fit(case)
    if som is None:
        return
    X = np.asarray(case.data.X, np.float32 if case.data.is_float32 else np.float64)
    constant = np.full((len(X), 1), value, X.dtype)
    with only_convergence_warnings():
        other = clone(som).fit(np.hstack([X, constant]), sample_weight=case.weights)
    size = np.nanmax(np.abs(X)) or 1.0
    rtol = 1e-5 if case.data.is_float32 else 1e-8
    assert (other.codebook_[:, -1] == constant[0]).all()
    assert_allclose(other.codebook_[:, :-1], som.codebook_, rtol=rtol, atol=rtol * size)
    assert_array_equal(other.labels_, som.labels_)


@given(case=cases(kind="dense"), layout=st.sampled_from(LAYOUTS))
def test_layouts_give_the_same_bits(case, layout):
    case = case._replace(params=case.params | {"random_state": 0})
    one = fit(case)
    if one is None:
        return
    X = laid_out(np.array(case.data.X), layout)
    with only_convergence_warnings():
        other = TFSOM(**case.params).fit(X, sample_weight=case.weights)
        assert get_results(other) == get_results(one)
        assert_array_equal(other.transform(X), one.transform(case.data.X))


@given(case=cases(metrics=SPARSE, kind="sparse", weight_kinds=(all_equal, counts)))
def test_distances_and_units_of_sparse_samples_are_those_of_dense_ones(case):
    params = case.params | {"batch_size": None, "max_iter": 1, "radius_decay": [1.5]}
    params |= {"neighborhood": "gaussian", "init": "random", "features": "distances"}
    case = case._replace(params=params)
    som = fit(case)
    if som is None:
        return
    dense = case.data.X.toarray()
    size, metric = np.abs(dense).max() or 1.0, params["metric"]
    rtol = 1e-3 if case.data.is_float32 else 1e-8
    with only_convergence_warnings():
        other = som.__class__.from_codebook(
            som.codebook_, grid_size=som.grid_shape_, metric=metric, X=dense
        )
        found, expected = som.transform(case.data.X), other.transform(dense)
    assert_allclose(found, expected, rtol=rtol, atol=rtol * (size if metric == "euclidean" else 1))
    check_units(som.bmus(dense)[:, None], case.data, som.codebook_, metric)
    for sparse in (case.data.X, csr_array(dense)):
        check_units(som.bmus(sparse)[:, None], case.data, som.codebook_, metric)


@given(case=cases(weight_kinds=(all_equal, WEIGHTS[-1])), n_pieces=st.integers(1, 3))
def test_streams(case, n_pieces):
    assume(not isinstance(case.params["grid_size"], str) and not refusals(case))
    weights = broadcast(case.weights, len(case.data.values))
    pieces = [
        (take(case.data, rows), None if case.weights is None else weights[rows])
        for rows in np.array_split(np.arange(len(weights)), n_pieces)
        if len(rows)
    ]
    first = case._replace(data=pieces[0][0], weights=pieces[0][1])
    assume(not [each for each in refusals(first) if not each.startswith("n_samples")])
    assume(all(given_weights is None or given_weights.any() for _, given_weights in pieces))
    maps = [clone(TFSOM(**case.params)) for _ in range(2)]
    for som in maps:
        for data, given_weights in pieces:
            before = get_content(data.X)
            with only_convergence_warnings():
                assert som.partial_fit(data.X, sample_weight=given_weights) is som
            assert get_content(data.X) == before
            assert np.isfinite(som.codebook_).all()
            assert np.isfinite(som.quantization_error_)
            assert (som.hits_ >= 0).all()
            assert som.labels_.shape == (len(data.values),)
            assert len(som.history_["radius"]) == som.n_iter_
    assert get_results(maps[0]) == get_results(maps[1])
    counted = weights[counted_samples(case)].sum()
    assert_allclose(som.n_samples_seen_, counted, rtol=1e-6)
    assert som.hits_.sum() <= weights.sum() * (1 + 1e-9)
    with only_convergence_warnings():
        check_units(som.bmus(data.X)[:, None], data, som.codebook_, case.params["metric"])


# Search


@st.composite
def searched(draw):
    """Return samples, a shape, a codebook and a metric."""
    metric = draw(st.sampled_from(sorted(METRICS)))
    data = draw(samples(metric))
    return data, *draw(codebooks(data.values.shape[1], data.values)), metric


@given(searched())
def test_search_of_any_codebook(drawn):
    data, shape, codebook, metric = drawn
    if data.is_float32:
        assume(np.abs(codebook).max() <= np.finfo(np.float32).max)
        codebook = codebook.astype(np.float32)
    try:
        som = TFSOM.from_codebook(codebook, grid_size=shape, metric=metric)
    except ValueError as error:
        assert METRICS[metric].is_spherical
        assert re.search("'codebook' parameter of TFSOM .* direction", str(error))
        return
    distances, _ = distances_and_noise(data.values, som.codebook_, metric)
    if data.is_float32 and distances.max() > np.finfo(np.float32).max:
        with pytest.raises(ValueError, match="X contains values too large"):
            som.transform(data.X)
        return
    check_distances(som.transform(data.X), data, som.codebook_, metric)
    check_units(som.bmus(data.X)[:, None], data, som.codebook_, metric)
    k = min(4, len(codebook))
    check_units(som.bmus(data.X, n_bmus=k).reshape(-1, k), data, som.codebook_, metric)


@st.composite
def searched_arrays(draw):
    """Return samples, a codebook, a metric, a number of units and one of rows."""
    values = draw(raw_values(st.integers(1, 40), st.integers(1, 5)))
    values = cast(values, draw(either("f4", "f8")))
    data = Data(values, values.astype(np.float64))
    _, codebook = draw(codebooks(values.shape[1], data.values))
    metric, k = draw(either("euclidean", "manhattan")), draw(st.integers(1, 12))
    return data, codebook, metric, min(k, len(codebook)), draw(either(8, 16))


@given(searched_arrays())
def test_search_in_graphs(drawn):
    """Graphs serve large data; `search` calls them for small ones too."""
    data, codebook, metric, k, n_tile = drawn
    units, _ = search(data.X, codebook, k, metric=metric, n_tile=n_tile)
    check_units(units.astype(np.int64), data, codebook, metric)


@given(searched_arrays(), either(1, 2**17), either(64, 2**18))
def test_search_in_numpy(drawn, most_differences, tile):
    """Large data are searched by float32 scores, in tiles."""
    data, codebook, metric, k, _ = drawn
    with (
        mock.patch.object(nearest_module, "MAX_ALL_DIFFERENCES", most_differences),
        mock.patch.object(exact_module, "MAX_ALL_DIFFERENCES", most_differences),
        mock.patch.object(exact_module, "CACHED_VALUES", tile),
        mock.patch.object(products_module, "NUMPY_TILE_VALUES", tile),
    ):
        units, _ = search(data.X, codebook, k, metric=metric, n_tile=None)
    check_units(units.astype(np.int64), data, codebook, metric)


@given(radius=radii, lattice=either(*LATTICES), boundary=either(*BOUNDARIES), seed=seeds)
def test_shifted_data_give_a_shifted_map(radius, lattice, boundary, seed):
    X = np.random.RandomState(seed).normal(size=(30, 3))
    params = {"lattice": lattice, "boundary": boundary, "radius_end": 0.5, "max_iter": 4}
    params["radius_start"] = max(radius, 0.5)
    one, other = (TFSOM((4, 3), **params).fit(each) for each in (X, (X + 7) * 2.0**90))
    assert_allclose(other.codebook_ / 2.0**90 - 7, one.codebook_, rtol=1e-7, atol=1e-7)

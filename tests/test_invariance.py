"""Changes of the data and the weights that must not change the map."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from scipy.stats import special_ortho_group
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from sklearn_tfsom import TFSOM
from sklearn_tfsom._map.grid import BOUNDARIES, LATTICES
from sklearn_tfsom._map.neighborhood import NEIGHBORHOODS

SETTINGS = [
    {},
    {"grid_size": 6},
    {"grid_size": (14, 11)},  # searched on coarser grids first
    {"grid_size": (5, 4), "lattice": "rectangular", "boundary": "toroidal"},
    {"grid_size": (5, 4), "boundary": "toroidal", "neighborhood": "bubble"},
    {"grid_size": (4, 6), "boundary": "cylindrical", "neighborhood": "epanechnikov"},
    {"grid_size": (4, 6), "neighborhood": "cut_gaussian", "radius_decay": "linear"},
    {"grid_size": (7, 3), "neighborhood": "triangle", "n_clusters": 3},
    {"grid_size": 5, "init": "sample", "random_state": 3},
]
settings = pytest.mark.parametrize("setting", SETTINGS, ids=str)


@settings
def test_weights_are_repetitions(blobs, setting):
    rng = np.random.RandomState(0)
    counts = rng.randint(0, 4, size=len(blobs))
    shuffled = rng.permutation(np.repeat(np.arange(len(blobs)), counts))
    weighted = TFSOM(**setting).fit(blobs, sample_weight=counts)
    repeated = TFSOM(**setting).fit(blobs[shuffled])
    assert weighted.grid_shape_ == repeated.grid_shape_
    assert weighted.n_iter_ == repeated.n_iter_
    assert_allclose(weighted.codebook_, repeated.codebook_, rtol=1e-9, atol=1e-9)
    assert_allclose(weighted.hits_, repeated.hits_)
    assert_array_equal(weighted.cluster_labels_, repeated.cluster_labels_)
    assert_array_equal(weighted.labels_[shuffled], repeated.labels_)
    assert weighted.quantization_error_ == pytest.approx(repeated.quantization_error_, rel=1e-9)
    assert weighted.score(blobs, sample_weight=counts) == pytest.approx(
        repeated.score(blobs[shuffled]), rel=1e-9
    )


@settings
def test_order_of_rows_has_no_effect(blobs, setting):
    shuffle = np.random.RandomState(1).permutation(len(blobs))
    one, other = TFSOM(**setting).fit(blobs), TFSOM(**setting).fit(blobs[shuffle])
    assert_allclose(one.codebook_, other.codebook_, rtol=1e-9, atol=1e-9)
    assert_array_equal(one.labels_[shuffle], other.labels_)


@pytest.mark.parametrize("metric", ["cosine", "correlation"])
@pytest.mark.parametrize("lattice", LATTICES)
def test_order_of_opposite_samples_has_no_effect(metric, lattice):
    """The unit at the middle starts at a mean of directions that cancel out."""
    half = np.random.RandomState(0).normal(size=(60, 3)) * [3, 2, 1]
    X, setting = np.vstack([half, -half]), {"metric": metric, "lattice": lattice}
    for seed in range(3):
        shuffle = np.random.RandomState(seed).permutation(len(X))
        one, other = (TFSOM((5, 5), **setting).fit(rows) for rows in (X, X[shuffle]))
        assert_allclose(one.codebook_, other.codebook_, rtol=1e-9, atol=1e-9)
        assert_array_equal(one.labels_[shuffle], other.labels_)


@pytest.mark.parametrize("side", [2, 3, 5])
def test_opposite_samples_leave_unit_vectors(side):
    X = np.array([[1.0, 2, 4], [-1, -2, -4]])
    som = TFSOM((1, side), metric="cosine", radius_start=2.0).fit(X)
    assert_allclose(np.linalg.norm(som.codebook_, axis=1), 1)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_weights_are_repetitions_of_whole_numbers(metric):
    """The mean of whole numbers around 0 is 0 exactly, which decides ties of the first epoch."""
    X = np.indices((9, 9)).reshape(2, -1).T - 4.0
    setting = {"metric": metric, "neighborhood": "bubble", "lattice": "rectangular", "max_iter": 3}
    weighted = TFSOM((4, 2), **setting).fit(X, sample_weight=np.full(81, 6.0))
    rows = np.random.RandomState(0).permutation(np.repeat(np.arange(81), 6))
    repeated = TFSOM((4, 2), **setting).fit(X[rows])
    assert_allclose(weighted.codebook_, repeated.codebook_, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("setting", SETTINGS[1:], ids=str)  # the automatic size counts weights
def test_scale_of_all_weights_changes_only_the_hits(blobs, setting):
    one = TFSOM(**setting).fit(blobs)
    other = TFSOM(**setting).fit(blobs, sample_weight=np.full(len(blobs), 0.125))
    assert_allclose(one.codebook_, other.codebook_, rtol=1e-9, atol=1e-9)
    assert_allclose(one.hits_, 8 * other.hits_)


@settings
def test_shifted_and_scaled_data_give_a_shifted_and_scaled_map(blobs, setting):
    """Also the automatic size; rotated data give a map of about the same error."""
    one = TFSOM(**setting).fit(blobs)
    for offset, scale in [(1e6, 1.0), (-3.0, 1e30), (0.1, 1e-30)]:
        moved = TFSOM(**setting).fit((blobs + offset) * scale)
        assert_allclose(moved.codebook_ / scale - offset, one.codebook_, rtol=1e-6, atol=1e-6)
        assert_array_equal(moved.labels_, one.labels_)
    if setting.get("init") == "sample":
        return  # the random projection does not turn with the data
    rotation = special_ortho_group.rvs(4, random_state=0)
    turned = TFSOM(**setting).fit(blobs @ rotation)
    errors = [one.quantization_error_, turned.quantization_error_]
    # The sign of an eigenvector is arbitrary, and a start mirrored is another start.
    assert turned.grid_shape_ == one.grid_shape_
    assert errors[1] == pytest.approx(errors[0], rel=0.1)


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("neighborhood", NEIGHBORHOODS)
def test_rotated_data_and_start_give_a_rotated_map(blobs, lattice, neighborhood):
    rotation = special_ortho_group.rvs(4, random_state=0)
    start = TFSOM((5, 4), init="random", random_state=0, max_iter=1).fit(blobs).codebook_
    arguments = {"lattice": lattice, "neighborhood": neighborhood, "radius_start": 2.0}
    if neighborhood == "mexican_hat":
        arguments["max_iter"] = 2
    one = TFSOM((5, 4), init=start, **arguments).fit(blobs)
    turned = TFSOM((5, 4), init=start @ rotation, **arguments).fit(blobs @ rotation)
    assert_allclose(turned.codebook_, one.codebook_ @ rotation, atol=1e-8)
    assert_array_equal(turned.labels_, one.labels_)


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("neighborhood", ["gaussian", "epanechnikov"])
@pytest.mark.parametrize("n_rows", [5, 6])
def test_shifted_torus(blobs, lattice, neighborhood, n_rows):
    """Two rows up and one column to the right: every unit keeps its surroundings."""
    shape = (n_rows, 4)
    start = TFSOM(shape, init="random", random_state=0, max_iter=1).fit(blobs).codebook_

    def shifted(codebook):
        by_unit = codebook.reshape(*shape, -1)
        moved = np.roll(by_unit, (2, 1), axis=(0, 1))
        if lattice == "hexagonal" and n_rows % 2:
            for row in (n_rows - 2, n_rows - 1):  # these two cross the shifted seam
                moved[row + 2 - n_rows] = np.roll(by_unit[row], seam_columns(row, n_rows), axis=0)
        return moved.reshape(len(codebook), -1)

    arguments = {"lattice": lattice, "boundary": "toroidal", "neighborhood": neighborhood}
    one = TFSOM(shape, init=start, **arguments).fit(blobs)
    other = TFSOM(shape, init=shifted(start), **arguments).fit(blobs)
    assert_allclose(other.codebook_, shifted(one.codebook_), rtol=1e-9, atol=1e-9)


def seam_columns(row, n_rows):
    """Columns by which a unit moves that is shifted by (2 rows, 1 column) across the seam.

    It goes to x + 1 - 1/2, the seam's own shift taken off; the half column that odd rows stand to
    the right is no column.
    """
    new_row = row + 2 - n_rows
    return int((row % 2) / 2 + 1 - 0.5 - (new_row % 2) / 2)


@pytest.mark.parametrize(
    ("lattice", "boundary", "neighborhood"),
    [
        *itertools.product(LATTICES, BOUNDARIES, ["gaussian"]),
        *(
            ("hexagonal", boundary, name)
            for boundary in ("planar", "toroidal")
            for name in NEIGHBORHOODS
            if name != "gaussian"
        ),
    ],
)
def test_degenerate_data_give_finite_maps(lattice, boundary, neighborhood):
    rng = np.random.RandomState(0)
    degenerate = [
        rng.normal(size=(1, 3)),
        rng.normal(size=(40, 1)),
        np.full((10, 2), 3.0),
        np.repeat(rng.normal(size=(3, 2)), 10, axis=0),
        rng.normal(size=(5, 4)),
        np.column_stack([rng.normal(size=20), np.zeros(20)]),
        rng.normal(size=(30, 2)) * 1e30,
        rng.normal(size=(30, 2)) * 1e-30,
        rng.normal(size=(30, 2)) + 1e6,
    ]
    for X in degenerate:
        som = TFSOM((4, 5), lattice=lattice, boundary=boundary, neighborhood=neighborhood).fit(X)
        assert np.isfinite(som.codebook_).all()
        assert np.isfinite(som.transform(X)).all()
        assert som.hits_.sum() == len(X)
        if neighborhood == "gaussian":  # reaches all units: each is a mean of the data
            slack = 1e-9 * np.abs(X).max()
            assert (som.codebook_.max(axis=0) <= X.max(axis=0) + slack).all() or len(X) == 1
            assert (
                som.quantization_error_ <= np.linalg.norm(X - X.mean(axis=0), axis=1).mean() * 1.5
            )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labels_equal_predictions(blobs, dtype):
    X = np.tile(blobs, (6, 1)).astype(dtype)
    X += np.random.RandomState(0).normal(scale=0.3, size=X.shape).astype(dtype)
    for setting in SETTINGS:
        som = TFSOM(**setting).fit(X)
        assert_array_equal(som.predict(X), som.labels_)
        assert_array_equal(som.cluster_labels_[som.bmus(X)], som.labels_)
        assert_array_equal(np.bincount(som.bmus(X), minlength=len(som.hits_)), som.hits_)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_features_and_scores_agree_with_the_distances(blobs, dtype):
    X = blobs.astype(dtype)
    som = TFSOM((5, 4), anomaly_score="distance").fit(X)
    distances = som.transform(X)
    bmus = som.bmus(X)
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    expected = np.linalg.norm(X[:, None].astype(float) - som.codebook_.astype(float), axis=2)
    assert_allclose(distances, expected, rtol=rtol)
    assert_array_equal(distances.argmin(axis=1), bmus)
    assert_allclose(som.score_samples(X), -distances.min(axis=1), rtol=rtol)
    assert som.score(X) == pytest.approx(-som.quantization_error_, rel=1e-6)
    assert_array_equal(som.quantize(X), som.codebook_[bmus])
    two, units = som.bmus(X, n_bmus=2, return_distance=True)
    assert_allclose(two, np.sort(distances, axis=1)[:, :2], rtol=rtol)
    assert_array_equal(units[:, 0], bmus)
    som.set_params(features="coordinates")
    assert_allclose(som.transform(X), som.unit_positions_[bmus], rtol=1e-6)
    som.set_params(features="activations")
    activations = som.transform(X)
    width = som.quantization_error_
    assert_allclose(activations, np.exp(-(expected**2) / (2 * width**2)), rtol=1e-4)
    assert activations.dtype == dtype


def test_activations_if_every_sample_is_a_code_vector():
    X = np.arange(6.0).reshape(3, 2)
    som = TFSOM((1, 3), init=X, radius_decay=[0.01], max_iter=1, features="activations").fit(X)
    assert som.quantization_error_ == 0
    assert_array_equal(som.transform(X), np.eye(3))


@pytest.mark.parametrize("scale", [1e-310, 1e307])
@pytest.mark.parametrize("n_clusters", [2, "auto"])
@pytest.mark.filterwarnings("error")
def test_clusters_at_the_ends_of_the_range_of_floats(scale, n_clusters):
    """No sum overflows, and nothing is divided by a number that is too small."""
    X, y = make_blobs(300, centers=[(-1, -1), (1, 1)], cluster_std=0.3, random_state=1)
    X *= 8 / np.abs(X).max()
    som = TFSOM((4, 4), n_clusters=n_clusters).fit(X * scale)
    assert adjusted_rand_score(y, som.predict(X * scale)) == 1


@pytest.mark.parametrize(("dtype", "scale"), [("f4", 3.4e38), ("f8", 3e307)])
@pytest.mark.filterwarnings("error")
def test_values_up_to_the_largest_float(dtype, scale):
    X = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(dtype)
    for method in ("fit", "partial_fit"):
        som, expected = (
            getattr(TFSOM((4, 4)), method)(X * dtype_scale)
            for dtype_scale in (X.dtype.type(scale), X.dtype.type(1))
        )
        assert_allclose(som.codebook_ / X.dtype.type(scale), expected.codebook_, atol=1e-5)


@pytest.mark.parametrize("least", [1e-20, 1e-100, 1e-300])
@pytest.mark.parametrize("n_heavy", [1, 3])
@pytest.mark.filterwarnings("ignore:Samples fall in")
def test_clusters_of_a_few_heavy_samples(least, n_heavy):
    X = np.random.default_rng(0).uniform(-1, 1, (200, 3))
    weights = np.full(200, least)
    weights[:n_heavy] = 1
    som = TFSOM((4, 4), n_clusters=2).fit(X, sample_weight=weights)
    assert set(som.predict(X)) == {0, 1} if n_heavy > 1 else 0 in som.predict(X[:1])


@pytest.mark.parametrize("exponent", [-1020, -1050])
def test_values_that_no_scale_brings_to_1(exponent):
    """Powers of two up to 2^1023 exist. Of the smaller values about 20 bits are left."""
    X = np.ldexp(np.random.default_rng(0).normal(size=(200, 4)), exponent)
    som, one = TFSOM((4, 3)).fit(X), TFSOM((4, 3)).fit(np.ldexp(X, -exponent))
    assert_allclose(np.ldexp(som.codebook_, -exponent), one.codebook_, atol=1e-5)
    assert_array_equal(som.predict(X), one.labels_)


@pytest.mark.parametrize("scale", [1e-300, 1e-46, 1e38, 1e300, 1.4e306])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_only_ratios_of_weights_matter(blobs, scale, dtype):
    X = blobs.astype(dtype)
    weights = np.full(len(X), scale)
    one = TFSOM((4, 3), n_clusters=3).fit(X)
    other = TFSOM((4, 3), n_clusters=3).fit(X, sample_weight=weights)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-9}
    assert_allclose(other.codebook_, one.codebook_, **tolerance)
    assert_array_equal(other.labels_, one.labels_)


def test_samples_of_weight_0_are_not_searched_for_the_score(blobs):
    som, far = TFSOM((4, 3), max_iter=2).fit(blobs), np.full((1, blobs.shape[1]), 1e200)
    weights = np.r_[np.ones(len(blobs)), 0]
    assert som.score(np.vstack([blobs, far]), sample_weight=weights) == som.score(blobs)


@pytest.mark.parametrize("seed", range(20))
def test_score_equals_the_error_of_the_fit_beside_weights_of_0(seed):
    rng = np.random.RandomState(seed)
    X, weights = rng.normal(size=(40, 2)), rng.uniform(size=40) * rng.randint(2, size=40)
    som = TFSOM((2, 2), max_iter=2).fit(X, sample_weight=weights)
    assert som.score(X, sample_weight=weights) == -som.quantization_error_


# The sum of n weights of 1 / 7 is rounded down, that of n weights of 1 / 9 up.
@pytest.mark.parametrize("n_parts", [7, 9])
@pytest.mark.parametrize(
    ("n_samples", "outliers", "setting"),
    [
        (100, [400], {}),
        (529, [], {}),
        (2000, [900, -800, 700, -600, 500], {}),
        (150, [], {"grid_size": (8, 5), "batch_size": 150}),
    ],
)
def test_rounding_of_the_total_weight_has_no_effect(n_samples, outliers, setting, n_parts):
    X = np.random.RandomState(1).normal(size=(n_samples, 3)) * [3, 2.6, 0.3]
    X[: len(outliers), 2] = outliers
    one = TFSOM(max_iter=3, **setting).fit(X)
    parts = np.repeat(X, n_parts, axis=0)
    other = TFSOM(max_iter=3, **setting).fit(parts, sample_weight=1 / n_parts)
    assert other.grid_shape_ == one.grid_shape_
    assert_allclose(other.codebook_, one.codebook_, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("radius_end", [5e-324, 1e-3, 0.05])
@pytest.mark.filterwarnings("error")
def test_radius_that_reaches_no_other_unit(blobs, radius_end):
    """Each code vector ends at the mean of its samples, as in k-means."""
    som = TFSOM((5, 4), radius_end=radius_end, max_iter=40).fit(blobs)
    for unit in np.flatnonzero(som.hits_):
        mean = blobs[som.bmus(blobs) == unit].mean(axis=0)
        assert_allclose(som.codebook_[unit], mean, atol=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_rounding_tells_no_code_vectors_apart(seed):
    """All units of a small torus are neighbors: code vectors are the mean, here near 0."""
    X = np.random.RandomState(seed).normal(size=(150, 3))
    params = {"boundary": "toroidal", "neighborhood": "bubble", "radius_end": 1.2}
    som = TFSOM(3, **params, init="random", random_state=0).fit(X)
    assert_allclose(som.codebook_, np.tile(X.mean(axis=0), (9, 1)), atol=1e-12)
    assert_array_equal(som.labels_, np.zeros(150))
    assert_array_equal(som.predict(X[::-1]), np.zeros(150))


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_start_far_away_is_forgotten(metric):
    """It does not count as the size of the samples, by which their rounding is judged."""
    rng = np.random.RandomState(0)
    X, init = rng.normal(size=(300, 2)), rng.normal(size=(9, 2))
    init[4] = 1e16
    som = TFSOM(3, init=init, metric=metric).fit(X)
    assert len(np.unique(som.labels_)) == 9
    assert np.ptp(som.codebook_, axis=0).min() > 1


@pytest.mark.parametrize("radius_end", ["auto", 0.25, 0.3])
def test_code_vectors_far_from_all_samples_stay_inside(radius_end):
    for X in ([[0.0, 0.0], [1.0, 1.0]], np.random.default_rng(0).uniform(size=(12, 2))):
        codebook = TFSOM((10, 50), radius_end=radius_end).fit(X).codebook_
        assert (codebook >= np.min(X, axis=0) - 1e-12).all()
        assert (codebook <= np.max(X, axis=0) + 1e-12).all()


@pytest.mark.parametrize("metric", ["cosine", "correlation"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_directions_that_cancel_out_move_no_code_vector(metric, dtype):
    profile = np.array([1, 2, 4, 3.0])
    X = np.vstack([profile, -profile, 3 * profile, -3 * profile]).astype(dtype)
    if metric == "correlation":
        X = np.vstack([X, X + dtype(7)])
    som = TFSOM((1, 3), metric=metric).fit(X)
    lengths = np.linalg.norm(som.codebook_.astype(np.float64), axis=1)
    assert_allclose(lengths, 1, rtol=1e-6)
    if metric == "correlation":
        assert_allclose(som.codebook_.mean(axis=1), 0, atol=1e-7)
    expected = cdist(X.astype(np.float64), som.codebook_.astype(np.float64), metric)
    assert_allclose(som.transform(X), expected, atol=1e-6)


@pytest.mark.parametrize(("mean", "deviation"), [(1e4, 1), (1e3, 1), (5, 1e-3)])
def test_correlations_of_float32_profiles_far_from_zero(mean, deviation):
    X = np.random.default_rng(0).normal(mean, deviation, size=(200, 3)).astype(np.float32)
    som = TFSOM((3, 3), metric="correlation").fit(X)
    expected = cdist(X.astype(np.float64), som.codebook_.astype(np.float64), "correlation")
    assert_allclose(som.transform(X), expected, atol=2e-6)


@pytest.mark.parametrize("offset", [10, 1e3, 1e6])
def test_sparse_samples_on_a_line_far_from_zero(offset):
    X = np.outer(np.arange(30.0), [1, 2]) + offset * np.array([1, 3])
    dense, sparse = TFSOM((4, 3)).fit(X), TFSOM((4, 3)).fit(csr_array(X))
    assert_allclose(sparse.codebook_, dense.codebook_, atol=1e-6 * np.ptp(X))


@pytest.mark.parametrize(
    ("setting", "n_small", "size"),
    [
        ({"grid_size": 4, "boundary": "toroidal", "neighborhood": "bubble"}, 300, 0.0),
        ({"grid_size": (1, 12), "neighborhood": "cut_gaussian", "max_iter": 8}, 1000, 1e-6),
        ({"grid_size": (1, 12), "neighborhood": "cut_gaussian", "batch_size": 60}, 300, 1e-6),
    ],
    ids=["constant", "tiny", "mini-batches"],
)
def test_order_of_rows_beside_many_features_of_small_values(setting, n_small, size):
    """Symmetric data have near ties, of which those features must not change the rounding."""
    x = np.random.default_rng(1).integers(-3, 4, (60, 1)) / 3
    small = size * np.random.default_rng(0).integers(0, 2, (120, n_small))
    X = np.hstack([np.vstack([x, -x]), small if size else np.ones((120, n_small))])
    one = TFSOM(**setting).fit(X)
    for seed in range(6):
        other = TFSOM(**setting).fit(X[np.random.default_rng(seed).permutation(120)])
        assert_allclose(other.codebook_, one.codebook_, rtol=1e-9, atol=1e-9)


def test_order_within_a_mini_batch_after_equal_samples():
    setting = {"grid_size": 4, "lattice": "rectangular", "boundary": "toroidal"}
    setting |= {"neighborhood": "bubble", "radius_start": 1.5, "radius_end": 1}
    for seed in range(16):
        X = np.random.default_rng(seed).integers(-3, 4, (40, 1)) / 3
        rng, shuffled = np.random.default_rng(seed + 99), X.copy()
        for first in range(0, 40, 4):  # the mini-batches are of 4 samples
            shuffled[first : first + 4] = X[first : first + 4][rng.permutation(4)]
        one, other = (
            TFSOM(**setting).partial_fit(np.zeros((4, 1))).partial_fit(each)
            for each in (X, shuffled)
        )
        assert_allclose(other.codebook_, one.codebook_, rtol=1e-9, atol=1e-9)

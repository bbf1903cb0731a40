"""Clusters of units equal those of a slow implementation, and find clusters of any shape."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, hstack
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris, make_blobs, make_circles, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM, InvalidParameterError
from sklearn_tfsom._map.clustering import cluster_units
from sklearn_tfsom._map.mixtures import HeldOut, fit_mixture
from sklearn_tfsom._map.points import Points
from sklearn_tfsom._map.ward import ward, ward_of_points
from sklearn_tfsom.metrics import separation_curve


def cluster(codebook, hits, n_clusters):
    hit = hits > 0
    return cluster_units(Points(codebook[hit], hits[hit], hits[hit]), codebook, hits, n_clusters)


def slow_ways(points, power, n_nearest):
    """Squared distances along the data, by Floyd and Warshall; Kruskal's tree connects them."""
    n = len(points)
    lengths = np.linalg.norm(points[:, None] - points, axis=2)
    ways = np.full((n, n), np.inf)
    for i in range(n):
        for j in np.argsort(lengths[i])[: n_nearest + 1]:
            ways[i, j] = ways[j, i] = lengths[i, j] ** power
    part = list(range(n))
    steps = [(lengths[i, j], i, j) for i in range(n) for j in range(i)]
    for length, i, j in sorted(steps):
        if part[i] != part[j]:
            ways[i, j] = ways[j, i] = length**power
            part = [part[i] if p == part[j] else p for p in part]
    np.fill_diagonal(ways, 0)
    for via in range(n):
        ways = np.minimum(ways, ways[:, via : via + 1] + ways[via])
    return ways ** (2 / power)


def greedy_merges(squared, weights):
    """Ward's method by the greedy search, with Lance and Williams' formula."""
    squared, weights = squared.copy(), weights.astype(float)
    groups = {i: [i] for i in range(len(weights))}
    merges = []
    while len(groups) > 1:
        cost, i, j = min(
            (weights[i] * weights[j] / (weights[i] + weights[j]) * squared[i, j], i, j)
            for i in groups
            for j in groups
            if i < j
        )
        for k in groups:
            if k not in (i, j):
                total = weights[i] + weights[j] + weights[k]
                pair = [
                    (weights[a] + weights[k])
                    * weights[a]
                    * weights[k]
                    / (weights[a] + weights[k])
                    * squared[a, k]
                    for a in (i, j)
                ]
                both = (sum(pair) - weights[k] * cost) / total
                both_weight = weights[i] + weights[j]
                squared[i, k] = squared[k, i] = (
                    both * (both_weight + weights[k]) / (both_weight * weights[k])
                )
        weights[i] += weights[j]
        groups[i] += groups.pop(j)
        merges.append((cost, [list(group) for group in groups.values()]))
    return merges


def slow_clusters(points, hits, n_clusters):
    """Clusters of the power that agrees best with all, among powers that leave no outlier.

    None if all of them do.
    """
    n, least = len(points), 0.5 * hits.sum() / len(points)
    tried, kept = [], []
    for power in (2, 4, 6):
        groups = greedy_merges(slow_ways(points, power, 10), hits)[n - n_clusters - 1][1]
        labels = np.empty(n, dtype=int)
        for label, group in enumerate(groups):
            labels[group] = label
        tried.append(labels)
        if min(hits[group].sum() for group in groups) >= least:
            kept.append(labels)
    if not kept:
        return None
    best = max(kept, key=lambda own: sum(adjusted_rand_score(own, other) for other in tried))
    return {frozenset(np.flatnonzero(best == label).tolist()) for label in range(n_clusters)}


def has_clear_gap(points, n_clusters):
    """Return True if gaps twice as wide as any inside separate the clusters."""
    lengths = np.sort(minimum_spanning_tree(squareform(pdist(points))).data)[::-1]
    return lengths[n_clusters - 2] >= 2 * lengths[n_clusters - 1]


@pytest.mark.parametrize("n_clusters", [2, 3, 6])
def test_clusters_equal_those_of_a_slow_implementation(n_clusters):
    n_compared = 0
    for seed in range(6):
        rng = np.random.RandomState(seed)
        # Too few points for mixtures of Gaussians.
        points, hits = rng.normal(size=(19, 2)), rng.randint(1, 9, size=19)
        expected = slow_clusters(points, hits, n_clusters)
        if expected is None or has_clear_gap(points, n_clusters):
            continue
        labels = cluster(points, hits, n_clusters)
        groups = (np.flatnonzero(labels == label).tolist() for label in range(n_clusters))
        assert set(map(frozenset, groups)) == expected
        n_compared += 1
    assert n_compared >= 2


def test_more_than_1000_units_are_merged_before():
    """Plain Ward's method merges units that are close to each other first."""
    rng = np.random.RandomState(0)
    truth = np.repeat(rng.randint(5, size=520), 2)
    centers = np.array([[0, 0], [9, 0], [0, 9], [9, 9], [4.5, 4.5]])
    codebook = centers[truth] + np.repeat(rng.normal(size=(520, 2)), 2, axis=0)
    labels = cluster(codebook, rng.randint(1, 6, size=1040), 5)
    assert adjusted_rand_score(labels, truth) > 0.95
    assert_array_equal(labels[::2], labels[1::2])


@pytest.mark.parametrize("is_common", [False, True])
def test_mixtures_equal_those_of_scikit_learn(is_common):
    X, y = overlapping_clouds(np.random.RandomState(0))
    X, y = X[::8], y[::8]
    kind = "tied" if is_common else "full"
    start = np.array([X[y == label].mean(axis=0) for label in (0, 1)])
    expected = GaussianMixture(
        2,
        covariance_type=kind,
        means_init=start,
        reg_covar=1e-3 * X.var(axis=0).mean(),
        tol=1e-10,
        max_iter=300,
    ).fit(X)
    found = fit_mixture(X, np.ones(len(X)), np.eye(2)[y], 300, is_common=is_common)
    assert_allclose(found.means, expected.means_, atol=0.05)
    assert_allclose(np.exp(found.log_weights), expected.weights_, atol=0.02)
    agreement = found.log_densities(X).argmax(axis=1) == expected.predict(X)
    assert agreement.mean() > 0.98


def test_mixtures_count_weights_as_repetitions():
    rng = np.random.RandomState(0)
    X, counts = rng.normal(size=(60, 3)), rng.randint(1, 4, size=60)
    shares = rng.uniform(size=(60, 3))
    shares /= shares.sum(axis=1, keepdims=True)
    weighted = fit_mixture(X, counts * 1.0, shares, 20, is_common=False)
    rows = np.repeat(np.arange(60), counts)
    repeated = fit_mixture(X[rows], np.ones(len(rows)), shares[rows], 20, is_common=False)
    for own, other in zip(weighted, repeated, strict=True):
        assert_allclose(own, other, rtol=1e-8, atol=1e-10)


def test_gaussians_are_found_and_other_shapes_are_left():
    X, y = overlapping_clouds(np.random.RandomState(0))
    X, y = X[::8], y[::8]
    held_out = HeldOut(X, np.ones(len(X)), 1.0)
    log_density, labels = held_out.best([(X[:, 0] > 1).astype(int)])
    assert held_out.beats_kernel_density(log_density)
    assert adjusted_rand_score(y, labels) > 0.8
    X, y = make_moons(500, noise=0.05, random_state=0)
    held_out = HeldOut(X, np.ones(len(X)), 1.0)
    assert not held_out.beats_kernel_density(held_out.best([y])[0])


@pytest.mark.parametrize("n_samples", [200, 400, 700])
def test_neither_order_nor_duplicates_matter(n_samples):
    """Of 200 samples, some units have two, and lie in the middle between them, but for rounding.

    Beyond 600 different samples those that stand for all are chosen by their values.
    """
    X, _ = make_blobs(n_samples, centers=5, cluster_std=2.0, random_state=3)
    som = TFSOM((8, 7), n_clusters=5).fit(X)
    order = np.random.RandomState(0).permutation(n_samples)
    other = TFSOM((8, 7), n_clusters=5).fit(np.repeat(X[order], 2, axis=0))
    assert_array_equal(other.labels_, np.repeat(som.labels_[order], 2))


@pytest.mark.parametrize("n_clusters", [2, 3, 5, 8, "auto"])
def test_neither_order_nor_signs_of_features_matter(iris, n_clusters):
    """The clusters of iris overlap, and units of two samples lie in the middle between them."""
    X = StandardScaler().fit_transform(iris)
    som = TFSOM((8, 6), n_clusters=n_clusters).fit(X)
    for order in ([1, 0, 3, 2], [3, 2, 1, 0], [0, 2, 3, 1]):
        other = clone(som).fit(X[:, order])
        assert_array_equal(other.labels_, som.labels_)
    signs = np.array([1, -1, -1, 1])
    one, other = (clone(som).set_params(init=X[:48] * s).fit(X * s) for s in (1, signs))
    assert_array_equal(other.labels_, one.labels_)


@pytest.mark.parametrize("n_clusters", [3, 6, "auto"])
def test_turns_into_a_space_of_many_features_do_not_matter(iris, n_clusters):
    X = iris[::3] + np.random.RandomState(0).normal(scale=0.01, size=(50, 4))
    turn, _ = np.linalg.qr(np.random.RandomState(1).normal(size=(900, 4)))
    som = TFSOM((5, 4), init=X[:20], n_clusters=n_clusters).fit(X)
    many = clone(som).set_params(init=X[:20] @ turn.T + 2).fit(X @ turn.T + 2)
    assert_array_equal(many.labels_, som.labels_)
    assert_allclose(separation_curve(many, X @ turn.T + 2), separation_curve(som, X), rtol=1e-6)


def test_more_clusters_than_units_are_close_to():
    """Every cluster gets a unit, even where another one is closer to each."""
    rng = np.random.RandomState(0)
    X = np.vstack([rng.normal(size=(300, 2)), rng.normal(size=(5, 2)) * 0.01 + 6])
    for n_clusters in (2, 3, 4):
        som = TFSOM(2, n_clusters=n_clusters).fit(X)
        assert_array_equal(np.unique(som.cluster_labels_), np.arange(n_clusters))


def test_clear_gaps_separate_clusters():
    line = np.column_stack([np.arange(40) / 10, np.zeros(40)])
    points = np.vstack([line, line + np.array([0, 0.35]), [[8.0, 0]] * 5])
    labels = cluster(points, np.ones(85), 3)
    assert_array_equal(labels, np.repeat([0, 1, 2], [40, 40, 5]))
    assert_array_equal(cluster(points, np.ones(85), "auto"), labels)


def test_labels_are_consecutive_in_the_order_of_units():
    rng = np.random.RandomState(2)
    for n_clusters in (1, 3, 7):
        labels = cluster(rng.normal(size=(25, 2)), rng.randint(0, 3, size=25), n_clusters)
        _, first = np.unique(labels, return_index=True)
        assert_array_equal(np.unique(labels), np.arange(n_clusters))
        assert (np.diff(first) > 0).all()


def test_units_without_hits_get_the_label_of_the_closest_with_hits():
    codebook = np.array([[0.0], [1.0], [4.9], [5.2], [10.0]])
    labels = cluster(codebook, np.array([3, 0, 0, 0, 2.0]), 2)
    assert_array_equal(labels, [0, 0, 0, 1, 1])


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_far_from_the_origin_and_at_any_scale(offset):
    codebook = np.random.RandomState(0).normal(size=(30, 2))
    expected = cluster(codebook, np.ones(30), 4)
    assert_array_equal(cluster((codebook + offset) * 1e-30, np.ones(30), 4), expected)
    assert_array_equal(cluster(codebook * 1e200 + offset, np.ones(30), 4), expected)


@pytest.mark.parametrize("n_clusters", [1, 2, 3, "auto"])
@pytest.mark.parametrize("n_units", [1, 2, 3, 12])
def test_few_units_and_equal_ones(n_units, n_clusters):
    wanted = n_clusters if n_clusters == "auto" else min(n_clusters, n_units)
    labels = cluster(np.zeros((n_units, 2)), np.ones(n_units), wanted)
    assert_array_equal(np.unique(labels), np.arange(1 if n_clusters == "auto" else wanted))
    places = np.repeat([[0.0], [1.0], [5.0]], 4, axis=0)
    assert_array_equal(cluster(places, np.ones(12), 3), np.repeat([0, 1, 2], 4))


def test_more_clusters_than_places_that_are_merged_along_ways():
    codebook = np.random.RandomState(0).uniform(size=(1100, 3))
    som = TFSOM.from_codebook(codebook, grid_size=(44, 25), n_clusters=1050)
    assert_array_equal(np.unique(som.cluster_labels_), np.arange(1050))


@pytest.mark.parametrize("seed", [1, 62, 116])
def test_ties_of_merges_do_not_depend_on_rounding(seed):
    X = np.random.RandomState(seed).randint(-2, 3, size=(22, 3)).astype(float)
    weights = np.where(np.arange(22) == 7, 1e12, 1.0)
    beside_constant = np.hstack([X, np.zeros((22, 1))])
    one, other = (
        TFSOM((1, 2), n_clusters="auto", max_iter=5).fit(data, sample_weight=weights)
        for data in (X, beside_constant)
    )
    assert_array_equal(other.labels_, one.labels_)


@pytest.mark.parametrize("n_clusters", [3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_ties_of_merges_do_not_depend_on_the_unit(seed, n_clusters):
    X = np.random.RandomState(seed).randint(0, 6, size=(60, 2)).astype(float)
    one, other = (TFSOM((6, 5), max_iter=6, n_clusters=n_clusters).fit(Z) for Z in (X, X / 10))
    assert_array_equal(other.labels_, one.labels_)


@pytest.mark.parametrize("value", [np.nan, 1e6])
def test_samples_of_weight_0_change_no_clusters(value):
    X = make_blobs(300, n_features=3, centers=4, random_state=0)[0]
    other, weights = np.vstack([X, X[:5]]), np.r_[np.ones(300), np.zeros(5)]
    other[-5:, 0] = value
    for n_clusters in (3, "auto"):
        one = TFSOM((5, 4), n_clusters=n_clusters).fit(X)
        two = TFSOM((5, 4), n_clusters=n_clusters).fit(other, sample_weight=weights)
        assert_array_equal(two.cluster_labels_, one.cluster_labels_)


def test_fewer_distinct_samples_than_clusters_warn():
    X = np.repeat([[0.0, 0], [1, 1], [5, 5]], 5, axis=0)
    with pytest.warns(ConvergenceWarning, match="3 clusters only, fewer than n_clusters=4"):
        som = TFSOM(5, n_clusters=4).fit(X)
    assert_array_equal(np.unique(som.labels_), [0, 1, 2])
    with pytest.raises(ValueError, match="n_samples=3 must be at least n_clusters=4"):
        TFSOM(5, n_clusters=4).fit(X, sample_weight=[1, 1, 1] + [0] * 12)


@pytest.mark.parametrize("n_clusters", [3, "auto"])
def test_two_level_clustering_finds_the_blobs(blobs, n_clusters):
    som = TFSOM((8, 6), n_clusters=n_clusters).fit(blobs)
    truth = np.repeat([0, 1, 2], [60, 40, 20])
    assert adjusted_rand_score(truth, som.labels_) > 0.9
    assert_array_equal(som.fit_predict(blobs), som.labels_)
    assert_array_equal(som.cluster_labels_[som.bmus(blobs)], som.labels_)


@pytest.mark.parametrize("n_clusters", [4, "auto"])
def test_weights_are_repetitions(n_clusters):
    X = make_blobs(200, n_features=3, centers=4, random_state=0)[0]
    counts = np.random.RandomState(0).randint(0, 4, size=200)
    som = TFSOM((7, 6), n_clusters=n_clusters).fit(X, sample_weight=counts)
    repeated = np.random.RandomState(1).permutation(np.repeat(X, counts, axis=0))
    other = TFSOM((7, 6), n_clusters=n_clusters).fit(repeated)
    assert_array_equal(som.predict(X), other.predict(X))


def test_few_samples_of_weight_k_may_be_more_clusters():
    X = [[0.0, 0], [1, 0], [5, 5]]
    found = []
    for samples, weights in ((X, [5, 5, 5]), (np.repeat(X, 5, axis=0), None)):
        with pytest.warns(ConvergenceWarning, match="Samples fall in 3 clusters only"):
            som = TFSOM(3, n_clusters=4).fit(samples, sample_weight=weights)
        found.append(som.predict(X))
    assert_array_equal(*found)


def rings(n, rng):
    """Chainlink: two rings, each through the other."""
    angle = rng.uniform(0, 2 * np.pi, size=(2, n))
    flat = np.stack([np.cos(angle[0]), np.sin(angle[0]), 0 * angle[0]], axis=1)
    upright = np.stack([1 + np.cos(angle[1]), 0 * angle[1], np.sin(angle[1])], axis=1)
    X = np.vstack([flat, upright])
    return X + rng.uniform(-0.1, 0.1, size=X.shape), np.repeat([0, 1], n)


def ball_in_shell(n, rng):
    """Atom: a ball inside a hollow one."""
    X = rng.normal(size=(2 * n, 3))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    radius = np.r_[10 * rng.uniform(size=n) ** (1 / 3), rng.uniform(48, 52, size=n)]
    return X * radius[:, None], np.repeat([0, 1], n)


SHAPES = {
    "rings": lambda rng: rings(250, rng),
    "ball in shell": lambda rng: ball_in_shell(250, rng),
    "moons": lambda rng: make_moons(300, noise=0.05, random_state=rng),
    "circles": lambda rng: make_circles(300, noise=0.04, factor=0.5, random_state=rng),
}


def test_automatic_map_with_fewer_units_than_clusters():
    X = np.random.RandomState(0).normal(size=(3, 3))
    sentence = (
        r"at most the number of units, 2 on a map of 1x2, as grid_size='auto' makes it\. Got 3"
    )
    with pytest.raises(InvalidParameterError, match=sentence):
        TFSOM(n_clusters=3).fit(X)
    som = TFSOM(2, n_clusters=3)
    assert len(set(som.fit_predict(X))) == 3
    som.set_params(grid_size="auto", n_clusters=9)
    with pytest.raises(InvalidParameterError, match=r"4 on a map of 2x2\. Got 9"):
        som.partial_fit(X)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_clusters", [2, "auto"])
def test_shapes_that_kmeans_cannot_separate(shape, n_clusters):
    X, y = SHAPES[shape](np.random.RandomState(0))
    X = StandardScaler().fit_transform(X)
    found = TFSOM(n_clusters=n_clusters).fit_predict(X)
    assert adjusted_rand_score(y, found) > 0.98
    assert adjusted_rand_score(y, KMeans(2, random_state=0).fit_predict(X)) < 0.6


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["incomplete", "sparse", "large map", "stream"])
def test_shapes_are_found_however_the_data_come(shape, kind):
    X, y = SHAPES[shape](np.random.RandomState(0))
    X, som = StandardScaler().fit_transform(X), TFSOM(n_clusters="auto")
    if kind == "incomplete":
        X[::10, 0] = np.nan
        found = som.fit_predict(X)
    elif kind == "sparse":
        found = som.fit_predict(csr_array(X))
    elif kind == "large map":  # of more units than there are samples
        found = som.set_params(grid_size=25, max_iter=10).fit_predict(X)
    else:
        som.set_params(grid_size=(12, 9), n_clusters=None)
        for seed in range(10):
            if seed == 9:  # each call would cluster the units
                som.set_params(n_clusters="auto")
            som.partial_fit(np.random.RandomState(seed).permutation(X))
        found = som.predict(X)
    least = {"incomplete": 0.9, "stream": 0.8}.get(kind, 0.98)
    assert adjusted_rand_score(y, found) > least


def test_clusters_of_sparse_samples_are_those_of_dense_ones(blobs):
    X = blobs
    codebook = TFSOM((6, 5)).fit(X).codebook_
    dense, sparse = (
        TFSOM.from_codebook(codebook, grid_size=(6, 5), X=data, n_clusters="auto")
        for data in (X, csr_array(X))
    )
    assert_array_equal(sparse.cluster_labels_, dense.cluster_labels_)


@pytest.mark.parametrize("form", ["dense", "sparse", "float32", "weights", "directions"])
def test_values_of_large_weight_are_clusters(form):
    """Among more different samples than there are points, too."""
    rng, y = np.random.RandomState(0), np.repeat([0, 1, 2, 3], [1500, 500, 500, 500])
    X = np.array([[9, 9.0], [40, 9], [9, 40], [40, 40]])[y]
    X[:1500] += rng.normal(size=(1500, 2))
    som, weights = TFSOM(8, n_clusters="auto"), None
    if form == "sparse":
        X = csr_array(X)
    elif form == "float32":
        X = X.astype(np.float32)
    elif form == "weights":
        once = np.r_[:1501, 2000, 2500]
        X, y, weights = X[once], y[once], np.r_[np.ones(1500), [500.0] * 3]
    elif form == "directions":  # of different lengths, so that rounding makes them differ
        X = np.eye(4)[y] + np.where(y[:, None] == 0, 0.1 * rng.normal(size=(3000, 4)), 0)
        X *= rng.uniform(0.5, 20, size=(3000, 1))
        som.set_params(metric="cosine")
    som.fit(X, sample_weight=weights)
    assert adjusted_rand_score(y, som.labels_) == 1
    _, ratios = separation_curve(som, X, sample_weight=weights, max_clusters=4)
    assert ratios[2] == np.inf


def test_iris_is_clustered_better_than_by_kmeans():
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    assert adjusted_rand_score(y, KMeans(3, random_state=0).fit_predict(X)) < 0.65
    assert adjusted_rand_score(y, TFSOM(n_clusters=3).fit_predict(X)) > 0.65


def balls(rng):
    """Return seven separated balls, one of them denser."""
    centers = 3 * np.vstack([np.zeros(3), np.eye(3), -np.eye(3)])
    y = np.repeat(np.arange(7), [32, *[30] * 6])
    return centers[y] + 0.35 * rng.normal(size=(len(y), 3)), y


def disc_in_ring(rng):
    """Return a disc, a ring around it, and four outlying groups."""
    angle, radius = (
        rng.uniform(0, 2 * np.pi, 760),
        np.r_[rng.uniform(0, 1, 380) ** 0.5, np.ones(380)],
    )
    radius[380:] = rng.uniform(2.5, 3.0, 380)
    X = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    corners = 5 * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    outlying = np.repeat(corners, 12, axis=0) + 0.05 * rng.normal(size=(48, 2))
    return np.vstack([X, outlying]), np.r_[np.repeat([0, 1], 380), np.repeat([2, 3, 4, 5], 12)]


def overlapping_clouds(rng):
    """Return two Gaussians of different variance that overlap."""
    y = np.repeat([0, 1], 2000)
    scale = np.where(y[:, None] == 0, [1.0, 1.0], [0.5, 0.5])
    return scale * rng.normal(size=(4000, 2)) + 2.5 * y[:, None], y


@pytest.mark.parametrize(
    ("make", "least"), [(balls, 1.0), (disc_in_ring, 0.95), (overlapping_clouds, 0.8)]
)
def test_shapes_of_clusters_are_found(make, least):
    X, y = make(np.random.RandomState(0))
    X = StandardScaler().fit_transform(X)
    k = len(np.unique(y))
    assert adjusted_rand_score(y, TFSOM(n_clusters=k).fit_predict(X)) >= least


@pytest.mark.parametrize("factor", [1, 3])
def test_clusters_are_those_of_most_draws_of_points(factor):
    """The unit of the data changes the points. Those drawn first bridge the gap here."""
    X, y = make_circles(1500, noise=0.085, factor=0.5, random_state=np.random.RandomState(0))
    assert adjusted_rand_score(y, TFSOM(n_clusters=2).fit_predict(factor * X)) > 0.9


@pytest.mark.parametrize("factor", [1, 10])
def test_a_point_in_a_tail_is_no_cluster(factor):
    """The unit of the data changes which points there are."""
    rng, y = np.random.RandomState(0), np.repeat([0, 1, 2], 1000)
    X = np.exp(0.5 * rng.normal(size=(3000, 2)) + np.array([[0, 0], [3, 0], [0, 3]])[y])
    assert adjusted_rand_score(y, TFSOM(n_clusters=3).fit_predict(factor * X)) > 0.9


# Of more than 600 different samples some stand for all.
NO_CLUSTERS = {
    "square": lambda rng: rng.uniform(size=(800, 2)),
    "few in a square": lambda rng: rng.uniform(size=(200, 2)),
    "cube": lambda rng: rng.uniform(size=(300, 3)),
    "six dimensions": lambda rng: rng.uniform(size=(300, 6)),
    "segment": lambda rng: rng.uniform(size=(300, 1)),
    "Gaussian": lambda rng: rng.normal(size=(300, 2)),
    "Gaussian of 20 dimensions": lambda rng: rng.normal(size=(300, 20)),
    "sheared Gaussian": lambda rng: rng.normal(size=(300, 3)) @ rng.normal(size=(3, 3)),
}


@pytest.mark.parametrize(
    ("kind", "is_complete"),
    [*((kind, True) for kind in NO_CLUSTERS), *((kind, False) for kind in ("square", "cube"))],
)
def test_auto_finds_one_cluster_where_there_are_none(kind, is_complete):
    X = NO_CLUSTERS[kind](np.random.RandomState(1))
    if not is_complete:
        X[::60, 0] = np.nan
    assert_array_equal(TFSOM(n_clusters="auto").fit_predict(X), np.zeros(len(X)))


def test_auto_finds_many_gaussians_and_those_that_touch():
    rng = np.random.RandomState(0)
    centers = np.stack(np.meshgrid(np.arange(5), np.arange(4)), axis=-1).reshape(20, 2)
    X, y = make_blobs(3000, centers=5.0 * centers, cluster_std=0.9, random_state=rng)
    assert adjusted_rand_score(y, TFSOM(n_clusters="auto").fit_predict(X)) > 0.9
    X, y = overlapping_clouds(rng)
    assert adjusted_rand_score(y, TFSOM(n_clusters="auto").fit_predict(X)) > 0.8


@pytest.mark.parametrize("n_clusters", ["auto", 3])
@pytest.mark.parametrize("seed", range(6))
def test_order_does_not_matter_where_values_are_missing(seed, n_clusters):
    """Means of units, which complete samples, are equal but for rounding, and so are points."""
    rng = np.random.RandomState(seed)
    X = rng.randint(0, 3, size=(120, 3)) * (0.1 if seed % 2 else 1.0)
    X[rng.uniform(size=X.shape) < 0.15] = np.nan
    X[np.isnan(X).all(axis=1), 0] = 0
    order = rng.permutation(len(X))
    som, expected = (TFSOM((4, 4), n_clusters=n_clusters).fit(each) for each in (X[order], X))
    assert_array_equal(som.labels_, expected.labels_[order])


@pytest.fixture(scope="module")
def with_two_in_one_unit():
    """Samples of an even square, and of two places far away, which share a unit."""
    rng, places = np.random.RandomState(0), np.arange(20) * 0.1
    square = np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)
    far = [rng.normal(place, 0.02, size=(30, 2)) for place in ((6, 1), (6.6, 1))]
    return np.vstack([square, *far])


def test_clusters_without_samples_warn(with_two_in_one_unit):
    with pytest.warns(ConvergenceWarning, match="Samples fall in 2 clusters only, fewer than"):
        som = TFSOM((4, 3), n_clusters=3).fit(with_two_in_one_unit)
    assert len(set(som.labels_)) == 2
    assert set(som.cluster_labels_) == {0, 1, 2}


@pytest.mark.parametrize("grid_size", [(4, 3), (2, 2)])
def test_automatic_clusters_have_samples(with_two_in_one_unit, grid_size):
    som = TFSOM(grid_size, n_clusters="auto").fit(with_two_in_one_unit)
    assert set(som.cluster_labels_) == set(som.labels_)


class TestSeparationCurve:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_samples_of_one_direction_have_no_numbers(self, dtype):
        lengths = np.random.RandomState(0).uniform(0.5, 3, size=300)
        X = np.outer(lengths, [1, 2, 3, 0.7]).astype(dtype)
        som = TFSOM((5, 4), metric="cosine").fit(X)
        for samples in (X, None):
            assert [len(array) for array in separation_curve(som, samples)] == [0, 0]

    def test_equals_ratios_of_a_slow_implementation(self):
        rng = np.random.RandomState(0)
        points = rng.normal(size=(19, 2)) + 3 * rng.randint(3, size=(19, 1))
        som = TFSOM(3).fit(points)
        numbers, ratios = separation_curve(som, points, max_clusters=6)
        assert_array_equal(numbers, [2, 3, 4, 5, 6])
        merges = [greedy_merges(slow_ways(points, power, 10), np.ones(19)) for power in (2, 4, 6)]
        for k, ratio in zip(numbers, ratios, strict=True):
            of_powers = []
            for merged in merges:
                costs, groups = sorted(cost for cost, _ in merged), merged[19 - k - 1][1]
                if min(map(len, groups)) > 0.5 * 19 / 9:  # else there is an outlier
                    of_powers.append(costs[-(k - 1)] / costs[-k])
            assert np.isclose(ratio, of_powers).any() if of_powers else np.isnan(ratio)
        assert 2 <= np.isfinite(ratios).sum() <= 4

    def test_weights_are_repetitions_and_order_does_not_matter(self):
        rng = np.random.RandomState(0)
        X, counts = make_blobs(150, centers=4, random_state=0)[0], rng.randint(0, 4, size=150)
        som = TFSOM((5, 4)).fit(X)
        _, weighted = separation_curve(som, X, sample_weight=counts)
        repeated = rng.permutation(np.repeat(X, counts, axis=0))
        assert_allclose(separation_curve(som, repeated)[1], weighted, rtol=1e-7)
        assert_allclose(
            separation_curve(som, X * 1.0, sample_weight=3 * counts)[1], weighted, rtol=1e-7
        )

    def test_many_samples_of_weight_0_have_no_effect(self):
        X = np.random.RandomState(0).normal(size=(2000, 2))
        som = TFSOM((5, 4)).fit(X)
        _, weighted = separation_curve(som, X, sample_weight=np.arange(2000) < 300)
        assert_array_equal(weighted, separation_curve(som, X[:300])[1])

    def test_wide_gaps_are_infinite_and_outliers_have_none(self):
        X = np.vstack([np.random.RandomState(0).uniform(size=(60, 2)), [[30.0, 0]]])
        som = TFSOM((3, 3)).fit(X)
        assert np.isnan(separation_curve(som, X)[1][0])  # one sample apart is an outlier
        two = np.vstack([X[:60], X[:60] + 30])
        _, ratios = separation_curve(TFSOM((3, 3)).fit(two), two)
        assert np.isinf(ratios[0])

    @pytest.mark.parametrize("seed", range(8))
    def test_rounding_does_not_decide_on_outliers(self, seed):
        """Two of 100 samples, a cluster of their own, weigh half as much as a mean unit of 25."""
        rng = np.random.RandomState(seed)
        X = np.vstack([rng.normal(size=(98, 4)), [[90, 0, 0, 0], [90.1, 0, 0, 0]]])
        half = rng.uniform(0.5, 1.5, size=49)
        som = TFSOM(5, max_iter=2).fit(X[:80])
        weights = np.r_[half, 2 - half, 1, 1]
        assert_array_equal(separation_curve(som, X, sample_weight=weights)[1][0], np.inf)

    def test_largest_number_of_a_small_type(self):
        X, som = load_iris().data, TFSOM(5).fit(load_iris().data)
        found, expected = (
            separation_curve(som, X, max_clusters=most) for most in (np.int8(127), 127)
        )
        assert_array_equal(found, expected)

    def test_samples_without_a_direction(self):
        som = TFSOM(3, metric="cosine").fit(load_iris().data)
        with pytest.raises(ValueError, match="no sample of positive weight that has a direction"):
            separation_curve(som, np.zeros((5, 4)))

    @pytest.mark.parametrize("max_clusters", [1, 2.5, "auto", None, True])
    def test_invalid_max_clusters(self, max_clusters):
        som = TFSOM(3, max_iter=2).fit(load_iris().data)
        with pytest.raises(InvalidParameterError, match="max_clusters"):
            separation_curve(som, load_iris().data, max_clusters=max_clusters)

    def test_without_samples(self):
        som = TFSOM((6, 5)).fit(load_iris().data)
        numbers, ratios = separation_curve(som)
        assert numbers[ratios[:10].argmax()] == 2
        assert (ratios[:10] >= 1).all()
        with pytest.raises(ValueError, match="needs X if sample_weight"):
            separation_curve(som, sample_weight=np.ones(150))

    @pytest.mark.parametrize("metric", ["euclidean", "cosine"])
    def test_sparse_samples_of_many_features_are_represented_by_their_means(self, metric):
        """By those of each unit, and not by the means of the training samples."""
        training = make_blobs(300, centers=[(3, 3), (9, 3), (3, 9)], random_state=0)[0]
        X, _ = make_blobs(500, centers=5, center_box=(2, 9), cluster_std=0.4, random_state=1)
        weights = np.random.RandomState(0).randint(4, size=len(X))
        som = TFSOM((8, 5), metric=metric, max_iter=5)
        som.fit(hstack([csr_array(training), csr_array((300, 20_000))]).tocsr())
        wide = hstack([csr_array(X), csr_array((500, 20_000))]).tocsr()
        bmus, hits = som.bmus(wide), np.zeros(40)
        values = X / np.linalg.norm(X, axis=1, keepdims=True) if metric == "cosine" else X
        means = np.zeros((40, 2))
        for unit in np.unique(bmus[weights > 0]):
            is_of_unit = bmus == unit
            means[unit] = np.average(values[is_of_unit], axis=0, weights=weights[is_of_unit])
            hits[unit] = weights[is_of_unit].sum()
        plain = TFSOM.from_codebook(som.codebook_[:, :2], grid_size=(8, 5))
        numbers, expected = separation_curve(plain, means, sample_weight=hits)
        assert len(numbers) > 5
        found = separation_curve(som, wide, sample_weight=weights)
        assert_array_equal(found[0], numbers)
        assert_allclose(found[1], expected)

    @pytest.mark.parametrize("shape", [(8, 5), (30, 25)])
    def test_samples_may_be_others_than_those_of_the_training(self, shape):
        training = make_blobs(900, centers=[(3, 3), (9, 3), (3, 9)], random_state=0)[0]
        som = TFSOM(shape, max_iter=5).fit(training)
        X, _ = make_blobs(1500, centers=5, center_box=(2, 9), cluster_std=0.4, random_state=1)
        _, expected = separation_curve(TFSOM(shape, max_iter=5).fit(X), X)
        for each in (X, csr_array(X)):
            assert_allclose(separation_curve(som, each)[1], expected)

    def test_fewer_clusters_than_different_code_vectors(self):
        codebook = np.repeat([[0.0, 0], [1, 0], [5, 5], [9, 1]], 3, axis=0)
        som = TFSOM.from_codebook(codebook, grid_size=(3, 4))
        numbers, ratios = separation_curve(som)
        assert_array_equal(numbers, [2, 3])
        assert_allclose(ratios, separation_curve(som, codebook)[1])

    def test_one_sample_has_no_numbers(self):
        som = TFSOM(2).fit([[1.0, 2.0]])
        numbers, ratios = separation_curve(som, [[1.0, 2.0]])
        assert len(numbers) == len(ratios) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("n_wrong", [1, 5, 9])
def test_merges_of_numbers_that_are_none_come_to_an_end(value, n_wrong):
    places = np.random.RandomState(0).normal(size=(9, 2))
    places[:n_wrong] = value
    with np.errstate(all="ignore"):
        differences = places[:, None] - places
        squared = np.einsum("ijk,ijk->ij", differences, differences)
        assert len(ward(squared, np.ones(9))) == 8
        assert len(ward_of_points(places, np.ones(9))) == 8


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint16])
def test_number_of_clusters_of_any_type(kind, iris):
    expected = TFSOM((8, 5), n_clusters=3).fit(iris)
    found = TFSOM((8, 5), n_clusters=kind(3)).fit(iris)
    assert_array_equal(found.cluster_labels_, expected.cluster_labels_)


def test_large_maps_are_assigned_in_tiles(blobs, monkeypatch):
    expected = TFSOM((12, 9), n_clusters=4).fit(blobs)
    monkeypatch.setattr("sklearn_tfsom._map.clustering.LARGE_TILE_VALUES", 1000)
    found = TFSOM((12, 9), n_clusters=4).fit(blobs)
    assert_array_equal(found.cluster_labels_, expected.cluster_labels_)


def test_empty_documents_change_no_clusters():
    """Sparse samples without a direction have units, but take no part."""
    rng, X = np.random.RandomState(0), np.zeros((1060, 12))
    for group in range(3):
        X[20 * group : 20 * group + 20, 4 * group : 4 * group + 4] = rng.uniform(0.2, 1, (20, 4))
    som = TFSOM(3, metric="cosine", n_clusters="auto")
    expected = clone(som).fit(csr_array(X[:60])).cluster_labels_
    assert_array_equal(som.fit(csr_array(X)).cluster_labels_, expected)
    options = {"grid_size": 3, "metric": "cosine", "n_clusters": "auto"}
    one, other = (
        TFSOM.from_codebook(som.codebook_, X=csr_array(each), **options) for each in (X, X[:60])
    )
    assert_array_equal(one.cluster_labels_, other.cluster_labels_)


@pytest.mark.filterwarnings("error")
def test_equal_points_warn_of_nothing():
    som = TFSOM.from_codebook(np.zeros((25, 2)), grid_size=5, n_clusters=2)
    assert set(som.cluster_labels_) == {0, 1}


def test_incomplete_samples_of_weight_zero_change_no_clusters(iris):
    incomplete = np.vstack([iris, np.full((1, 4), np.nan)])
    incomplete[-1, 0] = 5
    weights = np.r_[np.ones(len(iris)), 0]
    som = TFSOM((8, 5), n_clusters=3).fit(iris)
    curve = separation_curve(som, incomplete, sample_weight=weights)
    assert_allclose(curve[1], separation_curve(som, iris)[1])
    expected, found = (
        TFSOM.from_codebook(som.codebook_, grid_size=(8, 5), n_clusters=3, **data)
        for data in ({"X": iris}, {"X": incomplete, "sample_weight": weights})
    )
    assert_array_equal(found.cluster_labels_, expected.cluster_labels_)


def test_clusters_of_float32_samples_far_from_zero():
    rng, expected = np.random.RandomState(0), np.repeat([0, 1], 100)
    X = (1e5 + 0.4 * expected[:, None] + 0.02 * rng.normal(size=(200, 2))).astype(np.float32)
    labels = TFSOM((5, 4), n_clusters=2).fit_predict(X)
    assert adjusted_rand_score(expected, labels) == 1

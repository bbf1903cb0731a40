"""The map in the mirror: tried where it can differ, on samples chosen by what they are."""

import itertools
import math

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose
from scipy.sparse import csr_array
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.preprocessing import scale
from sklearn_tfsom._data.workers import ALONE

from sklearn_tfsom import TFSOM
from sklearn_tfsom._data.moments import principal_plane
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._map.grid import Grid
from sklearn_tfsom._map.mirror import (
    epoch_to_mirror_at,
    is_better,
)
from sklearn_tfsom._plan import make_plan
from sklearn_tfsom.metrics import quantization_error, topographic_error

IRIS, WINE = load_iris().data, scale(load_wine().data)
RNG = np.random.RandomState(0)
MANY = RNG.normal(size=(20_000, 3))


def score(distances, shape):
    """Both errors, from the distances of samples to units."""
    two = np.argsort(distances, axis=1, kind="stable")[:, :2]
    ends = [[divmod(unit, shape[1]) for unit in pair] for pair in two]
    folds = [reference.grid_distance(*pair, shape, "hexagonal", "planar") > 1 for pair in ends]
    return math.log(distances.min(axis=1).mean()) + 2 * np.mean(folds)


def slow_fit(X, shape):
    """Train as by default, on the whole grid, both ways round from the 12th epoch on."""
    plan = make_plan(TFSOM(shape), Samples(X), np.ones(len(X)))
    assert plan.mirrored_after == 12
    assert all(grid.shape == shape for grid in plan.grids)
    places = np.array(reference.stretched_positions(shape, shape, "hexagonal", "planar"))
    before, _ = reference.train(
        X, plan.codebook, plan.radii[:11], shape, "hexagonal", "planar", "gaussian"
    )
    bmus = reference.best_matching_units(X, before)
    seen = places * [-1, 1] + [places[:, 0].max(), 0]
    starts = []
    for at in (places, seen):
        squared = np.square(at[:, None] - places).sum(axis=2)
        h = np.exp(-squared / (2 * plan.radii[11] ** 2))[:, bmus]
        starts.append(h @ X / h.sum(axis=1, keepdims=True))
    ends = [
        reference.train(X, start, plan.radii[12:], shape, "hexagonal", "planar", "gaussian")[0]
        for start in starts
    ]
    own, mirrored = (score(np.linalg.norm(X[:, None] - end, axis=2), shape) for end in ends)
    return ends, mirrored < own


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (5, 4), (3, 5)])
@pytest.mark.parametrize("X", [IRIS[::2], IRIS[::2] * [1, -1, 1, 1], WINE[::2]])
def test_training_equals_the_slow_reference(X, shape):
    (own, mirrored), is_mirrored = slow_fit(X, shape)
    som = TFSOM(shape, tol=0).fit(X)
    assert not np.allclose(own, mirrored)
    assert_allclose(som.codebook_, mirrored if is_mirrored else own, rtol=1e-8, atol=1e-10)


def test_the_references_are_mirrored_here_and_not_there():
    """So the test above sees both."""
    chosen = {slow_fit(X, shape)[1] for X in (IRIS[::2], WINE[::2]) for shape in [(3, 4), (5, 4)]}
    assert chosen == {True, False}


@pytest.mark.parametrize("X", [IRIS, WINE], ids=["iris", "wine"])
def test_going_on_with_the_trial_is_training_anew(X, monkeypatch):
    """Few samples go on with the epochs of the trial; many do them again."""
    from sklearn_tfsom._tf import data

    epochs, n_done = data.Data.epochs, []

    def counted(self, codebook, kernels):
        n_done.append(len(kernels))
        return epochs(self, codebook, kernels)

    monkeypatch.setattr(data.Data, "epochs", counted)
    first = TFSOM((9, 8), tol=0).fit(X)
    assert sum(n_done) == 12 + 2 * 8
    monkeypatch.setattr(data, "_LEFT_VALUES", 1)  # epoch by epoch
    second = TFSOM((9, 8), tol=0).fit(X)
    assert sum(n_done) == 12 + 2 * 8 + second.n_iter_ + 2 * 8
    assert (first.codebook_ == second.codebook_).all()
    for name, values in first.history_.items():
        assert (values == second.history_[name]).all(), name


@pytest.mark.parametrize("shape", [(6, 5), (5, 4), (2, 7), (7, 2)])
@pytest.mark.parametrize("spacing", [1.0, 1.6])
def test_the_mirrored_grid_lies_with_its_left_edge_at_the_right_one(shape, spacing):
    whole = Grid(*shape)
    source = whole.coarsened(spacing)
    rows, columns = whole.separated(whole, source, is_mirrored=True)
    places = np.array(reference.stretched_positions(shape, shape, "hexagonal", "planar"))
    width = places[:, 0].max()
    there = reference.stretched_positions(source.shape, shape, "hexagonal", "planar")
    for (unit, (x, y)), (other, place) in itertools.product(enumerate(places), enumerate(there)):
        r, c = divmod(unit, whole.n_columns)
        s, e = divmod(other, source.n_columns)
        expected = math.dist((width - x, y), place) ** 2
        assert rows[r, s] + columns[r % 2, s % 2, c, e] == pytest.approx(expected, abs=1e-9)


def badness(X, **params):
    """Both errors of the maps of data and of their mirror image."""
    directions = principal_plane(Samples(X), np.ones(len(X))).directions
    along = (X - X.mean(axis=0)) @ directions[1]
    both = [X, X - 2 * np.outer(along, directions[1])]
    return np.array(
        [
            math.log(quantization_error(som, data)) + 2 * topographic_error(som, data)
            for data in both
            for som in [TFSOM(**params).fit(data)]
        ]
    )


@pytest.mark.parametrize("X", [IRIS, WINE])
def test_data_and_their_mirror_image_get_maps_as_good(X):
    """The sign of a component no longer decides (but for what the first epochs make of it)."""
    assert badness(X).max() <= badness(X, coarse_to_fine=False).max() + 1e-3


@pytest.mark.parametrize("X", [load_wine().data, scale(load_breast_cancer().data)])
def test_to_try_both_never_harms_and_helps_some(monkeypatch, X):
    """All samples judge, and so of data and their mirror image none gets a worse map."""
    tried = badness(X)
    monkeypatch.setattr("sklearn_tfsom._plan.epoch_to_mirror_at", lambda *arguments: None)
    better_by = badness(X) - tried
    assert better_by.min() > -1e-9
    assert better_by.max() > 1e-3


class TestWhereItIsTried:
    @pytest.mark.parametrize(
        ("grid", "geometry", "expected"),
        [
            (Grid(6, 5), "euclidean", 12),
            (Grid(6, 5), "spherical", 12),
            (Grid(6, 5), "manhattan", None),
            (Grid(6, 5, "rectangular"), "euclidean", None),
            (Grid(6, 5, boundary="cylindrical"), "euclidean", None),
            (Grid(6, 5, boundary="toroidal"), "euclidean", None),
            (Grid(1, 9), "euclidean", None),
            (Grid(9, 1), "euclidean", None),
            (Grid(32, 32), "euclidean", 12),
            (Grid(32, 33), "euclidean", None),
        ],
    )
    def test_grids(self, grid, geometry, expected):
        assert epoch_to_mirror_at(grid, 20, geometry) == expected

    def test_a_single_epoch_has_no_other(self):
        assert epoch_to_mirror_at(Grid(6, 5), 1, "euclidean") is None

    @pytest.mark.parametrize(
        "params",
        [
            {"radius_decay": np.linspace(3, 1, 20)},
            {"init": "sample", "random_state": 0},
            {"coarse_to_fine": False},
            {"neighborhood": "bubble"},
            {"batch_size": 20},
            {"metric": "manhattan"},
        ],
    )
    def test_parameters(self, params):
        som = TFSOM((6, 5), **params)
        samples = Samples(IRIS, som.metric)
        assert make_plan(som, samples, np.ones(150)).mirrored_after is None


class FrameOfOne:
    """Where everything stays where it is."""

    scale = 1.0

    @staticmethod
    def enter(X):
        return np.array(X, dtype=np.float64)


@pytest.mark.parametrize("kind", ["dense", "sparse", "missing"])
def test_the_judgement_is_by_both_errors(kind):
    shape = (5, 4)
    X = np.maximum(IRIS - 2, 0)
    if kind == "missing":
        X[::4, 2] = np.nan
    samples = Samples(csr_array(X) if kind == "sparse" else X)
    weights = 1.0 + np.arange(150) % 2
    codebooks = [RNG.permutation(np.nan_to_num(X))[:20] + RNG.normal(size=4) for _ in range(6)]

    def slow(codebook):
        repeated = np.repeat(X, weights.astype(int), axis=0)
        differences = np.nan_to_num(repeated[:, None] - codebook)
        return score(np.linalg.norm(differences, axis=2), shape)

    for one, other in itertools.combinations(codebooks, 2):
        judged = is_better(
            one, other, FrameOfOne, samples, weights, Grid(*shape), ALONE, np.matmul
        )
        assert judged == (slow(one) < slow(other) - 1e-3)

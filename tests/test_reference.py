"""Equal to the slow reference, and to SOM Toolbox."""

import itertools

import numpy as np
import pytest
import reference
from conftest import REFERENCE, toolbox_cases, toolbox_data
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_tfsom import TFSOM
from sklearn_tfsom._data.moments import principal_plane
from sklearn_tfsom._data.samples import Samples
from sklearn_tfsom._map.grid import BOUNDARIES, LATTICES, Grid
from sklearn_tfsom._map.initialization import automatic_shape, initial_codebook
from sklearn_tfsom._map.neighborhood import NEIGHBORHOODS
from sklearn_tfsom.metrics import topographic_error

RADII = [2.5, 1.9, 1.4, 1.0, 1.0]


def test_the_reference_covers_every_neighborhood():
    assert set(reference.NEIGHBORHOODS) == set(NEIGHBORHOODS)


@pytest.mark.parametrize(
    ("lattice", "boundary", "neighborhood", "shape"),
    [
        *itertools.product(LATTICES, BOUNDARIES, NEIGHBORHOODS, [(6, 5)]),
        *itertools.product(["hexagonal"], ["toroidal"], NEIGHBORHOODS, [(5, 4)]),
        *itertools.product(LATTICES, BOUNDARIES, ["gaussian", "bubble"], [(1, 7), (7, 1), (1, 1)]),
    ],
)
def test_training_equals_the_slow_reference(blobs, lattice, boundary, neighborhood, shape):
    start = np.random.RandomState(0).normal(size=(shape[0] * shape[1], 4)) + blobs.mean(axis=0)
    weights = np.random.RandomState(1).uniform(0.5, 2, size=len(blobs))
    # A Mexican hat divides by sums that nearly cancel: rounding grows a thousandfold per epoch.
    radii = RADII[:2] if neighborhood == "mexican_hat" else RADII
    som = TFSOM(
        shape,
        lattice=lattice,
        boundary=boundary,
        neighborhood=neighborhood,
        init=start,
        radius_decay=radii,
        max_iter=len(radii),
        tol=0,
    ).fit(blobs, sample_weight=weights)
    assert som.quantization_error_ == -som.score(blobs, sample_weight=weights)
    codebook, errors = reference.train(
        blobs, start, radii[: som.n_iter_], shape, lattice, boundary, neighborhood, weights
    )
    assert_allclose(som.codebook_, codebook, rtol=1e-10, atol=1e-10)
    # The history costs no pass of its own: it comes from the search, in float32.
    assert_allclose(som.history_["quantization_error"], errors, rtol=1e-4)
    assert_array_equal(som.labels_, reference.best_matching_units(blobs, som.codebook_))


@pytest.mark.parametrize("n_clusters", [None, 3])
def test_a_callable_neighborhood_equals_the_built_in_one(blobs, n_clusters):
    built_in = TFSOM((5, 4), n_clusters=n_clusters, coarse_to_fine=False).fit(blobs)
    own = TFSOM(
        (5, 4), neighborhood=lambda d2, r: np.exp(-d2 / (2 * r * r)), n_clusters=n_clusters
    ).fit(blobs)
    assert_allclose(own.codebook_, built_in.codebook_, rtol=1e-10)
    assert_array_equal(own.labels_, built_in.labels_)


def test_units_out_of_reach_keep_their_code_vector():
    start = np.arange(20.0)[:, None]
    som = TFSOM((1, 20), init=start, neighborhood="bubble", radius_decay=[1.0], max_iter=1).fit(
        [[0.2], [0.4]]
    )
    assert_allclose(som.codebook_[:2], 0.3)
    assert_array_equal(som.codebook_[2:], start[2:])


@pytest.mark.parametrize("case", toolbox_cases(), ids=lambda case: case["case"])
class TestToolbox:
    """SOM Toolbox 2.1: its size, its start, and from its start to its end."""

    def test_size_and_start(self, case):
        X = toolbox_data(case["case"])
        stored = np.load(REFERENCE / f"toolbox_{case['case']}.npz")
        weights = np.ones(len(X))
        plane = principal_plane(Samples(X), weights)
        shape = automatic_shape(len(X), plane.deviations, "hexagonal")
        assert shape == tuple(case["grid_size"])
        grid = Grid(*shape)
        # The sign of an eigenvector is arbitrary.
        misses = [
            np.abs(
                initial_codebook(
                    "pca",
                    grid,
                    Samples(X),
                    weights,
                    plane._replace(directions=plane.directions * np.array([[first], [second]])),
                    None,
                )
                - stored["codebook_init"]
            ).max()
            for first, second in itertools.product([1, -1], repeat=2)
        ]
        assert min(misses) <= 1e-12 * np.abs(stored["codebook_init"]).max()

    def test_end(self, case):
        X = toolbox_data(case["case"])
        stored = np.load(REFERENCE / f"toolbox_{case['case']}.npz")
        radii = stored["radii"]
        som = TFSOM(
            tuple(case["grid_size"]),
            init=stored["codebook_init"],
            radius_decay=radii,
            max_iter=len(radii),
            tol=0,
        ).fit(X)
        scale = np.abs(stored["codebook"]).max()
        assert_allclose(som.codebook_, stored["codebook"], rtol=1e-9, atol=1e-9 * scale)
        assert_array_equal(som.bmus(X, n_bmus=2)[:, 0], stored["bmus"].ravel())
        assert_array_equal(som.hits_, stored["hits"].ravel())
        assert_allclose(som.unit_positions_, stored["unit_positions"], atol=1e-12)
        assert som.quantization_error_ == pytest.approx(case["quantization_error"], rel=1e-9)
        assert topographic_error(som, X) == pytest.approx(case["topographic_error"], abs=1e-12)

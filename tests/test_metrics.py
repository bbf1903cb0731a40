"""Compare all measures with slow references and with SOM Toolbox, and check their interface."""

import functools
import inspect
import math

import numpy as np
import pytest
import reference
import reference_measures
from conftest import REFERENCE, toolbox_cases, toolbox_data
from numpy.testing import assert_allclose, assert_array_equal
from reference_measures import (
    BOUNDARIES,
    CLASSES,
    LATTICES,
    MEASURES,
    METRICS,
    REFERENCES,
    TABLES,
    compute,
    compute_reference,
    random_map,
    samples,
)

from sklearn_tfsom import TFSOM, InvalidParameterError, metrics
from sklearn_tfsom.metrics import (
    combined_error,
    distortion,
    hit_histogram,
    quantization_error,
    topographic_error,
    u_matrix,
)

# Even and odd numbers of rows, chains, and maps that are joined to themselves within two units.
SHAPES = [
    *[(6, 5), (5, 4), (3, 3), (1, 6), (6, 1), (2, 5), (5, 2), (2, 3), (3, 2), (2, 2)],
    *[(1, 2), (1, 1)],
]
# Repetitions of samples. Six samples, as few as some references can handle, become seven.
COUNTS = np.tile([1, 2, 1, 0, 1, 2], 10)


def defaults(name):
    """Return the default values of the parameters of a measure."""
    parameters = inspect.signature(getattr(metrics, name)).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters}


# Measures by the meaning of their `n_neighbors`: neighboring units, or neighboring samples.
WITH_NEIGHBORING_UNITS = [
    name for name in MEASURES if defaults(name).get("n_neighbors", 0) is None
]
WITH_NEIGHBORING_SAMPLES = [name for name in MEASURES if defaults(name).get("n_neighbors")]
WITH_RADIUS = [name for name in MEASURES if "radius" in defaults(name)]
OF_SAMPLES = [name for name in MEASURES if "X" in defaults(name)]


def assert_equals_reference(name, som, X, **params):
    """Compare a measure of weighted samples with the reference for repeated samples."""
    reference = REFERENCES[name]
    X, y, counts = (array[: reference.n_samples] for array in (X, CLASSES, COUNTS))
    params = {**reference.params, **params}
    value = compute(name, som, X, y, sample_weight=counts, **params)
    rows = np.repeat(np.arange(len(X)), counts)
    expected = compute_reference(name, som, X[rows], y[rows], **params)
    context = f"grid_size={som.grid_size}, {params}"
    assert_allclose(value, expected, rtol=1e-9, atol=1e-12, err_msg=context)


def with_missing_values(X, share=0.3):
    X = X.copy()
    X[np.random.RandomState(5).uniform(size=X.shape) < share] = np.nan
    X[np.isnan(X).all(axis=1), 0] = 0
    return X


@functools.cache
def trained(metric):
    """Return a map that is trained with a metric, and its samples."""
    X = samples() + np.array([1, 0, 2])
    return TFSOM((2, 3), metric=metric).fit(X), X


def test_every_measure_has_a_reference():
    assert sorted(REFERENCES) == MEASURES


@pytest.mark.parametrize("name", MEASURES)
class TestReference:
    @pytest.mark.parametrize("lattice", LATTICES)
    @pytest.mark.parametrize("boundary", BOUNDARIES)
    def test_on_all_grids(self, name, lattice, boundary):
        for shape in SHAPES:
            if math.prod(shape) <= REFERENCES[name].max_units:
                assert_equals_reference(name, random_map(lattice, boundary, shape), samples())

    @pytest.mark.parametrize("metric", METRICS)
    def test_with_all_metrics(self, name, metric):
        som, X = trained(metric)
        if metric in REFERENCES[name].metrics:
            assert_equals_reference(name, som, X)
            return
        match = rf"^The 'metric' parameter of TFSOM must be .* for {name}\. Got '{metric}' instead"
        with pytest.raises(InvalidParameterError, match=match):
            compute(name, som, X)

    def test_after_training_on_a_stream(self, name):
        som = TFSOM((2, 3))
        for seed in range(3):
            som.partial_fit(samples(seed))
        assert_equals_reference(name, som, samples())

    def test_with_missing_values(self, name):
        X = with_missing_values(samples())
        som = TFSOM((2, 3)).fit(X)
        if REFERENCES[name].allows_missing:
            assert_equals_reference(name, som, X)
            return
        with pytest.raises(ValueError, match=rf"^X must not contain missing .* in {name}, "):
            compute(name, som, X)


@pytest.mark.parametrize("name", WITH_NEIGHBORING_UNITS)
class TestNeighboringUnits:
    @pytest.mark.parametrize("boundary", BOUNDARIES)
    @pytest.mark.parametrize("n_neighbors", [4, 8])
    def test_on_a_rectangular_lattice(self, name, boundary, n_neighbors):
        for shape in SHAPES:
            som = random_map("rectangular", boundary, shape)
            assert_equals_reference(name, som, samples(), n_neighbors=n_neighbors)

    @pytest.mark.parametrize(("lattice", "n_neighbors"), [("hexagonal", 6), ("rectangular", 4)])
    def test_default(self, name, lattice, n_neighbors):
        som = random_map(lattice, shape=(5, 4))
        expected = compute(name, som, samples())
        for kind in (int, np.int8):
            value = compute(name, som, samples(), n_neighbors=kind(n_neighbors))
            assert_array_equal(value, expected)

    @pytest.mark.parametrize("shape", [(1, 1), (3, 4)])
    @pytest.mark.parametrize(
        ("lattice", "numbers", "wrong"),
        [
            ("hexagonal", r"\{6\}", [0, 4, 8, -6, 6.0, True, "6", [6], np.array([6, 6])]),
            ("rectangular", r"\{4, 8\}", [0, 5, 6, -4, np.nan, "8", [4], np.array([4, 8])]),
        ],
    )
    def test_invalid_number(self, name, shape, lattice, numbers, wrong):
        som = random_map(lattice, shape=shape)
        match = (
            rf"^The 'n_neighbors' parameter of {name} must be an int among {numbers} on a "
            rf"{lattice} lattice\. Got .* instead\.$"
        )
        for n_neighbors in wrong:
            with pytest.raises(InvalidParameterError, match=match):
                compute(name, som, samples(), n_neighbors=n_neighbors)


@pytest.mark.parametrize("name", WITH_NEIGHBORING_SAMPLES)
class TestNeighboringSamples:
    @pytest.mark.parametrize(
        ("n_samples", "wrong"),
        [(60, [0, -1, 2.5, "5", None, True, np.nan, [5], 30]), (11, [6]), (3, [2])],
    )
    def test_invalid_number(self, name, n_samples, wrong):
        match = (
            rf"^The 'n_neighbors' parameter of {name} must be an int in the range "
            rf"\[1, {(n_samples - 1) // 2}\], less than half the total weight of the samples\. "
            r"Got .* instead\.$"
        )
        for n_neighbors in wrong:
            with pytest.raises(InvalidParameterError, match=match):
                compute(name, random_map(), samples()[:n_samples], n_neighbors=n_neighbors)

    @pytest.mark.parametrize(("n_samples", "n_neighbors"), [(60, 29), (11, 5), (3, np.int64(1))])
    def test_largest_number(self, name, n_samples, n_neighbors):
        X = samples()[:n_samples]
        assert 0 <= compute(name, random_map(), X, n_neighbors=n_neighbors) <= 1

    def test_weights_count_as_samples(self, name):
        weights = np.r_[np.ones(6), np.zeros(54)]
        with pytest.raises(InvalidParameterError, match=r"\[1, 2\], .* Got 5 instead"):
            compute(name, random_map(), samples(), sample_weight=weights)

    def test_few_samples(self, name):
        match = rf"^{name} needs samples of a total weight of at least 3\. Got 2 instead\.$"
        with pytest.raises(ValueError, match=match):
            compute(name, random_map(), samples()[:2], n_neighbors=1)


@pytest.mark.parametrize("name", WITH_RADIUS)
class TestRadius:
    @pytest.mark.parametrize("neighborhood", reference.NEIGHBORHOODS)
    def test_with_all_neighborhoods(self, name, neighborhood):
        for lattice in LATTICES:
            som = TFSOM((4, 3), lattice=lattice, boundary="toroidal", neighborhood=neighborhood)
            assert_equals_reference(name, som.fit(samples()), samples(), radius=1.3)

    def test_callable_neighborhood(self, name):
        X = samples()
        som = TFSOM((4, 3), neighborhood=lambda d2, r: np.exp(-d2 / (2 * r * r))).fit(X)
        built_in = TFSOM((4, 3)).fit(X)
        som.codebook_ = built_in.codebook_
        expected = compute(name, built_in, X, radius=1.3)
        assert_allclose(compute(name, som, X, radius=1.3), expected, rtol=1e-12)

    def test_default_is_the_radius_of_the_last_epoch(self, name):
        som = TFSOM((4, 3), radius_decay=[2.0, 1.25], max_iter=2, tol=0).fit(samples())
        assert compute(name, som, samples()) == compute(name, som, samples(), radius=1.25)

    def test_map_that_was_not_trained_has_no_default(self, name):
        som = TFSOM.from_codebook(samples(), grid_size=(10, 6))
        match = f"{name} needs radius: the map was not trained by fit or partial_fit"
        with pytest.raises(ValueError, match=match):
            compute(name, som, samples())
        som.partial_fit(samples())
        assert compute(name, som, samples()) == compute(
            name, som, samples(), radius=som.history_["radius"][-1]
        )

    def test_tiny_radius(self, name):
        som, X = random_map(), samples()
        squares = np.mean(som.bmus(X, return_distance=True)[0] ** 2)
        assert compute(name, som, X, radius=1e-200) == pytest.approx(squares, rel=1e-12)

    def test_huge_radius(self, name):
        som, X = random_map(), samples()
        sums = np.mean(np.sum(som.transform(X) ** 2, axis=1))
        assert compute(name, som, X, radius=1e200) == pytest.approx(sums, rel=1e-12)

    @pytest.mark.parametrize("radius", [0, -1.0, np.nan, np.inf, "1", True, [1.0]])
    def test_invalid_radius(self, name, radius):
        match = (
            rf"^The 'radius' parameter of {name} must be a float in the range \(0\.0, inf\)\. "
            r"Got .* instead\.$"
        )
        with pytest.raises(InvalidParameterError, match=match):
            compute(name, random_map(), samples(), radius=radius)


@pytest.mark.parametrize("name", [*MEASURES, *TABLES])
def test_parameters_and_documentation(name):
    measure = getattr(metrics, name)
    parameters = inspect.signature(measure).parameters
    data = [key for key in ("estimator", "X", "y") if key in parameters]
    options = [key for key in parameters if key not in data]
    assert list(parameters) == data + options
    assert ("sample_weight" in options) == ("X" in data)
    for key, parameter in parameters.items():
        assert (parameter.kind is parameter.KEYWORD_ONLY) == (key in options)
        assert key in data or parameter.default is not parameter.empty
    documentation = inspect.cleandoc(measure.__doc__)
    assert documentation.startswith("Compute ")
    for text in [
        *["\nRead more in the :ref:`User Guide <guide_", "\nReturns\n-------\n"],
        *[f"\n{key} : " for key in parameters],
        "\nExamples\n--------\n",
    ]:
        assert text in documentation, text


def test_public_names_are_sorted():
    assert metrics.__all__ == sorted(metrics.__all__)


def test_neighbors_of_the_reference():
    """Compare the neighbors that the references use with those found by hand."""

    def neighbors(unit, *grid, n_neighbors=None):
        related = reference_measures.are_neighbors(random_map(*grid), n_neighbors)
        return np.flatnonzero(related[unit]).tolist()

    assert neighbors(4, "hexagonal", "planar", (3, 3)) == [1, 2, 3, 5, 7, 8]
    assert neighbors(4, "rectangular", "planar", (3, 3)) == [1, 3, 5, 7]
    eight = neighbors(4, "rectangular", "planar", (3, 3), n_neighbors=8)
    assert eight == [0, 1, 2, 3, 5, 6, 7, 8]
    assert neighbors(0, "rectangular", "toroidal", (3, 4)) == [1, 3, 4, 8]
    odd_torus = reference_measures.are_neighbors(random_map("hexagonal", "toroidal", (5, 4)))
    assert (odd_torus.sum(axis=1) == 6).all() and (odd_torus == odd_torus.T).all()


def chain(codebook):
    """Return a map of one row with given code vectors."""
    codebook = np.array(codebook, dtype=float)
    som = TFSOM((1, len(codebook)), max_iter=1, radius_decay=[1.0]).fit(codebook)
    som.codebook_ = codebook
    return som


def test_folded_chain_by_hand():
    som = chain([[0], [2], [1], [4]])
    X = [[0.25], [2.25], [3.5], [1.25]]  # pairs of units (0, 2), (1, 2), (3, 1), (2, 1)
    assert topographic_error(som, X) == 0.5
    assert quantization_error(som, X) == (0.25 + 0.25 + 0.5 + 0.25) / 4
    assert_array_equal(u_matrix(som), [[2.0, 1.5, 2.0, 3.0]])
    # Paths along the chain to the second unit: 2 + 1, 1, 3 + 1, 1.
    assert combined_error(som, X) == quantization_error(som, X) + (3 + 1 + 4 + 1) / 4
    assert_array_equal(hit_histogram(som, X), [[1, 1, 1, 1]])


def test_path_between_equal_code_vectors_has_length_zero():
    assert combined_error(chain([[0], [5], [5], [1]]), [[0.25]]) == 0.25 + 5 + 0 + 4


@pytest.mark.parametrize("side", [5, 9, 47])  # the paths in the largest take two tiles
def test_square_grids_by_hand(side):
    """Check the cases of SOMperf: a square grid over [-1, 1]."""
    line = np.linspace(-1, 1, side)
    codebook = np.dstack(np.meshgrid(line, line)).reshape(-1, 2)
    som = TFSOM(side, lattice="rectangular", max_iter=1, radius_decay=[1.0], init=codebook)
    som.fit(codebook)
    som.codebook_ = codebook
    spacing = 2 / (side - 1)
    angles = np.random.RandomState(0).uniform(0, 2 * math.pi, size=len(codebook))
    X = codebook + spacing / 4 * np.column_stack([np.cos(angles), np.sin(angles)])
    assert quantization_error(som, X) == pytest.approx(spacing / 4, rel=1e-12)
    assert combined_error(som, codebook) == pytest.approx(spacing, rel=1e-12)
    assert topographic_error(som, codebook) == 0


@pytest.mark.parametrize("case", toolbox_cases(), ids=lambda case: case["case"])
def test_codebooks_of_som_toolbox(case):
    X = toolbox_data(case["case"])
    stored = np.load(REFERENCE / f"toolbox_{case['case']}.npz")
    som = TFSOM(tuple(case["grid_size"]), max_iter=1, radius_decay=[1.0]).fit(X)
    som.codebook_ = stored["codebook"]
    assert quantization_error(som, X) == pytest.approx(case["quantization_error"], rel=1e-9)
    assert topographic_error(som, X) == pytest.approx(case["topographic_error"], abs=1e-9)
    assert_array_equal(som.bmus(X, n_bmus=2)[:, 1], stored["second_bmus"].ravel())
    assert combined_error(som, X) == pytest.approx(case["combined_error"], rel=1e-9)
    assert distortion(som, X, radius=1) == pytest.approx(case["distortion_radius_1"], rel=1e-9)

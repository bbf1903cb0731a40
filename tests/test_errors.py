"""Errors name the argument, what it must be and what it was; the estimator does not change."""

import copy
import datetime
import functools
import re
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from sklearn_tfsom import TFSOM, Grid, InvalidParameterError
from sklearn_tfsom._distance import METRICS
from sklearn_tfsom._engines import column_of_results
from sklearn_tfsom._map.neighborhood import NEIGHBORHOODS
from sklearn_tfsom.metrics import log_likelihood

X = np.random.RandomState(0).normal(size=(12, 3))
SMALL = {"grid_size": (2, 2), "max_iter": 3}

INT = "an int in the range [1, inf)"
SIDE = "in the range [1, 1000000000]"
RADIUS = "a float in the range (0.0, inf) or a str among {'auto'}"


def one_of(names):
    return "a str among {" + ", ".join(map(repr, names)) + "}"


# Completes "The parameter must be ...".
RIGHT = {
    "grid_size": f"an int {SIDE}, a tuple (n_rows, n_columns) of two ints {SIDE} "
    "or a str among {'auto'}",
    "lattice": "a str among {'hexagonal', 'rectangular'}",
    "boundary": "a str among {'planar', 'cylindrical', 'toroidal'}",
    "neighborhood": f"{one_of(NEIGHBORHOODS)} or a callable of two arguments",
    "metric": one_of(METRICS),
    "init": "a str among {'pca', 'sample', 'random'} or an array-like of finite numbers "
    "of shape (n_units, n_features)",
    "max_iter": "an int in the range [1, 1000000]",
    "radius_start": RADIUS,
    "radius_end": RADIUS,
    "radius_decay": "a str among {'exponential', 'linear'} or an array-like of positive numbers "
    "of shape (max_iter,)",
    "coarse_to_fine": "a bool",
    "compute_topographic_error": "a bool",
    "checkpoint_dir": "a path or None",
    "tol": "a float in the range [0.0, inf)",
    "batch_size": f"{INT} or None",
    "n_clusters": f"{INT}, a str among {{'auto'}} or None",
    "features": "a str among {'distances', 'coordinates', 'activations'}",
    "anomaly_score": one_of(["isolation", "u_height", "distance"]),
    "random_state": "an int in the range [0, 2**32 - 1], an instance of "
    "'numpy.random.RandomState' or None",
    "verbose": "an int in the range [0, inf) or a bool",
}

NAN, INF = float("nan"), float("inf")
HUGE = 10**5000  # no `repr` and no float

NO_NUMBER = [
    (True, "True"),
    (False, "False"),
    (np.True_, repr(np.True_)),
    (NAN, "nan"),
    (INF, "inf"),
    (-INF, "-inf"),
    ("1", "'1'"),
    ("", "''"),
    (b"auto", "b'auto'"),
    ([1], "[1]"),
    ((), "()"),
    ({}, "{}"),
    (1j, "1j"),
    (Decimal("1.5"), "Decimal('1.5')"),
    (np.array([2]), "an array of shape (1,) and dtype int64"),
    (np.array(2.0), "an array of shape () and dtype float64"),
    (np.float64("nan"), repr(np.float64("nan"))),
]
NO_INT = [
    (0, "0"),
    (-1, "-1"),
    (np.int64(0), repr(np.int64(0))),
    (1.0, "1.0"),
    (2.5, "2.5"),
    (np.float64(2), repr(np.float64(2))),
    (Fraction(2), "Fraction(2, 1)"),
    *NO_NUMBER,
]
NO_RADIUS = [
    (0, "0"),
    (0.0, "0.0"),
    (-0.0, "-0.0"),
    (-1, "-1"),
    (-5e-324, "-5e-324"),
    (np.float32(0), repr(np.float32(0))),
    (None, "None"),
    ("Auto", "'Auto'"),
    ("auto ", "'auto '"),
    (10**400, "1" + 96 * "0" + "..."),  # no float is that large
    *NO_NUMBER,
]
NO_NAME = [
    ("", "''"),
    ("Auto", "'Auto'"),
    (None, "None"),
    (0, "0"),
    (1.5, "1.5"),
    (True, "True"),
    (NAN, "nan"),
    (["auto"], "['auto']"),
    ({}, "{}"),
]

# Value, and how the sentence shows it.
NO_BOOL = [(None, "None"), ("True", "'True'"), (1, "1"), (0.0, "0.0"), ([], "[]")]
BAD = {
    "grid_size": [
        *NO_INT,
        (None, "None"),
        ("Auto", "'Auto'"),
        ([], "[]"),
        ((3,), "(3,)"),
        ((3, 2, 1), "(3, 2, 1)"),
        ((0, 5), "(0, 5)"),
        ((5, -1), "(5, -1)"),
        ((2.0, 3), "(2.0, 3)"),
        ((True, 3), "(True, 3)"),
        ((NAN, 3), "(nan, 3)"),
        ((None, 3), "(None, 3)"),
        (("3", "2"), "('3', '2')"),
        ([[1, 2], [3, 4]], "[[1, 2], [3, 4]]"),
        ([[2, 3], [1]], "[[2, 3], [1]]"),
        ({2, 3}, "{2, 3}"),
        (np.array([2.0, 3.0]), "an array of shape (2,) and dtype float64"),
        (np.array([[2, 3]]), "an array of shape (1, 2) and dtype int64"),
        (np.array([], dtype=int), "an array of shape (0,) and dtype int64"),
    ],
    "lattice": [
        *NO_NAME,
        ("hex", "'hex'"),
        ("Hexagonal", "'Hexagonal'"),
        (b"hexagonal", "b'hexagonal'"),
        (np.array(["hexagonal"]), "an array of shape (1,) and dtype <U9"),
    ],
    "boundary": [*NO_NAME, ("torus", "'torus'"), (("planar",), "('planar',)")],
    "neighborhood": [
        *NO_NAME,
        ("gauss", "'gauss'"),
        ("Gaussian", "'Gaussian'"),
        (len, "<built-in function len>"),
    ],
    "metric": [*NO_NAME, ("l2", "'l2'"), ("Euclidean", "'Euclidean'")],
    "init": [
        *NO_NAME,
        ("PCA", "'PCA'"),
        ([], "[]"),
        ([1.0, 2.0], "[1.0, 2.0]"),
        ([[1, 2], [3]], "[[1, 2], [3]]"),
        ([["a", "b"]], "[['a', 'b']]"),
        ([[True, False]], "[[True, False]]"),
        ([[NAN, 1]], "[[nan, 1]]"),
        ([[INF, 1]], "[[inf, 1]]"),
        (np.ones(3), "an array of shape (3,) and dtype float64"),
        (np.ones((4, 3, 1)), "an array of shape (4, 3, 1) and dtype float64"),
        (np.ones((0, 3)), "an array of shape (0, 3) and dtype float64"),
        (np.ones((4, 0)), "an array of shape (4, 0) and dtype float64"),
        (np.ones((4, 3), bool), "an array of shape (4, 3) and dtype bool"),
        (np.ones((4, 3), complex), "an array of shape (4, 3) and dtype complex128"),
        (np.ones((4, 3), object), "an array of shape (4, 3) and dtype object"),
    ],
    "max_iter": [*NO_INT, (None, "None"), ("20", "'20'")],
    "radius_start": NO_RADIUS,
    "radius_end": NO_RADIUS,
    "radius_decay": [
        *NO_NAME,
        ("exp", "'exp'"),
        (b"linear", "b'linear'"),
        ([], "[]"),
        ([2, 1, 0], "[2, 1, 0]"),
        ([2, 1, -1], "[2, 1, -1]"),
        ([2, NAN, 1], "[2, nan, 1]"),
        ([INF, 2, 1], "[inf, 2, 1]"),
        ([True, True, True], "[True, True, True]"),
        (["a", "b", "c"], "['a', 'b', 'c']"),
        ([[3, 2, 1]], "[[3, 2, 1]]"),
        ({1.0}, "{1.0}"),
        (np.ones((3, 1)), "an array of shape (3, 1) and dtype float64"),
        (np.ones(0), "an array of shape (0,) and dtype float64"),
        (np.ones(3, complex), "an array of shape (3,) and dtype complex128"),
    ],
    "coarse_to_fine": NO_BOOL,
    "compute_topographic_error": NO_BOOL,
    "checkpoint_dir": [
        (0, "0"),
        (True, "True"),
        (["folder"], "['folder']"),
        (np.zeros(2), "an array of shape (2,) and dtype float64 with values from 0 to 0"),
    ],
    "tol": [
        *NO_NUMBER,
        (None, "None"),
        (-1, "-1"),
        (-1e-9, "-1e-09"),
        (-5e-324, "-5e-324"),
        (10**400, "1" + 96 * "0" + "..."),
    ],
    "batch_size": [*NO_INT, ("auto", "'auto'")],
    "n_clusters": [*NO_INT, ("None", "'None'")],
    "features": [*NO_NAME, ("distance", "'distance'"), (["distances"], "['distances']")],
    "anomaly_score": [*NO_NAME, ("distances", "'distances'"), (["distance"], "['distance']")],
    "random_state": [
        *NO_NUMBER,
        (-1, "-1"),
        (2**32, "4294967296"),
        (1.5, "1.5"),
        (np.int64(-1), repr(np.int64(-1))),
    ],
    "verbose": [
        *(case for case in NO_NUMBER if not isinstance(case[0], bool | np.bool_)),
        (None, "None"),
        (-1, "-1"),
        (0.0, "0.0"),
        (1.5, "1.5"),
    ],
}

BAD_CASES = [
    pytest.param(name, value, shown, id=f"{name}={shown}")
    for name, cases in BAD.items()
    for value, shown in cases
]


@pytest.fixture(scope="module")
def fitted():
    """Return a fitted map; tests must copy it before they set anything."""
    return TFSOM(**SMALL, features="activations", n_clusters=2).fit(X)


def assert_bitwise_equal(now, before):
    if isinstance(before, dict):
        assert now.keys() == before.keys()
        for key in before:
            assert_bitwise_equal(now[key], before[key])
    elif isinstance(before, np.ndarray):
        assert now.dtype == before.dtype and now.shape == before.shape
        assert now.tobytes() == before.tobytes()
    else:
        assert now == before


def check_fit(som, error, sentence=None, *, match=None, data=X, **fit):
    before = dict(vars(som))
    values = {name: copy.deepcopy(before[name]) for name in before if name.endswith("_")}
    with pytest.raises(error, match=match) as caught:
        som.fit(data, **fit)
    if sentence is not None:
        assert str(caught.value) == sentence
    assert vars(som).keys() == before.keys()
    assert all(vars(som)[name] is before[name] for name in before)
    assert_bitwise_equal({name: vars(som)[name] for name in values}, values)


def check_raises_and_changes_nothing(
    fitted, error, sentence=None, *, match=None, data=X, fit=None, **params
):
    """Check that `fit` raises and changes nothing, of an unfitted and of a fitted map."""
    for som in (TFSOM(**SMALL), copy.deepcopy(fitted)):
        som.set_params(**params)
        check_fit(som, error, sentence, match=match, data=data, **(fit or {}))


def sentence_of(name, right, came):
    return f"The '{name}' parameter of TFSOM must be {right}. Got {came} instead."


class TestParameters:
    def test_every_parameter_has_cases(self):
        assert set(RIGHT) == set(BAD) == set(TFSOM().get_params())

    @pytest.mark.parametrize(("name", "value", "shown"), BAD_CASES)
    def test_fit_refuses_an_invalid_value(self, fitted, name, value, shown):
        sentence = sentence_of(name, RIGHT[name], shown)
        check_raises_and_changes_nothing(fitted, InvalidParameterError, sentence, **{name: value})

    @pytest.mark.parametrize(("name", "value", "shown"), BAD_CASES)
    def test_invalid_value_may_be_set(self, name, value, shown):
        assert getattr(TFSOM(**{name: value}), name) is value
        assert TFSOM().set_params(**{name: value}).get_params()[name] is value
        clone(TFSOM(**{name: value}))

    @pytest.mark.parametrize("kind", [ValueError, TypeError])
    def test_error_is_a_value_and_a_type_error(self, kind):
        with pytest.raises(kind):
            TFSOM(radius_end=0).fit(X)

    @pytest.mark.parametrize(
        ("name", "value", "shown"),
        [
            ("init", np.where(np.eye(4, 3), NAN, 1.0), "nan"),
            ("init", np.where(np.eye(4, 3), INF, 1.0), "inf"),
            ("init", np.where(np.eye(4, 3), -INF, 1.0), "-inf"),
            ("radius_decay", np.array([2.0, NAN, 1.0]), "nan"),
            ("radius_decay", np.array([2.0, 1.0, -7.5]), "-7.5"),
            ("radius_decay", np.array([2.0, 1.0, 0.0]), "0"),
            ("grid_size", np.array([-7, 2]), "-7"),
        ],
    )
    def test_invalid_value_in_an_array_of_the_right_shape_is_shown(self, name, value, shown):
        with pytest.raises(InvalidParameterError) as caught:
            TFSOM(**{**SMALL, name: value}).fit(X)
        came = str(caught.value).split("Got ")[1]
        without_shape = came.replace(str(value.shape), "").replace(str(value.dtype), "")
        assert shown in without_shape

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("grid_size", pd.Series([2, 3])),
            ("init", pd.DataFrame({"a": [NAN, 1.0]})),
            ("init", scipy.sparse.csr_matrix((4, 3))),
            ("radius_decay", pd.Series([1.0, 0.0])),
            ("random_state", pd.DataFrame({"a": [1, 2]})),
            ("init", pd.DataFrame),  # not an instance
            ("init", pa.table({"a": [1, 2], "b": ["x", "y"]})),
            ("metric", pl.LazyFrame({"a": [1, 2]})),
            ("tol", SimpleNamespace(columns=3)),
            ("lattice", "x" * 10_000),
            ("n_clusters", 10**400),
            *((name, HUGE) for name in ("grid_size", "max_iter", "random_state", "n_clusters")),
            ("grid_size", (2, HUGE)),
            ("n_clusters", -HUGE),
            ("radius_start", Fraction(1, HUGE)),
            ("neighborhood", lambda squared, radius: HUGE),
            ("neighborhood", lambda squared, radius: pd.Series(["a", "b"])),
        ],
        ids=lambda value: str(type(value)),
    )
    def test_message_is_one_short_line(self, name, value):
        with pytest.raises(ValueError, match=name) as caught:
            TFSOM(**{**SMALL, name: value}).fit(X)
        assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 400

    def test_huge_ints_of_methods(self, fitted):
        with pytest.raises(InvalidParameterError, match="'n_bmus' parameter"):
            fitted.bmus(X, n_bmus=HUGE)
        with pytest.raises(InvalidParameterError, match="'grid_size' parameter"):
            TFSOM.from_codebook(X, grid_size=HUGE)
        with pytest.raises(InvalidParameterError, match="'n_rows' parameter of Grid"):
            Grid(HUGE, 2)

    @pytest.mark.parametrize("error", [RuntimeError, AttributeError])
    @pytest.mark.parametrize("name", ["init", "radius_decay"])
    def test_array_that_cannot_be_read(self, name, error):
        class Unreadable:
            def __array__(self, dtype=None, copy=None):
                raise error("Call .detach() first.")

        with pytest.raises(InvalidParameterError, match=f"'{name}' parameter"):
            TFSOM(**SMALL | {name: Unreadable()}).fit(X)
        with pytest.raises(InvalidParameterError, match="'codebook' parameter"):
            TFSOM.from_codebook(Unreadable(), grid_size=2)

    def test_error_names_the_subclass(self):
        class OwnSOM(TFSOM):
            pass

        with pytest.raises(InvalidParameterError, match=r"^The 'tol' parameter of OwnSOM must be"):
            OwnSOM(tol=-1).fit(X)


class TestGoodValues:
    @pytest.mark.parametrize(
        ("name", "value", "plain"),
        [
            ("grid_size", 2, (2, 2)),
            ("grid_size", np.int64(2), (2, 2)),
            ("grid_size", np.int8(2), (2, 2)),
            ("grid_size", [2, 3], (2, 3)),
            ("grid_size", np.array([2, 3]), (2, 3)),
            ("grid_size", (np.int64(2), np.uint8(3)), (2, 3)),
            ("grid_size", np.str_("auto"), "auto"),
            ("lattice", np.str_("rectangular"), "rectangular"),
            ("init", np.arange(12).reshape(4, 3), np.arange(12.0).reshape(4, 3)),
            ("init", np.arange(12.0).reshape(4, 3).tolist(), np.arange(12.0).reshape(4, 3)),
            ("init", pd.DataFrame(np.eye(4, 3)), np.eye(4, 3)),
            ("init", np.eye(4, 3, dtype=np.float32), np.eye(4, 3)),
            ("max_iter", np.int64(2), 2),
            ("radius_start", 2, 2.0),
            ("radius_start", np.float32(2), 2.0),
            ("radius_end", 1, 1.0),
            ("radius_end", np.int64(1), 1.0),
            ("radius_end", np.float32(1), 1.0),
            ("radius_end", np.float16(0.5), 0.5),
            ("radius_end", Fraction(1, 2), 0.5),
            ("radius_decay", (3, 2, 1), [3.0, 2.0, 1.0]),
            ("radius_decay", range(1, 4), [1.0, 2.0, 3.0]),
            ("radius_decay", np.array([3, 2, 1], np.float32), [3.0, 2.0, 1.0]),
            ("radius_decay", pd.Series([3, 2, 1]), [3.0, 2.0, 1.0]),
            ("tol", 0, 0.0),
            ("tol", -0.0, 0.0),
            ("tol", np.float32(0.5), 0.5),
            ("n_clusters", np.int64(2), 2),
            ("random_state", np.int64(3), 3),
            ("verbose", True, 1),
            ("verbose", np.False_, 0),
        ],
    )
    def test_value_equals_the_plain_one(self, name, value, plain):
        base = SMALL if name != "random_state" else {**SMALL, "init": "random"}
        som = TFSOM(**{**base, name: value}).fit(X)
        same = TFSOM(**{**base, name: plain}).fit(X)
        assert getattr(som, name) is value
        assert som.grid_shape_ == same.grid_shape_
        assert all(type(side) is int for side in som.grid_shape_)
        assert_array_equal(som.codebook_, same.codebook_)
        assert_array_equal(som.labels_, same.labels_)
        assert_array_equal(som.history_["radius"], same.history_["radius"])

    @pytest.mark.parametrize(
        ("params", "shape", "n_iter"),
        [
            ({"grid_size": 1}, (1, 1), 3),
            ({"grid_size": (1, 1)}, (1, 1), 3),
            ({"grid_size": (1, 5)}, (1, 5), 3),
            ({"grid_size": (5, 1)}, (5, 1), 3),
            ({"grid_size": 20}, (20, 20), 3),  # more units than samples
            ({"max_iter": 1}, (2, 2), 1),
            ({"max_iter": 2}, (2, 2), 2),
            ({"tol": 0}, (2, 2), 3),
            ({"tol": 1e300}, (2, 2), 2),  # once the radius has reached its end
            ({"radius_start": 1, "radius_end": 1}, (2, 2), 3),
            ({"radius_start": 0.5}, (2, 2), 3),  # "auto" ends no higher than the start
            ({"radius_end": 50}, (2, 2), 3),  # "auto" starts no lower than the end
            ({"radius_end": 1.7e308}, (2, 2), 3),
            ({"n_clusters": 1}, (2, 2), 3),
            ({"init": "random", "random_state": 0}, (2, 2), 3),
            ({"init": "random", "random_state": 2**32 - 1}, (2, 2), 3),
            ({"init": "sample", "random_state": np.random.RandomState(0)}, (2, 2), 3),
            ({"verbose": 0}, (2, 2), 3),
        ],
    )
    def test_limits_are_allowed(self, params, shape, n_iter):
        som = TFSOM(**{**SMALL, "tol": 0, **params}).fit(X)
        assert som.grid_shape_ == shape
        assert som.codebook_.shape == (shape[0] * shape[1], 3)
        assert np.isfinite(som.codebook_).all()
        assert len(som.history_["radius"]) == som.n_iter_ <= n_iter

    @pytest.mark.parametrize("neighborhood", NEIGHBORHOODS)
    @pytest.mark.parametrize("radius", [5e-324, 1e-300, 1e-160, 1e-20])
    def test_units_with_a_tiny_radius_learn_alone(self, neighborhood, radius):
        params = {**SMALL, "neighborhood": neighborhood}
        tiny = TFSOM(**params, radius_decay=[radius] * 3).fit(X)
        alone = TFSOM(**params, radius_decay=[1e-9] * 3).fit(X)
        assert_array_equal(tiny.codebook_, alone.codebook_)

    @pytest.mark.parametrize("neighborhood", NEIGHBORHOODS)
    @pytest.mark.parametrize("radius", [1e20, 1e160, 1e300, np.finfo(float).max])
    def test_all_units_with_a_huge_radius_are_the_mean(self, neighborhood, radius):
        huge = TFSOM(**SMALL, neighborhood=neighborhood, radius_decay=[radius] * 3).fit(X)
        assert_allclose(huge.codebook_, np.tile(X.mean(axis=0), (4, 1)), rtol=1e-12)


class TestParametersThatDoNotFitEachOther:
    @pytest.mark.parametrize(
        ("params", "sentence"),
        [
            (
                {"init": np.ones((5, 3))},
                sentence_of("init", "of shape (n_units, n_features), (4, 3)", "shape (5, 3)"),
            ),
            (
                {"init": np.ones((4, 2)).tolist()},
                sentence_of("init", "of shape (n_units, n_features), (4, 3)", "shape (4, 2)"),
            ),
            (
                {"init": np.ones((3, 4))},
                sentence_of("init", "of shape (n_units, n_features), (4, 3)", "shape (3, 4)"),
            ),
            (
                {"radius_decay": [2.0, 1.0]},
                sentence_of("radius_decay", "of shape (max_iter,), (3,)", "shape (2,)"),
            ),
            (
                {"radius_decay": np.ones(4)},
                sentence_of("radius_decay", "of shape (max_iter,), (3,)", "shape (4,)"),
            ),
            (
                {"radius_start": 1.0, "radius_end": 2.0},
                sentence_of("radius_end", "at most radius_start=1.0", "2.0"),
            ),
            (
                {"radius_start": 1, "radius_end": 2, "radius_decay": "linear"},
                sentence_of("radius_end", "at most radius_start=1", "2"),
            ),
            (
                {"radius_start": 1.0, "radius_end": 1.0000000000000002},
                sentence_of("radius_end", "at most radius_start=1.0", "1.0000000000000002"),
            ),
            (
                {"radius_start": 1.0, "radius_end": 2.0, "max_iter": 1},
                sentence_of("radius_end", "at most radius_start=1.0", "2.0"),
            ),
            (
                {"n_clusters": 5},
                sentence_of("n_clusters", "at most the number of units, 4 on a map of 2x2", "5"),
            ),
            (
                {"n_clusters": np.int64(7), "grid_size": (2, 3)},
                sentence_of("n_clusters", "at most the number of units, 6 on a map of 2x3", "7"),
            ),
        ],
    )
    def test_fit_refuses_them(self, fitted, params, sentence):
        check_raises_and_changes_nothing(fitted, InvalidParameterError, sentence, **params)

    def test_radii_replaced_by_an_array_are_not_checked(self):
        params = {"radius_start": 1.0, "radius_end": 2.0, "radius_decay": [3.0, 2.0, 1.0]}
        som = TFSOM(**SMALL, tol=0, **params).fit(X)
        assert_array_equal(som.history_["radius"], [3, 2, 1][: som.n_iter_])

    @pytest.mark.parametrize(
        ("weights", "n_clusters", "n_samples"),
        [(None, 4, 3), ([1, 1, 0], 3, 2), ([2, 0, 0], 3, 1), ([0.1, 0.2, 0], 3, 2)],
    )
    def test_more_clusters_than_samples(self, fitted, weights, n_clusters, n_samples):
        sentence = (
            f"n_samples={n_samples} must be at least n_clusters={n_clusters}, counting samples of "
            "positive weight."
        )
        fit = {"sample_weight": weights}
        check_raises_and_changes_nothing(
            fitted, ValueError, sentence, data=X[:3], fit=fit, n_clusters=n_clusters
        )

    @pytest.mark.parametrize(
        ("samples", "n_clusters", "n_hit"),
        [([[0, 0]] * 5, 2, 1), ([[0, 0], [0, 0], [1, 1]], 3, 2)],
    )
    def test_more_clusters_than_units_with_samples_warn(self, samples, n_clusters, n_hit):
        message = (
            f"Samples fall in {n_hit} clusters only, fewer than n_clusters={n_clusters}. "
            "Ask for fewer clusters, or for a larger map."
        )
        with pytest.warns(ConvergenceWarning) as caught:
            som = TFSOM(**SMALL, n_clusters=n_clusters).fit(samples)
        assert [str(warning.message) for warning in caught] == [message]
        assert set(som.labels_) == set(som.cluster_labels_) == set(range(n_hit))

    @pytest.mark.parametrize(("samples", "n_hit"), [([[0, 0]] * 5, 1), ([[0, 0], [1, 1]], 2)])
    def test_as_many_clusters_as_units_with_samples(self, samples, n_hit):
        som = TFSOM(**SMALL, n_clusters=n_hit).fit(samples)
        assert set(som.labels_) == set(som.cluster_labels_) == set(range(n_hit))


class TestNeighborhoodFunctions:
    @pytest.mark.parametrize(
        ("function", "came"),
        [
            (lambda d2, r: 1.0, r"shape \(\)|1\.0"),
            (lambda d2, r: d2[0], "shape"),
            (lambda d2, r: d2.ravel(), "shape"),
            (lambda d2, r: np.full(d2.shape, NAN), "finite|nan"),
            (lambda d2, r: np.full(d2.shape, INF), "finite|inf"),
            (lambda d2, r: np.where(d2 == 0, -INF, 1), "finite|inf"),
            (lambda d2, r: np.full(d2.shape, -1e308), r"a largest magnitude of 1e\+308"),
            (lambda d2, r: 1e-300 * np.exp(-d2), "a largest magnitude of 1e-300"),
            (lambda d2, r: None, ""),
            (lambda d2, r: "gaussian", ""),
            (lambda d2, r: {}, ""),
            (lambda d2, r: [[1, 2], [3]], ""),
            (lambda d2, r: np.ones(d2.shape) * 1j, "complex"),
        ],
        ids=[
            "scalar",
            "part",
            "flat",
            "nan",
            "inf",
            "-inf",
            "large",
            "small",
            "none",
            "str",
            "dict",
            "ragged",
            "j",
        ],
    )
    def test_invalid_result(self, fitted, function, came):
        match = rf"^The 'neighborhood' parameter of TFSOM must be .*\..* ({came}).* instead\.$"
        check_raises_and_changes_nothing(
            fitted, InvalidParameterError, match=match, neighborhood=function
        )

    def test_invalid_result_late_in_training(self, fitted):
        def decaying(d2, r):
            return np.exp(-d2) if r > 1 else np.full(d2.shape, NAN)

        params = {"neighborhood": decaying, "radius_decay": [3, 2, 1], "tol": 0}
        match = "^The 'neighborhood' parameter of TFSOM must be"
        check_raises_and_changes_nothing(fitted, InvalidParameterError, match=match, **params)

    @pytest.mark.parametrize("error", [ZeroDivisionError, KeyError, KeyboardInterrupt])
    def test_error_of_the_function_is_raised(self, fitted, error):
        def failing(d2, r):
            raise error("a message")

        check_raises_and_changes_nothing(fitted, error, match="a message", neighborhood=failing)

    def test_stop_iteration_is_raised_as_a_runtime_error(self):
        """As from a generator, in all methods."""

        def failing(d2, r):
            raise StopIteration

        for train in (TFSOM.fit, TFSOM.partial_fit):
            with pytest.raises(RuntimeError, match="neighborhood function raised StopIteration"):
                train(TFSOM(**SMALL, neighborhood=failing), X)

    @pytest.mark.parametrize("function", [lambda d2: d2, lambda d2, radius, other: d2])
    def test_wrong_signature(self, fitted, function):
        match = r"^The 'neighborhood' parameter .* or a callable of two arguments\. Got <function"
        check_raises_and_changes_nothing(
            fitted, InvalidParameterError, match=match, neighborhood=function
        )

    def test_signature_is_that_of_the_wrapper(self, fitted):
        def of_two(d2, radius):
            return np.exp(-d2 / radius**2)

        @functools.wraps(of_two)
        def of_three(d2, radius, other):
            return of_two(d2, radius)

        @functools.wraps(of_three)
        def wrapped(d2, radius):
            return of_three(d2, radius, None)

        expected = TFSOM(**SMALL, neighborhood=of_two).fit(X)
        assert_array_equal(
            TFSOM(**SMALL, neighborhood=wrapped).fit(X).codebook_, expected.codebook_
        )
        check_raises_and_changes_nothing(
            fitted, InvalidParameterError, match="callable of two", neighborhood=of_three
        )

    @pytest.mark.parametrize("dtype", [bool, int, np.float32, np.float64])
    def test_results_of_any_real_type(self, dtype):
        own = TFSOM(**SMALL, neighborhood=lambda d2, r: (d2 <= r * r).astype(dtype)).fit(X)
        # The radii that "auto" gives the bubble differ: give both the same.
        radii = own.history_["radius"]
        built_in = TFSOM((2, 2), neighborhood="bubble", radius_decay=radii, max_iter=len(radii))
        assert_array_equal(own.codebook_, built_in.fit(X).codebook_)


def test_large_data_are_checked_in_their_order():
    """Large data are checked in many tiles at a time; the first error counts."""
    rng = np.random.default_rng(0)
    large = rng.random((20_000, 1024), dtype=np.float32)
    som = TFSOM(**SMALL).fit(large[:50])
    large[::5, 1] = NAN
    assert som.predict(large).shape == (20_000,)

    def check(values, message):
        changed = {row: large[row].copy() for row in values}
        for row, value in values.items():
            large[row] = value
        with pytest.raises(ValueError, match=message):
            som.predict(large)
        for row, value in changed.items():
            large[row] = value

    one_infinite = np.where(np.arange(1024) == 7, np.float32(INF), np.float32(0))
    check({2200: NAN}, r"Sample 2200 of X is missing \(NaN\)")
    check({19_000: one_infinite}, "Input X contains infinity")
    check({2200: NAN, 19_000: one_infinite}, r"Sample 2200 of X is missing \(NaN\)")
    check({2200: one_infinite, 19_000: NAN}, "Input X contains infinity")
    check({19_999: NAN}, r"Sample 19999 of X is missing \(NaN\)")


BAD_DATA = {
    "no value": (
        np.where(np.arange(12)[:, None] == 4, NAN, X),
        ValueError,
        r"Sample 4 of X is missing \(NaN\) in all features\. Remove it\.",
    ),
    "infinity": (np.where(np.eye(12, 3), INF, X), ValueError, "Input X contains infinity"),
    "complex": (X + 1j, ValueError, "^X must contain numbers: Complex data not supported.$"),
    "strings": ([["a", "b", "c"]], ValueError, "^X must contain numbers: .*float: 'a'$"),
    "texts among numbers": (
        pd.DataFrame({"age": [31, 45], "size": [1, 2], "city": ["Paris", "Rome"]}).to_numpy(),
        ValueError,
        "^X must contain numbers: could not convert string to float: 'Paris'$",
    ),
    "records": (
        np.rec.fromarrays([[1, 2], [3.0, 4.0]]),
        ValueError,
        r"^X must contain numbers\. Got values of dtype \(numpy.record, .* instead\.$",
    ),
    "1-d": (X[0], ValueError, "Expected 2D array, got 1D array instead"),
    "3-d": (X[None], ValueError, "Found array with dim 3"),
    "scalar": (1.0, ValueError, "Expected 2D array, got scalar array instead"),
    "no sample": (
        X[:0],
        ValueError,
        r"Found array with 0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1 is required",
    ),
    "no feature": (
        X[:, :0],
        ValueError,
        r"Found array with 0 feature\(s\) \(shape=\(12, 0\)\) while a minimum of 1 is required",
    ),
    "ragged": (
        [[1, 2], [3]],
        ValueError,
        "^X must have rows of equal lengths. Got different ones.",
    ),
    "sparse with a missing value": (
        scipy.sparse.csr_array(np.where(np.eye(12, 3), NAN, X)),
        ValueError,
        r"^Sparse X must not contain missing values \(NaN\)\. Pass a dense array, or impute "
        r"them\.$",
    ),
    "sparse with infinity": (
        scipy.sparse.coo_matrix(np.where(np.eye(12, 3), INF, X)),
        ValueError,
        "Input X contains infinity",
    ),
    "dict": (
        {"a": 1},
        TypeError,
        r"^X must be an array of two dimensions\. Got {'a': 1} instead\.",
    ),
    "set": ({1, 2}, TypeError, r"^X must be an array of two dimensions\. Got {1, 2} instead\."),
    "None": (None, TypeError, r"^X must be an array of two dimensions\. Got None instead\."),
    "text": ("a", TypeError, r"^X must be an array of two dimensions\. Got 'a' instead\."),
    "dtype": (np.dtype("f4"), TypeError, r"^X must be an array of two dimensions\. Got dtype\("),
    "estimator": (TFSOM(), TypeError, r"^X must be an array of two dimensions\. Got TFSOM\(\) "),
}
METHODS = ["predict", "transform", "score", "score_samples", "bmus", "quantize", "impute"]


class TestData:
    @pytest.mark.parametrize("kind", BAD_DATA)
    def test_fit_refuses_them(self, fitted, kind):
        data, error, match = BAD_DATA[kind]
        check_raises_and_changes_nothing(fitted, error, match=match, data=data)

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("kind", BAD_DATA)
    def test_fitted_map_refuses_them(self, fitted, method, kind):
        data, error, match = BAD_DATA[kind]
        with pytest.raises(error, match=match):
            getattr(fitted, method)(data)

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("n_features", [1, 2, 4])
    def test_wrong_number_of_features(self, fitted, method, n_features):
        match = f"X has {n_features} features, but TFSOM is expecting 3 features as input"
        with pytest.raises(ValueError, match=match):
            getattr(fitted, method)(np.ones((5, n_features)))

    @pytest.mark.parametrize("method", METHODS)
    def test_wrong_feature_names(self, method):
        frame = pd.DataFrame(X, columns=["a", "b", "c"])
        som = TFSOM(**SMALL).fit(frame)
        with pytest.raises(ValueError, match="feature names should match") as caught:
            getattr(som, method)(frame.rename(columns={"c": "d"}))
        assert re.search("unseen at fit time:\n- d\n", str(caught.value))

    def test_missing_values_in_sparse_data_under_cosine(self):
        sparse = scipy.sparse.csr_array(np.where(np.eye(12, 3), NAN, X))
        with pytest.raises(ValueError, match=r"must not contain .* \(NaN\)\. Impute them\.$"):
            TFSOM(2, metric="cosine").fit(sparse)

    @pytest.mark.parametrize(
        "metric", [name for name in METRICS if not METRICS[name].allows_sparse]
    )
    def test_sparse_data_with_a_metric_without_support(self, metric):
        allowed = [name for name in METRICS if METRICS[name].allows_sparse]
        right = f"one of {', '.join(map(repr, allowed))} for sparse X"
        sparse = scipy.sparse.csr_array(np.abs(X))
        for data in (sparse, pd.DataFrame.sparse.from_spmatrix(sparse)):
            with pytest.raises(InvalidParameterError) as caught:
                TFSOM(**SMALL, metric=metric).fit(data)
            assert str(caught.value) == sentence_of("metric", right, repr(metric))

    @pytest.mark.parametrize(
        "metric", [name for name in METRICS if not METRICS[name].allows_missing]
    )
    def test_missing_values_with_a_metric_without_support(self, metric):
        allowed = [name for name in METRICS if METRICS[name].allows_missing]
        right = f"one of {', '.join(map(repr, allowed))} for X with missing values (NaN)"
        with pytest.raises(InvalidParameterError) as caught:
            TFSOM(**SMALL, metric=metric).fit(np.where(np.eye(12, 3), NAN, X))
        assert str(caught.value) == sentence_of("metric", right, repr(metric))

    def test_metric_of_the_fitted_map_is_named_where_the_parameter_is_another(self):
        som = TFSOM(**SMALL, metric="manhattan").fit(X).set_params(metric="euclidean")
        calls = [lambda: som.predict(scipy.sparse.csr_array(X)), lambda: log_likelihood(som, X)]
        for call in calls:
            with pytest.raises(InvalidParameterError) as caught:
                call()
            end = "Got 'manhattan', the metric of the fitted map, instead."
            assert str(caught.value).endswith(end)

    @pytest.mark.parametrize("factor", [1e153, 1e160, 7e307])
    @pytest.mark.parametrize(
        "params",
        [
            {"init": "pca"},
            {"init": "pca", "grid_size": "auto"},
            {"init": "random"},
            {"init": "sample"},
            {"init": np.zeros((4, 3))},
        ],
        ids=["pca", "auto", "random", "sample", "array"],
    )
    def test_large_values_are_mapped_or_refused(self, factor, params):
        som = TFSOM(**{**SMALL, **params}, random_state=0)
        data = X / np.abs(X).max()
        try:
            som.fit(factor * data)
        except ValueError as error:
            assert factor == 7e307
            assert re.search(r"^X contains values too large.*\. Rescale X\.$", str(error))
        else:
            small = clone(som).fit(data)
            assert_allclose(som.codebook_ / factor, small.codebook_, rtol=1e-9, atol=1e-9)
            assert som.quantization_error_ / factor == pytest.approx(small.quantization_error_)

    @pytest.mark.parametrize(
        ("factor", "weight", "start"), [(5e306, 1e300, None), (1.0, 1.0, 5e307)]
    )
    def test_sums_of_distances_beyond_float64(self, fitted, factor, weight, start):
        data = np.random.RandomState(0).uniform(-factor, factor, (2000, 3))
        init = "pca" if start is None else start * X[:4] / np.abs(X).max()
        fit = {"sample_weight": np.full(2000, weight)}
        match = r"^X, sample_weight or init contains values too large: "
        check_raises_and_changes_nothing(
            fitted, ValueError, match=match, data=data, fit=fit, init=init
        )

    @pytest.mark.parametrize("params", [{"grid_size": 1}, {"grid_size": 1, "init": "random"}])
    def test_large_values_on_a_single_unit(self, params):
        som = TFSOM(**params).fit(X * 1e200)
        assert_allclose(som.codebook_, X.mean(axis=0, keepdims=True) * 1e200)
        assert_array_equal(som.labels_, 0)

    @pytest.mark.parametrize(
        "data", [[[1.7e308], [-1.7e308], [0.0]], [[1.7e308], [-1.7e308]] * 2], ids=["odd", "even"]
    )
    def test_values_whose_differences_overflow(self, fitted, data):
        check_raises_and_changes_nothing(
            fitted, ValueError, match=r"^X contains values too large.*\. Rescale X\.$", data=data
        )

    def test_start_out_of_the_range_of_float32(self):
        start = np.full((4, 3), -1e39)
        message = (
            "The 'init' parameter of TFSOM must be in the range of float32, the precision of X. "
            "Got 1e+39 instead."
        )
        with pytest.raises(InvalidParameterError, match=f"^{re.escape(message)}$"):
            TFSOM((2, 2), init=start).fit(X.astype(np.float32))
        assert (TFSOM((2, 2), init=start).fit(X).codebook_ > -1e38).any()

    def test_values_whose_sums_cancel_out_are_no_warning(self):
        data = np.where(np.arange(14)[:, None] % 2, 1.7e308, -1.7e308) * np.ones(3)
        with pytest.raises(ValueError, match=r"^X contains values too large"):
            TFSOM(**SMALL).fit(data)

    @pytest.mark.parametrize("value", [1.0, 1e200, 1.7e308, -1.7e308, 5e-324])
    def test_constant_data_have_no_quantization_error(self, value):
        som = TFSOM(**SMALL).fit(np.full((5, 2), value))
        assert som.quantization_error_ == 0
        assert_allclose(som.codebook_, value)

    def test_values_near_the_limit_of_float32(self):
        data = np.array([[-3.2e38], [3.0e38], [3.1e38], [3.2e38]], np.float32)
        som = TFSOM((1, 2), max_iter=3).fit(data)
        double = TFSOM((1, 2), max_iter=3).fit(data.astype(np.float64))
        assert som.codebook_.dtype == np.float32
        assert_allclose(som.codebook_, double.codebook_, rtol=1e-6)
        assert som.quantization_error_ == pytest.approx(double.quantization_error_, rel=1e-6)

    @pytest.mark.parametrize("far", [1e6, 1e100, 1e153, 1e160, 1e200, 1e307])
    def test_far_sample_is_mapped_or_refused(self, fitted, far):
        samples = np.array([[far, 0, 0], [-far, 0, 0]])
        right = [fitted.codebook_[:, 0].argmax(), fitted.codebook_[:, 0].argmin()]
        try:
            distances, bmus = fitted.bmus(samples, return_distance=True)
        except ValueError as error:
            assert far > 1e100
            assert re.search(r"^X contains values too large.*\. Rescale X\.$", str(error))
        else:
            assert_allclose(distances, far, rtol=1e-5)
            if far == 1e6:  # beyond 1e15 rounding makes all units equally far
                assert_array_equal(bmus, right)


NO_POSITIVE_WEIGHT = (
    r"^sample_weight must contain a positive weight\. Got all weights zero instead\.$"
)
BAD_WEIGHTS = {
    "too few": (
        np.ones(11),
        r"sample_weight must have one value for each of the 12 samples, shape \(12,\)\. "
        r"Got shape \(11,\) instead\.",
    ),
    "dates": (
        np.full(12, np.datetime64("2020-01-01")),
        r"sample_weight must contain numbers\. Got values of dtype datetime64\[D\] instead\.",
    ),
    "durations among numbers": (
        [np.timedelta64(1, "s"), *np.ones(11)],
        r"sample_weight must contain numbers\. Got values of dtype timedelta64 instead\.",
    ),
    "too many": (np.ones(13), r"sample_weight .* 12 samples.* Got shape \(13,\) instead\."),
    "empty": ([], r"sample_weight .* 12 samples.* Got shape \(0,\) instead\."),
    "column": (np.ones((12, 1)), r"sample_weight .* 12 samples.* Got shape \(12, 1\) instead\."),
    "row": (np.ones((1, 12)), r"sample_weight .* 12 samples.* Got shape \(1, 12\) instead\."),
    "beyond the range of their sum": (
        np.resize([1.7e308, 1.7e308, -1.7e308, -1.7e308], 12),
        r"sample_weight must not contain negative values\. Got -1\.7e\+308 as the lowest\.",
    ),
    "negative": (
        -np.ones(12),
        r"sample_weight must not contain negative values\. Got -1 as the lowest\.",
    ),
    "one negative": (np.r_[np.ones(11), -1e-9], r"sample_weight .* negative.* Got -1e-09"),
    "negative scalar": (-2, r"sample_weight .* negative.* Got -2"),
    "NaN": (np.full(12, NAN), "Input sample_weight contains NaN"),
    "one NaN": (np.r_[np.ones(11), NAN], "Input sample_weight contains NaN"),
    "infinity": (np.r_[np.ones(11), INF], "Input sample_weight contains infinity"),
    "all zero": (np.zeros(12), NO_POSITIVE_WEIGHT),
    "int zeros": (np.zeros(12, int), NO_POSITIVE_WEIGHT),
    "zero": (0, NO_POSITIVE_WEIGHT),
    "strings": (["a"] * 12, r"^sample_weight must contain numbers: could not convert .*'a'"),
    "string": ("w", r"^sample_weight must contain numbers: could not convert .*'w'"),
    "complex": (np.ones(12) * 1j, r"^sample_weight must contain numbers: Complex data not .*\.$"),
    "too large": (
        np.full(12, 1e308),
        r"^sample_weight contains values too large to sum\. Divide it by its largest value\.$",
    ),
    "too small": (
        np.full(12, 5e-324),
        r"^sample_weight contains values too small .*: their sum is 5\.9\d+e-323\. Divide",
    ),
}


class TestSampleWeight:
    @pytest.mark.parametrize("kind", BAD_WEIGHTS)
    def test_fit_refuses_it(self, fitted, kind):
        weights, match = BAD_WEIGHTS[kind]
        fit = {"sample_weight": weights}
        check_raises_and_changes_nothing(fitted, ValueError, match=match, fit=fit)

    @pytest.mark.parametrize("kind", BAD_WEIGHTS)
    def test_score_refuses_it(self, fitted, kind):
        weights, match = BAD_WEIGHTS[kind]
        with pytest.raises(ValueError, match=match):
            fitted.score(X, sample_weight=weights)

    @pytest.mark.parametrize(
        ("weights", "plain"),
        [
            (2.5, np.full(12, 2.5)),
            (1, np.ones(12)),
            (list(range(12)), np.arange(12.0)),
            (pd.Series(range(12), index=range(5, 17)), np.arange(12.0)),
            (np.arange(12) > 5, np.repeat([0.0, 1.0], 6)),
            (np.r_[np.zeros(11), 1e-300], np.r_[np.zeros(11), 1.0]),
            (np.arange(12, dtype=np.float32), np.arange(12.0)),
        ],
    )
    def test_weights_equal_the_plain_array(self, weights, plain):
        som = TFSOM(**SMALL).fit(X, sample_weight=weights)
        same = TFSOM(**SMALL).fit(X, sample_weight=plain)
        assert_array_equal(som.codebook_, same.codebook_)
        assert som.score(X, sample_weight=weights) == same.score(X, sample_weight=plain)

    @pytest.mark.parametrize("method", ["fit", "partial_fit"])
    def test_missing_weights_are_named_where_values_are_not_checked(self, method):
        som, weights = TFSOM(**SMALL).fit(X), np.r_[NAN, np.ones(11)]
        with (
            sklearn.config_context(assume_finite=True),
            pytest.raises(
                ValueError, match=r"^sample_weight must not contain missing .*\(NaN\)\.$"
            ),
        ):
            getattr(som, method)(X, sample_weight=weights)


class TestMethods:
    @pytest.mark.parametrize(
        ("n_bmus", "shown"), [*NO_INT, (None, "None"), (5, "5"), (10**9, "1000000000")]
    )
    def test_invalid_number_of_bmus(self, fitted, n_bmus, shown):
        with pytest.raises(InvalidParameterError) as caught:
            fitted.bmus(X, n_bmus=n_bmus)
        sentence = sentence_of("n_bmus", "an int in the range [1, 4]", shown)
        assert str(caught.value) == sentence

    @pytest.mark.parametrize(
        ("n_bmus", "shape"),
        [(1, (12,)), (np.int64(1), (12,)), (np.int8(2), (12, 2)), (4, (12, 4))],
    )
    def test_valid_number_of_bmus(self, fitted, n_bmus, shape):
        assert fitted.bmus(X, n_bmus=n_bmus).shape == shape

    @pytest.mark.parametrize(("features", "shown"), BAD["features"])
    def test_invalid_features_set_after_fit(self, fitted, features, shown):
        som = copy.deepcopy(fitted).set_params(features=features)
        for method, arguments in (("transform", [X]), ("get_feature_names_out", [])):
            with pytest.raises(InvalidParameterError) as caught:
                getattr(som, method)(*arguments)
            assert str(caught.value) == sentence_of("features", RIGHT["features"], shown)
        assert_array_equal(som.predict(X), fitted.predict(X))
        assert_array_equal(
            som.set_params(features="activations").transform(X), fitted.transform(X)
        )

    @pytest.mark.parametrize(("score", "shown"), BAD["anomaly_score"])
    def test_invalid_anomaly_score_set_after_fit(self, fitted, score, shown):
        som = copy.deepcopy(fitted).set_params(anomaly_score=score)
        with pytest.raises(InvalidParameterError) as caught:
            som.score_samples(X)
        sentence = sentence_of("anomaly_score", RIGHT["anomaly_score"], shown)
        assert str(caught.value) == sentence

    @pytest.mark.parametrize("method", METHODS)
    def test_unfitted_map_raises(self, method):
        with pytest.raises(NotFittedError, match="This TFSOM instance is not fitted yet"):
            getattr(TFSOM(), method)(X)

    @pytest.mark.parametrize("features", ["distances", "coordinates", "activations"])
    def test_unfitted_map_has_no_feature_names(self, features):
        with pytest.raises(NotFittedError, match="This TFSOM instance is not fitted yet"):
            TFSOM(features=features).get_feature_names_out()

    def test_map_is_unfitted_after_a_failed_fit(self):
        som = TFSOM()
        with pytest.raises(ValueError, match="NaN"):
            som.fit([[NAN]])
        with pytest.raises(NotFittedError):
            som.predict(X)


DAYS = np.array([["2020-01-01", "NaT"], ["2021-01-01", "2020-01-01"]], dtype="M8[D]")
TIMES = {
    "datetimes": DAYS,
    "durations": DAYS - DAYS[0, 0],
    "rows": list(DAYS),
    "column": pd.DataFrame({"time": pd.to_datetime(["2020", None])}),
    "beside numbers": pd.DataFrame({"number": [1, 2], "time": pd.to_datetime(["2020", "2021"])}),
    "rows of times and numbers": [(DAYS[0, 0], 1.0), (DAYS[1, 0], 2.0)],
    "rows of durations and numbers": [(DAYS[1, 0] - DAYS[0, 0], 1.0)] * 2,
    "objects": np.array([[DAYS[0, 0], 1.0], [1.0, datetime.date(2020, 1, 1)]], object),
    "columns of objects": pd.DataFrame({"a": [pd.Timestamp(0), 1.0], "b": [1.0, 2.0]}),
    "time zone": pd.DataFrame({"time": pd.to_datetime(["2020", "2021"], utc=True)}),
    "categories": pd.DataFrame({"time": pd.Categorical(pd.to_datetime(["2020", None]))}),
    "categories of durations": pd.DataFrame(
        {"time": pd.Categorical(pd.to_timedelta([1, 2], unit="s")), "number": [1, 2]}
    ),
    "periods": pd.DataFrame({"month": pd.period_range("2020-01", periods=2, freq="M")}),
    "intervals": pd.DataFrame({"range": pd.interval_range(0, 2), "number": [1, 2]}),
    "dictionary": pa.table(
        {"time": pa.array(DAYS[:, 1]).dictionary_encode(), "number": [1.0, 2.0]}
    ),
    "dictionary in a data frame": pd.DataFrame(
        {"time": pd.arrays.ArrowExtensionArray(pa.array(DAYS[:, 1]).dictionary_encode())}
    ),
}


class TestTimes:
    """NumPy would count days or nanoseconds, and NaT as -9.2e18."""

    @pytest.mark.parametrize("kind", TIMES)
    def test_they_are_refused(self, kind):
        with pytest.raises(ValueError, match=r"^X must contain numbers\. Got values of dtype"):
            TFSOM(**SMALL).fit(TIMES[kind])


class TestRange:
    """Results beyond the range of float32 are errors, without a warning of NumPy."""

    LARGE = TFSOM(**SMALL).fit(X * 1e300)
    F = X.astype(np.float32)

    @pytest.mark.parametrize(
        "call",
        [
            lambda som, F: som.quantize(F),
            lambda som, F: som.score_samples(F),
            lambda som, F: som.bmus(F, return_distance=True),
            lambda som, F: som.impute(np.where(F == F.max(), np.float32(NAN), F)),
            lambda som, F: som.transform(F),
        ],
        ids=["quantize", "score_samples", "bmus", "impute", "transform"],
    )
    def test_map_beyond_float32(self, call):
        with pytest.raises(ValueError, match=r"^X contains values too large: .* range of float32"):
            call(self.LARGE, self.F)

    @pytest.mark.parametrize(
        "params", [{}, {"compute_topographic_error": True}, {"batch_size": 5}], ids=str
    )
    @pytest.mark.parametrize(("factor", "dtype"), [(3e38, np.float32), (8e307, np.float64)])
    @pytest.mark.parametrize("method", ["fit", "partial_fit"])
    def test_code_vectors_of_negative_weights(self, factor, dtype, method, params):
        data = (np.random.RandomState(0).uniform(-1, 1, (20, 3)) * factor).astype(dtype)
        params = {"max_iter": 4, "init": "random", "random_state": 0} | params
        som = TFSOM(3, **params, neighborhood="mexican_hat").fit(X)
        if method == "partial_fit":
            som = clone(som)
        before = dict(vars(som))
        with pytest.raises(ValueError, match="a neighborhood without negative weights"):
            getattr(som, method)(data)
        assert vars(som) == before
        gaussian = getattr(TFSOM(3, **params), method)(data)
        assert np.isfinite(gaussian.codebook_).all()

    def test_units_are_found(self):
        assert self.LARGE.predict(self.F).shape == (12,)
        som = TFSOM.from_codebook(self.LARGE.codebook_, grid_size=(2, 2), X=self.F)
        assert som.labels_.shape == (12,)

    def test_distances_to_equal_code_vectors(self):
        for scale in (1e-162, 1.0, 1e300):
            som = TFSOM(1).fit(X * scale)
            expected = np.linalg.norm(X - som.codebook_ / scale, axis=1)
            assert_allclose(som.transform(X * scale)[:, 0] / scale, expected)

    @pytest.mark.parametrize(
        "params",
        [
            {"radius_start": np.longdouble("1e400")},
            {"radius_end": np.longdouble("1e-400")},
            {"radius_end": Fraction(1, 10**400)},
            {"radius_decay": np.full(3, np.longdouble("1e400"))},
            {"tol": np.longdouble("1e400")},
            {"init": np.full((4, 3), np.longdouble("1e400"))},
            {"init": np.tile([[1.7e308], [-1.7e308]], (2, 3))},
        ],
        ids=str,
    )
    @pytest.mark.skipif(
        np.finfo(np.longdouble).max == np.finfo(np.float64).max, reason="longdouble is float64"
    )
    def test_parameters_beyond_float64(self, params):
        with pytest.raises(InvalidParameterError, match=f"^The '{next(iter(params))}' parameter"):
            TFSOM(**SMALL | params).fit(X)


@pytest.mark.skipif(
    np.finfo(np.longdouble).max == np.finfo(np.float64).max, reason="longdouble is float64"
)
class TestLongDoubles:
    """They are used as float64; beyond its range they are infinite."""

    @pytest.mark.parametrize("is_on_disk", [False, True])
    def test_samples(self, tmp_path, is_on_disk):
        for largest in ("1e200", "1e400"):
            data = np.where(np.eye(12, 3), np.longdouble(largest), X)
            np.save(tmp_path / "X.npy", data)
            given = np.load(tmp_path / "X.npy", mmap_mode="r") if is_on_disk else data
            if largest == "1e400":
                with pytest.raises(ValueError, match="Input X contains infinity"):
                    TFSOM(**SMALL).fit(given)
            else:
                expected = TFSOM(**SMALL).fit(data.astype(np.float64))
                assert_array_equal(TFSOM(**SMALL).fit(given).codebook_, expected.codebook_)

    def test_weights(self):
        weights = np.full(12, np.longdouble("1e400"))
        with pytest.raises(ValueError, match="Input sample_weight contains infinity"):
            TFSOM(**SMALL).fit(X, sample_weight=weights)


class TestBeforeAnyWork:
    """Sizes beyond the machine, and values that are no numbers, are refused at once by name."""

    @pytest.mark.parametrize(
        ("params", "fit_params", "match"),
        [
            ({"grid_size": (10**5, 10**5)}, {}, "makes 10,000,000,000 units, which need"),
            ({"grid_size": (1, 10**6)}, {}, "makes 1,000,000 units, which need"),
            (
                {"grid_size": 3000, "neighborhood": "bubble"},
                {},
                "makes 9,000,000 units, which need",
            ),
            ({"grid_size": 10**9}, {}, r"makes 1,000,000,000,000,000,000 units, which need"),
            ({"grid_size": 2**63}, {}, r"'grid_size' .* Got 9223372036854775808 instead"),
            ({"max_iter": 10**30}, {}, r"'max_iter' .* an int in the range \[1, 1000000\]"),
            ({"n_clusters": np.timedelta64(2, "D")}, {}, "'n_clusters' parameter"),
            ({"tol": np.timedelta64(2, "D")}, {}, "'tol' parameter of TFSOM must be a float"),
            ({"checkpoint_dir": ""}, {}, "'checkpoint_dir' parameter of TFSOM must be a path"),
            ({}, {"sample_weight": [10**400] * 150}, "sample_weight must not exceed"),
            ({}, {"sample_weight": 10**400}, "sample_weight must not exceed"),
        ],
        ids=[
            "units",
            "row",
            "bubble",
            "square",
            "side",
            "epochs",
            "clusters",
            "tol",
            "folder",
            "weights",
            "weight",
        ],
    )
    def test_sizes_and_kinds(self, params, fit_params, match):
        som = TFSOM(**params)
        before = dict(vars(som))
        with pytest.raises(ValueError, match=match):
            som.fit(load_iris().data, **fit_params)
        assert vars(som) == before

    def test_mean_distance_beyond_float64(self):
        setting = {"init": [[-1e308], [-1.1e308]], "max_iter": 2, "radius_decay": [1.0, 1.0]}
        with pytest.raises(ValueError, match="exceed the range of float64"):
            TFSOM((1, 2), **setting).fit([[1e308], [1.1e308]])

    def test_int_beyond_floats_in_samples(self):
        with pytest.raises(ValueError, match=r"^X must not exceed the range of float64\."):
            TFSOM(2).fit([[10**400, 1], [1, 2]])

    @pytest.mark.parametrize("weights", [{}, {1}, object(), iter([1])], ids=type)
    def test_weights_that_are_no_array(self, weights):
        with pytest.raises(TypeError, match=r"^sample_weight must be an array of numbers\."):
            TFSOM(2).fit(load_iris().data, sample_weight=weights)

    def test_weights_that_would_take_long(self):
        X = load_iris().data
        with pytest.raises(ValueError, match=r"sums to 1\.5e\+20, too much for partial_fit"):
            TFSOM(4).partial_fit(X, sample_weight=np.full(150, 1e18))
        with pytest.raises(ValueError, match="sums to 30000, too much to deal out samples"):
            TFSOM(3, batch_size=4, max_iter=2).fit(X[:5], sample_weight=np.full(5, 6e3))

    def test_a_type_in_place_of_samples(self):
        """An endless chain of bases: that of a dtype's type is itself."""
        with pytest.raises(TypeError, match="X must be"):
            TFSOM(4).fit(np.dtype("f4"))

    def test_return_distance(self):
        som = TFSOM(3, max_iter=2).fit(load_iris().data)
        with pytest.raises(InvalidParameterError, match=r"'return_distance' .* a bool"):
            som.bmus(load_iris().data, return_distance="no")


NO_NUMBERS_IN_ARRAYS = {
    "times": (np.arange(6).astype("datetime64[ns]"), "X must contain numbers.*datetime64"),
    "durations": (np.arange(6).astype("timedelta64[s]"), "X must contain numbers.*timedelta64"),
    "objects": (np.arange(6).astype("datetime64[s]").astype(object), "X must contain numbers"),
    "complex": (np.arange(6) + 1j, "Complex data not supported"),
}


@pytest.mark.parametrize("kind", NO_NUMBERS_IN_ARRAYS)
@pytest.mark.parametrize("nulls", [[], [None]])
def test_column_of_arrays_without_numbers(kind, nulls):
    """In the partitions of Ray and Spark, as by the methods of the map."""
    values, message = NO_NUMBERS_IN_ARRAYS[kind]
    X = values.reshape(3, 2)
    som = TFSOM.from_codebook(np.eye(2), grid_size=(2, 1))
    with pytest.raises(ValueError, match=message):
        som.predict(X)
    with pytest.raises(ValueError, match=message):
        column_of_results(pd.DataFrame({"v": [*X, *nulls]}), som, "predict")


def test_column_of_arrays_of_different_lengths():
    """In the partitions of Ray and Spark, as by the methods of the map."""
    rows = [[1.0, 2.0], [1.0, 2.0, 3.0]]
    som = TFSOM.from_codebook(np.eye(2), grid_size=(2, 1))
    for data in (rows, list(map(np.array, rows))):
        for call in (
            som.predict,
            lambda X: column_of_results(pd.DataFrame({"v": X}), som, "predict"),
        ):
            with pytest.raises(ValueError, match=r"^X must have rows of equal lengths"):
                call(data)


@pytest.mark.parametrize("place", [0, 1])
def test_null_in_a_column_of_arrays_is_a_sample_without_values(place):
    """In the partitions of Ray and Spark."""
    rows = [np.array([1.0, 2.0]), np.array([0.0, 3.0])]
    rows.insert(place, None)
    som = TFSOM.from_codebook(np.eye(2), grid_size=(2, 1))
    for data in (rows, [None if row is None else row.tolist() for row in rows]):
        with pytest.raises(ValueError, match=rf"^Sample {place} of X is missing"):
            column_of_results(pd.DataFrame({"v": data}), som, "predict")
    with pytest.raises(ValueError, match=r"^Sample 0 of X is missing"):
        column_of_results(pd.DataFrame({"v": [None, None]}), som, "predict")

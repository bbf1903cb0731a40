"""Wrong arguments of any kind are refused by name, before any work, and change nothing."""

import copy
import pickle
import re
from contextlib import nullcontext
from decimal import Decimal
from fractions import Fraction
from numbers import Integral

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import get_results, get_state, only_convergence_warnings
from strategies import cauchy, either

from sklearn_tfsom import TFSOM, InvalidParameterError
from sklearn_tfsom._parameters import RULES

X = np.random.RandomState(0).normal(size=(14, 3))
SMALL = {"grid_size": (2, 3), "max_iter": 3, "n_clusters": 2}
FITTED = TFSOM(**SMALL).fit(X)
FITTED_RESULTS = get_results(FITTED)
METHODS = ("predict", "transform", "score", "score_samples", "bmus", "quantize", "impute")


def make_map(is_fitted, **params):
    som = copy.deepcopy(FITTED) if is_fitted else TFSOM(**SMALL)
    return som.set_params(**params)


def check_usable(som):
    """Check that a map fits as if nothing had happened."""
    som.set_params(**TFSOM(**SMALL).get_params())
    assert get_results(som.fit(X)) == FITTED_RESULTS


# Parameters

# No numbers that are valid and take long.
integers = st.integers(-3, 5) | st.integers(10**9, 2**80) | st.integers(-(2**80), -(10**9))
numbers = integers | st.floats() | st.complex_numbers(max_magnitude=10) | st.fractions()
ARRAY_TYPES = ["f8", "f4", "i4", "?", "c16", "U2", "O", "M8[s]", "m8[s]"]


def make_array(shape, dtype, fill):
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    if array.size and array.dtype.kind == "f":
        array.flat[0] = fill
    return array


arrays = st.builds(
    make_array,
    st.lists(st.integers(0, 6), max_size=3).map(tuple),
    st.sampled_from(ARRAY_TYPES),
    st.sampled_from([0.0, -1.0, 2.0, np.nan, np.inf]),
)


def returns_nan(squared_distances, radius):
    return np.full(squared_distances.shape, np.nan)


def returns_text(squared_distances, radius):
    return "text"


def returns_part(squared_distances, radius):
    return squared_distances[:1]


oddities = st.sampled_from(
    [
        pd.NA,
        pd.NaT,
        Decimal("1.5"),
        Decimal("NaN"),
        Fraction(1, 3),
        Ellipsis,
        NotImplemented,
        np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0]),
        np.ma.masked,
        np.datetime64("2020-01-01"),
        np.timedelta64(3, "D"),
        np.float32("nan"),
        np.int64(-1),
        np.uint64(2**63),
        np.str_("auto"),
        np.void(b"abc"),
        range(3),
        range(0),
        frozenset({1, 2}),
        slice(2),
        int,
        TFSOM,
        returns_nan,
        returns_text,
        returns_part,
        cauchy,
        scipy.sparse.csr_array(np.eye(3)),
        pd.Series([2.0, 1.0, 0.5]),
        pd.DataFrame(np.eye(6, 3)),
    ]
)
texts = st.text(max_size=6) | either("auto", "pca", "gaussian", "euclidean", "distances", "")
values = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    st.binary(max_size=4),
    texts,
    st.lists(numbers, max_size=4),
    st.lists(st.lists(st.floats(-10, 10), min_size=3, max_size=3), min_size=6, max_size=6),
    st.tuples(integers, integers),
    st.tuples(numbers, numbers),
    st.dictionaries(st.integers(), st.integers(), max_size=2),
    arrays,
    oddities,
)


class Untouchable:
    """Samples that must not be looked at."""

    def __array__(self, *args, **kwargs):
        raise AssertionError("samples were read before parameters were checked")

    shape = property(__array__)


@given(name=st.sampled_from(sorted(RULES)), value=values, is_fitted=st.booleans())
def test_any_value_of_a_parameter_is_valid_or_refused(name, value, is_fitted):
    is_text = isinstance(value, str)
    assume(not (name == "checkpoint_dir" and is_text and value))  # it would be created
    som = make_map(is_fitted, **{name: value})
    is_valid = any(rule.accepts(value) for rule in RULES[name])
    before = get_state(som)
    message = f"^The '{name}' parameter of TFSOM must be .* Got .* instead"
    if not is_valid:
        for method in (som.fit, som.partial_fit):
            with pytest.raises(InvalidParameterError, match=message) as caught:
                method(Untouchable())
            assert len(str(caught.value)) < 600
            assert len(str(caught.value).splitlines()) == 1
            assert get_state(som) == before
    else:
        try:
            with only_convergence_warnings():
                som.fit(X)
        except (ValueError, TypeError) as error:
            # It does not fit the others, or is a function with other arguments.
            is_foreign_function = callable(value) and isinstance(error, TypeError)
            named = rf"\b{name}\b|^The '\w+' parameter of TFSOM must be"
            assert is_foreign_function or re.search(named, str(error)), error
            assert get_state(som) == before
    check_usable(som)


def is_integer(value):
    return isinstance(value, Integral) and not isinstance(value, bool | np.bool_ | np.timedelta64)


ARGUMENTS = [("bmus", "n_bmus"), ("bmus", "return_distance"), ("impute", "method")]


@given(where=st.sampled_from(ARGUMENTS), value=values)
def test_any_value_of_an_argument_is_valid_or_refused(where, value):
    method, argument = where
    message = f"^The '{argument}' parameter of TFSOM must be .* Got .* instead"
    before = get_state(FITTED)
    is_valid = {
        "n_bmus": is_integer(value) and 1 <= value <= len(FITTED.codebook_),
        "return_distance": isinstance(value, bool | np.bool_),
        "method": isinstance(value, str) and value in ("expectation", "unit"),
    }[argument]
    expected = nullcontext() if is_valid else pytest.raises(InvalidParameterError, match=message)
    with expected:
        getattr(FITTED, method)(X, **{argument: value})
    assert get_state(FITTED) == before


@given(value=values, grid_size=values)
def test_any_codebook_is_valid_or_refused(value, grid_size):
    for codebook, size in ((value, (2, 3)), (np.ones((6, 3)), grid_size), (value, grid_size)):
        try:
            som = TFSOM.from_codebook(codebook, grid_size=size)
        except (ValueError, TypeError) as error:
            assert re.search("'(codebook|grid_size)' parameter of TFSOM", str(error)), error
        else:
            assert np.isfinite(som.codebook_).all()


# Samples

NAN, INF = np.nan, np.inf


def with_value(value, row=2, column=1):
    changed = X.copy()
    changed[row, column] = value
    return changed


def with_row(value):
    changed = X.copy()
    changed[3] = value
    return changed


def with_object(value):
    changed = X.astype(object)
    changed[2, 1] = value
    return changed


# What scikit-learn says of data, which it calls array.
OF_SCIKIT_LEARN = (
    "Expected 2D (array|input)|Expected a 2-dimensional|Found array with|could not convert|"
    "Complex data not supported|inhomogeneous|must be real number|dtype='(numeric|bytes|str)|"
    "float\\(\\) argument|setting an array element"
)
OF_X = rf"\bX\b|{OF_SCIKIT_LEARN}"
WRONG_SAMPLES = {
    "missing sample": with_row(NAN),
    "infinity": with_value(INF),
    "minus infinity": with_value(-INF).astype(np.float32),
    "1-d": X[0],
    "3-d": X[None],
    "0-d": np.array(1.0),
    "number": 3.0,
    "no samples": X[:0],
    "no features": X[:, :0],
    "empty list": [],
    "list of empty lists": [[], []],
    "text": "text",
    "list of texts": ["a", "b"],
    "texts": X.astype(str).astype(object) + "a",
    "text dtype": np.full((14, 3), "a"),
    "bytes": np.full((14, 3), b"a"),
    "one text": with_object("text"),
    "a list among objects": with_object([1, 2]),
    "an object": with_object(object()),
    "a dict among objects": with_object({}),
    "a huge int": [[10**400, 1, 2]] * 14,
    "a complex number": with_object(1j),
    "complex": X + 1j,
    "ragged": [[1.0, 2.0, 3.0], [1.0]],
    "None": None,
    "dict": {"a": [1, 2]},
    "set": {1.0, 2.0},
    "type": float,
    "function": cauchy,
    "dates": np.full((14, 3), np.datetime64("2020-01-01")),
    "structured": np.zeros(14, [("a", "f8"), ("b", "f8"), ("c", "f8")]),
    "frame of texts": pd.DataFrame({"a": ["x"] * 14, "b": 1.0, "c": 2.0}),
    "series": pd.Series(X[:, 0]),
    "sparse missing": scipy.sparse.csr_array(with_value(NAN)),
    "sparse infinity": scipy.sparse.csc_matrix(with_value(INF)),
    "sparse 1-d": scipy.sparse.coo_array(X[0]),
    "sparse complex": scipy.sparse.csr_array(X + 1j),
    "sparse, no samples": scipy.sparse.csr_array((0, 3)),
    "all masked": np.ma.masked_all((14, 3)),
    "two features": X[:, :2],
    "four features": X[:, [0, 1, 2, 0]],
}
ONLY_OF_FIT = {
    "missing feature": np.where(np.arange(3) == 1, NAN, X),
    "differences overflow": np.where(np.arange(14)[:, None] % 2, 1.7e308, -1.7e308) + 0 * X,
}
OTHER_FEATURES = ("two features", "four features")


@pytest.mark.filterwarnings("ignore:X has feature names")
@given(
    name=st.sampled_from([*WRONG_SAMPLES, *ONLY_OF_FIT]),
    method=st.sampled_from(["fit", "partial_fit", *METHODS]),
    is_fitted=st.booleans(),
)
def test_wrong_samples(name, method, is_fitted):
    is_new = method == "fit" or (method == "partial_fit" and not is_fitted)
    assume(is_new if name in ONLY_OF_FIT else not (is_new and name in OTHER_FEATURES))
    som = make_map(is_fitted or method in METHODS)
    before, data = get_state(som), (WRONG_SAMPLES | ONLY_OF_FIT)[name]
    with pytest.raises((ValueError, TypeError), match=OF_X):
        getattr(som, method)(data)
    assert get_state(som) == before
    check_usable(som)


# Weights

OF_WEIGHTS = rf"sample_weight|{OF_SCIKIT_LEARN}"
WRONG_WEIGHTS = {
    "too few": np.ones(13),
    "too many": np.ones(15),
    "column": np.ones((14, 1)),
    "none": [],
    "negative": with_value(-1.0)[:, 1],
    "NaN": with_value(NAN)[:, 1] ** 2,
    "infinity": with_value(INF)[:, 1] ** 2,
    "zeros": np.zeros(14),
    "zero": 0,
    "NaN for all": NAN,
    "texts": ["a"] * 14,
    "text": "text",
    "objects": np.full(14, object()),
    "complex": np.ones(14) + 1j,
    "dict": {"a": 1},
    "a huge int": [10**400] * 14,
    "overflow": np.full(14, 1e308),
    "None among them": [None] * 14,
    "ragged": [[1], [1, 2]] * 7,
    "masked": np.ma.masked_all(14),
    "dates": np.full(14, np.datetime64("2020-01-01")),
    "sparse": scipy.sparse.csr_array(np.ones((14, 1))),
}


@given(
    name=st.sampled_from(sorted(WRONG_WEIGHTS)),
    method=st.sampled_from(["fit", "partial_fit", "score"]),
    is_fitted=st.booleans(),
)
def test_wrong_weights(name, method, is_fitted):
    # Of no weight, a piece of a stream changes nothing.
    assume(not (method == "partial_fit" and is_fitted and name in ("zero", "zeros")))
    som = make_map(is_fitted or method == "score")
    before = get_state(som)
    with pytest.raises((ValueError, TypeError), match=OF_WEIGHTS):
        getattr(som, method)(X, sample_weight=WRONG_WEIGHTS[name])
    assert get_state(som) == before
    check_usable(som)


@given(junk=values)
def test_any_object_as_samples_or_weights(junk):
    """Any object is valid, or raises a ValueError or TypeError and changes nothing."""
    try:
        pickle.dumps(junk)
    except Exception:
        assume(False)
    for arguments in ({"X": junk}, {"X": X, "sample_weight": junk}):
        for method in ("fit", "partial_fit", "score"):
            som = make_map(True)
            before = get_state(som)
            try:
                with only_convergence_warnings():
                    getattr(som, method)(**arguments)
            except (ValueError, TypeError):
                assert get_state(som) == before

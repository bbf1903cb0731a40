"""Maps that earlier versions have saved; `data/save_maps.py` says how."""

import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sklearn_tfsom import TFSOM

SAVED = sorted((Path(__file__).resolve().parent / "data").glob("*/*.npz"))
KINDS = {"clusters", "directions", "float32", "stream"}


def by_pickle(path):
    return pickle.loads(path.with_suffix(".pickle").read_bytes())


def by_joblib(path):
    return joblib.load(path.with_suffix(".joblib"))


def by_skops(path):
    return skops.io.load(path.with_suffix(".skops"), trusted=["sklearn_tfsom._som.TFSOM"])


def test_all_kinds_of_the_first_version_are_at_hand():
    assert {path.stem for path in SAVED if path.parent.name == "0.1.0"} == KINDS


@pytest.mark.parametrize("load", [by_pickle, by_joblib, by_skops])
@pytest.mark.parametrize("path", SAVED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_saved_map_answers_as_it_did(path, load):
    som = load(path)
    with np.load(path) as said:
        X = said["X"]
        tolerance = 1e-5 if X.dtype == np.float32 else 1e-10
        assert_array_equal(som.predict(X), said["predict"])
        assert_array_equal(som.bmus(X, 2), said["bmus"])
        assert_array_equal(som.quantize(X), said["quantize"])
        for method in ("transform", "score_samples"):
            answer = getattr(som, method)(X)
            assert answer.dtype == said[method].dtype
            assert_allclose(answer, said[method], rtol=tolerance, atol=tolerance)
        bmus = said["bmus"][:, 0]
    assert_array_equal(np.asarray(som.to_keras()(X)["bmu"]), bmus)
    assert type(som) is TFSOM
    again = clone(som).fit(X)
    assert again.codebook_.shape == som.codebook_.shape


def test_parameters_that_a_saved_map_did_not_have_are_at_their_defaults(blobs):
    som = TFSOM((4, 3), max_iter=3, metric="manhattan").fit(blobs)
    state = dict(som.__getstate__())
    del state["coarse_to_fine"], state["features"]
    older = TFSOM.__new__(TFSOM)
    older.__setstate__(state)
    assert older.get_params() == som.get_params()
    assert_array_equal(older.transform(blobs), som.transform(blobs))

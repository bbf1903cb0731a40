"""Maps saved by earlier versions with `data/save_maps.py`."""

import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sklearn_tfsom import TFSOM

SAVED = sorted((Path(__file__).resolve().parent / "data").glob("[0-9]*/*.npz"))
KINDS = {"clusters", "directions", "float32", "stream"}


def load_pickle(path):
    return pickle.loads(path.with_suffix(".pickle").read_bytes())


def load_joblib(path):
    return joblib.load(path.with_suffix(".joblib"))


def load_skops(path):
    return skops.io.load(path.with_suffix(".skops"), trusted=["sklearn_tfsom._som.TFSOM"])


def test_saved_maps_of_the_first_version_are_complete():
    assert {path.stem for path in SAVED if path.parent.name == "0.1.0"} == KINDS


@pytest.mark.parametrize("load", [load_pickle, load_joblib, load_skops])
@pytest.mark.parametrize("path", SAVED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_saved_map_gives_the_saved_results(path, load):
    som = load(path)
    with np.load(path) as saved:
        X = saved["X"]
        tolerance = 1e-5 if X.dtype == np.float32 else 1e-10
        assert_array_equal(som.predict(X), saved["predict"])
        assert_array_equal(som.bmus(X, 2), saved["bmus"])
        assert_array_equal(som.quantize(X), saved["quantize"])
        for method in ("transform", "score_samples"):
            result = getattr(som, method)(X)
            assert result.dtype == saved[method].dtype
            assert_allclose(result, saved[method], rtol=tolerance, atol=tolerance)
        bmus = saved["bmus"][:, 0]
    assert_array_equal(np.asarray(som.to_keras()(X)["bmu"]), bmus)
    assert type(som) is TFSOM
    refitted = clone(som).fit(X)
    assert refitted.codebook_.shape == som.codebook_.shape
    assert vars(refitted).keys() <= vars(som).keys()


def test_new_parameters_of_a_saved_map_have_their_defaults(blobs):
    som = TFSOM((4, 3), max_iter=3, metric="manhattan", anomaly_score="distance").fit(blobs)
    state = dict(som.__getstate__())
    del state["coarse_to_fine"], state["features"], state["anomaly_score"]
    older = TFSOM.__new__(TFSOM)
    older.__setstate__(state)
    assert older.get_params() == som.get_params()
    assert_array_equal(older.transform(blobs), som.transform(blobs))

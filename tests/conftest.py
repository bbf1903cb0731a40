"""Fixtures and reference data of the tests."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"


def pytest_make_parametrize_id(val):
    """Return the id of a dict of parameters without addresses: the same in all processes."""
    return re.sub(r" at 0x\w+", "", str(val)) if isinstance(val, dict) else None


@pytest.fixture(scope="session")
def iris():
    return load_iris().data


@pytest.fixture(scope="session")
def blobs():
    """Three blobs of 60, 40 and 20 samples in four dimensions."""
    rng = np.random.RandomState(7)
    centers = np.repeat([[0.0, 0, 0, 0], [4, 1, 0, 2], [1, 5, 3, 0]], [60, 40, 20], axis=0)
    return centers + rng.normal(size=centers.shape)


def toolbox_cases():
    """Return the cases of SOM Toolbox; empty without the reference data."""
    if not REFERENCE.is_dir():
        return []
    return json.loads((REFERENCE / "toolbox_defaults.json").read_text())


def toolbox_data(name):
    """Return the samples of a Toolbox case, preprocessed as its name says."""
    loaders = {
        "iris": load_iris,
        "wine": load_wine,
        "breast_cancer": load_breast_cancer,
        "digits": load_digits,
    }
    if name == "img_china_sub":
        pytest.importorskip("PIL")
        from sklearn.datasets import load_sample_image

        return load_sample_image("china.jpg").reshape(-1, 3)[::40] / 255
    stem, preprocessing = name.replace("_nan", "").rsplit("_", 1)
    stem, is_log = stem.removesuffix("_log"), stem.endswith("_log")
    if stem.startswith("sk_"):
        X = loaders[stem.removeprefix("sk_")]().data
    else:
        (path,) = (REFERENCE / "data").glob(f"{stem}*.npz")
        X = np.load(path)["X"]
    X = np.asarray(X, dtype=np.float64)
    if is_log:
        X = np.log1p(X)
    if preprocessing == "var":
        deviation = np.nanstd(X, axis=0, ddof=1)
        X = (X - np.nanmean(X, axis=0)) / np.where(deviation == 0, 1, deviation)
    return X

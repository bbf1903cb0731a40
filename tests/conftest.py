"""Fixtures and reference data of the tests."""

import gc
import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

# Helpers hold no examples: searching them for doctests would import TensorFlow, Ray and Spark in
# every process. A file that is named on the command line is collected all the same.
collect_ignore_glob = ["data/*", "[!t]*.py", "threads.py"]

# Results of SOM Toolbox; the README there names their source.
REFERENCE = Path(__file__).resolve().parent / "data" / "som_toolbox"


def pytest_collection_finish():
    """Collect garbage less often, and not among modules and tests: it takes half the time."""
    gc.freeze()
    gc.set_threshold(4000)


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


def toolbox_measures():
    """Return size, radii and measures of the maps of SOM Toolbox, one dict for each case."""
    return json.loads((REFERENCE / "cases.json").read_text())


def toolbox_cases():
    """Return the measures of the cases whose codebook is in `toolbox_<case>.npz`."""
    names = ("sk_iris_var", "sk_wine_var")
    return [case for case in toolbox_measures() if case["case"] in names]


def toolbox_data(name):
    """Return the samples of a case, preprocessed as its name says."""
    loaders = {
        "sk_iris": load_iris,
        "sk_wine": load_wine,
        "sk_breast_cancer": load_breast_cancer,
        "sk_digits": load_digits,
    }
    stem, preprocessing = name.rsplit("_", 1)
    X = loaders[stem]().data
    if preprocessing == "raw":
        return X
    deviation = X.std(axis=0, ddof=1)
    return (X - X.mean(axis=0)) / np.where(deviation == 0, 1, deviation)

"""Fits with checkpoints, and ways to damage these; for `faults.py`."""

import io
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from interruptions import stop_after
from scipy.sparse import csr_array

from sklearn_tfsom import TFSOM

N_EPOCHS = 5


def make_samples():
    rng = np.random.RandomState(0)
    return rng.normal(size=(1500, 12)) * np.linspace(3, 0.5, 12)


def remove_some(X):
    return np.where(np.random.RandomState(1).uniform(size=X.shape) < 0.1, np.nan, X)


WEIGHTS = np.random.RandomState(2).choice([0.0, 1.0, 2.5], size=1500)
# name: (parameters, function that makes samples of others, weights)
CASES = {
    "dense": ({}, lambda X: X, None),
    "float32": ({}, lambda X: X.astype(np.float32), WEIGHTS),
    "sparse": ({}, lambda X: csr_array(np.maximum(X - 1, 0)), None),
    "missing": ({}, remove_some, WEIGHTS),
    "mini-batches": ({"batch_size": 200}, lambda X: X, None),
    "manhattan": ({"metric": "manhattan"}, lambda X: X, None),
    "cosine": ({"metric": "cosine"}, lambda X: X, WEIGHTS),
    "topographic error": ({"compute_topographic_error": True}, lambda X: X, None),
}


@cache
def make_case(name):
    """Return parameters, samples and weights of a fit."""
    params, convert, weights = CASES[name]
    own = {"grid_size": (9, 8), "max_iter": N_EPOCHS, "tol": 0} | params
    return own, convert(make_samples()), weights


def fit_until(name, folder, after, **params):
    """Fit until some checkpoints are written; return the map and the file."""
    own, X, weights = make_case(name)
    som = TFSOM(**own | {"checkpoint_dir": folder} | params)
    stop_after(after, som, X, weights)
    (path,) = Path(folder).iterdir()
    return som, path


# Damage: functions of the path, the name of the fit and a random generator to new content.


def edit(function):
    """Return damage by a function that changes the arrays of a file."""

    def damage(path, name, rng):
        with np.load(path) as file:
            arrays = {key: file[key] for key in file.files}
        changed = function(arrays, rng)
        content = io.BytesIO()
        np.savez(content, **(arrays if changed is None else changed))
        return content.getvalue()

    return damage


def set_one(key, value):
    """Return damage that sets one number of an array."""

    def change(arrays, rng):
        array = arrays[key] = arrays[key].copy()
        array.flat[rng.integers(array.size)] = value

    return edit(change)


def replace_array(key, function):
    """Return damage that replaces an array by a function of it."""

    def change(arrays, rng):
        arrays[key] = function(arrays[key])

    return edit(change)


def replace_all(function):
    """Return damage that replaces all arrays."""
    return edit(lambda arrays, rng: {key: function(value) for key, value in arrays.items()})


def drop(arrays, key):
    return {name: value for name, value in arrays.items() if name != key}


def shorten_histories(arrays, rng):
    for key in arrays:
        if key.startswith("history"):
            arrays[key] = arrays[key][:0]


def lengthen_histories(arrays, rng):
    for key in arrays:
        if key.startswith("history"):
            arrays[key] = np.repeat(arrays[key], 100)


def truncate(path, name, rng):
    content = path.read_bytes()
    return content[: rng.integers(len(content))]


def flip_bit(path, name, rng):
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    return bytes(content)


def of_other_fit(**params):
    """Return the checkpoint of a fit with other parameters in place of this one's."""

    def damage(path, name, rng):
        with tempfile.TemporaryDirectory() as folder:
            _, other = fit_until(name, folder, 2, **params)
            return other.read_bytes()

    return damage


def of_other_case(other):
    """Return the checkpoint of a fit of other samples; of the first ones for themselves."""

    def damage(path, name, rng):
        with tempfile.TemporaryDirectory() as folder:
            _, found = fit_until("dense" if name == other else other, folder, 2)
            return found.read_bytes()

    return damage


DAMAGE = {
    "empty": lambda path, name, rng: b"",
    "text": lambda path, name, rng: b"no archive",
    "truncated": truncate,
    "one bit flipped": flip_bit,
    "NaN in the codebook": set_one("state_codebook", np.nan),
    "infinity in the codebook": set_one("state_codebook", np.inf),
    "NaN in the sums": set_one("state_sums", np.nan),
    "NaN in the counts": set_one("state_counts", np.nan),
    "negative count": set_one("state_counts", -1.0),
    "NaN in the errors": set_one("history_quantization_error", np.nan),
    "negative error": set_one("history_quantization_error", -1.0),
    "NaN in the radii": set_one("history_radius", np.nan),
    "other radius": set_one("history_radius", 77.0),
    "empty history": edit(shorten_histories),
    "history of more epochs": edit(lengthen_histories),
    "histories of different length": replace_array("history_radius", lambda x: np.append(x, 1)),
    "two-dimensional history": replace_array("history_radius", lambda x: x[:, None]),
    "other grid": replace_array("state_codebook", lambda x: x[:-1]),
    "other features": replace_array("state_codebook", lambda x: x[..., :-1]),
    "flat codebook": replace_array("state_codebook", lambda x: x.reshape(-1, x.shape[-1])),
    "sums of other units": replace_array("state_sums", lambda x: x[:-1]),
    "counts of other features": replace_array("state_counts", lambda x: np.tile(x, 2)),
    "0-d codebook": replace_array("state_codebook", lambda x: x.flat[0]),
    "0-d counts": replace_array("state_counts", lambda x: x.flat[0]),
    "0-d arrays": replace_all(lambda x: x.flat[0]),
    "texts": replace_array("state_codebook", lambda x: x.astype("U8")),
    "complex numbers": replace_array("state_codebook", lambda x: x + 1j),
    "booleans": replace_array("state_counts", lambda x: x > 0),
    "objects": replace_array("state_sums", lambda x: x.astype(object)),
    "no sums": edit(lambda arrays, rng: drop(arrays, "state_sums")),
    "no history": edit(lambda arrays, rng: drop(arrays, "history_radius")),
    "further array": edit(lambda arrays, rng: arrays.update(further=np.zeros(3))),
    "of mini-batches": of_other_fit(batch_size=300),
    "of another number of units": of_other_fit(grid_size=(8, 8)),
    "of the same number of units": of_other_fit(grid_size=(8, 9)),
    "of another radius": of_other_fit(radius_end=0.7),
    "of another start": of_other_fit(init="random", random_state=0),
    "of missing values": of_other_case("missing"),
    "of sparse samples": of_other_case("sparse"),
}
# Nothing is wrong with such a file if the fit goes on to the right bits.
ACCEPTED_OR_REFUSED = ("one bit flipped", "further array")

"""Save fitted maps and their results on some samples, for later versions to load.

``python tests/data/save_maps.py`` writes a folder named after the version, next to this file.
The folder of a released version must not be changed.
"""

import pickle
from pathlib import Path

import joblib
import numpy as np
import skops.io

import sklearn_tfsom
from sklearn_tfsom import TFSOM

HERE = Path(__file__).resolve().parent


def make_samples():
    rng = np.random.RandomState(0)
    centers = rng.normal(size=(3, 4)) * 3
    return centers[rng.randint(3, size=90)] + rng.normal(size=(90, 4))


def make_maps(X):
    """Return a fitted map and its samples for each kind of stored state."""
    is_missing = np.random.RandomState(1).uniform(size=X.shape) < 0.1
    incomplete = np.where(is_missing, np.nan, X)
    short = {"max_iter": 5, "tol": 0}
    stream = TFSOM((4, 4), features="activations")
    for rows in (slice(0, 40), slice(40, 90)):
        stream.partial_fit(X[rows])
    return {
        "clusters": (TFSOM((4, 3), n_clusters=3, **short).fit(incomplete), incomplete),
        "directions": (TFSOM((3, 3), metric="correlation", **short).fit(X), X),
        "float32": (
            TFSOM((4, 4), lattice="rectangular", boundary="toroidal", features="coordinates")
            .set_params(metric="manhattan", neighborhood="bubble", init="sample", random_state=0)
            .fit(X.astype(np.float32)),
            X.astype(np.float32),
        ),
        "stream": (stream, X),
    }


def main():
    folder = HERE / sklearn_tfsom.__version__
    folder.mkdir(exist_ok=True)
    for name, (som, X) in make_maps(make_samples()).items():
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(som, protocol=4))
        joblib.dump(som, folder / f"{name}.joblib")
        skops.io.dump(som, folder / f"{name}.skops")
        np.savez(
            folder / f"{name}.npz",
            X=X,
            predict=som.predict(X),
            transform=som.transform(X),
            bmus=som.bmus(X, 2),
            quantize=som.quantize(X),
            score_samples=som.score_samples(X),
        )


if __name__ == "__main__":
    main()

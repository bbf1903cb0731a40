"""Clusters: those of the map against those of scikit-learn's methods, adjusted Rand index."""

import warnings
from pathlib import Path

import numpy as np
from common import is_short, save, warm_seconds_of
from sklearn.cluster import HDBSCAN, AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_blobs,
    make_circles,
    make_moons,
)
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"
SEEDS = (0, 1, 2)

METHODS = {
    "TFSOM": lambda k, seed: TFSOM(n_clusters=k),
    "KMeans": lambda k, seed: KMeans(k, n_init=10, random_state=seed),
    "Ward": lambda k, seed: AgglomerativeClustering(k),
    "SpectralClustering": lambda k, seed: SpectralClustering(
        k, affinity="nearest_neighbors", random_state=seed
    ),
    "HDBSCAN": lambda k, seed: HDBSCAN(copy=True),
}


# Generated sets: functions of a random number generator. Those with a name of their own follow
# the published geometry of the Fundamental Clustering Problems Suite (Ultsch, 2005).


def anisotropic(rng):
    """Three blobs, all sheared alike."""
    X, y = make_blobs(900, centers=3, random_state=rng)
    return X @ [[0.6, -0.6], [-0.4, 0.8]], y


def unequal_variance(rng):
    """Three blobs, one five times as wide as another."""
    return make_blobs(900, centers=3, cluster_std=[1, 2.5, 0.5], random_state=rng)


def unequal_sizes(rng):
    """Four blobs at the corners of a square, of 600 to 20 samples."""
    corners = [[0, 0], [6, 0], [0, 6], [6, 6]]
    return make_blobs([600, 100, 40, 20], centers=corners, random_state=rng)


def moons(rng):
    """Two half circles that clasp each other."""
    return make_moons(1000, noise=0.07, random_state=rng)


def circles(rng):
    """One circle inside another of twice its radius."""
    return make_circles(1000, noise=0.05, factor=0.5, random_state=rng)


def chainlink(rng):
    """Two rings of 500 samples in space, linked like those of a chain."""
    angles = rng.uniform(0, 2 * np.pi, (2, 500))
    radii = rng.uniform(0.9, 1.1, (2, 500))
    across, along = radii * np.cos(angles), radii * np.sin(angles)
    off = rng.uniform(-0.1, 0.1, (2, 500))
    lying = np.stack([across[0], along[0], off[0]], axis=1)
    standing = np.stack([across[1] + 1, off[1], along[1]], axis=1)
    return np.concatenate([lying, standing]), np.repeat([0, 1], 500)


def atom(rng):
    """Dense core of 400 samples in the middle of a hollow sphere of 400."""
    directions = rng.normal(size=(800, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    least, most = np.repeat([0, 45], 400), np.repeat([10, 50], 400)
    radii = np.cbrt(rng.uniform(least**3, most**3))
    return directions * radii[:, None], np.repeat([0, 1], 400)


def wingnut(rng):
    """Two plates of 508 samples side by side, each denser toward one of its corners.

    Each is an even grid and samples drawn toward the corner, where it is next to the thin corner
    of the other one, which is the same turned by half a turn.
    """
    across, up = np.meshgrid(0.15 + 0.25 * np.arange(9), 0.25 * np.arange(13))
    even = np.stack([across.ravel(), up.ravel()], axis=1)
    drawn = [0.15, 0] + [2, 3] * (1 - np.sqrt(rng.random((508 - len(even), 2))))
    plate = np.concatenate([even, drawn])
    return np.concatenate([plate, [0, 3] - plate]), np.repeat([0, 1], 508)


GENERATED = {
    "blobs, anisotropic": anisotropic,
    "blobs, unequal variance": unequal_variance,
    "blobs, unequal sizes": unequal_sizes,
    "moons": moons,
    "circles": circles,
    "Chainlink": chainlink,
    "Atom": atom,
    "WingNut": wingnut,
}
LOADED = {
    "iris": load_iris,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
}
REFERENCE_SETS = {
    "Hepta": "fcps_hepta",
    "Tetra": "fcps_tetra",
    "Lsun3D": "fcps_lsun3d",
    "Target": "fcps_target",
    "EngyTime": "fcps_engytime",
    "seeds": "seeds",
}


def samples(name, seed):
    """Make or load a set, standardized, but for digits."""
    if name in GENERATED:
        X, y = GENERATED[name](np.random.RandomState(seed))
    elif name in LOADED:
        X, y = LOADED[name](return_X_y=True)
    else:
        stored = np.load(REFERENCE / "data" / f"{REFERENCE_SETS[name]}.npz")
        X, y = stored["X"], stored["y"]
    return (X if name == "digits" else StandardScaler().fit_transform(X)), y


def compare(name, seeds):
    """Compare all methods on one set: means over seeds where it is generated."""
    scores = {method: [] for method in METHODS}
    found, auto_scores, found_by_hdbscan, seconds = [], [], [], []
    for seed in seeds if name in GENERATED else seeds[:1]:
        X, y = samples(name, seed)
        n_classes = len(np.unique(y))
        for method, make in METHODS.items():
            model = make(n_classes, seed)
            labels = model.fit_predict(X)
            scores[method].append(adjusted_rand_score(y, labels))
            if method == "TFSOM":
                seconds.append(warm_seconds_of(lambda model=model, X=X: model.fit(X)))
            if method == "HDBSCAN":
                found_by_hdbscan.append(labels.max() + 1)
        labels = TFSOM(n_clusters="auto").fit_predict(X)
        auto_scores.append(adjusted_rand_score(y, labels))
        found.append(len(np.unique(labels)))
    return {
        "data": f"{name} ({X.shape[0]} x {X.shape[1]})",
        **{method: float(np.mean(values)) for method, values in scores.items()},
        "clusters": n_classes,
        "auto finds": ", ".join(map(str, found)),
        "TFSOM, auto": float(np.mean(auto_scores)),
        "HDBSCAN finds": ", ".join(map(str, found_by_hdbscan)),
        "seconds, TFSOM": float(np.mean(seconds)),
    }


def summary(rows):
    """Average over the sets, and count how often the number found is the true one."""

    def mean(column):
        return float(np.mean([row[column] for row in rows]))

    def n_right(column):
        pairs = [
            found == str(row["clusters"]) for row in rows for found in row[column].split(", ")
        ]
        return f"{sum(pairs)} of {len(pairs)} right"

    return {
        "data": f"mean of {len(rows)} sets",
        **{method: mean(method) for method in METHODS},
        "clusters": "",
        "auto finds": n_right("auto finds"),
        "TFSOM, auto": mean("TFSOM, auto"),
        "HDBSCAN finds": n_right("HDBSCAN finds"),
        "seconds, TFSOM": mean("seconds, TFSOM"),
    }


def main():
    """Run all sets; in the short set with one seed for those that are generated."""
    # Spectral clustering warns of neighbor graphs that fall apart, which is what it is to find.
    warnings.filterwarnings("ignore", "Graph is not fully connected", UserWarning)
    seeds = SEEDS[:1] if is_short(__doc__) else SEEDS
    has_reference = (REFERENCE / "data").is_dir()
    names = [*LOADED, *GENERATED, *(REFERENCE_SETS if has_reference else [])]
    rows = [compare(name, seeds) for name in names]
    left_out = f"{', '.join(REFERENCE_SETS)} are left out: their data are not there."
    save(
        "clustering",
        "Clusters: adjusted Rand index with the true number of clusters",
        {"": [*rows, summary(rows)]},
        [
            "Adjusted Rand index against the classes; 1 is perfect, 0 chance. Standardized, but "
            f"for digits. Generated sets: means over {len(seeds)} "
            f"draw{'s' * (len(seeds) > 1)}; the numbers found are those of each. Chainlink, Atom "
            "and WingNut are generated from their published geometry.",
            "TFSOM: defaults and n_clusters. KMeans: 10 starts. Ward: AgglomerativeClustering. "
            'SpectralClustering: affinity="nearest_neighbors" (its default, a kernel of width 1, '
            "needs a width for each set). All of these are told the number of clusters.",
            "HDBSCAN (defaults) finds the number itself, and calls samples noise: they count as "
            "one more cluster in the index, and not in the number that it finds. TFSOM, auto is "
            'n_clusters="auto", which is not told the number either.',
            *([] if has_reference else [left_out]),
        ],
    )


if __name__ == "__main__":
    main()

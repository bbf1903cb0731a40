"""Errors beside SOM Toolbox's default training, which is repeated, on sets in two halves."""

import itertools
import math

import numpy as np
from clustering import GENERATED_SETS
from common import mirror, parse_arguments, save_results
from sklearn.datasets import make_s_curve, make_swiss_roll

from sklearn_tfsom import TFSOM
from sklearn_tfsom.metrics import topographic_error

MAX_SAMPLES = 3000
N_VERSIONS = 3  # of each set, without 5 % of its samples
# Left out: sets from the same sources as others. Two would be held back; "satellite" has the
# samples of "landsat".
SAME_SOURCES = {"adbench_cardio", "annthyroid", "satellite"}


def on_sphere(rng, n_samples):
    """Draw points on a sphere."""
    X = rng.normal(size=(n_samples, 3))
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def make_ball(rng):
    """Draw points in a ball."""
    return on_sphere(rng, 1000) * rng.uniform(size=(1000, 1)) ** (1 / 3)


def make_torus(rng):
    """Draw points on a torus."""
    a, b = rng.uniform(0, 2 * np.pi, (2, 1200))
    return np.column_stack([(3 + np.cos(a)) * np.cos(b), (3 + np.cos(a)) * np.sin(b), np.sin(a)])


def make_diamonds(rng):
    """Draw points in two adjacent squares that stand on a corner."""
    a, b = rng.uniform(-0.5, 0.5, (2, 800))
    return np.column_stack([a + b + np.repeat([0, 2], 400), a - b])


def make_mixture(rng):
    """Draw points of five Gaussians in eight dimensions."""
    centers = 4 * rng.normal(size=(5, 8))
    return np.concatenate([center + rng.normal(size=(300, 8)) for center in centers])


def make_helix(rng):
    """Draw points around a helix."""
    t = rng.uniform(size=900)
    X = np.column_stack([np.cos(12 * t), np.sin(12 * t), 4 * t])
    return X + 0.05 * rng.normal(size=X.shape)


FURTHER_SETS = {
    "ball": make_ball,
    "cube, 4 dimensions": lambda rng: rng.uniform(size=(800, 4)),
    "diamonds": make_diamonds,
    "Gaussian, 5 dimensions": lambda rng: rng.normal(size=(2000, 5)),
    "helix": make_helix,
    "lognormal": lambda rng: rng.lognormal(size=(1000, 6)),
    "mixture": make_mixture,
    "S curve": lambda rng: make_s_curve(1000, noise=0.05, random_state=rng)[0],
    "sphere": lambda rng: on_sphere(rng, 1500),
    "Swiss roll": lambda rng: make_swiss_roll(1500, noise=0.3, random_state=rng)[0],
    "torus": make_torus,
}


def load_sets(reference):
    """Return all sets, standardized (ddof = 1), in the order in which they are halved."""
    sets = {
        f"gen {name}": make(np.random.RandomState(0))[0] for name, make in GENERATED_SETS.items()
    }
    sets |= {
        f"x {name.lower()}": make(np.random.RandomState(0)) for name, make in FURTHER_SETS.items()
    }
    for pattern in ("clusters/*.npz", "anomalies/*.npz", "data/adbench_*.npz"):
        for path in sorted(reference.glob(pattern)):
            X = np.load(path)["X"].astype(np.float64)
            drawn = np.random.default_rng(0).permutation(len(X))[:MAX_SAMPLES]
            sets[path.stem] = X[np.sort(drawn)]
    return {name: standardize(sets[name]) for name in sorted(sets)}


def standardize(X):
    """Scale features to variance 1; leave out constant ones."""
    X = X[:, X.std(axis=0) > 0]
    return (X - X.mean(axis=0)) / X.std(axis=0, ddof=1)


def make_versions(X):
    """Return a set, and versions that lack 5 % of its samples."""
    versions = [X]
    for seed in range(N_VERSIONS):
        rows = np.random.RandomState(seed).permutation(len(X))[: int(0.95 * len(X))]
        versions.append(X[np.sort(rows)])
    return versions


def toolbox_errors(X, shape):
    """Return both errors of SOM Toolbox's default training, the mean over both mirrored starts.

    The linear start and the radii are those of `som_make`; from them batch training ends at the
    Toolbox's stored codebooks within 1e-10.
    """
    n_rows, n_columns = shape
    per_sample = n_rows * n_columns / len(X)
    start = max(1, math.ceil(max(shape) / 8))
    middle = max(1, start / 4)
    rough, fine = (max(1, math.ceil(epochs * per_sample)) for epochs in (10, 40))
    radii = np.concatenate(
        [
            np.linspace(start, middle, rough) if rough > 1 else [start],
            np.linspace(middle, 1, fine) if fine > 1 else [middle],
        ]
    )
    values, vectors = np.linalg.eigh(np.cov(X.T, bias=True))
    axes = (np.sqrt(np.maximum(values, 0)) * vectors)[:, ::-1][:, :2].T
    if n_rows < n_columns:
        axes = axes[::-1]
    along, across = np.meshgrid(
        np.linspace(-1, 1, n_rows), np.linspace(-1, 1, n_columns), indexing="ij"
    )
    errors = []
    for sign in (1, -1):
        init = X.mean(axis=0) + np.column_stack([along.ravel(), sign * across.ravel()]) @ axes
        som = TFSOM(
            shape,
            init=init,
            radius_decay=radii,
            max_iter=len(radii),
            coarse_to_fine=False,
            tol=0,
        )
        errors.append(map_errors(som, X))
    return np.mean(errors, axis=0)


def map_errors(som, X):
    """Fit a map, and return its quantization and its topographic error."""
    som.fit(X)
    return som.quantization_error_, topographic_error(som, X)


def compare(X):
    """Return the ratio of quantization errors and the difference of topographic errors."""
    shape = TFSOM(max_iter=5).fit(X).grid_shape_
    quantization, topographic = toolbox_errors(X, shape)
    own = np.mean([map_errors(TFSOM(shape), samples) for samples in (X, mirror(X))], axis=0)
    return own[0] / quantization, own[1] - topographic


def summarize(heading, results):
    """Return a row of means over maps."""
    ratios, differences = np.transpose(results)
    n_as_good = np.count_nonzero((ratios <= 1) & (differences <= 0))
    return {
        "data": heading,
        "QE ratio": float(np.exp(np.log(ratios).mean())),
        "TE difference": float(differences.mean()),
        "as good in both": f"{n_as_good} of {len(results)}",
    }


def main():
    """Run all sets; with --short without the versions."""
    arguments = parse_arguments(__doc__, has_reference=True)
    if arguments.reference is None:
        raise SystemExit("This benchmark needs --reference.")
    n_versions = 1 if arguments.short else 1 + N_VERSIONS
    sets = load_sets(arguments.reference)
    names = list(sets)
    halves = {
        heading: [name for name in names[first::2] if name not in SAME_SOURCES]
        for first, heading in enumerate(("chosen on", "held back"))
    }
    results = {
        name: [compare(version) for version in make_versions(sets[name])[:n_versions]]
        for name in itertools.chain(*halves.values())
    }
    rows = []
    for heading, names in halves.items():
        rows += [summarize(name, results[name]) for name in names]
        of_half = [result for name in names for result in results[name]]
        rows.append(summarize(f"{len(names)} sets, {heading}", of_half))
    save_results(
        "folds",
        {"": rows},
        [
            "QE, TE: quantization and topographic error. SOM Toolbox: its training is repeated "
            "(linear start, its radii). TFSOM: default parameters, on a grid of the same size. "
            "Means over both mirrored starts.",
            f"Each set as it is and {n_versions - 1} times without 5 % of its samples; at most "
            f"{MAX_SAMPLES:,} samples, drawn at random. Standardized.",
            "Held back: every second set by name; the maps that `fit` compares were not chosen on "
            f"them. {', '.join(sorted(SAME_SOURCES))} are left out: others have the same source "
            "or the same samples.",
        ],
    )


if __name__ == "__main__":
    main()

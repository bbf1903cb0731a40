"""Quality of the maps: TFSOM against SOM Toolbox, k-means and other libraries, at defaults."""

import inspect
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from common import errors, geometric_mean, in_own_process, is_short, save, warm_seconds_of
from libraries import is_installed
from sklearn.cluster import KMeans
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_sample_image,
    load_wine,
)
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM
from sklearn_tfsom.metrics import (
    combined_error,
    explained_variance,
    neighborhood_preservation,
    quantization_error,
    topographic_error,
    trustworthiness,
)

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"
SETS = {
    "iris": load_iris,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
    "diabetes": load_diabetes,
}
LARGEST_OF_PAIRS = 1500
# Passes over the data, for the libraries that have no default: as many as TFSOM's.
N_PASSES = 20


def load(name, pixel_step=1):
    """Load a set that every installation has: standardized, but for digits and pixels."""
    if name == "pixels":
        pixels = load_sample_image("china.jpg").reshape(-1, 3) / 255
        return pixels[::pixel_step]
    X = SETS[name](return_X_y=True)[0]
    return X if name == "digits" else StandardScaler().fit_transform(X)


def seconds_and(call):
    """Time a call, and return what it gives."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


# SOM Toolbox


def toolbox_data(case):
    """Load the data of a Toolbox case, prepared as its name says."""
    if case == "img_china_sub":
        return load("pixels", 40)
    stem, preparation = case.replace("_nan", "").rsplit("_", 1)
    name, is_log = stem.removesuffix("_log"), stem.endswith("_log")
    if name.startswith("sk_"):
        X = SETS[name.removeprefix("sk_").replace("_", " ")](return_X_y=True)[0]
    else:
        (path,) = (REFERENCE / "data").glob(f"{name}*.npz")
        X = np.load(path)["X"].astype(np.float64)
    X = np.log1p(X) if is_log else X
    if preparation == "raw":
        return X
    deviations = np.nanstd(X, axis=0, ddof=1)
    return (X - np.nanmean(X, axis=0)) / np.where(deviations == 0, 1, deviations)


def mirrored(X):
    """Mirror data so that a map starts on them with its columns the other way round.

    The sign of a principal direction is arbitrary: TFSOM takes that which makes its largest
    component positive. Mirrored along the second direction, the data have the same directions, and
    so the same start, which is now the mirrored one. All errors are those of the data themselves.

    Where values are missing, only the sign of one feature can be turned: of that with the largest
    component of the second direction, which must not lead the first one, too.
    """
    is_missing = np.isnan(X)
    centered = np.where(is_missing, 0, X - np.nanmean(X, axis=0))
    first, second = np.linalg.svd(centered, full_matrices=False)[2][:2]
    if not is_missing.any():
        return X - 2 * np.outer(centered @ second, second)
    leading = np.abs(second).argmax()
    if leading == np.abs(first).argmax():
        raise ValueError("One feature leads both principal directions: no sign turns just one.")
    return X * np.where(np.arange(X.shape[1]) == leading, -1, 1)


def toolbox_of_mirrored_start(case, X):
    """Train as the Toolbox did, from its own start with the columns the other way round.

    With its radii a batch map ends where it does (tests/test_reference.py). Its errors from this
    start are stored to six digits, without the combined one.

    Returns
    -------
    errors : list of float
        Quantization, topographic and combined error.
    """
    stored = np.load(REFERENCE / f"toolbox_{case['case']}.npz")
    start = stored["codebook_init"].reshape(*case["grid_size"], -1)[:, ::-1]
    radii = stored["radii"]
    som = TFSOM(
        tuple(case["grid_size"]),
        init=start.reshape(stored["codebook_init"].shape),
        radius_decay=radii,
        max_iter=len(radii),
        tol=0,
    ).fit(X)
    found, known = errors_on(som, X), case["mirrored_start"]
    expected = known["quantization_error"], known["topographic_error"]
    if not np.allclose(found[:2], expected, rtol=1e-4, atol=2e-6):
        raise ValueError(f"{case['case']}: this is not the Toolbox's map of the mirrored start.")
    return found


def errors_on(som, X, n_neighbors=None):
    """Measure quantization, topographic and combined error."""
    return [
        quantization_error(som, X),
        topographic_error(som, X, n_neighbors=n_neighbors),
        combined_error(som, X, n_neighbors=n_neighbors),
    ]


def against_toolbox(case):
    """Compare maps of one size on one set: TFSOM's from each of both starts, the Toolbox's."""
    X = toolbox_data(case["case"])
    names = ("quantization_error", "topographic_error", "combined_error")
    stored = [case[name] for name in names]
    theirs = np.mean([stored, toolbox_of_mirrored_start(case, X)], axis=0)
    som = TFSOM(tuple(case["grid_size"]))
    ours = []
    for data in (X, mirrored(X)):
        seconds, _ = seconds_and(lambda data=data: som.fit(data))  # the first one traces
        ours.append(errors_on(som, data))
    own, both = np.array(ours[0]), np.mean(ours, axis=0)
    return {
        "data": f"{case['case']} ({X.shape[0]} x {X.shape[1]})",
        "map": "{} x {}".format(*case["grid_size"]),
        "QE, Toolbox": float(theirs[0]),
        "QE ratio": float(own[0] / theirs[0]),
        "QE ratio, both starts": float(both[0] / theirs[0]),
        "TE, Toolbox": float(theirs[1]),
        "TE": float(own[1]),
        "TE difference": float(own[1] - theirs[1]),
        "TE difference, both starts": float(both[1] - theirs[1]),
        "combined ratio": float(own[2] / theirs[2]),
        "combined ratio, both starts": float(both[2] / theirs[2]),
        "seconds": seconds,
    }


def summary(rows):
    """Summarize the comparison with the Toolbox, for both ways to count TFSOM's starts."""
    for start, label in (("", "its own"), (", both starts", "mean of both")):
        ratios = np.array([row["QE ratio" + start] for row in rows])
        differences = np.array([row["TE difference" + start] for row in rows])
        yield {
            "start of TFSOM": label,
            "QE ratio, geometric mean": geometric_mean(ratios),
            "largest": float(ratios.max()),
            "TE difference, mean": float(differences.mean()),
            "largest difference": float(differences.max()),
            "combined ratio, geometric mean": geometric_mean(
                [row["combined ratio" + start] for row in rows]
            ),
            "as good in QE": f"{np.sum(ratios <= 1)} of {len(rows)}",
            "as good in TE": f"{np.sum(differences <= 0)} of {len(rows)}",
            "as good in both": f"{np.sum((ratios <= 1) & (differences <= 0))} of {len(rows)}",
        }


# k-means


def against_k_means(name, pixel_step):
    """Compare a map of automatic size with k-means of as many centers, and measure it."""
    X = load(name, pixel_step)
    som = TFSOM()
    seconds = warm_seconds_of(lambda: som.fit(X))
    k_means = KMeans(len(som.codebook_), n_init=1, random_state=0)
    k_means_seconds = warm_seconds_of(lambda: k_means.fit(X))
    error, inertia = errors(X, k_means.cluster_centers_)[:2]
    drawn = np.random.default_rng(0).permutation(len(X))[:LARGEST_OF_PAIRS]
    return {
        "data": f"{name} ({X.shape[0]} x {X.shape[1]})",
        "map": "{} x {}".format(*som.grid_shape_),
        "QE": quantization_error(som, X),
        "QE, k-means": error,
        "QE ratio": quantization_error(som, X) / error,
        "TE": topographic_error(som, X),
        "combined error": combined_error(som, X),
        "explained variance": explained_variance(som, X),
        "the same, k-means": float(1 - inertia / np.square(X - X.mean(axis=0)).sum()),
        "trustworthiness": trustworthiness(som, X[drawn]),
        "neighborhood preservation": neighborhood_preservation(som, X[drawn]),
        "seconds": seconds,
        "seconds, k-means": k_means_seconds,
    }


# Other libraries: functions of data, grid and seed, at the defaults of each. Their docstrings are
# printed beside the results.


def tfsom(X, grid_shape, seed):
    """Hexagonal lattice: 6 neighbors count."""
    return TFSOM(grid_shape).fit(X).codebook_


def tfsom_rectangular(X, grid_shape, seed):
    """Rectangular, as all others: 8 neighbors count."""
    return TFSOM(grid_shape, lattice="rectangular").fit(X).codebook_


def fastersom(X, grid_shape, seed):
    """On the CPU."""
    from fastersom import SOM

    return SOM(*grid_shape, random_state=seed, device="cpu").fit(X).weights_


def xpysom(X, grid_shape, seed):
    """Batch training; the number of epochs has no default."""
    from xpysom import XPySom

    som = XPySom(*grid_shape, X.shape[1], random_seed=seed, xp=np)
    som.train(X, N_PASSES)
    return som.get_weights()


def somoclu(X, grid_shape, seed):
    """All at its defaults."""
    from somoclu import Somoclu

    som = Somoclu(grid_shape[1], grid_shape[0])
    som.train(X)
    return som.codebook


def minisom(X, grid_shape, seed):
    """Online training, `train`; the number of iterations has no default."""
    from minisom import MiniSom

    som = MiniSom(*grid_shape, X.shape[1], random_seed=seed)
    som.train(X, N_PASSES * len(X))
    return som.get_weights()


def torchsom(X, grid_shape, seed):
    """On the CPU."""
    import torch
    from torchsom import SOM

    som = SOM(*grid_shape, X.shape[1], random_seed=seed, device="cpu")
    som.fit(torch.from_numpy(X), verbose=False)
    return som.weights.numpy()


def susi(X, grid_shape, seed):
    """All at its defaults: 1000 drawn samples, whatever the size of the data."""
    from susi import SOMClustering

    return SOMClustering(*grid_shape, random_state=seed).fit(X).unsuper_som_


def numbasom(X, grid_shape, seed):
    """Online training; the number of drawn samples has no default."""
    from numbasom import SOM

    return SOM(grid_shape).train(X, N_PASSES * len(X))


DEFAULTS = {
    "TFSOM": tfsom,
    "TFSOM, rectangular": tfsom_rectangular,
    "fastersom": fastersom,
    "XPySom": xpysom,
    "somoclu": somoclu,
    "MiniSom": minisom,
    "torchsom": torchsom,
    "susi": susi,
    "numbasom": numbasom,
}
LIBRARY_SETS = ("iris", "wine", "digits")


def errors_of(library, n_seeds):
    """Train a library's maps on all sets.

    Returns
    -------
    means : dict of str to tuple
        Quantization, topographic and combined error, seconds: means over the seeds.
    """
    sys.stdout = open(os.devnull, "w")  # some libraries print
    means = {}
    DEFAULTS[library](load("iris").astype(np.float32), (4, 4), 0)  # imports, compiles
    for name in LIBRARY_SETS:
        X = load(name).astype(np.float32)
        grid_shape = TFSOM(max_iter=1, radius_decay=[1.0]).fit(X).grid_shape_
        rounds = []
        for seed in range(n_seeds):
            np.random.seed(seed)  # some libraries have no seed of their own
            seconds, codebook = seconds_and(
                lambda X=X, grid_shape=grid_shape, seed=seed: DEFAULTS[library](
                    X, grid_shape, seed
                )
            )
            som = carrier(library, X, grid_shape)
            som.codebook_ = np.asarray(codebook, dtype=X.dtype).reshape(som.codebook_.shape)
            rounds.append((*errors_on(som, X, None if library == "TFSOM" else 8), seconds))
        means[name] = tuple(float(value) for value in np.mean(rounds, axis=0))
    return means


def carrier(library, X, grid_shape):
    """Make a map of the library's lattice, for the measures, which then gets its codebook."""
    lattice = "hexagonal" if library == "TFSOM" else "rectangular"
    return TFSOM(grid_shape, lattice=lattice, max_iter=1, radius_decay=[1.0]).fit(X)


def against_libraries(n_seeds):
    """Compare with the libraries that are installed.

    Returns
    -------
    rows : list of dict
        Empty if no other library is there.
    skipped : list of str
        A line for each library that fails.
    """
    installed = [library for library in DEFAULTS if is_installed(library)]
    if all(library.startswith("TFSOM") for library in installed):
        return [], ["Other libraries are left out: none is installed (`make bench-libraries`)."]
    measured, skipped = (
        {},
        [
            f"{library} is skipped: not installed."
            for library in DEFAULTS
            if library not in installed
        ],
    )
    for library in installed:
        try:
            measured[library] = in_own_process(errors_of, library, n_seeds)
        except Exception as error:  # whatever a library does must not stop the others
            skipped.append(f"{library} is skipped: {type(error).__name__}: {error}.")
    rows = []
    for name in LIBRARY_SETS:
        pairs = {library: means[name][:2] for library, means in measured.items()}
        for library, pair in sorted(pairs.items(), key=lambda item: item[1]):
            better = [other for other in pairs if dominates(pairs[other], pair)]
            rows.append(
                {
                    "data": name,
                    "library": library,
                    "QE": pair[0],
                    "TE": pair[1],
                    "dominated by": ", ".join(better),
                    "combined error": measured[library][name][2],
                    "seconds": measured[library][name][3],
                }
            )
    return rows, skipped


def dominates(one, other):
    """Tell whether a pair of errors is nowhere above the other one, and somewhere below it."""
    return all(np.less_equal(one, other)) and any(np.less(one, other))


def draw(rows):
    """Draw both errors of all libraries, a plane for each set."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    libraries = [name for name in DEFAULTS if name in {row["library"] for row in rows}]
    looks = {
        name: {"color": f"C{k}", "marker": "*os^vDPXp"[k]} for k, name in enumerate(libraries)
    }
    figure = Figure(figsize=(4 * len(LIBRARY_SETS) + 2, 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(LIBRARY_SETS)), LIBRARY_SETS, strict=True):
        for row in (row for row in rows if row["data"] == name):
            filling = "none" if row["dominated by"] else "full"
            look = looks[row["library"]]
            axes.plot(row["QE"], row["TE"], **look, fillstyle=filling, linestyle="", ms=9)
        axes.set(title=name, xlabel="quantization error", ylabel="topographic error")
    handles = [Line2D([], [], **look, linestyle="", ms=9, label=n) for n, look in looks.items()]
    figure.legend(handles=handles, loc="outside right upper")
    return figure


def main():
    """Run all sets; in the short set a few pixels only, and one seed for other libraries."""
    short = is_short(__doc__)
    n_seeds, pixel_step = (1, 40) if short else (5, 10)
    tables, notes, picture = {}, [], None
    if REFERENCE.is_dir():
        cases = json.loads((REFERENCE / "toolbox_defaults.json").read_text())
        rows = [against_toolbox(case) for case in cases]
        tables["SOM Toolbox: summary"] = list(summary(rows))
        tables["SOM Toolbox: maps of its size"] = rows
        notes = [
            "SOM Toolbox 2.1: stored results of som_make at its defaults (hexagonal sheet, linear "
            "initialization, batch), mean of both mirrored starts, since the sign of an "
            "eigenvector is arbitrary. TFSOM: defaults and the Toolbox's size; from the start "
            "that it takes itself, and the mean of both. Ratios below 1 and differences below "
            "0 are in its favor. The errors of the Toolbox's mirrored start are stored to six "
            "digits, without the combined one: its training is repeated, and ends at those.",
            "Data: `var` is standardized, `log` is log(1 + x) before, `nan` has missing values; "
            "`sk_` are scikit-learn's.",
        ]
    else:
        notes = ["SOM Toolbox is left out: its stored results are not there."]
    tables["k-means of as many centers"] = [
        against_k_means(name, pixel_step) for name in (*SETS, "pixels")
    ]
    notes += [
        "QE: quantization error, mean distance to the best-matching unit. TE: topographic error, "
        "share of samples whose two best-matching units are not neighbors (6 on hexagonal "
        "lattices, else 8, with which it is the lower). Combined error: Kaski and Lagus, 1996; "
        "its paths are the shorter, too.",
        f"k-means: one start. Standardized, but for digits and pixels (each {pixel_step}th of a "
        "photograph's, in [0, 1]). Trustworthiness and neighborhood preservation: 5 neighbors, on "
        f"at most {LARGEST_OF_PAIRS:,} rows drawn from the data. All errors are on the training "
        "data. Seconds: one fit, after another one.",
    ]
    rows, skipped = against_libraries(n_seeds)
    notes += skipped
    if rows:
        tables["Other libraries at their defaults"] = rows
        picture = draw(rows)
        notes += [
            "Other libraries: the grid that TFSOM takes; means over "
            f"{n_seeds} seed{'s' * (n_seeds > 1)} where something is random; {N_PASSES} passes "
            "over the data where their number has no default. A map dominates another if it is "
            "nowhere worse in both errors, and better in one; the picture shows dominated ones "
            "hollow.",
            *(
                f"{library}: {' '.join(inspect.getdoc(DEFAULTS[library]).split())}"
                for library in DEFAULTS
                if library in {row["library"] for row in rows}
            ),
        ]
    others = {row["library"] for row in rows if not row["library"].startswith("TFSOM")}
    save(
        "quality",
        "Quality: SOM Toolbox, k-means and other libraries, at defaults",
        tables,
        notes,
        picture=picture,
        packages=sorted(others),
    )


if __name__ == "__main__":
    main()

"""Map quality compared with SOM Toolbox, k-means and other libraries, at default parameters."""

import functools
import inspect
import json
import os
import sys
import time

import numpy as np
from adapters import is_installed, is_tfsom
from common import (
    LOADERS,
    compute_errors,
    describe_data,
    format_shape,
    geometric_mean,
    load_standardized,
    mirror,
    parse_arguments,
    run_in_new_process,
    save_results,
    time_warm_call,
)
from default_adapters import DEFAULTS, N_PASSES
from sklearn.cluster import KMeans
from sklearn.datasets import load_sample_image

from sklearn_tfsom import TFSOM
from sklearn_tfsom.metrics import (
    combined_error,
    explained_variance,
    neighborhood_preservation,
    quantization_error,
    topographic_error,
    trustworthiness,
)

# Samples that the measures on pairs of samples are computed on, at most.
MAX_PAIR_SAMPLES = 1500


def load(name, pixel_step=1):
    """Return the samples of a set, standardized except digits and pixels."""
    return load_pixels(pixel_step) if name == "pixels" else load_standardized(name)[0]


def load_pixels(step):
    """Return every `step`-th pixel of a sample image, red, green and blue in [0, 1]."""
    pixels = load_sample_image("china.jpg").reshape(-1, 3) / 255
    return pixels[::step]


def time_and_call(call):
    """Return the seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


# SOM Toolbox


def load_toolbox_data(case, reference):
    """Return the samples of a Toolbox case, preprocessed as its name says."""
    if case == "img_china_sub":
        return load_pixels(40)
    stem, preprocessing = case.replace("_nan", "").rsplit("_", 1)
    name, is_log = stem.removesuffix("_log"), stem.endswith("_log")
    if name.startswith("sk_"):
        X = LOADERS[name.removeprefix("sk_").replace("_", " ")](return_X_y=True)[0]
    else:
        (path,) = (reference / "data").glob(f"{name}*.npz")
        X = np.load(path)["X"].astype(np.float64)
    X = np.log1p(X) if is_log else X
    if preprocessing == "raw":
        return X
    deviations = np.nanstd(X, axis=0, ddof=1)
    return (X - np.nanmean(X, axis=0)) / np.where(deviations == 0, 1, deviations)


def train_mirrored_toolbox_map(case, X, reference):
    """Train as the Toolbox, from its initial codebook with the columns in reverse order.

    With the radii of the Toolbox, batch training reproduces its map (tests/test_reference.py).
    The errors of its mirrored map are stored with six digits, without the combined error.

    Returns
    -------
    errors : list of float
        Quantization, topographic and combined error.
    """
    stored = np.load(reference / f"toolbox_{case['case']}.npz")
    codebook = stored["codebook_init"]
    mirrored = codebook.reshape(*case["grid_size"], -1)[:, ::-1].reshape(codebook.shape)
    radii = stored["radii"]
    som = TFSOM(
        tuple(case["grid_size"]),
        init=mirrored,
        radius_decay=radii,
        max_iter=len(radii),
        tol=0,
    ).fit(X)
    errors, known = compute_map_errors(som, X), case["mirrored_start"]
    expected = known["quantization_error"], known["topographic_error"]
    if not np.allclose(errors[:2], expected, rtol=1e-4, atol=2e-6):
        raise ValueError(f"{case['case']}: the errors differ from those of the Toolbox's map.")
    return errors


def compute_map_errors(som, X, n_neighbors=None):
    """Return quantization, topographic and combined error."""
    return [
        quantization_error(som, X),
        topographic_error(som, X, n_neighbors=n_neighbors),
        combined_error(som, X, n_neighbors=n_neighbors),
    ]


def compare_with_toolbox(case, reference):
    """Return a row that compares maps of the Toolbox's size, from both mirrored starts."""
    X = load_toolbox_data(case["case"], reference)
    stored = [case[name] for name in ("quantization_error", "topographic_error", "combined_error")]
    toolbox = np.mean([stored, train_mirrored_toolbox_map(case, X, reference)], axis=0)
    som = TFSOM(tuple(case["grid_size"]))
    errors = []
    for samples in (X, mirror(X)):
        # The first fit compiles; the time of the second one is reported.
        seconds, _ = time_and_call(lambda samples=samples: som.fit(samples))
        errors.append(compute_map_errors(som, samples))
    own, both = np.array(errors[0]), np.mean(errors, axis=0)
    return {
        "data": describe_data(case["case"], X),
        "map": format_shape(case["grid_size"]),
        "QE, Toolbox": float(toolbox[0]),
        "QE ratio": float(own[0] / toolbox[0]),
        "QE ratio, both starts": float(both[0] / toolbox[0]),
        "TE, Toolbox": float(toolbox[1]),
        "TE": float(own[1]),
        "TE difference": float(own[1] - toolbox[1]),
        "TE difference, both starts": float(both[1] - toolbox[1]),
        "combined error ratio": float(own[2] / toolbox[2]),
        "combined error ratio, both starts": float(both[2] / toolbox[2]),
        "fit (s)": seconds,
    }


def summarize_toolbox(rows):
    """Yield a row of means for TFSOM's own start and one for the mean of both starts."""
    n_sets = len(rows)
    for suffix, label in (("", "own"), (", both starts", "mean of both")):
        ratios = np.array([row["QE ratio" + suffix] for row in rows])
        differences = np.array([row["TE difference" + suffix] for row in rows])
        yield {
            "start of TFSOM": label,
            "QE ratio, geometric mean": geometric_mean(ratios),
            "QE ratio, largest": float(ratios.max()),
            "TE difference, mean": float(differences.mean()),
            "TE difference, largest": float(differences.max()),
            "combined error ratio, geometric mean": geometric_mean(
                [row["combined error ratio" + suffix] for row in rows]
            ),
            "QE not higher": f"{np.sum(ratios <= 1)} of {n_sets}",
            "TE not higher": f"{np.sum(differences <= 0)} of {n_sets}",
            "neither higher": f"{np.sum((ratios <= 1) & (differences <= 0))} of {n_sets}",
        }


# k-means


def compare_with_kmeans(name, pixel_step):
    """Return a row that compares a map of automatic size with k-means of as many centers."""
    X = load(name, pixel_step)
    som = TFSOM()
    seconds = time_warm_call(lambda: som.fit(X))
    kmeans = KMeans(len(som.codebook_), n_init=1, random_state=0)
    kmeans_seconds = time_warm_call(lambda: kmeans.fit(X))
    errors = compute_errors(X, kmeans.cluster_centers_)
    kmeans_error = errors.quantization_error
    drawn = np.random.default_rng(0).permutation(len(X))[:MAX_PAIR_SAMPLES]
    return {
        "data": describe_data(name, X),
        "map": format_shape(som.grid_shape_),
        "QE": quantization_error(som, X),
        "QE, k-means": kmeans_error,
        "QE ratio": quantization_error(som, X) / kmeans_error,
        "TE": topographic_error(som, X),
        "combined error": combined_error(som, X),
        "explained variance": explained_variance(som, X),
        "explained variance, k-means": float(
            1 - errors.inertia / np.square(X - X.mean(axis=0)).sum()
        ),
        "trustworthiness": trustworthiness(som, X[drawn]),
        "neighborhood preservation": neighborhood_preservation(som, X[drawn]),
        "fit (s)": seconds,
        "fit of k-means (s)": kmeans_seconds,
    }


# Other libraries

LIBRARY_SETS = ("iris", "wine", "digits")


def measure_library(library, n_seeds):
    """Train the maps of a library on all sets.

    Returns
    -------
    means : dict of str to tuple
        Quantization, topographic and combined error and seconds: means over the seeds.
    """
    sys.stdout = open(os.devnull, "w")  # some libraries print
    train = DEFAULTS[library]
    is_hexagonal = library == "TFSOM"
    make_map = functools.partial(TFSOM, max_iter=1, radius_decay=[1.0])
    means = {}
    train(load("iris").astype(np.float32), (4, 4), 0)  # imports and compiles
    for name in LIBRARY_SETS:
        X = load(name).astype(np.float32)
        grid_shape = make_map().fit(X).grid_shape_
        # A map of the library's lattice that gets its codebook, for the measures.
        lattice = "hexagonal" if is_hexagonal else "rectangular"
        som = make_map(grid_shape, lattice=lattice).fit(X)
        rounds = []
        for seed in range(n_seeds):
            np.random.seed(seed)  # some libraries use the global random state
            seconds, codebook = time_and_call(functools.partial(train, X, grid_shape, seed))
            som.codebook_ = np.asarray(codebook, dtype=X.dtype).reshape(som.codebook_.shape)
            errors = compute_map_errors(som, X, n_neighbors=None if is_hexagonal else 8)
            rounds.append((*errors, seconds))
        means[name] = tuple(float(value) for value in np.mean(rounds, axis=0))
    return means


def compare_libraries(n_seeds):
    """Compare the installed libraries.

    Returns
    -------
    rows : list of dict
        Empty if no other library is installed.
    skipped : list of str
        A line for each library that is not installed.
    """
    installed = [library for library in DEFAULTS if is_installed(library)]
    if all(map(is_tfsom, installed)):
        return [], ["Other libraries are omitted: none is installed (`make bench-libraries`)."]
    skipped = [
        f"{library} is skipped: not installed." for library in DEFAULTS if library not in installed
    ]
    means = {
        library: run_in_new_process(measure_library, library, n_seeds) for library in installed
    }
    rows = []
    for name in LIBRARY_SETS:
        pairs = {library: of_sets[name][:2] for library, of_sets in means.items()}
        for library, pair in sorted(pairs.items(), key=lambda item: item[1]):
            better = [other for other in pairs if dominates(pairs[other], pair)]
            rows.append(
                {
                    "data": name,
                    "library": library,
                    "QE": pair[0],
                    "TE": pair[1],
                    "dominated by": ", ".join(better),
                    "combined error": means[library][name][2],
                    "fit (s)": means[library][name][3],
                }
            )
    return rows, skipped


def dominates(errors, others):
    """Return True if no error is higher than in `others` and at least one is lower."""
    return all(np.less_equal(errors, others)) and any(np.less(errors, others))


TOOLBOX_NOTES = [
    "SOM Toolbox 2.1: stored results of som_make at its defaults (hexagonal sheet, linear "
    "initialization, batch training), mean over both mirrored starts, because the sign of an "
    "eigenvector is arbitrary. TFSOM: default parameters and the Toolbox's size, from its own "
    "start and averaged over both. Ratios below 1 and differences below 0 favor TFSOM. The "
    "errors of the Toolbox's mirrored start are stored with six digits, without the combined "
    "error: its training is repeated with TFSOM, which reproduces the stored errors.",
    "Data: `var` is standardized, `log` is log(1 + x) before standardization, `nan` has missing "
    "values; `sk_` sets are from scikit-learn.",
]


def make_kmeans_notes(pixel_step):
    """Return the notes on the measures and on k-means."""
    return [
        "QE: quantization error, the mean distance to the best-matching unit. TE: topographic "
        "error, the share of samples whose two best-matching units are not neighbors, with 6 "
        "neighbors on hexagonal lattices and 8 on rectangular ones. More neighbors lower TE and "
        "the combined error (Kaski and Lagus, 1996).",
        f"k-means: one initialization. Standardized, except digits and pixels (1 in {pixel_step} "
        "of a photograph, in [0, 1]). Trustworthiness and neighborhood preservation: 5 "
        f"neighbors, on at most {MAX_PAIR_SAMPLES:,} randomly drawn samples. All errors are on "
        "the training samples. Times: one fit, after a warm-up.",
    ]


def make_library_notes(rows, n_seeds):
    """Return the notes on the other libraries."""
    libraries = {row["library"] for row in rows}
    return [
        "Other libraries: the same grid as TFSOM; means over "
        f"{n_seeds} seed{'s' * (n_seeds > 1)} where training is random; {N_PASSES} passes over "
        "the data where a library has no default number. A map is dominated if another one has "
        "no higher error and at least one lower error; the figure shows dominated maps as hollow "
        "markers.",
        *(
            f"{library}: {' '.join(inspect.getdoc(DEFAULTS[library]).split())}"
            for library in DEFAULTS
            if library in libraries
        ),
    ]


def main():
    """Run all sets; with --short few pixels, and one seed for other libraries."""
    arguments = parse_arguments(__doc__, has_reference=True)
    n_seeds, pixel_step = (1, 40) if arguments.short else (5, 10)
    tables = {}
    if arguments.reference is None:
        notes = ["SOM Toolbox is omitted: its stored results need --reference."]
    else:
        cases = json.loads((arguments.reference / "toolbox_defaults.json").read_text())
        rows = [compare_with_toolbox(case, arguments.reference) for case in cases]
        tables["SOM Toolbox: summary"] = list(summarize_toolbox(rows))
        tables["SOM Toolbox: maps of the same size"] = rows
        notes = TOOLBOX_NOTES.copy()
    tables["k-means with as many centers as units"] = [
        compare_with_kmeans(name, pixel_step) for name in (*LOADERS, "pixels")
    ]
    rows, skipped = compare_libraries(n_seeds)
    notes.append(
        "All these sets were used in development. The page on folds reports, with SOM Toolbox, "
        "sets on which the choice between maps was not made."
    )
    notes += [*make_kmeans_notes(pixel_step), *skipped]
    if rows:
        tables["Other libraries at their defaults"] = rows
        notes += make_library_notes(rows, n_seeds)
    save_results(
        "quality",
        tables,
        notes,
        packages=sorted({row["library"] for row in rows if not is_tfsom(row["library"])}),
    )


if __name__ == "__main__":
    main()

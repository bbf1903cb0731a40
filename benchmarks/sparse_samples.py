"""Sparse data compared with k-means: time, memory, and clusters of texts.

The texts need no download: they are the docstrings of NumPy, SciPy, scikit-learn and Python's
standard library, by paragraph, labeled with their package. They are parsed from the installed
source files, without importing the modules, and so depend on the installed versions, which the
results name.
"""

import ast
import importlib.util
import sysconfig
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse
from common import (
    fit_kmeans,
    fit_map,
    format_shape,
    geometric_mean,
    get_codebook,
    measure_peak_memory,
    median_and_minimum,
    parse_arguments,
    run_in_new_process,
    save_results,
    time_alternately,
    time_call,
    time_short_and_long_fit,
    time_warm_call,
)
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import normalized_mutual_info_score
from sklearn.preprocessing import normalize

from sklearn_tfsom import TFSOM
from sklearn_tfsom.metrics import topographic_error

PACKAGES = {"numpy": "NumPy", "scipy": "SciPy", "sklearn": "scikit-learn"}
STANDARD_LIBRARY = "standard library"
# Folders of third-party code and of code with few docstrings.
EXCLUDED_FOLDERS = {"site-packages", "dist-packages", "externals", "_vendor", "test", "tests"}
MIN_WORDS = 8
METRICS = ("euclidean", "cosine")
SIDES = (10, 20)
RANDOM_SHAPE, N_VALUES_PER_ROW, RANDOM_SIDE = (50_000, 20_000), 40, 10
MEMORY_TARGET = 800  # MiB
N_ROUNDS = 3
N_ITERATIONS = 5  # before the errors are computed


def extract_paragraphs(folder):
    """Yield the paragraphs of at least MIN_WORDS words of all docstrings in a folder."""
    for path in sorted(folder.rglob("*.py")):
        if EXCLUDED_FOLDERS.intersection(path.relative_to(folder).parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):  # code for another version or in another encoding
            continue
        for node in ast.walk(tree):
            if isinstance(
                node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            ):
                for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                    words = paragraph.split()
                    if len(words) >= MIN_WORDS:
                        yield " ".join(words)


def load_documents():
    """Load the unique paragraphs that occur in a single package.

    Returns
    -------
    texts : list of str
        Paragraphs.
    labels : ndarray of str, shape (n_texts,)
        Package of each paragraph.
    """
    folders = {
        label: Path(importlib.util.find_spec(name).origin).parent
        for name, label in PACKAGES.items()
    }
    folders[STANDARD_LIBRARY] = Path(sysconfig.get_path("stdlib"))
    sources = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # invalid escape sequences
        for label, folder in folders.items():
            for text in extract_paragraphs(folder):
                sources.setdefault(text, set()).add(label)
    labels = {text: next(iter(found)) for text, found in sources.items() if len(found) == 1}
    return list(labels), np.array(list(labels.values()))


def load_tf_idf():
    """Return the texts as a float64 CSR matrix with rows of length 1, and their labels."""
    texts, labels = load_documents()
    vectorizer = TfidfVectorizer(min_df=3, stop_words="english", sublinear_tf=True)
    X = vectorizer.fit_transform(texts)
    has_words = np.diff(X.indptr) > 0
    return X[has_words], labels[has_words]


def make_random_csr():
    """Generate a float32 CSR matrix with the same number of random values in each row."""
    rng = np.random.default_rng(0)
    n_samples, n_features = RANDOM_SHAPE
    # One value in each interval of features: column indices are sorted and unique.
    width = n_features // N_VALUES_PER_ROW
    columns = rng.integers(width, size=(n_samples, N_VALUES_PER_ROW), dtype=np.int32)
    columns += width * np.arange(N_VALUES_PER_ROW, dtype=np.int32)
    values = rng.random(columns.size, dtype=np.float32)
    bounds = np.arange(0, columns.size + 1, N_VALUES_PER_ROW, dtype=np.int32)
    return scipy.sparse.csr_matrix((values, columns.ravel(), bounds), shape=RANDOM_SHAPE)


def compute_error(X, codebook, metric):
    """Return the mean distance of sparse samples to the nearest code vector.

    The distance is ``1 - cos`` under the cosine metric.
    """
    total = 0.0
    codebook = np.asarray(codebook, dtype=np.float64)
    if metric == "cosine":
        X, codebook = normalize(X), normalize(codebook)
    step = max(1, 2**23 // len(codebook))
    for tile in (X[first : first + step] for first in range(0, X.shape[0], step)):
        tile = tile.astype(np.float64)
        products = tile @ codebook.T
        if metric == "cosine":
            total += (1 - products.max(axis=1)).sum()
            continue
        scores = np.einsum("ij,ij->i", codebook, codebook) - 2 * products
        squared = scores.min(axis=1) + np.asarray(tile.multiply(tile).sum(axis=1)).ravel()
        total += np.sqrt(np.maximum(squared, 0)).sum()
    return float(total / X.shape[0])


def compute_density(X):
    """Return the share of nonzero values, in percent."""
    return 100 * X.nnz / np.prod(X.shape, dtype=float)


def describe(data, X, n_units):
    """Return the columns that describe the data and the map."""
    return {
        "data": data,
        "samples x features": format_shape(X.shape),
        "density (%)": compute_density(X),
        "dtype": str(X.dtype),
        "units": n_units,
    }


def compare(data, X, side, n_rounds, n_many):
    """Yield a row for each metric that compares map and k-means from the same start.

    The time of an iteration is the difference between a fit of `n_many` and one of 1 of them.
    """
    n_units = side**2
    start = X[np.random.default_rng(0).choice(X.shape[0], n_units, replace=False)].toarray()
    fits = {
        **{
            metric: lambda n, metric=metric: fit_map(X, side, start, n, metric=metric)
            for metric in METRICS
        },
        "k-means": lambda n: fit_kmeans(X, start, n),
    }
    models = {name: fit(N_ITERATIONS) for name, fit in fits.items()}
    tasks = {}
    for name, fit in fits.items():
        model = models[name]
        tasks[name, "fit"] = lambda fit=fit: time_short_and_long_fit(fit, 1, n_many)
        tasks[name, "predict"] = lambda model=model: time_warm_call(lambda: model.predict(X))
        tasks[name, "transform"] = lambda model=model: time_warm_call(lambda: model.transform(X))
    times = {
        task: median_and_minimum(seconds, 1e3)
        for task, seconds in time_alternately(tasks, n_rounds).items()
    }
    kmeans_median, kmeans_minimum = times["k-means", "fit"]
    for metric in METRICS:
        median, minimum = times[metric, "fit"]
        yield {
            **describe(data, X, n_units),
            "metric": metric,
            "epoch (ms)": median,
            "epoch, minimum (ms)": minimum,
            "k-means iteration (ms)": kmeans_median,
            "k-means iteration, minimum (ms)": kmeans_minimum,
            "epoch / iteration": median / kmeans_median,
            "epoch / iteration, minima": minimum / kmeans_minimum,
            **{
                f"{task} / k-means": times[metric, task][0] / times["k-means", task][0]
                for task in ("predict", "transform")
            },
            "error, map": compute_error(X, get_codebook(models[metric]), metric),
            "error, k-means": compute_error(X, get_codebook(models["k-means"]), metric),
        }


def measure_fit_memory(model, X):
    """Return the peak memory of a fit in addition to the data, in MiB, after a small fit."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    model.fit(X[:1000])
    return measure_peak_memory(lambda: model.fit(X))


def measure_memory(data, X, side):
    """Yield a row of memory for each model, each in its own process."""
    mebibytes = (X.data.nbytes + X.indices.nbytes + X.indptr.nbytes) / 2**20
    models = {f"TFSOM, {metric}": TFSOM(side, metric=metric, max_iter=3) for metric in METRICS}
    models["KMeans"] = KMeans(side**2, init="random", n_init=1, max_iter=3, random_state=0)
    for name, model in models.items():
        yield {
            **describe(data, X, side**2),
            "model": name,
            "data (MiB)": mebibytes,
            "codebook (MiB)": side**2 * X.shape[1] * X.dtype.itemsize / 2**20,
            "memory of the fit (MiB)": run_in_new_process(measure_fit_memory, model, X),
        }


def compare_default_fits(X, labels, side, n_rounds):
    """Yield a row for each model at its defaults, k-means with as many centers as units."""
    models = {f"TFSOM, {metric}": TFSOM(side, metric=metric) for metric in METRICS}
    models["KMeans"] = KMeans(side**2, random_state=0)
    seconds = time_alternately(
        {
            name: lambda model=model: time_call(lambda: model.fit(X))
            for name, model in models.items()
        },
        n_rounds,
    )
    for name, model in models.items():
        codebook = get_codebook(model)
        median, minimum = median_and_minimum(seconds[name])
        is_map, is_cosine = name != "KMeans", "cosine" in name
        yield {
            "model": name,
            "units": side**2,
            "fit (s)": median,
            "fit, minimum (s)": minimum,
            "iterations": model.n_iter_,
            "NMI of unit and package": float(normalized_mutual_info_score(labels, model.labels_)),
            "samples of the largest unit (%)": 100
            * float(np.bincount(model.labels_).max() / len(labels)),
            # Under the cosine metric the length of a code vector is arbitrary.
            "quantization error": "" if is_cosine else compute_error(X, codebook, "euclidean"),
            "cosine distance": compute_error(X, codebook, "cosine"),
            "topographic error": topographic_error(model, X) if is_map else "",
        }


def make_notes(X, labels, text_rows, memory_rows, n_rounds, n_many):
    """Return the notes of the page."""
    packages = {label: int(np.sum(labels == label)) for label in np.unique(labels)}
    ratios = {
        "epoch": "epoch / iteration",
        "epoch (minima)": "epoch / iteration, minima",
        "predict": "predict / k-means",
        "transform": "transform / k-means",
    }

    def geometric_means(metric):
        rows = [row for row in text_rows if row["metric"] == metric]
        return ", ".join(
            f"{name} {geometric_mean([row[key] for row in rows]):.2f}"
            for name, key in ratios.items()
        )

    means = "; ".join(f"{metric}: {geometric_means(metric)}" for metric in METRICS)
    max_memory = max(
        row["memory of the fit (MiB)"]
        for row in memory_rows
        if row["data"] == "random" and row["model"] != "KMeans"
    )
    return [
        f"Text: paragraphs of the docstrings of {', '.join(PACKAGES.values())} and the "
        "standard library, parsed from the installed source files, without tests: "
        f"{X.shape[0]:,} documents of at least {MIN_WORDS} words ("
        + ", ".join(f"{label} {number:,}" for label, number in packages.items())
        + f"), a vocabulary of {X.shape[1]:,} words, density {compute_density(X):.3f} %. Rows "
        "have length 1. The label is the package.",
        f"Times relative to k-means, geometric means over the text: {means}.",
        f"Medians of {n_rounds} alternating rounds after a discarded one. An epoch is search, "
        "sums and smoothing (Gaussian, radius 1, hexagonal); its time is the difference between "
        f"fits of {n_many} epochs and of one. k-means: Lloyd, same start (randomly drawn "
        "samples), same CSR matrix; it is Euclidean also beside the cosine metric. Errors: mean "
        f"distance to the nearest center after {N_ITERATIONS} epochs or iterations, in the "
        "metric of the row.",
        "Memory: peak of the resident set during a fit of three epochs from the principal plane "
        "(k-means: from randomly drawn samples) minus the resident set before it, in a new "
        "process, after a fit of 1,000 samples. Random data: at most "
        f"{max_memory:.0f} MiB with TFSOM, target {MEMORY_TARGET}: "
        + ("met." if max_memory <= MEMORY_TARGET else "missed."),
        "Fits at the defaults: float32. NMI: normalized mutual information of the units and the "
        "packages of the documents. Cosine distance: mean of 1 - cos to the unit with the "
        "largest cosine.",
    ]


def main():
    """Run the text in both precisions and the random data; with --short half of the text."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # few iterations on purpose
    short = parse_arguments(__doc__).short
    n_rounds, n_many = (1, 4) if short else (N_ROUNDS, 11)
    X, labels = load_tf_idf()
    if short:
        X, labels = X[::2], labels[::2]
    X32, random = X.astype(np.float32), make_random_csr()
    text_rows = [
        row
        for side in SIDES
        for samples in ((X32,) if short and side == SIDES[0] else (X32, X))
        for row in compare("text", samples, side, n_rounds, n_many)
    ]
    random_rows = list(compare("random", random, RANDOM_SIDE, n_rounds, n_many))
    memory_rows = [
        row
        for data, samples, side in (
            *(("text", X32, side) for side in (SIDES[1:] if short else SIDES)),
            ("random", random, RANDOM_SIDE),
        )
        for row in measure_memory(data, samples, side)
    ]
    fit_rows = [
        row
        for side in (SIDES[:1] if short else SIDES)
        for row in compare_default_fits(X32, labels, side, 1 if short else 3)
    ]
    save_results(
        "sparse",
        {
            "Epoch, predict and transform": text_rows + random_rows,
            "Memory in addition to the data": memory_rows,
            "Fits of the text at the defaults": fit_rows,
        },
        make_notes(X, labels, text_rows, memory_rows, n_rounds, n_many),
        packages=("scipy",),
    )


if __name__ == "__main__":
    main()

"""Sparse data: an epoch of TFSOM against an iteration of k-means, memory, what it finds in text.

The text is what every installation has, without a download: the docstrings of NumPy, SciPy,
scikit-learn and Python's standard library, in paragraphs, each labeled with its package. They are
parsed from the installed source files; no module is imported for it. So the documents depend on
the versions installed, which the results name.
"""

import ast
import importlib.util
import sysconfig
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse
from common import (
    alternate,
    geometric_mean,
    in_own_process,
    is_short,
    peak_mebibytes,
    per_iteration,
    reduced,
    save,
    seconds_of,
    warm_seconds_of,
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
# Others' code, and code whose docstrings say little.
LEFT_OUT = {"site-packages", "dist-packages", "externals", "_vendor", "test", "tests"}
MIN_WORDS = 8
METRICS = ("euclidean", "cosine")
SIDES = (10, 20)
RANDOM_SHAPE, RANDOM_PER_ROW, RANDOM_SIDE = (50_000, 20_000), 40, 10
RANDOM_TARGET = 800
N_ROUNDS = 5
N_ITERATIONS = 5


def paragraphs(folder):
    """Yield the paragraphs of all docstrings in a folder, those of at least a sentence."""
    for path in sorted(folder.rglob("*.py")):
        if LEFT_OUT.intersection(path.relative_to(folder).parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):  # of another version, or of another encoding
            continue
        for node in ast.walk(tree):
            if isinstance(
                node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            ):
                for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                    words = paragraph.split()
                    if len(words) >= MIN_WORDS:
                        yield " ".join(words)


def documents():
    """Collect the text.

    Returns
    -------
    texts : list of str
        Each once, and only those that a single package has.
    labels : ndarray of str, shape (n_texts,)
        Where each comes from.
    """
    folders = {
        label: Path(importlib.util.find_spec(name).origin).parent
        for name, label in PACKAGES.items()
    }
    folders[STANDARD_LIBRARY] = Path(sysconfig.get_path("stdlib"))
    sources = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of others' escape sequences
        for label, folder in folders.items():
            for text in paragraphs(folder):
                sources.setdefault(text, set()).add(label)
    labels = {text: next(iter(which)) for text, which in sources.items() if len(which) == 1}
    return list(labels), np.array(list(labels.values()))


def tf_idf():
    """Make the text a float64 CSR matrix, rows of length 1; return it and the labels."""
    texts, labels = documents()
    vectorizer = TfidfVectorizer(min_df=3, stop_words="english", sublinear_tf=True)
    X = vectorizer.fit_transform(texts)
    has_words = np.diff(X.indptr) > 0
    return X[has_words], labels[has_words]


def random_csr():
    """Make a float32 CSR matrix with as many values in each row, anywhere."""
    rng = np.random.default_rng(0)
    n_samples, n_features = RANDOM_SHAPE
    # One value in each strip of features: so none comes twice, and they are in order.
    width = n_features // RANDOM_PER_ROW
    columns = rng.integers(width, size=(n_samples, RANDOM_PER_ROW), dtype=np.int32)
    columns += width * np.arange(RANDOM_PER_ROW, dtype=np.int32)
    values = rng.random(columns.size, dtype=np.float32)
    bounds = np.arange(0, columns.size + 1, RANDOM_PER_ROW, dtype=np.int32)
    return scipy.sparse.csr_matrix((values, columns.ravel(), bounds), shape=RANDOM_SHAPE)


def error(X, codebook, metric):
    """Measure the mean distance of sparse samples to the nearest code vector, whoever trained it.

    Under the cosine metric ``1 - cos``.
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


def described(data, X):
    """Say what data these are."""
    return {
        "data": data,
        "n x d": f"{X.shape[0]} x {X.shape[1]}",
        "density (%)": 100 * X.nnz / np.prod(X.shape, dtype=float),
        "dtype": str(X.dtype),
    }


def compare(data, X, side, n_rounds, many):
    """Compare maps and k-means from the same start, in alternating rounds; yield rows.

    The time of an iteration is the difference between `many` and 1 of them.
    """
    n_units = side**2
    start = X[np.random.default_rng(0).choice(X.shape[0], n_units, replace=False)].toarray()

    def train_map(metric, n_epochs):
        radii = np.ones(n_epochs)
        som = TFSOM(side, metric=metric, init=start, radius_decay=radii, max_iter=n_epochs, tol=0)
        return som.fit(X)

    def train_kmeans(n_iterations):
        return KMeans(n_units, init=start, n_init=1, max_iter=n_iterations, tol=0).fit(X)

    trainers = {
        **{metric: lambda n, metric=metric: train_map(metric, n) for metric in METRICS},
        "k-means": train_kmeans,
    }
    models = {name: train(N_ITERATIONS) for name, train in trainers.items()}
    tasks = {}
    for name, train in trainers.items():
        model = models[name]
        tasks[name, "fit"] = lambda train=train: per_iteration(train, 1, many)
        tasks[name, "predict"] = lambda model=model: warm_seconds_of(lambda: model.predict(X))
        tasks[name, "transform"] = lambda model=model: warm_seconds_of(lambda: model.transform(X))
    seconds = alternate(tasks, n_rounds)
    median = {task: reduced(values, np.median) for task, values in seconds.items()}
    minimum = {task: reduced(values, np.min) for task, values in seconds.items()}
    for metric in METRICS:
        yield {
            **described(data, X),
            "units": n_units,
            "metric": metric,
            "epoch (ms)": 1e3 * median[metric, "fit"],
            "minimum": 1e3 * minimum[metric, "fit"],
            "k-means iteration (ms)": 1e3 * median["k-means", "fit"],
            "k-means minimum": 1e3 * minimum["k-means", "fit"],
            "ratio": median[metric, "fit"] / median["k-means", "fit"],
            "ratio of minima": minimum[metric, "fit"] / minimum["k-means", "fit"],
            **{
                f"{task} ratio": median[metric, task] / median["k-means", task]
                for task in ("predict", "transform")
            },
            "error, map": error(X, models[metric].codebook_, metric),
            "error, k-means": error(X, models["k-means"].cluster_centers_, metric),
        }


def memory_of_fit(model, X):
    """Measure the peak of a fit beyond the data, in MiB; the library is warm."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    model.fit(X[:1000])
    return peak_mebibytes(lambda: model.fit(X))


def memory(data, X, side):
    """Measure memory, each fit in a process of its own; yield rows."""
    mebibytes = (X.data.nbytes + X.indices.nbytes + X.indptr.nbytes) / 2**20
    models = {f"TFSOM, {metric}": TFSOM(side, metric=metric, max_iter=3) for metric in METRICS}
    models["KMeans"] = KMeans(side**2, init="random", n_init=1, max_iter=3, random_state=0)
    for name, model in models.items():
        yield {
            **described(data, X),
            "units": side**2,
            "model": name,
            "data (MiB)": mebibytes,
            "codebook (MiB)": side**2 * X.shape[1] * X.dtype.itemsize / 2**20,
            "peak beyond the data (MiB)": in_own_process(memory_of_fit, model, X),
        }


def whole_fits(X, labels, side, n_rounds):
    """Fit all at their defaults, as many centers as the map has units; yield rows."""
    models = {f"TFSOM, {metric}": TFSOM(side, metric=metric) for metric in METRICS}
    models["KMeans"] = KMeans(side**2, random_state=0)
    seconds = alternate(
        {
            name: lambda model=model: seconds_of(lambda: model.fit(X))
            for name, model in models.items()
        },
        n_rounds,
    )
    for name, model in models.items():
        is_map = name != "KMeans"
        codebook = model.codebook_ if is_map else model.cluster_centers_
        yield {
            "model": name,
            "units": side**2,
            "fit (s)": float(np.median(seconds[name])),
            "minimum": float(seconds[name].min()),
            "iterations": model.n_iter_,
            "NMI of unit and package": float(normalized_mutual_info_score(labels, model.labels_)),
            "largest unit (%)": 100 * float(np.bincount(model.labels_).max() / len(labels)),
            # Code vectors under the cosine metric are directions; their length says nothing.
            "quantization error": "" if "cosine" in name else error(X, codebook, "euclidean"),
            "cosine distance": error(X, codebook, "cosine"),
            "topographic error": topographic_error(model, X) if is_map else "",
        }


def main():
    """Run text in both precisions, then random data."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # iterations are cut short on purpose
    short = is_short(__doc__)
    n_rounds, many = (1, 4) if short else (N_ROUNDS, 11)
    X, labels = tf_idf()
    if short:
        X, labels = X[::2], labels[::2]
    X32, random = X.astype(np.float32), random_csr()
    text_rows = [
        row
        for side in SIDES
        for values in ((X32,) if short and side == SIDES[0] else (X32, X))
        for row in compare("text", values, side, n_rounds, many)
    ]
    random_rows = list(compare("random", random, RANDOM_SIDE, n_rounds, many))
    memory_rows = [
        row
        for data, values, side in (
            *(("text", X32, side) for side in (SIDES[1:] if short else SIDES)),
            ("random", random, RANDOM_SIDE),
        )
        for row in memory(data, values, side)
    ]
    fits = [
        row
        for side in (SIDES[:1] if short else SIDES)
        for row in whole_fits(X32, labels, side, 1 if short else 3)
    ]
    most = max(
        row["peak beyond the data (MiB)"]
        for row in memory_rows
        if row["data"] == "random" and row["model"] != "KMeans"
    )
    columns = ("ratio", "ratio of minima", "predict ratio", "transform ratio")
    means = {
        metric: {
            column: geometric_mean([row[column] for row in text_rows if row["metric"] == metric])
            for column in columns
        }
        for metric in METRICS
    }
    packages = {label: int(np.sum(labels == label)) for label in np.unique(labels)}
    save(
        "sparse",
        "Sparse data: an epoch against an iteration of k-means, on TF-IDF of docstrings",
        {
            "An epoch, predict, transform": text_rows + random_rows,
            "Memory": memory_rows,
            "Whole fits of the text at the defaults": fits,
        },
        [
            f"Text: paragraphs of the docstrings of {', '.join(PACKAGES.values())} and the "
            "standard library, parsed from the installed source files, without tests: "
            f"{X.shape[0]:,} documents of at least {MIN_WORDS} words ("
            + ", ".join(f"{label} {number:,}" for label, number in packages.items())
            + f"), a vocabulary of {X.shape[1]:,} words, density "
            f"{100 * X.nnz / np.prod(X.shape, dtype=float):.3f} %. Rows have length 1. The label "
            "is the package.",
            "Geometric means over the text, in times k-means': "
            + "; ".join(
                f"{metric}: epoch {mean['ratio']:.2f} (minima: {mean['ratio of minima']:.2f}), "
                f"predict {mean['predict ratio']:.2f}, transform {mean['transform ratio']:.2f}"
                for metric, mean in means.items()
            )
            + ".",
            f"Medians of {n_rounds} alternating rounds, one more dropped. An epoch is a search, "
            "sums and smoothing (Gaussian, radius 1, hexagonal); its time is the difference "
            f"between fits of {many} epochs and of one. k-means: Lloyd, same start (rows drawn "
            "from the data), same CSR; it is Euclidean beside both metrics. Errors: mean "
            f"distances to the nearest center after {N_ITERATIONS} epochs or iterations, in the "
            "row's metric.",
            "Memory: in a process of its own, the peak of the resident set during a fit of three "
            "epochs from the principal plane (k-means: from drawn rows), reset before, minus the "
            "resident set then: data made, library warm from a fit of 1,000 rows. Random data: "
            f"{most:.0f} MiB at most with TFSOM, target {RANDOM_TARGET}: "
            + ("met." if most <= RANDOM_TARGET else "missed."),
            "Whole fits: float32. NMI: normalized mutual information of the documents' units and "
            "packages; cosine distance: mean of 1 - cos to the unit of the greatest cosine.",
        ],
        packages=("scipy",),
    )


if __name__ == "__main__":
    main()

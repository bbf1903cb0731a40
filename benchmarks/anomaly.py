"""Anomaly detection compared with scikit-learn's detectors: ROC-AUC and average precision."""

import numpy as np
from common import describe_data, parse_arguments, save_results
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM

MEASURES = ("area under the ROC curve", "average precision")
MODES = {"Anomalies among the training samples": False, "Trained on normal samples": True}
N_MALIGNANT, N_OF_DIGIT = 40, 20
DIGITS = (0, 1, 4, 8)
N_NEIGHBORS = 35
N_FEW_CENTERS = 25
# Reference sets from the same sources as sets that were used to choose the scores.
SAME_SOURCES = {"annthyroid", "cardio", "wdbc"}


def load_tumors(rng):
    """Return all benign tumors and some randomly drawn malignant ones."""
    X, y = load_breast_cancer(return_X_y=True)
    return subsample_anomalies(X, y == 0, N_MALIGNANT, rng)


def make_digits_loader(digit):
    """Return a function that loads all other digits and some randomly drawn images of this one."""

    def load(rng):
        X, y = load_digits(return_X_y=True)
        return subsample_anomalies(X, y == digit, N_OF_DIGIT, rng)

    return load


def subsample_anomalies(X, is_anomaly, n_drawn, rng):
    """Return all normal samples and `n_drawn` randomly drawn anomalies, with their labels."""
    drawn = rng.choice(np.flatnonzero(is_anomaly), n_drawn, replace=False)
    rows = np.concatenate([np.flatnonzero(~is_anomaly), drawn])
    return X[rows], is_anomaly[rows]


def make_reference_loader(path):
    """Return a function that loads a reference set as a whole."""

    def load(rng):
        stored = np.load(path)
        return stored["X"].astype(np.float64), stored["y"] == 1

    return load


def make_loaders(reference):
    """Return the loader of each set; the reference sets only if there is a folder of them."""
    loaders = {
        "breast cancer": load_tumors,
        **{f"digits, anomaly {digit}": make_digits_loader(digit) for digit in DIGITS},
    }
    return loaders | {
        name: make_reference_loader(path) for name, path in reference_paths(reference)
    }


def reference_paths(reference):
    """Return names and paths of the reference sets, in the order in which they are halved."""
    if reference is None:
        return []
    paths = [*(reference / "data").glob("adbench_*.npz"), *(reference / "anomalies").glob("*.npz")]
    paths.sort(key=lambda path: path.name)
    return [(path.stem.removeprefix("adbench_"), path) for path in paths]


def standardize(name, train, test):
    """Standardize by the training samples; digits are not standardized."""
    if name.startswith("digits"):
        return train, test
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


def measure(train, test, is_anomaly, seed):
    """Train all detectors and score the test samples.

    Parameters
    ----------
    train, test : ndarray of shape (n_samples, n_features)
        The same array if the training samples are scored.
    is_anomaly : ndarray of bool, shape (n_test_samples,)
        Labels of the test samples.
    seed : int
        Seed of the isolation forest and of k-means.

    Returns
    -------
    values : dict of str to ndarray of shape (2,)
        Area under the ROC curve and average precision for each detector.
    """
    som = TFSOM().fit(train)
    scores = {"TFSOM": som.score_samples(test)}
    for name in ("u_height", "distance"):
        scores[f"TFSOM, {name}"] = som.set_params(anomaly_score=name).score_samples(test)
    scores["IsolationForest"] = IsolationForest(random_state=seed).fit(train).score_samples(test)
    # With novelty=False a sample is not its own neighbor.
    novelty = test is not train
    detector = LocalOutlierFactor(N_NEIGHBORS, novelty=novelty).fit(train)
    scores["LocalOutlierFactor"] = (
        detector.score_samples(test) if novelty else detector.negative_outlier_factor_
    )
    kmeans = KMeans(N_FEW_CENTERS, n_init=1, random_state=seed).fit(train)
    scores[f"k-means, {N_FEW_CENTERS} centers"] = -kmeans.transform(test).min(axis=1)
    return {
        label: np.array(
            [roc_auc_score(is_anomaly, -score), average_precision_score(is_anomaly, -score)]
        )
        for label, score in scores.items()
    }


def compare(name, load, n_seeds, *, is_novelty_detection):
    """Return rows of both measures on one set: means over the seeds.

    Parameters
    ----------
    name : str
        Name of the set.
    load : callable
        ``load(rng)`` returns samples and labels.
    n_seeds : int
        Number of draws, splits and seeds of the detectors.
    is_novelty_detection : bool
        If True, train on half of the normal samples and score all other samples.
    """
    results = []
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        X, is_anomaly = load(rng)
        if is_novelty_detection:
            is_train = ~is_anomaly & (rng.permutation(len(X)) % 2 == 0)
            train, test = standardize(name, X[is_train], X[~is_train])
            results.append(measure(train, test, is_anomaly[~is_train], seed))
        else:
            train, _ = standardize(name, X, X)
            results.append(measure(train, train, is_anomaly, seed))
    means = {label: np.mean([values[label] for values in results], axis=0) for label in results[0]}
    facts = {"data": describe_data(name, X), "anomalies": int(is_anomaly.sum())}
    return [
        facts | {label: float(values[which]) for label, values in means.items()}
        for which in range(len(MEASURES))
    ]


def summarize(heading, rows):
    """Return a row of means over sets; all sets of digits count as one."""
    weights = [1 / len(DIGITS) if row["data"].startswith("digits") else 1 for row in rows]
    return {
        "data": heading,
        "anomalies": "",
        **{
            label: float(np.average([row[label] for row in rows], weights=weights))
            for label in list(rows[0])[2:]
        },
    }


def main():
    """Run all sets; with --short fewer seeds."""
    arguments = parse_arguments(__doc__, has_reference=True)
    n_seeds = 3 if arguments.short else 10
    loaders = make_loaders(arguments.reference)
    held_back = {name for name, _ in reference_paths(arguments.reference)[1::2]}
    for name in SAME_SOURCES & held_back:
        del loaders[name]
    tables = {}
    for heading, is_novelty_detection in MODES.items():
        rows = {
            name: compare(name, load, n_seeds, is_novelty_detection=is_novelty_detection)
            for name, load in loaders.items()
        }
        for which, label in enumerate(MEASURES):
            chosen_on = [row[which] for name, row in rows.items() if name not in held_back]
            others = [row[which] for name, row in rows.items() if name in held_back]
            table = [*chosen_on, summarize("mean of these (digits count as one)", chosen_on)]
            if others:
                table += [*others, summarize("mean of these, held back", others)]
            tables[f"{heading}: {label}"] = table
    notes = [
        'TFSOM: default parameters, and with anomaly_score="u_height" and "distance". '
        f"IsolationForest: default parameters. LocalOutlierFactor: {N_NEIGHBORS} neighbors. "
        f"k-means: distance to the closest of {N_FEW_CENTERS} centers; one initialization.",
        "Held back: every second reference set by the name of its file; neither the scores nor "
        f"the default were chosen on them. {', '.join(sorted(SAME_SOURCES))} are left out: sets "
        "from the same sources are among the others.",
        f"Means over {n_seeds} seeds of the drawn samples, the split, the isolation forest and "
        "k-means. Standardized by the training samples, except digits.",
        f"Breast cancer: all benign tumors and {N_MALIGNANT} randomly drawn malignant ones. "
        f"Digits: all images of the other nine digits and {N_OF_DIGIT} randomly drawn images of "
        "the named one.",
        "Anomalies among the training samples: all are used for training and are scored. Trained "
        "on normal samples: half of them; the other half and all anomalies are scored.",
    ]
    if arguments.reference is None:
        notes.append("Reference sets are omitted: they need --reference.")
    save_results("anomaly", tables, notes)


if __name__ == "__main__":
    main()

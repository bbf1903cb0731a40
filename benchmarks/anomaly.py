"""Anomaly detection compared with scikit-learn's detectors: area under the ROC curve."""

import numpy as np
from common import describe_data, parse_arguments, save_results, time_call
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM

REFERENCE_SETS = {
    "breastw": "adbench_breastw",
    "thyroid": "adbench_thyroid",
    "cardio": "adbench_cardio",
}
N_MALIGNANT, N_OF_DIGIT = 40, 20
DIGITS = (0, 1, 4, 8)
N_NEIGHBORS = 35
N_FEW_CENTERS = 25


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
    if reference is not None:
        loaders |= {
            name: make_reference_loader(reference / "data" / f"{file}.npz")
            for name, file in REFERENCE_SETS.items()
        }
    return loaders


def standardize(name, train, test):
    """Standardize by the training samples; digits are not standardized."""
    if name.startswith("digits"):
        return train, test
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


def compute_areas(train, test, is_anomaly, seed):
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
    areas : dict of str to float
        Area under the ROC curve for each detector.
    seconds : float
        Time to fit the map and to score the test samples.
    """
    som = TFSOM()
    scores = {}

    def fit_and_score():
        som.fit(train)
        scores["TFSOM"] = som.score_samples(test)

    seconds = time_call(fit_and_score)
    som_by_height = TFSOM(anomaly_score="u_height").fit(train)
    scores["TFSOM, u_height"] = som_by_height.score_samples(test)
    scores["IsolationForest"] = IsolationForest(random_state=seed).fit(train).score_samples(test)
    # With novelty=False a sample is not its own neighbor.
    novelty = test is not train
    detector = LocalOutlierFactor(N_NEIGHBORS, novelty=novelty).fit(train)
    scores["LocalOutlierFactor"] = (
        detector.score_samples(test) if novelty else detector.negative_outlier_factor_
    )
    n_units = len(som.codebook_)
    for n_centers, label in ((n_units, "n_units"), (N_FEW_CENTERS, N_FEW_CENTERS)):
        kmeans = KMeans(n_centers, n_init=1, random_state=seed).fit(train)
        scores[f"k-means, {label} centers"] = -kmeans.transform(test).min(axis=1)
    return {
        label: float(roc_auc_score(is_anomaly, -score)) for label, score in scores.items()
    }, seconds


def compare(name, load, n_seeds, *, is_novelty_detection):
    """Return a row of the results on one set: means over the seeds.

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
            results.append(compute_areas(train, test, is_anomaly[~is_train], seed))
        else:
            train, _ = standardize(name, X, X)
            results.append(compute_areas(train, train, is_anomaly, seed))
    return {
        "data": describe_data(name, X),
        "anomalies": int(is_anomaly.sum()),
        **{
            label: float(np.mean([areas[label] for areas, _ in results]))
            for label in results[0][0]
        },
        "time of TFSOM (s)": float(np.median([seconds for _, seconds in results])),
    }


def summarize(rows):
    """Return a row of means over the sets; all sets of digits count as one."""
    weights = [1 / len(DIGITS) if row["data"].startswith("digits") else 1 for row in rows]
    return {
        "data": "mean (digits count as one set)",
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
    headings = {"Anomalies among the training samples": False, "Trained on normal samples": True}
    tables = {}
    for heading, is_novelty_detection in headings.items():
        rows = [
            compare(name, load, n_seeds, is_novelty_detection=is_novelty_detection)
            for name, load in make_loaders(arguments.reference).items()
        ]
        tables[heading] = [*rows, summarize(rows)]
    notes = [
        'TFSOM: default parameters, and anomaly_score="u_height". IsolationForest: default '
        f"parameters. LocalOutlierFactor: {N_NEIGHBORS} neighbors. k-means: distance to the "
        f"closest center, with as many centers as the map has units and with {N_FEW_CENTERS}; "
        "one initialization.",
        f"Means over {n_seeds} seeds of the drawn samples, the split, the isolation forest and "
        "k-means. Standardized by the training samples, except digits.",
        f"Breast cancer: all benign tumors and {N_MALIGNANT} randomly drawn malignant ones. "
        f"Digits: all images of the other nine digits and {N_OF_DIGIT} randomly drawn images of "
        "the named one.",
        "First table: all samples are used for training and are scored. Second table: half of "
        "the normal samples are used for training; the other half and all anomalies are scored.",
    ]
    if arguments.reference is None:
        notes.append(f"{', '.join(REFERENCE_SETS)} are omitted: they need --reference.")
    save_results("anomaly", "Anomaly detection: area under the ROC curve", tables, notes)


if __name__ == "__main__":
    main()

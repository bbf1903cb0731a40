"""Anomalies: the map's scores against scikit-learn's detectors, area under the ROC curve."""

from pathlib import Path

import numpy as np
from common import is_short, save, seconds_of
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"
REFERENCE_SETS = {
    "breastw": "adbench_breastw",
    "thyroid": "adbench_thyroid",
    "cardio": "adbench_cardio",
}
N_MALIGNANT, N_OF_DIGIT = 40, 20
DIGITS = (0, 1, 4, 8)
N_NEIGHBORS = 35
FEW_CENTERS = 25


def breast_cancer(rng):
    """All benign tumors, and some malignant ones drawn at random."""
    X, y = load_breast_cancer(return_X_y=True)
    return normal_and_some(X, y == 0, N_MALIGNANT, rng)


def digits_but(digit):
    """All other digits, and some of this one drawn at random."""

    def load(rng):
        X, y = load_digits(return_X_y=True)
        return normal_and_some(X, y == digit, N_OF_DIGIT, rng)

    return load


def normal_and_some(X, is_abnormal, n_drawn, rng):
    """Keep all normal samples and so many of the others."""
    drawn = rng.choice(np.flatnonzero(is_abnormal), n_drawn, replace=False)
    rows = np.concatenate([np.flatnonzero(~is_abnormal), drawn])
    return X[rows], is_abnormal[rows]


def reference_set(file):
    """Load a stored set, in which nothing is drawn."""

    def load(rng):
        stored = np.load(REFERENCE / "data" / f"{file}.npz")
        return stored["X"].astype(np.float64), stored["y"] == 1

    return load


def sets():
    """Name the sets that are there, with their loaders."""
    there = {
        "breast cancer": breast_cancer,
        **{f"digits, {digit} abnormal": digits_but(digit) for digit in DIGITS},
    }
    if (REFERENCE / "data").is_dir():
        there |= {name: reference_set(file) for name, file in REFERENCE_SETS.items()}
    return there


def prepare(name, train, test):
    """Standardize by the training data, but for digits."""
    if name.startswith("digits"):
        return train, test
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


def areas(train, test, is_abnormal, seed):
    """Train all detectors and score the test samples.

    Parameters
    ----------
    train, test : ndarray of shape (n_samples, n_features)
        The same array if the training data are what is scored.
    is_abnormal : ndarray of bool
        Of the test samples.
    seed : int

    Returns
    -------
    areas : dict of str to float
        Area under the ROC curve of each detector.
    seconds : float
        Time of the map's fit and of its scores.
    """
    som = TFSOM()
    scores = {}

    def by_map():
        som.fit(train)
        scores["TFSOM"] = som.score_samples(test)

    seconds = seconds_of(by_map)
    scores["TFSOM, u_height"] = som.score_samples(test, method="u_height")
    scores["IsolationForest"] = IsolationForest(random_state=seed).fit(train).score_samples(test)
    is_new = test is not train  # a sample is not to be its own neighbor
    factor = LocalOutlierFactor(N_NEIGHBORS, novelty=is_new).fit(train)
    scores["LocalOutlierFactor"] = (
        factor.score_samples(test) if is_new else factor.negative_outlier_factor_
    )
    n_units = len(som.codebook_)
    for n_centers, label in ((n_units, "as many as units"), (FEW_CENTERS, str(FEW_CENTERS))):
        k_means = KMeans(n_centers, n_init=1, random_state=seed).fit(train)
        scores[f"k-means, {label}"] = -k_means.transform(test).min(axis=1)
    return {
        label: float(roc_auc_score(is_abnormal, -score)) for label, score in scores.items()
    }, seconds


def compare(name, load, n_seeds, is_clean):
    """Average over draws, splits and seeds of the detectors.

    Parameters
    ----------
    name : str
    load : callable
    n_seeds : int
    is_clean : bool
        Whether to train on half of the normal samples and to score all others.
    """
    results = []
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        X, is_abnormal = load(rng)
        if is_clean:
            is_train = ~is_abnormal & (rng.permutation(len(X)) % 2 == 0)
            train, test = prepare(name, X[is_train], X[~is_train])
            results.append(areas(train, test, is_abnormal[~is_train], seed))
        else:
            train, _ = prepare(name, X, X)
            results.append(areas(train, train, is_abnormal, seed))
    return {
        "data": f"{name} ({X.shape[0]} x {X.shape[1]})",
        "anomalies": int(is_abnormal.sum()),
        **{label: float(np.mean([each[label] for each, _ in results])) for label in results[0][0]},
        "seconds, TFSOM": float(np.median([seconds for _, seconds in results])),
    }


def summary(rows):
    """Average over the sets; those of digits count as one."""
    weights = [1 / len(DIGITS) if row["data"].startswith("digits") else 1 for row in rows]
    return {
        "data": "mean, digits as one set",
        "anomalies": "",
        **{
            label: float(np.average([row[label] for row in rows], weights=weights))
            for label in list(rows[0])[2:]
        },
    }


def main():
    """Run all sets; in the short set with fewer seeds."""
    n_seeds = 3 if is_short(__doc__) else 10
    headings = {"Anomalies among the training data": False, "Trained on normal samples": True}
    tables = {}
    for heading, is_clean in headings.items():
        rows = [compare(name, load, n_seeds, is_clean) for name, load in sets().items()]
        tables[heading] = [*rows, summary(rows)]
    left_out = f"{', '.join(REFERENCE_SETS)} are left out: their data are not there."
    save(
        "anomaly",
        "Anomalies: area under the ROC curve",
        tables,
        [
            "TFSOM: defaults, score_samples with both methods, of one fit. IsolationForest: "
            f"defaults. LocalOutlierFactor: {N_NEIGHBORS} neighbors. k-means: distance to the "
            f"closest of as many centers as the map has units, and of {FEW_CENTERS}; one start.",
            f"Means over {n_seeds} seeds: of what is drawn, of the split, and of the forest and "
            "k-means. Standardized by the training data, but for digits.",
            f"Breast cancer: all benign tumors, {N_MALIGNANT} malignant ones drawn. Digits: all "
            f"of the other nine, {N_OF_DIGIT} of this one drawn.",
            "First table: all samples are trained on, and scored. Second: half of the normal "
            "samples are trained on; the other half and all anomalies are scored.",
            *([] if (REFERENCE / "data").is_dir() else [left_out]),
        ],
    )


if __name__ == "__main__":
    main()

"""Filling in missing values: the map against scikit-learn's imputers, error and time."""

import warnings

import numpy as np
from common import alternate, is_short, save, seconds_of
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # makes it importable
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM

SETS = {
    "iris": load_iris,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
}
SHARE_MISSING = 0.2
N_ROUNDS = 3


def by_map(method):
    """Train a map on the incomplete data, and fill in from it."""
    return lambda X: TFSOM().fit(X).impute(X, method=method)


METHODS = {
    "mean": lambda X: SimpleImputer().fit_transform(X),
    "TFSOM": by_map("expectation"),
    "TFSOM, unit": by_map("unit"),
    "KNNImputer": lambda X: KNNImputer().fit_transform(X),
    "IterativeImputer": lambda X: IterativeImputer(random_state=0).fit_transform(X),
}


def compare(name, n_rounds):
    """Take a fifth of the values of a set away at random, and fill them in."""
    X = SETS[name](return_X_y=True)[0]
    X = StandardScaler().fit_transform(X[:, X.std(axis=0) > 0])
    is_missing = np.random.default_rng(0).random(X.shape) < SHARE_MISSING
    is_missing[is_missing.all(axis=1), 0] = False
    incomplete = np.where(is_missing, np.nan, X)
    filled = {}

    def fill(method):
        filled[method] = METHODS[method](incomplete)

    seconds = alternate(
        {method: lambda method=method: seconds_of(lambda: fill(method)) for method in METHODS},
        n_rounds,
    )
    differences = {method: (filled[method] - X)[is_missing] for method in METHODS}
    squares = {method: float(np.sqrt(np.mean(d**2))) for method, d in differences.items()}
    for method, d in differences.items():
        yield {
            "data": f"{name} ({X.shape[0]} x {X.shape[1]})",
            "method": method,
            "root mean square error": squares[method],
            "in times the mean's": squares[method] / squares["mean"],
            "mean absolute error": float(np.abs(d).mean()),
            "seconds": float(np.median(seconds[method])),
            "minimum": float(seconds[method].min()),
        }


def main():
    """Run all sets; in the short set without digits, which takes IterativeImputer minutes."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    short = is_short(__doc__)
    save(
        "imputation",
        "Imputation: a fifth of the values missing at random",
        {
            "": [
                row
                for name in SETS
                if not (short and name == "digits")
                for row in compare(name, 1 if short else N_ROUNDS)
            ]
        },
        [
            "Standardized features. The map is trained on the incomplete data; time includes it.",
            "IterativeImputer regresses each feature on all others: it is best where features "
            "depend on one another linearly, and its time grows with the square of their number.",
        ],
    )


if __name__ == "__main__":
    main()

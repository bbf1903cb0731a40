"""Imputation of missing values compared with scikit-learn's imputers: error and time."""

import time
import warnings

import numpy as np
from common import (
    LABELED_SETS,
    LOADERS,
    describe_data,
    median_and_minimum,
    parse_arguments,
    save_results,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # enables the import
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM

MISSING_FRACTION = 0.2
N_SEEDS = 5

METHODS = {
    "mean": lambda X: SimpleImputer().fit_transform(X),
    "TFSOM": lambda X: TFSOM().fit(X).impute(X, method="expectation"),
    "TFSOM, unit": lambda X: TFSOM().fit(X).impute(X, method="unit"),
    "KNNImputer": lambda X: KNNImputer().fit_transform(X),
    "IterativeImputer": lambda X: IterativeImputer(random_state=0).fit_transform(X),
}


def remove_values(X, seed):
    """Return samples without 20 % of their values, and the mask of these; none lacks all."""
    is_missing = np.random.default_rng(seed).random(X.shape) < MISSING_FRACTION
    is_missing[is_missing.all(axis=1), 0] = False
    return np.where(is_missing, np.nan, X), is_missing


def compare(name, n_seeds):
    """Yield a row for each method on one set, with other values removed for each seed."""
    X = LOADERS[name](return_X_y=True)[0]
    X = StandardScaler().fit_transform(X[:, X.std(axis=0) > 0])
    errors, seconds = ({method: [] for method in METHODS} for _ in range(2))
    for seed in range(n_seeds):
        incomplete, is_missing = remove_values(X, seed)
        for method, impute in METHODS.items():
            started = time.perf_counter()
            imputed = impute(incomplete)
            seconds[method].append(time.perf_counter() - started)
            errors[method].append((imputed - X)[is_missing])
    squares = {
        method: np.mean([np.mean(error**2) for error in found]) for method, found in errors.items()
    }
    for method, found in errors.items():
        median, minimum = median_and_minimum(seconds[method])
        yield {
            "data": describe_data(name, X),
            "method": method,
            "RMSE": float(np.sqrt(squares[method])),
            "RMSE / RMSE of the mean": float(np.sqrt(squares[method] / squares["mean"])),
            "mean absolute error": float(np.mean([np.abs(error).mean() for error in found])),
            "time (s)": median,
            "time, minimum (s)": minimum,
        }


def main():
    """Run all sets; with --short without digits, on which IterativeImputer takes long."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    short = parse_arguments(__doc__).short
    names = [name for name in LABELED_SETS if not (short and name == "digits")]
    n_seeds = 1 if short else N_SEEDS
    save_results(
        "imputation",
        {"": [row for name in names for row in compare(name, n_seeds)]},
        [
            f"Standardized features, {n_seeds} draws of the values that are removed. RMSE: root "
            "mean square error of the imputed values. Times: median and minimum over the draws. "
            "The map is trained on the incomplete data; the time includes the training.",
            "IterativeImputer regresses each feature on all others. It is most accurate if the "
            "features are linearly dependent, and its time is quadratic in their number.",
        ],
    )


if __name__ == "__main__":
    main()

"""Imputation of missing values compared with scikit-learn's imputers: error and time."""

import warnings

import numpy as np
from common import (
    LABELED_SETS,
    LOADERS,
    describe_data,
    median_and_minimum,
    parse_arguments,
    save_results,
    time_alternately,
    time_call,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # enables the import
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import StandardScaler

from sklearn_tfsom import TFSOM

MISSING_FRACTION = 0.2
N_ROUNDS = 3

METHODS = {
    "mean": lambda X: SimpleImputer().fit_transform(X),
    "TFSOM": lambda X: TFSOM().fit(X).impute(X, method="expectation"),
    "TFSOM, unit": lambda X: TFSOM().fit(X).impute(X, method="unit"),
    "KNNImputer": lambda X: KNNImputer().fit_transform(X),
    "IterativeImputer": lambda X: IterativeImputer(random_state=0).fit_transform(X),
}


def compare(name, n_rounds):
    """Yield a row for each method on one set, 20 % of whose values are removed at random."""
    X = LOADERS[name](return_X_y=True)[0]
    X = StandardScaler().fit_transform(X[:, X.std(axis=0) > 0])
    is_missing = np.random.default_rng(0).random(X.shape) < MISSING_FRACTION
    is_missing[is_missing.all(axis=1), 0] = False
    incomplete = np.where(is_missing, np.nan, X)
    imputed = {}

    def impute(method):
        imputed[method] = METHODS[method](incomplete)

    seconds = time_alternately(
        {method: lambda method=method: time_call(lambda: impute(method)) for method in METHODS},
        n_rounds,
    )
    differences = {method: (imputed[method] - X)[is_missing] for method in METHODS}
    rmse = {method: float(np.sqrt(np.mean(d**2))) for method, d in differences.items()}
    for method, difference in differences.items():
        median, minimum = median_and_minimum(seconds[method])
        yield {
            "data": describe_data(name, X),
            "method": method,
            "RMSE": rmse[method],
            "RMSE / RMSE of the mean": rmse[method] / rmse["mean"],
            "mean absolute error": float(np.abs(difference).mean()),
            "time (s)": median,
            "time, minimum (s)": minimum,
        }


def main():
    """Run all sets; with --short without digits, on which IterativeImputer takes long."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    short = parse_arguments(__doc__).short
    names = [name for name in LABELED_SETS if not (short and name == "digits")]
    n_rounds = 1 if short else N_ROUNDS
    save_results(
        "imputation",
        {"": [row for name in names for row in compare(name, n_rounds)]},
        [
            "Standardized features. RMSE: root mean square error of the imputed values. The map "
            "is trained on the incomplete data; the time includes the training.",
            "IterativeImputer regresses each feature on all others. It is most accurate if the "
            "features are linearly dependent, and its time is quadratic in their number.",
        ],
    )


if __name__ == "__main__":
    main()

"""First fits and whole scripts, each in a fresh process, beside later fits: time and errors."""

import functools
import json
import subprocess
import sys
import tempfile

import numpy as np
from adapters import is_installed
from common import (
    compute_errors,
    describe_data,
    make_curved_data,
    median_and_minimum,
    parse_arguments,
    save_results,
    time_alternately,
    time_call,
)
from sklearn.datasets import load_digits

# name, (n_samples, n_features), grid_size, dtype
CASES = [
    ("digits", (1797, 64), "auto", "float64"),
    ("curved manifold", (20_000, 32), 20, "float32"),
    ("curved manifold", (50_000, 64), 20, "float32"),
    ("curved manifold", (300_000, 64), 20, "float32"),
    ("curved manifold", (1_000_000, 64), 20, "float32"),
    ("curved manifold", (200_000, 3), 16, "float64"),
    ("curved manifold", (20_000, 784), 20, "float32"),
]
# Values of the largest data that k-means clusters here: beyond it takes minutes.
MAX_KMEANS_VALUES = 2**25
N_ROUNDS = 3
N_FITS = 4

# What a user's script does. Prints the seconds of each fit, and may save the code vectors.
SCRIPT = """
import json, sys, time
path, model, save_to = sys.argv[1:4]
grid_size, n_units, n_fits = map(json.loads, sys.argv[4:])
import numpy as np
X = np.load(path)
if model == "TFSOM":
    from sklearn_tfsom import TFSOM
    model = TFSOM(grid_size)
    if n_fits > 1:  # imports aside
        import tensorflow
elif model == "fastersom":
    from fastersom import SOM
    side = next(k for k in range(int(n_units**0.5), 0, -1) if n_units % k == 0)
    model = SOM(side, n_units // side, n_epochs=20, device="cpu")
else:
    from sklearn.cluster import KMeans
    model = KMeans(n_units, max_iter=20, random_state=0)
seconds = []
for _ in range(n_fits):
    start = time.perf_counter()
    model.fit(X)
    seconds.append(time.perf_counter() - start)
if save_to:
    names = "codebook_", "weights_", "cluster_centers_"
    (codebook,) = [getattr(model, name) for name in names if hasattr(model, name)]
    np.save(save_to, codebook)
print(json.dumps(seconds))
"""
TENSORFLOW = "import tensorflow; print()"


def run(*arguments):
    """Run a script in a process of its own, and return the line that it prints last."""
    command = [sys.executable, "-c", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def measure(case, n_rounds, folder):
    """Return a row of times of one case."""
    name, shape, grid_size, dtype = case
    X = load_digits().data if name == "digits" else make_curved_data(*shape)
    path = f"{folder}/samples.npy"
    np.save(path, X.astype(dtype))
    n_units = 208 if grid_size == "auto" else grid_size**2  # 208: what "auto" gives for digits
    arguments = json.dumps(grid_size), n_units

    def time_fits():
        first, *later = json.loads(run(SCRIPT, path, "TFSOM", "", *arguments, N_FITS))
        return first, min(later)

    def time_script(model):
        return time_call(lambda: run(SCRIPT, path, model, "", *arguments, 1))

    def error(model):
        run(SCRIPT, path, model, f"{folder}/codebook.npy", *arguments, 1)
        codebook = np.load(f"{folder}/codebook.npy").reshape(n_units, X.shape[1])
        return compute_errors(X, codebook).quantization_error

    models = ["TFSOM"]
    if X.size <= MAX_KMEANS_VALUES:
        models.append("KMeans")
    if is_installed("fastersom"):
        models.append("fastersom")
    tasks = {model: functools.partial(time_script, model) for model in models}
    seconds = time_alternately({"fits": time_fits, **tasks}, n_rounds)
    first, later = (median_and_minimum(column) for column in seconds["fits"].T)
    script = median_and_minimum(seconds["TFSOM"])
    row = {
        "data": f"{describe_data(name, X)}, {dtype}",
        "units": n_units,
        "first fit (s)": first[0],
        "later fit (s)": later[0],
        "first fit - later fit (s)": first[0] - later[0],
        "whole script (s)": script[0],
        "whole script, minimum (s)": script[1],
        "QE": error("TFSOM"),
    }
    for model, name in (("KMeans", "k-means"), ("fastersom", "fastersom")):
        is_measured = model in seconds
        row[f"{name}, whole script (s)"] = (
            median_and_minimum(seconds[model])[0] if is_measured else "-"
        )
        row[f"{name}, QE"] = error(model) if is_measured else "-"
    return row


def main():
    """Run all cases."""
    n_rounds = 2 if parse_arguments(__doc__).short else N_ROUNDS
    imports = median_and_minimum(
        time_alternately({"": lambda: time_call(lambda: run(TENSORFLOW))}, n_rounds)[""]
    )
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(case, n_rounds, folder) for case in CASES]
    save_results(
        "first_fits",
        {"": rows},
        [
            f"Medians of {n_rounds} alternating rounds after a discarded one, each in a process "
            "of its own. Fits are at the defaults: 20 epochs.",
            f"First fit: imports aside; that of TensorFlow takes {imports[0]:.2g} s in a process "
            f"of its own. Later fit: the fastest of {N_FITS - 1} in the same process.",
            "Whole script: from the start of Python to its end, with all imports and reading the "
            "samples from a file.",
            "k-means: as many centers as units, k-means++, at most 20 iterations of all samples; "
            "epochs of TFSOM search subsamples and coarse grids at first. fastersom: 20 epochs, "
            "else at its defaults.",
            "QE: quantization error, the mean distance to the nearest code vector. It depends on "
            "the radius at the end: the smaller, the lower.",
        ],
    )


if __name__ == "__main__":
    main()

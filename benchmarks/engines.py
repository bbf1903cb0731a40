"""An epoch on the engines of `sklearn_tfsom.dask`, `ray` and `spark`, beside one process.

Engines have their workers on this machine, one for each core, and keep the samples in memory.
"""

import contextlib
import importlib
import importlib.util
import os
import pickle
import sys
import time

import numpy as np
from common import (
    median_and_minimum,
    parse_arguments,
    save_results,
    search_engine,
    time_alternately,
    time_short_and_long_fit,
)

from sklearn_tfsom import TFSOM

N_SAMPLES, N_SHORT, N_FEATURES, GRID_SIZE = 3_000_000, 300_000, 100, 20
N_PARTITIONS, N_EPOCHS = 16, 5
N_FEW, N_MANY, N_ROUNDS = 2, 6, 3  # epochs of the short and the long fit in one process
MACHINES, CORES, ROWS, BANDWIDTH = 100, 16, 10**10, 10e9 / 8  # of the model; 10 Gbit/s
N_CORES = os.cpu_count() or 1


def make_block(number, n_rows):
    """Return the samples of a partition."""
    return np.random.default_rng(number).normal(size=(n_rows, N_FEATURES))


@contextlib.contextmanager
def dask_data(n_rows):
    """Yield a Dask array in the memory of the workers of a local cluster."""
    import dask.array as da
    from distributed import Client, LocalCluster, wait

    with (
        LocalCluster(n_workers=N_CORES, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        chunks = ((n_rows,) * N_PARTITIONS, (N_FEATURES,))
        data = da.map_blocks(
            lambda block_info: make_block(block_info[None]["chunk-location"][0], n_rows),
            chunks=chunks,
            dtype=np.float64,
            meta=np.empty((0, 0)),
        ).persist()
        wait(data)
        yield data


@contextlib.contextmanager
def ray_data(n_rows):
    """Yield a dataset in the object store of a local Ray."""
    import ray

    ray.init(num_cpus=N_CORES, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    blocks = [make_block(number, n_rows) for number in range(N_PARTITIONS)]
    yield ray.data.from_numpy(blocks).materialize()
    ray.shutdown()


@contextlib.contextmanager
def spark_data(n_rows):
    """Yield a cached data frame of a local Spark."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession, functions

    builder = SparkSession.builder.master(f"local[{N_CORES}]")
    builder = builder.config("spark.ui.enabled", "false").config("spark.driver.memory", "8g")
    session = builder.getOrCreate()
    columns = [functions.randn(number).alias(f"f{number}") for number in range(N_FEATURES)]
    rows = session.range(0, n_rows * N_PARTITIONS, 1, N_PARTITIONS)
    array = rows.select(functions.array(*columns).alias("x")).cache()
    array.count()
    yield array
    session.stop()


ENGINES = {"Dask": dask_data, "Ray": ray_data, "Spark": spark_data}
PACKAGES = {"Dask": "distributed", "Ray": "ray", "Spark": "pyspark"}


def full_epochs(start, max_iter=N_EPOCHS):
    """Return an unfitted map that searches all units in each of its epochs."""
    parameters = {"init": start, "coarse_to_fine": False, "tol": 0, "max_iter": max_iter}
    return TFSOM(GRID_SIZE, radius_decay=np.ones(max_iter), **parameters)


def time_epoch_alone(n_rows, start):
    """Return the time of a full epoch in this process: a long fit less a short one."""
    X = np.concatenate([make_block(number, n_rows) for number in range(N_PARTITIONS)])
    fits = {
        "": lambda: time_short_and_long_fit(lambda n: full_epochs(start, n).fit(X), N_FEW, N_MANY)
    }
    return median_and_minimum(time_alternately(fits, N_ROUNDS)[""])[0]


def measure_engine(module, data, start):
    """Return the time of a full epoch, and the bytes of its function and of its result."""
    times, sent, returned = [], [], []

    class Engine(module._Engine):
        def reduce(self, function, combine, name):
            started = time.perf_counter()
            result = super().reduce(function, combine, name)
            if name.startswith("epoch"):
                times.append(time.perf_counter() - started)
                sent.append(len(pickle.dumps(function)))
                returned.append(len(pickle.dumps(result)))
            return result

    full_epochs(start)._fit_partitions(lambda: Engine(data, None))
    return float(np.median(times[1:])), max(sent), max(returned)


def model_of_cluster(row, n_samples):
    """Return what an epoch would take on many machines, from a row of an engine here."""
    rows_of_core = ROWS / (MACHINES * CORES)
    working = row["epoch (s)"] * rows_of_core / (n_samples / N_CORES)
    # Each core has a partition; a tree of width 8 combines results.
    depth = np.ceil(np.log(MACHINES * CORES) / np.log(8))
    moving = (row["sent (MB)"] * CORES + row["returned (MB)"] * 8 * depth) * 1e6 / BANDWIDTH
    return {
        "engine": row["engine"],
        "working (s)": working,
        "moving (s)": moving,
        "epoch (s)": working + moving,
    }


def main():
    """Run all engines that are installed."""
    n_samples = N_SHORT if parse_arguments(__doc__).short else N_SAMPLES
    n_rows = n_samples // N_PARTITIONS
    installed = [name for name in ENGINES if importlib.util.find_spec(PACKAGES[name])]
    start = make_block(-1 % 2**32, GRID_SIZE**2) * 0.5
    alone = time_epoch_alone(n_rows, start)
    searched = search_engine(n_samples, GRID_SIZE**2, N_FEW, N_MANY)
    nothing = {"sent (MB)": 0.0, "returned (MB)": 0.0, "moved (MB)": 0.0}
    rows = [{"engine": f"one process, {searched}", "epoch (s)": alone, "ratio": 1.0, **nothing}]
    for name, make_data in ENGINES.items():
        if name not in installed:
            continue
        module = importlib.import_module(f"sklearn_tfsom.{name.lower()}")
        with make_data(n_rows) as data:
            epoch, sent, returned = measure_engine(module, data, start)
        rows.append(
            {
                "engine": name,
                "epoch (s)": epoch,
                "ratio": epoch / alone,
                "sent (MB)": sent / 1e6,
                "returned (MB)": returned / 1e6,
                "moved (MB)": (sent + returned) * N_PARTITIONS / 1e6,
            }
        )
    save_results(
        "engines",
        {
            f"{n_samples:,} x {N_FEATURES} in float64, {GRID_SIZE}x{GRID_SIZE} units": rows,
            f"Model: {ROWS:.0e} x {N_FEATURES} on {MACHINES} machines of {CORES} cores": [
                model_of_cluster(row, n_samples) for row in rows[1:]
            ],
        },
        [
            f"An epoch: the median of {N_EPOCHS - 1} after the first. {N_PARTITIONS} partitions, "
            "one worker for each core, samples in the memory of the engine.",
            f"One process: the difference between fits of {N_MANY} and of {N_FEW} epochs, the "
            f"median of {N_ROUNDS} rounds. Workers of an engine search in NumPy.",
            "Sent and returned: an epoch's function with its arguments, and its result, for a "
            "partition. Moved: both, for all partitions; an engine may send less, because it "
            "sends the function to each worker once.",
            "The model takes the engine's time as here for the rows of a core, with what it takes "
            "for a task, moves the codebook to each core of a machine and the results up a tree "
            "of width 8, at 10 Gbit/s. It leaves out that the slowest machine decides.",
        ],
        packages=[PACKAGES[name] for name in installed],
    )


if __name__ == "__main__":
    main()

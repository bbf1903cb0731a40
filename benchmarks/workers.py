"""Two workers of one core each compared with one, and a model of up to 100 machines."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from common import (
    compute_errors,
    fit_map,
    import_tensorflow,
    make_curved_data,
    median_and_minimum,
    parse_arguments,
    save_results,
    search_engine,
    time_short_and_long_fit,
)
from scipy.integrate import quad
from scipy.stats import norm

from sklearn_tfsom import TFSOM

N_SAMPLES, N_FEATURES, SIDE = 1_000_000, 64, 30
N_FEW, N_MANY = 5, 10  # epochs of the short and of the long fit
N_ROUNDS = 3
N_SUMS = 50
N_COPIED_VALUES, N_COPIES = 2**23, 50  # 64 MiB, larger than all caches
# Parameters of the model.
N_MODEL_SAMPLES, N_MODEL_EPOCHS = 10**10, 20
N_MACHINES = (1, 2, 10, 100)
N_CORES = 16
BYTES_PER_SECOND = 10e9 / 8  # bandwidth of the network
LATENCY = 200e-6  # seconds per message, with the overhead of TensorFlow


# A worker: a process of its own


def configure_worker(index):
    """Restrict this process to one core and TensorFlow to one thread; return TensorFlow."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[index % len(cores)]})
    tf = import_tensorflow()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    return tf


class ExchangeMonitor:
    """Record the sums over the workers of a strategy.

    There is no public way to observe these sums, so the call of the private class is wrapped.

    Attributes
    ----------
    n_bytes : list of int
        Size of each sum.
    compute_seconds : list of float
        Time since the previous sum, for each sum.
    """

    def __init__(self, all_reduce_class):
        self.n_bytes, self.compute_seconds = [], []
        self._call, self._last_end = all_reduce_class.__call__, None
        all_reduce_class.__call__ = lambda all_reduce, values: self.sum(all_reduce, values)

    def sum(self, all_reduce, values):
        """Sum over the workers, and record size and time."""
        start = time.perf_counter()
        total = self._call(all_reduce, values)
        self.n_bytes.append(np.size(values) * 8)
        self.compute_seconds.append(0.0 if self._last_end is None else start - self._last_end)
        self._last_end = time.perf_counter()
        return total


def run_worker(path, index, n_workers):
    """Measure the fits of one worker, and print them as JSON."""
    tf = configure_worker(index)
    samples = np.load(path, mmap_mode="r")
    X = np.array(
        samples[index * len(samples) // n_workers : (index + 1) * len(samples) // n_workers]
    )
    start = samples[:: N_SAMPLES // SIDE**2][: SIDE**2]
    warnings.simplefilter("ignore")  # few epochs on purpose
    strategy = (
        tf.distribute.MultiWorkerMirroredStrategy()
        if n_workers > 1
        else tf.distribute.get_strategy()
    )
    from sklearn_tfsom._tf.strategy import AllReduce

    monitor = ExchangeMonitor(AllReduce)

    def fit(n_epochs):
        return fit_map(X, SIDE, start, n_epochs)

    with strategy.scope():
        report = {"seconds": time_short_and_long_fit(fit, N_FEW, N_MANY)}
        if n_workers > 1:
            n_values = SIDE**2 * (N_FEATURES + 1)
            is_epoch = np.array(monitor.n_bytes) >= 8 * n_values
            report["compute"] = np.array(monitor.compute_seconds)[is_epoch].tolist()
            report["bytes"] = count_bytes_per_epoch(fit, monitor)
            report |= time_sums(AllReduce(strategy), n_values)
        for _ in range(2):  # the second fit of the process is reported
            began = time.perf_counter()
            som = TFSOM(SIDE).fit(X)
            report["fit"] = time.perf_counter() - began
        report["bytes copied per second"] = measure_copy_rate()
    report["quantization error"] = compute_errors(X, som.codebook_).quantization_error
    print(json.dumps(report))


def count_bytes_per_epoch(fit, monitor):
    """Return the number of bytes that a worker contributes to the sums of an epoch."""
    totals = []
    for n_epochs in (N_FEW, N_MANY):
        monitor.n_bytes.clear()
        fit(n_epochs)
        totals.append(sum(monitor.n_bytes))
    return (totals[1] - totals[0]) / (N_MANY - N_FEW)


def measure_copy_rate():
    """Return the number of bytes that this core copies per second."""
    values, copy = np.ones(N_COPIED_VALUES), np.empty(N_COPIED_VALUES)
    seconds = []
    for _ in range(N_COPIES):
        start = time.perf_counter()
        np.copyto(copy, values)
        seconds.append(time.perf_counter() - start)
    return values.nbytes / float(np.median(seconds))


def time_sums(all_reduce, n_values):
    """Return the time of a sum over the workers, of a codebook and of a number."""
    medians = {}
    for name, values in (
        ("sum of a codebook", np.zeros(n_values)),
        ("sum of a number", np.zeros(1)),
    ):
        seconds = []
        for _ in range(N_SUMS):
            all_reduce(np.zeros(1))  # synchronizes the workers
            start = time.perf_counter()
            all_reduce(values)
            seconds.append(time.perf_counter() - start)
        medians[name] = float(np.median(seconds))
    return medians


# The script that starts the workers


def find_free_ports(n_ports):
    """Return free ports."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n_ports)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def launch_workers(path, n_workers):
    """Run workers at the same time; return their reports."""
    addresses = [f"127.0.0.1:{port}" for port in find_free_ports(n_workers)]
    processes = []
    for index in range(n_workers):
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        if n_workers > 1:
            task = {"type": "worker", "index": index}
            environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
        command = [sys.executable, __file__, "--worker", str(path), str(index), str(n_workers)]
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        )
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError("A worker has failed; see its error above.")
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def compare_workers(rounds):
    """Yield a row for epochs and one for fits; the slower of two workers counts."""
    for measure, key in (("epoch", "seconds"), ("fit", "fit")):
        (one, one_minimum), (two, two_minimum) = (
            median_and_minimum(
                [np.max([report[key] for report in reports], axis=0) for reports in rounds[n]]
            )
            for n in (1, 2)
        )
        yield {
            "measure": measure,
            "1 worker (s)": one,
            "1 worker, minimum (s)": one_minimum,
            "2 workers (s)": two,
            "2 workers, minimum (s)": two_minimum,
            "speed-up": one / two,
            "speed-up, minima": one_minimum / two_minimum,
        }


def compute_constants(rounds, seconds_per_sample):
    """Return the measured constants, some of which are parameters of the model."""
    first_reports = [reports[0] for reports in rounds[2]]
    compute = np.concatenate([report["compute"] for reports in rounds[2] for report in reports])
    median = float(np.median(compute))

    def first_median(key):
        return float(np.median([report[key] for report in first_reports]))

    def copy_rate(n_workers):
        totals = [
            sum(r["bytes copied per second"] for r in reports) for reports in rounds[n_workers]
        ]
        return float(np.median(totals)) / 1e9

    return {
        "bytes exchanged per epoch": int(first_median("bytes")),
        "codebook in float64 (bytes)": SIDE**2 * N_FEATURES * 8,
        "sum of a codebook (ms)": 1e3 * first_median("sum of a codebook"),
        "sum of a number (ms)": 1e3 * first_median("sum of a number"),
        "compute per sample and core (µs)": 1e6 * seconds_per_sample,
        # Median absolute deviation, robust to outliers, as the deviation of a normal distribution.
        "relative deviation of compute times": float(
            np.median(np.abs(compute / median - 1)) / 0.6745
        ),
        "memory copied, one core (GB/s)": copy_rate(1),
        "memory copied, two cores together (GB/s)": copy_rate(2),
    }


def expect_maximum(n_draws):
    """Return the expected maximum of `n_draws` draws from a standard normal distribution."""

    def integrand(x):
        return x * n_draws * norm.pdf(x) * norm.cdf(x) ** (n_draws - 1)

    return float(quad(integrand, -10, 10)[0])


def model_machines(seconds_per_sample, deviation, n_bytes):
    """Yield a row of modeled epoch times for each number of machines."""
    for n_machines in N_MACHINES:
        n_samples = N_MODEL_SAMPLES / n_machines
        compute = n_samples * seconds_per_sample / N_CORES
        wait = compute * deviation * expect_maximum(n_machines)
        # A ring: each machine sends and receives every part of the codebook twice.
        n_steps = 2 * (n_machines - 1)
        exchange = n_steps * (LATENCY + n_bytes / n_machines / BYTES_PER_SECOND)
        epoch = compute + wait + exchange
        yield {
            "machines": n_machines,
            "compute (s)": compute,
            "wait for the slowest (s)": wait,
            "exchange (s)": exchange,
            "epoch (s)": epoch,
            f"{N_MODEL_EPOCHS} epochs (min)": N_MODEL_EPOCHS * epoch / 60,
            "efficiency": compute / epoch,
            "data per machine (GB)": n_samples * N_FEATURES * 4 / 1e9,
        }


def main():
    """Measure one and two workers, and extrapolate to more machines."""
    n_rounds = 3 if parse_arguments(__doc__).short else N_ROUNDS
    for n_workers in (1, 2):  # has to be the same in the short and in the long fit
        search_engine(N_SAMPLES // n_workers, SIDE**2, N_FEW, N_MANY)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "samples.npy")
        np.save(path, make_curved_data(N_SAMPLES, N_FEATURES))
        rounds = {1: [], 2: []}
        for _ in range(n_rounds):
            for n_workers, reports in rounds.items():
                reports.append(launch_workers(path, n_workers))
    rows = list(compare_workers(rounds))
    seconds_per_sample = rows[0]["1 worker (s)"] / N_SAMPLES
    constants = compute_constants(rounds, seconds_per_sample)
    modeled = model_machines(
        seconds_per_sample,
        constants["relative deviation of compute times"],
        constants["bytes exchanged per epoch"],
    )
    save_results(
        "workers",
        {
            f"{N_SAMPLES:,} x {N_FEATURES} samples, float32, {SIDE} x {SIDE} units": rows,
            "Constants": [{"constant": name, "value": value} for name, value in constants.items()],
            f"Model: {N_MODEL_SAMPLES:.0e} samples, {N_CORES} cores per machine": list(modeled),
        },
        [
            "Each worker is a process on its own core, with one thread for TensorFlow and BLAS. "
            "Two workers share the samples and sum over the loopback interface. One and two "
            f"workers alternate, {n_rounds} times. Epoch: difference between fits of {N_MANY} and "
            f"of {N_FEW} epochs on the whole grid, per epoch. Fit: the second fit of a process, "
            "at the defaults.",
            "The first epochs of a fit search coarser grids. There, reading the samples takes "
            "most of the time, and the speed-up depends on the memory bandwidth of both cores "
            "together (see the copies, measured by the workers at about the same time).",
            "In an epoch, workers exchange a sum and a weight for each unit and the error, in "
            "float64, for any number of samples.",
            "Relative deviation of compute times: median absolute deviation of the epochs of the "
            "workers, scaled to the standard deviation of a normal distribution. It is specific "
            "to this shared machine.",
            "The model is a calculation, not a measurement. Compute: samples per machine times "
            f"the measured time per sample and core, divided by {N_CORES} cores (assumes that "
            "cores scale). Wait: expected maximum of normal draws with the measured deviation. "
            "Exchange: a ring all-reduce of the measured bytes in 2 (machines - 1) steps, with an "
            f"assumed latency of {1e6 * LATENCY:.0f} µs and bandwidth of "
            f"{8 * BYTES_PER_SECOND / 1e9:.0f} Gbit/s. Epochs are on the whole grid; "
            "coarse-to-fine training makes a fit faster.",
        ],
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        run_worker(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()

"""Two workers of one core each against one, and what that says of a hundred machines."""

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
from common import curved_data, errors, import_tensorflow, is_short, per_iteration, reduced, save

N_SAMPLES, N_FEATURES, SIDE = 1_000_000, 64, 30
FEW, MANY = 1, 5  # epochs
N_ROUNDS = 5
N_SUMS = 50
COPIED_VALUES, N_COPIES = 2**23, 50  # 64 MiB, beyond all caches
# Of the paper model.
N_ROWS, N_EPOCHS = 10**10, 20
N_MACHINES = (1, 2, 10, 100)
N_CORES = 16
BYTES_PER_SECOND = 10e9 / 8  # of the network
LATENCY = 200e-6  # seconds of a message, TensorFlow's part included


def allow_one_core(index):
    """Let this process have one core, and libraries one thread; before TensorFlow is there."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[index % len(cores)]})
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    tf = import_tensorflow()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    return tf


class Exchange:
    """Counts what a worker sums up with the others: bytes, and the time between and within."""

    def __init__(self, workers_class):
        self.n_bytes, self.computing, self.exchanging = [], [], []
        self._sum, self._last = workers_class.sum, None
        workers_class.sum = lambda workers, values: self.sum(workers, values)

    def sum(self, workers, values):
        """Sum up, and take note."""
        began = time.perf_counter()
        total = self._sum(workers, values)
        ended = time.perf_counter()
        self.n_bytes.append(np.size(values) * 8)
        self.computing.append(began - (began if self._last is None else self._last))
        self.exchanging.append(ended - began)
        self._last = ended
        return total


def work(path, index, n_workers):
    """Measure one worker's epochs, and print what it takes."""
    tf = allow_one_core(index)
    X = np.load(path, mmap_mode="r")
    X = np.array(X[index * len(X) // n_workers : (index + 1) * len(X) // n_workers])
    strategy = (
        tf.distribute.MultiWorkerMirroredStrategy()
        if n_workers > 1
        else tf.distribute.get_strategy()
    )
    from sklearn_tfsom import TFSOM
    from sklearn_tfsom._tf.distribution import StrategyWorkers

    warnings.simplefilter("ignore")  # epochs are cut short on purpose
    start = np.load(path, mmap_mode="r")[:: N_SAMPLES // SIDE**2][: SIDE**2]
    exchange = Exchange(StrategyWorkers)

    def train(n_epochs):
        radii = np.ones(n_epochs)
        som = TFSOM(SIDE, init=start, radius_decay=radii, max_iter=n_epochs, tol=0)
        return som.fit(X)

    with strategy.scope():
        seconds = per_iteration(train, FEW, MANY)
        report = {"seconds": seconds}
        if n_workers > 1:
            of_codebook = SIDE**2 * (N_FEATURES + 1) * 8
            are_epochs = np.array(exchange.n_bytes) >= of_codebook
            n_before = [len(exchange.n_bytes)]
            for n_epochs in (FEW, MANY):
                exchange.n_bytes.clear()
                train(n_epochs)
                n_before.append(sum(exchange.n_bytes))
            report |= {
                "bytes": (n_before[2] - n_before[1]) / (MANY - FEW),
                "computing": np.array(exchange.computing)[: n_before[0]][are_epochs].tolist(),
            }
            report |= sums(StrategyWorkers(strategy), of_codebook // 8)
        for _ in range(2):
            began = time.perf_counter()
            fitted = TFSOM(SIDE).fit(X)
            report["fit"] = time.perf_counter() - began
        report["copied"] = copied_per_second()
    report["quantization error"] = errors(X, fitted.codebook_)[0]
    print(json.dumps(report))


def copied_per_second():
    """Measure how many bytes this core copies in a second."""
    values, copy = np.ones(COPIED_VALUES), np.empty(COPIED_VALUES)
    taken = []
    for _ in range(N_COPIES):
        began = time.perf_counter()
        np.copyto(copy, values)
        taken.append(time.perf_counter() - began)
    return values.nbytes / float(np.median(taken))


def sums(workers, n_values):
    """Time sums over the workers: of a codebook, and of a number."""
    seconds = {}
    for name, values in (("sum", np.zeros(n_values)), ("latency", np.zeros(1))):
        taken = []
        for _ in range(N_SUMS):
            workers.sum(0.0)  # all are here
            began = time.perf_counter()
            workers.sum(values)
            taken.append(time.perf_counter() - began)
        seconds[name] = float(np.median(taken))
    return seconds


def free_ports(n_ports):
    """Find ports that are free."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n_ports)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def launch(path, n_workers):
    """Run workers side by side; return what each reports."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(n_workers)]
    processes = []
    for index in range(n_workers):
        environment = os.environ.copy()
        if n_workers > 1:
            task = {"type": "worker", "index": index}
            environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
        command = [sys.executable, __file__, "--worker", str(path), str(index), str(n_workers)]
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        )
    printed = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError("A worker has failed: its own error says why.")
    return [json.loads(each.splitlines()[-1]) for each in printed]


def measured(rounds):
    """Compare one worker with two, over the rounds; the slower of two counts."""
    rows = []
    for name in ("epoch", "fit"):
        row = {"": name}
        for number, reports in rounds.items():
            if name == "epoch":
                seconds = [np.max([each["seconds"] for each in of], axis=0) for of in reports]
            else:
                seconds = [max(each["fit"] for each in of) for of in reports]
            label = "one worker" if number == 1 else f"{number} workers"
            row[f"{label} (s)"] = reduced(seconds, np.median)
            row[f"{label}, minimum"] = reduced(seconds, np.min)
        row["speed-up"] = row["one worker (s)"] / row["2 workers (s)"]
        row["of minima"] = row["one worker, minimum"] / row["2 workers, minimum"]
        rows.append(row)
    return rows


def largest_of(n_draws, rng):
    """Expect the largest of so many draws from a normal distribution."""
    return float(rng.normal(size=(20_000, n_draws)).max(axis=1).mean())


def modelled(seconds_per_row, spread, n_bytes):
    """Say what an epoch costs on so many machines, if nothing else comes in between."""
    rng = np.random.default_rng(0)
    for n_machines in N_MACHINES:
        computing = N_ROWS / n_machines * seconds_per_row / N_CORES
        waiting = computing * spread * largest_of(n_machines, rng)
        # A ring: each machine sends and receives every part of the codebook twice.
        n_steps = 2 * (n_machines - 1)
        exchanging = n_steps * (LATENCY + n_bytes / n_machines / BYTES_PER_SECOND)
        epoch = computing + waiting + exchanging
        yield {
            "machines": n_machines,
            "compute (s)": computing,
            "wait for the slowest (s)": waiting,
            "exchange (s)": exchanging,
            "epoch (s)": epoch,
            f"{N_EPOCHS} epochs (min)": N_EPOCHS * epoch / 60,
            "efficiency": computing / epoch,
            "data per machine (GB)": N_ROWS / n_machines * N_FEATURES * 4 / 1e9,
        }


def main():
    """Measure, and extrapolate."""
    n_rounds = 3 if is_short(__doc__) else N_ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "samples.npy")
        np.save(path, curved_data(N_SAMPLES, N_FEATURES))
        rounds = {1: [], 2: []}
        for _ in range(n_rounds):
            for n_workers, reports in rounds.items():
                reports.append(launch(path, n_workers))
    compared = measured(rounds)
    first = [of[0] for of in rounds[2]]
    n_bytes = float(np.median([each["bytes"] for each in first]))
    computing = np.concatenate([np.array(each["computing"]) for of in rounds[2] for each in of])
    middle = float(np.median(computing))
    # Half of them lie within this, whatever outliers say.
    spread = float(np.median(np.abs(computing / middle - 1)) / 0.6745)
    seconds_per_row = compared[0]["one worker (s)"] / N_SAMPLES
    constants = {
        "bytes exchanged in an epoch": int(n_bytes),
        "codebook in float64 (bytes)": SIDE**2 * N_FEATURES * 8,
        "sum of a codebook (ms)": 1e3 * float(np.median([each["sum"] for each in first])),
        "sum of a number (ms)": 1e3 * float(np.median([each["latency"] for each in first])),
        "compute per row and core (µs)": 1e6 * seconds_per_row,
        "spread of an epoch's compute": spread,
    }
    copied = {
        number: np.median([sum(each["copied"] for each in of) for of in reports]) / 1e9
        for number, reports in rounds.items()
    }
    constants["copied in memory, one core (GB/s)"] = float(copied[1])
    constants["copied in memory, two cores together (GB/s)"] = float(copied[2])
    shape = f"{N_SAMPLES:,} x {N_FEATURES} samples, float32, {SIDE}x{SIDE} units"
    save(
        "workers",
        "Several workers: speed-up, exchange, and a model of a hundred machines",
        {
            shape: compared,
            "Constants": [{"": name, "value": value} for name, value in constants.items()],
            f"A model: {N_ROWS:.0e} rows, {N_CORES} cores a machine": list(
                modelled(seconds_per_row, spread, n_bytes)
            ),
        },
        [
            "Each worker is a process bound to a core of its own, TensorFlow and BLAS have one "
            "thread; two share the samples and sum up over the loopback interface. One and two "
            f"take turns, {n_rounds} times. An epoch is the difference between fits of {MANY} and "
            f"of {FEW}, at full resolution, over the epochs between; a fit is one at the "
            "defaults, the second in its process.",
            "A fit's first epochs search coarser grids: there reading the samples counts, and two "
            "cores read little more than one, see the copies (the workers' run at about the same "
            "time).",
            "What workers exchange in an epoch is a sum and a weight for each unit and the error, "
            "in float64, whatever the number of samples.",
            "Spread: the median deviation of a worker's epochs from their median, as a normal "
            "distribution's. It is this shared machine's.",
            "The model is arithmetic, not a measurement: compute is rows per machine times the "
            f"measured time per row and core, over {N_CORES} cores (that cores scale is assumed); "
            "the slowest machine is the largest of so many normal draws of the measured spread; "
            "the exchange is a ring all-reduce of the measured bytes, 2 (machines - 1) steps at "
            f"{1e6 * LATENCY:.0f} µs and {8 * BYTES_PER_SECOND / 1e9:.0f} Gbit/s (both assumed). "
            "Full-resolution epochs: coarse-to-fine training makes a fit cheaper.",
        ],
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()

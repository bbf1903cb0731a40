"""Interrupt and kill fits, fill the disk, damage checkpoints, and check what is left.

``python tests/faults.py [--short] [--seed N]`` prints a table of counts and ends with 1 after any
failure. Without ``--short`` it takes minutes and writes ``benchmarks/results/faults.json``.
"""

import argparse
import multiprocessing
import signal
import sys
import time
import warnings
from pathlib import Path

from damaged_checkpoints import CASES, DAMAGE
from fault_kinds import (
    Counts,
    Skipped,
    damage_checkpoints,
    fill_disk,
    interrupt_calls,
    interrupt_with_checkpoints,
    kill_processes,
    refuse_directories,
    remove_directory,
)
from sklearn.exceptions import ConvergenceWarning

# Without an answer for so long, a call hangs, on a slow machine, too.
SECONDS_OF_START, SECONDS_OF_TRIAL = 600, 5

# name: (function, options, trials, trials in short)
KINDS = {
    "KeyboardInterrupt by SIGINT": (
        interrupt_calls,
        {"error": KeyboardInterrupt, "signal_number": signal.SIGINT},
        2000,
        13,
    ),
    "SystemExit by a handler of SIGTERM": (
        interrupt_calls,
        {"error": SystemExit, "signal_number": signal.SIGTERM},
        2000,
        13,
    ),
    "KeyboardInterrupt, then resumed": (interrupt_with_checkpoints, {}, 400, 5),
    "SIGKILL, then resumed": (kill_processes, {}, 100, 2),
    "disk full": (fill_disk, {}, 400, 5),
    "directory that cannot be used": (refuse_directories, {}, 4 * len(CASES), len(CASES)),
    "directory removed meanwhile": (remove_directory, {}, 400, 5),
    "damaged or foreign checkpoint": (
        damage_checkpoints,
        {},
        2 * len(CASES) * len(DAMAGE),
        len(DAMAGE),
    ),
}


def run_kind(connection, name, n_trials, seed):
    """Run the trials of a kind and send their counts."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    function, options, _, _ = KINDS[name]
    try:
        counts = function(n_trials, seed, **options)
    except Skipped as reason:
        counts = str(reason)
    connection.send(counts)


def run_in_process(name, n_trials, seed):
    """Return the counts of a kind, or the reason why it was skipped."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=run_kind, args=(sender, name, n_trials, seed))
    process.start()
    sender.close()
    try:
        if receiver.poll(SECONDS_OF_START + SECONDS_OF_TRIAL * n_trials):
            return receiver.recv()
        return Counts(n_trials, 0, ["no answer: it hangs"])
    except EOFError:
        process.join()
        return Counts(n_trials, 0, [f"exit status {process.exitcode}"])
    finally:
        process.kill()
        process.join()


def main():
    """Run all kinds of faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="few trials, and no results page")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if not arguments.short:
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
        from common import save_results  # which records the time from here to the end
    rows, failures = [], []
    for name, (_, _, n_trials, n_short) in KINDS.items():
        start = time.monotonic()
        counts = run_in_process(name, n_short if arguments.short else n_trials, arguments.seed)
        seconds = time.monotonic() - start
        if isinstance(counts, str):
            print(f"{name}: skipped, {counts}")
            continue
        failures += [f"{name}: {failure}" for failure in counts.failures]
        if counts.n_trials > 10 and not counts.n_hit:  # of a few, all may miss it
            failures.append(f"{name}: no fault met a call")
        row = {
            "fault": name,
            "trials": counts.n_trials,
            "met the call": counts.n_hit,
            "failures": len(counts.failures),
        }
        rows.append(row)
        print(*(f"{key} {value}" for key, value in row.items()), f"{seconds:.1f} s", sep=", ")
        sys.stdout.flush()
    for failure in failures:
        print(failure)
    if not arguments.short:
        save_results("faults", {"": rows}, NOTES)
    return bool(failures)


NOTES = [
    "Each trial causes one fault at a random moment, and then checks that the map is as it was, "
    "bit for bit, and that the same call gives the bits of an undisturbed one.",
    "The fits are of dense, float32, sparse and incomplete samples, with mini-batches, with the "
    "Manhattan and the cosine distance, and with the topographic error.",
    "Of the interrupts and of the removed directories some come after the call has ended. They do "
    "not count as having met it.",
    "A disk is full where the size of files is limited to a random part of a checkpoint.",
]

if __name__ == "__main__":
    sys.exit(main())

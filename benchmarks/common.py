"""What all benchmarks share: alternating rounds, the machine, results as JSON and Markdown."""

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).resolve().parent / "results"


def alternate(tasks, n_rounds):
    """Time tasks in turn, A B A B ..., so that a drift of the machine meets all alike.

    Parameters
    ----------
    tasks : dict of str to callable
        Each returns seconds.
    n_rounds : int
        Rounds that count; one more comes first and is dropped.

    Returns
    -------
    seconds : dict of str to ndarray of shape (n_rounds,)
    """
    rounds = [{name: task() for name, task in tasks.items()} for _ in range(n_rounds + 1)]
    return {name: np.array([each[name] for each in rounds[1:]]) for name in tasks}


def seconds_of(call):
    """Time one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def per_iteration(fit, few=2, many=10):
    """Time one iteration: the difference between fits of many and of few iterations."""
    return (seconds_of(lambda: fit(many)) - seconds_of(lambda: fit(few))) / (many - few)


def geometric_mean(values):
    """Compute the geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def machine():
    """Describe where and with what the numbers were made."""
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), cpu)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    names = ("sklearn-tfsom", "tensorflow", "scikit-learn", "numpy")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "versions": {name: version(name) for name in names},
        "commit": commit,
        "date": time.strftime("%Y-%m-%d"),
    }


def save(name, title, rows, notes):
    """Write rows (dicts of one shape) to results/NAME.json and results/NAME.md, and print them."""
    RESULTS.mkdir(exist_ok=True)
    where = machine()
    content = {"machine": where, "notes": notes, "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    columns = list(rows[0])
    lines = [
        f"# {title}",
        "",
        f"{where['cores']} cores, {where['cpu']}, "
        + ", ".join(f"{package} {number}" for package, number in where["versions"].items())
        + f", commit {where['commit']}, {where['date']}.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(_shown(row[column]) for column in columns) + " |" for row in rows),
        "",
        *(f"- {note}" for note in notes),
    ]
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines) + "\n")


def _shown(value):
    return f"{value:.3g}" if isinstance(value, float) else str(value)

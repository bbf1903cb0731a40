"""Run the examples with several processes, and compare their maps with that of one process."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
TIMEOUT = 200  # seconds: long enough for slow machines


def run_command(*command):
    result = subprocess.run(
        [sys.executable, *command], cwd=EXAMPLES, capture_output=True, text=True, timeout=TIMEOUT
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def largest_difference(output):
    return float(re.search(r"largest difference from .*: (.*)", output).group(1))


def test_two_workers():
    output = run_command("two_workers.py")
    assert "the workers' codebooks are equal: True" in output
    assert largest_difference(output) < 1e-9  # values up to 20


THREADS = """
import functools
import dask_map_reduce as example
example.LocalCluster = functools.partial(example.LocalCluster, processes=False)
example.main()
"""


def test_dask():
    """With threads in place of processes, which take longer to start."""
    pytest.importorskip("distributed")
    assert largest_difference(run_command("-c", THREADS)) < 1e-9  # values up to 16

"""The examples of several processes run, and their maps equal those of one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
TIMEOUT = 200  # seconds: a hang ends, a slow machine does not fail


def printed(*command):
    done = subprocess.run(
        [sys.executable, *command], cwd=EXAMPLES, capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def largest_difference(output):
    return float(re.search(r"largest difference to .*: (.*)", output).group(1))


def test_two_workers():
    output = printed("two_workers.py")
    assert "the workers' codebooks are equal: True" in output
    assert largest_difference(output) < 1e-9  # of values up to 20


THREADS = """
import functools
import dask_map_reduce as example
example.LocalCluster = functools.partial(example.LocalCluster, processes=False)
example.main()
"""


@pytest.mark.parametrize("command", [["dask_map_reduce.py"], ["-c", THREADS]])
def test_dask(command):
    pytest.importorskip("distributed")
    assert largest_difference(printed(*command)) < 1e-9  # of values up to 16

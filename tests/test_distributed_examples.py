"""Run the examples with several processes, and compare their maps with that of one process."""

import functools
import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

# The example with fewer samples, also in the processes that it starts.
FEWER_SAMPLES = """
import sys
sys.path.insert(0, {examples!r})
import two_workers
swiss_roll = two_workers.make_swiss_roll
two_workers.make_swiss_roll = lambda n_samples, **options: swiss_roll(n_samples // 50, **options)
two_workers.train({{"folder": sys.argv[1]}})
"""


def largest_difference(output):
    return float(re.search(r"largest difference from .*: (.*)", output).group(1))


def test_two_workers(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(EXAMPLES)
    import two_workers

    script = tmp_path / "worker.py"
    script.write_text(FEWER_SAMPLES.format(examples=str(EXAMPLES)))
    swiss_roll = two_workers.make_swiss_roll
    monkeypatch.setattr(two_workers, "__file__", str(script))
    monkeypatch.setattr(
        two_workers, "make_swiss_roll", lambda n, **options: swiss_roll(n // 50, **options)
    )
    two_workers.main()
    output = capsys.readouterr().out
    assert "the workers' codebooks are equal: True" in output
    assert largest_difference(output) < 1e-9  # values up to 20


def test_dask(monkeypatch, capsys):
    """With threads in place of processes, which take longer to start."""
    pytest.importorskip("distributed")
    monkeypatch.syspath_prepend(EXAMPLES)
    import dask_map_reduce

    cluster = functools.partial(
        dask_map_reduce.LocalCluster, processes=False, dashboard_address=None
    )
    monkeypatch.setattr(dask_map_reduce, "LocalCluster", cluster)
    dask_map_reduce.main()
    assert largest_difference(capsys.readouterr().out) < 1e-9  # values up to 16

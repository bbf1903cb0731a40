"""Clusters of Dask: a worker that is killed, and data larger than the memory of a worker.

`make test-engines` runs this; it takes minutes.
"""

import os
import signal
import threading

import dask.array as da
import engines
import numpy as np
import pytest
from distributed import Client, LocalCluster
from numpy.testing import assert_array_equal

from sklearn_tfsom import TFSOM
from sklearn_tfsom.dask import fit, predict


@pytest.fixture
def client():
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit="1GiB", dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_equals_one_process(client):
    X, weights = engines.samples_of("missing")
    som = fit(TFSOM(8, n_clusters=3), da.from_array(X, chunks=(900, 5)), weights)
    engines.check_equal(som, TFSOM(8, n_clusters=3).fit(X, sample_weight=weights))


def test_killed_worker(client):
    """Its partitions are computed again, and the fit goes on."""
    X, _ = engines.samples_of("dense")
    parameters = {"grid_size": 8, "coarse_to_fine": False, "tol": 0, "max_iter": 12}
    expected = TFSOM(**parameters).fit(X)
    pids = client.run(os.getpid)
    killed = threading.Event()

    def kill(*_):
        if not killed.is_set():
            killed.set()
            os.kill(next(iter(pids.values())), signal.SIGKILL)

    som = TFSOM(**parameters)
    original = sklearn_record()

    def record(plan, epoch, history, verbose):
        original(plan, epoch, history, verbose)
        if epoch.n_epochs == 4:
            threading.Timer(0.02, kill).start()  # in the middle of the next epoch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sklearn_tfsom._som.record", record)
        fit(som, da.from_array(X, chunks=(300, 5)))
    assert killed.is_set()
    engines.check_equal(som, expected)


def sklearn_record():
    from sklearn_tfsom import _som

    return _som.record


def block(block_info=None):
    """Compute a chunk of 40 MB from its place alone."""
    (first, last), _ = block_info[None]["array-location"]
    rng = np.random.default_rng(first)
    return rng.normal(size=(last - first, 100)) + rng.integers(0, 3, size=(last - first, 1)) * 4


def test_data_larger_than_the_memory_of_a_worker(client):
    """3.2 GB of samples, never held at once; no worker may take more than 1 GiB."""
    n_chunks, n_rows = 80, 50_000
    data = da.map_blocks(
        block, chunks=((n_rows,) * n_chunks, (100,)), dtype=np.float64, meta=np.empty((0, 0))
    )
    assert data.nbytes > 3e9
    before = client.run(os.getpid)
    som = fit(TFSOM(8, n_clusters=3, max_iter=8), data)
    assert som.hits_.sum() == n_chunks * n_rows
    assert client.run(os.getpid) == before  # no worker was restarted
    some = data.blocks[7]
    assert_array_equal(predict(som, some).compute(), som.predict(some.compute()))

"""
A training loop of your own, with Dask
======================================

`sklearn_tfsom.dask.fit` trains a map on a collection of Dask. This is how to write such a loop for
any engine, with two functions: `sklearn_tfsom.distributed.unit_statistics` computes the sums of
each unit for one partition of the data, and `sklearn_tfsom.distributed.update_codebook` updates
the codebook with the total of all partitions. Only these sums are sent between processes; their
size does not depend on the number of samples.

Dask workers can be separate processes or threads. They must not be forked from a process that has
already used TensorFlow; in this case an error is raised.
"""

import numpy as np
from dask.distributed import Client, LocalCluster
from sklearn.datasets import load_digits

from sklearn_tfsom import TFSOM, Grid
from sklearn_tfsom.distributed import unit_statistics, update_codebook

GRID = Grid(10, 8)
RADII = np.geomspace(3, 0.85, 12)


def train(client, partitions, codebook):
    """Return the codebook after training on the partitions held by the workers of a client."""
    for radius in RADII:
        statistics = client.map(unit_statistics, partitions, codebook=codebook)
        total = client.submit(sum, statistics).result()
        codebook = update_codebook(codebook, total, GRID, radius)
    return codebook


def main():
    """Compare training with Dask and training in one process."""
    X = load_digits().data
    initial = X[:: len(X) // GRID.n_units][: GRID.n_units]
    with LocalCluster(n_workers=2, threads_per_worker=1) as cluster, Client(cluster) as client:
        partitions = client.scatter(np.array_split(X, 7))
        codebook = train(client, partitions, initial)
    som = TFSOM(GRID.shape, init=initial, radius_decay=RADII, max_iter=len(RADII), tol=0).fit(X)
    trained = TFSOM.from_codebook(codebook, grid_size=GRID.shape, X=X)
    print(f"quantization error: {trained.quantization_error_:.3f}")
    difference = np.abs(codebook - som.codebook_).max()
    print(f"largest difference from the codebook of one process: {difference:.1e}")


if __name__ == "__main__":
    main()

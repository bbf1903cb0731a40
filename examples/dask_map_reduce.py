"""
A map by map and reduce, with Dask
==================================

Where samples lie in many places, and something like Dask looks after them, a map needs two
functions: `sklearn_tfsom.distributed.unit_statistics` says what a piece of the data says to a
codebook, and `sklearn_tfsom.distributed.update_codebook` moves the codebook to what all pieces
say together. Statistics are a few numbers for each unit and feature; only they travel, and they
add.

Dask starts its workers as processes of their own, or as threads; both will do. What will not is to
fork a process that has used TensorFlow already: a map says so there.
"""

import numpy as np
from dask.distributed import Client, LocalCluster
from sklearn.datasets import load_digits

from sklearn_tfsom import TFSOM, Grid
from sklearn_tfsom.distributed import unit_statistics, update_codebook

GRID = Grid(10, 8)
RADII = np.geomspace(3, 0.85, 12)


def train(client, pieces, codebook):
    """Train a map of samples that lie at the workers of a client."""
    for radius in RADII:
        mapped = client.map(unit_statistics, pieces, codebook=codebook)
        reduced = client.submit(sum, mapped).result()
        codebook = update_codebook(codebook, reduced, GRID, radius)
    return codebook


def main():
    """Compare Dask with one process."""
    X = load_digits().data
    start = X[:: len(X) // GRID.n_units][: GRID.n_units]
    with LocalCluster(n_workers=2, threads_per_worker=1) as cluster, Client(cluster) as client:
        pieces = client.scatter(np.array_split(X, 7))
        codebook = train(client, pieces, start)
    som = TFSOM(GRID.shape, init=start, radius_decay=RADII, max_iter=len(RADII), tol=0).fit(X)
    difference = np.abs(codebook - som.codebook_).max()
    print(f"largest difference to the codebook of one process: {difference:.1e}")


if __name__ == "__main__":
    main()

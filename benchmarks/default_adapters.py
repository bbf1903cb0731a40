"""Adapters that train maps with different libraries at the defaults of each.

An adapter is a function of samples, grid shape and seed that returns a codebook. Its docstring is
printed with the results. Libraries are imported inside the adapters.
"""

import numpy as np

from sklearn_tfsom import TFSOM

# Passes over the data for libraries without a default number: the default of TFSOM.
N_PASSES = 20


def tfsom(X, grid_shape, seed):
    """Hexagonal lattice, 6 neighbors."""
    return TFSOM(grid_shape).fit(X).codebook_


def tfsom_rectangular(X, grid_shape, seed):
    """Rectangular lattice like all other libraries, 8 neighbors."""
    return TFSOM(grid_shape, lattice="rectangular").fit(X).codebook_


def fastersom(X, grid_shape, seed):
    """On the CPU."""
    from fastersom import SOM

    return SOM(*grid_shape, random_state=seed, device="cpu").fit(X).weights_


def xpysom(X, grid_shape, seed):
    """Batch training; the number of epochs has no default."""
    from xpysom import XPySom

    som = XPySom(*grid_shape, X.shape[1], random_seed=seed, xp=np)
    som.train(X, N_PASSES)
    return som.get_weights()


def somoclu(X, grid_shape, seed):
    """All parameters at their defaults."""
    from somoclu import Somoclu

    som = Somoclu(grid_shape[1], grid_shape[0])
    som.train(X)
    return som.codebook


def minisom(X, grid_shape, seed):
    """Online training (`train`); the number of iterations has no default."""
    from minisom import MiniSom

    som = MiniSom(*grid_shape, X.shape[1], random_seed=seed)
    som.train(X, N_PASSES * len(X))
    return som.get_weights()


def torchsom(X, grid_shape, seed):
    """On the CPU."""
    import torch
    from torchsom import SOM

    som = SOM(*grid_shape, X.shape[1], random_seed=seed, device="cpu")
    som.fit(torch.from_numpy(X), verbose=False)
    return som.weights.numpy()


def susi(X, grid_shape, seed):
    """All parameters at their defaults: 1000 drawn samples for data of any size."""
    from susi import SOMClustering

    return SOMClustering(*grid_shape, random_state=seed).fit(X).unsuper_som_


def numbasom(X, grid_shape, seed):
    """Online training; the number of drawn samples has no default."""
    from numbasom import SOM

    return SOM(grid_shape).train(X, N_PASSES * len(X))


DEFAULTS = {
    "TFSOM": tfsom,
    "TFSOM, rectangular": tfsom_rectangular,
    "fastersom": fastersom,
    "XPySom": xpysom,
    "somoclu": somoclu,
    "MiniSom": minisom,
    "torchsom": torchsom,
    "susi": susi,
    "numbasom": numbasom,
}

"""One adapter for each library that trains self-organizing maps.

An adapter is a function of a `Task` that trains one map and returns its codebook, of shape
(n_units, n_features), row-major. Its docstring says how the task was translated; it is printed
beside the results. Libraries are imported inside, so that a missing one harms no other.

Most schedules are ``start * (end / start) ** (epoch / n_epochs)``, which stops one step short of
`end`. They are given the end one step beyond ours (`Task.beyond`), and so have the task's radii.
"""

from dataclasses import dataclass

import numpy as np

from sklearn_tfsom import TFSOM


@dataclass(frozen=True)
class Task:
    """What each library is to train: a planar rectangular map with a Gaussian neighborhood.

    Parameters
    ----------
    X : ndarray of float32, shape (n_samples, n_features)
    grid_shape : tuple (n_rows, n_columns)
    start : ndarray of float32, shape (n_units, n_features)
        The codebook before training.
    radii : ndarray of shape (n_epochs,)
        Standard deviation of the Gaussian in each epoch, in lattice spacings, falling
        exponentially.
    """

    X: np.ndarray
    grid_shape: tuple[int, int]
    start: np.ndarray
    radii: np.ndarray

    @property
    def grid(self):
        """The codebook before training, of shape (n_rows, n_columns, n_features)."""
        return self.start.reshape(*self.grid_shape, -1).copy()

    @property
    def beyond(self):
        """The radius that would come after the last."""
        return float(self.radii[-1] ** 2 / self.radii[-2])


def tfsom(task):
    """All as the task says."""
    return _tfsom(task, init=task.start)


def tfsom_coarse_to_fine(task):
    """All as the task says; finding the start, the same plane, counts (it is given to others)."""
    return _tfsom(task, init="pca")


def _tfsom(task, **parameters):
    som = TFSOM(
        task.grid_shape,
        lattice="rectangular",
        max_iter=len(task.radii),
        radius_decay=task.radii,
        tol=0,
        **parameters,
    )
    return som.fit(task.X).codebook_


def fastersom(task):
    """All as the task says."""
    from fastersom import SOM

    som = SOM(
        *task.grid_shape,
        n_epochs=len(task.radii),
        sigma_initial=float(task.radii[0]),
        sigma_final=task.beyond,
        init=task.start,
        device="cpu",
    )
    return som.fit(task.X).weights_


def xpysom(task):
    """All as the task says: with std_coeff=1 sigma is the standard deviation."""
    from xpysom import XPySom

    som = XPySom(
        *task.grid_shape,
        task.X.shape[1],
        sigma=task.radii[0],
        sigmaN=task.beyond,
        std_coeff=1,
        xp=np,
    )
    som._weights = task.grid  # there is no other way to give it a start
    som.train(task.X, len(task.radii))
    return som.get_weights().reshape(task.start.shape)


def somoclu(task):
    """All as the task says: std_coeff=1 makes the radius the standard deviation.

    Without compactsupport the Gaussian is not cut.
    """
    from somoclu import Somoclu

    n_rows, n_columns = task.grid_shape
    som = Somoclu(
        n_columns, n_rows, initialcodebook=task.start.copy(), std_coeff=1, compactsupport=False
    )
    som.train(
        task.X,
        epochs=len(task.radii),
        radius0=float(task.radii[0]),
        radiusN=task.beyond,
        radiuscooling="exponential",
    )
    return som.codebook.reshape(task.start.shape)


def minisom(task):
    """Batch training (train_batch_offline) with learning rate 1, all else as the task says."""
    from minisom import MiniSom

    som = MiniSom(
        *task.grid_shape, task.X.shape[1], learning_rate=1, decay_function=lambda *_: 1.0
    )
    som._weights = task.grid.astype(np.float64)  # there is no other way to give it a start
    som._sigma_decay_function = lambda _, epoch, __: task.radii[epoch]  # nor these radii
    som.train_batch_offline(task.X, len(task.radii))
    return som.get_weights().reshape(task.start.shape)


def torchsom(task):
    """Mini-batches of 64 (the default 5 takes several times longer), default learning rates.

    Radii and start as the task says. Its fit also measures both errors of every batch.
    """
    import torch
    from torchsom import SOM

    som = SOM(
        *task.grid_shape, task.X.shape[1], epochs=len(task.radii), batch_size=64, device="cpu"
    )
    som.weights.data = torch.from_numpy(task.grid)
    som.sigma_schedule = torch.from_numpy(task.radii)  # the only way to give it these radii
    som.fit(torch.from_numpy(task.X), verbose=False)
    return som.weights.numpy().reshape(task.start.shape)


def susi(task):
    """Online training, one drawn sample after the other, default learning rates.

    Radii and start as the task says, the radius falling with every sample. Its batch training
    would hold n_samples codebooks at once.
    """
    from susi import SOMClustering

    class Given(SOMClustering):
        def _init_unsuper_som(self):  # there is no other way to give it start and radii
            super()._init_unsuper_som()
            self.unsuper_som_ = task.grid.astype(np.float64)
            self.radius_max_, self.radius_min_ = task.radii[0], task.beyond

    som = Given(
        *task.grid_shape,
        n_iter_unsupervised=len(task.radii) * len(task.X),
        neighborhood_mode_unsupervised="min",
        random_state=0,
        n_jobs=1,
    )
    return som.fit(task.X).unsuper_som_.reshape(task.start.shape)


def numbasom(task):
    """Online training, one drawn sample after the other, with all of its own.

    Random start; neighborhood exp(-d^4 / 2r^4), cut at r, with r from half the longer side to 1.
    """
    from numbasom import SOM

    return (
        SOM(task.grid_shape).train(task.X, len(task.radii) * len(task.X)).reshape(task.start.shape)
    )


ADAPTERS = {
    "TFSOM": tfsom,
    "TFSOM, coarse to fine": tfsom_coarse_to_fine,
    "fastersom": fastersom,
    "XPySom": xpysom,
    "somoclu": somoclu,
    "torchsom": torchsom,
    "numbasom": numbasom,
    "MiniSom": minisom,
    "susi": susi,
}

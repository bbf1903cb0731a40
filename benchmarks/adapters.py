"""Adapters that train the same map with different libraries.

An adapter is a function of a `Task` that trains one map and returns its codebook, of shape
(n_units, n_features), row-major. Its docstring states how the task was translated and is printed
with the results. Libraries are imported inside the adapters, so that only installed ones are
needed.

The exponential schedule of most libraries is ``start * (end / start) ** (epoch / n_epochs)``,
which ends one step before `end`. These libraries get `Task.next_radius` as the end, and so use
the radii of the task.
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from sklearn_tfsom import TFSOM


@dataclass(frozen=True)
class Task:
    """A planar rectangular map with a Gaussian neighborhood, to be trained in batches.

    Parameters
    ----------
    X : ndarray of float32, shape (n_samples, n_features)
        Samples.
    grid_shape : tuple (n_rows, n_columns)
        Size of the map.
    initial_codebook : ndarray of float32, shape (n_units, n_features)
        Codebook before training.
    radii : ndarray of shape (n_epochs,)
        Standard deviation of the Gaussian in each epoch, in lattice spacings, decreasing
        exponentially.
    """

    X: np.ndarray
    grid_shape: tuple[int, int]
    initial_codebook: np.ndarray
    radii: np.ndarray

    @property
    def initial_grid(self):
        """A copy of the initial codebook, of shape (n_rows, n_columns, n_features)."""
        return self.initial_codebook.reshape(*self.grid_shape, -1).copy()

    @property
    def next_radius(self):
        """The radius that would follow the last one."""
        return float(self.radii[-1] ** 2 / self.radii[-2])


def get_distribution(library):
    """Return the name of the distribution that contains a library."""
    return "sklearn-tfsom" if is_tfsom(library) else library


def is_tfsom(library):
    """Return True if an adapter trains a TFSOM."""
    return library.startswith("TFSOM")


def is_installed(library):
    """Return True if a library is installed."""
    try:
        return bool(version(get_distribution(library)))
    except PackageNotFoundError:
        return False


def tfsom(task):
    """Parameters as in the task."""
    return _fit_tfsom(task, init=task.initial_codebook)


def tfsom_coarse_to_fine(task):
    """Parameters as in the task; includes the time to compute the initial codebook."""
    return _fit_tfsom(task, init="pca")


def _fit_tfsom(task, **parameters):
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
    """Parameters as in the task."""
    from fastersom import SOM

    som = SOM(
        *task.grid_shape,
        n_epochs=len(task.radii),
        sigma_initial=float(task.radii[0]),
        sigma_final=task.next_radius,
        init=task.initial_codebook,
        device="cpu",
    )
    return som.fit(task.X).weights_


def xpysom(task):
    """Parameters as in the task; std_coeff=1 makes sigma the standard deviation."""
    from xpysom import XPySom

    som = XPySom(
        *task.grid_shape,
        task.X.shape[1],
        sigma=task.radii[0],
        sigmaN=task.next_radius,
        std_coeff=1,
        xp=np,
    )
    som._weights = task.initial_grid  # no public way to set the initial codebook
    som.train(task.X, len(task.radii))
    return som.get_weights().reshape(task.initial_codebook.shape)


def somoclu(task):
    """Parameters as in the task; std_coeff=1 makes the radius the standard deviation.

    compactsupport=False keeps the Gaussian from being truncated.
    """
    from somoclu import Somoclu

    n_rows, n_columns = task.grid_shape
    som = Somoclu(
        n_columns,
        n_rows,
        initialcodebook=task.initial_codebook.copy(),
        std_coeff=1,
        compactsupport=False,
    )
    som.train(
        task.X,
        epochs=len(task.radii),
        radius0=float(task.radii[0]),
        radiusN=task.next_radius,
        radiuscooling="exponential",
    )
    return som.codebook.reshape(task.initial_codebook.shape)


def minisom(task):
    """Batch training (train_batch_offline) with learning rate 1, otherwise as in the task."""
    from minisom import MiniSom

    som = MiniSom(
        *task.grid_shape, task.X.shape[1], learning_rate=1, decay_function=lambda *_: 1.0
    )
    # No public way to set the initial codebook and this schedule.
    som._weights = task.initial_grid.astype(np.float64)
    som._sigma_decay_function = lambda _, epoch, __: task.radii[epoch]
    som.train_batch_offline(task.X, len(task.radii))
    return som.get_weights().reshape(task.initial_codebook.shape)


def torchsom(task):
    """Mini-batches of 64 (the default of 5 is several times slower), default learning rates.

    Radii and initial codebook as in the task. Its fit also computes both errors of every batch.
    """
    import torch
    from torchsom import SOM

    som = SOM(
        *task.grid_shape, task.X.shape[1], epochs=len(task.radii), batch_size=64, device="cpu"
    )
    som.weights.data = torch.from_numpy(task.initial_grid)
    som.sigma_schedule = torch.from_numpy(task.radii)  # no argument sets this schedule
    som.fit(torch.from_numpy(task.X), verbose=False)
    return som.weights.numpy().reshape(task.initial_codebook.shape)


def susi(task):
    """Online training on randomly drawn samples, default learning rates.

    Initial codebook and radii as in the task; the radius decreases with every sample. Its batch
    training would hold n_samples codebooks in memory.
    """
    from susi import SOMClustering

    class InitializedSOM(SOMClustering):
        def _init_unsuper_som(self):  # no public way to set the initial codebook and the radii
            super()._init_unsuper_som()
            self.unsuper_som_ = task.initial_grid.astype(np.float64)
            self.radius_max_, self.radius_min_ = task.radii[0], task.next_radius

    som = InitializedSOM(
        *task.grid_shape,
        n_iter_unsupervised=len(task.radii) * len(task.X),
        neighborhood_mode_unsupervised="min",
        random_state=0,
        n_jobs=1,
    )
    return som.fit(task.X).unsuper_som_.reshape(task.initial_codebook.shape)


def numbasom(task):
    """Online training on randomly drawn samples, with its own parameters.

    Random initial codebook; neighborhood exp(-d^4 / 2r^4), truncated at r, with r from half of
    the longer side to 1.
    """
    from numbasom import SOM

    codebook = SOM(task.grid_shape).train(task.X, len(task.radii) * len(task.X))
    return codebook.reshape(task.initial_codebook.shape)


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

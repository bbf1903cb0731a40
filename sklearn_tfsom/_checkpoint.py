"""A fit on disk, epoch by epoch, so that one that was broken off can go on to the same bits."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.workers import Workers
from sklearn_tfsom._plan import Plan
from sklearn_tfsom._version import __version__

# Parameters that change nothing of which epochs there are, and of what they do.
_OF_NO_MATTER = ("checkpoint_dir", "features", "n_clusters", "verbose")


class Progress(NamedTuple):
    """How far a fit has come."""

    n_epochs: int
    history: dict[str, list[float]]  # of these epochs
    state: dict[str, NDArray[np.float64]] | None  # what the next begins with; None is the start


class Checkpoint:
    """The file of one fit. Its name says which: the same parameters and the same samples.

    It is written beside its place and then moved there, so that it is whole at any time. Of
    several workers the first one reads and writes; only its directory counts.

    Parameters
    ----------
    directory : path-like or None
        None keeps nothing.
    som : TFSOM
    plan : Plan
    workers : Workers
    """

    def __init__(
        self, directory: str | os.PathLike | None, som: Any, plan: Plan, workers: Workers
    ) -> None:
        self._path: Path | None = None  # where this worker reads and writes
        self._plan, self._workers = plan, workers
        self._is_kept = bool(workers.from_first(directory is not None))
        if self._is_kept:
            name = f"tfsom-{_fingerprint(som, plan, workers)}.npz"  # needs all workers
            if directory is not None and workers.index == 0:
                self._path = Path(directory) / name

    def read(self, names: Iterable[str]) -> Progress:
        """Find out how far this fit has come: nowhere, without a file.

        Parameters
        ----------
        names : iterable of str
            What `history` is made of.

        Raises
        ------
        ValueError
            Where there is a file that holds something else.
        """
        nothing = Progress(0, {name: [] for name in names}, None)
        if not self._is_kept:
            return nothing
        found = nothing
        with self._workers.in_step():
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                for broken_off in self._path.parent.glob(f"{self._path.stem}-*.partial"):
                    with contextlib.suppress(OSError):  # of the same fit, running beside this one
                        broken_off.unlink()
                found = self._load(self._path, nothing)
        return self._shared(found, nothing) if self._workers.are_several else found

    def _load(self, path: Path, nothing: Progress) -> Progress:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return nothing
        parts = ["codebook"] if self._plan.batches is None else ["codebook", "sums", "counts"]
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                history = {name: file[f"history_{name}"].tolist() for name in nothing.history}
                state = {name: file[f"state_{name}"] for name in parts}
        except Exception as error:  # NumPy and zipfile raise whatever damage leads them to
            raise ValueError(
                f"{path} is no checkpoint of this fit. Remove it to begin anew."
            ) from error
        return Progress(len(history["radius"]), history, state)

    def _shared(self, found: Progress, nothing: Progress) -> Progress:
        """Tell the other workers what the first one has found."""
        share = self._workers.from_first
        n_epochs = int(share(found.n_epochs))
        if not n_epochs:
            return nothing
        grid = self._plan.grids[n_epochs]
        codebook = np.zeros((grid.n_units, len(self._plan.mean)))
        return Progress(
            n_epochs,
            {
                name: share(values or np.zeros(n_epochs)).tolist()
                for name, values in found.history.items()
            },
            {"codebook": share(codebook if found.state is None else found.state["codebook"])},
        )

    def write(
        self, history: dict[str, list[float]], state: Callable[[], dict[str, NDArray[np.float64]]]
    ) -> None:
        """Keep what the next epoch begins with, which is only asked for where it is kept."""
        if self._path is None:
            return
        arrays: dict[str, Any] = {f"state_{name}": values for name, values in state().items()}
        arrays |= {f"history_{name}": np.array(values) for name, values in history.items()}
        handle, partial = tempfile.mkstemp(
            prefix=f"{self._path.stem}-", suffix=".partial", dir=self._path.parent
        )
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())  # before the move, or else a power cut could leave nothing
            # The same fit, started beside this one, may have tidied up.
            with contextlib.suppress(FileNotFoundError):
                os.replace(partial, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise

    def remove(self) -> None:
        """Remove the file: the fit is done."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _fingerprint(som: Any, plan: Plan, workers: Workers) -> str:
    """Name a fit by all that its epochs depend on.

    What is no scalar among the parameters is in the plan; a function as the neighborhood counts by
    its values on this map.
    """
    digest = hashlib.blake2b(digest_size=12)

    def add(*values: Any) -> None:
        for value in values:
            is_array = isinstance(value, np.ndarray)
            digest.update(value.tobytes() if is_array else f"{value!r};".encode())

    for name, value in sorted(som.get_params(deep=False).items()):
        if name not in _OF_NO_MATTER and (value is None or np.isscalar(value)):
            add(name, value)
    add(__version__, plan.grid, plan.grids, plan.radii, plan.codebook)
    add(str(plan.samples.dtype), workers.gather(_checksum(plan)))
    if not isinstance(plan.neighborhood, str):
        from_corner = plan.grid.squared_distances(0, np.arange(plan.grid.n_units))
        add(*(plan.neighborhood(from_corner, float(radius)) for radius in plan.radii))
    return digest.hexdigest()


def _checksum(plan: Plan) -> int:
    """Sum the samples and weights of this worker up to an int that float64 can hold.

    Their mean and covariance would not do: samples mirrored at their mean have the same.
    """
    digest = hashlib.blake2b(plan.sample_weight.tobytes(), digest_size=6)
    for rows in plan.samples.tiles():
        tile = plan.samples[rows]
        parts = (tile.data, tile.indices, tile.indptr) if plan.samples.is_sparse else (tile,)
        for part in parts:
            digest.update(part.tobytes())
    return int.from_bytes(digest.digest())

"""A fit on disk, epoch by epoch, so that one that was broken off can go on to the same bits."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._plan import Plan
from sklearn_tfsom._workers import Workers

# Parameters that change nothing of what an epoch does.
_OF_NO_MATTER = ("checkpoint_dir", "features", "n_clusters", "tol", "verbose")


class Progress(NamedTuple):
    """How far a fit has come."""

    n_epochs: int
    history: dict[str, list[float]]  # of these epochs
    state: (
        dict[str, NDArray[np.float64]] | None
    )  # what the next one begins with; None is the start


class Checkpoint:
    """The file of one fit. Its name says which: the same parameters and the same samples.

    It is written beside its place and then moved there, so that it is whole at any time. Of
    several workers the first one reads and writes.

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
        self._path: Path | None = None
        self._plan, self._workers = plan, workers
        if directory is not None:
            name = f"tfsom-{_fingerprint(som, plan, workers)}.npz"
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
        if self._path is None:
            return nothing
        found = nothing
        with self._workers.in_step():
            if self._workers.index == 0:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                for broken_off in self._path.parent.glob(f"{self._path.stem}-*.partial"):
                    broken_off.unlink(missing_ok=True)
                if self._path.exists():
                    found = self._load(nothing)
        return self._shared(found, nothing) if self._workers.are_several else found

    def _load(self, nothing: Progress) -> Progress:
        assert self._path is not None
        try:
            with np.load(self._path, allow_pickle=False) as file:
                history = {name: file[f"history_{name}"].tolist() for name in nothing.history}
                state = {
                    name.removeprefix("state_"): file[name]
                    for name in file.files
                    if name.startswith("state_")
                }
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{self._path} is no checkpoint of this fit. Remove it to begin anew."
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
        self, history: dict[str, list[float]], state: dict[str, NDArray[np.float64]]
    ) -> None:
        """Keep what the next epoch begins with."""
        if self._path is None or self._workers.index:
            return
        arrays: dict[str, Any] = {f"state_{name}": values for name, values in state.items()}
        arrays |= {f"history_{name}": np.array(values) for name, values in history.items()}
        handle, partial = tempfile.mkstemp(
            prefix=f"{self._path.stem}-", suffix=".partial", dir=self._path.parent
        )
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())  # before the move, or else a power cut could leave nothing
            os.replace(partial, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise

    def remove(self) -> None:
        """Remove the file: the fit is done."""
        if self._path is not None and self._workers.index == 0:
            self._path.unlink(missing_ok=True)


def _fingerprint(som: Any, plan: Plan, workers: Workers) -> str:
    """Name a fit by all that its epochs depend on.

    The samples are in it through their mean, covariance and spread, and the start that they lead
    to; the neighborhood through its values on this map.
    """
    digest = hashlib.blake2b(digest_size=12)

    def add(*values: Any) -> None:
        for value in values:
            is_array = isinstance(value, np.ndarray)
            digest.update(value.tobytes() if is_array else f"{value!r};".encode())

    for name, value in sorted(som.get_params(deep=False).items()):
        if name not in _OF_NO_MATTER and (value is None or isinstance(value, str | int | float)):
            add(name, value)
    add(plan.grid, str(plan.samples.dtype), plan.total_weight, plan.spread, workers.n_workers)
    add(plan.mean, plan.center, plan.radii, plan.codebook, plan.covariance)
    if not isinstance(plan.neighborhood, str):
        add(plan.neighborhood(np.arange(64) / 4, float(plan.radii[-1])))
    return digest.hexdigest()

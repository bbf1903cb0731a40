"""Checkpoints: a fit on disk, epoch by epoch, that can be resumed to the same bits."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sklearn_tfsom._data.pieces import Workers
from sklearn_tfsom._map.smoothing import TrainState
from sklearn_tfsom._parameters import parameters_of
from sklearn_tfsom._plan import TrainingPlan
from sklearn_tfsom._validation import plain, wrong_parameter
from sklearn_tfsom._version import __version__

# Parameters on which no epoch depends.
_IRRELEVANT = ("anomaly_score", "checkpoint_dir", "features", "n_clusters", "verbose")


class Progress(NamedTuple):
    """How far a fit has come."""

    n_epochs: int
    history: dict[str, list[float]]  # of these epochs
    state: TrainState | None  # where the next epoch begins; None for the start


def check_directory(som: Any) -> None:
    """Refuse a path of checkpoints where there is a file, or no permission, without making it.

    Raises
    ------
    InvalidParameterError
    """
    if som.checkpoint_dir is None:
        return
    path = Path(som.checkpoint_dir).absolute()
    existing = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        raise _wrong_directory(som, f"{existing} is no directory that can be written to")


def _wrong_directory(som: Any, reason: object) -> ValueError:
    right = "a directory in which files can be made"
    came = f"{os.fspath(som.checkpoint_dir)!r} ({reason})"
    return wrong_parameter("checkpoint_dir", som, right, came)


def _prepare_directory(som: Any, workers: Workers) -> None:
    """Make the directory of checkpoints, if one is asked for; that of the first worker counts.

    Raises
    ------
    InvalidParameterError
        If no files can be made in it.
    """
    directory = som.checkpoint_dir
    if directory is None and not workers.are_several:
        return
    with workers.raising_together():
        if directory is None or workers.index:
            return
        for is_last in (False, True):  # another process may remove it meanwhile
            try:
                Path(directory).mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=directory):
                    return
            except (OSError, ValueError) as error:
                if is_last:
                    raise _wrong_directory(som, error) from error


class Checkpoint:
    """The file of one fit, whose name depends on the parameters and the samples.

    It is written beside its place and then moved there, so that it is complete at any time. Of
    several workers the first one reads and writes; only its directory counts.

    Parameters
    ----------
    som : TFSOM
    plan : TrainingPlan
    """

    def __init__(self, som: Any, plan: TrainingPlan) -> None:
        directory, self._workers = som.checkpoint_dir, plan.pieces.workers
        self._path: Path | None = None  # where this worker reads and writes
        _prepare_directory(som, self._workers)
        self._is_kept = bool(self._workers.from_first(directory is not None))
        if self._is_kept:
            name = f"tfsom-{_fingerprint(som, plan)}.npz"  # needs all workers
            if directory is not None and self._workers.index == 0:
                self._path = Path(directory).absolute() / name

    def read(self, names: Iterable[str]) -> Progress:
        """Read how far this fit has come; not at all if there is no file.

        Parameters
        ----------
        names : iterable of str
            Keys of `history`.

        Raises
        ------
        ValueError
            If there is a file with other content.
        """
        nothing = Progress(0, {name: [] for name in names}, None)
        if not self._is_kept:
            return nothing
        found = nothing
        with self._workers.raising_together():
            if self._path is not None:
                for partial in self._path.parent.glob(f"{self._path.stem}-*.partial"):
                    with contextlib.suppress(OSError):  # the same fit may be running beside this
                        partial.unlink()
                found = self._load(self._path, nothing)
        return self._shared(found, nothing) if self._workers.are_several else found

    def _load(self, path: Path, nothing: Progress) -> Progress:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return nothing
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = dict(file)
            if arrays.pop("digest").item() != _digest(path, arrays):
                raise ValueError("Its content was changed, or is that of another fit.")
            history = {name: arrays[f"history_{name}"].tolist() for name in nothing.history}
            state = TrainState(*(arrays[f"state_{name}"] for name in TrainState._fields))
        except MemoryError:
            raise
        except Exception as error:  # NumPy and zipfile raise many kinds of error for damage
            raise ValueError(
                f"{path} is not a checkpoint of this fit. Remove it to begin again."
            ) from error
        return Progress(len(history["radius"]), history, state)

    def _shared(self, found: Progress, nothing: Progress) -> Progress:
        """Send the content that the first worker has read to the others."""
        share = self._workers.from_first
        n_epochs = int(share(found.n_epochs))
        if not n_epochs:
            return nothing
        state = found.state
        nothing_sent = [np.zeros(3)] * len(TrainState._fields)
        shapes = nothing_sent if state is None else [_padded_shape(part) for part in state]
        sizes = share(np.array(shapes)).astype(int)
        parts = [np.zeros(size[size > 0]) for size in sizes] if state is None else state
        history = {
            name: share(values or np.zeros(n_epochs)).tolist()
            for name, values in found.history.items()
        }
        return Progress(n_epochs, history, TrainState(*map(share, parts)))

    def write(self, history: dict[str, list[float]], state: TrainState) -> None:
        """Keep where the next epoch begins."""
        if self._path is None:
            return
        arrays: dict[str, Any] = {f"state_{k}": v for k, v in state._asdict().items()}
        arrays |= {f"history_{name}": np.array(values) for name, values in history.items()}
        arrays["digest"] = np.array(_digest(self._path, arrays))
        handle, partial = tempfile.mkstemp(
            prefix=f"{self._path.stem}-", suffix=".partial", dir=self._path.parent
        )
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())  # before the move: a power cut could leave nothing
            # The same fit, started beside this one, may have removed it.
            with contextlib.suppress(FileNotFoundError):
                os.replace(partial, self._path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            if isinstance(error, ValueError) and error.__context__ is not None:
                # zipfile cannot close after an interrupt, and raises this in place of it.
                raise error.__context__ from None
            raise

    def remove(self) -> None:
        """Remove the file at the end of the fit."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _digest(path: Path, arrays: dict[str, Any]) -> str:
    """Return a digest of the arrays in a file, and of the fit that the file is named after."""
    digest = hashlib.blake2b(path.name.encode(), digest_size=12)
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name};{array.dtype.str};{array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _padded_shape(array: Any) -> list[int]:
    return [*array.shape, 0, 0][:3]


def _fingerprint(som: Any, plan: TrainingPlan) -> str:
    """Return a name for a fit, of all that its epochs depend on.

    Parameters that are no scalars are in the plan; a function as the neighborhood counts by its
    values on this map.
    """
    digest = hashlib.blake2b(digest_size=12)

    def add(*values: Any) -> None:
        for value in values:
            is_array = isinstance(value, np.ndarray)
            digest.update(value.tobytes() if is_array else f"{value!r};".encode())

    for name, value in sorted(parameters_of(som).items()):
        is_scalar = value is None or isinstance(value, str) or np.isscalar(value)
        if name not in _IRRELEVANT and is_scalar:
            add(name, plain(value))
    add(__version__, plan.grid, plan.radii, plan.codebook)
    for stage in plan.stages:
        add(*stage)
    # Mean and covariance would not do: samples mirrored at their mean have the same.
    add(str(plan.pieces.samples.dtype), plan.pieces.workers.gather(plan.pieces.checksum()))
    if not isinstance(plan.neighborhood, str):
        from_corner = plan.grid.squared_distances(0, np.arange(plan.grid.n_units))
        for radius in plan.radii:
            add(plan.neighborhood(from_corner.copy(), float(radius)))
    return digest.hexdigest()

"""Who fits a map: this process alone, or several workers, each with samples of its own.

Statistics add. So all that `fit` computes of the samples comes from sums over the workers, and a
sum is the one thing that they need of each other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Workers:
    """A process, alone. `_tf.distribution` holds those that are several.

    Attributes
    ----------
    n_workers : int
    index : int
        Which of them this is.
    devices : tuple of str
        Names of the devices that this one divides its samples among; none where there is nothing
        to divide.
    """

    n_workers: int = 1
    index: int = 0
    devices: tuple[str, ...] = ()

    @property
    def are_several(self) -> bool:
        """Whether there are others."""
        return self.n_workers > 1

    def sum(self, values: ArrayLike) -> NDArray[np.float64]:
        """Sum up arrays of one shape over all workers; each gets the same bits."""
        return np.asarray(values, dtype=np.float64)

    def gather(self, values: ArrayLike) -> NDArray[np.float64]:
        """Stack the arrays of all workers, of one shape: (n_workers, ...)."""
        values = np.asarray(values, dtype=np.float64)
        if not self.are_several:
            return values[None]
        each = np.zeros((self.n_workers, *values.shape))
        each[self.index] = values
        return self.sum(each)

    def join(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], slice]:
        """Append vectors of any length to each other; return also where this worker's lies."""
        lengths = self.gather(len(values)).astype(np.int64)
        start = int(lengths[: self.index].sum())
        own = slice(start, start + len(values))
        if not self.are_several:
            return values, own
        joined = np.zeros(lengths.sum())
        joined[own] = values
        return self.sum(joined), own

    def from_first(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the array of the first worker; those of the others only tell the shape.

        What workers compute each for itself could differ by rounding where machines do.
        """
        values = np.asarray(values, dtype=np.float64)
        return self.sum(values if self.index == 0 else np.zeros_like(values))

    def any(self, flag: bool) -> bool:
        """Say whether a flag is set on a worker."""
        return bool(self.sum(float(flag)) > 0)

    @contextlib.contextmanager
    def in_step(self) -> Iterator[None]:
        """Have all workers raise where one does, instead of waiting for it.

        Raises
        ------
        ValueError
            On those that have no error of their own.
        """
        try:
            yield
        except Exception:
            self.any(True)
            raise
        if self.any(False):
            raise ValueError(
                "Another worker of this fit has refused its parameters or its samples: its own "
                "error says why."
            )

    def check_same(self, facts: Mapping[str, float]) -> None:
        """Check that numbers are the same on all workers.

        Raises
        ------
        ValueError
            Where they are not.
        """
        each = self.gather(list(facts.values()))
        for name, values in zip(facts, each.T, strict=True):
            if np.ptp(values):
                raise ValueError(f"All workers of a fit must have the same {name}.")


ALONE = Workers()

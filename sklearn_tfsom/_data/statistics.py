"""Results of a search: units of the rows, and statistics by unit, which add."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._data.scaling import Scaling


class Statistics(NamedTuple):
    """Sums over the samples that an epoch uses."""

    sums: NDArray[np.float64]  # (n_units, n_features): weighted sum of the samples
    counts: NDArray[np.float64]  # (n_units, 1): their weight; or by known feature
    distance_sum: NDArray[np.float64]  # (): weighted sum of the distances to their units

    @classmethod
    def nothing(cls, n_units: int, n_features: int, has_missing: bool) -> Statistics:
        """Return the statistics of no samples."""
        counts = np.zeros((n_units, n_features if has_missing else 1))
        return cls(np.zeros((n_units, n_features)), counts, np.zeros(()))


class UnitMeans(NamedTuple):
    """Mean and weight of the samples of each unit, in data units."""

    means: NDArray[np.float64]  # (n_units, n_features)
    counts: NDArray[np.float64]  # (n_units, 1), or by feature: their total weight

    @classmethod
    def of(
        cls, sums: NDArray[np.float64], counts: NDArray[np.float64], scaling: Scaling
    ) -> UnitMeans:
        """Turn scaled sums into means in data units; means of nothing are the center."""
        return cls(scaling.inverse_transform(sums / np.where(counts > 0, counts, 1)), counts)


class Nearest(NamedTuple):
    """The best-matching units of some rows."""

    units: NDArray[np.int32]  # (n, k), the closest first
    distances: NDArray[np.float64]  # (n,) to the closest; not finite beyond the range of float64


class Found(NamedTuple):
    """The units that float32 scores find, and where these are not enough."""

    units: NDArray[np.int32]  # (n, k), the closest first
    distances: NDArray[np.float64]  # (n,) to the closest
    is_clear: NDArray[np.bool_]  # (n,): False where rounding could change the units

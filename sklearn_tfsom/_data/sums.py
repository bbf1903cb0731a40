"""Sums of dense rows by unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array


def sums_by_unit(
    values: NDArray, weights: NDArray[np.float64], units: NDArray[np.int32], n_units: int
) -> NDArray[np.float64]:
    """Sum the weighted rows of each unit, in the order of the rows.

    Parameters
    ----------
    values : array of shape (n, n_values)
    weights : array of float64, shape (n,)
    units : array of int32, shape (n,)
        The unit of each row.
    n_units : int

    Returns
    -------
    sums : ndarray of float64, shape (n_units, n_values)
    """
    columns = np.arange(len(units) + 1, dtype=np.int32)
    of_units = csc_array((weights, units, columns), (n_units, len(units)))
    # SciPy would copy values of another layout, and copy them again to convert them.
    sums: NDArray[np.float64] = of_units @ np.ascontiguousarray(values, np.float64)
    return sums

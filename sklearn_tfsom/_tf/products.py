"""Products of NumPy matrices, the same in every thread."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._data.tiles import row_slices
from sklearn_tfsom._tf.tuning import MANY_TERMS, SMALL_PRODUCT, STACKED_ROWS


def product(a: NDArray, b: NDArray, out: NDArray | None = None) -> NDArray:
    """Multiply matrices without threads of BLAS; TensorFlow multiplies those of many terms.

    A stack of products too small for a second BLAS thread. A limit on these threads would be one
    of the whole process, on which the last digits of products in other threads depend.
    """
    (n_rows, n_terms), n_columns = a.shape, b.shape[1]
    out = np.empty((n_rows, n_columns), a.dtype) if out is None else out
    if n_terms >= MANY_TERMS[a.dtype.name]:
        out[:] = np.asarray(tf.matmul(a, b))
        return out
    n_stacked = n_rows - n_rows % STACKED_ROWS
    rows = a[:n_stacked].reshape(-1, STACKED_ROWS, n_terms)
    stack = out[:n_stacked].reshape(-1, STACKED_ROWS, n_columns)
    step = max(8, SMALL_PRODUCT // (STACKED_ROWS * n_terms) // 8 * 8)
    for columns in row_slices(n_columns, step):
        np.matmul(rows, b[:, columns], out=stack[:, :, columns])
        if n_stacked < n_rows:
            np.matmul(a[n_stacked:], b[:, columns], out=out[n_stacked:, columns])
    return out

"""Arrays as tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sklearn_tfsom._data.dense import ALIGNMENT


def as_tensor(values: NDArray | tf.Tensor) -> tf.Tensor:
    """Return an array as a tensor, which shares its memory if that is aligned.

    TensorFlow copies every array in one thread, except an aligned one that comes through DLPack
    (which does not check it: an array that is not aligned aborts the process).
    """
    if isinstance(values, np.ndarray) and values.size and values.ctypes.data % ALIGNMENT == 0:
        return tf.experimental.dlpack.from_dlpack(values.__dlpack__())
    return tf.convert_to_tensor(values)


def place(parts: Sequence[NDArray], device: str) -> list[tf.Tensor]:
    """Copy arrays to a device."""
    with tf.device(device):
        return [tf.identity(as_tensor(part)) for part in parts]

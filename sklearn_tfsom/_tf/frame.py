"""The frame in which everything is computed, and samples in it.

Inside this room data are centered and scaled, so that squares neither lose digits far from the
origin nor leave float32's range.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import DTypeLike, NDArray

TOO_FAR = "X holds values too large: their squared distances leave {}'s range. Rescale it."


class Frame(NamedTuple):
    """Where data are moved to before anything is computed: ``(x - center) * scale``."""

    center: NDArray[np.float64]  # (n_features,)
    scale: float  # a power of two, so that scaling rounds nothing

    @classmethod
    def around(cls, center: NDArray, spread: float, dtype: DTypeLike = np.float64) -> Frame:
        """Make the frame in which `center` is the origin and `spread` about 1, for some dtype.

        For float32 data the center is rounded to float32: then differences to it are rounded once.
        """
        center = np.asarray(center, dtype).astype(np.float64)
        exponent = math.frexp(spread)[1] if 0 < spread < math.inf else 0
        limit = 100 if dtype == np.float32 else 1000  # for the scale and its inverse to exist
        return cls(center, math.ldexp(1.0, -min(max(exponent, -limit), limit)))

    @classmethod
    def of_codebook(
        cls, codebook: NDArray, dtype: DTypeLike, *, is_centered: bool = True
    ) -> Frame:
        """Make the frame in which samples of some dtype are searched by a trained codebook."""
        codebook = np.asarray(codebook, np.float64)
        if not is_centered:
            size = max(codebook.max(), -codebook.min())
            return cls.around(np.zeros(codebook.shape[1]), float(size), dtype)
        # From the first code vector on, for sums of values at the end of float64's range.
        apart = codebook - codebook[0]
        mean = np.einsum("u,uf->f", np.full(len(codebook), 1 / len(codebook)), apart)
        center = codebook[0] + mean
        apart -= mean
        return cls.around(center, float(max(apart.max(), -apart.min())), dtype)

    def enter(self, X: NDArray, out: NDArray | None = None) -> NDArray:
        """Move data into the frame: into `out`, of the type of X and of this frame, or in float64.

        The result is rounded once. Scaled down before or up after the center is subtracted: else
        values near the end of floating point's range would overflow on the way.
        """
        out = np.array(X, np.float64) if out is None else out
        scale = out.dtype.type(self.scale)
        if self.scale > 1:
            np.subtract(X, self.center.astype(out.dtype), out=out)
            return np.multiply(out, scale, out=out)
        np.multiply(X, scale, out=out)
        return np.subtract(out, (self.center * self.scale).astype(out.dtype), out=out)

    def leave(self, codebook: NDArray) -> NDArray[np.float64]:
        """Move a codebook back to data units."""
        return codebook / self.scale + self.center

    def unit(self, geometry: str) -> float:
        """Return what a distance of 1 in data units is in the frame."""
        return self.scale**2 if geometry == "spherical" else self.scale


def known(rows: tf.Tensor) -> tf.Tensor:
    """Put 0 for missing values."""
    return tf.where(tf.math.is_nan(rows), tf.zeros([], rows.dtype), rows)


def spread_out(rows: tf.Tensor, is_incomplete: bool) -> tf.Tensor:
    """Lay incomplete rows out for a product: known values, 0 for the others, and which these are.

    Complete rows are returned as they are.
    """
    if not is_incomplete:
        return rows
    mask = tf.cast(~tf.math.is_nan(rows), rows.dtype)
    return tf.concat([known(rows), mask], axis=1)


def as_distances(squared: tf.Tensor, geometry: str) -> tf.Tensor:
    """Turn squared Euclidean distances into those of a geometry.

    Of unit vectors it is ``1 - cos = |x - w|^2 / 2``, which has all digits where they are close.
    """
    return squared / 2 if geometry == "spherical" else tf.sqrt(squared)


def squared_norms(rows: tf.Tensor, is_incomplete: bool) -> tf.Tensor:
    """Squared norms of rows, over their known features."""
    return tf.reduce_sum(tf.square(known(rows) if is_incomplete else rows), axis=1)

"""The frame in which everything is computed, and samples in it.

Inside this room data are centered and scaled where squares would lose digits far from the origin
or leave float32's range.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import DTypeLike, NDArray

from sklearn_tfsom._data.samples import map_tiles, row_slices

if TYPE_CHECKING:
    from sklearn_tfsom._data.samples import Samples

TOO_FAR = "X holds values too large: their squared distances leave {}'s range. Rescale it."

_ALIGNMENT = 64

# Values of a tile that enters: 1 MiB of float32, which stays in the cache. In tiles twice as large
# 60,000 x 784 load in 3 to 9 % less time, and a fit of 1,000,000 x 64 takes 7 to 18 MiB more.
_LOADED_VALUES = 2**18

# Farther from 0 than so many times their spread, code vectors are told apart by so many times more
# rows in float64.
_FAR_FROM_0 = 32.0

# Sums of squares of what needs to be scaled by less than this stay in float32's range.
_HARMLESS_SCALE = 2.0**40


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
        """Make the frame around a trained codebook, for samples of some dtype."""
        if not is_centered:
            size = max(codebook.max(), -codebook.min())
            return cls.around(np.zeros(codebook.shape[1]), float(size), dtype)
        center, apart = _center(codebook)
        return cls.around(center, float(apart.max()), dtype)

    @classmethod
    def of_search(cls, codebook: NDArray, dtype: DTypeLike) -> Frame:
        """Make the frame in which samples are searched: where it does no harm, their own.

        There they enter without rounding and without arithmetic. A feature is centered where it
        lies far from 0 for what code vectors differ by; all are scaled where squares may leave
        floating point's range.
        """
        if _is_harmless(codebook):
            return cls(np.zeros(codebook.shape[1]), 1.0)
        center, apart = _center(codebook)
        is_far = np.abs(center) / _FAR_FROM_0 > apart.max()
        frame = cls.around(np.where(is_far, center, 0), float(apart.max()), dtype)
        is_harmless = 1 / _HARMLESS_SCALE < frame.scale < _HARMLESS_SCALE
        return frame._replace(scale=1.0) if is_harmless else frame

    def enter(self, X: NDArray, out: NDArray | None = None) -> NDArray:
        """Move data into the frame: into `out`, of the type of X and of this frame, or in float64.

        The result is rounded once. Scaled down before or up after the center is subtracted: else
        values near the end of floating point's range would overflow on the way.
        """
        is_own = self.scale == 1 and not self.center.any()
        if out is None:
            out = np.array(X, np.float64)
        elif is_own:
            np.copyto(out, X)
        if is_own:
            return out
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


def _is_harmless(codebook: NDArray) -> bool:
    """Say whether code vectors plainly lie where samples are searched in their own frame.

    By their lowest and highest values: their mean lies between, and at least half of what these
    differ by away from one of the two. Predicting one row takes 0.165 ms instead of 0.19 with it.
    """
    lowest, highest = (limit.astype(np.float64) for limit in (codebook.min(0), codebook.max(0)))
    half = float((highest / 2 - lowest / 2).max())
    size = float(max(-lowest.min(), highest.max()))
    return size <= _FAR_FROM_0 * half and 2 / _HARMLESS_SCALE < half < _HARMLESS_SCALE / 4


def _center(codebook: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean code vector, and how far each feature goes from it."""
    # From the first code vector on: of equal values no mean is off by rounding, and no sum leaves
    # float64's range.
    apart = codebook - codebook[0].astype(np.float64)
    mean = np.einsum("u,uf->f", np.full(len(codebook), 1 / len(codebook)), apart)
    return codebook[0] + mean, np.maximum(apart.max(axis=0) - mean, mean - apart.min(axis=0))


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


def extent(codebook: NDArray, frame: Frame, geometry: str) -> float:
    """Size of the values that code vectors are means of, where they differ: there rounding counts.

    On a sphere they have been divided by their length, too.

    Parameters
    ----------
    codebook : ndarray of float64, shape (n_units, n_features)
        In the frame, whose scale the result has.
    frame : Frame
    geometry : str
    """
    differs = codebook.max(axis=0) > codebook.min(axis=0)
    values = codebook.mean(axis=0) + frame.center * frame.scale
    length = math.hypot(*values[differs].tolist())
    return length + frame.scale if geometry == "spherical" else length


def aligned(n_values: int, dtype: np.dtype) -> NDArray:
    """Return memory as TensorFlow wants to have it, (n_values,)."""
    n_bytes = n_values * dtype.itemsize
    store = np.empty(n_bytes + _ALIGNMENT, dtype=np.uint8)
    first = -store.ctypes.data % _ALIGNMENT
    return store[first : first + n_bytes].view(dtype)


def aligned_parts(n_parts: int, n_values: int, dtype: np.dtype) -> NDArray:
    """Return such memory for several, (n_parts, at least n_values), which is one piece.

    glibc keeps that for the next call, up to 32 MiB; several pieces it gives back, and the system
    makes each page anew. The search of 100,000 x 64 in four chunks takes 23 ms instead of 25.
    """
    n_values += -n_values % _ALIGNMENT
    return aligned(n_parts * n_values, dtype).reshape(n_parts, n_values)


def handed_over(values: NDArray) -> tf.Tensor:
    """Give TensorFlow an array in memory from `aligned`, which it goes on to use as it is.

    It copies every array that it is given, in one thread, except a 64-byte aligned one through
    DLPack (which it does not check: an unaligned one aborts the process).
    """
    return tf.experimental.dlpack.from_dlpack(values.__dlpack__())


def load(
    samples: Samples,
    rows: slice,
    frame: Frame,
    dtype: np.dtype,
    map_all: Callable = map_tiles,
    *,
    norms_dtype: DTypeLike = np.float64,
    into: NDArray | None = None,
) -> tuple[tf.Tensor, NDArray[np.float64]]:
    """Move samples into the frame and into TensorFlow's hands, with one copy.

    The frame's copy, which has to be made anyway, is handed over, and so may the norms be.

    Parameters
    ----------
    samples : Samples
        Dense.
    rows : slice
        Which ones.
    frame : Frame
    dtype : dtype
        Of the values.
    map_all : callable, default=map_tiles
        Calls a function for all of some tiles: in threads, unless this is one of several itself.
    norms_dtype : dtype, default=float64
        What norms are computed in, unless they leave its range.
    into : ndarray of that dtype, shape (at least n * n_features,), default=None
        Memory from `aligned`, of which the values are a view then.

    Returns
    -------
    values : Tensor of that dtype, shape (n, n_features)
    norms : ndarray of float64, shape (n,)
        Squared, over the known features; in memory from `aligned`, for `handed_over`.
    """
    start, stop, _ = rows.indices(len(samples))
    shape = stop - start, samples.shape[1]
    n_values = shape[0] * shape[1]
    store = aligned(n_values, dtype) if into is None else into[:n_values]
    values = store.reshape(shape)
    norms = aligned(shape[0], np.dtype(np.float64))
    has_missing = samples.has_missing  # which may take a pass, so not in all threads

    def enter(tile: slice) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            moved = frame.enter(samples[start + tile.start : start + tile.stop], values[tile])
            moved = moved.astype(norms_dtype, copy=has_missing)
            if has_missing:
                moved[np.isnan(moved)] = 0
            squared = np.einsum("ij,ij->i", moved, moved)
            if not np.isfinite(squared.max(initial=0)):  # float32's range is not enough
                squared = np.einsum("ij,ij->i", moved, moved, dtype=np.float64)
        norms[tile] = squared

    n_rows = max(1, _LOADED_VALUES // shape[1])
    list(map_all(enter, row_slices(shape[0], n_rows)))
    return handed_over(values), norms

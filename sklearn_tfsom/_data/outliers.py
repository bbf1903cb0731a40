"""Main directions of data in which a few samples outweigh all others.

One sample far away can be most of a variance: then it would decide on the size of a map, on its
start and on the center of training. It is left out there, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_tfsom._compat import with_errstate
from sklearn_tfsom._data.moments import Moments, centered, compute_moments
from sklearn_tfsom._data.pieces import Piece, Pieces, whole_weight

# Few samples that are such a share of the variance along a main direction are left out. So none
# that stays can change a ratio of deviations by more than a seventh, and no size jumps.
_LARGE_SHARE = 0.25

# In each round one sample in 1,000 may be an outlier, at least one and at most ten. Among fewer
# than 100 samples one can be a quarter of a variance by chance.
_SAMPLES_PER_OUTLIER, _MAX_OUTLIERS, _MIN_SAMPLES = 1000, 10, 100

# Behind an outlier there may be others.
_MAX_ROUNDS = 3

# Shares that differ by less, relatively, are of equal samples.
_EQUAL = 1e-6


class Cut(NamedTuple):
    """Samples whose share of the variance along a direction is above a limit."""

    mean: NDArray[np.float64]  # (n_features,)
    axes: NDArray[np.float64]  # (2, n_features): squared products are shares
    limit: float


def with_typical_directions(
    moments: Moments, pieces: Pieces, *, has_components: bool = True
) -> Moments:
    """Replace main directions that a few outliers make, and the middle, by those of the others.

    Parameters
    ----------
    moments : Moments
        Of all samples.
    pieces : Pieces
    has_components : bool, default=True
        As of `compute_moments`.

    Returns
    -------
    moments : Moments
        With other `deviations`, `directions` and `middle`, or as they were.
    """
    if pieces.total_weight < _MIN_SAMPLES:
        return moments
    cuts: tuple[Cut, ...] = ()
    found, middle, total = moments, moments.mean, pieces.total_weight
    typical: Any = pieces
    for _ in range(_MAX_ROUNDS):
        cut, n_outliers = _next_cut(found, total, typical)
        if cut is None:
            break
        cuts, total = (*cuts, cut), whole_weight(total - n_outliers)
        typical = _TypicalPieces(pieces, cuts, total)
        of_typical = compute_moments(typical, has_components=has_components)
        if np.isfinite(of_typical.mean).all():  # else a feature is known in none
            middle = of_typical.mean
        if not of_typical.deviations[0] > 0:  # these have no directions
            break
        found = of_typical
    return moments._replace(
        deviations=found.deviations, directions=found.directions, middle=middle
    )


class _TypicalPieces:
    """Samples without outliers, as far as moments need them."""

    def __init__(self, pieces: Pieces, cuts: tuple[Cut, ...], total_weight: float) -> None:
        self.samples, self.workers = pieces.samples, pieces.workers
        self._pieces, self.total_weight = pieces, total_weight
        self._rows = pieces.rows_of(_are_outliers, cuts)

    def reduce(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return self._pieces.reduce(_of_typical, function, *arguments, rows=self._rows, **options)


def _are_outliers(piece: Piece, cuts: tuple[Cut, ...]) -> NDArray[np.bool_]:
    """Return which samples of a piece are left out."""
    are_outliers = np.zeros(len(piece.samples), dtype=bool)
    for cut in cuts:
        are_outliers |= _shares(piece, cut.mean, cut.axes).max(axis=1) > cut.limit
    return are_outliers


def _of_typical(
    piece: Piece, is_outlier: NDArray[np.bool_], function: Callable[..., Any], *arguments: Any
) -> Any:
    """Call a function for a piece without its outliers."""
    if is_outlier.any():
        (rows,) = np.nonzero(~is_outlier)
        piece = Piece(piece.samples.take(rows), piece.sample_weight[rows])
    return function(piece, *arguments)


@with_errstate(over="ignore", invalid="ignore")  # of axes that are not finite
def _next_cut(moments: Moments, total: float, pieces: Any) -> tuple[Cut | None, float]:
    """Find outliers along the main directions, up to the widest gap; return their weight, too."""
    deviations = np.where(moments.deviations > 0, moments.deviations, np.inf)
    axes = moments.directions / (deviations * np.sqrt(total))[:, None]
    if not np.isfinite(axes).all():
        return None, 0.0
    # No sample is farther along a direction than the highest and lowest values allow.
    if (np.abs(axes) @ moments.reach).max() ** 2 * _MAX_OUTLIERS < _LARGE_SHARE:
        return None, 0.0
    n_most = int(min(max(total // _SAMPLES_PER_OUTLIER, 1), _MAX_OUTLIERS))
    largest = pieces.reduce(_largest, moments.mean, axes, n_most + 1, combine=_largest_of)
    largest = largest.reshape(-1, 4)
    best, gap = 0, 1 / (1 - _EQUAL)
    for n in range(1, n_most + 1):
        weights = largest[:n, 1]
        is_large = (weights @ largest[:n, 2:]).max() >= _LARGE_SHARE
        if (
            is_large
            and weights.sum() <= n_most * (1 + _EQUAL)
            and largest[n - 1, 0] > gap * largest[n, 0]
        ):
            best, gap = n, largest[n - 1, 0] / max(largest[n, 0], np.finfo(float).tiny)
    if not best:
        return None, 0.0
    limit = largest[best - 1 : best + 1, 0].mean()
    return Cut(moments.mean, axes, limit), float(largest[:best, 1].sum())


def _shares(
    piece: Piece, mean: NDArray[np.float64], axes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the share of a sample of weight 1 in the variance along each direction: (n, 2)."""
    samples = piece.samples
    if samples.is_sparse:
        return (samples[:] @ axes.T - axes @ mean) ** 2
    return (centered(samples, mean) @ axes.T) ** 2


def _largest(
    piece: Piece, mean: NDArray[np.float64], axes: NDArray[np.float64], n_wanted: int
) -> NDArray[np.float64]:
    """Return the samples of the largest shares: largest share, weight, and both shares."""
    shares = _shares(piece, mean, axes)
    rows = np.column_stack([shares.max(axis=1), piece.sample_weight, shares])
    nothing = np.zeros((n_wanted, 4))
    return _largest_of(nothing, rows)


def _largest_of(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rows of the largest shares in two lists, as many as the first one has."""
    rows = np.concatenate([first.reshape(-1, 4), second.reshape(-1, 4)])
    rows = rows[np.argsort(-rows[:, 0], kind="stable")]
    # Equal samples count as one of their total weight.
    is_last = np.append(rows[1:, 0] < (1 - _EQUAL) * rows[:-1, 0], True)
    merged = rows[is_last]
    merged[:, 1] = np.diff(np.cumsum(rows[:, 1])[is_last], prepend=0)
    found = np.zeros((first.size // 4, 4))
    found[: len(merged)] = merged[: len(found)]
    return found.reshape(first.shape)

"""Checks of samples and weights, before anything is computed."""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Callable, Iterator
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import validate_data

from sklearn_tfsom._data.foreign import (
    FileArray,
    as_array,
    feature_names,
    has_float32,
    has_sparse_values,
    opened,
    refuse_non_arrays,
    refuse_non_numbers,
)
from sklearn_tfsom._data.pieces import ALONE, Piece, Pieces, Workers
from sklearn_tfsom._data.samples import Samples, is_memory_map
from sklearn_tfsom._data.sparse import canonical
from sklearn_tfsom._data.tiles import map_tiles, row_slices, value_slices
from sklearn_tfsom._distance import Metric, is_zero, names_where
from sklearn_tfsom._tuning import TILE_VALUES
from sklearn_tfsom._validation import name_of, shown, wrong_metric, wrong_parameter

# Tiles that are checked together; one that fails is looked at again while it is in memory.
_TILES_AT_ONCE = 16

# How errors of the conversion to floats begin.
_NO_FLOAT = ("could not convert", "float() argument")

# A sample with a smaller share of the weight counts as one of weight 0: products with it are 0.
_MIN_SHARE = 1e-305

# Sums of samples of a smaller total weight would have few digits.
_MIN_TOTAL = 1e-307


def check_training_data(
    owner: Any,
    X: Any,
    sample_weight: Any,
    metric: Metric,
    workers: Workers = ALONE,
    *,
    reset: bool = True,
    begins: bool = True,
) -> tuple[Pieces, Pieces]:
    """Check samples and weights that a map is to learn from.

    Parameters
    ----------
    owner : TFSOM
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    sample_weight : array-like of shape (n_samples,) or None
    metric : Metric
    workers : Workers, default=ALONE
        Each with its own samples.
    reset : bool, default=True
        Whether the estimator takes the number and names of features from X.
    begins : bool, default=True
        Whether the map begins with them, and needs a known value for each feature.

    Returns
    -------
    pieces : Pieces
        All samples.
    counted : Pieces
        The samples that take part: of positive weight, and with a direction where directions are
        compared. At least one.

    Raises
    ------
    ValueError
        If samples or weights are not valid, on any worker.
    """
    with workers.raising_together():
        n_least = 0 if workers.are_several else 1  # a worker may have none
        samples = check_samples(owner, X, metric, reset=reset, min_samples=n_least)
        weights = check_sample_weight(sample_weight, len(samples), are_all=False)
    if workers.are_several:
        workers.check_same(
            {
                "number of features": samples.shape[1],
                "names of features": _checksum(getattr(owner, "feature_names_in_", None)),
                "precision": samples.dtype.itemsize,
                "kind of data, sparse or dense": samples.is_sparse,
            }
        )
        samples = samples.with_missing(workers.any(samples.has_missing))
    pieces = Pieces(samples, weights, workers)
    check_total(pieces.total_weight)
    counted = counted_of(pieces)
    check_counted(counted)
    if begins:
        check_features_known(counted)
    return pieces, counted


def counted_of(pieces: Pieces) -> Pieces:
    """Return the samples that take part; they may be complete where others are not."""
    counted = pieces.take_where(are_counted(pieces))
    if not pieces.samples.has_missing or counted.n_samples == pieces.n_samples:
        return counted
    has_missing = bool(counted.reduce(_any_missing, combine=np.maximum))
    samples = counted.samples.with_missing(has_missing)
    return Pieces(samples, counted.sample_weight, pieces.workers)


def _any_missing(piece: Piece) -> NDArray[np.float64]:
    return np.array(float(any_missing(piece.samples)))


def any_missing(samples: Samples) -> bool:
    """Return True if a value of dense samples is missing."""
    return bool(np.isnan(samples[:]).any())


def check_counted(pieces: Pieces) -> None:
    """Check that at least one sample takes part, once `check_total` has found positive weights.

    Raises
    ------
    ValueError
        If none takes part.
    """
    if not pieces.n_samples:
        raise ValueError(
            f"X contains no sample of positive weight that has a direction under "
            f"metric={pieces.samples.metric.name!r}: the values of each are 0, or for "
            "'correlation' all equal."
        )


def check_samples(
    owner: Any, X: Any, metric: Metric, *, reset: bool = False, min_samples: int = 1
) -> Samples:
    """Check samples for a metric.

    Parameters
    ----------
    owner : TFSOM or str
        The estimator whose features they must have, or the name of a function.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    metric : Metric
    reset : bool, default=False
        Whether the estimator takes the number and names of features from X.
    min_samples : int, default=1

    Returns
    -------
    samples : Samples

    Raises
    ------
    ValueError
        If X is not as scikit-learn demands, contains infinity, or has missing values where they
        are not allowed: in sparse data, under a metric that compares whole samples, or in all
        features of a sample.
    """
    X = check_form(owner, X, metric, reset=reset, min_samples=min_samples)
    return Samples(X, metric, has_missing=check_values(X, owner, metric))


def check_form(
    owner: Any, X: Any, metric: Metric, *, reset: bool = False, min_samples: int = 1
) -> Any:
    """Check all but the values of samples; return an array, or a CSR matrix or array.

    See `check_samples`.
    """
    refuse_non_arrays(X)
    X = as_array(opened(X), "X")
    refuse_non_numbers(X, "X")
    if has_sparse_values(X) and not metric.allows_sparse:
        names = names_where(lambda metric: metric.allows_sparse)
        raise wrong_metric(owner, f"one of {names} for sparse X", metric.name)
    # Numbers on disk stay as they are: tiles are converted when they are read.
    stays = is_memory_map(X) and isinstance(X, np.ndarray) and X.dtype.kind in "biuf"
    options: dict[str, Any] = {
        "accept_sparse": "csr" if metric.allows_sparse else False,
        "dtype": None if stays else np.float32 if has_float32(X) else np.float64,
        "ensure_all_finite": False,
        "ensure_min_samples": min_samples,
    }
    if scipy.sparse.issparse(X):
        X = canonical(X)
    with _as_floats("X"):
        if isinstance(X, FileArray):
            if not isinstance(owner, str):
                validate_data(owner, X, reset=reset, skip_check_array=True)
        elif isinstance(owner, str):
            X = check_array(X, input_name="X", estimator=owner, **options)
        else:
            X = validate_data(owner, X, reset=reset, **options)
    if X.shape[1] < metric.min_features:
        raise ValueError(
            f"X must have at least {metric.min_features} features under metric={metric.name!r}. "
            f"Got n_features = {X.shape[1]} instead."
        )
    return X


def check_codebook_names(name: str, owner: Any, codebook: Any, names: NDArray | None) -> None:
    """Check that a codebook has the names of the features of X, if both have names.

    Parameters
    ----------
    name : str
        Name of the argument.
    owner : TFSOM or str
        Whose argument it is.
    codebook : array-like
    names : ndarray of str, or None
        Names of the features of X.

    Raises
    ------
    InvalidParameterError
        If one differs.
    """
    own = feature_names(codebook, name) if names is not None else None
    if own is None or names is None:
        return
    for found, expected in zip(own, names, strict=False):
        if found != expected:
            right = "a codebook with the columns of X, in their order"
            raise wrong_parameter(name, owner, right, f"{found!r} where X has {expected!r}")


def check_values(X: Any, owner: Any, metric: Metric) -> bool:
    """Check values tile by tile for infinity; return whether some are missing.

    See `check_samples`.
    """
    is_sparse = scipy.sparse.issparse(X)
    values = X.data[:, None] if is_sparse else X
    has_missing = False

    def tile_of(rows: slice) -> NDArray:
        tile = values[rows]  # long doubles on disk are used as float64
        return tile if tile.dtype.itemsize <= 8 else tile.astype(np.float64)

    def has_finite_sum(rows: slice) -> bool:
        with np.errstate(over="ignore", invalid="ignore"):
            # Then all values are finite. (`sum` takes twice as long.)
            return bool(np.isfinite(np.einsum("ij->", tile_of(rows))))

    tiles = value_slices(len(values), values.shape[1], TILE_VALUES)
    for rows in _failing_tiles(has_finite_sum, tiles):
        with np.errstate(over="ignore", invalid="ignore"):  # infinite sums may cancel out
            tile = tile_of(rows)
            assert_all_finite(tile, allow_nan=True, estimator_name=name_of(owner), input_name="X")
        is_missing = np.isnan(tile)
        if not is_missing.any():
            continue
        has_missing = True
        if is_sparse:
            remedy = "Pass a dense array, or impute" if metric.allows_missing else "Impute"
            raise ValueError(f"Sparse X must not contain missing values (NaN). {remedy} them.")
        if not metric.allows_missing:
            names = names_where(lambda metric: metric.allows_missing)
            right = f"one of {names} for X with missing values (NaN)"
            raise wrong_metric(owner, right, metric.name)
        (empty,) = np.nonzero(is_missing.all(axis=1))
        if len(empty):
            raise ValueError(
                f"Sample {rows.start + empty[0]} of X is missing (NaN) in all features. Remove it."
            )
    return has_missing


def _failing_tiles(check: Callable[[slice], bool], tiles: list[slice]) -> Iterator[slice]:
    """Yield the tiles that do not pass a check, checking some at a time."""
    for some in row_slices(len(tiles), _TILES_AT_ONCE):
        passed = list(map_tiles(check, tiles[some]))
        yield from (tile for tile, passes in zip(tiles[some], passed, strict=True) if not passes)


def check_features_known(pieces: Pieces) -> None:
    """Check that every feature has a known value.

    Raises
    ------
    ValueError
        If one has none.
    """
    if not pieces.samples.has_missing:
        return
    is_known = pieces.reduce(_known_features, combine=np.maximum)
    if not is_known.all():
        raise ValueError(
            f"Feature {np.argmin(is_known)} of X is missing (NaN) in all samples of positive "
            "weight. Remove it."
        )


def _known_features(piece: Piece) -> NDArray[np.float64]:
    return (~np.isnan(piece.samples[:])).any(axis=0).astype(np.float64)


def are_counted(pieces: Pieces, total_weight: float | None = None) -> NDArray[np.bool_]:
    """Return for each sample of this worker whether it takes part in training.

    Parameters
    ----------
    pieces : Pieces
    total_weight : float, default=None
        Weight of all samples, if these are some of them.
    """
    total = pieces.total_weight if total_weight is None else total_weight
    is_counted: NDArray[np.bool_] = has_share(pieces.sample_weight, total)
    if pieces.samples.metric.is_spherical:
        is_counted = is_counted & pieces.rows_of(_have_direction)
    return is_counted


def has_share(weight: Any, total_weight: float) -> Any:
    """Return whether a weight, or each of an array, is more than a negligible share of all."""
    with np.errstate(under="ignore"):
        return weight / (total_weight or 1) > _MIN_SHARE


def _have_direction(piece: Piece) -> NDArray[np.bool_]:
    """Return for each sample of a spherical metric whether it has a direction."""
    return ~is_zero(piece.samples[:])


def _checksum(names: Any) -> int:
    return zlib.crc32(repr(names if names is None else list(names)).encode())


@contextlib.contextmanager
def _as_floats(name: str) -> Iterator[None]:
    """Name the argument that has texts, or an int beyond the range; long doubles become inf."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # of sums by which scikit-learn checks
            yield
    except OverflowError:
        raise ValueError(
            f"{name} must not exceed the range of float64. Got an int that does."
        ) from None
    except (TypeError, ValueError) as error:
        if not str(error).startswith(_NO_FLOAT):
            raise
        raise type(error)(f"{name} must contain numbers: {error}") from error


def check_sample_weight(
    sample_weight: Any, n_samples: int, *, are_all: bool = True
) -> NDArray[np.float64]:
    """Check sample weights; None means 1 for each.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,) or None
    n_samples : int
    are_all : bool, default=True
        Whether they are the weights of all samples of a fit, of which one must be positive.

    Raises
    ------
    TypeError, ValueError
        If there is not one finite weight of at least 0 for each sample, or all are 0.
    """
    if sample_weight is None:
        return np.broadcast_to(1.0, n_samples)  # takes no memory
    with _as_floats("sample_weight"):
        if isinstance(sample_weight, Real):
            sample_weight = np.full(n_samples, float(sample_weight))
        given = as_array(sample_weight, "sample_weight")
        if not hasattr(given, "shape") and np.asarray(given).dtype == object:
            raise TypeError(
                f"sample_weight must be an array of numbers. Got {shown(sample_weight)} instead."
            )
        refuse_non_numbers(given, "sample_weight")
        weights = check_array(
            given,
            dtype=np.float64,
            ensure_2d=False,
            ensure_min_samples=0,
            input_name="sample_weight",
        )
    check_weight_shape(weights.shape, n_samples)
    if (weights < 0).any():
        raise ValueError(
            f"sample_weight must not contain negative values. Got {weights.min():g} as the lowest."
        )
    with np.errstate(over="ignore"):
        total = weights.sum()
    if are_all or not math.isfinite(total):
        check_total(total)
    return weights


def check_weight_shape(shape: tuple[int, ...], n_samples: int) -> None:
    """Check that there is one weight for each sample."""
    if shape != (n_samples,):
        raise ValueError(
            f"sample_weight must have one value for each of the {n_samples} samples, shape "
            f"({n_samples},). Got shape {shape} instead."
        )


def check_total(total_weight: float) -> None:
    """Check that the weight of all samples is positive and finite, and not subnormal.

    Raises
    ------
    ValueError
        If it is not.
    """
    if math.isnan(total_weight):
        raise ValueError("sample_weight must not contain missing values (NaN).")
    if math.isinf(total_weight):
        raise ValueError(
            "sample_weight contains values too large to sum. Divide it by its largest value."
        )
    if not total_weight > 0:
        raise ValueError(
            "sample_weight must contain a positive weight. Got all weights zero instead."
        )
    if total_weight < _MIN_TOTAL:
        raise ValueError(
            f"sample_weight contains values too small to compute with: their sum is "
            f"{total_weight:g}. Divide it by its largest value."
        )

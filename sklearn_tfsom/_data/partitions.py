"""The samples of a fit in the partitions of an engine: its workers read them in each pass.

The plan and the loop over the epochs run in the driver. `Pieces.reduce` sends a function and its
arguments, of the size of a codebook, to all partitions, and gets back the combined results. The
driver fetches samples only if they are few, or if `select` chooses them.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, cast

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

from sklearn_tfsom._data.checks import (
    any_missing,
    are_counted,
    check_counted,
    check_features_known,
    check_form,
    check_sample_weight,
    check_total,
    check_values,
    has_share,
)
from sklearn_tfsom._data.foreign import columns_named
from sklearn_tfsom._data.pieces import Combine, Piece, Pieces, combined, whole_weight
from sklearn_tfsom._data.samples import DistantSamples, Samples
from sklearn_tfsom._distance import Metric
from sklearn_tfsom._validation import shown

# Samples that are so few that the driver trains on them by itself.
_MAX_FETCHED = 2**12

_OWNER = "TFSOM"

# Values, weights and keys of samples that a function has chosen.
_Selected: TypeAlias = tuple[Any, NDArray[np.float64], NDArray[np.float64]]


class Engine(Protocol):
    """Calls functions for the partitions of a collection; each may be called more than once.

    Functions get the samples of a partition (array, CSR matrix or data frame) and their weights
    (None for 1 each). A partition may be passed in several parts. If it cannot be read, they get
    the error in place of the samples: engines wrap errors that are raised on their workers.
    """

    features: Any  # samples, perhaps none, with the number and names of features
    n_workers: int  # processes that work at a time, about

    def reduce(
        self,
        function: Callable[[Any, Any], Any],
        combine: Callable[[Any, Any], Any],
        name: str,
    ) -> Any:
        """Combine the results for all partitions; None if there are none."""

    def collect(self, function: Callable[[Any, Any], Any], name: str) -> list[Any]:
        """Return the results for all partitions, in any order."""


class Facts(NamedTuple):
    """Facts about the samples of some partitions."""

    error: Exception | None = None
    dtype: str = "float32"
    is_sparse: bool = False
    has_missing: bool = False
    has_missing_counted: bool = False  # whether the samples that take part have missing values
    n_samples: int = 0  # all, and those that take part
    n_counted: int = 0
    weight: float = 0.0
    counted_weight: float = 0.0
    least_weight: float = np.inf  # of a sample that takes part

    def plus(self, other: Facts) -> Facts:
        """Return the facts of both."""
        if self.error is not None or other.error is not None:
            return self if self.error is not None else other
        if not (self.n_samples and other.n_samples):
            return self if self.n_samples else other
        if self.is_sparse != other.is_sparse:
            error = ValueError("All partitions must be sparse, or none. Got some of each.")
            return self._replace(error=error)
        return Facts(
            dtype=str(np.promote_types(self.dtype, other.dtype)),
            is_sparse=self.is_sparse,
            has_missing=self.has_missing or other.has_missing,
            has_missing_counted=self.has_missing_counted or other.has_missing_counted,
            n_samples=self.n_samples + other.n_samples,
            n_counted=self.n_counted + other.n_counted,
            weight=self.weight + other.weight,
            counted_weight=self.counted_weight + other.counted_weight,
            least_weight=min(self.least_weight, other.least_weight),
        )


class Reader(NamedTuple):
    """Makes samples of a partition, in the process that works on it."""

    metric: Metric
    dtype: str
    n_features: int
    columns: list[Any] | None
    is_sparse: bool
    has_missing: bool
    total_weight: float
    is_counted: bool  # whether to read only samples that take part

    def read(self, X: Any, sample_weight: Any) -> Pieces:
        """Return the samples of a partition as the only ones of a fit."""
        if isinstance(X, Exception):
            raise X
        if X.shape[0]:
            X = _in_columns(X, self.columns)
            X = check_form(_OWNER, X, self.metric).astype(self.dtype, copy=False)
        else:
            X = np.empty((0, self.n_features), self.dtype)
            X = scipy.sparse.csr_array(X) if self.is_sparse else X
        weights = check_sample_weight(sample_weight, X.shape[0], are_all=False)
        pieces = Pieces(Samples(X, self.metric, has_missing=self.has_missing), weights)
        if not self.is_counted:
            return pieces
        return pieces.take_where(are_counted(pieces, self.total_weight))

    def joined(self, values: list[Any], weights: list[NDArray[np.float64]]) -> Pieces:
        """Return the samples of several pieces, checked before, as one."""
        join = functools.partial(scipy.sparse.vstack, format="csr")
        X = (join if self.is_sparse else np.concatenate)(values)
        samples = Samples(X, self.metric, has_missing=self.has_missing)
        return Pieces(samples, np.concatenate(weights))


class _Rows(NamedTuple):
    """Values of distant samples, computed where and when they are used."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    has_result: bool = False  # whether the function returns something else before them

    def of(self, pieces: Pieces) -> NDArray:
        """Compute the values for samples that lie here."""
        if self.has_result:
            return pieces.reduce_with_rows(self.function, *self.arguments)[1]
        return pieces.rows_of(self.function, *self.arguments)


@dataclass(frozen=True)
class _Task:
    """A function of the samples of a partition as `Pieces`."""

    reader: Reader
    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __call__(self, X: Any, sample_weight: Any) -> Any:
        return self.function(self.reader.read(X, sample_weight), *self.arguments)


class Partitions(Pieces):
    """The samples of a fit in the partitions of an engine.

    Parameters
    ----------
    engine : Engine
    reader : Reader
    facts : Facts
    """

    are_distant = True

    def __init__(self, engine: Engine, reader: Reader, facts: Facts) -> None:
        n_samples = facts.n_counted if reader.is_counted else facts.n_samples
        samples = DistantSamples(
            (n_samples, reader.n_features),
            reader.dtype,
            reader.metric,
            has_missing=reader.has_missing,
            is_sparse=reader.is_sparse,
        )
        super().__init__(samples, np.zeros(0))
        self._engine, self._reader, self._facts = engine, reader, facts
        self._gathered: tuple[_Rows, NDArray] | None = None

    def counted(self) -> Pieces:
        """Return the samples that take part; if they are few they are fetched."""
        reader = self._reader._replace(
            is_counted=True, has_missing=self._facts.has_missing_counted
        )
        if self._facts.n_counted > _MAX_FETCHED:
            return Partitions(self._engine, reader, self._facts)
        parts = self._engine.collect(_Task(reader, _contents, ()), "fetch")
        return reader.joined(*map(list, zip(*parts, strict=True)))

    def reduce(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        combine: Combine = np.add,
        rows: Any = None,
        name: str = "",
        **sizes: Any,
    ) -> Any:
        """Apply a function to the pieces of all partitions and combine the results."""
        task = _Task(self._reader, _reduced, (function, arguments, combine, rows, sizes))
        name = name or function.__name__.strip("_")
        return self._engine.reduce(task, functools.partial(combined, combine), name)

    def rows_of(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Keep the function that computes a value for each sample, to call it where it is used."""
        return _Rows(function, arguments)

    def reduce_with_rows(
        self, function: Callable[..., Any], *arguments: Any, **sizes: int
    ) -> tuple[Any, Any]:
        """Apply a function to the pieces of all partitions; keep how to compute the rows."""
        task = _Task(self._reader, _reduced_with_rows, (function, arguments, sizes))
        combine = functools.partial(combined, np.add)
        result = self._engine.reduce(task, combine, function.__name__.strip("_"))
        return result, _Rows(function, arguments, has_result=True)

    def select(
        self, function: Callable[..., Any], *arguments: Any, rows: Any
    ) -> tuple[Pieces, NDArray[np.float64]]:
        """Fetch the samples that a function chooses; those of equal keys become one."""
        task = _Task(self._reader, _selected, (function, arguments, rows))
        combine = functools.partial(_join_selected, self._reader)
        values, weights, keys = self._engine.reduce(task, combine, function.__name__.strip("_"))
        in_order = np.argsort(keys[:, 0])  # engines may combine partitions in any order
        return self._reader.joined([values], [weights]).take(in_order), keys[in_order]

    def gather_rows(
        self, function: Callable[..., Any], *arguments: Any
    ) -> tuple[NDArray[np.float64], slice]:
        """Fetch numbers for each sample."""
        task = _Task(self._reader, Pieces.rows_of, (function, *arguments))
        parts = self._engine.collect(task, function.__name__.strip("_"))
        joined = np.concatenate(parts)
        self._gathered = _Rows(function, arguments), joined
        return joined, slice(0, len(joined))

    def dense_rows(self, rows: NDArray[np.int64], own: slice) -> NDArray[np.float64]:
        """Fetch some of the samples, known by the first of the numbers gathered last."""
        assert self._gathered is not None
        how, numbers = self._gathered
        wanted = numbers[rows, 0]
        chosen, keys = self.select(_having, np.unique(wanted), rows=how)
        return chosen.samples.dense(np.searchsorted(keys[:, 0], wanted))

    def checksum(self) -> int:
        """Return a hash of the samples and weights that a float can represent."""
        parts = self._engine.collect(_Task(self._reader, Pieces.checksum, ()), "checksum")
        digest = hashlib.blake2b(repr(sorted(parts)).encode(), digest_size=6)
        return int.from_bytes(digest.digest())

    @property
    def n_searched_here(self) -> int:
        """Number of samples that one process searches in a pass, about."""
        return len(self.samples) // max(1, self._engine.n_workers)

    @property
    def own(self) -> Pieces:
        """All samples: there are no other workers with a fit of their own."""
        return self

    def _totals(self) -> tuple[float, float]:
        facts = self._facts
        if self._reader.is_counted:
            return whole_weight(facts.counted_weight), facts.n_counted
        return whole_weight(facts.weight), facts.n_samples


def check_partitions(owner: Any, engine: Engine, metric: Metric) -> tuple[Pieces, Pieces]:
    """Check samples and weights that a map is to learn from; see `check_training_data`.

    Parameters
    ----------
    owner : TFSOM
        Takes the number and names of features.
    engine : Engine
    metric : Metric

    Returns
    -------
    pieces, counted : Pieces

    Raises
    ------
    ValueError
        If samples or weights are not valid.
    """
    n_features = validate_data(owner, engine.features, skip_check_array=True).shape[1]
    columns = list(engine.features.columns) if hasattr(engine.features, "columns") else None
    look = functools.partial(_look, metric=metric, n_features=n_features, columns=columns)
    # At first the first sample alone: if it is invalid, its number of features may be wrong, and
    # errors of other partitions would mislead.
    facts = look(engine.features, None)
    if facts.error is None:
        facts = engine.reduce(look, Facts.plus, "check") or facts
    if facts.error is not None:
        raise type(facts.error)(f"In a partition of X: {facts.error}") from facts.error
    if not facts.n_samples:
        raise ValueError(
            "X must have at least one sample. Got no sample in any partition instead."
        )
    check_total(facts.weight)
    if not has_share(facts.least_weight, facts.weight):  # only of the weight of its partition
        look = functools.partial(look, total_weight=facts.weight)
        facts = cast(Facts, engine.reduce(look, Facts.plus, "check"))
    reader = Reader(
        metric=metric,
        dtype=facts.dtype,
        n_features=n_features,
        columns=columns,
        is_sparse=facts.is_sparse,
        has_missing=facts.has_missing,
        total_weight=facts.weight,
        is_counted=False,
    )
    pieces = Partitions(engine, reader, facts)
    counted = pieces.counted()
    check_counted(counted)
    check_features_known(counted)
    return pieces, counted


def _in_columns(X: Any, columns: list[Any] | None) -> Any:
    """Return the features by their names, if they have names: partitions may have other orders."""
    return X if columns is None or not hasattr(X, "columns") else columns_named(columns, X)


def _look(
    X: Any,
    sample_weight: Any,
    metric: Metric,
    n_features: int,
    columns: list[Any] | None,
    total_weight: float | None = None,
) -> Facts:
    """Check the samples of a partition; report an error instead of raising it."""
    try:
        if isinstance(X, Exception):
            raise X
        if len(getattr(X, "shape", ())) != 2:
            raise ValueError(f"X must have 2 dimensions. Got {shown(X)} instead.")
        if not X.shape[0]:
            check_sample_weight(sample_weight, 0, are_all=False)
            return Facts()
        if X.shape[1] != n_features:
            raise ValueError(f"X must have {n_features} features. Got {X.shape[1]} instead.")
        X = check_form(_OWNER, _in_columns(X, columns), metric)
        samples = Samples(X, metric, has_missing=check_values(X, _OWNER, metric))
        weights = check_sample_weight(sample_weight, len(samples), are_all=False)
    except (ValueError, TypeError) as error:
        return Facts(error=error)
    is_counted = are_counted(Pieces(samples, weights), total_weight)
    (rows,) = np.nonzero(is_counted)
    return Facts(
        dtype=str(samples.dtype),
        is_sparse=samples.is_sparse,
        has_missing=samples.has_missing,
        has_missing_counted=samples.has_missing and any_missing(samples.take(rows)),
        n_samples=len(samples),
        n_counted=len(rows),
        weight=float(weights[weights > 0].sum()),  # rounded as without those of weight 0
        counted_weight=float(weights[rows].sum()),
        least_weight=float(weights.min(where=is_counted, initial=np.inf)),
    )


def _reduced(
    pieces: Pieces,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    combine: Combine,
    rows: _Rows | None,
    sizes: dict[str, Any],
) -> Any:
    own = None if rows is None else rows.of(pieces)
    return pieces.reduce(function, *arguments, combine=combine, rows=own, **sizes)


def _reduced_with_rows(
    pieces: Pieces,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    sizes: dict[str, Any],
) -> Any:
    return pieces.reduce_with_rows(function, *arguments, **sizes)[0]


def _selected(
    pieces: Pieces, function: Callable[..., Any], arguments: tuple[Any, ...], rows: _Rows
) -> _Selected:
    chosen, keys = pieces.select(function, *arguments, rows=rows.of(pieces))
    return chosen.samples.values, chosen.sample_weight, keys


def _join_selected(reader: Reader, one: _Selected, other: _Selected) -> _Selected:
    """Join the samples chosen in two partitions; those of equal keys become one."""
    values, weights, keys = map(list, zip(one, other, strict=True))
    pieces, joined_keys = reader.joined(values, weights).merged(np.concatenate(keys))
    return pieces.samples.values, pieces.sample_weight, joined_keys


def _contents(pieces: Pieces) -> tuple[Any, NDArray[np.float64]]:
    return pieces.samples.values, pieces.sample_weight


def _having(
    piece: Piece, numbers: NDArray[np.float64], wanted: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Choose the samples whose first number is one of some."""
    (rows,) = np.nonzero(np.isin(numbers[:, 0], wanted))
    return rows, numbers[rows]

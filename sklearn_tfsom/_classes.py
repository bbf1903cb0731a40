"""Classes of samples: any mix of labels as codes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import column_or_1d

from sklearn_tfsom._data.foreign import column_of, decoded
from sklearn_tfsom._validation import shown

# Name of the class of samples without a label.
MISSING = "missing"

# Numbers are values rather than classes if more than 100 differ and more than a tenth; or, if some
# have fractions, if more than 20 differ or more than half of them.
_MANY_CLASSES, _MANY_SHARE, _MANY_FRACTIONS = 100, 0.1, 20

# Up to this value every integer is exact in float64. (A Python int would overflow beside float16.)
_LARGEST_EXACT = np.float64(2**53)


class Classes(NamedTuple):
    """Classes in order, and the class of each sample."""

    labels: NDArray  # (n_classes,), "missing" for None, NaN and NA
    codes: NDArray[np.int64]  # (n_samples,) as an index of labels

    @property
    def names(self) -> list[str]:
        """Return the labels as texts; a text beside a number of the same name is in quotes."""
        names = [str(label) for label in self.labels]
        count = Counter(names)
        return [
            repr(name) if count[name] > 1 and isinstance(label, str) else name
            for name, label in zip(names, self.labels, strict=True)
        ]

    def counts(
        self, bmus: NDArray, n_units: int, weights: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return the number, or total weight, of samples by unit and class.

        Parameters
        ----------
        bmus : ndarray of int, shape (n_samples,)
            Unit of each sample.
        n_units : int
        weights : ndarray of shape (n_samples,), default=None
        """
        n_classes = len(self.labels)
        cells = bmus.astype(np.int64) * n_classes + self.codes
        counts = np.bincount(cells, weights, minlength=n_units * n_classes)
        return counts.reshape(n_units, n_classes).astype(np.float64)


def classes_of(
    y: Any,
    n_samples: int,
    owner: str,
    *,
    name: str = "y",
    rows: NDArray[np.int64] | None = None,
    allows_many: bool = False,
    are_identifiers: bool = False,
    allows_missing: bool = True,
) -> Classes:
    """Return the classes of samples.

    Numbers come first, then texts, each sorted; categories of pandas in their order; None, NaN,
    NA and masked ones last, as one class.

    Parameters
    ----------
    y : array-like of shape (n_samples,), or table of one column
    n_samples : int
    owner, name : str
        Whose parameter `y` is, and its name, for errors.
    rows : ndarray of int64, default=None
        The samples that count; all by default.
    allows_many : bool, default=False
        Whether whole numbers are classes, however many there are, and fractions never.
    are_identifiers : bool, default=False
        Whether any numbers are classes, however many there are.
    allows_missing : bool, default=True
        Whether samples may be without a class.

    Raises
    ------
    ValueError
        If `y` has another length or is continuous, or classes are missing or infinite.
    """
    y = column_of(y)  # tables have no dtype
    order = _order_of_categories(getattr(y, "dtype", None))
    labels = _labels(y, n_samples, rows, owner, name)
    is_missing = _are_missing(labels)
    if is_missing.any():
        if not allows_missing:
            n_missing = np.count_nonzero(is_missing)
            raise ValueError(
                f"{owner} needs a class for each sample in {name}. Got {n_missing} missing ones "
                "(None, NaN or NA): leave these samples out."
            )
        # The text is the same class.
        is_missing |= np.array([isinstance(each, str) and each == MISSING for each in labels])
    known = labels[~is_missing]
    if order is None and len(known):
        known = _without_loss(known)
    if not allows_missing and known.dtype.kind == "f" and np.isinf(known).any():
        raise ValueError(f"{owner} needs classes in {name}. Got infinity.")
    if not are_identifiers and order is None:
        _refuse_values(known, owner, name, allows_many)
    present, codes_of_known = _in_order(known, order)
    codes = np.full(len(labels), len(present), dtype=np.int64)
    codes[~is_missing] = codes_of_known
    if is_missing.any():
        present = [*present, MISSING]
    return Classes(_as_labels(present, known.dtype), codes)


def _labels(
    y: Any, n_samples: int, rows: NDArray[np.int64] | None, owner: str, name: str
) -> NDArray:
    """Return the labels of the samples that count, NaN where they are masked."""
    given = array_of_labels(y)
    if given.shape not in ((n_samples,), (n_samples, 1)):
        came = f"shape {given.shape}" if given.ndim else shown(y)
        raise ValueError(
            f"{owner} needs one class for each of the {n_samples} samples in {name}. Got {came} "
            "instead."
        )
    if given.dtype.kind == "c":
        raise ValueError(f"{owner} needs classes in {name}. Got values of dtype {given.dtype}.")
    labels = column_or_1d(given)
    labels = labels if rows is None else labels[rows]
    if labels.dtype.kind == "O" and not all(isinstance(label, Hashable) for label in labels):
        raise ValueError(f"{owner} needs one class for each sample in {name}. Got lists.")
    return labels


def _in_order(known: NDArray, order: list[Any] | None) -> tuple[list[Any], list[int]]:
    """Return the different labels in the order of classes, and the index of each label."""
    if order is not None:
        rank = {category: k for k, category in enumerate(order)}
        present = sorted({*known.tolist()}, key=rank.__getitem__)
    elif known.dtype.kind == "O":
        is_bool = np.array([isinstance(label, bool | np.bool_) for label in known])
        if is_bool.any() and not is_bool.all():  # True equals 1
            known = np.where(is_bool, known.astype(str), known)
        present = sorted({*known.tolist()}, key=_rank)
    else:
        different = np.unique(known)
        present = list(different) if _is_short_float(known.dtype) else different.tolist()
    code = {label: k for k, label in enumerate(present)}
    return present, [code[label] for label in known.tolist()]


def _as_labels(present: list[Any], dtype: np.dtype) -> NDArray:
    """Return labels as an array, of objects where NumPy would convert one into another type."""
    kinds = {type(label) for label in present}
    if len(kinds) > 1 or tuple in kinds:
        names = np.empty(len(present), dtype=object)
        names[:] = present
        return names
    # Without the dtype NumPy converts large integers to floats.
    return np.array(present, dtype=dtype if int in kinds else None)


def array_of_labels(y: Any) -> NDArray:
    """Return labels as an array: one of NumPy as it is, NaN where masked, others as objects.

    NumPy would turn mixed lists into texts, and large integers beside missing ones into floats.
    """
    if isinstance(y, np.ma.MaskedArray) and np.ma.is_masked(y):
        return np.where(y.mask, np.nan, y.data.astype(object))
    y = decoded(y)
    dtype = getattr(y, "dtype", None)
    if isinstance(dtype, np.dtype):
        return np.asarray(y)
    if hasattr(dtype, "categories") and hasattr(y, "astype"):  # of pandas
        return np.asarray(y.astype(object))
    to_list = getattr(y, "to_pylist", None) or getattr(y, "to_list", None)
    if to_list is None or hasattr(y, "columns"):
        return np.asarray(y, dtype=object)
    array = np.asarray(y)  # for times, which `datetime` would cut, and floats of few digits
    is_exact = array.dtype.kind in "mM" or _is_short_float(array.dtype)
    return array if is_exact else np.fromiter(to_list(), dtype=object)


def _is_short_float(dtype: np.dtype) -> bool:
    """Return True for float32 and float16, of which float64 has more digits."""
    return dtype.kind == "f" and dtype.itemsize < 8


def _order_of_categories(dtype: Any) -> list[Any] | None:
    """Return the categories of a dtype; None if it has none, or no order of its own."""
    # Those of Categorical in polars are in the order in which the process has seen them.
    is_of_polars = type(dtype).__name__ == "Categorical"
    categories = None if is_of_polars else getattr(dtype, "categories", None)
    return None if categories is None else list(categories)


def _are_missing(labels: NDArray) -> NDArray[np.bool_]:
    if labels.dtype.kind not in "OV":
        return np.not_equal(labels, labels)  # NaN and NaT
    return np.array([is_missing(label) for label in labels], dtype=bool)


def is_missing(label: Any) -> bool:
    """Return True for None, NaN, NaT and NA: they are not equal to themselves, or don't know."""
    if label is None or hasattr(label, "__len__"):  # arrays are equal in each value separately
        return label is None
    try:
        return not bool(label == label)
    except TypeError:  # pandas.NA
        return True


def _without_loss(labels: NDArray) -> NDArray:
    """Convert whole numbers to integers and fine times to microseconds.

    Numbers stay as they are if one of them would lose digits; times then become texts.
    """
    kind = labels.dtype.kind
    if kind in "mM":  # of a finer unit than microseconds, `tolist` would give integers
        is_fine = np.datetime_data(labels.dtype)[0] in ("ns", "ps", "fs", "as")
        coarse = labels.astype(f"{kind}8[us]") if is_fine else labels
        is_exact = (coarse == labels).all()
        # NumPy would cut the texts of durations.
        return coarse if is_exact else np.array([str(label) for label in labels])
    if kind == "f":
        is_whole = (np.abs(labels) <= _LARGEST_EXACT) & (labels == np.round(labels))
        return labels.astype(np.int64) if is_whole.all() else labels
    if kind != "O" or not all(_is_number(label) for label in labels):
        return labels
    if all(isinstance(label, Integral) for label in labels):
        whole = np.array([int(label) for label in labels], dtype=object)
        is_int64 = all(-(2**63) <= label < 2**63 for label in whole)
        return whole.astype(np.int64) if is_int64 else whole
    try:
        numbers = labels.astype(np.float64)
    except OverflowError:
        return labels
    is_exact = all(a == b for a, b in zip(numbers.tolist(), labels.tolist(), strict=True))
    return _without_loss(numbers) if is_exact else labels


def _is_number(label: Any) -> bool:
    return isinstance(label, int | float | np.number) and not isinstance(label, bool)


def _refuse_values(known: NDArray, owner: str, name: str, allows_many: bool) -> None:
    """Raise an error for values of a regression."""
    if known.dtype.kind in "iuf":
        n_different = len(np.unique(known))
        has_fractions = bool((known != np.round(known)).any())
    elif known.dtype.kind == "O" and not any(_rank(label)[0] for label in known):
        n_different = len({*known.tolist()})
        has_fractions = any(map(_has_fraction, known))
    else:
        return
    if allows_many:
        is_continuous = has_fractions
    elif has_fractions:
        is_continuous = n_different > min(_MANY_FRACTIONS, len(known) // 2)
    else:
        is_continuous = n_different > max(_MANY_CLASSES, _MANY_SHARE * len(known))
    if is_continuous:
        raise ValueError(
            f"{owner} needs classes in {name}. Got {n_different} different numbers"
            f"{' with fractions' * has_fractions}: UnitValuesDisplay shows numbers. Pass classes "
            "as texts."
        )


def _has_fraction(number: Any) -> bool:
    is_whole = isinstance(number, Integral) or not math.isfinite(number)
    return not is_whole and number != int(number)


def _rank(label: Any) -> tuple[bool, Any]:
    is_number = isinstance(label, Real | Decimal)  # bool is a subclass of int
    if isinstance(label, Decimal) and label.is_finite():  # not comparable with NumPy's integers
        label = Fraction(label)
    return (not is_number, label if is_number else str(label))

"""Classes of samples: any mix of labels as codes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_consistent_length, column_or_1d

# What the class of samples without a label is called.
MISSING = "missing"

# Numbers are values rather than classes if more than 100 differ and more than a tenth; or if more
# than 20 do and some have fractions.
_MANY_CLASSES, _MANY_SHARE, _MANY_FRACTIONS = 100, 0.1, 20


class Classes(NamedTuple):
    """Classes in order, and the class of each sample."""

    labels: NDArray  # (n_classes,), "missing" for None, NaN and NA
    codes: NDArray[np.int64]  # (n_samples,) as an index of labels

    @property
    def names(self) -> list[str]:
        """Return the labels as texts."""
        return [str(label) for label in self.labels]

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


def classes_of(y: Any, n_samples: int, owner: str) -> Classes:
    """Return the classes of samples.

    Numbers come first, then texts, each sorted; categories of pandas in their order; None, NaN,
    NA and masked ones last, as one class.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
    n_samples : int
    owner : str
        Whose parameter `y` is, for errors.

    Raises
    ------
    ValueError
        If `y` has another length or is continuous.
    """
    if isinstance(y, np.ma.MaskedArray) and np.ma.is_masked(y):
        y = np.where(y.mask, np.nan, y.data.astype(object))
    categories = getattr(getattr(y, "dtype", None), "categories", None)
    order = None if categories is None else list(categories)
    given = np.asarray(y, dtype=object) if order is not None or _is_mixed(y) else np.asarray(y)
    labels = column_or_1d(given)
    check_consistent_length(np.empty(n_samples), labels)
    is_missing = _are_missing(labels)
    known = labels[~is_missing]
    if order is None and known.dtype.kind == "O" and len(known) and _are_numbers(known):
        known = known.astype(np.float64)
    _refuse_values(known, owner)
    if known.dtype.kind == "f" and not (known != np.round(known)).any():  # 1.0 is shown as 1
        known = known.astype(np.int64)
    if order is not None:
        rank = {category: k for k, category in enumerate(order)}
        present = sorted({*known.tolist()}, key=rank.__getitem__)
    elif known.dtype.kind == "O":
        present = sorted({*known.tolist()}, key=_rank)
    else:
        present = np.unique(known).tolist()
    code = {label: k for k, label in enumerate(present)}
    codes = np.full(len(labels), len(present), dtype=np.int64)
    codes[~is_missing] = [code[label] for label in known.tolist()]
    if is_missing.any():
        present = [*present, MISSING]
    kinds = {type(label) for label in present}
    return Classes(np.array(present, dtype=None if len(kinds) <= 1 else object), codes)


def _is_mixed(y: Any) -> bool:
    """Return True for lists that NumPy would turn into texts: 1 and "1" are different labels."""
    return isinstance(y, list | tuple) and len({type(label) for label in y}) > 1


def _are_missing(labels: NDArray) -> NDArray[np.bool_]:
    if labels.dtype.kind == "f":
        return np.isnan(labels)
    if labels.dtype.kind in "mM":
        return np.isnat(labels)
    if labels.dtype.kind != "O":
        return np.zeros(len(labels), dtype=bool)
    return np.array([_is_missing(label) for label in labels], dtype=bool)


def _is_missing(label: Any) -> bool:
    """Return True for None, NaN, NaT and NA: they are not equal to themselves, or don't know."""
    if label is None:
        return True
    try:
        return not bool(label == label)
    except TypeError:  # pandas.NA
        return True


def _are_numbers(labels: NDArray) -> bool:
    return all(
        isinstance(label, int | float | np.number) and not isinstance(label, bool)
        for label in labels
    )


def _refuse_values(known: NDArray, owner: str) -> None:
    """Raise an error for values of a regression."""
    if known.dtype.kind not in "iuf" or not len(known):
        return
    n_different = len(np.unique(known))
    has_fractions = bool((known != np.round(known)).any())
    most = _MANY_FRACTIONS if has_fractions else max(_MANY_CLASSES, _MANY_SHARE * len(known))
    if n_different > most:
        raise ValueError(
            f"{owner} needs classes in y. Got {n_different} different numbers"
            f"{' with fractions' * has_fractions}: UnitValuesDisplay shows numbers."
        )


def _rank(label: Any) -> tuple[bool, Any]:
    is_number = isinstance(label, int | float | np.number)
    return (not is_number, label if is_number else str(label))

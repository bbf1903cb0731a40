"""Differences between the supported versions of Python, NumPy and scikit-learn."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

_F = TypeVar("_F", bound=Callable[..., Any])

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property
else:

    class cached_property:  # noqa: N801
        """That of Python 3.12, without the lock of 3.11.

        All instances share the lock, and a child that is forked while another thread holds it
        would wait for it forever.
        """

        def __init__(self, function: Any) -> None:
            self._function, self.__doc__ = function, function.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self._name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            return vars(instance).setdefault(self._name, self._function(instance))


try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9 has no callbacks

    class _NoCallbacks:
        """The callback context of a version without callbacks: it calls none."""

        def subcontext(self, **_: Any) -> _NoCallbacks:
            return self

        def call_on_fit_task_begin(self, **_: Any) -> None:
            pass

        def call_on_fit_task_end(self, **_: Any) -> bool:
            return False

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in for scikit-learn 1.9's mixin."""

        def _init_callback_context(self, **_: Any) -> _NoCallbacks:
            return _NoCallbacks()

    def with_callbacks(method: Any) -> Any:  # type: ignore[misc]
        """Stand-in for scikit-learn 1.9's decorator: a frame of the stack, as there."""

        @functools.wraps(method)
        def unmanaged(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return unmanaged


def with_errstate(**kinds: Any) -> Callable[[_F], _F]:
    """Decorate a function that runs in several threads; `numpy.errstate` itself shares its state.

    Up to NumPy 1.26 a decorator has one state for all threads, and one of them would keep that of
    another.
    """

    def decorate(function: _F) -> _F:
        @functools.wraps(function)
        def quiet(*args: Any, **kwargs: Any) -> Any:
            with np.errstate(**kinds):
                return function(*args, **kwargs)

        return cast(_F, quiet)

    return decorate


__all__ = ["CallbackSupportMixin", "cached_property", "with_callbacks", "with_errstate"]

"""Differences between the supported versions of Python, NumPy and scikit-learn."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

_F = TypeVar("_F", bound=Callable[..., Any])

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


__all__ = ["CallbackSupportMixin", "with_callbacks", "with_errstate"]

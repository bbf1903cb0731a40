"""What differs between the supported versions of scikit-learn."""

from __future__ import annotations

import functools
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9 has no callbacks

    class _NoCallbacks:
        """A context that nobody listens to."""

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


__all__ = ["CallbackSupportMixin", "with_callbacks"]

"""Threads that start at the same moment."""

import threading
from concurrent.futures import ThreadPoolExecutor


def run_simultaneously(functions):
    """Call each function in its own thread, all at the same moment; return their results."""
    barrier = threading.Barrier(len(functions))

    def wait_and_call(function):
        barrier.wait()
        return function()

    with ThreadPoolExecutor(len(functions)) as threads:
        return list(threads.map(wait_and_call, functions))

"""Threads that start their work at the same moment."""

import threading
from concurrent.futures import ThreadPoolExecutor


def at_once(works):
    """Call all of them, each in a thread of its own, from one moment on."""
    barrier = threading.Barrier(len(works))

    def together(work):
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(together, works))

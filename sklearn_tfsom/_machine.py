"""The memory of this machine, and the address space and cores of this process."""

from __future__ import annotations

import functools
import math
import multiprocessing
import os

import joblib

try:
    import resource
except ImportError:  # Windows, where no limit is set in this way
    resource = None  # type: ignore[assignment]

_PAGES_IN_USE = "/proc/self/statm"


def machine_memory() -> float:
    """Return the memory of this machine in bytes, inf where it is not known."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):  # Windows
        return math.inf


def check_memory(n_values: int, owner: str) -> None:
    """Check that values of float64 fit into this machine's memory.

    Parameters
    ----------
    n_values : int
    owner : str
        Subject and verb of the error message.

    Raises
    ------
    ValueError
    """
    needed, memory = 8 * n_values, machine_memory()
    if needed > memory:
        raise ValueError(
            f"{owner} {(needed + 2**29) // 2**30:,} GiB. This machine has "
            f"{memory / 2**30:,.0f} GiB."
        )


def n_cores() -> int:
    """Return the number of cores that this process may use, also by the quota of its container."""
    affinity = _affinity()
    return min(affinity, _n_cores_of_joblib(affinity))


def thread_limit() -> int | None:
    """Return the number of threads of joblib's worker, or of a quota; None without these."""
    n_available = n_cores()
    of_quota = n_available if n_available < _affinity() else None
    return n_threads_of_joblib() or of_quota


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def _n_cores_of_joblib(affinity: int) -> int:
    """Return joblib's number of cores, which reads files of the system, once for each affinity."""
    return int(joblib.cpu_count())


def n_threads_of_joblib() -> int | None:
    """Return the number of threads that joblib gave this worker; None in other processes.

    joblib tells its workers through OMP_NUM_THREADS, which neither TensorFlow nor threads of
    Python follow: n workers would start n threads for each core.
    """
    n_threads = os.environ.get("OMP_NUM_THREADS", "")
    is_worker = "Loky" in type(multiprocessing.current_process()).__name__
    return int(n_threads) if is_worker and n_threads.isdigit() else None


def check_address_space(needed: int) -> None:
    """Check that a limit of the address space (``ulimit -v``) leaves enough.

    Libraries in C end the process where they get no memory, or wait for it without end.

    Parameters
    ----------
    needed : int
        Bytes.

    Raises
    ------
    MemoryError
        If less is left. Nothing is checked where there is no limit, or where its use is unknown.
    """
    left = _address_space_left()
    if left < needed:
        raise MemoryError(
            f"{needed / 2**20:,.0f} MiB of address space are needed, and {left / 2**20:,.0f} MiB "
            "are left of the limit of this process (RLIMIT_AS, 'ulimit -v'). Raise the limit."
        )


def _address_space_left() -> float:
    if resource is None:
        return math.inf
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return math.inf
    try:
        with open(_PAGES_IN_USE, "rb") as file:
            n_pages = int(file.read().split()[0])
    except OSError:  # no Linux
        return math.inf
    return limit - n_pages * resource.getpagesize()

"""Freed memory stays with the process, for the next array to use.

A fit of a selection model fills arrays of tens of megabytes many times over. The C library gives
each back to the system when it is freed, and the system hands out its pages one by one again: a
fifth of the time of a whole run went into that.
"""

import ctypes
import sys

__all__ = ["WORKER_ENVIRONMENT", "keep_freed_memory"]

KEEP = 2**30  # bytes; larger arrays still go back at once
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h

# The same for processes that are started later, such as Dask's workers.
WORKER_ENVIRONMENT = {"MALLOC_TRIM_THRESHOLD_": KEEP, "MALLOC_MMAP_THRESHOLD_": KEEP}


def keep_freed_memory() -> bool:
    """Have this process keep what it frees, up to a gigabyte.

    Returns
    -------
    bool
        Whether the C library took the setting; others than glibc have none like it.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, KEEP) and mallopt(M_MMAP_THRESHOLD, KEEP))

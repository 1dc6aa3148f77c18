"""One BLAS thread for many small matrices.

A matrix of a meta-analysis is so small that a second BLAS thread only spins: on two cores it made
an exact fit six times as expensive. One thread also makes sums independent of the number of cores.
"""

from contextlib import AbstractContextManager
from functools import lru_cache

from threadpoolctl import ThreadpoolController

__all__ = ["one_blas_thread"]


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[object]:
    """Return a context in which BLAS uses one thread.

    Returns
    -------
    context manager
        Restores the former number of threads on leaving.
    """
    return _controller().limit(limits=1, user_api="blas")

"""Caches of other libraries, where the home folder cannot hold them.

PyTensor and Matplotlib want to write into the home folder; on clusters and in containers there may
be none. Then a temporary folder serves for the length of the run.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["writable_caches"]


@contextmanager
def writable_caches() -> Iterator[str]:
    """Give PyTensor and Matplotlib a folder to write in, before they are imported.

    Yields
    ------
    str
        What was done, in words; empty where the home folder serves.
    """
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home fails where there is none
    if os.access(home, os.W_OK):
        yield ""
        return
    with TemporaryDirectory(prefix="reanalysis-") as folder:
        flags = os.environ.get("PYTENSOR_FLAGS", "")
        if "base_compiledir" not in flags:
            own = f"base_compiledir={folder}/pytensor"
            os.environ["PYTENSOR_FLAGS"] = f"{flags},{own}" if flags else own
        os.environ.setdefault("MPLCONFIGDIR", f"{folder}/matplotlib")
        yield f"{home} cannot be written; caches are kept in {folder} until the end of this run."

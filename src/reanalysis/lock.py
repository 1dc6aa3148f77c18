"""One run at a time in an output folder.

The lock is the kernel's, so it goes with its process, however that ends. The file names the
owner for messages, and for a run on another machine that shares the folder.
"""

import fcntl
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["FolderLock"]

NAME = ".lock"


class FolderLock:
    """The lock of a folder.

    Parameters
    ----------
    folder : pathlib.Path
        An existing folder.

    Raises
    ------
    OSError
        If another run holds the lock (the message names it), or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._handle = self._open()
        owner = self._owner()
        if owner is not None and owner["host"] != platform.node():
            # A kernel lock need not reach across machines; only the file tells.
            os.close(self._handle)
            raise self._refusal(owner)
        try:
            self._sign()
        except OSError:  # the disk is full
            self.release()
            raise

    def release(self) -> None:
        """Give the folder free."""
        if self._is_ours(self._handle):
            self._path.unlink()
        os.close(self._handle)

    def _open(self) -> int:
        while True:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                raise self._refusal(self._owner()) from None
            if self._is_ours(handle):
                return handle
            os.close(handle)  # the former owner removed the file between the two calls

    def _is_ours(self, handle: int) -> bool:
        """Whether the file is still there and the same; a folder can be removed under a run."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(handle))
        except FileNotFoundError:
            return False

    def _owner(self) -> dict[str, str] | None:
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
        except (ValueError, FileNotFoundError):
            return None
        if isinstance(entries, dict) and entries.keys() >= {"pid", "host", "started"}:
            return entries
        return None

    def _sign(self) -> None:
        entries = {
            "pid": str(os.getpid()),
            "host": platform.node(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        os.truncate(self._handle, 0)
        os.pwrite(self._handle, json.dumps(entries).encode(), 0)

    def _refusal(self, owner: dict[str, str] | None) -> OSError:
        who = (
            "process {pid} on {host} since {started}".format_map(owner)
            if owner is not None
            else "another run"
        )
        return OSError(
            f"{self._path.parent}: in use by {who}; wait for it, or choose another --out. "
            f"If it is gone for certain, delete {self._path}."
        )

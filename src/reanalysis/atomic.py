"""Writing files so that a reader sees the old or the new ones, never a part."""

import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

__all__ = ["PART", "write_atomically", "write_together"]

PART = ".part"  # ending of a file that is being written; its name starts with a dot


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file in one step.

    Parameters
    ----------
    path : pathlib.Path
        The file; its folder exists.
    content : str or bytes
        What it is to hold; text is written as UTF-8.

    Raises
    ------
    OSError
        If it cannot be written; an old file stays as it was, and no part is left behind.
    """
    write_together({path: content})


def write_together(files: Mapping[Path, str | bytes]) -> None:
    """Write several files; none is replaced before all of them are safe on the disk.

    Parameters
    ----------
    files : mapping of pathlib.Path to str or bytes
        Content by path; missing folders are made.

    Raises
    ------
    OSError
        If one of them cannot be written; the old files stay as they were.
    """
    with ExitStack() as stack:
        parts = []
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
            part = Path(name)
            stack.callback(part.unlink, missing_ok=True)
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            part.chmod(0o644)  # mkstemp makes files that only their owner reads
            parts.append((part, path))
        for part, path in parts:
            part.replace(path)

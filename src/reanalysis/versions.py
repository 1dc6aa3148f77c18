"""Versions of what computes the numbers; they travel with every result."""

import platform
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from types import MappingProxyType

__all__ = ["release_key", "versions"]

PACKAGES = (
    "reanalysis",
    "pymc",
    "nutpie",
    "arviz",
    "numpy",
    "scipy",
    "pandas",
    "xarray",
    "matplotlib",
)


@cache
def versions() -> Mapping[str, str]:
    """Return the versions of Python and of the packages that compute or draw.

    Returns
    -------
    mapping of str to str
        Version by name; read-only.
    """
    found = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    return MappingProxyType(found)


def release_key() -> str:
    """Return a short key that stands for all versions, for the names of kept files.

    Returns
    -------
    str
        Eight hexadecimal digits.
    """
    return sha256(repr(dict(versions())).encode()).hexdigest()[:8]

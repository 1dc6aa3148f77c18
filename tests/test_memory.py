"""Freed arrays are used again instead of being fetched from the system page by page."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from reanalysis.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(8_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is glibc's")
def test_an_array_as_large_as_the_last_takes_its_memory() -> None:
    """64 MB are 15,625 pages of 4 kB, or 31 of 2 MB; ten arrays fetch all of them ten times."""
    assert faults("keep") < faults("give back") / 4

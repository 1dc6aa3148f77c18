"""Faults and signals as exit statuses: one line for each fault, and no traceback.

Exit status: 0 done; 1 engines that disagree, or a bug; 2 bad input; 3 a fit failed its gate;
4 a file cannot be read or written; 130 interrupted; 143 terminated.
"""

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

__all__ = ["DIFFERS", "GATE", "Commands", "problems_of", "words_of"]

DIFFERS, BAD_INPUT, GATE, FILES, INTERRUPTED, TERMINATED = 1, 2, 3, 4, 130, 143
KEPT = "finished fits are kept, and the same command goes on."


class Commands(click.Group):
    """The commands; turns faults of the input into one line each and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command and translate what can go wrong."""
        try:
            with _signals():
                return super().invoke(ctx)
        except ValueError as error:
            problems = problems_of(error)
            if problems is None:
                raise
            _complain(problems)
            ctx.exit(BAD_INPUT)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of our output has gone; click ends quietly
                raise
            _complain([words_of(error)])
            ctx.exit(FILES)
        except KeyboardInterrupt:
            _complain([f"interrupted; {KEPT}"])
            ctx.exit(INTERRUPTED)
        except SystemExit as stop:
            if stop.code == TERMINATED:
                _complain([f"terminated; {KEPT}"])
            raise


def problems_of(error: ValueError) -> tuple[str, ...] | None:
    """Return the faults of a spec or a table; None for any other error, which is a bug."""
    from reanalysis.spec import SpecError
    from reanalysis.tables import DataError

    return error.problems if isinstance(error, SpecError | DataError) else None


def words_of(error: OSError) -> str:
    """Return the file and what is wrong with it."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}."


def _complain(lines: tuple[str, ...] | list[str]) -> None:
    from reanalysis.terminal import say

    for line in lines:
        say(f"error: {' '.join(line.splitlines())}", err=True)


@contextmanager
def _signals() -> Iterator[None]:
    """Leave by an exception on Ctrl-C and SIGTERM, so that locks are released and parts removed.

    A second one ends the process at once, whatever it is doing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heard = False

    def leave(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        if heard:
            os.kill(os.getpid(), number)
        heard = True
        if number == signal.SIGTERM:
            sys.exit(TERMINATED)
        raise KeyboardInterrupt

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as under nohup, or in the background of a script
            signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""What a run is doing: numbered steps, told to whoever watches."""

from collections.abc import Callable
from dataclasses import dataclass, replace

__all__ = ["Progress", "Stage", "Steps"]


@dataclass(frozen=True)
class Stage:
    """One moment of a run.

    Attributes
    ----------
    number, total : int
        This is step `number` of `total`; both 0 while the spec is still being read.
    step : str
        ``check``, ``reml``, ``exact``, ``nuts`` or ``report``.
    detail : str
        The model, or the folder.
    done, of : int
        Draws done and asked for, while NUTS compiles (none done yet) and samples; or fits, while
        there are many; else both 0.
    what : str
        What is counted, if not draws: the part of the run that the fits belong to.
    note : str
        Something to tell about this step, such as a saved fit that is used again.
    """

    number: int
    total: int
    step: str
    detail: str
    done: int = 0
    of: int = 0
    what: str = ""
    note: str = ""


Progress = Callable[[Stage], None]


class Steps:
    """Counts the steps of a run for a watcher.

    Parameters
    ----------
    watcher : callable or None
        Called with a `Stage` when a step starts, as draws come in, and with notes.
    """

    def __init__(self, watcher: Progress | None) -> None:
        self._watcher = watcher
        self._stage = Stage(0, 0, "check", "reading the spec and the data")
        self._tell(self._stage)

    def expect(self, total: int) -> None:
        """Set the number of steps to come."""
        self._stage = replace(self._stage, total=total)

    def start(self, step: str, detail: str) -> None:
        """Start the next step."""
        self._stage = Stage(self._stage.number + 1, self._stage.total, step, detail)
        self._tell(self._stage)

    def draws(self, done: int, of: int) -> None:
        """Tell how many draws there are."""
        self._tell(replace(self._stage, done=done, of=of))

    def fits(self, what: str, done: int, of: int) -> None:
        """Tell how many fits of a part such as the multiverse there are."""
        self._tell(replace(self._stage, what=what, done=done, of=of))

    def note(self, text: str) -> None:
        """Tell something about the step that is running."""
        self._tell(replace(self._stage, note=text))

    def _tell(self, stage: Stage) -> None:
        if self._watcher is not None:
            self._watcher(stage)

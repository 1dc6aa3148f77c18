"""Many fits, spread over cores or a cluster, kept on disk as they come.

Small work runs in this process; long work on a local Dask cluster, or on any cluster by address.
Each result is one line of a file, under a key that stands for everything it depends on: a run that
was killed goes on where it stopped, and results of another spec are simply not its own.
"""

import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing import resource_tracker
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from reanalysis import memory

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["WORKER_ENVIRONMENT", "Tally", "Watcher", "read_lines", "spread"]

Record = Mapping[str, Any]

TASK_SECONDS = 0.5  # of one Dask task: its overhead is milliseconds, and nobody waits long for news
IN_PROCESS_SECONDS = 15.0  # what is done here sooner than by a cluster that has yet to start
ERROR = "error"
# Dask has workers give every freed array back to the system, and fetching the pages anew doubles
# the time of a fit; so its own setting is replaced.
WORKER_ENVIRONMENT = {
    **{f"{library}_NUM_THREADS": 1 for library in ("OMP", "MKL", "OPENBLAS")},
    **memory.WORKER_ENVIRONMENT,
}


@dataclass(frozen=True)
class Tally:
    """How far a run is.

    Attributes
    ----------
    done, total, failed : int
        Jobs; `done` includes the failed ones and those kept from a former run.
    seconds, seconds_left : float
        Time taken, and the time left at the rate so far (0 before the first result).
    """

    done: int
    total: int
    failed: int
    seconds: float
    seconds_left: float


Watcher = Callable[[Tally], None]


def spread[Job](
    task: Callable[[Job], Record],
    jobs: Mapping[str, Job],
    *,
    store: Path | None = None,
    scheduler: str = "here",
    seconds: float = 0.01,
    watcher: Watcher | None = None,
) -> dict[str, Record]:
    """Do every job once and return all results.

    Parameters
    ----------
    task : callable
        A function of a module that takes a job and returns a record for JSON. It reports a fit
        that cannot be done as ``{"error": reason}``.
    jobs : mapping of str to object
        Jobs by key; the key must stand for everything that the result depends on.
    store : pathlib.Path, optional
        File of results, one JSON object a line; what it holds already is not done again, unless
        it failed. Its folder exists.
    scheduler : str
        ``here`` stays in this process; ``local`` starts a Dask cluster on this machine (a script
        that asks for it needs its ``if __name__ == "__main__"``, since the workers import it);
        ``auto`` chooses between the two; anything else is the address of a Dask scheduler.
    seconds : float
        About how long one job takes, to size the tasks and to choose between ``here`` and
        ``local``.
    watcher : callable, optional
        Called with a `Tally` at the start and after each batch of results.

    Returns
    -------
    dict of str to mapping
        Results by key, in the order of `jobs`. A job whose worker died repeatedly has
        ``{"error": reason}``.

    Raises
    ------
    OSError
        If `store` cannot be written, or the scheduler cannot be reached or goes away; what was
        done by then is in `store`.
    """
    started = time.monotonic()
    kept = read_lines(store) if store else {}
    results: dict[str, Record] = {k: kept[k] for k in jobs if k in kept and ERROR not in kept[k]}
    todo = [key for key in jobs if key not in results]
    before = len(results)

    def tell() -> None:
        if watcher is None:
            return
        seconds = time.monotonic() - started
        failed = sum(ERROR in record for record in results.values())
        fresh = len(results) - before
        left = seconds / fresh * (len(jobs) - len(results)) if fresh else 0.0
        watcher(Tally(len(results), len(jobs), failed, seconds, left))

    tell()
    size = max(1, int(TASK_SECONDS / seconds))
    batches = [todo[i : i + size] for i in range(0, len(todo), size)]
    with ExitStack() as stack:
        file = stack.enter_context(_appending(store)) if store and todo else None
        if todo and _remote(scheduler, len(todo) * seconds):
            client = stack.enter_context(_client(scheduler))
            arriving = _on_cluster(client, task, jobs, batches)
        else:
            arriving = ({key: task(jobs[key]) for key in batch} for batch in batches)
        for found in arriving:
            results |= found
            if file:
                file.writelines(_line(key, record) for key, record in found.items())
                file.flush()
            tell()
    return {key: results[key] for key in jobs}


def read_lines(path: Path) -> dict[str, Record]:
    """Return the results in a file; the last of each key.

    Parameters
    ----------
    path : pathlib.Path
        File written by `spread`; need not exist.

    Returns
    -------
    dict of str to mapping
        Results by key. A line that was cut off when its run was killed, or altered since, is
        left out.
    """
    found: dict[str, Record] = {}
    if not path.exists():
        return found
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
                key, check = record.pop("key"), record.pop("check")
            except (ValueError, KeyError, AttributeError):
                continue
            if check == _checksum(key, record):
                found[key] = record
    return found


def _line(key: str, record: Record) -> str:
    return json.dumps({"key": key, **record, "check": _checksum(key, record)}) + "\n"


def _checksum(key: str, record: Record) -> str:
    """Return what a flipped byte changes; not a guard against people."""
    return sha256(json.dumps([key, record]).encode()).hexdigest()[:16]


@contextmanager
def _appending(path: Path) -> Iterator[IO[str]]:
    """Open a file of lines for more of them; a line that was cut off stays alone."""
    with path.open("a+b") as raw:
        if raw.seek(0, os.SEEK_END):
            raw.seek(-1, os.SEEK_END)
            if raw.read(1) != b"\n":
                raw.write(b"\n")
    with path.open("a", encoding="utf-8") as file:
        yield file


def _remote(scheduler: str, seconds: float) -> bool:
    if scheduler == "auto":
        return seconds > IN_PROCESS_SECONDS and _cores() > 1
    return scheduler != "here"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _client(scheduler: str) -> Iterator["Client"]:
    """Connect to a scheduler, or start a cluster on this machine, one process per core."""
    # Imported here: half a second that small work does not need.
    import dask
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        address: str | LocalCluster = scheduler
        if scheduler in ("auto", "local"):
            settings = {"distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT}
            with dask.config.set(settings), _interrupts_to_us_alone():
                try:
                    cluster = LocalCluster(
                        n_workers=max(2, _cores()),
                        threads_per_worker=1,
                        dashboard_address=":0",
                        protocol="tcp://",
                        silence_logs=logging.CRITICAL + 1,  # faults are told in our own words
                    )
                except RuntimeError as error:
                    raise OSError(f"the local cluster did not start: {error}") from error
            address = stack.enter_context(cluster)
        yield stack.enter_context(Client(address))


@contextmanager
def _interrupts_to_us_alone() -> Iterator[None]:
    """Keep Ctrl-C from what starts here: a terminal sends it to the workers too.

    Threads and processes inherit the mask. This one hears afterwards what came meanwhile.
    """
    resource_tracker.ensure_running()  # its start would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _on_cluster[Job](
    client: "Client",
    task: Callable[[Job], Record],
    jobs: Mapping[str, Job],
    batches: Sequence[Sequence[str]],
) -> Iterator[dict[str, Record]]:
    from distributed import KilledWorker, as_completed

    waiting = {
        client.submit(_do, task, [jobs[key] for key in batch], pure=False): batch
        for batch in batches
    }
    again: list[str] = []
    try:
        for future in as_completed(list(waiting)):
            batch = waiting.pop(future)
            try:
                # Also a result that is there can be lost with its worker before it is fetched.
                yield dict(zip(batch, future.result(), strict=True))
            except KilledWorker:
                again += batch
            future.release()
        # A fit that kills its worker takes those along that wait behind it: now each is alone.
        for key in again:
            future = client.submit(_do, task, [jobs[key]], pure=False)
            try:
                yield {key: future.result()[0]}
            except KilledWorker as error:
                yield {key: {ERROR: f"the worker failed: {error}"}}
            future.release()
    except CancelledError as error:
        raise OSError("the Dask scheduler went away; the same command goes on from here") from error


def _do[Job](task: Callable[[Job], Record], jobs: Sequence[Job]) -> list[Record]:
    return [task(job) for job in jobs]

"""The command line: `reanalysis run`, `check`, `audit`, `multiverse`, `calibrate`, and others.

Only click is imported at the top: ``--help`` must answer at once, and ``check`` and ``audit``
never load a sampler. Exit status: 0 done; 1 engines that disagree, or a bug; 2 bad input; 3 a fit
failed its gate; 4 a file cannot be read or written; 130 interrupted; 143 terminated.
"""

import errno
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from reanalysis.analysis import Analysis
    from reanalysis.calibration import Engine
    from reanalysis.plan import Plan

__all__ = ["main"]

DIFFERS, BAD_INPUT, GATE, FILES, INTERRUPTED, TERMINATED = 1, 2, 3, 4, 130, 143
MISCALIBRATED = 0.001
MOST_AUDITED = 10_000  # rows; `check` answers in seconds
KEPT = "finished fits are kept, and the same command goes on."

EXAMPLES = """\b
Reanalyse a published meta-analysis: exact, NUTS and REML side by side, in one report.

\b
  reanalysis run kaiser2021        the bundled case; the report is in reports/kaiser2021/
  reanalysis run my.csv            your own table, columns guessed, default models
"""


class Commands(click.Group):
    """The commands; turns faults of the input into one line each and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command and translate what can go wrong."""
        try:
            with _signals():
                return super().invoke(ctx)
        except ValueError as error:
            problems = _problems(error)
            if problems is None:
                raise
            _complain(problems)
            ctx.exit(BAD_INPUT)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of our output has gone; click ends quietly
                raise
            _complain([_words(error)])
            ctx.exit(FILES)
        except KeyboardInterrupt:
            _complain([f"interrupted; {KEPT}"])
            ctx.exit(INTERRUPTED)
        except SystemExit as stop:
            if stop.code == TERMINATED:
                _complain([f"terminated; {KEPT}"])
            raise


def _problems(error: ValueError) -> tuple[str, ...] | None:
    """Return the faults of a spec or a table; None for any other error, which is a bug."""
    from reanalysis.spec import SpecError
    from reanalysis.tables import DataError

    return error.problems if isinstance(error, SpecError | DataError) else None


def _words(error: OSError) -> str:
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


JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
OUTSIDE = click.option(
    "--allow-outside", is_flag=True, help="Let a spec name data outside its own project."
)


@click.group(cls=Commands, help=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="reanalysis")
def main() -> None:
    """Reanalyse a published meta-analysis."""


@main.command()
@click.argument("spec")
@click.option("--out", metavar="DIR", help="Output folder [default: reports/NAME].")
@click.option(
    "--engine",
    "engines",
    multiple=True,
    type=click.Choice(["reml", "exact", "nuts"]),
    help="Engine to use; may be repeated [default: all three].",
)
@click.option("--model", "models", multiple=True, metavar="NAME", help="Model to fit; repeatable.")
@click.option("--quick", is_flag=True, help="Fewer draws of NUTS.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Replace the spec's seed.")
@click.option("--force", is_flag=True, help="Refit what a former run has saved.")
@OUTSIDE
@click.pass_context
def run(
    ctx: click.Context,
    spec: str,
    out: str | None,
    engines: tuple[str, ...],
    models: tuple[str, ...],
    quick: bool,
    seed: int | None,
    force: bool,
    allow_outside: bool,
) -> None:
    """Fit every model of SPEC and write the report.

    SPEC is a TOML file, a CSV, or a name that `reanalysis list` shows.
    """
    from reanalysis.locate import load_source
    from reanalysis.plan import ENGINES
    from reanalysis.runner import run as run_analysis
    from reanalysis.terminal import answer, say, watch

    began = time.monotonic()
    asked = load_source(spec)
    folder = Path(out) if out is not None else Path("reports") / asked.name
    _provide_caches(ctx)
    with watch() as progress:
        analysis = run_analysis(
            asked,
            tuple(e for e in ENGINES if e in engines) or ENGINES,
            models=models,
            out=folder,
            seed=seed,
            quick=quick,
            force=force,
            allow_outside=allow_outside,
            scheduler="auto",
            progress=progress,
        )
    report = folder / "report.html"
    size, seconds = report.stat().st_size / 1e6, time.monotonic() - began
    say(answer(analysis, f"{report} ({size:.1f} MB, {seconds:.0f} s)"))
    ctx.exit(_status(analysis))


def _provide_caches(ctx: click.Context) -> None:
    """See that PyTensor and Matplotlib, which are not imported yet, can write somewhere."""
    from reanalysis.scratch import writable_caches
    from reanalysis.terminal import say

    note = ctx.with_resource(writable_caches())
    if note:
        say(f"note: {note}", err=True)


def _status(analysis: "Analysis") -> int:
    if not analysis.agrees:
        return DIFFERS
    empty = any(m.reml is m.exact is m.nuts is None for m in analysis.models.values())
    return 0 if analysis.converged and not empty else GATE


@main.command()
@click.argument("spec")
@JSON
@OUTSIDE
@click.pass_context
def check(ctx: click.Context, spec: str, as_json: bool, allow_outside: bool) -> None:
    """Check SPEC and its data without computing anything.

    Lists every fault at once; needs a second, and no sampler.
    """
    from reanalysis.plan import plan
    from reanalysis.terminal import say

    try:
        planned = plan(spec, allow_outside=allow_outside)
    except (ValueError, OSError) as error:
        problems = [_words(error)] if isinstance(error, OSError) else _problems(error)
        if as_json and problems is not None:
            say(json.dumps({"ok": False, "problems": list(problems)}, indent=1))
        raise
    document = _plan_document(planned)
    say(json.dumps(document, indent=1, ensure_ascii=False) if as_json else _plan_text(document))


def _plan_document(planned: "Plan") -> dict[str, Any]:
    from reanalysis.design import resolve_priors

    asked, data = planned.asked, planned.data
    models = {}
    notes = [*data.notes, *_doubts(planned)]
    for name, entry in planned.models.items():
        model, reading, design = entry.spec, entry.data, entry.design
        notes += [note for note in reading.notes if note not in notes]
        models[name] = {
            "title": model.title or name,
            "table": reading.resource,
            "k": design.k,
            "m": design.m,
            "levels": design.levels,
            "mechanism": model.mechanism,
            "coefficients": list(design.coefficients),
            "dropped": list(design.dropped),
            "notes": list(design.notes),
            "priors": {
                parameter: {
                    "prior": str(prior),
                    "central_95": [float(q) for q in prior.ppf([0.025, 0.975])],
                    "rationale": prior.rationale,
                }
                for parameter, prior in resolve_priors(design, model).items()
            },
        }
    return {
        "ok": True,
        "name": asked.name,
        "title": asked.title,
        "data": {
            "name": data.name,
            "table": data.resource,
            "sha256": data.provenance.sha256,
            "k": data.k,
            "m": data.m,
            "measure": data.measure,
            "direction": data.direction,
            "roles": dict(data.roles),
            "guessed": bool(data.guesses),
        },
        "models": models,
        "notes": notes,
        "problems": [],
    }


def _doubts(planned: "Plan") -> list[str]:
    """Say that the audit has something to show; it is no reason to refuse the data."""
    from reanalysis.audit import audit as find

    if planned.data.k > MOST_AUDITED:
        return []
    found = [f for f in find(planned.data, planned.asked) if f.severity != "note"]
    if not found:
        return []
    return [
        f"numbers that contradict each other or are hard to believe: {len(found)}, the first in "
        f"{found[0].where}; `reanalysis audit` lists them."
    ]


def _plan_text(document: dict[str, Any]) -> str:
    from reanalysis.terminal import columns

    data = document["data"]
    roles = ", ".join(f"{role} = {column}" for role, column in data["roles"].items())
    blocks = [
        document["title"],
        columns(
            [
                (
                    "data",
                    f"{data['name']}, table {data['table']}: k = {data['k']} effect sizes, "
                    f"m = {data['m']} samples",
                ),
                ("measure", f"{data['measure']}, expected direction {data['direction']}"),
                ("columns", roles + (" (guessed from their names)" if data["guessed"] else "")),
                *(("note", note) for note in document["notes"]),
            ]
        ),
    ]
    for name, model in document["models"].items():
        head = (
            f"model {name}: {model['title']} (k = {model['k']}, m = {model['m']}, "
            f"{model['levels']} levels, mechanism {model['mechanism']})"
        )
        rows = [
            (parameter, p["prior"], "95 % in {:.2f} to {:.2f}".format(*p["central_95"]))
            for parameter, p in model["priors"].items()
        ]
        blocks.append(
            "\n".join([head, columns(rows, indent="  "), *model["dropped"], *model["notes"]])
        )
    blocks.append("Nothing to correct.")
    return "\n\n".join(blocks)


@main.command()
@click.argument("spec")
@JSON
@OUTSIDE
def audit(spec: str, as_json: bool, allow_outside: bool) -> None:
    """List what the numbers behind SPEC contradict.

    Each finding says what the source states, what follows from its own numbers, and what the
    pooled estimate would be if the matter were resolved the other way.
    """
    from reanalysis.audit import audit as find
    from reanalysis.locate import load_source
    from reanalysis.plan import read_data
    from reanalysis.terminal import findings_text, say

    asked = load_source(spec)
    findings = find(read_data(asked, allow_outside=allow_outside), asked)
    if as_json:
        entries = [finding.to_dict() for finding in findings]
        say(json.dumps({"findings": entries}, indent=1, ensure_ascii=False))
    else:
        say(findings_text(findings))


@main.command()
@click.argument("csv", metavar="CSV")
@click.option("--out", metavar="SPEC", help="File to write [default: beside CSV].")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def init(csv: str, out: str | None, force: bool) -> None:
    """Write a commented starting spec for the table CSV.

    Columns are guessed from their names; every guess is said in the file.
    """
    from reanalysis.starter import write_starting_spec
    from reanalysis.terminal import columns, say

    path = Path(out) if out is not None else Path(csv).with_suffix(".toml")
    guess = write_starting_spec(Path(csv), path, force=force)
    rows = [(role, column) for role, column in guess.roles.items()]
    say(columns([*rows, ("measure", guess.measure or "not recognised: state it")]))
    say(f"written  {path}; next: reanalysis check {path}")


@main.command()
@click.argument("folder", metavar="DIR")
@click.pass_context
def render(ctx: click.Context, folder: str) -> None:
    """Make the report of DIR again from its results; nothing is fitted."""
    _provide_caches(ctx)
    from reanalysis.output import render_folder
    from reanalysis.terminal import say

    say(f"report  {render_folder(Path(folder))}")


@main.command()
@click.argument("folder", metavar="DIR")
@JSON
@click.pass_context
def verify(ctx: click.Context, folder: str, as_json: bool) -> None:
    """Compute the saved numbers of DIR again and name what differs.

    Uses the data and the spec that the run archived in DIR; changes nothing. Exit status 1 if
    anything differs.
    """
    _provide_caches(ctx)
    from reanalysis.terminal import say
    from reanalysis.verification import verify_folder

    found = verify_folder(Path(folder))
    if as_json:
        say(json.dumps(found.to_dict(), indent=1, ensure_ascii=False))
    else:
        for difference in found.differences:
            say(f"DIFFERS  {difference}")
        for note in found.notes:
            say(f"note     {note}")
        if found.ok:
            say(f"verified {found.numbers:,} numbers computed again; every file is the run's own.")
    ctx.exit(0 if found.ok else DIFFERS)


SCHEDULER = click.option(
    "--scheduler",
    default="auto",
    metavar="ADDRESS",
    help="'here', 'local' (a process per core), or tcp://… of a Dask scheduler "
    "[default: here for small jobs, local for long ones].",
)


@main.command()
@click.argument("spec")
@click.option("--out", metavar="DIR", help="Output folder [default: reports/NAME/multiverse].")
@SCHEDULER
@JSON
@OUTSIDE
@click.pass_context
def multiverse(
    ctx: click.Context,
    spec: str,
    out: str | None,
    scheduler: str,
    as_json: bool,
    allow_outside: bool,
) -> None:
    """Fit every combination of the decisions that SPEC states under [[multiverse]].

    Results are kept as they come: the same command goes on where a run was stopped.
    """
    _provide_caches(ctx)
    from reanalysis.atomic import write_together
    from reanalysis.multiverse import run_multiverse
    from reanalysis.output import OutputFolder
    from reanalysis.plan import plan
    from reanalysis.plots.specification_curve import plot_specification_curve
    from reanalysis.plots.style import to_svg
    from reanalysis.terminal import columns, say, watch_fits
    from reanalysis.versions import release_key

    planned = plan(spec, allow_outside=allow_outside)
    asked = planned.asked
    folder = _folder(out, asked.name, "multiverse")
    with OutputFolder(folder):
        with watch_fits("universes") as watcher:
            result = run_multiverse(
                planned.data,
                next(iter(asked.models.values())),
                asked.multiverse,
                rope=asked.rope,
                store=folder / f"universes-{release_key()}.jsonl",
                scheduler=scheduler,
                watcher=watcher,
            )
        document = json.dumps(result.document(), indent=1, ensure_ascii=False, allow_nan=False)
        figure = to_svg(plot_specification_curve(result))
        write_together({folder / "multiverse.json": document, folder / "multiverse.svg": figure})
    if as_json:
        say(document)
    else:
        conclusions = result.universes["conclusion"].value_counts()
        rows = [("decision", "options", "changes the conclusion", "largest shift")]
        rows += [
            (
                result.titles[row["axis"]],
                str(row["options"]),
                f"{row['changes_conclusion']} of {row['comparisons']} times",
                f"{row['largest_shift']:.3f}",
            )
            for row in result.decisions.to_dict(orient="records")
        ]
        found = ", ".join(f"{c} {n}" for c, n in conclusions.items() if c)
        say(f"{len(result.universes)} universes: {found}; {result.failed} failed.")
        say(columns(rows))
        say(f"written  {folder}")
    ctx.exit(GATE if result.failed else 0)


@main.command()
@click.argument("spec")
@click.option("--model", metavar="NAME", help="Model to calibrate [default: the first].")
@click.option(
    "--engine",
    default="exact",
    type=click.Choice(["exact", "nuts"]),
    help="Engine to calibrate; nuts takes about half a second for a data set.",
)
@click.option("--replicates", default=1000, type=click.IntRange(20, 1_000_000))
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Replace the spec's seed.")
@click.option("--out", metavar="DIR", help="Output folder [default: reports/NAME/calibration].")
@SCHEDULER
@JSON
@OUTSIDE
@click.pass_context
def calibrate(
    ctx: click.Context,
    spec: str,
    model: str | None,
    engine: "Engine",
    replicates: int,
    seed: int | None,
    out: str | None,
    scheduler: str,
    as_json: bool,
    allow_outside: bool,
) -> None:
    """Simulate data at the design of SPEC and see how often each interval holds the truth.

    Exit status 3 if the posterior is not calibrated (p < .001 for any quantity).
    """
    _provide_caches(ctx)
    from reanalysis.atomic import write_together
    from reanalysis.calibration import calibrate as run_calibration
    from reanalysis.output import OutputFolder
    from reanalysis.plan import plan
    from reanalysis.plots.calibration import plot_calibration
    from reanalysis.plots.style import to_svg
    from reanalysis.results import EngineError
    from reanalysis.spec import SpecError
    from reanalysis.terminal import columns, say, watch_fits
    from reanalysis.versions import release_key

    planned = plan(spec, models=(model,) if model else (), allow_outside=allow_outside)
    name, entry = next(iter(planned.models.items()))
    folder = _folder(out, planned.asked.name, "calibration")
    with OutputFolder(folder):
        try:
            with watch_fits("batches of data sets") as watcher:
                result = run_calibration(
                    entry.design,
                    entry.spec,
                    engine=engine,
                    replicates=replicates,
                    seed=planned.asked.seed if seed is None else seed,
                    store=folder / f"replicates-{release_key()}.jsonl",
                    scheduler=scheduler,
                    watcher=watcher,
                )
        except EngineError as error:
            raise SpecError([f"model '{name}': {error}"]) from None
        document = json.dumps(result.document(), indent=1, ensure_ascii=False, allow_nan=False)
        figure = to_svg(plot_calibration(result))
        part = name if engine == "exact" else f"{name}-{engine}"
        write_together({folder / f"{part}.json": document, folder / f"{part}.svg": figure})
    worst = float(result.uniformity["p_holm"].min())
    if as_json:
        say(document)
    else:
        rows = [("parameter", "95 % interval", "holds the truth", "mean width")]
        rows += [
            (
                row["parameter"],
                row["method"],
                f"{100 * row['coverage']:.1f} % (± {100 * row['mcse']:.1f})",
                f"{row['width']:.3f}",
            )
            for row in result.coverage.to_dict(orient="records")
        ]
        say(
            f"model {name}, {engine}, {result.replicates} data sets; "
            f"calibration p = {worst:.3f} (Holm)."
        )
        say(columns(rows))
        say(f"written  {folder}")
    ctx.exit(GATE if worst < MISCALIBRATED else 0)


def _folder(out: str | None, name: str, part: str) -> Path:
    return Path(out) if out is not None else Path("reports") / name / part


@main.command("list")
@JSON
def list_(as_json: bool) -> None:
    """Show the specs and data sets at hand."""
    from reanalysis.locate import data_at_hand, specs_at_hand
    from reanalysis.terminal import columns, say

    found = {"specs": specs_at_hand(), "data": data_at_hand()}
    if as_json:
        paths = {
            kind: {name: os.fspath(path) for name, path in entries.items()}
            for kind, entries in found.items()
        }
        say(json.dumps(paths, indent=1, ensure_ascii=False))
        return
    rows = [
        (word, name, os.fspath(path))
        for word, kind in (("spec", "specs"), ("data", "data"))
        for name, path in found[kind].items()
    ]
    say(columns(rows) or "No models/ or data/ folder here.")

"""The commands that make a report and look after it: `run`, `render`, `verify`."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reanalysis.cli.faults import DIFFERS, GATE
from reanalysis.cli.options import JSON, OUTSIDE
from reanalysis.cli.process import prepare_process

if TYPE_CHECKING:
    from reanalysis.analysis import Analysis

__all__ = ["render", "run", "verify"]


@click.command()
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
    prepare_process(ctx)
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


def _status(analysis: "Analysis") -> int:
    if not analysis.agrees:
        return DIFFERS
    empty = any(m.reml is m.exact is m.nuts is None for m in analysis.models.values())
    return 0 if analysis.converged and not empty else GATE


@click.command()
@click.argument("folder", metavar="DIR")
@click.pass_context
def render(ctx: click.Context, folder: str) -> None:
    """Make the report of DIR again from its results; nothing is fitted."""
    prepare_process(ctx)
    from reanalysis.output import render_folder
    from reanalysis.terminal import say

    say(f"report  {render_folder(Path(folder))}")


@click.command()
@click.argument("folder", metavar="DIR")
@JSON
@click.pass_context
def verify(ctx: click.Context, folder: str, as_json: bool) -> None:
    """Compute the saved numbers of DIR again and name what differs.

    Uses the data and the spec that the run archived in DIR; changes nothing. Exit status 1 if
    anything differs.
    """
    prepare_process(ctx)
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

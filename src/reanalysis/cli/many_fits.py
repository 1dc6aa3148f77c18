"""The commands that fit a model many times over: `multiverse` and `calibrate`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reanalysis.cli.faults import GATE
from reanalysis.cli.options import JSON, OUTSIDE
from reanalysis.cli.process import prepare_process

if TYPE_CHECKING:
    from reanalysis.calibration import Engine

__all__ = ["calibrate", "multiverse"]

MISCALIBRATED = 0.001
SCHEDULER = click.option(
    "--scheduler",
    default="auto",
    metavar="ADDRESS",
    help="'here', 'local' (a process per core), or tcp://… of a Dask scheduler "
    "[default: here for small jobs, local for long ones].",
)


@click.command()
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
    prepare_process(ctx)
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


@click.command()
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
    prepare_process(ctx)
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

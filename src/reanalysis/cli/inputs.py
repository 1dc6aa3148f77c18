"""The commands that fit nothing: `check`, `audit`, `init`, `list`; none loads a sampler."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reanalysis.cli.faults import problems_of, words_of
from reanalysis.cli.options import JSON, OUTSIDE

if TYPE_CHECKING:
    from reanalysis.plan import Plan

__all__ = ["audit", "check", "init", "list_"]

MOST_AUDITED = 10_000  # rows; `check` answers in seconds


@click.command()
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
        problems = [words_of(error)] if isinstance(error, OSError) else problems_of(error)
        if as_json and problems is not None:
            say(json.dumps({"ok": False, "problems": list(problems)}, indent=1))
        raise
    document = _plan_document(planned)
    say(json.dumps(document, indent=1, ensure_ascii=False) if as_json else _plan_text(document))


def _plan_document(planned: "Plan") -> dict[str, Any]:
    from reanalysis.design import resolve_priors
    from reanalysis.moderators import COMMON_SCALE, shrunk_columns

    asked, data = planned.asked, planned.data
    models = {}
    notes = [*data.notes, *_doubts(planned)]
    for name, entry in planned.models.items():
        model, reading, design = entry.spec, entry.data, entry.design
        notes += [note for note in reading.notes if note not in notes]
        priors = resolve_priors(design, model)
        scaled = {design.coefficients[i] for i in shrunk_columns(design.coefficients, priors)}
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
                    **({"times": COMMON_SCALE} if parameter in scaled else {}),
                }
                for parameter, prior in priors.items()
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
            (
                parameter,
                p["prior"],
                "95 % in {:.2f} to {:.2f}".format(*p["central_95"])
                + (f", times {p['times']}" if "times" in p else ""),
            )
            for parameter, p in model["priors"].items()
        ]
        blocks.append(
            "\n".join([head, columns(rows, indent="  "), *model["dropped"], *model["notes"]])
        )
    blocks.append("Nothing to correct.")
    return "\n\n".join(blocks)


@click.command()
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


@click.command()
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


@click.command("list")
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

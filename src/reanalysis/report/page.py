"""The page: everything prepared, put into the template."""

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reanalysis.plots.source import Selected, select
from reanalysis.report import (
    audit,
    averaging,
    bias_figures,
    comparison,
    evidence,
    frequentist,
    model,
    selection,
)
from reanalysis.report.answer import make_answer, make_status, usable
from reanalysis.report.downloads import make_downloads
from reanalysis.report.figures import make_image
from reanalysis.report.sections import make_sections
from reanalysis.report.tables import plain_number
from reanalysis.wording import plain, unbroken, with_symbols

__all__ = ["make_page"]

# What a document may lack, so that the template need not ask for each.
OPTIONAL: Mapping[str, Any] = {
    "source": {"citation": "", "doi": ""},
    "limits": (),
    "rope": {},
    "spec_text": "",
    "claims": (),
}
OPTIONAL_DATA: Mapping[str, Any] = {
    "title": "",
    "citation": "",
    "licence": "",
    "sources": (),
    "codebook": "",
    "notes": (),
}


def make_page(document: Mapping[str, Any]) -> str:
    """Return the HTML page of a results document.

    Parameters
    ----------
    document : mapping
        The results document.

    Returns
    -------
    str
        The page.
    """
    chosen = {name: select(document, name) for name in document["models"]}
    models = list(chosen.values())
    findings = document.get("audit", ())
    script = _asset("report.js")
    environment = Environment(
        loader=PackageLoader("reanalysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"plain": plain, "unbroken": unbroken, "signed": plain_number}
    return environment.get_template("report.html").render(
        document={**OPTIONAL, **document},
        data={**OPTIONAL_DATA, **document["data"]},
        title=plain(document["title"]) or plain(document.get("name", "Reanalysis")),
        style=Markup(_asset("report.css")),
        script=Markup(script),
        script_hash=_hash(script),
        status=make_status(models),
        answer=make_answer(document, models),
        headline=_view(document, models[0], figures=True),
        others=[_view(document, m, figures=False) for m in models[1:]],
        overview=comparison.overview_table(models) if len(models) > 1 else None,
        claims=evidence.claims_table(document, chosen),
        rules=evidence.verdict_rules(document),
        audit=audit.audit_table(findings, models[0].scale) if findings else None,
        audit_tally=audit.audit_tally(findings),
        mechanisms=selection.mechanisms_table(models),
        weights=selection.weights_table(models),
        weights_image=make_image("weights", document, models[0]),
        bias_images=bias_figures.bias_figures(document, models),
        tipping=bias_figures.tipping_sentence(document),
        identification=selection.identification(models),
        average=averaging.average_tables(document, chosen),
        sections=make_sections(document, chosen),
        skipped_parts=document.get("skipped", {}),
        notes=_notes(document, models[0]),
        source_table=model.source_table(document["data"]),
        downloads=make_downloads(document),
    )


def _view(document: Mapping[str, Any], chosen: Selected, *, figures: bool) -> dict[str, Any]:
    """Return what the template shows of one model."""
    names = ("comparison", "forest", "prior_posterior", "funnel") if figures else ()
    part = chosen.model
    return {
        "name": plain(chosen.name),
        "title": plain(part.get("title", chosen.name)),
        "model": part,
        "usable": usable(chosen),
        "nuts_failed": chosen.nuts_failed,
        "mechanism": selection.MECHANISMS.get(part["spec"]["mechanism"], part["spec"]["mechanism"]),
        "averaged": any(e.get("n_averaged", 1.0) > 1 for e in part["effects"]),
        "clustered": part["m"] < part["k"],
        "scale": chosen.scale,
        "images": {n: image for n in names if (image := make_image(n, document, chosen))},
        "comparison": comparison.comparison_table(chosen),
        "differences": comparison.differences_table(chosen),
        "agreement": comparison.agreement_table(chosen),
        "bayes_factors": evidence.bayes_factor_table(chosen) if usable(chosen) else None,
        "heterogeneity": frequentist.heterogeneity_table(chosen),
        "frequentist": frequentist.frequentist_tables(chosen),
        "influence": frequentist.influence_table(chosen),
        "small_study": frequentist.small_study_table(document, chosen),
        "small_study_limits": frequentist.small_study_limits(document, chosen),
        "sentences": [with_symbols(plain(s)) for s in part.get("sentences", ())],
        "effects": model.effects_table(chosen),
        "priors": model.priors_table(chosen, document["data"]["measure"]),
        "gate": model.gate_table(chosen),
        "convergence": model.convergence_table(chosen),
        "skipped": {_engine(e): plain(why) for e, why in part.get("skipped", {}).items()},
    }


def _notes(document: Mapping[str, Any], headline: Selected) -> list[str]:
    """Return what the reader of the data has to know, each thing once."""
    part = headline.model
    notes = [*document["data"].get("notes", ()), *part.get("notes", ()), *part.get("dropped", ())]
    return list(dict.fromkeys(map(plain, notes)))


def _engine(name: str) -> str:
    return {"reml": "REML", "exact": "Exact engine", "nuts": "NUTS"}.get(name, plain(name))


def _asset(name: str) -> str:
    return files("reanalysis").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """Return the hash by which the page's security policy knows its only script."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"

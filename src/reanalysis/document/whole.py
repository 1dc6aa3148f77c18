"""The document of a finished analysis: the data, the models, and what is about several of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from reanalysis.analysis import Analysis
from reanalysis.claims import Entry
from reanalysis.dataset import Dataset
from reanalysis.document.model import estimate_part, model_part
from reanalysis.document.plain import Json, plain_entry, plain_records
from reanalysis.moderation import Moderation, make_moderation, moderator_family, plain_rows
from reanalysis.moderators import find_families
from reanalysis.source_study import source_study
from reanalysis.spec import Reanalysis

if TYPE_CHECKING:
    from reanalysis.exact.average import ModelAverage

__all__ = ["CONTRACT", "to_document"]

CONTRACT = 1


def to_document(analysis: Analysis) -> Json:
    """Return a finished analysis as a JSON-able document.

    Parameters
    ----------
    analysis : Analysis
        The analysis.

    Returns
    -------
    dict
        In the form of the contract's ``results.json``; numbers at full precision, what was not
        computed absent.
    """
    spec = analysis.spec
    moderations = {
        name: make_moderation(
            result.design,
            result.spec,
            reml=result.reml,
            exact=result.exact,
            nuts=result.nuts,
            rope=spec.rope,
        )
        for name, result in analysis.models.items()
        if result.design.terms
    }
    return {
        "contract": CONTRACT,
        "name": spec.name,
        "title": spec.title,
        "versions": dict(analysis.versions),
        "seed": analysis.seed,
        "engines": list(analysis.engines),
        "source": {"citation": spec.source.citation, "doi": spec.source.doi},
        "limits": list(spec.limits),
        "rope": plain_entry(
            {
                "lower": spec.rope.lower,
                "upper": spec.rope.upper,
                "scale": spec.rope.scale,
                "rationale": spec.rope.rationale,
            }
        )
        if spec.rope
        else {},
        "data": _data(analysis.data),
        "spec_text": spec.text,
        "models": {
            name: model_part(result, moderations.get(name))
            for name, result in analysis.models.items()
        },
        "comparison": [
            {"model": name, "parameter": parameter, **plain_entry(row)}
            for name, result in analysis.models.items()
            for parameter, row in result.comparison.table.to_dict("index").items()
        ],
        "claims": [_claim(entry) for entry in analysis.claims],
        "rules": {e.claim.asserts: e.rule for e in analysis.claims},
        "audit": [finding.to_dict() for finding in analysis.audit],
        "small_study": _small_study(analysis),
        **_moderators(analysis, moderations),
        **({"average": _average(analysis.spec, analysis.average)} if analysis.average else {}),
        **analysis.further.document(),
    }


def _data(data: Dataset) -> Json:
    where = data.provenance
    return {
        "name": data.name,
        "k": data.k,
        "m": data.m,
        "measure": data.measure,
        "direction": data.direction,
        "sha256": where.sha256,
        "table": data.resource,
        "title": where.title,
        "citation": where.citation,
        "licence": where.licence,
        "sources": list(where.sources),
        "codebook": where.codebook,
        "notes": list(data.notes),
        **source_study(data),
        "columns": [str(c) for c in data.table.columns],
        "rows": [[_cell(v) for v in row] for row in data.table.itertuples(index=False, name=None)],
    }


def _claim(entry: Entry) -> Json:
    """Return a claim of the paper with what answers it."""
    claim = entry.claim
    return plain_entry(
        {
            "id": claim.id,
            "text": claim.text,
            "source": claim.source,
            "model": claim.model,
            "parameter": claim.parameter,
            "asserts": claim.asserts,
            "published": dict(claim.published),
            "against": dict(claim.against) or None,
            "reml": estimate_part(entry.reml, True) if entry.reml else None,
            "bayes": estimate_part(entry.bayes, False) if entry.bayes else None,
            "log_bayes_factor": entry.bayes_factor,
            "probability": entry.probability,
            "p": entry.p,
            "verdict": entry.verdict,
            "reason": entry.reason,
        }
    )


def _average(spec: Reanalysis, average: "ModelAverage") -> Json:
    """Return a model average: models, inclusion, averaged and conditional estimates."""
    assert spec.average is not None
    return {
        "model": spec.average.model,
        "mechanisms": list(spec.average.mechanisms),
        "models": plain_records(average.models),
        "inclusion": plain_records(average.inclusion),
        "averaged": {n: estimate_part(e, False) for n, e in average.averaged.items()},
        "conditional": {n: estimate_part(e, False) for n, e in average.conditional.items()},
        "weight_function": plain_records(average.weight_function),
    }


FAMILY_COLUMNS = {
    **{name: name for name in ("model", "moderator", "qm", "df", "p", "f", "df1", "df2", "f_p")},
    **{name: name for name in ("p_bonferroni", "p_holm", "f_p_bonferroni", "f_p_holm")},
    "bonferroni": "bonferroni_verdict",
    "bayes_factor": "bayes_factor",
    "bayes": "bayes_verdict",
    "joint_bayes_factor": "joint_bayes_factor",
    "shrinkage": "shrinkage_verdict",
}


def _moderators(analysis: Analysis, moderations: Mapping[str, Moderation]) -> Json:
    """Return each family of moderator models side by side, and beside its joint model."""
    out: Json = {}
    for name, family in find_families(analysis.spec.models).items():
        single = {n: moderations[n] for n in family.single if n in moderations}
        tests = len(family.single)  # as planned, also where a run leaves some out
        table = moderator_family(single, moderations.get(family.joint), tests=tests)
        shown = {c: title for c, title in FAMILY_COLUMNS.items() if c in table}
        if len(table):
            out[name] = plain_rows(table[list(shown)].rename(columns=shown))
    return {"moderators": out} if out else {}


def _small_study(analysis: Analysis) -> Json:
    """Return the small-study methods of each model that has them."""
    out: Json = {}
    for name, result in analysis.models.items():
        small = result.checks.small_study if result.checks else None
        if small is None:
            continue
        out[name] = {
            "methods": plain_records(small.table),
            "details": {
                key: {
                    "method": one.method,
                    "limits": one.limits,
                    "numbers": plain_entry(one.numbers),
                    "table": plain_records(one.table),
                }
                for key, one in small.results.items()
            },
            "skipped": dict(small.skipped),
        }
    return out


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return value.item() if isinstance(value, np.generic) else value

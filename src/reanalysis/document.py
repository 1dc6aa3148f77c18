"""The results as one JSON document: what is saved, verified and rendered.

The report is made from this document alone, so that every number in it can be traced.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reanalysis.analysis import Analysis, ModelResult
from reanalysis.checks import Checks
from reanalysis.claims import Entry
from reanalysis.dataset import Dataset
from reanalysis.effect_sizes import MEASURES
from reanalysis.moderation import (
    Moderation,
    make_moderation,
    moderation_document,
    moderator_family,
    plain_rows,
)
from reanalysis.moderators import COMMON_SCALE, find_families, shrunk_columns
from reanalysis.results import Estimate, FrequentistFit, Posterior
from reanalysis.source_study import source_study
from reanalysis.spec import Reanalysis

if TYPE_CHECKING:
    from reanalysis.exact.average import ModelAverage

__all__ = ["CONTRACT", "estimates_frame", "to_document"]

CONTRACT = 1
Json = dict[str, Any]


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
        "rope": _present(
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
            name: _model(result, moderations.get(name)) for name, result in analysis.models.items()
        },
        "comparison": [
            {"model": name, "parameter": parameter, **_present(row)}
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


def estimates_frame(document: Mapping[str, Any]) -> pd.DataFrame:
    """Return every estimate of a document as one tidy table.

    Parameters
    ----------
    document : mapping
        From `to_document`.

    Returns
    -------
    pandas.DataFrame
        Columns ``model``, ``engine``, ``parameter``, the numbers on the analysis scale, and
        ``value_back``, ``lower_back``, ``upper_back`` where the measure has a
        back-transformation. Fits that failed their gate are left out.
    """
    back = MEASURES[document["data"]["measure"]].back
    rows = []
    for name, model in document["models"].items():
        for engine in ("reml", "exact", "nuts"):
            found = model.get(engine, {})
            if not found.get("diagnostics", {}).get("passed", True):
                continue  # no results; this table has no place to say so
            for parameter, e in found.get("estimates", {}).items():
                value = e["value"] if engine == "reml" else e["mean"]
                row = {"model": name, "engine": engine, "parameter": parameter, "value": value}
                row |= {k: e.get(k) for k in ("sd", "se", "median", "lower", "upper", "p")}
                row["numerical_error"] = e.get("numerical_error")
                row["interval"] = e.get("interval")
                if back is not None and _transforms(parameter):
                    for key, x in (
                        ("value", value),
                        ("lower", e.get("lower")),
                        ("upper", e.get("upper")),
                    ):
                        row[f"{key}_back"] = None if x is None else float(back(x))
                rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else ["model", "engine", "parameter", "value"])


def _transforms(parameter: str) -> bool:
    """Whether a parameter is a mean effect, so that its back-transformation means something."""
    return parameter in ("mu", "new_sample", "new_effect", "beta[intercept]")


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


def _model(result: ModelResult, moderation: Moderation | None) -> Json:
    spec, design = result.spec, result.design
    shrunk = {design.coefficients[i] for i in shrunk_columns(design.coefficients, result.priors)}
    out: Json = {
        "title": spec.title or spec.name,
        "k": design.k,
        "m": design.m,
        "levels": design.levels,
        "coefficients": list(design.coefficients),
        "factors": {name: list(columns) for name, columns in design.factors.items()},
        "dropped": list(design.dropped),
        # With moderators, how they enter is told with them.
        "notes": [
            *filter(None, [spec.note]),
            *result.data.notes,
            *(() if design.terms else design.notes),
        ],
        "spec": {
            "table": result.data.resource,
            "columns": dict(spec.columns),
            "estimand": spec.estimand,
            "composites": spec.composites,
            "moderators": spec.moderators
            if isinstance(spec.moderators, str)
            else list(spec.moderators),
            "reference": dict(spec.reference),
            "centring": dict(spec.centring),
            "decompose": spec.decompose,
            "scale_moderator": spec.scale_moderator,
            "sampling_correlation": spec.sampling_correlation
            if isinstance(spec.sampling_correlation, float)
            else str(spec.sampling_correlation),
            "mechanism": spec.mechanism,
            "steps": list(spec.steps),
            "two_sided": spec.two_sided,
            "omega": list(spec.omega),
            "primary": spec.primary,
            "include": {name: list(values) for name, values in spec.include.items()},
            "exclude": {name: list(values) for name, values in spec.exclude.items()},
        },
        "priors": [
            {
                "parameter": name,
                "prior": str(prior),
                "family": prior.family,
                "parameters": dict(prior.parameters),
                "rationale": prior.rationale,
                "quantiles": [float(q) for q in prior.ppf([0.025, 0.5, 0.975])],
                **({"times": COMMON_SCALE} if name in shrunk else {}),
            }
            for name, prior in result.priors.items()
        ],
        "effects": _effects(result),
    }
    if result.reml:
        out["reml"] = _frequentist(result.reml, result.checks)
    for name, posterior in (("exact", result.exact), ("nuts", result.nuts)):
        if posterior:
            out[name] = _posterior(posterior)
    if moderation is not None:
        out["moderation"] = moderation_document(moderation, design)
    if result.exact and spec.mechanism != "none":
        out["selection"] = _selection(result.exact)
    out["agreement"] = [
        {"parameter": name, **_present(row)}
        for name, row in result.comparison.agreement.to_dict("index").items()
    ]
    out["sentences"] = list(result.comparison.sentences)
    if result.skipped:
        out["skipped"] = dict(result.skipped)
    return out


def _effects(result: ModelResult) -> list[Json]:
    """Return the rows of a model: what went in, and the shrunken estimate of each engine."""
    design = result.design
    rows = []
    for i in range(design.k):
        row = {
            "row": int(design.rows[i]),
            "label": design.row_names[i],
            "sample": design.cluster_names[design.cluster[i]],
            "yi": float(design.yi[i]),
            "vi": float(design.vi[i]),
            "n_averaged": float(design.n_averaged[i]),
        }
        if design.ni is not None:
            row["ni"] = float(design.ni[i])
        rows.append(row)
    for name, fit in (("exact", result.exact), ("nuts", result.nuts)):
        if fit is None or fit.effects.empty or not fit.passed:
            continue
        for row, found in zip(rows, fit.effects.to_dict("records"), strict=True):
            row[name] = {k: float(found[k]) for k in ("mean", "sd", "lower", "upper")}
    return rows


def _estimate(e: Estimate, frequentist: bool) -> Json:
    if frequentist:
        keys = {"value": e.value, "se": e.sd, "lower": e.lower, "upper": e.upper, "p": e.p}
    else:
        keys = {
            "mean": e.value,
            "sd": e.sd,
            "median": e.median,
            "lower": e.lower,
            "upper": e.upper,
            "numerical_error": e.numerical_error,
        }
    extra = {"interval": e.interval, "scale": e.scale}
    return _present({**keys, **extra})


def _frequentist(fit: FrequentistFit, checks: Checks | None) -> Json:
    tables = dict(fit.tables)
    if checks and checks.influence:
        tables["leave_one_sample_out"] = checks.influence.refits
        tables["influence"] = checks.influence.cases
    return _present(
        {
            "method": fit.method,
            "estimates": {n: _estimate(e, True) for n, e in fit.estimates.items()},
            "tau2_between": fit.tau2_between,
            "tau2_within": fit.tau2_within,
            "q": fit.q,
            "q_df": fit.q_df,
            "q_p": fit.q_p,
            "qm": fit.qm,
            "qm_df": fit.qm_df,
            "qm_p": fit.qm_p,
            "i2_total": fit.i2_total,
            "i2_between": fit.i2_between,
            "i2_within": fit.i2_within,
            "i2_q": fit.i2_q,
            "loglik": fit.loglik,
            "converged": fit.converged,
            "boundary": list(fit.boundary),
            "tables": {name: _records(table) for name, table in tables.items()},
        }
    )


def _claim(entry: Entry) -> Json:
    """Return a claim of the paper with what answers it."""
    claim = entry.claim
    return _present(
        {
            "id": claim.id,
            "text": claim.text,
            "source": claim.source,
            "model": claim.model,
            "parameter": claim.parameter,
            "asserts": claim.asserts,
            "published": dict(claim.published),
            "against": dict(claim.against) or None,
            "reml": _estimate(entry.reml, True) if entry.reml else None,
            "bayes": _estimate(entry.bayes, False) if entry.bayes else None,
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
        "models": _records(average.models),
        "inclusion": _records(average.inclusion),
        "averaged": {n: _estimate(e, False) for n, e in average.averaged.items()},
        "conditional": {n: _estimate(e, False) for n, e in average.conditional.items()},
        "weight_function": _records(average.weight_function),
    }


def _selection(posterior: Posterior) -> Json:
    """Return what a selection model rests on: its bins, its cross-check, what the data say."""
    from reanalysis.exact.selection import SelectionPosterior
    from reanalysis.exact.selection_identification import identify_weights

    assert isinstance(posterior, SelectionPosterior)
    out: Json = {"mechanism": posterior.mechanism, "notes": list(posterior.notes)}
    out["bins"] = _records(posterior.bins)
    if posterior.check:
        out["check"] = _present(asdict(posterior.check))
    if posterior.weight_prior is not None and posterior.weight_prior.dimension:
        found = identify_weights(posterior)
        out["identification"] = {
            "sentence": found.sentence,
            "informed": found.informed,
            "table": _records(found.table),
        }
    return out


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
            "methods": _records(small.table),
            "details": {
                key: {
                    "method": one.method,
                    "limits": one.limits,
                    "numbers": _present(one.numbers),
                    "table": _records(one.table),
                }
                for key, one in small.results.items()
            },
            "skipped": dict(small.skipped),
        }
    return out


def _posterior(posterior: Posterior) -> Json:
    out: Json = {
        "estimates": {n: _estimate(e, False) for n, e in posterior.estimates.items()},
        "log_marginal_likelihood": posterior.log_marginal_likelihood,
        "log_marginal_likelihood_error": posterior.log_marginal_likelihood_error,
    }
    if posterior.bayes_factors:
        out["bayes_factors"] = {n: _exp(v) for n, v in posterior.bayes_factors.items()}
        out["log_bayes_factors"] = dict(posterior.bayes_factors)
    if posterior.densities:
        out["densities"] = {
            name: {"x": [float(v) for v in x], "density": [float(v) for v in y]}
            for name, (x, y) in posterior.densities.items()
        }
    if posterior.diagnostics:
        d = posterior.diagnostics
        out["diagnostics"] = _present(
            {
                "rhat_max": d.rhat_max,
                "ess_bulk_min": d.ess_bulk_min,
                "ess_tail_min": d.ess_tail_min,
                "divergences": d.divergences,
                "ebfmi_min": d.ebfmi_min,
                "passed": d.passed,
                "failures": list(d.failures),
                "sampler": dict(d.sampler),
                "table": _records(d.table),
            }
        )
    return _present(out)


def _exp(log_value: float) -> float:
    """Return a Bayes factor; JSON has no infinity, so it is capped at the largest float."""
    return float(np.exp(min(log_value, 709.0)))


def _records(table: pd.DataFrame) -> list[Json]:
    named = table.reset_index() if table.index.name else table
    return [_present(row) for row in named.to_dict("records")]


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return value.item() if isinstance(value, np.generic) else value


def _present(row: Mapping[Any, Any]) -> Json:
    """Drop what was not computed, and turn NumPy scalars into Python's."""
    out: Json = {}
    for key, value in row.items():
        plain = value.item() if isinstance(value, np.generic) else value
        if plain is None or (isinstance(plain, float) and not np.isfinite(plain)):
            continue
        out[str(key)] = plain
    return out

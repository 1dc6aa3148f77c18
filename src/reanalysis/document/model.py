"""The part of the document about one model: its spec, priors and rows, and its fits."""

from dataclasses import asdict

import numpy as np

from reanalysis.analysis import ModelResult
from reanalysis.checks import Checks
from reanalysis.document.plain import Json, plain_entry, plain_records
from reanalysis.moderation import Moderation, moderation_document
from reanalysis.moderators import COMMON_SCALE, shrunk_columns
from reanalysis.results import Estimate, FrequentistFit, Posterior

__all__ = ["estimate_part", "model_part"]


def model_part(result: ModelResult, moderation: Moderation | None) -> Json:
    """Return what the document says of one model.

    Parameters
    ----------
    result : ModelResult
        The model and its fits.
    moderation : Moderation or None
        What was found about its moderators, where it has any.

    Returns
    -------
    dict
        An entry of ``models``; fits that were not made are absent.
    """
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
        {"parameter": name, **plain_entry(row)}
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


def estimate_part(e: Estimate, frequentist: bool) -> Json:
    """Return one estimate.

    Parameters
    ----------
    e : Estimate
        The estimate.
    frequentist : bool
        Whether it has a standard error and a p value, or is a posterior.

    Returns
    -------
    dict
        Its numbers, its kind of interval and its scale.
    """
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
    return plain_entry({**keys, **extra})


def _frequentist(fit: FrequentistFit, checks: Checks | None) -> Json:
    tables = dict(fit.tables)
    if checks and checks.influence:
        tables["leave_one_sample_out"] = checks.influence.refits
        tables["influence"] = checks.influence.cases
    return plain_entry(
        {
            "method": fit.method,
            "estimates": {n: estimate_part(e, True) for n, e in fit.estimates.items()},
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
            "tables": {name: plain_records(table) for name, table in tables.items()},
        }
    )


def _posterior(posterior: Posterior) -> Json:
    out: Json = {
        "estimates": {n: estimate_part(e, False) for n, e in posterior.estimates.items()},
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
        out["diagnostics"] = plain_entry(
            {
                "rhat_max": d.rhat_max,
                "ess_bulk_min": d.ess_bulk_min,
                "ess_tail_min": d.ess_tail_min,
                "divergences": d.divergences,
                "ebfmi_min": d.ebfmi_min,
                "passed": d.passed,
                "failures": list(d.failures),
                "sampler": dict(d.sampler),
                "table": plain_records(d.table),
            }
        )
    return plain_entry(out)


def _selection(posterior: Posterior) -> Json:
    """Return what a selection model rests on: its bins, its cross-check, what the data say."""
    from reanalysis.exact.selection import SelectionPosterior
    from reanalysis.exact.selection_identification import identify_weights

    assert isinstance(posterior, SelectionPosterior)
    out: Json = {"mechanism": posterior.mechanism, "notes": list(posterior.notes)}
    out["bins"] = plain_records(posterior.bins)
    if posterior.check:
        out["check"] = plain_entry(asdict(posterior.check))
    if posterior.weight_prior is not None and posterior.weight_prior.dimension:
        found = identify_weights(posterior)
        out["identification"] = {
            "sentence": found.sentence,
            "informed": found.informed,
            "table": plain_records(found.table),
        }
    return out


def _exp(log_value: float) -> float:
    """Return a Bayes factor; JSON has no infinity, so it is capped at the largest float."""
    return float(np.exp(min(log_value, 709.0)))

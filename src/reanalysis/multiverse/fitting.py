"""One universe fitted by the exact engine."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from scipy.special import ndtr

from reanalysis.design import Design
from reanalysis.exact import fit_exact, log_evidence
from reanalysis.exact.batch import fit_batch
from reanalysis.exact.normal import coefficient_posterior
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

__all__ = ["Fit", "fit_key", "fit_universe"]


@dataclass(frozen=True, eq=False)
class Fit:
    """A model with its data, ready to be sent to a worker."""

    design: Design
    spec: ModelSpec


def fit_key(job: Fit) -> str:
    """Return a key that stands for the data and the model.

    Parameters
    ----------
    job : Fit
        The universe.

    Returns
    -------
    str
        Hexadecimal digits; names and titles do not enter.
    """
    design, spec = job.design, job.spec
    digest = sha256()
    for name in ("yi", "vi", "X", "cluster", "n_averaged", "n_measured", "ni", "V", "scale"):
        array = getattr(design, name)
        digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    facts = (design.levels, design.coefficients, design.measure, design.direction)
    model = (spec.sampling_correlation, spec.mechanism, spec.steps, spec.two_sided)
    priors = sorted((name, str(prior)) for name, prior in spec.priors.items())
    digest.update(repr((facts, model, priors)).encode())
    return digest.hexdigest()[:24]


def fit_universe(job: Fit) -> dict[str, Any]:
    """Fit a universe.

    Parameters
    ----------
    job : Fit
        The universe.

    Returns
    -------
    dict
        For JSON, on the analysis scale: ``estimate`` (posterior mean of the first coefficient),
        ``sd``, ``lower``, ``upper``, ``probability_positive``, ``log_bayes_factor`` against zero,
        ``log_marginal_likelihood``, ``tau`` (posterior mean of the total heterogeneity), ``k``,
        ``m``; a number that the engine does not give is None. Or ``error``, with the reason.
    """
    size = {"k": job.design.k, "m": job.design.m}
    try:
        fitted = _selection(job) if job.spec.mechanism != "none" else _normal(job)
    except EngineError as error:
        return {"error": str(error), **size}
    return fitted | size


def _normal(job: Fit) -> dict[str, Any]:
    design, spec = job.design, job.spec
    name = design.coefficients[0]
    null = log_evidence(design, spec, without=(name,))
    if "beta_scale" in spec.priors or design.p > 1:
        return _regression(job, null)
    fit = fit_batch(
        design, spec, design.yi[None], at={name: np.zeros(1)}, intervals=design.coefficients
    )
    if not fit.settled[0]:
        raise EngineError(f"model '{spec.name}': the quadrature did not settle")
    evidence = float(fit.log_marginal_likelihood[0])
    return {
        "estimate": float(fit.mean[name][0]),
        "sd": float(fit.sd[name][0]),
        "lower": float(fit.lower[name][0]),
        "upper": float(fit.upper[name][0]),
        "probability_positive": 1 - float(fit.below[name][0]),
        "log_bayes_factor": evidence - null,
        "log_marginal_likelihood": evidence,
        "tau": float(fit.mean["tau" if "tau" in fit.mean else "tau_between"][0]),
    }


def _regression(job: Fit, null: float) -> dict[str, Any]:
    """Fit a model with moderators, whose coefficients may share a scale."""
    posterior = fit_exact(job.design, job.spec, detail="parameters")
    joint = coefficient_posterior(job.design, job.spec)
    positive = joint.weight @ ndtr(joint.mean[:, 0] / np.sqrt(joint.cov[:, 0, 0]))
    evidence = posterior.log_marginal_likelihood
    assert evidence is not None
    return _summary(job, posterior.estimates) | {
        "probability_positive": float(positive),
        "log_bayes_factor": evidence - null,
        "log_marginal_likelihood": evidence,
    }


def _selection(job: Fit) -> dict[str, Any]:
    posterior = fit_exact(job.design, job.spec)
    name = job.design.coefficients[0]
    positive = None
    if name in posterior.densities:
        x, density = posterior.densities[name]
        above = np.interp(np.linspace(0.0, max(x[-1], 0.0), 2001), x, density, left=0.0)
        total = np.trapezoid(density, x)
        positive = float(np.trapezoid(above, dx=max(x[-1], 0.0) / 2000) / total)
    return _summary(job, posterior.estimates) | {
        "probability_positive": positive,
        "log_bayes_factor": posterior.bayes_factors.get(name),
        "log_marginal_likelihood": posterior.log_marginal_likelihood,
    }


def _summary(job: Fit, estimates: Any) -> dict[str, Any]:
    first = estimates[job.design.coefficients[0]]
    tau = estimates.get("tau") or estimates.get("tau_between")
    return {
        "estimate": first.value,
        "sd": first.sd,
        "lower": first.lower,
        "upper": first.upper,
        "tau": tau.value if tau else None,
    }

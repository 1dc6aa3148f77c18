"""One universe fitted by the exact engine."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from reanalysis.design import Design
from reanalysis.exact import fit_exact, log_evidence
from reanalysis.exact.mixtures import NormalMixtures
from reanalysis.exact.refinement import refined_grids
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

__all__ = ["Fit", "fit_key", "fit_seconds", "fit_universe"]

NORMAL_SECONDS, OTHER_SECONDS = 0.005, 0.5
ENDS = np.array([0.025, 0.975])


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
    # With one effect per sample no sampling errors are correlated.
    correlation = spec.sampling_correlation if design.m < design.k else 0.0
    model = (
        spec.effects,
        correlation,
        spec.mechanism,
        spec.steps,
        spec.two_sided,
    )
    priors = sorted((name, str(prior)) for name, prior in spec.priors.items())
    digest.update(repr((facts, model, priors)).encode())
    return digest.hexdigest()[:24]


def fit_seconds(job: Fit) -> float:
    """Return about how long a fit takes, in seconds.

    Parameters
    ----------
    job : Fit
        The universe.

    Returns
    -------
    float
        For two dozen samples on one core.
    """
    return NORMAL_SECONDS if _is_normal(job.spec) else OTHER_SECONDS


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
        fitted = _normal(job) if _is_normal(job.spec) else _other(job)
    except (EngineError, ArithmeticError, np.linalg.LinAlgError) as error:
        # Among thousands of combinations a matrix may be singular; the others go on.
        return {"error": str(error), **size}
    return fitted | size


def _is_normal(spec: ModelSpec) -> bool:
    return spec.mechanism == "none" and spec.effects == "normal"


def _normal(job: Fit) -> dict[str, Any]:
    design, spec = job.design, job.spec
    name = design.coefficients[0]
    null = log_evidence(design, spec, without=(name,))
    fine = refined_grids(design, spec)[1]
    first = NormalMixtures.of(fine.weight, fine.mean[None, :, 0], fine.cov[None, :, 0, 0])
    (mean,), (sd,) = first.moments()
    lower, upper = first.quantiles(ENDS)[0]
    evidence = fine.log_marginal_likelihood
    return {
        "estimate": float(mean),
        "sd": float(sd),
        "lower": float(lower),
        "upper": float(upper),
        "probability_positive": 1 - float(first.cdf_pdf(np.zeros((1, 1)))[0][0, 0]),
        "log_bayes_factor": evidence - null,
        "log_marginal_likelihood": evidence,
        "tau": float(fine.weight @ fine.values("tau")),
    }


def _other(job: Fit) -> dict[str, Any]:
    """Fit a selection model, PET, PEESE or Student-t effects."""
    posterior = fit_exact(job.design, job.spec, detail="curves")
    name = job.design.coefficients[0]
    first = posterior.estimates[name]
    tau = posterior.estimates.get("tau") or posterior.estimates.get("tau_between")
    positive = None
    if name in posterior.densities:
        x, density = posterior.densities[name]
        above = np.interp(np.linspace(0.0, max(x[-1], 0.0), 2001), x, density, left=0.0)
        total = np.trapezoid(density, x)
        positive = float(np.trapezoid(above, dx=max(x[-1], 0.0) / 2000) / total)
    return {
        "estimate": first.value,
        "sd": first.sd,
        "lower": first.lower,
        "upper": first.upper,
        "probability_positive": positive,
        "log_bayes_factor": posterior.bayes_factors.get(name),
        "log_marginal_likelihood": posterior.log_marginal_likelihood,
        "tau": tau.value if tau else None,
    }

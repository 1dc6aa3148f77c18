"""How the headline model depends on its priors and on each sample, by exact refits.

Nothing here is approximated by weights: every number is a fit of its own.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from reanalysis.dataset import Dataset
from reanalysis.design import Design, resolve_priors
from reanalysis.exact import fit_exact, log_evidence
from reanalysis.multiverse import pair
from reanalysis.priors import Prior
from reanalysis.results import EngineError, Posterior
from reanalysis.spec import ModelSpec

__all__ = ["leave_samples_out", "power_prior", "scale_curve", "scale_priors", "without_sample"]

RAISED = (0.8, 1.25)
MOST_SAMPLES = 300
SCALES = tuple(np.geomspace(0.05, 2.0, 25).round(4).tolist())
GROUPS = {
    "effect": ("mu", "beta"),
    "heterogeneity": ("tau", "tau_between", "tau_within", "between_share"),
}


def scale_curve(
    design: Design, spec: ModelSpec, *, scales: Sequence[float] = SCALES
) -> pd.DataFrame:
    """Return the Bayes factor of the mean against zero, by the scale of its prior.

    Parameters
    ----------
    design : Design
        The data.
    spec : ModelSpec
        The model; its prior of the first coefficient is normal.
    scales : sequence of float
        Standard deviations of that prior, on the analysis scale.

    Returns
    -------
    pandas.DataFrame
        One row per scale: ``scale``, ``log_bayes_factor`` (natural log), ``estimate``, ``lower``,
        ``upper``; and ``stated``, whether it is the model's own, which is always among them.

    Raises
    ------
    EngineError
        If the prior is not normal, or the engine has no method for the model.
    """
    name = design.coefficients[0]
    prior = resolve_priors(design, spec)[name]
    if prior.family != "normal":
        raise EngineError(f"the scale of the prior of '{name}' is varied only if normal")
    own = prior.parameters["sigma"]
    null = log_evidence(design, spec, without=(name,))
    rows = []
    for scale in sorted({*(float(s) for s in scales), own}):
        wide = Prior("normal", {"mu": prior.parameters["mu"], "sigma": scale})
        posterior = _fit(design, replace(spec, priors={**spec.priors, _key(name): wide}))
        mean = posterior.estimates[name]
        rows.append(
            {
                "scale": scale,
                "log_bayes_factor": _evidence(posterior) - null,
                "estimate": mean.value,
                "lower": mean.lower,
                "upper": mean.upper,
                "stated": scale == own,
            }
        )
    return pd.DataFrame(rows)


def leave_samples_out(data: Dataset, spec: ModelSpec) -> pd.DataFrame:
    """Refit without each sample in turn.

    Parameters
    ----------
    data : Dataset
        The data.
    spec : ModelSpec
        The model; ``mechanism`` must be ``none``.

    Returns
    -------
    pandas.DataFrame
        One row per sample: ``sample``, ``k`` (its effects), ``estimate``, ``lower``, ``upper`` and
        ``tau`` without it, ``log_bayes_factor`` against zero; ``shift`` of the estimate in
        posterior standard deviations of the full fit; ``log_bayes_factor_change``, what the
        sample itself adds to the evidence; and ``log_predictive``, the log density of the sample
        given all the others, its true effects integrated out.

    Raises
    ------
    EngineError
        If the engine has no method for the model.

    Notes
    -----
    The log density of a sample given the others is the difference of two log marginal
    likelihoods, so it needs no importance weights.
    """
    design, paired = pair(data, spec)
    if design.m < 2:
        raise EngineError("one sample: without it nothing is left")
    if design.m > MOST_SAMPLES:
        raise EngineError(
            f"{design.m:,} samples, each left out in turn, take too long; at most {MOST_SAMPLES}"
        )
    name = design.coefficients[0]
    full = _fit(design, paired)
    mean, factor = full.estimates[name], _log_bayes_factor(design, paired, full)
    assert mean.sd is not None
    rows = []
    for j, sample in enumerate(design.cluster_names):
        rest = without_sample(design, j)
        # Should only one effect per sample be left, the priors still split the heterogeneity,
        # so that the model stays the same.
        posterior = _fit(rest, paired)
        estimate = posterior.estimates[name]
        tau = posterior.estimates.get("tau", posterior.estimates["tau_between"])
        without = _log_bayes_factor(rest, paired, posterior)
        rows.append(
            {
                "sample": sample,
                "k": int(np.sum(design.cluster == j)),
                "estimate": estimate.value,
                "lower": estimate.lower,
                "upper": estimate.upper,
                "tau": tau.value,
                "log_bayes_factor": without,
                "shift": (estimate.value - mean.value) / mean.sd,
                "log_bayes_factor_change": factor - without,
                "log_predictive": _evidence(full) - _evidence(posterior),
            }
        )
    return pd.DataFrame(rows)


def scale_priors(
    design: Design, spec: ModelSpec, *, alphas: Sequence[float] = RAISED
) -> pd.DataFrame:
    """Raise the priors of one group at a time to a power, and refit.

    Parameters
    ----------
    design : Design
        The data.
    spec : ModelSpec
        The model.
    alphas : sequence of float
        Powers; below 1 weakens a prior, above 1 strengthens it.

    Returns
    -------
    pandas.DataFrame
        One row per group (``effect``, ``heterogeneity``), power and parameter: ``group``,
        ``alpha``, ``parameter``, ``estimate``, ``sd``, ``lower``, ``upper``, and ``shift`` from the
        stated priors in their posterior standard deviations.

    Raises
    ------
    EngineError
        If the power of a prior is no prior of a known family.

    References
    ----------
    Kallioinen, N., Paananen, T., Bürkner, P.-C., & Vehtari, A. (2024). Statistics and Computing,
    34, 57. They reweight draws; here each power is a fit.
    """
    priors = resolve_priors(design, spec)
    stated = _fit(design, spec)
    rows = []
    for group, names in GROUPS.items():
        for alpha in alphas:
            raised = dict(spec.priors)
            for name, prior in priors.items():
                if name in names or (group == "effect" and name in design.coefficients):
                    raised[_key(name)] = power_prior(prior, alpha)
            posterior = _fit(design, replace(spec, priors=raised))
            for parameter, before in stated.estimates.items():
                after = posterior.estimates[parameter]
                assert before.sd is not None
                rows.append(
                    {
                        "group": group,
                        "alpha": float(alpha),
                        "parameter": parameter,
                        "estimate": after.value,
                        "sd": after.sd,
                        "lower": after.lower,
                        "upper": after.upper,
                        "shift": (after.value - before.value) / before.sd,
                    }
                )
    return pd.DataFrame(rows)


def power_prior(prior: Prior, alpha: float) -> Prior:
    """Return the distribution whose density is proportional to a prior's raised to a power.

    Parameters
    ----------
    prior : Prior
        The prior.
    alpha : float
        Power, greater than 0.

    Returns
    -------
    Prior
        Of the same family (a half-Cauchy becomes a half-Student-t).

    Raises
    ------
    EngineError
        If the power is not integrable or of no known family.
    """
    p = prior.parameters
    family: str = prior.family
    if alpha <= 0:
        raise EngineError(f"a prior is raised to a power above 0, not {alpha}")
    if family in ("normal", "half_normal"):
        new = {**p, "sigma": p["sigma"] / np.sqrt(alpha)}
    elif family == "uniform":
        new = dict(p)
    elif family == "exponential":
        new = {"rate": alpha * p["rate"]}
    elif family == "gamma":
        new = {"alpha": alpha * (p["alpha"] - 1) + 1, "beta": alpha * p["beta"]}
    elif family == "inverse_gamma":
        new = {"alpha": alpha * (p["alpha"] + 1) - 1, "beta": alpha * p["beta"]}
    elif family == "beta":
        new = {name: alpha * (value - 1) + 1 for name, value in p.items()}
    elif family == "lognormal":
        # exp(-alpha (log x - mu)² / 2 sigma²) x^-alpha: complete the square in log x.
        variance = p["sigma"] ** 2
        new = {"mu": p["mu"] + (1 / alpha - 1) * variance, "sigma": p["sigma"] / np.sqrt(alpha)}
    else:  # Student's t and Cauchy: (1 + z²/nu)^(-alpha (nu + 1) / 2)
        nu = p.get("nu", 1.0)
        degrees = alpha * (nu + 1) - 1
        if degrees <= 0:
            raise EngineError(f"{prior} to the power of {alpha:g} has no integral")
        new = {**p, "nu": degrees, "sigma": p["sigma"] * np.sqrt(nu / degrees)}
        family = {"cauchy": "student_t", "half_cauchy": "half_student_t"}.get(family, family)
    try:
        return Prior(family, new)
    except ValueError as error:
        raise EngineError(f"{prior} to the power of {alpha:g} is no prior: {error}") from None


def _fit(design: Design, spec: ModelSpec) -> Posterior:
    if spec.mechanism != "none":
        raise EngineError(f"sensitivity has no method for mechanism '{spec.mechanism}'")
    if design.scale is not None:
        raise EngineError("sensitivity has no method for heterogeneity that a moderator changes")
    return fit_exact(design, spec, detail="parameters")


def _evidence(posterior: Posterior) -> float:
    assert posterior.log_marginal_likelihood is not None
    return posterior.log_marginal_likelihood


def _log_bayes_factor(design: Design, spec: ModelSpec, posterior: Posterior) -> float:
    return _evidence(posterior) - log_evidence(design, spec, without=design.coefficients[:1])


def _key(name: str) -> str:
    """Return the entry of a spec that sets the prior of a coefficient."""
    return "mu" if name == "beta[intercept]" else name


def without_sample(design: Design, j: int) -> Design:
    """Return a design without one sample; what its rows alone told stays in the model.

    Parameters
    ----------
    design : Design
        The design.
    j : int
        Code of the sample.

    Returns
    -------
    Design
        With one sample less, and the same parameters.
    """
    keep = design.cluster != j
    names = tuple(name for i, name in enumerate(design.cluster_names) if i != j)
    cluster = design.cluster[keep]
    return replace(
        design,
        yi=design.yi[keep],
        vi=design.vi[keep],
        X=design.X[keep],
        cluster=np.where(cluster > j, cluster - 1, cluster),
        cluster_names=names,
        row_names=tuple(name for name, k in zip(design.row_names, keep, strict=True) if k),
        n_averaged=design.n_averaged[keep],
        n_measured=None if design.n_measured is None else np.delete(design.n_measured, j),
        ni=None if design.ni is None else design.ni[keep],
        V=None if design.V is None else design.V[np.ix_(keep, keep)],
        rows=design.rows[keep],
        moderators={name: values[keep] for name, values in design.moderators.items()},
    )

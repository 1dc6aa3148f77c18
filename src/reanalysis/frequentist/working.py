"""From ``(design, spec)`` to what the frequentist functions work on.

The one place that reads the model specification: the number it takes for the sampling
correlation, and the extra column of a PET or PEESE model.
"""

import numpy as np
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.frequentist.likelihood import Likelihood, make_likelihood
from reanalysis.frequentist.regression import with_predictor
from reanalysis.priors import Prior
from reanalysis.results import EngineError, FrequentistFit
from reanalysis.spec import ModelSpec

__all__ = ["fitted_likelihood", "sampling_correlation", "working_design"]


Vector = NDArray[np.float64]


def sampling_correlation(spec: ModelSpec) -> float:
    """Return the sampling correlation as a number: the median of a prior.

    Parameters
    ----------
    spec : ModelSpec
        The model.

    Returns
    -------
    float
        The correlation of sampling errors within a sample.
    """
    rho = spec.sampling_correlation
    return float(rho.ppf(0.5)) if isinstance(rho, Prior) else float(rho)


def working_design(design: Design, spec: ModelSpec) -> Design:
    """Return the design with the column of a PET or PEESE model.

    Parameters
    ----------
    design : Design
        The arrays of the model.
    spec : ModelSpec
        The model; only its mechanism is read.

    Returns
    -------
    Design
        The same design, with a last column ``pet`` (standard errors) or ``peese`` (sampling
        variances) where the mechanism asks for one.

    Raises
    ------
    EngineError
        If the mechanism is a selection model, which has no restricted likelihood, the effects are
        Student-t, or the heterogeneity depends on a moderator.

    References
    ----------
    Stanley, T. D., & Doucouliagos, H. (2014). Research Synthesis Methods, 5, 60-78.
    """
    if design.scale is not None:
        raise EngineError(
            f"model '{spec.name}' has a scale_moderator; of the frequentist methods only fit_reml "
            "takes it."
        )
    if spec.effects != "normal":
        raise EngineError(
            f"model '{spec.name}' has Student-t effects, for which there is no REML; leave 'reml' "
            "out of its engines."
        )
    if spec.mechanism == "none":
        return design
    if spec.mechanism not in ("pet", "peese"):
        raise EngineError(
            f"REML has no selection model for the mechanism '{spec.mechanism}'; "
            "for two-level data fit_selmodel gives the maximum-likelihood fit."
        )
    return with_predictor(design, "sei" if spec.mechanism == "pet" else "vi", spec.mechanism)


def fitted_likelihood(
    design: Design, spec: ModelSpec, fit: FrequentistFit
) -> tuple[Design, Likelihood, Vector]:
    """Return what a fit was made from, and its variance components.

    Parameters
    ----------
    design : Design
        The arrays of the model.
    spec : ModelSpec
        The model.
    fit : FrequentistFit
        The fit of that design and model.

    Returns
    -------
    work : Design
        The design with the column of a PET or PEESE model.
    likelihood : Likelihood
        Its likelihood.
    tau2 : numpy.ndarray of shape (c,)
        The fitted variance components, in the order of the likelihood.

    Raises
    ------
    ValueError
        If the fit has other coefficients than the model, so that it cannot be its fit.
    """
    work = working_design(design, spec)
    if fit.coefficients != work.coefficients:
        raise ValueError(
            f"the fit has the coefficients {', '.join(fit.coefficients)}, the model has "
            f"{', '.join(work.coefficients)}; pass the fit of this design and model."
        )
    likelihood = make_likelihood(work, sampling_correlation(spec), fit.method)
    components = likelihood.structure.components
    return work, likelihood, np.array([fit.tau2_between, fit.tau2_within])[: len(components)]

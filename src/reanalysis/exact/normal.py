"""The exact engine of the two- and three-level normal model.

Coefficients are integrated analytically, the variance parameters by quadrature. Each answer is
computed on two grids; their difference is its numerical error. Where it stays above the tolerance
on the finest grid, nothing is returned.
"""

from dataclasses import replace
from typing import Literal

from reanalysis.design import Design
from reanalysis.exact.coefficients import CoefficientPosterior
from reanalysis.exact.evidence import log_bayes_factors
from reanalysis.exact.normal_estimates import density_curves, parameter_estimates, predictions
from reanalysis.exact.refinement import make_problem, refine, refined_grids
from reanalysis.exact.shrinkage import shrink
from reanalysis.results import Posterior
from reanalysis.spec import ModelSpec

__all__ = ["Detail", "coefficient_posterior", "fit_normal"]

Detail = Literal["full", "curves", "parameters"]


def fit_normal(design: Design, spec: ModelSpec, *, detail: Detail = "full") -> Posterior:
    """Fit the normal model by quadrature.

    Parameters
    ----------
    design : Design
        The data of the model.
    spec : ModelSpec
        The model; ``mechanism`` must be ``none``.
    detail : str
        ``parameters`` leaves out what is derived from the parameters: predictions, the mean
        correlation, density curves, Bayes factors and the true effects of the rows; ``curves``
        keeps the density curves.

    Returns
    -------
    Posterior
        With engine ``exact``, each estimate with its numerical error.

    Raises
    ------
    EngineError
        If a coefficient's prior is not normal, or the tolerance is not reached.
    """
    problem = make_problem(design, spec)
    coarse, fine = refine(problem, spec.name)
    estimates = parameter_estimates(design, fine, coarse)
    evidence = fine.log_marginal_likelihood
    posterior = Posterior(
        engine="exact",
        estimates=estimates,
        log_marginal_likelihood=evidence,
        log_marginal_likelihood_error=abs(evidence - coarse.log_marginal_likelihood),
    )
    if detail == "parameters":
        return posterior
    posterior = replace(posterior, densities=density_curves(design, fine, estimates))
    if detail == "curves":
        return posterior
    return replace(
        posterior,
        estimates=estimates | predictions(design, fine, coarse),
        bayes_factors=log_bayes_factors(design, problem, evidence, spec.name),
        effects=shrink(design, fine.merged()),
    )


def coefficient_posterior(design: Design, spec: ModelSpec) -> CoefficientPosterior:
    """Return the joint posterior of the coefficients.

    Parameters
    ----------
    design : Design
        The data of the model.
    spec : ModelSpec
        The model; ``mechanism`` must be ``none``.

    Returns
    -------
    CoefficientPosterior
        A mixture of normals, for any linear combination of the coefficients.

    Raises
    ------
    EngineError
        As for `fit_normal`.
    """
    coarse, fine = refined_grids(design, spec)
    return CoefficientPosterior.of(fine.weight, fine.mean, fine.cov, coarse.weight @ coarse.mean)

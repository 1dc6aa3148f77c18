"""Deterministic engines: the posterior by quadrature, with a stated numerical error."""

from reanalysis.design import Design
from reanalysis.exact.normal import fit_normal, log_evidence
from reanalysis.results import EngineError, Posterior
from reanalysis.spec import ModelSpec

__all__ = ["fit_exact", "log_evidence"]


def fit_exact(
    design: Design, spec: ModelSpec, *, effects: bool = True, bayes_factors: bool = True
) -> Posterior:
    """Fit a model by quadrature.

    Parameters
    ----------
    design : Design
        The data of the model.
    spec : ModelSpec
        The model.
    effects : bool
        Whether to compute the true effect of every row.
    bayes_factors : bool
        Whether to compute Bayes factors against each parameter being zero.

    Returns
    -------
    Posterior
        With engine ``exact``; every estimate has its numerical error.

    Raises
    ------
    EngineError
        If the engine has no method for the model, or cannot reach its tolerance.
    """
    if spec.mechanism != "none":
        raise EngineError(f"the exact engine has no method for mechanism '{spec.mechanism}' yet")
    return fit_normal(design, spec, effects=effects, bayes_factors=bayes_factors)

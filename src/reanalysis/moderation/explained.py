"""How much of the variance of true effects the priors have the moderators explain."""

import numpy as np

from reanalysis.design import Design, resolve_priors
from reanalysis.moderators import COMMON_SCALE, INTERCEPT
from reanalysis.priors import Prior
from reanalysis.spec import ModelSpec

__all__ = ["explained_a_priori"]

NODES = 120  # equally likely values of each prior: a quantile is good to about one in a hundred
PROBABILITIES = (0.05, 0.5, 0.95)


def explained_a_priori(design: Design, spec: ModelSpec) -> tuple[float, float, float] | None:
    """Return the prior of the share of the variance of true effects that moderators explain.

    Parameters
    ----------
    design : Design
        The data of a model with moderators.
    spec : ModelSpec
        The model.

    Returns
    -------
    tuple of float or None
        Quantiles at .05, .5 and .95 of ``e / (e + tau²)``, with the variance e that coefficients
        of their prior standard deviation give to the rows, and the total heterogeneity tau. None
        where a coefficient's prior is not normal, or a moderator changes the heterogeneity.

    Notes
    -----
    This is the R² on which R2-D2 and its kin put their prior. Here it follows: if the standard
    deviations that moderators and heterogeneity give the effects have the same half-normal prior,
    it is Beta(1/2, 1/2), independent of their total.

    References
    ----------
    Zhang, Y. D., Naughton, B. P., Bondell, H. D., & Reich, B. J. (2022). Journal of the American
    Statistical Association, 117, 862-874.
    """
    priors = resolve_priors(design, spec)
    own = {name: priors[name] for name in design.coefficients if name != INTERCEPT}
    if design.scale is not None or any(prior.family != "normal" for prior in own.values()):
        return None
    sd = np.array([prior.parameters["sigma"] for prior in own.values()])
    explained = float(np.var(design.X[:, 1:], axis=0) @ sd**2)
    scale2 = _squares(priors[COMMON_SCALE]) if COMMON_SCALE in priors else np.ones(1)
    if "tau" in priors or design.levels == 2:
        tau2 = _squares(priors["tau" if "tau" in priors else "tau_between"])
    else:
        parts = (_squares(priors[name]) for name in ("tau_between", "tau_within"))
        tau2 = np.add.outer(*parts).ravel()
    explained2 = explained * scale2[:, None]
    low, middle, high = np.quantile(explained2 / (explained2 + tau2), PROBABILITIES)
    return float(low), float(middle), float(high)


def _squares(prior: Prior) -> np.ndarray:
    """Return squares of equally likely values of a standard deviation."""
    return np.asarray(prior.ppf((np.arange(NODES) + 0.5) / NODES)) ** 2

"""From ``(design, spec)`` to what the frequentist functions work on.

The one place that reads the model specification: the number it takes for the sampling
correlation, and the extra column of a PET or PEESE model.
"""

from typing import TYPE_CHECKING

from reanalysis.design import Design
from reanalysis.frequentist.regression import with_predictor
from reanalysis.priors import Prior
from reanalysis.results import EngineError

if TYPE_CHECKING:
    from reanalysis.spec import ModelSpec

__all__ = ["sampling_correlation", "working_design"]


def sampling_correlation(spec: "ModelSpec") -> float:
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


def working_design(design: Design, spec: "ModelSpec") -> Design:
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
        If the mechanism is a selection model, which has no restricted likelihood.

    References
    ----------
    Stanley, T. D., & Doucouliagos, H. (2014). Research Synthesis Methods, 5, 60-78.
    """
    if spec.mechanism == "none":
        return design
    if spec.mechanism not in ("pet", "peese"):
        raise EngineError(
            f"REML has no selection model for the mechanism '{spec.mechanism}'; "
            "for two-level data fit_selmodel gives the maximum-likelihood fit."
        )
    return with_predictor(design, "sei" if spec.mechanism == "pet" else "vi", spec.mechanism)

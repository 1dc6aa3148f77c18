"""What the mean becomes for weights that are assumed rather than estimated.

Where the data do not say how strong selection was, the honest answer is a curve: the mean for
every strength, down to the worst case in which only significant effects are informative
(compare Mathur & VanderWeele 2020, JRSS C, 69(5), 1091-1119, for the frequentist idea).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize

from reanalysis.design import Design, resolve_priors
from reanalysis.exact.selection import fit_exact_selection
from reanalysis.priors import Prior
from reanalysis.results import EngineError, Estimate
from reanalysis.selection import WeightPrior
from reanalysis.spec import ModelSpec

__all__ = ["AssumedWeights", "assess_sensitivity"]

WORST = 1e-6  # a weight that leaves the other bins without information about the mean
GRID = (1.0, 0.8, 0.6, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, WORST)
LOG_WEIGHT_TOLERANCE = 0.01  # the tipping weight to one per cent


@dataclass(frozen=True, eq=False)
class AssumedWeights:
    """The mean against the assumed strength of selection.

    Attributes
    ----------
    model, mechanism, parameter : str
        The model, its mechanism, and the coefficient.
    curve : pandas.DataFrame
        One row per assumed weight of every bin but the most significant: ``weight``, ``value``,
        ``sd``, ``median``, ``lower``, ``upper`` (central 95 %) and ``log_marginal_likelihood``
        (comparable between rows, except that the prior of the weight is left out).
    tipping_weight : float or None
        Largest weight at which the interval touches zero; None if it never does.
    sentence : str
        The same in words.
    """

    model: str
    mechanism: str
    parameter: str
    curve: pd.DataFrame
    tipping_weight: float | None
    sentence: str

    def document(self) -> dict[str, Any]:
        """Return everything, for JSON; without a tipping weight None stands for it."""
        return {
            "model": self.model,
            "mechanism": self.mechanism,
            "parameter": self.parameter,
            "tipping_weight": self.tipping_weight,
            "sentence": self.sentence,
            "curve": self.curve.to_dict(orient="records"),
        }


def assess_sensitivity(
    design: Design,
    spec: ModelSpec,
    priors: Mapping[str, Prior] | None = None,
    *,
    weights: Sequence[float] = GRID,
    direction: int = 1,
) -> AssumedWeights:
    """Refit a selection model with weights held at assumed values.

    Parameters
    ----------
    design : Design
        The data.
    spec : ModelSpec
        Model with a selection mechanism.
    priors : mapping of str to Prior, optional
        Priors; those of the spec by default.
    weights : sequence of float
        Assumed weights in (0, 1], given to every bin but the most significant.
    direction : int
        Expected direction of the effects, 1 or -1.

    Returns
    -------
    AssumedWeights
        Curve and tipping weight of the first coefficient.

    Raises
    ------
    ValueError
        If a weight is outside (0, 1].
    EngineError
        If the spec has no selection mechanism, or a fit fails.
    """
    if spec.mechanism in ("none", "pet", "peese"):
        raise EngineError(f"mechanism '{spec.mechanism}' has no weights to vary")
    bad = [w for w in weights if not 0 < w <= 1]
    if bad or len(weights) < 2:
        raise ValueError(f"weights must be two or more values in (0, 1], not {list(weights)}")
    priors = resolve_priors(design, spec) if priors is None else priors
    name = design.coefficients[0]
    about = spec.name, spec.mechanism, name

    def fit(weight: float) -> tuple[Estimate, float]:
        values = np.r_[1.0, np.full(len(spec.steps), weight)]
        posterior = fit_exact_selection(
            design,
            spec,
            priors,
            weights=WeightPrior.fixed(values),
            two_sided=spec.two_sided,
            direction=direction,
        )
        assert posterior.log_marginal_likelihood is not None
        return posterior.estimates[name], posterior.log_marginal_likelihood

    ordered = sorted(weights, reverse=True)
    fits = [fit(weight) for weight in ordered]
    curve = pd.DataFrame(
        [
            (w, e.value, e.sd, e.median, e.lower, e.upper, m)
            for w, (e, m) in zip(ordered, fits, strict=True)
        ],
        columns=["weight", "value", "sd", "median", "lower", "upper", "log_marginal_likelihood"],
    )

    def nearest_end(estimate: Estimate) -> float:
        """Return the end of the interval next to zero, in the expected direction."""
        assert estimate.lower is not None and estimate.upper is not None
        return estimate.lower if direction == 1 else -estimate.upper

    ends = np.array([nearest_end(e) for e, _ in fits])
    if ends[0] <= 0:
        return AssumedWeights(
            *about,
            curve,
            ordered[0],
            f"The 95 % interval includes zero already with a weight of {ordered[0]:g}.",
        )
    crossed = np.flatnonzero(ends <= 0)
    if not crossed.size:
        return AssumedWeights(
            *about,
            curve,
            None,
            f"No weight down to {ordered[-1]:g} brings the 95 % interval to zero.",
        )
    first = int(crossed[0])
    root = optimize.brentq(
        lambda x: nearest_end(fit(float(np.exp(x)))[0]),
        np.log(ordered[first]),
        np.log(ordered[first - 1]),
        xtol=LOG_WEIGHT_TOLERANCE,
    )
    tipping = float(np.exp(root))
    return AssumedWeights(
        *about,
        curve,
        tipping,
        f"The 95 % interval reaches zero once a result outside the most significant bin is "
        f"published {1 / tipping:.1f} times less often than one in it (weight {tipping:.2g}).",
    )

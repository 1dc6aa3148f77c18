"""Profile-likelihood intervals of the variance components.

The interval holds every value that a likelihood-ratio test would not reject, with the other
components at their best for that value. Wald intervals of variances are no alternative: the
likelihood is skewed and ends at zero (Hardy & Thompson 1996, Statistics in Medicine 15, 619-629;
Viechtbauer 2007, Statistics in Medicine 26, 37-52).
"""

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from reanalysis.design import Design
from reanalysis.frequentist.likelihood import Evaluation, Likelihood
from reanalysis.frequentist.optimise import climb
from reanalysis.frequentist.working import fitted_likelihood
from reanalysis.results import FrequentistFit
from reanalysis.spec import ModelSpec

__all__ = ["profile_curve", "profile_intervals"]

Vector = NDArray[np.float64]

ENDS_TOLERANCE = 1e-9  # relative, of an interval's end
MAX_STEPS_UP = 13  # each four times the last: an end beyond 7e7 typical variances is infinite


def profile_intervals(
    likelihood: Likelihood, best: Evaluation, level: float = 0.95
) -> pd.DataFrame:
    """Return profile-likelihood intervals of every variance component.

    Parameters
    ----------
    likelihood : Likelihood
        The fitted likelihood.
    best : Evaluation
        Its maximum.
    level : float, default 0.95
        Coverage.

    Returns
    -------
    pandas.DataFrame
        One row per component: ``component``, ``tau2``, ``tau2_lower``, ``tau2_upper``, ``tau``,
        ``tau_lower``, ``tau_upper``, ``level``. A lower end of 0 says that zero is not rejected;
        an infinite upper end that no value is.
    """
    drop = float(special.chdtri(1, 1 - level)) / 2
    rows = []
    for index, name in enumerate(likelihood.structure.components):
        lower, upper = (
            _end(likelihood, best, index, drop, upwards=upwards) for upwards in (False, True)
        )
        tau2 = float(best.tau2[index])
        rows.append((name, tau2, lower, upper, *np.sqrt([tau2, lower, upper]), level))
    names = ["component", "tau2", "tau2_lower", "tau2_upper"]
    return pd.DataFrame(rows, columns=[*names, "tau", "tau_lower", "tau_upper", "level"])


def profile_curve(
    design: Design,
    spec: ModelSpec,
    fit: FrequentistFit,
    component: Literal["tau_between", "tau_within"] = "tau_between",
    *,
    points: int = 41,
) -> pd.DataFrame:
    """Return the profile log-likelihood of one variance component, for a figure.

    Parameters
    ----------
    design : Design
        The arrays of the model.
    spec : ModelSpec
        The model.
    fit : FrequentistFit
        The fit of that design and model.
    component : {"tau_between", "tau_within"}, default "tau_between"
        The component.
    points : int, default 41
        Number of points, equally spaced in tau from 0 to beyond the 95 % interval.

    Returns
    -------
    pandas.DataFrame
        ``tau`` and ``loglik``, the latter relative to the maximum (0 or less).
    """
    _, likelihood, tau2 = fitted_likelihood(design, spec, fit)
    best = likelihood.at(tau2, derivatives=True)
    index = likelihood.structure.components.index(component)
    upper = _end(likelihood, best, index, float(special.chdtri(1, 0.05)) / 2, upwards=True)
    taus = np.linspace(0.0, 1.2 * np.sqrt(upper), points)
    guess, logliks = best, []
    for tau in taus:
        guess = _profiled(likelihood, guess, index, float(tau**2))
        logliks.append(guess.loglik - best.loglik)
    return pd.DataFrame({"tau": taus, "loglik": logliks})


def _end(
    likelihood: Likelihood, best: Evaluation, index: int, drop: float, *, upwards: bool
) -> float:
    """Return the value of a component at which the profile has fallen by `drop`."""
    target = best.loglik - drop
    inside = best
    if upwards:
        # All of the heterogeneity: a component at zero may be hidden by one that is not.
        reach = float(np.median(likelihood.structure.vi)) + 2.0 * float(best.tau2.sum())
        for _ in range(MAX_STEPS_UP):
            outside = _profiled(likelihood, inside, index, reach)
            if outside.loglik < target:
                break
            inside, reach = outside, 4.0 * reach
        else:
            return float(np.inf)
    else:
        outside = _profiled(likelihood, best, index, 0.0)
        if outside.loglik >= target:
            return 0.0
    low, high = np.sqrt([inside.tau2[index], outside.tau2[index]])
    # Newton on the scale of tau, where the profile is closest to a parabola; by the envelope
    # theorem its slope is the component's own derivative. Bisection where a step leaves the
    # bracket.
    here, tau = outside, float(high)
    while abs(high - low) > ENDS_TOLERANCE * max(high, low):
        slope = 2.0 * tau * here.gradient[index]
        step = (target - here.loglik) / slope if slope != 0 else np.inf
        ahead = tau + step
        if not min(low, high) < ahead < max(low, high):
            ahead = (low + high) / 2
        small = abs(ahead - tau) <= ENDS_TOLERANCE * ahead
        tau = float(ahead)
        if small:
            break
        here = _profiled(likelihood, here, index, tau**2)
        if here.loglik >= target:
            low = tau
        else:
            high = tau
    return tau**2


def _profiled(likelihood: Likelihood, guess: Evaluation, index: int, value: float) -> Evaluation:
    """Return the best likelihood with one component held at a value."""
    start = guess.tau2.tolist()
    start[index] = value
    free = [position != index for position in range(len(start))]
    if any(free):
        floor = 1e-3 * float(np.median(likelihood.structure.vi))
        end = climb(likelihood, start, free, floor)
        assert end is not None  # only a rival makes a climb give up
        start = end.evaluation.tau2.tolist()
    return likelihood.at(np.array(start), derivatives=True)

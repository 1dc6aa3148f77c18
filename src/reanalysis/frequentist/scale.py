"""REML and ML for a model whose heterogeneity depends on a moderator.

Given the log ratio of the standard deviations the model is an ordinary one of rescaled rows
(`Design.rescaled`); its likelihood is profiled over the ratio, which has one dimension.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from reanalysis.design import LOG_TAU_RATIO, Design
from reanalysis.frequentist.distributions import chi2_sf
from reanalysis.results import EngineError, Estimate, FrequentistFit
from reanalysis.spec import ModelSpec

__all__ = ["fit_scale_profile"]

REACH = 5.0  # log ratio: beyond it one of the two levels has no heterogeneity to speak of
STEPS = 41
DROP = 1.920729  # half the .95 quantile of chi-square with one degree of freedom
FLAT = 1e-7  # log-likelihood: no heterogeneity anywhere
Fit = Callable[[Design], FrequentistFit]


@dataclass(frozen=True, eq=False)
class _Profile:
    """The log-likelihood along the log ratio."""

    design: Design
    fit: Fit
    restricted: bool

    def at(self, ratio: float) -> FrequentistFit:
        """Return the fit at a ratio, its log-likelihood that of the rows as they are."""
        design = self.design.rescaled(ratio)
        fit = self.fit(design)
        assert self.design.scale is not None
        loglik = fit.loglik - ratio * float(self.design.scale.sum())
        if self.restricted:  # the restricted likelihood is that of an orthonormal basis of X
            loglik += 0.5 * (_log_volume(self.design) - _log_volume(design))
        return replace(fit, loglik=loglik)

    def loss(self, ratio: float) -> float:
        """Return minus the log-likelihood."""
        return -self.at(ratio).loglik


def fit_scale_profile(
    design: Design, spec: ModelSpec, fit: Fit, *, restricted: bool
) -> FrequentistFit:
    """Fit a model of the heterogeneity by profiling over the ratio of its standard deviations.

    Parameters
    ----------
    design : Design
        The arrays of the model, with a ``scale``.
    spec : ModelSpec
        The model; named in messages.
    fit : callable
        Fits a design without a scale moderator.
    restricted : bool
        Whether `fit` maximises the restricted likelihood.

    Returns
    -------
    FrequentistFit
        At the best ratio. ``tau_between`` and ``tau_within`` are those where the moderator is
        zero; ``log_tau_ratio`` has its profile-likelihood interval (an end beyond 5 is left out)
        and the p-value of the likelihood-ratio test against 0. Coefficients are given the ratio.

    Raises
    ------
    EngineError
        If the heterogeneity is estimated as zero, everywhere or at one end of the moderator, so
        that the ratio has no finite estimate.

    References
    ----------
    Viechtbauer, W., & Lopez-Lopez, J. A. (2022). Research Synthesis Methods, 13, 697-715.
    """
    profile = _Profile(design, fit, restricted)
    ratios = np.linspace(-REACH, REACH, STEPS)
    losses = np.array([profile.loss(ratio) for ratio in ratios.tolist()])
    at = int(np.argmin(losses))
    if np.ptp(losses) < FLAT:
        raise EngineError(
            f"model '{spec.name}': the heterogeneity is estimated as zero, so how it depends on "
            f"'{spec.scale_moderator}' cannot be estimated."
        )
    if at in (0, STEPS - 1):
        raise EngineError(
            f"model '{spec.name}': the likelihood still rises at a {np.exp(REACH):.0f}-fold ratio "
            f"of the standard deviations: at one end of '{spec.scale_moderator}' the heterogeneity "
            "is estimated as zero, so the ratio has no finite estimate."
        )
    low, high = ratios[at - 1], ratios[at + 1]
    found = optimize.minimize_scalar(
        profile.loss, bounds=(low, high), method="bounded", options={"xatol": 1e-8}
    )
    best = profile.at(float(found.x))
    limit = -best.loglik + DROP
    ends = [_end(profile, float(found.x), side * REACH, limit) for side in (-1.0, 1.0)]
    gain = 2 * (best.loglik - profile.at(0.0).loglik)
    estimate = Estimate(
        LOG_TAU_RATIO,
        float(found.x),
        lower=ends[0],
        upper=ends[1],
        interval="profile likelihood",
        p=chi2_sf(max(gain, 0.0), 1),
    )
    return replace(best, estimates={**best.estimates, LOG_TAU_RATIO: estimate})


def _end(profile: _Profile, start: float, stop: float, limit: float) -> float | None:
    """Return where the profile crosses the limit on the way from its top; None if it does not."""
    path = np.linspace(start, stop, STEPS).tolist()
    before = path[0]
    for ratio in path[1:]:
        if profile.loss(ratio) > limit:
            return float(optimize.brentq(lambda x: profile.loss(x) - limit, before, ratio))
        before = ratio
    return None


def _log_volume(design: Design) -> float:
    return float(np.linalg.slogdet(design.X.T @ design.X)[1])

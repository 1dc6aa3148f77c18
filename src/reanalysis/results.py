"""What the engines return: estimates, posteriors, frequentist fits and their diagnostics.

Records only. The engines fill them, `reanalysis.comparison` sets them side by side and the report
prints them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Diagnostics",
    "EngineError",
    "Estimate",
    "FrequentistFit",
    "Posterior",
    "estimates_table",
]

Scale = Literal["analysis", "r"]


class EngineError(RuntimeError):
    """An engine cannot give a trustworthy answer for this model; the message says why."""


@dataclass(frozen=True)
class Estimate:
    """One number with its uncertainty.

    Attributes
    ----------
    parameter : str
        Name as in CONTRACT: ``mu``, ``beta[late]``, ``tau_between``, ...
    value : float
        Posterior mean, or the frequentist estimate.
    sd : float or None
        Posterior standard deviation, or standard error; None where it is not defined.
    lower, upper : float or None
        Ends of the interval; None where it is not defined.
    level : float
        Coverage of the interval.
    interval : str
        Kind of interval: ``equal-tailed``, ``Wald z``, ``t(containment)``, ``profile``, ...
    median : float or None
        Posterior median.
    p : float or None
        Two-sided p-value of the test against zero.
    numerical_error : float or None
        Monte-Carlo standard error of the mean, or the change on refining the grid.
    scale : str
        ``analysis`` (Fisher z for ZCOR) or ``r``.
    """

    parameter: str
    value: float
    sd: float | None = None
    lower: float | None = None
    upper: float | None = None
    level: float = 0.95
    interval: str = "equal-tailed"
    median: float | None = None
    p: float | None = None
    numerical_error: float | None = None
    scale: Scale = "analysis"


def estimates_table(estimates: Mapping[str, Estimate]) -> pd.DataFrame:
    """Return estimates as a table, one row per parameter.

    Parameters
    ----------
    estimates : mapping of str to Estimate
        Estimates by parameter name.

    Returns
    -------
    pandas.DataFrame
        Indexed by parameter; columns that no estimate fills are left out.
    """
    columns = ["value", "sd", "median", "lower", "upper", "p", "numerical_error", "interval"]
    rows = {name: [getattr(e, c) for c in columns] for name, e in estimates.items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    table.index.name = "parameter"
    return table.dropna(axis="columns", how="all")


@dataclass(frozen=True)
class Diagnostics:
    """The convergence gate of a sampled posterior (Vehtari et al. 2021).

    Attributes
    ----------
    rhat_max : float
        Largest rank-normalised split R-hat over all reported quantities.
    ess_bulk_min, ess_tail_min : float
        Smallest bulk and tail effective sample size.
    divergences : int
        Divergent transitions after tuning.
    ebfmi_min : float
        Smallest E-BFMI over chains.
    passed : bool
        Whether every threshold of the gate holds.
    failures : tuple of str
        The thresholds that failed, in words.
    table : pandas.DataFrame
        R-hat, ESS and MCSE per reported quantity.
    sampler : mapping
        Sampler, chains, tune, draws, target acceptance, seed, attempts.
    """

    rhat_max: float
    ess_bulk_min: float
    ess_tail_min: float
    divergences: int
    ebfmi_min: float
    passed: bool
    failures: tuple[str, ...] = ()
    table: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, compare=False)
    sampler: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Posterior:
    """A posterior from NUTS or from the exact engine.

    Attributes
    ----------
    engine : str
        ``nuts`` or ``exact``.
    estimates : mapping of str to Estimate
        Parameters and derived quantities: coefficients, ``tau_between``, ``tau_within``, ``tau``,
        ``new_sample`` and ``new_effect`` (predictive), ``mean_r`` (mean correlation over
        samples, on the r scale).
    draws : xarray.DataTree or None
        Draws with dimensions ``chain``, ``draw``, ``effect``, ``cluster``, ``coefficient``.
    log_marginal_likelihood : float or None
        Natural log; exact engine only.
    log_marginal_likelihood_error : float or None
        Change of it on refining the grid.
    bayes_factors : mapping of str to float
        Natural log of the Bayes factor for each parameter being non-zero against zero.
    densities : mapping of str to tuple of numpy.ndarray
        Posterior density curves ``(x, density)`` by parameter, for the figures.
    effects : pandas.DataFrame
        One row per effect: ``row``, ``sample``, ``yi``, ``mean``, ``sd``, ``lower``, ``upper``
        of its true effect (shrinkage estimate).
    diagnostics : Diagnostics or None
        The convergence gate; NUTS only.
    """

    engine: Literal["nuts", "exact"]
    estimates: Mapping[str, Estimate]
    draws: "xr.DataTree | None" = field(default=None, repr=False)
    log_marginal_likelihood: float | None = None
    log_marginal_likelihood_error: float | None = None
    bayes_factors: Mapping[str, float] = field(default_factory=dict)
    densities: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(
        default_factory=dict, repr=False
    )
    effects: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    diagnostics: Diagnostics | None = None

    @property
    def passed(self) -> bool:
        """Whether the numbers are results: False for a NUTS fit that missed its gate."""
        return self.diagnostics is None or self.diagnostics.passed

    @property
    def table(self) -> pd.DataFrame:
        """Estimates as a table."""
        return estimates_table(self.estimates)

    def _repr_html_(self) -> str:
        if not self.passed:
            assert self.diagnostics is not None
            failures = "; ".join(self.diagnostics.failures)
            return f"<p><strong>Not converged</strong>: {escape(failures)}</p>"
        return self.table._repr_html_()  # type: ignore[operator]


@dataclass(frozen=True, eq=False)
class FrequentistFit:
    """A REML or ML fit of the same design.

    Attributes
    ----------
    method : str
        ``REML`` or ``ML``.
    estimates : mapping of str to Estimate
        Coefficients with their intervals and tests; variance components as ``tau_between`` and
        ``tau_within`` with profile-likelihood intervals where computed.
    coefficients : tuple of str
        Names of the coefficients, in the order of `coef`.
    coef : numpy.ndarray of shape (p,)
        Coefficients on the analysis scale.
    vcov : numpy.ndarray of shape (p, p)
        Their covariance matrix.
    tau2_between, tau2_within : float
        Variance components; ``tau2_within`` is 0 for two levels.
    loglik : float
        Log-likelihood at the optimum (restricted for REML).
    q, q_df, q_p : float
        Cochran's Q of the residual heterogeneity, its degrees of freedom and p-value.
    qm, qm_df, qm_p : float or None
        Omnibus Wald chi-square test of the moderators; None without moderators.
    i2_total, i2_between, i2_within : float
        Share of total variance (percent) by the variance-ratio definition.
    i2_q : float
        ``(Q - df)/Q`` in percent, at least 0: the Q-based definition.
    converged : bool
        Whether the optimiser reached a stationary point or the boundary.
    boundary : tuple of str
        Variance components estimated as exactly zero.
    effects : pandas.DataFrame
        BLUPs: one row per effect.
    tables : mapping of str to pandas.DataFrame
        Further tidy tables (tests, robust intervals, influence), by name.
    """

    method: Literal["REML", "ML"]
    estimates: Mapping[str, Estimate]
    coefficients: tuple[str, ...]
    coef: NDArray[np.float64]
    vcov: NDArray[np.float64]
    tau2_between: float
    tau2_within: float
    loglik: float
    q: float
    q_df: int
    q_p: float
    i2_total: float
    i2_between: float
    i2_within: float
    i2_q: float
    converged: bool
    qm: float | None = None
    qm_df: int | None = None
    qm_p: float | None = None
    boundary: tuple[str, ...] = ()
    effects: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict, repr=False)

    @property
    def table(self) -> pd.DataFrame:
        """Estimates as a table."""
        return estimates_table(self.estimates)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()  # type: ignore[operator]

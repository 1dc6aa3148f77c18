"""Sensitivity of a sampled posterior: its draws weighted anew, and refits where weights fail.

Power-scaling and Pareto-smoothed importance sampling are ArviZ's; `reanalysis.sensitivity` has the
exact refits that they stand beside.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from reanalysis.results import EngineError
from reanalysis.sensitivity import GROUPS
from reanalysis.summaries import loo, power_scaling

__all__ = ["LeftOut", "leave_one_out", "scale_groups"]

NOTABLE = 0.05  # Kallioinen et al. (2024): sensitivity above it is worth a look
FLAT = 1e-9


@dataclass(frozen=True, eq=False)
class LeftOut:
    """How well each sample is predicted by the others, from draws.

    Attributes
    ----------
    elpd, se, p : float
        Expected log predictive density summed over samples, its standard error over samples, and
        the effective number of parameters.
    good_k : float
        Largest Pareto k at which the weights of so many draws can be trusted, at most .7.
    samples : pandas.DataFrame
        One row per sample: ``sample``, ``pareto_k``, ``log_predictive``, and ``refitted``, whether
        that is from an exact refit because k is too large.
    """

    elpd: float
    se: float
    p: float
    good_k: float
    samples: pd.DataFrame

    def document(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return {
            "elpd": self.elpd,
            "se": self.se,
            "p": self.p,
            "good_k": self.good_k,
            "samples": self.samples.to_dict(orient="records"),
        }


def scale_groups(draws: xr.DataTree) -> pd.DataFrame:
    """Raise the priors of one group at a time, and the likelihood, to a power near 1.

    Parameters
    ----------
    draws : xarray.DataTree
        With groups ``posterior``, ``log_prior`` and ``log_likelihood``.

    Returns
    -------
    pandas.DataFrame
        One row per group and parameter: ``group`` (``effect``, ``heterogeneity``; ``other``
        for whatever else has a prior), ``parameter``, sensitivity to ``prior`` and to
        ``likelihood``, and ``diagnosis``: ``none``, ``conflict`` (both are above .05) or ``strong
        prior`` (only that of the prior is).

    Raises
    ------
    EngineError
        If no prior changes.

    References
    ----------
    Kallioinen, N., Paananen, T., Bürkner, P.-C., & Vehtari, A. (2024). Statistics and Computing,
    34, 57.
    """
    log_prior = draws["log_prior"].dataset
    names = [str(name) for name in log_prior.data_vars]
    groups = {group: [n for n in names if n in members] for group, members in GROUPS.items()}
    placed = {name for members in groups.values() for name in members}
    groups["other"] = [name for name in names if name not in placed]
    shown = [*names, *(n for n in ("tau",) if n in draws["posterior"] and n not in names)]
    # ArviZ cannot smooth the weights of a flat prior, which are all the same.
    tables = {
        group: power_scaling(draws, shown, priors=members).to_dict("index")
        for group, members in groups.items()
        if any(np.ptp(log_prior[name].to_numpy()) > FLAT for name in members)
    }
    if not tables:
        raise EngineError("all priors are flat, and no power changes a flat prior")
    first = next(iter(tables.values()))
    rows = []
    for group, members in groups.items():
        for parameter, sensitivity in first.items() if members else ():
            likelihood = sensitivity["likelihood"]
            prior = tables[group][parameter]["prior"] if group in tables else 0.0
            diagnosis = "none"
            if prior >= NOTABLE:
                diagnosis = "conflict" if likelihood >= NOTABLE else "strong prior"
            rows.append(
                {
                    "group": group,
                    "parameter": str(parameter),
                    "prior": prior,
                    "likelihood": likelihood,
                    "diagnosis": diagnosis,
                }
            )
    return pd.DataFrame(rows)


def leave_one_out(draws: xr.DataTree, refits: pd.DataFrame) -> LeftOut:
    """Predict each sample from the others by weighting the draws; take the refit where that fails.

    Parameters
    ----------
    draws : xarray.DataTree
        With a ``log_likelihood`` group by ``cluster``.
    refits : pandas.DataFrame
        ``sample`` and ``log_predictive`` of exact refits, from
        `reanalysis.sensitivity.leave_samples_out`; only those that are needed are used.

    Returns
    -------
    LeftOut
        With refits in place of weights that cannot be trusted.
    """
    found = loo(draws)
    k = found.pareto_k.to_numpy()
    weighted = found.elpd_i.to_numpy()
    names = [str(name) for name in found.pareto_k["cluster"].to_numpy()]
    exact = refits.set_index("sample")["log_predictive"].reindex(names).to_numpy()
    failed = ~(k <= found.good_k)
    density = np.where(failed, exact, weighted)
    return LeftOut(
        elpd=float(density.sum()),
        se=float(np.sqrt(len(density) * density.var(ddof=1))),
        p=float(found.p),
        good_k=float(found.good_k),
        samples=pd.DataFrame(
            {"sample": names, "pareto_k": k, "log_predictive": density, "refitted": failed}
        ),
    )

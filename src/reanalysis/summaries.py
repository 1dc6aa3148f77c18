"""From draws to numbers: estimates, the convergence gate, LOO and prior sensitivity.

The only file that calls ArviZ. Its defaults (89 % intervals, rounded numbers) are never used.
Draws are stored as netCDF; a file under its final name is always whole.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import arviz_stats as azs
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from reanalysis.atomic import write_atomically
from reanalysis.design import Design
from reanalysis.results import Diagnostics, Estimate, Posterior

__all__ = [
    "EBFMI_MIN",
    "ESS_MIN",
    "RHAT_MAX",
    "check_convergence",
    "load_draws",
    "loo",
    "make_estimates",
    "make_posterior",
    "mixing",
    "power_scaling",
    "reported_draws",
    "save_draws",
    "summarise_draws",
    "summarise_effects",
]

# The gate: Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), doi:10.1214/20-BA1221.
RHAT_MAX = 1.01
ESS_MIN = 400.0
EBFMI_MIN = 0.3

LEVEL = 0.95


def make_posterior(draws: xr.DataTree, design: Design) -> Posterior:
    """Return the posterior that draws amount to, fresh from the sampler or read from a file.

    Parameters
    ----------
    draws : xarray.DataTree
        Groups as from `reanalysis.builders.completion.complete_draws`; its attributes record the
        sampler and the ``chains`` and ``draws`` that were asked for.
    design : Design
        The arrays of the model.

    Returns
    -------
    Posterior
        Estimates, effects and diagnostics, the gate checked anew.
    """
    record = {
        str(name): value.item() if isinstance(value, np.generic) else value
        for name, value in draws.attrs.items()
    }
    table = summarise_draws(reported_draws(draws))
    requested = (record["chains"], record["draws"])
    return Posterior(
        "nuts",
        make_estimates(table, on_r=["mean_r"]),
        draws=draws,
        effects=summarise_effects(draws, design),
        diagnostics=check_convergence(table, draws, requested, record),
    )


def reported_draws(draws: xr.DataTree) -> xr.Dataset:
    """Return the scalar quantities of a posterior under the names they are reported by.

    Parameters
    ----------
    draws : xarray.DataTree
        With a ``posterior`` group.

    Returns
    -------
    xarray.Dataset
        Dimensions ``chain`` and ``draw``. A variable with dimension ``coefficient`` becomes one
        variable for each coefficient (``beta[late]``); those by ``cluster`` or ``effect`` are
        left out: given these quantities they are independent draws, and need no gate of their own.
    """
    reported: dict[str, xr.DataArray] = {}
    for name, values in draws["posterior"].data_vars.items():
        if values.dims == ("chain", "draw"):
            reported[str(name)] = values
        elif values.dims == ("chain", "draw", "coefficient"):
            for i, label in enumerate(values["coefficient"].values):
                reported[f"{name}[{label}]"] = values.isel(coefficient=i, drop=True)
    return xr.Dataset(reported)


def summarise_draws(reported: xr.Dataset) -> pd.DataFrame:
    """Return moments, quantiles and convergence statistics, one row per quantity.

    Parameters
    ----------
    reported : xarray.Dataset
        Scalar quantities with dimensions ``chain`` and ``draw``, as from `reported_draws`.

    Returns
    -------
    pandas.DataFrame
        Columns ``mean``, ``sd``, ``median``, ``lower``, ``upper`` (central 95 %),
        ``mcse`` (Monte-Carlo standard error of the mean), ``rhat`` (rank-normalised, split),
        ``ess_bulk``, ``ess_tail``; unrounded. All convergence statistics are NaN for a quantity
        that has a draw that is not finite.
    """
    columns = ["mean", "sd", "lower", "upper", "mcse", "rhat", "ess_bulk", "ess_tail"]
    finite = [name for name, values in reported.items() if np.all(np.isfinite(values))]
    table = pd.DataFrame(np.nan, index=pd.Index(list(reported), name="parameter"), columns=columns)
    if finite:
        with np.errstate(divide="ignore", invalid="ignore"):  # a chain that never moves: NaN
            summary = azs.summary(
                reported[finite], kind="all", ci_prob=LEVEL, ci_kind="eti", round_to="none"
            )
        summary = summary.rename(
            columns={
                "eti95_lb": "lower",
                "eti95_ub": "upper",
                "mcse_mean": "mcse",
                "r_hat": "rhat",
            }
        )
        # ArviZ keeps the order of the variables; its row labels are display text.
        table.loc[finite, columns] = summary[columns].to_numpy(float)
    table.insert(2, "median", [float(np.median(values)) for values in reported.values()])
    return table


def make_estimates(table: pd.DataFrame, on_r: Sequence[str] = ()) -> dict[str, Estimate]:
    """Return the rows of `summarise_draws` as estimates.

    Parameters
    ----------
    table : pandas.DataFrame
        From `summarise_draws`.
    on_r : sequence of str
        Quantities on the correlation scale.

    Returns
    -------
    dict of str to Estimate
        Mean, sd, median, central 95 % interval; the numerical error is the Monte-Carlo standard
        error of the mean.
    """
    estimates = {}
    for name, row in zip(table.index, table.to_dict("records"), strict=True):
        estimates[name] = Estimate(
            name,
            row["mean"],
            sd=row["sd"],
            lower=row["lower"],
            upper=row["upper"],
            level=LEVEL,
            median=row["median"],
            numerical_error=row["mcse"],
            scale="r" if name in on_r else "analysis",
        )
    return estimates


def check_convergence(
    table: pd.DataFrame,
    draws: xr.DataTree,
    requested: tuple[int, int],
    sampler: Mapping[str, str | int | float],
) -> Diagnostics:
    """Put a sampled posterior through the convergence gate.

    Parameters
    ----------
    table : pandas.DataFrame
        From `summarise_draws`.
    draws : xarray.DataTree
        With groups ``posterior`` and ``sample_stats`` (``diverging``, ``energy``).
    requested : tuple of int
        Chains, and draws of each, that were asked for.
    sampler : mapping
        What sampled it, for the record.

    Returns
    -------
    Diagnostics
        Every threshold that does not hold is named in ``failures``.
    """
    statistics = draws["sample_stats"].dataset
    divergences = int(statistics["diverging"].sum())
    ebfmi = azs.bfmi(
        statistics["energy"].transpose("chain", "draw").to_numpy(), chain_axis=0, draw_axis=1
    )
    size = tuple(draws["posterior"].sizes[dim] for dim in ("chain", "draw"))
    rhat, bulk, tail = table["rhat"].max(), table["ess_bulk"].min(), table["ess_tail"].min()
    ebfmi_min = float(np.min(ebfmi))

    failures = []
    if size != requested:
        failures.append(
            f"{size[0]} x {size[1]} draws instead of the requested {requested[0]} x {requested[1]}"
        )
    wild = table.index[~np.isfinite(table).all(axis=1)]
    if len(wild):
        failures.append(f"{', '.join(wild)}: draws that are not finite, or that never move")
    # Negated comparisons: a NaN must fail.
    if np.isnan(rhat):
        failures.append("R-hat cannot be computed")
    elif not rhat <= RHAT_MAX:
        failures.append(f"R-hat {rhat:.3f} of {table['rhat'].idxmax()} is above {RHAT_MAX}")
    for kind, smallest in (("bulk", bulk), ("tail", tail)):
        if np.isnan(smallest):
            failures.append(f"{kind} ESS cannot be computed")
        elif not smallest >= ESS_MIN:
            worst = table[f"ess_{kind}"].idxmin()
            failures.append(f"{kind} ESS {smallest:.0f} of {worst} is below {ESS_MIN:.0f}")
    if divergences:
        failures.append(f"{divergences} divergent transitions")
    if not ebfmi_min >= EBFMI_MIN:
        failures.append(f"E-BFMI {ebfmi_min:.2f} is below {EBFMI_MIN}")
    return Diagnostics(
        float(rhat),
        float(bulk),
        float(tail),
        divergences,
        ebfmi_min,
        not failures,
        tuple(failures),
        table[["rhat", "ess_bulk", "ess_tail", "mcse"]],
        sampler,
    )


def mixing(draws: Mapping[str, NDArray[np.float64]]) -> tuple[float, float]:
    """Return the two statistics by which chains are judged, without the cost of a table.

    Parameters
    ----------
    draws : mapping of str to numpy.ndarray of shape (chains, draws)
        Scalar quantities; at least two chains.

    Returns
    -------
    rhat : float
        Largest rank-normalised split R-hat.
    ess : float
        Smallest bulk effective sample size.
    """
    return (
        max(float(azs.rhat(values)) for values in draws.values()),
        min(float(azs.ess(values)) for values in draws.values()),
    )


def summarise_effects(draws: xr.DataTree, design: Design) -> pd.DataFrame:
    """Return the shrinkage estimate of each true effect.

    Parameters
    ----------
    draws : xarray.DataTree
        With ``theta`` by ``effect`` in the ``posterior`` group.
    design : Design
        Gives row names, samples and printed effects.

    Returns
    -------
    pandas.DataFrame
        Columns ``row``, ``sample``, ``yi``, ``mean``, ``sd``, ``lower``, ``upper`` (central 95 %).
    """
    theta = draws["posterior"]["theta"].transpose("effect", "chain", "draw").to_numpy()
    theta = theta.reshape(design.k, -1)
    lower, upper = np.quantile(theta, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    return pd.DataFrame(
        {
            "row": design.row_names,
            "sample": [design.cluster_names[j] for j in design.cluster],
            "yi": design.yi,
            "mean": theta.mean(axis=1),
            "sd": theta.std(axis=1, ddof=1),
            "lower": lower,
            "upper": upper,
        }
    )


def loo(draws: xr.DataTree) -> azs.utils.ELPDData:
    """Return leave-one-sample-out cross-validation by Pareto-smoothed importance sampling.

    Parameters
    ----------
    draws : xarray.DataTree
        With a ``log_likelihood`` group by ``cluster``.

    Returns
    -------
    arviz_stats.utils.ELPDData
        ``elpd``, ``se``, ``p`` and, by sample, ``elpd_i`` and ``pareto_k``; a Pareto k above
        ``good_k`` means that leaving out that sample needs a refit.
    """
    with _quiet():
        return azs.loo(draws, var_name="yi", pointwise=True)


def power_scaling(
    draws: xr.DataTree,
    names: Sequence[str] | None = None,
    *,
    priors: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return how much each quantity moves when prior or likelihood is raised to a power.

    Parameters
    ----------
    draws : xarray.DataTree
        With groups ``posterior``, ``log_prior`` and ``log_likelihood``.
    names : sequence of str, optional
        Posterior variables; by default the parameters, which are those with a prior.
    priors : sequence of str, optional
        Parameters whose priors are raised together; by default all.

    Returns
    -------
    pandas.DataFrame
        Columns ``prior``, ``likelihood`` (sensitivity; above 0.05 is worth a look) and
        ``diagnosis``; one row per quantity (Kallioinen et al. 2024,
        doi:10.1007/s11222-023-10366-5).
    """
    if names is None:
        names = [str(name) for name in draws["log_prior"].data_vars]
    with _quiet():
        return azs.psense_summary(
            draws,
            var_names=list(names),
            prior_var_names=None if priors is None else list(priors),
            round_to=15,
        )


def save_draws(draws: xr.DataTree, path: Path) -> None:
    """Write draws as netCDF; a file of that name is whole, old or new, at any time.

    Parameters
    ----------
    draws : xarray.DataTree
        As from `reanalysis.nuts.fit_nuts`.
    path : pathlib.Path
        File to write, usually ``fits/<model>.nc``.

    Raises
    ------
    OSError
        If the file cannot be written; nothing is left behind.
    """
    compress = {"zlib": True, "complevel": 4, "shuffle": True}
    encoding = {
        group.path: {
            name: compress for name, values in group.data_vars.items() if values.dtype.kind == "f"
        }
        for group in draws.subtree
    }
    # Through memory: on a full disk HDF5 crashes the process when it closes its file.
    content = BytesIO()
    draws.to_netcdf(content, engine="h5netcdf", encoding=encoding)
    write_atomically(path, content.getvalue())


def load_draws(path: Path) -> xr.DataTree:
    """Read draws that `save_draws` wrote.

    Parameters
    ----------
    path : pathlib.Path
        The netCDF file.

    Returns
    -------
    xarray.DataTree
        Fully in memory; the file is closed.

    Raises
    ------
    OSError
        If the file is missing, truncated or not netCDF.
    """
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        return tree.load()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep ArviZ's advice out of the log and the warnings: the tables it returns say the same."""
    logger = logging.getLogger("arviz_stats")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Estimated shape parameter of Pareto", UserWarning)
            yield
    finally:
        logger.setLevel(level)

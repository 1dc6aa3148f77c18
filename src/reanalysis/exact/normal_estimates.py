"""What is read off two grids of a normal model: estimates, predictions and density curves."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.exact.derived import mean_correlation
from reanalysis.exact.grid import Grid
from reanalysis.exact.mixtures import NormalMixtures
from reanalysis.exact.side import side_curve, side_estimate, side_parameters
from reanalysis.results import Estimate

__all__ = ["CURVE_POINTS", "density_curves", "parameter_estimates", "predictions"]

Vector = NDArray[np.float64]

PROBABILITIES = np.array([0.025, 0.5, 0.975])
CURVE_POINTS = 121
CURVE_BINS = 400  # of a curve's normals, by their width: no visible difference


def parameter_estimates(design: Design, fine: Grid, coarse: Grid) -> dict[str, Estimate]:
    """Return the estimates of the coefficients and of the variance parameters.

    Parameters
    ----------
    design : Design
        The data of the model.
    fine, coarse : Grid
        Two grids of its posterior; their difference is the numerical error.

    Returns
    -------
    dict of str to Estimate
        An estimate for each parameter.
    """
    estimates = _normal_estimates(
        design.coefficients, fine, coarse, fine.mean.T, np.diagonal(fine.cov, axis1=1, axis2=2).T
    )
    taus = _taus(design)
    for name, (lower, median, upper) in zip(
        taus, fine.quantiles(taus, PROBABILITIES).tolist(), strict=True
    ):
        mean, sd = fine.moments[name]
        error = abs(mean - coarse.moments[name][0])
        estimates[name] = Estimate(
            name, mean, sd, lower, upper, median=median, numerical_error=error
        )
    if "between_share" in fine.problem.priors and fine.angles is not None:
        estimates["between_share"] = _share(fine, coarse)
    for name, side in side_parameters(fine).items():
        estimates[name] = side_estimate(name, side, fine, coarse, PROBABILITIES)
    return estimates


def predictions(design: Design, fine: Grid, coarse: Grid) -> dict[str, Estimate]:
    """Return the effect of a new sample, a new effect, and the mean correlation.

    Parameters
    ----------
    design : Design
        The data of the model.
    fine, coarse : Grid
        Two grids of its posterior; their difference is the numerical error.

    Returns
    -------
    dict of str to Estimate
        Empty where the model has moderators; the correlation for ZCOR only.
    """
    estimates: dict[str, Estimate] = {}
    if design.coefficients == ("mu",):
        between, total = fine.tau_between**2, fine.tau_between**2 + fine.tau_within**2
        means, variance = fine.mean[:, 0], fine.cov[:, 0, 0]
        estimates = _normal_estimates(
            ("new_sample", "new_effect"),
            fine,
            coarse,
            np.stack([means, means]),
            np.stack([variance + between, variance + total]),
        )
        if design.measure == "ZCOR":
            estimates["mean_r"] = mean_correlation(fine, coarse, PROBABILITIES)
    return estimates


def density_curves(
    design: Design, grid: Grid, estimates: Mapping[str, Estimate]
) -> dict[str, tuple[Vector, Vector]]:
    """Return density curves of the coefficients and standard deviations.

    Parameters
    ----------
    design : Design
        The data of the model.
    grid : Grid
        Its posterior.
    estimates : mapping of str to Estimate
        From `parameter_estimates`.

    Returns
    -------
    dict of str to tuple of numpy.ndarray
        Points and densities of each parameter.
    """
    mixtures = NormalMixtures.of(
        grid.weight, grid.mean.T, np.diagonal(grid.cov, axis1=1, axis2=2).T, bins=CURVE_BINS
    )
    mean, sd = mixtures.moments()
    x = mean[:, None] + sd[:, None] * np.linspace(-4, 4, CURVE_POINTS)
    density = mixtures.pdf(x)
    curves = {name: (x[i], density[i]) for i, name in enumerate(design.coefficients)}
    taus = _taus(design)
    tops = [estimates[name].value + 5 * (estimates[name].sd or 0.0) for name in taus]
    points = np.linspace(0.0, tops, CURVE_POINTS, axis=1)
    heights = grid.cdf_pdf(taus, np.maximum(points, points[:, 1:2] * 1e-6))[1]
    curves |= {name: (points[i], heights[i]) for i, name in enumerate(taus)}
    for name, side in side_parameters(grid).items():
        curves[name] = side_curve(side, grid, CURVE_POINTS)
    return curves


def _taus(design: Design) -> tuple[str, ...]:
    return ("tau_between", "tau_within", "tau") if design.levels == 3 else ("tau_between",)


def _share(fine: Grid, coarse: Grid) -> Estimate:
    """Summarise the share of the heterogeneity that lies between samples."""
    values, before = (np.tile(np.cos(g.outer) ** 2, len(g.density)) for g in (fine, coarse))
    mean = float(fine.weight @ values)
    lower, median, upper = fine.share_quantiles(PROBABILITIES)
    return Estimate(
        "between_share",
        mean,
        float(np.sqrt(fine.weight @ (values - mean) ** 2)),
        float(lower),
        float(upper),
        median=float(median),
        numerical_error=abs(mean - float(coarse.weight @ before)),
    )


def _normal_estimates(
    names: Sequence[str], fine: Grid, coarse: Grid, means: Vector, variances: Vector
) -> dict[str, Estimate]:
    """Summarise quantities that are normal given the variance parameters."""
    mixtures = NormalMixtures.of(fine.weight, means, variances)
    centre, spread = mixtures.moments()
    quantiles = mixtures.quantiles(PROBABILITIES)
    # A prediction has the mean of the coefficient it is for, and so its numerical error.
    before = np.broadcast_to(coarse.weight @ coarse.mean, (len(names),))
    return {
        name: Estimate(
            name,
            float(centre[i]),
            float(spread[i]),
            float(quantiles[i, 0]),
            float(quantiles[i, 2]),
            median=float(quantiles[i, 1]),
            numerical_error=abs(float(centre[i]) - float(before[i])),
        )
        for i, name in enumerate(names)
    }

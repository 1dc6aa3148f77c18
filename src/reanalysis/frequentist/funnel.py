"""What a funnel plot draws: the effects, the pseudo-confidence lines and significance contours."""

import numpy as np
import pandas as pd

from reanalysis.design import Design
from reanalysis.frequentist.distributions import interval
from reanalysis.frequentist.small_study import SmallStudyResult
from reanalysis.results import FrequentistFit
from reanalysis.spec import ModelSpec

__all__ = ["CONTOURS", "funnel_contours"]

CONTOURS = (0.90, 0.95, 0.99)
LIMITS = (
    "An asymmetric funnel has many causes besides selective publication, and eyes find asymmetry "
    "in chance (Sterne et al. 2011, BMJ 343, d4002). The contours show where a single effect "
    "becomes significant: gaps in the non-significant region speak for selection by p-value, gaps "
    "elsewhere do not (Peters et al. 2008, Journal of Clinical Epidemiology 61, 991-996)."
)


def funnel_contours(
    design: Design, spec: ModelSpec, fit: FrequentistFit, *, points: int = 100
) -> SmallStudyResult:
    """Return the lines of a contour-enhanced funnel plot.

    Parameters
    ----------
    design : Design
        The arrays of the model.
    spec : ModelSpec
        The model; not read, but every function here takes it.
    fit : FrequentistFit
        A fit without moderators; its mean is the funnel's axis.
    points : int, default 100
        Standard errors at which the lines are given, from 0 to just beyond the largest.

    Returns
    -------
    SmallStudyResult
        `table`: one row per effect with ``row``, ``sample``, ``yi``, ``sei`` and ``region`` (the
        innermost contour that holds it). `data`: the lines with ``sei``, ``line`` (``funnel``
        around the mean, ``contour`` around zero), ``level``, ``lower``, ``upper``.
    """
    sei = np.sqrt(design.vi)
    grid = np.linspace(0.0, 1.05 * float(np.max(sei)), points)
    lines = []
    for line, center, levels in (
        ("funnel", float(fit.coef[0]), (0.95,)),
        ("contour", 0.0, CONTOURS),
    ):
        for level in levels:
            lower, upper = interval(np.full(points, center), grid, level=level)
            lines.append(
                pd.DataFrame(
                    {"sei": grid, "line": line, "level": level, "lower": lower, "upper": upper}
                )
            )
    z = np.abs(design.yi) / sei
    region = np.full(design.k, f"beyond {max(CONTOURS):.0%}", dtype=object)
    for level in sorted(CONTOURS, reverse=True):
        inside = z <= float(interval(0.0, 1.0, level=level)[1])
        region[inside] = f"within {level:.0%}"
    return SmallStudyResult(
        method="Contour-enhanced funnel plot",
        table=pd.DataFrame(
            {
                "row": design.row_names,
                "sample": np.asarray(design.cluster_names, dtype=object)[design.cluster],
                "yi": design.yi,
                "sei": sei,
                "region": region,
            }
        ),
        limits=LIMITS,
        numbers={"center": float(fit.coef[0])},
        data=pd.concat(lines, ignore_index=True),
    )

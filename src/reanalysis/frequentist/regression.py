"""Regressions on the standard error or the sampling variance, shared by Egger, PET and PEESE."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.results import EngineError

__all__ = ["check_variances_differ", "weighted_least_squares", "with_predictor"]

Vector = NDArray[np.float64]


def with_predictor(design: Design, predictor: str, name: str) -> Design:
    """Return the design with ``sei`` or ``vi`` as a further column of X.

    Parameters
    ----------
    design : Design
        The arrays of the model.
    predictor : {"sei", "vi"}
        Standard errors or sampling variances.
    name : str
        Name of the new coefficient.

    Returns
    -------
    Design
        With the column appended. The names of the others stay, so that the intercept of a model
        without moderators is still ``mu``: the mean for a predictor of 0.

    Raises
    ------
    EngineError
        If all sampling variances are equal.
    """
    check_variances_differ(design)
    column = np.sqrt(design.vi) if predictor == "sei" else design.vi
    X = np.column_stack([design.X, column])
    return replace(design, X=X, coefficients=(*design.coefficients, name))


def check_variances_differ(design: Design) -> None:
    """Raise EngineError if all sampling variances are equal: no study is then smaller."""
    if np.ptp(design.vi) == 0:
        raise EngineError(
            "all effects have the same sampling variance, so small and large studies cannot be "
            "compared."
        )


def weighted_least_squares(design: Design) -> tuple[Vector, Vector]:
    """Return coefficients and covariance with weights ``1/vi`` and estimated dispersion.

    Parameters
    ----------
    design : Design
        The arrays of the model; its rows are taken as independent.

    Returns
    -------
    coef, vcov : numpy.ndarray of shape (p,) and (p, p)
        With ``k - p`` degrees of freedom. The dispersion multiplies the sampling variances, so
        that heterogeneity widens all of them in proportion (Stanley & Doucouliagos 2014).
    """
    root = 1.0 / np.sqrt(design.vi)
    basis, triangle = np.linalg.qr(design.X * root[:, None])
    back = np.linalg.inv(triangle)
    target = design.yi * root
    scores = basis.T @ target
    residual = target - basis @ scores
    dispersion = float(residual @ residual) / (design.k - design.p)
    return back @ scores, dispersion * back @ back.T

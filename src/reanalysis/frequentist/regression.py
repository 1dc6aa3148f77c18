"""Regressions on the standard error or the sampling variance, shared by Egger, PET and PEESE."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reanalysis.design import Design

__all__ = ["weighted_least_squares", "with_predictor"]

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
        With the column appended, and ``mu`` renamed to ``beta[intercept]``.
    """
    column = np.sqrt(design.vi) if predictor == "sei" else design.vi
    names = ("beta[intercept]",) if design.coefficients == ("mu",) else design.coefficients
    X = np.column_stack([design.X, column])
    return replace(design, X=X, coefficients=(*names, name))


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

"""One sample's covariance in a form that every draw can use in O(k) operations.

A sample's effects have covariance ``V + tau_within² diag(1/n_averaged) + tau_between² 11'``. With
``V`` diagonal this is a diagonal matrix plus one rank. Any other known ``V`` becomes diagonal
as well after one rotation per sample: with ``N = diag(1/n_averaged)`` and the eigenvectors Q of
``N^(-1/2) V N^(-1/2) = Q L Q'``, the rows ``Q' N^(-1/2) y`` have covariance
``L + tau_within² I + tau_between² hh'`` with ``h = Q' N^(-1/2) 1``. So a compiled model never
sees a matrix, and one compiled model serves independent, correlated and given sampling errors.

An *unknown* sampling correlation cannot be rotated away once and for all; its rows stay as they
are, and the shared error is a second rank: ``V = (1 - rho) diag(v) + rho ss'``, ``s = sqrt(v)``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

__all__ = ["Blocks", "make_blocks"]

Vector = NDArray[np.float64]

SINGULAR = 1e-12  # smallest over largest eigenvalue of a usable sampling covariance


@dataclass(frozen=True, eq=False)
class Blocks:
    """The rows of a design, rotated where needed so that known sampling errors are independent.

    Attributes
    ----------
    yi, vi : numpy.ndarray of shape (k,)
        Effect sizes and sampling variances of the (rotated) rows.
    X : numpy.ndarray of shape (k, p)
        Design matrix of the (rotated) rows.
    loading : numpy.ndarray of shape (k,)
        What one unit of the sample's deviation adds to each row; 1 where nothing was rotated.
    within : numpy.ndarray of shape (k,)
        Factor of ``tau_within²`` in each row's variance; ``1 / n_averaged`` where nothing was
        rotated.
    cluster, starts : numpy.ndarray of int, shapes (k,) and (m,)
        Sample of each row, and first row of each sample.
    log_jacobian : numpy.ndarray of shape (m,)
        What the rotation adds to each sample's log-likelihood.
    rotations : dict of int to numpy.ndarray of shape (c, c)
        For each rotated sample, the matrix that turns its rotated row deviations back into
        deviations of its effects.
    scale : numpy.ndarray of shape (m,) or None
        Moderator of the heterogeneity, in comparisons.
    """

    yi: Vector
    vi: Vector
    X: Vector
    loading: Vector
    within: Vector
    cluster: NDArray[np.intp]
    starts: NDArray[np.intp]
    log_jacobian: Vector
    rotations: dict[int, Vector]
    scale: Vector | None = None


def make_blocks(design: Design, spec: ModelSpec) -> Blocks:
    """Return the rows of a design with known sampling correlation removed by rotation.

    Parameters
    ----------
    design : Design
        The arrays of one model.
    spec : ModelSpec
        Gives the sampling correlation; a given ``design.V`` takes precedence.

    Returns
    -------
    Blocks
        Rows whose sampling errors are independent, unless the correlation has a prior.

    Raises
    ------
    EngineError
        If a sample's sampling covariance is not positive definite.
    """
    yi, vi, X = design.yi.copy(), design.vi.copy(), design.X.copy()
    loading = np.ones(design.k)
    within = 1 / design.n_averaged
    log_jacobian = np.zeros(design.m)
    rotations: dict[int, Vector] = {}
    rho = spec.sampling_correlation
    known = 0.0 if isinstance(rho, Prior) else rho
    if design.V is not None or known != 0:
        bounds = np.append(design.starts, design.k)
        for j in np.flatnonzero(np.diff(bounds) > 1):
            rows = slice(bounds[j], bounds[j + 1])
            if design.V is not None:
                V = design.V[rows, rows]
            else:
                V = known * np.sqrt(np.outer(vi[rows], vi[rows]))
                np.fill_diagonal(V, vi[rows])
            scale = np.sqrt(design.n_averaged[rows])
            eigenvalues, Q = np.linalg.eigh(V * np.outer(scale, scale))
            if eigenvalues[0] <= SINGULAR * eigenvalues[-1]:
                raise EngineError(
                    f"the sampling covariance of sample '{design.cluster_names[j]}' is not "
                    "positive definite: lower the sampling correlation, or correct V."
                )
            yi[rows] = Q.T @ (scale * yi[rows])
            X[rows] = Q.T @ (scale[:, None] * X[rows])
            loading[rows] = Q.T @ scale
            vi[rows] = eigenvalues
            within[rows] = 1.0
            log_jacobian[j] = np.log(scale).sum()
            rotations[int(j)] = Q / scale[:, None]
    return Blocks(
        yi,
        vi,
        X,
        loading,
        within,
        design.cluster,
        design.starts,
        log_jacobian,
        rotations,
        None if design.scale is None else design.scale[design.starts],
    )

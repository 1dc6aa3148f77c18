"""Best linear unbiased predictions of the random effects and of each true effect.

Their standard errors include the uncertainty of the coefficients, not that of the variance
components (Robinson 1991, Statistical Science 6, 15-32).
"""

import numpy as np
import pandas as pd

from reanalysis.design import Design
from reanalysis.frequentist.covariance import make_covariance
from reanalysis.frequentist.distributions import interval
from reanalysis.frequentist.likelihood import Evaluation, Likelihood

__all__ = ["predict_effects"]


def predict_effects(design: Design, likelihood: Likelihood, best: Evaluation) -> pd.DataFrame:
    """Return shrinkage estimates of every row's true effect.

    Parameters
    ----------
    design : Design
        The arrays of the model.
    likelihood : Likelihood
        The fitted likelihood.
    best : Evaluation
        Its maximum.

    Returns
    -------
    pandas.DataFrame
        One row per effect: ``row``, ``sample``, ``yi``, ``mean``, ``sd``, ``lower``, ``upper``
        of the true effect (``x'b + u + w``; for a row that averages effects, of their mean), and
        the sample effect ``u`` with ``u_sd`` and the effect within the sample ``w`` with ``w_sd``.
    """
    s = likelihood.structure
    covariance = make_covariance(s, best.tau2)
    basis, p = likelihood.basis, likelihood.p
    k = likelihood.k
    solved = covariance.solve(np.vstack([basis, likelihood.yi, np.ones(k)]))
    wx, w1 = solved[:p], solved[p + 1]
    inverse = np.linalg.inv(wx @ basis.T)
    gamma = inverse @ (wx @ likelihood.yi)
    fitted = gamma @ basis
    e = solved[p] - gamma @ wx
    between = 0.0 if s.shared is None else float(best.tau2[s.shared])
    own = np.zeros(k) if s.own is None else float(best.tau2[s.own]) * s.shares
    diagonal = covariance.diagonal()
    q = s.spread(s.cluster_sums(wx))
    ones = s.spread(s.cluster_sums(w1))
    u = between * s.spread(s.cluster_sums(e))
    w = own * e
    # Error variances: prior variance minus what the data explain, with P = W - W X A^-1 X' W.
    u_var = between - between**2 * (ones - np.sum(q * (inverse @ q), axis=0))
    w_var = own - own**2 * (diagonal - np.sum(wx * (inverse @ wx), axis=0))
    explained = between**2 * ones + 2 * between * own * w1 + own**2 * diagonal
    lever = basis - between * q - own * wx
    variance = between + own - explained + np.sum(lever * (inverse @ lever), axis=0)
    mean, sd = fitted + u + w, np.sqrt(np.maximum(variance, 0.0))
    lower, upper = interval(mean, sd)
    u_sd, w_sd = np.sqrt(np.maximum(u_var, 0.0)), np.sqrt(np.maximum(w_var, 0.0))
    if s.shared is None:
        # With one row per sample the row's own effect is the sample's effect.
        u, u_sd, w, w_sd = w, w_sd, u, u_sd
    return pd.DataFrame(
        {
            "row": design.row_names,
            "sample": np.asarray(design.cluster_names, dtype=object)[design.cluster],
            "yi": design.yi,
            "mean": mean,
            "sd": sd,
            "lower": lower,
            "upper": upper,
            "u": u,
            "u_sd": u_sd,
            "w": w,
            "w_sd": w_sd,
        }
    )

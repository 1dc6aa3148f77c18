"""Simulators: each selection mechanism in the way it is meant to happen.

They are the definition in words turned into code, by rejection and without any normaliser, so
that the likelihoods can be tested against them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reanalysis.selection.bins import Bins
from reanalysis.selection.data import Mechanism, SelectionData

__all__ = ["Published", "simulate_selection"]

Vector = NDArray[np.float64]
Index = NDArray[np.intp]

ROUNDS = 100_000  # redraws before a nearly impossible selection is given up


@dataclass(frozen=True, eq=False)
class Published:
    """What a reader of the literature sees.

    Attributes
    ----------
    data : SelectionData
        The published effects, with the mechanism that made them.
    row : numpy.ndarray of shape (k,)
        Position of each published effect among those of the design; all of them, except that
        ``thin`` leaves some out.
    """

    data: SelectionData
    row: Index


def simulate_selection(
    mechanism: Mechanism,
    eta: ArrayLike,
    vi: ArrayLike,
    cluster: ArrayLike,
    tau_between: float,
    tau_within: float,
    omega: ArrayLike,
    rng: np.random.Generator,
    *,
    bins: Bins | None = None,
    n_averaged: ArrayLike | None = None,
    primary: NDArray[np.bool_] | None = None,
) -> Published:
    """Draw a published literature.

    In every mechanism a sample has an effect u, its rows true effects around ``eta + u`` and its
    estimates errors around those; an estimate in bin b passes with probability ``omega[b]``.

    ``none``
        Everything is published.
    ``joint``
        If any effect of a sample fails, the sample is not published and another is drawn.
    ``replace``
        An effect that fails is drawn again, with its true effect, in the same sample.
    ``study``
        Only the most significant effect of a sample, or its primary one, is judged; if it fails,
        another sample is drawn.
    ``thin``
        Effects that fail are left out; a sample without any reported effect is drawn again.

    Parameters
    ----------
    mechanism : str
        One of the above.
    eta, vi : array_like of shape (k,)
        Expected effect, in the expected direction, and sampling variance of each measured effect.
    cluster : array_like of shape (k,)
        Sample of each effect, 0..m-1, non-decreasing.
    tau_between, tau_within : float
        Standard deviations between and within samples.
    omega : array_like of shape (J,)
        Probability that an effect of each bin passes; the first is 1.
    rng : numpy.random.Generator
        Source of randomness.
    bins : Bins, optional
        One-sided steps .025 and .5 by default.
    n_averaged : array_like of shape (k,), optional
        Effects averaged in each row; ones by default.
    primary : numpy.ndarray of bool, shape (k,), optional
        The effect of each sample that ``study`` judges.

    Returns
    -------
    Published
        The published effects.

    Raises
    ------
    ValueError
        If `omega` does not have one weight per bin, or if after many redraws a sample still has
        not passed.
    """
    bins = bins or Bins()
    eta, vi = np.asarray(eta, dtype=float), np.asarray(vi, dtype=float)
    cluster, omega = np.asarray(cluster, dtype=np.intp), np.asarray(omega, dtype=float)
    averaged = np.ones(len(eta)) if n_averaged is None else np.asarray(n_averaged, dtype=float)
    if omega.shape != (bins.count,):
        raise ValueError(f"omega has {omega.size} weights for {bins.count} bins of p-values")
    sei, sd = np.sqrt(vi), np.sqrt(vi + tau_within**2 / averaged)
    sizes = np.bincount(cluster)
    starts = np.flatnonzero(np.r_[True, np.diff(cluster) > 0])
    u = rng.normal(0.0, tau_between, len(sizes))
    yi = np.empty(len(eta))
    reported = np.ones(len(eta), dtype=bool)
    waiting = np.ones(len(eta), dtype=bool)  # rows still to be drawn
    for _ in range(ROUNDS):
        rows = np.flatnonzero(waiting)
        yi[rows] = rng.normal(eta[rows] + u[cluster[rows]], sd[rows])
        reached = bins.of(yi, sei)
        if mechanism == "study":
            best = np.minimum.reduceat(reached, starts) if primary is None else reached[primary]
            passes = (rng.uniform(size=len(sizes)) < omega[best])[cluster]
        else:
            passes = rng.uniform(size=len(eta)) < omega[reached]
        if mechanism == "none":
            break
        if mechanism == "replace":
            waiting[rows] = ~passes[rows]
        else:
            settle = {"joint": np.logical_and, "study": np.logical_and, "thin": np.logical_or}
            seen = settle[mechanism].reduceat(passes, starts)
            fresh = np.logical_or.reduceat(waiting, starts)
            reported[rows] = passes[rows] if mechanism == "thin" else True
            waiting = (fresh & ~seen)[cluster]
            again = fresh & ~seen
            u[again] = rng.normal(0.0, tau_between, int(again.sum()))
        if not waiting.any():
            break
    else:
        raise ValueError(
            f"after {ROUNDS} redraws a sample has still not passed the weights {omega.tolist()}"
        )
    row = np.flatnonzero(reported)
    data = SelectionData(
        yi[row],
        vi[row],
        cluster[row],
        bins,
        mechanism,
        n_averaged=averaged[row],
        n_measured=sizes.astype(float) if mechanism == "thin" else None,
        primary=primary if mechanism == "study" else None,
    )
    return Published(data, row)

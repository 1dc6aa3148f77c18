"""Selection mechanisms for given draws, in NumPy: likelihoods of samples, and random effects.

The notation is that of `reanalysis.builders.selection`. Under ``joint`` and ``study`` what was seen
tells nothing about the random effects beyond the effects themselves, so they are drawn as without
selection. Under ``replace`` and ``thin`` the sample's effect has the density without selection
times ``1 / prod A_k(u)`` or ``F(u)^missing``; it is drawn by inverting its distribution function.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import special

from reanalysis.builders.blocks import Blocks
from reanalysis.builders.conditionals import draw_effects, sample_loglik
from reanalysis.builders.selection_rows import SelectionRows, make_selection_rows
from reanalysis.design import Design
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

__all__ = [
    "bias_sample_loglik",
    "check_nodes",
    "draw_bias_effects",
    "draw_selection_effects",
    "make_enough_rows",
    "selection_sample_loglik",
]

Vector = NDArray[np.float64]
Draws = Mapping[str, Vector]

TINY = 1e-300
CHUNK = 2**21  # numbers per work array
LADDER = (16, 20, 24, 30, 36, 42, 48, 56, 66, 78, 92, 110, 130, 160, 200)
NODE_TOLERANCE = 1e-8  # doubling the nodes changes a sample's log factor by less, where it matters
# At the hardest draws, which are less than one in a hundred: moments then move by less than 1e-4.
WORST_TOLERANCE = 1e-2
HARDEST = 16  # draws of each kind that are looked at
# Standard deviations from the mean without selection that a mechanism may pull a sample's effect.
FAR = 12.0
POINTS = 161  # for drawing it


def bias_sample_loglik(blocks: Blocks, draws: Draws) -> Vector:
    """Return each sample's log-likelihood under PET or PEESE, as `sample_loglik` does."""
    return sample_loglik(blocks, _with_slope(draws))


def draw_bias_effects(
    blocks: Blocks, draws: Draws, rng: np.random.Generator
) -> tuple[Vector, Vector]:
    """Draw the random effects under PET or PEESE, as `draw_effects` does."""
    return draw_effects(blocks, _with_slope(draws), rng)


def _with_slope(draws: Draws) -> Draws:
    slope = draws["pet" if "pet" in draws else "peese"]
    return {**draws, "beta": np.column_stack([draws["beta"], slope])}


def selection_sample_loglik(rows: SelectionRows, draws: Draws) -> Vector:
    """Return each sample's log-likelihood for each draw, random effects integrated out.

    Parameters
    ----------
    rows : SelectionRows
        Rows of the design.
    draws : mapping of str to numpy.ndarray
        ``beta`` of shape (n, p), ``omega`` (n, J), ``tau_between`` (n,) and, with three levels,
        ``tau_within`` (n,).

    Returns
    -------
    numpy.ndarray of shape (n, m)
        Natural logs, with all constants.
    """
    result = sample_loglik(rows.blocks, draws)
    result += np.log(draws["omega"]) @ rows.decided.T
    for chunk, part in _chunks(rows, draws, len(rows.nodes)):
        result[chunk] += _log_factor(rows, part)
    return result


def draw_selection_effects(
    rows: SelectionRows, draws: Draws, rng: np.random.Generator
) -> tuple[Vector, Vector]:
    """Draw the random effects from their conditional distribution, one set for each draw.

    Parameters
    ----------
    rows : SelectionRows
        Rows of the design.
    draws : mapping of str to numpy.ndarray
        As for `selection_sample_loglik`.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    u : numpy.ndarray of shape (n, m)
        Deviation of each sample from what its moderators predict.
    w : numpy.ndarray of shape (n, k)
        Deviation of each effect from its sample; zero with two levels.
    """
    if rows.mechanism in ("joint", "study"):
        u, w = draw_effects(rows.blocks, draws, rng)
        return rows.direction * u, rows.direction * w
    blocks = rows.blocks
    n = len(draws["beta"])
    u, w = np.empty((n, len(rows.alone))), np.zeros((n, len(blocks.yi)))
    z = np.linspace(-FAR, FAR, POINTS)
    for chunk, part in _chunks(rows, draws, POINTS):
        mean, sd = _unselected_effect(rows, part)
        effects = mean[..., None] + sd[..., None] * z
        log_density = _log_after(rows, part, effects) - 0.5 * z**2
        density = np.exp(log_density - log_density.max(axis=2, keepdims=True))
        cumulative = np.cumsum(density, axis=2)
        cumulative /= cumulative[..., -1:]
        p = rng.uniform(size=mean.shape)
        right = np.clip(np.sum(cumulative < p[..., None], axis=2), 1, POINTS - 1)
        low, high = (
            np.take_along_axis(cumulative, (right - side)[..., None], axis=2)[..., 0]
            for side in (1, 0)
        )
        share = np.clip((p - low) / np.maximum(high - low, TINY), 0, 1)
        # A point stands for the interval around it.
        u[chunk] = mean + sd * (z[right - 1] + (share + 0.5) * (z[1] - z[0]))
        if "tau_within" in part:
            spread = part["tau_within"][:, None] ** 2 * blocks.within
            pull = spread / (spread + blocks.vi)
            left = blocks.yi - part["beta"] @ blocks.X.T - u[chunk][:, blocks.cluster]
            noise = rng.standard_normal(left.shape)
            w[chunk] = pull * left + np.sqrt(pull * blocks.vi) * noise
    return rows.direction * u, rows.direction * w


def make_enough_rows(design: Design, spec: ModelSpec) -> SelectionRows:
    """Return rows with nodes whose doubling changes nothing where the posterior can be.

    Parameters
    ----------
    design : Design
        The arrays of one model.
    spec : ModelSpec
        Mechanism and steps.

    Returns
    -------
    SelectionRows
        With nodes chosen at the hardest place: sample effects half as spread again as all effects
        together, nothing varying within samples, and weights down to 1 in 100.
    """
    rows = make_selection_rows(design, spec)
    if rows.mechanism != "replace" and np.all(rows.alone):
        return rows
    blocks = rows.blocks
    beta = np.linalg.lstsq(blocks.X, blocks.yi, rcond=None)[0]
    spread = np.std(blocks.yi - blocks.X @ beta)
    bins = rows.decided.shape[1]
    omega = np.geomspace(1.0, 0.01, bins)
    at = {
        "beta": np.tile(beta, (3, 1)),
        "tau_between": spread * np.array([0.25, 0.75, 1.5]),
        "tau_within": np.zeros(3),
        "omega": np.tile(omega, (3, 1)),
    }
    for count in LADDER:
        rows = rows.with_nodes(count)
        if _change_on_doubling(rows, at) < NODE_TOLERANCE:
            break
    return rows


def check_nodes(rows: SelectionRows, draws: Draws) -> None:
    """Check that the nodes were enough at the hardest draws.

    Parameters
    ----------
    rows : SelectionRows
        As they were sampled with.
    draws : mapping of str to numpy.ndarray
        As for `selection_sample_loglik`.

    Raises
    ------
    EngineError
        If doubling the nodes changes a sample's log-likelihood at one of them.
    """
    if len(rows.nodes) == 1:
        return
    hardest = np.concatenate(
        [
            np.argsort(draws["tau_between"])[-HARDEST:],
            np.argsort(draws["omega"].min(axis=1))[:HARDEST],
        ]
    )
    change = _change_on_doubling(rows, {name: v[hardest] for name, v in draws.items()})
    if change > WORST_TOLERANCE:
        raise EngineError(
            f"{len(rows.nodes)} nodes were not enough for the integral over the sample effect: at "
            f"the hardest draws doubling them changes a log-likelihood by {change:.1e} "
            f"(tau_between up to {draws['tau_between'].max():.3g}); use a prior of tau_between "
            "with a lighter tail"
        )


def _change_on_doubling(rows: SelectionRows, draws: Draws) -> float:
    double = rows.with_nodes(2 * len(rows.nodes), FAR)
    return float(np.max(np.abs(_log_factor(rows, draws) - _log_factor(double, draws))))


def _log_factor(rows: SelectionRows, draws: Draws) -> Vector:
    """Return what selection adds to the logs beside the weights of what was seen, (n, m)."""
    if rows.mechanism == "replace":
        return _mean(rows, _log_after(rows, draws, _effects_after(rows, draws)))
    effects = (1 - rows.alone)[:, None] * draws["tau_between"][:, None, None] * rows.nodes
    own = (rows.alone[rows.cluster] * draws["tau_between"][:, None] ** 2)[..., None]
    location, variance = _located(rows, draws, effects)
    variance = variance + own
    if rows.mechanism == "joint":
        return -_mean(rows, _by_sample(rows, _log_survival(rows, draws, location, variance)))
    weights = np.exp(rows.log_weights)
    if rows.mechanism == "study":
        seen = np.broadcast_to(draws["omega"][:, -1:], effects.shape[:2]).copy()
        for b, drop in enumerate(_drops(draws)):
            misses = _below(rows, location, variance, rows.cutoffs[:, b])
            none = np.exp(_by_sample(rows, np.log(np.maximum(misses, TINY))))
            seen += drop[:, None] * ((1 - none) @ weights)
        return -np.log(np.maximum(seen, TINY))
    fails = _by_sample(rows, _log_failure(rows, draws, location, variance, rows.cutoffs))
    seen = -np.expm1(fails + _log_unseen(rows, draws, effects)) @ weights
    after = _mean(rows, _log_after(rows, draws, _effects_after(rows, draws)))
    return after - np.log(np.maximum(seen, TINY))


def _log_after(rows: SelectionRows, draws: Draws, effects: Vector) -> Vector:
    """Return the log of what multiplies the density of sample effects (n, m, q)."""
    if rows.mechanism == "thin":
        return _log_unseen(rows, draws, effects)
    return -_by_sample(rows, _log_survival(rows, draws, *_located(rows, draws, effects)))


def _effects_after(rows: SelectionRows, draws: Draws) -> Vector:
    mean, sd = _unselected_effect(rows, draws)
    return mean[..., None] + sd[..., None] * rows.nodes


def _unselected_effect(rows: SelectionRows, draws: Draws) -> tuple[Vector, Vector]:
    """Return mean and sd of each sample's effect given its rows, without selection, (n, m)."""
    blocks, tau2 = rows.blocks, draws["tau_between"][:, None] ** 2
    precision = 1 / (blocks.vi + _within2(draws) * blocks.within)
    residual = blocks.yi - draws["beta"] @ blocks.X.T
    total = np.add.reduceat(precision, blocks.starts, axis=1)
    score = np.add.reduceat(precision * residual, blocks.starts, axis=1)
    variance = tau2 / (1 + tau2 * total)
    return variance * score, np.sqrt(variance)


def _located(rows: SelectionRows, draws: Draws, effects: Vector) -> tuple[Vector, Vector]:
    location = (draws["beta"] @ rows.X.T)[..., None] + effects[:, rows.cluster]
    return location, (rows.vi + _within2(draws) * rows.within)[..., None]


def _within2(draws: Draws) -> Vector:
    if "tau_within" in draws:
        return draws["tau_within"][:, None] ** 2
    return np.zeros((len(draws["beta"]), 1))


def _drops(draws: Draws) -> Vector:
    return (draws["omega"][:, :-1] - draws["omega"][:, 1:]).T


def _log_survival(rows: SelectionRows, draws: Draws, location: Vector, variance: Vector) -> Vector:
    total = np.broadcast_to(draws["omega"][:, -1, None, None], location.shape).copy()
    for b, drop in enumerate(_drops(draws)):
        cutoff, sd = rows.cutoffs[:, b, None], np.sqrt(variance)
        reach = special.ndtr((location - cutoff) / sd)
        if rows.two_sided:
            reach += special.ndtr((-location - cutoff) / sd)
        total += drop[:, None, None] * reach
    return np.log(np.maximum(total, TINY))


def _log_failure(
    rows: SelectionRows, draws: Draws, location: Vector, variance: Vector, cutoffs: Vector
) -> Vector:
    total = np.zeros(location.shape)
    for b, drop in enumerate(_drops(draws)):
        total += drop[:, None, None] * _below(rows, location, variance, cutoffs[:, b])
    return np.log(np.maximum(total, TINY))


def _log_unseen(rows: SelectionRows, draws: Draws, effects: Vector) -> Vector:
    location = (draws["beta"] @ rows.typical_design.T)[..., None] + effects
    variance = (rows.typical_vi + _within2(draws))[..., None]
    failure = _log_failure(rows, draws, location, variance, rows.typical_cutoffs)
    return rows.missing[:, None] * failure


def _below(rows: SelectionRows, location: Vector, variance: Vector, cutoff: Vector) -> Vector:
    cutoff, sd = cutoff[:, None], np.sqrt(variance)
    if not rows.two_sided:
        return special.ndtr((cutoff - location) / sd)
    size = np.abs(location)
    return special.ndtr((cutoff - size) / sd) - special.ndtr((-cutoff - size) / sd)


def _by_sample(rows: SelectionRows, logs: Vector) -> Vector:
    starts = np.flatnonzero(np.r_[True, np.diff(rows.cluster) > 0])
    return np.add.reduceat(rows.copies[:, None] * logs, starts, axis=1)


def _mean(rows: SelectionRows, log_values: Vector) -> Vector:
    return special.logsumexp(log_values + rows.log_weights, axis=2)


def _chunks(rows: SelectionRows, draws: Draws, points: int) -> Iterator[tuple[slice, Draws]]:
    n = len(draws["beta"])
    step = max(1, CHUNK // (max(len(rows.cluster), len(rows.alone)) * points))
    for first in range(0, n, step):
        chunk = slice(first, first + step)
        yield chunk, {name: values[chunk] for name, values in draws.items()}

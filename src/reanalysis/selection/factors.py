"""The factor by which each selection mechanism changes the likelihood of a sample.

Every factor is an expectation over the sample's effect u, taken at a given number of nodes. All
functions here take a batch of parameter values (`Points`), a layout of samples and that number,
and return the expectation with shape (points, samples, weights). `likelihood` multiplies them and
chooses the number of nodes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import special

from reanalysis.selection.data import Layout, Mechanism, SelectionData
from reanalysis.selection.nodes import half_width, normal_nodes, trapezoid_nodes

__all__ = ["Factor", "Points", "log_marginal", "mechanism_factors"]

Vector = NDArray[np.float64]

IMPOSSIBLE = 1e-300
UNREPORTED_REACH = 13.0  # unreported effects can pull the integrand that far from the centre


@dataclass(frozen=True, eq=False)
class Points:
    """Parameter values at which a likelihood is wanted.

    Attributes
    ----------
    data : SelectionData
        The effects.
    eta : numpy.ndarray of shape (S, k)
        Expected effect of each row.
    between, within : numpy.ndarray of shape (S,)
        Standard deviations of the sample effects and within samples.
    omega : numpy.ndarray of shape (R, J), or (S, J) if paired
        Weights of the bins.
    paired : bool
        Whether `omega` belongs to the points one by one; otherwise all are combined.
    """

    data: SelectionData
    eta: Vector
    between: Vector
    within: Vector
    omega: Vector
    paired: bool

    def __post_init__(self) -> None:
        """Check shapes and signs."""
        count, k, bins = len(self.eta), self.data.k, self.data.bins.count
        rows = count if self.paired else len(self.omega)
        expected = {"eta": (count, k), "between": (count,), "within": (count,)}
        for name, shape in {**expected, "omega": (rows, bins)}.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {shape}")
        if np.any(self.between < 0) or np.any(self.within < 0):
            raise ValueError("standard deviations must not be negative")
        if self.data.mechanism == "thin" and np.any(self.omega > 1):
            raise ValueError("under 'thin' weights are probabilities of being reported, at most 1")
        if not np.all(self.omega > 0):
            raise ValueError("weights must be positive; take a small one such as 1e-6 for none")

    def take(self, index: NDArray[np.intp], omega: Vector | None = None) -> "Points":
        """Return some of the points, with other weights if given."""
        if omega is None:
            omega = self.omega[index] if self.paired else self.omega
        return replace(
            self,
            eta=self.eta[index],
            between=self.between[index],
            within=self.within[index],
            omega=omega,
        )

    @property
    def row_variance(self) -> Vector:
        """``s2_k``, shape (S, k)."""
        return self.data.vi + self.within[:, None] ** 2 / self.data.n_averaged

    def mix(self, tails: Sequence[Vector]) -> Vector:
        """Return ``sum_b (omega_b - omega_{b+1}) tails_b`` with weights as the last axis."""
        drops = self.omega[:, :-1] - self.omega[:, 1:]
        if not self.paired:
            return np.tensordot(np.stack(tails), drops, axes=(0, 1))
        total = tails[0] * drops[:, 0, None, None]
        for tail, drop in zip(tails[1:], drops[:, 1:].T, strict=True):
            total += tail * drop[:, None, None]
        return total[..., None]

    @property
    def last(self) -> Vector:
        """The weights of the last bin, shaped to be added to `mix`."""
        return self.omega[:, -1][:, None, None, None] if self.paired else self.omega[:, -1]


@dataclass(frozen=True)
class Factor:
    """An expectation that multiplies or divides the likelihood of some samples.

    Attributes
    ----------
    layout : Layout
        The samples.
    value : callable
        Points, layout and number of nodes to the expectation, (points, samples, weights).
    divides : bool
        Whether the likelihood is divided by it.
    integrates : bool
        False where the sample's effect is absorbed and the number of nodes does not matter.
    bounded : bool
        Whether it, or its inverse, lies between ``omega_min ** (effects per sample)`` and 1.
    nodes_first : bool
        Whether the nodes are summed before weights that are combined with all points enter.
    """

    layout: Layout
    value: Callable[[Points, Layout, int], Vector]
    divides: bool
    integrates: bool = True
    bounded: bool = True
    nodes_first: bool = False


def log_marginal(points: Points) -> tuple[Vector, Vector, Vector]:
    """Return the log density without selection, and the sample effects' posterior.

    Parameters
    ----------
    points : Points
        Parameter values; the weights are not used.

    Returns
    -------
    logdensity : numpy.ndarray of shape (S,)
        ``log int N(u) prod_k f_k du``, summed over samples.
    mean, sd : numpy.ndarray of shape (S, m)
        Of each sample's effect given its rows.
    """
    data, s2 = points.data, points.row_variance
    tau2 = points.between[:, None] ** 2
    residual = data.yi - points.eta
    total = np.add.reduceat(1 / s2, data.starts, axis=1)
    score = np.add.reduceat(residual / s2, data.starts, axis=1)
    spread = 1 + tau2 * total
    variance = tau2 / spread
    quadratic = np.sum(residual**2 / s2, axis=1) - np.sum(variance * score**2, axis=1)
    log_determinant = np.sum(np.log(s2), axis=1) + np.sum(np.log(spread), axis=1)
    logdensity = -0.5 * (data.k * np.log(2 * np.pi) + log_determinant + quadratic)
    return logdensity, variance * score, np.sqrt(variance)


def mechanism_factors(points: Points) -> list[Factor]:
    """Return the factors that together make up the mechanism.

    Parameters
    ----------
    points : Points
        The effects, their mechanism and parameter values.

    Returns
    -------
    list of Factor
        Factors without samples are left out.
    """
    data = points.data
    missing = np.flatnonzero(data.missing)
    unreported = Layout.of(missing, data.starts, data.sizes)
    table: dict[Mechanism, Callable[[], list[Factor]]] = {
        "none": list,
        "joint": lambda: _normalisers(points, _all_survive),
        "study": lambda: (
            _normalisers(points, _best_survives)
            if data.primary is None
            else [Factor(_primary(data), _marginal_survival, divides=True, integrates=False)]
        ),
        "thin": lambda: [
            *_normalisers(points, _any_survives),
            Factor(unreported, _unreported, divides=False, bounded=False),
        ],
        "replace": lambda: [
            Factor(layout, _replaced, divides=False)
            for layout in _layouts(points, np.arange(data.m))
        ],
    }
    return [factor for factor in table[data.mechanism]() if factor.layout.widths]


def _normalisers(points: Points, seen: "_Seen") -> list[Factor]:
    """Return P(sample is seen); with one effect u only adds to the variance of the row."""

    def several(points: Points, layout: Layout, count: int) -> Vector:
        nodes, weights = normal_nodes(count, half_width(_floor(points, layout)))
        effects = points.between[:, None, None] * nodes
        effects = np.repeat(effects, len(layout.clusters), axis=1)
        return seen(_Rows(points, layout, effects, points.row_variance), weights)

    return [
        Factor(points.data.single, _marginal_survival, divides=True, integrates=False),
        *(
            Factor(layout, several, divides=True, nodes_first=seen is not _any_survives)
            for layout in _layouts(points, points.data.multiple.clusters)
        ),
    ]


def _marginal_survival(points: Points, layout: Layout, count: int) -> Vector:
    """Return the chance that one effect of each sample passes."""
    effects = np.zeros((len(points.eta), len(layout.clusters), 1))
    s2 = points.row_variance + points.between[:, None] ** 2
    return _Rows(points, layout, effects, s2).survival()[:, :, 0]


def _primary(data: SelectionData) -> Layout:
    assert data.primary is not None
    return Layout(np.arange(data.m), np.flatnonzero(data.primary), (data.m,))


def _layouts(points: Points, clusters: NDArray[np.intp]) -> list[Layout]:
    """Return the samples whose rows are all alike, which need one row each, and the others."""
    data = points.data
    differs = np.any(points.eta != points.eta[:, data.starts][:, data.cluster], axis=0)
    alike = ~np.logical_or.reduceat(differs | ~data.same_precision, data.starts)[clusters]
    return [
        Layout.of(clusters[alike], data.starts, data.sizes, alike=True),
        Layout.of(clusters[~alike], data.starts, data.sizes),
    ]


def _replaced(points: Points, layout: Layout, count: int) -> Vector:
    """Return ``E[1 / prod A_k(u) | y]``."""
    # 1 / prod A_k grows to omega_min**-K in the tail, which moves the integrand outwards.
    reach = half_width(_floor(points, layout))
    effects, weights = _posterior_nodes(points, layout, count, reach)
    survival = _Rows(points, layout, effects, points.row_variance).survival()
    return np.einsum("n,scnr->scr", weights, 1 / layout.product(survival))


def _unreported(points: Points, layout: Layout, count: int) -> Vector:
    """Return ``E[(1 - A(u))**(M - m) | y]``."""
    effects, weights = _posterior_nodes(points, layout, count, UNREPORTED_REACH)
    rows = _Rows(points, layout, effects, points.row_variance)
    missing = points.data.missing[layout.clusters][:, None, None]
    location, sd, cutoffs = _typical(rows)
    # Summed over the bins missed, not 1 - A: far out that would be rounding error. It is zero if
    # all weights are 1: then nothing measured can be missing.
    failure = points.mix(_missed(points, location, sd, cutoffs)) ** missing
    return np.maximum(np.einsum("n,scnr->scr", weights, failure), IMPOSSIBLE)


def _floor(points: Points, layout: Layout) -> float:
    """Minus log of the smallest value that ``prod A_k`` can take."""
    return -len(layout.widths) * float(np.log(points.omega.min()))


def _posterior_nodes(
    points: Points, layout: Layout, count: int, reach: float
) -> tuple[Vector, Vector]:
    nodes, weights = trapezoid_nodes(count, reach)
    _, mean, sd = log_marginal(points)
    return mean[:, layout.clusters, None] + sd[:, layout.clusters, None] * nodes, weights


class _Rows:
    """The rows of some samples, given the samples' effects at nodes, (points, samples, nodes)."""

    def __init__(self, points: Points, layout: Layout, effects: Vector, s2: Vector) -> None:
        self.points, self.layout, self.effects = points, layout, effects
        self.location = points.eta[:, layout.rows, None] + effects[:, layout.owner]
        self.sd = np.sqrt(s2[:, layout.rows, None])
        self.cutoffs = points.data.cutoffs[layout.rows]

    def survival(self) -> Vector:
        """``A_k(u)``, shape (points, rows, nodes, weights)."""
        return self.points.last + self.points.mix(
            _reached(self.points, self.location, self.sd, self.cutoffs)
        )


# Rows at nodes and the weights of the nodes to the probability that each sample is seen.
_Seen = Callable[[_Rows, Vector], Vector]


def _reached(points: Points, location: Vector, sd: Vector, cutoffs: Vector) -> list[Vector]:
    """P(bin <= b) for every b < J - 1, each of shape (points, rows, nodes)."""
    # One array per bin: an array whose last axis is short is several times as slow.
    steps = [cutoff[:, None] for cutoff in cutoffs.T]
    above = [special.ndtr((location - cutoff) / sd) for cutoff in steps]
    if points.data.bins.two_sided:
        for tail, cutoff in zip(above, steps, strict=True):
            tail += special.ndtr((-location - cutoff) / sd)
    return above


def _missed(points: Points, location: Vector, sd: Vector, cutoffs: Vector) -> list[Vector]:
    """P(bin > b), the complement of `_reached` without cancellation."""
    steps = [cutoff[:, None] for cutoff in cutoffs.T]
    if not points.data.bins.two_sided:
        return [special.ndtr((cutoff - location) / sd) for cutoff in steps]
    size = np.abs(location)
    return [special.ndtr((c - size) / sd) - special.ndtr((-c - size) / sd) for c in steps]


def _all_survive(rows: _Rows, weights: Vector) -> Vector:
    most = len(rows.layout.widths)
    bins, paired = rows.points.data.bins.count, rows.points.paired
    if paired or math.comb(most + bins - 1, most) > len(rows.points.omega):
        return np.einsum("n,scnr->scr", weights, rows.layout.product(rows.survival()))
    # prod A_k is a polynomial in the weights with positive terms: the nodes are summed first.
    reached = _reached(rows.points, rows.location, rows.sd, rows.cutoffs)
    between = [after - before for before, after in pairwise(reached)]
    by_bin = [reached[0], *between, 1 - reached[-1]]
    by_position = list(zip(*(rows.layout.parts(share) for share in by_bin), strict=True))
    widths = np.array([*rows.layout.widths, 0])
    results = []
    for size in np.flatnonzero(np.diff(widths))[::-1] + 1:  # the largest samples come first
        some = slice(widths[size], widths[size - 1])
        shares = [[share[:, some] for share in position] for position in by_position[:size]]
        results.append(_expected_product(shares, weights, rows.points.omega))
    return np.concatenate(results, axis=1)


def _expected_product(shares: Sequence[Sequence[Vector]], weights: Vector, omega: Vector) -> Vector:
    """Return ``E[prod_k sum_b omega_b share_kb]``, shape (points, samples, weights).

    `shares` holds, for every row of the samples, the chance of every bin at the nodes.
    """
    none = (0,) * (omega.shape[1] - 1)
    first, *others = shares
    units = [none, *(tuple(int(i == b) for i in range(len(none))) for b in range(len(none)))]
    terms = dict(zip(units, first, strict=True))
    for row in others:
        longer: dict[tuple[int, ...], Vector] = {}
        for powers, coefficient in terms.items():
            for unit, share in zip(units, row, strict=True):
                key = tuple(map(sum, zip(powers, unit, strict=True)))
                product = coefficient * share
                if key in longer:
                    longer[key] += product
                else:
                    longer[key] = product
        terms = longer
    coefficients = np.stack([term @ weights for term in terms.values()], axis=-1)
    monomials = [np.prod(omega[:, 1:] ** np.array(powers), axis=1) for powers in terms]
    return coefficients @ np.array(monomials)


def _best_survives(rows: _Rows, weights: Vector) -> Vector:
    reached = _reached(rows.points, rows.location, rows.sd, rows.cutoffs)
    # Linear in the weights of the bins, so the nodes can be summed first.
    expected = [_any_reaches(rows.layout, above) @ weights for above in reached]
    return (rows.points.last + rows.points.mix([tail[..., None] for tail in expected]))[:, :, 0]


def _any_reaches(layout: Layout, above: Vector) -> Vector:
    # A_1 + (1 - A_1) A_2 + ...: 1 - prod(1 - A) would be rounding error far out.
    first, *others = layout.parts(above)
    total = first.copy()
    for part in others:
        some = total[:, : part.shape[1]]
        some += (1 - some) * part
    return total


def _any_survives(rows: _Rows, weights: Vector) -> Vector:
    # seen = A_1 + (1 - A_1) A_2 + ...: every term is positive, so nothing cancels.
    survival = rows.survival()
    first, *others = rows.layout.parts(survival)
    seen, unseen = first.copy(), 1 - first
    for part in others:
        width = part.shape[1]
        seen[:, :width] += unseen[:, :width] * part
        unseen[:, :width] *= 1 - part
    missing = rows.points.data.missing[rows.layout.clusters].astype(int)[:, None, None]
    if np.any(missing):
        typical = rows.points.last + rows.points.mix(_reached(rows.points, *_typical(rows)))
        seen += unseen * _any_of(typical, missing)
    return np.einsum("n,scnr->scr", weights, seen)


def _any_of(chance: Vector, times: NDArray[np.int_]) -> Vector:
    """Return ``1 - (1 - chance) ** times``, by doubling and without cancellation."""
    total = chance * (times & 1)
    while np.any(times := times >> 1):
        chance = chance * (2 - chance)
        total += (1 - total) * chance * (times & 1)
    return total


def _typical(rows: _Rows) -> tuple[Vector, Vector, Vector]:
    """Return mean, sd and cut-offs of an unreported effect: those of its sample, averaged."""
    points, data, clusters = rows.points, rows.points.data, rows.layout.clusters
    eta = np.add.reduceat(points.eta, data.starts, axis=1) / data.sizes
    vi = (np.add.reduceat(data.vi, data.starts) / data.sizes)[clusters]
    cutoffs = (np.add.reduceat(data.cutoffs, data.starts) / data.sizes[:, None])[clusters]
    location = eta[:, clusters, None] + rows.effects
    return location, np.sqrt(vi[:, None] + points.within[:, None, None] ** 2), cutoffs

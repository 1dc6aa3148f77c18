"""What is asked about each moderator: marginal means, differences and slopes, as weights.

Every one is a linear combination of the coefficients, or a pair of them; how a factor is coded
no longer matters here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.moderators import ModeratorTerm, Setting, Variable

__all__ = ["Kind", "Target", "line_of", "make_targets"]

Vector = NDArray[np.float64]
Kind = Literal["mean", "difference", "slope"]

LINE_POINTS = 33


@dataclass(frozen=True, eq=False)
class Target:
    """One quantity.

    Attributes
    ----------
    term : str
        The term of the model that it is about.
    label : str
        Level or value of a mean; ``late vs early``, or ``per unit``.
    kind : str
        ``mean``: the mean effect at a level or value, other moderators averaged over their levels
        or at their centre. ``difference``: between two such means. ``slope``: per unit of a
        number.
    first : numpy.ndarray of shape (p,)
        Weights of the coefficients.
    second : numpy.ndarray of shape (p,)
        Weights of what is subtracted; zero but for a difference.
    """

    term: str
    label: str
    kind: Kind
    first: Vector
    second: Vector

    @property
    def weights(self) -> Vector:
        """Weights of the quantity itself, of shape (p,)."""
        return self.first - self.second


def make_targets(design: Design) -> tuple[Target, ...]:
    """Return what is asked about the moderators of a design.

    Parameters
    ----------
    design : Design
        The arrays of a model with moderators.

    Returns
    -------
    tuple of Target
        For each term its means, then its differences or slopes. A factor has the mean of each
        level, and the differences from its reference; without a reference all pairs, and with
        three or more levels the difference of each from their average. A number has the means at
        its smallest value, its centre and its largest, the difference of largest and smallest,
        and the slope. An interaction of factors has the mean of each cell; one of a factor with
        a number the slope at each level.
    """
    found: list[Target] = []
    for term in design.terms:
        if len(term.variables) > 1:
            found += _interaction(design, term)
        elif term.variables[0].levels:
            found += _factor(design, term)
        else:
            found += _number(design, term)
    return tuple(found)


def line_of(design: Design, term: ModeratorTerm) -> tuple[Vector, Vector] | None:
    """Return the mean effect along a number, for a fitted line.

    Parameters
    ----------
    design : Design
        The arrays of the model.
    term : ModeratorTerm
        One of its terms.

    Returns
    -------
    x : numpy.ndarray of shape (n,)
        Values from the smallest to the largest.
    weights : numpy.ndarray of shape (n, p)
        Weights of the mean effect there; None for a factor, an interaction or a within part.
    """
    variable = term.variables[0]
    if len(term.variables) > 1 or variable.levels or term.part == "within":
        return None
    x = np.linspace(*variable.limits, LINE_POINTS)
    weights = [_weights(design, {term.key(variable): float(value)}) for value in x]
    return x, np.array(weights)


def _weights(design: Design, setting: Mapping[str, Setting]) -> Vector:
    """Return the weights of the mean effect at a setting."""
    weights = np.zeros(design.p)
    weights[0] = 1.0  # the intercept
    for term in design.terms:
        weights[list(term.columns)] = term.row(setting)
    return weights


def _factor(design: Design, term: ModeratorTerm) -> Iterator[Target]:
    variable = term.variables[0]
    key, zero = term.key(variable), np.zeros(design.p)
    at = {level: _weights(design, {key: level}) for level in variable.levels}
    if term.part != "within":  # a mean at a deviation from the sample's mean is no sample's mean
        for level, weights in at.items():
            yield Target(term.name, level, "mean", weights, zero)
    if variable.reference:
        others = [level for level in variable.levels if level != variable.reference]
        pairs = [(level, variable.reference) for level in others]
    else:
        pairs = [(second, first) for first, second in combinations(variable.levels, 2)]
    for level, other in pairs:
        yield Target(term.name, f"{level} vs {other}", "difference", at[level], at[other])
    if len(variable.levels) > 2 and not variable.reference:
        average = np.mean(list(at.values()), axis=0)
        for level, weights in at.items():
            yield Target(term.name, f"{level} vs average", "difference", weights, average)


def _number(design: Design, term: ModeratorTerm) -> Iterator[Target]:
    variable = term.variables[0]
    key, zero = term.key(variable), np.zeros(design.p)
    low, high = variable.limits
    if term.part != "within":
        for value in sorted({low, variable.centre, high}):
            weights = _weights(design, {key: value})
            yield Target(term.name, f"{value:.4g}", "mean", weights, zero)
        ends = (_weights(design, {key: high}), _weights(design, {key: low}))
        yield Target(term.name, f"{high:.4g} vs {low:.4g}", "difference", *ends)
    yield Target(term.name, "per unit", "slope", _slope(design, term, variable, {}), zero)


def _interaction(design: Design, term: ModeratorTerm) -> Iterator[Target]:
    zero = np.zeros(design.p)
    factors = [variable for variable in term.variables if variable.levels]
    numbers = [variable for variable in term.variables if not variable.levels]
    cells = [
        dict(zip([f.name for f in factors], levels, strict=True))
        for levels in product(*(f.levels for f in factors))
    ]
    if not numbers:
        for cell in cells:
            weights = _weights(design, cell)
            yield Target(term.name, ":".join(cell.values()), "mean", weights, zero)
    elif len(numbers) == 1 and factors:
        for cell in cells:
            label = f"{numbers[0].name} per unit at {':'.join(cell.values())}"
            yield Target(term.name, label, "slope", _slope(design, term, numbers[0], cell), zero)
    else:
        for column in term.columns:
            weights = np.eye(design.p)[column]
            yield Target(term.name, "product, per unit of each", "slope", weights, zero)


def _slope(
    design: Design, term: ModeratorTerm, variable: Variable, cell: Mapping[str, Setting]
) -> Vector:
    key = term.key(variable)
    step = {**cell, key: variable.centre + 1.0}
    return _weights(design, step) - _weights(design, {**cell, key: variable.centre})

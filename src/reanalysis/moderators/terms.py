"""What the columns of a design mean: the variables of each term, and the coding of levels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["ModeratorTerm", "Part", "Setting", "Variable", "sum_to_zero"]

Vector = NDArray[np.float64]
Part = Literal["whole", "between", "within"]
Setting = str | float


def sum_to_zero(count: int) -> Vector:
    """Return exchangeable contrasts of the levels of a factor.

    Parameters
    ----------
    count : int
        Number of levels, L.

    Returns
    -------
    numpy.ndarray of shape (L, L - 1)
        What each level adds to the linear predictor per unit of each coefficient. The columns
        are orthogonal, sum to zero, and have length ``sqrt(1/2)``.

    Notes
    -----
    With independent N(0, s²) coefficients the effects of all levels are exchangeable and sum to
    zero, and *any two levels differ by N(0, s²)*, however many levels there are. That is the
    meaning of the prior of a single 0/1 indicator, so that factors of any size can share one
    prior. (Indicators of L - 1 levels against a last one lack this: the last level would be
    closer to the others, and differences between those would have the variance 2 s².)

    Examples
    --------
    >>> sum_to_zero(2).tolist()
    [[-0.5], [0.5]]
    """
    basis = np.zeros((count, count - 1))
    for j in range(1, count):
        length = np.sqrt(2.0 * j * (j + 1))
        basis[:j, j - 1] = -1 / length
        basis[j, j - 1] = j / length
    return basis


@dataclass(frozen=True, eq=False)
class Variable:
    """One column of the table as a moderator.

    Attributes
    ----------
    name : str
        The column.
    levels : tuple of str
        Levels of a factor; empty for a number.
    coding : numpy.ndarray of shape (L, q)
        What each level enters the design matrix with; ``(0, 1)`` for a number.
    reference : str
        Reference level of indicators; empty for sum-to-zero contrasts and numbers.
    centre : float
        Value of a number at which it is zero in the design matrix.
    stated : bool
        Whether the model states the centre; else it is the mean of the samples.
    sd : float
        Standard deviation of a number over samples.
    unit : float
        The step of one comparison: two standard deviations of a number (Gelman 2008), the
        distance of its values if there are only two; 1 for a factor, whose coding has it.
    limits : tuple of float
        Smallest and largest value of a number.
    """

    name: str
    levels: tuple[str, ...]
    coding: Vector
    reference: str = ""
    centre: float = 0.0
    stated: bool = False
    sd: float = 1.0
    unit: float = 1.0
    limits: tuple[float, float] = (0.0, 0.0)

    @property
    def average(self) -> Vector:
        """Coded row of shape (q,) that weighs all levels alike; zero for a number."""
        return self.coding.mean(axis=0) if self.levels else np.zeros(1)

    def row(self, setting: Setting) -> Vector:
        """Return the coded row of shape (q,) of a level or a value."""
        if self.levels:
            return self.coding[self.levels.index(str(setting))]
        return np.array([float(setting) - self.centre])

    def describe(self) -> str:
        """Return how the variable enters the model, in words."""
        if not self.levels:
            why = "as the model states" if self.stated else "the mean of the samples"
            return f"'{self.name}' is a number, counted from {self.centre:.4g} ({why})"
        if self.reference:
            return f"'{self.name}' compares each level with '{self.reference}'"
        if len(self.levels) == 2:
            return f"'{self.name}' is the difference of '{self.levels[1]}' from '{self.levels[0]}'"
        return f"'{self.name}' has sum-to-zero contrasts of {', '.join(self.levels)}"


@dataclass(frozen=True, eq=False)
class ModeratorTerm:
    """One term of a model.

    Attributes
    ----------
    name : str
        ``late_share``, ``disorder``, ``mode:late_share``; with ``.between`` or ``.within`` where
        a moderator was split.
    columns : tuple of int
        Its columns of the design matrix.
    variables : tuple of Variable
        One, or the several of an interaction.
    part : str
        ``whole``, or the part of a moderator that varies ``between`` or ``within`` samples.
    """

    name: str
    columns: tuple[int, ...]
    variables: tuple[Variable, ...]
    part: Part = "whole"

    @property
    def moderator(self) -> str:
        """What the term is about, without the part: ``time`` of ``time.between``."""
        return ":".join(variable.name for variable in self.variables)

    @property
    def unit(self) -> float:
        """The step of one comparison, of all columns alike."""
        return float(np.prod([variable.unit for variable in self.variables]))

    def key(self, variable: Variable) -> str:
        """Return the name by which a setting chooses a value of a variable in this term."""
        return variable.name if self.part == "whole" else f"{variable.name}.{self.part}"

    def row(self, setting: Mapping[str, Setting]) -> Vector:
        """Return the term's columns at chosen values.

        Parameters
        ----------
        setting : mapping of str to str or float
            Level or value of some variables, by `key`; the others are averaged over their
            levels, or at the value where they are zero.

        Returns
        -------
        numpy.ndarray of shape (q,)
            Entries of the design matrix.
        """
        if self.part == "within":
            # The deviation of one row from its sample's mean; other samples have none.
            variable = self.variables[0]
            if self.key(variable) not in setting:
                return np.zeros(len(self.columns))
            return variable.row(setting[self.key(variable)]) - variable.average
        row = np.ones(1)
        for variable in self.variables:
            key = self.key(variable)
            coded = variable.row(setting[key]) if key in setting else variable.average
            row = np.outer(row, coded).ravel()
        return row

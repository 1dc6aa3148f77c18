"""How many samples and effects each level of a moderator has."""

from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.moderators import ModeratorTerm, Variable

__all__ = ["count_levels"]

FEW = 2  # values of a number that are counted one by one


def count_levels(design: Design) -> pd.DataFrame:
    """Count samples and effects by level of each term.

    Parameters
    ----------
    design : Design
        The data of a model with moderators.

    Returns
    -------
    pandas.DataFrame
        One row per term and level (or cell of an interaction): ``term``, ``level``, ``samples``,
        ``rows`` and ``effects``, where a row that averages several effects counts as so many. A
        number of more than two values has one row, from the smallest to the largest.
    """
    rows = []
    for term in design.terms:
        for label, match in _levels(design, term):
            rows.append(
                {
                    "term": term.name,
                    "level": label,
                    "samples": len(np.unique(design.cluster[match])),
                    "rows": int(match.sum()),
                    "effects": round(float(design.n_averaged[match].sum())),
                }
            )
    return pd.DataFrame(rows, columns=["term", "level", "samples", "rows", "effects"])


def _levels(design: Design, term: ModeratorTerm) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the levels of a term, or cells of an interaction, with the rows of each."""
    every = np.ones(design.k, dtype=bool)
    by_variable = [_of_variable(design, variable) for variable in term.variables]
    cells = []
    for cell in product(*by_variable):
        match = every
        for _, rows in cell:
            match = match & rows
        cells.append((":".join(label for label, _ in cell), match))
    return cells


def _of_variable(design: Design, variable: Variable) -> list[tuple[str, NDArray[np.bool_]]]:
    values = design.moderators[variable.name]
    if variable.levels:
        return [(level, values == level) for level in variable.levels]
    distinct = np.unique(values)
    if len(distinct) <= FEW:
        return [(f"{value:.4g}", values == value) for value in distinct]
    low, high = variable.limits
    return [(f"{low:.4g} to {high:.4g}", np.ones(design.k, dtype=bool))]

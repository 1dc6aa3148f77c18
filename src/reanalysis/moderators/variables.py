"""One moderator of the table as a `Variable`: number or factor, centre, reference, coding."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.moderators.formula import Piece
from reanalysis.moderators.terms import Variable, sum_to_zero
from reanalysis.nearest import folded
from reanalysis.spec import ModelSpec, SpecError

__all__ = ["Rows", "alike_levels", "coded", "levels_of", "lone_levels", "make_variable"]

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

SAME = 1e-9  # of a number's range: means of samples that differ by rounding only


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a table that a model uses, by sample.

    Attributes
    ----------
    used : numpy.ndarray of shape (k,)
        Whether each row is used.
    code : numpy.ndarray of shape (k,)
        Integer code of each row's sample.
    names : tuple of str
        Label of each sample.
    weight : numpy.ndarray of shape (k,)
        Number of effects that each row stands for.
    """

    used: Mask
    code: NDArray[np.intp]
    names: tuple[str, ...]
    weight: Vector

    @property
    def samples(self) -> NDArray[np.intp]:
        """Codes of the samples in use."""
        return np.unique(self.code[self.used])

    def means(self, values: Vector) -> Vector:
        """Return the mean of columns of shape (k, q) in each sample, at every row of it.

        A row that averages several effects counts as so many; rows not in use do not count.
        """
        weight = np.where(self.used, self.weight, 0.0)
        total = np.bincount(self.code, weight, len(self.names))
        sums = np.stack(
            [
                np.bincount(self.code, weight * column, len(self.names))
                for column in np.where(self.used[:, None], values, 0.0).T
            ],
            axis=1,
        )
        return (sums / np.maximum(total, 1e-300)[:, None])[self.code]


def make_variable(
    cells: pd.Series, piece: Piece, model: ModelSpec, rows: Rows, where: str
) -> Variable:
    """Return a column of the table as a moderator.

    Parameters
    ----------
    cells : pandas.Series of shape (k,)
        The column.
    piece : Piece
        Its name, and whether the formula calls it a factor or a centred number.
    model : ModelSpec
        Gives ``reference`` and ``centring``.
    rows : Rows
        Rows in use.
    where : str
        The model, for messages.

    Returns
    -------
    Variable
        With the centre and spread of a number, or the levels and coding of a factor.

    Raises
    ------
    SpecError
        If it is the same in every row, identifies the samples, or is asked to be what it is not.
    """
    name = piece.column
    if piece.form != "C" and pd.api.types.is_numeric_dtype(cells):
        return _number(cells.to_numpy(float), piece, model, rows, where)
    if piece.form == "center" or name in model.centring:
        raise SpecError(
            [f"{where}: moderator '{name}' holds text, so it has no mean to be centred at."]
        )
    levels = levels_of(cells[rows.used])
    if len(levels) == 1:
        raise _constant(where, name, f"'{levels[0]}'")
    pairs = {(level, j) for level, j in zip(cells[rows.used], rows.code[rows.used], strict=True)}
    if len(levels) == len(rows.samples) == len(pairs):
        raise SpecError(
            [
                f"{where}: moderator '{name}' has {len(levels)} levels in {len(levels)} samples, "
                "so it names the samples rather than describing them; remove it, or merge levels."
            ]
        )
    reference = model.reference.get(name, "")
    if not reference:
        return Variable(name, levels, sum_to_zero(len(levels)))
    if reference not in levels:
        raise SpecError(
            [
                f"{where}: reference level '{reference}' of '{name}' is not in the rows of this "
                f"model; its levels are {', '.join(levels)}."
            ]
        )
    indicators = np.delete(np.eye(len(levels)), levels.index(reference), axis=1)
    return Variable(name, levels, indicators, reference)


def _number(values: Vector, piece: Piece, model: ModelSpec, rows: Rows, where: str) -> Variable:
    name = piece.column
    if name in model.reference:
        raise SpecError(
            [
                f"{where}: 'reference' names '{name}', which holds numbers; write C({name}) in a "
                f"formula to make it a factor, or centring = {{ {name} = … }} to place its zero."
            ]
        )
    used = values[rows.used]
    low, high = float(used.min()), float(used.max())
    if low == high:
        raise _constant(where, name, f"{low:g}")
    first = np.unique(rows.code[rows.used], return_index=True)[1]
    by_sample = rows.means(values[:, None])[rows.used][first, 0]
    stated = "mean" if piece.form else model.centring.get(name, "mean")
    centre = float(by_sample.mean()) if stated == "mean" else float(stated)
    two = len(np.unique(used)) == 2
    spread = float(by_sample.std())
    sd = spread if spread > SAME * (high - low) else float(used.std())
    return Variable(
        name,
        (),
        np.ones((1, 1)),
        centre=centre,
        stated=stated != "mean",
        sd=sd,
        unit=high - low if two else 2 * sd,
        limits=(low, high),
    )


def _constant(where: str, name: str, value: str) -> SpecError:
    return SpecError(
        [f"{where}: moderator '{name}' is {value} in every row that the model uses; remove it."]
    )


def levels_of(cells: pd.Series) -> tuple[str, ...]:
    """Return the levels of a factor as text, in order; numbers are ordered as numbers."""
    known = cells.dropna()
    if pd.api.types.is_numeric_dtype(known):
        return tuple(f"{value:g}" for value in np.unique(known.to_numpy(float)))
    return tuple(sorted({str(cell) for cell in known}))


def as_text(cells: pd.Series) -> NDArray[np.str_]:
    """Return the level of every row; empty where it is missing."""
    number = pd.api.types.is_numeric_dtype(cells)
    return np.array(["" if pd.isna(c) else f"{c:g}" if number else str(c) for c in cells])


def coded(cells: pd.Series, variable: Variable) -> tuple[Vector, NDArray[np.generic]]:
    """Return a variable's columns of the design matrix, and its values as they are.

    Parameters
    ----------
    cells : pandas.Series of shape (k,)
        The column.
    variable : Variable
        Its coding.

    Returns
    -------
    columns : numpy.ndarray of shape (k, q)
        Zero where the value is missing, or is a level that the model's rows do not have.
    values : numpy.ndarray of shape (k,)
        Numbers, or levels as text.
    """
    if not variable.levels:
        numbers = cells.to_numpy(float)
        return np.nan_to_num(numbers - variable.centre)[:, None], numbers
    text = as_text(cells)
    columns = np.zeros((len(text), variable.coding.shape[1]))
    for level, row in zip(variable.levels, variable.coding, strict=True):
        columns[text == level] = row
    return columns, text


def alike_levels(variables: Mapping[str, Variable]) -> list[str]:
    """Return a sentence for each level that a reader would take for another of its factor."""
    notes = []
    for name, variable in variables.items():
        known: dict[str, str] = {}
        for level in variable.levels:
            other = known.setdefault(folded(level), level)
            if other != level:
                notes.append(
                    f"The levels '{other}' and '{level}' of '{name}' differ only in case, spaces "
                    "or the form of a letter; they are taken as two."
                )
    return notes


def lone_levels(
    variables: Mapping[str, Variable], values: Mapping[str, NDArray[np.generic]], rows: Rows
) -> list[str]:
    """Return a sentence for each level, or value of two, that a single sample has.

    Parameters
    ----------
    variables : mapping of str to Variable
        The moderators.
    values : mapping of str to numpy.ndarray of shape (k,)
        Their values.
    rows : Rows
        Rows in use.

    Returns
    -------
    list of str
        Each names the moderator, the level and the sample.
    """
    notes = []
    for name, variable in variables.items():
        found = values[name]
        for level in np.unique(found[rows.used]) if _discrete(variable, found, rows) else ():
            samples = np.unique(rows.code[rows.used & (found == level)])
            if len(samples) == 1:
                shown = f"{level:g}" if isinstance(level, float) else str(level)
                notes.append(
                    f"Only one sample has '{name}' = {shown} ({rows.names[samples[0]]}): the "
                    "heterogeneity between samples cannot be told from the effect of this level, "
                    "and the prior does the work."
                )
    return notes


def _discrete(variable: Variable, values: NDArray[np.generic], rows: Rows) -> bool:
    return bool(variable.levels) or len(np.unique(values[rows.used])) == 2

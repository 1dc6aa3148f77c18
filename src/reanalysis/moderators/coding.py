"""From moderator columns to the columns of a design matrix, with all that is odd about them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from reanalysis.dataset import Dataset
from reanalysis.moderators.formula import Piece, parse_terms
from reanalysis.moderators.terms import ModeratorTerm, Part, Variable
from reanalysis.moderators.variables import Rows, alike_levels, coded, lone_levels, make_variable
from reanalysis.nearest import nearest
from reanalysis.spec import ModelSpec, SpecError

__all__ = ["INTERCEPT", "ModeratorColumns", "moderator_columns"]

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]
INTERCEPT = "beta[intercept]"
SAME = 1e-9  # of a column's range: what counts as no variation
TINY = 1e-300
LOADS = 1e-6  # entry of a null vector that is not rounding
SHOWN = 6  # names in a message
FORMULA_SIGNS = set("+:~()")


@dataclass(frozen=True, eq=False)
class ModeratorColumns:
    """The design matrix before rows are dropped.

    Attributes
    ----------
    X : numpy.ndarray of shape (k, p)
        One column per coefficient; 0 where a moderator is missing.
    names : tuple of str
        ``("mu",)`` without moderators, else ``beta[...]``.
    complete : numpy.ndarray of shape (k,)
        Rows whose moderators are all known.
    terms : tuple of ModeratorTerm
        What the columns mean.
    values : mapping of str to numpy.ndarray of shape (k,)
        Each moderator as it is in the table: numbers, or levels as text.
    dropped : tuple of str
        Rows with a missing moderator, in words.
    notes : tuple of str
        How the moderators enter, and what is odd about them, in sentences.
    scale : numpy.ndarray of shape (k,) or None
        Moderator of the heterogeneity, in comparisons: two levels, or two standard deviations,
        are 1 apart.
    scale_variable : Variable or None
        What it is.
    """

    X: Vector
    names: tuple[str, ...]
    complete: Mask
    terms: tuple[ModeratorTerm, ...] = ()
    values: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    scale: Vector | None = None
    scale_variable: Variable | None = None


def moderator_columns(data: Dataset, model: ModelSpec, keep: Mask) -> ModeratorColumns:
    """Return the design matrix of a model's moderators.

    Parameters
    ----------
    data : Dataset
        The reading in use.
    model : ModelSpec
        Its moderators: columns, or a formula ``~ a + b + a:b`` with ``C(a)`` and ``center(b)``;
        its ``reference`` and ``centring``, and whether to ``decompose``.
    keep : numpy.ndarray of shape (k,)
        Rows the model uses; levels, means and constancy are judged on these.

    Returns
    -------
    ModeratorColumns
        Columns of the terms. A number is zero at its mean over samples, or where ``centring``
        says; a factor has sum-to-zero contrasts, or indicators against its ``reference``. A
        moderator that varies within samples is split into the samples' means and the deviations
        from them.

    Raises
    ------
    SpecError
        If a column is unknown, constant, mixed or collinear with others.
    """
    where = f"model '{model.name}'"
    terms = parse_terms(model.moderators, where)
    pieces = {piece.column: piece for term in terms for piece in term}
    if model.scale_moderator:
        pieces.setdefault(model.scale_moderator, Piece(model.scale_moderator))
    _check_settings(model, pieces, where)
    if not pieces:
        return ModeratorColumns(np.ones((data.k, 1)), ("mu",), np.ones(data.k, dtype=bool))
    _check_columns(data, pieces, where)
    complete = data.table[list(pieces)].notna().all(axis=1).to_numpy()
    rows = _rows(data, keep & complete)
    if len(rows.samples) < 2:
        raise SpecError(
            [
                f"{where}: samples with all of its moderators known: {len(rows.samples)}; it "
                "needs two."
            ]
        )
    variables = _variables(data, pieces.values(), model, rows, where)
    columns, values = {}, {}
    for name, variable in variables.items():
        columns[name], values[name] = coded(data.table[name], variable)
    matrix = _Matrix(rows, columns, model.decompose)
    for term in terms:
        matrix.add([variables[piece.column] for piece in term])
    X = np.concatenate(matrix.parts, axis=1)
    X[~complete] = 0.0
    scaling = variables.get(model.scale_moderator)
    scale = None if scaling is None else _scale(scaling, columns, rows, where)
    _check_rank(X[rows.used], matrix, where)
    dropped, missing = _missing(data, list(pieces), keep)
    return ModeratorColumns(
        X,
        tuple(matrix.names) if terms else ("mu",),
        complete,
        tuple(matrix.terms),
        values,
        dropped,
        (
            *(f"Moderator {variable.describe()}." for variable in variables.values()),
            *([] if scaling is None else [f"The heterogeneity may change with '{scaling.name}'."]),
            *missing,
            *alike_levels(variables),
            *lone_levels(variables, values, rows),
            *matrix.notes,
            *_lonely_products(matrix.terms),
        ),
        scale,
        scaling,
    )


class _Matrix:
    """The columns of a design matrix while terms are added."""

    def __init__(self, rows: Rows, columns: Mapping[str, Vector], decompose: bool) -> None:
        self.rows, self.columns, self.decompose = rows, columns, decompose
        self.parts: list[Vector] = [np.ones((len(rows.used), 1))]
        self.names: list[str] = [INTERCEPT]
        self.terms: list[ModeratorTerm] = []
        self.notes: list[str] = []

    def add(self, variables: Sequence[Variable]) -> None:
        """Add one term; a single moderator that varies within samples becomes two."""
        block = np.ones((len(self.rows.used), 1))
        for variable in variables:
            right = self.columns[variable.name]
            block = (block[:, :, None] * right[:, None, :]).reshape(len(block), -1)
        title = ":".join(variable.name for variable in variables)
        between = self.rows.means(block)
        within = block - between
        used = self.rows.used
        scale = float(np.ptp(block[used], axis=0).max())
        varying = (np.abs(within[used]) > SAME * scale).any(axis=1)
        carriers = [self.rows.names[j] for j in np.unique(self.rows.code[used][varying])]
        count = len(carriers)
        if not count or not self.decompose or len(variables) > 1:
            if count:
                self.notes.append(
                    f"Moderator '{title}' varies within {count} of {len(self.rows.samples)} "
                    "samples and enters as it is: its slope mixes differences within samples "
                    "with differences between them."
                )
            self._append(title, "whole", variables, block)
            return
        if np.any(np.ptp(between[used], axis=0) > SAME * scale):
            self._append(f"{title}.between", "between", variables, between)
        self._append(f"{title}.within", "within", variables, within)
        carry = "samples carries" if count == 1 else "samples carry"
        self.notes.append(
            f"Moderator '{title}' varies within samples and was split into the means of the "
            f"samples ({title}.between) and the deviations from them ({title}.within): only "
            f"{count} of {len(self.rows.samples)} {carry} the within part "
            f"({_listed(carriers)})."
        )

    def _append(self, title: str, part: Part, variables: Sequence[Variable], block: Vector) -> None:
        start = len(self.names)
        suffix = "" if part == "whole" else f".{part}"
        labels = [_labels(variable, suffix) for variable in variables]
        self.names += [f"beta[{':'.join(label)}]" for label in product(*labels)]
        columns = tuple(range(start, len(self.names)))
        self.terms.append(ModeratorTerm(title, columns, tuple(variables), part))
        self.parts.append(block)


def _scale(variable: Variable, columns: Mapping[str, Vector], rows: Rows, where: str) -> Vector:
    """Return the moderator of the heterogeneity in comparisons."""
    name = variable.name
    if variable.coding.shape[1] > 1:
        raise SpecError(
            [
                f"{where}: scale_moderator '{name}' has {len(variable.levels)} levels; a model of "
                "the heterogeneity takes a number or a factor of two levels."
            ]
        )
    values = columns[name] / variable.unit
    if np.any(np.abs(values - rows.means(values))[rows.used] > SAME * np.ptp(values[rows.used])):
        raise SpecError(
            [f"{where}: scale_moderator '{name}' varies within samples; it must describe samples."]
        )
    return values[:, 0]


def _labels(variable: Variable, suffix: str) -> list[str]:
    """Return names for the columns of a variable.

    Two levels have one column, which is the difference of the second from the first in either
    coding, so it is named for the second. More have contrasts, which are numbered: no one of
    them belongs to a level.
    """
    name = f"{variable.name}{suffix}"
    if not variable.levels:
        return [name]
    if variable.reference:
        return [f"{name}={level}" for level in variable.levels if level != variable.reference]
    if len(variable.levels) == 2:
        return [f"{name}={variable.levels[1]}"]
    return [f"{name}.{i}" for i in range(1, len(variable.levels))]


def _rows(data: Dataset, used: Mask) -> Rows:
    effects = data.effects.drop_duplicates("sample")  # the first row of each sample
    place = {name: i for i, name in enumerate(effects["sample"])}
    return Rows(
        used,
        data.effects["sample"].map(place).to_numpy(np.intp),
        tuple(str(label) for label in effects["label"]),
        data.effects["n_averaged"].to_numpy(float),
    )


def _check_settings(model: ModelSpec, columns: Iterable[str], where: str) -> None:
    """Refuse a setting for a column that is no moderator of the model."""
    known = list(columns)
    problems = []
    for key, table in (("reference", model.reference), ("centring", model.centring)):
        for name in table:
            if name not in known:
                near = nearest(name, known)
                hint = f" Did you mean '{near}'?" if near else ""
                problems.append(
                    f"{where}: '{key}' names '{name}', which is no moderator of it.{hint} "
                    f"Moderators: {', '.join(known) or 'none'}."
                )
    if problems:
        raise SpecError(problems)


def _check_columns(data: Dataset, columns: Iterable[str], where: str) -> None:
    problems = []
    known = [str(column) for column in data.table.columns]
    for name in columns:
        if name not in known:
            near = nearest(name, known)
            hint = f" Did you mean '{near}'?" if near else ""
            if set(name) & FORMULA_SIGNS:
                hint = f' A formula stands without brackets: moderators = "{name}".'
            problems.append(
                f"{where}: no column '{name}' for a moderator.{hint} Columns: {', '.join(known)}."
            )
        elif name in data.mixed:
            problems.append(
                f"{where}: moderator '{name}' is numeric but for some cells: {data.mixed[name]}."
            )
    if problems:
        raise SpecError(problems)


def _variables(
    data: Dataset, pieces: Iterable[Piece], model: ModelSpec, rows: Rows, where: str
) -> dict[str, Variable]:
    variables: dict[str, Variable] = {}
    problems: list[str] = []
    for piece in pieces:
        try:
            made = make_variable(data.table[piece.column], piece, model, rows, where)
        except SpecError as error:
            problems += error.problems
        else:
            variables[made.name] = made
    if problems:
        raise SpecError(problems)
    return variables


def _missing(
    data: Dataset, columns: Sequence[str], keep: Mask
) -> tuple[tuple[str, ...], list[str]]:
    """Return the rows that a missing moderator takes out, and a sentence for each moderator."""
    dropped, notes = [], []
    total = len(set(data.effects["sample"][keep]))
    for name in columns:
        gone = keep & data.table[name].isna().to_numpy()
        if not gone.any():
            continue
        labels = data.effects["label"].to_numpy()[gone]
        dropped += [f"{label}: no {name}" for label in labels]
        left = len(set(data.effects["sample"][keep & ~gone]))
        notes.append(
            f"Moderator '{name}' is missing in {gone.sum()} of {keep.sum()} rows, which this "
            f"model leaves out; {left} of {total} samples remain."
        )
    return tuple(dropped), notes


def _check_rank(X: Vector, matrix: _Matrix, where: str) -> None:
    rows, p = X.shape
    if p > rows:
        raise SpecError(
            [
                f"{where}: {p} coefficients for {rows} rows; leave out moderators or merge levels "
                "until there are fewer coefficients than rows."
            ]
        )
    scaled = X / np.maximum(np.linalg.norm(X, axis=0), TINY)
    if np.linalg.matrix_rank(scaled) == p:
        return
    null = np.linalg.eigh(scaled.T @ scaled).eigenvectors[:, 0]
    involved = np.flatnonzero(np.abs(null) > LOADS)
    moderators = [term.name for term in matrix.terms if set(term.columns) & set(involved)]
    raise SpecError(
        [
            f"{where}: the moderators {', '.join(moderators)} are collinear on its {rows} rows: "
            f"the columns {', '.join(matrix.names[i] for i in involved)} follow from each other; "
            "leave one out."
        ]
    )


def _lonely_products(terms: Sequence[ModeratorTerm]) -> list[str]:
    """Return a sentence for each interaction without its moderators on their own."""
    names = {term.moderator for term in terms}
    notes = []
    for term in terms:
        absent = [variable.name for variable in term.variables if variable.name not in names]
        if len(term.variables) > 1 and absent:
            notes.append(
                f"The interaction '{term.name}' is in the model without {' and '.join(absent)} "
                f"alone, so the model holds that {' and '.join(absent)} makes no difference on "
                "average."
            )
    return notes


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"

"""From moderator columns to a design matrix.

Formulas are parsed here from a whitelist of forms: libraries that evaluate formulas run any
Python found in them, and a spec may come from somebody else.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.dataset import Dataset
from reanalysis.spec import ModelSpec, SpecError

__all__ = ["ModeratorColumns", "moderator_columns"]

Vector = NDArray[np.float64]
INTERCEPT = "beta[intercept]"


@dataclass(frozen=True, eq=False)
class ModeratorColumns:
    """The design matrix before rows are dropped.

    Attributes
    ----------
    X : numpy.ndarray of shape (k, p)
        One column per coefficient; 0 where a moderator is missing.
    names : tuple of str
        ``("mu",)`` without moderators, else ``beta[...]``.
    factors : mapping of str to tuple of int
        Columns of each term.
    complete : numpy.ndarray of shape (k,)
        Rows whose moderators are all known.
    dropped : tuple of str
        Rows with a missing moderator, in words.
    """

    X: Vector
    names: tuple[str, ...]
    complete: NDArray[np.bool_]
    factors: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()


def moderator_columns(data: Dataset, model: ModelSpec, keep: NDArray[np.bool_]) -> ModeratorColumns:
    """Return the design matrix of a model's moderators.

    Parameters
    ----------
    data : Dataset
        The reading in use.
    model : ModelSpec
        Its moderators: columns, or a formula ``~ a + b + a:b`` with ``C(a)`` and ``center(b)``.
    keep : numpy.ndarray of shape (k,)
        Rows the model uses; levels, means and constancy are judged on these.

    Returns
    -------
    ModeratorColumns
        Columns of the terms: a number as it is (or centred), a factor as indicators against its
        reference, or as sum-to-zero contrasts where the model names no reference.

    Raises
    ------
    SpecError
        If a column is unknown, constant, mixed or collinear with others.
    """
    where = f"model '{model.name}'"
    terms = _terms(model.moderators, where)
    if not terms:
        one = np.ones((data.k, 1))
        return ModeratorColumns(one, ("mu",), np.ones(data.k, dtype=bool))
    columns = list(dict.fromkeys(name for term in terms for name, _ in term))
    _check_columns(data, columns, where)
    complete = data.table[columns].notna().all(axis=1).to_numpy()
    used = keep & complete
    dropped = tuple(
        f"{data.effects['label'].iloc[i]}: no {name}"
        for name in columns
        for i in np.flatnonzero(keep & data.table[name].isna().to_numpy())
    )
    if used.sum() < 2:
        raise SpecError([f"{where}: only {used.sum()} rows have all moderators; two are needed."])
    parts: list[Vector] = [np.ones((data.k, 1))]
    names, factors = [INTERCEPT], {}
    for term in terms:
        block, labels = np.ones((data.k, 1)), [""]
        for name, form in term:
            values, levels = _coded(data, name, form, model, used, where)
            block = np.concatenate([block[:, [i]] * values for i in range(block.shape[1])], axis=1)
            labels = [":".join(filter(None, (a, b))) for a in labels for b in levels]
        start = len(names)
        names += [f"beta[{label}]" for label in labels]
        title = ":".join(name for name, _ in term)
        factors[title] = tuple(range(start, len(names)))
        parts.append(block)
    X = np.concatenate(parts, axis=1)
    X[~complete] = 0.0
    _check_rank(X[used], names, where)
    return ModeratorColumns(X, tuple(names), complete, factors, dropped)


Term = tuple[tuple[str, str], ...]


def _terms(moderators: Sequence[str] | str, where: str) -> list[Term]:
    """Return terms as (column, form) pairs; form is ``""``, ``C`` or ``center``."""
    if not isinstance(moderators, str):
        return [((name, ""),) for name in moderators]
    formula = moderators.strip().removeprefix("~").strip()
    terms: list[Term] = []
    for part in formula.split("+"):
        factors = []
        for piece in part.split(":"):
            match = re.fullmatch(r"\s*(?:(C|center)\(\s*(\w+)\s*\)|(\w+))\s*", piece)
            if not match:
                raise SpecError(
                    [
                        f"{where}: moderators: '{piece.strip()}' is not understood in the formula "
                        f"'{moderators}'; use column names joined by + and :, with C(column) for a "
                        "factor and center(column) for a number around its mean."
                    ]
                )
            factors.append((match[2] or match[3], match[1] or ""))
        if factors != [("1", "")]:
            terms.append(tuple(factors))
    return terms


def _check_columns(data: Dataset, columns: Sequence[str], where: str) -> None:
    problems = []
    known = [str(column) for column in data.table.columns]
    for name in columns:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            problems.append(
                f"{where}: no column '{name}' for a moderator.{hint} Columns: {', '.join(known)}."
            )
        elif name in data.mixed:
            problems.append(
                f"{where}: moderator '{name}' is numeric but for some cells: {data.mixed[name]}."
            )
    if problems:
        raise SpecError(problems)


def _coded(
    data: Dataset, name: str, form: str, model: ModelSpec, used: NDArray[np.bool_], where: str
) -> tuple[Vector, list[str]]:
    cells = data.table[name]
    if form != "C" and pd.api.types.is_numeric_dtype(cells):
        values = cells.to_numpy(float)
        if np.ptp(values[used]) == 0:
            raise SpecError(
                [f"{where}: moderator '{name}' is {values[used][0]:g} in every row; remove it."]
            )
        if form == "center":
            values = values - values[used].mean()
        return np.nan_to_num(values)[:, None], [name]
    if form == "center":
        raise SpecError([f"{where}: center({name}) needs a numeric column."])
    levels = sorted({str(cell) for cell in cells[used]})
    if len(levels) < 2:
        raise SpecError([f"{where}: moderator '{name}' is '{levels[0]}' in every row; remove it."])
    text = cells.map(str).to_numpy()
    reference = model.reference.get(name)
    if reference is not None and reference not in levels:
        raise SpecError(
            [
                f"{where}: reference level '{reference}' of '{name}' is not in the table; "
                f"its levels are {', '.join(levels)}."
            ]
        )
    if reference is None:
        last = levels[-1]
        values = np.stack(
            [(text == level) * 1.0 - (text == last) * 1.0 for level in levels[:-1]], axis=1
        )
        return values, [f"{name}={level}" for level in levels[:-1]]
    others = [level for level in levels if level != reference]
    return (
        np.stack([(text == level) * 1.0 for level in others], axis=1),
        [f"{name}={level}" for level in others],
    )


def _check_rank(X: Vector, names: Sequence[str], where: str) -> None:
    scaled = X / np.linalg.norm(X, axis=0)
    if np.linalg.matrix_rank(scaled) == X.shape[1]:
        return
    vectors = np.linalg.eigh(scaled.T @ scaled).eigenvectors
    involved = [name for name, w in zip(names, vectors[:, 0], strict=True) if abs(w) > 1e-6]
    raise SpecError(
        [
            f"{where}: the columns {', '.join(involved)} are collinear (each follows from the "
            f"others) on the {len(X)} rows of this model; remove one."
        ]
    )

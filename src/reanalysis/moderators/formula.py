"""The moderators of a spec as terms: a list of columns, or a formula from a whitelist of forms.

Libraries that evaluate formulas run any Python found in them, and a spec may come from somebody
else; here a formula is split at ``+`` and ``:`` and nothing in it is ever evaluated.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reanalysis.spec import SpecError

__all__ = ["Form", "Piece", "Term", "parse_terms"]

Form = Literal["", "C", "center"]

PIECE = re.compile(r"\s*(?:(C|center)\(\s*(\w+)\s*\)|(\w+))\s*")
FORMS: dict[str | None, Form] = {None: "", "C": "C", "center": "center"}


@dataclass(frozen=True)
class Piece:
    """One column in a term.

    Attributes
    ----------
    column : str
        Its name.
    form : str
        ``C`` for a factor, ``center`` for a number around its mean, empty to go by the cells.
    """

    column: str
    form: Form = ""


Term = tuple[Piece, ...]


def parse_terms(moderators: Sequence[str] | str, where: str) -> list[Term]:
    """Return the terms of a model.

    Parameters
    ----------
    moderators : sequence of str, or str
        Columns, or a formula such as ``~ late_share + C(year) + mode:late_share``.
    where : str
        The model, for messages.

    Returns
    -------
    list of tuple of Piece
        One tuple for each term; several pieces are an interaction.

    Raises
    ------
    SpecError
        If the formula has a form that is not on the list, or a term appears twice.

    Examples
    --------
    >>> parse_terms("~ 1 + mode:center(age)", "model 'm'")
    [(Piece(column='mode', form=''), Piece(column='age', form='center'))]
    """
    if isinstance(moderators, str):
        terms = _formula_terms(moderators, where)
    else:
        terms = [(Piece(name),) for name in moderators]
    problems = []
    seen: set[frozenset[str]] = set()
    for term in terms:
        columns = frozenset(piece.column for piece in term)
        title = ":".join(piece.column for piece in term)
        if len(columns) < len(term):
            problems.append(f"{where}: moderators: '{title}' has a column times itself; remove it.")
        elif columns in seen:
            problems.append(f"{where}: moderators: '{title}' is there twice; remove one.")
        seen.add(columns)
    for column in dict.fromkeys(piece.column for term in terms for piece in term):
        forms = {piece.form for term in terms for piece in term if piece.column == column}
        if len(forms) > 1:
            problems.append(
                f"{where}: moderators: '{column}' is written in several ways; write it alike in "
                "every term."
            )
    if problems:
        raise SpecError(problems)
    return terms


def _formula_terms(formula: str, where: str) -> list[Term]:
    terms: list[Term] = []
    problems: list[str] = []
    for part in formula.strip().removeprefix("~").split("+"):
        pieces = []
        for text in part.split(":"):
            match = PIECE.fullmatch(text)
            if match is None:
                problems.append(
                    f"{where}: moderators: '{text.strip()}' is not understood in the formula "
                    f"'{formula}'; use column names joined by + and :, with C(column) for a "
                    "factor and center(column) for a number around its mean."
                )
                continue
            pieces.append(Piece(match[2] or match[3], FORMS[match[1]]))
        if pieces != [Piece("1")]:
            terms.append(tuple(pieces))
    if problems:
        raise SpecError(problems)
    return terms

"""Moderation as plain values, for ``results.json`` and the figures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from reanalysis.design import Design
from reanalysis.moderation.record import Moderation
from reanalysis.moderators import ModeratorTerm, Variable

__all__ = ["moderation_document", "plain_rows"]

Json = dict[str, Any]


def moderation_document(moderation: Moderation, design: Design) -> Json:
    """Return a model's moderation as plain values.

    Parameters
    ----------
    moderation : Moderation
        From `make_moderation`.
    design : Design
        The data of the model.

    Returns
    -------
    dict
        ``tests``, ``contrasts``, ``means``, ``counts``, ``lines``: rows of the tables, with what
        was not computed absent; ``notes``; ``terms``: for each ``name``, ``part``, ``columns``
        and ``variables``, those with ``name``, ``levels`` or ``centre``, ``sd`` and ``limits``,
        and for a single number ``x``, its value in every row (of a between part, the sample's
        mean); ``values``: for each moderator its value in every row, as in the table. Rows are
        in the order of the model's effects.
    """
    return {
        **{
            name: plain_rows(getattr(moderation, name))
            for name in ("tests", "contrasts", "means", "counts", "lines")
        },
        "shrunk": moderation.shrunk,
        "notes": list(moderation.notes),
        "terms": [_term(term, design) for term in design.terms],
        "values": {name: values.tolist() for name, values in design.moderators.items()},
    }


def plain_rows(table: pd.DataFrame) -> list[Json]:
    """Return the rows of a table as plain values, without what is missing.

    Parameters
    ----------
    table : pandas.DataFrame
        Any tidy table.

    Returns
    -------
    list of dict
        One per row.
    """
    return [_present(row) for row in table.to_dict("records")]


def _term(term: ModeratorTerm, design: Design) -> Json:
    entry: Json = {
        "name": term.name,
        "part": term.part,
        "columns": list(term.columns),
        "variables": [_variable(variable) for variable in term.variables],
    }
    variable = term.variables[0]
    if len(term.variables) == 1 and not variable.levels:
        centre = variable.centre if term.part != "within" else 0.0
        entry["x"] = (design.X[:, term.columns[0]] + centre).tolist()
    return entry


def _variable(variable: Variable) -> Json:
    if variable.levels:
        levels = list(variable.levels)
        return {"name": variable.name, "levels": levels, "reference": variable.reference}
    return {
        "name": variable.name,
        "centre": variable.centre,
        "sd": variable.sd,
        "limits": list(variable.limits),
    }


def _present(row: Mapping[Any, Any]) -> Json:
    plain: Json = {}
    for key, value in row.items():
        value = value.item() if isinstance(value, np.generic) else value
        if value is not None and not (isinstance(value, float) and not np.isfinite(value)):
            plain[str(key)] = value
    return plain

"""Values as JSON takes them: Python's own, and without what was not computed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["Json", "plain_entry", "plain_records"]

Json = dict[str, Any]


def plain_records(table: pd.DataFrame) -> list[Json]:
    """Return the rows of a table, each without its empty cells.

    Parameters
    ----------
    table : pandas.DataFrame
        The table; an index that has a name becomes a column.

    Returns
    -------
    list of dict
        A record for each row.
    """
    named = table.reset_index() if table.index.name else table
    return [plain_entry(row) for row in named.to_dict("records")]


def plain_entry(row: Mapping[Any, Any]) -> Json:
    """Drop what was not computed, and turn NumPy scalars into Python's.

    Parameters
    ----------
    row : mapping
        Values by name.

    Returns
    -------
    dict
        Without what is None, infinite or not a number.
    """
    out: Json = {}
    for key, value in row.items():
        plain = value.item() if isinstance(value, np.generic) else value
        if plain is None or (isinstance(plain, float) and not np.isfinite(plain)):
            continue
        out[str(key)] = plain
    return out

"""Tables as values: cells that are printed already, ready for the template's macro."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reanalysis.plots.source import Selected
from reanalysis.wording import (
    is_mean,
    number,
    p_value,
    parameter_name,
    parameter_symbol,
    plain,
    with_symbols,
)

__all__ = [
    "Cell",
    "Column",
    "Table",
    "caption",
    "estimate",
    "interval",
    "mark",
    "missing",
    "numeric",
    "parameter",
    "plain_number",
    "record_table",
    "record_tables",
    "text",
]

# Columns of other modules' records whose values cannot exceed 1.
NAMING = ("parameter", "component", "target")  # columns whose cells name a parameter
PROBABILITIES = ("p", "p_mixture", "probability", "prior", "posterior")
HEADINGS = {
    "qm": "QM",
    "f_p": "p (F test)",
    "p_bonferroni": "p, Bonferroni",
    "p_holm": "p, Holm",
    "bonferroni_verdict": "By Bonferroni",
    "bayes_verdict": "By Bayes factor",
    "joint_bayes_factor": "Bayes factor, jointly",
    "shrinkage_verdict": "By the joint model",
    "p": "p",
    "df": "df",
    "se": "SE",
    "sd": "SD",
    "lrt": "LRT",
    "aic": "AIC",
    "aicc": "AICc",
    "bic": "BIC",
    "loglik": "log-likelihood",
    "p_mixture": "p (mixture)",
    "tau": "τ",
    "tau2": "τ²",
    "tau_lower": "τ lower",
    "tau_upper": "τ upper",
    "tau2_lower": "τ² lower",
    "tau2_upper": "τ² upper",
    "rhat": "R̂",
    "mcse": "MCSE",
    "ess_bulk": "ESS bulk",
    "ess_tail": "ESS tail",
}


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes
    ----------
    text : str
        What is printed; empty where nothing is known.
    order : str
        Sort key: a number's full digits, or the text.
    numeric : bool
        Whether it is set like a number.
    note : str
        A second, smaller line.
    other, other_note : str
        Both lines on the analysis scale, where that is not the one shown.
    """

    text: str
    order: str = ""
    numeric: bool = False
    note: str = ""
    other: str = ""
    other_note: str = ""


@dataclass(frozen=True)
class Column:
    """The head of a column.

    Attributes
    ----------
    title : str
        Its heading.
    numeric : bool
        Whether it is set to the right.
    """

    title: str
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row is the row's heading.

    Attributes
    ----------
    caption : str
        What it shows; unique on the page.
    columns : tuple of Column
        Heads.
    rows : tuple of tuple of Cell
        Body.
    sortable : bool
        Whether a reader may sort it.
    note : str
        Small print below.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sortable: bool = False
    note: str = ""

    @property
    def widths(self) -> tuple[str, ...]:
        """How much room each column's text wants: ``short``, ``medium`` or ``long``."""
        if not self.rows:
            return tuple("short" for _ in self.columns)
        lengths = [
            max(max(len(row[i].text), len(row[i].note)) for row in self.rows)
            for i in range(len(self.columns))
        ]
        return tuple(
            "num" if c.numeric else "short" if n <= 16 else "medium" if n <= 60 else "long"
            for c, n in zip(self.columns, lengths, strict=True)
        )


def caption(words: str, chosen: Selected) -> str:
    """Return a caption that is unique on the page.

    Parameters
    ----------
    words : str
        What the table shows.
    chosen : Selected
        The model it belongs to.

    Returns
    -------
    str
        With the model's title, unless it is the headline model.
    """
    if chosen.headline:
        return words
    return f"{words} ({plain(chosen.model.get('title', chosen.name))})"


def text(value: object, note: str = "") -> Cell:
    """Return a cell of text.

    Parameters
    ----------
    value : object
        Anything a user wrote.
    note : str
        A second line.

    Returns
    -------
    Cell
        Without control characters.
    """
    clean = plain(value)
    return Cell(clean, clean, note=plain(note))


def numeric(printed: str, value: float | None = None, note: str = "") -> Cell:
    """Return a cell with a number.

    Parameters
    ----------
    printed : str
        As it is shown.
    value : float, optional
        Sort key.
    note : str
        A second line, such as its interval.

    Returns
    -------
    Cell
        Set like a number.
    """
    return Cell(printed, "" if value is None else repr(float(value)), numeric=True, note=note)


def missing() -> Cell:
    """Return the cell of something that was not computed.

    Returns
    -------
    Cell
        Shown as a dash, read as "not available".
    """
    return Cell("", numeric=True)


def mark(passed: bool) -> Cell:
    """Return a yes or no that does not rest on colour.

    Parameters
    ----------
    passed : bool
        The answer.

    Returns
    -------
    Cell
        A tick or a cross, with the word.
    """
    return text("✓ yes" if passed else "✕ no")


def parameter(name: str) -> Cell:
    """Return a cell with a parameter's name and symbol.

    Parameters
    ----------
    name : str
        As in the contract.

    Returns
    -------
    Cell
        The heading of a row.
    """
    symbol = parameter_symbol(name)
    return text(parameter_name(name), symbol)


def estimate(chosen: Selected, name: str, e: Mapping[str, Any]) -> Cell:
    """Return a cell with an estimate and its interval, on the scale on which it is read.

    Parameters
    ----------
    chosen : Selected
        The model.
    name : str
        The parameter.
    e : mapping
        The estimate: ``mean``, and ``lower``, ``upper`` where there is an interval.

    Returns
    -------
    Cell
        A heterogeneity of exactly zero is marked as the boundary.
    """
    if is_mean(name):
        show = chosen.scale.back
        printed, zero = (lambda x: chosen.scale.printed(x, 3)), False
    else:
        show = float
        on_r = e.get("scale") == "r"
        printed = lambda x: number(x, 3, leading_zero=not on_r)  # noqa: E731
        zero = name.startswith("tau")
    value = "0 (boundary)" if zero and e["mean"] == 0 else printed(show(e["mean"]))
    note = ""
    if "lower" in e and "upper" in e:
        lower = "0" if zero and e["lower"] == 0 else printed(show(e["lower"]))
        note = f"{lower} to {printed(show(e['upper']))}"
    cell = numeric(value, e["mean"], note)
    if not (is_mean(name) and chosen.scale.transformed):
        return cell
    ends = f"{number(e['lower'], 3)} to {number(e['upper'], 3)}" if note else ""
    return replace(cell, other=number(e["mean"], 3), other_note=ends)


def interval(chosen: Selected, e: Mapping[str, Any] | None) -> Cell:
    """Return a cell with the interval of an average, on the scale on which it is read.

    Parameters
    ----------
    chosen : Selected
        The model.
    e : mapping or None
        The estimate.

    Returns
    -------
    Cell
        A dash where there is no interval.
    """
    if e is None or "lower" not in e:
        return missing()
    cell = numeric(chosen.scale.interval(e["lower"], e["upper"], 3), e["lower"])
    if not chosen.scale.transformed:
        return cell
    return replace(cell, other=f"{number(e['lower'], 3)} to {number(e['upper'], 3)}")


def record_table(caption: str, records: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of any list of records.

    Parameters
    ----------
    caption : str
        Its caption.
    records : sequence of mapping
        Rows, by column; a key that a row lacks leaves a dash.

    Returns
    -------
    Table
        Columns in the order in which the rows name them.
    """
    names = list(dict.fromkeys(name for record in records for name in record))
    of_numbers = {n: all(_is_number(r[n]) for r in records if n in r) for n in names}
    columns = tuple(Column(_heading(n), of_numbers[n]) for n in names)
    rows = tuple(tuple(_cell(n, r[n]) if n in r else missing() for n in names) for r in records)
    return Table(caption, columns, rows)


def record_tables(title: str, value: object) -> tuple[Table, ...]:
    """Return tables of any part of a document: lists of records, or single values by name.

    Parameters
    ----------
    title : str
        Caption, or beginning of each caption.
    value : object
        A list of records, or a mapping of names to such lists, to mappings or to single values.

    Returns
    -------
    tuple of Table
        Single values first, as a table of their own.
    """
    if _is_records(value):
        return (record_table(title, value),)  # type: ignore[arg-type]
    if not isinstance(value, Mapping):
        return ()
    single = [{"quantity": k, "value": v} for k, v in value.items() if _is_single(v)]
    tables = [record_table(title, single)] if single else []
    for key, part in value.items():
        if not _is_single(part):
            tables += record_tables(f"{title}: {plain(key).replace('_', ' ')}", part)
    return tuple(tables)


def plain_number(value: float) -> str:
    """Return a number as a data table shows it: whole numbers whole, others with six digits.

    Parameters
    ----------
    value : float
        The number.

    Returns
    -------
    str
        With a true minus sign.
    """
    return f"{value:.6g}".replace("-", "−")


def _cell(name: str, value: Any) -> Cell:
    if name in NAMING and isinstance(value, str):
        return text(parameter_name(value))
    if not _is_number(value):
        joined = "; ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        return mark(value) if isinstance(value, bool) else text(with_symbols(str(joined)))
    if name in PROBABILITIES:
        return numeric(p_value(value).removeprefix("= "), value)
    if isinstance(value, int) or float(value).is_integer() or abs(value) >= 1000:
        return numeric(f"{value:,.0f}".replace("-", "−"), value)
    return numeric(number(value, 2 if abs(value) >= 10 else 3), value)


def _heading(name: str) -> str:
    words = plain(name).replace("_", " ")
    return HEADINGS.get(name, words[:1].upper() + words[1:])


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_single(value: object) -> bool:
    return isinstance(value, (str, int, float, bool))


def _is_records(value: object) -> bool:
    return (
        isinstance(value, Iterable)
        and not isinstance(value, (str, Mapping))
        and bool(value)
        and all(isinstance(row, Mapping) for row in value)
    )

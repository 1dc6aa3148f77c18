"""What a data folder declares for its audit: printed totals, other readings, conversions.

These are facts about the source, written as ``"reanalysis": {"audit": {...}}`` in
``datapackage.json``. The rules know kinds of facts, never a particular paper.
All keys are optional::

    "audit": {
      "totals": [{"what": "participants", "printed": "1167", "statistic": "sum",
                  "table": "samples", "column": "n", "source": "Results 3.1"}],
      "readings": [{"table": "samples", "places": {"Table 1": {"ri": "r_table1", "ni": "n_table1"},
                                                   "Table 2": {"ri": "r_table2"}}}],
      "conversions": [{"table": "effects", "statistic": "statistic", "value": "statistic_value",
                       "lower": "ci_low", "upper": "ci_high", "converted": "r_printed"}],
      "zeros": [{"table": "effects", "flag": "set_to_zero", "part": "r"}],
      "composites": [{"table": "effects", "part": "r", "composite": "composite_r"}],
      "sample_sizes": [{"table": "effects", "column": "n_slot"}],
      "flows": [{"table": "prisma", "step": "step", "count": "count",
                 "sums": [{"total": "screened", "plus": ["found"], "minus": ["duplicates"]}]}],
      "descriptions": [{"table": "samples", "columns": ["age_mean", "age_sd"]}],
      "redundant": [{"table": "samples", "roles": {"yi": "z", "lower": "ci_lb", "upper": "ci_ub"}}],
      "reliability": {"predictor": 0.9, "outcome": 0.85}
    }
"""

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from reanalysis.tables import DataError, TextTable

__all__ = [
    "Composites",
    "Conversion",
    "Descriptions",
    "Facts",
    "Flow",
    "Readings",
    "Redundant",
    "Reliability",
    "SampleSizes",
    "Total",
    "Zeros",
    "read_facts",
]

CONFIG = ConfigDict(extra="forbid")
Printed = Annotated[str, Field(pattern=r"^-?\d*\.?\d+$")]
Columns = tuple[str, ...]


@dataclass(frozen=True, config=CONFIG)
class Total:
    """A printed summary of a column: its sum, mean, smallest or largest value, or a count.

    Attributes
    ----------
    what : str
        What was summarised, in words.
    printed : str
        The number as printed, as text: its decimals say how it was rounded.
    statistic : str
        ``sum``, ``mean``, ``min``, ``max``, ``rows`` or ``distinct``.
    table, column : str
        Column it summarises; ``rows`` needs none.
    where : mapping of str to str
        Rows it is about: column to value.
    others : tuple of str
        Other columns that might be meant.
    source : str
        Place in the source.
    """

    what: str
    printed: Printed
    statistic: Literal["sum", "mean", "min", "max", "rows", "distinct"]
    table: str
    column: str = ""
    where: Mapping[str, str] = field(default_factory=dict)
    others: Columns = ()
    source: str = ""

    @property
    def names(self) -> Columns:
        """Every column it names."""
        return (self.column, *self.others, *self.where)


@dataclass(frozen=True, config=CONFIG)
class Readings:
    """Columns in which several places of the source print the same quantities.

    Attributes
    ----------
    table : str
        Table that holds them.
    places : mapping of str to mapping
        Place in the source, to the column of each role there.
    """

    table: str
    places: Annotated[Mapping[str, Mapping[str, str]], Field(min_length=2)]

    @property
    def names(self) -> Columns:
        """Every column it names."""
        return tuple(column for roles in self.places.values() for column in roles.values())


@dataclass(frozen=True, config=CONFIG)
class Conversion:
    """Columns with a reported statistic and the correlation it was converted to.

    Attributes
    ----------
    table : str
        Table that holds them.
    statistic, value : str
        Columns with the name of the statistic (a key of
        `reanalysis.audit.conversions.CONVERSIONS`) and its value.
    lower, upper : str
        Columns with its 95 % confidence interval.
    converted : str
        Column with the correlation that the source prints for it.
    """

    table: str
    statistic: str
    value: str
    converted: str
    lower: str = ""
    upper: str = ""

    @property
    def names(self) -> Columns:
        """Every column it names."""
        return (self.statistic, self.value, self.converted, self.lower, self.upper)


@dataclass(frozen=True, config=CONFIG)
class Zeros:
    """Effects that were set to zero because they were reported as "n.s." only.

    Attributes
    ----------
    table : str
        Table with one row per effect.
    flag, value : str
        Column that marks them, and the mark.
    part : str
        Column with the correlation of each effect.
    source : str
        Place in the source.
    """

    table: str
    flag: str
    part: str
    value: str = "yes"
    source: str = ""

    @property
    def names(self) -> Columns:
        """Every column it names."""
        return (self.flag, self.part)


@dataclass(frozen=True, config=CONFIG)
class Composites:
    """Printed composites and the effects they are made of.

    Attributes
    ----------
    table : str
        Table with one row per effect.
    part, composite : str
        Columns with the correlation of each effect and with its sample's printed composite.
    """

    table: str
    part: str
    composite: str

    @property
    def names(self) -> Columns:
        """Every column it names."""
        return (self.part, self.composite)


@dataclass(frozen=True, config=CONFIG)
class SampleSizes:
    """A column with the sample size of each effect."""

    table: str
    column: str

    @property
    def names(self) -> Columns:
        """Every column it names."""
        return (self.column,)


@dataclass(frozen=True, config=CONFIG)
class Sum:
    """One sum of a flow diagram: the total is the plus steps less the minus steps."""

    total: str
    plus: Columns
    minus: Columns = ()


@dataclass(frozen=True, config=CONFIG)
class Flow:
    """Counts of a flow diagram and the sums they must obey.

    Attributes
    ----------
    table, step, count : str
        Table, and its columns with the step's name and count.
    sums : tuple of Sum
        What must add up.
    """

    table: str
    step: str
    count: str
    sums: tuple[Sum, ...]

    @property
    def names(self) -> Columns:
        """Every column it names."""
        return (self.step, self.count)


@dataclass(frozen=True, config=CONFIG)
class Descriptions:
    """Columns that describe the people of a sample, such as mean age and its SD."""

    table: str
    columns: Columns

    @property
    def names(self) -> Columns:
        """Every column it names."""
        return self.columns


@dataclass(frozen=True, config=CONFIG)
class Redundant:
    """Columns that say again what the columns in use say: z beside r, an interval, a variance.

    Attributes
    ----------
    table : str
        Table that holds them.
    roles : mapping of str to str
        Column of each role: ``ri``, ``ni``, ``yi``, ``vi``, ``sei``, ``lower``, ``upper`` (of a
        95 % interval).
    """

    table: str
    roles: Mapping[Literal["ri", "ni", "yi", "vi", "sei", "lower", "upper"], str]

    @property
    def names(self) -> Columns:
        """Every column it names."""
        return tuple(self.roles.values())


@dataclass(frozen=True, config=CONFIG)
class Reliability:
    """Reliabilities of the two measures: no correlation can exceed the root of their product."""

    predictor: Annotated[float, Field(gt=0, le=1)]
    outcome: Annotated[float, Field(gt=0, le=1)]
    source: str = ""


@dataclass(frozen=True, config=CONFIG)
class Facts:
    """Everything a data folder declares for its audit."""

    totals: tuple[Total, ...] = ()
    readings: tuple[Readings, ...] = ()
    conversions: tuple[Conversion, ...] = ()
    zeros: tuple[Zeros, ...] = ()
    composites: tuple[Composites, ...] = ()
    sample_sizes: tuple[SampleSizes, ...] = ()
    flows: tuple[Flow, ...] = ()
    descriptions: tuple[Descriptions, ...] = ()
    redundant: tuple[Redundant, ...] = ()
    reliability: Reliability | None = None


_FACTS = TypeAdapter(Facts)


def read_facts(package: Mapping[str, Any], tables: Mapping[str, TextTable]) -> Facts:
    """Return the declared facts of a data folder.

    Parameters
    ----------
    package : mapping
        The parsed ``datapackage.json``; empty for a bare CSV.
    tables : mapping of str to TextTable
        Its tables.

    Returns
    -------
    Facts
        The declared facts, empty where nothing is declared.

    Raises
    ------
    DataError
        With every entry that cannot be read, or that names a table or column that is not there.
    """
    declared = package.get("reanalysis", {}).get("audit", {})
    try:
        facts = _FACTS.validate_python(declared)
    except ValidationError as error:
        raise DataError(
            [
                "datapackage.json: reanalysis.audit."
                + ".".join(str(part) for part in detail["loc"])
                + f": {detail['msg'].lower()}, not {detail.get('input')!r}."
                for detail in error.errors()
            ]
        ) from None
    problems = []
    for entry in fields(facts):
        listed = getattr(facts, entry.name)
        for number, fact in enumerate(listed if isinstance(listed, tuple) else ()):
            place = f"datapackage.json: reanalysis.audit.{entry.name}.{number}"
            if fact.table not in tables:
                problems.append(f"{place}: no table '{fact.table}'; it has {', '.join(tables)}.")
                continue
            problems += [
                f"{place}: no column '{column}' in '{fact.table}'."
                for column in fact.names
                if column and column not in tables[fact.table].header
            ]
    if problems:
        raise DataError(problems)
    return facts

"""A table of effect sizes with its provenance.

`load_dataset` reads a data folder (Data Package v2) or a bare CSV. Conversion to the analysis
scale happens here, once, so that every engine sees the same ``yi`` and ``vi``; which rows and
columns a model uses is decided in `reanalysis.design`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd

from reanalysis.datapackage import (
    missing_values,
    package_roles,
    package_schema,
    read_codebook,
    read_package,
)
from reanalysis.reading import Composites, Estimand, Reading, read_effects
from reanalysis.roles import guess_roles
from reanalysis.tables import DataError, TextTable, parse_table, table_bytes

__all__ = ["DataError", "Dataset", "Provenance", "load_dataset"]

DEFAULT_INTERCORRELATION = 0.7


@dataclass(frozen=True)
class Provenance:
    """Where a table comes from.

    Attributes
    ----------
    path : str
        Folder or file as given.
    sha256 : str
        Hash of the table's bytes.
    title, citation, licence : str
        From the data package.
    sources : tuple of str
        Sources with their DOI or address.
    codebook : str
        Text of the codebook.
    """

    path: str = ""
    sha256: str = ""
    title: str = ""
    citation: str = ""
    licence: str = ""
    sources: tuple[str, ...] = ()
    codebook: str = ""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Effect sizes on the analysis scale, with the table they come from.

    Attributes
    ----------
    name : str
        Name of the data set.
    table : pandas.DataFrame of k rows
        The source's columns, typed, with ``yi`` and ``vi`` added.
    effects : pandas.DataFrame of k rows
        Standard columns: ``yi``, ``vi``, ``ni`` (NaN where unknown), ``sample``, ``label``,
        ``effect``, ``n_averaged``, ``n_measured``, ``line`` (line of the file), ``composite``
        (number of effects behind a printed composite, 1 otherwise).
    measure : str
        metafor's code, such as ``ZCOR`` or ``SMD``.
    roles : mapping of str to str
        Column of each role.
    direction : str
        Expected direction of the effects, ``positive`` or ``negative``.
    provenance : Provenance
        Sources, licence, hash.
    tables : mapping of str to TextTable
        Every table of the folder as text.
    resource : str
        The table in use.
    package : mapping
        The parsed ``datapackage.json``; empty for a bare CSV.
    intercorrelation : float
        Correlation assumed among the effects of a composite.
    missing, decimal : str
        How empty cells and decimals are read.
    mixed : mapping of str to str
        Columns that are numeric but for a few cells: the first such cell, in words.
    guesses : tuple of str
        Roles that were guessed from column names.
    notes : tuple of str
        What was guessed, dropped or looks odd.
    readings : dict
        Readings made so far, shared by all readings of one source.
    """

    name: str
    table: pd.DataFrame
    effects: pd.DataFrame
    measure: str
    roles: Mapping[str, str]
    direction: Literal["positive", "negative"]
    provenance: Provenance
    tables: Mapping[str, TextTable] = field(repr=False)
    resource: str = ""
    package: Mapping[str, Any] = field(default_factory=dict, repr=False)
    intercorrelation: float = DEFAULT_INTERCORRELATION
    missing: Literal["error", "drop"] = "error"
    decimal: str = "."
    mixed: Mapping[str, str] = field(default_factory=dict, repr=False)
    guesses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    readings: dict[tuple[object, ...], "Dataset"] = field(default_factory=dict, repr=False)

    @property
    def k(self) -> int:
        """Number of effect sizes (rows)."""
        return len(self.effects)

    @property
    def m(self) -> int:
        """Number of samples."""
        return int(self.effects["sample"].nunique())

    def _repr_html_(self) -> str:
        return self.table._repr_html_()  # type: ignore[operator]

    def reading(
        self,
        *,
        table: str = "",
        columns: Mapping[str, str] | None = None,
        estimand: Estimand = "mean",
        composites: Composites = "collapse",
    ) -> "Dataset":
        """Return another reading of the same source.

        Parameters
        ----------
        table : str
            Table of the folder; empty for the one in use.
        columns : mapping of str to str, optional
            Columns that replace those of the same role.
        estimand : str
            ``mean`` turns a printed composite into the mean effect, ``composite`` keeps it.
        composites : str
            ``collapse`` makes one row of the effects that share a composite, ``spread`` gives
            each of them its value.

        Returns
        -------
        Dataset
            The effect sizes of that reading.

        Raises
        ------
        DataError
            If the table or a column does not exist, or a value cannot be used.
        """
        resource = table or self.resource
        if resource not in self.tables:
            raise DataError(
                [f"{self.provenance.path}: no table '{resource}'; it has {', '.join(self.tables)}."]
            )
        base = self.roles if resource == self.resource else package_roles(self.package, resource)
        roles = {**base, **(columns or {})}
        settings = self.measure, self.direction, self.intercorrelation, self.missing, self.decimal
        key = (resource, tuple(sorted(roles.items())), estimand, composites, *settings)
        if key not in self.readings:
            draft = replace(self, resource=resource, roles=roles)
            self.readings[key] = _build(draft, estimand=estimand, composites=composites)
        return self.readings[key]

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        measure: str = "",
        name: str = "table",
        direction: Literal["positive", "negative"] = "positive",
        intercorrelation: float = DEFAULT_INTERCORRELATION,
        **roles: str,
    ) -> "Dataset":
        """Make a data set from a pandas table.

        Parameters
        ----------
        frame : pandas.DataFrame
            One row per effect size.
        measure : str
            metafor's code; ``ZCOR`` is implied by ``ri`` and ``ni``.
        name : str
            Name for messages.
        direction : str
            Expected direction.
        intercorrelation : float
            Correlation assumed among the effects of a composite.
        **roles : str
            Column of each role, such as ``ri="r", ni="n", sample="study"``.

        Returns
        -------
        Dataset
            The checked data set.

        Raises
        ------
        DataError
            With every fault, row by row (rows are counted from 1).
        """
        rows = tuple(
            tuple("" if pd.isna(value) else str(value) for value in row)
            for row in frame.itertuples(index=False, name=None)
        )
        header = tuple(str(column) for column in frame.columns)
        twice = [column for column in dict.fromkeys(header) if header.count(column) > 1]
        if twice:
            raise DataError([f"{name}: two columns are called '{twice[0]}'; rename one."])
        table = TextTable(name, header, rows, tuple(range(1, len(rows) + 1)))
        digest = hashlib.sha256(repr((header, rows)).encode()).hexdigest()
        return _bare(
            table,
            Provenance(path=name, sha256=digest),
            name=name,
            measure=measure,
            roles=roles,
            direction=direction,
            intercorrelation=intercorrelation,
        )


def load_dataset(
    path: str | Path,
    *,
    table: str = "",
    measure: str = "",
    columns: Mapping[str, str] | None = None,
    direction: Literal["positive", "negative"] | None = None,
    missing: Literal["error", "drop"] = "error",
    decimal: str = ".",
    encoding: str = "",
    intercorrelation: float | None = None,
) -> Dataset:
    """Load a data folder or a bare CSV.

    Parameters
    ----------
    path : str or pathlib.Path
        Folder with a ``datapackage.json``, or a CSV file.
    table : str
        Table of the folder; empty for its default.
    measure : str
        Effect-size measure of a bare CSV; ``ZCOR`` is implied by ``ri`` and ``ni``.
    columns : mapping of str to str, optional
        Column of each role; guessed from the names for a bare CSV without any.
    direction : str, optional
        Expected direction; the folder's own, else ``positive``.
    missing : str
        ``error``, or ``drop`` for rows without an effect size.
    decimal : str
        Decimal mark of the numbers.
    encoding : str
        Encoding of the tables, one of `reanalysis.tables.ENCODINGS`; UTF-8 by default.
    intercorrelation : float, optional
        Correlation assumed among the effects of a composite.

    Returns
    -------
    Dataset
        The checked data set.

    Raises
    ------
    DataError
        With every fault of the table, or if a file's hash differs from the package's.
    OSError
        If a file cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise DataError([f"{path}: no such file or folder. Check the path in the spec."])
    if path.is_dir():
        return _load_folder(
            path,
            table=table,
            columns=columns or {},
            direction=direction,
            missing=missing,
            decimal=decimal,
            encoding=encoding,
            intercorrelation=intercorrelation,
        )
    raw = table_bytes(path)
    if table:
        raise DataError([f"{path}: a bare CSV has no table '{table}'; leave 'table' out."])
    return _bare(
        parse_table(raw, source=str(path), encoding=encoding),
        Provenance(path=str(path), sha256=hashlib.sha256(raw).hexdigest()),
        name=path.stem,
        measure=measure,
        roles=columns or {},
        direction=direction or "positive",
        missing=missing,
        decimal=decimal,
        intercorrelation=(
            DEFAULT_INTERCORRELATION if intercorrelation is None else intercorrelation
        ),
    )


def _bare(
    text: TextTable,
    provenance: Provenance,
    *,
    name: str,
    measure: str,
    roles: Mapping[str, str],
    direction: Literal["positive", "negative"],
    intercorrelation: float,
    missing: Literal["error", "drop"] = "error",
    decimal: str = ".",
) -> Dataset:
    guesses: tuple[str, ...] = ()
    if not roles:
        guess = guess_roles(text.header)
        roles, measure = guess.roles, measure or guess.measure
        guesses = (f"{text.file}: guessed: {'; '.join(guess.reasons) or 'nothing'}.",)
    if not measure and "ri" in roles:
        measure = "ZCOR"
    empty = pd.DataFrame()
    draft = Dataset(
        name=name,
        table=empty,
        effects=empty,
        measure=measure,
        roles=MappingProxyType(dict(roles)),
        direction=direction,
        provenance=provenance,
        tables=MappingProxyType({name: text}),
        resource=name,
        intercorrelation=intercorrelation,
        missing=missing,
        decimal=decimal,
        guesses=guesses,
    )
    return _build(draft)


def _load_folder(
    path: Path,
    *,
    table: str,
    columns: Mapping[str, str],
    direction: Literal["positive", "negative"] | None,
    missing: Literal["error", "drop"],
    decimal: str,
    encoding: str,
    intercorrelation: float | None,
) -> Dataset:
    package = read_package(path)
    own = package.get("reanalysis", {})
    tables, hashes, problems = {}, {}, []
    for resource in package["resources"]:
        file = path / resource["path"]
        if not file.is_file():
            problems.append(f"{file}: named in datapackage.json, but not there.")
            continue
        raw = table_bytes(file)
        digest = hashlib.sha256(raw).hexdigest()
        declared = str(resource.get("hash", "")).removeprefix("sha256:")
        if declared != digest:
            problems.append(
                f"{file}: its sha256 is {digest}, datapackage.json says {declared or 'nothing'}; "
                "the file was changed. Restore it, or update the hash if that was meant."
            )
            continue
        hashes[resource["name"]] = digest
        try:
            tables[resource["name"]] = parse_table(raw, source=str(file), encoding=encoding)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    name = table or own.get("default") or next(iter(tables))
    if name not in tables:
        raise DataError([f"{path}: no table '{name}'; it has {', '.join(tables)}."])
    settings = own.get("tables", {}).get(name, {})
    rho = intercorrelation if intercorrelation is not None else settings.get("intercorrelation")
    empty = pd.DataFrame()
    draft = Dataset(
        name=path.resolve().name,
        table=empty,
        effects=empty,
        measure=own.get("measure", ""),
        roles=MappingProxyType({**package_roles(package, name), **columns}),
        direction=direction or own.get("direction", "positive"),
        provenance=Provenance(
            path=str(path),
            sha256=hashes[name],
            title=package.get("title", ""),
            citation=own.get("citation", ""),
            licence="; ".join(
                entry.get("title") or entry.get("name", "") for entry in package.get("licenses", [])
            ),
            sources=tuple(
                " ".join(filter(None, (entry.get("title", ""), entry.get("path", ""))))
                for entry in package.get("sources", [])
            ),
            codebook=read_codebook(path),
        ),
        tables=MappingProxyType(tables),
        resource=name,
        package=MappingProxyType(package),
        intercorrelation=DEFAULT_INTERCORRELATION if rho is None else rho,
        missing=missing,
        decimal=decimal,
    )
    return _build(draft)


def _build(
    draft: Dataset, *, estimand: Estimand = "mean", composites: Composites = "collapse"
) -> Dataset:
    """Fill in the table and the effects of a draft."""
    read = read_effects(
        draft.tables[draft.resource],
        Reading(
            roles=draft.roles,
            measure=draft.measure,
            schema=package_schema(draft.package, draft.resource),
            blanks=missing_values(draft.package, draft.resource),
            decimal=draft.decimal,
            missing=draft.missing,
            intercorrelation=draft.intercorrelation,
            estimand=estimand,
            composites=composites,
        ),
    )
    return replace(
        draft,
        table=read.table,
        effects=read.effects,
        mixed=MappingProxyType(dict(read.mixed)),
        notes=(*draft.tables[draft.resource].notes, *draft.guesses, *read.notes),
    )

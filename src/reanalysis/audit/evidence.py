"""What the rules look at: cells as printed, declared facts, claims, and the pooled estimate."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reanalysis.audit.facts import Facts, read_facts
from reanalysis.audit.pooling import average_by_sample, pooled_estimate
from reanalysis.datapackage import missing_values, package_roles
from reanalysis.dataset import Dataset
from reanalysis.effect_sizes import MEASURES, composite_to_mean_z, fisher_z
from reanalysis.spec import Claim
from reanalysis.tables import TextTable, parse_number

__all__ = ["Cells", "Evidence", "gather"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """One table, its numbers together with how they were rounded.

    Attributes
    ----------
    name : str
        Name of the table.
    text : TextTable
        Its cells.
    roles : mapping of str to str
        Column of each role.
    blanks : frozenset of str
        Cells that count as missing.
    decimal : str
        Decimal mark.
    """

    name: str
    text: TextTable
    roles: Mapping[str, str]
    blanks: frozenset[str]
    decimal: str = "."

    def numbers(self, column: str) -> Vector:
        """Return a column as numbers; NaN where a cell is missing or not a number."""
        return np.array([self.number(cell) for cell in self.text.column(column)])

    def unit(self, column: str) -> float:
        """Return one unit of the last decimal of a column, at its most precise cell."""
        shown = [
            self.decimals(cell)
            for cell in self.text.column(column)
            if np.isfinite(self.number(cell))
        ]
        return 10.0 ** -max(shown, default=0)

    def decimals(self, cell: str) -> int:
        """Return the number of decimals of a printed number."""
        return len(cell.partition(self.decimal)[2])

    def missing(self, cell: str) -> bool:
        """Return whether a cell counts as missing."""
        return cell in self.blanks

    def place(self, row: int) -> str:
        """Return table, line and label of a row in words."""
        place = f"{self.name}, line {self.text.lines[row]}"
        column = self.roles.get("label") or self.roles.get("study") or self.roles.get("sample")
        return f"{place} ({self.text.column(column)[row]})" if column else place

    def column(self, role: str) -> list[str]:
        """Return the cells of a role; empty text where the table has no such role."""
        name = self.roles.get(role)
        return self.text.column(name) if name else [""] * len(self.text.rows)

    def number(self, cell: str) -> float:
        """Return a cell as a number; NaN where it is missing or not a number."""
        if cell in self.blanks:
            return np.nan
        try:
            return parse_number(cell, decimal=self.decimal)
        except ValueError:
            return np.nan


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything the rules look at.

    Attributes
    ----------
    dataset : Dataset
        The data as the analysis uses them.
    claims : tuple of Claim
        What the source asserts.
    facts : Facts
        What the data folder declares.
    """

    dataset: Dataset
    claims: tuple[Claim, ...]
    facts: Facts

    def cells(self, table: str = "") -> Cells:
        """Return a table of the data folder; the one in use by default."""
        data = self.dataset
        name = table or data.resource
        roles = data.roles if name == data.resource else package_roles(data.package, name)
        blanks = missing_values(data.package, name)
        return Cells(name, data.tables[name], roles, blanks, data.decimal)

    @cached_property
    def effects(self) -> dict[str, list[tuple[float, float]]]:
        """Effects ``(yi, vi)`` in use, by sample."""
        rows: dict[str, list[tuple[float, float]]] = {}
        table = self.dataset.effects
        for sample, y, v in zip(table["sample"], table["yi"], table["vi"], strict=True):
            rows.setdefault(str(sample), []).append((float(y), float(v)))
        return rows

    @cached_property
    def pooled(self) -> float:
        """Pooled estimate of the data in use, on the scale people read."""
        return self._pool(self.effects)

    def pooled_with(self, changed: Mapping[str, list[tuple[float, float]]]) -> float | None:
        """Return the pooled estimate with other effects for some samples.

        Parameters
        ----------
        changed : mapping of str to list of (yi, vi)
            Effects by sample; an empty list leaves the sample out.

        Returns
        -------
        float or None
            On the scale people read; None when fewer than two samples are left.
        """
        rows = {**self.effects, **changed}
        rows = {sample: effects for sample, effects in rows.items() if effects}
        return self._pool(rows) if len(rows) > 1 else None

    def pooled_with_row(self, position: int, effect: tuple[float, float] | None) -> float | None:
        """Return the pooled estimate with another effect in one row, or without that row.

        Parameters
        ----------
        position : int
            Position of the row in the effects of the data set, from 0.
        effect : (float, float) or None
            Its other ``yi`` and ``vi``; None leaves the row out.
        """
        table = self.dataset.effects
        sample = str(table["sample"].iloc[position])
        rows = list(self.effects[sample])
        inside = int((table["sample"].astype(str).to_numpy()[:position] == sample).sum())
        rows[inside : inside + 1] = [] if effect is None else [effect]
        return self.pooled_with({sample: rows})

    def position(self, line: int) -> int | None:
        """Return the position of a line of the file among the effects; None if not used."""
        found = np.flatnonzero(self.dataset.effects["line"].to_numpy() == line)
        return int(found[0]) if len(found) else None

    def correlation_effect(self, r: float, n: float, m: float = 1) -> tuple[float, float] | None:
        """Return ``(yi, vi)`` of a correlation, of the mean effect behind it where m > 1."""
        if not (abs(r) < 1 and n > 3) or self.dataset.measure != "ZCOR":
            return None
        rho = self.dataset.intercorrelation
        y, v = composite_to_mean_z(r, n, m, rho) if m > 1 else fisher_z(r, n)
        return float(y), float(v)

    def readable(self, value: float) -> float:
        """Return a value of the analysis scale on the scale people read."""
        measure = MEASURES.get(self.dataset.measure)
        if measure is None or measure.back is None:
            return value
        return float(measure.back(np.array(value)))

    def _pool(self, rows: Mapping[str, list[tuple[float, float]]]) -> float:
        codes = np.repeat(np.arange(len(rows)), [len(effects) for effects in rows.values()])
        pairs = np.array([pair for effects in rows.values() for pair in effects])
        mu, _, _ = pooled_estimate(*average_by_sample(pairs[:, 0], pairs[:, 1], codes))
        return self.readable(mu)


def gather(dataset: Dataset, claims: tuple[Claim, ...]) -> Evidence:
    """Return the evidence of a data set.

    Raises
    ------
    DataError
        If the audit part of the data package cannot be read.
    """
    return Evidence(dataset, claims, read_facts(dataset.package, dataset.tables))

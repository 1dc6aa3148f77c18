"""What the columns of one table state about each row: its effect, and its standard error.

A table often says the same twice: r and z, n and the variance, an estimate and its interval. Each
such column is a `Statement`, brought to a common scale with the rounding it was printed with, so
that `reanalysis.audit.consistency` can set them against each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reanalysis.audit.evidence import Cells, Evidence
from reanalysis.roles import SYNONYMS

__all__ = ["Statement", "TableColumns", "Vector", "read_columns"]

Vector = NDArray[np.float64]
NORMAL_975 = 1.959963984540054
LOWER = ("ci_lb", "ci_lower", "ci_low", "lower", "lower_ci", "lci", "ll", "lower_limit", "ci_l")
UPPER = ("ci_ub", "ci_upper", "ci_high", "upper", "upper_ci", "uci", "ul", "upper_limit", "ci_u")
# Names that mean one thing only; "d" or "es" in an unknown table may be an identifier.
CERTAIN: Mapping[str, tuple[str, ...]] = {
    "ri": ("ri", "r", "cor", "correlation"),
    "yi": ("yi", "z", "fisher_z", "zi"),
    "vi": ("vi", "v", "var", "variance"),
    "sei": ("sei", "se", "std_error", "standard_error"),
    "ni": SYNONYMS["ni"],
}
ENOUGH_ROWS = 5
SPREAD = 0.25  # log units of the standard error: room for unequal groups and large effects
TWO_GROUPS = 0.5 * float(
    np.log(4.3)
)  # v is about 4/n for two equal groups, a little more otherwise
MAD_TO_SD = 1.4826


@dataclass(frozen=True, eq=False)
class Statement:
    """What one column, or one pair of columns, states about every row.

    Attributes
    ----------
    kind : str
        ``effect`` or ``precision``.
    role : str
        ``ri``, ``yi``, ``vi``, ``sei``, ``ni`` or ``interval``.
    columns : tuple of str
        The columns.
    value : numpy.ndarray of shape (k,)
        Effect on the analysis scale, or natural log of the standard error; NaN where it says
        nothing.
    slack : numpy.ndarray of shape (k,)
        Largest error that rounding can make.
    """

    kind: Literal["effect", "precision"]
    role: str
    columns: tuple[str, ...]
    value: Vector
    slack: Vector


@dataclass(frozen=True, eq=False)
class TableColumns:
    """The numbers of a table that say something about effects and their precision.

    Attributes
    ----------
    cells : Cells
        The table.
    raw : mapping of str to numpy.ndarray of shape (k,)
        Numbers of each role as printed; ``lower`` and ``upper`` for an interval.
    unit : mapping of str to float
        One unit of the last printed decimal of each role.
    column : mapping of str to str
        Column of each role.
    correlation : bool
        Whether the analysis scale is Fisher's z.
    two_groups : bool
        Whether the effects are standardised mean differences of two groups.
    interval_on_r : bool
        Whether the interval is printed on the r scale.
    """

    cells: Cells
    raw: Mapping[str, Vector]
    unit: Mapping[str, float]
    column: Mapping[str, str]
    correlation: bool
    two_groups: bool = False
    interval_on_r: bool = False

    def effects(self) -> list[Statement]:
        """Return what the columns state about the effect of each row."""
        found = [
            self.effect(role, self.raw[role])
            for role in ("ri", "yi")
            if role in self.raw and (role == "yi" or self.correlation)
        ]
        if "lower" in self.raw:
            found.append(self.middle(self.raw["lower"], self.raw["upper"]))
        return found

    def precisions(self) -> list[Statement]:
        """Return what the columns state about the standard error of each row, as its log."""
        found = [self.precision(role, self.raw[role]) for role in ("vi", "sei") if role in self.raw]
        if "lower" in self.raw:
            found.append(self.width(self.raw["lower"], self.raw["upper"]))
        if "ni" in self.raw and (self.correlation or found):
            found.append(self.from_sample_size(self.raw["ni"], found))
        return found

    def effect(self, role: str, raw: Vector) -> Statement:
        """Return the effects that numbers of a role stand for."""
        half = np.full(len(raw), self.unit[role] / 2)
        value, slack = self._on_scale(raw, half) if role == "ri" else (raw, half)
        return Statement("effect", role, (self.column[role],), value, slack)

    def middle(self, lower: Vector, upper: Vector) -> Statement:
        """Return the middle of an interval on the analysis scale."""
        (lo, lo_slack), (hi, hi_slack) = self._ends(lower, upper)
        names = (self.column["lower"], self.column["upper"])
        return Statement("effect", "interval", names, (lo + hi) / 2, (lo_slack + hi_slack) / 2)

    def precision(self, role: str, raw: Vector) -> Statement:
        """Return the log standard errors that variances or standard errors stand for."""
        power = 0.5 if role == "vi" else 1.0
        with np.errstate(divide="ignore", invalid="ignore"):
            value = power * _log(raw)
            slack = -power * np.log1p(-np.minimum(self.unit[role] / 2 / raw, 0.999))
        return Statement("precision", role, (self.column[role],), value, slack)

    def width(self, lower: Vector, upper: Vector) -> Statement:
        """Return the log standard error behind the width of a 95 % interval."""
        (lo, lo_slack), (hi, hi_slack) = self._ends(lower, upper)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = _log((hi - lo) / (2 * NORMAL_975))
            slack = -np.log1p(-np.minimum((lo_slack + hi_slack) / (hi - lo), 0.999))
        names = (self.column["lower"], self.column["upper"])
        return Statement("precision", "interval", names, value, slack)

    def from_sample_size(self, raw: Vector, others: list[Statement]) -> Statement:
        """Return the log standard errors that sample sizes imply.

        For correlations they are exact. For another measure ``v * n`` is about constant; the
        constant is the median of the table, with room for unequal groups. For standardised mean
        differences of two groups it is known, which shows a column that holds standard errors.
        """
        names = (self.column["ni"],)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.correlation:
                value = -0.5 * _log(raw - 3)
                return Statement("precision", "ni", names, value, np.full(len(raw), 1e-6))
            log_root = 0.5 * _log(raw)
            offsets = others[0].value + log_root
        known = offsets[np.isfinite(offsets)]
        if len(known) < ENOUGH_ROWS:
            return Statement("precision", "ni", names, np.full(len(raw), np.nan), 0 * raw)
        centre = float(np.median(known))
        power = {"vi": 2.0, "sei": 0.5}.get(others[0].role, 1.0)
        mistaken = np.median((power * others[0].value + log_root)[np.isfinite(offsets)])
        if self.two_groups and abs(mistaken - TWO_GROUPS) < SPREAD < abs(centre - TWO_GROUPS):
            centre, known = TWO_GROUPS, np.array([TWO_GROUPS])
        spread = max(SPREAD, 4 * MAD_TO_SD * float(np.median(np.abs(known - centre))))
        return Statement("precision", "ni", names, centre - log_root, np.full(len(raw), spread))

    def _ends(
        self, lower: Vector, upper: Vector
    ) -> tuple[tuple[Vector, Vector], tuple[Vector, Vector]]:
        pairs = []
        for role, raw in (("lower", lower), ("upper", upper)):
            half = np.full(len(raw), self.unit[role] / 2)
            pairs.append(self._on_scale(raw, half) if self.interval_on_r else (raw, half))
        return pairs[0], pairs[1]

    def _on_scale(self, raw: Vector, half: Vector) -> tuple[Vector, Vector]:
        """Return Fisher's z of correlations, and the rounding error there."""
        inside = np.where(np.abs(raw) < 1, raw, np.nan)
        edge = np.minimum(np.abs(inside) + half, 1 - 1e-9)
        z = np.arctanh(inside)
        return z, np.arctanh(edge) - np.abs(z)


def read_columns(evidence: Evidence) -> TableColumns:
    """Return the columns of the table in use that state effects and precisions.

    Columns in use come first, then those that a data folder declares as redundant. In a bare
    table, columns whose names are unmistakable are used too.
    """
    cells = evidence.cells()
    column = {role: name for role, name in cells.roles.items() if role in CERTAIN}
    for fact in evidence.facts.redundant:
        if fact.table == cells.name:
            column = {**{str(role): name for role, name in fact.roles.items()}, **column}
    if not evidence.dataset.package:
        column = {**_guessed(cells, set(cells.roles.values())), **column}
    if not {"lower", "upper"} <= set(column):
        column = {role: name for role, name in column.items() if role not in ("lower", "upper")}
    found = TableColumns(
        cells=cells,
        raw={role: cells.numbers(name) for role, name in column.items()},
        unit={role: cells.unit(name) for role, name in column.items()},
        column=column,
        correlation=evidence.dataset.measure == "ZCOR",
        two_groups=evidence.dataset.measure == "SMD",
    )
    return replace(found, interval_on_r=_interval_is_on_r(found))


def _guessed(cells: Cells, taken: set[str]) -> dict[str, str]:
    """Return the columns of a bare table whose names are unmistakable."""
    folded = {
        name.strip().casefold().replace(".", "_").replace(" ", "_"): name
        for name in reversed(cells.text.header)
        if name not in taken
    }
    names = {**CERTAIN, "lower": LOWER, "upper": UPPER}
    found = {
        role: next((folded[n] for n in known if n in folded), "") for role, known in names.items()
    }
    return {role: name for role, name in found.items() if name}


def _interval_is_on_r(table: TableColumns) -> bool:
    """Decide the scale of an interval: the one on which more of its middles are the estimates."""
    if not table.correlation or "lower" not in table.raw:
        return False
    ends = np.concatenate([table.raw["lower"], table.raw["upper"]])
    if np.nanmax(np.abs(ends), initial=0) >= 1 + table.unit["lower"]:
        return False
    own = [s for s in table.effects() if s.role != "interval"]
    if not own:
        return True
    distance = {}
    for on_r in (True, False):
        middle = replace(table, interval_on_r=on_r).middle(table.raw["lower"], table.raw["upper"])
        gaps = np.abs(middle.value - own[0].value)
        distance[on_r] = np.median(gaps[np.isfinite(gaps)]) if np.isfinite(gaps).any() else np.inf
    return bool(distance[True] <= distance[False])


def _log(x: Vector) -> Vector:
    """Return the natural logarithm; NaN where there is none."""
    return np.log(np.where(x > 0, x, np.nan))

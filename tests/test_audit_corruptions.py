"""Recall and precision of the audit on seeded corruptions of clean tables.

**Clean tables** are simulated meta-analyses with realistic heterogeneity: 10 to 33 studies, mean
effect .05 to .40, total SD of true effects 0 to .25 (on z, or in d), log-normal sample sizes
(median 60), one study in four with two outcomes on the same people. Five layouts, as papers have
them:

=============  =============================================================
``r n``        correlation (two decimals) and n
``r n CI``     the same with a 95 % interval (two decimals)
``r n z v``    the same with Fisher's z (three decimals) and its variance
``d v n``      standardised mean difference, its variance, total n
``d se CI``    the same with a standard error and an interval, and n
=============  =============================================================

**Corruptions.** 200 tables get one corruption each, in turn of the seven kinds. A standard error
for the variance, r for z and swapped columns hit a whole column in part of the cases, else one row.
A corruption is drawn only where it is *in principle detectable*:

- where columns are redundant, the corrupted cell contradicts another one by more than rounding: a
  lost sign of r = .00, or r for z where both round to the same number, changes nothing (r for z in
  a whole column has to show in three rows);
- where they are not, a lost sign, a shifted decimal or a d made with the standard error in place of
  the SD lies at least 4.5 standard deviations (true heterogeneity and sampling error) from the
  mean; nearer than that nobody can tell it from an ordinary result;
- a mistyped n is drawn beside a variance, standard error or interval only, and changes that by more
  than rounding; for d, where n gives the variance only roughly, by a large factor. A mistyped n
  beside nothing but r cannot be seen at all;
- a duplicated row always, under a new identifier, and in half of the cases under another name.

A value that cannot be read at all (r = 1.9) is refused by the loader with its line. That is not
the audit's merit, and such corruptions are not drawn.

**Recall** is the share of the 200 corruptions whose row (for whole columns: whose column) is named
by an error or a warning. **Named** is the share whose finding has the right rule as well; where a
column is not redundant, ``outlier`` is right, since the audit can only guess at the slip.
**Precision** is the share of all places (rows or columns) with an error or a warning that are the
corrupted ones, over the 200 corrupted tables and 200 clean ones: a false alarm in those counts.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from reanalysis.audit import audit
from reanalysis.dataset import Dataset

SEED = 20210803
TABLES = 200
NORMAL_975 = 1.96
KINDS = (
    "sign_flip",
    "se_for_variance",
    "n_typo",
    "r_for_z",
    "swapped_columns",
    "duplicate",
    "decimal_shift",
)
ROLES = {
    "r n": {"measure": "ZCOR", "ri": "r", "ni": "n"},
    "r n CI": {"measure": "ZCOR", "ri": "r", "ni": "n"},
    "r n z v": {"measure": "ZCOR", "ri": "r", "ni": "n"},
    "d v n": {"measure": "SMD", "yi": "d", "vi": "v", "ni": "n"},
    "d se CI": {"measure": "SMD", "yi": "d", "sei": "se", "ni": "n"},
}
DECIMALS = {"r": 2, "ci_lower": 2, "ci_upper": 2, "z": 3, "v": 4, "d": 2, "se": 3}
FAR = 4.5


@dataclass
class Table:
    """A simulated table: numbers before rounding, and the truth behind them."""

    layout: str
    cells: pd.DataFrame
    mean: float
    sd: np.ndarray  # true SD of each observed effect around the mean

    def printed(self):
        frame = self.cells.copy()
        for column, places in DECIMALS.items():
            if column in frame:
                frame[column] = [f"{value:.{places}f}" for value in frame[column]]
        return frame

    def load(self):
        roles = {**ROLES[self.layout], "sample": "study", "label": "study", "effect": "row"}
        return Dataset.from_frame(self.printed(), **roles)

    @property
    def effect(self):
        return "d" if self.layout.startswith("d") else "r"


def simulate(rng, layout):
    mean, tau = rng.uniform(0.05, 0.40), rng.uniform(0, 0.25)
    studies = rng.integers(10, 33)
    outcomes = rng.choice([1, 2], size=studies, p=[0.75, 0.25])
    study = np.repeat(np.arange(studies), outcomes)
    n = np.clip(np.exp(rng.normal(np.log(60), 0.7, studies)).round(), 12, 900).astype(int)[study]
    year = rng.integers(1995, 2021, studies)[study]
    k = len(study)
    true = mean + rng.normal(0, tau, studies)[study] * 0.9 + rng.normal(0, tau * 0.44, k)
    cells = pd.DataFrame(
        {"row": np.arange(1, k + 1), "study": [f"Study {i + 1}" for i in study], "year": year}
    )
    cells["outcome"] = np.arange(k) - np.searchsorted(study, study) + 1
    if layout.startswith("r"):
        v = 1.0 / (n - 3)
        z = true + rng.normal(0, np.sqrt(v))
        cells["r"], cells["n"] = np.tanh(z), n
        if layout == "r n CI":
            cells["ci_lower"] = np.tanh(z - NORMAL_975 * np.sqrt(v))
            cells["ci_upper"] = np.tanh(z + NORMAL_975 * np.sqrt(v))
        if layout == "r n z v":
            cells["z"], cells["v"] = z, v
    else:
        share = rng.uniform(0.4, 0.6, studies)[study]
        n1 = np.maximum((n * share).round(), 4)
        n2 = n - n1
        d = true + rng.normal(0, np.sqrt(1 / n1 + 1 / n2))
        v = 1 / n1 + 1 / n2 + d**2 / (2 * n)
        cells["d"], cells["n"] = d, n
        if layout == "d v n":
            cells["v"] = v
        else:
            cells["se"] = np.sqrt(v)
            cells["ci_lower"] = d - NORMAL_975 * np.sqrt(v)
            cells["ci_upper"] = d + NORMAL_975 * np.sqrt(v)
    return Table(layout, cells, mean, np.sqrt(tau**2 + v))


def shows(table, row, column, value):
    """Whether a new value differs in print from the old one, by more than one unit."""
    return abs(value - table.cells.loc[row, column]) > 1.5 * 10.0 ** -DECIMALS[column]


def far(table, row, value):
    z = np.arctanh(value) if table.effect == "r" else value
    return abs(z - table.mean) > FAR * table.sd[row]


def flip_sign(rng, table):
    """A lost minus sign: in z or in r where the other is there, else in the effect."""
    row = rng.integers(len(table.cells))
    column = rng.choice(["r", "z"]) if "z" in table.cells else table.effect
    value = -table.cells.loc[row, column]
    redundant = table.layout not in BARE
    if not (shows(table, row, column, value) if redundant else far(table, row, value)):
        return None
    table.cells.loc[row, column] = value
    return row


def standard_error_for_variance(rng, table):
    """A standard error where the variance belongs or the reverse; a d made with SE for SD."""
    row = rng.integers(len(table.cells))
    if "v" in table.cells and rng.random() < 0.3:
        table.cells["v"] = np.sqrt(table.cells["v"])
        return "v"
    if "v" in table.cells and rng.random() < 0.6:
        table.cells.loc[row, "v"] = np.sqrt(table.cells.loc[row, "v"])
        return row if table.cells.loc[row, "v"] < 0.45 else None  # n of 20 or more
    if "se" in table.cells and rng.random() < 0.5:
        table.cells.loc[row, "se"] **= 2
        return row
    if table.layout == "d v n":
        value = table.cells.loc[row, "d"] * np.sqrt(table.cells.loc[row, "n"]) / 2
        if not far(table, row, value):
            return None
        table.cells.loc[row, "d"] = value
        return row
    return None


def mistype_n(rng, table):
    """A digit too many or too few, one wrong, or two exchanged."""
    row = rng.integers(len(table.cells))
    n = int(table.cells.loc[row, "n"])
    digits = list(str(n))
    slip = rng.choice(["append", "drop", "replace", "exchange"])
    place = rng.integers(len(digits))
    if slip == "append":
        digits.append("0")
    elif slip == "drop":
        digits.pop()
    elif slip == "replace":
        digits[place] = str(rng.integers(1, 10))
    elif place + 1 < len(digits):
        digits[place], digits[place + 1] = digits[place + 1], digits[place]
    changed = int("".join(digits) or 0)
    if changed < 5:
        return None
    ratio = max((changed - 3) / (n - 3), (n - 3) / (changed - 3))
    rounding = {"r n z v": 0.00005 * (n - 3) + 0.005, "r n CI": 0.005 * np.sqrt(n) + 0.02}
    needed = 1 + 3 * rounding.get(table.layout, 8 / 3)
    if ratio < needed:
        return None
    table.cells.loc[row, "n"] = changed
    return row


def r_for_z(rng, table):
    """r in the column of Fisher's z, in one row or in all."""
    row = rng.integers(len(table.cells))
    r = table.cells["r"]
    visible = np.abs(np.arctanh(r) - r) > 1.5 * (0.0005 + 0.005 / (1 - r**2))
    if rng.random() < 0.3:
        table.cells["z"] = r
        return "z" if visible.sum() >= 3 else None
    if not visible[row]:
        return None
    r = r[row]
    table.cells.loc[row, "z"] = r
    return row


def swap(rng, table):
    """Two cells of a row, or two columns, in each other's place."""
    row = rng.integers(len(table.cells))
    pairs = [("n", "year")]
    if "ci_lower" in table.cells:
        pairs.append(("ci_lower", "ci_upper"))
    if "z" in table.cells:
        pairs += [("z", "v"), ("r", "z")]
    if table.layout == "d v n":
        pairs.append(("d", "v"))
    a, b = pairs[rng.integers(len(pairs))]
    if a == "ci_lower" and rng.random() < 0.5:
        table.cells[[a, b]] = table.cells[[b, a]].to_numpy()
        return a
    x, y = table.cells.loc[row, a], table.cells.loc[row, b]
    if (a, b) == ("r", "z") and abs(y - x) < 1.5 * (0.0005 + 0.005 / (1 - y**2)):
        return None
    if b == "v" and (x < 0.01 or max(x / y, y / x) < (4 if a == "d" else 2)):
        return None
    table.cells[[a, b]] = table.cells[[a, b]].astype(float)
    table.cells.loc[row, [a, b]] = y, x
    for column in {a, b} & {"n", "year"}:
        table.cells[column] = table.cells[column].astype(int)
    return row


def duplicate(rng, table):
    """A row entered twice, under another identifier and perhaps another study name."""
    row = int(rng.integers(len(table.cells)))
    copy = table.cells.loc[[row]].copy()
    copy["row"] = len(table.cells) + 1
    if rng.random() < 0.5:
        copy["study"] = copy["study"] + " et al."
    table.cells = pd.concat([table.cells, copy], ignore_index=True)
    table.sd = np.append(table.sd, table.sd[row])
    return row


def shift_decimal(rng, table):
    """A decimal point one place to the left or right, in the effect or its variance."""
    row = rng.integers(len(table.cells))
    factor = rng.choice([0.1, 10.0])
    columns = [c for c in ("r", "z", "v", "d", "se") if c in table.cells]
    column = rng.choice(columns)
    value = table.cells.loc[row, column] * factor
    if column == "r" and abs(value) >= 0.995:
        return None
    if column in ("v", "se"):
        if round(value, DECIMALS[column]) < 20 * 10.0 ** -DECIMALS[column]:
            return None
    elif table.layout in BARE:
        if not far(table, row, value):
            return None
    elif not shows(table, row, column, value):
        return None
    table.cells.loc[row, column] = value
    return row


CORRUPT = dict(
    zip(
        KINDS,
        (
            flip_sign,
            standard_error_for_variance,
            mistype_n,
            r_for_z,
            swap,
            duplicate,
            shift_decimal,
        ),
        strict=True,
    )
)
LAYOUTS = {
    "n_typo": ("r n CI", "r n z v", "d v n", "d se CI"),
    "r_for_z": ("r n z v",),
    "se_for_variance": ("r n z v", "d v n", "d se CI"),
}
RIGHT = {
    "se_for_variance": {"se_for_variance", "variance_for_se", "se_for_sd"},
    "r_for_z": {"r_for_z", "z_for_r"},
}


BARE = ("r n", "d v n")  # nothing else in the row says what the effect should be


def corrupted(rng, kind):
    """Return a table with one detectable corruption, and where it is."""
    layouts = LAYOUTS.get(kind, tuple(ROLES))
    while True:
        table = simulate(rng, layouts[rng.integers(len(layouts))])
        place = CORRUPT[kind](rng, table)
        if place is not None:
            return table, place


def alarms(table):
    """Return (rule, place) of every error and warning: a row's position or a column."""
    found = set()
    for finding in audit(table.load()):
        if finding.severity == "note":
            continue
        if finding.lines:
            found.add((finding.rule, finding.lines[0] - 1))
        else:
            found.update((finding.rule, column) for column in finding.columns[:1])
    return found


@pytest.fixture(scope="module")
def outcome():
    rng = np.random.default_rng(SEED)
    cases = []
    for i in range(TABLES):
        kind = KINDS[i % len(KINDS)]
        table, place = corrupted(rng, kind)
        found = alarms(table)
        right = RIGHT.get(kind, {kind}) | ({"outlier"} if table.layout in BARE else set())
        cases.append(
            {
                "kind": kind,
                "layout": table.layout,
                "located": any(where == place for _, where in found),
                "named": any(where == place and rule in right for rule, where in found),
                "false": len({where for _, where in found if where != place}),
                "place": place,
                "found": sorted(map(str, found)),
            }
        )
    layouts = list(ROLES)
    clean = []
    for i in range(TABLES):
        table = simulate(rng, layouts[i % len(layouts)])
        found = alarms(table)
        clean.append(
            {"layout": table.layout, "false": len({where for _, where in found}), "found": found}
        )
    return pd.DataFrame(cases), pd.DataFrame(clean)


def test_corruptions_are_found_with_recall_and_precision_of_at_least_90_percent(outcome):
    cases, clean = outcome
    recall, named = cases["located"].mean(), cases["named"].mean()
    hits, false = cases["located"].sum(), cases["false"].sum() + clean["false"].sum()
    precision = hits / (hits + false)
    print(cases.groupby("kind")[["located", "named", "false"]].agg(["sum", "count"]).to_string())
    print(f"recall {recall:.3f} (named {named:.3f}), precision {precision:.3f}: ", end="")
    print(
        f"{hits} hits, {cases['false'].sum()} false in corrupted, {clean['false'].sum()} in clean"
    )
    assert recall >= 0.9
    assert named >= 0.9
    assert precision >= 0.9


def test_no_kind_of_corruption_is_missed_more_often_than_every_fifth_time(outcome):
    cases, _ = outcome
    assert set(cases["kind"]) == set(KINDS)
    assert cases.groupby("kind")["located"].mean().min() >= 0.8

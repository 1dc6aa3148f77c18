"""What can be wrong with the rows of a table; each check returns one line per fault."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.effect_sizes import MEASURES
from reanalysis.nearest import folded, nearest
from reanalysis.tables import TextTable

__all__ = [
    "correlation_faults",
    "effect_faults",
    "oddities",
    "role_faults",
    "structure_faults",
]

Vector = NDArray[np.float64]

LARGEST_Z = 10.0
VARIANCE_RATIO = 1e7
SMALLEST, LARGEST = 1e-30, 1e30  # their squares and ratios stay numbers
LARGEST_N = 1e12
FEW_SAMPLES = 5
MANY = 10_000


def role_faults(text: TextTable, roles: Mapping[str, str], measure: str) -> list[str]:
    """Columns that are not there, effect sizes or a measure that are not named."""
    problems = []
    for role, column in roles.items():
        if column not in text.header:
            near = nearest(column, text.header)
            hint = f" Did you mean '{near}'?" if near else ""
            problems.append(
                f"{text.source}: no column '{column}' (wanted as {role}).{hint} "
                f"Columns: {', '.join(text.header)}."
            )
    pairs = (("ri", "ni"), ("yi", "vi"), ("yi", "sei"))
    if not any(all(role in roles for role in pair) for pair in pairs):
        given = ", ".join(f"{role} = '{column}'" for role, column in roles.items()) or "none"
        problems.append(
            f"{text.source}: no effect sizes: name the columns of (ri, ni), (yi, vi) or (yi, sei) "
            f"under [data.columns]; known so far: {given}. Columns: {', '.join(text.header)}."
        )
    elif "ri" in roles and "ni" in roles and {"vi", "sei"} & set(roles):
        problems.append(
            f"{text.source}: effect sizes are named twice, as (ri, ni) and as "
            f"({', '.join(role for role in ('yi', 'vi', 'sei') if role in roles)}); keep one pair "
            "under [data.columns]."
        )
    elif "ri" in roles and measure not in ("", "ZCOR"):
        problems.append(
            f"{text.source}: measure is '{measure}', but (ri, ni) are correlations, which become "
            "ZCOR; leave measure out, or name the columns of (yi, vi)."
        )
    elif "yi" in roles and not measure:
        problems.append(
            f"{text.source}: the measure of '{roles['yi']}' is not stated; set measure under "
            f"[data], one of {', '.join(MEASURES)}."
        )
    if measure and measure not in MEASURES:
        near = nearest(measure, MEASURES)
        hint = f" Did you mean '{near}'?" if near else ""
        problems.append(
            f"{text.source}: unknown measure '{measure}'.{hint} Measures: {', '.join(MEASURES)}."
        )
    return problems


def correlation_faults(
    ri: Vector,
    ni: Vector,
    where: Sequence[str],
    roles: Mapping[str, str],
    checked: NDArray[np.bool_],
    drop: bool,
) -> list[str]:
    """Correlations and sample sizes that have no Fisher z."""
    problems = []
    for i, place in enumerate(where):
        if not checked[i]:
            continue
        if np.isnan(ri[i]) or np.isnan(ni[i]):
            if not drop:
                empty = roles["ri"] if np.isnan(ri[i]) else roles["ni"]
                problems.append(
                    f"{place}: column '{empty}' is empty; fill it in, or set missing = \"drop\" "
                    "under [data]."
                )
            continue
        if abs(ri[i]) >= 1:
            hint = (
                f"{ri[i]:g} has no Fisher z; look it up, or leave the row out"
                if abs(ri[i]) == 1
                else f"write {ri[i] / 100:g} if it is a percentage"
                if 2 <= abs(ri[i]) <= 100
                else "look it up, and check that the column holds correlations"
            )
            problems.append(
                f"{place}: {roles['ri']} is {ri[i]:g}; a correlation lies between -1 and 1 "
                f"({hint})."
            )
        if ni[i] <= 3:
            problems.append(
                f"{place}: {roles['ni']} is {ni[i]:g}; Fisher's z needs a sample size above 3; "
                "look it up, or leave the row out."
            )
        elif ni[i] > LARGEST_N:
            problems.append(f"{place}: {roles['ni']} is {ni[i]:g}; no sample is that large.")
        elif ni[i] % 1:
            problems.append(
                f"{place}: {roles['ni']} is {ni[i]:g}; a sample size is a whole number; write "
                "how many people there were."
            )
    return problems


def effect_faults(
    numbers: Mapping[str, Vector],
    where: Sequence[str],
    roles: Mapping[str, str],
    measure: str,
    checked: NDArray[np.bool_],
    drop: bool,
) -> list[str]:
    """Effect sizes or variances that are empty, not positive or impossible."""
    role = "vi" if "vi" in roles else "sei"
    word = "sampling variances" if role == "vi" else "standard errors"
    yi, spread = numbers["yi"], numbers[role]
    ni = numbers.get("ni", np.full(len(yi), np.nan))
    problems = []
    for i, place in enumerate(where):
        if not checked[i]:
            continue
        if np.isnan(yi[i]) or np.isnan(spread[i]):
            if not drop:
                empty = roles["yi"] if np.isnan(yi[i]) else roles[role]
                problems.append(
                    f"{place}: column '{empty}' is empty; fill it in, or set missing = \"drop\" "
                    "under [data]."
                )
            continue
        if spread[i] <= 0:
            problems.append(
                f"{place}: {roles[role]} is {spread[i]:g}; {word} must be positive; look it up, "
                "or leave the row out."
            )
        elif not SMALLEST <= spread[i] <= LARGEST:
            problems.append(
                f"{place}: {roles[role]} is {spread[i]:g}; {word} between {SMALLEST:g} and "
                f"{LARGEST:g} can be computed with; check the cell."
            )
        if ni[i] <= 0:
            problems.append(
                f"{place}: {roles['ni']} is {ni[i]:g}; a sample size is positive; look it up, or "
                "leave the cell empty."
            )
        if abs(yi[i]) > LARGEST:
            problems.append(
                f"{place}: {roles['yi']} is {yi[i]:g}, beyond {LARGEST:g}; check the cell."
            )
        lowest, highest = MEASURES[measure].bounds
        if not lowest <= yi[i] <= highest:
            problems.append(
                f"{place}: {roles['yi']} is {yi[i]:g}; a {MEASURES[measure].name} lies between "
                f"{lowest:g} and {highest:g}. Check the column and the measure."
            )
        if measure == "ZCOR" and abs(yi[i]) > LARGEST_Z:
            problems.append(
                f"{place}: {roles['yi']} is {yi[i]:g}; no correlation has a Fisher z beyond "
                f"{LARGEST_Z:g}. Check the column."
            )
    return problems


def structure_faults(
    text: TextTable, roles: Mapping[str, str], effects: pd.DataFrame, place: Sequence[str]
) -> list[str]:
    """Duplicated effects, samples under two studies, inconsistent counts."""
    problems = []
    anew = "sample" in roles and _numbered_within_samples(effects)
    if "effect" in roles and not anew:
        seen: dict[str, int] = {}
        for i, name in enumerate(effects["effect"]):
            if name in seen and name:
                problems.append(
                    f"{place[i]}: {roles['effect']} '{name}' is already in line "
                    f"{text.lines[seen[name]]}; every effect needs its own."
                )
            seen.setdefault(name, i)
    if "study" in roles and "sample" in roles and roles["study"] != roles["sample"]:
        home: dict[str, str] = {}
        for i, (sample, study) in enumerate(
            zip(effects["sample"], text.column(roles["study"]), strict=True)
        ):
            if home.setdefault(sample, study) != study:
                problems.append(
                    f"{place[i]}: sample '{sample}' is under study '{study}' here and under "
                    f"'{home[sample]}' before; give each study's samples their own names."
                )
    if "n_measured" in roles:
        for sample, rows in effects.groupby("sample", sort=False):
            counts = rows["n_measured"].dropna().unique()
            if len(counts) > 1:
                problems.append(
                    f"{text.source}: sample '{sample!s}' has several values of "
                    f"'{roles['n_measured']}'; it is one number per sample."
                )
            elif len(counts) == 1 and counts[0] < len(rows):
                problems.append(
                    f"{text.source}: sample '{sample!s}' reports {len(rows)} effects but "
                    f"'{roles['n_measured']}' is {counts[0]:g}; it cannot be smaller."
                )
    return problems


def _numbered_within_samples(effects: pd.DataFrame) -> bool:
    """Whether effects are counted 1, 2, ... anew in each sample, as many tables do."""
    return all(
        list(names) == [str(i + 1) for i in range(len(names))]
        for _, names in effects.groupby("sample", sort=False)["effect"]
    )


def oddities(effects: pd.DataFrame, source: str) -> list[str]:
    """Name what is allowed but worth a look."""
    notes = []
    vi, line = effects["vi"].to_numpy(float), effects["line"].to_numpy()
    low, high = int(vi.argmin()), int(vi.argmax())
    if vi[high] / vi[low] > VARIANCE_RATIO:
        notes.append(
            f"{source}: the largest sampling variance (line {line[high]}) is "
            f"{vi[high] / vi[low]:.2g} times the smallest (line {line[low]}, {vi[low]:.2g}); check "
            "for standard errors or typing errors among them."
        )
    known: dict[str, str] = {}
    for sample in map(str, effects["sample"].unique()):
        other = known.setdefault(folded(sample), sample)
        if other != sample:
            notes.append(
                f"{source}: samples '{other}' and '{sample}' differ only in case, spaces or the "
                "form of a letter; they are taken as two."
            )
    if len(effects) > MANY:
        notes.append(
            f"{source}: {len(effects):,} effect sizes; NUTS takes long with so many, "
            "--engine reml --engine exact do not."
        )
    m = effects["sample"].nunique()
    if m < FEW_SAMPLES:
        count = "one sample" if m == 1 else f"{m} samples"
        notes.append(f"{source}: {count} only; how much samples differ rests on the prior of tau.")
    return notes

"""Designs of the four reference data sets, and what other programs answer for them."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from reanalysis.design import Design

REFERENCE = Path(__file__).parent.parent / "reference"

DesignMaker = Callable[..., Design]


def read_json(name: str) -> dict:
    return json.loads((REFERENCE / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def metafor() -> Callable[[str], dict]:
    """Answers of metafor 5.1.12 and clubSandwich 0.5.8 by data set."""
    return lambda name: read_json(f"metafor5_{name}")


@pytest.fixture(scope="session")
def tight() -> dict:
    """Answers of metafor 3.8.1 with tightened tolerances (make_metafor38.R)."""
    return read_json("metafor38_tight")


@pytest.fixture(scope="session")
def make_design() -> DesignMaker:
    """Return designs of a reference table.

    `study` is the sample with three levels, the row with two; `moderators` are of ``cont``,
    ``cat`` (indicators against the first level), ``sei``, ``vi``, or columns by name.
    """

    def make(
        name: str,
        levels: int = 3,
        moderators: tuple[str, ...] = (),
        columns: Mapping[str, np.ndarray] | None = None,
    ) -> Design:
        with (REFERENCE / "data" / f"{name}.csv").open() as file:
            rows = list(csv.DictReader(file))
        samples = [row["study"] for row in rows]
        if levels == 2:
            samples = [str(i) for i in range(len(rows))]
        order = list(dict.fromkeys(samples))
        extra: dict[str, np.ndarray] = {}
        factors: dict[str, tuple[int, ...]] = {}
        for moderator in moderators:
            first = len(extra) + 1
            if moderator == "cat":
                values = np.array([row["cat"] for row in rows])
                for level in sorted(set(values.tolist()))[1:]:
                    extra[f"cat={level}"] = (values == level).astype(float)
            else:
                extra[moderator] = np.array([float(row[moderator]) for row in rows])
            factors[moderator] = tuple(range(first, len(extra) + 1))
        extra |= columns or {}
        return Design(
            yi=np.array([float(row["yi"]) for row in rows]),
            vi=np.array([float(row["vi"]) for row in rows]),
            X=np.column_stack([np.ones(len(rows)), *extra.values()]),
            coefficients=("beta[intercept]", *(f"beta[{c}]" for c in extra)) if extra else ("mu",),
            cluster=np.array([order.index(name) for name in samples], dtype=np.intp),
            cluster_names=tuple(order),
            row_names=tuple(f"{row['study']}.{row['es']}" for row in rows),
            levels=levels,
            factors=factors,
        )

    return make

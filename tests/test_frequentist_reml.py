"""`fit_reml` against metafor 5.1.12 (tests/reference/metafor5_*.json)."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from reanalysis.design import Design
from reanalysis.frequentist import fit_reml
from reanalysis.spec import ModelSpec

REFERENCE = Path(__file__).parent / "reference"
RTOL = 1e-4  # metafor's optimiser stops there; see METHODS section 6


def load_design(name: str, levels: int, columns: dict[str, np.ndarray] | None = None) -> Design:
    """Read a reference table: `study` is the sample with three levels, the row with two."""
    with (REFERENCE / "data" / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = [row["study"] for row in rows] if levels == 3 else [str(i) for i in range(len(rows))]
    order = list(dict.fromkeys(names))
    extra = columns or {}
    return Design(
        yi=np.array([float(row["yi"]) for row in rows]),
        vi=np.array([float(row["vi"]) for row in rows]),
        X=np.column_stack([np.ones(len(rows)), *extra.values()]),
        coefficients=("beta[intercept]", *(f"beta[{c}]" for c in extra)) if extra else ("mu",),
        cluster=np.array([order.index(name) for name in names], dtype=np.intp),
        cluster_names=tuple(order),
        row_names=tuple(f"{row['study']}.{row['es']}" for row in rows),
        levels=levels,
    )


def load_reference(name: str) -> dict:
    return json.loads((REFERENCE / f"metafor5_{name}.json").read_text())


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_three_level_fit_reproduces_konstantopoulos_2011(method: str) -> None:
    expected = load_reference("konstantopoulos2011")["three_level"]
    row = expected["REML_z"] if method == "REML" else expected["ML"]
    sigma2 = expected["sigma2"] if method == "REML" else row["sigma2"]
    loglik = expected["logLik_REML"] if method == "REML" else row["logLik"]
    fit = fit_reml(load_design("konstantopoulos2011", 3), ModelSpec(name="m"), method=method)
    assert fit.converged
    assert fit.boundary == ()
    assert [fit.tau2_between, fit.tau2_within] == pytest.approx(sigma2, rel=RTOL)
    mu = fit.estimates["mu"]
    assert [mu.value, mu.sd, mu.lower, mu.upper, mu.p] == pytest.approx(
        [row["beta"], row["se"], row["ci_lb"], row["ci_ub"], row["pval"]], rel=RTOL
    )
    assert fit.loglik == pytest.approx(loglik, abs=1e-6)
    assert fit.q == pytest.approx(row["QE"], rel=1e-9)


@pytest.mark.parametrize("name", ["kaiser2021", "konstantopoulos2011", "bcg", "molloy2014"])
def test_two_level_reml_agrees_with_metafor(name: str) -> None:
    expected = load_reference(name)["two_level"]
    fit = fit_reml(load_design(name, 2), ModelSpec(name="m"))
    row = expected["REML_z"]
    mu = fit.estimates["mu"]
    assert [mu.value, mu.sd] == pytest.approx([row["beta"], row["se"]], rel=RTOL)
    assert mu.p == pytest.approx(row["pval"], rel=7e-4)  # 22 times the tolerance of z
    # metafor stops at a step of 1e-5 in tau2, which is 1.2e-4 of the value for molloy2014.
    assert fit.tau2_between == pytest.approx(expected["tau2"], rel=2e-4, abs=1e-9)
    assert fit.loglik == pytest.approx(expected["logLik_REML"], abs=1e-6)
    assert fit.i2_total == pytest.approx(expected["I2"], rel=RTOL)
    assert (fit.boundary == ("tau_between",)) == (expected["tau2"] == 0)


def test_the_maximum_of_kaiser_2021_is_not_below_metafors() -> None:
    expected = load_reference("kaiser2021")["three_level"]
    fit = fit_reml(load_design("kaiser2021", 3), ModelSpec(name="m"))
    assert fit.boundary == ("tau_within",)
    # metafor ends at 9.236019 with sigma2 near (0, 0); its own fit without the inner component
    # reaches the higher value.
    assert fit.loglik == pytest.approx(expected["LRT"]["drop_es"]["logLik"], abs=1e-8)
    assert fit.loglik > expected["logLik_REML"]

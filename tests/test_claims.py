"""The ledger: each rule gives its three verdicts, by the number it names."""

import numpy as np
import pytest
from scipy import stats

from reanalysis.claims import RULES, ledger, ledger_table
from reanalysis.design import Design
from reanalysis.results import Estimate, FrequentistFit, Posterior
from reanalysis.spec import Claim


class Fitted:
    def __init__(self, exact: Posterior, reml: FrequentistFit | None = None) -> None:
        self.design = Design(
            yi=np.zeros(20),
            vi=np.full(20, 0.02),
            X=np.ones((20, 1)),
            coefficients=("mu",),
            cluster=np.arange(20),
            cluster_names=tuple(map(str, range(20))),
            row_names=tuple(map(str, range(20))),
            measure="ZCOR",
            levels=2,
        )
        self.exact, self.reml, self.nuts = exact, reml, None


def posterior(mean: float = 0.2, sd: float = 0.03, log_bf: float = 5.0) -> Posterior:
    x = np.linspace(mean - 6 * sd, mean + 6 * sd, 401)
    tau = np.linspace(0, 1, 401)
    return Posterior(
        "exact",
        {"mu": Estimate("mu", mean, sd, mean - 1.96 * sd, mean + 1.96 * sd)},
        bayes_factors={"mu": log_bf, "late": log_bf},
        densities={
            "mu": (x, stats.norm(mean, sd).pdf(x)),
            "tau": (tau, stats.halfnorm(scale=0.1).pdf(tau)),
        },
    )


def verdict(claim: Claim, fit: Posterior) -> str:
    return ledger([claim], {"m": Fitted(fit)})[0].verdict


@pytest.mark.parametrize(
    ("log_bf", "expected"),
    [(np.log(3.01), "supported"), (0.5, "uncertain"), (-np.log(3.01), "contradicted")],
)
def test_an_effect_needs_a_bayes_factor_of_three(log_bf: float, expected: str) -> None:
    claim = Claim(id="a", text="", model="m", published={"estimate": 0.2})
    assert verdict(claim, posterior(log_bf=log_bf)) == expected


def test_an_effect_on_the_other_side_of_zero_is_not_supported() -> None:
    claim = Claim(id="a", text="", model="m", published={"estimate": -0.2})
    assert verdict(claim, posterior(log_bf=20.0)) == "uncertain"


@pytest.mark.parametrize(
    ("log_bf", "expected"),
    [(-2.0, "supported"), (0.0, "uncertain"), (2.0, "contradicted")],
)
def test_no_difference_needs_evidence_for_it_not_a_large_p(log_bf: float, expected: str) -> None:
    claim = Claim(id="a", text="", model="m", parameter="late", asserts="no_difference")
    assert verdict(claim, posterior(log_bf=log_bf)) == expected


@pytest.mark.parametrize("asserts", ["smaller", "larger"])
def test_a_benchmark_counts_with_its_own_uncertainty(asserts: str) -> None:
    """Normal posterior against a normal benchmark: Phi of the standardised difference."""
    against = {"estimate": 0.26, "lower": 0.26 - 1.959964 * 0.04, "upper": 0.26 + 1.959964 * 0.04}
    claim = Claim(id="a", text="", model="m", asserts=asserts, against=against)
    entry = ledger([claim], {"m": Fitted(posterior(0.2, 0.03))})[0]
    smaller = stats.norm.cdf(0.06 / np.hypot(0.03, 0.04))
    expected = smaller if asserts == "smaller" else 1 - smaller
    assert entry.probability == pytest.approx(expected, abs=1e-4)
    assert entry.verdict == "uncertain"


def test_a_benchmark_on_the_r_scale_is_compared_on_z() -> None:
    claim = Claim(
        id="a", text="", model="m", asserts="smaller", against={"estimate": 0.5, "scale": "r"}
    )
    entry = ledger([claim], {"m": Fitted(posterior(np.arctanh(0.5), 0.03))})[0]
    assert entry.probability == pytest.approx(0.5, abs=1e-3)


def test_low_heterogeneity_is_the_probability_that_i2_is_below_half() -> None:
    """Equal variances: the typical variance is v, so I2 < 50 % is tau < sqrt(v)."""
    claim = Claim(id="a", text="", model="m", parameter="tau", asserts="low_heterogeneity")
    entry = ledger([claim], {"m": Fitted(posterior())})[0]
    expected = stats.halfnorm(scale=0.1).cdf(np.sqrt(0.02))
    assert entry.probability == pytest.approx(expected, abs=2e-3)


def test_no_publication_bias_is_never_supported() -> None:
    claim = Claim(id="a", text="", asserts="no_bias")
    entry = ledger([claim], {})[0]
    assert entry.verdict == "uncertain"
    assert "do not say" in entry.reason


@pytest.mark.parametrize(("log_bf", "expected"), [(0.3, "uncertain"), (1.2, "contradicted")])
def test_bias_found_by_model_averaging_contradicts_no_bias(log_bf: float, expected: str) -> None:
    claim = Claim(id="a", text="", asserts="no_bias")
    entry = ledger([claim], {}, bias_bayes_factor=log_bf)[0]
    assert entry.verdict == expected
    assert "for publication bias" in entry.reason


def test_a_claim_without_a_model_cannot_be_checked_and_says_why() -> None:
    claim = Claim(id="a", text="", asserts="difference", note="The paper prints no such values.")
    entry = ledger([claim], {})[0]
    assert entry.verdict == "cannot be checked from the published data"
    assert entry.reason == "The paper prints no such values."


def test_every_kind_of_claim_has_a_rule_and_the_table_shows_each_claim() -> None:
    claims = [Claim(id=kind.replace("_", "-"), text=kind, asserts=kind) for kind in RULES]
    table = ledger_table(ledger(claims, {}))
    assert list(table.index) == [kind.replace("_", "-") for kind in RULES]
    assert set(table["verdict"]) <= {"uncertain", "cannot be checked from the published data"}

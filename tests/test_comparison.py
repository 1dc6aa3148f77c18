"""The engines side by side: differences, agreement and the sentences that explain them."""

import numpy as np
import pandas as pd
import pytest

from reanalysis.comparison import agreement, compare, explain
from reanalysis.results import Diagnostics, Estimate, FrequentistFit, Posterior


def posterior(engine: str, value: float, error: float, passed: bool = True) -> Posterior:
    diagnostics = (
        Diagnostics(1.0 if passed else 1.5, 900.0, 900.0, 0, 1.0, passed)
        if engine == "nuts"
        else None
    )
    mu = Estimate("mu", value, 0.05, value - 0.1, value + 0.1, numerical_error=error)
    tau = Estimate("tau_between", 0.06, 0.04, 0.002, 0.15, numerical_error=error)
    return Posterior(engine, {"mu": mu, "tau_between": tau}, diagnostics=diagnostics)


def reml(value: float, boundary: tuple[str, ...] = ()) -> FrequentistFit:
    return FrequentistFit(
        "REML",
        {"mu": Estimate("mu", value, 0.04, value - 0.08, value + 0.08, interval="Wald z")},
        ("mu",),
        np.array([value]),
        np.array([[0.0016]]),
        0.0,
        0.0,
        1.0,
        20.0,
        24,
        0.7,
        0.0,
        0.0,
        0.0,
        0.0,
        True,
        boundary=boundary,
    )


def test_a_difference_within_four_monte_carlo_errors_agrees_and_beyond_does_not() -> None:
    exact = posterior("exact", 0.2, 0.0)
    near, far = posterior("nuts", 0.2039, 0.001), posterior("nuts", 0.2041, 0.001)
    assert agreement(exact, near).loc["mu", "agrees"]
    assert not agreement(exact, far).loc["mu", "agrees"]
    assert agreement(exact, far).loc["mu", "ratio"] == pytest.approx(4.1)


def test_a_fit_that_failed_its_gate_is_not_shown_as_a_result() -> None:
    exact, failed = posterior("exact", 0.2, 0.0), posterior("nuts", 0.9, 0.001, passed=False)
    assert agreement(exact, failed).empty
    assert "nuts" not in compare(exact=exact, nuts=failed)


def test_differences_from_the_published_value_are_in_published_standard_errors() -> None:
    published = {"mu": Estimate("mu", 0.21, None, 0.21 - 1.959964 * 0.03, 0.21 + 1.959964 * 0.03)}
    table = compare(reml(0.18), posterior("exact", 0.24, 0.0), published=published)
    assert table.loc["mu", "reml_minus_published_in_se"] == pytest.approx(-1.0)
    assert table.loc["mu", "exact_minus_published_in_se"] == pytest.approx(1.0)
    assert table.loc["mu", "exact_minus_reml"] == pytest.approx(0.06)
    assert isinstance(table, pd.DataFrame)


def test_the_boundary_and_the_wider_posterior_are_explained_in_words() -> None:
    sentences = explain(reml(0.2, ("tau_between",)), posterior("exact", 0.2, 0.0), None)
    assert any("tau_between at exactly 0" in s and "0.002 to 0.150" in s for s in sentences)
    assert any("25 % wider" in s for s in sentences)


def test_nothing_is_explained_where_the_engines_say_the_same() -> None:
    same = Posterior("exact", {"mu": Estimate("mu", 0.2, 0.04, 0.12, 0.28)})
    assert explain(reml(0.2), same, None) == ()

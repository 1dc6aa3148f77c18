"""Conversions against published examples, metafor, base R, closed forms and simulation."""

import doctest
import importlib
import json
import pickle
import pkgutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate

import reanalysis.effect_sizes as es

# metafor 3.8.1 and R 4.2.2, written by reference/metafor_escalc.R with 15 significant digits.
REFERENCE = json.loads((Path(__file__).parent / "reference" / "metafor_escalc.json").read_text())
RTOL = 1e-10  # same formula, other arithmetic, 15 printed digits
PRINTED_4 = 0.5e-4 + 1e-12  # half of the last of four printed decimals


def arrays(block: dict[str, list[float]]) -> dict[str, np.ndarray]:
    return {name: np.array(values, dtype=float) for name, values in block.items()}


def assert_pair(actual: tuple[np.ndarray, np.ndarray], expected: dict[str, list[float]]) -> None:
    np.testing.assert_allclose(actual[0], expected["yi"], rtol=RTOL, atol=1e-14)
    np.testing.assert_allclose(actual[1], expected["vi"], rtol=RTOL)


MODULES = [f"{es.__name__}.{module.name}" for module in pkgutil.iter_modules(es.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_the_documented_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_every_public_function_has_a_documented_example() -> None:
    functions = [getattr(es, name) for name in es.__all__ if callable(getattr(es, name))]
    bare = [f.__name__ for f in functions if f is not es.Measure and ">>>" not in f.__doc__]
    assert bare == []


# --- correlations ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "measure"), [(es.fisher_z, "ZCOR"), (es.raw_r, "COR")])
def test_correlations_agree_with_metafor_escalc(function, measure: str) -> None:
    block = REFERENCE["correlations"]
    assert_pair(function(**arrays(block["inputs"])), block[measure])


def test_fisher_z_reproduces_borenstein_2009_chapter_6() -> None:
    # r = .50, n = 100 gives z = 0.5493 and V = 0.0103; V_r = 0.0057
    yi, vi = es.fisher_z(0.5, 100)
    assert yi == pytest.approx(0.5493, abs=PRINTED_4)
    assert vi == pytest.approx(0.0103, abs=PRINTED_4)
    assert es.raw_r(0.5, 100)[1] == pytest.approx(0.0057, abs=PRINTED_4)


def test_mean_r_agrees_with_r_integrate() -> None:
    block = REFERENCE["mean_r"]
    np.testing.assert_allclose(
        es.mean_r(**arrays(block["inputs"])), block["value"], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("mu", [-3.0, -0.2, 1e-9, 0.7, 25.0])
@pytest.mark.parametrize("tau", [1e-8, 0.01, 0.25, 0.999, 1.0, 1.001, 3.0, 40.0])
def test_mean_r_is_accurate_to_twelve_decimals_at_any_spread(mu: float, tau: float) -> None:
    # adaptive quadrature, split where tanh turns and where the density peaks
    def integrand(x: float) -> float:
        return np.tanh(mu + tau * x) * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)

    turn = -mu / tau
    cuts = sorted({c for c in (turn - 10 / tau, turn, turn + 10 / tau, 0.0) if -12 < c < 12})
    edges = [-12.0, *cuts, 12.0]
    expected = sum(
        integrate.quad(integrand, a, b, epsabs=1e-15, epsrel=1e-13, limit=500)[0]
        for a, b in pairwise(edges)
    )
    assert es.mean_r(mu, tau) == pytest.approx(expected, abs=1e-12)


def test_mean_r_of_draws_is_the_mean_of_simulated_samples() -> None:
    rng = np.random.default_rng(3)
    z = rng.normal(0.3, 0.25, size=400_000)
    mcse = np.tanh(z).std() / np.sqrt(z.size)
    assert abs(es.mean_r(0.3, 0.25) - np.tanh(z).mean()) < 4 * mcse


def test_mean_r_keeps_the_shape_of_a_posterior() -> None:
    assert es.mean_r(np.zeros((4, 250)), 0.2).shape == (4, 250)
    assert es.mean_r(np.zeros((3, 1)), np.array([0.5, 2.0])).shape == (3, 2)
    assert es.mean_r(np.empty(0), np.empty(0)).shape == (0,)


# --- what Kaiser, Hanschmidt & Kersting (2021) print ----------------------------------------------


def test_kaiser_2021_alfonsson_odds_ratio_becomes_the_printed_r() -> None:
    # Table 1: OR = 1.21 (95 % CI 1.09-1.34), converted r = .05
    assert es.odds_ratio_to_r(1.21).round(2) == 0.05
    assert es.odds_ratio_to_r(1.21) == pytest.approx(0.0525, abs=PRINTED_4)


def test_kaiser_2021_alfonsson_odds_ratio_and_converted_r_have_contradicting_p_values() -> None:
    z = es.odds_ratio_interval_to_z(1.21, 1.09, 1.34)
    p_of_odds_ratio = es.r_to_p(es.t_to_r(z, 1e9), 1e9)
    assert p_of_odds_ratio == pytest.approx(0.0003, abs=0.00005)
    assert es.r_to_p(es.odds_ratio_to_r(1.21), 96 - 2) == pytest.approx(0.61, abs=0.005)


def test_kaiser_2021_hedman_and_beckner_betas_become_the_printed_r() -> None:
    # Table 1: Hedman r = .26 from beta = .21; text: smallest effect -.15, Beckner beta = -.15
    np.testing.assert_array_equal(es.beta_to_r([0.21, -0.15]).round(2), [0.26, -0.15])
    np.testing.assert_allclose(es.beta_to_r([0.21, 0.39, -0.15]), [0.2558, 0.4322, -0.147])


def test_kaiser_2021_beckner_composites_become_the_printed_r() -> None:
    # Table 2, samples 8 and 9: .23 and -.08, from a "n.s." set to zero and a converted beta
    single = es.beta_to_r([0.39, -0.15])
    composites = es.composite_r(np.column_stack([np.zeros(2), single]), intercorrelation=0.7)
    np.testing.assert_array_equal(composites.round(2), [0.23, -0.08])


# --- regression coefficients ----------------------------------------------------------------------


def test_beta_beyond_one_half_needs_a_decision() -> None:
    with pytest.raises(ValueError, match=r"b\[1\] is 0\.6; .*between -0\.5 and 0\.5.*extrapolate"):
        es.beta_to_r([0.1, 0.6])
    assert es.beta_to_r(0.6, extrapolate=True) == pytest.approx(0.638)


def test_a_beta_that_gives_no_correlation_is_refused_even_when_extrapolating() -> None:
    with pytest.raises(ValueError, match=r"b is 0\.98; .*small enough"):
        es.beta_to_r(0.98, extrapolate=True)


# --- odds ratios ----------------------------------------------------------------------------------


def test_odds_ratio_to_d_to_r_reproduces_borenstein_2009_chapter_7() -> None:
    # log odds ratio 0.9069 gives d = 0.5000, r = .50 and d = 1.1547 belong together
    assert es.odds_ratio_to_d(np.exp(0.9069)) == pytest.approx(0.5, abs=PRINTED_4)
    assert es.r_to_d(0.5) == pytest.approx(1.1547, abs=PRINTED_4)
    assert es.d_to_r(1.1547, 100, 100) == pytest.approx(0.5, abs=PRINTED_4)


def test_odds_ratio_interval_gives_the_z_statistic_that_r_gives() -> None:
    block = REFERENCE["wald"]
    inputs = block["inputs"]
    z = es.odds_ratio_interval_to_z(inputs["est"], inputs["lower"], inputs["upper"])
    np.testing.assert_allclose(z, block["z"], rtol=RTOL)


def test_odds_ratio_interval_returns_the_variance_of_the_table_it_came_from() -> None:
    yi, vi = es.log_odds_ratio(30, 70, 12, 88)
    half = 1.6448536269514722 * np.sqrt(vi)  # qnorm(.95)
    back = es.odds_ratio_interval_to_log(np.exp(yi), np.exp(yi - half), np.exp(yi + half), 0.90)
    np.testing.assert_allclose(back, (yi, vi), rtol=1e-12)


def test_an_odds_ratio_outside_its_interval_is_refused() -> None:
    with pytest.raises(ValueError, match=r"or_\[1\] is 2\.1; it must be inside its interval"):
        es.odds_ratio_interval_to_log([1.2, 2.1], 1.1, 1.4)
    with pytest.raises(ValueError, match=r"lower\[0\] is 1\.4; it must be below the upper limit"):
        es.odds_ratio_interval_to_log([1.2], [1.4], [1.1])
    with pytest.raises(ValueError, match=r"level is 95; it must be in \(0, 1\)"):
        es.odds_ratio_interval_to_log(1.2, 1.1, 1.4, level=95)


# --- test statistics ------------------------------------------------------------------------------


def test_t_and_f_and_p_give_back_the_correlation_of_r_cor_test() -> None:
    block = REFERENCE["base"]["cor"]
    r, df = block["r"], block["df"]
    assert es.t_to_r(block["t"], df) == pytest.approx(r, rel=RTOL)
    assert es.f_to_r(block["f"], df, 1) == pytest.approx(r, rel=RTOL)
    assert es.p_to_r(block["p"], df, 1) == pytest.approx(r, rel=RTOL)
    assert es.r_to_t(r, df) == pytest.approx(block["t"], rel=RTOL)
    assert es.r_to_p(r, df) == pytest.approx(block["p"], rel=RTOL)


def test_chi_squared_gives_the_pearson_correlation_of_the_two_by_two_table() -> None:
    block = REFERENCE["base"]["chi2"]
    assert es.chi2_to_r(block["statistic"], block["n"], 1) == pytest.approx(block["phi"], rel=RTOL)


def test_p_to_r_inverts_the_t_distribution_of_r_down_to_1e_12() -> None:
    inputs = arrays(REFERENCE["tests"]["inputs"])
    r = es.p_to_r(inputs["p"], inputs["df"], sign=-1)
    np.testing.assert_allclose(es.r_to_t(r, inputs["df"]), -np.array(REFERENCE["tests"]["t"]), RTOL)


def test_t_to_r_of_two_groups_is_metafors_point_biserial_correlation() -> None:
    x = arrays(REFERENCE["two_groups"]["inputs"])
    df = x["n1i"] + x["n2i"] - 2
    pooled = np.sqrt(((x["n1i"] - 1) * x["sd1i"] ** 2 + (x["n2i"] - 1) * x["sd2i"] ** 2) / df)
    t = (x["m1i"] - x["m2i"]) / (pooled * np.sqrt(1 / x["n1i"] + 1 / x["n2i"]))
    expected = REFERENCE["two_groups"]["RPB"]["yi"]
    np.testing.assert_allclose(es.t_to_r(t, df), expected, rtol=RTOL, atol=1e-14)


@pytest.mark.parametrize("sign", [0, 2, -0.5])
def test_a_statistic_without_a_sign_takes_only_plus_or_minus_one(sign: float) -> None:
    with pytest.raises(ValueError, match=r"sign.* must be 1 or -1"):
        es.f_to_r(4.0, 96, sign)


@pytest.mark.parametrize("p", [0.0, -0.1, 1.2])
def test_a_p_value_outside_zero_to_one_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match=r"p is .*must be in \(0, 1\]"):
        es.p_to_r(p, 20, 1)


def test_statistics_that_no_correlation_can_give_are_refused() -> None:
    with pytest.raises(ValueError, match=r"chi2\[1\] is 40; .*below ni"):
        es.chi2_to_r([4, 40], 30, 1)
    with pytest.raises(ValueError, match=r"z\[0\] is -11; .*below sqrt\(ni\)"):
        es.z_statistic_to_r([-11, 2], 100)
    with pytest.raises(ValueError, match=r"fi is -4; "):
        es.f_to_r(-4, 30, -1)


# --- standardised mean differences ----------------------------------------------------------------


def test_hedges_g_agrees_with_metafor_escalc() -> None:
    block = REFERENCE["two_groups"]
    assert_pair(es.hedges_g(**arrays(block["inputs"])), block["SMD"])


def test_hedges_g_from_t_agrees_with_metafor_escalc() -> None:
    block = REFERENCE["two_groups"]["t"]
    n1i, n2i = np.array(block["n1i"]), np.array(block["n2i"])
    assert_pair(es.d_to_g(es.t_to_d(block["ti"], n1i, n2i), n1i, n2i), block["SMD"])


def test_hedges_g_reproduces_borenstein_2009_chapter_4() -> None:
    # means 103 and 100, SDs 5.5 and 4.5, n = 50 each: g = 0.5924
    assert es.hedges_g(103, 100, 5.5, 4.5, 50, 50)[0] == pytest.approx(0.5924, abs=2 * PRINTED_4)


def test_hedges_j_is_the_ratio_of_gammas_and_keeps_its_digits_at_large_df() -> None:
    block = REFERENCE["tests"]["hedges_j"]
    np.testing.assert_allclose(es.hedges_j(block["df"]), block["value"], rtol=1e-13)
    large = np.array([1e5, 1e7, 1e9])  # Stirling: 1 - 3 / (4 m) - 7 / (32 m^2) + O(m^-3)
    np.testing.assert_allclose(es.hedges_j(large), 1 - 3 / (4 * large) - 7 / (32 * large**2), 1e-14)


def test_d_to_r_of_unequal_groups_is_smaller_and_depends_on_the_ratio_only() -> None:
    # d = 1.1547 with shares .75 and .25: r = d / sqrt(d^2 + 16 / 3) = .4472, by hand
    assert es.d_to_r(np.sqrt(4 / 3), 150, 50) == pytest.approx(np.sqrt(0.2), rel=1e-14)
    assert es.d_to_r(0.5, 30, 10) == pytest.approx(es.d_to_r(0.5, 3, 1), rel=1e-15)


def test_groups_without_spread_or_people_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pooled standard deviation\[1\] is 0"):
        es.hedges_g([1, 1], 0, [1, 0], [1, 0], 10, 10)
    with pytest.raises(ValueError, match=r"n1i \+ n2i - 2 is 1"):
        es.d_to_g(0.2, 1, 2)
    with pytest.raises(ValueError, match=r"n2i is 0; "):
        es.d_to_r(0.2, 10, 0)


# --- biserial -------------------------------------------------------------------------------------


def test_biserial_correlations_agree_with_metafor_escalc() -> None:
    block = REFERENCE["two_groups"]
    x = arrays(block["inputs"])
    biserial = es.point_biserial_to_biserial(block["RPB"]["yi"], x["n1i"], x["n2i"])
    assert_pair((biserial, es.biserial_variance(biserial, x["n1i"], x["n2i"])), block["RBIS"])


def test_biserial_at_the_median_split_is_the_square_root_of_half_pi_larger() -> None:
    assert es.point_biserial_to_biserial(0.4) == pytest.approx(0.4 * np.sqrt(np.pi / 2))


def test_biserial_variance_is_that_of_simulated_unequal_splits() -> None:
    rng = np.random.default_rng(11)
    n, rho, replications = 300, 0.5, 6000
    x = rng.normal(size=(replications, n))
    y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=(replications, n))
    high = y > 0.8416212335729143  # qnorm(.8)
    n1 = high.sum(axis=1)
    group = high - high.mean(axis=1, keepdims=True)
    spread = np.sqrt((group**2).sum(axis=1)) * x.std(axis=1) * np.sqrt(n)
    r = es.point_biserial_to_biserial((group * x).sum(axis=1) / spread, n1, n - n1)
    # relative error of a simulated variance: sqrt(2 / 6000) = 1.8 %; the rest is O(1 / n)
    assert r.var() == pytest.approx(float(es.biserial_variance(rho, 0.2 * n, 0.8 * n)), rel=0.07)


def test_a_biserial_correlation_beyond_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the biserial correlation\[1\] is 1\.12"):
        es.point_biserial_to_biserial([0.1, 0.9])


# --- two-by-two tables ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "measure"), [(es.log_odds_ratio, "OR"), (es.log_risk_ratio, "RR")]
)
def test_ratios_agree_with_metafor_escalc_with_zero_cells(function, measure: str) -> None:
    tables = arrays(REFERENCE["tables"]["inputs"])
    assert_pair(function(**tables, double_zeros="correct"), REFERENCE["tables"][measure])


def test_risk_differences_agree_with_metafor_escalc_with_zero_cells() -> None:
    block = REFERENCE["tables"]
    assert_pair(es.risk_difference(**arrays(block["inputs"])), block["RD"])


def test_two_by_two_tables_reproduce_borenstein_2009_chapter_5() -> None:
    # 5 of 100 and 10 of 100
    table = (5, 95, 10, 90)
    np.testing.assert_allclose(es.log_risk_ratio(*table), (-0.6931, 0.2800), atol=PRINTED_4)
    np.testing.assert_allclose(es.log_odds_ratio(*table), (-0.7472, 0.3216), atol=PRINTED_4)
    np.testing.assert_allclose(es.risk_difference(*table), (-0.0500, 0.001375), atol=1e-12)


@pytest.mark.parametrize("function", [es.log_odds_ratio, es.log_risk_ratio])
def test_a_double_zero_is_reported_with_its_position(function) -> None:
    tables = arrays(REFERENCE["tables"]["inputs"])  # its fourth table has no event at all
    with pytest.raises(ValueError, match=r"ai \+ ci\[3\] is 0; .*double_zeros='correct'"):
        function(**tables)
    assert list(np.flatnonzero(es.is_double_zero(**tables))) == [3]


def test_events_in_everyone_are_a_double_zero_too() -> None:
    assert es.is_double_zero(7, 0, 5, 0)
    with pytest.raises(ValueError, match=r"ai \+ ci is 12; .*fewer than all"):
        es.log_odds_ratio(7, 0, 5, 0)


def test_impossible_tables_are_refused() -> None:
    with pytest.raises(ValueError, match=r"di\[1\] is -1; "):
        es.log_odds_ratio(5, 5, 5, [5, -1])
    with pytest.raises(ValueError, match=r"ci \+ di is 0; .*second group"):
        es.risk_difference(5, 5, 0, 0)
    with pytest.raises(ValueError, match="double_zeros is 'drop'"):
        es.log_odds_ratio(5, 5, 5, 5, double_zeros="drop")  # type: ignore[arg-type]


# --- composites -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "factor"), [(1, 1.0), (2, 1.085), (3, 1.118)])
def test_a_composite_exceeds_the_mean_by_the_known_factor(m: int, factor: float) -> None:
    # 1.085 for two and 1.118 for three outcomes at .7, worked out by hand to three decimals
    composite = es.composite_r(np.full(m, 0.2), 0.7)
    assert composite / 0.2 == pytest.approx(factor, abs=0.0005)
    assert es.composite_to_mean_r(composite, m, 0.7) == pytest.approx(0.2, rel=1e-14)


def test_a_composite_is_the_correlation_with_the_sum_of_simulated_outcomes() -> None:
    rng = np.random.default_rng(8)
    ri, rho, n = np.array([0.1, 0.3, 0.5]), 0.6, 400_000
    matrix = np.full((4, 4), rho)
    matrix[0, 1:] = matrix[1:, 0] = ri
    np.fill_diagonal(matrix, 1.0)
    people = rng.multivariate_normal(np.zeros(4), matrix, size=n)
    observed = np.corrcoef(people[:, 0], people[:, 1:].sum(axis=1))[0, 1]
    assert observed == pytest.approx(float(es.composite_r(ri, rho)), abs=4 / np.sqrt(n))


def test_the_mean_behind_a_composite_has_the_variance_of_simulated_composites() -> None:
    rng = np.random.default_rng(5)
    c, n, m, rho = 0.5, 200, 3, 0.7
    z = np.arctanh(c) + rng.normal(size=200_000) / np.sqrt(n - 3)
    simulated = np.arctanh(np.tanh(z) / np.sqrt(m / (1 + (m - 1) * rho)))
    yi, vi = es.composite_to_mean_z(c, n, m, rho)
    assert yi == pytest.approx(simulated.mean(), abs=0.002)
    assert vi == pytest.approx(simulated.var(), rel=0.02)


def test_a_composite_of_one_is_a_single_effect() -> None:
    single = es.fisher_z([0.2, -0.4], [30, 50])
    np.testing.assert_array_equal(es.composite_to_mean_z([0.2, -0.4], [30, 50], 1), single)


def test_an_intercorrelation_too_low_for_the_correlations_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the composite is 1\.16.*intercorrelation is too low"):
        es.composite_r([0.9, 0.9], 0.2)
    with pytest.raises(ValueError, match=r"intercorrelation is -0\.6; .*-1 / \(m - 1\)"):
        es.composite_r([0.1, 0.1, 0.1], -0.6)
    with pytest.raises(ValueError, match="holds no correlation"):
        es.composite_r([])
    with pytest.raises(ValueError, match=r"m\[1\] is 0\.5; "):
        es.composite_to_mean_r(0.2, [2, 0.5])


# --- attenuation ----------------------------------------------------------------------------------


def test_attenuation_correction_recovers_the_correlation_of_simulated_true_scores() -> None:
    rng = np.random.default_rng(21)
    n, rho, rxx, ryy = 400_000, 0.5, 0.8, 0.6
    x = rng.normal(size=n)
    y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=n)
    observed = np.corrcoef(
        x + rng.normal(scale=np.sqrt(1 / rxx - 1), size=n),
        y + rng.normal(scale=np.sqrt(1 / ryy - 1), size=n),
    )[0, 1]
    corrected = es.disattenuate_r(observed, rxx, ryy)
    assert corrected == pytest.approx(rho, abs=4 / np.sqrt(n * rxx * ryy))


def test_attenuation_correction_with_perfect_reliability_changes_nothing() -> None:
    plain = es.fisher_z([0.3, -0.6], 40)
    np.testing.assert_array_equal(es.disattenuate_z([0.3, -0.6], 40, 1, 1), plain)


def test_attenuation_correction_pays_for_its_gain_in_variance() -> None:
    # rxx = ryy = .5 doubles r: .3 -> .6; slope 2 (1 - .09) / (1 - .36) = 2.84375, by hand
    yi, vi = es.disattenuate_z(0.3, 103, 0.5, 0.5)
    assert yi == pytest.approx(np.log(2.0), rel=1e-14)  # atanh(.6) = log(2)
    assert vi == pytest.approx(2.84375**2 / 100, rel=1e-14)


def test_reliabilities_that_do_not_allow_the_correlation_are_refused() -> None:
    with pytest.raises(ValueError, match=r"between true scores\[1\] is -1\.2"):
        es.disattenuate_r([0.1, -0.6], 0.5, 0.5)
    with pytest.raises(ValueError, match=r"between true scores is 1\.2"):
        es.disattenuate_z(0.6, 40, 0.5, 0.5)
    with pytest.raises(ValueError, match=r"reliability_y is 0; .*in \(0, 1\]"):
        es.disattenuate_r(0.1, 0.5, 0)


# --- dependence -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["r", "z"])
def test_dependent_correlations_agree_with_metafor_rcalc(scale: str) -> None:
    block = REFERENCE["dependent"]
    assert block["pairs"] == block["order"]  # row by row above the diagonal, as here
    yi, V = es.dependent_correlations(block["inputs"]["R"], block["inputs"]["n"], scale)
    np.testing.assert_allclose(yi, block[scale]["yi"], rtol=RTOL)
    np.testing.assert_allclose(V, block[scale]["V"], rtol=RTOL, atol=1e-16)


@pytest.mark.parametrize("scale", ["r", "z"])
def test_dependent_correlations_have_the_covariance_of_simulated_ones(scale: str) -> None:
    rng = np.random.default_rng(76)
    R = np.array([[1, 0.3, 0.5], [0.3, 1, 0.7], [0.5, 0.7, 1]])
    n, replications = 200, 6000
    people = rng.normal(size=(replications, n, 3)) @ np.linalg.cholesky(R).T
    people -= people.mean(axis=1, keepdims=True)
    cross = np.einsum("sni,snj->sij", people, people)
    spread = np.sqrt(np.einsum("sii->si", cross))
    r = (cross / (spread[:, :, None] * spread[:, None, :]))[:, [0, 0, 1], [1, 2, 2]]
    simulated = np.cov(r if scale == "r" else np.arctanh(r), rowvar=False)
    _, V = es.dependent_correlations(R, n, scale)
    size = np.sqrt(np.outer(np.diag(V), np.diag(V)))
    assert np.abs((simulated - V) / size).max() < 0.06  # 4 / sqrt(6000) = .052, and O(1 / n)


def test_the_diagonal_for_dependent_correlations_is_that_of_single_ones() -> None:
    block = REFERENCE["dependent"]["inputs"]
    for scale, single in (("z", es.fisher_z), ("r", es.raw_r)):
        yi, V = es.dependent_correlations(block["R"], block["n"], scale)
        r = np.tanh(yi) if scale == "z" else yi
        np.testing.assert_allclose(np.diag(V), single(r, block["n"])[1], rtol=1e-12)


def test_overlapping_correlations_agree_with_metafor_rcalc() -> None:
    R, V = np.array(REFERENCE["dependent"]["inputs"]["R"]), REFERENCE["dependent"]["z"]["V"]
    expected = V[0][1] / V[0][0]  # w.x with w.y: they share w
    actual = es.overlapping_sampling_correlation(R[0, 1], R[0, 2], R[1, 2])
    assert actual == pytest.approx(expected, rel=RTOL)


def test_outcomes_uncorrelated_with_the_shared_variable_err_as_they_correlate() -> None:
    np.testing.assert_allclose(
        es.overlapping_sampling_correlation(0, 0, [0.7, -0.3, 1]), [0.7, -0.3, 1]
    )


def test_correlations_that_cannot_occur_together_are_refused() -> None:
    with pytest.raises(ValueError, match=r"r12\[1\] is -0\.7; .*possible beside r1 and r2"):
        es.overlapping_sampling_correlation(0.8, 0.8, [0.7, -0.7])
    with pytest.raises(ValueError, match="smallest eigenvalue is -0"):
        es.dependent_correlations([[1, 0.8, 0.8], [0.8, 1, -0.7], [0.8, -0.7, 1]], 50)


def test_a_matrix_that_is_no_correlation_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match=r"R has shape \(2, 3\)"):
        es.dependent_correlations(np.ones((2, 3)), 50)
    with pytest.raises(ValueError, match=r"R\[0, 1\] is 0\.3; .*mirror image"):
        es.dependent_correlations([[1, 0.3], [0.2, 1]], 50)
    with pytest.raises(ValueError, match=r"the diagonal of R\[1\] is 0\.9"):
        es.dependent_correlations([[1, 0.3], [0.3, 0.9]], 50)
    with pytest.raises(ValueError, match=r"ni is 3; it must be a sample size greater than 3"):
        es.dependent_correlations([[1, 0.3], [0.3, 1]], 3)
    with pytest.raises(ValueError, match="scale is 'd'; it must be 'z' or 'r'"):
        es.dependent_correlations([[1, 0.3], [0.3, 1]], 30, "d")  # type: ignore[arg-type]


def test_constant_correlation_covariance_agrees_with_metafor_vcalc() -> None:
    block = REFERENCE["aggregates"]
    V = es.constant_correlation_V(block["inputs"]["vi"], block["inputs"]["cluster"], 0.6)
    np.testing.assert_allclose(V, block["constant_V_0.6"], rtol=RTOL, atol=0)


def test_a_negative_sampling_correlation_is_limited_by_the_largest_cluster() -> None:
    assert es.constant_correlation_V([1, 1], ["a", "a"], -0.6)[0, 1] == -0.6
    with pytest.raises(ValueError, match=r"rho is -0\.6; .*m = 3 rows in the largest cluster"):
        es.constant_correlation_V([1, 1, 1, 1], ["a", "b", "a", "a"], -0.6)


# --- aggregation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "rho", "weighted"),
    [("weighted_0.6", 0.6, True), ("unweighted_0.6", 0.6, False), ("independent", 0.0, True)],
)
def test_aggregates_agree_with_metafor_aggregate(answer: str, rho: float, weighted: bool) -> None:
    inputs, expected = REFERENCE["aggregates"]["inputs"], REFERENCE["aggregates"][answer]
    yi, vi, labels = es.aggregate_effects(**inputs, rho=rho, weighted=weighted)
    assert list(labels) == expected["cluster"]
    assert_pair((yi, vi), expected)


@pytest.mark.parametrize(("answer", "weighted"), [("weighted_V", True), ("unweighted_V", False)])
def test_aggregates_with_a_given_covariance_agree_with_metafor(answer: str, weighted: bool) -> None:
    block = REFERENCE["aggregates"]
    inputs, expected = block["inputs"], block[answer]
    yi, vi, labels = es.aggregate_effects_V(
        inputs["yi"], block["V"], inputs["cluster"], weighted=weighted
    )
    assert list(labels) == expected["cluster"]
    assert_pair((yi, vi), expected)


def test_the_plain_mean_of_two_equal_effects_has_variance_v_times_half_of_one_plus_rho() -> None:
    for rho in (-1 + 1e-9, 0.0, 0.5, 1.0):
        yi, vi, _ = es.aggregate_effects([0.3, 0.1], 0.05, ["s", "s"], rho, weighted=False)
        np.testing.assert_allclose((yi[0], vi[0]), (0.2, 0.05 * (1 + rho) / 2), atol=1e-15)


def test_weights_need_a_correlation_below_one() -> None:
    with pytest.raises(ValueError, match=r"rho is 1; .*weighted=False"):
        es.aggregate_effects([0.3, 0.1], 0.05, ["s", "s"], 1.0)


def test_a_covariance_that_is_none_is_refused_with_its_cluster() -> None:
    singular = [[0.04, 0.04], [0.04, 0.04]]
    with pytest.raises(ValueError, match="not positive definite within cluster 's'"):
        es.aggregate_effects_V([0.3, 0.1], singular, ["s", "s"])
    with pytest.raises(ValueError, match="not symmetric within cluster 's'"):
        es.aggregate_effects_V([0.3, 0.1], [[0.04, 0.01], [0.02, 0.04]], ["s", "s"])
    with pytest.raises(ValueError, match=r"V has shape \(2,\)"):
        es.aggregate_effects_V([0.3, 0.1], [0.04, 0.04], ["s", "s"])


def test_clusters_need_one_label_per_row() -> None:
    with pytest.raises(ValueError, match=r"cluster has shape \(3,\); .*\(2,\)"):
        es.aggregate_effects([0.3, 0.1], 0.05, ["s", "s", "t"], 0.5)
    with pytest.raises(ValueError, match=r"cluster\[1\] is nan"):
        es.aggregate_effects([0.3, 0.1], 0.05, ["s", np.nan], 0.5)


# --- measures -------------------------------------------------------------------------------------


def test_measures_carry_metafors_codes_and_readable_scales() -> None:
    assert set(es.MEASURES) >= {"ZCOR", "COR", "SMD", "MD", "OR", "RR", "RD", "PCOR", "GEN"}
    assert all(code == measure.code for code, measure in es.MEASURES.items())
    zcor, odds = es.MEASURES["ZCOR"], es.MEASURES["OR"]
    assert (zcor.back_label, odds.back_label) == ("r", "odds ratio")
    assert zcor.back is not None and odds.back is not None
    assert zcor.back(np.array(np.log(2.0))) == pytest.approx(0.6)
    assert odds.back(np.array(0.0)) == 1.0
    assert es.MEASURES["SMD"].back is None and es.MEASURES["SMD"].back_label == "g"


@pytest.mark.parametrize("code", sorted(es.MEASURES))
def test_back_transformations_increase_and_measures_pickle(code: str) -> None:
    measure = es.MEASURES[code]
    assert pickle.loads(pickle.dumps(measure)) == measure
    if measure.back is not None:
        assert np.all(np.diff(measure.back(np.linspace(-3, 3, 50))) > 0)


# --- errors ---------------------------------------------------------------------------------------


def test_errors_name_the_position_and_value_and_count_the_others() -> None:
    with pytest.raises(ValueError, match=r"^ri\[1\] is 1\.2; .* \(1 more like it\)\.$"):
        es.fisher_z([0.1, 1.2, -1.0], 30)
    with pytest.raises(ValueError, match=r"^ni\[2\] is 3; it must be a sample size greater than 3"):
        es.fisher_z(0.1, [10, 20, 3])
    with pytest.raises(ValueError, match=r"^ri is -1; "):
        es.fisher_z(-1, 30)


def test_a_missing_value_is_an_error_and_not_a_missing_result() -> None:
    with pytest.raises(ValueError, match=r"^ri\[1\] is nan; it must be a finite number"):
        es.fisher_z([0.1, np.nan], 30)
    with pytest.raises(ValueError, match=r"^or_ must be numbers: "):
        es.odds_ratio_to_r(["1.2 (ns)"])


def test_lengths_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"ri \(2,\), ni \(3,\), factor"):
        es.fisher_z([0.1, 0.2], [10, 20, 30])

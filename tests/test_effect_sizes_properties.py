"""Properties of the conversions: round trips, signs, monotonicity, limits, invariances."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import reanalysis.effect_sizes as es

# The same examples in every run, and no deadline: a busy machine is no failure.
repeatable = settings(deadline=None, max_examples=60, derandomize=True)

RTOL = 1e-9  # round trips near |r| = 1 lose digits of 1 - r**2

correlations = st.floats(-0.99, 0.99)
positive_correlations = st.floats(1e-6, 0.99)
degrees = st.floats(1, 1e4)
sizes = st.integers(4, 5000)
groups = st.integers(2, 500)
signs = st.sampled_from([-1, 1])
odds = st.floats(1e-4, 1e4)

Conversion = Callable[[np.ndarray], np.ndarray]


def first(pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return pair[0]


# --- round trips ----------------------------------------------------------------------------------


@repeatable
@given(correlations, sizes)
def test_fisher_z_and_z_to_r_are_inverse(r: float, n: int) -> None:
    assert es.z_to_r(es.fisher_z(r, n)[0]) == pytest.approx(r, rel=RTOL)


@repeatable
@given(correlations, degrees)
def test_r_to_t_and_t_to_r_are_inverse(r: float, df: float) -> None:
    assert es.t_to_r(es.r_to_t(r, df), df) == pytest.approx(r, rel=RTOL)


@repeatable
@given(correlations, degrees, st.data())
def test_f_is_t_squared(r: float, df: float, data: st.DataObject) -> None:
    t = es.r_to_t(r, df)
    assert es.f_to_r(t**2, df, -1 if r < 0 else 1) == pytest.approx(r, rel=RTOL, abs=1e-150)


@repeatable
@given(st.floats(-0.9, 0.9), st.floats(1, 200))
def test_r_to_p_and_p_to_r_are_inverse(r: float, df: float) -> None:
    # near p = 1 the p-value itself holds no more than sqrt(eps) of r
    p = es.r_to_p(r, df)
    assume(p > 1e-290)
    assert es.p_to_r(p, df, -1 if r < 0 else 1) == pytest.approx(r, rel=1e-8, abs=3e-8)


@repeatable
@given(correlations, st.floats(0.01, 100))
def test_r_to_d_and_d_to_r_are_inverse_for_unequal_groups(r: float, ratio: float) -> None:
    assert es.d_to_r(es.r_to_d(r, ratio), ratio) == pytest.approx(r, rel=RTOL)


@repeatable
@given(correlations, st.integers(1, 50), st.floats(0, 1))
def test_the_mean_behind_a_composite_of_equal_correlations_is_that_correlation(
    r: float, m: int, rho: float
) -> None:
    factor = np.sqrt(m / (1 + (m - 1) * rho))
    assume(abs(r) * factor < 0.999)
    composite = es.composite_r(np.full(m, r), rho)
    assert es.composite_to_mean_r(composite, m, rho) == pytest.approx(r, rel=1e-12, abs=1e-300)


@repeatable
@given(st.floats(0.2, 5), st.floats(1.01, 4), st.floats(0.5, 0.999))
def test_an_odds_ratio_comes_back_from_its_interval(or_: float, ratio: float, level: float) -> None:
    yi, vi = es.odds_ratio_interval_to_log(or_, or_ / ratio, or_ * ratio, level)
    z = es.odds_ratio_interval_to_z(or_, or_ / ratio, or_ * ratio, level)
    assert np.exp(yi) == pytest.approx(or_, rel=1e-12)
    assert z * np.sqrt(vi) == pytest.approx(yi, rel=1e-12, abs=1e-15)


@repeatable
@given(correlations, st.floats(0.3, 1), st.floats(0.3, 1))
def test_attenuating_a_corrected_correlation_gives_it_back(
    r: float, rxx: float, ryy: float
) -> None:
    assume(abs(r) < 0.99 * np.sqrt(rxx * ryy))
    true = es.disattenuate_r(r, rxx, ryy)
    assert true * np.sqrt(rxx * ryy) == pytest.approx(r, rel=1e-12)
    assert abs(true) >= abs(r)


# --- signs ----------------------------------------------------------------------------------------

ODD: dict[str, tuple[Conversion, st.SearchStrategy[float]]] = {
    "fisher_z": (lambda x: first(es.fisher_z(x, 20)), correlations),
    "raw_r": (lambda x: first(es.raw_r(x, 20)), correlations),
    "z_to_r": (es.z_to_r, st.floats(-5, 5)),
    "mean_r": (lambda x: es.mean_r(x, 0.3), st.floats(-5, 5)),
    "mean_r, wide": (lambda x: es.mean_r(x, 3.0), st.floats(-5, 5)),
    "t_to_r": (lambda x: es.t_to_r(x, 30), st.floats(-1e3, 1e3)),
    "r_to_t": (lambda x: es.r_to_t(x, 30), correlations),
    "z_statistic_to_r": (lambda x: es.z_statistic_to_r(x, 100), st.floats(-9.9, 9.9)),
    "d_to_r": (lambda x: es.d_to_r(x, 30, 12), st.floats(-50, 50)),
    "r_to_d": (lambda x: es.r_to_d(x, 30, 12), correlations),
    "d_to_g": (lambda x: first(es.d_to_g(x, 30, 12)), st.floats(-50, 50)),
    "t_to_d": (lambda x: es.t_to_d(x, 30, 12), st.floats(-50, 50)),
    "hedges_g": (lambda x: first(es.hedges_g(x, 0, 1, 2, 9, 8)), st.floats(-50, 50)),
    "biserial": (lambda x: es.point_biserial_to_biserial(x, 3, 5), st.floats(-0.7, 0.7)),
    "composite_r": (lambda x: es.composite_r([x, x / 2]), st.floats(-0.9, 0.9)),
    "composite_to_mean_r": (lambda x: es.composite_to_mean_r(x, 3), correlations),
    "composite_to_mean_z": (lambda x: first(es.composite_to_mean_z(x, 20, 3)), correlations),
    "disattenuate_r": (lambda x: es.disattenuate_r(x, 0.8, 0.9), st.floats(-0.8, 0.8)),
    "disattenuate_z": (lambda x: first(es.disattenuate_z(x, 20, 0.8)), st.floats(-0.8, 0.8)),
    "odds_ratio_to_d": (lambda x: es.odds_ratio_to_d(np.exp(x)), st.floats(-5, 5)),
    "odds_ratio_to_r": (lambda x: es.odds_ratio_to_r(np.exp(x)), st.floats(-5, 5)),
}


@pytest.mark.parametrize("name", ODD)
@repeatable
@given(data=st.data())
def test_the_opposite_input_gives_the_opposite_result_and_keeps_its_sign(
    name: str, data: st.DataObject
) -> None:
    function, values = ODD[name]
    x = data.draw(values)
    assume(abs(x) > 1e-12)
    forward, backward = function(np.float64(x)), function(np.float64(-x))
    assert np.sign(forward) == np.sign(x)
    assert backward == pytest.approx(-forward, rel=1e-9)


@pytest.mark.parametrize("name", ODD)
@repeatable
@given(data=st.data())
def test_a_larger_input_never_gives_a_smaller_result(name: str, data: st.DataObject) -> None:
    function, values = ODD[name]
    low, high = sorted([data.draw(values), data.draw(values)])
    rounding = 1e-14 * (1 + abs(function(np.float64(high))))
    assert function(np.float64(low)) <= function(np.float64(high)) + rounding


@repeatable
@given(st.floats(-0.5, 0.5))
def test_beta_to_r_keeps_the_sign_and_grows(b: float) -> None:
    r = es.beta_to_r(b)
    assert (r < 0) == (b < 0) or b == pytest.approx(0, abs=1e-300)
    assert es.beta_to_r(min(b + 0.01, 0.5)) >= r


@repeatable
@given(st.floats(0, 1e4), degrees, signs)
def test_the_given_sign_is_the_sign_of_the_result(f: float, df: float, sign: int) -> None:
    for r in (es.f_to_r(f, df, sign), es.chi2_to_r(f, f + df, sign)):
        assert np.copysign(1, r) == sign
        assert abs(r) <= 1


@repeatable
@given(st.floats(1e-12, 1), st.floats(3, 1e3), signs)
def test_a_smaller_p_value_means_a_larger_correlation(p: float, df: float, sign: int) -> None:
    r = es.p_to_r([p, p / 2], df, sign)
    assert abs(r[1]) > abs(r[0])
    assert np.all(np.copysign(1, r) == sign)


# --- limits ---------------------------------------------------------------------------------------


@repeatable
@given(st.floats(-5, 5), st.floats(0, 10))
def test_mean_r_shrinks_tanh_mu_towards_zero(mu: float, tau: float) -> None:
    # 3e-15: the weights of the sum add up to 1 within rounding
    assert abs(es.mean_r(mu, tau)) <= abs(np.tanh(mu)) * (1 + 3e-15) + 1e-300
    assert es.mean_r(mu, 0.0) == pytest.approx(np.tanh(mu), rel=3e-15)


@repeatable
@given(st.floats(0.01, 3), st.floats(0, 3), st.floats(0.01, 2))
def test_mean_r_falls_as_samples_differ_more(mu: float, tau: float, more: float) -> None:
    assert es.mean_r(mu, tau + more) < es.mean_r(mu, tau)


@repeatable
@given(st.floats(-2, 2))
def test_mean_r_does_not_jump_where_its_two_sums_meet(mu: float) -> None:
    below, above = es.mean_r(mu, [1.0, np.nextafter(1.0, 2.0)])
    assert above == pytest.approx(below, rel=0, abs=1e-13)


@repeatable
@given(st.floats(2, 1e6))
def test_hedges_j_lies_below_one_and_near_its_usual_approximation(df: float) -> None:
    j = es.hedges_j(df)
    assert 0 < j < 1
    # Hedges (1981) gives .007 as the largest error from df = 2 on
    assert j == pytest.approx(1 - 3 / (4 * df - 1), abs=0.0075)


@repeatable
@given(correlations, sizes, st.integers(1, 20), st.floats(0, 1))
def test_the_mean_behind_a_composite_is_never_larger_than_it(
    c: float, n: int, m: int, rho: float
) -> None:
    yi, vi = es.composite_to_mean_z(c, n, m, rho)
    z, v = es.fisher_z(c, n)
    assert abs(yi) <= abs(z) * (1 + 1e-12)
    assert vi <= v * (1 + 1e-12)
    np.testing.assert_allclose(es.composite_to_mean_z(c, n, m, 1.0), (z, v), rtol=1e-12)


@repeatable
@given(groups, groups, st.floats(-3, 3))
def test_hedges_g_is_smaller_than_d_and_its_variance_is_symmetric_in_the_groups(
    n1: int, n2: int, d: float
) -> None:
    yi, vi = es.d_to_g(d, n1, n2)
    assert abs(yi) <= abs(d)
    assert es.d_to_g(-d, n2, n1)[1] == pytest.approx(vi, rel=1e-12)


# --- two-by-two tables ----------------------------------------------------------------------------

tables = st.tuples(*[st.integers(0, 300)] * 4).filter(lambda t: t[0] + t[1] and t[2] + t[3])


@repeatable
@given(tables)
def test_exchanging_the_groups_or_the_events_turns_the_sign(table: tuple[int, ...]) -> None:
    a, b, c, d = table
    odds_ratio = es.log_odds_ratio(a, b, c, d, double_zeros="correct")
    risk_ratio = es.log_risk_ratio(a, b, c, d, double_zeros="correct")
    difference = es.risk_difference(a, b, c, d)
    for pair, opposite in (
        (odds_ratio, es.log_odds_ratio(c, d, a, b, double_zeros="correct")),
        (odds_ratio, es.log_odds_ratio(b, a, d, c, double_zeros="correct")),
        (risk_ratio, es.log_risk_ratio(c, d, a, b, double_zeros="correct")),
        (difference, es.risk_difference(c, d, a, b)),
        (difference, es.risk_difference(b, a, d, c)),
    ):
        assert opposite[0] == pytest.approx(-pair[0], rel=1e-10, abs=1e-12)
        assert opposite[1] == pytest.approx(pair[1], rel=1e-10)
        assert pair[1] > 0


@repeatable
@given(tables)
def test_a_table_is_refused_for_a_ratio_exactly_when_it_is_a_double_zero(
    table: tuple[int, ...],
) -> None:
    if es.is_double_zero(*table):
        with pytest.raises(ValueError, match="says nothing about a ratio"):
            es.log_risk_ratio(*table)
    else:
        assert np.isfinite(es.log_risk_ratio(*table)).all()


# --- dependence and aggregation -------------------------------------------------------------------


@repeatable
@given(arrays(float, (4, 6), elements=st.floats(-2, 2)), st.integers(10, 1000))
def test_the_covariance_of_dependent_correlations_is_positive_semidefinite(
    loadings: np.ndarray, n: int
) -> None:
    covariance = loadings @ loadings.T + 0.5 * np.eye(4)
    spread = np.sqrt(np.diag(covariance))
    R = covariance / np.outer(spread, spread)
    np.fill_diagonal(R, 1.0)
    for scale in ("r", "z"):
        _, V = es.dependent_correlations(R, n, scale)
        np.testing.assert_allclose(V, V.T, atol=1e-15)
        assert np.linalg.eigvalsh(V).min() > -1e-10 * V.max()


@repeatable
@given(correlations, correlations, correlations)
def test_overlapping_correlations_err_together_by_at_most_one(
    r1: float, r2: float, r12: float
) -> None:
    assume(1 - r1**2 - r2**2 - r12**2 + 2 * r1 * r2 * r12 > 1e-9)
    shared = es.overlapping_sampling_correlation(r1, r2, r12)
    assert abs(shared) <= 1 + 1e-9
    assert es.overlapping_sampling_correlation(r2, r1, r12) == pytest.approx(shared, abs=1e-12)
    # turning the shared variable round changes nothing, turning one outcome round changes the sign
    assert es.overlapping_sampling_correlation(-r1, -r2, r12) == pytest.approx(shared, abs=1e-12)
    assert es.overlapping_sampling_correlation(-r1, r2, -r12) == pytest.approx(-shared, abs=1e-12)


@st.composite
def clustered(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    k = draw(st.integers(1, 12))
    yi = draw(arrays(float, k, elements=st.floats(-2, 2)))
    vi = draw(arrays(float, k, elements=st.floats(0.01, 1)))
    cluster = draw(arrays(int, k, elements=st.integers(0, 3)))
    return yi, vi, cluster, draw(st.floats(0, 0.95))


@repeatable
@given(clustered(), st.booleans())
def test_the_closed_form_of_aggregation_agrees_with_the_general_covariance(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray, float], weighted: bool
) -> None:
    yi, vi, cluster, rho = rows
    V = es.constant_correlation_V(vi, cluster, rho)
    closed = es.aggregate_effects(yi, vi, cluster, rho, weighted=weighted)
    general = es.aggregate_effects_V(yi, V, cluster, weighted=weighted)
    assert list(closed[2]) == list(general[2])
    np.testing.assert_allclose(closed[0], general[0], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(closed[1], general[1], rtol=1e-9)


@repeatable
@given(clustered())
def test_weights_never_lose_precision_against_the_plain_mean(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray, float],
) -> None:
    _, weighted, _ = es.aggregate_effects(*rows)
    _, plain, _ = es.aggregate_effects(*rows, weighted=False)
    assert np.all(weighted <= plain * (1 + 1e-9))


@repeatable
@given(clustered(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows, random) -> None:
    yi, vi, cluster, rho = rows
    order = list(range(len(yi)))
    random.shuffle(order)
    straight = es.aggregate_effects(yi, vi, cluster, rho)
    shuffled = es.aggregate_effects(yi[order], vi[order], cluster[order], rho)
    again = [list(shuffled[2]).index(label) for label in straight[2]]
    np.testing.assert_allclose(shuffled[0][again], straight[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(shuffled[1][again], straight[1], rtol=1e-9)


# --- vectors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD)
def test_a_vector_gives_what_its_elements_give(name: str) -> None:
    if name == "composite_r":  # its last axis runs over outcomes
        table = np.array([[0.1, 0.4], [-0.3, 0.2]])
        expected = [es.composite_r(row) for row in table]
        np.testing.assert_array_equal(es.composite_r(table), expected)
        return
    function, _ = ODD[name]
    values = np.array([-0.6, -0.01, 0.0, 0.3])
    expected = [function(value) for value in values]
    np.testing.assert_allclose(function(values), expected, rtol=1e-15)

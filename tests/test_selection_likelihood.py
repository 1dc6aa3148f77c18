"""The selection likelihoods, against Monte Carlo, numerical integration and closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, special, stats

from reanalysis.selection import (
    Bins,
    SelectionData,
    likelihood,
    log_likelihood,
    log_normaliser,
    simulate_selection,
)

OMEGA = np.array([1.0, 0.5, 0.2])
MECHANISMS = ("joint", "replace", "study", "thin")


def several_samples(rng, bins=None, mechanism="joint"):
    """Six samples with 1 to 6 effects, of unequal precision and with unequal means."""
    sizes = np.arange(1, 7)
    cluster = np.repeat(np.arange(6), sizes)
    vi = np.repeat(1 / rng.integers(15, 80, 6), sizes) * rng.uniform(0.8, 1.2, len(cluster))
    yi = 0.15 + rng.normal(0, 0.2, len(cluster))
    averaged = np.where(np.arange(len(cluster)) % 5 == 0, 2.0, 1.0)
    return SelectionData(
        yi,
        vi,
        cluster,
        bins or Bins(),
        mechanism,
        n_averaged=averaged,
        n_measured=sizes + 2.0 if mechanism == "thin" else None,
    )


def drawn_log_normaliser(data, eta, tau_between, tau_within, omega, draws, rng):
    """Monte Carlo of each sample's factor, with its standard error, from the definitions only.

    For 'thin' and 'replace' the log factor includes the numerator, minus log f(y).
    """
    value, error = np.empty(data.m), np.empty(data.m)
    sei = np.sqrt(data.vi)
    for j in range(data.m):
        rows = np.flatnonzero(data.cluster == j)
        u = rng.normal(0, tau_between, draws)
        sd = np.sqrt(data.vi[rows] + tau_within**2 / data.n_averaged[rows])
        y = eta[rows] + u[:, None] + sd * rng.normal(size=(draws, len(rows)))
        z = y / sei[rows]
        z = np.abs(z) if data.bins.two_sided else z
        p = stats.norm.sf(z) * (2 if data.bins.two_sided else 1)
        weight = omega[np.searchsorted(data.bins.steps, p, side="left")]
        if data.mechanism == "joint":
            seen = weight.prod(axis=1)
        elif data.mechanism == "study":
            seen = weight.max(axis=1) if np.all(np.diff(omega) <= 0) else None
        elif data.mechanism == "thin":
            missing = int(data.n_measured[j] - len(rows))
            mean_v = data.vi[rows].mean()
            more = eta[rows].mean() + u[:, None]
            more = more + np.sqrt(mean_v + tau_within**2) * rng.normal(size=(draws, missing))
            p_more = stats.norm.sf(more / np.sqrt(mean_v))
            more_weight = omega[np.searchsorted(data.bins.steps, p_more, side="left")]
            seen = 1 - (1 - weight).prod(axis=1) * (1 - more_weight).prod(axis=1)
        value[j] = seen.mean()
        error[j] = seen.std() / np.sqrt(draws)
    return value, error


@pytest.mark.parametrize("mechanism", ["joint", "study", "thin"])
@pytest.mark.parametrize("tau", [(0.0, 0.0), (0.1, 0.05), (0.3, 0.0), (0.5, 0.5)])
def test_probability_of_being_seen_agrees_with_monte_carlo(mechanism, tau):
    rng = np.random.default_rng(6)
    data = several_samples(rng, mechanism=mechanism)
    eta = 0.1 + 0.1 * rng.normal(size=data.k)
    drawn, error = drawn_log_normaliser(data, eta, *tau, OMEGA, 100_000, rng)
    if mechanism == "thin":
        # log_normaliser holds numerator and denominator; without missing effects only the latter.
        data = SelectionData(
            data.yi,
            data.vi,
            data.cluster,
            data.bins,
            "thin",
            n_averaged=data.n_averaged,
            n_measured=data.sizes.astype(float),
        )
        drawn, error = drawn_log_normaliser(data, eta, *tau, OMEGA, 100_000, rng)
    exact = np.exp(log_normaliser(data, eta[None], *np.array(tau)[:, None], OMEGA[None]))[0, :, 0]
    assert np.all(np.abs(exact - drawn) < 4.5 * error)


@pytest.mark.parametrize("tau", [(0.0, 0.0), (0.05, 0.1), (0.2, 0.0), (0.5, 0.5)])
def test_normalisers_agree_with_a_million_draws_to_a_thousandth(tau):
    """Of samples with 1 to 6 effects, for every mechanism, from scrambled Sobol draws."""
    between, within = tau
    rng = np.random.default_rng(1)
    draws = stats.qmc.Sobol(7, rng=rng).random_base2(20)  # 1 048 576
    standard = special.ndtri(np.clip(draws, 1e-12, 1 - 1e-12))
    u, noise = between * standard[:, 0], standard[:, 1:]
    template = several_samples(rng)
    eta = 0.1 + 0.1 * rng.normal(size=template.k)
    critical = stats.norm.isf([0.025, 0.5])
    drawn = {mechanism: np.empty(template.m) for mechanism in MECHANISMS}
    for j in range(template.m):
        rows = np.flatnonzero(template.cluster == j)
        vi, sei = template.vi[rows], np.sqrt(template.vi[rows])
        sd = np.sqrt(vi + within**2 / template.n_averaged[rows])
        weights, chances, density = [], 1.0, 0.0
        for i, row in enumerate(rows):
            z = (eta[row] + u + sd[i] * noise[:, i]) / sei[i]
            weights.append(OMEGA[np.where(z >= critical[0], 0, np.where(z >= critical[1], 1, 2))])
            above = special.ndtr((eta[row] + u[:, None] - critical * sei[i]) / sd[i])
            chances = chances * (OMEGA[2] + above @ (OMEGA[:-1] - OMEGA[1:]))
            density = density - 0.5 * ((template.yi[row] - eta[row] - u) / sd[i]) ** 2
        density = np.exp(density - density.max())
        drawn["joint"][j] = np.prod(weights, axis=0).mean()
        drawn["study"][j] = np.max(weights, axis=0).mean()
        drawn["thin"][j] = 1 - np.prod(1 - np.array(weights), axis=0).mean()
        drawn["replace"][j] = density.mean() / (density / chances).mean()
    for mechanism, values in drawn.items():
        data = SelectionData(
            template.yi,
            template.vi,
            template.cluster,
            template.bins,
            mechanism,
            n_averaged=template.n_averaged,
            n_measured=template.sizes.astype(float),
        )
        exact = np.exp(log_normaliser(data, eta[None], [between], [within], OMEGA[None]))[0, :, 0]
        np.testing.assert_allclose(exact, values, rtol=1e-3, err_msg=mechanism)


@pytest.mark.parametrize("size", [2, 3, 9])
def test_rows_that_are_alike_and_rows_that_barely_differ_have_one_normaliser(size):
    """Alike rows are computed once, few rows as a polynomial in the weights, many directly."""
    m = 5
    cluster = np.repeat(np.arange(m), size)
    rng = np.random.default_rng(12)
    vi = np.repeat(1 / rng.integers(15, 80, m), size)
    yi = rng.normal(0.15, 0.2, m * size)
    omega = np.column_stack([np.ones(30), rng.uniform(0.01, 1, (30, 2))])
    place = (np.full((3, m * size), 0.1), [0.05, 0.2, 0.4], [0.1, 0.0, 0.2])
    for mechanism in MECHANISMS:
        values = [
            log_likelihood(
                SelectionData(yi, v, cluster, Bins(), mechanism, n_measured=np.full(m, size + 1.0)),
                *place,
                omega,
            )
            for v in (vi, vi * (1 + 1e-12 * np.arange(m * size)))
        ]
        assert values[0] == pytest.approx(values[1], abs=1e-7)


def test_two_sided_steps_weigh_both_tails():
    rng = np.random.default_rng(2)
    data = several_samples(rng, Bins((0.05, 0.1), two_sided=True))
    eta = 0.1 + 0.1 * rng.normal(size=data.k)
    drawn, error = drawn_log_normaliser(data, eta, 0.2, 0.1, OMEGA, 200_000, rng)
    exact = np.exp(log_normaliser(data, eta[None], [0.2], [0.1], OMEGA[None]))[0, :, 0]
    assert np.all(np.abs(exact - drawn) < 4.5 * error)
    assert data.bins.of([0.3, -0.3, 0.17, 0.0], [0.1] * 4).tolist() == [0, 0, 1, 2]


def normal_pdf(x, mean, sd):
    return np.exp(-0.5 * ((x - mean) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))


def integrand_by_definition(u, mechanism, y, vi, eta, tau_between, tau_within, omega, missing):
    """The integrand of METHODS section 5 for one sample, term by term."""
    sd, cut = np.sqrt(vi + tau_within**2), stats.norm.isf([0.025, 0.5])[:, None] * np.sqrt(vi)
    value = normal_pdf(u, 0, tau_between)
    significant = special.ndtr((eta + u - cut[0]) / sd)
    positive = special.ndtr((eta + u - cut[1]) / sd) - significant
    survives = omega[0] * significant + omega[1] * positive
    survives += omega[2] * special.ndtr((cut[1] - eta - u) / sd)
    reached = np.where(y >= cut[0], 0, np.where(y >= cut[1], 1, 2))
    value *= np.prod(normal_pdf(y, eta + u, sd) * omega[reached])
    if mechanism == "replace":
        value /= np.prod(survives)
    if mechanism == "thin":
        value *= (1 - survives[0]) ** missing
    return value


@pytest.mark.parametrize("tau_between", [0.02, 0.15, 0.5])
@pytest.mark.parametrize("size", [1, 6])
@pytest.mark.parametrize("omega", [(1.0, 0.5, 0.2), (1.0, 0.1, 0.003)])
@pytest.mark.parametrize("shift", [-0.6, 0.1, 1.0])
def test_integral_over_the_sample_effect_agrees_with_adaptive_quadrature(
    tau_between, size, omega, shift
):
    rng = np.random.default_rng(size)
    vi = np.full(size, 0.02)
    y = shift + rng.normal(0, 0.15, size)
    omega = np.array(omega)
    for mechanism, missing in (("replace", 0), ("thin", 3)):
        data = SelectionData(
            y, vi, np.zeros(size), Bins(), mechanism, n_measured=np.array([size + missing])
        )
        eta = np.full(size, 0.1)
        points = np.r_[0, np.linspace(-7, 7, 15) * tau_between, y - 0.1]
        value, _ = integrate.quad(
            integrand_by_definition,
            -12 * tau_between,
            12 * tau_between,
            args=(mechanism, y, vi, 0.1, tau_between, 0.05, omega, missing),
            points=np.unique(np.clip(points, -11 * tau_between, 11 * tau_between)),
            epsabs=0,
            epsrel=1e-9,
            limit=500,
        )
        ours = log_likelihood(data, eta[None], [tau_between], [0.05], omega[None])[0, 0]
        if mechanism == "thin":
            ours += np.log(chance_of_any(vi, tau_between, omega, size + missing))
        assert ours == pytest.approx(np.log(value), abs=1e-7)


def chance_of_any(vi, tau_between, omega, measured):
    """P(at least one of the measured effects is reported), by adaptive quadrature."""
    sd, cut = np.sqrt(vi[0] + 0.05**2), stats.norm.isf([0.025, 0.5]) * np.sqrt(vi[0])

    def none(u):
        above = special.ndtr((0.1 + u - cut) / sd)
        survives = omega[2] + (omega[0] - omega[1]) * above[0] + (omega[1] - omega[2]) * above[1]
        return normal_pdf(u, 0, tau_between) * (1 - survives) ** measured

    return 1 - integrate.quad(none, -9 * tau_between, 9 * tau_between, epsrel=1e-11)[0]


@pytest.mark.parametrize("mechanism", ["joint", "study"])
def test_likelihood_of_two_effects_integrates_to_one(mechanism):
    grid = np.linspace(-1.6, 2.0, 901)
    a, b = np.meshgrid(grid, grid)
    template = SelectionData(np.zeros(2), np.full(2, 0.02), np.zeros(2), Bins(), mechanism)
    normaliser = log_normaliser(template, [[0.1, 0.2]], [0.2], [0.1], OMEGA[None])[0, 0, 0]
    covariance = 0.04 + np.diag([0.03, 0.03])
    density = stats.multivariate_normal([0.1, 0.2], covariance).pdf(np.dstack([a, b]))
    bins = [template.bins.of(x.ravel(), np.full(x.size, np.sqrt(0.02))) for x in (a, b)]
    joint = mechanism == "joint"
    weight = OMEGA[bins[0]] * OMEGA[bins[1]] if joint else OMEGA[np.minimum(*bins)]
    total = np.sum(density.ravel() * weight) * (grid[1] - grid[0]) ** 2
    assert total / np.exp(normaliser) == pytest.approx(1, abs=2e-3)
    spot = SelectionData([0.5, -0.1], np.full(2, 0.02), np.zeros(2), Bins(), mechanism)
    weight = OMEGA[2] if joint else 1.0
    by_hand = np.log(weight) - normaliser
    by_hand += stats.multivariate_normal([0.1, 0.2], covariance).logpdf([0.5, -0.1])
    ours = log_likelihood(spot, [[0.1, 0.2]], [0.2], [0.1], OMEGA[None])[0, 0]
    assert ours == pytest.approx(by_hand, abs=1e-10)


def test_joint_study_and_thin_are_one_model_when_each_sample_has_one_effect():
    rng = np.random.default_rng(3)
    k = 12
    yi, vi = rng.normal(0.2, 0.2, k), 1 / rng.integers(15, 80, k)
    values = [
        log_likelihood(
            SelectionData(yi, vi, np.arange(k), Bins(), mechanism, n_measured=np.ones(k)),
            np.full((1, k), 0.1),
            [0.2],
            [0.0],
            OMEGA[None],
        )[0, 0]
        for mechanism in ("joint", "study", "thin")
    ]
    assert values == pytest.approx([values[0]] * 3, abs=1e-12)
    sd = np.sqrt(vi + 0.04)
    cut = stats.norm.isf([0.025, 0.5])[:, None] * np.sqrt(vi)
    p1 = stats.norm.sf(cut[0], 0.1, sd)
    p2 = stats.norm.sf(cut[1], 0.1, sd) - p1
    normaliser = p1 + 0.5 * p2 + 0.2 * (1 - p1 - p2)
    weight = OMEGA[np.where(yi >= cut[0], 0, np.where(yi >= cut[1], 1, 2))]
    hedges = np.sum(stats.norm.logpdf(yi, 0.1, sd) + np.log(weight / normaliser))
    assert values[0] == pytest.approx(hedges, abs=1e-10)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_equal_weights_leave_the_likelihood_unchanged(mechanism):
    rng = np.random.default_rng(4)
    data = several_samples(rng, mechanism=mechanism)
    if mechanism == "thin":
        data = SelectionData(
            data.yi, data.vi, data.cluster, data.bins, "thin", n_measured=data.sizes
        )
    none = SelectionData(data.yi, data.vi, data.cluster, data.bins, "none", data.n_averaged)
    if mechanism == "thin":
        none = SelectionData(data.yi, data.vi, data.cluster, data.bins, "none")
    eta = np.full((2, data.k), 0.1)
    args = (eta, [0.1, 0.4], [0.2, 0.0], np.ones((1, 3)))
    assert log_likelihood(data, *args) == pytest.approx(log_likelihood(none, *args), abs=1e-8)


def test_unselected_likelihood_is_the_multivariate_normal():
    rng = np.random.default_rng(5)
    data = several_samples(rng, mechanism="none")
    together = data.cluster[:, None] == data.cluster
    covariance = 0.09 * together + np.diag(data.vi + 0.04 / data.n_averaged)
    expected = stats.multivariate_normal(np.full(data.k, 0.1), covariance).logpdf(data.yi)
    ours = log_likelihood(data, np.full((1, data.k), 0.1), [0.3], [0.2], np.ones((1, 3)))
    assert ours[0, 0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_pairing_points_with_weights_gives_the_diagonal_of_all_combinations(mechanism):
    rng = np.random.default_rng(8)
    data = several_samples(rng, mechanism=mechanism)
    omega = np.column_stack([np.ones(5), rng.uniform(0.05, 1, (5, 2))])
    points = (rng.normal(0.1, 0.2, (5, data.k)), rng.uniform(0, 0.4, 5), rng.uniform(0, 0.3, 5))
    every = log_likelihood(data, *points, omega)
    paired = log_likelihood(data, *points, omega, paired=True)
    assert paired == pytest.approx(np.diag(every), abs=1e-7)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_huge_samples_do_not_underflow(mechanism):
    data = SelectionData(
        np.array([0.5, 0.4, 0.1, -0.3]),
        np.full(4, 1e-7),
        np.array([0, 0, 1, 1]),
        Bins(),
        mechanism,
        n_measured=np.array([3.0, 2.0]),
    )
    omega = np.array([[1.0, 0.5, 0.01], [1.0, 1e-3, 1e-6]])
    value = log_likelihood(data, np.full((2, 4), 0.1), [0.0, 0.3], [0.1, 0.3], omega)
    assert np.all(np.isfinite(value))


def test_a_decision_on_the_primary_effect_depends_on_its_own_bin_only():
    rng = np.random.default_rng(6)
    template = several_samples(rng, mechanism="study")
    eta = 0.1 + 0.1 * rng.normal(size=template.k)
    primary = np.zeros(template.k, dtype=bool)
    primary[template.starts + template.sizes // 2] = True
    data = replace(template, primary=primary)
    exact = log_normaliser(data, eta[None], [0.2], [0.1], OMEGA[None])[0, :, 0]
    sd = np.sqrt(data.vi + 0.04 + 0.01 / data.n_averaged)[primary]
    cut = stats.norm.isf([0.025, 0.5])[:, None] * np.sqrt(data.vi[primary])
    above = stats.norm.sf((cut - eta[primary]) / sd)
    shares = np.diff(np.vstack([np.zeros(6), above, np.ones(6)]), axis=0)
    assert exact == pytest.approx(np.log(OMEGA @ shares), abs=1e-12)
    counts = data.bins.counts(data.yi[primary], np.sqrt(data.vi[primary]))
    assert data.decided.tolist() == counts.tolist()


def test_the_chance_that_a_sample_is_seen_does_not_vanish_in_rounding_far_out():
    """With a mean of -1 one effect in 1e17 is significant, and never both of a sample."""
    data = SelectionData(np.zeros(2), np.full(2, 0.02), np.zeros(2), Bins((0.025,)), "study")
    tiny = np.array([[1.0, 1e-30]])
    found = log_normaliser(data, np.full((1, 2), -1.0), [0.05], [0.0], tiny)[0, 0, 0]
    cut, sd = stats.norm.isf(0.025) * np.sqrt(0.02), np.sqrt(0.02 + 0.0025)
    assert found == pytest.approx(np.log(2) + stats.norm.logsf(cut, -1.0, sd), abs=1e-6)


def test_one_effect_of_every_sample_is_primary():
    data = several_samples(np.random.default_rng(6), mechanism="study")
    with pytest.raises(ValueError, match="exactly one effect of every sample"):
        replace(data, primary=np.ones(data.k, dtype=bool))


@pytest.mark.parametrize("mechanism", [*MECHANISMS, "study, primary"])
def test_the_likelihood_peaks_at_the_truth_of_its_own_simulator(mechanism):
    rng = np.random.default_rng(11)
    m, size = 1000, 3
    primary = np.arange(m * size) % size == 1 if mechanism == "study, primary" else None
    mechanism = mechanism.partition(",")[0]
    cluster = np.repeat(np.arange(m), size)
    vi = np.repeat(1 / rng.integers(17, 77, m), size)
    published = simulate_selection(
        mechanism,
        np.full(m * size, 0.15),
        vi,
        cluster,
        0.15,
        0.1,
        (1, 0.4, 0.2),
        rng,
        primary=primary,
    )
    data = published.data
    truth = np.array([0.15, 0.15, 0.1, 0.4, 0.2])
    # A score test: the mean of the numerical score is zero at the truth.
    step = 1e-3
    points = np.vstack([truth + step * sign * np.eye(5)[d] for d in range(5) for sign in (1, -1)])
    omega = np.column_stack([np.ones(10), points[:, 3:]])
    value = log_likelihood(
        data,
        np.repeat(points[:, :1], data.k, axis=1),
        points[:, 1],
        points[:, 2],
        omega,
        paired=True,
    )
    score = (value[::2] - value[1::2]) / (2 * step)
    at_truth = log_likelihood(
        data,
        np.full((1, data.k), 0.15),
        [0.15],
        [0.1],
        np.array([[1, 0.4, 0.2]]),
    )[0, 0]
    information = -(value[::2] + value[1::2] - 2 * at_truth) / step**2
    assert np.all(np.abs(score) < 4 * np.sqrt(information))


def test_thin_takes_weights_as_probabilities():
    data = several_samples(np.random.default_rng(9), mechanism="thin")
    with pytest.raises(ValueError, match="at most 1"):
        log_likelihood(data, np.zeros((1, data.k)), [0.1], [0.1], [[1.0, 1.2, 0.5]])


def test_weights_of_zero_are_refused_with_a_remedy():
    data = several_samples(np.random.default_rng(9))
    with pytest.raises(ValueError, match="take a small one such as 1e-6"):
        log_likelihood(data, np.zeros((1, data.k)), [0.1], [0.1], [[1.0, 0.5, 0.0]])


def test_doubling_the_nodes_changes_nothing(monkeypatch):
    rng = np.random.default_rng(10)
    omega = np.array([[1.0, 0.5, 0.2], [1.0, 0.05, 0.001]])
    tau = np.array([0.0, 0.05, 0.2, 0.5])
    for mechanism in MECHANISMS:
        data = several_samples(rng, mechanism=mechanism)
        args = (np.full((4, data.k), 0.1), tau, tau[::-1], omega)
        before = log_likelihood(data, *args)
        with monkeypatch.context() as patch:
            ladder = tuple(2 * nodes for nodes in likelihood.LADDER)
            patch.setattr(likelihood, "LADDER", ladder)
            assert log_likelihood(data, *args) == pytest.approx(before, abs=1e-8)

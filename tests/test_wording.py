"""Numbers and names as people read them."""

import math

import pytest

from reanalysis.effect_sizes import MEASURES
from reanalysis.wording import (
    evidence,
    number,
    odds,
    p_value,
    parameter_name,
    plain,
    readable_scale,
    shorten,
    with_symbols,
)


@pytest.mark.parametrize(
    ("value", "digits", "printed"),
    [
        (0.1949, 2, "0.19"),
        (-0.1949, 2, "−0.19"),
        (0.0, 3, "0.000"),
        (-0.0, 2, "0.00"),
        (-0.0017, 2, "−0.002"),
        (0.00004, 2, "< 0.0001"),
        (-1e-300, 3, "> −0.00001"),
        (12.345, 1, "12.3"),
    ],
)
def test_a_number_keeps_its_sign_and_is_never_rounded_to_zero(value, digits, printed):
    assert number(value, digits) == printed


def test_what_cannot_exceed_one_has_no_leading_zero():
    assert number(0.19, 2, leading_zero=False) == ".19"
    assert number(-0.19, 2, leading_zero=False) == "−.19"
    assert number(1.0, 2, leading_zero=False) == "1.00"
    assert number(0.00000004, 3, leading_zero=False) == "< .00001"


@pytest.mark.parametrize(
    ("p", "printed"),
    [(0.0, "< .001"), (0.00099, "< .001"), (0.034, "= .034"), (1.0, "> .999"), (0.5, "= .500")],
)
def test_a_p_value_is_never_printed_as_zero_or_one(p, printed):
    assert p_value(p) == printed


@pytest.mark.parametrize(
    ("factor", "printed"),
    [(1.0, "1.00 to 1"), (0.5, "2.00 to 1"), (3.44, "3.4 to 1"), (456.0, "456 to 1")],
)
def test_odds_are_those_of_the_better_supported_side(factor, printed):
    assert odds(math.log(factor)) == printed


def test_extreme_bayes_factors_are_named_by_their_order_of_magnitude():
    assert odds(9.46) == "more than 10,000 to 1"
    assert odds(-5000.0) == "more than 10,000 to 1"
    assert odds(math.log(9_999)) == "9,999 to 1"
    assert evidence(5000.0) == "extreme"


def test_evidence_has_the_labels_of_lee_and_wagenmakers_2013_table_7_1():
    factors = (1.0, 2.9, 3.1, 9.9, 10.1, 29.0, 31.0, 99.0, 101.0)
    labels = [evidence(math.log(f)) for f in factors]
    assert labels == [
        *["anecdotal"] * 2,
        *["moderate"] * 2,
        *["strong"] * 2,
        *["very strong"] * 2,
        "extreme",
    ]


def test_text_loses_controls_that_turn_its_direction_but_no_letters():
    assert plain("\u202egro.live\u202c \u2066x\u2069") == "gro.live x"
    assert plain("שלום، Łódź 東京") == "שלום، Łódź 東京"
    assert plain("a\x00b\x1b[31m\ttab\nline\ud800") == "ab[31m tab line"


def test_a_long_label_keeps_both_ends():
    cut = shorten("Andersson, Paxling et al. (2012) treatment for social anxiety", 38)
    assert len(cut) <= 38
    assert cut.startswith("Andersson, Paxling")
    assert cut.endswith("anxiety")
    assert shorten("Yuen et al. (2013)") == "Yuen et al. (2013)"


def test_parameters_have_names_in_words():
    assert parameter_name("tau_between") == "Heterogeneity between samples"
    assert parameter_name("beta[disorder=depression]") == "disorder=depression"
    assert parameter_name("omega[2]") == "Publication weight of p-value bin 2"
    assert parameter_name("something else") == "something else"
    assert with_symbols("REML puts tau_within at 0") == "REML puts τ within at 0"


def test_each_measure_is_read_on_its_own_scale():
    assert readable_scale("ZCOR").interval(math.atanh(0.141), math.atanh(0.263)) == ".14 to .26"
    assert readable_scale("SMD").value(0.5) == "0.50"
    assert readable_scale("OR").value(math.log(1.21)) == "1.21"
    assert readable_scale("OR").symbol == "odds ratio"


@pytest.mark.parametrize("code", list(MEASURES))
def test_every_measure_prints_a_number(code):
    scale = readable_scale(code)
    assert scale.value(0.1)
    assert scale.symbol
    assert scale.noun

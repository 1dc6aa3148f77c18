"""The audit: what it finds in Kaiser et al. (2021), and each rule on a small positive and negative.

Numbers of the paper are printed in its Tables 1 and 2 and Results 3.1 and 3.2. Other expected
values were computed by hand, or come from metafor 3.8.1 where a test says so.
"""

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reanalysis.audit import RULES, Finding, audit
from reanalysis.audit.pooling import leave_one_out_residuals, pooled_estimate
from reanalysis.audit.slips import is_one_typing_error
from reanalysis.dataset import DataError, Dataset, load_dataset
from reanalysis.spec import Claim

DATA = Path(__file__).parents[1] / "data"
# metafor 3.8.1, rma(yi, vi, method = "REML") on konstantopoulos2011: mu, se, tau2.
REML_OF_METAFOR = (0.127932057661869, 0.0438702772444079, 0.0884384954859576)
OVERALL = Claim(
    id="overall",
    text="The overall weighted average ES is r = 0.203.",
    source="Results 3.2",
    published={
        "estimate": 0.203,
        "lower": 0.141,
        "upper": 0.263,
        "scale": "r",
        "q": 56.89,
        "q_df": 50,
        "q_p": 0.23,
        "i2": 27.7,
        "k": 51,
        "n": 1167,
    },
)
LATE = Claim(
    id="late",
    text="Correlations were higher when alliance was assessed near the end.",
    source="Results 3.2",
    parameter="beta[late]",
    published={"qm": 7.43, "qm_df": 1, "qm_p": 0.006, "alpha": 0.0071, "k": 51},
)


@pytest.fixture(scope="module")
def kaiser():
    return load_dataset(DATA / "kaiser2021")


@pytest.fixture(scope="module")
def findings(kaiser):
    return audit(kaiser, (OVERALL, LATE))


def of(findings, rule, severity=None):
    return [f for f in findings if f.rule == rule and severity in (None, f.severity)]


def folder(path, rows, *, facts=None, roles=None, more=()):
    """Write a data folder with a table 'rows' (and more), and load it."""
    tables = {"rows": rows, **dict(more)}
    resources = []
    for name, table in tables.items():
        raw = table.to_csv(index=False, lineterminator="\n").encode()
        (path / f"{name}.csv").write_bytes(raw)
        digest = hashlib.sha256(raw).hexdigest()
        resources.append({"name": name, "path": f"{name}.csv", "hash": f"sha256:{digest}"})
    roles = roles or {"ri": "r", "ni": "n", "sample": "sample"}
    declared = {
        "default": "rows",
        "measure": "ZCOR",
        "tables": {name: {"roles": roles, "intercorrelation": 0.7} for name in tables},
        "audit": facts or {},
    }
    package = {"name": "case", "resources": resources, "reanalysis": declared}
    (path / "datapackage.json").write_text(json.dumps(package), encoding="utf-8")
    return load_dataset(path)


def correlations(**columns):
    """A quiet table of eight samples; columns may be replaced or added."""
    table = {
        "sample": [f"s{i}" for i in range(8)],
        "r": ["0.21", "0.15", "0.30", "0.26", "0.08", "0.19", "0.33", "0.12"],
        "n": [96, 56, 41, 58, 90, 38, 27, 44],
    }
    return pd.DataFrame({**table, **columns})


# --- Kaiser et al. (2021), unaided ----------------------------------------------------------------


def test_the_total_of_participants_is_1171_by_table_2_and_1167_in_the_text(findings):
    found = next(f for f in of(findings, "total") if "all samples" in f.where)
    assert "1167" in found.source_says
    assert "1171" in found.follows
    assert "1104" in found.follows


def test_further_totals_that_do_not_add_up_are_the_smallest_n_and_the_number_of_effects(findings):
    says = {f.source_says for f in of(findings, "total")}
    assert says == {
        "participants in all samples: 1167",
        "mean sample size: 46.7",
        "smallest sample size: 14",
        "effect sizes: 51",
        "effect sizes with early alliance: 43",
    }


def test_the_tables_disagree_in_samples_16_22_24_and_25(findings):
    found = of(findings, "reading")
    assert [f.lines for f in found] == [(17,), (23,), (25,), (26,)]  # line = sample + 1
    wagner = found[2]
    assert wagner.source_says == "Table 1: r = 0.42, n = 47; Table 2: r = 0.47, n = 35"
    assert wagner.remedy == "Table 2 is used."


def test_sample_sizes_differ_between_effects_of_samples_19_and_21(findings):
    found = {f.source_says for f in of(findings, "sample_size")}
    assert found == {
        "n = 40, 41 in 2 effects of one sample",
        "n = 20, 14, 19 in 3 effects of one sample",
    }


def test_alfonssons_odds_ratio_is_significant_and_its_converted_r_is_not(findings):
    """z = ln 1.21 / ((ln 1.34 - ln 1.09) / 3.92) = 3.62; atanh(.05) sqrt(93) = 0.48."""
    (found,) = of(findings, "significance")
    assert found.severity == "error"
    assert "Alfonsson" in found.where
    assert "z = 3.62, p = 0.0003;" in found.follows
    assert "z = 0.48, p = 0.63" in found.follows
    assert found.effect_on_pooled > 0.02


def test_beckners_zeros_are_named_and_their_composites_reproduce(findings):
    zeros = of(findings, "set_to_zero", "warning")
    assert ["T-CBT" in zeros[0].where, "T-SEFT" in zeros[1].where] == [True, True]
    assert zeros[0].effect_on_pooled > 0 > zeros[1].effect_on_pooled
    composites = of(findings, "composite", "note")
    assert [f.source_says for f in composites] == ["composite r = 0.23", "composite r = -0.08"]
    assert "0.2344" in composites[0].follows
    assert "-0.0797" in composites[1].follows


def test_the_printed_conversions_reproduce(findings):
    (found,) = of(findings, "conversion")
    assert found.severity == "note"
    assert found.follows == "2 printed conversions reproduce."


def test_i2_is_27_7_percent_in_print_and_12_1_percent_from_q(findings):
    (found,) = of(findings, "i2")
    assert found.source_says == "I² = 27.7 %, Q(50) = 56.89"
    assert "12.1 %" in found.follows


def test_the_late_alliance_test_passes_its_threshold_only_under_chi_square(findings):
    """p = .0064 under chi-square, .012 with t(23), .0089 with t(49); threshold .05/7."""
    (found,) = of(findings, "reference")
    for shown in ("p = 0.0064", "p = 0.012 with 23 df", "p = 0.0089 with 49 df"):
        assert shown in found.follows


def test_composites_are_mixed_with_single_effects_and_change_the_pooled_r(findings):
    """metafor 3.8.1, REML on the composites as printed: z = 0.195003834."""
    (found,) = of(findings, "mixed_composites")
    assert "14 rows are composites" in found.source_says
    assert found.after == pytest.approx(math.tanh(0.195003834), abs=1e-8)


def test_samples_with_one_description_are_noted(findings):
    found = of(findings, "same_description")
    assert [f.lines for f in found] == [(5, 6), (15, 16)]


def test_the_paper_gives_no_row_level_alarm(findings):
    rules = {"sign_flip", "outlier", "duplicate", "implausible", "n_typo", "inconsistent"}
    assert not [f for f in findings if f.rule in rules]


def test_findings_come_worst_first_and_their_dicts_have_no_empty_entries(findings):
    order = ["error", "warning", "note"]
    ranks = [order.index(f.severity) for f in findings]
    assert ranks == sorted(ranks)
    for found in findings:
        entries = json.loads(json.dumps(found.to_dict()))
        assert {"rule", "severity", "where", "source_says", "follows"} <= set(entries)
        assert None not in entries.values()


def test_the_effect_level_reading_is_audited_as_well(kaiser):
    found = audit(kaiser.reading(table="effects"), (OVERALL, LATE))
    assert {f.rule for f in found} >= {"total", "significance", "set_to_zero", "i2", "reference"}


def test_konstantopoulos_2011_gives_one_note_and_no_alarm():
    """Study 33 (d = 1.19) is the largest effect of the published table."""
    (found,) = audit(load_dataset(DATA / "konstantopoulos2011"))
    assert (found.rule, found.severity, found.lines) == ("outlier", "note", (34,))


def test_the_audit_starts_without_sampler_plots_or_scipy_stats():
    code = (
        "import sys, reanalysis.audit\n"
        "heavy = {'pymc', 'arviz', 'matplotlib', 'nutpie', 'scipy.stats'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- each rule, positive and negative -------------------------------------------------------------


def test_a_table_that_agrees_with_itself_gives_nothing(tmp_path):
    assert audit(folder(tmp_path, correlations())) == ()


@pytest.mark.parametrize(
    ("printed", "statistic", "alarm"),
    [
        ("450", "sum", False),
        ("451", "sum", True),
        ("56.3", "mean", False),  # 450 / 8 = 56.25
        ("56.4", "mean", True),
        ("27", "min", False),
        ("96", "max", False),
        ("95", "max", True),
        ("8", "rows", False),
        ("9", "rows", True),
        ("8", "distinct", False),
    ],
)
def test_a_printed_total_is_compared_at_its_own_rounding(tmp_path, printed, statistic, alarm):
    total = {
        "what": "n",
        "printed": printed,
        "statistic": statistic,
        "table": "rows",
        "column": "n",
    }
    found = audit(folder(tmp_path, correlations(), facts={"totals": [total]}))
    assert bool(of(found, "total", "warning")) == alarm


def test_a_total_that_another_column_gives_is_a_note(tmp_path):
    total = {
        "what": "n",
        "printed": "458",
        "statistic": "sum",
        "table": "rows",
        "column": "n",
        "others": ["n_start"],
    }
    table = correlations(n_start=[97, 57, 42, 59, 91, 39, 28, 45])
    (found,) = audit(folder(tmp_path, table, facts={"totals": [total]}))
    assert found.severity == "note"
    assert "'n_start'" in found.remedy


def test_missing_cells_leave_a_sum_open_but_not_an_extreme_beyond_the_printed_one(tmp_path):
    table = correlations(weeks=[8, None, 12, 6, 10, 9, 8, 7])
    facts = [
        {"what": w, "printed": p, "statistic": s, "table": "rows", "column": "weeks"}
        for w, p, s in (("sum", "99", "sum"), ("longest", "11", "max"), ("shortest", "1", "min"))
    ]
    found = audit(folder(tmp_path, table, facts={"totals": facts}))
    assert [f.source_says for f in found] == ["longest: 11"]


@pytest.mark.parametrize(("screened", "alarm"), [(3949, False), (3950, True)])
def test_a_flow_diagram_has_to_add_up(tmp_path, screened, alarm):
    flow = pd.DataFrame({"step": ["found", "twice", "screened"], "count": [5859, 1910, screened]})
    sums = [{"total": "screened", "plus": ["found"], "minus": ["twice"]}]
    facts = {"flows": [{"table": "flow", "step": "step", "count": "count", "sums": sums}]}
    found = audit(folder(tmp_path, correlations(), facts=facts, more={"flow": flow}.items()))
    assert bool(of(found, "flow")) == alarm


@pytest.mark.parametrize(("second", "alarm"), [("0.30", False), ("0.3", False), ("0.03", True)])
def test_two_places_that_print_a_value_have_to_agree(tmp_path, second, alarm):
    table = correlations()
    table["again"] = table["r"]
    table.loc[2, "again"] = second
    places = {"Table 1": {"ri": "r"}, "Table 2": {"ri": "again"}}
    facts = {"readings": [{"table": "rows", "places": places}]}
    found = of(audit(folder(tmp_path, table, facts=facts)), "reading")
    assert [f.lines for f in found] == ([(4,)] if alarm else [])
    if alarm:
        assert found[0].remedy == "Table 1 is used."
        assert found[0].effect_on_pooled < 0


def test_one_n_per_sample_is_expected(tmp_path):
    table = correlations(sample=["a", "a", "b", "b", "c", "d", "e", "f"])
    table["n"] = [96, 96, 41, 40, 90, 38, 27, 44]
    found = audit(folder(tmp_path, table))
    assert [(f.rule, f.severity, f.lines) for f in found] == [("sample_size", "note", (4, 5))]


def test_two_samples_described_alike_are_noted_unless_the_description_is_missing(tmp_path):
    table = correlations(
        age=[31.2, 44.0, 31.2, 28, 35, 51, None, None], women=[70, 50, 70] + [60] * 5
    )
    facts = {"descriptions": [{"table": "rows", "columns": ["age", "women"]}]}
    found = of(audit(folder(tmp_path, table, facts=facts)), "same_description")
    assert [f.lines for f in found] == [(2, 4)]


CONVERSION = {
    "table": "rows",
    "statistic": "kind",
    "value": "value",
    "lower": "low",
    "upper": "high",
    "converted": "r",
}


def reported(kind, value, r, low="", high="", n=96):
    table = correlations(kind="r", value="", low="", high="")
    table.loc[0, ["kind", "value", "r", "low", "high", "n"]] = [kind, value, r, low, high, n]
    return table


@pytest.mark.parametrize(
    ("kind", "value", "r", "severity"),
    [
        ("odds ratio", "1.21", "0.05", "note"),
        ("odds ratio", "1.21", "0.15", "error"),
        ("beta", "0.21", "0.26", "note"),
        ("beta", "-0.15", "-0.15", "note"),
        ("beta", "-0.15", "0.15", "error"),
        ("d", "0.5", "0.24", "note"),  # .5 / sqrt(.25 + 4) = .2425
        ("d", "0.5", "0.5", "error"),
        ("t", "2.5", "0.25", "note"),  # 2.5 / sqrt(6.25 + 94) = .2497
        ("z", "2.5", "0.26", "note"),  # 2.5 / sqrt(96) = .2552
    ],
)
def test_a_printed_conversion_has_to_reproduce(tmp_path, kind, value, r, severity):
    facts = {"conversions": [CONVERSION]}
    (found,) = of(audit(folder(tmp_path, reported(kind, value, r), facts=facts)), "conversion")
    assert found.severity == severity
    assert (found.effect_on_pooled is not None) == (severity == "error")


@pytest.mark.parametrize(
    ("low", "high", "r", "alarm"),
    [
        ("1.09", "1.34", "0.05", True),  # p = .0003 against p = .6
        ("0.80", "1.83", "0.05", False),  # p = .37 against p = .6
        ("1.09", "1.34", "0.36", False),  # both p < .001
    ],
)
def test_a_conversion_has_to_keep_the_evidence(tmp_path, low, high, r, alarm):
    facts = {"conversions": [CONVERSION]}
    table = reported("odds ratio", "1.21", r, low, high)
    found = of(audit(folder(tmp_path, table, facts=facts)), "significance")
    assert bool(found) == alarm


def test_a_reported_statistic_outside_its_interval_is_an_error(tmp_path):
    table = reported("odds ratio", "1.21", "0.05", "1.29", "1.34")
    found = audit(folder(tmp_path, table, facts={"conversions": [CONVERSION]}))
    assert [(f.severity, f.lines) for f in of(found, "interval")] == [("error", (2,))]


def parts(composite, *, zero="no"):
    """Sample s0 is a composite of the two effects 0 and .4322."""
    effects = pd.DataFrame(
        {
            "sample": ["s0", "s0", "s1"],
            "r": ["0", "0.4322", "0.15"],
            "n": [96, 96, 56],
            "composite": [composite, composite, ""],
            "zero": [zero, "no", "no"],
        }
    )
    return {"effects": effects}.items()


@pytest.mark.parametrize(
    ("composite", "severity", "words"),
    [("0.23", "note", "reproduces"), ("0.22", "error", "mean is 0.2161"), ("0.31", "error", "")],
)
def test_a_printed_composite_has_to_follow_from_its_parts(tmp_path, composite, severity, words):
    fact = {"table": "effects", "part": "r", "composite": "composite"}
    data = folder(tmp_path, correlations(), facts={"composites": [fact]}, more=parts(composite))
    (found,) = of(audit(data), "composite")
    assert found.severity == severity
    assert words in found.follows
    assert "0.2344" in found.follows


@pytest.mark.parametrize("zero", ["yes", "no"])
def test_an_effect_set_to_zero_is_named_with_what_leaving_it_out_changes(tmp_path, zero):
    fact = {"table": "effects", "flag": "zero", "part": "r", "source": "footnote d"}
    table = correlations(m=[2] + [1] * 7)
    table.loc[0, "r"] = "0.23"
    data = folder(
        tmp_path,
        table,
        facts={"zeros": [fact]},
        more=parts("0.23", zero=zero),
    )
    found = of(audit(data), "set_to_zero")
    assert len(found) == (zero == "yes")
    if found:
        # By hand: sample s0 as r = .4322 with n = 96 in place of .23.
        r = np.array([0.4322, 0.15, 0.30, 0.26, 0.08, 0.19, 0.33, 0.12])
        mu, _, _ = pooled_estimate(np.arctanh(r), 1 / (table["n"].to_numpy() - 3.0))
        assert found[0].after == pytest.approx(np.tanh(mu), abs=1e-12)


@pytest.mark.parametrize(
    ("m", "alarm"), [([2] + [1] * 7, True), ([1] * 8, False), ([3] * 8, False)]
)
def test_composites_beside_single_effects_are_two_estimands(tmp_path, m, alarm):
    roles = {"ri": "r", "ni": "n", "sample": "sample", "composite_of": "m"}
    found = audit(folder(tmp_path, correlations(m=m), roles=roles))
    assert bool(of(found, "mixed_composites")) == alarm


def claim(**published):
    return Claim(id="c", text="…", published=published)


@pytest.mark.parametrize(
    ("published", "rule"),
    [
        ({"q": 56.89, "q_df": 50, "i2": 27.7}, "i2"),
        ({"q": 56.89, "q_df": 50, "i2": 12.1}, None),
        ({"q": 20.0, "q_df": 24, "i2": 0}, None),
        ({"q": 56.89, "q_df": 50, "q_p": 0.23}, None),  # chi-square: .234
        ({"q": 56.89, "q_df": 50, "q_p": 0.02}, "p_value"),
        ({"qm": 7.43, "qm_df": 1, "qm_p": 0.006, "alpha": 0.001}, None),  # fails under both
        ({"qm": 7.43, "qm_df": 1, "qm_p": 0.06}, "p_value"),
        ({"qm": 40.0, "qm_df": 1, "alpha": 0.05}, None),  # passes under both
        ({"qm": 4.2, "qm_df": 1}, "reference"),  # chi-square .040, t(6) .086
        ({"estimate": 0.203, "lower": 0.141, "upper": 0.263, "scale": "r"}, None),
        ({"estimate": 0.203, "lower": 0.141, "upper": 0.363, "scale": "r"}, "interval"),
        ({"estimate": 0.20, "lower": -0.10, "upper": 0.50, "p": 0.19}, None),
        ({"estimate": 0.20, "lower": -0.10, "upper": 0.50, "p": 0.01}, "interval"),
        ({"n": 450}, None),
        ({"n": 451}, "total"),
    ],
)
def test_printed_results_have_to_follow_from_each_other(tmp_path, published, rule):
    found = audit(folder(tmp_path, correlations()), [claim(**published)])
    assert [f.rule for f in found] == ([rule] if rule else [])


def with_z(**columns):
    table = correlations()
    z = np.arctanh(table["r"].astype(float))
    table["z"] = [f"{value:.3f}" for value in z]
    table["v"] = [f"{1 / (n - 3):.5f}" for n in table["n"]]
    for column, (row, value) in columns.items():
        table[column] = table[column].astype(object)
        table.loc[row, column] = value
    return Dataset.from_frame(table.astype(str), ri="r", ni="n", sample="sample")


def test_redundant_columns_that_agree_give_nothing():
    assert audit(with_z()) == ()


@pytest.mark.parametrize(
    ("columns", "rule", "row"),
    [
        ({"z": (2, "-0.310")}, "sign_flip", 2),
        ({"r": (3, "-0.26")}, "sign_flip", 3),
        ({"z": (6, "0.330")}, "r_for_z", 6),
        ({"z": (1, "1.51")}, "decimal_shift", 1),
        ({"r": (1, "0.015")}, "decimal_shift", 1),
        ({"v": (0, "0.10370")}, "se_for_variance", 0),  # 1 / sqrt(93)
        ({"v": (0, "0.10753")}, "decimal_shift", 0),
        ({"n": (3, 85)}, "n_typo", 3),  # 58, digits exchanged
        ({"n": (3, 580)}, "n_typo", 3),
        ({"z": (1, "0.01887"), "v": (1, "0.151")}, "swapped_columns", 1),
        ({"v": (4, "0.03")}, "inconsistent", 4),
    ],
)
def test_a_row_that_contradicts_itself_is_found_and_explained(columns, rule, row):
    (found,) = audit(with_z(**columns))
    assert (found.rule, found.severity, found.lines) == (rule, "error", (row + 1,))
    assert found.effect_on_pooled is not None or rule == "inconsistent"


def test_correcting_a_mistyped_n_gives_the_pooled_estimate_of_the_clean_table():
    (found,) = audit(with_z(n=(3, 580)))
    table = correlations()
    vi = 1 / (table["n"].to_numpy() - 3.0)
    mu, _, _ = pooled_estimate(np.arctanh(table["r"].astype(float)), vi)
    # v is printed with five decimals.
    assert found.after == pytest.approx(np.tanh(mu), abs=1e-4)


def test_standard_errors_in_the_whole_variance_column_are_one_finding():
    table = correlations()
    table["z"] = [f"{math.atanh(float(r)):.3f}" for r in table["r"]]
    table["v"] = [f"{1 / math.sqrt(n - 3):.4f}" for n in table["n"]]
    (found,) = audit(Dataset.from_frame(table, ri="r", ni="n"))
    assert (found.rule, found.columns, found.lines) == ("se_for_variance", ("v",), ())


def test_correlations_in_the_whole_column_of_fishers_z_are_one_finding():
    table = correlations(r=["0.51", "0.45", "0.60", "0.56", "0.38", "0.49", "0.63", "0.42"])
    table["z"] = [f"{float(r):.3f}" for r in table["r"]]
    (found,) = audit(Dataset.from_frame(table, ri="r", ni="n"))
    assert (found.rule, found.columns) == ("r_for_z", ("z",))


@pytest.mark.parametrize("whole", [False, True])
def test_limits_in_each_others_place_are_found(whole):
    table = correlations()
    z, se = np.arctanh(table["r"].astype(float)), 1 / np.sqrt(table["n"] - 3)
    table["ci_lower"] = [f"{x:.2f}" for x in np.tanh(z - 1.96 * se)]
    table["ci_upper"] = [f"{x:.2f}" for x in np.tanh(z + 1.96 * se)]
    assert audit(Dataset.from_frame(table, ri="r", ni="n")) == ()
    rows = slice(None) if whole else slice(5, 5)
    table.loc[rows, ["ci_lower", "ci_upper"]] = table.loc[rows, ["ci_upper", "ci_lower"]].to_numpy()
    (found,) = audit(Dataset.from_frame(table, ri="r", ni="n"))
    assert found.rule == "swapped_columns"
    assert found.lines == (() if whole else (6,))


def test_a_folder_declares_its_columns_so_none_is_guessed_there(tmp_path):
    table = correlations(se=[1, 2, 3, 4, 5, 6, 7, 8])  # special education, say
    assert audit(folder(tmp_path, table)) == ()
    assert of(audit(Dataset.from_frame(table, ri="r", ni="n")), "inconsistent", "warning")


def test_a_folder_may_declare_columns_that_repeat_the_effect(tmp_path):
    table = correlations()
    table["fishers"] = [f"{math.atanh(float(r)):.3f}" for r in table["r"]]
    table.loc[2, "fishers"] = "-0.310"
    facts = {"redundant": [{"table": "rows", "roles": {"yi": "fishers"}}]}
    (found,) = audit(folder(tmp_path, table, facts=facts))
    assert (found.rule, found.lines) == ("sign_flip", (4,))


def many(r=None, n=None, **columns):
    """Twenty homogeneous samples around r = .3."""
    n = np.arange(200, 400, 10) if n is None else n
    z = np.arctanh(0.3) + np.tile([0.9, -1.2, 0.4, -0.1], 5) / np.sqrt(n - 3.0)
    table = pd.DataFrame({"r": np.tanh(z).round(3), "n": n, **columns})
    if r is not None:
        table.loc[7, "r"] = r
    return Dataset.from_frame(table, ri="r", ni="n")


@pytest.mark.parametrize(
    ("r", "rule"), [(None, None), (0.42, None), (-0.3, "sign_flip"), (0.65, "outlier")]
)
def test_an_effect_far_from_the_rest_is_found(r, rule):
    found = audit(many(r))
    assert [f.rule for f in found] == ([rule] if rule else [])
    if rule:
        assert found[0].lines == (8,)
        assert found[0].severity == "warning"


@pytest.mark.parametrize(
    ("reliability", "alarms"),
    [(None, 0), ({"predictor": 0.9, "outcome": 0.8}, 0), ({"predictor": 0.3, "outcome": 0.3}, 1)],
)
def test_no_correlation_exceeds_what_the_reliabilities_allow(tmp_path, reliability, alarms):
    """sqrt(.9 * .8) = .85; sqrt(.3 * .3) = .30, and the largest r is .33."""
    facts = {"reliability": reliability} if reliability else None
    found = of(audit(folder(tmp_path, correlations(), facts=facts)), "implausible")
    assert len(found) == alarms


def test_a_correlation_beyond_95_is_implausible_without_known_reliabilities(tmp_path):
    table = correlations(r=["0.21", "0.15", "0.30", "0.26", "0.08", "0.19", "0.97", "0.12"])
    assert [f.lines for f in of(audit(folder(tmp_path, table)), "implausible")] == [(8,)]


def test_a_row_entered_twice_is_found_under_another_name():
    table = correlations()
    table["year"] = [2001, 2004, 2004, 2010, 2012, 2013, 2015, 2016]
    again = table.loc[[4]].assign(sample="S. 4 et al.")
    table = pd.concat([table, again], ignore_index=True)
    (found,) = audit(Dataset.from_frame(table, ri="r", ni="n", sample="sample"))
    assert (found.rule, found.severity, found.lines) == ("duplicate", "warning", (5, 9))


def test_equal_effects_of_one_sample_and_equal_r_with_another_n_are_no_duplicates():
    table = correlations(sample=["a", "a", "b", "c", "d", "e", "f", "g"])
    table["outcome"] = ["BDI", "HRSD", "BDI", "BDI", "BDI", "BDI", "BDI", "BDI"]
    table.loc[1, ["r", "n"]] = ["0.21", 96]  # two outcomes of sample a
    table.loc[5, "r"] = "0.30"  # like sample b, but n differs
    data = Dataset.from_frame(table, ri="r", ni="n", sample="sample")
    assert not of(audit(data), "duplicate")


@pytest.mark.parametrize(("n", "alarm"), [(410, False), (39000, True)])
def test_a_sample_size_far_beyond_the_others_is_questioned(n, alarm):
    sizes = np.arange(200, 400, 10)
    sizes[4] = n
    found = of(audit(many(n=sizes)), "n_typo")
    assert bool(found) == alarm


def test_a_year_in_the_place_of_n_is_found():
    table = correlations(year=[2001, 2004, 2004, 2010, 2012, 2013, 2015, 2016])
    table.loc[2, ["n", "year"]] = [2004, 41]
    found = audit(Dataset.from_frame(table, ri="r", ni="n", sample="sample"))
    assert ("swapped_columns", (3,)) in {(f.rule, f.lines) for f in found}


def test_a_misspelt_or_dangling_fact_is_refused_with_its_place(tmp_path):
    with pytest.raises(DataError, match=r"audit\.totals\.0.*printd"):
        audit(folder(tmp_path, correlations(), facts={"totals": [{"printd": "1"}]}))
    total = {"what": "n", "printed": "1", "statistic": "sum", "table": "rows", "column": "N"}
    with pytest.raises(DataError, match="no column 'N' in 'rows'"):
        audit(folder(tmp_path, correlations(), facts={"totals": [total]}))
    with pytest.raises(DataError, match="no table 'row'"):
        audit(folder(tmp_path, correlations(), facts={"totals": [{**total, "table": "row"}]}))


# --- parts ----------------------------------------------------------------------------------------


def test_every_rule_says_what_it_finds():
    assert all(rule.__doc__ for rule in RULES.values())
    assert list(RULES) == [rule.__name__ for rule in RULES.values()]


def test_a_finding_without_an_estimate_has_no_effect_on_the_pooled_one():
    assert Finding("total", "note", "here", "1", "2").effect_on_pooled is None
    assert Finding("total", "note", "", "", "", before=0.2, after=0.1).effect_on_pooled == -0.1


def test_the_pooled_estimate_is_the_reml_of_metafor():
    effects = load_dataset(DATA / "konstantopoulos2011").effects
    mu, se, tau2 = pooled_estimate(effects["yi"], effects["vi"])
    assert (mu, se, tau2) == pytest.approx(REML_OF_METAFOR, rel=1e-6)


def test_leaving_out_an_outlier_makes_its_residual_large():
    yi, vi = np.array([0.2, 0.25, 0.22, 0.18, 0.21, 1.2]), np.full(6, 0.01)
    residual, centre = leave_one_out_residuals(yi, vi)
    # The other five agree more closely than chance, so tau2 = 0 and se² = .01/5.
    assert centre[5] == pytest.approx(0.212)
    assert residual[5] == pytest.approx((1.2 - 0.212) / math.sqrt(0.01 + 0.002))


@pytest.mark.parametrize(
    ("a", "b", "one"),
    [
        ("48", "84", True),
        ("48", "49", True),
        ("48", "480", True),
        ("48", "8", True),
        ("48", "48", False),
        ("48", "95", False),
        ("481", "148", False),
    ],
)
def test_one_typing_error_is_a_digit_wrong_missing_added_or_two_exchanged(a, b, one):
    assert is_one_typing_error(a, b) is one

"""Bad input ends with its exit status and one message per fault, and nothing is written.

The message names file, row or key, value and remedy. The number before a case is that of the list
of bad inputs and faults the project answers to; the last test says where each of them is tested.
A case that is refused goes through `run` and `check`, which answer alike; one that is read or
noted goes through `check`.
"""

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from reanalysis.cli import main

GOOD = "study,r,n\nLee,.2,30\nKim,.3,40\nCho,.1,50\n"
SPEC = '[data]\npath = "t.csv"\n'
EFFECTS = "z,vi\n.1,.01\n.2,.02\n.3,.03\n"
Files = dict[str, bytes]


def table(text: str | bytes) -> Files:
    return {"t.csv": text.encode() if isinstance(text, str) else text}


def row(text: str) -> Files:
    """Return the good table with one more row, in line 5."""
    return table(GOOD + text + "\n")


def spec(text: str, data: str | bytes = GOOD) -> Files:
    return {"s.toml": text.encode(), **table(data)}


def model(text: str, data: str = GOOD) -> Files:
    return spec(f'{SPEC}[[model]]\nname = "m"\n{text}\n', data)


def moderated(moderators: str, header: str, *rows: str) -> Files:
    return model(f"moderators = {moderators}", "\n".join([f"r,n,{header}", *rows]) + "\n")


def source(files: Files) -> str:
    return "s.toml" if "s.toml" in files else next(iter(files))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(project: Path, files: Files) -> str:
    for name, content in files.items():
        (project / name).write_bytes(content)
    return source(files)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def tree(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.lstat().st_size for p in folder.rglob("*")}


def refuse(project: Path, name: str, *options: str, status: int = 2) -> list[str]:
    """Run `name`, which must be refused without a trace; return the faults."""
    before = tree(project)
    result = invoke("run", name, "--engine", "reml", *options)
    assert_refused(result, status)
    faults = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    if not options:
        checked = invoke("check", name)
        assert_refused(checked, status)
        assert faults == checked.stderr.splitlines()
    assert tree(project) == before
    return [line.removeprefix("error: ") for line in faults]


def assert_refused(result: Result, status: int) -> None:
    assert result.exit_code == status, (result.output, result.exception)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def one(faults: list[str], *words: str) -> None:
    assert len(faults) == 1, faults
    assert all(word in faults[0] for word in words), faults


ROY = "t.csv:5 ('Roy')"
EMPTY = 'fill it in, or set missing = "drop"'
REFUSED: dict[str, tuple[Files, tuple[str, ...]]] = {
    # Values
    "01_r_above_1": (row("Roy,1.2,30"), (ROY, "r is 1.2", "between -1 and 1", "look it up")),
    "01_r_below_minus_1": (row("Roy,-1.01,30"), (ROY, "r is -1.01", "between -1 and 1")),
    "02_r_of_1": (row("Roy,1,30"), (ROY, "r is 1;", "1 has no Fisher z", "leave the row out")),
    "02_r_of_minus_1": (row("Roy,-1,30"), (ROY, "r is -1;", "-1 has no Fisher z")),
    "03_n_of_3": (row("Roy,.2,3"), (ROY, "n is 3;", "above 3", "look it up")),
    "04_n_fractional": (row("Roy,.2,46.7"), (ROY, "n is 46.7", "whole number")),
    "05_n_negative": (row("Roy,.2,-20"), (ROY, "n is -20", "above 3")),
    "05_n_zero": (row("Roy,.2,0"), (ROY, "n is 0", "above 3")),
    "05_n_negative_beside_yi": (
        spec(
            SPEC + 'measure = "ZCOR"\n[data.columns]\nyi = "z"\nvi = "vi"\nni = "n"\n',
            "z,vi,n\n.1,.1,30\n.2,.1,-4\n",
        ),
        ("t.csv:3", "n is -4", "positive", "leave the cell empty"),
    ),
    "06_empty_effect": (row("Roy,,30"), (ROY, "'r' is empty", EMPTY)),
    "06_effect_na": (row("Roy,NA,30"), (ROY, "'r' is empty", EMPTY)),
    "06_effect_nan": (row("Roy,nan,30"), (ROY, "'nan'", "leave the cell empty")),
    "06_empty_n": (row("Roy,.2,"), (ROY, "'n' is empty", EMPTY)),
    "07_infinite": (row("Roy,inf,30"), (ROY, "'r'", "'inf'", "not a number", "write digits")),
    "07_too_large_for_a_float": (row("Roy,1e400,30"), (ROY, "'1e400'", "too large")),
    "07_n_beyond_any_sample": (row("Roy,.2,1e300"), (ROY, "n is 1e+300", "no sample")),
    "08_variance_zero": (
        table(EFFECTS + ".3,0\n"),
        ("t.csv:5", "vi is 0", "variances must be positive", "look it up"),
    ),
    "08_standard_error_zero": (
        table(EFFECTS.replace("vi", "sei") + ".3,0\n"),
        ("t.csv:5", "sei is 0", "standard errors must be positive"),
    ),
    "08_variance_too_small_to_compute_with": (
        table(EFFECTS + ".3,1e-320\n"),
        ("t.csv:5", "vi is", "between 1e-30 and 1e+30", "check the cell"),
    ),
    "09_variance_negative": (
        table(EFFECTS + ".3,-.1\n"),
        ("t.csv:5", "vi is -0.1", "must be positive"),
    ),
    "12_effect_beyond_every_correlation": (
        table("z,vi\n1.9e7,.2\n.2,.2\n"),
        ("t.csv:2", "1.9e+07", "Check the column"),
    ),
    "12_correlations_times_1e8": (row("Roy,1.9e7,30"), (ROY, "r is 1.9e+07", "column holds")),
    "13_r_as_percent": (row("Roy,23,30"), (ROY, "r is 23", "write 0.23")),
    "13_r_with_percent_sign": (row("Roy,23%,30"), (ROY, "'23%'", "0.23")),
    "14_decimal_comma": (
        row('Roy,"0,2",30'),
        (ROY, "'0,2'", "decimal point", 'decimal = ","'),
    ),
    "14_thousands": (row('Roy,.2,"1,167"'), (ROY, "'1,167'", "thousands")),
    "14_full_width_digits": (row("Roy,.2,\uff13\uff10"), (ROY, "'\uff13\uff10'", "write digits")),
    "15_star": (row("Roy,.20*,30"), (ROY, "'r'", "'.20*'", "write digits")),
    "15_not_significant": (row("Roy,n.s.,30"), (ROY, "'n.s.'", "needs a decision")),
    "15_below": (row("Roy,<.01,30"), (ROY, "'<.01'", "write digits")),
    "15_formula": (row("Roy,r=.2,30"), (ROY, "'r=.2'", "write digits")),
    "15_letter": (row("Roy,.2,12a"), (ROY, "'n'", "'12a'", "write digits")),
    # Structure
    "18_missing_column": (
        spec(SPEC + '[data.columns]\nri = "r"\nni = "N"\n'),
        ("t.csv", "no column 'N'", "Did you mean 'n'?", "Columns: study, r, n"),
    ),
    "18_no_effect_sizes": (
        table("a,b\n1,2\n3,4\n"),
        ("no effect sizes", "(ri, ni)", "Columns: a, b"),
    ),
    "18_measure_not_told_by_the_names": (
        table("yi,vi\n.1,.2\n.2,.2\n"),
        ("measure of 'yi'", "set measure", "ZCOR"),
    ),
    "18_measure_without_default_priors": (
        table("g,vi\n.1,.2\n.2,.2\n"),
        ("SMD has no default priors", "mu = {", "tau = {"),
    ),
    "19_duplicate_header": (table("r,r\n.2,3\n"), ("t.csv:1", "two columns", "rename one")),
    "20_extra_field": (row("Roy,.2,30,9"), ("t.csv:5", "4 fields", "too many", "quote")),
    "21_missing_field": (row("Roy,.2"), ("t.csv:5", "2 fields", "too few")),
    "22_duplicate_id": (
        table("id,r,n\na,.2,30\nb,.1,40\na,.3,40\n"),
        ("t.csv:4", "id 'a'", "already in line 2", "needs its own"),
    ),
    "22_duplicate_id_across_samples": (
        table("sample,id,r,n\nS,a,.2,30\nS,b,.1,40\nT,a,.3,40\n"),
        ("t.csv:4 ('T')", "id 'a'", "already in line 2"),
    ),
    "24_sample_under_two_studies": (
        table("study,sample,r,n\nLee,A,.2,30\nKim,A,.3,40\n"),
        ("t.csv:3 ('Kim')", "sample 'A'", "'Lee' before", "own names"),
    ),
    "27_no_rows": (table("study,r,n\n"), ("no rows", "add one row per effect")),
    "27_empty_file": (table(""), ("t.csv", "empty", "header line")),
    "28_one_row": (
        table("r,n\n.2,30\n"),
        # atanh(.2) = 0.2027, and 1.96 / sqrt(27) on either side of it
        ("one usable row", "at least two", "0.203", "-0.174 to 0.58"),
    ),
    "32_constant_moderator": (
        moderated('["year"]', "year", ".1,30,1", ".2,40,1", ".3,50,1"),
        ("s.toml", "model 'm'", "'year' is 1 in every row", "remove it"),
    ),
    "33_every_sample_its_own_level": (
        moderated('["g"]', "g", ".1,30,a", ".2,40,b", ".3,50,c"),
        ("'g' has 3 levels in 3 samples", "merge levels"),
    ),
    "35_collinear_moderators": (
        moderated('["g", "h"]', "g,h", ".1,30,1,2", ".2,40,2,4", ".3,50,3,6", ".1,20,4,8"),
        ("model 'm'", "collinear", "beta[g], beta[h]", "leave one out"),
    ),
    "35_more_coefficients_than_rows": (
        moderated('["a", "b", "c"]', "a,b,c", ".1,30,1,7,2", ".2,40,2,1,9", ".3,50,4,4,4"),
        ("model 'm'", "4 coefficients for 3 rows", "leave out moderators"),
    ),
    "36_numeric_but_for_one_cell": (
        moderated('["year"]', "year", *(f".{i},30,{i}" for i in range(1, 8)), ".2,40,ca 8"),
        ("'year' is numeric but for some cells", "t.csv:9", "'ca 8'"),
    ),
    "36_two_moderators_of_the_heterogeneity": (
        model('scale_moderator = ["a", "b"]', "r,n,a,b\n.1,30,1,2\n.2,40,2,5\n.3,50,4,3\n"),
        ("'scale_moderator'", "takes one column", "below 40 samples", "a model for each"),
    ),
    "38_unknown_moderator": (
        moderated('["yeer"]', "year", ".1,30,1", ".2,40,2", ".3,50,4"),
        ("no column 'yeer'", "Did you mean 'year'?"),
    ),
    # Files
    "40_utf16": (table(GOOD.encode("utf-16")), ("t.csv", "UTF-16", "iconv", 'encoding = "utf-16"')),
    "40_latin1": (
        table("study,r,n\nMüller,.2,30\n".encode("latin-1")),
        ("t.csv:2", "byte 11", "not UTF-8", "iconv", "set encoding"),
    ),
    "40_stated_encoding_is_wrong": (
        spec(SPEC + 'encoding = "utf-16"\n'),
        ("t.csv", "not utf-16 text", "'encoding' under [data]"),
    ),
    "41_two_separators": (
        table("a,r;n\n1,2;3\n"),
        ("comma and semicolon both separate", "quote the cells"),
    ),
    "43_nul": (row("L\0ee,.2,30"), ("t.csv:5", "NUL", "save the file as CSV UTF-8")),
    "43_control_character": (
        row("L\x1b[31mee,.2,30"),
        ("t.csv:5", "'study'", "control character", "retype"),
    ),
    "45_spreadsheet_by_its_ending": (
        {"t.xlsx": b"PK\x03\x04"},
        ("t.xlsx", "save the sheet as CSV"),
    ),
    "45_spreadsheet_by_its_content": (table(b"PK\x03\x04rest"), ("spreadsheet", "save the sheet")),
    "46_missing_data": (
        {"s.toml": b'[data]\npath = "absent.csv"\n'},
        ("absent.csv", "no such file", "Check the path"),
    ),
    # Hostile
    "50_model_name_that_leaves_the_folder": (
        spec(f'{SPEC}[[model]]\nname = "../../x"\n'),
        ("s.toml", "'../../x'", "small letters"),
    ),
    "50_model_named_like_a_device": (
        spec(f'{SPEC}[[model]]\nname = "con"\n'),
        ("'con'", "device", "choose another"),
    ),
    "50_data_outside": (
        spec('[data]\npath = "../../../etc/passwd"\n'),
        ("'../../../etc/passwd'", "outside", "--allow-outside"),
    ),
    "50_data_at_an_absolute_path": (
        spec('[data]\npath = "/etc/passwd"\n'),
        ("'/etc/passwd'", "outside", "--allow-outside"),
    ),
    "50_nul_in_a_path": (spec('[data]\npath = "t\\u0000.csv"\n'), ("'path'", "NUL character")),
    "51_unknown_key": (
        spec(SPEC + 'measur = "ZCOR"\n'),
        ("s.toml", "[data]", "'measur'", "did you mean 'measure'?"),
    ),
    "51_key_twice": (
        spec(SPEC + 'path = "t.csv"\n'),
        ("s.toml", "line 3", "there twice", "delete one"),
    ),
    "51_table_twice": (spec(SPEC + SPEC), ("s.toml", "line 3", "there twice", "delete one")),
    "51_not_toml": (spec("[data\n"), ("s.toml", "not valid TOML", "line 1")),
    "51_nested_brackets": (
        spec("x = " + "[" * 5000 + "]" * 5000),
        ("s.toml", "nested too deeply"),
    ),
    "51_number_of_5000_digits": (
        spec("seed = " + "1" * 5000),
        ("s.toml", "thousands of digits", "correct it"),
    ),
    "51_spec_too_large": (spec(SPEC + "#" * 1_000_000), ("s.toml", "bytes", "at most 1,000,000")),
    "51_wrong_type": (spec("seed = 1.5\n" + SPEC), ("'seed' is 1.5", "write a whole number")),
    "51_prior_scale_nan": (
        model('[model.priors]\nmu = { family = "normal", sigma = nan }'),
        ("'mu'", "'sigma' must be finite", "nan"),
    ),
    "51_misspelt_prior": (
        model('[model.priors]\ntau_betwen = { family = "half_normal", sigma = 0.3 }'),
        ("model 'm'", "'tau_betwen'", "'tau_between'", "Rename or delete"),
    ),
    "51_misspelt_family": (
        model('[model.priors]\nmu = { family = "norml", sigma = 0.3 }'),
        ("s.toml", "[[model]] 'm'", "'norml'", "Did you mean 'normal'?"),
    ),
    "51_prior_that_the_model_does_not_have": (
        model('[model.priors]\ntau_within = { family = "half_normal", sigma = 0.3 }'),
        ("model 'm'", "no tau_within", "delete the entry"),
    ),
    "51_prior_of_another_mechanism": (
        model('[model.priors]\npet = { family = "half_cauchy", sigma = 1 }'),
        ("'pet'", "does not have", "Rename or delete"),
    ),
    "51_prior_that_allows_a_negative_tau": (
        model('[model.priors]\ntau = { family = "normal", sigma = 1 }'),
        ("'tau' cannot be negative", "half_normal"),
    ),
    "51_three_levels_of_two": (model("levels = 3"), ("'m'", "levels = 3", "set levels = 2")),
    "51_filter_of_no_column": (
        model('exclude = { studdy = "Lee" }'),
        ("'studdy'", "Did you mean 'study'?"),
    ),
    "51_filter_of_no_row": (model('exclude = { study = "Leo" }'), ("exclude.study", "'Leo'")),
    "51_steps_out_of_order": (model("steps = [0.5, 0.025]"), ("'steps'", "increase")),
    "51_step_outside": (model("steps = [0.025, 1.5]"), ("'steps'", "between 0 and 1", "1.5")),
    "52_code_in_a_formula": (
        model("""moderators = "1 + {__import__('os').system('touch PWNED')}\""""),
        ("is not understood in the formula", "column names"),
    ),
    # Statistical edges that are decided before sampling
    "68_flat_prior": (
        model('[model.priors]\nmu = { family = "flat" }'),
        ("'mu'", "'flat'", "Families: normal"),
    ),
    "68_improper_prior": (
        model('[model.priors]\nmu = { family = "uniform", lower = -inf, upper = inf }'),
        ("'mu'", "'lower' must be finite"),
    ),
    "70_pet_of_equal_standard_errors": (
        model('mechanism = "pet"', "r,n\n.2,30\n.3,30\n.1,30\n"),
        ("model 'm'", '"pet"', "all have the same, 0.192", "no information", "another mechanism"),
    ),
    "70_thin_without_n_measured": (
        model('mechanism = "thin"'),
        ("mechanism 'thin' needs the column n_measured", "Name it under [data.columns]"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_line_with_place_value_and_remedy(
    case: str, project: Path
) -> None:
    files, words = REFUSED[case]
    one(refuse(project, write(project, files)), *words)


NOTED: dict[str, tuple[Files, tuple[str, ...]]] = {
    "06_empty_effect_dropped_when_asked": (
        spec(SPEC + 'missing = "drop"\n', GOOD + "Roy,,30\n"),
        ("k = 3 effect", "left out for want of an effect size: line 5 (Roy)"),
    ),
    "10_standard_errors_named_variances": (
        table("z,vi,n\n.1,.14,50\n.2,.16,40\n.3,.19,30\n.3,.12,70\n"),
        ("'vi' and 'n'", "reanalysis audit"),
    ),
    "11_one_variance_of_1e_12": (
        table(EFFECTS + ".3,1e-12\n"),
        ("line 4", "3e+10 times the smallest", "line 5, 1e-12", "typing errors"),
    ),
    "14_spaces": (row("Roy, .2 ,30"), ("spaces around cells", "k = 4")),
    "16_p_contradicts_r": (
        table("study,r,n,p\nLee,.2,30,.001\nKim,.3,40,.06\nCho,.1,50,.49\n"),
        ("contradict", "line 2 (Lee)", "reanalysis audit"),
    ),
    "17_interval_without_its_estimate": (
        table("study,r,n,lower,upper\nLee,.2,30,-.17,.52\nKim,.3,40,.4,.6\nCho,.1,50,-.18,.37\n"),
        ("contradict", "line 3 (Kim)", "reanalysis audit"),
    ),
    "17_lower_above_upper": (
        table(
            "study,r,n,lower,upper\nLee,.2,30,.52,-.17\nKim,.3,40,-.01,.56\nCho,.1,50,-.18,.37\n"
        ),
        ("contradict", "line 2 (Lee)", "reanalysis audit"),
    ),
    "23_row_entered_twice": (
        table("study,sample,outcome,r,n\nLee,A,pain,.2,30\nLee,A,pain,.2,30\nKim,B,pain,.3,40\n"),
        ("contradict", "line 3 (Lee), like line 2", "reanalysis audit"),
    ),
    "25_samples_that_look_alike": (
        table("sample,r,n\nMüller,.2,30\nMu\u0308ller,.3,40\nmüller,.1,50\n"),
        ("m = 3 samples", "differ only in case, spaces or the form", "taken as two"),
    ),
    "28_one_row_of_several_is_left": (
        table("sample,r,n\nA,.2,30\nA,.3,30\n"),
        ("k = 2", "one sample only"),
    ),
    "29_three_samples": (table(GOOD), ("3 samples only", "rests on the prior of tau")),
    "30_every_sample_has_one_effect": (table(GOOD), ("2 levels",)),
    "30_one_sample": (
        table("sample,r,n\nA,.2,30\nA,.3,30\nA,.1,30\n"),
        ("m = 1 samples", "one sample only"),
    ),
    "33_level_with_one_sample": (
        moderated('["g"]', "g", ".1,30,a", ".2,40,a", ".3,50,b"),
        ("Only one sample has 'g' = b (3)", "the prior does the work"),
    ),
    "34_moderator_missing_in_a_row": (
        moderated('["g"]', "g", ".1,30,a", ".2,40,a", ".3,50,b", ".3,50,b", ".3,50,"),
        ("m: m (k = 4", "'g' is missing in 1 of 5 rows", "leaves out"),
    ),
    "37_levels_that_differ_by_case": (
        moderated('["g"]', "g", ".1,30,A", ".2,40,a", ".3,50,A", ".3,50,a", ".2,30,b", ".1,20,b"),
        ("'A' and 'a' of 'g' differ only in case", "taken as two"),
    ),
    "38_moderators_named_like_dimensions": (
        moderated(
            '["sample", "chain", "mu"]',
            "sample,chain,mu",
            *(f".{i},3{i},{i},{i * i},{i % 3}" for i in range(1, 9)),
        ),
        ("beta[sample]", "beta[chain]", "beta[mu]", "k = 8"),
    ),
    "39_byte_order_mark": (table("\ufeff" + GOOD), ("k = 3", "study = study")),
    "40_latin1_when_stated": (
        spec(SPEC + 'encoding = "latin-1"\n', GOOD.replace("Lee", "Müller").encode("latin-1")),
        ("k = 3",),
    ),
    "40_utf16_when_stated": (
        spec(SPEC + 'encoding = "utf-16"\n', GOOD.encode("utf-16")),
        ("k = 3", "study = study"),
    ),
    "41_semicolons": (table(GOOD.replace(",", ";")), ("k = 3", "semicolon-separated")),
    "41_tabs": (table(GOOD.replace(",", "\t")), ("k = 3", "tab-separated")),
    "42_cr": (table(GOOD.replace("\n", "\r")), ("k = 3",)),
    "42_crlf": (table(GOOD.replace("\n", "\r\n")), ("k = 3",)),
    "42_quoted_line_break": (table(GOOD.replace("Lee", '"Lee\n2019"')), ("k = 3",)),
    "43_direction_marks_and_characters_without_width": (
        table(GOOD.replace("Lee", "L\u202ee\u200be")),
        ("k = 3", "characters without width were removed"),
    ),
    "14_minus_sign_and_no_zero": (row("Roy,\u2212.15,30"), ("k = 4",)),
    "14_decimal_commas_when_stated": (
        spec(SPEC + 'decimal = ","\n', "study;r;n\nLee;0,2;30\nKim;0,3;40\n"),
        ("k = 2",),
    ),
    "21_lines_without_anything": (table(GOOD + ",,\n\n"), ("k = 3",)),
    "63_no_significant_effect": (model('mechanism = "joint"'), ("mechanism joint", "k = 3")),
    "64_all_significant": (
        model('mechanism = "joint"', "r,n\n.6,99\n.7,99\n.5,90\n"),
        ("mechanism joint", "k = 3"),
    ),
    "66_all_effects_equal": (table("r,n\n.2,30\n.2,40\n.2,50\n"), ("k = 3",)),
}


@pytest.mark.parametrize("case", NOTED)
def test_odd_input_is_read_and_what_is_odd_is_said(case: str, project: Path) -> None:
    files, words = NOTED[case]
    result = invoke("check", write(project, files))
    assert result.exit_code == 0, result.stderr
    assert all(word in result.stdout for word in words), result.stdout


def test_26_sample_sizes_that_differ_within_a_sample_are_noted_by_the_audit(project: Path) -> None:
    name = write(project, table("sample,r,n\nA,.2,30\nA,.3,40\nB,.1,50\n"))
    result = invoke("audit", name)
    assert result.exit_code == 0
    assert "n = 30, 40 in 2 effects of one sample" in result.stdout


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_17_the_audit_quotes_an_interval_that_cannot_be(project: Path, options: list[str]) -> None:
    result = invoke("audit", write(project, NOTED["17_lower_above_upper"][0]), *options)
    assert result.exit_code == 0
    assert "lower = .52 and upper = -.17" in result.stdout


def test_30_the_only_sample_is_not_left_out() -> None:
    from reanalysis.dataset import Dataset
    from reanalysis.results import EngineError
    from reanalysis.sensitivity import leave_samples_out
    from reanalysis.spec import ModelSpec

    frame = pd.DataFrame({"sample": ["A", "A", "A"], "r": [0.2, 0.3, 0.1], "n": [30, 30, 30]})
    data = Dataset.from_frame(frame, ri="r", ni="n", sample="sample")
    with pytest.raises(EngineError, match="nothing is left"):
        leave_samples_out(data, ModelSpec(name="m"))


def test_31_a_large_table_is_checked_in_seconds_with_a_word_on_time(project: Path) -> None:
    rows = "".join(f".{i % 90 + 1:02},{i % 80 + 20}\n" for i in range(10_001))
    result = invoke("check", write(project, table("r,n\n" + rows)))
    assert result.exit_code == 0, result.stderr
    assert "10,001 effect sizes; NUTS takes long" in result.stdout


def test_44_studies_called_na_none_007_and_1e3_keep_their_names(project: Path) -> None:
    from reanalysis.dataset import load_dataset

    names = ["NA", "None", "007", "1e3"]
    text = "study,r,n\n" + "".join(f"{name},.{i}1,30\n" for i, name in enumerate(names))
    write(project, table(text))
    data = load_dataset("t.csv")
    assert data.effects["label"].tolist() == data.table["study"].tolist() == names


def test_69_a_bayes_factor_far_beyond_every_draw_is_that_of_a_plain_grid() -> None:
    from reanalysis.dataset import Dataset
    from reanalysis.design import make_design
    from reanalysis.exact import fit_exact
    from reanalysis.spec import ModelSpec

    frame = pd.DataFrame({"r": [0.78, 0.80, 0.82, 0.79, 0.81], "n": [500] * 5})
    design = make_design(Dataset.from_frame(frame, ri="r", ni="n"), ModelSpec(name="m"))
    found = fit_exact(design, ModelSpec(name="m")).bayes_factors["mu"]
    # mu ~ N(0, 0.5), tau ~ half-normal(0.25): the defaults for correlations
    y, v = np.arctanh(frame["r"].to_numpy()), 1 / (frame["n"].to_numpy() - 3)
    mu, tau = np.linspace(0.6, 1.6, 1001)[:, None, None], np.linspace(0, 2.5, 1001)[:, None]
    total = v + tau**2
    prior = np.exp(-0.5 * (tau[:, 0] / 0.25) ** 2)

    def likelihood(mean: np.ndarray) -> np.ndarray:
        return np.exp(-0.5 * (np.log(total) + (y - mean) ** 2 / total).sum(axis=-1))

    null = np.trapezoid(prior * likelihood(np.zeros((1, 1))), dx=0.0025)
    weight = np.exp(-0.5 * (mu[:, 0, 0] / 0.5) ** 2) / (0.5 * np.sqrt(2 * np.pi))
    inner = np.trapezoid(prior * likelihood(mu), dx=0.0025)
    alternative = np.trapezoid(weight * inner, dx=0.001)
    assert found == pytest.approx(np.log(alternative / null), abs=1e-3)
    assert found > 14


def test_every_problem_of_a_table_at_once_each_with_row_and_label(project: Path) -> None:
    faults = refuse(project, write(project, table("study,r,n\nLee,1.2,3\nKim,,40\nCho,x,50\n")))
    assert [fault.split(": ")[0] for fault in sorted(faults)] == [
        "t.csv:2 ('Lee')",
        "t.csv:2 ('Lee')",
        "t.csv:3 ('Kim')",
        "t.csv:4 ('Cho')",
    ]


def test_faults_of_all_models_come_at_once(project: Path) -> None:
    text = SPEC + "".join(
        f'[[model]]\nname = "m{i}"\n[model.priors]\nx{i} = {{ family = "normal", sigma = 1 }}\n'
        for i in range(3)
    )
    assert len(refuse(project, write(project, spec(text)))) == 3


def test_faults_of_all_keys_of_a_spec_come_at_once(project: Path) -> None:
    text = f'title = 3\nseed = "a"\n{SPEC}[[model]]\nname = "m"\nlevels = "x"\nmoderators = 3\n'
    faults = refuse(project, write(project, spec(text)))
    assert [
        next(k for k in ("title", "seed", "levels", "moderators") if k in f) for f in faults
    ] == [
        "title",
        "seed",
        "levels",
        "moderators",
    ]


@pytest.mark.parametrize(
    ("files", "status"),
    [(row("Roy,1.2,3"), 2), (spec(SPEC + "x = 1\n"), 2), ({}, 4)],
    ids=["table", "spec", "file"],
)
def test_machines_get_the_same_faults_as_people(project: Path, files: Files, status: int) -> None:
    name = write(project, files) if files else "t.csv"
    if not files:
        (project / "t.csv").symlink_to("/proc/self/mem")
    result = invoke("check", name, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == status
    assert found["ok"] is False
    assert [f"error: {line}" for line in found["problems"]] == result.stderr.splitlines()


# Files that are not there or cannot be read or written


def test_46_missing_spec(project: Path) -> None:
    one(refuse(project, "absent.toml"), "absent.toml", "no such file", "At hand:")


def test_46_misspelt_name_of_a_spec(project: Path) -> None:
    one(refuse(project, "kaiser2012"), "Did you mean 'kaiser2021'?")


def test_46_folder_instead_of_a_spec(project: Path) -> None:
    (project / "d").mkdir()
    one(refuse(project, "d"), "without datapackage.json", "(.toml)", "(.csv)")


def test_46_folder_instead_of_a_table(project: Path) -> None:
    (project / "d").mkdir()
    name = write(project, {"s.toml": b'[data]\npath = "d"\n'})
    one(refuse(project, name), "d: no datapackage.json", "name the CSV file")


@pytest.mark.parametrize("command", ["run", "check", "audit"])
def test_46_file_that_cannot_be_read(project: Path, command: str) -> None:
    (project / "t.csv").symlink_to("/proc/self/mem")  # a regular file; reading it always fails
    result = invoke(command, "t.csv")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "Input/output error" in result.stderr


@pytest.mark.parametrize("name", ["t.csv", "s.toml"])
def test_46_pipe_instead_of_a_file_is_not_waited_for(project: Path, name: str) -> None:
    os.mkfifo(project / name)
    one(refuse(project, name, status=4), name, "not a regular file", "name a")


def test_46_file_of_more_than_50_mb(project: Path) -> None:
    with (project / "t.csv").open("wb") as file:
        file.truncate(50_000_001)  # a hole: takes no room
    one(refuse(project, "t.csv", status=4), "t.csv", "50,000,001 bytes", "not read")


@pytest.mark.parametrize("out", ["t.csv", "t.csv/sub", "/proc/reports"])
def test_53_output_folder_that_cannot_be_written(
    project: Path, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write(project, table(GOOD))

    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed before the output folder was checked")

    monkeypatch.setattr("reanalysis.analysis.fit_reml", never)
    faults = refuse(project, name, "--out", out, status=4)
    one(faults, out, "cannot be written", "--out")


def test_unknown_model(project: Path) -> None:
    name = write(project, table(GOOD))
    one(refuse(project, name, "--model", "x"), "no model 'x'", "two_level")


def test_unknown_engine_and_unknown_option_are_usage_errors(project: Path) -> None:
    for arguments in (["run", "t.csv", "--engine", "stan"], ["run", "t.csv", "--fast"], ["rnu"]):
        result = invoke(*arguments)
        assert result.exit_code == 2
        assert "Usage" in result.stderr
    assert tree(project) == {}


# The other cases of the list: faults of the machine, and what a run finds out
ELSEWHERE = {
    54: "test_faults.py::test_a_full_disk_ends_with_4_and_leaves_no_part",
    55: "test_faults.py::test_a_signal_at_any_step_is_one_line_and_leaves_the_run_before",
    56: "test_faults.py::test_a_kill_while_files_are_replaced_leaves_whole_files_and_the_next_run"
    "_repairs",
    57: "test_output.py::test_a_damaged_fit_is_named_and_fitted_again",
    58: "test_output.py::test_a_second_run_in_the_same_folder_is_refused_and_told_the_owner",
    59: "test_output.py::test_a_fit_by_other_code_is_not_used",
    60: "test_cli.py::test_output_survives_a_terminal_that_knows_only_ascii",
    61: "test_gate.py::test_a_funnel_that_is_not_reparameterised_fails_the_gate",
    62: "frequentist/test_frequentist_likelihood.py::test_a_boundary_is_exactly_zero",
    65: "test_selection_exact.py::test_a_table_without_significant_effects_runs_and_says_so",
    67: "test_predictive.py::test_data_from_the_model_are_reproduced_and_an_outlier_is_not",
}


def test_each_of_the_70_cases_has_a_test_of_its_number_or_is_named_here() -> None:
    here = Path(__file__).parent
    text = "\n".join((here / f).read_text() for f in ("test_bad_input.py", "test_hostile_input.py"))
    numbered = {int(number) for number in re.findall(r"(?:\"|def test_)(\d\d)_[a-z]", text)}
    assert sorted(numbered | set(ELSEWHERE)) == list(range(1, 71))
    for place in ELSEWHERE.values():
        file, _, name = place.partition("::")
        assert f"def {name}(" in (here / file).read_text(), place

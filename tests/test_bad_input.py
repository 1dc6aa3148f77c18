"""Bad input ends with its exit status and one message per fault, and nothing is written.

The message names file, row or key, value and remedy. Each case goes through `run`; `check` gives
the same answer.
"""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reanalysis.cli import main

GOOD = "study,r,n\nLee,.2,30\nKim,.3,40\nCho,.1,50\n"
SPEC = '[data]\npath = "t.csv"\n'


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refuse(project: Path, source: str, *options: str) -> list[str]:
    """Run `source`, which must be refused as bad input without a trace; return the faults."""
    before = tree(project)
    result = invoke("run", source, "--engine", "reml", *options)
    assert_refused(result)
    if not options:
        checked = invoke("check", source)
        assert_refused(checked)
        faults = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert faults == checked.stderr.splitlines()
    assert tree(project) == before
    return [
        line.removeprefix("error: ")
        for line in result.stderr.splitlines()
        if line.startswith("error: ")
    ]


def assert_refused(result: Result) -> None:
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def table(project: Path, text: str | bytes) -> str:
    path = project / "t.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return "t.csv"


def spec(project: Path, text: str, data: str = GOOD) -> str:
    table(project, data)
    (project / "s.toml").write_text(text, encoding="utf-8")
    return "s.toml"


def model(project: Path, text: str, data: str = GOOD) -> str:
    return spec(project, f'{SPEC}[[model]]\nname = "m"\n{text}\n', data)


def one(faults: list[str], *words: str) -> None:
    assert len(faults) == 1, faults
    assert all(word in faults[0] for word in words), faults


# Files


def test_missing_spec(project: Path) -> None:
    one(refuse(project, "absent.toml"), "absent.toml", "no such file", "At hand:")


def test_misspelt_name_of_a_spec(project: Path) -> None:
    one(refuse(project, "kaiser2012"), "Did you mean 'kaiser2021'?")


def test_missing_data_file(project: Path) -> None:
    (project / "s.toml").write_text('[data]\npath = "absent.csv"\n')
    one(refuse(project, "s.toml"), "absent.csv", "no such file", "Check the path")


def test_folder_instead_of_a_spec(project: Path) -> None:
    (project / "d").mkdir()
    one(refuse(project, "d"), "without datapackage.json", "(.toml)", "(.csv)")


def test_spreadsheet(project: Path) -> None:
    (project / "t.xlsx").write_bytes(b"PK\x03\x04")
    one(refuse(project, "t.xlsx"), "t.xlsx", "save the sheet as CSV")


def test_latin1_table(project: Path) -> None:
    one(
        refuse(project, table(project, "study,r,n\nMüller,.2,30\n".encode("latin-1"))),
        "t.csv:2",
        "not UTF-8",
        "iconv",
    )


def test_utf16_table(project: Path) -> None:
    one(refuse(project, table(project, GOOD.encode("utf-16"))), "UTF-16", "iconv")


def test_nul_character(project: Path) -> None:
    one(refuse(project, table(project, "study,r,n\nL\0ee,.2,30\n")), "t.csv:2", "NUL")


def test_empty_file(project: Path) -> None:
    one(refuse(project, table(project, "")), "t.csv", "empty", "header line")


# Structure of the table


def test_empty_table(project: Path) -> None:
    one(refuse(project, table(project, "study,r,n\n")), "no rows", "add one row per effect")


def test_one_row(project: Path) -> None:
    one(refuse(project, table(project, "r,n\n.2,30\n")), "one usable row", "at least two")


def test_missing_column(project: Path) -> None:
    source = spec(project, SPEC + '[data.columns]\nri = "r"\nni = "N"\n')
    one(refuse(project, source), "t.csv", "no column 'N'", "Did you mean 'n'?", "Columns: study")


def test_no_effect_sizes_recognised(project: Path) -> None:
    one(
        refuse(project, table(project, "a,b\n1,2\n3,4\n")),
        "no effect sizes",
        "(ri, ni)",
        "Columns: a, b",
    )


def test_duplicate_header(project: Path) -> None:
    one(refuse(project, table(project, "r,r\n.2,3\n")), "t.csv:1", "two columns", "rename one")


def test_row_with_an_extra_field(project: Path) -> None:
    one(refuse(project, table(project, GOOD + "Roy,.2,30,9\n")), "t.csv:5", "4 fields", "too many")


def test_row_with_a_missing_field(project: Path) -> None:
    one(refuse(project, table(project, GOOD + "Roy,.2\n")), "t.csv:5", "2 fields", "too few")


def test_duplicated_row_id(project: Path) -> None:
    one(
        refuse(project, table(project, "id,r,n\na,.2,30\nb,.1,40\na,.3,40\n")),
        "t.csv:4",
        "id 'a'",
        "already in line 2",
    )


def test_duplicated_row_id_across_samples(project: Path) -> None:
    text = "sample,id,r,n\nS,a,.2,30\nS,b,.1,40\nT,a,.3,40\n"
    one(refuse(project, table(project, text)), "t.csv:4", "id 'a'", "already in line 2")


def test_sample_under_two_studies(project: Path) -> None:
    text = "study,sample,r,n\nLee,A,.2,30\nKim,A,.3,40\n"
    one(refuse(project, table(project, text)), "t.csv:3", "sample 'A'", "'Kim'", "own names")


# Values


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("1.2", ["r is 1.2", "between -1 and 1"]),
        ("-1.01", ["r is -1.01", "between -1 and 1"]),
        ("1", ["r is 1", "no Fisher z"]),
        ("-1", ["r is -1", "no Fisher z"]),
        ("23", ["r is 23", "write 0.23"]),
        ("23%", ["'23%'", "0.23"]),
        ("", ["'r' is empty", 'missing = "drop"']),
        ("NA", ["'r' is empty", 'missing = "drop"']),
        ("abc", ["'abc'", "digits"]),
        (".20*", ["'.20*'", "digits"]),
        ("n.s.", ["'n.s.'", "not significant"]),
        ("<.01", ["'<.01'", "digits"]),
        ('"0,2"', ["'0,2'", "decimal point"]),
        ("nan", ["'nan'", "leave the cell empty"]),
        ("inf", ["'inf'", "not a number"]),
        ("1e400", ["'1e400'", "too large"]),
    ],
)
def test_bad_correlation(project: Path, cell: str, words: list[str]) -> None:
    source = table(project, GOOD + f"Roy,{cell},30\n")
    one(refuse(project, source), "t.csv:5", *words)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("3", ["n is 3", "above 3"]),
        ("0", ["n is 0", "above 3"]),
        ("-20", ["n is -20", "above 3"]),
        ("46.7", ["n is 46.7", "whole number"]),
        ("12a", ["'12a'", "digits"]),
        ('"1,167"', ["'1,167'", "thousands"]),
        ("", ["'n' is empty", 'missing = "drop"']),
    ],
)
def test_bad_sample_size(project: Path, cell: str, words: list[str]) -> None:
    source = table(project, GOOD + f"Roy,.2,{cell}\n")
    one(refuse(project, source), "t.csv:5", *words)


@pytest.mark.parametrize("cell", ["0", "-0.1"])
@pytest.mark.parametrize(
    ("column", "word"), [("vi", "sampling variances"), ("sei", "standard errors")]
)
def test_variance_or_standard_error_that_is_not_positive(
    project: Path, column: str, word: str, cell: str
) -> None:
    data = f"z,{column}\n.1,.2\n.2,.2\n.3,{cell}\n"
    one(
        refuse(project, table(project, data)),
        "t.csv:4",
        f"{column} is {cell}",
        f"{word} must be positive",
    )


def test_effect_beyond_every_correlation(project: Path) -> None:
    data = "z,vi\n1.9e7,.2\n.2,.2\n"
    one(refuse(project, table(project, data)), "t.csv:2", "1.9e+07", "Check the column")


def test_measure_that_the_names_do_not_tell(project: Path) -> None:
    data = "yi,vi\n.1,.2\n.2,.2\n"
    one(refuse(project, table(project, data)), "measure of 'yi'", "set measure", "ZCOR")


def test_every_problem_of_a_table_at_once_each_with_row_and_label(project: Path) -> None:
    faults = refuse(project, table(project, "study,r,n\nLee,1.2,3\nKim,,40\nCho,x,50\nRoy,.1,60\n"))
    assert len(faults) == 4
    assert [sum(place in fault for fault in faults) for place in (":2 ('Lee')", ":3 ('Kim')")] == [
        2,
        1,
    ]
    assert any("t.csv:4 ('Cho'): column 'r': 'x'" in fault for fault in faults)


# The spec


def test_unknown_key(project: Path) -> None:
    one(
        refuse(project, spec(project, SPEC + 'measur = "ZCOR"\n')),
        "s.toml",
        "[data]",
        "'measur'",
        "did you mean 'measure'?",
    )


def test_misspelt_prior(project: Path) -> None:
    source = model(project, '[model.priors]\ntau_betwen = { family = "half_normal", sigma = 0.3 }')
    one(refuse(project, source), "model 'm'", "'tau_betwen'", "'tau_between'", "Rename or delete")


def test_misspelt_prior_family(project: Path) -> None:
    source = model(project, '[model.priors]\nmu = { family = "norml", sigma = 0.3 }')
    one(refuse(project, source), "s.toml", "[[model]] 'm'", "'norml'", "Did you mean 'normal'?")


def test_prior_that_does_not_belong_to_the_model(project: Path) -> None:
    source = model(project, '[model.priors]\ntau_within = { family = "half_normal", sigma = 0.3 }')
    one(refuse(project, source), "model 'm'", "no tau_within", "delete the entry")


def test_prior_of_a_mechanism_that_the_model_does_not_have(project: Path) -> None:
    source = model(project, '[model.priors]\npet = { family = "half_cauchy", sigma = 1 }')
    one(refuse(project, source), "'pet'", "does not have", "Rename or delete")


def test_heterogeneity_prior_that_allows_negative_values(project: Path) -> None:
    source = model(project, '[model.priors]\ntau = { family = "normal", sigma = 1 }')
    one(refuse(project, source), "'tau' cannot be negative", "half_normal")


def test_prior_scale_that_is_not_a_number(project: Path) -> None:
    source = model(project, '[model.priors]\nmu = { family = "normal", sigma = nan }')
    one(refuse(project, source), "'mu'", "'sigma' must be finite")


def test_measure_without_default_priors(project: Path) -> None:
    data = "g,vi\n.1,.2\n.2,.2\n"
    one(refuse(project, table(project, data)), "SMD has no default priors", "mu = {", "tau = {")


def test_three_levels_asked_of_a_table_with_two(project: Path) -> None:
    one(refuse(project, model(project, "levels = 3")), "model 'm'", "levels = 3", "set levels = 2")


def test_unknown_column_in_a_filter(project: Path) -> None:
    source = model(project, 'exclude = { studdy = "Lee" }')
    one(refuse(project, source), "'studdy'", "Did you mean 'study'?")


def test_filter_that_finds_nothing(project: Path) -> None:
    source = model(project, 'exclude = { study = "Leo" }')
    one(refuse(project, source), "exclude.study", "'Leo'")


def test_unknown_moderator(project: Path) -> None:
    source = model(project, 'moderators = ["yeer"]', "r,n,year\n.1,30,1\n.2,40,2\n.3,50,4\n")
    one(refuse(project, source), "no column 'yeer'", "Did you mean 'year'?")


def test_constant_moderator(project: Path) -> None:
    source = model(project, 'moderators = ["year"]', "r,n,year\n.1,30,1\n.2,40,1\n.3,50,1\n")
    one(refuse(project, source), "'year' is 1 in every row", "remove it")


def test_moderator_that_is_numeric_but_for_one_cell(project: Path) -> None:
    rows = "".join(f".{i},30,{i}\n" for i in range(1, 8))
    source = model(project, 'moderators = ["year"]', f"r,n,year\n{rows}.2,40,ca 8\n")
    one(refuse(project, source), "'year' is numeric but for some cells", "t.csv:9", "'ca 8'")


def test_code_in_a_formula(project: Path) -> None:
    formula = "1 + {__import__('os').system('touch PWNED')}"
    source = model(project, f'moderators = "{formula}"')
    one(refuse(project, source), "is not understood in the formula", "column names")


def test_steps_out_of_order(project: Path) -> None:
    one(refuse(project, model(project, "steps = [0.5, 0.025]")), "'steps'", "increase")


def test_spec_that_is_not_toml(project: Path) -> None:
    one(refuse(project, spec(project, "[data\n")), "s.toml", "not valid TOML", "line 1")


def test_spec_with_brackets_nested_too_deeply(project: Path) -> None:
    source = spec(project, "x = " + "[" * 5000 + "]" * 5000)
    one(refuse(project, source), "s.toml", "nested too deeply")


def test_spec_with_a_number_of_five_thousand_digits(project: Path) -> None:
    one(refuse(project, spec(project, "seed = " + "1" * 5000)), "s.toml", "not valid TOML")


def test_name_that_leaves_the_output_folder(project: Path) -> None:
    source = spec(project, f'{SPEC}[[model]]\nname = "../../x"\n')
    one(refuse(project, source), "'../../x'", "small letters")


def test_data_outside_the_project(project: Path) -> None:
    source = spec(project, '[data]\npath = "../../../etc/passwd"\n')
    one(refuse(project, source), "'../../../etc/passwd'", "outside", "--allow-outside")


def test_data_at_an_absolute_path(project: Path) -> None:
    source = spec(project, '[data]\npath = "/etc/passwd"\n')
    one(refuse(project, source), "'/etc/passwd'", "outside", "--allow-outside")


def test_data_behind_a_link_that_leaves_the_project(project: Path) -> None:
    home = project / "home"
    home.mkdir()
    table(project, GOOD)
    (home / "t.csv").symlink_to(project / "t.csv")
    (home / "s.toml").write_text(SPEC)
    one(refuse(project, "home/s.toml"), "outside", "--allow-outside")


def test_unknown_model(project: Path) -> None:
    source = table(project, GOOD)
    one(refuse(project, source, "--model", "x"), "no model 'x'", "two_level")


def test_unknown_engine_and_unknown_option_are_usage_errors(project: Path) -> None:
    for arguments in (["run", "t.csv", "--engine", "stan"], ["run", "t.csv", "--fast"], ["rnu"]):
        result = invoke(*arguments)
        assert result.exit_code == 2
        assert "Usage" in result.stderr
    assert tree(project) == set()


def test_faults_of_all_models_come_at_once(project: Path) -> None:
    text = SPEC + "".join(
        f'[[model]]\nname = "m{i}"\n[model.priors]\nx{i} = {{ family = "normal", sigma = 1 }}\n'
        for i in range(3)
    )
    assert len(refuse(project, spec(project, text))) == 3


# Files that cannot be read or written: exit 4


@pytest.mark.parametrize("command", ["run", "check", "audit"])
def test_file_that_cannot_be_read(project: Path, command: str) -> None:
    (project / "t.csv").symlink_to("/proc/self/mem")  # a regular file; reading it always fails
    result = invoke(command, "t.csv")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "Input/output error" in result.stderr


@pytest.mark.parametrize("name", ["t.csv", "s.toml"])
def test_pipe_instead_of_a_file_is_not_waited_for(project: Path, name: str) -> None:
    os.mkfifo(project / name)
    result = invoke("check", name)
    assert result.exit_code == 4
    assert "not a regular file" in result.stderr


@pytest.mark.parametrize("out", ["t.csv", "t.csv/sub", "/proc/reports"])
def test_output_folder_that_cannot_be_written(
    project: Path, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = table(project, GOOD)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed before the output folder was checked")

    monkeypatch.setattr("reanalysis.analysis.fit_reml", never)
    before = tree(project)
    result = invoke("run", source, "--out", out)
    assert result.exit_code == 4
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    one(errors, out, "cannot be written", "--out")
    assert tree(project) == before


# What looks bad but is read


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + GOOD,
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        GOOD.replace("\n", "\r"),
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("Lee", '"Lee\n2019"'),
        GOOD.replace("Lee", "NA"),
        GOOD.replace(".2", "\u2212.2"),
        GOOD.replace("Lee", "<script>alert(1)</script>"),
        GOOD + ",,\n\n",
    ],
    ids=["BOM", ";", "tab", "CR", "CRLF", "line break", "NA", "minus", "HTML", "blank lines"],
)
def test_tables_as_spreadsheets_write_them_are_read(project: Path, text: str) -> None:
    result = invoke("check", table(project, text))
    assert result.exit_code == 0, result.stderr
    assert "k = 3 effect sizes" in result.stdout


def test_decimal_commas_are_read_when_stated(project: Path) -> None:
    data = "study;r;n\nLee;0,2;30\nKim;0,3;40\n"
    source = spec(project, SPEC + 'decimal = ","\n', data)
    assert invoke("check", source).exit_code == 0


def test_data_outside_the_project_are_read_when_allowed(project: Path) -> None:
    (project / "home").mkdir()
    table(project, GOOD)
    (project / "home" / "s.toml").write_text('[data]\npath = "../t.csv"\n')
    assert invoke("check", "home/s.toml").exit_code == 2
    assert invoke("check", "home/s.toml", "--allow-outside").exit_code == 0


def test_text_of_a_table_cannot_command_the_terminal(project: Path) -> None:
    source = spec(project, 'title = "\\u001b[31mred\\u202e"\n' + SPEC)
    result = invoke("check", source)
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout

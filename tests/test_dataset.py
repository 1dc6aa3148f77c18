"""Tables become effect sizes: readings, guesses, data packages, and every fault with its row."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reanalysis.dataset import DataError, Dataset, load_dataset
from reanalysis.roles import guess_roles

ROOT = Path(__file__).parents[1]


def frame(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def faults(path: Path, **settings: object) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(path, **settings)  # type: ignore[arg-type]
    return "\n".join(caught.value.problems)


def write(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def package(folder: Path, text: str, **entries: object) -> Path:
    """Write a data folder of one table; `entries` replace parts of its descriptor."""
    folder.mkdir(exist_ok=True)
    write(folder, text)
    descriptor = {
        "title": "T",
        "resources": [
            {"name": "t", "path": "t.csv", "hash": hashlib.sha256(text.encode()).hexdigest()}
        ],
        "reanalysis": {"measure": "ZCOR", "tables": {"t": {"roles": {"ri": "r", "ni": "n"}}}},
        **entries,
    }
    (folder / "datapackage.json").write_text(json.dumps(descriptor), encoding="utf-8")
    return folder


def test_correlations_become_fishers_z_with_its_variance() -> None:
    data = Dataset.from_frame(frame(r=[0.5, -0.2], n=[28, 103]), ri="r", ni="n")
    assert data.effects["yi"].tolist() == pytest.approx([math.atanh(0.5), math.atanh(-0.2)])
    assert data.effects["vi"].tolist() == pytest.approx([1 / 25, 1 / 100])
    assert data.measure == "ZCOR"
    assert data.m == 2  # without a sample column every row is its own sample


def test_a_standard_error_is_squared_into_a_variance() -> None:
    data = Dataset.from_frame(
        frame(g=[0.5, 0.1], se=[0.2, 0.3]), measure="SMD", yi="g", sei="se", name="t"
    )
    assert data.effects["vi"].tolist() == pytest.approx([0.04, 0.09])


def test_the_bundled_default_reading_of_kaiser_2021_is_table_2() -> None:
    data = load_dataset(ROOT / "data" / "kaiser2021")
    assert (data.resource, data.k, data.m) == ("samples", 25, 25)
    assert data.effects["ni"].sum() == 1171  # the table's own sum; the paper's text has 1167


def test_a_composite_can_be_collapsed_or_spread() -> None:
    data = load_dataset(ROOT / "data" / "kaiser2021")
    collapsed = data.reading(table="effects")
    spread = data.reading(table="effects", estimand="composite", composites="spread")
    assert collapsed.k < spread.k == 45
    assert collapsed.m == spread.m == 25
    assert (collapsed.effects["n_averaged"] > 1).any()
    assert (spread.effects["n_averaged"] == 1).all()


def test_a_composite_taken_as_printed_is_larger_than_the_mean_effect_behind_it() -> None:
    table = frame(r=[0.3, 0.3], n=[50, 50], m=[1, 3])
    data = Dataset.from_frame(table, ri="r", ni="n", composite_of="m")
    single, mean = data.effects["yi"]
    assert mean < single == pytest.approx(math.atanh(0.3))
    assert data.reading(estimand="composite").effects["yi"].tolist() == [single, single]


def test_another_column_gives_another_reading_of_the_same_data() -> None:
    data = Dataset.from_frame(frame(r=[0.1, 0.2], r2=[0.3, 0.4], n=[20, 30]), ri="r", ni="n")
    assert data.reading(columns={"ri": "r2"}).effects["yi"].tolist() == pytest.approx(
        np.arctanh([0.3, 0.4]).tolist()
    )


def test_columns_of_a_bare_csv_are_guessed_and_the_guesses_are_named(tmp_path: Path) -> None:
    data = load_dataset(write(tmp_path, "Author,r,N\nLee,.2,30\nKim,.3,40\n"))
    assert data.roles == {"ri": "r", "ni": "N", "label": "Author"}
    assert "column 'N' taken as ni" in data.guesses[0]
    assert str(tmp_path) not in " ".join(data.notes)


@pytest.mark.parametrize(
    ("header", "roles", "measure"),
    [
        (["study", "r", "n"], {"ri", "ni", "study", "sample", "label"}, "ZCOR"),
        (["cor", "Sample Size", "es_id"], {"ri", "ni", "effect"}, "ZCOR"),
        (["g", "var"], {"yi", "vi"}, "SMD"),
        (["yi", "vi", "sei", "district"], {"yi", "vi", "sample"}, ""),
        (["logOR", "se", "author"], {"yi", "sei", "label"}, "OR"),
        (["a", "b"], set(), ""),
    ],
)
def test_common_column_names_are_recognised(
    header: list[str], roles: set[str], measure: str
) -> None:
    guess = guess_roles(header)
    assert set(guess.roles) == roles
    assert guess.measure == measure


def test_a_study_called_na_and_an_id_with_zeros_keep_their_names(tmp_path: Path) -> None:
    data = load_dataset(write(tmp_path, "study,id,r,n\nNA,007,.2,30\nNone,1e3,.3,40\n"))
    assert data.effects["label"].tolist() == ["NA", "None"]
    assert data.effects["effect"].tolist() == ["007", "1e3"]


def test_rows_without_an_effect_can_be_dropped_and_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "study,r,n\nLee,.2,30\nKim,,40\nCho,.3,50\n")
    data = load_dataset(path, missing="drop")
    assert data.k == 2
    assert any("line 3 (Kim)" in note for note in data.notes)


def test_a_decimal_comma_is_read_when_stated(tmp_path: Path) -> None:
    data = load_dataset(write(tmp_path, "r;n\n0,5;28\n0,2;30\n"), decimal=",")
    assert data.effects["yi"].iloc[0] == pytest.approx(math.atanh(0.5))


def test_effects_counted_anew_in_each_sample_are_not_duplicates(tmp_path: Path) -> None:
    text = "sample,es_id,r,n\nA,1,.2,30\nA,2,.3,30\nB,1,.1,40\n"
    assert load_dataset(write(tmp_path, text)).k == 3


def test_few_samples_are_noted(tmp_path: Path) -> None:
    data = load_dataset(write(tmp_path, "r,n\n.2,30\n.3,40\n"))
    assert any("2 samples only" in note for note in data.notes)


def test_samples_that_differ_only_in_case_or_unicode_form_are_noted(tmp_path: Path) -> None:
    text = "sample,r,n\nMüller,.2,30\nMu\u0308ller,.3,40\nMÜLLER ,.1,50\n"
    notes = " ".join(load_dataset(write(tmp_path, text)).notes)
    assert notes.count("taken as two") == 2


def test_variances_of_very_different_size_are_noted(tmp_path: Path) -> None:
    path = write(tmp_path, "yi,vi\n0.1,1e-10\n0.2,1e6\n")
    assert any("times the smallest" in n for n in load_dataset(path, measure="GEN").notes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("r\n.2\n.3\n", ["no effect sizes", "(ri, ni)", "Columns: r"]),
        ("r,n\n.2,30\n", ["one usable row", "at least two", "0.203"]),
        ("r,n\n1.2,30\n.3,40\n", ["t.csv:2", "r is 1.2", "between -1 and 1"]),
        ("r,n\n1,30\n.3,40\n", ["t.csv:2", "1 has no Fisher z"]),
        ("r,n\n23,30\n.3,40\n", ["t.csv:2", "write 0.23"]),
        ("r,n\n.2,3\n.3,40\n", ["t.csv:2", "n is 3", "above 3"]),
        ("r,n\n.2,0\n.3,-4\n", ["t.csv:2", "t.csv:3", "n is -4"]),
        ("r,n\n.2,46.7\n.3,40\n", ["t.csv:2", "46.7", "whole number"]),
        ("r,n\n,30\n.3,40\n", ["t.csv:2", "'r' is empty", 'missing = "drop"']),
        ("r,n\n.2,\n.3,40\n", ["t.csv:2", "'n' is empty"]),
        ("r,n\n.2,inf\n.3,40\n", ["t.csv:2", "'inf' is not a number"]),
        ("r,n\n.2,1e400\n.3,40\n", ["t.csv:2", "too large"]),
        ('r,n\n"0,2",30\n.3,40\n', ["t.csv:2", "'0,2'", "decimal point"]),
        ("r,n\nabc,30\n.3,40\n", ["t.csv:2", "column 'r'", "'abc'"]),
        ("study,r,n\nLee,2,30\nKim,.3,2\n", ["t.csv:2 ('Lee')", "t.csv:3 ('Kim')"]),
        ("id,r,n\n7,.2,30\n7,.3,40\n", ["t.csv:3", "id '7'", "already in line 2"]),
        (
            "study,sample,r,n\nLee,A,.2,30\nKim,A,.3,40\n",
            ["t.csv:3", "sample 'A'", "study 'Kim'", "'Lee'"],
        ),
        ("sample,r,n\nA,.2,30\n,.3,40\n", ["t.csv:3", "'sample' is empty"]),
        ("g,v\n.2,0\n.3,-.1\n", ["t.csv:2", "t.csv:3", "must be positive"]),
        ("g,se\n.2,0\n.3,.1\n", ["t.csv:2", "standard errors must be positive"]),
        ("yi,vi\n.2,.1\n.3,.1\n", ["measure", "not stated", "ZCOR"]),
    ],
)
def test_a_faulty_row_is_named_with_its_value_and_a_remedy(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    message = faults(write(tmp_path, text))
    assert all(word in message for word in words), message


def test_all_faults_of_a_table_come_at_once_each_with_its_row_and_label(tmp_path: Path) -> None:
    text = "study,r,n\nLee,abc,30\nKim,2,3\nCho,.2,\nRoy,.1,40\n"
    message = faults(write(tmp_path, text)).splitlines()
    assert len(message) == 4
    assert sum("('Kim')" in line for line in message) == 2


def test_a_missing_column_does_not_hide_the_faults_of_the_others(tmp_path: Path) -> None:
    path = write(tmp_path, "r,size\nabc,30\n.3,40\n")
    message = faults(path, columns={"ri": "r", "ni": "sise"})
    assert "no column 'sise'" in message
    assert "Did you mean 'size'?" in message
    assert "'abc'" in message


def test_effect_sizes_named_twice_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "r,n,y,v\n.2,30,.1,.2\n.3,40,.1,.2\n")
    roles = {"ri": "r", "ni": "n", "yi": "y", "vi": "v"}
    assert "named twice" in faults(path, columns=roles, measure="ZCOR")


def test_correlations_under_another_measure_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "r,n\n.2,30\n.3,40\n")
    assert "become ZCOR" in faults(path, columns={"ri": "r", "ni": "n"}, measure="SMD")


def test_an_unknown_measure_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, "yi,vi\n.2,.1\n.3,.1\n")
    assert "Did you mean 'ZCOR'?" in faults(path, measure="zcorr")


def test_an_impossible_effect_of_its_measure_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "yi,vi\n1.9e7,.1\n.3,.1\n")
    assert "no correlation has a Fisher z beyond" in faults(path, measure="ZCOR")
    assert "lies between -1 and 1" in faults(path, measure="COR")


def test_a_count_of_effects_is_a_whole_number(tmp_path: Path) -> None:
    path = write(tmp_path, "r,n,composite_of\n.2,30,1.5\n.3,40,0\n")
    assert faults(path).count("is not a count") == 2


def test_a_sample_cannot_measure_fewer_effects_than_it_reports(tmp_path: Path) -> None:
    text = "sample,r,n,n_measured\nA,.2,30,1\nA,.3,30,1\nB,.1,30,4\n"
    assert "reports 2 effects" in faults(write(tmp_path, text))


def test_a_changed_file_of_a_package_is_refused_by_its_hash(tmp_path: Path) -> None:
    folder = package(tmp_path / "d", "r,n\n.2,30\n.3,40\n")
    assert load_dataset(folder).k == 2
    write(folder, "r,n\n.9,30\n.3,40\n")
    assert "the file was changed" in faults(folder)


def test_schema_constraints_of_a_package_hold(tmp_path: Path) -> None:
    text = "r,n,group,id\n.2,30,a,1\n.3,400,b,1\n"
    fields = [
        {"name": "n", "type": "integer", "constraints": {"maximum": 100}},
        {"name": "group", "constraints": {"enum": ["a"]}},
        {"name": "id", "constraints": {"unique": True}},
    ]
    digest = hashlib.sha256(text.encode()).hexdigest()
    resource = {"name": "t", "path": "t.csv", "hash": digest, "schema": {"fields": fields}}
    message = faults(package(tmp_path / "d", text, resources=[resource]))
    assert "400 is not between -inf and 100" in message
    assert "'b' is not one of a" in message
    assert "'1' is already in line 2" in message


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"resources": 3}, ["resources"]),
        ({"resources": []}, ["'resources' is empty"]),
        ({"resources": [{"path": "t.csv"}]}, ["resources.0.name"]),
        ({"resources": [{"name": "t", "path": "../x.csv"}]}, ["outside its folder"]),
        ({"resources": [{"name": "t", "path": "u.csv"}]}, ["u.csv", "not there"]),
        ({"reanalysis": {"tables": {"t": {"roles": {"ri": 3}}}}}, ["roles.ri"]),
        ({"reanalysis": {"direction": "up"}}, ["direction"]),
        ({"reanalysis": {"default": "other"}}, ["no table 'other'", "t"]),
    ],
)
def test_a_faulty_package_is_refused_with_the_place(
    tmp_path: Path, entries: dict[str, object], words: list[str]
) -> None:
    message = faults(package(tmp_path / "d", "r,n\n.2,30\n.3,40\n", **entries))
    assert all(word in message for word in words), message


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000])
def test_a_descriptor_that_is_not_an_object_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path, text, "datapackage.json")
    assert "datapackage.json" in faults(tmp_path)


def test_a_folder_without_a_descriptor_is_refused(tmp_path: Path) -> None:
    assert "no datapackage.json" in faults(tmp_path)


def test_a_frame_with_a_repeated_column_is_refused() -> None:
    table = pd.DataFrame([[0.1, 0.2, 30], [0.2, 0.3, 40]], columns=["r", "r", "n"])
    with pytest.raises(DataError, match="two columns are called 'r'"):
        Dataset.from_frame(table, ri="r", ni="n")


def test_a_frame_and_its_csv_give_the_same_effects(tmp_path: Path) -> None:
    table = frame(study=["a", "a", "b"], r=[0.123456789, -0.2, 0.3], n=[30, 40, 50])
    table.to_csv(tmp_path / "t.csv", index=False)
    made = Dataset.from_frame(table, ri="r", ni="n", sample="study")
    read = load_dataset(tmp_path / "t.csv", columns={"ri": "r", "ni": "n", "sample": "study"})
    assert made.effects["yi"].tolist() == read.effects["yi"].tolist()
    assert made.m == read.m == 2

"""What the data folder of Kaiser et al. (2021) holds, against the sentences of the paper.

The expected numbers are printed in the article: Table 2 (T2), Results (R), footnotes of Table 1.
"""

import csv
import hashlib
import json
import math
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "data" / "kaiser2021"
PACKAGE = json.loads((FOLDER / "datapackage.json").read_text(encoding="utf-8"))


def rows(name):
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def samples():
    return rows("samples")


@pytest.fixture(scope="module")
def effects():
    return rows("effects")


def by_sample(table, number):
    return next(row for row in table if row["sample"] == str(number))


@pytest.mark.parametrize("resource", PACKAGE["resources"], ids=lambda resource: resource["name"])
def test_every_resource_has_its_declared_bytes_hash_and_columns(resource):
    raw = (FOLDER / resource["path"]).read_bytes()
    assert resource["bytes"] == len(raw)
    assert resource["hash"] == "sha256:" + hashlib.sha256(raw).hexdigest()
    header = raw.decode("utf-8").split("\n", 1)[0].split(",")
    fields = resource["schema"]["fields"]
    assert header == [field["name"] for field in fields]
    assert all(field["title"] and field["description"] for field in fields)
    assert b"\r" not in raw and raw.endswith(b"\n")


@pytest.mark.parametrize("resource", PACKAGE["resources"], ids=lambda resource: resource["name"])
def test_every_cell_obeys_its_schema(resource):
    schema = resource["schema"]
    table = rows(resource["name"])
    for field in schema["fields"]:
        rules = field.get("constraints", {})
        cells = [row[field["name"]] for row in table]
        if rules.get("required"):
            assert not set(cells) & set(schema["missingValues"]), field["name"]
        present = [cell for cell in cells if cell not in schema["missingValues"]]
        assert present, f"{field['name']} has no value at all"
        if "enum" in rules:
            assert set(present) <= set(rules["enum"]), field["name"]
        if field["type"] in ("integer", "number"):
            numbers = [int(c) if field["type"] == "integer" else float(c) for c in present]
            assert min(numbers) >= rules.get("minimum", -math.inf), field["name"]
            assert max(numbers) <= rules.get("maximum", math.inf), field["name"]
        if rules.get("unique"):
            assert len(set(cells)) == len(cells), field["name"]
    keys = [tuple(row[name] for name in schema["primaryKey"]) for row in table]
    assert len(set(keys)) == len(keys)


def test_the_samples_are_numbered_as_in_the_paper(samples):
    assert [row["sample"] for row in samples] == [str(i) for i in range(1, 26)]
    assert len({row["study"] for row in samples}) == 19  # 20 articles, two of them on sample 19


def test_r_and_n_are_those_of_table_2(samples):
    """T2, columns r and N, typed here a second time."""
    r = [0.05, 0.14, 0.22, 0.09, 0.20, 0.13, 0.10, 0.23, -0.08, -0.04, 0.25, 0.45, 0.49]
    r += [0.16, 0.10, 0.26, 0.31, 0.24, 0.24, 0.13, 0.47, 0.09, 0.44, 0.47, 0.07]
    n = [96, 56, 96, 25, 24, 35, 90, 48, 49, 44, 44, 27, 25, 41, 58, 158, 29, 38, 41, 25, 20]
    n += [15, 31, 35, 21]
    assert [float(row["r"]) for row in samples] == r
    assert [int(row["n"]) for row in samples] == n
    assert all(row["r"] == row["r_table2"] and row["n"] == row["n_table2"] for row in samples)


def test_no_printed_column_of_n_adds_up_to_the_printed_1167(samples):
    total = {c: sum(int(row[c]) for row in samples) for c in ("n_table1", "n_table2", "n_mean")}
    assert total == {"n_table1": 1104, "n_table2": 1171, "n_mean": 1168}


def test_the_tables_differ_in_samples_16_22_24_and_25(samples):
    differ = {
        int(row["sample"])
        for row in samples
        if row["r_table1"] != row["r_table2"] or row["n_table1"] != row["n_table2"]
    }
    assert differ == {16, 22, 24, 25}
    assert by_sample(samples, 21)["n_table1_printed"] == "20,14,19"


def test_the_columns_agree_with_the_sentences_of_results_3_1(samples):
    def where(column, value):
        return [int(row["sample"]) for row in samples if row[column] == value]

    assert where("converted", "yes") == [1, 8, 9, 16]
    assert where("set_to_zero", "yes") == [8, 9]  # footnote d
    assert where("post_only", "yes") == [21, 22]
    assert where("analysis", "intention to treat") == [10, 11, 16, 21, 25]
    assert where("data_source", "personal communication") == [3, 10, 11, 22]  # footnote c
    assert where("mode", "oral") == [2, 8, 9, 25]
    assert where("rob_sequence", "/") == [22, 25]  # the two uncontrolled trials
    weeks = [int(row["duration_weeks"]) for row in samples]
    assert sum(weeks) / 25 == 8.76
    assert (min(weeks), max(weeks)) == (1, 16)
    r = [float(row["r"]) for row in samples]
    assert (min(r), max(r)) == (-0.08, 0.49)


def test_the_effects_are_45_with_the_8_late_ones_of_results_3_2(effects):
    assert [row["es"] for row in effects] == [str(i) for i in range(1, 46)]
    late = [int(row["sample"]) for row in effects if row["timing"] == "late"]
    assert late == [12, 13, 17, 17, 18, 19, 20, 24]


def test_m_counts_the_effects_of_each_sample(samples, effects):
    for row in samples:
        slots = [e for e in effects if e["sample"] == row["sample"]]
        assert int(row["m"]) == len(slots)
        assert all(e["m"] == row["m"] for e in slots)
        late = sum(e["timing"] == "late" for e in slots)
        assert float(row["late_share"]) == pytest.approx(late / len(slots), abs=5e-5)
        assert (row["any_late"] == "yes") == (late > 0)
        assert (row["composite"] == "yes") == (len(slots) > 1) == (row["intercorrelation"] != "")


def test_columns_that_both_tables_have_agree(samples, effects):
    shared = ("study", "label", "n", "n_table1", "n_mean", "post_only", "disorder", "mode")
    more = ("contact_frequency", "self_help", "rob_incomplete", "rob_selective", "rob_other")
    for row in effects:
        sample = by_sample(samples, row["sample"])
        for column in (*shared, *more):
            assert row[column] == sample[column], (row["es"], column)
        if row["composite_r"]:
            assert row["composite_r"] == sample["r_table2"]
            assert row["composite_r_table1"] == sample["r_table1"]
        else:
            assert row["r_printed"] == sample["r"]


def test_r_is_known_exactly_where_its_status_says_so(effects):
    for row in effects:
        assert (row["r"] == "NA") == (row["r_status"] == "composite only")
        assert (float(row["r"]) == 0) == (row["set_to_zero"] == "yes") if row["r"] != "NA" else True
        if row["r_status"] == "printed":
            assert row["r"] == row["r_printed"]
    assert sum(row["r"] != "NA" for row in effects) == 15


def test_the_printed_minimum_of_minus_15_is_among_the_determined_effects(effects):
    """R 3.2: effect sizes from -.15 to .59; the maximum hides behind a composite."""
    known = [float(row["r"]) for row in effects if row["r"] != "NA"]
    assert round(min(known), 2) == -0.15
    assert max(known) < 0.59


def test_converted_effects_follow_from_the_printed_statistics(effects):
    """Peterson & Brown (2005), p. 177: r = .98 beta + .05 for beta >= 0, .98 beta below."""
    for row in effects:
        value = float(row["statistic_value"]) if row["statistic_value"] else None
        if row["statistic"] == "beta":
            expected = 0.98 * value + 0.05 * (value >= 0)
        elif row["statistic"] == "odds ratio":
            d = math.log(value) * math.sqrt(3) / math.pi
            expected = d / math.sqrt(d * d + 4)
        else:
            continue
        assert float(row["r"]) == pytest.approx(expected, abs=5e-5)


def test_sample_sizes_of_single_effects_span_the_printed_range(effects):
    """R 3.1: sample sizes range from 14 to 158."""
    sizes = [int(row["n_slot"]) for row in effects]
    assert (min(sizes), max(sizes)) == (14, 158)


def test_the_flow_of_articles_adds_up():
    count = {row["step"]: int(row["count"]) for row in rows("prisma")}
    assert count["identified"] - count["duplicates"] == count["screened"] == 3949
    assert count["screened"] - count["excluded_titles"] == count["full_texts"] == 210
    assert count["full_texts"] - count["excluded_full_texts"] == count["eligible"] == 19
    assert count["eligible"] + count["from_references"] == count["included"] == 20
    assert (count["samples"], count["effects"]) == (25, 51)

"""What the data folder of Konstantopoulos (2011) holds."""

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "data" / "konstantopoulos2011"


@pytest.fixture(scope="module")
def table():
    with (FOLDER / "effects.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_resource_has_its_declared_bytes_hash_and_columns(table):
    package = json.loads((FOLDER / "datapackage.json").read_text(encoding="utf-8"))
    (resource,) = package["resources"]
    raw = (FOLDER / resource["path"]).read_bytes()
    assert resource["bytes"] == len(raw)
    assert resource["hash"] == "sha256:" + hashlib.sha256(raw).hexdigest()
    assert list(table[0]) == [field["name"] for field in resource["schema"]["fields"]]
    assert package["sources"][0]["path"] == "https://doi.org/10.1002/jrsm.35"


def test_56_studies_lie_in_11_districts(table):
    counts = Counter(row["district"] for row in table)
    assert [int(row["study"]) for row in table] == list(range(1, 57))
    assert list(counts.values()) == [4, 4, 3, 4, 4, 11, 3, 8, 6, 5, 4]
    for district, size in counts.items():
        schools = [int(row["school"]) for row in table if row["district"] == district]
        assert schools == list(range(1, size + 1))


def test_values_have_the_printed_decimals(table):
    assert all(len(row["yi"].split(".")[1]) == 2 for row in table)
    assert all(len(row["vi"].split(".")[1]) == 3 and float(row["vi"]) > 0 for row in table)


def test_q_agrees_with_metafor_on_its_copy_of_the_table(table):
    """metafor 3.8.1, rma(yi, vi): Q(55) = 578.864."""
    y = [float(row["yi"]) for row in table]
    w = [1 / float(row["vi"]) for row in table]
    pooled = sum(a * b for a, b in zip(w, y, strict=True)) / sum(w)
    q = sum(a * (b - pooled) ** 2 for a, b in zip(w, y, strict=True))
    assert q == pytest.approx(578.864, abs=5e-4)

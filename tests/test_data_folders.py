"""Every folder in data/ and every file in models/ loads, and says where it comes from."""

import hashlib
import json
from pathlib import Path

import pytest

from reanalysis.dataset import load_dataset
from reanalysis.design import resolve_priors
from reanalysis.plan import plan
from reanalysis.spec_file import load_reanalysis
from reanalysis.tables import read_table

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(path.parent for path in ROOT.glob("data/*/datapackage.json"))
SPECS = sorted(ROOT.glob("models/*.toml"))


def descriptor(folder: Path) -> dict[str, object]:
    return json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))


def resources(folder: Path) -> list[dict[str, object]]:
    found = descriptor(folder)["resources"]
    assert isinstance(found, list)
    return found


def test_no_folder_or_spec_is_overlooked() -> None:
    assert {path.name for path in FOLDERS} == {p.name for p in (ROOT / "data").iterdir()}
    assert {path.name for path in SPECS} == {p.name for p in (ROOT / "models").iterdir()}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_data_folder_loads_in_its_default_reading(folder: Path) -> None:
    data = load_dataset(folder)
    assert data.k >= data.m >= 2
    assert not data.guesses


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_table_with_roles_can_be_read_as_effect_sizes(folder: Path) -> None:
    own = descriptor(folder)["reanalysis"]
    assert isinstance(own, dict)
    data = load_dataset(folder)
    for name in own["tables"]:
        assert data.reading(table=name).k >= 2


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_data_folder_names_sources_licence_and_codebook(folder: Path) -> None:
    where = load_dataset(folder).provenance
    assert where.sources
    assert where.licence
    assert where.citation
    assert len(where.codebook) > 200


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_hash_size_and_every_column_of_a_table_are_declared(folder: Path) -> None:
    for resource in resources(folder):
        path = folder / str(resource["path"])
        raw = path.read_bytes()
        assert resource["hash"] == f"sha256:{hashlib.sha256(raw).hexdigest()}"
        assert resource["bytes"] == len(raw)
        schema = resource["schema"]
        assert isinstance(schema, dict)
        fields = [field["name"] for field in schema["fields"]]
        assert fields == list(read_table(path).header)
        assert all(field["description"] for field in schema["fields"])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_file_of_a_data_folder_is_declared(folder: Path) -> None:
    declared = {str(resource["path"]) for resource in resources(folder)}
    assert {path.name for path in folder.iterdir()} == declared | {
        "datapackage.json",
        "codebook.md",
    }


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_model_of_a_spec_meets_its_data(path: Path) -> None:
    planned = plan(path)
    assert set(planned.models) == set(load_reanalysis(path).models)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_prior_of_a_spec_has_its_reason(path: Path) -> None:
    for name, model in plan(path).models.items():
        for parameter, prior in resolve_priors(model.design, model.spec).items():
            assert prior.rationale, f"{name}: {parameter}"


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_claim_of_a_spec_names_its_place_in_the_paper(path: Path) -> None:
    spec = load_reanalysis(path)
    assert spec.source.citation
    assert all(claim.source for claim in spec.claims)

"""Primary effects and fixed weights: what the spec may say, and what it is told otherwise."""

from pathlib import Path

import numpy as np
import pytest

from reanalysis.dataset import load_dataset
from reanalysis.design import make_design
from reanalysis.spec import ModelSpec, SpecError
from reanalysis.spec_file import load_reanalysis

TABLE = "study,r,n,main\nLee,.2,30,no\nKim,.3,40,yes\nLee,.3,30,yes\nCho,.1,50,yes\nKim,.0,40,\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def test_marked_rows_are_primary_in_the_order_of_the_design(table: Path) -> None:
    model = ModelSpec("m", mechanism="study", primary="main")
    design = make_design(load_dataset(table), model)
    assert design.primary is not None
    np.testing.assert_allclose(np.tanh(design.yi[design.primary]), [0.3, 0.3, 0.1])
    assert design.cluster[design.primary].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"primary": "mein"}, ["no such column", "Did you mean 'main'?"]),
        ({"primary": "n"}, ["marks primary effects with 1, yes or true", "it holds '30"]),
        ({"primary": "main", "exclude": {"r": (0.3,)}}, ["marks 0 effects of sample 'Lee'"]),
        ({"primary": "main", "mechanism": "joint"}, ["'primary' goes with", "study"]),
        ({"omega": (1.0, 0.5)}, ["omega has 2 weights", "2 steps make 3 bins"]),
        ({"omega": (1.0, 0.5, 0.2), "mechanism": "pet"}, ["'omega' goes with", "no weights"]),
    ],
)
def test_settings_that_do_not_fit_are_named(
    table: Path, settings: dict[str, object], words: list[str]
) -> None:
    model = ModelSpec("m", **{"mechanism": "study", **settings})  # type: ignore[arg-type]
    with pytest.raises(SpecError) as caught:
        make_design(load_dataset(table), model)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("omega", "words"),
    [
        ("[0.9, 0.5, 0.2]", ["the first weight", "is 1, not 0.9"]),
        ("[1, 0.5, 0]", ["above 0 and at most 1, not 0", "such as 1e-6"]),
        ("0.5", ["a list of weights"]),
    ],
)
def test_fixed_weights_are_checked_as_the_spec_is_read(
    table: Path, omega: str, words: list[str]
) -> None:
    spec = table.with_name("s.toml")
    spec.write_text(
        f'[data]\npath = "t.csv"\n[[model]]\nname = "m"\nmechanism = "study"\nomega = {omega}\n'
    )
    with pytest.raises(SpecError) as caught:
        load_reanalysis(spec)
    assert all(word in str(caught.value) for word in ["omega", *words]), str(caught.value)

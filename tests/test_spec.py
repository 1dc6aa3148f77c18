"""Specs: what the contract's TOML becomes, and every fault with its place and remedy."""

import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reanalysis.priors import Prior
from reanalysis.spec import SpecError
from reanalysis.spec_file import identifier, load_reanalysis, parse_reanalysis, toml_string

CONTRACT = """
title = "Therapeutic alliance and outcome in internet-based interventions"
seed = 2021

[data]
path = "../data/kaiser2021"
measure = "ZCOR"
direction = "positive"
[data.columns]
ri = "r"
ni = "n"
sample = "study"
label = "author"

[[model]]
name = "three_level"
moderators = []
sampling_correlation = 0.0
mechanism = "none"
steps = [0.025, 0.5]
[model.priors]
mu          = { family = "normal", mu = 0.0, sigma = 0.5, rationale = "…" }
tau_between = { family = "half_normal", sigma = 0.3, rationale = "…" }
tau_within  = { family = "half_normal", sigma = 0.3, rationale = "…" }

[[claim]]
id = "overall"
text = "…the sentence as the paper prints it, shortened…"
source = "Results 3.2"
model = "three_level"
parameter = "mu"
published = { estimate = 0.203, lower = 0.141, upper = 0.263, scale = "r" }
"""


def faults(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_reanalysis(text, name="x", path=Path("models/x.toml"))
    return "\n".join(caught.value.problems)


def with_data(text: str) -> str:
    return f'{text}\n[data]\npath = "t.csv"\n'


def with_model(text: str) -> str:
    return f'[data]\npath = "t.csv"\n[[model]]\nname = "m"\n{text}\n'


def test_the_contracts_example_is_a_spec() -> None:
    spec = parse_reanalysis(CONTRACT, name="kaiser2021")
    model = spec.models["three_level"]
    assert spec.seed == 2021
    assert spec.data.columns == {"ri": "r", "ni": "n", "sample": "study", "label": "author"}
    assert model.priors["tau_within"] == Prior("half_normal", {"sigma": 0.3}, "…")
    assert model.moderators == ()
    assert spec.claims[0].published["estimate"] == 0.203
    assert spec.text == CONTRACT


def test_a_spec_of_data_alone_has_no_models_and_the_default_seed() -> None:
    spec = parse_reanalysis('[data]\npath = "t.csv"', name="t")
    assert not spec.models
    assert spec.title == "t"
    assert spec.seed == 2021


def test_a_formula_is_kept_as_text() -> None:
    spec = parse_reanalysis(with_model('moderators = "year + group"'), name="t")
    assert spec.models["m"].moderators == "year + group"


def test_a_sampling_correlation_may_have_a_prior() -> None:
    entry = 'sampling_correlation = { family = "beta", alpha = 2, beta = 2 }'
    spec = parse_reanalysis(with_model(entry), name="t")
    assert spec.models["m"].sampling_correlation == Prior("beta", {"alpha": 2, "beta": 2})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["top level", "'data' is missing"]),
        ("title = ", ["not valid TOML", "end of document"]),
        ('[data]\npath = "a"\n[data]\npath = "b"', ["not valid TOML", "line 3"]),
        (with_data("titel = 'x'"), ["top level", "unknown key 'titel'", "did you mean 'title'"]),
        (with_data("title = 3"), ["'title' is 3", "text in quotes"]),
        (with_data("seed = -1"), ["'seed' is -1"]),
        (with_data("seed = 1.5"), ["'seed' is 1.5", "whole number"]),
        (with_data("seed = true"), ["'seed' is True", "whole number"]),
        ("data = 3", ["'data' is 3", "table"]),
        ('[data]\npath = "a"\nmeasur = "ZCOR"', ["[data]", "'measur'", "mean 'measure'"]),
        ('[data]\npath = "a"\ndirection = "up"', ["'direction' is 'up'", "'positive'"]),
        ('[data]\npath = "a"\nmissing = "skip"', ["'missing'", "'drop'"]),
        ('[data]\npath = "a"\nintercorrelation = 1.0', ["'intercorrelation' is 1.0"]),
        ('[data]\npath = "a"\n[data.columns]\nr = "r"', ["no role 'r'", "ri"]),
        ('[data]\npath = "a"\n[data.columns]\nri = 3', ["'ri'", "in quotes", "3"]),
        (with_data("model = {}"), ["'model' is {}", "[[model]]"]),
        (with_data('[[model]]\ntitle = "x"'), ["[[model]] number 1", "'name' is missing"]),
        (with_data('[[model]]\nname = "../x"'), ["'../x'", "small letters"]),
        (with_model("levels = 4"), ["[[model]] 'm'", "'levels' is 4", "2 or 3"]),
        (with_model('mechanism = "jont"'), ["'mechanism' is 'jont'", "'joint'"]),
        (with_model("steps = [0.5, 0.025]"), ["'steps'", "increase"]),
        (with_model("steps = [0, 1]"), ["'steps'", "between 0 and 1"]),
        (with_model("steps = []"), ["'steps'", "list of p-values"]),
        (with_model("moderators = [1]"), ["'moderators'", "column names"]),
        (with_model("sampling_correlation = 1.0"), ["sampling_correlation", "below 1"]),
        (with_model("include = 3"), ["'include'", "table"]),
        (
            with_model('[model.priors]\nmu = { family = "norml", sigma = 1 }'),
            ["[[model]] 'm'", "'mu'", "'norml'", "mean 'normal'"],
        ),
        (
            with_model("[model.priors]\nmu = { sigma = 1 }"),
            ["'mu'", "'family'"],
        ),
        (
            with_model('[model.priors]\nmu = { family = "normal", sigma = nan }'),
            ["'mu'", "finite"],
        ),
        (with_model("[model.priors]\nmu = 3"), ["'mu'", "must be a table such as"]),
        (
            with_data("[[claim]]\nid = 'c'\ntext = 't'\npublished = { r = 1 }"),
            ["[[claim]] 'c'", "no key 'r'"],
        ),
        (
            with_data("[[claim]]\nid = 'c'\ntext = 't'\npublished = { estimate = nan }"),
            ["'estimate'", "finite"],
        ),
        (
            with_data("[[claim]]\nid = 'c'\ntext = 't'\npublished = { scale = 'z' }"),
            ["'scale'", '"r" or "analysis"'],
        ),
        (with_model('[[model]]\nname = "m"'), ["[[model]] 'm'", "twice"]),
        (
            with_model("[[claim]]\nid = 'c'\ntext = 't'\nmodel = 'n'"),
            ["[[claim]] 'c'", "'n'", "not defined"],
        ),
        (with_data("rope = { lower = 1, upper = 0 }"), ["lower (1.0) must be below upper"]),
        (with_data("sampler = { chains = 1 }"), ["[sampler]", "'chains' is 1"]),
    ],
)
def test_a_faulty_spec_names_file_place_value_and_remedy(text: str, words: list[str]) -> None:
    message = faults(text)
    assert all(word in message for word in ["models/x.toml", *words]), message


def test_every_fault_of_a_spec_is_reported_at_once() -> None:
    message = faults(
        with_model('levels = 9\n[model.priors]\nmu = 1\ntau = { family = "x" }')
        + '[[claim]]\ntext = "t"\n'
    )
    assert len(message.splitlines()) == 4


def test_brackets_nested_five_thousand_deep_are_refused() -> None:
    assert "nested too deeply" in faults("x = " + "[" * 5000 + "]" * 5000)


def test_a_number_of_five_thousand_digits_is_refused() -> None:
    assert "not valid TOML" in faults("seed = " + "1" * 5000)


def test_a_number_beyond_floats_is_refused_where_a_float_is_wanted() -> None:
    big = "1" + "0" * 400
    text = with_model(f'[model.priors]\nmu = {{ family = "normal", sigma = {big} }}')
    assert "finite" in faults(text)


def test_a_spec_of_more_than_a_megabyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("#" * 1_000_001)
    with pytest.raises(SpecError, match="at most"):
        load_reanalysis(path)


def test_a_spec_that_is_not_utf8_is_refused_with_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes('title = "Müller"'.encode("latin-1"))
    with pytest.raises(SpecError, match="byte 10 is not UTF-8"):
        load_reanalysis(path)


def test_a_byte_order_mark_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "My Review.toml"
    path.write_bytes(b'\xef\xbb\xbf[data]\npath = "t.csv"\n')
    spec = load_reanalysis(path)
    assert spec.name == "my_review"
    assert spec.folder == tmp_path


def test_a_spec_can_be_neither_a_folder_nor_a_pipe(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not a regular file"):
        load_reanalysis(tmp_path)


def test_records_of_a_spec_cannot_be_changed() -> None:
    spec = parse_reanalysis(CONTRACT, name="kaiser2021")
    with pytest.raises(AttributeError):
        spec.models["three_level"].levels = 2  # type: ignore[misc]


def test_a_spec_survives_pickling_as_spreading_work_needs() -> None:
    spec = parse_reanalysis(CONTRACT, name="kaiser2021")
    assert pickle.loads(pickle.dumps(spec)) == spec


@pytest.mark.parametrize("text", ["plain", 'a "quote"', "back\\slash", "\x7f\x01\n", "Ünï😀"])
def test_text_survives_as_a_toml_string(text: str) -> None:
    spec = parse_reanalysis(f'title = {toml_string(text)}\n[data]\npath = "t"', name="t")
    assert spec.title == text


@pytest.mark.parametrize(
    ("text", "name"),
    [("My Review", "my_review"), ("../..", "table"), ("Ü", "table"), ("a-1", "a-1")],
)
def test_a_name_is_safe_in_a_path(text: str, name: str) -> None:
    assert identifier(text) == name


SIMPLE = st.one_of(
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.booleans(),
    st.text(max_size=6),
    st.dates(),
)
WORDS = """
name title id text table columns levels moderators reference sampling_correlation mechanism steps
priors include exclude family mu sigma alpha beta rationale model parameter published estimate
scale lower upper path measure direction seed claim data rope sampler chains
"""
KEYS = st.sampled_from(WORDS.split())
VALUES = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4)
)


def as_toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return toml_string(value)
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {as_toml(entry)}' for key, entry in value.items())} }}"
    return str(value)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_toml_is_a_spec_or_a_spec_error(tables: dict[str, object]) -> None:
    text = "\n".join(f"{key} = {as_toml(value)}" for key, value in tables.items())
    try:
        parse_reanalysis(text, name="x")
    except SpecError as error:
        assert all(problem.startswith("x: ") for problem in error.problems)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries({}, optional=dict.fromkeys(("levels", "priors", "steps"), VALUES)),
        max_size=2,
    ),
    st.dictionaries(KEYS, VALUES, max_size=3),
)
def test_any_model_is_accepted_or_a_spec_error(
    models: list[dict[str, object]], published: dict[str, object]
) -> None:
    named = [{"name": f"m{i}", **model} for i, model in enumerate(models)]
    claim = {"id": "c", "text": "t", "published": published}
    text = f'data = {{ path = "t" }}\nmodel = {as_toml(named)}\nclaim = [{as_toml(claim)}]'
    try:
        parse_reanalysis(text, name="x")
    except SpecError as error:
        assert error.problems


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_a_spec_or_a_spec_error(text: str) -> None:
    try:
        parse_reanalysis(text, name="x")
    except SpecError as error:
        assert error.problems

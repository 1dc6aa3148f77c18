"""Throw tables and specs at `reanalysis check` that a coverage-guided fuzzer (Atheris) makes up.

    make fuzz                                     the long run
    python tests/fuzz/fuzz.py csv -runs=30000     tables; -runs and others are libFuzzer's options
    python tests/fuzz/fuzz.py toml -runs=30000    specs
    python tests/fuzz/fuzz.py cells -runs=30000   tables that Hypothesis builds of columns and cells
    python tests/fuzz/fuzz.py keys -runs=30000    specs that Hypothesis builds of keys and values

Changed bytes find the faults of the two parsers, where most are refused. The built inputs get
further, to the checks of values, designs and priors. An input passes if `check` ends with exit
status 0 or 2 and keeps the rules of `examine`. One that does not is written to ``crash-…``; it
belongs into tests/faults/ once it is understood.
"""

import os
import shutil
import sys
import tempfile
import unicodedata
import warnings
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

TABLE = b"study,r,n,year,g\nLee,.2,30,1,a\nKim,.3,40,2,b\nCho,.1,50,4,a\nRoy,.4,60,3,b\n"
SPEC = b'[data]\npath = "t.csv"\n'
HERE = Path(__file__).parent

TABLES = (
    TABLE,
    b"\xef\xbb\xbfauthor;r;n\nLee;0,2;30\nKim;0,3;40\n",
    b"sample\tstudy\tyi\tvi\tni\nA\tx\t.1\t.01\t9\nA\tx\t.2\t.02\t9\nB\ty\t.3\t1e-5\t\n",
    b'label,g,se\n"Lee, 2019",.2,.1\n"Kim ""x""",.3,.2\n',
    b"id,sample,r,n,n_averaged,n_measured\n1,A,.2,30,2,3\n2,A,.1,30,1,3\n3,B,-.1,44,1,2\n",
    "z,v\n−.1,.2\n.2,.3\n".encode(),
)
SPECS = (
    SPEC,
    b'title = "x"\nseed = 7\n[data]\npath = "t.csv"\nmissing = "drop"\ndecimal = "."\n'
    b'measure = "ZCOR"\ndirection = "negative"\nencoding = "utf-8"\n'
    b'[data.columns]\nri = "r"\nni = "n"\nsample = "study"\n',
    SPEC + b'[[model]]\nname = "m"\nmoderators = "C(g) + center(year):g"\n'
    b'reference = { g = "a" }\ncentring = { year = 2 }\n[model.priors]\n'
    b'mu = { family = "normal", mu = 0.0, sigma = 0.5, rationale = "why" }\n'
    b'tau = { family = "half_student_t", nu = 3, sigma = 0.3 }\n'
    b'"beta[year]" = { family = "cauchy", sigma = 0.2 }\n',
    SPEC + b'[[model]]\nname = "s"\nmechanism = "joint"\nsteps = [0.025, 0.5]\n'
    b'two_sided = true\nlevels = 2\ninclude = { study = ["Lee", "Kim", "Cho"] }\n'
    b'exclude = { year = 3 }\n[rope]\nlower = -0.1\nupper = 0.1\nrationale = "x"\n',
    SPEC + b'[[model]]\nname = "t"\neffects = "student_t"\nscale_moderator = "g"\n'
    b'sampling_correlation = { family = "beta", alpha = 2, beta = 2 }\n[average]\nmodel = "t"\n'
    b'[[claim]]\nid = "c"\ntext = "x"\nmodel = "t"\npublished = { estimate = 0.2, scale = "r" }\n',
    SPEC + b'[[multiverse]]\nname = "a"\noptions = [{ name = "x" }, { name = "y", levels = 2 }]\n'
    b'[[ladder]]\nname = "p"\npublished = { estimate = 0.2 }\n[[ladder]]\nname = "q"\n'
    b'interval = "wald"\nchange = { estimand = "mean" }\n[sampler]\ndraws = 500\n'
    b'[calibration]\nreplicates = 20\n[source]\ndoi = "10.1/x"\n',
)


ODD = st.sampled_from(
    [
        "",
        "NA",
        "nan",
        "1e400",
        "1e-320",
        "-1",
        "0",
        "1",
        "0,2",
        "1,167",
        "23%",
        "n.s.",
        "x",
        "ä",
        "=1+1",
        "$x^2$",
        "<b>",
        "\u202ex",
        "1e30",
        "-.999999999",
        "99999999999999999999",
        " .2 ",
    ]
)
SAMPLES = st.sampled_from(["Lee", "Kim", "Cho", "kim", "NA", "Le\u0301e", "<i>"])
DECIMALS = st.integers(-99, 99).map(lambda i: f"{i / 100}")
POSITIVE = st.integers(1, 99).map(lambda i: f"{i / 100}")
SIZES = st.integers(4, 300).map(str)
COLUMNS = {
    **dict.fromkeys(("r", "yi", "z", "g", "logor"), DECIMALS),
    **dict.fromkeys(("n", "ni"), SIZES),
    **dict.fromkeys(("vi", "se", "lower", "upper", "p"), POSITIVE),
    **dict.fromkeys(("study", "sample", "author"), SAMPLES),
    **dict.fromkeys(("id", "n_averaged", "composite_of", "n_measured"), st.integers(1, 9).map(str)),
    "year": st.integers(1, 4).map(str),
}
PAIRS = st.sampled_from(
    [["r", "n"], ["r", "ni"], ["z", "vi"], ["z", "se"], ["yi", "vi"], ["g", "se"]]
)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Build a CSV with columns that mean something, most cells of which are right."""
    more = draw(st.lists(st.sampled_from(sorted(COLUMNS)), max_size=4, unique=True))
    header = list(dict.fromkeys([*draw(PAIRS), *more]))
    rows = [
        [draw(ODD) if draw(st.integers(0, 60)) == 0 else draw(COLUMNS[name]) for name in header]
        for _ in range(draw(st.integers(1, 7)))
    ]
    mark = draw(st.sampled_from(",,,;\t"))
    lines = (mark.join(f'"{c}"' if mark in c else c for c in cells) for cells in [header, *rows])
    return "\n".join(lines).encode()


NUMBERS = st.one_of(
    st.sampled_from(["0", "1", "2", "3", "0.5", "0.025", "-1.0", "1e308", "5e-324", "nan", "-inf"]),
    st.floats(0.01, 2).map(repr),
)
PRIOR = st.sampled_from(
    [
        '{ family = "normal", sigma = 1 }',
        '{ family = "normal", mu = 0, sigma = 0.3, rationale = "why" }',
        '{ family = "half_normal", sigma = 0.3 }',
        '{ family = "half_cauchy", sigma = 1e-300 }',
        '{ family = "half_student_t", nu = 3, sigma = 1 }',
        '{ family = "beta", alpha = 1, beta = 2 }',
        '{ family = "uniform", lower = 0, upper = 1 }',
        '{ family = "inverse_gamma", alpha = 1, beta = 1e300 }',
        '{ family = "lognormal", mu = 700, sigma = 5 }',
        '{ family = "norml", sigma = 1 }',
        '{ family = "normal", sigma = -1 }',
    ]
)
LISTS = st.sampled_from(
    ["[]", '["year"]', '["g"]', '["year", "g"]', '["x"]', '["Lee"]', "[0.025, 0.5]"]
)
TEXTS = st.sampled_from(
    [
        '"t.csv"',
        '"s.toml"',
        '"."',
        '""',
        '"x"',
        '"year"',
        '"g"',
        '"C(g) + center(year)"',
        '"g:year"',
        '"ZCOR"',
        '"SMD"',
        '"r"',
        '"analysis"',
        '"mean"',
        '"\\u001b[31m\\u202e"',
    ]
)
MAPS = st.sampled_from(
    [
        "{}",
        '{ g = "a" }',
        "{ year = 2 }",
        '{ year = "mean" }',
        '{ study = ["Lee", "Kim", "Cho"] }',
        "{ estimate = 0.2, lower = 0.1, upper = 0.3 }",
        '{ ri = "r", ni = "n", sample = "g" }',
        "{ q = 3, q_df = 2, q_p = 0.9, i2 = 70 }",
        "{ levels = 2 }",
        '{ estimand = "composite" }',
    ]
)
OTHERS = st.one_of(TEXTS, LISTS, MAPS, NUMBERS, PRIOR, st.sampled_from(["true", "1979-05-27"]))
CHOICES = {
    "mechanism": ["none", "joint", "replace", "study", "thin", "pet", "peese"],
    "effects": ["normal", "student_t"],
    "estimand": ["mean", "composite"],
    "composites": ["collapse", "spread"],
    "missing": ["error", "drop"],
    "direction": ["positive", "negative"],
    "asserts": ["effect", "difference", "no_bias", "low_heterogeneity"],
    "interval": ["wald", "t", "cr2", "bayes"],
}
KINDS: dict[str, st.SearchStrategy[str]] = {
    **{key: st.sampled_from([f'"{word}"' for word in words]) for key, words in CHOICES.items()},
    **dict.fromkeys(("moderators", "steps", "engines", "mechanisms"), LISTS),
    **dict.fromkeys(("include", "exclude", "reference", "centring", "columns", "change"), MAPS),
    **dict.fromkeys(("published", "against"), MAPS),
    **dict.fromkeys(("levels", "intercorrelation", "draws", "replicates"), NUMBERS),
    **dict.fromkeys(("lower", "upper"), NUMBERS),
    **dict.fromkeys(("two_sided", "decompose"), st.sampled_from(["true", "false"])),
    **dict.fromkeys(("scale_moderator", "model", "parameter", "text"), TEXTS),
    "sampling_correlation": NUMBERS | PRIOR,
}
DATA = ["measure", "direction", "missing", "intercorrelation", "columns"]
MODEL = [
    "mechanism",
    "effects",
    "estimand",
    "composites",
    "moderators",
    "steps",
    "include",
    "exclude",
    "reference",
    "centring",
    "levels",
    "two_sided",
    "decompose",
    "scale_moderator",
    "sampling_correlation",
    "engines",
    "columns",
]
PARAMETERS = [
    "mu",
    "tau",
    "tau_between",
    "tau_within",
    "between_share",
    "beta",
    "beta[year]",
    "omega",
    "pet",
    "nu",
    "beta_scale",
    "log_tau_ratio",
    "x",
]
PARTS = {
    "[[claim]]": ["text", "model", "parameter", "published", "against", "asserts"],
    "[[ladder]]": ["model", "published", "change", "interval"],
    "[rope]": ["lower", "upper"],
    "[average]": ["model", "mechanisms"],
    "[sampler]": ["draws"],
    "[calibration]": ["replicates"],
}
NAMES = {"[[claim]]": ['id = "c"'], "[[ladder]]": ['name = "l"']}


@st.composite
def specs(draw: st.DrawFn) -> bytes:
    """Build a spec of keys that exist, most values of which are of the right kind."""

    def entries(keys: list[str], most: int) -> list[str]:
        chosen = draw(st.lists(st.sampled_from(keys), max_size=most, unique=True))
        return [
            f"{key} = {draw(OTHERS if draw(st.integers(0, 25)) == 0 else KINDS.get(key, OTHERS))}"
            for key in chosen
        ]

    lines = ["[data]", 'path = "t.csv"', *entries(DATA, 2)]
    for number in range(draw(st.integers(0, 2))):
        lines += ["[[model]]", f'name = "m{number}"', *entries(MODEL, 3), "[model.priors]"]
        for name in draw(st.lists(st.sampled_from(PARAMETERS), max_size=3, unique=True)):
            lines.append(f'"{name}" = {draw(PRIOR)}')
    for part in draw(st.lists(st.sampled_from(sorted(PARTS)), max_size=2, unique=True)):
        lines += [part, *NAMES.get(part, []), *entries(PARTS[part], 4)]
    return "\n".join(lines).encode()


BUILT = {"cells": ("csv", tables()), "keys": ("toml", specs())}


def examine(folder: Path, kind: str, raw: bytes) -> int:
    """Check one input in an empty folder.

    Parameters
    ----------
    folder : pathlib.Path
        Where to write the input; the current folder of the process.
    kind : str
        ``csv`` or ``toml``.
    raw : bytes
        Content of the table or of the spec.

    Returns
    -------
    int
        Exit status.

    Raises
    ------
    AssertionError
        If the answer breaks a rule: status 0 or 2; faults one a line on standard error, and
        nothing on standard output then; no control characters; nothing written.
    """
    from click.testing import CliRunner

    from reanalysis.cli import main

    source = "t.csv" if kind == "csv" else "s.toml"
    (folder / "t.csv").write_bytes(raw if kind == "csv" else TABLE)
    if kind == "toml":
        (folder / source).write_bytes(raw)
    before = sorted(path.name for path in folder.iterdir())
    result = CliRunner().invoke(main, ["check", source], catch_exceptions=False)
    assert result.exit_code in (0, 2), result.output
    if result.exit_code == 2:
        assert result.stdout == "", result.stdout
        lines = result.stderr.splitlines()
        assert lines and all(line.startswith("error: ") for line in lines), result.stderr
    shown = result.output.replace("\n", "")
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in shown), repr(shown)
    assert sorted(path.name for path in folder.iterdir()) == before
    return result.exit_code


def main() -> None:
    """Run the fuzzer on the kind of input that the command line names."""
    import atheris

    asked, *options = sys.argv[1:]
    kind = BUILT[asked][0] if asked in BUILT else asked
    with atheris.instrument_imports(include=["reanalysis", "tomllib", "csv"]):
        import reanalysis.audit
        import reanalysis.cli
        import reanalysis.plan
        import reanalysis.terminal  # noqa: F401

    home = Path.cwd()
    folder = Path(tempfile.mkdtemp(prefix="reanalysis-fuzz-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(TABLES if kind == "csv" else SPECS):
        (corpus / str(number)).write_bytes(seed)
    work = folder / "work"
    work.mkdir()
    os.chdir(work)
    counts = {0: 0, 2: 0}
    warnings.simplefilter("error")  # as in the tests

    def one(raw: bytes) -> None:
        counts[examine(work, kind, raw)] += 1
        if sum(counts.values()) % 5000 == 0:
            print(f"{asked}: {counts[0]} accepted, {counts[2]} refused", file=sys.stderr)

    target = given(BUILT[asked][1])(one).hypothesis.fuzz_one_input if asked in BUILT else one
    dictionary = HERE / f"{kind}.dict"
    crashes = f"-artifact_prefix={home}/"
    limits = ["-max_len=3000", "-len_control=0", "-timeout=20"]
    options = [f"-dict={dictionary}", *limits, crashes, *options]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target)
    try:
        atheris.Fuzz()
    finally:
        os.chdir(home)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

"""The commented spec that `reanalysis init` writes for a table.

Everything that was guessed is said beside the guess; everything that the author has to decide is
there with its default.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from reanalysis.atomic import write_atomically
from reanalysis.design import ZCOR_PRIORS
from reanalysis.effect_sizes import MEASURES
from reanalysis.locate import data_path
from reanalysis.priors import Prior
from reanalysis.roles import Guess, guess_roles
from reanalysis.spec_file import parse_reanalysis, toml_string
from reanalysis.tables import TextTable, read_table

__all__ = ["starting_spec", "write_starting_spec"]

ROLES = {
    "ri": "correlation",
    "ni": "sample size",
    "yi": "effect size",
    "vi": "its sampling variance",
    "sei": "its standard error",
    "sample": "rows of one sample depend on each other",
    "study": "the article",
    "label": "what the plots call a row",
    "effect": "name of the effect; must not repeat",
    "n_averaged": "the row is a mean of so many effects",
    "composite_of": "the correlation is a composite of so many effects",
    "n_measured": "effects the sample measured, reported or not",
}
NEEDED = (("ri", "ni"), ("yi", "vi"), ("yi", "sei"))

ASKING = (
    "# The effect sizes were not recognised. Name two columns, as one of these pairs:",
    '# ri = "..."  and  ni = "..."    correlation and sample size',
    '# yi = "..."  and  vi = "..."    effect size and its sampling variance',
    '# yi = "..."  and  sei = "..."   effect size and its standard error',
)


def write_starting_spec(csv: Path, path: Path, *, force: bool = False) -> Guess:
    """Write a starting spec for a table.

    Parameters
    ----------
    csv : pathlib.Path
        The table.
    path : pathlib.Path
        The spec to write.
    force : bool
        Whether to replace an existing file.

    Returns
    -------
    Guess
        What the columns were taken for.

    Raises
    ------
    DataError
        If the table cannot be read.
    SpecError
        If the spec would lie where it may not read the table.
    OSError
        If the file exists and `force` is not given, or it cannot be written.
    """
    table = read_table(csv)
    if path.exists() and not force:
        raise FileExistsError(f"{path}: is already there; pass --force to replace it.")
    relative = Path(os.path.relpath(csv.resolve(), path.parent.resolve())).as_posix()
    text = starting_spec(table, relative)
    data_path(parse_reanalysis(text, name=path.stem, path=path))
    write_atomically(path, text)
    return guess_roles(table.header)


def starting_spec(table: TextTable, path: str) -> str:
    """Return a commented TOML spec for a table.

    Parameters
    ----------
    table : TextTable
        The table; only its header and the sample column are looked at.
    path : str
        Path of the table as the spec is to state it.

    Returns
    -------
    str
        TOML; complete where the columns could be guessed, otherwise with the missing lines as
        comments to be filled in.
    """
    guess = guess_roles(table.header)
    complete = any(all(role in guess.roles for role in pair) for pair in NEEDED)
    sample = guess.roles.get("sample")
    nested = sample is not None and len(set(table.column(sample))) < len(table.rows)
    title = path.rsplit("/", 1)[-1].removesuffix(".csv").replace("_", " ")
    lines = [
        f"# {_comment(title)}: a starting spec. Check every guess, then:",
        "#   reanalysis check THIS_FILE     what can be wrong, in a second",
        "#   reanalysis run THIS_FILE       the report",
        "",
        f"title = {toml_string(title)}",
        "seed = 2021                    # of every random step; change it and the draws change",
        "",
        "# [source]                     # the publication under reanalysis",
        '# citation = ""',
        '# doi = ""',
        "",
        "[data]",
        f"path = {toml_string(path)}",
        *_measure(guess.measure),
        'direction = "positive"         # expected sign of the effects: positive or negative',
        '# missing = "drop"             # leave rows without an effect size out; default: refuse',
        '# decimal = ","                # if numbers are written 0,25',
        "",
        "[data.columns]                 # role = column; guessed from the names",
        *(_column(role, column) for role, column in guess.roles.items()),
        *([] if complete else ASKING),
        *(
            []
            if sample
            else ['# sample = "..."               # absent: every row is its own sample']
        ),
        f"# columns of the table: {_comment(', '.join(table.header))}",
        "",
        *_model(guess.measure, nested),
        "# [[claim]]                    # what the paper says, to be set beside the answer",
        '# id = "overall"',
        '# text = "the sentence as the paper prints it"',
        '# source = "page, table"',
        f'# model = "{_name(nested)}"',
        '# parameter = "mu"',
        "# published = { estimate = 0.20, lower = 0.14, upper = 0.26, "
        + ('scale = "r" }' if guess.measure == "ZCOR" else 'scale = "analysis" }'),
        "",
    ]
    return "\n".join(lines)


def _comment(text: str) -> str:
    """Return text on one line, fit for a comment."""
    return " ".join(text.split())


def _measure(measure: str) -> list[str]:
    if measure:
        return [f'measure = "{measure}"               # guessed: {MEASURES[measure].name}']
    return [f'# measure = "..."              # state it: one of {", ".join(MEASURES)}']


def _column(role: str, column: str) -> str:
    return f"{f'{role} = {toml_string(column)}':<30} # {ROLES[role]}"


def _name(nested: bool) -> str:
    return "three_level" if nested else "two_level"


def _model(measure: str, nested: bool) -> list[str]:
    title = "Three levels" if nested else "Two levels"
    priors = _priors(measure, nested)
    comment = "" if measure == "ZCOR" else "# "
    lines = [
        "[[model]]",
        f'name = "{_name(nested)}"',
        f'title = "{title}"',
        'levels = "auto"                # 3 where a sample has several effects',
        'moderators = []                # columns, or a formula such as "center(year) + group"',
        "sampling_correlation = 0.0     # of sampling errors within a sample",
        'mechanism = "none"             # none, joint, replace, study, thin, pet, peese',
        "[model.priors]                 # on the analysis scale",
    ]
    if comment:
        lines.append("# This measure has no default priors; state them with your reasons:")
    lines += [f"{comment}{name} = {_prior(prior)}" for name, prior in priors.items()]
    return [*lines, ""]


def _priors(measure: str, nested: bool) -> Mapping[str, Prior]:
    if measure == "ZCOR":
        names = ("mu", "tau", "between_share") if nested else ("mu", "tau")
        return {name: ZCOR_PRIORS[name] for name in names}
    return {
        "mu": Prior("normal", {"mu": 0.0, "sigma": 1.0}, "your reason"),
        "tau": Prior("half_normal", {"sigma": 0.5}, "your reason"),
    }


def _prior(prior: Prior) -> str:
    entries = [f'family = "{prior.family}"']
    entries += [f"{name} = {value!r}" for name, value in prior.parameters.items()]
    entries.append(f"rationale = {toml_string(prior.rationale)}")
    return f"{{ {', '.join(entries)} }}"

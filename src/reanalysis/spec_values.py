"""Single values of a spec: what each may be, and the words for what it may not.

The types here are annotated with their checks; the records of `reanalysis.spec` are made of them.
"""

import sys
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from reanalysis.nearest import nearest
from reanalysis.priors import FAMILIES, Prior

__all__ = [
    "LIST",
    "Centring",
    "Correlation",
    "Count",
    "Filter",
    "Identifier",
    "Moderators",
    "Number",
    "Priors",
    "Published",
    "Roles",
    "ScaleModerator",
    "Steps",
    "Weights",
    "shorten",
    "suggest",
]

MAX_FLOAT = sys.float_info.max
DEVICES = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))]
)
ROLES = (
    "yi",
    "vi",
    "sei",
    "ri",
    "ni",
    "sample",
    "study",
    "label",
    "effect",
    "n_averaged",
    "composite_of",
    "composite",
    "n_measured",
)
PUBLISHED = (
    "estimate",
    "lower",
    "upper",
    "se",
    "p",
    "scale",
    "q",
    "q_df",
    "q_p",
    "i2",
    "qm",
    "qm_df",
    "qm_p",
    "k",
    "m",
    "n",
    "alpha",
    "missing",
)


def suggest(word: str, choices: tuple[str, ...]) -> str:
    """Return the end of a message: the nearest choice, if any is near, and all of them."""
    near = nearest(word, choices)
    hint = f"; did you mean '{near}'?" if near else "."
    return f"{hint} Choices: {', '.join(choices)}."


def shorten(value: object) -> str:
    """Return a value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _not_a_device(name: str) -> str:
    """Refuse the names that Windows keeps for devices, whatever their ending."""
    if name in DEVICES:
        raise ValueError(f"'{name}' is the name of a device on Windows; choose another")
    return name


def _prior(value: object) -> Prior:
    if isinstance(value, Prior):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(
            'must be a table such as { family = "normal", mu = 0.0, sigma = 0.5, rationale = "…" }'
        )
    entries = dict(value)
    family = entries.pop("family", None)
    rationale = entries.pop("rationale", "")
    if not isinstance(family, str):
        raise ValueError(f"needs a 'family', one of {', '.join(FAMILIES)}")
    if not isinstance(rationale, str):
        raise ValueError(f"'rationale' must be text, not {shorten(rationale)}")
    return Prior(family, entries, rationale)


def _correlation(value: object) -> float | Prior:
    if isinstance(value, (Mapping, Prior)):
        return _prior(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(
            f"must be a number from 0 up to (not including) 1, or a prior; not {shorten(value)}"
        )
    if not 0 <= value < 1:
        raise ValueError(f"must be at least 0 and below 1, not {value}")
    return float(value)


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _moderators(value: object) -> object:
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(entry, str) for entry in value):
        return tuple(value)
    raise ValueError("must be a list of column names, or a formula in quotes")


def _scale_moderator(value: object) -> object:
    if isinstance(value, list):
        raise ValueError(
            "takes one column in quotes: below 40 samples the data cannot tell two causes of "
            "heterogeneity apart; make a model for each"
        )
    return value


def _centring(value: object) -> Mapping[str, float | str]:
    if not isinstance(value, Mapping):
        raise ValueError('must be a table such as { year = 2000, age = "mean" }')
    for name, centre in value.items():
        if centre != "mean" and not _is_number(centre):
            raise ValueError(f"'{name}' must be a number or \"mean\", not {shorten(centre)}")
    return dict(value)


def _steps(value: object) -> tuple[float, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError("must be a list of p-values such as [0.025, 0.5]")
    for step in value:
        if isinstance(step, bool) or not isinstance(step, (int, float)) or not 0 < step < 1:
            raise ValueError(f"each step must be a p-value between 0 and 1, not {shorten(step)}")
    if any(a >= b for a, b in pairwise(value)):
        raise ValueError(f"must increase from step to step, not {list(value)}")
    return tuple(float(step) for step in value)


def _weights(value: object) -> tuple[float, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("must be a list of weights, one per bin, such as [1, 0.5, 0.2]")
    for weight in value:
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not 0 < weight <= 1:
            raise ValueError(
                f"each weight must be above 0 and at most 1, not {shorten(weight)}; take a small "
                "one such as 1e-6 for results that are never published"
            )
    if value and value[0] != 1:
        raise ValueError(f"the first weight, of the most significant bin, is 1, not {value[0]:g}")
    return tuple(float(weight) for weight in value)


def _filter(value: object) -> Mapping[str, tuple[Any, ...]]:
    if not isinstance(value, Mapping):
        raise ValueError('must be a table such as { sample = ["3", "7"] }')
    return {key: tuple(v) if isinstance(v, (list, tuple)) else (v,) for key, v in value.items()}


def _roles(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError('must be a table such as { ri = "r", ni = "n" }')
    problems = []
    for role, column in value.items():
        if role not in ROLES:
            problems.append(f"has no role '{role}'{suggest(str(role), ROLES)}")
        elif not isinstance(column, str):
            problems.append(f"'{role}' must name a column in quotes, not {shorten(column)}")
    if problems:
        raise ValueError("\n".join(problems))
    return dict(value)


def _priors(value: object) -> Mapping[str, Prior]:
    if not isinstance(value, Mapping):
        raise ValueError("must be a table of priors")
    priors, problems = {}, []
    for name, entry in value.items():
        try:
            priors[name] = _prior(entry)
        except ValueError as error:
            problems.append(f"'{name}': {error}")
    if problems:
        raise ValueError("\n".join(problems))
    return priors


def _published(value: object) -> Mapping[str, float | str]:
    if not isinstance(value, Mapping):
        raise ValueError("must be a table such as { estimate = 0.2, lower = 0.1, upper = 0.3 }")
    problems = []
    for key, entry in value.items():
        if key not in PUBLISHED:
            problems.append(f"has no key '{key}'{suggest(str(key), PUBLISHED)}")
        elif key == "scale":
            if entry not in ("r", "analysis"):
                problems.append(f'\'scale\' must be "r" or "analysis", not {shorten(entry)}')
        elif not _is_number(entry):
            problems.append(f"'{key}' must be a finite number, not {shorten(entry)}")
    if problems:
        raise ValueError("\n".join(problems))
    return dict(value)


def _is_number(value: object) -> bool:
    """Whether a value is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return -MAX_FLOAT <= value <= MAX_FLOAT


Priors = Annotated[Mapping[str, Prior], BeforeValidator(_priors)]
Roles = Annotated[Mapping[str, str], BeforeValidator(_roles)]
Filter = Annotated[Mapping[str, tuple[Any, ...]], BeforeValidator(_filter)]
Identifier = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$"), AfterValidator(_not_a_device)
]
Number = Annotated[float, Field(strict=True)]
Count = Annotated[int, Field(strict=True)]
Published = Annotated[Mapping[str, float | str], BeforeValidator(_published)]
ScaleModerator = Annotated[str, BeforeValidator(_scale_moderator)]
Moderators = Annotated[tuple[str, ...] | str, BeforeValidator(_moderators)]
Centring = Annotated[Mapping[str, float | str], BeforeValidator(_centring)]
Correlation = Annotated[float | Prior, BeforeValidator(_correlation)]
Steps = Annotated[tuple[float, ...], BeforeValidator(_steps)]
Weights = Annotated[tuple[float, ...], BeforeValidator(_weights)]
LIST = BeforeValidator(_tuple)  # TOML has lists, records have tuples

"""The records of a spec: what a TOML file can ask for, and what each key may be.

`reanalysis.spec_file` makes them from a file. What the columns of the data hold is not looked at
here; `reanalysis.design` does that.
"""

from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from reanalysis.spec_values import (
    LIST,
    Centring,
    Correlation,
    Count,
    Filter,
    Identifier,
    Moderators,
    Number,
    Priors,
    Published,
    Roles,
    ScaleModerator,
    Steps,
    Weights,
    suggest,
)

__all__ = [
    "CONFIG",
    "Average",
    "Axis",
    "Bias",
    "CalibrationPlan",
    "Claim",
    "DataSource",
    "ModelSpec",
    "Option",
    "Reanalysis",
    "Rope",
    "Rung",
    "Sampler",
    "Source",
    "SpecError",
]

CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)


class SpecError(ValueError):
    """A spec cannot be used; `problems` has one line per fault."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


@dataclass(frozen=True, config=CONFIG)
class DataSource:
    """Where the table is and what its columns hold.

    Attributes
    ----------
    path : str
        A data folder or a CSV file, relative to the spec.
    table : str
        Resource of a data folder; empty for its default.
    measure : str
        Effect-size measure (metafor's code) of a bare CSV.
    direction : str
        Expected direction of the effects.
    columns : mapping of str to str
        Column of each role.
    missing : str
        ``error`` (default) or ``drop`` for rows without an effect size.
    decimal : str
        Decimal mark of the CSV, ``.`` or ``,``.
    encoding : str
        Encoding of the CSV; UTF-8 by default.
    intercorrelation : float
        Correlation assumed among the effects of a printed composite.
    """

    path: str
    table: str = ""
    measure: str = ""
    direction: Literal["positive", "negative"] | None = None
    columns: Roles = field(default_factory=dict)
    missing: Literal["error", "drop"] = "error"
    decimal: Literal[".", ","] = "."
    encoding: Literal["utf-8", "utf-16", "latin-1", "cp1252", "mac-roman"] = "utf-8"
    intercorrelation: Annotated[Number, Field(ge=0, lt=1)] | None = None


@dataclass(frozen=True, config=CONFIG)
class ModelSpec:
    """One model: which rows, which effects, which priors.

    Attributes
    ----------
    name, title : str
        Identifier, and words for the report.
    table, columns : str, mapping
        Another table of the data folder, or other columns for a role (another reading).
    estimand : str
        ``mean`` turns printed composites into mean effects; ``composite`` takes them as printed.
    composites : str
        ``collapse`` keeps the effects behind one composite as one row; ``spread`` repeats it.
    effects : str
        Distribution of the samples' deviations from the mean: ``normal``, or ``student_t``, which
        lets single samples lie far out; ``tau_between`` is then its scale and ``nu`` its degrees
        of freedom.
    levels : int or str
        2, 3, or ``auto``: 3 where a sample has several rows or averages.
    moderators : tuple of str, or str
        Columns, or a formula.
    reference : mapping
        Reference level per factor; sum-to-zero contrasts without one.
    centring : mapping
        Value of a moderator that holds numbers at which it is zero in the model, or ``mean``
        (of the samples), which is the default.
    decompose : bool
        Whether a moderator that varies within samples is split into the samples' means and the
        deviations from them.
    sampling_correlation : float or Prior
        Correlation of sampling errors within a sample.
    mechanism, steps : str, tuple of float
        Selection mechanism, and its p-value steps.
    two_sided : bool
        Whether the steps are two-sided p-values.
    omega : tuple of float
        Weights of the bins held fixed, the first of them 1; they are estimated where it is empty.
    primary : str
        Column that marks one effect of each sample as its primary one, on which `study` decides;
        the most significant effect without one.
    priors : mapping of str to Prior
        Priors by parameter.
    engines : tuple of str
        Engines that fit this model.
    family : str
        Word shared by the models of single moderators whose tests are adjusted for each other,
        and by the joint model of these moderators.
    note : str
        What the data cannot determine about this model, in words for the report.
    scale_moderator : str
        Column, constant in each sample, that changes the heterogeneity.
    include, exclude : mapping
        Rows to keep or leave out: column to values.
    """

    name: Identifier
    title: str = ""
    table: str = ""
    columns: Roles = field(default_factory=dict)
    estimand: Literal["mean", "composite"] = "mean"
    composites: Literal["collapse", "spread"] = "collapse"
    effects: Literal["normal", "student_t"] = "normal"
    levels: Literal["auto", 2, 3] = "auto"
    moderators: Moderators = ()
    reference: Mapping[str, str] = field(default_factory=dict)
    centring: Centring = field(default_factory=dict)
    decompose: Annotated[bool, Field(strict=True)] = True
    sampling_correlation: Correlation = 0.0
    mechanism: Literal["none", "joint", "replace", "study", "thin", "pet", "peese"] = "none"
    steps: Steps = (0.025, 0.5)
    two_sided: Annotated[bool, Field(strict=True)] = False
    omega: Weights = ()
    primary: str = ""
    priors: Priors = field(default_factory=dict)
    engines: Annotated[tuple[Literal["reml", "exact", "nuts"], ...], LIST] = (
        "reml",
        "exact",
        "nuts",
    )
    family: str = ""
    note: str = ""
    scale_moderator: ScaleModerator = ""
    include: Filter = field(default_factory=dict)
    exclude: Filter = field(default_factory=dict)


@dataclass(frozen=True, config=CONFIG)
class Claim:
    """One sentence of the paper with its printed numbers.

    Attributes
    ----------
    id, text, source : str
        Identifier, the sentence shortened, and its place in the paper.
    model, parameter : str
        What answers it here.
    asserts : str
        What kind of claim it is; chooses the rule of its verdict.
    published : mapping
        The printed numbers: ``estimate``, ``lower``, ``upper``, ``p``, ``q``, ``i2``, ...
    note : str
        Why it cannot be checked, where no model answers it.
    against : mapping
        A benchmark that the claim compares with, in the same form.
    """

    id: Identifier
    text: str
    source: str = ""
    model: str = ""
    parameter: str = "mu"
    asserts: Literal[
        "effect",
        "difference",
        "no_difference",
        "smaller",
        "larger",
        "low_heterogeneity",
        "no_bias",
    ] = "effect"
    note: str = ""
    published: Published = field(default_factory=dict)
    against: Published = field(default_factory=dict)


@dataclass(frozen=True, config=CONFIG)
class Rope:
    """Region of practical equivalence, with its justification."""

    lower: Number
    upper: Number
    scale: Literal["r", "analysis"] = "r"
    rationale: str = ""

    def __post_init__(self) -> None:
        """Check the order of the limits."""
        if self.lower >= self.upper:
            raise ValueError(f"lower ({self.lower}) must be below upper ({self.upper})")


@dataclass(frozen=True, config=CONFIG)
class Bias:
    """One model of publication bias in a set that is averaged.

    Attributes
    ----------
    mechanism : str
        ``none``, ``pet``, ``peese``, or the mechanism of a weight function.
    steps, two_sided : tuple of float, bool
        Of a weight function.
    weight : float
        Prior weight among the models with bias, or among those without; scaled to add up to 1.
    """

    mechanism: Literal["none", "joint", "replace", "study", "pet", "peese"]
    steps: Steps = (0.025, 0.5)
    two_sided: Annotated[bool, Field(strict=True)] = False
    weight: Annotated[Number, Field(gt=0, lt=float("inf"))] = 1.0


Probability = Annotated[Number, Field(gt=0, lt=1)]


@dataclass(frozen=True, config=CONFIG)
class Average:
    """Which model is averaged over effect, heterogeneity and bias.

    Attributes
    ----------
    model : str
        A model without moderators.
    mechanisms : tuple of str
        Selection mechanisms that share the prior weight of each weight function; more than one
        needs samples with several effects.
    bias : tuple of Bias
        Models of bias and of its absence; those of RoBMA-PSMA where it is empty.
    prior_effect, prior_heterogeneity, prior_bias : float
        Prior probability that the component is there.
    """

    model: str
    mechanisms: Annotated[tuple[Literal["joint", "replace", "study"], ...], LIST] = ("joint",)
    bias: Annotated[tuple[Bias, ...], LIST] = ()
    prior_effect: Probability = 0.5
    prior_heterogeneity: Probability = 0.5
    prior_bias: Probability = 0.5

    def __post_init__(self) -> None:
        """Check that the set can say something about bias."""
        present = {one.mechanism != "none" for one in self.bias}
        if self.bias and len(present) < 2:
            raise ValueError(
                "bias needs at least one model with bias and one without, such as "
                '[{ mechanism = "none" }, { mechanism = "joint", steps = [0.025] }]'
            )
        if self.bias and self.mechanisms != ("joint",):
            raise ValueError(
                "give either bias, in which each model names its mechanism, or mechanisms"
            )


@dataclass(frozen=True, config=CONFIG)
class CalibrationPlan:
    """How many data sets are simulated at the design of the headline model.

    Attributes
    ----------
    replicates : int
        Data sets with parameters from the priors.
    """

    replicates: Annotated[Count, Field(ge=20, le=1_000_000)] = 1000


def _settings(value: object) -> Mapping[str, Any]:
    """Check settings of a model that are to replace others, each by the model's own rules."""
    if not isinstance(value, Mapping):
        raise ValueError('must be a table such as { estimand = "composite" }')
    known = tuple(e.name for e in fields(ModelSpec) if e.name not in ("name", "title", "engines"))
    problems = [f"unknown setting '{key}'{suggest(str(key), known)}" for key in value]
    problems = [p for p, key in zip(problems, value, strict=True) if key not in known]
    if problems:
        raise ValueError("\n".join(problems))
    try:
        model = ModelSpec(name="x", **value)
    except ValidationError as error:
        lines = []
        for detail in error.errors():
            place = ".".join(str(part) for part in detail["loc"])
            reason = str(detail.get("ctx", {}).get("error") or detail["msg"])
            lines += [f"{place}: {line}" for line in reason.split("\n")]
        raise ValueError("\n".join(lines)) from None
    return {key: getattr(model, key) for key in value}


Settings = Annotated[Mapping[str, Any], BeforeValidator(_settings)]


@dataclass(frozen=True, config=CONFIG)
class Option:
    """One way of taking a decision of the multiverse.

    Attributes
    ----------
    name : str
        Words for tables and figures.
    settings : mapping
        Settings of the model that it replaces; mappings such as ``priors`` are merged.
    """

    name: str
    settings: Settings = field(default_factory=dict)


def _options(value: object) -> object:
    """Take each option as a name with settings beside it."""
    if not isinstance(value, (list, tuple)):
        return value
    options: list[object] = []
    for entry in value:
        if isinstance(entry, Mapping) and "settings" not in entry:
            settings = {key: v for key, v in entry.items() if key != "name"}
            entry = {key: v for key, v in entry.items() if key == "name"} | {"settings": settings}
        options.append(entry)
    return tuple(options)


@dataclass(frozen=True, config=CONFIG)
class Axis:
    """One decision of the multiverse: defensible options, the first being the headline's.

    Attributes
    ----------
    name, title : str
        Identifier, and words for the report.
    options : tuple of Option
        Ways of taking the decision.
    leave_out : str
        Instead of options: a column each of whose values is left out in turn.
    apart_from : tuple of str
        Axes that this one is not crossed with: where it takes another option than its first, they
        take theirs.
    """

    name: Identifier
    title: str = ""
    options: Annotated[tuple[Option, ...], BeforeValidator(_options)] = ()
    leave_out: str = ""
    apart_from: Annotated[tuple[str, ...], LIST] = ()

    def __post_init__(self) -> None:
        """Check that there is something to decide."""
        if bool(self.options) == bool(self.leave_out):
            raise ValueError("give either 'options', or 'leave_out' with the name of a column")
        names = [option.name for option in self.options]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"the option {twice!r} is there twice; rename one")


@dataclass(frozen=True, config=CONFIG)
class Rung:
    """One step of the ladder from the published number to ours; it changes one thing.

    Attributes
    ----------
    name, title : str
        Identifier, and words for the report.
    published : mapping
        The number to start from, on the first rung only.
    model : str
        Model of the spec to start from; later rungs go on from the one before.
    change : mapping
        Settings of the model that change here.
    interval : str
        How the estimate is made from here on: ``wald`` (REML, z), ``t`` (REML, containment
        degrees of freedom), ``cr2`` (REML, cluster-robust), ``bayes`` (exact engine).
    """

    name: Identifier
    title: str = ""
    published: Published = field(default_factory=dict)
    model: str = ""
    change: Settings = field(default_factory=dict)
    interval: Literal["", "wald", "t", "cr2", "bayes"] = ""


@dataclass(frozen=True, config=CONFIG)
class Sampler:
    """Settings of NUTS that a spec may state."""

    sampler: Literal["nutpie", "pymc"] = "nutpie"
    chains: Annotated[Count, Field(ge=2, le=64)] = 4
    tune: Annotated[Count, Field(ge=100, le=100_000)] = 1000
    draws: Annotated[Count, Field(ge=100, le=1_000_000)] = 2000
    target_accept: Annotated[Number, Field(gt=0.5, lt=1)] = 0.9


@dataclass(frozen=True, config=CONFIG)
class Source:
    """The publication under reanalysis."""

    citation: str = ""
    doi: str = ""


@dataclass(frozen=True, config=CONFIG)
class Reanalysis:
    """Everything one TOML file asks for.

    Attributes
    ----------
    name : str
        Name of the reanalysis: the file's name without its ending.
    title : str
        Title of the report.
    data : DataSource
        The table.
    models : mapping of str to ModelSpec
        Models by name, in order; the first is the headline. Empty: the default set.
    claims : tuple of Claim
        What the paper asserts.
    multiverse : tuple of Axis
        Decisions whose combinations are fitted.
    ladder : tuple of Rung
        Steps from the published number to ours.
    seed : int
        Seed of every random step.
    rope : Rope or None
        Region of practical equivalence.
    average : Average or None
        Model averaging over effect, heterogeneity and bias.
    calibration : CalibrationPlan or None
        Simulated data sets that show how often the intervals hold the truth.
    sampler : Sampler
        NUTS settings.
    source : Source
        The publication.
    limits : tuple of str
        Limits of this reanalysis in words, printed in the report.
    path : pathlib.Path or None
        File it came from.
    text : str
        The TOML text, archived with the results.
    """

    name: str
    title: str
    data: DataSource
    models: Mapping[str, ModelSpec] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    multiverse: tuple[Axis, ...] = ()
    ladder: tuple[Rung, ...] = ()
    seed: int = 2021
    rope: Rope | None = None
    average: Average | None = None
    calibration: CalibrationPlan | None = None
    sampler: Sampler = field(default_factory=Sampler)
    source: Source = field(default_factory=Source)
    limits: tuple[str, ...] = ()
    path: Path | None = None
    text: str = ""

    @property
    def folder(self) -> Path:
        """Folder that relative paths of the spec start from."""
        return self.path.parent if self.path else Path()

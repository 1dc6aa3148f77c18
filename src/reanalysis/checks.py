"""What a careful reviewer asks of the frequentist fit: influence and small-study methods."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from reanalysis.design import Design
from reanalysis.frequentist import (
    Influence,
    SmallStudyChecks,
    check_small_study,
    leave_one_out,
)
from reanalysis.results import EngineError, FrequentistFit
from reanalysis.spec import ModelSpec

__all__ = ["Checks", "make_checks"]

MOST_SAMPLES = 1000


@dataclass(frozen=True, eq=False)
class Checks:
    """Checks of one frequentist fit.

    Attributes
    ----------
    influence : Influence or None
        Leaving out each sample.
    small_study : SmallStudyChecks or None
        Funnel asymmetry, trim-and-fill, PET-PEESE, selection model by maximum likelihood.
    skipped : mapping of str to str
        What could not be computed, with the reason.
    """

    influence: Influence | None = None
    small_study: SmallStudyChecks | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)


def make_checks(
    design: Design,
    spec: ModelSpec,
    fit: FrequentistFit,
    *,
    direction: Literal["positive", "negative"],
    small_study: bool,
    influence: bool,
) -> Checks:
    """Run the checks that a model allows.

    Parameters
    ----------
    design : Design
        Arrays of the model.
    spec : ModelSpec
        The model.
    fit : FrequentistFit
        Its fit.
    direction : str
        Expected direction of the effects.
    small_study, influence : bool
        Whether to run these, which take longer.

    Returns
    -------
    Checks
        Results, and what was skipped with its reason.
    """
    skipped: dict[str, str] = {}
    leave = small = None
    if influence and design.m > MOST_SAMPLES:
        skipped["influence"] = (
            f"{design.m:,} samples, each left out in turn, take too long; at most {MOST_SAMPLES:,}"
        )
    elif influence:
        try:
            leave = leave_one_out(design, spec, fit)
        except EngineError as error:
            skipped["influence"] = str(error)
    if small_study:
        if design.p > 1:
            skipped["small_study"] = "the model has moderators"
        else:
            small = check_small_study(design, spec, fit, direction=direction)
    return Checks(leave, small, MappingProxyType(skipped))

"""The sections of the page that a document may or may not have, in their order.

A section is a line in `SECTIONS`, a function that prepares what it shows, and a template of the
section's name in ``templates/sections``, which finds that in ``part``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from reanalysis.plots.source import Selected
from reanalysis.report import (
    calibration,
    checklists,
    ladder,
    methods,
    moderators,
    multiverse,
    predictive,
    sensitivity,
    sources,
)

__all__ = ["SECTIONS", "Section", "Shown", "make_sections"]

Place = Literal["claims", "evidence", "checks", "close"]
Prepare = Callable[[Mapping[str, Any], Mapping[str, Selected]], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Section:
    """One section.

    Attributes
    ----------
    key : str
        Its anchor, and the name of its template.
    heading, hint : str
        Its title, and what it answers, in a few words.
    place : str
        Which part of the page it stands in: ``claims``, ``evidence`` (after the models),
        ``checks`` (after convergence), or ``close`` (before the limits).
    prepare : callable
        From the document and its models to what the template shows; None where the document has
        nothing of it.
    """

    key: str
    heading: str
    hint: str
    place: Place
    prepare: Prepare


SECTIONS: Sequence[Section] = (
    Section(
        "ladder",
        "Ladder",
        "From the published number to ours, one change at a time",
        "claims",
        ladder.make_ladder,
    ),
    Section(
        "moderators",
        "Moderators",
        "For whom and when the effect is larger",
        "evidence",
        moderators.make_moderators,
    ),
    Section(
        "multiverse",
        "Multiverse",
        "Which decisions change the conclusion",
        "evidence",
        multiverse.make_multiverse,
    ),
    Section(
        "sensitivity",
        "Sensitivity",
        "Single samples and the strength of priors",
        "evidence",
        sensitivity.make_sensitivity,
    ),
    Section(
        "predictive",
        "Predictive checks",
        "Whether the model could have made these data",
        "checks",
        predictive.make_predictive,
    ),
    Section(
        "calibration",
        "Calibration",
        "Whether the intervals keep what they promise at this design",
        "checks",
        calibration.make_calibration,
    ),
    Section(
        "sources",
        "Search and appraisal",
        "The source's own flow of studies, and the risk of bias as it judged it",
        "close",
        sources.make_sources,
    ),
    Section(
        "methods",
        "Methods text",
        "Ready to paste, with references",
        "close",
        methods.make_methods,
    ),
    Section(
        "checklists",
        "Checklists",
        "BARG, PRISMA 2020, MARS, ROBUST",
        "close",
        checklists.make_checklists,
    ),
)


@dataclass(frozen=True)
class Shown:
    """A section that the document fills.

    Attributes
    ----------
    section : Section
        Which it is.
    part : mapping
        What its template shows.
    """

    section: Section
    part: Mapping[str, Any]

    @property
    def template(self) -> str:
        """Name of its template."""
        return f"sections/{self.section.key}.html"


def make_sections(
    document: Mapping[str, Any], chosen: Mapping[str, Selected]
) -> Mapping[str, tuple[Shown, ...]]:
    """Return the sections of a document, by their place.

    Parameters
    ----------
    document : mapping
        The results document.
    chosen : mapping of str to Selected
        Its models.

    Returns
    -------
    mapping of str to tuple of Shown
        Every place, also those that nothing stands in.
    """
    shown: dict[str, tuple[Shown, ...]] = dict.fromkeys(get_args(Place), ())
    for section in SECTIONS:
        part = section.prepare(document, chosen)
        if part is not None:
            shown[section.place] += (Shown(section, part),)
    return shown

"""What a figure is made of: the results document, and one model in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reanalysis.wording import Scale, readable_scale

if TYPE_CHECKING:
    from reanalysis.analysis import Analysis

__all__ = ["Selected", "select"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Selected:
    """One model of a document, with the scale it is shown on.

    Attributes
    ----------
    name : str
        The model.
    model : mapping
        Its part of the document.
    published : mapping of str to mapping
        Printed estimates on the analysis scale: ``mean``, and ``lower``, ``upper`` where printed.
    scale : Scale
        Readable scale of the measure.
    document : mapping
        The whole document.
    headline : bool
        Whether it is the report's first model.
    """

    name: str
    model: Mapping[str, Any]
    published: Mapping[str, Mapping[str, float]]
    scale: Scale
    document: Mapping[str, Any]
    headline: bool = True

    @property
    def nuts_failed(self) -> bool:
        """Whether NUTS ran and missed its gate, so that none of its numbers is a result."""
        return not self.model.get("nuts", {}).get("diagnostics", {}).get("passed", True)

    @property
    def posterior(self) -> tuple[str, Mapping[str, Any]] | None:
        """The Bayesian engine whose numbers are shown: exact, else NUTS if it converged."""
        if "exact" in self.model:
            return "exact", self.model["exact"]
        if "nuts" in self.model and not self.nuts_failed:
            return "nuts", self.model["nuts"]
        return None

    @property
    def focus(self) -> str:
        """The parameter that the model is about: its mean, or its first coefficient."""
        return str(self.model["coefficients"][0])

    def answers(self, table: str, term: str) -> dict[str, list[Mapping[str, Any]]]:
        """Return what is known of a moderator, by engine: one Bayesian engine, then REML."""
        rows = [row for row in self.model["moderation"][table] if row["term"] == term]
        found = {row["engine"] for row in rows}
        bayesian = [name for name in ("exact", "nuts") if name in found][:1]
        engines = [*bayesian, *({"reml"} & found)]
        return {name: [row for row in rows if row["engine"] == name] for name in engines}

    def term(self, asked: str | None, known: Sequence[str], kind: str) -> str:
        """Return the term that was asked for, or the first; KeyError if there is no such."""
        if not known or (asked is not None and asked not in known):
            raise KeyError(
                f"model '{self.name}' has no moderator '{asked or ''}' that is a {kind}; it has "
                f"{', '.join(known) or 'none'}."
            )
        return known[0] if asked is None else asked

    def weighed(self, area: float) -> tuple[Vector, Vector]:
        """Return the effects, and areas of circles in proportion to their weight."""
        yi = np.array([effect["yi"] for effect in self.model["effects"]])
        weight = 1 / np.array([effect["vi"] for effect in self.model["effects"]])
        return yi, area * weight / weight.max()

    def estimate(self, parameter: str) -> Mapping[str, Any] | None:
        """Return an estimate of the shown Bayesian engine, or of REML where there is none."""
        if self.posterior:
            found = self.posterior[1]["estimates"].get(parameter)
            return None if found is None else dict(found)
        return self.reml(parameter)

    def reml(self, parameter: str) -> Mapping[str, Any] | None:
        """Return an estimate of REML, its value under the key ``mean``."""
        found = self.model.get("reml", {}).get("estimates", {}).get(parameter)
        return None if found is None else {"mean": found["value"], **found}

    def estimates(self, parameter: str) -> dict[str, Mapping[str, Any]]:
        """Return what every source says about a parameter, in the order of the tables."""
        nuts = {} if self.nuts_failed else self.model.get("nuts", {}).get("estimates", {})
        found = {
            "published": self.published.get(parameter),
            "reml": self.reml(parameter),
            "exact": self.model.get("exact", {}).get("estimates", {}).get(parameter),
            "nuts": nuts.get(parameter),
        }
        return {source: estimate for source, estimate in found.items() if estimate is not None}


def select(source: "Analysis | Mapping[str, Any]", model: str | None = None) -> Selected:
    """Return one model of a results document.

    Parameters
    ----------
    source : Analysis or mapping
        A finished analysis, or its results document.
    model : str, optional
        Name of the model; the first by default, which is the headline.

    Returns
    -------
    Selected
        The model.

    Raises
    ------
    KeyError
        If there is no such model.
    """
    if not isinstance(source, Mapping):
        # Imported here: the document knows every engine, and a saved one needs none of them.
        from reanalysis.document import to_document

        source = to_document(source)
    first = next(iter(source["models"]))
    name = first if model is None else model
    return Selected(
        name,
        source["models"][name],
        _published(source, name),
        readable_scale(str(source["data"]["measure"])),
        source,
        headline=name == first,
    )


def _published(document: Mapping[str, Any], model: str) -> dict[str, dict[str, float]]:
    keys = {"published": "mean", "published_lower": "lower", "published_upper": "upper"}
    return {
        str(row["parameter"]): {name: row[key] for key, name in keys.items() if key in row}
        for row in document.get("comparison", ())
        if row["model"] == model and "published" in row
    }

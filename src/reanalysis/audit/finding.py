"""What the audit returns: one record per contradiction."""

from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["SEVERITIES", "Finding", "Severity"]

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that the source's own numbers contradict, or that a reader has to know.

    Attributes
    ----------
    rule : str
        Short name of what was found, see `reanalysis.audit`.
    severity : str
        ``error``: two statements cannot both be true. ``warning``: they disagree, or a value is
        hard to believe. ``note``: worth knowing, or a check that succeeded.
    where : str
        Place: table, line, label; or the claim.
    source_says : str
        What the source states, as printed.
    follows : str
        What follows from its own numbers.
    remedy : str
        Which value was used, or what to do.
    before, after : float or None
        Pooled estimate as the data stand, and with the matter resolved the other way; on the
        scale people read (r for correlations). None where nothing can be computed.
    lines : tuple of int
        Lines of the file that the finding is about; empty for whole columns and for claims.
    columns : tuple of str
        Columns that the finding is about.
    """

    rule: str
    severity: Severity
    where: str
    source_says: str
    follows: str
    remedy: str = ""
    before: float | None = None
    after: float | None = None
    lines: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def effect_on_pooled(self) -> float | None:
        """Change of the pooled estimate if the matter is resolved the other way."""
        if self.before is None or self.after is None:
            return None
        return self.after - self.before

    def to_dict(self) -> dict[str, object]:
        """Return the fields that have a value, for ``results.json`` and ``--json``."""
        entries = {**asdict(self), "effect_on_pooled": self.effect_on_pooled}
        return {key: value for key, value in entries.items() if value not in (None, "", ())}

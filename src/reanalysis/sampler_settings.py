"""How to sample: a record that needs no sampler, so that saved fits can be used without one."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["SamplerSettings"]


@dataclass(frozen=True)
class SamplerSettings:
    """How to sample.

    Attributes
    ----------
    sampler : str
        ``nutpie``, or ``pymc`` for PyMC's own NUTS.
    chains, tune, draws : int
        Number of chains, and of tuning and kept draws of each.
    target_accept : float
        Acceptance rate that the step size is adapted to.
    cores : int
        Chains that run at a time; the draws do not depend on it. More than one pays with
        ``pymc`` only: nutpie's chains share Python's lock here.
    """

    sampler: Literal["nutpie", "pymc"] = "nutpie"
    chains: int = 4
    tune: int = 1000
    draws: int = 1000
    target_accept: float = 0.9
    cores: int = 1

    def __post_init__(self) -> None:
        """Check every setting."""
        if self.sampler not in ("nutpie", "pymc"):
            raise ValueError(f"sampler must be 'nutpie' or 'pymc', not {self.sampler!r}")
        for name in ("chains", "tune", "draws", "cores"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if not 0.5 <= self.target_accept < 1:
            raise ValueError(f"target_accept must be in [0.5, 1), not {self.target_accept}")

"""The effect-size measures by metafor's codes: their names, scales and back-transformations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["MEASURES", "Measure"]


@dataclass(frozen=True)
class Measure:
    """One effect-size measure.

    Attributes
    ----------
    code : str
        metafor's code, such as ``ZCOR``.
    name : str
        Name in running text.
    label : str
        Axis label of the analysis scale.
    back : callable or None
        From the analysis scale to the one people read, for points and ends of intervals;
        increasing. None where the analysis scale is itself the readable one.
    back_label : str
        Axis label of the readable scale; equals `label` where `back` is None.
    zero_is_null : bool
        Whether 0 on the analysis scale means "no effect".
    bounds : tuple of float
        Smallest and largest value that is possible on the analysis scale.
    """

    code: str
    name: str
    label: str
    back: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None
    back_label: str = ""
    zero_is_null: bool = True
    bounds: tuple[float, float] = (-np.inf, np.inf)

    def __post_init__(self) -> None:
        """Let the readable scale default to the analysis scale."""
        if not self.back_label:
            object.__setattr__(self, "back_label", self.label)


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        measure.code: measure
        for measure in (
            Measure("ZCOR", "Fisher's z of a correlation", "Fisher's z", np.tanh, "r"),
            Measure("COR", "correlation", "r", bounds=(-1.0, 1.0)),
            Measure(
                "ZPCOR", "Fisher's z of a partial correlation", "Fisher's z", np.tanh, "partial r"
            ),
            Measure("PCOR", "partial correlation", "partial r", bounds=(-1.0, 1.0)),
            Measure("SMD", "standardised mean difference (Hedges' g)", "g"),
            Measure("MD", "mean difference", "mean difference"),
            Measure("ROM", "log ratio of means", "log ratio of means", np.exp, "ratio of means"),
            Measure("OR", "log odds ratio", "log odds ratio", np.exp, "odds ratio"),
            Measure("RR", "log risk ratio", "log risk ratio", np.exp, "risk ratio"),
            Measure("RD", "risk difference", "risk difference", bounds=(-1.0, 1.0)),
            Measure(
                "PLO",
                "logit of a proportion",
                "logit",
                special.expit,
                "proportion",
                zero_is_null=False,
            ),
            Measure("GEN", "effect size", "effect size"),
        )
    }
)

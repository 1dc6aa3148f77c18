"""Where data meet model: plain arrays that every engine takes, and the prior of each parameter.

`make_design` is the only place that looks at both a `Dataset` and a `ModelSpec`.
"""

from reanalysis.design.from_data import make_design
from reanalysis.design.model_priors import LOG_TAU_RATIO, ZCOR_PRIORS, resolve_priors
from reanalysis.design.record import Design

__all__ = ["LOG_TAU_RATIO", "ZCOR_PRIORS", "Design", "make_design", "resolve_priors"]

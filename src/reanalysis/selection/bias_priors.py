"""Default priors of the PET and PEESE coefficients, for every engine."""

from collections.abc import Mapping
from types import MappingProxyType

from reanalysis.priors import Prior

__all__ = ["BIAS_PRIORS"]

# Half-Cauchy as in RoBMA (Bartoš et al. 2023), in units of the coefficient on Fisher's z.
BIAS_PRIORS: Mapping[str, Prior] = MappingProxyType(
    {
        "pet": Prior("half_cauchy", {"sigma": 1.0}, "Slope on the standard error, as in RoBMA."),
        "peese": Prior(
            "half_cauchy", {"sigma": 10.0}, "Slope on the variance, as in RoBMA (z scale)."
        ),
    }
)

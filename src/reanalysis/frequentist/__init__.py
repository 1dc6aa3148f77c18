"""The frequentist check: REML and ML, robust tests, influence and small-study methods."""

from reanalysis.frequentist.reml import fit_reml

__all__ = ["fit_reml"]

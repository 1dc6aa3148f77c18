"""The frequentist check: REML and ML, robust tests, influence and small-study methods."""

from reanalysis.frequentist.omnibus import adjust_p_values, compare_moderators
from reanalysis.frequentist.prediction import predict_new
from reanalysis.frequentist.reml import fit_reml
from reanalysis.frequentist.robust import RobustFit, fit_robust

__all__ = [
    "RobustFit",
    "adjust_p_values",
    "compare_moderators",
    "fit_reml",
    "fit_robust",
    "predict_new",
]

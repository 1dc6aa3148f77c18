"""The frequentist check: REML and ML, robust tests, influence and small-study methods."""

from reanalysis.frequentist.influence import Influence, leave_one_out, standardised_residuals
from reanalysis.frequentist.omnibus import adjust_p_values, compare_moderators
from reanalysis.frequentist.prediction import predict_new
from reanalysis.frequentist.reml import fit_reml
from reanalysis.frequentist.robust import RobustFit, fit_robust

__all__ = [
    "Influence",
    "RobustFit",
    "adjust_p_values",
    "compare_moderators",
    "fit_reml",
    "fit_robust",
    "leave_one_out",
    "predict_new",
    "standardised_residuals",
]

"""The frequentist check: REML and ML, robust tests, influence and small-study methods."""

from reanalysis.frequentist.asymmetry import fit_egger, fit_rank_test
from reanalysis.frequentist.bias_checks import SmallStudyChecks, check_small_study
from reanalysis.frequentist.funnel import funnel_contours
from reanalysis.frequentist.influence import Influence, leave_one_out, standardised_residuals
from reanalysis.frequentist.omnibus import adjust_p_values
from reanalysis.frequentist.pet_peese import fit_pet_peese
from reanalysis.frequentist.prediction import predict_new
from reanalysis.frequentist.profile import profile_curve
from reanalysis.frequentist.reml import fit_reml
from reanalysis.frequentist.robust import RobustFit, fit_robust
from reanalysis.frequentist.selmodel import SelmodelFit, fit_selmodel
from reanalysis.frequentist.small_study import SmallStudyResult
from reanalysis.frequentist.trimfill import fit_trimfill

__all__ = [
    "Influence",
    "RobustFit",
    "SelmodelFit",
    "SmallStudyChecks",
    "SmallStudyResult",
    "adjust_p_values",
    "check_small_study",
    "fit_egger",
    "fit_pet_peese",
    "fit_rank_test",
    "fit_reml",
    "fit_robust",
    "fit_selmodel",
    "fit_trimfill",
    "funnel_contours",
    "leave_one_out",
    "predict_new",
    "profile_curve",
    "standardised_residuals",
]

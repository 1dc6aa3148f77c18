"""Conversions of reported statistics to effect sizes ``(yi, vi)``, and between effect sizes.

Numbers in, numbers out: no tables, no files. One family of conversions per file.
"""

from reanalysis.effect_sizes.aggregation import aggregate_effects, aggregate_effects_V
from reanalysis.effect_sizes.attenuation import disattenuate_r, disattenuate_z
from reanalysis.effect_sizes.biserial import biserial_variance, point_biserial_to_biserial
from reanalysis.effect_sizes.composites import (
    composite_r,
    composite_to_mean_r,
    composite_to_mean_z,
)
from reanalysis.effect_sizes.dependence import (
    constant_correlation_V,
    dependent_correlations,
    overlapping_sampling_correlation,
)
from reanalysis.effect_sizes.fisher import fisher_z, raw_r, scaled_z, z_to_r
from reanalysis.effect_sizes.mean_correlation import mean_r
from reanalysis.effect_sizes.measures import MEASURES, Measure
from reanalysis.effect_sizes.odds_ratios import (
    odds_ratio_interval_to_log,
    odds_ratio_interval_to_r,
    odds_ratio_interval_to_z,
    odds_ratio_to_d,
    odds_ratio_to_r,
)
from reanalysis.effect_sizes.regression import beta_to_r
from reanalysis.effect_sizes.standardized import (
    d_to_g,
    d_to_r,
    hedges_g,
    hedges_j,
    r_to_d,
    t_to_d,
)
from reanalysis.effect_sizes.statistics_to_r import (
    chi2_to_r,
    f_to_r,
    p_to_r,
    r_to_p,
    r_to_t,
    t_to_r,
    z_statistic_to_r,
)
from reanalysis.effect_sizes.two_by_two import (
    is_double_zero,
    log_odds_ratio,
    log_risk_ratio,
    risk_difference,
)

__all__ = [
    "MEASURES",
    "Measure",
    "aggregate_effects",
    "aggregate_effects_V",
    "beta_to_r",
    "biserial_variance",
    "chi2_to_r",
    "composite_r",
    "composite_to_mean_r",
    "composite_to_mean_z",
    "constant_correlation_V",
    "d_to_g",
    "d_to_r",
    "dependent_correlations",
    "disattenuate_r",
    "disattenuate_z",
    "f_to_r",
    "fisher_z",
    "hedges_g",
    "hedges_j",
    "is_double_zero",
    "log_odds_ratio",
    "log_risk_ratio",
    "mean_r",
    "odds_ratio_interval_to_log",
    "odds_ratio_interval_to_r",
    "odds_ratio_interval_to_z",
    "odds_ratio_to_d",
    "odds_ratio_to_r",
    "overlapping_sampling_correlation",
    "p_to_r",
    "point_biserial_to_biserial",
    "r_to_d",
    "r_to_p",
    "r_to_t",
    "raw_r",
    "risk_difference",
    "scaled_z",
    "t_to_d",
    "t_to_r",
    "z_statistic_to_r",
    "z_to_r",
]

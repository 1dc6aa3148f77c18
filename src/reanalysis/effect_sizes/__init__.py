"""Conversions of reported statistics to effect sizes ``(yi, vi)``, and between effect sizes.

Numbers in, numbers out: no tables, no files. One family of conversions per file.
"""

from reanalysis.effect_sizes.composites import (
    composite_r,
    composite_to_mean_r,
    composite_to_mean_z,
)
from reanalysis.effect_sizes.fisher import fisher_z, z_to_r
from reanalysis.effect_sizes.measures import MEASURES, Measure
from reanalysis.effect_sizes.odds_ratios import odds_ratio_to_d, odds_ratio_to_r
from reanalysis.effect_sizes.regression import beta_to_r

__all__ = [
    "MEASURES",
    "Measure",
    "beta_to_r",
    "composite_r",
    "composite_to_mean_r",
    "composite_to_mean_z",
    "fisher_z",
    "odds_ratio_to_d",
    "odds_ratio_to_r",
    "z_to_r",
]

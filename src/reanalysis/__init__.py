"""Reanalyse a published meta-analysis: exact, NUTS and REML side by side.

The public names of the package; each is imported when it is first used, so that
``import reanalysis`` and the command line start at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reanalysis.analysis import Analysis, ModelResult
    from reanalysis.comparison import Comparison, compare
    from reanalysis.dataset import DataError, Dataset, load_dataset
    from reanalysis.design import Design, make_design, resolve_priors
    from reanalysis.effect_sizes import (
        MEASURES,
        beta_to_r,
        composite_r,
        composite_to_mean_r,
        fisher_z,
        hedges_g,
        log_odds_ratio,
        odds_ratio_to_r,
        z_to_r,
    )
    from reanalysis.exact import fit_exact
    from reanalysis.frequentist import fit_reml
    from reanalysis.nuts import fit_nuts
    from reanalysis.priors import FAMILIES, Prior
    from reanalysis.results import Diagnostics, EngineError, Estimate, FrequentistFit, Posterior
    from reanalysis.runner import run
    from reanalysis.sampler_settings import SamplerSettings
    from reanalysis.spec import Claim, ModelSpec, Reanalysis, SpecError
    from reanalysis.spec_file import load_reanalysis

__all__ = [
    "FAMILIES",
    "MEASURES",
    "Analysis",
    "Claim",
    "Comparison",
    "DataError",
    "Dataset",
    "Design",
    "Diagnostics",
    "EngineError",
    "Estimate",
    "FrequentistFit",
    "ModelResult",
    "ModelSpec",
    "Posterior",
    "Prior",
    "Reanalysis",
    "SamplerSettings",
    "SpecError",
    "beta_to_r",
    "compare",
    "composite_r",
    "composite_to_mean_r",
    "fisher_z",
    "fit_exact",
    "fit_nuts",
    "fit_reml",
    "hedges_g",
    "load_dataset",
    "load_reanalysis",
    "log_odds_ratio",
    "make_design",
    "odds_ratio_to_r",
    "resolve_priors",
    "run",
    "z_to_r",
]

_HOMES = {
    "analysis": ("Analysis", "ModelResult"),
    "comparison": ("Comparison", "compare"),
    "dataset": ("DataError", "Dataset", "load_dataset"),
    "design": ("Design", "make_design", "resolve_priors"),
    "effect_sizes": (
        "MEASURES",
        "beta_to_r",
        "composite_r",
        "composite_to_mean_r",
        "fisher_z",
        "hedges_g",
        "log_odds_ratio",
        "odds_ratio_to_r",
        "z_to_r",
    ),
    "exact": ("fit_exact",),
    "frequentist": ("fit_reml",),
    "nuts": ("fit_nuts",),
    "priors": ("FAMILIES", "Prior"),
    "runner": ("run",),
    "results": ("Diagnostics", "EngineError", "Estimate", "FrequentistFit", "Posterior"),
    "sampler_settings": ("SamplerSettings",),
    "spec": ("Claim", "ModelSpec", "Reanalysis", "SpecError"),
    "spec_file": ("load_reanalysis",),
}
_MODULE = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _MODULE:
        raise AttributeError(f"module 'reanalysis' has no attribute {name!r}")
    value = getattr(import_module(f"reanalysis.{_MODULE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)

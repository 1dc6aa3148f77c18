"""The prior of every parameter of a model: as its spec states it, or the default."""

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

import numpy as np

from reanalysis.design.record import Design
from reanalysis.moderators import COMMON_SCALE, coefficient_priors, prior_names
from reanalysis.priors import Prior
from reanalysis.selection_columns import selection_problems
from reanalysis.spec import ModelSpec, SpecError

__all__ = ["LOG_TAU_RATIO", "ZCOR_PRIORS", "resolve_priors"]

LOG_TAU_RATIO = "log_tau_ratio"
RATIO_PRIOR = Prior(
    "normal",
    {"sigma": 0.7},
    "The heterogeneity of one level, or at two standard deviations more, is between a quarter of "
    "and four times that of the other (95 %).",
)

NU_PRIOR = Prior(
    "gamma",
    {"alpha": 2.0, "beta": 0.1},
    "From nearly Cauchy to nearly normal: 95 % between 2.4 and 55.7 degrees of freedom "
    "(Juárez & Steel 2010).",
)

ZCOR_PRIORS: Mapping[str, Prior] = MappingProxyType(
    {
        "mu": Prior(
            "normal",
            {"mu": 0.0, "sigma": 0.5},
            "95 % of mean correlations within ±.75; centred on no association.",
        ),
        "beta": Prior(
            "normal",
            {"mu": 0.0, "sigma": 0.25},
            "A moderator shifts the mean correlation by less than about .45 (95 %).",
        ),
        "tau": Prior(
            "half_normal",
            {"sigma": 0.25},
            "Total heterogeneity: median .17 and 95 % below .49 on z; open correlational data "
            "sets have medians of .10 to .20 (van Erp et al. 2017; Röver et al. 2021).",
        ),
        "between_share": Prior(
            "beta",
            {"alpha": 1.0, "beta": 1.0},
            "Any split of the heterogeneity between and within samples is as likely as another.",
        ),
    }
)


def resolve_priors(design: Design, model: ModelSpec) -> Mapping[str, Prior]:
    """Return the prior of every parameter of a model.

    Parameters
    ----------
    design : Design
        The design; tells the coefficients and the levels.
    model : ModelSpec
        The model; its own priors come first, then the defaults for correlations.

    Returns
    -------
    mapping of str to Prior
        Each coefficient, and ``beta_scale`` where moderators share one; ``tau_between`` and
        ``tau_within``, or ``tau`` and ``between_share``; ``sampling_correlation`` where that is a
        prior; ``omega``, ``pet`` or ``peese`` as stated.

    Raises
    ------
    SpecError
        If a prior does not belong to the model, or the measure has no default priors.
    """
    where = f"model '{model.name}': [model.priors]"
    given = dict(model.priors)
    taus = ("tau_between", "tau_within") if design.levels == 3 else ("tau_between",)
    known = [*design.coefficients, "mu", *taus, "tau"]
    known += prior_names(design.terms) if design.terms else ["beta"] if design.p > 1 else []
    known += ["between_share"] if design.levels == 3 else []
    known += [LOG_TAU_RATIO] if design.scale is not None else []
    extra = {"pet": ("pet",), "peese": ("peese",), "none": ()}.get(model.mechanism, ("omega",))
    known += ["nu"] if model.effects == "student_t" else []
    known = list(dict.fromkeys([*known, *extra]))
    problems = [
        f"{where} sets '{name}', which this model does not have{_near(name, known)}"
        for name in given
        if name not in known
    ]
    if "tau_within" in given and "tau_within" not in taus:
        problems = [p for p in problems if "'tau_within'" not in p]
        problems.append(
            f"{where} sets 'tau_within', but with one effect per sample there is no tau_within; "
            "delete the entry."
        )
    separate = [name for name in ("tau_between", "tau_within") if name in given and name in taus]
    if design.levels == 3 and separate and ("tau" in given or "between_share" in given):
        problems.append(
            f"{where} sets both '{separate[0]}' and the total 'tau' or its 'between_share'; "
            "give either the two parts or the total with its share."
        )
    if design.levels == 3 and len(separate) == 1:
        other = "tau_within" if separate[0] == "tau_between" else "tau_between"
        problems.append(f"{where} sets '{separate[0]}' but not '{other}'; give both.")
    for name, prior in given.items():
        lower, upper = prior.support
        if name in ("tau", "tau_between", "tau_within", "pet", "peese", "nu") and lower < 0:
            problems.append(
                f"{where}: '{name}' cannot be negative, but {prior} allows it; "
                "use half_normal, half_student_t, half_cauchy, ..."
            )
        if name == "between_share" and (lower < 0 or upper > 1):
            problems.append(f"{where}: 'between_share' lies in [0, 1]; use a beta prior.")
    if design.scale is not None and model.mechanism != "none":
        problems.append(
            f"model '{model.name}': 'scale_moderator' goes with mechanism = \"none\" only; remove "
            "one of the two."
        )
    if model.effects == "student_t" and (model.mechanism != "none" or design.scale is not None):
        problems.append(
            f'model \'{model.name}\': effects = "student_t" goes with mechanism = "none" and '
            "without scale_moderator; remove one of the two."
        )
    if COMMON_SCALE in given and model.mechanism != "none":
        problems.append(
            f"{where} sets '{COMMON_SCALE}', which the selection models do not have; delete it, "
            'or set mechanism = "none".'
        )
    problems += selection_problems(model)
    if problems:
        raise SpecError(problems)
    defaults = _default_priors(design, model)
    chosen = coefficient_priors(design.coefficients, design.terms, given, defaults, where)
    if design.levels == 2:
        chosen["tau_between"] = given.get("tau_between") or given.get("tau") or defaults["tau"]
    elif separate:
        chosen |= {name: given[name] for name in taus}
    else:
        chosen["tau"] = given.get("tau", defaults["tau"])
        chosen["between_share"] = given.get("between_share", defaults["between_share"])
    if design.scale is not None:
        chosen[LOG_TAU_RATIO] = given.get(LOG_TAU_RATIO, RATIO_PRIOR)
    if model.effects == "student_t":
        chosen["nu"] = given.get("nu", NU_PRIOR)
    if isinstance(model.sampling_correlation, Prior):
        chosen["sampling_correlation"] = model.sampling_correlation
    chosen |= {name: given[name] for name in extra if name in given}
    return MappingProxyType(chosen)


def _default_priors(design: Design, model: ModelSpec) -> Mapping[str, Prior]:
    if design.measure == "ZCOR":
        return ZCOR_PRIORS
    shares = {"between_share": ZCOR_PRIORS["between_share"]}
    given = set(model.priors)
    need = {"mu"} | ({"beta"} if design.p > 1 else set())
    named = {name for name in design.coefficients if name in given}
    missing = sorted(need - given - ({"mu"} if "beta[intercept]" in named else set()))
    if not given & {"tau", "tau_between"}:
        missing.append("tau")
    if missing:
        unit = _unit_information_sd(design)
        raise SpecError(
            [
                f"model '{model.name}': measure {design.measure} has no default priors; state "
                f"{', '.join(missing)} under [model.priors]. In units of this table's unit "
                f"information SD ({unit:.3g}; Röver et al. 2021) a start would be: "
                f'mu = {{ family = "normal", mu = 0.0, sigma = {_two_digits(unit)} }}, '
                f'tau = {{ family = "half_normal", sigma = {_two_digits(unit / 4)} }}.'
            ]
        )
    placeholder = next(iter(model.priors.values()))
    return {"mu": placeholder, "beta": placeholder, "tau": placeholder, **shares}


def _unit_information_sd(design: Design) -> float:
    """Return the standard deviation of one observation, from the harmonic mean of vi."""
    if design.ni is not None:
        return float(np.sqrt(design.ni.sum() / (1 / design.vi).sum()))
    return {"SMD": 2.0, "OR": 4.0, "RR": 4.0}.get(
        design.measure, float(np.sqrt(np.median(design.vi)) * 10)
    )


def _two_digits(value: float) -> str:
    return f"{value:.2g}"


def _near(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    return f"{hint}; it has {', '.join(known)}. Rename or delete the entry."

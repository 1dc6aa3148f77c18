"""The prior of every coefficient, from what a spec states about a few of them.

``beta`` is stated per *comparison*: a step from one level of a factor to another, or of two
standard deviations of a number (from one value to the other, if it has two), which is about the
difference between a low and a high value (Gelman 2008, Statistics in Medicine 27, 2865-2873). So
one statement fits all moderators, whatever their units. A prior of one coefficient by its name is
in the units of its column.
"""

from collections.abc import Mapping, Sequence

from reanalysis.moderators.terms import ModeratorTerm
from reanalysis.priors import Prior
from reanalysis.spec import SpecError

__all__ = ["COMMON_SCALE", "coefficient_priors", "prior_names", "shrunk_columns"]

COMMON_SCALE = "beta_scale"
INTERCEPTS = ("mu", "beta[intercept]")
# Parameters that are proportional to the unit of the variable, by family.
PROPORTIONAL: Mapping[str, tuple[str, ...]] = {
    "normal": ("mu", "sigma"),
    "student_t": ("mu", "sigma"),
    "cauchy": ("mu", "sigma"),
    "uniform": ("lower", "upper"),
    "half_normal": ("sigma",),
    "half_student_t": ("sigma",),
    "half_cauchy": ("sigma",),
}


def prior_names(terms: Sequence[ModeratorTerm]) -> list[str]:
    """Return the names, beside those of coefficients, under which a prior may be stated."""
    names = ["beta", COMMON_SCALE] if terms else []
    return names + [f"beta[{term.name}]" for term in terms]


def shrunk_columns(coefficients: Sequence[str], priors: Mapping[str, Prior]) -> tuple[int, ...]:
    """Return the coefficients whose prior is in units of the common scale.

    Parameters
    ----------
    coefficients : sequence of str
        Names of all coefficients.
    priors : mapping of str to Prior
        Resolved priors.

    Returns
    -------
    tuple of int
        All but the intercept where ``beta_scale`` has a prior; none otherwise.
    """
    if COMMON_SCALE not in priors:
        return ()
    return tuple(i for i, name in enumerate(coefficients) if name not in INTERCEPTS)


def coefficient_priors(
    coefficients: Sequence[str],
    terms: Sequence[ModeratorTerm],
    given: Mapping[str, Prior],
    defaults: Mapping[str, Prior],
    where: str,
) -> dict[str, Prior]:
    """Return the prior of each coefficient.

    Parameters
    ----------
    coefficients : sequence of str
        Their names.
    terms : sequence of ModeratorTerm
        What they belong to.
    given : mapping of str to Prior
        What the spec states: by coefficient, by term (``beta[disorder]``), ``mu`` for the
        intercept, ``beta`` for any other, or ``beta_scale``.
    defaults : mapping of str to Prior
        ``mu`` and ``beta`` where nothing is stated.
    where : str
        The place in the spec, for messages.

    Returns
    -------
    dict of str to Prior
        By coefficient, in units of its column. With a common scale each moderator's coefficient
        is ``normal(0, 1 / unit)`` *times* ``beta_scale``, which is in the result as well.

    Raises
    ------
    SpecError
        If a common scale is combined with other priors of coefficients, or a family has no scale.
    """
    stated = [n for n in given if n == "beta" or (n.startswith("beta[") and n not in INTERCEPTS)]
    if COMMON_SCALE in given:
        _check_scale(given[COMMON_SCALE], stated, where)
    unit = {coefficients[i]: term.unit for term in terms for i in term.columns}
    owner = {coefficients[i]: term.name for term in terms for i in term.columns}
    priors: dict[str, Prior] = {}
    for name in coefficients:
        if name in INTERCEPTS:
            priors[name] = given.get(name) or given.get("mu") or defaults["mu"]
        elif COMMON_SCALE in given:
            rationale = (
                "Times the common scale beta_scale, per comparison: two levels, or two standard "
                "deviations."
            )
            priors[name] = Prior("normal", {"sigma": 1 / unit.get(name, 1.0)}, rationale)
        elif name in given or f"beta[{owner.get(name, '')}]" in given:
            priors[name] = given.get(name) or given[f"beta[{owner[name]}]"]
        else:
            priors[name] = _rescaled(
                given.get("beta", defaults["beta"]), unit.get(name, 1.0), where
            )
    if COMMON_SCALE in given:
        priors[COMMON_SCALE] = given[COMMON_SCALE]
    return priors


def _check_scale(scale: Prior, stated: Sequence[str], where: str) -> None:
    problems = []
    if stated:
        problems.append(
            f"{where} sets both '{COMMON_SCALE}' and '{stated[0]}'; with a common scale every "
            f"moderator has it: delete one of the two."
        )
    if scale.support[0] < 0:
        problems.append(
            f"{where}: '{COMMON_SCALE}' cannot be negative, but {scale} allows it; "
            "use half_normal, half_student_t, half_cauchy, ..."
        )
    if problems:
        raise SpecError(problems)


def _rescaled(prior: Prior, unit: float, where: str) -> Prior:
    """Return a prior per comparison as a prior per unit of a column."""
    if unit == 1.0:
        return prior
    if prior.family not in PROPORTIONAL:
        raise SpecError(
            [
                f"{where}: 'beta' is stated per two standard deviations of a number, which "
                f"{prior.family} cannot be scaled to; use normal, student_t or cauchy."
            ]
        )
    scaled = {
        name: value / unit if name in PROPORTIONAL[prior.family] else value
        for name, value in prior.parameters.items()
    }
    reason = f"{prior.rationale} ".lstrip()
    return Prior(prior.family, scaled, f"{reason}Stated as {prior} per comparison of {unit:.3g}.")

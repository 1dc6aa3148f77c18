"""The evidence of a normal model and of those nested in it, and the Bayes factors between them."""

from collections.abc import Sequence
from dataclasses import replace

from reanalysis.design import Design
from reanalysis.exact.evaluation import point_loglik
from reanalysis.exact.problem import Heterogeneity, Problem
from reanalysis.exact.refinement import make_problem, refine
from reanalysis.spec import ModelSpec

__all__ = ["log_bayes_factors", "log_evidence"]

MODERATORS = "moderators"  # all terms at once


def log_evidence(
    design: Design,
    spec: ModelSpec,
    *,
    without: Sequence[str] = (),
) -> float:
    """Return the log marginal likelihood of a model or of one nested in it.

    Parameters
    ----------
    design : Design
        The data of the model.
    spec : ModelSpec
        The model.
    without : sequence of str
        Parameters fixed at zero: names of coefficients or of terms, ``moderators`` for all
        terms; ``tau_between``, ``tau_within``, or ``tau`` for both.

    Returns
    -------
    float
        Natural log.

    Raises
    ------
    EngineError
        If the tolerance is not reached.
    """
    return _evidence(_restrict(design, make_problem(design, spec), without), spec.name)


def log_bayes_factors(
    design: Design, problem: Problem, evidence: float, name: str
) -> dict[str, float]:
    """Return log Bayes factors of the full model against each parameter being zero.

    Parameters
    ----------
    design : Design
        The data of the model.
    problem : Problem
        The integral of the full model.
    evidence : float
        Its log marginal likelihood.
    name : str
        Name of the model, for errors.

    Returns
    -------
    dict of str to float
        Natural logs, for coefficients, terms and standard deviations.

    Raises
    ------
    EngineError
        If the tolerance is not reached.
    """
    targets = _tested_coefficients(design)
    targets += ["tau_between", "tau_within", "tau"] if design.levels == 3 else ["tau_between"]
    return {
        target: evidence - _evidence(_restrict(design, problem, (target,)), name)
        for target in targets
    }


def _restrict(design: Design, problem: Problem, without: Sequence[str]) -> Problem:
    columns = set(problem.columns)
    zero: set[str] = set()
    for name in without:
        if name in design.coefficients:
            columns.discard(design.coefficients.index(name))
        elif name in design.tested:
            columns -= set(design.tested[name])
        elif name == MODERATORS:
            columns -= {i for group in design.factors.values() for i in group}
        elif name in ("tau_between", "tau_within", "tau"):
            zero.add(name)
        else:
            raise ValueError(f"no parameter '{name}'; known: {', '.join(design.coefficients)}")
    heterogeneity: Heterogeneity = problem.heterogeneity
    if "tau" in zero or {"tau_between", "tau_within"} <= zero:
        heterogeneity = "none"
    elif "tau_between" in zero:
        heterogeneity = "within" if problem.heterogeneity == "both" else "none"
    elif "tau_within" in zero:
        heterogeneity = "between"
    shrunk = tuple(i for i in problem.shrunk if i in columns)
    return replace(
        problem,
        columns=tuple(sorted(columns)),
        heterogeneity=heterogeneity,
        shrunk=shrunk,
        common_scale=problem.common_scale if shrunk else None,
    )


def _evidence(problem: Problem, name: str) -> float:
    if problem.heterogeneity == "none":
        return point_loglik(problem)
    return refine(problem, name, moments=False)[1].log_marginal_likelihood


def _tested_coefficients(design: Design) -> list[str]:
    """Return what a Bayes factor is for: coefficients, and terms of several.

    A sum-to-zero contrast of three or more levels is no hypothesis of anybody's; only its term is.
    """
    contrasts = {
        i
        for term in design.terms
        for i in term.columns
        if len(term.columns) > 1 and not any(variable.reference for variable in term.variables)
    }
    targets = [name for i, name in enumerate(design.coefficients) if i not in contrasts]
    targets += [name for name, columns in design.tested.items() if len(columns) > 1]
    return targets + ([MODERATORS] if len(design.factors) > 1 else [])

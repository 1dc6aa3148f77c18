"""What one model says about its moderators: `Moderation` and `make_moderation`."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from reanalysis.design import Design
from reanalysis.exact.coefficients import CoefficientPosterior
from reanalysis.exact.normal import coefficient_posterior
from reanalysis.exact.scale import scale_coefficients
from reanalysis.frequentist.omnibus import omnibus_tests
from reanalysis.moderation.counts import count_levels
from reanalysis.moderation.explained import explained_a_priori
from reanalysis.moderation.quantities import COLUMNS, answer
from reanalysis.moderation.sources import Drawn, Normals, Source
from reanalysis.moderation.targets import line_of, make_targets
from reanalysis.moderators import COMMON_SCALE
from reanalysis.results import EngineError, FrequentistFit, Posterior
from reanalysis.spec import ModelSpec, Rope
from reanalysis.threads import one_blas_thread

__all__ = ["Moderation", "make_moderation"]

ALL = "all"  # the row of a test of all terms together
LARGEST = 709.0  # of the log of a number that a float can hold
TITLES = {
    "tests": "Tests of the moderators",
    "contrasts": "Differences and slopes",
    "means": "Mean effects",
    "counts": "Samples and effects",
}


@dataclass(frozen=True, eq=False)
class Moderation:
    """The moderators of one model, from every engine that fitted it.

    Attributes
    ----------
    model : str
        The model.
    tests : pandas.DataFrame
        One row per term, for a moderator beside others that was split in two also one for both
        parts, and ``all`` where there are several terms: ``term``, ``coefficients`` (their
        number), REML's ``qm``, ``df``, ``p`` (chi-square) and ``f``, ``df1``, ``df2``, ``f_p``
        (F with containment degrees of freedom); ``log_bayes_factor`` and ``bayes_factor`` of the
        model against the same model without the term (exact engine).
    contrasts : pandas.DataFrame
        Differences between levels and slopes of numbers: `reanalysis.moderation.COLUMNS`.
    means : pandas.DataFrame
        Mean effect at each level or value, the other moderators averaged over their levels or at
        their centre; the same columns with ``samples``, ``rows`` and ``effects`` of the level.
    counts : pandas.DataFrame
        Samples and effects of each level, see `count_levels`.
    lines : pandas.DataFrame
        The mean effect along each number: ``term``, ``x``, ``engine``, ``value``, ``lower``,
        ``upper``.
    moderators : tuple of str
        What the terms are about; one that was split in two is there once.
    shrunk : bool
        Whether the coefficients share a scale that is estimated.
    notes : tuple of str
        How the moderators enter, what is odd about them, and what could not be computed.
    """

    model: str
    tests: pd.DataFrame
    contrasts: pd.DataFrame
    means: pd.DataFrame
    counts: pd.DataFrame
    lines: pd.DataFrame
    moderators: tuple[str, ...] = ()
    shrunk: bool = False
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        parts = [f"<h3>Moderators of {escape(self.model)}</h3>"]
        for name, title in TITLES.items():
            table: pd.DataFrame = getattr(self, name)
            if len(table):
                shown = table.dropna(axis="columns", how="all").to_html(index=False, na_rep="")
                parts.append(f"<h4>{title}</h4>{shown}")
        parts += [f"<p>{escape(note)}</p>" for note in self.notes]
        return "".join(parts)


def make_moderation(
    design: Design,
    spec: ModelSpec,
    *,
    reml: FrequentistFit | None = None,
    exact: Posterior | None = None,
    nuts: Posterior | None = None,
    rope: Rope | None = None,
) -> Moderation:
    """Say what the fits of a model tell about its moderators.

    Parameters
    ----------
    design : Design
        The data of the model, from `reanalysis.design.make_design`.
    spec : ModelSpec
        The model.
    reml, exact, nuts : FrequentistFit or Posterior, optional
        Its fits; a NUTS fit that failed its gate gives nothing.
    rope : Rope, optional
        Region of practical equivalence, applied to means and to differences.

    Returns
    -------
    Moderation
        Tidy tables; empty for engines without a fit.

    Raises
    ------
    ValueError
        If the design has no moderators.
    """
    if not design.terms:
        raise ValueError(f"model '{spec.name}' has no moderators.")
    notes = [*filter(None, [spec.note]), *design.notes, *_prior_note(design, spec)]
    sources: dict[str, Source] = {}
    if reml is not None:
        normal = CoefficientPosterior(np.ones(1), reml.coef[None], reml.vcov[None], reml.coef)
        sources["reml"] = Normals(normal)
    if exact is not None and spec.mechanism == "none":
        try:
            joint = coefficient_posterior if design.scale is None else scale_coefficients
            with one_blas_thread():
                sources["exact"] = Normals(joint(design, spec))
        except EngineError as error:
            notes.append(f"The exact engine has no contrasts: {error}.")
    if nuts is not None and nuts.draws is not None:
        if not nuts.passed:
            notes.append("NUTS failed its convergence gate; its numbers are no results.")
        else:
            sources["nuts"] = Drawn(nuts.draws["posterior"]["beta"].to_numpy())
    targets = make_targets(design)
    on_r = design.measure == "ZCOR"
    tables = [
        answer(name, targets, source, on_r=on_r, rope=rope) for name, source in sources.items()
    ]
    answers = _stacked(tables)
    counts = count_levels(design)
    is_mean = answers["kind"] == "mean"
    means = answers[is_mean].merge(
        counts.rename(columns={"level": "label"}), "left", ["term", "label"]
    )
    return Moderation(
        spec.name,
        _tests(design, reml, exact.bayes_factors if exact is not None else {}),
        answers[~is_mean].reset_index(drop=True),
        means.drop(columns="kind"),
        counts,
        _lines(design, sources),
        tuple(dict.fromkeys(term.moderator for term in design.terms)),
        COMMON_SCALE in spec.priors,
        tuple(notes),
    )


def _prior_note(design: Design, spec: ModelSpec) -> list[str]:
    """Say what the priors have the moderators explain."""
    share = explained_a_priori(design, spec)
    if share is None:
        return []
    low, middle, high = (f"{100 * value:.0f}" for value in share)
    what = "moderator explains" if len(design.terms) == 1 else "moderators explain"
    return [
        f"Before the data, the priors hold that the {what} {middle} % of the variance of true "
        f"effects (median; 90 % between {low} and {high} %)."
    ]


def _stacked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the tables of all engines as one, the engines of each target together."""
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    # Columns that one engine leaves empty must not decide the type of the whole.
    whole = {c: np.concatenate([t[c].to_numpy() for t in tables]) for c in COLUMNS}
    place = np.concatenate([np.arange(len(t)) for t in tables])
    return pd.DataFrame(whole).iloc[np.argsort(place, kind="stable")].reset_index(drop=True)


def _lines(design: Design, sources: Mapping[str, Source]) -> pd.DataFrame:
    """Return the fitted lines of every number."""
    columns = ["term", "x", "engine", "value", "lower", "upper"]
    rows: list[tuple[str | float, ...]] = []
    for term in design.terms:
        line = line_of(design, term)
        if line is None:
            continue
        for engine, source in sources.items():
            along = source.summarise(line[1])
            rows += [
                (term.name, x, engine, value, lower, upper)
                for x, value, lower, upper in zip(
                    line[0].tolist(),
                    along.value.tolist(),
                    along.lower.tolist(),
                    along.upper.tolist(),
                    strict=True,
                )
            ]
    return pd.DataFrame(rows, columns=columns)


def _tests(
    design: Design, reml: FrequentistFit | None, log_bayes_factors: Mapping[str, float]
) -> pd.DataFrame:
    """Return one row for everything that is tested together, and one for all."""
    tested = dict(design.tested)
    if len(design.terms) > 1:
        tested[ALL] = tuple(range(1, design.p))
    names = list(tested)
    table = pd.DataFrame({"term": names, "coefficients": [len(c) for c in tested.values()]})
    if reml is not None:
        omnibus = omnibus_tests(design, reml.coef, reml.vcov)
        if len(design.terms) == 1:
            omnibus = omnibus.assign(moderator=names[0])
        table = table.merge(omnibus.rename(columns={"moderator": "term"}), "left", "term")
    if log_bayes_factors:
        # The exact engine names a term of one column by its coefficient.
        keys = {n: design.coefficients[c[0]] if len(c) == 1 else n for n, c in tested.items()}
        keys |= {ALL: "moderators"} if len(tested) > 1 else {}
        logs = [log_bayes_factors.get(keys[name], np.nan) for name in names]
        table["log_bayes_factor"] = logs
        table["bayes_factor"] = np.exp(np.minimum(logs, LARGEST))
    return table

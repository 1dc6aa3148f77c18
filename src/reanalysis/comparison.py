"""The engines side by side, and beside what was published.

Agreement of NUTS and the exact engine is checked here: they share no likelihood code, so a
difference beyond Monte-Carlo error means that one of them is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reanalysis.results import Estimate, FrequentistFit, Posterior

__all__ = ["Comparison", "agreement", "compare", "explain", "make_comparison"]

MCSE_LIMIT = 4.0  # two-sided p = 6e-5 for one estimate, if both engines are right
COLUMNS = ("value", "lower", "upper")


@dataclass(frozen=True, eq=False)
class Comparison:
    """One model's estimates from every source.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per parameter: ``published``, ``reml``, ``exact``, ``nuts`` with ``_lower`` and
        ``_upper``, and differences; NaN where a source has no such estimate.
    agreement : pandas.DataFrame
        One row per estimate that NUTS and the exact engine share: difference, Monte-Carlo
        standard error, their ratio, and whether it is within 4.
    sentences : tuple of str
        Why the sources differ, in words.
    """

    table: pd.DataFrame
    agreement: pd.DataFrame
    sentences: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether NUTS and the exact engine agree on every shared estimate."""
        return bool(self.agreement["agrees"].all()) if len(self.agreement) else True

    def _repr_html_(self) -> str:
        return self.table._repr_html_()  # type: ignore[operator]


def compare(
    reml: FrequentistFit | None = None,
    exact: Posterior | None = None,
    nuts: Posterior | None = None,
    *,
    published: Mapping[str, Estimate] | None = None,
) -> pd.DataFrame:
    """Return estimates of all engines in one table.

    Parameters
    ----------
    reml : FrequentistFit, optional
        Frequentist fit.
    exact, nuts : Posterior, optional
        Posteriors of the two Bayesian engines.
    published : mapping of str to Estimate, optional
        Printed numbers, on the analysis scale.

    Returns
    -------
    pandas.DataFrame
        Indexed by parameter. Columns ``<source>``, ``<source>_lower``, ``<source>_upper``;
        ``nuts_minus_exact`` and ``exact_minus_reml``; ``exact_minus_published`` and
        ``reml_minus_published`` in published standard errors
        (``..._in_se``). Analysis scale, except ``mean_r``.
    """
    sources: dict[str, Mapping[str, Estimate]] = {"published": published or {}}
    sources["reml"] = reml.estimates if reml else {}
    for name, posterior in (("exact", exact), ("nuts", nuts)):
        sources[name] = posterior.estimates if posterior and posterior.passed else {}
    parameters = list(dict.fromkeys(name for table in sources.values() for name in table))
    table = pd.DataFrame(index=pd.Index(parameters, name="parameter"))
    for source, estimates in sources.items():
        if not estimates:
            continue
        for column in COLUMNS:
            name = source if column == "value" else f"{source}_{column}"
            table[name] = [_number(estimates.get(p), column) for p in parameters]
    for one, other in (("nuts", "exact"), ("exact", "reml")):
        if one in table and other in table:
            table[f"{one}_minus_{other}"] = table[one] - table[other]
    if published and "published" in table:
        se = _published_se(published, parameters)
        for source in ("reml", "exact"):
            if source in table:
                table[f"{source}_minus_published_in_se"] = (table[source] - table["published"]) / se
    return table


def agreement(exact: Posterior | None, nuts: Posterior | None) -> pd.DataFrame:
    """Compare the shared estimates of the two Bayesian engines.

    Parameters
    ----------
    exact, nuts : Posterior or None
        The two posteriors of one model.

    Returns
    -------
    pandas.DataFrame
        Indexed by parameter: ``exact``, ``nuts``, ``difference``, ``mcse``, ``ratio``, ``agrees``
        (ratio at most 4). Empty unless both are there and NUTS passed its gate.
    """
    columns = ["exact", "nuts", "difference", "mcse", "ratio", "agrees"]
    if exact is None or nuts is None or not nuts.passed:
        return pd.DataFrame(columns=columns)
    rows = {}
    for name, e in exact.estimates.items():
        n = nuts.estimates.get(name)
        if n is None or not n.numerical_error:
            continue
        error = float(np.hypot(n.numerical_error, e.numerical_error or 0.0))
        ratio = abs(n.value - e.value) / error
        rows[name] = [e.value, n.value, n.value - e.value, error, ratio, ratio <= MCSE_LIMIT]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    table.index.name = "parameter"
    return table


def explain(
    reml: FrequentistFit | None, exact: Posterior | None, nuts: Posterior | None
) -> tuple[str, ...]:
    """Say in words why the engines' numbers differ.

    Parameters
    ----------
    reml : FrequentistFit or None
        Frequentist fit.
    exact, nuts : Posterior or None
        Posteriors.

    Returns
    -------
    tuple of str
        Sentences; empty where nothing needs explaining.
    """
    bayes = exact or (nuts if nuts and nuts.passed else None)
    sentences = []
    if reml is not None and bayes is not None:
        for name in reml.boundary:
            e = bayes.estimates.get(name)
            if e is not None and e.lower is not None and e.upper is not None:
                sentences.append(
                    f"REML puts {name} at exactly 0, the edge of its range; the posterior spreads "
                    f"it over {e.lower:.3f} to {e.upper:.3f}, since small positive values fit "
                    "almost as well."
                )
        for name in reml.coefficients:
            f, e = reml.estimates[name], bayes.estimates.get(name)
            if e is None or f.sd is None or e.sd is None:
                continue
            if e.sd > 1.05 * f.sd and reml.boundary:
                sentences.append(
                    f"The posterior of {name} is {100 * (e.sd / f.sd - 1):.0f} % wider than the "
                    "REML standard error, because it does not take the heterogeneity as known."
                )
            shift = (e.value - f.value) / f.sd
            if abs(shift) > 0.1:
                direction = "towards" if abs(e.value) < abs(f.value) else "away from"
                sentences.append(
                    f"The posterior mean of {name} lies {abs(shift):.2f} standard errors "
                    f"{direction} zero from REML: the prior and the averaging over the "
                    "heterogeneity weigh the samples a little differently."
                )
    shared = agreement(exact, nuts)
    if len(shared):
        worst = float(shared["ratio"].max())
        verb = "agree" if shared["agrees"].all() else "DISAGREE"
        sentences.append(
            f"NUTS and the exact engine {verb}: the largest of {len(shared)} differences is "
            f"{worst:.1f} Monte-Carlo standard errors (limit {MCSE_LIMIT:g})."
        )
    return tuple(sentences)


def make_comparison(
    reml: FrequentistFit | None,
    exact: Posterior | None,
    nuts: Posterior | None,
    published: Mapping[str, Estimate] | None = None,
) -> Comparison:
    """Return table, agreement and sentences of one model.

    Parameters
    ----------
    reml : FrequentistFit or None
        Frequentist fit.
    exact, nuts : Posterior or None
        Posteriors.
    published : mapping of str to Estimate, optional
        Printed numbers, on the analysis scale.

    Returns
    -------
    Comparison
        Everything that is known about the model, side by side.
    """
    return Comparison(
        compare(reml, exact, nuts, published=published),
        agreement(exact, nuts),
        explain(reml, exact, nuts),
    )


def _number(estimate: Estimate | None, column: str) -> float:
    value = getattr(estimate, column) if estimate is not None else None
    return float("nan") if value is None else float(value)


def _published_se(published: Mapping[str, Estimate], parameters: list[str]) -> pd.Series:
    """Return published standard errors; from the width of the interval where none is printed."""
    se = {}
    for name in parameters:
        e = published.get(name)
        if e is None:
            continue
        if e.sd is not None:
            se[name] = e.sd
        elif e.lower is not None and e.upper is not None:
            se[name] = (e.upper - e.lower) / (2 * 1.959964)
    return pd.Series(se, dtype=float).reindex(parameters).set_axis(pd.Index(parameters))

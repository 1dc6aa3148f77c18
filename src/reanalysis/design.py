"""Where data meet model: plain arrays that every engine takes.

`make_design` is the only place that looks at both a `Dataset` and a `ModelSpec`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.dataset import Dataset
from reanalysis.moderators import (
    COMMON_SCALE,
    ModeratorTerm,
    Variable,
    coefficient_priors,
    moderator_columns,
    prior_names,
)
from reanalysis.priors import Prior
from reanalysis.selection_columns import (
    direction_notes,
    effects_measured,
    primary_effects,
    selection_problems,
)
from reanalysis.spec import ModelSpec, SpecError

__all__ = ["LOG_TAU_RATIO", "Design", "make_design", "resolve_priors"]

Vector = NDArray[np.float64]
SAME = 1e-9  # relative difference of variances that is rounding


@dataclass(frozen=True, eq=False, repr=False)
class Design:
    """The arrays of one model, rows ordered by sample.

    Attributes
    ----------
    yi : numpy.ndarray of shape (k,)
        Effect-size estimates on the analysis scale (Fisher z for ZCOR).
    vi : numpy.ndarray of shape (k,)
        Sampling variances (not standard errors).
    X : numpy.ndarray of shape (k, p)
        Design matrix; a column of ones when there are no moderators.
    coefficients : tuple of str
        Names of the p coefficients: ``("mu",)``, or ``("beta[intercept]", "beta[late]", ...)``.
    cluster : numpy.ndarray of shape (k,)
        Integer code of each row's sample, 0..m-1, non-decreasing.
    cluster_names : tuple of str
        Names of the m samples.
    row_names : tuple of str
        Label of each row.
    measure : str
        Effect-size measure: ``ZCOR``, ``SMD``, ...
    levels : int
        2 (one variance component) or 3.
    n_averaged : numpy.ndarray of shape (k,)
        Number of effects averaged in each row (1 = a single effect): the row's within-sample
        variance is ``tau_within**2 / n_averaged``.
    n_measured : numpy.ndarray of shape (m,) or None
        Number of effects each sample measured, for the ``thin`` selection mechanism.
    primary : numpy.ndarray of bool, shape (k,), or None
        Primary effect of each sample, on which the ``study`` selection mechanism decides.
    ni : numpy.ndarray of shape (k,) or None
        Sample sizes, where known.
    V : numpy.ndarray of shape (k, k) or None
        Given sampling covariance, block-diagonal by sample; its diagonal is `vi`.
        None: the covariance follows from the model's sampling correlation.
    factors : mapping of str to tuple of int
        Columns of `X` that belong to each moderator.
    rows : numpy.ndarray of shape (k,)
        Position of each row in the data table (0-based).
    dropped : tuple of str
        Rows left out because a moderator is missing, in words.
    terms : tuple of ModeratorTerm
        What the columns of `X` mean: how levels are coded, where numbers are zero.
    moderators : mapping of str to numpy.ndarray of shape (k,)
        The moderators as they are in the table: numbers, or levels as text.
    notes : tuple of str
        How the moderators enter and what is odd about them, in sentences.
    direction : int
        Expected direction of the effects, 1 or -1.
    scale : numpy.ndarray of shape (k,) or None
        Moderator of the heterogeneity, the same in all rows of a sample: the standard deviations
        are multiplied by ``exp(log_tau_ratio * scale)``.
    scale_variable : Variable or None
        What it is: levels, or centre and unit.
    """

    yi: Vector
    vi: Vector
    X: Vector
    coefficients: tuple[str, ...]
    cluster: NDArray[np.intp]
    cluster_names: tuple[str, ...]
    row_names: tuple[str, ...]
    measure: str = "GEN"
    levels: int = 3
    n_averaged: Vector = field(default_factory=lambda: np.empty(0))
    n_measured: Vector | None = None
    primary: NDArray[np.bool_] | None = None
    ni: Vector | None = None
    V: Vector | None = None
    factors: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    rows: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    dropped: tuple[str, ...] = ()
    terms: tuple[ModeratorTerm, ...] = ()
    moderators: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    direction: int = 1
    scale: Vector | None = None
    scale_variable: Variable | None = None

    def __post_init__(self) -> None:
        """Check shapes and values, and freeze the arrays."""
        k = len(self.yi)
        if self.n_averaged.size == 0:
            object.__setattr__(self, "n_averaged", np.ones(k))
        if self.rows.size == 0:
            object.__setattr__(self, "rows", np.arange(k))
        shapes = {
            "yi": (self.yi, (k,)),
            "vi": (self.vi, (k,)),
            "X": (self.X, (k, len(self.coefficients))),
            "cluster": (self.cluster, (k,)),
            "n_averaged": (self.n_averaged, (k,)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
        if not np.all(np.isfinite(self.yi)) or not np.all(np.isfinite(self.X)):
            raise ValueError("yi and X must be finite")
        if not np.all((self.vi > 0) & np.isfinite(self.vi)):
            raise ValueError("sampling variances vi must be positive and finite")
        if np.any(self.n_averaged < 1):
            raise ValueError("n_averaged must be 1 or more")
        if k and (np.any(np.diff(self.cluster) < 0) or self.cluster[0] != 0):
            raise ValueError("cluster codes must start at 0 and be sorted")
        if self.levels not in (2, 3):
            raise ValueError(f"levels must be 2 or 3, not {self.levels}")
        optional = ("n_measured", "primary", "ni", "V", "rows")
        for name in ("yi", "vi", "X", "cluster", "n_averaged", *optional):
            array = getattr(self, name)
            if array is not None:
                array.setflags(write=False)

    def __repr__(self) -> str:
        """Return the size of the design and its coefficients, not its arrays."""
        return (
            f"Design({self.measure}: k = {self.k} effects, m = {self.m} samples, "
            f"{self.levels} levels, coefficients {', '.join(self.coefficients)})"
        )

    @property
    def k(self) -> int:
        """Number of effect sizes."""
        return len(self.yi)

    @property
    def m(self) -> int:
        """Number of samples."""
        return len(self.cluster_names)

    @property
    def p(self) -> int:
        """Number of coefficients."""
        return len(self.coefficients)

    @property
    def starts(self) -> NDArray[np.intp]:
        """First row of each sample, for ``np.add.reduceat``."""
        return np.flatnonzero(np.r_[True, np.diff(self.cluster) > 0])

    @property
    def tested(self) -> dict[str, tuple[int, ...]]:
        """Columns that are tested together: of each term, and of a moderator split in two.

        A split moderator that is the only one has no entry of its own: it is all there is.
        """
        parts: dict[str, list[tuple[int, ...]]] = {}
        for term in self.terms:
            parts.setdefault(term.moderator, []).append(term.columns)
        split = {name: found[0] + found[1] for name, found in parts.items() if len(found) == 2}
        return {**self.factors, **{n: both for n, both in split.items() if len(both) < self.p - 1}}

    @property
    def scale_levels(self) -> list[tuple[str, float]]:
        """Levels of the scale moderator, or its ends, with their value in comparisons."""
        variable = self.scale_variable
        assert variable is not None
        if variable.levels:
            rows = variable.coding[:, 0] / variable.unit
            return list(zip(variable.levels, rows.tolist(), strict=True))
        return [
            (f"{variable.name}={value:.4g}", (value - variable.centre) / variable.unit)
            for value in variable.limits
        ]

    def rescaled(self, log_tau_ratio: float) -> "Design":
        """Return the design in units of each sample's heterogeneity, for a model of it.

        With ``c = exp(log_tau_ratio * scale)`` a sample's covariance is ``V + c² T``, which is
        ``c² (V / c² + T)``: the rows divided by c have the same heterogeneity T in all samples.
        Their log-likelihood is that of the original rows plus ``sum(log c)``.

        Parameters
        ----------
        log_tau_ratio : float
            Log ratio of the standard deviations per comparison of the scale moderator.

        Returns
        -------
        Design
            Without a scale moderator.
        """
        assert self.scale is not None
        c = np.exp(log_tau_ratio * self.scale)
        return replace(
            self,
            yi=self.yi / c,
            vi=self.vi / c**2,
            X=self.X / c[:, None],
            V=None if self.V is None else self.V / np.outer(c, c),
            scale=None,
            scale_variable=None,
        )


def make_design(data: Dataset, model: ModelSpec) -> Design:
    """Bring a data set and a model together.

    Parameters
    ----------
    data : Dataset
        The data.
    model : ModelSpec
        The model; its table, columns, estimand and filters select the reading and its rows.

    Returns
    -------
    Design
        Plain arrays, rows ordered by sample.

    Raises
    ------
    DataError
        If the reading has faulty values.
    SpecError
        If a filter, a moderator or a prior does not fit the data.
    """
    data = data.reading(
        table=model.table,
        columns=model.columns,
        estimand=model.estimand,
        composites=model.composites,
    )
    where = f"model '{model.name}'"
    keep = _filtered(data, model, where)
    moderators = moderator_columns(data, model, keep)
    keep &= moderators.complete
    effects = data.effects[keep]
    X = moderators.X[keep]
    if len(effects) < 2:
        raise SpecError([f"{where}: {len(effects)} rows are left; it needs at least two."])
    samples = list(dict.fromkeys(effects["sample"]))
    code = effects["sample"].map({name: i for i, name in enumerate(samples)}).to_numpy(np.intp)
    order = np.argsort(code, kind="stable")
    effects, X, code = effects.iloc[order], X[order], code[order]
    averaged = effects["n_averaged"].to_numpy(float)
    several = len(samples) < len(effects) or bool(np.any(averaged > 1))
    measured = effects_measured(effects, samples) if model.mechanism == "thin" else None
    sign = -1 if data.direction == "negative" else 1
    design = Design(
        yi=effects["yi"].to_numpy(float).copy(),
        vi=effects["vi"].to_numpy(float).copy(),
        X=X,
        coefficients=moderators.names,
        cluster=code,
        cluster_names=tuple(str(name) for name in samples),
        row_names=_row_names(effects),
        measure=data.measure,
        levels=(3 if several else 2) if model.levels == "auto" else model.levels,
        n_averaged=averaged.copy(),
        n_measured=measured,
        primary=primary_effects(data, model, keep)[order] if model.primary else None,
        ni=effects["ni"].to_numpy(float).copy() if effects["ni"].notna().all() else None,
        factors={term.name: term.columns for term in moderators.terms},
        rows=np.flatnonzero(keep)[order],
        dropped=moderators.dropped,
        direction=sign,
        terms=moderators.terms,
        moderators={name: v[keep][order] for name, v in moderators.values.items()},
        notes=(*moderators.notes, *direction_notes(model, effects["yi"].to_numpy(float), sign)),
        scale=None if moderators.scale is None else moderators.scale[keep][order],
        scale_variable=moderators.scale_variable,
    )
    if design.levels == 3 and not several:
        raise SpecError(
            [
                f"{where}: levels = 3, but every sample has one effect, so tau_within cannot be "
                'told from tau_between; set levels = 2 or "auto".'
            ]
        )
    if model.mechanism in ("pet", "peese") and np.ptp(design.vi) <= SAME * design.vi.max():
        raise SpecError(
            [
                f'{where}: mechanism = "{model.mechanism}" asks how effects change with their '
                f"standard error, but all have the same, {np.sqrt(design.vi[0]):.3g}; the data "
                "hold no information about that. Choose another mechanism."
            ]
        )
    resolve_priors(design, model)
    return design


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


def _filtered(data: Dataset, model: ModelSpec, where: str) -> NDArray[np.bool_]:
    keep = np.ones(data.k, dtype=bool)
    problems = []
    for word, table in (("include", model.include), ("exclude", model.exclude)):
        for column, values in table.items():
            if column not in data.table.columns:
                columns = [str(name) for name in data.table.columns]
                near = get_close_matches(column, columns, n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                problems.append(
                    f"{where}: {word} names the column '{column}', which the table does not "
                    f"have.{hint} Columns: {', '.join(columns)}."
                )
                continue
            cells = data.table[column]
            match = np.zeros(data.k, dtype=bool)
            for value in values:
                hit = cells.map(lambda cell, v=value: _same(cell, v)).to_numpy(bool)
                if not hit.any():
                    problems.append(f"{where}: {word}.{column}: no row holds {value!r}.")
                match |= hit
            keep &= match if word == "include" else ~match
    if problems:
        raise SpecError(problems)
    return keep


def _same(cell: object, value: object) -> bool:
    """Compare a cell with a spec's value; numbers as numbers, so that 3, 3.0 and "3" agree."""
    if isinstance(cell, float):
        try:
            return cell == float(str(value))
        except ValueError:
            return False
    return str(cell) == str(value)


def _row_names(effects: pd.DataFrame) -> tuple[str, ...]:
    """Return labels; rows that share one get their effect or a number."""
    counts = effects["label"].value_counts()
    names, seen = [], dict.fromkeys(counts.index, 0)
    for label, effect in zip(effects["label"], effects["effect"], strict=True):
        seen[label] += 1
        if counts[label] > 1:
            names.append(f"{label}, {effect}" if effect else f"{label} ({seen[label]})")
        else:
            names.append(str(label))
    return tuple(names)

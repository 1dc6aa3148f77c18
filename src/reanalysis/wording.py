"""How numbers and parameters are written for people: in the report, its figures and on screen.

One convention everywhere: a true minus sign (U+2212), no leading zero where a quantity cannot
exceed 1 (correlations, p-values), never "p = .000", and never a non-zero number shown as zero.
"""

import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reanalysis.effect_sizes import MEASURES, Measure

__all__ = [
    "MINUS",
    "Scale",
    "evidence",
    "is_mean",
    "number",
    "odds",
    "p_value",
    "parameter_name",
    "parameter_symbol",
    "plain",
    "readable_scale",
    "shorten",
    "unbroken",
    "with_symbols",
]

MINUS = "\u2212"
LARGEST_ODDS = 10_000  # beyond this only the order of magnitude means anything

NAMES = {
    "mu": "Average effect",
    "tau": "Heterogeneity, total",
    "tau_between": "Heterogeneity between samples",
    "tau_within": "Heterogeneity within samples",
    "new_sample": "Average effect in a new sample",
    "new_effect": "A single effect in a new sample",
    "mean_r": "Mean correlation over samples",
    "between_share": "Share of heterogeneity between samples",
    "sampling_correlation": "Correlation of sampling errors",
    "beta_scale": "Common scale of the moderators",
    "log_tau_ratio": "Log ratio of heterogeneities",
    "nu": "Degrees of freedom of the samples' effects",
    "pet": "Slope on the standard error (PET)",
    "peese": "Slope on the variance (PEESE)",
}
SYMBOLS = {
    "mu": "μ",
    "tau": "τ",
    "tau_between": "τ between",
    "tau_within": "τ within",
    "between_share": "s",
    "sampling_correlation": "ρ",
    "nu": "ν",
}
BIDI_CONTROLS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
MEANS = ("mu", "new_sample", "new_effect", "beta[intercept]")

# Lee & Wagenmakers (2013), Bayesian Cognitive Modeling, table 7.1.
EVIDENCE = ((3, "anecdotal"), (10, "moderate"), (30, "strong"), (100, "very strong"))


def number(x: float, digits: int = 3, *, leading_zero: bool = True) -> str:
    """Return a number with a fixed count of decimals.

    Parameters
    ----------
    x : float
        The number.
    digits : int
        Decimals.
    leading_zero : bool
        Whether to write 0.19 or .19.

    Returns
    -------
    str
        With a true minus sign. What would round to zero without being zero gets one or two more
        decimals, then ``< 0.0001`` and the like.

    Examples
    --------
    >>> number(-0.1949, 2, leading_zero=False)
    '−.19'
    >>> number(-0.0017, 2)
    '−0.002'
    """
    if x == 0:
        text = f"{0:.{digits}f}"
    else:
        for places in range(digits, digits + 3):
            text = f"{abs(x):.{places}f}"
            if float(text) != 0:
                break
        else:
            limit = f"{10.0 ** -(digits + 2):.{digits + 2}f}"
            text = f"> {MINUS}{limit}" if x < 0 else f"< {limit}"
            return text if leading_zero else text.replace("0.", ".", 1)
    if not leading_zero and text.startswith("0."):
        text = text[1:]
    return MINUS + text if x < 0 else text


def p_value(p: float) -> str:
    """Return a p-value with its relation, such as ``= .034`` or ``< .001``.

    Parameters
    ----------
    p : float
        The p-value.

    Returns
    -------
    str
        To be put behind "p".
    """
    if p < 0.001:
        return "< .001"
    if p > 0.999:
        return "> .999"
    return f"= {number(p, 3, leading_zero=False)}"


def odds(log_bayes_factor: float) -> str:
    """Return a Bayes factor as odds that a reader can grasp.

    Parameters
    ----------
    log_bayes_factor : float
        Natural log of the factor.

    Returns
    -------
    str
        ``3.4 to 1``; from 10,000 on, ``more than 10,000 to 1``. Below 1, of the inverse: the odds
        are those for the hypothesis that is the better supported one.
    """
    size = abs(log_bayes_factor)
    if size >= math.log(LARGEST_ODDS):
        return f"more than {LARGEST_ODDS:,} to 1"
    factor = math.exp(size)
    digits = 2 if factor < 3 else 1 if factor < 100 else 0
    return f"{factor:,.{digits}f} to 1"


def evidence(log_bayes_factor: float) -> str:
    """Return the conventional label of a Bayes factor (Lee & Wagenmakers 2013, table 7.1).

    Parameters
    ----------
    log_bayes_factor : float
        Natural log of the factor.

    Returns
    -------
    str
        ``anecdotal`` to ``extreme``; the direction is not part of it.
    """
    factor = math.exp(min(abs(log_bayes_factor), 700.0))
    return next((label for limit, label in EVIDENCE if factor < limit), "extreme")


def is_mean(parameter: str) -> bool:
    """Whether a parameter is a mean effect, so that its back-transformation means something.

    Parameters
    ----------
    parameter : str
        Name as in the contract.

    Returns
    -------
    bool
        True for ``mu``, the predictive ones and the intercept.
    """
    return parameter in MEANS


def parameter_name(parameter: str) -> str:
    """Return a parameter in words.

    Parameters
    ----------
    parameter : str
        Name as in the contract.

    Returns
    -------
    str
        Such as ``Heterogeneity between samples``; an unknown name comes back as it is.
    """
    if parameter in NAMES:
        return NAMES[parameter]
    if match := re.fullmatch(r"beta\[(.*)\]", parameter):
        inside = match[1]
        return "Average effect at the reference" if inside == "intercept" else inside
    if match := re.fullmatch(r"omega\[(\d+)\]", parameter):
        return f"Publication weight of p-value bin {match[1]}"
    return parameter


def parameter_symbol(parameter: str) -> str:
    """Return the symbol of a parameter, or nothing where it has none.

    Parameters
    ----------
    parameter : str
        Name as in the contract.

    Returns
    -------
    str
        Such as ``τ between``.
    """
    if match := re.fullmatch(r"(beta|omega)\[.*\]", parameter):
        return {"beta": "β", "omega": "ω"}[match[1]]
    return SYMBOLS.get(parameter, "")


def with_symbols(text: str) -> str:
    """Return a sentence with parameter names replaced by their symbols.

    Parameters
    ----------
    text : str
        A sentence that names parameters as the contract does.

    Returns
    -------
    str
        The sentence for readers.
    """
    return re.sub(r"\b(" + "|".join(SYMBOLS) + r")\b", lambda m: SYMBOLS[m[1]], text)


def plain(text: object) -> str:
    """Return text without control characters and without those that turn its direction.

    Parameters
    ----------
    text : object
        Anything a user wrote.

    Returns
    -------
    str
        Its text; bidirectional controls could make a page show what its source does not say.
    """
    kept = (
        " " if c in "\t\r\n" else c
        for c in str(text)
        if c in "\t\r\n" or (c not in BIDI_CONTROLS and unicodedata.category(c) not in ("Cc", "Cs"))
    )
    return "".join(kept)


def unbroken(text: str) -> str:
    r"""Return a sentence whose numbers stay with their units and signs at the end of a line.

    Parameters
    ----------
    text : str
        A sentence.

    Returns
    -------
    str
        With no-break spaces in ``95 %``, ``r = .19``, ``p < .001`` and before ``to 1``.

    Examples
    --------
    >>> unbroken("r = .19 (95 %)") == "r\u00a0=\u00a0.19 (95\u00a0%)"
    True
    """
    text = re.sub(r"(?<=\d) (?=%|to 1\b)", "\u00a0", text)
    return re.sub(r" ([=<>]) (?=[\d.−])", "\u00a0\\1\u00a0", text)


def shorten(text: object, length: int = 38) -> str:
    """Return text cut to a length, with an ellipsis where something was cut.

    Parameters
    ----------
    text : object
        Anything a user wrote.
    length : int
        Largest number of characters.

    Returns
    -------
    str
        Plain text. What is cut lies past the middle: the rows of one study differ at their end.
    """
    clean = plain(text).strip()
    if len(clean) <= length:
        return clean
    tail = (length - 1) // 3
    return f"{clean[: length - 1 - tail].rstrip()}…{clean[-tail:].lstrip()}"


@dataclass(frozen=True)
class Scale:
    """The scale on which people read a measure.

    Attributes
    ----------
    measure : Measure
        The measure.
    back : callable
        From the analysis scale to the readable one; increasing.
    symbol : str
        Symbol or short name of the readable scale: ``r``, ``g``, ``odds ratio``.
    noun : str
        Name in running text: ``correlation``.
    bounded : bool
        Whether values cannot exceed 1, so that the leading zero is dropped.
    """

    measure: Measure
    back: Callable[[float], float]
    symbol: str
    noun: str
    bounded: bool

    @property
    def transformed(self) -> bool:
        """Whether the readable scale differs from the analysis scale."""
        return self.measure.back is not None

    def value(self, x: float, digits: int = 2) -> str:
        """Return a point of the analysis scale, printed on the readable one."""
        return self.printed(self.back(x), digits)

    def printed(self, value: float, digits: int = 2) -> str:
        """Return a number that is on the readable scale already."""
        return number(value, digits, leading_zero=not self.bounded)

    def interval(self, lower: float, upper: float, digits: int = 2) -> str:
        """Return an interval of the analysis scale, printed on the readable one."""
        return f"{self.value(lower, digits)} to {self.value(upper, digits)}"


def readable_scale(code: str) -> Scale:
    """Return the readable scale of a measure.

    Parameters
    ----------
    code : str
        A key of `MEASURES`.

    Returns
    -------
    Scale
        With its back-transformation; the identity where the measure has none.
    """
    measure = MEASURES[code]
    transform = measure.back
    symbol = measure.back_label
    bounded = symbol in ("r", "partial r", "proportion", "risk difference")
    noun = {"r": "correlation", "partial r": "partial correlation"}.get(symbol, symbol)
    if transform is None:
        return Scale(measure, float, symbol, noun, bounded)
    return Scale(measure, lambda x: float(transform(np.asarray(x, float))), symbol, noun, bounded)

"""Prior distributions: families, densities and quantiles, without any sampler.

A prior is a value from a spec file. This file gives its density and quantiles from
``scipy.special`` (``scipy.stats`` would triple the start-up time); the translation to PyMC
is in ``reanalysis.builders``.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from reanalysis.nearest import nearest

__all__ = ["FAMILIES", "Family", "Prior"]

Vector = NDArray[np.float64]

MAX_FLOAT = sys.float_info.max
LARGEST = 1e30  # of a value that models compute with
LOG_2PI = float(np.log(2 * np.pi))


def _log_normal(x: Vector, mu: float, sigma: float) -> Vector:
    return -0.5 * ((x - mu) / sigma) ** 2 - 0.5 * LOG_2PI - np.log(sigma)


def _log_student(x: Vector, nu: float, mu: float, sigma: float) -> Vector:
    constant = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * np.log(nu * np.pi)
    scaled = (x - mu) / sigma
    return constant - np.log(sigma) - (nu + 1) / 2 * np.log1p(scaled**2 / nu)


def _log_lognormal(x: Vector, mu: float, sigma: float) -> Vector:
    return _log_normal(np.log(x), mu, sigma) - np.log(x)


def _log_gamma(x: Vector, alpha: float, beta: float) -> Vector:
    return alpha * np.log(beta) - special.gammaln(alpha) + special.xlogy(alpha - 1, x) - beta * x


def _log_inverse_gamma(x: Vector, alpha: float, beta: float) -> Vector:
    constant = alpha * np.log(beta) - special.gammaln(alpha)
    return constant - (alpha + 1) * np.log(x) - beta / x


def _log_beta(x: Vector, alpha: float, beta: float) -> Vector:
    power = special.xlogy(alpha - 1, x) + special.xlog1py(beta - 1, -x)
    return power - special.betaln(alpha, beta)


def _t_quantile(q: Vector, nu: float) -> Vector:
    return np.asarray(special.stdtrit(nu, q))


@dataclass(frozen=True)
class Family:
    """One family of distributions.

    Attributes
    ----------
    parameters : dict of str to float or None
        Parameter names in order, each with its default; ``None`` means that it must be given.
    positive : frozenset of str
        Parameters that must be greater than zero.
    support : tuple of float
        Lower and upper end of the support; ``uniform`` replaces it by its own bounds.
    logpdf : callable
        Log density on the support.
    ppf : callable
        Quantile function.
    """

    parameters: Mapping[str, float | None]
    positive: frozenset[str]
    support: tuple[float, float]
    logpdf: Callable[..., ArrayLike]
    ppf: Callable[..., ArrayLike]


REAL = (-np.inf, np.inf)
HALF = (0.0, np.inf)

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "normal": Family(
            {"mu": 0.0, "sigma": None},
            frozenset({"sigma"}),
            REAL,
            _log_normal,
            lambda q, mu, sigma: mu + sigma * special.ndtri(q),
        ),
        "half_normal": Family(
            {"sigma": None},
            frozenset({"sigma"}),
            HALF,
            lambda x, sigma: np.log(2.0) + _log_normal(x, 0.0, sigma),
            lambda q, sigma: sigma * special.ndtri(0.5 + q / 2),
        ),
        "student_t": Family(
            {"nu": None, "mu": 0.0, "sigma": None},
            frozenset({"nu", "sigma"}),
            REAL,
            _log_student,
            lambda q, nu, mu, sigma: mu + sigma * _t_quantile(q, nu),
        ),
        "half_student_t": Family(
            {"nu": None, "sigma": None},
            frozenset({"nu", "sigma"}),
            HALF,
            lambda x, nu, sigma: np.log(2.0) + _log_student(x, nu, 0.0, sigma),
            lambda q, nu, sigma: sigma * _t_quantile(0.5 + q / 2, nu),
        ),
        "cauchy": Family(
            {"mu": 0.0, "sigma": None},
            frozenset({"sigma"}),
            REAL,
            lambda x, mu, sigma: _log_student(x, 1.0, mu, sigma),
            lambda q, mu, sigma: mu + sigma * np.tan(np.pi * (q - 0.5)),
        ),
        "half_cauchy": Family(
            {"sigma": None},
            frozenset({"sigma"}),
            HALF,
            lambda x, sigma: np.log(2.0) + _log_student(x, 1.0, 0.0, sigma),
            lambda q, sigma: sigma * np.tan(np.pi * q / 2.0),
        ),
        "exponential": Family(
            {"rate": None},
            frozenset({"rate"}),
            HALF,
            lambda x, rate: np.log(rate) - rate * x,
            lambda q, rate: -np.log1p(-q) / rate,
        ),
        "lognormal": Family(
            {"mu": 0.0, "sigma": None},
            frozenset({"sigma"}),
            HALF,
            _log_lognormal,
            lambda q, mu, sigma: np.exp(mu + sigma * special.ndtri(q)),
        ),
        "gamma": Family(
            {"alpha": None, "beta": None},
            frozenset({"alpha", "beta"}),
            HALF,
            _log_gamma,
            lambda q, alpha, beta: special.gammaincinv(alpha, q) / beta,
        ),
        "inverse_gamma": Family(
            {"alpha": None, "beta": None},
            frozenset({"alpha", "beta"}),
            HALF,
            _log_inverse_gamma,
            lambda q, alpha, beta: beta / special.gammainccinv(alpha, q),
        ),
        "beta": Family(
            {"alpha": None, "beta": None},
            frozenset({"alpha", "beta"}),
            (0.0, 1.0),
            _log_beta,
            lambda q, alpha, beta: special.betaincinv(alpha, beta, q),
        ),
        "uniform": Family(
            {"lower": None, "upper": None},
            frozenset(),
            REAL,
            lambda x, lower, upper: np.full_like(x, -np.log(upper - lower)),
            lambda q, lower, upper: lower + (upper - lower) * q,
        ),
    }
)


@dataclass(frozen=True)
class Prior:
    """A prior distribution with the reason for it.

    Parameters
    ----------
    family : str
        A key of `FAMILIES`.
    parameters : mapping of str to float
        The family's parameters; those with a default may be left out.
    rationale : str, optional
        Why this prior; printed in the report.

    Raises
    ------
    ValueError
        If the family or a parameter is unknown, missing, not finite or not positive where it
        must be. The message names the choices.

    Examples
    --------
    >>> prior = Prior("half_normal", {"sigma": 0.3})
    >>> print(prior)
    half_normal(sigma=0.3)
    >>> prior.ppf([0.5, 0.95]).round(3)
    array([0.202, 0.588])
    """

    family: str
    parameters: Mapping[str, float]
    rationale: str = ""

    def __post_init__(self) -> None:
        """Fill in defaults and check every parameter."""
        if self.family not in FAMILIES:
            near = nearest(self.family, FAMILIES)
            hint = f" Did you mean '{near}'?" if near else ""
            raise ValueError(
                f"unknown prior family '{self.family}'.{hint} Families: {', '.join(FAMILIES)}."
            )
        family = FAMILIES[self.family]
        unknown = [name for name in self.parameters if name not in family.parameters]
        if unknown:
            raise ValueError(
                f"prior family '{self.family}' has no parameter '{unknown[0]}'; "
                f"it has {', '.join(family.parameters)}."
            )
        filled: dict[str, float] = {}
        for name, default in family.parameters.items():
            value = self.parameters.get(name, default)
            if value is None:
                raise ValueError(f"prior family '{self.family}' needs the parameter '{name}'.")
            if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
                raise ValueError(f"prior parameter '{name}' must be a number, not {value!r}.")
            if not -MAX_FLOAT <= value <= MAX_FLOAT:
                raise ValueError(f"prior parameter '{name}' must be finite, not {str(value)[:20]}.")
            if name in family.positive and value <= 0:
                raise ValueError(f"prior parameter '{name}' must be greater than 0, not {value}.")
            filled[name] = float(value)
        if self.family == "uniform" and filled["lower"] >= filled["upper"]:
            raise ValueError(
                f"uniform prior: lower ({filled['lower']:g}) must be below "
                f"upper ({filled['upper']:g})."
            )
        object.__setattr__(self, "parameters", MappingProxyType(filled))
        with np.errstate(over="ignore", invalid="ignore"):
            ends = np.abs(self.ppf([0.025, 0.975]))
        if not np.all(ends <= LARGEST):  # also where a quantile is not a number
            raise ValueError(
                f"{self} puts its mass beyond {LARGEST:g}, which cannot be computed with; state "
                "the prior on the analysis scale."
            )

    def __str__(self) -> str:
        """Return the family with its parameters, as in ``normal(mu=0, sigma=0.5)``."""
        inside = ", ".join(f"{name}={value:g}" for name, value in self.parameters.items())
        return f"{self.family}({inside})"

    def __hash__(self) -> int:
        """Hash by family and parameter values."""
        return hash((self.family, tuple(self.parameters.items())))

    def __reduce__(self) -> tuple[type["Prior"], tuple[str, dict[str, float], str]]:
        """Pickle through the constructor: a mapping proxy cannot be pickled itself."""
        return Prior, (self.family, dict(self.parameters), self.rationale)

    @property
    def support(self) -> tuple[float, float]:
        """Lower and upper end of the support."""
        if self.family == "uniform":
            return self.parameters["lower"], self.parameters["upper"]
        return FAMILIES[self.family].support

    def logpdf(self, x: ArrayLike) -> Vector:
        """Return the log density.

        Parameters
        ----------
        x : array_like
            Points, on the scale of the parameter.

        Returns
        -------
        numpy.ndarray
            Log density, ``-inf`` outside the support; same shape as `x`.
        """
        x = np.asarray(x, dtype=float)
        lower, upper = self.support
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            value = FAMILIES[self.family].logpdf(x, **self.parameters)
        value = np.where(np.isnan(value), -np.inf, value)
        return np.where((x >= lower) & (x <= upper), value, -np.inf)

    def ppf(self, q: ArrayLike) -> Vector:
        """Return quantiles.

        Parameters
        ----------
        q : array_like
            Probabilities in [0, 1].

        Returns
        -------
        numpy.ndarray
            Quantiles, same shape as `q`.
        """
        return np.asarray(
            FAMILIES[self.family].ppf(np.asarray(q, dtype=float), **self.parameters), dtype=float
        )

    def rvs(self, size: int | tuple[int, ...], rng: np.random.Generator) -> Vector:
        """Return random draws by inversion.

        Parameters
        ----------
        size : int or tuple of int
            Shape of the result.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        numpy.ndarray
            Independent draws.
        """
        return self.ppf(rng.uniform(size=size))

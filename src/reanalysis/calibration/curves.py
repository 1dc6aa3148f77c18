"""Where the truth lies in an exact posterior that is known by its density curves.

For models that the batched engine has no method for: Student-t effects, coefficients with a common
scale, heterogeneity that a moderator changes.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.exact import fit_exact
from reanalysis.exact.selection_calibration import Located
from reanalysis.spec import ModelSpec

__all__ = ["DISTANCE", "locate_by_curves"]

Vector = NDArray[np.float64]

DISTANCE = "distance"


def locate_by_curves(truth: Mapping[str, float], data: Design, spec: ModelSpec) -> Located:
    """Fit a simulated data set exactly and say where the truth lies in its posterior.

    Parameters
    ----------
    truth : mapping of str to float
        Parameters by name.
    data : Design
        The data set.
    spec : ModelSpec
        The model that is fitted; ``mechanism`` must be ``none``.

    Returns
    -------
    Located
        Posterior probability below the true value of each parameter that has a curve; and of the
        first coefficient's distance from the mean of the data, which depends on the data and so
        sees a likelihood that is not used (Modrák et al. 2023). Intervals of the coefficients.

    Raises
    ------
    EngineError
        If the engine cannot fit the model.
    """
    posterior = fit_exact(data, spec, detail="curves")
    curves = {
        name: _Cumulative(*posterior.densities[name])
        for name in truth
        if name in posterior.densities
    }
    below = {name: curve(truth[name]) for name, curve in curves.items()}
    first = data.coefficients[0]
    centre = float(np.average(data.yi, weights=1 / data.vi))
    away = abs(truth[first] - centre)
    below[DISTANCE] = curves[first](centre + away) - curves[first](centre - away)
    intervals = {}
    for name in data.coefficients:
        estimate = posterior.estimates[name]
        assert estimate.lower is not None and estimate.upper is not None
        intervals[name] = estimate.lower, estimate.upper
    return Located(below, intervals)


class _Cumulative:
    """The distribution function of a density curve: what lies outside of it is nothing."""

    def __init__(self, x: Vector, density: Vector) -> None:
        # Imported here: it brings SciPy's optimisers, which no plain run needs.
        from scipy.interpolate import CubicSpline

        kept = np.concatenate([[True], np.diff(x) > 0])
        self._x = x[kept]
        self._integral = CubicSpline(self._x, density[kept]).antiderivative()
        self._total = float(self._integral(self._x[-1]))

    def __call__(self, value: float) -> float:
        inside = np.clip(value, self._x[0], self._x[-1])
        return float(np.clip(self._integral(inside) / self._total, 0.0, 1.0))

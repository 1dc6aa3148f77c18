"""Where the truth lies among draws of NUTS.

All data sets of a calibration go through one compiled model. Draws are thinned to be nearly
independent, so that the rank of the truth among them is uniform.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reanalysis.builders.completion import sample_logliks
from reanalysis.design import Design
from reanalysis.exact.selection_calibration import Located
from reanalysis.nuts import Samples, sample_parameters
from reanalysis.results import EngineError
from reanalysis.sampler_settings import SamplerSettings
from reanalysis.spec import ModelSpec
from reanalysis.summaries import mixing

__all__ = ["locate_by_nuts"]

Vector = NDArray[np.float64]

SETTINGS = SamplerSettings(chains=2, tune=400, draws=500)
LONGER = replace(SETTINGS, tune=1000, draws=2000, target_accept=0.99)
KEPT = 99  # draws that the truth is ranked among
RHAT_MAX = 1.05  # of 1000 draws; the gate of 1.01 is for four times as many
ENDS = (0.025, 0.975)


def locate_by_nuts(
    truth: Mapping[str, float], data: Design, spec: ModelSpec, *, seed: int
) -> Located:
    """Sample the posterior of a simulated data set and say where the truth lies in it.

    Parameters
    ----------
    truth : mapping of str to float
        Parameters by name.
    data : Design
        The data set.
    spec : ModelSpec
        The model that is fitted.
    seed : int
        Seed of the sampler and of the place of the truth among tied ranks.

    Returns
    -------
    Located
        Ranks of every parameter and of the log-likelihood of the data, on (0, 1); and intervals of
        the coefficients, from all draws.

    Raises
    ------
    EngineError
        If the chains do not mix in a second, longer attempt either.
    """
    for settings in (SETTINGS, LONGER):
        samples = sample_parameters(data, spec, settings=settings, seed=seed)
        drawn = _scalars(samples, data)
        drawn = {name: values for name, values in drawn.items() if name in truth}
        rhat, ess = mixing(drawn)
        if rhat <= RHAT_MAX and ess >= KEPT:
            break
    else:
        raise EngineError(f"the chains do not mix: R-hat {rhat:.3f}, ESS {ess:.0f}")
    at_truth = {name: np.array([[truth[name]]]) for name in drawn}
    compared = {name: (values, truth[name]) for name, values in drawn.items()}
    compared["log_likelihood"] = (
        sample_logliks(data, spec, _grouped(drawn, data)).sum(axis=-1),
        float(sample_logliks(data, spec, _grouped(at_truth, data)).sum()),
    )
    rng = np.random.default_rng([seed, 1])
    below = {}
    for name, (values, true) in compared.items():
        every = values.size // KEPT
        kept = values.ravel()[every - 1 :: every][:KEPT]
        below[name] = float((np.sum(kept < true) + rng.uniform()) / (KEPT + 1))
    intervals = {}
    for name in data.coefficients:
        lower, upper = np.quantile(drawn[name], ENDS)
        intervals[name] = float(lower), float(upper)
    return Located(below, intervals)


def _scalars(samples: Samples, data: Design) -> dict[str, Vector]:
    """Return every parameter by the name it is reported by."""
    found: dict[str, Vector] = {}
    for name, values in samples.parameters.items():
        if name == "beta":
            found |= {each: values[..., i] for i, each in enumerate(data.coefficients)}
        elif name == "omega":
            found |= {f"omega[{b + 2}]": values[..., b] for b in range(values.shape[-1])}
        else:
            found[name] = values
    return found


def _grouped(scalars: Mapping[str, Vector], data: Design) -> dict[str, Vector]:
    """Return parameters as the likelihood takes them: coefficients and weights as vectors."""
    weights = tuple(name for name in scalars if name.startswith("omega["))
    vectors = {"beta": data.coefficients} if "mu" not in scalars else {}
    vectors |= {"omega": weights} if weights else {}
    inside = {name for names in vectors.values() for name in names}
    found = {name: values for name, values in scalars.items() if name not in inside}
    for vector, names in vectors.items():
        found[vector] = np.stack([scalars[name] for name in names], axis=-1)
    return found

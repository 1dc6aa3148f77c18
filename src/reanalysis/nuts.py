"""The NUTS engine: sample a model, check the gate, return a `Posterior`.

nutpie samples by default, PyMC's own sampler on request. What the model integrates out (the
random effects) is drawn afterwards from its exact conditional distribution.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType

import numpy as np
import nutpie
import pymc as pm
import pytensor
import xarray as xr
from numpy.typing import NDArray
from nutpie.compiled_pyfunc import PyFuncModel, from_pyfunc

from reanalysis.builders import (
    build_model,
    free_parameters,
    model_data,
    model_structure,
)
from reanalysis.builders.compiled import CompiledModel, compile_model
from reanalysis.builders.completion import complete_draws
from reanalysis.design import Design, resolve_priors
from reanalysis.priors import Prior
from reanalysis.results import EngineError, Posterior
from reanalysis.sampler_settings import SamplerSettings
from reanalysis.spec import ModelSpec
from reanalysis.summaries import make_posterior

__all__ = ["SamplerSettings", "Samples", "fit_nuts", "sample_parameters"]

Vector = NDArray[np.float64]
Progress = Callable[[int, int], None]

PARAMETERS = (
    "mu",
    "beta",
    "tau_between",
    "tau_within",
    "tau",
    "between_share",
    "sampling_correlation",
    "omega",
    "pet",
    "peese",
    "beta_scale",
    "log_tau_ratio",
    "nu",
    "lambda",
)
RETRY_TARGET = 0.99
STARTS = 100
PROGRESS_EVERY = 100  # draws


@dataclass(frozen=True, eq=False)
class Samples:
    """Draws of the model's parameters, and the sampler's statistics.

    Attributes
    ----------
    parameters : dict of str to numpy.ndarray
        By name, each of shape (chains, draws) or (chains, draws, elements).
    statistics : dict of str to numpy.ndarray
        ``diverging``, ``energy``, ``n_steps``, ``tree_depth``; of shape (chains, draws).
    """

    parameters: dict[str, Vector]
    statistics: dict[str, NDArray[np.generic]]


_compiled: dict[tuple[object, ...], CompiledModel] = {}


def fit_nuts(
    design: Design,
    spec: ModelSpec,
    *,
    settings: SamplerSettings | None = None,
    seed: int = 2021,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
    priors: Mapping[str, Prior] | None = None,
) -> Posterior:
    """Sample the posterior of a model with the No-U-Turn sampler.

    Parameters
    ----------
    design : Design
        The arrays of one model.
    spec : ModelSpec
        Mechanism, sampling correlation and priors.
    settings : SamplerSettings, optional
        How to sample; four chains of 1000 tuning and 1000 kept draws by default.
    seed : int
        Same seed, same draws, whatever the number of cores.
    progress : callable, optional
        Called with the number of draws done and their total, tuning included; possibly from
        another thread.
    tell : callable, optional
        Told in words why there is a second attempt.
    priors : mapping of str to Prior, optional
        Resolved priors; by default those of `reanalysis.design.resolve_priors`.

    Returns
    -------
    Posterior
        Estimates, draws and diagnostics. When the gate fails twice (the second time with twice
        the draws and a target acceptance of .99), ``diagnostics.passed`` is False and the
        numbers are not results.

    Raises
    ------
    EngineError
        If the data do not fit the mechanism, a prior does not fit, or sampling cannot start.
    KeyboardInterrupt
        If interrupted; no draws are kept.
    """
    settings = SamplerSettings() if settings is None else settings
    priors = resolve_priors(design, spec) if priors is None else priors
    if design.k < 2:
        raise EngineError(f"the model needs at least 2 effect sizes; it has {design.k}.")

    posterior = _attempt(design, spec, priors, settings, seed, (), progress)
    if posterior.passed:
        return posterior
    assert posterior.diagnostics is not None
    failures = posterior.diagnostics.failures
    longer = replace(
        settings,
        tune=2 * settings.tune,
        draws=2 * settings.draws,
        target_accept=max(settings.target_accept, RETRY_TARGET),
    )
    if tell is not None:
        tell(
            f"NUTS missed its gate ({'; '.join(failures)}); once more with {longer.tune} tuning "
            f"and {longer.draws} kept draws of each chain, target acceptance "
            f"{longer.target_accept}."
        )
    return _attempt(design, spec, priors, longer, seed, failures, progress)


def sample_parameters(
    design: Design,
    spec: ModelSpec,
    *,
    settings: SamplerSettings,
    seed: int,
    priors: Mapping[str, Prior] | None = None,
) -> Samples:
    """Sample the parameters alone: no random effects, no predictions, no gate.

    Parameters
    ----------
    design, spec, settings, seed, priors
        As for `fit_nuts`.

    Returns
    -------
    Samples
        What `fit_nuts` starts from. Models of one structure share their compiled code, so that
        many data sets take little more than their sampling.

    Raises
    ------
    EngineError
        If the data do not fit the mechanism, a prior does not fit, or sampling cannot start.
    """
    priors = resolve_priors(design, spec) if priors is None else priors
    sample = _sample_nutpie if settings.sampler == "nutpie" else _sample_pymc
    return sample(design, spec, priors, settings, seed, None)


def _attempt(
    design: Design,
    spec: ModelSpec,
    priors: Mapping[str, Prior],
    settings: SamplerSettings,
    seed: int,
    failures: Sequence[str],
    progress: Progress | None,
) -> Posterior:
    """Sample once; `failures` are those of the attempt before."""
    attempt = 2 if failures else 1
    sample = _sample_nutpie if settings.sampler == "nutpie" else _sample_pymc
    samples = sample(design, spec, priors, settings, seed, progress)
    rng = np.random.default_rng([seed, attempt])
    draws = complete_draws(design, spec, priors, samples.parameters, samples.statistics, rng)
    draws.attrs = {
        "sampler": settings.sampler,
        "version": nutpie.__version__ if settings.sampler == "nutpie" else pm.__version__,
        "chains": settings.chains,
        "tune": settings.tune,
        "draws": settings.draws,
        "target_accept": settings.target_accept,
        "seed": seed,
        "attempts": attempt,
        **({"first_attempt": "; ".join(failures)} if failures else {}),
    }
    return make_posterior(draws, design)


def _sample_nutpie(
    design: Design,
    spec: ModelSpec,
    priors: Mapping[str, Prior],
    settings: SamplerSettings,
    seed: int,
    progress: Progress | None,
) -> Samples:
    structure = model_structure(design, spec, priors)
    if structure not in _compiled:
        _compiled[structure] = compile_model(build_model(design, spec, priors), PARAMETERS)
    compiled = _compiled[structure]
    data = compiled.arguments(model_data(design, spec, priors))

    def logp(x: Vector) -> tuple[float, Vector]:
        value, gradient = compiled.logp_and_gradient(x, *data)
        return float(value), gradient

    def make_expand(*_: int) -> Callable[[Vector], dict[str, Vector]]:
        return lambda x: {"x": np.array(x)}

    def start(seed: int) -> Vector:
        return _start(design, spec, priors, compiled, data, seed)

    start(seed)  # fails here, if at all: a failure in nutpie's threads crashes Python at its exit
    target = from_pyfunc(
        compiled.size,
        lambda: logp,
        make_expand,
        [np.dtype("float64")],
        [(compiled.size,)],
        ["x"],
        make_initial_point_fn=start,
    )
    trace = _run_nutpie(target, settings, seed, progress)
    x = trace["posterior"]["x"].to_numpy()
    values = compiled.constrain(x.reshape(-1, compiled.size), *data)
    shape = x.shape[:2]
    parameters = {
        name: value.reshape(shape + value.shape[1:])
        for name, value in zip(compiled.names, values, strict=True)
    }
    return Samples(parameters, _statistics(trace["sample_stats"].dataset))


def _run_nutpie(
    target: PyFuncModel, settings: SamplerSettings, seed: int, progress: Progress | None
) -> xr.DataTree:
    sampler = nutpie.sample(
        target,
        chains=settings.chains,
        tune=settings.tune,
        draws=settings.draws,
        target_accept=settings.target_accept,
        cores=settings.cores,
        seed=seed,
        save_warmup=False,
        progress_bar=False,
        progress_callback=None if progress is None else _forward(progress),
        blocking=False,
    )
    try:
        return sampler.wait()
    except RuntimeError as error:
        reason = " ".join(str(error).partition("Stack backtrace")[0].split())
        raise EngineError(f"NUTS could not sample: {reason}") from error
    except BaseException:
        sampler.cancel()  # a blocking call would return the partial trace of an interrupt
        raise


def _sample_pymc(
    design: Design,
    spec: ModelSpec,
    priors: Mapping[str, Prior],
    settings: SamplerSettings,
    seed: int,
    progress: Progress | None,
) -> Samples:
    total = settings.chains * (settings.tune + settings.draws)
    done = 0
    strict = pytensor.config.change_flags(numba__fastmath=False)  # as in compile_model
    with strict, _interrupts() as interrupted, build_model(design, spec, priors):

        def count(trace: object, draw: object) -> None:
            nonlocal done
            if interrupted():  # PyMC ends only one chain on an interrupt
                raise KeyboardInterrupt
            done += 1
            if progress is not None and (done % PROGRESS_EVERY == 0 or done == total):
                progress(done, total)

        try:
            trace = pm.sample(
                nuts_sampler="pymc",
                chains=settings.chains,
                tune=settings.tune,
                draws=settings.draws,
                target_accept=settings.target_accept,
                cores=settings.cores,
                random_seed=seed,
                progressbar=False,
                quiet=True,
                callback=count,
                compute_convergence_checks=False,
            )
        except (ValueError, RuntimeError) as error:
            if interrupted():  # an early interrupt surfaces as "Not enough samples"
                raise KeyboardInterrupt from error
            raise EngineError(f"NUTS could not sample: {str(error).splitlines()[0]}") from error
    if interrupted():  # a late interrupt surfaces as a shorter trace
        raise KeyboardInterrupt
    posterior = trace["posterior"].dataset
    parameters = {
        name: posterior[name].to_numpy() for name in PARAMETERS if name in posterior.data_vars
    }
    return Samples(parameters, _statistics(trace["sample_stats"].dataset))


def _start(
    design: Design,
    spec: ModelSpec,
    priors: Mapping[str, Prior],
    compiled: CompiledModel,
    data: Sequence[NDArray[np.generic]],
    seed: int,
) -> Vector:
    """Return a starting point: each parameter somewhere in the middle half of its prior."""
    rng = np.random.default_rng(seed)
    free = free_parameters(design, spec, priors)
    for _ in range(STARTS):
        values = []
        for name, shape in compiled.free:
            quantiles = [float(prior.ppf(rng.uniform(0.25, 0.75))) for prior in free[name]]
            values.append(np.reshape(quantiles, shape))
        x = compiled.unconstrain(*values, *data)
        value, gradient = compiled.logp_and_gradient(x, *data)
        if np.isfinite(value) and np.all(np.isfinite(gradient)):
            return x
    raise EngineError(
        f"NUTS found no starting point: the density is not finite at {STARTS} points drawn "
        "from the prior. Check the scale of the effect sizes, variances and priors."
    )


def _statistics(statistics: xr.Dataset) -> dict[str, NDArray[np.generic]]:
    """Return what the gate and the plots need, under ArviZ's names for both samplers."""
    depth = "depth" if "depth" in statistics else "tree_depth"
    names = {
        "energy": "energy",
        "diverging": "diverging",
        "n_steps": "n_steps",
        depth: "tree_depth",
    }
    return {ours: statistics[theirs].to_numpy() for theirs, ours in names.items()}


def _forward(progress: Progress) -> Callable[[list[nutpie.ChainProgress]], None]:
    def callback(chains: list[nutpie.ChainProgress]) -> None:
        progress(
            sum(chain.finished_draws for chain in chains),
            sum(chain.total_draws for chain in chains),
        )

    return callback


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Remember an interrupt that a sampler swallows; only the main thread receives any."""
    seen = False

    before = signal.getsignal(signal.SIGINT)

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen = True
        (before if callable(before) else signal.default_int_handler)(number, frame)

    main = threading.current_thread() is threading.main_thread()
    if main:
        signal.signal(signal.SIGINT, handler)
    try:
        yield lambda: seen
    finally:
        if main:
            signal.signal(signal.SIGINT, before)

"""A reanalysis from start to end: check, fit, write."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from reanalysis.analysis import Analysis, Options, fit_all
from reanalysis.plan import ENGINES, plan
from reanalysis.progress import Progress, Steps
from reanalysis.selection_columns import direction_notes
from reanalysis.spec import Reanalysis, SpecError

__all__ = ["run"]


def run(
    spec: str | Path | Reanalysis,
    engines: Sequence[str] = ENGINES,
    *,
    models: Sequence[str] = (),
    out: str | Path | None = None,
    seed: int | None = None,
    quick: bool = False,
    force: bool = False,
    allow_outside: bool = False,
    scheduler: str = "here",
    progress: Progress | None = None,
) -> Analysis:
    """Reanalyse a published meta-analysis.

    Parameters
    ----------
    spec : str, pathlib.Path or Reanalysis
        A TOML file, a CSV, the name of a spec at hand, or a loaded spec.
    engines : sequence of str
        Any of ``reml``, ``exact``, ``nuts``.
    models : sequence of str
        Models to fit; all by default.
    out : str or pathlib.Path, optional
        Folder for the report, results and fits; nothing is written without it.
    seed : int, optional
        Replaces the spec's seed.
    quick : bool
        Fewer draws.
    force : bool
        Refit what a former run left in `out`.
    allow_outside : bool
        Whether a spec may name data outside its own project.
    scheduler : str
        Where the fits of a multiverse or a calibration are done: ``here``, in this process;
        ``local``, a process per core (a script then needs its ``if __name__ == "__main__"``);
        ``auto``, whichever is faster; or the address of a Dask scheduler.
    progress : callable, optional
        Called with a `reanalysis.progress.Stage` when a step starts and as draws come in.

    Returns
    -------
    Analysis
        Every fit, with what was not computed and why.

    Raises
    ------
    SpecError, DataError
        If the spec or the data are faulty; raised before anything is computed.
    OSError
        If `out` cannot be written; raised before anything is computed.
    """
    steps = Steps(progress)
    planned = plan(spec, models=models, allow_outside=allow_outside)
    unknown = [engine for engine in engines if engine not in ENGINES]
    if unknown:
        raise SpecError([f"unknown engine '{unknown[0]}'; engines are {', '.join(ENGINES)}."])
    options = Options(
        engines=tuple(engine for engine in ENGINES if engine in engines),
        seed=planned.asked.seed if seed is None else seed,
        quick=quick,
        steps=steps,
        scheduler=scheduler,
    )
    fits = sum(len(model.engines(options.engines)) for model in planned.models.values())
    steps.expect(fits + (out is not None))
    for name, model in planned.models.items():
        for note in direction_notes(model.spec, model.design.yi, model.design.direction):
            steps.note(f"warning: model '{name}': {note}")
    if out is None:
        return fit_all(planned, options)
    # Imported here: the report brings the figures, and without a folder there is none.
    from reanalysis.output import OutputFolder

    with OutputFolder(Path(out), tell=steps.note) as folder:
        keep = partial(folder.fit, force=force)
        analysis = fit_all(planned, replace(options, keep=keep, store=folder.store(force=force)))
        steps.start("report", str(out))
        folder.write(analysis)
    return analysis

"""Deterministic engines: the posterior by quadrature, with a stated numerical error."""

from reanalysis.design import Design
from reanalysis.exact.evidence import log_evidence
from reanalysis.exact.normal import Detail, fit_normal
from reanalysis.exact.scale import fit_scale_model
from reanalysis.results import Posterior
from reanalysis.spec import ModelSpec
from reanalysis.threads import one_blas_thread

__all__ = ["Detail", "fit_exact", "log_evidence"]


def fit_exact(design: Design, spec: ModelSpec, *, detail: Detail = "full") -> Posterior:
    """Fit a model by quadrature.

    Parameters
    ----------
    design : Design
        The data of the model.
    spec : ModelSpec
        The model.
    detail : str
        ``parameters`` leaves out what is derived from the parameters: predictions, the mean
        correlation, density curves, Bayes factors and the true effects of the rows; ``curves``
        keeps the density curves.

    Returns
    -------
    Posterior
        With engine ``exact``; every estimate has its numerical error.

    Raises
    ------
    EngineError
        If the engine has no method for the model, or cannot reach its tolerance.
    """
    with one_blas_thread():
        if design.scale is not None:
            return fit_scale_model(design, spec)
        if spec.effects == "student_t":
            # Imported here, as below: most runs have no such model.
            from reanalysis.exact.student import fit_student

            return fit_student(design, spec, detail=detail)
        if spec.mechanism == "none":
            return fit_normal(design, spec, detail=detail)
        from reanalysis.exact.selection import fit_exact_selection

        return fit_exact_selection(
            design, spec, two_sided=spec.two_sided, direction=design.direction, detail=detail
        )

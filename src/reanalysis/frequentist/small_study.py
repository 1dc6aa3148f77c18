"""What the small-study methods share: their result record and the rows they work on.

These methods ask whether small studies report larger effects. That can come from selective
publication, but also from real differences between small and large studies, or from chance. Each
result therefore carries its limits in words, for the report to print beside the number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from reanalysis.design import Design
from reanalysis.results import EngineError

__all__ = ["SmallStudyResult", "dependence_limit", "independent_rows"]


@dataclass(frozen=True, eq=False)
class SmallStudyResult:
    """The answer of one small-study method.

    Attributes
    ----------
    method : str
        Name of the method, with its variant.
    table : pandas.DataFrame
        Tidy rows: what was estimated or tested, with interval and p-value.
    limits : str
        What the method can and cannot say about these data.
    numbers : mapping of str to float
        Single figures by name: ``p``, ``tau``, ``k0``, ...
    data : pandas.DataFrame
        What a figure needs, where there is one: contour lines, filled-in effects.
    """

    method: str
    table: pd.DataFrame
    limits: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    data: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    def _repr_html_(self) -> str:
        return (
            f"<p><strong>{self.method}</strong></p>"
            f"{self.table._repr_html_()}"  # type: ignore[operator]
            f"<p>{self.limits}</p>"
        )


def independent_rows(design: Design, *, least: int = 3) -> Design:
    """Return the two-level design in which every row is its own sample.

    Parameters
    ----------
    design : Design
        The arrays of the model, without moderators.
    least : int, default 3
        Smallest number of rows the method can work with.

    Returns
    -------
    Design
        The same rows, each in a sample of its own.

    Raises
    ------
    EngineError
        If the design has moderators or too few rows.
    """
    if design.coefficients != ("mu",):
        raise EngineError("small-study methods take a model without moderators.")
    if design.k < least:
        raise EngineError(f"{design.k} effects are too few; this method needs {least}.")
    return replace(
        design,
        levels=2,
        cluster=np.arange(design.k, dtype=np.intp),
        cluster_names=tuple(str(row) for row in range(design.k)),
        n_averaged=np.ones(design.k),
        n_measured=None,
        V=None,
    )


def dependence_limit(design: Design) -> str:
    """Return the sentence to add when rows of one sample were treated as independent."""
    if design.m == design.k:
        return ""
    return (
        f" The {design.k} effects come from {design.m} samples but are treated as independent, "
        "which makes the p-value too small; the cluster-robust PET test takes the samples into "
        "account."
    )

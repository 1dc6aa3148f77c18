"""Whether the data say anything about the weights, or only the prior does.

The measure is the overlap of prior and posterior of a weight: the area under the smaller of the
two densities, 1 where the data change nothing. The rule is that the data speak about a weight if
the overlap is below `SILENT_OVERLAP`. Calibrated by simulation (benchmarks/
selection_identification.py): with five samples and weights of .2 or more, where little can be
known, at most one weight in twenty is said to be informed; with 120 samples and a weight of .2,
nineteen in twenty are.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from reanalysis.exact.selection import SelectionPosterior

__all__ = ["SILENT_OVERLAP", "Identification", "identify_weights"]

SILENT_OVERLAP = 0.6
CELLS = 400


@dataclass(frozen=True, eq=False)
class Identification:
    """What the data say about the weights.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per free weight: ``parameter``, ``bin``, ``effects`` in that bin, ``overlap`` of
        prior and posterior, and ``informed``.
    informed : bool
        Whether the data say something about any weight.
    sentence : str
        The same in words, for the report.
    """

    table: pd.DataFrame
    informed: bool
    sentence: str


def identify_weights(posterior: SelectionPosterior) -> Identification:
    """Compare the posterior of each weight with its prior.

    Parameters
    ----------
    posterior : SelectionPosterior
        From `fit_exact_selection`, with free weights.

    Returns
    -------
    Identification
        Overlaps and the verdict.

    Raises
    ------
    ValueError
        If the posterior has no free weights.
    """
    prior = posterior.weight_prior
    if prior is None or not prior.dimension:
        raise ValueError("the model has no free selection weights")
    edges = np.linspace(0.0, 1.0, CELLS + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    a = np.asarray(prior.a)
    b = np.cumsum(prior.b) if prior.ordered else np.asarray(prior.b)
    rows = []
    for i in range(prior.dimension):
        name = f"omega[{i + 2}]"
        x, density = posterior.densities[name]
        # Compared as probabilities of cells: densities may be infinite at 0 or 1.
        after = np.interp(middle, x, density)
        after /= after.sum()
        before = np.diff(special.betainc(a[i], b[i], edges))
        overlap = float(np.minimum(before, after).sum())
        label, effects = posterior.bins.loc[i + 1, ["bin", "effects"]]
        rows.append((name, label, effects, overlap, overlap < SILENT_OVERLAP))
    table = pd.DataFrame(rows, columns=["parameter", "bin", "effects", "overlap", "informed"])
    listed = ", ".join(
        f"{row.bin}: {row.effects} effect{'s' * (row.effects != 1)}, overlap {row.overlap:.2f}"
        for row in table.itertuples()
    )
    if not table["informed"].any():
        sentence = (
            "The data do not say how strong the selection was: prior and posterior of the weights "
            f"are alike ({listed}). The corrected estimate rests on the prior."
        )
    else:
        bins = ", ".join(table.loc[table["informed"], "bin"])
        sentence = f"The data say something about the weights of {bins} ({listed})."
    return Identification(table, bool(table["informed"].any()), sentence)

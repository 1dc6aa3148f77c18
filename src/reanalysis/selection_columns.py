"""What a selection mechanism needs from the spec and the table beside effects and variances.

How many effects a sample measured, which of them is its primary one, and weights held fixed.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.dataset import Dataset
from reanalysis.nearest import nearest
from reanalysis.spec import ModelSpec, SpecError

__all__ = ["direction_notes", "effects_measured", "primary_effects", "selection_problems"]

Vector = NDArray[np.float64]

MOSTLY = 0.5  # share of effects against the expected direction that deserves a warning
WEIGHTED = ("joint", "replace", "study", "thin")
MARKS = {"1": True, "1.0": True, "true": True, "yes": True}
MARKS |= {"0": False, "0.0": False, "false": False, "no": False, "": False, "none": False}
MARKS |= {"nan": False}


def selection_problems(model: ModelSpec) -> list[str]:
    """Say which settings of a selection mechanism do not go together.

    Parameters
    ----------
    model : ModelSpec
        The model.

    Returns
    -------
    list of str
        One sentence for each fault.
    """
    where, bins = f"model '{model.name}'", len(model.steps) + 1
    problems = []
    if model.primary and model.mechanism != "study":
        problems.append(
            f"{where}: 'primary' goes with mechanism = \"study\" only; remove one of the two."
        )
    if model.omega and model.mechanism not in WEIGHTED:
        problems.append(
            f"{where}: 'omega' goes with the mechanisms {', '.join(WEIGHTED)}; mechanism = "
            f'"{model.mechanism}" has no weights. Remove one of the two.'
        )
    elif model.omega and len(model.omega) != bins:
        problems.append(
            f"{where}: omega has {len(model.omega)} weights, but {len(model.steps)} steps make "
            f"{bins} bins of p-values; give one weight for each."
        )
    if model.omega and "omega" in model.priors:
        problems.append(
            f"{where}: 'omega' is held fixed and has a prior as well; remove one of the two."
        )
    return problems


def direction_notes(model: ModelSpec, yi: Vector, direction: int) -> tuple[str, ...]:
    """Say if most effects point against the direction that a mechanism expects.

    Parameters
    ----------
    model : ModelSpec
        The model.
    yi : numpy.ndarray of shape (k,)
        Effects as they are in the data.
    direction : int
        Expected direction, 1 or -1.

    Returns
    -------
    tuple of str
        One sentence, or none.
    """
    against = int(np.sum(direction * yi < 0))
    if model.mechanism == "none" or model.two_sided or against <= MOSTLY * len(yi):
        return ()
    words = ("positive", "negative")[:: 1 if direction == 1 else -1]
    return (
        f"{against} of {len(yi)} effects point against the expected direction, {words[0]}, in "
        f'which mechanism = "{model.mechanism}" looks for selection; if it is the other one, set '
        f'direction = "{words[1]}" under [data].',
    )


def effects_measured(effects: pd.DataFrame, samples: list[str]) -> Vector:
    """Return how many effects each sample measured.

    Parameters
    ----------
    effects : pandas.DataFrame
        Standard columns of the kept rows.
    samples : list of str
        The samples, in the order of the design.

    Returns
    -------
    numpy.ndarray of shape (m,)
        Reported and unreported effects together.

    Raises
    ------
    SpecError
        If a sample has no number.
    """
    measured = effects.groupby("sample", sort=False)["n_measured"].max().reindex(samples)
    if measured.isna().any():
        lost = measured.index[measured.isna()][0]
        raise SpecError(
            [
                f"mechanism 'thin' needs the column n_measured (effects each sample measured); "
                f"sample '{lost}' has none. Name it under [data.columns]."
            ]
        )
    return measured.to_numpy(float).copy()


def primary_effects(data: Dataset, model: ModelSpec, keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of the kept rows is the primary effect of its sample.

    Parameters
    ----------
    data : Dataset
        The data.
    model : ModelSpec
        Names the column.
    keep : numpy.ndarray of bool
        Rows of the table that the model keeps.

    Returns
    -------
    numpy.ndarray of bool
        For the kept rows, in the order of the table.

    Raises
    ------
    SpecError
        If there is no such column, a cell is neither a mark nor none, or a sample has not exactly
        one primary effect.
    """
    where, name = f"model '{model.name}': primary = \"{model.primary}\"", model.primary
    if name not in data.table.columns:
        columns = [str(column) for column in data.table.columns]
        near = nearest(name, columns)
        hint = f" Did you mean '{near}'?" if near else ""
        raise SpecError(
            [f"{where}: the table has no such column.{hint} Columns: {', '.join(columns)}."]
        )
    cells = [str(cell).strip().lower() for cell in data.table[name][keep]]
    odd = [cell for cell in cells if cell not in MARKS]
    if odd:
        raise SpecError(
            [
                f"{where} marks primary effects with 1, yes or true and leaves the others 0, no, "
                f"false or empty; it holds '{odd[0]}'."
            ]
        )
    marked = np.array([MARKS[cell] for cell in cells])
    samples = data.effects["sample"][keep]
    counts = pd.Series(marked, index=samples.index).groupby(samples, sort=False).sum()
    if (counts != 1).any():
        sample = counts.index[counts != 1][0]
        raise SpecError(
            [
                f"{where} marks {int(counts[sample])} effects of sample '{sample}'; mark exactly "
                "one effect of every sample."
            ]
        )
    return marked

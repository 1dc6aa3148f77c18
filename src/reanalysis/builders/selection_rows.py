"""The rows of a selection model, laid out for its normaliser.

What a mechanism divides by depends on the design of a sample, not on its effects: rows of a sample
with the same precision and moderators have the same chance of being seen, and are kept once with
their number of copies.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reanalysis.builders.blocks import Blocks, make_blocks
from reanalysis.design import Design
from reanalysis.results import EngineError
from reanalysis.selection.bins import Bins
from reanalysis.spec import ModelSpec

__all__ = ["SelectionRows", "make_bias_blocks", "make_selection_rows", "normal_rule"]

Vector = NDArray[np.float64]
Index = NDArray[np.intp]

REACH = 8.5  # standard deviations; a normal leaves 2e-17 outside


@dataclass(frozen=True, eq=False)
class SelectionRows:
    """Rows of a design, turned so that the expected direction is positive.

    Attributes
    ----------
    mechanism : str
        ``joint``, ``replace``, ``study`` or ``thin``.
    two_sided : bool
        Whether the weight depends on the size of an effect only.
    direction : int
        Sign that turned the effects.
    blocks : Blocks
        The turned rows.
    decided : numpy.ndarray of shape (m, J)
        Number of decisions of each sample that fell in each bin.
    X : numpy.ndarray of shape (r, p)
        Design matrix of the rows that differ.
    vi, within, copies : numpy.ndarray of shape (r,)
        Their sampling variances, factors of ``tau_within²`` and numbers of copies.
    cutoffs : numpy.ndarray of shape (r, J - 1)
        Smallest effect that reaches each step.
    cluster : numpy.ndarray of shape (r,)
        Their samples.
    alone : numpy.ndarray of shape (m,)
        1 for a sample of which one effect decides: the sample's effect only adds to that effect's
        variance; else 0.
    missing : numpy.ndarray of shape (m,)
        Effects that were measured and not reported; zero except under ``thin``.
    typical_design, typical_vi, typical_cutoffs : numpy.ndarray
        An unreported effect: the average of its sample's rows.
    nodes, log_weights : numpy.ndarray of shape (q,)
        Rule for the expectation under a standard normal.
    """

    mechanism: str
    two_sided: bool
    direction: int
    blocks: Blocks
    decided: Vector
    X: Vector
    vi: Vector
    within: Vector
    copies: Vector
    cutoffs: Vector
    cluster: Index
    alone: Vector
    missing: Vector
    typical_design: Vector
    typical_vi: Vector
    typical_cutoffs: Vector
    nodes: Vector
    log_weights: Vector

    def with_nodes(self, count: int, reach: float = REACH) -> "SelectionRows":
        """Return the same rows with another rule."""
        nodes, log_weights = normal_rule(count, reach)
        return replace(self, nodes=nodes, log_weights=log_weights)


def normal_rule(count: int, reach: float = REACH) -> tuple[Vector, Vector]:
    """Return nodes and log weights for the expectation under a standard normal.

    Equally spaced nodes, which for integrands with steep sides converge faster than Gauss-Hermite:
    with 56 nodes they are exact to 1e-10 where Gauss-Hermite is to 1e-6.

    Parameters
    ----------
    count : int
        Number of nodes; one node is the mean.
    reach : float
        Standard deviations from the mean to the last node.

    Returns
    -------
    nodes, log_weights : numpy.ndarray of shape (count,)
        The weights add up to 1.
    """
    nodes = np.linspace(-reach, reach, count) if count > 1 else np.zeros(1)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, -0.5 * nodes**2 - np.log(weights.sum())


def make_selection_rows(design: Design, spec: ModelSpec) -> SelectionRows:
    """Return the rows of a selection model, with one node.

    Parameters
    ----------
    design : Design
        The arrays of one model.
    spec : ModelSpec
        Mechanism and steps.

    Returns
    -------
    SelectionRows
        Use `SelectionRows.with_nodes` for a rule.

    Raises
    ------
    EngineError
        If sampling errors are correlated, or `thin` lacks the number of effects measured.
    """
    if design.V is not None or spec.sampling_correlation != 0:
        raise EngineError(
            "selection models need independent sampling errors within a sample; set "
            "sampling_correlation = 0 for them"
        )
    bins = Bins(spec.steps, spec.two_sided)
    turned = replace(
        design, yi=design.direction * design.yi, X=design.direction * design.X, direction=1
    )
    blocks = make_blocks(turned, spec)
    sei = np.sqrt(design.vi)
    cutoffs, reached = bins.cutoffs(sei), bins.of(turned.yi, sei)
    sizes = np.bincount(design.cluster)
    decided = np.zeros((design.m, bins.count))
    seen = np.ones(design.k, dtype=bool) if design.primary is None else design.primary
    if design.primary is not None:
        decided[design.cluster[seen], reached[seen]] = 1
    elif spec.mechanism == "study":
        best = np.minimum.reduceat(reached, design.starts)
        decided[np.arange(design.m), best] = 1
    else:
        np.add.at(decided, (design.cluster, reached), 1)
    missing = _missing(design, spec, sizes)
    same = np.column_stack([design.cluster, design.vi, blocks.within, blocks.X])[seen]
    _, first, copies = np.unique(same, axis=0, return_index=True, return_counts=True)
    first = np.flatnonzero(seen)[first]
    alone = (sizes + missing == 1) | (design.primary is not None)

    def typical(rows: Vector) -> Vector:
        return np.add.reduceat(rows, design.starts) / sizes.reshape(-1, *[1] * (rows.ndim - 1))

    nodes, log_weights = normal_rule(1)
    return SelectionRows(
        spec.mechanism,
        spec.two_sided,
        design.direction,
        blocks,
        decided,
        blocks.X[first],
        design.vi[first],
        blocks.within[first],
        copies.astype(float),
        cutoffs[first],
        design.cluster[first],
        alone.astype(float),
        missing,
        typical(blocks.X),
        typical(design.vi),
        typical(cutoffs),
        nodes,
        log_weights,
    )


def make_bias_blocks(design: Design, spec: ModelSpec) -> Blocks:
    """Return the rows of PET or PEESE: the bias coefficient is the last one.

    Parameters
    ----------
    design : Design
        The arrays of one model.
    spec : ModelSpec
        Mechanism ``pet`` (predictor ``sqrt(vi)``) or ``peese`` (``vi``).

    Returns
    -------
    Blocks
        With one more column in ``X``: the predictor, in the expected direction.
    """
    predictor = np.sqrt(design.vi) if spec.mechanism == "pet" else design.vi
    wider = np.column_stack([design.X, design.direction * predictor])
    names = (*design.coefficients, spec.mechanism)
    return make_blocks(replace(design, X=wider, coefficients=names), spec)


def _missing(design: Design, spec: ModelSpec, sizes: Index) -> Vector:
    if spec.mechanism != "thin":
        return np.zeros(design.m)
    if design.n_measured is None:
        raise EngineError(
            "the mechanism 'thin' needs n_measured, the number of effects that each sample "
            "measured; add the column or choose another mechanism"
        )
    missing = np.asarray(design.n_measured - sizes, dtype=float)
    if np.any(missing < 0):
        j = int(np.argmin(missing))
        raise EngineError(
            f"sample '{design.cluster_names[j]}' reports {sizes[j]} effects, but n_measured is "
            f"{design.n_measured[j]:g}; n_measured counts reported and unreported effects together"
        )
    return missing

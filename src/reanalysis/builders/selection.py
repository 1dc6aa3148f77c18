"""Selection mechanisms in PyTensor (METHODS section 5).

Write ``Phi_kb(u)`` for the chance that effect k of a sample with effect u reaches step b, and
``d_b = omega_b - omega_{b+1}`` for what is lost there. Then an effect passes with chance
``A_k(u) = omega_J + sum_b d_b Phi_kb(u)``, a sum without cancellation where weights fall. Without
selection the sample's effect is integrated out in closed form
(`reanalysis.builders.hierarchical`); a mechanism multiplies that likelihood by the weights of
what is seen and by an expectation, over the prior of u or over its posterior without selection:

=========== ==========================================================================
``joint``   divided by ``E[prod_k A_k(u)]``
``replace`` times ``E[1 / prod_k A_k(u) | y]``
``study``   divided by ``omega_J + sum_b d_b E[1 - prod_k (1 - Phi_kb(u))]``
``thin``    times ``E[F(u)^missing | y]``, divided by ``E[1 - F(u)^missing prod_k F_k(u)]``,
            where ``F = sum_b d_b (1 - Phi_b)`` is the chance to fail
=========== ==========================================================================

Expectations are sums over nodes, in logs. The nodes are data, so a compiled model serves any number
of them (`reanalysis.builders.selection_rows.normal_rule`).
"""

from collections.abc import Mapping

import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.gradient import disconnected_grad
from pytensor.tensor import TensorVariable

from reanalysis.builders.hierarchical import (
    fitted_values,
    hierarchical_data,
    hierarchical_loglik,
)
from reanalysis.builders.selection_rows import SelectionRows

__all__ = ["bias_loglik", "selection_data", "selection_loglik"]

Tensors = Mapping[str, TensorVariable]

TINY = 1e-300


def bias_loglik(data: Tensors, parameters: Tensors) -> TensorVariable:
    """Return the log-likelihood of PET or PEESE, random effects integrated out.

    Parameters
    ----------
    data : mapping of str to TensorVariable
        The arrays of `reanalysis.builders.hierarchical.hierarchical_data`, with the predictor as
        the last column of ``X``.
    parameters : mapping of str to TensorVariable
        As for `hierarchical_loglik`, and ``pet`` or ``peese``.

    Returns
    -------
    TensorVariable
        Scalar.
    """
    given = dict(parameters)
    name = "pet" if "pet" in given else "peese"
    slope = given.pop(name)
    given["beta"] = pt.concatenate([given["beta"], slope[None]])
    return hierarchical_loglik(data, given)


def selection_data(rows: SelectionRows) -> dict[str, NDArray[np.generic]]:
    """Return the arrays that enter the model as data.

    Parameters
    ----------
    rows : SelectionRows
        Rows of the design.

    Returns
    -------
    dict of str to numpy.ndarray
        Those of the normal model, and the fields of `rows` that the mechanism uses.
    """
    data = hierarchical_data(rows.blocks) | {
        "decided": rows.decided.sum(axis=0),
        "seen_X": rows.X,
        "seen_vi": rows.vi,
        "seen_within": rows.within,
        "copies": rows.copies,
        "cutoffs": rows.cutoffs,
        "seen_cluster": rows.cluster.astype(np.int64),
        "alone": rows.alone,
        "nodes": rows.nodes,
        "log_weights": rows.log_weights,
    }
    if rows.two_sided:
        data["two_sided"] = np.array(1.0)
    if rows.mechanism == "thin":
        data |= {
            "missing": rows.missing,
            "typical_design": rows.typical_design,
            "typical_vi": rows.typical_vi,
            "typical_cutoffs": rows.typical_cutoffs,
        }
    return data


def selection_loglik(mechanism: str, data: Tensors, parameters: Tensors) -> TensorVariable:
    """Return the log-likelihood of a selection mechanism.

    Parameters
    ----------
    mechanism : str
        ``joint``, ``replace``, ``study`` or ``thin``.
    data : mapping of str to TensorVariable
        The arrays of `selection_data`; with ``two_sided``, weights depend on the size only.
    parameters : mapping of str to TensorVariable
        As for `hierarchical_loglik`, and ``omega`` of shape (J,), the first of them 1.

    Returns
    -------
    TensorVariable
        Scalar, with all normalising constants.
    """
    omega = parameters["omega"]
    value = hierarchical_loglik(data, parameters) + (data["decided"] * pt.log(omega)).sum()
    model = _Expectations(data, parameters)
    if mechanism == "joint":
        return value - model.all_survive().sum()
    if mechanism == "replace":
        return value + model.replaced().sum()
    if mechanism == "study":
        return value - model.best_survives().sum()
    return value + model.unreported().sum() - model.any_survives().sum()


class _Expectations:
    """Logs of the expectations, one for each sample."""

    def __init__(self, data: Tensors, parameters: Tensors) -> None:
        self.data, self.parameters = data, parameters
        self.two_sided = "two_sided" in data
        self.omega = parameters["omega"]
        self.drops = self.omega[:-1] - self.omega[1:]
        self.between = parameters["tau_between"]
        self.within2 = parameters["tau_within"] ** 2 if "tau_within" in parameters else 0.0
        self.steps = self.omega.type.shape[0] - 1

    def all_survive(self) -> TensorVariable:
        return self.mean(self.by_sample(self.log_survival(*self.before())))

    def replaced(self) -> TensorVariable:
        return self.mean(-self.by_sample(self.log_survival(*self.after())))

    def best_survives(self) -> TensorVariable:
        location, variance = self.before()
        total = self.omega[-1]
        for b in range(self.steps):
            misses = self.below(location, variance, self.data["cutoffs"][:, b])
            none = pt.exp(self.by_sample(pt.log(pt.maximum(misses, TINY))))
            weights = pt.exp(self.data["log_weights"])
            total = total + self.drops[b] * ((1 - none) * weights).sum(axis=1)
        return pt.log(pt.maximum(total, TINY))

    def any_survives(self) -> TensorVariable:
        location, variance = self.before()
        log_none = self.by_sample(self.log_failure(location, variance, self.data["cutoffs"]))
        log_none = log_none + self.log_unseen(self.effects_before())
        seen = -pt.expm1(log_none)
        weights = pt.exp(self.data["log_weights"])
        return pt.log(pt.maximum((seen * weights).sum(axis=1), TINY))

    def unreported(self) -> TensorVariable:
        return self.mean(self.log_unseen(self.effects_after()))

    def log_unseen(self, effects: TensorVariable) -> TensorVariable:
        """Log chance that all unreported effects fail, given sample effects (m, q)."""
        location = fitted_values(self.data["typical_design"], self.parameters["beta"])[:, None]
        variance = self.data["typical_vi"] + self.within2
        cutoffs = self.data["typical_cutoffs"]
        return self.data["missing"][:, None] * self.log_failure(
            location + effects, variance, cutoffs
        )

    def mean(self, log_values: TensorVariable) -> TensorVariable:
        """Log of the expectation of ``exp(log_values)``, (m, q) to (m,)."""
        terms = log_values + self.data["log_weights"]
        top = disconnected_grad(terms.max(axis=1, keepdims=True))
        return pt.log(pt.exp(terms - top).sum(axis=1)) + top[:, 0]

    def effects_before(self) -> TensorVariable:
        """Sample effects at the nodes of their prior; zero where they only add variance."""
        return ((1 - self.data["alone"]) * self.between)[:, None] * self.data["nodes"]

    def before(self) -> tuple[TensorVariable, TensorVariable]:
        """Location (r, q) and variance (r,) of the rows at the nodes of the prior."""
        cluster = self.data["seen_cluster"]
        variance = self.row_variance() + self.data["alone"][cluster] * self.between**2
        return self.expected() + self.effects_before()[cluster], variance

    def effects_after(self) -> TensorVariable:
        """Sample effects at the nodes of their posterior without selection."""
        data, tau2 = self.data, self.between**2
        precision = 1 / (data["vi"] + self.within2 * data["within"])
        residual = data["yi"] - fitted_values(data["X"], self.parameters["beta"])
        zeros = pt.zeros_like(data["alone"])
        total = pt.inc_subtensor(zeros[data["cluster"]], precision)
        score = pt.inc_subtensor(zeros[data["cluster"]], residual * precision)
        variance = tau2 / (1 + tau2 * total)
        return (variance * score)[:, None] + pt.sqrt(variance)[:, None] * data["nodes"]

    def after(self) -> tuple[TensorVariable, TensorVariable]:
        """Location (r, q) and variance (r,) of the rows at the nodes of the posterior."""
        location = self.expected() + self.effects_after()[self.data["seen_cluster"]]
        return location, self.row_variance()

    def expected(self) -> TensorVariable:
        return fitted_values(self.data["seen_X"], self.parameters["beta"])[:, None]

    def row_variance(self) -> TensorVariable:
        return self.data["seen_vi"] + self.within2 * self.data["seen_within"]

    def by_sample(self, logs: TensorVariable) -> TensorVariable:
        """Sum the logs of all copies of all rows of each sample, (r, q) to (m, q)."""
        zeros = pt.zeros_like(self.effects_before())
        return pt.inc_subtensor(
            zeros[self.data["seen_cluster"]], self.data["copies"][:, None] * logs
        )

    def log_survival(self, location: TensorVariable, variance: TensorVariable) -> TensorVariable:
        total = self.omega[-1]
        for b in range(self.steps):
            reach = self.above(location, variance, self.data["cutoffs"][:, b])
            total = total + self.drops[b] * reach
        return pt.log(pt.maximum(total, TINY))

    def log_failure(
        self, location: TensorVariable, variance: TensorVariable, cutoffs: TensorVariable
    ) -> TensorVariable:
        total = 0.0
        for b in range(self.steps):
            total = total + self.drops[b] * self.below(location, variance, cutoffs[:, b])
        return pt.log(pt.maximum(total, TINY))

    def above(
        self, location: TensorVariable, variance: TensorVariable, cutoff: TensorVariable
    ) -> TensorVariable:
        """Chance to reach a cut-off, (r, q)."""
        cutoff, sd = cutoff[:, None], pt.sqrt(variance)[:, None]
        reach = _phi((location - cutoff) / sd)
        return reach + _phi((-location - cutoff) / sd) if self.two_sided else reach

    def below(
        self, location: TensorVariable, variance: TensorVariable, cutoff: TensorVariable
    ) -> TensorVariable:
        """Chance to miss a cut-off, (r, q), without cancellation."""
        cutoff, sd = cutoff[:, None], pt.sqrt(variance)[:, None]
        if not self.two_sided:
            return _phi((cutoff - location) / sd)
        size = abs(location)
        return _phi((cutoff - size) / sd) - _phi((-cutoff - size) / sd)


def _phi(x: TensorVariable) -> TensorVariable:
    return 0.5 * pt.erfc(-x / np.sqrt(2))

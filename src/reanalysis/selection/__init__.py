"""Selection mechanisms: bins of p-values, weights, likelihoods and simulators, in NumPy only."""

from reanalysis.selection.bins import Bins
from reanalysis.selection.data import MECHANISMS, Mechanism, SelectionData
from reanalysis.selection.likelihood import (
    NormaliserError,
    log_factor,
    log_likelihood,
    log_normaliser,
    log_unselected,
)
from reanalysis.selection.simulate import Published, simulate_selection
from reanalysis.selection.weights import WeightPrior

__all__ = [
    "MECHANISMS",
    "Bins",
    "Mechanism",
    "NormaliserError",
    "Published",
    "SelectionData",
    "WeightPrior",
    "log_factor",
    "log_likelihood",
    "log_normaliser",
    "log_unselected",
    "simulate_selection",
]

"""Selection mechanisms: bins of p-values, weights, likelihoods and simulators, in NumPy only."""

from reanalysis.selection.bins import Bins
from reanalysis.selection.data import MECHANISMS, Mechanism, SelectionData
from reanalysis.selection.likelihood import NormaliserError, log_likelihood, log_normaliser
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
    "log_likelihood",
    "log_normaliser",
    "simulate_selection",
]
